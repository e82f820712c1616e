//! System calls that the standard library lacks. All `unsafe` of this file is calls into libc with checked arguments.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = libc::c_int::try_from(result).map_err(io::Error::other)?;
    check(fd)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Processors that this process may use: asked once, since the answer is in many files.
pub fn processors() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// A descriptor that becomes readable when the child `process` has ended.
/// # Errors
/// As pidfd_open(2).
pub fn pidfd(process: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) })
}

/// Number of a descriptor's process as this process sees it; `None` where `/proc` does not say.
#[must_use]
pub fn process_of(process: BorrowedFd<'_>) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// Memory of `bytes` bytes in a file of its own, which can be shared and neither shrunk nor grown.
/// # Errors
/// As memfd_create(2), ftruncate(2), fcntl(2).
pub fn sealed_memory(bytes: u64) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a constant with a terminating zero.
    let memory = owned(libc::c_long::from(unsafe { libc::memfd_create(c"gpuferry-window".as_ptr(), flags) }))?;
    let bytes = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: an own descriptor and an integer.
    check(unsafe { libc::ftruncate(memory.as_raw_fd(), bytes) })?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: an own descriptor and integers.
    check(unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(memory)
}

/// An eventfd, non-blocking and closed on exec.
/// # Errors
/// As eventfd(2).
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes integers.
    owned(libc::c_long::from(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }))
}

/// Signals an eventfd. A full counter is as good as a signal, so no error matters.
pub fn signal(event: BorrowedFd<'_>) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: `one` is 8 bytes, as eventfds want.
    unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

/// Takes an eventfd's signals; returns whether there were any.
pub fn take_signal(event: BorrowedFd<'_>) -> bool {
    let mut count = [0u8; 8];
    // SAFETY: `count` has the 8 bytes that an eventfd writes.
    unsafe { libc::read(event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) == 8 }
}

/// What [`wait`] waits for on one descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Interest<'a> {
    /// The descriptor.
    pub fd: BorrowedFd<'a>,
    /// Also when it can be written.
    pub write: bool,
}

impl<'a> Interest<'a> {
    /// Waits until `source` can be read or is hung up.
    pub fn read(source: &'a impl AsFd) -> Interest<'a> {
        Interest { fd: source.as_fd(), write: false }
    }
}

/// Sleeps until one of the descriptors has news or the time is over (`None`: without end). Returns which have news.
/// # Errors
/// As poll(2), never for a signal.
pub fn wait<const N: usize>(interests: [Interest<'_>; N], timeout: Option<Duration>) -> io::Result<[bool; N]> {
    let mut entries = interests.map(|interest| libc::pollfd {
        fd: interest.fd.as_raw_fd(),
        events: if interest.write { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN },
        revents: 0,
    });
    let millis = timeout.map_or(-1, |time| i32::try_from(time.as_millis()).unwrap_or(i32::MAX));
    // SAFETY: `entries` is an array of N valid entries.
    match check(unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, millis) }) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(entries.map(|entry| entry.revents != 0)),
    }
}

/// Wakes every thread of every process that sleeps by futex on `word`.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: `word` is a valid, aligned 32-bit word; FUTEX_WAKE does not touch it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// Blocks SIGTERM, SIGINT and SIGHUP in the calling thread and those it starts.
/// # Errors
/// As pthread_sigmask(3).
pub fn block_termination() -> io::Result<()> {
    set_mask(libc::SIG_BLOCK)
}

/// Lets SIGTERM, SIGINT and SIGHUP through: a started process inherits its parent's mask.
/// # Errors
/// As pthread_sigmask(3).
pub fn unblock_termination() -> io::Result<()> {
    set_mask(libc::SIG_UNBLOCK)
}

fn termination() -> libc::sigset_t {
    // SAFETY: all-zero is a valid sigset_t; the calls fill a set of ours with constants.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        libc::sigaddset(&raw mut set, libc::SIGHUP);
        set
    }
}

