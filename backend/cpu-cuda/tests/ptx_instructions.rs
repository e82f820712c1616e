//! Instructions one by one: a kernel of a few lines on given operands, against the value the PTX manual says.
#![allow(clippy::unwrap_used)] // a failure is the test's

#[path = "ptx/host.rs"]
mod host;

use cpu_cuda::engine::{Fault, FaultKind};
use host::{Arg, Host};

/// Runs `code` with `%rd1`..`%rd3` = the operands, of which `%r1`.. are the low words, `%f1`.., `%d1`.. the same bits
/// and `%h1`.. the low halves; answers `%rd0`, `%r0` or another result it left in `%rd0`.
fn try_run(code: &str, operands: [u64; 3]) -> Result<u64, Fault> {
    let ptx = format!(
        ".version 8.3\n.target sm_75\n.address_size 64\n\
         .visible .entry k(.param .u64 out, .param .u64 a, .param .u64 b, .param .u64 c) {{\n\
         .reg .b64 %rd<20>; .reg .b32 %r<20>; .reg .f32 %f<20>; .reg .f64 %d<20>; .reg .b16 %h<20>; .reg .pred %p<9>;\n\
         .shared .align 16 .b8 sh[64]; .local .align 16 .b8 lo[64];\n\
         ld.param.u64 %rd9, [out]; ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u64 %rd3, [c];\n\
         cvt.u32.u64 %r1, %rd1; cvt.u32.u64 %r2, %rd2; cvt.u32.u64 %r3, %rd3;\n\
         mov.b32 %f1, %r1; mov.b32 %f2, %r2; mov.b32 %f3, %r3;\n\
         mov.b64 %d1, %rd1; mov.b64 %d2, %rd2; mov.b64 %d3, %rd3;\n\
         cvt.u16.u64 %h1, %rd1; cvt.u16.u64 %h2, %rd2; cvt.u16.u64 %h3, %rd3;\n\
         {code}\n\
         st.global.u64 [%rd9], %rd0;\nret;\n}}\n"
    );
    let host = Host::new();
    let module = host.load(&ptx);
    let out = host.upload(&[0u64; 64]);
    let args = [Arg::U64(out), Arg::U64(operands[0]), Arg::U64(operands[1]), Arg::U64(operands[2])];
    host.launch(&module, "k", [1, 1, 1], [1, 1, 1], &args)?;
    Ok(host.download::<u64>(out, 1)[0])
}

fn run(code: &str, operands: [u64; 3]) -> u64 {
    try_run(code, operands).unwrap()
}

/// A 32-bit operation on `%r1`.. into `%r0`.
fn op32(code: &str, a: u32, b: u32, c: u32) -> u32 {
    run(&format!("{code}\ncvt.u64.u32 %rd0, %r0;"), [a.into(), b.into(), c.into()]) as u32
}

/// A single-precision operation on `%f1`.. into `%f0`.
fn opf(code: &str, a: f32, b: f32, c: f32) -> f32 {
    let code = format!("{code}\nmov.b32 %r0, %f0;\ncvt.u64.u32 %rd0, %r0;");
    f32::from_bits(run(&code, [a, b, c].map(|v| u64::from(v.to_bits()))) as u32)
}

/// A double-precision operation on `%d1`.. into `%d0`.
fn opd(code: &str, a: f64, b: f64, c: f64) -> f64 {
    f64::from_bits(run(&format!("{code}\nmov.b64 %rd0, %d0;"), [a, b, c].map(f64::to_bits)))
}

/// A predicate `%p1`.
fn pred(code: &str, operands: [u64; 3]) -> bool {
    run(&format!("{code}\nselp.u64 %rd0, 1, 0, %p1;"), operands) == 1
}

#[test]
fn integer_arithmetic() {
    assert_eq!(op32("add.s32 %r0, %r1, %r2;", 7, u32::MAX, 0), 6);
    assert_eq!(op32("add.sat.s32 %r0, %r1, %r2;", 0x7fff_ffff, 5, 0), 0x7fff_ffff);
    assert_eq!(op32("sub.sat.s32 %r0, %r1, %r2;", 0x8000_0000, 5, 0), 0x8000_0000);
    assert_eq!(op32("mul.hi.u32 %r0, %r1, %r2;", 0x8000_0000, 6, 0), 3);
    assert_eq!(op32("mul.hi.s32 %r0, %r1, %r2;", u32::MAX, 6, 0), u32::MAX);
    assert_eq!(op32("mad.lo.s32 %r0, %r1, %r2, %r3;", 7, 6, 5), 47);
    assert_eq!(op32("mul24.lo.u32 %r0, %r1, %r2;", 0xff00_0003, 5, 0), 15);
    assert_eq!(op32("mad24.hi.s32 %r0, %r1, %r2, %r3;", 0x40_0000, 4, 1), 0x101);
    assert_eq!(op32("sad.s32 %r0, %r1, %r2, %r3;", u32::MAX, 4, 10), 15);
    assert_eq!(op32("abs.s32 %r0, %r1;", 0xffff_fff0, 0, 0), 16);
    assert_eq!(op32("neg.s32 %r0, %r1;", 1, 0, 0), u32::MAX);
    assert_eq!(op32("min.s32 %r0, %r1, %r2;", u32::MAX, 1, 0), u32::MAX);
    assert_eq!(op32("max.u32 %r0, %r1, %r2;", u32::MAX, 1, 0), u32::MAX);
    assert_eq!(run("mul.wide.s32 %rd0, %r1, %r2;", [u64::from(u32::MAX), 3, 0]) as i64, -3);
    assert_eq!(run("mad.wide.u32 %rd0, %r1, %r2, %rd3;", [0xffff_ffff, 2, 1]), 0x1_ffff_ffff);
    assert_eq!(run("mul.hi.u64 %rd0, %rd1, %rd2;", [1 << 63, 4, 0]), 2);
    assert_eq!(op32("add.u16 %h0, %h1, %h2; cvt.u32.u16 %r0, %h0;", 0xffff, 2, 0), 1);
    assert_eq!(op32("mul.wide.u16 %r0, %h1, %h2;", 0xffff, 0xffff, 0), 0xfffe_0001);
}

