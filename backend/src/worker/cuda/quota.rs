//! What a guest holds of the device's memory is counted here, and refused beyond its limit ([`crate::ledger`]).
//!
//! The counting lies between the worker and the host's library: [`count`] replaces the library's functions that allocate, free and
//! tell sizes by ones that count and call them. So nothing above can forget it; a way to allocate that is new in `spec/api` must be added here
//! (`ways_to_allocate_when_in_the_spec_then_are_counted_or_have_a_reason` fails until it is).
//!
//! Memory of pools is counted as long as the pool keeps it: freed memory that a pool still holds is given back when it is needed. A
//! context of a GPU is counted as [`CONTEXT_BYTES`], as its size can be seen on the device as a whole only; code of the CPU device by what
//! that has less (`code`). Memory that a recorded graph allocates is counted when it is recorded.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::generated::{
    CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY3D_DESCRIPTOR, CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_OUT_OF_MEMORY,
    CUmemAllocationProp, Library,
};
use crate::ledger::Account;
use crate::worker::MOST_DEVICES;

/// What a context of NVIDIA's driver takes: measured on an H200 with release 580.
pub const CONTEXT_BYTES: u64 = 527 << 20;
/// The smallest piece that the driver gives.
const GRAIN: u64 = 512;
/// `CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT`.
const POOL_RESERVED: u32 = 5;

/// An allocation: in which context, and how large.
#[derive(Clone, Copy)]
struct Held {
    context: usize,
    bytes: u64,
    of_pool: bool,
}

/// What a number stands for in the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Sort {
    Address,
    Array,
    Context,
    /// All code of a context.
    Code,
}

/// Physical memory: it is there as long as it has a handle or is mapped.
struct Physical {
    bytes: u64,
    handles: usize,
    mapped: usize,
}

#[derive(Default)]
struct Table {
    held: HashMap<(Sort, u64), Held>,
    /// Physical memory by a number of our own, as the driver's may be given anew while it is still mapped.
    physical: HashMap<u64, Physical>,
    next: u64,
    /// The driver's handles.
    handles: HashMap<u64, u64>,
    /// Addresses at which physical memory is mapped.
    mapped: BTreeMap<u64, u64>,
    /// How often each device's primary context is held.
    retained: HashMap<i32, usize>,
    pools: Vec<usize>,
    /// Bytes of pools' allocations that live, and what is counted for pools: never less.
    pool_live: u64,
    pool_counted: u64,
}

struct Counted {
    /// The host's functions.
    host: Library,
    account: Arc<Account>,
    context_bytes: u64,
    /// The device's memory is this process's alone.
    memory_is_own: bool,
    table: Mutex<Table>,
}

