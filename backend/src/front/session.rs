//! One session of the virtio device: its worker and what waits for it.
//!
//! `Starting` → `Opening` → `Open` → `Ending` (closed by the driver, or not to be opened) or `Dead` (the worker ended by itself).
//! Every request of the driver is kept until its answer is given; a worker that ends gives all of them their answer.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use wire::control::{Message, Piece};
use wire::device::Extent;
use wire::window::HostCounters;

use super::chain::Answer;
use super::process::Worker;
use super::ram::{Ram, Region};
use super::relay;
use super::roster::{Row, Who};
use super::watch::{Source, Token, Watch};
use crate::channel::ChannelError;
use crate::ledger::Taken;
use crate::os;

/// Where a session is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    /// The worker loads its library.
    Starting,
    /// The worker maps the window.
    Opening,
    /// The worker serves the ring.
    Open,
    /// The worker is killed; then these answers are given, with their status, and the session is gone.
    Ending(Vec<(Answer, u32)>),
    /// The worker has ended; the driver has not closed the session yet.
    Dead,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) token: Token,
    /// The process, for people.
    pub(super) who: Who,
    since: Instant,
    pub(super) phase: Phase,
    pub(super) worker: Option<Worker>,
    /// The window's pages, in guest memory.
    pub(super) window: Vec<Extent>,
    pieces: Vec<Piece>,
    /// It has had another worker before this one.
    pub(super) is_second: bool,
    /// The driver closes it before it resets the device, so it lasts while the queues stop.
    pub(super) kept: bool,
    doorbell: OwnedFd,
    wake: OwnedFd,
    row: Taken,
    /// Requests that the worker has, by cookie.
    pub(super) waiting: HashMap<u64, Answer>,
    next_cookie: u64,
    /// What the driver's open request gets.
    open: Option<Answer>,
    /// Regions that the worker has, by number.
    sent: HashMap<u32, Arc<Region>>,
    writing: bool,
}

impl Session {
    /// Starts watching a worker that shall serve a session.
    pub(super) fn new(
        token: Token,
        who: Who,
        (worker, row): (Worker, Taken),
        window: (Vec<Extent>, Vec<Piece>),
        open: Answer,
        watch: &Watch,
    ) -> io::Result<Session> {
        let (doorbell, wake) = (os::eventfd()?, os::eventfd()?);
        watch.add(worker.channel.as_fd(), Token { source: Source::Channel, ..token })?;
        watch.add(worker.end().as_fd(), Token { source: Source::End, ..token })?;
        watch.add(wake.as_fd(), Token { source: Source::Wake, ..token })?;
        Ok(Session {
            token,
            who,
            since: Instant::now(),
            phase: Phase::Starting,
            worker: Some(worker),
            window: window.0,
            pieces: window.1,
            is_second: false,
            kept: false,
            doorbell,
            wake,
            row,
            waiting: HashMap::new(),
            next_cookie: 1,
            open: Some(open),
            sent: HashMap::new(),
            writing: false,
        })
    }

    /// What is shown of it; `counts` reads what its worker has counted from the window's header, by its address.
    pub(super) fn row(&self, counts: impl FnOnce(u64) -> [u64; HostCounters::NAMES.len()]) -> Row {
        Row {
            carrier: "virtio",
            session: self.token.session,
            who: self.who.clone(),
            worker: self.worker.as_ref().map(Worker::id),
            state: match self.phase {
                Phase::Starting | Phase::Opening => "starting",
                Phase::Open => "open",
                Phase::Ending(_) => "ending",
                Phase::Dead => "dead",
            },
            age: self.since.elapsed(),
            memory: self.row.held().bytes(),
            counts: self.window.first().map_or_else(Default::default, |page| counts(page.address)),
        }
    }

    /// Rings the worker.
    pub(super) fn ring(&self) {
        os::signal(self.doorbell.as_fd());
    }

    /// Takes the worker's signals.
    pub(super) fn take_wake(&self) -> bool {
        os::take_signal(self.wake.as_fd())
    }

