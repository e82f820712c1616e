//! Which descriptor of which session has news. One epoll descriptor stands for all of them, so that the queues' thread, whose own
//! poll loop has 16 bits for a name, can wait for it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use crate::os;

/// Names the eventfd of [`Watch::look_again`]; no token's word.
const AGAIN: u64 = u64::MAX;

/// What the descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The worker's control connection.
    Channel,
    /// The eventfd by which the worker wakes the guest.
    Wake,
    /// The worker's end.
    End,
}

/// Names a descriptor. The generation tells a session from an earlier one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The session's number, below 2^16.
    pub session: u32,
    /// The session's generation.
    pub generation: u32,
    /// What it is.
    pub source: Source,
}

impl Token {
    fn to_word(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.session & 0xffff) << 2 | self.source as u64
    }

    fn from_word(word: u64) -> Option<Token> {
        let source = match word & 3 {
            0 => Source::Channel,
            1 => Source::Wake,
            2 => Source::End,
            _ => return None,
        };
        Some(Token { session: (word >> 2) as u32 & 0xffff, generation: (word >> 32) as u32, source })
    }
}

/// See the module's head.
#[derive(Debug)]
pub struct Watch {
    epoll: Epoll,
    again: OwnedFd,
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

impl Watch {
    /// Watches nothing yet.
    /// # Errors
    /// As epoll_create(2).
    pub fn new() -> io::Result<Watch> {
        let (epoll, again) = (Epoll::new()?, os::eventfd()?);
        epoll.ctl(ControlOperation::Add, again.as_raw_fd(), EpollEvent::new(EventSet::IN, AGAIN))?;
        Ok(Watch { epoll, again })
    }

    /// Makes the poll loop come once more, though no descriptor has news: until the next [`Watch::news`].
    pub fn look_again(&self) {
        os::signal(self.again.as_fd());
    }

    /// Watches a descriptor for reading.
    /// # Errors
    /// As epoll_ctl(2).
    pub fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        self.epoll.ctl(ControlOperation::Add, fd.as_raw_fd(), EpollEvent::new(EventSet::IN, token.to_word()))
    }

    /// Watches a descriptor also for writing, or not any more.
    pub fn want_write(&self, fd: BorrowedFd<'_>, token: Token, write: bool) {
        let events = if write { EventSet::IN | EventSet::OUT } else { EventSet::IN };
        if let Err(error) =
            self.epoll.ctl(ControlOperation::Modify, fd.as_raw_fd(), EpollEvent::new(events, token.to_word()))
        {
            log::error!("session {}: waiting to write to its worker: {error}", token.session);
        }
    }

    /// Watches a descriptor no more; also where it was not watched.
    pub fn remove(&self, fd: BorrowedFd<'_>) {
        // The only error is that it was not watched.
        let _ = self.epoll.ctl(ControlOperation::Delete, fd.as_raw_fd(), EpollEvent::default());
    }

    /// Some descriptors that have news now; empty when none has.
    pub fn news(&self) -> Vec<Token> {
        let mut events = [EpollEvent::default(); 64];
        match self.epoll.wait(0, &mut events) {
            Ok(count) => {
                let words = events.iter().take(count).map(EpollEvent::data);
                let words = words.filter(|word| *word != AGAIN || !os::take_signal(self.again.as_fd()));
                words.filter_map(Token::from_word).collect()
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    log::error!("waiting for workers: {error}");
                }
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn news_when_a_descriptor_is_signalled_then_names_it_until_removed() {
        let watch = Watch::new().expect("epoll");
        let event = os::eventfd().expect("eventfd");
        let token = Token { session: 255, generation: 7, source: Source::Wake };
        watch.add(event.as_fd(), token).expect("added");
        assert_eq!(watch.news(), []);
        os::signal(event.as_fd());
        assert_eq!(watch.news(), [token]);
        watch.remove(event.as_fd());
        assert_eq!(watch.news(), []);
        // SAFETY: the descriptor is open as long as the watch.
        let epoll = unsafe { BorrowedFd::borrow_raw(watch.as_raw_fd()) };
        let has_news =
            || os::wait([os::Interest { fd: epoll.as_fd(), write: false }], Some(Duration::ZERO)).expect("poll");
        watch.look_again();
        assert_eq!(has_news(), [true]);
        assert_eq!(watch.news(), [], "it is of no session");
        assert_eq!(has_news(), [false]);
    }
}
