//! From checked PTX to machine code, through Cranelift.
//!
//! `unit` compiles a kernel with what it calls, when it is first launched: `inline` makes flat bodies, `yields` adds turns to
//! spinning loops, `flow` finds out what lives where, `rows` which checks can be done for many threads at once and `lanes`
//! which kernels can be run four threads at a time, `emit` and its neighbours write the code (`wait`, `regions`, `control`,
//! `faults`, `value`, `operation`, `integer`, `bits`, `float`, `convert`, `memory`, `atomic`, `call`, `texture`), `runtime`
//! holds what the code calls, and `context` what it sees.

mod atomic;
mod bits;
mod call;
pub mod context;
mod control;
mod convert;
mod emit;
mod faults;
mod float;
mod flow;
mod groups;
mod inline;
mod integer;
mod kinds;
mod lanes;
mod memory;
mod operation;
mod region_lanes;
mod regions;
mod rows;
pub mod runtime;
mod runtime_atomic;
mod runtime_barrier;
pub mod runtime_float8;
mod runtime_host;
mod runtime_texture;
mod shuffles;
pub mod soft;
mod texture;
pub mod unit;
mod value;
mod wait;
mod yields;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::engine::{CompileError, CompileErrorKind, Limits, Options};
use crate::ptx::Program;
use unit::Kernel;

/// Addresses and handles the driver API gives a module. Cells stay where they are while the module lives.
pub struct Bindings {
    /// Addresses of variables; 0 where there is none.
    pub globals: Vec<AtomicU64>,
    /// Handles of texture references.
    pub textures: Vec<AtomicU64>,
    /// Handles of surface references.
    pub surfaces: Vec<AtomicU64>,
}

/// A module and the code made of it so far.
pub struct Code {
    program: Program,
    limits: Limits,
    bindings: Bindings,
    kernels: Vec<OnceLock<Result<Arc<Kernel>, CompileError>>>,
}

impl Code {
    /// Takes a checked program.
    pub fn new(mut program: Program, options: &Options) -> Result<Code, CompileError> {
        let cells = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let mut budget = MAX_DESCRIBED;
        for index in 0..program.functions.len() {
            describe(&mut program, index, &mut budget)?;
        }
        Ok(Code {
            bindings: Bindings {
                globals: cells(program.globals.len()),
                textures: cells(program.textures.len()),
                surfaces: cells(program.surfaces.len()),
            },
            kernels: program.functions.iter().map(|_| OnceLock::new()).collect(),
            limits: options.limits,
            program,
        })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Compiles every kernel.
    pub fn compile_all(&self) -> Result<(), CompileError> {
        for (index, info) in self.program.functions.iter().enumerate() {
            if info.is_entry {
                self.compile(index)?;
            }
        }
        Ok(())
    }

    /// The code of kernel `index`, compiled if it was not yet.
    pub fn compile(&self, index: usize) -> Result<Arc<Kernel>, CompileError> {
        let wrong =
            |message: &str| CompileError { kind: CompileErrorKind::InvalidPtx, line: 0, message: message.to_owned() };
        let (Some(cell), Some(info)) = (self.kernels.get(index), self.program.functions.get(index)) else {
            return Err(wrong("no such function"));
        };
        if !info.is_entry {
            return Err(wrong("a device function cannot be launched"));
        }
        cell.get_or_init(|| {
            // The code generator asserts what it believes of its input; a mistake there must not end the process.
            let attempt =
                std::panic::AssertUnwindSafe(|| unit::compile(&self.program, index, &self.bindings, &self.limits));
            match std::panic::catch_unwind(attempt) {
                Ok(result) => result.map(Arc::new),
                Err(_) => Err(wrong("the code generator failed on this kernel")),
            }
        })
        .clone()
    }

    /// See [`crate::engine::Module::bind_global`].
    pub fn bind_global(&self, index: usize, address: u64) {
        if let Some(cell) = self.bindings.globals.get(index) {
            cell.store(address, Ordering::Release);
        }
    }

    /// See [`crate::engine::Module::bind_texture`].
    pub fn bind_texture(&self, index: usize, handle: u64) {
        if let Some(cell) = self.bindings.textures.get(index) {
            cell.store(handle, Ordering::Release);
        }
    }

    /// See [`crate::engine::Module::bind_surface`].
    pub fn bind_surface(&self, index: usize, handle: u64) {
        if let Some(cell) = self.bindings.surfaces.get(index) {
            cell.store(handle, Ordering::Release);
        }
    }
}

/// Instructions looked at in all to describe the functions of a module, each with everything it calls.
const MAX_DESCRIBED: usize = 200_000_000;

/// Fills in what the API asks about a function and only its body tells.
fn describe(program: &mut Program, index: usize, budget: &mut usize) -> Result<(), CompileError> {
    use crate::ptx::ir::{Callee, Op, Value};
    let mut seen = vec![false; program.bodies.len()];
    let mut shared = vec![false; program.shared.len()];
    let mut work = vec![index as u32];
    let mut local = 0u32;
    while let Some(n) = work.pop() {
        if std::mem::replace(&mut seen[n as usize], true) {
            continue;
        }
        let body = &program.bodies[n as usize].body;
        *budget = budget.checked_sub(body.insts.len()).ok_or_else(|| CompileError {
            kind: CompileErrorKind::OutOfResources,
            line: 0,
            message: "limit reached: MAX_DESCRIBED".to_owned(),
        })?;
        local = local.saturating_add(body.local_bytes);
        for inst in &body.insts {
            if let Op::Call(Callee::Function(callee), ..) = &inst.op {
                work.push(*callee);
            }
            for value in &inst.src {
                if let Value::Shared(n, _) = value {
                    shared[*n as usize] = true;
                }
            }
        }
    }
    let mut bytes = 0u32;
    for (var, _) in program.shared.iter().zip(&shared).filter(|(_, used)| **used) {
        bytes = bytes.next_multiple_of(var.align).saturating_add(var.size);
    }
    let registers = registers(&program.bodies[index].body);
    let info = &mut program.functions[index];
    info.static_shared_bytes = bytes;
    info.local_bytes = local;
    info.registers = if info.max_registers == 0 { registers } else { registers.min(info.max_registers) };
    Ok(())
}

/// 32-bit registers alive at once, at the most, as a rough forward scan sees it: from first to last mention.
fn registers(body: &crate::ptx::ir::Body) -> u32 {
    let mut range: Vec<Option<(usize, usize)>> = vec![None; body.regs.len()];
    for (n, inst) in body.insts.iter().enumerate() {
        for reg in inst.uses().chain(inst.defs()) {
            let span = range[reg as usize].get_or_insert((n, n));
            span.1 = n;
        }
    }
    let mut change = vec![0i64; body.insts.len() + 2];
    for (span, ty) in range.iter().zip(&body.regs) {
        let Some((first, last)) = span else { continue };
        let words = if *ty == crate::ptx::types::Type::Pred { 0 } else { i64::from(ty.bits().div_ceil(32)) };
        change[*first] += words;
        change[*last + 1] -= words;
    }
    let mut alive = 0;
    let most = change.iter().map(|c| {
        alive += c;
        alive
    });
    // What the hardware adds for addresses and the calling convention.
    (most.max().unwrap_or(0) as u32 + 8).clamp(10, 255)
}