#[test]
fn division_never_traps() {
    assert_eq!(op32("div.s32 %r0, %r1, %r2;", (-7i32) as u32, 2, 0) as i32, -3);
    assert_eq!(op32("rem.s32 %r0, %r1, %r2;", (-7i32) as u32, 2, 0) as i32, -1);
    assert_eq!(op32("div.u32 %r0, %r1, %r2;", 7, 0, 0), u32::MAX);
    assert_eq!(op32("rem.u32 %r0, %r1, %r2;", 7, 0, 0), 7);
    assert_eq!(op32("div.s32 %r0, %r1, %r2;", 0x8000_0000, u32::MAX, 0), 0x8000_0000);
    assert_eq!(op32("rem.s32 %r0, %r1, %r2;", 0x8000_0000, u32::MAX, 0), 0);
    assert_eq!(run("div.s64 %rd0, %rd1, %rd2;", [1 << 63, u64::MAX, 0]), 1 << 63);
    assert_eq!(run("rem.u64 %rd0, %rd1, %rd2;", [100, 7, 0]), 2);
    assert_eq!(op32("div.s16 %h0, %h1, %h2; cvt.u32.u16 %r0, %h0;", 0xfff9, 2, 0), 0xfffd);
}

#[test]
fn carries_chain() {
    let code = "add.cc.u32 %r0, %r1, %r2; addc.u32 %r4, %r3, 0;\n mov.b64 %rd0, {%r0, %r4};";
    assert_eq!(run(code, [0xffff_ffff, 1, 5]), 6 << 32);
    let code = "sub.cc.u32 %r0, %r1, %r2; subc.u32 %r4, %r3, 0;\n mov.b64 %rd0, {%r0, %r4};";
    assert_eq!(run(code, [0, 1, 5]), 4 << 32 | 0xffff_ffff);
    let code = "mad.lo.cc.u32 %r0, %r1, %r2, %r3; madc.hi.u32 %r4, %r1, %r2, 0;\n mov.b64 %rd0, {%r0, %r4};";
    assert_eq!(run(code, [0xffff_ffff, 0xffff_ffff, 0xffff_ffff]), 0xffff_ffffu64 * 0xffff_ffff + 0xffff_ffff);
}

#[test]
fn shifts_clamp_their_count() {
    assert_eq!(op32("shl.b32 %r0, %r1, %r2;", 3, 4, 0), 48);
    assert_eq!(op32("shl.b32 %r0, %r1, %r2;", 3, 32, 0), 0);
    assert_eq!(op32("shr.u32 %r0, %r1, %r2;", 0x8000_0000, 40, 0), 0);
    assert_eq!(op32("shr.s32 %r0, %r1, %r2;", 0x8000_0000, 40, 0), u32::MAX);
    assert_eq!(run("shr.s64 %rd0, %rd1, %r2;", [1 << 63, 100, 0]), u64::MAX);
    assert_eq!(op32("shf.l.wrap.b32 %r0, %r1, %r2, %r3;", 0x8000_0001, 0x1234_5678, 36), 0x2345_6788);
    assert_eq!(op32("shf.r.clamp.b32 %r0, %r1, %r2, %r3;", 1, 0xabcd, 40), 0xabcd);
    assert_eq!(op32("shf.r.wrap.b32 %r0, %r1, %r2, 8;", 0x1122_3344, 0x55, 0), 0x5511_2233);
}

#[test]
fn bit_fields_and_counts() {
    assert_eq!(op32("bfe.u32 %r0, %r1, 8, 8;", 0x1234_5678, 0, 0), 0x56);
    assert_eq!(op32("bfe.s32 %r0, %r1, 4, 4;", 0x0000_00f0, 0, 0), u32::MAX);
    assert_eq!(op32("bfe.s32 %r0, %r1, %r2, %r3;", 0x8000_0000, 28, 8), 0xffff_fff8);
    assert_eq!(op32("bfe.u32 %r0, %r1, 0, 0;", 5, 0, 0), 0);
    assert_eq!(op32("bfe.u32 %r0, %r1, 0, 32;", 0xdead_beef, 0, 0), 0xdead_beef);
    assert_eq!(op32("bfi.b32 %r0, %r1, %r2, 8, 8;", 0xab, 0x1111_1111, 0), 0x1111_ab11);
    assert_eq!(op32("bfi.b32 %r0, %r1, %r2, 0, 32;", 0xab, 0x1111_1111, 0), 0xab);
    assert_eq!(op32("brev.b32 %r0, %r1;", 1, 0, 0), 0x8000_0000);
    assert_eq!(op32("popc.b32 %r0, %r1;", 0xff00_0001, 0, 0), 9);
    assert_eq!(op32("clz.b32 %r0, %r1;", 0, 0, 0), 32);
    assert_eq!(op32("clz.b64 %r0, %rd1;", 1, 0, 0), 63);
    assert_eq!(op32("bfind.u32 %r0, %r1;", 0x10, 0, 0), 4);
    assert_eq!(op32("bfind.s32 %r0, %r1;", u32::MAX, 0, 0), u32::MAX);
    assert_eq!(op32("bfind.shiftamt.u32 %r0, %r1;", 0x10, 0, 0), 27);
    assert_eq!(op32("fns.b32 %r0, %r1, %r2, %r3;", 0b1011_0100, 2, 2), 4);
    assert_eq!(op32("bmsk.clamp.b32 %r0, %r1, %r2;", 4, 8, 0), 0xff0);
    assert_eq!(op32("szext.wrap.s32 %r0, %r1, %r2;", 0x8, 4, 0), 0xffff_fff8);
}

