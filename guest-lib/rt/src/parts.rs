//! Bulk data: how a call's buffer reaches the worker, part by part.
//!
//! Small data travels in the frame or the reply. Larger data passes through chunks of the window's staging area, several at a time
//! so that this process fills or empties some while the worker copies others. Over the virtio carrier the largest is lent instead
//! ([`crate::lend`]).

use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};

use wire::device::PAGE_BYTES;
use wire::payload::Buffer;
use wire::slot::MAX_REPLY_BYTES;
use wire::window::STAGING_OFFSET;

use crate::carrier::{LendError, Link};
use crate::crew::{Copying, HELP_FROM, MOST_PARTS, Move};
use crate::lend::{Access, ended};
use crate::session::Session;

/// Largest input that travels in the frame.
pub const INLINE_BYTES: usize = 16 * 1024;
/// Largest output that comes back in the reply: its length, a `u32`, is there too.
const REPLY_BYTES: usize = MAX_REPLY_BYTES - 4;
/// Bytes of one chunk of the staging area.
const CHUNK_BYTES: usize = 1 << 20;
/// Most chunks that one copy fills before it waits.
const BATCH: usize = MOST_PARTS;
/// Bytes from which pinning pages is worth its two requests to the host.
const LEND_FROM: usize = 2 << 20;
/// Bytes of one part of a large buffer that is lent by pinning.
const LEND_PART_BYTES: usize = 32 << 20;

/// What a part of a copy asks of the call that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The call may be posted: the part lies in the frame, or a later part of the same copy is waited for.
    Post,
    /// The call must be answered when the part, and every part before, has been copied.
    Wait,
}

/// The staging area in chunks.
#[derive(Debug)]
pub(crate) struct Chunks {
    free: Mutex<Free>,
    given: Condvar,
}

#[derive(Debug)]
struct Free {
    chunks: Vec<usize>,
    /// Threads that wait for some: who gives chunks back where nobody waits makes no system call, which some guests have to pay for
    /// dearly.
    waiting: usize,
}

impl Chunks {
    pub fn new(staging_bytes: usize) -> Chunks {
        let chunks = (0..staging_bytes / CHUNK_BYTES).rev().collect();
        Chunks { free: Mutex::new(Free { chunks, waiting: 0 }), given: Condvar::new() }
    }

    /// Takes as many of `wanted` chunks as are free, at least one, at once: no thread waits with chunks in its hands.
    fn take(&self, wanted: usize) -> Vec<usize> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while free.chunks.is_empty() {
            free.waiting += 1;
            free = self.given.wait(free).unwrap_or_else(PoisonError::into_inner);
            free.waiting -= 1;
        }
        let kept = free.chunks.len().saturating_sub(wanted);
        free.chunks.split_off(kept)
    }

    /// As [`Chunks::take`], but never waits, and leaves one for others.
    fn take_spare(&self, wanted: usize) -> Option<Vec<usize>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = free.chunks.len().saturating_sub(wanted);
        (free.chunks.len() > 1).then(|| free.chunks.split_off(kept.max(1)))
    }

    fn give(&self, chunks: &[usize]) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.chunks.extend(chunks);
        if free.waiting != 0 {
            self.given.notify_all();
        }
    }
}

/// Consecutive parts of a copy and the chunks that they pass through, given back on drop.
struct Batch<'a> {
    session: &'a Session,
    chunks: Vec<usize>,
    /// Where the first part lies in the copy, and the bytes of all.
    offset: usize,
    bytes: usize,
}

