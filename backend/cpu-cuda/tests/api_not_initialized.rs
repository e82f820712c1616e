//! Before cuInit: a program of its own, because cuInit is for the whole process.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use cpu_cuda::api::contexts::cuCtxGetCurrent;
use cpu_cuda::api::devices::cuDeviceGetCount;
use cpu_cuda::api::initialization::*;
use cpu_cuda::api::memory::cuMemAlloc_v2;
use cpu_cuda::foreign::Out;
use cpu_cuda::handle::Handle;
use cpu_cuda::status::Status;

#[test]
fn calls_when_not_initialised_then_say_so_and_the_version_is_known() {
    assert_eq!(unsafe { cuDeviceGetCount(Out(&mut 0)) }, Status::NOT_INITIALIZED.0);
    assert_eq!(unsafe { cuMemAlloc_v2(Out(&mut 0), 16) }, Status::NOT_INITIALIZED.0);
    assert_eq!(unsafe { cuCtxGetCurrent(Out(&mut Handle::default())) }, Status::NOT_INITIALIZED.0);
    assert_eq!(common::made(|out| unsafe { cuDriverGetVersion(out) }), 13000);
    assert_eq!(unsafe { cuInit(1) }, Status::INVALID_VALUE.0);
}
