//! Page-locked memory: guest memory that the worker maps at the same address and registers with the device, so that an address
//! means the same on the device and in the program, and copies go straight to it. Small memory comes out of slabs ([`slab`]); larger
//! that is freed is kept for a while ([`spare`]).

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::generated::{PointerFacts, send};
use crate::handles::Handle;
use crate::program::{In, Out};
use crate::ranges::{self, Kind, Range};
use crate::slab;
use crate::spare::{self, Sort};
use crate::status::{
    CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, CUDA_ERROR_INVALID_VALUE,
};
use crate::{capture, context};
use core::ffi::c_void;
use rt::{LendError, PageLocked};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Flags of cuMemHostAlloc: portable, device-mapped, write-combined.
const ALLOC_FLAGS: u32 = 7;
/// Flags of cuMemHostRegister: portable, device-mapped, I/O memory, read-only.
const REGISTER_FLAGS: u32 = 15;
/// `CU_MEM_ATTACH_GLOBAL`.
const MANAGED_GLOBAL: u32 = 1;
/// `CU_MEM_ATTACH_HOST`.
const MANAGED_HOST: u32 = 2;
/// `CU_MEMHOSTREGISTER_IOMEMORY`.
const IO_MEMORY: u32 = 4;
/// Device-mapped: with unified addressing all page-locked memory is.
const MAPPED: u32 = 2;

/// The memory with its leases, by first address.
static MEMORY: Mutex<BTreeMap<u64, PageLocked>> = Mutex::new(BTreeMap::new());

fn add(caller: &Caller, memory: PageLocked, kind: Kind, flags: u32) -> Result<u64, CUresult> {
    let (address, bytes) = (memory.address as u64, memory.bytes as u64);
    let flags = flags | MAPPED;
    let status = send::gpuferryMemHostRegister(caller, address, bytes, memory.lease, flags);
    if status != 0 {
        caller.session.release(memory);
        return Err(status);
    }
    Ok(enter(memory, kind, flags))
}

/// Takes note of memory that the device has registered; its address.
fn enter(memory: PageLocked, kind: Kind, flags: u32) -> u64 {
    let (address, bytes) = (memory.address as u64, memory.bytes as u64);
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner).insert(address, memory);
    ranges::insert(Range::new(address, bytes, kind, flags));
    address
}

/// Makes page-locked memory of a kind.
fn make(caller: &Caller, bytes: usize, kind: Kind, flags: u32) -> Result<u64, CUresult> {
    capture::check_unsafe()?;
    let memory = caller.session.page_locked(bytes).map_err(caller::trouble)?;
    add(caller, memory, kind, flags)
}

/// Frees managed memory, for cuMemFree.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` where it is none.
pub fn free_managed(caller: &Caller, address: u64) -> Result<(), CUresult> {
    end(caller, address, Kind::Managed, CUDA_ERROR_INVALID_VALUE)
}

/// Takes memory away again. The message comes before the end of the lease, which waits for the worker to let go. Where the driver
/// keeps the memory registered, the device may still reach it: everything stays as it was.
fn end(caller: &Caller, address: u64, kind: Kind, missing: CUresult) -> Result<(), CUresult> {
    let range = ranges::remove(address, &[kind]).ok_or(missing)?;
    if kind == Kind::PageLocked && slab::free(address, range.bytes) {
        return Ok(());
    }
    let memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner).remove(&address).ok_or(missing)?;
    let may_keep = kind == Kind::PageLocked && range.context == context::current() && !capture::is_any();
    let memory = if may_keep {
        let sort = Sort { context: range.context, flags: range.flags, bytes: memory.bytes };
        match spare::keep(caller, sort, memory) {
            Ok(()) => return Ok(()),
            Err(memory) => memory,
        }
    } else {
        memory
    };
    let status = send::gpuferryMemHostUnregister(caller, address);
    if status != 0 && is_registered(caller, address) {
        MEMORY.lock().unwrap_or_else(PoisonError::into_inner).insert(address, memory);
        ranges::insert(range);
        return Err(status);
    }
    caller.session.release(memory);
    caller::answer(status)
}

/// Whether the host knows the address: a status alone may be that of earlier work.
fn is_registered(caller: &Caller, address: u64) -> bool {
    let mut facts = PointerFacts::default();
    send::gpuferryPointerFacts(caller, address, &mut facts) == 0 && facts.status == 0
}

