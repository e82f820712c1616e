//! Integer arithmetic.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64, I128};
use cranelift_codegen::ir::{self, InstBuilder};

use crate::jit::emit::Emit;
use crate::jit::kinds::int_kind;
use crate::ptx::ir::{Alu, Float, Inst, Value};
use crate::ptx::types::Type;

type V = ir::Value;

impl Emit<'_, '_, '_> {
    pub(super) fn packed_halves(&mut self, alu: Alu, ty: Type, mods: Float, dst: Option<u32>, src: &[Value]) {
        let half = if ty == Type::S16x2 { Type::S16 } else { Type::U16 };
        let inputs: Vec<V> = src.iter().map(|&v| self.int(v, 32)).collect();
        let mut parts = [None; 2];
        for (n, part) in parts.iter_mut().enumerate() {
            let args: Vec<V> = inputs
                .iter()
                .map(|&v| {
                    let moved = if n == 0 { v } else { self.b.ins().ushr_imm_u(v, 16) };
                    self.b.ins().ireduce(I16, moved)
                })
                .collect();
            *part = self.integer_value(alu, half, mods, &args);
        }
        let [Some(low), Some(high)] = parts else { return self.illegal() };
        let low = self.b.ins().uextend(I32, low);
        let high = self.b.ins().uextend(I32, high);
        let high = self.b.ins().ishl_imm_u(high, 16);
        let value = self.b.ins().bor(low, high);
        self.write(dst, value);
    }

    pub(super) fn integer_alu(&mut self, alu: Alu, ty: Type, mods: Float, inst: &Inst) {
        let src = &inst.src;
        let dst = inst.dst.first().copied().flatten();
        let bits = ty.bits();
        if matches!(ty, Type::U16x2 | Type::S16x2) {
            return self.packed_halves(alu, ty, mods, dst, src);
        }
        match alu {
            Alu::Shl | Alu::Shr => {
                let value = self.int(src[0], bits);
                let count = self.int(src[1], 32);
                let shifted = self.shift(alu, ty, value, count);
                self.write(dst, shifted);
            }
            Alu::Bfe => self.bfe(ty, dst, src),
            Alu::Bfi => self.bfi(bits, dst, src),
            Alu::ShfLeft { wrap } => self.funnel(true, wrap, dst, src),
            Alu::ShfRight { wrap } => self.funnel(false, wrap, dst, src),
            Alu::MulWide | Alu::MadWide => {
                let k = int_kind(bits * 2);
                let a = self.int(src[0], bits);
                let b = self.int(src[1], bits);
                let a = self.coerce(a, k, ty.is_signed());
                let b = self.coerce(b, k, ty.is_signed());
                let mut value = self.b.ins().imul(a, b);
                if alu == Alu::MadWide {
                    let c = self.int(src[2], bits * 2);
                    value = self.b.ins().iadd(value, c);
                }
                self.write(dst, value);
            }
            Alu::AddCarry { .. } | Alu::SubCarry { .. } | Alu::MadLoCarry { .. } | Alu::MadHiCarry { .. } => {
                self.with_carry(alu, ty, inst);
            }
            _ => {
                let args: Vec<V> = src.iter().map(|&v| self.int(v, bits)).collect();
                match self.integer_value(alu, ty, mods, &args) {
                    Some(value) => self.write(dst, value),
                    None => self.illegal(),
                }
            }
        }
    }

    /// Plain operations on values of one type.
    pub(super) fn integer_value(&mut self, alu: Alu, ty: Type, mods: Float, a: &[V]) -> Option<V> {
        let signed = ty.is_signed();
        let bits = ty.bits();
        let k = int_kind(bits);
        Some(match alu {
            Alu::Add if mods.sat => self.saturating(true, a[0], a[1]),
            Alu::Sub if mods.sat => self.saturating(false, a[0], a[1]),
            Alu::Add => self.b.ins().iadd(a[0], a[1]),
            Alu::Sub => self.b.ins().isub(a[0], a[1]),
            Alu::Mul => self.b.ins().imul(a[0], a[1]),
            Alu::MulHi => self.high_product(ty, a[0], a[1]),
            Alu::Mad => {
                let product = self.b.ins().imul(a[0], a[1]);
                self.b.ins().iadd(product, a[2])
            }
            Alu::MadHi => {
                let product = self.high_product(ty, a[0], a[1]);
                if mods.sat { self.saturating(true, product, a[2]) } else { self.b.ins().iadd(product, a[2]) }
            }
            Alu::Mul24 | Alu::Mad24 | Alu::Mul24Hi | Alu::Mad24Hi => {
                let x = self.low24(a[0], signed);
                let y = self.low24(a[1], signed);
                let product = self.b.ins().imul(x, y);
                let shift = if matches!(alu, Alu::Mul24Hi | Alu::Mad24Hi) { 16 } else { 0 };
                let moved = self.b.ins().ushr_imm_u(product, shift);
                let low = self.b.ins().ireduce(I32, moved);
                match alu {
                    Alu::Mad24Hi if mods.sat => self.saturating(true, low, a[2]),
                    Alu::Mad24 | Alu::Mad24Hi => self.b.ins().iadd(low, a[2]),
                    _ => low,
                }
            }
            Alu::Div | Alu::Rem => self.divide(alu == Alu::Div, ty, a[0], a[1]),
            Alu::Min | Alu::Max => self.extreme(alu == Alu::Min, signed, mods.relu, a[0], a[1]),
            Alu::Min3 | Alu::Max3 => {
                let first = self.extreme(alu == Alu::Min3, signed, false, a[0], a[1]);
                self.extreme(alu == Alu::Min3, signed, mods.relu, first, a[2])
            }
            Alu::Abs => self.b.ins().iabs(a[0]),
            Alu::Neg => self.b.ins().ineg(a[0]),
            Alu::And => self.b.ins().band(a[0], a[1]),
            Alu::Or => self.b.ins().bor(a[0], a[1]),
            Alu::Xor => self.b.ins().bxor(a[0], a[1]),
            Alu::Not if ty == Type::Pred => self.b.ins().bxor_imm_u(a[0], 1),
            Alu::Not => self.b.ins().bnot(a[0]),
            Alu::Cnot => {
                let zero = self.b.ins().icmp_imm_u(IntCC::Equal, a[0], 0);
                self.coerce(zero, k, false)
            }
            Alu::Brev => self.b.ins().bitrev(a[0]),
            Alu::Popc => {
                let count = self.b.ins().popcnt(a[0]);
                self.coerce(count, I32, false)
            }
            Alu::Clz => {
                let count = self.b.ins().clz(a[0]);
                self.coerce(count, I32, false)
            }
            Alu::Bfind { shift } => {
                let value = if signed {
                    let sign = self.b.ins().sshr_imm_u(a[0], i64::from(bits) - 1);
                    self.b.ins().bxor(a[0], sign)
                } else {
                    a[0]
                };
                let zeros = self.b.ins().clz(value);
                let zeros = self.coerce(zeros, I32, false);
                let top = self.iconst(32, u64::from(bits) - 1);
                let at = if shift { zeros } else { self.b.ins().isub(top, zeros) };
                let none = self.b.ins().icmp_imm_u(IntCC::Equal, value, 0);
                let missing = self.iconst(32, u64::MAX);
                self.b.ins().select(none, missing, at)
            }
            Alu::Bmsk { wrap } => self.mask_bits(wrap, a[0], a[1]),
            Alu::Szext { wrap } => {
                let width = self.limited(wrap, a[1]);
                let top = self.iconst(32, 32);
                let count = self.b.ins().isub(top, width);
                let wide = self.b.ins().uextend(I64, a[0]);
                let up = self.b.ins().ishl(wide, count);
                let up = self.b.ins().ireduce(I32, up);
                let wide = if signed { self.b.ins().sextend(I64, up) } else { self.b.ins().uextend(I64, up) };
                let down = if signed { self.b.ins().sshr(wide, count) } else { self.b.ins().ushr(wide, count) };
                self.b.ins().ireduce(I32, down)
            }
            Alu::Sad => {
                let less =
                    self.b.ins().icmp(if signed { IntCC::SignedLessThan } else { IntCC::UnsignedLessThan }, a[0], a[1]);
                let ab = self.b.ins().isub(a[0], a[1]);
                let ba = self.b.ins().isub(a[1], a[0]);
                let distance = self.b.ins().select(less, ba, ab);
                self.b.ins().iadd(distance, a[2])
            }
            Alu::Fns => {
                let args = [a[0], a[1], a[2]];
                self.helper(crate::jit::runtime::find_nth_set as *const (), &args, Some(I32))?
            }
            _ => return None,
        })
    }

    pub(super) fn low24(&mut self, value: V, signed: bool) -> V {
        let up = self.b.ins().ishl_imm_u(value, 8);
        if signed {
            let down = self.b.ins().sshr_imm_u(up, 8);
            self.b.ins().sextend(I64, down)
        } else {
            let down = self.b.ins().ushr_imm_u(up, 8);
            self.b.ins().uextend(I64, down)
        }
    }

    pub(super) fn saturating(&mut self, add: bool, a: V, b: V) -> V {
        let k = self.b.func.dfg.value_type(a);
        let wide = int_kind(k.bits() * 2);
        let a = self.b.ins().sextend(wide, a);
        let b = self.b.ins().sextend(wide, b);
        let sum = if add { self.b.ins().iadd(a, b) } else { self.b.ins().isub(a, b) };
        if wide == I128 {
            return self.b.ins().ireduce(k, sum);
        }
        let most = (1i64 << (k.bits() - 1)) - 1;
        let high = self.b.ins().iconst(wide, most & mask(wide.bits()));
        let low = self.b.ins().iconst(wide, (-most - 1) & mask(wide.bits()));
        let over = self.b.ins().icmp(IntCC::SignedGreaterThan, sum, high);
        let sum = self.b.ins().select(over, high, sum);
        let under = self.b.ins().icmp(IntCC::SignedLessThan, sum, low);
        let sum = self.b.ins().select(under, low, sum);
        self.b.ins().ireduce(k, sum)
    }

    pub(super) fn high_product(&mut self, ty: Type, a: V, b: V) -> V {
        match (ty.bits(), ty.is_signed()) {
            (64, true) => self.b.ins().smulhi(a, b),
            (64, false) => self.b.ins().umulhi(a, b),
            (bits, signed) => {
                let k = int_kind(bits * 2);
                let a = self.coerce(a, k, signed);
                let b = self.coerce(b, k, signed);
                let product = self.b.ins().imul(a, b);
                let high = self.b.ins().ushr_imm_u(product, i64::from(bits));
                self.b.ins().ireduce(int_kind(bits), high)
            }
        }
    }

    /// Division and remainder: by zero all ones and the dividend, as the hardware does; never a trap.
    pub(super) fn divide(&mut self, quotient: bool, ty: Type, a: V, b: V) -> V {
        let bits = ty.bits();
        let k = int_kind(bits);
        let signed = ty.is_signed();
        // Narrow divisions are done in 32 bits, where the processor has them.
        let (wide_a, wide_b) =
            if bits < 32 { (self.coerce(a, I32, signed), self.coerce(b, I32, signed)) } else { (a, b) };
        let zero = self.b.ins().icmp_imm_u(IntCC::Equal, wide_b, 0);
        let wide = self.b.func.dfg.value_type(wide_a);
        let one = self.b.ins().iconst(wide, 1);
        let mut divisor = self.b.ins().select(zero, one, wide_b);
        let mut minus = None;
        if signed {
            let minus_one = self.b.ins().icmp_imm_s(IntCC::Equal, wide_b, -1);
            divisor = self.b.ins().select(minus_one, one, divisor);
            minus = Some(minus_one);
        }
        let result = match (quotient, signed) {
            (true, true) => self.b.ins().sdiv(wide_a, divisor),
            (true, false) => self.b.ins().udiv(wide_a, divisor),
            (false, true) => self.b.ins().srem(wide_a, divisor),
            (false, false) => self.b.ins().urem(wide_a, divisor),
        };
        let result = match (minus, quotient) {
            (Some(minus), true) => {
                let negated = self.b.ins().ineg(wide_a);
                self.b.ins().select(minus, negated, result)
            }
            _ => result,
        };
        let undefined = if quotient { self.all_ones(wide) } else { wide_a };
        let result = self.b.ins().select(zero, undefined, result);
        self.coerce(result, k, false)
    }

    pub(super) fn all_ones(&mut self, k: ir::Type) -> V {
        self.b.ins().iconst(k, mask(k.bits()))
    }

    pub(super) fn extreme(&mut self, min: bool, signed: bool, relu: bool, a: V, b: V) -> V {
        let value = match (min, signed) {
            (true, true) => self.b.ins().smin(a, b),
            (true, false) => self.b.ins().umin(a, b),
            (false, true) => self.b.ins().smax(a, b),
            (false, false) => self.b.ins().umax(a, b),
        };
        if !relu {
            return value;
        }
        let k = self.b.func.dfg.value_type(value);
        let zero = self.b.ins().iconst(k, 0);
        self.b.ins().smax(value, zero)
    }

    pub(super) fn with_carry(&mut self, alu: Alu, ty: Type, inst: &Inst) {
        let bits = ty.bits();
        let k = int_kind(bits);
        let (product, take, give, subtract) = match alu {
            Alu::AddCarry { take, give } => (None, take, give, false),
            Alu::SubCarry { take, give } => (None, take, give, true),
            Alu::MadLoCarry { take, give } => (Some(false), take, give, false),
            Alu::MadHiCarry { take, give } => (Some(true), take, give, false),
            _ => return self.illegal(),
        };
        let args: Vec<V> =
            inst.src.iter().take(2 + usize::from(product.is_some())).map(|&v| self.int(v, bits)).collect();
        let (a, b) = match product {
            Some(true) => (self.high_product(ty, args[0], args[1]), args[2]),
            Some(false) => (self.b.ins().imul(args[0], args[1]), args[2]),
            None => (args[0], args[1]),
        };
        let carry = if take {
            let flag = inst.src.last().copied().unwrap_or(Value::Int(0));
            self.int(flag, 8)
        } else {
            self.b.ins().iconst(I8, 0)
        };
        let carry = self.coerce(carry, k, false);
        let (value, out) = if subtract {
            let first = self.b.ins().isub(a, b);
            let borrow1 = self.b.ins().icmp(IntCC::UnsignedLessThan, a, b);
            let value = self.b.ins().isub(first, carry);
            let borrow2 = self.b.ins().icmp(IntCC::UnsignedLessThan, first, carry);
            (value, self.b.ins().bor(borrow1, borrow2))
        } else {
            let first = self.b.ins().iadd(a, b);
            let carry1 = self.b.ins().icmp(IntCC::UnsignedLessThan, first, a);
            let value = self.b.ins().iadd(first, carry);
            let carry2 = self.b.ins().icmp(IntCC::UnsignedLessThan, value, first);
            (value, self.b.ins().bor(carry1, carry2))
        };
        self.write(inst.dst[0], value);
        if give && inst.dst.len() > 1 {
            self.write_truth(inst.dst[1], out);
        }
    }
}

/// All ones of a width.
fn mask(bits: u32) -> i64 {
    if bits >= 64 { -1 } else { (1 << bits) - 1 }
}
