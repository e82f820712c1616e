//! CUDA IPC through the exported functions: the test starts itself again as the other process.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use std::process::Command;

use common::*;
use cpu_cuda::api::contexts::cuCtxSynchronize;
use cpu_cuda::api::copies::{cuMemcpyDtoH_v2, cuMemcpyHtoD_v2};
use cpu_cuda::api::fills::cuMemsetD8_v2;
use cpu_cuda::api::sharing::*;
use cpu_cuda::foreign::Out;
use cpu_cuda::sharing::IpcHandle;
use cpu_cuda::status::Status;

const WORDS: &str = "CPU_CUDA_TEST_IPC";

fn bytes(at: u64, count: usize) -> Vec<u8> {
    let mut here = vec![0u8; count];
    ok(unsafe { cuMemcpyDtoH_v2(here.as_mut_ptr() as u64, at, count as u64) });
    here
}

#[test]
fn memory_when_opened_by_another_process_then_both_see_it() {
    let _context = context();
    alloc(700);
    let at = alloc(5000);
    ok(unsafe { cuMemsetD8_v2(at, 7, 5000) });
    ok(unsafe { cuCtxSynchronize() });
    let handle = made(|out| unsafe { cuIpcGetMemHandle(out, at + 100) });
    assert_eq!(unsafe { cuIpcOpenMemHandle_v2(Out(&mut 0), handle, 1) }, Status::INVALID_CONTEXT.0);
    let words = handle.words.map(|word| word.to_string()).join(" ");
    let this = std::env::current_exe().expect("a path");
    let child = Command::new(this).args(["--exact", "other_process", "--ignored"]).env(WORDS, words).status();
    assert!(child.expect("started").success());
    assert_eq!(bytes(at + 4998, 2), [7, 9]);
}

/// The other process; started by the test above.
#[test]
#[ignore = "is the other process of memory_when_opened_by_another_process_then_both_see_it"]
fn other_process() {
    let _context = context();
    let words = std::env::var(WORDS).expect("started by the other test");
    let mut numbers = words.split(' ').map(|word| word.parse().expect("a number"));
    let handle = IpcHandle { words: std::array::from_fn(|_| numbers.next().expect("eight")) };
    let at = made(|out| unsafe { cuIpcOpenMemHandle_v2(out, handle, 1) });
    assert_eq!(made(|out| unsafe { cuIpcOpenMemHandle_v2(out, handle, 1) }), at);
    assert!(bytes(at, 5000).iter().all(|byte| *byte == 7));
    ok(unsafe { cuMemcpyHtoD_v2(at + 4999, [9u8].as_ptr() as u64, 1) });
    assert_eq!(unsafe { cuMemcpyHtoD_v2(at + 5120, [9u8].as_ptr() as u64, 1) }, Status::INVALID_VALUE.0);
    ok(unsafe { cuIpcCloseMemHandle(at) });
    ok(unsafe { cuIpcCloseMemHandle(at) });
    assert_eq!(unsafe { cuIpcCloseMemHandle(at) }, Status::INVALID_VALUE.0);
    let wrong = IpcHandle { words: [1; 8] };
    assert_eq!(unsafe { cuIpcOpenMemHandle_v2(Out(&mut 0), wrong, 1) }, Status::INVALID_VALUE.0);
}
