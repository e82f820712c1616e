//! What kernels print: the library writes it to the process's standard output, and the guest wants it on its program's.
//!
//! From the process's start a pipe takes the place of its standard output ([`take_over`]); its sandbox would not let it later. From
//! [`Printed::begin`] on, a thread empties it, so that no kernel waits for
//! somebody to read; a question empties it too, so that its answer has all that was printed before. For CUDA the worker says after each
//! call that waits how much there is ([`Printed::tell`]), in a word of the window: the guest asks only where that has grown.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::Session;
use crate::os::{self, Interest};

/// Most bytes that wait for the guest; what is printed beyond them is lost.
const MOST: usize = 16 << 20;
/// Bytes of one answer.
const ANSWER: usize = 3968;

/// The pipe's end that is read; empty where nobody took the standard output over.
static FROM: OnceLock<OwnedFd> = OnceLock::new();

/// Puts a pipe in the place of the standard output; to be called once, before there is anything to print.
///
/// # Errors
/// As pipe2(2) and dup2(2).
pub(super) fn take_over() -> std::io::Result<()> {
    let (from, to) = os::pipe()?;
    os::replace_stdout(to.as_fd())?;
    // Not set before: this is called once.
    let _ = FROM.set(from);
    Ok(())
}

/// What was read and not asked for.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    /// Bytes that were ever kept.
    kept: u64,
    lost: bool,
}

struct Output {
    from: File,
    text: Mutex<Text>,
    /// Something has been printed at some time: from then on each call looks into the pipe.
    is_used: AtomicBool,
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
            text.kept += keep as u64;
            if keep < bytes && !std::mem::replace(&mut text.lost, true) {
                log::warn!("kernels print more than {MOST} bytes that the guest does not fetch: the rest is lost");
            }
        }
    }

    /// The oldest bytes, as many as an answer holds.
    /// Also how many were ever kept.
    fn take(&self) -> (Vec<u8>, u64) {
        let mut text = self.text();
        self.empty(&mut text);
        let first = ANSWER.min(text.bytes.len());
        let rest = text.bytes.split_off(first);
        text.lost &= !rest.is_empty();
        (std::mem::replace(&mut text.bytes, rest), text.kept)
    }

    fn begin() -> std::io::Result<Arc<Output>> {
        // A test process keeps its own.
        let from = FROM.get().ok_or(std::io::ErrorKind::NotFound)?.try_clone()?;
        let output = Arc::new(Output { from: from.into(), text: Mutex::default(), is_used: AtomicBool::new(false) });
        let theirs = Arc::clone(&output);
        std::thread::Builder::new().name("printed".into()).spawn(move || {
            while os::wait([Interest::read(&theirs.from)], None).is_ok() {
                theirs.empty(&mut theirs.text());
                theirs.is_used.store(true, Ordering::Release);
            }
        })?;
        Ok(output)
    }
}

/// What the kernels of a session print.
#[derive(Default)]
pub(super) struct Printed(OnceLock<Option<Arc<Output>>>);

impl Printed {
    /// Begins to collect, where that has not been done; `None` where it cannot be.
    fn output(&self, session: &Session) -> Option<&Output> {
        let begin = || {
            let begun = Output::begin();
            if let Err(error) = &begun {
                log::warn!("session {}: what kernels print stays here: {error}", session.number());
            }
            begun.ok()
        };
        self.0.get_or_init(begin).as_deref()
    }

    /// Kernels that may print are about to be loaded.
    pub(super) fn begin(&self, session: &Session) {
        self.output(session);
    }

    /// The oldest bytes that the guest has not, as many as an answer holds; `None` where nothing is collected.
    pub(super) fn take(&self, session: &Session) -> Option<Vec<u8>> {
        let output = self.output(session)?;
        os::flush_output();
        let (text, kept) = output.take();
        session.window().header().printed.store(kept, Ordering::Release);
        Some(text)
    }

    /// After a call of the guest's: says in the window how much has been printed. It costs a comparison where nothing was.
    pub(super) fn tell(&self, session: &Session) {
        let Some(Some(output)) = self.0.get() else { return };
        if !os::has_output_pending() && !output.is_used.load(Ordering::Acquire) {
            return;
        }
        output.is_used.store(true, Ordering::Release);
        os::flush_output();
        let mut text = output.text();
        output.empty(&mut text);
        session.window().header().printed.store(text.kept, Ordering::Release);
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
        let output = Output { from: from.into(), text: Mutex::default(), is_used: AtomicBool::new(false) };
        assert_eq!(output.take(), (vec![], 0));
        to.write_all(&[b'a'; ANSWER]).expect("room");
        to.write_all(b"bc").expect("room");
        let taken = [output.take(), output.take(), output.take()].map(|(text, _)| text);
        assert_eq!(taken, [vec![b'a'; ANSWER], b"bc".to_vec(), vec![]]);
        output.text().bytes = vec![b'x'; MOST - 1];
        to.write_all(b"yz").expect("room");
        output.empty(&mut output.text());
        let text = output.text();
        assert_eq!((text.bytes.len(), text.bytes.last(), text.lost), (MOST, Some(&b'y'), true));
    }
}
