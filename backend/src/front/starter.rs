//! The starter: a process with one thread that starts the workers, so that the front can give up every right to start anything.
//!
//! [`Starter::fork`] makes it from the front before that has a thread, a socket or a guest. It keeps the rights that the front was started with,
//! as making namespaces and changing users needs them; it reads eight bytes and one descriptor at a time from the front, and nothing of a
//! guest's. It ends with the front, and the workers with it.
//!
//! For each `START` with the worker's control socket it answers the worker's number, with a descriptor of the process and a pipe that
//! gets the exit status. `REMOVE` takes the sockets' files away at the end, which the front itself cannot any more.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::options::Options;
use super::process::Program;
use super::sockets;
use crate::os;
use crate::sandbox::{Layers, namespaces};
use crate::scm;

const START: u8 = 1;
/// With a worker's number: that worker is killed, where the front may not yet, as it has not changed its user.
const KILL: u8 = 2;
/// Bytes of a request: its kind, and a number.
const REQUEST_BYTES: usize = 8;
/// With a number that names sockets: their files are removed.
const REMOVE: u8 = 4;
/// The sockets that `REMOVE` can name.
pub const VHOST_SOCKET: u8 = 1;
/// As [`VHOST_SOCKET`].
pub const LOCAL_SOCKET: u8 = 2;

/// How long workers may take to tell their guests that the front is gone.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Names of environment variables that a worker keeps, or how they begin: its library's. A worker does not see the others, which may
/// hold secrets of the host's.
const VARIABLES: [&str; 14] = [
    "LD_LIBRARY_PATH",
    "GPUFERRY_CPU_",
    "CUDA_",
    "NVIDIA_",
    "OCL_",
    "OPENCL_",
    "POCL_",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
    "ASAN_OPTIONS",
    "TSAN_OPTIONS",
    "UBSAN_OPTIONS",
    "LANG",
    "TZ",
];

/// A worker that was started.
#[derive(Debug)]
pub struct Started {
    /// Our side of its control socket.
    pub control: UnixStream,
    /// The process's number.
    pub number: u32,
    /// The process.
    pub process: OwnedFd,
    /// Readable when the process has ended: then it gives the status, 4 bytes.
    pub end: OwnedFd,
}

/// The front's side.
#[derive(Debug)]
pub struct Starter(Mutex<UnixStream>);

impl Starter {
    /// Makes the process. The calling process has one thread.
    ///
    /// # Errors
    /// As fork(2) and socketpair(2).
    pub fn fork(options: &Options, program: Program, layers: &Layers) -> io::Result<Starter> {
        let (ours, theirs) = UnixStream::pair()?;
        if namespaces::spawn(0)? == 0 {
            drop(ours);
            os::close_all_but(theirs.as_fd());
            os::use_old_layout();
            let mut process = Process { socket: theirs, program, flags: layers.namespaces, workers: Vec::new() };
            if let Err(error) = process.serve(options) {
                log::error!("starting workers: {error}");
            }
            // The workers see that the front is gone too, and tell their guests. What is left dies with this process.
            process.wait_for_workers(LAST_WORDS);
            os::exit_now(0);
        }
        Ok(Starter(Mutex::new(ours)))
    }

    /// Starts a worker.
    ///
    /// # Errors
    /// Why it cannot be: also what the starter answered.
    pub fn start(&self) -> io::Result<Started> {
        let (control, theirs) = UnixStream::pair()?;
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        scm::send(&socket, &request(START, 0), &[theirs.into()])?;
        let (mut answer, mut descriptors) = ([0; 8], VecDeque::new());
        if scm::receive(&socket, &mut answer, &mut descriptors)? != answer.len() {
            return Err(io::Error::other("the process that starts workers has ended"));
        }
        let [a, b, c, d, e, f, g, h] = answer;
        let (number, error) = (u32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h]));
        match (error, descriptors.pop_front(), descriptors.pop_front()) {
            (0, Some(process), Some(end)) => Ok(Started { control, number, process, end }),
            (0, ..) => Err(io::Error::other("a worker without its descriptors")),
            (error, ..) => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Kills a worker.
    pub fn kill(&self, number: u32) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = socket.write_all(&request(KILL, number)) {
            log::error!("cannot kill worker {number}: {error}");
        }
    }

    /// Removes the files of sockets ([`VHOST_SOCKET`], [`LOCAL_SOCKET`]), and waits until they are.
    pub fn remove(&self, which: u8) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = socket.write_all(&request(REMOVE, u32::from(which)));
        if let Err(error) = asked.and_then(|()| socket.read_exact(&mut [0])) {
            log::warn!("the sockets' files are left: {error}");
        }
    }
}

fn request(kind: u8, number: u32) -> [u8; REQUEST_BYTES] {
    (u64::from(kind) | u64::from(number) << 32).to_le_bytes()
}

struct Running {
    number: libc::pid_t,
    process: OwnedFd,
    end: OwnedFd,
}

/// The starter's own side.
struct Process {
    socket: UnixStream,
    program: Program,
    flags: libc::c_int,
    workers: Vec<Running>,
}

