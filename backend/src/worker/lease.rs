//! Lent memory: where its pages are, and who still uses them.

use std::fs::File;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wire::control::{Piece as WirePiece, REGION_ATTACHED};
use wire::device::{MAX_LEASES, PIN_READ, PIN_WRITE};

use super::regions::{PAGE, Region, Regions};
use crate::mapping::Source;
use crate::os;

/// Why memory cannot be lent.
#[derive(Debug, thiserror::Error)]
pub(super) enum PinError {
    /// The request does not fit.
    #[error("{0}")]
    Invalid(&'static str),
    /// [`MAX_RUNS`] is reached.
    #[error("the session's leases are in too many pieces")]
    Limit,
    /// The system's own trouble.
    #[error("mapping it: {0}")]
    Io(#[from] std::io::Error),
}

/// Most runs of pages that lie apart in guest memory, of all leases of the session: 32 GiB where no two pages are neighbours.
/// A guest could lend the same pages again and again; this bounds what the host keeps about them, at half a GiB.
pub(super) const MAX_RUNS: usize = 8 << 20;

/// What the guest says of the memory it lends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    /// The lease's number.
    pub(super) lease: u32,
    /// `PIN_READ | PIN_WRITE`.
    pub(super) flags: u32,
    /// Address of the first byte in the guest's process.
    pub(super) address: u64,
    /// Length in bytes.
    pub(super) bytes: u64,
}

/// What all leases of the session share: answers to unpin requests, filled by whoever uses a lease last and sent by the control
/// thread, and how much is kept about them.
#[derive(Debug)]
pub(super) struct Answers {
    cookies: Mutex<Vec<u64>>,
    event: OwnedFd,
    /// Runs of all leases that live, in the table or only in use.
    runs: AtomicUsize,
}

impl Answers {
    pub(super) fn new() -> std::io::Result<Answers> {
        Ok(Answers { cookies: Mutex::default(), event: os::eventfd()?, runs: AtomicUsize::new(0) })
    }

    fn add(&self, cookie: u64) {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner).push(cookie);
        os::signal(self.event.as_fd());
    }

    /// Requests whose leases are free by now.
    pub(super) fn take(&self) -> Vec<u64> {
        os::take_signal(self.event.as_fd());
        std::mem::take(&mut *self.cookies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Readable when there are some.
    pub(super) fn event(&self) -> &OwnedFd {
        &self.event
    }
}

/// Consecutive pages that are consecutive in memory too.
#[derive(Debug)]
struct Run {
    /// Bytes of the lease's pages before these.
    before: u64,
    start: *mut u8,
    bytes: u64,
    region: Arc<Region>,
    offset: u64,
}

/// Lent memory. The unpin request is answered when the last reference goes.
#[derive(Debug)]
pub(super) struct Lease {
    /// Offset of the first byte in the first page.
    first: u64,
    bytes: u64,
    writable: bool,
    readable: bool,
    runs: Vec<Run>,
    unpin: Mutex<Option<u64>>,
    answers: Arc<Answers>,
}

// SAFETY: the pointers lead into mappings that the runs' regions keep; who may touch the bytes is the API's business.
unsafe impl Send for Lease {}
// SAFETY: as above; nothing changes but the mutex.
unsafe impl Sync for Lease {}

impl Lease {
    /// Checks that the pieces cover exactly the pages of what is lent.
    pub(super) fn new(
        lent: Lent,
        pieces: &[WirePiece],
        file: Option<OwnedFd>,
        regions: &Regions,
        answers: Arc<Answers>,
    ) -> Result<Lease, PinError> {
        let Lent { lease, flags, address, bytes } = lent;
        let first = address & (PAGE - 1);
        let covered = first.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(PAGE));
        let total = pieces.iter().try_fold(0u64, |sum, piece| sum.checked_add(piece.bytes));
        if lease >= MAX_LEASES {
            return Err(PinError::Invalid("its number is over the limit"));
        }
        if flags & !(PIN_READ | PIN_WRITE) != 0 || flags == 0 {
            return Err(PinError::Invalid("its flags are none"));
        }
        if bytes == 0 || covered.is_none() || covered != total || address.checked_add(bytes).is_none() {
            return Err(PinError::Invalid("its pages do not cover exactly its bytes"));
        }
        let runs = match file {
            Some(file) => attached(pieces, file)?,
            None => located(pieces, regions)?,
        };
        let (readable, writable) = (flags & PIN_READ != 0, flags & PIN_WRITE != 0);
        let count = runs.len();
        let others = answers.runs.fetch_add(count, Ordering::Relaxed);
        let lease = Lease { first, bytes, writable, readable, runs, unpin: Mutex::new(None), answers };
        if others + count > MAX_RUNS {
            return Err(PinError::Limit);
        }
        Ok(lease)
    }

    pub(super) fn answer_when_free(&self, cookie: u64) {
        *self.unpin.lock().unwrap_or_else(PoisonError::into_inner) = Some(cookie);
    }

    pub(super) fn allows(&self, write: bool) -> bool {
        if write { self.writable } else { self.readable }
    }

    /// Bytes of all pages.
    pub(super) fn page_bytes(&self) -> u64 {
        (self.first + self.bytes).next_multiple_of(PAGE)
    }

    /// The first page's address, if the lease's first byte is put at `address` and `bytes` bytes are wanted.
    pub(super) fn first_page(&self, address: u64, bytes: u64) -> Option<u64> {
        // Not `then_some`: for another address the difference may be none.
        (address & (PAGE - 1) == self.first && bytes != 0 && bytes <= self.bytes).then(|| address - self.first)
    }

    /// The pages, to be mapped once more.
    pub(super) fn sources(&self) -> Vec<Source<'_>> {
        self.runs.iter().map(|run| run.region.source(run.offset, run.bytes)).collect()
    }

