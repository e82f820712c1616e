//! Regions between the places where threads wait: chains of shuffles that lanes do themselves, tiles that four threads at
//! a time compute, accesses that are checked in groups. Same results, and faults at the same thread, as one at a time.
#![allow(clippy::unwrap_used)] // a failure is the test's

#[path = "ptx/host.rs"]
mod host;

use cpu_cuda::engine::{Fault, FaultKind};
use host::{Arg, Host};

/// A small generator of numbers, always the same.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(below)) as u32
    }
}

/// One shuffle of a chain: mode, distance, bounds; and whether its predicate is added.
#[derive(Clone, Copy, Debug)]
struct Step {
    mode: &'static str,
    b: u32,
    c: u32,
    predicate: bool,
    barrier: bool,
}

impl Step {
    fn random(numbers: &mut Numbers) -> Step {
        let width = [32u32, 16, 8, 4, 2][numbers.next(5) as usize];
        let mode = ["up", "down", "bfly", "idx"][numbers.next(4) as usize];
        let clamp = if mode == "up" { 0 } else { 31 };
        let c = (32 - width) << 8 | clamp;
        Step { mode, b: numbers.next(32), c, predicate: numbers.next(3) == 0, barrier: numbers.next(6) == 0 }
    }

    /// PTX ISA, shfl.sync: source lane, and whether it is in range.
    fn source(self, lane: u32) -> (u32, bool) {
        let (segment, clamp) = (self.c >> 8 & 31, self.c & 31);
        let (most, least) = (lane & segment | clamp & !segment, lane & segment);
        let (b, lane) = (self.b as i32, lane as i32);
        let (from, valid) = match self.mode {
            "up" => (lane - b, lane - b >= most as i32),
            "down" => (lane + b, lane + b <= most as i32),
            "bfly" => (lane ^ b, lane ^ b <= most as i32),
            _ => ((least | self.b & !segment) as i32, (least | self.b & !segment) <= most),
        };
        if valid { (from as u32, true) } else { (lane as u32, false) }
    }
}

/// `v = 0.5 * v + taken`, step by step, of numbers that begin as the thread's.
fn chain(steps: &[Step]) -> String {
    let mut code = String::new();
    for step in steps {
        let Step { mode, b, c, .. } = step;
        if step.barrier {
            code.push_str(" bar.sync 0;\n");
        }
        let to = if step.predicate { "%f2|%p1" } else { "%f2" };
        code.push_str(&format!(" shfl.sync.{mode}.b32 {to}, %f1, {b}, {c}, -1;\n"));
        if step.predicate {
            code.push_str(" @%p1 add.f32 %f2, %f2, 0f3F800000;\n");
        }
        code.push_str(" fma.rn.f32 %f1, %f1, 0f3F000000, %f2;\n");
    }
    format!(
        ".version 6.4 .target sm_75 .address_size 64
.visible .entry k(.param .u64 from, .param .u64 to) {{
 .reg .pred %p<2>; .reg .b32 %r<9>; .reg .f32 %f<4>; .reg .b64 %rd<8>;
 ld.param.u64 %rd1, [from]; ld.param.u64 %rd2, [to];
 mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %ntid.x; mad.lo.s32 %r5, %r2, %r3, %r1;
 mul.wide.s32 %rd3, %r5, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;
 ld.global.f32 %f1, [%rd4];
{code} st.global.f32 [%rd5], %f1;
 ret; }}"
    )
}

fn computed(steps: &[Step], input: &[f32]) -> Vec<f32> {
    let mut values = input.to_vec();
    for step in steps {
        let before = values.clone();
        for (thread, value) in values.iter_mut().enumerate() {
            let (from, valid) = step.source(thread as u32 & 31);
            // A lane that is not there gives what one has: undefined on a GPU.
            let taken = before.get((thread & !31) + from as usize).unwrap_or(&before[thread]);
            let taken = if step.predicate && valid { taken + 1.0 } else { *taken };
            *value = before[thread].mul_add(0.5, taken);
        }
    }
    values
}

