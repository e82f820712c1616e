//! Graphs that are made by hand: each kind of node, edges, changes, copies.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Bench, cu, tell};

/// `CUDA_KERNEL_NODE_PARAMS` of 12.0 and later.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Kernel {
    pub func: u64,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
    pub parameters: *const *const c_void,
    pub extra: *const c_void,
    pub kern: u64,
    pub ctx: u64,
}

/// `CUDA_MEMSET_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Memset {
    dst: u64,
    pitch: usize,
    value: u32,
    element: u32,
    width: usize,
    height: usize,
}

/// `CUDA_HOST_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Host {
    function: Option<extern "C" fn(*mut c_void)>,
    data: *mut c_void,
}

/// `CUDA_MEM_ALLOC_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Alloc {
    kind: u32,
    handle_types: u32,
    location: [u32; 2],
    rest: [u64; 8],
    descriptors: *const c_void,
    count: usize,
    bytes: usize,
    dptr: u64,
}

static CALLS: AtomicU32 = AtomicU32::new(0);
static ENDED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(data: *mut c_void) {
    CALLS.fetch_add(data as u32, Ordering::SeqCst);
}

extern "C" fn end(data: *mut c_void) {
    ENDED.fetch_add(data as u32, Ordering::SeqCst);
}

/// Parameters of `fill`.
pub struct Fill {
    to: u64,
    count: u32,
    scale: u32,
    offset: u32,
}

impl Fill {
    pub fn new(to: u64, count: u32, scale: u32, offset: u32) -> Fill {
        Fill { to, count, scale, offset }
    }

    pub fn places(&self) -> [*const c_void; 4] {
        [
            (&raw const self.to).cast(),
            (&raw const self.count).cast(),
            (&raw const self.scale).cast(),
            (&raw const self.offset).cast(),
        ]
    }
}

pub fn kernel(func: u64, places: &[*const c_void]) -> Kernel {
    Kernel {
        func,
        grid: [4, 1, 1],
        block: [256, 1, 1],
        shared: 0,
        parameters: places.as_ptr(),
        extra: null(),
        kern: 0,
        ctx: 0,
    }
}

pub fn run(bench: &Bench) {
    chain(bench);
    changes(bench);
    structure(bench);
    kinds(bench);
    memory(bench);
    objects(bench);
    refused(bench);
}

/// Memset, kernel, host function in a row.
fn chain(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(1024, 0));
    let (mut graph, mut set, mut fill, mut host, mut exec) = (0u64, 0u64, 0u64, 0u64, 0u64);
    tell!(cuda, "", cuGraphCreate(&mut graph, 0));
    let memset = Memset { dst: words, pitch: 0, value: 7, element: 4, width: 1024, height: 1 };
    tell!(cuda, "", cuGraphAddMemsetNode(&mut set, graph, null::<u64>(), 0usize, &memset, bench.context));
    let parameters = Fill::new(words, 512, 0, 3);
    let places = parameters.places();
    let params = kernel(bench.function("fill"), &places);
    tell!(cuda, "", cuGraphAddKernelNode_v2(&mut fill, graph, &set, 1usize, &params));
    let call = Host { function: Some(count), data: 5 as *mut c_void };
    tell!(cuda, "", cuGraphAddHostNode(&mut host, graph, &fill, 1usize, &call));
    tell!(cuda, "", cuGraphInstantiateWithFlags(&mut exec, graph, 0u64));
    bench.sum("before", words, 1024);
    for _ in 0..2 {
        tell!(cuda, "", cuGraphLaunch(exec, 0));
    }
    tell!(cuda, "", cuCtxSynchronize());
    bench.sum("after", words, 1024);
    cuda.say("the function was called with", CALLS.load(Ordering::SeqCst));
    let mut back = Memset::default();
    tell!(cuda, "", cuGraphMemsetNodeGetParams(set, &mut back));
    cuda.say("as given", back == memset);
    let mut back = kernel(0, &[]);
    tell!(cuda, "", cuGraphKernelNodeGetParams_v2(fill, &mut back));
    cuda.say(
        "function, sizes",
        format!("{} {:?} {:?} {}", back.func == params.func, back.grid, back.block, back.shared),
    );
    if !back.parameters.is_null() {
        // SAFETY: an array of as many pointers as the kernel has parameters, which lead to them.
        let values = unsafe {
            (back.parameters.add(1).read().cast::<u32>().read(), back.parameters.add(3).read().cast::<u32>().read())
        };
        cuda.say("second and fourth parameter", format!("{values:?}"));
    }
    let mut back = Host { function: None, data: null_mut() };
    tell!(cuda, "", cuGraphHostNodeGetParams(host, &mut back));
    cuda.say(
        "as given",
        back.data == call.data && back.function.map(|f| f as usize) == Some(count as *const () as usize),
    );
    tell!(cuda, "", cuGraphExecDestroy(exec));
    tell!(cuda, "", cuGraphDestroy(graph));
    cu!(cuda, cuMemFree_v2(words));
}

