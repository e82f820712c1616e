//! The virtio carrier end to end: a VMM and a driver by hand against the real `gpuferryd` and a worker that echoes.

mod support;

use std::cell::RefCell;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gpuferry_backend::mapping::Mapping;
use support::vmm::{HIGH, NEXT, REGION, Vmm, WRITE};
use support::{Front, Guest, eventually, signal};
use wire::control::Death;
use wire::device::{
    EVENT_DEAD, EVENT_WAKE, Event, Extent, MAGIC, QUEUE_CONTROL, QUEUE_DOORBELL, QUEUE_EVENT, REQUEST_CLOSE,
    REQUEST_OPEN, REQUEST_OPEN_KEPT, REQUEST_PIN, REQUEST_UNPIN, RESPONSE_DEAD, RESPONSE_INVALID, RESPONSE_LIMIT,
    RESPONSE_NO_WORKER, RESPONSE_OK,
};
use wire::payload::{Buffer, Full, Writer};
use wire::window::{STATE_DEAD, STATE_READY, WINDOW_BYTES_VIRTIO};

const PAGES: u32 = (WINDOW_BYTES_VIRTIO / 4096) as u32;

fn start() -> Front {
    Front::start(&["--socket-path", "FOLDER/vhost", "--max-sessions", "4"])
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn extents(list: &[Extent]) -> Vec<u8> {
    list.iter()
        .flat_map(|extent| {
            let address = [extent.address as u32, (extent.address >> 32) as u32];
            words(&[address[0], address[1], extent.pages, 0])
        })
        .collect()
}

fn extent(address: u64, pages: u32) -> Extent {
    Extent { address, pages, reserved: 0 }
}

/// Pages of a session's window: backwards, in both regions.
fn window(session: u32) -> Vec<Extent> {
    let low = 0x40_0000 + u64::from(session) * 0x20_0000;
    vec![extent(low + 0x5000, 1), extent(low, 5), extent(HIGH + low, PAGES - 7), extent(REGION - 0x1000 - low, 1)]
}

fn open_request(session: u32, window: &[Extent]) -> Vec<u8> {
    let mut request = words(&[REQUEST_OPEN, session, window.len() as u32, 4711]);
    request.extend(*b"guest\0\0\0\0\0\0\0\0\0\0\0");
    request.extend(extents(window));
    request
}

fn pin_request(session: u32, lease: u32, address: u64, bytes: u64, pages: &[Extent]) -> Vec<u8> {
    let mut request = words(&[REQUEST_PIN, session, lease, 3]);
    request.extend(address.to_le_bytes());
    request.extend(bytes.to_le_bytes());
    request.extend(words(&[pages.len() as u32, 0]));
    request.extend(extents(pages));
    request
}

/// An open session as the guest's process sees it.
struct Opened {
    session: u32,
    guest: Guest,
    _window: Mapping,
}

fn open(vmm: &mut Vmm, session: u32) -> Opened {
    open_as(vmm, session, REQUEST_OPEN)
}

/// With a session that the driver will close before a reset, or another.
fn open_as(vmm: &mut Vmm, session: u32, kind: u32) -> Opened {
    let pages = window(session);
    let window = vmm.map(&pages);
    // SAFETY: the mapping has these bytes, and no session uses them yet.
    unsafe { std::ptr::write_bytes(window.base(), 0, window.bytes()) };
    let mut request = open_request(session, &pages);
    request[..4].copy_from_slice(&kind.to_le_bytes());
    assert_eq!(vmm.ask(&request), RESPONSE_OK);
    // SAFETY: the mapping lives as long as the guest.
    let guest = unsafe { Guest::new(window.base()) };
    assert_eq!(guest.header().state.load(Ordering::Acquire), STATE_READY);
    Opened { session, guest, _window: window }
}

impl Opened {
    fn call(
        &mut self,
        vmm: &mut Vmm,
        call: u16,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> (i32, Vec<u8>) {
        let (session, vmm) = (self.session, RefCell::new(vmm));
        self.guest.call(call, fill, &|| vmm.borrow_mut().doorbell(session))
    }

    fn echo(&mut self, vmm: &mut Vmm, text: &[u8]) -> Vec<u8> {
        self.call(vmm, 1, |writer| writer.raw(text)).1
    }
}

fn worker_of(front: &Front, session: u32) -> i32 {
    let line = front.wait_for(&format!("session {session}: guest[4711] gets worker"));
    line.rsplit(' ').next().expect("an id").parse().expect("an id")
}

#[test]
fn config_when_read_then_names_the_device() {
    let front = start();
    let mut vmm = Vmm::connect_unstarted(&front);
    let config = vmm.config(64).expect("configuration");
    assert_eq!(&config[..4], &MAGIC.to_le_bytes());
    assert_eq!(config[16], 4, "max_sessions");
    vmm.config(16).expect("a part");
    front.wait_for("shows the guest 16 bytes of the configuration: give it config_size=64");
    let asking = std::thread::spawn(move || vmm.config(65));
    front.wait_for("give it config_size=64");
    drop(front);
    assert_eq!(asking.join().expect("ended"), None);
}

#[test]
fn session_when_opened_then_its_calls_are_answered_and_doorbells_wake_the_worker() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let mut opened = open(&mut vmm, 2);
    for round in 0..30u8 {
        assert_eq!(opened.echo(&mut vmm, &[round; 200]), [round; 200]);
        std::thread::sleep(Duration::from_micros(u64::from(round) * 100));
    }
    assert!(vmm.used(QUEUE_DOORBELL).is_some(), "a doorbell was rung and given back");
    assert_eq!(vmm.ask(&words(&[REQUEST_CLOSE, 2])), RESPONSE_OK);
    assert!(!front.workers().contains(&worker_of(&front, 2)));
    assert_eq!(vmm.ask(&words(&[REQUEST_CLOSE, 2])), RESPONSE_INVALID);
    open(&mut vmm, 2).echo(&mut vmm, b"the number is free again");
}

#[test]
fn control_socket_when_asked_then_tells_what_sessions_of_the_guest_have_done() {
    let front = Front::start(&["--socket-path", "FOLDER/vhost", "--control-path", "FOLDER/control"]);
    let mut vmm = Vmm::connect(&front);
    let stats = || {
        let mut text = String::new();
        let mut socket = UnixStream::connect(front.path("control")).expect("connected");
        socket.read_to_string(&mut text).expect("a report");
        text
    };
    let mut opened = open(&mut vmm, 2);
    for _ in 0..30 {
        opened.echo(&mut vmm, b"text");
    }
    let worker = worker_of(&front, 2);
    let text = stats();
    let expected =
        format!("session\tcarrier=virtio\tsession=2\tprogram=guest\tprocess=4711\tworker={worker}\tstate=open\t");
    assert!(text.contains(&expected) && text.contains("\twaited=30\t"), "{text}");
    signal(worker, libc::SIGKILL);
    eventually("the worker's end", || stats().contains("\tworker=0\tstate=dead\t"));
    drop(vmm);
    eventually("an empty list", || stats().lines().count() == 1);
}

#[test]
fn reply_when_the_thread_sleeps_then_an_event_wakes_it_once() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let mut opened = open(&mut vmm, 1);
    opened.guest.set_parked(3, 1);
    opened.guest.set_parked(4, 1);
    let cell = RefCell::new(&mut vmm);
    let sent = opened.guest.send(1, 3, |writer| writer.raw(b"x"), &|| cell.borrow_mut().doorbell(1));
    assert_eq!(vmm.event(), Event { kind: EVENT_WAKE, session: 1 });
    assert!(opened.guest.is_ready(3, sent));
    assert!(vmm.interrupted(QUEUE_EVENT));
}

