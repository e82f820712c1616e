//! The threads that run blocks.
//!
//! One pool for the process, as many threads as processors, started when first needed. A launch lends its closure to
//! the pool and does not return before every thread that took it has finished with it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Stack of a pool thread, in bytes; recursion of device functions happens on it.
const STACK_BYTES: usize = 64 << 20;
/// What is left of it for frames of the functions that find out, and for helpers.
const STACK_MARGIN: usize = 8 << 20;

thread_local! {
    static LIMIT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Lowest stack address device functions may use on this thread; 0 on threads that are not the pool's.
pub fn stack_limit() -> u64 {
    LIMIT.get()
}

type Work<'w> = dyn Fn() + Sync + 'w;

struct Batch {
    work: *const Work<'static>,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    waiting: usize,
    running: usize,
}

// SAFETY: `work` is a shared reference to something `Sync` that `lend` keeps alive.
unsafe impl Send for Batch {}
// SAFETY: as above.
unsafe impl Sync for Batch {}

#[derive(Default)]
struct Queue {
    batches: Mutex<VecDeque<Arc<Batch>>>,
    filled: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held left numbers, which are right at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn queue() -> &'static Queue {
    static QUEUE: OnceLock<&'static Queue> = OnceLock::new();
    QUEUE.get_or_init(|| {
        let queue: &'static Queue = Box::leak(Box::default());
        for _ in 0..processors() {
            // Without the thread the others do the work; `lend` makes sure there is one.
            let _ =
                std::thread::Builder::new().name("cpu-cuda".into()).stack_size(STACK_BYTES).spawn(move || serve(queue));
        }
        queue
    })
}

/// Threads the pool has.
pub fn processors() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
}

fn serve(queue: &Queue) {
    let mark = 0u8;
    LIMIT.set((std::ptr::from_ref(&mark) as usize).saturating_sub(STACK_BYTES - STACK_MARGIN) as u64);
    loop {
        let batch = {
            let mut batches = lock(&queue.batches);
            loop {
                if let Some(batch) = batches.front().cloned() {
                    let mut state = lock(&batch.state);
                    state.waiting -= 1;
                    state.running += 1;
                    if state.waiting == 0 {
                        batches.pop_front();
                    }
                    drop(state);
                    break batch;
                }
                batches = queue.filled.wait(batches).unwrap_or_else(PoisonError::into_inner);
            }
        };
        // SAFETY: `lend` waits for `running` to be 0 before the closure goes away.
        let work = unsafe { &*batch.work };
        // A panic ends one launch's share, not the thread; the launch sees that blocks are missing.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let mut state = lock(&batch.state);
        state.running -= 1;
        if state.running == 0 {
            batch.ended.notify_all();
        }
    }
}

/// Runs `work` on up to `threads` pool threads, and on this one too if `here`; returns when all have returned from it.
pub fn lend(threads: usize, here: bool, work: &Work<'_>) {
    if threads == 0 {
        return work();
    }
    let queue = queue();
    // SAFETY: only the lifetime changes; the reference is used by this call's batch only, which ends before we return.
    let work: *const Work<'static> = unsafe { std::mem::transmute(std::ptr::from_ref(work)) };
    let batch =
        Arc::new(Batch { work, state: Mutex::new(State { waiting: threads, running: 0 }), ended: Condvar::new() });
    lock(&queue.batches).push_back(batch.clone());
    for _ in 0..threads {
        queue.filled.notify_one();
    }
    if here {
        // SAFETY: the caller's reference.
        let work = unsafe { &*work };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        withdraw(queue, &batch);
        wait(&batch);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        return;
    }
    // One thread at least must have taken it.
    let mut state = lock(&batch.state);
    while state.waiting == threads || state.running > 0 {
        state = batch.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    drop(state);
    withdraw(queue, &batch);
    wait(&batch);
}

fn withdraw(queue: &Queue, batch: &Arc<Batch>) {
    lock(&queue.batches).retain(|b| !Arc::ptr_eq(b, batch));
}

fn wait(batch: &Batch) {
    let mut state = lock(&batch.state);
    while state.running > 0 {
        state = batch.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}
