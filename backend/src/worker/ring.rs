//! The ring's threads: one *leads*, takes frames in order and makes their calls; a call that sleeps in the driver holds nobody up.
//!
//! Such a call is made by the thread that took it, at once, with no hand-over. Before, it lays the lead down: it announces the
//! parked worker as if it slept, so the guest's next frame rings the doorbell, where another thread, the *sentry*, waits and takes
//! the lead. A program with one thread publishes nothing while it waits: then nobody is woken, and the caller takes the lead up
//! again, before it answers, so that the program's next frame finds the worker awake. A thread with nothing to do becomes the
//! sentry, or rests where there is one.
//!
//! Announcing took 3 of the 11 µs of a small copy to the host on an H200. While one thread of the program alone calls, and
//! the call was short the last time, it is left out: the guest's thread rings where it was wrong to.
//!
//! How the threads find each other, and why no frame waits for nobody, stands in [`post`](super::post).
//!
//! While frames come the leader spins; how long it goes on spinning on an empty ring follows how long it slept before ([`Budget`]).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::Malformed;
use wire::frame::{FrameHeader, NO_SLOT};
use wire::ring::{Consumer, Taken};
use wire::window::{HostCounters, RING_BYTES, SLOT_COUNT};

use super::post::{Begun, Post};
use super::serve::{ReplyMemory, Server, reply_memory};
use crate::death::EXIT_TROUBLE;
use crate::os::{self, Interest};
use crate::window::Window;

/// Most calls that sleep at a time: a waited call has a slot to itself.
const MAX_BLOCKING: usize = SLOT_COUNT;
/// Longest spinning on an empty ring: about what a sleep and a wake-up through a virtqueue cost.
const SPIN_MAX: Duration = Duration::from_micros(200);
/// First step of the budget above nothing.
const SPIN_MIN: Duration = Duration::from_micros(20);
/// Spinning at the beginning of a session, whose process is about to call.
const SPIN_FIRST: Duration = Duration::from_millis(1);
/// Looks at the ring between two looks at the clock.
const LOOKS: u32 = 64;
/// Bytes of the ring that are mapped between two looks, in some microseconds.
const MAPPED_AT_ONCE: usize = 32 << 10;
/// Empty rings for which the leader lets others run while it spins, after that has brought a frame: they wait for its processor.
const CROWDED: u32 = 64;

/// A call that may sleep and took less is short: less than the guest's threads spin before they ring.
const SHORT: Duration = Duration::from_micros(20);
/// Frames of one thread after which it is the only one that calls.
const ALONE: u32 = 256;

/// How long to spin on an empty ring before sleeping. A sleep shorter than [`SPIN_MAX`] would have been worth spinning: the budget
/// doubles. A longer one was not: it halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Budget {
    now: Duration,
    most: Duration,
}

impl Budget {
    fn new(cores: usize) -> Budget {
        // With one core, spinning keeps the producer from running.
        if cores > 1 {
            Budget { now: SPIN_FIRST, most: SPIN_MAX }
        } else {
            Budget { now: Duration::ZERO, most: Duration::ZERO }
        }
    }

    fn slept(&mut self, time: Duration) {
        self.now = if time <= SPIN_MAX {
            (self.now * 2).clamp(SPIN_MIN, SPIN_MAX).min(self.most)
        } else if self.now <= SPIN_MIN {
            Duration::ZERO
        } else {
            (self.now / 2).min(self.most)
        };
    }
}

/// What only the leader uses.
struct Lead {
    consumer: Consumer,
    budget: Budget,
    /// See [`CROWDED`].
    crowded: u32,
    /// Since when the ring has been empty, where the lead was laid down for that.
    idle_since: Option<Instant>,
    threads: Threads,
    /// It lies there without having been parked.
    is_unparked: bool,
    /// Nobody has led yet: the session has just begun.
    is_new: bool,
    /// Bytes of the ring whose pages are mapped; see [`Lead::map_more`].
    mapped: usize,
}

impl Lead {
    fn new(consumer: Consumer) -> Lead {
        let budget = Budget::new(os::processors());
        Lead {
            consumer,
            budget,
            // The program may share this processor until it is known that it does not.
            crowded: CROWDED,
            idle_since: None,
            threads: Threads::default(),
            is_unparked: false,
            is_new: true,
            mapped: 0,
        }
    }

