//! Model checks of the ring and of the parking: every interleaving of a small run, under the C11 memory model.
//!
//! Run by `scripts/test` as `RUSTFLAGS="--cfg loom" cargo test -p wire --test model --release`; without that flag this file is
//! empty. Each check says what it would catch.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;
use wire::ring::{Doorbell, Producers, Taker, Words};
use wire::slot::{FreeSlots, SlotHead, is_ready, park, publish, unpark};

struct Shared {
    capacity: u64,
    tail: AtomicU64,
    head: AtomicU64,
    host_parked: AtomicU32,
    guest_parked: AtomicU32,
    head_epoch: AtomicU32,
    /// An eventfd: rung doorbells.
    bell: Mutex<u32>,
    producers: Producers,
    /// Stands for the ring's bytes, one word a granule: what lies there is published by the tail alone.
    bytes: [AtomicU64; 4],
}

impl Shared {
    fn new(capacity: u64) -> Shared {
        Shared {
            capacity,
            tail: AtomicU64::new(0),
            head: AtomicU64::new(0),
            host_parked: AtomicU32::new(0),
            guest_parked: AtomicU32::new(0),
            head_epoch: AtomicU32::new(0),
            bell: Mutex::new(0),
            producers: Producers::new(capacity),
            bytes: [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    fn words(&self) -> Words<'_> {
        Words {
            tail: &self.tail,
            head: &self.head,
            host_parked: &self.host_parked,
            guest_parked: &self.guest_parked,
            head_epoch: &self.head_epoch,
            capacity: self.capacity,
        }
    }

    fn publish(&self, value: u64) -> bool {
        let words = self.words();
        let Some(range) = self.producers.reserve(&words, 64) else { return false };
        self.bytes[(range.start / 64) as usize % 4].store(value, Ordering::Relaxed);
        if self.producers.commit(&words, range) == Doorbell::Ring {
            *self.bell.lock().unwrap() += 1;
        }
        true
    }
}

/// A slot that nobody has used.
fn slot() -> Arc<SlotHead> {
    Arc::new(SlotHead {
        ready: AtomicU32::new(0),
        parked: AtomicU32::new(0),
        status: AtomicU32::new(0),
        bytes: AtomicU32::new(0),
        done: AtomicU32::new(0),
    })
}

/// Runs a check whose interleavings are too many for all of them: those in which threads are interrupted three times at the most.
fn check_bounded(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(run);
}

/// Two producers: when both are done the tail is past both, and the bytes of both are visible to who sees the tail.
/// Without the first fence of `commit` a commit is lost.
#[test]
fn commit_when_two_threads_commit_at_once_then_the_tail_passes_both() {
    loom::model(|| {
        let shared = Arc::new(Shared::new(256));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || assert!(other.publish(7)));
        assert!(shared.publish(9));
        thread.join().unwrap();
        assert_eq!(shared.tail.load(Ordering::Acquire), 128);
        let seen: u64 = shared.bytes.iter().map(|word| word.load(Ordering::Relaxed)).sum();
        assert_eq!(seen, 16);
    });
}

/// A producer and a worker that parks: the worker either sees the frame or finds the doorbell rung.
/// Without either fence of the pair the worker sleeps beside a published frame.
#[test]
fn park_when_a_frame_is_published_meanwhile_then_it_is_seen_or_the_bell_rings() {
    loom::model(|| {
        let shared = Arc::new(Shared::new(256));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || assert!(other.publish(7)));
        let mut taker = Taker::new();
        let slept = taker.park(&shared.words()).unwrap();
        thread.join().unwrap();
        if slept {
            assert_eq!(*shared.bell.lock().unwrap(), 1, "asleep beside a published frame");
        }
        assert_eq!(taker.available(&shared.words()).unwrap(), 64);
        assert_eq!(shared.bytes[0].load(Ordering::Relaxed), 7);
    });
}

/// Two producers and a worker that sleeps: one of them rings, and when it has rung both frames are there.
/// With a flag that only the worker takes back, both ring, and so does each frame until the worker is up.
#[test]
fn park_when_two_frames_are_published_to_a_sleeper_then_the_bell_rings_once() {
    loom::model(|| {
        let shared = Arc::new(Shared::new(256));
        let mut taker = Taker::new();
        assert!(taker.park(&shared.words()).unwrap());
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || assert!(other.publish(7)));
        assert!(shared.publish(9));
        thread.join().unwrap();
        assert_eq!(*shared.bell.lock().unwrap(), 1);
        taker.unpark(&shared.words());
        assert_eq!(taker.available(&shared.words()).unwrap(), 128);
    });
}

