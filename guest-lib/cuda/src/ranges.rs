//! What the guest knows of addresses: device memory, page-locked memory, reserved address space. Copies are routed and pointer
//! attributes answered by what an address is.
//!
//! Changed where memory comes and goes, under a write lock; looked at under a read lock. What is not here is the program's own
//! pageable memory, or no memory at all.

use crate::CUresult;
use crate::caller::Caller;
use crate::handles::Handle;
use crate::status::CUDA_ERROR_INVALID_VALUE;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// What an address range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Allocated for a device: cuMemAlloc, or an export of another process.
    Device,
    /// A variable of a module.
    Variable,
    /// A variable of a module that program and device share, each in memory of its own ([`crate::managed`]).
    ManagedVariable,
    /// Allocated from a pool, in stream order.
    Pool,
    /// Where a graph allocates, each time it runs.
    Graph,
    /// Managed memory.
    Managed,
    /// Page-locked memory that CUDA allocated.
    PageLocked,
    /// The program's memory, page-locked by cuMemHostRegister.
    Registered,
    /// Address space of cuMemAddressReserve: device memory where something is mapped.
    Reserved,
}

impl Kind {
    /// Whether the program itself may read and write it.
    #[must_use]
    pub fn is_host(self) -> bool {
        matches!(self, Kind::PageLocked | Kind::Registered | Kind::Managed)
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Length in bytes, as asked for.
    pub bytes: u64,
    /// What it is.
    pub kind: Kind,
    /// The context in which it was made; null for none.
    pub context: Handle,
    /// The device of that context; of memory of another process, its own.
    pub device: i32,
    /// Flags that it was made with, for page-locked memory.
    pub flags: u32,
    /// A number of its own in the process.
    pub id: u64,
}

impl Range {
    /// A range of the current context.
    #[must_use]
    pub fn new(start: u64, bytes: u64, kind: Kind, flags: u32) -> Range {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let (context, device) = (crate::context::current(), crate::context::current_device());
        Range { start, bytes, kind, context, device, flags, id }
    }
}

type Map = BTreeMap<u64, Range>;
static MAP: RwLock<Map> = RwLock::new(Map::new());

fn covering(map: &Map, address: u64) -> Option<Range> {
    let (_, range) = map.range(..=address).next_back()?;
    (address - range.start < range.bytes).then_some(*range)
}

/// Adds a range.
pub fn insert(range: Range) {
    MAP.write().unwrap_or_else(PoisonError::into_inner).insert(range.start, range);
}

/// Takes a range of one of these kinds away by its first address.
pub fn remove(start: u64, kinds: &[Kind]) -> Option<Range> {
    let mut map = MAP.write().unwrap_or_else(PoisonError::into_inner);
    if kinds.contains(&map.get(&start)?.kind) { map.remove(&start) } else { None }
}

/// The range that an address lies in.
#[must_use]
pub fn find(address: u64) -> Option<Range> {
    covering(&MAP.read().unwrap_or_else(PoisonError::into_inner), address)
}

/// The ranges of these kinds that were made in a context.
#[must_use]
pub fn of_context(context: Handle, kinds: &[Kind]) -> Vec<Range> {
    let map = MAP.read().unwrap_or_else(PoisonError::into_inner);
    map.values().filter(|range| range.context == context && kinds.contains(&range.kind)).copied().collect()
}

/// Whether any range shares a byte with this one.
#[must_use]
pub fn overlaps(start: u64, bytes: u64) -> bool {
    let map = MAP.read().unwrap_or_else(PoisonError::into_inner);
    let last = start.saturating_add(bytes.saturating_sub(1));
    map.range(..=last).next_back().is_some_and(|(_, range)| range.start.saturating_add(range.bytes) > start)
}

/// Whether `bytes` of device memory from an address on are the program's; the host is asked where the guest does not know. For
/// calls that nobody waits for, so that a wrong address is refused where it is given. The address must be a multiple of `aligned`.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`, also for a length that is none.
pub fn check(caller: &Caller, address: u64, bytes: Option<u64>, aligned: u64) -> Result<(), CUresult> {
    let bytes = bytes.filter(|_| address.is_multiple_of(aligned)).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let holds = |range: Range| range.kind == Kind::Reserved || bytes <= range.bytes - (address - range.start);
    match find(address) {
        Some(range) if holds(range) => Ok(()),
        Some(_) => Err(CUDA_ERROR_INVALID_VALUE),
        None if bytes == 0 => Ok(()),
        None => crate::pointer::find(caller, address).map(|_| ()).ok_or(CUDA_ERROR_INVALID_VALUE),
    }
}

/// A context has ended, and its device memory with it; page-locked memory has an end of its own, and reserved addresses are no
/// context's.
pub fn end_context(context: Handle) {
    let mut map = MAP.write().unwrap_or_else(PoisonError::into_inner);
    let ends = |kind| matches!(kind, Kind::Device | Kind::Variable | Kind::ManagedVariable | Kind::Pool);
    map.retain(|_, range| range.context != context || !ends(range.kind));
}

#[cfg(test)]
mod tests {
    use super::*;

    // The map is one for the process, so each test has addresses of its own.

    #[test]
    fn find_when_inside_then_gives_the_range_and_outside_none() {
        insert(Range::new(0x1000_0000, 0x100, Kind::Device, 0));
        assert_eq!(find(0x1000_00ff).map(|range| range.start), Some(0x1000_0000));
        assert_eq!(find(0x1000_0100), None);
        assert_eq!(find(0x0fff_ffff), None);
        assert_eq!(remove(0x1000_0000, &[Kind::PageLocked]), None);
        assert!(remove(0x1000_0000, &[Kind::Device]).is_some());
        assert_eq!(find(0x1000_0000), None);
    }

    #[test]
    fn overlaps_when_a_byte_is_shared_then_says_so() {
        insert(Range::new(0x2000_0000, 0x100, Kind::Registered, 0));
        assert!(overlaps(0x1fff_ffff, 2) && overlaps(0x2000_00ff, 1) && overlaps(0x1f00_0000, 0x0200_0000));
        assert!(!overlaps(0x1fff_ffff, 1) && !overlaps(0x2000_0100, 16));
    }

    #[test]
    fn end_context_when_called_then_forgets_its_device_memory_alone() {
        let context = Handle::new(60, 1, 5);
        insert(Range { context, ..Range::new(0x3000_0000, 16, Kind::Device, 0) });
        insert(Range { context, ..Range::new(0x3100_0000, 16, Kind::PageLocked, 0) });
        insert(Range::new(0x3200_0000, 16, Kind::Device, 0));
        end_context(context);
        assert!(find(0x3000_0000).is_none() && find(0x3100_0000).is_some() && find(0x3200_0000).is_some());
    }
}
