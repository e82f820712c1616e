//! Functions that fill a structure: its bytes go to the host and come back. Where the structure has a version, its low 24 bits
//! are its size, and the host's library says whether it knows it.

use crate::caller::{self, enter};
use crate::generated::{
    SHAPE_ADDRESSING_MODE, SHAPE_C2C_MODE, SHAPE_CAPABILITIES, SHAPE_CLOCK_FREQUENCIES, SHAPE_CLOCK_OFFSETS,
    SHAPE_COOLER, SHAPE_FABRIC_INFO, SHAPE_FIELD_VALUES, SHAPE_GSP_VERSION, SHAPE_MARGIN_TEMPERATURE, SHAPE_MEMORY_V2,
    SHAPE_PCI_INFO, SHAPE_PCI_INFO_EXT, SHAPE_PERFORMANCE_MODES, SHAPE_PSTATES, SHAPE_REPAIR_STATUS,
    SHAPE_ROW_REMAPPER, SHAPE_SRAM_ECC, SHAPE_SUPPORTED_STATES, SHAPE_TEMPERATURE, kind, send,
};
use crate::handles;
use crate::nvmlReturn_t;
use crate::program::Out;
use crate::status::{
    NVML_ERROR_ARGUMENT_VERSION_MISMATCH, NVML_ERROR_INSUFFICIENT_SIZE, NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_UNKNOWN,
};
use core::ffi::{c_char, c_void};

/// Size of the structure of nvmlDeviceGetPciInfo_v3.
pub const PCI_INFO_BYTES: usize = 68;
/// Size of the structure of its older versions.
pub const PCI_INFO_OLD_BYTES: usize = 52;
/// Size of one value that nvmlDeviceGetFieldValues asks for.
const FIELD_BYTES: usize = 40;
/// Values asked for in one message: they come back in one reply.
const FIELDS_AT_ONCE: usize = 64;
/// Largest structure: it comes back in one reply.
const MAX_BYTES: usize = 4000;
/// The size that a version says.
const SIZE: u32 = 0xFF_FFFF;

/// Fills a structure that begins as `given`.
///
/// # Errors
/// The host's answer; `NVML_ERROR_UNKNOWN` where it gives back another size.
pub fn fill(device: *mut c_void, which: u32, given: &[u8]) -> Result<Vec<u8>, nvmlReturn_t> {
    let caller = enter()?;
    let device = handles::check(kind::nvmlDevice_t, device)?;
    let mut found = Vec::new();
    caller::answer(send::gpuferryShape(&caller, device, which, given, &mut found))?;
    if found.len() == given.len() { Ok(found) } else { Err(NVML_ERROR_UNKNOWN) }
}

/// Fills `bytes` bytes at `place`.
fn fill_at(device: *mut c_void, which: u32, place: Out<u8>, bytes: usize) -> Result<(), nvmlReturn_t> {
    let mut given = vec![0; bytes];
    for (number, byte) in given.iter_mut().enumerate() {
        *byte = place.at(number).get()?;
    }
    for (number, byte) in fill(device, which, &given)?.into_iter().enumerate() {
        place.at(number).set(byte)?;
    }
    Ok(())
}

