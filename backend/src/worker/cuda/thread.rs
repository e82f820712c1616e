//! State that the driver keeps for each thread: the current context. It travels with every message and is set before the call,
//! where the thread that makes the call has another. The capture mode of the guest's thread travels too and is not set: the guest
//! keeps its rules, and begins every recording in the mode that asks for no thread.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::Cuda;
use super::generated::{CUDA_ERROR_CONTEXT_IS_DESTROYED, kind};
use crate::worker::answer::{Failure, function, ok};

thread_local! {
    /// The current context, and how many contexts had ended when it was set; `None` before.
    static CURRENT: Cell<Option<(usize, u64)>> = const { Cell::new(None) };
    /// The context that was entered last, and how many objects and contexts had ended then: as long as no more have, it is current.
    static ENTERED: Cell<Option<(Handle, u64, u64)>> = const { Cell::new(None) };
}

/// The last of the capture modes.
const LAST_MODE: u8 = 2;

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
        if from.capture_mode > LAST_MODE {
            return Err(Malformed::new("a capture mode that is none").into());
        }
        let contexts_ended = self.contexts_ended.load(Ordering::Acquire);
        let entered = Some((context_of(from), self.objects.ends(), contexts_ended));
        if ENTERED.get() != entered {
            self.set_current(context_of(from), contexts_ended)?;
            ENTERED.set(entered);
        }
        Ok(())
    }

    fn set_current(&self, context: Handle, contexts_ended: u64) -> Result<(), Failure> {
        let wanted = if context.is_null() {
            std::ptr::null_mut()
        } else {
            let live = self.objects.get(kind::CUcontext, context);
            live.map_err(|_| Failure::Status(CUDA_ERROR_CONTEXT_IS_DESTROYED))?
        };
        let now = (wanted as usize, contexts_ended);
        if CURRENT.get() != Some(now) {
            let call = function!(self, cuCtxSetCurrent)?;
            // SAFETY: null or a context that lives.
            ok(unsafe { call(wanted) })?;
            CURRENT.set(Some(now));
        }
        Ok(())
    }

    /// A call has changed this thread's current context behind [`Cuda::enter`]'s back.
    pub(super) fn context_unknown(&self) {
        CURRENT.set(None);
        ENTERED.set(None);
    }

    /// A context has ended: no thread may trust what it remembers.
    pub(super) fn context_ended(&self) {
        self.contexts_ended.fetch_add(1, Ordering::Release);
    }
}
