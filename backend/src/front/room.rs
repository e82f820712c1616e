//! A room: the first process of a guest's process namespace, which starts the guest's workers in it.
//!
//! The workers of one guest see each other's numbers, by which CUDA's driver finds the process that shares memory with
//! another; they see no other guest's. What ends the room ends all in it: the kernel kills what is in a process namespace
//! with its first process. A worker that may start programs (OpenCL's), or that no filter keeps from it, has a namespace of
//! its own instead: its children shall end with it.
//!
//! The starter sends eight bytes, a control socket and an error stream for each worker; the answer is eight bytes, a
//! descriptor of the process, and a pipe that gets its exit status.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::process::Program;
use crate::os;
use crate::sandbox::files::{CODE, CODE_FOLDER, SHARED};
use crate::sandbox::{Layers, namespaces, root};
use crate::scm;

/// Bytes of a request, which says nothing, and of an answer: a number and an error.
const BYTES: usize = 8;

/// Names of environment variables that a worker keeps, or how they begin: its library's. A worker does not see the others,
/// which may hold secrets of the host's.
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

/// The starter's side of a room.
#[derive(Debug)]
pub struct Room {
    /// `None` when it is to end.
    socket: Option<UnixStream>,
    /// Number of its first process.
    pub number: libc::pid_t,
    /// That process.
    pub process: OwnedFd,
}

impl Room {
    /// Makes the first process. The calling process has one thread.
    ///
    /// # Errors
    /// As clone(2) and socketpair(2).
    pub fn fork(program: &Program, layers: &Layers) -> io::Result<Room> {
        let (ours, theirs) = UnixStream::pair()?;
        let names = namespaces::ids();
        let (room, worker) = namespaces::of_room(layers, program.starts_programs);
        let number = namespaces::spawn(room)?;
        if number == 0 {
            drop(ours);
            os::close_all_but(theirs.as_fd());
            os::die_with_parent();
            let served = First::enter(room, names, program.compile_cache).and_then(|shares| {
                First { socket: theirs, program, flags: worker, shares, workers: Vec::new() }.serve()
            });
            if let Err(error) = served {
                log::error!("starting workers: {error}");
            }
            os::exit_now(0);
        }
        let process = os::pidfd(number.unsigned_abs())?;
        Ok(Room { socket: Some(ours), number, process })
    }

    /// Starts a worker with its control socket and error stream. Returns its number inside, its process, and the pipe that
    /// gets its exit status.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn start(&self, [control, log]: &[OwnedFd; 2]) -> io::Result<(u32, OwnedFd, OwnedFd)> {
        let socket = self.socket.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        scm::send(socket, &[0; BYTES], &[control.try_clone()?, log.try_clone()?])?;
        started(socket)
    }

    /// Lets the first process end.
    #[must_use]
    pub fn closed(mut self) -> Room {
        self.socket = None;
        self
    }
}

/// Takes the answer about a worker: its number, its process, and the pipe that gets its exit status.
///
/// # Errors
/// Why it was not started.
pub fn started(socket: &UnixStream) -> io::Result<(u32, OwnedFd, OwnedFd)> {
    let (mut answer, mut descriptors) = ([0; BYTES], VecDeque::new());
    if scm::receive(socket, &mut answer, &mut descriptors)? != answer.len() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the process that starts workers has ended"));
    }
    let [a, b, c, d, e, f, g, h] = answer;
    let (number, error) = (u32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h]));
    match (error, descriptors.pop_front(), descriptors.pop_front()) {
        (0, Some(process), Some(end)) => Ok((number, process, end)),
        (0, ..) => Err(io::Error::other("a worker without its descriptors")),
        (error, ..) => Err(io::Error::from_raw_os_error(error)),
    }
}

struct Running {
    number: libc::pid_t,
    process: OwnedFd,
    end: OwnedFd,
}

/// The first process.
struct First<'a> {
    socket: UnixStream,
    program: &'a Program,
    /// Namespaces of each worker.
    flags: libc::c_int,
    /// The workers have a `/dev/shm` that is the guest's own.
    shares: bool,
    workers: Vec<Running>,
}

