//! Statuses and broken messages on their way out of a forwarder of any API, and the small steps of decoding that the printed
//! code shares.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wire::Malformed;
use wire::frame::{FrameHeader, NO_SLOT};
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Writer};
use wire::slot::MAX_REPLY_BYTES;

use super::{Reply, Session};

/// Why a forwarder stops early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The API's answer.
    Status(i32),
    /// The message is broken: the session ends.
    Malformed(Malformed),
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Failure {
        Failure::Malformed(malformed)
    }
}

/// Runs a forwarder and takes the API's answer out of it.
#[inline]
pub fn answer(forward: impl FnOnce() -> Result<(), Failure>) -> Result<i32, Malformed> {
    match forward() {
        Ok(()) => Ok(0),
        Err(Failure::Status(status)) => Ok(status),
        Err(Failure::Malformed(malformed)) => Err(malformed),
    }
}

/// A status of the library.
#[inline]
pub fn ok(status: i32) -> Result<(), Failure> {
    if status == 0 { Ok(()) } else { Err(Failure::Status(status)) }
}

/// The message waits for a reply, as its call does.
pub fn waits(from: &FrameHeader) -> Result<(), Malformed> {
    if from.slot == NO_SLOT { Err(Malformed::new("a waited call without a slot")) } else { Ok(()) }
}

/// The message waits for nothing, as its call does.
pub fn posted(from: &FrameHeader) -> Result<(), Malformed> {
    if from.slot == NO_SLOT { Ok(()) } else { Err(Malformed::new("a posted call with a slot")) }
}

/// Answers: the values by `fill`, and the status.
#[inline]
pub fn finish(
    status: i32,
    reply: &mut Reply<'_>,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<(), Malformed> {
    fill(reply.writer()).map_err(|Full| Malformed::new("asks for more than a reply holds"))?;
    reply.status(status);
    Ok(())
}

/// A function of the library of a worker's API, or the status where the library has none.
macro_rules! function {
    ($api:expr, $name:ident) => {
        $api.library.$name.ok_or_else(|| $api.missing(stringify!($name)))
    };
}
pub(super) use function;

/// Functions that a session called and the host's library lacks.
#[derive(Debug, Default)]
pub struct Missing(Mutex<BTreeSet<&'static str>>);

impl Missing {
    /// Takes note of one, and says so the first time.
    pub fn note(&self, session: &Session, level: log::Level, name: &'static str) {
        if self.names().insert(name) {
            log::log!(level, "session {}: the host's library has no {name}: not supported", session.number());
        }
    }

    /// Says them all, when the session ends.
    pub fn sum_up(&self, session: &Session) {
        for name in self.names().iter() {
            log::info!("session {}: {name} was called and is not in the host's library", session.number());
        }
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text that a run holds.
pub fn text(run: &[u8]) -> Result<CString, Malformed> {
    CString::new(run).map_err(|_| Malformed::new("a text with a zero byte in it"))
}

/// How many elements of `each` bytes a buffer has.
pub fn elements<T: TryFrom<u64>>(buffer: &Buffer<'_>, each: u64) -> Result<T, Malformed> {
    let bytes = buffer.bytes();
    if !bytes.is_multiple_of(each) {
        return Err(Malformed::new("a buffer of a broken number of elements"));
    }
    T::try_from(bytes / each).map_err(|_| Malformed::new("a buffer longer than its count can say"))
}

/// The handles of a list.
pub fn handle_list(run: &[u8]) -> Result<Vec<Handle>, Malformed> {
    let (handles, rest) = run.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Malformed::new("a list of a broken number of handles"));
    }
    Ok(handles.iter().map(|handle| Handle(u64::from_le_bytes(*handle))).collect())
}

/// How many handles a list has.
pub fn list_length<T: TryFrom<usize>>(list: &[Handle]) -> Result<T, Malformed> {
    T::try_from(list.len()).map_err(|_| Malformed::new("a list longer than its count can say"))
}

/// Two buffers that share a length agree.
pub fn same_length<T: PartialEq>(this: T, that: T) -> Result<(), Malformed> {
    if this == that { Ok(()) } else { Err(Malformed::new("buffers of one length that differ")) }
}

/// Room for an output that comes back in the reply; none for one that goes elsewhere.
pub fn reply_bytes(buffer: &Buffer<'_>) -> Result<Vec<u8>, Malformed> {
    match *buffer {
        Buffer::Reply { bytes } if bytes > MAX_REPLY_BYTES as u64 => {
            Err(Malformed::new("asks for more than a reply holds"))
        }
        Buffer::Reply { bytes } => Ok(vec![0; bytes as usize]),
        Buffer::Inline(_) => Err(Malformed::new("an output that lies in the frame")),
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_when_a_length_is_broken_then_is_malformed() {
        assert_eq!(elements::<usize>(&Buffer::Inline(&[0; 12]), 4), Ok(3));
        assert!(elements::<usize>(&Buffer::Inline(&[0; 13]), 4).is_err());
        assert!(elements::<u8>(&Buffer::Staging { offset: 0, bytes: 256 }, 1).is_err());
    }

    #[test]
    fn reply_bytes_when_more_than_a_slot_then_is_malformed() {
        assert_eq!(reply_bytes(&Buffer::Reply { bytes: 4 }), Ok(vec![0; 4]));
        assert!(reply_bytes(&Buffer::Reply { bytes: 4033 }).is_err());
        assert!(reply_bytes(&Buffer::Reply { bytes: u64::MAX }).is_err());
    }

    #[test]
    fn text_when_a_zero_byte_is_inside_then_is_malformed() {
        assert!(text(b"a\0b").is_err());
        assert_eq!(text(b"ab"), Ok(c"ab".to_owned()));
    }
}
