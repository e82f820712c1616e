//! The answers of the driver API: `CUresult` as data, with a name and a sentence for each.
//!
//! A function of this crate that can refuse returns [`Answer`]; the export macro turns it into the number that C sees.

use std::ffi::CStr;

/// A `CUresult`. Only the listed numbers are ever made here.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Status(pub u32);

/// What a call yields: its value, or the status that the program is given.
pub type Answer<T = ()> = Result<T, Status>;

macro_rules! statuses {
    ($($number:literal $name:ident $text:literal)*) => {
        #[allow(missing_docs)]
        impl Status {
            $( #[doc = $text] pub const $name: Status = Status($number); )*
        }

        /// Name and sentence of every number, in ascending order.
        const TABLE: &[(u32, &str, &str)] = &[
            $( ($number, concat!("CUDA_ERROR_", stringify!($name), "\0"), concat!($text, "\0")), )*
        ];
    };
}

statuses! {
    1 INVALID_VALUE "an argument is null, out of range or not acceptable here"
    2 OUT_OF_MEMORY "not enough memory for the request"
    3 NOT_INITIALIZED "cuInit has not been called or has failed"
    4 DEINITIALIZED "the driver is shutting down"
    5 PROFILER_DISABLED "profiling is not available in this run"
    6 PROFILER_NOT_INITIALIZED "the profiler has not been initialised (no longer used)"
    7 PROFILER_ALREADY_STARTED "the profiler runs already (no longer used)"
    8 PROFILER_ALREADY_STOPPED "the profiler is stopped already (no longer used)"
    34 STUB_LIBRARY "the driver library in use is a stub for linking only"
    36 CALL_REQUIRES_NEWER_DRIVER "the call needs a newer driver than the one installed"
    46 DEVICE_UNAVAILABLE "the device is busy or may not be used now"
    100 NO_DEVICE "there is no CUDA device"
    101 INVALID_DEVICE "the device number names no device, or not one that can do this"
    102 DEVICE_NOT_LICENSED "the device has no licence for this use"
    200 INVALID_IMAGE "the device code image is malformed"
    201 INVALID_CONTEXT "no context is current, or the context is not valid"
    202 CONTEXT_ALREADY_CURRENT "the context is already current (no longer used)"
    205 MAP_FAILED "mapping failed"
    206 UNMAP_FAILED "unmapping failed"
    207 ARRAY_IS_MAPPED "the array is mapped and cannot be destroyed"
    208 ALREADY_MAPPED "the resource is mapped already"
    209 NO_BINARY_FOR_GPU "the image holds no code that this device can run"
    210 ALREADY_ACQUIRED "the resource has been acquired already"
    211 NOT_MAPPED "the resource is not mapped"
    212 NOT_MAPPED_AS_ARRAY "the resource is not mapped as an array"
    213 NOT_MAPPED_AS_POINTER "the resource is not mapped as a pointer"
    214 ECC_UNCORRECTABLE "an uncorrectable memory error was found"
    215 UNSUPPORTED_LIMIT "the device does not know this limit"
    216 CONTEXT_ALREADY_IN_USE "another thread uses the context"
    217 PEER_ACCESS_UNSUPPORTED "the devices cannot reach each other's memory"
    218 INVALID_PTX "the PTX does not compile"
    219 INVALID_GRAPHICS_CONTEXT "the graphics context is not valid"
    220 NVLINK_UNCORRECTABLE "an uncorrectable link error was found"
    221 JIT_COMPILER_NOT_FOUND "there is no PTX compiler"
    222 UNSUPPORTED_PTX_VERSION "the PTX is of a version that the compiler does not know"
    223 JIT_COMPILATION_DISABLED "compiling PTX has been switched off"
    224 UNSUPPORTED_EXEC_AFFINITY "the device does not know this execution affinity"
    225 UNSUPPORTED_DEVSIDE_SYNC "the code synchronises from the device in a way that is not supported"
    226 CONTAINED "the device has met an error that it could contain"
    300 INVALID_SOURCE "the device source is not valid"
    301 FILE_NOT_FOUND "the file was not found"
    302 SHARED_OBJECT_SYMBOL_NOT_FOUND "a shared object lacks a symbol that is needed"
    303 SHARED_OBJECT_INIT_FAILED "a shared object failed to initialise"
    304 OPERATING_SYSTEM "the operating system refused a call"
    400 INVALID_HANDLE "the handle names no live object of this kind"
    401 ILLEGAL_STATE "the object is not in a state that allows this"
    402 LOSSY_QUERY "the query would lose part of what it describes"
    500 NOT_FOUND "the name was not found"
    600 NOT_READY "earlier work has not finished"
    700 ILLEGAL_ADDRESS "a kernel used an address outside every allocation"
    701 LAUNCH_OUT_OF_RESOURCES "the launch needs more threads, registers or shared memory than there are"
    702 LAUNCH_TIMEOUT "the kernel ran for too long"
    703 LAUNCH_INCOMPATIBLE_TEXTURING "the launch uses textures in an incompatible mode"
    704 PEER_ACCESS_ALREADY_ENABLED "peer access is on already"
    705 PEER_ACCESS_NOT_ENABLED "peer access is not on"
    708 PRIMARY_CONTEXT_ACTIVE "the primary context is active already"
    709 CONTEXT_IS_DESTROYED "the context has been destroyed"
    710 ASSERT "a device-side assertion failed"
    711 TOO_MANY_PEERS "there is no room for another peer"
    712 HOST_MEMORY_ALREADY_REGISTERED "the host memory is registered already"
    713 HOST_MEMORY_NOT_REGISTERED "the host memory is not registered"
    714 HARDWARE_STACK_ERROR "a kernel's call stack overflowed or was damaged"
    715 ILLEGAL_INSTRUCTION "a kernel met an instruction that cannot be executed"
    716 MISALIGNED_ADDRESS "a kernel used an address that is not a multiple of the access size"
    717 INVALID_ADDRESS_SPACE "a kernel used an address in the wrong state space"
    718 INVALID_PC "a kernel jumped to an address that holds no code"
    719 LAUNCH_FAILED "a kernel failed while it ran"
    720 COOPERATIVE_LAUNCH_TOO_LARGE "the cooperative launch has more blocks than can be resident together"
    721 TENSOR_MEMORY_LEAK "a kernel ended without giving back tensor memory"
    800 NOT_PERMITTED "the operation is not allowed here"
    801 NOT_SUPPORTED "the operation is not supported on this device"
    802 SYSTEM_NOT_READY "the system is not ready for CUDA work"
    803 SYSTEM_DRIVER_MISMATCH "kernel driver and driver library do not match"
    804 COMPAT_NOT_SUPPORTED_ON_DEVICE "forward compatibility is not supported on this device"
    805 MPS_CONNECTION_FAILED "the multi-process service cannot be reached"
    806 MPS_RPC_FAILURE "a call to the multi-process service failed"
    807 MPS_SERVER_NOT_READY "the multi-process service is not ready"
    808 MPS_MAX_CLIENTS_REACHED "the multi-process service takes no more clients"
    809 MPS_MAX_CONNECTIONS_REACHED "the device takes no more connections of the multi-process service"
    810 MPS_CLIENT_TERMINATED "the multi-process service has ended this client"
    811 CDP_NOT_SUPPORTED "launching from the device is not supported"
    812 CDP_VERSION_MISMATCH "the code's and the driver's device runtime are not compatible"
    900 STREAM_CAPTURE_UNSUPPORTED "the operation cannot be captured"
    901 STREAM_CAPTURE_INVALIDATED "an earlier error has spoilt this capture"
    902 STREAM_CAPTURE_MERGE "the operation would join two separate captures"
    903 STREAM_CAPTURE_UNMATCHED "the stream did not start this capture"
    904 STREAM_CAPTURE_UNJOINED "a stream that joined the capture was not joined back"
    905 STREAM_CAPTURE_ISOLATION "the operation would make captured work depend on work outside"
    906 STREAM_CAPTURE_IMPLICIT "the operation would depend on the legacy stream implicitly"
    907 CAPTURED_EVENT "the event was last recorded in a capture"
    908 STREAM_CAPTURE_WRONG_THREAD "the capture was started by another thread"
    909 TIMEOUT "the wait ran out of time"
    910 GRAPH_EXEC_UPDATE_FAILURE "the executable graph cannot take this change"
    911 EXTERNAL_DEVICE "an error arose in a device outside CUDA"
    912 INVALID_CLUSTER_SIZE "the cluster size is not acceptable"
    913 FUNCTION_NOT_LOADED "the function has not been loaded"
    914 INVALID_RESOURCE_TYPE "the resource is of a type that is not acceptable here"
    915 INVALID_RESOURCE_CONFIGURATION "the resource's settings are not acceptable"
    916 KEY_ROTATION "keys are being rotated"
    999 UNKNOWN "the cause is not known"
}

impl Status {
    /// The vendor's constant for this number, if it has one.
    pub fn name(self) -> Option<&'static CStr> {
        if self.0 == 0 {
            return Some(c"CUDA_SUCCESS");
        }
        self.row().and_then(|row| CStr::from_bytes_with_nul(row.1.as_bytes()).ok())
    }

    /// A sentence on this number, if it has one.
    pub fn text(self) -> Option<&'static CStr> {
        if self.0 == 0 {
            return Some(c"no error");
        }
        self.row().and_then(|row| CStr::from_bytes_with_nul(row.2.as_bytes()).ok())
    }

    fn row(self) -> Option<&'static (u32, &'static str, &'static str)> {
        let at = TABLE.binary_search_by_key(&self.0, |row| row.0).ok()?;
        TABLE.get(at)
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(&name.to_string_lossy()),
            None => write!(f, "CUresult({})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_when_listed_then_ascends() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn name_when_number_known_then_vendor_spelling() {
        assert_eq!(Status(700).name(), Some(c"CUDA_ERROR_ILLEGAL_ADDRESS"));
        assert_eq!(Status(0).name(), Some(c"CUDA_SUCCESS"));
        assert_eq!(Status(35).name(), None);
    }
}
