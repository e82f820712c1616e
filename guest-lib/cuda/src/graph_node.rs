//! What the nodes of a graph do: the API's structs, as messages have them (`spec/api/cuda.rs`, `KernelNode` and the following), and
//! the functions that add nodes, change them and ask what they are.
//!
//! A copy that names pageable memory reads or writes it each time the graph runs: see [`crate::graph_memory`].

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::copy3d::{self, Memcpy3D};
use crate::function;
use crate::generated::{
    AllocNode, BatchNode, CUmemPoolProps, ChildNode, ConditionalNode, EventNode, FreeNode, HostNode, KernelNode,
    Launch, MemcpyNode, MemsetNode, NODE_ALLOC as ALLOC, NODE_BATCH as BATCH, NODE_CHILD as CHILD,
    NODE_CONDITIONAL as CONDITIONAL, NODE_EMPTY as EMPTY, NODE_FREE as FREE, NODE_HOST as HOST, NODE_KERNEL as KERNEL,
    NODE_MEMCPY as MEMCPY, NODE_MEMSET as MEMSET, NODE_RECORD_EVENT as RECORD_EVENT, NODE_WAIT_EVENT as WAIT_EVENT,
    kind, send,
};
use crate::graph::{self, dependencies, node};
use crate::graph_memory;
use crate::handles::{self, Handle};
use crate::host_function::{self, HostFunction};
use crate::launch;
use crate::program::{In, Out};
use crate::progress;
use crate::ranges::{self, Range};
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_UNKNOWN};
use core::ffi::c_void;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use wire::payload::{Full, Reader, Writer};

/// `CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE`: the node gets the graph itself.
const MOVED: u32 = 1;
/// Nodes that signal an external semaphore, or wait for one (`CUgraphNodeType`).
const SIGNAL_SEMAPHORE: u32 = 8;
const WAIT_SEMAPHORE: u32 = 9;
/// Bytes of a `CUmemAccessDesc`.
const ACCESS: usize = 12;
/// Bytes of a `CUstreamBatchMemOpParams`.
const OPERATION: usize = 48;
/// Most operations or descriptors of a node: they fit a message.
const MAX_LIST: usize = 960;

/// `CUDA_KERNEL_NODE_PARAMS` up to version 3; version 1 ends before `kern`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KernelParams {
    func: u64,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    parameters: *const *const c_void,
    extra: *const usize,
    kern: u64,
    ctx: u64,
}

/// `CUDA_KERNEL_NODE_PARAMS_v1`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KernelParamsV1 {
    func: u64,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    parameters: *const *const c_void,
    extra: *const usize,
}

impl From<KernelParamsV1> for KernelParams {
    fn from(old: KernelParamsV1) -> KernelParams {
        let KernelParamsV1 { func, grid, block, shared, parameters, extra } = old;
        KernelParams { func, grid, block, shared, parameters, extra, kern: 0, ctx: 0 }
    }
}

/// `CUDA_MEMSET_NODE_PARAMS_v1`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MemsetParams {
    dst: u64,
    pitch: u64,
    value: u32,
    element: u32,
    width: u64,
    height: u64,
}

/// `CUDA_HOST_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostParams {
    function: Option<HostFunction>,
    data: *mut c_void,
}

/// `CUDA_MEM_ALLOC_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AllocParams {
    props: CUmemPoolProps,
    descriptors: *const [u8; ACCESS],
    count: usize,
    bytes: u64,
    dptr: u64,
}

/// `CUDA_BATCH_MEM_OP_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BatchParams {
    ctx: u64,
    count: u32,
    operations: *const [u8; OPERATION],
    flags: u32,
}

/// `CUgraphNodeParams`: the kind and a union.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NodeParams {
    kind: u32,
    reserved: [u32; 3],
    words: [u64; 29],
    reserved_too: u64,
}

const _: () =
    assert!(size_of::<KernelParams>() == 72 && size_of::<AllocParams>() == 120 && size_of::<NodeParams>() == 256);

impl NodeParams {
    /// The union as the struct of its kind.
    fn body<T: Copy>(&self) -> T {
        const { assert!(size_of::<T>() <= 29 * 8 && align_of::<T>() <= 8) };
        // SAFETY: the union is as large; the API's structs take any bits.
        unsafe { self.words.as_ptr().cast::<T>().read() }
    }
}

/// What travels for a node.
#[derive(Default)]
struct Encoded {
    params: Vec<u8>,
    data: Vec<u8>,
}

