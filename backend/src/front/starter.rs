//! The starter: a process with one thread that starts the workers, so that the front can give up every right to start anything.
//!
//! [`Starter::fork`] makes it from the front before that has a thread, a socket or a guest. It keeps the rights that the
//! front was started with, as making namespaces and changing users needs them; it reads eight bytes and two descriptors at a
//! time from the front, and nothing of a guest's. It ends with the front, and the workers with it.
//!
//! The workers of one guest are started in a [`room`] of theirs. For each `START` with the room, the worker's control socket
//! and its error stream it answers the worker's number, with a descriptor of the process and a pipe that gets the exit
//! status. `LEAVE` ends a room and all in it. `REMOVE` takes the sockets' files away at the end, which the front itself
//! cannot any more.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::options::Options;
use super::process::Program;
use super::room::{self, Room};
use super::sockets;
use crate::os;
use crate::sandbox::{Layers, namespaces};
use crate::scm;

/// With a room's number, a worker's control socket and its error stream: a worker is started there.
const START: u8 = 1;
/// With a worker's number: that worker is killed, where the front may not yet, as it has not changed its user.
const KILL: u8 = 2;
/// With a room's number: it ends, and all in it. The next `START` makes it anew.
const LEAVE: u8 = 3;
/// Bytes of a request: its kind, and a number.
const REQUEST_BYTES: usize = 8;
/// With a number that names sockets: their files are removed.
const REMOVE: u8 = 4;
/// The sockets that `REMOVE` can name.
pub const VHOST_SOCKET: u8 = 1;
/// As [`VHOST_SOCKET`].
pub const LOCAL_SOCKET: u8 = 2;
/// As [`VHOST_SOCKET`].
pub const CONTROL_SOCKET: u8 = 4;

/// How long workers may take to tell their guests that the front is gone.
const LAST_WORDS: Duration = Duration::from_millis(300);

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
    /// What it writes to its error stream.
    pub log: OwnedFd,
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
            let mut process = Process {
                socket: theirs,
                program,
                layers: *layers,
                rooms: BTreeMap::new(),
                left: Vec::new(),
                workers: Vec::new(),
            };
            if let Err(error) = process.serve(options) {
                log::error!("starting workers: {error}");
            }
            // The workers see that the front is gone too, and tell their guests. What is left dies with this process.
            process.wait_for_workers(LAST_WORDS);
            os::exit_now(0);
        }
        Ok(Starter(Mutex::new(ours)))
    }

    /// Starts a worker in a room.
    ///
    /// # Errors
    /// Why it cannot be: also what the starter answered.
    pub fn start(&self, room: u32) -> io::Result<Started> {
        let (control, theirs) = UnixStream::pair()?;
        let (log, writes) = os::pipe()?;
        os::set_nonblocking(writes.as_fd())?;
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        scm::send(&socket, &request(START, room), &[theirs.into(), writes])?;
        let (number, process, end) = room::started(&socket)?;
        Ok(Started { control, number, process, end, log })
    }

    /// Ends a room, and all that is in it.
    pub fn leave(&self, room: u32) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = socket.write_all(&request(LEAVE, room)) {
            log::error!("the workers' namespace cannot be ended: {error}");
        }
    }

    /// Kills a worker.
    pub fn kill(&self, number: u32) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = socket.write_all(&request(KILL, number)) {
            log::error!("cannot kill worker {number}: {error}");
        }
    }

    /// Removes the files of sockets ([`VHOST_SOCKET`] and the like), and waits until they are.
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
    number: u32,
    process: OwnedFd,
}

/// The starter's own side.
struct Process {
    socket: UnixStream,
    program: Program,
    layers: Layers,
    rooms: BTreeMap<u32, Room>,
    /// Rooms that were left, until they have ended.
    left: Vec<Room>,
    workers: Vec<Running>,
}

