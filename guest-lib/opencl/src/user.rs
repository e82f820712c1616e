//! What the calling program hands in: pointers that the API's text makes promises about, and the shape of the API's functions.
//!
//! Each type is a pointer as C passes it; what makes its methods safe to call is the promise of the function's caller: the pointer
//! is null or good for what its type says. Null is checked here; nothing else can be.

use crate::cl_int;
use crate::status::CL_INVALID_VALUE;
use core::ffi::{CStr, c_char, c_void};

/// Where an object of the API should be: a pointer that is only compared, never followed.
pub type Raw = *mut c_void;

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
    /// Writes the result where the caller wants it.
    pub fn set(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: not null, so good for writing a T by the promise of the function's caller.
            unsafe { self.0.write_unaligned(value) };
        }
    }

    /// Whether the caller wants it.
    #[must_use]
    pub fn is_wanted(self) -> bool {
        !self.0.is_null()
    }

    /// The same place, at element `index` of an array of results; null stays null.
    #[must_use]
    pub fn at(self, index: usize) -> Out<T> {
        if self.0.is_null() { self } else { Out(self.0.wrapping_add(index)) }
    }
}

/// An argument behind a pointer. Null or good for reading one `T`, or the array that the API's text says.
#[repr(transparent)]
pub struct In<T>(pub *const T);

impl<T> Clone for In<T> {
    fn clone(&self) -> In<T> {
        *self
    }
}

impl<T> Copy for In<T> {}

impl<T: Copy> In<T> {
    /// Reads the argument.
    ///
    /// # Errors
    /// `CL_INVALID_VALUE` for a null pointer.
    pub fn get(self) -> Result<T, cl_int> {
        self.read().ok_or(CL_INVALID_VALUE)
    }

    /// Reads the argument, where there is one.
    #[must_use]
    pub fn read(self) -> Option<T> {
        // SAFETY: not null, so good for reading a T by the promise of the function's caller.
        (!self.0.is_null()).then(|| unsafe { self.0.read_unaligned() })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Reads `count` elements of an array; none where it is null.
    #[must_use]
    pub fn list(self, count: usize) -> Vec<T> {
        if self.0.is_null() {
            return Vec::new();
        }
        // SAFETY: not null, so an array of that length by the promise of the function's caller.
        (0..count).map(|at| unsafe { self.0.add(at).read_unaligned() }).collect()
    }
}

impl In<u64> {
    /// A list that ends with 0, without that: names and values in turn. `None` for a null pointer.
    ///
    /// # Errors
    /// `CL_INVALID_VALUE` for a list that does not end.
    pub fn pairs(self) -> Result<Option<Vec<[u64; 2]>>, cl_int> {
        const MOST: usize = 4096;
        if self.0.is_null() {
            return Ok(None);
        }
        let mut found = Vec::new();
        // SAFETY: not null, so a list that ends with 0 by the promise of the function's caller.
        let at = |index| unsafe { self.0.add(index).read_unaligned() };
        while at(2 * found.len()) != 0 {
            if found.len() == MOST {
                return Err(CL_INVALID_VALUE);
            }
            found.push([at(2 * found.len()), at(2 * found.len() + 1)]);
        }
        Ok(Some(found))
    }
}

impl In<[usize; 3]> {
    /// Reads the first `dimensions` of three sizes; the others are `rest`.
    #[must_use]
    pub fn sizes(self, dimensions: usize, rest: usize) -> Option<[usize; 3]> {
        let given = In(self.0.cast::<usize>()).list(dimensions.min(3));
        (!self.0.is_null()).then(|| [0, 1, 2].map(|at| given.get(at).copied().unwrap_or(rest)))
    }
}

/// Null or a text that ends with a zero byte.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Text(pub *const c_char);

impl Text {
    /// The text, for as long as the function runs.
    #[must_use]
    pub fn get<'a>(self) -> Option<&'a CStr> {
        // SAFETY: not null, so a text by the promise of the function's caller; callers in this crate keep it no longer than the
        // function runs.
        (!self.0.is_null()).then(|| unsafe { CStr::from_ptr(self.0) })
    }
}

/// `bytes` bytes of the program's memory, for as long as the function runs.
///
/// # Safety
/// `from` is null with no bytes, or good for reading that many.
#[must_use]
pub unsafe fn bytes<'a>(from: *const c_void, bytes: usize) -> &'a [u8] {
    if from.is_null() || bytes == 0 {
        return &[];
    }
    // SAFETY: by this function's contract.
    unsafe { core::slice::from_raw_parts(from.cast(), bytes) }
}

/// Functions that return a status: the body gives `Result<(), cl_int>`. The build finds the names by the words `extern "C" fn`.
#[macro_export]
macro_rules! calls {
    ($($(#[$doc:meta])* extern "C" fn $name:ident ($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// The pointers are as the API says.
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> $crate::cl_int {
            $crate::caller::guard(move || -> Result<(), $crate::cl_int> { $body })
        }
    )*};
}

/// Functions that return an object and take the place for their status last: the body gives `Result<Raw, cl_int>`.
#[macro_export]
macro_rules! makers {
    ($($(#[$doc:meta])* extern "C" fn $name:ident ($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// The pointers are as the API says.
        pub unsafe extern "C" fn $name($($arg: $ty,)* errcode_ret: $crate::user::Out<$crate::cl_int>) -> $crate::user::Raw {
            $crate::caller::guard_maker(errcode_ret, move || -> Result<$crate::user::Raw, $crate::cl_int> { $body })
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_when_the_list_ends_then_are_without_its_end() {
        let list = [1u64, 2, 3, 4, 0];
        assert_eq!(In(list.as_ptr()).pairs(), Ok(Some(vec![[1, 2], [3, 4]])));
        assert_eq!(In(core::ptr::null::<u64>()).pairs(), Ok(None));
        assert_eq!(In([0u64].as_ptr()).pairs(), Ok(Some(vec![])));
    }

    #[test]
    fn sizes_when_fewer_dimensions_then_are_filled_up() {
        let given = [5usize, 6];
        assert_eq!(In(given.as_ptr().cast::<[usize; 3]>()).sizes(2, 1), Some([5, 6, 1]));
        assert_eq!(In(core::ptr::null::<[usize; 3]>()).sizes(2, 1), None);
    }
}
