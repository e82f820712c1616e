//! Beginning: cuInit connects the session, asks the host once for its devices, and answers from that snapshot ever after.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::generated::send;
use crate::program::Out;
use crate::status::{
    CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NO_DEVICE, CUDA_ERROR_NOT_INITIALIZED, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
};
use crate::{counts, device};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use rt::{Carrier, OpenError, Session};
use std::sync::{Mutex, PoisonError};

/// Version of the driver API whose functions this library has (CUDA 13.0); it never claims more.
pub const API_VERSION: i32 = 13000;

/// The opened session, before and after cuInit; changed under [`LOCK`].
static OPENED: AtomicPtr<Session> = AtomicPtr::new(core::ptr::null_mut());
static LOCK: Mutex<()> = Mutex::new(());
static FORKED: AtomicBool = AtomicBool::new(false);
/// What cuDriverGetVersion answers; 0 before the host was asked.
static VERSION: AtomicI32 = AtomicI32::new(0);

/// The session, where one was opened.
#[must_use]
pub fn opened() -> Option<&'static Session> {
    // SAFETY: null, or a leaked session.
    unsafe { OPENED.load(Ordering::Acquire).as_ref() }
}

/// In the child of a fork: the parent's session is not ours.
pub(crate) fn forked() {
    FORKED.store(true, Ordering::Release);
    // SAFETY: null, or a leaked session.
    if let Some(session) = unsafe { OPENED.swap(core::ptr::null_mut(), Ordering::AcqRel).as_ref() } {
        session.leave_to_parent();
    }
}

fn refusal(error: &OpenError) -> CUresult {
    // Programs ask again and again; the reason is said once.
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        counts::log(format_args!("no GPU: {error}"));
    }
    match error {
        OpenError::Absent(_) | OpenError::Refused(_) => CUDA_ERROR_NO_DEVICE,
        OpenError::Version(_) => CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
    }
}

/// `CU_DEVICE_ATTRIBUTE_INTEGRATED`.
const ATTRIBUTE_INTEGRATED: i32 = 18;

/// Opens the session, where that has not been done. Under [`LOCK`].
fn open() -> Result<&'static Session, CUresult> {
    if FORKED.load(Ordering::Acquire) {
        return Err(CUDA_ERROR_NOT_INITIALIZED);
    }
    if let Some(session) = opened() {
        return Ok(session);
    }
    counts::start();
    let session = Carrier::from_env().and_then(|carrier| Session::open(&carrier)).map_err(|error| refusal(&error))?;
    let session: &'static Session = Box::leak(Box::new(session));
    OPENED.store(core::ptr::from_ref(session).cast_mut(), Ordering::Release);
    crate::printed::begin(session);
    // SAFETY: the handler stores to atomics and closes a descriptor, which is allowed in the child of a fork; the library is never
    // unloaded.
    unsafe { libc::pthread_atfork(None, None, Some(forget)) };
    Ok(session)
}

unsafe extern "C" fn forget() {
    caller::forget_session();
}

fn ask_version(session: &'static Session) -> Result<i32, CUresult> {
    let mut version = 0;
    caller::answer(send::cuDriverGetVersion(&Caller { session, origin: caller::origin() }, &mut version))?;
    let version = version.min(API_VERSION);
    VERSION.store(version, Ordering::Relaxed);
    Ok(version)
}

/// The driver's version: the host's, at most [`API_VERSION`]; that one too where no host can be asked.
#[must_use]
pub fn driver_version() -> i32 {
    match VERSION.load(Ordering::Relaxed) {
        0 if FORKED.load(Ordering::Acquire) => API_VERSION,
        0 => {
            let _lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
            open().and_then(ask_version).unwrap_or(API_VERSION)
        }
        known => known,
    }
}

fn initialize() -> Result<(), CUresult> {
    // Before the lock: in the child of a fork it may be held by a thread that is not there.
    if FORKED.load(Ordering::Acquire) {
        return Err(CUDA_ERROR_NOT_INITIALIZED);
    }
    let _lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if caller::session().is_ok() {
        return Ok(());
    }
    let session = open()?;
    let caller = Caller { session, origin: caller::origin() };
    ask_version(session)?;
    let count = device::take_snapshot(&caller)?;
    if count == 0 {
        counts::log(format_args!("no GPU: the host has none for this guest"));
        return Err(CUDA_ERROR_NO_DEVICE);
    }
    // There the threads that look for a kernel's end would keep it from the processors that it needs.
    if device::get(0).and_then(|device| device.attribute(ATTRIBUTE_INTEGRATED)) == Ok(1) {
        session.sleep_early();
    }
    caller::set_session(session);
    Ok(())
}

crate::export! {
    /// CUDA Driver API, cuInit.
    extern "C" fn cuInit(Flags: u32) {
        if Flags != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        initialize()
    }

    /// CUDA Driver API, cuDriverGetVersion: may be called before cuInit.
    extern "C" fn cuDriverGetVersion(driverVersion: Out<i32>) {
        driverVersion.check()?;
        driverVersion.set(driver_version())
    }
}