#[test]
fn shuffles_in_any_chain_give_what_the_instruction_says() {
    let mut numbers = Numbers(7);
    for round in 0..60 {
        let steps: Vec<Step> = (0..1 + numbers.next(6)).map(|_| Step::random(&mut numbers)).collect();
        for block in [[32, 1, 1], [64, 2, 1], [16, 4, 1], [7, 3, 1], [40, 1, 1], [33, 3, 1], [256, 1, 1]] {
            let count = (block[0] * block[1]) as usize;
            let input: Vec<f32> = (0..count).map(|_| numbers.next(64) as f32).collect();
            let host = Host::new();
            let module = host.load(&chain(&steps));
            let (from, to) = (host.upload(&input), host.upload(&vec![0f32; count]));
            host.launch(&module, "k", [1; 3], block, &[Arg::U64(from), Arg::U64(to)]).unwrap();
            let got = host.download::<f32>(to, count);
            assert_eq!(got, computed(&steps, &input), "round {round}, block {block:?}, {steps:?}");
        }
    }
}

/// Adds places of a tile of `size` words, below `first` threads only, with a barrier around. With `narrow`, places are
/// numbers of 32 bits.
fn tile(size: u32, first: u32, far: i32, narrow: bool) -> String {
    let text = wide_tile(size, first, far);
    if !narrow {
        return text;
    }
    let places = "mov.u32 %r6, tile; shl.b32 %r7, %r1, 2; add.s32 %r7, %r7, %r6;";
    let text = text.replace("mov.u64 %rd6, tile; add.s64 %rd7, %rd6, %rd3;", places);
    text.replace("[%rd7", "[%r7").replace("[%rd6", "[%r6")
}

fn wide_tile(size: u32, first: u32, far: i32) -> String {
    format!(
        ".version 6.4 .target sm_75 .address_size 64
.visible .entry k(.param .u64 from, .param .u64 to) {{
 .reg .pred %p<2>; .reg .b32 %r<9>; .reg .f32 %f<8>; .reg .b64 %rd<12>;
 .shared .align 4 .b8 tile[{bytes}];
 ld.param.u64 %rd1, [from]; ld.param.u64 %rd2, [to];
 mov.u32 %r1, %tid.x; mul.wide.s32 %rd3, %r1, 4;
 add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3; mov.u64 %rd6, tile; add.s64 %rd7, %rd6, %rd3;
 ld.global.f32 %f1, [%rd4];
 st.shared.f32 [%rd7], %f1;
 bar.sync 0;
 setp.ge.s32 %p1, %r1, {first};
 @%p1 bra NEXT;
 ld.shared.f32 %f2, [%rd7]; ld.shared.f32 %f3, [%rd7+{far}]; ld.shared.f32 %f4, [%rd6+8];
 mul.f32 %f5, %f2, %f3; add.f32 %f1, %f5, %f4;
NEXT:
 bar.sync 0;
 st.global.f32 [%rd5], %f1;
 ret; }}",
        bytes = 4 * size
    )
}

/// The same result, or the same fault, with places of either width.
fn run_tile(threads: u32, size: u32, first: u32, far: i32) -> Result<Vec<f32>, Fault> {
    let [wide, narrow] = [false, true].map(|narrow| run_one_tile(threads, size, first, far, narrow));
    let told = |fault: &Fault| (fault.kind, fault.thread);
    assert_eq!(wide.as_ref().map_err(told), narrow.as_ref().map_err(told));
    wide
}

fn run_one_tile(threads: u32, size: u32, first: u32, far: i32, narrow: bool) -> Result<Vec<f32>, Fault> {
    let host = Host::new();
    let input: Vec<f32> = (0..threads).map(|n| n as f32 + 1.0).collect();
    let module = host.load(&tile(size, first, far, narrow));
    let (from, to) = (host.upload(&input), host.upload(&vec![0f32; threads as usize]));
    host.launch(&module, "k", [1; 3], [threads, 1, 1], &[Arg::U64(from), Arg::U64(to)])?;
    Ok(host.download(to, threads as usize))
}

