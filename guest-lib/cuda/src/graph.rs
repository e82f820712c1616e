//! Graphs: nodes and edges, making them ready to launch, changing them. Node numbers are the worker's ([`crate::graph_node`] has
//! what nodes do), graphs and graphs that are ready have handles of ours.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::capture;
use crate::generated::{
    Kind, LIST_DEPENDENCIES as DEPENDENCIES, LIST_DEPENDENTS as DEPENDENTS, LIST_EDGES as EDGES, LIST_NODES as NODES,
    LIST_ROOTS as ROOTS, kind, send,
};
use crate::graph_memory;
use crate::handles::{self, Facts, Handle};
use crate::managed;
use crate::program::{In, Out, Text};
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LOSSY_QUERY, CUDA_ERROR_OPERATING_SYSTEM};
use crate::stream;
use core::ffi::c_void;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// `CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED`, `CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED`.
const TOPOLOGY_CHANGED: u32 = 2;
const NOT_SUPPORTED: u32 = 6;
/// Bytes of an entry of a list: two nodes, the data of an edge.
const ENTRY: usize = 24;
/// Most edges in one message.
const EDGES_AT_ONCE: usize = 1024;

/// An entry of a list: two nodes, the data of their edge.
type Entry = [u64; 3];

/// The numbers of graphs that lie in nodes, by node and place.
static INSIDE: Mutex<Option<HashMap<(u64, u32), Handle>>> = Mutex::new(None);

/// A graph that was moved into a node.
struct Moved;

// SAFETY: facts of graphs, and nothing else has this kind.
unsafe impl Facts for Moved {
    const KIND: Kind = kind::CUgraph;
}

/// A graph belongs to a node of another from now on.
pub fn moved(graph: Handle) {
    handles::set_facts(graph, Moved);
}

/// The handle that the program's number of a graph is.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`.
pub fn graph(raw: u64) -> Result<Handle, CUresult> {
    handles::of_kind(kind::CUgraph, raw)
}

fn exec(raw: u64) -> Result<Handle, CUresult> {
    handles::of_kind(kind::CUgraphExec, raw)
}

/// The number of a node; which node it is, the worker knows.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`.
pub fn node(raw: u64) -> Result<Handle, CUresult> {
    let handle = Handle(raw);
    if handle.kind() == Some(kind::CUgraphNode.number) { Ok(handle) } else { Err(CUDA_ERROR_INVALID_VALUE) }
}

/// Words of a list in memory.
fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// Asks for a list until all of it is there, or `most` entries.
fn list(caller: &Caller, of: Handle, what: u32, most: usize) -> Result<(usize, Vec<Entry>), CUresult> {
    let mut room = 0;
    loop {
        let mut total = 0;
        let mut bytes = vec![0u8; room * ENTRY];
        let send = |buffer: rt::Buffer<'_>, reply: &mut [u8]| {
            send::gpuferryGraphList(caller, of, what, &mut total, buffer, reply)
        };
        // SAFETY: the vector's own memory.
        caller::answer(unsafe { caller::output(caller, bytes.as_mut_ptr(), bytes.len(), send) })?;
        let wanted = (total as usize).min(most);
        if wanted <= room {
            let entries = words(&bytes).as_chunks().0.iter().take(wanted).copied().collect();
            return Ok((total as usize, entries));
        }
        room = wanted;
    }
}

/// Gives out a list in the API's manner: with no array the count, else as many as there is room for, the rest null.
fn give(
    caller: &Caller,
    of: Handle,
    what: u32,
    arrays: [Out<u64>; 2],
    data: Option<Out<u64>>,
    count: Out<usize>,
) -> Result<(), CUresult> {
    count.check()?;
    let [first, second] = arrays;
    if first.0.is_null() && second.0.is_null() {
        return count.set(list(caller, of, what, 0)?.0);
    }
    let room = count.get()?;
    let (total, entries) = list(caller, of, what, room)?;
    let places = if data.is_some_and(|data| !data.0.is_null()) { data } else { None };
    if places.is_none() && entries.iter().any(|entry| entry[2] != 0) {
        return Err(CUDA_ERROR_LOSSY_QUERY);
    }
    for place in 0..room {
        let [from, to, edge] = entries.get(place).copied().unwrap_or_default();
        if !first.0.is_null() {
            first.at(place).set(from)?;
        }
        if !second.0.is_null() {
            second.at(place).set(to)?;
        }
        if let Some(data) = places {
            data.at(place).set(edge)?;
        }
    }
    count.set(total.min(room))
}

