//! The three queues: taking requests and doorbells, giving answers and events.

use std::mem::offset_of;
use std::sync::atomic::Ordering;

use vhost_user_backend::VringT;
use virtio_queue::{DescriptorChain, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryLoadGuard, GuestMemoryMmap};
use wire::Malformed;
use wire::control::Death;
use wire::device::{QUEUE_CONTROL, QUEUE_COUNT, QUEUE_DOORBELL, QUEUE_EVENT, RESPONSE_INVALID};
use wire::window::{Header, STATE_DEAD};

use super::chain::{self, ANSWER_BYTES, Answer, Broken, MAX_REQUEST_BYTES, Taken};
use super::device::Vring;
use super::events::Pending;
use super::request::{Limits, Request};
use super::sessions::Sessions;
use crate::complaints::Complaints;

/// A view of guest memory that stays valid while it is held.
pub(super) type Guard = GuestMemoryLoadGuard<GuestMemoryMmap>;

/// What is kept about the queues.
#[derive(Default)]
pub(super) struct Queues {
    vrings: Vec<Vring>,
    broken: [bool; QUEUE_COUNT as usize],
    /// Queues of which not all chains were taken: their turn comes again.
    unfinished: [bool; QUEUE_COUNT as usize],
    /// The driver has no buffer in the event queue that was not taken.
    no_event_buffers: bool,
    complaints: Complaints,
}

fn pair(first: u32, second: u32) -> [u8; ANSWER_BYTES] {
    (u64::from(first) | u64::from(second) << 32).to_le_bytes()
}

/// A queue's ring, where it is set up: one that is not may have addresses from before a reset, which are not to be written.
fn running(queue: u32, vrings: &[Vring]) -> Option<&Vring> {
    vrings.get(queue as usize).filter(|vring| vring.get_ref().get_queue().ready())
}

impl Queues {
    /// The rings are set up.
    pub(super) fn start(&mut self, vrings: &[Vring]) {
        self.vrings = vrings.to_vec();
        self.broken = [false; QUEUE_COUNT as usize];
        self.unfinished = [false; QUEUE_COUNT as usize];
        self.no_event_buffers = false;
    }

    /// The rings are stopped.
    pub(super) fn stop(&mut self) {
        self.vrings.clear();
        self.unfinished = [false; QUEUE_COUNT as usize];
    }

    /// Whether chains of this queue were left for its next turn.
    pub(super) fn is_unfinished(&self, queue: u32) -> bool {
        self.unfinished.get(queue as usize) == Some(&true)
    }

    /// The rings that run.
    pub(super) fn vrings(&self) -> Vec<Vring> {
        self.vrings.clone()
    }

    fn complain(&mut self, queue: u32, why: Malformed) {
        self.complaints.add(format_args!("queue {queue}: {why}"));
    }

    /// The next chain of a queue. A ring that says what cannot be is not looked at again until it is set up anew.
    fn next(&mut self, queue: u32, memory: &Guard, vrings: &[Vring]) -> Option<DescriptorChain<Guard>> {
        let broken = self.broken.get_mut(queue as usize)?;
        if *broken {
            return None;
        }
        let mut vring = running(queue, vrings)?.get_mut();
        let next = vring.get_queue_mut().iter(memory.clone()).map(|mut chains| chains.next());
        match next {
            Ok(chain) => chain,
            Err(error) => {
                *broken = true;
                log::error!("queue {queue} is broken and ignored until the driver resets it: {error}");
                None
            }
        }
    }

    /// Takes all chains of a queue, then waits for a kick again. A driver that adds chains as fast as they are taken does not hold
    /// up all else: as many as the queue has entries are one turn.
    fn drain(
        &mut self,
        queue: u32,
        memory: &Guard,
        vrings: &[Vring],
        mut each: impl FnMut(&mut Queues, DescriptorChain<Guard>),
    ) {
        let Some(unfinished) = self.unfinished.get_mut(queue as usize) else { return };
        *unfinished = false;
        let Some(vring) = running(queue, vrings) else { return };
        let mut left = vring.get_ref().get_queue().size();
        // Twice nothing although the ring says there is something: its entries cannot be read.
        let mut nothing = 0;
        while nothing < 2 {
            let _ = vring.disable_notification();
            nothing += 1;
            while let Some(chain) = self.next(queue, memory, vrings) {
                nothing = 0;
                each(self, chain);
                left = left.saturating_sub(1);
                if left == 0 {
                    self.unfinished[queue as usize] = true;
                    return;
                }
            }
            if !matches!(vring.enable_notification(), Ok(true)) {
                break;
            }
        }
    }

