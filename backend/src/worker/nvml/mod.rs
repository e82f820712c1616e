//! The NVML part of the worker: every message of `spec/api/nvml.rs`, made on the host's `libnvidia-ml.so.1`; for the CPU device on
//! functions of the same names here (`cpu`).
//!
//! A call is followed in this order: [`Api::call`] hands the message to the printed dispatcher (`generated`), which decodes
//! the whole of it, asks [`Nvml`] which of the guest's devices is meant, and calls the library. Structures that say their own
//! size are filled in memory that is larger than any (`shapes`).
//!
//! What holds: a guest sees the device that its `gpuferryd` serves and no other; nothing here changes the card, and nothing names
//! processes of the host.

// Methods keep the names of the calls that they carry out, so that the printed dispatcher finds them.
#![allow(non_snake_case)]

mod cpu;
mod events;
mod figure;
#[cfg(fuzzing)]
pub(super) mod fuzz;
mod generated;
mod load;
mod shapes;
#[cfg(test)]
mod values;

use std::ffi::c_void;
use std::sync::Arc;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Writer};

pub use figure::Figure;
pub use load::{Host, load};

use super::answer::{self, Failure, Missing, function, ok};
use super::bytes::{Bytes, Output};
use super::objects::Kind;
use super::{Api, Reply, Session};
use generated::{
    Library, NVML_ERROR_DRIVER_NOT_LOADED, NVML_ERROR_INSUFFICIENT_SIZE, NVML_ERROR_NOT_SUPPORTED, SHAPE_MEMORY_V2,
    nvmlMemory_t,
};

/// Most processes in a list: it comes back in one reply.
const MAX_PROCESSES: usize = 250;
/// Size of nvmlProcessUtilizationSample_t.
const SAMPLE_BYTES: usize = 32;
/// Most samples that are asked for: of all processes of the card.
const MAX_SAMPLES: usize = 4096;
/// Most samples in a list: it comes back in one reply.
const MAX_OWN_SAMPLES: usize = 120;
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
        let version = function!(self, nvmlSystemGetCudaDriverVersion)?;
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

    /// The library lists all processes of the card, by their numbers in this namespace; the guest's are those whose workers
    /// they are.
    fn gpuferryProcessUtilization(
        &self,
        _from: &FrameHeader,
        device: *mut c_void,
        last: u64,
        room: u32,
        found: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let call = function!(self, nvmlDeviceGetProcessUtilization)?;
        let Some(account) = self.session.account() else { return Ok(()) };
        let mut samples = vec![[0u8; SAMPLE_BYTES]; MAX_SAMPLES];
        let mut count = MAX_SAMPLES as u32;
        // SAFETY: the prototype is the spec's; the array has room for `count` samples.
        ok(unsafe { call(device, samples.as_mut_ptr().cast(), &raw mut count, last) })?;
        let numbers = samples.iter().take(count as usize).filter_map(|sample| sample.first_chunk());
        let numbers: Vec<u32> = numbers.map(|number| u32::from_ne_bytes(*number)).collect();
        log::debug!("session {}: utilization of the processes {numbers:?} of the card", self.session.number());
        let most = (room as usize).min(MAX_OWN_SAMPLES) * SAMPLE_BYTES;
        for sample in samples.iter_mut().take(count as usize) {
            let Some((number, rest)) = sample.split_first_chunk::<4>() else { continue };
            if let Some(process) = account.served_by(u32::from_ne_bytes(*number)).filter(|_| found.len() < most) {
                found.extend(process.to_le_bytes());
                found.extend(rest);
            }
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
        let status = if at == 0 {
            let call = function!(self, nvmlDeviceGetSupportedMemoryClocks)?;
            // SAFETY: the prototype is the spec's; the array has room for `count` numbers.
            unsafe { call(device, &raw mut count, clocks.as_mut_ptr()) }
        } else {
            let call = function!(self, nvmlDeviceGetSupportedGraphicsClocks)?;
            // SAFETY: as above.
            unsafe { call(device, at, &raw mut count, clocks.as_mut_ptr()) }
        };
        ok(status)?;
        found.extend(clocks.iter().take(count as usize).flat_map(|clock| clock.to_le_bytes()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Account, Ledger, Limits};
    use crate::worker::played;

    /// Two samples: of the workers 900 and 901.
    unsafe extern "C" fn samples(_: *mut c_void, to: *mut c_void, count: *mut u32, _: u64) -> i32 {
        for (at, worker) in [900u32, 901].into_iter().enumerate() {
            let mut sample = [7; SAMPLE_BYTES];
            sample[..4].copy_from_slice(&worker.to_ne_bytes());
            // SAFETY: the caller says that there is room for more.
            unsafe { to.cast::<[u8; SAMPLE_BYTES]>().add(at).write(sample) };
        }
        // SAFETY: as above.
        unsafe { count.write(2) };
        0
    }

    #[test]
    fn utilization_when_another_guest_computes_too_then_names_this_guests_processes_alone() {
        let ledger = Arc::new(Ledger::new(Limits::default()).expect("a ledger"));
        let row = ledger.take(11).expect("a row");
        let account = Account::new(row.file().expect("a file"), row.number()).expect("an account");
        account.serve_by(901);
        let session = Arc::try_unwrap(played::session()).expect("nobody else has it").counted(account);
        let mut library = load::nothing();
        library.nvmlDeviceGetProcessUtilization = Some(samples);
        let nvml = Nvml::new(Some(Host { library, devices: vec![1] }), Arc::new(session));
        let mut found = Vec::new();
        let asked = nvml.gpuferryProcessUtilization(&FrameHeader::default(), std::ptr::null_mut(), 0, 10, &mut found);
        assert!(asked.is_ok());
        assert_eq!(found, [&[11, 0, 0, 0][..], &[7; SAMPLE_BYTES - 4]].concat());
    }
}
