//! Integer arithmetic, logic, shifts, bit fields, comparisons and moves.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F64, I8, I16, I32, I64, I128};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData};

use crate::jit::emit::{Emit, int_kind, kind};
use crate::ptx::ir::{Alu, Float, Inst, Op, Prmt, Value};
use crate::ptx::types::{Compare, Logic, Type};

type V = ir::Value;

impl Emit<'_, '_, '_> {
    /// Compiles an operation that does not move control.
    pub fn operation(&mut self, inst: &Inst) {
        let src = &inst.src;
        let dst = inst.dst.first().copied().flatten();
        match &inst.op {
            Op::Nop => {}
            Op::Mov(ty) => {
                let value = self.moved(src[0], *ty);
                self.write(dst, value);
            }
            Op::Pack(ty) => self.pack(*ty, dst, src),
            Op::Unpack(ty) => self.unpack(*ty, inst),
            Op::Alu(alu, ty, mods) if ty.is_float() => self.float_alu(*alu, *ty, *mods, dst, src),
            Op::Alu(alu, ty, mods) => self.integer_alu(*alu, *ty, *mods, inst),
            Op::Testp(test, ty) => self.testp(*test, *ty, dst, src[0]),
            Op::Cvt(cvt) => self.convert(*cvt, dst, src[0]),
            Op::CvtPair(cvt) => self.convert_pair(*cvt, dst, src),
            Op::Setp(compare, logic, ty, _) if packed(*ty) => {
                // Low half to the first predicate, high half to the second.
                for (n, &dst) in inst.dst.iter().enumerate() {
                    let truth = self.compare_half(*compare, *ty, n as u32, src);
                    let truth = self.combine(*logic, truth, src);
                    self.write_truth(dst, truth);
                }
            }
            Op::Setp(compare, logic, ty, ftz) => {
                let truth = self.compare(*compare, *ty, *ftz, src);
                let first = self.combine(*logic, truth, src);
                let other = (inst.dst.len() > 1).then(|| {
                    let inverse = self.b.ins().bxor_imm_u(truth, 1);
                    self.combine(*logic, inverse, src)
                });
                self.write_truth(dst, first);
                if let Some(other) = other {
                    self.write_truth(inst.dst[1], other);
                }
            }
            Op::Set(compare, logic, to, ty, _) if packed(*ty) => {
                let mut halves = [0u32, 1].map(|n| {
                    let truth = self.compare_half(*compare, *ty, n, src);
                    let truth = self.combine(*logic, truth, src);
                    let yes = self.iconst(16, set_value(*to));
                    let no = self.iconst(16, 0);
                    self.b.ins().select(truth, yes, no)
                });
                halves[0] = self.join(halves[0], halves[1]);
                self.write(dst, halves[0]);
            }
            Op::Set(compare, logic, to, ty, ftz) => {
                let truth = self.compare(*compare, *ty, *ftz, src);
                let truth = self.combine(*logic, truth, src);
                let (yes, no) = (set_value(*to), 0);
                let yes = self.iconst(to.bits(), yes);
                let no = self.iconst(to.bits(), no);
                let value = self.b.ins().select(truth, yes, no);
                self.write(dst, value);
            }
            Op::Selp(ty) => {
                let (a, b) = self.two(src[0], src[1], *ty);
                let truth = self.int(src[2], 8);
                let value = self.b.ins().select(truth, a, b);
                self.write(dst, value);
            }
            Op::Slct(ty, cty) => {
                let (a, b) = self.two(src[0], src[1], *ty);
                let truth = match cty {
                    Type::F32 => {
                        let c = self.source(src[2], Type::F32);
                        let zero = self.b.ins().f32const(0.0);
                        self.b.ins().fcmp(FloatCC::GreaterThanOrEqual, c, zero)
                    }
                    _ => {
                        let c = self.int(src[2], 32);
                        self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, c, 0)
                    }
                };
                let value = self.b.ins().select(truth, a, b);
                self.write(dst, value);
            }
            Op::Lop3(table) => self.lop3(*table, dst, src),
            Op::Prmt(mode) => self.prmt(*mode, dst, src),
            Op::Dp4a(a, b) => self.dot(4, 8, *a, *b, 0, dst, src),
            Op::Dp2a(a, b, high) => self.dot(2, 16, *a, *b, if *high { 16 } else { 0 }, dst, src),
            Op::Load(access) => self.load(*access, &inst.dst, src[0]),
            Op::Store(access) => self.store(*access, src),
            Op::Atomic(access, op) => self.atomic(*access, *op, dst, src),
            Op::Cvta(space, back) => self.convert_address(*space, *back, dst, src[0]),
            Op::Isspacep(space) => self.is_space(*space, dst, src[0]),
            Op::Mapa(generic) => self.map_shared(*generic, dst, src),
            Op::Fence(far) => {
                if *far {
                    self.b.ins().fence();
                }
            }
            Op::Invoke(callee, args, results) => self.invoke(*callee, args, results, inst),
            Op::Tex(tex) => self.texture(*tex, inst),
            Op::Query(query, surface) => self.texture_query(*query, *surface, dst, src[0]),
            Op::SurfLoad(surf) => self.surface(*surf, inst, true),
            Op::SurfStore(surf) => self.surface(*surf, inst, false),
            Op::CopyAsync(bytes, to, from) => self.copy_async(*bytes, *to, *from, src),
            Op::Barrier(_) => self.arrive(inst),
            // Control flow is `emit`'s; calls with slots are gone by now.
            Op::Bra(_) | Op::Brx(_) | Op::Call(..) | Op::Ret | Op::Exit | Op::Trap | Op::Collective(..) | Op::Yield => {
                self.illegal();
            }
        }
    }

    /// A source in whatever kind its register has, if the width is right.
    fn moved(&mut self, value: Value, ty: Type) -> V {
        if let Value::Reg(reg) = value {
            let raw = self.read(reg);
            if self.b.func.dfg.value_type(raw).bits() == ty.bits() {
                return raw;
            }
        }
        if ty == Type::B128 { self.int(value, 128) } else { self.source(value, ty) }
    }

    /// Two sources of one kind, so that they can be selected between.
    fn two(&mut self, a: Value, b: Value, ty: Type) -> (V, V) {
        let first = self.moved(a, ty);
        let k = self.b.func.dfg.value_type(first);
        let second = match (b, k.is_float()) {
            (_, true) => self.float(b, k),
            _ => self.int(b, k.bits()),
        };
        (first, second)
    }

    fn pack(&mut self, ty: Type, dst: Option<u32>, src: &[Value]) {
        let part = ty.bits() / src.len() as u32;
        if ty == Type::B128 && src.len() == 2 {
            let low = self.int(src[0], 64);
            let high = self.int(src[1], 64);
            let value = self.b.ins().iconcat(low, high);
            self.write(dst, value);
            return;
        }
        let k = int_kind(ty.bits());
        let mut sum: Option<V> = None;
        for (n, &value) in src.iter().enumerate() {
            let value = self.int(value, part);
            let wide = self.coerce(value, k, false);
            let placed = if n == 0 { wide } else { self.b.ins().ishl_imm_u(wide, i64::from(part) * n as i64) };
            sum = Some(match sum {
                Some(s) => self.b.ins().bor(s, placed),
                None => placed,
            });
        }
        if let Some(sum) = sum {
            self.write(dst, sum);
        }
    }

    fn unpack(&mut self, ty: Type, inst: &Inst) {
        let part = ty.bits() / inst.dst.len() as u32;
        let value = self.int(inst.src[0], ty.bits());
        for (n, &dst) in inst.dst.iter().enumerate() {
            let moved = if n == 0 { value } else { self.b.ins().ushr_imm_u(value, i64::from(part) * n as i64) };
            let piece = self.coerce(moved, int_kind(part), false);
            self.write(dst, piece);
        }
    }

    fn packed_halves(&mut self, alu: Alu, ty: Type, mods: Float, dst: Option<u32>, src: &[Value]) {
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

    fn integer_alu(&mut self, alu: Alu, ty: Type, mods: Float, inst: &Inst) {
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
    fn integer_value(&mut self, alu: Alu, ty: Type, mods: Float, a: &[V]) -> Option<V> {
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
                let less = self.b.ins().icmp(
                    if signed { IntCC::SignedLessThan } else { IntCC::UnsignedLessThan },
                    a[0],
                    a[1],
                );
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

    fn low24(&mut self, value: V, signed: bool) -> V {
        let up = self.b.ins().ishl_imm_u(value, 8);
        if signed {
            let down = self.b.ins().sshr_imm_u(up, 8);
            self.b.ins().sextend(I64, down)
        } else {
            let down = self.b.ins().ushr_imm_u(up, 8);
            self.b.ins().uextend(I64, down)
        }
    }

    fn saturating(&mut self, add: bool, a: V, b: V) -> V {
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

    fn high_product(&mut self, ty: Type, a: V, b: V) -> V {
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
    fn divide(&mut self, quotient: bool, ty: Type, a: V, b: V) -> V {
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

    fn all_ones(&mut self, k: ir::Type) -> V {
        self.b.ins().iconst(k, mask(k.bits()))
    }

    fn extreme(&mut self, min: bool, signed: bool, relu: bool, a: V, b: V) -> V {
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

    /// Shifts clamp their count: all bits shifted out is zero, or the sign.
    fn shift(&mut self, alu: Alu, ty: Type, value: V, count: V) -> V {
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
    fn limited(&mut self, wrap: bool, count: V) -> V {
        if wrap {
            return self.b.ins().band_imm_u(count, 31);
        }
        let top = self.iconst(32, 32);
        self.b.ins().umin(count, top)
    }

    fn mask_bits(&mut self, wrap: bool, start: V, width: V) -> V {
        let start = self.limited(wrap, start);
        let width = self.limited(wrap, width);
        let one = self.iconst(64, 1);
        let ones = self.b.ins().ishl(one, width);
        let ones = self.b.ins().iadd_imm_s(ones, -1);
        let placed = self.b.ins().ishl(ones, start);
        self.b.ins().ireduce(I32, placed)
    }

    fn funnel(&mut self, left: bool, wrap: bool, dst: Option<u32>, src: &[Value]) {
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
    fn bfe(&mut self, ty: Type, dst: Option<u32>, src: &[Value]) {
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

    fn bfi(&mut self, bits: u32, dst: Option<u32>, src: &[Value]) {
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

    fn with_carry(&mut self, alu: Alu, ty: Type, inst: &Inst) {
        let bits = ty.bits();
        let k = int_kind(bits);
        let (product, take, give, subtract) = match alu {
            Alu::AddCarry { take, give } => (None, take, give, false),
            Alu::SubCarry { take, give } => (None, take, give, true),
            Alu::MadLoCarry { take, give } => (Some(false), take, give, false),
            Alu::MadHiCarry { take, give } => (Some(true), take, give, false),
            _ => return self.illegal(),
        };
        let args: Vec<V> = inst.src.iter().take(2 + usize::from(product.is_some())).map(|&v| self.int(v, bits)).collect();
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

    fn lop3(&mut self, table: u8, dst: Option<u32>, src: &[Value]) {
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

    fn prmt(&mut self, mode: Prmt, dst: Option<u32>, src: &[Value]) {
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

    fn permute(&mut self, a: V, b: V, selector: u32) -> V {
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
    fn dot(&mut self, count: u32, bits: u32, a_signed: bool, b_signed: bool, b_at: u32, dst: Option<u32>, src: &[Value]) {
        let [a, b, mut sum] = [0, 1, 2].map(|n| self.int(src[n], 32));
        for n in 0..count {
            let x = self.field_of(a, n * bits, bits, a_signed);
            let y = self.field_of(b, b_at + n * 8, 8, b_signed);
            let product = self.b.ins().imul(x, y);
            sum = self.b.ins().iadd(sum, product);
        }
        self.write(dst, sum);
    }

    fn field_of(&mut self, value: V, at: u32, bits: u32, signed: bool) -> V {
        let up = self.b.ins().ishl_imm_u(value, i64::from(32 - bits - at));
        if signed { self.b.ins().sshr_imm_u(up, i64::from(32 - bits)) } else { self.b.ins().ushr_imm_u(up, i64::from(32 - bits)) }
    }

    fn combine(&mut self, logic: Option<Logic>, truth: V, src: &[Value]) -> V {
        let Some(logic) = logic else { return truth };
        let other = self.int(src[2], 8);
        match logic {
            Logic::And => self.b.ins().band(truth, other),
            Logic::Or => self.b.ins().bor(truth, other),
            Logic::Xor => self.b.ins().bxor(truth, other),
        }
    }

    fn compare(&mut self, compare: Compare, ty: Type, ftz: bool, src: &[Value]) -> V {
        if ty.is_float() {
            return self.float_compare(compare, ty, ftz, src);
        }
        let a = self.int(src[0], ty.bits());
        let b = self.int(src[1], ty.bits());
        let cc = match (compare, ty.is_signed()) {
            (Compare::Eq | Compare::Equ, _) => IntCC::Equal,
            (Compare::Ne | Compare::Neu, _) => IntCC::NotEqual,
            (Compare::Lt | Compare::Ltu, true) => IntCC::SignedLessThan,
            (Compare::Le | Compare::Leu, true) => IntCC::SignedLessThanOrEqual,
            (Compare::Gt | Compare::Gtu, true) => IntCC::SignedGreaterThan,
            (Compare::Ge | Compare::Geu, true) => IntCC::SignedGreaterThanOrEqual,
            (Compare::Lt | Compare::Ltu, false) => IntCC::UnsignedLessThan,
            (Compare::Le | Compare::Leu, false) => IntCC::UnsignedLessThanOrEqual,
            (Compare::Gt | Compare::Gtu, false) => IntCC::UnsignedGreaterThan,
            _ => IntCC::UnsignedGreaterThanOrEqual,
        };
        self.b.ins().icmp(cc, a, b)
    }

    /// Calls a function of `runtime`.
    pub fn helper(&mut self, function: *const (), args: &[V], result: Option<ir::Type>) -> Option<V> {
        let types: Vec<_> = args.iter().map(|&v| self.b.func.dfg.value_type(v)).collect();
        let signature = self.unit.helper_signature(types.into_iter(), result);
        let signature = self.b.import_signature(signature);
        let address = self.iconst(64, function as u64);
        let call = self.b.ins().call_indirect(signature, address, args);
        self.b.inst_results(call).first().copied()
    }

    /// Bits of a float as an integer, and back.
    pub fn bits_of(&mut self, value: V) -> V {
        let k = self.b.func.dfg.value_type(value);
        if k.is_float() { self.b.ins().bitcast(int_kind(k.bits()), MemFlagsData::new(), value) } else { value }
    }

    /// An integer's bits as a float.
    pub fn float_of(&mut self, value: V) -> V {
        let k = self.b.func.dfg.value_type(value);
        let to = if k == I64 { F64 } else { kind(Type::F32) };
        self.b.ins().bitcast(to, MemFlagsData::new(), value)
    }
}

fn packed(ty: Type) -> bool {
    matches!(ty, Type::F16x2 | Type::Bf16x2)
}

/// What `set` writes for true, in each element.
fn set_value(to: Type) -> u64 {
    match to {
        Type::F32 => u64::from(1f32.to_bits()),
        Type::F16 | Type::F16x2 => 0x3c00,
        Type::Bf16 | Type::Bf16x2 => 0x3f80,
        _ => u64::MAX,
    }
}

/// All ones of a width.
fn mask(bits: u32) -> i64 {
    if bits >= 64 { -1 } else { (1 << bits) - 1 }
}