/// Changes of a graph and of one that is ready.
fn changes(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(1024, 0));
    let (mut graph, mut set, mut fill, mut exec) = (0u64, 0u64, 0u64, 0u64);
    cu!(cuda, cuGraphCreate(&mut graph, 0));
    let mut memset = Memset { dst: words, pitch: 0, value: 1, element: 4, width: 1024, height: 1 };
    cu!(cuda, cuGraphAddMemsetNode(&mut set, graph, null::<u64>(), 0usize, &memset, bench.context));
    let parameters = Fill::new(words, 10, 0, 100);
    let places = parameters.places();
    let params = kernel(bench.function("fill"), &places);
    cu!(cuda, cuGraphAddKernelNode_v2(&mut fill, graph, &set, 1usize, &params));
    tell!(cuda, "", cuGraphInstantiateWithFlags(&mut exec, graph, 0u64));
    memset.value = 2;
    tell!(cuda, "", cuGraphExecMemsetNodeSetParams(exec, set, &memset, bench.context));
    let parameters = Fill::new(words, 20, 0, 200);
    let places = parameters.places();
    let params = kernel(bench.function("fill"), &places);
    tell!(cuda, "", cuGraphExecKernelNodeSetParams_v2(exec, fill, &params));
    tell!(cuda, "", cuGraphLaunch(exec, 0));
    bench.sum("changed when ready", words, 1024);
    tell!(cuda, "off", cuGraphNodeSetEnabled(exec, fill, 0));
    let mut enabled = 9u32;
    tell!(cuda, "", cuGraphNodeGetEnabled(exec, fill, &mut enabled));
    cuda.say("enabled", enabled);
    tell!(cuda, "", cuGraphLaunch(exec, 0));
    bench.sum("without the kernel", words, 1024);
    memset.value = 3;
    tell!(cuda, "", cuGraphMemsetNodeSetParams(set, &memset));
    let parameters = Fill::new(words, 30, 0, 300);
    let places = parameters.places();
    let params = kernel(bench.function("fill"), &places);
    tell!(cuda, "", cuGraphKernelNodeSetParams_v2(fill, &params));
    let mut result = [9u64; 3];
    tell!(cuda, "", cuGraphExecUpdate_v2(exec, graph, &mut result));
    cuda.say("result, nodes", format!("{} {} {}", result[0] as u32, result[1], result[2]));
    tell!(cuda, "", cuGraphLaunch(exec, 0));
    bench.sum("updated", words, 1024);
    // A graph of another shape.
    let (mut other, mut empty) = (0u64, 0u64);
    cu!(cuda, cuGraphCreate(&mut other, 0));
    cu!(cuda, cuGraphAddEmptyNode(&mut empty, other, null::<u64>(), 0usize));
    let mut result = [9u64; 3];
    tell!(cuda, "of another shape", cuGraphExecUpdate_v2(exec, other, &mut result));
    cuda.say("result", result[0] as u32);
    let mut result = [9u64; 3];
    tell!(cuda, "once more", cuGraphExecUpdate_v2(exec, other, &mut result));
    cuda.say("result", result[0] as u32);
    let (mut node, mut old) = (9u64, 9u32);
    tell!(cuda, "of another shape", cuGraphExecUpdate(exec, other, &mut node, &mut old));
    cuda.say("result", old);
    for (what, value) in [("as it was, the older call", 4u32), ("changed, the older call", 5)] {
        memset.value = value;
        cu!(cuda, cuGraphMemsetNodeSetParams(set, &memset));
        tell!(cuda, what, cuGraphExecUpdate(exec, graph, &mut node, &mut old));
        cuda.say("result, node", format!("{old} {node}"));
    }
    // The same number of nodes, of another kind.
    let (mut third, mut one, mut two) = (0u64, 0u64, 0u64);
    cu!(cuda, cuGraphCreate(&mut third, 0));
    cu!(cuda, cuGraphAddMemsetNode(&mut one, third, null::<u64>(), 0usize, &memset, bench.context));
    cu!(cuda, cuGraphAddMemsetNode(&mut two, third, &one, 1usize, &memset, bench.context));
    tell!(cuda, "of another kind, the older call", cuGraphExecUpdate(exec, third, &mut node, &mut old));
    cuda.say("result, the node", format!("{old} {}", node == two));
    let mut result = [9u64; 3];
    tell!(cuda, "of another kind", cuGraphExecUpdate_v2(exec, third, &mut result));
    cuda.say("result, the node", format!("{} {}", result[0] as u32, result[1] == two));
    tell!(cuda, "of another shape, the older call", cuGraphExecUpdate(exec, other, &mut node, &mut old));
    cuda.say("result", old);
    cu!(cuda, cuGraphDestroy(third));
    tell!(cuda, "", cuGraphExecDestroy(exec));
    cu!(cuda, cuGraphDestroy(other));
    tell!(cuda, "", cuGraphDestroy(graph));
    cu!(cuda, cuMemFree_v2(words));
}

