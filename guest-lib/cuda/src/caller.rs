//! Who calls: the session and the calling thread's state, found without a lock; and the guard at every exported function.
//!
//! A thread's state lies in constant-initialised thread-local cells. After a fork the child has no session: its calls answer
//! `CUDA_ERROR_NOT_INITIALIZED`, as CUDA's do.

use crate::CUresult;
use crate::status::{
    CUDA_ERROR_DEVICE_UNAVAILABLE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_INITIALIZED, CUDA_ERROR_NOT_READY,
    CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_UNKNOWN, CUDA_SUCCESS,
};
use core::cell::Cell;
use core::sync::atomic::{AtomicPtr, Ordering};
use rt::{Buffer, Gone, LendError, Origin, Session};
use wire::slot::MAX_REPLY_BYTES;

/// The session after cuInit; null before, and in a forked child.
static INITIALIZED: AtomicPtr<Session> = AtomicPtr::new(core::ptr::null_mut());

thread_local! {
    static ORIGIN: Cell<Origin> =
        const { Cell::new(Origin { thread: 0, context: 0, context_generation: 0, capture_mode: 0 }) };
}

/// What a call needs to leave the process.
#[derive(Clone, Copy)]
pub struct Caller {
    /// The session.
    pub session: &'static Session,
    /// The calling thread's state, to travel with the call.
    pub origin: Origin,
}

/// The session, for calls that are answered here.
///
/// # Errors
/// `CUDA_ERROR_NOT_INITIALIZED` before cuInit and in a forked child.
#[inline]
pub fn session() -> Result<&'static Session, CUresult> {
    // SAFETY: null, or a leaked session.
    unsafe { INITIALIZED.load(Ordering::Acquire).as_ref() }.ok_or(CUDA_ERROR_NOT_INITIALIZED)
}

/// Begins a call that leaves the process.
///
/// # Errors
/// `CUDA_ERROR_NOT_INITIALIZED`, or the sticky error of the session.
#[inline]
pub fn enter() -> Result<Caller, CUresult> {
    let session = session()?;
    match session.sticky() {
        CUDA_SUCCESS => Ok(Caller { session, origin: origin() }),
        sticky => Err(sticky),
    }
}

/// Begins a call that needs a current context.
///
/// # Errors
/// As [`enter`], and `CUDA_ERROR_INVALID_CONTEXT` for none, `CUDA_ERROR_CONTEXT_IS_DESTROYED` for one that has ended.
#[inline]
pub fn enter_context() -> Result<Caller, CUresult> {
    let context = crate::context::check_current();
    match enter() {
        Ok(caller) => context.map(|()| caller),
        // No context, or one that was reset: natively too that comes before an error that stays. A dead worker comes first.
        Err(error) if session().is_ok() && error != CUDA_ERROR_DEVICE_UNAVAILABLE => {
            Err(context.err().unwrap_or(error))
        }
        Err(error) => Err(error),
    }
}

/// The calling thread's state.
#[inline]
#[must_use]
pub fn origin() -> Origin {
    let mut origin = ORIGIN.get();
    if origin.thread == 0 {
        origin.thread = rt::thread_number();
        ORIGIN.set(origin);
    }
    origin
}

/// Whether no other thread of the process has made a call: then a call that sleeps on the worker's ring holds nobody up.
pub fn is_alone() -> bool {
    rt::threads() <= 1
}

/// Sets the calling thread's state.
#[inline]
pub fn set_origin(origin: Origin) {
    ORIGIN.set(origin);
}

/// Ends a call with the worker's answer.
///
/// # Errors
/// Every answer but success.
#[inline]
pub fn answer(status: CUresult) -> Result<(), CUresult> {
    if status == CUDA_SUCCESS { Ok(()) } else { Err(status) }
}

