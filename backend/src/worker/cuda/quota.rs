//! What a guest holds of the device's memory is counted here, and refused beyond its limit ([`crate::ledger`]).
//!
//! The counting lies between the worker and the host's library: [`count`] replaces the library's functions that allocate,
//! free and tell sizes by ones that count and call them. So nothing above can forget it; a way to allocate that is new in
//! `spec/api` must be added here (`ways_to_allocate_when_in_the_spec_then_are_counted_or_have_a_reason` fails until it is).
//!
//! Memory of pools is counted as long as the pool keeps it: freed memory that a pool still holds is given back when it is
//! needed. What no call tells the size of, such as contexts, code, stacks and queues, is counted where there is a limit: on a
//! GPU by the driver's figure of this process, which then is what counts ([`measured`]), on the CPU device by what that has
//! less ([`code`]). Without a limit a context is [`CONTEXT_BYTES`], and the rest is not counted.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::generated::{CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_OUT_OF_MEMORY, Library};
use crate::ledger::Account;
use crate::worker::nvml::Figure;

/// What a context of NVIDIA's driver takes: measured on an H200 with release 580. Charged before it is made.
pub const CONTEXT_BYTES: u64 = 518 << 20;
/// The smallest piece that the driver gives.
const GRAIN: u64 = 512;

/// An allocation: in which context, and how large.
#[derive(Clone, Copy)]
struct Held {
    context: usize,
    bytes: u64,
    from: From,
}

/// Where an allocation is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Device,
    Pool,
    /// Another process of the guest.
    Other,
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

#[derive(Default)]
struct Table {
    held: HashMap<(Sort, u64), Held>,
    physical: physical::Physical,
    /// How often each device's primary context is held.
    retained: HashMap<i32, usize>,
    pools: pools::Pools,
    local: local::Known,
    /// Bytes that instances of graphs allocate when they are launched, where they do.
    instances: HashMap<usize, u64>,
}

struct Counted {
    /// The host's functions.
    host: Library,
    account: Arc<Account>,
    context_bytes: u64,
    /// The device's memory is this process's alone.
    memory_is_own: bool,
    /// What counts on a GPU, where there is a limit.
    measured: Option<Measured>,
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
            None => $crate::worker::cuda::CUDA_ERROR_NOT_SUPPORTED,
        }
    };
}

mod arrays;
mod code;
mod instances;
mod local;
mod measured;
mod physical;
mod pools;

pub(super) use local::Local;
use measured::Measured;
pub(super) use physical::{import, physical_bytes};

/// Devices whose primary context was made ahead of the session, one bit each. It is kept until the guest asks for a context
/// of the device or decides about its flags.
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
    let before = PREPARED.fetch_and(!bit(device), Ordering::Relaxed);
    if before & bit(device) != 0 {
        host!(cuDevicePrimaryCtxRelease_v2(device));
        if let Some(measured) = &counted().measured {
            measured.ahead_ended((before & !bit(device)).count_ones(), before.count_ones());
        }
    }
}

/// The one session of this process.
static COUNTED: OnceLock<Counted> = OnceLock::new();

