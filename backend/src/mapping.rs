//! Shared mappings of files, and address ranges kept free for them. All `unsafe` of this file is mmap(2) and munmap(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A range of this process's addresses that nobody else uses; unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: a mapping is an address range; who may touch its bytes is decided by who holds pointers into it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Where bytes of a file lie.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file.
    pub file: BorrowedFd<'a>,
    /// First byte, a multiple of the page size.
    pub offset: u64,
    /// Length, a multiple of the page size, not 0.
    pub bytes: u64,
}

const SHARED: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;

fn map(
    address: *mut u8,
    bytes: usize,
    protection: libc::c_int,
    flags: libc::c_int,
    file: Option<(BorrowedFd<'_>, u64)>,
) -> io::Result<*mut u8> {
    let (fd, offset) = file.map_or((-1, 0), |(file, offset)| (file.as_raw_fd(), offset));
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: without MAP_FIXED the kernel chooses free addresses or refuses; with it, callers in this file name only
    // addresses inside a `Mapping` or `Reservation` that they own.
    let base = unsafe { libc::mmap(address.cast(), bytes, protection, flags, fd, offset) };
    if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(base.cast()) }
}

fn size(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(io::Error::other)
}

impl Mapping {
    /// Maps bytes of a file, readable and writable, shared.
    /// # Errors
    /// As mmap(2).
    pub fn of(source: Source<'_>) -> io::Result<Mapping> {
        let bytes = size(source.bytes)?;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        let base = map(std::ptr::null_mut(), bytes, SHARED, flags, Some((source.file, source.offset)))?;
        Ok(Mapping { base, bytes })
    }

    /// Maps several ranges one after the other into one contiguous range, somewhere.
    /// # Errors
    /// As mmap(2); `InvalidInput` where the lengths add up to too much.
    pub fn joined(sources: &[Source<'_>]) -> io::Result<Mapping> {
        let bytes = total(sources)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let base = map(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, None)?;
        let mapping = Mapping { base, bytes };
        fill(base, sources)?;
        Ok(mapping)
    }

    /// As [`Mapping::joined`], at `address`, where nothing may be mapped yet.
    /// # Errors
    /// As mmap(2): `AlreadyExists` where something is mapped there.
    pub fn joined_at(address: u64, sources: &[Source<'_>]) -> io::Result<Mapping> {
        let bytes = total(sources)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
        let wanted = std::ptr::without_provenance_mut(size(address)?);
        let base = map(wanted, bytes, libc::PROT_NONE, flags, None)?;
        let mapping = Mapping { base, bytes };
        if base != wanted {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        fill(base, sources)?;
        Ok(mapping)
    }

    /// First byte.
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping's own, and its owner gives it up.
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}

fn total(sources: &[Source<'_>]) -> io::Result<usize> {
    let sum = sources.iter().try_fold(0u64, |sum, source| sum.checked_add(source.bytes));
    size(sum.ok_or(io::ErrorKind::InvalidInput)?)
}

/// Maps the sources over the range that begins at `base` and has at least their total length.
fn fill(base: *mut u8, sources: &[Source<'_>]) -> io::Result<()> {
    let mut at = base;
    for source in sources {
        let bytes = size(source.bytes)?;
        map(at, bytes, SHARED, libc::MAP_SHARED | libc::MAP_FIXED, Some((source.file, source.offset)))?;
        at = at.wrapping_add(bytes);
    }
    Ok(())
}

/// A fixed range of addresses that nothing else may use, in which mappings come and go.
#[derive(Debug)]
pub struct Reservation {
    whole: Mapping,
}

impl Reservation {
    /// Reserves `bytes` bytes at `address`.
    /// # Errors
    /// As mmap(2): `AlreadyExists` where something is mapped there.
    pub fn at(address: u64, bytes: u64) -> io::Result<Reservation> {
        let wanted = std::ptr::without_provenance_mut(size(address)?);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
        let bytes = size(bytes)?;
        let base = map(wanted, bytes, libc::PROT_NONE, flags, None)?;
        let whole = Mapping { base, bytes };
        if base != wanted {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        Ok(Reservation { whole })
    }

    /// Whether a range lies inside.
    #[must_use]
    pub fn contains(&self, address: u64, bytes: u64) -> bool {
        let start = self.whole.base as u64;
        let end = start + self.whole.bytes as u64;
        address >= start && address.checked_add(bytes).is_some_and(|last| last <= end)
    }

    /// Maps sources at `address`. The caller keeps ranges apart from each other.
    /// # Errors
    /// As mmap(2); `InvalidInput` where the range is not inside.
    pub fn map(&self, address: u64, sources: &[Source<'_>]) -> io::Result<*mut u8> {
        let bytes = total(sources)?;
        if !self.contains(address, bytes as u64) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let base = std::ptr::without_provenance_mut(size(address)?);
        fill(base, sources).inspect_err(|_| self.free(address, bytes as u64))?;
        Ok(base)
    }

    /// Takes what is mapped in a range away; outside of the reservation it does nothing.
    pub fn free(&self, address: u64, bytes: u64) {
        if !self.contains(address, bytes) {
            return;
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        if let (Ok(base), Ok(bytes)) = (size(address), size(bytes)) {
            let base = std::ptr::without_provenance_mut(base);
            if let Err(error) = map(base, bytes, libc::PROT_NONE, flags, None) {
                log::error!("cannot take {bytes} bytes at {address:#x} out of the address space: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    #[test]
    fn joined_when_pieces_are_given_then_lies_in_their_order() {
        let file = std::fs::File::from(os::sealed_memory(3 * 4096).expect("memory"));
        for page in 0..3u8 {
            file.write_all_at(&[page; 4096], u64::from(page) * 4096).expect("written");
        }
        let piece = |page: u64| Source { file: file.as_fd(), offset: page * 4096, bytes: 4096 };
        let mapping = Mapping::joined(&[piece(2), piece(0)]).expect("mapped");
        // SAFETY: both addresses are inside the mapping.
        let seen = unsafe { (mapping.base().read_volatile(), mapping.base().add(4096).read_volatile()) };
        assert_eq!(seen, (2, 0));
    }

    #[test]
    fn reservation_when_a_range_is_not_inside_then_refuses() {
        let reservation = Reservation::at(0x6100_0000_0000, 1 << 30).expect("reserved");
        let file = os::sealed_memory(4096).expect("memory");
        let source = Source { file: file.as_fd(), offset: 0, bytes: 4096 };
        assert!(reservation.map(0x6100_0000_0000 + (1 << 30), &[source]).is_err());
        assert!(reservation.map(0x60ff_ffff_f000, &[source]).is_err());
        let base = reservation.map(0x6100_0000_1000, &[source]).expect("mapped");
        // SAFETY: mapped just now, and nobody else knows it.
        unsafe { base.write_volatile(9) };
        reservation.free(0x6100_0000_1000, 4096);
        assert!(Reservation::at(0x6100_0000_0000, 4096).is_err(), "taken");
    }
}
