//! Resource limits of a process.

use std::io;

use super::Profile;

/// Threads and processes of one worker. Counted for each user namespace; without one, for the user as a whole, which has this many
/// for each of 256 sessions.
const MOST_THREADS: u64 = 4096;
/// Open files of one worker: also no more than half of what the front has. The kernel counts descriptors that are on their
/// way through sockets for the user as a whole, and refuses who has a limit below that: with as many as the front, a worker
/// that was taken over could keep the fronts, starters and rooms of its user, other guests' too, from giving descriptors to
/// anybody.
const MOST_FILES: u64 = 128 << 10;
/// Most stack of a thread that grows, the main one.
const STACK: u64 = 64 << 20;

fn most_now(what: libc::__rlimit_resource_t) -> io::Result<u64> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place.
    if unsafe { libc::getrlimit(what, &raw mut now) } == 0 { Ok(now.rlim_max) } else { Err(io::Error::last_os_error()) }
}

fn set_one(what: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let most = most.min(most_now(what)?);
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: a valid place. A limit can only be lowered, so that what is there already stays where it is lower.
    if unsafe { libc::setrlimit(what, &raw const limit) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// No core files (they would hold a guest's memory), and bounds on what a process that was taken over can use up.
pub(super) fn set(profile: Profile) -> io::Result<()> {
    set_one(libc::RLIMIT_CORE, 0)?;
    set_one(libc::RLIMIT_STACK, STACK)?;
    set_one(libc::RLIMIT_MSGQUEUE, 0)?;
    set_one(libc::RLIMIT_SIGPENDING, MOST_THREADS)?;
    set_one(libc::RLIMIT_RTPRIO, 0)?;
    set_one(libc::RLIMIT_NICE, 0)?;
    if profile != Profile::Front {
        let own = super::namespaces::has_own_user();
        set_one(libc::RLIMIT_NPROC, if own { MOST_THREADS } else { MOST_THREADS * 256 })?;
        set_one(libc::RLIMIT_DATA, most_memory())?;
        set_one(libc::RLIMIT_NOFILE, MOST_FILES.min(most_now(libc::RLIMIT_NOFILE)? / 2))?;
    }
    Ok(())
}

/// Private memory of one worker: what the library and a compilation use on the host, and for the CPU device the device's memory too
/// (half of the machine's). Three quarters of the machine's memory.
fn most_memory() -> u64 {
    // SAFETY: takes an integer.
    let (pages, bytes) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    let whole = u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(bytes).unwrap_or(0));
    if whole == 0 { libc::RLIM_INFINITY } else { whole / 4 * 3 }
}