    /// Has the next pages of the ring mapped, for a thread that has nothing else to do: else each 64th call of the first lap
    /// takes the time of a page that is touched first.
    fn map_more(&mut self, window: &Window) {
        if self.mapped < RING_BYTES {
            window.populate_ring(self.mapped, MAPPED_AT_ONCE);
            self.mapped += MAPPED_AT_ONCE;
        }
    }
}

/// Whether one thread of the program alone calls.
#[derive(Debug, Default)]
struct Threads {
    last: u32,
    /// Frames of it until it counts as alone; see [`ALONE`].
    missing: u32,
}

impl Threads {
    fn note(&mut self, thread: u32) {
        if thread == self.last {
            self.missing = self.missing.saturating_sub(1);
        } else {
            *self = Threads { last: thread, missing: ALONE };
        }
    }

    fn is_one(&self) -> bool {
        self.missing == 0
    }
}

/// Memory of a thread, so that no call allocates.
struct Own {
    reply: ReplyMemory,
    /// The payload of a call that sleeps: the lead, with the frame in it, may go to another thread meanwhile.
    payload: Vec<u8>,
}

/// The ring and its threads.
pub(super) struct Ring {
    server: Arc<Server>,
    doorbell: OwnedFd,
    post: Post<Lead>,
}

impl Ring {
    pub(super) fn new(server: Arc<Server>, doorbell: OwnedFd) -> Arc<Ring> {
        let consumer = Consumer::new(server.session.window().ring());
        Arc::new(Ring { server, doorbell, post: Post::new(Lead::new(consumer)) })
    }

    /// Serves the ring until the process ends.
    pub(super) fn run(self: &Arc<Ring>) -> ! {
        let lead = self.post.take();
        self.serve(lead)
    }

    fn serve(self: &Arc<Ring>, mut lead: Option<Lead>) -> ! {
        let mut memory = Own { reply: reply_memory(), payload: Vec::new() };
        loop {
            let taken = lead.take().unwrap_or_else(|| self.stand_by());
            if let Err(malformed) = self.lead(taken, &mut memory) {
                self.server.session.end_malformed(malformed, None);
            }
        }
    }

    /// Waits until this thread is to lead.
    fn stand_by(&self) -> Lead {
        let rang = || {
            self.await_doorbell();
            true
        };
        let Some(mut lead) = self.post.stand_by(rang) else { os::exit_now(EXIT_TROUBLE) };
        lead.is_unparked = false;
        HostCounters::add(&self.server.counters().doorbells, 1);
        if let Some(since) = lead.idle_since.take() {
            lead.budget.slept(since.elapsed());
        }
        lead
    }

