//! Turns for others in loops that may wait for another thread.
//!
//! Threads of a block run one after the other on one host thread, so a loop that spins until another thread writes would spin
//! for ever. A loop whose body reads memory strongly, asks an `mbarrier` or uses the result of an atomic, and has no barrier,
//! gets a [`Op::Yield`] before its jump back.

use crate::ptx::ir::{Body, Inst, Mbarrier, Op};

/// Puts yields in.
pub fn insert(body: &mut Body) {
    let mut used = vec![false; body.regs.len()];
    for inst in &body.insts {
        inst.uses().for_each(|r| used[r as usize] = true);
    }
    // Running counts make "is there one between here and there" a subtraction.
    let mut spins = vec![0u32; body.insts.len() + 1];
    let mut waits = vec![0u32; body.insts.len() + 1];
    for (n, inst) in body.insts.iter().enumerate() {
        let spin = match &inst.op {
            Op::Load(access) => access.strong,
            Op::Mbarrier(Mbarrier::Test | Mbarrier::TestParity, _) => true,
            Op::Atomic(..) => inst.defs().any(|r| used[r as usize]),
            _ => false,
        };
        spins[n + 1] = spins[n] + u32::from(spin);
        waits[n + 1] = waits[n] + u32::from(inst.suspends());
    }
    let back = |n: usize, inst: &Inst, label: u32| {
        let target = body.labels[label as usize] as usize;
        target <= n && spins[n + 1] > spins[target] && waits[n + 1] == waits[target] && inst.line > 0
    };
    let wanted: Vec<bool> = body
        .insts
        .iter()
        .enumerate()
        .map(|(n, inst)| matches!(&inst.op, Op::Bra(label) if back(n, inst, *label)))
        .collect();
    if !wanted.contains(&true) {
        return;
    }
    let mut moved = Vec::with_capacity(body.insts.len() + 1);
    let mut insts = Vec::with_capacity(body.insts.len() + 8);
    for (inst, wanted) in body.insts.drain(..).zip(wanted) {
        moved.push(insts.len() as u32);
        if wanted {
            insts.push(Inst { guard: inst.guard, op: Op::Yield, dst: vec![], src: vec![], line: inst.line });
        }
        insts.push(inst);
    }
    moved.push(insts.len() as u32);
    for label in &mut body.labels {
        *label = moved[*label as usize];
    }
    body.insts = insts;
}
