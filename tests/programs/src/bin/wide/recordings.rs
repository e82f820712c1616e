//! Recording streams: what is known of a recording, and what it does not allow.

use std::ptr::{null, null_mut};

use crate::graphs::Fill;
use crate::{Bench, cu, tell};

pub fn run(bench: &Bench) {
    information(bench);
    into_a_graph(bench);
    forbidden(bench);
    threads(bench);
}

fn fill(bench: &Bench, to: u64, value: u32, stream: u64) -> i32 {
    let parameters = Fill::new(to, 16, 0, value);
    let function = bench.function("fill");
    cu!(
        bench.cuda,
        cuLaunchKernel(function, 1, 1, 1, 256, 1, 1, 0, stream, parameters.places().as_ptr(), null::<u64>())
    )
}

fn information(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(16, 0));
    let (mut stream, mut graph) = (0u64, 0u64);
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    let (mut state, mut id, mut seen, mut nodes, mut count) = (9u32, 9u64, 0u64, null_mut::<u64>(), 9usize);
    tell!(
        cuda,
        "not recording",
        cuStreamGetCaptureInfo_v2(stream, &mut state, &mut id, &mut seen, &mut nodes, &mut count)
    );
    cuda.say("state", state);
    tell!(cuda, "", cuStreamBeginCapture_v2(stream, 0));
    tell!(cuda, "again", cuStreamBeginCapture_v2(stream, 0));
    tell!(cuda, "", cuStreamGetCaptureInfo_v2(stream, &mut state, &mut id, &mut seen, &mut nodes, &mut count));
    cuda.say("state, a number, a graph, dependencies", format!("{state} {} {} {count}", id != 0, seen != 0));
    cuda.told("launch", fill(bench, words, 1, stream));
    tell!(cuda, "", cuStreamGetCaptureInfo_v2(stream, &mut state, &mut id, &mut seen, &mut nodes, &mut count));
    cuda.say("dependencies", count);
    let mut first = 0u64;
    if count == 1 && !nodes.is_null() {
        // SAFETY: a list of one node.
        first = unsafe { nodes.read() };
        let mut kind = 9u32;
        tell!(cuda, "", cuGraphNodeGetType(first, &mut kind));
        cuda.say("kind", kind);
    }
    cuda.told("launch", fill(bench, words, 2, stream));
    tell!(cuda, "set", cuStreamUpdateCaptureDependencies(stream, &mut first, 1usize, 1));
    let mut data = null_mut::<u64>();
    tell!(
        cuda,
        "",
        cuStreamGetCaptureInfo_v3(stream, &mut state, &mut id, &mut seen, &mut nodes, &mut data, &mut count)
    );
    // SAFETY: a list of one node, where there is one.
    cuda.say("it depends on the first", count == 1 && unsafe { nodes.read() } == first);
    tell!(cuda, "", cuStreamEndCapture(stream, &mut graph));
    cuda.say("the graph that was seen", graph == seen);
    let mut n = 0usize;
    tell!(cuda, "", cuGraphGetNodes(graph, null::<u64>(), &mut n));
    cuda.say("nodes", n);
    let mut back = crate::graphs::kernel(0, &[]);
    tell!(cuda, "", cuGraphKernelNodeGetParams_v2(first, &mut back));
    cuda.say("function", back.func == bench.function("fill"));
    let mut exec = 0u64;
    tell!(cuda, "", cuGraphInstantiateWithFlags(&mut exec, graph, 0u64));
    tell!(cuda, "", cuGraphLaunch(exec, stream));
    tell!(cuda, "", cuStreamSynchronize(stream));
    bench.sum("one or the other", words, 0);
    cu!(cuda, cuGraphExecDestroy(exec));
    cu!(cuda, cuGraphDestroy(graph));
    tell!(cuda, "not recording", cuStreamEndCapture(stream, &mut graph));
    tell!(cuda, "the legacy stream", cuStreamBeginCapture_v2(0u64, 0));
    tell!(cuda, "no mode", cuStreamBeginCapture_v2(stream, 7));
    cu!(cuda, cuStreamDestroy_v2(stream));
    cu!(cuda, cuMemFree_v2(words));
}

