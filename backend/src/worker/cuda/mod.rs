//! The CUDA part of the worker: every message of `spec/api/cuda.rs`, made on the host's `libcuda` or the CPU device.
//!
//! A call is followed in this order: [`Api::call`] hands the message to the printed dispatcher (`generated`), which decodes the
//! whole of it, asks [`Cuda`] for the objects that its handles stand for (`objects`), whether the device memory it names is the
//! guest's (`ranges`) and for its thread's context (`thread`), and calls the library. What is more than that stands by hand in
//! the file of its subject.
//!
//! What holds: a number from the guest is a handle that was checked, an address inside an allocation that this guest made, or a
//! value that the driver checks itself; nothing of the guest's is a length before it is compared with the bytes that are there.
//! With unified addressing the driver would take host addresses of this process for device addresses, so every address of a copy
//! or memset is looked up first. Addresses inside kernel parameters cannot be checked: kernels see the device memory of this
//! process, which is this guest's alone.

// Methods keep the names of the calls that they carry out, so that the printed dispatcher finds them.
#![allow(non_snake_case)]

mod any_copies;
mod arrays;
mod contexts;
mod copies;
mod copies_3d;
#[cfg(test)]
mod flip;
mod functions;
#[cfg(fuzzing)]
pub mod fuzz;
mod generated;
mod graph_nodes;
mod graphs;
mod green;
mod host_functions;
mod host_memory;
#[cfg(test)]
mod hostile;
mod image;
mod ipc;
mod launch;
mod link;
mod load;
mod memory;
mod modules;
mod nodes;
mod options;
mod pools;
mod quota;
mod ranges;
mod shareable;
mod sparse;
mod stage;
mod sticky;
mod streams;
mod thread;
mod user_objects;
#[cfg(test)]
mod values;

use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use wire::Malformed;
use wire::frame::{FrameHeader, NO_SLOT};
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Writer};

pub(super) use load::cpu_device;
pub use load::{Loaded, load};

use super::answer::{self, Failure, Missing};
use super::bytes::{Bytes, Input, Output};
use super::objects::{Kind, Objects, Owners};
use super::{Api, Patience, Reply, Session};
use crate::complaints::Complaints;
use functions::Layout;
use generated::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_OUT_OF_MEMORY, Library};
#[cfg(test)]
pub(super) use generated::{MAX_KIND, kind};
use host_functions::HostFunctions;
use nodes::Nodes;
use ranges::{Range, Ranges, Sort};
use sticky::is_sticky;

/// Kinds whose objects hold others.
pub(super) const HOLDERS: &[Kind] = &[
    generated::kind::CUcontext,
    generated::kind::CUmodule,
    generated::kind::CUlibrary,
    generated::kind::CUkernel,
    generated::kind::CUarray,
    generated::kind::CUmipmappedArray,
    generated::kind::CUgreenCtx,
];

/// The API of one session.
pub struct Cuda {
    library: Library,
    session: Arc<Session>,
    objects: Objects,
    ranges: RwLock<Ranges>,
    /// Layouts of parameters, by handle of the function or kernel.
    layouts: RwLock<HashMap<Handle, Arc<Layout>>>,
    links: Mutex<HashMap<usize, link::Link>>,
    host_functions: Arc<HostFunctions>,
    stages: stage::Stages,
    bytes: Bytes,
    /// The window's staging area is registered with the driver, or cannot be.
    has_registered_staging: AtomicBool,
    nodes: Mutex<Nodes>,
    /// Conditions of graphs: numbers that kernels know too.
    conditions: Mutex<HashSet<u64>>,
    /// References of the guest's to its user objects, by the library's object.
    user_objects: Mutex<HashMap<usize, u64>>,
    /// How often memory of another process is open, by address.
    imported: Mutex<HashMap<u64, u32>>,
    shareable: Mutex<shareable::Shareable>,
    /// Parts of the device that the driver has described, by their number less 1.
    resources: Mutex<Vec<green::Resource>>,
    textures: Mutex<HashSet<u64>>,
    surfaces: Mutex<HashSet<u64>>,
    missing: Missing,
    /// Lines about what the guest asks for and does not get.
    complaints: Mutex<Complaints>,
    /// The log says that the context is lost.
    is_lost: AtomicBool,
    /// Counts contexts that ended: what threads remember of the current one is void then.
    contexts_ended: AtomicU64,
    /// Facts of the devices by number, which the driver takes 2 ms each to tell; asked before the session.
    devices: Vec<Vec<u8>>,
    /// The device's copies reach ordinary memory as fast as any: it is this processor.
    is_processor: bool,
    /// A stream of this session has recorded: copies from and to the guest must ask whether theirs does.
    has_captured: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Api for Cuda {
    fn call(&self, from: &FrameHeader, payload: &[u8], reply: &mut Reply<'_>) -> Result<(), Malformed> {
        generated::dispatch(self, from, payload, reply)
    }

    fn blocks(&self, call: u16) -> bool {
        generated::blocks(call)
    }

    fn stands(&self, call: u16) -> bool {
        generated::name(call) == Some("gpuferryNextHostFunction")
    }

    fn patience(&self, call: u16) -> Patience {
        match generated::name(call) {
            Some("gpuferryNextHostFunction") => Patience::Endless,
            Some("gpuferryModuleLoad" | "gpuferryLibraryLoad" | "gpuferryLinkAdd" | "gpuferryLinkComplete") => {
                Patience::Compile
            }
            _ => Patience::Usual,
        }
    }

    fn end(&self) {
        // The process ends next, and with it everything on the device.
        self.missing.sum_up(&self.session);
    }
}

impl Cuda {
    fn new(library: Library, session: Arc<Session>) -> Cuda {
        Cuda {
            library,
            objects: Objects::new(generated::MAX_KIND, HOLDERS),
            ranges: RwLock::default(),
            layouts: RwLock::default(),
            links: Mutex::default(),
            host_functions: Arc::default(),
            stages: stage::Stages::default(),
            bytes: Bytes::new(Arc::clone(&session), CUDA_ERROR_OUT_OF_MEMORY),
            has_registered_staging: AtomicBool::new(false),
            nodes: Mutex::default(),
            conditions: Mutex::default(),
            user_objects: Mutex::default(),
            imported: Mutex::default(),
            shareable: Mutex::default(),
            resources: Mutex::default(),
            textures: Mutex::default(),
            surfaces: Mutex::default(),
            missing: Missing::default(),
            complaints: Mutex::default(),
            is_lost: AtomicBool::new(false),
            contexts_ended: AtomicU64::new(0),
            devices: Vec::new(),
            is_processor: false,
            has_captured: AtomicBool::new(false),
            session,
        }
    }

