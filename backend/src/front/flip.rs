//! Each byte of guest memory is read once: while a thread changes descriptors, indirect tables and requests, a chain that is taken
//! is within its limits, and the request that came of it stays as it was checked.
//!
//! `GPUFERRY_FLIPS` says how many chains are taken (100,000 in the normal run).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use virtio_bindings::bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::mock::MockSplitQueue;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use wire::device::{PIN_READ, REQUEST_PIN};

use super::chain::{ANSWER_BYTES, take};
use super::request::{Limits, Request};

const LIMITS: Limits = Limits { max_sessions: 64, window_bytes: 8 * 4096, max_pin_pages: 64 };
const MOST: usize = 512;
/// Where requests lie, an indirect table, and answers.
const REQUEST: u64 = 0x8000;
const TABLE: u64 = 0x9000;
const ANSWER: u64 = 0xa000;
/// What is changed: the queue, requests and tables.
const CHANGED: u64 = 0xb000;

/// A pin of three pages, in two extents.
fn request() -> Vec<u8> {
    let words = [REQUEST_PIN, 1, 3, PIN_READ, 0x1000, 0, 0x3000, 0, 2, 0, 0x10_0000, 0, 1, 0, 0x2000, 0, 2, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn flip(memory: &GuestMemoryMmap, stop: &AtomicBool) {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let host = memory.get_host_address(GuestAddress(0)).expect("memory").expose_provenance();
    while !stop.load(Ordering::Relaxed) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = [seed % 256, REQUEST + seed % 80, TABLE + seed % 48, seed % CHANGED][(seed >> 40) as usize % 4];
        let byte = std::ptr::with_exposed_provenance_mut::<u8>(host + at as usize);
        // SAFETY: within the guest's memory, which outlives this thread; the other thread reads it as volatile.
        unsafe { byte.write_volatile(byte.read_volatile() ^ 1 << (seed >> 32 & 7)) };
        for _ in 0..seed >> 50 & 63 {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn chains_when_their_bytes_change_while_they_are_taken_then_stay_as_they_were_checked() {
    let wanted: u64 = std::env::var("GPUFERRY_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x10_0000)]).expect("memory");
    let raw =
        |address, bytes, flags: u32, next| RawDescriptor::from(Descriptor::new(address, bytes, flags as u16, next));
    let (next, write) = (VRING_DESC_F_NEXT, VRING_DESC_F_WRITE);
    let stop = AtomicBool::new(false);
    let (mut whole, mut decoded, mut broken) = (0u64, 0u64, 0u64);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| flip(&memory, &stop));
        // Until enough were changed in time: the threads may not always run side by side.
        let mut turn = 0;
        while turn < wanted || broken < 20 && start.elapsed() < Duration::from_secs(60) {
            turn += 1;
            let request = request();
            memory.write_slice(&request, GuestAddress(REQUEST)).expect("written");
            let queue = MockSplitQueue::new(&memory, 16);
            let chain = [
                raw(REQUEST, 40, next, 1),
                raw(REQUEST + 40, request.len() as u32 - 40, next, 2),
                raw(ANSWER, ANSWER_BYTES as u32, write, 0),
            ];
            for (place, descriptor) in (0u16..).zip(chain) {
                if turn % 2 == 0 {
                    queue.desc_table().store(place, descriptor).expect("stored");
                } else {
                    memory.write_obj(descriptor, GuestAddress(TABLE + u64::from(place) * 16)).expect("written");
                }
            }
            if turn % 2 == 1 {
                queue.desc_table().store(0, raw(TABLE, 48, VRING_DESC_F_INDIRECT, 0)).expect("stored");
            }
            queue.avail().ring().ref_at(0).expect("entry").store(0);
            queue.avail().idx().store(1);
            let Ok(mut device) = queue.create_queue::<Queue>() else { continue };
            let Some(chain) = device.pop_descriptor_chain(&memory) else { continue };
            match take(chain, MOST) {
                Ok(taken) => {
                    whole += 1;
                    assert!(taken.request.len() <= MOST);
                    let copy = taken.request.clone();
                    let first = Request::decode(&taken.request, &LIMITS);
                    if let Ok(Request::Pin { address, bytes, pages, lease, .. }) = &first {
                        decoded += 1;
                        let touched = (address % 4096 + bytes).div_ceil(4096);
                        assert_eq!(pages.iter().map(|extent| u64::from(extent.pages)).sum::<u64>(), touched);
                        assert!(touched <= u64::from(LIMITS.max_pin_pages) && *lease < wire::device::MAX_LEASES);
                    }
                    assert_eq!(Request::decode(&taken.request, &LIMITS), first, "it changed after the check");
                    assert_eq!(taken.request, copy);
                    let written = taken.answer.write(&memory, &[1; ANSWER_BYTES]);
                    assert!(written == 0 || taken.answer.fits());
                }
                Err(_) => broken += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{whole} chains were whole, {decoded} of them pins; {broken} were broken");
    assert!(decoded > wanted / 10 && broken >= 20, "bytes did change: {whole} {decoded} {broken}");
}
