//! Calls before cuInit, and the names and texts of errors.

use std::ptr::{null, null_mut};

use programs::call;
use programs::driver::{Driver, text_of};

use crate::bench::{Bench, line};

pub fn before_init(cuda: &Driver) {
    let say = |what: &str, status| line("start", what, cuda.name_of(status));
    let (mut version, mut count, mut device, mut handle) = (0, 0, 0, 0);
    let mut memory = 0;
    say("cuDriverGetVersion before cuInit", call!(cuda, cuDriverGetVersion(&mut version)));
    line("device", "driver version", version);
    say("cuDriverGetVersion, null", call!(cuda, cuDriverGetVersion(null_mut())));
    say("cuDeviceGetCount before cuInit", call!(cuda, cuDeviceGetCount(&mut count)));
    say("cuDeviceGet before cuInit", call!(cuda, cuDeviceGet(&mut device, 0)));
    say("cuCtxGetCurrent before cuInit", call!(cuda, cuCtxGetCurrent(&mut handle)));
    say("cuCtxSynchronize before cuInit", call!(cuda, cuCtxSynchronize()));
    say("cuMemAlloc before cuInit", call!(cuda, cuMemAlloc_v2(&mut memory, 16)));
    say("cuMemFree of 0 before cuInit", call!(cuda, cuMemFree_v2(0)));
    say("cuModuleUnload of NULL before cuInit", call!(cuda, cuModuleUnload(0)));
    say("cuStreamSynchronize before cuInit", call!(cuda, cuStreamSynchronize(0)));
    say("cuInit with flags", call!(cuda, cuInit(1)));
    say("cuInit", call!(cuda, cuInit(0)));
    say("cuInit again", call!(cuda, cuInit(0)));
    say("cuMemAlloc with no context", call!(cuda, cuMemAlloc_v2(&mut memory, 16)));
    say("cuMemFree of 0 with no context", call!(cuda, cuMemFree_v2(0)));
    say("cuCtxSynchronize with no context", call!(cuda, cuCtxSynchronize()));
    say("cuCtxGetDevice with no context", call!(cuda, cuCtxGetDevice(&mut device)));
    say("cuStreamCreate with no context", call!(cuda, cuStreamCreate(&mut handle, 0)));
    say("cuEventCreate with no context", call!(cuda, cuEventCreate(&mut handle, 0)));
    say("cuModuleLoadData with no context", call!(cuda, cuModuleLoadData(&mut handle, c"x".as_ptr().cast())));
    say("cuCtxPopCurrent with no context", call!(cuda, cuCtxPopCurrent_v2(&mut handle)));
    say("cuCtxGetCurrent with no context", call!(cuda, cuCtxGetCurrent(&mut handle)));
    line("start", "the current context is NULL", handle == 0);
}

pub fn errors(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let mut named = 0;
    for status in -1..1100 {
        let (mut name, mut text) = (null(), null());
        let answer = call!(cuda, cuGetErrorName(status, &mut name));
        let other = call!(cuda, cuGetErrorString(status, &mut text));
        if answer == 0 && other == 0 {
            named += 1;
            bench.say(&status.to_string(), format!("{}: {}", text_of(name), text_of(text)));
        }
    }
    bench.fact("named", named);
    let mut name = c"untouched".as_ptr();
    bench.code("cuGetErrorName of no error", call!(cuda, cuGetErrorName(12345, &mut name)));
    bench.say("it gives NULL", name.is_null());
    let mut text = c"untouched".as_ptr();
    bench.code("cuGetErrorString of no error", call!(cuda, cuGetErrorString(12345, &mut text)));
    bench.say("it gives NULL", text.is_null());
    entry_points(bench);
    Ok(())
}

/// cuGetProcAddress: which names it knows, at which version, and what it says else.
fn entry_points(bench: &Bench) {
    let cuda = &bench.cuda;
    let asked = [
        (c"cuMemAlloc", 13000, 0),
        (c"cuMemAlloc", 3010, 0),
        (c"cuMemAlloc", 2000, 0),
        (c"cuMemAlloc_v2", 13000, 0),
        (c"cuLaunchKernelEx", 13000, 0),
        (c"cuLaunchKernelEx", 11000, 0),
        (c"cuStreamSynchronize", 13000, 2),
        (c"cuNoSuchThing", 13000, 0),
        (c"", 13000, 0),
        (c"cuInit", 99_999_999, 0),
        (c"cuInit", 13000, 77),
    ];
    for (name, version, flags) in asked {
        let (mut found, mut status) = (null_mut(), -1);
        let answer = call!(cuda, cuGetProcAddress_v2(name.as_ptr(), &mut found, version, flags, &mut status));
        let what = format!("cuGetProcAddress {name:?} {version} {flags}");
        bench.say(&what, format!("{}, status {status}, found {}", cuda.name_of(answer), !found.is_null()));
    }
}
