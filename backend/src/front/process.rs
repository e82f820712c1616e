//! A worker process as the front sees it: its child, its socket, its end.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::starter::{Started, Starter};
use super::worker_log::WorkerLog;
use crate::channel::Channel;
use crate::os::{self, Interest};

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file.
    pub file: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// It may start programs in its turn: a platform of OpenCL's does.
    pub starts_programs: bool,
    /// Bytes of a guest's cache of compiled code; `None` for no cache.
    pub compile_cache: Option<u64>,
}

/// A worker cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the worker {file}: {source} (give its file by --worker)")]
pub struct StartError {
    file: PathBuf,
    source: std::io::Error,
}

/// A started worker. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub struct Worker {
    starter: Arc<Starter>,
    number: u32,
    process: OwnedFd,
    /// Readable when the process has ended and was reaped.
    end: OwnedFd,
    /// The control connection.
    pub channel: Channel,
    /// Whether it has said that it is ready.
    pub ready: bool,
    status: Option<ExitStatus>,
    log: Option<Arc<WorkerLog>>,
    /// Counts this worker among those that serve, as long as it lives.
    pub counted: Option<Counted>,
}

/// One of a limited number; given back on drop.
#[derive(Debug)]
pub struct Counted(Arc<AtomicU32>);

impl Counted {
    /// Takes one where fewer than `most` are taken.
    #[must_use]
    pub fn take(counter: &Arc<AtomicU32>, most: u32) -> Option<Counted> {
        let more = |count| (count < most).then_some(count + 1);
        counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Counted(Arc::clone(counter)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// Starts a process in a room. It dies with the starter, and that with the front.
    /// # Errors
    /// [`StartError`].
    pub fn start(starter: &Arc<Starter>, room: u32, program: &Program) -> Result<Worker, StartError> {
        let failed = |source| StartError { file: program.file.clone(), source };
        let Started { control, number, process, end, log } = starter.start(room).map_err(failed)?;
        let log =
            WorkerLog::new(number, log).map_err(|error| log::error!("what worker {number} says is lost: {error}")).ok();
        match Channel::new(control) {
            Ok(channel) => {
                let starter = Arc::clone(starter);
                Ok(Worker { starter, number, process, end, channel, ready: false, status: None, log, counted: None })
            }
            Err(source) => {
                starter.kill(number);
                Err(failed(source))
            }
        }
    }

    /// The process's number, for the log.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.number
    }

    /// Readable when the process has ended.
    #[must_use]
    pub fn end(&self) -> &OwnedFd {
        &self.end
    }

    /// Whether the process has ended, known sooner than how.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.status.is_some() || matches!(os::wait([Interest::read(&self.process)], Some(Duration::ZERO)), Ok([true]))
    }

    /// Stops the process, until [`Worker::go_on`]: it touches no memory meanwhile.
    pub fn pause(&mut self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets the process go on.
    pub fn go_on(&mut self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: libc::c_int) {
        if self.status.is_none()
            && let Err(error) = os::signal_process(self.process.as_fd(), signal)
            && error.raw_os_error() != Some(libc::ESRCH)
        {
            log::error!("cannot signal worker {}: {error}", self.number);
        }
    }

    /// Tells the process to end now. [`Worker::end`] says when it has.
    pub fn kill(&mut self) {
        if self.status.is_some() {
            return;
        }
        match os::signal_process(self.process.as_fd(), libc::SIGKILL) {
            Ok(()) => {}
            // It has ended, and its status is on the way.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            // It has not given its rights up yet, which the front has.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => self.starter.kill(self.number),
            Err(error) => log::error!("cannot kill worker {}: {error}", self.number),
        }
    }

    /// How the process ended, if it has within the time.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        if self.status.is_none() && matches!(os::wait([Interest::read(&self.end)], Some(within)), Ok([true])) {
            let mut status = [0; 4];
            let read = self.end.try_clone().and_then(|end| std::fs::File::from(end).read_exact(&mut status));
            // Without a status the starter has ended, and the workers with it.
            let status = if read.is_ok() { i32::from_le_bytes(status) } else { libc::SIGKILL };
            self.status = Some(ExitStatus::from_raw(status));
            // Its last words come before what is said of it.
            if let Some(log) = &self.log {
                log.drain();
            }
        }
        self.status
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
        // Without an end, because what the process had mapped may be given away after this; SIGKILL cannot be held up.
        while self.ended(Duration::from_secs(10)).is_none() {
            log::error!("worker {} does not end; waiting", self.number);
        }
    }
}