#[test]
fn logic() {
    for table in [0x96u32, 0xe8, 0xca, 0x80, 0xfe, 0x01, 0x55, 0x3c, 0x0f, 0xd8] {
        let (a, b, c) = (0xf0f0_aaaau32, 0xcccc_0f0f, 0xaaaa_3333);
        let got = op32(&format!("lop3.b32 %r0, %r1, %r2, %r3, {table};"), a, b, c);
        let want = (0..32).fold(0, |sum, n| {
            let index = (a >> n & 1) << 2 | (b >> n & 1) << 1 | (c >> n & 1);
            sum | (table >> index & 1) << n
        });
        assert_eq!(got, want, "table {table:#x}");
    }
    assert_eq!(op32("cnot.b32 %r0, %r1;", 0, 0, 0), 1);
    assert_eq!(op32("not.b32 %r0, %r1;", 0, 0, 0), u32::MAX);
    assert!(pred("setp.lt.s32 %p2, %r1, 0; not.pred %p1, %p2;", [5, 0, 0]));
    assert!(pred("setp.lt.s32 %p2|%p3, %r1, 0; xor.pred %p1, %p2, %p3;", [5, 0, 0]));
    assert!(pred("setp.eq.s32 %p2, %r1, 5; setp.lt.and.u32 %p1, %r2, 3, !%p2;", [4, 1, 0]));
    assert_eq!(op32("set.lt.u32.s32 %r0, %r1, %r2;", u32::MAX, 0, 0), u32::MAX);
    assert_eq!(op32("set.gt.f32.s32 %f0, %r1, 0; mov.b32 %r0, %f0;", 3, 0, 0), 1f32.to_bits());
    assert_eq!(op32("slct.u32.s32 %r0, %r1, %r2, %r3;", 10, 20, u32::MAX), 20);
}

#[test]
fn bytes_are_permuted() {
    assert_eq!(op32("prmt.b32 %r0, %r1, %r2, 0x5410;", 0x1122_3344, 0x5566_7788, 0), 0x7788_3344);
    assert_eq!(op32("prmt.b32 %r0, %r1, %r2, %r3;", 0x1122_3344, 0x5566_7788, 0x5410), 0x7788_3344);
    assert_eq!(op32("prmt.b32 %r0, %r1, %r2, 0xba98;", 0x8000_7f80, 0, 0), 0xff00_00ff);
    assert_eq!(op32("prmt.b32.f4e %r0, %r1, %r2, %r3;", 0x4433_2211, 0x8877_6655, 1), 0x5544_3322);
    assert_eq!(op32("prmt.b32.rc8 %r0, %r1, %r2, 2;", 0x4433_2211, 0, 0), 0x3333_3333);
    assert_eq!(op32("dp4a.s32.s32 %r0, %r1, %r2, %r3;", 0xff02_0304, 0x0102_0304, 100), 100 - 1 + 4 + 9 + 16);
    assert_eq!(op32("dp2a.lo.u32.u32 %r0, %r1, %r2, %r3;", 0x0002_0003, 0x0000_0504, 1), 1 + 12 + 10);
    assert_eq!(
        run("mov.b64 {%r4, %r5}, %rd1; mov.b64 %rd0, {%r5, %r4};", [0x1111_2222_3333_4444, 0, 0]),
        0x3333_4444_1111_2222
    );
}

#[test]
fn conversions_of_integers() {
    assert_eq!(run("cvt.s64.s8 %rd0, %r1;", [0xff, 0, 0]), u64::MAX);
    assert_eq!(op32("cvt.sat.u8.s32 %r0, %r1;", 300, 0, 0), 255);
    assert_eq!(op32("cvt.sat.u8.s32 %r0, %r1;", u32::MAX, 0, 0), 0);
    assert_eq!(op32("cvt.sat.s16.s32 %r0, %r1;", 70000, 0, 0), 32767);
    assert_eq!(run("cvt.sat.s32.u64 %r0, %rd1; cvt.u64.u32 %rd0, %r0;", [1 << 63, 0, 0]), 0x7fff_ffff);
    assert_eq!(op32("cvt.u32.u16 %r0, %h1;", 0xffff, 0, 0), 0xffff);
    assert_eq!(op32("cvt.s32.s16 %r0, %h1;", 0xffff, 0, 0), u32::MAX);
}

#[test]
fn conversions_with_floats() {
    let to_int = |op: &str, v: f32| op32(&format!("{op} %r0, %f1;"), v.to_bits(), 0, 0) as i32;
    assert_eq!(to_int("cvt.rzi.s32.f32", -2.7), -2);
    assert_eq!(to_int("cvt.rni.s32.f32", 2.5), 2);
    assert_eq!(to_int("cvt.rmi.s32.f32", -2.5), -3);
    assert_eq!(to_int("cvt.rpi.s32.f32", 2.1), 3);
    assert_eq!(to_int("cvt.rzi.s32.f32", 1e20), i32::MAX);
    assert_eq!(to_int("cvt.rzi.s32.f32", f32::NAN), 0);
    assert_eq!(to_int("cvt.rzi.u32.f32", -1.0), 0);
    assert_eq!(to_int("cvt.rzi.u8.f32", 300.0), 255);
    assert_eq!(opf("cvt.rn.f32.u32 %f0, %r1;", f32::from_bits(u32::MAX), 0.0, 0.0), 4_294_967_296.0);
    assert_eq!(opf("cvt.rz.f32.u32 %f0, %r1;", f32::from_bits(u32::MAX), 0.0, 0.0), 4_294_967_040.0);
    assert_eq!(opd("cvt.rn.f64.s64 %d0, %rd1;", f64::from_bits(u64::MAX), 0.0, 0.0), -1.0);
    assert_eq!(opd("cvt.f64.f32 %d0, %f1;", f64::from_bits(u64::from(1.5f32.to_bits())), 0.0, 0.0), 1.5);
    assert_eq!(opf("cvt.rp.f32.f64 %f0, 0d3FF0000000000001;", 0.0, 0.0, 0.0), 1.000_000_1);
    assert_eq!(opf("cvt.rni.f32.f32 %f0, %f1;", 3.5, 0.0, 0.0), 4.0);
    assert_eq!(opf("cvt.sat.f32.f32 %f0, %f1;", f32::NAN, 0.0, 0.0), 0.0);
}

