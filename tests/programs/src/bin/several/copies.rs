//! Copies from one device to the other, by every call that makes one.

use crate::{Pair, cu, tell};

const COUNT: usize = 1 << 18;
const BYTES: usize = COUNT * 4;

/// Copies of bytes in a row: before either device reaches the other's memory, and after.
pub fn run(pair: &Pair) {
    let cuda = &pair.cuda;
    let [one, two] = pair.contexts;
    let (from, to) = (pair.words(0, COUNT, 3), pair.words(1, COUNT, 0));
    for round in ["before", "after"] {
        let mut value = if round == "before" { 10u32 } else { 20 };
        let mut next = |device: usize, memory: u64| {
            value += 1;
            pair.on(device);
            cu!(cuda, cuMemsetD32_v2(memory, value, COUNT));
            cu!(cuda, cuCtxSynchronize());
        };
        next(0, from);
        tell!(cuda, round, cuMemcpyPeer(to, two, from, one, BYTES));
        pair.on(1);
        pair.sum("on the other", to, COUNT);
        next(0, from);
        tell!(cuda, round, cuMemcpyPeerAsync(to, two, from, one, BYTES, 0u64));
        pair.wait();
        pair.sum("read by the first", to, COUNT);
        next(1, to);
        tell!(cuda, round, cuMemcpyDtoD_v2(from, to, BYTES));
        pair.wait();
        pair.sum("on the first", from, COUNT);
        next(0, from);
        tell!(cuda, round, cuMemcpy(to, from, BYTES));
        pair.on(1);
        pair.sum("on the other", to, COUNT);
        next(1, to);
        // A stream of the second device carries out what the first is asked for.
        let mut stream = 0u64;
        pair.on(1);
        cu!(cuda, cuStreamCreate(&mut stream, 1));
        pair.on(0);
        tell!(cuda, "in a stream of the other", cuMemcpyAsync(from, to, BYTES, stream));
        tell!(cuda, "of the other", cuStreamSynchronize(stream));
        pair.sum("on the first", from, COUNT);
        tell!(cuda, "of the other's memory", cuMemsetD32_v2(to, 7, COUNT));
        pair.wait();
        pair.sum("set by the first", to, COUNT);
        tell!(cuda, "in a stream of the other", cuMemsetD32Async(to, 8, COUNT, stream));
        tell!(cuda, "of the other", cuStreamSynchronize(stream));
        pair.sum("set in a stream of the other", to, COUNT);
        refused(pair, from, to);
        if round == "before" {
            pair.be_peers();
        }
    }
    tell!(cuda, "of the other's memory", cuMemFree_v2(to));
    tell!(cuda, "", cuMemFree_v2(from));
}

/// What no copy is.
fn refused(pair: &Pair, from: u64, to: u64) {
    let cuda = &pair.cuda;
    let [one, two] = pair.contexts;
    tell!(cuda, "of nothing", cuMemcpyPeer(to, two, from, one, 0usize));
    tell!(cuda, "contexts the other way round", cuMemcpyPeer(to, one, from, two, 4096usize));
    tell!(cuda, "one context", cuMemcpyPeer(to, one, from, one, 4096usize));
    tell!(cuda, "too many bytes", cuMemcpyPeer(to, two, from, one, 1usize << 40));
    cu!(cuda, cuCtxSynchronize());
}

/// CUDA_MEMCPY3D_PEER.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Side {
    x: usize,
    y: usize,
    z: usize,
    level: usize,
    kind: u32,
    host: u64,
    device: u64,
    array: u64,
    context: u64,
    pitch: usize,
    height: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Boxed {
    from: Side,
    to: Side,
    size: [usize; 3],
}

/// CUDA_ARRAY_DESCRIPTOR: 64 by 64 words.
#[repr(C)]
struct Array {
    width: usize,
    height: usize,
    format: u32,
    channels: u32,
}

/// Copies of boxes, between linear memory and arrays of both devices.
pub fn boxes(pair: &Pair) {
    /// CU_MEMORYTYPE_DEVICE and _ARRAY.
    const DEVICE: u32 = 2;
    const ARRAY: u32 = 3;
    const SIDE: usize = 64;
    let cuda = &pair.cuda;
    let linear = |context: u64, device: u64| Side {
        kind: DEVICE,
        device,
        context,
        pitch: SIDE * 4,
        height: SIDE,
        ..Side::default()
    };
    let array = |context: u64, array: u64| Side { kind: ARRAY, array, context, ..Side::default() };
    let size = [SIDE * 4, SIDE, 1];
    let memory = [pair.words(0, SIDE * SIDE, 2), pair.words(1, SIDE * SIDE, 0)];
    let mut arrays = [0u64; 2];
    for (device, array) in arrays.iter_mut().enumerate() {
        pair.on(device);
        let what = Array { width: SIDE, height: SIDE, format: 3, channels: 1 };
        tell!(cuda, "", cuArrayCreate_v2(array, &what));
    }
    pair.on(0);
    let [one, two] = pair.contexts;
    let copies = [
        ("linear to linear", linear(one, memory[0]), linear(two, memory[1])),
        ("linear to the other's array", linear(one, memory[0]), array(two, arrays[1])),
        ("array to the other's array", array(two, arrays[1]), array(one, arrays[0])),
        ("array to the other's linear", array(one, arrays[0]), linear(two, memory[1])),
    ];
    for (number, (what, from, to)) in copies.into_iter().enumerate() {
        cu!(cuda, cuMemsetD32_v2(memory[0], 100 + number as u32, SIDE * SIDE));
        if number == 3 {
            cu!(cuda, cuMemsetD32_v2(memory[1], 0, SIDE * SIDE));
        }
        pair.wait();
        let boxed = Boxed { from, to, size };
        let status = if number % 2 == 0 {
            tell!(cuda, what, cuMemcpy3DPeer(&boxed))
        } else {
            tell!(cuda, what, cuMemcpy3DPeerAsync(&boxed, 0u64))
        };
        pair.wait();
        if status == 0 {
            pair.sum("linear memory of the other", memory[1], SIDE * SIDE);
        }
    }
}
