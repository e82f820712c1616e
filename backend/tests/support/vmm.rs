//! A VMM and a guest's driver, just enough to put anything into the device's queues: guest memory is a memfd in two regions.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use gpuferry_backend::mapping::{Mapping, Source};
use gpuferry_backend::os::sealed_memory;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::EventFd;
use wire::device::{Event, Extent, QUEUE_CONTROL, QUEUE_COUNT, QUEUE_DOORBELL, QUEUE_EVENT};

use super::{Front, PATIENCE, eventually};

/// Bytes of each region.
pub const REGION: u64 = 16 << 20;
/// Guest-physical address of the second region.
pub const HIGH: u64 = 1 << 32;
/// Entries of each queue, where no more are asked for.
pub const SIZE: u16 = 64;
const QUEUE_BYTES: u64 = 0x4000;
/// Where a control queue of more entries lies, and what is sent in it.
const LARGE: u64 = 0x80_0000;
const FLOOD: u64 = 0xa0_0000;
/// Where requests are built.
const REQUESTS: u64 = 0x10_0000;
const REQUEST_BYTES: u64 = 0x4000;
/// Where event buffers lie.
const EVENTS: u64 = 0x8_0000;

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;

/// One queue as the driver sees it.
struct Queue {
    base: u64,
    size: u16,
    avail: u16,
    used: u16,
    kick: EventFd,
    call: EventFd,
}

impl Queue {
    /// Where its rings begin.
    fn avail_ring(&self) -> u64 {
        self.base + (u64::from(self.size) * 16).next_multiple_of(0x1000)
    }

    fn used_ring(&self) -> u64 {
        self.avail_ring() + (u64::from(self.size) * 2 + 6).next_multiple_of(0x1000)
    }
}

/// See the module's head.
pub struct Vmm {
    pub frontend: Frontend,
    memory: OwnedFd,
    ram: Mapping,
    queues: Vec<Queue>,
    requests: u16,
    control_size: u16,
}

impl Vmm {
    /// Connects as QEMU does, with all rings enabled and some event buffers.
    pub fn connect(front: &Front) -> Vmm {
        let mut vmm = Vmm::connect_unstarted(front);
        vmm.start_rings(0);
        for head in 0..8 {
            vmm.add_event_buffer(head, 8);
        }
        vmm.kick(QUEUE_EVENT);
        vmm
    }

    /// The same with so many entries in the control queue.
    pub fn connect_with(front: &Front, control_size: u16) -> Vmm {
        let mut vmm = Vmm::connect_unstarted(front);
        vmm.control_size = control_size;
        vmm.start_rings(0);
        vmm
    }

    /// Connects and negotiates.
    pub fn connect_unstarted(front: &Front) -> Vmm {
        let path = front.path("vhost");
        let mut frontend = None;
        eventually("connection", || {
            frontend = Frontend::connect(&path, u64::from(QUEUE_COUNT)).ok();
            frontend.is_some()
        });
        let mut frontend = frontend.expect("connected");
        frontend.set_owner().expect("owner");
        let features = frontend.get_features().expect("features");
        assert_eq!(features >> 32 & 1, 1, "VERSION_1");
        assert_eq!(features >> 34 & 1, 0, "no packed rings");
        let protocol = frontend.get_protocol_features().expect("protocol features");
        frontend.set_protocol_features(protocol & !VhostUserProtocolFeatures::REPLY_ACK).expect("set");
        assert_eq!(frontend.get_queue_num().expect("queues"), u64::from(QUEUE_COUNT));
        // Without EVENT_IDX: each kick and interrupt is seen.
        frontend.set_features(features & !(1 << 29)).expect("set");
        let memory = sealed_memory(2 * REGION).expect("memory");
        let ram = Mapping::of(Source { file: memory.as_fd(), offset: 0, bytes: 2 * REGION }).expect("mapped");
        let mut vmm = Vmm { frontend, memory, ram, queues: Vec::new(), requests: 0, control_size: SIZE };
        vmm.set_memory();
        vmm
    }

    /// Tells the device of guest memory, as QEMU does again and again.
    pub fn set_memory(&mut self) {
        let region = |guest_phys_addr, offset| VhostUserMemoryRegionInfo {
            guest_phys_addr,
            memory_size: REGION,
            userspace_addr: self.ram.base() as u64 + offset,
            mmap_offset: offset,
            mmap_handle: self.memory.as_raw_fd(),
        };
        self.frontend.set_mem_table(&[region(0, 0), region(HIGH, REGION)]).expect("memory");
    }