#[test]
fn halves() {
    let half = |code: &str, a: u32, b: u32, c: u32| op32(&format!("{code} cvt.u32.u16 %r0, %h0;"), a, b, c);
    assert_eq!(half("cvt.rn.f16.f32 %h0, %f1;", 1.0f32.to_bits(), 0, 0), 0x3c00);
    assert_eq!(half("cvt.rz.f16.f32 %h0, %f1;", 65535f32.to_bits(), 0, 0), 0x7bff);
    assert_eq!(half("cvt.rn.bf16.f32 %h0, %f1;", 1.0f32.to_bits() + 0x8000, 0, 0), 0x3f80);
    assert_eq!(half("add.f16 %h0, %h1, %h2;", 0x3c00, 0x3c00, 0), 0x4000);
    assert_eq!(half("fma.rn.f16 %h0, %h1, %h2, %h3;", 0x4000, 0x4200, 0x3c00), 0x4700);
    assert_eq!(half("max.f16 %h0, %h1, %h2;", 0x7e00, 0x3c00, 0), 0x3c00);
    assert_eq!(half("neg.f16 %h0, %h1;", 0x3c00, 0, 0), 0xbc00);
    assert_eq!(op32("cvt.f32.f16 %f0, %h1; mov.b32 %r0, %f0;", 0x0001, 0, 0), 5.960_464_5e-8f32.to_bits());
    assert_eq!(op32("cvt.f32.f16 %f0, %h1; mov.b32 %r0, %f0;", 0xfc00, 0, 0), f32::NEG_INFINITY.to_bits());
    assert_eq!(op32("mul.f16x2 %r0, %r1, %r2;", 0x4000_3c00, 0x4200_4000, 0), 0x4600_4000);
    assert_eq!(op32("fma.rn.bf16x2 %r0, %r1, %r2, %r3;", 0x3f80_4000, 0x4000_4000, 0x3f80_3f80), 0x4040_40a0);
    assert_eq!(op32("cvt.rn.f16x2.f32 %r0, %f1, %f2;", 2f32.to_bits(), 1f32.to_bits(), 0), 0x4000_3c00);
    assert!(pred("setp.lt.f16 %p1, %h1, %h2;", [0xbc00, 0x3c00, 0]));
    assert!(pred("setp.lt.f16x2 %p2|%p1, %r1, %r2;", [0xbc00_3c00, 0x3c00_3c00, 0]));
    assert!(!pred("setp.lt.f16x2 %p1|%p2, %r1, %r2;", [0xbc00_3c00, 0x3c00_3c00, 0]));
    assert_eq!(op32("set.gt.f16x2.f16x2 %r0, %r1, %r2;", 0xbc00_4000, 0x3c00_3c00, 0), 0x0000_3c00);
    assert_eq!(op32("set.eq.u32.bf16x2 %r0, %r1, %r2;", 0x3f80_4000, 0x3f80_3f80, 0), 0xffff_0000);
}

#[test]
fn single_precision() {
    assert_eq!(opf("fma.rn.f32 %f0, %f1, %f2, %f3;", 0.1, 0.2, 0.3), 0.1f32.mul_add(0.2, 0.3));
    assert_eq!(opf("add.rz.f32 %f0, %f1, %f2;", 1.0, 1e-10, 0.0), 1.0);
    assert_eq!(opf("add.rp.f32 %f0, %f1, %f2;", 1.0, 1e-10, 0.0), 1.0 + f32::EPSILON);
    assert_eq!(opf("sub.rm.f32 %f0, %f1, %f2;", 1.0, 1e-10, 0.0), 1.0 - f32::EPSILON / 2.0);
    assert_eq!(opf("div.rn.f32 %f0, %f1, %f2;", 1.0, 3.0, 0.0), 1.0 / 3.0);
    assert_eq!(opf("sqrt.rn.f32 %f0, %f1;", 2.0, 0.0, 0.0), 2f32.sqrt());
    assert_eq!(opf("rcp.rz.f32 %f0, %f1;", 3.0, 0.0, 0.0), 0.333_333_3);
    assert_eq!(opf("min.f32 %f0, %f1, %f2;", f32::NAN, 1.0, 0.0), 1.0);
    assert_eq!(opf("min.f32 %f0, %f1, %f2;", 1.0, f32::NAN, 0.0), 1.0);
    assert!(opf("min.NaN.f32 %f0, %f1, %f2;", 1.0, f32::NAN, 0.0).is_nan());
    assert!(opf("max.f32 %f0, %f1, %f2;", -0.0, 0.0, 0.0).is_sign_positive());
    assert!(opf("min.f32 %f0, %f1, %f2;", 0.0, -0.0, 0.0).is_sign_negative());
    assert_eq!(opf("add.ftz.f32 %f0, %f1, %f2;", 1e-40, 0.0, 0.0), 0.0);
    assert_eq!(opf("mul.f32 %f0, %f1, %f2;", 1e-40, 1.0, 0.0), 1e-40);
    assert_eq!(opf("add.sat.f32 %f0, %f1, %f2;", 1.0, 1.0, 0.0), 1.0);
    assert_eq!(opf("copysign.f32 %f0, %f1, %f2;", -1.0, 5.0, 0.0), -5.0);
    for (op, want) in
        [("ex2", 8.0), ("lg2", 3f32.log2()), ("sin", 3f32.sin()), ("cos", 3f32.cos()), ("tanh", 3f32.tanh())]
    {
        let got = opf(&format!("{op}.approx.f32 %f0, %f1;"), 3.0, 0.0, 0.0);
        assert!((got - want).abs() < 1e-5, "{op} gave {got}");
    }
    assert!((opf("rsqrt.approx.f32 %f0, %f1;", 2.0, 0.0, 0.0) - 0.5f32.sqrt()).abs() < 1e-6);
    assert!(pred("setp.ltu.f32 %p1, %f1, %f2;", [u64::from(f32::NAN.to_bits()), 0, 0]));
    assert!(!pred("setp.ne.f32 %p1, %f1, %f2;", [u64::from(f32::NAN.to_bits()), 0, 0]));
    assert!(pred("testp.subnormal.f32 %p1, %f1;", [1, 0, 0]));
    assert!(pred("testp.infinite.f32 %p1, %f1;", [u64::from(f32::INFINITY.to_bits()), 0, 0]));
}