#[test]
fn events_when_there_is_no_buffer_then_wait_and_are_not_repeated() {
    let front = start();
    let mut vmm = Vmm::connect_unstarted(&front);
    vmm.start_rings(0);
    let mut opened = open(&mut vmm, 0);
    for slot in 1..20 {
        opened.guest.set_parked(slot, 1);
        let cell = RefCell::new(&mut vmm);
        let sent = opened.guest.send(1, slot, |writer| writer.raw(b"x"), &|| cell.borrow_mut().doorbell(0));
        eventually("reply", || opened.guest.is_ready(slot, sent));
    }
    signal(worker_of(&front, 0), libc::SIGKILL);
    eventually("death", || opened.guest.header().state.load(Ordering::Acquire) == STATE_DEAD);
    for head in 0..4 {
        vmm.add_event_buffer(head, 8);
    }
    vmm.kick(QUEUE_EVENT);
    assert_eq!(vmm.event(), Event { kind: EVENT_DEAD, session: 0 });
    std::thread::sleep(Duration::from_millis(50));
    assert!(vmm.used(QUEUE_EVENT).is_none(), "one event is enough");
}

#[test]
fn worker_when_killed_then_the_guest_gets_death_everywhere_and_can_close() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let opened = open(&mut vmm, 3);
    let mut other = open(&mut vmm, 0);
    signal(worker_of(&front, 3), libc::SIGKILL);
    assert_eq!(vmm.event(), Event { kind: EVENT_DEAD, session: 3 });
    assert_eq!(opened.guest.header().state.load(Ordering::Acquire), STATE_DEAD);
    assert_eq!(opened.guest.header().death.load(Ordering::Relaxed), Death::WorkerEnded as u32);
    assert_eq!(vmm.ask(&pin_request(3, 0, 0, 1, &[extent(0, 1)])), RESPONSE_DEAD);
    assert_eq!(vmm.ask(&words(&[REQUEST_UNPIN, 3, 0, 0])), RESPONSE_DEAD);
    assert_eq!(vmm.ask(&open_request(3, &window(3))), RESPONSE_INVALID);
    assert_eq!(vmm.ask(&words(&[REQUEST_CLOSE, 3])), RESPONSE_OK);
    assert_eq!(other.echo(&mut vmm, b"untouched"), b"untouched");
}

