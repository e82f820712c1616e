//! Host memory that the program registered: device-accessible without being in the arena.
//!
//! Kernels reach these ranges by their slow path, which asks [`allows`]. Registered memory is the program's; it
//! promises to keep it mapped until it is unregistered.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::status::{Answer, Status};

/// CU_MEMHOSTREGISTER_READ_ONLY.
pub const READ_ONLY: u32 = 8;

/// A registered range.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// CU_MEMHOSTREGISTER_* flags.
    pub flags: u32,
    /// Handle of the context it was registered in.
    pub context: u64,
    /// A number never used twice for registrations.
    pub id: u64,
}

static RANGES: RwLock<BTreeMap<u64, Registered>> = RwLock::new(BTreeMap::new());

/// Registers a range; one that meets another is refused.
pub fn register(base: u64, size: u64, flags: u32, context: u64) -> Answer {
    let end = base.checked_add(size).ok_or(Status::INVALID_VALUE)?;
    let mut ranges = RANGES.write().unwrap_or_else(PoisonError::into_inner);
    let before = ranges.range(..end).next_back();
    if before.is_some_and(|(_, other)| other.base + other.size > base) {
        return Err(Status::HOST_MEMORY_ALREADY_REGISTERED);
    }
    // High numbers, so that they do not meet the arena's.
    let id = (1 << 63) | crate::context::next_id();
    ranges.insert(base, Registered { base, size, flags, context, id });
    Ok(())
}

/// Unregisters the range that begins at `base`; an address inside one is another mistake than one outside all.
pub fn unregister(base: u64) -> Answer {
    if find(base).is_some_and(|range| range.base != base) {
        return Err(Status::INVALID_VALUE);
    }
    let mut ranges = RANGES.write().unwrap_or_else(PoisonError::into_inner);
    ranges.remove(&base).map(drop).ok_or(Status::HOST_MEMORY_NOT_REGISTERED)
}

/// The range that an address lies in.
pub fn find(address: u64) -> Option<Registered> {
    let ranges = RANGES.read().unwrap_or_else(PoisonError::into_inner);
    let (_, range) = ranges.range(..=address).next_back()?;
    (address - range.base < range.size).then_some(*range)
}

/// Whether a kernel may access these bytes.
pub fn allows(address: u64, length: u64, write: bool) -> bool {
    find(address)
        .is_some_and(|range| length <= range.size - (address - range.base) && !(write && range.flags & READ_ONLY != 0))
}

/// Unregisters what belongs to a context.
pub fn forget_all_of(context: u64) {
    RANGES.write().unwrap_or_else(PoisonError::into_inner).retain(|_, range| range.context != context);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn register_when_ranges_meet_then_refused() {
        register(0x7000_0000, 0x1000, 0, 77).expect("free");
        assert_eq!(register(0x7000_0fff, 1, 0, 77), Err(Status::HOST_MEMORY_ALREADY_REGISTERED));
        assert_eq!(register(0x6fff_f000, 0x1001, 0, 77), Err(Status::HOST_MEMORY_ALREADY_REGISTERED));
        assert!(allows(0x7000_0ff8, 8, true));
        assert!(!allows(0x7000_0ff9, 8, false));
        unregister(0x7000_0000).expect("registered");
        assert_eq!(unregister(0x7000_0000), Err(Status::HOST_MEMORY_NOT_REGISTERED));
    }

    #[test]
    fn allows_when_read_only_then_no_writes() {
        register(0x7100_0000, 64, READ_ONLY, 78).expect("free");
        assert!(allows(0x7100_0000, 4, false));
        assert!(!allows(0x7100_0000, 4, true));
        forget_all_of(78);
        assert!(!allows(0x7100_0000, 4, false));
    }
}
