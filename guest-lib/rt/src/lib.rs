//! Carries calls from a guest process to its worker. It knows no API: `guest-lib/cuda` and others stand on it.
//!
//! In the order in which a call meets it: [`Carrier`] (which way), [`Session`] (open, [`Session::post`], [`Session::wait`]),
//! for an argument [`Session::input`], [`Session::output`],
//! and for bulk data [`Session::input_parts`], [`Session::output_parts`], [`Session::lend`], [`Session::page_locked`].
//! Beside that stands what exported functions are made of: [`program`] and [`contained`].
//!
//! What holds: encoding takes no lock and no allocation; nothing here prints, exits or installs handlers; a dead worker, front or
//! device makes every call return [`Gone`] and hangs none.

mod carrier;
mod crew;
mod exchange;
#[cfg(fuzzing)]
pub mod fuzz;
mod lend;
mod local;
mod locked;
mod mapped;
mod parts;
pub mod program;
mod session;
mod thread;
mod virtio;
mod waiting;
mod window;

pub use carrier::{Carrier, DEVICE_NODE, LendError, OpenError};
pub use crew::copy;
pub use lend::{Access, Lease, MAX_LEASE_BYTES};
pub use locked::PageLocked;
pub use parts::{INLINE_BYTES, Turn};
pub use session::{Counters, Gone, Origin, Session};
pub use thread::{contained, thread_number, threads};
pub use wire::Malformed;
pub use wire::payload::{Buffer, Full, Reader, Writer};
