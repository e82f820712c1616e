//! How a thread waits for its reply: it spins, then looks again and again and lets others run in between, then sleeps.
//!
//! Each of these is worth what it has been worth before ([`Patience`]). A driver in the program's own process spins without
//! end in a synchronisation; a thread that sleeps here is woken tens of microseconds late, and hundreds in some guests.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use wire::slot::{SlotHead, is_ready, park, unpark};
use wire::window::slot_offset;

use crate::session::{Gone, Session};

/// Time that every waiting thread gives the worker before it sleeps: what a sleep and a wake-up cost at least.
const SPIN_MIN: Duration = Duration::from_micros(20);
/// Time at most, where replies have been coming within the spin.
const SPIN_MAX: Duration = Duration::from_micros(100);

/// Calls for which a thread lets others run while it waits, after that has brought a reply.
const CROWDED: u32 = 64;

/// Longest looking after the spin: a step of a program that trains.
const LOOK_MAX: Duration = Duration::from_millis(50);
/// First step of it above nothing, and what a new session begins with: its worker is on its way.
const LOOK_MIN: Duration = Duration::from_micros(160);
/// Time between two moments in which other threads may run, over the local carrier.
const TURN_LOCAL: Duration = Duration::from_micros(10);
/// The same in a guest, where such a moment may be a system call as long as that, in which no reply is seen.
const TURN_GUEST: Duration = Duration::from_micros(50);
/// Turns over the local carrier at least, where waits have been long: the worker may wait for this processor.
const TURNS_LOCAL: u32 = 4;
/// A moment that took longer was another thread's turn: there are more threads than processors, and one that sleeps is woken sooner
/// than one that waits for its turn.
const LONG_TURN: Duration = Duration::from_micros(100);

/// What waiting has been worth in this session.
#[derive(Debug)]
pub(crate) struct Patience {
    is_local: bool,
    /// Turns of the spin loop in [`SPIN_MIN`] on this machine, and those that are worth it at present.
    spin_min: u32,
    spin: AtomicU32,
    /// Microseconds of looking after the spin that are worth it at present, and at most; see [`patience`].
    look: AtomicU32,
    look_max: AtomicU32,
    /// Not 0 where the worker seems to wait for this processor: calls for which to let it run meanwhile. Over the local carrier
    /// alone; the worker of a guest runs on no processor that the guest's kernel knows.
    crowded: AtomicU32,
}

impl Patience {
    pub fn new(is_local: bool) -> Patience {
        let spin_min = spin_turns(SPIN_MIN);
        Patience {
            is_local,
            spin_min,
            spin: AtomicU32::new(spin_min),
            look: AtomicU32::new(micros(LOOK_MIN)),
            look_max: AtomicU32::new(micros(LOOK_MAX)),
            crowded: AtomicU32::new(if is_local { CROWDED } else { 0 }),
        }
    }

    /// Spins for about [`SPIN_MIN`].
    pub fn spin_shortly(&self) {
        for _ in 0..self.spin_min {
            std::hint::spin_loop();
        }
    }

    /// Turns of the spin loop in about `time`.
    fn turns(&self, time: Duration) -> u32 {
        (self.spin_min / micros(SPIN_MIN)).max(1) * micros(time)
    }

