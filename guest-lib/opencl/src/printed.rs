//! What kernels print goes to the program's standard output, at the latest when the program learns of the end of what printed it.
//!
//! The host is asked only where a program may print: its source says so, or nobody can tell.

use crate::caller::Caller;
use crate::generated::send;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

static MAY_PRINT: AtomicBool = AtomicBool::new(false);
/// One thread at a time writes, so that texts stay in order.
static TURN: Mutex<()> = Mutex::new(());

/// A program is about to be built: its source, empty where it has none.
pub fn watch(caller: &Caller, source: &[u8]) {
    let may_print = source.is_empty() || source.windows(6).any(|word| word == b"printf");
    if may_print && !MAY_PRINT.swap(true, Ordering::AcqRel) {
        // The first question: from here on the host collects.
        show(caller);
    }
}

/// Writes what kernels have printed.
pub fn show(caller: &Caller) {
    if !MAY_PRINT.load(Ordering::Acquire) {
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = Vec::new();
    while send::gpuferryPrinted(caller, &mut text) == 0 && !text.is_empty() {
        // The first byte says which stream.
        write(text.first().map_or(libc::STDOUT_FILENO, |stream| i32::from(*stream)), text.get(1..).unwrap_or_default());
        text.clear();
    }
}

fn write(stream: i32, mut text: &[u8]) {
    while !text.is_empty() {
        // SAFETY: the bytes are there; the descriptor is the program's standard output or error, or closed.
        let written = unsafe { libc::write(stream, text.as_ptr().cast(), text.len()) };
        match usize::try_from(written) {
            Ok(bytes) => text = text.get(bytes..).unwrap_or_default(),
            Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
            // A program without an output has nobody to tell.
            Err(_) => return,
        }
    }
}
