//! The threads on which work runs.
//!
//! A thread is added when work is ready and none is idle, and leaves after a few idle seconds; a process that uses no
//! device work has none. An operation may block (host functions, waits for a value), so the number follows the ready
//! work, up to `MOST`. The threads take no signals: those belong to the program.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::work::{self, Work, lock};

/// Threads at most; ready work beyond that waits for one.
const MOST: usize = 128;
const IDLE: Duration = Duration::from_secs(5);

struct Pool {
    ready: VecDeque<Arc<Work>>,
    idle: usize,
    threads: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { ready: VecDeque::new(), idle: 0, threads: 0 });
static READY: Condvar = Condvar::new();

thread_local! {
    static MEMBER: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is one of the pool's.
pub fn on_pool_thread() -> bool {
    MEMBER.get()
}

/// Queues ready work.
pub fn push(work: Arc<Work>) {
    let mut pool = lock(&POOL);
    pool.ready.push_back(work);
    if pool.ready.len() <= pool.idle {
        drop(pool);
        READY.notify_one();
    } else if pool.threads < MOST {
        pool.threads += 1;
        drop(pool);
        if let Err(error) = spawn() {
            let mut pool = lock(&POOL);
            pool.threads -= 1;
            let none = pool.threads == 0;
            drop(pool);
            log::error!("no thread for device work: {error}");
            if none {
                serve(false);
            }
        }
    }
}

fn spawn() -> std::io::Result<()> {
    without_signals(|| {
        std::thread::Builder::new().name("cuda-work".into()).spawn(|| {
            MEMBER.set(true);
            serve(true);
        })
    })
    .map(drop)
}

/// Runs ready work; with `stay`, until idle for long, else only what is there.
fn serve(stay: bool) {
    let mut pool = lock(&POOL);
    loop {
        if let Some(next) = pool.ready.pop_front() {
            drop(pool);
            work::execute(next);
            pool = lock(&POOL);
            continue;
        }
        if !stay {
            return;
        }
        pool.idle += 1;
        let (guard, timeout) = READY.wait_timeout(pool, IDLE).unwrap_or_else(PoisonError::into_inner);
        pool = guard;
        pool.idle -= 1;
        if timeout.timed_out() && pool.ready.is_empty() {
            pool.threads -= 1;
            return;
        }
    }
}

/// Calls `make` with every signal blocked, so that a thread it makes inherits that.
pub fn without_signals<R>(make: impl FnOnce() -> R) -> R {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut old = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid for writing, and `all` is filled before it is read.
    let blocked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr()) == 0
    };
    let made = make();
    if blocked {
        // SAFETY: the call above succeeded and so filled `old`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), std::ptr::null_mut()) };
    }
    made
}
