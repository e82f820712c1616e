//! The addresses that belong to the guest: what it allocated on the device, reserved, or page-locked, and the variables of its
//! modules.

use std::collections::{BTreeMap, HashSet};

use wire::handle::Handle;

/// What kind of memory a range is: what frees one kind does not free another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Allocated by `cuMemAlloc` and its relatives.
    Allocated,
    /// Allocated by a graph each time it runs, at the same address.
    Graph,
    /// Memory of another process of the guest.
    Imported,
    /// Addresses by `cuMemAddressReserve`.
    Reserved,
    /// Page-locked memory of the guest.
    PageLocked,
    /// A variable of a module or library.
    Variable,
    /// A variable of a library that the host reaches too.
    Managed,
}

/// Memory of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Length.
    pub bytes: u64,
    /// What it is.
    pub sort: Sort,
    /// The context, module or library that it ends with; null for none but the session.
    pub owner: Handle,
}

/// Ranges by their first address; they do not overlap.
#[derive(Debug, Default)]
pub struct Ranges {
    by_start: BTreeMap<u64, Range>,
}

impl Ranges {
    /// Takes a range in. One of no bytes is none.
    pub fn insert(&mut self, start: u64, range: Range) {
        if range.bytes != 0 {
            self.by_start.insert(start, range);
        }
    }

    /// Takes out the range of that sort that begins there.
    pub fn remove(&mut self, start: u64, sort: Sort) -> Option<Range> {
        self.by_start.get(&start).filter(|range| range.sort == sort)?;
        self.by_start.remove(&start)
    }

    /// Takes out all that ended, or is about to end, with these objects.
    pub fn remove_owned(&mut self, ended: &[Handle]) -> Vec<(u64, Range)> {
        // As many as a program has objects, against as many as it has allocations.
        let ended: HashSet<Handle> = ended.iter().copied().collect();
        let is_owned = |_: &u64, range: &mut Range| !range.owner.is_null() && ended.contains(&range.owner);
        self.by_start.extract_if(.., is_owned).collect()
    }

    /// Whether `bytes` bytes from `start` on lie in one range. No bytes lie anywhere.
    #[must_use]
    pub fn contains(&self, start: u64, bytes: u64) -> bool {
        bytes == 0 || self.holding(start, bytes).is_some()
    }

    /// Whether they lie in one range of that sort.
    #[must_use]
    pub fn contains_of(&self, start: u64, bytes: u64, sort: Sort) -> bool {
        self.holding(start, bytes).is_some_and(|range| range.sort == sort)
    }

    fn holding(&self, start: u64, bytes: u64) -> Option<&Range> {
        let (first, range) = self.by_start.range(..=start).next_back()?;
        let before = start - first;
        (before < range.bytes && bytes <= range.bytes - before).then_some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(bytes: u64, owner: Handle) -> Range {
        Range { bytes, sort: Sort::Allocated, owner }
    }

    #[test]
    fn contains_when_a_byte_lies_outside_then_is_false() {
        let mut ranges = Ranges::default();
        ranges.insert(0x1000, range(0x100, Handle::NULL));
        ranges.insert(0x1100, range(0x100, Handle::NULL));
        assert!(ranges.contains(0x1000, 0x100) && ranges.contains(0x10ff, 1) && ranges.contains(0x1100, 1));
        assert!(ranges.contains(0x5000, 0));
        assert!(ranges.contains_of(0x1000, 1, Sort::Allocated) && !ranges.contains_of(0x1000, 1, Sort::Managed));
        let outside =
            [(0xfff, 1), (0xfff, 2), (0x1000, 0x101), (0x10ff, 2), (0x1200, 1), (0x1000, u64::MAX), (u64::MAX, 2)];
        for (start, bytes) in outside {
            assert!(!ranges.contains(start, bytes), "{start:#x} {bytes:#x}");
        }
        assert_eq!(ranges.remove(0x1000, Sort::Variable), None, "only what frees that sort");
        assert_eq!(ranges.remove(0x1000, Sort::Allocated).map(|range| range.bytes), Some(0x100));
        assert!(!ranges.contains(0x1000, 1));
    }

    #[test]
    fn remove_owned_when_a_module_ends_then_its_variables_are_gone() {
        let mut ranges = Ranges::default();
        let module = Handle::new(4, 1, 0);
        ranges.insert(0x1000, range(16, module));
        ranges.insert(0x2000, range(16, Handle::NULL));
        ranges.remove_owned(&[module]);
        assert!(!ranges.contains(0x1000, 1) && ranges.contains(0x2000, 1));
    }
}
