//! Calls, the exchange of operands with the executor, clocks.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind};

use crate::engine::FUNCTION_WINDOW;
use crate::jit::context::{
    EXCHANGE_A, EXCHANGE_B, EXCHANGE_C, EXCHANGE_COUNT, EXCHANGE_MASK, EXCHANGE_STEP, FunctionSlot, fault,
};
use crate::jit::emit::{Emit, field, fixed};
use crate::jit::unit::{Gathering, Site};
use crate::jit::{inline, runtime, runtime_host};
use crate::ptx::ir::{Access, Builtin, CallPart, Callee, Collective, Element, Inst, Mma, Op, Side, Signature, Value};
use crate::ptx::types::{Space, Special, Type};

type V = ir::Value;

impl Emit<'_, '_, '_> {
    /// Memory on the host's stack for one call: 0 for parameters, 1 for results, 2 for records. All calls of a function
    /// share it, so that its frame stays small however many there are.
    pub fn scratch(&mut self, which: usize, bytes: u32) -> V {
        let bytes = bytes.max(8).next_multiple_of(16);
        let slot = match self.scratch[which] {
            Some(slot) => slot,
            None => {
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
                let slot = self.b.create_sized_stack_slot(data);
                self.scratch[which] = Some(slot);
                slot
            }
        };
        let data = &mut self.b.func.sized_stack_slots[slot];
        data.size = data.size.max(bytes);
        self.b.ins().stack_addr(I64, slot, 0)
    }

    fn frame_pointer(&mut self, at: u32) -> V {
        let base = self.b.ins().iadd(self.thread.local, self.thread.frame_offset);
        self.b.ins().iadd_imm_s(base, i64::from(at))
    }

    fn copy(&mut self, to: V, to_at: i32, from: V, from_at: i32, bytes: u32) {
        let mut at = 0;
        while at < bytes {
            let step = if bytes - at >= 8 { 8 } else { 1 };
            let k = if step == 8 { I64 } else { I8 };
            let value = self.b.ins().load(k, MemFlagsData::new().with_notrap(), from, from_at + at as i32);
            self.b.ins().store(MemFlagsData::new().with_notrap(), value, to, to_at + at as i32);
            at += step;
        }
    }

    /// A call of a function that was not inlined.
    pub fn invoke(&mut self, callee: Callee, args: &[CallPart], results: &[CallPart], inst: &Inst) {
        let (params, returned) = inline::shapes(callee, self.unit.program);
        let (_, param_bytes) = Signature::layout(&params);
        let (_, result_bytes) = Signature::layout(&returned);
        let params = self.scratch(0, param_bytes);
        let returned = self.scratch(1, result_bytes);
        // What the caller does not pass, the callee must not find: zero both blocks.
        for (block, bytes) in [(params, param_bytes), (returned, result_bytes)] {
            let zero = self.iconst(64, 0);
            for at in (0..bytes.max(8).next_multiple_of(8)).step_by(8) {
                self.b.ins().store(MemFlagsData::trusted(), zero, block, at as i32);
            }
        }
        let mut sources = inst.src.iter().skip(usize::from(matches!(callee, Callee::Pointer { .. })));
        for part in args {
            match *part {
                CallPart::Reg { offset, ty } => {
                    let Some(&value) = sources.next() else { continue };
                    let value = if ty == Type::B128 { self.int(value, 128) } else { self.source(value, ty) };
                    self.b.ins().store(MemFlagsData::new().with_notrap(), value, params, offset as i32);
                }
                CallPart::Frame { offset, frame, size } => {
                    let from = self.frame_pointer(frame);
                    self.copy(params, offset as i32, from, 0, size);
                }
            }
        }
        self.note_thread();
        match callee {
            Callee::Builtin(builtin) => self.builtin(builtin, params, returned),
            _ => self.call_on_stack(callee, inst, params, returned),
        }
        let mut registers = inst.dst.iter();
        for part in results {
            match *part {
                CallPart::Reg { offset, ty } => {
                    let Some(&reg) = registers.next() else { continue };
                    let k = crate::jit::kinds::kind(ty);
                    let value = self.b.ins().load(k, MemFlagsData::new().with_notrap(), returned, offset as i32);
                    self.write(reg, value);
                }
                CallPart::Frame { offset, frame, size } => {
                    let to = self.frame_pointer(frame);
                    self.copy(to, 0, returned, offset as i32, size);
                }
            }
        }
    }

    /// Tells helpers and callees which thread runs.
    pub fn note_thread(&mut self) {
        let flags = MemFlagsData::trusted();
        self.b.ins().store(flags, self.thread.linear, self.context, field!(thread));
        if self.is_kernel {
            for n in 0..3 {
                self.b.ins().store(flags, self.thread.tid[n], self.context, field!(tid) + 4 * n as i32);
            }
            self.b.ins().store(flags, self.thread.local, self.context, field!(thread_local));
        }
    }

    /// Where memory from `alloca` begins: the local address behind the frame.
    fn stack_start(&mut self) -> V {
        let used = self.body.local_bytes.next_multiple_of(16);
        self.b.ins().iadd_imm_s(self.thread.frame_offset, i64::from(used))
    }

    /// `alloca`: a local address, if there is room.
    pub fn alloca(&mut self, align: u32, inst: &Inst) {
        let (size, taken) = (self.int(inst.src[0], 64), self.int(inst.src[1], 64));
        let start = self.stack_start();
        let top = self.b.ins().iadd(start, taken);
        let up = self.b.ins().iadd_imm_s(top, i64::from(align) - 1);
        let at = self.b.ins().band_imm_s(up, -i64::from(align));
        let left = self.b.ins().isub(self.entry.local_len, at);
        let over = self.b.ins().icmp(IntCC::UnsignedGreaterThan, at, self.entry.local_len);
        let large = self.b.ins().icmp(IntCC::UnsignedGreaterThan, size, left);
        let bad = self.b.ins().bor(over, large);
        self.fault_if(bad, fault::STACK_OVERFLOW);
        let end = self.b.ins().iadd(at, size);
        let taken = self.b.ins().isub(end, start);
        self.write(inst.dst[0], at);
        self.write(inst.dst[1], taken);
    }

    /// `stacksave` and `stackrestore`.
    pub fn stack_address(&mut self, back: bool, dst: Option<u32>, src: Value) {
        let value = self.int(src, 64);
        let start = self.stack_start();
        let moved = if back { self.b.ins().isub(value, start) } else { self.b.ins().iadd(start, value) };
        self.write(dst, moved);
    }

    fn call_on_stack(&mut self, callee: Callee, inst: &Inst, params: V, results: V) {
        let used = self.body.local_bytes.next_multiple_of(16) + 16;
        let mut frame = self.b.ins().iadd_imm_s(self.thread.frame_offset, i64::from(used));
        if let Some(stack) = self.body.stack {
            let more = self.int(Value::Reg(stack), 64);
            let more = self.b.ins().iadd_imm_s(more, 15);
            let more = self.b.ins().band_imm_s(more, -16);
            frame = self.b.ins().iadd(frame, more);
        }
        let args = [self.context, self.thread.linear, frame, params, results];
        let call = match callee {
            Callee::Function(n) => {
                let Some(target) = self.unit.callee(n, self.b.func) else { return self.illegal() };
                self.b.ins().call(target, &args)
            }
            _ => {
                let Callee::Pointer { signature } = callee else { return self.illegal() };
                let code = self.look_up(inst.src[0], signature);
                let signature = self.unit.device_signature();
                let signature = self.b.import_signature(signature);
                self.b.ins().call_indirect(signature, code, &args)
            }
        };
        let status = self.b.inst_results(call)[0];
        self.after_call(status);
    }

    /// The code behind a function pointer, or a fault.
    fn look_up(&mut self, pointer: Value, signature: u32) -> V {
        let value = self.int(pointer, 64);
        let window = self.iconst(64, FUNCTION_WINDOW);
        let offset = self.b.ins().isub(value, window);
        let index = self.b.ins().rotr_imm_u(offset, 4);
        let count = self.b.ins().load(I64, fixed(), self.context, field!(function_count));
        let outside = self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, index, count);
        self.fault_if(outside, fault::INVALID_PC);
        let table = self.b.ins().load(I64, fixed(), self.context, field!(functions));
        let skip = self.b.ins().imul_imm_s(index, size_of::<FunctionSlot>() as i64);
        let entry = self.b.ins().iadd(table, skip);
        let code = self.b.ins().load(I64, MemFlagsData::trusted(), entry, 0);
        let have = self.b.ins().load(I64, MemFlagsData::trusted(), entry, 8);
        let other = self.b.ins().icmp_imm_u(IntCC::NotEqual, have, i64::from(signature));
        let none = self.b.ins().icmp_imm_u(IntCC::Equal, code, 0);
        let bad = self.b.ins().bor(other, none);
        self.fault_if(bad, fault::INVALID_PC);
        code
    }

    fn builtin(&mut self, builtin: Builtin, params: V, results: V) {
        let function = match builtin {
            Builtin::Vprintf => runtime_host::vprintf as *const (),
            Builtin::Assertfail => runtime_host::assert_fail as *const (),
            Builtin::Malloc => runtime_host::malloc as *const (),
            Builtin::Free => runtime_host::free as *const (),
        };
        let line = self.iconst(32, u64::from(self.line));
        if let Some(status) = self.helper(function, &[self.context, params, results, line], Some(I32)) {
            self.fault_exit_if(status);
        }
    }

    /// Leaves what a barrier or collective needs in the frame, and names the site.
    pub fn leave_operands(&mut self, inst: &Inst, frame: V) -> Site {
        let put = |emit: &mut Self, value: Value, bits: u32, at: i32| {
            let value = emit.int(value, bits);
            let wide = emit.coerce(value, I64, false);
            emit.b.ins().store(MemFlagsData::trusted(), wide, frame, at);
        };
        match &inst.op {
            Op::Barrier(barrier) => {
                if !barrier.cluster {
                    put(self, inst.src[0], 32, EXCHANGE_MASK);
                    if barrier.counted {
                        put(self, inst.src[1], 32, EXCHANGE_COUNT);
                    }
                    if barrier.reduce.is_some() {
                        let last = inst.src.last().copied().unwrap_or(Value::Int(0));
                        put(self, last, 8, EXCHANGE_A);
                    }
                }
                let number = match inst.src.first() {
                    Some(Value::Int(n)) => Some(*n as u32 & 15),
                    _ => None,
                };
                Site::Barrier(*barrier, number)
            }
            Op::Collective(kind, _) if kind.is_of_matrices() => {
                match *kind {
                    Collective::Mma(mma) => self.leave_matrices(mma, &inst.src, frame),
                    Collective::LoadMatrix { .. } => self.leave_row(*kind, inst.src[0], frame),
                    // The last source is the mask.
                    _ => self.leave_registers(&inst.src[..inst.src.len() - 1], 0, frame),
                }
                Site::Collective(Gathering { kind: *kind, legacy: false, constants: [None; 2], mask: Some(u32::MAX) })
            }
            Op::Collective(kind, legacy) => {
                let values = inst.src.len() - usize::from(!legacy);
                let bits = |n: usize| match (kind, n) {
                    (Collective::VoteAll | Collective::VoteAny | Collective::VoteUni | Collective::Ballot, _) => 8,
                    (Collective::MatchAny { bits } | Collective::MatchAll { bits }, _) => *bits,
                    _ => 32,
                };
                let constant = |n: usize| match inst.src.get(n) {
                    Some(Value::Int(v)) => Some(*v as u32),
                    _ => None,
                };
                for (n, at) in [EXCHANGE_A, EXCHANGE_B, EXCHANGE_C].into_iter().enumerate().take(values) {
                    if n == 0 || constant(n).is_none() {
                        put(self, inst.src[n], bits(n), at);
                    }
                }
                let mask = if *legacy { None } else { constant(values) };
                if !legacy && mask.is_none() {
                    put(self, inst.src[values], 32, EXCHANGE_MASK);
                }
                Site::Collective(Gathering {
                    kind: *kind,
                    legacy: *legacy,
                    constants: [constant(1), constant(2)],
                    mask,
                })
            }
            _ => Site::Yield,
        }
    }

    /// Leaves the registers of A, B and C where `exec::matrix` looks for them.
    fn leave_matrices(&mut self, mma: Mma, src: &[Value], frame: V) {
        let (mut from, mut word) = (0, 0);
        for side in [Side::A, Side::B, Side::C] {
            let held = &src[from..from + mma.registers(side)];
            // Of registers that say the same twice, the first are enough.
            self.leave_registers(&held[..held.len().min(mma.used(side))], word, frame);
            from += held.len();
            word += mma.words(side);
        }
    }

    /// Leaves registers from a word of the exchange on: those of 32 bits in pairs.
    fn leave_registers(&mut self, registers: &[Value], word: usize, frame: V) {
        let flags = MemFlagsData::trusted();
        let mut at = 2 * word as i32;
        for &value in registers {
            let wide = matches!(value, Value::Reg(r) if self.body.regs[r as usize].bits() == 64);
            let value = self.int(value, if wide { 64 } else { 32 });
            let place = at / 2 * EXCHANGE_STEP + at % 2 * 4;
            self.b.ins().store(flags, value, frame, place);
            at += if wide { 2 } else { 1 };
        }
    }

    /// Leaves the row of a matrix that this lane's address is of, if it is of one.
    fn leave_row(&mut self, kind: Collective, base: Value, frame: V) {
        let Collective::LoadMatrix { count, generic, offset, .. } = kind else { return };
        let space = if generic { Space::Generic } else { Space::Shared };
        let lane = self.b.ins().band_imm_u(self.thread.linear, 31);
        let own = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, lane, 8 * i64::from(count));
        let read = self.b.create_block();
        let done = self.b.create_block();
        self.b.ins().brif(own, read, &[], done, &[]);
        self.b.switch_to_block(read);
        let access = Access { space, ty: Type::B64, offset, strong: false };
        let place = self.place(access, base, 16, false);
        for (n, at) in [EXCHANGE_A, EXCHANGE_B].into_iter().enumerate() {
            let flags = MemFlagsData::new().with_notrap();
            let half = self.b.ins().load(I64, flags, place.base, place.offset + 8 * n as i32);
            self.b.ins().store(MemFlagsData::trusted(), half, frame, at);
        }
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
    }

    /// Takes the results the executor left in the frame.
    pub fn take_results(&mut self, inst: &Inst, frame: V) {
        if let Op::Collective(kind, _) = inst.op
            && kind.is_of_matrices()
        {
            for (n, &dst) in inst.dst.iter().enumerate() {
                let wide = matches!(kind, Collective::Mma(mma) if mma.d == Element::F64);
                let (k, n) = if wide { (I64, 2 * n as i32) } else { (I32, n as i32) };
                let place = n / 2 * EXCHANGE_STEP + n % 2 * 4;
                let value = self.b.ins().load(k, MemFlagsData::trusted(), frame, place);
                self.write(dst, value);
            }
            return;
        }
        for (n, &dst) in inst.dst.iter().enumerate() {
            let at = if n == 0 { EXCHANGE_A } else { EXCHANGE_B };
            if let Some(reg) = dst {
                let k = if self.body.regs[reg as usize] == Type::Pred { I8 } else { I32 };
                let value = self.b.ins().load(k, MemFlagsData::trusted(), frame, at);
                self.write(dst, value);
            }
        }
    }

    /// Clock and timer registers.
    pub fn clock(&mut self, special: Special, timer: bool) -> V {
        let function = if timer { runtime::global_timer as *const () } else { runtime::clock as *const () };
        let Some(value) = self.helper(function, &[], Some(I64)) else { return self.iconst(64, 0) };
        match special {
            Special::ClockHi | Special::GlobalTimerHi => {
                let high = self.b.ins().ushr_imm_u(value, 32);
                self.b.ins().ireduce(I32, high)
            }
            Special::Clock | Special::GlobalTimerLo => self.b.ins().ireduce(I32, value),
            _ => value,
        }
    }

    /// `mapa`: the address of this shared variable in another block of the cluster.
    pub fn map_shared(&mut self, _generic: bool, dst: Option<u32>, src: &[Value]) {
        let wide = self.int(src[0], 64);
        let rank = self.int(src[1], 32);
        let address = self.helper(runtime::map_shared as *const (), &[self.context, wide, rank], Some(I64));
        match address {
            Some(address) => self.write(dst, address),
            None => self.illegal(),
        }
    }
}
