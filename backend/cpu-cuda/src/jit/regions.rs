//! Regions: what threads do from one place where they wait to the next.
//!
//! Mostly all threads of a block (of a warp, where lanes work together) stand at one place. Then each goes on from there
//! without being asked where it was: a region is the body again, from that place on, in a loop of its own. A region that
//! always ends at one place need not note it for each thread either: it leaves the number in the context's `left`, and
//! the executor knows. Registers that a region does not change stay in the frames as they are.
//!
//! The kernel's other loop, through the table of resume points, is there for threads that have parted.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData};

use crate::jit::context::{DONE, WAITING};
use crate::jit::emit::{Emit, field, fixed};
use crate::jit::flow::{Constancy, Flow};
use crate::jit::region_lanes::{Way, plain_barrier};
use crate::jit::rows::Linear;
use crate::jit::shuffles::{self, Direct, Ends};
use crate::jit::unit::Site;
use crate::ptx::ir::{Body, Inst, Op, Reg};

/// Instructions of all regions together, at most; a kernel with more has none.
const MAX_COPIED: usize = 6000;

/// The region being compiled.
pub struct Region {
    /// Blocks control may reach before a thread waits again.
    pub inside: Vec<bool>,
    /// It always ends at one place, so threads need not note theirs.
    one_end: bool,
    /// Registers that some block of it writes, by number.
    pub written: Vec<bool>,
    /// Registers that some block of it reads.
    pub read: Vec<bool>,
}

/// What comes when the last thread has left a region.
enum Then<'a> {
    /// The next region, with what its head takes for the first thread.
    Region(ir::Block, &'a [ir::Value]),
    /// The executor, told where they stand.
    Leave(u64),
}

/// Where a region begins.
struct Start {
    /// First block.
    block: usize,
    /// The instruction that threads waited at; none at the kernel's start.
    behind: Option<usize>,
}

/// What threads come to from a block on: the blocks, the blocks whose last instruction waits, and whether a thread may end.
fn reach(body: &Body, flow: &Flow, start: usize) -> (Vec<bool>, Vec<usize>, bool) {
    let mut inside = vec![false; flow.blocks.len()];
    let (mut ends, mut may_end) = (Vec::new(), false);
    let mut work = vec![start];
    while let Some(index) = work.pop() {
        if std::mem::replace(&mut inside[index], true) {
            continue;
        }
        let block = &flow.blocks[index];
        let insts = &body.insts[block.start..block.end];
        may_end |= insts.iter().any(|i| matches!(i.op, Op::Ret | Op::Exit | Op::Invoke(..))) || block.next.is_empty();
        let waits = insts.last().filter(|i| i.suspends());
        if waits.is_some() {
            ends.push(index);
        }
        if waits.is_none_or(|i| i.guard.is_some()) {
            work.extend(&block.next);
        }
    }
    (inside, ends, may_end)
}

