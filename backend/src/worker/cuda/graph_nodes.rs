//! What the nodes of a graph do: from the structs of messages to the library's, and back.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Reader, Writer};

use super::copies_3d::DriverCopy;
use super::functions::Code;
use super::generated::{
    AllocNode, BatchNode, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, CUmemAccessDesc, CUmemPoolProps,
    ChildNode, ConditionalNode, EventNode, FreeNode, HostNode, KernelNode, Launch, MemcpyNode, MemsetNode,
    NODE_ALLOC as ALLOC, NODE_BATCH as BATCH, NODE_CHILD as CHILD, NODE_CONDITIONAL as CONDITIONAL,
    NODE_EMPTY as EMPTY, NODE_FREE as FREE, NODE_HOST as HOST, NODE_KERNEL as KERNEL, NODE_MEMCPY as MEMCPY,
    NODE_MEMSET as MEMSET, NODE_RECORD_EVENT as RECORD_EVENT, NODE_WAIT_EVENT as WAIT_EVENT, kind,
};
use super::launch::point;
use super::ranges::{Range, Sort};
use super::{Cuda, host_functions, lock};
use crate::worker::answer::{Failure, function, ok};

/// Words of `CUgraphNodeParams`: the kind and three of padding (as two), the kind's struct, one reserved.
const WORDS: usize = 32;
/// Where the kind's struct begins.
const BODY: usize = 2;
/// Words in front of `dptr` in `CUDA_MEM_ALLOC_NODE_PARAMS`.
const DPTR: usize = 14;
/// Words of one `CUstreamBatchMemOpParams`.
pub(super) const OPERATION: usize = 6;
/// Most bodies of a conditional node.
const MAX_BODIES: u32 = 1024;
/// `CUmemPoolProps` in words.
const POOL_PROPS: usize = 11;

/// `CUgraphNodeParams`, and the memory that it leads to.
struct Native {
    words: [u64; WORDS],
    /// Pointers to parameters, operations, access descriptors.
    lists: Vec<Vec<u64>>,
    /// Copies of packed parameters, aligned to 8.
    data: Vec<u64>,
}

impl Native {
    fn new(kind: u32) -> Native {
        let mut words = [0; WORDS];
        words[0] = kind.into();
        Native { words, lists: Vec::new(), data: Vec::new() }
    }

    fn set(&mut self, at: usize, word: u64) {
        if let Some(place) = self.words.get_mut(BODY + at) {
            *place = word;
        }
    }

    fn get(&self, at: usize) -> u64 {
        self.words.get(BODY + at).copied().unwrap_or(0)
    }

    /// Keeps a list as long as this lives, and gives its address.
    fn keep(&mut self, list: Vec<u64>) -> u64 {
        let address = list.as_ptr().expose_provenance() as u64;
        self.lists.push(list);
        address
    }

    fn pointer(&mut self) -> *mut c_void {
        self.words.as_mut_ptr().cast()
    }
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn address(object: *const c_void) -> u64 {
    object.expose_provenance() as u64
}

fn words_of(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        *word = u64::from_le_bytes(whole);
    }
    words
}