const NO_ARRAY: Out<u64> = Out(core::ptr::null_mut());
const NO_DATA: In<u64> = In(core::ptr::null());

/// Reads dependencies as messages have them: a node and its edge's data, 16 bytes each.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`.
pub fn dependencies(nodes: In<u64>, data: In<u64>, count: usize) -> Result<Vec<u8>, CUresult> {
    let mut run = Vec::new();
    for place in 0..count {
        run.extend(node(nodes.at(place)?)?.0.to_le_bytes());
        run.extend(if data.0.is_null() { 0 } else { data.at(place)? }.to_le_bytes());
    }
    Ok(run)
}

fn edges(raw: u64, add: bool, from: In<u64>, to: In<u64>, data: In<u64>, count: usize) -> Result<(), CUresult> {
    let caller = caller::enter()?;
    let graph = graph(raw)?;
    let mut run = Vec::new();
    for place in 0..count {
        for end in [from, to] {
            run.extend(node(end.at(place)?)?.0.to_le_bytes());
        }
        run.extend(if data.0.is_null() { 0 } else { data.at(place)? }.to_le_bytes());
    }
    for part in run.chunks(EDGES_AT_ONCE * ENTRY) {
        caller::answer(send::gpuferryGraphEdges(&caller, graph, add.into(), part))?;
    }
    Ok(())
}

/// The graph in a node: its number is made at the first question.
///
/// # Errors
/// The host's answer.
pub fn inside(caller: &Caller, node: Handle, body: u32) -> Result<Handle, CUresult> {
    let mut all = INSIDE.lock().unwrap_or_else(PoisonError::into_inner);
    let all = all.get_or_insert_default();
    if let Some(graph) = all.get(&(node.0, body)) {
        return Ok(*graph);
    }
    let graph = handles::new(kind::CUgraph)?;
    if let Err(status) = caller::answer(send::gpuferryGraphInNode(caller, graph, node, body)) {
        handles::abandon(graph);
        return Err(status);
    }
    all.insert((node.0, body), graph);
    Ok(graph)
}

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct InstantiateParams {
    flags: u64,
    stream: u64,
    error_node: u64,
    result: u32,
}

fn instantiate(out: Out<u64>, raw: u64, flags: u64) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    out.check()?;
    let graph = graph(raw)?;
    capture::check_unsafe()?;
    let made = handles::made(kind::CUgraphExec, |made| send::cuGraphInstantiateWithFlags(&caller, made, graph, flags))?;
    graph_memory::also_of(graph, made);
    out.set(made.0)
}

/// The form with a log and the node that is to blame: what the worker says is in the status.
fn instantiate_with_log(
    out: Out<u64>,
    graph: u64,
    error_node: Out<u64>,
    log: Out<u8>,
    bytes: usize,
) -> Result<(), CUresult> {
    if bytes != 0 {
        log.set_if_wanted(0);
    }
    error_node.set_if_wanted(0);
    instantiate(out, graph, 0)
}

fn instantiate_with_params(
    out: Out<u64>,
    raw: u64,
    params: Out<InstantiateParams>,
    resolve: fn(u64) -> Result<Handle, CUresult>,
) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    out.check()?;
    let mut given = params.get()?;
    let (graph, upload) = (graph(raw)?, resolve(given.stream)?);
    capture::check_unsafe()?;
    let made = handles::new(kind::CUgraphExec)?;
    let (mut result, mut error_node) = (0, 0);
    let status =
        send::gpuferryGraphInstantiate(&caller, made, graph, given.flags, upload, &mut result, &mut error_node);
    (given.result, given.error_node) = (result, error_node);
    params.set(given)?;
    if status != 0 {
        handles::discard(made);
        return Err(status);
    }
    graph_memory::also_of(graph, made);
    out.set(made.0)
}

fn launch(raw: u64, stream: Result<Handle, CUresult>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let (exec, stream) = (exec(raw)?, stream?);
    managed::before_work(&caller)?;
    graph_memory::before_launch(exec, stream);
    caller::answer(send::cuGraphLaunch(&caller, exec, stream))
}

/// The graph that a node is in, as far as its pageable memory is concerned.
///
/// # Errors
/// The host's answer.
pub fn of_node(caller: &Caller, node: Handle) -> Result<Handle, CUresult> {
    let mut graph = 0;
    caller::answer(send::gpuferryGraphOf(caller, node, &mut graph))?;
    Ok(Handle(graph))
}

