//! Threads that move bytes between the guest's pages and stages, while one thread calls the driver.
//!
//! One processor moves bytes slower than a device takes them, and threads that all call the driver wait for its locks. So a large
//! copy is cut into jobs: the movers fill or empty stages, and the thread that makes the call hands each stage to the driver in
//! turn. The movers are started by the first large copy, on a machine with processors to spare; they spin for [`SPIN`] after a job
//! and then sleep. A thread that waits for its job works on it, so that a machine without movers copies all the same.
//!
//! What holds: a [`Moving`] does not end before all bytes of its job are moved, so no thread touches the memory later.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::os;

/// How long a mover without a job looks for one before it sleeps.
const SPIN: Duration = Duration::from_micros(100);
/// Looks between two looks at the clock.
const LOOKS: u32 = 64;
/// Most movers.
const MOST_MOVERS: usize = 7;
/// Bytes that a thread takes of a job at a time, about.
const TASK_BYTES: usize = 128 << 10;

/// Tasks that are done at once, by the thread that starts them.
const FEW_TASKS: usize = 2;

/// Bytes to be moved.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    /// First byte to read.
    pub from: *const u8,
    /// First byte to write.
    pub to: *mut u8,
    /// How many.
    pub bytes: usize,
}

/// Moves that belong together.
struct Job {
    moves: Vec<Move>,
    /// Where each task begins in the moves; the last entry is their number.
    tasks: Vec<usize>,
    next: AtomicUsize,
    /// Tasks that are not done.
    left: AtomicUsize,
}

// SAFETY: `Moving::start` promises that the memory stays valid until the job is done, and that moves do not overlap.
unsafe impl Send for Job {}
// SAFETY: as above; what changes is atomic.
unsafe impl Sync for Job {}

impl Job {
    fn new(moves: Vec<Move>) -> Job {
        let (mut cut, mut tasks, mut bytes) = (Vec::with_capacity(moves.len()), vec![0], 0);
        for mut one in moves {
            loop {
                if bytes >= TASK_BYTES {
                    tasks.push(cut.len());
                    bytes = 0;
                }
                let part = one.bytes.min(TASK_BYTES);
                cut.push(Move { bytes: part, ..one });
                bytes += part;
                if part == one.bytes {
                    break;
                }
                let (from, to) = (one.from.wrapping_add(part), one.to.wrapping_add(part));
                one = Move { from, to, bytes: one.bytes - part };
            }
        }
        let moves = cut;
        let left = AtomicUsize::new(if moves.is_empty() { 0 } else { tasks.len() });
        tasks.push(moves.len());
        Job { moves, tasks, next: AtomicUsize::new(0), left }
    }

    /// Does what nobody has begun.
    fn work(&self) {
        while let Some(&[begin, end]) = {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            self.tasks.get(task..task + 2).and_then(|pair| pair.first_chunk())
        } {
            for one in self.moves.get(begin..end).unwrap_or_default() {
                // SAFETY: `Moving::start`: both ranges are valid, and nobody else moves these.
                unsafe { std::ptr::copy_nonoverlapping(one.from, one.to, one.bytes) };
            }
            if begin != end {
                // Release: pairs with the acquire in `is_done`.
                self.left.fetch_sub(1, Ordering::Release);
            }
        }
    }

    fn is_begun(&self) -> bool {
        self.next.load(Ordering::Relaxed) + 1 >= self.tasks.len()
    }

    fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

#[derive(Default)]
struct List {
    jobs: VecDeque<Arc<Job>>,
    sleeping: usize,
    /// How often the movers were to look without there being a job yet.
    roused: u64,
}

/// The process's movers.
#[derive(Default)]
struct Movers {
    list: Mutex<List>,
    wanted: Condvar,
    /// Jobs in the list: what spinning movers look at.
    waiting: AtomicUsize,
}

impl Movers {
    /// So many; `None` for none.
    fn start(count: usize) -> Option<&'static Movers> {
        if count == 0 {
            return None;
        }
        let movers: &'static Movers = Box::leak(Box::default());
        let start = |_: &usize| std::thread::Builder::new().name("mover".into()).spawn(|| movers.serve()).is_ok();
        let started = (0..count).filter(start).count();
        (started != 0).then_some(movers)
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, job: Arc<Job>) {
        let mut list = self.lock();
        list.jobs.push_back(job);
        self.waiting.store(list.jobs.len(), Ordering::Relaxed);
        if list.sleeping != 0 {
            self.wanted.notify_all();
        }
    }