/// Sends an input: `each` makes a call with the buffer that names its bytes.
///
/// # Safety
/// `data` is null or good for reading `bytes`.
pub unsafe fn input(
    caller: &Caller,
    data: *const u8,
    bytes: usize,
    each: impl FnOnce(Buffer<'_>) -> CUresult,
) -> CUresult {
    // SAFETY: by this function's contract.
    unsafe { caller.session.input(data, bytes, trouble, each) }
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
    each: impl FnOnce(Buffer<'_>, &mut [u8]) -> CUresult,
) -> CUresult {
    // SAFETY: by this function's contract.
    unsafe { caller.session.output(data, bytes, MAX_REPLY_BYTES / 2, trouble, each) }
}

/// The answer where memory cannot be lent.
#[must_use]
pub fn trouble(error: LendError) -> CUresult {
    match error {
        LendError::Gone => CUDA_ERROR_DEVICE_UNAVAILABLE,
        LendError::BadRange => CUDA_ERROR_INVALID_VALUE,
        LendError::Limit => CUDA_ERROR_OUT_OF_MEMORY,
    }
}

/// The answer of every call when the session is dead.
#[must_use]
pub fn gone(_: Gone) -> CUresult {
    CUDA_ERROR_DEVICE_UNAVAILABLE
}

/// What may be called before cuInit; entries of export tables too.
const EARLY: [&str; 14] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGetProcAddress",
    "cuGetProcAddress_v2",
    "cuGetExportTable",
    "cuLogsRegisterCallback",
    "cuLogsUnregisterCallback",
    "cuLogsCurrent",
    "cuLogsDumpToFile",
    "cuLogsDumpToMemory",
    "cuMemGetAttribute",
    "cuProfilerInitialize",
];

/// Runs the body of an exported function: nothing unwinds into C. Before cuInit that is what is wrong, whatever else is.
#[inline]
pub fn guard_named(name: &'static str, body: impl FnOnce() -> Result<(), CUresult>) -> CUresult {
    let begun = crate::counts::begin();
    let mut status = contain(body);
    if status != CUDA_SUCCESS {
        status = failed(name, status);
    }
    if begun.is_some() {
        crate::counts::end(name, status, begun);
    }
    status
}

#[inline]
fn contain(body: impl FnOnce() -> Result<(), CUresult>) -> CUresult {
    let before = crate::counts::call();
    let status = rt::contained(CUDA_ERROR_UNKNOWN, body).err().unwrap_or(CUDA_SUCCESS);
    crate::counts::called(before);
    status
}

/// What a call that failed answers. The API's own log has it then.
#[cold]
fn failed(name: &'static str, status: CUresult) -> CUresult {
    // Asked again and again, and no failure.
    if status == CUDA_ERROR_NOT_READY {
        return status;
    }
    let is_table = name.starts_with("export table");
    let status = match session() {
        Err(not_initialized) if !is_table && !EARLY.contains(&name) => not_initialized,
        _ => status,
    };
    if !is_table {
        crate::api_log::add(name, status);
    }
    status
}

/// Makes the session the process's; to be called once, under the lock of `init`.
pub(crate) fn set_session(session: &'static Session) {
    INITIALIZED.store(core::ptr::from_ref(session).cast_mut(), Ordering::Release);
}

/// The child of a fork has no session.
pub(crate) extern "C" fn forget_session() {
    INITIALIZED.store(core::ptr::null_mut(), Ordering::Release);
    crate::init::forked();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_when_the_body_panics_then_answers_unknown() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        assert_eq!(contain(|| panic!("a bug")), CUDA_ERROR_UNKNOWN);
        std::panic::set_hook(hook);
        assert_eq!(contain(|| Err(7)), 7);
        assert_eq!(guard_named("cuMemFree_v2", || Ok(())), CUDA_SUCCESS);
    }

    #[test]
    fn guard_when_there_is_no_session_then_that_is_what_is_wrong() {
        assert_eq!(guard_named("cuMemAlloc_v2", || Err(7)), CUDA_ERROR_NOT_INITIALIZED);
        assert_eq!(guard_named("cuGetErrorName", || Err(7)), 7);
    }

    #[test]
    fn origin_when_asked_twice_then_is_the_same_thread() {
        let here = origin().thread;
        assert_eq!(origin().thread, here);
        let there = std::thread::spawn(|| origin().thread).join().expect("thread ends");
        assert_ne!(here, there);
    }
}
