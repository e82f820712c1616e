//! What the loader looks for. One symbol is exported; the others are handed out by name, and stay unexported, since the loader has
//! functions of the same names, to which calls within this library would go.

use crate::platform::{self, clGetPlatformInfo};
use crate::user::{Out, Raw, Text};
use core::ffi::c_void;

use crate::kernel::{clGetKernelSubGroupInfo, clGetKernelSuggestedLocalWorkSize};
use crate::program_make::clCreateProgramWithIL;
use crate::queue::clCreateCommandQueueWithProperties;

crate::calls! {
    /// cl_khr_icd: the platforms that are ours.
    extern "C" fn clIcdGetPlatformIDsKHR(num_entries: u32, platforms: Out<Raw>, num_platforms: Out<u32>) {
        platform::list(num_entries, platforms, num_platforms)
    }
}

/// The function of that name, null where it is no extension's.
fn find(name: Text) -> *const c_void {
    let Some(name) = name.get() else { return core::ptr::null() };
    match name.to_bytes() {
        b"clIcdGetPlatformIDsKHR" => clIcdGetPlatformIDsKHR as *const c_void,
        b"clGetPlatformInfo" => clGetPlatformInfo as *const c_void,
        b"clCreateCommandQueueWithPropertiesKHR" => clCreateCommandQueueWithProperties as *const c_void,
        b"clCreateProgramWithILKHR" => clCreateProgramWithIL as *const c_void,
        b"clGetKernelSubGroupInfoKHR" => clGetKernelSubGroupInfo as *const c_void,
        b"clGetKernelSuggestedLocalWorkSizeKHR" => clGetKernelSuggestedLocalWorkSize as *const c_void,
        _ => core::ptr::null(),
    }
}

/// OpenCL 3.0 § 9.2, clGetExtensionFunctionAddress.
///
/// # Safety
/// The name is null or a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clGetExtensionFunctionAddress(name: Text) -> *const c_void {
    std::panic::catch_unwind(|| find(name)).unwrap_or(core::ptr::null())
}

/// OpenCL 3.0 § 9.2, clGetExtensionFunctionAddressForPlatform.
///
/// # Safety
/// The name is null or a text.
pub unsafe extern "C" fn clGetExtensionFunctionAddressForPlatform(platform: Raw, name: Text) -> *const c_void {
    if platform == platform::raw() { find(name) } else { core::ptr::null() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_when_the_name_is_no_extensions_then_is_null() {
        assert!(!find(Text(c"clIcdGetPlatformIDsKHR".as_ptr())).is_null());
        assert!(find(Text(c"clFinish".as_ptr())).is_null());
        assert!(find(Text(core::ptr::null())).is_null());
    }
}
