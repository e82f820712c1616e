//! Buffers through which the guest's scattered pages pass on their way to and from the device.
//!
//! A stage is registered with the driver, so that the device reads and writes it at full speed; where that fails, or the
//! context that registered it ends, it is ordinary memory and the driver stages once more: slower, and as right. Memory that
//! the driver does not let go of is kept for the next copies: there are never more stages than were in use at a time.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::{Cuda, lock};

/// Bytes of a stage: few enough to stay in the processor's cache between the two halves of a copy.
pub const STAGE: usize = 1 << 20;
/// Stages that are kept for the next copy.
const MOST_KEPT: usize = 16;
/// `CU_MEMHOSTREGISTER_PORTABLE`: for every context.
const PORTABLE: u32 = 1;

/// Page-aligned memory of [`STAGE`] bytes. Given back only where the driver does not know it any more.
pub struct Stage {
    memory: NonNull<u8>,
    is_registered: bool,
}

// SAFETY: the memory belongs to the value alone.
unsafe impl Send for Stage {}

impl Stage {
    fn new() -> Stage {
        let Ok(layout) = Layout::from_size_align(STAGE, 4096) else { unreachable!("a constant layout") };
        // SAFETY: the layout is not of zero size.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        Stage { memory, is_registered: false }
    }

    /// First byte.
    pub fn pointer(&self) -> *mut u8 {
        self.memory.as_ptr()
    }
}

/// Stages that nobody uses.
#[derive(Default)]
pub struct Stages(Mutex<Vec<Stage>>);

/// The fuzz targets make a session for each input, and their library remembers nothing.
#[cfg(fuzzing)]
impl Drop for Stages {
    fn drop(&mut self) {
        for stage in lock(&self.0).drain(..) {
            let layout = Layout::from_size_align(STAGE, 4096).expect("a constant layout");
            // SAFETY: allocated with this layout, and used by nobody any more.
            unsafe { std::alloc::dealloc(stage.pointer(), layout) };
        }
    }
}

impl Cuda {
    /// Runs `copy` with a stage.
    pub(super) fn with_stage<T>(&self, copy: impl FnOnce(&Stage) -> T) -> T {
        let stage = self.take_stage();
        let result = copy(&stage);
        self.give_stage(stage);
        result
    }

    /// A stage, for whoever gives it back.
    pub(super) fn take_stage(&self) -> Stage {
        // Taken out under the lock, used without it.
        let kept = lock(&self.stages.0).pop();
        kept.unwrap_or_else(|| self.make_stage())
    }

    /// Takes a stage back.
    pub(super) fn give_stage(&self, stage: Stage) {
        let mut kept = lock(&self.stages.0);
        if kept.len() < MOST_KEPT {
            return kept.push(stage);
        }
        drop(kept);
        if let Some(stage) = self.end_stage(stage) {
            lock(&self.stages.0).push(stage);
        }
    }

    /// Registers the window's staging area, once: copies from and to it go at full speed from then on.
    pub(super) fn register_staging(&self) {
        if self.has_registered_staging.swap(true, Ordering::Relaxed) {
            return;
        }
        let (start, bytes) = self.session.memory().staging();
        if let Some(register) = self.library.cuMemHostRegister_v2.filter(|_| bytes != 0) {
            // SAFETY: the window is mapped until the process ends. Failure only costs speed.
            unsafe { register(start.cast::<c_void>(), bytes, PORTABLE) };
        }
    }

    fn make_stage(&self) -> Stage {
        let mut stage = Stage::new();
        if let Some(register) = self.library.cuMemHostRegister_v2 {
            // SAFETY: memory of that many bytes, which outlives its registration. Failure only costs speed.
            stage.is_registered = unsafe { register(stage.pointer().cast::<c_void>(), STAGE, PORTABLE) } == 0;
        }
        stage
    }

    /// Frees a stage; gives it back where the driver still knows it.
    fn end_stage(&self, stage: Stage) -> Option<Stage> {
        // SAFETY: registered in `make_stage`.
        let unregister =
            |unregister: unsafe extern "C" fn(*mut c_void) -> i32| unsafe { unregister(stage.pointer().cast()) };
        if stage.is_registered && self.library.cuMemHostUnregister.map(unregister) != Some(0) {
            return Some(stage);
        }
        let Ok(layout) = Layout::from_size_align(STAGE, 4096) else { unreachable!("a constant layout") };
        // SAFETY: allocated with this layout; the driver does not know it, and the value ends here.
        unsafe { std::alloc::dealloc(stage.pointer(), layout) };
        None
    }
}
