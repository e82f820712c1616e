//! Uses a device for a given number of calls, and says now and then what the process holds: `soak CALLS [--samples N [--scale N]]`.
//!
//! Most calls are posted: event records and waits, fills and launches. Each round also copies, asks, and makes and ends an
//! object of each kind, which takes a GPU some ten milliseconds: `--scale` makes so many times as many calls of the rest in a
//! round. What is made is ended in the same round, so that a process that only grows is one that leaks. After each sample the
//! line `sample CALLS free BYTES` is printed and one line read, so that somebody can look at the other processes meanwhile
//! (`tests/soak/run`). A wrong answer, or a fill that is not there, ends the program with 3.

use std::ffi::c_void;
use std::io::BufRead;
use std::process::ExitCode;

use programs::driver::{Driver, Handle};
use programs::{fail, must};

const NAME: &str = "soak";
const USAGE: &str = "usage: soak CALLS [--samples N [--scale N]]";
const KERNELS: &str = concat!(include_str!("../../kernels/battery.ptx"), "\0");
/// Pairs of an event's record and a stream's wait for it in a round, as all of these where there is no scale.
const PAIRS: u64 = 480;
/// Launches, and fills, in a round.
const LAUNCHES: u64 = 16;
/// All other calls of a round.
const OTHERS: u64 = 18;
/// Rounds between two modules that are loaded: it takes long.
const ROUNDS_A_MODULE: u64 = 1000;
const BYTES: usize = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().ok().filter(|n: &u64| *n > 0).unwrap_or_else(|| fail(NAME, 2, USAGE));
    let (calls, samples, scale) = match words[..] {
        [calls] => (number(calls), 20, 1),
        [calls, "--samples", samples] => (number(calls), number(samples), 1),
        [calls, "--samples", samples, "--scale", scale] => (number(calls), number(samples), number(scale)),
        _ => fail(NAME, 2, USAGE),
    };
    match run(calls, samples, scale) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(NAME, 3, &message),
    }
}

/// What lives as long as the program.
struct Place {
    cuda: Driver,
    stream: Handle,
    event: Handle,
    nothing: Handle,
    memory: u64,
    pageable: Vec<u8>,
}

fn run(calls: u64, samples: u64, scale: u64) -> Result<(), String> {
    let cuda = Driver::load()?;
    let (mut device, mut context, mut module) = (0, 0, 0);
    let (mut stream, mut event, mut nothing, mut memory) = (0, 0, 0, 0);
    must!(cuda, cuInit(0))?;
    must!(cuda, cuDeviceGet(&mut device, 0))?;
    must!(cuda, cuDevicePrimaryCtxRetain(&mut context, device))?;
    must!(cuda, cuCtxSetCurrent(context))?;
    must!(cuda, cuModuleLoadData(&mut module, KERNELS.as_ptr().cast()))?;
    must!(cuda, cuModuleGetFunction(&mut nothing, module, c"nothing".as_ptr()))?;
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    must!(cuda, cuEventCreate(&mut event, 2))?;
    must!(cuda, cuMemAlloc_v2(&mut memory, BYTES))?;
    let mut place = Place { cuda, stream, event, nothing, memory, pageable: vec![0; BYTES] };
    let calls_a_round = scale * 2 * (PAIRS + LAUNCHES) + OTHERS;
    let rounds = calls.div_ceil(calls_a_round).max(samples);
    let mut input = std::io::stdin().lock().lines();
    let mut next = 0;
    for number in 0..rounds {
        round(&mut place, number, scale)?;
        if (number + 1) * samples / rounds > next {
            next += 1;
            let (mut free, mut total) = (0, 0);
            must!(place.cuda, cuMemGetInfo_v2(&mut free, &mut total))?;
            println!("sample {} free {free}", (number + 1) * calls_a_round);
            // Whoever looks says when he has.
            let _ = input.next();
        }
    }
    Ok(())
}

fn round(place: &mut Place, number: u64, scale: u64) -> Result<(), String> {
    let (cuda, stream, none) = (&place.cuda, place.stream, std::ptr::null_mut::<*mut c_void>());
    for _ in 0..scale * PAIRS {
        must!(cuda, cuEventRecord(place.event, stream))?;
        must!(cuda, cuStreamWaitEvent(stream, place.event, 0))?;
    }
    let byte = number as u8;
    for _ in 0..scale * LAUNCHES {
        must!(cuda, cuMemsetD8Async(place.memory, byte, BYTES, stream))?;
        must!(cuda, cuLaunchKernel(place.nothing, 1, 1, 1, 32, 1, 1, 0, stream, none, none))?;
    }
    must!(cuda, cuStreamSynchronize(stream))?;
    let data = place.pageable.as_mut_ptr().cast::<c_void>();
    must!(cuda, cuMemcpyDtoH_v2(data, place.memory, BYTES))?;
    if place.pageable.iter().any(|found| *found != byte) {
        return Err(format!("round {number}: the fill is not there"));
    }
    must!(cuda, cuMemcpyHtoD_v2(place.memory, place.pageable.as_ptr().cast(), BYTES))?;
    objects(cuda)?;
    if number.is_multiple_of(ROUNDS_A_MODULE) {
        let mut module = 0;
        must!(cuda, cuModuleLoadData(&mut module, KERNELS.as_ptr().cast()))?;
        must!(cuda, cuModuleUnload(module))?;
    }
    Ok(())
}

/// Makes and ends one of each kind.
fn objects(cuda: &Driver) -> Result<(), String> {
    let (mut event, mut stream, mut memory, mut ordered) = (0, 0, 0, 0);
    let mut locked = std::ptr::null_mut();
    must!(cuda, cuEventCreate(&mut event, 0))?;
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    must!(cuda, cuMemAlloc_v2(&mut memory, BYTES))?;
    must!(cuda, cuMemAllocAsync(&mut ordered, BYTES, stream))?;
    must!(cuda, cuMemHostAlloc(&mut locked, BYTES, 0))?;
    must!(cuda, cuMemcpyHtoDAsync_v2(ordered, locked, BYTES, stream))?;
    must!(cuda, cuMemcpyDtoDAsync_v2(memory, ordered, BYTES, stream))?;
    must!(cuda, cuEventRecord(event, stream))?;
    must!(cuda, cuEventSynchronize(event))?;
    must!(cuda, cuMemFreeAsync(ordered, stream))?;
    must!(cuda, cuStreamSynchronize(stream))?;
    must!(cuda, cuMemFreeHost(locked))?;
    must!(cuda, cuMemFree_v2(memory))?;
    must!(cuda, cuStreamDestroy_v2(stream))?;
    must!(cuda, cuEventDestroy_v2(event))
}
