//! `mma.sync` and `ldmatrix` against products of whole matrices.
#![allow(clippy::unwrap_used)] // a failure is the test's

#[path = "ptx/host.rs"]
mod host;

use host::{Arg, Host};

/// Numbers that every format holds exactly and whose sums `.f16` holds too, so that the order does not matter.
fn small(n: usize) -> i32 {
    (n * 7 % 9) as i32 - 4
}

/// One `mma` of a warp, and where ISA, "Matrix Fragments", puts the elements: (row, column) of element i of a lane.
struct Case {
    name: &'static str,
    m: usize,
    k: usize,
    /// Elements in a register of A and B.
    per: usize,
    /// Registers of A, B and C.
    registers: [usize; 3],
    encode: fn(i32) -> u32,
    /// C and D are pairs of `.f16`.
    pairs: bool,
    encode_c: fn(i32) -> u32,
    /// Bits of a register type.
    a_at: fn(usize, usize, usize) -> (usize, usize),
    b_at: fn(usize, usize, usize) -> (usize, usize),
}

fn half(v: i32) -> u32 {
    // Small whole numbers: the exponent of `.f32` moved, the mantissa cut.
    if v == 0 {
        return 0;
    }
    let bits = (v as f32).to_bits();
    bits >> 16 & 0x8000 | ((bits >> 23 & 0xff) - 112) << 10 | bits >> 13 & 0x3ff
}

fn bfloat(v: i32) -> u32 {
    (v as f32).to_bits() >> 16
}

fn single(v: i32) -> u32 {
    (v as f32).to_bits()
}

fn byte(v: i32) -> u32 {
    v as u32 & 0xff
}

fn whole(v: i32) -> u32 {
    v as u32
}

fn a_half(g: usize, t: usize, i: usize) -> (usize, usize) {
    let row = if i < 2 || (4..6).contains(&i) { g } else { g + 8 };
    (row, t * 2 + (i & 1) + if i >= 4 { 8 } else { 0 })
}

fn b_half(g: usize, t: usize, i: usize) -> (usize, usize) {
    (t * 2 + (i & 1) + if i >= 2 { 8 } else { 0 }, g)
}

fn a_single(g: usize, t: usize, i: usize) -> (usize, usize) {
    (if i == 0 || i == 2 { g } else { g + 8 }, if i < 2 { t } else { t + 4 })
}

fn b_single(g: usize, t: usize, i: usize) -> (usize, usize) {
    (if i == 0 { t } else { t + 4 }, g)
}

fn a_byte(g: usize, t: usize, i: usize) -> (usize, usize) {
    let row = if i < 4 || (8..12).contains(&i) { g } else { g + 8 };
    (row, t * 4 + (i & 3) + if i >= 8 { 16 } else { 0 })
}

fn b_byte(g: usize, t: usize, i: usize) -> (usize, usize) {
    (t * 4 + (i & 3) + if i >= 4 { 16 } else { 0 }, g)
}

#[test]
#[rustfmt::skip]
fn products_of_every_shape_and_type_when_multiplied_are_those_of_whole_matrices() {
    let case = |name, m, k, per, registers, encode, encode_c, a_at, b_at| Case {
        name, m, k, per, registers, encode, pairs: false, encode_c, a_at, b_at,
    };
    let f32_f16 = "f32.f16.f16.f32";
    let cases = [
        case(f32_f16, 16, 16, 2, [4, 2, 4], half as fn(i32) -> u32, single as fn(i32) -> u32, a_half as fn(usize, usize, usize) -> (usize, usize), b_half as fn(usize, usize, usize) -> (usize, usize)),
        case(f32_f16, 16, 8, 2, [2, 1, 4], half, single, a_half, b_half),
        Case { pairs: true, ..case("f16.f16.f16.f16", 16, 16, 2, [4, 2, 2], half, half, a_half, b_half) },
        case("f32.bf16.bf16.f32", 16, 16, 2, [4, 2, 4], bfloat, single, a_half, b_half),
        case("f32.bf16.bf16.f32", 16, 8, 2, [2, 1, 4], bfloat, single, a_half, b_half),
        case("f32.tf32.tf32.f32", 16, 8, 1, [4, 2, 4], single, single, a_single, b_single),
        case("f32.tf32.tf32.f32", 16, 4, 1, [2, 1, 4], single, single, a_single, b_single),
        case("s32.s8.s8.s32", 16, 32, 4, [4, 2, 4], byte, whole, a_byte, b_byte),
        case("s32.s8.s8.s32", 16, 16, 4, [2, 1, 4], byte, whole, a_byte, b_byte),
        case("s32.s8.s8.s32", 8, 16, 4, [1, 1, 2], byte, whole, a_byte, b_byte),
    ];
    for case in &cases {
        check(case);
    }
}

