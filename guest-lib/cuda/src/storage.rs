//! Values that libraries keep with a context (export table c693336e, "context-local storage"): a few keys, read very often.
//!
//! Reading takes no lock: a slot gets its key once and for all, then its value comes and goes. A destructor runs when the context
//! is destroyed, reset or released for the last time, not when the value is deleted.

use crate::CUresult;
use crate::status::{CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY};
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most keys of one context: one for each cudart in the process. One more is `CUDA_ERROR_OUT_OF_MEMORY`.
const KEYS: usize = 256;

/// Runs when the context ends, with the context, the key and the value.
pub type Destructor = unsafe extern "C" fn(u64, *mut c_void, *mut c_void);

struct Slot {
    key: AtomicUsize,
    value: AtomicUsize,
    present: AtomicBool,
    destructor: Mutex<Option<Destructor>>,
}

/// The values of one context.
pub struct Storage {
    slots: Box<[Slot]>,
    used: AtomicUsize,
    put: Mutex<()>,
}

impl Storage {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Storage {
        let slot = || Slot {
            key: AtomicUsize::new(0),
            value: AtomicUsize::new(0),
            present: AtomicBool::new(false),
            destructor: Mutex::new(None),
        };
        Storage { slots: (0..KEYS).map(|_| slot()).collect(), used: AtomicUsize::new(0), put: Mutex::new(()) }
    }

    #[inline]
    fn find(&self, key: usize) -> Option<&Slot> {
        let used = self.used.load(Ordering::Acquire).min(KEYS);
        self.slots.get(..used)?.iter().find(|slot| slot.key.load(Ordering::Relaxed) == key)
    }

    /// Sets a value.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` where the key has one already; `CUDA_ERROR_OUT_OF_MEMORY` past 256 keys.
    pub fn put(&self, key: usize, value: usize, destructor: Option<Destructor>) -> Result<(), CUresult> {
        let _lock = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        let (slot, is_new) = match self.find(key) {
            Some(slot) if slot.present.load(Ordering::Relaxed) => return Err(CUDA_ERROR_INVALID_VALUE),
            Some(slot) => (slot, false),
            None => {
                let used = self.used.load(Ordering::Relaxed);
                (self.slots.get(used).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?, true)
            }
        };
        slot.key.store(key, Ordering::Relaxed);
        slot.value.store(value, Ordering::Relaxed);
        *slot.destructor.lock().unwrap_or_else(PoisonError::into_inner) = destructor;
        slot.present.store(true, Ordering::Release);
        if is_new {
            self.used.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// Reads a value.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_HANDLE` where the key has none.
    #[inline]
    pub fn get(&self, key: usize) -> Result<usize, CUresult> {
        match self.find(key) {
            Some(slot) if slot.present.load(Ordering::Acquire) => Ok(slot.value.load(Ordering::Relaxed)),
            _ => Err(CUDA_ERROR_INVALID_HANDLE),
        }
    }

    /// Takes a value away.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_HANDLE` where the key has none.
    pub fn delete(&self, key: usize) -> Result<(), CUresult> {
        let slot = self.find(key).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
        if slot.present.swap(false, Ordering::AcqRel) { Ok(()) } else { Err(CUDA_ERROR_INVALID_HANDLE) }
    }

    /// The context ends: takes every value away and runs its destructor, with no lock held.
    pub fn end(&self, context: u64) {
        let used = self.used.load(Ordering::Acquire).min(KEYS);
        for slot in self.slots.iter().take(used) {
            if !slot.present.swap(false, Ordering::AcqRel) {
                continue;
            }
            let destructor = slot.destructor.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(destructor) = destructor {
                let (key, value) = (slot.key.load(Ordering::Relaxed), slot.value.load(Ordering::Relaxed));
                // SAFETY: the library that set the value gave its destructor for this moment and these arguments.
                unsafe { destructor(context, key as *mut c_void, value as *mut c_void) };
            }
        }
    }
}

impl Default for Storage {
    fn default() -> Storage {
        Storage::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SEEN: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C" fn destructor(context: u64, key: *mut c_void, value: *mut c_void) {
        SEEN.fetch_add(context as usize * 100 + key as usize * 10 + value as usize, Ordering::Relaxed);
    }

    #[test]
    fn storage_when_put_deleted_and_ended_then_answers_as_cudart_expects() {
        let storage = Storage::new();
        assert_eq!(storage.get(7), Err(CUDA_ERROR_INVALID_HANDLE));
        assert_eq!(storage.put(7, 70, None), Ok(()));
        assert_eq!(storage.put(7, 71, None), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!((storage.get(7), storage.delete(7)), (Ok(70), Ok(())));
        assert_eq!(
            (storage.get(7), storage.delete(7)),
            (Err(CUDA_ERROR_INVALID_HANDLE), Err(CUDA_ERROR_INVALID_HANDLE))
        );
        assert_eq!(storage.put(2, 1, Some(destructor)), Ok(()));
        storage.end(3);
        assert_eq!(SEEN.load(Ordering::Relaxed), 321);
        assert_eq!(storage.get(2), Err(CUDA_ERROR_INVALID_HANDLE));
        storage.end(3);
        assert_eq!(SEEN.load(Ordering::Relaxed), 321);
    }
}
