//! `gpuferry-worker`: one process for each guest process, started before it is needed.
//!
//! [`main`] makes the process ready: rights given up ([`crate::sandbox`]), library loaded. Then [`control`](self) serves the
//! front from the first thread, [`ring`](self) takes calls from the guest on others, so that a call that sleeps holds nobody
//! up. The process inherits nothing but its control socket, as descriptor 0, and ends when that is closed. Descriptor 1 is a
//! pipe to itself, by which it has what kernels print (`printed`); 2 is the front's, for the log.

mod answer;
mod api;
mod bytes;
mod control;
pub mod cuda;
mod devices;
#[cfg(fuzzing)]
pub mod fuzz;
mod lease;
mod memory;
mod movers;
pub mod nvml;
mod objects;
pub mod opencl;
mod options;
#[cfg(any(test, fuzzing))]
mod played;
mod post;
mod printed;
mod regions;
mod relay;
mod ring;
pub mod router;
mod serve;
#[cfg(test)]
mod values;
mod watchdog;

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use wire::sync::Ordering;
use wire::window::HostCounters;

pub use api::{Api, Library, Load, LoadError, OpenClDevice, Patience, Reply, Settings};
pub use devices::{Clash, Devices, Gpu, MOST_DEVICES};
pub use lease::{Piece, Pieces};
pub use memory::{Held, MAX_MAPPED, MapError, Memory, PAGE_LOCKED_ADDRESS, PAGE_LOCKED_BYTES};
pub use options::AnyDevice;
pub use relay::Relay;

use crate::channel::{Channel, ChannelError};
use crate::death::{EXIT_CLOSED, EXIT_FRONT, EXIT_LIBRARY, EXIT_TROUBLE};
use crate::ledger::Account;
use crate::mapping::Reservation;
use crate::os;
use crate::sandbox::files::Places;
use crate::sandbox::{self, Profile};
use crate::window::Window;

/// The session that this worker serves.
#[derive(Debug)]
pub struct Session {
    number: u32,
    memory: Memory,
    window: Arc<Window>,
    account: Option<Arc<Account>>,
    relay: Option<Arc<Relay>>,
}

impl Session {
    fn new(number: u32, memory: Memory, window: Arc<Window>) -> Session {
        Session { number, memory, window, account: None, relay: None }
    }

    /// With an account of device memory.
    fn counted(mut self, account: Account) -> Session {
        self.account = Some(Arc::new(account));
        self
    }

    /// With a way to the guest's other workers.
    fn related(mut self, relay: Arc<Relay>) -> Session {
        self.relay = Some(relay);
        self
    }

    /// Descriptors for the guest's other workers; `None` in tests only.
    #[must_use]
    pub fn relay(&self) -> Option<&Arc<Relay>> {
        self.relay.as_ref()
    }

    /// What the guest's processes hold of the device's memory, and may; `None` in tests only.
    #[must_use]
    pub fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }

    /// The session's number at the front, for the log.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Staged and leased memory.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn window(&self) -> &Window {
        &self.window
    }

    /// Keeps the status of a posted call that failed, for the guest's next call that reports late errors. The first one stays.
    pub fn defer(&self, status: i32) {
        let word = &self.window.header().deferred;
        // Failure: an earlier status is still there, and is the one to report.
        let _ = word.compare_exchange(0, status.cast_unsigned(), Ordering::Release, Ordering::Relaxed);
    }

    /// Counts bytes of the guest's that a copy moves.
    pub fn count_bytes(&self, buffer: &wire::payload::Buffer<'_>) {
        let counters = &self.window.header().counters;
        let is_leased = matches!(buffer, wire::payload::Buffer::Lease { .. });
        HostCounters::add(if is_leased { &counters.leased } else { &counters.copied }, buffer.bytes());
    }

    /// Sets the status that every call of the guest returns from now on.
    pub fn set_sticky(&self, status: i32) {
        self.window.header().sticky.store(status.cast_unsigned(), Ordering::Release);
    }
}

/// The worker's program; `load` is the API to serve.
pub fn main(load: Load) -> ! {
    // First of all: nothing else of the front is inherited.
    os::close_from(3);
    let options = match options::parse(std::env::args_os()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("gpuferry-worker: {error}");
            os::exit_now(EXIT_FRONT)
        }
    };
    crate::front::log::start("gpuferry-worker", options.level);
    control::end_on_panic();
    // The socket stays open until the process ends: to the front, a closed one is a worker to be killed.
    let channel = match prepare() {
        Ok(channel) => channel,
        Err(error) => fail(EXIT_TROUBLE, &format!("starting: {error}")),
    };
    let reservation = match Reservation::at(PAGE_LOCKED_ADDRESS, PAGE_LOCKED_BYTES) {
        Ok(reservation) => reservation,
        Err(error) => fail(EXIT_TROUBLE, &format!("reserving addresses for page-locked memory: {error}")),
    };
    let (answers, relay) = match (lease::Answers::new(), Relay::new()) {
        (Ok(answers), Ok(relay)) => (answers, relay),
        (Err(error), _) | (_, Err(error)) => fail(EXIT_TROUBLE, &format!("eventfd: {error}")),
    };
    // Before the library is loaded: all that it starts is in the sandbox too.
    let places =
        Places::of(profile(&options.settings), &files(&options.settings)).with_shared(profile(&options.settings));
    let entered = sandbox::enter(profile(&options.settings), &options.sandbox, &options.layers, &places);
    if let Err(error) = entered {
        fail(EXIT_TROUBLE, &error.to_string());
    }
    let library = match load(&options.settings) {
        Ok(library) => library,
        Err(error) => {
            opencl::remove_scratch();
            fail(EXIT_LIBRARY, &error.to_string())
        }
    };
    // Asked before somebody waits for the answer.
    os::processors();
    let mut control = control::Control::new(channel, library, reservation, (answers, relay), options.times);
    let result = control.run();
    control.end();
    opencl::remove_scratch();
    match result {
        Ok(()) | Err(ChannelError::Gone) => os::exit_now(EXIT_CLOSED),
        Err(error) => fail(EXIT_FRONT, &format!("front: {error}")),
    }
}

/// What the devices' library needs.
fn profile(settings: &Settings) -> Profile {
    match settings.devices {
        _ if settings.opencl.is_some() => Profile::OpenCl,
        Devices::Cpu(_) => Profile::Cpu,
        Devices::Gpus(_) | Devices::AllGpus => Profile::Nvidia,
    }
}

/// Files of the library that is to be loaded, as far as it is not where all libraries are.
fn files(settings: &Settings) -> Vec<PathBuf> {
    let device = match &settings.library {
        Some(library) => Some(library.clone()),
        None if settings.devices.is_cpu() => cuda::cpu_device().ok(),
        None => None,
    };
    // Of its own program a library only asks where it is.
    let program = std::env::current_exe().ok();
    device.into_iter().chain(settings.opencl_library.clone()).chain(program).collect()
}

/// Lets signals through that the front's threads block, and takes over the control socket and the standard output.
fn prepare() -> std::io::Result<Channel> {
    os::unblock_termination()?;
    printed::take_over()?;
    Channel::new(UnixStream::from(os::take_stdin()?))
}

fn fail(status: i32, error: &str) -> ! {
    log::error!("{error}");
    os::exit_now(status)
}
