//! The memory of a session: its window's staging area and what the guest has lent.
//!
//! A lease ends when nothing uses it any more and not before. [`Pieces`] and mappings made by [`Memory::map_at`] hold their
//! lease; an unpin takes it out of the table, so that no new use begins, and is answered when the last holder lets go.
//! Offsets and lengths come from the guest; here they meet the lease's real extent.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::Malformed;
use wire::control::Piece as WirePiece;
use wire::payload::Buffer;

use super::lease::{Answers, Lease, Lent, Pieces, PinError};
use super::regions::Regions;
use crate::mapping::{Mapping, Reservation};
use crate::window::Window;

/// Where page-locked memory of a guest lies, in the guest and here.
pub const PAGE_LOCKED_ADDRESS: u64 = 0x6000_0000_0000;
/// How much of it there can be.
pub const PAGE_LOCKED_BYTES: u64 = 1 << 40;
/// Nothing is mapped below: a null pointer of the driver's must not lead into the guest's pages, also where this process may
/// map there.
const LOWEST_ADDRESS: u64 = 1 << 16;
/// Most ranges mapped by [`Memory::map_at`] at a time.
pub const MAX_MAPPED: usize = 16384;

/// Why lent memory cannot be mapped at an address.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// There is no such lease, or it has no such extent.
    #[error("the lease does not cover the range")]
    Lease,
    /// The guest lent the pages for reading only.
    #[error("the pages are lent for reading only")]
    ReadOnly,
    /// Something is mapped there.
    #[error("the addresses are in use")]
    InUse,
    /// [`MAX_MAPPED`] is reached.
    #[error("too many mapped ranges")]
    Limit,
    /// The system's own trouble.
    #[error("mapping lent memory: {0}")]
    Io(#[from] io::Error),
}

#[derive(Debug)]
enum Place {
    /// In the reservation: its length.
    Reserved(u64),
    /// Anywhere else.
    Own(Mapping),
}

impl Place {
    fn bytes(&self) -> u64 {
        match self {
            Place::Reserved(bytes) => *bytes,
            Place::Own(mapping) => mapping.bytes() as u64,
        }
    }
}

#[derive(Debug)]
struct Mapped {
    place: Place,
    _lease: Arc<Lease>,
}