    /// Sets up and enables all rings, their next entry `base`.
    pub fn start_rings(&mut self, base: u16) {
        self.queues.clear();
        for index in 0..QUEUE_COUNT as usize {
            let size = if index == QUEUE_CONTROL as usize { self.control_size } else { SIZE };
            let queue = Queue {
                base: if size == SIZE { index as u64 * QUEUE_BYTES } else { LARGE },
                size,
                avail: base,
                used: base,
                kick: EventFd::new(libc::EFD_NONBLOCK).expect("eventfd"),
                call: EventFd::new(libc::EFD_NONBLOCK).expect("eventfd"),
            };
            let address = self.ram.base() as u64;
            let config = VringConfigData {
                queue_max_size: size,
                queue_size: size,
                flags: 0,
                desc_table_addr: address + queue.base,
                avail_ring_addr: address + queue.avail_ring(),
                used_ring_addr: address + queue.used_ring(),
                log_addr: None,
            };
            self.write(queue.avail_ring(), &[0; 4]);
            self.write(queue.avail_ring() + 2, &base.to_le_bytes());
            self.write(queue.used_ring() + 2, &base.to_le_bytes());
            self.frontend.set_vring_num(index, size).expect("num");
            self.frontend.set_vring_base(index, base).expect("base");
            self.frontend.set_vring_addr(index, &config).expect("addr");
            self.frontend.set_vring_call(index, &queue.call).expect("call");
            self.frontend.set_vring_kick(index, &queue.kick).expect("kick");
            self.queues.push(queue);
        }
        for index in 0..QUEUE_COUNT as usize {
            self.frontend.set_vring_enable(index, true).expect("enable");
        }
    }

    /// Stops all rings, as a reset or a pause does.
    pub fn stop_rings(&mut self) {
        for index in 0..QUEUE_COUNT as usize {
            self.frontend.get_vring_base(index).expect("base");
        }
    }

    pub fn config(&mut self, bytes: u32) -> Option<Vec<u8>> {
        let buffer = vec![0; bytes as usize];
        self.frontend.get_config(0, bytes, VhostUserConfigFlags::empty(), &buffer).ok().map(|answer| answer.1)
    }

    /// An address in the test's own mapping of guest memory.
    pub fn host(&self, address: u64) -> *mut u8 {
        let offset = if address >= HIGH { address - HIGH + REGION } else { address };
        assert!(offset < 2 * REGION);
        self.ram.base().wrapping_add(offset as usize)
    }

    pub fn write(&self, address: u64, bytes: &[u8]) {
        // SAFETY: `host` checks the start; the tests write short pieces.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.host(address), bytes.len()) };
    }

