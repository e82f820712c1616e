//! Model checks of how the worker's threads hand the ring over (`backend/src/worker/post.rs`, this very file), together with
//! the ring's words: every interleaving of a small run. Run as `model.rs` is; a frame beside which all sleep is a deadlock of
//! the model.
#![cfg(loom)]

#[allow(dead_code, reason = "the worker uses the rest")]
#[path = "../../../backend/src/worker/post.rs"]
mod post;

use std::convert::Infallible;

use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use post::{Begun, Post};
use wire::ring::{Doorbell, Producers, Taker, Words};

const CAPACITY: u64 = 256;

/// An eventfd that can be waited for.
struct Bell {
    rung: Mutex<bool>,
    wake: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.wake.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.wake.wait(rung).unwrap();
        }
        *rung = false;
    }
}

struct Worker {
    tail: AtomicU64,
    head: AtomicU64,
    host_parked: AtomicU32,
    guest_parked: AtomicU32,
    head_epoch: AtomicU32,
    producers: Producers,
    post: Post<Taker>,
    bell: Bell,
    /// Frames whose calls were begun; all of them when it is `frames`.
    begun: AtomicU32,
    frames: u32,
    over: AtomicBool,
    /// The first call ends when the second was begun.
    second: Bell,
    waits: bool,
    /// The first call is begun without parking, where that is allowed, and who published it rings once it has waited for long.
    stays: bool,
    answered: AtomicBool,
}

impl Worker {
    fn new(frames: u32, waits: bool, stays: bool) -> Worker {
        let bell = || Bell { rung: Mutex::new(false), wake: Condvar::new() };
        Worker {
            tail: AtomicU64::new(0),
            head: AtomicU64::new(0),
            host_parked: AtomicU32::new(0),
            guest_parked: AtomicU32::new(0),
            head_epoch: AtomicU32::new(0),
            producers: Producers::new(CAPACITY),
            post: Post::new(Taker::new()),
            bell: bell(),
            begun: AtomicU32::new(0),
            frames,
            over: AtomicBool::new(false),
            second: bell(),
            waits,
            stays,
            answered: AtomicBool::new(false),
        }
    }

    fn words(&self) -> Words<'_> {
        Words {
            tail: &self.tail,
            head: &self.head,
            host_parked: &self.host_parked,
            guest_parked: &self.guest_parked,
            head_epoch: &self.head_epoch,
            capacity: CAPACITY,
        }
    }

    fn publish(&self) {
        let words = self.words();
        let range = self.producers.reserve(&words, 64).expect("room");
        if self.producers.commit(&words, range) == Doorbell::Ring {
            self.bell.ring();
        }
    }

    /// A thread of the worker: leads with `lead`, or stands by, until all frames were taken. The first frame's call may sleep.
    fn serve(&self, mut lead: Option<Taker>) {
        loop {
            let taken = match lead.take() {
                Some(lead) => Some(lead),
                None => self.post.stand_by(|| {
                    self.bell.wait();
                    !self.over.load(Ordering::SeqCst)
                }),
            };
            let Some(mut leads) = taken else { return };
            let words = self.words();
            leads.hear(&words).unwrap();
            loop {
                if leads.available(&words).unwrap() == 0 {
                    match self.post.lay_down(leads, |lead| Ok::<_, Infallible>(lead.park(&words).unwrap())).unwrap() {
                        Some(again) => leads = again,
                        None => break,
                    }
                    continue;
                }
                leads.advance(&words, 64);
                let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
                if number == self.frames {
                    // Who rests or stands by goes home: a call that begins rouses the one, the doorbell wakes the other.
                    self.over.store(true, Ordering::SeqCst);
                    self.begin(leads, &words, false);
                    self.second.ring();
                    self.bell.ring();
                    return;
                }
                match self.call(leads, &words) {
                    Some(again) => leads = again,
                    None => break,
                }
            }
            if self.over.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    fn begin(&self, lead: Taker, words: &Words<'_>, stays: bool) {
        let park = |lead: &mut Taker, may_stay: bool| {
            if stays && may_stay && !lead.may_have_rung() {
                return Ok::<_, Infallible>(Begun::Unparked);
            }
            Ok(if lead.park(words).unwrap() { Begun::Parked } else { Begun::Frames })
        };
        let duties = self.post.begin_call(lead, 8, park).unwrap().expect("few calls");
        // The other thread of the model is there from the start.
        if duties.ring {
            self.bell.ring();
        }
    }

    /// A call that sleeps, as long as the second frame is not taken where `waits` says so.
    fn call(&self, lead: Taker, words: &Words<'_>) -> Option<Taker> {
        self.begin(lead, words, self.stays);
        if self.waits {
            self.second.wait();
        }
        let lead = self.post.end_call();
        if let Some(lead) = &lead {
            lead.unpark(words);
        }
        self.answered.store(true, Ordering::SeqCst);
        lead
    }

    /// The guest's thread that waits for the first call has waited for long.
    fn is_overdue(&self) {
        if !self.answered.load(Ordering::SeqCst) && self.host_parked.load(Ordering::Relaxed) == 0 {
            self.bell.ring();
        }
    }
}

fn check(waits: bool, early: u32) {
    let rest = move |worker: &Worker| (early..2).for_each(|_| worker.publish());
    run(early, move || Worker::new(2, waits, false), rest);
}

/// `early` frames are there before the worker's threads run; the guest's thread does the rest.
fn run(early: u32, make: impl Fn() -> Worker + Sync + Send + 'static, rest: impl Fn(&Worker) + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let worker = Arc::new(make());
        for _ in 0..early {
            worker.publish();
        }
        let first = Arc::clone(&worker);
        let lead = worker.post.take();
        let leader = thread::spawn(move || first.serve(lead));
        let second = Arc::clone(&worker);
        let other = thread::spawn(move || second.serve(None));
        rest(&worker);
        leader.join().unwrap();
        other.join().unwrap();
        assert_eq!(worker.begun.load(Ordering::SeqCst), 2);
    });
}

/// The first call sleeps until the second frame is taken: it is, by whoever stands at the doorbell, also where it is
/// published while the lead is laid down. Without the lock around parking and laying down, or with the parking forgotten, all
/// sleep.
#[test]
fn call_when_it_sleeps_then_the_next_frame_is_taken_by_another_thread() {
    check(true, 1);
}

/// Both frames are there when the first call begins: the worker is not parked, and the doorbell is rung for the second.
#[test]
fn call_when_a_frame_waits_already_then_the_doorbell_is_rung_for_it() {
    check(true, 2);
}

/// The first call ends at once: its thread takes the lead again, or the sentry has it; the second frame is taken in any case,
/// and the doorbell that was rung for it, late, does no harm.
#[test]
fn call_when_it_ends_at_once_then_no_frame_is_left() {
    check(false, 0);
}

/// The first call is begun without parking and sleeps until the second frame is taken, for which nobody rings when it is published:
/// who waits for the first does, whenever that is. Without that doorbell, or with one forgotten that was heard before the call was
/// begun, all sleep.
#[test]
fn call_when_it_was_begun_without_parking_then_who_waits_for_it_has_the_next_frame_taken() {
    let make = || Worker::new(2, true, true);
    run(0, make, |worker| {
        worker.publish();
        worker.publish();
        worker.is_overdue();
    });
    run(1, make, |worker| {
        worker.is_overdue();
        worker.publish();
    });
}
