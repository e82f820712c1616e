//! Waiting for the device, and asking whether it is done. A call that says that it is also brings back what the device has written
//! into managed variables. What is known to be done is not asked for again ([`progress`]).

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::capture;
use crate::generated::{kind, send};
use crate::graph_memory::{self, Waited};
use crate::handles::{self, Handle};
use crate::managed;
use crate::progress;
use crate::status::{CUDA_ERROR_CAPTURED_EVENT, CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_VALUE};
use crate::stream;

/// Begins a call about an event. It belongs to a context, so that the thread needs none (PyTorch asks from threads that have none).
fn of_event(event: u64) -> Result<Caller, CUresult> {
    match caller::enter_context() {
        Err(CUDA_ERROR_INVALID_CONTEXT) if handles::of_kind(kind::CUevent, event).is_ok() => caller::enter(),
        begun => begun,
    }
}

/// Ends a call that waited for a stream, or for an event of one.
fn waited(caller: &Caller, status: CUresult, stream: Waited) -> Result<(), CUresult> {
    caller::answer(status)?;
    graph_memory::after_wait(caller, stream);
    managed::after_wait(caller, false)
}

/// Waits for all work of the caller's context.
///
/// # Errors
/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED`, and the device's trouble.
pub fn context(caller: &Caller) -> Result<(), CUresult> {
    capture::check_unsafe()?;
    caller::answer(send::cuCtxSynchronize(caller))?;
    graph_memory::after_wait(caller, Waited::All);
    managed::after_wait(caller, true)
}

/// Waits for all work of a stream.
///
/// # Errors
/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED`, and the device's trouble.
pub fn stream(caller: &Caller, stream: Handle) -> Result<(), CUresult> {
    capture::check_unsafe()?;
    progress::stream(caller, stream, || {
        waited(caller, send::cuStreamSynchronize(caller, stream), Waited::Stream(stream))
    })
}

fn synchronize(stream: Result<Handle, CUresult>) -> Result<(), CUresult> {
    self::stream(&caller::enter_context()?, stream?)
}

fn query(stream: Result<Handle, CUresult>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    capture::check_unsafe()?;
    progress::stream(&caller, stream, || waited(&caller, send::cuStreamQuery(&caller, stream), Waited::Stream(stream)))
}

crate::export! {
    /// CUDA Driver API, cuCtxSynchronize.
    extern "C" fn cuCtxSynchronize() {
        context(&caller::enter_context()?)
    }

    /// CUDA Driver API, cuStreamSynchronize.
    extern "C" fn cuStreamSynchronize(hStream: u64) {
        synchronize(stream::resolve(hStream))
    }

    /// CUDA Driver API, cuStreamSynchronize with the per-thread default stream.
    extern "C" fn cuStreamSynchronize_ptsz(hStream: u64) {
        synchronize(stream::resolve_per_thread(hStream))
    }

    /// CUDA Driver API, cuStreamQuery.
    extern "C" fn cuStreamQuery(hStream: u64) {
        query(stream::resolve(hStream))
    }

    /// CUDA Driver API, cuStreamQuery with the per-thread default stream.
    extern "C" fn cuStreamQuery_ptsz(hStream: u64) {
        query(stream::resolve_per_thread(hStream))
    }

    /// CUDA Driver API, cuEventSynchronize.
    extern "C" fn cuEventSynchronize(hEvent: u64) {
        let caller = of_event(hEvent)?;
        let event = handles::of_kind(kind::CUevent, hEvent)?;
        progress::check_captured(event, CUDA_ERROR_INVALID_VALUE)?;
        capture::check_unsafe()?;
        progress::event(&caller, event, || waited(&caller, send::cuEventSynchronize(&caller, event), Waited::Event))
    }

    /// CUDA Driver API, cuEventQuery.
    extern "C" fn cuEventQuery(hEvent: u64) {
        let caller = of_event(hEvent)?;
        let event = handles::of_kind(kind::CUevent, hEvent)?;
        progress::check_captured(event, CUDA_ERROR_CAPTURED_EVENT)?;
        capture::check_unsafe()?;
        progress::event(&caller, event, || waited(&caller, send::cuEventQuery(&caller, event), Waited::Event))
    }
}