#[test]
fn double_precision() {
    assert_eq!(opd("fma.rn.f64 %d0, %d1, %d2, %d3;", 0.1, 0.2, 0.3), 0.1f64.mul_add(0.2, 0.3));
    assert_eq!(opd("div.rn.f64 %d0, %d1, %d2;", 1.0, 3.0, 0.0), 1.0 / 3.0);
    assert_eq!(opd("add.rm.f64 %d0, %d1, %d2;", 1.0, -1e-30, 0.0), 1.0 - f64::EPSILON / 2.0);
    assert_eq!(opd("rcp.approx.ftz.f64 %d0, %d1;", 4.0, 0.0, 0.0), 0.25);
}

#[test]
fn array_name_when_indexed_then_address_of_the_element() {
    let code = ".local .b32 words[4]; .shared .v2 .b32 pairs[4];\n\
        mov.u64 %rd4, words[2]; mov.u64 %rd5, words; sub.u64 %rd4, %rd4, %rd5;\n\
        mov.u64 %rd6, pairs[3]; mov.u64 %rd5, pairs; sub.u64 %rd6, %rd6, %rd5; mad.lo.u64 %rd0, %rd6, 100, %rd4;";
    assert_eq!(run(code, [0; 3]), 2408);
    assert_eq!(run("mov.u64 %rd4, sh[0]; mov.u64 %rd5, sh[7]; sub.u64 %rd0, %rd5, %rd4;", [0; 3]), 7);
}

#[test]
fn memory_spaces() {
    assert_eq!(
        run(
            "st.shared.u64 [sh+8], %rd1; ld.shared.v2.u32 {%r4, %r5}, [sh+8]; mov.b64 %rd0, {%r5, %r4};",
            [0x1_0000_0002, 0, 0]
        ),
        0x2_0000_0001
    );
    assert_eq!(
        run(
            "mov.u64 %rd4, sh; cvta.shared.u64 %rd4, %rd4; st.u32 [%rd4+4], %r1; ld.shared.u32 %r0, [sh+4]; cvt.u64.u32 %rd0, %r0;",
            [42, 0, 0]
        ),
        42
    );
    assert_eq!(
        run("mov.u64 %rd4, lo; cvta.local.u64 %rd4, %rd4; st.u16 [%rd4+6], %h1; ld.local.u64 %rd0, [lo];", [42, 0, 0])
            >> 48,
        42
    );
    assert_eq!(run("mov.b64 %rd4, a; cvta.param.u64 %rd4, %rd4; ld.u64 %rd0, [%rd4];", [43, 0, 0]), 43);
    assert!(pred("mov.u64 %rd4, sh; cvta.shared.u64 %rd4, %rd4; isspacep.shared %p1, %rd4;", [0; 3]));
    assert!(pred("isspacep.global %p1, %rd9;", [0; 3]));
    assert_eq!(run("st.global.u8 [%rd9+64], %r1; ld.global.s8 %rd0, [%rd9+64];", [0x80, 0, 0]), 0xffff_ffff_ffff_ff80);
    assert_eq!(
        run("st.global.v4.u32 [%rd9+16], {%r1, %r2, %r3, %r1}; ld.global.u64 %rd0, [%rd9+24];", [1, 2, 3]),
        1 << 32 | 3
    );
}

#[test]
fn memory_faults() {
    let kind = |code: &str| try_run(code, [1 << 33, 0, 0]).unwrap_err().kind;
    assert_eq!(kind("ld.global.u64 %rd0, [%rd1];"), FaultKind::IllegalAddress);
    assert_eq!(kind("ld.u64 %rd0, [%rd1];"), FaultKind::IllegalAddress);
    assert_eq!(kind("ld.u64 %rd0, [0];"), FaultKind::IllegalAddress);
    assert_eq!(kind("ld.global.u32 %r0, [%rd9+2];"), FaultKind::Misaligned);
    assert_eq!(kind("ld.shared.u64 %rd0, [sh+64];"), FaultKind::IllegalAddress);
    assert_eq!(kind("ld.shared.u64 %rd0, [sh+60];"), FaultKind::Misaligned);
    assert_eq!(kind("ld.local.u64 %rd0, [lo+64];"), FaultKind::IllegalAddress);
    assert_eq!(kind("ld.local.u64 %rd0, [%rd1];"), FaultKind::IllegalAddress);
    assert_eq!(kind("st.global.u64 [%rd9+512], %rd1;"), FaultKind::IllegalAddress);
    assert_eq!(kind("st.param.u64 [a], %rd1;"), FaultKind::IllegalAddress);
    assert_eq!(kind("atom.global.add.u32 %r0, [%rd1], 1;"), FaultKind::IllegalAddress);
    assert_eq!(kind("trap;"), FaultKind::Trap);
}

