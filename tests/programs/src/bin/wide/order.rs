//! Order across threads: what one thread has sent before it lets another go on, the device does first, in whatever stream both work.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Bench, cu};

const THREADS: usize = 4;
const STEPS: usize = 8000;

pub fn run(bench: &Bench) {
    let cuda = &bench.cuda;
    let words = bench.words(STEPS + 1, 0);
    cu!(cuda, cuMemsetD32_v2(words, 0x5eed, 1usize));
    let mut stream = 0u64;
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    // Each step copies a word to the next place; the threads take turns. One step before its time copies a zero, and all that
    // follow hand that on.
    let turn = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for own in 0..THREADS {
            let (turn, failed) = (&turn, &failed);
            scope.spawn(move || {
                cu!(cuda, cuCtxSetCurrent(bench.context));
                for step in (own..STEPS).step_by(THREADS) {
                    while turn.load(Ordering::Acquire) != step {
                        std::thread::yield_now();
                    }
                    let from = words + 4 * step as u64;
                    if cu!(cuda, cuMemcpyDtoDAsync_v2(from + 4, from, 4usize, stream)) != 0 {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    turn.store(step + 1, Ordering::Release);
                }
            });
        }
    });
    cuda.say("copies that failed", failed.load(Ordering::Relaxed));
    cu!(cuda, cuStreamSynchronize(stream));
    let all = bench.read(words, STEPS + 1);
    cuda.say("words that have arrived", all.iter().filter(|word| **word == 0x5eed).count());
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
