//! The local carrier: a Unix socket to `gpuferryd --local-path` on the same host (`spec/wire/src/control.rs`).
//!
//! The socket opens the session and lends memory files; calls travel through the window alone. The doorbell is an eventfd, and a
//! sleeping thread sleeps by futex on a word of the window.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wire::WIRE_VERSION;
use wire::control::{HEAD_BYTES, Head, Message, Piece, REGION_ATTACHED};
use wire::device::{MAX_LEASES, RESPONSE_DEAD, RESPONSE_LIMIT, RESPONSE_NO_WORKER, RESPONSE_OK};

use crate::carrier::{LendError, OpenError, Pinned, Slept};
use crate::window::Window;

/// Longest sleep before a thread looks whether the front still lives.
const SLEEP: Duration = Duration::from_millis(100);
/// Longest wait for the front's answer when a session opens: a worker may have to start.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The open socket of a session.
#[derive(Debug)]
pub(crate) struct LocalLink {
    socket: UnixStream,
    /// Held while a request is sent.
    sending: Mutex<()>,
    answers: Answers,
    doorbell: File,
    leases: LeaseNumbers,
    next_cookie: AtomicU64,
}

/// Sends bytes, a descriptor with the first.
fn send(socket: &UnixStream, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let Some(descriptor) = descriptor else { return (&*socket).write_all(bytes) };
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = [0u64; 4];
    // SAFETY: all zeros is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: computes a size; the buffer of 32 bytes has room for a head of 16 and one descriptor.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as usize;
    // SAFETY: the control buffer is aligned and holds at least one head, which CMSG_FIRSTHDR points to.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        (*head).cmsg_level = libc::SOL_SOCKET;
        (*head).cmsg_type = libc::SCM_RIGHTS;
        (*head).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(head).cast::<i32>().write_unaligned(descriptor.as_raw_fd());
    }
    // SAFETY: the message points to buffers that live through the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
    (&*socket).write_all(&bytes[sent..])
}

/// Receives `out.len()` bytes and the descriptors that came with the first of them.
fn receive(socket: &UnixStream, out: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
    let mut part = libc::iovec { iov_base: out.as_mut_ptr().cast(), iov_len: out.len() };
    let mut control = [0u64; 16];
    // SAFETY: all zeros is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message points to buffers that live through the call.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    let mut descriptors = Vec::new();
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR walk heads within the control buffer that the kernel filled; the kernel made the
    // descriptors for this process, and each is taken once.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(&raw const message);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_RIGHTS {
                let count = ((*head).cmsg_len as usize - libc::CMSG_LEN(0) as usize) / 4;
                let data = libc::CMSG_DATA(head).cast::<i32>();
                descriptors.extend((0..count).map(|i| OwnedFd::from_raw_fd(data.add(i).read_unaligned())));
            }
            head = libc::CMSG_NXTHDR(&raw const message, head);
        }
    }
    if got == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    (&*socket).read_exact(&mut out[got..])?;
    Ok(descriptors)
}

pub(crate) fn receive_message(socket: &UnixStream) -> io::Result<(Message, Vec<OwnedFd>, u64)> {
    let broken = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut raw = [0; HEAD_BYTES];
    let descriptors = receive(socket, &mut raw)?;
    let head = Head::from_bytes(&raw).map_err(broken)?;
    // As much memory as comes, not as the head says.
    let mut body = Vec::new();
    socket.take(u64::from(head.body)).read_to_end(&mut body)?;
    if body.len() != head.body as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((Message::from_bytes(&head, &body).map_err(broken)?, descriptors, head.cookie))
}

