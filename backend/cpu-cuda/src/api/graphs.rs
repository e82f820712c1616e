//! Graph management: graphs, their order, instantiation and launch, user objects.

use std::io::Write as _;

use crate::capture;
use crate::executable::Executable;
use crate::export::cuda;
use crate::foreign::{In, Out, Text};
use crate::graph::{Graph, GraphNode, Node};
use crate::handle::Handle;
use crate::op::{HostFunction, Op};
use crate::status::{Answer, Status};
use crate::stream::{self, Stream};
use crate::types::{EdgeData, InstantiateParams, UpdateResult};
use crate::user_object::{self, UserObject};
use crate::work::lock;

type NodeHandle = Handle<GraphNode>;

/// Most handles in a list that a program gives.
const MOST_LISTED: u64 = 1 << 20;
/// CU_GRAPH_INSTANTIATE_ERROR.
const INSTANTIATE_ERROR: u32 = 1;
/// CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED.
const UPDATE_TOPOLOGY: u32 = 2;

/// A list of node handles.
pub fn list(nodes: In<NodeHandle>, count: u64) -> Answer<Vec<NodeHandle>> {
    if count > MOST_LISTED {
        return Err(Status::INVALID_VALUE);
    }
    nodes.read_all(count as usize)
}

/// Writes a list as these calls do: with no array the count alone; else as many as fit, the rest null.
fn give(all: &[NodeHandle], nodes: Out<NodeHandle>, count: Out<u64>) -> Answer {
    let room = count.read()?;
    if nodes.wanted() {
        for at in 0..usize::try_from(room.min(MOST_LISTED)).map_err(|_| Status::INVALID_VALUE)? {
            nodes.set_at(at, all.get(at).copied().unwrap_or_default())?;
        }
        return count.set(room.min(all.len() as u64));
    }
    count.set(all.len() as u64)
}

fn edges(
    graph: Handle<Graph>,
    from: Out<NodeHandle>,
    to: Out<NodeHandle>,
    data: Out<EdgeData>,
    count: Out<u64>,
) -> Answer {
    let graph = graph.get()?;
    let nodes = lock(&graph.nodes);
    let before =
        |node: &Node| node.after.iter().filter_map(|id| nodes.all.get(id)).map(|node| node.handle).collect::<Vec<_>>();
    let all: Vec<_> =
        nodes.all.values().flat_map(|node| before(node).into_iter().map(|from| (from, node.handle))).collect();
    let room = count.read()?;
    if from.wanted() && to.wanted() {
        for (at, (source, target)) in all.iter().take(room as usize).enumerate() {
            from.set_at(at, *source)?;
            to.set_at(at, *target)?;
            if data.wanted() {
                data.set_at(at, EdgeData::default())?;
            }
        }
        return count.set(room.min(all.len() as u64));
    }
    count.set(all.len() as u64)
}

fn dependencies(node: NodeHandle, nodes: Out<NodeHandle>, count: Out<u64>) -> Answer {
    let (graph, node) = node.get()?.find()?;
    let all = lock(&graph.nodes);
    let before: Vec<_> = node.after.iter().filter_map(|id| all.all.get(id)).map(|node| node.handle).collect();
    give(&before, nodes, count)
}

fn dependents(node: NodeHandle, nodes: Out<NodeHandle>, count: Out<u64>) -> Answer {
    let id = node.get()?.id;
    let (graph, _) = node.get()?.find()?;
    let all = lock(&graph.nodes);
    let behind: Vec<_> = all.all.values().filter(|node| node.after.contains(&id)).map(|node| node.handle).collect();
    give(&behind, nodes, count)
}

fn change_order(graph: Handle<Graph>, from: In<NodeHandle>, to: In<NodeHandle>, count: u64, add: bool) -> Answer {
    let graph = graph.get()?;
    let (from, to) = (list(from, count)?, list(to, count)?);
    let id = |handle: &NodeHandle| Ok::<u64, Status>(graph.ids(&[*handle])?.first().copied().unwrap_or(0));
    let pairs = from.iter().zip(&to).map(|(from, to)| Ok((id(from)?, id(to)?))).collect::<Answer<Vec<_>>>()?;
    for (from, to) in &pairs {
        // An edge that closes a circle, or one that is there (or not there) already.
        let cyclic = from == to || (add && graph.all_before(&[*to], &[*from]));
        let there = lock(&graph.nodes).all.get(to).is_some_and(|node| node.after.contains(from));
        if cyclic || there == add {
            return Err(Status::INVALID_VALUE);
        }
        if let Some(node) = lock(&graph.nodes).all.get_mut(to) {
            if add { node.after.push(*from) } else { node.after.retain(|id| id != from) }
        }
    }
    Ok(())
}

