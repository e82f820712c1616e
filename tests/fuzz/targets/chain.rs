//! Descriptor chains: any table is taken as a chain within its limits, or is broken; memory outside is never touched.
#![no_main]

use gpuferry_backend::front::chain::{ANSWER_BYTES, take};
use libfuzzer_sys::fuzz_target;
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::mock::MockSplitQueue;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const MEMORY: usize = 0x2_0000;

thread_local! {
    static GUEST: GuestMemoryMmap =
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).expect("memory");
}

fuzz_target!(|data: &[u8]| {
    let Some((head, data)) = data.split_first() else { return };
    GUEST.with(|memory| {
        let queue = MockSplitQueue::new(memory, 16);
        let mut words = data.chunks_exact(9);
        for place in 0..16 {
            let word = words.next().unwrap_or(&[0; 9]);
            // Addresses near the memory's bounds, or anything; lengths mostly short.
            let address = match word[0] % 4 {
                0 => u64::from_le_bytes([word[1], word[2], word[3], 0, 0, 0, 0, word[0]]),
                1 => MEMORY as u64 - u64::from(word[1]),
                _ => 0x8000 + u64::from(word[1]) * 16,
            };
            let bytes = match word[4] % 4 {
                0 => u32::from_le_bytes([word[5], word[6], word[7], word[4]]),
                _ => u32::from(word[5]),
            };
            let descriptor = Descriptor::new(address, bytes, u16::from(word[8] & 7), u16::from(word[8] >> 3));
            queue.desc_table().store(place, RawDescriptor::from(descriptor)).expect("stored");
        }
        // Tables that an indirect descriptor may lead to.
        let rest = words.remainder();
        memory.write_slice(&rest[..rest.len().min(4096)], GuestAddress(0x8000)).expect("written");
        queue.avail().ring().ref_at(0).expect("entry").store(u16::from(*head) % 20);
        queue.avail().idx().store(1);
        let mut device: Queue = queue.create_queue().expect("queue");
        let Some(chain) = device.pop_descriptor_chain(memory) else { return };
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
