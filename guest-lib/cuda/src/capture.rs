//! Recording streams into graphs. While nothing records, which is known here, whether a stream records is answered here.

use crate::CUresult;
use crate::caller;
use crate::generated::{kind, send};
use crate::handles::{self, Handle};
use crate::program::{In, Out};
use crate::status::CUDA_ERROR_INVALID_VALUE;
use crate::stream;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};

/// Recordings that were begun and not ended.
static RECORDING: AtomicU32 = AtomicU32::new(0);

/// `CU_STREAM_CAPTURE_STATUS_NONE`.
const NONE: u32 = 0;
/// Modes of recording: global, thread-local, relaxed.
const MODES: u32 = 3;

fn begin(stream: Result<Handle, CUresult>, mode: u32) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    if mode >= MODES {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    caller::answer(send::cuStreamBeginCapture_v2(&caller, stream, mode))?;
    RECORDING.fetch_add(1, Ordering::AcqRel);
    Ok(())
}

fn end(stream: Result<Handle, CUresult>, graph: Out<u64>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    graph.check()?;
    let (mut state, mut id) = (NONE, 0);
    caller::answer(send::gpuferryStreamCaptureInfo(&caller, stream, &mut state, &mut id))?;
    let made = handles::new(kind::CUgraph)?;
    let status = send::cuStreamEndCapture(&caller, stream, made);
    if state != NONE {
        // Ended whatever the answer is. Never below zero: a recording that the host knows was begun here.
        let _ = RECORDING.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1));
    }
    if status != 0 {
        handles::discard(made);
        graph.set(0)?;
        return Err(status);
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
