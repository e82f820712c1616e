//! Functions of the guest's that are due: the library's threads put them into a queue and never wait; one thread of the guest
//! takes them.

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wire::frame::FrameHeader;

use super::OpenCl;
use super::generated::CL_OUT_OF_RESOURCES;
use crate::worker::answer::{Failure, function, ok};

/// Most functions that are registered and not yet taken, of a session.
const MOST: usize = 65536;
/// Most texts of context errors that wait; further ones are lost, as nothing bounds their number.
const MOST_TEXTS: usize = 256;
/// Longest text of a context error.
const MOST_TEXT: usize = 3072;

/// One that is due.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    id: u64,
    state: i32,
    message: Vec<u8>,
}

/// The queue of a session.
#[derive(Default)]
pub struct Callbacks {
    due: Mutex<VecDeque<Due>>,
    changed: Condvar,
    /// Registered by the guest and not yet taken.
    registered: AtomicUsize,
    /// Texts that wait.
    texts: AtomicUsize,
}

impl Callbacks {
    fn register(&self) -> bool {
        let more = |count| (count < MOST).then_some(count + 1);
        self.registered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn push(&self, due: Due) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).push_back(due);
        self.changed.notify_one();
    }

    /// Sleeps until one is due.
    fn next(&self) -> Due {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = self.changed.wait_while(due, |due| due.is_empty()).unwrap_or_else(PoisonError::into_inner);
        // Not empty: that ended the wait.
        let due = due.pop_front().unwrap_or_default();
        let count = if due.message.is_empty() { &self.registered } else { &self.texts };
        count.fetch_sub(1, Ordering::Relaxed);
        due
    }
}

/// What the library is given with a function: the queue, and the guest's number.
struct Registered {
    callbacks: Arc<Callbacks>,
    id: u64,
}

/// What the library calls when an event has reached a status. Once.
extern "C" fn event_reached(_event: *mut c_void, state: i32, data: *mut c_void) {
    // SAFETY: made by `Box::into_raw` for this one call.
    let registered = unsafe { Box::from_raw(data.cast::<Registered>()) };
    registered.callbacks.push(Due { id: registered.id, state, message: Vec::new() });
}

/// What the library calls for an error in a context. As often as it likes, and as long as it lives.
extern "C" fn context_error(text: *const c_char, _private: *const c_void, _bytes: usize, data: *mut c_void) {
    // SAFETY: the registration is never freed.
    let registered = unsafe { &*data.cast::<Registered>() };
    let more = |count| (count < MOST_TEXTS).then_some(count + 1);
    if registered.callbacks.texts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
        return;
    }
    let mut message = if text.is_null() {
        Vec::new()
    } else {
        // SAFETY: the library gives a text that ends with a zero byte.
        unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()
    };
    message.truncate(MOST_TEXT);
    if message.is_empty() {
        message.push(b'?');
    }
    registered.callbacks.push(Due { id: registered.id, state: 0, message });
}

impl OpenCl {
    /// The function and data to give the library for a context whose errors the guest wants as `id`; null for 0.
    pub(super) fn on_context_error(&self, id: u64) -> (*const c_void, *mut c_void) {
        if id == 0 {
            return (std::ptr::null(), std::ptr::null_mut());
        }
        // Never freed: nothing says when the library calls it last. A session makes few contexts.
        let data = Box::into_raw(Box::new(Registered { callbacks: Arc::clone(&self.callbacks), id }));
        (context_error as *const c_void, data.cast())
    }

    /// `gpuferryEventCallback`.
    pub(super) fn gpuferryEventCallback(
        &self,
        _from: &FrameHeader,
        event: *mut c_void,
        kind: i32,
        id: u64,
    ) -> Result<(), Failure> {
        let set = function!(self, clSetEventCallback)?;
        if !self.callbacks.register() {
            return Err(Failure::Status(CL_OUT_OF_RESOURCES));
        }
        let data = Box::into_raw(Box::new(Registered { callbacks: Arc::clone(&self.callbacks), id }));
        // SAFETY: the event lives; function and data belong together, and the data lives until the call.
        let status = unsafe { set(event, kind, event_reached as *const c_void, data.cast()) };
        if status != 0 {
            self.callbacks.registered.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: made by `Box::into_raw`; the library has refused it.
            drop(unsafe { Box::from_raw(data) });
        }
        ok(status)
    }

    /// `gpuferryNextCallback`.
    pub(super) fn gpuferryNextCallback(
        &self,
        _from: &FrameHeader,
        id: &mut u64,
        state: &mut i32,
        message: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let due = self.callbacks.next();
        (*id, *state, *message) = (due.id, due.state, due.message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_when_some_are_due_then_takes_them_in_order() {
        let callbacks = Arc::new(Callbacks::default());
        let library = std::thread::spawn({
            let callbacks = Arc::clone(&callbacks);
            move || {
                for id in 1..=3 {
                    assert!(callbacks.register());
                    callbacks.push(Due { id, state: -5, message: Vec::new() });
                }
            }
        });
        let taken: Vec<u64> = (0..3).map(|_| callbacks.next().id).collect();
        assert_eq!(taken, [1, 2, 3]);
        library.join().expect("pushes");
        assert_eq!(callbacks.registered.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn register_when_too_many_wait_then_refuses() {
        let callbacks = Callbacks::default();
        assert!((0..MOST).all(|_| callbacks.register()));
        assert!(!callbacks.register());
    }

    #[test]
    fn context_error_when_nobody_takes_the_texts_then_keeps_few() {
        let callbacks = Arc::new(Callbacks::default());
        let registered = Registered { callbacks: Arc::clone(&callbacks), id: 7 };
        let data = (&raw const registered).cast_mut().cast();
        for _ in 0..MOST_TEXTS + 10 {
            context_error(c"wrong".as_ptr(), std::ptr::null(), 0, data);
        }
        assert_eq!(callbacks.due.lock().expect("the queue").len(), MOST_TEXTS);
        assert_eq!(callbacks.next(), Due { id: 7, state: 0, message: b"wrong".to_vec() });
    }
}