#[test]
fn registered_host_memory_is_reached_by_the_slow_path() {
    let host = Host::new();
    let module = host.load(
        ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry k(.param .u64 p) { .reg .b64 %rd<3>; .reg .b32 %r<3>;\n\
         ld.param.u64 %rd1, [p]; ld.global.u32 %r1, [%rd1]; add.u32 %r1, %r1, 1; st.global.u32 [%rd1+4], %r1; ret; }",
    );
    let mut memory = Box::new([41u32, 0]);
    let at = memory.as_mut_ptr() as u64;
    let launch = || host.launch(&module, "k", [1, 1, 1], [1, 1, 1], &[Arg::U64(at)]);
    assert_eq!(launch().unwrap_err().kind, FaultKind::IllegalAddress);
    host.ranges.lock().unwrap().push((at, 8, false));
    assert_eq!(launch().unwrap_err().kind, FaultKind::IllegalAddress);
    host.ranges.lock().unwrap()[0].2 = true;
    launch().unwrap();
    assert_eq!(memory[1], 42);
}

#[test]
fn atomics() {
    let on = |space: &str, at: &str, op: &str, old: u64, operand: u64| {
        let bits = if op.ends_with("64") { 64 } else { 32 };
        let value = if bits == 64 { "%rd2" } else { "%r2" };
        let extra = if op.starts_with("cas") { ", 99" } else { "" };
        let code = format!(
            "st.{space}.b{bits} [{at}], {}; atom.{space}.{op} {}, [{at}], {value}{extra}; ld.{space}.b{bits} {}, [{at}];\n\
             {} add.u64 %rd0, %rd0, 0;",
            if bits == 64 { "%rd1" } else { "%r1" },
            if bits == 64 { "%rd5" } else { "%r5" },
            if bits == 64 { "%rd0" } else { "%r0" },
            if bits == 64 { "" } else { "cvt.u64.u32 %rd0, %r0;" },
        );
        run(&code, [old, operand, 0])
    };
    for (space, at) in [("global", "%rd9+64"), ("shared", "sh+16")] {
        assert_eq!(on(space, at, "add.u32", 5, 6), 11);
        assert_eq!(on(space, at, "add.u64", 5, 6), 11);
        assert_eq!(on(space, at, "min.s32", 5, 0xffff_ffff), 0xffff_ffff);
        assert_eq!(on(space, at, "max.u32", 5, 0xffff_ffff), 0xffff_ffff);
        assert_eq!(on(space, at, "and.b32", 12, 10), 8);
        assert_eq!(on(space, at, "or.b32", 12, 10), 14);
        assert_eq!(on(space, at, "xor.b64", 12, 10), 6);
        assert_eq!(on(space, at, "exch.b32", 12, 10), 10);
        assert_eq!(on(space, at, "cas.b32", 12, 12), 99);
        assert_eq!(on(space, at, "cas.b32", 12, 13), 12);
        assert_eq!(on(space, at, "inc.u32", 5, 5), 0);
        assert_eq!(on(space, at, "dec.u32", 0, 7), 7);
        assert_eq!(on(space, at, "add.f32", 1f32.to_bits().into(), 2f32.to_bits().into()), u64::from(3f32.to_bits()));
        assert_eq!(on(space, at, "add.f64", 1f64.to_bits(), 2f64.to_bits()), 3f64.to_bits());
    }
}

#[test]
fn control_flow() {
    assert_eq!(
        op32("setp.eq.s32 %p1, %r1, 3; mov.u32 %r0, 1; @%p1 mov.u32 %r0, 2; @!%p1 add.u32 %r0, %r0, 9;", 3, 0, 0),
        2
    );
    let switch = "mov.u32 %r0, 0;\nts: .branchtargets A, B, C;\nbrx.idx %r1, ts;\nA: add.u32 %r0, %r0, 1;\nB: add.u32 %r0, %r0, 10;\nC: add.u32 %r0, %r0, 100;";
    assert_eq!(op32(switch, 0, 0, 0), 111);
    assert_eq!(op32(switch, 2, 0, 0), 100);
    assert_eq!(
        op32(
            "mov.u32 %r0, 0; { L: add.u32 %r0, %r0, 2; setp.lt.u32 %p1, %r0, %r1; @%p1 bra L; }\n{ L: add.u32 %r0, %r0, 1; }",
            9,
            0,
            0
        ),
        11
    );
}

#[test]
fn special_registers() {
    assert_eq!(op32("mov.u32 %r0, %ntid.x; mov.u32 %r4, %laneid; add.u32 %r0, %r0, %r4;", 0, 0, 0), 1);
    assert_eq!(op32("mov.u32 %r0, %lanemask_ge;", 0, 0, 0), u32::MAX);
    assert_eq!(op32("mov.u32 %r0, %nctaid.w;", 0, 0, 0), 0);
    assert!(run("mov.u64 %rd0, %globaltimer;", [0; 3]) > 1 << 60);
}