/// Edges, roots, copies, children.
fn structure(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut graph, mut nodes) = (0u64, [0u64; 4]);
    cu!(cuda, cuGraphCreate(&mut graph, 0));
    for node in &mut nodes {
        tell!(cuda, "", cuGraphAddEmptyNode(node, graph, null::<u64>(), 0usize));
    }
    let (from, to) = ([nodes[0], nodes[0], nodes[1], nodes[2]], [nodes[1], nodes[2], nodes[3], nodes[3]]);
    tell!(cuda, "", cuGraphAddDependencies(graph, from.as_ptr(), to.as_ptr(), 4usize));
    tell!(cuda, "again", cuGraphAddDependencies(graph, from.as_ptr(), to.as_ptr(), 1usize));
    tell!(cuda, "a circle", cuGraphAddDependencies(graph, &nodes[3], &nodes[0], 1usize));
    tell!(cuda, "to itself", cuGraphAddDependencies(graph, &nodes[0], &nodes[0], 1usize));
    let count = |what: &str, status: i32, count: usize| {
        cuda.told(what, status);
        cuda.say("count", count);
    };
    let mut n = 77usize;
    count("nodes", cu!(cuda, cuGraphGetNodes(graph, null::<u64>(), &mut n)), n);
    count("roots", cu!(cuda, cuGraphGetRootNodes(graph, null::<u64>(), &mut n)), n);
    count("edges", cu!(cuda, cuGraphGetEdges(graph, null::<u64>(), null::<u64>(), &mut n)), n);
    count("dependencies", cu!(cuda, cuGraphNodeGetDependencies(nodes[3], null::<u64>(), &mut n)), n);
    count("dependents", cu!(cuda, cuGraphNodeGetDependentNodes(nodes[0], null::<u64>(), &mut n)), n);
    let (mut found, mut n) = ([1u64; 6], 6usize);
    tell!(cuda, "six places", cuGraphGetNodes(graph, found.as_mut_ptr(), &mut n));
    cuda.say("count, first is ours, the rest", format!("{n} {} {:?}", nodes.contains(&found[0]), &found[4..]));
    let (mut found, mut n) = ([1u64; 2], 2usize);
    tell!(cuda, "two places", cuGraphGetNodes(graph, found.as_mut_ptr(), &mut n));
    cuda.say("count", n);
    let (mut from, mut to, mut n) = ([0u64; 8], [0u64; 8], 8usize);
    tell!(cuda, "", cuGraphGetEdges(graph, from.as_mut_ptr(), to.as_mut_ptr(), &mut n));
    let place = |node: &u64| nodes.iter().position(|known| known == node);
    let mut edges: Vec<_> = from.iter().zip(&to).take(n).map(|(from, to)| (place(from), place(to))).collect();
    edges.sort_unstable();
    cuda.say("edges", format!("{edges:?}"));
    tell!(cuda, "", cuGraphRemoveDependencies(graph, &nodes[0], &nodes[1], 1usize));
    tell!(cuda, "one that is not there", cuGraphRemoveDependencies(graph, &nodes[0], &nodes[1], 1usize));
    let mut kind = 99u32;
    tell!(cuda, "", cuGraphNodeGetType(nodes[0], &mut kind));
    cuda.say("kind", kind);
    let (mut clone, mut copy) = (0u64, 0u64);
    tell!(cuda, "", cuGraphClone(&mut clone, graph));
    tell!(cuda, "", cuGraphNodeFindInClone(&mut copy, nodes[1], clone));
    cuda.say("another node", copy != nodes[1] && copy != 0);
    let (mut child, mut inside) = (0u64, 0u64);
    tell!(cuda, "", cuGraphAddChildGraphNode(&mut child, graph, nodes.as_ptr(), 1usize, clone));
    tell!(cuda, "", cuGraphChildGraphNodeGetGraph(child, &mut inside));
    cuda.say("a copy", inside != clone && inside != 0);
    let mut again = 0u64;
    cu!(cuda, cuGraphChildGraphNodeGetGraph(child, &mut again));
    cuda.say("the same each time", again == inside);
    let mut n = 0usize;
    tell!(cuda, "of the child", cuGraphGetNodes(inside, null::<u64>(), &mut n));
    cuda.say("count", n);
    tell!(cuda, "", cuGraphDestroyNode(nodes[2]));
    let mut n = 0usize;
    tell!(cuda, "", cuGraphGetNodes(graph, null::<u64>(), &mut n));
    cuda.say("count", n);
    let path = std::env::temp_dir().join(format!("wide-{}.dot", std::process::id()));
    let text = std::ffi::CString::new(path.to_string_lossy().as_bytes()).expect("a path");
    tell!(cuda, "", cuGraphDebugDotPrint(graph, text.as_ptr(), 0));
    let drawn = std::fs::read_to_string(&path).unwrap_or_default();
    cuda.say("a drawing", drawn.contains("digraph"));
    // What is left is a temporary file.
    let _ = std::fs::remove_file(path);
    tell!(cuda, "", cuGraphDestroy(clone));
    tell!(cuda, "", cuGraphDestroy(graph));
}