/// Fills a structure that begins with its version.
fn versioned(device: *mut c_void, which: u32, place: *mut c_void) -> Result<(), nvmlReturn_t> {
    enter()?;
    let bytes = (Out(place.cast::<u32>()).get()? & SIZE) as usize;
    if !(size_of::<u32>()..=MAX_BYTES).contains(&bytes) {
        return Err(NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    }
    fill_at(device, which, Out(place.cast()), bytes)
}

/// Fills a structure of one size.
fn fixed(device: *mut c_void, which: u32, place: *mut c_void, bytes: usize) -> Result<(), nvmlReturn_t> {
    Out(place.cast::<u8>()).check()?;
    fill_at(device, which, Out(place.cast()), bytes)
}

crate::export! {
    /// NVML API Reference, nvmlDeviceGetPciInfo_v3.
    extern "C" fn nvmlDeviceGetPciInfo_v3(device: *mut c_void, pci: *mut c_void) {
        fixed(device, SHAPE_PCI_INFO, pci, PCI_INFO_BYTES)
    }

    /// NVML API Reference, nvmlDeviceGetFieldValues.
    extern "C" fn nvmlDeviceGetFieldValues(device: *mut c_void, valuesCount: i32, values: *mut c_void) {
        enter()?;
        let count = usize::try_from(valuesCount).map_err(|_| NVML_ERROR_INVALID_ARGUMENT)?;
        let values: Out<u8> = Out(values.cast());
        values.check()?;
        if count == 0 {
            return Err(NVML_ERROR_INVALID_ARGUMENT);
        }
        for first in (0..count).step_by(FIELDS_AT_ONCE) {
            let bytes = (count - first).min(FIELDS_AT_ONCE) * FIELD_BYTES;
            fill_at(device, SHAPE_FIELD_VALUES, values.at(first * FIELD_BYTES), bytes)?;
        }
        Ok(())
    }

    /// NVML API Reference, nvmlDeviceGetMemoryInfo_v2.
    extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: *mut c_void, memory: *mut c_void) {
        versioned(device, SHAPE_MEMORY_V2, memory)
    }

    /// NVML API Reference, nvmlDeviceGetPciInfoExt.
    extern "C" fn nvmlDeviceGetPciInfoExt(device: *mut c_void, pci: *mut c_void) {
        versioned(device, SHAPE_PCI_INFO_EXT, pci)
    }

    /// NVML API Reference, nvmlDeviceGetGpuFabricInfoV.
    extern "C" fn nvmlDeviceGetGpuFabricInfoV(device: *mut c_void, info: *mut c_void) {
        versioned(device, SHAPE_FABRIC_INFO, info)
    }

    /// NVML API Reference, nvmlDeviceGetC2cModeInfoV.
    extern "C" fn nvmlDeviceGetC2cModeInfoV(device: *mut c_void, info: *mut c_void) {
        fixed(device, SHAPE_C2C_MODE, info, 4)
    }

    /// NVML API Reference, nvmlDeviceGetTemperatureV.
    extern "C" fn nvmlDeviceGetTemperatureV(device: *mut c_void, temperature: *mut c_void) {
        versioned(device, SHAPE_TEMPERATURE, temperature)
    }

    /// NVML API Reference, nvmlDeviceGetMarginTemperature.
    extern "C" fn nvmlDeviceGetMarginTemperature(device: *mut c_void, margin: *mut c_void) {
        versioned(device, SHAPE_MARGIN_TEMPERATURE, margin)
    }

    /// NVML API Reference, nvmlDeviceGetCoolerInfo.
    extern "C" fn nvmlDeviceGetCoolerInfo(device: *mut c_void, cooler: *mut c_void) {
        versioned(device, SHAPE_COOLER, cooler)
    }

    /// NVML API Reference, nvmlDeviceGetClockOffsets.
    extern "C" fn nvmlDeviceGetClockOffsets(device: *mut c_void, info: *mut c_void) {
        versioned(device, SHAPE_CLOCK_OFFSETS, info)
    }

    /// NVML API Reference, nvmlDeviceGetPerformanceModes.
    extern "C" fn nvmlDeviceGetPerformanceModes(device: *mut c_void, modes: *mut c_void) {
        versioned(device, SHAPE_PERFORMANCE_MODES, modes)
    }

    /// NVML API Reference, nvmlDeviceGetCurrentClockFreqs.
    extern "C" fn nvmlDeviceGetCurrentClockFreqs(device: *mut c_void, frequencies: *mut c_void) {
        versioned(device, SHAPE_CLOCK_FREQUENCIES, frequencies)
    }

    /// NVML API Reference, nvmlDeviceGetAddressingMode.
    extern "C" fn nvmlDeviceGetAddressingMode(device: *mut c_void, mode: *mut c_void) {
        versioned(device, SHAPE_ADDRESSING_MODE, mode)
    }

    /// NVML API Reference, nvmlDeviceGetRepairStatus.
    extern "C" fn nvmlDeviceGetRepairStatus(device: *mut c_void, repair: *mut c_void) {
        versioned(device, SHAPE_REPAIR_STATUS, repair)
    }

    /// NVML API Reference, nvmlDeviceGetSramEccErrorStatus.
    extern "C" fn nvmlDeviceGetSramEccErrorStatus(device: *mut c_void, errors: *mut c_void) {
        versioned(device, SHAPE_SRAM_ECC, errors)
    }

    /// NVML API Reference, nvmlDeviceGetCapabilities.
    extern "C" fn nvmlDeviceGetCapabilities(device: *mut c_void, capabilities: *mut c_void) {
        versioned(device, SHAPE_CAPABILITIES, capabilities)
    }

    /// NVML API Reference, nvmlDeviceGetRowRemapperHistogram.
    extern "C" fn nvmlDeviceGetRowRemapperHistogram(device: *mut c_void, values: *mut c_void) {
        fixed(device, SHAPE_ROW_REMAPPER, values, 20)
    }

    /// NVML API Reference, nvmlDeviceGetDynamicPstatesInfo.
    extern "C" fn nvmlDeviceGetDynamicPstatesInfo(device: *mut c_void, info: *mut c_void) {
        fixed(device, SHAPE_PSTATES, info, 132)
    }

    /// NVML API Reference, nvmlDeviceGetSupportedPerformanceStates.
    extern "C" fn nvmlDeviceGetSupportedPerformanceStates(device: *mut c_void, states: *mut c_void, size: u32) {
        if size as usize > MAX_BYTES {
            return Err(NVML_ERROR_INSUFFICIENT_SIZE);
        }
        fixed(device, SHAPE_SUPPORTED_STATES, states, size as usize)
    }

    /// NVML API Reference, nvmlDeviceGetGspFirmwareVersion: the buffer has NVML_GSP_FIRMWARE_VERSION_BUF_SIZE bytes.
    extern "C" fn nvmlDeviceGetGspFirmwareVersion(device: *mut c_void, version: *mut c_char) {
        fixed(device, SHAPE_GSP_VERSION, version.cast(), 64)
    }
}
