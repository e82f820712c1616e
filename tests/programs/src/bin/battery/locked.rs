//! Page-locked memory: made by the driver, or the program's own registered, read and written by copies and by kernels.

use std::ffi::c_void;
use std::ptr::null_mut;

use programs::driver::CUdeviceptr;
use programs::{call, must};

use crate::bench::{Bench, On, checksum, pattern, place};

const PORTABLE: u32 = 1;
const MAPPED: u32 = 2;

pub fn run(bench: &Bench) -> Result<(), String> {
    made(bench)?;
    registered(bench)?;
    copied(bench)?;
    refused(bench)
}

/// The words of page-locked memory.
fn words(at: *mut c_void, count: usize) -> Vec<u32> {
    // SAFETY: the caller holds `count` words there, and the device has been waited for.
    unsafe { std::slice::from_raw_parts(at.cast::<u32>(), count) }.to_vec()
}

fn write(at: *mut c_void, values: &[u32]) {
    // SAFETY: the caller holds that many words there, and the device does not use them.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), at.cast::<u32>(), values.len()) }
}

/// Has a kernel add the words there to themselves, in place.
fn doubled(bench: &Bench, at: CUdeviceptr, count: u32) -> Result<i32, String> {
    let function = bench.function("add_arrays")?;
    let parameters = [place(&at), place(&at), place(&at), place(&count)];
    Ok(bench.launch(function, [count.div_ceil(256), 1, 1], [256, 1, 1], On::default(), &parameters))
}

fn made(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut at, mut device, mut flags) = (null_mut(), 0, 99);
    for (what, bytes, asked) in [("small", 4, PORTABLE), ("page", 4096, MAPPED), ("large", 5 << 20, PORTABLE | MAPPED)]
    {
        bench.code(&format!("{what}, {bytes} bytes"), call!(cuda, cuMemHostAlloc(&mut at, bytes, asked)));
        bench.code("its flags", call!(cuda, cuMemHostGetFlags(&mut flags, at)));
        bench.say("flags", flags);
        bench.code("its device pointer", call!(cuda, cuMemHostGetDevicePointer_v2(&mut device, at, 0)));
        bench.say("it is the same address", device == at as u64);
        let sent = pattern(bytes / 4);
        write(at, &sent);
        bench.code("a kernel works on it", doubled(bench, device, (bytes / 4) as u32)?);
        must!(cuda, cuCtxSynchronize())?;
        bench.say("words", checksum(&words(at, bytes / 4)));
        bench.code("free", call!(cuda, cuMemFreeHost(at)));
    }
    bench.code("cuMemAllocHost", call!(cuda, cuMemAllocHost_v2(&mut at, 10_000)));
    let mut kind = 0u32;
    let out = std::ptr::from_mut(&mut kind).cast();
    bench.code("its memory type", call!(cuda, cuPointerGetAttribute(out, 2, at as u64)));
    bench.say("type", kind);
    bench.code("free", call!(cuda, cuMemFreeHost(at)));
    bench.code("flags after", call!(cuda, cuMemHostGetFlags(&mut flags, at)));
    Ok(())
}

fn registered(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let bytes = 1 << 20;
    // Whole pages of the program's own.
    let mut own = vec![0u8; bytes + 4096];
    let shift = own.as_ptr().align_offset(4096);
    let at: *mut c_void = own[shift..].as_mut_ptr().cast();
    let (mut device, mut flags) = (0, 99);
    let sent = pattern(bytes / 4);
    write(at, &sent);
    bench.code("register", call!(cuda, cuMemHostRegister_v2(at, bytes, PORTABLE | MAPPED)));
    bench.say("it holds what it held", words(at, bytes / 4) == sent);
    bench.code("register again", call!(cuda, cuMemHostRegister_v2(at, bytes, 0)));
    bench.code("register a part", call!(cuda, cuMemHostRegister_v2(at, 4096, 0)));
    bench.code("its flags", call!(cuda, cuMemHostGetFlags(&mut flags, at)));
    bench.say("flags", flags);
    bench.code("its device pointer", call!(cuda, cuMemHostGetDevicePointer_v2(&mut device, at, 0)));
    bench.code("a kernel works on it", doubled(bench, device, (bytes / 4) as u32)?);
    must!(cuda, cuCtxSynchronize())?;
    bench.say("words", checksum(&words(at, bytes / 4)));
    bench.code("unregister inside", call!(cuda, cuMemHostUnregister(at.wrapping_byte_add(4096))));
    bench.code("unregister", call!(cuda, cuMemHostUnregister(at)));
    bench.code("unregister again", call!(cuda, cuMemHostUnregister(at)));
    bench.say("words after", checksum(&words(at, bytes / 4)));
    bench.code("device pointer after", call!(cuda, cuMemHostGetDevicePointer_v2(&mut device, at, 0)));
    Ok(())
}

