//! Shuffles that the lanes of a whole warp do by themselves.
//!
//! Where a shuffle's distance, bounds and mask are constants and all lanes come to it from one region, nobody has to be
//! asked: the next region begins where the one before it ends, and each of its lanes takes the other lane's operand from
//! the exchange. A lane must not leave its next operand where another has still to look, so operands of shuffles that
//! follow each other lie in two arrays of the exchange by turns; what cannot be told apart so is left to the executor.
//! There they are words of 32 bits, so that four lanes can take theirs at once, and so does the register that was the
//! operand: it is not saved in the frame.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData};

use crate::jit::context::{EXCHANGE_A, EXCHANGE_B};
use crate::jit::emit::Emit;
use crate::jit::unit::{Gathering, Site};
use crate::ptx::ir::{Collective, Inst, Reg, Shfl, Value};

/// A shuffle that is done by its lanes.
#[derive(Clone, Copy, Debug)]
pub struct Direct {
    mode: Shfl,
    b: u32,
    c: u32,
    /// Its operands are in the second array.
    second: bool,
}

impl Direct {
    /// Where in the exchange its operands are.
    fn array(self) -> i32 {
        if self.second { EXCHANGE_B } else { EXCHANGE_A }
    }

    /// Whether lanes that begin at a multiple of four may take theirs at once: mostly.
    pub fn is_wide(self) -> bool {
        let segment = self.c >> 8 & 31;
        segment.is_multiple_of(4) && (self.mode != Shfl::Idx) && (self.mode != Shfl::Bfly || self.b.is_multiple_of(4))
    }
}

/// The register that is the operand of a shuffle.
pub fn operand(inst: &Inst) -> Option<Reg> {
    match inst.src.first() {
        Some(&Value::Reg(reg)) => Some(reg),
        _ => None,
    }
}

/// The places where a region may end, by number.
pub struct Ends {
    /// Places where threads wait.
    pub sites: Vec<u32>,
    /// There is one such place, and no thread ends.
    pub one: bool,
}

/// Which sites are direct; `ends` are those of the regions behind each site, `guarded` the sites that not every lane may
/// come to wait at.
pub fn direct(sites: &[Site], ends: &[Ends], guarded: &[bool]) -> Vec<Option<Direct>> {
    let shape = |(number, site): (usize, &Site)| match *site {
        Site::Collective(Gathering {
            kind: Collective::Shfl(mode),
            legacy: false,
            constants: [Some(b), Some(c)],
            mask: Some(u32::MAX),
        }) if !guarded[number] => Some(Direct { mode, b, c, second: false }),
        _ => None,
    };
    let mut found: Vec<Option<Direct>> = sites.iter().enumerate().map(shape).collect();
    for end in ends.iter().filter(|end| !end.one) {
        end.sites.iter().for_each(|&site| found[site as usize] = None);
    }
    while let Some(clash) = alternate(&mut found, ends) {
        found[clash] = None;
    }
    found
}

/// Gives shuffles that follow each other different arrays; a site for which there is none.
fn alternate(found: &mut [Option<Direct>], ends: &[Ends]) -> Option<usize> {
    let mut colour: Vec<Option<bool>> = vec![None; found.len()];
    let next = |site: usize, found: &[Option<Direct>]| match ends[site].sites[..] {
        [one] if ends[site].one && found[one as usize].is_some() => Some(one as usize),
        _ => None,
    };
    // A site has one follower at most, but several may have the same: each chain goes on until it meets another.
    for start in 0..found.len() {
        let mut at = start;
        while found[at].is_some() {
            let mine = *colour[at].get_or_insert(false);
            let Some(follower) = next(at, found) else { break };
            match colour[follower] {
                Some(theirs) if theirs == mine => return Some(follower),
                Some(_) => break,
                None => colour[follower] = Some(!mine),
            }
            at = follower;
        }
    }
    for (direct, colour) in found.iter_mut().zip(colour) {
        if let Some(direct) = direct {
            direct.second = colour.unwrap_or(false);
        }
    }
    None
}

