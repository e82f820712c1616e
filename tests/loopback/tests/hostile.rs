//! A program that breaks every rule: only its own session ends, nothing is left, and the next one works.
//!
//! `GPUFERRY_HOSTILE_SECONDS` makes the random messages go on for so long (a few seconds in the normal run),
//! `GPUFERRY_HOSTILE_SEED` begins with another seed; the seed of each session is printed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use loopback::random::Random;
use loopback::raw::{Outcome, Raw};
use loopback::shapes::{LEASE_BYTES, LEASES, Shapes};
use loopback::{Front, children, eventually, signal};
use wire::frame::{FRAME_HEADER_BYTES, FrameHeader, NO_SLOT};
use wire::window::{RING_BYTES, RING_OFFSET};

/// Longest wait for one reply: a stream may wait for what never comes.
const REPLY_TIME: Duration = Duration::from_secs(2);
/// Most messages of a session.
const MESSAGES: usize = 400;

fn from_env(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// Processes that have ended and that nobody has waited for.
fn zombies(parent: u32) -> usize {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let is_one = |stat: &str| {
        let mut fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
        fields.next() == Some("Z") && fields.next() == Some(&parent.to_string())
    };
    processes.filter(|entry| std::fs::read_to_string(entry.path().join("stat")).is_ok_and(|stat| is_one(&stat))).count()
}

/// What a front has when no program is there.
struct Idle {
    workers: usize,
    descriptors: usize,
}

impl Idle {
    fn of(front: &Front) -> Idle {
        works(front);
        let settled = || children(front.process()).len();
        let mut workers = settled();
        // Workers that are started ahead take a while.
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(50));
            workers = workers.max(settled());
        }
        Idle { workers, descriptors: descriptors(front.process()) }
    }

    /// Nothing more than before is there.
    fn check(&self, front: &mut Front) {
        assert!(front.runs(), "the front has ended");
        works(front);
        let process = front.process();
        assert!(eventually(|| children(process).len() <= self.workers), "workers are left");
        assert!(eventually(|| zombies(process) == 0), "zombies are left");
        assert!(
            eventually(|| descriptors(process) <= self.descriptors),
            "{} descriptors, and {} before",
            descriptors(process),
            self.descriptors
        );
    }
}

/// An ordinary session works.
fn works(front: &Front) {
    let mut raw = Raw::open(&front.local()).expect("the next session");
    let header = FrameHeader { call: 2, slot: 5, ..FrameHeader::default() };
    let sequence = raw.publish(header, &[]).expect("room");
    assert_eq!(raw.wait(5, sequence, Duration::from_secs(20)), Outcome::Answered(0, vec![1, 0, 0, 0]));
}

/// Sends messages of the spec's shapes until the session dies, sleeps, or has had enough.
fn session(front: &Front, shapes: &mut Shapes, random: &mut Random, counts: &mut BTreeMap<&'static str, u64>) {
    let mut raw = Raw::open(&front.local()).expect("a session");
    shapes.forget();
    for lease in 0..LEASES {
        // A front that has closed the connection is seen below.
        let _ = raw.lend(lease, 0x6000_0000_0000 + u64::from(lease) * LEASE_BYTES, LEASE_BYTES / 4096);
    }
    let (retain, allocate) = (shapes.call("cuDevicePrimaryCtxRetain"), shapes.call("cuMemAlloc_v2"));
    let sleeps = shapes.call("gpuferryNextHostFunction");
    let mut last = 0;
    for turn in 0..MESSAGES {
        let (call, waits) = match turn {
            0 => (retain, true),
            1..4 => (allocate, true),
            _ => shapes.any_call(),
        };
        let payload = match turn {
            0 => [&shapes.fresh(1).to_le_bytes()[..], &[0; 4]].concat(),
            1..4 => 65536u64.to_le_bytes().to_vec(),
            _ => shapes.payload(call),
        };
        if call == sleeps {
            continue;
        }
        let waits = waits != random.once_in(2000);
        let header = FrameHeader {
            call,
            slot: if waits { random.below(64) as u16 } else { NO_SLOT },
            context: if turn == 0 || random.once_in(20) { random.below(3) as u32 } else { 1 },
            context_generation: 1,
            capture_mode: if random.once_in(1000) { 3 } else { random.below(10).saturating_sub(7) as u8 },
            thread: random.below(4) as u32,
            ..FrameHeader::default()
        };
        *counts.entry("messages").or_default() += 1;
        let Some(sequence) = raw.publish(header, &payload) else { break };
        last = call;
        if !waits {
            continue;
        }
        match raw.wait(header.slot, sequence, REPLY_TIME) {
            Outcome::Answered(status, reply) => {
                *counts.entry(if status == 0 { "succeeded" } else { "refused" }).or_default() += 1;
                if call == allocate
                    && let Some(address) = reply.first_chunk()
                    && status == 0
                {
                    shapes.learn(u64::from_le_bytes(*address));
                }
            }
            Outcome::Dead => break,
            Outcome::Silent => {
                *counts.entry("silent").or_default() += 1;
                println!("no reply to {}", shapes.name(call));
                break;
            }
        }
    }
    if raw.is_dead() {
        let death = raw.header().death.load(Ordering::Relaxed);
        *counts.entry(if death == 3 { "malformed" } else { "worker ended" }).or_default() += 1;
        if death != 3 {
            println!("worker ended after {}", shapes.name(last));
        }
    }
}

