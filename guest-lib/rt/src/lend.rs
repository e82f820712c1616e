//! Bulk data: how a call's buffer reaches the worker, and memory that both sides keep mapped.
//!
//! Small data travels in the frame or the reply. Larger data passes through chunks of the window's staging area, several at a time
//! so that this process fills or empties some while the worker copies others. Over the virtio carrier the largest is lent instead:
//! the module pins the caller's own pages and the worker reads or writes them in place. Where one piece is needed the local
//! carrier lends a memory file. A lease ends when its guard is dropped, which its owner does only when the call that uses it has
//! been answered.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use wire::device::{MAX_PIN_PAGES, PAGE_BYTES, PIN_READ, PIN_WRITE};
use wire::payload::Buffer;
use wire::slot::MAX_REPLY_BYTES;
use wire::window::STAGING_OFFSET;

use crate::carrier::{LendError, Link};
use crate::crew::{Copying, HELP_FROM, MOST_PARTS, Move};
use crate::mapped;
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
/// Most bytes of one lease.
pub const MAX_LEASE_BYTES: usize = (MAX_PIN_PAGES as usize - 1) * PAGE_BYTES as usize;
/// Where page-locked memory is mapped in this process: the worker keeps the same range free.
const PAGE_LOCKED_BASE: usize = 0x6000_0000_0000;
/// Bytes of that range.
const PAGE_LOCKED_BYTES: usize = 1 << 40;

/// What the worker may do with lent memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it: an input.
    Read,
    /// Write it: an output.
    Write,
    /// Both.
    Both,
}

impl Access {
    fn flags(self) -> u32 {
        match self {
            Access::Read => PIN_READ,
            Access::Write => PIN_WRITE,
            Access::Both => PIN_READ | PIN_WRITE,
        }
    }
}

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

/// Lent memory; the lease ends on drop.
#[derive(Debug)]
pub struct Lease<'a> {
    session: &'a Session,
    lease: u32,
    bytes: usize,
    /// Over the local carrier: the file that stands for the memory, and where to copy it back to.
    copy: Option<(File, Option<*mut u8>)>,
}

impl Lease<'_> {
    /// Names a part of the lent memory. `offset + bytes` must not pass its end.
    #[must_use]
    pub fn buffer(&self, offset: usize, bytes: usize) -> Buffer<'static> {
        debug_assert!(offset + bytes <= self.bytes);
        Buffer::Lease { lease: self.lease, offset: offset as u64, bytes: bytes as u64 }
    }
}

impl Lease<'_> {
    /// Ends the lease of an output that a failed call may not have written: the memory stays as it was.
    pub fn discard(mut self) {
        if let Some((_, back)) = &mut self.copy {
            *back = None;
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.session.link.unpin_late(self.lease);
        if let Some((file, Some(back))) = &self.copy {
            // SAFETY: `lend` was given this memory for writing, for as long as the lease lives.
            let memory = unsafe { std::slice::from_raw_parts_mut(*back, self.bytes) };
            // The file is as long as the memory; a failure leaves it as it was, which the call's status cannot tell any more.
            let _ = file.read_exact_at(memory, 0);
        }
    }
}

/// Memory that this process and the worker both keep mapped, at the same address where that is possible; freed on drop.
#[derive(Debug)]
pub struct PageLocked {
    /// First byte.
    pub address: *mut u8,
    /// Length in bytes, as asked for.
    pub bytes: usize,
    /// Number of the lease.
    pub lease: u32,
    /// Whether the memory is unmapped on drop (it was made by [`Session::page_locked`]).
    owned: bool,
    /// Where registered memory was replaced by a shared file: its whole pages, to be made private again.
    replaced: Option<(usize, usize)>,
}

// SAFETY: a description of memory; what is done with the memory is the program's business.
unsafe impl Send for PageLocked {}
// SAFETY: as above.
unsafe impl Sync for PageLocked {}

/// The whole pages around `bytes` bytes at `address`: where they start, and their bytes.
pub(crate) fn page_span(address: usize, bytes: usize) -> (usize, usize) {
    let page = PAGE_BYTES as usize;
    let start = address & !(page - 1);
    (start, (address + bytes).next_multiple_of(page) - start)
}

fn memory_file(name: &std::ffi::CStr, bytes: usize) -> io::Result<File> {
    // SAFETY: a valid name; the result is checked.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(bytes as u64)?;
    Ok(file)
}

