//! Four threads of a row at once, where a kernel is simple enough that they never part.
//!
//! That is: it loads, computes with and stores `.f32` numbers that lie side by side, and all its branches are decided
//! the same way by all threads of the row. `plan` finds such kernels; `lane_test` adds to the row's test that the
//! first and the last thread agree on each comparison of order, between which it then cannot change; and the row is
//! run by a third function of the same body whose registers hold four numbers. Each is computed as it would be alone.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F32X4, I32};
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData};

use crate::jit::emit::Emit;
use crate::jit::flow::{Block, Constancy, pure};
use crate::jit::rows::{Ends, Linear, Span};
use crate::ptx::ir::{Access, Alu, Body, Float, Inst, Op, Reg, Value};
use crate::ptx::types::{Compare, Space, Type};

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

/// Which accesses can be done for four threads at once, where their addresses are the same or lie side by side.
pub(super) trait Reach {
    /// Whether this one can; the address moves by `stride` from one thread to the next.
    fn access(&mut self, access: Access, base: Value, stride: i64) -> bool;
}

impl Reach for &[Span] {
    fn access(&mut self, access: Access, base: Value, _stride: i64) -> bool {
        self.iter().any(|s| s.covers(base, access.offset, 4))
    }
}

/// What is known of the registers of a body while it is looked through.
pub(super) struct Search<'b, R> {
    linear: &'b Linear<'b>,
    /// What can be reached.
    pub reach: R,
    /// The same for all threads of a row, if the orders hold that it needs.
    same: Vec<bool>,
    /// Orders by their number, of registers that are the same only with them.
    needs: HashMap<Reg, Vec<usize>>,
    /// Holds four numbers.
    pub wide: Vec<bool>,
    orders: Vec<Order>,
    used: Vec<bool>,
}

/// How to run a kernel four threads at a time, if it can be.
pub fn plan(body: &Body, constant: &[Constancy], linear: &Linear<'_>, spans: &[Span]) -> Option<Plan> {
    let mut search = Search::new(linear, constant, spans);
    // Stores of a kernel that only loops would be scattered; what is left is found in one pass.
    body.insts.iter().filter(|inst| !is_early(inst, constant)).all(|inst| search.wide(inst)).then_some(())?;
    Some(search.plan())
}

/// Whether an operation is done before the body.
pub(super) fn is_early(inst: &Inst, constant: &[Constancy]) -> bool {
    matches!(&inst.dst[..], &[Some(dst)] if constant[dst as usize] != Constancy::Varies)
        && inst.guard.is_none()
        && pure(&inst.op)
}

impl<'b, R: Reach> Search<'b, R> {
    /// Looks at what is done before the body.
    pub fn new(linear: &'b Linear<'b>, constant: &[Constancy], reach: R) -> Search<'b, R> {
        let none = || vec![false; linear.body.regs.len()];
        let (same, wide) = (none(), none());
        let mut search =
            Search { linear, reach, same, needs: HashMap::new(), wide, orders: Vec::new(), used: Vec::new() };
        linear.body.insts.iter().filter(|inst| is_early(inst, constant)).for_each(|inst| search.early(inst));
        search.used = vec![false; search.orders.len()];
        search
    }

    /// The orders that what was looked at needs.
    pub fn plan(self) -> Plan {
        let used = self.orders.into_iter().zip(self.used).filter(|(_, used)| *used);
        Plan { orders: used.map(|(order, _)| order).collect() }
    }

    fn is_same(&self, value: Value) -> bool {
        match value {
            Value::Reg(r) | Value::NotReg(r) => self.same[r as usize],
            Value::Int(_) | Value::In(_) => true,
            other => self.linear.stride(other, 32) == Some(0),
        }
    }

    /// Whether a register is the same for all threads, which is then relied on.
    fn relies_on(&mut self, reg: Reg) -> bool {
        for &order in self.needs.get(&reg).into_iter().flatten() {
            self.used[order] = true;
        }
        self.same[reg as usize]
    }

    /// An operation that is done before the body, with scalars.
    fn early(&mut self, inst: &Inst) {
        let &[Some(dst)] = &inst.dst[..] else { return };
        let still = self.linear.strides[dst as usize] == Some(0);
        let mut same = still || inst.src.iter().all(|&v| self.is_same(v));
        let mut needs: Vec<usize> = match same && !still {
            true => inst.uses().filter_map(|r| self.needs.get(&r)).flatten().copied().collect(),
            false => Vec::new(),
        };
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
                needs.push(self.orders.len());
                self.orders.push(Order { predicate: dst, moving, bits, signed: ty.is_signed(), stride });
                same = true;
            }
        }
        self.same[dst as usize] = same;
        if !needs.is_empty() {
            self.needs.insert(dst, needs);
        }
    }

    /// Whether a source can be had for four threads.
    pub fn operand(&mut self, value: Value) -> bool {
        match value {
            Value::Reg(r) => self.wide[r as usize] || self.relies_on(r),
            Value::Int(_) => true,
            _ => false,
        }
    }

    fn access(&mut self, access: Access, base: Value, strides: &[i64]) -> bool {
        // Places in shared memory are often numbers of 32 bits; where the test holds, none of them wraps.
        let narrow = || self.linear.stride(base, 32).filter(|_| access.space == Space::Shared);
        let stride = self.linear.stride(base, 64).or_else(narrow).filter(|s| strides.contains(s));
        access.ty == Type::F32 && !access.strong && stride.is_some_and(|s| self.reach.access(access, base, s))
    }

    /// Whether an operation of the body can be done for four threads.
    pub fn wide(&mut self, inst: &Inst) -> bool {
        if let Some(guard) = inst.guard
            && !(self.relies_on(guard.reg) && matches!(inst.op, Op::Bra(_) | Op::Ret | Op::Exit))
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
                self.fall_through(block);
            }
        }
    }

    /// Goes on behind a block that does not say where: with the next one, or with the next four threads.
    pub(super) fn fall_through(&mut self, block: &Block) {
        let next = block.next.last().map_or(self.latch, |&next| self.blocks[next]);
        self.b.ins().jump(next, &[]);
    }

    /// A source for four threads.
    pub(super) fn four(&mut self, value: Value) -> ir::Value {
        if let Value::Reg(r) = value
            && self.known[r as usize].is_none()
        {
            return self.read(r);
        }
        let one = self.float(value, F32);
        self.b.ins().splat(F32X4, one)
    }

    pub(super) fn lane_operation(&mut self, inst: &Inst) {
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
                if self.still.contains(&inst.src[0]) {
                    let one = self.b.ins().load(F32, flags, place.base, place.offset);
                    self.b.ins().splat(F32X4, one)
                } else {
                    self.b.ins().load(F32X4, flags, place.base, place.offset)
                }
            }
            Op::Mov(_) => self.four(inst.src[0]),
            Op::Alu(alu, ..) => {
                let a: Vec<ir::Value> = inst.src.iter().map(|&v| self.four(v)).collect();
                match self.float_value(*alu, Float::default(), &a) {
                    Some(value) => value,
                    None => return self.illegal(),
                }
            }
            _ => return,
        };
        if let &[Some(dst)] = &inst.dst[..] {
            self.define(dst, value);
        }
    }
}
