//! Order across threads: what one thread has sent before it lets another go on, the device does first, in whatever stream
//! both work.
//!
//! `queues` is the proof that this can be seen: there each thread's calls go through a queue of its own, whose other end
//! makes them, as a carrier with a ring for each thread would. Then words arrive before their time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::{Bench, cu};

const THREADS: usize = 4;
const STEPS: usize = 2000;

/// Each step copies a word to the next place; threads take turns. One step before its time copies a zero, and all that follow hand
/// that on. `issue` makes a step's copy, by a thread; prints how many words arrived.
fn turns(bench: &Bench, stream: u64, words: u64, issue: impl Fn(usize, u64) -> i32 + Sync) {
    let cuda = &bench.cuda;
    let turn = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for own in 0..THREADS {
            let (turn, failed, issue) = (&turn, &failed, &issue);
            scope.spawn(move || {
                cu!(cuda, cuCtxSetCurrent(bench.context));
                for step in (own..STEPS).step_by(THREADS) {
                    while turn.load(Ordering::Acquire) != step {
                        std::thread::yield_now();
                    }
                    if issue(own, words + 4 * step as u64) != 0 {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    turn.store(step + 1, Ordering::Release);
                }
            });
        }
    });
    cuda.say("copies that failed", failed.load(Ordering::Relaxed));
    cu!(cuda, cuStreamSynchronize(stream));
}

fn arrived(bench: &Bench, words: u64) {
    let all = bench.read(words, STEPS + 1);
    bench.cuda.say("words that have arrived", all.iter().filter(|word| **word == 0x5eed).count());
}

/// A stream, and words of which the first is to be handed on.
fn begin(bench: &Bench) -> (u64, u64) {
    let cuda = &bench.cuda;
    let words = bench.words(STEPS + 1, 0);
    cu!(cuda, cuMemsetD32_v2(words, 0x5eed, 1usize));
    cu!(cuda, cuCtxSynchronize());
    let mut stream = 0u64;
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    (words, stream)
}

fn copy(bench: &Bench, from: u64, stream: u64) -> i32 {
    cu!(bench.cuda, cuMemcpyDtoDAsync_v2(from + 4, from, 4usize, stream))
}

/// The same with a queue for each thread.
pub fn queues(bench: &Bench) {
    let cuda = &bench.cuda;
    let (words, stream) = begin(bench);
    std::thread::scope(|scope| {
        let mut number = 0;
        let queues = [(); THREADS].map(|()| {
            let (queue, calls) = mpsc::channel();
            number += 1;
            // Who reads a queue sleeps while it is empty: this one wakes up later than the one before.
            let pause = Duration::from_millis(number);
            scope.spawn(move || {
                cu!(cuda, cuCtxSetCurrent(bench.context));
                std::thread::sleep(pause);
                for from in calls {
                    copy(bench, from, stream);
                }
            });
            queue
        });
        turns(bench, stream, words, |own, from| i32::from(queues[own].send(from).is_err()));
    });
    cu!(cuda, cuStreamSynchronize(stream));
    arrived(bench, words);
    cu!(cuda, cuStreamDestroy_v2(stream));
    cu!(cuda, cuMemFree_v2(words));
}

pub fn run(bench: &Bench) {
    let cuda = &bench.cuda;
    let (words, stream) = begin(bench);
    turns(bench, stream, words, |_, from| copy(bench, from, stream));
    arrived(bench, words);
    // A thread with no context may ask for an event, which has one.
    let mut event = 0u64;
    cu!(cuda, cuEventCreate(&mut event, 2u32));
    cu!(cuda, cuEventRecord(event, stream));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cuda.say("event, waited for with no context", cu!(cuda, cuEventSynchronize(event)));
            cuda.say("event, asked for with no context", cu!(cuda, cuEventQuery(event)));
        });
    });
    cu!(cuda, cuEventDestroy_v2(event));
    cu!(cuda, cuStreamDestroy_v2(stream));
    cu!(cuda, cuMemFree_v2(words));

    // A memset without a stream whose target the program reaches is done when it returns.
    let mut memory = 0u64;
    cu!(cuda, cuMemAllocManaged(&mut memory, 8192usize, 1));
    cu!(cuda, cuMemsetD32_v2(memory, 5, 2048usize));
    // SAFETY: managed memory, which no work of the device uses.
    cuda.say("read at once", unsafe { (memory as *const u32).add(2047).read_volatile() });
    cu!(cuda, cuMemFree_v2(memory));
}