impl First<'_> {
    /// Makes the namespaces that it was born in its own. Returns whether they have a `/dev/shm` of their own.
    fn enter(flags: libc::c_int, names: (u32, u32), compile_cache: Option<u64>) -> io::Result<bool> {
        if flags & libc::CLONE_NEWUSER != 0 {
            namespaces::map_self(names)?;
        }
        if flags & libc::CLONE_NEWNS == 0 {
            return Ok(false);
        }
        if let Err(error) = root::show_processes() {
            log::debug!("/proc of a guest's own: {error}");
            return Ok(false);
        }
        let own = root::own_shared_memory(compile_cache.unwrap_or(0));
        if let Err(error) = &own {
            log::debug!("/dev/shm of a guest's own: {error}");
        }
        Ok(own.is_ok())
    }

    /// Serves until the starter is gone or wants no more workers; those that are left end with this process.
    fn serve(&mut self) -> io::Result<()> {
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
            if news.first() == Some(&true) && !self.request()? {
                return Ok(());
            }
        }
    }

    fn request(&mut self) -> io::Result<bool> {
        let (mut bytes, mut descriptors) = ([0; BYTES], VecDeque::new());
        let first = scm::receive(&self.socket, &mut bytes, &mut descriptors)?;
        if first == 0 {
            return Ok(false);
        }
        self.socket.read_exact(&mut bytes[first..])?;
        let (Some(control), Some(log)) = (descriptors.pop_front(), descriptors.pop_front()) else {
            return Err(io::Error::other("a worker without its descriptors"));
        };
        let (number, error, descriptors) = match self.run(&[control, log]) {
            Ok((number, descriptors)) => (number, 0, descriptors),
            Err(error) => (0, error.raw_os_error().unwrap_or(libc::EIO), Vec::new()),
        };
        let answer = [number.to_le_bytes(), error.to_le_bytes()].concat();
        scm::send(&self.socket, &answer, &descriptors)?;
        Ok(true)
    }

    /// Starts a worker in its namespaces and waits until its program runs.
    fn run(&mut self, [control, log]: &[OwnedFd; 2]) -> io::Result<(libc::pid_t, Vec<OwnedFd>)> {
        let (failure, failed) = os::pipe()?;
        let (ours, theirs) = os::pipe()?;
        let names = namespaces::ids();
        let number = namespaces::spawn(self.flags)?;
        if number == 0 {
            drop(failure);
            let error = become_worker(self.program, (self.flags, self.shares), names, [control.as_fd(), log.as_fd()]);
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

/// What the driver is told of its cache of compiled code. Compiled kernels of one guest are nothing for another, so there is
/// none but in memory that is the guest's own.
fn code_cache(bytes: Option<u64>) -> Vec<(&'static str, String)> {
    match bytes {
        Some(bytes) => vec![(CODE, CODE_FOLDER.into()), ("CUDA_CACHE_MAXSIZE", bytes.to_string())],
        None => vec![("CUDA_CACHE_DISABLE", "1".into())],
    }
}

/// Turns this new process into a worker; returns only with the reason why not.
fn become_worker(
    program: &Program,
    (flags, shares): (libc::c_int, bool),
    names: (u32, u32),
    given: [BorrowedFd<'_>; 2],
) -> io::Error {
    let [control, log] = given;
    if flags & libc::CLONE_NEWUSER != 0
        && let Err(error) = namespaces::map_self(names)
    {
        return error;
    }
    // Where memory is short a worker ends before the VMM does.
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "1000") {
        log::debug!("oom_score_adj: {error}");
    }
    if let Err(error) = os::replace_stdin(control).and_then(|()| os::replace_stderr(log)) {
        return error;
    }
    let kept = std::env::vars_os().filter(|(name, _)| is_kept(name));
    Command::new(&program.file)
        .args(&program.arguments)
        .env_clear()
        .envs(kept)
        .envs(shares.then_some((SHARED, "1")))
        .envs(code_cache(program.compile_cache.filter(|_| shares)))
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/tmp")
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eventfd() -> OwnedFd {
        os::eventfd().expect("a descriptor")
    }

    #[test]
    fn answer_when_it_is_short_or_lacks_its_descriptors_then_no_worker_was_started() {
        let answer = |number: u32, error: i32| [number.to_le_bytes(), error.to_le_bytes()].concat();
        let told = |bytes: &[u8], descriptors: &[OwnedFd]| {
            let (ours, theirs) = UnixStream::pair().expect("sockets");
            if !bytes.is_empty() {
                scm::send(&theirs, bytes, descriptors).expect("sent");
            }
            drop(theirs);
            started(&ours)
        };
        assert_eq!(told(&answer(7, 0), &[eventfd(), eventfd()]).expect("a worker").0, 7);
        for (bytes, descriptors) in [
            (vec![], vec![]),
            (answer(7, 0)[..7].to_vec(), vec![eventfd(), eventfd()]),
            (answer(7, 0), vec![]),
            (answer(7, 0), vec![eventfd()]),
            (vec![0xff; BYTES], vec![eventfd(), eventfd()]),
        ] {
            assert!(told(&bytes, &descriptors).is_err(), "{bytes:?} with {}", descriptors.len());
        }
        let error = told(&answer(0, libc::EAGAIN), &[]).expect_err("an error");
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    }

    #[test]
    fn request_when_it_is_short_or_lacks_its_descriptors_then_ends_the_room_and_starts_nothing() {
        let program =
            Program { file: "/bin/false".into(), arguments: Vec::new(), starts_programs: false, compile_cache: None };
        for (bytes, count) in [(&[0u8; BYTES][..], 0), (&[0xff; BYTES], 1), (&[0; 3], 2), (&[0; 1], 0)] {
            let (ours, theirs) = UnixStream::pair().expect("sockets");
            let given: Vec<OwnedFd> = (0..count).map(|_| eventfd()).collect();
            scm::send(&ours, bytes, &given).expect("sent");
            drop(ours);
            let mut first = First { socket: theirs, program: &program, flags: 0, shares: false, workers: Vec::new() };
            assert!(first.serve().is_err(), "{bytes:?} with {count}");
            assert!(first.workers.is_empty());
        }
    }

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
