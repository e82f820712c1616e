//! The API's status codes (NVML API Reference, nvmlReturn_t), and a sentence for each.

use core::ffi::CStr;

macro_rules! codes {
    ($($name:ident = $number:literal: $text:literal,)*) => {
        $(#[doc = concat!("`", stringify!($name), "`.")] pub const $name: i32 = $number;)*

        /// What a code means, for `nvmlErrorString`.
        #[must_use]
        pub fn sentence(code: i32) -> &'static CStr {
            match code {
                $($number => $text,)*
                _ => c"Unknown Error",
            }
        }
    };
}

codes! {
    NVML_SUCCESS = 0: c"Success",
    NVML_ERROR_UNINITIALIZED = 1: c"Uninitialized",
    NVML_ERROR_INVALID_ARGUMENT = 2: c"Invalid Argument",
    NVML_ERROR_NOT_SUPPORTED = 3: c"Not Supported",
    NVML_ERROR_NO_PERMISSION = 4: c"Insufficient Permissions",
    NVML_ERROR_NOT_FOUND = 6: c"Not Found",
    NVML_ERROR_INSUFFICIENT_SIZE = 7: c"Insufficient Size",
    NVML_ERROR_DRIVER_NOT_LOADED = 9: c"Driver Not Loaded",
    NVML_ERROR_TIMEOUT = 10: c"Timeout",
    NVML_ERROR_LIBRARY_NOT_FOUND = 12: c"NVML Shared Library Not Found",
    NVML_ERROR_FUNCTION_NOT_FOUND = 13: c"Function Not Found",
    NVML_ERROR_GPU_IS_LOST = 15: c"GPU is lost",
    NVML_ERROR_RESET_REQUIRED = 16: c"GPU requires reset",
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18: c"Driver/library version mismatch",
    NVML_ERROR_IN_USE = 19: c"In use by another client",
    NVML_ERROR_MEMORY = 20: c"Insufficient Memory",
    NVML_ERROR_NO_DATA = 21: c"No data",
    NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25: c"Argument version mismatch",
    NVML_ERROR_UNKNOWN = 999: c"Unknown Error",
}
