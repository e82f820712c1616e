//! Page-locked memory: this process and the worker both keep it mapped, at the same address where that is possible.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use wire::device::{PAGE_BYTES, PIN_READ, PIN_WRITE};

use crate::carrier::{LendError, Link};
use crate::lend::{MAX_LEASE_BYTES, memory_file, page_span};
use crate::mapped;
use crate::session::Session;

/// Where page-locked memory is mapped in this process: the worker keeps the same range free.
const PAGE_LOCKED_BASE: usize = 0x6000_0000_0000;
/// Bytes of that range.
const PAGE_LOCKED_BYTES: usize = 1 << 40;

/// Memory that this process and the worker both keep mapped, until [`Session::release`].
#[derive(Debug)]
pub struct PageLocked {
    /// First byte.
    pub address: *mut u8,
    /// Length in bytes, as asked for.
    pub bytes: usize,
    /// Number of the lease.
    pub lease: u32,
    /// Whether the memory is unmapped then: it was made by [`Session::page_locked`].
    owned: bool,
    /// Where registered memory was replaced by a shared file: its whole pages, to be made private again.
    replaced: Option<(usize, usize)>,
}

// SAFETY: a description of memory; what is done with the memory is the program's business.
unsafe impl Send for PageLocked {}
// SAFETY: as above.
unsafe impl Sync for PageLocked {}

impl Session {
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

    /// Lends the program's own memory for longer than a call. Over the local carrier, private anonymous memory is replaced by
    /// a shared mapping with the same contents; what another thread writes there meanwhile may be lost, and a child of fork
    /// shares it from then on. Of memory that is a file's and shared the file is lent. Other memory cannot be registered over
    /// the local carrier.
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
