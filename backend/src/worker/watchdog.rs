//! Calls that do not come back: an endless kernel that is waited for, a driver that hangs, a compiler that is given a riddle.
//!
//! Each call that is being made has an entry, set and cleared by its thread. A thread of its own looks at all of them and
//! ends the process when one is too old: the front tells the guest, whose every later call answers the error of a dead
//! session. What waits for the guest itself ([`Patience::Endless`]) may take as long as it likes. A kernel that nobody waits
//! for is not seen.
//!
//! The thread rests while no call has an entry: it says so, full fence, looks at the entries once more; who makes an entry
//! looks, after a full fence, whether it rests, and wakes it. At least one sees the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use wire::control::Death;
use wire::frame::{FrameHeader, NO_SLOT};
use wire::window::SLOT_COUNT;

use super::api::Patience;
use crate::death::EXIT_TIMEOUT;
use crate::os;
use crate::window::Window;

/// How long calls may take; `None` for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) call: Option<Duration>,
    pub(super) compile: Option<Duration>,
}

/// Longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// Looks at no call before the thread rests: programs make calls one after the other.
const IDLE_LOOKS: u32 = 50;
/// Shortest: a limit so short that this is much of it is for tests.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// A look that comes so much too late was held up by more than other work on the machine.
const STOPPED: Duration = Duration::from_millis(250);

/// Calls that are being made: one a slot, and one that no slot waits for.
#[derive(Debug)]
pub(super) struct Watchdog {
    times: Times,
    begin: Instant,
    /// Milliseconds for which the process was stopped, with its VM: they count for no call.
    stopped: AtomicU64,
    /// When the call must be over, in milliseconds after `begin`, times 2^16, and its number; 0 for no call.
    due: [AtomicU64; SLOT_COUNT + 1],
    /// The thread that looks, and whether it rests until there is a call.
    thread: OnceLock<Thread>,
    rests: AtomicBool,
}

/// A call that is being made.
pub(super) struct Watched<'a>(Option<&'a AtomicU64>);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.0 {
            entry.store(0, Ordering::Relaxed);
        }
    }
}

impl Watchdog {
    pub(super) fn new(times: Times) -> Watchdog {
        Watchdog {
            times,
            begin: Instant::now(),
            stopped: AtomicU64::new(0),
            due: [const { AtomicU64::new(0) }; SLOT_COUNT + 1],
            thread: OnceLock::new(),
            rests: AtomicBool::new(false),
        }
    }

    /// A call begins, which may sleep or not; it ends when the value is dropped.
    #[inline]
    pub(super) fn watch(&self, header: &FrameHeader, sleeps: bool, patience: impl FnOnce() -> Patience) -> Watched<'_> {
        // Compiling may sleep, so of the others only `Times::call` is asked.
        if self.times.call.is_none() && !(sleeps && self.times.compile.is_some()) {
            return Watched(None);
        }
        self.watch_for(header, patience())
    }

    fn watch_for(&self, header: &FrameHeader, patience: Patience) -> Watched<'_> {
        let time = match patience {
            Patience::Usual => self.times.call,
            Patience::Compile => self.times.compile,
            Patience::Endless => None,
        };
        let index = if header.slot == NO_SLOT { SLOT_COUNT } else { usize::from(header.slot) };
        let (Some(time), Some(entry)) = (time, self.due.get(index)) else { return Watched(None) };
        let due = self.now().saturating_add(time.as_millis() as u64);
        entry.store(due << 16 | u64::from(header.call), Ordering::Relaxed);
        // Full fence: pairs with the one in `rest`.
        fence(Ordering::SeqCst);
        if self.rests.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
        Watched(Some(entry))
    }

    /// Milliseconds for which the process has run.
    fn now(&self) -> u64 {
        (self.begin.elapsed().as_millis() as u64).saturating_sub(self.stopped.load(Ordering::Relaxed))
    }

    /// Sleeps between two looks. What it takes much longer than that is time for which the process was stopped.
    fn sleep(&self, pause: Duration) {
        let before = Instant::now();
        std::thread::sleep(pause);
        let more = before.elapsed().saturating_sub(pause);
        if more > STOPPED {
            self.stopped.fetch_add(more.as_millis() as u64, Ordering::Relaxed);
        }
    }

    fn is_idle(&self) -> bool {
        self.due.iter().all(|entry| entry.load(Ordering::Relaxed) == 0)
    }

    /// Rests until a call has an entry.
    fn rest(&self) {
        self.rests.store(true, Ordering::Relaxed);
        // Full fence: pairs with the one in `watch_for`.
        fence(Ordering::SeqCst);
        while self.is_idle() {
            std::thread::park();
        }
        self.rests.store(false, Ordering::Relaxed);
    }

    /// The number of a call that is overdue.
    fn overdue(&self) -> Option<u16> {
        let now = self.now();
        let words = self.due.iter().map(|entry| entry.load(Ordering::Relaxed));
        words.into_iter().find(|word| *word != 0 && word >> 16 < now).map(|word| word as u16)
    }

    /// Starts the thread that looks, where there is anything to look for.
    pub(super) fn start(self: &Arc<Watchdog>, session: u32, window: Arc<Window>) -> std::io::Result<()> {
        let Some(shortest) = self.times.call.into_iter().chain(self.times.compile).min() else { return Ok(()) };
        let pause = (shortest / 20).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let watchdog = Arc::clone(self);
        std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            watchdog.thread.get_or_init(std::thread::current);
            let mut idle = 0;
            loop {
                idle = if watchdog.is_idle() { idle + 1 } else { 0 };
                if idle > IDLE_LOOKS {
                    watchdog.rest();
                }
                watchdog.sleep(pause);
                if let Some(call) = watchdog.overdue() {
                    log::error!("session {session}: call {call} takes longer than it may: the worker ends");
                    // The guest learns it now: this process may not end before a GPU's driver has stopped the kernel.
                    window.set_dead(Death::TimedOut);
                    os::exit_now(EXIT_TIMEOUT);
                }
            }
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_when_it_takes_too_long_then_is_overdue_until_it_ends() {
        let millis = Some(Duration::from_millis(10));
        let watchdog = Watchdog::new(Times { call: millis, compile: Some(Duration::from_secs(60)) });
        let header = FrameHeader { call: 77, slot: 3, ..FrameHeader::default() };
        let posted = FrameHeader { call: 78, slot: NO_SLOT, ..FrameHeader::default() };
        let (endless, compile) =
            (watchdog.watch(&posted, true, || Patience::Endless), watchdog.watch(&posted, true, || Patience::Compile));
        let call = watchdog.watch(&header, false, || Patience::Usual);
        assert_eq!(watchdog.overdue(), None);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(watchdog.overdue(), Some(77));
        drop(call);
        assert_eq!(watchdog.overdue(), None);
        drop((endless, compile));
    }

    #[test]
    fn thread_when_no_call_is_made_then_rests_and_a_call_wakes_it() {
        let watchdog = Arc::new(Watchdog::new(Times { call: Some(Duration::from_secs(60)), compile: None }));
        watchdog.thread.get_or_init(std::thread::current);
        let theirs = Arc::clone(&watchdog);
        let caller = std::thread::spawn(move || {
            while !theirs.rests.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let header = FrameHeader { call: 77, slot: 3, ..FrameHeader::default() };
            std::mem::forget(theirs.watch(&header, false, || Patience::Usual));
        });
        watchdog.rest();
        assert!(!watchdog.is_idle() && !watchdog.rests.load(Ordering::Relaxed));
        caller.join().expect("ended");
    }
}
