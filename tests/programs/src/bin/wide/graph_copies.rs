//! Copies in graphs: device memory, page-locked and pageable memory.

use std::ptr::null;

use crate::{Bench, cu, tell};

/// One side of `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Side {
    pub x: usize,
    pub y: usize,
    pub z: usize,
    pub lod: usize,
    pub memory: u32,
    pub host: u64,
    pub device: u64,
    pub array: u64,
    pub reserved: u64,
    pub pitch: usize,
    pub height: usize,
}

/// `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Copy {
    pub source: Side,
    pub target: Side,
    pub width: usize,
    pub height: usize,
    pub depth: usize,
}

fn host(address: u64) -> Side {
    Side { memory: 1, host: address, ..Side::default() }
}

fn device(address: u64) -> Side {
    Side { memory: 2, device: address, ..Side::default() }
}

fn copy(source: Side, target: Side, width: usize) -> Copy {
    Copy { source, target, width, height: 1, depth: 1 }
}

pub fn run(bench: &Bench) {
    let cuda = &bench.cuda;
    let (words, other) = (bench.words(1024, 5), bench.words(1024, 6));
    let mut locked = 0u64;
    cu!(cuda, cuMemHostAlloc(&mut locked, 4096usize, 0));
    let from = vec![11u32; 1024];
    let to = vec![0u32; 1024];
    let (mut graph, mut nodes, mut exec) = (0u64, [0u64; 4], 0u64);
    cu!(cuda, cuGraphCreate(&mut graph, 0));
    let copies = [
        copy(host(from.as_ptr() as u64), device(words), 4096),
        copy(device(words), device(other), 4096),
        copy(device(other), host(locked), 4096),
        copy(host(locked), host(to.as_ptr() as u64), 4096),
    ];
    for (place, what) in
        ["pageable to device", "device to device", "device to page-locked", "host to host"].iter().enumerate()
    {
        let after = if place == 0 { null() } else { &raw const nodes[place - 1] };
        let mut node = 0u64;
        let count = usize::from(place != 0);
        tell!(cuda, what, cuGraphAddMemcpyNode(&mut node, graph, after, count, &copies[place], bench.context));
        nodes[place] = node;
    }
    let mut back = Copy::default();
    tell!(cuda, "", cuGraphMemcpyNodeGetParams(nodes[1], &mut back));
    cuda.say("as given", (back.source.device, back.target.device, back.width) == (words, other, 4096));
    tell!(cuda, "", cuGraphInstantiateWithFlags(&mut exec, graph, 0u64));
    tell!(cuda, "", cuGraphLaunch(exec, 0));
    tell!(cuda, "", cuStreamSynchronize(0));
    cuda.say("came back", to.iter().map(|word| u64::from(*word)).sum::<u64>());
    // The graph reads what is there when it runs.
    let address = from.as_ptr().cast_mut();
    // SAFETY: the vector's own memory, which nobody reads at the moment.
    unsafe { address.write(1_000_011) };
    tell!(cuda, "", cuGraphLaunch(exec, 0));
    tell!(cuda, "", cuStreamSynchronize(0));
    // SAFETY: the vector's memory, which the graph wrote.
    let first = unsafe { to.as_ptr().read_volatile() };
    cuda.say("first word", first);
    tell!(
        cuda,
        "",
        cuGraphExecMemcpyNodeSetParams(exec, nodes[1], &copy(device(words + 2048), device(other), 2048), bench.context)
    );
    tell!(cuda, "", cuGraphMemcpyNodeSetParams(nodes[1], &copy(device(words), device(other), 1024)));
    tell!(cuda, "", cuGraphLaunch(exec, 0));
    bench.sum("after a change", other, 1024);
    let mut node = 0u64;
    tell!(
        cuda,
        "a wild address",
        cuGraphAddMemcpyNode(
            &mut node,
            graph,
            null::<u64>(),
            0usize,
            &copy(device(8), device(other), 16),
            bench.context
        )
    );
    tell!(cuda, "null", cuGraphAddMemcpyNode(&mut node, graph, null::<u64>(), 0usize, null::<u64>(), bench.context));
    cu!(cuda, cuGraphExecDestroy(exec));
    cu!(cuda, cuGraphDestroy(graph));
    cu!(cuda, cuMemFreeHost(locked));
    cu!(cuda, cuMemFree_v2(words));
    cu!(cuda, cuMemFree_v2(other));
}
