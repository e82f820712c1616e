//! Event sets: each of the guest's is one of the library's, found by its number.
//!
//! Errors of programs (some of the Xid codes) are told of by the card to everybody who uses it, and are not passed on: they
//! would tell a guest of what another one does.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wire::frame::FrameHeader;

use super::Nvml;
use super::generated::{
    EVENT_WAIT_MS, MAX_EVENT_SETS, NVML_ERROR_INSUFFICIENT_SIZE, NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_TIMEOUT,
};
use crate::worker::answer::{Failure, function, ok};

/// Kind of an event: an error with a code (nvmlEventTypeXidCriticalError).
const XID: u64 = 8;
/// Codes of errors that a program makes: a fault of a kernel's or of an engine's, and the cleaning up after it.
const OF_PROGRAMS: [u64; 10] = [8, 13, 31, 32, 43, 45, 68, 69, 109, 137];

/// nvmlEventData_t.
#[repr(C)]
#[derive(Default)]
struct Data {
    device: usize,
    kind: u64,
    data: u64,
    gpu_instance: u32,
    compute_instance: u32,
}

/// The library's sets by number, as addresses; a number whose set has ended is given again.
#[derive(Default)]
pub(super) struct Sets(Mutex<Vec<Option<usize>>>);

impl Sets {
    fn get(&self, number: u32) -> Result<*mut c_void, Failure> {
        let sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let set = sets.get(number as usize).copied().flatten().ok_or(Failure::Status(NVML_ERROR_INVALID_ARGUMENT))?;
        Ok(std::ptr::with_exposed_provenance_mut(set))
    }
}

impl Nvml {
    pub(super) fn gpuferryEventSetCreate(&self, _from: &FrameHeader, number: &mut u32) -> Result<(), Failure> {
        let create = function!(self, nvmlEventSetCreate)?;
        let mut sets = self.event_sets.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = sets.iter().position(Option::is_none).unwrap_or(sets.len());
        if free >= MAX_EVENT_SETS as usize {
            return Err(Failure::Status(NVML_ERROR_INSUFFICIENT_SIZE));
        }
        let mut set = std::ptr::null_mut();
        // SAFETY: the prototype is the spec's, and the place is good for the set.
        ok(unsafe { create(&raw mut set) })?;
        if free == sets.len() {
            sets.push(None);
        }
        if let Some(place) = sets.get_mut(free) {
            *place = Some(set.expose_provenance());
        }
        *number = free as u32;
        Ok(())
    }

    pub(super) fn gpuferryRegisterEvents(
        &self,
        _from: &FrameHeader,
        device: *mut c_void,
        kinds: u64,
        number: u32,
    ) -> Result<(), Failure> {
        let register = function!(self, nvmlDeviceRegisterEvents)?;
        let set = self.event_sets.get(number)?;
        // SAFETY: the prototype is the spec's; device and set are the library's.
        ok(unsafe { register(device, kinds, set) })
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of an event")]
    pub(super) fn gpuferryEventSetWait(
        &self,
        _from: &FrameHeader,
        number: u32,
        timeout: u32,
        device: &mut u32,
        kind: &mut u64,
        data: &mut u64,
        gpu_instance: &mut u32,
        compute_instance: &mut u32,
    ) -> Result<(), Failure> {
        let wait = function!(self, nvmlEventSetWait_v2)?;
        let set = self.event_sets.get(number)?;
        let end = Instant::now() + Duration::from_millis(timeout.min(EVENT_WAIT_MS).into());
        loop {
            let left = end.saturating_duration_since(Instant::now()).as_millis() as u32;
            let mut event = Data::default();
            // SAFETY: the prototype is the spec's; the set is the library's, and the place is good for an event.
            ok(unsafe { wait(set, (&raw mut event).cast(), left) })?;
            let place = self.devices.iter().position(|ours| *ours == event.device);
            let is_anothers = event.kind == XID && OF_PROGRAMS.contains(&event.data);
            if let Some(place) = place.filter(|_| !is_anothers) {
                (*device, *kind, *data) = (place as u32, event.kind, event.data);
                (*gpu_instance, *compute_instance) = (event.gpu_instance, event.compute_instance);
                return Ok(());
            }
            if left == 0 {
                return Err(Failure::Status(NVML_ERROR_TIMEOUT));
            }
        }
    }

    pub(super) fn gpuferryEventSetFree(&self, _from: &FrameHeader, number: u32) -> Result<(), Failure> {
        let free = function!(self, nvmlEventSetFree)?;
        let set = self.event_sets.get(number)?;
        if let Some(place) = self.event_sets.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(number as usize) {
            *place = None;
        }
        // SAFETY: the prototype is the spec's; the set was the library's until now.
        ok(unsafe { free(set) })
    }
}
