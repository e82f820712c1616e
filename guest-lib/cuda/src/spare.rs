//! Page-locked memory that was freed, kept for a program that asks for as much again, as loops do: made anew, its pages are
//! cleared and the device registers each of them, which takes milliseconds.
//!
//! Memory belongs to the context in which it was made, is found by its exact length and flags, and is given back to the
//! system when more than `MOST_BYTES` would be kept, the oldest first, and when its context ends. Freeing waits for the
//! device, as it does natively.

use crate::caller::Caller;
use crate::context;
use crate::generated::send;
use crate::handles::Handle;
use rt::PageLocked;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes kept of a process.
const MOST_BYTES: usize = 64 << 20;

/// What memory is found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sort {
    /// The context in which it was made.
    pub context: Handle,
    /// Flags that it was made with.
    pub flags: u32,
    /// Length in bytes, as asked for.
    pub bytes: usize,
}

/// The memory, oldest first.
struct Kept<M>(Vec<(Sort, M)>);

impl<M> Kept<M> {
    fn take(&mut self, sort: Sort) -> Option<M> {
        // The last one is the most likely to be in the processor's cache.
        let at = self.0.iter().rposition(|(kept, _)| *kept == sort)?;
        Some(self.0.remove(at).1)
    }

    /// Keeps memory; what has to go for it.
    fn keep(&mut self, sort: Sort, memory: M) -> Vec<M> {
        self.0.push((sort, memory));
        let mut left: usize = self.0.iter().map(|(kept, _)| kept.bytes).sum();
        let goes = |(kept, _): &&(Sort, M)| {
            let goes = left > MOST_BYTES;
            left -= if goes { kept.bytes } else { 0 };
            goes
        };
        let count = self.0.iter().take_while(goes).count();
        self.0.drain(..count).map(|(_, memory)| memory).collect()
    }

    fn of_context(&mut self, context: Handle) -> Vec<M> {
        let (ended, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|(sort, _)| sort.context == context);
        self.0 = kept;
        ended.into_iter().map(|(_, memory)| memory).collect()
    }
}

static KEPT: Mutex<Kept<PageLocked>> = Mutex::new(Kept(Vec::new()));

fn kept() -> MutexGuard<'static, Kept<PageLocked>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that was freed and is registered with the device still.
pub fn take(sort: Sort) -> Option<PageLocked> {
    kept().take(sort)
}

/// Keeps freed memory of the current context, which the device registers still; gives back what cannot be kept.
///
/// # Errors
/// The memory, where it is too large or the device's work cannot be waited for.
pub fn keep(caller: &Caller, sort: Sort, memory: PageLocked) -> Result<(), PageLocked> {
    if sort.bytes > MOST_BYTES || !context::synchronize_all(caller) {
        return Err(memory);
    }
    let gone = kept().keep(sort, memory);
    give_back(caller, gone);
    Ok(())
}

/// A context ends, and what was made in it.
pub fn end_context(caller: &Caller, context: Handle) {
    let gone = kept().of_context(context);
    give_back(caller, gone);
}

fn give_back(caller: &Caller, gone: Vec<PageLocked>) {
    for memory in gone {
        // Nobody asks for the answer: the program freed it long ago. Where the driver does not let go of it, it stays mapped.
        if send::gpuferryMemHostUnregister(caller, memory.address as u64) == 0 {
            caller.session.release(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn sort(context: u64, mib: usize) -> Sort {
        Sort { context: Handle(context), flags: 0, bytes: mib * MIB }
    }

    #[test]
    fn memory_when_asked_for_again_then_is_given_once_and_only_to_its_like() {
        let mut kept = Kept(Vec::new());
        assert!(kept.keep(sort(1, 16), 'a').is_empty());
        assert_eq!(kept.take(sort(1, 8)), None);
        assert_eq!(kept.take(sort(2, 16)), None);
        assert_eq!(kept.take(Sort { flags: 4, ..sort(1, 16) }), None);
        assert_eq!((kept.take(sort(1, 16)), kept.take(sort(1, 16))), (Some('a'), None));
    }

    #[test]
    fn memory_when_there_is_too_much_then_the_oldest_goes() {
        let mut kept = Kept(Vec::new());
        for name in ['a', 'b', 'c', 'd'] {
            assert!(kept.keep(sort(1, 16), name).is_empty());
        }
        assert_eq!(kept.keep(sort(2, 17), 'e'), ['a', 'b']);
        assert_eq!(kept.of_context(Handle(1)), ['c', 'd']);
        assert_eq!(kept.keep(sort(1, 64), 'f'), ['e']);
    }
}