fn instantiate(out: Out<Handle<Executable>>, graph: Handle<Graph>, flags: u64) -> Answer {
    out.check()?;
    crate::context::fault()?;
    capture::permit()?;
    // Launching from the device is the one flag that changes what must work.
    if flags & 4 != 0 {
        return Err(Status::NOT_SUPPORTED);
    }
    out.set(Executable::create(&*graph.get()?, flags)?)
}

fn update(executable: Handle<Executable>, graph: Handle<Graph>) -> Answer<Result<(), NodeHandle>> {
    Ok(executable.get()?.update(&*graph.get()?))
}

cuda! {
    fn cuGraphCreate(out: Out<Handle<Graph>>, flags: u32) {
        out.check()?;
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        out.set(Graph::create()?.handle)
    }

    fn cuGraphDestroy(graph: Handle<Graph>) {
        Graph::destroy(graph)
    }

    fn cuGraphClone(out: Out<Handle<Graph>>, graph: Handle<Graph>) {
        out.check()?;
        out.set(graph.get()?.copy()?.handle)
    }

    fn cuGraphNodeFindInClone(out: Out<NodeHandle>, original: NodeHandle, clone: Handle<Graph>) {
        let clone = clone.get()?;
        let nodes = lock(&clone.nodes);
        let found = nodes.all.values().find(|node| node.original == original).ok_or(Status::INVALID_VALUE)?;
        out.set(found.handle)
    }

    fn cuGraphGetNodes(graph: Handle<Graph>, nodes: Out<NodeHandle>, count: Out<u64>) {
        let graph = graph.get()?;
        let all: Vec<_> = lock(&graph.nodes).all.values().map(|node| node.handle).collect();
        give(&all, nodes, count)
    }

    fn cuGraphGetRootNodes(graph: Handle<Graph>, nodes: Out<NodeHandle>, count: Out<u64>) {
        let graph = graph.get()?;
        let roots = lock(&graph.nodes);
        let roots: Vec<_> = roots.all.values().filter(|node| node.after.is_empty()).map(|node| node.handle).collect();
        give(&roots, nodes, count)
    }

    fn cuGraphGetEdges(graph: Handle<Graph>, from: Out<NodeHandle>, to: Out<NodeHandle>, count: Out<u64>) {
        edges(graph, from, to, Out(std::ptr::null_mut()), count)
    }

    fn cuGraphGetEdges_v2(
        graph: Handle<Graph>, from: Out<NodeHandle>, to: Out<NodeHandle>, data: Out<EdgeData>, count: Out<u64>,
    ) {
        edges(graph, from, to, data, count)
    }

    fn cuGraphNodeGetDependencies(node: NodeHandle, nodes: Out<NodeHandle>, count: Out<u64>) {
        dependencies(node, nodes, count)
    }

    fn cuGraphNodeGetDependencies_v2(node: NodeHandle, nodes: Out<NodeHandle>, _data: Out<EdgeData>, count: Out<u64>) {
        dependencies(node, nodes, count)
    }

    fn cuGraphNodeGetDependentNodes(node: NodeHandle, nodes: Out<NodeHandle>, count: Out<u64>) {
        dependents(node, nodes, count)
    }

    fn cuGraphNodeGetDependentNodes_v2(node: NodeHandle, nodes: Out<NodeHandle>, _data: Out<EdgeData>, count: Out<u64>) {
        dependents(node, nodes, count)
    }

    fn cuGraphAddDependencies(graph: Handle<Graph>, from: In<NodeHandle>, to: In<NodeHandle>, count: u64) {
        change_order(graph, from, to, count, true)
    }

    fn cuGraphAddDependencies_v2(
        graph: Handle<Graph>, from: In<NodeHandle>, to: In<NodeHandle>, _data: In<EdgeData>, count: u64,
    ) {
        change_order(graph, from, to, count, true)
    }

    fn cuGraphRemoveDependencies(graph: Handle<Graph>, from: In<NodeHandle>, to: In<NodeHandle>, count: u64) {
        change_order(graph, from, to, count, false)
    }

    fn cuGraphRemoveDependencies_v2(
        graph: Handle<Graph>, from: In<NodeHandle>, to: In<NodeHandle>, _data: In<EdgeData>, count: u64,
    ) {
        change_order(graph, from, to, count, false)
    }

    fn cuGraphDestroyNode(node: NodeHandle) {
        let node = node.get()?;
        let (graph, _) = node.find()?;
        graph.remove(node.id)
    }

    fn cuGraphInstantiate(out: Out<Handle<Executable>>, graph: Handle<Graph>, _error: Out<NodeHandle>, _log: u64, _size: u64) {
        instantiate(out, graph, 0)
    }

    fn cuGraphInstantiate_v2(out: Out<Handle<Executable>>, graph: Handle<Graph>, _error: Out<NodeHandle>, _log: u64, _size: u64) {
        instantiate(out, graph, 0)
    }

    fn cuGraphInstantiateWithFlags(out: Out<Handle<Executable>>, graph: Handle<Graph>, flags: u64) {
        instantiate(out, graph, flags)
    }

    fn cuGraphInstantiateWithParams | cuGraphInstantiateWithParams_ptsz (
        out: Out<Handle<Executable>>, graph: Handle<Graph>, params: Out<InstantiateParams>,
    ) {
        let mut all = params.read()?;
        let answer = instantiate(out, graph, all.flags);
        (all.result, all.error_node) = (if answer.is_ok() { 0 } else { INSTANTIATE_ERROR }, 0);
        params.set(all)?;
        answer
    }

    fn cuGraphExecGetFlags(executable: Handle<Executable>, flags: Out<u64>) {
        flags.set(executable.get()?.flags)
    }

    fn cuGraphUpload | cuGraphUpload_ptsz (executable: Handle<Executable>, stream: Handle<Stream>) {
        executable.get()?;
        stream::resolve(stream)?.submit(Op::Empty)
    }

    fn cuGraphLaunch | cuGraphLaunch_ptsz (executable: Handle<Executable>, stream: Handle<Stream>) {
        if executable.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        let executable = executable.get()?;
        stream::resolve(stream)?.submit(Op::Graph(executable))
    }

    fn cuGraphExecDestroy(executable: Handle<Executable>) {
        capture::permit()?;
        Executable::destroy(executable)
    }

    fn cuGraphExecUpdate(executable: Handle<Executable>, graph: Handle<Graph>, node: Out<NodeHandle>, result: Out<u32>) {
        match update(executable, graph)? {
            Ok(()) => result.set(0),
            Err(different) => {
                node.set_if_wanted(different);
                result.set_if_wanted(UPDATE_TOPOLOGY);
                Err(Status::GRAPH_EXEC_UPDATE_FAILURE)
            }
        }
    }

    fn cuGraphExecUpdate_v2(executable: Handle<Executable>, graph: Handle<Graph>, info: Out<UpdateResult>) {
        info.check()?;
        match update(executable, graph)? {
            Ok(()) => info.set(UpdateResult::default()),
            Err(different) => {
                info.set(UpdateResult { result: UPDATE_TOPOLOGY, error_node: different.0, error_from: 0 })?;
                Err(Status::GRAPH_EXEC_UPDATE_FAILURE)
            }
        }
    }

    fn cuGraphDebugDotPrint(graph: Handle<Graph>, path: Text, _flags: u32) {
        let graph = graph.get()?;
        let mut text = String::from("digraph g {\n");
        for (id, node) in &lock(&graph.nodes).all {
            text.push_str(&format!("  n{id} [label=\"{id}: type {}\"];\n", node.payload.kind()));
            node.after.iter().for_each(|before| text.push_str(&format!("  n{before} -> n{id};\n")));
        }
        text.push_str("}\n");
        let mut file = std::fs::File::create(path.read()?).map_err(|_| Status::OPERATING_SYSTEM)?;
        file.write_all(text.as_bytes()).map_err(|_| Status::OPERATING_SYSTEM)
    }

    fn cuUserObjectCreate(
        out: Out<Handle<UserObject>>, data: u64, destroy: Option<HostFunction>, count: u32, flags: u32,
    ) {
        out.check()?;
        let destroy = destroy.filter(|_| count > 0 && flags == 1).ok_or(Status::INVALID_VALUE)?;
        out.set(user_object::create(data, destroy, count)?)
    }

    fn cuUserObjectRetain(object: Handle<UserObject>, count: u32) {
        user_object::retain(object, count)
    }

    fn cuUserObjectRelease(object: Handle<UserObject>, count: u32) {
        user_object::release(object, count)
    }

    fn cuGraphRetainUserObject(graph: Handle<Graph>, object: Handle<UserObject>, count: u32, flags: u32) {
        let graph = graph.get()?;
        match flags {
            0 => user_object::retain(object, count)?,
            // The caller's references become the graph's.
            1 => drop(object.get()?),
            _ => return Err(Status::INVALID_VALUE),
        }
        *lock(&graph.objects).entry(object.0).or_default() += count;
        Ok(())
    }

    fn cuGraphReleaseUserObject(graph: Handle<Graph>, object: Handle<UserObject>, count: u32) {
        let graph = graph.get()?;
        let mut objects = lock(&graph.objects);
        let held = objects.get_mut(&object.0).filter(|held| **held >= count).ok_or(Status::INVALID_VALUE)?;
        *held -= count;
        drop(objects);
        user_object::release(object, count)
    }
}
