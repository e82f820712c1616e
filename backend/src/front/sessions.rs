//! The table of a device's sessions: what the driver asks, what workers answer, how they end.
//!
//! Nothing here touches a queue: answers and events are collected in [`Sessions::out`] for [`super::device`] to deliver, so the
//! table can be locked by itself, and a request never waits for another.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use wire::control::{Death, Message};
use wire::device::{RESPONSE_DEAD, RESPONSE_INVALID, RESPONSE_LIMIT, RESPONSE_NO_WORKER, RESPONSE_OK};
use wire::window::HostCounters;

use super::chain::Answer;
use super::events::Pending;
use super::nursery::Nursery;
use super::process::Worker;
use super::ram::Ram;
use super::request::Request;
use super::roster::{Row, Who};
use super::session::{Phase, Session};
use super::watch::{Source, Token, Watch};
use crate::channel::{ChannelError, MOST_AT_ONCE, Received};
use crate::complaints::Complaints;
use crate::death;
use crate::ledger::Ledger;

/// How long the end of a worker may take before the log says so.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// Most requests of one session that wait for its worker; a driver has one for each thread of the process that pins.
const MAX_WAITING: usize = 4096;

/// What is to be delivered.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// Answers with their `RESPONSE_*`.
    pub(super) answers: Vec<(Answer, u32)>,
    /// Events.
    pub(super) events: Pending,
    /// Windows whose header must say that the worker is dead: address of the header, reason.
    pub(super) deaths: Vec<(u64, Death)>,
}

/// See the module's head.
pub(super) struct Sessions {
    nursery: Arc<Nursery>,
    ledger: Arc<Ledger>,
    watch: Watch,
    ram: Ram,
    table: BTreeMap<u32, Session>,
    generation: u32,
    complaints: Complaints,
    pub(super) out: Out,
}

