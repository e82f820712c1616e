//! One block: its memory, its threads' states, and the rounds in which they run.

use crate::engine::{MAX_BLOCK_THREADS, WARP_SIZE};
use crate::exec::warp::Warp;
use crate::jit::context::{Context, DONE, EXCHANGE_A, EXCHANGE_COUNT, EXCHANGE_MASK, WAITING};
use crate::jit::runtime::Host;
use crate::jit::unit::{Kernel, Site};
use crate::ptx::ir::BarrierReduce;

/// Memory aligned to 1024 bytes, the largest alignment a variable may ask for.
#[derive(Default)]
pub struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    const ALIGN: usize = 1024;

    /// `len` zero bytes.
    pub fn new(len: usize) -> Aligned {
        let bytes = vec![0; len + Self::ALIGN];
        let start = bytes.as_ptr().align_offset(Self::ALIGN).min(Self::ALIGN);
        Aligned { bytes, start }
    }

    /// Where it is.
    pub fn pointer(&mut self) -> *mut u8 {
        self.bytes[self.start..].as_mut_ptr()
    }
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// All threads have ended.
    Done,
    /// Some can go on.
    Ready,
    /// All that are left wait for other blocks of the cluster.
    AtCluster,
    /// The context's fault fields say why.
    Fault,
    /// Nobody can go on.
    Stuck,
}

/// Memory and states for one block at a time.
pub struct Block {
    /// Shared memory.
    pub shared: Aligned,
    local: Aligned,
    frames: Aligned,
    states: Vec<u32>,
    /// The place where all threads stand, ready to go on; `states` is out of date then.
    at: Option<u32>,
    exchange: Vec<u64>,
    threads: u32,
    arrived: [u32; 16],
}

/// Whether all resume points are the same. Looks at all of them, in vectors: a difference is rare.
pub(super) fn alike(states: &[u32]) -> bool {
    let first = states.first().copied().unwrap_or(DONE);
    states.iter().fold(0, |different, &s| different | (s ^ first)) == 0
}

/// Whether a thread in this state waits for all others of the block and nothing else.
fn plain_barrier(kernel: &Kernel, state: u32) -> bool {
    let site = kernel.sites.get((state & !WAITING) as usize);
    matches!(site, Some(Site::Barrier(b, Some(_))) if state != DONE && state & WAITING != 0 && b.reduce.is_none() && !b.counted && !b.cluster)
}

impl Block {
    /// Memory for blocks of `threads` threads of this kernel.
    pub fn new(kernel: &Kernel, threads: u32, shared_bytes: u32, local_bytes: usize) -> Block {
        let waits = kernel.frame_bytes > 0;
        let copies = if waits { threads as usize } else { 1 };
        Block {
            shared: Aligned::new(shared_bytes as usize),
            local: Aligned::new(local_bytes * copies),
            frames: Aligned::new(kernel.frame_bytes as usize * copies),
            states: vec![0; if waits { threads as usize } else { 0 }],
            at: None,
            exchange: vec![0; if waits { kernel.exchange_arrays * MAX_BLOCK_THREADS as usize } else { 0 }],
            threads,
            arrived: [0; 16],
        }
    }

    /// Makes all threads stand at the start.
    pub fn restart(&mut self, kernel: &Kernel) {
        self.at = kernel.regions.then_some(0);
        // Filling nothing is slow: a masked store to an address that is none.
        if !self.states.is_empty() {
            self.states.fill(0);
            self.arrived = [0; 16];
        }
    }

    /// Points the context at this block's memory.
    pub fn enter(&mut self, kernel: &Kernel, context: &mut Context, local_bytes: usize) {
        context.shared = self.shared.pointer();
        context.local = self.local.pointer();
        context.local_stride = if kernel.frame_bytes > 0 { local_bytes as u64 } else { 0 };
        context.local_len = local_bytes as u64;
        context.frames = self.frames.pointer();
        context.frame_stride = u64::from(kernel.frame_bytes);
        context.states = self.states.as_mut_ptr();
        context.exchange = self.exchange.as_mut_ptr();
    }

    fn call(kernel: &Kernel, context: &mut Context, first: u32, last: u32) -> bool {
        // SAFETY: the code was made for this kernel, and the context describes memory of the sizes the kernel asked
        // for, all of it ours while the call is on.
        unsafe { (kernel.code)(context, first, last) == 0 }
    }

    /// Runs every thread that can run, until it ends or waits, and completes what can be completed.
    pub fn round(&mut self, kernel: &Kernel, context: &mut Context, host: &Host<'_>) -> Round {
        if kernel.frame_bytes == 0 {
            return if Self::call(kernel, context, 0, self.threads) { Round::Done } else { Round::Fault };
        }
        let at = self.at.take();
        let mut left = None;
        if kernel.has_collectives {
            for first in (0..self.threads).step_by(WARP_SIZE as usize) {
                if !self.run_warp(kernel, context, first, at) {
                    return Round::Fault;
                }
            }
        } else {
            left = match Self::run(kernel, context, 0, self.threads, at) {
                None => return Round::Fault,
                Some(left) => left,
            };
        }
        for (number, _) in host.arrivals.borrow_mut().drain(..) {
            self.arrived[number as usize] += 1;
        }
        match left {
            Some(DONE) => Round::Done,
            Some(state) if plain_barrier(kernel, state) => {
                self.at = Some(state & !WAITING);
                Round::Ready
            }
            Some(state) => {
                self.states.fill(state);
                self.barriers(kernel)
            }
            None => self.barriers(kernel),
        }
    }

