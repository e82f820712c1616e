//! 64 MiB at a time, so that whatever carries the bytes has to do so in parts.

use std::ptr::null_mut;

use programs::{call, must};

use crate::bench::{Bench, On, checksum, pattern, place};

const BYTES: usize = 64 << 20;

pub fn run(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let words = pattern(BYTES / 4);
    bench.say("sent", checksum(&words));
    let [memory, other] = [bench.allocate(BYTES)?, bench.allocate(BYTES)?];
    bench.code("to the device", call!(cuda, cuMemcpyHtoD_v2(memory, words.as_ptr().cast(), BYTES)));
    bench.say("the device's sum", sum(bench, memory)?);
    bench.code("in the device", call!(cuda, cuMemcpyDtoD_v2(other, memory, BYTES)));
    bench.say("read back", checksum(&bench.get::<u32>(other, BYTES / 4)?));
    locked(bench, &words, other)?;
    bench.free(memory)?;
    bench.free(other)
}

fn sum(bench: &Bench, memory: u64) -> Result<String, String> {
    let (out, count) = (bench.allocate(8)?, (BYTES / 4) as u64);
    must!(bench.cuda, cuMemsetD32_v2(out, 0, 2))?;
    let parameters = [place(&memory), place(&out), place(&count)];
    let status = bench.launch(bench.function("sum")?, [64, 1, 1], [256, 1, 1], On::default(), &parameters);
    let total = bench.get::<u64>(out, 1)?[0];
    bench.free(out)?;
    Ok(format!("{total:016x} {}", bench.cuda.name_of(status)))
}

/// The same through page-locked memory, in a stream.
fn locked(bench: &Bench, words: &[u32], memory: u64) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut at, mut stream) = (null_mut(), 0);
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    bench.code("page-locked", call!(cuda, cuMemHostAlloc(&mut at, BYTES, 0)));
    must!(cuda, cuMemsetD8Async(memory, 0, BYTES, stream))?;
    // SAFETY: the driver just gave that many bytes, and the device does not use them yet.
    let own = unsafe { std::slice::from_raw_parts_mut(at.cast::<u32>(), words.len()) };
    for (to, from) in own.iter_mut().zip(words) {
        *to = !from;
    }
    bench.code("to the device", call!(cuda, cuMemcpyHtoDAsync_v2(memory, at, BYTES, stream)));
    must!(cuda, cuStreamSynchronize(stream))?;
    bench.say("the device's sum", sum(bench, memory)?);
    own.fill(0);
    bench.code("to the host", call!(cuda, cuMemcpyDtoHAsync_v2(at, memory, BYTES, stream)));
    must!(cuda, cuStreamSynchronize(stream))?;
    bench.say("read back", checksum(own));
    must!(cuda, cuStreamDestroy_v2(stream))?;
    must!(cuda, cuMemFreeHost(at))
}
