//! Copies in every direction, blocking and in streams, of a line and of a rectangle.

use std::ptr::{null, null_mut};

use programs::driver::Memcpy2D;
use programs::{call, must};

use crate::bench::{Bench, checksum, pattern};

const HOST: u32 = 1;
const DEVICE: u32 = 2;
const UNIFIED: u32 = 4;

pub fn run(bench: &Bench) -> Result<(), String> {
    sizes(bench)?;
    directions(bench)?;
    ordered(bench)?;
    rectangles(bench)?;
    refused(bench)
}

/// Around every border between the ways in which a carrier may send bytes.
fn sizes(bench: &Bench) -> Result<(), String> {
    let words = pattern(1 << 20);
    let memory = bench.allocate(4 << 20)?;
    for bytes in [1, 2, 3, 63, 64, 65, 4031, 4032, 4033, 4096, 49_151, 49_152, 49_153, 65_536, 1_000_003, 4 << 20] {
        must!(bench.cuda, cuMemsetD8_v2(memory, 0, 4 << 20))?;
        // From an odd address on the host, where there is room.
        let shift = usize::from(bytes < 4 << 20);
        let from = words.as_ptr().cast::<u8>().wrapping_add(shift);
        must!(bench.cuda, cuMemcpyHtoD_v2(memory, from.cast(), bytes))?;
        let mut back = vec![0u8; bytes + 2];
        must!(bench.cuda, cuMemcpyDtoH_v2(back[1..].as_mut_ptr().cast(), memory, bytes))?;
        let sent: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).skip(shift).take(bytes).collect();
        let kept = back[0] == 0 && back[bytes + 1] == 0;
        bench.say(&format!("{bytes} bytes there and back"), back[1..=bytes] == sent[..] && kept);
    }
    bench.code("0 bytes to the device", call!(bench.cuda, cuMemcpyHtoD_v2(memory, words.as_ptr().cast(), 0)));
    bench.code("0 bytes to the host", call!(bench.cuda, cuMemcpyDtoH_v2(null_mut(), memory, 0)));
    bench.free(memory)
}

fn directions(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let words = pattern(1000);
    let [a, b] = [bench.allocate(8000)?, bench.allocate(8000)?];
    let mut back = vec![0u32; 1000];
    let (from, to) = (words.as_ptr().cast(), back.as_mut_ptr());
    bench.code("to the device", call!(cuda, cuMemcpyHtoD_v2(a, from, 4000)));
    bench.code("in the device", call!(cuda, cuMemcpyDtoD_v2(b, a, 4000)));
    bench.code("to the host", call!(cuda, cuMemcpyDtoH_v2(to.cast(), b, 4000)));
    bench.say("words", checksum(&back));
    bench.code("any, to the device", call!(cuda, cuMemcpy(b, words[500..].as_ptr() as u64, 2000)));
    bench.code("any, in the device", call!(cuda, cuMemcpy(a, b, 2000)));
    bench.code("any, to the host", call!(cuda, cuMemcpy(to as u64, a, 4000)));
    bench.say("words", checksum(&back));
    bench.code("any, in the host", call!(cuda, cuMemcpy(to as u64, words.as_ptr() as u64, 4000)));
    bench.say("words", checksum(&back));
    bench.code("to the host, from the host", call!(cuda, cuMemcpyDtoH_v2(to.cast(), words[1..].as_ptr() as u64, 3996)));
    bench.say("words", checksum(&back));
    bench.code("overlapping in the device", call!(cuda, cuMemcpyDtoD_v2(a + 4000, a, 4000)));
    bench.say("words", checksum(&bench.get::<u32>(a, 2000)?));
    bench.free(a)?;
    bench.free(b)
}

/// In a stream, in the order of the calls, from memory that is not page-locked.
fn ordered(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let mut stream = 0;
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    let [a, b] = [bench.allocate(1 << 20)?, bench.allocate(1 << 20)?];
    let count = 1 << 18;
    let mut words = pattern(count);
    bench.code("to the device", call!(cuda, cuMemcpyHtoDAsync_v2(a, words.as_ptr().cast(), 1 << 20, stream)));
    // A copy from pageable memory has read its source when the call returns.
    let sent = checksum(&words);
    words.fill(0);
    bench.code("in the device", call!(cuda, cuMemcpyDtoDAsync_v2(b, a, 1 << 20, stream)));
    bench.fill(a, 1000, 1, 1, stream)?;
    let mut back = vec![0u32; count];
    let to = back.as_mut_ptr();
    bench.code("to the host", call!(cuda, cuMemcpyDtoHAsync_v2(to.cast(), b, 1 << 20, stream)));
    bench.code("any, to the host", call!(cuda, cuMemcpyAsync(to as u64, a, 4000, stream)));
    bench.code("synchronise", call!(cuda, cuStreamSynchronize(stream)));
    let tail = bench.get::<u32>(b, count)?;
    bench.say("the copy has what was sent", checksum(&tail) == sent);
    bench.say("words", checksum(&back));
    must!(cuda, cuStreamDestroy_v2(stream))?;
    bench.free(a)?;
    bench.free(b)
}

