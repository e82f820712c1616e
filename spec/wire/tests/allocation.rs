//! Calls are encoded, published and taken without an allocation, whatever their size; a lap of the ring is no exception.
#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64};

use wire::frame::{FRAME_HEADER_BYTES, FrameHeader, MAX_FRAME_BYTES, NO_SLOT};
use wire::ring::{Consumer, Producers, RingMemory, Taken, Words, span_for};
use wire::window::RING_BYTES;

/// Counts what it is asked for by the thread: the test's harness has another, which allocates when it likes.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does all that is promised; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[repr(align(4096))]
#[derive(Clone)]
struct Page(#[allow(dead_code, reason = "used by address")] [u8; 4096]);

#[test]
fn calls_when_published_and_taken_then_allocate_nothing() {
    let mut memory = vec![Page([0; 4096]); RING_BYTES / 4096];
    let (tail, head) = (AtomicU64::new(0), AtomicU64::new(0));
    let (host_parked, guest_parked, head_epoch) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let words = Words {
        tail: &tail,
        head: &head,
        host_parked: &host_parked,
        guest_parked: &guest_parked,
        head_epoch: &head_epoch,
        capacity: RING_BYTES as u64,
    };
    // SAFETY: whole pages, as many as the ring has bytes, kept to the end of the test.
    let ring = unsafe { RingMemory::new(memory.as_mut_ptr().cast()) };
    let producers = Producers::new(RING_BYTES as u64);
    let mut consumer = Consumer::new(ring);
    let payload = [7u8; MAX_FRAME_BYTES - FRAME_HEADER_BYTES - 8];
    let before = ASKED.get();
    let mut taken = 0;
    for number in 0..100_000usize {
        let bytes = payload.get(..number * 97 % 2000 + number % 100 / 99 * 10_000).expect("shorter than the longest");
        let range = producers.reserve(&words, span_for(bytes.len() + 8).expect("fits")).expect("room");
        let header = FrameHeader { call: 1, slot: NO_SLOT, ..FrameHeader::default() };
        ring.write(range, header, |writer| writer.raw(bytes)).expect("fits");
        producers.commit(&words, range);
        while let Taken::Frame { payload, .. } = consumer.take(&words).expect("well formed") {
            taken += usize::from(payload.ends_with(bytes));
        }
    }
    assert_eq!((taken, ASKED.get() - before), (100_000, 0));
}
