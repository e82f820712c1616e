//! Memory management: device, host and managed allocations, and registered host memory.

use std::sync::Arc;

use crate::arena::{Kind, Owner};
use crate::capture;
use crate::context::{self, Context};
use crate::device;
use crate::driver;
use crate::export::cuda;
use crate::foreign::Out;
use crate::handle::Handle;
use crate::host_memory;
use crate::status::{Answer, Status};
use crate::stream::{self, Stream};
use crate::types::Location;

/// CU_MEMHOSTALLOC_*: portable, device map, write combined.
const HOST_FLAGS: u32 = 7;
/// CU_MEMHOSTREGISTER_*: portable, device map, I/O memory, read only.
const REGISTER_FLAGS: u32 = 15;
const PORTABLE: u32 = 1;
const DEVICE_MAP: u32 = 2;
const IO_MEMORY: u32 = 4;
const REGISTERED_READ_ONLY: u32 = 8;

/// Allocates; when memory is short, first lets frees that are under way in streams happen.
pub fn allocate(context: &Arc<Context>, bytes: u64, kind: Kind) -> Answer<u64> {
    allocate_for(context.owner(), context, bytes, kind)
}

/// The same, for somebody else than the context whose work is waited for.
pub fn allocate_for(owner: Owner, context: &Arc<Context>, bytes: u64, kind: Kind) -> Answer<u64> {
    if bytes == 0 {
        return Err(Status::INVALID_VALUE);
    }
    let arena = driver::arena()?;
    match arena.allocate(bytes, kind, owner) {
        Err(Status::OUT_OF_MEMORY) if !context.all_unfinished().is_empty() => {
            context.synchronize()?;
            arena.allocate(bytes, kind, owner)
        }
        other => other,
    }
}

fn free(address: u64, may: impl FnOnce(Kind) -> bool) -> Answer {
    if address == 0 {
        return Ok(());
    }
    let context = context::usable()?;
    capture::permit()?;
    let arena = driver::arena()?;
    let found = arena.find(address).filter(|found| found.base == address).ok_or(Status::INVALID_VALUE)?;
    if !may(found.kind) {
        return Err(Status::INVALID_VALUE);
    }
    // As the vendor's: work that may use the memory ends first; it may be another context's, of another device.
    context.synchronize()?;
    context::synchronize_others(&context);
    arena.free(address, |allocation| allocation.id == found.id).map(drop)
}

fn host_alloc(out: Out<u64>, bytes: u64, flags: u32) -> Answer {
    out.check()?;
    if flags & !HOST_FLAGS != 0 {
        return Err(Status::INVALID_VALUE);
    }
    let context = context::usable()?;
    capture::permit()?;
    if bytes == 0 {
        return out.set(0);
    }
    // Every allocation is portable and mapped here.
    out.set(allocate(&context, bytes, Kind::Host(flags | DEVICE_MAP))?)
}

fn register(address: u64, bytes: u64, flags: u32) -> Answer {
    let context = context::usable()?;
    capture::permit()?;
    if address == 0 || bytes == 0 || flags & !REGISTER_FLAGS != 0 {
        return Err(Status::INVALID_VALUE);
    }
    if flags & IO_MEMORY != 0 {
        return Err(Status::NOT_SUPPORTED);
    }
    if driver::arena()?.contains(address) {
        return Err(Status::HOST_MEMORY_ALREADY_REGISTERED);
    }
    let protection =
        if flags & REGISTERED_READ_ONLY != 0 { libc::PROT_READ } else { libc::PROT_READ | libc::PROT_WRITE };
    if !is_mapped(address, bytes) || protection == 0 {
        return Err(Status::INVALID_VALUE);
    }
    host_memory::register(address, bytes, flags, context.handle.0)
}

/// Whether every page of the range is mapped.
fn is_mapped(address: u64, bytes: u64) -> bool {
    let start = address & !4095;
    let Some(end) = address.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(4096)) else { return false };
    // SAFETY: MADV_NORMAL changes nothing; the call fails with ENOMEM where pages are not mapped.
    unsafe { libc::madvise(start as *mut libc::c_void, (end - start) as usize, libc::MADV_NORMAL) == 0 }
}

fn host_flags(address: u64) -> Answer<u32> {
    if let Some(found) = driver::arena()?.find(address) {
        let Kind::Host(flags) = found.kind else { return Err(Status::INVALID_VALUE) };
        return Ok(flags);
    }
    let range = host_memory::find(address).ok_or(Status::INVALID_VALUE)?;
    Ok(range.flags & PORTABLE | DEVICE_MAP)
}

fn pitched(out: Out<u64>, pitch: Out<u64>, width: u64, height: u64, element: u32) -> Answer {
    out.check()?;
    pitch.check()?;
    if width == 0 || height == 0 || !matches!(element, 4 | 8 | 16) {
        return Err(Status::INVALID_VALUE);
    }
    let row = width.checked_next_multiple_of(device::PITCH).ok_or(Status::OUT_OF_MEMORY)?;
    let bytes = row.checked_mul(height).ok_or(Status::OUT_OF_MEMORY)?;
    let context = context::usable()?;
    capture::permit()?;
    let address = allocate(&context, bytes, Kind::Device)?;
    pitch.set(row)?;
    out.set(address)
}

