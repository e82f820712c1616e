//! What kernels print, and what they complain of (assertions): the library writes it to this process's standard output and
//! error, and the guest wants it on its program's.
//!
//! Libraries print through C's streams, and flush them before the call returns that waited for the kernel (NVIDIA's does,
//! also from a thread of its own). [`take_over`] puts streams in their place that write into memory; what is written to
//! descriptor 1 itself goes into a pipe, which a thread empties from [`begin`] on. Each text is counted in a word of the
//! window when it arrives, and so before the reply of that call: the guest asks only where the word has grown.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::Session;
use crate::os::{self, Interest, Stream};

/// Most bytes that wait for the guest; what is printed beyond them is lost.
const MOST: usize = 16 << 20;
/// Bytes of text in one answer.
const ANSWER: usize = 3960;

/// What was printed and not asked for.
#[derive(Default)]
struct Text {
    /// In order: for which stream, and the bytes.
    parts: std::collections::VecDeque<(Stream, Vec<u8>)>,
    /// Bytes in them.
    waiting: usize,
    /// Bytes that were ever kept.
    kept: u64,
    has_lost: bool,
    /// Whose window is told.
    session: Option<Arc<Session>>,
}

impl Text {
    fn add(&mut self, stream: Stream, bytes: &[u8]) {
        let keep = bytes.len().min(MOST.saturating_sub(self.waiting));
        if keep < bytes.len() && !std::mem::replace(&mut self.has_lost, true) {
            log::warn!("kernels print more than {MOST} bytes that the guest does not fetch: the rest is lost");
        }
        let bytes = bytes.get(..keep).unwrap_or_default();
        match self.parts.back_mut().filter(|(last, _)| *last == stream) {
            Some((_, text)) => text.extend(bytes),
            None => self.parts.push_back((stream, bytes.to_vec())),
        }
        self.waiting += keep;
        self.kept += keep as u64;
        self.tell();
    }

    /// Says in the window how much there is.
    fn tell(&self) {
        if let Some(session) = &self.session {
            session.window().header().printed.store(self.kept, Ordering::Release);
        }
    }

    /// The oldest bytes, of one stream and as many as an answer holds.
    fn take(&mut self) -> Option<(Stream, Vec<u8>)> {
        let (stream, mut text) = self.parts.pop_front()?;
        let rest = text.split_off(ANSWER.min(text.len()));
        self.waiting -= text.len();
        self.has_lost &= !rest.is_empty();
        if !rest.is_empty() {
            self.parts.push_front((stream, rest));
        }
        Some((stream, text))
    }
}

/// The process's.
#[derive(Default)]
struct Output {
    text: Mutex<Text>,
    /// The pipe's end that is read; empty where nobody took the standard output over.
    from: OnceLock<OwnedFd>,
}

static OUTPUT: OnceLock<Output> = OnceLock::new();

impl Output {
    fn the() -> &'static Output {
        OUTPUT.get_or_init(Output::default)
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is in the pipe.
    fn empty(&self, from: &mut File) {
        let mut room = [0; 65536];
        // Nobody else reads: the text is locked.
        let mut text = self.text();
        while os::wait([Interest::read(&*from)], Some(Duration::ZERO)).is_ok_and(|[ready]| ready) {
            let Ok(bytes @ 1..) = from.read(&mut room) else { return };
            text.add(Stream::Output, room.get(..bytes).unwrap_or_default());
        }
    }

    fn pipe(&self) -> std::io::Result<File> {
        // A test process keeps its own output.
        Ok(self.from.get().ok_or(std::io::ErrorKind::NotFound)?.try_clone()?.into())
    }
}

/// Puts streams of ours in the place of C's, and a pipe in that of descriptor 1; to be called once, before there is anything
/// to print and before the sandbox, which would not let it.
///
/// # Errors
/// As pipe2(2), dup2(2) and fopencookie(3).
pub(super) fn take_over() -> std::io::Result<()> {
    let (from, to) = os::pipe()?;
    os::replace_stdout(to.as_fd())?;
    // Not set before: this is called once.
    let _ = Output::the().from.set(from);
    os::replace_streams(|stream, bytes| Output::the().text().add(stream, bytes))
}

/// Kernels that may print are about to be loaded: from here on the session is told what they print.
pub(super) fn begin(session: &Arc<Session>) {
    static BEGUN: OnceLock<()> = OnceLock::new();
    BEGUN.get_or_init(|| {
        Output::the().text().session = Some(Arc::clone(session));
        let begun = Output::the().pipe().and_then(|mut from| {
            std::thread::Builder::new().name("printed".into()).spawn(move || {
                while os::wait([Interest::read(&from)], None).is_ok() {
                    Output::the().empty(&mut from);
                }
            })
        });
        if let Err(error) = begun {
            log::warn!("session {}: what kernels write past C's streams stays here: {error}", session.number());
        }
    });
}

/// The oldest text that the guest has not: the stream and the bytes, as many as an answer holds. Empty where there is none.
pub(super) fn take(session: &Arc<Session>) -> Vec<u8> {
    begin(session);
    os::flush_output();
    if let Ok(mut from) = Output::the().pipe() {
        Output::the().empty(&mut from);
    }
    let (stream, text) = Output::the().text().take().unwrap_or_default();
    if text.is_empty() { text } else { [&[stream as u8], &text[..]].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_when_much_was_printed_then_gives_it_in_order_and_keeps_no_more_than_the_limit() {
        let mut text = Text::default();
        assert_eq!(text.take(), None);
        text.add(Stream::Output, &[b'a'; ANSWER]);
        text.add(Stream::Output, b"bc");
        text.add(Stream::Error, b"d");
        text.add(Stream::Output, b"e");
        let (output, error) = (Stream::Output, Stream::Error);
        assert_eq!(text.take(), Some((output, vec![b'a'; ANSWER])));
        assert_eq!(text.take(), Some((output, b"bc".to_vec())));
        assert_eq!(text.take(), Some((error, b"d".to_vec())));
        assert_eq!(text.take(), Some((output, b"e".to_vec())));
        assert_eq!((text.take(), text.waiting, text.kept), (None, 0, ANSWER as u64 + 4));
        text.add(Stream::Output, &vec![b'x'; MOST - 1]);
        text.add(Stream::Error, b"yz");
        assert_eq!((text.waiting, text.parts.back(), text.has_lost), (MOST, Some(&(error, b"y".to_vec())), true));
    }

    #[test]
    fn empty_when_a_pipe_has_text_then_takes_all_of_it() {
        let (from, to) = os::pipe().expect("a pipe");
        std::io::Write::write_all(&mut File::from(to), b"printed").expect("room");
        let output = Output::default();
        output.empty(&mut from.into());
        assert_eq!(output.text().take(), Some((Stream::Output, b"printed".to_vec())));
    }
}
