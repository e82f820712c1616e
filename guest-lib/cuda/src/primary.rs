//! The primary contexts of the devices: one handle each for the life of the process, retained and released by count here; the
//! first retain and the last release reach the host.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::context::{self, Context, check_flags};
use crate::generated::send;
use crate::handles::Handle;
use crate::program::Out;
use crate::status::{CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_DEVICE, CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE};
use core::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The primary context of a device.
struct Primary {
    context: &'static Context,
    /// How often it is retained; changed with the calls that make and end it.
    retained: Mutex<u32>,
}

static PRIMARY: OnceLock<Vec<Primary>> = OnceLock::new();

/// Makes the handles of the devices' primary contexts, for cuInit.
///
/// # Errors
/// `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn make(devices: usize) -> Result<(), CUresult> {
    let contexts: Result<Vec<Primary>, CUresult> = (0..devices as i32)
        .map(|device| Ok(Primary { context: context::make(device, 0, true)?, retained: Mutex::new(0) }))
        .collect();
    let contexts = contexts?;
    PRIMARY.get_or_init(|| contexts);
    Ok(())
}

fn primary_of(device: i32) -> Result<&'static Primary, CUresult> {
    crate::device::get(device)?;
    let primary = PRIMARY.get().and_then(|all| all.get(device as usize));
    primary.ok_or(CUDA_ERROR_INVALID_DEVICE)
}

/// The handle of a device's primary context, whether it is active or not (export table 6bd5fb6c).
///
/// # Errors
/// `CUDA_ERROR_INVALID_DEVICE`.
pub fn handle(device: i32) -> Result<Handle, CUresult> {
    Ok(primary_of(device)?.context.handle)
}

fn release(caller: &Caller, device: i32) -> Result<(), CUresult> {
    let primary = primary_of(device)?;
    let mut retained = primary.retained.lock().unwrap_or_else(PoisonError::into_inner);
    if *retained == 0 {
        return Err(CUDA_ERROR_INVALID_CONTEXT);
    }
    *retained -= 1;
    if *retained != 0 || !primary.context.active.load(Ordering::Relaxed) {
        return Ok(());
    }
    context::end_use(caller, primary.context);
    let status = send::gpuferryPrimaryRelease(caller, primary.context.handle, device);
    context::end_objects(primary.context);
    caller::answer(status)
}

fn set_flags(dev: i32, flags: u32) -> Result<(), CUresult> {
    let caller = caller::enter()?;
    let primary = primary_of(dev)?;
    check_flags(flags)?;
    caller::answer(send::cuDevicePrimaryCtxSetFlags_v2(&caller, dev, flags))?;
    context::heed_flags(&caller, flags);
    primary.context.flags.store(flags, Ordering::Relaxed);
    Ok(())
}

crate::export! {
    /// CUDA Driver API, cuDevicePrimaryCtxRetain: the first waits for the context to be made, later ones count here.
    extern "C" fn cuDevicePrimaryCtxRetain(pctx: Out<u64>, dev: i32) {
        let caller = caller::enter()?;
        let primary = primary_of(dev)?;
        pctx.check()?;
        let mut retained = primary.retained.lock().unwrap_or_else(PoisonError::into_inner);
        if !primary.context.active.load(Ordering::Relaxed) {
            caller::answer(send::cuDevicePrimaryCtxRetain(&caller, primary.context.handle, dev))?;
            primary.context.active.store(true, Ordering::Relaxed);
        }
        *retained += 1;
        pctx.set(primary.context.handle.0)
    }

    /// CUDA Driver API, cuDevicePrimaryCtxRelease.
    extern "C" fn cuDevicePrimaryCtxRelease_v2 | extern "C" fn cuDevicePrimaryCtxRelease(dev: i32) {
        // Also after a sticky error, as natively.
        let session = caller::session()?;
        release(&Caller { session, origin: caller::origin() }, dev)
    }

    /// CUDA Driver API, cuDevicePrimaryCtxReset: ends the context's objects. It stays retained, but is made anew by the next
    /// call that retains it; so the host gives it up here.
    extern "C" fn cuDevicePrimaryCtxReset_v2 | extern "C" fn cuDevicePrimaryCtxReset(dev: i32) {
        // Also after a sticky error: a reset is the way out of one.
        let session = caller::session()?;
        let primary = primary_of(dev)?;
        let _retained = primary.retained.lock().unwrap_or_else(PoisonError::into_inner);
        if !primary.context.active.load(Ordering::Relaxed) {
            return Ok(());
        }
        let caller = Caller { session, origin: caller::origin() };
        context::end_use(&caller, primary.context);
        let status = send::gpuferryPrimaryReset(&caller, primary.context.handle, dev);
        let released = send::gpuferryPrimaryRelease(&caller, primary.context.handle, dev);
        context::end_objects(primary.context);
        caller::answer(status)?;
        caller::answer(released)
    }

    /// CUDA Driver API, cuDevicePrimaryCtxSetFlags.
    extern "C" fn cuDevicePrimaryCtxSetFlags_v2(dev: i32, flags: u32) {
        set_flags(dev, flags)
    }

    /// CUDA Driver API, cuDevicePrimaryCtxSetFlags of before 11.0: not while the context is in use.
    extern "C" fn cuDevicePrimaryCtxSetFlags(dev: i32, flags: u32) {
        caller::enter()?;
        if primary_of(dev)?.context.active.load(Ordering::Relaxed) {
            return Err(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE);
        }
        set_flags(dev, flags)
    }

    /// CUDA Driver API, cuDevicePrimaryCtxGetState.
    extern "C" fn cuDevicePrimaryCtxGetState(dev: i32, flags: Out<u32>, active: Out<i32>) {
        caller::session()?;
        let context = primary_of(dev)?.context;
        active.check()?;
        flags.set(context.flags.load(Ordering::Relaxed))?;
        active.set(context.active.load(Ordering::Relaxed).into())
    }
}
