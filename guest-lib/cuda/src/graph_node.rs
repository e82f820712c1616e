//! Functions that add nodes to a graph, change them and ask what they do ([`crate::node_params`]).
//!
//! A copy that names pageable memory reads or writes it each time the graph runs: see [`crate::graph_memory`].

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::copy3d::{self, Memcpy3D};
use crate::device;
use crate::function;
use crate::generated::{
    AllocNode, BatchNode, EventNode, FreeNode, HostNode, KernelNode, Launch, MemcpyNode, MemsetNode,
    NODE_ALLOC as ALLOC, NODE_BATCH as BATCH, NODE_CHILD as CHILD, NODE_CONDITIONAL as CONDITIONAL,
    NODE_EMPTY as EMPTY, NODE_FREE as FREE, NODE_HOST as HOST, NODE_KERNEL as KERNEL, NODE_MEMCPY as MEMCPY,
    NODE_MEMSET as MEMSET, NODE_RECORD_EVENT as RECORD_EVENT, NODE_WAIT_EVENT as WAIT_EVENT, kind, send,
};
use crate::graph::{self, dependencies, node};
use crate::handles::{self, Handle};
use crate::host_function;
use crate::node_params::{
    ACCESS, AllocParams, BatchParams, Encoded, HostParams, KernelParams, KernelParamsV1, MOVED, MemsetParams,
    NodeParams, OPERATION, alloc, any, batch, child, event, host, kernel, memcpy, memset, plain, renumber,
};
use crate::program::{In, Out};
use crate::ranges::{self, Range};
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_UNKNOWN};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use wire::payload::Reader;

/// Where a new node goes.
struct Place {
    out: Out<u64>,
    graph: u64,
    after: In<u64>,
    data: In<u64>,
    count: usize,
}

const NO_DATA: In<u64> = In(core::ptr::null());

/// Adds a node; gives its number, and the address of an allocation.
fn add(
    place: Place,
    kind: u32,
    encode: impl FnOnce(&Caller, Handle) -> Result<Encoded, CUresult>,
) -> Result<(Handle, u64), CUresult> {
    let caller = caller::enter()?;
    place.out.check()?;
    let graph = graph::graph(place.graph)?;
    let after = dependencies(place.after, place.data, place.count)?;
    let Encoded { params, data } = encode(&caller, graph)?;
    let (mut made, mut dptr) = (0, 0);
    caller::answer(send::gpuferryGraphAddNode(&caller, &mut made, &mut dptr, graph, kind, &after, &params, &data))?;
    place.out.set(made)?;
    Ok((Handle(made), dptr))
}

fn add_alloc(place: Place, given: Out<AllocParams>) -> Result<(), CUresult> {
    let mut params = given.get()?;
    let (_, dptr) = add(place, ALLOC, |_, _| alloc(&params))?;
    params.dptr = dptr;
    allocates(dptr, params.bytes);
    given.set(params)
}

/// A graph allocates there each time it runs.
fn allocates(address: u64, bytes: u64) {
    ranges::insert(Range::new(address, bytes, ranges::Kind::Graph, 0));
}

fn add_any(place: Place, given: Out<NodeParams>) -> Result<(), CUresult> {
    let mut params = given.get()?;
    let (made, dptr) = add(place, params.kind, |caller, owner| any(caller, owner, &params))?;
    match params.kind {
        ALLOC => {
            // Behind the properties, the list with its count, the bytes.
            allocates(dptr, params.words[13]);
            params.words[14] = dptr;
        }
        CONDITIONAL => {
            let caller = caller::enter()?;
            let size = (params.words[1] >> 32) as u32;
            let bodies: Result<Vec<u64>, CUresult> =
                (0..size).map(|body| Ok(graph::inside(&caller, made, body)?.0)).collect();
            // The array is the node's (CUDA Driver API, CUDA_CONDITIONAL_NODE_PARAMS): it stays.
            params.words[2] = Box::leak(bodies?.into_boxed_slice()).as_ptr() as u64;
        }
        CHILD if params.words[1] as u32 == MOVED => graph::moved(graph::graph(params.words[0])?),
        _ => {}
    }
    given.set(params)
}

