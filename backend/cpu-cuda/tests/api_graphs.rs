//! Graphs through the exported functions: built, captured, launched, changed.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use cpu_cuda::api::copies::*;
use cpu_cuda::api::events::*;
use cpu_cuda::api::fills::*;
use cpu_cuda::api::graph_nodes::*;
use cpu_cuda::api::graphs::*;
use cpu_cuda::api::memory::*;
use cpu_cuda::api::node_values::*;
use cpu_cuda::api::pools::*;
use cpu_cuda::api::streams::*;
use cpu_cuda::executable::Executable;
use cpu_cuda::foreign::{In, Out};
use cpu_cuda::graph::Graph;
use cpu_cuda::handle::Handle;
use cpu_cuda::status::Status;
use cpu_cuda::stream::Stream;
use cpu_cuda::types::{KernelNode, MemOp, MemOpsNode, MemsetNode};

fn host() -> u64 {
    let at = made(|out| unsafe { cuMemHostAlloc(out, 64, 0) });
    ok(unsafe { cuMemsetD8_v2(at, 0, 64) });
    at
}

fn byte(at: u64) -> u8 {
    // SAFETY: page-locked memory that the test allocated.
    unsafe { (at as *const u8).read_volatile() }
}

fn instantiate(graph: Handle<Graph>) -> Handle<Executable> {
    made(|out| unsafe { cuGraphInstantiateWithFlags(out, graph, 0) })
}

fn run(graph: Handle<Executable>, stream: Handle<Stream>) {
    ok(unsafe { cuGraphLaunch(graph, stream) });
    ok(unsafe { cuStreamSynchronize(stream) });
}

fn nodes(graph: Handle<Graph>) -> u64 {
    made(|out| unsafe { cuGraphGetNodes(graph, nowhere(), out) })
}

#[test]
fn capture_when_launched_twice_then_runs_twice_and_not_while_capturing() {
    let _context = context();
    let (stream, device, host) = (stream(1), alloc(64), host());
    ok(unsafe { cuStreamBeginCapture_v2(stream, 2) });
    ok(unsafe { cuMemsetD8Async(device, 7, 64, stream) });
    ok(unsafe { cuMemcpyDtoHAsync_v2(host, device, 64, stream) });
    let graph = made(|out| unsafe { cuStreamEndCapture(stream, out) });
    assert_eq!(byte(host), 0);
    assert_eq!(nodes(graph), 2);
    let executable = instantiate(graph);
    run(executable, stream);
    assert_eq!(byte(host), 7);
    ok(unsafe { cuMemsetD8_v2(host, 0, 64) });
    run(executable, stream);
    assert_eq!(byte(host), 7);
    ok(unsafe { cuGraphDestroy(graph) });
    ok(unsafe { cuGraphExecDestroy(executable) });
    assert_eq!(unsafe { cuGraphLaunch(executable, stream) }, Status::INVALID_HANDLE.0);
}

#[test]
fn capture_when_second_stream_joins_by_event_then_one_graph_with_both() {
    let _context = context();
    let (a, b, device) = (stream(1), stream(1), alloc(64));
    let mark = |flags| made(|out| unsafe { cuEventCreate(out, flags) });
    let (fork, join) = (mark(2), mark(2));
    ok(unsafe { cuStreamBeginCapture_v2(a, 1) });
    ok(unsafe { cuMemsetD8Async(device, 1, 64, a) });
    ok(unsafe { cuEventRecord(fork, a) });
    ok(unsafe { cuStreamWaitEvent(b, fork, 0) });
    ok(unsafe { cuMemsetD8Async(device, 2, 32, b) });
    assert_eq!(unsafe { cuEventQuery(fork) }, Status::CAPTURED_EVENT.0);
    assert_eq!(made(|out| unsafe { cuStreamIsCapturing(b, out) }), 1);
    ok(unsafe { cuEventRecord(join, b) });
    ok(unsafe { cuStreamWaitEvent(a, join, 0) });
    let graph = made(|out| unsafe { cuStreamEndCapture(a, out) });
    assert_eq!(nodes(graph), 2);
    assert_eq!(made(|out| unsafe { cuStreamIsCapturing(b, out) }), 0);
}