    /// Gives a chain back with `bytes` bytes written.
    fn give_back(&self, queue: u32, vrings: &[Vring], head: u16, bytes: u32) {
        if let Some(vring) = vrings.get(queue as usize) {
            // A head out of the table cannot be given back; the driver that made it must reset.
            if let Err(error) = vring.add_used(head, bytes) {
                log::debug!("queue {queue}: chain {head} cannot be given back: {error}");
            }
        }
    }

    fn notify(&self, queue: u32, vrings: &[Vring]) {
        let Some(vring) = vrings.get(queue as usize) else { return };
        // Where the ring cannot be read, rather one interrupt too many.
        if vring.needs_notification().unwrap_or(true)
            && let Err(error) = vring.signal_used_queue()
        {
            log::error!("queue {queue}: interrupting the guest: {error}");
        }
    }

    /// Takes the control queue's requests.
    pub(super) fn requests(&mut self, memory: &Guard, vrings: &[Vring], limits: &Limits, sessions: &mut Sessions) {
        self.drain(QUEUE_CONTROL, memory, vrings, |queues, chain| {
            let result = match chain::take(chain, MAX_REQUEST_BYTES) {
                Ok(Taken { answer, .. }) if !answer.fits() => {
                    Err(Broken { why: Malformed::new("request without room for a response"), answer })
                }
                Ok(Taken { request, answer }) => match Request::decode(&request, limits) {
                    Ok(request) => Ok((request, answer)),
                    Err(why) => Err(Broken { why, answer }),
                },
                Err(broken) => Err(broken),
            };
            match result {
                Ok((request, answer)) => sessions.request(request, answer),
                Err(Broken { why, answer }) => {
                    queues.complain(QUEUE_CONTROL, why);
                    sessions.out.answers.push((answer, RESPONSE_INVALID));
                }
            }
        });
    }

    /// Takes the doorbell queue's rings.
    pub(super) fn doorbells(&mut self, memory: &Guard, vrings: &[Vring], sessions: &Sessions) {
        self.drain(QUEUE_DOORBELL, memory, vrings, |queues, chain| {
            let head = chain.head_index();
            let bell = chain::take(chain, ANSWER_BYTES).map_err(|broken| broken.why);
            match bell.and_then(|taken| doorbell(&taken.request)) {
                // A session that has just ended: its death is on its way.
                Ok(session) if !sessions.doorbell(session) => log::debug!("doorbell of no session: {session}"),
                Ok(_) => {}
                Err(why) => queues.complain(QUEUE_DOORBELL, why),
            }
            queues.give_back(QUEUE_DOORBELL, vrings, head, 0);
        });
        self.notify(QUEUE_DOORBELL, vrings);
    }

    /// Answers requests.
    pub(super) fn answer(&mut self, memory: &Guard, vrings: &[Vring], answers: &mut Vec<(Answer, u32)>) {
        if answers.is_empty() {
            return;
        }
        for (answer, status) in answers.drain(..) {
            let bytes = answer.write(&**memory, &pair(status, 0));
            self.give_back(QUEUE_CONTROL, vrings, answer.head, bytes);
        }
        self.notify(QUEUE_CONTROL, vrings);
    }

    /// The driver has put buffers into the event queue.
    pub(super) fn more_event_buffers(&mut self, vrings: &[Vring]) {
        self.no_event_buffers = false;
        if let Some(vring) = running(QUEUE_EVENT, vrings) {
            let _ = vring.disable_notification();
        }
    }

