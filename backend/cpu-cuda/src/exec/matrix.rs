//! Matrices of a warp: which lane holds which element, and the arithmetic.
//!
//! A lane's operands are words of 64 bits: A's registers in pairs, then B's, then C's, each from a new word.
//!
//! Elements lie as in the PTX ISA, "Matrix Fragments for mma": with E elements in a register, g = lane / 4 and
//! t = lane % 4, register r of A holds row g + 8 (r mod 2) (just g in m8), columns E t + 4 E (r / 2) onwards; register r
//! of B rows E t + 4 E r onwards of column g; C and D rows g and g + 8, columns 2 t and 2 t + 1.
//!
//! Floating-point results are c + a0 b0 + a1 b1 + ... in order of k, every product exact and every sum in `.f64`,
//! rounded to nearest even into D's type at the end. Tensor cores sum in groups and cut off low bits, so their
//! results may differ in the last places. Of `.f64`, product and sum are rounded once. Integer sums are exact, then
//! wrapped, or clamped under `.satfinite`.

use crate::jit::{runtime_float8, soft};
use crate::ptx::ir::{Element, Fragments, Mma, Side};
use crate::ptx::types::Rounding;

/// Words of a lane for A, B and C.
pub const WORDS: usize = 16;
/// Words of a lane for the result.
pub const RESULT_WORDS: usize = 4;
/// Most elements of A, B, C or D, all products of an instruction together.
const MOST: usize = 1024;

/// Element `n` of those in `words`.
fn number(ty: Element, words: &[u64], n: usize) -> f64 {
    let at = n * ty.bits();
    let bits = words[at / 64] >> (at % 64);
    let low = bits as u32;
    match ty {
        Element::S4 => f64::from((low << 28) as i32 >> 28),
        Element::U4 => f64::from(low & 15),
        Element::S8 => f64::from(low as i8),
        Element::U8 => f64::from(low as u8),
        Element::S32 => f64::from(low as i32),
        Element::E4m3 => runtime_float8::decode(false, low & 0xff),
        Element::E5m2 => runtime_float8::decode(true, low & 0xff),
        Element::Bf16 => f64::from(f32::from_bits(low << 16)),
        Element::F16 => half_number(low & 0xffff),
        // The low 13 bits are not looked at.
        Element::Tf32 => f64::from(f32::from_bits(low & !0x1fff)),
        Element::F32 => f64::from(f32::from_bits(low)),
        Element::F64 => f64::from_bits(bits),
    }
}

/// `.f16` as a number: its bits are those of a small `.f32`, scaled.
fn half_number(bits: u32) -> f64 {
    if bits & 0x7c00 == 0x7c00 {
        return soft::to_f64(soft::F16, u64::from(bits));
    }
    let size = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    f64::from(if bits & 0x8000 == 0 { size } else { -size })
}

/// The bits of a sum, in D's type.
fn bits_of(ty: Element, clamp: bool, sum: f64) -> u64 {
    match ty {
        // Far below 2^53, so exact.
        Element::S32 => {
            let sum = sum as i64;
            let clamped = sum.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            u64::from(if clamp { clamped as u32 } else { sum as u32 })
        }
        Element::F16 => soft::convert(soft::F64, soft::F16, sum.to_bits(), Rounding::Nearest),
        Element::F64 => sum.to_bits(),
        _ if sum.is_nan() => 0x7fff_ffff,
        _ => u64::from((sum as f32).to_bits()),
    }
}

/// Row and column of element `n` that a lane holds, and of which product.
fn position(mma: &Mma, side: Side, lane: usize, n: usize) -> [usize; 3] {
    let (g, t) = (lane / 4, lane % 4);
    match mma.fragments {
        Fragments::Mma => {
            let per = (32 / mma.element(side).bits()).max(1);
            let (register, element) = (n / per, n % per);
            match side {
                Side::A if mma.m == 8 => [g, per * (t + 4 * register) + element, 0],
                Side::A => [g + 8 * (register % 2), per * (t + 4 * (register / 2)) + element, 0],
                Side::B => [per * (t + 4 * register) + element, g, 0],
                Side::C | Side::D => [g + 8 * (n / 2), 2 * t + n % 2, 0],
            }
        }
        Fragments::Wmma => {
            let columns = if side == Side::A { mma.k } else { mma.n };
            let at = lane * mma.held(side) + n;
            [at / columns, at % columns, 0]
        }
        Fragments::Quads { a_columns, b_rows } => {
            let (product, high) = (lane % 16 / 4, 4 * (lane / 16));
            match side {
                Side::A if a_columns => [n + high, t, product],
                Side::A => [t + high, n, product],
                Side::B if b_rows => [t, n + high, product],
                Side::B => [n, t + high, product],
                Side::C | Side::D => [(lane & 1) + (n & 2) + high, (n & 4) + (lane & 2) + (n & 1), product],
            }
        }
    }
}

