//! A program's side of the local carrier by hand: what no guest library sends can be sent here.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gpuferry_backend::channel::{Channel, ChannelError};
use gpuferry_backend::mapping::{Mapping, Source};
use gpuferry_backend::os;
use wire::control::{Message, Piece, REGION_ATTACHED};
use wire::device::{PIN_READ, PIN_WRITE};
use wire::frame::FrameHeader;
use wire::ring::{Doorbell, Producers, RingMemory, Words, span_for};
use wire::slot::{MAX_REPLY_BYTES, SLOT_PAYLOAD_OFFSET, SlotHead, is_ready};
use wire::window::{Header, RING_BYTES, RING_OFFSET, STATE_DEAD, slot_offset};

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its status and the reply's payload.
    Answered(i32, Vec<u8>),
    /// The session is dead.
    Dead,
    /// No reply in time.
    Silent,
}

/// A session.
pub struct Raw {
    channel: Channel,
    doorbell: OwnedFd,
    window: Mapping,
    producers: Producers,
    sequence: u32,
}

impl Raw {
    /// Opens one.
    ///
    /// # Errors
    /// [`ChannelError`]; `Malformed` where the front refuses.
    ///
    /// # Panics
    /// Where the socket is none or the window cannot be mapped.
    pub fn open(socket: &Path) -> Result<Raw, ChannelError> {
        let mut channel = Channel::new(UnixStream::connect(socket).expect("connected"))?;
        let hello =
            Message::Hello { wire_version: wire::WIRE_VERSION, process: 1, name: *b"hostile\0\0\0\0\0\0\0\0\0" };
        channel.send(&hello, 1, vec![])?;
        let mut received = channel.receive_blocking()?;
        let Message::Welcome { window_bytes, .. } = received.message else {
            return Err(wire::Malformed::new("refused").into());
        };
        let (Some(doorbell), Some(memory)) = (received.descriptors.pop(), received.descriptors.pop()) else {
            return Err(wire::Malformed::new("no window").into());
        };
        let window = Mapping::of(Source { file: memory.as_fd(), offset: 0, bytes: window_bytes }).expect("mapped");
        Ok(Raw { channel, doorbell, window, producers: Producers::new(RING_BYTES as u64), sequence: 0 })
    }

    /// The control connection.
    pub fn channel(&mut self) -> &mut Channel {
        &mut self.channel
    }

    /// First byte of the window, for as long as the session is kept.
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        self.window.base()
    }

    /// The window's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        // SAFETY: a window begins with a header of atomics, and is mapped as long as `self`.
        unsafe { &*self.base().cast() }
    }

    fn slot(&self, slot: u16) -> &SlotHead {
        // SAFETY: `slot_offset` refuses slots that are none; a slot begins with a head of atomics.
        unsafe { &*self.base().add(slot_offset(slot.into())).cast() }
    }

    /// Whether the front says that the worker has ended.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.header().state.load(Ordering::Acquire) == STATE_DEAD
    }

    /// Rings.
    pub fn ring(&self) {
        os::signal(self.doorbell.as_fd());
    }

    /// Lends `pages` pages of a fresh file, for reading and writing, without waiting for the answer.
    ///
    /// # Errors
    /// [`ChannelError`].
    ///
    /// # Panics
    /// Where there is no memory.
    pub fn lend(&mut self, lease: u32, address: u64, pages: u64) -> Result<(), ChannelError> {
        let file = os::sealed_memory(pages * 4096).expect("memory");
        let pieces = vec![Piece { region: REGION_ATTACHED, offset: 0, bytes: pages * 4096 }];
        let message = Message::Pin { lease, flags: PIN_READ | PIN_WRITE, address, bytes: pages * 4096, pieces };
        self.channel.send(&message, u64::from(lease) + 100, vec![file])
    }

    /// Publishes a frame. Returns its sequence number; nothing where the ring stays full or the payload is too long.
    pub fn publish(&mut self, header: FrameHeader, payload: &[u8]) -> Option<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        // SAFETY: the window is mapped as long as `self`, and the ring lies in it.
        let ring = unsafe { RingMemory::new(self.base().add(RING_OFFSET)) };
        let words = Words::of(self.header());
        let span = span_for(payload.len())?;
        let start = Instant::now();
        let range = loop {
            match self.producers.reserve(&words, span) {
                Some(range) => break range,
                None if start.elapsed() > Duration::from_secs(2) || self.is_dead() => return None,
                None => std::thread::yield_now(),
            }
        };
        // A payload of the span's length always fits.
        let _ = ring.write(range, FrameHeader { sequence: self.sequence, ..header }, |writer| writer.raw(payload));
        if self.producers.commit(&words, range) == Doorbell::Ring {
            self.ring();
        }
        Some(self.sequence)
    }

    /// Waits for the reply of a published frame.
    #[must_use]
    pub fn wait(&self, slot: u16, sequence: u32, patience: Duration) -> Outcome {
        let head = self.slot(slot);
        let start = Instant::now();
        while !is_ready(head, sequence) {
            if self.is_dead() {
                return Outcome::Dead;
            }
            if start.elapsed() > patience {
                return Outcome::Silent;
            }
            std::thread::yield_now();
        }
        let bytes = head.bytes.load(Ordering::Relaxed) as usize;
        assert!(bytes <= MAX_REPLY_BYTES, "a reply of {bytes} bytes");
        let mut payload = vec![0; bytes];
        // SAFETY: the payload lies in its slot.
        unsafe {
            let from = self.base().add(slot_offset(slot.into()) + SLOT_PAYLOAD_OFFSET);
            std::ptr::copy_nonoverlapping(from, payload.as_mut_ptr(), bytes);
        }
        Outcome::Answered(head.status.load(Ordering::Relaxed).cast_signed(), payload)
    }
}
