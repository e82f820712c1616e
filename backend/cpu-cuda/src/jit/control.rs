//! Control flow: blocks, guards, branches, the end of a thread.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I8;
use cranelift_codegen::ir::{self, InstBuilder};

use crate::jit::context::{DONE, fault};
use crate::jit::emit::Emit;
use crate::jit::faults::ENDED;
use crate::jit::flow::pure;
use crate::jit::groups;
use crate::ptx::ir::{Inst, Op};
use crate::ptx::types::Type;

impl Emit<'_, '_, '_> {
    pub(super) fn body_blocks(&mut self) {
        let flow = self.flow;
        self.zero_registers();
        self.blocks = flow.blocks.iter().map(|_| self.b.create_block()).collect();
        let first = self.blocks[0];
        self.b.ins().jump(first, &[]);
        let reachable: Vec<bool> = flow.blocks.iter().map(|block| block.reachable).collect();
        self.flow_blocks(&reachable);
    }

    /// What may be read before it is written is zero; also keeps values of one thread from the next.
    pub(super) fn zero_registers(&mut self) {
        let flow = self.flow;
        for reg in flow.live_in[0].iter() {
            let zero = self.zero(self.kinds[reg as usize]);
            self.define(reg, zero);
        }
    }

    /// The code of these blocks.
    pub(super) fn flow_blocks(&mut self, which: &[bool]) {
        let flow = self.flow;
        for (index, block) in flow.blocks.iter().enumerate() {
            if !which[index] {
                continue;
            }
            self.b.switch_to_block(self.blocks[index]);
            if self.instructions(&self.body.insts[block.start..block.end], index) {
                match block.next.last() {
                    Some(&next) => {
                        let next = self.blocks[next];
                        self.b.ins().jump(next, &[]);
                    }
                    None => {
                        self.end_thread();
                    }
                }
            }
        }
    }

    /// The instructions of block `index`; answers whether control goes on behind them.
    fn instructions(&mut self, insts: &[Inst], index: usize) -> bool {
        let mut groups =
            groups::find(insts, |access, base, bytes| self.needs_no_check(access, base, bytes)).into_iter();
        let mut next = groups.next();
        let (mut at, mut open) = (0, true);
        while let Some(inst) = insts.get(at) {
            if let Some(tested) = next.take_if(|tested| tested.first == at) {
                self.tested(&insts[at..=tested.last], &tested, index);
                at = tested.last + 1;
                next = groups.next();
                continue;
            }
            self.line = inst.line;
            open = self.instruction(inst, index);
            at += 1;
        }
        open
    }

    /// Compiles an instruction in block `index`; answers whether control goes on behind it.
    pub(super) fn instruction(&mut self, inst: &Inst, index: usize) -> bool {
        if let &[Some(dst)] = &inst.dst[..]
            && self.known[dst as usize].is_some()
        {
            return true;
        }
        let Some(guard) = inst.guard else { return self.transfer(inst, index) };
        let raw = self.read(guard.reg);
        let truth = self.coerce(raw, I8, false);
        if let Op::Bra(label) = &inst.op {
            let target = self.label(*label);
            let next = match self.flow.blocks[index].next.last() {
                Some(&n) if index + 1 == n => self.blocks[n],
                _ => self.latch,
            };
            let (yes, no) = if guard.negated { (next, target) } else { (target, next) };
            self.b.ins().brif(truth, yes, &[], no, &[]);
            return false;
        }
        if pure_enough(&inst.op) {
            let zero = self.b.ins().iconst(I8, 0);
            let cc = if guard.negated { IntCC::Equal } else { IntCC::NotEqual };
            self.select = Some(self.b.ins().icmp(cc, truth, zero));
            self.operation(inst);
            self.select = None;
            return true;
        }
        let work = self.b.create_block();
        let after = self.b.create_block();
        let (yes, no) = if guard.negated { (after, work) } else { (work, after) };
        self.b.ins().brif(truth, yes, &[], no, &[]);
        self.b.switch_to_block(work);
        if self.transfer(inst, index) {
            self.b.ins().jump(after, &[]);
        }
        self.b.switch_to_block(after);
        true
    }

    /// Compiles what moves control; answers whether it goes on behind.
    fn transfer(&mut self, inst: &Inst, index: usize) -> bool {
        match &inst.op {
            Op::Bra(label) => {
                let target = self.label(*label);
                self.b.ins().jump(target, &[]);
                false
            }
            Op::Brx(labels) => {
                let value = self.int(inst.src[0], 32);
                let targets: Vec<ir::Block> = labels.iter().map(|&l| self.label(l)).collect();
                let bad = self.b.create_block();
                self.b.set_cold_block(bad);
                let data = {
                    let pool = &mut self.b.func.dfg.value_lists;
                    let mut call = |block| ir::BlockCall::new(block, std::iter::empty(), pool);
                    let default = call(bad);
                    let calls: Vec<_> = targets.into_iter().map(call).collect();
                    ir::JumpTableData::new(default, &calls)
                };
                let table = self.b.create_jump_table(data);
                self.b.ins().br_table(value, table);
                self.b.switch_to_block(bad);
                self.fault(fault::INVALID_PC);
                false
            }
            Op::Ret => {
                self.end_thread();
                false
            }
            Op::Exit => {
                if self.is_kernel {
                    self.end_thread();
                } else {
                    let ended = self.iconst(32, u64::from(ENDED));
                    self.b.ins().return_(&[ended]);
                }
                false
            }
            Op::Trap => {
                self.fault(fault::TRAP);
                false
            }
            _ if inst.suspends() => {
                self.suspend(inst, index);
                false
            }
            _ => {
                self.operation(inst);
                true
            }
        }
    }

    pub(super) fn label(&self, label: u32) -> ir::Block {
        let at = self.body.labels[label as usize] as usize;
        self.blocks[self.flow.block_at[at] as usize]
    }

    pub(super) fn end_thread(&mut self) {
        if self.waits {
            self.note_state(DONE);
        }
        self.b.ins().jump(self.latch, &[]);
    }
}

/// Operations to be done unconditionally and then kept or not, rather than branched around.
fn pure_enough(op: &Op) -> bool {
    !matches!(op, Op::Load(_)) && (pure(op) || matches!(op, Op::Setp(..)))
        || matches!(op, Op::Alu(crate::ptx::ir::Alu::Add | crate::ptx::ir::Alu::Mul, Type::F32 | Type::F64, f)
            if *f == crate::ptx::ir::Float::default())
}