    fn pieces(&self, offset: u64, bytes: u64) -> Option<Vec<Piece>> {
        let end = offset.checked_add(bytes)?;
        if end > self.bytes {
            return None;
        }
        let (mut at, end) = (self.first + offset, self.first + end);
        let mut index = self.runs.partition_point(|run| run.before + run.bytes <= at);
        let mut pieces = Vec::new();
        while at < end {
            let run = self.runs.get(index)?;
            let skip = at - run.before;
            let bytes = (run.bytes - skip).min(end - at);
            let start = run.start.wrapping_add(usize::try_from(skip).ok()?);
            pieces.push(Piece { pointer: start, bytes: usize::try_from(bytes).ok()? });
            at += bytes;
            index += 1;
        }
        Some(pieces)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.answers.runs.fetch_sub(self.runs.len(), Ordering::Relaxed);
        if let Some(cookie) = *self.unpin.get_mut().unwrap_or_else(PoisonError::into_inner) {
            self.answers.add(cookie);
        }
    }
}

/// Runs of pages in the guest's regions; neighbours are joined.
fn located(pieces: &[WirePiece], regions: &Regions) -> Result<Vec<Run>, PinError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut before = 0;
    for piece in pieces {
        let located = regions.locate(piece).ok_or(PinError::Invalid("a piece is in no region"))?;
        let (region, start) = located;
        let follows = |run: &Run| Arc::ptr_eq(&run.region, &region) && run.offset + run.bytes == piece.offset;
        match runs.last_mut() {
            Some(run) if follows(run) => run.bytes += piece.bytes,
            _ => runs.push(Run { before, start, bytes: piece.bytes, region, offset: piece.offset }),
        }
        before += piece.bytes;
    }
    Ok(runs)
}

/// Runs of pages in a file that came with the request.
fn attached(pieces: &[WirePiece], file: OwnedFd) -> Result<Vec<Run>, PinError> {
    // A touch past the file's end ends the process. A guest can still cut a file that it has lent: that ends its own worker.
    let file = File::from(file);
    let length = file.metadata()?.len();
    let mut runs = Vec::new();
    let mut before = 0;
    for piece in pieces {
        if piece.region != REGION_ATTACHED {
            return Err(PinError::Invalid("it mixes attached memory with regions"));
        }
        if piece.offset.checked_add(piece.bytes).is_none_or(|end| end > length) {
            return Err(PinError::Invalid("a piece is past the end of its file"));
        }
        let region = Arc::new(Region::new(file.try_clone()?.into(), piece.offset, piece.bytes)?);
        let start = region.locate(piece.offset, piece.bytes).ok_or(PinError::Invalid("a piece is in no region"))?;
        runs.push(Run { before, start, bytes: piece.bytes, region, offset: piece.offset });
        before += piece.bytes;
    }
    Ok(runs)
}

/// Consecutive bytes of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First byte, mapped for as long as the [`Pieces`] live; the guest may change the bytes at any time.
    pub pointer: *mut u8,
    /// Length, not 0.
    pub bytes: usize,
}