/// Changes a node in its graph, or in one that is ready to launch.
fn set(
    exec: Option<u64>,
    raw: u64,
    kind: u32,
    encode: impl FnOnce(&Caller, Handle) -> Result<Encoded, CUresult>,
) -> Result<(), CUresult> {
    let caller = caller::enter()?;
    let exec = match exec {
        Some(exec) => handles::of_kind(kind::CUgraphExec, exec)?,
        None => Handle::NULL,
    };
    let node = node(raw)?;
    let owner = if exec.is_null() { graph::of_node(&caller, node)? } else { exec };
    let Encoded { params, data } = encode(&caller, owner)?;
    caller::answer(send::gpuferryGraphSetNode(&caller, exec, node, kind, &params, &data))
}

/// Asks what a node does.
fn get(raw: u64, kind: u32) -> Result<Encoded, CUresult> {
    let caller = caller::enter()?;
    let node = node(raw)?;
    let mut room = 2048;
    loop {
        let (mut total, mut memory) = (0, vec![0u8; room]);
        let send = |buffer: rt::Buffer<'_>, reply: &mut [u8]| {
            send::gpuferryGraphGetNode(&caller, node, kind, &mut total, buffer, reply)
        };
        // SAFETY: the vector's own memory.
        caller::answer(unsafe { caller::output(&caller, memory.as_mut_ptr(), room, send) })?;
        if total as usize <= room {
            let mut reader = Reader::new(&memory);
            let mut run = || reader.run().map(<[u8]>::to_vec).map_err(|_| CUDA_ERROR_UNKNOWN);
            return Ok(Encoded { params: run()?, data: run()? });
        }
        room = total as usize;
    }
}

fn read<T>(found: &Encoded, read: impl FnOnce(&mut Reader<'_>) -> Result<T, rt::Malformed>) -> Result<T, CUresult> {
    read(&mut Reader::new(&found.params)).map_err(|_| CUDA_ERROR_UNKNOWN)
}

/// Memory that structs given to the program lead to; it is the node's, and stays (CUDA Driver API,
/// cuGraphKernelNodeGetParams: "must not be modified").
static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

/// By node and data.
type Kept = HashMap<(u64, Vec<u8>), &'static [u64]>;

/// The lasting copy of a node's data, and after it `pointers` made from its address.
fn keep(node: u64, data: &[u8], pointers: impl FnOnce(u64) -> Vec<u64>) -> &'static [u64] {
    let mut all = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    all.get_or_insert_default().entry((node, data.to_vec())).or_insert_with(|| {
        let mut words = vec![0u64; data.len().div_ceil(8)];
        // SAFETY: the words have no fewer bytes than the data.
        unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), words.as_mut_ptr().cast::<u8>(), data.len()) };
        let words: &'static [u64] = Box::leak(words.into_boxed_slice());
        let made = pointers(words.as_ptr() as u64);
        if made.is_empty() { words } else { Box::leak(made.into_boxed_slice()) }
    })
}

fn kernel_of(raw: u64) -> Result<KernelParams, CUresult> {
    let found = get(raw, KERNEL)?;
    let node = read(&found, KernelNode::read)?;
    let Launch { gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes, .. } = node.launch;
    let (mut func, mut kern, mut parameters) = (node.f, 0, core::ptr::null());
    if Handle(func).kind() == Some(kind::CUkernel.number) {
        (func, kern) = (function::in_context(func).map_or(0, |function| function.0), func);
    }
    if node.f != 0 {
        let (_, layout, _) = function::layout(node.f)?;
        let pointers = |at: u64| layout.parameters.iter().map(|parameter| at + u64::from(parameter.offset)).collect();
        parameters = keep(raw, &found.data, pointers).as_ptr().cast();
    }
    Ok(KernelParams {
        func,
        grid: [gridDimX, gridDimY, gridDimZ],
        block: [blockDimX, blockDimY, blockDimZ],
        shared: sharedMemBytes,
        parameters,
        extra: core::ptr::null(),
        kern,
        ctx: node.ctx,
    })
}