/// A context ends, and the page-locked memory that was made in it.
pub fn end_context(caller: &Caller, context: Handle) {
    for range in ranges::of_context(context, &[Kind::PageLocked, Kind::Registered, Kind::Managed]) {
        // The program ends it all; nobody asks for the answer.
        let _ = end(caller, range.start, range.kind, CUDA_ERROR_INVALID_VALUE);
    }
    spare::end_context(caller, context);
    slab::end_context(caller, context);
}

fn alloc(pp: Out<u64>, bytes: usize, flags: u32) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    pp.check()?;
    if flags & !ALLOC_FLAGS != 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    if bytes == 0 {
        return pp.set(0);
    }
    capture::check_unsafe()?;
    if bytes > slab::MOST_BYTES {
        let flags = flags | MAPPED;
        if let Some(memory) = spare::take(Sort { context: context::current(), flags, bytes }) {
            return pp.set(enter(memory, Kind::PageLocked, flags));
        }
        return pp.set(make(&caller, bytes, Kind::PageLocked, flags)?);
    }
    let address = slab::alloc(&caller, bytes)?;
    ranges::insert(Range::new(address, bytes as u64, Kind::PageLocked, flags | MAPPED));
    pp.set(address)
}

fn register(address: *mut u8, bytes: usize, flags: u32) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    if address.is_null() || bytes == 0 || flags & !REGISTER_FLAGS != 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    if flags & IO_MEMORY != 0 {
        return Err(crate::counts::unsupported("cuMemHostRegister of I/O memory"));
    }
    capture::check_unsafe()?;
    if ranges::overlaps(address as u64, bytes as u64) {
        return Err(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    }
    // SAFETY: the program lends its memory until cuMemHostUnregister (CUDA Driver API, cuMemHostRegister).
    let memory = unsafe { caller.session.register(address, bytes) }.map_err(|error| match error {
        // Memory of a kind that this way to the host cannot lend, such as a file's.
        LendError::BadRange => crate::counts::unsupported("cuMemHostRegister of this kind of memory"),
        other => caller::trouble(other),
    })?;
    add(&caller, memory, Kind::Registered, flags).map(|_| ())
}

/// Page-locked memory of the library's own.
///
/// # Errors
/// `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn for_library(caller: &Caller, bytes: usize) -> Result<u64, CUresult> {
    let memory = caller.session.page_locked(bytes).map_err(caller::trouble)?;
    add(caller, memory, Kind::PageLocked, 0)
}

/// What a hint about managed memory answers: nothing is moved, since program and device share the memory.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for other memory.
pub fn hint(address: u64, bytes: usize) -> Result<(), CUresult> {
    caller::enter_context()?;
    let is_managed = |range: &Range| matches!(range.kind, Kind::Managed | Kind::ManagedVariable);
    let range = ranges::find(address).filter(is_managed).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    if bytes as u64 > range.bytes - (address - range.start) { Err(CUDA_ERROR_INVALID_VALUE) } else { Ok(()) }
}

/// Writes an attribute of a managed range (`CUmem_range_attribute`), in words of 32 bits.
fn range_attribute(data: *mut i32, bytes: usize, attribute: u32) -> Result<(), CUresult> {
    /// Read mostly, and the types of locations: none.
    const NONE: i32 = 0;
    /// `CU_DEVICE_INVALID`: places.
    const NOWHERE: i32 = -2;
    let value = match attribute {
        1 | 5 | 7 => NONE,
        2..=4 | 6 | 8 => NOWHERE,
        _ => return Err(CUDA_ERROR_INVALID_VALUE),
    };
    // Only the devices that access the range are a list.
    if bytes == 0 || !bytes.is_multiple_of(4) || (bytes != 4 && attribute != 3) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    (0..bytes / 4).try_for_each(|place| Out(data).at(place).set(value))
}

/// The page-locked range that an address is in.
fn find(address: *const c_void) -> Result<Range, CUresult> {
    let range = ranges::find(address as u64).filter(|range| matches!(range.kind, Kind::PageLocked | Kind::Registered));
    range.ok_or(CUDA_ERROR_INVALID_VALUE)
}

