//! Resource limits of a process.

use std::io;

use super::Profile;

/// Threads and processes of one worker. Counted for each user namespace; without one, for the user as a whole, which has this many
/// for each of 256 sessions.
const MOST_THREADS: u64 = 4096;
/// Most stack of a thread that grows, the main one.
const STACK: u64 = 64 << 20;

fn set_one(what: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: valid places. A limit can only be lowered, so that what is there already stays where it is lower.
    unsafe {
        if libc::getrlimit(what, &raw mut now) != 0 {
            return Err(io::Error::last_os_error());
        }
        let most = most.min(now.rlim_max);
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        if libc::setrlimit(what, &raw const limit) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
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
