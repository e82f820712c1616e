//! A process forked after cuInit: it cannot use the device, as with a GPU's driver. A program of its own, because the
//! child has one thread only.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use cpu_cuda::api::devices::cuDeviceGetCount;
use cpu_cuda::api::initialization::cuInit;
use cpu_cuda::foreign::Out;
use cpu_cuda::status::Status;

#[test]
fn child_when_forked_after_init_then_not_initialised() {
    let _context = common::context();
    // The child makes two calls that take no lock, and ends without unwinding.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let count = unsafe { cuDeviceGetCount(Out(&mut 0)) };
        let init = unsafe { cuInit(0) };
        let as_expected = count == Status::NOT_INITIALIZED.0 && init == Status::NOT_INITIALIZED.0;
        unsafe { libc::_exit(i32::from(!as_expected)) };
    }
    let mut status = -1;
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    assert_eq!(common::made(|out| unsafe { cuDeviceGetCount(out) }), 1);
}
