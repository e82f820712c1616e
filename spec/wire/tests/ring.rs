//! The ring from both ends in one thread: frames of every size over many laps, a full ring, encoders that fail, and who is woken.
#![cfg(not(loom))]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use wire::frame::{FrameHeader, NO_SLOT};
use wire::payload::Full;
use wire::ring::{Consumer, Doorbell, Producers, RingMemory, Taken, Words, span_for};
use wire::slot::{FreeSlots, SlotHead, is_ready, park, publish, unpark};
use wire::window::RING_BYTES;

#[repr(align(4096))]
#[derive(Clone)]
struct Page(#[allow(dead_code, reason = "used by address")] [u8; 4096]);

#[derive(Default)]
struct Shared {
    tail: AtomicU64,
    head: AtomicU64,
    parked: [AtomicU32; 3],
}

impl Shared {
    fn words(&self) -> Words<'_> {
        Words {
            tail: &self.tail,
            head: &self.head,
            host_parked: &self.parked[0],
            guest_parked: &self.parked[1],
            head_epoch: &self.parked[2],
            capacity: RING_BYTES as u64,
        }
    }
}

/// A ring, its words and both ends.
fn ring() -> (Vec<Page>, Shared, Producers) {
    (vec![Page([0; 4096]); RING_BYTES / 4096], Shared::default(), Producers::new(RING_BYTES as u64))
}

fn memory(pages: &mut [Page]) -> RingMemory {
    // SAFETY: aligned memory of that size; each test keeps the pages as long as the ring.
    unsafe { RingMemory::new(pages.as_mut_ptr().cast()) }
}

fn header(call: u16) -> FrameHeader {
    FrameHeader { call, slot: NO_SLOT, ..FrameHeader::default() }
}

/// Frames of that test, and the laps that they make at least; under Miri each takes seconds.
const FRAMES: (u32, u64) = if cfg!(miri) { (40, 1) } else { (400, 8) };

#[test]
fn frames_when_of_every_size_over_many_laps_then_come_out_as_they_went_in() {
    let (mut pages, shared, producers) = ring();
    let (words, memory) = (shared.words(), memory(&mut pages));
    let mut consumer = Consumer::new(memory);
    let mut taken = 0u32;
    for turn in 0..FRAMES.0 {
        let bytes = (turn as usize * 7919) % 60_000;
        let span = span_for(bytes).expect("a frame");
        let range = producers.reserve(&words, span).expect("room");
        let fill = vec![turn as u8; bytes];
        memory.write(range, header(1 + turn as u16), |writer| writer.raw(&fill)).expect("fits");
        assert_eq!(range.end(), producers.position());
        assert_eq!(producers.commit(&words, range), Doorbell::Quiet);
        match consumer.take(&words).expect("ours") {
            Taken::Frame { header, payload, .. } => {
                assert_eq!((header.call, payload), (1 + turn as u16, fill.as_slice()));
                taken += 1;
            }
            Taken::Empty { .. } => panic!("nothing there"),
        }
        assert!(!consumer.has_frame(&words).expect("ours"));
    }
    assert_eq!(taken, FRAMES.0);
    assert!(producers.position() > FRAMES.1 * RING_BYTES as u64, "many laps");
    assert_eq!(span_for(usize::MAX), None);
    assert_eq!(span_for(65_536), None);
}

#[test]
fn write_when_the_encoder_fails_then_its_range_is_skipped() {
    let (mut pages, shared, producers) = ring();
    let (words, memory) = (shared.words(), memory(&mut pages));
    let mut consumer = Consumer::new(memory);
    for (call, fails) in [(1, true), (2, false), (3, true), (4, false)] {
        let range = producers.reserve(&words, 256).expect("room");
        let written = memory.write(range, header(call), |writer| if fails { Err(Full) } else { writer.u64(9) });
        assert_eq!(written.is_err(), fails);
        producers.commit(&words, range);
    }
    let mut calls = Vec::new();
    while let Taken::Frame { header, payload, .. } = consumer.take(&words).expect("ours") {
        assert_eq!(payload.len(), 8);
        calls.push(header.call);
    }
    assert_eq!(calls, [2, 4]);
}