/// `CUgraphExecUpdateResultInfo`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct UpdateResult {
    result: u32,
    error_node: u64,
    error_from_node: u64,
}

fn update(exec_raw: u64, graph_raw: u64) -> Result<(UpdateResult, CUresult), CUresult> {
    let caller = caller::enter()?;
    let mut found = UpdateResult::default();
    let UpdateResult { result, error_node, error_from_node } = &mut found;
    let (exec, graph) = (exec(exec_raw)?, graph(graph_raw)?);
    let status = send::gpuferryGraphExecUpdate(&caller, exec, graph, result, error_node, error_from_node);
    if status == 0 {
        graph_memory::also_of(graph, exec);
    }
    Ok((found, status))
}

/// A graph in the DOT language.
fn dot(caller: &Caller, graph: Handle) -> Result<String, CUresult> {
    const KINDS: [&str; 14] = [
        "kernel",
        "memcpy",
        "memset",
        "host",
        "child graph",
        "empty",
        "event wait",
        "event record",
        "semaphore signal",
        "semaphore wait",
        "memory allocation",
        "memory free",
        "memory operations",
        "conditional",
    ];
    let mut text = String::from("digraph dot {\n");
    for [node, ..] in list(caller, graph, NODES, usize::MAX)?.1 {
        let mut number = 0;
        caller::answer(send::gpuferryGraphNodeType(caller, Handle(node), &mut number))?;
        let name = KINDS.get(number as usize).unwrap_or(&"node");
        // Writing to a string does not fail.
        let _ = writeln!(text, "  \"{node:x}\" [label=\"{name}\"];");
    }
    for [from, to, _] in list(caller, graph, EDGES, usize::MAX)?.1 {
        let _ = writeln!(text, "  \"{from:x}\" -> \"{to:x}\";");
    }
    text.push_str("}\n");
    Ok(text)
}

