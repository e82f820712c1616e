//! What the tests of the whole path share: where the built programs are, a `gpuferryd` for a test, and programs run
//! against a device's library directly or over the local carrier.
//!
//! The programs under test are the ones that are shipped, so they are taken as built: from `target/release`, or the folder
//! that `GPUFERRY_BIN` names. `scripts/test` builds them first.

pub mod random;
pub mod raw;
pub mod shapes;

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longer than anything a test waits for takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A built program or library.
///
/// # Panics
/// Where it is not built.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let folder = std::env::var_os("GPUFERRY_BIN").map_or_else(
        || {
            let target = std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
            target.join("release")
        },
        PathBuf::from,
    );
    let file = folder.join(name);
    assert!(file.exists(), "{} is not built: run scripts/test, or cargo build --release --workspace", file.display());
    file.canonicalize().expect("an absolute path")
}

/// A folder of a test's own, gone when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one with a short path, as Unix sockets want it.
    ///
    /// # Panics
    /// Where the temporary folder takes none.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it makes something outside")]
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gpuferry-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a temporary folder");
        Folder(path)
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What a failed test left open is no second failure.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Which library a program finds as `libcuda.so.1`.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    /// The CPU device, in the program's own process.
    Direct,
    /// The guest's library, to this front.
    Local(&'a Front),
    /// The guest's library with this value of `GPUFERRY`.
    To(&'a str),
}

/// A program that will find its library in the given way.
///
/// # Panics
/// Where something is not built.
#[must_use]
pub fn program(name: &str, way: Way<'_>, folder: &Folder) -> Command {
    let (library, carrier) = match way {
        Way::Direct => ("libcpu_cuda.so", None),
        Way::Local(front) => ("libgpuferry_cuda.so", Some(format!("unix:{}", front.local().display()))),
        Way::To(carrier) => ("libgpuferry_cuda.so", Some(carrier.to_owned())),
    };
    // Several threads of a test may want the same.
    static MAKING: Mutex<()> = Mutex::new(());
    let making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let libraries = folder.path(library).with_extension("d");
    if !libraries.exists() {
        fs::create_dir(&libraries).expect("a folder");
        symlink(built(library), libraries.join("libcuda.so.1")).expect("a link");
    }
    drop(making);
    let mut command = Command::new(built(name));
    command.env("LD_LIBRARY_PATH", libraries).env_remove("GPUFERRY").stdin(Stdio::null());
    if let Some(carrier) = carrier {
        command.env("GPUFERRY", carrier);
    }
    command
}

/// Runs a command to its end; kills it and fails when that takes too long.
///
/// # Panics
/// Where it cannot be started, or does not end.
#[must_use]
pub fn finish(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut stderr = child.stderr.take().expect("a pipe");
    let out = std::thread::spawn(move || read_all(&mut stdout));
    let err = std::thread::spawn(move || read_all(&mut stderr));
    let status = wait(&mut child, PATIENCE * 4);
    let (stdout, stderr) = (out.join().expect("read"), err.join().expect("read"));
    let Some(status) = status else {
        panic!("{command:?} does not end\n{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
    };
    Output { status, stdout, stderr }
}

fn read_all(from: &mut dyn Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("readable");
    bytes
}

/// Waits for a child's end; kills it when the time is over.
///
/// # Panics
/// Where it is no child.
pub fn wait(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    None
}

/// Whether a condition comes true in time.
#[must_use]
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    condition()
}

/// Standard output as lines.
#[must_use]
pub fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Standard error as text.
#[must_use]
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running `gpuferryd` with a local socket, ended when dropped.
pub struct Front {
    child: Child,
    folder: Folder,
}

impl Front {
    /// Starts one on the CPU device.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start() -> Front {
        Front::with(&[] as &[&str])
    }

    /// Starts one with more arguments.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn with(arguments: &[impl AsRef<OsStr>]) -> Front {
        Front::by(clone, arguments)
    }

    /// The same, by the command that `change` makes of its own.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn by(change: impl Fn(&Command) -> Command, arguments: &[impl AsRef<OsStr>]) -> Front {
        let folder = Folder::new();
        let log = fs::File::create(folder.path("log")).expect("a log");
        let mut command = front_command(&folder.path("local"));
        command.args(["--device", "cpu", "--log-level", "debug"]).args(arguments);
        let child = change(&command).stderr(log).spawn().expect("started");
        let front = Front { child, folder };
        assert!(eventually(|| front.local().exists()), "no socket; the log:\n{}", front.log());
        front
    }

    /// Its local socket.
    #[must_use]
    pub fn local(&self) -> PathBuf {
        self.folder.path("local")
    }

    /// What it and its workers logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path("log")).unwrap_or_default()
    }

    /// The worker of a program, as the log tells.
    ///
    /// # Panics
    /// Where the program has none.
    #[must_use]
    pub fn worker_of(&self, program: u32) -> u32 {
        let log = self.log();
        let line = log.lines().find(|line| line.contains(&format!("[{program}] gets worker "))).expect("a worker");
        line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a process number")
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// Where it is no child.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Ends it with no chance to clean up, and leaves its folder.
    ///
    /// # Panics
    /// Where it is no child.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        signal(self.child.id(), libc::SIGTERM);
        wait(&mut self.child, Duration::from_secs(10));
        if std::thread::panicking() {
            eprintln!("--- log of gpuferryd\n{}---", self.log());
        }
    }
}

fn clone(command: &Command) -> Command {
    let mut same = Command::new(command.get_program());
    same.args(command.get_args()).stdin(Stdio::null());
    same
}

/// A `gpuferryd` with a local socket, to be given a device.
///
/// # Panics
/// Where it is not built.
#[must_use]
pub fn front_command(local: &Path) -> Command {
    let mut command = Command::new(built("gpuferryd"));
    command.arg("--local-path").arg(local).stdin(Stdio::null());
    command
}

/// Sends a signal.
///
/// # Panics
/// Where the number is none of a process.
pub fn signal(process: u32, signal: i32) {
    let process = i32::try_from(process).expect("a process number");
    // SAFETY: a child of this test or of its front; it has not been waited for, so the number is not another's.
    unsafe { libc::kill(process, signal) };
}

/// Workers of a front that have not ended: what the rooms of its starter have started.
#[must_use]
pub fn children(front: u32) -> Vec<u32> {
    started_by(front).into_iter().flat_map(started_by).flat_map(started_by).collect()
}

/// Processes whose parent is this one and that have not ended.
#[must_use]
fn started_by(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|number| {
            let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
            // After the name, which may hold anything: state, parent.
            let mut fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
            let state = fields.next().unwrap_or("Z");
            state != "Z" && fields.next().and_then(|text| text.parse().ok()) == Some(parent)
        })
        .collect()
}

/// What differs, as lines of a diff by place; at most 40 of them.
#[must_use]
pub fn differences(wanted: &[String], found: &[String]) -> String {
    let mut all = Vec::new();
    for i in 0..wanted.len().max(found.len()) {
        let (a, b) = (wanted.get(i).map_or("", String::as_str), found.get(i).map_or("", String::as_str));
        if a != b {
            all.push(format!("  line {}\n    wanted {a}\n    found  {b}", i + 1));
        }
    }
    let count = all.len();
    all.truncate(40);
    format!("{count} lines differ\n{}", all.join("\n"))
}
