//! What kernels print goes to the program's standard output, and their assertions to its standard error: through C's streams,
//! which are flushed after it, as NVIDIA's library does; so all keeps its order with what the program prints itself.
//!
//! The worker counts in the window what has been printed, before it answers a call that waited for it; `rt` compares after
//! each such call, and the host is asked only where the count has grown.

use crate::caller::{self, Caller};
use crate::generated::send;
use core::cell::Cell;
use rt::Session;
use std::sync::{Mutex, PoisonError};

/// Number of the standard error, before its text.
const ERROR: u8 = 2;

/// One thread at a time writes; others wait for it, so that a call returns when what it waited for is shown.
static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    /// This thread is at it: its own questions wait too.
    static SHOWING: Cell<bool> = const { Cell::new(false) };
}

/// Begins: to be called when the session is open.
pub fn begin(session: &Session) {
    session.on_printed(show_all);
    // SAFETY: the function takes no arguments and never unwinds; the library is never unloaded (`-z nodelete`).
    unsafe { libc::atexit(at_exit) };
}

/// After a call that was posted, and natively would have waited: what was printed before it is to be shown before it returns. Until
/// something is printed for the first time nobody waits for it here.
pub fn settle(caller: &Caller) {
    if caller.session.printed() != 0 {
        show(caller, 1);
    }
}

fn show_all() {
    if let Some(session) = crate::init::opened() {
        show(&Caller { session, origin: caller::origin() }, 0);
    }
}

/// Asks so many times at least, and until all that is known of is shown.
fn show(caller: &Caller, questions: u32) {
    if SHOWING.replace(true) {
        return;
    }
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut shown = caller.session.shown();
    let (mut text, mut asked) = (Vec::new(), 0);
    while asked < questions || shown < caller.session.printed() {
        text.clear();
        let status = send::gpuferryPrinted(caller, &mut text);
        asked += 1;
        match text.split_first().filter(|_| status == 0) {
            Some((stream, text)) => {
                write(*stream, text);
                shown += text.len() as u64;
            }
            // What did not come never will.
            None => shown = caller.session.printed(),
        }
        caller.session.set_shown(shown);
    }
    drop(turn);
    SHOWING.set(false);
}

fn write(stream: u8, text: &[u8]) {
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
        static stderr: *mut libc::FILE;
    }
    // SAFETY: C's streams are there for as long as the process; the bytes are too.
    unsafe {
        let stream = if stream == ERROR { stderr } else { stdout };
        libc::fwrite(text.as_ptr().cast(), 1, text.len(), stream);
        libc::fflush(stream);
    }
}

/// What was printed and nobody waited for.
extern "C" fn at_exit() {
    let shown = std::panic::catch_unwind(|| {
        if caller::session().is_ok_and(Session::has_printed) {
            show_all();
        }
    });
    // A panic here is a fault of this library's; the process ends all the same.
    drop(shown);
}
