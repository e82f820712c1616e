//! External memory: physical memory that a process of the guest has exported ([`crate::sharing`]), imported by the API that is made for memory of other
//! drivers. It is virtual memory in other words, and carried by that: the object is the imported physical memory, and each mapped buffer lies in a
//! reservation of its own with the memory mapped in it. Descriptors of anything else name nothing on the device; they are refused as
//! an H200's driver refuses them.
//!
//! External semaphores come from other drivers alone, so that none can be had in a guest: importing one is refused as for a descriptor
//! that is no semaphore, and the calls that take some have none to take.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::context;
use crate::descriptor::{self, MEMORY};
use crate::generated::{CUmemAccessDesc, CUmemLocation, send};
use crate::handles::Handle;
use crate::physical;
use crate::program::{In, Out};
use crate::ranges::{self, Kind, Range};
use crate::sharing;
use crate::status::{
    CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_UNKNOWN,
};
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD`, and the same of a semaphore.
const OPAQUE: u32 = 1;
/// `CU_EXTERNAL_MEMORY_DEDICATED`: only the whole is mapped.
const DEDICATED: u32 = 1;
/// `CU_EXTERNAL_SEMAPHORE_HANDLE_TYPE_TIMELINE_SEMAPHORE_FD`.
const TIMELINE: u32 = 9;
/// Types that need [`DEDICATED`]: Direct3D's resources.
const RESOURCES: core::ops::RangeInclusive<u32> = 5..=7;
/// `CU_MEM_ACCESS_FLAGS_PROT_READWRITE`.
const READ_WRITE: u32 = 3;
/// `CU_MEM_LOCATION_TYPE_DEVICE`.
const DEVICE: u32 = 1;

/// What is imported (`CUDA_EXTERNAL_MEMORY_HANDLE_DESC`): its kind, a union that begins with the descriptor, bytes, flags.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MemoryDescription {
    kind: u32,
    _to_union: u32,
    descriptor: RawFd,
    _of_union: [u32; 3],
    size: u64,
    flags: u32,
    _reserved: [u32; 17],
}

/// A part of it (`CUDA_EXTERNAL_MEMORY_BUFFER_DESC`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BufferDescription {
    offset: u64,
    size: u64,
    flags: u32,
    _reserved: [u32; 17],
}

/// A semaphore (`CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC`): its kind, and a union that begins with the descriptor.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SemaphoreDescription {
    kind: u32,
    _to_union: u32,
    descriptor: RawFd,
}

/// Imported memory, by the handle of the physical memory, which is the object's as well.
#[derive(Clone, Copy)]
struct External {
    handle: Handle,
    size: u64,
    dedicated: bool,
}

/// Addresses that a mapped buffer lies in.
#[derive(Clone, Copy)]
struct Window {
    start: u64,
    bytes: usize,
}

static OBJECTS: Mutex<BTreeMap<u64, External>> = Mutex::new(BTreeMap::new());
/// By the buffers' own addresses.
static WINDOWS: Mutex<BTreeMap<u64, Window>> = Mutex::new(BTreeMap::new());
/// There were some: programs without pay one load a free.
static ANY: AtomicBool = AtomicBool::new(false);

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses what an H200's driver refuses of a description before it looks at the descriptor.
fn check(what: &MemoryDescription) -> Result<(), CUresult> {
    let dedicated = what.flags == DEDICATED;
    match what.kind {
        OPAQUE if what.size != 0 && what.flags & !DEDICATED == 0 => Ok(()),
        kind if RESOURCES.contains(&kind) && dedicated => Err(CUDA_ERROR_NOT_SUPPORTED),
        2..=4 | 8 | 9 => Err(CUDA_ERROR_NOT_SUPPORTED),
        _ => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

fn import(caller: &Caller, what: &MemoryDescription) -> Result<External, CUresult> {
    check(what)?;
    let handle = sharing::import(caller, descriptor::read(what.descriptor, MEMORY).map_err(|_| CUDA_ERROR_UNKNOWN)?)?;
    let dedicated = what.flags & DEDICATED != 0;
    // It goes over to the driver with the import, which closes it at once (seen on an H200).
    // SAFETY: a descriptor of the program's, which has given it up by the API's text.
    unsafe { libc::close(what.descriptor) };
    Ok(External { handle, size: what.size, dedicated })
}

fn find(memory: u64) -> Result<External, CUresult> {
    let unknown = if memory == 0 { CUDA_ERROR_INVALID_VALUE } else { CUDA_ERROR_INVALID_HANDLE };
    lock(&OBJECTS).get(&memory).copied().ok_or(unknown)
}

/// Ends an object. What is mapped of it stays.
fn destroy(caller: &Caller, memory: u64) -> Result<(), CUresult> {
    let External { handle, .. } = find(memory)?;
    lock(&OBJECTS).remove(&memory);
    physical::release(caller, handle)
}

/// Maps physical memory at addresses of its own, for the device of the current context: all of it, since drivers map no parts. It must
/// reach to `end`, also where the import has said more than there is.
fn map(caller: &Caller, of: External, end: u64) -> Result<Window, CUresult> {
    // Where the exporter did not know it, the import says it.
    let whole = match physical::bytes(of.handle) {
        0 => of.size,
        bytes => bytes,
    };
    let bytes = usize::try_from(whole).ok().filter(|_| end <= whole).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let mut start = 0;
    caller::answer(send::cuMemAddressReserve(caller, &mut start, bytes, 0, 0, 0))?;
    let opened = caller::answer(send::cuMemMap(caller, start, bytes, 0, of.handle, 0))
        .and_then(|()| open(caller, start, bytes).inspect_err(|_| ended(send::cuMemUnmap(caller, start, bytes))));
    opened.inspect_err(|_| ended(send::cuMemAddressFree(caller, start, bytes)))?;
    Ok(Window { start, bytes })
}

/// What is undone after a failure, whose answer is the program's: a session that is gone has nothing to undo.
fn ended(_: CUresult) {}

/// Lets the device of the current context read and write mapped memory.
fn open(caller: &Caller, start: u64, bytes: usize) -> Result<(), CUresult> {
    let device = CUmemLocation { kind: DEVICE, id: context::current_context()?.device };
    let access = physical::on_host(CUmemAccessDesc { location: device, flags: READ_WRITE });
    let send = |access: rt::Buffer<'_>| send::cuMemSetAccess(caller, start, bytes, access);
    // SAFETY: the list is the variable above, with its own length.
    caller::answer(unsafe { caller::input(caller, (&raw const access).cast(), size_of_val(&access), send) })
}

/// Ends a mapped buffer; `None` where the address is of none.
pub fn unmap(caller: &Caller, address: u64) -> Option<Result<(), CUresult>> {
    if !ANY.load(Ordering::Relaxed) {
        return None;
    }
    let Window { start, bytes } = lock(&WINDOWS).remove(&address)?;
    ranges::remove(address, &[Kind::Device]);
    // As with any memory that is freed, work that uses it ends first; what that work had to say the next call says.
    let _ = send::cuCtxSynchronize(caller);
    let gone = caller::answer(send::cuMemUnmap(caller, start, bytes));
    Some(gone.and_then(|()| caller::answer(send::cuMemAddressFree(caller, start, bytes))))
}

/// A context ends, and the buffers that were mapped in it.
pub fn end_context(caller: &Caller, context: Handle) {
    if !ANY.load(Ordering::Relaxed) {
        return;
    }
    for range in ranges::of_context(context, &[Kind::Device]) {
        // What cannot be unmapped any more is gone.
        let _ = unmap(caller, range.start);
    }
}

/// The answer to a semaphore's description: there is none that it could name.
fn no_semaphore(what: &SemaphoreDescription) -> CUresult {
    match what.kind {
        OPAQUE => CUDA_ERROR_UNKNOWN,
        TIMELINE if what.descriptor >= 0 => CUDA_ERROR_UNKNOWN,
        2..=8 | 10 => CUDA_ERROR_NOT_SUPPORTED,
        _ => CUDA_ERROR_INVALID_VALUE,
    }
}

/// The answer to a list of semaphores.
fn no_semaphores(list: In<u64>, count: u32) -> Result<(), CUresult> {
    caller::enter_context()?;
    if count == 0 || list.get()? == 0 { Err(CUDA_ERROR_INVALID_VALUE) } else { Err(CUDA_ERROR_INVALID_HANDLE) }
}

crate::export! {
    /// CUDA Driver API, cuImportExternalMemory.
    extern "C" fn cuImportExternalMemory(extMem_out: Out<u64>, memHandleDesc: In<MemoryDescription>) {
        let caller = caller::enter_context()?;
        extMem_out.check()?;
        let made = import(&caller, &memHandleDesc.get()?)?;
        lock(&OBJECTS).insert(made.handle.0, made);
        extMem_out.set(made.handle.0)
    }

    /// CUDA Driver API, cuExternalMemoryGetMappedBuffer.
    extern "C" fn cuExternalMemoryGetMappedBuffer(devPtr: Out<u64>, extMem: u64, bufferDesc: In<BufferDescription>) {
        caller::enter()?;
        devPtr.check()?;
        let (what, of) = (bufferDesc.get()?, find(extMem)?);
        let caller = caller::enter_context()?;
        let inside = what.offset.checked_add(what.size).is_some_and(|end| end <= of.size);
        if what.size == 0 || what.flags != 0 || !inside || of.dedicated && what.offset != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let window = map(&caller, of, what.offset + what.size)?;
        let address = window.start + what.offset;
        lock(&WINDOWS).insert(address, window);
        ANY.store(true, Ordering::Relaxed);
        ranges::insert(Range::new(address, what.size, Kind::Device, 0));
        devPtr.set(address)
    }

    /// CUDA Driver API, cuExternalMemoryGetMappedMipmappedArray: what an export holds has no layout of an array.
    extern "C" fn cuExternalMemoryGetMappedMipmappedArray(mipmap: Out<u64>, extMem: u64, mipmapDesc: In<u64>) {
        caller::enter()?;
        mipmap.check()?;
        mipmapDesc.get()?;
        find(extMem)?;
        Err(crate::counts::unsupported("cuExternalMemoryGetMappedMipmappedArray"))
    }

    /// CUDA Driver API, cuDestroyExternalMemory.
    extern "C" fn cuDestroyExternalMemory(extMem: u64) {
        destroy(&caller::enter()?, extMem)
    }

    /// CUDA Driver API, cuImportExternalSemaphore.
    extern "C" fn cuImportExternalSemaphore(extSem_out: Out<u64>, semHandleDesc: In<SemaphoreDescription>) {
        caller::enter_context()?;
        extSem_out.check()?;
        Err(no_semaphore(&semHandleDesc.get()?))
    }

    /// CUDA Driver API, cuDestroyExternalSemaphore.
    extern "C" fn cuDestroyExternalSemaphore(extSem: u64) {
        caller::enter()?;
        Err(if extSem == 0 { CUDA_ERROR_INVALID_VALUE } else { CUDA_ERROR_INVALID_HANDLE })
    }

    /// CUDA Driver API, cuSignalExternalSemaphoresAsync.
    extern "C" fn cuSignalExternalSemaphoresAsync | extern "C" fn cuSignalExternalSemaphoresAsync_ptsz(
        extSemArray: In<u64>, _paramsArray: *const c_void, numExtSems: u32, _stream: u64,
    ) {
        no_semaphores(extSemArray, numExtSems)
    }

    /// CUDA Driver API, cuWaitExternalSemaphoresAsync.
    extern "C" fn cuWaitExternalSemaphoresAsync | extern "C" fn cuWaitExternalSemaphoresAsync_ptsz(
        extSemArray: In<u64>, _paramsArray: *const c_void, numExtSems: u32, _stream: u64,
    ) {
        no_semaphores(extSemArray, numExtSems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(kind: u32, size: u64, flags: u32) -> MemoryDescription {
        MemoryDescription { kind, _to_union: 0, descriptor: -1, _of_union: [0; 3], size, flags, _reserved: [0; 17] }
    }

    #[test]
    fn descriptions_when_laid_out_then_are_as_long_as_the_api_says() {
        assert_eq!(size_of::<MemoryDescription>(), 104);
        assert_eq!(core::mem::offset_of!(MemoryDescription, descriptor), 8);
        assert_eq!(core::mem::offset_of!(MemoryDescription, size), 24);
        assert_eq!((size_of::<BufferDescription>(), core::mem::offset_of!(SemaphoreDescription, descriptor)), (88, 8));
    }

    #[test]
    fn description_of_memory_when_wrong_then_is_refused_as_by_an_h200() {
        let answers = [
            (1, 4096, 0, 0),
            (1, 4096, 1, 0),
            (1, 0, 0, 1),
            (1, 4096, 2, 1),
            (5, 1, 0, 1),
            (5, 1, 1, 801),
            (9, 1, 0, 801),
        ];
        for (kind, size, flags, status) in answers {
            assert_eq!(check(&description(kind, size, flags)).err().unwrap_or(0), status, "{kind} {size} {flags}");
        }
    }

    #[test]
    fn semaphore_when_described_then_is_refused_as_by_an_h200() {
        for (kind, descriptor, status) in
            [(1, 3, 999), (1, -1, 999), (9, 3, 999), (9, -1, 1), (2, 3, 801), (10, 3, 801), (0, 3, 1)]
        {
            assert_eq!(
                no_semaphore(&SemaphoreDescription { kind, _to_union: 0, descriptor }),
                status,
                "{kind} {descriptor}"
            );
        }
    }
}