impl LocalLink {
    /// What keeps the session open.
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Connects and opens a session.
    pub fn open(path: &Path) -> Result<(LocalLink, Window), OpenError> {
        let at = path.display();
        let socket = UnixStream::connect(path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                OpenError::Refused(format!("{at}: permission denied; run as the user who started gpuferryd"))
            }
            _ => OpenError::Absent(format!("{at}: {error}; start `gpuferryd --local-path {at}` first")),
        })?;
        let trouble = |error: io::Error| OpenError::Refused(format!("{at}: {error}; see gpuferryd's log"));
        socket.set_read_timeout(Some(OPEN_TIMEOUT)).map_err(trouble)?;
        let hello = Message::Hello { wire_version: WIRE_VERSION, process: std::process::id(), name: process_name() };
        let bytes = hello.to_bytes(0).map_err(|_| OpenError::Refused("greeting too long".into()))?;
        send(&socket, &bytes, None).map_err(trouble)?;
        let (answer, mut descriptors, _) = receive_message(&socket).map_err(trouble)?;
        let (wire_version, window_bytes) = match answer {
            Message::Welcome { wire_version, window_bytes } => (wire_version, window_bytes),
            Message::Done { status: RESPONSE_NO_WORKER | RESPONSE_LIMIT } => {
                return Err(OpenError::Refused(format!("{at}: no worker can be had; see gpuferryd's log")));
            }
            Message::Done { status } => {
                return Err(OpenError::Version(format!(
                    "{at}: gpuferryd refused wire version {WIRE_VERSION} (status {status}); install the same release on both sides"
                )));
            }
            _ => return Err(OpenError::Refused(format!("{at}: not a gpuferryd"))),
        };
        if wire_version != WIRE_VERSION || descriptors.len() != 2 {
            return Err(OpenError::Version(format!(
                "{at}: gpuferryd speaks wire version {wire_version}, this library {WIRE_VERSION}; install the same release on both sides"
            )));
        }
        let doorbell = File::from(descriptors.remove(1));
        let window = Window::map(descriptors[0].as_fd(), window_bytes as usize).map_err(trouble)?;
        socket.set_read_timeout(None).map_err(trouble)?;
        let link = LocalLink {
            socket,
            sending: Mutex::new(()),
            answers: Answers::default(),
            doorbell,
            leases: LeaseNumbers::default(),
            next_cookie: AtomicU64::new(1),
        };
        Ok((link, window))
    }

    pub fn ring(&self) {
        // A failure means that the worker is gone; the wait for a reply finds that out.
        let _ = (&self.doorbell).write(&1u64.to_ne_bytes());
    }

    pub fn sleep(&self, word: &AtomicU32, value: u32) -> Slept {
        let time = libc::timespec { tv_sec: 0, tv_nsec: SLEEP.subsec_nanos().into() };
        // SAFETY: the word lies in the window, which outlives the call; the futex is shared between processes.
        let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const time) };
        if result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT) && self.is_closed() {
            return Slept::Dead;
        }
        Slept::Look
    }

    /// Whether the front has closed the socket.
    fn is_closed(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: one valid pollfd; returns at once.
        unsafe { libc::poll(&raw mut poll, 1, 0) > 0 && poll.revents & (libc::POLLRDHUP | libc::POLLHUP) != 0 }
    }

    fn request(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>) -> Result<u32, LendError> {
        let cookie = self.next_cookie.fetch_add(1, Ordering::Relaxed);
        let bytes = message.to_bytes(cookie).map_err(|_| LendError::Limit)?;
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        send(&self.socket, &bytes, descriptor).map_err(|_| LendError::Gone)?;
        drop(sending);
        self.answers.of(cookie, || match receive_message(&self.socket) {
            Ok((Message::Done { status }, _, answered)) => Some((answered, status)),
            _ => None,
        })
    }

    /// Lends `file` from an offset on, which stands for the whole pages around `bytes` bytes at `address`.
    pub fn pin(
        &self,
        (file, offset): (BorrowedFd<'_>, u64),
        address: usize,
        bytes: usize,
        flags: u32,
    ) -> Result<Pinned, LendError> {
        let lease = self.leases.take().ok_or(LendError::Limit)?;
        let whole = crate::lend::page_span(address, bytes).1 as u64;
        let pieces = vec![Piece { region: REGION_ATTACHED, offset, bytes: whole }];
        let pin = Message::Pin { lease, flags, address: address as u64, bytes: bytes as u64, pieces };
        match self.request(&pin, Some(file))? {
            RESPONSE_OK => Ok(Pinned { lease }),
            RESPONSE_DEAD => Err(LendError::Gone),
            _ => {
                self.leases.give(lease);
                Err(LendError::Limit)
            }
        }
    }

    pub fn unpin(&self, lease: u32) {
        // A failure means that the session is dead, and then the worker is gone.
        if self.request(&Message::Unpin { lease }, None) == Ok(RESPONSE_OK) {
            self.leases.give(lease);
        }
    }
}