/// Events, batched operations, conditions, the form for all kinds.
fn kinds(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(64, 0));
    let (mut graph, mut events) = (0u64, [0u64; 2]);
    cu!(cuda, cuGraphCreate(&mut graph, 0));
    for event in &mut events {
        cu!(cuda, cuEventCreate(event, 0));
    }
    let (mut record, mut wait, mut found) = (0u64, 0u64, 0u64);
    tell!(cuda, "", cuGraphAddEventRecordNode(&mut record, graph, null::<u64>(), 0usize, events[0]));
    tell!(cuda, "", cuGraphAddEventWaitNode(&mut wait, graph, &record, 1usize, events[1]));
    tell!(cuda, "", cuGraphEventRecordNodeGetEvent(record, &mut found));
    cuda.say("as given", found == events[0]);
    tell!(cuda, "", cuGraphEventRecordNodeSetEvent(record, events[1]));
    tell!(cuda, "", cuGraphEventWaitNodeSetEvent(wait, events[0]));
    tell!(cuda, "", cuGraphEventWaitNodeGetEvent(wait, &mut found));
    cuda.say("as set", found == events[0]);
    tell!(cuda, "of another kind", cuGraphEventWaitNodeGetEvent(record, &mut found));
    // The form for all kinds: a memset.
    let mut params = [0u64; 32];
    params[0] = 2;
    params[2..7].copy_from_slice(&[words, 0, 9 | 4 << 32, 64, 1]);
    params[7] = bench.context;
    let mut node = 0u64;
    tell!(cuda, "a memset", cuGraphAddNode(&mut node, graph, &wait, 1usize, params.as_mut_ptr()));
    params[4] = 5 | 4 << 32;
    tell!(cuda, "a memset", cuGraphNodeSetParams(node, params.as_mut_ptr()));
    let mut exec = 0u64;
    tell!(cuda, "", cuGraphInstantiateWithFlags(&mut exec, graph, 0u64));
    params[4] = 6 | 4 << 32;
    tell!(cuda, "a memset", cuGraphExecNodeSetParams(exec, node, params.as_mut_ptr()));
    tell!(cuda, "", cuGraphExecEventRecordNodeSetEvent(exec, record, events[0]));
    tell!(cuda, "", cuGraphExecEventWaitNodeSetEvent(exec, wait, events[1]));
    tell!(cuda, "", cuGraphUpload(exec, 0));
    tell!(cuda, "", cuGraphLaunch(exec, 0));
    bench.sum("words", words, 64);
    let mut flags = 9u64;
    tell!(cuda, "", cuGraphExecGetFlags(exec, &mut flags));
    cuda.say("flags", flags);
    cu!(cuda, cuGraphExecDestroy(exec));
    let mut nothing = [0u64; 32];
    nothing[0] = 55;
    tell!(cuda, "no kind", cuGraphAddNode(&mut node, graph, null::<u64>(), 0usize, nothing.as_mut_ptr()));
    // Batched operations: a write, then a wait for it.
    let write = [4u64, words, 0x1234, 0, 0, 0];
    let operations = [[2u64, words, 0x77, 0, 0, 0], write];
    let batch = (bench.context, 1u64, operations.as_ptr(), 0u64);
    let mut node = 0u64;
    tell!(cuda, "", cuGraphAddBatchMemOpNode(&mut node, graph, null::<u64>(), 0usize, &batch));
    let mut back = [0u64; 4];
    tell!(cuda, "", cuGraphBatchMemOpNodeGetParams(node, back.as_mut_ptr()));
    cuda.say("operations", back[1] as u32);
    // A condition.
    let mut condition = 0u64;
    tell!(cuda, "", cuGraphConditionalHandleCreate(&mut condition, graph, bench.context, 1, 1));
    let mut params = [0u64; 32];
    params[0] = 13;
    params[2..6].copy_from_slice(&[condition, 1 << 32, 0, bench.context]);
    // After all that the graph does: it sets the same words.
    let (mut all, mut count) = ([0u64; 32], 32usize);
    cu!(cuda, cuGraphGetNodes(graph, all.as_mut_ptr(), &mut count));
    tell!(cuda, "a condition", cuGraphAddNode(&mut node, graph, all.as_ptr(), count, params.as_mut_ptr()));
    if params[4] != 0 {
        // SAFETY: the array of one body that the node has.
        let body = unsafe { (params[4] as *const u64).read() };
        let mut inside = 0u64;
        let memset = Memset { dst: words, pitch: 0, value: 8, element: 4, width: 64, height: 1 };
        tell!(
            cuda,
            "in the body",
            cuGraphAddMemsetNode(&mut inside, body, null::<u64>(), 0usize, &memset, bench.context)
        );
        tell!(cuda, "", cuGraphInstantiateWithFlags(&mut exec, graph, 0u64));
        tell!(cuda, "", cuGraphLaunch(exec, 0));
        bench.sum("words", words + 4, 63);
        cu!(cuda, cuGraphExecDestroy(exec));
    }
    cu!(cuda, cuGraphDestroy(graph));
    for event in events {
        cu!(cuda, cuEventDestroy_v2(event));
    }
    cu!(cuda, cuMemFree_v2(words));
}

