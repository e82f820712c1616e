//! cuGetProcAddress: which exported function answers a base name, by the version the program was built for and by its
//! choice of default stream. The facts are `data/proc_address.txt`; the functions are this library's own exports.

use crate::CUresult;
use crate::generated;
use crate::program::{Out, Text};
use crate::status::CUDA_ERROR_INVALID_VALUE;
use core::ffi::{CStr, c_void};
use std::collections::HashMap;
use std::sync::OnceLock;

/// `CU_GET_PROC_ADDRESS_LEGACY_STREAM`.
const FLAG_LEGACY: u64 = 1;
/// `CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM`.
const FLAG_PER_THREAD: u64 = 2;

/// How a name was found (`CUdriverProcAddressQueryResult`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Symbol(&'static str),
    Unknown,
    TooNew,
}

/// From which version on which exported name answers, oldest first.
type Versions = Vec<(i32, &'static str)>;

/// One base name: the answers for the legacy default stream, and for the per-thread one where they differ.
#[derive(Default)]
struct Line {
    legacy: Versions,
    per_thread: Option<Versions>,
}

fn versions(text: &'static str) -> Versions {
    text.split_ascii_whitespace()
        .filter_map(|item| item.split_once(':'))
        .filter_map(|(version, symbol)| Some((version.parse().ok()?, symbol)))
        .collect()
}

fn lines() -> &'static HashMap<&'static [u8], Line> {
    static LINES: OnceLock<HashMap<&'static [u8], Line>> = OnceLock::new();
    LINES.get_or_init(|| {
        let text = include_str!("../data/proc_address.txt");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| {
                let (name, rest) = line.split_once(' ')?;
                let (legacy, per_thread) =
                    rest.split_once('|').map_or((rest, None), |(left, right)| (left, Some(right)));
                Some((name.as_bytes(), Line { legacy: versions(legacy), per_thread: per_thread.map(versions) }))
            })
            .collect()
    })
}

fn find(name: &[u8], version: i32, flags: u64) -> Answer {
    let Some(line) = lines().get(name) else { return Answer::Unknown };
    let answers = match &line.per_thread {
        Some(per_thread) if flags & FLAG_PER_THREAD != 0 => per_thread,
        _ => &line.legacy,
    };
    answers.iter().rev().find(|answer| answer.0 <= version).map_or(Answer::TooNew, |answer| Answer::Symbol(answer.1))
}

/// Address of an export by its exact name.
#[must_use]
pub fn export(name: &str) -> Option<*mut c_void> {
    let exports = generated::EXPORTS;
    let at = exports.binary_search_by(|entry| entry.0.cmp(name)).ok()?;
    Some(exports.get(at)?.1 as *mut c_void)
}

fn answer(symbol: Text, pfn: Out<*mut c_void>, version: i32, flags: u64, status: Out<u32>) -> Result<(), CUresult> {
    let name: &CStr = symbol.get()?;
    pfn.check()?;
    if version > crate::init::driver_version() || flags > FLAG_PER_THREAD || flags == (FLAG_LEGACY | FLAG_PER_THREAD) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let (address, how) = match find(name.to_bytes(), version, flags) {
        Answer::Symbol(symbol) => export(symbol).map_or((core::ptr::null_mut(), 1), |address| (address, 0)),
        Answer::Unknown => (core::ptr::null_mut(), 1),
        Answer::TooNew => (core::ptr::null_mut(), 2),
    };
    status.set_if_wanted(how);
    pfn.set(address)
}

crate::export! {
    /// CUDA Driver API, cuGetProcAddress (12.0 and later).
    extern "C" fn cuGetProcAddress_v2(symbol: Text, pfn: Out<*mut c_void>, cudaVersion: i32, flags: u64, symbolStatus: Out<u32>) {
        answer(symbol, pfn, cudaVersion, flags, symbolStatus)
    }

    /// CUDA Driver API, cuGetProcAddress as of 11.3: an unknown name is `CUDA_ERROR_NOT_FOUND`.
    extern "C" fn cuGetProcAddress(symbol: Text, pfn: Out<*mut c_void>, cudaVersion: i32, flags: u64) {
        answer(symbol, pfn, cudaVersion, flags, Out(core::ptr::null_mut()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_when_the_version_grows_then_the_newest_known_symbol_answers() {
        assert_eq!(find(b"cuCtxCreate", 2000, 0), Answer::Symbol("cuCtxCreate"));
        assert_eq!(find(b"cuCtxCreate", 11000, 0), Answer::Symbol("cuCtxCreate_v2"));
        assert_eq!(find(b"cuCtxCreate", 13000, 0), Answer::Symbol("cuCtxCreate_v4"));
        assert_eq!(find(b"cuGetProcAddress", 11030, 0), Answer::Symbol("cuGetProcAddress"));
    }

    #[test]
    fn find_when_the_per_thread_stream_is_asked_for_then_gives_its_variant() {
        assert_eq!(find(b"cuLaunchKernel", 13000, 1), Answer::Symbol("cuLaunchKernel"));
        assert_eq!(find(b"cuLaunchKernel", 13000, 2), Answer::Symbol("cuLaunchKernel_ptsz"));
        assert_eq!(find(b"cuInit", 13000, 2), Answer::Symbol("cuInit"));
    }

    #[test]
    fn find_when_unknown_or_too_new_then_says_which() {
        assert_eq!(find(b"", 13000, 0), Answer::Unknown);
        assert_eq!(find(b"cuNothing", 13000, 0), Answer::Unknown);
        assert_eq!(find(b"cuCtxGetCurrent", 2000, 0), Answer::TooNew);
    }

    #[test]
    fn lines_when_read_then_name_only_exports() {
        let all = lines().values().flat_map(|line| line.legacy.iter().chain(line.per_thread.iter().flatten()));
        for (_, symbol) in all {
            assert!(export(symbol).is_some(), "{symbol}");
        }
    }
}