impl<'a> Batch<'a> {
    /// For what comes from `offset` on in a copy of `bytes`, as much as there are chunks for, at most `most`.
    fn take(session: &'a Session, offset: usize, bytes: usize, most: usize) -> Batch<'a> {
        let left = bytes - offset;
        Batch::of(session, session.chunks.take(left.div_ceil(CHUNK_BYTES).min(most)), offset, left)
    }

    /// As [`Batch::take`], without waiting: for a thread that has chunks in its hands.
    fn take_spare(session: &'a Session, offset: usize, bytes: usize) -> Option<Batch<'a>> {
        let left = bytes - offset;
        let chunks = session.chunks.take_spare(left.div_ceil(CHUNK_BYTES).min(BATCH))?;
        Some(Batch::of(session, chunks, offset, left))
    }

    fn of(session: &'a Session, chunks: Vec<usize>, offset: usize, left: usize) -> Batch<'a> {
        let bytes = left.min(chunks.len() * CHUNK_BYTES);
        Batch { session, chunks, offset, bytes }
    }

    fn end(&self) -> usize {
        self.offset + self.bytes
    }

    /// The parts: chunk's memory, where it lies for the worker, offset in the copy, bytes.
    fn parts(&self) -> impl Iterator<Item = (*mut u8, Buffer<'static>, usize, usize)> + '_ {
        self.chunks.iter().enumerate().map(|(at, chunk)| {
            let part = CHUNK_BYTES.min(self.bytes - at * CHUNK_BYTES);
            let offset = STAGING_OFFSET + chunk * CHUNK_BYTES;
            let buffer = Buffer::Staging { offset: offset as u64, bytes: part as u64 };
            // SAFETY: chunks are whole chunks of the staging area.
            let memory = unsafe { self.session.window.staging().add(chunk * CHUNK_BYTES) };
            (memory, buffer, self.offset + at * CHUNK_BYTES, part)
        })
    }
}

/// As many moves as a batch has parts.
type Moves = ([Move; BATCH], usize);

impl Batch<'_> {
    fn moves(&self, each: impl Fn(*mut u8, usize, usize) -> Move) -> Moves {
        let mut moves = ([(std::ptr::null(), std::ptr::null_mut(), 0); BATCH], 0);
        for ((memory, _, offset, part), to) in self.parts().zip(&mut moves.0) {
            *to = each(memory, offset, part);
            moves.1 += 1;
        }
        moves
    }

    /// Begins to fill the chunks with what lies from `data` on.
    ///
    /// # Safety
    /// `data` is valid for reads up to the batch's end until the result is dropped.
    unsafe fn fill(&self, data: *const u8, help: bool) -> Copying {
        let moves = self.moves(|memory, offset, part| (data.wrapping_add(offset), memory, part));
        // SAFETY: this function's contract; the chunks are this batch's alone.
        unsafe { Copying::start(moves, help) }
    }

    /// Copies what the chunks hold to where it belongs from `data` on.
    ///
    /// # Safety
    /// `data` is valid for writes up to the batch's end.
    unsafe fn empty(&self, data: *mut u8, help: bool) {
        let moves = self.moves(|memory, offset, part| (memory, data.wrapping_add(offset), part));
        // SAFETY: as above; ended before this function is.
        unsafe { Copying::start(moves, help) }.await_parts(BATCH);
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.session.chunks.give(&self.chunks);
    }
}

impl Session {
    /// Sends `bytes` at `data` part by part: `each` gets a part, its offset and whether it may be posted, and returns the call's
    /// status. Stops at the first that is not 0. `trouble` is the status where memory cannot be lent.
    ///
    /// # Safety
    /// `data` must be valid for reads of `bytes`.
    pub unsafe fn input_parts(
        &self,
        data: *const u8,
        bytes: usize,
        trouble: impl Fn(LendError) -> i32,
        mut each: impl FnMut(Buffer<'_>, usize, Turn) -> i32,
    ) -> i32 {
        self.counters.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        if bytes <= INLINE_BYTES {
            // SAFETY: the caller's promise; an empty slice takes any pointer that is not null.
            let memory = if bytes == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, bytes) } };
            return each(Buffer::Inline(memory), 0, Turn::Post);
        }
        if let Some(part_bytes) = self.lend_parts(bytes) {
            return each_part(bytes, part_bytes, |offset, part| {
                // SAFETY: within the caller's memory; the lease ends after the call.
                match unsafe { self.lend(data.wrapping_add(offset), part, Access::Read) } {
                    Ok(lease) => each(lease.buffer(0, part), offset, Turn::Wait),
                    Err(error) => trouble(error),
                }
            });
        }
        let help = bytes >= HELP_FROM;
        let mut batch = Batch::take(self, 0, bytes, BATCH);
        // SAFETY: within the caller's memory, into chunks that are this thread's alone.
        let mut filling = unsafe { batch.fill(data, help) };
        loop {
            let mut next = None;
            for (index, (_, buffer, offset, part)) in batch.parts().enumerate() {
                filling.await_parts(index + 1);
                let is_last = offset + part == batch.end();
                if is_last && batch.end() < bytes {
                    // Filled while the device empties this batch.
                    next = Batch::take_spare(self, batch.end(), bytes).map(|next| {
                        // SAFETY: as above.
                        let filling = unsafe { next.fill(data, help) };
                        (filling, next)
                    });
                }
                // The first waits so that earlier work of the device does not hold up the ring.
                let turn = if offset == 0 || is_last { Turn::Wait } else { Turn::Post };
                let status = each(buffer, offset, turn);
                if status != 0 {
                    return status;
                }
            }
            let done = batch.end();
            if done == bytes {
                return 0;
            }
            drop(filling);
            (filling, batch) = match next {
                Some(next) => next,
                None => {
                    // No thread waits with chunks in its hands.
                    drop(batch);
                    let batch = Batch::take(self, done, bytes, BATCH);
                    // SAFETY: as above.
                    (unsafe { batch.fill(data, help) }, batch)
                }
            };
        }
    }

    /// Fetches `bytes` to `data` part by part: `each` gets a place, the offset, for [`Buffer::Reply`] where the reply's bytes go,
    /// and whether the call may be posted; it returns the call's status. Stops at the first that is not 0.
    ///
    /// # Safety
    /// `data` must be valid for writes of `bytes`.
    pub unsafe fn output_parts(
        &self,
        data: *mut u8,
        bytes: usize,
        trouble: impl Fn(LendError) -> i32,
        mut each: impl FnMut(Buffer<'_>, usize, Option<&mut [u8]>, Turn) -> i32,
    ) -> i32 {
        self.counters.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
        if bytes <= REPLY_BYTES {
            // SAFETY: the caller's promise; an empty slice takes any pointer that is not null.
            let memory = if bytes == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(data, bytes) } };
            return each(Buffer::Reply { bytes: bytes as u64 }, 0, Some(memory), Turn::Wait);
        }
        if let Some(part_bytes) = self.lend_parts(bytes) {
            return each_part(bytes, part_bytes, |offset, part| {
                // SAFETY: within the caller's memory; the lease ends after the call.
                match unsafe { self.lend(data.wrapping_add(offset), part, Access::Write) } {
                    Ok(lease) => ended(each(lease.buffer(0, part), offset, None, Turn::Wait), lease),
                    Err(error) => trouble(error),
                }
            });
        }
        let mut asked = Batch::take(self, 0, bytes, 1);
        let mut status = ask(&asked, &mut each, true, true);
        while status == 0 {
            // While this batch is copied out, the worker fills the next but for its last part, which is then waited for.
            let next = if asked.end() < bytes { Batch::take_spare(self, asked.end(), bytes) } else { None };
            if let Some(next) = &next {
                status = ask(next, &mut each, true, false);
            }
            // SAFETY: out of chunks that are this thread's alone, into the caller's memory.
            unsafe { asked.empty(data, bytes >= HELP_FROM) };
            let end = asked.end();
            match next {
                Some(next) => {
                    // Also after an error: posted parts may be under way into the chunks.
                    let last = ask(&next, &mut each, false, true);
                    status = if status == 0 { last } else { status };
                    asked = next;
                }
                None if end < bytes => {
                    drop(asked);
                    asked = Batch::take(self, end, bytes, BATCH);
                    status = ask(&asked, &mut each, true, true);
                }
                None => break,
            }
        }
        status
    }

