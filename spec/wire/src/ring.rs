//! The command ring: many threads of a guest process publish frames, one worker takes them, in one order.
//!
//! **Order.** A producer reserves a range by moving a private counter, encodes into it with no lock held, marks the range
//! committed, and then moves the shared `tail` over every committed range from the old tail on, its own or another's.
//! So the worker sees frames in the order of reservation, and what a thread reserved before it signalled another is seen first.
//! A producer never waits for another: one that was stopped while it encodes holds back what was reserved after it, which is
//! what the order demands, and whoever commits last moves the tail for all.
//!
//! **Why no commit is lost.** A producer stores its mark, then a full fence, then looks from the tail on. Of two producers
//! whose fences are ordered one after the other, the second sees the first's mark; so of two adjacent ranges, whoever's fence is
//! second moves the tail over both, unless the other already did.
//!
//! **Why no wake-up is lost.** The worker stores `host_parked`, full fence, loads `tail`; a producer moves `tail`, full fence,
//! loads `host_parked`. At least one sees the other. Of the producers that see it set one takes it back and rings: a worker that
//! is on its way up is not rung for by every frame. The same with `guest_parked` and `head` for a full ring, where the worker
//! looks at the flag after a full fence at the latest before it parks, which comes as soon as the ring is empty.
//!
//! **How rarely lines travel.** Between two processors a line of shared memory costs more than the rest of a call. The worker
//! loads `tail` only when it has taken all that it knew of, and stores `head` only for each quarter of the ring, before it parks,
//! and where a producer sleeps for room. A producer that finds the ring full therefore finds, when it is woken, a quarter free.
//!
//! The protocol is model-checked (`tests/model.rs`, `RUSTFLAGS="--cfg loom"`).
//! Both sides treat the other's words as hostile: positions only ever become offsets after a mask, and the worker checks
//! `tail` and each header after one read into private memory.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

use crate::Malformed;
use crate::frame::{CALL_PAD, FRAME_HEADER_BYTES, FrameHeader, GRANULE, MAX_FRAME_BYTES};
use crate::payload::{Full, Writer};
#[cfg(not(loom))]
use crate::window::Header;
use crate::window::RING_BYTES;

/// Lines of the next frame that are fetched ahead: a launch with a few parameters has two or three.
const PREFETCHED_LINES: u64 = 3;

/// The shared words of a ring, wherever they lie.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// See [`Header::tail`].
    pub tail: &'a AtomicU64,
    /// See [`Header::head`].
    pub head: &'a AtomicU64,
    /// See [`Header::host_parked`].
    pub host_parked: &'a AtomicU32,
    /// See [`Header::guest_parked`].
    pub guest_parked: &'a AtomicU32,
    /// See [`Header::head_epoch`].
    pub head_epoch: &'a AtomicU32,
    /// Bytes of the ring, a power of two.
    pub capacity: u64,
}

#[cfg(not(loom))]
impl<'a> Words<'a> {
    /// The words of a window's header.
    #[must_use]
    pub fn of(header: &'a Header) -> Words<'a> {
        Words {
            tail: &header.tail,
            head: &header.head,
            host_parked: &header.host_parked,
            guest_parked: &header.guest_parked,
            head_epoch: &header.head_epoch,
            capacity: RING_BYTES as u64,
        }
    }
}

/// A reserved range: positions count bytes ever reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Where the range begins: a padding frame of `pad` bytes, where `pad` is not 0.
    pub start: u64,
    /// Bytes to the ring's end that the frame would not fit into.
    pub pad: u64,
    /// Bytes for the frame itself.
    pub span: u64,
}

impl Reservation {
    /// Where the range ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.pad + self.span
    }
}

/// What a producer keeps in the memory of its own process.
#[derive(Debug)]
pub struct Producers {
    reserved: AtomicU64,
    /// By granule of the ring: the end of the committed range that begins there. Positions only grow, so an entry of an
    /// earlier lap is never above the tail.
    committed: Box<[AtomicU64]>,
}

/// What publishing asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// The worker is awake.
    Quiet,
    /// The worker sleeps: ring it.
    Ring,
}