impl Session {
    /// Lends `bytes` at `address` as one piece. Over the local carrier the data is copied through a file, back on drop.
    ///
    /// # Errors
    /// [`LendError`]; more than [`MAX_LEASE_BYTES`] are a limit.
    ///
    /// # Safety
    /// The memory must stay valid, and not be written by others if it is an input, until the lease is dropped; with
    /// [`Access::Write`] it must be the caller's to write.
    pub unsafe fn lend(&self, address: *const u8, bytes: usize, access: Access) -> Result<Lease<'_>, LendError> {
        if bytes == 0 || bytes > MAX_LEASE_BYTES {
            return Err(LendError::Limit);
        }
        match &self.link {
            Link::Virtio(link) => {
                let pinned = link.pin(address as usize, bytes, access.flags())?;
                Ok(Lease { session: self, lease: pinned.lease, bytes, copy: None })
            }
            Link::Local(link) => {
                let (_, whole) = page_span(0, bytes);
                let file = memory_file(c"gpuferry-lend", whole)?;
                if access != Access::Write {
                    // SAFETY: the caller promises that the memory is valid for reads.
                    let memory = unsafe { std::slice::from_raw_parts(address, bytes) };
                    file.write_all_at(memory, 0)?;
                }
                let pinned = link.pin((file.as_fd(), 0), 0, bytes, access.flags())?;
                let back = (access != Access::Read).then_some(address.cast_mut());
                Ok(Lease { session: self, lease: pinned.lease, bytes, copy: Some((file, back)) })
            }
        }
    }

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

    /// Makes fresh zeroed memory that the worker can map at the same address. `bytes` is rounded up to whole pages.
    ///
    /// # Errors
    /// [`LendError`].
    pub fn page_locked(&self, bytes: usize) -> Result<PageLocked, LendError> {
        if bytes == 0 || bytes > MAX_LEASE_BYTES {
            return Err(LendError::Limit);
        }
        let (_, whole) = page_span(0, bytes);
        let (file, flags) = match &self.link {
            Link::Virtio(_) => (None, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
            Link::Local(_) => (Some(memory_file(c"gpuferry-page-locked", whole)?), libc::MAP_SHARED),
        };
        let address = map_in_range(whole, flags | libc::MAP_POPULATE, file.as_ref())?;
        // SAFETY: the range was mapped above. Failure only costs memory in a child of fork.
        unsafe { libc::madvise(address.cast(), whole, libc::MADV_DONTFORK) };
        let mut memory = PageLocked { address, bytes, lease: 0, owned: true, replaced: None };
        let pinned = match (&self.link, &file) {
            (Link::Virtio(link), _) => link.pin(address as usize, whole, PIN_READ | PIN_WRITE),
            (Link::Local(link), Some(file)) => {
                link.pin((file.as_fd(), 0), address as usize, whole, PIN_READ | PIN_WRITE)
            }
            (Link::Local(_), None) => Err(LendError::BadRange),
        };
        match pinned {
            Ok(pinned) => memory.lease = pinned.lease,
            Err(error) => {
                memory.unmap();
                return Err(error);
            }
        }
        Ok(memory)
    }

    /// Lends the program's own memory for longer than a call. Over the local carrier, private anonymous memory is replaced by a
    /// shared mapping with the same contents; what another thread writes there meanwhile may be lost, and a child of fork shares
    /// it from then on. Of memory that is a file's and shared the file is lent. Other memory cannot be registered over the local carrier.
    ///
    /// # Errors
    /// [`LendError`].
    ///
    /// # Safety
    /// The memory must be the caller's to read and write until the value is given to [`Session::release`].
    pub unsafe fn register(&self, address: *mut u8, bytes: usize) -> Result<PageLocked, LendError> {
        let end = (address as usize).checked_add(bytes).ok_or(LendError::BadRange)?;
        if bytes == 0 || end.checked_next_multiple_of(PAGE_BYTES as usize).is_none() {
            return Err(LendError::BadRange);
        }
        let (start, whole) = page_span(address as usize, bytes);
        if whole > MAX_LEASE_BYTES {
            return Err(LendError::Limit);
        }
        let mut memory = PageLocked { address, bytes, lease: 0, owned: false, replaced: None };
        match &self.link {
            Link::Virtio(link) => memory.lease = link.pin(address as usize, bytes, PIN_READ | PIN_WRITE)?.lease,
            Link::Local(link) => {
                if let Some((file, offset)) = mapped::shared_file(start, whole) {
                    memory.lease =
                        link.pin((file.as_fd(), offset), address as usize, bytes, PIN_READ | PIN_WRITE)?.lease;
                    return Ok(memory);
                }
                if !mapped::is_private_anonymous(start, whole) {
                    return Err(LendError::BadRange);
                }
                let file = memory_file(c"gpuferry-registered", whole)?;
                memory.lease = link.pin((file.as_fd(), 0), address as usize, bytes, PIN_READ | PIN_WRITE)?.lease;
                // The pages may hold other parts of the program's heap: between the copy and the exchange nothing allocates.
                // SAFETY: the range was found mapped for reading; whole pages around the caller's memory.
                let copied = file.write_all_at(unsafe { std::slice::from_raw_parts(start as *const u8, whole) }, 0);
                if let Err(error) = copied.and_then(|()| remap(start, whole, &file)) {
                    link.unpin(memory.lease);
                    return Err(error.into());
                }
                memory.replaced = Some((start, whole));
            }
        }
        Ok(memory)
    }

    /// Ends a lease of [`Session::page_locked`] or [`Session::register`]. The worker must not use the memory any more.
    pub fn release(&self, memory: PageLocked) {
        self.link.unpin(memory.lease);
        if let Some((start, whole)) = memory.replaced {
            make_private(start, whole);
        }
        memory.unmap();
    }
}

