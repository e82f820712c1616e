//! Memory pools: allocation and free in stream order.
//!
//! An allocation has its address at once; its free is an operation of the stream. A pool keeps nothing back, so what it
//! reserves is what is in use.

use std::sync::Mutex;
use std::sync::OnceLock;
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
    /// Whether it is the device's own.
    pub default: bool,
}

object!(Pool, 17);

const DEFAULT_SETTINGS: [u64; 4] = [1, 1, 1, 0];
static CURRENT: Mutex<Option<Handle<Pool>>> = Mutex::new(None);

impl Pool {
    /// A new pool.
    pub fn create(most: u64, default: bool) -> Answer<Handle<Pool>> {
        let settings = Mutex::new(DEFAULT_SETTINGS);
        let make = |handle| Pool { handle, settings, high: AtomicU64::new(0), most, default };
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

/// The device's own pool.
pub fn default_pool() -> Answer<Handle<Pool>> {
    static DEFAULT: OnceLock<Handle<Pool>> = OnceLock::new();
    if let Some(pool) = DEFAULT.get() {
        return Ok(*pool);
    }
    let made = Pool::create(0, true)?;
    let kept = *DEFAULT.get_or_init(|| made);
    if kept != made {
        // Another thread was quicker.
        made.take()?;
    }
    Ok(kept)
}

/// The pool that cuMemAllocAsync allocates from.
pub fn current_pool() -> Answer<Handle<Pool>> {
    match *lock(&CURRENT) {
        Some(pool) if pool.get().is_ok() => Ok(pool),
        _ => default_pool(),
    }
}

/// cuDeviceSetMemPool.
pub fn set_current_pool(pool: Handle<Pool>) -> Answer {
    pool.get()?;
    *lock(&CURRENT) = Some(pool);
    Ok(())
}
