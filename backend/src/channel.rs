//! A connection that carries [`wire::control`] messages: whole messages in, whole messages out, never blocking by itself.
//!
//! The front must not wait for a worker, a worker not for the front: both sockets are non-blocking, what cannot be sent yet is
//! kept ([`Channel::unsent`] asks for it), and reading gives messages only once they are whole. What the other side sends is
//! hostile: lengths are limited by [`wire::control::Head`], kinds and descriptors by [`wire::control::Message`].

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use wire::Malformed;
use wire::control::{HEAD_BYTES, Head, MAX_BODY_BYTES, Message};

use crate::os::{self, Interest};
use crate::scm;

/// Bytes asked for at once: few at first, as most messages are short and each session of the front has two channels; then as
/// many as there are of an unfinished message, at most [`READ_BYTES`].
const FIRST_READ_BYTES: usize = 4 * 1024;
const READ_BYTES: usize = 64 * 1024;
/// Most bytes that wait to be sent: what a worker that never reads can hold up in the front. The largest message, and small ones.
const MAX_UNSENT_BYTES: usize = MAX_BODY_BYTES + HEAD_BYTES + (1 << 20);

/// Most bytes that wait to be sent over all connections with the workers of a guest.
pub const MAX_UNSENT_OF_ALL: usize = 2 * MAX_UNSENT_BYTES;

/// Most messages that the front takes of one side before it looks at anything else: more than there can be requests without
/// an answer. Who sends without end would keep it from all others.
pub const MOST_AT_ONCE: usize = 8192;

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other side is gone.
    #[error("the other side is gone")]
    Gone,
    /// The other side broke the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The other side does not read.
    #[error("the other side does not read its messages")]
    Stuck,
    /// The socket's own trouble.
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
}

/// A received message.
#[derive(Debug)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// Pairs a request with its answer.
    pub cookie: u64,
    /// As many as [`Message::descriptors`] says.
    pub descriptors: Vec<OwnedFd>,
}

/// Messages that go before another: one for each region of guest memory.
const ROOM_FOR_REGIONS: usize = 32 * (HEAD_BYTES + 128);

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

