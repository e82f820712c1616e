//! NVML's messages for the fuzz target `dispatch`, against the CPU device's functions and fakes that fill what they are given.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use super::generated::{self, Library};
use super::{Host, Nvml, cpu};
use crate::worker::Session;
use crate::worker::fuzz::{fails, read, write};

/// Numbers of all calls.
pub(in crate::worker) fn numbers() -> Vec<u16> {
    (0x6000..0x7000).filter(|call| generated::name(*call).is_some()).collect()
}

/// A session with one device.
pub(in crate::worker) fn begin(session: Arc<Session>) -> Nvml {
    cpu::describe(vec![cpu::Facts::of_a_test()]);
    // SAFETY: the fakes take what those functions take, or fewer arguments.
    let library = unsafe { Library::find(find) };
    Nvml::new(Some(Host { library, devices: vec![cpu::device(0)] }), session)
}

extern "C" fn any() -> i32 {
    if fails() { 3 } else { 0 }
}

/// Fills a structure of the size that its version says.
extern "C" fn fill(_: *mut c_void, place: *mut c_void) -> i32 {
    // SAFETY: the forwarder gives a place for a structure.
    let bytes = unsafe { place.cast::<u32>().read_unaligned() } as usize & 0xFFFF;
    read(place.cast(), bytes);
    write(place.cast(), bytes);
    any()
}

extern "C" fn fields(_: *mut c_void, count: i32, place: *mut c_void) -> i32 {
    write(place.cast(), count as usize * 40);
    any()
}

extern "C" fn states(_: *mut c_void, place: *mut c_void, bytes: u32) -> i32 {
    write(place.cast(), bytes as usize);
    any()
}

extern "C" fn memory_clocks(_: *mut c_void, count: *mut u32, clocks: *mut u32) -> i32 {
    // SAFETY: the forwarder gives a live variable.
    write(clocks.cast(), 4 * unsafe { count.read() } as usize);
    any()
}

extern "C" fn graphics_clocks(device: *mut c_void, _: u32, count: *mut u32, clocks: *mut u32) -> i32 {
    memory_clocks(device, count, clocks)
}

/// A find for [`Library::find`].
fn find(name: &CStr) -> Option<NonNull<c_void>> {
    let function = match name.to_bytes() {
        b"nvmlDeviceGetMemoryInfo_v2" | b"nvmlDeviceGetPciInfo_v3" => return cpu::function(name),
        b"nvmlDeviceGetFieldValues" => fields as *mut c_void,
        b"nvmlDeviceGetSupportedPerformanceStates" => states as *mut c_void,
        b"nvmlDeviceGetSupportedMemoryClocks" => memory_clocks as *mut c_void,
        b"nvmlDeviceGetSupportedGraphicsClocks" => graphics_clocks as *mut c_void,
        b"nvmlDeviceGetPciInfoExt"
        | b"nvmlDeviceGetGpuFabricInfoV"
        | b"nvmlDeviceGetC2cModeInfoV"
        | b"nvmlDeviceGetTemperatureV"
        | b"nvmlDeviceGetMarginTemperature"
        | b"nvmlDeviceGetCoolerInfo"
        | b"nvmlDeviceGetClockOffsets"
        | b"nvmlDeviceGetPerformanceModes"
        | b"nvmlDeviceGetCurrentClockFreqs"
        | b"nvmlDeviceGetAddressingMode"
        | b"nvmlDeviceGetRepairStatus"
        | b"nvmlDeviceGetSramEccErrorStatus"
        | b"nvmlDeviceGetCapabilities"
        | b"nvmlDeviceGetRowRemapperHistogram"
        | b"nvmlDeviceGetDynamicPstatesInfo"
        | b"nvmlDeviceGetGspFirmwareVersion" => fill as *mut c_void,
        _ => return cpu::function(name).or(NonNull::new(any as *mut c_void)),
    };
    NonNull::new(function)
}
