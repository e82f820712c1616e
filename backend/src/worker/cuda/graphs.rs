//! Graphs: their nodes and edges, making them ready to launch, changing them.

use std::ffi::c_void;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::{Buffer, Reader};

use super::generated::{
    CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, LIST_DEPENDENCIES as DEPENDENCIES,
    LIST_DEPENDENTS as DEPENDENTS, LIST_EDGES as EDGES, LIST_NODES as NODES, LIST_ROOTS as ROOTS, kind,
};
use super::thread::context_of;
use super::{Cuda, lock};
use crate::worker::answer::{Failure, function, ok};

/// Most entries of a list.
const MAX_ENTRIES: usize = 1 << 22;
/// Bytes of an attribute's value.
const VALUE: usize = 64;

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[repr(C)]
struct InstantiateParams {
    flags: u64,
    stream: *mut c_void,
    error_node: *mut c_void,
    result: u32,
    padding: u32,
}

/// `CUgraphExecUpdateResultInfo`.
#[repr(C)]
struct UpdateResult {
    result: u32,
    padding: u32,
    node: *mut c_void,
    from: *mut c_void,
}

/// Nodes with the data of their edges, as the library has them.
#[derive(Default)]
pub(super) struct Dependencies {
    pub(super) nodes: Vec<*mut c_void>,
    pub(super) data: Vec<u64>,
}

impl Dependencies {
    /// Whether an edge says more than that one comes after the other.
    pub(super) fn has_data(&self) -> bool {
        self.data.iter().any(|data| *data != 0)
    }
}

/// Lists of the library's: sources, targets, data of edges.
type Lists = [Vec<u64>; 3];

impl Cuda {
    /// Reads a node and its edge's data, 16 bytes each.
    pub(super) fn dependencies(&self, run: &[u8]) -> Result<Dependencies, Failure> {
        if !run.len().is_multiple_of(16) {
            return Err(Malformed::new("broken dependencies").into());
        }
        let (mut reader, mut found) = (Reader::new(run), Dependencies::default());
        let nodes = lock(&self.nodes);
        for _ in 0..run.len() / 16 {
            found.nodes.push(nodes.object(Handle(reader.u64()?))?);
            found.data.push(reader.u64()?);
        }
        Ok(found)
    }

    /// The library's node.
    pub(super) fn node(&self, handle: Handle) -> Result<*mut c_void, Failure> {
        lock(&self.nodes).object(handle)
    }

    /// `gpuferryGraphList`.
    pub(super) fn gpuferryGraphList(
        &self,
        _from: &FrameHeader,
        of: Handle,
        what: u32,
        total: &mut u64,
        list: Buffer<'_>,
        reply: &mut [u8],
    ) -> Result<(), Failure> {
        let (object, graph) = if what >= DEPENDENCIES {
            let nodes = lock(&self.nodes);
            (nodes.object(of)?, nodes.graph(of)?)
        } else {
            (self.handle(kind::CUgraph, of)?, of)
        };
        let room = (list.bytes() / 24) as usize;
        let lists = self.list(object, what, room.min(MAX_ENTRIES), total)?;
        let mut entries = Vec::with_capacity(lists[0].len() * 24);
        let mut nodes = lock(&self.nodes);
        for ((source, target), data) in lists[0].iter().zip(&lists[1]).zip(&lists[2]) {
            for object in [*source, *target] {
                let object = std::ptr::with_exposed_provenance_mut(object as usize);
                entries.extend(nodes.number(object, graph)?.0.to_le_bytes());
            }
            entries.extend(data.to_le_bytes());
        }
        drop(nodes);
        self.give(list, reply, &entries)
    }

    /// Writes bytes to the guest's buffer, which is as long or longer.
    pub(super) fn give(&self, to: Buffer<'_>, reply: &mut [u8], bytes: &[u8]) -> Result<(), Failure> {
        let room = to.bytes() as usize;
        if room == 0 || matches!(to, Buffer::Null) {
            return Ok(());
        }
        let mut output = self.output(to, reply)?;
        let taken = bytes.len().min(room);
        // SAFETY: the output has `room` bytes and no fewer than are taken.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), output.pointer().cast::<u8>(), taken) };
        output.finish();
        Ok(())
    }

