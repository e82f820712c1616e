//! Beginning: the first question for a platform opens the session, asks the host for its devices, and keeps both.

use crate::arena::Ref;
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::counts;
use crate::device::{self, Device};
use crate::status::CL_PLATFORM_NOT_FOUND_KHR;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use rt::{Carrier, Session};
use std::sync::{Mutex, OnceLock, PoisonError};

static OPENED: AtomicPtr<Session> = AtomicPtr::new(core::ptr::null_mut());
static LOCK: Mutex<()> = Mutex::new(());
static FORKED: AtomicBool = AtomicBool::new(false);
static DEVICES: OnceLock<Vec<Ref<Device>>> = OnceLock::new();

/// The session, where one was opened and this is not the child of a fork.
#[must_use]
pub fn opened() -> Option<&'static Session> {
    // SAFETY: null, or a leaked session.
    unsafe { OPENED.load(Ordering::Acquire).as_ref() }
}

extern "C" fn forked() {
    FORKED.store(true, Ordering::Release);
    OPENED.store(core::ptr::null_mut(), Ordering::Release);
}

/// The platform's devices; opens the session where that has not been done.
///
/// # Errors
/// `CL_PLATFORM_NOT_FOUND_KHR` where there is no host to ask, or it has nothing for us.
pub fn devices() -> Result<&'static [Ref<Device>], cl_int> {
    if FORKED.load(Ordering::Acquire) {
        return Err(CL_PLATFORM_NOT_FOUND_KHR);
    }
    if let Some(devices) = DEVICES.get() {
        return Ok(devices);
    }
    let _lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(devices) = DEVICES.get() {
        return Ok(devices);
    }
    let session = match opened() {
        Some(session) => session,
        None => open()?,
    };
    let caller = Caller { session, origin: caller::origin() };
    let found = device::ask(&caller).map_err(|_| CL_PLATFORM_NOT_FOUND_KHR)?;
    if found.is_empty() {
        return Err(CL_PLATFORM_NOT_FOUND_KHR);
    }
    Ok(DEVICES.get_or_init(|| found))
}

/// Under [`LOCK`].
fn open() -> Result<&'static Session, cl_int> {
    let session = Carrier::from_env().and_then(|carrier| Session::open(&carrier));
    let session: &'static Session = Box::leak(Box::new(session.map_err(|_| CL_PLATFORM_NOT_FOUND_KHR)?));
    OPENED.store(core::ptr::from_ref(session).cast_mut(), Ordering::Release);
    // SAFETY: the handler only stores to atomics, which is allowed in the child of a fork; the library is never unloaded.
    unsafe { libc::pthread_atfork(None, None, Some(at_fork)) };
    counts::start();
    Ok(session)
}

unsafe extern "C" fn at_fork() {
    forked();
}
