//! Namespaces: no network, no other's processes, shared memory or mounts.
//!
//! Root makes them as it is; an ordinary user gets a user namespace first, where the kernel allows that. Workers are born in
//! theirs ([`spawn`]), as a process namespace is only for children; the front leaves the machine's by [`leave`] and stays in
//! the machine's process namespace, because it must name its workers to end them.

use std::io;

use super::identity::is_root;
use super::{Layers, Missing};

/// Namespaces that a worker gets.
const ALL: [(libc::c_int, &str); 5] = [
    (libc::CLONE_NEWNET, "network namespace"),
    (libc::CLONE_NEWNS, "mount namespace"),
    (libc::CLONE_NEWIPC, "ipc namespace"),
    (libc::CLONE_NEWPID, "process namespace"),
    (libc::CLONE_NEWUTS, "host name namespace"),
];

/// What a missing namespace needs.
const ADVICE: &str = "this user may make none (container, or user namespaces switched off): start gpuferryd as root, or allow user \
                      namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces, AppArmor's userns rule)";

/// Namespaces of a guest's room, and those that each of its workers gets besides (`front::room`). Workers that may start
/// programs, or that no filter keeps from it, have process namespaces of their own.
#[must_use]
pub fn of_room(layers: &Layers, starts_programs: bool) -> (libc::c_int, libc::c_int) {
    if starts_programs || !layers.calls || layers.namespaces & libc::CLONE_NEWPID == 0 {
        return (0, layers.namespaces);
    }
    let shared = libc::CLONE_NEWPID | libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
    (layers.namespaces & shared, layers.namespaces & !libc::CLONE_NEWPID)
}

/// Makes a child in new namespaces of the calling process, which has one thread. Returns its number, or 0 in the child.
///
/// # Errors
/// As clone(2).
pub fn spawn(flags: libc::c_int) -> io::Result<libc::pid_t> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: as fork(2): no stack, no shared memory; the caller has one thread, so the child may go on in any code.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if child < 0 { Err(io::Error::last_os_error()) } else { Ok(child as libc::pid_t) }
}

/// Whether `act` works in a child in such namespaces. The calling process has one thread.
pub(super) fn try_in_child(flags: libc::c_int, act: impl FnOnce() -> bool) -> bool {
    match spawn(flags) {
        Err(_) => false,
        Ok(0) => crate::os::exit_now(i32::from(!act())),
        Ok(child) => {
            let mut status = 0;
            // SAFETY: a child of ours and a valid place.
            let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
            ended == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

/// Whether `act` works in the position of a worker: in a child's child, where that is how they are made.
fn try_in_worker(flags: libc::c_int, act: impl Fn() -> bool) -> bool {
    let layers = Layers { namespaces: flags, calls: true, ..Layers::default() };
    let (room, worker) = of_room(&layers, false);
    let inside = |flags: libc::c_int, act: &dyn Fn() -> bool| {
        let names = ids();
        try_in_child(flags, || (flags & libc::CLONE_NEWUSER == 0 || map_self(names).is_ok()) && act())
    };
    inside(room, &|| inside(worker, &act))
}

/// Which namespaces there are, and whether a root folder can be made in them.
pub(super) fn survey(missing: &mut Vec<Missing>) -> (libc::c_int, bool) {
    let base = if is_root() { 0 } else { libc::CLONE_NEWUSER };
    let works = |flags| try_in_worker(base | flags, || true);
    let mut found = ALL.iter().fold(0, |flags, (flag, _)| flags | flag);
    if !works(found) {
        found = ALL.iter().filter(|(flag, _)| works(*flag)).fold(0, |flags, (flag, _)| flags | flag);
    }
    for (flag, name) in ALL {
        if found & flag == 0 {
            missing.push(Missing { layer: name, why: ADVICE.into() });
        }
    }
    if found != 0 {
        found |= base;
    }
    let root = found & libc::CLONE_NEWNS != 0 && try_in_worker(found, super::root::can_change);
    if found & libc::CLONE_NEWNS != 0 && !root {
        missing.push(Missing {
            layer: "root folder of its own",
            why: "mounting in an own mount namespace is refused (AppArmor, or a root that is no mount): Landlock alone keeps \
                  files away"
                .into(),
        });
    }
    (found, root)
}

/// User and group of this process.
#[must_use]
pub fn ids() -> (u32, u32) {
    // SAFETY: take nothing.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Makes this process, first of a new user namespace, its root: the user outside with the given numbers, and nobody else.
///
/// # Errors
/// As write(2).
pub fn map_self((user, group): (u32, u32)) -> io::Result<()> {
    // A user without rights must give up setgroups first; the file is not there in old kernels.
    let _ = std::fs::write("/proc/self/setgroups", "deny");
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// The front leaves the machine's namespaces, but for processes'.
///
/// # Errors
/// As unshare(2).
pub fn leave(flags: libc::c_int) -> io::Result<()> {
    let names = ids();
    // SAFETY: takes an integer.
    if unsafe { libc::unshare(flags & !libc::CLONE_NEWPID) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::CLONE_NEWUSER != 0 { map_self(names) } else { Ok(()) }
}

/// Whether this process is in a user namespace of one user: then limits count it alone.
pub(super) fn has_own_user() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let mut words = map.split_whitespace().skip(2);
    words.next() == Some("1") && words.next().is_none()
}
