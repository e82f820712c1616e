//! Threads for calls that sleep in the driver: such a call holds nobody up.
//!
//! A waited call has a slot to itself, so there are at most [`MAX_BLOCKING`] of them at a time, and none has to queue.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::window::SLOT_COUNT;

use super::serve::{Server, reply_memory};
use crate::death::EXIT_TROUBLE;
use crate::os;

/// Most calls that sleep at a time: one for each slot.
pub(super) const MAX_BLOCKING: usize = SLOT_COUNT;

struct Job {
    header: FrameHeader,
    payload: Box<[u8]>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads that wait for a job and have none assigned.
    idle: usize,
    /// Calls that are queued or run.
    running: usize,
}

struct Shared {
    server: Arc<Server>,
    state: Mutex<State>,
    news: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads; they are started when needed and end with the process.
pub(super) struct Blocking {
    shared: Arc<Shared>,
}

impl Blocking {
    pub(super) fn new(server: Arc<Server>) -> Blocking {
        Blocking { shared: Arc::new(Shared { server, state: Mutex::default(), news: Condvar::new() }) }
    }

    /// Gives a call to a thread of its own.
    pub(super) fn submit(&self, header: FrameHeader, payload: &[u8]) -> Result<(), Malformed> {
        let mut state = self.shared.lock();
        if state.running >= MAX_BLOCKING {
            return Err(Malformed::new("more calls sleep than there are slots"));
        }
        self.shared.server.begin_blocking(&header);
        state.running += 1;
        state.jobs.push_back(Job { header, payload: payload.into() });
        if state.idle >= state.jobs.len() {
            self.shared.news.notify_one();
            return Ok(());
        }
        drop(state);
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new().name("blocking".into()).spawn(move || run(&shared));
        if let Err(error) = started {
            log::error!("cannot start a thread for a blocking call: {error}");
            os::exit_now(EXIT_TROUBLE);
        }
        Ok(())
    }
}

fn run(shared: &Shared) {
    let mut memory = reply_memory();
    loop {
        let mut state = shared.lock();
        while state.jobs.is_empty() {
            state.idle += 1;
            state = shared.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        let job = state.jobs.pop_front();
        drop(state);
        let Some(Job { header, payload }) = job else { continue };
        let (status, bytes) = shared.server.call(&header, &payload, &mut memory);
        shared.server.end_blocking(&header);
        shared.lock().running -= 1;
        shared.server.answer(&header, status, memory.get(..bytes).unwrap_or_default());
    }
}