impl Producers {
    /// For an empty ring of `capacity` bytes.
    #[must_use]
    pub fn new(capacity: u64) -> Producers {
        let granules = usize::try_from(capacity).unwrap_or(0) / GRANULE;
        Producers { reserved: AtomicU64::new(0), committed: (0..granules).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Bytes ever reserved.
    #[inline]
    #[must_use]
    pub fn position(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    fn mark(&self, words: &Words<'_>, position: u64) -> &AtomicU64 {
        let index = (position & (words.capacity - 1)) as usize / GRANULE;
        &self.committed[index]
    }

    /// Reserves `span` bytes, a multiple of [`GRANULE`]; `None` where the ring is too full now.
    pub fn reserve(&self, words: &Words<'_>, span: u64) -> Option<Reservation> {
        let mut start = self.reserved.load(Ordering::Relaxed);
        loop {
            let room = words.capacity - (start & (words.capacity - 1));
            let pad = if span > room { room } else { 0 };
            let end = start + pad + span;
            // Acquire: pairs with the worker's release of `head`; the bytes below it are not read any more.
            let head = words.head.load(Ordering::Acquire);
            if end.wrapping_sub(head) > words.capacity {
                return None;
            }
            match self.reserved.compare_exchange_weak(start, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Reservation { start, pad, span }),
                Err(now) => start = now,
            }
        }
    }

    /// Commits a range whose bytes are written, and moves the tail as far as ranges are committed.
    pub fn commit(&self, words: &Words<'_>, range: Reservation) -> Doorbell {
        // Release: pairs with the acquire below, in whichever thread moves the tail over this range.
        self.mark(words, range.start).store(range.end(), Ordering::Release);
        // Full fence: pairs with the same fence of a producer of an adjacent range (module head).
        fence(Ordering::SeqCst);
        let mut moved = false;
        let mut tail = words.tail.load(Ordering::Relaxed);
        loop {
            let end = self.mark(words, tail).load(Ordering::Acquire);
            if end <= tail || end - tail > words.capacity {
                break;
            }
            // Release: pairs with the worker's acquire of `tail`.
            match words.tail.compare_exchange(tail, end, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    moved = true;
                    tail = end;
                }
                Err(now) => tail = now,
            }
        }
        if !moved {
            return Doorbell::Quiet;
        }
        // Full fence: pairs with the worker's between its store of `host_parked` and its load of `tail`.
        fence(Ordering::SeqCst);
        // One that is set is taken back by one producer: the doorbell that it rings is for all that is published by then.
        let is_parked = words.host_parked.load(Ordering::Relaxed) != 0;
        // AcqRel: pairs with the swap in `Taker::park`; who sees either of the two sees all that came before it.
        if is_parked && words.host_parked.swap(0, Ordering::AcqRel) != 0 { Doorbell::Ring } else { Doorbell::Quiet }
    }

    /// Announces that a guest thread is about to sleep because the ring is full. Returns the epoch to sleep on, or `None`
    /// where there is room for `span` bytes by now.
    pub fn park_full(&self, words: &Words<'_>, span: u64) -> Option<u32> {
        let epoch = words.head_epoch.load(Ordering::Acquire);
        words.guest_parked.store(1, Ordering::Relaxed);
        // Full fence: pairs with the worker's in `Taker::release_sleepers`.
        fence(Ordering::SeqCst);
        let start = self.reserved.load(Ordering::Relaxed);
        let room = words.capacity - (start & (words.capacity - 1));
        let pad = if span > room { room } else { 0 };
        let head = words.head.load(Ordering::Acquire);
        ((start + pad + span).wrapping_sub(head) > words.capacity).then_some(epoch)
    }
}

/// The worker's side of the words: positions and parking, without the bytes.
#[derive(Debug)]
pub struct Taker {
    head: u64,
    /// What `head` in the window says: at most a quarter of the ring behind.
    told: u64,
    /// `tail` as it was last loaded and checked.
    tail: u64,
    /// What `tail` was when parking failed or the doorbell was heard for the last time.
    heard: u64,
}

impl Default for Taker {
    fn default() -> Taker {
        Taker::new()
    }
}

impl Taker {
    /// At the start of an empty ring.
    #[must_use]
    pub fn new() -> Taker {
        Taker { head: 0, told: 0, tail: 0, heard: 0 }
    }

