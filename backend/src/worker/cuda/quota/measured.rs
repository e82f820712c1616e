//! What this process holds of a GPU's memory, by the driver's own figure ([`Figure`]), which has all that no call tells the
//! size of.
//!
//! Asking takes 50 us on an H200, and 320 us where 16 processes use the card, so it is not asked at each call. What is
//! counted is never less than the process holds: an allocation counts in the driver's pieces, and memory that is freed goes
//! on counting, until [`MOST_ABOVE`] bytes may be counted that are not there, a charge does not fit, or somebody wants to
//! know. Then the driver is asked, and what it says is what counts. After calls whose size nobody can tell it is asked at
//! once ([`Measured::look`]).
//!
//! Where the driver does not answer, what the calls told is what counts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::Account;
use crate::worker::nvml::Figure;

/// The pieces in which the driver takes memory: a larger allocation takes whole ones, smaller ones share them.
pub(super) const PIECE: u64 = 2 << 20;
/// How much may be counted that is not held, before the driver is asked.
const MOST_ABOVE: u64 = 64 << 20;

/// The pieces in which a pool takes memory.
const POOL_PIECE: u64 = 32 << 20;

/// Bytes in whole pieces.
pub(super) fn pieces(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(PIECE).unwrap_or(u64::MAX)
}

/// The account, and what is known of how far it is above what is held.
pub(super) struct Measured {
    figure: Figure,
    account: Arc<Account>,
    state: Mutex<State>,
    /// The figure has been found to be none.
    is_useless: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Charged for calls that have not returned: the figure may have it or not.
    under_way: u64,
    /// May be counted though it is not held.
    above: u64,
    /// Memory of other processes, which may outlive them, and is in their figures until then.
    foreign: u64,
    /// In the figure, and nobody's yet: contexts that were made ahead of the session.
    ahead: u64,
    /// A piece of a pool has been charged since the driver was asked: of small allocations one piece in all is not full.
    has_pool_piece: bool,
}

impl Measured {
    pub(super) fn new(figure: Figure, account: Arc<Account>) -> Measured {
        Measured { figure, account, state: Mutex::default(), is_useless: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `bytes` for a call that begins; [`Measured::made`] or [`Measured::failed`] follows. False, and nothing is taken, where
    /// there is no room.
    pub(super) fn begin(&self, bytes: u64) -> bool {
        self.begin_with(&mut self.lock(), |_| bytes).is_some()
    }

    /// The same for an allocation of a pool: how much was taken, all of which may be more than the pool needs.
    pub(super) fn begin_in_pool(&self, bytes: u64) -> Option<u64> {
        let mut state = self.lock();
        let piece = |state: &State| if state.has_pool_piece { 0 } else { POOL_PIECE };
        let taken = self.begin_with(&mut state, |state| bytes.saturating_add(piece(state)))?;
        state.has_pool_piece = true;
        Some(taken)
    }

    fn begin_with(&self, state: &mut State, bytes: impl Fn(&State) -> u64) -> Option<u64> {
        if !self.account.charge(bytes(state)) {
            self.settle(state);
            if !self.account.charge(bytes(state)) {
                return None;
            }
        }
        state.under_way += bytes(state);
        Some(bytes(state))
    }

    /// The call has taken memory: at most what it was charged for, and at least `told`.
    pub(super) fn made(&self, bytes: u64, told: u64) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(bytes);
        self.add_above(&mut state, bytes.saturating_sub(told));
    }

    /// The call has taken nothing.
    pub(super) fn failed(&self, bytes: u64) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(bytes);
        self.account.refund(bytes);
    }

    /// The call has returned, and nobody knows how much of that it has taken: the driver is asked.
    pub(super) fn settled(&self, bytes: u64) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(bytes);
        state.above = state.above.saturating_add(bytes);
        self.settle(&mut state);
    }

    /// Memory was freed, all of which the driver may have back or not.
    pub(super) fn freed(&self, bytes: u64) {
        self.add_above(&mut self.lock(), bytes);
    }

    fn add_above(&self, state: &mut State, bytes: u64) {
        state.above = state.above.saturating_add(bytes);
        if state.above >= MOST_ABOVE {
            self.settle(state);
        }
    }

    /// Memory of another process is held here too, for which room was taken by [`Measured::begin`].
    pub(super) fn foreign_made(&self, bytes: u64) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(bytes);
        state.foreign += bytes;
    }

    /// Memory of another process is not held here any more.
    pub(super) fn foreign_ended(&self, bytes: u64) {
        let mut state = self.lock();
        state.foreign = state.foreign.saturating_sub(bytes);
        self.account.refund(bytes);
    }

    /// What is there now was made ahead of the session, and is not charged.
    pub(super) fn is_ahead(&self) {
        self.lock().ahead = self.figure.bytes().unwrap_or(0);
    }

    /// Of that so many parts of a number of parts are left.
    pub(super) fn ahead_ended(&self, left: u32, of: u32) {
        let mut state = self.lock();
        state.ahead = state.ahead / u64::from(of.max(1)) * u64::from(left);
    }

    /// Asks the driver, and counts what it says. False where a limit is passed: it is counted all the same, as it is there.
    pub(super) fn look(&self) -> bool {
        self.settle(&mut self.lock());
        self.account.charge(0)
    }

    /// There is a context, so a figure of nothing is none.
    pub(super) fn look_at_context(&self) -> bool {
        if self.figure.bytes().is_none_or(|bytes| bytes == 0) && !self.is_useless.swap(true, Ordering::Relaxed) {
            log::warn!(
                "the driver does not tell how much memory this process holds: code, streams and stacks are not counted"
            );
        }
        self.look()
    }

    /// So many bytes less were counted before: where a call has given memory back.
    pub(super) fn shrinks(&self) -> bool {
        let before = self.account.own();
        self.settle(&mut self.lock());
        self.account.own() < before
    }

    fn settle(&self, state: &mut State) {
        let own = self.account.own();
        let figure = if self.is_useless.load(Ordering::Relaxed) { None } else { self.figure.bytes() };
        let now = match figure {
            Some(bytes) => bytes.saturating_sub(state.ahead) + state.foreign + state.under_way,
            None => own.saturating_sub(state.above),
        };
        if now > own {
            self.account.take(now - own);
        } else {
            self.account.refund(own - now);
        }
        // What other calls have taken just now may have been counted twice.
        state.has_pool_piece = false;
        state.above = if figure.is_some() { state.under_way } else { 0 };
    }
}

#[cfg(test)]
#[path = "measured_tests.rs"]
mod tests;
