//! Recording streams into graphs. While nothing records, which is known here, whether a stream records is answered here.
//!
//! The rules that a recording's mode sets for threads are kept here too (CUDA Driver API, cuStreamBeginCapture and
//! cuThreadExchangeStreamCaptureMode): the worker makes calls on whichever of its threads is free, so there every recording is
//! begun in the relaxed mode, in which the driver asks for no thread.

use crate::CUresult;
use crate::caller;
use crate::generated::{kind, send};
use crate::handles::{self, Handle};
use crate::program::{In, Out};
use crate::status::{
    CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
    CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
};
use crate::stream;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Recordings that were begun and not ended.
static RECORDING: AtomicU32 = AtomicU32::new(0);

/// The same, with what their modes ask for.
static RECORDINGS: Mutex<Vec<Recording>> = Mutex::new(Vec::new());

/// A recording.
struct Recording {
    /// The stream that it was begun with.
    stream: Handle,
    /// The thread that began it, which must end it but in the relaxed mode.
    thread: u32,
    mode: u32,
    /// A call was made that its mode does not allow.
    is_broken: bool,
}

fn recordings() -> MutexGuard<'static, Vec<Recording>> {
    RECORDINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `CU_STREAM_CAPTURE_STATUS_NONE`.
const NONE: u32 = 0;
/// `CU_STREAM_CAPTURE_STATUS_INVALIDATED`.
const INVALIDATED: u32 = 2;
/// Modes of recording: global, thread-local, relaxed.
const MODES: u32 = 3;
/// `CU_STREAM_CAPTURE_MODE_GLOBAL`.
const GLOBAL: u32 = 0;
/// `CU_STREAM_CAPTURE_MODE_RELAXED`.
const RELAXED: u32 = 2;