fn check(case: &Case) {
    let a: Vec<Vec<i32>> = (0..case.m).map(|r| (0..case.k).map(|c| small(r * case.k + c + 1)).collect()).collect();
    let b: Vec<Vec<i32>> = (0..case.k).map(|r| (0..8).map(|c| small(r * 8 + c + 5)).collect()).collect();
    let c = |row: usize, column: usize| small(row * 8 + column + 3);
    let mut input = Vec::new();
    let mut wanted = Vec::new();
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        let width = 32 / case.per;
        let pack = |values: Vec<u32>| -> Vec<u32> {
            values
                .chunks(case.per)
                .map(|v| v.iter().rev().fold(0u64, |all, &e| all << width | u64::from(e)) as u32)
                .collect()
        };
        let elements = |registers: usize| 0..registers * case.per;
        let of_a = elements(case.registers[0]).map(|i| (case.a_at)(g, t, i));
        let of_b = elements(case.registers[1]).map(|i| (case.b_at)(g, t, i));
        input.extend(pack(of_a.map(|(r, c)| (case.encode)(a[r][c])).collect()));
        input.extend(pack(of_b.map(|(r, c)| (case.encode)(b[r][c])).collect()));
        let sums = case.m / 4;
        let place = |i: usize| (if i < 2 { g } else { g + 8 }, t * 2 + (i & 1));
        let join = |values: Vec<u32>| -> Vec<u32> {
            if case.pairs { values.chunks(2).map(|v| v[0] | v[1] << 16).collect() } else { values }
        };
        input.extend(join((0..sums).map(|i| (case.encode_c)(c(place(i).0, place(i).1))).collect()));
        wanted.extend(join(
            (0..sums)
                .map(|i| {
                    let (row, column) = place(i);
                    (case.encode_c)((0..case.k).map(|n| a[row][n] * b[n][column]).sum::<i32>() + c(row, column))
                })
                .collect(),
        ));
    }
    let [na, nb, nc] = case.registers;
    let list = |from: usize, count: usize| {
        format!("{{{}}}", (from..from + count).map(|n| format!("%r{n}")).collect::<Vec<_>>().join(", "))
    };
    let each = |count: usize, line: fn(usize) -> String| (0..count).map(line).collect::<String>();
    let text = format!(
        ".version 8.3 .target sm_80 .address_size 64
.visible .entry k(.param .u64 from, .param .u64 to) {{
 .reg .b32 %r<32>; .reg .b64 %rd<9>;
 ld.param.u64 %rd1, [from]; ld.param.u64 %rd2, [to]; mov.u32 %r30, %tid.x;
 mad.wide.u32 %rd3, %r30, {}, %rd1; mad.wide.u32 %rd4, %r30, {}, %rd2;
 {}
 mma.sync.aligned.m{}n8k{}.row.col.{} {}, {}, {}, {};
 {}
 ret; }}",
        4 * (na + nb + nc),
        4 * nc,
        each(na + nb + nc, |n| format!("ld.global.u32 %r{n}, [%rd3+{}]; ", 4 * n)),
        case.m,
        case.k,
        case.name,
        list(16, nc),
        list(0, na),
        list(na, nb),
        list(na + nb, nc),
        each(nc, |n| format!("st.global.u32 [%rd4+{}], %r{}; ", 4 * n, 16 + n)),
    );
    let host = Host::new();
    let module = host.load(&text);
    let (from, to) = (host.upload(&input), host.upload(&vec![0u32; 32 * nc]));
    host.launch(&module, "k", [1; 3], [32, 1, 1], &[Arg::U64(from), Arg::U64(to)]).unwrap();
    assert_eq!(host.download::<u32>(to, 32 * nc), wanted, "m{}n8k{} {}", case.m, case.k, case.name);
}

