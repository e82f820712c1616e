//! One call: from a frame to its reply. Used by the ring's thread and by the blocking threads.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wire::Malformed;
use wire::frame::{FrameHeader, NO_SLOT};
use wire::slot::{self, MAX_REPLY_BYTES};
use wire::sync::AtomicU32;
use wire::window::HostCounters;

use super::Session;
use super::api::{Api, Reply};
use super::watchdog::Watchdog;
use crate::death::EXIT_MALFORMED;
use crate::os;

/// How sleeping guest threads are woken.
#[derive(Debug)]
pub(super) enum Waker {
    /// They sleep by futex on the word itself.
    Futex,
    /// The front tells the guest's driver.
    Event(OwnedFd),
}

impl Waker {
    pub(super) fn wake(&self, word: &AtomicU32) {
        match self {
            Waker::Futex => os::futex_wake(word),
            Waker::Event(event) => os::signal(event.as_fd()),
        }
    }
}

/// What [`Server`] knows of a call's number.
const UNKNOWN: u8 = 0;
const SLEEPS: u8 = 1;
const NEVER_SLEEPS: u8 = 2;
/// It may, but was short the last time.
const SHORT: u8 = 3;
/// It sleeps, and stands.
const STANDS: u8 = 4;

/// Time for which a thread looks whether the guest has done with an answer, before it sleeps between two looks.
const LOOK_ON: Duration = Duration::from_micros(50);
/// Longest sleep between two looks.
const NAP_MAX: Duration = Duration::from_millis(1);

/// What a call needs.
pub(super) struct Server {
    pub(super) session: Arc<Session>,
    pub(super) api: Arc<dyn Api>,
    pub(super) waker: Waker,
    watchdog: Arc<Watchdog>,
    /// Which calls may sleep, as far as that was asked: each frame needs to know.
    blocking: Box<[AtomicU8]>,
    /// Slots of calls that blocking threads work on, one bit each.
    busy: AtomicU64,
}

/// Memory for one reply at a time.
pub(super) type ReplyMemory = Box<[u8; MAX_REPLY_BYTES]>;

pub(super) fn reply_memory() -> ReplyMemory {
    Box::new([0; MAX_REPLY_BYTES])
}

impl Server {
    pub(super) fn new(session: Arc<Session>, api: Arc<dyn Api>, waker: Waker, watchdog: Arc<Watchdog>) -> Server {
        let blocking = (0..=u16::MAX).map(|_| AtomicU8::new(UNKNOWN)).collect();
        Server { session, api, waker, watchdog, blocking, busy: AtomicU64::new(0) }
    }

    /// See [`Api::blocks`].
    pub(super) fn blocks(&self, call: u16) -> bool {
        let Some(known) = self.blocking.get(usize::from(call)) else { return self.api.blocks(call) };
        match known.load(Ordering::Relaxed) {
            UNKNOWN => {
                let found = match (self.api.blocks(call), self.api.stands(call)) {
                    (false, _) => NEVER_SLEEPS,
                    (true, false) => SLEEPS,
                    (true, true) => STANDS,
                };
                known.store(found, Ordering::Relaxed);
                found != NEVER_SLEEPS
            }
            known => known != NEVER_SLEEPS,
        }
    }

    /// Whether a call that may sleep was short the last time.
    pub(super) fn was_short(&self, call: u16) -> bool {
        self.blocking.get(usize::from(call)).is_some_and(|known| known.load(Ordering::Relaxed) == SHORT)
    }

    /// A call that may sleep is over.
    pub(super) fn set_short(&self, call: u16, is_short: bool) {
        if let Some(known) = self.blocking.get(usize::from(call)) {
            known.store(if is_short { SHORT } else { SLEEPS }, Ordering::Relaxed);
        }
    }

    /// What the guest's statistics show.
    pub(super) fn counters(&self) -> &HostCounters {
        &self.session.window().header().counters
    }

