//! Pages of this process at addresses that the host has chosen: two of the host's allocations may share one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

const PAGE: usize = 4096;

/// How many allocations lie in a page, by its number.
static PAGES: Mutex<BTreeMap<usize, u32>> = Mutex::new(BTreeMap::new());

fn numbers(address: usize, bytes: usize) -> Option<std::ops::Range<usize>> {
    let end = address.checked_add(bytes)?.checked_add(PAGE - 1)?;
    Some(address / PAGE..end / PAGE)
}

fn map(first: usize, count: usize) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE;
    let (address, bytes) = ((first * PAGE) as *mut libc::c_void, count * PAGE);
    // SAFETY: NOREPLACE never touches what is mapped.
    let at = unsafe { libc::mmap(address, bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    at == address
}

fn unmap(first: usize, count: usize) {
    // SAFETY: pages that `map` made and nobody uses any more.
    unsafe { libc::munmap((first * PAGE) as *mut libc::c_void, count * PAGE) };
}

/// Has memory at an address of the host's; false where something else is there.
#[must_use]
pub fn take(address: usize, bytes: usize) -> bool {
    let Some(range) = numbers(address, bytes).filter(|range| range.start != 0 && !range.is_empty()) else {
        return false;
    };
    let mut pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    // Only the first and the last page can be another allocation's too.
    let first = range.start + usize::from(pages.contains_key(&range.start));
    let last = range.end - usize::from(range.end > first && pages.contains_key(&(range.end - 1)));
    if first < last && !map(first, last - first) {
        return false;
    }
    range.for_each(|page| *pages.entry(page).or_insert(0) += 1);
    true
}

/// Ends what [`take`] began.
pub fn give_back(address: usize, bytes: usize) {
    let Some(range) = numbers(address, bytes) else { return };
    let mut pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut free: Option<std::ops::Range<usize>> = None;
    for page in range {
        let Some(count) = pages.get_mut(&page) else { continue };
        *count -= 1;
        if *count == 0 {
            pages.remove(&page);
            free = Some(free.map_or(page..page + 1, |free| free.start..page + 1));
        }
    }
    if let Some(free) = free {
        unmap(free.start, free.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_when_allocations_share_a_page_then_it_stays_until_both_end() {
        let base = 0x1234_5000_0000usize;
        assert!(take(base + 100, 5000));
        assert!(take(base + 5500, 100), "in the second page");
        assert!(take(base + 2 * PAGE + 8, 8));
        // SAFETY: within the pages that were just made.
        unsafe { *((base + 100) as *mut u8) = 7 };
        give_back(base + 100, 5000);
        // SAFETY: its page is another allocation's still.
        unsafe { *((base + 5500) as *mut u8) = 9 };
        assert!(take(base + 100, 8), "the first page is free again");
        // SAFETY: a fresh page.
        assert_eq!(unsafe { *((base + 100) as *const u8) }, 0);
        for (at, bytes) in [(100, 8), (5500, 100), (2 * PAGE + 8, 8)] {
            give_back(base + at, bytes);
        }
    }

    #[test]
    fn take_when_something_else_is_there_then_is_false() {
        let memory = vec![0u8; 3 * PAGE];
        assert!(!take(memory.as_ptr() as usize, 3 * PAGE));
        assert!(!take(0, 8) && !take(usize::MAX - 8, 100));
    }
}
