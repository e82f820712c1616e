//! Reply slots: how a waited call's answer comes back.
//!
//! A guest thread owns a slot while it waits. It puts the slot's number and a sequence number into the frame; the worker writes
//! the payload, `bytes` and `status`, then stores the sequence number into `ready` (release). The guest spins on `ready`, then
//! stores `parked`, full fence, looks at `ready` again, and sleeps on that word; the worker stores `ready`, full fence, loads
//! `parked`, and wakes where it is set. At least one sees the other, so no wake-up is lost.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::window::{SLOT_BYTES, SLOT_COUNT};

/// Offset of the payload in a slot.
pub const SLOT_PAYLOAD_OFFSET: usize = 64;
/// Most bytes of a reply's payload.
pub const MAX_REPLY_BYTES: usize = SLOT_BYTES - SLOT_PAYLOAD_OFFSET;

/// The head of a slot.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct SlotHead {
    /// Sequence number of the reply that is there: stored by the worker. First word: its offset is the slot's.
    pub ready: AtomicU32,
    /// 1 while the guest thread sleeps or is about to: stored by the guest.
    pub parked: AtomicU32,
    /// The call's status (`CUresult`, `cl_int`), as 32 bits: stored by the worker.
    pub status: AtomicU32,
    /// Bytes of the payload: stored by the worker.
    pub bytes: AtomicU32,
    /// Sequence number of the answer that the guest has done with, in a standing call: stored by the guest.
    pub done: AtomicU32,
}

/// Publishes a reply whose payload is written. Returns whether the guest thread sleeps and must be woken.
///
/// Called by the worker.
pub fn publish(slot: &SlotHead, sequence: u32, status: i32, bytes: u32) -> bool {
    slot.status.store(status as u32, Ordering::Relaxed);
    slot.bytes.store(bytes, Ordering::Relaxed);
    // Release: pairs with the acquire of `ready` in `is_ready`.
    slot.ready.store(sequence, Ordering::Release);
    // Full fence: pairs with the one in `park`.
    fence(Ordering::SeqCst);
    slot.parked.load(Ordering::Relaxed) != 0
}

/// Whether the reply is there. Called by the guest.
#[inline]
pub fn is_ready(slot: &SlotHead, sequence: u32) -> bool {
    slot.ready.load(Ordering::Acquire) == sequence
}

/// Announces that the guest thread is about to sleep on `ready`. Returns the value to sleep on, or `None` where the reply is
/// there by now.
pub fn park(slot: &SlotHead, sequence: u32) -> Option<u32> {
    slot.parked.store(1, Ordering::Relaxed);
    // Full fence: pairs with the one in `publish`.
    fence(Ordering::SeqCst);
    let now = slot.ready.load(Ordering::Acquire);
    (now != sequence).then_some(now)
}

/// Announces that the guest thread is awake.
pub fn unpark(slot: &SlotHead) {
    slot.parked.store(0, Ordering::Relaxed);
}

/// The guest has done with an answer of a standing call, which may be given the next. Called by the guest.
pub fn finish(slot: &SlotHead, sequence: u32) {
    // Release: pairs with the acquire in `is_finished`; what the guest did before is seen by what follows.
    slot.done.store(sequence, Ordering::Release);
}

/// Whether the guest has done with that answer of a standing call. Called by the worker.
pub fn is_finished(slot: &SlotHead, sequence: u32) -> bool {
    slot.done.load(Ordering::Acquire) == sequence
}

/// Which slots are free: private to the guest process.
#[derive(Debug)]
pub struct FreeSlots(AtomicU64);

const _: () = assert!(SLOT_COUNT == 64);

impl Default for FreeSlots {
    fn default() -> FreeSlots {
        FreeSlots::new()
    }
}

impl FreeSlots {
    /// All are free.
    #[must_use]
    pub fn new() -> FreeSlots {
        FreeSlots(AtomicU64::new(u64::MAX))
    }

    /// Takes slot `preferred` where it is free, else any; `None` where none is.
    pub fn take(&self, preferred: usize) -> Option<usize> {
        let mut free = self.0.load(Ordering::Relaxed);
        loop {
            let index = match free {
                0 => return None,
                _ if free >> (preferred % SLOT_COUNT) & 1 == 1 => preferred % SLOT_COUNT,
                _ => free.trailing_zeros() as usize,
            };
            // Acquire: pairs with the release in `give`, so that the slot's last use is over.
            match self.0.compare_exchange_weak(free, free & !(1 << index), Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(index),
                Err(now) => free = now,
            }
        }
    }

    /// Gives a slot back.
    pub fn give(&self, index: usize) {
        self.0.fetch_or(1 << (index % SLOT_COUNT), Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn slots_when_all_are_taken_then_none_is_free_until_one_is_given() {
        let free = FreeSlots::new();
        let taken: std::collections::BTreeSet<_> = (0..SLOT_COUNT).filter_map(|i| free.take(i * 7)).collect();
        assert_eq!(taken.len(), SLOT_COUNT);
        assert_eq!(free.take(3), None);
        free.give(9);
        assert_eq!(free.take(3), Some(9));
    }

    #[test]
    fn park_when_the_reply_came_first_then_does_not_sleep() {
        let slot = SlotHead {
            ready: AtomicU32::new(0),
            parked: AtomicU32::new(0),
            status: AtomicU32::new(0),
            bytes: AtomicU32::new(0),
            done: AtomicU32::new(0),
        };
        assert_eq!(park(&slot, 1), Some(0));
        assert!(publish(&slot, 1, 0, 0), "a parked thread must be woken");
        assert_eq!(park(&slot, 1), None);
        assert!(!is_finished(&slot, 1), "the guest has done with no answer");
        finish(&slot, 1);
        assert!(is_finished(&slot, 1) && !is_finished(&slot, 2));
    }
}
