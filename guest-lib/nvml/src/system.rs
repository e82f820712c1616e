//! What concerns no device: versions, names of processes, error texts.

use crate::caller::enter;
use crate::init::cuda_version;
use crate::program::{Out, fill_text};
use crate::status::{NVML_ERROR_NOT_FOUND, sentence};
use core::ffi::c_char;

/// NVML API Reference, nvmlErrorString. The text is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(result: i32) -> *const c_char {
    sentence(result).as_ptr()
}

crate::export! {
    /// NVML API Reference, nvmlSystemGetCudaDriverVersion.
    extern "C" fn nvmlSystemGetCudaDriverVersion_v2 | extern "C" fn nvmlSystemGetCudaDriverVersion(version: Out<i32>) {
        enter()?;
        version.set(cuda_version())
    }

    /// NVML API Reference, nvmlSystemGetProcessName: of a process of the guest.
    extern "C" fn nvmlSystemGetProcessName(pid: u32, name: Out<c_char>, length: u32) {
        enter()?;
        name.check()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).map_err(|_| NVML_ERROR_NOT_FOUND)?;
        let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
        fill_text(name, length, first)
    }

    /// NVML API Reference, nvmlUnitGetCount: S-class systems have units, guests have none.
    extern "C" fn nvmlUnitGetCount(count: Out<u32>) {
        enter()?;
        count.set(0)
    }

    /// NVML API Reference, nvmlGetExcludedDeviceCount.
    extern "C" fn nvmlGetExcludedDeviceCount | extern "C" fn nvmlGetBlacklistDeviceCount(count: Out<u32>) {
        count.set(0)
    }
}