#[test]
fn front_when_killed_then_its_workers_tell_the_guest_within_a_second() {
    let mut front = start();
    let mut vmm = Vmm::connect(&front);
    let opened = open(&mut vmm, 1);
    let begin = std::time::Instant::now();
    front.child.kill().expect("killed");
    front.child.wait().expect("ended");
    eventually("the window says dead", || opened.guest.header().state.load(Ordering::Acquire) == STATE_DEAD);
    assert!(begin.elapsed() < Duration::from_secs(1), "after {:?}", begin.elapsed());
    assert_eq!(opened.guest.header().death.load(Ordering::Relaxed), Death::FrontEnded as u32);
}

#[test]
fn frame_when_malformed_then_ends_that_session_alone() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let (opened, mut other) = (open(&mut vmm, 1), open(&mut vmm, 2));
    opened.guest.header().tail.store(1, Ordering::SeqCst);
    vmm.doorbell(1);
    assert_eq!(vmm.event(), Event { kind: EVENT_DEAD, session: 1 });
    assert_eq!(opened.guest.header().death.load(Ordering::Relaxed), Death::Malformed as u32);
    front.wait_for("malformed: tail of the ring is impossible");
    assert_eq!(other.echo(&mut vmm, b"untouched"), b"untouched");
}

#[test]
fn pages_when_pinned_then_are_used_in_place_and_unpinned_when_free() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let mut opened = open(&mut vmm, 0);
    let pages = [extent(0x30_1000, 1), extent(HIGH + 0x8000, 1), extent(0x30_0000, 1)];
    assert_eq!(vmm.ask(&pin_request(0, 7, 0x7fff_0000_0ff0, 0x1020, &pages)), RESPONSE_OK);
    assert_eq!(vmm.ask(&pin_request(0, 7, 0x7fff_0000_0ff0, 0x1020, &pages)), RESPONSE_INVALID);
    let buffer = Buffer::Lease { lease: 7, offset: 0, bytes: 0x1020 };
    opened.call(&mut vmm, 2, |writer| writer.buffer(buffer));
    assert_eq!((vmm.read::<1>(0x30_1fef), vmm.read::<1>(0x30_1ff0)), ([0], [1]));
    assert_eq!((vmm.read::<1>(HIGH + 0x8000), vmm.read::<1>(HIGH + 0x8fff)), ([1], [1]));
    assert_eq!((vmm.read::<1>(0x30_000f), vmm.read::<1>(0x30_0010)), ([1], [0]));
    // Mapped contiguously where page-locked memory lies.
    let address = 0x6000_0001_0ff0u64;
    let map = |writer: &mut Writer<'_>| {
        writer.u32(7)?;
        writer.u64(address)?;
        writer.u64(0x1020)?;
        writer.u32(1)
    };
    assert_eq!(opened.call(&mut vmm, 5, map).0, 0);
    assert_eq!(vmm.read::<1>(0x30_1ff0), [2]);
    opened.call(&mut vmm, 6, |writer| {
        writer.u64(200)?;
        writer.buffer(buffer)
    });
    let start = Instant::now();
    let head = vmm.send(&words(&[REQUEST_UNPIN, 0, 7, 0]));
    assert_eq!(vmm.ask(&pin_request(0, 8, 0, 1, &[extent(0, 1)])), RESPONSE_OK, "others are not held up");
    assert_eq!(vmm.wait_used(QUEUE_CONTROL), (u32::from(head), 8));
    assert!(start.elapsed() > Duration::from_millis(100), "the lease ended while it was in use");
    assert_eq!(vmm.response(head), RESPONSE_OK);
    assert_eq!(vmm.ask(&words(&[REQUEST_UNPIN, 0, 7, 0])), RESPONSE_INVALID);
}

