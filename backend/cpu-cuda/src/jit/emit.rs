//! One function: from a flat body to Cranelift code.
//!
//! A kernel becomes `fn(context, first, last) -> fault?` that runs the threads `first..last` of a block one after the
//! other, each until it ends or waits. Waiting is stackless: the registers alive behind the instruction go to the
//! thread's frame, its resume point to `states`, and the loop goes on with the next thread; when the thread is run
//! again, the loop jumps through a table to where the registers are loaded back. What happens between (has the
//! barrier been reached by all? what does the shuffle yield?) is decided by `exec`.
//!
//! Where `rows` finds checks that can be done for many threads at once, the kernel does them at the start of a row and
//! then calls a second function with the same body and without them.
//!
//! A device function that is not inlined becomes
//! `fn(context, thread, local frame, params, results) -> fault?` and never waits.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData};
use cranelift_frontend::{FunctionBuilder, Variable};
use cranelift_module::FuncId;

use crate::jit::context::fault;
use crate::jit::flow::{Constancy, Flow, constancy, pure};
use crate::jit::groups::Group;
use crate::jit::kinds::{choose_kinds, coordinates_used};
use crate::jit::regions::Region;
use crate::jit::rows::{Plan, Span};
use crate::jit::shuffles::Direct;
use crate::jit::unit::{Site, Unit};
use crate::ptx::ir::{Body, Inst, Value};

/// Offset of a field of the context.
macro_rules! field {
    ($($name:tt)+) => { std::mem::offset_of!($crate::jit::context::Context, $($name)+) as i32 };
}
pub(crate) use field;

/// Flags of loads of context fields that do not change while the function runs.
pub fn fixed() -> MemFlagsData {
    MemFlagsData::trusted().with_readonly().with_can_move()
}

/// Values loaded once at entry.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Entry {
    pub arena_base: ir::Value,
    pub granule_count: ir::Value,
    pub granules: ir::Value,
    pub shared: ir::Value,
    pub shared_len: ir::Value,
    pub local_len: ir::Value,
    pub params: ir::Value,
    pub results: ir::Value,
    pub ntid: [ir::Value; 3],
}

/// The running thread.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Thread {
    pub linear: ir::Value,
    pub tid: [ir::Value; 3],
    /// Its local memory, and the offset of this function's frame in it.
    pub local: ir::Value,
    pub frame_offset: ir::Value,
}

/// Builds one function.
pub struct Emit<'f, 'u, 'p> {
    /// Where code goes.
    pub b: FunctionBuilder<'f>,
    /// What it is a part of.
    pub unit: &'u mut Unit<'p>,
    /// What is compiled.
    pub body: &'u Body,
    pub(super) flow: &'u Flow,
    /// It is a kernel.
    pub is_kernel: bool,
    /// The context.
    pub context: ir::Value,
    /// Entry values.
    pub entry: Entry,
    /// The running thread.
    pub thread: Thread,
    /// Line of the instruction being compiled.
    pub line: u32,
    pub(super) kinds: Vec<ir::Type>,
    pub(super) variables: Vec<Option<Variable>>,
    pub(super) known: Vec<Option<ir::Value>>,
    /// Results go to `known`, not to variables.
    pub(super) hoisting: bool,
    /// Results are kept only where this holds.
    pub(super) select: Option<ir::Value>,
    pub(super) blocks: Vec<ir::Block>,
    /// Where a thread's end goes.
    pub(super) latch: ir::Block,
    /// Where a fault goes, its fields written.
    pub(super) fault_block: ir::Block,
    /// A thread waits somewhere in this function.
    pub(super) waits: bool,
    pub(super) offsets: Vec<u32>,
    pub(super) frame_bytes: u32,
    pub(super) scratch: [Option<ir::StackSlot>; 3],
    /// Accesses that need no checks, those of a row that was tested.
    pub(super) unchecked: Vec<Span>,
    /// Addresses that four threads share.
    pub(super) still: Vec<Value>,
    /// Accesses that were tested together.
    pub(super) grouped: Vec<Group>,
    /// Points where threads wait.
    pub sites: Vec<Site>,
    /// By block, the number of the place where threads wait at its end.
    pub(super) site_blocks: Vec<Option<u32>>,
    /// Shuffles that the lanes of regions do themselves, by the place's number.
    pub(super) direct: Vec<Option<Direct>>,
    /// What is compiled is a region.
    pub(super) region: Option<Region>,
    pub(super) resumes: Vec<ir::Block>,
}

