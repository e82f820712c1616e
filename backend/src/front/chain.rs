//! Descriptor chains: what the driver wrote into private memory, and where the answer goes.
//!
//! The iterator of `virtio-queue` ends a broken chain (a loop, an index or table out of bounds, memory that is not there) as if it
//! were whole. Here it is whole only where its last descriptor says so.

use std::ops::Deref;

use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestAddress, GuestMemory};
use wire::Malformed;
use wire::device::{Extent, MAX_PIN_PAGES, PinRequest};

/// Most bytes of a request: a pin of single pages.
pub const MAX_REQUEST_BYTES: usize = size_of::<PinRequest>() + MAX_PIN_PAGES as usize * size_of::<Extent>();
/// Bytes of a response, and of an event.
pub const ANSWER_BYTES: usize = 8;

/// Where the answer to a chain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The chain's head, which gives it back to the driver.
    pub head: u16,
    /// The first [`ANSWER_BYTES`] writable bytes, or fewer.
    parts: Vec<(GuestAddress, usize)>,
}

impl Answer {
    /// Whether there is room for an answer.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.parts.iter().map(|part| part.1).sum::<usize>() == ANSWER_BYTES
    }

    /// Writes an answer; returns the bytes written, 0 where there is no room or no such memory.
    pub fn write<M: GuestMemory>(&self, memory: &M, answer: &[u8; ANSWER_BYTES]) -> u32 {
        if !self.fits() {
            return 0;
        }
        let mut rest = answer.as_slice();
        for (address, bytes) in &self.parts {
            let (part, left) = rest.split_at((*bytes).min(rest.len()));
            if memory.write_slice(part, *address).is_err() {
                return 0;
            }
            rest = left;
        }
        ANSWER_BYTES as u32
    }
}

/// A chain that is taken out of its queue.
#[derive(Debug)]
pub struct Taken {
    /// What the driver wrote.
    pub request: Vec<u8>,
    /// Where the answer goes.
    pub answer: Answer,
}

/// A chain that is none; its answer goes to what was found of it.
#[derive(Debug)]
pub struct Broken {
    /// What was wrong.
    pub why: Malformed,
    /// Where an answer goes, perhaps without room.
    pub answer: Answer,
}

/// Reads a chain of at most `most` readable bytes.
/// # Errors
/// [`Broken`] where it is not whole, a readable descriptor follows a writable one, or it is too long.
pub fn take<M>(chain: DescriptorChain<M>, most: usize) -> Result<Taken, Broken>
where
    M: Clone + Deref,
    M::Target: GuestMemory,
{
    let memory = chain.clone();
    let mut answer = Answer { head: chain.head_index(), parts: Vec::new() };
    let mut request = Vec::new();
    match read(chain, memory.memory(), most, &mut request, &mut answer) {
        Ok(()) => Ok(Taken { request, answer }),
        Err(why) => Err(Broken { why, answer }),
    }
}

