//! Device memory: what can be had, what it is, and what is no memory.

use std::ffi::c_void;
use std::ptr::null_mut;

use programs::driver::{CUdeviceptr, Handle};
use programs::{call, must};

use crate::bench::Bench;

pub fn run(bench: &Bench) -> Result<(), String> {
    allocations(bench)?;
    ranges(bench)?;
    fills(bench)?;
    pitched(bench)?;
    pointers(bench)
}

fn allocations(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut memory, mut free, mut total) = (0, 0, 0);
    bench.code("info", call!(cuda, cuMemGetInfo_v2(&mut free, &mut total)));
    bench.fact("total", total);
    bench.say("some is free, and no more than all", free > 0 && free <= total);
    bench.code("info, null", call!(cuda, cuMemGetInfo_v2(null_mut(), &mut total)));
    for bytes in [1, 3, 256, 4096, 1 << 20, 100 << 20] {
        bench.code(&format!("{bytes} bytes"), call!(cuda, cuMemAlloc_v2(&mut memory, bytes)));
        bench.say("aligned to 256", memory % 256 == 0 && memory != 0);
        bench.code("free", call!(cuda, cuMemFree_v2(memory)));
    }
    bench.code("0 bytes", call!(cuda, cuMemAlloc_v2(&mut memory, 0)));
    bench.code("far too many", call!(cuda, cuMemAlloc_v2(&mut memory, 1 << 50)));
    bench.code("all there could be", call!(cuda, cuMemAlloc_v2(&mut memory, usize::MAX)));
    bench.code("alloc, null", call!(cuda, cuMemAlloc_v2(null_mut(), 16)));
    bench.code("free 0", call!(cuda, cuMemFree_v2(0)));
    bench.code("free what is none", call!(cuda, cuMemFree_v2(0xdead_0000)));
    let memory = bench.allocate(1024)?;
    bench.code("free inside", call!(cuda, cuMemFree_v2(memory + 256)));
    bench.code("free", call!(cuda, cuMemFree_v2(memory)));
    bench.code("free again", call!(cuda, cuMemFree_v2(memory)));
    let mut many = Vec::new();
    for i in 0..500usize {
        many.push(bench.allocate(1 + i * 37)?);
    }
    many.sort_unstable();
    many.dedup();
    bench.say("500 allocations, all different", many.len() == 500);
    for memory in many {
        bench.free(memory)?;
    }
    Ok(())
}

fn ranges(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let memory = bench.allocate(5000)?;
    let (mut base, mut size) = (0, 0);
    bench.code("range", call!(cuda, cuMemGetAddressRange_v2(&mut base, &mut size, memory + 4999)));
    bench.say("base and size are right", format!("{} {size}", base == memory));
    bench.code("only the size", call!(cuda, cuMemGetAddressRange_v2(null_mut(), &mut size, memory)));
    bench.code("only the base", call!(cuda, cuMemGetAddressRange_v2(&mut base, null_mut(), memory)));
    bench.code("range of 0", call!(cuda, cuMemGetAddressRange_v2(&mut base, &mut size, 0)));
    bench.free(memory)?;
    bench.code("range of what was freed", call!(cuda, cuMemGetAddressRange_v2(&mut base, &mut size, memory)));
    Ok(())
}

