//! Kernels, events and recordings on two devices at once.

use std::ffi::CString;

use crate::{KERNELS, Pair, cu, tell};

const COUNT: usize = 1 << 16;
/// Rounds of a kernel that keeps one thread of a device busy for about half a second.
const LONG: u64 = 60_000_000;

/// Kernels that read and write the other's memory, also by atomic operations.
pub fn kernels(pair: &Pair) {
    let (a, b) = (pair.words(0, COUNT, 3), pair.words(1, COUNT, 4));
    let (near, far) = (pair.words(1, COUNT, 0), pair.words(0, COUNT, 0));
    pair.be_peers();
    let count = COUNT as u64;
    for device in 0..2 {
        pair.on(device);
        pair.launch("out on the second", device, "add_arrays", 0, COUNT as u32, &[a, b, near, count]);
        pair.wait();
        pair.sum("sums", near, COUNT);
        pair.launch("out on the first", device, "add_arrays", 0, COUNT as u32, &[near, b, far, count]);
        pair.wait();
        pair.sum("sums", far, COUNT);
        pair.launch("atomic", device, "sum", 0, 1024, &[b, far, count]);
        pair.wait();
        pair.sum("added up in two words of the first", far, 2);
    }
}

/// A module's variables are a context's own; a library's kernel is launched in either.
pub fn modules(pair: &Pair) {
    let cuda = &pair.cuda;
    let mut places = [0u64; 2];
    for (device, place) in places.iter_mut().enumerate() {
        pair.on(device);
        let (mut bytes, name) = (0usize, c"variable".as_ptr());
        tell!(cuda, "", cuModuleGetGlobal_v2(&mut *place, &mut bytes, pair.modules[device], name));
        cu!(cuda, cuMemcpyHtoD_v2(*place, &(70 + device as u32), 4usize));
    }
    for (device, place) in places.into_iter().enumerate() {
        pair.on(1 - device);
        pair.sum("variable", place, 1);
        let mut ordinal = -1i32;
        tell!(cuda, "", cuPointerGetAttribute(&mut ordinal, 9, place));
        cuda.say("lies on", ordinal);
    }
    let (mut library, mut kernel, none) = (0u64, 0u64, 0u64);
    pair.on(0);
    tell!(cuda, "", cuLibraryLoadData(&mut library, KERNELS.as_ptr(), none, none, 0, none, none, 0));
    tell!(cuda, "", cuLibraryGetKernel(&mut kernel, library, c"fill".as_ptr()));
    for device in [1, 0] {
        let memory = pair.words(device, COUNT, 0);
        let mut function = 0u64;
        tell!(cuda, "", cuKernelGetFunction(&mut function, kernel));
        let parameters = [memory, COUNT as u64, 2, 1];
        let places = parameters.each_ref().map(std::ptr::from_ref);
        let grid = COUNT as u32 / 256;
        tell!(cuda, "a function", cuLaunchKernel(function, grid, 1, 1, 256, 1, 1, 0, none, &places, none));
        pair.wait();
        pair.sum("filled", memory, COUNT);
        let (mut stream, more) = (0u64, [memory, COUNT as u64, 3, 1]);
        cu!(cuda, cuStreamCreate(&mut stream, 1));
        pair.on(1 - device);
        let places = more.each_ref().map(std::ptr::from_ref);
        let what = "a kernel, in a stream of the other";
        tell!(cuda, what, cuLaunchKernel(kernel, grid, 1, 1, 256, 1, 1, 0, stream, &places, none));
        tell!(cuda, "", cuStreamSynchronize(stream));
        pair.sum("filled", memory, COUNT);
        let what = "a function, in a stream of the other";
        tell!(cuda, what, cuLaunchKernel(function, grid, 1, 1, 256, 1, 1, 0, stream, &places, none));
        cu!(cuda, cuCtxSynchronize());
    }
}

/// One device waits for what the other does.
pub fn events(pair: &Pair) {
    let cuda = &pair.cuda;
    let (mut streams, mut events, mut own) = ([0u64; 2], [0u64; 2], [0u64; 2]);
    let memory = [pair.words(0, COUNT, 0), pair.words(1, COUNT, 0)];
    for device in 0..2 {
        pair.on(device);
        cu!(cuda, cuStreamCreate(&mut streams[device], 1));
        cu!(cuda, cuEventCreate(&mut events[device], 2));
        cu!(cuda, cuEventCreate(&mut own[device], 0));
    }
    pair.on(0);
    tell!(cuda, "of the other", cuEventRecord(events[1], streams[0]));
    tell!(cuda, "of the other, null stream", cuEventRecord(events[1], 0u64));
    pair.launch("long", 0, "busy", streams[0], 1, &[memory[0], LONG]);
    tell!(cuda, "", cuEventRecord(events[0], streams[0]));
    tell!(cuda, "of the first, at once", cuEventQuery(events[0]));
    pair.on(1);
    tell!(cuda, "of the other", cuStreamWaitEvent(streams[1], events[0], 0));
    let [one, two] = pair.contexts;
    tell!(cuda, "behind it", cuMemcpyPeerAsync(memory[1], two, memory[0], one, 4usize, streams[1]));
    tell!(cuda, "", cuEventRecord(events[1], streams[1]));
    tell!(cuda, "", cuEventSynchronize(events[1]));
    tell!(cuda, "of the first", cuEventQuery(events[0]));
    pair.on(0);
    pair.sum("what the first made", memory[0], 1);
    pair.sum("what the second got", memory[1], 1);
    for device in 0..2 {
        pair.on(device);
        tell!(cuda, "", cuEventRecord(own[device], streams[device]));
        tell!(cuda, "", cuStreamSynchronize(streams[device]));
    }
    let mut time = 0f32;
    tell!(cuda, "of two devices", cuEventElapsedTime(&mut time, own[0], own[1]));
}