/// Allocations of a graph.
fn memory(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut graph, mut made, mut set, mut freed, mut exec) = (0u64, 0u64, 0u64, 0u64, 0u64);
    cu!(cuda, cuGraphCreate(&mut graph, 0));
    let mut alloc = Alloc {
        kind: 1,
        handle_types: 0,
        location: [1, 0],
        rest: [0; 8],
        descriptors: null(),
        count: 0,
        bytes: 4096,
        dptr: 0,
    };
    tell!(cuda, "", cuGraphAddMemAllocNode(&mut made, graph, null::<u64>(), 0usize, &mut alloc));
    cuda.say("an address", alloc.dptr != 0);
    let memset = Memset { dst: alloc.dptr, pitch: 0, value: 3, element: 4, width: 1024, height: 1 };
    tell!(
        cuda,
        "of what the graph allocates",
        cuGraphAddMemsetNode(&mut set, graph, &made, 1usize, &memset, bench.context)
    );
    let mut back = Alloc { bytes: 0, dptr: 0, ..alloc };
    tell!(cuda, "", cuGraphMemAllocNodeGetParams(made, &mut back));
    cuda.say("as given", (back.bytes, back.dptr == alloc.dptr) == (4096, true));
    tell!(cuda, "not freed", cuGraphInstantiateWithFlags(&mut exec, graph, 1u64));
    tell!(cuda, "", cuGraphLaunch(exec, 0));
    bench.sum("allocated and set", alloc.dptr, 1024);
    tell!(cuda, "while it is there", cuGraphLaunch(exec, 0));
    tell!(cuda, "", cuMemFreeAsync(alloc.dptr, 0));
    tell!(cuda, "again", cuGraphLaunch(exec, 0));
    tell!(cuda, "", cuCtxSynchronize());
    tell!(cuda, "", cuMemFree_v2(alloc.dptr));
    cu!(cuda, cuGraphExecDestroy(exec));
    let mut address = 0u64;
    tell!(cuda, "", cuGraphAddMemFreeNode(&mut freed, graph, &set, 1usize, alloc.dptr));
    tell!(cuda, "", cuGraphMemFreeNodeGetParams(freed, &mut address));
    cuda.say("as given", address == alloc.dptr);
    tell!(cuda, "", cuGraphInstantiateWithFlags(&mut exec, graph, 0u64));
    tell!(cuda, "", cuGraphLaunch(exec, 0));
    tell!(cuda, "", cuCtxSynchronize());
    let mut value = u64::MAX;
    for attribute in [0u32, 1, 2, 3] {
        tell!(cuda, &format!("{attribute}"), cuDeviceGetGraphMemAttribute(0, attribute, &mut value));
    }
    tell!(cuda, "none", cuDeviceGetGraphMemAttribute(0, 9, &mut value));
    let zero = 0u64;
    tell!(cuda, "high mark", cuDeviceSetGraphMemAttribute(0, 1, &zero));
    cu!(cuda, cuGraphExecDestroy(exec));
    tell!(cuda, "", cuDeviceGraphMemTrim(0));
    cu!(cuda, cuGraphDestroy(graph));
}

