//! What the library did, for those who ask: `GPUFERRY_LOG=info` (or `debug`, with calls that fail or take long) writes a line
//! for each thing worth knowing, and at the process's end the calls that are not supported with their counts, to standard
//! error or to `GPUFERRY_LOG_FILE`. `GPUFERRY_STATS=FILE` writes the counts as JSON at the end. Without these variables
//! nothing is written.
//!
//! The environment is read once, when the library is first initialised.

use crate::CUresult;
use crate::status::CUDA_ERROR_NOT_SUPPORTED;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Calls of any kind, counted only for `GPUFERRY_STATS`.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Calls during which no message left the process, of whichever thread: exact where one thread calls at a time.
static LOCAL: AtomicU64 = AtomicU64::new(0);
static COUNTING: AtomicBool = AtomicBool::new(false);
static DEBUG: AtomicBool = AtomicBool::new(false);
/// A call that takes this long is in the log of `debug`.
const SLOW: Duration = Duration::from_micros(500);
static UNSUPPORTED: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

struct Settings {
    log: bool,
    debug: bool,
    log_file: Option<PathBuf>,
    stats: Option<PathBuf>,
}

fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let level = std::env::var("GPUFERRY_LOG").unwrap_or_default();
        Settings {
            log: !matches!(level.as_str(), "" | "0" | "off"),
            debug: level == "debug",
            log_file: std::env::var_os("GPUFERRY_LOG_FILE").map(PathBuf::from),
            stats: std::env::var_os("GPUFERRY_STATS").map(PathBuf::from),
        }
    })
}

/// Reads the settings and arranges for what is written at the process's end.
pub fn start() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let settings = settings();
        COUNTING.store(settings.stats.is_some(), Ordering::Relaxed);
        DEBUG.store(settings.debug, Ordering::Relaxed);
        if settings.stats.is_some() || settings.log {
            // SAFETY: the function takes no arguments and never unwinds; the library is never unloaded (`-z nodelete`).
            unsafe { libc::atexit(at_exit) };
        }
    });
}

/// Counts a call that begins; one load where nobody asks. The messages before it, for [`called`].
#[inline]
pub fn call() -> Option<u64> {
    COUNTING.load(Ordering::Relaxed).then(|| {
        CALLS.fetch_add(1, Ordering::Relaxed);
        messages()
    })
}

/// Counts a call that has ended.
#[inline]
pub fn called(messages_before: Option<u64>) {
    if messages_before.is_some_and(|before| before == messages()) {
        LOCAL.fetch_add(1, Ordering::Relaxed);
    }
}

/// Messages that have left the process.
fn messages() -> u64 {
    let Some(session) = crate::init::opened() else { return 0 };
    session.counters.posted.load(Ordering::Relaxed) + session.counters.waited.load(Ordering::Relaxed)
}

/// Writes a line to the log, where there is one.
pub fn log(text: core::fmt::Arguments<'_>) {
    let settings = settings();
    if !settings.log {
        return;
    }
    let line = format!("gpuferry: {text}\n");
    // Nobody can be told of a log that cannot be written.
    let _ = match &settings.log_file {
        None => std::io::stderr().write_all(line.as_bytes()),
        Some(path) => std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes())),
    };
}

/// When a call begins, where the log wants to know; one load where it does not.
#[inline]
pub fn begin() -> Option<Instant> {
    if DEBUG.load(Ordering::Relaxed) { Some(Instant::now()) } else { None }
}

/// Logs a call that failed or took long, for those who look for the reason of something.
#[cold]
pub fn end(name: &str, status: CUresult, begun: Option<Instant>) {
    let Some(begun) = begun else { return };
    let took = begun.elapsed();
    if status != 0 {
        log(format_args!("{name} answers {status}"));
    }
    if took >= SLOW {
        log(format_args!("{name} took {} µs", took.as_micros()));
    }
}

/// Counts a call that is not supported, logs it once, and gives its answer.
#[cold]
pub fn unsupported(name: &'static str) -> CUresult {
    let first = {
        let mut names = UNSUPPORTED.lock().unwrap_or_else(PoisonError::into_inner);
        let count = names.entry(name).or_insert(0);
        *count += 1;
        *count == 1
    };
    if first {
        log(format_args!("{name} is not supported; it answers CUDA_ERROR_NOT_SUPPORTED"));
    }
    CUDA_ERROR_NOT_SUPPORTED
}

/// A function that is not supported, called by name.
#[cold]
pub fn stub(name: &'static str) -> CUresult {
    crate::caller::guard_named(name, || crate::caller::session().and_then(|_| Err(unsupported(name))))
}

/// The counts as JSON: calls by class, doorbells and sleeps on both sides, bytes each way, and the calls that are not supported.
fn json() -> String {
    let mut text = String::from("{\n  \"api\": \"cuda\"");
    // Writing to a string cannot fail.
    let mut number = |name: &str, value: u64| {
        let _ = write!(text, ",\n  \"{name}\": {value}");
    };
    number("calls", CALLS.load(Ordering::Relaxed));
    number("local", LOCAL.load(Ordering::Relaxed));
    let mut host = Default::default();
    let (mut posted, mut waited, mut doorbells, mut sleeps, mut out, mut back) = (0, 0, 0, 0, 0, 0);
    if let Some(session) = crate::init::opened() {
        let counters = &session.counters;
        posted = counters.posted.load(Ordering::Relaxed);
        waited = counters.waited.load(Ordering::Relaxed);
        doorbells = counters.doorbells.load(Ordering::Relaxed);
        sleeps = counters.sleeps.load(Ordering::Relaxed);
        out = counters.bytes_out.load(Ordering::Relaxed);
        back = counters.bytes_in.load(Ordering::Relaxed);
        host = session.host_counts();
    }
    number("posted", posted);
    number("waited", waited);
    number("doorbells", doorbells);
    number("sleeps", sleeps);
    number("bytes_to_host", out);
    number("bytes_to_guest", back);
    text.push_str(",\n  \"host\": {");
    for (place, (name, value)) in host.iter().filter(|(name, _)| !name.is_empty()).enumerate() {
        let _ = write!(text, "{}\"{name}\": {value}", if place == 0 { "" } else { ", " });
    }
    text.push_str("},\n  \"unsupported\": {");
    let names = UNSUPPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    for (number, (name, count)) in names.iter().enumerate() {
        let _ = write!(text, "{}\n    \"{name}\": {count}", if number == 0 { "" } else { "," });
    }
    text.push_str(if names.is_empty() { "}\n}\n" } else { "\n  }\n}\n" });
    text
}

extern "C" fn at_exit() {
    let written = std::panic::catch_unwind(|| {
        let settings = settings();
        if let Some(path) = &settings.stats {
            // Nobody can be told of a file that cannot be written.
            let _ = std::fs::write(path, json());
        }
        let names = UNSUPPORTED.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, count) in names {
            log(format_args!("{name}: not supported, called {count} times"));
        }
    });
    // A panic here is a fault of this library's; the process ends all the same.
    drop(written);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_when_called_then_counts_by_name() {
        assert_eq!(unsupported("cuNothingForCounting"), CUDA_ERROR_NOT_SUPPORTED);
        unsupported("cuNothingForCounting");
        assert!(json().contains("\"cuNothingForCounting\": 2"));
    }
}
