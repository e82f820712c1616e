//! Memory that this process and the worker both map at one address: bulk data passes through it, and mapped buffers lie in it.
//!
//! Small chunks are cut out of slabs that stay; a large one has a mapping of its own, and a few of those are kept for the next.

use crate::caller::{self, Caller};
use crate::cl_int;
use crate::generated::send;
use crate::pending;
use rt::PageLocked;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Smallest chunk.
const SMALLEST: usize = 4096;
/// Largest chunk that is cut out of a slab.
const LARGEST_CUT: usize = 1 << 20;
/// Bytes of a slab.
const SLAB: usize = 4 << 20;
/// Most bytes of large chunks that are kept although nobody uses them: fresh memory costs more than a copy through it.
const KEPT: usize = 256 << 20;
/// Bytes in use from which on each taker looks whether some are free again.
const CROWDED: usize = 64 << 20;
/// Bytes in use from which on a large transfer waits for some to be free again.
const UNDER_WAY: usize = 32 << 20;
/// How long a taker that can wait does so while nothing is given back: what is under way may wait for the program itself.
const PATIENCE: Duration = Duration::from_millis(5);

/// A piece of the shared memory; free again when it is dropped.
pub struct Chunk {
    /// First byte, here and there.
    pub address: *mut u8,
    bytes: usize,
    /// Whether it counts as in use.
    counts: bool,
}

// SAFETY: a piece of memory that its holder alone uses.
unsafe impl Send for Chunk {}
// SAFETY: as above; nothing is reached through a shared reference but the address.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// The program sees it, for as long as it likes: nobody waits for it to be given back.
    pub fn stay(&mut self) {
        if std::mem::take(&mut self.counts)
            && let Some(pool) = pool().as_mut()
        {
            pool.in_use -= self.bytes;
        }
    }
}

#[derive(Default)]
struct Pool {
    /// Free chunks of slabs, by size.
    free: BTreeMap<usize, Vec<usize>>,
    /// Large mappings, by address.
    large: BTreeMap<usize, PageLocked>,
    /// Those that are free, with their sizes; what was used last comes last.
    spare: VecDeque<(usize, usize)>,
    /// Bytes of these.
    kept: usize,
    /// Bytes of chunks through which data is under way.
    in_use: usize,
    /// How often a chunk was given back, and how many threads wait for that.
    given: u64,
    waiting: usize,
}

static POOL: Mutex<Option<Pool>> = Mutex::new(None);
static GIVEN: Condvar = Condvar::new();

fn pool() -> MutexGuard<'static, Option<Pool>> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The size of the chunk for so many bytes.
fn class(bytes: usize) -> usize {
    if bytes <= LARGEST_CUT {
        return bytes.max(SMALLEST).next_power_of_two();
    }
    let step = (bytes.next_power_of_two() / 8).max(LARGEST_CUT);
    bytes.next_multiple_of(step)
}

/// Takes at least `bytes` bytes.
///
/// # Errors
/// `CL_OUT_OF_HOST_MEMORY` and what else lending memory may answer.
pub fn take(caller: &Caller, bytes: usize) -> Result<Chunk, cl_int> {
    let size = class(bytes);
    let is_crowded = pool().as_ref().is_some_and(|pool| pool.in_use > CROWDED);
    if is_crowded {
        pending::settle(caller);
    }
    if let Some(address) = take_free(size) {
        return Ok(Chunk { address: address as *mut u8, bytes: size, counts: true });
    }
    let whole = if size <= LARGEST_CUT { SLAB } else { size };
    let made = match map(caller, whole) {
        Ok(made) => made,
        Err(_) => {
            // Perhaps what is kept stands in the way.
            shrink(caller, 0);
            map(caller, whole)?
        }
    };
    let start = made.address as usize;
    let mut pool = pool();
    let pool = pool.get_or_insert_default();
    pool.in_use += size;
    if size <= LARGEST_CUT {
        // The slab stays for as long as the process: a description of memory ends without it.
        pool.free.entry(size).or_default().extend((1..SLAB / size).map(|at| start + at * size));
    } else {
        pool.large.insert(start, made);
    }
    Ok(Chunk { address: start as *mut u8, bytes: size, counts: true })
}

