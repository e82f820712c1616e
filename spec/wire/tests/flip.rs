//! Each byte of shared memory is read once: while one thread changes bytes of the ring and its words, whatever another takes out of
//! it is right in itself and stays as it was checked.
//!
//! `GPUFERRY_FLIPS` says how many frames are taken (200,000 in the normal run); `scripts/test --long` takes 10,000,000 under the
//! address sanitizer.
#![cfg(not(loom))]

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wire::frame::{CALL_PAD, FRAME_HEADER_BYTES, FrameHeader, GRANULE, NO_SLOT};
use wire::payload::Reader;
use wire::ring::{Consumer, RingMemory, Taken, Words};
use wire::window::RING_BYTES;

/// Where frames lie: enough for many, small enough that a change meets one.
const USED: usize = 16 * 1024;

#[repr(align(4096))]
#[derive(Clone)]
struct Page(#[allow(dead_code, reason = "used by address")] [u8; 4096]);

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Frames of all sizes, one after the other.
fn frames(random: &mut Random) -> Vec<u8> {
    let mut ring = vec![0u8; USED];
    let mut at = 0;
    while at + 1024 <= USED {
        let header = FrameHeader {
            bytes: (FRAME_HEADER_BYTES as u64 + random.next() % 600) as u32,
            call: (random.next() % 300) as u16,
            slot: if random.next().is_multiple_of(2) { NO_SLOT } else { (random.next() % 64) as u16 },
            sequence: random.next() as u32,
            ..FrameHeader::default()
        };
        let header = if header.call == CALL_PAD { FrameHeader { bytes: 64, ..header } } else { header };
        ring[at..at + FRAME_HEADER_BYTES].copy_from_slice(&header.to_bytes());
        at += header.span();
    }
    ring
}

/// Changes bytes without end: mostly of headers, where what is checked lies.
fn flip(base: usize, tail: &AtomicU64, stop: &AtomicBool) {
    let mut random = Random(0x1234_5678_9abc_def1);
    while !stop.load(Ordering::Relaxed) {
        let word = random.next();
        let granule = (word as usize >> 8) % (USED / GRANULE) * GRANULE;
        let byte =
            std::ptr::with_exposed_provenance_mut::<u8>(base + granule + (word as usize >> 32) % FRAME_HEADER_BYTES);
        // SAFETY: within the memory, which outlives this thread; the other thread reads it as volatile.
        unsafe { byte.write_volatile(byte.read_volatile() ^ 1 << (word % 8)) };
        if word.is_multiple_of(4096) {
            tail.store(random.next(), Ordering::Relaxed);
        }
    }
}

#[test]
fn frames_when_their_bytes_change_while_they_are_taken_then_stay_as_they_were_checked() {
    let wanted: u64 = std::env::var("GPUFERRY_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let fresh: Vec<u64> =
        frames(&mut Random(1)).chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("8"))).collect();
    let mut memory = vec![Page([0; 4096]); RING_BYTES / 4096];
    let base = memory.as_mut_ptr().cast::<u8>();
    let exposed = base.expose_provenance();
    let (tail, head) = (AtomicU64::new(0), AtomicU64::new(0));
    let parked = [(); 3].map(|()| AtomicU32::new(0));
    let words = Words {
        tail: &tail,
        head: &head,
        host_parked: &parked[0],
        guest_parked: &parked[1],
        head_epoch: &parked[2],
        capacity: RING_BYTES as u64,
    };
    let stop = AtomicBool::new(false);
    let mut copy = vec![0; wire::frame::MAX_FRAME_BYTES];
    let (mut taken, mut malformed) = (0u64, 0u64);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| flip(exposed, &tail, &stop));
        // Until enough were changed in time: the threads may not always run side by side.
        while taken + malformed < wanted || malformed < 20 && start.elapsed() < Duration::from_secs(60) {
            for (at, word) in fresh.iter().enumerate() {
                // SAFETY: within the memory, which is aligned.
                unsafe { base.cast::<u64>().add(at).write_volatile(*word) };
            }
            // SAFETY: aligned memory of that size, which lives as long as the consumer.
            let mut consumer = Consumer::new(unsafe { RingMemory::new(base) });
            tail.store(USED as u64, Ordering::Release);
            loop {
                match consumer.take(&words) {
                    Ok(Taken::Frame { header, payload, .. }) => {
                        taken += 1;
                        copy[..payload.len()].copy_from_slice(payload);
                        assert_eq!(FrameHeader::from_bytes(&header.to_bytes()), Ok(header), "checked as it was taken");
                        assert_eq!(payload.len(), header.bytes as usize - FRAME_HEADER_BYTES);
                        // Read as a dispatcher does; whatever it finds lies inside.
                        let mut reader = Reader::new(payload);
                        while let Ok(run) = reader.run() {
                            assert!(run.len() <= payload.len());
                        }
                        assert!(copy[..payload.len()] == *payload, "it changed after the check");
                    }
                    Ok(Taken::Empty { .. }) => break,
                    Err(_) => {
                        malformed += 1;
                        break;
                    }
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{taken} frames taken, {malformed} times malformed");
    assert!(malformed >= 20, "bytes did change: {malformed}");
}
