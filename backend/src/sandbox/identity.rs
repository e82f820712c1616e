//! Another user, no capabilities, no new rights by any program, and no looks from outside.

use std::ffi::CString;
use std::io;

use super::Missing;

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
}

/// Not a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no user: give a name, UID or UID:GID of this host, other than root")]
pub struct NoUser(String);

impl User {
    /// The number that no file belongs to.
    pub const NOBODY: User = User { user: 65534, group: 65534 };
}

impl std::str::FromStr for User {
    type Err = NoUser;

    fn from_str(text: &str) -> Result<User, NoUser> {
        let no = || NoUser(text.to_owned());
        let user = match text.split_once(':') {
            Some((user, group)) => {
                User { user: user.parse().map_err(|_| no())?, group: group.parse().map_err(|_| no())? }
            }
            None => match text.parse() {
                Ok(user) => User { user, group: user },
                Err(_) => named(text).ok_or_else(no)?,
            },
        };
        // All ones is the kernel's word for "as it is".
        if user.user == 0 || user.group == 0 || user.user == u32::MAX || user.group == u32::MAX {
            return Err(no());
        }
        Ok(user)
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

fn named(name: &str) -> Option<User> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends with a zero; the result is looked at before any other call, and the process has one thread.
    let entry = unsafe { libc::getpwnam(name.as_ptr()).as_ref() }?;
    Some(User { user: entry.pw_uid, group: entry.pw_gid })
}

/// Whether this process is the machine's root, or that of the namespace it was started in.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: takes nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Whether the process can become somebody else, where it must.
pub(super) fn survey(user: Option<User>, missing: &mut Vec<Missing>) -> bool {
    if !is_root() {
        if user.is_some() {
            missing.push(Missing {
                layer: "user",
                why: "--user needs a start as root; everything runs as the user that started it".into(),
            });
        }
        return false;
    }
    let works = super::namespaces::try_in_child(0, || change(user).is_ok());
    if !works {
        missing.push(Missing {
            layer: "other user",
            why: "root without CAP_SETUID and CAP_SETGID: start gpuferryd as an ordinary user that may use the device"
                .into(),
        });
    }
    works
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Becomes the user, in all of its numbers.
pub(super) fn change(user: Option<User>) -> io::Result<()> {
    let User { user, group } = user.unwrap_or(User::NOBODY);
    // SAFETY: integers, and an empty list.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(group, group, group))?;
        check(libc::setresuid(user, user, user))
    }
}

/// `capset` as the kernel takes it, version 3.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    process: i32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// More than any kernel has.
const MOST_CAPABILITIES: libc::c_ulong = 64;

/// No program that this process could start gets a capability. While it still has the right to say so.
pub(super) fn bound_rights() {
    for capability in 0..MOST_CAPABILITIES {
        // SAFETY: takes integers. Refused past the last, and where the process has no right to: then no_new_privs holds alone.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}

/// No capability, none by any program either, and, unless it must be `seen`, no process of the same user may look inside.
pub(super) fn drop_rights(seen: bool) -> io::Result<()> {
    // SAFETY: integers; the two structures are as capset(2) asks.
    unsafe {
        // Unknown to old kernels, which have nothing to clear then.
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        let header = CapabilityHeader { version: CAPABILITY_VERSION_3, process: 0 };
        let none = [0u32; 6];
        check(libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) as libc::c_int)?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(seen), 0, 0, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_when_root_or_none_then_is_refused() {
        for bad in ["0", "root", "0:5", "5:0", "-1", "4294967295", "no such user", "", "1:", ":1"] {
            assert!(bad.parse::<User>().is_err(), "{bad}");
        }
        assert_eq!("1000:44".parse(), Ok(User { user: 1000, group: 44 }));
        assert_eq!("1000".parse(), Ok(User { user: 1000, group: 1000 }));
        assert_eq!("nobody".parse::<User>().expect("every system has it").user, 65534);
    }
}
