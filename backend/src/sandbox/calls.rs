//! The filter of system calls: what is not on the list ends the process.
//!
//! A few calls that libraries try and do without are refused with an error instead. The lists were made from what each
//! library was seen to do: docs/sandbox.md has them with their sources. `clone` makes threads only, `ioctl` and `prctl` have
//! lists of their own, and `tgkill` reaches this process alone.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::{Missing, Profile, Settings};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What every process of ours does: memory, threads, time, signals of its own, descriptors that it has.
#[rustfmt::skip]
const PLAIN: [i64; 79] = [
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_lseek,
    libc::SYS_close, libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_fcntl, libc::SYS_dup,
    libc::SYS_poll, libc::SYS_ppoll, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait, libc::SYS_eventfd2, libc::SYS_pipe2, libc::SYS_recvmsg, libc::SYS_sendmsg,
    libc::SYS_recvfrom, libc::SYS_sendto, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mprotect, libc::SYS_mremap,
    libc::SYS_madvise, libc::SYS_mincore, libc::SYS_msync, libc::SYS_brk, libc::SYS_futex, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getparam, libc::SYS_sched_getscheduler, libc::SYS_getcpu, libc::SYS_getpid, libc::SYS_getppid,
    libc::SYS_gettid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_uname,
    libc::SYS_sysinfo, libc::SYS_times, libc::SYS_getrusage, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_gettimeofday, libc::SYS_time, libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigtimedwait, libc::SYS_sigaltstack,
    libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_rseq, libc::SYS_set_tid_address,
    libc::SYS_membarrier, libc::SYS_arch_prctl, libc::SYS_getrlimit, libc::SYS_getrandom, libc::SYS_exit,
    libc::SYS_exit_group, libc::SYS_restart_syscall, libc::SYS_getpriority, libc::SYS_mlock, libc::SYS_munlock,
    libc::SYS_futex_waitv, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
];

/// The front besides: its sockets, windows, and the end of workers.
#[rustfmt::skip]
const FRONT: [i64; 12] = [
    libc::SYS_accept4, libc::SYS_socketpair, libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_shutdown, libc::SYS_memfd_create, libc::SYS_ftruncate, libc::SYS_fallocate,
    libc::SYS_pidfd_send_signal, libc::SYS_rt_sigpending,
];

/// Workers besides: opening what Landlock lets them.
#[rustfmt::skip]
const WORKER: [i64; 13] = [
    libc::SYS_openat, libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_faccessat,
    libc::SYS_faccessat2, libc::SYS_readlink, libc::SYS_readlinkat, libc::SYS_getdents64, libc::SYS_get_mempolicy,
    // The CPU device's memory is a file without a name.
    libc::SYS_memfd_create, libc::SYS_ftruncate,
];

/// NVIDIA's driver besides: a socket of an abstract name by which processes of CUDA would share memory. Nobody is in its network
/// namespace, and connecting is refused.
#[rustfmt::skip]
const NVIDIA: [i64; 8] = [
    // Of what is in the guest's own `/dev/shm`. The empty name, which the driver unlinks before it binds its socket, is not there.
    libc::SYS_unlink, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept4, libc::SYS_setsockopt, libc::SYS_getsockopt,
    libc::SYS_getsockname, libc::SYS_socketpair,
];

/// OpenCL platforms besides: compiled kernels in their own folder, and the system's linker as a child, which is in the same
/// sandbox.
#[rustfmt::skip]
const OPENCL: [i64; 33] = [
    libc::SYS_mkdir, libc::SYS_mkdirat, libc::SYS_unlink, libc::SYS_unlinkat, libc::SYS_rename, libc::SYS_renameat,
    libc::SYS_renameat2, libc::SYS_fallocate, libc::SYS_flock, libc::SYS_fsync, libc::SYS_fdatasync,
    libc::SYS_pwrite64, libc::SYS_chmod, libc::SYS_fchmod, libc::SYS_rmdir, libc::SYS_getcwd, libc::SYS_statfs,
    libc::SYS_fstatfs, libc::SYS_clone, libc::SYS_fork, libc::SYS_vfork, libc::SYS_execve, libc::SYS_wait4,
    libc::SYS_waitid, libc::SYS_dup2, libc::SYS_dup3, libc::SYS_pipe, libc::SYS_close_range, libc::SYS_umask,
    libc::SYS_utimensat, libc::SYS_fadvise64, libc::SYS_sched_setaffinity, libc::SYS_getpgrp,
];

/// Tried by libraries, which do without when they are refused: EACCES.
#[rustfmt::skip]
const REFUSED: [i64; 27] = [
    libc::SYS_socket, libc::SYS_bind, libc::SYS_listen, libc::SYS_symlink, libc::SYS_symlinkat, libc::SYS_mkdir, libc::SYS_mkdirat, libc::SYS_rename, libc::SYS_chmod,
    libc::SYS_open, libc::SYS_openat, libc::SYS_stat, libc::SYS_access, libc::SYS_readlink, libc::SYS_readlinkat,
    libc::SYS_fork, libc::SYS_vfork, libc::SYS_setpriority, libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler, libc::SYS_sched_setparam, libc::SYS_set_mempolicy, libc::SYS_mbind,
    libc::SYS_mlockall, libc::SYS_getcwd, libc::SYS_statfs, libc::SYS_ioctl,
];