    /// Position of the next frame.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.head
    }

    /// Published bytes not taken yet that are known of; looks for more where there are none.
    /// # Errors
    /// [`Malformed`] where the guest's `tail` is not a possible one.
    pub fn available(&mut self, words: &Words<'_>) -> Result<u64, Malformed> {
        if self.tail == self.head {
            self.look(words)?;
        }
        Ok(self.known())
    }

    /// Published bytes not taken yet that are known of.
    #[must_use]
    pub fn known(&self) -> u64 {
        self.tail.wrapping_sub(self.head)
    }

    fn look(&mut self, words: &Words<'_>) -> Result<(), Malformed> {
        // Acquire: pairs with the release of `tail` in `Producers::commit`.
        let tail = words.tail.load(Ordering::Acquire);
        if tail.wrapping_sub(self.head) > words.capacity || !tail.is_multiple_of(GRANULE as u64) {
            return Err(Malformed::new("tail of the ring is impossible"));
        }
        self.tail = tail;
        Ok(())
    }

    /// Gives `span` bytes, which are known of, back to the producers. Returns whether a guest thread sleeps for room and must be
    /// woken.
    pub fn advance(&mut self, words: &Words<'_>, span: u64) -> bool {
        self.head = self.head.wrapping_add(span);
        if self.head.wrapping_sub(self.told) < words.capacity / 4 {
            return false;
        }
        self.tell(words);
        // Without a fence this may miss a sleeper; `release_sleepers` before parking does not.
        words.guest_parked.load(Ordering::Relaxed) != 0 && self.release_sleepers(words)
    }

    fn tell(&mut self, words: &Words<'_>) {
        if self.told != self.head {
            self.told = self.head;
            // Release: pairs with the acquire of `head` in `Producers::reserve`; our copy of the bytes is done.
            words.head.store(self.head, Ordering::Release);
        }
    }

    /// Looks whether a guest thread sleeps for room. Where it returns true the caller wakes `head_epoch`.
    pub fn release_sleepers(&mut self, words: &Words<'_>) -> bool {
        self.tell(words);
        // Full fence: pairs with the one in `Producers::park_full`.
        fence(Ordering::SeqCst);
        if words.guest_parked.swap(0, Ordering::AcqRel) == 0 {
            return false;
        }
        words.head_epoch.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Announces that the worker is about to sleep. Returns true where it may; false where there is a frame by now.
    /// # Errors
    /// [`Malformed`] as [`Taker::available`].
    pub fn park(&mut self, words: &Words<'_>) -> Result<bool, Malformed> {
        self.tell(words);
        // AcqRel: pairs with the swap in `Producers::commit`.
        words.host_parked.swap(1, Ordering::AcqRel);
        // Full fence: pairs with the second one in `Producers::commit`.
        fence(Ordering::SeqCst);
        self.look(words)?;
        if self.known() != 0 {
            self.heard = self.tail;
            self.unpark(words);
            return Ok(false);
        }
        Ok(true)
    }

    /// The doorbell was heard: whatever it was rung for is in the ring.
    /// # Errors
    /// [`Malformed`] as [`Taker::available`].
    pub fn hear(&mut self, words: &Words<'_>) -> Result<(), Malformed> {
        self.unpark(words);
        self.look(words)?;
        self.heard = self.tail;
        Ok(())
    }

    /// Whether the thread that waits for the frame taken last may have rung before now, or seen the worker parked in an
    /// attempt that failed, and so rings no more.
    #[must_use]
    pub fn may_have_rung(&self) -> bool {
        self.head <= self.heard
    }

    /// Announces that the worker is awake.
    pub fn unpark(&self, words: &Words<'_>) {
        words.host_parked.store(0, Ordering::Relaxed);
    }
}

/// The bytes of a ring, mapped by both sides. Reads and writes are relaxed and by words: the other side may write at any time.
#[derive(Clone, Copy, Debug)]
pub struct RingMemory {
    base: *mut u8,
}

// SAFETY: the memory is shared between processes anyway; every access is volatile, and which thread may write which bytes is
// decided by reservations.
unsafe impl Send for RingMemory {}
// SAFETY: as above.
unsafe impl Sync for RingMemory {}

impl RingMemory {
    /// Over [`RING_BYTES`] bytes at `base`.
    ///
    /// # Safety
    /// `base` must be aligned to [`GRANULE`] and valid for reads and writes of [`RING_BYTES`] bytes for as long as the value or
    /// a copy of it is used.
    #[must_use]
    pub unsafe fn new(base: *mut u8) -> RingMemory {
        RingMemory { base }
    }

