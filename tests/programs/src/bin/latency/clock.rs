//! A clock that is read without a system call: where a guest's kernel has no other, a reading would cost more than what is timed.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the processor's counter is compared with the system's clock.
const CALIBRATION: Duration = Duration::from_millis(20);

/// A reading, in ticks of unknown length: the processor's time stamp counter, or nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

#[cfg(target_arch = "x86_64")]
fn ticks() -> u64 {
    // SAFETY: reads a register; Linux lets programs read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Ticks of a microsecond.
fn rate() -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (begin, first) = (Instant::now(), ticks());
        while begin.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        // The clock is read before the counter at both ends.
        let time = begin.elapsed();
        (ticks() - first) as f64 / time.as_secs_f64() / 1e6
    })
}

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        Moment(ticks())
    }

    /// A moment this much later.
    pub fn after(self, time: Duration) -> Moment {
        Moment(self.0 + (time.as_secs_f64() * 1e6 * rate()) as u64)
    }

    /// Microseconds from this moment to now.
    pub fn micros(self) -> f64 {
        ticks().saturating_sub(self.0) as f64 / rate()
    }
}
