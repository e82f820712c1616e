//! A kernel and all that is compiled with it: one Cranelift module, freed with the kernel.

use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, AbiParam, InstBuilder, MemFlagsData, Signature};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module};

use crate::engine::{CompileError, CompileErrorKind, Limits};
use crate::exec::matrix;
use crate::jit::context::{EXCHANGE_ARRAYS, FunctionSlot};
use crate::jit::emit::{Emit, Emitted, Part, RowCode, field};
use crate::jit::flow::Flow;
use crate::jit::{Bindings, inline, rows, runtime, yields};
use crate::ptx::Program;
use crate::ptx::ir::{Barrier, Body, Callee, Collective, Op, Value};

/// Functions with more registers than this may have large frames on the host's stack.
const SMALL_FRAME: usize = 8192;

/// Addresses reserved for the code and constants of one kernel, in bytes; pages are taken as they are used. They are one
/// range because code reaches its constants and other functions by distances of 32 bits (x86-64: 2 GiB either way).
const MAX_CODE_BYTES: usize = 1 << 30;

/// Where and for what a thread waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Site {
    /// The start of the kernel.
    Start,
    /// Nothing: it only gives others a turn.
    Yield,
    /// A barrier, with its number where that is a constant.
    Barrier(Barrier, Option<u32>),
    /// A warp collective.
    Collective(Gathering),
}

impl Site {
    /// Lanes leave the registers of matrices here.
    fn has_matrices(&self) -> bool {
        let Site::Collective(gathering) = self else { return false };
        matches!(gathering.kind, Collective::Mma(_) | Collective::StoreMatrix { .. })
    }
}

/// A warp collective and those of its operands that are the same for every lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gathering {
    /// What is done.
    pub kind: Collective,
    /// It has no member mask.
    pub legacy: bool,
    /// Second and third operand, where constant.
    pub constants: [Option<u32>; 2],
    /// The mask, where constant.
    pub mask: Option<u32>,
}

/// A compiled kernel.
pub struct Kernel {
    module: Option<JITModule>,
    /// `fn(context, first, last) -> fault?`
    pub code: unsafe extern "C" fn(*mut crate::jit::context::Context, u32, u32) -> u32,
    /// Where threads wait.
    pub sites: Vec<Site>,
    /// Bytes of a thread's frame; 0 if threads never wait.
    pub frame_bytes: u32,
    /// Arrays of the exchange.
    pub exchange_arrays: usize,
    /// Bytes of local memory of a thread without recursion.
    pub local_bytes: u32,
    /// It calls functions on the stack, so recursion may need more local memory.
    pub calls: bool,
    /// It needs more of the host's stack than any thread may be expected to have left.
    pub large_stack: bool,
    /// Threads that all stand at one place can be run from there by `Context::region`.
    pub regions: bool,
    /// Places whose shuffle the region behind it does; if there are some, regions are for whole warps only.
    pub direct: Vec<u32>,
    /// Some threads wait for others of their warp.
    pub has_collectives: bool,
    /// Bytes of static shared memory.
    pub shared_bytes: u32,
    /// Function pointers.
    pub functions: Vec<FunctionSlot>,
}

// SAFETY: the code and tables are not written after they are made, and the module is only kept to be freed.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: whoever runs the code holds a reference to the kernel, so nobody does.
            unsafe { module.free_memory() };
        }
    }
}

/// What is compiled together.
pub struct Unit<'p> {
    /// The checked module.
    pub program: &'p Program,
    bindings: &'p Bindings,
    limits: &'p Limits,
    module: JITModule,
    slow: FuncId,
    shared: Vec<u32>,
    shared_bytes: u32,
    waits: Vec<bool>,
    /// Functions called on the stack, by number.
    called: Vec<Option<FuncId>>,
    queue: Vec<u32>,
    /// The function being compiled.
    current: u32,
    /// Call instructions that go through pointers exist.
    pub indirect: bool,
}

fn internal(message: impl std::fmt::Display) -> CompileError {
    CompileError {
        kind: CompileErrorKind::OutOfResources,
        line: 0,
        message: format!("the code generator failed: {message}"),
    }
}

fn new_module() -> Result<JITModule, CompileError> {
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", "speed"),
        ("use_colocated_libcalls", "false"),
        ("is_pic", "false"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        // A frame that does not fit the stack must meet the guard page, not what lies behind it.
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        ("unwind_info", "false"),
    ] {
        flags.set(name, value).map_err(internal)?;
    }
    let isa = cranelift_native::builder().map_err(internal)?.finish(settings::Flags::new(flags)).map_err(internal)?;
    let mut builder = JITBuilder::with_isa(isa, cranelift_module::default_libcall_names());
    builder.memory_provider(Box::new(ArenaMemoryProvider::new_with_size(MAX_CODE_BYTES).map_err(internal)?));
    Ok(JITModule::new(builder))
}

