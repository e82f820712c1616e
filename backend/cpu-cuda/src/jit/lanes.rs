//! Four threads of a row at once, where a kernel is simple enough that they never part.
//!
//! That is: it loads, computes with and stores `.f32` numbers that lie side by side, and all its branches are decided
//! the same way by all threads of the row. `plan` finds such kernels; `lane_test` adds to the row's test that the
//! first and the last thread agree on each comparison of order, between which it then cannot change; and the row is
//! run by a third function of the same body whose registers hold four numbers. Each is computed as it would be alone.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F32X4, I32};
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData};

use crate::jit::emit::Emit;
use crate::jit::flow::{Constancy, pure};
use crate::jit::rows::{Ends, Linear, Span};
use crate::ptx::ir::{Access, Alu, Body, Float, Inst, Op, Reg, Value};
use crate::ptx::types::{Compare, Type};

/// Threads that are run at once.
pub const LANES: i64 = 4;

/// A comparison by order of a number that grows, or falls, along the row with one that stays.
struct Order {
    predicate: Reg,
    moving: Value,
    bits: u32,
    signed: bool,
    stride: i64,
}

/// What is tested before a row's threads run four at a time.
pub struct Plan {
    orders: Vec<Order>,
}

/// What is known of the registers of a body while it is looked through.
struct Search<'b> {
    linear: &'b Linear<'b>,
    spans: &'b [Span],
    /// The same for all threads of a row, if the orders hold.
    same: Vec<bool>,
    /// Holds four numbers.
    wide: Vec<bool>,
    orders: Vec<Order>,
}

/// How to run a kernel four threads at a time, if it can be.
pub fn plan(body: &Body, constant: &[Constancy], linear: &Linear<'_>, spans: &[Span]) -> Option<Plan> {
    let none = || vec![false; body.regs.len()];
    let mut search = Search { linear, spans, same: none(), wide: none(), orders: Vec::new() };
    // Stores of a kernel that only loops would be scattered; what is left is found in one pass.
    for inst in &body.insts {
        let early = matches!(&inst.dst[..], &[Some(dst)] if constant[dst as usize] != Constancy::Varies)
            && inst.guard.is_none()
            && pure(&inst.op);
        if early { search.early(inst) } else { search.wide(inst).then_some(())? }
    }
    Some(Plan { orders: search.orders })
}

impl Search<'_> {
    fn is_same(&self, value: Value) -> bool {
        match value {
            Value::Reg(r) | Value::NotReg(r) => self.same[r as usize],
            Value::Int(_) | Value::In(_) => true,
            other => self.linear.stride(other, 32) == Some(0),
        }
    }

    /// An operation that is done before the body, with scalars.
    fn early(&mut self, inst: &Inst) {
        let &[Some(dst)] = &inst.dst[..] else { return };
        let mut same = self.linear.strides[dst as usize] == Some(0) || inst.src.iter().all(|&v| self.is_same(v));
        if let Op::Setp(compare, None, ty, _) = &inst.op
            && !same
            && matches!(ty.bits(), 32 | 64)
            && !ty.is_float()
            && matches!(compare, Compare::Lt | Compare::Le | Compare::Gt | Compare::Ge)
        {
            let (a, b, bits) = (inst.src[0], inst.src[1], ty.bits());
            let moving = if self.is_same(b) { a } else { b };
            let other = if self.is_same(b) { b } else { a };
            if let Some(stride) = self.linear.stride(moving, bits)
                && stride != 0
                && self.is_same(other)
            {
                self.orders.push(Order { predicate: dst, moving, bits, signed: ty.is_signed(), stride });
                same = true;
            }
        }
        self.same[dst as usize] = same;
    }

    fn operand(&self, value: Value) -> bool {
        match value {
            Value::Reg(r) => self.wide[r as usize] || self.same[r as usize],
            Value::Int(_) => true,
            _ => false,
        }
    }

    fn access(&self, access: Access, base: Value, strides: &[i64]) -> bool {
        let stride = self.linear.stride(base, 64);
        access.ty == Type::F32
            && !access.strong
            && stride.is_some_and(|s| strides.contains(&s))
            && self.spans.iter().any(|s| s.covers(base, access.offset, 4))
    }

    /// Whether an operation of the body can be done for four threads.
    fn wide(&mut self, inst: &Inst) -> bool {
        if let Some(guard) = inst.guard
            && !(self.same[guard.reg as usize] && matches!(inst.op, Op::Bra(_) | Op::Ret | Op::Exit))
        {
            return false;
        }
        let good = match &inst.op {
            Op::Nop | Op::Bra(_) | Op::Ret | Op::Exit => return true,
            Op::Load(access) => inst.dst.len() == 1 && self.access(*access, inst.src[0], &[0, 4]),
            Op::Store(access) => {
                return inst.src.len() == 2 && self.access(*access, inst.src[0], &[4]) && self.operand(inst.src[1]);
            }
            Op::Mov(ty) => ty.bits() == 32 && self.operand(inst.src[0]),
            Op::Alu(alu, Type::F32, mods) => {
                let known = match alu {
                    Alu::Add | Alu::Sub | Alu::Mul | Alu::Div | Alu::Sqrt | Alu::Neg => true,
                    Alu::Fma => fused(),
                    _ => false,
                };
                known && *mods == Float::default() && inst.src.iter().all(|&v| self.operand(v))
            }
            _ => false,
        };
        let &[Some(dst)] = &inst.dst[..] else { return false };
        // A register is either, in all of the body.
        self.wide[dst as usize] = good && self.linear.body.regs[dst as usize].bits() == 32;
        self.wide[dst as usize]
    }
}

