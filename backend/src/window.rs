//! A window ([`wire::window`]) that is mapped here: typed access to its parts. All `unsafe` of this file is pointers into it.
//!
//! The worker maps the whole window; the front only needs header and slots, to say that a worker is dead. Everything is atomic
//! or volatile, as the other side may write at any time.

use std::io;

use wire::control::Death;
use wire::ring::{RingMemory, Words};
use wire::slot::{MAX_REPLY_BYTES, SLOT_PAYLOAD_OFFSET, SlotHead};
use wire::sync::{AtomicU32, Ordering};
use wire::window::{
    Header, RING_BYTES, RING_OFFSET, SLOT_COUNT, STAGING_OFFSET, STATE_DEAD, STATE_READY, WINDOW_BYTES_MAX,
    WINDOW_BYTES_MIN, slot_offset,
};

use crate::mapping::Mapping;
use crate::os;

/// Memory that holds a window for as long as this lives.
#[derive(Debug)]
pub struct Window {
    base: *mut u8,
    bytes: usize,
    /// Keeps the memory mapped; `None` where a longer-lived mapping holds it.
    _mapping: Option<Mapping>,
}

// SAFETY: all access is by atomics or volatile, and shared with another process anyway.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// Over a mapping of its own.
    /// # Errors
    /// `InvalidInput` where it has not the size of a window.
    pub fn new(mapping: Mapping) -> io::Result<Window> {
        let (base, bytes) = (mapping.base(), mapping.bytes());
        // SAFETY: the mapping is page-aligned, readable and writable, and kept for as long as the window.
        let mut window = unsafe { Window::over(base, bytes) }?;
        window._mapping = Some(mapping);
        Ok(window)
    }

    /// Over memory that somebody else keeps mapped.
    ///
    /// # Safety
    /// `base .. base + bytes` is readable and writable, page-aligned, and stays so for as long as the window lives.
    /// # Errors
    /// `InvalidInput` where it has not the size of a window.
    pub unsafe fn over(base: *mut u8, bytes: usize) -> io::Result<Window> {
        if !(WINDOW_BYTES_MIN..=WINDOW_BYTES_MAX).contains(&bytes) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a window of a wrong size"));
        }
        Ok(Window { base, bytes, _mapping: None })
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The header page.
    #[must_use]
    pub fn header(&self) -> &Header {
        // SAFETY: the window is at least WINDOW_BYTES_MIN long, page-aligned, and any bytes are a valid Header of atomics.
        unsafe { &*self.base.cast::<Header>() }
    }

    /// The ring's words.
    #[must_use]
    pub fn words(&self) -> Words<'_> {
        Words::of(self.header())
    }

    /// The ring's bytes; to be used no longer than the window.
    pub(crate) fn ring(&self) -> RingMemory {
        // SAFETY: the ring lies within WINDOW_BYTES_MIN and on a page; the worker keeps its window until the process ends.
        unsafe { RingMemory::new(self.base.add(RING_OFFSET)) }
    }

    /// The head of slot `index`, below [`SLOT_COUNT`].
    #[must_use]
    pub fn slot(&self, index: usize) -> &SlotHead {
        // SAFETY: `slot_offset` refuses other indices; all slots lie within WINDOW_BYTES_MIN, each aligned to its size, and any
        // bytes are a valid SlotHead of atomics.
        unsafe { &*self.base.add(slot_offset(index)).cast::<SlotHead>() }
    }

    /// Copies a reply's payload, at most [`MAX_REPLY_BYTES`], into slot `index`.
    pub(crate) fn write_reply(&self, index: usize, payload: &[u8]) {
        assert!(payload.len() <= MAX_REPLY_BYTES);
        // SAFETY: the payload's place lies within the slot; the guest waits for the reply and reads it only once it is published.
        // A guest that does not wait gets torn bytes in memory of its own.
        unsafe {
            let to = self.base.add(slot_offset(index) + SLOT_PAYLOAD_OFFSET);
            std::ptr::copy_nonoverlapping(payload.as_ptr(), to, payload.len());
        }
    }

    /// A range of the staging area, where it lies inside.
    pub(crate) fn staging(&self, offset: u64, bytes: u64) -> Option<*mut u8> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(bytes).ok()?)?;
        if start < STAGING_OFFSET || end > self.bytes {
            return None;
        }
        // SAFETY: the offset lies within the window.
        Some(unsafe { self.base.add(start) })
    }

    /// The staging area's first byte and its length.
    pub(crate) fn staging_area(&self) -> (*mut u8, usize) {
        // SAFETY: the window is at least WINDOW_BYTES_MIN long, where the staging area begins.
        (unsafe { self.base.add(STAGING_OFFSET) }, self.bytes - STAGING_OFFSET)
    }

    /// Has the kernel map a part of the ring, so that no call pays for the first touch of a page: `bytes` from `from` on,
    /// both whole pages and within the ring.
    pub(crate) fn populate_ring(&self, from: usize, bytes: usize) {
        assert!(from <= RING_BYTES && bytes <= RING_BYTES - from);
        // SAFETY: the range lies in the ring by the assertion; this changes no byte. Where the kernel does not know the advice, the
        // first lap through the ring is slower.
        unsafe { libc::madvise(self.base.add(RING_OFFSET + from).cast(), bytes, libc::MADV_POPULATE_WRITE) };
    }

    /// Says that the worker serves the ring.
    pub(crate) fn set_ready(&self) {
        let header = self.header();
        header.wire_version.store(wire::WIRE_VERSION, Ordering::Relaxed);
        // Release: pairs with the guest's acquire of `state`; the version is there before.
        header.state.store(STATE_READY, Ordering::Release);
    }

    /// Says that the worker is dead, and wakes every thread that sleeps by futex. The words change, so that a thread which
    /// looked at the state before and sleeps after this does not.
    pub fn set_dead(&self, death: Death) {
        let header = self.header();
        header.death.store(death as u32, Ordering::Relaxed);
        // Release: pairs with the guest's acquire of `state`; the reason is there before.
        header.state.store(STATE_DEAD, Ordering::Release);
        header.head_epoch.fetch_add(1, Ordering::AcqRel);
        for slot in 0..SLOT_COUNT {
            // No sequence number that is waited for.
            self.slot(slot).ready.fetch_add(1 << 31, Ordering::AcqRel);
        }
        for word in self.sleeping_words() {
            os::futex_wake(word);
        }
    }

    fn sleeping_words(&self) -> impl Iterator<Item = &AtomicU32> {
        let header = self.header();
        let slots = (0..SLOT_COUNT).map(|index| &self.slot(index).ready);
        [&header.head_epoch, &header.state].into_iter().chain(slots)
    }
}
