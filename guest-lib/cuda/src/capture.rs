//! Recording streams into graphs. While nothing records, which is known here, whether a stream records is answered here.
//!
//! The rules that a recording's mode sets for threads are kept here too (CUDA Driver API, cuStreamBeginCapture and
//! cuThreadExchangeStreamCaptureMode): the worker makes calls on whichever of its threads is free, so there every recording is
//! begun in the relaxed mode, in which the driver asks for no thread.

use crate::CUresult;
use crate::caller;
use crate::generated::{kind, send};
use crate::graph;
use crate::graph_memory;
use crate::handles::{self, Handle};
use crate::program::{In, Out};
use crate::status::{
    CUDA_ERROR_ILLEGAL_STATE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LOSSY_QUERY, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
};
use crate::stream;
use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::HashMap;
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
/// `CU_STREAM_CAPTURE_STATUS_ACTIVE`.
const ACTIVE: u32 = 1;
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

/// Takes the recording that was begun with a stream off the list. Returns what its end answers where it is no graph: it is void, or
/// the thread may not end it, which ends it all the same.
fn take(stream: Handle, thread: u32) -> Option<CUresult> {
    let mut recordings = recordings();
    let place = recordings.iter().position(|recording| recording.stream == stream)?;
    let ended = recordings.swap_remove(place);
    RECORDING.store(recordings.len() as u32, Ordering::Release);
    match ended {
        Recording { is_broken: true, .. } => Some(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED),
        Recording { mode: RELAXED, .. } => None,
        _ if ended.thread == thread => None,
        _ => Some(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD),
    }
}

fn end(stream: Result<Handle, CUresult>, graph: Out<u64>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    let id = recording_of(&caller, stream);
    if id.is_none() && graph.0.is_null() {
        return Err(CUDA_ERROR_ILLEGAL_STATE);
    }
    graph.check()?;
    let known = id.and_then(known_graph);
    let refused = take(stream, caller.origin.thread);
    let made = match known {
        Some(graph) => graph,
        None => handles::new(kind::CUgraph)?,
    };
    let status = match known {
        Some(_) => send::gpuferryEndCaptureOf(&caller, stream, made),
        None => send::cuStreamEndCapture(&caller, stream, made),
    };
    if status != 0 {
        if known.is_some() {
            handles::abandon(made);
        } else {
            handles::discard(made);
        }
        graph.set(0)?;
        return Err(status);
    }
    if let Some(refused) = refused {
        // Nobody wants it any more.
        let _ = send::cuGraphDestroy(&caller, made);
        handles::discard(made);
        graph.set(0)?;
        return Err(refused);
    }
    if let Some(id) = id {
        graph_memory::recorded(id, made);
    }
    graph.set(made.0)
}