/// Whether the calling thread may make a call that could disturb a recording: one that may synchronise or that is in no stream
/// (CUDA Driver API, cuThreadExchangeStreamCaptureMode: "potentially unsafe API calls").
///
/// # Errors
/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED`; the recordings that do not allow it are void then.
#[inline]
pub fn check_unsafe() -> Result<(), CUresult> {
    if !is_any() {
        return Ok(());
    }
    let mut recordings = recordings();
    // The stream of a recording may have ended, and its recording with it.
    recordings.retain(|recording| recording.stream.0 <= stream::LEGACY || handles::is_live(recording.stream));
    RECORDING.store(recordings.len() as u32, Ordering::Release);
    judge(caller::origin(), &mut recordings)
}

fn judge(origin: rt::Origin, recordings: &mut [Recording]) -> Result<(), CUresult> {
    let mut answer = Ok(());
    for recording in recordings {
        let forbids = match u32::from(origin.capture_mode) {
            RELAXED => false,
            _ if recording.thread == origin.thread => recording.mode != RELAXED,
            GLOBAL => recording.mode == GLOBAL,
            _ => false,
        };
        if forbids {
            recording.is_broken = true;
            answer = Err(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
    }
    answer
}

/// Whether anything records.
#[inline]
pub fn is_any() -> bool {
    RECORDING.load(Ordering::Acquire) != 0
}

fn begin(stream: Result<Handle, CUresult>, mode: u32) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    if mode >= MODES {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    caller::answer(send::cuStreamBeginCapture_v2(&caller, stream, RELAXED))?;
    begun(stream, &caller, mode);
    Ok(())
}

/// A stream has begun to record.
fn begun(stream: Handle, caller: &caller::Caller, mode: u32) {
    let mut recordings = recordings();
    recordings.push(Recording { stream, thread: caller.origin.thread, mode, is_broken: false });
    RECORDING.store(recordings.len() as u32, Ordering::Release);
}

/// Ends the recording that was begun with a stream, where the calling thread may. Returns whether it is void.
///
/// # Errors
/// `CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD`.
fn take(stream: Handle, thread: u32) -> Result<bool, CUresult> {
    let mut recordings = recordings();
    let Some(place) = recordings.iter().position(|recording| recording.stream == stream) else { return Ok(false) };
    if recordings[place].mode != RELAXED && recordings[place].thread != thread {
        return Err(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    }
    let ended = recordings.swap_remove(place);
    RECORDING.store(recordings.len() as u32, Ordering::Release);
    Ok(ended.is_broken)
}

fn end(stream: Result<Handle, CUresult>, graph: Out<u64>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    graph.check()?;
    let is_broken = take(stream, caller.origin.thread)?;
    let made = handles::new(kind::CUgraph)?;
    let status = send::cuStreamEndCapture(&caller, stream, made);
    if status != 0 {
        handles::discard(made);
        graph.set(0)?;
        return Err(status);
    }
    if is_broken {
        // Nobody wants it any more.
        let _ = send::cuGraphDestroy(&caller, made);
        handles::discard(made);
        graph.set(0)?;
        return Err(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    }
    graph.set(made.0)
}

/// State and number of what a stream records.
fn info(stream: Result<Handle, CUresult>) -> Result<(u32, u64), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    if RECORDING.load(Ordering::Acquire) == 0 {
        return Ok((NONE, 0));
    }
    let (mut state, mut id) = (NONE, 0);
    caller::answer(send::gpuferryStreamCaptureInfo(&caller, stream, &mut state, &mut id))?;
    Ok((state, id))
}

/// The state of a stream's recording (`CUstreamCaptureStatus`), asked for only while any stream records.
fn state_of(caller: &caller::Caller, stream: Handle) -> Result<u32, CUresult> {
    let mut now = NONE;
    if RECORDING.load(Ordering::Acquire) != 0 {
        caller::answer(send::cuStreamIsCapturing(caller, stream, &mut now))?;
    }
    let is_broken = |recording: &Recording| recording.stream == stream && recording.is_broken;
    if now != NONE && recordings().iter().any(is_broken) {
        now = INVALIDATED;
    }
    Ok(now)
}

/// Whether a stream records.
///
/// # Errors
/// The host's answer.
pub fn is_recording(caller: &caller::Caller, stream: Handle) -> Result<bool, CUresult> {
    Ok(state_of(caller, stream)? != NONE)
}

fn is_capturing(stream: Result<Handle, CUresult>, state: Out<u32>) -> Result<(), CUresult> {
    state.check()?;
    let caller = caller::enter_context()?;
    state.set(state_of(&caller, stream?)?)
}

/// Capture information, without the graph and its nodes, which are not carried.
fn describe(
    stream: Result<Handle, CUresult>,
    state: Out<u32>,
    id: Out<u64>,
    more: [*mut c_void; 4],
) -> Result<(), CUresult> {
    state.check()?;
    let (now, number) = info(stream)?;
    state.set(now)?;
    if now == NONE {
        return Ok(());
    }
    if more.iter().any(|wanted| !wanted.is_null()) {
        return Err(crate::counts::unsupported("cuStreamGetCaptureInfo with a graph or dependencies"));
    }
    id.set_if_wanted(number);
    Ok(())
}

fn set_attribute(stream: Result<Handle, CUresult>, attribute: u32, value: In<[u8; 64]>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    caller::answer(send::gpuferryStreamSetAttribute(&caller, stream?, attribute, &value.get()?))
}

fn get_attribute(stream: Result<Handle, CUresult>, attribute: u32, value: Out<[u8; 64]>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    value.check()?;
    let mut bytes = Vec::new();
    caller::answer(send::gpuferryStreamGetAttribute(&caller, stream?, attribute, &mut bytes))?;
    value.set(bytes.try_into().map_err(|_| CUDA_ERROR_INVALID_VALUE)?)
}

crate::export! {
    /// CUDA Driver API, cuThreadExchangeStreamCaptureMode.
    extern "C" fn cuThreadExchangeStreamCaptureMode(mode: Out<u32>) {
        caller::session()?;
        let new = In(mode.0.cast_const()).get()?;
        if new >= MODES {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let mut origin = caller::origin();
        mode.set(origin.capture_mode.into())?;
        origin.capture_mode = new as u8;
        caller::set_origin(origin);
        Ok(())
    }

    /// CUDA Driver API, cuStreamBeginCapture.
    extern "C" fn cuStreamBeginCapture_v2(hStream: u64, mode: u32) {
        begin(stream::resolve(hStream), mode)
    }

    /// CUDA Driver API, cuStreamBeginCapture with the per-thread default stream.
    extern "C" fn cuStreamBeginCapture_v2_ptsz(hStream: u64, mode: u32) {
        begin(stream::resolve_per_thread(hStream), mode)
    }

    /// CUDA Driver API, cuStreamBeginCapture as of 10.0: in the global mode.
    extern "C" fn cuStreamBeginCapture(hStream: u64) {
        begin(stream::resolve(hStream), 0)
    }

    /// CUDA Driver API, cuStreamBeginCapture as of 10.0, with the per-thread default stream.
    extern "C" fn cuStreamBeginCapture_ptsz(hStream: u64) {
        begin(stream::resolve_per_thread(hStream), 0)
    }

    /// CUDA Driver API, cuStreamEndCapture.
    extern "C" fn cuStreamEndCapture(hStream: u64, phGraph: Out<u64>) {
        end(stream::resolve(hStream), phGraph)
    }

    /// CUDA Driver API, cuStreamEndCapture with the per-thread default stream.
    extern "C" fn cuStreamEndCapture_ptsz(hStream: u64, phGraph: Out<u64>) {
        end(stream::resolve_per_thread(hStream), phGraph)
    }

    /// CUDA Driver API, cuStreamIsCapturing.
    extern "C" fn cuStreamIsCapturing(hStream: u64, captureStatus: Out<u32>) {
        is_capturing(stream::resolve(hStream), captureStatus)
    }

    /// CUDA Driver API, cuStreamIsCapturing with the per-thread default stream.
    extern "C" fn cuStreamIsCapturing_ptsz(hStream: u64, captureStatus: Out<u32>) {
        is_capturing(stream::resolve_per_thread(hStream), captureStatus)
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 10.1.
    extern "C" fn cuStreamGetCaptureInfo(hStream: u64, captureStatus: Out<u32>, id: Out<u64>) {
        describe(stream::resolve(hStream), captureStatus, id, [core::ptr::null_mut(); 4])
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 10.1, with the per-thread default stream.
    extern "C" fn cuStreamGetCaptureInfo_ptsz(hStream: u64, captureStatus: Out<u32>, id: Out<u64>) {
        describe(stream::resolve_per_thread(hStream), captureStatus, id, [core::ptr::null_mut(); 4])
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 11.3.
    extern "C" fn cuStreamGetCaptureInfo_v2(
        hStream: u64, captureStatus: Out<u32>, id: Out<u64>, graph: *mut c_void, dependencies: *mut c_void,
        count: *mut c_void,
    ) {
        describe(stream::resolve(hStream), captureStatus, id, [graph, dependencies, count, core::ptr::null_mut()])
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 11.3, with the per-thread default stream.
    extern "C" fn cuStreamGetCaptureInfo_v2_ptsz(
        hStream: u64, captureStatus: Out<u32>, id: Out<u64>, graph: *mut c_void, dependencies: *mut c_void,
        count: *mut c_void,
    ) {
        let more = [graph, dependencies, count, core::ptr::null_mut()];
        describe(stream::resolve_per_thread(hStream), captureStatus, id, more)
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 12.3.
    extern "C" fn cuStreamGetCaptureInfo_v3(
        hStream: u64, captureStatus: Out<u32>, id: Out<u64>, graph: *mut c_void, dependencies: *mut c_void,
        edges: *mut c_void, count: *mut c_void,
    ) {
        describe(stream::resolve(hStream), captureStatus, id, [graph, dependencies, edges, count])
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 12.3, with the per-thread default stream.
    extern "C" fn cuStreamGetCaptureInfo_v3_ptsz(
        hStream: u64, captureStatus: Out<u32>, id: Out<u64>, graph: *mut c_void, dependencies: *mut c_void,
        edges: *mut c_void, count: *mut c_void,
    ) {
        describe(stream::resolve_per_thread(hStream), captureStatus, id, [graph, dependencies, edges, count])
    }

    /// CUDA Driver API, cuStreamSetAttribute.
    extern "C" fn cuStreamSetAttribute(hStream: u64, attr: u32, value: In<[u8; 64]>) {
        set_attribute(stream::resolve(hStream), attr, value)
    }

    /// CUDA Driver API, cuStreamSetAttribute with the per-thread default stream.
    extern "C" fn cuStreamSetAttribute_ptsz(hStream: u64, attr: u32, value: In<[u8; 64]>) {
        set_attribute(stream::resolve_per_thread(hStream), attr, value)
    }

    /// CUDA Driver API, cuStreamGetAttribute.
    extern "C" fn cuStreamGetAttribute(hStream: u64, attr: u32, value_out: Out<[u8; 64]>) {
        get_attribute(stream::resolve(hStream), attr, value_out)
    }

    /// CUDA Driver API, cuStreamGetAttribute with the per-thread default stream.
    extern "C" fn cuStreamGetAttribute_ptsz(hStream: u64, attr: u32, value_out: Out<[u8; 64]>) {
        get_attribute(stream::resolve_per_thread(hStream), attr, value_out)
    }

    /// CUDA Driver API, cuGraphGetNodes: the number of nodes; the nodes themselves have no handles here.
    extern "C" fn cuGraphGetNodes(hGraph: u64, nodes: *mut c_void, numNodes: Out<usize>) {
        let caller = caller::enter()?;
        numNodes.check()?;
        let graph = handles::of_kind(kind::CUgraph, hGraph)?;
        if !nodes.is_null() {
            return Err(crate::counts::unsupported("cuGraphGetNodes of the nodes themselves"));
        }
        let mut count = 0;
        caller::answer(send::gpuferryGraphNodeCount(&caller, graph, &mut count))?;
        numNodes.set(count as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(thread: u32, mode: u32) -> Recording {
        Recording { stream: Handle(u64::from(thread)), thread, mode, is_broken: false }
    }

    #[test]
    fn judge_when_a_mode_forbids_the_call_then_the_recording_is_void() {
        let origin = |thread, capture_mode| rt::Origin { thread, capture_mode, context: 0, context_generation: 0 };
        let forbids = |caller, mode, by: u32| {
            let mut all = [recording(by, mode)];
            let answer = judge(origin(caller, 0), &mut all);
            assert_eq!(answer.is_err(), all[0].is_broken);
            all[0].is_broken
        };
        assert!(forbids(1, GLOBAL, 1) && forbids(1, 1, 1) && forbids(2, GLOBAL, 1));
        assert!(!forbids(1, RELAXED, 1) && !forbids(2, 1, 1) && !forbids(2, RELAXED, 1));
        assert_eq!(judge(origin(1, 2), &mut [recording(1, GLOBAL)]), Ok(()));
        assert_eq!(judge(origin(2, 1), &mut [recording(1, GLOBAL)]), Ok(()));
    }

    #[test]
    fn take_when_another_thread_ends_a_recording_then_only_a_relaxed_one() {
        recordings().extend([recording(101, GLOBAL), recording(102, RELAXED)]);
        assert_eq!(take(Handle(101), 7), Err(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD));
        assert_eq!(take(Handle(102), 7), Ok(false));
        assert_eq!(take(Handle(101), 101), Ok(false));
        assert_eq!(take(Handle(103), 7), Ok(false));
    }
}