    /// Spins until the reply is there; whether it is.
    fn spin(&self, slot: &SlotHead, sequence: u32) -> bool {
        let spin = self.spin.load(Ordering::Relaxed);
        let crowded = self.crowded.load(Ordering::Relaxed);
        let step = if crowded == 0 { u32::MAX } else { self.turns(Duration::from_micros(1)) };
        let mut has_yielded = false;
        for turn in 1..=spin {
            if is_ready(slot, sequence) {
                if crowded != 0 {
                    self.crowded.store(if has_yielded { CROWDED } else { crowded - 1 }, Ordering::Relaxed);
                }
                // Replies come within the spin: be ready to wait a little longer next time.
                let most = self.spin_min.saturating_mul(micros(SPIN_MAX) / micros(SPIN_MIN));
                if spin < most {
                    self.spin.store((spin + spin / 8).min(most), Ordering::Relaxed);
                }
                return true;
            }
            has_yielded = turn.is_multiple_of(step);
            if has_yielded {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
        self.spin.store((spin - spin / 4).max(self.spin_min), Ordering::Relaxed);
        false
    }

    /// Looks for a reply that did not come within the spin, and lets other threads run in between; whether it came.
    #[cold]
    fn look(&self, slot: &SlotHead, sequence: u32) -> bool {
        let (turn, least) = if self.is_local { (TURN_LOCAL, TURNS_LOCAL) } else { (TURN_GUEST, 0) };
        let spins = self.turns(turn);
        let turns = self.look.load(Ordering::Relaxed) / micros(turn);
        for number in 0..turns.max(least) {
            let is_long = self.give_way();
            if is_ready(slot, sequence) {
                if self.is_local && number < TURNS_LOCAL {
                    self.crowded.store(CROWDED, Ordering::Relaxed);
                }
                return true;
            }
            if is_long && number >= least {
                return false;
            }
            for _ in 0..spins {
                if is_ready(slot, sequence) {
                    return true;
                }
                std::hint::spin_loop();
            }
        }
        false
    }

    /// Lets other threads run; whether that was another's turn of [`LONG_TURN`]. In a guest nobody looks at the clock, which
    /// may be a system call there.
    fn give_way(&self) -> bool {
        let begin = self.is_local.then(Instant::now);
        std::thread::yield_now();
        begin.is_some_and(|begin| begin.elapsed() > LONG_TURN)
    }

    /// A thread has slept so long after it had looked in vain.
    fn slept(&self, time: Duration) {
        let most = self.look_max.load(Ordering::Relaxed);
        self.look.store(patience(self.look.load(Ordering::Relaxed), time).min(most), Ordering::Relaxed);
    }
}

impl Session {
    /// Waits for the reply in a slot.
    pub(crate) fn await_reply(&self, index: usize, sequence: u32) -> Result<(), Gone> {
        let slot = self.window.slot(index);
        if self.patience.spin(slot, sequence) {
            return Ok(());
        }
        self.ring_overdue();
        if self.patience.look(slot, sequence) {
            return Ok(());
        }
        let begin = Instant::now();
        while let Some(value) = park(slot, sequence) {
            if let Err(gone) = self.sleep(&slot.ready, slot_offset(index), value) {
                unpark(slot);
                return Err(gone);
            }
        }
        unpark(slot);
        self.patience.slept(begin.elapsed());
        Ok(())
    }

    /// From now on threads sleep after the spin, however long replies take: the program has asked that its waits cost no processor.
    pub fn sleep_early(&self) {
        self.patience.look_max.store(0, Ordering::Relaxed);
        self.patience.look.store(0, Ordering::Relaxed);
    }

    /// The reply is late. The worker may have begun the call without announcing that it sleeps: where nobody would be told of
    /// frames, the doorbell is rung (`wire.md`).
    #[cold]
    fn ring_overdue(&self) {
        if self.window.header().host_parked.load(Ordering::Relaxed) == 0 {
            self.counters.doorbells.fetch_add(1, Ordering::Relaxed);
            self.link.ring();
        }
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Microseconds of looking that are worth it after a sleep of `slept` that came after `look`: twice as many where so many
/// would have spared it, else half.
fn patience(look: u32, slept: Duration) -> u32 {
    if slept <= LOOK_MAX {
        (look * 2).clamp(micros(LOOK_MIN), micros(LOOK_MAX))
    } else if look <= micros(LOOK_MIN) {
        0
    } else {
        look / 2
    }
}

/// Turns of the spin loop that take about `time` on this machine, of which one turn is very different from another's. Reading the
/// clock may take longer than the turns: where a guest's kernel has no other, it is a system call.
fn spin_turns(time: Duration) -> u32 {
    const PROBE: u32 = 256;
    // What a fuzz target's front has not answered it never will.
    if cfg!(fuzzing) {
        return 1;
    }
    let start = Instant::now();
    let read = start.elapsed();
    for _ in 0..PROBE {
        std::hint::spin_loop();
    }
    let nanos = start.elapsed().saturating_sub(2 * read).as_nanos().max(1);
    u32::try_from(time.as_nanos() * u128::from(PROBE) / nanos).unwrap_or(u32::MAX).clamp(64, 1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_when_sleeps_are_short_then_grows_and_when_long_then_vanishes() {
        let after = |look, slept| (0..12).fold(look, |look, _| patience(look, slept));
        assert_eq!(patience(0, Duration::from_micros(600)), micros(LOOK_MIN));
        assert_eq!(after(0, Duration::from_millis(20)), micros(LOOK_MAX));
        assert_eq!(after(micros(LOOK_MAX), Duration::from_millis(200)), 0);
    }
}