crate::export! {
    /// CUDA Driver API, cuMemHostAlloc.
    extern "C" fn cuMemHostAlloc(pp: Out<u64>, bytesize: usize, Flags: u32) {
        alloc(pp, bytesize, Flags)
    }

    /// CUDA Driver API, cuMemAllocHost.
    extern "C" fn cuMemAllocHost_v2(pp: Out<u64>, bytesize: usize) {
        alloc(pp, bytesize, 0)
    }

    /// CUDA Driver API, cuMemFreeHost.
    extern "C" fn cuMemFreeHost(p: *mut c_void) {
        let caller = caller::enter()?;
        if p.is_null() {
            return context::check_not_destroyed();
        }
        capture::check_unsafe()?;
        end(&caller, p as u64, Kind::PageLocked, CUDA_ERROR_INVALID_VALUE)
    }

    /// CUDA Driver API, cuMemHostRegister.
    extern "C" fn cuMemHostRegister_v2 | extern "C" fn cuMemHostRegister(p: *mut c_void, bytesize: usize, Flags: u32) {
        register(p.cast(), bytesize, Flags)
    }

    /// CUDA Driver API, cuMemHostUnregister.
    extern "C" fn cuMemHostUnregister(p: *mut c_void) {
        context::check_not_destroyed()?;
        if p.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let caller = caller::enter_context()?;
        // Memory that is page-locked otherwise, or an address inside, is another mistake than memory that is not at all.
        let missing =
            if find(p).is_ok() { CUDA_ERROR_INVALID_VALUE } else { CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED };
        end(&caller, p as u64, Kind::Registered, missing)
    }

    /// CUDA Driver API, cuMemHostGetDevicePointer.
    extern "C" fn cuMemHostGetDevicePointer_v2(pdptr: Out<u64>, p: *mut c_void, Flags: u32) {
        caller::enter_context()?;
        pdptr.check()?;
        if Flags != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        find(p)?;
        pdptr.set(p as u64)
    }

    /// CUDA Driver API, cuMemHostGetFlags.
    extern "C" fn cuMemHostGetFlags(pFlags: Out<u32>, p: *mut c_void) {
        caller::enter_context()?;
        pFlags.check()?;
        pFlags.set(find(p)?.flags)
    }

    /// CUDA Driver API, cuMemAllocManaged: memory that program and device share, in the guest; it does not move to the device.
    extern "C" fn cuMemAllocManaged(dptr: Out<u64>, bytesize: usize, flags: u32) {
        let caller = caller::enter_context()?;
        dptr.check()?;
        if bytesize == 0 || ![MANAGED_GLOBAL, MANAGED_HOST].contains(&flags) {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        dptr.set(make(&caller, bytesize, Kind::Managed, 0)?)
    }

    /// CUDA Driver API, cuMemPrefetchAsync.
    extern "C" fn cuMemPrefetchAsync | extern "C" fn cuMemPrefetchAsync_ptsz(
        devPtr: u64, count: usize, _dstDevice: i32, _hStream: u64,
    ) {
        hint(devPtr, count)
    }

    /// CUDA Driver API, cuMemPrefetchAsync as of 12.2.
    extern "C" fn cuMemPrefetchAsync_v2 | extern "C" fn cuMemPrefetchAsync_v2_ptsz(
        devPtr: u64, count: usize, _location: u64, _flags: u32, _hStream: u64,
    ) {
        hint(devPtr, count)
    }

    /// CUDA Driver API, cuMemAdvise.
    extern "C" fn cuMemAdvise(devPtr: u64, count: usize, _advice: u32, _device: i32) {
        hint(devPtr, count)
    }

    /// CUDA Driver API, cuMemAdvise as of 12.2.
    extern "C" fn cuMemAdvise_v2(devPtr: u64, count: usize, _advice: u32, _location: u64) {
        hint(devPtr, count)
    }

    /// CUDA Driver API, cuMemRangeGetAttribute: hints change nothing here, so every attribute is as if none had been given.
    extern "C" fn cuMemRangeGetAttribute(
        data: *mut c_void, dataSize: usize, attribute: u32, devPtr: u64, count: usize,
    ) {
        hint(devPtr, count)?;
        range_attribute(data.cast(), dataSize, attribute)
    }

    /// CUDA Driver API, cuMemRangeGetAttributes.
    extern "C" fn cuMemRangeGetAttributes(
        data: In<*mut c_void>, dataSizes: In<usize>, attributes: In<u32>, numAttributes: usize, devPtr: u64, count: usize,
    ) {
        hint(devPtr, count)?;
        for place in 0..numAttributes {
            range_attribute(data.at(place)?.cast(), dataSizes.at(place)?, attributes.at(place)?)?;
        }
        Ok(())
    }

    /// CUDA Driver API, cuStreamAttachMemAsync.
    extern "C" fn cuStreamAttachMemAsync | extern "C" fn cuStreamAttachMemAsync_ptsz(
        _hStream: u64, dptr: u64, length: usize, _flags: u32,
    ) {
        hint(dptr, length)
    }
}