    /// Runs threads that all stand `at` a place, or wherever their states say. None is a fault; else the state in which
    /// all of them are then, if that is one.
    fn run(kernel: &Kernel, context: &mut Context, first: u32, last: u32, at: Option<u32>) -> Option<Option<u32>> {
        context.region = at.unwrap_or(u32::MAX);
        context.left = WAITING;
        if !Self::call(kernel, context, first, last) {
            return None;
        }
        Some(Some(context.left).filter(|&left| left != WAITING))
    }

    /// Runs a warp until its lanes wait for others than each other; false is a fault.
    fn run_warp(&mut self, kernel: &Kernel, context: &mut Context, first: u32, mut at: Option<u32>) -> bool {
        let last = (first + WARP_SIZE).min(self.threads);
        let regions = kernel.regions && (kernel.direct.is_empty() || last - first == WARP_SIZE);
        if !regions && let Some(at) = at.take() {
            self.states[first as usize..last as usize].fill(at);
        }
        loop {
            let Some(left) = Self::run(kernel, context, first, last, at) else { return false };
            let mut warp = self.warp(kernel, first, last);
            if let Some(state) = left {
                if warp.resolve_at(state) {
                    at = Some(state & !WAITING);
                    continue;
                }
                warp.states.fill(state);
            }
            if !warp.resolve() {
                return true;
            }
            let together = regions && alike(warp.states) && warp.states[0] & WAITING == 0;
            // What is behind a direct shuffle would do it once more.
            at = together.then_some(warp.states[0]).filter(|at| !kernel.direct.contains(at));
        }
    }

    fn warp<'b>(&'b mut self, kernel: &'b Kernel, first: u32, last: u32) -> Warp<'b> {
        let (first, last) = (first as usize, last as usize);
        Warp { states: &mut self.states[first..last], exchange: &mut self.exchange[first..], sites: &kernel.sites }
    }

    fn barriers(&mut self, kernel: &Kernel) -> Round {
        // Nearly always all threads stand at one barrier, or have ended.
        let first = self.states[0];
        if alike(&self.states) {
            if first == DONE {
                return Round::Done;
            }
            if plain_barrier(kernel, first) {
                self.at = kernel.regions.then_some(first & !WAITING);
                if self.at.is_none() {
                    self.states.fill(first & !WAITING);
                }
                return Round::Ready;
            }
        }
        let alive = self.states.iter().filter(|&&s| s != DONE).count() as u32;
        if alive == 0 {
            return Round::Done;
        }
        let mut ready = self.states.iter().any(|&s| s != DONE && s & WAITING == 0);
        let mut at_cluster = 0;
        let mut groups: [Vec<u32>; 16] = Default::default();
        for thread in 0..self.threads {
            let state = self.states[thread as usize];
            if state == DONE || state & WAITING == 0 {
                continue;
            }
            if let Some(Site::Barrier(barrier, number)) = kernel.sites.get((state & !WAITING) as usize) {
                if barrier.cluster {
                    at_cluster += 1;
                    continue;
                }
                let number = number.unwrap_or_else(|| self.word(thread, EXCHANGE_MASK) as u32 & 15);
                groups[number as usize].push(thread);
            }
        }
        for (number, threads) in groups.iter().enumerate() {
            let Some(&one) = threads.first() else { continue };
            let wanted = match kernel.sites.get((self.states[one as usize] & !WAITING) as usize) {
                Some(Site::Barrier(b, _)) if b.counted => self.word(one, EXCHANGE_COUNT) as u32,
                _ => alive,
            };
            if threads.len() as u32 + self.arrived[number] < wanted.min(self.threads.max(1)) {
                continue;
            }
            self.arrived[number] = 0;
            self.release(kernel, threads);
            ready = true;
        }
        if ready {
            Round::Ready
        } else if at_cluster == alive {
            Round::AtCluster
        } else {
            Round::Stuck
        }
    }

    fn word(&self, thread: u32, at: i32) -> u64 {
        self.exchange[thread as usize + at as usize / 8]
    }

    fn release(&mut self, kernel: &Kernel, threads: &[u32]) {
        let votes: u32 = threads.iter().map(|&t| self.word(t, EXCHANGE_A) as u32 & 1).sum();
        for &thread in threads {
            let site = kernel.sites.get((self.states[thread as usize] & !WAITING) as usize);
            if let Some(Site::Barrier(barrier, _)) = site
                && let Some(reduce) = barrier.reduce
            {
                let value = match reduce {
                    BarrierReduce::Popc => votes,
                    BarrierReduce::And => u32::from(votes == threads.len() as u32),
                    BarrierReduce::Or => u32::from(votes > 0),
                };
                self.exchange[thread as usize + EXCHANGE_A as usize / 8] = u64::from(value);
            }
            self.states[thread as usize] &= !WAITING;
        }
    }

    /// Lets the threads that wait for the cluster go on.
    pub fn release_cluster(&mut self) {
        for state in &mut self.states {
            if *state != DONE {
                *state &= !WAITING;
            }
        }
    }
}
