//! The numbers of graph nodes. The worker makes them, in the form of handles, when a node is first named to the guest: nodes come
//! to be by recording and by copying too, where nobody asks for a number.
//!
//! A number ends with its node, or with the graph that the node is in.

use std::collections::HashMap;
use std::ffi::c_void;

use wire::handle::{Handle, MAX_INDEX};

use super::generated::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY, kind};
use crate::worker::answer::Failure;

/// A node.
#[derive(Clone, Copy)]
struct Node {
    /// The library's node.
    object: usize,
    /// The graph that it is in.
    graph: Handle,
}

#[derive(Default)]
struct Slot {
    generation: u16,
    node: Option<Node>,
}

/// The nodes of a session that have numbers.
#[derive(Default)]
pub struct Nodes {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_object: HashMap<usize, Handle>,
    /// Graphs that lie in a node.
    inside: HashMap<Handle, Vec<Handle>>,
    /// Bodies of conditional nodes, which the library names once.
    bodies: HashMap<Handle, Vec<usize>>,
}

impl Nodes {
    /// The number of a node of `graph`; null for none.
    ///
    /// # Errors
    /// `CUDA_ERROR_OUT_OF_MEMORY` at [`MAX_INDEX`] nodes.
    pub fn number(&mut self, object: *mut c_void, graph: Handle) -> Result<Handle, Failure> {
        if object.is_null() {
            return Ok(Handle::NULL);
        }
        if let Some(known) = self.by_object.get(&object.addr()) {
            return Ok(*known);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < MAX_INDEX as usize => {
                self.slots.push(Slot::default());
                (self.slots.len() - 1) as u32
            }
            None => return Err(Failure::Status(CUDA_ERROR_OUT_OF_MEMORY)),
        };
        let slot = self.slots.get_mut(index as usize).ok_or(Failure::Status(CUDA_ERROR_OUT_OF_MEMORY))?;
        slot.generation = slot.generation.wrapping_add(1).max(1);
        slot.node = Some(Node { object: object.expose_provenance(), graph });
        let handle = Handle::new(kind::CUgraphNode.number, slot.generation, index);
        self.by_object.insert(object.addr(), handle);
        Ok(handle)
    }

    fn find(&self, handle: Handle) -> Result<Node, Failure> {
        let none = Failure::Status(CUDA_ERROR_INVALID_VALUE);
        if handle.kind() != Some(kind::CUgraphNode.number) {
            return Err(none);
        }
        let slot = self.slots.get(handle.index() as usize).filter(|slot| slot.generation == handle.generation());
        slot.and_then(|slot| slot.node).ok_or(none)
    }

    /// The library's node.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for a number of none.
    pub fn object(&self, handle: Handle) -> Result<*mut c_void, Failure> {
        self.find(handle).map(|node| std::ptr::with_exposed_provenance_mut(node.object))
    }

    /// The graph that a node is in.
    ///
    /// # Errors
    /// As [`Nodes::object`].
    pub fn graph(&self, handle: Handle) -> Result<Handle, Failure> {
        self.find(handle).map(|node| node.graph)
    }

    /// A graph with a number of the guest's lies in a node.
    pub fn add_inside(&mut self, node: Handle, graph: Handle) {
        self.inside.entry(node).or_default().push(graph);
    }

    /// The library's bodies of a conditional node.
    pub fn set_bodies(&mut self, node: Handle, bodies: Vec<usize>) {
        self.bodies.insert(node, bodies);
    }

    /// A body of a conditional node.
    pub fn body(&self, node: Handle, number: usize) -> Option<*mut c_void> {
        let body = self.bodies.get(&node)?.get(number)?;
        Some(std::ptr::with_exposed_provenance_mut(*body))
    }

    /// Ends the number of a node. Returns the graphs that lay in it.
    pub fn end(&mut self, handle: Handle) -> Vec<Handle> {
        if let Ok(node) = self.find(handle)
            && let Some(slot) = self.slots.get_mut(handle.index() as usize)
        {
            slot.node = None;
            self.by_object.remove(&node.object);
            self.free.push(handle.index());
        }
        self.bodies.remove(&handle);
        self.inside.remove(&handle).unwrap_or_default()
    }

    /// Ends the numbers of all nodes of these graphs. Returns the graphs that lay in those.
    pub fn end_in(&mut self, graphs: &[Handle]) -> Vec<Handle> {
        let is_in = |handle: &Handle| self.graph(*handle).is_ok_and(|graph| graphs.contains(&graph));
        let ended: Vec<Handle> = self.by_object.values().copied().filter(is_in).collect();
        ended.into_iter().flat_map(|handle| self.end(handle)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(number: usize) -> *mut c_void {
        std::ptr::without_provenance_mut(number)
    }

    #[test]
    fn number_when_a_node_is_named_again_then_is_the_same_until_it_ends() {
        let (mut nodes, graph) = (Nodes::default(), Handle::new(kind::CUgraph.number, 1, 0));
        let first = nodes.number(object(0x100), graph).expect("room");
        assert_eq!(nodes.number(object(0x100), graph), Ok(first));
        assert_eq!(nodes.object(first).map(|found| found.addr()), Ok(0x100));
        assert_eq!(nodes.number(object(0), graph), Ok(Handle::NULL));
        nodes.add_inside(first, Handle::new(kind::CUgraph.number, 1, 7));
        assert_eq!(nodes.end(first), [Handle::new(kind::CUgraph.number, 1, 7)]);
        assert!(nodes.object(first).is_err());
        let second = nodes.number(object(0x100), graph).expect("room");
        assert_ne!(second, first);
        for wild in [Handle::NULL, Handle(u64::MAX), Handle::new(kind::CUevent.number, 1, 0), first] {
            assert!(nodes.object(wild).is_err());
        }
    }

    #[test]
    fn end_in_when_a_graph_ends_then_its_nodes_end_alone() {
        let mut nodes = Nodes::default();
        let graphs = [0, 1].map(|index| Handle::new(kind::CUgraph.number, 1, index));
        let first = nodes.number(object(1), graphs[0]).expect("room");
        let second = nodes.number(object(2), graphs[1]).expect("room");
        nodes.end_in(&graphs[..1]);
        assert!(nodes.object(first).is_err() && nodes.object(second).is_ok());
    }
}
