//! Making events and streams: the number is made here and the making posted, once the flags are known to be right.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::generated::{Kind, kind, send};
use crate::handles::{self, Handle};
use crate::program::Out;
use crate::progress;
use crate::status::CUDA_ERROR_INVALID_VALUE;

/// Flags of events: blocking wait, no timing, for other processes.
const EVENT_FLAGS: u32 = 7;
/// `CU_EVENT_DISABLE_TIMING`.
const NO_TIMING: u32 = 2;
/// `CU_EVENT_INTERPROCESS`, which goes with [`NO_TIMING`] alone.
const INTERPROCESS: u32 = 4;
/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: u32 = 1;

fn make(
    out: Out<u64>,
    kind: Kind,
    flags_are_right: bool,
    send: impl FnOnce(&Caller, Handle) -> CUresult,
) -> Result<Handle, CUresult> {
    let caller = caller::enter_context()?;
    out.check()?;
    if !flags_are_right {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let handle = handles::made(kind, |handle| send(&caller, handle))?;
    out.set(handle.0)?;
    Ok(handle)
}

crate::export! {
    /// CUDA Driver API, cuCtxRecordEvent.
    extern "C" fn cuCtxRecordEvent(hCtx: u64, hEvent: u64) {
        let caller = caller::enter_context()?;
        let (context, event) = (handles::of_kind(kind::CUcontext, hCtx)?, handles::of_kind(kind::CUevent, hEvent)?);
        crate::progress::event_is_shared(event);
        caller::answer(send::cuCtxRecordEvent(&caller, context, event))
    }

    /// CUDA Driver API, cuEventCreate.
    extern "C" fn cuEventCreate(phEvent: Out<u64>, Flags: u32) {
        let right = Flags & !EVENT_FLAGS == 0 && (Flags & INTERPROCESS == 0 || Flags & NO_TIMING != 0);
        let event = make(phEvent, kind::CUevent, right, |caller, handle| send::cuEventCreate(caller, handle, Flags))?;
        if Flags & INTERPROCESS == 0 {
            progress::event_is_ours(event);
        }
        Ok(())
    }

    /// CUDA Driver API, cuStreamCreate.
    extern "C" fn cuStreamCreate(phStream: Out<u64>, Flags: u32) {
        let right = Flags & !NON_BLOCKING == 0;
        make(phStream, kind::CUstream, right, |caller, handle| send::cuStreamCreate(caller, handle, Flags)).map(|_| ())
    }

    /// CUDA Driver API, cuStreamCreateWithPriority: the priority is brought into its range by the host.
    extern "C" fn cuStreamCreateWithPriority(phStream: Out<u64>, flags: u32, priority: i32) {
        let right = flags & !NON_BLOCKING == 0;
        make(phStream, kind::CUstream, right, |caller, handle| {
            send::cuStreamCreateWithPriority(caller, handle, flags, priority)
        })
        .map(|_| ())
    }
}