    /// Has the movers that sleep look for a job for [`SPIN`].
    fn rouse(&self) {
        let mut list = self.lock();
        list.roused += 1;
        if list.sleeping != 0 {
            self.wanted.notify_all();
        }
    }

    /// The first job of which something is left to begin.
    fn job(&self) -> Option<Arc<Job>> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut list = self.lock();
        while list.jobs.front().is_some_and(|job| job.is_begun()) {
            list.jobs.pop_front();
        }
        self.waiting.store(list.jobs.len(), Ordering::Relaxed);
        list.jobs.front().cloned()
    }

    /// A mover: never returns.
    fn serve(&self) {
        loop {
            let mut since = Instant::now();
            while since.elapsed() < SPIN {
                for _ in 0..LOOKS {
                    while let Some(job) = self.job() {
                        job.work();
                        since = Instant::now();
                    }
                    std::hint::spin_loop();
                }
            }
            let mut list = self.lock();
            list.sleeping += 1;
            let roused = list.roused;
            while list.jobs.is_empty() && list.roused == roused {
                list = self.wanted.wait(list).unwrap_or_else(PoisonError::into_inner);
            }
            list.sleeping -= 1;
        }
    }
}

static MOVERS: OnceLock<Option<&'static Movers>> = OnceLock::new();

/// Memory was lent, and a copy of it is about to come: to wake a mover takes longer than that. Where no copy has needed
/// movers yet it does nothing.
pub(super) fn rouse() {
    if let Some(Some(movers)) = MOVERS.get() {
        movers.rouse();
    }
}

/// The process's; `None` where the machine has no processors to spare.
fn movers() -> Option<&'static Movers> {
    *MOVERS.get_or_init(|| Movers::start((os::processors() / 2).clamp(1, MOST_MOVERS + 1) - 1))
}

/// Bytes that are being moved. Dropping it waits for the end.
pub struct Moving(Arc<Job>);

impl Moving {
    /// Begins.
    ///
    /// # Safety
    /// Every move's memory is valid for reading and writing until the value is dropped, and no two moves that are under way write
    /// the same bytes. It is dropped: to forget it would let threads touch the memory later.
    #[must_use]
    pub unsafe fn start(moves: Vec<Move>) -> Moving {
        let job = Arc::new(Job::new(moves));
        // A few bytes are moved sooner than another thread wakes.
        match movers().filter(|_| job.tasks.len() > FEW_TASKS + 1) {
            Some(movers) => movers.add(Arc::clone(&job)),
            None => job.work(),
        }
        Moving(job)
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.work();
        let mut turns = 0u32;
        while !self.0.is_done() {
            turns += 1;
            // A mover that was put aside in the middle of its task may want this processor.
            if turns.is_multiple_of(LOOKS * LOOKS) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(from: &[u8], to: &mut [u8], piece: usize) -> Vec<Move> {
        let pieces = from.chunks(piece).zip(to.chunks_mut(piece));
        pieces.map(|(from, to)| Move { from: from.as_ptr(), to: to.as_mut_ptr(), bytes: from.len() }).collect()
    }

    #[test]
    fn moving_when_dropped_then_every_byte_is_there() {
        let from: Vec<u8> = (0..3 << 20).map(|at: u32| (at % 251) as u8).collect();
        for piece in [4096, 5000, 1 << 20, 4 << 20] {
            let mut to = vec![0; from.len()];
            // SAFETY: the memory lives beyond the value, and the pieces do not overlap.
            drop(unsafe { Moving::start(moves(&from, &mut to, piece)) });
            assert!(from == to, "pieces of {piece}");
        }
        // SAFETY: no memory at all.
        drop(unsafe { Moving::start(Vec::new()) });
    }

    #[test]
    fn movers_when_roused_without_a_job_then_look_and_sleep_again() {
        let movers = Movers::start(2).expect("movers");
        let asleep = || {
            let start = Instant::now();
            while movers.lock().sleeping != 2 {
                assert!(start.elapsed() < Duration::from_secs(10), "movers do not sleep");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        asleep();
        movers.rouse();
        asleep();
    }

    #[test]
    fn job_when_several_threads_work_then_each_task_is_done_once() {
        let from = vec![1u8; 1 << 20];
        let mut to = vec![0u8; 1 << 20];
        let job = Arc::new(Job::new(moves(&from, &mut to, 4096)));
        assert_eq!(job.left.load(Ordering::Relaxed), (1 << 20) / TASK_BYTES);
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| job.work()))));
        assert!(job.is_done() && job.is_begun());
        assert!(from == to);
    }
}
