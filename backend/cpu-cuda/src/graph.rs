//! Graphs: operations with an order, built by calls or by capturing streams. What can be launched is made of them in
//! [`executable`](crate::executable).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};

use crate::arena::{Kind, Owner};
use crate::conditional::{Condition, Conditional};
use crate::driver;
use crate::event::Event;
use crate::handle::{Handle, Object, object};
use crate::launch::KernelCall;
use crate::op::{Copy, Fill, HostFunction, Op};
use crate::status::{Answer, Status};
use crate::types::{AllocNode, MemOp, Memcpy3D, MemsetNode};
use crate::work::lock;

/// Most nodes of a graph; of an executable, children included.
pub const MOST_NODES: usize = 1 << 20;

/// What a node does, with what the program gave for it.
#[derive(Clone)]
pub enum Payload {
    /// Nothing.
    Empty,
    /// A kernel.
    Kernel(Arc<KernelCall>),
    /// A copy.
    Memcpy(Memcpy3D, Copy),
    /// A fill.
    Memset(MemsetNode, Fill),
    /// A host function.
    Host(HostFunction, u64),
    /// A graph.
    Child(Arc<Graph>),
    /// Waits for an event.
    Wait(Arc<Event>),
    /// Records an event.
    Record(Arc<Event>),
    /// Has memory, for as long as the graph lives.
    Alloc(AllocNode, Arc<GraphMemory>),
    /// Gives that memory back.
    Free(u64),
    /// Writes of and waits for values: as the program gave them, and to be done.
    Values(Arc<[MemOp]>, Arc<[Op]>),
    /// Graphs of which a number on the device chooses.
    Conditional(Arc<Conditional>),
    /// Something that only capturing makes.
    Other(Op),
}

impl Payload {
    /// CUgraphNodeType.
    pub fn kind(&self) -> u32 {
        match self {
            Payload::Kernel(_) => 0,
            Payload::Memcpy(..) => 1,
            Payload::Memset(..) => 2,
            Payload::Host(..) => 3,
            Payload::Child(_) => 4,
            Payload::Empty => 5,
            Payload::Wait(_) => 6,
            Payload::Record(_) => 7,
            Payload::Alloc(..) => 10,
            Payload::Free(_) => 11,
            Payload::Values(..) | Payload::Other(Op::Write(..) | Op::WaitValue(_)) => 12,
            Payload::Conditional(_) => 13,
            Payload::Other(_) => 1,
        }
    }

    /// What a launch does for it; graphs inside have operations of their own.
    pub fn op(&self) -> Op {
        match self {
            Payload::Kernel(call) => Op::Kernel(call.clone()),
            Payload::Memcpy(_, copy) => Op::Copy(copy.clone()),
            Payload::Memset(_, fill) => Op::Fill(*fill),
            Payload::Host(function, data) => Op::Host(*function, *data),
            Payload::Wait(event) => Op::Wait(event.clone()),
            Payload::Record(event) => Op::Record(event.clone()),
            Payload::Values(_, ops) => Op::Values(ops.clone()),
            Payload::Other(op) => op.clone(),
            // A free inside a graph keeps the memory for the next launch.
            Payload::Empty | Payload::Child(_) | Payload::Conditional(_) | Payload::Alloc(..) | Payload::Free(_) => {
                Op::Empty
            }
        }
    }

    /// Ends the graphs that are only in this node.
    fn end(&self) {
        let inner: &[Arc<Graph>] = match self {
            Payload::Child(child) => std::slice::from_ref(child),
            Payload::Conditional(node) => &node.bodies,
            _ => &[],
        };
        for graph in inner {
            // The program may have destroyed it itself.
            let _ = Graph::destroy(graph.handle);
        }
    }
}

/// Memory that belongs to a graph and what was made of it.
pub struct GraphMemory(pub u64);

impl GraphMemory {
    /// Allocates it.
    pub fn create(bytes: u64, owner: Owner) -> Answer<Arc<GraphMemory>> {
        if bytes == 0 {
            return Err(Status::INVALID_VALUE);
        }
        Ok(Arc::new(GraphMemory(driver::arena()?.allocate(bytes, Kind::Device, owner)?)))
    }
}

