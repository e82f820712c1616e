//! Memory pools: which one is a device's default or current one is known here.

use crate::CUresult;
use crate::caller;
use crate::device;
use crate::generated::{CUmemLocation, kind, send};
use crate::handles::{self, Handle};
use crate::program::{In, Out};
use crate::status::CUDA_ERROR_INVALID_VALUE;
use core::ffi::c_void;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Attributes up to this number are 32 bits wide, the others 64 (`CUmemPool_attribute`).
const LAST_NARROW: u32 = 3;

/// A device's pools: its default one, and the one that was set.
static POOLS: Mutex<Option<HashMap<i32, (Handle, Handle)>>> = Mutex::new(None);

/// A device's default and current pool.
fn pools(device: i32) -> Result<(Handle, Handle), CUresult> {
    device::get(device)?;
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let pools = pools.get_or_insert_default();
    if let Some(known) = pools.get(&device) {
        return Ok(*known);
    }
    let caller = caller::enter()?;
    let pool = handles::made(kind::CUmemoryPool, |pool| send::cuDeviceGetDefaultMemPool(&caller, pool, device))?;
    pools.insert(device, (pool, pool));
    Ok((pool, pool))
}

/// The pool that a device allocates from.
///
/// # Errors
/// The host's answer.
pub fn current(device: i32) -> Result<Handle, CUresult> {
    Ok(pools(device)?.1)
}

fn set_current(device: i32, raw: u64) -> Result<(), CUresult> {
    let caller = caller::enter()?;
    let pool = handles::of_kind(kind::CUmemoryPool, raw)?;
    pools(device)?;
    caller::answer(send::cuDeviceSetMemPool(&caller, device, pool))?;
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = pools.get_or_insert_default().get_mut(&device) {
        known.1 = pool;
    }
    Ok(())
}

/// The device that a location names (`CUmemLocation`); pools of other places, and of managed memory, are not lent.
fn device_at(location: In<[u32; 2]>, allocation_type: u32) -> Result<i32, CUresult> {
    const DEVICE: u32 = 1;
    const PINNED: u32 = 1;
    match (location.get()?, allocation_type) {
        ([DEVICE, id], PINNED) => Ok(id as i32),
        ([0, _], _) | (_, 0) => Err(CUDA_ERROR_INVALID_VALUE),
        _ => Err(crate::counts::unsupported("a memory pool that is no device's")),
    }
}

fn read(attribute: u32, value: *const c_void) -> Result<u64, CUresult> {
    if attribute <= LAST_NARROW { In(value.cast::<u32>()).get().map(u64::from) } else { In(value.cast()).get() }
}

fn write(attribute: u32, to: *mut c_void, value: u64) -> Result<(), CUresult> {
    if attribute <= LAST_NARROW { Out(to.cast()).set(value as u32) } else { Out(to.cast()).set(value) }
}

crate::export! {
    /// CUDA Driver API, cuDeviceGetDefaultMemPool.
    extern "C" fn cuDeviceGetDefaultMemPool(pool_out: Out<u64>, dev: i32) {
        caller::session()?;
        pool_out.check()?;
        pool_out.set(pools(dev)?.0.0)
    }

    /// CUDA Driver API, cuDeviceGetMemPool.
    extern "C" fn cuDeviceGetMemPool(pool: Out<u64>, dev: i32) {
        caller::session()?;
        pool.check()?;
        pool.set(pools(dev)?.1.0)
    }

    /// CUDA Driver API, cuDeviceSetMemPool.
    extern "C" fn cuDeviceSetMemPool(dev: i32, pool: u64) {
        set_current(dev, pool)
    }

    /// CUDA Driver API, cuMemGetDefaultMemPool: of a device.
    extern "C" fn cuMemGetDefaultMemPool(pool_out: Out<u64>, location: In<[u32; 2]>, r#type: u32) {
        caller::session()?;
        pool_out.check()?;
        pool_out.set(pools(device_at(location, r#type)?)?.0.0)
    }

    /// CUDA Driver API, cuMemGetMemPool: of a device.
    extern "C" fn cuMemGetMemPool(pool: Out<u64>, location: In<[u32; 2]>, r#type: u32) {
        caller::session()?;
        pool.check()?;
        pool.set(pools(device_at(location, r#type)?)?.1.0)
    }

    /// CUDA Driver API, cuMemSetMemPool: of a device.
    extern "C" fn cuMemSetMemPool(location: In<[u32; 2]>, r#type: u32, pool: u64) {
        set_current(device_at(location, r#type)?, pool)
    }

    /// CUDA Driver API, cuMemPoolSetAttribute.
    extern "C" fn cuMemPoolSetAttribute(pool: u64, attr: u32, value: *mut c_void) {
        let caller = caller::enter()?;
        let pool = handles::of_kind(kind::CUmemoryPool, pool)?;
        caller::answer(send::gpuferryMemPoolSetAttribute(&caller, pool, attr, read(attr, value)?))
    }

    /// CUDA Driver API, cuMemPoolGetAttribute.
    extern "C" fn cuMemPoolGetAttribute(pool: u64, attr: u32, value: *mut c_void) {
        let caller = caller::enter()?;
        let pool = handles::of_kind(kind::CUmemoryPool, pool)?;
        Out(value).check()?;
        let mut number = 0;
        caller::answer(send::gpuferryMemPoolGetAttribute(&caller, pool, attr, &mut number))?;
        write(attr, value, number)
    }

    /// CUDA Driver API, cuMemPoolGetAccess.
    extern "C" fn cuMemPoolGetAccess(flags: Out<u32>, memPool: u64, location: In<[u32; 2]>) {
        let caller = caller::enter()?;
        flags.check()?;
        let pool = handles::of_kind(kind::CUmemoryPool, memPool)?;
        let [kind, id] = location.get()?;
        let location = CUmemLocation { kind, id: id as i32 };
        let mut granted = 0;
        caller::answer(send::gpuferryMemPoolGetAccess(&caller, &mut granted, pool, &location))?;
        flags.set(granted)
    }
}