fn bytes(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Result<Vec<u8>, CUresult> {
    let mut room = [0u8; 512];
    let mut writer = Writer::new(&mut room);
    write(&mut writer).map_err(|Full| CUDA_ERROR_UNKNOWN)?;
    let length = writer.len();
    Ok(room[..length].to_vec())
}

fn plain(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Result<Encoded, CUresult> {
    Ok(Encoded { params: bytes(write)?, data: Vec::new() })
}

/// The context that a struct names, checked; null stays.
fn context(raw: u64) -> Result<u64, CUresult> {
    if raw == 0 { Ok(0) } else { Ok(handles::of_kind(kind::CUcontext, raw)?.0) }
}

#[allow(non_snake_case)] // The printed struct's fields are the API's names.
fn sizes(grid: [u32; 3], block: [u32; 3], shared: u32) -> Launch {
    let ([gridDimX, gridDimY, gridDimZ], [blockDimX, blockDimY, blockDimZ]) = (grid, block);
    Launch { gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes: shared, flags: 0 }
}

fn kernel(given: &KernelParams) -> Result<Encoded, CUresult> {
    let raw = if given.func == 0 { given.kern } else { given.func };
    let (f, layout, _) = function::layout(raw)?;
    let data = launch::pack(given.parameters, given.extra, layout)?;
    let launch = sizes(given.grid, given.block, given.shared);
    let node = KernelNode { launch, f: f.0, ctx: context(given.ctx)? };
    Ok(Encoded { params: bytes(|w| node.write(w))?, data })
}

#[allow(non_snake_case)] // As above.
fn memcpy(caller: &Caller, owner: Handle, given: &Memcpy3D, ctx: u64) -> Result<Encoded, CUresult> {
    let (copy, arrays) = copy3d::for_graph(caller, owner, given)?;
    let [srcArray, dstArray] = arrays;
    let node = MemcpyNode { copy, srcArray, dstArray, ctx: context(ctx)? };
    plain(|w| node.write(w))
}

fn memset(given: &MemsetParams, ctx: u64) -> Result<Encoded, CUresult> {
    let node = MemsetNode {
        dst: given.dst,
        pitch: given.pitch,
        value: given.value,
        elementSize: given.element,
        width: given.width,
        height: given.height,
        ctx: context(ctx)?,
    };
    plain(|w| node.write(w))
}

fn host(caller: &Caller, given: &HostParams) -> Result<Encoded, CUresult> {
    let function = given.function.ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let id = host_function::keep(caller.session, function, given.data, true)?;
    plain(|w| HostNode { id }.write(w))
}

fn child(owner: Handle, raw: u64, ownership: u32) -> Result<Encoded, CUresult> {
    let child = graph::graph(raw)?;
    graph_memory::also_of(child, owner);
    let node = ChildNode { graph: child.0, ownership, padding: 0 };
    plain(|w| node.write(w))
}

fn event(raw: u64) -> Result<Encoded, CUresult> {
    let event = handles::of_kind(kind::CUevent, raw)?;
    progress::event_is_shared(event);
    plain(|w| EventNode { event: event.0 }.write(w))
}

/// Entries of a list that a struct leads to.
fn listed<const N: usize>(list: *const [u8; N], count: usize) -> Result<Vec<u8>, CUresult> {
    if count > MAX_LIST {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let mut all = Vec::new();
    for place in 0..count {
        all.extend(In(list).at(place)?);
    }
    Ok(all)
}

fn alloc(given: &AllocParams) -> Result<Encoded, CUresult> {
    let node = AllocNode { poolProps: given.props, bytesize: given.bytes, dptr: 0 };
    Ok(Encoded { params: bytes(|w| node.write(w))?, data: listed(given.descriptors, given.count)? })
}

fn batch(given: &BatchParams) -> Result<Encoded, CUresult> {
    let node = BatchNode { ctx: context(given.ctx)?, flags: given.flags, padding: 0 };
    Ok(Encoded { params: bytes(|w| node.write(w))?, data: listed(given.operations, given.count as usize)? })
}

/// What a `CUgraphNodeParams` says; `owner` is the graph, or the one that is ready, that it is for.
fn any(caller: &Caller, owner: Handle, given: &NodeParams) -> Result<Encoded, CUresult> {
    let word = |at: usize| given.words[at];
    match given.kind {
        KERNEL => kernel(&given.body()),
        MEMCPY => {
            // Flags and a reserved word, the context, the copy.
            let (ctx, copy) = (word(1), given.copy());
            memcpy(caller, owner, &copy, ctx)
        }
        MEMSET => memset(&given.body(), word(5)),
        HOST => host(caller, &given.body()),
        CHILD => child(owner, word(0), word(1) as u32),
        EMPTY => Ok(Encoded::default()),
        WAIT_EVENT | RECORD_EVENT => event(word(0)),
        ALLOC => alloc(&given.body()),
        FREE => plain(|w| FreeNode { dptr: word(0) }.write(w)),
        BATCH => batch(&given.body()),
        CONDITIONAL => {
            let (kind, size) = (word(1) as u32, (word(1) >> 32) as u32);
            let node = ConditionalNode { handle: word(0), kind, size, ctx: context(word(3))? };
            plain(|w| node.write(w))
        }
        SIGNAL_SEMAPHORE | WAIT_SEMAPHORE => {
            crate::counts::unsupported("cuGraphAddNode of an external semaphore");
            Err(CUDA_ERROR_NOT_SUPPORTED)
        }
        _ => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

impl NodeParams {
    /// The copy of a memcpy node.
    fn copy(&self) -> Memcpy3D {
        // SAFETY: 200 bytes after two words, inside the union; the struct takes any bits.
        unsafe { self.words.as_ptr().add(2).cast::<Memcpy3D>().read() }
    }
}

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
        let found = get(hNode, ALLOC)?;
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
