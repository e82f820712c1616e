//! What is to be done here when a command has ended on the host: data is moved to where the program wants it, shared memory is
//! free again. It is done before the program can learn of the end: by whoever asks or waits for anything.

use crate::area::Layout;
use crate::arena::Ref;
use crate::caller::Caller;
use crate::event::{self, Event};
use crate::pool::Chunk;
use crate::printed;
use crate::queue::Queue;
use crate::words;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct Pending {
    event: Ref<Event>,
    chunk: Chunk,
    /// Where the chunk's bytes go.
    to: Option<Layout>,
}

static PENDING: Mutex<Vec<Pending>> = Mutex::new(Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn pending() -> MutexGuard<'static, Vec<Pending>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps `chunk` until `event` has ended; its bytes go to `to` then.
pub fn add(event: Ref<Event>, chunk: Chunk, to: Option<Layout>) {
    let mut all = pending();
    all.push(Pending { event, chunk, to });
    COUNT.store(all.len(), Ordering::Release);
}

/// The bytes of these events' commands go nowhere: the program was told that they do not come.
pub fn forget(events: &[Ref<Event>]) {
    let is_theirs = |one: &Pending| events.iter().any(|event| Arc::ptr_eq(event, &one.event));
    pending().iter_mut().filter(|one| is_theirs(one)).for_each(|one| one.to = None);
}

/// The events of a queue that something is waiting for here.
pub fn of_queue(queue: &Ref<Queue>) -> Vec<Ref<Event>> {
    if COUNT.load(Ordering::Acquire) == 0 {
        return Vec::new();
    }
    pending().iter().filter(|one| one.event.is_of(queue)).map(|one| one.event.clone()).collect()
}

/// Where a command of a queue that keeps the order has ended well, those before it have: the host's library may be late to say so.
fn pass(all: &[Pending]) {
    let mut passed: Vec<&Ref<Queue>> = Vec::new();
    for event in all.iter().rev().map(|one| &one.event) {
        let Some(queue) = event.queue().filter(|queue| queue.is_in_order()) else { continue };
        let is_passed = passed.iter().any(|other| Arc::ptr_eq(other, queue));
        if is_passed {
            event.end();
        } else if event.has_ended() && !event.has_failed() {
            passed.push(queue);
        }
    }
}

/// Does what is due. Whoever comes second waits until the first has moved everything.
pub fn settle(caller: &Caller) {
    words::learn();
    printed::show(caller);
    if COUNT.load(Ordering::Acquire) == 0 {
        return;
    }
    let mut all = pending();
    let unknown: Vec<Ref<Event>> =
        all.iter().filter(|one| !one.event.has_ended()).map(|one| one.event.clone()).collect();
    if !unknown.is_empty() {
        // Where the host does not answer it is gone, and nothing will end any more.
        let _ = event::ask(caller, &unknown);
    }
    pass(&all);
    let (due, rest): (Vec<Pending>, Vec<Pending>) = all.drain(..).partition(|one| one.event.has_ended());
    for one in &due {
        if let Some(to) = &one.to {
            // SAFETY: the chunk is as large as the layout; the program's memory is good until it is told of the end.
            unsafe { to.scatter(one.chunk.address) };
        }
    }
    *all = rest;
    COUNT.store(all.len(), Ordering::Release);
    drop(all);
    // Outside the lock: an object may end with this.
    drop(due);
}
