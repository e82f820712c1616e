//! Launches: checks a configuration, packs the parameters, and runs kernels on the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::context::Context;
use crate::device;
use crate::driver;
use crate::engine::{self, FaultKind, FunctionInfo};
use crate::foreign::In;
use crate::kernel_memory::KernelMemory;
use crate::module::Function;
use crate::status::{Answer, Status};
use crate::stream;
use crate::work::lock;

/// Grid, block and dynamic shared memory of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub block: [u32; 3],
    /// Blocks of a cluster along x, y, z.
    pub cluster: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub shared: u32,
    /// All blocks must be resident together.
    pub cooperative: bool,
}

impl Shape {
    /// A launch with no cluster.
    pub fn new(grid: [u32; 3], block: [u32; 3], shared: u32) -> Shape {
        Shape { grid, block, cluster: [1; 3], shared, cooperative: false }
    }
}

/// Words of a CUlaunchAttributeValue.
pub const ATTRIBUTE_WORDS: usize = 16;
/// CU_LAUNCH_ATTRIBUTE_COOPERATIVE.
pub const ATTRIBUTE_COOPERATIVE: u32 = 2;
/// CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION.
pub const ATTRIBUTE_CLUSTER: u32 = 4;

/// A kernel with all it needs to run.
pub struct KernelCall {
    /// The kernel.
    pub function: Arc<Function>,
    /// Its configuration.
    pub shape: Shape,
    /// Its parameter block.
    pub params: Vec<u8>,
    /// Launch attributes that a graph's node was given and that change nothing here, by their number.
    pub advice: BTreeMap<u32, [u32; ATTRIBUTE_WORDS]>,
}

impl KernelCall {
    /// Checks a launch and compiles the kernel if this is its first.
    pub fn new(function: Arc<Function>, shape: Shape, params: Vec<u8>) -> Answer<KernelCall> {
        let mut shape = shape;
        let info = function.info()?;
        if let Some(cluster) = info.required_cluster {
            shape.cluster = cluster;
        }
        check(&function, info, &shape)?;
        if params.len() < info.param_bytes as usize {
            return Err(Status::INVALID_VALUE);
        }
        function.ready()?;
        Ok(KernelCall { function, shape, params, advice: BTreeMap::new() })
    }

    /// The same launch with another value of an attribute.
    pub fn with_attribute(&self, number: u32, value: [u32; ATTRIBUTE_WORDS]) -> Answer<KernelCall> {
        let (mut shape, mut advice) = (self.shape, self.advice.clone());
        match number {
            ATTRIBUTE_COOPERATIVE => shape.cooperative = value[0] != 0,
            ATTRIBUTE_CLUSTER => shape.cluster = [value[0], value[1], value[2]],
            1 | 6 | 8..=11 | 13..=15 => drop(advice.insert(number, value)),
            _ => return Err(Status::INVALID_VALUE),
        }
        let call = KernelCall::new(self.function.clone(), shape, self.params.clone())?;
        Ok(KernelCall { advice, ..call })
    }

    /// The value of an attribute.
    pub fn attribute(&self, number: u32) -> Answer<[u32; ATTRIBUTE_WORDS]> {
        let mut value = [0; ATTRIBUTE_WORDS];
        match number {
            ATTRIBUTE_COOPERATIVE => value[0] = u32::from(self.shape.cooperative),
            ATTRIBUTE_CLUSTER => value[..3].copy_from_slice(&self.shape.cluster),
            1 | 6 | 8..=11 | 13..=15 => value = self.advice.get(&number).copied().unwrap_or(value),
            _ => return Err(Status::INVALID_VALUE),
        }
        Ok(value)
    }

    /// Runs it to its end on this thread and the engine's.
    pub fn run(&self, context: &Arc<Context>) -> Answer {
        let memory = KernelMemory::new(context.clone())?;
        let stack = lock(&context.limits)[0];
        let bytes = self.function.info()?.param_bytes as usize;
        let launch = engine::Launch {
            function: self.function.index,
            grid: self.shape.grid,
            block: self.shape.block,
            cluster: self.shape.cluster,
            dynamic_shared_bytes: self.shape.shared,
            params: self.params.get(..bytes).ok_or(Status::INVALID_VALUE)?,
            cooperative: self.shape.cooperative,
            stack_bytes: u32::try_from(stack).unwrap_or(u32::MAX),
            max_workers: driver::initialised()?.cores,
            grid_id: stream::next_grid_id(),
        };
        engine::run(&self.function.module.code, &launch, &memory, &context.cancel).map_err(|fault| {
            log::error!("kernel {}: {fault}", self.function.name.to_string_lossy());
            fault_status(fault.kind)
        })
    }
}