    /// Puts events into the driver's buffers, as far as there are any.
    pub(super) fn deliver_events(&mut self, memory: &Guard, vrings: &[Vring], pending: &mut Pending) {
        if pending.is_empty() || self.no_event_buffers {
            return;
        }
        let mut given = false;
        while !pending.is_empty() {
            let Some(chain) = self.next(QUEUE_EVENT, memory, vrings) else {
                // Looks once more after asking for a kick, so that a buffer that came meanwhile is not missed.
                let more = running(QUEUE_EVENT, vrings).map(|vring| vring.enable_notification());
                if self.no_event_buffers || !matches!(more, Some(Ok(true))) {
                    self.no_event_buffers = true;
                    break;
                }
                self.no_event_buffers = true;
                continue;
            };
            self.no_event_buffers = false;
            given = true;
            let (answer, why) = match chain::take(chain, 0) {
                Ok(taken) if taken.answer.fits() => (taken.answer, None),
                Ok(taken) => (taken.answer, Some(Malformed::new("event buffer too small"))),
                Err(broken) => (broken.answer, Some(broken.why)),
            };
            let mut bytes = 0;
            match why {
                Some(why) => self.complain(QUEUE_EVENT, why),
                None => {
                    if let Some(event) = pending.take() {
                        bytes = answer.write(&**memory, &pair(event.kind, event.session));
                    }
                }
            }
            self.give_back(QUEUE_EVENT, vrings, answer.head, bytes);
        }
        if given {
            self.notify(QUEUE_EVENT, vrings);
        }
    }

    /// Writes a worker's death into the window's header.
    pub(super) fn mark_dead(&self, memory: &GuestMemoryMmap, header: u64, death: Death) {
        let at = |offset: usize| GuestAddress(header.saturating_add(offset as u64));
        let written = memory
            .store(death as u32, at(offset_of!(Header, death)), Ordering::Relaxed)
            // Release: pairs with the guest's acquire of `state`; the reason is there before.
            .and_then(|()| memory.store(STATE_DEAD, at(offset_of!(Header, state)), Ordering::Release));
        if let Err(error) = written {
            log::error!("a dead session's window is not in guest memory any more: {error}");
        }
    }
}

fn doorbell(request: &[u8]) -> Result<u32, Malformed> {
    let mut reader = wire::payload::Reader::new(request);
    let (session, reserved) = (reader.u32()?, reader.u32()?);
    reader.end()?;
    if reserved == 0 { Ok(session) } else { Err(Malformed::new("doorbell with a reserved word that is not zero")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vhost_user_backend::VringMutex;
    use virtio_queue::desc::{RawDescriptor, split::Descriptor};
    use virtio_queue::mock::MockSplitQueue;
    use vm_memory::{GuestAddressSpace, GuestMemoryAtomic};

    const SIZE: u16 = 16;

    #[test]
    fn drain_when_a_chain_is_added_for_each_that_is_taken_then_ends_and_is_unfinished() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x10_0000)]).expect("memory");
        let driver = MockSplitQueue::new(&memory, SIZE);
        for index in 0..SIZE {
            let descriptor = RawDescriptor::from(Descriptor::new(0x8000, 8, 0, 0));
            driver.desc_table().store(index, descriptor).expect("stored");
            driver.avail().ring().ref_at(usize::from(index)).expect("entry").store(index);
        }
        let atomic = GuestMemoryAtomic::new(memory.clone());
        let vrings: Vec<Vring> =
            (0..QUEUE_COUNT).map(|_| VringMutex::new(atomic.clone(), SIZE).expect("a ring")).collect();
        let vring = &vrings[QUEUE_DOORBELL as usize];
        vring.set_queue_size(SIZE);
        let [table, avail, used] = [driver.desc_table_addr(), driver.avail_addr(), driver.used_addr()].map(|at| at.0);
        vring.set_queue_info(table, avail, used).expect("addresses");
        vring.set_queue_ready(true);
        let mut queues = Queues::default();
        queues.start(&vrings);
        let available = |count: u16| driver.avail().idx().store(count);
        for turn in 0..3 {
            let mut taken = 0;
            available(turn * SIZE + 1);
            queues.drain(QUEUE_DOORBELL, &atomic.memory(), &vrings, |_, _| {
                taken += 1;
                assert!(taken <= SIZE, "without end");
                available(turn * SIZE + taken + 1);
            });
            assert!(taken == SIZE && queues.is_unfinished(QUEUE_DOORBELL) && !queues.is_unfinished(QUEUE_CONTROL));
        }
        // The last one that was added; then it waits for a kick.
        queues.drain(QUEUE_DOORBELL, &atomic.memory(), &vrings, |_, _| ());
        assert!(!queues.is_unfinished(QUEUE_DOORBELL));
    }
}
