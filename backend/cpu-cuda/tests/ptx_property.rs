//! Random straight-line programs against an evaluator that says what each instruction does in one line of Rust.
#![allow(clippy::unwrap_used)] // a failure is the test's

#[path = "ptx/host.rs"]
mod host;

use std::fmt::Write;

use host::{Arg, Host};

/// Registers of each kind.
const REGS: usize = 8;
const STEPS: usize = 40;
const THREADS: usize = 64;

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n
    }
    /// Small numbers, edges and noise.
    fn constant(&mut self) -> u32 {
        match self.below(4) {
            0 => self.below(70) as u32,
            1 => [0, 1, u32::MAX, 0x8000_0000, 0x7fff_ffff, 0xffff, 0x3f80_0000, 0x7f80_0000][self.below(8)],
            _ => self.next() as u32,
        }
    }
}

fn bfe_s(a: u32, pos: u32, len: u32) -> u32 {
    let (pos, len) = (pos & 255, len & 255);
    if len == 0 {
        return 0;
    }
    let sign_at = (pos + len - 1).min(31);
    let sign = a >> sign_at & 1;
    (0..32).fold(0, |sum, i| {
        let bit = if i < len && pos + i <= 31 { a >> (pos + i) & 1 } else { sign };
        sum | bit << i
    })
}

fn bfe_u(a: u32, pos: u32, len: u32) -> u32 {
    let (pos, len) = (pos & 255, len & 255);
    (0..32).fold(0, |sum, i| sum | if i < len && pos + i <= 31 { a >> (pos + i) & 1 } else { 0 } << i)
}

fn bfi(a: u32, b: u32, pos: u32, len: u32) -> u32 {
    let (pos, len) = (pos & 255, len & 255);
    (0..len.min(32)).fold(
        b,
        |sum, i| {
            if pos + i > 31 { sum } else { sum & !(1 << (pos + i)) | (a >> i & 1) << (pos + i) }
        },
    )
}

fn prmt(a: u32, b: u32, s: u32) -> u32 {
    let bytes = (u64::from(a) | u64::from(b) << 32).to_le_bytes();
    u32::from_le_bytes([0, 4, 8, 12].map(|n| {
        let byte = bytes[(s >> n & 7) as usize];
        if s >> n & 8 != 0 { (byte as i8 >> 7) as u8 } else { byte }
    }))
}

type Op3 = fn(u32, u32, u32) -> u32;

