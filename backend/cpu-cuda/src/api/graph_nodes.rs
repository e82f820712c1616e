//! Graph nodes: adding them, and their parameters in graphs and executables.

use std::sync::Arc;

use super::copies;
use super::fills;
use super::graphs::list;
use super::node_values::values;
use crate::conditional::{Condition, Conditional};
use crate::context::{self, Context};
use crate::event::Event;
use crate::executable::Executable;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::graph::{Graph, GraphMemory, GraphNode, Payload};
use crate::handle::Handle;
use crate::launch::{self, KernelCall, Shape};
use crate::module::callable;
use crate::op::HostFunction;
use crate::status::{Answer, Status};
use crate::types::{
    AllocNode, ConditionalNode, EdgeData, HostNode, KernelNode, KernelNodeOld, Memcpy3D, MemsetNode, NodeParams,
};

type NodeHandle = Handle<GraphNode>;
/// CU_GRAPH_NODE_TYPE_CONDITIONAL.
const CONDITIONAL: u32 = 13;
/// CU_GRAPH_COND_ASSIGN_DEFAULT.
const ASSIGN_DEFAULT: u32 = 1;
type Behind = (In<NodeHandle>, u64);

/// Adds a node behind others.
pub(super) fn add(out: Out<NodeHandle>, graph: Handle<Graph>, behind: Behind, payload: Answer<Payload>) -> Answer {
    out.check()?;
    let graph = graph.get()?;
    let after = graph.ids(&list(behind.0, behind.1)?)?;
    out.set(graph.add(payload?, after)?.1)
}

/// Gives a node another payload of the same kind.
pub(super) fn set(node: NodeHandle, payload: Answer<Payload>) -> Answer {
    let node = node.get()?;
    let (graph, now) = node.find()?;
    let payload = payload?;
    if payload.kind() != now.payload.kind() {
        return Err(Status::INVALID_VALUE);
    }
    graph.set(node.id, payload)
}

/// Gives a node of an executable another payload.
pub(super) fn set_exec(executable: Handle<Executable>, node: NodeHandle, payload: Answer<Payload>) -> Answer {
    executable.get()?.set(node, &payload?)
}

/// What a node does.
pub(super) fn payload_of(node: NodeHandle) -> Answer<Payload> {
    Ok(node.get()?.find()?.1.payload)
}

fn kernel(params: In<KernelNode>) -> Answer<Payload> {
    kernel_payload(&params.read()?)
}

fn kernel_old(params: In<KernelNodeOld>) -> Answer<Payload> {
    let old = params.read()?;
    kernel_payload(&KernelNode {
        function: old.function,
        grid: old.grid,
        block: old.block,
        shared: old.shared,
        params: old.params,
        extra: old.extra,
        ..KernelNode::default()
    })
}

fn kernel_payload(all: &KernelNode) -> Answer<Payload> {
    let context = || if all.context == 0 { context::usable() } else { Handle::<Context>::from_raw(all.context).get() };
    let function = callable(if all.function != 0 { all.function } else { all.kernel }, context)?;
    let block = launch::pack(function.info()?, In(all.params as *const u64), In(all.extra as *const u64))?;
    let shape = Shape::new(all.grid, all.block, all.shared);
    Ok(Payload::Kernel(Arc::new(KernelCall::new(function, shape, block)?)))
}

thread_local! {
    /// Addresses of the parameters that were given out last, and the launch they lie in.
    static GIVEN: std::cell::RefCell<(Vec<u64>, Option<Arc<KernelCall>>)> = const { std::cell::RefCell::new((Vec::new(), None)) };
}

/// The parameters of a kernel node; the pointers in it are good until the thread's next such call.
fn kernel_params(node: NodeHandle) -> Answer<KernelNode> {
    let Payload::Kernel(call) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
    let base = call.params.as_ptr() as u64;
    let pointers: Vec<u64> = call.function.info()?.params.iter().map(|param| base + u64::from(param.offset)).collect();
    let params = GIVEN.with_borrow_mut(|given| {
        *given = (pointers, Some(call.clone()));
        given.0.as_ptr() as u64
    });
    let Shape { grid, block, shared, .. } = call.shape;
    Ok(KernelNode { function: call.function.handle.0, grid, block, shared, params, ..KernelNode::default() })
}

