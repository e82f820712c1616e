//! A session: one guest process and its worker, and the two ways to call: [`Session::post`] and [`Session::wait`].

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wire::Malformed;
use wire::frame::{FrameHeader, NO_SLOT};
use wire::payload::{Full, Reader, Writer};
use wire::ring::{Doorbell, Producers, Reservation, span_for};
use wire::slot::{FreeSlots, MAX_REPLY_BYTES, SlotHead, is_ready, park, unpark};
use wire::window::{
    HEAD_EPOCH_OFFSET, RING_BYTES, SLOT_COUNT, STATE_DEAD, STATE_NEW, STATE_OFFSET, STATE_READY, slot_offset,
};

use crate::carrier::{Carrier, Link, OpenError, Slept};
use crate::lend::Chunks;
use crate::local::LocalLink;
use crate::virtio::VirtioLink;
use crate::window::Window;

/// Time that every waiting thread gives the worker before it sleeps: what a sleep and a wake-up cost at least.
const SPIN_MIN: Duration = Duration::from_micros(20);
/// Time at most, where replies have been coming within the spin.
const SPIN_MAX: Duration = Duration::from_micros(100);

/// Calls for which a thread lets others run while it waits, after that has brought a reply.
const CROWDED: u32 = 64;

/// Looks after the spin, each of about [`LOOK`], before a thread sleeps: what is worth it at most, and the first step above nothing.
/// Waking costs as much as tens of microseconds here, and a driver in the program's own process spins without end.
const LOOKS_MAX: u32 = 256;
const LOOKS_MIN: u32 = 16;
/// Of the local carrier, where waits have been long: the worker may wait for this processor.
const LOOKS_LOCAL: u32 = 4;
/// Time between two looks, in which other threads may run.
const LOOK: Duration = Duration::from_micros(10);

/// The session is dead: its worker, the front or the device is gone. Every later call fails the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Thread-local state of the API that travels with each call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Number of the calling thread.
    pub thread: u32,
    /// Index of the current context's handle plus 1; 0 for none.
    pub context: u32,
    /// Generation of that handle.
    pub context_generation: u16,
    /// Stream-capture mode of the thread.
    pub capture_mode: u8,
}

/// Counts since the session opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Posted calls.
    pub posted: AtomicU64,
    /// Waited calls.
    pub waited: AtomicU64,
    /// Doorbells rung.
    pub doorbells: AtomicU64,
    /// Sleeps of guest threads.
    pub sleeps: AtomicU64,
    /// Bytes of bulk data from the guest.
    pub bytes_out: AtomicU64,
    /// Bytes of bulk data to the guest.
    pub bytes_in: AtomicU64,
}

/// An open session.
#[derive(Debug)]
pub struct Session {
    pub(crate) window: Window,
    pub(crate) link: Link,
    producers: Producers,
    free_slots: FreeSlots,
    sequences: [AtomicU32; SLOT_COUNT],
    /// Turns of the spin loop in [`SPIN_MIN`] on this machine, and those that are worth it at present.
    spin_min: u32,
    spin: AtomicU32,
    /// Looks after the spin that are worth it at present, and at most; see [`patience`].
    looks: AtomicU32,
    most_looks: AtomicU32,
    /// Not 0 where the worker seems to wait for this processor: calls for which to let it run meanwhile. Over the local carrier
    /// alone; the worker of a guest runs on no processor that the guest's kernel knows.
    crowded: AtomicU32,
    dead: AtomicU32,
    /// Bytes of those that kernels printed that the program has.
    shown: AtomicU64,
    show: OnceLock<fn()>,
    pub(crate) chunks: Chunks,
    /// What the statistics show.
    pub counters: Counters,
}

