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