    fn at(&self, position: u64) -> *mut u8 {
        let offset = position as usize & (RING_BYTES - 1);
        // SAFETY: the offset is below `RING_BYTES`, the size of the memory that `new` promised.
        unsafe { self.base.add(offset) }
    }

    /// Copies whole lines from `position`, where one begins, into private memory. The range must not cross the ring's end.
    #[inline(always)]
    fn copy_lines(&self, position: u64, out: &mut [u8]) {
        let offset = position as usize & (RING_BYTES - 1);
        assert!(out.len() <= RING_BYTES - offset && offset.is_multiple_of(GRANULE));
        let mut at = self.at(position).cast::<u64>();
        // By lines of a fixed length, so that the words of one need no loop.
        for line in out.as_chunks_mut::<GRANULE>().0 {
            for word in line.as_chunks_mut::<8>().0 {
                // SAFETY: within the ring by the assertion, aligned to 8; volatile because the other side may write.
                *word = unsafe { at.read_volatile() }.to_ne_bytes();
                at = at.wrapping_add(1);
            }
        }
    }

    /// Has the processor fetch the lines of the frame at `position`, while something else is done.
    #[inline]
    fn prefetch(&self, position: u64) {
        for line in 0..PREFETCHED_LINES {
            let _at = self.at(position + line * 64);
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a hint that reads nothing; the address is within the ring.
            unsafe {
                core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(_at.cast());
            }
        }
    }

    fn write_header(&self, position: u64, header: FrameHeader) {
        let bytes = header.to_bytes();
        // SAFETY: a frame begins on a granule of the ring, so 32 bytes from there are within it, and the caller holds the
        // reservation of that range.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(position), FRAME_HEADER_BYTES) };
    }

    fn write_pad(&self, position: u64, bytes: u64) {
        if bytes != 0 {
            let header = FrameHeader { bytes: bytes as u32, call: CALL_PAD, slot: u16::MAX, ..FrameHeader::default() };
            self.write_header(position, header);
        }
    }

    /// Encodes a frame into its reservation: `header.bytes` is filled in here, what the payload did not use becomes padding,
    /// and where `fill` fails all of it does.
    ///
    /// # Errors
    /// [`Full`] where `fill` says so. The range must be committed in either case.
    pub fn write(
        &self,
        range: Reservation,
        header: FrameHeader,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        self.write_pad(range.start, range.pad);
        let start = range.start + range.pad;
        // Until the frame is whole the range is padding, also if `fill` unwinds.
        self.write_pad(start, range.span);
        let room = (range.span as usize).min(MAX_FRAME_BYTES) - FRAME_HEADER_BYTES;
        // SAFETY: the reservation gives this thread alone the bytes from `start` to `start + span`, which do not cross the
        // ring's end; the worker reads them only after the commit.
        let payload = unsafe { core::slice::from_raw_parts_mut(self.at(start).add(FRAME_HEADER_BYTES), room) };
        let mut writer = Writer::new(payload);
        fill(&mut writer)?;
        let header = FrameHeader { bytes: (FRAME_HEADER_BYTES + writer.len()) as u32, ..header };
        self.write_pad(start + header.span() as u64, range.span - header.span() as u64);
        self.write_header(start, header);
        Ok(())
    }
}

/// Bytes to reserve for a payload of at most `payload` bytes; `None` above the largest frame.
#[must_use]
pub fn span_for(payload: usize) -> Option<u64> {
    let bytes = payload.checked_add(FRAME_HEADER_BYTES)?;
    (bytes <= MAX_FRAME_BYTES).then_some(bytes.next_multiple_of(GRANULE) as u64)
}

/// The worker's side: takes frames out of the ring into private memory.
#[derive(Debug)]
pub struct Consumer {
    taker: Taker,
    memory: RingMemory,
    /// The frame that was taken last, header included.
    frame: Box<[u8; MAX_FRAME_BYTES]>,
}

/// What [`Consumer::take`] found.
#[derive(Debug)]
pub enum Taken<'a> {
    /// Nothing is published; `wake` as below.
    Empty {
        /// Whether to wake sleepers.
        wake: bool,
    },
    /// A frame: its header and its payload, in private memory. `wake` says that a guest thread sleeps for room:
    /// wake [`crate::window::HEAD_EPOCH_OFFSET`].
    Frame {
        /// The checked header.
        header: FrameHeader,
        /// The payload, not checked yet.
        payload: &'a [u8],
        /// Whether to wake sleepers.
        wake: bool,
    },
}

