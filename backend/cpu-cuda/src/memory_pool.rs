//! Memory pools: allocation and free in stream order.
//!
//! An allocation has its address at once; its free is an operation of the stream. A pool keeps nothing back, so what it
//! reserves is what is in use.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::driver;
use crate::handle::{Handle, Object, object};
use crate::status::{Answer, Status};
use crate::work::lock;

/// A pool.
pub struct Pool {
    /// Its own handle.
    pub handle: Handle<Pool>,
    /// Values of the attributes 1 to 4, which are kept and given back.
    pub settings: Mutex<[u64; 4]>,
    /// Most bytes in use at a time since it was last set to 0.
    pub high: AtomicU64,
    /// Most bytes it may have; 0 for no limit of its own.
    pub most: u64,
    /// Its device.
    pub device: u8,
    /// Whether it is the device's own.
    pub default: bool,
}

object!(Pool, 17);

const DEFAULT_SETTINGS: [u64; 4] = [1, 1, 1, 0];
/// By device, the pools that are its own and the ones that were set.
static OWN: Mutex<BTreeMap<u8, Handle<Pool>>> = Mutex::new(BTreeMap::new());
static CURRENT: Mutex<BTreeMap<u8, Handle<Pool>>> = Mutex::new(BTreeMap::new());

impl Pool {
    /// A new pool of a device.
    pub fn create(device: u8, most: u64, default: bool) -> Answer<Handle<Pool>> {
        let settings = Mutex::new(DEFAULT_SETTINGS);
        let make = |handle| Pool { handle, settings, high: AtomicU64::new(0), most, device, default };
        Ok(Pool::table().insert(make)?.0)
    }

    /// Bytes in use.
    pub fn used(&self) -> Answer<u64> {
        Ok(driver::arena()?.used_by_pool(self.handle.0))
    }

    /// Notes that `bytes` are being allocated; refuses what is above the pool's limit.
    pub fn admit(&self, bytes: u64) -> Answer {
        let used = self.used()?.checked_add(bytes).ok_or(Status::OUT_OF_MEMORY)?;
        if self.most != 0 && used > self.most {
            return Err(Status::OUT_OF_MEMORY);
        }
        self.high.fetch_max(used, Ordering::Relaxed);
        Ok(())
    }
}

/// A device's own pool.
pub fn default_pool(device: u8) -> Answer<Handle<Pool>> {
    let mut own = lock(&OWN);
    if let Some(pool) = own.get(&device) {
        return Ok(*pool);
    }
    let made = Pool::create(device, 0, true)?;
    own.insert(device, made);
    Ok(made)
}

/// The pool that cuMemAllocAsync allocates from.
pub fn current_pool(device: u8) -> Answer<Handle<Pool>> {
    let set = lock(&CURRENT).get(&device).copied();
    match set {
        Some(pool) if pool.get().is_ok() => Ok(pool),
        _ => default_pool(device),
    }
}

/// cuDeviceSetMemPool.
pub fn set_current_pool(device: u8, pool: Handle<Pool>) -> Answer {
    if pool.get()?.device != device {
        return Err(Status::INVALID_VALUE);
    }
    lock(&CURRENT).insert(device, pool);
    Ok(())
}
