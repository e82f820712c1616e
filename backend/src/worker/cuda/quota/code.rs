//! What modules, libraries, streams, instances of graphs and limits of a context take: code, variables, queues, stacks, of which no
//! call tells the size. Only where there is a limit.
//!
//! On a GPU the driver is asked after each call that loads, unloads, makes or finds such a thing (a driver may load a kernel
//! when it is first asked for). The CPU device's memory is the worker's own, so its free memory is looked at before and
//! after. What is missing after it, and was not taken by another way meanwhile, is counted for the context that is current. A
//! GPU's free memory has other users: what they take would be charged to this guest, and what they free would let it pass its
//! limit.

use std::ffi::{c_char, c_void};

use super::super::generated::CUDA_ERROR_OUT_OF_MEMORY;
use super::local::STACK_SIZE;
use super::measured::PIECE;
use super::{CURRENT, Counted, From, Held, Sort, counted};

impl Counted {
    /// Bytes that the device has left; `None` where no context is current.
    fn device_has(&self) -> Option<u64> {
        let (mut free, mut total) = (0, 0);
        let ask = self.host.cuMemGetInfo_v2?;
        // SAFETY: the pointers are to live variables.
        let status = unsafe { ask(&raw mut free, &raw mut total) };
        (status == 0).then_some(free as u64)
    }

    /// Whether code is counted by what the device has less: see above.
    fn counts_code(&self) -> bool {
        self.memory_is_own && self.account.limit().is_some()
    }

    /// Makes a call that may change what code takes, and counts what it has changed. False with its status where that passes
    /// a limit.
    pub(super) fn with_code(&self, call: impl FnOnce() -> i32) -> (i32, bool) {
        if let Some(measured) = &self.measured {
            let status = call();
            return (status, measured.look());
        }
        let before = self.counts_code().then(|| self.device_has()).flatten();
        let Some(before) = before else { return (call(), true) };
        let own_before = self.account.own();
        let status = call();
        let Some(after) = self.device_has() else { return (status, true) };
        // Taken and given back by the other ways, on other threads.
        let by_others = i128::from(self.account.own()) - i128::from(own_before);
        let more = i128::from(before) - i128::from(after) - by_others;
        (status, self.code_grows(more))
    }

    /// Counts so many bytes more, or fewer; false where a limit is passed: they are counted all the same, as they are there.
    fn code_grows(&self, more: i128) -> bool {
        let context = CURRENT.get();
        let mut table = self.lock();
        let none = Held { context, bytes: 0, from: From::Device };
        let code = table.held.entry((Sort::Code, context as u64)).or_insert(none);
        let was = code.bytes;
        code.bytes = u64::try_from((i128::from(was) + more).max(0)).unwrap_or(u64::MAX);
        let now = code.bytes;
        drop(table);
        if now <= was {
            self.account.refund(was - now);
            return true;
        }
        // Where pools must give back first, they do.
        self.charge(now - was) || {
            self.account.take(now - was);
            false
        }
    }

    /// Makes a thing for many of which a driver takes memory in pieces, which it keeps when they end: refused once a limit is
    /// passed, or a GPU's piece would not fit, and counted also where it has passed it.
    pub(super) fn make_kept(&self, make: impl FnOnce() -> i32) -> i32 {
        if self.account.limit().is_none() {
            return make();
        }
        if self.measured.is_some() {
            return self.at_most(PIECE, make);
        }
        if !self.charge(0) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        self.with_code(make).0
    }

    /// Makes a call that may take memory, and undoes it where that passes a limit.
    pub(super) fn load(&self, load: impl FnOnce() -> i32, undo: impl FnOnce() -> i32) -> i32 {
        let (status, fits) = self.with_code(load);
        if status == 0 && !fits {
            self.with_code(undo);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        status
    }
}

pub(super) unsafe extern "C" fn load_module(
    made: *mut *mut c_void,
    image: *const c_void,
    count: u32,
    options: *mut u32,
    values: *mut *mut c_void,
) -> i32 {
    let load = || host!(cuModuleLoadDataEx(made, image, count, options, values));
    counted().load(load, || host!(cuModuleUnload(super::written(made))))
}

pub(super) unsafe extern "C" fn load_library(
    made: *mut *mut c_void,
    image: *const c_void,
    options: *mut u32,
    values: *mut *mut c_void,
    count: u32,
    own_options: *mut u32,
    own_values: *mut *mut c_void,
    own_count: u32,
) -> i32 {
    let load = || host!(cuLibraryLoadData(made, image, options, values, count, own_options, own_values, own_count));
    counted().load(load, || host!(cuLibraryUnload(super::written(made))))
}

/// A limit of a context decides how much is kept for stacks, what kernels print and their heaps; what passes the limit of memory is
/// set back.
pub(super) unsafe extern "C" fn set_limit(limit: u32, value: usize) -> i32 {
    let (mut before, set) = (0, |value| host!(cuCtxSetLimit(limit, value)));
    let counted = counted();
    if counted.account.limit().is_none() || host!(cuCtxGetLimit(&raw mut before, limit)) != 0 {
        return set(value);
    }
    if limit == STACK_SIZE && counted.measured.is_some() {
        return counted.set_stack(value as u64, before, set);
    }
    counted.load(|| set(value), || set(before))
}

/// Functions that make such things.
macro_rules! makes {
    ($($by:ident: $name:ident($($argument:ident: $of:ty),*);)*) => {
        $(
            pub(super) unsafe extern "C" fn $by($($argument: $of),*) -> i32 {
                counted().make_kept(|| host!($name($($argument),*)))
            }
        )*
    };
}
makes! {
    make_stream: cuStreamCreate(made: *mut *mut c_void, flags: u32);
    make_stream_with: cuStreamCreateWithPriority(made: *mut *mut c_void, flags: u32, priority: i32);
    make_green: cuGreenCtxCreate(made: *mut *mut c_void, of: *mut c_void, device: i32, flags: u32);
    make_green_stream: cuGreenCtxStreamCreate(made: *mut *mut c_void, of: *mut c_void, flags: u32, priority: i32);
}

/// Functions that give something back, or find what may be loaded only now: it is there, so it is counted also beyond a limit.
macro_rules! changes {
    ($($by:ident: $name:ident($($argument:ident: $of:ty),*);)*) => {
        $(
            pub(super) unsafe extern "C" fn $by($($argument: $of),*) -> i32 {
                counted().with_code(|| host!($name($($argument),*))).0
            }
        )*
    };
}
changes! {
    end_green: cuGreenCtxDestroy(green: *mut c_void);
    unload_module: cuModuleUnload(module: *mut c_void);
    unload_library: cuLibraryUnload(library: *mut c_void);
    find_function: cuModuleGetFunction(made: *mut *mut c_void, module: *mut c_void, name: *const c_char);
    find_variable: cuModuleGetGlobal_v2(address: *mut u64, bytes: *mut usize, module: *mut c_void, name: *const c_char);
    find_in_library: cuLibraryGetGlobal(address: *mut u64, bytes: *mut usize, library: *mut c_void, name: *const c_char);
    function_of_kernel: cuKernelGetFunction(made: *mut *mut c_void, kernel: *mut c_void);
    load_function: cuFuncLoad(function: *mut c_void);
}
