//! What the calling program hands in: pointers that the API's text makes promises about.
//!
//! These types stand in the signatures of the exported functions. Each is a pointer as C passes it; what makes its methods
//! safe to call is the promise of the caller of the exported function (NVML API Reference, that function): the pointer is null or
//! good for what its type says. Null is checked here; nothing else can be.

use crate::nvmlReturn_t;
use crate::status::{NVML_ERROR_INSUFFICIENT_SIZE, NVML_ERROR_INVALID_ARGUMENT};
use core::ffi::{CStr, c_char};

/// Where a result goes. Null or good for writing one `T`.
#[repr(transparent)]
pub struct Out<T>(pub *mut T);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Out<T> {
        *self
    }
}

impl<T> Copy for Out<T> {}

impl<T> Out<T> {
    /// Writes the result.
    ///
    /// # Errors
    /// `NVML_ERROR_INVALID_ARGUMENT` for a null pointer.
    #[inline]
    pub fn set(self, value: T) -> Result<(), nvmlReturn_t> {
        self.check()?;
        // SAFETY: not null, so good for writing a T by the promise of the exported function's caller.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Whether there is a place; to be asked before anything is done.
    ///
    /// # Errors
    /// `NVML_ERROR_INVALID_ARGUMENT` for a null pointer.
    #[inline]
    pub fn check(self) -> Result<(), nvmlReturn_t> {
        if self.0.is_null() { Err(NVML_ERROR_INVALID_ARGUMENT) } else { Ok(()) }
    }

    /// What stands there already: the argument is both.
    ///
    /// # Errors
    /// `NVML_ERROR_INVALID_ARGUMENT` for a null pointer.
    #[inline]
    pub fn get(self) -> Result<T, nvmlReturn_t>
    where
        T: Copy,
    {
        self.check()?;
        // SAFETY: not null, so good for reading a T by the promise of the exported function's caller.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// The same place, at element `index` of an array of results.
    #[inline]
    #[must_use]
    pub fn at(self, index: usize) -> Out<T> {
        Out(self.0.wrapping_add(index))
    }
}

/// Null or a text that ends with a zero byte.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Text(pub *const c_char);

impl Text {
    /// The text, for as long as the exported function runs.
    ///
    /// # Errors
    /// `NVML_ERROR_INVALID_ARGUMENT` for a null pointer.
    pub fn get<'a>(self) -> Result<&'a CStr, nvmlReturn_t> {
        if self.0.is_null() {
            return Err(NVML_ERROR_INVALID_ARGUMENT);
        }
        // SAFETY: not null, so a text by the promise of the exported function's caller; callers in this crate keep it no
        // longer than the exported function runs.
        Ok(unsafe { CStr::from_ptr(self.0) })
    }
}

/// Fills a text buffer of `room` bytes the way the API does: whole and ended with a zero byte, or not at all.
///
/// # Errors
/// `NVML_ERROR_INVALID_ARGUMENT` for a null buffer, `NVML_ERROR_INSUFFICIENT_SIZE` for too little room.
pub fn fill_text(to: Out<c_char>, room: u32, text: &[u8]) -> Result<(), nvmlReturn_t> {
    to.check()?;
    let taken = text.len();
    if taken >= room as usize {
        return Err(NVML_ERROR_INSUFFICIENT_SIZE);
    }
    // SAFETY: the buffer is good for `room` bytes by the promise of the exported function's caller; `taken < room`.
    unsafe {
        core::ptr::copy_nonoverlapping(text.as_ptr(), to.0.cast::<u8>(), taken);
        to.0.add(taken).write(0);
    }
    Ok(())
}

/// Makes exported functions: a body that gives `Result<(), nvmlReturn_t>`, run under [`crate::caller::guard`].
/// `extern "C" fn a | extern "C" fn b(…)` exports the same body under two names; the build finds the names by these words.
#[macro_export]
macro_rules! export {
    () => {};
    ($(#[$doc:meta])* extern "C" fn $name:ident ($($arguments:tt)*) $body:block $($rest:tt)*) => {
        $crate::export!(@one [$(#[$doc])*] $name ($($arguments)*) $body);
        $crate::export!($($rest)*);
    };
    (
        $(#[$doc:meta])* extern "C" fn $name:ident | extern "C" fn $alias:ident ($($arguments:tt)*) $body:block
        $($rest:tt)*
    ) => {
        $crate::export!(@one [$(#[$doc])*] $name ($($arguments)*) $body);
        $crate::export!(@alias $alias $name ($($arguments)*));
        $crate::export!($($rest)*);
    };
    (@one [$($doc:tt)*] $name:ident ($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $($doc)*
        ///
        /// # Safety
        /// The pointers are as the NVML API Reference says.
        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> $crate::nvmlReturn_t {
            $crate::caller::guard(move || -> Result<(), $crate::nvmlReturn_t> { $body })
        }
    };
    (@alias $alias:ident $name:ident ($($arg:ident: $ty:ty),* $(,)?)) => {
        #[doc = concat!("The same as [`", stringify!($name), "`].")]
        ///
        /// # Safety
        /// As there.
        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $alias($($arg: $ty),*) -> $crate::nvmlReturn_t {
            // SAFETY: the arguments are the caller's, unchanged.
            unsafe { $name($($arg),*) }
        }
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

    #[test]
    fn out_when_null_then_is_an_invalid_value() {
        assert_eq!(Out::<i32>(core::ptr::null_mut()).set(1), Err(NVML_ERROR_INVALID_ARGUMENT));
        let mut value = 0;
        assert_eq!(Out(&raw mut value).set(7), Ok(()));
        assert_eq!(value, 7);
    }
}
