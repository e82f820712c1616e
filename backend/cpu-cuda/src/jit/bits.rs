//! Shifts, bit fields, three-input logic, byte permutation and small dot products.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, InstBuilder};

use crate::jit::emit::Emit;
use crate::jit::kinds::int_kind;
use crate::ptx::ir::{Alu, Prmt, Value};
use crate::ptx::types::Type;

type V = ir::Value;

impl Emit<'_, '_, '_> {
    /// Shifts clamp their count: all bits shifted out is zero, or the sign.
    pub(super) fn shift(&mut self, alu: Alu, ty: Type, value: V, count: V) -> V {
        let bits = ty.bits();
        let arithmetic = alu == Alu::Shr && ty.is_signed();
        let over = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, count, i64::from(bits));
        if arithmetic {
            let top = self.iconst(32, u64::from(bits) - 1);
            let count = self.b.ins().select(over, top, count);
            return self.b.ins().sshr(value, count);
        }
        let shifted = match alu {
            Alu::Shl => self.b.ins().ishl(value, count),
            _ => self.b.ins().ushr(value, count),
        };
        let zero = self.b.ins().iconst(int_kind(bits), 0);
        self.b.ins().select(over, zero, shifted)
    }

    /// A count modulo 32, or clamped to it.
    pub(super) fn limited(&mut self, wrap: bool, count: V) -> V {
        if wrap {
            return self.b.ins().band_imm_u(count, 31);
        }
        let top = self.iconst(32, 32);
        self.b.ins().umin(count, top)
    }

    pub(super) fn mask_bits(&mut self, wrap: bool, start: V, width: V) -> V {
        let start = self.limited(wrap, start);
        let width = self.limited(wrap, width);
        let one = self.iconst(64, 1);
        let ones = self.b.ins().ishl(one, width);
        let ones = self.b.ins().iadd_imm_s(ones, -1);
        let placed = self.b.ins().ishl(ones, start);
        self.b.ins().ireduce(I32, placed)
    }

    pub(super) fn funnel(&mut self, left: bool, wrap: bool, dst: Option<u32>, src: &[Value]) {
        let low = self.int(src[0], 32);
        let high = self.int(src[1], 32);
        let count = self.int(src[2], 32);
        let count = self.limited(wrap, count);
        let low = self.b.ins().uextend(I64, low);
        let high = self.b.ins().uextend(I64, high);
        let high = self.b.ins().ishl_imm_u(high, 32);
        let both = self.b.ins().bor(high, low);
        let value = if left {
            let moved = self.b.ins().ishl(both, count);
            self.b.ins().ushr_imm_u(moved, 32)
        } else {
            self.b.ins().ushr(both, count)
        };
        let value = self.b.ins().ireduce(I32, value);
        self.write(dst, value);
    }

    /// Extracts `len` bits at `pos` (both modulo 256), beyond the top as zeros or copies of the sign.
    pub(super) fn bfe(&mut self, ty: Type, dst: Option<u32>, src: &[Value]) {
        let bits = ty.bits();
        let signed = ty.is_signed();
        let k = int_kind(bits);
        let value = self.int(src[0], bits);
        let pos = self.int(src[1], 32);
        let len = self.int(src[2], 32);
        let pos = self.b.ins().band_imm_u(pos, 255);
        let len = self.b.ins().band_imm_u(len, 255);
        let width = self.iconst(32, u64::from(bits));
        let top = self.iconst(32, u64::from(bits) - 1);
        let empty = self.b.ins().icmp_imm_u(IntCC::Equal, len, 0);
        let zero = self.b.ins().iconst(k, 0);
        let moved = self.shift(Alu::Shr, ty, value, pos);
        // Bits to clear at the top after the field stands at the bottom: width - len, not below 0.
        let len = self.b.ins().umin(len, width);
        let spare = self.b.ins().isub(width, len);
        let spare = self.b.ins().umin(spare, top);
        let result = if signed {
            // The sign is the field's top bit, or the value's where the field reaches beyond it.
            let up = self.b.ins().ishl(moved, spare);
            self.b.ins().sshr(up, spare)
        } else {
            let up = self.b.ins().ishl(moved, spare);
            self.b.ins().ushr(up, spare)
        };
        let result = self.b.ins().select(empty, zero, result);
        self.write(dst, result);
    }

    pub(super) fn bfi(&mut self, bits: u32, dst: Option<u32>, src: &[Value]) {
        let k = int_kind(bits);
        let field = self.int(src[0], bits);
        let into = self.int(src[1], bits);
        let pos = self.int(src[2], 32);
        let len = self.int(src[3], 32);
        let pos = self.b.ins().band_imm_u(pos, 255);
        let len = self.b.ins().band_imm_u(len, 255);
        let ty = if bits == 32 { Type::U32 } else { Type::U64 };
        let one = self.b.ins().iconst(k, 1);
        let power = self.shift(Alu::Shl, ty, one, len);
        let ones = self.b.ins().iadd_imm_s(power, -1);
        let mask = self.shift(Alu::Shl, ty, ones, pos);
        let placed = self.shift(Alu::Shl, ty, field, pos);
        let inside = self.b.ins().band(placed, mask);
        let rest = self.b.ins().band_not(into, mask);
        let value = self.b.ins().bor(inside, rest);
        self.write(dst, value);
    }

    pub(super) fn lop3(&mut self, table: u8, dst: Option<u32>, src: &[Value]) {
        let [a, b, c] = [0, 1, 2].map(|n| self.int(src[n], 32));
        // By c: two functions of a and b, each by a: two functions of b.
        let of_b = |emit: &mut Self, bits: u8| match bits & 3 {
            0 => emit.iconst(32, 0),
            1 => emit.b.ins().bnot(b),
            2 => b,
            _ => emit.iconst(32, u64::MAX),
        };
        let pick = |emit: &mut Self, selector: V, no: V, yes: V| {
            if no == yes {
                return no;
            }
            let differ = emit.b.ins().bxor(no, yes);
            let taken = emit.b.ins().band(differ, selector);
            emit.b.ins().bxor(no, taken)
        };
        // Bit (a << 2 | b << 1 | c) of the table.
        let bit = |n: u32| table >> n & 1;
        let mut by_c = [b; 2];
        for (n, slot) in by_c.iter_mut().enumerate() {
            let n = n as u32;
            let a0 = of_b(self, bit(n) | bit(2 + n) << 1);
            let a1 = of_b(self, bit(4 + n) | bit(6 + n) << 1);
            *slot = if bit(n) == bit(4 + n) && bit(2 + n) == bit(6 + n) { a0 } else { pick(self, a, a0, a1) };
        }
        let value = pick(self, c, by_c[0], by_c[1]);
        self.write(dst, value);
    }

    pub(super) fn prmt(&mut self, mode: Prmt, dst: Option<u32>, src: &[Value]) {
        let a = self.int(src[0], 32);
        let b = self.int(src[1], 32);
        if let (Prmt::Index, Value::Int(selector)) = (mode, src[2]) {
            let value = self.permute(a, b, selector as u32);
            return self.write(dst, value);
        }
        let selector = self.int(src[2], 32);
        let number = self.iconst(32, mode as u64);
        let args = [a, b, selector, number];
        if let Some(value) = self.helper(crate::jit::runtime::permute as *const (), &args, Some(I32)) {
            self.write(dst, value);
        }
    }

    pub(super) fn permute(&mut self, a: V, b: V, selector: u32) -> V {
        match selector & 0xffff {
            0x3210 => return a,
            0x7654 => return b,
            0x0123 => return self.b.ins().bswap(a),
            _ => {}
        }
        let a = self.b.ins().uextend(I64, a);
        let b = self.b.ins().uextend(I64, b);
        let b = self.b.ins().ishl_imm_u(b, 32);
        let both = self.b.ins().bor(a, b);
        let mut sum: Option<V> = None;
        for n in 0..4u32 {
            let nibble = selector >> (4 * n) & 15;
            let from = i64::from(nibble & 7) * 8;
            let byte = if nibble & 8 != 0 {
                // The sign of the byte, eight times.
                let up = self.b.ins().ishl_imm_u(both, 56 - from);
                let sign = self.b.ins().sshr_imm_u(up, 63);
                self.b.ins().band_imm_u(sign, 255)
            } else {
                let down = self.b.ins().ushr_imm_u(both, from);
                self.b.ins().band_imm_u(down, 255)
            };
            let placed = self.b.ins().ishl_imm_u(byte, i64::from(8 * n));
            sum = Some(match sum {
                Some(s) => self.b.ins().bor(s, placed),
                None => placed,
            });
        }
        let sum = sum.unwrap_or(both);
        self.b.ins().ireduce(I32, sum)
    }

    #[allow(clippy::too_many_arguments)] // the shape of the product
    pub(super) fn dot(
        &mut self,
        count: u32,
        bits: u32,
        a_signed: bool,
        b_signed: bool,
        b_at: u32,
        dst: Option<u32>,
        src: &[Value],
    ) {
        let [a, b, mut sum] = [0, 1, 2].map(|n| self.int(src[n], 32));
        for n in 0..count {
            let x = self.field_of(a, n * bits, bits, a_signed);
            let y = self.field_of(b, b_at + n * 8, 8, b_signed);
            let product = self.b.ins().imul(x, y);
            sum = self.b.ins().iadd(sum, product);
        }
        self.write(dst, sum);
    }

    pub(super) fn field_of(&mut self, value: V, at: u32, bits: u32, signed: bool) -> V {
        let up = self.b.ins().ishl_imm_u(value, i64::from(32 - bits - at));
        if signed {
            self.b.ins().sshr_imm_u(up, i64::from(32 - bits))
        } else {
            self.b.ins().ushr_imm_u(up, i64::from(32 - bits))
        }
    }
}