/// As [`take`], for one of the parts of a large transfer: where much is in use it waits for some to be given back, as long as that
/// goes on. `patient` says that the transfer has not waited in vain.
///
/// # Errors
/// As [`take`].
pub fn take_part(caller: &Caller, bytes: usize, patient: &mut bool) -> Result<Chunk, cl_int> {
    if *patient {
        pending::settle(caller);
        *patient = is_given_back();
    }
    take(caller, bytes)
}

/// Waits until not much is in use; false where nothing is given back.
fn is_given_back() -> bool {
    let mut all = pool();
    while let Some(pool) = all.as_mut().filter(|pool| pool.in_use >= UNDER_WAY) {
        let before = pool.given;
        pool.waiting += 1;
        all = GIVEN.wait_timeout(all, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        let Some(pool) = all.as_mut() else { return false };
        pool.waiting -= 1;
        if pool.given == before {
            return false;
        }
    }
    true
}

fn take_free(size: usize) -> Option<usize> {
    let mut pool = pool();
    let pool = pool.get_or_insert_default();
    let address = if size > LARGEST_CUT {
        let at = pool.spare.iter().rposition(|(_, bytes)| *bytes == size)?;
        let (address, _) = pool.spare.remove(at)?;
        pool.kept -= size;
        address
    } else {
        pool.free.get_mut(&size)?.pop()?
    };
    pool.in_use += size;
    Some(address)
}

fn map(caller: &Caller, bytes: usize) -> Result<PageLocked, cl_int> {
    let memory = caller.session.page_locked(bytes).map_err(caller::trouble)?;
    let status = send::gpuferryShare(caller, memory.lease, memory.address as u64, bytes as u64);
    if status != 0 {
        caller.session.release(memory);
        return Err(status);
    }
    Ok(memory)
}

/// Gives large chunks back, those that were not used for longest first, until at most `most` bytes of them are kept.
fn shrink(caller: &Caller, most: usize) {
    let mut ended = Vec::new();
    {
        let mut pool = pool();
        let Some(pool) = pool.as_mut() else { return };
        while pool.kept > most
            && let Some((address, size)) = pool.spare.pop_front()
        {
            pool.kept -= size;
            ended.extend(pool.large.remove(&address));
        }
    }
    for memory in ended {
        let _ = send::gpuferryUnshare(caller, memory.address as u64);
        caller.session.release(memory);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let is_too_much = {
            let mut pool = pool();
            let Some(pool) = pool.as_mut() else { return };
            pool.in_use -= if self.counts { self.bytes } else { 0 };
            if self.bytes > LARGEST_CUT {
                pool.spare.push_back((self.address as usize, self.bytes));
                pool.kept += self.bytes;
            } else {
                pool.free.entry(self.bytes).or_default().push(self.address as usize);
            }
            pool.given += 1;
            if pool.waiting != 0 {
                GIVEN.notify_all();
            }
            pool.kept > KEPT
        };
        if is_too_much && let Ok(caller) = caller::enter() {
            shrink(&caller, KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_when_asked_then_is_never_smaller_and_seldom_much_larger() {
        for bytes in [0, 1, 4096, 4097, LARGEST_CUT, LARGEST_CUT + 1, 3 << 20, (64 << 20) + 1, 1 << 30] {
            let size = class(bytes);
            assert!(size >= bytes && size.is_multiple_of(SMALLEST), "{bytes}");
            assert!(bytes <= LARGEST_CUT || size <= bytes + bytes / 4 + LARGEST_CUT, "{bytes} takes {size}");
            assert_eq!(class(size), size);
        }
    }
}
