//! What the nodes of a graph do: the API's structs, as messages have them (`spec/api/cuda.rs`, `KernelNode` and the following).

use crate::CUresult;
use crate::caller::Caller;
use crate::copy3d::{self, Memcpy3D};
use crate::device;
use crate::function;
use crate::generated::{
    AllocNode, BatchNode, CUmemPoolProps, ChildNode, ConditionalNode, EventNode, FreeNode, HostNode, KernelNode,
    Launch, MemcpyNode, MemsetNode, NODE_ALLOC as ALLOC, NODE_BATCH as BATCH, NODE_CHILD as CHILD,
    NODE_CONDITIONAL as CONDITIONAL, NODE_EMPTY as EMPTY, NODE_FREE as FREE, NODE_HOST as HOST, NODE_KERNEL as KERNEL,
    NODE_MEMCPY as MEMCPY, NODE_MEMSET as MEMSET, NODE_RECORD_EVENT as RECORD_EVENT, NODE_WAIT_EVENT as WAIT_EVENT,
    kind,
};
use crate::graph;
use crate::graph_memory;
use crate::handles::{self, Handle};
use crate::host_function::{self, HostFunction};
use crate::launch;
use crate::program::In;
use crate::progress;
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_UNKNOWN};
use core::ffi::c_void;
use wire::payload::{Full, Writer};

/// `CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE`: the node gets the graph itself.
pub(crate) const MOVED: u32 = 1;
/// Nodes that signal an external semaphore, or wait for one (`CUgraphNodeType`).
const SIGNAL_SEMAPHORE: u32 = 8;
const WAIT_SEMAPHORE: u32 = 9;
/// `CU_MEM_LOCATION_TYPE_DEVICE`.
const DEVICE_LOCATION: u32 = 1;
/// Bytes of a `CUmemAccessDesc`.
pub(crate) const ACCESS: usize = 12;
/// Bytes of a `CUstreamBatchMemOpParams`.
pub(crate) const OPERATION: usize = 48;
/// Most operations or descriptors of a node: they fit a message.
const MAX_LIST: usize = 960;

/// `CUDA_KERNEL_NODE_PARAMS` up to version 3; version 1 ends before `kern`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KernelParams {
    pub(crate) func: u64,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared: u32,
    pub(crate) parameters: *const *const c_void,
    pub(crate) extra: *const usize,
    pub(crate) kern: u64,
    pub(crate) ctx: u64,
}

/// `CUDA_KERNEL_NODE_PARAMS_v1`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KernelParamsV1 {
    pub(crate) func: u64,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared: u32,
    pub(crate) parameters: *const *const c_void,
    pub(crate) extra: *const usize,
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
    pub(crate) dst: u64,
    pub(crate) pitch: u64,
    pub(crate) value: u32,
    pub(crate) element: u32,
    pub(crate) width: u64,
    pub(crate) height: u64,
}

/// `CUDA_HOST_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostParams {
    pub(crate) function: Option<HostFunction>,
    pub(crate) data: *mut c_void,
}

/// `CUDA_MEM_ALLOC_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AllocParams {
    pub(crate) props: CUmemPoolProps,
    pub(crate) descriptors: *const [u8; ACCESS],
    pub(crate) count: usize,
    pub(crate) bytes: u64,
    pub(crate) dptr: u64,
}

/// `CUDA_BATCH_MEM_OP_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BatchParams {
    pub(crate) ctx: u64,
    pub(crate) count: u32,
    pub(crate) operations: *const [u8; OPERATION],
    pub(crate) flags: u32,
}

/// `CUgraphNodeParams`: the kind and a union.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NodeParams {
    pub(crate) kind: u32,
    pub(crate) reserved: [u32; 3],
    pub(crate) words: [u64; 29],
    pub(crate) reserved_too: u64,
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
pub(crate) struct Encoded {
    pub(crate) params: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

fn bytes(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Result<Vec<u8>, CUresult> {
    let mut room = [0u8; 512];
    let mut writer = Writer::new(&mut room);
    write(&mut writer).map_err(|Full| CUDA_ERROR_UNKNOWN)?;
    let length = writer.len();
    Ok(room[..length].to_vec())
}

pub(crate) fn plain(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Result<Encoded, CUresult> {
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

pub(crate) fn kernel(given: &KernelParams) -> Result<Encoded, CUresult> {
    let raw = if given.func == 0 { given.kern } else { given.func };
    let (f, layout, _) = function::layout(raw)?;
    let data = launch::pack(given.parameters, given.extra, layout)?;
    let launch = sizes(given.grid, given.block, given.shared);
    let node = KernelNode { launch, f: f.0, ctx: context(given.ctx)? };
    Ok(Encoded { params: bytes(|w| node.write(w))?, data })
}

#[allow(non_snake_case)] // As above.
pub(crate) fn memcpy(caller: &Caller, owner: Handle, given: &Memcpy3D, ctx: u64) -> Result<Encoded, CUresult> {
    let (copy, arrays) = copy3d::for_graph(caller, owner, given)?;
    let [srcArray, dstArray] = arrays;
    let node = MemcpyNode { copy, srcArray, dstArray, ctx: context(ctx)? };
    plain(|w| node.write(w))
}

pub(crate) fn memset(given: &MemsetParams, ctx: u64) -> Result<Encoded, CUresult> {
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

pub(crate) fn host(caller: &Caller, given: &HostParams) -> Result<Encoded, CUresult> {
    let function = given.function.ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let id = host_function::keep(caller.session, function, given.data, true)?;
    plain(|w| HostNode { id }.write(w))
}

pub(crate) fn child(owner: Handle, raw: u64, ownership: u32) -> Result<Encoded, CUresult> {
    let child = graph::graph(raw)?;
    graph_memory::also_of(child, owner);
    let node = ChildNode { graph: child.0, ownership, padding: 0 };
    plain(|w| node.write(w))
}

pub(crate) fn event(raw: u64) -> Result<Encoded, CUresult> {
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

pub(crate) fn alloc(given: &AllocParams) -> Result<Encoded, CUresult> {
    let node = AllocNode { poolProps: given.props, bytesize: given.bytes, dptr: 0 };
    let mut data = listed(given.descriptors, given.count)?;
    renumber(&mut data, device::on_host);
    Ok(Encoded { params: bytes(|w| node.write(w))?, data })
}

/// Changes the devices in a list of `CUmemAccessDesc`s: each begins with the kind of its location, and which of the kind.
pub(crate) fn renumber(data: &mut [u8], number: impl Fn(i32) -> i32) {
    for one in data.as_chunks_mut::<ACCESS>().0 {
        let [kind, id, flags] = [0, 4, 8].map(|at| [one[at], one[at + 1], one[at + 2], one[at + 3]]);
        let is_device = u32::from_le_bytes(kind) == DEVICE_LOCATION;
        let id = if is_device { number(i32::from_le_bytes(id)).to_le_bytes() } else { id };
        one.copy_from_slice([kind, id, flags].as_flattened());
    }
}

pub(crate) fn batch(given: &BatchParams) -> Result<Encoded, CUresult> {
    let node = BatchNode { ctx: context(given.ctx)?, flags: given.flags, padding: 0 };
    Ok(Encoded { params: bytes(|w| node.write(w))?, data: listed(given.operations, given.count as usize)? })
}

/// What a `CUgraphNodeParams` says; `owner` is the graph, or the one that is ready, that it is for.
pub(crate) fn any(caller: &Caller, owner: Handle, given: &NodeParams) -> Result<Encoded, CUresult> {
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
