//! Who calls: the session and the calling thread's number; and the guard at every exported function.

use crate::nvmlReturn_t;
use crate::status::{
    NVML_ERROR_GPU_IS_LOST, NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_MEMORY, NVML_ERROR_UNINITIALIZED,
    NVML_ERROR_UNKNOWN, NVML_SUCCESS,
};
use rt::{Buffer, LendError, Origin, Session};
use wire::slot::MAX_REPLY_BYTES;

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
    Origin { thread: rt::thread_number(), ..Origin::default() }
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
    // SAFETY: by this function's contract.
    unsafe { caller.session.output(data, bytes, MAX_REPLY_BYTES / 2, trouble, each) }
}

/// The answer where memory cannot be lent.
fn trouble(error: LendError) -> nvmlReturn_t {
    match error {
        LendError::Gone => NVML_ERROR_GPU_IS_LOST,
        LendError::BadRange => NVML_ERROR_INVALID_ARGUMENT,
        LendError::Limit => NVML_ERROR_MEMORY,
    }
}

/// [`guard`] for printed functions, whose names nobody asks for here.
pub fn guard_named(_name: &'static str, body: impl FnOnce() -> Result<(), nvmlReturn_t>) -> nvmlReturn_t {
    guard(body)
}

/// Runs the body of an exported function: nothing unwinds into C.
pub fn guard(body: impl FnOnce() -> Result<(), nvmlReturn_t>) -> nvmlReturn_t {
    rt::contained(NVML_ERROR_UNKNOWN, body).err().unwrap_or(NVML_SUCCESS)
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
