//! Rows: threads of a block with consecutive x, whose accesses can be checked together.
//!
//! Most addresses are a sum of what all threads of a row share and a constant times x. Such an address lies between
//! those of the row's first and last thread, so if these two and the granules between are the launch's, no thread of
//! the row can fault there. `plan` finds the accesses; `row_test` makes the code that decides, once a row, whether
//! the kernel's body without the checks may run. If not, the row's threads run with all of them: the answer is only
//! about speed.
//!
//! What makes it sound: a register counts as linear only if its one definition is; arithmetic of linear registers is
//! linear modulo two to its width; and where a 32-bit number grows to 64 bits, the test looks at both ends. Between
//! them the number moves by less than 2^31, so it has wrapped exactly if the ends are in the wrong order.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData};

use crate::jit::emit::{Emit, RowCode, field, fixed};
use crate::jit::flow::{Constancy, constancy};
use crate::jit::{lanes, runtime};
use crate::ptx::ir::{Alu, Body, Inst, Op, Reg, Value};
use crate::ptx::types::{Space, Special, Type};

/// Bytes, or numbers, that a linear register may move from one thread to the next.
const MAX_STRIDE: i64 = 1 << 20;
/// Kernels with more instructions have one body only.
const MAX_INSTS: usize = 2000;
/// Groups of accesses tested for a row; those after them keep their checks.
const MAX_SPANS: usize = 16;
/// Shorter rows are not worth the test.
const MIN_ROW: i64 = 32;
/// Granules that are looked at with one load.
const NEAR_GRANULES: i64 = 8;

/// A 32-bit operand that grows to 64 bits.
pub struct Growth {
    operand: Value,
    signed: bool,
    stride: i64,
}

/// Accesses through one register.
#[derive(Clone)]
pub struct Span {
    base: Reg,
    stride: i64,
    least: i64,
    /// One past the last byte.
    most: i64,
    align: u32,
}

/// What is tested for a row.
pub struct Plan {
    growths: Vec<Growth>,
    /// Accesses that it covers.
    pub spans: Vec<Span>,
    /// How the row may be run four threads at a time.
    pub lanes: Option<lanes::Plan>,
}

/// What is known at the first and at the last thread of a row.
pub struct Ends {
    /// By register.
    pub known: [Vec<Option<ir::Value>>; 2],
    /// The threads' x.
    pub x: [ir::Value; 2],
}

impl Span {
    /// Whether an access of `bytes` bytes is one of these.
    pub fn covers(&self, base: Value, offset: i64, bytes: u32) -> bool {
        base == Value::Reg(self.base)
            && self.least <= offset
            && offset + i64::from(bytes) <= self.most
            && bytes <= self.align
            && offset % i64::from(bytes) == 0
    }

    /// The register, if it is one address for all threads of a row.
    pub fn still(&self) -> Option<Value> {
        (self.stride == 0).then_some(Value::Reg(self.base))
    }
}

/// Strides of registers from a thread to the next of its row, where constant.
pub struct Linear<'b> {
    /// What was looked through.
    pub body: &'b Body,
    /// By register; `None` if it is not linear.
    pub strides: Vec<Option<i64>>,
    /// What has to be tested for the strides to hold.
    pub growths: Vec<Growth>,
}