#[test]
fn matrices_when_loaded_lie_as_the_fragments_of_a_product() {
    for (count, transposed) in [(1usize, false), (2, false), (4, false), (4, true), (1, true)] {
        let text = format!(
            ".version 8.3 .target sm_80 .address_size 64
.visible .entry k(.param .u64 to) {{
 .reg .b32 %r<16>; .reg .b64 %rd<9>; .shared .align 16 .b8 tile[1024];
 ld.param.u64 %rd2, [to]; mov.u32 %r1, %tid.x; mov.u32 %r2, tile;
 mad.lo.u32 %r3, %r1, 4, %r2; mov.u32 %r4, 0;
LOOP: shl.b32 %r5, %r4, 6; mad.lo.u32 %r5, %r1, 2, %r5; add.u32 %r6, %r5, 1; shl.b32 %r6, %r6, 16; or.b32 %r5, %r5, %r6;
 st.shared.u32 [%r3], %r5; add.u32 %r3, %r3, 128; add.u32 %r4, %r4, 1;
 setp.lt.u32 %p1, %r4, 8; @%p1 bra LOOP;
 bar.sync 0;
 mad.lo.u32 %r7, %r1, 16, %r2;
 mov.u32 %r8, 0; mov.u32 %r9, 0; mov.u32 %r10, 0; mov.u32 %r11, 0;
 ldmatrix.sync.aligned.m8n8.x{count}{}.shared.b16 {{{}}}, [%r7];
 mad.wide.u32 %rd4, %r1, 16, %rd2;
 st.global.v4.u32 [%rd4], {{%r8, %r9, %r10, %r11}}; ret; }}",
            if transposed { ".trans" } else { "" },
            ["%r8", "%r9", "%r10", "%r11"][..count].join(", "),
        )
        .replace(".reg .b32 %r<16>;", ".reg .b32 %r<16>; .reg .pred %p<2>;");
        let host = Host::new();
        let module = host.load(&text);
        let to = host.upload(&[0u32; 128]);
        host.launch(&module, "k", [1; 3], [32, 1, 1], &[Arg::U64(to)]).unwrap();
        // The tile holds halves 0, 1, 2, ...: 8 in a row, 64 in a matrix.
        let half = |matrix: usize, row: usize, column: usize| (64 * matrix + 8 * row + column) as u32;
        let wanted: Vec<u32> = (0..128)
            .map(|n| {
                let (lane, matrix) = (n / 4, n % 4);
                let (g, t) = (lane / 4, lane % 4);
                if matrix >= count {
                    0
                } else if transposed {
                    half(matrix, 2 * t, g) | half(matrix, 2 * t + 1, g) << 16
                } else {
                    half(matrix, g, 2 * t) | half(matrix, g, 2 * t + 1) << 16
                }
            })
            .collect();
        assert_eq!(host.download::<u32>(to, 128), wanted, "x{count} {transposed}");
    }
}