/// Refuses what is not managed memory, which alone takes advice.
pub(super) fn advised(address: u64, bytes: u64) -> Answer {
    context::usable()?;
    let found = driver::arena()?.find(address).ok_or(Status::INVALID_VALUE)?;
    let inside = bytes > 0 && bytes <= found.size - (address - found.base);
    let managed = matches!(found.kind, Kind::Managed | Kind::ManagedVariable);
    if inside && managed { Ok(()) } else { Err(Status::INVALID_VALUE) }
}

fn prefetch(address: u64, bytes: u64, stream: Handle<Stream>) -> Answer {
    advised(address, bytes)?;
    // The memory is where it has to be; only the stream is checked.
    stream::resolve(stream)?.context.check()
}

cuda! {
    fn cuMemGetInfo(free: Out<u32>, total: Out<u32>) {
        let device = context::usable()?.device;
        let clipped = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        free.set_if_wanted(clipped(driver::arena()?.free_bytes(device)));
        total.set_if_wanted(clipped(driver::arena()?.capacity()));
        Ok(())
    }

    fn cuMemGetInfo_v2(free: Out<u64>, total: Out<u64>) {
        let device = context::usable()?.device;
        free.set_if_wanted(driver::arena()?.free_bytes(device));
        total.set_if_wanted(driver::arena()?.capacity());
        Ok(())
    }

    fn cuMemAlloc_v2(out: Out<u64>, bytes: u64) {
        out.check()?;
        let context = context::usable()?;
        capture::permit()?;
        out.set(allocate(&context, bytes, Kind::Device)?)
    }

    fn cuMemAllocPitch_v2(out: Out<u64>, pitch: Out<u64>, width: u64, height: u64, element: u32) {
        pitched(out, pitch, width, height, element)
    }

    fn cuMemAllocManaged(out: Out<u64>, bytes: u64, flags: u32) {
        out.check()?;
        if !matches!(flags, 1 | 2) {
            return Err(Status::INVALID_VALUE);
        }
        let context = context::usable()?;
        capture::permit()?;
        out.set(allocate(&context, bytes, Kind::Managed)?)
    }

    fn cuMemFree_v2(address: u64) {
        free(address, |kind| matches!(kind, Kind::Device | Kind::Managed | Kind::Pool(_)))
    }

    fn cuMemGetAddressRange_v2(base: Out<u64>, bytes: Out<u64>, address: u64) {
        context::usable()?;
        let found = driver::arena()?.find(address).ok_or(Status::NOT_FOUND)?;
        base.set_if_wanted(found.base);
        bytes.set_if_wanted(found.size);
        Ok(())
    }

    fn cuMemHostAlloc(out: Out<u64>, bytes: u64, flags: u32) {
        host_alloc(out, bytes, flags)
    }

    fn cuMemAllocHost_v2(out: Out<u64>, bytes: u64) {
        host_alloc(out, bytes, 0)
    }

    fn cuMemAllocHost(out: Out<u64>, bytes: u32) {
        host_alloc(out, u64::from(bytes), 0)
    }

    fn cuMemFreeHost(address: u64) {
        free(address, |kind| matches!(kind, Kind::Host(_)))
    }

    fn cuMemHostGetDevicePointer_v2(out: Out<u64>, address: u64, flags: u32) {
        out.check()?;
        context::usable()?;
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        host_flags(address)?;
        out.set(address)
    }

    fn cuMemHostGetFlags(flags: Out<u32>, address: u64) {
        flags.check()?;
        context::usable()?;
        flags.set(host_flags(address)?)
    }

    fn cuMemHostRegister(address: u64, bytes: u64, flags: u32) {
        register(address, bytes, flags)
    }

    fn cuMemHostRegister_v2(address: u64, bytes: u64, flags: u32) {
        register(address, bytes, flags)
    }

    fn cuMemHostUnregister(address: u64) {
        let context = context::usable()?;
        if address == 0 {
            return Err(Status::INVALID_VALUE);
        }
        // Work that may use the memory ends first.
        context.synchronize()?;
        context::synchronize_others(&context);
        host_memory::unregister(address)
    }

    fn cuMemAdvise(address: u64, bytes: u64, advice: u32, _device: i32) {
        if !(1..=6).contains(&advice) { Err(Status::INVALID_VALUE) } else { advised(address, bytes) }
    }

    fn cuMemAdvise_v2(address: u64, bytes: u64, advice: u32, _location: Location) {
        if !(1..=6).contains(&advice) { Err(Status::INVALID_VALUE) } else { advised(address, bytes) }
    }

    fn cuMemPrefetchAsync | cuMemPrefetchAsync_ptsz (address: u64, bytes: u64, _device: i32, stream: Handle<Stream>) {
        prefetch(address, bytes, stream)
    }

    fn cuMemPrefetchAsync_v2 | cuMemPrefetchAsync_v2_ptsz (
        address: u64, bytes: u64, _location: Location, flags: u32, stream: Handle<Stream>,
    ) {
        if flags != 0 { Err(Status::INVALID_VALUE) } else { prefetch(address, bytes, stream) }
    }
}
