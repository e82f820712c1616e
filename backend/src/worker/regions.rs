//! The guest's memory, mapped once as a whole; leases and windows are parts of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError, RwLock};

use wire::control::{MAX_REGIONS, Piece};
use wire::device::PAGE_BYTES;

use crate::mapping::{Mapping, Source};

/// Bytes of a page.
pub(super) const PAGE: u64 = PAGE_BYTES as u64;

/// A region: a range of a file, and where it is mapped.
#[derive(Debug)]
pub(super) struct Region {
    file: OwnedFd,
    offset: u64,
    mapping: Mapping,
}

impl Region {
    /// Maps a range of a file.
    pub(super) fn new(file: OwnedFd, offset: u64, bytes: u64) -> io::Result<Region> {
        let mapping = Mapping::of(Source { file: file.as_fd(), offset, bytes })?;
        Ok(Region { file, offset, mapping })
    }

    /// Where a range of the file lies in memory, if all of it is in the region.
    pub(super) fn locate(&self, offset: u64, bytes: u64) -> Option<*mut u8> {
        let start = offset.checked_sub(self.offset)?;
        let end = start.checked_add(bytes)?;
        if end > self.mapping.bytes() as u64 {
            return None;
        }
        Some(self.mapping.base().wrapping_add(usize::try_from(start).ok()?))
    }

    /// A range of the file, to be mapped once more.
    pub(super) fn source(&self, offset: u64, bytes: u64) -> Source<'_> {
        Source { file: self.file.as_fd(), offset, bytes }
    }
}

/// All regions by number.
#[derive(Debug, Default)]
pub(super) struct Regions(RwLock<[Option<Arc<Region>>; MAX_REGIONS as usize]>);

impl Regions {
    /// Adds a region, or replaces one of the same number. Leases of a replaced one keep it.
    pub(super) fn set(&self, number: u32, region: Region) {
        let mut regions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = regions.get_mut(number as usize) {
            *entry = Some(Arc::new(region));
        }
    }

    /// The region of a piece and where the piece lies, if it lies in one.
    pub(super) fn locate(&self, piece: &Piece) -> Option<(Arc<Region>, *mut u8)> {
        let regions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let region = regions.get(piece.region as usize)?.clone()?;
        let start = region.locate(piece.offset, piece.bytes)?;
        Some((region, start))
    }
}
