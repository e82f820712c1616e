//! Handles: the numbers that stand for CUDA's objects, made here and mapped by the worker (`spec/wire/src/handle.rs`).
//!
//! A table per kind holds, for each index, the generation in use, the context the object dies with, a word and a pointer for what
//! the guest knows of the object. Checking a handle is two loads. Making and ending one takes the table's lock, for the free list.
//!
//! What the pointer leads to is never given back to the allocator: a thread may still be looking at the facts of a function that
//! another one unloads. It is small, and one a load of a module.

use crate::CUresult;
use crate::generated::{Kind, kind};
use crate::status::{CUDA_ERROR_CONTEXT_IS_DESTROYED, CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_OUT_OF_MEMORY};
use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
pub use wire::handle::Handle;
use wire::handle::MAX_INDEX;

/// Entries in one block of a table.
const BLOCK: u32 = 1024;
/// Bit of `Entry::state` beside the generation: the handle is in use.
const LIVE: u32 = 1 << 16;
/// Indices that wait in the free list before one is used again, so that a generation lasts.
const REST: usize = 64;
/// Highest kind number that any table exists for.
const KINDS: usize = 64;

struct Entry {
    /// Generation, and [`LIVE`].
    state: AtomicU32,
    /// Index of the context it dies with, plus 1; 0 for none.
    owner: AtomicU32,
    /// Small facts, by kind.
    word: AtomicU64,
    /// Larger facts, by kind; null for none.
    facts: AtomicPtr<()>,
}

struct Block {
    entries: [Entry; BLOCK as usize],
}

struct Free {
    next: u32,
    resting: VecDeque<u32>,
}

struct Table {
    blocks: [AtomicPtr<Block>; (MAX_INDEX / BLOCK) as usize],
    free: Mutex<Free>,
}

impl Table {
    const fn new() -> Table {
        Table {
            blocks: [const { AtomicPtr::new(core::ptr::null_mut()) }; (MAX_INDEX / BLOCK) as usize],
            free: Mutex::new(Free { next: 0, resting: VecDeque::new() }),
        }
    }

    #[inline]
    fn entry(&self, index: u32) -> Option<&'static Entry> {
        let block = self.blocks.get((index / BLOCK) as usize)?.load(Ordering::Acquire);
        // SAFETY: a block is published once, fully made, and never freed.
        let block: &'static Block = unsafe { block.as_ref()? };
        block.entries.get((index % BLOCK) as usize)
    }

    /// Under the lock of `free`.
    fn make_block(&self, index: u32) {
        let fresh = Entry {
            state: AtomicU32::new(0),
            owner: AtomicU32::new(0),
            word: AtomicU64::new(0),
            facts: AtomicPtr::new(core::ptr::null_mut()),
        };
        let mut entries = Vec::with_capacity(BLOCK as usize);
        entries.push(fresh);
        entries.resize_with(BLOCK as usize, || Entry {
            state: AtomicU32::new(0),
            owner: AtomicU32::new(0),
            word: AtomicU64::new(0),
            facts: AtomicPtr::new(core::ptr::null_mut()),
        });
        let Ok(entries) = <Box<[Entry; BLOCK as usize]>>::try_from(entries.into_boxed_slice()) else { return };
        let block = Box::into_raw(entries).cast::<Block>();
        if let Some(place) = self.blocks.get((index / BLOCK) as usize) {
            place.store(block, Ordering::Release);
        }
    }
}

static TABLES: [Table; KINDS] = [const { Table::new() }; KINDS];

fn table(kind: u8) -> Option<&'static Table> {
    TABLES.get(usize::from(kind))
}

#[inline]
fn entry(handle: Handle) -> Option<&'static Entry> {
    let entry = table(handle.kind()?)?.entry(handle.index())?;
    let live = LIVE | u32::from(handle.generation());
    (entry.state.load(Ordering::Acquire) == live).then_some(entry)
}

/// Makes a handle that dies with context `owner` (null: with the process). The object is the worker's to make.
///
/// # Errors
/// `CUDA_ERROR_OUT_OF_MEMORY` at [`MAX_INDEX`] objects of the kind.
pub fn make(kind: Kind, owner: Handle) -> Result<Handle, CUresult> {
    let table = table(kind.number).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
    let mut free = table.free.lock().unwrap_or_else(PoisonError::into_inner);
    let index = match free.resting.pop_front() {
        Some(index) if free.resting.len() >= REST || free.next >= MAX_INDEX => index,
        rested => {
            if let Some(index) = rested {
                free.resting.push_front(index);
            }
            if free.next >= MAX_INDEX {
                return Err(CUDA_ERROR_OUT_OF_MEMORY);
            }
            let index = free.next;
            if index % BLOCK == 0 {
                table.make_block(index);
            }
            free.next += 1;
            index
        }
    };
    let entry = table.entry(index).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
    let generation = (entry.state.load(Ordering::Relaxed) as u16).wrapping_add(1).max(1);
    let owner = if owner.is_null() { 0 } else { owner.index() + 1 };
    entry.owner.store(owner, Ordering::Relaxed);
    entry.word.store(0, Ordering::Relaxed);
    entry.facts.store(core::ptr::null_mut(), Ordering::Relaxed);
    entry.state.store(LIVE | u32::from(generation), Ordering::Release);
    Ok(Handle::new(kind.number, generation, index))
}

