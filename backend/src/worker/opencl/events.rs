//! The status of events: as an answer, and in words of memory that the guest lends, where it looks without asking.
//!
//! A word is written by the library's threads, when an event that is watched reaches a status: the lowest so far, so that the order
//! in which those threads run does not matter. It is only written here. What it says of an event is a matter between the guest and
//! itself: the guest's tag, which comes back with the status, tells it whether a word speaks of the event that it means.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wire::frame::FrameHeader;
use wire::payload::Buffer;

use super::OpenCl;
use super::generated::{CL_INVALID_OPERATION, CL_INVALID_VALUE};
use crate::worker::answer::{Failure, function, ok};
use crate::worker::lease::{Piece, Pieces};

/// `CL_EVENT_COMMAND_EXECUTION_STATUS`.
const EXECUTION_STATUS: u32 = 0x11D3;
/// Bytes of a word.
const WORD: u64 = size_of::<AtomicU64>() as u64;
/// Most functions that are registered for words and not yet called; an event of which more would be needed is not watched.
const MOST: usize = 65536;
/// `CL_COMPLETE`.
const COMPLETE: i32 = 0;
/// `CL_QUEUED`, where nothing has happened yet.
const QUEUED: i32 = 3;

/// The words of a session.
#[derive(Default)]
pub struct Words {
    lent: OnceLock<Lent>,
    registered: AtomicUsize,
}

struct Lent {
    pieces: Pieces,
    words: u32,
}

impl Lent {
    /// Takes memory whose pieces can hold words.
    fn new(pieces: Pieces, words: u32) -> Option<Lent> {
        let align = align_of::<AtomicU64>();
        let fits = |piece: &Piece| piece.pointer.addr().is_multiple_of(align) && piece.bytes.is_multiple_of(align);
        pieces.iter().all(fits).then_some(Lent { pieces, words })
    }

    fn word(&self, slot: u32) -> Option<&AtomicU64> {
        if slot >= self.words {
            return None;
        }
        let mut at = slot as usize * WORD as usize;
        for piece in self.pieces.iter() {
            if at < piece.bytes {
                // SAFETY: inside the piece, aligned as its parts all are, and mapped for as long as `self` lives; both sides use it
                // as an atomic only.
                return Some(unsafe { &*piece.pointer.add(at).cast::<AtomicU64>() });
            }
            at -= piece.bytes;
        }
        None
    }
}

/// An event that is watched.
struct Watched {
    words: Arc<Words>,
    slot: u32,
    tag: u32,
    /// The lowest status so far. Held while the word is written.
    lowest: Mutex<i32>,
}

impl Watched {
    fn reached(&self, state: i32) {
        let mut lowest = self.lowest.lock().unwrap_or_else(PoisonError::into_inner);
        if state >= *lowest {
            return;
        }
        *lowest = state;
        if let Some(word) = self.words.lent.get().and_then(|lent| lent.word(self.slot)) {
            // Release: what the command wrote to shared memory is there before the word says that it has ended.
            word.store(u64::from(self.tag) << 32 | u64::from(state.cast_unsigned()), Ordering::Release);
        }
    }
}

/// What the library calls when a watched event has reached a status. Once.
extern "C" fn reached(_event: *mut c_void, state: i32, data: *mut c_void) {
    // SAFETY: made by `Arc::into_raw` for this one call.
    let watched = unsafe { Arc::from_raw(data.cast_const().cast::<Watched>()) };
    watched.reached(state);
    watched.words.registered.fetch_sub(1, Ordering::Relaxed);
}

impl OpenCl {
    /// The execution status of an event that lives.
    fn state(&self, event: *mut c_void) -> Result<i32, Failure> {
        let info = function!(self, clGetEventInfo)?;
        let mut state = 0i32;
        // SAFETY: the event lives; the value has 4 bytes.
        ok(unsafe { info(event, EXECUTION_STATUS, 4, (&raw mut state).cast(), std::ptr::null_mut()) })?;
        Ok(state)
    }