fn event_of(raw: u64, kind: u32, out: Out<u64>) -> Result<(), CUresult> {
    out.check()?;
    out.set(read(&get(raw, kind)?, EventNode::read)?.event)
}

fn place(out: Out<u64>, graph: u64, after: In<u64>, count: usize) -> Place {
    Place { out, graph, after, data: NO_DATA, count }
}

crate::export! {
    /// CUDA Driver API, cuGraphAddKernelNode as of 10.0.
    extern "C" fn cuGraphAddKernelNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, nodeParams: In<KernelParamsV1>,
    ) {
        let params = nodeParams.get()?.into();
        add(place(phGraphNode, hGraph, dependencies, numDependencies), KERNEL, |_, _| kernel(&params)).map(|_| ())
    }

    /// CUDA Driver API, cuGraphAddKernelNode as of 12.0.
    extern "C" fn cuGraphAddKernelNode_v2(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, nodeParams: In<KernelParams>,
    ) {
        let params = nodeParams.get()?;
        add(place(phGraphNode, hGraph, dependencies, numDependencies), KERNEL, |_, _| kernel(&params)).map(|_| ())
    }

    /// CUDA Driver API, cuGraphKernelNodeGetParams as of 10.0.
    extern "C" fn cuGraphKernelNodeGetParams(hNode: u64, nodeParams: Out<KernelParamsV1>) {
        nodeParams.check()?;
        let KernelParams { func, grid, block, shared, parameters, extra, .. } = kernel_of(hNode)?;
        nodeParams.set(KernelParamsV1 { func, grid, block, shared, parameters, extra })
    }

    /// CUDA Driver API, cuGraphKernelNodeGetParams as of 12.0.
    extern "C" fn cuGraphKernelNodeGetParams_v2(hNode: u64, nodeParams: Out<KernelParams>) {
        nodeParams.check()?;
        nodeParams.set(kernel_of(hNode)?)
    }

    /// CUDA Driver API, cuGraphKernelNodeSetParams as of 10.0.
    extern "C" fn cuGraphKernelNodeSetParams(hNode: u64, nodeParams: In<KernelParamsV1>) {
        let params = nodeParams.get()?.into();
        set(None, hNode, KERNEL, |_, _| kernel(&params))
    }

    /// CUDA Driver API, cuGraphKernelNodeSetParams as of 12.0.
    extern "C" fn cuGraphKernelNodeSetParams_v2(hNode: u64, nodeParams: In<KernelParams>) {
        let params = nodeParams.get()?;
        set(None, hNode, KERNEL, |_, _| kernel(&params))
    }

    /// CUDA Driver API, cuGraphExecKernelNodeSetParams as of 10.1.
    extern "C" fn cuGraphExecKernelNodeSetParams(hGraphExec: u64, hNode: u64, nodeParams: In<KernelParamsV1>) {
        let params = nodeParams.get()?.into();
        set(Some(hGraphExec), hNode, KERNEL, |_, _| kernel(&params))
    }

    /// CUDA Driver API, cuGraphExecKernelNodeSetParams as of 12.0.
    extern "C" fn cuGraphExecKernelNodeSetParams_v2(hGraphExec: u64, hNode: u64, nodeParams: In<KernelParams>) {
        let params = nodeParams.get()?;
        set(Some(hGraphExec), hNode, KERNEL, |_, _| kernel(&params))
    }

    /// CUDA Driver API, cuGraphAddMemcpyNode.
    extern "C" fn cuGraphAddMemcpyNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, copyParams: In<Memcpy3D>,
        ctx: u64,
    ) {
        let copy = copyParams.get()?;
        let place = place(phGraphNode, hGraph, dependencies, numDependencies);
        add(place, MEMCPY, |caller, owner| memcpy(caller, owner, &copy, ctx)).map(|_| ())
    }

    /// CUDA Driver API, cuGraphMemcpyNodeGetParams.
    extern "C" fn cuGraphMemcpyNodeGetParams(hNode: u64, nodeParams: Out<Memcpy3D>) {
        nodeParams.check()?;
        let node = read(&get(hNode, MEMCPY)?, MemcpyNode::read)?;
        nodeParams.set(copy3d::of_graph(&node.copy, [node.srcArray, node.dstArray]))
    }

    /// CUDA Driver API, cuGraphMemcpyNodeSetParams.
    extern "C" fn cuGraphMemcpyNodeSetParams(hNode: u64, nodeParams: In<Memcpy3D>) {
        let copy = nodeParams.get()?;
        set(None, hNode, MEMCPY, |caller, owner| memcpy(caller, owner, &copy, 0))
    }

    /// CUDA Driver API, cuGraphExecMemcpyNodeSetParams.
    extern "C" fn cuGraphExecMemcpyNodeSetParams(hGraphExec: u64, hNode: u64, copyParams: In<Memcpy3D>, ctx: u64) {
        let copy = copyParams.get()?;
        set(Some(hGraphExec), hNode, MEMCPY, |caller, owner| memcpy(caller, owner, &copy, ctx))
    }

    /// CUDA Driver API, cuGraphAddMemsetNode.
    extern "C" fn cuGraphAddMemsetNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, memsetParams: In<MemsetParams>,
        ctx: u64,
    ) {
        let params = memsetParams.get()?;
        add(place(phGraphNode, hGraph, dependencies, numDependencies), MEMSET, |_, _| memset(&params, ctx)).map(|_| ())
    }

    /// CUDA Driver API, cuGraphMemsetNodeGetParams.
    extern "C" fn cuGraphMemsetNodeGetParams(hNode: u64, nodeParams: Out<MemsetParams>) {
        nodeParams.check()?;
        let node = read(&get(hNode, MEMSET)?, MemsetNode::read)?;
        let MemsetNode { dst, pitch, value, elementSize: element, width, height, .. } = node;
        nodeParams.set(MemsetParams { dst, pitch, value, element, width, height })
    }

    /// CUDA Driver API, cuGraphMemsetNodeSetParams.
    extern "C" fn cuGraphMemsetNodeSetParams(hNode: u64, nodeParams: In<MemsetParams>) {
        let params = nodeParams.get()?;
        set(None, hNode, MEMSET, |_, _| memset(&params, 0))
    }

    /// CUDA Driver API, cuGraphExecMemsetNodeSetParams.
    extern "C" fn cuGraphExecMemsetNodeSetParams(hGraphExec: u64, hNode: u64, memsetParams: In<MemsetParams>, ctx: u64) {
        let params = memsetParams.get()?;
        set(Some(hGraphExec), hNode, MEMSET, |_, _| memset(&params, ctx))
    }

    /// CUDA Driver API, cuGraphAddHostNode.
    extern "C" fn cuGraphAddHostNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, nodeParams: In<HostParams>,
    ) {
        let params = nodeParams.get()?;
        let place = place(phGraphNode, hGraph, dependencies, numDependencies);
        add(place, HOST, |caller, _| host(caller, &params)).map(|_| ())
    }

    /// CUDA Driver API, cuGraphHostNodeGetParams.
    extern "C" fn cuGraphHostNodeGetParams(hNode: u64, nodeParams: Out<HostParams>) {
        nodeParams.check()?;
        let id = read(&get(hNode, HOST)?, HostNode::read)?.id;
        let (function, data) = host_function::kept(id).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        nodeParams.set(HostParams { function: Some(function), data })
    }

    /// CUDA Driver API, cuGraphHostNodeSetParams.
    extern "C" fn cuGraphHostNodeSetParams(hNode: u64, nodeParams: In<HostParams>) {
        let params = nodeParams.get()?;
        set(None, hNode, HOST, |caller, _| host(caller, &params))
    }

    /// CUDA Driver API, cuGraphExecHostNodeSetParams.
    extern "C" fn cuGraphExecHostNodeSetParams(hGraphExec: u64, hNode: u64, nodeParams: In<HostParams>) {
        let params = nodeParams.get()?;
        set(Some(hGraphExec), hNode, HOST, |caller, _| host(caller, &params))
    }

    /// CUDA Driver API, cuGraphAddChildGraphNode.
    extern "C" fn cuGraphAddChildGraphNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, childGraph: u64,
    ) {
        let place = place(phGraphNode, hGraph, dependencies, numDependencies);
        add(place, CHILD, |_, graph| child(graph, childGraph, 0)).map(|_| ())
    }

    /// CUDA Driver API, cuGraphExecChildGraphNodeSetParams.
    extern "C" fn cuGraphExecChildGraphNodeSetParams(hGraphExec: u64, hNode: u64, childGraph: u64) {
        set(Some(hGraphExec), hNode, CHILD, |_, exec| child(exec, childGraph, 0))
    }

    /// CUDA Driver API, cuGraphAddEmptyNode.
    extern "C" fn cuGraphAddEmptyNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize,
    ) {
        let place = place(phGraphNode, hGraph, dependencies, numDependencies);
        add(place, EMPTY, |_, _| Ok(Encoded::default())).map(|_| ())
    }

    /// CUDA Driver API, cuGraphAddEventRecordNode.
    extern "C" fn cuGraphAddEventRecordNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, event: u64,
    ) {
        let place = place(phGraphNode, hGraph, dependencies, numDependencies);
        add(place, RECORD_EVENT, |_, _| self::event(event)).map(|_| ())
    }

    /// CUDA Driver API, cuGraphEventRecordNodeGetEvent.
    extern "C" fn cuGraphEventRecordNodeGetEvent(hNode: u64, event_out: Out<u64>) {
        event_of(hNode, RECORD_EVENT, event_out)
    }

    /// CUDA Driver API, cuGraphEventRecordNodeSetEvent.
    extern "C" fn cuGraphEventRecordNodeSetEvent(hNode: u64, event: u64) {
        set(None, hNode, RECORD_EVENT, |_, _| self::event(event))
    }

    /// CUDA Driver API, cuGraphExecEventRecordNodeSetEvent.
    extern "C" fn cuGraphExecEventRecordNodeSetEvent(hGraphExec: u64, hNode: u64, event: u64) {
        set(Some(hGraphExec), hNode, RECORD_EVENT, |_, _| self::event(event))
    }

    /// CUDA Driver API, cuGraphAddEventWaitNode.
    extern "C" fn cuGraphAddEventWaitNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, event: u64,
    ) {
        let place = place(phGraphNode, hGraph, dependencies, numDependencies);
        add(place, WAIT_EVENT, |_, _| self::event(event)).map(|_| ())
    }

    /// CUDA Driver API, cuGraphEventWaitNodeGetEvent.
    extern "C" fn cuGraphEventWaitNodeGetEvent(hNode: u64, event_out: Out<u64>) {
        event_of(hNode, WAIT_EVENT, event_out)
    }

    /// CUDA Driver API, cuGraphEventWaitNodeSetEvent.
    extern "C" fn cuGraphEventWaitNodeSetEvent(hNode: u64, event: u64) {
        set(None, hNode, WAIT_EVENT, |_, _| self::event(event))
    }

    /// CUDA Driver API, cuGraphExecEventWaitNodeSetEvent.
    extern "C" fn cuGraphExecEventWaitNodeSetEvent(hGraphExec: u64, hNode: u64, event: u64) {
        set(Some(hGraphExec), hNode, WAIT_EVENT, |_, _| self::event(event))
    }

    /// CUDA Driver API, cuGraphAddMemAllocNode.
    extern "C" fn cuGraphAddMemAllocNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, nodeParams: Out<AllocParams>,
    ) {
        add_alloc(place(phGraphNode, hGraph, dependencies, numDependencies), nodeParams)
    }

    /// CUDA Driver API, cuGraphMemAllocNodeGetParams.
    extern "C" fn cuGraphMemAllocNodeGetParams(hNode: u64, params_out: Out<AllocParams>) {
        params_out.check()?;
        let mut found = get(hNode, ALLOC)?;
        renumber(&mut found.data, device::here);
        let AllocNode { poolProps: props, bytesize: bytes, dptr } = read(&found, AllocNode::read)?;
        let descriptors = keep(hNode, &found.data, |_| vec![]).as_ptr().cast();
        params_out.set(AllocParams { props, descriptors, count: found.data.len() / ACCESS, bytes, dptr })
    }

    /// CUDA Driver API, cuGraphAddMemFreeNode.
    extern "C" fn cuGraphAddMemFreeNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, dptr: u64,
    ) {
        let place = place(phGraphNode, hGraph, dependencies, numDependencies);
        add(place, FREE, |_, _| plain(|w| FreeNode { dptr }.write(w))).map(|_| ())
    }

    /// CUDA Driver API, cuGraphMemFreeNodeGetParams.
    extern "C" fn cuGraphMemFreeNodeGetParams(hNode: u64, dptr_out: Out<u64>) {
        dptr_out.check()?;
        dptr_out.set(read(&get(hNode, FREE)?, FreeNode::read)?.dptr)
    }

    /// CUDA Driver API, cuGraphAddBatchMemOpNode.
    extern "C" fn cuGraphAddBatchMemOpNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, nodeParams: In<BatchParams>,
    ) {
        let params = nodeParams.get()?;
        add(place(phGraphNode, hGraph, dependencies, numDependencies), BATCH, |_, _| batch(&params)).map(|_| ())
    }

    /// CUDA Driver API, cuGraphBatchMemOpNodeGetParams.
    extern "C" fn cuGraphBatchMemOpNodeGetParams(hNode: u64, nodeParams_out: Out<BatchParams>) {
        nodeParams_out.check()?;
        let found = get(hNode, BATCH)?;
        let BatchNode { ctx, flags, .. } = read(&found, BatchNode::read)?;
        let operations = keep(hNode, &found.data, |_| vec![]).as_ptr().cast();
        nodeParams_out.set(BatchParams { ctx, count: (found.data.len() / OPERATION) as u32, operations, flags })
    }

    /// CUDA Driver API, cuGraphBatchMemOpNodeSetParams.
    extern "C" fn cuGraphBatchMemOpNodeSetParams(hNode: u64, nodeParams: In<BatchParams>) {
        let params = nodeParams.get()?;
        set(None, hNode, BATCH, |_, _| batch(&params))
    }

    /// CUDA Driver API, cuGraphExecBatchMemOpNodeSetParams.
    extern "C" fn cuGraphExecBatchMemOpNodeSetParams(hGraphExec: u64, hNode: u64, nodeParams: In<BatchParams>) {
        let params = nodeParams.get()?;
        set(Some(hGraphExec), hNode, BATCH, |_, _| batch(&params))
    }

    /// CUDA Driver API, cuGraphAddNode as of 12.2.
    extern "C" fn cuGraphAddNode(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, numDependencies: usize, nodeParams: Out<NodeParams>,
    ) {
        add_any(place(phGraphNode, hGraph, dependencies, numDependencies), nodeParams)
    }

    /// CUDA Driver API, cuGraphAddNode as of 12.3.
    extern "C" fn cuGraphAddNode_v2(
        phGraphNode: Out<u64>, hGraph: u64, dependencies: In<u64>, dependencyData: In<u64>, numDependencies: usize,
        nodeParams: Out<NodeParams>,
    ) {
        let place =
            Place { out: phGraphNode, graph: hGraph, after: dependencies, data: dependencyData, count: numDependencies };
        add_any(place, nodeParams)
    }

    /// CUDA Driver API, cuGraphNodeSetParams.
    extern "C" fn cuGraphNodeSetParams(hNode: u64, nodeParams: In<NodeParams>) {
        let params = nodeParams.get()?;
        set(None, hNode, params.kind, |caller, owner| any(caller, owner, &params))
    }

    /// CUDA Driver API, cuGraphExecNodeSetParams.
    extern "C" fn cuGraphExecNodeSetParams(hGraphExec: u64, hNode: u64, nodeParams: In<NodeParams>) {
        let params = nodeParams.get()?;
        set(Some(hGraphExec), hNode, params.kind, |caller, owner| any(caller, owner, &params))
    }
}