/// The host has fused multiplication on vectors.
fn fused() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl Emit<'_, '_, '_> {
    /// Goes on in the current block if the threads of the row never part, else to `no`.
    pub(super) fn lane_test(&mut self, plan: &Plan, ends: &Ends, no: ir::Block) {
        for order in &plan.orders {
            let [first, last] = [0, 1].map(|end| self.at_end(ends, end, order.moving, order.bits));
            self.ordered(first, last, order.stride, order.signed, no);
            let [first, last] = [0, 1].map(|end| self.at_end(ends, end, Value::Reg(order.predicate), 8));
            let agreed = self.b.ins().icmp(IntCC::Equal, first, last);
            self.go_on_if(agreed, no);
        }
    }

    /// As `row`, for a number of threads that is a multiple of four.
    pub(super) fn lanes(&mut self, args: &[ir::Value], constant: &[Constancy]) {
        let &[_, first, from, y, z, end] = args else { return };
        self.thread.frame_offset = self.iconst(64, 0);
        self.hoist(constant, Constancy::Block);
        let turn = self.b.create_block();
        let x = self.b.append_block_param(turn, I32);
        self.b.ins().jump(turn, &[BlockArg::Value(from)]);
        self.b.switch_to_block(turn);
        self.thread.linear = first;
        self.thread.tid = [x, y, z];
        self.hoist(constant, Constancy::Thread);
        for (reg, known) in self.known.iter().enumerate() {
            if known.is_none() {
                self.kinds[reg] = F32X4;
            }
        }
        self.lane_blocks();
        self.b.switch_to_block(self.latch);
        let next = self.b.ins().iadd_imm_s(x, LANES);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, next, end);
        let done = self.b.create_block();
        self.b.ins().brif(more, turn, &[BlockArg::Value(next)], done, &[]);
        self.b.switch_to_block(done);
        let ok = self.iconst(32, 0);
        self.b.ins().return_(&[ok]);
        self.fault_return(first);
    }

    fn lane_blocks(&mut self) {
        let flow = self.flow;
        let zero = self.b.ins().f32const(0.0);
        let zero = self.b.ins().splat(F32X4, zero);
        for reg in flow.live_in[0].iter() {
            if self.known[reg as usize].is_none() {
                self.define(reg, zero);
            }
        }
        self.blocks = flow.blocks.iter().map(|_| self.b.create_block()).collect();
        let first = self.blocks[0];
        self.b.ins().jump(first, &[]);
        for (index, block) in flow.blocks.iter().enumerate() {
            if !block.reachable {
                continue;
            }
            self.b.switch_to_block(self.blocks[index]);
            let mut open = true;
            for inst in &self.body.insts[block.start..block.end] {
                self.line = inst.line;
                open = match inst.op {
                    Op::Bra(_) | Op::Ret | Op::Exit => self.instruction(inst, index),
                    _ => {
                        self.lane_operation(inst);
                        true
                    }
                };
            }
            if open {
                let next = block.next.last().map_or(self.latch, |&next| self.blocks[next]);
                self.b.ins().jump(next, &[]);
            }
        }
    }

    /// A source for four threads.
    fn four(&mut self, value: Value) -> ir::Value {
        if let Value::Reg(r) = value
            && self.known[r as usize].is_none()
        {
            return self.read(r);
        }
        let one = self.float(value, F32);
        self.b.ins().splat(F32X4, one)
    }

    fn lane_operation(&mut self, inst: &Inst) {
        let flags = MemFlagsData::new().with_notrap();
        let value = match &inst.op {
            Op::Store(access) => {
                let place = self.place(*access, inst.src[0], 4, true);
                let value = self.four(inst.src[1]);
                self.b.ins().store(flags, value, place.base, place.offset);
                return;
            }
            _ if !matches!(&inst.dst[..], &[Some(dst)] if self.known[dst as usize].is_none()) => return,
            Op::Load(access) => {
                let place = self.place(*access, inst.src[0], 4, false);
                if self.unchecked.iter().any(|s| s.is_fixed(inst.src[0])) {
                    let one = self.b.ins().load(F32, flags, place.base, place.offset);
                    self.b.ins().splat(F32X4, one)
                } else {
                    self.b.ins().load(F32X4, flags, place.base, place.offset)
                }
            }
            Op::Mov(_) => self.four(inst.src[0]),
            Op::Alu(alu, ..) => {
                let a: Vec<ir::Value> = inst.src.iter().map(|&v| self.four(v)).collect();
                match alu {
                    Alu::Add => self.b.ins().fadd(a[0], a[1]),
                    Alu::Sub => self.b.ins().fsub(a[0], a[1]),
                    Alu::Mul => self.b.ins().fmul(a[0], a[1]),
                    Alu::Div => self.b.ins().fdiv(a[0], a[1]),
                    Alu::Fma => self.b.ins().fma(a[0], a[1], a[2]),
                    Alu::Sqrt => self.b.ins().sqrt(a[0]),
                    Alu::Neg => self.b.ins().fneg(a[0]),
                    _ => return self.illegal(),
                }
            }
            _ => return,
        };
        if let &[Some(dst)] = &inst.dst[..] {
            self.define(dst, value);
        }
    }
}
