//! Descriptors that a guest's workers give each other: what a worker says of them is answered the same over both carriers.

use std::os::fd::OwnedFd;

use wire::Malformed;
use wire::control::Message;
use wire::device::{RESPONSE_INVALID, RESPONSE_LIMIT, RESPONSE_OK};

use crate::channel::{Channel, ChannelError};
use crate::ledger::Taken;

/// Most descriptors that wait for a worker which does not read.
const MAX_WAITING: usize = 16;

/// Carries out what the worker of `row` says.
///
/// # Errors
/// [`ChannelError`]: the connection is over; a message that is none of these.
pub(super) fn carry(
    row: &Taken,
    channel: &mut Channel,
    (message, cookie): (Message, u64),
    mut descriptors: Vec<OwnedFd>,
) -> Result<(), ChannelError> {
    match message {
        Message::Keep { token, bytes } => {
            let file = descriptors.pop().ok_or(Malformed::new("a descriptor to keep is missing"))?;
            let status = if row.keep(token, bytes, file) { RESPONSE_OK } else { RESPONSE_LIMIT };
            channel.send(&Message::Done { status }, cookie, vec![])
        }
        Message::Fetch { token } => match row.fetch(token) {
            Some(_) if channel.unsent_descriptors() >= MAX_WAITING => Err(ChannelError::Stuck),
            Some((file, bytes)) => channel.send(&Message::Kept { bytes }, cookie, vec![file]),
            None => channel.send(&Message::Done { status: RESPONSE_INVALID }, cookie, vec![]),
        },
        Message::LetGo { token } => {
            row.let_go(token);
            Ok(())
        }
        _ => Err(Malformed::new("message that a worker does not send").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use super::*;
    use crate::ledger::{Ledger, Limits};
    use crate::os;

    /// The front's end and a worker's.
    fn pair() -> (Channel, Channel) {
        let (front, worker) = UnixStream::pair().expect("sockets");
        (Channel::new(front).expect("a channel"), Channel::new(worker).expect("a channel"))
    }

    fn ledger() -> Arc<Ledger> {
        Arc::new(Ledger::new(Limits::default()).expect("a ledger"))
    }

    fn file() -> OwnedFd {
        os::eventfd().expect("a descriptor")
    }

    /// Carries out one message; what the worker is answered, and how many descriptors come with it.
    fn ask(row: &Taken, message: Message, given: Vec<OwnedFd>) -> (Message, usize) {
        let (mut front, mut worker) = pair();
        carry(row, &mut front, (message, 5), given).expect("carried out");
        let received = worker.receive().expect("connected").expect("an answer");
        assert_eq!(received.cookie, 5);
        (received.message, received.descriptors.len())
    }

    #[test]
    fn descriptor_when_its_token_is_wild_or_another_guests_then_is_not_given() {
        let (guest, other) = (ledger(), ledger());
        let (owner, second) = (guest.take(1).expect("a row"), guest.take(2).expect("a row"));
        let stranger = other.take(1).expect("a row");
        let keep = |row, token| ask(row, Message::Keep { token, bytes: 64 }, vec![file()]).0;
        assert_eq!(keep(&owner, [3, 4]), Message::Done { status: RESPONSE_OK });
        assert_eq!(keep(&second, [3, 4]), Message::Done { status: RESPONSE_LIMIT }, "a token that is taken");
        assert_eq!(ask(&second, Message::Fetch { token: [3, 4] }, vec![]), (Message::Kept { bytes: 64 }, 1));
        let refused = (Message::Done { status: RESPONSE_INVALID }, 0);
        for token in [[0, 0], [u64::MAX; 2], [4, 3], [3, 5], [2, 4]] {
            assert_eq!(ask(&second, Message::Fetch { token }, vec![]), refused, "{token:?}");
        }
        assert_eq!(ask(&stranger, Message::Fetch { token: [3, 4] }, vec![]), refused, "another guest's");
        drop(owner);
        assert_eq!(ask(&second, Message::Fetch { token: [3, 4] }, vec![]), refused, "its owner has ended");
    }

    #[test]
    fn worker_when_it_says_what_a_worker_does_not_or_forgets_its_descriptor_then_its_connection_is_over() {
        let guest = ledger();
        let row = guest.take(1).expect("a row");
        let (mut front, _worker) = pair();
        let open = Message::Open { session: 1, futex: false, row: 0, window: vec![] };
        let region = Message::Region { region: 0, offset: 0, bytes: 4096 };
        for message in [Message::Keep { token: [1, 2], bytes: 1 }, open, region, Message::Kept { bytes: 1 }] {
            let name = format!("{message:?}");
            let over = carry(&row, &mut front, (message, 1), vec![]);
            assert!(matches!(over, Err(ChannelError::Malformed(_))), "{name}");
        }
    }

    #[test]
    fn worker_when_it_fetches_without_end_and_never_reads_then_holds_few_descriptors_of_the_front() {
        let guest = ledger();
        let row = guest.take(1).expect("a row");
        assert!(row.keep([1, 2], 1, file()));
        let (mut front, _worker) = pair();
        let mut most = 0;
        let over = (0..100_000).find_map(|cookie| {
            let result = carry(&row, &mut front, (Message::Fetch { token: [1, 2] }, cookie), vec![]);
            most = most.max(front.unsent_descriptors());
            result.err()
        });
        assert!(matches!(over, Some(ChannelError::Stuck)));
        assert!(most <= MAX_WAITING, "{most}");
    }
}