fn into_a_graph(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(16, 0));
    let (mut stream, mut graph, mut root, mut ended) = (0u64, 0u64, 0u64, 0u64);
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    cu!(cuda, cuGraphCreate(&mut graph, 0));
    cu!(cuda, cuGraphAddEmptyNode(&mut root, graph, null::<u64>(), 0usize));
    tell!(cuda, "", cuStreamBeginCaptureToGraph(stream, graph, &root, null::<u64>(), 1usize, 0));
    cuda.told("launch", fill(bench, words, 4, stream));
    tell!(cuda, "", cuStreamEndCapture(stream, &mut ended));
    cuda.say("the same graph", ended == graph);
    let mut n = 0usize;
    tell!(cuda, "", cuGraphGetEdges(graph, null::<u64>(), null::<u64>(), &mut n));
    cuda.say("edges", n);
    let mut exec = 0u64;
    tell!(cuda, "", cuGraphInstantiateWithFlags(&mut exec, graph, 0u64));
    tell!(cuda, "", cuGraphLaunch(exec, stream));
    tell!(cuda, "", cuStreamSynchronize(stream));
    bench.sum("words", words, 16);
    cu!(cuda, cuGraphExecDestroy(exec));
    cu!(cuda, cuGraphDestroy(graph));
    cu!(cuda, cuStreamDestroy_v2(stream));
    cu!(cuda, cuMemFree_v2(words));
}

/// Each call in a recording of its own, and whether the recording survives it.
fn forbidden(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(16, 0));
    let (mut stream, mut other, mut event, mut locked) = (0u64, 0u64, 0u64, 0u64);
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    cu!(cuda, cuStreamCreate(&mut other, 1));
    cu!(cuda, cuEventCreate(&mut event, 2));
    cu!(cuda, cuEventRecord(event, other));
    cu!(cuda, cuStreamSynchronize(other));
    cu!(cuda, cuMemHostAlloc(&mut locked, 4096usize, 0));
    let mut memory = 0u64;
    let word = 0u32;
    type Call<'a> = (&'static str, Box<dyn FnMut() -> i32 + 'a>);
    let calls: Vec<Call> = vec![
        ("allocate", Box::new(|| cu!(cuda, cuMemAlloc_v2(&mut memory, 64usize)))),
        ("allocate in the stream", Box::new(|| cu!(cuda, cuMemAllocAsync(&mut 0u64, 64usize, stream)))),
        ("page-lock", Box::new(|| cu!(cuda, cuMemHostAlloc(&mut 0u64, 64usize, 0)))),
        ("managed memory", Box::new(|| cu!(cuda, cuMemAllocManaged(&mut 0u64, 64usize, 1)))),
        ("free nothing", Box::new(|| cu!(cuda, cuMemFree_v2(0u64)))),
        ("memory left", Box::new(|| cu!(cuda, cuMemGetInfo_v2(&mut 0usize, &mut 0usize)))),
        ("copy to the device", Box::new(|| cu!(cuda, cuMemcpyHtoD_v2(words, &word, 4usize)))),
        ("copy on the device", Box::new(|| cu!(cuda, cuMemcpyDtoD_v2(words, words + 32, 4usize)))),
        ("set memory", Box::new(|| cu!(cuda, cuMemsetD8_v2(words, 0, 4usize)))),
        ("copy in another stream", Box::new(|| cu!(cuda, cuMemcpyDtoDAsync_v2(words, words + 32, 4usize, other)))),
        ("pageable copy in the stream", Box::new(|| cu!(cuda, cuMemcpyHtoDAsync_v2(words, &word, 4usize, stream)))),
        ("page-locked copy in the stream", Box::new(|| cu!(cuda, cuMemcpyHtoDAsync_v2(words, locked, 4usize, stream)))),
        ("synchronise the context", Box::new(|| cu!(cuda, cuCtxSynchronize()))),
        ("synchronise the stream", Box::new(|| cu!(cuda, cuStreamSynchronize(stream)))),
        ("synchronise another stream", Box::new(|| cu!(cuda, cuStreamSynchronize(other)))),
        ("query the stream", Box::new(|| cu!(cuda, cuStreamQuery(stream)))),
        ("query another stream", Box::new(|| cu!(cuda, cuStreamQuery(other)))),
        ("query the legacy stream", Box::new(|| cu!(cuda, cuStreamQuery(0u64)))),
        ("query an event", Box::new(|| cu!(cuda, cuEventQuery(event)))),
        ("synchronise with an event", Box::new(|| cu!(cuda, cuEventSynchronize(event)))),
        ("make an event", Box::new(|| cu!(cuda, cuEventCreate(&mut 0u64, 0)))),
        ("make a stream", Box::new(|| cu!(cuda, cuStreamCreate(&mut 0u64, 1)))),
        (
            "load a module",
            Box::new(|| {
                cu!(cuda, cuModuleLoadData(&mut 0u64, c".version 6.3\n.target sm_50\n.address_size 64\n".as_ptr()))
            }),
        ),
        ("pointer attribute", Box::new(|| cu!(cuda, cuPointerGetAttribute(&mut 0u32, 2, words)))),
        ("launch in the legacy stream", Box::new(|| fill(bench, words, 1, 0))),
        ("write a value", Box::new(|| cu!(cuda, cuStreamWriteValue32_v2(stream, words, 1, 0)))),
        ("end another stream", Box::new(|| cu!(cuda, cuStreamEndCapture(other, &mut 0u64)))),
    ];
    for (what, mut call) in calls {
        let begun = cu!(cuda, cuStreamBeginCapture_v2(stream, 0));
        if begun != 0 {
            cuda.told(&format!("{what}: begin"), begun);
            continue;
        }
        cuda.told(what, call());
        let mut state = 9u32;
        let asked = cu!(cuda, cuStreamIsCapturing(stream, &mut state));
        let mut graph = 0u64;
        let ended = cu!(cuda, cuStreamEndCapture(stream, &mut graph));
        cuda.say("then state, end", format!("{state} {} {}", cuda.name(asked), cuda.name(ended)));
        if ended == 0 {
            cu!(cuda, cuGraphDestroy(graph));
        }
    }
    cu!(cuda, cuEventDestroy_v2(event));
    cu!(cuda, cuStreamDestroy_v2(other));
    cu!(cuda, cuStreamDestroy_v2(stream));
    cu!(cuda, cuMemFree_v2(words));
}

