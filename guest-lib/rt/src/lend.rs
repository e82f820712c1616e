//! Memory that is lent: the worker reads or writes it in place, until the lease ends.
//!
//! Over the virtio carrier the module pins the caller's own pages. Where one piece is needed the local carrier lends a memory
//! file, through which the data is copied. A lease ends when its guard is dropped, which its owner does only when the call that
//! uses it has been answered.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, FromRawFd};
use std::os::unix::fs::FileExt;

use wire::device::{MAX_PIN_PAGES, PAGE_BYTES, PIN_READ, PIN_WRITE};
use wire::payload::Buffer;

use crate::carrier::{LendError, Link};
use crate::session::Session;

/// Most bytes of one lease.
pub const MAX_LEASE_BYTES: usize = (MAX_PIN_PAGES as usize - 1) * PAGE_BYTES as usize;

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

/// The whole pages around `bytes` bytes at `address`: where they start, and their bytes.
pub(crate) fn page_span(address: usize, bytes: usize) -> (usize, usize) {
    let page = PAGE_BYTES as usize;
    let start = address & !(page - 1);
    (start, (address + bytes).next_multiple_of(page) - start)
}

/// A file of memory, of so many bytes.
pub(crate) fn memory_file(name: &std::ffi::CStr, bytes: usize) -> io::Result<File> {
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
}

/// The status of a call that wrote to a lease, which ends.
pub(crate) fn ended(status: i32, lease: Lease<'_>) -> i32 {
    if status != 0 {
        lease.discard();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_span_when_bytes_touch_pages_then_covers_them_whole() {
        assert_eq!(page_span(0x1010, 1), (0x1000, 0x1000));
        assert_eq!(page_span(0x1fff, 2), (0x1000, 0x2000));
        assert_eq!(page_span(0x2000, 4096), (0x2000, 4096));
    }
}