/// What may be asked of `prctl`: names of threads and of memory (`PR_SET_VMA`).
const NAMES: [u64; 3] = [libc::PR_SET_NAME as u64, libc::PR_GET_NAME as u64, 0x5356_4d41];

/// As if what they name were not there: ENOENT. CUDA's driver asks for a daemon for several processes, and unlinks the empty name
/// before it binds its socket; any other answer is an error to it.
const ABSENT: [i64; 3] = [libc::SYS_connect, libc::SYS_unlink, libc::SYS_unlinkat];

/// A condition that holds where the argument is one of these values.
fn one_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let each = |value: &u64| SeccompRule::new(vec![SeccompCondition::new(argument, Len::Dword, Op::Eq, *value)?]);
    values.iter().map(each).collect()
}

/// A condition that holds where the argument is none of these values.
fn none_of(argument: u8, values: &[u64]) -> Result<SeccompRule, seccompiler::BackendError> {
    let each = |value: &u64| SeccompCondition::new(argument, Len::Dword, Op::Ne, *value);
    SeccompRule::new(values.iter().map(each).collect::<Result<Vec<_>, _>>()?)
}

/// A condition that holds where the argument has these values in the bits of the mask.
fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Len::Dword, Op::MaskedEq(mask), value)?])
}

/// `ioctl` requests: whether a descriptor blocks (`FIONBIO`), and whether it is a terminal (`TCGETS`); of NVIDIA's driver
/// those of its letter, and of its memory module the plain numbers and its first (`UVM_INITIALIZE`) and last; for OpenCL,
/// those of DRM and of AMD's driver.
fn controls(profile: Profile) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let mut rules = one_of(1, &[libc::FIONBIO, libc::TCGETS])?;
    if matches!(profile, Profile::Nvidia | Profile::OpenCl) {
        rules.push(masked(1, 0xff00, u64::from(b'F') << 8)?);
        rules.push(masked(1, 0xffff_ff00, 0)?);
        rules.extend(one_of(1, &[0x3000_0001, 0x3000_0002])?);
    }
    if profile == Profile::OpenCl {
        // The kernel's drivers for other GPUs: DRM, and AMD's for computing. With a direction: without one they are a console's.
        for (letter, direction) in [b'd', b'K'].into_iter().flat_map(|letter| (1..=3).map(move |way| (letter, way))) {
            rules.push(masked(1, 0xc000_ff00, u64::from(letter) << 8 | direction << 30)?);
        }
    }
    Ok(rules)
}

fn allowed(profile: Profile, settings: &Settings) -> Result<Rules, Failure> {
    let more: &[&[i64]] = match profile {
        Profile::Front => &[&FRONT],
        Profile::Cpu => &[&WORKER],
        Profile::Nvidia => &[&WORKER, &NVIDIA],
        Profile::OpenCl => &[&WORKER, &NVIDIA, &OPENCL],
    };
    let mut rules: Rules = PLAIN.iter().chain(more.iter().copied().flatten()).map(|call| (*call, vec![])).collect();
    let threads = libc::CLONE_THREAD | libc::CLONE_VM;
    if profile != Profile::OpenCl {
        rules.insert(libc::SYS_clone, vec![masked(0, threads as u64, threads as u64)?]);
    }
    // Names of the process's threads and memory.
    rules.insert(libc::SYS_prctl, one_of(0, &NAMES)?);
    rules.insert(libc::SYS_ioctl, controls(profile)?);
    if profile == Profile::OpenCl {
        // Its children have numbers of their own; no process outside is in their namespace, or in Landlock's reach.
        rules.insert(libc::SYS_tgkill, vec![]);
    } else {
        rules.insert(libc::SYS_tgkill, one_of(0, &[u64::from(std::process::id())])?);
    }
    // The CPU device looks by it whether its own addresses can be read.
    if matches!(profile, Profile::Cpu | Profile::OpenCl) {
        rules.insert(libc::SYS_process_vm_readv, one_of(0, &[u64::from(std::process::id())])?);
    }
    // Its own limits, to read.
    let own = SeccompCondition::new(0, Len::Dword, Op::Eq, 0)?;
    let reads = SeccompCondition::new(2, Len::Qword, Op::Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![own, reads])?]);
    if matches!(profile, Profile::Nvidia | Profile::OpenCl) {
        rules.insert(libc::SYS_socket, one_of(0, &[libc::AF_UNIX as u64])?);
    }
    for call in &settings.more_calls {
        rules.insert(i64::from(*call), vec![]);
    }
    Ok(rules)
}