fn fills(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let memory = bench.allocate(64)?;
    bench.code("bytes", call!(cuda, cuMemsetD8_v2(memory, 0x11, 64)));
    bench.code("halves", call!(cuda, cuMemsetD16_v2(memory + 2, 0x2233, 7)));
    bench.code("words", call!(cuda, cuMemsetD32_v2(memory + 32, 0x4455_6677, 5)));
    bench.code("bytes at an odd place", call!(cuda, cuMemsetD8_v2(memory + 17, 0x88, 3)));
    bench.code("none", call!(cuda, cuMemsetD8_v2(memory, 0x99, 0)));
    bench.say("memory", hex(&bench.get::<u8>(memory, 64)?));
    bench.code("halves at an odd place", call!(cuda, cuMemsetD16_v2(memory + 1, 0, 2)));
    bench.code("words at an odd place", call!(cuda, cuMemsetD32_v2(memory + 2, 0, 2)));
    bench.code("past the end", call!(cuda, cuMemsetD8_v2(memory, 0, 1 << 40)));
    bench.code("at 0", call!(cuda, cuMemsetD8_v2(0, 0, 16)));
    bench.code("two dimensions, bytes", call!(cuda, cuMemsetD2D8_v2(memory, 16, 0xaa, 5, 4)));
    bench.code("two dimensions, words", call!(cuda, cuMemsetD2D32_v2(memory + 8, 16, 0xbbcc_ddee, 1, 4)));
    bench.say("memory", hex(&bench.get::<u8>(memory, 64)?));
    bench.code("a pitch below the width", call!(cuda, cuMemsetD2D8_v2(memory, 4, 0, 5, 4)));
    let mut stream = 0;
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    bench.code("in a stream, bytes", call!(cuda, cuMemsetD8Async(memory, 0x12, 7, stream)));
    bench.code("in a stream, words", call!(cuda, cuMemsetD32Async(memory + 8, 0x3456_789a, 3, stream)));
    must!(cuda, cuStreamSynchronize(stream))?;
    must!(cuda, cuStreamDestroy_v2(stream))?;
    bench.say("memory", hex(&bench.get::<u8>(memory, 64)?));
    bench.free(memory)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pitched(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut memory, mut pitch) = (0, 0);
    for (width, element) in [(1, 4), (100, 4), (512, 8), (1000, 16), (5000, 4)] {
        bench.code(
            &format!("rows of {width}"),
            call!(cuda, cuMemAllocPitch_v2(&mut memory, &mut pitch, width, 10, element)),
        );
        bench.fact(&format!("pitch of {width}"), pitch);
        bench.say("the pitch holds a row and is a multiple of 32", pitch >= width && pitch % 32 == 0);
        bench.free(memory)?;
    }
    bench.code("no rows", call!(cuda, cuMemAllocPitch_v2(&mut memory, &mut pitch, 100, 0, 4)));
    bench.code("elements of 3", call!(cuda, cuMemAllocPitch_v2(&mut memory, &mut pitch, 100, 10, 3)));
    bench.code("pitch, null", call!(cuda, cuMemAllocPitch_v2(&mut memory, null_mut(), 100, 10, 4)));
    Ok(())
}

const CONTEXT: u32 = 1;
const MEMORY_TYPE: u32 = 2;
const DEVICE_POINTER: u32 = 3;
const IS_MANAGED: u32 = 8;
const ORDINAL: u32 = 9;
const RANGE_START: u32 = 11;
const RANGE_SIZE: u32 = 12;

fn pointers(bench: &Bench) -> Result<(), String> {
    let memory = bench.allocate(3000)?;
    let ask = |what: &str, attribute, at: CUdeviceptr| {
        let mut value = 0u64;
        let out = std::ptr::from_mut(&mut value).cast::<c_void>();
        bench.code(what, call!(bench.cuda, cuPointerGetAttribute(out, attribute, at)));
        value
    };
    let context = ask("context", CONTEXT, memory) as Handle;
    bench.say("it is the current one", context == bench.context);
    let kind = ask("memory type", MEMORY_TYPE, memory + 100) as u32;
    bench.say("type", kind);
    let address = ask("device pointer", DEVICE_POINTER, memory + 100);
    bench.say("it is the same", address == memory + 100);
    let managed = ask("managed", IS_MANAGED, memory) as u8;
    bench.say("managed", managed);
    let ordinal = ask("ordinal", ORDINAL, memory) as i32;
    bench.say("ordinal", ordinal);
    let start = ask("start of the range", RANGE_START, memory + 100);
    bench.say("it is the start", start == memory);
    let size = ask("size of the range", RANGE_SIZE, memory + 100);
    bench.say("size", size);
    let own = 0u32;
    ask("memory type of the program's own", MEMORY_TYPE, std::ptr::from_ref(&own) as u64);
    ask("memory type of 0", MEMORY_TYPE, 0);
    ask("no such attribute", 1000, memory);
    bench.code("attribute, null", call!(bench.cuda, cuPointerGetAttribute(null_mut(), MEMORY_TYPE, memory)));
    bench.free(memory)?;
    ask("memory type of what was freed", MEMORY_TYPE, memory);
    Ok(())
}