impl Emit<'_, '_, '_> {
    /// The results of a direct shuffle: the operand of the lane it names, or the own one (PTX ISA, shfl.sync).
    pub(super) fn take_shuffled(&mut self, inst: &Inst, direct: Direct) {
        let lane = self.b.ins().band_imm_u(self.thread.linear, 31);
        let (from, valid) = self.shuffle_source(direct, lane);
        let from = self.b.ins().select(valid, from, lane);
        let words = self.shuffle_words(direct, lane, from);
        for (n, &dst) in inst.dst.iter().enumerate() {
            let value = match n {
                0 => self.b.ins().load(I32, MemFlagsData::trusted(), words, 0),
                _ => valid,
            };
            debug_assert!(n == 0 || self.b.func.dfg.value_type(valid) == I8);
            self.write(dst, value);
        }
    }

    /// Goes on if four lanes may take their operands at once: from four lanes side by side, or all their own; the word
    /// of the first.
    pub(super) fn four_shuffled(&mut self, direct: Direct, no: ir::Block) -> ir::Value {
        let lane = self.b.ins().band_imm_u(self.thread.linear, 31);
        let final_lane = self.b.ins().iadd_imm_s(lane, 3);
        let (from, valid) = self.shuffle_source(direct, lane);
        let (_, final_valid) = self.shuffle_source(direct, final_lane);
        let alike = self.b.ins().icmp(IntCC::Equal, valid, final_valid);
        self.go_on_if(alike, no);
        let from = self.b.ins().select(valid, from, lane);
        self.shuffle_words(direct, lane, from)
    }

    /// The running thread's operand of a direct shuffle.
    pub(super) fn own_word(&mut self, direct: Direct) -> ir::Value {
        let lane = self.b.ins().iconst(I32, 0);
        self.shuffle_words(direct, lane, lane)
    }

    /// Leaves the running thread's operand for a direct shuffle.
    pub(super) fn leave_word(&mut self, direct: Direct, operand: Value) {
        let value = self.int(operand, 32);
        let words = self.own_word(direct);
        self.b.ins().store(MemFlagsData::trusted(), value, words, 0);
    }

    /// The lane that `lane` names, and whether it is in range.
    fn shuffle_source(&mut self, direct: Direct, lane: ir::Value) -> (ir::Value, ir::Value) {
        let (b, clamp, segment) = (direct.b & 31, direct.c & 31, direct.c >> 8 & 31);
        let least = self.b.ins().band_imm_u(lane, i64::from(segment));
        let most = self.b.ins().bor_imm_u(least, i64::from(clamp & !segment));
        let (from, order) = match direct.mode {
            Shfl::Up => (self.b.ins().iadd_imm_s(lane, -i64::from(b)), IntCC::SignedGreaterThanOrEqual),
            Shfl::Down => (self.b.ins().iadd_imm_s(lane, i64::from(b)), IntCC::SignedLessThanOrEqual),
            Shfl::Bfly => (self.b.ins().bxor_imm_u(lane, i64::from(b)), IntCC::SignedLessThanOrEqual),
            Shfl::Idx => (self.b.ins().bor_imm_u(least, i64::from(b & !segment)), IntCC::SignedLessThanOrEqual),
        };
        (from, self.b.ins().icmp(order, from, most))
    }

    /// The word of lane `from` of the running thread's warp, which is lane `lane`.
    fn shuffle_words(&mut self, direct: Direct, lane: ir::Value, from: ir::Value) -> ir::Value {
        let warp = self.b.ins().isub(self.thread.linear, lane);
        let thread = self.b.ins().iadd(warp, from);
        let words = self.exchange_start();
        let wide = self.b.ins().uextend(I64, thread);
        let skip = self.b.ins().ishl_imm_u(wide, 2);
        let at = self.b.ins().iadd(words, skip);
        self.b.ins().iadd_imm_s(at, i64::from(direct.array()))
    }
}
