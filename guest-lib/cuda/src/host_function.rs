//! Functions of the program that a stream calls (cuLaunchHostFunc, cuStreamAddCallback). A thread of the library sleeps until the
//! worker says that one is due and runs it; the stream waits meanwhile. The thread starts with the first function, and makes one call,
//! which stands: nothing here may wait for a call of somebody else, since the driver may make that wait for the function.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::capture;
use crate::generated::{number, send};
use crate::graph_memory::{self, Waited};
use crate::handles::Handle;
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OPERATING_SYSTEM};
use crate::stream;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};
use rt::{Malformed, Reader, Session};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

/// `CUhostFn`.
pub type HostFunction = unsafe extern "C" fn(*mut c_void);
/// `CUstreamCallback`.
type Callback = unsafe extern "C" fn(u64, CUresult, *mut c_void);

#[derive(Clone, Copy)]
enum What {
    Function(HostFunction),
    /// With the stream as the program named it.
    Callback(Callback, u64),
}

#[derive(Clone, Copy)]
struct Due {
    what: What,
    data: *mut c_void,
    /// It is part of a recording and may be called again.
    again: bool,
}

// SAFETY: the program's pointer is handed back to it, on a thread, as the API says.
unsafe impl Send for Due {}

static DUE: Mutex<Option<HashMap<u64, Due>>> = Mutex::new(None);

/// Runs one function, where the number is one.
fn run(id: u64, status: CUresult) {
    let due = {
        let mut all = DUE.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all.get_or_insert_default();
        let due = all.get(&id).copied();
        if due.is_some_and(|due| !due.again) {
            all.remove(&id);
        }
        due
    };
    let Some(due) = due else { return };
    match due.what {
        // SAFETY: the program gave function and data for this call; no lock is held.
        What::Function(function) => unsafe { function(due.data) },
        // SAFETY: as above.
        What::Callback(callback, stream) => unsafe { callback(stream, status, due.data) },
    }
}

/// The thread's work, until the session is dead. `asked` says that the worker will come to the call before what is posted from now on.
fn serve(session: &'static Session, asked: impl FnOnce()) {
    let caller = Caller { session, origin: caller::origin() };
    let run = |status: CUresult, reader: &mut Reader<'_>| -> Result<bool, Malformed> {
        if status != 0 {
            return Ok(false);
        }
        let (id, status) = (reader.u64()?, reader.u32()? as i32);
        // A function in a graph sees what the graph has copied so far, and what it writes is copied after it.
        graph_memory::after_wait(&caller, Waited::InGraph);
        run(id, status);
        graph_memory::refresh();
        Ok(true)
    };
    // A dead session has no functions.
    let _ = session.stand(number::gpuferryNextHostFunction, caller.origin, asked, run);
}

/// Starts the thread, once; it takes no signals of the program's.
fn start(session: &'static Session) -> Result<(), CUresult> {
    static STARTED: OnceLock<bool> = OnceLock::new();
    let started = *STARTED.get_or_init(|| {
        // SAFETY: zero is a valid signal set; the calls fill and use local ones and set the calling thread's own mask.
        let before = unsafe {
            let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (core::mem::zeroed(), core::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            before
        };
        let (asked, has_asked) = std::sync::mpsc::channel();
        // The receiver waits for it.
        let serve = move || serve(session, move || asked.send(()).unwrap_or_default());
        let spawned = std::thread::Builder::new().name("gpuferry-calls".into()).spawn(serve);
        // SAFETY: the mask that the thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, core::ptr::null_mut()) };
        spawned.is_ok() && has_asked.recv().is_ok()
    });
    if started { Ok(()) } else { Err(CUDA_ERROR_OPERATING_SYSTEM) }
}

/// A number for a new entry of [`DUE`].
fn number(due: Due) -> u64 {
    static IDS: AtomicU64 = AtomicU64::new(1);
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    DUE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(id, due);
    id
}

/// Keeps a function that the host will name by the number: each time that a graph comes to it (`again`), or once.
///
/// # Errors
/// `CUDA_ERROR_OPERATING_SYSTEM` where there is no thread to run it.
pub fn keep(
    session: &'static Session,
    function: HostFunction,
    data: *mut c_void,
    again: bool,
) -> Result<u64, CUresult> {
    start(session)?;
    Ok(number(Due { what: What::Function(function), data, again }))
}

/// The function behind a number, with its data.
#[must_use]
pub fn kept(id: u64) -> Option<(HostFunction, *mut c_void)> {
    let all = DUE.lock().unwrap_or_else(PoisonError::into_inner);
    match all.as_ref()?.get(&id)? {
        Due { what: What::Function(function), data, .. } => Some((*function, *data)),
        Due { what: What::Callback(..), .. } => None,
    }
}

/// The host has refused the number.
pub fn forget(id: u64) {
    DUE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().remove(&id);
}

fn enqueue(stream: Result<Handle, CUresult>, what: Option<What>, data: *mut c_void) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let (stream, what) = (stream?, what.ok_or(CUDA_ERROR_INVALID_VALUE)?);
    start(caller.session)?;
    let again = capture::is_recording(&caller, stream)?;
    let id = number(Due { what, data, again });
    let kind = u32::from(matches!(what, What::Callback(..)));
    let status = send::gpuferryHostFunction(&caller, stream, id, kind);
    if status != 0 {
        forget(id);
    }
    caller::answer(status)
}

fn callback(callback: Option<Callback>, stream: u64, flags: u32) -> Option<What> {
    callback.filter(|_| flags == 0).map(|callback| What::Callback(callback, stream))
}

crate::export! {
    /// CUDA Driver API, cuLaunchHostFunc.
    extern "C" fn cuLaunchHostFunc(hStream: u64, r#fn: Option<HostFunction>, userData: *mut c_void) {
        enqueue(stream::resolve(hStream), r#fn.map(What::Function), userData)
    }

    /// CUDA Driver API, cuLaunchHostFunc with the per-thread default stream.
    extern "C" fn cuLaunchHostFunc_ptsz(hStream: u64, r#fn: Option<HostFunction>, userData: *mut c_void) {
        enqueue(stream::resolve_per_thread(hStream), r#fn.map(What::Function), userData)
    }

    /// CUDA Driver API, cuStreamAddCallback.
    extern "C" fn cuStreamAddCallback(hStream: u64, callback: Option<Callback>, userData: *mut c_void, flags: u32) {
        enqueue(stream::resolve(hStream), self::callback(callback, hStream, flags), userData)
    }

    /// CUDA Driver API, cuStreamAddCallback with the per-thread default stream.
    extern "C" fn cuStreamAddCallback_ptsz(
        hStream: u64, callback: Option<Callback>, userData: *mut c_void, flags: u32,
    ) {
        enqueue(stream::resolve_per_thread(hStream), self::callback(callback, hStream, flags), userData)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicUsize;

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C" fn count(data: *mut c_void) {
        CALLS.fetch_add(data as usize, Ordering::Relaxed);
    }

    #[test]
    fn run_when_recorded_then_may_be_called_again_and_else_once() {
        let due = |again| Due { what: What::Function(count), data: core::ptr::without_provenance_mut(1), again };
        let ids = [u64::MAX - 1, u64::MAX];
        let add = |id, due| DUE.lock().expect("unpoisoned").get_or_insert_default().insert(id, due);
        add(ids[0], due(false));
        add(ids[1], due(true));
        for id in [ids[0], ids[0], ids[1], ids[1]] {
            run(id, 0);
        }
        assert_eq!(CALLS.load(Ordering::Relaxed), 3);
    }
}