thread_local! {
    /// The context that this thread made current last: the worker does before each call that is in one.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// Calls a function of the host's library, which was there when its counting one took its place.
macro_rules! host {
    ($name:ident($($argument:expr),*)) => {
        match counted().host.$name {
            // SAFETY: the arguments are those of the counting function, whose caller keeps the host function's contract.
            Some(call) => unsafe { call($($argument),*) },
            None => super::CUDA_ERROR_NOT_SUPPORTED,
        }
    };
}

mod code;

/// Devices whose primary context was made ahead of the session, one bit each. It is kept until the guest asks for a context of the device
/// or decides about its flags.
static PREPARED: AtomicU32 = AtomicU32::new(0);

fn bit(device: i32) -> u32 {
    u32::try_from(device).ok().and_then(|device| 1u32.checked_shl(device)).unwrap_or(0)
}

/// Makes a device's primary context ahead of the session, which takes a tenth of a second on a GPU. Nobody is charged.
pub fn prepare(host: &Library, device: i32) -> i32 {
    let mut context = std::ptr::null_mut();
    let Some(retain) = host.cuDevicePrimaryCtxRetain else { return CUDA_ERROR_NOT_SUPPORTED };
    // SAFETY: the pointer is to a live variable.
    let status = unsafe { retain(&raw mut context, device) };
    if status == 0 {
        PREPARED.fetch_or(bit(device), Ordering::Relaxed);
    }
    status
}

/// Gives up what [`prepare`] made: where the guest has retained it, it is the guest's alone then; else it ends.
fn end_prepared(device: i32) {
    if PREPARED.fetch_and(!bit(device), Ordering::Relaxed) & bit(device) != 0 {
        host!(cuDevicePrimaryCtxRelease_v2(device));
    }
}

/// The one session of this process.
static COUNTED: OnceLock<Counted> = OnceLock::new();

impl Counted {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `bytes`; where there is no room, pools give back what they keep for later.
    fn charge(&self, bytes: u64) -> bool {
        self.account.charge(bytes) || self.trim() && self.account.charge(bytes)
    }

    /// Lets pools free what nobody uses, and counts what they still have.
    fn trim(&self) -> bool {
        let mut table = self.lock();
        if table.pool_counted == table.pool_live {
            return false;
        }
        let mut reserved = 0u64;
        let mut pools = table.pools.clone();
        pools.extend(self.default_pools());
        for pool in pools {
            let pool = std::ptr::with_exposed_provenance_mut(pool);
            let mut value = [0u64; 2];
            if let (Some(trim), Some(ask)) = (self.host.cuMemPoolTrimTo, self.host.cuMemPoolGetAttribute) {
                // SAFETY: pools of the table live; the attribute is 8 bytes.
                unsafe {
                    trim(pool, 0);
                    ask(pool, POOL_RESERVED, value.as_mut_ptr().cast());
                }
            }
            reserved = reserved.saturating_add(value[0]);
        }
        // The driver reserves in larger pieces than were asked for; what was asked for is counted.
        let now = reserved.clamp(table.pool_live, table.pool_counted);
        let more = table.pool_counted - now;
        table.pool_counted = now;
        drop(table);
        self.account.refund(more);
        more != 0
    }

    /// The pools that devices have of themselves.
    fn default_pools(&self) -> Vec<usize> {
        let Some(call) = self.host.cuDeviceGetDefaultMemPool else { return Vec::new() };
        let of = |device| {
            let mut pool = std::ptr::null_mut();
            // SAFETY: the pointer is to a live variable; there is no device of a number that is refused.
            (unsafe { call(&raw mut pool, device) } == 0).then(|| pool.addr())
        };
        (0..MOST_DEVICES as i32).map_while(of).collect()
    }

    /// Counts an allocation that `make` makes, and undoes that where it fails. `make` gives the number and the bytes that it is of.
    fn allocate(&self, sort: Sort, bytes: u64, make: impl FnOnce() -> (i32, u64)) -> i32 {
        let bytes = bytes.checked_next_multiple_of(GRAIN).unwrap_or(u64::MAX);
        if !self.charge(bytes) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        let (status, number) = make();
        if status == 0 {
            let held = Held { context: CURRENT.get(), bytes, of_pool: false };
            if let Some(other) = self.lock().held.insert((sort, number), held) {
                self.account.refund(other.bytes);
            }
        } else {
            self.account.refund(bytes);
        }
        status
    }

    /// As [`Counted::allocate`], from a pool: memory that pools keep is used first.
    fn allocate_from_pool(&self, bytes: u64, make: impl FnOnce() -> (i32, u64)) -> i32 {
        let bytes = bytes.checked_next_multiple_of(GRAIN).unwrap_or(u64::MAX);
        let take = || {
            let mut table = self.lock();
            let Some(live) = table.pool_live.checked_add(bytes) else { return false };
            let more = live.saturating_sub(table.pool_counted);
            if more != 0 && !self.account.charge(more) {
                return false;
            }
            table.pool_live = live;
            table.pool_counted += more;
            true
        };
        if !(take() || self.trim() && take()) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        let (status, address) = make();
        let mut table = self.lock();
        if status == 0 {
            let held = Held { context: 0, bytes, of_pool: true };
            table.held.insert((Sort::Address, address), held);
        } else {
            table.pool_live = table.pool_live.saturating_sub(bytes);
        }
        status
    }

    /// The allocation is gone.
    fn free(&self, sort: Sort, number: u64) {
        let mut table = self.lock();
        let Some(held) = table.held.remove(&(sort, number)) else { return };
        if held.of_pool {
            table.pool_live = table.pool_live.saturating_sub(held.bytes);
        } else {
            drop(table);
            self.account.refund(held.bytes);
        }
    }

    /// What has neither a handle nor an address any more is gone.
    fn settle(&self, table: &mut Table, number: u64) {
        if let Some(memory) = table.physical.get(&number)
            && memory.handles == 0
            && memory.mapped == 0
        {
            self.account.refund(memory.bytes);
            table.physical.remove(&number);
        }
    }

    /// A context, once; what a primary context takes is counted at its first use.
    fn context_made(&self, make: impl FnOnce() -> (i32, usize)) -> i32 {
        // Room is looked for before, though a context that is there already takes none.
        let (status, context) = make();
        if status != 0 || self.context_bytes == 0 {
            return status;
        }
        let number = (Sort::Context, context as u64);
        if self.lock().held.contains_key(&number) {
            return status;
        }
        if !self.charge(self.context_bytes) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        self.lock().held.insert(number, Held { context, bytes: self.context_bytes, of_pool: false });
        status
    }

    /// All that was in a context is gone with it.
    fn context_ended(&self, context: usize) {
        let mut table = self.lock();
        let mut bytes = 0u64;
        table.held.retain(|_, held| {
            let stays = held.context != context;
            bytes += if stays { 0 } else { held.bytes };
            stays
        });
        drop(table);
        self.account.refund(bytes);
    }
}

fn counted() -> &'static Counted {
    // Set before the functions are given to anybody.
    COUNTED.get().unwrap_or_else(|| unreachable!("counting functions are made by count"))
}

