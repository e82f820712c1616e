//! The control thread: what the front asks of the worker, apart from the calls in the ring.
//!
//! It is the process's first thread and never sleeps in the driver, so leases come and go while calls run.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use wire::Malformed;
use wire::control::{Death, Message, Piece, REGION_ATTACHED};
use wire::device::{RESPONSE_INVALID, RESPONSE_LIMIT, RESPONSE_NO_WORKER, RESPONSE_OK};

use super::Session;
use super::api::{Api, Library};
use super::lease::{Answers, Lent, PinError};
use super::memory::Memory;
use super::movers;
use super::regions::{Region, Regions};
use super::relay::Relay;
use super::ring::Ring;
use super::serve::{Server, Waker};
use super::watchdog::{Times, Watchdog};
use crate::channel::{Channel, ChannelError, Received};
use crate::complaints::Complaints;
use crate::death::EXIT_TROUBLE;
use crate::ledger::Account;
use crate::mapping::{Mapping, Reservation, Source};
use crate::os::{self, Interest};
use crate::window::Window;

/// Bytes of a lease from which on movers are roused for its copy.
const ROUSING_BYTES: u64 = 1 << 20;

struct Served {
    session: Arc<Session>,
    api: Arc<dyn Api>,
}

/// The thread's state.
pub(super) struct Control {
    channel: Channel,
    library: Option<Box<dyn Library>>,
    regions: Arc<Regions>,
    reservation: Arc<Reservation>,
    answers: Arc<Answers>,
    relay: Arc<Relay>,
    times: Times,
    served: Option<Served>,
    complaints: Complaints,
}

impl Control {
    pub(super) fn new(
        channel: Channel,
        library: Box<dyn Library>,
        reservation: Reservation,
        (answers, relay): (Answers, Relay),
        times: Times,
    ) -> Control {
        Control {
            channel,
            library: Some(library),
            regions: Arc::default(),
            reservation: Arc::new(reservation),
            answers: Arc::new(answers),
            relay: Arc::new(relay),
            times,
            served: None,
            complaints: Complaints::default(),
        }
    }

    /// One whose session is open, with no ring: what the fuzz targets talk to.
    #[cfg(fuzzing)]
    pub(super) fn serving(
        channel: Channel,
        answers: Answers,
        api: impl Api + 'static,
        session: impl FnOnce(&Arc<Regions>, &Arc<Answers>) -> Arc<Session>,
    ) -> Control {
        let (regions, answers) = (Arc::<Regions>::default(), Arc::new(answers));
        let session = session(&regions, &answers);
        Control {
            channel,
            library: None,
            regions,
            // Not used: only opening a session takes it.
            reservation: Arc::new(Reservation::at(0x5c00_0000_0000, 4096).expect("addresses")),
            answers,
            relay: Arc::new(Relay::new().expect("an event")),
            times: Times { call: None, compile: None },
            served: Some(Served { session, api: Arc::new(api) }),
            complaints: Complaints::default(),
        }
    }

    /// Serves the front until it is gone.
    pub(super) fn run(&mut self) -> Result<(), ChannelError> {
        self.channel.send(&Message::Ready, 0, vec![])?;
        loop {
            while let Some(received) = self.channel.receive()? {
                self.handle(received)?;
            }
            for cookie in self.answers.take() {
                self.done(cookie, RESPONSE_OK)?;
            }
            for (message, cookie, descriptor) in self.relay.take() {
                self.channel.send(&message, cookie, descriptor.into_iter().collect())?;
            }
            let socket = Interest { fd: self.channel.as_fd(), write: self.channel.unsent() };
            os::wait([socket, Interest::read(self.answers.event()), Interest::read(self.relay.event())], None)?;
            self.channel.flush()?;
        }
    }

    /// The front is gone.
    pub(super) fn end(&self) {
        if let Some(served) = &self.served {
            // Nobody else can tell the guest any more.
            served.session.window().set_dead(Death::FrontEnded);
            served.api.end();
        }
    }

    fn done(&mut self, cookie: u64, status: u32) -> Result<(), ChannelError> {
        self.channel.send(&Message::Done { status }, cookie, vec![])
    }

    fn handle(&mut self, received: Received) -> Result<(), ChannelError> {
        let Received { message, cookie, mut descriptors } = received;
        match message {
            Message::Region { region, offset, bytes } => {
                let file = descriptors.pop().ok_or(Malformed::new("region without a file"))?;
                match Region::new(file, offset, bytes) {
                    Ok(mapped) => self.regions.set(region, mapped),
                    Err(error) => log::error!("cannot map region {region} of guest memory ({bytes} bytes): {error}"),
                }
                Ok(())
            }
            Message::Open { session, futex, row, window } => {
                let status = match self.open((session, futex, row), &window, descriptors) {
                    Ok(()) => RESPONSE_OK,
                    Err(error) => {
                        log::error!("session {session}: cannot be opened: {error}");
                        RESPONSE_NO_WORKER
                    }
                };
                self.done(cookie, status)
            }
            Message::Pin { lease, flags, address, bytes, pieces } => {
                let status = self.pin(Lent { lease, flags, address, bytes }, &pieces, descriptors.pop())?;
                let answered = self.done(cookie, status);
                if bytes >= ROUSING_BYTES {
                    movers::rouse();
                }
                answered
            }
            Message::Unpin { lease } => {
                if self.served()?.session.memory().unpin(lease, cookie) {
                    return Ok(());
                }
                self.done(cookie, RESPONSE_INVALID)
            }
            Message::Kept { bytes } => {
                let file = descriptors.pop().ok_or(Malformed::new("a kept descriptor is missing"))?;
                Ok(self.relay.answer(cookie, Ok((file, bytes)))?)
            }
            Message::Done { status } => Ok(self.relay.answer(cookie, Err(status))?),
            Message::Hello { .. }
            | Message::Welcome { .. }
            | Message::Ready
            | Message::Keep { .. }
            | Message::Fetch { .. }
            | Message::LetGo { .. } => Err(Malformed::new("message that a worker does not take").into()),
        }
    }

