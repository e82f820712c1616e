//! Atomics: the host's, except on shared memory, whose threads all run on one host thread.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{self, AtomicRmwOp, BlockArg, InstBuilder, MemFlagsData};

use crate::jit::emit::Emit;
use crate::jit::kinds::int_kind;
use crate::jit::memory::Place;
use crate::jit::{runtime_atomic, runtime_barrier};
use crate::ptx::ir::{Access, Alu, Float, Inst, Mbarrier, Value};
use crate::ptx::types::{AtomicOp, Space, Type};

type V = ir::Value;

impl Emit<'_, '_, '_> {
    /// `atom` and `red`.
    pub fn atomic(&mut self, access: Access, op: AtomicOp, dst: Option<u32>, src: &[Value]) {
        let ty = access.ty;
        let bits = ty.bits();
        let place = self.place(access, src[0], bits / 8, true);
        if bits == 128 {
            return self.atomic_wide(place, op, dst, src);
        }
        let k = int_kind(bits);
        let operand = self.int(src[1], bits);
        if access.space == Space::Shared {
            let old = self.b.ins().load(k, MemFlagsData::trusted(), place.base, place.offset);
            let new = if op == AtomicOp::Cas {
                let new = self.int(src[2], bits);
                let equal = self.b.ins().icmp(IntCC::Equal, old, operand);
                Some(self.b.ins().select(equal, new, old))
            } else {
                self.updated(op, ty, old, operand)
            };
            let Some(new) = new else { return self.illegal() };
            self.b.ins().store(MemFlagsData::trusted(), new, place.base, place.offset);
            return self.write(dst, old);
        }
        let address =
            if place.offset == 0 { place.base } else { self.b.ins().iadd_imm_s(place.base, i64::from(place.offset)) };
        let flags = MemFlagsData::trusted();
        if op == AtomicOp::Cas {
            let new = self.int(src[2], bits);
            let old = self.b.ins().atomic_cas(flags, address, operand, new);
            return self.write(dst, old);
        }
        let simple = match op {
            _ if ty.is_float() && op != AtomicOp::Exch => None,
            AtomicOp::Add => Some(AtomicRmwOp::Add),
            AtomicOp::And => Some(AtomicRmwOp::And),
            AtomicOp::Or => Some(AtomicRmwOp::Or),
            AtomicOp::Xor => Some(AtomicRmwOp::Xor),
            AtomicOp::Exch => Some(AtomicRmwOp::Xchg),
            AtomicOp::Min if ty.is_signed() => Some(AtomicRmwOp::Smin),
            AtomicOp::Min => Some(AtomicRmwOp::Umin),
            AtomicOp::Max if ty.is_signed() => Some(AtomicRmwOp::Smax),
            AtomicOp::Max => Some(AtomicRmwOp::Umax),
            _ => None,
        };
        if let Some(simple) = simple {
            let old = self.b.ins().atomic_rmw(k, flags, simple, address, operand);
            return self.write(dst, old);
        }
        // Compute and compare-exchange until nobody came between.
        let first = self.b.ins().atomic_load(k, flags, address);
        let again = self.b.create_block();
        let done = self.b.create_block();
        self.b.append_block_param(again, k);
        self.b.ins().jump(again, &[BlockArg::Value(first)]);
        self.b.switch_to_block(again);
        let old = self.b.block_params(again)[0];
        let Some(new) = self.updated(op, ty, old, operand) else {
            self.illegal();
            self.b.ins().jump(done, &[]);
            self.b.switch_to_block(done);
            return;
        };
        let seen = self.b.ins().atomic_cas(flags, address, old, new);
        let same = self.b.ins().icmp(IntCC::Equal, seen, old);
        self.b.ins().brif(same, done, &[], again, &[BlockArg::Value(seen)]);
        self.b.switch_to_block(done);
        self.write(dst, old);
    }

    /// `atom.b128`, by a helper: the host's instruction is not one the code generator has.
    fn atomic_wide(&mut self, place: Place, op: AtomicOp, dst: Option<u32>, src: &[Value]) {
        let address = self.b.ins().iadd_imm_s(place.base, i64::from(place.offset));
        let flags = MemFlagsData::trusted();
        let record = self.scratch(2, 48);
        for (n, &value) in src[1..].iter().enumerate() {
            let value = self.int(value, 128);
            self.b.ins().store(flags, value, record, 16 * n as i32);
        }
        let exchange = self.iconst(32, u64::from(op == AtomicOp::Exch));
        self.helper(runtime_atomic::wide as *const (), &[address, record, exchange], None);
        if dst.is_some() {
            let old = self.b.ins().load(ir::types::I128, flags, record, 32);
            self.write(dst, old);
        }
    }

    /// `mbarrier`.
    pub fn mbarrier(&mut self, what: Mbarrier, access: Access, dst: Option<u32>, src: &[Value]) {
        if what == Mbarrier::Pending {
            let state = self.int(src[0], 64);
            let Some(count) = self.helper(runtime_barrier::pending as *const (), &[state], Some(I32)) else {
                return self.illegal();
            };
            return self.write(dst, count);
        }
        let place = self.place(access, src[0], 8, true);
        let object = self.b.ins().iadd_imm_s(place.base, i64::from(place.offset));
        let operand = match what {
            Mbarrier::Test => self.int(src[1], 64),
            _ => {
                let narrow = self.int(src[1], 32);
                self.b.ins().uextend(I64, narrow)
            }
        };
        let number = self.iconst(32, u64::from(runtime_barrier::number(what)));
        let answer = self.helper(runtime_barrier::operate as *const (), &[object, number, operand], Some(I64));
        let Some(answer) = answer else { return self.illegal() };
        match what {
            Mbarrier::Test | Mbarrier::TestParity => {
                let truth = self.b.ins().ireduce(I8, answer);
                self.write_truth(dst, truth);
            }
            _ => self.write(dst, answer),
        }
    }

    /// What an atomic writes.
    fn updated(&mut self, op: AtomicOp, ty: Type, old: V, operand: V) -> Option<V> {
        Some(match op {
            AtomicOp::Exch => operand,
            AtomicOp::And => self.b.ins().band(old, operand),
            AtomicOp::Or => self.b.ins().bor(old, operand),
            AtomicOp::Xor => self.b.ins().bxor(old, operand),
            AtomicOp::Inc => {
                let wrap = self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, old, operand);
                let zero = self.iconst(32, 0);
                let more = self.b.ins().iadd_imm_s(old, 1);
                self.b.ins().select(wrap, zero, more)
            }
            AtomicOp::Dec => {
                let none = self.b.ins().icmp_imm_u(IntCC::Equal, old, 0);
                let over = self.b.ins().icmp(IntCC::UnsignedGreaterThan, old, operand);
                let wrap = self.b.ins().bor(none, over);
                let less = self.b.ins().iadd_imm_s(old, -1);
                self.b.ins().select(wrap, operand, less)
            }
            AtomicOp::Add if !ty.is_float() => self.b.ins().iadd(old, operand),
            AtomicOp::Min if ty.is_signed() => self.b.ins().smin(old, operand),
            AtomicOp::Min if !ty.is_float() => self.b.ins().umin(old, operand),
            AtomicOp::Max if ty.is_signed() => self.b.ins().smax(old, operand),
            AtomicOp::Max if !ty.is_float() => self.b.ins().umax(old, operand),
            AtomicOp::Add if matches!(ty, Type::F32 | Type::F64) => {
                let a = self.float_of(old);
                let b = self.float_of(operand);
                let sum = self.b.ins().fadd(a, b);
                self.bits_of(sum)
            }
            AtomicOp::Add | AtomicOp::Min | AtomicOp::Max => {
                let alu = match op {
                    AtomicOp::Add => Alu::Add,
                    AtomicOp::Min => Alu::Min,
                    _ => Alu::Max,
                };
                return self.half_pair(alu, ty, Float::default(), &[old, operand]);
            }
            AtomicOp::Cas => return None,
        })
    }

    /// `bar.arrive`: tells the executor, does not wait.
    pub fn arrive(&mut self, inst: &Inst) {
        let number = self.int(inst.src[0], 32);
        let count = match inst.src.get(1) {
            Some(&v) => self.int(v, 32),
            None => self.iconst(32, 0),
        };
        self.helper(crate::jit::runtime::barrier_arrive as *const (), &[self.context, number, count], None);
    }
}