impl Emit<'_, '_, '_> {
    /// The regions of the kernel whose general loop has just been compiled: blocks that take what its head takes, by
    /// number of the place where threads stood. None if there is nothing to gain, or too much to compile. `first` is what
    /// the kernel gives a head for the first thread of a call.
    pub(super) fn regions(
        &mut self,
        constant: &[Constancy],
        last: ir::Value,
        before: &[Option<ir::Value>],
        first: &[ir::Value],
    ) -> Vec<ir::Block> {
        let (body, flow) = (self.body, self.flow);
        // Who only yields may have to be asked again and again.
        if !self.waits || self.sites.iter().any(|site| matches!(site, Site::Yield)) {
            return Vec::new();
        }
        let mut starts = vec![Start { block: 0, behind: None }];
        for site in 1..self.sites.len() {
            let Some(index) = self.site_blocks.iter().position(|&s| s == Some(site as u32)) else { return Vec::new() };
            starts.push(Start { block: index + 1, behind: Some(flow.blocks[index].end - 1) });
        }
        let found: Vec<_> = starts.iter().map(|start| reach(body, flow, start.block)).collect();
        let size = |inside: &[bool]| -> usize {
            flow.blocks.iter().zip(inside).filter(|(_, i)| **i).map(|(b, _)| b.end - b.start).sum()
        };
        if found.iter().map(|(inside, ..)| size(inside)).sum::<usize>() > MAX_COPIED {
            return Vec::new();
        }
        let linear = Linear::new(body, constant);
        self.direct = self.direct_sites(&starts, &found);
        let general = (self.latch, self.fault_block, std::mem::take(&mut self.blocks));
        let heads: Vec<ir::Block> = starts.iter().map(|_| self.b.create_block()).collect();
        for (site, (start, (inside, ends, may_end))) in starts.iter().zip(found).enumerate() {
            self.known = before.to_vec();
            let one_end = ends.len() + usize::from(may_end) == 1;
            let end = match ends.first() {
                Some(&index) if one_end => self.site_blocks[index].map_or(DONE, |site| site | WAITING),
                _ => DONE,
            };
            let mut region = self.region_of(inside.clone(), one_end);
            if start.behind.is_none() {
                // Nothing is in the frames yet.
                region.written.fill(true);
            }
            self.region = Some(region);
            // A place that is none stands for "ask the threads".
            let left = if one_end { u64::from(end) } else { u64::from(WAITING) };
            let then = match ends.first().and_then(|&index| self.site_blocks[index]) {
                Some(next) if one_end && self.direct[next as usize].is_some() => {
                    Then::Region(heads[next as usize], first)
                }
                _ => Then::Leave(left),
            };
            let place = ends.first().filter(|_| one_end).map(|&end| Way {
                start: start.block,
                behind: end + 1,
                from: start.behind.zip(self.direct[site]),
                to: self.site_blocks[end].and_then(|site| self.direct[site as usize]),
            });
            let plain = start.behind.is_none_or(|at| self.direct[site].is_some() || plain_barrier(&body.insts[at]));
            let plan = place.filter(|_| plain).and_then(|place| {
                let plan = self.region_plan(&inside, &place, constant, &linear)?;
                Some((place, plan))
            });
            let alone = if plan.is_some() { self.b.create_block() } else { heads[site] };
            self.region_loop([heads[site], alone], start, self.direct[site], constant, last, &then);
            if let Some((place, plan)) = plan {
                self.known = before.to_vec();
                self.region_lanes(&plan, [heads[site], alone], &place, constant, &linear.growths, last);
            }
        }
        self.region = None;
        (self.latch, self.fault_block, self.blocks) = general;
        heads
    }

    fn region_of(&self, inside: Vec<bool>, one_end: bool) -> Region {
        let count = self.body.regs.len();
        let (mut written, mut read) = (vec![false; count], vec![false; count]);
        for (block, _) in self.flow.blocks.iter().zip(&inside).filter(|(_, i)| **i) {
            for inst in &self.body.insts[block.start..block.end] {
                inst.defs().for_each(|r| written[r as usize] = true);
                inst.uses().for_each(|r| read[r as usize] = true);
            }
        }
        Region { inside, one_end, written, read }
    }

    /// Which of the places where threads wait are shuffles that lanes do themselves.
    fn direct_sites(&self, starts: &[Start], found: &[(Vec<bool>, Vec<usize>, bool)]) -> Vec<Option<Direct>> {
        let ends: Vec<Ends> = found
            .iter()
            .map(|(_, ends, may_end)| Ends {
                sites: ends.iter().filter_map(|&index| self.site_blocks[index]).collect(),
                one: ends.len() == 1 && !may_end,
            })
            .collect();
        let guarded: Vec<bool> =
            starts.iter().map(|start| start.behind.is_some_and(|at| self.body.insts[at].guard.is_some())).collect();
        shuffles::direct(&self.sites, &ends, &guarded)
    }

    /// One region: its threads one after the other, from `head`, which takes a thread's number and coordinates; the next
    /// one goes to `again`.
    fn region_loop(
        &mut self,
        [again, head]: [ir::Block; 2],
        start: &Start,
        shuffle: Option<Direct>,
        constant: &[Constancy],
        last: ir::Value,
        then: &Then<'_>,
    ) {
        let [run, done] = [(); 2].map(|()| self.b.create_block());
        self.latch = self.b.create_block();
        self.fault_block = self.b.create_block();
        self.b.set_cold_block(self.fault_block);
        for _ in 0..4 {
            self.b.append_block_param(head, I32);
        }
        self.b.switch_to_block(head);
        let params = self.b.block_params(head).to_vec();
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, params[0], last);
        self.b.ins().brif(more, run, &[], done, &[]);
        self.b.switch_to_block(run);
        self.enter_thread(&params);
        self.hoist(constant, Constancy::Thread);
        let flow = self.flow;
        self.blocks = flow.blocks.iter().map(|_| self.b.create_block()).collect();
        match start.behind {
            None => self.zero_registers(),
            Some(at) => {
                let inst = &self.body.insts[at];
                self.load_registers(inst, start.block, shuffle);
                if let Some(shuffle) = shuffle {
                    self.take_shuffled(inst, shuffle);
                } else if !inst.dst.is_empty() {
                    let exchange = self.exchange();
                    self.take_results(inst, exchange);
                }
            }
        }
        let first = self.blocks[start.block];
        self.b.ins().jump(first, &[]);
        let inside = self.region.as_ref().map(|r| r.inside.clone()).unwrap_or_default();
        self.flow_blocks(&inside);
        self.b.switch_to_block(self.latch);
        let next = self.next_thread(&params, false);
        self.b.ins().jump(again, &next);
        self.b.switch_to_block(done);
        match *then {
            Then::Region(next, first) => {
                let first: Vec<BlockArg> = first.iter().copied().map(BlockArg::Value).collect();
                self.b.ins().jump(next, &first);
            }
            Then::Leave(left) => {
                let left = self.iconst(32, left);
                self.b.ins().store(MemFlagsData::trusted(), left, self.context, field!(left));
                let ok = self.b.ins().iconst(I32, 0);
                self.b.ins().return_(&[ok]);
            }
        }
        self.fault_return(params[0]);
    }

    /// Loads what is alive behind a place, as far as the region reads or changes it.
    fn load_registers(&mut self, inst: &Inst, block: usize, shuffle: Option<Direct>) {
        let flow = self.flow;
        let results: Vec<Reg> = if inst.guard.is_none() { inst.defs().collect() } else { Vec::new() };
        let frame = self.frame();
        self.note_exchanged(inst, shuffle);
        for reg in flow.live_in[block].iter() {
            let index = reg as usize;
            let wanted = self.region.as_ref().is_some_and(|r| r.read[index] || r.written[index]);
            if self.known[index].is_some() || results.contains(&reg) || !wanted {
                continue;
            }
            let (from, at) = match shuffle {
                Some(shuffle) if shuffles::operand(inst) == Some(reg) => (self.own_word(shuffle), 0),
                _ => (frame, self.slot(reg)),
            };
            let value = self.b.ins().load(self.kinds[index], MemFlagsData::trusted(), from, at);
            self.define(reg, value);
        }
    }

    /// What the exchange gives is not in the frame yet.
    fn note_exchanged(&mut self, inst: &Inst, shuffle: Option<Direct>) {
        if let Some(region) = &mut self.region {
            let operand = shuffle.and_then(|_| shuffles::operand(inst));
            inst.defs().chain(operand).for_each(|r| region.written[r as usize] = true);
        }
    }

    /// Whether a register must be saved where a thread waits: in a region, only if its frame does not hold it already.
    pub(super) fn must_save(&self, reg: Reg) -> bool {
        self.region.as_ref().is_none_or(|r| r.written[reg as usize])
    }

    /// Notes where a thread waits, or that it has ended, unless the region tells for all of them.
    pub(super) fn note_state(&mut self, state: u32) {
        if self.region.as_ref().is_none_or(|r| !r.one_end) {
            self.set_state(state);
        }
    }

    /// Goes to the region for the place that the context says all threads stand at, else to `general`.
    pub(super) fn choose_region(&mut self, regions: &[ir::Block], general: ir::Block, args: &[ir::Value]) {
        let number = self.b.ins().load(I32, fixed(), self.context, field!(region));
        let data = {
            let args: Vec<BlockArg> = args.iter().copied().map(BlockArg::Value).collect();
            let pool = &mut self.b.func.dfg.value_lists;
            let mut call = |block| ir::BlockCall::new(block, args.iter().copied(), pool);
            let other = call(general);
            let calls: Vec<_> = regions.iter().map(|&region| call(region)).collect();
            ir::JumpTableData::new(other, &calls)
        };
        let table = self.b.create_jump_table(data);
        self.b.ins().br_table(number, table);
    }

    /// The running thread is the one whose number and coordinates a head was given.
    pub(super) fn enter_thread(&mut self, params: &[ir::Value]) {
        let local = self.b.ins().load(I64, fixed(), self.context, field!(local));
        let stride = self.b.ins().load(I64, fixed(), self.context, field!(local_stride));
        self.thread.linear = params[0];
        self.thread.tid = [params[1], params[2], params[3]];
        let wide = self.b.ins().uextend(I64, params[0]);
        let skip = self.b.ins().imul(wide, stride);
        self.thread.local = self.b.ins().iadd(local, skip);
    }
}