/// The connection.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
    inbox: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
    outbox: VecDeque<Outgoing>,
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Channel {
    /// Over a connected socket, which becomes non-blocking.
    /// # Errors
    /// Where that fails.
    pub fn new(socket: UnixStream) -> io::Result<Channel> {
        socket.set_nonblocking(true)?;
        Ok(Channel { socket, inbox: Vec::new(), descriptors: VecDeque::new(), outbox: VecDeque::new() })
    }

    /// Whether something waits to be sent: call [`Channel::flush`] when the socket can be written.
    #[must_use]
    pub fn unsent(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Descriptors of messages that wait to be sent.
    #[must_use]
    pub fn unsent_descriptors(&self) -> usize {
        self.outbox.iter().map(|entry| entry.descriptors.len()).sum()
    }

    /// Bytes of messages that wait to be sent.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.outbox.iter().map(|entry| entry.bytes.len()).sum()
    }

    /// Whether a message with so many pieces may wait to be sent, beside what waits already here and, `others` bytes, on
    /// other connections.
    #[must_use]
    pub fn has_room(&self, pieces: usize, others: usize) -> bool {
        let own = self.unsent_bytes() + HEAD_BYTES + (pieces * 24 + 128).min(MAX_BODY_BYTES) + ROOM_FOR_REGIONS;
        own <= MAX_UNSENT_BYTES && own + others <= MAX_UNSENT_OF_ALL
    }

    /// Sends a message, as far as the socket takes it now.
    /// # Errors
    /// [`ChannelError`]: the connection is over.
    pub fn send(&mut self, message: &Message, cookie: u64, descriptors: Vec<OwnedFd>) -> Result<(), ChannelError> {
        let bytes = message.to_bytes(cookie).map_err(|_| Malformed::new("message with too many pieces"))?;
        if self.unsent_bytes() + bytes.len() > MAX_UNSENT_BYTES {
            return Err(ChannelError::Stuck);
        }
        self.outbox.push_back(Outgoing { bytes, sent: 0, descriptors });
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it now.
    /// # Errors
    /// [`ChannelError`]: the connection is over.
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some(entry) = self.outbox.front_mut() {
            let rest = entry.bytes.get(entry.sent..).unwrap_or_default();
            match scm::send(&self.socket, rest, &entry.descriptors) {
                Ok(sent) => {
                    entry.descriptors.clear();
                    entry.sent += sent;
                    if entry.sent >= entry.bytes.len() {
                        self.outbox.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(ChannelError::Gone),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next message, where one is whole by now.
    /// # Errors
    /// [`ChannelError`]: the connection is over. Messages that were whole before come first.
    pub fn receive(&mut self) -> Result<Option<Received>, ChannelError> {
        loop {
            if let Some(received) = self.decode()? {
                return Ok(Some(received));
            }
            let start = self.inbox.len();
            self.inbox.resize(start + start.clamp(FIRST_READ_BYTES, READ_BYTES), 0);
            let result = scm::receive(&self.socket, &mut self.inbox[start..], &mut self.descriptors);
            self.inbox.truncate(start + result.as_ref().map_or(0, |bytes| *bytes));
            match result {
                Ok(0) => return Err(ChannelError::Gone),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ChannelError::Gone),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the next message.
    /// # Errors
    /// [`ChannelError`]: the connection is over.
    pub fn receive_blocking(&mut self) -> Result<Received, ChannelError> {
        loop {
            if let Some(received) = self.receive()? {
                return Ok(received);
            }
            os::wait([Interest { fd: self.socket.as_fd(), write: self.unsent() }], None)?;
            self.flush()?;
        }
    }

    fn decode(&mut self) -> Result<Option<Received>, ChannelError> {
        let Some((raw, rest)) = self.inbox.split_first_chunk::<HEAD_BYTES>() else {
            self.check_descriptors()?;
            return Ok(None);
        };
        let head = Head::from_bytes(raw)?;
        let Some(body) = rest.get(..head.body as usize) else {
            self.check_descriptors()?;
            return Ok(None);
        };
        let message = Message::from_bytes(&head, body)?;
        let count = message.descriptors();
        if self.descriptors.len() < count {
            return Err(Malformed::new("message without its descriptors").into());
        }
        let descriptors = self.descriptors.drain(..count).collect();
        let end = HEAD_BYTES + head.body as usize;
        self.inbox.drain(..end);
        if self.inbox.is_empty() {
            self.inbox.shrink_to(FIRST_READ_BYTES);
        }
        Ok(Some(Received { message, cookie: head.cookie, descriptors }))
    }

    /// Between whole messages at most the descriptors of one may wait.
    fn check_descriptors(&self) -> Result<(), Malformed> {
        if self.descriptors.len() > scm::MAX_DESCRIPTORS {
            return Err(Malformed::new("descriptors that belong to no message"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use wire::control::{Piece, REGION_ATTACHED};

    fn pair() -> (Channel, Channel) {
        let (a, b) = UnixStream::pair().expect("sockets");
        (Channel::new(a).expect("channel"), Channel::new(b).expect("channel"))
    }

    #[test]
    fn message_when_sent_with_descriptors_then_arrives_with_them() {
        let (mut a, mut b) = pair();
        let window = vec![Piece { region: REGION_ATTACHED, offset: 0, bytes: 4096 }];
        let message = Message::Open { session: 1, futex: true, row: 0, window };
        let descriptors = (0..4).map(|_| os::eventfd().expect("eventfd")).collect();
        a.send(&message, 7, descriptors).expect("sent");
        a.send(&Message::Ready, 8, vec![]).expect("sent");
        let received = b.receive().expect("connected").expect("a message");
        assert_eq!((received.message, received.cookie, received.descriptors.len()), (message, 7, 4));
        assert_eq!(b.receive().expect("connected").expect("a message").message, Message::Ready);
        assert!(b.receive().expect("connected").is_none());
    }

    #[test]
    fn message_when_larger_than_the_socket_then_arrives_in_parts() {
        let (mut a, mut b) = pair();
        let piece = Piece { region: 0, offset: 4096, bytes: 4096 };
        let message = Message::Pin { lease: 1, flags: 1, address: 0, bytes: 1, pieces: vec![piece; 60_000] };
        a.send(&message, 1, vec![]).expect("sent");
        assert!(a.unsent(), "the socket does not take 1.4 MB at once");
        let sender = std::thread::spawn(move || {
            while a.unsent() {
                os::wait([Interest { fd: a.as_fd(), write: true }], None).expect("poll");
                a.flush().expect("flushed");
            }
        });
        assert_eq!(b.receive_blocking().expect("a message").message, message);
        sender.join().expect("sender");
    }

    #[test]
    fn send_when_the_other_side_never_reads_then_ends_after_one_largest_message() {
        let (mut a, _b) = pair();
        let piece = Piece { region: 0, offset: 4096, bytes: 4096 };
        let large = Message::Pin { lease: 1, flags: 1, address: 0, bytes: 1, pieces: vec![piece; 1 << 20] };
        assert!(a.has_room(1 << 20, 0));
        a.send(&large, 1, vec![]).expect("one waits");
        assert!(!a.has_room(1 << 20, 0) && a.has_room(1, 0));
        let others = MAX_UNSENT_OF_ALL - a.unsent_bytes();
        assert!(a.has_room(1, others / 2) && !a.has_room(1, others), "and of all together");
        assert!(matches!(a.send(&large, 2, vec![]), Err(ChannelError::Stuck)));
        assert!(a.unsent_bytes() <= MAX_UNSENT_BYTES);
    }

    #[test]
    fn receive_when_the_other_side_lies_then_is_malformed() {
        let (a, mut b) = pair();
        (&a.socket).write_all(&[255; 64]).expect("written");
        assert!(matches!(b.receive(), Err(ChannelError::Malformed(_))));
        let (a, mut b) = pair();
        let bytes = Message::Region { region: 0, offset: 0, bytes: 4096 }.to_bytes(0).expect("fits");
        (&a.socket).write_all(&bytes).expect("written");
        assert!(matches!(b.receive(), Err(ChannelError::Malformed(_))), "a region without its descriptor");
    }

    #[test]
    fn receive_when_the_other_side_is_gone_then_says_so() {
        let (a, mut b) = pair();
        drop(a);
        assert!(matches!(b.receive_blocking(), Err(ChannelError::Gone)));
    }
}
