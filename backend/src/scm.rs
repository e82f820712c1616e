//! Bytes with file descriptors over a Unix socket. All `unsafe` of this file is for the layout of control messages.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Most descriptors with one message.
pub(crate) const MAX_DESCRIPTORS: usize = 4;

/// Room for the control message of [`MAX_DESCRIPTORS`] descriptors, aligned as it must be.
#[repr(C, align(8))]
struct Control([u8; 64]);

fn header(iov: &mut libc::iovec, control: &mut Control, bytes: usize) -> libc::msghdr {
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = iov;
    message.msg_iovlen = 1;
    if bytes != 0 {
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = bytes;
    }
    message
}

/// Sends `data`, the descriptors with its first byte. Returns the bytes sent; the descriptors are sent with any.
pub(crate) fn send(socket: &UnixStream, data: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let payload = size_of_val(raw.as_slice());
    let mut control = Control([0; 64]);
    let mut iov = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: pure arithmetic.
    let space = if raw.is_empty() { 0 } else { unsafe { libc::CMSG_SPACE(payload as u32) as usize } };
    let message = header(&mut iov, &mut control, space);
    if space != 0 {
        // SAFETY: the control buffer holds `space` bytes (at most 32), so there is a first header with room for `payload` bytes.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&raw const message);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(payload as u32) as _;
            std::ptr::copy_nonoverlapping(raw.as_ptr().cast(), libc::CMSG_DATA(first), payload);
        }
    }
    // SAFETY: the message points to `data` and `control`, which live until the call returns; sending does not write them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives at most `into.len()` bytes; descriptors that came with them are added to `descriptors`, closed on exec.
/// 0 is the end of the stream. More descriptors than a message may have are an error.
pub(crate) fn receive(socket: &UnixStream, into: &mut [u8], descriptors: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let mut control = Control([0; 64]);
    let mut iov = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: pure arithmetic.
    let space = unsafe { libc::CMSG_SPACE((MAX_DESCRIPTORS * size_of::<RawFd>()) as u32) as usize };
    let mut message = header(&mut iov, &mut control, space);
    // SAFETY: the message points to `into` and `control`, valid for writes of the lengths it names.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled in the control buffer; each header and its length are its own, and each descriptor in it is
    // new and ours.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(&raw const message);
        while !at.is_null() {
            if (*at).cmsg_level == libc::SOL_SOCKET && (*at).cmsg_type == libc::SCM_RIGHTS {
                let payload = ((*at).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(at).cast::<RawFd>();
                for index in 0..payload / size_of::<RawFd>() {
                    descriptors.push_back(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            at = libc::CMSG_NXTHDR(&raw const message, at);
        }
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more descriptors than a message may have"));
    }
    Ok(received)
}
