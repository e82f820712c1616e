//! Descriptors for the other workers of the guest: threads that make calls say what they want, the control thread asks the front.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wire::Malformed;
use wire::control::Message;
use wire::device::RESPONSE_OK;

use crate::os;

/// Longest that the front may take: it never sleeps, so longer is a front that is about to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the control thread shall send: a message, its cookie (0 for none), its descriptor.
pub(super) type Said = (Message, u64, Option<OwnedFd>);

/// The front's answer: a descriptor with the bytes that it stands for, or a status.
type Answer = Result<(OwnedFd, u64), u32>;

#[derive(Debug, Default)]
struct State {
    said: Vec<Said>,
    last_cookie: u64,
    /// Questions that wait, with the answer where it has come.
    answers: HashMap<u64, Option<Answer>>,
}

/// See the module's head.
#[derive(Debug)]
pub struct Relay {
    state: Mutex<State>,
    answered: Condvar,
    event: OwnedFd,
}

impl Relay {
    pub(super) fn new() -> std::io::Result<Relay> {
        Ok(Relay { state: Mutex::default(), answered: Condvar::new(), event: os::eventfd()? })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, message: Message, file: Option<OwnedFd>) -> Option<Answer> {
        let mut state = self.lock();
        state.last_cookie += 1;
        let cookie = state.last_cookie;
        state.said.push((message, cookie, file));
        state.answers.insert(cookie, None);
        os::signal(self.event.as_fd());
        let waits = |state: &mut State| matches!(state.answers.get(&cookie), Some(None));
        let waited = self.answered.wait_timeout_while(state, PATIENCE, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.answers.remove(&cookie).flatten()
    }

    /// Gives the guest's workers a descriptor; false where the front takes no more.
    #[must_use]
    pub fn keep(&self, token: [u64; 2], bytes: u64, file: OwnedFd) -> bool {
        matches!(self.ask(Message::Keep { token, bytes }, Some(file)), Some(Err(RESPONSE_OK)))
    }

    /// A descriptor that a worker of the guest has given, and the bytes that it stands for.
    #[must_use]
    pub fn fetch(&self, token: [u64; 2]) -> Option<(OwnedFd, u64)> {
        self.ask(Message::Fetch { token }, None)?.ok()
    }

    /// A descriptor that this worker has given is wanted no more.
    pub fn let_go(&self, token: [u64; 2]) {
        self.lock().said.push((Message::LetGo { token }, 0, None));
        os::signal(self.event.as_fd());
    }

    /// Readable when something is to be sent.
    pub(super) fn event(&self) -> &OwnedFd {
        &self.event
    }

    /// What is to be sent.
    pub(super) fn take(&self) -> Vec<Said> {
        os::take_signal(self.event.as_fd());
        std::mem::take(&mut self.lock().said)
    }

    /// The front has answered.
    ///
    /// # Errors
    /// [`Malformed`] where nothing was asked.
    pub(super) fn answer(&self, cookie: u64, answer: Answer) -> Result<(), Malformed> {
        let mut state = self.lock();
        let was_asked = cookie != 0 && cookie <= state.last_cookie;
        match state.answers.get_mut(&cookie) {
            Some(place) => *place = Some(answer),
            // Asked, and not waited for any more.
            None if was_asked => {}
            None => return Err(Malformed::new("answer to no question")),
        }
        drop(state);
        self.answered.notify_all();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetch_when_the_front_answers_then_has_its_descriptor_or_none() {
        let relay = Relay::new().expect("an event");
        let answers = [Ok((os::eventfd().expect("a descriptor"), 7)), Err(2)];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for answer in answers {
                    assert_eq!(os::wait([os::Interest::read(relay.event())], None).expect("news"), [true]);
                    let said = relay.take();
                    assert!(matches!(said[..], [(Message::Fetch { token: [1, 2] }, _, None)]));
                    relay.answer(said[0].1, answer).expect("asked");
                }
            });
            assert_eq!(relay.fetch([1, 2]).map(|(_, bytes)| bytes), Some(7));
            assert!(relay.fetch([1, 2]).is_none());
        });
        assert!(relay.answer(9, Err(0)).is_err() && relay.answer(0, Err(0)).is_err());
        assert!(relay.answer(1, Err(0)).is_ok(), "too late is no mistake of the front's");
    }
}