/// User objects, attributes of kernel nodes.
fn objects(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut graph, mut object) = (0u64, 0u64);
    cu!(cuda, cuGraphCreate(&mut graph, 0));
    let function: extern "C" fn(*mut c_void) = end;
    tell!(cuda, "", cuUserObjectCreate(&mut object, 1u64, function as *const c_void, 2, 1));
    tell!(cuda, "other flags", cuUserObjectCreate(&mut 0u64, 1u64, function as *const c_void, 1, 0));
    tell!(cuda, "", cuUserObjectRetain(object, 1));
    tell!(cuda, "", cuUserObjectRelease(object, 1));
    tell!(cuda, "moved", cuGraphRetainUserObject(graph, object, 1, 1));
    tell!(cuda, "", cuGraphRetainUserObject(graph, object, 1, 0));
    tell!(cuda, "", cuGraphReleaseUserObject(graph, object, 1));
    tell!(cuda, "", cuUserObjectRelease(object, 1));
    cuda.say("ended while the graph holds it", ENDED.load(Ordering::SeqCst));
    let words = bench.words(16, 0);
    let parameters = Fill::new(words, 16, 1, 1);
    let mut node = 0u64;
    let places = parameters.places();
    let params = kernel(bench.function("fill"), &places);
    cu!(cuda, cuGraphAddKernelNode_v2(&mut node, graph, null::<u64>(), 0usize, &params));
    let mut other = 0u64;
    cu!(cuda, cuGraphAddKernelNode_v2(&mut other, graph, null::<u64>(), 0usize, &params));
    let mut value = [0u32; 16];
    value[0] = 1;
    tell!(cuda, "cooperative", cuGraphKernelNodeSetAttribute(node, 2, value.as_ptr()));
    value[0] = 9;
    tell!(cuda, "cooperative", cuGraphKernelNodeGetAttribute(node, 2, value.as_mut_ptr()));
    cuda.say("value", value[0]);
    tell!(cuda, "", cuGraphKernelNodeCopyAttributes(other, node));
    tell!(cuda, "copied", cuGraphKernelNodeGetAttribute(other, 2, value.as_mut_ptr()));
    cuda.say("value", value[0]);
    tell!(cuda, "", cuGraphDestroy(graph));
    // The destructor runs on a thread of the library's.
    for _ in 0..200 {
        if ENDED.load(Ordering::SeqCst) != 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    cuda.say("ended after the graph", ENDED.load(Ordering::SeqCst));
    cu!(cuda, cuMemFree_v2(words));
}

