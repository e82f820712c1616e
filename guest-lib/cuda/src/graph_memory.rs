//! Pageable memory in graphs. A graph reads and writes it whenever it runs, and the device does not know it: so page-locked
//! memory of the library's stands in for it. What the graph reads is copied there when it is launched, and after each
//! function of the program's that the graph calls; what it has written comes back when the program has waited for it, and
//! before each such function.
//!
//! Which stand-ins a graph uses is kept by its handle, and goes over to what is made of it: copies, graphs that are ready to
//! launch, graphs that it becomes a part of. Stand-ins last as long as the process.

use crate::CUresult;
use crate::caller::Caller;
use crate::generated::send;
use crate::handles::Handle;
use crate::host_memory;
use crate::rows::{Extent, Rows};
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which way a copy goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// The graph reads the memory.
    In,
    /// The graph writes it.
    Out,
}

/// What uses a stand-in: a graph, one that is ready to launch, or a recording by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// A graph, or one that is ready.
    Graph(Handle),
    /// A recording that has not ended.
    Recording(u64),
}

impl From<Handle> for Owner {
    fn from(graph: Handle) -> Owner {
        Owner::Graph(graph)
    }
}

/// What the program has waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// All work.
    All,
    /// A stream.
    Stream(Handle),
    /// An event, or a copy without a stream.
    Event,
    /// Nothing: a graph has come to a function of the program's.
    InGraph,
}

/// Memory that stands in for the program's.
#[derive(Clone, Copy, PartialEq, Eq)]
struct StandIn {
    /// First byte of the program's.
    given: u64,
    /// First byte of ours; rows lie as there.
    ours: u64,
    pitch: usize,
    slice_rows: usize,
    extent: Extent,
    way: Way,
}

struct State {
    all: Vec<StandIn>,
    used: Option<HashMap<Owner, Vec<usize>>>,
    /// Those of graphs that run, and the stream.
    pending: Vec<(usize, Handle)>,
}

/// There are stand-ins.
static ANY: AtomicBool = AtomicBool::new(false);
static STATE: Mutex<State> = Mutex::new(State { all: Vec::new(), used: None, pending: Vec::new() });

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StandIn {
    fn rows(&self, first: u64) -> impl Iterator<Item = u64> {
        Rows { first, pitch: self.pitch, slice_rows: self.slice_rows }.addresses(self.extent)
    }

    /// Copies all rows, from the program's memory or to it.
    fn copy(&self) {
        for (given, ours) in self.rows(self.given).zip(self.rows(self.ours)) {
            let (from, to) = if self.way == Way::In { (given, ours) } else { (ours, given) };
            // SAFETY: the rows that the program's node names are its own as long as the graph may run (CUDA Driver API,
            // cuGraphAddMemcpyNode); ours were made as large.
            unsafe { core::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, self.extent.width) };
        }
    }
}

impl State {
    fn used(&mut self, owner: Owner) -> &mut Vec<usize> {
        self.used.get_or_insert_default().entry(owner).or_default()
    }
}

/// The memory that stands in for rows of the program's in a copy of `owner`: its first byte.
///
/// # Errors
/// `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn stand_in(
    caller: &Caller,
    owner: impl Into<Owner>,
    rows: Rows,
    extent: Extent,
    way: Way,
) -> Result<u64, CUresult> {
    let mut state = lock();
    let like = |known: &StandIn| {
        (known.given, known.pitch, known.slice_rows, known.extent, known.way)
            == (rows.first, rows.pitch, rows.slice_rows, extent, way)
    };
    let place = match state.all.iter().position(like) {
        Some(known) => known,
        None => {
            let last = rows.addresses(extent).last().unwrap_or(rows.first);
            let ours = host_memory::for_library(caller, (last - rows.first) as usize + extent.width)?;
            let Rows { first: given, pitch, slice_rows } = rows;
            state.all.push(StandIn { given, ours, pitch, slice_rows, extent, way });
            state.all.len() - 1
        }
    };
    let used = state.used(owner.into());
    if !used.contains(&place) {
        used.push(place);
    }
    ANY.store(true, Ordering::Release);
    Ok(state.all[place].ours)
}

/// The program's address for an address of ours; any other stays.
#[must_use]
pub fn given(address: u64) -> u64 {
    let state = lock();
    let of = |known: &&StandIn| address.wrapping_sub(known.ours) < known.extent.width as u64;
    state.all.iter().find(of).map_or(address, |known| address - known.ours + known.given)
}

/// What uses a graph's stand-ins uses them too.
pub fn also_of(graph: Handle, other: Handle) {
    if ANY.load(Ordering::Acquire) {
        let mut state = lock();
        let more = state.used(Owner::Graph(graph)).clone();
        state.used(Owner::Graph(other)).extend(more);
    }
}

/// A recording has become a graph.
pub fn recorded(id: u64, graph: Handle) {
    if ANY.load(Ordering::Acquire) {
        let mut state = lock();
        let more = core::mem::take(state.used(Owner::Recording(id)));
        state.used(Owner::Graph(graph)).extend(more);
    }
}

/// A graph is about to run in a stream: it gets what it reads.
pub fn before_launch(exec: Handle, stream: Handle) {
    if !ANY.load(Ordering::Acquire) {
        return;
    }
    let mut state = lock();
    for place in state.used(Owner::Graph(exec)).clone() {
        if state.all[place].way == Way::In {
            state.all[place].copy();
        }
        state.pending.push((place, stream));
    }
}

/// The program has waited: it gets what graphs have written.
pub fn after_wait(caller: &Caller, waited: Waited) {
    if !ANY.load(Ordering::Acquire) {
        return;
    }
    let mut state = lock();
    let State { all, pending, .. } = &mut *state;
    pending.retain(|(place, stream)| {
        if matches!(waited, Waited::Stream(other) if other != *stream) {
            return true;
        }
        if let Some(known) = all.get(*place).filter(|known| known.way == Way::Out) {
            known.copy();
        }
        // An event may come after the graph, or before its end.
        match waited {
            Waited::All | Waited::Stream(_) => false,
            Waited::Event => send::cuStreamQuery(caller, *stream) != 0,
            Waited::InGraph => true,
        }
    });
}

/// A function of the program's has run in a graph: what graphs that run will read may be new.
pub fn refresh() {
    if ANY.load(Ordering::Acquire) {
        let state = lock();
        let running = state.pending.iter().filter_map(|(place, _)| state.all.get(*place));
        running.filter(|known| known.way == Way::In).for_each(StandIn::copy);
    }
}