    /// The worker is ready: gives it the guest's memory and the window.
    pub(super) fn begin(&mut self, ram: &Ram, watch: &Watch) -> Result<(), ChannelError> {
        self.phase = Phase::Opening;
        let window = self.pieces.clone();
        let message = Message::Open { session: self.token.session, futex: false, row: self.row.number(), window };
        let descriptors = vec![self.doorbell.try_clone()?, self.wake.try_clone()?, self.row.file()?];
        let answer = self.open.take();
        self.request(message, descriptors, answer, ram, watch)
    }

    /// Sends a request, and before it the regions that it may name.
    pub(super) fn request(
        &mut self,
        message: Message,
        descriptors: Vec<OwnedFd>,
        answer: Option<Answer>,
        ram: &Ram,
        watch: &Watch,
    ) -> Result<(), ChannelError> {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.waiting.extend(answer.map(|answer| (cookie, answer)));
        let Some(worker) = &mut self.worker else { return Err(ChannelError::Gone) };
        for region in ram.regions() {
            if self.sent.get(&region.number()).is_some_and(|sent| Arc::ptr_eq(sent, region)) {
                continue;
            }
            let (region_message, file) = region.message()?;
            worker.channel.send(&region_message, 0, vec![file])?;
            self.sent.insert(region.number(), Arc::clone(region));
        }
        worker.channel.send(&message, cookie, descriptors)?;
        self.watch_writing(watch);
        Ok(())
    }

    /// Sends what waits to be sent.
    pub(super) fn flush(&mut self, watch: &Watch) -> Result<(), ChannelError> {
        if let Some(worker) = &mut self.worker {
            worker.channel.flush()?;
        }
        self.watch_writing(watch);
        Ok(())
    }

    /// Carries out what the worker says of descriptors for the guest's other workers.
    pub(super) fn relay(
        &mut self,
        said: (Message, u64),
        descriptors: Vec<OwnedFd>,
        watch: &Watch,
    ) -> Result<(), ChannelError> {
        let Some(worker) = &mut self.worker else { return Err(ChannelError::Gone) };
        relay::carry(&self.row, &mut worker.channel, said, descriptors)?;
        self.watch_writing(watch);
        Ok(())
    }

    fn watch_writing(&mut self, watch: &Watch) {
        if let Some(worker) = &self.worker
            && worker.channel.unsent() != self.writing
        {
            self.writing = worker.channel.unsent();
            watch.want_write(worker.channel.as_fd(), Token { source: Source::Channel, ..self.token }, self.writing);
        }
    }

    /// Another worker, where the first ended before it served anything.
    pub(super) fn begin_again(&mut self, worker: Worker, watch: &Watch) -> io::Result<()> {
        let token = self.token;
        watch.add(worker.channel.as_fd(), Token { source: Source::Channel, ..token })?;
        watch.add(worker.end().as_fd(), Token { source: Source::End, ..token })?;
        watch.add(self.wake.as_fd(), Token { source: Source::Wake, ..token })?;
        self.open = self.take_answers().pop();
        self.sent.clear();
        (self.phase, self.is_second, self.writing) = (Phase::Starting, true, false);
        self.worker = Some(worker);
        Ok(())
    }

    /// Kills the worker. Its end is news of its own.
    pub(super) fn kill(&mut self, watch: &Watch) {
        if let Some(worker) = &mut self.worker {
            watch.remove(worker.channel.as_fd());
            worker.kill();
        }
    }

    /// Stops watching; the worker has ended.
    pub(super) fn unwatch(&self, watch: &Watch) {
        if let Some(worker) = &self.worker {
            watch.remove(worker.channel.as_fd());
            watch.remove(worker.end().as_fd());
        }
        watch.remove(self.wake.as_fd());
    }

    /// All requests that have no answer yet.
    pub(super) fn take_answers(&mut self) -> Vec<Answer> {
        self.waiting.drain().map(|(_, answer)| answer).chain(self.open.take()).collect()
    }

    /// Whether the driver waits for the session to open.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Opening)
    }
}
