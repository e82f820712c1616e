//! What the tests of both carriers share: a running `gpuferryd` with its log, and the guest's side of a window.
#![allow(dead_code, reason = "each test program uses a part")]

pub mod program;
pub mod vmm;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use wire::frame::{FrameHeader, NO_SLOT};
use wire::payload::{Full, Writer};
use wire::ring::{Doorbell, Producers, RingMemory, Words, span_for};
use wire::slot::{SLOT_PAYLOAD_OFFSET, SlotHead, is_ready};
use wire::window::{Header, RING_BYTES, RING_OFFSET, slot_offset};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `check` says so.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

type Lines = Arc<(Mutex<Vec<String>>, Condvar)>;

/// A running `gpuferryd`; killed on drop.
pub struct Front {
    pub child: Child,
    pub folder: PathBuf,
    lines: Lines,
}

impl Front {
    /// Starts `gpuferryd` with the echo worker. `FOLDER` in an argument becomes a fresh folder.
    pub fn start(arguments: &[&str]) -> Front {
        let front = Front::start_raw(arguments);
        front.wait_for("ready on device");
        front
    }

    /// As [`Front::start`], without waiting until it is ready.
    pub fn start_raw(arguments: &[&str]) -> Front {
        Front::start_by(&[], arguments)
    }

    /// As [`Front::start_raw`], by another program with these arguments.
    pub fn start_by(by: &[&str], arguments: &[&str]) -> Front {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("gpuferry-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        let place = folder.to_str().expect("a plain path");
        let words = [by, &[env!("CARGO_BIN_EXE_gpuferryd")]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command.args(["--worker", env!("CARGO_BIN_EXE_gpuferry-echo-worker"), "--log-level", "debug"]);
        command.args(arguments.iter().map(|argument| argument.replace("FOLDER", place)));
        let mut child = command.stderr(Stdio::piped()).spawn().expect("gpuferryd");
        let lines: Lines = Arc::default();
        let theirs = Arc::clone(&lines);
        let stderr = child.stderr.take().expect("stderr");
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if std::env::var_os("SHOW_LOG").is_some() {
                    eprintln!("{line}");
                }
                theirs.0.lock().expect("lines").push(line);
                theirs.1.notify_all();
            }
        });
        Front { child, folder, lines }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Waits for a line of the log that contains `text`, and returns it.
    pub fn wait_for(&self, text: &str) -> String {
        let find = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
        let lines = self.lines.0.lock().expect("lines");
        let waited = self.lines.1.wait_timeout_while(lines, PATIENCE, |lines| find(lines).is_none());
        let lines = waited.expect("lines").0;
        find(&lines).unwrap_or_else(|| panic!("no line {text:?} in the log:\n{}", lines.join("\n")))
    }

    /// How many lines the log has that contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.lines.0.lock().expect("lines").iter().filter(|line| line.contains(text)).count()
    }

    /// Workers of the front: what the rooms of its starter have started.
    pub fn workers(&self) -> Vec<i32> {
        let starter = started_by(self.child.id().cast_signed());
        starter.into_iter().flat_map(started_by).flat_map(started_by).collect()
    }
}

fn started_by(process: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    children.flat_map(|list| list.split_whitespace().map(|id| id.parse().expect("id")).collect::<Vec<_>>()).collect()
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Sends a signal to a process.
pub fn signal(process: i32, signal: i32) {
    // SAFETY: takes integers.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0, "kill");
}

/// The guest's side of a mapped window.
pub struct Guest {
    base: *mut u8,
    producers: Producers,
    sequence: u32,
}

impl Guest {
    /// Over a mapped window.
    ///
    /// # Safety
    /// `base` is a window for as long as this lives.
    pub unsafe fn new(base: *mut u8) -> Guest {
        Guest { base, producers: Producers::new(RING_BYTES as u64), sequence: 0 }
    }

    pub fn header(&self) -> &Header {
        // SAFETY: `new` promises a window.
        unsafe { &*self.base.cast() }
    }

    fn slot(&self, slot: u16) -> &SlotHead {
        // SAFETY: `new` promises a window.
        unsafe { &*self.base.add(slot_offset(slot.into())).cast() }
    }

    /// Any bytes of the window, to break the protocol with.
    pub fn bytes(&self, offset: usize) -> *mut u8 {
        self.base.wrapping_add(offset)
    }

    fn publish(
        &mut self,
        header: FrameHeader,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
        bell: &dyn Fn(),
    ) {
        // SAFETY: `new` promises a window.
        let ring = unsafe { RingMemory::new(self.base.add(RING_OFFSET)) };
        let words = Words::of(self.header());
        let span = span_for(1024).expect("fits");
        let mut range = None;
        eventually("room in the ring", || {
            range = self.producers.reserve(&words, span);
            range.is_some()
        });
        let range = range.expect("room");
        ring.write(range, header, fill).expect("room");
        if self.producers.commit(&words, range) == Doorbell::Ring {
            bell();
        }
    }

    /// Sends a posted call.
    pub fn post(&mut self, call: u16, fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>, bell: &dyn Fn()) {
        self.publish(FrameHeader { call, slot: NO_SLOT, ..FrameHeader::default() }, fill, bell);
    }

    /// Sends a waited call and returns what to wait for.
    pub fn send(
        &mut self,
        call: u16,
        slot: u16,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
        bell: &dyn Fn(),
    ) -> u32 {
        self.sequence += 1;
        let header = FrameHeader { call, slot, sequence: self.sequence, ..FrameHeader::default() };
        self.publish(header, fill, bell);
        self.sequence
    }

    pub fn is_ready(&self, slot: u16, sequence: u32) -> bool {
        is_ready(self.slot(slot), sequence)
    }

    /// Puts a thread to sleep in name only: the worker will wake it.
    pub fn set_parked(&self, slot: u16, parked: u32) {
        self.slot(slot).parked.store(parked, Ordering::SeqCst);
    }

    /// The reply that is there.
    pub fn reply(&self, slot: u16) -> (i32, Vec<u8>) {
        let head = self.slot(slot);
        let bytes = head.bytes.load(Ordering::Relaxed) as usize;
        let mut payload = vec![0; bytes];
        let from = self.base.wrapping_add(slot_offset(slot.into()) + SLOT_PAYLOAD_OFFSET);
        // SAFETY: the worker says how many bytes of its slot it wrote.
        unsafe { std::ptr::copy_nonoverlapping(from, payload.as_mut_ptr(), bytes) };
        (head.status.load(Ordering::Relaxed).cast_signed(), payload)
    }

    /// Sends a waited call and spins for its reply.
    pub fn call(
        &mut self,
        call: u16,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
        bell: &dyn Fn(),
    ) -> (i32, Vec<u8>) {
        let sequence = self.send(call, 0, fill, bell);
        let start = Instant::now();
        while !self.is_ready(0, sequence) {
            assert!(start.elapsed() < PATIENCE, "no reply");
            std::hint::spin_loop();
        }
        self.reply(0)
    }
}