/// What a call wrote to its caller's variable.
fn written<T: Copy>(place: *const T) -> T {
    // SAFETY: the callers are of this worker and pass live variables, which the host's function has written.
    unsafe { place.read() }
}

unsafe extern "C" fn memory(dptr: *mut u64, bytes: usize) -> i32 {
    counted().allocate(Sort::Address, bytes as u64, || (host!(cuMemAlloc_v2(dptr, bytes)), written(dptr)))
}

unsafe extern "C" fn pitched(dptr: *mut u64, pitch: *mut usize, width: usize, height: usize, element: u32) -> i32 {
    // The driver's pitch is a multiple of 512 bytes.
    let row = (width as u64).checked_next_multiple_of(GRAIN).unwrap_or(u64::MAX);
    let make = || (host!(cuMemAllocPitch_v2(dptr, pitch, width, height, element)), written(dptr));
    counted().allocate(Sort::Address, row.saturating_mul(height as u64), make)
}

unsafe extern "C" fn in_order(dptr: *mut u64, bytes: usize, stream: *mut c_void) -> i32 {
    counted().allocate_from_pool(bytes as u64, || (host!(cuMemAllocAsync(dptr, bytes, stream)), written(dptr)))
}

unsafe extern "C" fn from_pool(dptr: *mut u64, bytes: usize, pool: *mut c_void, stream: *mut c_void) -> i32 {
    let make = || (host!(cuMemAllocFromPoolAsync(dptr, bytes, pool, stream)), written(dptr));
    counted().allocate_from_pool(bytes as u64, make)
}

unsafe extern "C" fn physical(
    made: *mut *mut c_void,
    bytes: usize,
    prop: *const CUmemAllocationProp,
    flags: u64,
) -> i32 {
    let counted = counted();
    if !counted.charge(bytes as u64) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    let status = host!(cuMemCreate(made, bytes, prop, flags));
    if status != 0 {
        counted.account.refund(bytes as u64);
        return status;
    }
    let mut table = counted.lock();
    let number = table.next;
    table.next += 1;
    table.physical.insert(number, Physical { bytes: bytes as u64, handles: 1, mapped: 0 });
    table.handles.insert(written(made).addr() as u64, number);
    status
}

/// Counts physical memory of another process, which `call` makes a handle of: it may outlive the one that made it, so it counts here too.
/// What this process has itself counts once.
pub(super) fn import(bytes: u64, made: &mut *mut c_void, call: impl FnOnce(*mut *mut c_void) -> i32) -> i32 {
    let Some(counted) = COUNTED.get() else { return call(made) };
    if !counted.charge(bytes) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    let status = call(made);
    if status != 0 {
        counted.account.refund(bytes);
        return status;
    }
    let mut table = counted.lock();
    let key = made.addr() as u64;
    if let Some(number) = table.handles.get(&key).copied()
        && let Some(memory) = table.physical.get_mut(&number)
    {
        // The driver has given its handle of that memory once more.
        memory.handles += 1;
        counted.account.refund(bytes);
        return status;
    }
    let number = table.next;
    table.next += 1;
    table.physical.insert(number, Physical { bytes, handles: 1, mapped: 0 });
    table.handles.insert(key, number);
    status
}