#[test]
fn close_when_an_unpin_still_waits_then_answers_both() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let mut opened = open(&mut vmm, 0);
    assert_eq!(vmm.ask(&pin_request(0, 1, 0, 4096, &[extent(0x30_0000, 1)])), RESPONSE_OK);
    opened.call(&mut vmm, 6, |writer| {
        writer.u64(10_000)?;
        writer.buffer(Buffer::Lease { lease: 1, offset: 0, bytes: 1 })
    });
    let unpin = vmm.send(&words(&[REQUEST_UNPIN, 0, 1, 0]));
    let close = vmm.send(&words(&[REQUEST_CLOSE, 0]));
    vmm.wait_used(QUEUE_CONTROL);
    vmm.wait_used(QUEUE_CONTROL);
    assert_eq!((vmm.response(unpin), vmm.response(close)), (RESPONSE_DEAD, RESPONSE_OK));
}

#[test]
fn requests_when_more_wait_for_a_worker_than_may_then_are_refused_and_the_others_are_answered_when_it_goes_on() {
    const MOST: u16 = 4096;
    let front = start();
    let mut vmm = Vmm::connect_with(&front, 16_384);
    let mut first = open(&mut vmm, 0);
    let mut second = open(&mut vmm, 1);
    let worker = worker_of(&front, 0);
    signal(worker, libc::SIGSTOP);
    vmm.flood(&pin_request(0, 7, 0x7fff_0000_0000, 4096, &[extent(0x30_0000, 1)]), MOST + 100);
    for _ in 0..100 {
        assert_eq!(vmm.flooded(), RESPONSE_LIMIT);
    }
    assert_eq!(second.echo(&mut vmm, b"others"), b"others");
    assert!(vmm.used(QUEUE_CONTROL).is_none(), "no more than that is refused");
    signal(worker, libc::SIGCONT);
    let answers: Vec<u32> = (0..MOST).map(|_| vmm.flooded()).collect();
    assert_eq!((answers[0], answers[1..].iter().all(|answer| *answer == RESPONSE_INVALID)), (RESPONSE_OK, true));
    assert_eq!(first.echo(&mut vmm, b"goes on"), b"goes on");
}

