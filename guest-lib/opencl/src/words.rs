//! What the host says of events without being asked: a word of shared memory for each event, by its place in the arena,
//! written by the host when an event that is watched reaches a status. [`crate::event`] has an event watched when it is first
//! asked for.
//!
//! A word holds the status and, above it, the generation of the handle for which it was written: what a command says whose
//! event was released and its cell used again speaks of no event that is. The host may be late: the library's threads write
//! the words, perhaps after a wait for the same command has returned, or early: NVIDIA's says that a command runs that waits
//! for another. So a word is believed where it says that an event has ended. Else it tells when to ask; and what the host
//! answers is good for as long as nothing else was learnt since ([`learnt`]).

use crate::caller::Caller;
use crate::generated::send;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;
use wire::handle::Handle;

/// Words that are lent: events beyond them are asked for.
const WORDS: u32 = 32768;

/// Address of the first word, 0 where there are none.
static BASE: OnceLock<usize> = OnceLock::new();
/// How often this process has learnt that something has ended.
static LEARNT: AtomicU64 = AtomicU64::new(0);

/// This process learns that something on the host has ended.
pub fn learn() {
    LEARNT.fetch_add(1, Ordering::AcqRel);
}

/// How often it has: while this stays as it is, what the host said last is still true as far as anybody here can tell.
#[must_use]
pub fn learnt() -> u64 {
    LEARNT.load(Ordering::Acquire)
}

fn tag(event: Handle) -> u32 {
    u32::from(event.generation())
}

/// The place of an event's word, for the host; none where it has none.
#[must_use]
pub fn place(caller: &Caller, event: Handle) -> Option<(u32, u32)> {
    let base = *BASE.get_or_init(|| lend(caller).unwrap_or_default());
    (base != 0 && event.index() < WORDS).then(|| (event.index(), tag(event)))
}

/// Lends the memory, for as long as the session lasts.
fn lend(caller: &Caller) -> Option<usize> {
    let memory = caller.session.page_locked(WORDS as usize * size_of::<AtomicU64>()).ok()?;
    if send::gpuferryEventWords(caller, memory.lease, WORDS) != 0 {
        caller.session.release(memory);
        return None;
    }
    // Never released.
    Some(memory.address as usize)
}

/// What the host has written of an event that it was asked to watch.
#[must_use]
pub fn read(event: Handle) -> Option<i32> {
    let base = *BASE.get().filter(|base| **base != 0)?;
    if event.index() >= WORDS {
        return None;
    }
    let word = (base + event.index() as usize * size_of::<AtomicU64>()) as *const AtomicU64;
    // SAFETY: inside the memory that was lent, which stays; both sides use its words as atomics only.
    // Acquire: pairs with the host's release after the command's own writes.
    let word = unsafe { &*word }.load(Ordering::Acquire);
    stated(word, event)
}

/// What a word says of an event.
fn stated(word: u64, event: Handle) -> Option<i32> {
    (word >> 32 == u64::from(tag(event))).then(|| (word as u32).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stated_when_the_word_speaks_of_an_earlier_event_then_says_nothing() {
        let event = Handle::new(71, 9, 5);
        assert_eq!(stated(0, event), None);
        assert_eq!(stated(8 << 32, event), None);
        assert_eq!(stated(1 << 48 | 9 << 32, event), None);
        assert_eq!(stated(9 << 32 | 1, event), Some(1));
        assert_eq!(stated(9 << 32 | u64::from((-14i32).cast_unsigned()), event), Some(-14));
    }
}
