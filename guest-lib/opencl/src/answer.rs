//! Answers to the API's questions about objects: how a value is handed to the program, and how the host is asked for one.

use crate::caller::{self, Caller, REPLY_BYTES};
use crate::cl_int;
use crate::generated::send;
use crate::status::{CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY};
use crate::user::{Out, Raw};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use wire::handle::Handle;

/// Where the program wants a value: `param_value_size`, `param_value` and `param_value_size_ret` of every `clGet…Info`.
#[derive(Clone, Copy)]
pub struct Answer {
    size: usize,
    value: Raw,
    size_ret: Out<usize>,
}

impl Answer {
    /// Where the value of a `clGet…Info` goes.
    #[must_use]
    pub fn new(size: usize, value: Raw, size_ret: Out<usize>) -> Answer {
        Answer { size, value, size_ret }
    }

    /// Hands bytes over.
    ///
    /// # Errors
    /// `CL_INVALID_VALUE` where there is a place, and it is too small.
    pub fn bytes(&self, data: &[u8]) -> Result<(), cl_int> {
        if !self.value.is_null() {
            if self.size < data.len() {
                return Err(CL_INVALID_VALUE);
            }
            // SAFETY: not null, so good for writing `size` bytes by the promise of the function's caller.
            unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), self.value.cast(), data.len()) };
        }
        self.size_ret.set(data.len());
        Ok(())
    }

    /// Hands a number over.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn number(&self, value: u32) -> Result<(), cl_int> {
        self.bytes(&value.to_ne_bytes())
    }

    /// Hands a bit field or a long number over.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn long(&self, value: u64) -> Result<(), cl_int> {
        self.bytes(&value.to_ne_bytes())
    }

    /// Hands a size over.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn size(&self, value: usize) -> Result<(), cl_int> {
        self.bytes(&value.to_ne_bytes())
    }

    /// Hands an object or another address over.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn object(&self, value: Raw) -> Result<(), cl_int> {
        self.size(value as usize)
    }

    /// Hands several of them over.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn objects(&self, values: impl Iterator<Item = Raw>) -> Result<(), cl_int> {
        self.bytes(&values.flat_map(|value| (value as usize).to_ne_bytes()).collect::<Vec<u8>>())
    }

    /// Hands a text over, with its zero byte.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn text(&self, value: &str) -> Result<(), cl_int> {
        self.bytes(&[value.as_bytes(), &[0]].concat())
    }

    /// The places of an array of pointers to which the program wants data: `CL_PROGRAM_BINARIES`.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn places(&self, count: usize) -> Result<Vec<Raw>, cl_int> {
        let bytes = count * size_of::<Raw>();
        self.size_ret.set(bytes);
        if self.value.is_null() {
            return Ok(Vec::new());
        }
        if self.size < bytes {
            return Err(CL_INVALID_VALUE);
        }
        Ok(crate::user::In(self.value.cast::<Raw>().cast_const()).list(count))
    }
}

/// A question to the host: `gpuferryInfo`.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// `INFO_…`.
    pub what: u32,
    /// The object, null for the platform.
    pub object: Handle,
    /// A device, where `what` wants one.
    pub second: Handle,
    /// The API's number of the property.
    pub param: u32,
    /// More, where `what` wants it.
    pub input: &'a [u8],
}

impl Question<'_> {
    /// A property of an object.
    #[must_use]
    pub fn new(what: u32, object: Handle, param: u32) -> Question<'static> {
        Question { what, object, second: Handle::NULL, param, input: &[] }
    }

    /// Asks the host.
    ///
    /// # Errors
    /// Its answer.
    pub fn ask(&self, caller: &Caller) -> Result<Vec<u8>, cl_int> {
        let mut value = vec![0; REPLY_BYTES];
        let size = self.fetch(caller, &mut value)?;
        if size > value.len() {
            if size > rt::MAX_LEASE_BYTES {
                return Err(CL_OUT_OF_HOST_MEMORY);
            }
            value.resize(size, 0);
            if self.fetch(caller, &mut value)? != size {
                // It changed in between, as a build log does while something is built.
                return Err(CL_INVALID_VALUE);
            }
        }
        value.truncate(size);
        Ok(value)
    }

    fn fetch(&self, caller: &Caller, value: &mut [u8]) -> Result<usize, cl_int> {
        let mut size = 0;
        let Question { what, object, second, param, input } = *self;
        let status = caller::output(caller, value, |buffer, reply| {
            send::gpuferryInfo(caller, what, object, second, param, input, &mut size, buffer, reply)
        });
        caller::answer(status)?;
        Ok(size)
    }
}

/// An answer of the host's.
type Known = Result<Arc<[u8]>, cl_int>;

/// Answers of the host that never change: asked once an object and property.
#[derive(Default)]
pub struct Facts(Mutex<HashMap<(u32, u64, u32), Known>>);

impl Facts {
    /// The host's answer, from memory where it was asked before.
    ///
    /// # Errors
    /// Its answer.
    pub fn get(&self, caller: &Caller, question: Question<'_>) -> Known {
        // Of the inputs, those of `INFO_KERNEL_ARG` alone are kept: an index.
        let index = <[u8; 4]>::try_from(question.input).map_or(0, u32::from_ne_bytes);
        let key = (question.what << 24 ^ question.param, question.second.0, index);
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let found = question.ask(caller).map(Arc::from);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        found
    }
}

/// A number out of an answer of 4 or 8 bytes; 0 for another.
#[must_use]
pub fn number(answer: &[u8]) -> u64 {
    match answer.len() {
        4 => answer.try_into().map_or(0, |four| u64::from(u32::from_ne_bytes(four))),
        8 => answer.try_into().map_or(0, u64::from_ne_bytes),
        _ => 0,
    }
}

/// Numbers of 8 bytes out of an answer.
pub fn longs(answer: &[u8]) -> impl Iterator<Item = u64> + '_ {
    answer.chunks_exact(8).map(number)
}

/// A text out of an answer.
#[must_use]
pub fn text(answer: &[u8]) -> String {
    let end = answer.iter().position(|byte| *byte == 0).unwrap_or(answer.len());
    String::from_utf8_lossy(&answer[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_when_the_place_is_small_then_is_an_invalid_value_and_without_one_a_size() {
        let (mut value, mut size) = ([9u8; 8], 0);
        let small = Answer::new(3, value.as_mut_ptr().cast(), Out(&raw mut size));
        assert_eq!(small.number(5), Err(CL_INVALID_VALUE));
        assert_eq!((value, size), ([9; 8], 0));
        assert_eq!(Answer::new(0, core::ptr::null_mut(), Out(&raw mut size)).text("abc"), Ok(()));
        assert_eq!(size, 4);
        let large = Answer::new(8, value.as_mut_ptr().cast(), Out(core::ptr::null_mut()));
        assert_eq!(large.number(5), Ok(()));
        assert_eq!(value, [5, 0, 0, 0, 9, 9, 9, 9]);
    }

    #[test]
    fn texts_and_numbers_when_taken_out_then_are_whole() {
        assert_eq!((text(b"ab\0cd"), text(b"ab")), ("ab".into(), "ab".into()));
        assert_eq!((number(&[1, 0, 0, 0]), number(&[1]), number(&[2, 0, 0, 0, 0, 0, 0, 0])), (1, 0, 2));
    }
}