impl Drop for GraphMemory {
    fn drop(&mut self) {
        if let Ok(arena) = driver::arena() {
            // The program may have freed it itself.
            let _ = arena.free(self.0, |_| true);
        }
    }
}

/// One node of a graph.
#[derive(Clone)]
pub struct Node {
    /// Its handle.
    pub handle: Handle<GraphNode>,
    /// What it does.
    pub payload: Payload,
    /// The nodes it follows.
    pub after: Vec<u64>,
    /// The node it was cloned from.
    pub original: Handle<GraphNode>,
}

/// The nodes of a graph, by number; a node's number is higher than those it was made after.
#[derive(Default)]
pub struct Nodes {
    /// Every node.
    pub all: BTreeMap<u64, Node>,
    next: u64,
}

/// A graph.
pub struct Graph {
    /// Its own handle; null for a child graph's copy until one is asked for.
    pub handle: Handle<Graph>,
    /// Its nodes.
    pub nodes: Mutex<Nodes>,
    /// Objects that live as long as it: handle and count.
    pub objects: Mutex<HashMap<u64, u32>>,
    /// The numbers that its conditional nodes look at, by handle.
    pub conditions: Mutex<HashMap<u64, Arc<Condition>>>,
}

object!(Graph, 13, INVALID_VALUE);

/// What a CUgraphNode names.
pub struct GraphNode {
    /// Its graph.
    pub graph: Weak<Graph>,
    /// Its number there.
    pub id: u64,
}

object!(GraphNode, 14, INVALID_VALUE);

impl GraphNode {
    /// The graph, and the node as it is now.
    pub fn find(&self) -> Answer<(Arc<Graph>, Node)> {
        let graph = self.graph.upgrade().ok_or(Status::INVALID_VALUE)?;
        let node = lock(&graph.nodes).all.get(&self.id).cloned().ok_or(Status::INVALID_VALUE)?;
        Ok((graph, node))
    }
}

impl Graph {
    /// An empty graph.
    pub fn create() -> Answer<Arc<Graph>> {
        let make =
            |handle| Graph { handle, nodes: Mutex::default(), objects: Mutex::default(), conditions: Mutex::default() };
        Ok(Graph::table().insert(make)?.1)
    }

    /// Adds a node behind others of this graph.
    pub fn add(self: &Arc<Self>, payload: Payload, after: Vec<u64>) -> Answer<(u64, Handle<GraphNode>)> {
        self.add_copy_of(Handle::NULL, payload, after)
    }

    fn add_copy_of(
        self: &Arc<Self>,
        original: Handle<GraphNode>,
        payload: Payload,
        after: Vec<u64>,
    ) -> Answer<(u64, Handle<GraphNode>)> {
        let mut nodes = lock(&self.nodes);
        if nodes.all.len() >= MOST_NODES || after.iter().any(|id| !nodes.all.contains_key(id)) {
            return Err(Status::INVALID_VALUE);
        }
        let id = nodes.next;
        let graph = Arc::downgrade(self);
        let (handle, _) = GraphNode::table().insert(|_| GraphNode { graph, id })?;
        nodes.next += 1;
        nodes.all.insert(id, Node { handle, payload, after, original });
        Ok((id, handle))
    }

    /// The numbers of nodes of this graph, from their handles; one of another graph or named twice is refused.
    pub fn ids(self: &Arc<Self>, handles: &[Handle<GraphNode>]) -> Answer<Vec<u64>> {
        let mut ids = Vec::new();
        for handle in handles {
            let node = handle.get()?;
            if !node.graph.upgrade().is_some_and(|graph| Arc::ptr_eq(&graph, self)) || ids.contains(&node.id) {
                return Err(Status::INVALID_VALUE);
            }
            ids.push(node.id);
        }
        Ok(ids)
    }

