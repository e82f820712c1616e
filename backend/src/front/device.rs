//! The virtio device, as a vhost-user backend: configuration space, features, and the three queues.
//!
//! One thread serves the queues and the workers' descriptors; the VMM's messages come on another. The state has one lock.
//! What `vhost-user-backend` punishes is avoided: no event is ever answered with an error (its thread would end silently), a
//! queue whose ring is broken is left alone until it is set up anew (its iterator would not advance), and everything that
//! outlives a request is made from the files of guest memory, not from its mapping.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VringEpollHandler, VringMutex, VringT};
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};
use wire::device::{
    CAPABILITY_KEEPS, Config, DEVICE_MAJOR, DEVICE_MINOR, MAGIC, MAX_PIN_PAGES, QUEUE_CONTROL, QUEUE_COUNT,
    QUEUE_DOORBELL, QUEUE_EVENT,
};
use wire::window::{Header, WINDOW_BYTES_VIRTIO};

use super::nursery::Nursery;
use super::queues::Queues;
use super::request::Limits;
use super::roster::Row;
use super::sessions::Sessions;
use super::watch::Watch;
use crate::complaints::Complaints;
use crate::ledger::Ledger;

/// Name of the workers' descriptors in the queues' poll loop; numbers up to the queues' count are taken.
const EVENT_WATCH: u64 = QUEUE_COUNT as u64 + 1;
/// Largest queue that a VMM may ask for.
const MAX_QUEUE_SIZE: usize = 32768;

/// Pause before the next turn of a queue that is longer than one turn: the VMM's messages and other sessions come between.
const BETWEEN_TURNS: Duration = Duration::from_micros(50);
/// Looks at workers' news before what they brought is delivered.
const MOST_LOOKS: usize = 16;
/// How long to look for workers' answers to the requests that were just passed on: a worker answers most of them sooner than
/// this thread could sleep and be woken.
const ANSWERS_SOON: Duration = Duration::from_micros(60);

/// Guest memory as the VMM gives it.
pub type Memory = GuestMemoryAtomic<GuestMemoryMmap>;
/// A queue.
pub type Vring = VringMutex<Memory>;

struct State {
    sessions: Sessions,
    queues: Queues,
    memory: Option<Memory>,
    /// The rings were stopped: the driver may be another when they start again.
    stopped: bool,
    /// The rings ran at least once.
    started: bool,
}

/// See the module's head.
pub struct Device {
    state: Mutex<State>,
    config: Config,
    limits: Limits,
    /// The VMM has asked for something: before that, a connection was only a look whether we live.
    talked: OnceLock<()>,
    /// Descriptor that the poll loop was given to end by, and never closes.
    exit: OnceLock<RawFd>,
    /// About the configuration space, which a guest may read and write as often as it likes.
    complaints: Mutex<Complaints>,
}

impl Device {
    /// A device with no VMM yet.
    /// # Errors
    /// Where there is no descriptor to watch workers by.
    pub fn new(nursery: Arc<Nursery>, ledger: Arc<Ledger>) -> io::Result<Device> {
        let limits = Limits {
            max_sessions: nursery.max_sessions(),
            window_bytes: WINDOW_BYTES_VIRTIO as u32,
            max_pin_pages: MAX_PIN_PAGES,
        };
        let config = Config {
            magic: MAGIC,
            major: DEVICE_MAJOR,
            minor: DEVICE_MINOR,
            capabilities: CAPABILITY_KEEPS,
            max_sessions: limits.max_sessions,
            window_bytes: limits.window_bytes,
            max_pin_pages: limits.max_pin_pages,
            wire_version: wire::WIRE_VERSION,
            reserved: [0; 4],
        };
        let state = State {
            sessions: Sessions::new(nursery, ledger, Watch::new()?),
            queues: Queues::default(),
            memory: None,
            stopped: true,
            started: false,
        };
        Ok(Device {
            state: Mutex::new(state),
            config,
            limits,
            talked: OnceLock::new(),
            exit: OnceLock::new(),
            complaints: Mutex::default(),
        })
    }

