//! Conditional graph nodes through the exported functions: kernels that set a number, and bodies that run by it.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use std::ffi::CStr;

use common::*;
use cpu_cuda::api::copies::*;
use cpu_cuda::api::fills::*;
use cpu_cuda::api::graph_nodes::*;
use cpu_cuda::api::graphs::*;
use cpu_cuda::api::linking::*;
use cpu_cuda::api::modules::*;
use cpu_cuda::executable::Executable;
use cpu_cuda::foreign::{In, Out};
use cpu_cuda::graph::{Graph, GraphNode};
use cpu_cuda::handle::Handle;
use cpu_cuda::module::Function;
use cpu_cuda::status::Status;
use cpu_cuda::types::{ConditionalNode, KernelNode, NodeParams};

const IF: u32 = 0;
const WHILE: u32 = 1;
const SWITCH: u32 = 2;
const CONDITIONAL: u32 = 13;
const DEFAULT: u32 = 1;

/// Counts down at `count`, and sets the condition to what is left; adds 1 at `count + 4 * (1 + which)`.
const STEPS: &CStr = c"
.version 8.4 .target sm_75 .address_size 64
.extern .func cudaGraphSetConditional(.param .b64 handle, .param .b32 value);
.visible .entry step(.param .u64 count, .param .u64 handle) {
 .reg .b64 %rd<3>; .reg .b32 %r<3>;
 ld.param.u64 %rd1, [count]; ld.param.u64 %rd2, [handle];
 ld.global.u32 %r1, [%rd1]; sub.u32 %r1, %r1, 1; st.global.u32 [%rd1], %r1;
 { .param .b64 a; .param .b32 b; st.param.b64 [a], %rd2; st.param.b32 [b], %r1; call cudaGraphSetConditional, (a, b); }
 ret; }
.visible .entry mark(.param .u64 count, .param .u64 which) {
 .reg .b64 %rd<4>; .reg .b32 %r<2>;
 ld.param.u64 %rd1, [count]; ld.param.u64 %rd2, [which];
 shl.b64 %rd2, %rd2, 2; add.s64 %rd3, %rd1, %rd2; ld.global.u32 %r1, [%rd3+4]; add.u32 %r1, %r1, 1;
 st.global.u32 [%rd3+4], %r1; ret; }
";

/// The two kernels, linked with the device runtime.
fn kernels() -> [Handle<Function>; 2] {
    let link = made(|out| unsafe { cuLinkCreate_v2(0, In(std::ptr::null()), In(std::ptr::null()), out) });
    for (kind, part, name) in [(1, STEPS.to_bytes_with_nul(), c"steps"), (4, &b"!<arch>\n"[..], c"libcudadevrt.a")] {
        let (at, size) = (part.as_ptr() as u64, part.len() as u64);
        ok(unsafe {
            cuLinkAddData_v2(link, kind, at, size, text(name), 0, In(std::ptr::null()), In(std::ptr::null()))
        });
    }
    let mut size = 0;
    let image = made(|out| unsafe { cuLinkComplete(link, out, Out(&mut size)) });
    let module = made(|out| unsafe { cuModuleLoadData(out, image) });
    ["step", "mark"].map(|name| function(module, name))
}

fn graph() -> Handle<Graph> {
    made(|out| unsafe { cuGraphCreate(out, 0) })
}

fn condition(graph: Handle<Graph>, value: u32, flags: u32) -> u64 {
    made(|out| unsafe { cuGraphConditionalHandleCreate(out, graph, 0, value, flags) })
}

/// A kernel with two numbers, behind others.
fn kernel(
    graph: Handle<Graph>,
    after: &[Handle<GraphNode>],
    function: Handle<Function>,
    numbers: [u64; 2],
) -> Handle<GraphNode> {
    let pointers = [&raw const numbers[0], &raw const numbers[1]];
    let params = KernelNode {
        function: function.0,
        grid: [1; 3],
        block: [1; 3],
        params: pointers.as_ptr() as u64,
        ..KernelNode::default()
    };
    let (list, count) = (In(after.as_ptr()), after.len() as u64);
    made(|out| unsafe { cuGraphAddKernelNode_v2(out, graph, list, count, In(&params)) })
}

fn params(node: ConditionalNode) -> NodeParams {
    let mut all = NodeParams { kind: CONDITIONAL, reserved: [0; 3], words: [0; 29], last: 0 };
    all.write(node);
    all
}

/// A conditional node; its bodies.
fn conditional(
    graph: Handle<Graph>,
    after: &[Handle<GraphNode>],
    handle: u64,
    kind: u32,
    size: u32,
) -> Vec<Handle<Graph>> {
    let mut all = params(ConditionalNode { handle, kind, size, ..ConditionalNode::default() });
    let (list, count) = (In(after.as_ptr()), after.len() as u64);
    let node: Handle<GraphNode> =
        made(|out| unsafe { cuGraphAddNode_v2(out, graph, list, In(std::ptr::null()), count, Out(&mut all)) });
    assert_eq!(made(|out| unsafe { cuGraphNodeGetType(node, out) }), CONDITIONAL);
    let given: ConditionalNode = all.read();
    In(given.graphs as *const Handle<Graph>).read_all(size as usize).expect("the node's graphs")
}

fn instantiate(graph: Handle<Graph>) -> Handle<Executable> {
    made(|out| unsafe { cuGraphInstantiateWithFlags(out, graph, 0) })
}