    /// The same, on the CPU device or not, and with what is known of the devices.
    fn knowing(self, is_processor: bool, devices: Vec<Vec<u8>>) -> Cuda {
        Cuda { is_processor, devices, ..self }
    }

    /// The host's library lacks a function: said once by name.
    fn missing(&self, name: &'static str) -> Failure {
        self.missing.note(&self.session, log::Level::Warn, name);
        Failure::Status(CUDA_ERROR_NOT_SUPPORTED)
    }

    /// The object that a handle stands for.
    #[inline]
    fn handle(&self, kind: Kind, handle: Handle) -> Result<*mut c_void, Failure> {
        self.objects.get(kind, handle).map_err(Failure::Status)
    }

    /// See [`Bytes::input`].
    fn input<'a>(&self, buffer: Buffer<'a>) -> Result<Input<'a>, Failure> {
        self.bytes.input(buffer)
    }

    /// See [`Bytes::private`].
    fn private<'a>(&self, buffer: Buffer<'a>) -> Result<Input<'a>, Failure> {
        self.bytes.private(buffer)
    }

    /// See [`Bytes::output`].
    fn output<'a>(&self, buffer: Buffer<'_>, reply: &'a mut [u8]) -> Result<Output<'a>, Failure> {
        self.bytes.output(buffer, reply)
    }

    /// `bytes` bytes at `address` are the guest's, on the device or page-locked.
    #[inline]
    fn device(&self, address: u64, bytes: Option<u64>) -> Result<(), Failure> {
        let bytes = bytes.ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        let ranges = self.ranges.read().unwrap_or_else(PoisonError::into_inner);
        if ranges.contains(address, bytes) { Ok(()) } else { Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)) }
    }

    /// Memory of the guest begins to exist.
    fn range_made(&self, address: u64, range: Range) {
        self.ranges.write().unwrap_or_else(PoisonError::into_inner).insert(address, range);
    }

    /// Memory of the guest of that sort that begins at `address` stops to exist.
    fn range_ended(&self, address: u64, sort: Sort) -> Option<Range> {
        self.ranges.write().unwrap_or_else(PoisonError::into_inner).remove(address, sort)
    }

    /// An object was made, or was not: the table learns which.
    fn made(
        &self,
        from: &FrameHeader,
        kind: Kind,
        handle: Handle,
        parent: Handle,
        status: i32,
        made: *mut c_void,
    ) -> Result<(), Malformed> {
        if status != 0 {
            log::debug!("session {}: no {} was made: status {status}", self.session.number(), kind.name);
        }
        let context = if kind.in_context { thread::context_of(from) } else { Handle::NULL };
        self.objects.insert(kind, handle, Owners { context, parent }, if status == 0 { Ok(made) } else { Err(status) })
    }

    /// An object was ended by a call of `status`: its number and all that lived in it stop to mean anything.
    fn ended(&self, from: &FrameHeader, kind: Kind, handle: Handle, status: i32) {
        // A posted call that failed: the guest has given the number up all the same.
        if status == 0 || from.slot == NO_SLOT {
            self.forget(self.objects.remove(kind, handle));
        }
    }

    /// What lived in these objects is gone.
    fn forget(&self, ended: Vec<Handle>) {
        if ended.is_empty() {
            return;
        }
        self.graphs_ended(&ended);
        self.ranges.write().unwrap_or_else(PoisonError::into_inner).remove_owned(&ended);
        let mut layouts = self.layouts.write().unwrap_or_else(PoisonError::into_inner);
        if !layouts.is_empty() {
            ended.iter().for_each(|handle| {
                layouts.remove(handle);
            });
        }
    }

    /// Answers: the values by `fill`, the status, and the sticky word where the status is one that never leaves.
    fn finish(
        &self,
        _from: &FrameHeader,
        status: i32,
        reply: &mut Reply<'_>,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<(), Malformed> {
        answer::finish(status, reply, fill)?;
        if is_sticky(status) {
            // Each later call has the same status.
            if !self.is_lost.swap(true, Ordering::Relaxed) {
                log::warn!("session {}: the context is lost: status {status}", self.session.number());
            }
            self.session.set_sticky(status);
        }
        Ok(())
    }
}
