//! The window as this process maps it.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use wire::ring::{RingMemory, Words};
use wire::slot::SlotHead;
use wire::window::{
    HEADER_BYTES, Header, RING_OFFSET, STAGING_OFFSET, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN, slot_offset,
};

/// A mapped window; unmapped on drop.
#[derive(Debug)]
pub(crate) struct Window {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: the mapping belongs to the value; its words are atomics, and its bytes are handed out by reservations and slots.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// Maps `bytes` of the file at offset 0, shared. A child of fork does not inherit it.
    pub fn map(file: BorrowedFd<'_>, bytes: usize) -> io::Result<Window> {
        if !(WINDOW_BYTES_MIN..=WINDOW_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(HEADER_BYTES) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a window of {bytes} bytes")));
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping of a file at an address of the kernel's choice.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range was mapped above. Failure only costs memory in a child of fork.
        unsafe { libc::madvise(base, bytes, libc::MADV_DONTFORK) };
        Ok(Window { base: base.cast(), bytes })
    }

    pub fn header(&self) -> &Header {
        // SAFETY: the window begins with a header, page-aligned, mapped for as long as `self`; all its fields are atomics.
        unsafe { &*self.base.cast::<Header>() }
    }

    pub fn words(&self) -> Words<'_> {
        Words::of(self.header())
    }

    pub fn ring(&self) -> RingMemory {
        // SAFETY: `map` checked that the ring lies within the window; sessions keep the window as long as its ring.
        unsafe { RingMemory::new(self.base.add(RING_OFFSET)) }
    }

    pub fn slot(&self, index: usize) -> &SlotHead {
        // SAFETY: `slot_offset` asserts that the slot lies within the smallest window; its head is atomics, aligned to 64.
        unsafe { &*self.base.add(slot_offset(index)).cast::<SlotHead>() }
    }

    /// First byte of the payload of slot `index`.
    pub fn slot_payload(&self, index: usize) -> *const u8 {
        // SAFETY: as in `slot`; the payload begins within it.
        unsafe { self.base.add(slot_offset(index) + wire::slot::SLOT_PAYLOAD_OFFSET) }
    }

    /// Bytes of the staging area.
    pub fn staging_bytes(&self) -> usize {
        self.bytes - STAGING_OFFSET
    }

    /// The staging area's first byte.
    pub fn staging(&self) -> *mut u8 {
        // SAFETY: `map` checked that the window reaches at least there.
        unsafe { self.base.add(STAGING_OFFSET) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map` and nothing refers to it any more.
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}