#[test]
fn request_when_malformed_then_is_refused_and_the_device_goes_on() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let bad = [
        words(&[99, 0]),
        words(&[REQUEST_CLOSE, 4]),
        words(&[REQUEST_CLOSE]),
        open_request(0, &[extent(0x1000, PAGES - 1)]),
        open_request(0, &[extent(REGION - 0x1000, PAGES)]),
        open_request(0, &[extent(HIGH + REGION, PAGES)]),
        pin_request(0, 0, 0, 1, &[extent(0, 1)]),
    ];
    for request in bad {
        assert_eq!(vmm.ask(&request), RESPONSE_INVALID, "{request:?}");
    }
    front.wait_for("malformed: request of an unknown kind");
    front.wait_for("malformed: pages outside of guest memory");
    assert_eq!(open(&mut vmm, 0).echo(&mut vmm, b"still here"), b"still here");
}

#[test]
fn chain_when_malformed_then_is_given_back_and_the_device_goes_on() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    // A loop, memory that is not there, no room for the response, readable after writable, a head out of the table.
    vmm.descriptor(QUEUE_CONTROL, 60, 0x1000, 8, NEXT, 60);
    vmm.descriptor(QUEUE_CONTROL, 61, 0xffff_0000, 8, 0, 0);
    vmm.descriptor(QUEUE_CONTROL, 62, 0x10_0000, 8, 0, 0);
    vmm.descriptor(QUEUE_CONTROL, 58, 0x10_0000, 8, NEXT | WRITE, 59);
    vmm.descriptor(QUEUE_CONTROL, 59, 0x10_0000, 8, 0, 0);
    for head in [60, 61, 62, 58, 9999] {
        vmm.publish(QUEUE_CONTROL, head);
    }
    vmm.kick(QUEUE_CONTROL);
    let used: Vec<_> = (0..4).map(|_| vmm.wait_used(QUEUE_CONTROL)).collect();
    assert_eq!(used, [(60, 0), (61, 0), (62, 0), (58, 8)]);
    front.wait_for("queue 0: malformed: chain that loops");
    vmm.doorbell(77);
    assert_eq!(open(&mut vmm, 0).echo(&mut vmm, b"still here"), b"still here");
}

#[test]
fn event_buffer_when_malformed_then_is_given_back_and_the_next_one_is_used() {
    let front = start();
    let mut vmm = Vmm::connect_unstarted(&front);
    vmm.start_rings(0);
    let _opened = open(&mut vmm, 1);
    vmm.add_event_buffer(0, 4);
    vmm.descriptor(QUEUE_EVENT, 1, 0x10_0000, 8, 0, 0);
    vmm.publish(QUEUE_EVENT, 1);
    vmm.add_event_buffer(2, 8);
    vmm.kick(QUEUE_EVENT);
    signal(worker_of(&front, 1), libc::SIGKILL);
    assert_eq!((vmm.wait_used(QUEUE_EVENT), vmm.wait_used(QUEUE_EVENT)), ((0, 0), (1, 0)));
    assert_eq!(vmm.event(), Event { kind: EVENT_DEAD, session: 1 });
}

