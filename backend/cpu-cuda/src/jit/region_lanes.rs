//! Regions whose threads run four at a time.
//!
//! As `lanes` does with kernels in which nobody waits: where what is done from one place to the next is loading,
//! computing with and storing `.f32` numbers that lie side by side, four neighbours of a row do it at once. Their registers
//! are taken from four frames and put back there. What has to hold is tested for each four: they are in one row, agree on
//! each branch, and reach only what is the launch's; if not, the first of them runs alone.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F32X4, I32, I64};
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData};

use crate::jit::emit::{Emit, field};
use crate::jit::flow::Constancy;
use crate::jit::groups::Group;
use crate::jit::kinds::coordinates_used;
use crate::jit::lanes::{self, LANES, Reach, Search};
use crate::jit::rows::{Ends, Growth, Linear};
use crate::jit::shuffles::{self, Direct};
use crate::ptx::ir::{Access, Inst, Op, Reg, Value};

/// Groups of accesses tested for four threads, at most.
const MAX_GROUPS: usize = 8;

/// What is tested before four threads run a region.
pub struct Plan {
    orders: lanes::Plan,
    groups: Vec<Group>,
    still: Vec<Value>,
}

/// Collects accesses into groups.
#[derive(Default)]
struct Groups {
    all: Vec<Group>,
    still: Vec<Value>,
}

impl Reach for Groups {
    fn access(&mut self, access: Access, base: Value, stride: i64) -> bool {
        let Value::Reg(reg) = base else { return false };
        let apart = (LANES - 1) * stride;
        if stride == 0 && !self.still.contains(&base) {
            self.still.push(base);
        }
        if self.all.iter_mut().any(|group| group.join(access, reg, 4, apart)) {
            return true;
        }
        let fits = self.all.len() < MAX_GROUPS;
        match Group::new(access, reg, 4, apart) {
            Some(group) if fits => {
                self.all.push(group);
                true
            }
            _ => false,
        }
    }
}

/// From where to where a region goes.
pub struct Way {
    /// Its first block.
    pub start: usize,
    /// The block behind the place where it ends.
    pub behind: usize,
    /// The direct shuffle that it begins with, and the instruction's number.
    pub from: Option<(usize, Direct)>,
    /// The direct shuffle that it ends at.
    pub to: Option<Direct>,
}

