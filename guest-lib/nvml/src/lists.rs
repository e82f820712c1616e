//! Functions that fill an array whose room the program says: clocks, and the processes that use a device.

use crate::caller::{self, enter};
use crate::generated::{kind, send};
use crate::handles;
use crate::nvmlReturn_t;
use crate::program::Out;
use crate::status::NVML_ERROR_INSUFFICIENT_SIZE;
use core::ffi::c_void;

/// Clocks asked for at most: a device has some hundred.
const MAX_CLOCKS: u32 = 1000;

/// Gives a list to a program that said how much room it has: `count` is what there is, even where that is too much.
///
/// # Errors
/// `NVML_ERROR_INSUFFICIENT_SIZE` for too little room, `NVML_ERROR_INVALID_ARGUMENT` for null pointers.
pub fn give<T>(found: impl ExactSizeIterator<Item = T>, count: Out<u32>, place: Out<T>) -> Result<(), nvmlReturn_t> {
    let room = count.get()?;
    let there = u32::try_from(found.len()).unwrap_or(u32::MAX);
    count.set(there)?;
    if there == 0 {
        return Ok(());
    }
    if there > room {
        return Err(NVML_ERROR_INSUFFICIENT_SIZE);
    }
    place.check()?;
    for (number, value) in found.enumerate() {
        place.at(number).set(value)?;
    }
    Ok(())
}

fn clocks(device: *mut c_void, at: u32, count: Out<u32>, place: Out<u32>) -> Result<(), nvmlReturn_t> {
    let caller = enter()?;
    let device = handles::check(kind::nvmlDevice_t, device)?;
    count.check()?;
    let mut found = Vec::new();
    caller::answer(send::gpuferryClocks(&caller, device, at, MAX_CLOCKS, &mut found))?;
    let (numbers, _) = found.as_chunks::<4>();
    give(numbers.iter().map(|number| u32::from_le_bytes(*number)), count, place)
}

/// Processes of one kind, of which the guest has none to show.
fn none(device: *mut c_void, count: Out<u32>) -> Result<(), nvmlReturn_t> {
    enter()?;
    handles::check(kind::nvmlDevice_t, device)?;
    count.set(0)
}

crate::export! {
    /// NVML API Reference, nvmlDeviceGetSupportedMemoryClocks.
    extern "C" fn nvmlDeviceGetSupportedMemoryClocks(device: *mut c_void, count: Out<u32>, clocksMHz: Out<u32>) {
        clocks(device, 0, count, clocksMHz)
    }

    /// NVML API Reference, nvmlDeviceGetSupportedGraphicsClocks.
    extern "C" fn nvmlDeviceGetSupportedGraphicsClocks(
        device: *mut c_void,
        memoryClockMHz: u32,
        count: Out<u32>,
        clocksMHz: Out<u32>,
    ) {
        if memoryClockMHz == 0 {
            return Err(crate::status::NVML_ERROR_NOT_FOUND);
        }
        clocks(device, memoryClockMHz, count, clocksMHz)
    }

    /// NVML API Reference, nvmlDeviceGetGraphicsRunningProcesses: nothing here draws.
    extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(device: *mut c_void, count: Out<u32>, _infos: *mut c_void) {
        none(device, count)
    }

    /// The same, older.
    extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v2 | extern "C" fn nvmlDeviceGetGraphicsRunningProcesses(
        device: *mut c_void,
        count: Out<u32>,
        _infos: *mut c_void,
    ) {
        none(device, count)
    }

    /// NVML API Reference, nvmlDeviceGetMPSComputeRunningProcesses: there is no MPS in a guest.
    extern "C" fn nvmlDeviceGetMPSComputeRunningProcesses_v3(device: *mut c_void, count: Out<u32>, _infos: *mut c_void) {
        none(device, count)
    }

    /// The same, older.
    extern "C" fn nvmlDeviceGetMPSComputeRunningProcesses_v2 | extern "C" fn nvmlDeviceGetMPSComputeRunningProcesses(
        device: *mut c_void,
        count: Out<u32>,
        _infos: *mut c_void,
    ) {
        none(device, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn give_when_the_room_is_too_small_then_says_how_much_there_is() {
        let (mut count, mut place) = (1, [0; 3]);
        let given = give([7, 8].into_iter(), Out(&raw mut count), Out(place.as_mut_ptr()));
        assert_eq!((given, count, place), (Err(NVML_ERROR_INSUFFICIENT_SIZE), 2, [0; 3]));
        let given = give([7, 8].into_iter(), Out(&raw mut count), Out(place.as_mut_ptr()));
        assert_eq!((given, count, place), (Ok(()), 2, [7, 8, 0]));
    }
}