#[test]
fn ring_when_broken_then_is_left_alone_until_reset() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    vmm.break_ring(QUEUE_CONTROL);
    front.wait_for("queue 0 is broken and ignored until the driver resets it");
    let before = cpu_ticks(front.child.id());
    std::thread::sleep(Duration::from_millis(300));
    assert!(cpu_ticks(front.child.id()) - before <= 2, "the front spins on a broken ring");
    vmm.stop_rings();
    vmm.start_rings(0);
    assert_eq!(open(&mut vmm, 0).echo(&mut vmm, b"well again"), b"well again");
}

#[test]
fn device_when_reset_then_all_sessions_end_and_a_new_driver_finds_none() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let (one, two) = (open(&mut vmm, 0), open(&mut vmm, 1));
    let workers = [worker_of(&front, 0), worker_of(&front, 1)];
    vmm.stop_rings();
    assert!(front.workers().iter().all(|worker| !workers.contains(worker)), "they have ended before the reset has");
    for opened in [&one, &two] {
        assert_eq!(opened.guest.header().state.load(Ordering::Acquire), STATE_DEAD);
        assert_eq!(opened.guest.header().death.load(Ordering::Relaxed), Death::FrontEnded as u32);
    }
    vmm.start_rings(0);
    vmm.add_event_buffer(0, 8);
    vmm.kick(QUEUE_EVENT);
    assert_eq!(open(&mut vmm, 0).echo(&mut vmm, b"anew"), b"anew");
    assert!(vmm.used(QUEUE_EVENT).is_none(), "the new driver is told of no old session");
}

#[test]
fn device_when_paused_then_the_driver_learns_that_its_sessions_are_dead() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    open(&mut vmm, 1);
    vmm.stop_rings();
    vmm.start_rings(9);
    vmm.add_event_buffer(0, 8);
    vmm.kick(QUEUE_EVENT);
    assert_eq!(vmm.event(), Event { kind: EVENT_DEAD, session: 1 });
    assert_eq!(vmm.ask(&words(&[REQUEST_CLOSE, 1])), RESPONSE_OK);
    assert_eq!(open(&mut vmm, 1).echo(&mut vmm, b"anew"), b"anew");
}

#[test]
fn device_when_paused_then_kept_sessions_go_on_where_they_were() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let (mut kept, mut sleeper) = (open_as(&mut vmm, 1, REQUEST_OPEN_KEPT), open_as(&mut vmm, 2, REQUEST_OPEN_KEPT));
    open(&mut vmm, 3);
    assert_eq!(vmm.ask(&open_request(1, &window(1))), RESPONSE_INVALID, "refused, so it changes nothing");
    assert_eq!(kept.echo(&mut vmm, b"before"), b"before");
    let cell = RefCell::new(&mut vmm);
    let sent = sleeper.guest.send(3, 0, |writer| writer.u64(300), &|| cell.borrow_mut().doorbell(2));
    let workers = [worker_of(&front, 1), worker_of(&front, 2)];
    // It sleeps in the call.
    std::thread::sleep(Duration::from_millis(100));
    vmm.stop_rings();
    let state = |worker| std::fs::read_to_string(format!("/proc/{worker}/stat")).expect("a process");
    eventually("the workers' stop", || workers.iter().all(|worker| state(*worker).contains(") T ")));
    let before = cpu_ticks(front.child.id());
    std::thread::sleep(Duration::from_millis(600));
    assert!(cpu_ticks(front.child.id()) - before <= 2, "the front spins");
    assert!(!sleeper.guest.is_ready(0, sent));
    vmm.start_rings(9);
    vmm.add_event_buffer(0, 8);
    vmm.kick(QUEUE_EVENT);
    assert_eq!(vmm.event(), Event { kind: EVENT_DEAD, session: 3 }, "that of an older driver has ended");
    eventually("the call that slept", || sleeper.guest.is_ready(0, sent));
    assert_eq!(kept.echo(&mut vmm, b"after"), b"after");
    assert_eq!([worker_of(&front, 1), worker_of(&front, 2)], workers);
    // A driver that begins anew finds none.
    vmm.stop_rings();
    vmm.start_rings(0);
    vmm.kick(QUEUE_CONTROL);
    eventually("the workers' end", || !front.workers().iter().any(|worker| workers.contains(worker)));
    assert_eq!(open(&mut vmm, 1).echo(&mut vmm, b"anew"), b"anew");
}

