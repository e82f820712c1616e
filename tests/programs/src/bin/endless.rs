//! Uses a device without end, to be killed: `endless launches|copies|waits [--threads N]`.
//!
//! `launches` posts kernels; `copies` moves page-locked and pageable memory; `waits` sits in one call for seconds. It prints
//! `running` when all threads do, and ends by itself only if a call fails: then it prints the call's error and exits
//! with 3, which is how tests see what a dead session answers.

use std::ffi::c_void;
use std::process::ExitCode;
use std::sync::Barrier;

use programs::driver::{Driver, Handle};
use programs::{fail, must};

const NAME: &str = "endless";
const USAGE: &str = "usage: endless launches|copies|waits [--threads N]";
const KERNELS: &str = concat!(include_str!("../../kernels/battery.ptx"), "\0");
const BYTES: usize = 8 << 20;

type Round = fn(&Place<'_>) -> Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (kind, threads) = match words[..] {
        [kind] => (kind, Some(1)),
        [kind, "--threads", n] => (kind, n.parse().ok().filter(|n| (1..=64).contains(n))),
        _ => fail(NAME, 2, USAGE),
    };
    let round: Round = match kind {
        "launches" => launches,
        "copies" => copies,
        "waits" => waits,
        _ => fail(NAME, 2, USAGE),
    };
    let Some(threads) = threads else { fail(NAME, 2, USAGE) };
    let Err(message) = run(round, threads) else { return ExitCode::SUCCESS };
    fail(NAME, 3, &message)
}

/// What a thread works with.
struct Place<'a> {
    cuda: &'a Driver,
    busy: Handle,
    nothing: Handle,
    stream: Handle,
    memory: u64,
    pageable: *mut c_void,
    locked: *mut c_void,
}

fn run(round: Round, threads: usize) -> Result<(), String> {
    let cuda = Driver::load()?;
    let (mut device, mut context) = (0, 0);
    must!(cuda, cuInit(0))?;
    must!(cuda, cuDeviceGet(&mut device, 0))?;
    must!(cuda, cuDevicePrimaryCtxRetain(&mut context, device))?;
    // A thread that has begun could keep the others from setting up.
    let (cuda, ready) = (&cuda, &Barrier::new(threads));
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(move || thread(cuda, context, round, ready))).collect();
        all.into_iter().find_map(|thread| thread.join().unwrap_or(Err("a thread panicked".to_owned())).err())
    })
    .map_or(Ok(()), Err)
}

fn thread(cuda: &Driver, context: Handle, round: Round, ready: &Barrier) -> Result<(), String> {
    let (mut module, mut busy, mut nothing, mut stream, mut memory) = (0, 0, 0, 0, 0);
    let mut locked = std::ptr::null_mut();
    must!(cuda, cuCtxSetCurrent(context))?;
    must!(cuda, cuModuleLoadData(&mut module, KERNELS.as_ptr().cast()))?;
    must!(cuda, cuModuleGetFunction(&mut busy, module, c"busy".as_ptr()))?;
    must!(cuda, cuModuleGetFunction(&mut nothing, module, c"nothing".as_ptr()))?;
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    must!(cuda, cuMemAlloc_v2(&mut memory, BYTES))?;
    must!(cuda, cuMemHostAlloc(&mut locked, BYTES, 0))?;
    let mut pageable = vec![1u8; BYTES];
    let place = Place { cuda, busy, nothing, stream, memory, pageable: pageable.as_mut_ptr().cast(), locked };
    if ready.wait().is_leader() {
        println!("running");
    }
    loop {
        round(&place)?;
    }
}

fn launches(place: &Place<'_>) -> Result<(), String> {
    let none = std::ptr::null_mut::<*mut c_void>();
    for _ in 0..100 {
        must!(place.cuda, cuLaunchKernel(place.nothing, 1, 1, 1, 32, 1, 1, 0, place.stream, none, none))?;
    }
    must!(place.cuda, cuStreamSynchronize(place.stream))
}

fn copies(place: &Place<'_>) -> Result<(), String> {
    must!(place.cuda, cuMemcpyHtoDAsync_v2(place.memory, place.locked, BYTES, place.stream))?;
    must!(place.cuda, cuMemcpyHtoDAsync_v2(place.memory, place.pageable, BYTES, place.stream))?;
    must!(place.cuda, cuMemcpyDtoHAsync_v2(place.pageable, place.memory, BYTES, place.stream))?;
    must!(place.cuda, cuStreamSynchronize(place.stream))
}

/// Seconds of work at a time, waited for.
fn waits(place: &Place<'_>) -> Result<(), String> {
    let rounds = u32::MAX;
    let mut places =
        [std::ptr::from_ref(&place.memory).cast_mut().cast(), std::ptr::from_ref(&rounds).cast_mut().cast()];
    let (places, none) = (places.as_mut_ptr(), std::ptr::null_mut());
    must!(place.cuda, cuLaunchKernel(place.busy, 1, 1, 1, 1, 1, 1, 0, place.stream, places, none))?;
    must!(place.cuda, cuStreamSynchronize(place.stream))
}