    /// Asks the library for a list of at most `room` entries; `total` becomes how many there are.
    fn list(&self, of: *mut c_void, what: u32, room: usize, total: &mut u64) -> Result<Lists, Failure> {
        let library = &self.library;
        let mut count = 0usize;
        let mut lists: Lists = Default::default();
        for pass in 0..2 {
            if pass == 1 {
                *total = count as u64;
                count = count.min(room);
                if count == 0 {
                    return Ok(lists);
                }
                lists = [vec![0; count], vec![0; count], vec![0; count]];
            }
            let [first, second, third] =
                lists.each_mut().map(|list| if pass == 0 { std::ptr::null_mut() } else { list.as_mut_ptr() });
            let (first, second) = (first.cast::<*mut c_void>(), second.cast::<*mut c_void>());
            let count = &raw mut count;
            // SAFETY: graph or node live; each array is null, to count, or has as many entries as `count` says.
            ok(unsafe {
                match what {
                    NODES => library.cuGraphGetNodes.map(|call| call(of, first, count)),
                    ROOTS => library.cuGraphGetRootNodes.map(|call| call(of, first, count)),
                    EDGES => match library.cuGraphGetEdges_v2 {
                        Some(call) => Some(call(of, first, second, third, count)),
                        None => library.cuGraphGetEdges.map(|call| call(of, first, second, count)),
                    },
                    DEPENDENCIES => match library.cuGraphNodeGetDependencies_v2 {
                        Some(call) => Some(call(of, first, third, count)),
                        None => library.cuGraphNodeGetDependencies.map(|call| call(of, first, count)),
                    },
                    DEPENDENTS => match library.cuGraphNodeGetDependentNodes_v2 {
                        Some(call) => Some(call(of, first, third, count)),
                        None => library.cuGraphNodeGetDependentNodes.map(|call| call(of, first, count)),
                    },
                    _ => Some(CUDA_ERROR_INVALID_VALUE),
                }
            }
            .ok_or_else(|| self.missing("a list of a graph"))?)?;
        }
        let given = count;
        lists.iter_mut().for_each(|list| list.truncate(given));
        Ok(lists)
    }

    /// `gpuferryGraphEdges`.
    pub(super) fn gpuferryGraphEdges(
        &self,
        _from: &FrameHeader,
        graph: *mut c_void,
        add: u32,
        edges: &[u8],
    ) -> Result<(), Failure> {
        if !edges.len().is_multiple_of(24) {
            return Err(Malformed::new("broken edges").into());
        }
        let count = edges.len() / 24;
        let (mut sources, mut targets, mut data) = (Vec::new(), Vec::new(), Vec::new());
        let mut reader = Reader::new(edges);
        for _ in 0..count {
            sources.push(self.node(Handle(reader.u64()?))?);
            targets.push(self.node(Handle(reader.u64()?))?);
            data.push(reader.u64()?);
        }
        let (from, to, with) = (sources.as_ptr(), targets.as_ptr(), data.as_ptr());
        let library = &self.library;
        let plain = data.iter().all(|data| *data == 0);
        // SAFETY: the graph and the nodes live; the arrays have `count` entries.
        let status = unsafe {
            match (add != 0, plain) {
                (true, true) => library.cuGraphAddDependencies.map(|call| call(graph, from, to, count)),
                (true, false) => library.cuGraphAddDependencies_v2.map(|call| call(graph, from, to, with, count)),
                (false, true) => library.cuGraphRemoveDependencies.map(|call| call(graph, from, to, count)),
                (false, false) => library.cuGraphRemoveDependencies_v2.map(|call| call(graph, from, to, with, count)),
            }
        };
        ok(status.ok_or_else(|| self.missing("cuGraphAddDependencies_v2"))?)
    }

    /// `gpuferryGraphDestroyNode`.
    pub(super) fn gpuferryGraphDestroyNode(&self, _from: &FrameHeader, node: Handle) -> Result<(), Failure> {
        let call = function!(self, cuGraphDestroyNode)?;
        // SAFETY: the node lives.
        ok(unsafe { call(self.node(node)?) })?;
        let inside = lock(&self.nodes).end(node);
        for graph in inside {
            self.forget(self.objects.remove(kind::CUgraph, graph));
        }
        Ok(())
    }

