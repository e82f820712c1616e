//! What the calling program hands in, as [`rt::program`] has it, with NVML's answer to a null pointer; and how NVML's functions are
//! exported. The promises of an exported function's caller stand in the NVML API Reference, that function.

use crate::nvmlReturn_t;
use crate::status::{NVML_ERROR_INSUFFICIENT_SIZE, NVML_ERROR_INVALID_ARGUMENT};
use core::ffi::c_char;

/// Where a result goes.
pub type Out<T> = rt::program::Out<T, NVML_ERROR_INVALID_ARGUMENT>;
/// A text of the program's.
pub type Text = rt::program::Text<NVML_ERROR_INVALID_ARGUMENT>;

/// Makes an [`Out`](type@Out): an alias has no constructor of its own.
#[allow(non_snake_case)]
#[must_use]
pub const fn Out<T>(place: *mut T) -> Out<T> {
    rt::program::Out(place)
}

/// Fills a text buffer of `room` bytes the way the API does: whole and ended with a zero byte, or not at all.
///
/// # Errors
/// `NVML_ERROR_INVALID_ARGUMENT` for a null buffer, `NVML_ERROR_INSUFFICIENT_SIZE` for too little room.
pub fn fill_text(to: Out<c_char>, room: u32, text: &[u8]) -> Result<(), nvmlReturn_t> {
    to.check()?;
    if text.len() >= room as usize {
        return Err(NVML_ERROR_INSUFFICIENT_SIZE);
    }
    // SAFETY: the buffer is good for `room` bytes by the promise of the exported function's caller.
    unsafe { rt::program::write_text(to.0, text) };
    Ok(())
}

/// Makes exported functions: a body that gives `Result<(), nvmlReturn_t>`, run under [`crate::caller::guard`].
#[macro_export]
macro_rules! export {
    ($($functions:tt)*) => {
        rt::export! { "NVML API Reference" [$crate::run] $($functions)* }
    };
}

/// Runs the body of an exported function.
#[macro_export]
#[doc(hidden)]
macro_rules! run {
    ($name:ident [$($arg:ident),*] $body:block) => {
        $crate::caller::guard(move || -> Result<(), $crate::nvmlReturn_t> { $body })
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_text_when_the_buffer_is_short_then_says_so() {
        let mut buffer = [1 as c_char; 4];
        assert_eq!(fill_text(Out(buffer.as_mut_ptr()), 4, b"abc"), Ok(()));
        assert_eq!(buffer.map(|byte| byte as u8), *b"abc\0");
        assert_eq!(fill_text(Out(buffer.as_mut_ptr()), 3, b"abc"), Err(NVML_ERROR_INSUFFICIENT_SIZE));
        assert_eq!(fill_text(Out(core::ptr::null_mut()), 4, b"a"), Err(NVML_ERROR_INVALID_ARGUMENT));
    }
}
