//! Threads that wait: leaving at a barrier, collective or yield, and coming back.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData};

use crate::jit::context::WAITING;
use crate::jit::emit::{Emit, field, fixed};
use crate::jit::shuffles;
use crate::jit::unit::Site;
use crate::ptx::ir::{Inst, Op, Reg};

/// A thread that spins gives others a turn after this many rounds (a power of two).
const YIELD_EVERY: u32 = 256;

impl Emit<'_, '_, '_> {
    /// The code in front of a thread's turn: is it its turn, and where was it?
    pub(super) fn dispatch_head(&mut self, _body_start: ir::Block) -> (ir::Block, ir::Value) {
        let states = self.b.ins().load(I64, fixed(), self.context, field!(states));
        let at = self.state_address(states);
        let state = self.b.ins().load(I32, MemFlagsData::trusted(), at, 0);
        let table = self.b.create_block();
        let skip = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, state, 0);
        self.b.ins().brif(skip, self.latch, &[], table, &[]);
        (table, state)
    }

    pub(super) fn dispatch_table(&mut self, state: ir::Value, body_start: ir::Block) {
        let resumes = std::mem::take(&mut self.resumes);
        let data = {
            let pool = &mut self.b.func.dfg.value_lists;
            let mut call = |block| ir::BlockCall::new(block, std::iter::empty(), pool);
            let start = call(body_start);
            let mut targets = vec![start];
            targets.extend(resumes.iter().map(|&r| call(r)));
            ir::JumpTableData::new(start, &targets)
        };
        let table = self.b.create_jump_table(data);
        self.b.ins().br_table(state, table);
    }

    pub(super) fn state_address(&mut self, states: ir::Value) -> ir::Value {
        let wide = self.b.ins().uextend(I64, self.thread.linear);
        let skip = self.b.ins().ishl_imm_u(wide, 2);
        self.b.ins().iadd(states, skip)
    }

    pub(super) fn set_state(&mut self, state: u32) {
        let states = self.b.ins().load(I64, fixed(), self.context, field!(states));
        let at = self.state_address(states);
        let value = self.iconst(32, u64::from(state));
        self.b.ins().store(MemFlagsData::trusted(), value, at, 0);
    }

    /// The running thread's frame.
    pub fn frame(&mut self) -> ir::Value {
        let frames = self.b.ins().load(I64, fixed(), self.context, field!(frames));
        let wide = self.b.ins().uextend(I64, self.thread.linear);
        let stride = self.b.ins().load(I64, fixed(), self.context, field!(frame_stride));
        let skip = self.b.ins().imul(wide, stride);
        self.b.ins().iadd(frames, skip)
    }

    /// The exchange, from thread 0 on.
    pub(super) fn exchange_start(&mut self) -> ir::Value {
        self.b.ins().load(I64, fixed(), self.context, field!(exchange))
    }

    /// The running thread's words of the exchange.
    pub(super) fn exchange(&mut self) -> ir::Value {
        let words = self.exchange_start();
        let wide = self.b.ins().uextend(I64, self.thread.linear);
        let skip = self.b.ins().ishl_imm_u(wide, 3);
        self.b.ins().iadd(words, skip)
    }

    /// Leaves the thread at `inst` until it is resumed behind it.
    pub(super) fn suspend(&mut self, inst: &Inst, index: usize) {
        let behind = index + 1;
        let next = self.blocks[behind];
        if !self.is_kernel {
            // Only yields get here: functions that wait are inlined.
            self.b.ins().jump(next, &[]);
            return;
        }
        if matches!(inst.op, Op::Yield) {
            // Mostly the thread keeps its turn.
            let fuel = self.b.ins().load(I32, MemFlagsData::trusted(), self.context, field!(yielded));
            let more = self.b.ins().iadd_imm_s(fuel, 1);
            self.b.ins().store(MemFlagsData::trusted(), more, self.context, field!(yielded));
            let low = self.b.ins().band_imm_u(more, i64::from(YIELD_EVERY - 1));
            let give = self.b.create_block();
            self.b.ins().brif(low, next, &[], give, &[]);
            self.b.switch_to_block(give);
        }
        let number = self.site_blocks[index].unwrap_or(self.sites.len() as u32);
        let frame = self.frame();
        let exchange = self.exchange();
        if self.region.is_some() {
            match self.direct[number as usize] {
                Some(direct) => self.leave_word(direct, inst.src[0]),
                None => drop(self.leave_operands(inst, exchange)),
            }
            return self.leave_region(inst, behind, frame, number);
        }
        let site = self.leave_operands(inst, exchange);
        let waits = !matches!(site, Site::Yield);
        self.sites.push(site);
        self.site_blocks[index] = Some(number);
        let flow = self.flow;
        let results: Vec<Reg> = if inst.guard.is_none() { inst.defs().collect() } else { Vec::new() };
        let alive: Vec<Reg> = flow.live_in[behind]
            .iter()
            .filter(|&r| self.known[r as usize].is_none() && !results.contains(&r))
            .collect();
        for &reg in &alive {
            let value = self.read(reg);
            let at = self.slot(reg);
            self.b.ins().store(MemFlagsData::trusted(), value, frame, at);
        }
        self.set_state(if waits { number | WAITING } else { number });
        self.b.ins().jump(self.latch, &[]);
        let resume = self.b.create_block();
        self.resumes.push(resume);
        self.b.switch_to_block(resume);
        let frame = self.frame();
        for &reg in &alive {
            let at = self.slot(reg);
            let value = self.b.ins().load(self.kinds[reg as usize], MemFlagsData::trusted(), frame, at);
            self.define(reg, value);
        }
        if !inst.dst.is_empty() {
            let exchange = self.exchange();
            self.take_results(inst, exchange);
        }
        self.b.ins().jump(next, &[]);
    }

    /// Leaves the thread at the end of a region.
    fn leave_region(&mut self, inst: &Inst, behind: usize, frame: ir::Value, number: u32) {
        let flow = self.flow;
        let results: Vec<Reg> = if inst.guard.is_none() { inst.defs().collect() } else { Vec::new() };
        let in_exchange = self.direct[number as usize].and_then(|_| shuffles::operand(inst));
        for reg in flow.live_in[behind].iter() {
            let held = results.contains(&reg) || in_exchange == Some(reg);
            if self.known[reg as usize].is_some() || held || !self.must_save(reg) {
                continue;
            }
            let value = self.read(reg);
            let at = self.slot(reg);
            self.b.ins().store(MemFlagsData::trusted(), value, frame, at);
        }
        self.note_state(number | WAITING);
        self.b.ins().jump(self.latch, &[]);
    }

    /// Where in the frame a register is saved.
    pub(super) fn slot(&mut self, reg: Reg) -> i32 {
        if self.offsets[reg as usize] == u32::MAX {
            let bytes = self.kinds[reg as usize].bytes();
            let at = self.frame_bytes.next_multiple_of(bytes);
            self.offsets[reg as usize] = at;
            self.frame_bytes = at + bytes;
        }
        self.offsets[reg as usize] as i32
    }
}