/// Name and meaning of 32-bit instructions of three sources; those with fewer ignore the rest.
const INTEGERS: [(&str, usize, Op3); 36] = [
    ("add.s32", 2, |a, b, _| a.wrapping_add(b)),
    ("sub.u32", 2, |a, b, _| a.wrapping_sub(b)),
    ("mul.lo.s32", 2, |a, b, _| a.wrapping_mul(b)),
    ("mul.hi.u32", 2, |a, b, _| ((u64::from(a) * u64::from(b)) >> 32) as u32),
    ("mul.hi.s32", 2, |a, b, _| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32),
    ("mad.lo.u32", 3, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
    ("mad.hi.u32", 3, |a, b, c| (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)),
    ("add.sat.s32", 2, |a, b, _| (a as i32).saturating_add(b as i32) as u32),
    ("sub.sat.s32", 2, |a, b, _| (a as i32).saturating_sub(b as i32) as u32),
    ("and.b32", 2, |a, b, _| a & b),
    ("or.b32", 2, |a, b, _| a | b),
    ("xor.b32", 2, |a, b, _| a ^ b),
    ("not.b32", 1, |a, _, _| !a),
    ("cnot.b32", 1, |a, _, _| u32::from(a == 0)),
    ("neg.s32", 1, |a, _, _| a.wrapping_neg()),
    ("abs.s32", 1, |a, _, _| (a as i32).wrapping_abs() as u32),
    ("min.s32", 2, |a, b, _| (a as i32).min(b as i32) as u32),
    ("max.u32", 2, |a, b, _| a.max(b)),
    ("shl.b32", 2, |a, b, _| a.checked_shl(b).unwrap_or(0)),
    ("shr.u32", 2, |a, b, _| a.checked_shr(b).unwrap_or(0)),
    ("shr.s32", 2, |a, b, _| (a as i32 >> b.min(31)) as u32),
    ("popc.b32", 1, |a, _, _| a.count_ones()),
    ("clz.b32", 1, |a, _, _| a.leading_zeros()),
    ("brev.b32", 1, |a, _, _| a.reverse_bits()),
    ("bfind.u32", 1, |a, _, _| 31u32.wrapping_sub(a.leading_zeros())),
    ("bfe.u32", 3, bfe_u),
    ("bfe.s32", 3, bfe_s),
    ("prmt.b32", 3, prmt),
    ("shf.l.wrap.b32", 3, |a, b, c| ((u64::from(b) << 32 | u64::from(a)) << (c & 31) >> 32) as u32),
    ("shf.r.clamp.b32", 3, |a, b, c| ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32),
    ("sad.u32", 3, |a, b, c| a.abs_diff(b).wrapping_add(c)),
    ("sad.s32", 3, |a, b, c| (a as i32).abs_diff(b as i32).wrapping_add(c)),
    ("div.u32", 2, |a, b, _| a.checked_div(b).unwrap_or(u32::MAX)),
    ("rem.s32", 2, |a, b, _| if b == 0 { a } else { (a as i32).wrapping_rem(b as i32) as u32 }),
    ("dp4a.s32.u32", 3, |a, b, c| {
        (0..4).fold(c, |s, n| s.wrapping_add(((a >> (8 * n)) as i8 as i32 * (b >> (8 * n)) as u8 as i32) as u32))
    }),
    ("set.lt.u32.s32", 2, |a, b, _| if (a as i32) < b as i32 { u32::MAX } else { 0 }),
];

type Opf = fn(f32, f32, f32) -> f32;

const FLOATS: [(&str, usize, Opf); 9] = [
    ("add.rn.f32", 2, |a, b, _| a + b),
    ("sub.f32", 2, |a, b, _| a - b),
    ("mul.f32", 2, |a, b, _| a * b),
    ("div.rn.f32", 2, |a, b, _| a / b),
    ("fma.rn.f32", 3, f32::mul_add),
    ("sqrt.rn.f32", 1, |a, _, _| a.sqrt()),
    ("neg.f32", 1, |a, _, _| -a),
    ("abs.f32", 1, |a, _, _| a.abs()),
    ("max.f32", 2, |a, b, _| {
        if a.is_nan() {
            b
        } else if b.is_nan() || a > b {
            a
        } else if a == b {
            if a.is_sign_positive() { a } else { b }
        } else {
            b
        }
    }),
];

/// One step: its text, and its effect on a thread's registers.
type Step = Box<dyn Fn(&mut [u32; REGS])>;

fn step(noise: &mut Noise) -> (String, Step) {
    let d = noise.below(REGS);
    let [a, b, c] = [0; 3].map(|_| noise.below(REGS));
    // A source is a register or, at times, a constant.
    let constant = (noise.below(4) == 0).then(|| noise.constant());
    let pick = move |r: &[u32; REGS]| constant.unwrap_or(r[b]);
    let second = constant.map_or(format!("%r{b}"), |v| format!("{v}"));
    match noise.below(10) {
        0..=5 => {
            let (name, inputs, op) = INTEGERS[noise.below(INTEGERS.len())];
            let sources = [format!(", %r{a}"), format!(", {second}"), format!(", %r{c}")][..inputs].concat();
            (format!("{name} %r{d}{sources};"), Box::new(move |r| r[d] = op(r[a], pick(r), r[c])))
        }
        6 => {
            let table = noise.below(256) as u32;
            let text = format!("lop3.b32 %r{d}, %r{a}, {second}, %r{c}, {table};");
            (
                text,
                Box::new(move |r| {
                    let (x, y, z) = (r[a], pick(r), r[c]);
                    r[d] = (0..32).fold(0, |s, n| {
                        let index = (x >> n & 1) << 2 | (y >> n & 1) << 1 | (z >> n & 1);
                        s | (table >> index & 1) << n
                    });
                }),
            )
        }
        7 => {
            let text = format!("setp.le.s32 %p1, %r{a}, {second}; @%p1 bfi.b32 %r{d}, %r{c}, %r{d}, %r{a}, %r{b};");
            (
                text,
                Box::new(move |r| {
                    if r[a] as i32 <= pick(r) as i32 {
                        r[d] = bfi(r[c], r[d], r[a], r[b]);
                    }
                }),
            )
        }
        8 => {
            let text = format!(
                "mad.wide.u32 %rd1, %r{a}, {second}, 77; cvt.s32.s8 %r{d}, %r{c}; {{ .reg .b32 t; mov.b64 {{t, %r{d}}}, %rd1; xor.b32 %r{d}, %r{d}, t; }}"
            );
            (
                text,
                Box::new(move |r| {
                    let wide = u64::from(r[a]) * u64::from(pick(r)) + 77;
                    r[d] = wide as u32 ^ (wide >> 32) as u32;
                }),
            )
        }
        _ => {
            let (name, inputs, op) = FLOATS[noise.below(FLOATS.len())];
            let sources = [format!(", %r{a}"), format!(", %r{b}"), format!(", %r{c}")][..inputs].concat();
            // NaN has many bit patterns; one stands for all.
            let text =
                format!("{name} %r{d}{sources}; testp.notanumber.f32 %p1, %r{d}; @%p1 mov.b32 %r{d}, 0x7fffffff;");
            (
                text,
                Box::new(move |r| {
                    let value = op(f32::from_bits(r[a]), f32::from_bits(r[b]), f32::from_bits(r[c]));
                    r[d] = if value.is_nan() { 0x7fff_ffff } else { value.to_bits() };
                }),
            )
        }
    }
}

#[test]
fn random_programs_agree_with_the_evaluator() {
    let host = Host::new();
    let mut noise = Noise(0x1357_9bdf_0246_8ace);
    let rounds = std::env::var("PTX_PROPERTY_ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(60);
    let place = host.alloc((THREADS * REGS * 4) as u64);
    for round in 0..rounds {
        let mut text = String::from(
            ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry k(.param .u64 data) {\n\
             .reg .b32 %r<20>; .reg .b64 %rd<5>; .reg .pred %p<3>;\n\
             ld.param.u64 %rd3, [data]; mov.u32 %r10, %tid.x; mad.wide.u32 %rd3, %r10, 32, %rd3;\n",
        );
        for n in 0..REGS {
            writeln!(text, "ld.global.u32 %r{n}, [%rd3+{}];", 4 * n).unwrap();
        }
        let mut steps = Vec::new();
        for n in 0..STEPS {
            let (line, effect) = step(&mut noise);
            writeln!(text, "{line}").unwrap();
            steps.push((line, effect));
            // Barriers and shuffles send every register through the frame.
            if n % 13 == 12 && round % 2 == 0 {
                text.push_str("bar.sync 0; shfl.sync.bfly.b32 %r0, %r0, 1, 31, -1;\n");
                steps.push((String::from("swap"), Box::new(|_| {})));
            }
        }
        for n in 0..REGS {
            writeln!(text, "st.global.u32 [%rd3+{}], %r{n};", 4 * n).unwrap();
        }
        text.push_str("ret;\n}\n");
        let mut threads: Vec<[u32; REGS]> = (0..THREADS).map(|_| [0; REGS].map(|_| noise.constant())).collect();
        let flat: Vec<u32> = threads.iter().flatten().copied().collect();
        // SAFETY: the place has this size.
        unsafe { std::ptr::copy_nonoverlapping(flat.as_ptr(), place as *mut u32, flat.len()) };
        let module = host.load(&text);
        host.launch(&module, "k", [1, 1, 1], [THREADS as u32, 1, 1], &[Arg::U64(place)]).unwrap();
        for (line, effect) in &steps {
            if line == "swap" {
                let old: Vec<u32> = threads.iter().map(|t| t[0]).collect();
                threads.iter_mut().enumerate().for_each(|(n, t)| t[0] = old[n ^ 1]);
            }
            threads.iter_mut().for_each(effect);
        }
        let got = host.download::<u32>(place, THREADS * REGS);
        for (n, want) in threads.iter().enumerate() {
            assert_eq!(got[REGS * n..][..REGS], *want, "round {round}, thread {n}\n{text}");
        }
    }
}
