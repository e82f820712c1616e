//! `mma.sync` and `ldmatrix`: which lane holds which element, and the arithmetic.
//!
//! Element (row g, column c) and its kin lie as in the PTX ISA, "Matrix Fragments for mma": with E elements in a
//! register, g = lane / 4 and t = lane % 4, register r of A holds row g + 8 (r mod 2) (just g in m8), columns
//! E t + 4 E (r / 2) onwards; register r of B rows E t + 4 E r onwards of column g; C and D rows g and g + 8, columns
//! 2 t and 2 t + 1.
//!
//! Floating-point results are c + a0 b0 + a1 b1 + ... in order of k, every product exact and every sum in `.f64`,
//! rounded to nearest even into D's type at the end. Tensor cores sum in groups and cut off low bits, so their
//! results may differ in the last places. Integer sums are exact, then wrapped, or clamped under `.satfinite`.

use crate::jit::soft;
use crate::ptx::ir::Mma;
use crate::ptx::types::{Rounding, Type};

/// Registers of a lane for A, B and C, in that order, and where each begins.
pub const OPERANDS: usize = 10;
/// First register of B.
pub const B_AT: usize = 4;
/// First register of C.
pub const C_AT: usize = 6;
/// Registers of a lane for the result.
pub const RESULTS: usize = 4;

/// Elements in a register.
fn elements(ty: Type) -> usize {
    match ty {
        Type::S8 | Type::U8 => 4,
        Type::F16 | Type::Bf16 => 2,
        _ => 1,
    }
}

fn number(ty: Type, register: u32, element: usize) -> f64 {
    let half = register >> (16 * (element & 1)) & 0xffff;
    let byte = (register >> (8 * (element & 3))) as u8;
    match ty {
        Type::S8 => f64::from(byte as i8),
        Type::U8 => f64::from(byte),
        Type::Bf16 => f64::from(f32::from_bits(half << 16)),
        Type::F16 => half_number(half),
        // The low 13 bits are not looked at.
        Type::Tf32 => f64::from(f32::from_bits(register & !0x1fff)),
        _ => f64::from(f32::from_bits(register)),
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

fn half_bits(value: f64) -> u32 {
    soft::convert(soft::F64, soft::F16, value.to_bits(), Rounding::Nearest) as u32
}

/// D = A B + C. Operands of the 32 lanes to results.
pub fn multiply(mma: Mma, lanes: &[[u32; OPERANDS]; 32]) -> [[u32; RESULTS]; 32] {
    let (m, k) = (usize::from(mma.m), usize::from(mma.k));
    let mut a = [[0f64; 32]; 16];
    let mut b = [[0f64; 32]; 8];
    for (lane, held) in lanes.iter().enumerate() {
        let (g, t) = (lane / 4, lane % 4);
        let per = elements(mma.a);
        for (register, &bits) in held[..B_AT].iter().enumerate().take(m * k / (32 * per)) {
            let (row, part) = if m == 8 { (g, register) } else { (g + 8 * (register % 2), register / 2) };
            for element in 0..per {
                a[row][per * (t + 4 * part) + element] = number(mma.a, bits, element);
            }
        }
        for (register, &bits) in held[B_AT..C_AT].iter().enumerate().take(8 * k / (32 * per)) {
            for element in 0..per {
                b[g][per * (t + 4 * register) + element] = number(mma.b, bits, element);
            }
        }
    }
    let mut results = [[0u32; RESULTS]; 32];
    for (lane, result) in results.iter_mut().enumerate() {
        let (g, t) = (lane / 4, lane % 4);
        let c = &lanes[lane][C_AT..];
        for n in 0..if m == 8 { 2 } else { 4 } {
            let (row, column) = (&a[g + 8 * (n / 2)][..k], &b[2 * t + n % 2][..k]);
            let add = |start: f64| row.iter().zip(column).fold(start, |sum, (x, y)| sum + x * y);
            match mma.c {
                // Far below 2^53, so exact.
                Type::S32 => {
                    let sum = add(f64::from(c[n] as i32)) as i64;
                    let clamped = sum.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
                    result[n] = if mma.clamp { clamped as u32 } else { sum as u32 };
                }
                Type::F16 => {
                    let shift = 16 * (n % 2);
                    result[n / 2] |= half_bits(add(half_number(c[n / 2] >> shift & 0xffff))) << shift;
                }
                _ => {
                    let sum = add(f64::from(f32::from_bits(c[n]))) as f32;
                    result[n] = if sum.is_nan() { 0x7fff_ffff } else { sum.to_bits() };
                }
            }
        }
    }
    results
}

/// Rows of 8 halves, one from each lane, to fragments: register i is of the matrix whose rows lanes 8 i to 8 i + 7 have.
pub fn distribute(count: u8, transposed: bool, rows: &[[u64; 2]; 32]) -> [[u32; RESULTS]; 32] {
    let half = |row: usize, column: usize| (rows[row][column / 4] >> (16 * (column % 4))) as u32 & 0xffff;
    let mut results = [[0u32; RESULTS]; 32];
    for (lane, result) in results.iter_mut().enumerate() {
        let (g, t) = (lane / 4, lane % 4);
        for (n, register) in result.iter_mut().enumerate().take(usize::from(count)) {
            let at = |e: usize| if transposed { half(8 * n + 2 * t + e, g) } else { half(8 * n + g, 2 * t + e) };
            *register = at(0) | at(1) << 16;
        }
    }
    results
}
