//! What kernels print goes to the program's standard output, through C's stream of it as NVIDIA's library does, so that it keeps its
//! order with what the program prints itself.
//!
//! The worker says in the window how much has been printed, before it answers a call that waits; here that word is compared with what
//! was shown, after every call. The host is asked only where it has grown.

use crate::caller::{self, Caller};
use crate::generated::send;
use core::sync::atomic::{AtomicU64, Ordering};
use rt::Session;
use std::sync::{Mutex, PoisonError};

/// Bytes that were written, or that the host no longer has.
static SHOWN: AtomicU64 = AtomicU64::new(0);
/// One thread at a time writes; others wait for it, so that a call returns when what it waited for is shown.
static TURN: Mutex<()> = Mutex::new(());

/// Shows what has been printed since the last time.
#[inline]
pub fn show_if_due() {
    if let Ok(session) = caller::session()
        && session.printed() > SHOWN.load(Ordering::Acquire)
    {
        show(session);
    }
}

#[cold]
fn show(session: &'static Session) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let due = session.printed();
    let caller = Caller { session, origin: caller::origin() };
    let mut text = Vec::new();
    while SHOWN.load(Ordering::Relaxed) < due && send::gpuferryPrinted(&caller, &mut text) == 0 && !text.is_empty() {
        write(&text);
        SHOWN.fetch_add(text.len() as u64, Ordering::Release);
        text.clear();
    }
    // What did not come never will.
    SHOWN.fetch_max(due, Ordering::Release);
}

fn write(text: &[u8]) {
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
    }
    // SAFETY: C's stream of the standard output is there for as long as the process; the bytes are too.
    unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), stdout) };
}