/// Bytes of the physical memory that a handle of the driver's stands for; 0 where nothing is counted.
pub(super) fn physical_bytes(handle: *mut c_void) -> u64 {
    let Some(counted) = COUNTED.get() else { return 0 };
    let table = counted.lock();
    let number = table.handles.get(&(handle.addr() as u64));
    number.and_then(|number| table.physical.get(number)).map_or(0, |memory| memory.bytes)
}

/// Counts an allocation of another process's pool; false where there is no room.
pub(super) fn hold(address: u64, bytes: u64) -> bool {
    let Some(counted) = COUNTED.get() else { return true };
    counted.allocate(Sort::Address, bytes, || (0, address)) == 0
}

unsafe extern "C" fn retain_physical(made: *mut *mut c_void, address: u64) -> i32 {
    let status = host!(cuMemRetainAllocationHandle(made, address));
    if status == 0 {
        let mut table = counted().lock();
        let at = table.mapped.range(..=address).next_back().map(|(_, number)| *number);
        if let Some(number) = at
            && let Some(memory) = table.physical.get_mut(&number)
        {
            memory.handles += 1;
            table.handles.insert(written(made).addr() as u64, number);
        }
    }
    status
}

unsafe extern "C" fn map(address: u64, bytes: usize, offset: usize, handle: *mut c_void, flags: u64) -> i32 {
    let status = host!(cuMemMap(address, bytes, offset, handle, flags));
    if status == 0 {
        let mut table = counted().lock();
        if let Some(number) = table.handles.get(&(handle.addr() as u64)).copied()
            && let Some(memory) = table.physical.get_mut(&number)
        {
            memory.mapped += 1;
            table.mapped.insert(address, number);
        }
    }
    status
}

unsafe extern "C" fn unmap(address: u64, bytes: usize) -> i32 {
    let status = host!(cuMemUnmap(address, bytes));
    if status == 0 {
        let counted = counted();
        let mut table = counted.lock();
        let end = address.saturating_add(bytes as u64);
        let gone: Vec<(u64, u64)> = table.mapped.range(address..end).map(|(at, number)| (*at, *number)).collect();
        for (at, number) in gone {
            table.mapped.remove(&at);
            if let Some(memory) = table.physical.get_mut(&number) {
                memory.mapped -= 1;
            }
            counted.settle(&mut table, number);
        }
    }
    status
}

/// Bytes of an element of `CUarray_format`; compressed formats take at most one byte a texel.
fn element(format: u32) -> u64 {
    match format {
        0x02 | 0x09 | 0x10 => 2,
        0x03 | 0x0a | 0x20 => 4,
        _ => 1,
    }
}

fn array_bytes(width: usize, height: usize, depth: usize, format: u32, channels: u32) -> u64 {
    let texels = [height, depth].iter().fold(width as u64, |all, next| all.saturating_mul((*next).max(1) as u64));
    texels.saturating_mul(element(format)).saturating_mul(u64::from(channels))
}

unsafe extern "C" fn array(made: *mut *mut c_void, description: *const CUDA_ARRAY_DESCRIPTOR) -> i32 {
    let d = written(description);
    let bytes = array_bytes(d.Width, d.Height, 1, d.Format, d.NumChannels);
    let make = || (host!(cuArrayCreate_v2(made, description)), written(made).addr() as u64);
    counted().allocate(Sort::Array, bytes, make)
}

unsafe extern "C" fn array_3d(made: *mut *mut c_void, description: *const CUDA_ARRAY3D_DESCRIPTOR) -> i32 {
    let d = written(description);
    let bytes = array_bytes(d.Width, d.Height, d.Depth, d.Format, d.NumChannels);
    let make = || (host!(cuArray3DCreate_v2(made, description)), written(made).addr() as u64);
    counted().allocate(Sort::Array, bytes, make)
}

unsafe extern "C" fn mipmapped(
    made: *mut *mut c_void,
    description: *const CUDA_ARRAY3D_DESCRIPTOR,
    levels: u32,
) -> i32 {
    let d = written(description);
    let smaller = |size: usize, level: u32| size.checked_shr(level).unwrap_or(0).max(usize::from(size != 0));
    // More levels than there are bits in a size are refused by the driver.
    let bytes = (0..levels.min(64)).fold(0u64, |sum, level| {
        let (width, height) = (smaller(d.Width, level), smaller(d.Height, level));
        sum.saturating_add(array_bytes(width, height, smaller(d.Depth, level), d.Format, d.NumChannels))
    });
    let make = || (host!(cuMipmappedArrayCreate(made, description, levels)), written(made).addr() as u64);
    counted().allocate(Sort::Array, bytes, make)
}