impl Sessions {
    pub(super) fn new(nursery: Arc<Nursery>, ledger: Arc<Ledger>, watch: Watch) -> Sessions {
        Sessions {
            nursery,
            ledger,
            watch,
            ram: Ram::default(),
            table: BTreeMap::new(),
            generation: 0,
            complaints: Complaints::default(),
            out: Out::default(),
        }
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(super) fn ram(&mut self) -> &mut Ram {
        &mut self.ram
    }

    fn answer(&mut self, answer: Answer, status: u32) {
        self.out.answers.push((answer, status));
    }

    /// Carries out a request, or begins to.
    pub(super) fn request(&mut self, request: Request, answer: Answer) {
        match request {
            Request::Open { session, process, name, window, kept } => {
                self.open((session, kept), Who { name, process }, window, answer);
            }
            Request::Close { session } => self.close(session, answer),
            Request::Pin { session, lease, flags, address, bytes, pages } => {
                let pieces = match self.ram.pieces(&pages) {
                    Ok(pieces) => pieces,
                    Err(malformed) => {
                        self.complaints.add(format_args!("session {session}: pin refused: {malformed}"));
                        return self.answer(answer, RESPONSE_INVALID);
                    }
                };
                self.forward(session, Message::Pin { lease, flags, address, bytes, pieces }, answer);
            }
            Request::Unpin { session, lease } => self.forward(session, Message::Unpin { lease }, answer),
        }
    }

    fn open(&mut self, (number, kept): (u32, bool), who: Who, window: Vec<wire::device::Extent>, answer: Answer) {
        if self.table.contains_key(&number) {
            self.complaints.add(format_args!("session {number}: open refused: the number is in use"));
            return self.answer(answer, RESPONSE_INVALID);
        }
        let pieces = match self.ram.pieces(&window) {
            Ok(pieces) => pieces,
            Err(malformed) => {
                self.complaints.add(format_args!("session {number}: open refused: {malformed}"));
                return self.answer(answer, RESPONSE_INVALID);
            }
        };
        let worker = match self.nursery.take() {
            Ok(worker) => worker,
            Err(error) => {
                self.complaints.add(format_args!("session {number}: no worker for {who}: {error}"));
                return self.answer(answer, RESPONSE_NO_WORKER);
            }
        };
        let Some(row) = self.ledger.take(who.process) else {
            self.complaints.add(format_args!("session {number}: no row in the ledger for {who}"));
            return self.answer(answer, RESPONSE_NO_WORKER);
        };
        log::info!("session {number}: {who} gets worker {}", worker.id());
        self.generation = self.generation.wrapping_add(1);
        let token = Token { session: number, generation: self.generation, source: Source::Channel };
        let ready = worker.ready;
        self.out.events.forget(number);
        match Session::new(token, who, (worker, row), (window, pieces), answer.clone(), &self.watch) {
            Ok(mut session) => {
                session.kept = kept;
                self.table.insert(number, session)
            }
            Err(error) => {
                log::error!("session {number}: cannot be opened: {error}");
                return self.answer(answer, RESPONSE_NO_WORKER);
            }
        };
        if ready {
            self.with(number, |session, ram, watch| session.begin(ram, watch));
        }
    }

    fn close(&mut self, number: u32, answer: Answer) {
        let Some(session) = self.table.get_mut(&number) else {
            self.complaints.add(format_args!("session {number}: close refused: no such session"));
            return self.answer(answer, RESPONSE_INVALID);
        };
        match &mut session.phase {
            Phase::Ending(_) => self.answer(answer, RESPONSE_INVALID),
            Phase::Dead => {
                self.table.remove(&number);
                self.out.events.forget(number);
                self.answer(answer, RESPONSE_OK);
            }
            Phase::Starting | Phase::Opening | Phase::Open => {
                session.kill(&self.watch);
                let others = session.take_answers().into_iter().map(|other| (other, RESPONSE_DEAD));
                session.phase = Phase::Ending(others.chain([(answer, RESPONSE_OK)]).collect());
            }
        }
    }

    fn forward(&mut self, number: u32, message: Message, answer: Answer) {
        let pieces = if let Message::Pin { pieces, .. } = &message { pieces.len() } else { 0 };
        let unsent =
            |(_, session): (&u32, &Session)| session.worker.as_ref().map_or(0, |one| one.channel.unsent_bytes());
        let others: usize = self.table.iter().filter(|(other, _)| **other != number).map(unsent).sum();
        let has_room =
            |session: &Session| session.worker.as_ref().is_none_or(|worker| worker.channel.has_room(pieces, others));
        let waiting = |session: &Session| if has_room(session) { session.waiting.len() } else { MAX_WAITING };
        let status = match self.table.get(&number).map(|session| (&session.phase, waiting(session))) {
            Some((Phase::Open, waiting)) if waiting < MAX_WAITING => RESPONSE_OK,
            Some((Phase::Open, _)) => RESPONSE_LIMIT,
            Some((Phase::Dead | Phase::Ending(_), _)) => RESPONSE_DEAD,
            Some((Phase::Starting | Phase::Opening, _)) | None => RESPONSE_INVALID,
        };
        if status != RESPONSE_OK {
            return self.answer(answer, status);
        }
        self.with(number, |session, ram, watch| session.request(message, vec![], Some(answer), ram, watch));
    }

    /// Whether a worker of an open session owes an answer.
    pub(super) fn awaits_answers(&self) -> bool {
        self.table.values().any(|session| !session.waiting.is_empty())
    }

    /// Does something with a session's worker; a worker that breaks its connection is killed.
    fn with(&mut self, number: u32, act: impl FnOnce(&mut Session, &Ram, &Watch) -> Result<(), ChannelError>) {
        let Some(session) = self.table.get_mut(&number) else { return };
        if let Err(error) = act(session, &self.ram, &self.watch) {
            if !matches!(error, ChannelError::Gone) {
                log::error!("session {number}: worker: {error}");
            }
            session.kill(&self.watch);
        }
    }

    /// What is shown of all; see [`Session::row`].
    pub(super) fn rows(&self, counts: impl Fn(u64) -> [u64; HostCounters::NAMES.len()]) -> Vec<Row> {
        self.table.values().map(|session| session.row(&counts)).collect()
    }

    /// Rings a session's worker; false where there is none.
    pub(super) fn doorbell(&self, number: u32) -> bool {
        let Some(session) = self.table.get(&number) else { return false };
        session.ring();
        true
    }

    /// Something of a session has news.
    pub(super) fn news(&mut self, token: Token) {
        let number = token.session;
        let Some(session) = self.table.get_mut(&number) else { return };
        if session.token.generation != token.generation {
            return;
        }
        match token.source {
            Source::Wake => {
                if session.take_wake() && matches!(session.phase, Phase::Open) {
                    self.out.events.wake(number);
                }
            }
            Source::Channel => {
                self.with(number, |session, _, watch| session.flush(watch));
                self.messages(number);
            }
            Source::End => {
                // Messages that the worker sent before it ended come first.
                self.messages(number);
                self.ended(number, Duration::ZERO);
            }
        }
    }

    fn messages(&mut self, number: u32) {
        let mut done = Vec::new();
        self.with(number, |session, ram, watch| {
            for _ in 0..MOST_AT_ONCE {
                let Some(worker) = session.worker.as_mut().filter(|_| !matches!(session.phase, Phase::Ending(_)))
                else {
                    return Ok(());
                };
                let Some(Received { message, cookie, descriptors }) = worker.channel.receive()? else { return Ok(()) };
                match message {
                    Message::Ready if matches!(session.phase, Phase::Starting) => session.begin(ram, watch)?,
                    Message::Done { status } => {
                        let answer = session.waiting.remove(&cookie);
                        done.push((answer.ok_or(wire::Malformed::new("answer to no request"))?, status));
                    }
                    message if matches!(session.phase, Phase::Open) => {
                        session.relay((message, cookie), descriptors, watch)?;
                    }
                    _ => return Err(wire::Malformed::new("message that a worker does not send").into()),
                }
            }
            Err(wire::Malformed::new("messages without end").into())
        });
        for (answer, status) in done {
            self.done(number, answer, status);
        }
    }

    fn done(&mut self, number: u32, answer: Answer, status: u32) {
        if let Some(session) = self.table.get_mut(&number)
            && matches!(session.phase, Phase::Opening)
        {
            if status != RESPONSE_OK {
                session.kill(&self.watch);
                session.phase = Phase::Ending(vec![(answer, RESPONSE_NO_WORKER)]);
                return;
            }
            session.phase = Phase::Open;
        }
        self.answer(answer, status);
    }

    /// Takes note of a worker's end, if it has ended within the time.
    fn ended(&mut self, number: u32, within: Duration) {
        let Some(session) = self.table.get_mut(&number) else { return };
        let Some(worker) = &mut session.worker else { return };
        let Some(status) = worker.ended(within) else { return };
        session.unwatch(&self.watch);
        session.worker = None;
        self.finish(number, status);
    }

    fn finish(&mut self, number: u32, status: ExitStatus) {
        let Some(session) = self.table.get_mut(&number) else { return };
        if let Phase::Ending(answers) = &mut session.phase {
            log::info!("session {number}: {} is closed", session.who);
            self.out.answers.append(answers);
            self.table.remove(&number);
            return;
        }
        log::error!("session {number}: the worker of {} {}", session.who, death::describe(status));
        if session.is_new() && !session.is_second && death::of(status) == Death::WorkerEnded && self.again(number) {
            return;
        }
        let Some(session) = self.table.get_mut(&number) else { return };
        let answers = session.take_answers();
        if session.is_new() {
            self.table.remove(&number);
            self.out.answers.extend(answers.into_iter().map(|answer| (answer, RESPONSE_NO_WORKER)));
            return;
        }
        session.phase = Phase::Dead;
        self.out.deaths.extend(session.window.first().map(|page| (page.address, death::of(status))));
        self.out.answers.extend(answers.into_iter().map(|answer| (answer, RESPONSE_DEAD)));
        self.out.events.dead(number);
    }

    /// Gives a session whose worker ended before it served anything another one.
    fn again(&mut self, number: u32) -> bool {
        let Some(session) = self.table.get_mut(&number) else { return false };
        let worker = match self.nursery.take() {
            Ok(worker) => worker,
            Err(error) => {
                self.complaints.add(format_args!("session {number}: no other worker: {error}"));
                return false;
            }
        };
        log::info!("session {number}: {} gets worker {}", session.who, worker.id());
        let ready = worker.ready;
        if let Err(error) = session.begin_again(worker, &self.watch) {
            log::error!("session {number}: cannot be opened: {error}");
            session.kill(&self.watch);
            return true;
        }
        if ready {
            self.with(number, |session, ram, watch| session.begin(ram, watch));
        }
        true
    }

    /// The queues stop. Sessions that the driver would have closed before a reset wait, their workers stopped; the others end.
    pub(super) fn stop(&mut self) {
        self.end(|session| !session.kept);
        self.table.values_mut().filter_map(|session| session.worker.as_mut()).for_each(Worker::pause);
    }

    /// The queues go on where they stopped.
    pub(super) fn go_on(&mut self) {
        self.table.values_mut().filter_map(|session| session.worker.as_mut()).for_each(Worker::go_on);
    }

    /// Ends workers and waits until they have ended: the memory of their sessions is the guest's alone after this. Sessions that the
    /// driver had open stay in the table as dead, for a driver that goes on.
    fn end(&mut self, which: impl Fn(&Session) -> bool) {
        let mut numbers = Vec::new();
        for (number, session) in self.table.iter_mut().filter(|(_, session)| which(session)) {
            session.kill(&self.watch);
            numbers.push(*number);
        }
        for number in numbers {
            let Some(session) = self.table.get_mut(&number) else { continue };
            let Some(worker) = &mut session.worker else { continue };
            while worker.ended(END_PATIENCE).is_none() {
                log::error!(
                    "session {number}: worker {} does not end; waiting, as it still has guest memory",
                    worker.id()
                );
            }
            session.unwatch(&self.watch);
            session.worker = None;
            self.end_one(number);
        }
    }

    fn end_one(&mut self, number: u32) {
        let Some(session) = self.table.get_mut(&number) else { return };
        log::info!("session {number}: {} is ended, as the device stops", session.who);
        let answers = session.take_answers().into_iter().map(|answer| (answer, RESPONSE_DEAD));
        self.out.answers.extend(answers);
        match &mut session.phase {
            Phase::Open => {
                session.phase = Phase::Dead;
                self.out.deaths.extend(session.window.first().map(|page| (page.address, Death::FrontEnded)));
                self.out.events.dead(number);
            }
            Phase::Ending(answers) => {
                self.out.answers.append(answers);
                self.table.remove(&number);
            }
            Phase::Starting | Phase::Opening => {
                self.table.remove(&number);
            }
            Phase::Dead => {}
        }
    }

    /// The driver begins anew: it knows of no session.
    pub(super) fn forget_all(&mut self) {
        self.end(|_| true);
        self.table.clear();
        self.out = Out::default();
    }
}