#[test]
fn reserve_when_the_ring_is_full_then_there_is_no_room_until_it_is_taken() {
    let (mut pages, shared, producers) = ring();
    let (words, memory) = (shared.words(), memory(&mut pages));
    let mut consumer = Consumer::new(memory);
    let mut published = 0;
    while let Some(range) = producers.reserve(&words, 4096) {
        memory.write(range, header(7), |writer| writer.u32(published)).expect("fits");
        producers.commit(&words, range);
        published += 1;
    }
    assert_eq!(published, RING_BYTES as u32 / 4096);
    let epoch = producers.park_full(&words, 4096).expect("no room: it sleeps");
    // Taken to the end, and asked before the worker sleeps: the sleeper is let go exactly once.
    let mut wakes = 0;
    for expected in 0..published {
        let Taken::Frame { payload, wake, .. } = consumer.take(&words).expect("ours") else {
            panic!("a frame is there")
        };
        assert_eq!(payload, expected.to_le_bytes());
        wakes += u32::from(wake);
    }
    if let Taken::Empty { wake } = consumer.take(&words).expect("ours") {
        wakes += u32::from(wake);
    }
    wakes += u32::from(consumer.release_sleepers(&words));
    assert_eq!(wakes, 1);
    assert_ne!(words.head_epoch.load(Ordering::Relaxed), epoch, "the sleeper's word");
    assert_eq!(producers.park_full(&words, 4096), None, "there is room");
    assert!(producers.reserve(&words, 4096).is_some());
}

#[test]
fn commit_when_the_worker_is_parked_then_rings_once_and_never_when_it_is_awake() {
    let (mut pages, shared, producers) = ring();
    let (words, memory) = (shared.words(), memory(&mut pages));
    let mut consumer = Consumer::new(memory);
    let publish = || {
        let range = producers.reserve(&words, 64).expect("room");
        memory.write(range, header(7), |_| Ok(())).expect("fits");
        producers.commit(&words, range)
    };
    assert!(consumer.park(&words).expect("ours"), "an empty ring");
    assert_eq!([publish(), publish()], [Doorbell::Ring, Doorbell::Quiet]);
    consumer.unpark(&words);
    assert!(!consumer.park(&words).expect("ours"), "there are frames");
    assert_eq!(publish(), Doorbell::Quiet, "it found them, and is awake");
    assert!(consumer.has_frame(&words).expect("ours"));
}

#[test]
fn ranges_when_committed_out_of_order_then_are_published_in_order() {
    let (mut pages, shared, producers) = ring();
    let (words, memory) = (shared.words(), memory(&mut pages));
    let mut consumer = Consumer::new(memory);
    let ranges = [1, 2, 3].map(|call| {
        let range = producers.reserve(&words, 64).expect("room");
        memory.write(range, header(call), |_| Ok(())).expect("fits");
        range
    });
    for (range, published) in [(ranges[2], 0), (ranges[1], 0), (ranges[0], 192)] {
        producers.commit(&words, range);
        assert_eq!(words.tail.load(Ordering::Relaxed), published);
    }
    for expected in [1, 2, 3] {
        let Taken::Frame { header, .. } = consumer.take(&words).expect("ours") else { panic!("a frame is there") };
        assert_eq!(header.call, expected);
    }
}

#[test]
fn take_when_the_tail_is_impossible_then_is_malformed() {
    for tail in [1, 63, RING_BYTES as u64 + 64, u64::MAX, 1 << 63] {
        let (mut pages, shared, _) = ring();
        let (words, memory) = (shared.words(), memory(&mut pages));
        let mut consumer = Consumer::new(memory);
        words.tail.store(tail, Ordering::Relaxed);
        assert!(consumer.has_frame(&words).is_err(), "{tail:#x}");
        assert!(consumer.take(&words).is_err(), "{tail:#x}");
        assert!(consumer.park(&words).is_err(), "{tail:#x}");
    }
}

#[test]
fn slot_when_its_reply_is_published_then_is_ready_and_says_who_sleeps() {
    let slot = SlotHead {
        ready: AtomicU32::new(0),
        parked: AtomicU32::new(0),
        status: AtomicU32::new(0),
        bytes: AtomicU32::new(0),
        done: AtomicU32::new(0),
    };
    assert!(!is_ready(&slot, 1));
    assert!(!publish(&slot, 1, -5, 16), "nobody sleeps");
    assert!(is_ready(&slot, 1) && !is_ready(&slot, 2));
    assert_eq!(park(&slot, 2), Some(1));
    assert!(publish(&slot, 2, 0, 0), "somebody sleeps");
    unpark(&slot);
    assert!(!publish(&slot, 3, 0, 0), "nobody sleeps any more");
    let free = FreeSlots::default();
    let taken = free.take(70).expect("free");
    assert_eq!(taken, 6, "modulo their number");
    free.give(taken);
    assert_eq!(free.take(6), Some(6));
}