/// Copies between page-locked and device memory, in a stream.
fn copied(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut from, mut to, mut stream) = (null_mut(), null_mut(), 0);
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    must!(cuda, cuMemHostAlloc(&mut from, 1 << 20, 0))?;
    must!(cuda, cuMemHostAlloc(&mut to, 1 << 20, 0))?;
    let memory = bench.allocate(1 << 20)?;
    let sent = pattern(1 << 18);
    write(from, &sent);
    bench.code("to the device", call!(cuda, cuMemcpyHtoDAsync_v2(memory, from, 1 << 20, stream)));
    bench.fill(memory, 100, 2, 1, stream)?;
    bench.code("to the host", call!(cuda, cuMemcpyDtoHAsync_v2(to, memory, 1 << 20, stream)));
    bench.code("synchronise", call!(cuda, cuStreamSynchronize(stream)));
    bench.say("words", checksum(&words(to, 1 << 18)));
    bench.code(
        "from inside to inside",
        call!(cuda, cuMemcpyHtoD_v2(memory + 400, from.wrapping_byte_add(4000), 40_000)),
    );
    bench.say("words", checksum(&bench.get::<u32>(memory, 1 << 18)?));
    must!(cuda, cuStreamDestroy_v2(stream))?;
    must!(cuda, cuMemFreeHost(from))?;
    must!(cuda, cuMemFreeHost(to))?;
    bench.free(memory)
}

fn refused(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut at, mut device, mut flags) = (null_mut(), 0, 0);
    let mut own = 0u32;
    let stack: *mut c_void = std::ptr::from_mut(&mut own).cast();
    bench.code("0 bytes", call!(cuda, cuMemHostAlloc(&mut at, 0, 0)));
    bench.code("flags that are none", call!(cuda, cuMemHostAlloc(&mut at, 4096, 0x100)));
    bench.code("alloc, null", call!(cuda, cuMemHostAlloc(null_mut(), 4096, 0)));
    bench.code("cuMemAllocHost, null", call!(cuda, cuMemAllocHost_v2(null_mut(), 4096)));
    bench.code("free NULL", call!(cuda, cuMemFreeHost(null_mut())));
    bench.code("free what is none", call!(cuda, cuMemFreeHost(stack)));
    bench.code("register NULL", call!(cuda, cuMemHostRegister_v2(null_mut(), 4096, 0)));
    bench.code("register 0 bytes", call!(cuda, cuMemHostRegister_v2(stack, 0, 0)));
    bench.code("unregister what is none", call!(cuda, cuMemHostUnregister(stack)));
    bench.code("device pointer of what is none", call!(cuda, cuMemHostGetDevicePointer_v2(&mut device, stack, 0)));
    bench.code("device pointer, null", call!(cuda, cuMemHostGetDevicePointer_v2(null_mut(), stack, 0)));
    bench.code("flags of what is none", call!(cuda, cuMemHostGetFlags(&mut flags, stack)));
    must!(cuda, cuMemHostAlloc(&mut at, 4096, 0))?;
    bench.code("device pointer with flags", call!(cuda, cuMemHostGetDevicePointer_v2(&mut device, at, 5)));
    bench.code("cuMemFree of it", call!(cuda, cuMemFree_v2(at as u64)));
    bench.code("free", call!(cuda, cuMemFreeHost(at)));
    Ok(())
}
