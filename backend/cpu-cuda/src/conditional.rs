//! Conditional nodes: graphs inside a node that run if a number on the device says so, or as long as it does, or by it.
//!
//! The number is four bytes of device memory. The handle that a program gets for it is its address, which is where
//! `cudaGraphSetConditional` of `data/device_runtime.ptx` writes. A body runs on the thread that runs its node, one operation
//! after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::arena::Owner;
use crate::context::Context;
use crate::executable::{self, Item};
use crate::graph::{Graph, GraphMemory, GraphNode};
use crate::handle::Handle;
use crate::op::Op;
use crate::status::{Answer, Status};
use crate::work::{Operation, lock};

/// CUgraphConditionalNodeType.
const IF: u32 = 0;
const WHILE: u32 = 1;
const SWITCH: u32 = 2;
/// Most bodies of a node.
const MOST_BODIES: u32 = 1 << 16;
/// Kinds of nodes that may be in a body: kernels, copies, fills, graphs, empty and conditional ones.
const IN_BODIES: [u32; 6] = [0, 1, 2, 4, 5, 13];

/// The number that one conditional node looks at.
pub struct Condition {
    memory: Arc<GraphMemory>,
    /// What a launch of the graph begins with.
    default: Option<u32>,
    taken: AtomicBool,
}

impl Condition {
    /// cuGraphConditionalHandleCreate: the handle.
    pub fn create(graph: &Graph, owner: Owner, default: Option<u32>) -> Answer<u64> {
        let memory = GraphMemory::create(size_of::<u32>() as u64, owner)?;
        let handle = memory.0;
        let condition = Condition { memory, default, taken: AtomicBool::new(false) };
        condition.number().store(0, Ordering::Relaxed);
        lock(&graph.conditions).insert(handle, Arc::new(condition));
        Ok(handle)
    }

    fn number(&self) -> &AtomicU32 {
        // SAFETY: aligned device memory, which stays mapped.
        unsafe { AtomicU32::from_ptr(self.memory.0 as *mut u32) }
    }
}

/// A conditional node.
pub struct Conditional {
    condition: Arc<Condition>,
    kind: u32,
    /// Its graphs, which the program fills.
    pub bodies: Vec<Arc<Graph>>,
    /// Their handles, where the program may read them.
    pub handles: Box<[Handle<Graph>]>,
}

impl Conditional {
    /// A node with empty bodies. A handle belongs to one graph, and to one node.
    pub fn create(graph: &Graph, handle: u64, kind: u32, size: u32) -> Answer<Conditional> {
        let fits = match kind {
            IF => (1..=2).contains(&size),
            WHILE => size == 1,
            SWITCH => (1..=MOST_BODIES).contains(&size),
            _ => false,
        };
        let condition = lock(&graph.conditions).get(&handle).cloned().filter(|_| fits).ok_or(Status::INVALID_VALUE)?;
        if condition.taken.swap(true, Ordering::Relaxed) {
            return Err(Status::INVALID_VALUE);
        }
        let bodies = (0..size).map(|_| Graph::create()).collect::<Answer<Vec<_>>>()?;
        let handles = bodies.iter().map(|body| body.handle).collect();
        Ok(Conditional { condition, kind, bodies, handles })
    }

    /// What a launch does for it.
    pub fn branches(&self, depth: u32) -> Answer<Branches> {
        let mut bodies = Vec::new();
        for body in &self.bodies {
            let mut items = Vec::new();
            executable::flatten(body, &mut items, &[], depth)?;
            if items.iter().any(|item| !IN_BODIES.contains(&item.kind)) {
                return Err(Status::NOT_SUPPORTED);
            }
            bodies.push(items);
        }
        Ok(Branches { condition: self.condition.clone(), kind: self.kind, bodies })
    }
}

/// A conditional node of an executable graph.
#[derive(Clone)]
pub struct Branches {
    condition: Arc<Condition>,
    kind: u32,
    /// The operations of each body, in order.
    pub bodies: Vec<Vec<Item>>,
}

impl Branches {
    /// Whether the item of a node is in a body.
    pub fn holds(&self, node: Handle<GraphNode>) -> bool {
        let inside = |item: &Item| item.node == node || matches!(&item.op, Op::Conditional(inner) if inner.holds(node));
        self.bodies.iter().flatten().any(inside)
    }

    /// Runs what the number chooses, on the calling thread.
    pub fn run(&self, context: &Arc<Context>) -> Answer {
        loop {
            // Acquire: what the kernel did before it wrote the number is there.
            let number = self.condition.number().load(Ordering::Acquire);
            let chosen = match self.kind {
                IF => usize::from(number == 0),
                WHILE if number == 0 => return Ok(()),
                WHILE => 0,
                _ => number as usize,
            };
            for item in self.bodies.get(chosen).into_iter().flatten().filter(|item| item.enabled) {
                item.op.run(context)?;
            }
            if self.kind != WHILE {
                return Ok(());
            }
            if context.cancel.load(Ordering::Relaxed) || !context.is_alive() {
                return Err(Status::LAUNCH_FAILED);
            }
        }
    }

    /// The numbers that have a value to begin with, bodies' own included.
    fn defaults(&self, all: &mut Vec<Arc<Condition>>) {
        if self.condition.default.is_some() {
            all.push(self.condition.clone());
        }
        collect(self.bodies.iter().flatten(), all);
    }
}

fn collect<'i>(items: impl Iterator<Item = &'i Item>, all: &mut Vec<Arc<Condition>>) {
    for item in items {
        if let Op::Conditional(inner) = &item.op {
            inner.defaults(all);
        }
    }
}

/// What gives the numbers of these items their values when a launch begins; nothing if there are none.
pub fn defaults(items: &[Item]) -> Option<Operation> {
    let mut all = Vec::new();
    collect(items.iter(), &mut all);
    if all.is_empty() {
        return None;
    }
    Some(Box::new(move || {
        for condition in all {
            condition.number().store(condition.default.unwrap_or(0), Ordering::Release);
        }
    }))
}
