//! Work: the nodes of the one dependency graph that streams, events and graphs put their operations into.
//!
//! A [`Work`] runs when everything it was made to follow has finished. A stream is no more than "the last work put into
//! it", an event "the work it was last recorded behind"; waiting for an event costs an edge, not a blocked thread.
//! Operations run on the threads of [`pool`]; markers (no operation) finish on whichever thread finishes their last
//! predecessor. A thread that waits for work which is ready but not started runs it itself.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::pool;

/// Locks a mutex whose data stays meaningful when a holder panicked.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nanoseconds since the first call in this process; never 0.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed().as_nanos();
    u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
}

/// What a work does when it runs.
pub type Operation = Box<dyn FnOnce() + Send>;

struct Inner {
    operation: Option<Operation>,
    followers: Vec<Arc<Work>>,
    done: bool,
}

/// One operation, or a marker, with what follows it.
pub struct Work {
    inner: Mutex<Inner>,
    finished: Condvar,
    /// Unfinished predecessors, and one more until the work is let go.
    before: AtomicUsize,
    /// Set by the thread that runs the work: the pool's or a waiter's.
    claimed: AtomicBool,
    /// [`now`] at the end; 0 while unfinished. Written before `done` is set, read after it was seen.
    finished_at: AtomicU64,
}

impl Work {
    /// Puts `operation` (a marker if none) behind everything in `after` and lets it go.
    pub fn start<'a>(operation: Option<Operation>, after: impl IntoIterator<Item = &'a Arc<Work>>) -> Arc<Work> {
        let work = Self::prepare(operation, after);
        release(&work);
        work
    }

    /// As [`Work::start`], and waits for the end. With nothing before it, it runs on the calling thread.
    pub fn run<'a>(operation: Operation, after: impl IntoIterator<Item = &'a Arc<Work>>) -> Arc<Work> {
        let work = Self::prepare(Some(operation), after);
        work.let_go_and_wait();
        work
    }

    /// Lets a prepared work go and waits for its end. With nothing before it, it runs on the calling thread.
    pub fn let_go_and_wait(self: &Arc<Self>) {
        if self.before.fetch_sub(1, Ordering::AcqRel) == 1 {
            execute(self.clone());
        }
        self.wait();
    }

    /// As [`Work::start`] without letting it go: [`release`] does that.
    pub fn prepare<'a>(operation: Option<Operation>, after: impl IntoIterator<Item = &'a Arc<Work>>) -> Arc<Work> {
        let work = Arc::new(Work {
            inner: Mutex::new(Inner { operation, followers: Vec::new(), done: false }),
            finished: Condvar::new(),
            before: AtomicUsize::new(1),
            claimed: AtomicBool::new(false),
            finished_at: AtomicU64::new(0),
        });
        for earlier in after {
            let mut inner = lock(&earlier.inner);
            if !inner.done {
                work.before.fetch_add(1, Ordering::Relaxed);
                inner.followers.push(work.clone());
            }
        }
        work
    }

    /// Whether the work has finished.
    pub fn is_done(&self) -> bool {
        // Acquire: pairs with the release in `finish`, so that what the work wrote is seen.
        self.finished_at.load(Ordering::Acquire) != 0
    }

    /// [`now`] at the work's end, if it has finished.
    pub fn finished_at(&self) -> Option<u64> {
        match self.finished_at.load(Ordering::Acquire) {
            0 => None,
            at => Some(at),
        }
    }

    /// Sleeps until the work has finished.
    pub fn wait(self: &Arc<Self>) {
        if self.is_done() {
            return;
        }
        if self.before.load(Ordering::Acquire) == 0 {
            execute(self.clone());
        }
        let mut inner = lock(&self.inner);
        while !inner.done {
            inner = self.finished.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sleeps until the work has finished or the time is up; whether it has finished.
    pub fn wait_for(self: &Arc<Self>, at_most: Duration) -> bool {
        let inner = lock(&self.inner);
        let (inner, _) = self
            .finished
            .wait_timeout_while(inner, at_most, |inner| !inner.done)
            .unwrap_or_else(PoisonError::into_inner);
        inner.done
    }

    /// Ends the work and gives back what may run now because of it.
    fn finish(&self) -> Vec<Arc<Work>> {
        let mut inner = lock(&self.inner);
        // Release: pairs with `is_done`.
        self.finished_at.store(now(), Ordering::Release);
        inner.done = true;
        let followers = std::mem::take(&mut inner.followers);
        drop(inner);
        self.finished.notify_all();
        followers.into_iter().filter(|next| next.before.fetch_sub(1, Ordering::AcqRel) == 1).collect()
    }

    fn is_marker(&self) -> bool {
        lock(&self.inner).operation.is_none()
    }
}

/// Lets a prepared work go: it runs once nothing is before it.
pub fn release(work: &Arc<Work>) {
    if work.before.fetch_sub(1, Ordering::AcqRel) == 1 {
        if work.is_marker() {
            execute(work.clone());
        } else {
            pool::push(work.clone());
        }
    }
}

/// Runs a ready work, unless another thread has taken it, then the markers that become ready and one other follower;
/// the rest go to the pool.
pub fn execute(first: Arc<Work>) {
    let mut mine = vec![first];
    while let Some(work) = mine.pop() {
        if work.claimed.swap(true, Ordering::AcqRel) {
            continue;
        }
        let operation = lock(&work.inner).operation.take();
        if let Some(operation) = operation
            && std::panic::catch_unwind(std::panic::AssertUnwindSafe(operation)).is_err()
        {
            log::error!("an operation of a stream panicked");
        }
        let mut kept = false;
        for next in work.finish() {
            if next.is_marker() {
                mine.push(next);
            } else if !kept && pool::on_pool_thread() {
                // Below the markers, so that their followers start before this one keeps the thread busy.
                mine.insert(0, next);
                kept = true;
            } else {
                pool::push(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(list: &Arc<Mutex<Vec<u32>>>, number: u32) -> Option<Operation> {
        let list = list.clone();
        Some(Box::new(move || lock(&list).push(number)))
    }

    #[test]
    fn chain_when_started_then_runs_in_order() {
        let list = Arc::new(Mutex::new(Vec::new()));
        let mut last: Option<Arc<Work>> = None;
        for number in 0..1000 {
            last = Some(Work::start(append(&list, number), &last));
        }
        last.expect("made").wait();
        assert_eq!(*lock(&list), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn follower_when_two_predecessors_then_waits_for_both() {
        let list = Arc::new(Mutex::new(Vec::new()));
        let slow = Work::start(Some(Box::new(|| std::thread::sleep(Duration::from_millis(20)))), &[]);
        let quick = Work::start(append(&list, 1), &[]);
        let marker = Work::start(None, [&slow, &quick]);
        Work::start(append(&list, 2), [&marker]).wait();
        assert!(slow.is_done() && quick.is_done() && marker.is_done());
        assert_eq!(*lock(&list), [1, 2]);
    }

    #[test]
    fn run_when_nothing_before_then_on_this_thread() {
        let here = std::thread::current().id();
        let seen = Arc::new(Mutex::new(None));
        let note = seen.clone();
        Work::run(Box::new(move || *lock(&note) = Some(std::thread::current().id())), &[]);
        assert_eq!(*lock(&seen), Some(here));
    }

    #[test]
    fn operation_when_it_panics_then_followers_still_run() {
        let bad = Work::start(Some(Box::new(|| panic!("on purpose"))), &[]);
        Work::start(None, &[bad]).wait();
    }
}
