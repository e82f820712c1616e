//! What a function says when several things are wrong at once. By itself a function here looks whether cuInit was called,
//! then for a context, then at its arguments; where the vendor's library looks in another order, `data/order.txt` says so. It
//! is asked only once a call was refused, so that a call that is right pays nothing for it.

use crate::CUresult;
use crate::context;
use crate::program::{In, Out, Text};
use crate::status::{
    CUDA_ERROR_CONTEXT_IS_DESTROYED, CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE,
    CUDA_ERROR_NOT_INITIALIZED,
};

/// The functions that differ, a line each; the file's head says how they are written.
const RULES: &str = include_str!("../data/order.txt");

/// An argument, for the question whether it is null.
pub trait Argument {
    /// Whether it is no pointer and no number but 0.
    fn is_null(&self) -> bool;
}

macro_rules! numbers {
    ($($kind:ty),*) => {
        $(impl Argument for $kind {
            fn is_null(&self) -> bool {
                *self == (0 as $kind)
            }
        })*
    };
}

numbers!(u8, u16, u32, u64, usize, i32, i64, f32);

impl<T> Argument for *mut T {
    fn is_null(&self) -> bool {
        <*mut T>::is_null(*self)
    }
}

impl<T> Argument for *const T {
    fn is_null(&self) -> bool {
        <*const T>::is_null(*self)
    }
}

impl<T> Argument for Out<T> {
    fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

impl<T> Argument for In<T> {
    fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

impl Argument for Text {
    fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

/// A function of the program's.
impl<T> Argument for Option<T> {
    fn is_null(&self) -> bool {
        self.is_none()
    }
}

/// Passed by value.
impl Argument for crate::ipc::IpcHandle {
    fn is_null(&self) -> bool {
        false
    }
}

/// When a function looks at the arguments that must not be null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Before whether cuInit was called.
    First,
    /// Before the context.
    Second,
    /// Behind it.
    Third,
}

/// The rule for a function: when, the status, the arguments.
fn rule(name: &str) -> Option<(Stage, CUresult, impl Iterator<Item = usize>)> {
    let line = RULES.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    let mut words = line.split(' ');
    let stage = match words.next()? {
        "first" => Stage::First,
        "second" => Stage::Second,
        _ => Stage::Third,
    };
    let status = words.next()?.parse().ok()?;
    Some((stage, status, words.next().unwrap_or_default().split(',').filter_map(|place| place.parse().ok())))
}

/// The answer of a refused call, as the vendor's library gives it.
#[cold]
#[inline(never)]
pub fn settle(name: &str, status: CUresult, arguments: &[&dyn Argument]) -> CUresult {
    let may_differ = matches!(
        status,
        CUDA_ERROR_NOT_INITIALIZED
            | CUDA_ERROR_INVALID_CONTEXT
            | CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUDA_ERROR_INVALID_VALUE
            | CUDA_ERROR_INVALID_HANDLE
    );
    let Some((stage, wrong, mut places)) = may_differ.then(|| rule(name)).flatten() else { return status };
    let is_null = places.any(|place| arguments.get(place).is_some_and(|argument| argument.is_null()));
    match stage {
        Stage::First if is_null => wrong,
        Stage::Second if is_null && status != CUDA_ERROR_NOT_INITIALIZED => wrong,
        Stage::Third if status != CUDA_ERROR_NOT_INITIALIZED => context::check_current().err().unwrap_or(status),
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_when_read_then_each_is_of_a_function_and_has_what_its_stage_needs() {
        let exports = include_str!("../../../spec/api/cuda_exports.txt");
        let lines: Vec<&str> = RULES.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() > 100);
        for line in lines {
            let name = line.split(' ').next().unwrap_or_default();
            assert!(exports.lines().any(|export| export == name), "{line}");
            let (stage, status, places) = rule(name).expect(line);
            assert_eq!(stage == Stage::Third, places.count() == 0, "{line}");
            assert!(stage == Stage::Third || [1, 201, 400].contains(&status), "{line}");
        }
    }

    #[test]
    fn answer_when_an_argument_is_null_that_is_looked_at_first_then_is_the_arguments() {
        let (null, place) = (core::ptr::null_mut::<u8>(), core::ptr::dangling_mut::<u8>());
        assert_eq!(settle("cuStreamGetFlags", CUDA_ERROR_NOT_INITIALIZED, &[&0u64, &null]), CUDA_ERROR_INVALID_VALUE);
        assert_eq!(
            settle("cuStreamGetFlags", CUDA_ERROR_NOT_INITIALIZED, &[&0u64, &place]),
            CUDA_ERROR_NOT_INITIALIZED
        );
        assert_eq!(settle("cuTexRefDestroy", CUDA_ERROR_INVALID_CONTEXT, &[&0u64]), CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(settle("cuTexRefDestroy", CUDA_ERROR_NOT_INITIALIZED, &[&0u64]), CUDA_ERROR_NOT_INITIALIZED);
        assert_eq!(settle("cuCtxSynchronize", CUDA_ERROR_INVALID_CONTEXT, &[]), CUDA_ERROR_INVALID_CONTEXT);
    }
}
