//! The local carrier: programs of this host, over a Unix socket ([`wire::control`]).
//!
//! Each program has a thread here that waits for its socket, its worker's socket and its worker's end. The window is a sealed
//! memfd; the calls go through it directly to the worker, the doorbell too, so the thread only sees sessions begin, lend and end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::{Duration, Instant};

use wire::Malformed;
use wire::control::{Death, Message, Piece, REGION_ATTACHED};
use wire::device::{RESPONSE_INVALID, RESPONSE_NO_WORKER, RESPONSE_OK};
use wire::window::WINDOW_BYTES_LOCAL;

use super::nursery::Nursery;
use super::process::Worker;
use super::relay;
use super::request::printable;
use super::roster::{Listed, Local, Roster, Who};
use crate::channel::{Channel, ChannelError, MOST_AT_ONCE, Received};
use crate::death;
use crate::ledger::{Ledger, Taken};
use crate::mapping::{Mapping, Source};
use crate::os::{self, Interest};
use crate::window::Window;

/// Connections at a time, sessions and those that have not said hello yet.
const MAX_CONNECTIONS: u32 = 512;
/// Stack of a connection's thread.
const STACK_BYTES: usize = 256 << 10;
/// Pause after an accept that failed, for lack of descriptors above all.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for a program's hello.
const HELLO_TIME: Duration = Duration::from_secs(10);

/// Serves programs without end.
pub fn serve(listener: &UnixListener, nursery: &Arc<Nursery>, ledger: &Arc<Ledger>, roster: &Arc<Roster>) -> ! {
    let connections = Arc::new(AtomicU32::new(0));
    let mut number = 0u32;
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) => {
                log::error!("accepting a local program: {error}");
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        let Some(counted) = super::process::Counted::take(&connections, MAX_CONNECTIONS) else {
            log::warn!("a local program is refused: {MAX_CONNECTIONS} are connected");
            continue;
        };
        number = number.wrapping_add(1);
        let (nursery, ledger, roster) = (Arc::clone(nursery), Arc::clone(ledger), Arc::clone(roster));
        let thread = std::thread::Builder::new().name("local".into()).stack_size(STACK_BYTES);
        let spawned = thread.spawn(move || {
            if let Err(error) = connection(socket, &nursery, (&ledger, &roster), number) {
                log::error!("local session {number}: {error}");
            }
            drop(counted);
        });
        if let Err(error) = spawned {
            log::error!("a local program is refused: {error}");
        }
    }
}

fn connection(
    socket: UnixStream,
    nursery: &Nursery,
    (ledger, roster): (&Arc<Ledger>, &Arc<Roster>),
    number: u32,
) -> Result<(), ChannelError> {
    let mut program = Channel::new(socket)?;
    let Some((who, cookie)) = hello(&mut program, number)? else { return Ok(()) };
    let worker = match nursery.take() {
        Ok(worker) => worker,
        Err(error) => {
            log::error!("local session {number}: no worker for {who}: {error}");
            return program.send(&Message::Done { status: RESPONSE_NO_WORKER }, cookie, vec![]);
        }
    };
    log::info!("local session {number}: {who} gets worker {}", worker.id());
    // As many as workers, so there is one.
    let row = ledger.take(who.process).ok_or_else(|| io::Error::other("no row in the ledger"))?;
    let mut session = Session::new(program, worker, row, (number, who, cookie), roster)?;
    let mut death = session.run();
    // One that ended before the program had anything of it: another may do better.
    if death == Death::WorkerEnded && session.phase != Phase::Open {
        // Its place is free first.
        session.worker.counted = None;
        if let Ok(worker) = nursery.take() {
            log::info!("local session {number}: {} gets worker {}", session.who, worker.id());
            session.listed.worker(worker.id());
            (session.worker, session.phase) = (worker, Phase::Starting);
            death = session.run();
        }
    }
    session.end(death);
    Ok(())
}

