//! The OpenCL part of the worker: every message of `spec/api/opencl.rs`, made on the host's OpenCL library.
//!
//! A call is followed in this order: [`Api::call`] says what looking a handle up means in this call (`turn`), hands the message to
//! the printed dispatcher (`generated`), which decodes the whole of it, asks [`OpenCl`] for the objects that its handles stand for,
//! and calls the library. What is more than that stands by hand in the file of its subject.
//!
//! What holds: a number from the guest is a handle that was checked, an address inside memory that this guest shares
//! (`shared`, `svm`), or a value that the library checks itself; nothing of the guest's is a length before it is compared
//! with the bytes that are there. The library would take the bytes of a kernel's argument for one of its objects where the
//! kernel says that it is one, so bytes are set only where the kernel says otherwise (`kernels`). No call but those that may
//! block waits for a command.

// Methods keep the names of the calls that they carry out, so that the printed dispatcher finds them.
#![allow(non_snake_case)]

mod callbacks;
mod contexts;
mod devices;
mod events;
#[cfg(any(test, fuzzing))]
mod fakes;
#[cfg(fuzzing)]
pub(super) mod fuzz;
mod generated;
#[cfg(test)]
mod hostile;
mod includes;
mod info;
mod kernels;
mod load;
mod memory;
mod printed;
mod programs;
mod scratch;
mod shared;
mod svm;
mod transfers;
mod turn;
mod unseen;
#[cfg(test)]
mod values;

use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Writer};

pub use load::{Loaded, load};
pub(super) use scratch::remove as remove_scratch;

use super::answer::{self, Failure, Missing};
use super::bytes::{Bytes, Input};
use super::objects::{Kind, Objects, Owners};
use super::{Api, Patience, Reply, Session};
use crate::worker::nvml::Figure;
use generated::{CL_INVALID_OPERATION, CL_OUT_OF_HOST_MEMORY, Library, kind};
use load::Found;

/// `CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST`: an event that is waited for stands for a command that failed.
const EVENT_FAILED: i32 = -14;

/// The API of one session.
pub struct OpenCl {
    library: Library,
    found: Found,
    session: Arc<Session>,
    objects: Objects,
    bytes: Bytes,
    callbacks: Arc<callbacks::Callbacks>,
    words: Arc<events::Words>,
    shared: Mutex<shared::Shared>,
    svm: Mutex<svm::Allocations>,
    memory: Mutex<memory::Sizes>,
    unseen: unseen::Unseen,
    /// By address of the library's kernel.
    kernels: Mutex<HashMap<usize, kernels::Arguments>>,
    includes: Mutex<includes::Includes>,
    /// Programs whose build took too long.
    overdue: Mutex<HashSet<Handle>>,
    /// Builds that took too long and still run.
    abandoned: Arc<AtomicUsize>,
    /// Longest that a build may take.
    build_limit: Duration,
    missing: Missing,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Api for OpenCl {
    fn call(&self, from: &FrameHeader, payload: &[u8], reply: &mut Reply<'_>) -> Result<(), Malformed> {
        let _turn = turn::Turn::begin(self, from.call);
        generated::dispatch(self, from, payload, reply)
    }

    fn blocks(&self, call: u16) -> bool {
        generated::blocks(call)
    }

    fn patience(&self, call: u16) -> Patience {
        match generated::name(call) {
            Some("gpuferryNextCallback") => Patience::Endless,
            Some("gpuferryBuild" | "gpuferryCompile" | "gpuferryLink") => Patience::Compile,
            _ => Patience::Usual,
        }
    }

    fn end(&self) {
        // The process ends next, and with it everything on the device.
        self.missing.sum_up(&self.session);
    }
}

impl OpenCl {
    fn new(library: Library, found: Found, session: Arc<Session>) -> OpenCl {
        let memory = Mutex::new(memory::Sizes::new(&library, &found));
        OpenCl {
            library,
            found,
            objects: Objects::new(generated::MAX_KIND, &[]),
            bytes: Bytes::new(Arc::clone(&session), CL_OUT_OF_HOST_MEMORY),
            callbacks: Arc::default(),
            words: Arc::default(),
            shared: Mutex::default(),
            svm: Mutex::default(),
            memory,
            unseen: unseen::Unseen::default(),
            kernels: Mutex::default(),
            includes: Mutex::default(),
            overdue: Mutex::default(),
            abandoned: Arc::default(),
            build_limit: programs::BUILD_LIMIT,
            missing: Missing::default(),
            session,
        }
    }

