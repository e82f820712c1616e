//! Event sets: made, waited for and ended on the host, by number. The program holds an address in a table that nobody reads.

use crate::caller::{self, enter};
use crate::generated::{EVENT_WAIT_MS, MAX_EVENT_SETS, kind, send};
use crate::handles;
use crate::nvmlReturn_t;
use crate::program::Out;
use crate::status::{NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_TIMEOUT};
use core::ffi::c_void;
use std::time::{Duration, Instant};

static PLACES: [u8; MAX_EVENT_SETS as usize] = [0; MAX_EVENT_SETS as usize];

/// What stands for all time (the API has no name for it).
const FOR_EVER: u32 = u32::MAX;

/// nvmlEventData_t.
#[repr(C)]
pub struct Event {
    device: *mut c_void,
    kind: u64,
    data: u64,
    gpu_instance: u32,
    compute_instance: u32,
}

fn of_number(number: u32) -> *mut c_void {
    core::ptr::from_ref(&PLACES).cast::<u8>().wrapping_add(number as usize).cast_mut().cast()
}

fn number_of(set: *mut c_void) -> Result<u32, nvmlReturn_t> {
    let place = set.addr().checked_sub(core::ptr::from_ref(&PLACES).addr());
    place
        .and_then(|place| u32::try_from(place).ok())
        .filter(|place| *place < MAX_EVENT_SETS)
        .ok_or(NVML_ERROR_INVALID_ARGUMENT)
}

/// Waits in short turns, so that no call takes longer on the host than one may.
fn wait(set: *mut c_void, data: Out<Event>, timeout: u32) -> Result<(), nvmlReturn_t> {
    let caller = enter()?;
    let set = number_of(set)?;
    data.check()?;
    let end = (timeout != FOR_EVER).then(|| Instant::now() + Duration::from_millis(timeout.into()));
    loop {
        let left = end.map_or(EVENT_WAIT_MS, |end| {
            let left = end.saturating_duration_since(Instant::now()).as_millis();
            u32::try_from(left).unwrap_or(EVENT_WAIT_MS).min(EVENT_WAIT_MS)
        });
        let (mut device, mut kind, mut value, mut gpu_instance, mut compute_instance) = (0, 0, 0, 0, 0);
        let status = send::gpuferryEventSetWait(
            &caller,
            set,
            left,
            &mut device,
            &mut kind,
            &mut value,
            &mut gpu_instance,
            &mut compute_instance,
        );
        if status == NVML_ERROR_TIMEOUT && end.is_none_or(|end| Instant::now() < end) {
            continue;
        }
        caller::answer(status)?;
        let device = handles::of_index(device);
        return data.set(Event { device, kind, data: value, gpu_instance, compute_instance });
    }
}

crate::export! {
    /// NVML API Reference, nvmlEventSetCreate.
    extern "C" fn nvmlEventSetCreate(set: Out<*mut c_void>) {
        let caller = enter()?;
        set.check()?;
        let mut number = 0;
        caller::answer(send::gpuferryEventSetCreate(&caller, &mut number))?;
        set.set(of_number(number))
    }

    /// NVML API Reference, nvmlDeviceRegisterEvents.
    extern "C" fn nvmlDeviceRegisterEvents(device: *mut c_void, eventTypes: u64, set: *mut c_void) {
        let caller = enter()?;
        let device = handles::check(kind::nvmlDevice_t, device)?;
        caller::answer(send::gpuferryRegisterEvents(&caller, device, eventTypes, number_of(set)?))
    }

    /// NVML API Reference, nvmlEventSetWait_v2; the first version has the same structure.
    extern "C" fn nvmlEventSetWait_v2 | extern "C" fn nvmlEventSetWait(
        set: *mut c_void,
        data: Out<Event>,
        timeoutms: u32,
    ) {
        wait(set, data, timeoutms)
    }

    /// NVML API Reference, nvmlEventSetFree.
    extern "C" fn nvmlEventSetFree(set: *mut c_void) {
        let caller = enter()?;
        caller::answer(send::gpuferryEventSetFree(&caller, number_of(set)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_when_the_set_is_none_of_ours_then_is_an_invalid_argument() {
        assert_eq!(number_of(of_number(5)), Ok(5));
        for wild in [of_number(MAX_EVENT_SETS), of_number(0).wrapping_byte_sub(1), core::ptr::null_mut()] {
            assert_eq!(number_of(wild), Err(NVML_ERROR_INVALID_ARGUMENT));
        }
    }
}