/// That one device's null stream is idle says nothing of the other's.
pub fn idle(pair: &Pair) {
    let cuda = &pair.cuda;
    let memory = pair.words(0, COUNT, 0);
    pair.launch("long", 0, "busy", 0, 1, &[memory, LONG]);
    pair.on(1);
    tell!(cuda, "of the second", cuStreamSynchronize(0u64));
    tell!(cuda, "of the second", cuStreamQuery(0u64));
    pair.on(0);
    tell!(cuda, "of the first", cuStreamQuery(0u64));
    tell!(cuda, "of the first", cuStreamSynchronize(0u64));
    tell!(cuda, "of the first", cuStreamQuery(0u64));
    pair.sum("made", memory, 1);
}

/// A recording that goes over both devices.
pub fn recorded(pair: &Pair) {
    let cuda = &pair.cuda;
    let memory = [pair.words(0, COUNT, 0), pair.words(1, COUNT, 0)];
    let (mut streams, mut events) = ([0u64; 2], [0u64; 2]);
    for device in 0..2 {
        pair.on(device);
        cu!(cuda, cuStreamCreate(&mut streams[device], 1));
        cu!(cuda, cuEventCreate(&mut events[device], 2));
    }
    pair.be_peers();
    let (mut graph, mut instance, count) = (0u64, 0u64, COUNT as u64);
    tell!(cuda, "", cuStreamBeginCapture_v2(streams[0], 2));
    pair.launch("on the first", 0, "fill", streams[0], COUNT as u32, &[memory[0], count, 1, 5]);
    tell!(cuda, "", cuEventRecord(events[0], streams[0]));
    pair.on(1);
    tell!(cuda, "", cuStreamWaitEvent(streams[1], events[0], 0));
    pair.launch("on the second", 1, "add_arrays", streams[1], COUNT as u32, &[memory[0], memory[0], memory[1], count]);
    tell!(cuda, "", cuEventRecord(events[1], streams[1]));
    pair.on(0);
    tell!(cuda, "", cuStreamWaitEvent(streams[0], events[1], 0));
    tell!(cuda, "back", cuMemcpyDtoDAsync_v2(memory[0], memory[1], COUNT * 4, streams[0]));
    tell!(cuda, "", cuStreamEndCapture(streams[0], &mut graph));
    let mut nodes = 0usize;
    tell!(cuda, "", cuGraphGetNodes(graph, 0u64, &mut nodes));
    cuda.say("nodes", nodes);
    tell!(cuda, "", cuGraphInstantiateWithFlags(&mut instance, graph, 0u64));
    for _ in 0..2 {
        tell!(cuda, "", cuGraphLaunch(instance, streams[0]));
        tell!(cuda, "", cuStreamSynchronize(streams[0]));
        pair.sum("on the first", memory[0], COUNT);
        pair.sum("on the second", memory[1], COUNT);
    }
}

/// A thread for each device: what one makes the other adds to, many times.
pub fn threads(pair: &Pair) {
    const ROUNDS: usize = 200;
    let cuda = &pair.cuda;
    let memory = [pair.words(0, COUNT, 1), pair.words(1, COUNT, 1)];
    pair.be_peers();
    let functions: Vec<u64> = (0..2).map(|device| function(pair, device, "add_arrays")).collect();
    let turns = [(); 2].map(|()| std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        for device in 0..2 {
            let (turns, function) = (&turns, functions[device]);
            scope.spawn(move || {
                pair.on(device);
                for round in 0..ROUNDS {
                    if round % 2 == device {
                        let parameters = [memory[0], memory[1], memory[device], COUNT as u64];
                        let places = parameters.each_ref().map(std::ptr::from_ref);
                        let (grid, none) = (COUNT as u32 / 256, 0u64);
                        let status = cu!(cuda, cuLaunchKernel(function, grid, 1, 1, 256, 1, 1, 0, none, &places, none));
                        assert_eq!((status, cu!(cuda, cuCtxSynchronize())), (0, 0), "round {round}");
                    }
                    turns[round % 2].wait();
                }
            });
        }
    });
    // Fibonacci's numbers, in 32 bits.
    pair.sum("one", memory[0], 1);
    pair.sum("the other", memory[1], 1);
    pair.sum("all", memory[1], COUNT);
}

fn function(pair: &Pair, device: usize, name: &str) -> u64 {
    let (mut function, text) = (0u64, CString::new(name).expect("a name"));
    let status = cu!(pair.cuda, cuModuleGetFunction(&mut function, pair.modules[device], text.as_ptr()));
    assert_eq!(status, 0, "{name}");
    function
}

/// A kernel that reaches the other's memory without leave; what then becomes of the other device.
pub fn fault(pair: &Pair) {
    let cuda = &pair.cuda;
    let far = pair.words(1, COUNT, 4);
    pair.on(0);
    pair.launch("without leave", 0, "fill", 0, COUNT as u32, &[far, COUNT as u64, 1, 1]);
    pair.wait();
    pair.wait();
    pair.on(1);
    pair.sum("of the second device", far, COUNT);
    let mut memory = 0u64;
    tell!(cuda, "on the second device", cuMemAlloc_v2(&mut memory, 4096usize));
    pair.wait();
}
