//! The store of compiled code that NVRTC and nvJitLink keep with the driver (export table da9151d3). Without it they compile the
//! same source again for every use. Observed from outside:
//!
//! | entry | call | answer |
//! |---|---|---|
//! | 1 | (key **out, u32 kind, void *input, size_t bytes, char *options, …) | a key of these |
//! | 2 | (key) | ends the key |
//! | 3 | (key, …, void **data, u32 *bytes) | what is stored, or `CUDA_ERROR_NOT_FOUND` |
//! | 4 | (key, …, void *data, u32 bytes) | stores |
//! | 6 | (data) | frees what 3 gave |
//!
//! Here the store is the process's and in memory.

use crate::CUresult;
use crate::caller::guard_named;
use crate::program::{Out, Text};
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_FOUND, CUDA_ERROR_OUT_OF_MEMORY};
use core::ffi::c_void;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Most bytes of inputs and results together; past it nothing more is stored.
const MOST_BYTES: usize = 256 << 20;

/// What a result depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    kind: u32,
    options: Vec<u8>,
    input: Vec<u8>,
}

#[derive(Default)]
struct Store {
    results: HashMap<Key, Vec<u8>>,
    bytes: usize,
}

static STORE: Mutex<Option<Store>> = Mutex::new(None);

/// The program's bytes.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for null.
fn copy(data: *const c_void, bytes: usize) -> Result<Vec<u8>, CUresult> {
    if data.is_null() || bytes > MOST_BYTES {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: not null, and as long as the caller of the entry says.
    Ok(unsafe { core::slice::from_raw_parts(data.cast::<u8>(), bytes) }.to_vec())
}

/// The key behind a pointer that [`make_key`] gave out.
fn key<'a>(key: *mut Key) -> Result<&'a Key, CUresult> {
    // SAFETY: the callers of the entries hand back what [`make_key`] gave them, until they end it.
    unsafe { key.as_ref() }.ok_or(CUDA_ERROR_INVALID_VALUE)
}

/// Entry 1.
pub extern "C" fn make_key(
    out: Out<*mut Key>,
    kind: u32,
    input: *const c_void,
    bytes: usize,
    options: Text,
) -> CUresult {
    guard_named("export table, make_key", || {
        out.check()?;
        let options = if options.0.is_null() { Vec::new() } else { options.get()?.to_bytes().to_vec() };
        let key = Key { kind, options, input: copy(input, bytes)? };
        out.set(Box::into_raw(Box::new(key)))
    })
}

/// Entry 2.
///
/// # Safety
/// `key` is null or from [`make_key`], and was not ended before.
pub unsafe extern "C" fn end_key(key: *mut Key) -> CUresult {
    guard_named("export table, end_key", || {
        if !key.is_null() {
            // SAFETY: by this function's contract.
            drop(unsafe { Box::from_raw(key) });
        }
        Ok(())
    })
}

/// Entry 3.
pub extern "C" fn look_up(key: *mut Key, _: u64, data: Out<*mut c_void>, bytes: Out<u32>) -> CUresult {
    guard_named("export table, look_up", || {
        data.check()?;
        bytes.check()?;
        let store = STORE.lock().unwrap_or_else(PoisonError::into_inner);
        let found = store.as_ref().and_then(|store| store.results.get(self::key(key).ok()?));
        let found = found.ok_or(CUDA_ERROR_NOT_FOUND)?;
        // SAFETY: allocates; checked below.
        let memory = unsafe { libc::malloc(found.len().max(1)) };
        if memory.is_null() {
            return Err(CUDA_ERROR_OUT_OF_MEMORY);
        }
        // SAFETY: fresh memory of that length.
        unsafe { core::ptr::copy_nonoverlapping(found.as_ptr(), memory.cast(), found.len()) };
        bytes.set(found.len() as u32)?;
        data.set(memory)
    })
}

/// Entry 4.
pub extern "C" fn store(key: *mut Key, _: u64, data: *const c_void, bytes: u32) -> CUresult {
    guard_named("export table, store", || {
        let key = self::key(key)?.clone();
        let result = copy(data, bytes as usize)?;
        let mut store = STORE.lock().unwrap_or_else(PoisonError::into_inner);
        let store = store.get_or_insert_default();
        let more = key.input.len() + key.options.len() + result.len();
        if store.bytes + more <= MOST_BYTES && store.results.insert(key, result).is_none() {
            store.bytes += more;
        }
        Ok(())
    })
}

/// Entry 6.
///
/// # Safety
/// `data` is null or from [`look_up`], and was not freed before.
pub unsafe extern "C" fn free_found(data: *mut c_void) -> CUresult {
    // SAFETY: by this function's contract.
    unsafe { libc::free(data) };
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(input: &[u8], options: &core::ffi::CStr) -> *mut Key {
        let mut key = core::ptr::null_mut();
        let made = make_key(Out(&raw mut key), 1, input.as_ptr().cast(), input.len(), Text(options.as_ptr()));
        assert_eq!(made, 0);
        key
    }

    #[test]
    fn look_up_when_stored_then_gives_a_copy_and_else_is_not_found() {
        let (mine, other) = (make(b"source", c"-a"), make(b"source", c"-b"));
        let (mut data, mut bytes) = (core::ptr::null_mut(), 0);
        assert_eq!(look_up(mine, 0, Out(&raw mut data), Out(&raw mut bytes)), CUDA_ERROR_NOT_FOUND);
        assert_eq!(store(mine, 0, b"code".as_ptr().cast(), 4), 0);
        assert_eq!(look_up(other, 0, Out(&raw mut data), Out(&raw mut bytes)), CUDA_ERROR_NOT_FOUND);
        // SAFETY: made above, ended once.
        assert_eq!(unsafe { end_key(mine) }, 0);
        let again = make(b"source", c"-a");
        assert_eq!(look_up(again, 0, Out(&raw mut data), Out(&raw mut bytes)), 0);
        assert_eq!(copy(data, bytes as usize).as_deref(), Ok(&b"code"[..]));
        // SAFETY: found and made above, each ended once.
        unsafe {
            free_found(data);
            assert_eq!((end_key(again), end_key(other)), (0, 0));
        }
    }
}