/// Makes a handle for the calling thread: of its current context, for kinds that end with one.
///
/// # Errors
/// As [`make`].
pub fn new(kind: Kind) -> Result<Handle, CUresult> {
    make(kind, if kind.in_context { crate::context::current() } else { Handle::NULL })
}

/// A handle for what the host makes while it is waited for; `send` asks for it. Where that fails the number is free again.
///
/// # Errors
/// As [`new`], and the host's answer.
pub fn made(kind: Kind, send: impl FnOnce(Handle) -> CUresult) -> Result<Handle, CUresult> {
    let handle = new(kind)?;
    match send(handle) {
        0 => Ok(handle),
        status => {
            discard(handle);
            Err(status)
        }
    }
}

/// Ends a handle: every later use of the number is refused, and its index may be used again; the worker must have let it go
/// before. Does nothing for a number that is no live handle.
pub fn discard(handle: Handle) {
    if abandon(handle)
        && let Some(table) = handle.kind().and_then(table)
    {
        table.free.lock().unwrap_or_else(PoisonError::into_inner).resting.push_back(handle.index());
    }
}

/// Ends a handle whose index the worker may still have in use: it is never used again. Returns whether it was live.
pub fn abandon(handle: Handle) -> bool {
    let Some(entry) = entry(handle) else { return false };
    let live = LIVE | u32::from(handle.generation());
    entry.state.compare_exchange(live, live & !LIVE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Ends a handle that a call has freed, and those of what was in the object.
pub fn free(handle: Handle) {
    crate::module::unloaded(handle);
    discard(handle);
}

/// Ends every handle that dies with `context`. Functions and modules may be a library's for the worker, whose indices rest until
/// that is unloaded: theirs are not used again.
pub fn discard_owned(context: Handle) {
    for (kind, table) in TABLES.iter().enumerate().filter(|(kind, _)| *kind != usize::from(kind::CUcontext.number)) {
        let next = table.free.lock().unwrap_or_else(PoisonError::into_inner).next;
        for index in 0..next {
            let Some(entry) = table.entry(index) else { continue };
            let state = entry.state.load(Ordering::Acquire);
            if state & LIVE != 0 && entry.owner.load(Ordering::Relaxed) == context.index() + 1 {
                let handle = Handle::new(kind as u8, state as u16, index);
                if [kind::CUfunction.number, kind::CUmodule.number].contains(&(kind as u8)) {
                    abandon(handle);
                } else {
                    discard(handle);
                }
            }
        }
    }
}

/// The handle that the program's number is; numbers up to the kind's `plain_up_to` mean themselves.
///
/// # Errors
/// The kind's own code where it is no live handle of that kind.
#[inline]
pub fn of_kind(kind: Kind, raw: u64) -> Result<Handle, CUresult> {
    let handle = Handle(raw);
    if handle.kind() == Some(kind.number) && entry(handle).is_some() {
        return Ok(handle);
    }
    match kind.plain_up_to {
        Some(most) if raw <= most => Ok(handle),
        _ => Err(refused(kind, handle)),
    }
}

/// What a number answers that is no object. Of streams and events that have ended a GPU's driver knows that they were there
/// (an H200's answers: tests/errors).
#[cold]
fn refused(kind: Kind, handle: Handle) -> CUresult {
    match kind.number {
        number if number == kind::CUstream.number && was_there(kind, handle.0) => CUDA_ERROR_INVALID_CONTEXT,
        number if number == kind::CUevent.number && was_there(kind, handle.0) => CUDA_ERROR_CONTEXT_IS_DESTROYED,
        _ => kind.error,
    }
}

/// Whether a number that is no live handle of the kind was one.
#[must_use]
pub fn was_there(kind: Kind, raw: u64) -> bool {
    let handle = Handle(raw);
    // The generation of an entry that nobody has is that of its last handle, or 0.
    let last = |entry: &Entry| entry.state.load(Ordering::Acquire) & !LIVE;
    let entry =
        table(kind.number).filter(|_| handle.kind() == Some(kind.number)).and_then(|table| table.entry(handle.index()));
    entry.is_some_and(|entry| (1..=last(entry)).contains(&u32::from(handle.generation())))
}

/// [`of_kind`] for printed exports. A stream is never the number of the per-thread stream: that one is a real stream of the
/// calling thread's.
///
/// # Errors
/// As [`of_kind`], and as for making the per-thread stream.
#[inline]
pub fn check(kind: Kind, raw: *mut c_void) -> Result<Handle, CUresult> {
    if kind.number == kind::CUstream.number { crate::stream::resolve(raw as u64) } else { of_kind(kind, raw as u64) }
}

/// [`check`] for exports whose null stream is the calling thread's own.
///
/// # Errors
/// As [`check`].
#[inline]
pub fn per_thread(kind: Kind, raw: *mut c_void) -> Result<Handle, CUresult> {
    if kind.number == kind::CUstream.number { crate::stream::resolve_per_thread(raw as u64) } else { check(kind, raw) }
}

/// Whether the handle is in use.
#[must_use]
pub fn is_live(handle: Handle) -> bool {
    entry(handle).is_some()
}

/// The small facts of an object; 0 for none.
#[must_use]
pub fn word(handle: Handle) -> u64 {
    entry(handle).map_or(0, |entry| entry.word.load(Ordering::Relaxed))
}

/// The small facts of an object, where they change while others look.
#[inline]
#[must_use]
pub fn word_of(handle: Handle) -> Option<&'static AtomicU64> {
    entry(handle).map(|entry| &entry.word)
}

/// Sets the small facts of an object.
pub fn set_word(handle: Handle, word: u64) {
    if let Some(entry) = entry(handle) {
        entry.word.store(word, Ordering::Relaxed);
    }
}

/// The context that the object dies with; null for none.
#[must_use]
pub fn owner(handle: Handle) -> Handle {
    let index = entry(handle).map_or(0, |entry| entry.owner.load(Ordering::Relaxed));
    let Some(index) = index.checked_sub(1) else { return Handle::NULL };
    let state = table(kind::CUcontext.number)
        .and_then(|table| table.entry(index))
        .map_or(0, |e| e.state.load(Ordering::Acquire));
    if state & LIVE == 0 { Handle::NULL } else { Handle::new(kind::CUcontext.number, state as u16, index) }
}

/// A kind of facts that the guest keeps of an object; each belongs to one kind of handle and to no other type.
///
/// # Safety
/// No two types may claim the same kind.
pub unsafe trait Facts: Send + Sync + 'static {
    /// Kind of the handles that have these facts.
    const KIND: Kind;
}