fn rectangles(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let words = pattern(64 * 64);
    let (mut memory, mut pitch) = (0, 0);
    must!(cuda, cuMemAllocPitch_v2(&mut memory, &mut pitch, 256, 64, 4))?;
    must!(cuda, cuMemsetD8_v2(memory, 0, pitch * 64))?;
    let up = Memcpy2D {
        source_type: HOST,
        source_host: words.as_ptr() as usize,
        source_pitch: 256,
        target_type: DEVICE,
        target_device: memory,
        target_pitch: pitch,
        width: 256,
        height: 64,
        ..Memcpy2D::default()
    };
    bench.code("up", call!(cuda, cuMemcpy2D_v2(&up)));
    let mut back = vec![0u32; 64 * 64];
    let down = Memcpy2D {
        source_type: DEVICE,
        source_device: memory,
        source_pitch: pitch,
        source_x: 16,
        source_y: 3,
        target_type: HOST,
        target_host: back.as_mut_ptr() as usize,
        target_pitch: 256,
        target_x: 4,
        target_y: 1,
        width: 200,
        height: 50,
        ..Memcpy2D::default()
    };
    bench.code("a part down", call!(cuda, cuMemcpy2DUnaligned_v2(&down)));
    bench.say("words", checksum(&back));
    let within = Memcpy2D {
        source_type: DEVICE,
        source_device: memory,
        source_pitch: pitch,
        target_type: UNIFIED,
        target_device: memory,
        target_y: 32,
        target_pitch: pitch,
        width: 100,
        height: 30,
        ..Memcpy2D::default()
    };
    bench.code("within", call!(cuda, cuMemcpy2D_v2(&within)));
    let mut stream = 0;
    must!(cuda, cuStreamCreate(&mut stream, 0))?;
    let all = Memcpy2D { source_x: 0, source_y: 0, target_x: 0, target_y: 0, width: 256, height: 64, ..down };
    bench.code("down in a stream", call!(cuda, cuMemcpy2DAsync_v2(&all, stream)));
    must!(cuda, cuStreamSynchronize(stream))?;
    must!(cuda, cuStreamDestroy_v2(stream))?;
    bench.say("words", checksum(&back));
    bench.code("no height", call!(cuda, cuMemcpy2D_v2(&Memcpy2D { height: 0, ..up })));
    bench.code(
        "a width above the pitch",
        call!(cuda, cuMemcpy2D_v2(&Memcpy2D { width: pitch + 4, source_pitch: 0, ..up })),
    );
    bench.code("a memory type that is none", call!(cuda, cuMemcpy2D_v2(&Memcpy2D { source_type: 9, ..up })));
    bench.code("rectangle, null", call!(cuda, cuMemcpy2D_v2(null())));
    bench.free(memory)
}

fn refused(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let memory = bench.allocate(4096)?;
    let mut words = pattern(1024);
    let from = words.as_ptr().cast();
    bench.code("to device address 0", call!(cuda, cuMemcpyHtoD_v2(0, from, 16)));
    bench.code("from host address 0", call!(cuda, cuMemcpyHtoD_v2(memory, null(), 16)));
    bench.code("to host address 0", call!(cuda, cuMemcpyDtoH_v2(null_mut(), memory, 16)));
    bench.code("from device address 0", call!(cuda, cuMemcpyDtoH_v2(words.as_mut_ptr().cast(), 0, 16)));
    bench.code("in the device from 0", call!(cuda, cuMemcpyDtoD_v2(memory, 0, 16)));
    // 16 GiB past a 4 KiB allocation: on no device is that the same block.
    bench.code("far past the end", call!(cuda, cuMemsetD8_v2(memory + (1 << 44), 0, 16)));
    bench.code("nothing came of these", call!(cuda, cuCtxSynchronize()));
    bench.free(memory)
}
