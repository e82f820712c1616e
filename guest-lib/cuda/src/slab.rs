//! Small page-locked memory: pieces of slabs that are registered with the device once, so that most allocations and all frees of a
//! piece do not leave the process.
//!
//! A slab belongs to the context in which it was made, and ends with it. A piece is whole pages. Natively freeing waits for the
//! device; here a freed piece *rests*, and is given out again only after a wait for all work of every context that began after the
//! piece was freed. [`alloc`] makes that wait when pieces run short.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::generated::send;
use crate::handles::Handle;
use crate::{capture, context};
use rt::PageLocked;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of a unit: alignment of what CUDA gives.
const UNIT: usize = 4096;
/// Units of a slab.
const UNITS: usize = 512;
/// Largest piece.
pub const MOST_BYTES: usize = UNITS * UNIT / 8;
/// Units that rest from which a wait gives back more than a new slab would cost.
const WORTH_WAITING: usize = UNITS / 2;
/// For every context, and device-mapped.
const PORTABLE_AND_MAPPED: u32 = 3;

/// Which units of a slab are what: one bit each.
type Units = [u64; UNITS / 64];

struct Slab {
    context: Handle,
    memory: PageLocked,
    /// Units given out or resting.
    taken: Units,
    /// Units that rest.
    resting: Units,
}

static SLABS: Mutex<Vec<Slab>> = Mutex::new(Vec::new());

fn slabs() -> MutexGuard<'static, Vec<Slab>> {
    SLABS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first run of `count` units that are not taken.
fn find(taken: &Units, count: usize) -> Option<usize> {
    let (mut start, mut length) = (0, 0);
    let mut at = 0;
    while at < UNITS {
        if at % 64 == 0 && taken[at / 64] == u64::MAX {
            (length, at) = (0, at + 64);
            continue;
        }
        if taken[at / 64] >> (at % 64) & 1 != 0 {
            length = 0;
        } else {
            if length == 0 {
                start = at;
            }
            length += 1;
            if length == count {
                return Some(start);
            }
        }
        at += 1;
    }
    None
}

fn set(units: &mut Units, start: usize, count: usize) {
    for at in start..start + count {
        units[at / 64] |= 1 << (at % 64);
    }
}

fn count(units: &Units) -> usize {
    units.iter().map(|word| word.count_ones() as usize).sum()
}

fn take(slabs: &mut [Slab], context: Handle, units: usize) -> Option<u64> {
    for slab in slabs.iter_mut().filter(|slab| slab.context == context) {
        if let Some(start) = find(&slab.taken, units) {
            set(&mut slab.taken, start, units);
            return Some(slab.memory.address as u64 + (start * UNIT) as u64);
        }
    }
    None
}

/// What rested when the wait began is free after it.
fn wake(slabs: &mut [Slab], context: Handle) {
    for slab in slabs.iter_mut().filter(|slab| slab.context == context) {
        for (taken, resting) in slab.taken.iter_mut().zip(&mut slab.resting) {
            *taken &= !*resting;
            *resting = 0;
        }
    }
}

/// A slab's worth of registered memory.
fn make(caller: &Caller, context: Handle) -> Result<Slab, CUresult> {
    let memory = caller.session.page_locked(UNITS * UNIT).map_err(caller::trouble)?;
    let (address, bytes, lease) = (memory.address as u64, memory.bytes as u64, memory.lease);
    let status = send::gpuferryMemHostRegister(caller, address, bytes, lease, PORTABLE_AND_MAPPED);
    if status != 0 {
        caller.session.release(memory);
        return Err(status);
    }
    Ok(Slab { context, memory, taken: [0; UNITS / 64], resting: [0; UNITS / 64] })
}

/// Page-locked memory of at most [`MOST_BYTES`] in the current context.
///
/// # Errors
/// As for registering memory, at the first piece and where more slabs are needed.
pub fn alloc(caller: &Caller, bytes: usize) -> Result<u64, CUresult> {
    let (context, units) = (context::current(), bytes.div_ceil(UNIT));
    // Held while the device is waited for: who else would take the pieces that the wait frees?
    let mut slabs = slabs();
    if let Some(address) = take(&mut slabs, context, units) {
        return Ok(address);
    }
    let resting: usize = slabs.iter().filter(|slab| slab.context == context).map(|slab| count(&slab.resting)).sum();
    if resting >= WORTH_WAITING && !capture::is_any() && context::synchronize_all(caller) {
        wake(&mut slabs, context);
        if let Some(address) = take(&mut slabs, context, units) {
            return Ok(address);
        }
    }
    slabs.push(make(caller, context)?);
    take(&mut slabs, context, units).ok_or(crate::status::CUDA_ERROR_OUT_OF_MEMORY)
}

/// Frees a piece of `bytes` bytes. Returns false where the address is in no slab.
pub fn free(address: u64, bytes: u64) -> bool {
    let mut slabs = slabs();
    for slab in slabs.iter_mut() {
        let start = slab.memory.address as u64;
        if (start..start + (UNITS * UNIT) as u64).contains(&address) {
            let first = (address - start) as usize / UNIT;
            set(&mut slab.resting, first, (bytes as usize).div_ceil(UNIT));
            return true;
        }
    }
    false
}

/// A context ends, and its slabs.
pub fn end_context(caller: &Caller, context: Handle) {
    let ended: Vec<Slab> = {
        let mut slabs = slabs();
        let (ended, kept) = std::mem::take(&mut *slabs).into_iter().partition(|slab: &Slab| slab.context == context);
        *slabs = kept;
        ended
    };
    for slab in ended {
        // The program ends it all; nobody asks for the answer.
        let _ = send::gpuferryMemHostUnregister(caller, slab.memory.address as u64);
        caller.session.release(slab.memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_when_units_are_taken_then_gives_the_first_run_that_is_free() {
        let mut taken: Units = [0; UNITS / 64];
        assert_eq!(find(&taken, 5), Some(0));
        set(&mut taken, 0, 62);
        assert_eq!(find(&taken, 2), Some(62));
        assert_eq!(find(&taken, 5), Some(62));
        set(&mut taken, 63, 66);
        assert_eq!((find(&taken, 1), find(&taken, 2)), (Some(62), Some(129)));
        set(&mut taken, 129, UNITS - 129);
        assert_eq!((find(&taken, 1), find(&taken, 2)), (Some(62), None));
        assert_eq!(count(&taken), UNITS - 1);
    }
}
