//! What the tests of the exported functions share: a context of their own on each thread, and calls that must succeed.

#![allow(dead_code)]
// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::ffi::{CString, c_char};
use std::sync::Once;

use cpu_cuda::api::contexts::{cuCtxCreate_v2, cuCtxDestroy_v2};
use cpu_cuda::api::initialization::cuInit;
use cpu_cuda::api::memory::cuMemAlloc_v2;
use cpu_cuda::api::modules::{cuModuleGetFunction, cuModuleLoadData};
use cpu_cuda::api::streams::cuStreamCreate;
use cpu_cuda::context::Context;
use cpu_cuda::foreign::{Out, Text};
use cpu_cuda::handle::Handle;
use cpu_cuda::module::{Function, Module};
use cpu_cuda::stream::Stream;

/// Adds b to a; n elements. Also a variable, and a kernel that adds to it.
pub const PTX: &std::ffi::CStr = c"
.version 6.4
.target sm_50
.address_size 64
.visible .global .align 4 .u32 counter = 7;
.visible .entry add(.param .u64 a, .param .u64 b, .param .u32 n)
{
    .reg .pred %p<2>;
    .reg .f32 %f<4>;
    .reg .b32 %r<6>;
    .reg .b64 %rd<8>;
    ld.param.u64 %rd1, [a];
    ld.param.u64 %rd2, [b];
    ld.param.u32 %r2, [n];
    mov.u32 %r3, %ctaid.x;
    mov.u32 %r4, %ntid.x;
    mov.u32 %r5, %tid.x;
    mad.lo.s32 %r1, %r3, %r4, %r5;
    setp.ge.u32 %p1, %r1, %r2;
    @%p1 bra DONE;
    mul.wide.u32 %rd4, %r1, 4;
    add.s64 %rd5, %rd1, %rd4;
    add.s64 %rd6, %rd2, %rd4;
    ld.global.f32 %f1, [%rd5];
    ld.global.f32 %f2, [%rd6];
    add.f32 %f3, %f1, %f2;
    st.global.f32 [%rd5], %f3;
DONE:
    ret;
}
.visible .entry bump(.param .u32 k)
{
    .reg .b32 %r<4>;
    .reg .b64 %rd<2>;
    ld.param.u32 %r1, [k];
    mov.u64 %rd1, counter;
    atom.global.add.u32 %r2, [%rd1], %r1;
    ret;
}
.visible .entry store(.param .u64 at)
{
    .reg .b32 %r<2>;
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [at];
    mov.u32 %r1, 1;
    st.global.u32 [%rd1], %r1;
    ret;
}
.visible .entry die()
{
    trap;
    ret;
}
";

/// The status must be success.
#[track_caller]
pub fn ok(status: u32) {
    assert_eq!(status, 0, "CUresult");
}

/// cuInit, with little memory, once for the test program.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: no other thread of the test reads the environment yet.
        unsafe { std::env::set_var("GPUFERRY_CPU_MEMORY", "256M") };
        // SAFETY: no pointers.
        ok(unsafe { cuInit(0) });
    });
}

/// Runs a test in a process of its own: a fault is the end of every context of its process. `name` is the test's.
pub fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var("CPU_CUDA_ALONE").is_ok_and(|alone| alone == name) {
        return test();
    }
    let program = std::env::current_exe().expect("the test program");
    let mut command = std::process::Command::new(program);
    let status = command.args(["--exact", name, "--nocapture"]).env("CPU_CUDA_ALONE", name).status();
    assert!(status.expect("the test program starts").success(), "{name} failed in its own process, see above");
}

/// A context that is current on this thread until it is dropped.
pub struct Current(pub Handle<Context>);

/// Makes a context of the test's own.
pub fn context() -> Current {
    init();
    Current(made(|out| unsafe { cuCtxCreate_v2(out, 0, 0) }))
}

impl Drop for Current {
    fn drop(&mut self) {
        // SAFETY: no pointers. Destroyed already in tests of that.
        let _ = unsafe { cuCtxDestroy_v2(self.0) };
    }
}

/// What a call writes.
#[track_caller]
pub fn made<T: Copy + Default>(call: impl FnOnce(Out<T>) -> u32) -> T {
    let mut value = T::default();
    ok(call(Out(&mut value)));
    value
}

/// Device memory.
pub fn alloc(bytes: u64) -> u64 {
    made(|out| unsafe { cuMemAlloc_v2(out, bytes) })
}

/// A stream.
pub fn stream(flags: u32) -> Handle<Stream> {
    made(|out| unsafe { cuStreamCreate(out, flags) })
}

/// A module of [`PTX`].
pub fn module() -> Handle<Module> {
    made(|out| unsafe { cuModuleLoadData(out, PTX.as_ptr() as u64) })
}

/// A kernel of a module.
pub fn function(module: Handle<Module>, name: &str) -> Handle<Function> {
    let name = CString::new(name).expect("no NUL");
    made(|out| unsafe { cuModuleGetFunction(out, module, Text(name.as_ptr())) })
}

/// A null pointer for results.
pub fn nowhere<T>() -> Out<T> {
    Out(std::ptr::null_mut())
}

/// A text argument.
pub fn text(text: &std::ffi::CStr) -> Text {
    Text(text.as_ptr())
}

/// The text in a buffer.
pub fn read_text(buffer: &[c_char]) -> String {
    buffer.iter().take_while(|byte| **byte != 0).map(|byte| *byte as u8 as char).collect()
}