    fn served(&self) -> Result<&Served, Malformed> {
        self.served.as_ref().ok_or(Malformed::new("request before a session is open"))
    }

    fn pin(&mut self, lent: Lent, pieces: &[Piece], file: Option<OwnedFd>) -> Result<u32, Malformed> {
        let session = &self.served()?.session;
        let number = session.number();
        let (status, line) = match session.memory().pin(lent, pieces, file) {
            Ok(()) => return Ok(RESPONSE_OK),
            Err(PinError::Invalid(why)) => (RESPONSE_INVALID, why.to_owned()),
            Err(error @ PinError::Limit) => (RESPONSE_LIMIT, error.to_string()),
            Err(PinError::Io(error)) => (RESPONSE_LIMIT, format!("cannot be mapped: {error}")),
        };
        self.complaints.add(format_args!("session {number}: lease {} is refused: {line}", lent.lease));
        Ok(status)
    }

    fn open(
        &mut self,
        (number, futex, row): (u32, bool, u32),
        window: &[Piece],
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let library = self.library.take().ok_or("the worker has served a session already")?;
        let attached = window.iter().any(|piece| piece.region == REGION_ATTACHED);
        let mut descriptors = descriptors.into_iter();
        let file = if attached { descriptors.next() } else { None };
        let next = (descriptors.next(), descriptors.next(), descriptors.next());
        let (Some(doorbell), Some(wake), Some(ledger)) = next else {
            return Err("the session came without its descriptors".into());
        };
        let window = Arc::new(self.map_window(window, file.as_ref())?);
        let memory = Memory::new(
            Arc::clone(&window),
            Arc::clone(&self.regions),
            Arc::clone(&self.reservation),
            Arc::clone(&self.answers),
        );
        let session = Session::new(number, memory, Arc::clone(&window));
        let account = Account::new(ledger, row)?;
        account.serve_by(std::process::id());
        let session = Arc::new(session.counted(account).related(Arc::clone(&self.relay)));
        let api = library.begin(Arc::clone(&session));
        let waker = if futex { Waker::Futex } else { Waker::Event(wake) };
        let watchdog = Arc::new(Watchdog::new(self.times));
        watchdog.start(number, Arc::clone(&window))?;
        let server = Server::new(Arc::clone(&session), Arc::clone(&api), waker, watchdog);
        let ring = Ring::new(Arc::new(server), doorbell);
        std::thread::Builder::new().name("ring".into()).spawn(move || ring.run())?;
        self.served = Some(Served { session, api });
        window.set_ready();
        Ok(())
    }

    /// Maps the window's pieces one after the other. One piece of guest memory is used where it is mapped already, which also
    /// works where that memory is on huge pages.
    fn map_window(&self, pieces: &[Piece], file: Option<&OwnedFd>) -> Result<Window, Box<dyn std::error::Error>> {
        let mut located = Vec::new();
        for piece in pieces.iter().filter(|piece| piece.region != REGION_ATTACHED) {
            located.push(self.regions.locate(piece).ok_or("the window is not in guest memory")?);
        }
        if let ([(region, start)], [piece]) = (located.as_slice(), pieces) {
            // The ring's thread uses the window until the process ends.
            std::mem::forget(Arc::clone(region));
            // SAFETY: the region's mapping holds the piece, which is whole pages, and is never unmapped.
            return Ok(unsafe { Window::over(*start, usize::try_from(piece.bytes)?) }?);
        }
        let mut regions = located.iter();
        let mut sources = Vec::new();
        for piece in pieces {
            sources.push(match (piece.region, file) {
                (REGION_ATTACHED, Some(file)) => {
                    Source { file: file.as_fd(), offset: piece.offset, bytes: piece.bytes }
                }
                _ => {
                    let (region, _) = regions.next().ok_or("the window came without its file")?;
                    region.source(piece.offset, piece.bytes)
                }
            });
        }
        let joined = Mapping::joined(&sources).map_err(|error| {
            format!(
                "mapping the window's {} pieces: {error} (guest memory on huge pages cannot be mapped by single pages: \
                 give the guest ordinary shared memory)",
                sources.len()
            )
        })?;
        Ok(Window::new(joined)?)
    }
}

/// Ends the process when a thread panics: a session with half its threads would hang its guest.
pub(super) fn end_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        os::exit_now(EXIT_TROUBLE);
    }));
}
