//! Graph nodes: batches of memory operations, and the launch attributes of kernel nodes.

use std::sync::Arc;

use super::graph_nodes::{add, payload_of, set, set_exec};
use super::streams::{MOST_MEM_OPS, mem_op};
use crate::executable::Executable;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::graph::{Graph, GraphNode, Payload};
use crate::handle::Handle;
use crate::launch::{ATTRIBUTE_CLUSTER, ATTRIBUTE_COOPERATIVE, ATTRIBUTE_WORDS, KernelCall};
use crate::status::{Answer, Status};
use crate::types::{MemOp, MemOpsNode};

type NodeHandle = Handle<GraphNode>;
type AttributeValue = [u32; ATTRIBUTE_WORDS];

/// The payload of a batch of memory operations.
pub(super) fn values(all: &MemOpsNode) -> Answer<Payload> {
    if all.flags != 0 || all.count == 0 || all.count > MOST_MEM_OPS {
        return Err(Status::INVALID_VALUE);
    }
    let list = In(all.list as *const MemOp).read_all(all.count as usize)?;
    let mut ops = Vec::new();
    for one in &list {
        ops.extend(mem_op(one.operation, one.address, one.value, one.flags)?);
    }
    Ok(Payload::Values(list.into(), ops.into()))
}

thread_local! {
    /// The operations that were given out last, which the program may read until the thread's next such call.
    static GIVEN: std::cell::RefCell<Option<Arc<[MemOp]>>> = const { std::cell::RefCell::new(None) };
}

fn kernel_of(node: NodeHandle) -> Answer<Arc<KernelCall>> {
    let Payload::Kernel(call) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
    Ok(call)
}

cuda! {
    fn cuGraphAddBatchMemOpNode(out: Out<NodeHandle>, graph: Handle<Graph>, after: In<NodeHandle>, count: u64, params: In<MemOpsNode>) {
        add(out, graph, (after, count), params.read().and_then(|all| values(&all)))
    }

    fn cuGraphBatchMemOpNodeGetParams(node: NodeHandle, params: Out<MemOpsNode>) {
        params.check()?;
        let Payload::Values(list, _) = payload_of(node)? else { return Err(Status::INVALID_VALUE) };
        let (place, count) = (list.as_ptr() as u64, list.len() as u32);
        GIVEN.set(Some(list));
        params.set(MemOpsNode { count, list: place, ..MemOpsNode::default() })
    }

    fn cuGraphBatchMemOpNodeSetParams(node: NodeHandle, params: In<MemOpsNode>) {
        set(node, params.read().and_then(|all| values(&all)))
    }

    fn cuGraphExecBatchMemOpNodeSetParams(executable: Handle<Executable>, node: NodeHandle, params: In<MemOpsNode>) {
        set_exec(executable, node, params.read().and_then(|all| values(&all)))
    }

    fn cuGraphKernelNodeGetAttribute(node: NodeHandle, number: u32, value: Out<AttributeValue>) {
        value.check()?;
        value.set(kernel_of(node)?.attribute(number)?)
    }

    fn cuGraphKernelNodeSetAttribute(node: NodeHandle, number: u32, value: In<AttributeValue>) {
        let call = kernel_of(node)?.with_attribute(number, value.read()?)?;
        set(node, Ok(Payload::Kernel(Arc::new(call))))
    }

    fn cuGraphKernelNodeCopyAttributes(to: NodeHandle, from: NodeHandle) {
        let (call, from) = (kernel_of(to)?, kernel_of(from)?);
        let mut changed = call.with_attribute(ATTRIBUTE_COOPERATIVE, from.attribute(ATTRIBUTE_COOPERATIVE)?)?;
        changed = changed.with_attribute(ATTRIBUTE_CLUSTER, from.attribute(ATTRIBUTE_CLUSTER)?)?;
        changed.advice.clone_from(&from.advice);
        set(to, Ok(Payload::Kernel(Arc::new(changed))))
    }
}
