//! Kernels that the CPU device compiles and runs: made of the input by a grammar, so that nearly every one is accepted.
//!
//! What must hold: a kernel ends or is a fault, whatever its pointers are; and where nobody faults, 64 threads of one block,
//! which are run in rows, in regions and four at a time, leave what 64 blocks of one thread leave.
#![no_main]

use std::fmt::Write;
use std::sync::OnceLock;

use cpu_cuda::engine::{Fault, Limits, Module, Options, load};
use libfuzzer_sys::fuzz_target;

#[path = "../../../backend/cpu-cuda/tests/ptx/host.rs"]
mod host;

use host::{Arg, Host};

const THREADS: u32 = 64;
/// Words of the input and of the output, a few for each thread.
const WORDS: u32 = 8 * THREADS;

/// The bytes that a kernel is made of.
struct Bytes<'d>(&'d [u8]);

impl Bytes<'_> {
    fn below(&mut self, n: u8) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first % n
    }
    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[usize::from(self.below(of.len() as u8))]
    }
}

const INTEGER: &[&str] = &[
    "add.s32", "sub.s32", "mul.lo.s32", "min.s32", "max.u32", "and.b32", "or.b32", "xor.b32", "shl.b32", "shr.u32", "shr.s32",
    "div.u32", "rem.s32", "mul.hi.u32", "add.sat.s32",
];
const FLOAT: &[&str] = &["add.f32", "sub.f32", "mul.f32", "add.rz.f32", "min.f32", "max.f32", "div.rn.f32", "add.sat.f32", "mul.ftz.f32"];
const COMPARE: &[&str] = &["setp.lt.s32", "setp.ge.u32", "setp.eq.s32", "setp.gt.s32", "setp.le.u32"];
const GUARD: &[&str] = &["", "", "", "", "", "@%p0 ", "@!%p1 ", "@%p2 "];

/// One instruction; in a branch that not all threads take there is nothing that waits.
fn statement(b: &mut Bytes<'_>, code: &mut String, parted: bool) {
    let r = |b: &mut Bytes<'_>| format!("%r{}", b.below(8));
    let f = |b: &mut Bytes<'_>| format!("%f{}", b.below(8));
    let word = |b: &mut Bytes<'_>| 4 * u32::from(b.below(8));
    let guard = b.pick(GUARD);
    let line = match b.below(if parted { 20 } else { 26 }) {
        0..=2 => format!("{guard}{} {}, {}, {};", b.pick(INTEGER), r(b), r(b), r(b)),
        3 => format!("{guard}{} {}, {}, {};", b.pick(INTEGER), r(b), r(b), b.below(40)),
        4..=6 => format!("{guard}{} {}, {}, {};", b.pick(FLOAT), f(b), f(b), f(b)),
        7 => format!("{guard}fma.rn.f32 {}, {}, {}, {};", f(b), f(b), f(b), f(b)),
        8 => format!("{} %p{}, {}, {};", b.pick(COMPARE), b.below(3), b.pick(&["%r9", "%r9", "%r1", "%r2"]), b.below(70)),
        9 => format!("setp.lt.f32 %p{}, {}, {};", b.below(3), f(b), f(b)),
        10 => format!("selp.f32 {}, {}, {}, %p{};", f(b), f(b), f(b), b.below(3)),
        11 => format!("{guard}cvt.rzi.s32.f32 {}, {};", r(b), f(b)),
        12 => format!("{guard}cvt.rn.f32.s32 {}, {};", f(b), r(b)),
        // In the input: a place of one's own, one for all, neighbours.
        13 | 14 => format!("{guard}ld.global.f32 {}, [%rd4+{}];", f(b), word(b)),
        15 => format!("{guard}ld.global.v2.f32 {{{}, %f7}}, [%rd1+{}];", f(b), 8 * u32::from(b.below(8))),
        16 => format!("{guard}ld.global.u32 {}, [%rd6+{}];", r(b), word(b)),
        // In the output and in the tile: one's own places only.
        17 => format!("{guard}st.global.f32 [%rd5+{}], {};", 256 * u32::from(b.below(8)), f(b)),
        18 => format!("{guard}st.shared.f32 [%rd7+{}], {};", 256 * u32::from(b.below(4)), f(b)),
        19 => format!("{guard}ld.shared.f32 {}, [%rd7+{}];", f(b), 256 * u32::from(b.below(4))),
        20..=22 => "bar.sync 0;".to_owned(),
        // A number that somebody may take for an address.
        23 => format!("cvt.u64.u32 %rd8, {}; shl.b64 %rd9, %rd8, {}; add.s64 %rd8, %rd9, %rd1;", r(b), b.below(40)),
        24 => {
            let access = ["ld.global.u32 %r10, [%rd8]", "st.shared.u32 [%rd8], %r1", "ld.u32 %r10, [%rd8]", "ld.local.u32 %r10, [%rd8]"];
            let rare = b.below(8) == 0;
            if rare { format!("{guard}{};", b.pick(&access)) } else { String::new() }
        }
        _ => format!("mul.wide.s32 %rd6, {}, 4; and.b64 %rd6, %rd6, 1020; add.s64 %rd6, %rd1, %rd6;", r(b)),
    };
    let _ = writeln!(code, " {line}");
}

