//! What the calling program hands in, as [`rt::program`] has it, with CUDA's answer to a null pointer; and how CUDA's functions are
//! exported. The promises of an exported function's caller stand in the CUDA Driver API, that function.

use crate::CUresult;
use crate::status::CUDA_ERROR_INVALID_VALUE;
use core::ffi::{c_char, c_void};

/// Where a result goes.
pub type Out<T> = rt::program::Out<T, CUDA_ERROR_INVALID_VALUE>;
/// An argument behind a pointer.
pub type In<T> = rt::program::In<T, CUDA_ERROR_INVALID_VALUE>;
/// A text of the program's.
pub type Text = rt::program::Text<CUDA_ERROR_INVALID_VALUE>;

/// Makes an [`Out`](type@Out): an alias has no constructor of its own.
#[allow(non_snake_case)]
#[inline]
#[must_use]
pub const fn Out<T>(place: *mut T) -> Out<T> {
    rt::program::Out(place)
}

/// Makes an [`In`](type@In).
#[allow(non_snake_case)]
#[inline]
#[must_use]
pub const fn In<T>(place: *const T) -> In<T> {
    rt::program::In(place)
}

/// Makes a [`Text`](type@Text).
#[allow(non_snake_case)]
#[inline]
#[must_use]
pub const fn Text(text: *const c_char) -> Text {
    rt::program::Text(text)
}

/// Copies `bytes` bytes of the program's memory.
///
/// # Safety
/// `from` is good for reading that many bytes.
#[inline]
pub unsafe fn read_into(from: *const c_void, to: &mut [u8]) {
    // SAFETY: by this function's contract; `to` is ours and cannot overlap with the program's memory.
    unsafe { core::ptr::copy_nonoverlapping(from.cast::<u8>(), to.as_mut_ptr(), to.len()) };
}

/// Fills a text buffer of `room` bytes the way the API does: cut to fit, always ended with a zero byte.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for a null buffer or no room at all.
pub fn fill_text(to: Out<c_char>, room: i32, text: &[u8]) -> Result<(), CUresult> {
    let room = usize::try_from(room).map_err(|_| CUDA_ERROR_INVALID_VALUE)?;
    to.check()?;
    if room == 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the buffer is good for `room` bytes by the promise of the exported function's caller.
    unsafe { rt::program::write_text(to.0, &text[..text.len().min(room - 1)]) };
    Ok(())
}

/// Makes exported functions: a body that gives `Result<(), CUresult>`, run under [`crate::caller::guard_named`]; what it refuses
/// is answered as [`crate::order::settle`] says.
#[macro_export]
macro_rules! export {
    ($($functions:tt)*) => {
        rt::export! { "CUDA Driver API" [$crate::run] $($functions)* }
    };
}

/// Runs the body of an exported function.
#[macro_export]
#[doc(hidden)]
macro_rules! run {
    ($name:ident [$($arg:ident),*] $body:block) => {{
        let status = $crate::caller::guard_named(stringify!($name), move || -> Result<(), $crate::CUresult> { $body });
        if status == 0 { status } else { $crate::order::settle(stringify!($name), status, &[$(&$arg),*]) }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_text_when_the_buffer_is_short_then_cuts_and_ends_it() {
        let mut buffer = [1 as c_char; 4];
        assert_eq!(fill_text(Out(buffer.as_mut_ptr()), 4, b"abcdef"), Ok(()));
        assert_eq!(buffer.map(|byte| byte as u8), *b"abc\0");
        assert_eq!(fill_text(Out(buffer.as_mut_ptr()), 0, b"a"), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(fill_text(Out(core::ptr::null_mut()), 4, b"a"), Err(CUDA_ERROR_INVALID_VALUE));
    }
}
