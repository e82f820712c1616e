//! One operation: which part of the code generator does it; moves, selections and comparisons.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F64, I64};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData};

use crate::jit::emit::Emit;
use crate::jit::kinds::{int_kind, kind};
use crate::ptx::ir::{Inst, Op, Reg, Value};
use crate::ptx::types::{Compare, Logic, Type};

type V = ir::Value;

impl Emit<'_, '_, '_> {
    /// Compiles an operation that does not move control.
    pub fn operation(&mut self, inst: &Inst) {
        let src = &inst.src;
        let dst = inst.dst.first().copied().flatten();
        match &inst.op {
            Op::Nop => {}
            Op::Alloca(align) => self.alloca(*align, inst),
            Op::StackAddress { back } => self.stack_address(*back, dst, src[0]),
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
            Op::ToFloat8(format, relu) => self.pack_float8(*format, *relu, dst, src),
            Op::FromFloat8(format, relu) => self.unpack_float8(*format, *relu, dst, src[0]),
            Op::Setp(compare, logic, ty, ftz) => self.setp((*compare, *ty, *ftz), *logic, &inst.dst, src),
            Op::Set(compare, logic, to, ty, ftz) => self.set((*compare, *ty, *ftz), *logic, *to, dst, src),
            Op::Selp(ty) => {
                let truth = self.int(src[2], 8);
                self.select(truth, *ty, dst, src);
            }
            Op::Slct(ty, cty) => {
                let truth = self.not_negative(src[2], *cty);
                self.select(truth, *ty, dst, src);
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
            Op::Mbarrier(what, access) => self.mbarrier(*what, *access, dst, src),
            Op::CopyAsync(bytes, to, from) => self.copy_async(*bytes, *to, *from, src),
            Op::Barrier(_) => self.arrive(inst),
            // Control flow is `emit`'s; calls with slots are gone by now.
            Op::Bra(_) | Op::Brx(_) | Op::Call(..) | Op::Ret | Op::Exit | Op::Trap | Op::Collective(..) | Op::Yield => {
                self.illegal();
            }
        }
    }

    /// `setp`: of a packed type the low half goes to the first predicate and the high half to the second; else the second gets
    /// the opposite.
    fn setp(
        &mut self,
        (compare, ty, ftz): (Compare, Type, bool),
        logic: Option<Logic>,
        dst: &[Option<Reg>],
        src: &[Value],
    ) {
        if packed(ty) {
            for (n, &dst) in dst.iter().enumerate() {
                let truth = self.compare_half(compare, ty, n as u32, src);
                let truth = self.combine(logic, truth, src);
                self.write_truth(dst, truth);
            }
            return;
        }
        let truth = self.compare(compare, ty, ftz, src);
        let first = self.combine(logic, truth, src);
        let other = (dst.len() > 1).then(|| {
            let inverse = self.b.ins().bxor_imm_u(truth, 1);
            self.combine(logic, inverse, src)
        });
        self.write_truth(dst.first().copied().flatten(), first);
        if let Some(other) = other {
            self.write_truth(dst[1], other);
        }
    }

    /// `set`: a number for true and 0 for false, of a packed type in each half.
    fn set(
        &mut self,
        (compare, ty, ftz): (Compare, Type, bool),
        logic: Option<Logic>,
        to: Type,
        dst: Option<Reg>,
        src: &[Value],
    ) {
        if packed(ty) {
            let [low, high] = [0u32, 1].map(|n| {
                let truth = self.compare_half(compare, ty, n, src);
                let truth = self.combine(logic, truth, src);
                self.truth_value(truth, to, 16)
            });
            let value = self.join(low, high);
            self.write(dst, value);
            return;
        }
        let truth = self.compare(compare, ty, ftz, src);
        let truth = self.combine(logic, truth, src);
        let value = self.truth_value(truth, to, to.bits());
        self.write(dst, value);
    }

    fn truth_value(&mut self, truth: V, to: Type, bits: u32) -> V {
        let yes = self.iconst(bits, set_value(to));
        let no = self.iconst(bits, 0);
        self.b.ins().select(truth, yes, no)
    }

    /// The first source where a truth holds, else the second.
    fn select(&mut self, truth: V, ty: Type, dst: Option<Reg>, src: &[Value]) {
        let (a, b) = self.two(src[0], src[1], ty);
        let value = self.b.ins().select(truth, a, b);
        self.write(dst, value);
    }

    /// Whether a number is 0 or more, as `slct` asks.
    fn not_negative(&mut self, value: Value, ty: Type) -> V {
        match ty {
            Type::F32 => {
                let value = self.source(value, Type::F32);
                let zero = self.b.ins().f32const(0.0);
                self.b.ins().fcmp(FloatCC::GreaterThanOrEqual, value, zero)
            }
            _ => {
                let value = self.int(value, 32);
                self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, value, 0)
            }
        }
    }

    /// A source in whatever kind its register has, if the width is right.
    pub(super) fn moved(&mut self, value: Value, ty: Type) -> V {
        if let Value::Reg(reg) = value {
            let raw = self.read(reg);
            if self.b.func.dfg.value_type(raw).bits() == ty.bits() {
                return raw;
            }
        }
        if ty == Type::B128 { self.int(value, 128) } else { self.source(value, ty) }
    }

    /// Two sources of one kind, so that they can be selected between.
    pub(super) fn two(&mut self, a: Value, b: Value, ty: Type) -> (V, V) {
        let first = self.moved(a, ty);
        let k = self.b.func.dfg.value_type(first);
        let second = match (b, k.is_float()) {
            (_, true) => self.float(b, k),
            _ => self.int(b, k.bits()),
        };
        (first, second)
    }

    pub(super) fn pack(&mut self, ty: Type, dst: Option<u32>, src: &[Value]) {
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

    pub(super) fn unpack(&mut self, ty: Type, inst: &Inst) {
        let part = ty.bits() / inst.dst.len() as u32;
        let value = self.int(inst.src[0], ty.bits());
        for (n, &dst) in inst.dst.iter().enumerate() {
            let moved = if n == 0 { value } else { self.b.ins().ushr_imm_u(value, i64::from(part) * n as i64) };
            let piece = self.coerce(moved, int_kind(part), false);
            self.write(dst, piece);
        }
    }

    pub(super) fn combine(&mut self, logic: Option<Logic>, truth: V, src: &[Value]) -> V {
        let Some(logic) = logic else { return truth };
        let other = self.int(src[2], 8);
        match logic {
            Logic::And => self.b.ins().band(truth, other),
            Logic::Or => self.b.ins().bor(truth, other),
            Logic::Xor => self.b.ins().bxor(truth, other),
        }
    }

    pub(super) fn compare(&mut self, compare: Compare, ty: Type, ftz: bool, src: &[Value]) -> V {
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