fn kernel(data: &[u8]) -> String {
    let mut b = Bytes(data);
    let mut code = String::new();
    let mut label = 0;
    while !b.0.is_empty() && code.len() < 16_000 {
        match b.below(12) {
            0 => {
                let _ = writeln!(code, " {}%p{} bra L{label};", b.pick(&["@", "@!"]), b.below(3));
                for _ in 0..=b.below(6) {
                    statement(&mut b, &mut code, true);
                }
                let _ = writeln!(code, "L{label}:");
                label += 1;
            }
            1 => {
                let _ = writeln!(code, " mov.u32 %r8, 0;\nL{label}:");
                for _ in 0..=b.below(6) {
                    statement(&mut b, &mut code, false);
                }
                let turns = 1 + b.below(4);
                let _ = writeln!(code, " add.u32 %r8, %r8, 1; setp.lt.u32 %p3, %r8, {turns}; @%p3 bra L{label};");
                label += 1;
            }
            _ => statement(&mut b, &mut code, false),
        }
    }
    format!(
        ".version 6.4 .target sm_75 .address_size 64
.visible .entry k(.param .u64 in, .param .u64 out) {{
 .reg .pred %p<4>; .reg .b32 %r<12>; .reg .f32 %f<9>; .reg .b64 %rd<12>;
 .shared .align 16 .b8 tile[1024]; .local .align 8 .b8 own[64];
 ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out];
 mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.s32 %r9, %r2, %r3, %r1;
 mul.wide.s32 %rd3, %r9, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3; mov.u64 %rd6, %rd1; mov.u64 %rd8, %rd1;
 mov.u64 %rd10, tile; mul.wide.s32 %rd11, %r1, 4; add.s64 %rd7, %rd10, %rd11;
 mov.u32 %r1, %r9; mov.u32 %r2, 7; mov.u32 %r3, -3;
 st.shared.u32 [%rd7], %r2; st.shared.u32 [%rd7+256], %r2; st.shared.u32 [%rd7+512], %r2; st.shared.u32 [%rd7+768], %r2;
{code} st.global.f32 [%rd5], %f1; st.global.u32 [%rd5+256], %r4;
 ret; }}"
    )
}

/// Device memory of the process: the input, the output.
fn place() -> &'static (Host, u64, u64) {
    static PLACE: OnceLock<(Host, u64, u64)> = OnceLock::new();
    PLACE.get_or_init(|| {
        let host = Host::new();
        let input: Vec<f32> = (0..WORDS).map(|n| n as f32 * 0.375 - 20.0).collect();
        let (from, to) = (host.upload(&input), host.upload(&vec![0f32; 2 * WORDS as usize]));
        (host, from, to)
    })
}

/// The output of a launch, NaNs alike.
fn left(module: &Module, blocks: u32, threads: u32) -> Result<Vec<u32>, Fault> {
    let (host, from, to) = place();
    // SAFETY: the output is this long, and no kernel runs.
    unsafe { std::ptr::write_bytes(*to as *mut u8, 0, 8 * WORDS as usize) };
    host.launch(module, "k", [blocks, 1, 1], [threads, 1, 1], &[Arg::U64(*from), Arg::U64(*to)])?;
    let words = host.download::<u32>(*to, 2 * WORDS as usize);
    Ok(words.into_iter().map(|word| if f32::from_bits(word).is_nan() { u32::MAX } else { word }).collect())
}

fuzz_target!(|data: &[u8]| {
    let text = kernel(data);
    let limits = Limits { max_registers: 4096, max_instructions: 4096, ..Limits::default() };
    let Ok(module) = load(text.as_bytes(), &Options { limits, ..Options::default() }) else { return };
    if let (Ok(together), Ok(alone)) = (left(&module, 1, THREADS), left(&module, THREADS, 1)) {
        assert_eq!(together, alone, "{text}");
    }
});
