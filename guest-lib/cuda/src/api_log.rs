//! The API's own log, as programs can ask for it since CUDA 12.9 (cuLogs…): a line for each call that failed. The driver's
//! log is the worker's, and tells of the host; this one tells of the program's calls, and is kept here.

use crate::CUresult;
use crate::program::{Out, Text};
use crate::status::CUDA_ERROR_INVALID_VALUE;
use core::ffi::{c_char, c_void};
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::VecDeque;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines that are kept.
const MOST: usize = 100;
/// Fewest bytes of memory that lines are written to.
const LEAST: usize = 32;
/// `CU_LOG_LEVEL_ERROR`.
const ERROR: u32 = 0;

/// `CUlogsCallback`: data, level, text, its length.
pub type Callback = extern "C" fn(*mut c_void, u32, *const c_char, usize);

struct Log {
    lines: VecDeque<String>,
    /// Lines that there were before those.
    gone: u32,
    callbacks: Vec<(u64, Callback, usize)>,
}

static LOG: Mutex<Log> = Mutex::new(Log { lines: VecDeque::new(), gone: 0, callbacks: Vec::new() });

fn lock() -> MutexGuard<'static, Log> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    fn end(&self) -> u32 {
        self.gone.wrapping_add(self.lines.len() as u32)
    }

    /// The lines from a place on; all where there is none.
    fn since(&self, place: Option<u32>) -> impl DoubleEndedIterator<Item = &str> {
        let skipped = place.map_or(0, |place| place.wrapping_sub(self.gone) as usize);
        // A place that is not there any more lies far away.
        let skipped = if skipped > self.lines.len() { 0 } else { skipped };
        self.lines.iter().skip(skipped).map(String::as_str)
    }
}

/// Hours, minutes, seconds and milliseconds of now, of the day in UTC.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs() % 86400, since.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A call has failed.
pub fn add(name: &str, status: CUresult) {
    let what = crate::status::named(status);
    let line = format!("[{}][{}][CUDA][E] {name}: {what}", now(), std::process::id());
    let told: Vec<(Callback, usize)> = {
        let mut log = lock();
        if log.lines.len() == MOST {
            log.lines.pop_front();
            log.gone = log.gone.wrapping_add(1);
        }
        log.lines.push_back(line.clone());
        log.callbacks.iter().map(|(_, callback, data)| (*callback, *data)).collect()
    };
    // Without the lock: a callback may make calls that fail.
    let bytes = line.len();
    let text = std::ffi::CString::new(line).unwrap_or_default();
    for (callback, data) in told {
        callback(data as *mut c_void, ERROR, text.as_ptr(), bytes);
    }
}

/// The place to begin at, and the program's place for the new one.
fn place(iterator: Out<u32>) -> Result<Option<u32>, CUresult> {
    if iterator.0.is_null() { Ok(None) } else { iterator.get().map(Some) }
}

fn no_flags(flags: u32) -> Result<(), CUresult> {
    if flags == 0 { Ok(()) } else { Err(CUDA_ERROR_INVALID_VALUE) }
}

crate::export! {
    /// CUDA Driver API, cuLogsRegisterCallback.
    extern "C" fn cuLogsRegisterCallback(
        callbackFunc: Option<Callback>, userData: *mut c_void, callback_out: Out<u64>,
    ) {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let callback = callbackFunc.ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        lock().callbacks.push((number, callback, userData as usize));
        callback_out.set_if_wanted(number);
        Ok(())
    }

    /// CUDA Driver API, cuLogsUnregisterCallback.
    extern "C" fn cuLogsUnregisterCallback(callback: u64) {
        let mut log = lock();
        let before = log.callbacks.len();
        log.callbacks.retain(|(number, ..)| *number != callback);
        if log.callbacks.len() < before { Ok(()) } else { Err(CUDA_ERROR_INVALID_VALUE) }
    }

    /// CUDA Driver API, cuLogsCurrent.
    extern "C" fn cuLogsCurrent(iterator_out: Out<u32>, _flags: u32) {
        iterator_out.set(lock().end())
    }

    /// CUDA Driver API, cuLogsDumpToFile.
    extern "C" fn cuLogsDumpToFile(iterator: Out<u32>, pathToFile: Text, flags: u32) {
        no_flags(flags)?;
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(pathToFile.get()?.to_bytes()));
        let from = place(iterator)?;
        let (text, end) = {
            let log = lock();
            (log.since(from).map(|line| format!("{line}\n")).collect::<String>(), log.end())
        };
        let written = std::fs::OpenOptions::new().create(true).append(true).open(path);
        written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|_| CUDA_ERROR_INVALID_VALUE)?;
        iterator.set_if_wanted(end);
        Ok(())
    }

    /// CUDA Driver API, cuLogsDumpToMemory: the newest lines that fit, and how many bytes they are without the zero behind them.
    extern "C" fn cuLogsDumpToMemory(iterator: Out<u32>, buffer: *mut c_char, size: Out<usize>, flags: u32) {
        no_flags(flags)?;
        let room = size.get()?;
        if buffer.is_null() || room < LEAST {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let from = place(iterator)?;
        let (mut lines, mut bytes) = (Vec::new(), 0);
        let end = {
            let log = lock();
            for line in log.since(from).rev() {
                if bytes + line.len() + 2 > room {
                    break;
                }
                bytes += line.len() + 1;
                lines.push(format!("{line}\n"));
            }
            log.end()
        };
        lines.reverse();
        let text = lines.concat();
        // SAFETY: the program's buffer of `room` bytes (CUDA Driver API, cuLogsDumpToMemory); the text and a zero fit.
        unsafe {
            core::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast::<u8>(), text.len());
            buffer.add(text.len()).write(0);
        }
        size.set(text.len())?;
        iterator.set_if_wanted(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_when_more_than_are_kept_then_the_oldest_go_and_places_stay() {
        let mut log = Log { lines: VecDeque::new(), gone: 5, callbacks: Vec::new() };
        log.lines.extend(["a", "b", "c"].map(str::to_owned));
        assert_eq!(log.end(), 8);
        let since = |place| log.since(place).collect::<Vec<_>>();
        assert_eq!((since(None), since(Some(7))), (vec!["a", "b", "c"], vec!["c"]));
        assert_eq!((since(Some(8)), since(Some(2))), (vec![], vec!["a", "b", "c"]));
    }
}
