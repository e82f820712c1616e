//! Launches: checks, blocks to threads of the host, faults back.
//!
//! Blocks are handed out in order, so a block that waits for an earlier one (a chained scan) finds it running or done.
//! The blocks of a cluster, and all blocks of a cooperative launch, take turns on the threads that hold them.

mod block;
pub mod matrix;
mod pool;
pub mod print;
mod warp;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::{Fault, FaultKind, Launch, MAX_BLOCK_THREADS, MAX_SHARED_BYTES, Memory};
use crate::jit::Code;
use crate::jit::context::{Context, fault};
use crate::jit::runtime::Host;
use crate::jit::unit::Kernel;
use block::{Block, Round};

/// Most memory, in bytes, that the threads of one block may need on the host for frames and local memory.
const MAX_BLOCK_BYTES: u64 = 1 << 30;
/// Bytes of the workspace of a cooperative launch: its size, the counter of the barrier, and room.
const WORKSPACE_BYTES: u64 = 64;
/// Most memory, in bytes, that a cooperative launch may need on the host.
const MAX_RESIDENT_BYTES: u64 = 8 << 30;

/// Work left after which other threads are asked to help.
const WORTH_WAKING: Duration = Duration::from_micros(40);

fn refuse(kind: FaultKind, message: impl Into<String>) -> Fault {
    Fault { kind, block: [0; 3], thread: [0; 3], address: 0, line: 0, message: message.into() }
}

/// A launch under way.
struct Run<'r> {
    kernel: &'r Kernel,
    launch: &'r Launch<'r>,
    memory: &'r dyn Memory,
    workspace: u64,
    cancel: &'r AtomicBool,
    threads: u32,
    shared_bytes: u32,
    local_bytes: usize,
    /// Blocks that take turns together.
    group: u64,
    groups: u64,
    next: AtomicU64,
    finished: AtomicU64,
    stop: AtomicBool,
    fault: Mutex<Option<Fault>>,
}

/// See [`crate::engine::run`].
pub fn run(code: &Code, launch: &Launch<'_>, memory: &dyn Memory, cancel: &AtomicBool) -> Result<(), Fault> {
    let invalid = |message: &str| refuse(FaultKind::InvalidLaunch, message);
    let Some(info) = code.program().functions.get(launch.function) else { return Err(invalid("no such function")) };
    let volume = |shape: [u32; 3]| shape.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d)));
    let threads = volume(launch.block).filter(|&n| n > 0 && n <= u64::from(MAX_BLOCK_THREADS.min(info.max_threads)));
    let Some(threads) = threads.map(|n| n as u32) else { return Err(invalid("block shape")) };
    if info.required_block.is_some_and(|b| b != launch.block) {
        return Err(invalid("block shape is not the required one"));
    }
    let Some(blocks) = volume(launch.grid).filter(|&n| n > 0 && n < 1 << 62) else { return Err(invalid("grid shape")) };
    let cluster = launch.cluster.map(|n| n.max(1));
    let cluster_size = volume(cluster).unwrap_or(u64::MAX);
    if cluster_size > 16 || (0..3).any(|n| !launch.grid[n].is_multiple_of(cluster[n])) {
        return Err(invalid("cluster shape"));
    }
    if launch.params.len() != info.param_bytes as usize {
        return Err(invalid("size of the parameter block"));
    }
    let kernel = code.compile(launch.function).map_err(|e| refuse(FaultKind::Compile, e.to_string()))?;
    let shared_bytes = kernel.shared_bytes.saturating_add(launch.dynamic_shared_bytes);
    if shared_bytes > MAX_SHARED_BYTES {
        return Err(invalid("shared memory"));
    }
    let extra = if kernel.calls { launch.stack_bytes.next_multiple_of(16) } else { 0 };
    let local_bytes = kernel.local_bytes.saturating_add(extra) as usize;
    let copies = if kernel.frame_bytes > 0 { u64::from(threads) } else { 1 };
    let block_bytes = copies * (u64::from(kernel.frame_bytes) + local_bytes as u64) + u64::from(shared_bytes);
    if block_bytes > MAX_BLOCK_BYTES {
        return Err(invalid("MAX_BLOCK_BYTES"));
    }
    let together = launch.cooperative && kernel.frame_bytes > 0;
    if together && block_bytes.saturating_mul(blocks) > MAX_RESIDENT_BYTES {
        return Err(invalid("MAX_RESIDENT_BYTES"));
    }
    let limit = if launch.max_workers == 0 { usize::MAX } else { launch.max_workers as usize };
    let workers = (pool::processors().min(limit) as u64).min(blocks.div_ceil(cluster_size)).max(1);
    // A cooperative launch gives each worker its share of the blocks at once.
    let clusters = blocks / cluster_size;
    let group = if together { clusters.div_ceil(workers) * cluster_size } else { cluster_size };
    let workspace = if launch.cooperative { Workspace::new(memory) } else { Workspace { memory, address: 0 } };
    let run = Run {
        kernel: &kernel,
        launch,
        memory,
        workspace: workspace.address,
        cancel,
        threads,
        shared_bytes,
        local_bytes,
        group,
        groups: blocks.div_ceil(group),
        next: AtomicU64::new(0),
        finished: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        fault: Mutex::new(None),
    };
    let here = !kernel.large_stack;
    let mut helpers = workers.min(run.groups) as usize - usize::from(here);
    if here && !together && helpers > 0 {
        // Waking others costs more than a small launch: see how long the first blocks take.
        let start = Instant::now();
        run.work(blocks, cluster, 1);
        let left = start.elapsed().saturating_mul(u32::try_from(run.groups - 1).unwrap_or(u32::MAX));
        if left < WORTH_WAKING {
            helpers = 0;
        }
    }
    pool::lend(helpers, here, &|| run.work(blocks, cluster, u64::MAX));
    if let Some(fault) = run.fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(fault);
    }
    if cancel.load(Ordering::Relaxed) && run.finished.load(Ordering::Acquire) < blocks {
        return Err(refuse(FaultKind::Cancelled, ""));
    }
    if run.finished.load(Ordering::Acquire) < blocks {
        return Err(refuse(FaultKind::Trap, "a worker failed"));
    }
    Ok(())
}

