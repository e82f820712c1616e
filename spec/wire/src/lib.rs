//! The bytes that cross between guest and host. This crate is the protocol; both sides use it, and it depends on nothing.
//!
//! In the order in which a call meets them: [`window`] (the shared memory of a session), [`frame`] and [`payload`] (a call's
//! bytes), [`handle`] (numbers for objects), [`ring`] (how frames are published and taken), [`slot`] (how a reply comes back),
//! [`control`] (messages over a Unix socket: a local program to the front, the front to its workers) and [`device`] (the virtio
//! device for the guest's kernel). The text is `spec/wire.md` and `spec/device.md`.
//!
//! Nothing here trusts the other side: see each module's head for who writes what.

#[cfg(target_endian = "big")]
compile_error!("guest and host are little-endian");

pub mod control;
pub mod device;
pub mod frame;
pub mod handle;
pub mod payload;
pub mod ring;
pub mod slot;
pub mod sync;
pub mod window;

/// Version of everything in the window and of the call numbers. Guest library and worker must have the same.
pub const WIRE_VERSION: u32 = 3;

/// The other side broke the protocol. It ends the session; it is never an answer of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl Malformed {
    /// With what was wrong, for the log.
    #[must_use]
    pub const fn new(what: &'static str) -> Malformed {
        Malformed(what)
    }
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "malformed: {}", self.0)
    }
}

impl std::error::Error for Malformed {}
