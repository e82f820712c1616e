//! Primary context management, context management, and peer access between contexts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::capture;
use crate::context::{self, Context, LIMITS};
use crate::device;
use crate::event::Event;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::handle::Handle;
use crate::status::{Answer, Status};
use crate::stream;

/// CU_CTX_* flags: scheduling, mapped host memory, keep local memory, core dumps, synchronous memory operations.
const KNOWN_FLAGS: u32 = 0xff;
const SCHEDULING: u32 = 7;
/// What cuCtxGetApiVersion says of contexts made by these calls.
const API: u32 = 3020;

fn checked_flags(flags: u32) -> Answer<u32> {
    let scheduling = flags & SCHEDULING;
    if flags & !KNOWN_FLAGS != 0 || !matches!(scheduling, 0 | 1 | 2 | 4) {
        return Err(Status::INVALID_VALUE);
    }
    Ok(flags)
}

/// The index of a limit. The last ones of [`LIMITS`] are for graphics and shared memory between processes.
fn known_limit(limit: u32) -> Answer<usize> {
    match limit {
        0..=6 => Ok(limit as usize),
        _ if (limit as usize) < LIMITS => Err(Status::UNSUPPORTED_LIMIT),
        _ => Err(Status::INVALID_VALUE),
    }
}

/// A context that the call is about; null is a mistake of another kind than a wrong handle.
fn given(context: Handle<Context>) -> Answer<Arc<Context>> {
    if context.is_null() { Err(Status::INVALID_VALUE) } else { context.get() }
}

fn create(out: Out<Handle<Context>>, flags: u32, device: i32, api: u32) -> Answer {
    out.check()?;
    let device = device::number(device)?;
    let context = Context::create(device, checked_flags(flags)?, api, false)?;
    out.set(context.handle)?;
    context::push(context);
    Ok(())
}

fn destroy(handle: Handle<Context>) -> Answer {
    let context = given(handle)?;
    if context.primary {
        return Err(Status::INVALID_CONTEXT);
    }
    let current = context::top().is_some_and(|top| Arc::ptr_eq(&top, &context));
    context.destroy();
    if current {
        context::pop()?;
    }
    Ok(())
}

fn pop(out: Out<Handle<Context>>) -> Answer {
    let context = context::pop()?;
    out.set_if_wanted(context.handle);
    Ok(())
}

fn or_current(handle: Handle<Context>) -> Answer<Arc<Context>> {
    if handle.is_null() { context::current() } else { handle.get() }
}

fn synchronize(context: &Context) -> Answer {
    context.check()?;
    capture::forbid_context(context.id)?;
    context.synchronize()
}

fn reset(device: i32) -> Answer {
    context::primary_reset(device::number(device)?)
}

fn release(device: i32) -> Answer {
    context::primary_release(device::number(device)?)
}

fn set_primary_flags(device: i32, flags: u32) -> Answer {
    context::primary_set_flags(device::number(device)?, checked_flags(flags)?)
}