    pub fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut out = [0; N];
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(self.host(address), out.as_mut_ptr(), N) };
        out
    }

    /// Writes one descriptor of a queue's table.
    pub fn descriptor(&self, queue: u32, index: u16, address: u64, bytes: u32, flags: u16, next: u16) {
        let at = self.queues[queue as usize].base + u64::from(index) * 16;
        self.write(at, &address.to_le_bytes());
        self.write(at + 8, &bytes.to_le_bytes());
        self.write(at + 12, &flags.to_le_bytes());
        self.write(at + 14, &next.to_le_bytes());
    }

    /// Makes a chain available, without a kick.
    pub fn publish(&mut self, queue: u32, head: u16) {
        let state = &mut self.queues[queue as usize];
        let (ring, slot) = (state.avail_ring(), u64::from(state.avail % state.size));
        state.avail = state.avail.wrapping_add(1);
        let avail = state.avail;
        self.write(ring + 4 + slot * 2, &head.to_le_bytes());
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.write(ring + 2, &avail.to_le_bytes());
    }

    /// Says what cannot be: more chains than the ring has.
    pub fn break_ring(&mut self, queue: u32) {
        let state = &self.queues[queue as usize];
        self.write(state.avail_ring() + 2, &state.avail.wrapping_add(1000).to_le_bytes());
        self.kick(queue);
    }

    pub fn kick(&self, queue: u32) {
        self.queues[queue as usize].kick.write(1).expect("kick");
    }

    /// The next chain that the device gave back, and the bytes it wrote.
    pub fn used(&mut self, queue: u32) -> Option<(u32, u32)> {
        let state = &self.queues[queue as usize];
        let index = u16::from_le_bytes(self.read(state.used_ring() + 2));
        if index == state.used {
            return None;
        }
        let at = state.used_ring() + 4 + u64::from(state.used % state.size) * 8;
        let (head, bytes) = (u32::from_le_bytes(self.read(at)), u32::from_le_bytes(self.read(at + 4)));
        let state = &mut self.queues[queue as usize];
        state.used = state.used.wrapping_add(1);
        Some((head, bytes))
    }

    pub fn wait_used(&mut self, queue: u32) -> (u32, u32) {
        let start = Instant::now();
        loop {
            if let Some(used) = self.used(queue) {
                return used;
            }
            assert!(start.elapsed() < PATIENCE, "queue {queue}: nothing is given back");
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
    }

    /// Whether the device has interrupted since this was asked last.
    pub fn interrupted(&self, queue: u32) -> bool {
        self.queues[queue as usize].call.read().is_ok()
    }

    /// Sends a request of two descriptors; returns its head.
    pub fn send(&mut self, request: &[u8]) -> u16 {
        let head = self.requests % (SIZE / 2) * 2;
        self.requests += 1;
        let at = REQUESTS + u64::from(head) * REQUEST_BYTES;
        assert!(request.len() < 0x3f00);
        self.write(at, request);
        self.write(at + 0x3f00, &[0xee; 8]);
        self.descriptor(QUEUE_CONTROL, head, at, request.len() as u32, NEXT, head + 1);
        self.descriptor(QUEUE_CONTROL, head + 1, at + 0x3f00, 8, WRITE, 0);
        self.publish(QUEUE_CONTROL, head);
        self.kick(QUEUE_CONTROL);
        head
    }

    /// Sends one request many times at once, to the control queue of [`Vmm::connect_with`]; their heads are even numbers from 0 on.
    pub fn flood(&mut self, request: &[u8], count: u16) {
        self.write(FLOOD, request);
        for number in 0..count {
            let (head, place) = (number * 2, FLOOD + 0x1000 + u64::from(number) * 8);
            self.write(place, &[0xee; 8]);
            self.descriptor(QUEUE_CONTROL, head, FLOOD, request.len() as u32, NEXT, head + 1);
            self.descriptor(QUEUE_CONTROL, head + 1, place, 8, WRITE, 0);
            self.publish(QUEUE_CONTROL, head);
        }
        self.kick(QUEUE_CONTROL);
    }

    /// The next response to one of those.
    pub fn flooded(&mut self) -> u32 {
        let (head, _) = self.wait_used(QUEUE_CONTROL);
        u32::from_le_bytes(self.read(FLOOD + 0x1000 + u64::from(head / 2) * 8))
    }

    /// The response to the request at `head`.
    pub fn response(&self, head: u16) -> u32 {
        let at = REQUESTS + u64::from(head) * REQUEST_BYTES + 0x3f00;
        assert_eq!(self.read::<4>(at + 4), [0; 4], "reserved");
        u32::from_le_bytes(self.read(at))
    }

    /// Sends a request and waits for its response, which must be the next.
    pub fn ask(&mut self, request: &[u8]) -> u32 {
        let head = self.send(request);
        assert_eq!(self.wait_used(QUEUE_CONTROL), (u32::from(head), 8));
        self.response(head)
    }

    pub fn add_event_buffer(&mut self, head: u16, bytes: u32) {
        self.descriptor(QUEUE_EVENT, head, EVENTS + u64::from(head) * 64, bytes, WRITE, 0);
        self.publish(QUEUE_EVENT, head);
    }

    /// The next event.
    pub fn event(&mut self) -> Event {
        let (head, bytes) = self.wait_used(QUEUE_EVENT);
        assert_eq!(bytes, 8);
        let at = EVENTS + u64::from(head) * 64;
        Event { kind: u32::from_le_bytes(self.read(at)), session: u32::from_le_bytes(self.read(at + 4)) }
    }

    /// Rings a session.
    pub fn doorbell(&mut self, session: u32) {
        let head = self.queues[QUEUE_DOORBELL as usize].avail % SIZE;
        let at = EVENTS + 0x1000 + u64::from(head) * 8;
        self.write(at, &session.to_le_bytes());
        self.write(at + 4, &[0; 4]);
        self.descriptor(QUEUE_DOORBELL, head, at, 8, 0, 0);
        self.publish(QUEUE_DOORBELL, head);
        self.kick(QUEUE_DOORBELL);
    }

    /// A second mapping of pages, contiguous, as the guest's process has them.
    pub fn map(&self, extents: &[Extent]) -> Mapping {
        let sources: Vec<_> = extents
            .iter()
            .map(|extent| Source {
                file: self.memory.as_fd(),
                offset: if extent.address >= HIGH { extent.address - HIGH + REGION } else { extent.address },
                bytes: u64::from(extent.pages) * 4096,
            })
            .collect();
        Mapping::joined(&sources).expect("mapped")
    }
}