fn set_mask(how: libc::c_int) -> io::Result<()> {
    let set = termination();
    // SAFETY: `set` is a valid set; the old one is not asked for.
    match unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Sleeps until one of the blocked signals comes; returns whether it asks for the end: SIGHUP does not.
#[must_use]
pub fn wait_for_signal() -> bool {
    let set = termination();
    let mut signal = 0;
    // SAFETY: a valid set and a valid place for the signal's number.
    while unsafe { libc::sigwait(&raw const set, &raw mut signal) } != 0 {}
    signal != libc::SIGHUP
}

/// Gives processes that the calling thread starts the old address layout: mappings grow up from a third of the address space,
/// away from where a guest's programs have theirs.
pub fn use_old_layout() {
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: takes an integer; `ASK` only asks.
    let now = unsafe { libc::personality(ASK) };
    if let Ok(now) = libc::c_ulong::try_from(now) {
        // SAFETY: takes an integer.
        unsafe { libc::personality(now | libc::ADDR_COMPAT_LAYOUT as libc::c_ulong) };
    }
}

/// Ends this process by SIGKILL when the thread that started it ends.
pub fn die_with_parent() {
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Sends a signal to the process of a descriptor.
/// # Errors
/// As pidfd_send_signal(2).
pub fn signal_process(process: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a descriptor, integers, and no information besides.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0) };
    check(libc::c_int::try_from(result).map_err(io::Error::other)?).map(drop)
}

/// Closes every descriptor from 3 on, but this one.
pub fn close_all_but(fd: BorrowedFd<'_>) {
    let keep = fd.as_raw_fd().unsigned_abs();
    // SAFETY: as in `close_from`: the caller is a process that uses no other descriptor any more.
    unsafe {
        if keep > 3 {
            libc::syscall(libc::SYS_close_range, 3, keep - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, keep.max(2) + 1, u32::MAX, 0);
    }
}

/// Puts a descriptor in the place of the standard output.
///
/// # Errors
/// As dup2(2).
pub fn replace_stdout(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a descriptor that is open, and a number; nobody owns the standard output.
    check(unsafe { libc::dup2(fd.as_raw_fd(), libc::STDOUT_FILENO) }).map(drop)
}

/// One of C's streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// stdout.
    #[default]
    Output = 1,
    /// stderr.
    Error = 2,
}

/// fopencookie(3)'s functions.
#[repr(C)]
struct StreamFunctions {
    read: Option<unsafe extern "C" fn()>,
    write: unsafe extern "C" fn(*mut libc::c_void, *const libc::c_char, libc::size_t) -> libc::ssize_t,
    seek: Option<unsafe extern "C" fn()>,
    close: Option<unsafe extern "C" fn()>,
}

/// Where what is written to the streams goes.
static WRITTEN: std::sync::OnceLock<fn(Stream, &[u8])> = std::sync::OnceLock::new();

/// Called by C's library: the cookie is the stream's number.
unsafe extern "C" fn write_stream(
    cookie: *mut libc::c_void,
    bytes: *const libc::c_char,
    count: libc::size_t,
) -> libc::ssize_t {
    let stream = if cookie.addr() == Stream::Error as usize { Stream::Error } else { Stream::Output };
    if let Some(written) = WRITTEN.get() {
        // SAFETY: the library hands in that many bytes (fopencookie(3)).
        written(stream, unsafe { std::slice::from_raw_parts(bytes.cast(), count) });
    }
    count as libc::ssize_t
}

/// Puts streams in the place of C's that hand what is written to `written`, when they are flushed; to be called once, while
/// no other thread uses them. Rust's own output does not go through them.
/// # Errors
/// As fopencookie(3).
pub fn replace_streams(written: fn(Stream, &[u8])) -> io::Result<()> {
    unsafe extern "C" {
        static mut stdout: *mut libc::FILE;
        static mut stderr: *mut libc::FILE;
        fn fopencookie(
            cookie: *mut libc::c_void,
            mode: *const libc::c_char,
            functions: StreamFunctions,
        ) -> *mut libc::FILE;
    }
    // Not set before: this is called once.
    let _ = WRITTEN.set(written);
    for stream in [Stream::Output, Stream::Error] {
        let functions = StreamFunctions { read: None, write: write_stream, seek: None, close: None };
        // SAFETY: the mode is a text; the cookie is a number, and the function of its type.
        let made = unsafe { fopencookie(std::ptr::without_provenance_mut(stream as usize), c"w".as_ptr(), functions) };
        if made.is_null() {
            return Err(io::Error::last_os_error());
        }
        match stream {
            // SAFETY: a stream that lasts; no other thread uses the old one (by this function's text).
            Stream::Output => unsafe { (&raw mut stdout).write(made) },
            // SAFETY: as above. The standard error holds nothing back, as ever.
            Stream::Error => unsafe {
                libc::setvbuf(made, std::ptr::null_mut(), libc::_IONBF, 0);
                (&raw mut stderr).write(made);
            },
        }
    }
    Ok(())
}

