//! State that the driver keeps for each thread: the current context and the capture mode. It travels with every message and is
//! set before the call, where the thread that makes the call has another.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::Cuda;
use super::generated::{CUDA_ERROR_CONTEXT_IS_DESTROYED, kind};
use crate::worker::answer::{Failure, ok};

thread_local! {
    /// The current context, and how many contexts had ended when it was set; `None` before.
    static CURRENT: Cell<Option<(usize, u64)>> = const { Cell::new(None) };
    /// The capture mode; the driver's threads begin with 0.
    static MODE: Cell<u32> = const { Cell::new(0) };
}

/// The caller's current context; null for none.
pub fn context_of(from: &FrameHeader) -> Handle {
    match from.context.checked_sub(1) {
        Some(index) => Handle::new(kind::CUcontext.number, from.context_generation, index),
        None => Handle::NULL,
    }
}

impl Cuda {
    /// Gives this thread the caller's state.
    ///
    /// # Errors
    /// `CUDA_ERROR_CONTEXT_IS_DESTROYED` for a context that is gone; [`Malformed`] for a mode that is none.
    #[inline]
    pub(super) fn enter(&self, from: &FrameHeader) -> Result<(), Failure> {
        let context = context_of(from);
        let wanted = if context.is_null() {
            std::ptr::null_mut()
        } else {
            let live = self.objects.get(kind::CUcontext, context);
            live.map_err(|_| Failure::Status(CUDA_ERROR_CONTEXT_IS_DESTROYED))?
        };
        let now = (wanted as usize, self.contexts_ended.load(Ordering::Acquire));
        if CURRENT.get() != Some(now) {
            let call = self.library.cuCtxSetCurrent.ok_or_else(|| self.missing("cuCtxSetCurrent"))?;
            // SAFETY: null or a context that lives.
            ok(unsafe { call(wanted) })?;
            CURRENT.set(Some(now));
        }
        if u32::from(from.capture_mode) != MODE.get() {
            self.set_mode(from.capture_mode)?;
        }
        Ok(())
    }

    fn set_mode(&self, mode: u8) -> Result<(), Failure> {
        if mode > 2 {
            return Err(Malformed::new("a capture mode that is none").into());
        }
        let name = "cuThreadExchangeStreamCaptureMode";
        let call = self.library.cuThreadExchangeStreamCaptureMode.ok_or_else(|| self.missing(name))?;
        let mut exchanged = u32::from(mode);
        // SAFETY: the pointer is to a live variable.
        ok(unsafe { call(&raw mut exchanged) })?;
        MODE.set(u32::from(mode));
        Ok(())
    }

    /// A call has changed this thread's current context behind [`Cuda::enter`]'s back.
    pub(super) fn context_unknown(&self) {
        CURRENT.set(None);
    }

    /// A context has ended: no thread may trust what it remembers.
    pub(super) fn context_ended(&self) {
        self.contexts_ended.fetch_add(1, Ordering::Release);
    }
}
