//! `cvt`.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32, F64, I16, I32, I64};
use cranelift_codegen::ir::{self, InstBuilder};

use crate::jit::emit::Emit;
use crate::jit::kinds::{int_kind, kind};
use crate::jit::{runtime, runtime_float8};
use crate::ptx::ir::{Cvt, Float, Float8, Value};
use crate::ptx::types::{Rounding, Type};

type V = ir::Value;

impl Emit<'_, '_, '_> {
    /// A conversion.
    pub fn convert(&mut self, cvt: Cvt, dst: Option<u32>, src: Value) {
        let value = match (cvt.from.is_float(), cvt.to.is_float()) {
            (false, false) => Some(self.integer_to_integer(cvt, src)),
            (false, true) => self.integer_to_float(cvt, src),
            (true, false) => self.float_to_integer(cvt, src),
            (true, true) => {
                let value = self.wide_source(cvt, src);
                self.float_to_float(cvt, value)
            }
        };
        match value {
            Some(value) => self.write_extended(dst, value, cvt.to.is_signed()),
            None => self.illegal(),
        }
    }

    /// Two `.f32` into a pair of halves, the first source on top.
    pub fn convert_pair(&mut self, cvt: Cvt, dst: Option<u32>, src: &[Value]) {
        let to = if cvt.to == Type::F16x2 { Type::F16 } else { Type::Bf16 };
        let cvt = Cvt { to, ..cvt };
        let high = self.wide_source(cvt, src[0]);
        let high = self.float_to_float(cvt, high);
        let low = self.wide_source(cvt, src[1]);
        let low = self.float_to_float(cvt, low);
        let (Some(high), Some(low)) = (high, low) else { return self.illegal() };
        let value = self.join(low, high);
        self.write(dst, value);
    }

    /// A pair of 8-bit floats, of two `.f32` or a pair of `.f16`.
    pub fn pack_float8(&mut self, format: Float8, relu: bool, dst: Option<u32>, src: &[Value]) {
        let [high, low] = match *src {
            [high, low] => [high, low].map(|v| self.float(v, F32)),
            _ => {
                let pair = self.int(src[0], 32);
                let high = self.b.ins().ushr_imm_u(pair, 16);
                [high, pair].map(|v| {
                    let half = self.b.ins().ireduce(I16, v);
                    self.widen(half, Type::F16)
                })
            }
        };
        let what = self.iconst(32, u64::from(float8_number(format, relu)));
        let bits = self.helper(runtime_float8::pack as *const (), &[what, high, low], Some(I32));
        match bits {
            Some(bits) => {
                let value = self.b.ins().ireduce(I16, bits);
                self.write(dst, value);
            }
            None => self.illegal(),
        }
    }

    /// A pair of `.f16` of a pair of 8-bit floats.
    pub fn unpack_float8(&mut self, format: Float8, relu: bool, dst: Option<u32>, src: Value) {
        let pair = self.int(src, 16);
        let pair = self.b.ins().uextend(I32, pair);
        let what = self.iconst(32, u64::from(float8_number(format, relu)));
        match self.helper(runtime_float8::unpack as *const (), &[what, pair], Some(I32)) {
            Some(value) => self.write(dst, value),
            None => self.illegal(),
        }
    }

    fn integer_to_integer(&mut self, cvt: Cvt, src: Value) -> V {
        let (from, to) = (cvt.from, cvt.to);
        let value = self.int(src, from.bits());
        if !cvt.sat {
            return self.coerce(value, int_kind(to.bits()), from.is_signed());
        }
        // Clamp in 128 bits only if the source does not fit 64 bits with its sign.
        let wide = if from == Type::U64 { value } else { self.coerce(value, I64, from.is_signed()) };
        let (low, high) = range(to);
        let clamped = if from == Type::U64 {
            let high = self.iconst(64, high as u64);
            self.b.ins().umin(wide, high)
        } else {
            let low = self.iconst(64, low.max(i128::from(i64::MIN)) as u64);
            let high = self.iconst(64, high.min(i128::from(i64::MAX)) as u64);
            let above = self.b.ins().smax(wide, low);
            self.b.ins().smin(above, high)
        };
        self.coerce(clamped, int_kind(to.bits()), false)
    }

    fn integer_to_float(&mut self, cvt: Cvt, src: Value) -> Option<V> {
        let from = cvt.from;
        let value = self.int(src, from.bits());
        let wide = if from.bits() < 32 { self.coerce(value, I32, from.is_signed()) } else { value };
        let signed = from.is_signed() || from.bits() < 32;
        let exact = from.bits() <= 32 && cvt.to == Type::F64;
        if matches!(cvt.to, Type::F32 | Type::F64) && (cvt.round == Rounding::Nearest || exact) {
            let k = kind(cvt.to);
            let converted =
                if signed { self.b.ins().fcvt_from_sint(k, wide) } else { self.b.ins().fcvt_from_uint(k, wide) };
            return Some(self.saturate(converted, cvt));
        }
        let all = self.coerce(wide, I64, signed);
        let what = self.iconst(32, u64::from(runtime::conversion_number(cvt)));
        let bits = self.helper(runtime::from_integer as *const (), &[what, all], Some(I64))?;
        Some(self.coerce(bits, int_kind(cvt.to.bits()), false))
    }

    fn float_to_integer(&mut self, cvt: Cvt, src: Value) -> Option<V> {
        let value = self.wide_source(cvt, src);
        let bits = cvt.to.bits();
        let whole = match cvt.round {
            Rounding::Zero => value,
            Rounding::Nearest => self.b.ins().nearest(value),
            Rounding::Down => self.b.ins().floor(value),
            Rounding::Up => self.b.ins().ceil(value),
            Rounding::Away => return None,
        };
        let k = int_kind(bits.max(32));
        let signed = cvt.to.is_signed();
        if bits >= 32 {
            return Some(if signed {
                self.b.ins().fcvt_to_sint_sat(k, whole)
            } else {
                self.b.ins().fcvt_to_uint_sat(k, whole)
            });
        }
        let (low, high) = range(cvt.to);
        let wide = self.b.ins().fcvt_to_sint_sat(I32, whole);
        let low = self.iconst(32, low as u64);
        let high = self.iconst(32, high as u64);
        let above = self.b.ins().smax(wide, low);
        let clamped = self.b.ins().smin(above, high);
        Some(self.coerce(clamped, int_kind(bits), false))
    }

    /// The source in `.f32` or `.f64`, flushed if asked.
    fn wide_source(&mut self, cvt: Cvt, src: Value) -> V {
        let value = match cvt.from {
            Type::F32 | Type::F64 => {
                let k = kind(cvt.from);
                // A wider register holds the value in its low bits.
                self.float(src, k)
            }
            half => {
                let value = self.int(src, 16);
                self.widen(value, half)
            }
        };
        if cvt.ftz { self.flush(value) } else { value }
    }

    fn float_to_float(&mut self, cvt: Cvt, value: V) -> Option<V> {
        let mut value = value;
        let k = self.b.func.dfg.value_type(value);
        if cvt.integral {
            value = match cvt.round {
                Rounding::Zero => self.b.ins().trunc(value),
                Rounding::Down => self.b.ins().floor(value),
                Rounding::Up => self.b.ins().ceil(value),
                _ => self.b.ins().nearest(value),
            };
        }
        let nearest = cvt.integral || cvt.round == Rounding::Nearest;
        match (k, cvt.to) {
            (F32, Type::F32) | (F64, Type::F64) => Some(self.saturate(value, cvt)),
            (F32, Type::F64) => {
                let wide = self.b.ins().fpromote(F64, value);
                Some(self.saturate(wide, cvt))
            }
            (F64, Type::F32) if nearest => {
                let mut narrow = self.b.ins().fdemote(F32, value);
                if cvt.ftz {
                    narrow = self.flush(narrow);
                }
                Some(self.saturate(narrow, cvt))
            }
            (F32, Type::F16 | Type::Bf16) if nearest => {
                let value = self.saturate(value, cvt);
                self.narrow(value, cvt.to)
            }
            _ => {
                let value = self.saturate(value, cvt);
                let cvt = Cvt { from: if k == F32 { Type::F32 } else { Type::F64 }, ..cvt };
                let bits = self.bits_of(value);
                let bits = self.coerce(bits, I64, false);
                let what = self.iconst(32, u64::from(runtime::conversion_number(cvt)));
                let result = self.helper(runtime::convert as *const (), &[what, bits], Some(I64))?;
                Some(self.coerce(result, int_kind(cvt.to.bits()), false))
            }
        }
    }

    /// `.sat` to 0..1 and `.relu`; NaN becomes 0.
    fn saturate(&mut self, value: V, cvt: Cvt) -> V {
        if !cvt.sat && !cvt.relu {
            return value;
        }
        let k = self.b.func.dfg.value_type(value);
        let mods = Float { sat: cvt.sat, relu: cvt.relu, ..Float::default() };
        let zero = self.fconst(k, 0.0);
        let above = self.b.ins().fcmp(FloatCC::GreaterThan, value, zero);
        let value = self.b.ins().select(above, value, zero);
        if !mods.sat {
            return value;
        }
        let one = self.fconst(k, 1.0);
        let below = self.b.ins().fcmp(FloatCC::LessThan, value, one);
        self.b.ins().select(below, value, one)
    }
}

/// What the helpers for 8-bit floats are told.
fn float8_number(format: Float8, relu: bool) -> u32 {
    u32::from(format == Float8::E5m2) | u32::from(relu) << 1
}

/// Least and greatest value of an integer type.
pub fn range(ty: Type) -> (i128, i128) {
    let bits = ty.bits();
    if ty.is_signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}