/// The facts of an object, where they were set.
#[inline]
#[must_use]
pub fn facts<T: Facts>(handle: Handle) -> Option<&'static T> {
    if handle.kind() != Some(T::KIND.number) {
        return None;
    }
    // SAFETY: only `set_facts::<T>` stores into entries of this kind, a leaked box of T; it is never freed.
    unsafe { entry(handle)?.facts.load(Ordering::Acquire).cast::<T>().as_ref() }
}

/// Sets the facts of an object, once; where another thread was first, its facts stay and are returned.
pub fn set_facts<T: Facts>(handle: Handle, facts: T) -> Option<&'static T> {
    let place = entry(handle).filter(|_| handle.kind() == Some(T::KIND.number))?;
    let fresh = Box::into_raw(Box::new(facts));
    let kept =
        match place.facts.compare_exchange(core::ptr::null_mut(), fresh.cast(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => fresh,
            Err(first) => {
                // SAFETY: `fresh` came from a box just now and was given to nobody.
                drop(unsafe { Box::from_raw(fresh) });
                first.cast()
            }
        };
    // SAFETY: as in `facts`.
    unsafe { kept.as_ref() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Kind = kind::CUevent;

    #[test]
    fn check_when_discarded_then_refuses_and_never_confuses_generations() {
        let first = make(EVENT, Handle::NULL).expect("room");
        assert_eq!(of_kind(EVENT, first.0), Ok(first));
        assert_eq!(of_kind(kind::CUmodule, first.0), Err(kind::CUmodule.error));
        discard(first);
        assert!(of_kind(EVENT, first.0).is_err());
        discard(first);
        let mut seen = std::collections::HashSet::new();
        // Under Miri each takes a second.
        for _ in 0..if cfg!(miri) { 20 } else { 1000 } {
            let handle = make(EVENT, Handle::NULL).expect("room");
            assert!(seen.insert(handle));
            discard(handle);
        }
    }

    #[test]
    fn check_when_wild_then_refuses() {
        for raw in [1, 2, u64::MAX, 0x7fff_0000_1000, Handle::new(EVENT.number, 7, MAX_INDEX - 1).0] {
            assert!(of_kind(EVENT, raw).is_err(), "{raw:#x}");
        }
    }

    #[test]
    fn discard_owned_when_a_context_ends_then_ends_its_objects_alone() {
        let context = make(kind::CUcontext, Handle::NULL).expect("room");
        let (mine, other) = (make(EVENT, context).expect("room"), make(EVENT, Handle::NULL).expect("room"));
        assert_eq!(owner(mine), context);
        discard_owned(context);
        assert!(!is_live(mine) && is_live(other) && is_live(context));
    }
}