fn memcpy(params: In<Memcpy3D>) -> Answer<Payload> {
    let params = params.read()?;
    Ok(Payload::Memcpy(params, copies::node(&params)?))
}

fn memset(params: In<MemsetNode>) -> Answer<Payload> {
    memset_payload(params.read()?)
}

fn memset_payload(all: MemsetNode) -> Answer<Payload> {
    let fill = fills::rows(all.address, all.pitch, all.value, all.size, all.width, all.height)?;
    Ok(Payload::Memset(all, fill.ok_or(Status::INVALID_VALUE)?.0))
}

fn host(params: In<HostNode>) -> Answer<Payload> {
    host_payload(params.read()?)
}

fn host_payload(all: HostNode) -> Answer<Payload> {
    if all.function == 0 {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: not null; the program says that it is a host function.
    let function = unsafe { std::mem::transmute::<usize, HostFunction>(all.function as usize) };
    Ok(Payload::Host(function, all.data))
}

fn child(graph: Handle<Graph>) -> Answer<Payload> {
    Ok(Payload::Child(graph.get()?.copy()?))
}

fn alloc(params: Out<AllocNode>) -> Answer<Payload> {
    let mut all = params.read()?;
    let memory = GraphMemory::create(all.bytes, context::usable()?.owner())?;
    all.address = memory.0;
    params.set(all)?;
    Ok(Payload::Alloc(all, memory))
}

fn wait(event: Handle<Event>) -> Answer<Payload> {
    Ok(Payload::Wait(event.get()?))
}

fn record(event: Handle<Event>) -> Answer<Payload> {
    Ok(Payload::Record(event.get()?))
}

/// A conditional node for this graph; where its graphs' handles are is written into the parameters.
fn conditional(graph: Handle<Graph>, params: Out<NodeParams>, mut all: NodeParams) -> Answer<Payload> {
    let mut described: ConditionalNode = all.read();
    let node = Conditional::create(&*graph.get()?, described.handle, described.kind, described.size)?;
    described.graphs = node.handles.as_ptr() as u64;
    all.write(described);
    params.set(all)?;
    Ok(Payload::Conditional(Arc::new(node)))
}

/// The payload of a new node.
fn new(graph: Handle<Graph>, params: Out<NodeParams>) -> Answer<Payload> {
    let all = params.read()?;
    if all.kind == CONDITIONAL { conditional(graph, params, all) } else { any(params) }
}

/// The payload that a CUgraphNodeParams describes.
fn any(params: Out<NodeParams>) -> Answer<Payload> {
    let mut all = params.read()?;
    match all.kind {
        0 => kernel_payload(&all.read()),
        // Two words stand before the copy: flags, and a context.
        1 => {
            let [_, _, copy @ ..] = all.read::<[u64; 27]>();
            let mut words = NodeParams { words: [0; 29], ..all };
            words.words[..25].copy_from_slice(&copy);
            let copy: Memcpy3D = words.read();
            Ok(Payload::Memcpy(copy, copies::node(&copy)?))
        }
        2 => memset_payload(all.read()),
        3 => host_payload(all.read()),
        4 => child(Handle::from_raw(all.words[0])),
        5 => Ok(Payload::Empty),
        6 => wait(Handle::from_raw(all.words[0])),
        7 => record(Handle::from_raw(all.words[0])),
        10 => {
            let mut node: AllocNode = all.read();
            let payload = alloc(Out(&mut node))?;
            all.write(node);
            params.set(all)?;
            Ok(payload)
        }
        11 => Ok(Payload::Free(all.words[0])),
        12 => values(&all.read()),
        // External semaphores, and conditional nodes, which stay as they were made.
        8 | 9 | CONDITIONAL => Err(Status::NOT_SUPPORTED),
        _ => Err(Status::INVALID_VALUE),
    }
}

cuda! {
    fn cuGraphAddKernelNode(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, params: In<KernelNodeOld>) {
        add(out, graph, (after, count), kernel_old(params))
    }

    fn cuGraphAddKernelNode_v2(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, params: In<KernelNode>) {
        add(out, graph, (after, count), kernel(params))
    }

    fn cuGraphKernelNodeGetParams(node: NodeHandle, params: Out<KernelNodeOld>) {
        params.check()?;
        let KernelNode { function, grid, block, shared, params: pointers, extra, .. } = kernel_params(node)?;
        params.set(KernelNodeOld { function, grid, block, shared, params: pointers, extra })
    }

    fn cuGraphKernelNodeGetParams_v2(node: NodeHandle, params: Out<KernelNode>) {
        params.check()?;
        params.set(kernel_params(node)?)
    }

    fn cuGraphKernelNodeSetParams(node: NodeHandle, params: In<KernelNodeOld>) {
        set(node, kernel_old(params))
    }

    fn cuGraphKernelNodeSetParams_v2(node: NodeHandle, params: In<KernelNode>) {
        set(node, kernel(params))
    }

    fn cuGraphExecKernelNodeSetParams(executable: Handle<Executable>, node: NodeHandle, params: In<KernelNodeOld>) {
        set_exec(executable, node, kernel_old(params))
    }

    fn cuGraphExecKernelNodeSetParams_v2(executable: Handle<Executable>, node: NodeHandle, params: In<KernelNode>) {
        set_exec(executable, node, kernel(params))
    }

    fn cuGraphAddMemcpyNode(
        out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, params: In<Memcpy3D>, _context: u64,
    ) {
        add(out, graph, (after, count), memcpy(params))
    }

    fn cuGraphMemcpyNodeGetParams(node: NodeHandle, params: Out<Memcpy3D>) {
        let Payload::Memcpy(all, _) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
        params.set(all)
    }

    fn cuGraphMemcpyNodeSetParams(node: NodeHandle, params: In<Memcpy3D>) {
        set(node, memcpy(params))
    }

    fn cuGraphExecMemcpyNodeSetParams(executable: Handle<Executable>, node: NodeHandle, params: In<Memcpy3D>, _context: u64) {
        set_exec(executable, node, memcpy(params))
    }

    fn cuGraphAddMemsetNode(
        out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, params: In<MemsetNode>, _context: u64,
    ) {
        add(out, graph, (after, count), memset(params))
    }

    fn cuGraphMemsetNodeGetParams(node: NodeHandle, params: Out<MemsetNode>) {
        let Payload::Memset(all, _) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
        params.set(all)
    }

    fn cuGraphMemsetNodeSetParams(node: NodeHandle, params: In<MemsetNode>) {
        set(node, memset(params))
    }

    fn cuGraphExecMemsetNodeSetParams(executable: Handle<Executable>, node: NodeHandle, params: In<MemsetNode>, _context: u64) {
        set_exec(executable, node, memset(params))
    }

    fn cuGraphAddHostNode(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, params: In<HostNode>) {
        add(out, graph, (after, count), host(params))
    }

    fn cuGraphHostNodeGetParams(node: NodeHandle, params: Out<HostNode>) {
        let Payload::Host(function, data) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
        params.set(HostNode { function: function as usize as u64, data })
    }

    fn cuGraphHostNodeSetParams(node: NodeHandle, params: In<HostNode>) {
        set(node, host(params))
    }

    fn cuGraphExecHostNodeSetParams(executable: Handle<Executable>, node: NodeHandle, params: In<HostNode>) {
        set_exec(executable, node, host(params))
    }

    fn cuGraphAddChildGraphNode(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, inner: Handle<Graph>) {
        add(out, graph, (after, count), child(inner))
    }

    fn cuGraphChildGraphNodeGetGraph(node: NodeHandle, graph: Out<Handle<Graph>>) {
        let Payload::Child(inner) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
        graph.set(inner.handle)
    }

    fn cuGraphAddEmptyNode(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64) {
        add(out, graph, (after, count), Ok(Payload::Empty))
    }

    fn cuGraphAddEventRecordNode(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, event: Handle<Event>) {
        add(out, graph, (after, count), record(event))
    }

    fn cuGraphEventRecordNodeGetEvent(node: NodeHandle, event: Out<Handle<Event>>) {
        let Payload::Record(found) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
        event.set(found.handle)
    }

    fn cuGraphEventRecordNodeSetEvent(node: NodeHandle, event: Handle<Event>) {
        set(node, record(event))
    }

    fn cuGraphExecEventRecordNodeSetEvent(executable: Handle<Executable>, node: NodeHandle, event: Handle<Event>) {
        set_exec(executable, node, record(event))
    }

    fn cuGraphAddEventWaitNode(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, event: Handle<Event>) {
        add(out, graph, (after, count), wait(event))
    }

    fn cuGraphEventWaitNodeGetEvent(node: NodeHandle, event: Out<Handle<Event>>) {
        let Payload::Wait(found) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
        event.set(found.handle)
    }

    fn cuGraphEventWaitNodeSetEvent(node: NodeHandle, event: Handle<Event>) {
        set(node, wait(event))
    }

    fn cuGraphExecEventWaitNodeSetEvent(executable: Handle<Executable>, node: NodeHandle, event: Handle<Event>) {
        set_exec(executable, node, wait(event))
    }

    fn cuGraphAddMemAllocNode(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, params: Out<AllocNode>) {
        add(out, graph, (after, count), alloc(params))
    }

    fn cuGraphMemAllocNodeGetParams(node: NodeHandle, params: Out<AllocNode>) {
        let Payload::Alloc(all, _) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
        params.set(all)
    }

    fn cuGraphAddMemFreeNode(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, address: u64) {
        add(out, graph, (after, count), Ok(Payload::Free(address)))
    }

    fn cuGraphMemFreeNodeGetParams(node: NodeHandle, address: Out<u64>) {
        let Payload::Free(found) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
        address.set(found)
    }

    fn cuGraphAddNode(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, params: Out<NodeParams>) {
        add(out, graph, (after, count), new(graph, params))
    }

    fn cuGraphAddNode_v2(
        out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, _edges: In<EdgeData>, count: u64,
        params: Out<NodeParams>,
    ) {
        add(out, graph, (after, count), new(graph, params))
    }

    fn cuGraphConditionalHandleCreate(out: Out<u64>, graph: Handle<Graph>, context: u64, value: u32, flags: u32) {
        out.check()?;
        let graph = graph.get()?;
        if flags & !ASSIGN_DEFAULT != 0 {
            return Err(Status::INVALID_VALUE);
        }
        let context = if context == 0 { context::usable()? } else { Handle::<Context>::from_raw(context).get()? };
        out.set(Condition::create(&graph, context.owner(), (flags != 0).then_some(value))?)
    }

    fn cuGraphNodeSetParams(node: NodeHandle, params: Out<NodeParams>) {
        set(node, any(params))
    }

    fn cuGraphExecNodeSetParams(executable: Handle<Executable>, node: NodeHandle, params: Out<NodeParams>) {
        set_exec(executable, node, any(params))
    }

    fn cuGraphNodeGetType(node: NodeHandle, kind: Out<u32>) {
        kind.check()?;
        kind.set(payload_of(node)?.kind())
    }

    fn cuGraphNodeSetEnabled(executable: Handle<Executable>, node: NodeHandle, on: u32) {
        executable.get()?.enable(node, Some(on != 0)).map(drop)
    }

    fn cuGraphNodeGetEnabled(executable: Handle<Executable>, node: NodeHandle, on: Out<u32>) {
        on.check()?;
        on.set(u32::from(executable.get()?.enable(node, None)?))
    }
}