/// The bytes of a buffer, in order. While it lives the guest's pages stay lent.
#[derive(Debug)]
pub struct Pieces {
    list: Vec<Piece>,
    _lease: Option<Arc<Lease>>,
}

// SAFETY: the pointers stay valid wherever the value goes: the lease, or the session's window, keeps what they lead to.
unsafe impl Send for Pieces {}
// SAFETY: as above; it never changes.
unsafe impl Sync for Pieces {}

impl Deref for Pieces {
    type Target = [Piece];

    fn deref(&self) -> &[Piece] {
        &self.list
    }
}

impl Pieces {
    pub(super) fn staged(pointer: *mut u8, bytes: usize) -> Pieces {
        let list = if bytes == 0 { Vec::new() } else { vec![Piece { pointer, bytes }] };
        Pieces { list, _lease: None }
    }

    pub(super) fn of(lease: Arc<Lease>, offset: u64, bytes: u64) -> Option<Pieces> {
        Some(Pieces { list: lease.pieces(offset, bytes)?, _lease: Some(lease) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// One region of 64 MiB, and every second page of it.
    fn scattered() -> (Regions, Vec<WirePiece>) {
        let regions = Regions::default();
        regions.set(0, Region::new(os::sealed_memory(64 * MIB).expect("memory"), 0, 64 * MIB).expect("mapped"));
        let pages = 64 * MIB / PAGE / 2;
        let piece = |page| WirePiece { region: 0, offset: page * 2 * PAGE, bytes: PAGE };
        (regions, (0..pages).map(piece).collect())
    }

    #[test]
    fn lease_when_the_guest_lends_the_same_lone_pages_without_end_then_is_refused() {
        let (regions, pieces) = scattered();
        let answers = Arc::new(Answers::new().expect("eventfd"));
        let lent = Lent { lease: 0, flags: PIN_READ, address: 0, bytes: pieces.len() as u64 * PAGE };
        let lend = || Lease::new(lent, &pieces, None, &regions, Arc::clone(&answers));
        let mut leases: Vec<_> = (0..MAX_RUNS / pieces.len()).map(|_| lend().expect("below the limit")).collect();
        assert!(matches!(lend(), Err(PinError::Limit)));
        leases.pop();
        assert!(lend().is_ok(), "given back");
    }

    #[test]
    fn lease_when_a_piece_is_past_the_end_of_its_file_then_is_refused() {
        let answers = Arc::new(Answers::new().expect("eventfd"));
        let lend = |offset, bytes| {
            let file = os::sealed_memory(4 * PAGE).expect("memory");
            let piece = WirePiece { region: REGION_ATTACHED, offset, bytes };
            let lent = Lent { lease: 0, flags: PIN_READ, address: 0, bytes };
            Lease::new(lent, &[piece], Some(file), &Regions::default(), Arc::clone(&answers))
        };
        assert!(lend(3 * PAGE, PAGE).is_ok());
        for (offset, bytes) in [(4 * PAGE, PAGE), (3 * PAGE, 2 * PAGE), (0, 5 * PAGE), (!(PAGE - 1), PAGE)] {
            assert!(matches!(lend(offset, bytes), Err(PinError::Invalid(_))), "{offset:#x} {bytes:#x}");
        }
    }

    #[test]
    fn pieces_when_a_range_crosses_runs_then_are_cut_at_its_ends() {
        let (regions, pieces) = scattered();
        let answers = Arc::new(Answers::new().expect("eventfd"));
        let lent = Lent { lease: 0, flags: PIN_READ, address: 100, bytes: 2 * PAGE };
        let lease = Lease::new(lent, &pieces[..3], None, &regions, answers).expect("a lease");
        let bytes = |offset, bytes| Some(lease.pieces(offset, bytes)?.iter().map(|p| p.bytes).collect::<Vec<_>>());
        assert_eq!(bytes(0, 2 * PAGE), Some(vec![3996, 4096, 100]));
        assert_eq!(bytes(3995, 2), Some(vec![1, 1]));
        assert_eq!(bytes(2 * PAGE, 0), Some(vec![]));
        assert_eq!(bytes(2 * PAGE, 1), None);
        assert_eq!(bytes(u64::MAX, 2), None);
        assert_eq!((lease.first_page(4096 + 100, 1), lease.first_page(5, 1)), (Some(4096), None));
    }
}