/// What `%envreg1` and `%envreg2` of a cooperative launch point at: device memory, zeroed, for as long as it runs.
struct Workspace<'a> {
    memory: &'a dyn Memory,
    address: u64,
}

impl<'a> Workspace<'a> {
    /// Without memory for it the address is 0, and a grid barrier traps.
    fn new(memory: &'a dyn Memory) -> Workspace<'a> {
        let address = memory.malloc(WORKSPACE_BYTES);
        if address != 0 {
            // SAFETY: allocated just now with this size, in the arena, which is mapped.
            unsafe { std::ptr::write_bytes(address as *mut u8, 0, WORKSPACE_BYTES as usize) };
        }
        Workspace { memory, address }
    }
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        self.memory.free(self.address);
    }
}

impl Run<'_> {
    /// One thread's share of the launch.
    fn work(&self, blocks: u64, cluster: [u32; 3], most: u64) {
        self.take_groups(blocks, cluster, most);
        self.memory.worker_ends();
    }

    /// Runs groups of blocks until there are none, or it has done `most`.
    fn take_groups(&self, blocks: u64, cluster: [u32; 3], most: u64) {
        let host = Host { memory: self.memory, arrivals: Default::default() };
        let mut context = self.context(&host, cluster);
        let mut pool: Vec<Block> = Vec::new();
        let mut pointers: Vec<*mut u8> = Vec::new();
        for _ in 0..most {
            if self.stop.load(Ordering::Relaxed) || self.cancel.load(Ordering::Relaxed) {
                return;
            }
            let group = self.next.fetch_add(1, Ordering::Relaxed);
            if group >= self.groups {
                return;
            }
            let first = group * self.group;
            let count = self.group.min(blocks - first) as usize;
            while pool.len() < count {
                pool.push(Block::new(self.kernel, self.threads, self.shared_bytes, self.local_bytes));
                pointers = pool.iter_mut().map(|b| b.shared.pointer()).collect();
            }
            for block in &mut pool[..count] {
                block.restart(self.kernel);
            }
            if !self.group(first, &mut pool[..count], &pointers, &mut context, &host, cluster) {
                return;
            }
            self.finished.fetch_add(count as u64, Ordering::Release);
        }
    }

    /// Runs blocks `first..` in turns; answers whether all ended well.
    fn group(
        &self,
        first: u64,
        blocks: &mut [Block],
        pointers: &[*mut u8],
        context: &mut Context,
        host: &Host<'_>,
        cluster: [u32; 3],
    ) -> bool {
        let size = context.cluster_size as usize;
        let mut single = [Round::Ready];
        let mut several = Vec::new();
        let last: &mut [Round] = if blocks.len() == 1 {
            &mut single
        } else {
            several.resize(blocks.len(), Round::Ready);
            &mut several
        };
        loop {
            let mut busy = false;
            for (n, block) in blocks.iter_mut().enumerate() {
                if last[n] != Round::Ready {
                    continue;
                }
                self.place(context, first + n as u64, cluster);
                context.cluster_shared = pointers[n / size * size..].as_ptr();
                block.enter(self.kernel, context, self.local_bytes);
                // A block alone goes on until it ends; others get their turn after each round.
                loop {
                    last[n] = block.round(self.kernel, context, host);
                    if last[n] != Round::Ready || size > 1 || self.launch.cooperative {
                        break;
                    }
                    if self.stop.load(Ordering::Relaxed) || self.cancel.load(Ordering::Relaxed) {
                        return false;
                    }
                    if context.yielded > 0 {
                        // It may be spinning for another block.
                        context.yielded = 0;
                        std::thread::yield_now();
                    }
                }
                match last[n] {
                    Round::Fault => {
                        self.report(context, None);
                        return false;
                    }
                    Round::Stuck => {
                        self.report(context, Some("threads wait for others that never come"));
                        return false;
                    }
                    Round::Ready => busy = true,
                    _ => {}
                }
            }
            for (n, cluster) in blocks.chunks_mut(size).enumerate() {
                let states = &mut last[n * size..n * size + cluster.len()];
                let all = states.iter().all(|&s| matches!(s, Round::AtCluster | Round::Done));
                if all && states.contains(&Round::AtCluster) {
                    for (block, state) in cluster.iter_mut().zip(states) {
                        if *state == Round::AtCluster {
                            block.release_cluster();
                            *state = Round::Ready;
                        }
                    }
                    busy = true;
                }
            }
            if !busy {
                return true;
            }
            if self.stop.load(Ordering::Relaxed) || self.cancel.load(Ordering::Relaxed) {
                return false;
            }
        }
    }

    fn context(&self, host: &Host<'_>, cluster: [u32; 3]) -> Context {
        let arena = self.memory.arena();
        let launch = self.launch;
        let size = cluster.iter().product::<u32>();
        Context {
            arena_base: arena.base,
            granule_count: arena.len / crate::engine::GRANULE_BYTES,
            granules: arena.granules,
            shared: std::ptr::null_mut(),
            shared_len: u64::from(self.shared_bytes),
            local: std::ptr::null_mut(),
            local_stride: 0,
            local_len: 0,
            frames: std::ptr::null_mut(),
            frame_stride: 0,
            states: std::ptr::null_mut(),
            exchange: std::ptr::null_mut(),
            region: u32::MAX,
            left: 0,
            params: launch.params.as_ptr(),
            params_len: launch.params.len() as u64,
            resolved: 0,
            ntid: launch.block,
            nctaid: launch.grid,
            ctaid: [0; 3],
            cluster_shape: cluster,
            cluster_id: [0; 3],
            cluster_count: [0, 1, 2].map(|n| launch.grid[n] / cluster[n]),
            cluster_ctaid: [0; 3],
            cluster_rank: 0,
            cluster_size: size,
            explicit_cluster: u32::from(size > 1),
            sm_id: 0,
            nsm_id: pool::processors() as u32,
            dynamic_shared: launch.dynamic_shared_bytes,
            grid_id: launch.grid_id,
            grid_workspace: self.workspace,
            thread: 0,
            tid: [0; 3],
            thread_local: std::ptr::null_mut(),
            yielded: 0,
            fault_kind: 0,
            fault_line: 0,
            fault_thread: 0,
            fault_address: 0,
            stack_limit: pool::stack_limit(),
            functions: self.kernel.functions.as_ptr(),
            function_count: self.kernel.functions.len() as u64,
            cluster_shared: std::ptr::null(),
            host: std::ptr::from_ref(host).cast(),
        }
    }

    /// Puts block `number`'s coordinates into the context. Blocks of a cluster have consecutive numbers.
    fn place(&self, context: &mut Context, number: u64, cluster: [u32; 3]) {
        let split = |n: u64, shape: [u32; 3]| match u32::try_from(n) {
            // Narrow divisions are several times faster, and there is one for every block.
            Ok(n) => {
                let rest = n / shape[0];
                [n % shape[0], rest % shape[1], rest / shape[1]]
            }
            Err(_) => {
                let (x, y) = (u64::from(shape[0]), u64::from(shape[1]));
                [(n % x) as u32, (n / x % y) as u32, (n / x / y) as u32]
            }
        };
        let size = u64::from(context.cluster_size);
        if size == 1 {
            context.ctaid = split(number, context.cluster_count);
            context.cluster_id = context.ctaid;
            return;
        }
        let rank = number % size;
        let inner = split(rank, cluster);
        let outer = split(number / size, context.cluster_count);
        context.cluster_rank = rank as u32;
        context.cluster_ctaid = inner;
        context.cluster_id = outer;
        context.ctaid = [0, 1, 2].map(|n| outer[n] * cluster[n] + inner[n]);
    }

    fn report(&self, context: &Context, message: Option<&str>) {
        let kind = match context.fault_kind {
            _ if message.is_some() => FaultKind::Trap,
            fault::ILLEGAL_ADDRESS => FaultKind::IllegalAddress,
            fault::MISALIGNED => FaultKind::Misaligned,
            fault::ASSERT => FaultKind::Assert,
            fault::STACK_OVERFLOW => FaultKind::StackOverflow,
            fault::INVALID_PC => FaultKind::InvalidPc,
            fault::ILLEGAL_INSTRUCTION => FaultKind::IllegalInstruction,
            _ => FaultKind::Trap,
        };
        let [x, y, _] = self.launch.block.map(|n| n.max(1));
        let t = context.fault_thread;
        let fault = Fault {
            kind,
            block: context.ctaid,
            thread: [t % x, t / x % y, t / x / y],
            address: context.fault_address,
            line: context.fault_line,
            message: message.unwrap_or("").to_owned(),
        };
        // The first one stands.
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
        self.stop.store(true, Ordering::Relaxed);
    }
}
