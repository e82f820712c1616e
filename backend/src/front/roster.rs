//! Who is served, for `gpuferryctl stats`: one row a session, with what its worker has counted.
//!
//! The counts lie in the session's window, where the guest can write too: they are shown and decide nothing. The report is lines of
//! words that tabs part: what the line is about, then `name=value`; no value has a tab or an end of line in it.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use wire::window::HostCounters;

use super::device::Device;
use crate::window::Window;

/// A process of a guest, or of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its name, printable and without spaces.
    pub name: String,
    /// Its number where it runs.
    pub process: u32,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.name, self.process)
    }
}

/// What is shown of a session.
#[derive(Debug)]
pub struct Row {
    /// `virtio` or `local`.
    pub carrier: &'static str,
    /// Its number on that carrier.
    pub session: u32,
    /// Whose it is.
    pub who: Who,
    /// The worker's process; `None` where it has ended.
    pub worker: Option<u32>,
    /// Where it is in its life.
    pub state: &'static str,
    /// Since it was asked for.
    pub age: Duration,
    /// Bytes of device memory that it holds.
    pub memory: u64,
    /// What its worker has done.
    pub counts: [u64; HostCounters::NAMES.len()],
}

impl Row {
    fn write(&self, text: &mut String) -> fmt::Result {
        write!(text, "session\tcarrier={}\tsession={}\tprogram={}", self.carrier, self.session, self.who.name)?;
        write!(text, "\tprocess={}\tworker={}", self.who.process, self.worker.unwrap_or(0))?;
        write!(text, "\tstate={}\tage_s={:.1}", self.state, self.age.as_secs_f64())?;
        write!(text, "\tdevice_memory={}", self.memory)?;
        for (name, count) in HostCounters::NAMES.iter().zip(self.counts) {
            write!(text, "\t{name}={count}")?;
        }
        writeln!(text)
    }
}

/// A session of the local carrier, as its thread lists it.
#[derive(Debug)]
pub struct Local {
    /// Its number.
    pub session: u32,
    /// Whose it is.
    pub who: Who,
    /// Its worker's process.
    pub worker: AtomicU32,
    /// Whether the worker serves it.
    pub is_open: AtomicBool,
    /// Since when.
    pub since: Instant,
    /// Where the counts are.
    pub window: Arc<Window>,
    /// What it holds of the device's memory.
    pub row: crate::ledger::Held,
}

impl Local {
    fn row(&self) -> Row {
        Row {
            carrier: "local",
            session: self.session,
            who: self.who.clone(),
            worker: Some(self.worker.load(Ordering::Relaxed)),
            state: if self.is_open.load(Ordering::Relaxed) { "open" } else { "starting" },
            age: self.since.elapsed(),
            memory: self.row.bytes(),
            counts: self.window.header().counters.all().map(|(_, count)| count),
        }
    }
}

/// See the module's head.
#[derive(Debug)]
pub struct Roster {
    devices: String,
    begin: Instant,
    locals: Mutex<BTreeMap<u32, Arc<Local>>>,
    /// The device of the VMM that is connected.
    vmm: Mutex<Weak<Device>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Roster {
    /// Of nobody yet.
    #[must_use]
    pub fn new(devices: String) -> Arc<Roster> {
        Arc::new(Roster { devices, begin: Instant::now(), locals: Mutex::default(), vmm: Mutex::default() })
    }

    /// Lists a session until the answer is dropped.
    #[must_use]
    pub fn list(self: &Arc<Roster>, local: Local) -> Listed {
        let local = Arc::new(local);
        lock(&self.locals).insert(local.session, Arc::clone(&local));
        Listed { roster: Arc::clone(self), local }
    }

    /// The sessions of this device are listed for as long as it lives.
    pub fn list_device(&self, device: &Arc<Device>) {
        *lock(&self.vmm) = Arc::downgrade(device);
    }

    /// The report.
    #[must_use]
    pub fn report(&self) -> String {
        let device = lock(&self.vmm).upgrade();
        let mut rows = device.map(|device| device.rows()).unwrap_or_default();
        rows.extend(lock(&self.locals).values().map(|local| local.row()));
        let mut text = String::new();
        let head = ("front", env!("CARGO_PKG_VERSION"), &self.devices, self.begin.elapsed().as_secs_f64(), rows.len());
        let written = writeln!(
            text,
            "{}\tversion={}\tdevice={}\tage_s={:.1}\tsessions={}",
            head.0, head.1, head.2, head.3, head.4
        );
        // A string takes whatever is written.
        debug_assert!(written.is_ok());
        for row in rows {
            let written = row.write(&mut text);
            debug_assert!(written.is_ok());
        }
        text
    }
}

/// A session that is listed.
#[derive(Debug)]
pub struct Listed {
    roster: Arc<Roster>,
    local: Arc<Local>,
}

impl Listed {
    /// Another worker serves it.
    pub fn worker(&self, process: u32) {
        self.local.worker.store(process, Ordering::Relaxed);
        self.local.is_open.store(false, Ordering::Relaxed);
    }

    /// The worker serves it.
    pub fn open(&self) {
        self.local.is_open.store(true, Ordering::Relaxed);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.roster.locals).remove(&self.local.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_when_written_then_is_one_line_of_words() {
        let who = Who { name: "a=b".into(), process: 7 };
        let row = Row {
            carrier: "virtio",
            session: 3,
            who,
            worker: None,
            state: "dead",
            age: Duration::from_millis(1250),
            memory: 512,
            counts: [1, 2, 3, 4, 5, 6, 7, 8],
        };
        let mut text = String::new();
        row.write(&mut text).expect("a string takes all");
        let expected = "session\tcarrier=virtio\tsession=3\tprogram=a=b\tprocess=7\tworker=0\tstate=dead\tage_s=1.2\t\
            device_memory=512\tposted=1\twaited=2\tsleeping=3\tparks=4\twakes=5\tdoorbells=6\tcopied=7\tleased=8\n";
        assert_eq!(text, expected);
    }
}