/// Writes out what C's streams hold back.
pub fn flush_output() {
    // SAFETY: a null pointer stands for all streams that write.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Reading and writing a descriptor never waits.
///
/// # Errors
/// As fcntl(2).
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an open descriptor, and integers.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(drop)
}

/// Puts a descriptor in the place of the error stream.
///
/// # Errors
/// As dup2(2).
pub fn replace_stderr(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a descriptor that is open, and a number; nobody owns the error stream.
    check(unsafe { libc::dup2(fd.as_raw_fd(), libc::STDERR_FILENO) }).map(drop)
}

/// Puts a descriptor in the place of number 0.
/// # Errors
/// As dup2(2).
pub fn replace_stdin(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an open descriptor; whatever was 0 is closed.
    check(unsafe { libc::dup2(fd.as_raw_fd(), 0) }).map(drop)
}

/// A pipe: what is written to the second is read from the first.
/// # Errors
/// As pipe2(2).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, which are new and ours.
    unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Sleeps until one of the descriptors can be read or is hung up; returns which.
/// # Errors
/// As poll(2), never for a signal.
pub fn wait_all(list: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
    let entry = |fd: &BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries: Vec<libc::pollfd> = list.iter().map(entry).collect();
    // SAFETY: an array of as many valid entries.
    match check(unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, -1) }) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(entries.iter().map(|entry| entry.revents != 0).collect()),
    }
}

/// The status of an ended child, which is reaped.
/// # Errors
/// As waitpid(2).
pub fn reap(child: libc::pid_t) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: an integer and a valid place.
    check(unsafe { libc::waitpid(child, &raw mut status, 0) })?;
    Ok(status)
}

/// Closes every descriptor from `first` on.
pub fn close_from(first: u32) {
    // SAFETY: closes descriptors that nothing in this process uses yet, as the caller is the first thing that runs.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Allows this process, and those it starts, as many open files as the system lets it: a lease of the local carrier is one.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place. Where it fails the limit is the usual one, which is named when it is reached.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Makes files of this process accessible to its own user only.
pub fn private_files() {
    set_file_mask(0o077);
}

/// Sets which rights new files do not get; returns the mask before.
pub fn set_file_mask(mask: libc::mode_t) -> libc::mode_t {
    // SAFETY: takes an integer.
    unsafe { libc::umask(mask) }
}

/// Ends the process at once: no handlers of libraries run, while threads may still be inside them.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

/// Takes over descriptor 0, and leaves `/dev/null` in its place.
/// # Errors
/// As fcntl(2), open(2), dup2(2).
pub fn take_stdin() -> io::Result<OwnedFd> {
    // SAFETY: duplicates descriptor 0, whatever it is.
    let taken = owned(libc::c_long::from(unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) }))?;
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: both are open; the standard library's handle for 0 goes on being valid.
    check(unsafe { libc::dup2(null.as_raw_fd(), 0) })?;
    Ok(taken)
}

/// Whether `fd` is an open socket that listens.
#[must_use]
pub fn listens(fd: i32) -> bool {
    let mut value: libc::c_int = 0;
    let mut bytes = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: value and length are valid places, and the length is the value's.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, (&raw mut value).cast(), &raw mut bytes) };
    result == 0 && value != 0
}

/// Takes ownership of a descriptor that was handed to this process by number.
///
/// # Safety
/// Nothing else in the process owns `fd`.
#[must_use]
pub unsafe fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: the caller promises it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_memory_when_shrunk_then_refuses() {
        let file = std::fs::File::from(sealed_memory(8192).expect("memory"));
        assert!(file.set_len(4096).is_err());
        assert_eq!(file.metadata().expect("metadata").len(), 8192);
    }

    #[test]
    fn eventfd_when_signalled_then_is_taken_once() {
        let event = eventfd().expect("eventfd");
        assert!(!take_signal(event.as_fd()));
        signal(event.as_fd());
        assert_eq!(wait([Interest::read(&event)], None).expect("poll"), [true]);
        assert!(take_signal(event.as_fd()));
        assert!(!take_signal(event.as_fd()));
    }

    #[test]
    fn pidfd_when_the_child_ends_then_is_readable() {
        let mut child = std::process::Command::new("true").spawn().expect("true");
        let fd = pidfd(child.id()).expect("pidfd");
        assert_eq!(wait([Interest::read(&fd)], None).expect("poll"), [true]);
        assert!(child.wait().expect("wait").success());
    }
}