    /// `gpuferryGraphNodeType`.
    pub(super) fn gpuferryGraphNodeType(
        &self,
        _from: &FrameHeader,
        node: Handle,
        type_out: &mut u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuGraphNodeGetType)?;
        // SAFETY: the node lives, the pointer is to a live variable.
        ok(unsafe { call(self.node(node)?, type_out) })
    }

    /// `gpuferryGraphOf`.
    pub(super) fn gpuferryGraphOf(&self, _from: &FrameHeader, node: Handle, graph: &mut u64) -> Result<(), Failure> {
        *graph = lock(&self.nodes).graph(node)?.0;
        Ok(())
    }

    /// `gpuferryGraphInNode`: the guest asks once for each, and keeps the number.
    pub(super) fn gpuferryGraphInNode(
        &self,
        _from: &FrameHeader,
        graph: Handle,
        made: &mut *mut c_void,
        node: Handle,
        body: u32,
    ) -> Result<(), Failure> {
        let object = self.node(node)?;
        *made = match lock(&self.nodes).body(node, body as usize) {
            Some(body) => body,
            None => {
                let call = function!(self, cuGraphChildGraphNodeGetGraph)?;
                let mut child = std::ptr::null_mut();
                // SAFETY: the node lives, the pointer is to a live variable.
                ok(unsafe { call(object, &raw mut child) })?;
                child
            }
        };
        lock(&self.nodes).add_inside(node, graph);
        Ok(())
    }

    /// `gpuferryGraphFindInClone`.
    pub(super) fn gpuferryGraphFindInClone(
        &self,
        _from: &FrameHeader,
        found: &mut u64,
        node: Handle,
        clone: *mut c_void,
    ) -> Result<(), Failure> {
        let call = function!(self, cuGraphNodeFindInClone)?;
        let mut object = std::ptr::null_mut();
        // SAFETY: node and graph live, the pointer is to a live variable.
        ok(unsafe { call(&raw mut object, self.node(node)?, clone) })?;
        let graph = self.objects.handle_of(kind::CUgraph, clone);
        *found = lock(&self.nodes).number(object, graph)?.0;
        Ok(())
    }

    /// `gpuferryGraphNodeEnabled`.
    pub(super) fn gpuferryGraphNodeEnabled(
        &self,
        _from: &FrameHeader,
        exec: *mut c_void,
        node: Handle,
        what: u32,
        is_enabled: &mut u32,
    ) -> Result<(), Failure> {
        let node = self.node(node)?;
        if what > 1 {
            let call = function!(self, cuGraphNodeGetEnabled)?;
            // SAFETY: graph and node live, the pointer is to a live variable.
            return ok(unsafe { call(exec, node, is_enabled) });
        }
        let call = function!(self, cuGraphNodeSetEnabled)?;
        // SAFETY: graph and node live.
        ok(unsafe { call(exec, node, what) })
    }

    /// `gpuferryGraphExecUpdate`.
    pub(super) fn gpuferryGraphExecUpdate(
        &self,
        _from: &FrameHeader,
        exec: *mut c_void,
        graph: *mut c_void,
        result: &mut u32,
        error_node: &mut u64,
        error_from_node: &mut u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuGraphExecUpdate_v2)?;
        let none = std::ptr::null_mut();
        let mut info = UpdateResult { result: 0, padding: 0, node: none, from: none };
        // SAFETY: both graphs live, the pointer is to a live variable.
        let status = unsafe { call(exec, graph, (&raw mut info).cast()) };
        *result = info.result;
        let of = self.objects.handle_of(kind::CUgraph, graph);
        *error_node = lock(&self.nodes).number(info.node, of)?.0;
        *error_from_node = lock(&self.nodes).number(info.from, of)?.0;
        ok(status)
    }

    /// `gpuferryGraphInstantiate`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gpuferryGraphInstantiate(
        &self,
        _from: &FrameHeader,
        _exec: Handle,
        made: &mut *mut c_void,
        graph: *mut c_void,
        flags: u64,
        stream: *mut c_void,
        result: &mut u32,
        error_node: &mut u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuGraphInstantiateWithParams)?;
        let mut params = InstantiateParams { flags, stream, error_node: std::ptr::null_mut(), result: 0, padding: 0 };
        // SAFETY: graph and stream live, the pointers are to live variables.
        let status = unsafe { call(made, graph, (&raw mut params).cast()) };
        *result = params.result;
        let of = self.objects.handle_of(kind::CUgraph, graph);
        *error_node = lock(&self.nodes).number(params.error_node, of)?.0;
        ok(status)
    }

    /// `gpuferryGraphGetAttribute`.
    pub(super) fn gpuferryGraphGetAttribute(
        &self,
        _from: &FrameHeader,
        node: Handle,
        attribute: u32,
        value: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let call = function!(self, cuGraphKernelNodeGetAttribute)?;
        let mut room = [0u64; VALUE / 8];
        // SAFETY: the node lives, there is room for the widest value.
        ok(unsafe { call(self.node(node)?, attribute, room.as_mut_ptr().cast()) })?;
        if !super::launch::is_number(attribute) {
            return Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED));
        }
        value.extend(room.iter().flat_map(|word| word.to_le_bytes()));
        Ok(())
    }

    /// `gpuferryGraphSetAttribute`.
    pub(super) fn gpuferryGraphSetAttribute(
        &self,
        _from: &FrameHeader,
        node: Handle,
        attribute: u32,
        value: &[u8],
    ) -> Result<(), Failure> {
        let call = function!(self, cuGraphKernelNodeSetAttribute)?;
        if value.len() != VALUE {
            return Err(Malformed::new("an attribute of a wrong length").into());
        }
        if !super::launch::is_number(attribute) {
            return Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED));
        }
        let mut aligned = [0u64; VALUE / 8];
        for (word, bytes) in aligned.iter_mut().zip(value.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        // SAFETY: the node lives, the value is as wide as any and holds no pointer.
        ok(unsafe { call(self.node(node)?, attribute, aligned.as_ptr().cast()) })
    }

    /// `gpuferryGraphCopyAttributes`.
    pub(super) fn gpuferryGraphCopyAttributes(
        &self,
        _from: &FrameHeader,
        to: Handle,
        source: Handle,
    ) -> Result<(), Failure> {
        let call = function!(self, cuGraphKernelNodeCopyAttributes)?;
        // SAFETY: both nodes live.
        ok(unsafe { call(self.node(to)?, self.node(source)?) })
    }

    /// A context that the guest names, or null for none.
    pub(super) fn context_named(&self, handle: Handle) -> Result<*mut c_void, Failure> {
        if handle.is_null() { Ok(std::ptr::null_mut()) } else { self.handle(kind::CUcontext, handle) }
    }

    /// `gpuferryGraphConditionalHandle`.
    pub(super) fn gpuferryGraphConditionalHandle(
        &self,
        from: &FrameHeader,
        made: &mut u64,
        graph: *mut c_void,
        context: Handle,
        default: u32,
        flags: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuGraphConditionalHandleCreate)?;
        let context = self.context_named(if context.is_null() { context_of(from) } else { context })?;
        // SAFETY: graph and context live, the pointer is to a live variable.
        ok(unsafe { call(made, graph, context, default, flags) })?;
        lock(&self.conditions).insert(*made);
        Ok(())
    }

    /// `gpuferryGraphMemAttribute`: each is 64 bits wide.
    pub(super) fn gpuferryGraphMemAttribute(
        &self,
        _from: &FrameHeader,
        device: i32,
        attribute: u32,
        set: u32,
        value: u64,
        now: &mut u64,
    ) -> Result<(), Failure> {
        let call = match set {
            0 => function!(self, cuDeviceGetGraphMemAttribute),
            _ => function!(self, cuDeviceSetGraphMemAttribute),
        }?;
        *now = value;
        // SAFETY: the value is 64 bits wide (CUDA Driver API, cuDeviceGetGraphMemAttribute).
        ok(unsafe { call(device, attribute, std::ptr::from_mut(now).cast()) })
    }

    /// `gpuferryCaptureGraph`.
    pub(super) fn gpuferryCaptureGraph(
        &self,
        _from: &FrameHeader,
        _graph: Handle,
        made: &mut *mut c_void,
        stream: *mut c_void,
    ) -> Result<(), Failure> {
        *made = self.recorded(stream)?.0;
        if made.is_null() { Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)) } else { Ok(()) }
    }

    /// The graph that a stream records, and what its next node depends on.
    fn recorded(&self, stream: *mut c_void) -> Result<(*mut c_void, Dependencies), Failure> {
        let (mut state, mut id, mut graph, mut count) = (0u32, 0u64, std::ptr::null_mut(), 0usize);
        let (mut nodes, mut data) = (std::ptr::null::<*mut c_void>(), std::ptr::null::<u64>());
        // SAFETY: the stream lives, the pointers are to live variables.
        let status = unsafe {
            match (self.library.cuStreamGetCaptureInfo_v3, self.library.cuStreamGetCaptureInfo_v2) {
                (Some(call), _) => call(
                    stream,
                    &raw mut state,
                    &raw mut id,
                    &raw mut graph,
                    &raw mut nodes,
                    &raw mut data,
                    &raw mut count,
                ),
                (None, Some(call)) => {
                    call(stream, &raw mut state, &raw mut id, &raw mut graph, &raw mut nodes, &raw mut count)
                }
                (None, None) => return Err(self.missing("cuStreamGetCaptureInfo_v2")),
            }
        };
        ok(status)?;
        let mut found = Dependencies::default();
        if state != 1 {
            return Ok((std::ptr::null_mut(), found));
        }
        for place in 0..if nodes.is_null() { 0 } else { count } {
            // SAFETY: the library's list, which stays until the next call on the stream, has `count` entries.
            found.nodes.push(unsafe { nodes.add(place).read() });
            // SAFETY: as above; without data all edges are plain.
            found.data.push(if data.is_null() { 0 } else { unsafe { data.add(place).read() } });
        }
        Ok((graph, found))
    }

    /// `gpuferryCaptureDependencies`.
    pub(super) fn gpuferryCaptureDependencies(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        graph: *mut c_void,
        total: &mut u64,
        list: Buffer<'_>,
        reply: &mut [u8],
    ) -> Result<(), Failure> {
        let (_, found) = self.recorded(stream)?;
        let graph = self.objects.handle_of(kind::CUgraph, graph);
        *total = found.nodes.len() as u64;
        let mut entries = Vec::new();
        for (node, data) in found.nodes.iter().zip(&found.data) {
            entries.extend(lock(&self.nodes).number(*node, graph)?.0.to_le_bytes());
            entries.extend(data.to_le_bytes());
        }
        self.give(list, reply, &entries)
    }

    /// `gpuferryEndCaptureOf`: the graph is the one that has a number, or is gone.
    pub(super) fn gpuferryEndCaptureOf(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        graph: *mut c_void,
    ) -> Result<(), Failure> {
        let call = function!(self, cuStreamEndCapture)?;
        let mut ended = std::ptr::null_mut();
        // SAFETY: the stream lives, the pointer is to a live variable.
        let status = unsafe { call(stream, &raw mut ended) };
        if ended == graph {
            return ok(status);
        }
        // The recording was void, and its graph went with it; or another one was ended, to which no number leads.
        let number = self.objects.handle_of(kind::CUgraph, graph);
        self.forget(self.objects.remove(kind::CUgraph, number));
        ok(if status == 0 { CUDA_ERROR_INVALID_VALUE } else { status })
    }

    /// `gpuferryBeginCaptureToGraph`; the mode is the relaxed one, as in `cuStreamBeginCapture`.
    pub(super) fn gpuferryBeginCaptureToGraph(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        graph: *mut c_void,
        dependencies: &[u8],
    ) -> Result<(), Failure> {
        let call = function!(self, cuStreamBeginCaptureToGraph)?;
        let after = self.dependencies(dependencies)?;
        self.recording_begins();
        let data = if after.has_data() { after.data.as_ptr() } else { std::ptr::null() };
        // SAFETY: stream, graph and nodes live; the arrays have as many entries as is said, or one is null.
        ok(unsafe { call(stream, graph, after.nodes.as_ptr(), data, after.nodes.len(), super::streams::RELAXED) })
    }

    /// `gpuferryUpdateCaptureDependencies`.
    pub(super) fn gpuferryUpdateCaptureDependencies(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        dependencies: &[u8],
        flags: u32,
    ) -> Result<(), Failure> {
        let mut after = self.dependencies(dependencies)?;
        let (nodes, count) = (after.nodes.as_mut_ptr(), after.nodes.len());
        // SAFETY: stream and nodes live; the arrays have as many entries as is said.
        let status = unsafe {
            if after.has_data() {
                let call = self.library.cuStreamUpdateCaptureDependencies_v2;
                call.map(|call| call(stream, nodes, after.data.as_ptr(), count, flags))
            } else {
                self.library.cuStreamUpdateCaptureDependencies.map(|call| call(stream, nodes, count, flags))
            }
        };
        ok(status.ok_or_else(|| self.missing("cuStreamUpdateCaptureDependencies"))?)
    }

    /// These graphs are gone, and what was in them.
    pub(super) fn graphs_ended(&self, ended: &[Handle]) {
        let graphs: Vec<Handle> =
            ended.iter().copied().filter(|handle| handle.kind() == Some(kind::CUgraph.number)).collect();
        if graphs.is_empty() {
            return;
        }
        let inside = lock(&self.nodes).end_in(&graphs);
        for graph in inside {
            self.forget(self.objects.remove(kind::CUgraph, graph));
        }
    }
}