impl Process {
    /// Serves until the front is gone.
    fn serve(&mut self, options: &Options) -> io::Result<()> {
        loop {
            let mut list: Vec<BorrowedFd<'_>> = vec![self.socket.as_fd()];
            list.extend(self.workers.iter().map(|worker| worker.process.as_fd()));
            list.extend(self.rooms.values().chain(&self.left).map(|room| room.process.as_fd()));
            let news = os::wait_all(&list)?;
            if news.iter().skip(1).any(|news| *news) {
                self.sweep()?;
            }
            if news.first() == Some(&true) && !self.request(options)? {
                return Ok(());
            }
        }
    }

    /// Forgets workers and rooms that have ended.
    fn sweep(&mut self) -> io::Result<()> {
        for index in (0..self.workers.len()).rev() {
            if has_ended(&self.workers[index].process)? {
                self.workers.swap_remove(index);
            }
        }
        let mut all: Vec<(Option<u32>, Room)> =
            std::mem::take(&mut self.left).into_iter().map(|room| (None, room)).collect();
        all.extend(std::mem::take(&mut self.rooms).into_iter().map(|(number, room)| (Some(number), room)));
        for (number, room) in all {
            match number {
                _ if has_ended(&room.process)? => {
                    os::reap(room.number)?;
                }
                Some(number) => drop(self.rooms.insert(number, room)),
                None => self.left.push(room),
            }
        }
        Ok(())
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
        match (kind, descriptors.pop_front(), descriptors.pop_front()) {
            (START, Some(control), Some(log)) => self.start(number, &[control, log])?,
            (KILL, ..) => self.kill(number),
            // Its first process sees that nobody asks any more, and ends.
            (LEAVE, ..) => self.left.extend(self.rooms.remove(&number).map(Room::closed)),
            (REMOVE, ..) => {
                let asked = number as u8;
                if asked & VHOST_SOCKET != 0 {
                    options.vhost.iter().filter_map(super::options::VhostSocket::path).for_each(sockets::remove);
                }
                if asked & LOCAL_SOCKET != 0 {
                    options.local.iter().for_each(|path| sockets::remove(path));
                }
                if asked & CONTROL_SOCKET != 0 {
                    options.control.iter().for_each(|path| sockets::remove(path));
                }
                self.socket.write_all(&[0])?;
            }
            _ => return Err(io::Error::other("the front asks for what there is not")),
        }
        Ok(true)
    }

    fn kill(&self, number: u32) {
        // One that has ended is not here any more.
        let worker = self.workers.iter().find(|worker| worker.number == number);
        if let Some(worker) = worker
            && let Err(error) = os::signal_process(worker.process.as_fd(), libc::SIGKILL)
        {
            log::error!("cannot kill worker {number}: {error}");
        }
    }

    fn start(&mut self, room: u32, given: &[OwnedFd; 2]) -> io::Result<()> {
        let (number, error, descriptors) = match self.run(room, given) {
            Ok((number, descriptors)) => (number, 0, descriptors),
            Err(error) => (0, error.raw_os_error().unwrap_or(libc::EIO), Vec::new()),
        };
        let answer = [number.to_le_bytes(), error.to_le_bytes()].concat();
        scm::send(&self.socket, &answer, &descriptors).map(drop)
    }

    /// Starts a worker in its room.
    fn run(&mut self, room: u32, given: &[OwnedFd; 2]) -> io::Result<(u32, Vec<OwnedFd>)> {
        let started = match self.room(room)?.start(given) {
            // It has ended by itself, for lack of memory perhaps: another takes its place.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => {
                log::error!("the first process of the workers' namespace has ended; there is a new one");
                self.left.extend(self.rooms.remove(&room).map(Room::closed));
                self.room(room)?.start(given)
            }
            started => started,
        };
        let (inside, process, end) = started?;
        let number = os::process_of(process.as_fd()).unwrap_or(inside);
        self.workers.push(Running { number, process: process.try_clone()? });
        Ok((number, vec![process, end]))
    }

    /// A room, which is made where it is not there.
    fn room(&mut self, number: u32) -> io::Result<&Room> {
        match self.rooms.entry(number) {
            Entry::Occupied(room) => Ok(room.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Room::fork(&self.program, &self.layers)?)),
        }
    }
}

fn has_ended(process: &OwnedFd) -> io::Result<bool> {
    Ok(os::wait([os::Interest::read(process)], Some(Duration::ZERO))? == [true])
}
