//! The state of the process: what cuInit sets up, and the options it reads.
//!
//! Options come from the environment, once, at cuInit: `GPUFERRY_CPU_MEMORY`, `GPUFERRY_CPU_CAPABILITY`,
//! `GPUFERRY_CPU_CORES`, `GPUFERRY_CPU_DEVICES`, `GPUFERRY_CPU_LOG`. The crate's README says what they mean.

use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::arena::Arena;
use crate::engine;
use crate::status::{Answer, Status};
use crate::work::lock;

/// CUDA 13.0, as cuDriverGetVersion counts.
pub const VERSION: i32 = 13000;
const DEFAULT_CAPABILITY: u32 = 75;
/// Most devices of a process.
const MOST_DEVICES: u8 = 16;

/// What cuInit set up.
pub struct Driver {
    /// Device memory.
    pub arena: Arena,
    /// How many devices there are. They share the cores.
    pub devices: u8,
    /// Compute capability, 10 * major + minor.
    pub capability: u32,
    /// Cores that kernels may use; the device's multiprocessors.
    pub cores: u32,
    /// 1 in the process that called cuInit; the kernel clears it in processes forked from that one.
    here: &'static AtomicU8,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

/// cuInit: sets the driver up, once.
pub fn start() -> Answer {
    if DRIVER.get().is_some() {
        return initialised().map(drop);
    }
    let _one = lock(&STARTING);
    if DRIVER.get().is_some() {
        return Ok(());
    }
    start_log();
    let memory = std::env::var("GPUFERRY_CPU_MEMORY").ok().and_then(|text| parse_size(&text));
    let devices = std::env::var("GPUFERRY_CPU_DEVICES").ok().and_then(|text| text.trim().parse().ok());
    let devices = devices.map_or(1, |devices: u8| devices.clamp(1, MOST_DEVICES));
    let memory = memory.unwrap_or_else(|| system_memory() / 2 / u64::from(devices));
    let arena = Arena::new(memory, usize::from(devices)).map_err(|error| {
        log::error!("no device memory: {error}");
        Status::OUT_OF_MEMORY
    })?;
    let capability = std::env::var("GPUFERRY_CPU_CAPABILITY").ok().and_then(|text| parse_capability(&text));
    let cores = std::env::var("GPUFERRY_CPU_CORES").ok().and_then(|text| text.trim().parse().ok());
    let here = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    let driver = Driver {
        arena,
        devices,
        capability: capability.unwrap_or(DEFAULT_CAPABILITY),
        cores: cores.map_or(here, |cores: u32| cores.clamp(1, 4096)),
        here: mark_process().ok_or(Status::OUT_OF_MEMORY)?,
    };
    log::info!(
        "CPU device: {} of them, {} cores, {} bytes each, capability {}",
        driver.devices,
        driver.cores,
        driver.arena.capacity(),
        driver.capability
    );
    DRIVER.get_or_init(|| driver);
    Ok(())
}

/// The driver, or that cuInit has not been called. It has not been in a process forked from the one that called it:
/// device work has no threads there, and device memory belongs to the parent.
pub fn initialised() -> Answer<&'static Driver> {
    DRIVER.get().filter(|driver| driver.here.load(Ordering::Relaxed) == 1).ok_or(Status::NOT_INITIALIZED)
}

/// A byte that is 1 in this process and 0 in those forked from it. Kept for ever.
fn mark_process() -> Option<&'static AtomicU8> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh page of our own, which is zero, is never unmapped, and is used through atomics only.
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
        if page == libc::MAP_FAILED || libc::madvise(page, 4096, libc::MADV_WIPEONFORK) != 0 {
            return None;
        }
        let mark = AtomicU8::from_ptr(page.cast());
        mark.store(1, Ordering::Relaxed);
        Some(mark)
    }
}

/// The arena, or that cuInit has not been called.
pub fn arena() -> Answer<&'static Arena> {
    initialised().map(|driver| &driver.arena)
}

impl Driver {
    /// How modules are compiled.
    pub fn compile_options(&self) -> engine::Options {
        engine::Options { compute_capability: self.capability, ..engine::Options::default() }
    }
}

/// "4G", "512M", "65536K" or bytes.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let shift = match text.chars().last()?.to_ascii_uppercase() {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return text.parse().ok(),
    };
    let number: u64 = text.get(..text.len() - 1)?.trim().parse().ok()?;
    number.checked_mul(1 << shift)
}

/// "7.5" or "75".
fn parse_capability(text: &str) -> Option<u32> {
    let text = text.trim();
    let number = match text.split_once('.') {
        Some((major, minor)) => major.parse::<u32>().ok()?.checked_mul(10)?.checked_add(minor.parse::<u32>().ok()?)?,
        None => text.parse().ok()?,
    };
    (30..=999).contains(&number).then_some(number)
}

/// Bytes of memory this process may use.
fn system_memory() -> u64 {
    // SAFETY: plain queries.
    let (pages, page) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    let physical = u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(page).unwrap_or(0));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    group.map_or(physical, |limit: u64| limit.min(physical))
}

/// With `GPUFERRY_CPU_LOG=FILE`, and no logger in place, log lines go to the end of that file.
fn start_log() {
    struct FileLog(Mutex<std::fs::File>);
    impl log::Log for FileLog {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.target().starts_with("cpu_cuda")
        }
        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                // A full disk must not disturb the program.
                let _ = writeln!(lock(&self.0), "{} {}: {}", record.level(), std::process::id(), record.args());
            }
        }
        fn flush(&self) {}
    }
    let Some(path) = std::env::var_os("GPUFERRY_CPU_LOG") else { return };
    let level = match std::env::var("GPUFERRY_CPU_LOG_LEVEL").as_deref() {
        Ok("trace") => log::LevelFilter::Trace,
        Ok("debug") => log::LevelFilter::Debug,
        _ => log::LevelFilter::Info,
    };
    if let Ok(file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
        && log::set_logger(Box::leak(Box::new(FileLog(Mutex::new(file))))).is_ok()
    {
        log::set_max_level(level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_size_when_suffixed_then_bytes() {
        assert_eq!(parse_size("2G"), Some(2 << 30));
        assert_eq!(parse_size(" 64m "), Some(64 << 20));
        assert_eq!(parse_size("4096"), Some(4096));
        assert_eq!(parse_size("99999999999T"), None);
        assert_eq!(parse_size("much"), None);
    }

    #[test]
    fn parse_capability_when_dotted_or_not_then_same() {
        assert_eq!(parse_capability("8.6"), Some(86));
        assert_eq!(parse_capability("86"), Some(86));
        assert_eq!(parse_capability("1.1"), None);
    }
}