/// Reads a struct that is all of a run.
fn all<T>(run: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>) -> Result<T, Failure> {
    let mut reader = Reader::new(run);
    let value = read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// The bytes of a struct.
fn bytes(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Result<Vec<u8>, Failure> {
    let mut room = [0u8; 512];
    let mut writer = Writer::new(&mut room);
    write(&mut writer).map_err(|Full| Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
    let length = writer.len();
    Ok(room.get(..length).unwrap_or(&[]).to_vec())
}

impl Cuda {
    /// The library's form of what a node does. `dptr` of an allocation comes back in its words.
    fn native(&self, kind: u32, params: &[u8], data: &[u8]) -> Result<Native, Failure> {
        let mut native = Native::new(kind);
        match kind {
            KERNEL => self.kernel(&mut native, &all(params, KernelNode::read)?, data)?,
            MEMCPY => {
                let node = all(params, MemcpyNode::read)?;
                let arrays = [node.srcArray, node.dstArray].map(|array| self.handle(kind::CUarray, Handle(array)));
                let [source, target] = arrays;
                let copy = self.node_copy(&node.copy, source?, target?)?;
                native.set(1, address(self.context_named(Handle(node.ctx))?));
                // SAFETY: the struct is 200 bytes, without padding but for fields of zero.
                let words: [u64; 25] = unsafe { std::mem::transmute_copy(&copy) };
                words.iter().enumerate().for_each(|(at, word)| native.set(2 + at, *word));
            }
            MEMSET => {
                let node = all(params, MemsetNode::read)?;
                let rows = node.height.saturating_sub(1).checked_mul(node.pitch);
                let last = node.width.checked_mul(node.elementSize.into());
                self.device(node.dst, rows.zip(last).and_then(|(rows, last)| rows.checked_add(last)))?;
                let ctx = address(self.context_named(Handle(node.ctx))?);
                let sizes = pair(node.value, node.elementSize);
                for (at, word) in [node.dst, node.pitch, sizes, node.width, node.height, ctx].into_iter().enumerate() {
                    native.set(at, word);
                }
            }
            HOST => {
                let (function, data) = host_functions::for_graph(&self.host_functions, all(params, HostNode::read)?.id);
                native.set(0, address(function));
                native.set(1, address(data));
            }
            CHILD => {
                let node = all(params, ChildNode::read)?;
                native.set(0, address(self.handle(kind::CUgraph, Handle(node.graph))?));
                native.set(1, node.ownership.into());
            }
            EMPTY => {}
            WAIT_EVENT | RECORD_EVENT => {
                let event = Handle(all(params, EventNode::read)?.event);
                native.set(0, address(self.handle(kind::CUevent, event)?));
            }
            ALLOC => self.allocation(&mut native, &all(params, AllocNode::read)?, data)?,
            FREE => {
                let node = all(params, FreeNode::read)?;
                self.device(node.dptr, Some(1))?;
                native.set(0, node.dptr);
            }
            BATCH => {
                let node = all(params, BatchNode::read)?;
                let operations = self.operations(data)?;
                native.set(0, address(self.context_named(Handle(node.ctx))?));
                native.set(1, (operations.len() / OPERATION) as u64);
                let list = native.keep(operations);
                native.set(2, list);
                native.set(3, node.flags.into());
            }
            CONDITIONAL => {
                let node = all(params, ConditionalNode::read)?;
                if !lock(&self.conditions).contains(&node.handle) || node.size > MAX_BODIES {
                    return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
                }
                native.set(0, node.handle);
                native.set(1, pair(node.kind, node.size));
                native.set(3, address(self.context_named(Handle(node.ctx))?));
            }
            _ => return Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED)),
        }
        Ok(native)
    }

    fn kernel(&self, native: &mut Native, node: &KernelNode, data: &[u8]) -> Result<(), Failure> {
        let code = self.code(Handle(node.f))?;
        let layout = self.layout(Handle(node.f), code)?;
        if data.len() < layout.bytes {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let Some(places) = &layout.parameters else { return Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED)) };
        native.data = words_of(data);
        // SAFETY: the words have no fewer bytes than the data.
        let block = unsafe { std::slice::from_raw_parts(native.data.as_ptr().cast::<u8>(), data.len()) };
        let mut pointers = vec![MaybeUninit::uninit(); places.len()];
        point(&mut pointers, &layout, block)?;
        let list = pointers.into_iter().map(|pointer| {
            // SAFETY: there are as many as parameters, so all are written.
            address(unsafe { pointer.assume_init() })
        });
        let list = native.keep(list.collect());
        let l = &node.launch;
        let (function, kernel) = match code {
            Code::Function(object) => (address(object), 0),
            Code::Kernel(object) => (0, address(object)),
        };
        let words = [
            function,
            pair(l.gridDimX, l.gridDimY),
            pair(l.gridDimZ, l.blockDimX),
            pair(l.blockDimY, l.blockDimZ),
            l.sharedMemBytes.into(),
            list,
            0,
            kernel,
            address(self.context_named(Handle(node.ctx))?),
        ];
        words.into_iter().enumerate().for_each(|(at, word)| native.set(at, word));
        Ok(())
    }

    fn allocation(&self, native: &mut Native, node: &AllocNode, data: &[u8]) -> Result<(), Failure> {
        super::pools::on_device(&node.poolProps.location, node.poolProps.handleTypes)?;
        let props = CUmemPoolProps { win32SecurityAttributes: 0, ..node.poolProps };
        // SAFETY: 88 bytes of numbers without padding.
        let words: [u64; POOL_PROPS] = unsafe { std::mem::transmute_copy(&props) };
        words.iter().enumerate().for_each(|(at, word)| native.set(at, *word));
        if !data.len().is_multiple_of(size_of::<CUmemAccessDesc>()) {
            return Err(Malformed::new("broken access descriptors").into());
        }
        let list = if data.is_empty() { 0 } else { native.keep(words_of(data)) };
        native.set(11, list);
        native.set(12, (data.len() / size_of::<CUmemAccessDesc>()) as u64);
        native.set(13, node.bytesize);
        Ok(())
    }

    /// Batched memory operations, whose addresses are the guest's.
    pub(super) fn operations(&self, data: &[u8]) -> Result<Vec<u64>, Failure> {
        if !data.len().is_multiple_of(8 * OPERATION) {
            return Err(Malformed::new("broken operations").into());
        }
        let mut words = words_of(data);
        for operation in words.chunks_exact_mut(OPERATION) {
            // `CUstreamBatchMemOpType`: wait and write have an address, 4 or 8 bytes; a flush and a barrier have none.
            match operation {
                [what, address, _, _, alias, _] if matches!(*what as u32, 1 | 2) => {
                    self.device(*address, Some(4))?;
                    *alias = 0;
                }
                [what, address, _, _, alias, _] if matches!(*what as u32, 4 | 5) => {
                    self.device(*address, Some(8))?;
                    *alias = 0;
                }
                [what, ..] if matches!(*what as u32, 3 | 6) => {}
                _ => return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)),
            }
        }
        Ok(words)
    }

    /// `gpuferryGraphAddNode`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gpuferryGraphAddNode(
        &self,
        _from: &FrameHeader,
        node: &mut u64,
        dptr: &mut u64,
        graph: *mut c_void,
        kind: u32,
        edges: &[u8],
        params: &[u8],
        data: &[u8],
    ) -> Result<(), Failure> {
        let after = self.dependencies(edges)?;
        let mut native = self.native(kind, params, data)?;
        if kind == CHILD && native.get(0) == address(graph) {
            // A driver of 580 does not come back from this.
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let (mut made, nodes, count) = (std::ptr::null_mut(), after.nodes.as_ptr(), after.nodes.len());
        let with = if after.has_data() { after.data.as_ptr() } else { std::ptr::null() };
        let body = native.pointer();
        let library = &self.library;
        // SAFETY: graph and nodes live; the arrays have `count` entries; the kind's struct and all that it leads to live here.
        let status = unsafe {
            match (library.cuGraphAddNode, library.cuGraphAddNode_v2) {
                (Some(call), _) if with.is_null() => call(&raw mut made, graph, nodes, count, body),
                (_, Some(call)) => call(&raw mut made, graph, nodes, with, count, body),
                _ => return Err(self.missing("cuGraphAddNode_v2")),
            }
        };
        ok(status)?;
        let of = self.objects.handle_of(kind::CUgraph, graph);
        let number = lock(&self.nodes).number(made, of)?;
        *node = number.0;
        if kind == ALLOC {
            *dptr = native.get(DPTR);
            let bytes = native.get(DPTR - 1);
            // The address is the graph's, and of what is made from it: it outlives the graph.
            self.range_made(*dptr, Range { bytes, sort: Sort::Graph, owner: Handle::NULL });
        }
        if kind == CONDITIONAL {
            let size = (native.get(1) >> 32) as usize;
            let list = std::ptr::with_exposed_provenance::<usize>(native.get(2) as usize);
            // SAFETY: the library's list of as many bodies as were asked for, which lives as long as the node.
            let body = |at| unsafe { list.add(at).read() };
            let bodies = if list.is_null() { vec![] } else { (0..size).map(body).collect() };
            lock(&self.nodes).set_bodies(number, bodies);
        }
        Ok(())
    }

    /// `gpuferryGraphSetNode`.
    pub(super) fn gpuferryGraphSetNode(
        &self,
        _from: &FrameHeader,
        exec: Handle,
        node: Handle,
        kind: u32,
        params: &[u8],
        data: &[u8],
    ) -> Result<(), Failure> {
        let node = self.node(node)?;
        let mut native = self.native(kind, params, data)?;
        if exec.is_null() {
            let call = function!(self, cuGraphNodeSetParams)?;
            // SAFETY: the node lives; the kind's struct and all that it leads to live here.
            return ok(unsafe { call(node, native.pointer()) });
        }
        let exec = self.handle(kind::CUgraphExec, exec)?;
        let call = function!(self, cuGraphExecNodeSetParams)?;
        // SAFETY: as above, and the graph lives.
        ok(unsafe { call(exec, node, native.pointer()) })
    }

    /// `gpuferryGraphGetNode`: two runs, the kind's struct and what is beside it.
    pub(super) fn gpuferryGraphGetNode(
        &self,
        _from: &FrameHeader,
        node: Handle,
        kind: u32,
        total: &mut u32,
        to: Buffer<'_>,
        reply: &mut [u8],
    ) -> Result<(), Failure> {
        let (params, data) = self.described_node(self.node(node)?, kind)?;
        let mut whole = Vec::new();
        for run in [params, data] {
            whole.extend((run.len() as u32).to_le_bytes());
            whole.extend(run);
            whole.resize(whole.len().next_multiple_of(4), 0);
        }
        *total = whole.len() as u32;
        self.give(to, reply, &whole)
    }

    /// What a node does, as a message has it: the kind's struct, and what is behind it.
    fn described_node(&self, node: *mut c_void, kind: u32) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let call = match kind {
            WAIT_EVENT | RECORD_EVENT => return self.described_event(node, kind),
            FREE => return self.described_free(node),
            KERNEL => function!(self, cuGraphKernelNodeGetParams_v2),
            MEMCPY => function!(self, cuGraphMemcpyNodeGetParams),
            MEMSET => function!(self, cuGraphMemsetNodeGetParams),
            HOST => function!(self, cuGraphHostNodeGetParams),
            ALLOC => function!(self, cuGraphMemAllocNodeGetParams),
            BATCH => function!(self, cuGraphBatchMemOpNodeGetParams),
            _ => Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED)),
        }?;
        let mut native = Native::new(kind);
        let body = native.words.as_mut_ptr().wrapping_add(BODY).cast::<c_void>();
        // SAFETY: the node lives; there is room for the struct of every kind.
        ok(unsafe { call(node, body) })?;
        self.described_struct(kind, &native)
    }

    fn described_event(&self, node: *mut c_void, kind: u32) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let call = match kind {
            WAIT_EVENT => function!(self, cuGraphEventWaitNodeGetEvent),
            _ => function!(self, cuGraphEventRecordNodeGetEvent),
        }?;
        let mut event = std::ptr::null_mut();
        // SAFETY: the node lives, the pointer is to a live variable.
        ok(unsafe { call(node, &raw mut event) })?;
        let node = EventNode { event: self.objects.handle_of(kind::CUevent, event).0 };
        Ok((bytes(|w| node.write(w))?, vec![]))
    }

    fn described_free(&self, node: *mut c_void) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let call = function!(self, cuGraphMemFreeNodeGetParams)?;
        let mut free = FreeNode { dptr: 0 };
        // SAFETY: the node lives, the pointer is to a live variable.
        ok(unsafe { call(node, &raw mut free.dptr) })?;
        Ok((bytes(|w| free.write(w))?, vec![]))
    }

    /// The same of a kind whose struct the library has given.
    fn described_struct(&self, kind: u32, native: &Native) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        match kind {
            KERNEL => self.described_kernel(native),
            MEMCPY => {
                // SAFETY: 200 bytes of the struct, any bits of which are a value.
                let copy: DriverCopy =
                    unsafe { std::ptr::read_unaligned(native.words.as_ptr().wrapping_add(BODY).cast()) };
                let (copy, arrays) = Cuda::described(&copy);
                let [source, target] = arrays.map(|array| self.objects.handle_of(kind::CUarray, array).0);
                let node = MemcpyNode { copy, srcArray: source, dstArray: target, ctx: 0 };
                Ok((bytes(|w| node.write(w))?, vec![]))
            }
            MEMSET => {
                let sizes = native.get(2);
                let node = MemsetNode {
                    dst: native.get(0),
                    pitch: native.get(1),
                    value: sizes as u32,
                    elementSize: (sizes >> 32) as u32,
                    width: native.get(3),
                    height: native.get(4),
                    ctx: 0,
                };
                Ok((bytes(|w| node.write(w))?, vec![]))
            }
            HOST => {
                let [function, data] = [0, 1].map(|at| std::ptr::with_exposed_provenance_mut(native.get(at) as usize));
                let id = host_functions::number_of(function, data).unwrap_or(0);
                Ok((bytes(|w| HostNode { id }.write(w))?, vec![]))
            }
            ALLOC => {
                let mut words = [0u64; POOL_PROPS];
                words.iter_mut().enumerate().for_each(|(at, word)| *word = native.get(at));
                // SAFETY: 88 bytes of numbers; any bits are a value.
                let props: CUmemPoolProps = unsafe { std::mem::transmute(words) };
                let node = AllocNode { poolProps: props, bytesize: native.get(13), dptr: native.get(DPTR) };
                Ok((
                    bytes(|w| node.write(w))?,
                    self.listed(native.get(11), native.get(12), size_of::<CUmemAccessDesc>()),
                ))
            }
            _ => {
                let node = BatchNode { ctx: 0, flags: native.get(3) as u32, padding: 0 };
                let count = native.get(1) & u64::from(u32::MAX);
                Ok((bytes(|w| node.write(w))?, self.listed(native.get(2), count, 8 * OPERATION)))
            }
        }
    }

    /// A list of the library's that a node leads to.
    fn listed(&self, at: u64, count: u64, each: usize) -> Vec<u8> {
        let list = std::ptr::with_exposed_provenance::<u8>(at as usize);
        if list.is_null() {
            return Vec::new();
        }
        // SAFETY: the library's list has as many entries as it says, and lives as long as the node.
        unsafe { std::slice::from_raw_parts(list, count as usize * each) }.to_vec()
    }

    fn described_kernel(&self, native: &Native) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let object = |at| std::ptr::with_exposed_provenance_mut::<c_void>(native.get(at) as usize);
        let mut handle = self.objects.handle_of(kind::CUfunction, object(0));
        if handle.is_null() {
            handle = self.objects.handle_of(kind::CUkernel, object(7));
        }
        if handle.is_null() {
            // Launched as a kernel.
            handle = self.objects.handle_of(kind::CUkernel, object(0));
        }
        let low = |at| native.get(at) as u32;
        let high = |at| (native.get(at) >> 32) as u32;
        let launch = Launch {
            gridDimX: low(1),
            gridDimY: high(1),
            gridDimZ: low(2),
            blockDimX: high(2),
            blockDimY: low(3),
            blockDimZ: high(3),
            sharedMemBytes: low(4),
            flags: 0,
        };
        let node = KernelNode { launch, f: handle.0, ctx: self.objects.handle_of(kind::CUcontext, object(8)).0 };
        let mut data = Vec::new();
        let pointers = std::ptr::with_exposed_provenance::<*const u8>(native.get(5) as usize);
        if !handle.is_null() && !pointers.is_null() {
            let layout = self.layout(handle, self.code(handle)?)?;
            data = vec![0; layout.bytes];
            for (place, (offset, size)) in layout.parameters.iter().flatten().enumerate() {
                // SAFETY: the library's array has a pointer for each parameter, and each leads to as many bytes as the kernel
                // declares; they live as long as the node.
                let parameter = unsafe { std::slice::from_raw_parts(pointers.add(place).read(), *size) };
                if let Some(to) = data.get_mut(*offset..*offset + *size) {
                    to.copy_from_slice(parameter);
                }
            }
        }
        Ok((bytes(|w| node.write(w))?, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_when_bytes_are_odd_then_end_with_zeros() {
        assert_eq!(words_of(&[1, 0, 0, 0, 0, 0, 0, 0, 2]), [1, 2]);
        assert_eq!(words_of(&[]), [0u64; 0]);
    }

    #[test]
    fn all_when_bytes_are_left_then_is_malformed() {
        assert_eq!(all(&[7, 0, 0, 0, 0, 0, 0, 0], FreeNode::read).map(|node| node.dptr), Ok(7));
        assert!(all(&[7, 0, 0, 0, 0, 0, 0, 0, 0], FreeNode::read).is_err());
        assert!(all(&[7], FreeNode::read).is_err());
    }
}