    fn complain(&self, line: std::fmt::Arguments<'_>) {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).add(line);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the queues' thread see the workers' news.
    /// # Errors
    /// As epoll_ctl(2).
    pub fn watch_workers(&self, handler: &VringEpollHandler<Arc<Device>>) -> io::Result<()> {
        let fd = self.lock().sessions.watch().as_raw_fd();
        handler.register_listener(fd, EventSet::IN, EVENT_WATCH)
    }

    /// What is shown of the sessions. The counts lie in guest memory; where a window is not there any more they are 0.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let state = self.lock();
        let memory = state.memory.as_ref().map(GuestAddressSpace::memory);
        state.sessions.rows(|header| {
            std::array::from_fn(|at| {
                let offset = offset_of!(Header, counters) + at * size_of::<u64>();
                let address = GuestAddress(header.saturating_add(offset as u64));
                memory.as_ref().and_then(|memory| memory.load(address, Ordering::Relaxed).ok()).unwrap_or(0)
            })
        })
    }

    /// Whether a VMM has talked to the device, rather than a process that looked whether it lives.
    #[must_use]
    pub fn has_talked(&self) -> bool {
        self.talked.get().is_some()
    }

    /// The descriptor to close when the poll loop has ended.
    #[must_use]
    pub fn exit_descriptor(&self) -> Option<RawFd> {
        self.exit.get().copied()
    }

    /// Ends all sessions: the VMM is gone.
    pub fn end(&self) {
        let mut state = self.lock();
        if self.has_talked() && !state.started {
            log::warn!(
                "no driver of the guest has set the device up: the VMM must give it num_vqs={QUEUE_COUNT} and config_size={}, \
                 and the guest needs the module virtio_gpuferry",
                size_of::<Config>()
            );
        }
        state.sessions.forget_all();
        state.queues.stop();
    }
}

impl State {
    /// Delivers answers, deaths and events.
    fn deliver(&mut self, vrings: &[Vring]) {
        let Some(memory) = &self.memory else { return };
        let memory = memory.memory();
        let out = &mut self.sessions.out;
        for (address, death) in out.deaths.drain(..) {
            self.queues.mark_dead(&memory, address, death);
        }
        self.queues.answer(&memory, vrings, &mut out.answers);
        self.queues.deliver_events(&memory, vrings, &mut out.events);
    }

    /// Begins again once the control ring is set up; the others follow it, each with an event when it is. A driver that begins
    /// anew begins with the first entry; one that goes on after a pause does not.
    fn restart(&mut self, vrings: &[Vring]) -> bool {
        let Some(control) = vrings.get(QUEUE_CONTROL as usize) else { return false };
        if !control.get_ref().get_queue().ready() {
            return false;
        }
        self.stopped = false;
        self.started = true;
        self.queues.start(vrings);
        if control.queue_next_avail() == 0 {
            self.sessions.forget_all();
        } else {
            self.sessions.go_on();
        }
        true
    }

    /// Looks for answers for a short time, as long as there is nothing else to deliver.
    fn await_answers(&mut self) {
        let begin = Instant::now();
        let has_nothing = |sessions: &Sessions| sessions.out.answers.is_empty() && sessions.out.events.is_empty();
        while has_nothing(&self.sessions) && self.sessions.awaits_answers() && begin.elapsed() < ANSWERS_SOON {
            self.workers_news();
        }
    }

    /// What workers say; looked at with every event, as one that comes now saves another. A worker that always has news does not
    /// keep the others' answers: what is left makes the poll loop come again.
    fn workers_news(&mut self) {
        for _ in 0..MOST_LOOKS {
            let news = self.sessions.watch().news();
            if news.is_empty() {
                break;
            }
            news.into_iter().for_each(|token| self.sessions.news(token));
        }
    }
}

impl VhostUserBackend for Device {
    type Bitmap = ();
    type Vring = Vring;

    fn num_queues(&self) -> usize {
        QUEUE_COUNT as usize
    }

    fn max_queue_size(&self) -> usize {
        MAX_QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        self.talked.get_or_init(|| ());
        1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_INDIRECT_DESC
            | 1 << VIRTIO_RING_F_EVENT_IDX
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
    }

    fn set_event_idx(&self, _enabled: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let bytes = config_bytes(&self.config);
        let start = offset as usize;
        let range = start.checked_add(size as usize).and_then(|end| bytes.get(start..end));
        let whole = bytes.len();
        let Some(range) = range else {
            self.complain(format_args!(
                "the VMM asks for {size} bytes at {offset} of the configuration, which has {whole}: give it config_size={whole}"
            ));
            return Vec::new();
        };
        // Larger than a word and less than the whole: what a VMM shows the guest, not what a guest reads.
        if start == 0 && range.len() > 8 && range.len() < whole {
            self.complain(format_args!(
                "the VMM shows the guest {size} bytes of the configuration: give it config_size={whole}"
            ));
        }
        range.to_vec()
    }

