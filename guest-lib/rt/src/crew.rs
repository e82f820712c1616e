//! Threads that help a caller to copy: one processor moves bytes slower than a device takes them.
//!
//! A large copy is cut into [`TASK_BYTES`] tasks. They go to one list, from which the threads of the crew and the waiting callers
//! take them. The crew is started by the first large copy of the process, on a machine with processors to spare; its threads spin
//! for [`SPIN`] after a task and then sleep. They block every signal: handlers are the program's and run on its threads.
//!
//! What holds: a [`Copying`] does not end before all tasks that it gave to the crew are done: no thread touches the memory later.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a task: so few that a chunk of the staging area is filled by several threads at once.
const TASK_BYTES: usize = 256 << 10;
/// Bytes of a copy from which help is worth waking threads for.
pub(crate) const HELP_FROM: usize = 2 << 20;
/// How long a thread without a task looks for one before it sleeps.
const SPIN: Duration = Duration::from_micros(100);
/// Looks between two looks at the clock.
const LOOKS: u32 = 64;
/// Most threads for copies, the caller's included; `GPUFERRY_COPY_THREADS` sets another number.
const MOST_THREADS: usize = 8;

/// Some bytes to copy for part `part` of a copy.
struct Task {
    from: *const u8,
    to: *mut u8,
    bytes: usize,
    /// Tasks of the part that are not done.
    left: *const AtomicUsize,
}

// SAFETY: the memory and the counter stay valid until the counter says that the task is done; tasks do not overlap.
unsafe impl Send for Task {}

impl Task {
    fn run(self) {
        // SAFETY: by the contract of `Copying::start`: both ranges are valid, and the counter lives until it is 0.
        unsafe {
            std::ptr::copy_nonoverlapping(self.from, self.to, self.bytes);
            // Release: pairs with the acquire in `Copying::await_parts`.
            (*self.left).fetch_sub(1, Ordering::Release);
        }
    }
}

#[derive(Default)]
struct List {
    tasks: VecDeque<Task>,
    sleeping: usize,
}

/// The process's crew.
#[derive(Default)]
struct Crew {
    list: Mutex<List>,
    wanted: Condvar,
    /// Tasks in the list: what spinning threads look at.
    waiting: AtomicUsize,
}

impl Crew {
    /// A crew of so many threads; `None` for none.
    fn start(threads: usize) -> Option<&'static Crew> {
        if threads == 0 {
            return None;
        }
        let crew: &'static Crew = Box::leak(Box::default());
        let kept = block_signals();
        let start = |_: &usize| std::thread::Builder::new().name("gpuferry-copy".into()).spawn(|| crew.serve()).is_ok();
        let started = (0..threads).filter(start).count();
        set_signals(&kept);
        (started != 0).then_some(crew)
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, tasks: impl Iterator<Item = Task>) {
        let mut list = self.lock();
        list.tasks.extend(tasks);
        self.waiting.store(list.tasks.len(), Ordering::Relaxed);
        if list.sleeping != 0 {
            self.wanted.notify_all();
        }
    }

    fn take(&self) -> Option<Task> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut list = self.lock();
        let task = list.tasks.pop_front();
        self.waiting.store(list.tasks.len(), Ordering::Relaxed);
        task
    }

    /// A thread of the crew: never returns.
    fn serve(&self) {
        loop {
            let start = Instant::now();
            while start.elapsed() < SPIN {
                for _ in 0..LOOKS {
                    while let Some(task) = self.take() {
                        task.run();
                    }
                    std::hint::spin_loop();
                }
            }
            let mut list = self.lock();
            list.sleeping += 1;
            while list.tasks.is_empty() {
                list = self.wanted.wait(list).unwrap_or_else(PoisonError::into_inner);
            }
            list.sleeping -= 1;
        }
    }
}

/// Threads for a copy beside the caller's.
fn helpers() -> usize {
    let asked = std::env::var("GPUFERRY_COPY_THREADS").ok().and_then(|text| text.parse::<usize>().ok());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    asked.unwrap_or((cores / 2).min(MOST_THREADS)).clamp(1, 64) - 1
}

/// The crew; `None` where the machine has no processors to spare.
fn crew() -> Option<&'static Crew> {
    static CREW: OnceLock<Option<&'static Crew>> = OnceLock::new();
    *CREW.get_or_init(|| Crew::start(helpers()))
}