#[test]
fn capture_when_branch_is_not_joined_then_unjoined() {
    let _context = context();
    let (a, b, device) = (stream(1), stream(1), alloc(64));
    let fork = made(|out| unsafe { cuEventCreate(out, 2) });
    ok(unsafe { cuStreamBeginCapture_v2(a, 1) });
    ok(unsafe { cuEventRecord(fork, a) });
    ok(unsafe { cuStreamWaitEvent(b, fork, 0) });
    ok(unsafe { cuMemsetD8Async(device, 2, 32, b) });
    let mut graph = Handle::NULL;
    assert_eq!(unsafe { cuStreamEndCapture(a, Out(&mut graph)) }, Status::STREAM_CAPTURE_UNJOINED.0);
    assert!(graph.is_null());
}

#[test]
fn capture_when_synchronised_inside_then_invalidated() {
    let _context = context();
    let stream = stream(1);
    ok(unsafe { cuStreamBeginCapture_v2(stream, 2) });
    assert_eq!(unsafe { cuStreamSynchronize(stream) }, Status::STREAM_CAPTURE_UNSUPPORTED.0);
    assert_eq!(
        unsafe { cuStreamEndCapture(stream, Out(&mut Handle::default())) },
        Status::STREAM_CAPTURE_INVALIDATED.0
    );
    assert_eq!(unsafe { cuStreamEndCapture(stream, Out(&mut Handle::default())) }, Status::ILLEGAL_STATE.0);
    ok(unsafe { cuStreamSynchronize(stream) });
}

#[test]
fn capture_when_memory_is_allocated_in_it_then_graph_owns_it() {
    let _context = context();
    let (stream, host) = (stream(1), host());
    ok(unsafe { cuStreamBeginCapture_v2(stream, 1) });
    let at = made(|out| unsafe { cuMemAllocAsync(out, 64, stream) });
    ok(unsafe { cuMemsetD8Async(at, 3, 64, stream) });
    ok(unsafe { cuMemcpyDtoHAsync_v2(host, at, 64, stream) });
    ok(unsafe { cuMemFreeAsync(at, stream) });
    let graph = made(|out| unsafe { cuStreamEndCapture(stream, out) });
    let executable = instantiate(graph);
    run(executable, stream);
    run(executable, stream);
    assert_eq!(byte(host), 3);
}

#[test]
fn graph_when_node_changed_in_executable_then_new_value() {
    let _context = context();
    let (stream, at) = (stream(0), host());
    let graph = made(|out| unsafe { cuGraphCreate(out, 0) });
    let mut params = MemsetNode { address: at, pitch: 0, value: 1, size: 1, width: 64, height: 1 };
    let node = made(|out| unsafe { cuGraphAddMemsetNode(out, graph, In(std::ptr::null()), 0, In(&params), 0) });
    let executable = instantiate(graph);
    params.value = 9;
    ok(unsafe { cuGraphExecMemsetNodeSetParams(executable, node, In(&params), 0) });
    run(executable, stream);
    assert_eq!(byte(at), 9);
    ok(unsafe { cuGraphNodeSetEnabled(executable, node, 0) });
    ok(unsafe { cuMemsetD8_v2(at, 5, 1) });
    run(executable, stream);
    assert_eq!(byte(at), 5);
    params.width = 65;
    assert_eq!(unsafe { cuGraphExecMemsetNodeSetParams(executable, node, In(&params), 0) }, Status::INVALID_VALUE.0);
}

#[test]
fn graph_when_edge_would_close_a_circle_then_refused() {
    let _context = context();
    let graph = made(|out| unsafe { cuGraphCreate(out, 0) });
    let a = made(|out| unsafe { cuGraphAddEmptyNode(out, graph, In(std::ptr::null()), 0) });
    let b = made(|out| unsafe { cuGraphAddEmptyNode(out, graph, In(&a), 1) });
    assert_eq!(unsafe { cuGraphAddDependencies(graph, In(&b), In(&a), 1) }, Status::INVALID_VALUE.0);
    assert_eq!(unsafe { cuGraphAddDependencies(graph, In(&a), In(&b), 1) }, Status::INVALID_VALUE.0);
    ok(unsafe { cuGraphRemoveDependencies(graph, In(&a), In(&b), 1) });
    let clone = made(|out| unsafe { cuGraphClone(out, graph) });
    let copied = made(|out| unsafe { cuGraphNodeFindInClone(out, a, clone) });
    assert_ne!(copied, a);
    ok(unsafe { cuGraphDestroyNode(a) });
    assert_eq!(nodes(graph), 1);
    assert_eq!(nodes(clone), 2);
}

