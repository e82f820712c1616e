//! Memory that is allocated in the order of a stream, from pools, which take larger pieces from the device and keep what is freed.
//!
//! What a pool has counts as long as it keeps it. Where there is no room any more, pools are made to give back what nobody
//! uses. On a GPU a pool counts by the driver's figure: each allocation is charged until the driver is asked the next time,
//! and a pool's piece besides, as it may be the first of a new one. Where that does not fit, what pools have left is used,
//! and looked at after.

use std::ffi::c_void;

use super::super::generated::{CUDA_ERROR_OUT_OF_MEMORY, CUmemPoolProps};
use super::measured::Measured;
use super::{Counted, From, GRAIN, Held, Sort, counted, freed, written};
use crate::worker::MOST_DEVICES;

/// `CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT` and `…_USED_MEM_CURRENT`.
const RESERVED: u32 = 5;
const USED: u32 = 7;

/// The pools of a session.
#[derive(Default)]
pub(super) struct Pools {
    /// Those that the guest has made.
    made: Vec<usize>,
    /// Bytes of pools' allocations that live, and what is counted for pools: never less.
    live: u64,
    counted: u64,
}

impl Counted {
    /// The guest's pools, and those that devices have of themselves.
    fn pools(&self) -> Vec<*mut c_void> {
        let made = self.lock().pools.made.clone();
        let own = |device| {
            let mut pool = std::ptr::null_mut();
            let call = self.host.cuDeviceGetDefaultMemPool?;
            // SAFETY: the pointer is to a live variable; there is no device of a number that is refused.
            (unsafe { call(&raw mut pool, device) } == 0).then_some(pool)
        };
        let made = made.into_iter().map(std::ptr::with_exposed_provenance_mut);
        made.chain((0..MOST_DEVICES as i32).map_while(own)).collect()
    }

    /// Bytes that a pool tells.
    fn told(&self, pool: *mut c_void, attribute: u32) -> u64 {
        let mut value = 0u64;
        if let Some(ask) = self.host.cuMemPoolGetAttribute {
            // SAFETY: the pool lives; the attribute is 8 bytes.
            unsafe { ask(pool, attribute, (&raw mut value).cast()) };
        }
        value
    }

    /// Lets pools free what nobody uses, and counts what they still have. False where that is no less than before.
    pub(super) fn trim(&self) -> bool {
        let mut reserved = 0u64;
        for pool in self.pools() {
            if let Some(trim) = self.host.cuMemPoolTrimTo {
                // SAFETY: the pool lives.
                unsafe { trim(pool, 0) };
            }
            reserved = reserved.saturating_add(self.told(pool, RESERVED));
        }
        if let Some(measured) = &self.measured {
            return measured.shrinks();
        }
        let mut table = self.lock();
        // The driver reserves in larger pieces than were asked for; what was asked for is counted.
        let now = reserved.clamp(table.pools.live, table.pools.counted);
        let more = table.pools.counted - now;
        table.pools.counted = now;
        drop(table);
        self.account.refund(more);
        more != 0
    }

    /// Bytes that pools have and nobody uses.
    fn kept(&self) -> u64 {
        self.pools().iter().map(|pool| self.told(*pool, RESERVED).saturating_sub(self.told(*pool, USED))).sum()
    }

    /// Counts an allocation that `make` makes: the status, and its address.
    fn allocate_from_pool(&self, bytes: u64, make: impl Fn() -> (i32, u64), undo: impl Fn(u64) -> i32) -> i32 {
        let bytes = bytes.checked_next_multiple_of(GRAIN).unwrap_or(u64::MAX);
        if let Some(measured) = &self.measured {
            return self.allocate_measured(measured, bytes, make, undo);
        }
        let take = || {
            let mut table = self.lock();
            let Some(live) = table.pools.live.checked_add(bytes) else { return false };
            let more = live.saturating_sub(table.pools.counted);
            if more != 0 && !self.account.charge(more) {
                return false;
            }
            table.pools.live = live;
            table.pools.counted += more;
            true
        };
        if !(take() || self.trim() && take()) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        let (status, address) = make();
        if status == 0 {
            self.hold_of_pool(address, bytes);
        } else {
            self.of_pool_ended(bytes);
        }
        status
    }

    fn allocate_measured(
        &self,
        measured: &Measured,
        bytes: u64,
        make: impl Fn() -> (i32, u64),
        undo: impl Fn(u64) -> i32,
    ) -> i32 {
        let charged = measured.begin_in_pool(bytes);
        if charged.is_none() && bytes <= self.kept() {
            let (status, address) = make();
            if status != 0 || measured.look() {
                if status == 0 {
                    self.hold_of_pool(address, bytes);
                }
                return status;
            }
            // It has taken more from the device.
            undo(address);
        }
        let again = || if self.trim() { measured.begin_in_pool(bytes) } else { None };
        let Some(charged) = charged.or_else(again) else { return CUDA_ERROR_OUT_OF_MEMORY };
        let (status, address) = make();
        if status == 0 {
            measured.made(charged, 0);
            self.hold_of_pool(address, bytes);
        } else {
            measured.failed(charged);
        }
        status
    }

    fn hold_of_pool(&self, address: u64, bytes: u64) {
        self.lock().held.insert((Sort::Address, address), Held { context: 0, bytes, from: From::Pool });
    }

    /// An allocation of a pool is gone; the pool keeps its memory.
    pub(super) fn of_pool_ended(&self, bytes: u64) {
        let pools = &mut self.lock().pools;
        pools.live = pools.live.saturating_sub(bytes);
    }
}

pub(super) unsafe extern "C" fn allocate(dptr: *mut u64, bytes: usize, stream: *mut c_void) -> i32 {
    let make = || (host!(cuMemAllocAsync(dptr, bytes, stream)), written(dptr));
    counted().allocate_from_pool(bytes as u64, make, |address| host!(cuMemFreeAsync(address, stream)))
}

pub(super) unsafe extern "C" fn allocate_from(
    dptr: *mut u64,
    bytes: usize,
    pool: *mut c_void,
    stream: *mut c_void,
) -> i32 {
    let make = || (host!(cuMemAllocFromPoolAsync(dptr, bytes, pool, stream)), written(dptr));
    counted().allocate_from_pool(bytes as u64, make, |address| host!(cuMemFreeAsync(address, stream)))
}

pub(super) unsafe extern "C" fn free(dptr: u64, stream: *mut c_void) -> i32 {
    freed(host!(cuMemFreeAsync(dptr, stream)), Sort::Address, dptr)
}

pub(super) unsafe extern "C" fn make(made: *mut *mut c_void, props: *const CUmemPoolProps) -> i32 {
    let status = host!(cuMemPoolCreate(made, props));
    if status == 0 {
        counted().lock().pools.made.push(written(made).expose_provenance());
    }
    status
}

pub(super) unsafe extern "C" fn end(pool: *mut c_void) -> i32 {
    counted().lock().pools.made.retain(|known| *known != pool.addr());
    host!(cuMemPoolDestroy(pool))
}