/// D = A B + C. Operands of the 32 lanes to results.
pub fn multiply(mma: Mma, lanes: &[[u64; WORDS]; 32]) -> [[u64; RESULT_WORDS]; 32] {
    let mut a = [0f64; MOST];
    // Column by column, so that what is multiplied lies in order of k.
    let mut b = [0f64; MOST];
    let (b_at, c_at) = (mma.words(Side::A), mma.words(Side::A) + mma.words(Side::B));
    for (lane, held) in lanes.iter().enumerate() {
        for n in 0..mma.held(Side::A) {
            let [row, column, product] = position(&mma, Side::A, lane, n);
            a[(product * mma.m + row) * mma.k + column] = number(mma.a, held, n);
        }
        for n in 0..mma.held(Side::B) {
            let [row, column, product] = position(&mma, Side::B, lane, n);
            b[(product * mma.n + column) * mma.k + row] = number(mma.b, &held[b_at..], n);
        }
    }
    let mut results = [[0u64; RESULT_WORDS]; 32];
    for (lane, result) in results.iter_mut().enumerate() {
        for n in 0..mma.held(Side::D) {
            let [row, column, product] = position(&mma, Side::D, lane, n);
            let row = &a[(product * mma.m + row) * mma.k..][..mma.k];
            let column = &b[(product * mma.n + column) * mma.k..][..mma.k];
            let start = number(mma.c, &lanes[lane][c_at..], n);
            let pairs = row.iter().zip(column);
            let sum = match mma.d {
                Element::F64 => pairs.fold(start, |sum, (x, y)| x.mul_add(*y, sum)),
                _ => pairs.fold(start, |sum, (x, y)| sum + x * y),
            };
            let at = n * mma.d.bits();
            result[at / 64] |= bits_of(mma.d, mma.clamp, sum) << (at % 64);
        }
    }
    results
}

/// Half `n` of what words hold.
fn half(words: &[u64], n: usize) -> u64 {
    words[n / 4] >> (16 * (n % 4)) & 0xffff
}

/// Where in a matrix of 8 x 8 halves the two of a lane's register are: row and column of the first and the second.
fn pair(lane: usize, transposed: bool) -> [[usize; 2]; 2] {
    let (g, t) = (lane / 4, lane % 4);
    [0, 1].map(|e| if transposed { [2 * t + e, g] } else { [g, 2 * t + e] })
}

/// Rows of 8 halves, one from each lane, to fragments: register i is of the matrix whose rows lanes 8 i to 8 i + 7 have.
pub fn distribute(count: u8, transposed: bool, rows: &[[u64; WORDS]; 32]) -> [[u64; RESULT_WORDS]; 32] {
    let mut results = [[0u64; RESULT_WORDS]; 32];
    for (lane, result) in results.iter_mut().enumerate() {
        for n in 0..usize::from(count) {
            for (e, [row, column]) in pair(lane, transposed).into_iter().enumerate() {
                result[n / 2] |= half(&rows[8 * n + row], column) << (32 * (n % 2) + 16 * e);
            }
        }
    }
    results
}

/// The way back: fragments to the rows that lanes store.
pub fn collect(count: u8, transposed: bool, held: &[[u64; WORDS]; 32]) -> [[u64; RESULT_WORDS]; 32] {
    let mut results = [[0u64; RESULT_WORDS]; 32];
    for (lane, words) in held.iter().enumerate() {
        for n in 0..usize::from(count) {
            for (e, [row, column]) in pair(lane, transposed).into_iter().enumerate() {
                results[8 * n + row][column / 4] |= half(words, 2 * n + e) << (16 * (column % 4));
            }
        }
    }
    results
}

/// The fragment of a matrix of halves to that of the transposed one.
pub fn transpose(held: &[[u64; WORDS]; 32]) -> [[u64; RESULT_WORDS]; 32] {
    let mut rows = [[0; WORDS]; 32];
    for (row, collected) in rows.iter_mut().zip(collect(1, true, held)) {
        row[..RESULT_WORDS].copy_from_slice(&collected);
    }
    distribute(1, false, &rows)
}