/// The graph of a recording, where it has a handle already; it is forgotten here.
fn known_graph(id: u64) -> Option<Handle> {
    GRAPHS.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.remove(&id)
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

/// The number of what a stream records; `None` where it does not record.
pub fn recording_of(caller: &caller::Caller, stream: Handle) -> Option<u64> {
    let (mut state, mut id) = (NONE, 0);
    let status = send::gpuferryStreamCaptureInfo(caller, stream, &mut state, &mut id);
    (status == 0 && state == ACTIVE).then_some(id)
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

/// Graphs of recordings that have a handle before they are ended, by the recording's number.
static GRAPHS: Mutex<Option<HashMap<u64, Handle>>> = Mutex::new(None);

/// Lists given to the program, by stream: they stay until the next question (CUDA Driver API, cuStreamGetCaptureInfo).
static LISTS: Mutex<Option<Lists>> = Mutex::new(None);

/// Nodes and the data of their edges, by stream.
type Lists = HashMap<Handle, [Box<[u64]>; 2]>;

/// Where the program wants more than the state: the graph, the nodes, the data of their edges, how many.
struct More {
    graph: Out<u64>,
    nodes: Out<*const u64>,
    /// Not in the form of 11.3.
    data: Option<Out<*const u64>>,
    count: Out<usize>,
}

const NO_DATA: In<u64> = In(core::ptr::null());

/// The graph that a recording with a number makes, as a handle.
fn graph_of(caller: &caller::Caller, stream: Handle, id: u64) -> Result<Handle, CUresult> {
    let mut graphs = GRAPHS.lock().unwrap_or_else(PoisonError::into_inner);
    let graphs = graphs.get_or_insert_default();
    if let Some(graph) = graphs.get(&id) {
        return Ok(*graph);
    }
    let graph = handles::made(kind::CUgraph, |graph| send::gpuferryCaptureGraph(caller, graph, stream))?;
    graphs.insert(id, graph);
    Ok(graph)
}

/// What the next node of a stream depends on: nodes and the data of their edges.
fn dependencies_of(caller: &caller::Caller, stream: Handle, graph: Handle) -> Result<[Vec<u64>; 2], CUresult> {
    let mut room = 16;
    loop {
        let (mut total, mut list) = (0, vec![0u8; room * 16]);
        let send = |buffer: rt::Buffer<'_>, reply: &mut [u8]| {
            send::gpuferryCaptureDependencies(caller, stream, graph, &mut total, buffer, reply)
        };
        // SAFETY: the vector's own memory.
        caller::answer(unsafe { caller::output(caller, list.as_mut_ptr(), list.len(), send) })?;
        if total as usize <= room {
            let words: Vec<u64> = list.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
            let pairs = words.as_chunks::<2>().0.iter().take(total as usize);
            return Ok([pairs.clone().map(|pair| pair[0]).collect(), pairs.map(|pair| pair[1]).collect()]);
        }
        room = total as usize;
    }
}

/// Capture information.
fn describe(
    stream: Result<Handle, CUresult>,
    state: Out<u32>,
    id: Out<u64>,
    more: Option<More>,
) -> Result<(), CUresult> {
    state.check()?;
    let caller = caller::enter_context()?;
    let stream = stream?;
    let (now, number) = info(Ok(stream))?;
    state.set(now)?;
    if now != ACTIVE {
        return Ok(());
    }
    id.set_if_wanted(number);
    let Some(more) = more else { return Ok(()) };
    let wants_nodes = !more.nodes.0.is_null() || !more.count.0.is_null();
    if more.graph.0.is_null() && !wants_nodes {
        return Ok(());
    }
    let graph = graph_of(&caller, stream, number)?;
    more.graph.set_if_wanted(graph.0);
    if !wants_nodes {
        return Ok(());
    }
    let [nodes, data] = dependencies_of(&caller, stream, graph)?;
    let wants_data = more.data.filter(|data| !data.0.is_null());
    if wants_data.is_none() && data.iter().any(|data| *data != 0) {
        return Err(CUDA_ERROR_LOSSY_QUERY);
    }
    more.count.set_if_wanted(nodes.len());
    let mut lists = LISTS.lock().unwrap_or_else(PoisonError::into_inner);
    let lists = lists.get_or_insert_default();
    lists.insert(stream, [nodes.into(), data.into()]);
    if let Some([nodes, data]) = lists.get(&stream) {
        more.nodes.set_if_wanted(nodes.as_ptr());
        if let Some(place) = wants_data {
            place.set(data.as_ptr())?;
        }
    }
    Ok(())
}

/// Nodes with the data of their edges, as the program gives them, and how many.
type After = (In<u64>, In<u64>, usize);

fn begin_to_graph(stream: Result<Handle, CUresult>, raw: u64, after: After, mode: u32) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    let graph = graph::graph(raw)?;
    if mode >= MODES {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let run = graph::dependencies(after.0, after.1, after.2)?;
    caller::answer(send::gpuferryBeginCaptureToGraph(&caller, stream, graph, &run))?;
    begun(stream, &caller, mode);
    let (mut state, mut id) = (NONE, 0);
    caller::answer(send::gpuferryStreamCaptureInfo(&caller, stream, &mut state, &mut id))?;
    GRAPHS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(id, graph);
    Ok(())
}

fn update(stream: Result<Handle, CUresult>, after: After, flags: u32) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    let run = graph::dependencies(after.0, after.1, after.2)?;
    caller::answer(send::gpuferryUpdateCaptureDependencies(&caller, stream, &run, flags))
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
        let new = mode.get()?;
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
        describe(stream::resolve(hStream), captureStatus, id, None)
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 10.1, with the per-thread default stream.
    extern "C" fn cuStreamGetCaptureInfo_ptsz(hStream: u64, captureStatus: Out<u32>, id: Out<u64>) {
        describe(stream::resolve_per_thread(hStream), captureStatus, id, None)
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 11.3.
    extern "C" fn cuStreamGetCaptureInfo_v2(
        hStream: u64, captureStatus: Out<u32>, id: Out<u64>, graph: Out<u64>, dependencies: Out<*const u64>,
        count: Out<usize>,
    ) {
        let more = More { graph, nodes: dependencies, data: None, count };
        describe(stream::resolve(hStream), captureStatus, id, Some(more))
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 11.3, with the per-thread default stream.
    extern "C" fn cuStreamGetCaptureInfo_v2_ptsz(
        hStream: u64, captureStatus: Out<u32>, id: Out<u64>, graph: Out<u64>, dependencies: Out<*const u64>,
        count: Out<usize>,
    ) {
        let more = More { graph, nodes: dependencies, data: None, count };
        describe(stream::resolve_per_thread(hStream), captureStatus, id, Some(more))
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 12.3.
    extern "C" fn cuStreamGetCaptureInfo_v3(
        hStream: u64, captureStatus: Out<u32>, id: Out<u64>, graph: Out<u64>, dependencies: Out<*const u64>,
        edges: Out<*const u64>, count: Out<usize>,
    ) {
        let more = More { graph, nodes: dependencies, data: Some(edges), count };
        describe(stream::resolve(hStream), captureStatus, id, Some(more))
    }

    /// CUDA Driver API, cuStreamGetCaptureInfo as of 12.3, with the per-thread default stream.
    extern "C" fn cuStreamGetCaptureInfo_v3_ptsz(
        hStream: u64, captureStatus: Out<u32>, id: Out<u64>, graph: Out<u64>, dependencies: Out<*const u64>,
        edges: Out<*const u64>, count: Out<usize>,
    ) {
        let more = More { graph, nodes: dependencies, data: Some(edges), count };
        describe(stream::resolve_per_thread(hStream), captureStatus, id, Some(more))
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

    /// CUDA Driver API, cuStreamBeginCaptureToGraph.
    extern "C" fn cuStreamBeginCaptureToGraph(
        hStream: u64, hGraph: u64, dependencies: In<u64>, dependencyData: In<u64>, numDependencies: usize, mode: u32,
    ) {
        begin_to_graph(stream::resolve(hStream), hGraph, (dependencies, dependencyData, numDependencies), mode)
    }

    /// CUDA Driver API, cuStreamBeginCaptureToGraph with the per-thread default stream.
    extern "C" fn cuStreamBeginCaptureToGraph_ptsz(
        hStream: u64, hGraph: u64, dependencies: In<u64>, dependencyData: In<u64>, numDependencies: usize, mode: u32,
    ) {
        let after = (dependencies, dependencyData, numDependencies);
        begin_to_graph(stream::resolve_per_thread(hStream), hGraph, after, mode)
    }

    /// CUDA Driver API, cuStreamUpdateCaptureDependencies.
    extern "C" fn cuStreamUpdateCaptureDependencies(
        hStream: u64, dependencies: In<u64>, numDependencies: usize, flags: u32,
    ) {
        update(stream::resolve(hStream), (dependencies, NO_DATA, numDependencies), flags)
    }

    /// CUDA Driver API, cuStreamUpdateCaptureDependencies with the per-thread default stream.
    extern "C" fn cuStreamUpdateCaptureDependencies_ptsz(
        hStream: u64, dependencies: In<u64>, numDependencies: usize, flags: u32,
    ) {
        update(stream::resolve_per_thread(hStream), (dependencies, NO_DATA, numDependencies), flags)
    }

    /// CUDA Driver API, cuStreamUpdateCaptureDependencies as of 12.3.
    extern "C" fn cuStreamUpdateCaptureDependencies_v2(
        hStream: u64, dependencies: In<u64>, dependencyData: In<u64>, numDependencies: usize, flags: u32,
    ) {
        update(stream::resolve(hStream), (dependencies, dependencyData, numDependencies), flags)
    }

    /// CUDA Driver API, cuStreamUpdateCaptureDependencies as of 12.3, with the per-thread default stream.
    extern "C" fn cuStreamUpdateCaptureDependencies_v2_ptsz(
        hStream: u64, dependencies: In<u64>, dependencyData: In<u64>, numDependencies: usize, flags: u32,
    ) {
        update(stream::resolve_per_thread(hStream), (dependencies, dependencyData, numDependencies), flags)
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
        assert_eq!(take(Handle(101), 7), Some(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD));
        assert_eq!(take(Handle(101), 101), None, "it has ended");
        assert_eq!(take(Handle(102), 7), None);
        assert_eq!(take(Handle(103), 7), None);
    }
}