/// Compiles kernel `index`.
pub fn compile(program: &Program, index: usize, bindings: &Bindings, limits: &Limits) -> Result<Kernel, CompileError> {
    let waits = inline::waiting(program);
    let mut body = inline::flatten(program, index, &waits, limits)?;
    inline::dissolve_slots(&mut body, program, limits)?;
    yields::insert(&mut body);
    let mut module = new_module()?;
    let slow = define_slow(&mut module)?;
    let mut unit = Unit {
        program,
        bindings,
        limits,
        module,
        slow,
        shared: vec![u32::MAX; program.shared.len()],
        shared_bytes: 0,
        waits,
        called: vec![None; program.bodies.len()],
        queue: Vec::new(),
        current: index as u32,
        indirect: false,
    };
    let bodies = unit.reachable(&body)?;
    unit.place_shared(std::iter::once(&body).chain(bodies.iter().flatten()));
    let (kernel, emitted) = unit.define(&body, None)?;
    while let Some(n) = unit.queue.pop() {
        if let Some(body) = &bodies[n as usize] {
            unit.define(body, Some(n))?;
        }
    }
    unit.module.finalize_definitions().map_err(internal)?;
    let mut functions = Vec::new();
    if unit.indirect {
        for (n, id) in unit.called.iter().enumerate() {
            let taken = program.bodies[n].address_taken && !unit.waits[n];
            let code = match id {
                Some(id) if taken => unit.module.get_finalized_function(*id) as u64,
                _ => 0,
            };
            functions.push(FunctionSlot { code, signature: u64::from(program.bodies[n].signature) });
        }
    }
    let address = unit.module.get_finalized_function(kernel);
    // SAFETY: `define` gave the kernel this signature.
    let code = unsafe {
        std::mem::transmute::<*const u8, unsafe extern "C" fn(*mut crate::jit::context::Context, u32, u32) -> u32>(
            address,
        )
    };
    let calls = unit.called.iter().any(Option::is_some) || body.stack.is_some();
    let deepest = bodies.iter().flatten().map(|b| b.local_bytes.next_multiple_of(16) + 16).sum::<u32>();
    Ok(Kernel {
        code,
        large_stack: calls || body.regs.len() > SMALL_FRAME,
        regions: emitted.regions,
        direct: emitted.direct,
        has_collectives: emitted.sites.iter().any(|s| matches!(s, Site::Collective(..))),
        exchange_arrays: if emitted.sites.iter().any(Site::has_matrices) { matrix::WORDS } else { EXCHANGE_ARRAYS },
        sites: emitted.sites,
        frame_bytes: emitted.frame_bytes,
        local_bytes: body.local_bytes.next_multiple_of(16) + if calls { deepest } else { 0 },
        calls,
        shared_bytes: unit.shared_bytes,
        functions,
        module: Some(unit.module),
    })
}

/// The slow path of accesses, callable without disturbing the registers of the fast one.
fn define_slow(module: &mut JITModule) -> Result<FuncId, CompileError> {
    let mut signature = Signature::new(CallConv::PreserveAll);
    signature.params.extend([AbiParam::new(I64); 3]);
    let id = module.declare_function("slow", Linkage::Local, &signature).map_err(internal)?;
    let mut context = module.make_context();
    context.func.signature = signature;
    let mut builder_context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    let args = b.block_params(block).to_vec();
    let mut plain = Signature::new(module.isa().default_call_conv());
    plain.params.extend([AbiParam::new(I64); 3]);
    plain.returns.push(AbiParam::new(I64));
    let plain = b.import_signature(plain);
    let helper = b.ins().iconst(I64, runtime::resolve as *const () as i64);
    let call = b.ins().call_indirect(plain, helper, &args);
    let result = b.inst_results(call)[0];
    b.ins().store(MemFlagsData::trusted(), result, args[0], field!(resolved));
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(module.isa().frontend_config());
    module.define_function(id, &mut context).map_err(internal)?;
    Ok(id)
}