/// After a call that may have freed: takes it off where it has.
fn freed(status: i32, sort: Sort, number: u64) -> i32 {
    if status == 0 {
        counted().free(sort, number);
    }
    status
}

unsafe extern "C" fn free(dptr: u64) -> i32 {
    freed(host!(cuMemFree_v2(dptr)), Sort::Address, dptr)
}

unsafe extern "C" fn free_in_order(dptr: u64, stream: *mut c_void) -> i32 {
    freed(host!(cuMemFreeAsync(dptr, stream)), Sort::Address, dptr)
}

unsafe extern "C" fn release(handle: *mut c_void) -> i32 {
    let status = host!(cuMemRelease(handle));
    if status == 0 {
        let counted = counted();
        let mut table = counted.lock();
        let key = handle.addr() as u64;
        if let Some(number) = table.handles.get(&key).copied()
            && let Some(memory) = table.physical.get_mut(&number)
        {
            memory.handles -= 1;
            if memory.handles == 0 {
                table.handles.remove(&key);
            }
            counted.settle(&mut table, number);
        }
    }
    status
}

unsafe extern "C" fn end_array(array: *mut c_void) -> i32 {
    freed(host!(cuArrayDestroy(array)), Sort::Array, array.addr() as u64)
}

unsafe extern "C" fn end_mipmapped(array: *mut c_void) -> i32 {
    freed(host!(cuMipmappedArrayDestroy(array)), Sort::Array, array.addr() as u64)
}

unsafe extern "C" fn make_pool(made: *mut *mut c_void, props: *const super::generated::CUmemPoolProps) -> i32 {
    let status = host!(cuMemPoolCreate(made, props));
    if status == 0 {
        counted().lock().pools.push(written(made).expose_provenance());
    }
    status
}

unsafe extern "C" fn end_pool(pool: *mut c_void) -> i32 {
    counted().lock().pools.retain(|known| *known != pool.addr());
    host!(cuMemPoolDestroy(pool))
}

unsafe extern "C" fn make_context(made: *mut *mut c_void, flags: u32, device: i32) -> i32 {
    end_prepared(device);
    let status = counted().context_made(|| (host!(cuCtxCreate_v2(made, flags, device)), written(made).addr()));
    if status == CUDA_ERROR_OUT_OF_MEMORY && !written(made).is_null() {
        host!(cuCtxDestroy_v2(written(made)));
    }
    status
}

unsafe extern "C" fn make_current(context: *mut c_void) -> i32 {
    let status = host!(cuCtxSetCurrent(context));
    if status == 0 {
        CURRENT.set(context.addr());
    }
    status
}

unsafe extern "C" fn end_context(context: *mut c_void) -> i32 {
    let status = host!(cuCtxDestroy_v2(context));
    if status == 0 {
        counted().context_ended(context.addr());
    }
    status
}

/// Flags that are set before there is a context are those that it is made with.
unsafe extern "C" fn set_flags(device: i32, flags: u32) -> i32 {
    end_prepared(device);
    host!(cuDevicePrimaryCtxSetFlags_v2(device, flags))
}

unsafe extern "C" fn retain(made: *mut *mut c_void, device: i32) -> i32 {
    let status = counted().context_made(|| (host!(cuDevicePrimaryCtxRetain(made, device)), written(made).addr()));
    end_prepared(device);
    if status == CUDA_ERROR_OUT_OF_MEMORY && !written(made).is_null() {
        host!(cuDevicePrimaryCtxRelease_v2(device));
    } else if status == 0 {
        *counted().lock().retained.entry(device).or_insert(0) += 1;
    }
    status
}

unsafe extern "C" fn give_up(device: i32) -> i32 {
    let context = primary(device);
    let status = host!(cuDevicePrimaryCtxRelease_v2(device));
    if status == 0 {
        let mut table = counted().lock();
        let retained = table.retained.entry(device).or_insert(0);
        *retained = retained.saturating_sub(1);
        let last = *retained == 0;
        drop(table);
        if last {
            counted().context_ended(context);
        }
    }
    status
}