/// The status of a call that wrote to a lease, which ends.
pub(crate) fn ended(status: i32, lease: Lease<'_>) -> i32 {
    if status != 0 {
        lease.discard();
    }
    status
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

impl PageLocked {
    fn unmap(&self) {
        if self.owned {
            let (_, whole) = page_span(0, self.bytes);
            // SAFETY: `page_locked` mapped the range, and the owner gives it up.
            unsafe { libc::munmap(self.address.cast(), whole) };
        }
    }
}

/// Puts a file in the place of pages that are mapped.
fn remap(start: usize, bytes: usize, file: &File) -> io::Result<()> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_FIXED;
    // SAFETY: the caller owns the pages, and the file has the same contents.
    let at = unsafe { libc::mmap(start as *mut libc::c_void, bytes, access, flags, file.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts private memory with the same contents in the place of pages that [`remap`] has shared. They may hold other parts of the
/// program's heap, so nothing here allocates, and they are exchanged in one step. Where memory is short they stay shared.
fn make_private(start: usize, bytes: usize) {
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE);
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let fresh = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
    if fresh == libc::MAP_FAILED {
        return;
    }
    let pages = start as *mut libc::c_void;
    // SAFETY: both ranges are mapped and have that length; the fresh one takes the place of the other, with what is in it.
    unsafe {
        std::ptr::copy_nonoverlapping(pages.cast_const(), fresh, bytes);
        if libc::mremap(fresh, bytes, bytes, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, pages) == libc::MAP_FAILED {
            libc::munmap(fresh, bytes);
        }
    }
}

/// Maps memory somewhere in the range that the worker keeps free.
fn map_in_range(bytes: usize, flags: i32, file: Option<&File>) -> io::Result<*mut u8> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let fd = file.map_or(-1, AsRawFd::as_raw_fd);
    // Allocations follow each other through the range and begin again at its end; a place in use is skipped.
    const STEP: usize = 2 << 20;
    for _ in 0..1024 {
        let offset =
            NEXT.fetch_add(bytes.next_multiple_of(STEP), Ordering::Relaxed) % (PAGE_LOCKED_BYTES - MAX_LEASE_BYTES);
        let wish = (PAGE_LOCKED_BASE + offset) as *mut libc::c_void;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: NOREPLACE never touches what is mapped.
        let at = unsafe { libc::mmap(wish, bytes, access, flags | libc::MAP_FIXED_NOREPLACE, fd, 0) };
        if at != libc::MAP_FAILED {
            return Ok(at.cast());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EEXIST) {
            return Err(error);
        }
    }
    Err(io::Error::from_raw_os_error(libc::ENOMEM))
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

    #[test]
    fn page_span_when_bytes_touch_pages_then_covers_them_whole() {
        assert_eq!(page_span(0x1010, 1), (0x1000, 0x1000));
        assert_eq!(page_span(0x1fff, 2), (0x1000, 0x2000));
        assert_eq!(page_span(0x2000, 4096), (0x2000, 4096));
    }

    #[test]
    fn make_private_when_pages_were_shared_then_they_keep_their_contents_and_the_file_is_let_go() {
        let memory = map_in_range(8192, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None).expect("mapped");
        let file = memory_file(c"test", 8192).expect("made");
        file.write_all_at(&[7; 8192], 0).expect("written");
        remap(memory as usize, 8192, &file).expect("mapped");
        assert!(!mapped::is_private_anonymous(memory as usize, 8192));
        make_private(memory as usize, 8192);
        assert!(mapped::is_private_anonymous(memory as usize, 8192));
        file.write_all_at(&[9; 8192], 0).expect("written");
        // SAFETY: mapped above, and nobody else's.
        assert!(unsafe { std::slice::from_raw_parts(memory, 8192) }.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn private_anonymous_when_the_range_is_a_file_or_unmapped_then_is_false() {
        let memory = map_in_range(1 << 16, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None).expect("mapped");
        assert!(mapped::is_private_anonymous(memory as usize, 1 << 16));
        assert!(!mapped::is_private_anonymous(memory as usize, 1 << 21));
        assert!(!mapped::is_private_anonymous(memory as usize - 4096, 4096));
        let file = memory_file(c"test", 4096).expect("made");
        let shared = map_in_range(4096, libc::MAP_SHARED, Some(&file)).expect("mapped");
        assert!(!mapped::is_private_anonymous(shared as usize, 4096));
    }
}
