//! Events that wait for a buffer of the driver. What a driver must do once is kept once, however slow it is.

use std::collections::BTreeSet;

use wire::device::{EVENT_DEAD, EVENT_WAKE, Event};

/// See the module's head.
#[derive(Debug, Default)]
pub struct Pending {
    dead: BTreeSet<u32>,
    wake: BTreeSet<u32>,
}

impl Pending {
    /// A thread of the session may have a reply.
    pub fn wake(&mut self, session: u32) {
        self.wake.insert(session);
    }

    /// The session's worker has ended.
    pub fn dead(&mut self, session: u32) {
        self.wake.remove(&session);
        self.dead.insert(session);
    }

    /// The session's number is free, or is used anew.
    pub fn forget(&mut self, session: u32) {
        self.wake.remove(&session);
        self.dead.remove(&session);
    }

    /// The next event, deaths first; it is gone from here.
    pub fn take(&mut self) -> Option<Event> {
        if let Some(session) = self.dead.pop_first() {
            return Some(Event { kind: EVENT_DEAD, session });
        }
        self.wake.pop_first().map(|session| Event { kind: EVENT_WAKE, session })
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.wake.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_when_repeated_then_are_given_once_and_deaths_first() {
        let mut pending = Pending::default();
        pending.wake(1);
        pending.wake(1);
        pending.wake(2);
        pending.wake(3);
        pending.dead(2);
        pending.forget(3);
        assert_eq!(pending.take(), Some(Event { kind: EVENT_DEAD, session: 2 }));
        assert_eq!(pending.take(), Some(Event { kind: EVENT_WAKE, session: 1 }));
        assert!(pending.take().is_none() && pending.is_empty());
    }
}