fn fault_status(kind: FaultKind) -> Status {
    match kind {
        FaultKind::IllegalAddress => Status::ILLEGAL_ADDRESS,
        FaultKind::Misaligned => Status::MISALIGNED_ADDRESS,
        FaultKind::Assert => Status::ASSERT,
        // A GPU runs out of the stack into what lies behind it, and fetches instructions from wherever it is sent.
        FaultKind::StackOverflow | FaultKind::InvalidPc => Status::ILLEGAL_ADDRESS,
        FaultKind::IllegalInstruction => Status::ILLEGAL_INSTRUCTION,
        FaultKind::InvalidAddressSpace => Status::INVALID_ADDRESS_SPACE,
        FaultKind::InvalidLaunch => Status::LAUNCH_OUT_OF_RESOURCES,
        FaultKind::Trap | FaultKind::Compile | FaultKind::Cancelled => Status::LAUNCH_FAILED,
    }
}

/// What a GPU driver checks before it takes a launch.
fn check(function: &Function, info: &FunctionInfo, shape: &Shape) -> Answer {
    let bad = Err(Status::INVALID_VALUE);
    let within =
        |values: [u32; 3], most: [u32; 3]| values.iter().zip(most).all(|(value, most)| (1..=most).contains(value));
    if !within(shape.grid, device::MAX_GRID) || !within(shape.block, device::MAX_BLOCK) {
        return bad;
    }
    let threads: u64 = shape.block.iter().map(|n| u64::from(*n)).product();
    if threads > u64::from(info.max_threads.min(engine::MAX_BLOCK_THREADS)) {
        return bad;
    }
    if info.required_block.is_some_and(|required| required != shape.block) {
        return bad;
    }
    if shape.shared > function.max_dynamic_shared.load(Ordering::Relaxed) {
        return bad;
    }
    let cluster: u64 = shape.cluster.iter().map(|n| u64::from(*n)).product();
    let divides =
        shape.grid.iter().zip(shape.cluster).all(|(grid, cluster)| cluster != 0 && grid.is_multiple_of(cluster));
    if !divides || cluster > u64::from(device::MAX_CLUSTER) {
        return Err(Status::INVALID_CLUSTER_SIZE);
    }
    if shape.cooperative {
        let blocks: u64 = shape.grid.iter().map(|n| u64::from(*n)).product();
        let resident = resident_blocks(info, threads as u32, shape.shared);
        if blocks > u64::from(resident) * u64::from(driver::initialised()?.cores) {
            return Err(Status::COOPERATIVE_LAUNCH_TOO_LARGE);
        }
    }
    Ok(())
}

/// Blocks that a multiprocessor of the described device would hold together.
pub fn resident_blocks(info: &FunctionInfo, threads: u32, dynamic_shared: u32) -> u32 {
    if threads == 0 || threads > info.max_threads {
        return 0;
    }
    let shared = info.static_shared_bytes.saturating_add(dynamic_shared);
    let whole_warps = threads.next_multiple_of(engine::WARP_SIZE);
    let by_threads = device::THREADS_PER_PROCESSOR / whole_warps;
    let by_shared = device::shared_per_processor().checked_div(shared).unwrap_or(u32::MAX);
    let registers = info.registers.max(1).next_multiple_of(8).saturating_mul(whole_warps);
    let by_registers = device::REGISTERS / registers.max(1);
    by_threads.min(by_shared).min(by_registers.max(1)).min(device::BLOCKS_PER_PROCESSOR)
}

const EXTRA_END: u64 = 0;
const EXTRA_BUFFER: u64 = 1;
const EXTRA_SIZE: u64 = 2;

/// The parameter block of a launch, from either form in which programs give it.
pub fn pack(info: &FunctionInfo, params: In<u64>, extra: In<u64>) -> Answer<Vec<u8>> {
    let mut block = vec![0; info.param_bytes as usize];
    if !params.is_null() {
        if !extra.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        let pointers = params.read_all(info.params.len())?;
        for (param, pointer) in info.params.iter().zip(pointers) {
            let value = In(pointer as *const u8).read_all(param.size as usize)?;
            let (from, to) = (param.offset as usize, param.offset as usize + param.size as usize);
            block.get_mut(from..to).ok_or(Status::INVALID_VALUE)?.copy_from_slice(&value);
        }
        return Ok(block);
    }
    if extra.is_null() {
        return if info.params.is_empty() { Ok(block) } else { Err(Status::INVALID_VALUE) };
    }
    let (mut buffer, mut size) = (0, 0);
    for pair in 0..3 {
        let at = |index: usize| In(extra.0.wrapping_add(index)).read();
        match at(2 * pair)? {
            EXTRA_END => break,
            EXTRA_BUFFER => buffer = at(2 * pair + 1)?,
            EXTRA_SIZE => size = In(at(2 * pair + 1)? as *const u64).read()?,
            _ => return Err(Status::INVALID_VALUE),
        }
    }
    let size = usize::try_from(size).ok().filter(|size| *size <= engine::MAX_PARAM_BYTES as usize);
    let size = size.filter(|size| *size > 0).ok_or(Status::INVALID_VALUE)?;
    // As a GPU's driver has it: fewer bytes than the kernel's are taken, more are not.
    let place = block.get_mut(..size).ok_or(Status::LAUNCH_OUT_OF_RESOURCES)?;
    place.copy_from_slice(&In(buffer as *const u8).read_all(size)?);
    Ok(block)
}
