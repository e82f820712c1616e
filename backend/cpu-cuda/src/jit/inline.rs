//! Inlining: a kernel and the functions it calls become one flat body where that is needed or cheap.
//!
//! Needed: a function that waits (barriers, collectives) cannot wait on the host's stack, so it is always inlined;
//! recursion through one is refused. Cheap: small functions, as long as the whole stays within a budget.

use crate::engine::{CompileError, Limits};
use crate::ptx::Program;
use crate::ptx::ir::{Access, Body, CallPart, Callee, Guard, Inst, Op, Reg, Signature, Value};
use crate::ptx::types::{Space, Type};

/// Functions up to this many instructions are inlined...
const SMALL: usize = 400;
/// ...while the result has no more than this.
const BUDGET: usize = 20_000;

fn refuse(line: u32, message: impl Into<String>) -> CompileError {
    CompileError { kind: crate::engine::CompileErrorKind::InvalidPtx, line, message: message.into() }
}

/// Which functions wait, themselves or in a direct callee.
pub fn waiting(program: &Program) -> Vec<bool> {
    let mut callers: Vec<Vec<u32>> = vec![Vec::new(); program.bodies.len()];
    let mut waits = vec![false; program.bodies.len()];
    let mut work = Vec::new();
    for (n, function) in program.bodies.iter().enumerate() {
        for inst in &function.body.insts {
            if let Op::Call(Callee::Function(callee), ..) = inst.op {
                callers[callee as usize].push(n as u32);
            }
            if inst.suspends() && !matches!(inst.op, Op::Yield) {
                waits[n] = true;
            }
        }
        if waits[n] {
            work.push(n as u32);
        }
    }
    while let Some(n) = work.pop() {
        for &caller in &callers[n as usize] {
            if !std::mem::replace(&mut waits[caller as usize], true) {
                work.push(caller);
            }
        }
    }
    waits
}

/// The body of function `root` with its callees inlined as said above.
pub fn flatten(program: &Program, root: usize, waits: &[bool], limits: &Limits) -> Result<Body, CompileError> {
    let mut out = Inliner { program, waits, limits, body: Body::default(), stack: vec![root as u32] };
    let source = &program.bodies[root].body;
    out.splice(source, None)?;
    Ok(out.body)
}

/// How a callee's own parameters appear in the caller.
struct Frame {
    params: Vec<(u32, u32, u32)>,
    results: Vec<(u32, u32, u32)>,
    end: u32,
}

struct Inliner<'p> {
    program: &'p Program,
    waits: &'p [bool],
    limits: &'p Limits,
    body: Body,
    stack: Vec<u32>,
}

