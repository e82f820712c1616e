//! Buffers of a message as consecutive bytes that a call of the host's library can take.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wire::Malformed;
use wire::payload::Buffer;

use super::answer::Failure;
use super::{Pieces, Session};

/// Most bytes of [`Private`] memory at a time, of all calls of a session: a guest can lend one page a million times, and so name
/// more bytes than it has.
pub const MOST_PRIVATE: usize = 4 << 30;

/// Makes buffers of a session's messages into [`Input`] and [`Output`].
pub struct Bytes {
    session: Arc<Session>,
    /// What private copies may still take.
    pub(super) left: Arc<AtomicUsize>,
    /// The API's status where that is too little.
    full: i32,
}

/// Memory that the guest does not reach, aligned to 8 and zero at first; counted as long as it lives.
pub struct Private {
    words: Vec<u64>,
    bytes: usize,
    left: Arc<AtomicUsize>,
}

impl Private {
    /// Takes so many bytes out of what is left.
    fn new(bytes: usize, of: &Bytes) -> Result<Private, Failure> {
        let take = |left: usize| left.checked_sub(bytes);
        if of.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(Failure::Status(of.full));
        }
        Ok(Private { words: vec![0; bytes.div_ceil(8)], bytes, left: Arc::clone(&of.left) })
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes that a call reads.
pub enum Input<'a> {
    /// A null pointer.
    Null,
    /// In the message, which is private.
    Message(&'a [u8]),
    /// In the guest's memory, which the guest may change meanwhile.
    Guest(Pieces),
    /// Gathered or copied into private memory, aligned to 8.
    Private(Private),
}

impl Input<'_> {
    /// First byte.
    pub fn pointer(&self) -> *const c_void {
        match self {
            Input::Null => std::ptr::null(),
            Input::Message(data) => data.as_ptr().cast(),
            Input::Guest(pieces) => pieces.first().map_or(std::ptr::null(), |piece| piece.pointer.cast_const().cast()),
            Input::Private(copy) => copy.words.as_ptr().cast(),
        }
    }
}

/// Bytes that a call writes.
pub enum Output<'a> {
    /// A null pointer.
    Null,
    /// In the reply.
    Reply(&'a mut [u8]),
    /// In the guest's memory, consecutive here too.
    Guest(Pieces),
    /// In private memory, to be scattered to the guest's.
    Private(Private, Pieces, PhantomData<&'a ()>),
}

impl Output<'_> {
    /// First byte.
    pub fn pointer(&mut self) -> *mut c_void {
        match self {
            Output::Null => std::ptr::null_mut(),
            Output::Reply(data) => data.as_mut_ptr().cast(),
            Output::Guest(pieces) => pieces.first().map_or(std::ptr::null_mut(), |piece| piece.pointer.cast()),
            Output::Private(copy, ..) => copy.words.as_mut_ptr().cast(),
        }
    }

    /// The call has written everything.
    pub fn finish(self) {
        let bytes = match &self {
            Output::Private(_, pieces, _) => total(pieces),
            _ => 0,
        };
        self.finish_slices(0, 1, bytes, 1, 1);
    }

    /// The call has written `depth` slices of `rows` rows of `width` bytes; rows are `pitch` bytes and slices `slice_rows`
    /// rows apart.
    pub fn finish_slices(self, pitch: usize, slice_rows: usize, width: usize, rows: usize, depth: usize) {
        let Output::Private(copy, pieces, _) = &self else { return };
        for slice in 0..depth {
            for row in 0..rows {
                let at = slice
                    .checked_mul(slice_rows)
                    .and_then(|at| at.checked_add(row))
                    .and_then(|at| at.checked_mul(pitch));
                let Some(at) = at else { return };
                scatter(&copy.words, pieces, at, width);
            }
        }
    }
}

