//! What the log says of a fault: which kernel, thread, address and line of the PTX. A program of its own, because the log's
//! place is read from the environment once.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use cpu_cuda::api::contexts::*;
use cpu_cuda::api::execution::*;
use cpu_cuda::api::modules::*;
use cpu_cuda::foreign::In;
use cpu_cuda::handle::Handle;
use cpu_cuda::status::Status;

/// Thread (5, 1, 0) of block (2, 0, 0) stores to the address; its instruction stands in line 14.
const ONE: &std::ffi::CStr = c".version 6.4
.target sm_70
.address_size 64
.visible .entry one(.param .u64 at)
{
    .reg .b64 %a; .reg .b32 %t<4>; .reg .pred %p<4>;
    ld.param.u64 %a, [at];
    mov.u32 %t0, %tid.x;
    mov.u32 %t1, %tid.y;
    mov.u32 %t2, %ctaid.x;
    setp.eq.u32 %p0, %t0, 5;
    setp.eq.and.u32 %p1, %t1, 1, %p0;
    setp.eq.and.u32 %p2, %t2, 2, %p1;
    @%p2 st.global.u32 [%a], 7;
    ret;
}
";

#[test]
fn fault_when_it_happens_then_the_log_names_kernel_thread_address_and_line() {
    let file = std::env::temp_dir().join(format!("cpu-cuda-reports-{}", std::process::id()));
    // No other thread of this program reads the environment yet.
    unsafe { std::env::set_var("GPUFERRY_CPU_LOG", &file) };
    let _context = context();
    let module = made(|out| unsafe { cuModuleLoadData(out, ONE.as_ptr() as u64) });
    let one = function(module, "one");
    let at = 0xdead_b000u64;
    let params = [&raw const at as u64];
    let none = In(std::ptr::null());
    ok(unsafe { cuLaunchKernel(one.0, 4, 1, 1, 8, 2, 1, 0, Handle::NULL, In(params.as_ptr()), none) });
    assert_eq!(unsafe { cuCtxSynchronize() }, Status::ILLEGAL_ADDRESS.0);
    let log = std::fs::read_to_string(&file).expect("the log");
    std::fs::remove_file(&file).expect("the log was there");
    let line = log.lines().find(|line| line.contains("kernel one")).unwrap_or_else(|| panic!("no report in {log}"));
    for part in ["block [2, 0, 0]", "thread [5, 1, 0]", "0xdeadb000", "line 14"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}