impl Inliner<'_> {
    fn wanted(&self, callee: u32, line: u32) -> Result<bool, CompileError> {
        let needed = self.waits[callee as usize];
        if self.stack.contains(&callee) {
            return if needed {
                Err(refuse(line, "recursion through a function with barriers or warp collectives"))
            } else {
                Ok(false)
            };
        }
        let body = &self.program.bodies[callee as usize].body;
        if body.stack.is_some() {
            // What it takes from the stack must be given back when it returns.
            return if needed {
                Err(refuse(line, "`alloca` in a function with barriers or warp collectives"))
            } else {
                Ok(false)
            };
        }
        let size = body.insts.len();
        Ok(needed || (size <= SMALL && self.body.insts.len() + size <= BUDGET && self.stack.len() < 16))
    }

    /// Appends `source`; `frame` is how it was called, `None` for the root.
    fn splice(&mut self, source: &Body, frame: Option<&Frame>) -> Result<(), CompileError> {
        let over = |name: &str| CompileError {
            kind: crate::engine::CompileErrorKind::OutOfResources,
            line: 0,
            message: format!("limit reached: {name}"),
        };
        let regs = self.body.regs.len() as u32;
        let slots = self.body.slots.len() as u32;
        let labels = self.body.labels.len() as u32;
        let local = i64::from(self.body.local_bytes.next_multiple_of(16));
        self.body.regs.extend(&source.regs);
        self.body.slots.extend(&source.slots);
        self.body.labels.resize(self.body.labels.len() + source.labels.len(), 0);
        self.body.local_bytes = (local as u32).saturating_add(source.local_bytes);
        if u64::from(self.body.local_bytes) > self.limits.max_local_bytes {
            return Err(over("max_local_bytes"));
        }
        if self.body.regs.len() > self.limits.max_registers || self.body.slots.len() > self.limits.max_registers {
            return Err(over("max_registers"));
        }
        if self.body.regs.len().saturating_mul(self.body.labels.len() + 1) > self.limits.max_register_places {
            return Err(over("max_register_places"));
        }
        if self.stack.len() > self.limits.max_nesting {
            return Err(over("max_nesting"));
        }
        if frame.is_none() {
            self.body.stack = source.stack;
        }
        let map = Map { regs, slots, labels, local, frame };
        let mut places: Vec<(u32, u32)> = source.labels.iter().enumerate().map(|(n, &at)| (at, n as u32)).collect();
        places.sort_unstable();
        let mut place = 0;
        for (index, inst) in source.insts.iter().enumerate() {
            while place < places.len() && places[place].0 as usize <= index {
                self.body.labels[(labels + places[place].1) as usize] = self.body.insts.len() as u32;
                place += 1;
            }
            if self.body.insts.len() > self.limits.max_instructions {
                return Err(over("max_instructions"));
            }
            let inst = map.inst(inst);
            match inst.op {
                Op::Call(Callee::Function(callee), ref args, ref results) if self.wanted(callee, inst.line)? => {
                    let (args, results) = (args.clone(), results.clone());
                    self.call(&inst, callee, &args, &results)?;
                }
                _ => self.body.insts.push(inst),
            }
        }
        Ok(())
    }

    fn call(&mut self, inst: &Inst, callee: u32, args: &[u32], results: &[u32]) -> Result<(), CompileError> {
        let function = &self.program.bodies[callee as usize];
        let signature = &self.program.signatures[function.signature as usize];
        let place = |slots: &[u32], items: &[(u32, u32)]| {
            let (offsets, _) = Signature::layout(items);
            slots.iter().zip(items).zip(offsets).map(|((&s, i), o)| (s, o, i.0)).collect::<Vec<_>>()
        };
        let end = self.body.labels.len() as u32;
        self.body.labels.push(0);
        if let Some(guard) = inst.guard {
            let skip = Guard { reg: guard.reg, negated: !guard.negated };
            self.body.insts.push(Inst {
                guard: Some(skip),
                op: Op::Bra(end),
                dst: vec![],
                src: vec![],
                line: inst.line,
            });
        }
        let frame = Frame { params: place(args, &signature.params), results: place(results, &signature.results), end };
        self.stack.push(callee);
        self.splice(&function.body, Some(&frame))?;
        self.stack.pop();
        self.body.labels[end as usize] = self.body.insts.len() as u32;
        // Something must stand where the label points.
        self.body.insts.push(Inst { guard: None, op: Op::Nop, dst: vec![], src: vec![], line: inst.line });
        Ok(())
    }
}

struct Map<'f> {
    regs: u32,
    slots: u32,
    labels: u32,
    local: i64,
    frame: Option<&'f Frame>,
}

impl Map<'_> {
    fn place(list: &[(u32, u32, u32)], at: i64) -> Option<Value> {
        list.iter()
            .find(|&&(_, offset, size)| at >= i64::from(offset) && at < i64::from(offset) + i64::from(size.max(1)))
            .map(|&(slot, offset, _)| Value::Slot(slot, at - i64::from(offset)))
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::Reg(r) => Value::Reg(r + self.regs),
            Value::NotReg(r) => Value::NotReg(r + self.regs),
            Value::Slot(n, at) => Value::Slot(n + self.slots, at),
            Value::Local(at) => Value::Local(at + self.local),
            Value::Window(at) => Value::Window(at + self.local),
            // An offset in no parameter reads zeros.
            Value::In(at) => self.frame.map_or(value, |f| Self::place(&f.params, at).unwrap_or(Value::Int(0))),
            Value::Out(at) => self.frame.map_or(value, |f| Self::place(&f.results, at).unwrap_or(Value::Int(0))),
            other => other,
        }
    }

    fn inst(&self, inst: &Inst) -> Inst {
        let label = |n: &u32| n + self.labels;
        let slots = |list: &[u32]| list.iter().map(|s| s + self.slots).collect();
        let op = match &inst.op {
            Op::Bra(n) => Op::Bra(label(n)),
            Op::Brx(list) => Op::Brx(list.iter().map(label).collect()),
            Op::Call(callee, args, results) => Op::Call(*callee, slots(args), slots(results)),
            Op::Ret => self.frame.map_or(Op::Ret, |f| Op::Bra(f.end)),
            other => other.clone(),
        };
        let mut src: Vec<Value> = inst.src.iter().map(|&v| self.value(v)).collect();
        let mut op = op;
        // The offset of a parameter access belongs to the address before it can be looked up.
        if let Op::Load(access) | Op::Store(access) = &mut op
            && matches!(inst.src[0], Value::In(_) | Value::Out(_) | Value::Slot(..))
            && let Some(address) = crate::ptx::ir::offset_value(inst.src[0], access.offset)
        {
            src[0] = self.value(address);
            access.offset = 0;
        }
        Inst {
            guard: inst.guard.map(|g| Guard { reg: g.reg + self.regs, negated: g.negated }),
            op,
            dst: inst.dst.iter().map(|d| d.map(|r: Reg| r + self.regs)).collect(),
            src,
            line: inst.line,
        }
    }
}

