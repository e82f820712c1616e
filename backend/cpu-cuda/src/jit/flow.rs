//! Control flow of a flat body: basic blocks, which registers live where, and what never changes.

use crate::engine::{CompileError, CompileErrorKind};
use crate::ptx::ir::{Alu, Body, Inst, Op, Reg, Value};
use crate::ptx::types::{Space, Special};

/// Bits of all liveness sets of a function together; bounds memory and time of the analysis.
const MAX_LIVENESS_BITS: u64 = 1 << 31;

/// A run of instructions entered only at its start.
#[derive(Debug)]
pub struct Block {
    /// First instruction.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// Blocks control may pass to.
    pub next: Vec<usize>,
    /// Control can get here.
    pub reachable: bool,
}

/// The analysis.
pub struct Flow {
    /// Blocks in order of the text.
    pub blocks: Vec<Block>,
    /// Block that starts at an instruction.
    pub block_at: Vec<u32>,
    /// Registers alive at the start of each block.
    pub live_in: Vec<Bits>,
}

/// A set of registers.
#[derive(Clone, Debug, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Bits {
        Bits(vec![0; count.div_ceil(64)])
    }
    fn set(&mut self, n: Reg) {
        self.0[n as usize / 64] |= 1 << (n % 64);
    }
    fn clear(&mut self, n: Reg) {
        self.0[n as usize / 64] &= !(1 << (n % 64));
    }
    /// The members.
    pub fn iter(&self) -> impl Iterator<Item = Reg> + '_ {
        self.0.iter().enumerate().flat_map(|(word, &bits)| {
            let mut bits = bits;
            std::iter::from_fn(move || {
                (bits != 0).then(|| {
                    let n = bits.trailing_zeros();
                    bits &= bits - 1;
                    word as u32 * 64 + n
                })
            })
        })
    }
}

impl Flow {
    /// Analyses `body`.
    pub fn new(body: &Body) -> Result<Flow, CompileError> {
        let mut flow = Flow { blocks: Vec::new(), block_at: vec![u32::MAX; body.insts.len() + 1], live_in: Vec::new() };
        flow.cut(body);
        flow.reach();
        flow.live(body)?;
        Ok(flow)
    }

    fn cut(&mut self, body: &Body) {
        let count = body.insts.len();
        let mut leader = vec![false; count + 1];
        leader[0] = true;
        for inst in &body.insts {
            match &inst.op {
                Op::Bra(n) => leader[body.labels[*n as usize] as usize] = true,
                Op::Brx(list) => list.iter().for_each(|n| leader[body.labels[*n as usize] as usize] = true),
                _ => {}
            }
        }
        for (n, inst) in body.insts.iter().enumerate() {
            leader[n + 1] |= inst.ends_block() || inst.suspends();
        }
        let mut start = 0;
        for (n, &leads) in leader.iter().enumerate().skip(1) {
            if n < count && !leads {
                continue;
            }
            self.block_at[start] = self.blocks.len() as u32;
            self.blocks.push(Block { start, end: n, next: Vec::new(), reachable: false });
            start = n;
        }
        for index in 0..self.blocks.len() {
            let last = &body.insts[self.blocks[index].end - 1];
            let target = |n: &u32| self.block_at[body.labels[*n as usize] as usize] as usize;
            let mut next: Vec<usize> = match &last.op {
                Op::Bra(n) => vec![target(n)],
                Op::Brx(list) => list.iter().map(target).collect(),
                _ => vec![],
            };
            if (!last.ends_block() || last.guard.is_some()) && index + 1 < self.blocks.len() {
                next.push(index + 1);
            }
            self.blocks[index].next = next;
        }
    }

    fn reach(&mut self) {
        let mut work = vec![0];
        while let Some(index) = work.pop() {
            if std::mem::replace(&mut self.blocks[index].reachable, true) {
                continue;
            }
            work.extend(self.blocks[index].next.iter().copied().filter(|&n| !self.blocks[n].reachable));
        }
    }

    fn live(&mut self, body: &Body) -> Result<(), CompileError> {
        let regs = body.regs.len();
        if regs as u64 * self.blocks.len() as u64 > MAX_LIVENESS_BITS {
            return Err(CompileError {
                kind: CompileErrorKind::OutOfResources,
                line: 0,
                message: "limit reached: MAX_LIVENESS_BITS".into(),
            });
        }
        let mut previous: Vec<Vec<u32>> = vec![Vec::new(); self.blocks.len()];
        for (index, block) in self.blocks.iter().enumerate() {
            for &next in &block.next {
                previous[next].push(index as u32);
            }
        }
        self.live_in = vec![Bits::new(regs); self.blocks.len()];
        let mut queued = vec![true; self.blocks.len()];
        let mut work: Vec<usize> = (0..self.blocks.len()).collect();
        while let Some(index) = work.pop() {
            queued[index] = false;
            let mut live = Bits::new(regs);
            for &next in &self.blocks[index].next {
                for (word, &bits) in live.0.iter_mut().zip(&self.live_in[next].0) {
                    *word |= bits;
                }
            }
            for inst in body.insts[self.blocks[index].start..self.blocks[index].end].iter().rev() {
                step_back(inst, &mut live);
            }
            if live.0 != self.live_in[index].0 {
                self.live_in[index] = live;
                for &before in &previous[index] {
                    if !std::mem::replace(&mut queued[before as usize], true) {
                        work.push(before as usize);
                    }
                }
            }
        }
        Ok(())
    }
}