/// The program's first message: who it is, for the log. `None` where it is refused or goes.
fn hello(program: &mut Channel, number: u32) -> Result<Option<(Who, u64)>, ChannelError> {
    let received = loop {
        match program.receive() {
            Ok(Some(received)) => break received,
            Ok(None) => {}
            // A look whether the front lives.
            Err(ChannelError::Gone) => return Ok(None),
            Err(error) => return Err(error),
        }
        if os::wait([Interest::read(program)], Some(HELLO_TIME))? == [false] {
            return Err(Malformed::new("no hello in time").into());
        }
    };
    let Message::Hello { wire_version, process, name } = received.message else {
        return Err(Malformed::new("first message is no hello").into());
    };
    let who = Who { name: printable(&name), process };
    if wire_version != wire::WIRE_VERSION {
        log::error!(
            "local session {number}: {who} has a guest library of wire version {wire_version}, this host has {}: \
             install the library of this gpuferryd",
            wire::WIRE_VERSION
        );
        program.send(&Message::Done { status: RESPONSE_INVALID }, received.cookie, vec![])?;
        return Ok(None);
    }
    Ok(Some((who, received.cookie)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Opening,
    Open,
}

struct Session {
    program: Channel,
    worker: Worker,
    phase: Phase,
    number: u32,
    who: Who,
    hello: u64,
    memory: OwnedFd,
    window: Arc<Window>,
    doorbell: OwnedFd,
    row: Taken,
    listed: Listed,
}

impl Session {
    fn new(
        program: Channel,
        worker: Worker,
        row: Taken,
        (number, who, hello): (u32, Who, u64),
        roster: &Arc<Roster>,
    ) -> io::Result<Session> {
        let bytes = WINDOW_BYTES_LOCAL as u64;
        let memory = os::sealed_memory(bytes)?;
        let window = Arc::new(Window::new(Mapping::of(Source { file: memory.as_fd(), offset: 0, bytes })?)?);
        let doorbell = os::eventfd()?;
        let phase = Phase::Starting;
        let listed = roster.list(Local {
            session: number,
            who: who.clone(),
            worker: AtomicU32::new(worker.id()),
            is_open: AtomicBool::new(false),
            since: Instant::now(),
            window: Arc::clone(&window),
            row: row.held(),
        });
        Ok(Session { program, worker, phase, number, who, hello, memory, window, doorbell, row, listed })
    }

    /// Serves the session; returns why it ended.
    fn run(&mut self) -> Death {
        if self.worker.ready
            && let Err(error) = self.open()
        {
            log::error!("local session {}: {error}", self.number);
        }
        loop {
            if let Some(status) = self.worker.ended(Duration::ZERO) {
                // What the worker said before it ended.
                let _ = self.take_answers();
                log::error!("local session {}: the worker of {} {}", self.number, self.who, death::describe(status));
                return death::of(status);
            }
            match self.take_requests() {
                Ok(()) => {}
                Err(ChannelError::Gone) => return Death::Closed,
                Err(error) => {
                    log::error!("local session {}: {}: {error}", self.number, self.who);
                    return Death::Malformed;
                }
            }
            match self.take_answers() {
                Ok(()) => {}
                Err(error) => {
                    if !matches!(error, ChannelError::Gone) {
                        log::error!("local session {}: worker: {error}", self.number);
                    }
                    self.worker.kill();
                    while self.worker.ended(Duration::from_secs(10)).is_none() {}
                    continue;
                }
            }
            if let Err(error) = self.wait() {
                log::error!("local session {}: {error}", self.number);
                return Death::FrontEnded;
            }
        }
    }

    fn wait(&mut self) -> Result<(), ChannelError> {
        let news = os::wait(
            [
                Interest { fd: self.program.as_fd(), write: self.program.unsent() },
                Interest { fd: self.worker.channel.as_fd(), write: self.worker.channel.unsent() },
                Interest::read(self.worker.end()),
            ],
            None,
        )?;
        if news[0] {
            // An error shows again, and better, when the program is read.
            let _ = self.program.flush();
        }
        if news[1] {
            let _ = self.worker.channel.flush();
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), ChannelError> {
        self.phase = Phase::Opening;
        let window = vec![Piece { region: REGION_ATTACHED, offset: 0, bytes: WINDOW_BYTES_LOCAL as u64 }];
        let message = Message::Open { session: self.number, futex: true, row: self.row.number(), window };
        // The third is the virtio carrier's; a worker that wakes by futex ignores it.
        let doorbell = || self.doorbell.try_clone();
        let descriptors = vec![self.memory.try_clone()?, doorbell()?, doorbell()?, self.row.file()?];
        self.worker.channel.send(&message, 0, descriptors)
    }

    /// Forwards the program's requests, with its cookies.
    fn take_requests(&mut self) -> Result<(), ChannelError> {
        for _ in 0..MOST_AT_ONCE {
            let Some(Received { message, cookie, descriptors }) = self.program.receive()? else { return Ok(()) };
            match &message {
                _ if self.phase != Phase::Open => {
                    return Err(Malformed::new("request before the session is open").into());
                }
                Message::Pin { pieces, .. } if pieces.iter().all(|piece| piece.region == REGION_ATTACHED) => {}
                Message::Unpin { .. } => {}
                _ => return Err(Malformed::new("message that a program does not send").into()),
            }
            if self.worker.channel.send(&message, cookie, descriptors).is_err() {
                // Whatever it is, its end tells.
                self.worker.kill();
            }
        }
        Err(Malformed::new("messages without end").into())
    }

    fn take_answers(&mut self) -> Result<(), ChannelError> {
        for _ in 0..MOST_AT_ONCE {
            let Some(Received { message, cookie, descriptors }) = self.worker.channel.receive()? else { return Ok(()) };
            match (message, self.phase) {
                (Message::Ready, Phase::Starting) => self.open()?,
                (Message::Done { status: RESPONSE_OK }, Phase::Opening) => self.welcome()?,
                (Message::Done { status }, Phase::Opening) => {
                    self.program.send(&Message::Done { status }, self.hello, vec![])?;
                    return Err(ChannelError::Gone);
                }
                (Message::Done { status }, Phase::Open) => {
                    self.program.send(&Message::Done { status }, cookie, vec![])?;
                }
                (message, Phase::Open) => {
                    relay::carry(&self.row, &mut self.worker.channel, (message, cookie), descriptors)?;
                }
                _ => return Err(Malformed::new("message that a worker does not send").into()),
            }
        }
        Err(Malformed::new("messages without end").into())
    }

    fn welcome(&mut self) -> Result<(), ChannelError> {
        self.phase = Phase::Open;
        self.listed.open();
        let message = Message::Welcome { wire_version: wire::WIRE_VERSION, window_bytes: WINDOW_BYTES_LOCAL as u64 };
        let descriptors = vec![self.memory.try_clone()?, self.doorbell.try_clone()?];
        self.program.send(&message, self.hello, descriptors)
    }

    /// Ends the worker, tells the program, and closes its socket.
    fn end(mut self, death: Death) {
        self.worker.kill();
        while self.worker.ended(Duration::from_secs(10)).is_none() {
            log::error!("local session {}: worker {} does not end; waiting", self.number, self.worker.id());
        }
        // Its place is free before the program can ask for it anew.
        drop(self.worker);
        self.window.set_dead(death);
        if self.phase != Phase::Open {
            let refused = Message::Done { status: RESPONSE_NO_WORKER };
            // A program that is gone does not want it.
            let _ = self.program.send(&refused, self.hello, vec![]);
        }
        log::info!("local session {}: {} is closed", self.number, self.who);
        // Numbers that the program could have written too: for statistics alone.
        let counts: Vec<_> =
            self.window.header().counters.all().iter().map(|(name, n)| format!("{name} {n}")).collect();
        log::debug!("local session {}: counts: {}", self.number, counts.join(", "));
    }
}