/// Memory that [`Memory::map_at`] has mapped and that stays the guest's as long as this lives: its addresses are not given to
/// anything else.
#[derive(Debug)]
pub struct Held(#[allow(dead_code, reason = "it keeps the mapping")] Arc<Mapped>);

/// See the module's head.
#[derive(Debug)]
pub struct Memory {
    window: Arc<Window>,
    regions: Arc<Regions>,
    reservation: Arc<Reservation>,
    answers: Arc<Answers>,
    leases: Mutex<HashMap<u32, Arc<Lease>>>,
    /// By address of the first page.
    mapped: Mutex<BTreeMap<u64, Arc<Mapped>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    pub(super) fn new(
        window: Arc<Window>,
        regions: Arc<Regions>,
        reservation: Arc<Reservation>,
        answers: Arc<Answers>,
    ) -> Memory {
        Memory { window, regions, reservation, answers, leases: Mutex::default(), mapped: Mutex::default() }
    }

    /// Takes lent memory into the table.
    pub(super) fn pin(
        &self,
        lent: Lent,
        pieces: &[WirePiece],
        file: Option<std::os::fd::OwnedFd>,
    ) -> Result<(), PinError> {
        let mut leases = lock(&self.leases);
        if leases.contains_key(&lent.lease) {
            return Err(PinError::Invalid("its number is in use"));
        }
        let lease = Lease::new(lent, pieces, file, &self.regions, Arc::clone(&self.answers))?;
        leases.insert(lent.lease, Arc::new(lease));
        Ok(())
    }

    /// Ends a lease: `cookie` is answered when nothing uses it any more. Returns false where there is none.
    pub(super) fn unpin(&self, lease: u32, cookie: u64) -> bool {
        let Some(lease) = lock(&self.leases).remove(&lease) else { return false };
        lease.answer_when_free(cookie);
        true
    }

    fn lease(&self, number: u32) -> Option<Arc<Lease>> {
        lock(&self.leases).get(&number).cloned()
    }

    /// The window's whole staging area: first byte and length, 0 for none.
    pub fn staging(&self) -> (*mut u8, usize) {
        self.window.staging_area()
    }

    /// Where the bytes of a buffer lie that is staged or leased. The pieces are in order and keep the lease alive.
    ///
    /// # Errors
    /// [`Malformed`] where the buffer lies elsewhere, reaches out of the staging area or its lease, or the lease does not
    /// allow the access.
    pub fn resolve(&self, buffer: &Buffer<'_>, need_write: bool) -> Result<Pieces, Malformed> {
        match *buffer {
            Buffer::Staging { offset, bytes } => {
                let start = self.window.staging(offset, bytes);
                let start = start.ok_or(Malformed::new("buffer reaches out of the staging area"))?;
                Ok(Pieces::staged(start, usize::try_from(bytes).map_err(|_| Malformed::new("buffer too large"))?))
            }
            Buffer::Lease { lease, offset, bytes } => {
                let lease = self.lease(lease).ok_or(Malformed::new("buffer names a lease that is none"))?;
                if !lease.allows(need_write) {
                    return Err(Malformed::new("lease does not allow the access"));
                }
                Pieces::of(lease, offset, bytes).ok_or(Malformed::new("buffer reaches out of its lease"))
            }
            Buffer::Null | Buffer::Inline(_) | Buffer::Reply { .. } => {
                Err(Malformed::new("buffer must be staged or leased"))
            }
        }
    }

    /// Maps a lease so that its first byte is at `address`, in the page-locked range or where nothing is mapped; the mapping
    /// holds the lease until [`Memory::unmap`].
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_at(&self, lease: u32, address: u64, bytes: u64) -> Result<*mut u8, MapError> {
        let lease = self.lease(lease).ok_or(MapError::Lease)?;
        if !lease.allows(true) {
            return Err(MapError::ReadOnly);
        }
        let first = lease.first_page(address, bytes).ok_or(MapError::Lease)?;
        let whole = lease.page_bytes();
        let mut mapped = lock(&self.mapped);
        if mapped.len() >= MAX_MAPPED {
            return Err(MapError::Limit);
        }
        if first < LOWEST_ADDRESS {
            return Err(MapError::InUse);
        }
        let end = first.checked_add(whole).ok_or(MapError::Lease)?;
        if mapped.range(..end).next_back().is_some_and(|(start, entry)| start + entry.place.bytes() > first) {
            return Err(MapError::InUse);
        }
        let place = if self.reservation.contains(first, whole) {
            self.reservation.map(first, &lease.sources())?;
            Place::Reserved(whole)
        } else {
            let at = Mapping::joined_at(first, &lease.sources());
            Place::Own(at.map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => MapError::InUse,
                _ => MapError::Io(error),
            })?)
        };
        mapped.insert(first, Arc::new(Mapped { place, _lease: lease }));
        Ok(std::ptr::with_exposed_provenance_mut(usize::try_from(address).map_err(io::Error::other)?))
    }

    /// Takes away what [`Memory::map_at`] mapped at `address`; false where there is nothing.
    pub fn unmap(&self, address: u64) -> bool {
        let first = address & !(super::regions::PAGE - 1);
        let Some(entry) = lock(&self.mapped).remove(&first) else { return false };
        if let Place::Reserved(bytes) = entry.place {
            // Nothing but the guest's memory is ever mapped there, so who holds it may as well find nothing.
            self.reservation.free(first, bytes);
        }
        true
    }

    /// Keeps what is mapped at these addresses, also when it is unmapped meanwhile; `None` where that is not one mapping.
    pub fn hold(&self, address: u64, bytes: u64) -> Option<Held> {
        let mapped = lock(&self.mapped);
        let (first, entry) = mapped.range(..=address).next_back()?;
        let end = first.checked_add(entry.place.bytes())?;
        (address.checked_add(bytes)? <= end).then(|| Held(Arc::clone(entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::played;
    use super::super::regions::PAGE;
    use super::*;

    #[test]
    fn unmap_when_a_call_holds_the_memory_then_its_addresses_stay_the_guests_until_it_ends() {
        let session = played::session();
        let memory = session.memory();
        let (place, at) = (0x5c80_0000_0000, 0x5c80_0001_0000);
        played::lend(&session, 0, place, 2 * PAGE, &[0, 1]);
        memory.map_at(0, at, 2 * PAGE).expect("mapped");
        assert!(memory.hold(at + PAGE, PAGE + 1).is_none() && memory.hold(at - 1, 1).is_none());
        let held = memory.hold(at + 8, 2 * PAGE - 8).expect("one mapping");
        assert!(memory.unmap(at) && memory.hold(at, 1).is_none());
        assert!(Reservation::at(at, PAGE).is_err(), "nothing else gets the addresses");
        drop(held);
        assert!(Reservation::at(at, PAGE).is_ok());
    }

    #[test]
    fn map_when_there_are_too_many_ranges_then_is_refused_until_one_ends() {
        let session = played::session();
        let memory = session.memory();
        // One page of the guest's, mapped again and again where this process has nothing.
        let place = 0x5c00_0000_0000;
        played::lend(&session, 0, place, PAGE, &[0]);
        let address = |number: usize| place + 2 * PAGE * number as u64;
        for number in 0..MAX_MAPPED {
            memory.map_at(0, address(number), PAGE).expect("below the limit");
        }
        assert!(matches!(memory.map_at(0, address(MAX_MAPPED), PAGE), Err(MapError::Limit)));
        assert!(memory.unmap(address(7)) && !memory.unmap(address(7)));
        memory.map_at(0, address(MAX_MAPPED), PAGE).expect("one was given back");
        assert!(matches!(memory.map_at(0, address(7), PAGE), Err(MapError::Limit)));
        for number in (0..=MAX_MAPPED).filter(|number| *number != 7) {
            assert!(memory.unmap(address(number)));
        }
    }
}
