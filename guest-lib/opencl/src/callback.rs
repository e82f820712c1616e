//! Functions of the program that the host's library would call: for events and for errors of a context. A thread of the library
//! sleeps until the host says that one is due, and runs it; the host waits for nothing. The thread starts with the first function.

use crate::arena::{Live, Ref};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::event::Event;
use crate::generated::{number, send};
use crate::pending;
use crate::status::CL_OUT_OF_HOST_MEMORY;
use crate::user::Raw;
use core::ffi::{c_char, c_void};
use core::sync::atomic::{AtomicU64, Ordering};
use rt::{Malformed, Reader, Session};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use wire::handle::Handle;

/// `clCreateContext`'s function: text, binary data with its size, the program's pointer.
pub type ContextNotify = unsafe extern "C" fn(*const c_char, *const c_void, usize, *mut c_void);
/// `clSetEventCallback`'s function.
pub type EventFunction = unsafe extern "C" fn(Raw, i32, *mut c_void);

enum What {
    /// Runs once. The event lives until then.
    Event { event: Ref<Event>, kind: i32, function: EventFunction },
    /// Runs with each error.
    Context(ContextNotify),
    /// Runs once: this library's own.
    Own(Ref<Event>, Box<dyn FnOnce() + Send>),
}

struct Due {
    what: What,
    data: usize,
}

static DUE: Mutex<Option<HashMap<u64, Due>>> = Mutex::new(None);
static IDS: AtomicU64 = AtomicU64::new(1);

fn due() -> MutexGuard<'static, Option<HashMap<u64, Due>>> {
    DUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(due_one: Due) -> u64 {
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    due().get_or_insert_default().insert(id, due_one);
    id
}

fn forget(id: u64) -> Option<Due> {
    due().as_mut()?.remove(&id)
}

/// A context's function; its number.
///
/// # Errors
/// `CL_OUT_OF_HOST_MEMORY` where no thread can be started.
pub fn add_context(caller: &Caller, function: ContextNotify, data: *mut c_void) -> Result<u64, cl_int> {
    start(caller.session)?;
    Ok(add(Due { what: What::Context(function), data: data as usize }))
}

/// The context has ended.
pub fn forget_context(notify: u64) {
    drop(forget(notify));
}

/// A function for an event.
///
/// # Errors
/// The host's answer.
pub fn add_event(event: Ref<Event>, kind: i32, function: EventFunction, data: *mut c_void) -> Result<(), cl_int> {
    let handle = event.handle;
    register(handle, kind, Due { what: What::Event { event, kind, function }, data: data as usize })
}

/// Has `function` run on the library's thread when an event has ended, well or not.
///
/// # Errors
/// The host's answer.
pub fn when_ended(event: Ref<Event>, function: impl FnOnce() + Send + 'static) -> Result<(), cl_int> {
    register(event.handle, 0, Due { what: What::Own(event, Box::new(function)), data: 0 })
}

/// What waits here for an event's end is done when it has ended, though the program asks for nothing: where that cannot be, later.
pub fn settle_after(event: &Ref<Event>) {
    let _ = when_ended(event.clone(), || {});
}

fn register(handle: Handle, kind: i32, due_one: Due) -> Result<(), cl_int> {
    let caller = caller::enter()?;
    start(caller.session)?;
    let id = add(due_one);
    let status = send::gpuferryEventCallback(&caller, true, handle, kind, id);
    if status != 0 {
        drop(forget(id));
    }
    caller::answer(status)
}

/// Runs one function, where the number is one.
fn run(caller: &Caller, id: u64, state: i32, message: &[u8]) {
    let context = match due().as_ref().and_then(|all| all.get(&id)) {
        Some(Due { what: What::Context(function), data }) => Some((*function, *data)),
        _ => None,
    };
    if let Some((function, data)) = context {
        let text = CString::new(message).unwrap_or_default();
        // SAFETY: the program gave function and data for this call; no lock is held.
        unsafe { function(text.as_ptr(), core::ptr::null(), 0, data as *mut c_void) };
        return;
    }
    let (event, kind, function, data) = match forget(id) {
        Some(Due { what: What::Event { event, kind, function }, data }) => (event, kind, function, data),
        Some(Due { what: What::Own(event, function), .. }) => {
            event.learn(state);
            pending::settle(caller);
            return function();
        }
        _ => return,
    };
    event.learn(state.min(kind));
    if state <= 0 {
        pending::settle(caller);
    }
    let raw = Live::raw(&event);
    // SAFETY: as above.
    unsafe { function(raw, if state < 0 { state } else { kind }, data as *mut c_void) };
}

/// The thread's work, until the session is dead.
fn serve(session: &'static Session) {
    let caller = Caller { session, origin: caller::origin() };
    // Not by the printed sender: it would take the late error of somebody's posted command.
    let next = || {
        let take = |status: cl_int, reader: &mut Reader<'_>| -> Result<Option<(u64, i32, Vec<u8>)>, Malformed> {
            if status != 0 {
                return Ok(None);
            }
            Ok(Some((reader.u64()?, reader.u32()?.cast_signed(), reader.run()?.to_vec())))
        };
        session.wait(number::gpuferryNextCallback, caller.origin, 0, |_| Ok(()), take)
    };
    while let Ok(Some((id, state, message))) = next() {
        run(&caller, id, state, &message);
    }
}

/// Starts the thread, once; it takes no signals of the program's.
fn start(session: &'static Session) -> Result<(), cl_int> {
    static STARTED: OnceLock<bool> = OnceLock::new();
    let started = *STARTED.get_or_init(|| spawn("gpuferry-calls", move || serve(session)));
    if started { Ok(()) } else { Err(CL_OUT_OF_HOST_MEMORY) }
}

/// Starts a thread that takes no signals of the program's.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> bool {
    // SAFETY: zero is a valid signal set; the calls fill and use local ones and set the calling thread's own mask.
    let before = unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (core::mem::zeroed(), core::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
    // SAFETY: the mask that the thread had.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, core::ptr::null_mut()) };
    spawned.is_ok()
}