/// From the set after an instruction to the set before it. A guarded result may keep its old value.
fn step_back(inst: &Inst, live: &mut Bits) {
    if inst.guard.is_none() {
        inst.defs().for_each(|r| live.clear(r));
    }
    inst.uses().for_each(|r| live.set(r));
}

/// How much is known about a register before the code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constancy {
    /// Nothing.
    Varies,
    /// The same for all threads of a block.
    Block,
    /// The same for a thread from start to end, and cheap to compute again.
    Thread,
}

/// Longest chain of operations that is computed again rather than saved where threads wait.
const MAX_CHAIN: u8 = 6;

/// Finds registers with one definition that depends on nothing but parameters and thread numbers.
pub fn constancy(body: &Body, is_kernel: bool, waits: bool) -> Vec<Constancy> {
    let mut definitions = vec![0u32; body.regs.len()];
    for inst in &body.insts {
        inst.defs().for_each(|r| definitions[r as usize] += 1);
    }
    let mut known = vec![Constancy::Varies; body.regs.len()];
    let mut depth = vec![0u8; body.regs.len()];
    if !is_kernel {
        return known;
    }
    for inst in &body.insts {
        let &[Some(dst)] = &inst.dst[..] else { continue };
        if inst.guard.is_some() || definitions[dst as usize] != 1 || !pure(&inst.op) {
            continue;
        }
        let mut level = Constancy::Block;
        let mut chain = 0;
        for value in &inst.src {
            let of_value = match *value {
                Value::Reg(r) | Value::NotReg(r) => {
                    chain = chain.max(depth[r as usize]);
                    known[r as usize]
                }
                Value::Special(s) => special_constancy(s),
                _ => Constancy::Block,
            };
            level = match (level, of_value) {
                (Constancy::Varies, _) | (_, Constancy::Varies) => Constancy::Varies,
                (Constancy::Thread, _) | (_, Constancy::Thread) => Constancy::Thread,
                _ => Constancy::Block,
            };
        }
        if let Op::Load(access) = &inst.op
            && !(access.space == Space::Param && matches!(inst.src[0], Value::In(_)) && inst.dst.len() == 1)
        {
            level = Constancy::Varies;
        }
        let next = if level == Constancy::Thread && !matches!(inst.op, Op::Mov(_)) { chain + 1 } else { chain };
        if level == Constancy::Thread && waits && next > MAX_CHAIN {
            level = Constancy::Varies;
        }
        known[dst as usize] = level;
        depth[dst as usize] = next;
    }
    known
}

fn special_constancy(special: Special) -> Constancy {
    match special {
        Special::Tid(_)
        | Special::LaneId
        | Special::WarpId
        | Special::LanemaskEq
        | Special::LanemaskLe
        | Special::LanemaskLt
        | Special::LanemaskGe
        | Special::LanemaskGt => Constancy::Thread,
        Special::Clock
        | Special::ClockHi
        | Special::Clock64
        | Special::GlobalTimer
        | Special::GlobalTimerLo
        | Special::GlobalTimerHi => Constancy::Varies,
        _ => Constancy::Block,
    }
}

/// Operations that can be done early or again: no effect, no fault, no call, cheap.
pub fn pure(op: &Op) -> bool {
    match op {
        Op::Mov(_) | Op::Cvta(..) | Op::Selp(_) | Op::Lop3(_) | Op::Load(_) => true,
        Op::Setp(_, _, ty, _) => !ty.is_float(),
        Op::Cvt(c) => c.to.is_integer() && c.from.is_integer(),
        Op::Alu(alu, ty, _) => {
            !ty.is_float()
                && matches!(
                    alu,
                    Alu::Add
                        | Alu::Sub
                        | Alu::Mul
                        | Alu::MulHi
                        | Alu::MulWide
                        | Alu::Mad
                        | Alu::MadWide
                        | Alu::Min
                        | Alu::Max
                        | Alu::Neg
                        | Alu::And
                        | Alu::Or
                        | Alu::Xor
                        | Alu::Not
                        | Alu::Shl
                        | Alu::Shr
                )
        }
        _ => false,
    }
}