#[test]
fn textures_and_surfaces_ask_the_context() {
    let handle = [77, 5, 6];
    assert_eq!(
        op32("tex.2d.v4.u32.s32 {%r4, %r5, %r6, %r7}, [%rd1, {%r2, %r3}]; mad.lo.u32 %r0, %r4, 100, %r5;", 77, 5, 6),
        506
    );
    assert_eq!(op32("txq.width.b32 %r0, [%rd1];", 77, 0, 0), 640);
    assert_eq!(op32("suld.b.2d.b32.trap %r0, [%rd1, {%r2, %r3}];", 77, 5, 6), 0x0505_0505);
    assert_eq!(run("sust.b.2d.v2.b32.clamp [%rd1, {%r2, %r3}], {%r2, %r3}; mov.u64 %rd0, 1;", handle), 1);
    let fault =
        try_run("tex.1d.v4.f32.s32 {%f4, %f5, %f6, %f7}, [%rd1, {%r2}]; mov.u64 %rd0, 0;", [78, 0, 0]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::IllegalAddress);
}

#[test]
fn packed_conversions() {
    assert_eq!(op32("cvt.pack.sat.s16.s32 %r0, %r1, %r2;", 70_000, -70_000i32 as u32, 0), 0x7fff_8000);
    assert_eq!(op32("cvt.pack.sat.u16.s32 %r0, %r1, %r2;", 70_000, -1i32 as u32, 0), 0xffff_0000);
    assert_eq!(op32("cvt.pack.sat.u8.s32.b32 %r0, %r1, %r2, %r3;", 300, 5, 0xabcd), 0xabcd_ff05);
    assert_eq!(op32("cvt.pack.sat.s4.s32.b32 %r0, %r1, %r2, %r3;", 100, -100i32 as u32, 0xabc), 0xabc78);
    // 448 is the greatest .e4m3, 57344 the greatest .e5m2.
    let bits = |v: f32| v.to_bits();
    let narrow =
        |what: &str, a, b| op32(&format!("cvt.rn.satfinite.{what}.f32 %h0, %f1, %f2; cvt.u32.u16 %r0, %h0;"), a, b, 0);
    assert_eq!(narrow("e4m3x2", bits(1e9), bits(-1.0)), 0x7eb8);
    assert_eq!(narrow("e5m2x2", bits(1e9), bits(-1.0)), 0x7bbc);
    assert_eq!(narrow("relu.e4m3x2", bits(2.0), bits(-1.0)), 0x4000);
    assert_eq!(op32("cvt.rn.f16x2.e4m3x2 %r0, %h1;", 0x38b8, 0, 0), 0x3c00_bc00);
    assert_eq!(op32("cvt.rn.f16x2.e5m2x2 %r0, %h1;", 0x3cbc, 0, 0), 0x3c00_bc00);
    assert_eq!(op32("cvt.rn.satfinite.e5m2x2.f16x2 %h0, %r1; cvt.u32.u16 %r0, %h0;", 0x3c00_bc00, 0, 0), 0x3cbc);
}

#[test]
fn extremes_of_magnitudes_take_the_product_of_the_signs() {
    let half =
        |what: &str, a, b| op32(&format!("{what}.xorsign.abs.f16 %h0, %h1, %h2; cvt.u32.u16 %r0, %h0;"), a, b, 0);
    assert_eq!(half("min", 0xbc00, 0x4000), 0xbc00);
    assert_eq!(half("max", 0xbc00, 0xc000), 0x4000);
    assert_eq!(opf("max.xorsign.abs.f32 %f0, %f1, %f2;", -3.0, 2.0, 0.0), -3.0);
}

#[test]
fn wide_and_vector_atomics() {
    let cas = "{.reg .b128 %c, %n, %o; mov.b64 %rd5, 0; st.global.v2.u64 [%rd9+64], {%rd1, %rd2};\n\
               mov.b128 %c, {%rd1, %rd3}; mov.b128 %n, {%rd5, %rd5}; atom.global.cas.b128 %o, [%rd9+64], %c, %n;\n\
               atom.global.exch.b128 %o, [%rd9+64], %n; mov.b128 {%rd5, %rd0}, %o;}";
    // Not what was expected: it stays, and the exchange finds it.
    assert_eq!(run(cas, [1, 2, 3]), 2);
    assert_eq!(run(cas, [1, 2, 2]), 0);
    let add = "st.global.v2.f32 [%rd9+64], {%f1, %f2}; atom.global.v2.f32.add {%f4, %f5}, [%rd9+64], {%f3, %f3};\n\
               red.global.v2.f32.add [%rd9+64], {%f3, %f3}; ld.global.f32 %f6, [%rd9+68]; add.f32 %f0, %f4, %f6;";
    assert_eq!(opf(add, 1.0, 2.0, 10.0), 23.0);
}

#[test]
fn registers_that_are_vectors() {
    let code = "{.reg .v4 .u32 %v; st.global.v2.u32 [%rd9+64], {%r1, %r2}; st.global.v2.u32 [%rd9+72], {%r3, %r3};\n\
                ld.global.v4.u32 %v, [%rd9+64]; sub.u32 %v.x, %v.x, %v.y; mad.lo.u32 %r0, %v.x, %v.z, %v.w;}";
    assert_eq!(op32(code, 9, 4, 6), 36);
}