/// Copies `bytes` bytes from offset `at` on to where they belong in the pieces.
fn scatter(words: &[u64], pieces: &Pieces, at: usize, bytes: usize) {
    let (mut before, mut at, mut left) = (0usize, at, bytes.min((words.len() * 8).saturating_sub(at)));
    for piece in pieces.iter() {
        if left == 0 {
            return;
        }
        if at < before + piece.bytes {
            let inside = at - before;
            let part = left.min(piece.bytes - inside);
            // SAFETY: `at + part` is within the words; `inside + part` is within the piece, which is mapped as long as the pieces
            // live. The guest may look at it meanwhile; it holds no Rust value.
            unsafe {
                std::ptr::copy_nonoverlapping(words.as_ptr().cast::<u8>().add(at), piece.pointer.add(inside), part);
            }
            at += part;
            left -= part;
        }
        before += piece.bytes;
    }
}

fn total(pieces: &Pieces) -> usize {
    pieces.iter().map(|piece| piece.bytes).sum()
}

/// Copies all pieces, one after the other.
fn gather(pieces: &Pieces, to: &mut [u64]) {
    let mut at = 0;
    for piece in pieces.iter() {
        let part = piece.bytes.min((to.len() * 8).saturating_sub(at));
        // SAFETY: `at + part` is within the words; the piece is mapped as long as the pieces live. The guest may write
        // meanwhile: then the copy holds either, and it alone is used from here on.
        unsafe { std::ptr::copy_nonoverlapping(piece.pointer, to.as_mut_ptr().cast::<u8>().add(at), part) };
        at += part;
    }
}

impl Bytes {
    /// For a session; `full` is the status where private copies would take more than [`MOST_PRIVATE`] bytes.
    pub fn new(session: Arc<Session>, full: i32) -> Bytes {
        Bytes { session, left: Arc::new(AtomicUsize::new(MOST_PRIVATE)), full }
    }

    /// The bytes for a call that only moves them: where they can be read in place, they are.
    pub fn input<'a>(&self, buffer: Buffer<'a>) -> Result<Input<'a>, Failure> {
        match buffer {
            Buffer::Null => Ok(Input::Null),
            Buffer::Inline(data) => Ok(Input::Message(data)),
            Buffer::Reply { .. } => Err(Malformed::new("an input that lies in the reply").into()),
            Buffer::Staging { .. } | Buffer::Lease { .. } => {
                let pieces = self.session.memory().resolve(&buffer, false)?;
                if pieces.len() <= 1 {
                    return Ok(Input::Guest(pieces));
                }
                let mut copy = Private::new(total(&pieces), self)?;
                gather(&pieces, &mut copy.words);
                Ok(Input::Private(copy))
            }
        }
    }

    /// The bytes for a call that decides by them: a private copy, followed by 16 zero bytes at least.
    pub fn private<'a>(&self, buffer: Buffer<'a>) -> Result<Input<'a>, Failure> {
        match buffer {
            Buffer::Null => Ok(Input::Null),
            Buffer::Reply { .. } => Err(Malformed::new("an input that lies in the reply").into()),
            Buffer::Inline(data) => {
                let mut copy = Private::new(data.len() + 16, self)?;
                // SAFETY: the words have room for the data.
                unsafe {
                    std::ptr::copy_nonoverlapping(data.as_ptr(), copy.words.as_mut_ptr().cast::<u8>(), data.len())
                };
                Ok(Input::Private(copy))
            }
            Buffer::Staging { .. } | Buffer::Lease { .. } => {
                let pieces = self.session.memory().resolve(&buffer, false)?;
                let mut copy = Private::new(total(&pieces) + 16, self)?;
                gather(&pieces, &mut copy.words);
                Ok(Input::Private(copy))
            }
        }
    }

    /// A place for what a call writes.
    pub fn output<'a>(&self, buffer: Buffer<'_>, reply: &'a mut [u8]) -> Result<Output<'a>, Failure> {
        match buffer {
            Buffer::Null => Ok(Output::Null),
            Buffer::Reply { .. } => Ok(Output::Reply(reply)),
            Buffer::Inline(_) => Err(Malformed::new("an output that lies in the frame").into()),
            Buffer::Staging { .. } | Buffer::Lease { .. } => {
                let pieces = self.session.memory().resolve(&buffer, true)?;
                if pieces.len() <= 1 {
                    return Ok(Output::Guest(pieces));
                }
                let copy = Private::new(total(&pieces), self)?;
                Ok(Output::Private(copy, pieces, PhantomData))
            }
        }
    }
}