/// Which function is made of a body.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// The kernel, with what is tested for its rows and what then runs them.
    Kernel(Option<(&'a Plan, RowCode)>),
    /// The threads of a row of a kernel that was tested.
    Row(&'a Plan),
    /// The same, four at a time.
    Lanes(&'a Plan),
    /// A device function.
    Device,
}

/// The functions that run a row that was tested.
#[derive(Clone, Copy)]
pub struct RowCode {
    /// A thread at a time.
    pub one: FuncId,
    /// Four at a time, if the plan says how.
    pub four: Option<FuncId>,
}

/// What the executor must know of a compiled kernel.
pub struct Emitted {
    /// Points where threads wait, by number; number 0 is the start.
    pub sites: Vec<Site>,
    /// Bytes of a thread's frame; 0 if threads never wait.
    pub frame_bytes: u32,
    /// There are regions.
    pub regions: bool,
    /// Places whose shuffle the region behind it does.
    pub direct: Vec<u32>,
}

impl<'f, 'u, 'p> Emit<'f, 'u, 'p> {
    /// Compiles `body` into the function `b` builds.
    pub fn function(
        mut b: FunctionBuilder<'f>,
        unit: &'u mut Unit<'p>,
        body: &'u Body,
        flow: &'u Flow,
        part: Part<'_>,
    ) -> Emitted {
        let is_kernel = !matches!(part, Part::Device);
        let start = b.create_block();
        b.append_block_params_for_function_params(start);
        b.switch_to_block(start);
        let args = b.block_params(start).to_vec();
        let latch = b.create_block();
        let fault_block = b.create_block();
        b.set_cold_block(fault_block);
        let context = args[0];
        let load = |b: &mut FunctionBuilder<'f>, ty, at| b.ins().load(ty, fixed(), context, at);
        let entry = Entry {
            arena_base: load(&mut b, I64, field!(arena_base)),
            granule_count: load(&mut b, I64, field!(granule_count)),
            granules: load(&mut b, I64, field!(granules)),
            shared: load(&mut b, I64, field!(shared)),
            shared_len: load(&mut b, I64, field!(shared_len)),
            local_len: load(&mut b, I64, field!(local_len)),
            params: if is_kernel { load(&mut b, I64, field!(params)) } else { args[3] },
            results: if is_kernel { context } else { args[4] },
            ntid: [0, 4, 8].map(|n| load(&mut b, I32, field!(ntid) + n)),
        };
        let waits = is_kernel
            && flow.blocks.iter().any(|k| k.reachable && body.insts[k.start..k.end].iter().any(Inst::suspends));
        let zero = b.ins().iconst(I32, 0);
        let thread = Thread { linear: zero, tid: [zero; 3], local: context, frame_offset: context };
        let mut emit = Emit {
            kinds: choose_kinds(body),
            variables: vec![None; body.regs.len()],
            known: vec![None; body.regs.len()],
            offsets: vec![u32::MAX; body.regs.len()],
            b,
            unit,
            body,
            flow,
            is_kernel,
            context,
            entry,
            thread,
            line: 0,
            hoisting: false,
            select: None,
            blocks: Vec::new(),
            latch,
            fault_block,
            waits,
            frame_bytes: 0,
            scratch: [None; 3],
            unchecked: Vec::new(),
            grouped: Vec::new(),
            still: Vec::new(),
            sites: vec![Site::Start],
            site_blocks: vec![None; flow.blocks.len()],
            direct: Vec::new(),
            region: None,
            resumes: Vec::new(),
        };
        let constant = constancy(body, is_kernel, waits);
        let mut regions = false;
        match part {
            Part::Kernel(plan) => regions = emit.kernel(&args, &constant, plan),
            Part::Row(plan) => {
                emit.unchecked.clone_from(&plan.spans);
                emit.row(&args, &constant);
            }
            Part::Lanes(plan) => {
                emit.unchecked.clone_from(&plan.spans);
                emit.still = plan.spans.iter().filter_map(Span::still).collect();
                emit.lanes(&args, &constant);
            }
            Part::Device => emit.device_function(&args),
        }
        let frame_bytes = if waits { emit.frame_bytes.max(1).next_multiple_of(16) } else { 0 };
        let sites = std::mem::take(&mut emit.sites);
        let direct = (0..).zip(&emit.direct).filter(|(_, direct)| direct.is_some()).map(|(site, _)| site).collect();
        emit.b.seal_all_blocks();
        let config = emit.unit.frontend_config();
        emit.b.finalize(config);
        Emitted { sites, frame_bytes, regions, direct }
    }

    fn kernel(&mut self, args: &[ir::Value], constant: &[Constancy], plan: Option<(&Plan, RowCode)>) -> bool {
        let (first, last) = (args[1], args[2]);
        self.thread.frame_offset = self.b.ins().iconst(I64, 0);
        self.hoist(constant, Constancy::Block);
        let nx = self.entry.ntid[0];
        let ny = self.entry.ntid[1];
        let head = self.b.create_block();
        let done = self.b.create_block();
        let run = self.b.create_block();
        for _ in 0..4 {
            self.b.append_block_param(head, I32);
        }
        // Where rows begin: with a plan, a choice between two bodies. Where threads wait, one between regions.
        let choice = self.waits.then(|| self.b.create_block());
        let rows = if plan.is_some() { self.b.create_block() } else { choice.unwrap_or(head) };
        if let Some(choice) = choice {
            for _ in 0..4 {
                self.b.append_block_param(choice, I32);
            }
        }
        // Divisions are slow, and most calls start at the first thread.
        let inside = self.b.create_block();
        let none = self.b.ins().iconst(I32, 0);
        let args: Vec<BlockArg> = [first, none, none, none].map(BlockArg::Value).to_vec();
        self.b.ins().brif(first, inside, &[], rows, &args);
        self.b.switch_to_block(inside);
        let rest = self.b.ins().udiv(first, nx);
        let x = self.b.ins().urem(first, nx);
        let y = self.b.ins().urem(rest, ny);
        let z = self.b.ins().udiv(rest, ny);
        let args: Vec<BlockArg> = [first, x, y, z].map(BlockArg::Value).to_vec();
        self.b.ins().jump(rows, &args);
        if let Some((plan, code)) = plan {
            self.rows(plan, code, constant, last, [rows, head, done]);
        }
        self.b.switch_to_block(head);
        let params = self.b.block_params(head).to_vec();
        let linear = params[0];
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, linear, last);
        self.b.ins().brif(more, run, &[], done, &[]);
        self.b.switch_to_block(run);
        let before = self.known.clone();
        self.enter_thread(&params);
        self.hoist(constant, Constancy::Thread);

        let body_start = self.b.create_block();
        let dispatch = self.waits.then(|| self.dispatch_head(body_start));
        if dispatch.is_none() {
            self.b.ins().jump(body_start, &[]);
        }
        self.b.switch_to_block(body_start);
        self.body_blocks();

        // The way to the next thread.
        self.b.switch_to_block(self.latch);
        let args = self.next_thread(&params, plan.is_some());
        if plan.is_some() {
            let none = self.b.ins().iconst(I32, 0);
            let wraps = args[1].as_value().map(|x| self.b.ins().icmp(IntCC::Equal, x, none));
            let wraps = wraps.unwrap_or(none);
            self.b.ins().brif(wraps, rows, &args, head, &args);
        } else {
            self.b.ins().jump(head, &args);
        }

        self.b.switch_to_block(done);
        let ok = self.b.ins().iconst(I32, 0);
        self.b.ins().return_(&[ok]);
        self.fault_return(linear);

        if let Some((block, state)) = dispatch {
            self.b.switch_to_block(block);
            self.dispatch_table(state, body_start);
        }
        let Some(choice) = choice else { return false };
        let args = self.b.block_params(choice).to_vec();
        let regions = self.regions(constant, last, &before, &args);
        self.b.switch_to_block(choice);
        self.choose_region(&regions, head, &args);
        !regions.is_empty()
    }

    /// What a head takes for the thread after the one it was given `params` for. Coordinates nobody reads stay as they
    /// are, unless `all` are asked for.
    pub(super) fn next_thread(&mut self, params: &[ir::Value], all: bool) -> Vec<BlockArg> {
        let next = self.b.ins().iadd_imm_s(params[0], 1);
        let one_x = self.b.ins().iadd_imm_s(params[1], 1);
        let wrap_x = self.b.ins().icmp(IntCC::Equal, one_x, self.entry.ntid[0]);
        let none = self.b.ins().iconst(I32, 0);
        let x = self.b.ins().select(wrap_x, none, one_x);
        let [y, z] = self.step_row(wrap_x, [params[2], params[3]]);
        let used = coordinates_used(self.body);
        let kept = |n: usize, value| if used[n] || all { value } else { params[n + 1] };
        [next, kept(0, x), kept(1, y), kept(2, z)].map(BlockArg::Value).to_vec()
    }

    /// y and z of the next thread.
    pub(super) fn step_row(&mut self, wrap_x: ir::Value, [y, z]: [ir::Value; 2]) -> [ir::Value; 2] {
        let ny = self.entry.ntid[1];
        let none = self.b.ins().iconst(I32, 0);
        let one_y = self.b.ins().iadd_imm_s(y, 1);
        let next_y = self.b.ins().select(wrap_x, one_y, y);
        let wrap_y = self.b.ins().icmp(IntCC::Equal, next_y, ny);
        let next_y = self.b.ins().select(wrap_y, none, next_y);
        let one_z = self.b.ins().iadd_imm_s(z, 1);
        let next_z = self.b.ins().select(wrap_y, one_z, z);
        [next_y, next_z]
    }

    fn device_function(&mut self, args: &[ir::Value]) {
        self.thread.linear = args[1];
        for n in 0..3 {
            self.thread.tid[n] = self.b.ins().load(I32, fixed(), self.context, field!(tid) + 4 * n as i32);
        }
        self.thread.local = self.b.ins().load(I64, fixed(), self.context, field!(thread_local));
        self.thread.frame_offset = args[2];
        // Both stacks have an end: the thread's local memory and the host's.
        let end = self.b.ins().iadd_imm_s(args[2], i64::from(self.body.local_bytes));
        let local_bad = self.b.ins().icmp(IntCC::UnsignedGreaterThan, end, self.entry.local_len);
        let limit = self.b.ins().load(I64, fixed(), self.context, field!(stack_limit));
        let stack = self.b.ins().get_stack_pointer(I64);
        let stack_bad = self.b.ins().icmp(IntCC::UnsignedLessThan, stack, limit);
        let bad = self.b.ins().bor(local_bad, stack_bad);
        self.fault_if(bad, fault::STACK_OVERFLOW);
        let body_start = self.b.create_block();
        self.b.ins().jump(body_start, &[]);
        self.b.switch_to_block(body_start);
        self.body_blocks();
        self.b.switch_to_block(self.latch);
        let ok = self.b.ins().iconst(I32, 0);
        self.b.ins().return_(&[ok]);
        self.b.switch_to_block(self.fault_block);
        let bad = self.b.ins().iconst(I32, 1);
        self.b.ins().return_(&[bad]);
    }

    /// Computes registers of this constancy before the threads need them.
    pub(super) fn hoist(&mut self, constant: &[Constancy], level: Constancy) {
        self.hoisting = true;
        let body = self.body;
        for inst in &body.insts {
            if let &[Some(dst)] = &inst.dst[..]
                && constant[dst as usize] == level
                && pure(&inst.op)
                && inst.guard.is_none()
            {
                self.operation(inst);
            }
        }
        self.hoisting = false;
    }
}
