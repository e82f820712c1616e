//! What the calling program hands in: pointers that the API's text makes promises about.
//!
//! These types stand in the signatures of the exported functions. Each is a pointer as C passes it; what makes its methods
//! safe to call is the promise of the caller of the exported function (CUDA Driver API, that function): the pointer is null or
//! good for what its type says. Null is checked here; nothing else can be.

use crate::CUresult;
use crate::status::CUDA_ERROR_INVALID_VALUE;
use core::ffi::{CStr, c_char, c_void};

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
    /// `CUDA_ERROR_INVALID_VALUE` for a null pointer.
    #[inline]
    pub fn set(self, value: T) -> Result<(), CUresult> {
        self.check()?;
        // SAFETY: not null, so good for writing a T by the promise of the exported function's caller.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Whether there is a place; to be asked before anything is done.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for a null pointer.
    #[inline]
    pub fn check(self) -> Result<(), CUresult> {
        if self.0.is_null() { Err(CUDA_ERROR_INVALID_VALUE) } else { Ok(()) }
    }

    /// Writes the result where the caller wants it; the API allows null here.
    #[inline]
    pub fn set_if_wanted(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: not null, so good for writing a T by the promise of the exported function's caller.
            unsafe { self.0.write_unaligned(value) };
        }
    }

    /// The same place, at element `index` of an array of results.
    #[inline]
    #[must_use]
    pub fn at(self, index: usize) -> Out<T> {
        Out(self.0.wrapping_add(index))
    }
}

/// An argument behind a pointer. Null or good for reading one `T`, or the array that the API's text says.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct In<T>(pub *const T);

impl<T: Copy> In<T> {
    /// Reads the argument.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for a null pointer.
    #[inline]
    pub fn get(self) -> Result<T, CUresult> {
        if self.0.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        // SAFETY: not null, so good for reading a T by the promise of the exported function's caller.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// Reads element `index` of an array.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for a null array.
    #[inline]
    pub fn at(self, index: usize) -> Result<T, CUresult> {
        if self.0.is_null() { Err(CUDA_ERROR_INVALID_VALUE) } else { In(self.0.wrapping_add(index)).get() }
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
    /// `CUDA_ERROR_INVALID_VALUE` for a null pointer.
    pub fn get<'a>(self) -> Result<&'a CStr, CUresult> {
        if self.0.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        // SAFETY: not null, so a text by the promise of the exported function's caller; callers in this crate keep it no
        // longer than the exported function runs.
        Ok(unsafe { CStr::from_ptr(self.0) })
    }
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
    let taken = text.len().min(room - 1);
    // SAFETY: the buffer is good for `room` bytes by the promise of the exported function's caller; `taken < room`.
    unsafe {
        core::ptr::copy_nonoverlapping(text.as_ptr(), to.0.cast::<u8>(), taken);
        to.0.add(taken).write(0);
    }
    Ok(())
}

/// Makes exported functions: a body that gives `Result<(), CUresult>`, run under [`crate::caller::guard_named`].
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
        /// The pointers are as the CUDA Driver API says.
        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> $crate::CUresult {
            let status = $crate::caller::guard_named(stringify!($name), move || -> Result<(), $crate::CUresult> { $body });
            if status == 0 { status } else { $crate::order::settle(stringify!($name), status, &[$(&$arg),*]) }
        }
    };
    (@alias $alias:ident $name:ident ($($arg:ident: $ty:ty),* $(,)?)) => {
        #[doc = concat!("The same as [`", stringify!($name), "`].")]
        ///
        /// # Safety
        /// As there.
        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $alias($($arg: $ty),*) -> $crate::CUresult {
            // SAFETY: the arguments are the caller's, unchanged.
            unsafe { $name($($arg),*) }
        }
    };
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

    #[test]
    fn out_when_null_then_is_an_invalid_value() {
        assert_eq!(Out::<i32>(core::ptr::null_mut()).set(1), Err(CUDA_ERROR_INVALID_VALUE));
        let mut value = 0;
        assert_eq!(Out(&raw mut value).set(7), Ok(()));
        assert_eq!(value, 7);
    }
}
