//! Floating-point arithmetic by integers, for what the host's instructions do not do: directed rounding, and the
//! small formats.
//!
//! Values are taken apart into sign, integer mantissa and exponent, the exact (or sticky) result is made in 128 bits,
//! and one function rounds it into a format.

use crate::ptx::types::Rounding;

/// A binary interchange format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    mantissa: u32,
    exponent: u32,
}

/// `.f16`
pub const F16: Format = Format { mantissa: 10, exponent: 5 };
/// `.bf16`
pub const BF16: Format = Format { mantissa: 7, exponent: 8 };
/// `.tf32`, in the upper bits of 19.
pub const TF32: Format = Format { mantissa: 10, exponent: 8 };
/// `.f32`
pub const F32: Format = Format { mantissa: 23, exponent: 8 };
/// `.f64`
pub const F64: Format = Format { mantissa: 52, exponent: 11 };

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }
    fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.mantissa
    }
    fn sign_bit(self) -> u64 {
        1 << (self.mantissa + self.exponent)
    }
    /// Neither infinite nor NaN.
    fn is_finite(self, bits: u64) -> bool {
        bits & self.infinity() != self.infinity()
    }
    fn is_nan(self, bits: u64) -> bool {
        bits & (self.sign_bit() - 1) > self.infinity()
    }
    fn nan(self) -> u64 {
        self.sign_bit() - 1
    }
}

/// (-1)^negative * mantissa * 2^exponent, a little more in magnitude if `sticky`.
#[derive(Clone, Copy)]
struct Exact {
    negative: bool,
    mantissa: u128,
    exponent: i32,
    sticky: bool,
}

fn open(format: Format, bits: u64) -> Exact {
    let biased = ((bits & format.infinity()) >> format.mantissa) as i32;
    let fraction = u128::from(bits & ((1 << format.mantissa) - 1));
    let (mantissa, at) = if biased == 0 { (fraction, 1) } else { (fraction | 1 << format.mantissa, biased) };
    Exact {
        negative: bits & format.sign_bit() != 0,
        mantissa,
        exponent: at - format.bias() - format.mantissa as i32,
        sticky: false,
    }
}

/// Whether the magnitude is rounded away from zero, given what is cut off.
fn goes_up(mode: Rounding, negative: bool, odd: bool, half: bool, rest: bool) -> bool {
    match mode {
        Rounding::Nearest => half && (rest || odd),
        Rounding::Away => half,
        Rounding::Zero => false,
        Rounding::Down => negative && (half || rest),
        Rounding::Up => !negative && (half || rest),
    }
}

/// Divides by 2^shift, rounding.
fn cut(value: Exact, shift: i32, mode: Rounding) -> u128 {
    if shift <= 0 {
        return value.mantissa.checked_shl(shift.unsigned_abs()).unwrap_or(0);
    }
    let shift = shift as u32;
    let kept = value.mantissa.checked_shr(shift).unwrap_or(0);
    let half = shift <= 128 && value.mantissa >> (shift - 1) & 1 == 1;
    let below = if shift > 128 { value.mantissa } else { value.mantissa & ((1u128 << (shift - 1)) - 1) };
    let rest = value.sticky || below != 0;
    kept + u128::from(goes_up(mode, value.negative, kept & 1 == 1, half, rest))
}

fn close(format: Format, value: Exact, mode: Rounding) -> u64 {
    let sign = if value.negative { format.sign_bit() } else { 0 };
    if value.mantissa == 0 {
        return sign;
    }
    let top = 127 - value.mantissa.leading_zeros() as i32;
    let lowest = 1 - format.bias();
    let unit = (value.exponent + top).max(lowest) - format.mantissa as i32;
    let kept = cut(value, unit - value.exponent, mode) as u64;
    let biased = i64::from(unit + format.mantissa as i32 + format.bias() - 1);
    let limit = i64::from((1u32 << format.exponent) - 1);
    let bits = if biased >= limit { format.infinity() } else { ((biased as u64) << format.mantissa) + kept };
    if bits >= format.infinity() {
        let stays_finite = match mode {
            Rounding::Zero => true,
            Rounding::Down => !value.negative,
            Rounding::Up => value.negative,
            _ => false,
        };
        return sign | if stays_finite { format.infinity() - 1 } else { format.infinity() };
    }
    sign | bits
}

