//! Instances of graphs: what they are made of, the local memory of their kernels, and what they allocate when they are launched.
//!
//! A driver takes the local memory when a graph is instantiated, and again when it is launched where a stack's limit was set
//! meanwhile ([`super::local`]). Of the kernels in a graph it is not looked up how much they need: it counts as if the one of
//! all that needs most were in it. What a graph allocates it has while it runs, and keeps it for its next launch. Graphs that
//! do neither cost nothing here when they are launched.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use super::measured::{PIECE, pieces};
use super::{Counted, counted};
use crate::worker::MOST_DEVICES;

/// `CU_GRAPH_NODE_TYPE_GRAPH` and `…_MEM_ALLOC`.
const CHILD: u32 = 4;
const ALLOCATES: u32 = 10;
/// Word of `CUDA_MEM_ALLOC_NODE_PARAMS` that has the bytes, and words of it all.
const BYTES_WORD: usize = 13;
const PARAMS_WORDS: usize = 15;
/// Graphs in graphs that are looked into.
const DEPTH: u32 = 16;
/// `CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT` and `…_RESERVED_MEM_CURRENT`.
const USED: u32 = 0;
const RESERVED: u32 = 2;

/// A launch may take memory.
static WATCHED: AtomicBool = AtomicBool::new(false);

pub(super) fn watch() {
    WATCHED.store(true, Ordering::Relaxed);
}

impl Counted {
    /// Bytes that a graph allocates when it runs.
    fn allocated_by(&self, graph: *mut c_void, depth: u32) -> u64 {
        let mut count = 0usize;
        if depth == 0 || host!(cuGraphGetNodes(graph, std::ptr::null_mut(), &raw mut count)) != 0 {
            return 0;
        }
        let mut nodes = vec![std::ptr::null_mut(); count];
        if host!(cuGraphGetNodes(graph, nodes.as_mut_ptr(), &raw mut count)) != 0 {
            return 0;
        }
        nodes.into_iter().fold(0u64, |sum, node| sum.saturating_add(self.allocated_in(node, depth)))
    }

    fn allocated_in(&self, node: *mut c_void, depth: u32) -> u64 {
        let mut kind = 0;
        host!(cuGraphNodeGetType(node, &raw mut kind));
        match kind {
            ALLOCATES => {
                let mut words = [0u64; PARAMS_WORDS];
                host!(cuGraphMemAllocNodeGetParams(node, words.as_mut_ptr().cast()));
                words[BYTES_WORD]
            }
            CHILD => {
                let mut child = std::ptr::null_mut();
                host!(cuGraphChildGraphNodeGetGraph(node, &raw mut child));
                if child.is_null() { 0 } else { self.allocated_by(child, depth - 1) }
            }
            _ => 0,
        }
    }

    /// Makes an instance by `make`, which gives it too.
    fn instantiate(&self, graph: *mut c_void, make: impl FnOnce() -> i32, made: impl FnOnce() -> *mut c_void) -> i32 {
        if self.account.limit().is_none() {
            return make();
        }
        let status = match self.local_of_any() {
            0 => self.make_kept(make),
            local => self.at_most(local.saturating_add(PIECE), make),
        };
        if status == 0 && self.measured.is_some() {
            let bytes = self.allocated_by(graph, DEPTH);
            if bytes != 0 {
                watch();
                self.lock().instances.insert(made().addr(), bytes);
            }
        }
        status
    }

    /// Bytes that a launch takes at most.
    fn launch_at_most(&self, instance: *mut c_void) -> u64 {
        let Some(bytes) = self.lock().instances.get(&instance.addr()).copied() else { return self.local_of_any() };
        // Of what graphs keep, so much is free.
        let of = |device, attribute| {
            let mut value = 0u64;
            (host!(cuDeviceGetGraphMemAttribute(device, attribute, (&raw mut value).cast())) == 0).then_some(value)
        };
        let kept =
            (0..MOST_DEVICES as i32).map_while(|device| Some(of(device, RESERVED)?.saturating_sub(of(device, USED)?)));
        pieces(bytes.saturating_sub(kept.sum())).saturating_add(self.local_of_any())
    }

    fn launch_instance(&self, instance: *mut c_void, launch: impl FnOnce() -> i32) -> i32 {
        if !WATCHED.load(Ordering::Relaxed) || self.measured.is_none() {
            return launch();
        }
        self.at_most(self.launch_at_most(instance), launch)
    }
}

pub(super) unsafe extern "C" fn make(made: *mut *mut c_void, graph: *mut c_void, params: *mut c_void) -> i32 {
    let make = || host!(cuGraphInstantiateWithParams(made, graph, params));
    counted().instantiate(graph, make, || super::written(made))
}

pub(super) unsafe extern "C" fn make_with_flags(made: *mut *mut c_void, graph: *mut c_void, flags: u64) -> i32 {
    let make = || host!(cuGraphInstantiateWithFlags(made, graph, flags));
    counted().instantiate(graph, make, || super::written(made))
}

pub(super) unsafe extern "C" fn update(instance: *mut c_void, graph: *mut c_void, info: *mut c_void) -> i32 {
    let counted = counted();
    counted.at_most(counted.local_of_any(), || host!(cuGraphExecUpdate_v2(instance, graph, info)))
}

pub(super) unsafe extern "C" fn change(instance: *mut c_void, node: *mut c_void, params: *mut c_void) -> i32 {
    let counted = counted();
    counted.at_most(counted.local_of_any(), || host!(cuGraphExecNodeSetParams(instance, node, params)))
}

pub(super) unsafe extern "C" fn launch(instance: *mut c_void, stream: *mut c_void) -> i32 {
    counted().launch_instance(instance, || host!(cuGraphLaunch(instance, stream)))
}

pub(super) unsafe extern "C" fn upload(instance: *mut c_void, stream: *mut c_void) -> i32 {
    counted().launch_instance(instance, || host!(cuGraphUpload(instance, stream)))
}

pub(super) unsafe extern "C" fn end(instance: *mut c_void) -> i32 {
    let status = host!(cuGraphExecDestroy(instance));
    if status == 0 && WATCHED.load(Ordering::Relaxed) {
        counted().lock().instances.remove(&instance.addr());
    }
    status
}
