//! What kernels print: the library writes it to the process's standard output, and the guest wants it on its program's.
//!
//! From the guest's first question on, a pipe takes the place of the standard output. A thread empties it, so that no kernel waits for
//! somebody to read; a question empties it too, so that its answer has all that was printed before.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use wire::frame::FrameHeader;

use super::OpenCl;
use super::generated::CL_OUT_OF_RESOURCES;
use crate::os::{self, Interest};
use crate::worker::answer::Failure;

/// Most bytes that wait for the guest; what is printed beyond them is lost.
const MOST: usize = 16 << 20;
/// Bytes of one answer.
const ANSWER: usize = 3968;

/// What was read and not asked for.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    lost: bool,
}

struct Output {
    from: File,
    text: Mutex<Text>,
}

impl Output {
    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is there.
    fn empty(&self, text: &mut Text) {
        let mut room = [0; 65536];
        let has_some = || os::wait([Interest::read(&self.from)], Some(Duration::ZERO)).is_ok_and(|[ready]| ready);
        // Nobody else reads: the text is locked.
        while has_some() {
            let Ok(bytes @ 1..) = (&self.from).read(&mut room) else { return };
            let keep = bytes.min(MOST.saturating_sub(text.bytes.len()));
            text.bytes.extend(room.get(..keep).unwrap_or_default());
            if keep < bytes && !std::mem::replace(&mut text.lost, true) {
                log::warn!("kernels print more than {MOST} bytes that the guest does not fetch: the rest is lost");
            }
        }
    }

    /// The oldest bytes, as many as an answer holds.
    fn take(&self) -> Vec<u8> {
        let mut text = self.text();
        self.empty(&mut text);
        let first = ANSWER.min(text.bytes.len());
        let rest = text.bytes.split_off(first);
        text.lost &= !rest.is_empty();
        std::mem::replace(&mut text.bytes, rest)
    }

    fn begin() -> std::io::Result<Arc<Output>> {
        let (from, to) = os::pipe()?;
        // A test process writes to its own.
        if cfg!(not(test)) {
            os::replace_stdout(to.as_fd())?;
        }
        let output = Arc::new(Output { from: from.into(), text: Mutex::default() });
        let theirs = Arc::clone(&output);
        std::thread::Builder::new().name("printed".into()).spawn(move || {
            while os::wait([Interest::read(&theirs.from)], None).is_ok() {
                theirs.empty(&mut theirs.text());
            }
        })?;
        Ok(output)
    }
}

/// What the kernels of a session print.
#[derive(Default)]
pub struct Printed(OnceLock<Option<Arc<Output>>>);

impl OpenCl {
    /// `gpuferryPrinted`.
    pub(super) fn gpuferryPrinted(&self, _from: &FrameHeader, printed: &mut Vec<u8>) -> Result<(), Failure> {
        let begin = || {
            let begun = Output::begin();
            if let Err(error) = &begun {
                log::warn!("session {}: what kernels print stays here: {error}", self.session.number());
            }
            begun.ok()
        };
        let output = self.printed.0.get_or_init(begin).as_ref().ok_or(Failure::Status(CL_OUT_OF_RESOURCES))?;
        os::flush_output();
        *printed = output.take();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn take_when_much_was_printed_then_gives_it_in_order_and_keeps_no_more_than_the_limit() {
        let (from, to) = os::pipe().expect("a pipe");
        let mut to = File::from(to);
        let output = Output { from: from.into(), text: Mutex::default() };
        assert_eq!(output.take(), b"");
        to.write_all(&[b'a'; ANSWER]).expect("room");
        to.write_all(b"bc").expect("room");
        assert_eq!((output.take(), output.take(), output.take()), (vec![b'a'; ANSWER], b"bc".to_vec(), vec![]));
        output.text().bytes = vec![b'x'; MOST - 1];
        to.write_all(b"yz").expect("room");
        output.empty(&mut output.text());
        let text = output.text();
        assert_eq!((text.bytes.len(), text.bytes.last(), text.lost), (MOST, Some(&b'y'), true));
    }
}
