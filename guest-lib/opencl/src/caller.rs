//! Who calls: the session and the calling thread's number; and the guard at every function of the API.

use crate::cl_int;
use crate::status::{
    CL_DEVICE_NOT_AVAILABLE, CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY, CL_OUT_OF_RESOURCES, CL_SUCCESS,
};
use crate::user::{Out, Raw};
use rt::{Buffer, LendError, Origin, Session};

/// Largest output that is asked for in the reply.
pub const REPLY_BYTES: usize = 1984;

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
/// `CL_DEVICE_NOT_AVAILABLE` where there is no session: none was opened, or this is the child of a fork.
pub fn enter() -> Result<Caller, cl_int> {
    let session = crate::init::opened().ok_or(CL_DEVICE_NOT_AVAILABLE)?;
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
pub fn answer(status: cl_int) -> Result<(), cl_int> {
    if status == CL_SUCCESS { Ok(()) } else { Err(status) }
}

/// Sends an input: `each` makes a call with the buffer that names its bytes.
pub fn input(caller: &Caller, data: &[u8], each: impl FnOnce(Buffer<'_>) -> cl_int) -> cl_int {
    // SAFETY: the slice is good for reading.
    unsafe { caller.session.input(data.as_ptr(), data.len(), trouble, each) }
}

/// Fetches an output: `each` makes a waited call with the buffer that names the place, and with the memory for bytes that come
/// in the reply.
pub fn output(caller: &Caller, data: &mut [u8], each: impl FnOnce(Buffer<'_>, &mut [u8]) -> cl_int) -> cl_int {
    // SAFETY: the slice is this call's alone.
    unsafe { caller.session.output(data.as_mut_ptr(), data.len(), REPLY_BYTES, trouble, each) }
}

/// The answer where memory cannot be lent.
#[must_use]
pub fn trouble(error: LendError) -> cl_int {
    match error {
        LendError::Gone => CL_DEVICE_NOT_AVAILABLE,
        LendError::BadRange => CL_INVALID_VALUE,
        LendError::Limit => CL_OUT_OF_HOST_MEMORY,
    }
}

/// Runs the body of a function of the API: nothing unwinds into C.
pub fn guard(body: impl FnOnce() -> Result<(), cl_int>) -> cl_int {
    rt::contained(CL_OUT_OF_RESOURCES, body).err().unwrap_or(CL_SUCCESS)
}

/// The same for a function that returns an object.
pub fn guard_maker(errcode_ret: Out<cl_int>, body: impl FnOnce() -> Result<Raw, cl_int>) -> Raw {
    let (made, status) = match rt::contained(CL_OUT_OF_RESOURCES, body) {
        Ok(made) => (made, CL_SUCCESS),
        Err(status) => (core::ptr::null_mut(), status),
    };
    errcode_ret.set(status);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_when_the_body_panics_then_answers_out_of_resources() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        assert_eq!(guard(|| panic!("a bug")), CL_OUT_OF_RESOURCES);
        let mut status = 1;
        assert!(guard_maker(Out(&raw mut status), || panic!("a bug")).is_null());
        std::panic::set_hook(hook);
        assert_eq!(status, CL_OUT_OF_RESOURCES);
        assert_eq!(guard(|| Ok(())), CL_SUCCESS);
    }
}
