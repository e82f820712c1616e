//! Descriptor chains: any table is taken as a chain within its limits, or is broken; memory outside is never touched.
#![no_main]

use std::cell::RefCell;

use gpuferry_backend::front::chain::{ANSWER_BYTES, take};
use libfuzzer_sys::fuzz_target;
use virtio_queue::mock::MockSplitQueue;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const MEMORY: usize = 0x2000;
const ENTRIES: u16 = 16;
/// Bytes of a descriptor, and those of the input that make one.
const DESCRIPTOR: usize = 16;
const MADE_OF: usize = 9;
const INDIRECT_FLAG: u8 = 4;
/// Where what an indirect descriptor may lead to lies: the rest of the input.
const INDIRECT: usize = 0x1000;

struct Guest {
    memory: GuestMemoryMmap,
    queue: Queue,
}

thread_local! {
    static GUEST: RefCell<Guest> = {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).expect("memory");
        let queue = MockSplitQueue::new(&memory, ENTRIES).create_queue().expect("queue");
        RefCell::new(Guest { memory, queue })
    };
}

/// A descriptor: an address near the memory's bounds, in what is indirect, or anything; a length that is mostly short.
fn descriptor(word: &[u8; MADE_OF]) -> [u8; DESCRIPTOR] {
    let address = match word[0] % 4 {
        0 => u64::from_le_bytes([word[1], word[2], word[3], 0, 0, 0, 0, word[0]]),
        1 => MEMORY as u64 - u64::from(word[1]),
        _ => INDIRECT as u64 + u64::from(word[1]) * 16,
    };
    let bytes = match word[4] % 4 {
        0 => u32::from_le_bytes([word[5], word[6], word[7], word[4]]),
        _ => u32::from(word[5]),
    };
    // A table that is mostly of 64 entries at most: a loop in one of 65,535 entries takes milliseconds.
    let bytes = if word[8] & INDIRECT_FLAG != 0 && word[6] % 16 != 0 { bytes % 0x410 } else { bytes };
    let mut made = [0; DESCRIPTOR];
    made[..8].copy_from_slice(&address.to_le_bytes());
    made[8..12].copy_from_slice(&bytes.to_le_bytes());
    made[12] = word[8] & 7;
    made[14] = word[8] >> 3;
    made
}

fuzz_target!(|data: &[u8]| {
    let Some((head, data)) = data.split_first() else { return };
    GUEST.with_borrow_mut(|Guest { memory, queue }| {
        // All of the memory is the input's: an answer to an earlier one is not left in it.
        let mut image = [0; MEMORY];
        let (table, indirect) = data.split_at(data.len().min(MADE_OF * usize::from(ENTRIES)));
        for (place, word) in table.as_chunks().0.iter().enumerate() {
            image[place * DESCRIPTOR..][..DESCRIPTOR].copy_from_slice(&descriptor(word));
        }
        let indirect = &indirect[..indirect.len().min(MEMORY - INDIRECT)];
        image[INDIRECT..][..indirect.len()].copy_from_slice(indirect);
        // The ring of what is available: its flags, its index, the first entry.
        let available = queue.avail_ring() as usize;
        image[available + 2] = 1;
        image[available + 4] = head % 20;
        memory.write_slice(&image, GuestAddress(0)).expect("written");
        queue.set_next_avail(0);
        let Some(chain) = queue.pop_descriptor_chain(&*memory) else { return };
        match take(chain, 512) {
            Ok(taken) => {
                assert!(taken.request.len() <= 512);
                let written = taken.answer.write(memory, &[1; ANSWER_BYTES]);
                assert!(written == 0 || written == ANSWER_BYTES as u32 && taken.answer.fits());
            }
            Err(broken) => {
                broken.answer.write(memory, &[2; ANSWER_BYTES]);
            }
        }
    });
});