    /// `gpuferryEventStates`.
    pub(super) fn gpuferryEventStates(
        &self,
        _from: &FrameHeader,
        events: &[*mut c_void],
        states: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        for event in events {
            states.extend(self.state(*event)?.to_le_bytes());
        }
        Ok(())
    }

    /// `gpuferryEventWords`.
    pub(super) fn gpuferryEventWords(&self, _from: &FrameHeader, lease: u32, words: u32) -> Result<(), Failure> {
        let bytes = u64::from(words) * WORD;
        let pieces = self.session.memory().resolve(&Buffer::Lease { lease, offset: 0, bytes }, true)?;
        let lent = Lent::new(pieces, words).ok_or(Failure::Status(CL_INVALID_VALUE))?;
        self.words.lent.set(lent).map_err(|_| Failure::Status(CL_INVALID_OPERATION))
    }

    /// `gpuferryWatchEvent`.
    pub(super) fn gpuferryWatchEvent(
        &self,
        _from: &FrameHeader,
        event: *mut c_void,
        slot: u32,
        tag: u32,
        state: &mut i32,
        is_watched: &mut u32,
    ) -> Result<(), Failure> {
        let has_word = self.words.lent.get().is_some_and(|lent| lent.word(slot).is_some());
        let before = self.state(event)?;
        if has_word && before > COMPLETE {
            let watched = Watched { words: Arc::clone(&self.words), slot, tag, lowest: Mutex::new(QUEUED) };
            *is_watched = u32::from(self.watch(event, before, &Arc::new(watched)));
        }
        *state = before;
        Ok(())
    }

    /// Has the library say when an event gets below a status; false where it does not.
    fn watch(&self, event: *mut c_void, before: i32, watched: &Arc<Watched>) -> bool {
        let Some(set) = self.library.clSetEventCallback else { return false };
        // The end first: without it the rest is worth nothing.
        (COMPLETE..before.min(QUEUED)).all(|state| {
            let count = |count| (count < MOST).then_some(count + 1);
            if self.words.registered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_err() {
                return false;
            }
            let data = Arc::into_raw(Arc::clone(watched));
            // SAFETY: the event lives; function and data belong together, and the data lives until the call.
            let status = unsafe { set(event, state, reached as *const c_void, data.cast_mut().cast()) };
            if status != 0 {
                self.words.registered.fetch_sub(1, Ordering::Relaxed);
                // SAFETY: made by `Arc::into_raw`; the library has refused it.
                drop(unsafe { Arc::from_raw(data) });
            }
            status == 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(memory: &mut [u64], tag: u32) -> Watched {
        let pieces = Pieces::staged(memory.as_mut_ptr().cast(), size_of_val(memory));
        let words = Words::default();
        let lent = Lent::new(pieces, 4).expect("aligned");
        assert!(words.lent.set(lent).is_ok());
        Watched { words: Arc::new(words), slot: 2, tag, lowest: Mutex::new(QUEUED) }
    }

    #[test]
    fn reached_when_threads_come_out_of_order_then_the_lowest_status_stays() {
        let mut memory = [0u64; 4];
        let watched = watched(&mut memory, 7);
        for state in [2, 0, 1, 3] {
            watched.reached(state);
        }
        let word =
            |slot| watched.words.lent.get().and_then(|lent| lent.word(slot)).map(|word| word.load(Ordering::Acquire));
        assert_eq!([word(0), word(2), word(3), word(4)], [Some(0), Some(7 << 32), Some(0), None]);
        watched.reached(-5);
        assert_eq!(word(2), Some(7 << 32 | u64::from((-5i32).cast_unsigned())));
    }

    #[test]
    fn lent_when_its_pieces_cannot_hold_words_then_is_refused() {
        let mut memory = [0u64; 4];
        let start = memory.as_mut_ptr().cast::<u8>();
        assert!(Lent::new(Pieces::staged(start.wrapping_add(4), 8), 1).is_none());
        assert!(Lent::new(Pieces::staged(start, 12), 1).is_none());
        let short = Lent::new(Pieces::staged(start, 8), 4).expect("aligned");
        assert!(short.word(0).is_some() && short.word(1).is_none());
    }
}