impl Process {
    /// Serves until the front is gone.
    fn serve(&mut self, options: &Options) -> io::Result<()> {
        loop {
            let mut list: Vec<BorrowedFd<'_>> = vec![self.socket.as_fd()];
            list.extend(self.workers.iter().map(|worker| worker.process.as_fd()));
            let news = os::wait_all(&list)?;
            for index in (0..self.workers.len()).rev() {
                if news.get(index + 1) == Some(&true) {
                    let worker = self.workers.swap_remove(index);
                    let status = os::reap(worker.number)?;
                    // A front that does not ask any more has closed it.
                    let _ = fs::File::from(worker.end).write_all(&status.to_le_bytes());
                }
            }
            if news.first() == Some(&true) && !self.request(options)? {
                return Ok(());
            }
        }
    }

    /// Waits until all workers have ended, or the time is over.
    fn wait_for_workers(&mut self, time: Duration) {
        let end = Instant::now() + time;
        for worker in &self.workers {
            let left = end.saturating_duration_since(Instant::now());
            // Where waiting fails there is nothing to wait for.
            let _ = os::wait([os::Interest::read(&worker.process)], Some(left));
        }
    }

    /// Does what the front asks; false when it is gone.
    fn request(&mut self, options: &Options) -> io::Result<bool> {
        let (mut bytes, mut descriptors) = ([0; REQUEST_BYTES], VecDeque::new());
        let first = scm::receive(&self.socket, &mut bytes, &mut descriptors)?;
        if first == 0 {
            return Ok(false);
        }
        self.socket.read_exact(&mut bytes[first..])?;
        let word = u64::from_le_bytes(bytes);
        let (kind, number) = (word as u8, (word >> 32) as u32);
        match (kind, descriptors.pop_front()) {
            (START, Some(control)) => self.start(&control)?,
            (KILL, _) => self.kill(number),
            (REMOVE, _) => {
                let asked = number as u8;
                if asked & VHOST_SOCKET != 0 {
                    options.vhost.iter().filter_map(super::options::VhostSocket::path).for_each(sockets::remove);
                }
                if asked & LOCAL_SOCKET != 0 {
                    options.local.iter().for_each(|path| sockets::remove(path));
                }
                self.socket.write_all(&[0])?;
            }
            _ => return Err(io::Error::other("the front asks for what there is not")),
        }
        Ok(true)
    }

    fn kill(&self, number: u32) {
        // One that has ended is not here any more.
        let worker = self.workers.iter().find(|worker| worker.number.unsigned_abs() == number);
        if let Some(worker) = worker
            && let Err(error) = os::signal_process(worker.process.as_fd(), libc::SIGKILL)
        {
            log::error!("cannot kill worker {number}: {error}");
        }
    }

    fn start(&mut self, control: &OwnedFd) -> io::Result<()> {
        let (number, error, descriptors) = match self.run(control) {
            Ok((number, descriptors)) => (number, 0, descriptors),
            Err(error) => (0, error.raw_os_error().unwrap_or(libc::EIO), Vec::new()),
        };
        let answer = [number.to_le_bytes(), error.to_le_bytes()].concat();
        scm::send(&self.socket, &answer, &descriptors).map(drop)
    }

    /// Starts a worker in its namespaces and waits until its program runs.
    fn run(&mut self, control: &OwnedFd) -> io::Result<(libc::pid_t, Vec<OwnedFd>)> {
        let (failure, failed) = os::pipe()?;
        let (ours, theirs) = os::pipe()?;
        let names = namespaces::ids();
        let number = namespaces::spawn(self.flags)?;
        if number == 0 {
            drop(failure);
            let error = become_worker(&self.program, self.flags, names, control.as_fd());
            let code = error.raw_os_error().unwrap_or(libc::EIO);
            let _ = fs::File::from(failed).write_all(&code.to_le_bytes());
            os::exit_now(127);
        }
        drop(failed);
        let mut code = Vec::new();
        fs::File::from(failure).read_to_end(&mut code)?;
        if let Ok(code) = <[u8; 4]>::try_from(code.as_slice()) {
            os::reap(number)?;
            return Err(io::Error::from_raw_os_error(i32::from_le_bytes(code)));
        }
        let process = os::pidfd(number.unsigned_abs())?;
        let descriptors = vec![process.try_clone()?, ours];
        self.workers.push(Running { number, process, end: theirs });
        Ok((number, descriptors))
    }
}

fn is_kept(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| VARIABLES.iter().any(|kept| name.starts_with(kept)))
}

/// Turns this new process into a worker; returns only with the reason why not.
fn become_worker(program: &Program, flags: libc::c_int, names: (u32, u32), control: BorrowedFd<'_>) -> io::Error {
    if flags & libc::CLONE_NEWUSER != 0
        && let Err(error) = namespaces::map_self(names)
    {
        return error;
    }
    // Where memory is short a worker ends before the VMM does.
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "1000") {
        log::debug!("oom_score_adj: {error}");
    }
    if let Err(error) = os::replace_stdin(control) {
        return error;
    }
    let kept = std::env::vars_os().filter(|(name, _)| is_kept(name));
    Command::new(&program.file)
        .args(&program.arguments)
        .env_clear()
        .envs(kept)
        // Compiled kernels of one guest are nothing for another.
        .env("CUDA_CACHE_DISABLE", "1")
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/tmp")
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_when_it_holds_secrets_then_they_stay_with_the_front() {
        for kept in ["LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "GPUFERRY_CPU_MEMORY", "POCL_DEVICES"] {
            assert!(is_kept(OsStr::new(kept)), "{kept}");
        }
        for dropped in ["PATH", "HOME", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "GPUFERRY", "SSH_AUTH_SOCK"] {
            assert!(!is_kept(OsStr::new(dropped)), "{dropped}");
        }
    }
}
