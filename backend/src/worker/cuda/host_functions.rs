//! Functions of the guest's that a stream calls: the stream sleeps on a thread of the driver's until the guest has run them.
//!
//! The driver's thread puts the function's number into a queue and waits until the function has run. A standing call of the guest's
//! (`wire.md`) takes numbers out of the queue, one after the other, in the order in which they came due; that it takes the next says
//! that the one before has run. None of this passes through the ring: the driver may keep the ring's leader waiting for a lock, while
//! who holds that waits for the stream.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::c_void;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wire::frame::FrameHeader;

use super::Cuda;
use crate::worker::answer::{Failure, function, ok};
use crate::worker::printed;

/// Most functions that wait at a time.
const MAX_WAITING: usize = 65536;

#[derive(Default)]
struct State {
    /// Due and not taken by the guest: number, status of the stream.
    due: VecDeque<(u64, i32)>,
    /// What each standing call, by its slot, has taken last.
    running: BTreeMap<u16, u64>,
}

/// The queue of a session.
#[derive(Default)]
pub struct HostFunctions {
    state: Mutex<State>,
    changed: Condvar,
    /// What graphs are given for each function, by its number; see [`for_graph`].
    in_graphs: Mutex<HashMap<u64, usize>>,
}

/// What a stream is given: the queue, and the function's number.
struct Call {
    functions: Arc<HostFunctions>,
    id: u64,
    /// The stream calls it once, so that it ends with that. In a graph it is called with each launch, and lasts.
    once: bool,
}

impl HostFunctions {
    /// Waits until the guest has run the function. Called by a thread of the driver's.
    fn run(&self, id: u64, status: i32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.due.len() + state.running.len() >= MAX_WAITING {
            return;
        }
        state.due.push_back((id, status));
        self.changed.notify_all();
        let still = |state: &mut State| {
            state.running.values().any(|running| *running == id) || state.due.iter().any(|(due, _)| *due == id)
        };
        drop(self.changed.wait_while(state, still).unwrap_or_else(PoisonError::into_inner));
    }

    /// A function is due for which nobody waits. Called by a thread of the driver's, or in a call of the guest's.
    pub(super) fn add(&self, id: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.due.len() + state.running.len() < MAX_WAITING {
            state.due.push_back((id, 0));
            self.changed.notify_all();
        }
    }

    /// The function that was taken for this slot has run. Sleeps until another is due.
    fn next(&self, slot: u16) -> (u64, i32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.running.remove(&slot).is_some() {
            self.changed.notify_all();
        }
        let waited = self.changed.wait_while(state, |state| state.due.is_empty());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        // Not empty: that ended the wait.
        let (id, status) = state.due.pop_front().unwrap_or_default();
        state.running.insert(slot, id);
        (id, status)
    }
}

/// What the driver calls for `cuLaunchHostFunc`.
extern "C" fn host_function(data: *mut c_void) {
    run(data, 0);
}

/// What the driver calls for `cuStreamAddCallback`.
extern "C" fn callback(_stream: *mut c_void, status: i32, data: *mut c_void) {
    run(data, status);
}

fn run(data: *mut c_void, status: i32) {
    let call = data.cast::<Call>();
    // SAFETY: the pointer came from a box that lives until the last call of the function.
    let (functions, id, once) = unsafe { (Arc::clone(&(*call).functions), (*call).id, (*call).once) };
    functions.run(id, status);
    if once {
        // SAFETY: made by `Box::into_raw`; the stream calls it no more.
        drop(unsafe { Box::from_raw(call) });
    }
}

/// What a graph is given to call a function of the guest's: the function of the library's kind, and its data. Like the
/// guest's own table of them, it lasts as long as the session: graphs that were made ready keep it. There is one for each
/// function, however often it is given.
pub(super) fn for_graph(functions: &Arc<HostFunctions>, id: u64) -> (*const c_void, *mut c_void) {
    let make =
        || Box::into_raw(Box::new(Call { functions: Arc::clone(functions), id, once: false })).expose_provenance();
    let mut in_graphs = functions.in_graphs.lock().unwrap_or_else(PoisonError::into_inner);
    let call = *in_graphs.entry(id).or_insert_with(make);
    (host_function as *const c_void, std::ptr::with_exposed_provenance_mut(call))
}

/// The number that [`for_graph`] was given; `None` for a function of another kind.
pub(super) fn number_of(function: *const c_void, data: *mut c_void) -> Option<u64> {
    let is_ours = std::ptr::eq(function, host_function as *const c_void) && !data.is_null();
    // SAFETY: with this function goes a `Call`, which lasts where a graph has it.
    is_ours.then(|| unsafe { (*data.cast::<Call>()).id })
}

impl Cuda {
    /// `gpuferryPrinted`.
    pub(super) fn gpuferryPrinted(&self, _from: &FrameHeader, found: &mut Vec<u8>) -> Result<(), Failure> {
        *found = printed::take(&self.session);
        Ok(())
    }

    /// `gpuferryHostFunction`.
    pub(super) fn gpuferryHostFunction(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        id: u64,
        with_status: u32,
    ) -> Result<(), Failure> {
        let launch = function!(self, cuLaunchHostFunc)?;
        let add = function!(self, cuStreamAddCallback)?;
        let once = self.not_recording(stream).is_ok();
        let call = Box::into_raw(Box::new(Call { functions: Arc::clone(&self.host_functions), id, once }));
        let status = if with_status == 0 {
            // SAFETY: the stream lives; function and data belong together, and the data lives until the call.
            unsafe { launch(stream, host_function as *const c_void, call.cast()) }
        } else {
            // SAFETY: as above.
            unsafe { add(stream, callback as *const c_void, call.cast(), 0) }
        };
        if status != 0 {
            // SAFETY: made by `Box::into_raw`; the driver has refused it.
            drop(unsafe { Box::from_raw(call) });
        }
        ok(status)
    }

    /// `gpuferryNextHostFunction`.
    pub(super) fn gpuferryNextHostFunction(
        &self,
        from: &FrameHeader,
        id: &mut u64,
        status: &mut i32,
    ) -> Result<(), Failure> {
        (*id, *status) = self.host_functions.next(from.slot);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_when_the_guest_asks_for_the_next_then_returns() {
        let functions = Arc::new(HostFunctions::default());
        let stream = |id| {
            let functions = Arc::clone(&functions);
            std::thread::spawn(move || functions.run(id, 3))
        };
        let first = stream(7);
        assert_eq!(functions.next(2), (7, 3));
        let second = stream(8);
        assert!(!first.is_finished(), "the function runs");
        assert_eq!(functions.next(2), (8, 3));
        first.join().expect("the stream goes on");
        assert!(!second.is_finished(), "the function runs");
        functions.add(9);
        assert_eq!(functions.next(2), (9, 0));
        second.join().expect("the stream goes on");
    }

    #[test]
    fn for_graph_when_a_function_is_given_again_then_keeps_nothing_more() {
        let functions = Arc::new(HostFunctions::default());
        let (function, data) = for_graph(&functions, 7);
        assert_eq!(number_of(function, data), Some(7));
        assert!((0..100).all(|_| for_graph(&functions, 7) == (function, data)));
        assert_ne!(for_graph(&functions, 8).1, data);
    }
}