fn read<M>(
    chain: DescriptorChain<M>,
    memory: &M::Target,
    most: usize,
    request: &mut Vec<u8>,
    answer: &mut Answer,
) -> Result<(), Malformed>
where
    M: Deref,
    M::Target: GuestMemory,
{
    let mut whole = false;
    let mut room = ANSWER_BYTES;
    let mut writing = false;
    for descriptor in chain {
        let bytes = descriptor.len() as usize;
        whole = !descriptor.has_next();
        if descriptor.is_write_only() {
            writing = true;
            let part = bytes.min(room);
            if part > 0 {
                answer.parts.push((descriptor.addr(), part));
                room -= part;
            }
            continue;
        }
        if writing {
            return Err(Malformed::new("chain with a readable descriptor after a writable one"));
        }
        let start = request.len();
        if bytes > most - start {
            return Err(Malformed::new("chain too long"));
        }
        request.resize(start + bytes, 0);
        let into = request.get_mut(start..).unwrap_or_default();
        memory.read_slice(into, descriptor.addr()).map_err(|_| Malformed::new("chain outside of guest memory"))?;
    }
    if whole { Ok(()) } else { Err(Malformed::new("chain that loops or leads out of its table")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio_bindings::bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
    use virtio_queue::desc::{RawDescriptor, split::Descriptor};
    use virtio_queue::mock::MockSplitQueue;
    use virtio_queue::{Queue, QueueT};
    use vm_memory::GuestMemoryMmap;

    const NEXT: u32 = VRING_DESC_F_NEXT;
    const WRITE: u32 = VRING_DESC_F_WRITE;
    const INDIRECT: u32 = VRING_DESC_F_INDIRECT;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x10_0000)]).expect("memory")
    }

    fn raw(address: u64, bytes: u32, flags: u32, next: u16) -> RawDescriptor {
        RawDescriptor::from(Descriptor::new(address, bytes, flags as u16, next))
    }

    /// Puts descriptors into the table as they are, and takes the chain that begins at `head`.
    fn taken(memory: &GuestMemoryMmap, table: &[RawDescriptor], head: u16) -> Result<Taken, Broken> {
        let queue = MockSplitQueue::new(memory, 16);
        for (index, descriptor) in table.iter().enumerate() {
            queue.desc_table().store(index as u16, *descriptor).expect("stored");
        }
        queue.avail().ring().ref_at(0).expect("entry").store(head);
        queue.avail().idx().store(1);
        let mut device: Queue = queue.create_queue().expect("queue");
        let chain = device.pop_descriptor_chain(memory).expect("a chain");
        take(chain, 64)
    }

    #[test]
    fn chain_when_split_over_descriptors_then_is_joined_and_answered() {
        let memory = memory();
        memory.write_slice(b"hello world", GuestAddress(0x8000)).expect("written");
        let table = [
            raw(0x8000, 5, NEXT, 1),
            raw(0x8005, 6, NEXT, 2),
            raw(0x9000, 3, NEXT | WRITE, 3),
            raw(0x9100, 100, WRITE, 0),
        ];
        let taken = taken(&memory, &table, 0).expect("whole");
        assert_eq!(taken.request, b"hello world");
        assert_eq!(taken.answer.write(&memory, b"12345678"), 8);
        let mut seen = [0; 5];
        memory.read_slice(&mut seen, GuestAddress(0x9100)).expect("read");
        assert_eq!(&seen, b"45678");
    }

    #[test]
    fn chain_when_hostile_then_is_broken() {
        let far = 0xffff_0000;
        let bad: [(&str, Vec<RawDescriptor>); 12] = [
            ("loop", vec![raw(0x8000, 1, NEXT, 1), raw(0x8000, 1, NEXT, 0)]),
            ("loop on itself", vec![raw(0x8000, 0, NEXT, 0)]),
            ("index out of the table", vec![raw(0x8000, 1, NEXT, 16)]),
            ("readable after writable", vec![raw(0x8000, 8, NEXT | WRITE, 1), raw(0x8000, 8, 0, 0)]),
            ("out of memory", vec![raw(far, 8, NEXT, 1), raw(0x8000, 8, WRITE, 0)]),
            ("address wraps", vec![raw(u64::MAX, 8, 0, 0)]),
            ("too long", vec![raw(0x8000, 65, 0, 0)]),
            ("length lies", vec![raw(0x8000, u32::MAX, 0, 0)]),
            ("empty indirect table", vec![raw(0x8000, 0, INDIRECT, 0)]),
            ("indirect table of half an entry", vec![raw(0x8000, 24, INDIRECT, 0)]),
            ("indirect table out of memory", vec![raw(far, 16, INDIRECT, 0)]),
            ("indirect table too large", vec![raw(0x8000, 16 * 65536, INDIRECT, 0)]),
        ];
        for (what, table) in bad {
            assert!(taken(&memory(), &table, 0).is_err(), "{what}");
        }
    }

    #[test]
    fn chain_when_an_indirect_table_is_nested_or_loops_then_is_broken() {
        let memory = memory();
        memory.write_obj(raw(0x8000, 16, INDIRECT, 0), GuestAddress(0x8000)).expect("written");
        assert!(taken(&memory, &[raw(0x8000, 16, INDIRECT, 0)], 0).is_err(), "nested");
        memory.write_obj(raw(0x9000, 8, NEXT, 0), GuestAddress(0x8000)).expect("written");
        assert!(taken(&memory, &[raw(0x8000, 16, INDIRECT, 0)], 0).is_err(), "loop");
        memory.write_obj(raw(0x9000, 8, 0, 0), GuestAddress(0x8000)).expect("written");
        assert_eq!(taken(&memory, &[raw(0x8000, 16, INDIRECT, 0)], 0).expect("whole").request.len(), 8);
    }

    #[test]
    fn chain_when_a_length_is_the_largest_then_no_memory_is_taken_for_it() {
        let memory = memory();
        for length in [u32::MAX, u32::MAX - 15, 1 << 31, 65] {
            let read = taken(&memory, &[raw(0x8000, length, NEXT, 1), raw(0x9000, 8, WRITE, 0)], 0);
            assert_eq!(read.expect_err("too long").why, Malformed::new("chain too long"));
            // Room that is never used: only the first bytes of it are written.
            let written = taken(&memory, &[raw(0x8000, 8, NEXT, 1), raw(0x9000, length, WRITE, 0)], 0);
            if length.checked_add(8).is_none() {
                // virtio 1.2, 2.7.5.2: a chain has at most 2³² bytes in all.
                assert!(written.is_err());
                continue;
            }
            let written = written.expect("whole");
            assert_eq!((written.request.len(), written.answer.write(&memory, &[1; 8])), (8, 8));
        }
        // Many that are short, and together too long.
        let many: Vec<_> = (0..16).map(|at| raw(0x8000, 5, if at < 15 { NEXT } else { 0 }, at + 1)).collect();
        assert_eq!(taken(&memory, &many, 0).expect_err("too long").why, Malformed::new("chain too long"));
    }

    #[test]
    fn chain_when_all_of_it_goes_the_wrong_way_then_is_no_request() {
        let memory = memory();
        let writable = taken(&memory, &[raw(0x8000, 8, NEXT | WRITE, 1), raw(0x9000, 8, WRITE, 0)], 0).expect("whole");
        assert!(writable.request.is_empty() && writable.answer.fits());
        let readable = taken(&memory, &[raw(0x8000, 8, NEXT, 1), raw(0x9000, 8, 0, 0)], 0).expect("whole");
        assert_eq!((readable.request.len(), readable.answer.write(&memory, &[1; 8])), (16, 0));
    }

    #[test]
    fn chain_when_an_index_jumps_then_is_whole_only_inside_its_table() {
        let memory = memory();
        let mut table = vec![raw(0x8000, 1, NEXT, 9); 16];
        table[9] = raw(0x8000, 2, NEXT, 3);
        table[3] = raw(0x8000, 4, 0, 0);
        assert_eq!(taken(&memory, &table, 0).expect("whole").request.len(), 7);
        for next in [16, 17, 0x7fff, u16::MAX] {
            table[9] = raw(0x8000, 2, NEXT, next);
            assert!(taken(&memory, &table, 0).is_err(), "to {next}");
        }
        // In an indirect table of two, whose third would be there in memory.
        for (next, is_whole) in [(1, true), (2, false), (u16::MAX, false)] {
            memory.write_obj(raw(0x9000, 3, NEXT, next), GuestAddress(0x8000)).expect("written");
            memory.write_obj(raw(0x9000, 4, 0, 0), GuestAddress(0x8010)).expect("written");
            memory.write_obj(raw(0x9000, 5, 0, 0), GuestAddress(0x8020)).expect("written");
            assert_eq!(taken(&memory, &[raw(0x8000, 32, INDIRECT, 0)], 0).is_ok(), is_whole, "indirect to {next}");
        }
        // One that is indirect and goes on besides.
        let both = [raw(0x8000, 32, INDIRECT | NEXT, 1), raw(0x8000, 1, 0, 0)];
        memory.write_obj(raw(0x9000, 4, 0, 0), GuestAddress(0x8000)).expect("written");
        assert!(taken(&memory, &both, 0).map_or(true, |taken| taken.request.len() == 4));
    }

    #[test]
    fn chain_when_random_then_never_does_more_than_it_may() {
        let memory = memory();
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..20_000 {
            let mut table = Vec::new();
            for _ in 0..16 {
                let address = [random(0x10_0000), random(0x11_0000), u64::MAX - random(64)][random(3) as usize];
                let bytes = [random(80), random(5) * 16, random(1 << 32)][random(3) as usize];
                table.push(raw(address, bytes as u32, random(8) as u32, random(18) as u16));
            }
            if let Ok(taken) = taken(&memory, &table, random(17) as u16) {
                assert!(taken.request.len() <= 64);
                taken.answer.write(&memory, &[random(256) as u8; 8]);
            }
        }
    }

    #[test]
    fn answer_when_there_is_no_room_or_no_memory_then_writes_nothing() {
        let memory = memory();
        let small = taken(&memory, &[raw(0x8000, 8, NEXT, 1), raw(0x9000, 7, WRITE, 0)], 0).expect("whole");
        assert_eq!(small.answer.write(&memory, &[1; 8]), 0);
        let far = taken(&memory, &[raw(0x8000, 8, NEXT, 1), raw(0xffff_0000, 8, WRITE, 0)], 0).expect("whole");
        assert_eq!(far.answer.write(&memory, &[1; 8]), 0);
    }

    #[test]
    fn chain_when_its_head_is_out_of_the_table_then_is_broken_and_names_the_head() {
        let broken = taken(&memory(), &[], 99).expect_err("no such descriptor");
        assert_eq!(broken.answer.head, 99);
    }
}
