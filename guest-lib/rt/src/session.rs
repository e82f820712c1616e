//! A session: one guest process and its worker, and the two ways to call: [`Session::post`] and [`Session::wait`].

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use wire::Malformed;
use wire::frame::{FrameHeader, NO_SLOT};
use wire::payload::{Full, Reader, Writer};
use wire::ring::{Doorbell, Producers, Reservation, span_for};
use wire::slot::{FreeSlots, MAX_REPLY_BYTES, finish};
use wire::window::{HEAD_EPOCH_OFFSET, RING_BYTES, SLOT_COUNT, STATE_DEAD, STATE_NEW, STATE_OFFSET, STATE_READY};

use crate::carrier::{Carrier, Link, OpenError, Slept};
use crate::local::LocalLink;
use crate::parts::Chunks;
use crate::virtio::VirtioLink;
use crate::waiting::Patience;
use crate::window::Window;

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
    pub(crate) patience: Patience,
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
    /// In the child of a fork, whose parent's session this is: closes what would keep the session open longer than its parent
    /// lives. It is never used or dropped after this.
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
        let patience = Patience::new(matches!(link, Link::Local(_)));
        let session = Session {
            chunks: Chunks::new(window.staging_bytes()),
            window,
            link,
            producers: Producers::new(RING_BYTES as u64),
            free_slots: FreeSlots::new(),
            sequences: [const { AtomicU32::new(0) }; SLOT_COUNT],
            patience,
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
        let taken = self.take_reply(slot.index, sequence, take)?;
        drop(slot);
        if self.has_printed()
            && let Some(show) = self.show.get()
        {
            show();
        }
        Ok(taken)
    }

    /// Makes a call without a payload that stands (`wire.md`), and gives each of its answers to `each`, until that returns false.
    /// `asked` is called when the call is published.
    ///
    /// # Errors
    /// [`Gone`]; a reply that `each` cannot read ends the session.
    pub fn stand(
        &self,
        call: u16,
        from: Origin,
        asked: impl FnOnce(),
        mut each: impl FnMut(i32, &mut Reader<'_>) -> Result<bool, Malformed>,
    ) -> Result<(), Gone> {
        self.counters.waited.fetch_add(1, Ordering::Relaxed);
        // Never given back: the worker may answer as long as the session lasts.
        let slot = std::mem::ManuallyDrop::new(Slot::take(self)?);
        LAST_SLOT.set(usize::MAX);
        let mut sequence = self.sequences[slot.index].fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.publish(FrameHeader { call, slot: slot.index as u16, sequence, ..header(from) }, 0, |_| Ok(()))?;
        asked();
        while self.take_reply(slot.index, sequence, &mut each)? {
            finish(self.window.slot(slot.index), sequence);
            sequence = sequence.wrapping_add(1);
        }
        Ok(())
    }

    /// Waits for a reply and reads it: `take` gets the status and the payload, from private memory.
    fn take_reply<T>(
        &self,
        index: usize,
        sequence: u32,
        take: impl FnOnce(i32, &mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, Gone> {
        self.await_reply(index, sequence)?;
        let head = self.window.slot(index);
        let status = head.status.load(Ordering::Relaxed) as i32;
        let bytes = (head.bytes.load(Ordering::Relaxed) as usize).min(MAX_REPLY_BYTES);
        let mut reply = [std::mem::MaybeUninit::<u8>::uninit(); MAX_REPLY_BYTES];
        // SAFETY: `bytes` is at most the size of both the slot's payload and the buffer; the worker wrote it before it stored
        // `ready` and does not write again before the guest is done with it. What it may write all the same is never a reference.
        let reply = unsafe {
            std::ptr::copy_nonoverlapping(self.window.slot_payload(index), reply.as_mut_ptr().cast(), bytes);
            std::slice::from_raw_parts(reply.as_ptr().cast::<u8>(), bytes)
        };
        take(status, &mut Reader::new(reply)).map_err(|_| self.die())
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
        self.patience.spin_shortly();
        if let Some(epoch) = self.producers.park_full(&words, span) {
            self.sleep(words.head_epoch, HEAD_EPOCH_OFFSET, epoch)?;
        }
        Ok(())
    }

    pub(crate) fn sleep(&self, word: &AtomicU32, offset: usize, value: u32) -> Result<(), Gone> {
        if self.is_dead() {
            return Err(self.die());
        }
        self.counters.sleeps.fetch_add(1, Ordering::Relaxed);
        match self.link.sleep(word, offset, value) {
            Slept::Look => Ok(()),
            Slept::Dead => Err(self.die()),
        }
    }
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