impl Counted {
    fn new(
        host: Library,
        account: Arc<Account>,
        context_bytes: u64,
        memory_is_own: bool,
        figure: Option<Figure>,
    ) -> Counted {
        let figure = figure.filter(|_| account.limit().is_some() && !memory_is_own);
        let measured = figure.map(|figure| Measured::new(figure, Arc::clone(&account)));
        if let Some(measured) = measured.as_ref().filter(|_| PREPARED.load(Ordering::Relaxed) != 0) {
            measured.is_ahead();
        }
        Counted { host, account, context_bytes, memory_is_own, measured, table: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `bytes` for a call that begins; where there is no room, pools give back what they keep for later.
    fn charge(&self, bytes: u64) -> bool {
        self.charge_once(bytes) || self.trim() && self.charge_once(bytes)
    }

    fn charge_once(&self, bytes: u64) -> bool {
        match &self.measured {
            Some(measured) => measured.begin(bytes),
            None => self.account.charge(bytes),
        }
    }

    /// The call has taken what was charged, of which it told so much.
    fn made(&self, charged: u64, told: u64) {
        if let Some(measured) = &self.measured {
            measured.made(charged, told);
        }
    }

    /// The call has taken nothing of what was charged.
    fn failed(&self, charged: u64) {
        match &self.measured {
            Some(measured) => measured.failed(charged),
            None => self.account.refund(charged),
        }
    }

    /// Memory is freed that was counted.
    fn refund(&self, bytes: u64) {
        match &self.measured {
            Some(measured) => measured.freed(bytes),
            None => self.account.refund(bytes),
        }
    }

    /// Memory of another process was charged, and is held.
    fn foreign_made(&self, bytes: u64) {
        if let Some(measured) = &self.measured {
            measured.foreign_made(bytes);
        }
    }

    fn foreign_ended(&self, bytes: u64) {
        match &self.measured {
            Some(measured) => measured.foreign_ended(bytes),
            None => self.account.refund(bytes),
        }
    }

    /// Asks the driver, where that is what counts; false where it says that a limit is passed.
    fn look(&self) -> bool {
        self.measured.as_ref().is_none_or(Measured::look)
    }

    /// An allocation of so many bytes as it is charged: whole pieces of the driver's, or what it gives at least.
    fn rounded(&self, bytes: u64) -> u64 {
        match self.measured {
            Some(_) => measured::pieces(bytes),
            None => bytes.checked_next_multiple_of(GRAIN).unwrap_or(u64::MAX),
        }
    }

    /// Counts an allocation that `make` makes, and undoes that where it fails. `make` gives the number and the bytes that it is of.
    fn allocate(&self, sort: Sort, told: u64, make: impl FnOnce() -> (i32, u64)) -> i32 {
        let bytes = self.rounded(told);
        if !self.charge(bytes) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        let (status, number) = make();
        if status == 0 {
            self.made(bytes, told);
            self.hold((sort, number), Held { context: CURRENT.get(), bytes, from: From::Device });
        } else {
            self.failed(bytes);
        }
        status
    }

    fn hold(&self, key: (Sort, u64), held: Held) {
        let other = self.lock().held.insert(key, held);
        if let Some(other) = other {
            self.refund(other.bytes);
        }
    }

    /// The allocation is gone.
    fn free(&self, sort: Sort, number: u64) {
        let Some(held) = self.lock().held.remove(&(sort, number)) else { return };
        match held.from {
            From::Device => self.refund(held.bytes),
            From::Pool => self.of_pool_ended(held.bytes),
            From::Other => self.foreign_ended(held.bytes),
        }
    }

    /// A context, once; `is_new` where it certainly is not there yet. What passes a limit is undone.
    fn context_made(&self, is_new: bool, make: impl FnOnce() -> (i32, usize), undo: impl FnOnce() -> i32) -> i32 {
        let charged = if is_new { self.context_bytes } else { 0 };
        if !self.charge(charged) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        let (status, context) = make();
        let number = (Sort::Context, context as u64);
        if status != 0 || self.lock().held.contains_key(&number) {
            self.failed(charged);
            return status;
        }
        self.made(charged, charged);
        let fits = is_new || self.charge(self.context_bytes);
        if fits {
            self.made(self.context_bytes - charged, 0);
            self.lock().held.insert(number, Held { context, bytes: self.context_bytes, from: From::Device });
        }
        if fits && self.measured.as_ref().is_none_or(Measured::look_at_context) {
            return 0;
        }
        undo();
        self.context_ended(context);
        CUDA_ERROR_OUT_OF_MEMORY
    }

    /// All that was in a context is gone with it.
    fn context_ended(&self, context: usize) {
        let mut table = self.lock();
        let (mut bytes, mut foreign) = (0u64, 0u64);
        table.held.retain(|_, held| {
            let stays = held.context != context;
            if !stays {
                *if held.from == From::Other { &mut foreign } else { &mut bytes } += held.bytes;
            }
            stays
        });
        drop(table);
        self.forget_local(context);
        self.foreign_ended(foreign);
        self.refund(bytes);
        self.look();
    }
}

#[cfg(test)]
thread_local! {
    /// A test's session, on its thread.
    static HERE: Cell<Option<&'static Counted>> = const { Cell::new(None) };
}

/// The session that is counted, if there is one.
fn session() -> Option<&'static Counted> {
    #[cfg(test)]
    if let Some(here) = HERE.get() {
        return Some(here);
    }
    COUNTED.get()
}

fn counted() -> &'static Counted {
    // Set before the functions are given to anybody.
    session().unwrap_or_else(|| unreachable!("counting functions are made by count"))
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

/// Counts an allocation of another process that was opened here; false where there is no room.
pub(super) fn hold(address: u64, bytes: u64) -> bool {
    let Some(counted) = session() else { return true };
    let bytes = counted.rounded(bytes);
    if !counted.charge(bytes) {
        return false;
    }
    counted.foreign_made(bytes);
    counted.hold((Sort::Address, address), Held { context: CURRENT.get(), bytes, from: From::Other });
    true
}

/// The allocation of another process was closed, for the last time.
pub(super) fn let_go(address: u64) {
    if let Some(counted) = session() {
        counted.free(Sort::Address, address);
    }
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

unsafe extern "C" fn make_context(made: *mut *mut c_void, flags: u32, device: i32) -> i32 {
    end_prepared(device);
    let make = || (host!(cuCtxCreate_v2(made, flags, device)), written(made).addr());
    counted().context_made(true, make, || host!(cuCtxDestroy_v2(written(made))))
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
    let is_new = counted().lock().retained.get(&device).is_none_or(|times| *times == 0);
    let make = || {
        let status = host!(cuDevicePrimaryCtxRetain(made, device));
        end_prepared(device);
        (status, written(made).addr())
    };
    let status = counted().context_made(is_new, make, || host!(cuDevicePrimaryCtxRelease_v2(device)));
    if status == 0 {
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
    counted().look();
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
    cuMemAllocAsync: pools::allocate,
    cuMemAllocFromPoolAsync: pools::allocate_from,
    cuMemCreate: physical::create,
    cuArrayCreate_v2: arrays::make,
    cuArray3DCreate_v2: arrays::make_3d,
    cuMipmappedArrayCreate: arrays::make_mipmapped,
    cuMemRetainAllocationHandle: physical::retain,
    cuMemMap: physical::map,
    cuMemUnmap: physical::unmap,
    cuMemFree_v2: free,
    cuMemFreeAsync: pools::free,
    cuMemRelease: physical::release,
    cuArrayDestroy: arrays::end,
    cuMipmappedArrayDestroy: arrays::end_mipmapped,
    cuMemPoolCreate: pools::make,
    cuMemPoolDestroy: pools::end,
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
    cuGreenCtxCreate: code::make_green,
    cuGreenCtxStreamCreate: code::make_green_stream,
    cuGreenCtxDestroy: code::end_green,
    cuGraphInstantiateWithParams: instances::make,
    cuGraphInstantiateWithFlags: instances::make_with_flags,
    cuGraphExecUpdate_v2: instances::update,
    cuGraphExecNodeSetParams: instances::change,
    cuGraphLaunch: instances::launch,
    cuGraphUpload: instances::upload,
    cuGraphExecDestroy: instances::end,
}

/// Replaces the functions that allocate, free and tell sizes. For the one session of the process.
pub fn count(
    host: Library,
    account: Arc<Account>,
    context_bytes: u64,
    memory_is_own: bool,
    figure: Option<Figure>,
) -> Library {
    let mut library = host;
    let counted = Counted::new(host, account, context_bytes, memory_is_own, figure);
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
