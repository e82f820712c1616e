//! Local memory of kernels and stacks, which a GPU's driver takes for all threads that the device can run at once: when a
//! stack's limit is set, and when a kernel that needs more than any before is launched for the first time, or is part of a
//! graph that is instantiated. Nothing tells how much, and it stays until the stack's limit is set anew.
//!
//! It is as much as the threads' bytes together, in whole pieces (measured on an H200: never more). So that much is charged
//! before, and the call is refused where it does not fit, as the driver refuses it on a device that is full; after it the
//! driver is asked how much it has become. A launch costs nothing for this but the first of each function that has local
//! memory.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::generated::CUDA_ERROR_OUT_OF_MEMORY;
use super::measured::{PIECE, pieces};
use super::{CURRENT, Counted, counted, instances};
use crate::worker::answer::Failure;

/// `CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT` and `…_MAX_THREADS_PER_MULTIPROCESSOR`.
const MULTIPROCESSORS: u32 = 16;
const THREADS: u32 = 39;
/// `CU_LIMIT_STACK_SIZE`.
pub(super) const STACK_SIZE: u32 = 0;

/// How often a stack's limit was set: what was launched before may have to take its memory anew.
static STACKS: AtomicU64 = AtomicU64::new(0);

/// What is known of local memory, in bytes a thread.
#[derive(Default)]
pub(super) struct Known {
    /// What each context has for certain, by its address.
    has: HashMap<usize, u64>,
    /// The most that any function needs.
    most: u64,
}

/// A function's local memory.
#[derive(Default)]
pub struct Local {
    /// In bytes a thread; 0 where none is counted.
    bytes: u64,
    /// Where it was launched last ([`here`]).
    launched: AtomicU64,
}

/// The current context, and how often a stack's limit was set: an address has 48 bits.
fn here() -> u64 {
    CURRENT.get() as u64 ^ STACKS.load(Ordering::Relaxed) << 48
}

impl Local {
    /// As the library tells it, which is asked only where it is counted.
    pub(in super::super) fn known(ask: impl FnOnce(*mut i32) -> Option<i32>) -> Local {
        let Some(counted) = super::session().filter(|counted| counted.measured.is_some()) else {
            return Local::default();
        };
        let mut value = 0;
        let bytes = if ask(&raw mut value) == Some(0) { u64::try_from(value).unwrap_or(0) } else { 0 };
        let mut table = counted.lock();
        table.local.most = table.local.most.max(bytes);
        Local { bytes, launched: AtomicU64::new(0) }
    }

    /// The function has none, or was launched in this context.
    #[inline]
    pub(in super::super) fn is_counted_here(&self) -> bool {
        self.bytes == 0 || self.launched.load(Ordering::Relaxed) == here()
    }

    /// Makes the first launch in this context.
    pub(in super::super) fn launch_first(&self, launch: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        let counted = counted();
        let most = counted.local_at_most(self.bytes);
        let mut result = Ok(());
        let status = counted.at_most(most, || {
            result = launch();
            0
        });
        if status != 0 {
            return Err(Failure::Status(status));
        }
        if result.is_ok() {
            counted.has_local(self.bytes);
            self.launched.store(here(), Ordering::Relaxed);
        }
        result
    }
}

impl Counted {
    /// Bytes that the current context takes at most when a thread needs so many.
    fn local_at_most(&self, bytes: u64) -> u64 {
        let has = self.lock().local.has.get(&CURRENT.get()).copied().unwrap_or(0);
        let mut stack = 0usize;
        host!(cuCtxGetLimit(&raw mut stack, STACK_SIZE));
        match bytes.checked_sub(has.max(stack as u64)) {
            None | Some(0) => 0,
            Some(more) => pieces(more.saturating_mul(self.threads())).saturating_add(PIECE),
        }
    }

    /// The same for the function that needs most.
    pub(super) fn local_of_any(&self) -> u64 {
        let most = self.lock().local.most;
        if most == 0 { 0 } else { self.local_at_most(most) }
    }

    fn has_local(&self, bytes: u64) {
        let mut table = self.lock();
        let has = table.local.has.entry(CURRENT.get()).or_insert(0);
        *has = bytes.max(*has);
    }

    /// Threads that the device runs at once.
    fn threads(&self) -> u64 {
        static THREADS_AT_ONCE: OnceLock<u64> = OnceLock::new();
        *THREADS_AT_ONCE.get_or_init(|| {
            let ask = |attribute| {
                let mut value = 0;
                host!(cuDeviceGetAttribute(&raw mut value, attribute, 0));
                u64::try_from(value).unwrap_or(0)
            };
            ask(MULTIPROCESSORS) * ask(THREADS)
        })
    }

    /// Makes a call that may take so many bytes and tells of none; the driver is asked after it, where there are any.
    pub(super) fn at_most(&self, bytes: u64, call: impl FnOnce() -> i32) -> i32 {
        let Some(measured) = self.measured.as_ref().filter(|_| bytes != 0) else { return call() };
        if !self.charge(bytes) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        let status = call();
        measured.settled(bytes);
        status
    }

    /// Sets a stack's limit to `bytes` by `set`: the memory of the context is as much from then on, until a kernel needs
    /// more. What passes a limit of memory all the same is set back.
    pub(super) fn set_stack(&self, bytes: u64, before: usize, set: impl Fn(usize) -> i32) -> i32 {
        let mut status = self.at_most(self.local_at_most(bytes), || set(bytes as usize));
        if status != 0 {
            return status;
        }
        if !self.look() {
            set(before);
            self.look();
            status = CUDA_ERROR_OUT_OF_MEMORY;
        }
        let mut table = self.lock();
        table.local.has.remove(&CURRENT.get());
        STACKS.fetch_add(1, Ordering::Relaxed);
        if table.local.most > bytes {
            instances::watch();
        }
        status
    }

    /// A context has ended.
    pub(super) fn forget_local(&self, context: usize) {
        self.lock().local.has.remove(&context);
    }
}
