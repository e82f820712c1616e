//! Physical memory (`cuMemCreate`): it is there as long as it has a handle or is mapped. Some of it is another process's.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;

use super::super::generated::{CUDA_ERROR_OUT_OF_MEMORY, CUmemAllocationProp};
use super::{Counted, counted, session, written};

struct Memory {
    bytes: u64,
    is_foreign: bool,
    handles: usize,
    mapped: usize,
}

/// What there is, by a number of our own, as the driver's may be given anew while it is still mapped.
#[derive(Default)]
pub(super) struct Physical {
    memory: HashMap<u64, Memory>,
    next: u64,
    /// The driver's handles.
    handles: HashMap<u64, u64>,
    /// Addresses at which it is mapped.
    mapped: BTreeMap<u64, u64>,
}

impl Physical {
    /// New memory that has a handle of the driver's.
    fn add(&mut self, handle: *mut c_void, bytes: u64, is_foreign: bool) {
        let number = self.next;
        self.next += 1;
        self.memory.insert(number, Memory { bytes, is_foreign, handles: 1, mapped: 0 });
        self.handles.insert(handle.addr() as u64, number);
    }

    /// The memory that a handle of the driver's stands for, and its number.
    fn of(&mut self, handle: *mut c_void) -> Option<(u64, &mut Memory)> {
        let number = self.handles.get(&(handle.addr() as u64)).copied()?;
        Some((number, self.memory.get_mut(&number)?))
    }

    /// Takes memory out that has neither a handle nor an address any more.
    fn take_ended(&mut self, number: u64) -> Option<Memory> {
        let memory = self.memory.get(&number)?;
        if memory.handles == 0 && memory.mapped == 0 { self.memory.remove(&number) } else { None }
    }
}

impl Counted {
    fn physical_ended(&self, memory: Memory) {
        if memory.is_foreign { self.foreign_ended(memory.bytes) } else { self.refund(memory.bytes) }
    }
}

pub(super) unsafe extern "C" fn create(
    made: *mut *mut c_void,
    bytes: usize,
    prop: *const CUmemAllocationProp,
    flags: u64,
) -> i32 {
    let (counted, charged) = (counted(), bytes as u64);
    if !counted.charge(charged) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    let status = host!(cuMemCreate(made, bytes, prop, flags));
    if status != 0 {
        counted.failed(charged);
        return status;
    }
    counted.made(charged, charged);
    counted.lock().physical.add(written(made), charged, false);
    0
}

/// Counts physical memory of another process, which `call` makes a handle of: it may outlive the one that made it, so it
/// counts here too. What this process has itself counts once.
pub(in super::super) fn import(bytes: u64, made: &mut *mut c_void, call: impl FnOnce(*mut *mut c_void) -> i32) -> i32 {
    let Some(counted) = session() else { return call(made) };
    if !counted.charge(bytes) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    let status = call(made);
    if status != 0 {
        counted.failed(bytes);
        return status;
    }
    let mut table = counted.lock();
    if let Some((_, memory)) = table.physical.of(*made) {
        // The driver has given its handle of that memory once more.
        memory.handles += 1;
        counted.failed(bytes);
        return status;
    }
    counted.foreign_made(bytes);
    table.physical.add(*made, bytes, true);
    status
}

/// Bytes of the physical memory that a handle of the driver's stands for; 0 where nothing is counted.
pub(in super::super) fn physical_bytes(handle: *mut c_void) -> u64 {
    session().and_then(|counted| counted.lock().physical.of(handle).map(|(_, memory)| memory.bytes)).unwrap_or(0)
}

pub(super) unsafe extern "C" fn retain(made: *mut *mut c_void, address: u64) -> i32 {
    let status = host!(cuMemRetainAllocationHandle(made, address));
    if status == 0 {
        let mut table = counted().lock();
        let physical = &mut table.physical;
        let at = physical.mapped.range(..=address).next_back().map(|(_, number)| *number);
        if let Some(number) = at
            && let Some(memory) = physical.memory.get_mut(&number)
        {
            memory.handles += 1;
            physical.handles.insert(written(made).addr() as u64, number);
        }
    }
    status
}

pub(super) unsafe extern "C" fn map(address: u64, bytes: usize, offset: usize, handle: *mut c_void, flags: u64) -> i32 {
    let status = host!(cuMemMap(address, bytes, offset, handle, flags));
    if status == 0 {
        let mut table = counted().lock();
        if let Some((number, memory)) = table.physical.of(handle) {
            memory.mapped += 1;
            table.physical.mapped.insert(address, number);
        }
    }
    status
}

pub(super) unsafe extern "C" fn unmap(address: u64, bytes: usize) -> i32 {
    let status = host!(cuMemUnmap(address, bytes));
    if status == 0 {
        let counted = counted();
        let mut table = counted.lock();
        let physical = &mut table.physical;
        let end = address.saturating_add(bytes as u64);
        let gone: Vec<(u64, u64)> = physical.mapped.range(address..end).map(|(at, number)| (*at, *number)).collect();
        for (at, number) in gone {
            physical.mapped.remove(&at);
            if let Some(memory) = physical.memory.get_mut(&number) {
                memory.mapped -= 1;
            }
            if let Some(memory) = physical.take_ended(number) {
                counted.physical_ended(memory);
            }
        }
    }
    status
}

pub(super) unsafe extern "C" fn release(handle: *mut c_void) -> i32 {
    let status = host!(cuMemRelease(handle));
    if status == 0 {
        let counted = counted();
        let mut table = counted.lock();
        if let Some((number, memory)) = table.physical.of(handle) {
            memory.handles -= 1;
            if memory.handles == 0 {
                table.physical.handles.remove(&(handle.addr() as u64));
            }
            if let Some(memory) = table.physical.take_ended(number) {
                counted.physical_ended(memory);
            }
        }
    }
    status
}