#[test]
fn memory_when_announced_again_then_sessions_go_on() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let mut opened = open(&mut vmm, 0);
    vmm.set_memory();
    assert_eq!(opened.echo(&mut vmm, b"before"), b"before");
    assert_eq!(vmm.ask(&pin_request(0, 1, 0, 4096, &[extent(HIGH, 1)])), RESPONSE_OK);
    assert_eq!(open(&mut vmm, 1).echo(&mut vmm, b"after"), b"after");
}

#[test]
fn vmm_when_gone_then_sessions_end_and_the_next_one_is_served() {
    let front = start();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", front.child.id())).expect("fd").count();
    let mut counts = Vec::new();
    for round in 0..4 {
        let mut vmm = Vmm::connect(&front);
        assert_eq!(open(&mut vmm, round).echo(&mut vmm, b"hello"), b"hello");
        let worker = worker_of(&front, round);
        drop(vmm);
        eventually("the worker's end", || !front.workers().contains(&worker));
        // The next guest's first worker waits, in a room of its own, and nothing of the last guest's is left.
        eventually("one worker that waits", || front.workers().len() == 1);
        std::thread::sleep(Duration::from_millis(300));
        counts.push(descriptors());
    }
    eventually("as many descriptors as after the first VMM", || {
        counts.push(descriptors());
        counts.first() == counts.last()
    });
    front.wait_for("the VMM has disconnected; waiting for the next");
}

#[test]
fn sessions_when_no_worker_starts_then_are_refused() {
    let front = Front::start(&[
        "--socket-path",
        "FOLDER/vhost",
        "--prestart",
        "0",
        "--library",
        "/nowhere/libcuda.so.1",
        "--max-sessions",
        "4",
    ]);
    let mut vmm = Vmm::connect(&front);
    let pages = window(0);
    assert_eq!(vmm.ask(&open_request(0, &pages)), RESPONSE_NO_WORKER);
    front.wait_for("/nowhere/libcuda.so.1 is not there");
    front.wait_for("the worker of guest[4711] could not use the host's library");
    assert_eq!(vmm.ask(&open_request(0, &pages)), RESPONSE_NO_WORKER, "the number is free");
}

fn cpu_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("stat");
    let fields: Vec<_> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks")
}

#[test]
fn worker_when_it_wakes_without_end_then_other_sessions_are_served() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let mut hostile = open(&mut vmm, 0);
    hostile.call(&mut vmm, 7, |_| Ok(()));
    for round in 0..20u8 {
        let mut other = open(&mut vmm, 1);
        assert_eq!(other.echo(&mut vmm, &[round; 9]), [round; 9]);
        assert_eq!(vmm.ask(&words(&[REQUEST_CLOSE, 1])), RESPONSE_OK);
    }
    assert_eq!(vmm.ask(&words(&[REQUEST_CLOSE, 0])), RESPONSE_OK);
}

#[test]
fn worker_when_it_talks_without_end_then_ends_and_other_sessions_are_served() {
    let front = start();
    let mut vmm = Vmm::connect(&front);
    let (mut hostile, mut other) = (open(&mut vmm, 1), open(&mut vmm, 2));
    assert_eq!(hostile.call(&mut vmm, 10, |_| Ok(())).0, 0);
    front.wait_for("session 1: worker: malformed: messages without end");
    assert_eq!(vmm.event(), Event { kind: EVENT_DEAD, session: 1 });
    assert_eq!(other.echo(&mut vmm, b"hello"), b"hello");
    assert_eq!(vmm.ask(&words(&[REQUEST_CLOSE, 1])), RESPONSE_OK);
}
