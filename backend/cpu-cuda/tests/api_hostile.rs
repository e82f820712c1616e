//! Calls that make no sense: they are answered, and nothing crashes.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use cpu_cuda::api::entry_points::EXPORTS;

type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u32;

/// Functions that end or empty what other tests use when given zeroes.
const APART: [&str; 6] = [
    "cuDevicePrimaryCtxReset",
    "cuDevicePrimaryCtxReset_v2",
    "cuDevicePrimaryCtxRelease",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxPopCurrent",
    "cuCtxPopCurrent_v2",
];

fn call_all(value: u64) -> Vec<&'static str> {
    let zeroes = |function: unsafe extern "C" fn()| {
        // SAFETY: a C function takes more arguments than it looks at; null pointers and wild numbers are what this tests.
        unsafe {
            let any = std::mem::transmute::<unsafe extern "C" fn(), Any>(function);
            any(value, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        }
    };
    let unknown = |(name, function): &(&'static str, _)| (zeroes(*function) == 999).then_some(*name);
    EXPORTS.iter().filter(|(name, _)| !APART.contains(name)).filter_map(unknown).collect()
}

#[test]
fn every_function_when_given_zeroes_then_answers_with_no_panic() {
    let _context = context();
    assert_eq!(call_all(0), Vec::<&str>::new());
}

#[test]
fn every_function_when_no_context_then_answers_with_no_panic() {
    init();
    std::thread::spawn(|| assert_eq!(call_all(0), Vec::<&str>::new())).join().expect("thread");
}
