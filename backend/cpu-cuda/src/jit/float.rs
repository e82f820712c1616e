//! Floating-point arithmetic and comparisons.
//!
//! `.f32` and `.f64` to nearest are the host's instructions; other roundings go through `soft`. `.f16` and `.bf16` are
//! computed in `.f32` (in `.f64` for fused operations), which is wide enough that rounding twice does no harm.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F64, I16, I32, I64};
use cranelift_codegen::ir::{self, InstBuilder};

use crate::jit::emit::Emit;
use crate::jit::kinds::kind;
use crate::jit::runtime;
use crate::ptx::ir::{Alu, Float, Testp, Value};
use crate::ptx::types::{Compare, Rounding, Type};

type V = ir::Value;

impl Emit<'_, '_, '_> {
    /// A constant of a float kind.
    pub fn fconst(&mut self, k: ir::Type, value: f64) -> V {
        if k == F32 { self.b.ins().f32const(value as f32) } else { self.b.ins().f64const(value) }
    }

    /// Subnormals become zeros of the same sign.
    pub fn flush(&mut self, value: V) -> V {
        let k = self.b.func.dfg.value_type(value);
        if k != F32 {
            return value;
        }
        let size = self.b.ins().fabs(value);
        let least = self.b.ins().f32const(f32::MIN_POSITIVE);
        let tiny = self.b.ins().fcmp(FloatCC::LessThan, size, least);
        let zero = self.b.ins().f32const(0.0);
        let zero = self.b.ins().fcopysign(zero, value);
        self.b.ins().select(tiny, zero, value)
    }

    /// Arithmetic on any float type.
    pub fn float_alu(&mut self, alu: Alu, ty: Type, mods: Float, dst: Option<u32>, src: &[Value]) {
        match ty {
            Type::F32 | Type::F64 => {
                let k = kind(ty);
                if matches!(alu, Alu::Neg | Alu::Abs) && !mods.ftz {
                    let value = self.float(src[0], k);
                    let value = if alu == Alu::Neg { self.b.ins().fneg(value) } else { self.b.ins().fabs(value) };
                    return self.write(dst, value);
                }
                let mut args: Vec<V> = src.iter().map(|&v| self.float(v, k)).collect();
                if mods.ftz {
                    args = args.into_iter().map(|v| self.flush(v)).collect();
                }
                let Some(mut value) = self.float_value(alu, mods, &args) else { return self.illegal() };
                if mods.ftz {
                    value = self.flush(value);
                }
                let value = self.finish(value, mods);
                self.write(dst, value);
            }
            Type::F16 | Type::Bf16 => {
                let args: Vec<V> = src.iter().map(|&v| self.int(v, 16)).collect();
                match self.half_value(alu, ty, mods, &args) {
                    Some(value) => self.write(dst, value),
                    None => self.illegal(),
                }
            }
            _ => {
                let args: Vec<V> = src.iter().map(|&v| self.int(v, 32)).collect();
                match self.half_pair(alu, ty, mods, &args) {
                    Some(value) => self.write(dst, value),
                    None => self.illegal(),
                }
            }
        }
    }

    /// Arithmetic on halves, single or in pairs, as integers of their width.
    pub fn half_pair(&mut self, alu: Alu, ty: Type, mods: Float, args: &[V]) -> Option<V> {
        let half = match ty {
            Type::F16x2 => Type::F16,
            Type::Bf16x2 => Type::Bf16,
            _ => return self.half_value(alu, ty, mods, args),
        };
        let mut parts = [None; 2];
        for (n, part) in parts.iter_mut().enumerate() {
            let halves: Vec<V> = args
                .iter()
                .map(|&v| {
                    let moved = if n == 0 { v } else { self.b.ins().ushr_imm_u(v, 16) };
                    self.b.ins().ireduce(I16, moved)
                })
                .collect();
            *part = self.half_value(alu, half, mods, &halves);
        }
        let [Some(low), Some(high)] = parts else { return None };
        Some(self.join(low, high))
    }

    /// Two 16-bit values as one of 32 bits.
    pub fn join(&mut self, low: V, high: V) -> V {
        let low = self.b.ins().uextend(I32, low);
        let high = self.b.ins().uextend(I32, high);
        let high = self.b.ins().ishl_imm_u(high, 16);
        self.b.ins().bor(low, high)
    }

    /// `.sat` and `.relu`.
    fn finish(&mut self, value: V, mods: Float) -> V {
        let k = self.b.func.dfg.value_type(value);
        let mut value = value;
        if mods.sat || mods.relu {
            // NaN is not greater than zero, so it becomes zero.
            let zero = self.fconst(k, 0.0);
            let above = self.b.ins().fcmp(FloatCC::GreaterThan, value, zero);
            value = self.b.ins().select(above, value, zero);
        }
        if mods.sat {
            let one = self.fconst(k, 1.0);
            let below = self.b.ins().fcmp(FloatCC::LessThan, value, one);
            value = self.b.ins().select(below, value, one);
        }
        value
    }

    /// An operation on numbers of one kind, which may be vectors if it is to nearest and one that `lanes` asks for.
    pub(super) fn float_value(&mut self, alu: Alu, mods: Float, a: &[V]) -> Option<V> {
        let k = self.b.func.dfg.value_type(a[0]);
        if mods.round != Rounding::Nearest
            && let Some(op) = runtime::rounded_operation(alu)
        {
            return self.rounded(op, mods.round, a);
        }
        Some(match alu {
            Alu::Add => self.b.ins().fadd(a[0], a[1]),
            Alu::Sub => self.b.ins().fsub(a[0], a[1]),
            Alu::Mul => self.b.ins().fmul(a[0], a[1]),
            Alu::Div => self.b.ins().fdiv(a[0], a[1]),
            Alu::Fma => self.b.ins().fma(a[0], a[1], a[2]),
            Alu::Neg => self.b.ins().fneg(a[0]),
            Alu::Abs => self.b.ins().fabs(a[0]),
            Alu::Sqrt => self.b.ins().sqrt(a[0]),
            Alu::Min | Alu::Max if mods.xorsign => {
                let sizes = [a[0], a[1]].map(|v| self.b.ins().fabs(v));
                let size = self.float_extreme(alu == Alu::Min, mods.nan, sizes[0], sizes[1]);
                let (x, y) = (self.bits_of(a[0]), self.bits_of(a[1]));
                let signs = self.b.ins().bxor(x, y);
                let signs = self.float_of(signs);
                self.b.ins().fcopysign(size, signs)
            }
            Alu::Min | Alu::Max => self.float_extreme(alu == Alu::Min, mods.nan, a[0], a[1]),
            Alu::Min3 | Alu::Max3 => {
                let first = self.float_extreme(alu == Alu::Min3, mods.nan, a[0], a[1]);
                self.float_extreme(alu == Alu::Min3, mods.nan, first, a[2])
            }
            // The first operand's sign on the second's size.
            Alu::Copysign => self.b.ins().fcopysign(a[1], a[0]),
            Alu::Rcp => {
                let one = self.fconst(k, 1.0);
                self.b.ins().fdiv(one, a[0])
            }
            Alu::Rsqrt => {
                let root = self.b.ins().sqrt(a[0]);
                let one = self.fconst(k, 1.0);
                self.b.ins().fdiv(one, root)
            }
            Alu::Sin => self.helper(runtime::sin as *const (), a, Some(F32))?,
            Alu::Cos => self.helper(runtime::cos as *const (), a, Some(F32))?,
            Alu::Ex2 => self.helper(runtime::exp2 as *const (), a, Some(F32))?,
            Alu::Lg2 => self.helper(runtime::log2 as *const (), a, Some(F32))?,
            Alu::Tanh => self.helper(runtime::tanh as *const (), a, Some(F32))?,
            _ => return None,
        })
    }

    fn rounded(&mut self, op: u32, round: Rounding, a: &[V]) -> Option<V> {
        let k = self.b.func.dfg.value_type(a[0]);
        let what = self.iconst(32, u64::from(op | runtime::rounding_number(round) << 8));
        let mut args = vec![what];
        for n in 0..3 {
            let value = a.get(n).copied().unwrap_or(a[0]);
            args.push(self.bits_of(value));
        }
        // A reciprocal is a division of one.
        let function = if k == F32 { runtime::rounded32 as *const () } else { runtime::rounded64 as *const () };
        let bits = self.helper(function, &args, Some(if k == F32 { I32 } else { I64 }))?;
        Some(self.float_of(bits))
    }

    /// The number wins over NaN (unless `nan`), and -0 is less than +0.
    fn float_extreme(&mut self, min: bool, nan: bool, a: V, b: V) -> V {
        let cc = if min { FloatCC::LessThan } else { FloatCC::GreaterThan };
        let first = self.b.ins().fcmp(cc, a, b);
        let value = self.b.ins().select(first, a, b);
        // Equal numbers differ at most in the sign of zero.
        let (x, y) = (self.bits_of(a), self.bits_of(b));
        let merged = if min { self.b.ins().bor(x, y) } else { self.b.ins().band(x, y) };
        let merged = self.float_of(merged);
        let equal = self.b.ins().fcmp(FloatCC::Equal, a, b);
        let value = self.b.ins().select(equal, merged, value);
        // Here a NaN in `a` gave `b`; one in `b` must give `a`.
        let b_nan = self.b.ins().fcmp(FloatCC::Unordered, b, b);
        if !nan {
            return self.b.ins().select(b_nan, a, value);
        }
        let a_nan = self.b.ins().fcmp(FloatCC::Unordered, a, a);
        let value = self.b.ins().select(a_nan, a, value);
        self.b.ins().select(b_nan, b, value)
    }

    /// A half as `.f32`, exactly.
    pub fn widen(&mut self, value: V, ty: Type) -> V {
        let wide = self.b.ins().uextend(I32, value);
        if ty == Type::Bf16 {
            let up = self.b.ins().ishl_imm_u(wide, 16);
            return self.float_of(up);
        }
        // The bits as a far too small number, scaled up exactly; infinities and NaN get their exponent back.
        let size = self.b.ins().band_imm_u(wide, 0x7fff);
        let moved = self.b.ins().ishl_imm_u(size, 13);
        let small = self.float_of(moved);
        let scale = self.b.ins().f32const(f32::from_bits(0x7780_0000));
        let scaled = self.b.ins().fmul(small, scale);
        let bits = self.bits_of(scaled);
        let special = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, size, 0x7c00);
        let filled = self.b.ins().bor_imm_u(moved, 0x7f80_0000);
        let bits = self.b.ins().select(special, filled, bits);
        let sign = self.b.ins().band_imm_u(wide, 0x8000);
        let sign = self.b.ins().ishl_imm_u(sign, 16);
        let bits = self.b.ins().bor(bits, sign);
        self.float_of(bits)
    }

    /// `.f32` to a half, rounded to nearest.
    pub fn narrow(&mut self, value: V, ty: Type) -> Option<V> {
        let bits = self.bits_of(value);
        if ty == Type::Bf16 {
            // Add just under half a unit, and one more if the kept part is odd.
            let odd = self.b.ins().ushr_imm_u(bits, 16);
            let odd = self.b.ins().band_imm_u(odd, 1);
            let sum = self.b.ins().iadd_imm_u(bits, 0x7fff);
            let sum = self.b.ins().iadd(sum, odd);
            let up = self.b.ins().ushr_imm_u(sum, 16);
            let nan = self.b.ins().fcmp(FloatCC::Unordered, value, value);
            let quiet = self.iconst(32, 0x7fff);
            let bits = self.b.ins().select(nan, quiet, up);
            return Some(self.b.ins().ireduce(I16, bits));
        }
        let bits = self.helper(runtime::narrow_half as *const (), &[bits], Some(I32))?;
        Some(self.b.ins().ireduce(I16, bits))
    }

    fn half_value(&mut self, alu: Alu, ty: Type, mods: Float, a: &[V]) -> Option<V> {
        match alu {
            Alu::Neg => return Some(self.b.ins().bxor_imm_u(a[0], 0x8000)),
            Alu::Abs => return Some(self.b.ins().band_imm_u(a[0], 0x7fff)),
            Alu::Fma => {
                let mode = self.iconst(32, u64::from(ty == Type::Bf16));
                let mut args = vec![mode];
                for &v in a {
                    args.push(self.b.ins().uextend(I32, v));
                }
                let bits = self.helper(runtime::half_fma as *const (), &args, Some(I32))?;
                let value = self.b.ins().ireduce(I16, bits);
                if !mods.sat && !mods.relu {
                    return Some(value);
                }
                let wide = self.widen(value, ty);
                let wide = self.finish(wide, mods);
                return self.narrow(wide, ty);
            }
            _ => {}
        }
        let wide: Vec<V> = a.iter().map(|&v| self.widen(v, ty)).collect();
        let plain = Float { ftz: false, sat: false, relu: false, ..mods };
        let value = self.float_value(alu, plain, &wide)?;
        let value = self.finish(value, mods);
        self.narrow(value, ty)
    }

    /// The comparison of floats of any type.
    pub fn float_compare(&mut self, compare: Compare, ty: Type, ftz: bool, src: &[Value]) -> V {
        let operand = |emit: &mut Self, value: Value| match ty {
            Type::F32 | Type::F64 => {
                let v = emit.float(value, kind(ty));
                if ftz { emit.flush(v) } else { v }
            }
            _ => {
                let v = emit.int(value, 16);
                emit.widen(v, ty)
            }
        };
        let a = operand(self, src[0]);
        let b = operand(self, src[1]);
        self.b.ins().fcmp(float_condition(compare), a, b)
    }

    /// The comparison of one half of packed sources.
    pub fn compare_half(&mut self, compare: Compare, ty: Type, half: u32, src: &[Value]) -> V {
        let ty = if ty == Type::F16x2 { Type::F16 } else { Type::Bf16 };
        let [a, b] = [src[0], src[1]].map(|value| {
            let both = self.int(value, 32);
            let moved = self.b.ins().ushr_imm_u(both, i64::from(16 * half));
            let part = self.b.ins().ireduce(I16, moved);
            self.widen(part, ty)
        });
        self.b.ins().fcmp(float_condition(compare), a, b)
    }

    /// `testp`.
    pub fn testp(&mut self, test: Testp, ty: Type, dst: Option<u32>, src: Value) {
        let k = kind(ty);
        let value = self.float(src, k);
        let size = self.b.ins().fabs(value);
        let infinity = self.fconst(k, f64::INFINITY);
        let least = self.fconst(k, if k == F64 { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) });
        let truth = match test {
            Testp::Finite => self.b.ins().fcmp(FloatCC::LessThan, size, infinity),
            Testp::Infinite => self.b.ins().fcmp(FloatCC::Equal, size, infinity),
            Testp::Number => self.b.ins().fcmp(FloatCC::Ordered, value, value),
            Testp::NotANumber => self.b.ins().fcmp(FloatCC::Unordered, value, value),
            Testp::Normal => {
                let finite = self.b.ins().fcmp(FloatCC::LessThan, size, infinity);
                let large = self.b.ins().fcmp(FloatCC::GreaterThanOrEqual, size, least);
                self.b.ins().band(finite, large)
            }
            Testp::Subnormal => {
                let zero = self.fconst(k, 0.0);
                let some = self.b.ins().fcmp(FloatCC::GreaterThan, size, zero);
                let small = self.b.ins().fcmp(FloatCC::LessThan, size, least);
                self.b.ins().band(some, small)
            }
        };
        self.write_truth(dst, truth);
    }
}

fn float_condition(compare: Compare) -> FloatCC {
    match compare {
        Compare::Eq => FloatCC::Equal,
        Compare::Ne => FloatCC::OrderedNotEqual,
        Compare::Lt => FloatCC::LessThan,
        Compare::Le => FloatCC::LessThanOrEqual,
        Compare::Gt => FloatCC::GreaterThan,
        Compare::Ge => FloatCC::GreaterThanOrEqual,
        Compare::Equ => FloatCC::UnorderedOrEqual,
        Compare::Neu => FloatCC::NotEqual,
        Compare::Ltu => FloatCC::UnorderedOrLessThan,
        Compare::Leu => FloatCC::UnorderedOrLessThanOrEqual,
        Compare::Gtu => FloatCC::UnorderedOrGreaterThan,
        Compare::Geu => FloatCC::UnorderedOrGreaterThanOrEqual,
        Compare::Num => FloatCC::Ordered,
        Compare::Nan => FloatCC::Unordered,
    }
}