fn normal(mut value: Exact) -> Exact {
    if value.mantissa != 0 {
        let shift = value.mantissa.leading_zeros() as i32 - 2;
        value.mantissa <<= shift;
        value.exponent -= shift;
    }
    value
}

fn sum(a: Exact, b: Exact, mode: Rounding) -> Exact {
    if a.mantissa == 0 && b.mantissa == 0 {
        let negative = if a.negative == b.negative { a.negative } else { mode == Rounding::Down };
        return Exact { negative, ..a };
    }
    if a.mantissa == 0 {
        return b;
    }
    if b.mantissa == 0 {
        return a;
    }
    let (a, b) = (normal(a), normal(b));
    let (big, small) = if (a.exponent, a.mantissa) >= (b.exponent, b.mantissa) { (a, b) } else { (b, a) };
    let shift = (big.exponent - small.exponent) as u32;
    let moved = small.mantissa.checked_shr(shift).unwrap_or(0);
    let lost = shift > 0 && (shift >= 128 || small.mantissa & ((1u128 << shift) - 1) != 0);
    if big.negative == small.negative {
        return Exact { mantissa: big.mantissa + moved, sticky: lost, ..big };
    }
    let mantissa = big.mantissa - moved - u128::from(lost);
    if mantissa == 0 && !lost {
        return Exact { negative: mode == Rounding::Down, mantissa: 0, exponent: 0, sticky: false };
    }
    Exact { mantissa, sticky: lost, ..big }
}

fn product(a: Exact, b: Exact) -> Exact {
    Exact {
        negative: a.negative != b.negative,
        mantissa: a.mantissa * b.mantissa,
        exponent: a.exponent + b.exponent,
        sticky: false,
    }
}

/// Rounded arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Fma,
    Sqrt,
}

/// `a op b` (`a * b + c` for `Fma`), rounded once.
pub fn arithmetic(format: Format, op: Operation, mode: Rounding, a: u64, b: u64, c: u64) -> u64 {
    let used: &[u64] = match op {
        Operation::Sqrt => &[a],
        Operation::Fma => &[a, b, c],
        _ => &[a, b],
    };
    let x = open(format, a);
    let divides_by_zero = op == Operation::Div && open(format, b).mantissa == 0;
    let root_of_negative = op == Operation::Sqrt && x.negative && x.mantissa != 0;
    if divides_by_zero || root_of_negative || used.iter().any(|&v| !format.is_finite(v)) {
        return exceptional(format, op, a, b, c);
    }
    let y = open(format, b);
    let exact = match op {
        Operation::Add => sum(x, y, mode),
        Operation::Sub => sum(x, Exact { negative: !y.negative, ..y }, mode),
        Operation::Mul => product(x, y),
        Operation::Fma => sum(product(x, y), open(format, c), mode),
        Operation::Div => {
            let x = normal(x);
            Exact {
                negative: x.negative != y.negative,
                mantissa: x.mantissa / y.mantissa,
                exponent: x.exponent - y.exponent,
                sticky: !x.mantissa.is_multiple_of(y.mantissa),
            }
        }
        Operation::Sqrt => {
            let x = normal(x);
            // An even exponent, so that its root is whole.
            let odd = x.exponent.rem_euclid(2);
            let mantissa = x.mantissa >> odd;
            let lost = x.mantissa & u128::from(odd as u32) != 0;
            let root = mantissa.isqrt();
            Exact {
                negative: x.negative,
                mantissa: root,
                exponent: (x.exponent + odd) / 2,
                sticky: lost || root * root != mantissa,
            }
        }
    };
    // A quotient of a small by a large mantissa has few bits only if it is exact.
    close(format, exact, mode)
}

/// Results that involve infinities, NaN and division by zero do not depend on rounding.
fn exceptional(format: Format, op: Operation, a: u64, b: u64, c: u64) -> u64 {
    let [x, y, z] = [a, b, c].map(|v| to_f64(format, v));
    let value = match op {
        Operation::Add => x + y,
        Operation::Sub => x - y,
        Operation::Mul => x * y,
        Operation::Div => x / y,
        Operation::Fma => x.mul_add(y, z),
        Operation::Sqrt => x.sqrt(),
    };
    if value.is_nan() {
        return format.nan();
    }
    convert(F64, format, value.to_bits(), Rounding::Nearest)
}

