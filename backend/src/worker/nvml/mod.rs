//! The NVML part of the worker: every message of `spec/api/nvml.rs`, made on the host's `libnvidia-ml.so.1`; for the CPU device on
//! functions of the same names here (`cpu`).
//!
//! A call is followed in this order: [`Api::call`] hands the message to the printed dispatcher (`generated`), which decodes the whole of it,
//! asks [`Nvml`] which of the guest's devices is meant, and calls the library. Structures that say their own size are filled in
//! memory that is larger than any (`shapes`).
//!
//! What holds: a guest sees the device that its `gpuferryd` serves and no other; nothing here changes the card, and nothing names
//! processes of the host.

// Methods keep the names of the calls that they carry out, so that the printed dispatcher finds them.
#![allow(non_snake_case)]

mod cpu;
mod events;
#[cfg(fuzzing)]
pub(super) mod fuzz;
mod generated;
mod load;
mod shapes;

use std::ffi::c_void;
use std::sync::Arc;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Writer};

pub use load::{Host, load};

use super::answer::{self, Failure, Missing, ok};
use super::bytes::{Bytes, Output};
use super::objects::Kind;
use super::{Api, Reply, Session};
use generated::{
    Library, NVML_ERROR_DRIVER_NOT_LOADED, NVML_ERROR_INSUFFICIENT_SIZE, NVML_ERROR_NOT_SUPPORTED, SHAPE_MEMORY_V2,
    nvmlMemory_t,
};

/// Most processes in a list: it comes back in one reply.
const MAX_PROCESSES: usize = 250;
/// Most clocks in a list: it comes back in one reply.
const MAX_CLOCKS: usize = 1000;

/// The API of one session.
pub struct Nvml {
    library: Library,
    /// The guest's devices, by address of the library's object.
    devices: Vec<usize>,
    event_sets: events::Sets,
    session: Arc<Session>,
    bytes: Bytes,
    missing: Missing,
}

impl Api for Nvml {
    fn call(&self, from: &FrameHeader, payload: &[u8], reply: &mut Reply<'_>) -> Result<(), Malformed> {
        generated::dispatch(self, from, payload, reply)
    }

    fn blocks(&self, call: u16) -> bool {
        generated::blocks(call)
    }

    fn end(&self) {}
}

impl Nvml {
    /// Serves a session with what was loaded; with nothing, every call says so.
    pub fn new(host: Option<Host>, session: Arc<Session>) -> Nvml {
        let (library, devices) = match host {
            Some(host) => (host.library, host.devices),
            None => (load::nothing(), Vec::new()),
        };
        let bytes = Bytes::new(Arc::clone(&session), NVML_ERROR_INSUFFICIENT_SIZE);
        Nvml { library, devices, event_sets: events::Sets::default(), session, bytes, missing: Missing::default() }
    }

    /// The host's library lacks a function: said once by name.
    fn missing(&self, name: &'static str) -> Failure {
        self.missing.note(&self.session, log::Level::Debug, name);
        Failure::Status(if self.devices.is_empty() { NVML_ERROR_DRIVER_NOT_LOADED } else { NVML_ERROR_NOT_SUPPORTED })
    }

    /// The library's object for a device of the guest.
    fn handle(&self, kind: Kind, handle: Handle) -> Result<*mut c_void, Failure> {
        let is_one = handle.kind() == Some(kind.number) && handle.generation() == 1;
        let device = self.devices.get(handle.index() as usize).filter(|_| is_one).ok_or(Failure::Status(kind.error))?;
        Ok(std::ptr::with_exposed_provenance_mut(*device))
    }

    /// See [`Bytes::output`].
    fn output<'a>(&self, buffer: Buffer<'_>, reply: &'a mut [u8]) -> Result<Output<'a>, Failure> {
        self.bytes.output(buffer, reply)
    }

    /// Answers: the values by `fill`, and the status.
    fn finish(
        &self,
        _from: &FrameHeader,
        status: i32,
        reply: &mut Reply<'_>,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<(), Malformed> {
        answer::finish(status, reply, fill)
    }

    fn gpuferryBegin(&self, _from: &FrameHeader, count: &mut u32, cuda: &mut i32) -> Result<(), Failure> {
        let version = self.library.nvmlSystemGetCudaDriverVersion;
        let version = version.ok_or_else(|| self.missing("nvmlSystemGetCudaDriverVersion"))?;
        // SAFETY: the prototype is the spec's, and the place is good for the version.
        ok(unsafe { version(std::ptr::from_mut(cuda)) })?;
        *count = self.devices.len() as u32;
        Ok(())
    }

    /// From the newer structure, so that a limit is looked at in one place.
    fn nvmlDeviceGetMemoryInfo(
        &self,
        from: &FrameHeader,
        device: *mut c_void,
        memory: &mut nvmlMemory_t,
    ) -> Result<(), Failure> {
        let mut found = Vec::new();
        self.gpuferryShape(from, device, SHAPE_MEMORY_V2, &shapes::memory_request(), &mut found)?;
        let [total, _, free, _] = shapes::memory_words(&found);
        *memory = nvmlMemory_t { total, free, used: total.saturating_sub(free) };
        Ok(())
    }

    fn gpuferryProcesses(&self, _from: &FrameHeader, _device: *mut c_void, found: &mut Vec<u8>) -> Result<(), Failure> {
        let Some(account) = self.session.account() else { return Ok(()) };
        for (process, bytes) in account.processes().filter(|(_, bytes)| *bytes > 0).take(MAX_PROCESSES) {
            found.extend(u64::from(process).to_le_bytes());
            found.extend(bytes.to_le_bytes());
        }
        Ok(())
    }

    fn gpuferryClocks(
        &self,
        _from: &FrameHeader,
        device: *mut c_void,
        at: u32,
        room: u32,
        found: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut clocks = [0u32; MAX_CLOCKS];
        let mut count = (room as usize).min(MAX_CLOCKS) as u32;
        let (of_memory, of_graphics) =
            (self.library.nvmlDeviceGetSupportedMemoryClocks, self.library.nvmlDeviceGetSupportedGraphicsClocks);
        let status = if at == 0 {
            let call = of_memory.ok_or_else(|| self.missing("nvmlDeviceGetSupportedMemoryClocks"))?;
            // SAFETY: the prototype is the spec's; the array has room for `count` numbers.
            unsafe { call(device, &raw mut count, clocks.as_mut_ptr()) }
        } else {
            let call = of_graphics.ok_or_else(|| self.missing("nvmlDeviceGetSupportedGraphicsClocks"))?;
            // SAFETY: as above.
            unsafe { call(device, at, &raw mut count, clocks.as_mut_ptr()) }
        };
        ok(status)?;
        found.extend(clocks.iter().take(count as usize).flat_map(|clock| clock.to_le_bytes()));
        Ok(())
    }
}
