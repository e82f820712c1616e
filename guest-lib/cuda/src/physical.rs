//! Physical memory and where it is mapped. As natively a handle is one number however often it is given, and counts: who retains
//! that of an address gets the number that the memory has (NCCL releases it twice then). Only the last release leaves the process.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::device;
use crate::generated::{CUmemAccessDesc, CUmemLocation, kind, send};
use crate::handles::{self, Handle};
use crate::program::{In, Out};
use crate::status::CUDA_ERROR_INVALID_VALUE;
use core::ffi::c_void;
use core::sync::atomic::Ordering;
use rt::Buffer;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `CU_MEM_LOCATION_TYPE_DEVICE`.
const DEVICE: u32 = 1;

/// What is mapped: bytes and handle, by first address.
static MAPPED: Mutex<BTreeMap<u64, (u64, Handle)>> = Mutex::new(BTreeMap::new());

/// Bytes of memory that the program made or imported, by handle.
static SIZES: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());

fn sizes() -> MutexGuard<'static, BTreeMap<u64, u64>> {
    SIZES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes how large memory is.
pub fn note(handle: Handle, bytes: u64) {
    sizes().insert(handle.0, bytes);
}

/// Bytes of memory; 0 where they are not known, as of memory whose handle came from an address.
#[must_use]
pub fn bytes(handle: Handle) -> u64 {
    sizes().get(&handle.0).copied().unwrap_or(0)
}

/// One use less of memory; with the last it is given up.
///
/// # Errors
/// Those of the handle and of the host.
pub fn release(caller: &Caller, handle: Handle) -> Result<(), CUresult> {
    let uses = handles::word_of(handle).ok_or(kind::CUmemGenericAllocationHandle.error)?;
    if uses.fetch_update(Ordering::AcqRel, Ordering::Acquire, |uses| uses.checked_sub(1)).is_ok() {
        return Ok(());
    }
    caller::answer(send::cuMemRelease(caller, handle))?;
    sizes().remove(&handle.0);
    handles::free(handle);
    Ok(())
}

fn mapped() -> MutexGuard<'static, BTreeMap<u64, (u64, Handle)>> {
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one use more of the memory that is mapped at an address; its handle, where the program has not released it.
fn retained(address: u64) -> Option<Handle> {
    let mapped = mapped();
    let (start, (bytes, handle)) = mapped.range(..=address).next_back()?;
    // An object's word counts its uses beyond the first.
    let uses = handles::word_of(*handle).filter(|_| address - start < *bytes)?;
    uses.fetch_add(1, Ordering::AcqRel);
    Some(*handle)
}

/// Gives a mapping the number that its memory has by now.
fn renumber(address: u64, handle: Handle) {
    let mut mapped = mapped();
    if let Some((_, (_, known))) = mapped.range_mut(..=address).next_back() {
        *known = handle;
    }
}

/// Most devices in a list of who may access memory.
const MOST_DEVICES: usize = 1024;

/// Sends a list of who may access memory, with the host's numbers of devices.
fn open(
    caller: &Caller,
    list: In<CUmemAccessDesc>,
    count: usize,
    send: impl FnOnce(Buffer<'_>) -> CUresult,
) -> Result<(), CUresult> {
    if count > MOST_DEVICES {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let all: Result<Vec<_>, CUresult> = (0..count).map(|place| Ok(on_host(list.at(place)?))).collect();
    let all = all?;
    // SAFETY: the bytes of the list above.
    caller::answer(unsafe { caller::input(caller, all.as_ptr().cast(), size_of_val(all.as_slice()), send) })
}

/// Who may access memory, by the host's number of the device.
pub(crate) fn on_host(access: CUmemAccessDesc) -> CUmemAccessDesc {
    let CUmemLocation { kind, id } = access.location;
    let id = if kind == DEVICE { device::on_host(id) } else { id };
    CUmemAccessDesc { location: CUmemLocation { kind, id }, ..access }
}

crate::export! {
    /// CUDA Driver API, cuMemSetAccess.
    extern "C" fn cuMemSetAccess(ptr: u64, size: usize, desc: In<CUmemAccessDesc>, count: usize) {
        let caller = caller::enter()?;
        open(&caller, desc, count, |list| send::cuMemSetAccess(&caller, ptr, size, list))
    }

    /// CUDA Driver API, cuMemPoolSetAccess.
    extern "C" fn cuMemPoolSetAccess(pool: u64, map: In<CUmemAccessDesc>, count: usize) {
        let caller = caller::enter()?;
        let pool = handles::of_kind(kind::CUmemoryPool, pool)?;
        open(&caller, map, count, |list| send::cuMemPoolSetAccess(&caller, pool, list))
    }

    /// CUDA Driver API, cuMemMap.
    extern "C" fn cuMemMap(ptr: u64, size: usize, offset: usize, handle: u64, flags: u64) {
        let caller = caller::enter()?;
        let handle = handles::of_kind(kind::CUmemGenericAllocationHandle, handle)?;
        caller::answer(send::cuMemMap(&caller, ptr, size, offset, handle, flags))?;
        mapped().insert(ptr, (size as u64, handle));
        Ok(())
    }

    /// CUDA Driver API, cuMemUnmap: of whole mappings.
    extern "C" fn cuMemUnmap(ptr: u64, size: usize) {
        let caller = caller::enter()?;
        caller::answer(send::cuMemUnmap(&caller, ptr, size))?;
        let end = ptr.saturating_add(size as u64);
        mapped().retain(|address, _| !(ptr..end).contains(address));
        Ok(())
    }

    /// CUDA Driver API, cuMemRetainAllocationHandle.
    extern "C" fn cuMemRetainAllocationHandle(handle: Out<u64>, addr: *mut c_void) {
        let caller = caller::enter()?;
        handle.check()?;
        let address = addr as u64;
        if let Some(known) = retained(address) {
            return handle.set(known.0);
        }
        let made = handles::made(kind::CUmemGenericAllocationHandle, |made| {
            send::cuMemRetainAllocationHandle(&caller, made, address)
        })?;
        renumber(address, made);
        handle.set(made.0)
    }

    /// CUDA Driver API, cuMemRelease.
    extern "C" fn cuMemRelease(handle: u64) {
        let caller = caller::enter()?;
        let handle = handles::of_kind(kind::CUmemGenericAllocationHandle, handle)?;
        release(&caller, handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_when_retained_by_an_address_then_is_the_same_number_until_the_program_has_released_it() {
        let handle = handles::make(kind::CUmemGenericAllocationHandle, Handle::NULL).expect("room");
        mapped().insert(0x5000_0000, (0x1000, handle));
        assert_eq!((retained(0x5000_0fff), retained(0x5000_1000), retained(0x4fff_ffff)), (Some(handle), None, None));
        assert_eq!(handles::word(handle), 1);
        handles::discard(handle);
        assert_eq!(retained(0x5000_0000), None);
        let next = handles::make(kind::CUmemGenericAllocationHandle, Handle::NULL).expect("room");
        renumber(0x5000_0010, next);
        assert_eq!(retained(0x5000_0000), Some(next));
    }
}