    /// The same, where the driver tells how much the process holds.
    fn measured(self, figure: Option<Figure>) -> OpenCl {
        OpenCl { unseen: unseen::Unseen::by(figure), ..self }
    }

    /// The host's library lacks a function: said once by name.
    fn missing(&self, name: &'static str) -> Failure {
        self.missing.note(&self.session, log::Level::Warn, name);
        Failure::Status(CL_INVALID_OPERATION)
    }

    /// The object that a handle stands for, as this call needs it (`turn`).
    fn handle(&self, kind: Kind, handle: Handle) -> Result<*mut c_void, Failure> {
        turn::look_up(self, kind, handle).map_err(|status| {
            log::debug!("session {}: {:#x} stands for no object: {status}", self.session.number(), handle.0);
            Failure::Status(status)
        })
    }

    /// The objects that a list of handles stands for.
    fn handles(&self, kind: Kind, handles: &[Handle]) -> Result<Vec<*mut c_void>, Failure> {
        let failed =
            |status| if kind.number == kind::cl_event.number && status != kind.error { EVENT_FAILED } else { status };
        let object =
            |handle: &Handle| turn::look_up(self, kind, *handle).map_err(|status| Failure::Status(failed(status)));
        handles.iter().map(object).collect()
    }

    /// See [`Bytes::input`].
    fn input<'a>(&self, buffer: Buffer<'a>) -> Result<Input<'a>, Failure> {
        self.bytes.input(buffer)
    }

    /// An object was made, or was not: the table learns which.
    fn made(
        &self,
        _from: &FrameHeader,
        kind: Kind,
        handle: Handle,
        _parent: Handle,
        status: i32,
        made: *mut c_void,
    ) -> Result<(), Malformed> {
        let made = match status {
            0 if made.is_null() => Err(CL_OUT_OF_HOST_MEMORY),
            0 => Ok(made),
            _ => Err(status),
        };
        self.objects.insert(kind, handle, Owners::default(), made)
    }

    /// An object was ended: `turn` has taken its number out of the table before the library heard of it.
    fn ended(&self, _from: &FrameHeader, _kind: Kind, _handle: Handle, _status: i32) {}

    /// Answers: the values by `fill`, and the status.
    fn finish(
        &self,
        from: &FrameHeader,
        status: i32,
        reply: &mut Reply<'_>,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<(), Malformed> {
        if status != 0 {
            let name = generated::name(from.call).unwrap_or("a call");
            log::debug!("session {}: {name} answers {status}", self.session.number());
        }
        answer::finish(status, reply, fill)
    }
}

/// Numbers of 8 bytes.
fn words(run: &[u8]) -> Result<Vec<u64>, Malformed> {
    let (words, rest) = run.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Malformed::new("a list of a broken number of words"));
    }
    Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

/// A property list for the library: with an end, whatever the guest's was.
fn property_list(run: &[u8]) -> Result<Vec<u64>, Malformed> {
    let mut list = words(run)?;
    // One for a list inside that lacks its own, as that of CL_DEVICE_PARTITION_BY_COUNTS.
    list.extend([0, 0]);
    Ok(list)
}

/// A list's first pointer, null for none.
fn first(list: &[*mut c_void]) -> *const *mut c_void {
    if list.is_empty() { std::ptr::null() } else { list.as_ptr() }
}
