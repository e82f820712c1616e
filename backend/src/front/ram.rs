//! The guest's memory as files: what a worker can map for itself.
//!
//! The VMM gives regions anew whenever anything changes. Workers map each region once, so a region that is the same as before
//! keeps its number here, and sessions only send what their worker does not have.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use vm_memory::{Address, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use wire::Malformed;
use wire::control::{MAX_REGIONS, Message, Piece};
use wire::device::{Extent, PAGE_BYTES};

/// What makes a region the same as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    offset: u64,
    start: u64,
    bytes: u64,
}

/// A region of guest memory.
#[derive(Debug)]
pub struct Region {
    number: u32,
    identity: Identity,
    file: File,
}

impl Region {
    /// Its number among the guest's regions.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The message that gives it to a worker.
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn message(&self) -> std::io::Result<(Message, OwnedFd)> {
        let Identity { offset, bytes, .. } = self.identity;
        Ok((Message::Region { region: self.number, offset, bytes }, self.file.try_clone()?.into()))
    }
}

/// All regions.
#[derive(Debug, Default)]
pub struct Ram {
    regions: Vec<Arc<Region>>,
}

impl Ram {
    /// Takes over what the VMM says. Regions that workers cannot map are left out, with a line in the log.
    pub fn update(&mut self, memory: &GuestMemoryMmap) {
        let mut regions: Vec<Arc<Region>> = Vec::new();
        let mut fresh = Vec::new();
        for region in memory.iter() {
            let Some(place) = region.file_offset() else {
                log::error!(
                    "guest memory at {:#x} is not shared, so no worker can see it: use memory-backend-memfd with share=on",
                    region.start_addr().raw_value()
                );
                continue;
            };
            let file = place.file().try_clone().and_then(|file| Ok((file.metadata()?, file)));
            let Ok((metadata, file)) = file.inspect_err(|error| log::error!("file of guest memory: {error}")) else {
                continue;
            };
            let identity = Identity {
                device: metadata.dev(),
                inode: metadata.ino(),
                offset: place.start(),
                start: region.start_addr().raw_value(),
                bytes: region.len(),
            };
            match self.regions.iter().find(|known| known.identity == identity) {
                Some(known) => regions.push(Arc::clone(known)),
                None => fresh.push((identity, file)),
            }
        }
        for (identity, file) in fresh {
            let free = (0..MAX_REGIONS).find(|number| regions.iter().all(|region| region.number != *number));
            match free {
                Some(number) => regions.push(Arc::new(Region { number, identity, file })),
                None => log::error!("guest memory has more than {MAX_REGIONS} regions: the rest cannot be used"),
            }
        }
        self.regions = regions;
    }

    /// All regions.
    #[must_use]
    pub fn regions(&self) -> &[Arc<Region>] {
        &self.regions
    }

    /// Where extents of whole pages lie in the regions' files; neighbours are joined.
    /// # Errors
    /// [`Malformed`] where a page is in no region.
    pub fn pieces(&self, extents: &[Extent]) -> Result<Vec<Piece>, Malformed> {
        let mut pieces: Vec<Piece> = Vec::new();
        for extent in extents {
            let mut at = extent.address;
            let mut left = u64::from(extent.pages) * u64::from(PAGE_BYTES);
            while left > 0 {
                let piece = self.piece(at, left).ok_or(Malformed::new("pages outside of guest memory"))?;
                at = at.saturating_add(piece.bytes);
                left -= piece.bytes;
                match pieces.last_mut() {
                    Some(last) if last.region == piece.region && last.offset + last.bytes == piece.offset => {
                        last.bytes += piece.bytes;
                    }
                    _ => pieces.push(piece),
                }
            }
        }
        Ok(pieces)
    }

    /// As much of a range as lies in the region of its first byte.
    fn piece(&self, address: u64, bytes: u64) -> Option<Piece> {
        self.regions.iter().find_map(|region| {
            let Identity { start, bytes: length, offset, .. } = region.identity;
            let skip = address.checked_sub(start)?;
            let room = length.checked_sub(skip)? & !(u64::from(PAGE_BYTES) - 1);
            let bytes = bytes.min(room);
            (bytes > 0).then_some(Piece { region: region.number, offset: offset.checked_add(skip)?, bytes })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os;
    use vm_memory::{FileOffset, GuestAddress};

    const MIB: u64 = 1 << 20;

    /// Two regions of one file, as QEMU makes for a guest of more than 3 GiB, the second far up.
    fn memory(file: &File) -> GuestMemoryMmap {
        let part = |start, bytes: u64, offset| {
            let file = file.try_clone().expect("file");
            (GuestAddress(start), bytes as usize, Some(FileOffset::new(file, offset)))
        };
        GuestMemoryMmap::from_ranges_with_files([part(0, MIB, 0), part(MIB, MIB, MIB), part(1 << 32, MIB, 2 * MIB)])
            .expect("memory")
    }

    fn file() -> File {
        os::sealed_memory(4 * MIB).expect("memory").into()
    }

    fn extent(address: u64, pages: u32) -> Extent {
        Extent { address, pages, reserved: 0 }
    }

    #[test]
    fn pieces_when_extents_are_in_memory_then_are_file_ranges() {
        let mut ram = Ram::default();
        ram.update(&memory(&file()));
        let pieces =
            ram.pieces(&[extent(0x1000, 2), extent(0x3000, 1), extent((1 << 32) + 0x2000, 1)]).expect("in memory");
        assert_eq!(pieces.len(), 2);
        assert_eq!((pieces[0].offset, pieces[0].bytes), (0x1000, 0x3000));
        assert_eq!((pieces[1].offset, pieces[1].bytes), (2 * MIB + 0x2000, 0x1000));
        let across = ram.pieces(&[extent(MIB - 0x1000, 2)]).expect("in memory");
        assert_eq!(across.iter().map(|piece| piece.bytes).collect::<Vec<_>>(), [0x1000, 0x1000]);
    }

    #[test]
    fn pieces_when_a_page_is_outside_then_are_refused() {
        let mut ram = Ram::default();
        ram.update(&memory(&file()));
        for bad in [extent(2 * MIB, 1), extent(2 * MIB - 0x1000, 2), extent(!0xfff, 1), extent(0, u32::MAX)] {
            assert!(ram.pieces(&[bad]).is_err(), "{bad:?}");
        }
        assert!(Ram::default().pieces(&[extent(0, 1)]).is_err());
    }

    #[test]
    fn update_when_a_region_is_the_same_then_keeps_its_number() {
        let (one, other) = (file(), file());
        let mut ram = Ram::default();
        ram.update(&memory(&one));
        let before = ram.regions().to_vec();
        ram.update(&memory(&one));
        assert!(ram.regions().iter().zip(&before).all(|(now, then)| Arc::ptr_eq(now, then)));
        ram.update(&memory(&other));
        assert!(ram.regions().iter().all(|now| before.iter().all(|then| !Arc::ptr_eq(now, then))));
    }
}