/// The context of the device that all threads share, without keeping it.
fn primary(device: i32) -> usize {
    let mut context = std::ptr::null_mut();
    if host!(cuDevicePrimaryCtxRetain(&raw mut context, device)) == 0 {
        host!(cuDevicePrimaryCtxRelease_v2(device));
    }
    context.addr()
}

unsafe extern "C" fn reset(device: i32) -> i32 {
    let context = primary(device);
    let status = host!(cuDevicePrimaryCtxReset_v2(device));
    if status == 0 {
        counted().context_ended(context);
    }
    status
}

unsafe extern "C" fn left(free: *mut usize, total: *mut usize) -> i32 {
    let status = host!(cuMemGetInfo_v2(free, total));
    let account = &counted().account;
    if status == 0
        && let Some(limit) = account.limit()
    {
        let (left, limit) = (usize::try_from(account.left()), usize::try_from(limit));
        // SAFETY: the caller's variables, either of which may be null.
        unsafe {
            if let (Some(free), Ok(left)) = (free.as_mut(), left) {
                *free = left.min(*free);
            }
            if let (Some(total), Ok(limit)) = (total.as_mut(), limit) {
                *total = limit.min(*total);
            }
        }
    }
    status
}

unsafe extern "C" fn size(bytes: *mut usize, device: i32) -> i32 {
    let status = host!(cuDeviceTotalMem_v2(bytes, device));
    if status == 0
        && let Some(limit) = counted().account.limit()
        && let Ok(limit) = usize::try_from(limit)
    {
        // SAFETY: the host's function has written it.
        unsafe { *bytes = limit.min(*bytes) };
    }
    status
}

/// The functions that allocate, free and tell sizes, and what takes their place.
macro_rules! replaced {
    ($($name:ident: $by:path,)*) => {
        #[cfg(test)]
        const REPLACED: &[&str] = &[$(stringify!($name)),*];

        fn replace(library: &mut Library) {
            $(library.$name = library.$name.and(Some($by as _));)*
        }
    };
}
replaced! {
    cuMemAlloc_v2: memory,
    cuMemAllocPitch_v2: pitched,
    cuMemAllocAsync: in_order,
    cuMemAllocFromPoolAsync: from_pool,
    cuMemCreate: physical,
    cuArrayCreate_v2: array,
    cuArray3DCreate_v2: array_3d,
    cuMipmappedArrayCreate: mipmapped,
    cuMemRetainAllocationHandle: retain_physical,
    cuMemMap: map,
    cuMemUnmap: unmap,
    cuMemFree_v2: free,
    cuMemFreeAsync: free_in_order,
    cuMemRelease: release,
    cuArrayDestroy: end_array,
    cuMipmappedArrayDestroy: end_mipmapped,
    cuMemPoolCreate: make_pool,
    cuMemPoolDestroy: end_pool,
    cuCtxCreate_v2: make_context,
    cuCtxSetCurrent: make_current,
    cuCtxDestroy_v2: end_context,
    cuDevicePrimaryCtxRetain: retain,
    cuDevicePrimaryCtxSetFlags_v2: set_flags,
    cuDevicePrimaryCtxRelease_v2: give_up,
    cuDevicePrimaryCtxReset_v2: reset,
    cuMemGetInfo_v2: left,
    cuDeviceTotalMem_v2: size,
    cuModuleLoadDataEx: code::load_module,
    cuLibraryLoadData: code::load_library,
    cuModuleUnload: code::unload_module,
    cuLibraryUnload: code::unload_library,
    cuModuleGetFunction: code::find_function,
    cuModuleGetGlobal_v2: code::find_variable,
    cuLibraryGetGlobal: code::find_in_library,
    cuKernelGetFunction: code::function_of_kernel,
    cuFuncLoad: code::load_function,
    cuCtxSetLimit: code::set_limit,
    cuStreamCreate: code::make_stream,
    cuStreamCreateWithPriority: code::make_stream_with,
    cuGraphInstantiateWithParams: code::make_instance,
    cuGraphInstantiateWithFlags: code::make_instance_with,
}

/// Replaces the functions that allocate, free and tell sizes. For the one session of the process.
pub fn count(host: Library, account: Arc<Account>, context_bytes: u64, memory_is_own: bool) -> Library {
    let mut library = host;
    let counted = Counted { host, account, context_bytes, memory_is_own, table: Mutex::default() };
    if COUNTED.set(counted).is_err() {
        log::error!("a second session in one worker is not counted");
        return library;
    }
    replace(&mut library);
    library
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
