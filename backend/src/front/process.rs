//! A worker process as the front sees it: its child, its socket, its end.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::channel::Channel;
use crate::os::{self, Interest};

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file.
    pub file: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// A worker cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the worker {file}: {source} (give its file by --worker)")]
pub struct StartError {
    file: PathBuf,
    source: std::io::Error,
}

/// A started worker. Dropping it kills and reaps the process.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    /// Readable when the process has ended.
    pidfd: OwnedFd,
    /// The control connection.
    pub channel: Channel,
    /// Whether it has said that it is ready.
    pub ready: bool,
    status: Option<ExitStatus>,
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
    /// Starts a process. It dies with the calling thread.
    /// # Errors
    /// [`StartError`].
    pub fn start(program: &Program) -> Result<Worker, StartError> {
        let failed = |source| StartError { file: program.file.clone(), source };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(&program.file);
        command.args(&program.arguments).stdin(Stdio::from(OwnedFd::from(theirs)));
        let mut child = command.spawn().map_err(failed)?;
        let prepared = Channel::new(ours).and_then(|channel| Ok((channel, os::pidfd(child.id())?)));
        match prepared {
            Ok((channel, pidfd)) => Ok(Worker { child, pidfd, channel, ready: false, status: None, counted: None }),
            Err(source) => {
                // The error that is returned matters more than one of these.
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(source))
            }
        }
    }

    /// The process's id, for the log.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Readable when the process has ended.
    #[must_use]
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Tells the process to end now. [`Worker::pidfd`] says when it has.
    pub fn kill(&mut self) {
        if self.status.is_none()
            && let Err(error) = self.child.kill()
        {
            log::error!("cannot kill worker {}: {error}", self.child.id());
        }
    }

    /// How the process ended, if it has within the time.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            match os::wait([Interest::read(&self.pidfd.as_fd())], Some(within)) {
                Ok([true]) => {}
                _ => return None,
            }
            match self.child.wait() {
                Ok(status) => self.status = Some(status),
                Err(error) => log::error!("cannot reap worker {}: {error}", self.child.id()),
            }
        }
        self.status
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.kill();
            // Without an end, because what the process had mapped may be given away after this; SIGKILL cannot be held up.
            if let Err(error) = self.child.wait() {
                log::error!("cannot reap worker {}: {error}", self.child.id());
            }
        }
    }
}