crate::export! {
    /// CUDA Driver API, cuGraphGetNodes.
    extern "C" fn cuGraphGetNodes(hGraph: u64, nodes: Out<u64>, numNodes: Out<usize>) {
        give(&caller::enter()?, graph(hGraph)?, NODES, [nodes, NO_ARRAY], Some(NO_ARRAY), numNodes)
    }

    /// CUDA Driver API, cuGraphGetRootNodes.
    extern "C" fn cuGraphGetRootNodes(hGraph: u64, rootNodes: Out<u64>, numRootNodes: Out<usize>) {
        give(&caller::enter()?, graph(hGraph)?, ROOTS, [rootNodes, NO_ARRAY], Some(NO_ARRAY), numRootNodes)
    }

    /// CUDA Driver API, cuGraphGetEdges.
    extern "C" fn cuGraphGetEdges(hGraph: u64, from: Out<u64>, to: Out<u64>, numEdges: Out<usize>) {
        give(&caller::enter()?, graph(hGraph)?, EDGES, [from, to], None, numEdges)
    }

    /// CUDA Driver API, cuGraphGetEdges as of 12.3.
    extern "C" fn cuGraphGetEdges_v2(
        hGraph: u64, from: Out<u64>, to: Out<u64>, edgeData: Out<u64>, numEdges: Out<usize>,
    ) {
        give(&caller::enter()?, graph(hGraph)?, EDGES, [from, to], Some(edgeData), numEdges)
    }

    /// CUDA Driver API, cuGraphNodeGetDependencies.
    extern "C" fn cuGraphNodeGetDependencies(hNode: u64, dependencies: Out<u64>, numDependencies: Out<usize>) {
        give(&caller::enter()?, node(hNode)?, DEPENDENCIES, [dependencies, NO_ARRAY], None, numDependencies)
    }

    /// CUDA Driver API, cuGraphNodeGetDependencies as of 12.3.
    extern "C" fn cuGraphNodeGetDependencies_v2(
        hNode: u64, dependencies: Out<u64>, edgeData: Out<u64>, numDependencies: Out<usize>,
    ) {
        give(&caller::enter()?, node(hNode)?, DEPENDENCIES, [dependencies, NO_ARRAY], Some(edgeData), numDependencies)
    }

    /// CUDA Driver API, cuGraphNodeGetDependentNodes.
    extern "C" fn cuGraphNodeGetDependentNodes(hNode: u64, dependentNodes: Out<u64>, numDependentNodes: Out<usize>) {
        give(&caller::enter()?, node(hNode)?, DEPENDENTS, [dependentNodes, NO_ARRAY], None, numDependentNodes)
    }

    /// CUDA Driver API, cuGraphNodeGetDependentNodes as of 12.3.
    extern "C" fn cuGraphNodeGetDependentNodes_v2(
        hNode: u64, dependentNodes: Out<u64>, edgeData: Out<u64>, numDependentNodes: Out<usize>,
    ) {
        let arrays = [dependentNodes, NO_ARRAY];
        give(&caller::enter()?, node(hNode)?, DEPENDENTS, arrays, Some(edgeData), numDependentNodes)
    }

    /// CUDA Driver API, cuGraphAddDependencies.
    extern "C" fn cuGraphAddDependencies(hGraph: u64, from: In<u64>, to: In<u64>, numDependencies: usize) {
        edges(hGraph, true, from, to, NO_DATA, numDependencies)
    }

    /// CUDA Driver API, cuGraphAddDependencies as of 12.3.
    extern "C" fn cuGraphAddDependencies_v2(
        hGraph: u64, from: In<u64>, to: In<u64>, edgeData: In<u64>, numDependencies: usize,
    ) {
        edges(hGraph, true, from, to, edgeData, numDependencies)
    }

    /// CUDA Driver API, cuGraphRemoveDependencies.
    extern "C" fn cuGraphRemoveDependencies(hGraph: u64, from: In<u64>, to: In<u64>, numDependencies: usize) {
        edges(hGraph, false, from, to, NO_DATA, numDependencies)
    }

    /// CUDA Driver API, cuGraphRemoveDependencies as of 12.3.
    extern "C" fn cuGraphRemoveDependencies_v2(
        hGraph: u64, from: In<u64>, to: In<u64>, edgeData: In<u64>, numDependencies: usize,
    ) {
        edges(hGraph, false, from, to, edgeData, numDependencies)
    }

    /// CUDA Driver API, cuGraphDestroy: one that was moved into a node belongs to it.
    extern "C" fn cuGraphDestroy(hGraph: u64) {
        let (caller, graph) = (caller::enter()?, graph(hGraph)?);
        if handles::facts::<Moved>(graph).is_some() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        caller::answer(send::cuGraphDestroy(&caller, graph))?;
        handles::free(graph);
        Ok(())
    }

    /// CUDA Driver API, cuGraphDestroyNode.
    extern "C" fn cuGraphDestroyNode(hNode: u64) {
        caller::answer(send::gpuferryGraphDestroyNode(&caller::enter()?, node(hNode)?))
    }

    /// CUDA Driver API, cuGraphNodeGetType.
    extern "C" fn cuGraphNodeGetType(hNode: u64, r#type: Out<u32>) {
        let caller = caller::enter()?;
        r#type.check()?;
        let mut number = 0;
        caller::answer(send::gpuferryGraphNodeType(&caller, node(hNode)?, &mut number))?;
        r#type.set(number)
    }

    /// CUDA Driver API, cuGraphChildGraphNodeGetGraph.
    extern "C" fn cuGraphChildGraphNodeGetGraph(hNode: u64, phGraph: Out<u64>) {
        let caller = caller::enter()?;
        phGraph.check()?;
        phGraph.set(inside(&caller, node(hNode)?, 0)?.0)
    }

    /// CUDA Driver API, cuGraphClone.
    extern "C" fn cuGraphClone(phGraphClone: Out<u64>, originalGraph: u64) {
        let caller = caller::enter()?;
        phGraphClone.check()?;
        let original = graph(originalGraph)?;
        let made = handles::made(kind::CUgraph, |made| send::cuGraphClone(&caller, made, original))?;
        graph_memory::also_of(original, made);
        phGraphClone.set(made.0)
    }

    /// CUDA Driver API, cuGraphNodeFindInClone.
    extern "C" fn cuGraphNodeFindInClone(phNode: Out<u64>, hOriginalNode: u64, hClonedGraph: u64) {
        let caller = caller::enter()?;
        phNode.check()?;
        let (mut found, original, clone) = (0, node(hOriginalNode)?, graph(hClonedGraph)?);
        caller::answer(send::gpuferryGraphFindInClone(&caller, &mut found, original, clone))?;
        phNode.set(found)
    }

    /// CUDA Driver API, cuGraphNodeSetEnabled.
    extern "C" fn cuGraphNodeSetEnabled(hGraphExec: u64, hNode: u64, isEnabled: u32) {
        let caller = caller::enter()?;
        let what = u32::from(isEnabled != 0);
        caller::answer(send::gpuferryGraphNodeEnabled(&caller, exec(hGraphExec)?, node(hNode)?, what, &mut 0))
    }

    /// CUDA Driver API, cuGraphNodeGetEnabled.
    extern "C" fn cuGraphNodeGetEnabled(hGraphExec: u64, hNode: u64, isEnabled: Out<u32>) {
        let caller = caller::enter()?;
        isEnabled.check()?;
        let mut now = 0;
        caller::answer(send::gpuferryGraphNodeEnabled(&caller, exec(hGraphExec)?, node(hNode)?, 2, &mut now))?;
        isEnabled.set(now)
    }

    /// CUDA Driver API, cuGraphInstantiateWithFlags.
    extern "C" fn cuGraphInstantiateWithFlags(phGraphExec: Out<u64>, hGraph: u64, flags: u64) {
        instantiate(phGraphExec, hGraph, flags)
    }

    /// CUDA Driver API, cuGraphInstantiate as of 10.0 and 11.0.
    extern "C" fn cuGraphInstantiate | extern "C" fn cuGraphInstantiate_v2(
        phGraphExec: Out<u64>, hGraph: u64, phErrorNode: Out<u64>, logBuffer: Out<u8>, bufferSize: usize,
    ) {
        instantiate_with_log(phGraphExec, hGraph, phErrorNode, logBuffer, bufferSize)
    }

    /// CUDA Driver API, cuGraphInstantiateWithParams.
    extern "C" fn cuGraphInstantiateWithParams(
        phGraphExec: Out<u64>, hGraph: u64, instantiateParams: Out<InstantiateParams>,
    ) {
        instantiate_with_params(phGraphExec, hGraph, instantiateParams, stream::resolve)
    }

    /// CUDA Driver API, cuGraphInstantiateWithParams with the per-thread default stream.
    extern "C" fn cuGraphInstantiateWithParams_ptsz(
        phGraphExec: Out<u64>, hGraph: u64, instantiateParams: Out<InstantiateParams>,
    ) {
        instantiate_with_params(phGraphExec, hGraph, instantiateParams, stream::resolve_per_thread)
    }

    /// CUDA Driver API, cuGraphLaunch.
    extern "C" fn cuGraphLaunch(hGraphExec: u64, hStream: u64) {
        launch(hGraphExec, stream::resolve(hStream))
    }

    /// CUDA Driver API, cuGraphLaunch with the per-thread default stream.
    extern "C" fn cuGraphLaunch_ptsz(hGraphExec: u64, hStream: u64) {
        launch(hGraphExec, stream::resolve_per_thread(hStream))
    }

    /// CUDA Driver API, cuGraphExecUpdate as of 10.2.
    extern "C" fn cuGraphExecUpdate(
        hGraphExec: u64, hGraph: u64, hErrorNode_out: Out<u64>, updateResult_out: Out<u32>,
    ) {
        updateResult_out.check()?;
        let (found, status) = update(hGraphExec, hGraph)?;
        hErrorNode_out.set_if_wanted(found.error_node);
        // Of another shape: the function of 10.2 says that such an update is not supported.
        let result = if found.result == TOPOLOGY_CHANGED { NOT_SUPPORTED } else { found.result };
        updateResult_out.set(result)?;
        caller::answer(status)
    }

    /// CUDA Driver API, cuGraphExecUpdate as of 12.0.
    extern "C" fn cuGraphExecUpdate_v2(hGraphExec: u64, hGraph: u64, resultInfo: Out<UpdateResult>) {
        resultInfo.check()?;
        let (found, status) = update(hGraphExec, hGraph)?;
        resultInfo.set(found)?;
        caller::answer(status)
    }

    /// CUDA Driver API, cuGraphKernelNodeCopyAttributes.
    extern "C" fn cuGraphKernelNodeCopyAttributes(dst: u64, src: u64) {
        caller::answer(send::gpuferryGraphCopyAttributes(&caller::enter()?, node(dst)?, node(src)?))
    }

    /// CUDA Driver API, cuGraphKernelNodeGetAttribute.
    extern "C" fn cuGraphKernelNodeGetAttribute(hNode: u64, attr: u32, value_out: Out<[u8; 64]>) {
        let caller = caller::enter()?;
        value_out.check()?;
        let mut bytes = Vec::new();
        caller::answer(send::gpuferryGraphGetAttribute(&caller, node(hNode)?, attr, &mut bytes))?;
        value_out.set(bytes.try_into().map_err(|_| CUDA_ERROR_INVALID_VALUE)?)
    }

    /// CUDA Driver API, cuGraphKernelNodeSetAttribute.
    extern "C" fn cuGraphKernelNodeSetAttribute(hNode: u64, attr: u32, value: In<[u8; 64]>) {
        let caller = caller::enter()?;
        caller::answer(send::gpuferryGraphSetAttribute(&caller, node(hNode)?, attr, &value.get()?))
    }

    /// CUDA Driver API, cuGraphDebugDotPrint: nodes and edges; what the flags ask for besides is not told.
    extern "C" fn cuGraphDebugDotPrint(hGraph: u64, path: Text, _flags: u32) {
        let caller = caller::enter()?;
        let text = dot(&caller, graph(hGraph)?)?;
        let path = path.get()?.to_str().map_err(|_| CUDA_ERROR_INVALID_VALUE)?;
        std::fs::write(path, text).map_err(|_| CUDA_ERROR_OPERATING_SYSTEM)
    }

    /// CUDA Driver API, cuGraphConditionalHandleCreate.
    extern "C" fn cuGraphConditionalHandleCreate(
        pHandle_out: Out<u64>, hGraph: u64, ctx: u64, defaultLaunchValue: u32, flags: u32,
    ) {
        let caller = caller::enter()?;
        pHandle_out.check()?;
        let graph = graph(hGraph)?;
        let context = if ctx == 0 { Handle::NULL } else { handles::of_kind(kind::CUcontext, ctx)? };
        let mut made = 0;
        let status =
            send::gpuferryGraphConditionalHandle(&caller, &mut made, graph, context, defaultLaunchValue, flags);
        caller::answer(status)?;
        pHandle_out.set(made)
    }

    /// CUDA Driver API, cuDeviceGetGraphMemAttribute.
    extern "C" fn cuDeviceGetGraphMemAttribute(device: i32, attr: u32, value: Out<u64>) {
        let caller = caller::enter()?;
        value.check()?;
        let mut now = 0;
        caller::answer(send::gpuferryGraphMemAttribute(&caller, device, attr, 0, 0, &mut now))?;
        value.set(now)
    }

    /// CUDA Driver API, cuDeviceSetGraphMemAttribute.
    extern "C" fn cuDeviceSetGraphMemAttribute(device: i32, attr: u32, value: In<u64>) {
        let caller = caller::enter()?;
        caller::answer(send::gpuferryGraphMemAttribute(&caller, device, attr, 1, value.get()?, &mut 0))
    }

    /// CUDA Driver API, cuUserObjectCreate: the destructor runs in this process when the last reference goes.
    extern "C" fn cuUserObjectCreate(
        object_out: Out<u64>, ptr: *mut c_void, destroy: Option<crate::host_function::HostFunction>,
        initialRefcount: u32, flags: u32,
    ) {
        let caller = caller::enter()?;
        object_out.check()?;
        let destroy = destroy.ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let id = crate::host_function::keep(caller.session, destroy, ptr, false)?;
        let object = handles::new(kind::CUuserObject)?;
        let status = send::gpuferryUserObjectCreate(&caller, object, id, initialRefcount, flags);
        if status != 0 {
            crate::host_function::forget(id);
            handles::discard(object);
            return Err(status);
        }
        object_out.set(object.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_when_no_number_of_one_then_is_refused() {
        let right = Handle::new(kind::CUgraphNode.number, 1, 5).0;
        assert_eq!(node(right).map(|handle| handle.0), Ok(right));
        for wild in [0, 1, u64::MAX, 0x7fff_0000_1000, Handle::new(kind::CUevent.number, 1, 5).0] {
            assert!(node(wild).is_err(), "{wild:#x}");
        }
    }

    #[test]
    fn dependencies_when_edges_have_data_then_it_travels_beside_each_node() {
        let nodes = [1, 2].map(|index| Handle::new(kind::CUgraphNode.number, 1, index).0);
        let data = [7u64, 9];
        let run = dependencies(In(nodes.as_ptr()), In(data.as_ptr()), 2).expect("nodes");
        assert_eq!(words(&run), [nodes[0], 7, nodes[1], 9]);
        assert_eq!(dependencies(NO_DATA, NO_DATA, 0), Ok(vec![]));
        assert!(dependencies(NO_DATA, NO_DATA, 1).is_err());
    }
}