impl Consumer {
    /// For a fresh window.
    #[must_use]
    pub fn new(memory: RingMemory) -> Consumer {
        Consumer { taker: Taker::new(), memory, frame: Box::new([0; MAX_FRAME_BYTES]) }
    }

    /// Takes the next frame, skipping padding. The frame after it is on its way into this processor's cache meanwhile.
    /// # Errors
    /// [`Malformed`] where the guest's words or a header are not possible ones.
    pub fn take(&mut self, words: &Words<'_>) -> Result<Taken<'_>, Malformed> {
        let mut wake = false;
        loop {
            let available = self.taker.available(words)?;
            if available == 0 {
                return Ok(Taken::Empty { wake });
            }
            let position = self.taker.position();
            let (first, rest) = self.frame.split_at_mut(GRANULE);
            self.memory.copy_lines(position, first);
            let raw = first.first_chunk().ok_or(Malformed::new("no line for a header"))?;
            let header = FrameHeader::from_bytes(raw)?;
            let to_end = RING_BYTES - (position as usize & (RING_BYTES - 1));
            if header.span() > to_end || header.span() as u64 > available {
                return Err(Malformed::new("frame reaches past what is published"));
            }
            if header.call == CALL_PAD {
                wake |= self.taker.advance(words, header.span() as u64);
                continue;
            }
            self.memory.copy_lines(position + GRANULE as u64, &mut rest[..header.span() - GRANULE]);
            wake |= self.taker.advance(words, header.span() as u64);
            if self.taker.known() != 0 {
                self.memory.prefetch(self.taker.position());
            }
            let payload = &self.frame[FRAME_HEADER_BYTES..header.bytes as usize];
            return Ok(Taken::Frame { header, payload, wake });
        }
    }

    /// Whether the worker should wake guest threads that sleep for room; to be asked when the ring is empty.
    pub fn release_sleepers(&mut self, words: &Words<'_>) -> bool {
        self.taker.release_sleepers(words)
    }

    /// As [`Taker::park`].
    /// # Errors
    /// [`Malformed`].
    pub fn park(&mut self, words: &Words<'_>) -> Result<bool, Malformed> {
        self.taker.park(words)
    }

    /// As [`Taker::hear`].
    /// # Errors
    /// [`Malformed`].
    pub fn hear(&mut self, words: &Words<'_>) -> Result<(), Malformed> {
        self.taker.hear(words)
    }

    /// As [`Taker::may_have_rung`].
    #[must_use]
    pub fn may_have_rung(&self) -> bool {
        self.taker.may_have_rung()
    }

    /// As [`Taker::unpark`].
    pub fn unpark(&self, words: &Words<'_>) {
        self.taker.unpark(words);
    }

    /// Whether something is published, without taking it: what a spinning worker asks.
    /// # Errors
    /// [`Malformed`].
    pub fn has_frame(&mut self, words: &Words<'_>) -> Result<bool, Malformed> {
        Ok(self.taker.available(words)? != 0)
    }
}