/// The value as a double; exact for every format.
pub fn to_f64(format: Format, bits: u64) -> f64 {
    f64::from_bits(convert(format, F64, bits, Rounding::Nearest))
}

/// From one format to another.
pub fn convert(from: Format, to: Format, bits: u64, mode: Rounding) -> u64 {
    if from.is_nan(bits) {
        return to.nan();
    }
    let sign = if bits & from.sign_bit() != 0 { to.sign_bit() } else { 0 };
    if !from.is_finite(bits) {
        return sign | to.infinity();
    }
    close(to, open(from, bits), mode)
}

/// From an integer.
pub fn from_integer(to: Format, value: i128, mode: Rounding) -> u64 {
    let exact = Exact { negative: value < 0, mantissa: value.unsigned_abs(), exponent: 0, sticky: false };
    close(to, exact, mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut list: Vec<u64> = [0.0f64, -0.0, 1.0, -1.5, f64::MIN_POSITIVE, 5e-324, f64::MAX, 1e308, 3.0, 1.0 / 3.0]
            .map(f64::to_bits)
            .to_vec();
        for _ in 0..400 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            list.push(state);
        }
        list
    }

    fn same(soft: u64, hard: f64) -> bool {
        soft == hard.to_bits() || (hard.is_nan() && F64.is_nan(soft))
    }

    #[test]
    fn nearest_agrees_with_the_processor() {
        let list = samples();
        for (n, &a) in list.iter().enumerate() {
            let b = list[(n * 7 + 3) % list.len()];
            // An exponent near a's, so that cancellation and alignment happen.
            let c = (a & F64.infinity()) | (b & 0x800f_ffff_ffff_ffff);
            for b in [b, c] {
                let (x, y, z) = (f64::from_bits(a), f64::from_bits(b), f64::from_bits(c));
                let op = |op| arithmetic(F64, op, Rounding::Nearest, a, b, c);
                assert!(same(op(Operation::Add), x + y), "{x:e} + {y:e}");
                assert!(same(op(Operation::Sub), x - y), "{x:e} - {y:e}");
                assert!(same(op(Operation::Mul), x * y), "{x:e} * {y:e}");
                assert!(same(op(Operation::Div), x / y), "{x:e} / {y:e}");
                assert!(same(op(Operation::Fma), x.mul_add(y, z)), "{x:e} * {y:e} + {z:e}");
                assert!(same(op(Operation::Sqrt), x.sqrt()), "sqrt {x:e}");
            }
        }
    }

    #[test]
    fn directed_modes_enclose_the_nearest() {
        let list = samples();
        for (n, &a) in list.iter().enumerate() {
            let b = list[(n * 5 + 1) % list.len()];
            for op in [Operation::Add, Operation::Mul, Operation::Div] {
                let value = |mode| f64::from_bits(arithmetic(F64, op, mode, a, b, 0));
                let (down, near, up) = (value(Rounding::Down), value(Rounding::Nearest), value(Rounding::Up));
                if near.is_nan() {
                    continue;
                }
                assert!(down <= near && near <= up, "{op:?} {a:x} {b:x}");
                let zero = value(Rounding::Zero);
                assert!(zero == if near < 0.0 { up } else { down } || near == 0.0);
            }
        }
    }

    #[test]
    fn conversions_agree_with_the_processor() {
        for a in samples() {
            let x = f64::from_bits(a);
            let soft = convert(F64, F32, a, Rounding::Nearest) as u32;
            assert!(soft == (x as f32).to_bits() || x.is_nan());
            assert_eq!(from_integer(F32, i128::from(a as i64), Rounding::Nearest) as u32, (a as i64 as f32).to_bits());
        }
    }

    #[test]
    fn halves_go_there_and_back() {
        for bits in 0..=0xffffu64 {
            if F16.is_nan(bits) {
                continue;
            }
            let wide = convert(F16, F32, bits, Rounding::Nearest);
            assert_eq!(convert(F32, F16, wide, Rounding::Nearest), bits);
        }
        assert_eq!(convert(F32, F16, u64::from(65520f32.to_bits()), Rounding::Nearest), 0x7c00);
        assert_eq!(convert(F32, F16, u64::from(65519f32.to_bits()), Rounding::Nearest), 0x7bff);
    }
}