impl Unit<'_> {
    /// Flat bodies of the functions that may be called on the stack, by number.
    fn reachable(&mut self, root: &Body) -> Result<Vec<Option<Body>>, CompileError> {
        let mut bodies: Vec<Option<Body>> = self.program.bodies.iter().map(|_| None).collect();
        let mut work: Vec<u32> = Vec::new();
        self.scan(root, &mut work);
        while let Some(n) = work.pop() {
            if bodies[n as usize].is_some() {
                continue;
            }
            if self.waits[n as usize] {
                // Reached through a pointer only, and such a call finds no code.
                continue;
            }
            let mut body = inline::flatten(self.program, n as usize, &self.waits, self.limits)?;
            inline::keep_parameters(&mut body, self.program, n as usize, self.limits)?;
            inline::dissolve_slots(&mut body, self.program, self.limits)?;
            self.scan(&body, &mut work);
            bodies[n as usize] = Some(body);
        }
        Ok(bodies)
    }

    fn scan(&mut self, body: &Body, work: &mut Vec<u32>) {
        for inst in &body.insts {
            match &inst.op {
                Op::Invoke(Callee::Function(n), ..) => work.push(*n),
                Op::Invoke(Callee::Pointer { .. }, ..) if !self.indirect => {
                    self.indirect = true;
                    let taken = (0..self.program.bodies.len() as u32).filter(|&n| {
                        self.program.bodies[n as usize].address_taken && !self.program.functions[n as usize].is_entry
                    });
                    work.extend(taken.clone());
                    for n in taken {
                        if !self.waits[n as usize] {
                            self.function_id(n);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Gives the shared variables that are used their offsets.
    fn place_shared<'b>(&mut self, bodies: impl Iterator<Item = &'b Body>) {
        let mut dynamic = Vec::new();
        let mut align = 16;
        for body in bodies {
            for value in body.insts.iter().flat_map(|i| &i.src) {
                let &Value::Shared(n, _) = value else { continue };
                let var = self.program.shared[n as usize];
                if self.shared[n as usize] != u32::MAX {
                    continue;
                }
                if var.dynamic {
                    align = align.max(var.align);
                    dynamic.push(n);
                    self.shared[n as usize] = 0;
                    continue;
                }
                let at = self.shared_bytes.next_multiple_of(var.align);
                self.shared[n as usize] = at;
                self.shared_bytes = at.saturating_add(var.size).min(1 << 30);
            }
        }
        if !dynamic.is_empty() {
            self.shared_bytes = self.shared_bytes.next_multiple_of(align);
        }
        for n in dynamic {
            self.shared[n as usize] = self.shared_bytes;
        }
    }

    /// The function a call on the stack goes to; compiled later.
    fn function_id(&mut self, n: u32) -> Option<FuncId> {
        if let Some(id) = self.called[n as usize] {
            return Some(id);
        }
        let signature = self.device_signature();
        let id = self.module.declare_function(&format!("f{n}"), Linkage::Local, &signature).ok()?;
        self.called[n as usize] = Some(id);
        self.queue.push(n);
        Some(id)
    }

    /// Signature of functions called on the stack.
    pub fn device_signature(&self) -> Signature {
        let mut signature = Signature::new(self.module.isa().default_call_conv());
        signature.params.extend([I64, I32, I64, I64, I64].map(AbiParam::new));
        signature.returns.push(AbiParam::new(I32));
        signature
    }

    /// A signature for a helper.
    pub fn helper_signature(&self, params: impl Iterator<Item = ir::Type>, result: Option<ir::Type>) -> Signature {
        let mut signature = Signature::new(self.module.isa().default_call_conv());
        signature.params.extend(params.map(AbiParam::new));
        signature.returns.extend(result.map(AbiParam::new));
        signature
    }

    fn define(&mut self, body: &Body, number: Option<u32>) -> Result<(FuncId, Emitted), CompileError> {
        let flow = Flow::new(body)?;
        self.current = number.unwrap_or(self.current);
        let (id, signature) = match number {
            Some(n) => {
                let id = self.function_id(n).ok_or_else(|| internal("declaration"))?;
                (id, self.device_signature())
            }
            None => {
                let signature = self.helper_signature([I64, I32, I32].into_iter(), Some(I32));
                (self.module.declare_function("kernel", Linkage::Local, &signature).map_err(internal)?, signature)
            }
        };
        if number.is_some() {
            return Ok((id, self.build(id, signature, body, &flow, Part::Device)?));
        }
        let Some(plan) = rows::plan(body) else {
            return Ok((id, self.build(id, signature, body, &flow, Part::Kernel(None))?));
        };
        let row = self.helper_signature([I64, I32, I32, I32, I32, I32].into_iter(), Some(I32));
        let one = self.module.declare_function("row", Linkage::Local, &row).map_err(internal)?;
        let four = match plan.lanes {
            Some(_) => Some(self.module.declare_function("lanes", Linkage::Local, &row).map_err(internal)?),
            None => None,
        };
        let kernel = self.build(id, signature, body, &flow, Part::Kernel(Some((&plan, RowCode { one, four }))))?;
        self.build(one, row.clone(), body, &flow, Part::Row(&plan))?;
        if let Some(four) = four {
            self.build(four, row, body, &flow, Part::Lanes(&plan))?;
        }
        Ok((id, kernel))
    }

    fn build(
        &mut self,
        id: FuncId,
        signature: Signature,
        body: &Body,
        flow: &Flow,
        part: Part<'_>,
    ) -> Result<Emitted, CompileError> {
        let mut context = self.module.make_context();
        context.func.signature = signature;
        let mut builder_context = FunctionBuilderContext::new();
        let builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
        let emitted = Emit::function(builder, self, body, flow, part);
        self.module.define_function(id, &mut context).map_err(|e| internal(format!("{e:?}")))?;
        Ok(emitted)
    }

    /// A function of this unit as the function being built may call it.
    pub fn function(&mut self, id: FuncId, func: &mut ir::Function) -> ir::FuncRef {
        self.module.declare_func_in_func(id, func)
    }

    /// The function `n` as the function being built may call it.
    pub fn callee(&mut self, n: u32, func: &mut ir::Function) -> Option<ir::FuncRef> {
        let id = self.function_id(n)?;
        Some(self.module.declare_func_in_func(id, func))
    }

    /// The slow path, likewise.
    pub fn slow(&mut self, func: &mut ir::Function) -> ir::FuncRef {
        self.module.declare_func_in_func(self.slow, func)
    }

    /// What the builder must know of the target.
    pub fn frontend_config(&self) -> TargetFrontendConfig {
        self.module.isa().frontend_config()
    }

    /// Bytes of the parameters, or results, of the function being compiled.
    pub fn param_range(&self, results: bool) -> u32 {
        let signature = &self.program.signatures[self.program.bodies[self.current as usize].signature as usize];
        let items = if results { &signature.results } else { &signature.params };
        crate::ptx::ir::Signature::layout(items).1
    }

    /// Where variable `n` is; 0 if it has no place.
    pub fn global_address(&self, n: u32) -> u64 {
        self.bindings.globals[n as usize].load(std::sync::atomic::Ordering::Acquire)
    }

    /// Offset of a shared variable.
    pub fn shared_offset(&self, n: u32) -> u32 {
        match self.shared[n as usize] {
            u32::MAX => 0,
            at => at,
        }
    }

    /// Address of the cell that holds the handle of a texture reference.
    pub fn texture_cell(&self, n: u32) -> u64 {
        std::ptr::from_ref(&self.bindings.textures[n as usize]) as u64
    }

    /// The same of a surface reference.
    pub fn surface_cell(&self, n: u32) -> u64 {
        std::ptr::from_ref(&self.bindings.surfaces[n as usize]) as u64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a failure is the test's
mod tests {
    use super::*;
    use cranelift_module::{DataDescription, DataId};

    /// Data of the module, zeroed.
    fn define_zeros(module: &mut JITModule, bytes: usize) -> Result<DataId, CompileError> {
        let id = module.declare_data("zeros", Linkage::Local, false, false).map_err(internal)?;
        let mut data = DataDescription::new();
        data.define_zeroinit(bytes);
        module.define_data(id, &data).map_err(internal)?;
        Ok(id)
    }

    #[test]
    fn code_reaches_its_data_when_other_mappings_come_between() {
        let mut module = new_module().unwrap();
        let slow = define_slow(&mut module).unwrap();
        let bytes = 4usize << 30;
        // SAFETY: a new mapping, without access, at a place that the kernel picks.
        let between = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0)
        };
        assert_ne!(between, libc::MAP_FAILED);
        // Too large for what may be free above that mapping.
        let data = define_zeros(&mut module, 96 << 20).unwrap();
        module.finalize_definitions().unwrap();
        let (code, data) = (module.get_finalized_function(slow), module.get_finalized_data(data).0);
        assert!(code.addr().abs_diff(data.addr()) < MAX_CODE_BYTES, "{code:?} {data:?}");
        // SAFETY: the mapping made above, of which nothing was kept, and code that nobody runs.
        unsafe {
            assert_eq!(libc::munmap(between, bytes), 0);
            module.free_memory();
        }
    }

    #[test]
    fn a_kernel_larger_than_its_addresses_is_an_error() {
        let mut module = new_module().unwrap();
        assert!(define_zeros(&mut module, MAX_CODE_BYTES + 1).is_err());
    }
}
