//! What the calling program hands in: pointers that the API's text makes promises about.
//!
//! These types stand in the signatures of the exported functions. Each is a pointer as C passes it; what makes its methods
//! safe to call is the promise of the caller of the exported function: the pointer is null or good for what its type says. Null
//! is checked here; nothing else can be. A library gives `NULL`, its API's status for a null pointer, once: in aliases of these
//! types.

use core::ffi::{CStr, c_char};

/// Where a result goes. Null or good for writing one `T`.
#[repr(transparent)]
pub struct Out<T, const NULL: i32>(pub *mut T);

impl<T, const NULL: i32> Clone for Out<T, NULL> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, const NULL: i32> Copy for Out<T, NULL> {}

impl<T, const NULL: i32> Out<T, NULL> {
    /// Writes the result.
    ///
    /// # Errors
    /// `NULL` for a null pointer.
    #[inline]
    pub fn set(self, value: T) -> Result<(), i32> {
        self.check()?;
        self.set_if_wanted(value);
        Ok(())
    }

    /// Whether there is a place; to be asked before anything is done.
    ///
    /// # Errors
    /// `NULL` for a null pointer.
    #[inline]
    pub fn check(self) -> Result<(), i32> {
        if self.0.is_null() { Err(NULL) } else { Ok(()) }
    }

    /// Writes the result where the caller wants it; the API allows null here.
    #[inline]
    pub fn set_if_wanted(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: not null, so good for writing a T by the promise of the exported function's caller.
            unsafe { self.0.write_unaligned(value) };
        }
    }

    /// What stands there already: the argument is both.
    ///
    /// # Errors
    /// `NULL` for a null pointer.
    #[inline]
    pub fn get(self) -> Result<T, i32>
    where
        T: Copy,
    {
        In::<T, NULL>(self.0).get()
    }

    /// The same place, at element `index` of an array of results.
    #[inline]
    #[must_use]
    pub fn at(self, index: usize) -> Self {
        Out(self.0.wrapping_add(index))
    }
}

/// An argument behind a pointer. Null or good for reading one `T`, or the array that the API's text says.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct In<T, const NULL: i32>(pub *const T);

impl<T: Copy, const NULL: i32> In<T, NULL> {
    /// Reads the argument.
    ///
    /// # Errors
    /// `NULL` for a null pointer.
    #[inline]
    pub fn get(self) -> Result<T, i32> {
        if self.0.is_null() {
            return Err(NULL);
        }
        // SAFETY: not null, so good for reading a T by the promise of the exported function's caller.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// Reads element `index` of an array.
    ///
    /// # Errors
    /// `NULL` for a null array.
    #[inline]
    pub fn at(self, index: usize) -> Result<T, i32> {
        if self.0.is_null() { Err(NULL) } else { In::<T, NULL>(self.0.wrapping_add(index)).get() }
    }
}

/// Null or a text that ends with a zero byte.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Text<const NULL: i32>(pub *const c_char);

impl<const NULL: i32> Text<NULL> {
    /// The text, for as long as the exported function runs.
    ///
    /// # Errors
    /// `NULL` for a null pointer.
    pub fn get<'a>(self) -> Result<&'a CStr, i32> {
        if self.0.is_null() {
            return Err(NULL);
        }
        // SAFETY: not null, so a text by the promise of the exported function's caller; the libraries keep it no longer than
        // the exported function runs.
        Ok(unsafe { CStr::from_ptr(self.0) })
    }
}

/// Writes a text and a zero byte behind it.
///
/// # Safety
/// `to` is good for writing one byte more than `text` has.
pub unsafe fn write_text(to: *mut c_char, text: &[u8]) {
    // SAFETY: by this function's contract; `text` is ours and cannot overlap with the program's memory.
    unsafe {
        core::ptr::copy_nonoverlapping(text.as_ptr(), to.cast::<u8>(), text.len());
        to.add(text.len()).write(0);
    }
}

/// Makes exported functions that give a status, `i32`, of bodies that give `Result<(), i32>`.
/// `extern "C" fn a | extern "C" fn b(…)` exports the same body under two names; the build finds the names by these words.
///
/// A library's own macro puts in front where the API's promises stand, and a macro `run!(name [arguments] body)` that runs a
/// body and gives its status.
#[macro_export]
macro_rules! export {
    ($api:literal [$($run:tt)*]) => {};
    (
        $api:literal [$($run:tt)*]
        $(#[$doc:meta])* extern "C" fn $name:ident ($($arguments:tt)*) $body:block
        $($rest:tt)*
    ) => {
        $crate::export!(@one $api [$($run)*] [$(#[$doc])*] $name ($($arguments)*) $body);
        $crate::export!($api [$($run)*] $($rest)*);
    };
    (
        $api:literal [$($run:tt)*]
        $(#[$doc:meta])* extern "C" fn $name:ident | extern "C" fn $alias:ident ($($arguments:tt)*) $body:block
        $($rest:tt)*
    ) => {
        $crate::export!(@one $api [$($run)*] [$(#[$doc])*] $name ($($arguments)*) $body);
        $crate::export!(@alias $alias $name ($($arguments)*));
        $crate::export!($api [$($run)*] $($rest)*);
    };
    (@one $api:literal [$($run:tt)*] [$($doc:tt)*] $name:ident ($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $($doc)*
        ///
        /// # Safety
        #[doc = concat!("The pointers are as the ", $api, " says.")]
        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> i32 {
            $($run)*! { $name [$($arg),*] $body }
        }
    };
    (@alias $alias:ident $name:ident ($($arg:ident: $ty:ty),* $(,)?)) => {
        #[doc = concat!("The same as [`", stringify!($name), "`].")]
        ///
        /// # Safety
        /// As there.
        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $alias($($arg: $ty),*) -> i32 {
            // SAFETY: the arguments are the caller's, unchanged.
            unsafe { $name($($arg),*) }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: i32 = 5;

    #[test]
    fn out_when_null_then_is_the_apis_status() {
        assert_eq!(Out::<i32, NULL>(core::ptr::null_mut()).set(1), Err(NULL));
        let mut value = 0;
        let place = Out::<i32, NULL>(&raw mut value);
        assert_eq!((place.set(7), place.get()), (Ok(()), Ok(7)));
        assert_eq!(value, 7);
    }

    #[test]
    fn in_when_null_then_no_element_of_it_is_read() {
        assert_eq!(In::<i32, NULL>(core::ptr::null()).at(1), Err(NULL));
        assert_eq!(In::<i32, NULL>([1, 2].as_ptr()).at(1), Ok(2));
        assert_eq!(Text::<NULL>(core::ptr::null()).get(), Err(NULL));
    }
}