cuda! {
    fn cuDevicePrimaryCtxRetain(out: Out<Handle<Context>>, device: i32) {
        out.check()?;
        out.set(context::primary_retain(device::number(device)?)?)
    }

    fn cuDevicePrimaryCtxRelease(device: i32) {
        release(device)
    }

    fn cuDevicePrimaryCtxRelease_v2(device: i32) {
        release(device)
    }

    fn cuDevicePrimaryCtxReset(device: i32) {
        reset(device)
    }

    fn cuDevicePrimaryCtxReset_v2(device: i32) {
        reset(device)
    }

    fn cuDevicePrimaryCtxSetFlags(device: i32, flags: u32) {
        set_primary_flags(device, flags)
    }

    fn cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) {
        set_primary_flags(device, flags)
    }

    fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) {
        let device = device::number(device)?;
        active.check()?;
        let state = context::primary_state(device)?;
        flags.set(state.0)?;
        active.set(i32::from(state.1))
    }

    fn cuCtxCreate(out: Out<Handle<Context>>, flags: u32, device: i32) {
        create(out, flags, device, 3010)
    }

    fn cuCtxCreate_v2(out: Out<Handle<Context>>, flags: u32, device: i32) {
        create(out, flags, device, API)
    }

    fn cuCtxCreate_v3(out: Out<Handle<Context>>, _affinity: u64, count: i32, flags: u32, device: i32) {
        if count != 0 {
            return Err(Status::UNSUPPORTED_EXEC_AFFINITY);
        }
        create(out, flags, device, API)
    }

    fn cuCtxCreate_v4(out: Out<Handle<Context>>, params: In<[u64; 3]>, flags: u32, device: i32) {
        if !params.is_null() {
            let [_, affinities, graphics] = params.read()?;
            if affinities as u32 != 0 {
                return Err(Status::UNSUPPORTED_EXEC_AFFINITY);
            }
            if graphics != 0 {
                return Err(Status::NOT_SUPPORTED);
            }
        }
        create(out, flags, device, API)
    }

    fn cuCtxDestroy(context: Handle<Context>) {
        destroy(context)
    }

    fn cuCtxDestroy_v2(context: Handle<Context>) {
        destroy(context)
    }

    fn cuCtxAttach(out: Out<Handle<Context>>, flags: u32) {
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        out.set(context::current()?.handle)
    }

    fn cuCtxDetach(context: Handle<Context>) {
        // Attaching counts nothing, so that one detach is one destroy, as in programs that never attach.
        destroy(context)
    }

    fn cuCtxPushCurrent(context: Handle<Context>) {
        context::push(given(context)?);
        Ok(())
    }

    fn cuCtxPushCurrent_v2(context: Handle<Context>) {
        context::push(given(context)?);
        Ok(())
    }

    fn cuCtxPopCurrent(out: Out<Handle<Context>>) {
        pop(out)
    }

    fn cuCtxPopCurrent_v2(out: Out<Handle<Context>>) {
        pop(out)
    }

    fn cuCtxSetCurrent(context: Handle<Context>) {
        context::set(if context.is_null() { None } else { Some(context.get()?) });
        Ok(())
    }

    fn cuCtxGetCurrent(out: Out<Handle<Context>>) {
        out.set(context::top().map_or(Handle::NULL, |context| context.handle))
    }

    fn cuCtxGetDevice(device: Out<i32>) {
        device.set(context::current()?.device.into())
    }

    fn cuCtxGetDevice_v2(device: Out<i32>, context: Handle<Context>) {
        device.set(or_current(context)?.device.into())
    }

    fn cuCtxGetFlags(flags: Out<u32>) {
        flags.set(context::current()?.flags.load(Ordering::Relaxed))
    }

    fn cuCtxSetFlags(flags: u32) {
        context::current()?.flags.store(checked_flags(flags)?, Ordering::Relaxed);
        Ok(())
    }

    fn cuCtxGetId(context: Handle<Context>, id: Out<u64>) {
        id.set(or_current(context)?.id)
    }

    fn cuCtxGetApiVersion(context: Handle<Context>, version: Out<u32>) {
        version.set(or_current(context)?.api)
    }

    fn cuCtxSynchronize() {
        synchronize(&*context::current()?)
    }

    fn cuCtxSynchronize_v2(context: Handle<Context>) {
        synchronize(&*or_current(context)?)
    }

    fn cuCtxGetLimit(value: Out<u64>, limit: u32) {
        let context = context::usable()?;
        let limits = *crate::work::lock(&context.limits);
        value.set(*limits.get(known_limit(limit)?).ok_or(Status::INVALID_VALUE)?)
    }

    fn cuCtxSetLimit(limit: u32, value: u64) {
        let context = context::usable()?;
        capture::permit()?;
        let mut limits = crate::work::lock(&context.limits);
        let slot = limits.get_mut(known_limit(limit)?).ok_or(Status::INVALID_VALUE)?;
        // The stack is an array of each thread of a kernel: a gigantic one would only fail later.
        if limit == 0 && value > 512 << 10 {
            return Err(Status::INVALID_VALUE);
        }
        *slot = value;
        Ok(())
    }

    fn cuCtxGetCacheConfig(config: Out<u32>) {
        config.set(context::usable()?.cache.load(Ordering::Relaxed))
    }

    fn cuCtxSetCacheConfig(config: u32) {
        if config > 3 {
            return Err(Status::INVALID_VALUE);
        }
        context::current()?.cache.store(config, Ordering::Relaxed);
        Ok(())
    }

    fn cuCtxGetSharedMemConfig(config: Out<u32>) {
        config.set(context::current()?.banks.load(Ordering::Relaxed))
    }

    fn cuCtxSetSharedMemConfig(config: u32) {
        if config > 2 {
            return Err(Status::INVALID_VALUE);
        }
        context::current()?;
        // Banks have one width here, as on GPUs of today: the call is accepted and changes nothing.
        Ok(())
    }

    fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) {
        context::usable()?;
        least.set_if_wanted(stream::PRIORITIES.0);
        greatest.set_if_wanted(stream::PRIORITIES.1);
        Ok(())
    }

    fn cuCtxResetPersistingL2Cache() {
        context::current().map(drop)
    }

    fn cuCtxGetExecAffinity(_affinity: u64, _kind: u32) {
        Err(Status::UNSUPPORTED_EXEC_AFFINITY)
    }

    fn cuCtxRecordEvent(context: Handle<Context>, event: Handle<Event>) {
        let context = or_current(context)?;
        context.check()?;
        event.get()?.recorded(crate::work::Work::start(None, &context.all_unfinished()));
        Ok(())
    }

    fn cuCtxWaitEvent(context: Handle<Context>, event: Handle<Event>) {
        let context = or_current(context)?;
        context.check()?;
        if let Some(work) = event.get()?.work() {
            // The legacy stream is waited for by every stream that is not non-blocking.
            context.legacy_stream().mark(&[work]);
        }
        Ok(())
    }

    fn cuCtxEnablePeerAccess(peer: Handle<Context>, flags: u32) {
        let context = context::usable()?;
        let peer = peer.get()?;
        if flags != 0 { Err(Status::INVALID_VALUE) } else { context.reach_peer(&peer) }
    }

    fn cuCtxDisablePeerAccess(peer: Handle<Context>) {
        context::usable()?.leave_peer(&*peer.get()?)
    }
}