/// Launches with the count at this number; what is at `count` and behind it afterwards.
fn launch(executable: Handle<Executable>, memory: u64, count: u32) -> [u32; 4] {
    let stream = stream(0);
    ok(unsafe { cuMemsetD32_v2(memory, 0, 4) });
    ok(unsafe { cuMemsetD32_v2(memory, count, 1) });
    ok(unsafe { cuGraphLaunch(executable, stream) });
    ok(unsafe { cpu_cuda::api::streams::cuStreamSynchronize(stream) });
    let mut found = [0u32; 4];
    ok(unsafe { cuMemcpyDtoH_v2(found.as_mut_ptr() as u64, memory, 16) });
    found
}

#[test]
fn while_when_its_body_counts_down_then_runs_as_often_and_at_every_launch() {
    let _context = context();
    let ([step, mark], memory, graph) = (kernels(), alloc(16), graph());
    let handle = condition(graph, 1, DEFAULT);
    let body = conditional(graph, &[], handle, WHILE, 1)[0];
    let first = kernel(body, &[], mark, [memory, 0]);
    kernel(body, &[first], step, [memory, handle]);
    let executable = instantiate(graph);
    assert_eq!(launch(executable, memory, 7), [0, 7, 0, 0]);
    assert_eq!(launch(executable, memory, 3), [0, 3, 0, 0]);
    ok(unsafe { cuGraphDestroy(graph) });
    assert_eq!(launch(executable, memory, 2), [0, 2, 0, 0]);
    assert_eq!(unsafe { cuGraphDestroy(body) }, Status::INVALID_VALUE.0);
}

#[test]
fn if_when_a_kernel_before_it_decides_then_runs_one_of_both_bodies() {
    let _context = context();
    let ([step, mark], memory, graph) = (kernels(), alloc(16), graph());
    let handle = condition(graph, 0, 0);
    let before = kernel(graph, &[], step, [memory, handle]);
    let bodies = conditional(graph, &[before], handle, IF, 2);
    kernel(bodies[0], &[], mark, [memory, 0]);
    kernel(bodies[1], &[], mark, [memory, 1]);
    let executable = instantiate(graph);
    assert_eq!(launch(executable, memory, 5), [4, 1, 0, 0]);
    assert_eq!(launch(executable, memory, 1), [0, 0, 1, 0]);
}

#[test]
fn switch_when_no_body_has_the_number_then_none_runs_and_what_follows_does() {
    let _context = context();
    let ([step, mark], memory, graph) = (kernels(), alloc(16), graph());
    let handle = condition(graph, 0, 0);
    let before = kernel(graph, &[], step, [memory, handle]);
    let bodies = conditional(graph, &[before], handle, SWITCH, 2);
    kernel(bodies[0], &[], mark, [memory, 0]);
    // A loop inside: as often as the condition of the body says.
    let inner = condition(bodies[1], 3, DEFAULT);
    let again = conditional(bodies[1], &[], inner, WHILE, 1)[0];
    kernel(again, &[], mark, [memory, 1]);
    kernel(again, &[], step, [memory, inner]);
    let executable = instantiate(graph);
    assert_eq!(launch(executable, memory, 1), [0, 1, 0, 0]);
    assert_eq!(launch(executable, memory, 9), [8, 0, 0, 0]);
    // The count is 1 when the body begins.
    assert_eq!(launch(executable, memory, 2), [0, 0, 1, 0]);
}

#[test]
fn nodes_when_wrongly_described_then_refused() {
    let _context = context();
    let (graph, other) = (graph(), graph());
    let handle = condition(graph, 0, 0);
    let add = |graph, handle, kind, size| {
        let mut node = Handle::<GraphNode>::NULL;
        let mut all = params(ConditionalNode { handle, kind, size, ..ConditionalNode::default() });
        unsafe { cuGraphAddNode(Out(&mut node), graph, In(std::ptr::null()), 0, Out(&mut all)) }
    };
    for (graph, handle, kind, size) in [
        (graph, handle + 512, IF, 1),
        (other, handle, IF, 1),
        (graph, handle, IF, 3),
        (graph, handle, WHILE, 2),
        (graph, handle, 3, 1),
    ] {
        assert_eq!(add(graph, handle, kind, size), Status::INVALID_VALUE.0);
    }
    ok(add(graph, handle, IF, 1));
    assert_eq!(add(graph, handle, IF, 1), Status::INVALID_VALUE.0);
    let mut copy = Handle::<Graph>::NULL;
    assert_eq!(unsafe { cuGraphClone(Out(&mut copy), graph) }, Status::NOT_SUPPORTED.0);
    let mut made = 0;
    assert_eq!(unsafe { cuGraphConditionalHandleCreate(Out(&mut made), graph, 0, 0, 2) }, Status::INVALID_VALUE.0);
}

#[test]
fn body_when_it_has_what_no_body_may_then_the_graph_is_refused() {
    let _context = context();
    let graph = graph();
    let body = conditional(graph, &[], condition(graph, 0, 0), IF, 1)[0];
    extern "C" fn nothing(_: u64) {}
    let host = cpu_cuda::types::HostNode { function: nothing as *const () as u64, data: 0 };
    let _: Handle<GraphNode> = made(|out| unsafe { cuGraphAddHostNode(out, body, In(std::ptr::null()), 0, In(&host)) });
    let mut executable = Handle::<Executable>::NULL;
    assert_eq!(unsafe { cuGraphInstantiateWithFlags(Out(&mut executable), graph, 0) }, Status::NOT_SUPPORTED.0);
}
