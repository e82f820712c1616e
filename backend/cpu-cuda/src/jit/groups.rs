//! Groups: accesses of a block through one register, checked together.
//!
//! Code reads neighbouring places of a tile or of a structure through one address and constant offsets. Where control
//! reaches the first of them, one test tells of them all: the first and the last byte are the launch's, and so is what
//! lies between, because shared memory is one piece and a group in global memory is no longer than a granule. If the test
//! fails, the same instructions run with the checks of each, in a cold copy that joins behind the last of the group: the
//! answer is only about speed, and a fault is told of the access that makes it.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I64};
use cranelift_codegen::ir::{self, InstBuilder};

use crate::engine::GRANULE_BYTES;
use crate::jit::emit::Emit;
use crate::jit::memory::Place;
use crate::ptx::ir::{Access, Inst, Op, Reg, Value};
use crate::ptx::types::Space;

/// Fewer accesses of shared memory, or of global memory, are not worth a test.
const MIN_SHARED: usize = 2;
const MIN_GLOBAL: usize = 3;
/// Instructions that a cold copy may have.
const MAX_COPIED: usize = 400;

/// Accesses through one register.
#[derive(Clone, Debug)]
pub struct Group {
    space: Space,
    base: Reg,
    least: i64,
    /// One past the last byte.
    most: i64,
    align: u32,
    count: usize,
    /// The first and the last access, by the instruction's place in the block.
    first: usize,
    last: usize,
}

/// Groups that are tested at one instruction, and the instructions that the test is about.
pub struct Tested {
    /// The first.
    pub first: usize,
    /// The last.
    pub last: usize,
    /// What is tested.
    pub groups: Vec<Group>,
}

/// The access of a plain load or store, its address and its bytes.
fn access(inst: &Inst) -> Option<(Access, Value, u32)> {
    let (access, elements) = match &inst.op {
        Op::Load(access) => (access, inst.dst.len()),
        Op::Store(access) => (access, inst.src.len() - 1),
        _ => return None,
    };
    Some((*access, inst.src[0], (access.ty.bytes() * elements as u32).next_power_of_two()))
}

impl Group {
    fn covers(&self, access: Access, base: Value, bytes: u32) -> bool {
        base == Value::Reg(self.base)
            && access.space == self.space
            && self.least <= access.offset
            && access.offset + i64::from(bytes) <= self.most
            && bytes <= self.align
            && (access.offset - self.least) % i64::from(bytes) == 0
    }

    /// The group of one access of `bytes` bytes, and as many behind it as its address may move; none if it cannot be
    /// tested.
    pub fn new(access: Access, base: Reg, bytes: u32, apart: i64) -> Option<Group> {
        let good = matches!(access.space, Space::Shared | Space::Global | Space::Const)
            && access.offset.abs() <= i64::from(i32::MAX) / 2;
        let (least, most) = (access.offset, access.offset.checked_add(i64::from(bytes) + apart)?);
        good.then_some(Group { space: access.space, base, least, most, align: bytes, count: 1, first: 0, last: 0 })
    }

    /// Takes one more access, if the group can still be tested as a whole.
    pub fn join(&mut self, access: Access, base: Reg, bytes: u32, apart: i64) -> bool {
        let least = self.least.min(access.offset);
        let most = self.most.max(access.offset.saturating_add(i64::from(bytes) + apart));
        let long = self.space != Space::Shared && most.saturating_sub(least) > GRANULE_BYTES as i64;
        // All of one size, so that what holds for the first's alignment holds for each.
        let like = self.base == base && self.space == access.space && self.align == bytes;
        if !like || long || most > i64::from(i32::MAX) / 2 || (access.offset - self.least) % i64::from(bytes) != 0 {
            return false;
        }
        (self.least, self.most) = (least, most);
        self.count += 1;
        true
    }

    fn worth_it(&self) -> bool {
        self.count >= if self.space == Space::Shared { MIN_SHARED } else { MIN_GLOBAL }
    }
}