    /// Bytes of a part, where a copy of so many bytes is to be lent; `None` where it passes through the staging area.
    fn lend_parts(&self, bytes: usize) -> Option<usize> {
        match &self.link {
            Link::Virtio(link) if bytes >= LEND_FROM || self.window.staging_bytes() < CHUNK_BYTES => {
                // A part that does not start on a page touches one more.
                Some(LEND_PART_BYTES.min(link.max_pin_bytes().saturating_sub(PAGE_BYTES as usize)).max(1))
            }
            _ => None,
        }
    }
}

/// Calls `call` for each part of `bytes` with its offset and length, until a status is not 0.
fn each_part(bytes: usize, part_bytes: usize, mut call: impl FnMut(usize, usize) -> i32) -> i32 {
    let mut offset = 0;
    while offset < bytes {
        let part = part_bytes.min(bytes - offset);
        let status = call(offset, part);
        if status != 0 {
            return status;
        }
        offset += part;
    }
    0
}

/// Asks for the parts of a batch: for those before the last, for the last, or for both.
fn ask(
    batch: &Batch<'_>,
    each: &mut impl FnMut(Buffer<'_>, usize, Option<&mut [u8]>, Turn) -> i32,
    before_last: bool,
    last: bool,
) -> i32 {
    for (_, buffer, offset, part) in batch.parts() {
        let is_last = offset + part == batch.end();
        if if is_last { !last } else { !before_last } {
            continue;
        }
        let status = each(buffer, offset, None, if is_last { Turn::Wait } else { Turn::Post });
        if status != 0 {
            return status;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_when_all_are_taken_then_who_waits_gets_those_that_are_given_back() {
        let chunks = Chunks::new(2 * CHUNK_BYTES);
        let taken = chunks.take(2);
        assert_eq!((taken.len(), chunks.take_spare(1)), (2, None));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| chunks.take(1));
            while chunks.free.lock().expect("free").waiting == 0 {
                std::thread::yield_now();
            }
            chunks.give(&taken);
            assert_eq!(waits.join().expect("ended").len(), 1);
        });
        assert_eq!(chunks.free.lock().expect("free").waiting, 0);
    }
}