#[test]
fn barrier_objects_count_arrivals() {
    let code = "{.reg .b64 %s; mbarrier.init.shared.b64 [sh], 2; mbarrier.arrive.shared.b64 %s, [sh];\n\
                mbarrier.test_wait.shared.b64 %p1, [sh], %s; selp.u32 %r4, 1, 0, %p1;\n\
                mbarrier.pending_count.b64 %r5, %s; mad.lo.u32 %r4, %r5, 10, %r4;\n\
                mbarrier.arrive.expect_tx.shared.b64 _, [sh], 8; mbarrier.try_wait.parity.shared.b64 %p1, [sh], 0;\n\
                selp.u32 %r5, 100, 0, %p1; add.u32 %r4, %r4, %r5; mbarrier.complete_tx.shared.b64 [sh], 8;\n\
                mbarrier.try_wait.parity.shared.b64 %p1, [sh], 0; selp.u32 %r5, 1000, 0, %p1; add.u32 %r0, %r4, %r5;}";
    assert_eq!(op32(code, 0, 0, 0), 1020);
    let fault = try_run("mbarrier.init.shared.b64 [sh+4], 1; mov.u64 %rd0, 0;", [0; 3]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Misaligned);
}

#[test]
fn memory_from_the_stack_lives_until_its_function_returns() {
    // Two pieces apart, and aligned; the second goes when the first's end is restored.
    let code = "mov.u64 %rd4, 20; alloca.u64 %rd5, %rd4; stacksave.u64 %rd6; alloca.u64 %rd7, 100, 64;\n\
                st.local.u32 [%rd5+16], %r1; st.local.u32 [%rd7+96], %r2; and.b64 %rd8, %rd7, 63;\n\
                stackrestore.u64 %rd6; alloca.u64 %rd11, 100, 64; sub.u64 %rd11, %rd11, %rd7;\n\
                ld.local.u32 %r3, [%rd5+16]; ld.local.u32 %r4, [%rd7+96]; add.u32 %r0, %r3, %r4;\n\
                cvt.u64.u32 %rd0, %r0; add.u64 %rd0, %rd0, %rd8; add.u64 %rd0, %rd0, %rd11;";
    assert_eq!(run(code, [5, 7, 0]), 12);
    let fault = try_run("alloca.u64 %rd5, 100000000;", [0; 3]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::StackOverflow);
    let fault = try_run("mov.u64 %rd4, -8; alloca.u64 %rd5, %rd4;", [0; 3]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::StackOverflow);
}

#[test]
fn memory_from_the_stack_in_a_function_is_given_back_and_its_callees_are_behind_it() {
    let ptx = ".version 8.3 .target sm_75 .address_size 64
.func (.param .b32 r) leaf (.param .b32 n) {
 .reg .b32 %r<4>; .reg .b64 %rd<4>;
 ld.param.u32 %r1, [n]; alloca.u64 %rd1, 64; st.local.u32 [%rd1], %r1; ld.local.u32 %r2, [%rd1]; st.param.b32 [r], %r2; ret;
}
.func (.param .b32 r) sum (.param .b32 n) {
 .reg .b32 %r<9>; .reg .b64 %rd<4>; .reg .pred %p;
 ld.param.u32 %r1, [n]; alloca.u64 %rd1, 128; mov.u32 %r3, 0; st.local.u32 [%rd1+124], 100;
L: { .param .b32 a; .param .b32 b; st.param.b32 [a], %r3; call (b), leaf, (a); ld.param.b32 %r2, [b]; }
 ld.local.u32 %r4, [%rd1+124]; add.u32 %r4, %r4, %r2; st.local.u32 [%rd1+124], %r4;
 add.u32 %r3, %r3, 1; setp.lt.u32 %p, %r3, %r1; @%p bra L;
 st.param.b32 [r], %r4; ret;
}
.visible .entry k(.param .u64 out, .param .u32 n) {
 .reg .b32 %r<9>; .reg .b64 %rd<4>; .reg .pred %p;
 ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [n]; mov.u32 %r5, 0;
L: { .param .b32 a; .param .b32 b; st.param.b32 [a], %r1; call (b), sum, (a); ld.param.b32 %r2, [b]; }
 add.u32 %r5, %r5, 1; setp.lt.u32 %p, %r5, 200; @%p bra L;
 st.global.u32 [%rd1], %r2; ret;
}";
    let host = Host::new();
    let module = host.load(ptx);
    let out = host.upload(&[0u32]);
    host.launch(&module, "k", [1; 3], [1; 3], &[Arg::U64(out), Arg::U32(9)]).unwrap();
    assert_eq!(host.download::<u32>(out, 1), [100 + 36]);
}

#[test]
fn video_instructions_pick_bytes_and_halves() {
    assert_eq!(op32("vadd.s32.u32.s32.sat %r0, %r1, %r2;", 0xffff_ffff, 5, 0), 0x7fff_ffff);
    assert_eq!(op32("vsub.u32.u32.u32 %r0.b1, %r1.b3, %r2.h0, %r3;", 0x1200_0000, 0x0010, 0xaabb_ccdd), 0xaabb_02dd);
    assert_eq!(op32("vset.s32.s32.lt.add %r0, %r1, %r2, %r3;", -5i32 as u32, 3, 40), 41);
    assert_eq!(op32("vshl.u32.u32.u32.clamp %r0, %r1, %r2;", 1, 40, 0), 0);
    assert_eq!(op32("vmad.s32.s32.s32.po %r0, %r1.h0, %r2.b0, %r3;", 0xfff0, 0x80, 2), 2048 + 3);
    assert_eq!(op32("vabsdiff4.u32.u32.u32.add %r0, %r1, %r2, %r3;", 0x01ff_7f10, 0x0200_8010, 5), 5 + 1 + 255 + 1);
    assert_eq!(op32("vavrg4.s32.s32.s32 %r0, %r1, %r2, %r3;", 0x01ff_7ffe, 0x02fe_7fff, 0), 0x02fe_7ffe);
    assert_eq!(op32("vmax2.s32.s32.s32 %r0.h1, %r1, %r2, %r3;", 0x8000_7fff, 0x0001_0000, 0x1111_2222), 0x0001_2222);
}
