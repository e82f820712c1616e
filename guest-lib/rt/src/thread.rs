//! The calling thread's number, which travels with its calls, and the wall between a program in C and a panic.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many threads of the process have a number.
static THREADS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static THREAD: Cell<u32> = const { Cell::new(0) };
}

/// The calling thread's number, from 1.
#[inline]
#[must_use]
pub fn thread_number() -> u32 {
    let mut thread = THREAD.get();
    if thread == 0 {
        thread = THREADS.fetch_add(1, Ordering::Relaxed) + 1;
        THREAD.set(thread);
    }
    thread
}

/// How many threads of the process have asked for their number.
#[inline]
#[must_use]
pub fn threads() -> u32 {
    THREADS.load(Ordering::Relaxed)
}

/// Runs the body of an exported function: nothing unwinds into C. A panic becomes the status `panicked`.
///
/// # Errors
/// The body's, or `panicked`.
#[inline]
pub fn contained<T>(panicked: i32, body: impl FnOnce() -> Result<T, i32>) -> Result<T, i32> {
    std::panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or(Err(panicked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_number_when_asked_twice_then_is_the_same_thread() {
        let here = thread_number();
        assert_eq!(thread_number(), here);
        let there = std::thread::spawn(thread_number).join().expect("thread ends");
        assert_ne!(here, there);
        assert!(threads() >= 2);
    }
}