/// Replaces call-site parameters by registers, or by pieces of the local frame where that cannot be.
///
/// A slot becomes registers if it is only ever read and written whole elements at a time, at offsets that do not
/// overlap. Afterwards only `Op::Invoke` mentions parameters of calls.
pub fn dissolve_slots(body: &mut Body, program: &Program, limits: &Limits) -> Result<(), CompileError> {
    let mut plans: Vec<Plan> = body.slots.iter().map(|_| Plan::default()).collect();
    for inst in &body.insts {
        for (position, value) in inst.src.iter().enumerate() {
            let &Value::Slot(slot, at) = value else { continue };
            let plan = &mut plans[slot as usize];
            match &inst.op {
                Op::Load(access) | Op::Store(access) if position == 0 => {
                    let count = inst.dst.len().max(inst.src.len() - 1);
                    for n in 0..count {
                        plan.add(at + access.offset + n as i64 * i64::from(access.ty.bytes()), access.ty);
                    }
                }
                _ => plan.memory = true,
            }
        }
    }
    for (plan, slot) in plans.iter_mut().zip(&body.slots) {
        plan.settle(slot.size);
        if plan.memory {
            let at = body.local_bytes.next_multiple_of(slot.align.max(1));
            plan.frame = i64::from(at);
            body.local_bytes = at.saturating_add(slot.size);
            if u64::from(body.local_bytes) > limits.max_local_bytes {
                return Err(CompileError {
                    kind: crate::engine::CompileErrorKind::OutOfResources,
                    line: 0,
                    message: "limit reached: max_local_bytes".into(),
                });
            }
        } else {
            for part in &mut plan.parts {
                part.2 = body.regs.len() as Reg;
                body.regs.push(part.1);
            }
        }
    }
    let mut insts = Vec::with_capacity(body.insts.len());
    let mut moved = Vec::with_capacity(body.insts.len() + 1);
    for inst in body.insts.drain(..) {
        moved.push(insts.len() as u32);
        rewrite(inst, &plans, program, &mut insts);
    }
    moved.push(insts.len() as u32);
    for label in &mut body.labels {
        *label = moved[*label as usize];
    }
    body.insts = insts;
    Ok(())
}

#[derive(Default)]
struct Plan {
    /// Offset, type, register.
    parts: Vec<(i64, Type, Reg)>,
    memory: bool,
    frame: i64,
    size: u32,
}

impl Plan {
    fn add(&mut self, at: i64, ty: Type) {
        match self.parts.iter().find(|p| p.0 == at) {
            Some(part) if part.1.bits() != ty.bits() => self.memory = true,
            Some(_) => {}
            None if self.parts.len() >= 64 => self.memory = true,
            None => self.parts.push((at, ty, 0)),
        }
    }

    fn settle(&mut self, size: u32) {
        self.size = size;
        self.parts.sort_by_key(|p| p.0);
        let mut end = 0;
        for part in &self.parts {
            self.memory |= part.0 < end;
            end = part.0 + i64::from(part.1.bytes());
        }
        self.memory |= end > i64::from(size);
    }
}