/// A worker that parks again while a producer that saw it parked before has not rung yet: every published frame has been taken, or
/// a doorbell is on its way to it.
#[test]
fn park_when_a_doorbell_is_late_then_no_frame_is_left_beside_a_sleeper() {
    check_bounded(|| {
        let shared = Arc::new(Shared::new(256));
        let mut taker = Taker::new();
        assert!(taker.park(&shared.words()).unwrap());
        let producers = [7, 9].map(|value| {
            let other = Arc::clone(&shared);
            thread::spawn(move || assert!(other.publish(value)))
        });
        // Awake for another reason, as after a call that slept: takes what is there and parks again.
        let words = shared.words();
        taker.unpark(&words);
        let mut taken = 0;
        let slept = loop {
            while taker.available(&words).unwrap() != 0 {
                taker.advance(&words, 64);
                taken += 1;
            }
            if taker.park(&words).unwrap() {
                break true;
            }
        };
        for producer in producers {
            producer.join().unwrap();
        }
        let left = (shared.tail.load(Ordering::Acquire) - taker.position()) / 64;
        assert_eq!(taken + left, 2);
        assert!(!slept || left == 0 || *shared.bell.lock().unwrap() != 0, "asleep beside a published frame");
    });
}

/// A full ring: the producer that parks either sees the room or is released.
#[test]
fn park_full_when_room_is_made_meanwhile_then_it_is_seen_or_the_sleeper_is_released() {
    loom::model(|| {
        let shared = Arc::new(Shared::new(64));
        assert!(shared.publish(7));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut taker = Taker::new();
            let words = other.words();
            assert_eq!(taker.available(&words).unwrap(), 64);
            let woken = taker.advance(&words, 64);
            // The ring is empty: the worker asks once more before it parks.
            woken | taker.release_sleepers(&words)
        });
        let epoch = shared.producers.park_full(&shared.words(), 64);
        let woken = thread.join().unwrap();
        if let Some(epoch) = epoch {
            assert!(woken, "asleep beside an empty ring");
            assert_ne!(shared.head_epoch.load(Ordering::Acquire), epoch, "the sleeper's word did not change");
        }
    });
}

/// A full ring of which the worker tells a quarter at a time: the producer that parks sees the room or is released, whatever the
/// worker had not told when it found the ring empty.
#[test]
fn park_full_when_the_worker_tells_of_room_late_then_it_is_seen_or_the_sleeper_is_released() {
    check_bounded(|| {
        let shared = Arc::new(Shared::new(512));
        for value in 0..8 {
            assert!(shared.publish(value));
        }
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut taker = Taker::new();
            let words = other.words();
            let mut woken = false;
            for _ in 0..7 {
                assert_ne!(taker.available(&words).unwrap(), 0);
                woken |= taker.advance(&words, 64);
            }
            // One frame is left, and one granule is not told of; now the worker looks before it parks.
            woken | taker.release_sleepers(&words)
        });
        let epoch = shared.producers.park_full(&shared.words(), 64);
        let woken = thread.join().unwrap();
        assert_eq!(shared.head.load(Ordering::Acquire), 7 * 64);
        if let Some(epoch) = epoch {
            assert!(woken, "asleep beside room");
            assert_ne!(shared.head_epoch.load(Ordering::Acquire), epoch, "the sleeper's word did not change");
        }
    });
}

/// Two producers wrap around a ring of two granules while the worker takes: no frame is lost, doubled or torn.
#[test]
fn ring_when_it_wraps_under_two_producers_then_each_frame_is_taken_once() {
    check_bounded(|| {
        let shared = Arc::new(Shared::new(128));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !other.publish(1) {
                thread::yield_now()
            }
        });
        let another = Arc::clone(&shared);
        let second = thread::spawn(move || {
            while !another.publish(10) {
                thread::yield_now()
            }
        });
        let mut taker = Taker::new();
        let mut sum = 0;
        while taker.position() < 128 {
            let words = shared.words();
            if taker.available(&words).unwrap() == 0 {
                thread::yield_now();
                continue;
            }
            sum += shared.bytes[(taker.position() / 64) as usize % 4].load(Ordering::Relaxed);
            taker.advance(&words, 64);
        }
        assert_eq!(sum, 11);
        thread.join().unwrap();
        second.join().unwrap();
    });
}

/// A reply and a waiting thread that parks: it either sees the reply or is woken, and the reply's words are whole.
#[test]
fn slot_when_the_reply_comes_while_the_thread_parks_then_it_is_seen_or_woken() {
    loom::model(|| {
        let slot = slot();
        let other = Arc::clone(&slot);
        let worker = thread::spawn(move || publish(&other, 1, -3, 12));
        let sleeps = !is_ready(&slot, 1) && park(&slot, 1).is_some();
        let woken = worker.join().unwrap();
        assert!(!sleeps || woken, "asleep beside a reply");
        unpark(&slot);
        assert!(is_ready(&slot, 1));
        assert_eq!((slot.status.load(Ordering::Relaxed) as i32, slot.bytes.load(Ordering::Relaxed)), (-3, 12));
    });
}

