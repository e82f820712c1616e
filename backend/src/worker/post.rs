//! Where the ring's threads meet: who has the *lead*, who is the *sentry*, who rests.
//!
//! What holds: the lead is here or with one thread. It is laid down only after an exact parking ([`wire::ring`]), or, where there
//! were frames already, with the doorbell rung for the sentry; so no frame waits without somebody on the way to it. Parking and
//! laying down are one step under the lock: a sentry that took the doorbell's signal, and finds no lead, knows that whoever has it
//! will look at the ring again.
//!
//! For a call that will be short the lead is laid down without parking, which costs more than all else here: then nobody is
//! told of frames, until the guest's thread that waits for this very call has waited for long and rings (`wire.md`). Where
//! that doorbell may have been heard before the call is begun, it is begun parked: a doorbell that is heard while a thread
//! has the lead is remembered here, and of which frames one may have been heard when the lead was taken, or not rung because
//! parking was tried, the ring knows ([`wire::ring::Taker::may_have_rung`]).
//!
//! Model-checked with the ring's own words (`spec/wire/tests/hand_over.rs` includes this file), so it knows nothing of either: what
//! the lead is, how it is parked and how the doorbell is waited for, its callers say.

#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard};

/// What the threads know of each other.
pub(crate) struct State<L> {
    /// The lead, while nobody has it.
    pub(crate) lead: Option<L>,
    /// Whether a thread waits at the doorbell.
    pub(crate) sentry: bool,
    /// Threads that rest.
    resting: usize,
    /// Calls that sleep in the driver.
    blocking: usize,
    /// The doorbell rang while a thread had the lead, which has not parked since.
    rung: bool,
    /// All threads. Those beyond `blocking` and the leader are the sentry, rest, or are on their way to the doorbell.
    threads: usize,
}

/// See the file's head. `L` is the lead.
pub(crate) struct Post<L> {
    state: Mutex<State<L>>,
    wanted: Condvar,
}

/// How a call that may sleep is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// The worker is parked.
    Parked,
    /// It is not, for there are frames.
    Frames,
    /// It is not: the guest's thread that waits for the call rings when it has waited for long.
    Unparked,
}

/// What a thread that has laid the lead down for a call must see to.
pub(crate) struct Duties {
    /// The worker is not parked, for there are frames: ring the doorbell.
    pub(crate) ring: bool,
    /// Nobody is there to answer it: start a thread.
    pub(crate) start: bool,
}

impl<L> Post<L> {
    /// With one thread, which will take the lead.
    pub(crate) fn new(lead: L) -> Post<L> {
        let state = State { lead: Some(lead), sentry: false, rung: false, resting: 0, blocking: 0, threads: 1 };
        Post { state: Mutex::new(state), wanted: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lead, where nobody has it.
    pub(crate) fn take(&self) -> Option<L> {
        self.lock().lead.take()
    }

    /// Waits at the doorbell, or rests where another thread does, until the lead is free when the doorbell rings. `await_doorbell`
    /// returns when it rang; `None` where it says that all is over.
    pub(crate) fn stand_by(&self, mut await_doorbell: impl FnMut() -> bool) -> Option<L> {
        let mut state = self.lock();
        while state.sentry {
            state.resting += 1;
            state = self.wanted.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.resting -= 1;
        }
        state.sentry = true;
        drop(state);
        while await_doorbell() {
            let mut state = self.lock();
            // Where another thread has it, that thread sees what the doorbell was rung for: it looks when it parks, at the latest.
            if let Some(lead) = state.lead.take() {
                state.sentry = false;
                return Some(lead);
            }
            state.rung = true;
        }
        None
    }

    /// Lays the lead down if `park` says that the ring is empty; else gives it back.
    ///
    /// # Errors
    /// Those of `park`.
    pub(crate) fn lay_down<E>(
        &self,
        mut lead: L,
        park: impl FnOnce(&mut L) -> Result<bool, E>,
    ) -> Result<Option<L>, E> {
        let mut state = self.lock();
        state.rung = false;
        if !park(&mut lead)? {
            return Ok(Some(lead));
        }
        state.lead = Some(lead);
        Ok(None)
    }

    /// Lays the lead down for a call that may sleep, of which there are at most `most` at a time: `None` beyond. `park` is
    /// told whether the call may be begun without parking, and says whether the doorbell has to be rung.
    ///
    /// # Errors
    /// Those of `park`.
    pub(crate) fn begin_call<E>(
        &self,
        mut lead: L,
        most: usize,
        park: impl FnOnce(&mut L, bool) -> Result<Begun, E>,
    ) -> Result<Option<Duties>, E> {
        let mut state = self.lock();
        if state.blocking >= most {
            return Ok(None);
        }
        state.blocking += 1;
        let begun = park(&mut lead, !state.rung)?;
        state.rung = false;
        state.lead = Some(lead);
        let rouses = !state.sentry && state.resting != 0;
        // This thread was the leader, so whoever does not sleep in a call is the sentry or will be.
        let start = state.threads == state.blocking;
        state.threads += usize::from(start);
        drop(state);
        if rouses {
            self.wanted.notify_one();
        }
        Ok(Some(Duties { ring: begun == Begun::Frames, start }))
    }

    /// The call has ended: the lead, where nobody took it meanwhile.
    pub(crate) fn end_call(&self) -> Option<L> {
        let mut state = self.lock();
        state.blocking -= 1;
        state.lead.take()
    }
}
