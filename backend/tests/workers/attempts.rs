//! What a worker that a guest has taken over would try. Each act returns whether it worked.

use std::ffi::{CStr, CString};
use std::io;

/// Everything that is tried, by name. The first must work, or the others show nothing.
pub const ACTS: [&str; 62] = [
    "getpid",
    "open-shadow",
    "open-passwd",
    "open-own-memory",
    "open-other-process",
    "open-front-memory",
    "open-kernel-memory",
    "list-home",
    "create-in-tmp",
    "create-in-shm",
    "fill-shm",
    "write-library",
    "make-folder",
    "make-folder-in-shm",
    "remove-library",
    "make-device",
    "socket-internet",
    "socket-netlink",
    "socket-packet",
    "connect-unix",
    "connect-abstract",
    "execute",
    "execute-memory",
    "fork",
    "vfork",
    "trace-front",
    "read-other-memory",
    "write-other-memory",
    "open-process",
    "take-descriptor",
    "kill-front",
    "kill-all",
    "signal-other-thread",
    "signal-by-queue",
    "mount",
    "unmount",
    "change-root",
    "new-namespace",
    "join-namespace",
    "become-root",
    "become-group",
    "take-capabilities",
    "be-dumpable",
    "keep-capabilities",
    "io-uring",
    "bpf",
    "performance-events",
    "keys",
    "add-key",
    "user-faults",
    "load-module",
    "handle-of-file",
    "shared-memory",
    "message-queue",
    "type-into-terminal",
    "limit-other",
    "raise-limit",
    "real-time",
    "set-clock",
    "host-name",
    "reboot",
    "fanotify",
];

fn result(value: libc::c_long) -> io::Result<()> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn open(path: &str, flags: libc::c_int) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: a text that ends with a zero.
    let fd = unsafe { libc::open(path.as_ptr(), flags, 0o600) };
    result(fd.into())?;
    // Something must be there to be read, or opening it was no gain.
    let mut byte = [0u8; 16];
    if flags & (libc::O_WRONLY | libc::O_RDWR | libc::O_DIRECTORY) == 0 {
        // SAFETY: room for 16 bytes.
        result(unsafe { libc::read(fd, byte.as_mut_ptr().cast(), 16) } as libc::c_long)?;
    }
    Ok(())
}

/// Bytes that "fill-shm" writes: more than a guest's memory of that kind has, with the cache that the tests give it.
const FILLED: usize = 48 << 20;

/// Works where a file of so many bytes can be written.
fn fill(path: &str, bytes: usize) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: a text that ends with a zero.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o600) };
    result(fd.into())?;
    let piece = vec![1u8; 1 << 20];
    let mut written = 0;
    while written < bytes {
        // SAFETY: the piece has as many bytes.
        let more = unsafe { libc::write(fd, piece.as_ptr().cast(), piece.len()) };
        result(more as libc::c_long)?;
        written += usize::try_from(more).unwrap_or(0);
    }
    Ok(())
}

fn connect(name: &[u8]) -> io::Result<()> {
    // SAFETY: all-zero is a valid address; the name fits.
    unsafe {
        let fd = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
        result(fd.into())?;
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (to, from) in address.sun_path.iter_mut().zip(name) {
            *to = *from as libc::c_char;
        }
        let bytes = size_of::<libc::sa_family_t>() + name.len();
        result(libc::connect(fd, (&raw const address).cast(), bytes as libc::socklen_t).into())
    }
}

fn ask(number: libc::c_long, words: [libc::c_long; 5]) -> io::Result<()> {
    let [a, b, c, d, e] = words;
    // SAFETY: what is passed are numbers, null, or texts that live as long as the process.
    result(unsafe { libc::syscall(number, a, b, c, d, e) })
}

fn text(text: &'static CStr) -> libc::c_long {
    text.as_ptr() as libc::c_long
}