impl<'b> Linear<'b> {
    /// The strides of what is done before the body.
    pub fn new(body: &'b Body, constant: &[Constancy]) -> Linear<'b> {
        let mut linear = Linear { body, strides: vec![None; body.regs.len()], growths: Vec::new() };
        for inst in body.insts.iter().filter(|inst| lanes::is_early(inst, constant)) {
            let &[Some(dst)] = &inst.dst[..] else { continue };
            linear.strides[dst as usize] = match constant[dst as usize] {
                Constancy::Block => Some(0),
                _ => linear.of(inst),
            };
        }
        linear
    }

    /// The stride of an operand of an operation of this width.
    pub fn stride(&self, value: Value, bits: u32) -> Option<i64> {
        match value {
            Value::Reg(r) if self.body.regs[r as usize].bits() == bits => self.strides[r as usize],
            Value::Int(_) | Value::In(_) | Value::Global(..) | Value::Shared(..) => Some(0),
            Value::Special(Special::Tid(0)) if bits == 32 => Some(1),
            Value::Special(Special::Tid(_) | Special::Ntid(_) | Special::Ctaid(_) | Special::Nctaid(_)) => {
                (bits == 32).then_some(0)
            }
            _ => None,
        }
    }

    fn product(&self, a: Value, b: Value, ty: Type) -> Option<i64> {
        let bits = ty.bits();
        match (self.stride(a, bits)?, self.stride(b, bits)?, a, b) {
            (0, 0, ..) => Some(0),
            (0, s, Value::Int(c), _) | (s, 0, _, Value::Int(c)) => s.checked_mul(as_number(c, bits)),
            _ => None,
        }
    }

    /// The stride of a 32-bit operand grown to 64 bits.
    fn grown(&mut self, value: Value, signed: bool) -> Option<i64> {
        let stride = self.stride(value, 32)?;
        if stride != 0 {
            self.growths.push(Growth { operand: value, signed, stride });
        }
        Some(stride)
    }

    fn of(&mut self, inst: &Inst) -> Option<i64> {
        let src = &inst.src;
        match &inst.op {
            Op::Mov(ty) => self.stride(src[0], ty.bits()),
            Op::Cvta(..) => self.stride(src[0], 64),
            // Of a kernel's parameters, which `constancy` has seen to.
            Op::Load(_) => Some(0),
            Op::Cvt(c) if c.sat => None,
            Op::Cvt(c) => match (c.from.bits(), c.to.bits()) {
                (32, 64) => self.grown(src[0], c.from.is_signed()),
                (64, 32) => self.stride(src[0], 64),
                (from, to) if from == to => self.stride(src[0], from),
                _ => None,
            },
            Op::Alu(_, _, mods) if mods.sat => None,
            Op::Alu(alu, ty, _) if matches!(ty.bits(), 32 | 64) && !matches!(ty, Type::U16x2 | Type::S16x2) => {
                let bits = ty.bits();
                match alu {
                    Alu::Add => self.stride(src[0], bits)?.checked_add(self.stride(src[1], bits)?),
                    Alu::Sub => self.stride(src[0], bits)?.checked_sub(self.stride(src[1], bits)?),
                    Alu::Mul => self.product(src[0], src[1], *ty),
                    Alu::Mad => self.product(src[0], src[1], *ty)?.checked_add(self.stride(src[2], bits)?),
                    Alu::Shl => match src[1] {
                        Value::Int(n) if n < 20 => self.stride(src[0], bits).map(|s| s << n),
                        _ => None,
                    },
                    Alu::MulWide | Alu::MadWide if bits == 32 => {
                        let c = match (src[0], src[1]) {
                            (_, Value::Int(c)) => c,
                            _ => return None,
                        };
                        let signed = ty.is_signed();
                        let factor = if signed { as_number(c, 32) } else { i64::from(c as u32) };
                        let product = self.grown(src[0], signed)?.checked_mul(factor)?;
                        if *alu == Alu::MulWide { Some(product) } else { product.checked_add(self.stride(src[2], 64)?) }
                    }
                    _ => None,
                }
            }
            _ => None,
        }
        .filter(|s| s.abs() <= MAX_STRIDE)
    }
}

fn as_number(bits: u64, width: u32) -> i64 {
    if width == 32 { i64::from(bits as i32) } else { bits as i64 }
}

/// What can be tested for the rows of a kernel; `None` if nothing can, or threads wait.
pub fn plan(body: &Body) -> Option<Plan> {
    if body.insts.len() > MAX_INSTS || body.insts.iter().any(Inst::suspends) {
        return None;
    }
    let constant = constancy(body, true, false);
    let linear = Linear::new(body, &constant);
    let mut spans: Vec<Span> = Vec::new();
    for inst in &body.insts {
        let (access, count) = match &inst.op {
            Op::Load(access) => (access, inst.dst.len()),
            Op::Store(access) => (access, inst.src.len() - 1),
            _ => continue,
        };
        let &Value::Reg(base) = &inst.src[0] else { continue };
        let bytes = (access.ty.bytes() * count as u32).next_power_of_two();
        let size = i64::from(bytes);
        let (Space::Global | Space::Generic | Space::Const, Some(stride)) =
            (access.space, linear.strides[base as usize])
        else {
            continue;
        };
        if body.regs[base as usize].bits() != 64
            || stride % size != 0
            || access.offset % size != 0
            || access.offset.abs() > MAX_STRIDE
        {
            continue;
        }
        let (least, most) = (access.offset, access.offset + size);
        let room = spans.len() < MAX_SPANS;
        match spans.iter_mut().find(|s| s.base == base) {
            // All threads' bytes between the outermost are looked at, so the gaps must be small.
            Some(s) if s.most.max(most) - s.least.min(least) <= 512 && stride % i64::from(s.align.max(bytes)) == 0 => {
                s.least = s.least.min(least);
                s.most = s.most.max(most);
                s.align = s.align.max(bytes);
            }
            Some(_) => {}
            None if room => spans.push(Span { base, stride, least, most, align: bytes }),
            None => {}
        }
    }
    if spans.is_empty() {
        return None;
    }
    let lanes = lanes::plan(body, &constant, &linear, &spans);
    Some(Plan { growths: linear.growths, spans, lanes })
}

impl Emit<'_, '_, '_> {
    /// Goes on in the current block if the plan holds for the row whose threads have these x, else to `no`.
    pub(super) fn row_test(&mut self, plan: &Plan, x: [ir::Value; 2], constant: &[Constancy], no: ir::Block) -> Ends {
        let count = self.b.ins().isub(x[1], x[0]);
        let long = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, count, MIN_ROW - 1);
        self.go_on_if(long, no);
        let known = x.map(|x| {
            self.thread.tid[0] = x;
            self.hoist(constant, Constancy::Thread);
            self.known.clone()
        });
        let ends = Ends { known, x };
        self.growth_test(&plan.growths, &ends, no);
        for span in &plan.spans {
            let [first, last] = [0, 1].map(|end| self.at_end(&ends, end, Value::Reg(span.base), 64));
            let (low, high) = if span.stride >= 0 { (first, last) } else { (last, first) };
            if span.align > 1 {
                let odd = self.b.ins().band_imm_u(low, i64::from(span.align - 1));
                let even = self.b.ins().icmp_imm_u(IntCC::Equal, odd, 0);
                self.go_on_if(even, no);
            }
            let low = self.b.ins().iadd_imm_s(low, span.least);
            let high = self.b.ins().iadd_imm_s(high, span.most - 1);
            self.span_test(low, high, no);
        }
        ends
    }

    /// Goes on if no number wraps from the first to the last thread before it grows to 64 bits.
    pub(super) fn growth_test(&mut self, growths: &[Growth], ends: &Ends, no: ir::Block) {
        for growth in growths {
            let [first, last] = [0, 1].map(|end| self.at_end(ends, end, growth.operand, 32));
            self.ordered(first, last, growth.stride, growth.signed, no);
        }
    }

    /// A value as the first (0) or last (1) thread of the row has it.
    pub(super) fn at_end(&mut self, ends: &Ends, end: usize, value: Value, bits: u32) -> ir::Value {
        self.known.clone_from(&ends.known[end]);
        self.thread.tid[0] = ends.x[end];
        self.int(value, bits)
    }

    /// Goes on if a number that moves by `stride` did not wrap on its way from `first` to `last`.
    pub(super) fn ordered(&mut self, first: ir::Value, last: ir::Value, stride: i64, signed: bool, no: ir::Block) {
        let (low, high) = if stride > 0 { (first, last) } else { (last, first) };
        let cc = if signed { IntCC::SignedLessThanOrEqual } else { IntCC::UnsignedLessThanOrEqual };
        let ordered = self.b.ins().icmp(cc, low, high);
        self.go_on_if(ordered, no);
    }

    pub(super) fn go_on_if(&mut self, truth: ir::Value, no: ir::Block) {
        let yes = self.b.create_block();
        self.b.ins().brif(truth, yes, &[], no, &[]);
        self.b.switch_to_block(yes);
    }

    /// Goes on if all granules from the byte `low` to the byte `high` are allocated.
    fn span_test(&mut self, low: ir::Value, high: ir::Value, no: ir::Block) {
        let near = self.b.create_block();
        let far = self.b.create_block();
        let good = self.b.create_block();
        self.b.set_cold_block(far);
        let granule = |emit: &mut Self, address| {
            let offset = emit.b.ins().isub(address, emit.entry.arena_base);
            emit.b.ins().ushr_imm_u(offset, 9)
        };
        let (first, last) = (granule(self, low), granule(self, high));
        let apart = self.b.ins().isub(last, first);
        let close = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, apart, NEAR_GRANULES);
        // The load ends with the last granule's byte, and must not begin before the map.
        let from = self.b.ins().iadd_imm_s(last, 1 - NEAR_GRANULES);
        let room = self.b.ins().iadd_imm_s(self.entry.granule_count, 1 - NEAR_GRANULES);
        let inside = self.b.ins().icmp(IntCC::SignedLessThan, from, room);
        let begun = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, from, 0);
        let both = self.b.ins().band(inside, begun);
        let all = self.b.ins().band(both, close);
        self.b.ins().brif(all, near, &[], far, &[]);

        self.b.switch_to_block(near);
        let place = self.b.ins().iadd(self.entry.granules, from);
        let bytes = self.b.ins().load(I64, MemFlagsData::trusted(), place, 0);
        // Those in front of the first granule count as allocated.
        let eight = self.b.ins().ishl_imm_u(apart, 3);
        let most = self.iconst(64, 8 * (NEAR_GRANULES as u64 - 1));
        let shift = self.b.ins().isub(most, eight);
        let one = self.iconst(64, 1);
        let bit = self.b.ins().ishl(one, shift);
        let mask = self.b.ins().iadd_imm_s(bit, -1);
        let bytes = self.b.ins().bor(bytes, mask);
        // Borrows reach the high bit of a byte that is zero, and of others only above one that is.
        let ones = self.iconst(64, 0x0101_0101_0101_0101);
        let highs = self.iconst(64, 0x8080_8080_8080_8080);
        let less = self.b.ins().isub(bytes, ones);
        let clear = self.b.ins().band_not(less, bytes);
        let zeros = self.b.ins().band(clear, highs);
        let owned = self.b.ins().icmp_imm_u(IntCC::Equal, zeros, 0);
        self.b.ins().brif(owned, good, &[], no, &[]);

        self.b.switch_to_block(far);
        let owned = self.helper(runtime::span_owned as *const (), &[self.context, low, high], Some(I32));
        match owned {
            Some(owned) => self.b.ins().brif(owned, good, &[], no, &[]),
            None => self.b.ins().jump(no, &[]),
        };
        self.b.switch_to_block(good);
    }

    /// The code at `rows`, which takes what `head` takes: has a row run by `code`, without checks, where `plan` allows
    /// it, and goes to `head` where not.
    pub(super) fn rows(
        &mut self,
        plan: &Plan,
        code: RowCode,
        constant: &[Constancy],
        last: ir::Value,
        [rows, head, done]: [ir::Block; 3],
    ) {
        for _ in 0..4 {
            self.b.append_block_param(rows, I32);
        }
        let params = self.b.block_params(rows).to_vec();
        let args: Vec<BlockArg> = params.iter().copied().map(BlockArg::Value).collect();
        let [begin, checked, failed, over] = [(); 4].map(|()| self.b.create_block());
        self.b.set_cold_block(failed);

        self.b.switch_to_block(rows);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, params[0], last);
        self.b.ins().brif(more, begin, &[], done, &[]);
        self.b.switch_to_block(checked);
        self.b.ins().jump(head, &args);
        self.b.switch_to_block(failed);
        let bad = self.b.ins().iconst(I32, 1);
        self.b.ins().return_(&[bad]);

        self.b.switch_to_block(begin);
        let nx = self.entry.ntid[0];
        let left = self.b.ins().isub(last, params[0]);
        let length = self.b.ins().isub(nx, params[1]);
        let length = self.b.ins().umin(length, left);
        let end = self.b.ins().iadd(params[1], length);
        let final_x = self.b.ins().iadd_imm_s(end, -1);
        let before = self.known.clone();
        self.thread.linear = params[0];
        self.thread.tid = [params[1], params[2], params[3]];
        let ends = self.row_test(plan, [params[1], final_x], constant, checked);
        let mut rest = [params[0], params[1]];
        if let (Some(four_plan), Some(four)) = (&plan.lanes, code.four) {
            let single = self.b.create_block();
            rest = [(); 2].map(|()| self.b.append_block_param(single, I32));
            let parted = self.b.create_block();
            self.lane_test(four_plan, &ends, parted);
            let whole = self.b.ins().band_imm_s(length, -lanes::LANES);
            let middle = self.b.ins().iadd(params[1], whole);
            let four = self.unit.function(four, self.b.func);
            self.b.ins().call(four, &[self.context, params[0], params[1], params[2], params[3], middle]);
            let next = self.b.ins().iadd(params[0], whole);
            let some = self.b.ins().icmp(IntCC::NotEqual, middle, end);
            self.b.ins().brif(some, single, &[next, middle].map(BlockArg::Value), over, &[]);
            self.b.switch_to_block(parted);
            self.b.ins().jump(single, &[params[0], params[1]].map(BlockArg::Value));
            self.b.switch_to_block(single);
        }
        let one = self.unit.function(code.one, self.b.func);
        let call = self.b.ins().call(one, &[self.context, rest[0], rest[1], params[2], params[3], end]);
        let status = self.b.inst_results(call)[0];
        self.b.ins().brif(status, failed, &[], over, &[]);
        self.b.switch_to_block(over);
        let next = self.b.ins().iadd(params[0], length);
        let wrap = self.b.ins().icmp(IntCC::Equal, end, nx);
        let none = self.b.ins().iconst(I32, 0);
        let [y, z] = self.step_row(wrap, [params[2], params[3]]);
        self.b.ins().jump(rows, &[next, none, y, z].map(BlockArg::Value));
        self.known = before;
    }

    /// The threads of a row that was tested, `fn(context, thread, x, y, z, end of x) -> fault?`.
    pub(super) fn row(&mut self, args: &[ir::Value], constant: &[Constancy]) {
        let &[_, first, from, y, z, end] = args else { return };
        self.thread.frame_offset = self.b.ins().iconst(I64, 0);
        self.thread.local = self.b.ins().load(I64, fixed(), self.context, field!(local));
        self.hoist(constant, Constancy::Block);
        let turn = self.b.create_block();
        let x = self.b.append_block_param(turn, I32);
        self.b.ins().jump(turn, &[BlockArg::Value(from)]);
        self.b.switch_to_block(turn);
        let skipped = self.b.ins().isub(x, from);
        let linear = self.b.ins().iadd(first, skipped);
        self.thread.linear = linear;
        self.thread.tid = [x, y, z];
        self.hoist(constant, Constancy::Thread);
        self.body_blocks();
        self.b.switch_to_block(self.latch);
        let next = self.b.ins().iadd_imm_s(x, 1);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, next, end);
        let done = self.b.create_block();
        self.b.ins().brif(more, turn, &[BlockArg::Value(next)], done, &[]);
        self.b.switch_to_block(done);
        let ok = self.b.ins().iconst(I32, 0);
        self.b.ins().return_(&[ok]);
        self.fault_return(linear);
    }
}
