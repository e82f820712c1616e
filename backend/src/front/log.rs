//! The log: to standard error, one line an event, of front and workers alike.
//!
//! A guest that opens and breaks sessions without end causes lines without end: so many at once, and then so many a second, are
//! written, and the next one says how many were not. At the levels debug and trace all are.

use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Lines that may come at once.
const BURST: f64 = 1000.0;
/// Lines a second, in the long run.
const RATE: f64 = 20.0;

/// How many lines may still be written.
#[derive(Debug)]
struct Allowance {
    lines: f64,
    since: f64,
    left_out: u64,
}

impl Allowance {
    const fn new() -> Allowance {
        Allowance { lines: BURST, since: 0.0, left_out: 0 }
    }

    /// Whether a line may be written at this second, and how many were left out since the last one.
    fn take(&mut self, now: f64) -> Option<u64> {
        self.lines = (self.lines + (now - self.since) * RATE).min(BURST);
        self.since = now;
        if self.lines < 1.0 {
            self.left_out += 1;
            return None;
        }
        self.lines -= 1.0;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// For lines that are not this process's own.
static FORWARDED: Mutex<Allowance> = Mutex::new(Allowance::new());
static BEGIN: OnceLock<Instant> = OnceLock::new();

/// Writes a whole line of another process, or counts it.
pub fn forward(line: &str) {
    let mut left_out = 0;
    if log::max_level() <= log::LevelFilter::Info {
        let now = BEGIN.get_or_init(Instant::now).elapsed().as_secs_f64();
        let Some(count) = FORWARDED.lock().unwrap_or_else(PoisonError::into_inner).take(now) else { return };
        left_out = count;
    }
    let mut all = String::new();
    if left_out != 0 {
        all = format!(
            "gpuferryd[{}] warn: {left_out} lines of workers were left out, as there were too many\n",
            std::process::id()
        );
    }
    all.push_str(line);
    // Where the log cannot be written, there is nobody to tell.
    let _ = std::io::stderr().write_all(all.as_bytes());
}

/// Starts logging lines that name `program` and the process. A second start is ignored.
pub fn start(program: &'static str, level: log::LevelFilter) {
    // What the machine knows it by, where the process is the first of a namespace.
    let known = std::fs::read_link("/proc/self").ok().and_then(|link| link.to_str()?.parse::<u32>().ok());
    let first = std::process::id() == 1;
    let number = move || if first { known.unwrap_or(1) } else { std::process::id() };
    let (allowance, begin) = (Mutex::new(Allowance::new()), Instant::now());
    let result = env_logger::Builder::new()
        .filter_level(level)
        .format(move |out, record| {
            let mut left_out = 0;
            if level <= log::LevelFilter::Info {
                let mut allowance = allowance.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(count) = allowance.take(begin.elapsed().as_secs_f64()) else { return Ok(()) };
                left_out = count;
            }
            if left_out != 0 {
                writeln!(out, "{program}[{}] warn: {left_out} lines were left out, as there were too many", number())?;
            }
            writeln!(out, "{program}[{}] {}: {}", number(), record.level().as_str().to_ascii_lowercase(), record.args())
        })
        .try_init();
    if result.is_err() {
        log::debug!("the log is started already");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_when_there_are_too_many_then_are_left_out_and_counted() {
        let mut allowance = Allowance::new();
        let written = (0..5000).filter(|_| allowance.take(0.0).is_some()).count();
        assert_eq!(written, 1000);
        assert_eq!(allowance.take(1.0), Some(4000));
        let later = (0..5000).filter(|at| allowance.take(1.0 + f64::from(*at) / 50.0).is_some()).count();
        assert!((2000..2050).contains(&later), "{later} lines in 100 s");
    }
}