thread_local! {
    /// The slot that this thread used last: its line is warm.
    static LAST_SLOT: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Session {
    /// In the child of a fork, whose parent's session this is: closes what would keep the session open longer than its parent lives. It is
    /// never used or dropped after this.
    pub fn leave_to_parent(&self) {
        self.link.leave_to_parent();
    }

    /// Opens a session over a carrier: returns when the worker serves it.
    ///
    /// # Errors
    /// [`OpenError`], with what to do.
    pub fn open(carrier: &Carrier) -> Result<Session, OpenError> {
        let (link, window) = match carrier {
            Carrier::Virtio(path) => VirtioLink::open(path).map(|(link, window)| (Link::Virtio(link), window))?,
            Carrier::Local(path) => LocalLink::open(path).map(|(link, window)| (Link::Local(link), window))?,
        };
        let spin_min = spin_turns(SPIN_MIN);
        let session = Session {
            chunks: Chunks::new(window.staging_bytes()),
            window,
            link,
            producers: Producers::new(RING_BYTES as u64),
            free_slots: FreeSlots::new(),
            sequences: [const { AtomicU32::new(0) }; SLOT_COUNT],
            spin_min,
            spin: AtomicU32::new(spin_min),
            looks: AtomicU32::new(0),
            most_looks: AtomicU32::new(LOOKS_MAX),
            crowded: AtomicU32::new(0),
            dead: AtomicU32::new(0),
            shown: AtomicU64::new(0),
            show: OnceLock::new(),
            counters: Counters::default(),
        };
        session.await_worker()?;
        Ok(session)
    }

    fn await_worker(&self) -> Result<(), OpenError> {
        let header = self.window.header();
        loop {
            match header.state.load(Ordering::Acquire) {
                STATE_NEW => {
                    if self.link.sleep(&header.state, STATE_OFFSET, STATE_NEW) == Slept::Dead {
                        break;
                    }
                }
                STATE_READY => {
                    let theirs = header.wire_version.load(Ordering::Relaxed);
                    if theirs == wire::WIRE_VERSION {
                        return Ok(());
                    }
                    return Err(OpenError::Version(format!(
                        "the worker speaks wire version {theirs}, this library {}; install the same release on both sides",
                        wire::WIRE_VERSION
                    )));
                }
                _ => break,
            }
        }
        Err(OpenError::Refused("the worker ended before it served the session; see gpuferryd's log".into()))
    }

    /// The status that every call returns from now on, 0 for none.
    #[inline]
    pub fn sticky(&self) -> i32 {
        self.window.header().sticky.load(Ordering::Relaxed) as i32
    }

    /// Takes the first status of a posted call that failed since the last time, 0 for none.
    #[inline]
    pub fn take_deferred(&self) -> i32 {
        let deferred = &self.window.header().deferred;
        if deferred.load(Ordering::Relaxed) == 0 { 0 } else { deferred.swap(0, Ordering::AcqRel) as i32 }
    }

    /// Bytes that kernels have printed since the session began.
    #[inline]
    pub fn printed(&self) -> u64 {
        self.window.header().printed.load(Ordering::Relaxed)
    }

    /// Has `show` called after each call that waited, where [`Session::printed`] is more than [`Session::set_shown`] said.
    pub fn on_printed(&self, show: fn()) {
        // Set before: by whoever opened the session, with the same function.
        let _ = self.show.set(show);
    }

    /// What [`Session::set_shown`] said last.
    pub fn shown(&self) -> u64 {
        self.shown.load(Ordering::Acquire)
    }

    /// So many of the printed bytes are shown.
    pub fn set_shown(&self, bytes: u64) {
        self.shown.store(bytes, Ordering::Release);
    }

    /// Whether more was printed than is shown.
    #[inline]
    pub fn has_printed(&self) -> bool {
        self.printed() > self.shown.load(Ordering::Acquire)
    }

    /// What the worker says it has done, by name: for statistics.
    pub fn host_counts(&self) -> [(&'static str, u64); 8] {
        self.window.header().counters.all()
    }

    /// Whether a posted call has failed since the last time somebody asked for it.
    #[inline]
    pub fn has_deferred(&self) -> bool {
        self.window.header().deferred.load(Ordering::Relaxed) != 0
    }

    /// Bytes of frames that were ever begun to be published: while this stays as it is, nothing leaves the process.
    #[inline]
    pub fn published(&self) -> u64 {
        self.producers.position()
    }

    /// Whether the session is dead.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed) != 0 || self.window.header().state.load(Ordering::Acquire) == STATE_DEAD
    }

    /// Forgets that the session has died, for the fuzz targets: nothing of an earlier call is left in it.
    #[cfg(fuzzing)]
    pub fn revive(&self) {
        self.dead.store(0, Ordering::Relaxed);
        (0..SLOT_COUNT).for_each(|index| self.free_slots.give(index));
    }

    fn die(&self) -> Gone {
        self.dead.store(1, Ordering::Relaxed);
        Gone
    }

    /// Posts a call: returns when the frame is published. `bytes` is an upper bound of the payload.
    ///
    /// # Errors
    /// [`Gone`]. A payload that does not fit its bound is a fault of the caller's and is treated as the death of the session.
    pub fn post(
        &self,
        call: u16,
        from: Origin,
        bytes: usize,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<(), Gone> {
        self.counters.posted.fetch_add(1, Ordering::Relaxed);
        self.publish(FrameHeader { call, slot: NO_SLOT, ..header(from) }, bytes, fill)
    }

    /// Makes a call and waits for its reply: `take` reads the status and the payload, from private memory.
    ///
    /// # Errors
    /// [`Gone`]; a reply that `take` cannot read ends the session.
    pub fn wait<T>(
        &self,
        call: u16,
        from: Origin,
        bytes: usize,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
        take: impl FnOnce(i32, &mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, Gone> {
        self.counters.waited.fetch_add(1, Ordering::Relaxed);
        let slot = Slot::take(self)?;
        let sequence = self.sequences[slot.index].fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.publish(FrameHeader { call, slot: slot.index as u16, sequence, ..header(from) }, bytes, fill)?;
        self.await_reply(slot.index, sequence)?;
        let head = self.window.slot(slot.index);
        let status = head.status.load(Ordering::Relaxed) as i32;
        let bytes = (head.bytes.load(Ordering::Relaxed) as usize).min(MAX_REPLY_BYTES);
        let mut reply = [std::mem::MaybeUninit::<u8>::uninit(); MAX_REPLY_BYTES];
        // SAFETY: `bytes` is at most the size of both the slot's payload and the buffer; the worker wrote it before it stored
        // `ready` and does not write again before the slot's next call. What it may write all the same is never a reference.
        let reply = unsafe {
            std::ptr::copy_nonoverlapping(self.window.slot_payload(slot.index), reply.as_mut_ptr().cast(), bytes);
            std::slice::from_raw_parts(reply.as_ptr().cast::<u8>(), bytes)
        };
        let mut reader = Reader::new(reply);
        let taken = take(status, &mut reader).map_err(|_| self.die())?;
        drop(slot);
        if self.has_printed()
            && let Some(show) = self.show.get()
        {
            show();
        }
        Ok(taken)
    }

    fn publish(
        &self,
        header: FrameHeader,
        bytes: usize,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<(), Gone> {
        let words = self.window.words();
        let Some(span) = span_for(bytes) else { return Err(self.die()) };
        if self.dead.load(Ordering::Relaxed) != 0 {
            return Err(Gone);
        }
        let range = loop {
            match self.producers.reserve(&words, span) {
                Some(range) => break range,
                None => self.await_room(span)?,
            }
        };
        let commit = Commit { session: self, range };
        let written = self.window.ring().write(range, header, fill);
        drop(commit);
        written.map_err(|_| self.die())
    }

    /// Sleeps until the ring may have room.
    #[cold]
    fn await_room(&self, span: u64) -> Result<(), Gone> {
        let words = self.window.words();
        for _ in 0..self.spin_min {
            std::hint::spin_loop();
        }
        if let Some(epoch) = self.producers.park_full(&words, span) {
            self.sleep(words.head_epoch, HEAD_EPOCH_OFFSET, epoch)?;
        }
        Ok(())
    }

    fn sleep(&self, word: &AtomicU32, offset: usize, value: u32) -> Result<(), Gone> {
        if self.is_dead() {
            return Err(self.die());
        }
        self.counters.sleeps.fetch_add(1, Ordering::Relaxed);
        match self.link.sleep(word, offset, value) {
            Slept::Look => Ok(()),
            Slept::Dead => Err(self.die()),
        }
    }

    fn await_reply(&self, index: usize, sequence: u32) -> Result<(), Gone> {
        let slot = self.window.slot(index);
        let spin = self.spin.load(Ordering::Relaxed);
        let crowded = self.crowded.load(Ordering::Relaxed);
        // About a microsecond.
        let step = if crowded == 0 { u32::MAX } else { (self.spin_min / SPIN_MIN.as_micros() as u32).max(1) };
        let mut has_yielded = false;
        for turn in 1..=spin {
            if is_ready(slot, sequence) {
                if crowded != 0 {
                    self.crowded.store(if has_yielded { CROWDED } else { crowded - 1 }, Ordering::Relaxed);
                }
                // Replies come within the spin: be ready to wait a little longer next time.
                let most = self.spin_min.saturating_mul((SPIN_MAX.as_micros() / SPIN_MIN.as_micros()) as u32);
                if spin < most {
                    self.spin.store((spin + spin / 8).min(most), Ordering::Relaxed);
                }
                return Ok(());
            }
            has_yielded = turn.is_multiple_of(step);
            if has_yielded {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
        self.spin.store((spin - spin / 4).max(self.spin_min), Ordering::Relaxed);
        self.ring_overdue();
        if self.look(slot, sequence) {
            return Ok(());
        }
        let begin = Instant::now();
        while let Some(value) = park(slot, sequence) {
            if let Err(gone) = self.sleep(&slot.ready, slot_offset(index), value) {
                unpark(slot);
                return Err(gone);
            }
        }
        unpark(slot);
        let most = self.most_looks.load(Ordering::Relaxed);
        self.looks.store(patience(self.looks.load(Ordering::Relaxed), begin.elapsed()).min(most), Ordering::Relaxed);
        Ok(())
    }

    /// From now on threads sleep after the spin, however long replies take: the program has asked that its waits cost no processor.
    pub fn sleep_early(&self) {
        self.most_looks.store(0, Ordering::Relaxed);
        self.looks.store(0, Ordering::Relaxed);
    }

    /// The reply is late. The worker may have begun the call without announcing that it sleeps: where nobody would be told of frames,
    /// the doorbell is rung (`wire.md`).
    #[cold]
    fn ring_overdue(&self) {
        if self.window.header().host_parked.load(Ordering::Relaxed) == 0 {
            self.counters.doorbells.fetch_add(1, Ordering::Relaxed);
            self.link.ring();
        }
    }

    /// Looks for a reply that did not come within the spin, and lets other threads run in between. Whether it came.
    #[cold]
    fn look(&self, slot: &SlotHead, sequence: u32) -> bool {
        let is_local = matches!(self.link, Link::Local(_));
        let looks = self.looks.load(Ordering::Relaxed).max(if is_local { LOOKS_LOCAL } else { 0 });
        let turns = self.spin_min / (SPIN_MIN.as_micros() / LOOK.as_micros()) as u32;
        for number in 0..looks {
            std::thread::yield_now();
            if is_ready(slot, sequence) {
                if is_local && number < LOOKS_LOCAL {
                    self.crowded.store(CROWDED, Ordering::Relaxed);
                }
                return true;
            }
            for _ in 0..turns {
                if is_ready(slot, sequence) {
                    return true;
                }
                std::hint::spin_loop();
            }
        }
        false
    }
}

/// Looks that are worth it after a sleep of `slept` that came after `looks`: twice as many where so many would have spared it, else half.
fn patience(looks: u32, slept: Duration) -> u32 {
    if slept <= LOOK * LOOKS_MAX {
        (looks * 2).clamp(LOOKS_MIN, LOOKS_MAX)
    } else if looks <= LOOKS_MIN {
        0
    } else {
        looks / 2
    }
}

/// Turns of the spin loop that take about `time` on this machine, of which one turn is very different from another's. Reading the
/// clock may take longer than the turns: where a guest's kernel has no other, it is a system call.
fn spin_turns(time: Duration) -> u32 {
    const PROBE: u32 = 256;
    // What a fuzz target's front has not answered it never will.
    if cfg!(fuzzing) {
        return 1;
    }
    let start = Instant::now();
    let read = start.elapsed();
    for _ in 0..PROBE {
        std::hint::spin_loop();
    }
    let nanos = start.elapsed().saturating_sub(2 * read).as_nanos().max(1);
    u32::try_from(time.as_nanos() * u128::from(PROBE) / nanos).unwrap_or(u32::MAX).clamp(64, 1 << 16)
}

fn header(from: Origin) -> FrameHeader {
    FrameHeader {
        thread: from.thread,
        context: from.context,
        context_generation: from.context_generation,
        capture_mode: from.capture_mode,
        ..FrameHeader::default()
    }
}

/// Commits a reservation on drop, also where the encoding unwinds: an uncommitted range would stop the ring for ever.
struct Commit<'a> {
    session: &'a Session,
    range: Reservation,
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        let session = self.session;
        if session.producers.commit(&session.window.words(), self.range) == Doorbell::Ring {
            session.counters.doorbells.fetch_add(1, Ordering::Relaxed);
            session.link.ring();
        }
    }
}

/// A taken slot, given back on drop; kept for ever where the call died, since the worker may still write to it.
struct Slot<'a> {
    session: &'a Session,
    index: usize,
}

impl<'a> Slot<'a> {
    fn take(session: &'a Session) -> Result<Slot<'a>, Gone> {
        let preferred = LAST_SLOT.get();
        let preferred = if preferred == usize::MAX { thread_hint() } else { preferred };
        loop {
            if let Some(index) = session.free_slots.take(preferred) {
                LAST_SLOT.set(index);
                return Ok(Slot { session, index });
            }
            // More threads wait than there are slots: rare enough for a short sleep.
            if session.is_dead() {
                return Err(session.die());
            }
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.session.dead.load(Ordering::Relaxed) == 0 {
            self.session.free_slots.give(self.index);
        }
    }
}

/// Spreads threads over the slots at first.
fn thread_hint() -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) as usize % SLOT_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_when_sleeps_are_short_then_grows_and_when_long_then_vanishes() {
        let after = |looks, slept| (0..10).fold(looks, |looks, _| patience(looks, slept));
        assert_eq!(patience(0, Duration::from_micros(600)), LOOKS_MIN);
        assert_eq!(after(0, Duration::from_micros(600)), LOOKS_MAX);
        assert_eq!(after(LOOKS_MAX, Duration::from_millis(20)), 0);
    }
}