impl Emit<'_, '_, '_> {
    /// How the region of these blocks can be run four threads at a time, if it can be.
    pub(super) fn region_plan(
        &self,
        inside: &[bool],
        way: &Way,
        constant: &[Constancy],
        linear: &Linear<'_>,
    ) -> Option<Plan> {
        let (body, flow) = (self.body, self.flow);
        let holds_f32 = |reg: Reg| self.kinds[reg as usize] == F32;
        let mut search = Search::new(linear, constant, Groups::default());
        if let Some((at, direct)) = way.from {
            let &[Some(dst)] = &body.insts[at].dst[..] else { return None };
            if !direct.is_wide() || !holds_f32(dst) || shuffles::operand(&body.insts[at]).is_some_and(|r| !holds_f32(r))
            {
                return None;
            }
            search.wide[dst as usize] = true;
        }
        for reg in flow.live_in[way.start].iter() {
            search.wide[reg as usize] = holds_f32(reg) && constant[reg as usize] == Constancy::Varies;
        }
        // At the start all that is alive goes to the frames.
        let saved = |reg: Reg| constant[reg as usize] != Constancy::Varies || holds_f32(reg);
        if way.start == 0 && !flow.live_in[way.behind].iter().all(saved) {
            return None;
        }
        for (block, _) in flow.blocks.iter().zip(inside).filter(|(_, inside)| **inside) {
            for inst in &body.insts[block.start..block.end] {
                let good = lanes::is_early(inst, constant)
                    || plain_barrier(inst)
                    || way.to.is_some() && inst.suspends() && search.operand(inst.src[0])
                    || search.wide(inst) && inst.defs().all(holds_f32);
                if !good {
                    return None;
                }
            }
        }
        if search.reach.all.is_empty() && way.from.is_none() || !coordinates_used(body)[0] {
            return None;
        }
        let Groups { all, still } = std::mem::take(&mut search.reach);
        Some(Plan { groups: all, still, orders: search.plan() })
    }

    /// The head in front of a region's: runs four threads at a time where it can, else goes to `alone` with one.
    /// `behind` is the block behind the place where the region ends.
    pub(super) fn region_lanes(
        &mut self,
        plan: &Plan,
        [head, alone]: [ir::Block; 2],
        way: &Way,
        constant: &[Constancy],
        growths: &[Growth],
        last: ir::Value,
    ) {
        for _ in 0..4 {
            self.b.append_block_param(head, I32);
        }
        let params = self.b.block_params(head).to_vec();
        let one = self.b.create_block();
        self.b.switch_to_block(one);
        let same: Vec<BlockArg> = params.iter().copied().map(BlockArg::Value).collect();
        self.b.ins().jump(alone, &same);
        self.b.switch_to_block(head);
        let odd = self.b.ins().band_imm_u(params[0], LANES - 1);
        let even = self.b.ins().icmp_imm_u(IntCC::Equal, odd, 0);
        self.go_on_if(even, one);
        let end = self.b.ins().iadd_imm_s(params[0], LANES);
        let enough = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, end, last);
        self.go_on_if(enough, one);
        let end = self.b.ins().iadd_imm_s(params[1], LANES);
        let one_row = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, end, self.entry.ntid[0]);
        self.go_on_if(one_row, one);
        let general = (self.known.clone(), self.kinds.clone(), std::mem::take(&mut self.blocks), self.latch);
        let final_x = self.b.ins().iadd_imm_s(params[1], LANES - 1);
        let x = [params[1], final_x];
        let known = [1, 0].map(|end| {
            self.known.clone_from(&general.0);
            self.enter_thread(&params);
            self.thread.tid[0] = x[end];
            self.hoist(constant, Constancy::Thread);
            self.known.clone()
        });
        let [final_known, first_known] = known;
        let ends = Ends { known: [first_known.clone(), final_known], x };
        self.growth_test(growths, &ends, one);
        self.lane_test(&plan.orders, &ends, one);
        self.known = first_known;
        self.thread.tid[0] = x[0];
        for group in &plan.groups {
            let good = self.group_test(group);
            self.go_on_if(good, one);
        }
        let shuffled = way.from.map(|(at, direct)| (at, direct, self.four_shuffled(direct, one)));
        let variables = std::mem::replace(&mut self.variables, vec![None; self.body.regs.len()]);
        for (reg, known) in self.known.iter().enumerate() {
            if known.is_none() && self.kinds[reg] == F32 {
                self.kinds[reg] = F32X4;
            }
        }
        self.grouped.clone_from(&plan.groups);
        self.still.clone_from(&plan.still);
        self.latch = self.b.create_block();
        self.lane_region(way, shuffled);
        self.grouped.clear();
        self.still.clear();
        self.b.switch_to_block(self.latch);
        let next = self.b.ins().iadd_imm_s(params[0], LANES);
        let next_x = self.b.ins().iadd_imm_s(params[1], LANES);
        let wraps = self.b.ins().icmp(IntCC::Equal, next_x, self.entry.ntid[0]);
        let none = self.b.ins().iconst(I32, 0);
        let x = self.b.ins().select(wraps, none, next_x);
        let [y, z] = self.step_row(wraps, [params[2], params[3]]);
        self.b.ins().jump(head, &[next, x, y, z].map(BlockArg::Value));
        self.variables = variables;
        (self.known, self.kinds, self.blocks, self.latch) = general;
    }

    /// The code of the region for four threads.
    fn lane_region(&mut self, way: &Way, shuffled: Option<(usize, Direct, ir::Value)>) {
        let (body, flow) = (self.body, self.flow);
        let Some(region) = &self.region else { return };
        let (inside, read, written) = (region.inside.clone(), region.read.clone(), region.written.clone());
        let frames = self.four_frames();
        let mut exchanged = None;
        if let Some((at, direct, word)) = shuffled {
            let inst = &body.insts[at];
            let value = self.b.ins().load(F32X4, MemFlagsData::trusted(), word, 0);
            inst.defs().for_each(|reg| self.define(reg, value));
            let own = self.own_word(direct);
            exchanged = shuffles::operand(inst).filter(|&reg| inst.defs().all(|r| r != reg)).map(|reg| (reg, own));
        }
        let results: Vec<Reg> = shuffled.iter().flat_map(|(at, ..)| body.insts[*at].defs()).collect();
        for reg in flow.live_in[way.start].iter().filter(|reg| !results.contains(reg)) {
            let index = reg as usize;
            if self.known[index].is_some() || self.kinds[index] != F32X4 || !(read[index] || written[index]) {
                continue;
            }
            let value = if let Some((_, own)) = exchanged.filter(|(exchanged, _)| *exchanged == reg) {
                self.b.ins().load(F32X4, MemFlagsData::trusted(), own, 0)
            } else if way.start == 0 {
                let zero = self.b.ins().f32const(0.0);
                self.b.ins().splat(F32X4, zero)
            } else {
                let at = self.slot(reg);
                self.gather(frames, at)
            };
            self.define(reg, value);
        }
        self.blocks = flow.blocks.iter().map(|_| self.b.create_block()).collect();
        let first = self.blocks[way.start];
        self.b.ins().jump(first, &[]);
        for (index, block) in flow.blocks.iter().enumerate().filter(|(index, _)| inside[*index]) {
            self.b.switch_to_block(self.blocks[index]);
            let mut open = true;
            for inst in &self.body.insts[block.start..block.end] {
                self.line = inst.line;
                open = match inst.op {
                    Op::Bra(_) => self.instruction(inst, index),
                    _ if inst.suspends() => {
                        let exchanged = way.to.and_then(|direct| self.leave_four(direct, inst));
                        self.put_back(frames, way.behind, &written, exchanged);
                        false
                    }
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

    /// Saves what is alive behind the region's end, and goes to the next four.
    fn put_back(&mut self, frames: [ir::Value; 4], behind: usize, written: &[bool], exchanged: Option<Reg>) {
        let flow = self.flow;
        for reg in flow.live_in[behind].iter().filter(|&reg| exchanged != Some(reg)) {
            if self.known[reg as usize].is_some() || !written[reg as usize] || self.kinds[reg as usize] != F32X4 {
                continue;
            }
            let value = self.read(reg);
            let at = self.slot(reg);
            for (lane, frame) in (0..).zip(frames) {
                let one = self.b.ins().extractlane(value, lane);
                self.b.ins().store(MemFlagsData::trusted(), one, frame, at);
            }
        }
        self.b.ins().jump(self.latch, &[]);
    }

    /// Leaves the operands of four threads for a direct shuffle; the register that holds them.
    fn leave_four(&mut self, direct: Direct, inst: &Inst) -> Option<Reg> {
        let value = self.four(inst.src[0]);
        let word = self.own_word(direct);
        self.b.ins().store(MemFlagsData::trusted(), value, word, 0);
        shuffles::operand(inst)
    }

    fn four_frames(&mut self) -> [ir::Value; 4] {
        let frame = self.frame();
        let stride = self.b.ins().load(I64, MemFlagsData::trusted(), self.context, field!(frame_stride));
        let second = self.b.ins().iadd(frame, stride);
        let third = self.b.ins().iadd(second, stride);
        [frame, second, third, self.b.ins().iadd(third, stride)]
    }

    fn gather(&mut self, frames: [ir::Value; 4], at: i32) -> ir::Value {
        let one = frames.map(|frame| self.b.ins().load(F32, MemFlagsData::trusted(), frame, at));
        let mut four = self.b.ins().splat(F32X4, one[0]);
        for (lane, &value) in (0..).zip(&one).skip(1) {
            four = self.b.ins().insertlane(four, value, lane);
        }
        four
    }
}

/// A barrier of the whole block that takes and gives nothing.
pub fn plain_barrier(inst: &Inst) -> bool {
    let Op::Barrier(barrier) = &inst.op else { return false };
    let plain = !(barrier.arrive || barrier.counted || barrier.cluster) && barrier.reduce.is_none();
    plain && inst.guard.is_none() && matches!(inst.src[..], [Value::Int(_)])
}
