//! The ring's thread: takes frames in order, makes their calls or gives them to a blocking thread, and sleeps when there are none.
//!
//! While frames come it spins; how long it goes on spinning on an empty ring follows how long it slept before ([`Budget`]).
//! Parking is exact ([`wire::ring`]): no frame is published without either being seen here or ringing the doorbell.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::Malformed;
use wire::ring::{Consumer, Taken};

use super::blocking::Blocking;
use super::serve::{ReplyMemory, Server, reply_memory};
use crate::death::EXIT_TROUBLE;
use crate::os::{self, Interest};

/// Longest spinning on an empty ring: about what a sleep and a wake-up through a virtqueue cost.
const SPIN_MAX: Duration = Duration::from_micros(200);
/// First step of the budget above nothing.
const SPIN_MIN: Duration = Duration::from_micros(20);
/// Looks at the ring between two looks at the clock.
const LOOKS: u32 = 64;

/// How long to spin on an empty ring before sleeping. A sleep shorter than [`SPIN_MAX`] would have been worth spinning: the budget doubles.
/// A longer one was not: it halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Budget {
    now: Duration,
    most: Duration,
}

impl Budget {
    fn new(cores: usize) -> Budget {
        // With one core, spinning keeps the producer from running.
        Budget { now: Duration::ZERO, most: if cores > 1 { SPIN_MAX } else { Duration::ZERO } }
    }

    fn slept(&mut self, time: Duration) {
        self.now = if time <= SPIN_MAX {
            (self.now * 2).clamp(SPIN_MIN, SPIN_MAX).min(self.most)
        } else if self.now <= SPIN_MIN {
            Duration::ZERO
        } else {
            self.now / 2
        };
    }
}

/// The thread's state.
pub(super) struct Ring {
    server: Arc<Server>,
    blocking: Blocking,
    consumer: Consumer,
    doorbell: OwnedFd,
    budget: Budget,
    memory: ReplyMemory,
}

impl Ring {
    pub(super) fn new(server: Arc<Server>, doorbell: OwnedFd) -> Ring {
        let consumer = Consumer::new(server.session.window().ring());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let blocking = Blocking::new(Arc::clone(&server));
        Ring { server, blocking, consumer, doorbell, budget: Budget::new(cores), memory: reply_memory() }
    }

    /// Serves the ring until the process ends.
    pub(super) fn run(mut self) -> ! {
        loop {
            if let Err(malformed) = self.step() {
                self.server.session.end_malformed(malformed, None);
            }
        }
    }

    /// Takes all frames there are, then waits for the next.
    fn step(&mut self) -> Result<(), Malformed> {
        let server = Arc::clone(&self.server);
        let words = server.session.window().words();
        loop {
            match self.consumer.take(&words)? {
                Taken::Frame { header, payload, wake } => {
                    if wake {
                        server.wake_for_room();
                    }
                    server.check_slot(&header)?;
                    if server.api.blocks(header.call) {
                        self.blocking.submit(header, payload)?;
                    } else {
                        let (status, bytes) = server.call(&header, payload, &mut self.memory);
                        server.answer(&header, status, self.memory.get(..bytes).unwrap_or_default());
                    }
                }
                Taken::Empty { wake } => {
                    if wake {
                        server.wake_for_room();
                    }
                    break;
                }
            }
        }
        if self.spin()? {
            return Ok(());
        }
        if self.consumer.release_sleepers(&words) {
            server.wake_for_room();
        }
        if self.consumer.park(&words)? {
            let start = Instant::now();
            self.sleep();
            self.consumer.unpark(&words);
            self.budget.slept(start.elapsed());
        }
        Ok(())
    }

    /// Looks at the ring for the budget's time; true where there is a frame.
    fn spin(&self) -> Result<bool, Malformed> {
        let words = self.server.session.window().words();
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if self.consumer.has_frame(&words)? {
                    return Ok(true);
                }
                std::hint::spin_loop();
            }
            if start.elapsed() >= self.budget.now {
                return Ok(false);
            }
        }
    }

    fn sleep(&self) {
        if let Err(error) = os::wait([Interest::read(&self.doorbell)], None) {
            log::error!("waiting for the doorbell: {error}");
            os::exit_now(EXIT_TROUBLE);
        }
        os::take_signal(self.doorbell.as_fd());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_when_sleeps_are_short_then_grows_and_when_long_then_vanishes() {
        let mut budget = Budget::new(2);
        budget.slept(Duration::from_micros(50));
        assert_eq!(budget.now, SPIN_MIN);
        for _ in 0..10 {
            budget.slept(Duration::from_micros(50));
        }
        assert_eq!(budget.now, SPIN_MAX);
        for _ in 0..10 {
            budget.slept(Duration::from_secs(1));
        }
        assert_eq!(budget.now, Duration::ZERO);
    }

    #[test]
    fn budget_when_there_is_one_core_then_stays_nothing() {
        let mut budget = Budget::new(1);
        budget.slept(Duration::from_micros(50));
        assert_eq!(budget.now, Duration::ZERO);
    }
}