#[test]
fn graph_when_child_holds_work_then_runs_in_order() {
    let _context = context();
    let (stream, at) = (stream(0), host());
    let memset = |value| MemsetNode { address: at, pitch: 0, value, size: 1, width: 1, height: 1 };
    let inner = made(|out| unsafe { cuGraphCreate(out, 0) });
    made(|out| unsafe { cuGraphAddMemsetNode(out, inner, In(std::ptr::null()), 0, In(&memset(2)), 0) });
    let outer = made(|out| unsafe { cuGraphCreate(out, 0) });
    let first = made(|out| unsafe { cuGraphAddMemsetNode(out, outer, In(std::ptr::null()), 0, In(&memset(1)), 0) });
    made(|out| unsafe { cuGraphAddChildGraphNode(out, outer, In(&first), 1, inner) });
    run(instantiate(outer), stream);
    assert_eq!(byte(at), 2);
}

#[test]
fn graph_when_values_are_written_and_waited_for_then_in_order_and_told_again() {
    let _context = context();
    let (stream, at) = (stream(0), alloc(64));
    let write = |place, value| MemOp { operation: 2, address: place, value, ..MemOp::default() };
    let wait = MemOp { operation: 1, address: at, value: 7, flags: 1, ..MemOp::default() };
    let list = [write(at, 7), wait, write(at + 4, 9)];
    let params = MemOpsNode { count: 3, list: list.as_ptr() as u64, ..MemOpsNode::default() };
    let graph = made(|out| unsafe { cuGraphCreate(out, 0) });
    let node = made(|out| unsafe { cuGraphAddBatchMemOpNode(out, graph, In(std::ptr::null()), 0, In(&params)) });
    assert_eq!(made(|out| unsafe { cuGraphNodeGetType(node, out) }), 12);
    let executable = instantiate(graph);
    run(executable, stream);
    assert_eq!((byte(at), byte(at + 4)), (7, 9));
    let given: MemOpsNode = made(|out| unsafe { cuGraphBatchMemOpNodeGetParams(node, out) });
    // SAFETY: what was given is good until the next such call.
    let told = unsafe { std::slice::from_raw_parts(given.list as *const MemOp, given.count as usize) };
    assert_eq!(told.iter().map(|op| op.value).collect::<Vec<_>>(), [7, 7, 9]);
    let other = [write(at, 30)];
    let params = MemOpsNode { count: 1, list: other.as_ptr() as u64, ..MemOpsNode::default() };
    ok(unsafe { cuGraphExecBatchMemOpNodeSetParams(executable, node, In(&params)) });
    run(executable, stream);
    assert_eq!(byte(at), 30);
    let none = MemOpsNode::default();
    assert_eq!(unsafe { cuGraphBatchMemOpNodeSetParams(node, In(&none)) }, Status::INVALID_VALUE.0);
}

#[test]
fn kernel_node_when_given_attributes_then_keeps_and_copies_them() {
    let _context = context();
    let bump = function(module(), "bump");
    let k = 1u32;
    let params = [&raw const k as u64];
    let node = KernelNode {
        function: bump.0,
        grid: [4, 1, 1],
        block: [32, 1, 1],
        params: params.as_ptr() as u64,
        ..KernelNode::default()
    };
    let graph = made(|out| unsafe { cuGraphCreate(out, 0) });
    let add = || made(|out| unsafe { cuGraphAddKernelNode_v2(out, graph, In(std::ptr::null()), 0, In(&node)) });
    let (first, second) = (add(), add());
    let mut value = [0u32; 16];
    value[..3].copy_from_slice(&[2, 1, 1]);
    ok(unsafe { cuGraphKernelNodeSetAttribute(first, 4, In(&value)) });
    value[0] = u32::MAX;
    ok(unsafe { cuGraphKernelNodeSetAttribute(first, 8, In(&value)) });
    ok(unsafe { cuGraphKernelNodeCopyAttributes(second, first) });
    let got: [u32; 16] = made(|out| unsafe { cuGraphKernelNodeGetAttribute(second, 4, out) });
    assert_eq!(got[..3], [2, 1, 1]);
    assert_eq!(made(|out| unsafe { cuGraphKernelNodeGetAttribute(second, 8, out) })[0], u32::MAX);
    // Clusters of three do not divide a grid of four.
    value[0] = 3;
    assert_eq!(unsafe { cuGraphKernelNodeSetAttribute(first, 4, In(&value)) }, Status::INVALID_CLUSTER_SIZE.0);
    assert_eq!(unsafe { cuGraphKernelNodeGetAttribute(first, 99, Out(&mut value)) }, Status::INVALID_VALUE.0);
    run(instantiate(graph), stream(0));
}