    /// Takes frames until there are none or another thread leads.
    fn lead(self: &Arc<Ring>, mut lead: Lead, memory: &mut Own) -> Result<(), Malformed> {
        let server = &self.server;
        let words = server.session.window().words();
        // A thread that waits for a call may ring though there is no frame: then there is nothing to spin for.
        let mut has_taken = std::mem::take(&mut lead.is_new);
        lead.consumer.hear(&words)?;
        loop {
            match lead.consumer.take(&words)? {
                Taken::Frame { header, payload, wake } => {
                    has_taken = true;
                    if wake {
                        server.wake_for_room();
                    }
                    server.check_slot(&header)?;
                    server.count(&header);
                    lead.threads.note(header.thread);
                    if !server.blocks(header.call) {
                        let (status, bytes) = server.call(&header, payload, &mut memory.reply);
                        server.answer(&header, status, memory.reply.get(..bytes).unwrap_or_default());
                        continue;
                    }
                    memory.payload.clear();
                    memory.payload.extend_from_slice(payload);
                    match self.block(lead, &header, memory)? {
                        Some(again) => lead = again,
                        None => return Ok(()),
                    }
                }
                Taken::Empty { wake } => {
                    if wake {
                        server.wake_for_room();
                    }
                    if has_taken && self.spin(&mut lead)? {
                        continue;
                    }
                    if lead.consumer.release_sleepers(&words) {
                        server.wake_for_room();
                    }
                    let park = |lead: &mut Lead| {
                        lead.idle_since = Some(Instant::now());
                        lead.consumer.park(&words)
                    };
                    match self.post.lay_down(lead, park)? {
                        Some(again) => lead = again,
                        None => {
                            HostCounters::add(&server.counters().parks, 1);
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Makes the call whose payload is in `memory` and that may sleep, with the lead laid down. Returns the lead where nobody
    /// took it meanwhile.
    fn block(self: &Arc<Ring>, lead: Lead, header: &FrameHeader, memory: &mut Own) -> Result<Option<Lead>, Malformed> {
        let server = &self.server;
        let words = server.session.window().words();
        server.begin_blocking(header);
        HostCounters::add(&server.counters().sleeping, 1);
        let will_be_short = header.slot != NO_SLOT && lead.threads.is_one() && server.was_short(header.call);
        let mut is_wanted = false;
        let stands = server.stands(header.call);
        if stands && header.slot == NO_SLOT {
            return Err(Malformed::new("a standing call without a slot"));
        }
        let begun = self.post.begin_call(lead, MAX_BLOCKING, |lead, may_stay| {
            lead.is_unparked = may_stay && will_be_short && !lead.consumer.may_have_rung();
            if lead.is_unparked {
                return Ok(Begun::Unparked);
            }
            if !lead.consumer.park(&words)? {
                return Ok(Begun::Frames);
            }
            is_wanted = lead.consumer.release_sleepers(&words);
            Ok(Begun::Parked)
        })?;
        let duties = begun.ok_or(Malformed::new("more calls sleep than there are slots"))?;
        if is_wanted {
            server.wake_for_room();
        }
        if duties.start {
            self.start_thread();
        }
        if duties.ring {
            os::signal(self.doorbell.as_fd());
        }

        if stands {
            server.stand(*header, &memory.payload, &mut memory.reply);
        }
        let begin = (!will_be_short).then(Instant::now);
        let (status, bytes) = server.call(header, &memory.payload, &mut memory.reply);
        let was_short = begin.is_some_and(|begin| begin.elapsed() < SHORT);

        server.end_blocking(header);
        let mut lead = self.post.end_call();
        let has_stayed = lead.as_mut().is_some_and(|lead| std::mem::take(&mut lead.is_unparked));
        server.set_short(header.call, was_short || has_stayed);
        if let Some(lead) = lead.as_ref().filter(|_| !has_stayed) {
            lead.consumer.unpark(&words);
        }
        server.answer(header, status, memory.reply.get(..bytes).unwrap_or_default());
        Ok(lead)
    }

    fn start_thread(self: &Arc<Ring>) {
        let ring = Arc::clone(self);
        let started = std::thread::Builder::new().name("ring".into()).spawn(move || ring.serve(None));
        if let Err(error) = started {
            log::error!("cannot start a thread for the ring: {error}");
            os::exit_now(EXIT_TROUBLE);
        }
    }

    /// Looks at the ring for the budget's time; true where there is a frame.
    fn spin(&self, lead: &mut Lead) -> Result<bool, Malformed> {
        let words = self.server.session.window().words();
        let start = Instant::now();
        let mut has_yielded = false;
        loop {
            for _ in 0..LOOKS {
                if lead.consumer.has_frame(&words)? {
                    lead.crowded = if has_yielded { CROWDED } else { lead.crowded.saturating_sub(1) };
                    return Ok(true);
                }
                std::hint::spin_loop();
                // A yield counts for the look after it.
                has_yielded = false;
            }
            lead.map_more(self.server.session.window());
            let is_over = start.elapsed() >= lead.budget.now;
            has_yielded = lead.crowded != 0 || (is_over && !lead.budget.now.is_zero());
            if has_yielded {
                std::thread::yield_now();
            }
            if is_over {
                let has_frame = has_yielded && lead.consumer.has_frame(&words)?;
                lead.crowded = if has_frame { CROWDED } else { lead.crowded };
                return Ok(has_frame);
            }
        }
    }

    fn await_doorbell(&self) {
        if let Err(error) = os::wait([Interest::read(&self.doorbell)], None) {
            log::error!("waiting for the doorbell: {error}");
            os::exit_now(EXIT_TROUBLE);
        }
        os::take_signal(self.doorbell.as_fd());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    use wire::ring::Producers;

    use super::super::serve::Waker;
    use super::super::watchdog::{Times, Watchdog};
    use super::super::{Api, Reply, played};
    use super::*;

    #[test]
    fn budget_when_sleeps_are_short_then_grows_and_when_long_then_vanishes() {
        let mut budget = Budget { now: Duration::ZERO, ..Budget::new(2) };
        budget.slept(Duration::from_micros(50));
        assert_eq!(budget.now, SPIN_MIN);
        for _ in 0..10 {
            budget.slept(Duration::from_micros(50));
        }
        assert_eq!(budget.now, SPIN_MAX);
        for _ in 0..10 {
            budget.slept(Duration::from_secs(1));
        }
        assert_eq!(budget.now, Duration::ZERO);
    }

    /// Answers: a call that blocks after a while, or at once.
    #[derive(Default)]
    struct Echo {
        /// Answers of the standing call.
        stood: AtomicU32,
    }

    const PLAIN: u16 = 1;
    const BLOCKS: u16 = 2;
    const BLOCKS_SHORTLY: u16 = 3;
    const STANDS: u16 = 4;
    /// Does not block by what is said of it, and waits until the standing call has been answered [`ENOUGH`] times.
    const KEEPS_THE_LEAD: u16 = 5;
    const ENOUGH: u32 = 20;

    impl Api for Echo {
        fn call(&self, from: &FrameHeader, _: &[u8], _: &mut Reply<'_>) -> Result<(), Malformed> {
            match from.call {
                BLOCKS => std::thread::sleep(Duration::from_micros(200)),
                STANDS => drop(self.stood.fetch_add(1, Relaxed)),
                KEEPS_THE_LEAD => until("the standing call", || self.stood.load(Relaxed) >= ENOUGH),
                _ => {}
            }
            Ok(())
        }

        fn blocks(&self, call: u16) -> bool {
            !matches!(call, PLAIN | KEEPS_THE_LEAD)
        }

        fn stands(&self, call: u16) -> bool {
            call == STANDS
        }

        fn end(&self) {}
    }

    /// The guest's side of a ring whose threads run.
    struct Guest {
        ring: Arc<Ring>,
        producers: Producers,
        sequence: u32,
    }

    /// A ring whose threads do not run yet.
    fn ring() -> Arc<Ring> {
        let session = played::session();
        let watchdog = Watchdog::new(Times { call: None, compile: None });
        let server = Arc::new(Server::new(session, Arc::new(Echo::default()), Waker::Futex, Arc::new(watchdog)));
        Ring::new(server, os::eventfd().expect("eventfd"))
    }

    impl Guest {
        fn new() -> Guest {
            let ring = ring();
            let theirs = Arc::clone(&ring);
            std::thread::spawn(move || theirs.run());
            Guest { ring, producers: Producers::new(wire::window::RING_BYTES as u64), sequence: 0 }
        }

        /// Publishes a call that waits in slot 0.
        fn send(&mut self, call: u16) {
            self.send_in(call, 0);
        }

        fn send_in(&mut self, call: u16, slot: u16) {
            self.sequence += 1;
            let window = self.ring.server.session.window();
            let words = window.words();
            let range = self.producers.reserve(&words, 64).expect("room");
            let header = FrameHeader { call, slot, sequence: self.sequence, ..FrameHeader::default() };
            window.ring().write(range, header, |_| Ok(())).expect("fits");
            if self.producers.commit(&words, range) == wire::ring::Doorbell::Ring {
                os::signal(self.ring.doorbell.as_fd());
            }
        }

        fn await_reply(&self) {
            let slot = self.ring.server.session.window().slot(0);
            until("a reply", || wire::slot::is_ready(slot, self.sequence));
        }
    }

    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(5), "waited in vain for {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn stand_when_another_call_keeps_the_lead_then_is_answered_all_the_same() {
        let mut guest = Guest::new();
        let ring = Arc::clone(&guest.ring);
        let standing = ring.server.session.window().slot(1);
        guest.send_in(STANDS, 1);
        let first = guest.sequence;
        guest.send(KEEPS_THE_LEAD);
        for answer in first..first + ENOUGH {
            until("an answer", || wire::slot::is_ready(standing, answer));
            wire::slot::finish(standing, answer);
        }
        guest.await_reply();
        guest.send(BLOCKS);
        guest.await_reply();
    }

    #[test]
    fn stand_when_the_call_has_no_slot_then_is_malformed() {
        let ring = ring();
        let lead = ring.post.take().expect("the lead");
        let producers = Producers::new(wire::window::RING_BYTES as u64);
        let mut guest = Guest { ring: Arc::clone(&ring), producers, sequence: 0 };
        guest.send_in(STANDS, NO_SLOT);
        let malformed = ring.lead(lead, &mut Own { reply: reply_memory(), payload: Vec::new() });
        assert_eq!(malformed, Err(Malformed::new("a standing call without a slot")));
    }

    #[test]
    fn lead_when_the_doorbell_rings_while_it_is_laid_down_then_the_frame_is_taken() {
        let mut guest = Guest::new();
        let ring = Arc::clone(&guest.ring);
        guest.send(BLOCKS);
        guest.await_reply();
        for turn in 0..100u64 {
            // The ring sleeps; its next leader shall spin for a while.
            until("the sentry", || {
                let mut post = ring.post.lock();
                let sentry = post.sentry;
                post.lead.as_mut().filter(|_| sentry).is_some_and(|lead| {
                    lead.idle_since = None;
                    lead.budget.now = Duration::from_millis(3);
                    true
                })
            });
            // Whoever makes this call leads after it, while another thread is the sentry.
            guest.send(BLOCKS);
            guest.await_reply();
            until("a sentry beside the leader", || ring.post.lock().sentry);
            let post = ring.post.lock();
            let parked = &ring.server.session.window().header().host_parked;
            let start = Instant::now();
            while parked.load(Relaxed) == 0 && start.elapsed() < Duration::from_millis(8) {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_micros(100));
            guest.send(PLAIN);
            std::thread::sleep(Duration::from_micros(turn));
            drop(post);
            guest.await_reply();
        }
    }

    #[test]
    fn calls_when_both_sides_are_awake_then_cost_no_doorbell_no_park_and_no_interrupt() {
        let ring = ring();
        let mut lead = ring.post.take().expect("the lead");
        // However long this machine keeps the other side from its processor, the leader spins.
        lead.budget = Budget { now: Duration::from_secs(60), most: Duration::from_secs(60) };
        let theirs = Arc::clone(&ring);
        std::thread::spawn(move || theirs.serve(Some(lead)));
        let mut guest = Guest { ring, producers: Producers::new(RING_BYTES as u64), sequence: 0 };
        for _ in 0..50_000 {
            guest.send(PLAIN);
            guest.send_in(PLAIN, NO_SLOT);
            guest.send(PLAIN);
            guest.await_reply();
        }
        let counted = guest.ring.server.counters().all();
        let of = |name| counted.iter().find(|(known, _)| *known == name).expect("a counter").1;
        assert_eq!((of("waited"), of("posted")), (100_000, 50_000));
        assert_eq!((of("doorbells"), of("parks"), of("wakes")), (0, 0, 0), "{counted:?}");
    }

    #[test]
    fn threads_when_calls_that_may_sleep_come_in_a_burst_then_stay_few() {
        let mut guest = Guest::new();
        let before = Arc::strong_count(&guest.ring);
        for slot in 1..SLOT_COUNT {
            guest.send_in(BLOCKS_SHORTLY, slot as u16);
        }
        guest.send(BLOCKS_SHORTLY);
        guest.await_reply();
        let more = Arc::strong_count(&guest.ring) - before;
        assert!(more <= 4, "{more} more threads");
    }

    #[test]
    fn calls_when_more_sleep_than_there_are_slots_then_end_the_session_and_start_no_thread() {
        let ring = ring();
        for _ in 0..MAX_BLOCKING {
            let lead = ring.post.take().expect("the lead");
            let begun =
                ring.post.begin_call(lead, MAX_BLOCKING, |_, _| Ok::<_, Malformed>(Begun::Parked)).expect("parked");
            assert!(begun.is_some());
        }
        let before = Arc::strong_count(&ring);
        let lead = ring.post.take().expect("the lead");
        let mut memory = Own { reply: reply_memory(), payload: Vec::new() };
        let header = FrameHeader { call: BLOCKS, slot: wire::frame::NO_SLOT, ..FrameHeader::default() };
        assert!(ring.block(lead, &header, &mut memory).is_err(), "one call more than there are slots");
        assert_eq!(Arc::strong_count(&ring), before, "a thread has been started");
    }

    #[test]
    fn budget_when_there_is_one_core_then_stays_nothing() {
        let mut budget = Budget::new(1);
        budget.slept(Duration::from_micros(50));
        assert_eq!(budget.now, Duration::ZERO);
    }
}