/// Blocks every signal in this thread; what was blocked before.
fn block_signals() -> libc::sigset_t {
    // SAFETY: all zeros is a valid set; the calls fill sets of ours.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

fn set_signals(set: &libc::sigset_t) {
    // SAFETY: a set that the system gave.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, std::ptr::null_mut()) };
}

/// Copies, a large amount with the crew's help.
///
/// # Safety
/// Both sides are valid for so many bytes, do not overlap, and are nobody else's until the copy is done.
pub unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    if bytes < HELP_FROM {
        // SAFETY: this function's contract.
        return unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
    }
    let mut moves = [(std::ptr::null(), std::ptr::null_mut(), 0); MOST_PARTS];
    moves[0] = (from, to, bytes);
    // SAFETY: this function's contract; the value is dropped here.
    unsafe { Copying::start((moves, 1), true) }.await_parts(1);
}

/// A part of a copy: from, to, bytes.
pub(crate) type Move = (*const u8, *mut u8, usize);
/// Most parts of a [`Copying`].
pub(crate) const MOST_PARTS: usize = 8;

/// The parts of a copy that is under way. Without a crew a part is copied when it is awaited.
pub(crate) struct Copying {
    moves: ([Move; MOST_PARTS], usize),
    /// Parts that this thread has copied, where there is no crew.
    copied: Cell<usize>,
    /// Tasks of each part that are not done, where there is one.
    left: Box<[AtomicUsize]>,
    crew: Option<&'static Crew>,
}

impl Copying {
    /// Begins to copy the first parts, with `help` on several threads.
    ///
    /// # Safety
    /// Every part is valid for reading and writing, and nobody else's, until the value is dropped; parts do not overlap.
    pub unsafe fn start(moves: ([Move; MOST_PARTS], usize), help: bool) -> Copying {
        // SAFETY: this function's contract.
        unsafe { Copying::start_with(if help { crew() } else { None }, moves) }
    }

    /// # Safety
    /// As [`Copying::start`].
    unsafe fn start_with(crew: Option<&'static Crew>, moves: ([Move; MOST_PARTS], usize)) -> Copying {
        let mut left = Box::default();
        if let Some(crew) = crew {
            let parts = &moves.0[..moves.1];
            left = parts.iter().map(|(_, _, bytes)| AtomicUsize::new(bytes.div_ceil(TASK_BYTES))).collect();
            crew.add(parts.iter().zip(&left).flat_map(|((from, to, bytes), left)| {
                (0..*bytes).step_by(TASK_BYTES).map(move |at| Task {
                    from: from.wrapping_add(at),
                    to: to.wrapping_add(at),
                    bytes: TASK_BYTES.min(bytes - at),
                    left,
                })
            }));
        }
        Copying { moves, copied: Cell::new(0), left, crew }
    }

    /// Returns when the first `count` parts are copied; helps meanwhile.
    pub fn await_parts(&self, count: usize) {
        let count = count.min(self.moves.1);
        let Some(crew) = self.crew else {
            for (from, to, bytes) in self.moves.0.get(self.copied.get()..count).unwrap_or_default() {
                // SAFETY: by the contract of `start`.
                unsafe { std::ptr::copy_nonoverlapping(*from, *to, *bytes) };
            }
            return self.copied.set(count.max(self.copied.get()));
        };
        for left in &self.left[..count] {
            // Acquire: pairs with the release in `Task::run`.
            while left.load(Ordering::Acquire) != 0 {
                match crew.take() {
                    Some(task) => task.run(),
                    // Another thread copies the last of it: so few bytes that no sleep is worth it.
                    None => std::hint::spin_loop(),
                }
            }
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        // The crew may have the memory in its hands; a part that nobody has begun with is left alone.
        if self.crew.is_some() {
            self.await_parts(MOST_PARTS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(bytes: usize, parts: usize, crew: Option<&'static Crew>) {
        let from: Vec<u8> = (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect();
        let mut to = vec![0u8; bytes];
        let each = bytes.div_ceil(parts);
        let mut moves = ([(std::ptr::null(), std::ptr::null_mut(), 0); MOST_PARTS], 0);
        for at in (0..bytes).step_by(each) {
            moves.0[moves.1] = (from[at..].as_ptr(), to[at..].as_mut_ptr(), each.min(bytes - at));
            moves.1 += 1;
        }
        // SAFETY: the parts lie apart in the two vectors, which live longer.
        let copying = unsafe { Copying::start_with(crew, moves) };
        copying.await_parts(1);
        assert!(from[..each.min(bytes)] == to[..each.min(bytes)]);
        copying.await_parts(MOST_PARTS);
        assert!(from == to);
    }

    #[test]
    fn copying_when_all_parts_were_awaited_then_every_byte_is_there() {
        for crew in [None, Crew::start(2)] {
            copied(5 * TASK_BYTES + 3, 3, crew);
            copied(1, 1, crew);
        }
    }

    #[test]
    fn copying_when_many_threads_copy_at_once_then_each_has_its_own_bytes() {
        let crew = Crew::start(2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20).for_each(|_| copied(3 * TASK_BYTES, 5, crew)));
            }
        });
    }
}
