//! Which way calls travel: the `GPUFERRY` environment variable, and the link that it names.
//!
//! A link opens the session, rings the worker, puts a thread to sleep on a word of the window, and lends memory. Nothing else
//! in this crate knows which carrier it is.

use std::io;
use std::path::PathBuf;

use crate::local::LocalLink;
use crate::virtio::VirtioLink;

/// Device node of the kernel module, used where `GPUFERRY` is not set.
pub const DEVICE_NODE: &str = "/dev/gpuferry";

/// A way to reach a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The kernel module's device node.
    Virtio(PathBuf),
    /// A socket of `gpuferryd --local-path` on the same host.
    Local(PathBuf),
}

/// Why no session could be opened. The text says what to do.
#[derive(Debug)]
pub enum OpenError {
    /// There is nothing to talk to: no device node, no socket, or nobody behind it.
    Absent(String),
    /// It is there and may not be used: permissions, limits.
    Refused(String),
    /// The other side speaks another version.
    Version(String),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Absent(text) | OpenError::Refused(text) | OpenError::Version(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for OpenError {}

impl Carrier {
    /// Reads `GPUFERRY`: unset or empty, `unix:PATH`, or `/PATH` of a device node.
    ///
    /// # Errors
    /// [`OpenError::Absent`] where the value is none of these.
    pub fn from_env() -> Result<Carrier, OpenError> {
        Carrier::parse(&std::env::var("GPUFERRY").unwrap_or_default())
    }

    /// Reads a value of `GPUFERRY`.
    ///
    /// # Errors
    /// As [`Carrier::from_env`].
    pub fn parse(value: &str) -> Result<Carrier, OpenError> {
        if value.is_empty() {
            return Ok(Carrier::Virtio(PathBuf::from(DEVICE_NODE)));
        }
        if let Some(path) = value.strip_prefix("unix:") {
            return Ok(Carrier::Local(PathBuf::from(path)));
        }
        if value.starts_with('/') {
            return Ok(Carrier::Virtio(PathBuf::from(value)));
        }
        Err(OpenError::Absent(format!(
            "GPUFERRY={value}: not understood; leave it unset for {DEVICE_NODE}, or set it to unix:PATH of `gpuferryd --local-path PATH`"
        )))
    }
}

/// A lease as the link made it.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub lease: u32,
}

/// Why memory could not be lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LendError {
    /// The session is dead.
    Gone,
    /// The range is not the caller's memory, or not of a kind that can be lent.
    BadRange,
    /// A limit is reached (locked memory, number of leases, bytes in one lease).
    Limit,
}

impl From<io::Error> for LendError {
    fn from(error: io::Error) -> LendError {
        match error.raw_os_error() {
            Some(libc::EPIPE | libc::ENODEV | libc::ECONNRESET | libc::EBADF) => LendError::Gone,
            Some(libc::ENOMEM | libc::ENOSPC | libc::EMFILE | libc::ENFILE | libc::EPERM) => LendError::Limit,
            _ => LendError::BadRange,
        }
    }
}

/// What a woken or timed-out sleeper learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slept {
    /// Look at the word again.
    Look,
    /// The session is dead.
    Dead,
}

/// The open link of a session.
#[derive(Debug)]
pub(crate) enum Link {
    Virtio(VirtioLink),
    Local(LocalLink),
}

impl Link {
    /// See [`crate::Session::leave_to_parent`].
    pub fn leave_to_parent(&self) {
        let descriptor = match self {
            Link::Virtio(link) => link.descriptor(),
            Link::Local(link) => link.descriptor(),
        };
        // SAFETY: the session's own descriptor, which nothing in this process uses any more.
        unsafe { libc::close(descriptor) };
    }

    /// Wakes the parked worker.
    pub fn ring(&self) {
        match self {
            Link::Virtio(link) => link.ring(),
            Link::Local(link) => link.ring(),
        }
    }

    /// Sleeps while the window's word at `offset` has `value`, for a bounded time: the caller loops.
    pub fn sleep(&self, word: &std::sync::atomic::AtomicU32, offset: usize, value: u32) -> Slept {
        match self {
            Link::Virtio(link) => link.sleep(offset, value),
            Link::Local(link) => link.sleep(word, value),
        }
    }

    /// Ends a lease; when it returns the memory is not touched any more.
    pub fn unpin(&self, lease: u32) {
        match self {
            Link::Virtio(link) => link.unpin(lease),
            Link::Local(link) => link.unpin(lease),
        }
    }

    /// Ends a lease that no call uses any more; the memory is the caller's again, whenever the other side lets go of it.
    pub fn unpin_late(&self, lease: u32) {
        match self {
            Link::Virtio(link) => link.unpin_late(lease),
            Link::Local(link) => link.unpin(lease),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carrier_when_parsed_then_is_what_the_value_says() {
        let parse = |value| Carrier::parse(value).map_err(|error| error.to_string());
        assert_eq!(parse(""), Ok(Carrier::Virtio("/dev/gpuferry".into())));
        assert_eq!(parse("unix:/run/g"), Ok(Carrier::Local("/run/g".into())));
        assert_eq!(parse("/dev/gpuferry1"), Ok(Carrier::Virtio("/dev/gpuferry1".into())));
        assert!(parse("carrier-pigeon").is_err());
    }
}
