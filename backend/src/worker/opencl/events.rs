//! The status of events.

use std::ffi::c_void;

use wire::frame::FrameHeader;

use super::{OpenCl, function};
use crate::worker::answer::{Failure, ok};

/// `CL_EVENT_COMMAND_EXECUTION_STATUS`.
const EXECUTION_STATUS: u32 = 0x11D3;

impl OpenCl {
    /// `gpuferryEventStates`.
    pub(super) fn gpuferryEventStates(
        &self,
        _from: &FrameHeader,
        events: &[*mut c_void],
        states: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let info = function!(self, clGetEventInfo)?;
        for event in events {
            let mut state = 0i32;
            // SAFETY: the event lives; the value has 4 bytes.
            ok(unsafe { info(*event, EXECUTION_STATUS, 4, (&raw mut state).cast(), std::ptr::null_mut()) })?;
            states.extend(state.to_le_bytes());
        }
        Ok(())
    }
}
