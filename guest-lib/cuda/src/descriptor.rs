//! File descriptors that stand for memory on the device: what a program gives another process of the guest, by any way that passes
//! descriptors on.
//!
//! Each is one end of a pair of sockets. In it lies a message with the token by which the worker knows the memory, and its
//! size; it is only ever looked at ([`read`]), so that every process that gets the descriptor finds it. The other end stays
//! here: when it says that nobody has the first any more, the memory is no longer held for others ([`sweep`]).

use crate::CUresult;
use crate::caller::Caller;
use crate::generated::send;
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_UNKNOWN};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the worker knows memory of others by.
pub type Token = (u64, u64);

/// What lies in a descriptor: the token, and bytes of physical memory (0 of a pool, and where they are not known).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The token.
    pub token: Token,
    /// Bytes.
    pub bytes: u64,
}

/// First word of the message in a descriptor of physical memory.
pub const MEMORY: u64 = u64::from_le_bytes(*b"gpuferrP");
/// First word of the message in a descriptor of a pool.
pub const POOL: u64 = u64::from_le_bytes(*b"gpuferrO");

/// Our ends, with the tokens that lie in the others.
static MADE: Mutex<Vec<(OwnedFd, Token)>> = Mutex::new(Vec::new());
/// There are some.
static ANY: AtomicBool = AtomicBool::new(false);

/// A descriptor with a token in it, and bytes.
///
/// # Errors
/// `CUDA_ERROR_OUT_OF_MEMORY` where the process can have no more descriptors.
pub fn make(mark: u64, Held { token, bytes }: Held) -> Result<RawFd, CUresult> {
    let (theirs, ours) = pair().ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
    let message = [mark, token.0, token.1, bytes];
    let length = size_of_val(&message);
    // SAFETY: the message's own bytes.
    let sent = unsafe { libc::send(ours.as_raw_fd(), message.as_ptr().cast(), length, libc::MSG_NOSIGNAL) };
    if sent != length as isize {
        return Err(CUDA_ERROR_OUT_OF_MEMORY);
    }
    MADE.lock().unwrap_or_else(PoisonError::into_inner).push((ours, token));
    ANY.store(true, Ordering::Relaxed);
    Ok(theirs.into_raw_fd())
}

fn pair() -> Option<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the place holds two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: new descriptors that nobody else has.
    Some(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// What lies in a descriptor, and stays in it.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for a descriptor of anything else, `CUDA_ERROR_UNKNOWN` for none.
pub fn read(descriptor: RawFd, mark: u64) -> Result<Held, CUresult> {
    // One word more than a message has, so that a longer one shows.
    let mut message = [0u64; 5];
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the array's own bytes; a number that is no socket is refused by the call.
    let got = unsafe { libc::recv(descriptor, message.as_mut_ptr().cast(), size_of_val(&message), flags) };
    match message {
        [found, low, high, bytes, _] if got == 32 && found == mark => Ok(Held { token: (low, high), bytes }),
        _ if std::io::Error::last_os_error().raw_os_error() == Some(libc::EBADF) && got < 0 => Err(CUDA_ERROR_UNKNOWN),
        _ => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

/// Ends what no descriptor stands for any more.
pub fn sweep(caller: &Caller) {
    if !ANY.load(Ordering::Relaxed) {
        return;
    }
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.retain(|(ours, token)| {
        let mut entry = libc::pollfd { fd: ours.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one valid entry.
        let gone = unsafe { libc::poll(&raw mut entry, 1, 0) } == 1 && entry.revents & libc::POLLHUP != 0;
        // A session that is gone holds nothing.
        gone.then(|| send::gpuferryExportEnd(caller, token.0, token.1)).is_none()
    });
    ANY.store(!made.is_empty(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_when_read_then_stays_for_the_next_reader_and_is_of_its_kind() {
        let held = Held { token: (7, 9), bytes: 11 };
        let theirs = make(MEMORY, held).expect("a descriptor");
        assert_eq!((read(theirs, MEMORY), read(theirs, MEMORY)), (Ok(held), Ok(held)));
        assert_eq!(read(theirs, POOL), Err(CUDA_ERROR_INVALID_VALUE));
        // SAFETY: made above.
        drop(unsafe { OwnedFd::from_raw_fd(theirs) });
        let (one, other) = pair().expect("sockets");
        assert_eq!(read(one.as_raw_fd(), MEMORY), Err(CUDA_ERROR_INVALID_VALUE), "an empty one");
        let long = [MEMORY, 1, 2, 3, 4];
        // SAFETY: the array's own bytes.
        unsafe { libc::send(other.as_raw_fd(), long.as_ptr().cast(), 40, 0) };
        assert_eq!(read(one.as_raw_fd(), MEMORY), Err(CUDA_ERROR_INVALID_VALUE), "a longer one");
        assert_eq!((read(-1, MEMORY), read(0, MEMORY)), (Err(CUDA_ERROR_UNKNOWN), Err(CUDA_ERROR_INVALID_VALUE)));
    }
}