/// Who may end a recording, and what other threads may do meanwhile.
fn threads(bench: &Bench) {
    let cuda = &bench.cuda;
    let mut stream = 0u64;
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    let elsewhere = |work: &(dyn Fn() -> i32 + Sync)| {
        std::thread::scope(|scope| {
            let one = scope.spawn(|| {
                cu!(cuda, cuCtxSetCurrent(bench.context));
                work()
            });
            one.join().expect("no panic")
        })
    };
    for mode in 0..3u32 {
        tell!(cuda, &format!("mode {mode}"), cuStreamBeginCapture_v2(stream, mode));
        let allocated = elsewhere(&|| {
            let mut memory = 0u64;
            let status = cu!(cuda, cuMemAlloc_v2(&mut memory, 64usize));
            cu!(cuda, cuMemFree_v2(memory));
            status
        });
        cuda.told("another thread allocates", allocated);
        cuda.told("another thread ends it", elsewhere(&|| cu!(cuda, cuStreamEndCapture(stream, &mut 0u64))));
        tell!(cuda, "this thread", cuStreamEndCapture(stream, &mut 0u64));
    }
    let mut mode = 2u32;
    tell!(cuda, "relaxed", cuThreadExchangeStreamCaptureMode(&mut mode));
    cuda.say("before", mode);
    cu!(cuda, cuStreamBeginCapture_v2(stream, 0));
    let mut memory = 0u64;
    tell!(cuda, "in a relaxed thread", cuMemAlloc_v2(&mut memory, 64usize));
    tell!(cuda, "", cuStreamEndCapture(stream, &mut 0u64));
    tell!(cuda, "back", cuThreadExchangeStreamCaptureMode(&mut mode));
    cu!(cuda, cuStreamDestroy_v2(stream));
}