    /// Changes a node's payload.
    pub fn set(&self, id: u64, payload: Payload) -> Answer {
        let mut nodes = lock(&self.nodes);
        let node = nodes.all.get_mut(&id).ok_or(Status::INVALID_VALUE)?;
        std::mem::replace(&mut node.payload, payload).end();
        Ok(())
    }

    /// Removes a node and the order it stood in.
    pub fn remove(&self, id: u64) -> Answer {
        let mut nodes = lock(&self.nodes);
        let gone = nodes.all.remove(&id).ok_or(Status::INVALID_VALUE)?;
        for node in nodes.all.values_mut() {
            node.after.retain(|other| *other != id);
        }
        gone.payload.end();
        let _ = gone.handle.take();
        Ok(())
    }

    /// A graph of its own with the same nodes.
    pub fn copy(&self) -> Answer<Arc<Graph>> {
        let copy = Graph::create()?;
        let nodes: Vec<(u64, Node)> = lock(&self.nodes).all.iter().map(|(id, node)| (*id, node.clone())).collect();
        let mut numbers = HashMap::new();
        for (id, node) in &nodes {
            let payload = match &node.payload {
                Payload::Child(child) => Payload::Child(child.copy()?),
                // CUDA Driver API, cuGraphClone and cuGraphAddChildGraphNode: not of graphs with these.
                Payload::Conditional(_) => return Err(Status::NOT_SUPPORTED),
                other => other.clone(),
            };
            let (new, _) = copy.add_copy_of(node.handle, payload, Vec::new())?;
            numbers.insert(*id, new);
        }
        for (id, node) in &nodes {
            let after = node.after.iter().filter_map(|id| numbers.get(id).copied()).collect();
            let mut all = lock(&copy.nodes);
            if let Some(copied) = numbers.get(id).and_then(|new| all.all.get_mut(new)) {
                copied.after = after;
            }
        }
        Ok(copy)
    }

    /// Whether each of `from` is, or is before, one of `to`.
    pub fn all_before(&self, from: &[u64], to: &[u64]) -> bool {
        let nodes = lock(&self.nodes);
        let mut seen: Vec<u64> = to.to_vec();
        let mut next = 0;
        while let Some(id) = seen.get(next).copied() {
            next += 1;
            let before = nodes.all.get(&id).map(|node| node.after.clone()).unwrap_or_default();
            for id in before {
                if !seen.contains(&id) {
                    seen.push(id);
                }
            }
        }
        from.iter().all(|id| seen.contains(id))
    }

    /// The node numbers in an order that respects theirs; refused if there is a cycle.
    pub fn sorted(&self) -> Answer<Vec<(u64, Node)>> {
        let nodes = lock(&self.nodes);
        let mut waiting: HashMap<u64, usize> = nodes.all.iter().map(|(id, node)| (*id, node.after.len())).collect();
        let mut followers: HashMap<u64, Vec<u64>> = HashMap::new();
        for (id, node) in &nodes.all {
            for before in &node.after {
                followers.entry(*before).or_default().push(*id);
            }
        }
        let mut order: Vec<u64> = nodes.all.iter().filter(|(_, n)| n.after.is_empty()).map(|(id, _)| *id).collect();
        let mut next = 0;
        while let Some(id) = order.get(next).copied() {
            next += 1;
            for follower in followers.get(&id).into_iter().flatten() {
                let left = waiting.entry(*follower).or_insert(1);
                *left -= 1;
                if *left == 0 {
                    order.push(*follower);
                }
            }
        }
        if order.len() != nodes.all.len() {
            return Err(Status::INVALID_VALUE);
        }
        Ok(order.iter().filter_map(|id| nodes.all.get(id).map(|node| (*id, node.clone()))).collect())
    }

    /// cuGraphDestroy.
    pub fn destroy(handle: Handle<Graph>) -> Answer {
        let graph = handle.take()?;
        let nodes: Vec<_> = lock(&graph.nodes).all.values().cloned().collect();
        for node in nodes {
            node.payload.end();
            let _ = node.handle.take();
        }
        for (object, count) in lock(&graph.objects).drain() {
            let _ = crate::user_object::release(Handle::from_raw(object), count);
        }
        Ok(())
    }
}
