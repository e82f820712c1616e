//! Graphs in graphs: copies of a graph in itself, graphs that would be moved into themselves, and deep ones.

use std::ptr::null;

use crate::{Bench, cu, tell};

/// `CU_GRAPH_NODE_TYPE_GRAPH`, and how the child is taken: as a copy, or itself.
const CHILD: u64 = 4;
const COPY: u64 = 0;
const MOVE: u64 = 1;
/// Levels of a deep graph.
const DEEP: usize = 40;

/// `CUgraphNodeParams` of a child: type, and in its union the graph and how it is taken.
fn params(graph: u64, how: u64) -> [u64; 32] {
    let mut params = [0u64; 32];
    params[0] = CHILD;
    params[2] = graph;
    params[3] = how;
    params
}

fn add(bench: &Bench, what: &str, to: u64, child: u64, how: u64) -> i32 {
    let (cuda, mut node) = (&bench.cuda, 0u64);
    let mut params = params(child, how);
    tell!(cuda, what, cuGraphAddNode(&mut node, to, null::<u64>(), 0usize, params.as_mut_ptr()))
}

fn graph(bench: &Bench) -> u64 {
    let (mut graph, mut node) = (0u64, 0u64);
    cu!(bench.cuda, cuGraphCreate(&mut graph, 0));
    cu!(bench.cuda, cuGraphAddEmptyNode(&mut node, graph, null::<u64>(), 0usize));
    graph
}

/// How many nodes a graph has, and whether it can be made ready and run.
fn runs(bench: &Bench, what: &str, graph: u64) {
    let (cuda, mut count, mut exec) = (&bench.cuda, 0usize, 0u64);
    cu!(cuda, cuGraphGetNodes(graph, null::<u64>(), &mut count));
    cuda.say(&format!("{what}, nodes"), count);
    if tell!(cuda, what, cuGraphInstantiateWithFlags(&mut exec, graph, 0u64)) == 0 {
        tell!(cuda, what, cuGraphLaunch(exec, 0u64));
        tell!(cuda, what, cuCtxSynchronize());
        cu!(cuda, cuGraphExecDestroy(exec));
    }
}

pub fn run(bench: &Bench) {
    let cuda = &bench.cuda;
    // Deep: each level is moved, or copied, into the next.
    for (what, how) in [("copied into the next", COPY), ("moved into the next", MOVE)] {
        let mut inner = graph(bench);
        let mut failed = 0;
        for _ in 0..DEEP {
            let (outer, mut node) = (graph(bench), 0u64);
            let mut params = params(inner, how);
            failed +=
                i32::from(cu!(cuda, cuGraphAddNode(&mut node, outer, null::<u64>(), 0usize, params.as_mut_ptr())) != 0);
            if how == COPY {
                cu!(cuda, cuGraphDestroy(inner));
            }
            inner = outer;
        }
        cuda.say(&format!("{what}, failed"), failed);
        runs(bench, what, inner);
        cu!(cuda, cuGraphDestroy(inner));
    }
    // What was moved belongs to its node.
    let (outer, inner) = (graph(bench), graph(bench));
    add(bench, "moved", outer, inner, MOVE);
    add(bench, "moved twice", outer, inner, MOVE);
    add(bench, "copied once it was moved", outer, inner, COPY);
    add(bench, "neither", outer, inner, 7);
    tell!(cuda, "once it was moved", cuGraphDestroy(inner));
    add(bench, "into what it holds", inner, outer, MOVE);
    tell!(cuda, "", cuGraphDestroy(outer));
}

/// A copy of itself, a few times: each would double it. The vendor's library ends its process with this. And itself in
/// itself, of which the vendor's library makes a graph that cannot be made ready.
pub fn themselves(bench: &Bench) {
    let itself = graph(bench);
    for _ in 0..3 {
        add(bench, "a copy of itself", itself, itself, COPY);
    }
    runs(bench, "with copies of itself", itself);
    cu!(bench.cuda, cuGraphDestroy(itself));
    let alone = graph(bench);
    add(bench, "into itself", alone, alone, MOVE);
    runs(bench, "after that", alone);
    tell!(bench.cuda, "", cuGraphDestroy(alone));
}
