//! Who calls: the session and the calling thread's number; and the guard at every exported function.

use crate::nvmlReturn_t;
use crate::status::{
    NVML_ERROR_GPU_IS_LOST, NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_MEMORY, NVML_ERROR_UNINITIALIZED,
    NVML_ERROR_UNKNOWN, NVML_SUCCESS,
};
use core::cell::Cell;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicU32, Ordering};
use rt::{Access, Buffer, LendError, Origin, Session};
use wire::slot::MAX_REPLY_BYTES;

/// Numbers threads, from 1.
static THREADS: AtomicU32 = AtomicU32::new(1);

thread_local! {
    static THREAD: Cell<u32> = const { Cell::new(0) };
}

/// What a call needs to leave the process.
#[derive(Clone, Copy)]
pub struct Caller {
    /// The session.
    pub session: &'static Session,
    /// The calling thread, to travel with the call.
    pub origin: Origin,
}

/// Begins a call that leaves the process.
///
/// # Errors
/// `NVML_ERROR_UNINITIALIZED` before nvmlInit, after nvmlShutdown, and in a forked child that did not begin anew.
pub fn enter() -> Result<Caller, nvmlReturn_t> {
    let session = crate::init::session().ok_or(NVML_ERROR_UNINITIALIZED)?;
    Ok(Caller { session, origin: origin() })
}

/// The calling thread.
pub fn origin() -> Origin {
    let mut thread = THREAD.get();
    if thread == 0 {
        thread = THREADS.fetch_add(1, Ordering::Relaxed);
        THREAD.set(thread);
    }
    Origin { thread, ..Origin::default() }
}

/// Ends a call with the worker's answer.
///
/// # Errors
/// Every answer but success.
pub fn answer(status: nvmlReturn_t) -> Result<(), nvmlReturn_t> {
    if status == NVML_SUCCESS { Ok(()) } else { Err(status) }
}

/// Fetches an output: `each` makes a waited call with the buffer that names the place, and with the memory for bytes that come
/// in the reply.
///
/// # Safety
/// `data` is null or good for writing `bytes`.
pub unsafe fn output(
    caller: &Caller,
    data: *mut u8,
    bytes: usize,
    each: impl FnOnce(Buffer<'_>, &mut [u8]) -> nvmlReturn_t,
) -> nvmlReturn_t {
    if data.is_null() {
        return each(Buffer::Null, &mut []);
    }
    if bytes <= MAX_REPLY_BYTES / 2 {
        // SAFETY: not null, so good for writing by this function's contract.
        let memory = unsafe { core::slice::from_raw_parts_mut(data, bytes) };
        return each(Buffer::Reply { bytes: bytes as u64 }, memory);
    }
    // SAFETY: as above; the lease ends before this function returns.
    match unsafe { caller.session.lend(data, bytes, Access::Write) } {
        Ok(lease) => each(lease.buffer(0, bytes), &mut []),
        Err(LendError::Gone) => NVML_ERROR_GPU_IS_LOST,
        Err(LendError::BadRange) => NVML_ERROR_INVALID_ARGUMENT,
        Err(LendError::Limit) => NVML_ERROR_MEMORY,
    }
}

/// Runs the body of an exported function: nothing unwinds into C.
pub fn guard(body: impl FnOnce() -> Result<(), nvmlReturn_t>) -> nvmlReturn_t {
    match std::panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => NVML_SUCCESS,
        Ok(Err(status)) => status,
        Err(_) => NVML_ERROR_UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_when_the_body_panics_then_answers_unknown() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        assert_eq!(guard(|| panic!("a bug")), NVML_ERROR_UNKNOWN);
        std::panic::set_hook(hook);
        assert_eq!(guard(|| Err(7)), 7);
        assert_eq!(guard(|| Ok(())), NVML_SUCCESS);
    }

    #[test]
    fn enter_when_nothing_was_initialised_then_says_so() {
        assert_eq!(enter().err(), Some(NVML_ERROR_UNINITIALIZED));
    }
}