    fn set_config(&self, _offset: u32, _bytes: &[u8]) -> io::Result<()> {
        self.complain(format_args!("the guest writes to the configuration space, which is read-only"));
        Ok(())
    }

    fn update_memory(&self, memory: Memory) -> io::Result<()> {
        let mut state = self.lock();
        let guard = memory.memory();
        if guard.num_regions() == 0 {
            log::error!("the VMM shares no guest memory: use -object memory-backend-memfd,share=on for all of it");
        }
        state.sessions.ram().update(&guard);
        state.memory = Some(memory);
        Ok(())
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        match new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC) {
            Ok((consumer, notifier)) => {
                self.exit.get_or_init(|| consumer.as_raw_fd());
                Some((consumer, notifier))
            }
            Err(error) => {
                log::error!("eventfd: {error}");
                None
            }
        }
    }

    fn stop_vring(&self, _queue: u32) -> io::Result<()> {
        let mut state = self.lock();
        if !state.stopped {
            log::info!("the device stops (guest reset or pause, or the driver unloads)");
            state.stopped = true;
            state.sessions.stop();
            let vrings = state.queues.vrings();
            // Chains that were taken are given back before the rings stop; events wait for a driver that goes on.
            let events = std::mem::take(&mut state.sessions.out.events);
            state.deliver(&vrings);
            state.sessions.out.events = events;
            state.queues.stop();
        }
        Ok(())
    }

    fn handle_event(&self, event: u16, _set: EventSet, vrings: &[Vring], _thread: usize) -> io::Result<()> {
        let mut guard = self.lock();
        let state = &mut *guard;
        // Kicks that came while the control ring was not set up are lost, so then all queues are looked at.
        let all = state.stopped;
        if all && !state.restart(vrings) {
            // What workers say is kept until the rings go on.
            state.workers_news();
            return Ok(());
        }
        let event = u32::from(event);
        let is_up = |queue| all || event == queue || state.queues.is_unfinished(queue);
        let [requests, doorbells] = [QUEUE_CONTROL, QUEUE_DOORBELL].map(is_up);
        if let Some(memory) = state.memory.as_ref().map(GuestAddressSpace::memory) {
            if requests {
                state.queues.requests(&memory, vrings, &self.limits, &mut state.sessions);
                state.await_answers();
            }
            if all || event == QUEUE_EVENT {
                state.queues.more_event_buffers(vrings);
            }
            if doorbells {
                state.queues.doorbells(&memory, vrings, &state.sessions);
            }
            state.workers_news();
        }
        state.deliver(vrings);
        if [QUEUE_CONTROL, QUEUE_DOORBELL].iter().any(|queue| state.queues.is_unfinished(*queue)) {
            state.sessions.watch().look_again();
            drop(guard);
            std::thread::sleep(BETWEEN_TURNS);
        }
        Ok(())
    }
}

/// The configuration space as the guest sees it, little-endian.
fn config_bytes(config: &Config) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size_of::<Config>());
    bytes.extend(config.magic.to_le_bytes());
    bytes.extend(config.major.to_le_bytes());
    bytes.extend(config.minor.to_le_bytes());
    bytes.extend(config.capabilities.to_le_bytes());
    bytes.extend(config.max_sessions.to_le_bytes());
    bytes.extend(config.window_bytes.to_le_bytes());
    bytes.extend(config.max_pin_pages.to_le_bytes());
    bytes.extend(config.wire_version.to_le_bytes());
    bytes.extend(config.reserved.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_when_written_then_has_the_size_and_order_of_the_struct() {
        let config = Config { magic: MAGIC, major: 1, max_sessions: 7, wire_version: 9, ..Config::default() };
        let bytes = config_bytes(&config);
        assert_eq!(bytes.len(), size_of::<Config>());
        assert_eq!(&bytes[..4], b"GPUF");
        assert_eq!(bytes[std::mem::offset_of!(Config, max_sessions)], 7);
        assert_eq!(bytes[std::mem::offset_of!(Config, wire_version)], 9);
    }
}