/// Tries an act against the process `other`, a sibling or the front, whose socket is `socket`.
pub fn attempt(act: &str, other: i32, socket: &str) -> io::Result<()> {
    let process = libc::c_long::from(other);
    let read = libc::O_RDONLY;
    let word = [0u64; 16];
    let place = word.as_ptr() as libc::c_long;
    match act {
        "getpid" => ask(libc::SYS_getpid, [0; 5]),
        "open-shadow" => open("/etc/shadow", read),
        "open-passwd" => open("/etc/passwd", read),
        "open-own-memory" => open("/proc/self/mem", libc::O_RDWR),
        "open-other-process" => open(&format!("/proc/{other}/maps"), read),
        "open-front-memory" => open(&format!("/proc/{other}/mem"), libc::O_RDWR),
        "open-kernel-memory" => open("/dev/mem", read).or_else(|_| open("/proc/kcore", read)),
        "list-home" => open("/root", read | libc::O_DIRECTORY).or_else(|_| open("/home", read | libc::O_DIRECTORY)),
        "create-in-tmp" => open("/tmp/gpuferry-attempt", libc::O_CREAT | libc::O_WRONLY),
        "create-in-shm" => open("/dev/shm/gpuferry-attempt", libc::O_CREAT | libc::O_WRONLY),
        "fill-shm" => fill("/dev/shm/gpuferry-attempt.fill", FILLED),
        "read-in-shm" => open("/dev/shm/gpuferry-attempt", libc::O_RDWR),
        "write-library" => open("/usr/lib/os-release", libc::O_WRONLY),
        "make-folder-in-shm" => ask(libc::SYS_mkdir, [text(c"/dev/shm/gpuferry-attempt.d"), 0o700, 0, 0, 0]),
        "make-folder" => ask(libc::SYS_mkdir, [text(c"/tmp/gpuferry-attempt.d"), 0o700, 0, 0, 0]),
        "remove-library" => ask(libc::SYS_unlink, [text(c"/usr/lib/gpuferry-none"), 0, 0, 0, 0]),
        "make-device" => ask(libc::SYS_mknodat, [-100, text(c"/tmp/gpuferry-mem"), 0o020_600, 0x101, 0]),
        "socket-internet" => ask(libc::SYS_socket, [2, 1, 0, 0, 0]),
        "socket-netlink" => ask(libc::SYS_socket, [16, 3, 0, 0, 0]),
        "socket-packet" => ask(libc::SYS_socket, [17, 3, 0x300, 0, 0]),
        "connect-unix" => connect(socket.as_bytes()),
        "connect-abstract" => connect(b"\0gpuferry-attempt"),
        "execute" => {
            let arguments = [c"/bin/true".as_ptr(), std::ptr::null()];
            ask(libc::SYS_execve, [text(c"/bin/true"), arguments.as_ptr() as libc::c_long, 0, 0, 0])
        }
        "execute-memory" => {
            // SAFETY: a text that ends with a zero.
            let file = unsafe { libc::memfd_create(c"program".as_ptr(), 0) };
            ask(libc::SYS_execveat, [file.into(), text(c""), 0, 0, libc::AT_EMPTY_PATH.into()])
        }
        "fork" => ask(libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0, 0]),
        "vfork" => ask(libc::SYS_fork, [0; 5]),
        "trace-front" => ask(libc::SYS_ptrace, [libc::PTRACE_SEIZE as libc::c_long, process, 0, 0, 0]),
        "read-other-memory" => ask(libc::SYS_process_vm_readv, [process, place, 1, place, 1]),
        "write-other-memory" => ask(libc::SYS_process_vm_writev, [process, place, 1, place, 1]),
        "open-process" => ask(libc::SYS_pidfd_open, [process, 0, 0, 0, 0]),
        "take-descriptor" => ask(libc::SYS_pidfd_getfd, [3, 0, 0, 0, 0]),
        "kill-front" => ask(libc::SYS_kill, [process, 0, 0, 0, 0]),
        "kill-all" => ask(libc::SYS_kill, [-1, 0, 0, 0, 0]),
        "signal-other-thread" => ask(libc::SYS_tgkill, [process, process, 0, 0, 0]),
        "signal-by-queue" => ask(libc::SYS_rt_sigqueueinfo, [process, 0, place, 0, 0]),
        "mount" => ask(libc::SYS_mount, [text(c"none"), text(c"/"), text(c"tmpfs"), 0, 0]),
        "unmount" => ask(libc::SYS_umount2, [text(c"/proc"), 2, 0, 0, 0]),
        "change-root" => ask(libc::SYS_chroot, [text(c"/"), 0, 0, 0, 0]),
        "new-namespace" => ask(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0]),
        "join-namespace" => ask(libc::SYS_setns, [3, 0, 0, 0, 0]),
        "become-root" => ask(libc::SYS_setuid, [0; 5]),
        "become-group" => ask(libc::SYS_setgroups, [0; 5]),
        "take-capabilities" => ask(libc::SYS_capset, [place, place, 0, 0, 0]),
        "be-dumpable" => ask(libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0, 0, 0]),
        "keep-capabilities" => ask(libc::SYS_prctl, [libc::PR_SET_KEEPCAPS.into(), 1, 0, 0, 0]),
        "io-uring" => ask(libc::SYS_io_uring_setup, [1, place, 0, 0, 0]),
        "bpf" => ask(libc::SYS_bpf, [0, place, 64, 0, 0]),
        "performance-events" => ask(libc::SYS_perf_event_open, [place, 0, -1, -1, 0]),
        "keys" => ask(libc::SYS_keyctl, [0, -3, 0, 0, 0]),
        "add-key" => ask(libc::SYS_add_key, [text(c"user"), text(c"k"), place, 1, -3]),
        "user-faults" => ask(libc::SYS_userfaultfd, [1, 0, 0, 0, 0]),
        "load-module" => ask(libc::SYS_init_module, [place, 8, text(c""), 0, 0]),
        "handle-of-file" => ask(libc::SYS_name_to_handle_at, [-100, text(c"/"), place, place, 0]),
        "shared-memory" => ask(libc::SYS_shmget, [0, 4096, 0o1600, 0, 0]),
        "message-queue" => ask(libc::SYS_msgget, [0, 0o1600, 0, 0, 0]),
        "type-into-terminal" => ask(libc::SYS_ioctl, [2, 0x5412, place, 0, 0]),
        "limit-other" => ask(libc::SYS_prlimit64, [process, 7, place, 0, 0]),
        "raise-limit" => ask(libc::SYS_setrlimit, [4, place, 0, 0, 0]),
        "real-time" => ask(libc::SYS_sched_setscheduler, [0, 1, place, 0, 0]),
        "set-clock" => ask(libc::SYS_settimeofday, [place, 0, 0, 0, 0]),
        "host-name" => ask(libc::SYS_sethostname, [text(c"x"), 1, 0, 0, 0]),
        "reboot" => ask(libc::SYS_reboot, [0; 5]),
        "fanotify" => ask(libc::SYS_fanotify_init, [0; 5]),
        _ => Err(io::Error::other("no such act")),
    }
}