/// Finds the groups of a block; `skip` tells of accesses that need no check anyway.
pub fn find(insts: &[Inst], skip: impl Fn(Access, Value, u32) -> bool) -> Vec<Tested> {
    let mut open: Vec<Group> = Vec::new();
    let mut found = Vec::new();
    for (at, inst) in insts.iter().enumerate() {
        if let Some((access, base @ Value::Reg(reg), bytes)) = access(inst)
            && !skip(access, base, bytes)
        {
            match open.iter_mut().find_map(|group| group.join(access, reg, bytes, 0).then_some(group)) {
                Some(group) => group.last = at,
                None => open.extend(Group::new(access, reg, bytes, 0).map(|new| Group { first: at, last: at, ..new })),
            }
        }
        for reg in inst.defs() {
            let (gone, kept) = open.into_iter().partition(|g| g.base == reg);
            open = kept;
            found.extend::<Vec<Group>>(gone);
        }
    }
    found.extend(open);
    found.retain(Group::worth_it);
    found.sort_by_key(|group| group.first);
    together(insts, found)
}

/// Puts groups that overlap under one test, where the later one's address is there in time; else it stays as it was.
fn together(insts: &[Inst], found: Vec<Group>) -> Vec<Tested> {
    let mut tested: Vec<Tested> = Vec::new();
    for group in found {
        match tested.last_mut() {
            Some(before) if group.first <= before.last => {
                let late = insts[before.first..group.first].iter().any(|i| i.defs().any(|r| r == group.base));
                if !late {
                    before.last = before.last.max(group.last);
                    before.groups.push(group);
                }
            }
            _ => tested.push(Tested { first: group.first, last: group.last, groups: vec![group] }),
        }
    }
    tested.retain(|tested| tested.last - tested.first <= MAX_COPIED);
    tested
}

impl Emit<'_, '_, '_> {
    /// The instructions from one to another of block `index`, with the groups' accesses checked at once or one by one.
    /// Control goes on behind them.
    pub(super) fn tested(&mut self, insts: &[Inst], tested: &Tested, index: usize) {
        let [alone, join] = [(); 2].map(|()| self.b.create_block());
        self.b.set_cold_block(alone);
        for group in &tested.groups {
            let good = self.group_test(group);
            let next = self.b.create_block();
            self.b.ins().brif(good, next, &[], alone, &[]);
            self.b.switch_to_block(next);
        }
        let open = |emit: &mut Self| {
            insts.iter().fold(true, |_, inst| {
                emit.line = inst.line;
                emit.instruction(inst, index)
            })
        };
        self.grouped.clone_from(&tested.groups);
        if open(self) {
            self.b.ins().jump(join, &[]);
        }
        self.grouped.clear();
        self.b.switch_to_block(alone);
        if open(self) {
            self.b.ins().jump(join, &[]);
        }
        self.b.switch_to_block(join);
    }

    /// Not zero if every access of the group is good.
    pub(super) fn group_test(&mut self, group: &Group) -> ir::Value {
        let base = self.int(Value::Reg(group.base), 64);
        let start = self.b.ins().iadd_imm_s(base, group.least);
        if group.space != Space::Shared {
            let first = self.granule(start, group.align);
            let end = self.b.ins().iadd_imm_s(base, group.most - 1);
            let last = self.granule(end, 1);
            return self.b.ins().band(first, last);
        }
        let log = i64::from(group.align.trailing_zeros());
        let units = (group.most - group.least + i64::from(group.align) - 1) >> log;
        let start = if log > 0 { self.b.ins().rotr_imm_u(start, log) } else { start };
        let count = if log > 0 { self.b.ins().ushr_imm_u(self.entry.shared_len, log) } else { self.entry.shared_len };
        // Neither is near 2^63: an address that is not a multiple of `align` is turned into a larger number than `count`.
        let inside = self.b.ins().icmp(IntCC::UnsignedLessThan, start, count);
        let end = self.b.ins().iadd_imm_s(start, units);
        let ends = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, end, count);
        debug_assert_eq!(self.b.func.dfg.value_type(inside), I8);
        self.b.ins().band(inside, ends)
    }

    /// The place of an access whose group was tested.
    pub(super) fn grouped_place(&mut self, access: Access, base: Value, bytes: u32) -> Option<Place> {
        let group = self.grouped.iter().find(|group| group.covers(access, base, bytes))?;
        let shared = group.space == Space::Shared;
        let at = self.int(base, 64);
        let base = if shared { self.b.ins().iadd(self.entry.shared, at) } else { at };
        debug_assert_eq!(self.b.func.dfg.value_type(base), I64);
        Some(Place { base, offset: i32::try_from(access.offset).ok()? })
    }
}