fn rewrite(mut inst: Inst, plans: &[Plan], program: &Program, out: &mut Vec<Inst>) {
    if let (Op::Load(access) | Op::Store(access), Some(&Value::Slot(slot, at))) = (&inst.op, inst.src.first()) {
        let plan = &plans[slot as usize];
        if !plan.memory {
            let access = *access;
            let load = matches!(inst.op, Op::Load(_));
            let count = if load { inst.dst.len() } else { inst.src.len() - 1 };
            for n in 0..count {
                let offset = at + access.offset + n as i64 * i64::from(access.ty.bytes());
                let Some(part) = plan.parts.iter().find(|p| p.0 == offset) else { continue };
                let reg = part.2;
                let (dst, src) = if load { (inst.dst[n], Value::Reg(reg)) } else { (Some(reg), inst.src[n + 1]) };
                // A narrow element in a wide register is extended as its type says, as a load would do.
                let op = Op::Cvt(crate::ptx::ir::Cvt::extend(access.ty));
                let op = if load && access.ty.bits() < 32 && access.ty.is_integer() { op } else { Op::Mov(access.ty) };
                out.push(Inst { guard: inst.guard, op, dst: vec![dst], src: vec![src], line: inst.line });
            }
            return;
        }
    }
    let access = matches!(inst.op, Op::Load(_) | Op::Store(_));
    for (position, value) in inst.src.iter_mut().enumerate() {
        if let Value::Slot(slot, at) = *value {
            let at = plans[slot as usize].frame + at;
            *value = if access && position == 0 { Value::Local(at) } else { Value::Window(at) };
        }
    }
    if let Op::Load(access) | Op::Store(access) = &mut inst.op
        && matches!(inst.src[0], Value::Local(_))
    {
        access.space = crate::ptx::types::Space::Local;
    }
    if let Op::Call(callee, args, results) = &inst.op {
        let mut src = inst.src.clone();
        let mut dst = Vec::new();
        let (params, returned) = shapes(*callee, program);
        let describe = |list: &[u32], items: &[Shape], values: &mut dyn FnMut(Reg)| -> Vec<CallPart> {
            let (offsets, _) = Signature::layout(items);
            let mut parts = Vec::new();
            for ((&slot, &offset), &(size, _)) in list.iter().zip(&offsets).zip(items) {
                let plan = &plans[slot as usize];
                if plan.memory {
                    parts.push(CallPart::Frame { offset, frame: plan.frame as u32, size: size.min(plan.size) });
                    continue;
                }
                // What the callee has no room for it does not see.
                for part in plan.parts.iter().filter(|p| p.0 + i64::from(p.1.bytes()) <= i64::from(size)) {
                    parts.push(CallPart::Reg { offset: offset + part.0 as u32, ty: part.1 });
                    values(part.2);
                }
            }
            parts
        };
        let args = describe(args, &params, &mut |r| src.push(Value::Reg(r)));
        let results = describe(results, &returned, &mut |r| dst.push(Some(r)));
        out.push(Inst { guard: inst.guard, op: Op::Invoke(*callee, args, results), dst, src, line: inst.line });
        return;
    }
    out.push(inst);
}

/// Size and alignment of a parameter.
pub type Shape = (u32, u32);

/// Sizes and alignments of the parameters and results of a callee.
pub fn shapes(callee: Callee, program: &Program) -> (Vec<Shape>, Vec<Shape>) {
    let number = match callee {
        // Every parameter of an engine function has eight bytes to itself.
        Callee::Builtin(_) => return (vec![(8, 8); 5], vec![(8, 8)]),
        Callee::Function(n) => program.bodies[n as usize].signature,
        Callee::Pointer { signature } => signature,
    };
    let signature = &program.signatures[number as usize];
    (signature.params.clone(), signature.results.clone())
}

/// Makes the parameters of a function called on the stack addressable, where their address is taken: they are copied
/// to the local frame at the start, and the code uses the copy.
pub fn keep_parameters(body: &mut Body, program: &Program, index: usize, limits: &Limits) -> Result<(), CompileError> {
    let is_access = |i: &Inst| matches!(i.op, Op::Load(_) | Op::Store(_));
    let taken = |v: &Value| matches!(v, Value::In(_));
    if !body.insts.iter().any(|i| i.src.iter().skip(usize::from(is_access(i))).any(taken)) {
        return Ok(());
    }
    let total = program.functions[index].param_bytes;
    let base = body.local_bytes.next_multiple_of(16);
    body.local_bytes = base.saturating_add(total);
    if u64::from(body.local_bytes) > limits.max_local_bytes {
        return Err(refuse(0, "the parameters do not fit local memory"));
    }
    for inst in &mut body.insts {
        let access = matches!(inst.op, Op::Load(_) | Op::Store(_));
        for (position, value) in inst.src.iter_mut().enumerate() {
            if let Value::In(at) = *value {
                let at = i64::from(base) + at;
                *value = if access && position == 0 { Value::Local(at) } else { Value::Window(at) };
            }
        }
        if let Op::Load(access) | Op::Store(access) = &mut inst.op
            && matches!(inst.src[0], Value::Local(_))
        {
            access.space = Space::Local;
        }
    }
    let mut copies = Vec::new();
    let reg = body.regs.len() as Reg;
    body.regs.push(Type::B8);
    for at in 0..i64::from(total) {
        let access = |space| Access { space, ty: Type::B8, offset: 0, strong: false };
        let line = body.insts.first().map_or(0, |i| i.line);
        copies.push(Inst {
            guard: None,
            op: Op::Load(access(Space::Param)),
            dst: vec![Some(reg)],
            src: vec![Value::In(at)],
            line,
        });
        copies.push(Inst {
            guard: None,
            op: Op::Store(access(Space::Local)),
            dst: vec![],
            src: vec![Value::Local(i64::from(base) + at), Value::Reg(reg)],
            line,
        });
    }
    for label in &mut body.labels {
        *label += copies.len() as u32;
    }
    copies.append(&mut body.insts);
    body.insts = copies;
    Ok(())
}
