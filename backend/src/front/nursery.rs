//! Workers that are started before a session needs them.
//!
//! One thread asks the [`Starter`] for them. A session gets the longest-started one; whether that is ready yet, its own connection
//! says. [`Nursery::renew`] gives the waiting ones up, so that a program that was replaced serves the next sessions.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use wire::Malformed;
use wire::control::Message;

use super::process::{Counted, Program, StartError, Worker};
use super::starter::Starter;
use crate::channel::ChannelError;
use crate::death;
use crate::os;

/// Longest that the first worker may take to load its library, before `gpuferryd` gives up at its start.
const FIRST_READY: Duration = Duration::from_secs(60);
/// Pause after a worker that could not be started, before the pool's next.
const PAUSE: Duration = Duration::from_secs(1);

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
pub enum NoWorker {
    /// `--max-sessions` is reached.
    #[error("{0} sessions are open, as many as --max-sessions allows")]
    Limit(u32),
    /// It does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no thread to start them.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// It ended before it was ready.
    #[error("the first worker {0} before it was ready")]
    Ended(String),
    /// It never was ready.
    #[error("the first worker was not ready within {} s: the host's driver may hang", FIRST_READY.as_secs())]
    Slow,
    /// It is not of this build.
    #[error("the first worker's control connection: {0}")]
    Channel(#[from] ChannelError),
}

#[derive(Default)]
struct State {
    ready: VecDeque<Worker>,
    /// Counts the calls of [`Nursery::renew`]: a worker that was being started meanwhile is an old one.
    renewed: u64,
    /// Requests for a worker that the pool could not serve.
    wanted: usize,
    /// Answers to those.
    started: VecDeque<Result<Worker, StartError>>,
}

/// How many sessions there are, of all carriers, and may be.
#[derive(Clone, Debug)]
pub struct Serving {
    count: Arc<AtomicU32>,
    most: u32,
}

impl Serving {
    /// None yet.
    #[must_use]
    pub fn new(most: u32) -> Serving {
        Serving { count: Arc::default(), most }
    }
}

/// Where workers come from.
pub struct Pool {
    /// Who starts them.
    pub starter: Arc<Starter>,
    /// Where they are.
    pub room: u32,
    /// What they are.
    pub program: Program,
    /// How many wait for a session.
    pub prestart: usize,
}

impl Pool {
    fn start(&self) -> Result<Worker, StartError> {
        Worker::start(&self.starter, self.room, &self.program)
    }
}

struct Shared {
    pool: Pool,
    state: Mutex<State>,
    news: Condvar,
    answers: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's head.
pub struct Nursery {
    shared: Arc<Shared>,
    serving: Serving,
}

impl Nursery {
    /// Starts the thread, and waits until its first worker has loaded its library (not with `prestart` 0).
    /// # Errors
    /// [`NoWorker`].
    pub fn new(pool: Pool, serving: Serving) -> Result<Nursery, NoWorker> {
        let shared = Arc::new(Shared { pool, state: Mutex::default(), news: Condvar::new(), answers: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let (sender, proven) = mpsc::channel();
        std::thread::Builder::new()
            .name("nursery".into())
            .spawn(move || run(&theirs, &sender))
            .map_err(NoWorker::Thread)?;
        proven.recv().unwrap_or(Err(NoWorker::Slow))?;
        Ok(Nursery { shared, serving })
    }

    /// Most sessions at a time.
    #[must_use]
    pub fn max_sessions(&self) -> u32 {
        self.serving.most
    }

    /// Ends the workers that wait for a session; new ones come from the program as it is now.
    pub fn renew(&self) {
        let ended = self.empty();
        log::info!("the next sessions get new workers; {ended} that waited end");
    }

    /// The guest is gone, and its room with it: the next guest's workers share nothing with what is left of its.
    pub fn leave(&self) {
        // First: a worker that is started before this is an old one, and is not kept.
        self.shared.pool.starter.leave(self.shared.pool.room);
        self.empty();
    }

    /// Ends the workers that wait for a session. Returns how many.
    fn empty(&self) -> usize {
        let mut state = self.shared.lock();
        state.renewed += 1;
        let idle = std::mem::take(&mut state.ready);
        drop(state);
        let ended = idle.len();
        drop(idle);
        self.shared.news.notify_one();
        ended
    }

    /// Takes a worker for a session; it may still be loading its library.
    /// # Errors
    /// [`NoWorker`].
    pub fn take(&self) -> Result<Worker, NoWorker> {
        let counted =
            Counted::take(&self.serving.count, self.serving.most).ok_or(NoWorker::Limit(self.serving.most))?;
        let mut worker = self.take_any()?;
        worker.counted = Some(counted);
        Ok(worker)
    }

    fn take_any(&self) -> Result<Worker, NoWorker> {
        let mut state = self.shared.lock();
        while let Some(mut worker) = state.ready.pop_front() {
            self.shared.news.notify_one();
            if !worker.is_over() {
                return Ok(worker);
            }
            let how = worker.ended(FIRST_READY).map_or("ended".into(), death::describe);
            log::warn!("idle worker {} {how}", worker.id());
        }
        state.wanted += 1;
        self.shared.news.notify_one();
        loop {
            if let Some(started) = state.started.pop_front() {
                return Ok(started?);
            }
            state = self.shared.answers.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Waits until a worker has loaded its library.
fn prove(worker: &mut Worker) -> Result<(), NoWorker> {
    let deadline = Instant::now() + FIRST_READY;
    loop {
        match worker.channel.receive() {
            Ok(Some(received)) if received.message == Message::Ready => break,
            Ok(Some(_)) => return Err(ChannelError::from(Malformed::new("not a worker's first message")).into()),
            Err(ChannelError::Gone) => {
                let status = worker.ended(FIRST_READY);
                return Err(NoWorker::Ended(status.map_or("hung up".into(), death::describe)));
            }
            Err(error) => return Err(error.into()),
            Ok(None) if Instant::now() > deadline => return Err(NoWorker::Slow),
            Ok(None) => {
                let left = deadline.saturating_duration_since(Instant::now());
                os::wait([os::Interest::read(&worker.channel)], Some(left)).map_err(ChannelError::from)?;
            }
        }
    }
    worker.ready = true;
    Ok(())
}

/// Starts the first worker and waits until it is ready, so that a library that does not work is known at once.
fn first(shared: &Shared) -> Result<(), NoWorker> {
    if shared.pool.prestart > 0 {
        let mut worker = shared.pool.start()?;
        prove(&mut worker)?;
        shared.lock().ready.push_back(worker);
    }
    Ok(())
}

fn run(shared: &Shared, proven: &mpsc::Sender<Result<(), NoWorker>>) {
    let result = first(shared);
    let failed = result.is_err();
    // The nursery waits for this; it is the only thing that can be gone.
    let _ = proven.send(result);
    if failed {
        return;
    }
    // After a failure the pool waits a while; a session does not.
    let mut retry = Instant::now();
    loop {
        let mut state = shared.lock();
        let for_session = loop {
            if state.wanted > 0 {
                state.wanted -= 1;
                break true;
            }
            let wait = retry.saturating_duration_since(Instant::now());
            let wanting = state.ready.len() < shared.pool.prestart;
            if wanting && wait.is_zero() {
                break false;
            }
            let time = if wanting { wait } else { Duration::MAX };
            state = shared.news.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0;
        };
        let renewed = state.renewed;
        drop(state);
        match shared.pool.start() {
            started if for_session => {
                shared.lock().started.push_back(started);
                shared.answers.notify_one();
            }
            Ok(worker) => {
                let mut state = shared.lock();
                if state.renewed == renewed {
                    state.ready.push_back(worker);
                }
            }
            Err(error) => {
                log::error!("{error}");
                retry = Instant::now() + PAUSE;
            }
        }
    }
}