/// Programs for the kernel. The strictest answer of all of them counts.
fn programs(profile: Profile, settings: &Settings) -> Result<Vec<BpfProgram>, Failure> {
    let machine = std::env::consts::ARCH.try_into()?;
    let allowed = allowed(profile, settings)?;
    let mut known = allowed.clone();
    let mut refused: Rules =
        REFUSED.iter().filter(|call| !allowed.contains_key(call)).map(|call| (*call, vec![])).collect();
    known.extend(refused.clone());
    // Not only for threads: a library that wants a child is told that there can be none.
    known.insert(libc::SYS_clone3, vec![]);
    // What else a vendor's library tries, it does without. Filters are added by it still; they only take away.
    if profile == Profile::OpenCl {
        let filters = [libc::PR_SET_NO_NEW_PRIVS as u64, libc::PR_SET_SECCOMP as u64];
        refused.insert(libc::SYS_prctl, vec![none_of(0, &[&NAMES[..], &filters].concat())?]);
        known.insert(libc::SYS_prctl, vec![]);
    }
    let absent: Rules = ABSENT.iter().filter(|call| !allowed.contains_key(call)).map(|call| (*call, vec![])).collect();
    known.extend(absent.clone());
    let ends = if settings.says_calls { SeccompAction::Trap } else { SeccompAction::KillProcess };
    let filter = |rules, other, matching| SeccompFilter::new(rules, other, matching, machine);
    let refuse = SeccompAction::Errno(libc::EACCES as u32);
    // The C library falls back to clone, whose arguments can be seen.
    let unknown = BTreeMap::from([(libc::SYS_clone3, vec![])]);
    let mut programs: Vec<BpfProgram> = vec![
        filter(unknown, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?.try_into()?,
        filter(absent, SeccompAction::Allow, SeccompAction::Errno(libc::ENOENT as u32))?.try_into()?,
    ];
    if !refused.is_empty() {
        programs.push(filter(refused, SeccompAction::Allow, refuse)?.try_into()?);
    }
    // Last: after it no filter can be added.
    programs.push(filter(known, ends, SeccompAction::Allow)?.try_into()?);
    Ok(programs)
}

pub(super) fn survey(missing: &mut Vec<Missing>) -> bool {
    const GET_ACTION_AVAILABLE: libc::c_ulong = 2;
    let kill_process = 0x8000_0000u32;
    // SAFETY: a valid place for the action that is asked about.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAILABLE, 0, &raw const kill_process) };
    if result != 0 {
        missing.push(Missing {
            layer: "system call filter",
            why: "the kernel has no seccomp filters that end a process (4.14 or later with CONFIG_SECCOMP_FILTER)"
                .into(),
        });
    }
    result == 0
}

pub(super) fn enforce(profile: Profile, settings: &Settings) -> Result<(), Failure> {
    if settings.says_calls {
        say_calls();
    }
    for program in programs(profile, settings)? {
        apply_filter(&program)?;
    }
    Ok(())
}

/// A forbidden call says its number and ends the process, as the filter alone would, without a word.
fn say_calls() {
    extern "C" fn say(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel's information about this signal; si_syscall is the third word after the 16 bytes of its head.
        let number = unsafe { info.cast::<i32>().add(6).read() };
        let text = format!("sandbox: system call {number} is forbidden (--allow-call {number} would allow it)\n");
        // SAFETY: bytes of ours. Formatting in a handler is for a debugging aid that ends the process next.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
        crate::os::exit_now(128 + libc::SIGSYS);
    }
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = say;
    // SAFETY: all-zero is a valid sigaction; the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
const NEVER: [i64; 24] = [
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_kill, libc::SYS_tkill, libc::SYS_pidfd_open, libc::SYS_pidfd_getfd, libc::SYS_mount,
    libc::SYS_umount2, libc::SYS_unshare, libc::SYS_setns, libc::SYS_bpf, libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup, libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_userfaultfd, libc::SYS_init_module,
    libc::SYS_setuid, libc::SYS_chroot, libc::SYS_name_to_handle_at, libc::SYS_open_by_handle_at,
    ];

    #[test]
    fn list_when_of_any_profile_then_has_none_of_the_dangerous_calls() {
        for profile in [Profile::Front, Profile::Cpu, Profile::Nvidia, Profile::OpenCl] {
            let rules = allowed(profile, &Settings::default()).expect("rules");
            for call in NEVER {
                let own = matches!(profile, Profile::Cpu | Profile::OpenCl) && call == libc::SYS_process_vm_readv
                    || profile == Profile::OpenCl && call == libc::SYS_execve;
                assert!(own || !rules.contains_key(&call) && !REFUSED.contains(&call), "{profile:?}: {call}");
            }
            assert!(programs(profile, &Settings::default()).is_ok());
        }
    }

    #[test]
    fn list_when_of_the_front_then_opens_nothing() {
        let rules = allowed(Profile::Front, &Settings::default()).expect("rules");
        assert!(!rules.contains_key(&libc::SYS_openat) && !rules.contains_key(&libc::SYS_socket));
    }
}
