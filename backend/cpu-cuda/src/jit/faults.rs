//! Ways out: faults, and what a callee's answer says.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData};

use crate::jit::emit::{Emit, field};

/// A callee's answer when the thread ended in it; 0 is a return, 1 a fault.
pub const ENDED: u32 = 2;

impl Emit<'_, '_, '_> {
    /// The fault exit, where thread `linear` runs.
    pub(super) fn fault_return(&mut self, linear: ir::Value) {
        self.b.switch_to_block(self.fault_block);
        self.b.ins().store(MemFlagsData::trusted(), linear, self.context, field!(fault_thread));
        let bad = self.b.ins().iconst(I32, 1);
        self.b.ins().return_(&[bad]);
    }

    /// Ends the launch with this kind of fault.
    pub fn fault(&mut self, kind: u32) {
        let kind = self.iconst(32, u64::from(kind));
        let line = self.iconst(32, u64::from(self.line));
        self.b.ins().store(MemFlagsData::trusted(), kind, self.context, field!(fault_kind));
        self.b.ins().store(MemFlagsData::trusted(), line, self.context, field!(fault_line));
        self.b.ins().jump(self.fault_block, &[]);
    }

    /// Where a fault goes once its fields are written.
    pub fn fault_exit(&self) -> ir::Block {
        self.fault_block
    }

    /// Ends the launch if `bad`.
    pub fn fault_if(&mut self, bad: ir::Value, kind: u32) {
        let cold = self.b.create_block();
        self.b.set_cold_block(cold);
        let good = self.b.create_block();
        self.b.ins().brif(bad, cold, &[], good, &[]);
        self.b.switch_to_block(cold);
        self.fault(kind);
        self.b.switch_to_block(good);
    }

    /// Goes to the fault exit if a helper or callee answered non-zero; the fault fields are written.
    pub fn fault_exit_if(&mut self, status: ir::Value) {
        let good = self.b.create_block();
        self.b.ins().brif(status, self.fault_block, &[], good, &[]);
        self.b.switch_to_block(good);
    }

    /// Goes where a callee's answer says: on, to the fault exit, or to the thread's end.
    pub fn after_call(&mut self, status: ir::Value) {
        let bad = self.b.create_block();
        let end = self.b.create_block();
        self.b.set_cold_block(bad);
        self.b.set_cold_block(end);
        let good = self.b.create_block();
        self.b.ins().brif(status, bad, &[], good, &[]);
        self.b.switch_to_block(bad);
        let ended = self.b.ins().icmp_imm_u(IntCC::Equal, status, i64::from(ENDED));
        self.b.ins().brif(ended, end, &[], self.fault_block, &[]);
        self.b.switch_to_block(end);
        if self.is_kernel {
            self.end_thread();
        } else {
            self.b.ins().return_(&[status]);
        }
        self.b.switch_to_block(good);
    }
}