/// Fragments of `wmma` are read from one matrix and written to another.
#[test]
fn whole_matrices_when_multiplied_by_wmma_are_the_product() {
    let (a, b): (Vec<i32>, Vec<i32>) =
        ((0..256).map(|n| small(n + 1)).collect(), (0..256).map(|n| small(n + 5)).collect());
    let halves = |v: &[i32]| v.iter().map(|&n| half(n) as u16).collect::<Vec<_>>();
    let text = ".version 7.0 .target sm_70 .address_size 64
.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 d) {
 .reg .b32 %a<8>, %b<8>; .reg .f32 %c<8>; .reg .b64 %rd<4>; .reg .b32 %s; .reg .f32 %z;
 ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u64 %rd3, [d]; mov.u32 %s, 16; mov.f32 %z, 0f3F800000;
 wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {%a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7}, [%rd1], %s;
 wmma.load.b.sync.aligned.col.m16n16k16.global.f16 {%b0, %b1, %b2, %b3, %b4, %b5, %b6, %b7}, [%rd2], %s;
 wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {%c0, %c1, %c2, %c3, %c4, %c5, %c6, %c7}, {%a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7},
  {%b0, %b1, %b2, %b3, %b4, %b5, %b6, %b7}, {%z, %z, %z, %z, %z, %z, %z, %z};
 wmma.store.d.sync.aligned.col.m16n16k16.global.f32 [%rd3], {%c0, %c1, %c2, %c3, %c4, %c5, %c6, %c7}, %s;
 ret; }";
    let host = Host::new();
    let module = host.load(text);
    let (at_a, at_b, at_d) = (host.upload(&halves(&a)), host.upload(&halves(&b)), host.upload(&[0f32; 256]));
    host.launch(&module, "k", [1; 3], [32, 1, 1], &[Arg::U64(at_a), Arg::U64(at_b), Arg::U64(at_d)]).unwrap();
    // B and D are given by columns.
    let wanted: Vec<f32> =
        (0..256).map(|n| (1 + (0..16).map(|k| a[n % 16 * 16 + k] * b[n / 16 * 16 + k]).sum::<i32>()) as f32).collect();
    assert_eq!(host.download::<f32>(at_d, 256), wanted);
}

#[test]
fn matrices_when_stored_as_they_were_loaded_come_back_and_transposed_twice_stay() {
    let text = ".version 7.8 .target sm_90 .address_size 64
.visible .entry k(.param .u64 to) {
 .reg .b32 %r<16>; .reg .b64 %rd<4>; .shared .align 16 .b8 tile[512]; .shared .align 16 .b8 copy[512];
 ld.param.u64 %rd2, [to]; mov.u32 %r1, %tid.x; mov.u32 %r2, tile; mov.u32 %r3, copy;
 mad.lo.u32 %r4, %r1, 16, %r2; mad.lo.u32 %r5, %r1, 16, %r3;
 mul.lo.u32 %r6, %r1, 8; add.u32 %r7, %r6, 1; add.u32 %r8, %r6, 2; add.u32 %r9, %r6, 3;
 st.shared.v4.u32 [%r4], {%r6, %r7, %r8, %r9};
 bar.warp.sync -1;
 ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r6, %r7, %r8, %r9}, [%r4];
 movmatrix.sync.aligned.m8n8.trans.b16 %r10, %r7; movmatrix.sync.aligned.m8n8.trans.b16 %r7, %r10;
 stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%r5], {%r6, %r7, %r8, %r9};
 bar.warp.sync -1;
 ld.shared.v4.u32 {%r6, %r7, %r8, %r9}, [%r5];
 mad.wide.u32 %rd2, %r1, 16, %rd2; st.global.v4.u32 [%rd2], {%r6, %r7, %r8, %r9};
 ret; }";
    let host = Host::new();
    let module = host.load(text);
    let to = host.upload(&[0u32; 128]);
    host.launch(&module, "k", [1; 3], [32, 1, 1], &[Arg::U64(to)]).unwrap();
    let wanted: Vec<u32> = (0..128).map(|n| 8 * (n / 4) + n % 4).collect();
    assert_eq!(host.download::<u32>(to, 128), wanted);
}
