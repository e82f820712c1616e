//! The worker's side of the ring: any bytes in it, any tail. And the reader of payloads, by any sequence of reads.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use wire::payload::Reader;
use wire::ring::{Consumer, RingMemory, Taken, Words};
use wire::sync::{AtomicU32, AtomicU64};
use wire::window::RING_BYTES;

#[repr(align(4096))]
struct Memory([u8; RING_BYTES]);

thread_local! {
    static MEMORY: RefCell<Box<Memory>> = RefCell::new(Box::new(Memory([0; RING_BYTES])));
}

fuzz_target!(|data: &[u8]| {
    let Some((tail, bytes)) = data.split_first_chunk::<8>() else { return };
    MEMORY.with_borrow_mut(|memory| {
        let used = bytes.len().min(RING_BYTES);
        memory.0[..used].copy_from_slice(&bytes[..used]);
        let tail = u64::from_le_bytes(*tail) & !(u64::from(bytes.len() % 2 == 0) * 63);
        let (tail, head) = (AtomicU64::new(tail), AtomicU64::new(0));
        let words = [(); 3].map(|()| AtomicU32::new(0));
        let words = Words {
            tail: &tail,
            head: &head,
            host_parked: &words[0],
            guest_parked: &words[1],
            head_epoch: &words[2],
            capacity: RING_BYTES as u64,
        };
        // SAFETY: aligned memory of that size, used by this thread alone.
        let mut consumer = Consumer::new(unsafe { RingMemory::new(memory.0.as_mut_ptr()) });
        for _ in 0..64 {
            match consumer.take(&words) {
                Ok(Taken::Frame { payload, .. }) => read(payload, bytes),
                Ok(Taken::Empty { .. }) | Err(_) => break,
            }
        }
        memory.0[..used].fill(0);
    });
    read(bytes, data);
});

/// Reads a payload in the order that `how` says.
fn read(payload: &[u8], how: &[u8]) {
    let mut reader = Reader::new(payload);
    for how in how.iter().take(64) {
        let read = match how % 9 {
            0 => reader.u8().map(|_| ()),
            1 => reader.u16().map(|_| ()),
            2 => reader.u32().map(|_| ()),
            3 => reader.u64().map(|_| ()),
            4 => reader.run().map(|run| assert!(run.len() <= payload.len())),
            5 => reader.buffer().map(|_| ()),
            6 => reader.raw(usize::from(*how) << 3).map(|_| ()),
            7 => reader.space(16, usize::from(*how)).map(|_| ()),
            _ => reader.clone().end(),
        };
        if read.is_err() {
            return;
        }
    }
}
