//! Device memory: allocated with a waited call, freed with a posted one, and known by address meanwhile.

use crate::CUresult;
use crate::caller;
use crate::capture;
use crate::context;
use crate::external;
use crate::generated::{kind, send};
use crate::handles::{self, Handle};
use crate::program::Out;
use crate::ranges::{self, Kind, Range};
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_FOUND};
use crate::stream;

/// What cuMemFree takes.
const FREEABLE: &[Kind] = &[Kind::Device, Kind::Pool];

fn alloc(dptr: Out<u64>, bytes: usize) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    dptr.check()?;
    capture::check_unsafe()?;
    if bytes == 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let mut address = 0;
    caller::answer(send::cuMemAlloc_v2(&caller, &mut address, bytes))?;
    ranges::insert(Range::new(address, bytes as u64, Kind::Device, 0));
    dptr.set(address)
}

fn free(address: u64) -> Result<(), CUresult> {
    let caller = caller::enter()?;
    capture::check_unsafe()?;
    if address == 0 {
        return context::check_not_destroyed();
    }
    if ranges::find(address).is_some_and(|range| range.kind == Kind::Managed) {
        return crate::host_memory::free_managed(&caller, address);
    }
    if let Some(done) = external::unmap(&caller, address) {
        return done;
    }
    take(address)?;
    caller::answer(send::cuMemFree_v2(&caller, address))?;
    crate::printed::settle(&caller);
    Ok(())
}

/// Takes an allocation out of the ranges. Where a graph allocates, it will do so again.
fn take(address: u64) -> Result<(), CUresult> {
    if ranges::find(address).is_some_and(|range| range.kind == Kind::Graph && range.start == address) {
        return Ok(());
    }
    ranges::remove(address, FREEABLE).map(|_| ()).ok_or(CUDA_ERROR_INVALID_VALUE)
}

fn alloc_async(
    dptr: Out<u64>,
    bytes: usize,
    stream: Result<Handle, CUresult>,
    send: impl FnOnce(&caller::Caller, &mut u64, Handle) -> Result<CUresult, CUresult>,
) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    dptr.check()?;
    let stream = stream?;
    // In a stream that records it becomes a node; in any other it may disturb what records.
    if capture::is_any() && !capture::is_recording(&caller, stream)? {
        capture::check_unsafe()?;
    }
    let mut address = 0;
    caller::answer(send(&caller, &mut address, stream)?)?;
    if bytes != 0 {
        ranges::insert(Range::new(address, bytes as u64, Kind::Pool, 0));
    }
    dptr.set(address)
}

fn free_async(address: u64, stream: Result<Handle, CUresult>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    if address == 0 {
        return Ok(());
    }
    take(address)?;
    caller::answer(send::cuMemFreeAsync(&caller, address, stream))
}

