//! Beginning and ending: the first nvmlInit opens the session and asks which devices there are; it stays open until the
//! process ends.

use crate::caller::{self, Caller};
use crate::generated::send;
use crate::nvmlReturn_t;
use crate::status::{
    NVML_ERROR_DRIVER_NOT_LOADED, NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    NVML_ERROR_UNINITIALIZED,
};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};
use rt::{Carrier, OpenError, Session};
use std::sync::{Mutex, PoisonError};

/// Flags of nvmlInitWithFlags that there are: no GPUs is no error, and none is attached.
const KNOWN_FLAGS: u32 = 3;
/// Newest CUDA version that the guest's libcuda.so.1 claims (CUDA 13.0).
const NEWEST_CUDA: i32 = 13000;

static OPENED: AtomicPtr<Session> = AtomicPtr::new(core::ptr::null_mut());
/// Calls of nvmlInit less those of nvmlShutdown.
static USERS: AtomicU32 = AtomicU32::new(0);
static DEVICES: AtomicU32 = AtomicU32::new(0);
static CUDA: AtomicI32 = AtomicI32::new(0);
static LOCK: Mutex<()> = Mutex::new(());

/// The session, between nvmlInit and nvmlShutdown.
#[must_use]
pub fn session() -> Option<&'static Session> {
    if USERS.load(Ordering::Acquire) == 0 {
        return None;
    }
    // SAFETY: null, or a leaked session.
    unsafe { OPENED.load(Ordering::Acquire).as_ref() }
}

/// How many devices the guest may use.
#[must_use]
pub fn device_count() -> u32 {
    DEVICES.load(Ordering::Relaxed)
}

/// The CUDA version, as the guest's libcuda.so.1 tells it.
#[must_use]
pub fn cuda_version() -> i32 {
    CUDA.load(Ordering::Relaxed)
}

/// The child of a fork has no session; it may begin anew.
unsafe extern "C" fn at_fork() {
    OPENED.store(core::ptr::null_mut(), Ordering::Release);
    USERS.store(0, Ordering::Release);
}

fn refusal(error: &OpenError) -> nvmlReturn_t {
    crate::counts::log(format_args!("no GPU: {error}"));
    match error {
        OpenError::Absent(_) | OpenError::Refused(_) => NVML_ERROR_DRIVER_NOT_LOADED,
        OpenError::Version(_) => NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
}

/// Opens the session and takes what never changes. Under [`LOCK`].
fn open() -> Result<(), nvmlReturn_t> {
    let session = Carrier::from_env().and_then(|carrier| Session::open(&carrier)).map_err(|error| refusal(&error))?;
    let (mut count, mut cuda) = (0, 0);
    let caller = Caller { session: Box::leak(Box::new(session)), origin: caller::origin() };
    caller::answer(send::gpuferryBegin(&caller, &mut count, &mut cuda))?;
    DEVICES.store(count.min(crate::handles::MAX_DEVICES), Ordering::Relaxed);
    CUDA.store(cuda.min(NEWEST_CUDA), Ordering::Relaxed);
    OPENED.store(core::ptr::from_ref(caller.session).cast_mut(), Ordering::Release);
    // SAFETY: the handler only stores to atomics, which is allowed in the child of a fork; the library is never unloaded.
    unsafe { libc::pthread_atfork(None, None, Some(at_fork)) };
    Ok(())
}

fn begin() -> Result<(), nvmlReturn_t> {
    let _lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if OPENED.load(Ordering::Acquire).is_null() {
        open()?;
    }
    USERS.fetch_add(1, Ordering::AcqRel);
    Ok(())
}

crate::export! {
    /// NVML API Reference, nvmlInit_v2.
    extern "C" fn nvmlInit_v2 | extern "C" fn nvmlInit() {
        begin()
    }

    /// NVML API Reference, nvmlInitWithFlags.
    extern "C" fn nvmlInitWithFlags(flags: u32) {
        if flags & !KNOWN_FLAGS != 0 {
            return Err(NVML_ERROR_INVALID_ARGUMENT);
        }
        begin()
    }

    /// NVML API Reference, nvmlShutdown.
    extern "C" fn nvmlShutdown() {
        USERS.fetch_update(Ordering::AcqRel, Ordering::Acquire, |users| users.checked_sub(1))
            .map(|_| ()).map_err(|_| NVML_ERROR_UNINITIALIZED)
    }
}