/// A slot goes from one thread to another: what the first read and wrote in it is over before the second has it.
/// With relaxed taking or giving the second may see the slot as it was before the first.
#[test]
fn slots_when_one_is_given_then_its_last_use_is_over_for_who_takes_it() {
    loom::model(|| {
        let free = Arc::new(FreeSlots::new());
        // All but one are in use.
        (1..64).for_each(|index| assert_eq!(free.take(index), Some(index)));
        let used = Arc::new(AtomicU32::new(0));
        let (others_free, others_used) = (Arc::clone(&free), Arc::clone(&used));
        let thread = thread::spawn(move || use_slot(&others_free, &others_used));
        let mine = use_slot(&free, &used);
        let other = thread.join().unwrap();
        if mine && other {
            assert_eq!(used.load(Ordering::Relaxed), 2, "two threads had the slot at a time");
        }
        assert!(mine || other);
    });
}

/// Takes the one slot, if it is free, and counts in memory that only its owner may touch.
fn use_slot(free: &FreeSlots, used: &AtomicU32) -> bool {
    let Some(index) = free.take(0) else { return false };
    let before = used.load(Ordering::Relaxed);
    used.store(before + 1, Ordering::Relaxed);
    free.give(index);
    true
}

/// The next call in a slot while the wake-up of the last one is still on its way: the waiter may be woken too often, never too
/// seldom, and takes no old reply for its own.
#[test]
fn slot_when_it_is_used_again_then_the_second_reply_is_the_one_that_is_taken() {
    check_bounded(|| {
        let slot = slot();
        // What the guest has asked for, as its ring tells the worker.
        let asked = Arc::new(AtomicU32::new(1));
        let (theirs, wants) = (Arc::clone(&slot), Arc::clone(&asked));
        let worker = thread::spawn(move || {
            publish(&theirs, 1, 10, 1);
            while wants.load(Ordering::Acquire) != 2 {
                thread::yield_now();
            }
            publish(&theirs, 2, 20, 2)
        });
        while !is_ready(&slot, 1) {
            thread::yield_now();
        }
        assert_eq!((slot.status.load(Ordering::Relaxed), slot.bytes.load(Ordering::Relaxed)), (10, 1));
        asked.store(2, Ordering::Release);
        let sleeps = !is_ready(&slot, 2) && park(&slot, 2).is_some();
        let woken = worker.join().unwrap();
        assert!(!sleeps || woken, "asleep beside a reply");
        unpark(&slot);
        assert!(is_ready(&slot, 2));
        assert_eq!((slot.status.load(Ordering::Relaxed), slot.bytes.load(Ordering::Relaxed)), (20, 2));
    });
}

/// A futex: a word's sleepers, who are there only while the word has the value they fell asleep on.
struct Futex(Mutex<(bool, bool)>);

impl Futex {
    /// Whether the thread falls asleep.
    fn wait(&self, word: &AtomicU32, value: u32) -> bool {
        let mut state = self.0.lock().unwrap();
        state.0 = word.load(Ordering::Relaxed) == value;
        state.0
    }

    fn wake(&self) {
        let mut state = self.0.lock().unwrap();
        state.1 |= state.0;
    }
}

/// The front declares a session dead while a thread of its guest goes to sleep on a reply (local carrier, `wire.md` § Window): it
/// changes the word, so the thread sees that the session is dead, does not fall asleep, or is woken.
/// Without the change of the word a thread that looked before the death sleeps on.
#[test]
fn death_when_a_thread_goes_to_sleep_then_it_does_not_or_is_woken() {
    loom::model(|| {
        let slot = slot();
        let state = Arc::new(AtomicU32::new(0));
        let futex = Arc::new(Futex(Mutex::new((false, false))));
        let (theirs, dead, sleepers) = (Arc::clone(&slot), Arc::clone(&state), Arc::clone(&futex));
        let front = thread::spawn(move || {
            dead.store(2, Ordering::Release);
            theirs.ready.fetch_add(1 << 31, Ordering::AcqRel);
            sleepers.wake();
        });
        let mut asleep = false;
        if let Some(value) = park(&slot, 1)
            && state.load(Ordering::Acquire) != 2
        {
            asleep = futex.wait(&slot.ready, value);
        }
        front.join().unwrap();
        assert!(!asleep || futex.0.lock().unwrap().1, "asleep in a dead session");
        assert!(!is_ready(&slot, 1), "death is no reply");
    });
}

/// The status of a posted call that failed (`wire.md` § Replies): the first of two stays until the guest takes it, and is
/// taken once.
#[test]
fn deferred_when_two_calls_fail_then_the_first_is_taken_once() {
    loom::model(|| {
        let deferred = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&deferred);
        // As the worker's `Session::defer`.
        let worker = thread::spawn(move || {
            [700, 1].map(|status| theirs.compare_exchange(0, status, Ordering::Release, Ordering::Relaxed).is_ok())
        });
        // As the guest's `Session::take_deferred`, by two threads' turns.
        let take = || if deferred.load(Ordering::Relaxed) == 0 { 0 } else { deferred.swap(0, Ordering::AcqRel) };
        let taken = [take(), take()];
        let kept = worker.join().unwrap();
        let left = deferred.load(Ordering::Acquire);
        assert!(kept[0]);
        assert_eq!(taken.iter().sum::<u32>() + left, 700 + u32::from(kept[1]), "none is lost and none taken twice");
    });
}
