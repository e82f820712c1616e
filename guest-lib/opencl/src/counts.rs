//! What left the process, for those who ask: with `GPUFERRY_STATS=FILE` the counts are written at the process's end as JSON, to
//! `FILE.opencl`; `FILE` itself is CUDA's, for a program that uses both.

use core::sync::atomic::Ordering;
use std::path::PathBuf;
use std::sync::OnceLock;

static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Arranges for what is written at the end.
pub fn start() {
    let file = FILE.get_or_init(|| {
        let mut name = std::env::var_os("GPUFERRY_STATS")?;
        name.push(".opencl");
        Some(name.into())
    });
    if file.is_some() {
        // SAFETY: the function takes no arguments and never unwinds; the library is never unloaded.
        unsafe { libc::atexit(at_exit) };
    }
}

/// Messages by whether they were waited for, and what moved by itself.
fn json() -> Option<String> {
    let counters = &crate::init::opened()?.counters;
    let value = |counter: &core::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Some(format!(
        "{{\"api\": \"opencl\", \"posted\": {}, \"waited\": {}, \"doorbells\": {}, \"sleeps\": {}}}\n",
        value(&counters.posted),
        value(&counters.waited),
        value(&counters.doorbells),
        value(&counters.sleeps),
    ))
}

extern "C" fn at_exit() {
    let written = std::panic::catch_unwind(|| {
        if let (Some(Some(file)), Some(text)) = (FILE.get(), json()) {
            // Nobody can be told of a file that cannot be written.
            let _ = std::fs::write(file, text);
        }
    });
    // A panic here is a fault of this library's; the process ends all the same.
    drop(written);
}