crate::export! {
    /// CUDA Driver API, cuMemAlloc.
    extern "C" fn cuMemAlloc_v2(dptr: Out<u64>, bytesize: usize) {
        alloc(dptr, bytesize)
    }

    /// CUDA Driver API, cuMemAllocPitch.
    extern "C" fn cuMemAllocPitch_v2(
        dptr: Out<u64>, pPitch: Out<usize>, WidthInBytes: usize, Height: usize, ElementSizeBytes: u32,
    ) {
        let caller = caller::enter_context()?;
        dptr.check()?;
        pPitch.check()?;
        capture::check_unsafe()?;
        if WidthInBytes == 0 || Height == 0 || ![4, 8, 16].contains(&ElementSizeBytes) {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let (mut address, mut pitch) = (0, 0);
        let status =
            send::cuMemAllocPitch_v2(&caller, &mut address, &mut pitch, WidthInBytes, Height, ElementSizeBytes);
        caller::answer(status)?;
        let bytes = (pitch as u64).saturating_mul(Height as u64);
        ranges::insert(Range::new(address, bytes, Kind::Device, 0));
        pPitch.set(pitch)?;
        dptr.set(address)
    }

    /// CUDA Driver API, cuMemFree: what is no allocation's first address is refused at once.
    extern "C" fn cuMemFree_v2(dptr: u64) {
        free(dptr)
    }

    /// CUDA Driver API, cuMemGetAddressRange.
    extern "C" fn cuMemGetAddressRange_v2(pbase: Out<u64>, psize: Out<usize>, dptr: u64) {
        if pbase.0.is_null() && psize.0.is_null() {
            return Ok(());
        }
        let caller = caller::enter_context()?;
        let (start, bytes) = match ranges::find(dptr).filter(|range| range.kind != Kind::Reserved) {
            Some(range) => (range.start, range.bytes as usize),
            None => {
                let (mut start, mut bytes) = (0, 0);
                match send::cuMemGetAddressRange_v2(&caller, &mut start, &mut bytes, dptr) {
                    CUDA_ERROR_INVALID_VALUE => Err(CUDA_ERROR_NOT_FOUND),
                    status => caller::answer(status),
                }?;
                (start, bytes)
            }
        };
        pbase.set_if_wanted(start);
        psize.set_if_wanted(bytes);
        Ok(())
    }

    /// CUDA Driver API, cuMemAllocAsync.
    extern "C" fn cuMemAllocAsync(dptr: Out<u64>, bytesize: usize, hStream: u64) {
        alloc_async(dptr, bytesize, stream::resolve(hStream), |caller, address, stream| {
            Ok(send::cuMemAllocAsync(caller, address, bytesize, stream))
        })
    }

    /// CUDA Driver API, cuMemAllocAsync with the per-thread default stream.
    extern "C" fn cuMemAllocAsync_ptsz(dptr: Out<u64>, bytesize: usize, hStream: u64) {
        alloc_async(dptr, bytesize, stream::resolve_per_thread(hStream), |caller, address, stream| {
            Ok(send::cuMemAllocAsync(caller, address, bytesize, stream))
        })
    }

    /// CUDA Driver API, cuMemAllocFromPoolAsync.
    extern "C" fn cuMemAllocFromPoolAsync(dptr: Out<u64>, bytesize: usize, pool: u64, hStream: u64) {
        let pool = handles::of_kind(kind::CUmemoryPool, pool);
        alloc_async(dptr, bytesize, stream::resolve(hStream), |caller, address, stream| {
            Ok(send::cuMemAllocFromPoolAsync(caller, address, bytesize, pool?, stream))
        })
    }

    /// CUDA Driver API, cuMemAllocFromPoolAsync with the per-thread default stream.
    extern "C" fn cuMemAllocFromPoolAsync_ptsz(dptr: Out<u64>, bytesize: usize, pool: u64, hStream: u64) {
        let pool = handles::of_kind(kind::CUmemoryPool, pool);
        alloc_async(dptr, bytesize, stream::resolve_per_thread(hStream), |caller, address, stream| {
            Ok(send::cuMemAllocFromPoolAsync(caller, address, bytesize, pool?, stream))
        })
    }

    /// CUDA Driver API, cuMemFreeAsync.
    extern "C" fn cuMemFreeAsync(dptr: u64, hStream: u64) {
        free_async(dptr, stream::resolve(hStream))
    }

    /// CUDA Driver API, cuMemFreeAsync with the per-thread default stream.
    extern "C" fn cuMemFreeAsync_ptsz(dptr: u64, hStream: u64) {
        free_async(dptr, stream::resolve_per_thread(hStream))
    }

    /// CUDA Driver API, cuMemAddressReserve.
    extern "C" fn cuMemAddressReserve(ptr: Out<u64>, size: usize, alignment: usize, addr: u64, flags: u64) {
        let caller = caller::enter()?;
        ptr.check()?;
        let mut address = 0;
        caller::answer(send::cuMemAddressReserve(&caller, &mut address, size, alignment, addr, flags))?;
        ranges::insert(Range::new(address, size as u64, Kind::Reserved, 0));
        ptr.set(address)
    }

    /// CUDA Driver API, cuMemAddressFree.
    extern "C" fn cuMemAddressFree(ptr: u64, size: usize) {
        let caller = caller::enter()?;
        caller::answer(send::cuMemAddressFree(&caller, ptr, size))?;
        ranges::remove(ptr, &[Kind::Reserved]);
        Ok(())
    }
}