#[test]
fn messages_when_random_in_the_shapes_of_the_spec_then_only_their_session_ends() {
    let mut front = Front::start();
    let idle = Idle::of(&front);
    let end = Instant::now() + Duration::from_secs(from_env("GPUFERRY_HOSTILE_SECONDS", 5));
    let mut seed = from_env("GPUFERRY_HOSTILE_SEED", 1);
    let mut counts = BTreeMap::new();
    while Instant::now() < end {
        println!("seed {seed}");
        let (mut shapes, mut random) = (Shapes::new(seed), Random::new(!seed));
        session(&front, &mut shapes, &mut random, &mut counts);
        *counts.entry("sessions").or_default() += 1;
        seed += 1;
    }
    println!("{counts:?}");
    for line in front.log().lines().filter(|line| ["signal", "panicked", "malformed:"].iter().any(|w| line.contains(w)))
    {
        println!("{line}");
    }
    idle.check(&mut front);
}

#[test]
fn window_when_its_bytes_change_while_frames_are_decoded_then_only_its_session_ends() {
    let mut front = Front::start();
    let idle = Idle::of(&front);
    let mut random = Random::new(from_env("GPUFERRY_HOSTILE_SEED", 1));
    let end = Instant::now() + Duration::from_secs(from_env("GPUFERRY_HOSTILE_SECONDS", 5));
    let (mut frames, mut deaths) = (0u64, 0u64);
    while Instant::now() < end {
        let mut raw = Raw::open(&front.local()).expect("a session");
        let stop = AtomicBool::new(false);
        // In most sessions only payloads change, which ends nothing by itself.
        let (base, gentle, seed) = (raw.base().addr(), !random.once_in(4), random.any());
        std::thread::scope(|scope| {
            scope.spawn(|| flip(base, gentle, Random::new(seed), &stop));
            let mut payload = vec![0u8; 2048];
            for _ in 0..3000 {
                payload.iter_mut().step_by(64).for_each(|byte| *byte = random.any() as u8);
                // Sets bytes of memory that is not there, or asks for the version: neither waits.
                let call = if random.once_in(2) { 110 } else { 1 };
                let slot = if call == 1 { random.below(64) as u16 } else { NO_SLOT };
                let length = if random.once_in(8) { 0 } else { 24 };
                frames += 1;
                if raw.publish(FrameHeader { call, slot, ..FrameHeader::default() }, &payload[..length]).is_none() {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        deaths += u64::from(raw.is_dead());
    }
    println!("{frames} frames, {deaths} sessions ended");
    idle.check(&mut front);
}

/// Changes bytes of the ring, or of anything before the staging area.
fn flip(base: usize, gentle: bool, mut random: Random, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let offset = if gentle {
            // Behind the header of a frame that may lie there.
            RING_OFFSET
                + (random.below(RING_BYTES as u64 / 64) as usize) * 64
                + FRAME_HEADER_BYTES
                + random.below(32) as usize
        } else {
            random.below((RING_OFFSET + RING_BYTES) as u64) as usize
        };
        let byte = std::ptr::with_exposed_provenance_mut::<u8>(base + offset);
        // SAFETY: within the window, which is mapped until this thread has ended; another process may write there too.
        unsafe { byte.write_volatile(random.any() as u8) };
        if !gentle {
            std::thread::sleep(Duration::from_micros(random.below(200)));
        }
    }
}

#[test]
fn program_and_worker_when_they_end_at_any_point_then_nothing_is_left() {
    let mut front = Front::start();
    let idle = Idle::of(&front);
    let mut random = Random::new(from_env("GPUFERRY_HOSTILE_SEED", 1));
    for turn in 0..from_env("GPUFERRY_HOSTILE_ENDS", 50) {
        // One that was started ahead may have been killed below.
        let mut opened = Err(wire::Malformed::new("none").into());
        assert!(eventually(|| {
            opened = Raw::open(&front.local());
            opened.is_ok()
        }));
        let mut raw = opened.expect("a session");
        let mut shapes = Shapes::new(turn);
        for _ in 0..random.below(40) {
            let (call, waits) = shapes.any_call();
            let payload = shapes.payload(call);
            let slot = if waits { random.below(64) as u16 } else { NO_SLOT };
            if raw.publish(FrameHeader { call, slot, ..FrameHeader::default() }, &payload).is_none() {
                break;
            }
            if random.once_in(8) {
                // As above.
                let _ = raw.lend(random.below(70_000) as u32, random.any() & !0xfff, 1 + random.below(8));
            }
        }
        std::thread::sleep(Duration::from_micros(random.below(3000)));
        match random.below(3) {
            0 => {}
            1 => {
                // A worker, whosever it is; one that is being started too.
                if let Some(worker) = children(front.process()).last() {
                    signal(*worker, libc::SIGKILL);
                }
            }
            _ => raw.ring(),
        }
        drop(raw);
    }
    idle.check(&mut front);
}
