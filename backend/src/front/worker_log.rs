//! What workers write to their error stream: the front reads it, and writes whole lines of it to its own, so many at once and
//! so many a second of all workers together.
//!
//! A worker that a guest has taken over writes what it likes, and a guest that breaks session after session has a fresh
//! worker say so each time: neither fills the log. A line is cut at 1 KiB, has no control characters, and begins with the
//! worker's number, so that none looks like another's. A worker never waits for the log: what finds no room in its pipe is
//! lost.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use super::log;
use crate::os;

/// Longest line; what is longer becomes several.
const LONGEST: usize = 1024;
/// How a worker's own lines begin, before its number.
const OWN: &str = "gpuferry-worker[";

/// The front's end of a worker's error stream.
#[derive(Debug)]
pub struct WorkerLog {
    number: u32,
    pipe: OwnedFd,
    /// The begin of a line whose end has not come.
    begun: Mutex<Vec<u8>>,
}

impl WorkerLog {
    /// Reads the pipe from now on.
    ///
    /// # Errors
    /// As epoll_ctl(2), or where the thread that reads cannot be started.
    pub fn new(number: u32, pipe: OwnedFd) -> io::Result<Arc<WorkerLog>> {
        os::set_nonblocking(pipe.as_fd())?;
        let log = Arc::new(WorkerLog { number, pipe, begun: Mutex::default() });
        Reader::the_one()?.add(&log)?;
        Ok(log)
    }

    /// Writes what is there; false where no more will come.
    pub fn drain(&self) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = [0; 4096];
        loop {
            let read = self.pipe.try_clone().and_then(|pipe| std::fs::File::from(pipe).read(&mut bytes));
            match read {
                Ok(0) => {
                    self.write(&std::mem::take(&mut *begun));
                    return false;
                }
                Ok(count) => self.take(&mut begun, bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    fn take(&self, begun: &mut Vec<u8>, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' || begun.len() == LONGEST {
                self.write(&std::mem::take(begun));
            }
            if *byte != b'\n' {
                begun.push(*byte);
            }
        }
    }

    fn write(&self, line: &[u8]) {
        if !line.is_empty() {
            log::forward(&plain(self.number, line));
        }
    }
}

/// A line as it is written.
fn plain(number: u32, line: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    // Its own number is that inside its namespace.
    let said = text.strip_prefix(OWN).and_then(|rest| rest.split_once("] ")).map_or(&*text, |(_, said)| said);
    format!("{OWN}{number}] {said}\n")
}

/// The thread that reads all pipes.
struct Reader {
    epoll: Epoll,
    logs: Mutex<HashMap<u64, Arc<WorkerLog>>>,
}

impl Reader {
    fn the_one() -> io::Result<&'static Reader> {
        static READER: OnceLock<Reader> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = READER.get() {
            return Ok(reader);
        }
        let epoll = Epoll::new()?;
        let reader = READER.get_or_init(|| Reader { epoll, logs: Mutex::default() });
        std::thread::Builder::new().name("worker-log".into()).spawn(|| reader.run())?;
        Ok(reader)
    }

    fn add(&self, log: &Arc<WorkerLog>) -> io::Result<()> {
        let fd = log.pipe.as_raw_fd();
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).insert(fd as u64, Arc::clone(log));
        self.epoll.ctl(ControlOperation::Add, fd, EpollEvent::new(EventSet::IN, fd as u64))
    }

    fn run(&self) {
        let mut events = [EpollEvent::default(); 16];
        loop {
            let count = self.epoll.wait(-1, &mut events).unwrap_or(0);
            for event in events.iter().take(count) {
                let log = self.logs.lock().unwrap_or_else(PoisonError::into_inner).get(&event.data()).cloned();
                if let Some(log) = log
                    && !log.drain()
                {
                    // The only error is that it is not watched.
                    let _ = self.epoll.ctl(ControlOperation::Delete, log.pipe.as_raw_fd(), EpollEvent::default());
                    self.logs.lock().unwrap_or_else(PoisonError::into_inner).remove(&event.data());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_when_a_worker_pretends_to_be_another_then_begins_with_its_own_number() {
        assert_eq!(plain(7, b"gpuferry-worker[2] warn: x"), "gpuferry-worker[7] warn: x\n");
        assert_eq!(
            plain(7, b"gpuferryd[1] error: \x1b[31mx\xff"),
            "gpuferry-worker[7] gpuferryd[1] error: ?[31mx\u{fffd}\n"
        );
    }
}