/// Answers to requests of several threads, in whichever order they come: an unpin is answered when the device has finished with the
/// memory, and other threads do not wait for that. Of the threads that wait one reads the socket, for all.
#[derive(Debug, Default)]
struct Answers {
    inbox: Mutex<Inbox>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inbox {
    /// Cookies and statuses of answers that nobody has taken yet.
    found: Vec<(u64, u32)>,
    /// A thread reads the socket.
    is_read: bool,
    /// The socket gives no more answers.
    is_over: bool,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer to the request `cookie`. `read` reads one answer; `None` where there will be none any more.
    fn of(&self, cookie: u64, read: impl Fn() -> Option<(u64, u32)>) -> Result<u32, LendError> {
        let mut inbox = self.lock();
        loop {
            if let Some(place) = inbox.found.iter().position(|(answered, _)| *answered == cookie) {
                return Ok(inbox.found.swap_remove(place).1);
            }
            if inbox.is_over {
                return Err(LendError::Gone);
            }
            if inbox.is_read {
                inbox = self.changed.wait(inbox).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            inbox.is_read = true;
            drop(inbox);
            let answer = read();
            inbox = self.lock();
            inbox.is_read = false;
            match answer {
                Some(answer) => inbox.found.push(answer),
                None => inbox.is_over = true,
            }
            self.changed.notify_all();
        }
    }
}

/// Numbers for leases: one that a lease has is no other's until the worker has confirmed its end.
#[derive(Debug, Default)]
struct LeaseNumbers(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    /// From here on all are free.
    next: u32,
    given: Vec<u32>,
}

impl LeaseNumbers {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free number; `None` where there is none.
    fn take(&self) -> Option<u32> {
        let mut numbers = self.lock();
        if let Some(number) = numbers.given.pop() {
            return Some(number);
        }
        let number = numbers.next;
        numbers.next += u32::from(number < MAX_LEASES);
        (number < MAX_LEASES).then_some(number)
    }

    fn give(&self, number: u32) {
        self.lock().given.push(number);
    }
}

/// This process's name, for the host's log.
fn process_name() -> [u8; 16] {
    let mut name = [0; 16];
    let comm = std::fs::read("/proc/self/comm").unwrap_or_default();
    for (to, from) in name.iter_mut().zip(comm.iter().filter(|byte| byte.is_ascii_graphic())) {
        *to = *from;
    }
    name[15] = 0;
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_when_they_come_in_another_order_then_each_thread_gets_its_own() {
        let answers = Answers::default();
        let (sender, receiver) = std::sync::mpsc::channel::<(u64, u32)>();
        let receiver = Mutex::new(receiver);
        let read = || receiver.lock().expect("one reader").recv().ok();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| answers.of(1, read));
            let second = scope.spawn(|| answers.of(2, read));
            sender.send((2, 20)).expect("sent");
            assert_eq!(second.join().expect("ends"), Ok(20));
            assert!(!first.is_finished());
            sender.send((1, 10)).expect("sent");
            assert_eq!(first.join().expect("ends"), Ok(10));
        });
        drop(sender);
        assert_eq!(answers.of(3, read), Err(LendError::Gone));
        assert_eq!(answers.of(4, read), Err(LendError::Gone));
    }

    #[test]
    fn lease_when_more_were_made_than_there_are_numbers_then_has_one_that_no_other_has() {
        let numbers = LeaseNumbers::default();
        let kept = numbers.take().expect("a number");
        for _ in 0..MAX_LEASES + 10 {
            let number = numbers.take().expect("a number");
            assert_ne!(number, kept);
            numbers.give(number);
        }
        let all = (1..MAX_LEASES).map_while(|_| numbers.take()).count();
        assert_eq!((all, numbers.take()), (MAX_LEASES as usize - 1, None));
    }
}
