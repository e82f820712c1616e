//! Executable graphs: flat copies of graphs, ready to become work.
//!
//! Launching puts a marker at the end of the stream, the operations behind it by their order, and a marker behind those.
//! Launches of one executable follow each other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::conditional;
use crate::context::guarded;
use crate::graph::{Graph, GraphMemory, GraphNode, MOST_NODES, Payload};
use crate::handle::{Handle, Object, object};
use crate::op::Op;
use crate::status::{Answer, Status};
use crate::stream::Stream;
use crate::work::{self, Work, lock};

/// Most graphs inside one another.
const MOST_DEPTH: u32 = 32;

/// One operation of an executable.
#[derive(Clone)]
pub struct Item {
    /// The node it was made from.
    pub node: Handle<GraphNode>,
    /// That node's kind.
    pub kind: u32,
    /// What it does.
    pub op: Op,
    /// Items it follows, all earlier in the list.
    pub after: Vec<usize>,
    /// Whether it does anything.
    pub enabled: bool,
    /// Keeps memory of the graph.
    memory: Option<Arc<GraphMemory>>,
}

/// A graph ready to be launched.
pub struct Executable {
    /// Its own handle.
    pub handle: Handle<Executable>,
    /// CUgraphInstantiate_flags.
    pub flags: u64,
    /// Its operations.
    pub items: RwLock<Vec<Item>>,
    last: Mutex<Option<Arc<Work>>>,
    destroyed: AtomicBool,
}

object!(Executable, 15);

/// The operations of a graph in order; children are laid out between two markers of their own.
pub fn flatten(graph: &Graph, items: &mut Vec<Item>, entry: &[usize], depth: u32) -> Answer<Vec<usize>> {
    if depth > MOST_DEPTH {
        return Err(Status::INVALID_VALUE);
    }
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut followed: Vec<u64> = Vec::new();
    for (id, node) in graph.sorted()? {
        if items.len() >= MOST_NODES {
            return Err(Status::OUT_OF_MEMORY);
        }
        followed.extend(&node.after);
        let mut after: Vec<usize> = node.after.iter().filter_map(|id| places.get(id).copied()).collect();
        if after.is_empty() {
            after.extend(entry);
        }
        if let Payload::Child(child) = &node.payload {
            after = flatten(child, items, &after, depth + 1)?;
        }
        let memory = if let Payload::Alloc(_, memory) = &node.payload { Some(memory.clone()) } else { None };
        let op = match &node.payload {
            Payload::Conditional(inner) => Op::Conditional(Arc::new(inner.branches(depth + 1)?)),
            other => other.op(),
        };
        let kind = node.payload.kind();
        items.push(Item { node: node.handle, kind, op, after, enabled: true, memory });
        places.insert(id, items.len() - 1);
    }
    let ends: Vec<usize> = places.iter().filter(|(id, _)| !followed.contains(id)).map(|(_, place)| *place).collect();
    Ok(if ends.is_empty() { entry.to_vec() } else { ends })
}

/// The item of a node, in bodies of conditional nodes too.
fn find(items: &mut [Item], node: Handle<GraphNode>) -> Option<&mut Item> {
    let holds = |item: &Item| item.node == node || matches!(&item.op, Op::Conditional(inner) if inner.holds(node));
    let item = items.iter_mut().find(|item| holds(item))?;
    if item.node == node {
        return Some(item);
    }
    let Op::Conditional(inner) = &mut item.op else { return None };
    // A launch that is under way keeps what it began with.
    Arc::make_mut(inner).bodies.iter_mut().find_map(|body| find(body, node))
}

impl Executable {
    /// cuGraphInstantiate.
    pub fn create(graph: &Graph, flags: u64) -> Answer<Handle<Executable>> {
        let mut items = Vec::new();
        flatten(graph, &mut items, &[], 0)?;
        let make = |handle| Executable {
            handle,
            flags,
            items: RwLock::new(items),
            last: Mutex::new(None),
            destroyed: AtomicBool::new(false),
        };
        Ok(Executable::table().insert(make)?.0)
    }

    /// Changes the operation of the item that was made from `node`; `kind` must stay.
    pub fn set(&self, node: Handle<GraphNode>, payload: &Payload) -> Answer {
        let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
        let item = find(&mut items, node).ok_or(Status::INVALID_VALUE)?;
        if item.kind != payload.kind() || matches!(payload, Payload::Conditional(_)) {
            return Err(Status::INVALID_VALUE);
        }
        item.op = payload.op();
        Ok(())
    }

    /// Switches the item of a node off or on.
    pub fn enable(&self, node: Handle<GraphNode>, on: Option<bool>) -> Answer<bool> {
        let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
        let item = find(&mut items, node).filter(|item| item.kind <= 2).ok_or(Status::INVALID_VALUE)?;
        if let Some(on) = on {
            item.enabled = on;
        }
        Ok(item.enabled)
    }

    /// cuGraphExecUpdate: takes the operations of a graph of the same form; where it differs, its node.
    pub fn update(&self, graph: &Graph) -> Result<(), Handle<GraphNode>> {
        let mut fresh = Vec::new();
        flatten(graph, &mut fresh, &[], 0).map_err(|_| Handle::NULL)?;
        let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
        if fresh.len() != items.len() {
            return Err(fresh.get(items.len()).map_or(Handle::NULL, |item| item.node));
        }
        if let Some((_, new)) =
            items.iter().zip(&fresh).find(|(old, new)| old.kind != new.kind || old.after != new.after)
        {
            return Err(new.node);
        }
        for (old, new) in items.iter_mut().zip(fresh) {
            (old.op, old.memory) = (new.op, new.memory);
        }
        Ok(())
    }

    /// Puts the graph at the end of a stream; the work returned is its end and has to be let go.
    pub fn launch(self: &Arc<Self>, stream: &Stream) -> Answer<Arc<Work>> {
        if self.destroyed.load(Ordering::Acquire) {
            return Err(Status::INVALID_VALUE);
        }
        let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
        let mut last = lock(&self.last);
        let before: Vec<_> = last.take().into_iter().collect();
        let start = stream.context.append(stream, conditional::defaults(&items), &before);
        let mut made: Vec<Arc<Work>> = Vec::with_capacity(items.len());
        for item in items.iter() {
            let op = if item.enabled { item.op.clone() } else { Op::Empty };
            let external = if let Op::Wait(event) = &op { event.work() } else { None };
            let after = item.after.iter().filter_map(|place| made.get(*place)).chain(&external);
            let after = after.chain(item.after.is_empty().then_some(&start));
            made.push(match op {
                Op::Empty | Op::Wait(_) | Op::Graph(_) => Work::prepare(None, after),
                Op::Record(event) => {
                    let work = Work::prepare(None, after);
                    event.recorded(work.clone());
                    work
                }
                op => {
                    let context = stream.context.clone();
                    let run = guarded(stream.context.clone(), move || op.run(&context));
                    Work::prepare(Some(run), after)
                }
            });
        }
        let end = stream.context.append(stream, None, &made);
        *last = Some(end.clone());
        work::release(&start);
        made.iter().for_each(work::release);
        Ok(end)
    }

    /// cuGraphExecDestroy: launches that are under way go on.
    pub fn destroy(handle: Handle<Executable>) -> Answer {
        handle.take()?.destroyed.store(true, Ordering::Release);
        Ok(())
    }
}