#[test]
fn tiles_when_some_threads_part_give_what_single_threads_give() {
    for (threads, first) in [(64, 32), (64, 31), (64, 33), (64, 1), (64, 64), (30, 17), (5, 3), (256, 130), (3, 2)] {
        let got = run_tile(threads, threads + 8, first, 16).unwrap();
        for (n, value) in got.into_iter().enumerate() {
            let own = n as f32 + 1.0;
            // What was never written is whatever was there before: zero.
            let other = if n + 4 < threads as usize { own + 4.0 } else { 0.0 };
            let want = if (n as u32) < first { own * other + 3.0 } else { own };
            assert_eq!(value, want, "thread {n} of {threads}, {first} of which compute");
        }
    }
}

#[test]
fn tile_when_one_thread_leaves_it_then_the_fault_is_that_threads() {
    // 64 words: the thread that reaches 4 words ahead from number 60 is outside.
    let fault = run_tile(64, 64, 64, 16).unwrap_err();
    assert_eq!((fault.kind, fault.thread), (FaultKind::IllegalAddress, [60, 0, 0]));
    // A place between two words: everybody's first access of it.
    let fault = run_tile(64, 80, 64, 18).unwrap_err();
    assert_eq!((fault.kind, fault.thread), (FaultKind::Misaligned, [0, 0, 0]));
    // In front of the tile, from the first thread.
    let fault = run_tile(64, 64, 64, -4).unwrap_err();
    assert_eq!((fault.kind, fault.thread), (FaultKind::IllegalAddress, [0, 0, 0]));
}

/// Sums four neighbours of a record in global memory, whose address a loop's counter makes.
const RECORDS: &str = ".version 6.4 .target sm_75 .address_size 64
.visible .entry k(.param .u64 from, .param .u64 to, .param .u32 n) {
 .reg .pred %p<2>; .reg .b32 %r<9>; .reg .f32 %f<8>; .reg .b64 %rd<12>;
 ld.param.u64 %rd1, [from]; ld.param.u64 %rd2, [to]; ld.param.u32 %r2, [n];
 mov.u32 %r1, 0; mov.f32 %f5, 0f00000000;
LOOP:
 mul.wide.u32 %rd3, %r1, 16; add.s64 %rd4, %rd1, %rd3;
 ld.global.f32 %f1, [%rd4]; ld.global.f32 %f2, [%rd4+4]; ld.global.f32 %f3, [%rd4+8]; ld.global.f32 %f4, [%rd4+12];
 add.f32 %f5, %f5, %f1; add.f32 %f5, %f5, %f2; add.f32 %f5, %f5, %f3; add.f32 %f5, %f5, %f4;
 st.global.f32 [%rd2], %f5;
 add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, %r2;
 @%p1 bra LOOP;
 ret; }";

#[test]
fn records_when_the_last_ends_outside_then_the_fault_is_there_and_not_before() {
    let host = Host::new();
    let module = host.load(RECORDS);
    // 128 words are one granule: 32 records; the one after them is free.
    let input: Vec<f32> = (0..128).map(|n| n as f32).collect();
    let (from, to) = (host.upload(&input), host.upload(&[0f32; 1]));
    let launch =
        |from: u64, n: u32| host.launch(&module, "k", [1; 3], [1; 3], &[Arg::U64(from), Arg::U64(to), Arg::U32(n)]);
    launch(from, 32).unwrap();
    assert_eq!(host.download::<f32>(to, 1), [127.0 * 64.0]);
    let fault = launch(from, 33).unwrap_err();
    assert_eq!((fault.kind, fault.address), (FaultKind::IllegalAddress, from + 512));
    // Begun a word late, the last record's fourth word is outside: the three before it are read.
    let fault = launch(from + 4, 32).unwrap_err();
    assert_eq!((fault.kind, fault.address, fault.line), (FaultKind::IllegalAddress, from + 512, 8));
    let fault = launch(from + 2, 1).unwrap_err();
    assert_eq!((fault.kind, fault.address), (FaultKind::Misaligned, from + 2));
}