    /// Counts a call. The leader alone does, so that no locked instruction is needed.
    pub(super) fn count(&self, header: &FrameHeader) {
        let counters = self.counters();
        let counter = if header.slot == NO_SLOT { &counters.posted } else { &counters.waited };
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    fn wake(&self, word: &AtomicU32) {
        HostCounters::add(&self.counters().wakes, 1);
        self.waker.wake(word);
    }

    /// Marks the slot of a call that goes to a blocking thread.
    pub(super) fn begin_blocking(&self, header: &FrameHeader) {
        if header.slot != NO_SLOT {
            self.busy.fetch_or(1 << header.slot, Ordering::Relaxed);
        }
    }

    /// Takes the mark away, before the reply is published: the guest may use the slot again right after.
    pub(super) fn end_blocking(&self, header: &FrameHeader) {
        if header.slot != NO_SLOT {
            self.busy.fetch_and(!(1 << header.slot), Ordering::Relaxed);
        }
    }

    /// A slot has one call at a time.
    pub(super) fn check_slot(&self, header: &FrameHeader) -> Result<(), Malformed> {
        if header.slot != NO_SLOT && self.busy.load(Ordering::Relaxed) >> header.slot & 1 == 1 {
            return Err(Malformed::new("call in a slot that still waits for a reply"));
        }
        Ok(())
    }

    /// Makes the call; the reply is in `memory`.
    pub(super) fn call(
        &self,
        header: &FrameHeader,
        payload: &[u8],
        memory: &mut [u8; MAX_REPLY_BYTES],
    ) -> (i32, usize) {
        let _watched = self.watchdog.watch(header, self.blocks(header.call), || self.api.patience(header.call));
        let mut reply = Reply::new(memory);
        match self.api.call(header, payload, &mut reply) {
            Ok(()) => reply.finish(),
            Err(malformed) => self.session.end_malformed(malformed, Some(header)),
        }
    }

    /// See [`Api::stands`]: of a call that [`Server::blocks`] was asked about.
    pub(super) fn stands(&self, call: u16) -> bool {
        self.blocking.get(usize::from(call)).is_some_and(|known| known.load(Ordering::Relaxed) == STANDS)
    }

    /// Answers a standing call until the process ends.
    pub(super) fn stand(&self, mut header: FrameHeader, payload: &[u8], memory: &mut [u8; MAX_REPLY_BYTES]) -> ! {
        loop {
            let (status, bytes) = self.call(&header, payload, memory);
            self.answer(&header, status, memory.get(..bytes).unwrap_or_default());
            self.await_done(&header);
            header.sequence = header.sequence.wrapping_add(1);
        }
    }

    /// Waits until the guest has done with an answer, looking less and less often: its doorbell is the ring's.
    fn await_done(&self, header: &FrameHeader) {
        let head = self.session.window().slot(usize::from(header.slot));
        let begin = Instant::now();
        let mut nap = LOOK_ON;
        while !slot::is_finished(head, header.sequence) {
            if begin.elapsed() < LOOK_ON {
                std::thread::yield_now();
                continue;
            }
            std::thread::sleep(nap);
            nap = (nap * 5 / 4).min(NAP_MAX);
        }
    }

    /// Hands the reply to the guest.
    pub(super) fn answer(&self, header: &FrameHeader, status: i32, payload: &[u8]) {
        if header.slot == NO_SLOT {
            if status != 0 {
                self.session.defer(status);
            }
            return;
        }
        let window = self.session.window();
        let index = usize::from(header.slot);
        window.write_reply(index, payload);
        let head = window.slot(index);
        if slot::publish(head, header.sequence, status, payload.len() as u32) {
            self.wake(&head.ready);
        }
    }

    /// A guest thread sleeps because the ring was full.
    pub(super) fn wake_for_room(&self) {
        self.wake(&self.session.window().header().head_epoch);
    }
}

impl Session {
    /// The guest broke the protocol: the process ends, and the front tells the guest.
    pub(super) fn end_malformed(&self, malformed: Malformed, header: Option<&FrameHeader>) -> ! {
        match header {
            Some(header) => log::error!("session {}: call {}: {malformed}", self.number(), header.call),
            None => log::error!("session {}: {malformed}", self.number()),
        }
        os::exit_now(EXIT_MALFORMED)
    }
}