fn refused(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut graph, mut node, mut exec) = (0u64, 0u64, 0u64);
    cu!(cuda, cuGraphCreate(&mut graph, 0));
    tell!(cuda, "flags", cuGraphCreate(&mut node, 1));
    tell!(cuda, "null", cuGraphCreate(null::<u64>(), 0));
    tell!(cuda, "null", cuGraphAddEmptyNode(null::<u64>(), graph, null::<u64>(), 0usize));
    tell!(cuda, "null graph", cuGraphAddEmptyNode(&mut node, 0u64, null::<u64>(), 0usize));
    tell!(cuda, "null dependencies", cuGraphAddEmptyNode(&mut node, graph, null::<u64>(), 1usize));
    tell!(cuda, "null", cuGraphAddKernelNode_v2(&mut node, graph, null::<u64>(), 0usize, null::<u64>()));
    tell!(cuda, "null", cuGraphAddMemsetNode(&mut node, graph, null::<u64>(), 0usize, null::<u64>(), bench.context));
    tell!(cuda, "null", cuGraphAddHostNode(&mut node, graph, null::<u64>(), 0usize, null::<u64>()));
    let none = Host { function: None, data: null_mut() };
    tell!(cuda, "no function", cuGraphAddHostNode(&mut node, graph, null::<u64>(), 0usize, &none));
    let empty = Memset::default();
    tell!(cuda, "zeros", cuGraphAddMemsetNode(&mut node, graph, null::<u64>(), 0usize, &empty, bench.context));
    tell!(cuda, "null", cuGraphInstantiateWithFlags(null::<u64>(), graph, 0u64));
    tell!(cuda, "wild flags", cuGraphInstantiateWithFlags(&mut exec, graph, 0x100u64));
    tell!(cuda, "an empty graph", cuGraphInstantiateWithFlags(&mut exec, graph, 0u64));
    tell!(cuda, "an empty graph", cuGraphLaunch(exec, 0));
    tell!(cuda, "null", cuGraphGetNodes(graph, null::<u64>(), null::<u64>()));
    let mut params = [0u64; 4];
    let mut with = 0u64;
    tell!(cuda, "", cuGraphInstantiateWithParams(&mut with, graph, params.as_mut_ptr()));
    cuda.say("result", params[3] as u32);
    let mut log = [1u8; 8];
    let mut old = 0u64;
    tell!(cuda, "", cuGraphInstantiate_v2(&mut old, graph, &mut node, log.as_mut_ptr(), 8usize));
    for exec in [exec, with, old] {
        cu!(cuda, cuGraphExecDestroy(exec));
    }
    tell!(cuda, "", cuGraphDestroy(graph));
}
