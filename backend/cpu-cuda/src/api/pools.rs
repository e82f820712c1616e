//! Stream-ordered memory and its pools.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::memory::allocate_for;
use crate::arena::{Kind, Owner, bit};
use crate::capture;
use crate::device;
use crate::driver;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::graph::{GraphMemory, Payload};
use crate::handle::Handle;
use crate::memory_pool::{self, Pool};
use crate::op::Op;
use crate::status::{Answer, Status};
use crate::stream::{self, Stream};
use crate::types::{Access, AllocNode, Location, PoolProperties};
use crate::work::lock;

const RELEASE_THRESHOLD: u32 = 4;
const RESERVED_CURRENT: u32 = 5;
const RESERVED_HIGH: u32 = 6;
const USED_CURRENT: u32 = 7;
const USED_HIGH: u32 = 8;
/// CU_MEM_LOCATION_TYPE_DEVICE.
const LOCATION_DEVICE: u32 = 1;
/// CU_MEM_ALLOCATION_TYPE_PINNED.
const ALLOCATION_PINNED: u32 = 1;
const READ_WRITE: u32 = 3;

fn alloc(out: Out<u64>, bytes: u64, pool: Handle<Pool>, stream: Handle<Stream>) -> Answer {
    out.check()?;
    let stream = stream::resolve(stream)?;
    stream.context.check()?;
    if bytes == 0 {
        return Err(Status::INVALID_VALUE);
    }
    let mut captured = None;
    let taken = capture::take_node(&stream, || {
        let memory = GraphMemory::create(bytes, stream.context.owner())?;
        captured = Some(memory.0);
        Ok(Payload::Alloc(AllocNode { bytes, address: memory.0, ..AllocNode::default() }, memory))
    })?;
    if let Some(address) = captured.filter(|_| taken) {
        return out.set(address);
    }
    capture::permit()?;
    let from = pool.get()?;
    from.admit(bytes)?;
    let owner = Owner { device: from.device, ..stream.context.owner() };
    out.set(allocate_for(owner, &stream.context, bytes, Kind::Pool(pool.0))?)
}

fn device_location(location: In<Location>) -> Answer<u8> {
    let location = location.read()?;
    if location.kind != LOCATION_DEVICE {
        return Err(Status::NOT_SUPPORTED);
    }
    device::number(location.id)
}

fn attribute(pool: &Arc<Pool>, number: u32) -> Answer<u64> {
    Ok(match number {
        1..=RELEASE_THRESHOLD => lock(&pool.settings)[number as usize - 1],
        RESERVED_CURRENT | USED_CURRENT => pool.used()?,
        RESERVED_HIGH | USED_HIGH => pool.high.load(Ordering::Relaxed),
        _ => return Err(Status::INVALID_VALUE),
    })
}

cuda! {
    fn cuMemAllocAsync | cuMemAllocAsync_ptsz (out: Out<u64>, bytes: u64, stream: Handle<Stream>) {
        let device = stream::resolve(stream)?.context.device;
        alloc(out, bytes, memory_pool::current_pool(device)?, stream)
    }

    fn cuMemAllocFromPoolAsync | cuMemAllocFromPoolAsync_ptsz (
        out: Out<u64>, bytes: u64, pool: Handle<Pool>, stream: Handle<Stream>,
    ) {
        alloc(out, bytes, pool, stream)
    }

    fn cuMemFreeAsync | cuMemFreeAsync_ptsz (address: u64, stream: Handle<Stream>) {
        let stream = stream::resolve(stream)?;
        stream.context.check()?;
        let found = driver::arena()?.find(address).filter(|found| found.base == address);
        match found.map(|found| found.kind) {
            Some(Kind::Pool(_) | Kind::Device | Kind::Managed) => stream.submit(Op::Free(address)),
            _ => Err(Status::INVALID_VALUE),
        }
    }

    fn cuMemPoolCreate(out: Out<Handle<Pool>>, properties: In<PoolProperties>) {
        out.check()?;
        let properties = properties.read()?;
        if properties.kind != ALLOCATION_PINNED || properties.handle_types != 0 {
            return Err(if properties.handle_types != 0 { Status::NOT_SUPPORTED } else { Status::INVALID_VALUE });
        }
        if properties.location.kind != LOCATION_DEVICE {
            return Err(Status::NOT_SUPPORTED);
        }
        out.set(Pool::create(device::number(properties.location.id)?, properties.most, false)?)
    }

    fn cuMemPoolDestroy(pool: Handle<Pool>) {
        if pool.get()?.default {
            return Err(Status::INVALID_VALUE);
        }
        pool.take().map(drop)
    }

    fn cuMemPoolTrimTo(pool: Handle<Pool>, _keep: u64) {
        pool.get()?;
        capture::permit()
    }

    fn cuMemPoolGetAttribute(pool: Handle<Pool>, number: u32, value: Out<u8>) {
        value.check()?;
        let found = attribute(&pool.get()?, number)?;
        if number < RELEASE_THRESHOLD { Out(value.0.cast::<u32>()).set(found as u32) } else { Out(value.0.cast::<u64>()).set(found) }
    }

    fn cuMemPoolSetAttribute(pool: Handle<Pool>, number: u32, value: In<u8>) {
        let pool = pool.get()?;
        match number {
            1..=3 => lock(&pool.settings)[number as usize - 1] = u64::from(In(value.0.cast::<u32>()).read()?),
            RELEASE_THRESHOLD => lock(&pool.settings)[3] = In(value.0.cast::<u64>()).read()?,
            RESERVED_HIGH | USED_HIGH if In(value.0.cast::<u64>()).read()? == 0 => pool.high.store(pool.used()?, Ordering::Relaxed),
            _ => return Err(Status::INVALID_VALUE),
        }
        Ok(())
    }

    fn cuMemPoolSetAccess(pool: Handle<Pool>, list: In<Access>, count: u64) {
        let own = pool.get()?.device;
        let count = usize::try_from(count).ok().filter(|n| *n <= 4096).ok_or(Status::INVALID_VALUE)?;
        let arena = driver::arena()?;
        let mut peers = arena.pool_peers(pool.0);
        for access in list.read_all(count)? {
            if access.location.kind != LOCATION_DEVICE {
                return Err(Status::INVALID_VALUE);
            }
            let device = device::number(access.location.id)?;
            match access.flags {
                READ_WRITE => peers |= bit(device),
                // A device's access to its own pool cannot be taken away.
                0 if device != own => peers &= !bit(device),
                _ => return Err(Status::INVALID_VALUE),
            }
        }
        arena.set_pool_peers(pool.0, peers);
        Ok(())
    }

    fn cuMemPoolGetAccess(flags: Out<u32>, pool: Handle<Pool>, location: In<Location>) {
        let own = pool.get()?.device;
        let device = device_location(location)?;
        let is_open = device == own || driver::arena()?.pool_peers(pool.0) & bit(device) != 0;
        flags.set(if is_open { READ_WRITE } else { 0 })
    }

    fn cuDeviceGetDefaultMemPool(out: Out<Handle<Pool>>, device: i32) {
        out.set(memory_pool::default_pool(device::number(device)?)?)
    }

    fn cuDeviceGetMemPool(out: Out<Handle<Pool>>, device: i32) {
        out.set(memory_pool::current_pool(device::number(device)?)?)
    }

    fn cuDeviceSetMemPool(device: i32, pool: Handle<Pool>) {
        memory_pool::set_current_pool(device::number(device)?, pool)
    }

    fn cuMemGetDefaultMemPool(out: Out<Handle<Pool>>, location: In<Location>, _kind: u32) {
        out.set(memory_pool::default_pool(device_location(location)?)?)
    }

    fn cuMemGetMemPool(out: Out<Handle<Pool>>, location: In<Location>, _kind: u32) {
        out.set(memory_pool::current_pool(device_location(location)?)?)
    }

    fn cuMemSetMemPool(location: In<Location>, _kind: u32, pool: Handle<Pool>) {
        memory_pool::set_current_pool(device_location(location)?, pool)
    }

    fn cuDeviceGraphMemTrim(device: i32) {
        device::check(device)
    }

    fn cuDeviceGetGraphMemAttribute(device: i32, number: u32, value: Out<u64>) {
        device::check(device)?;
        if number > 3 { Err(Status::INVALID_VALUE) } else { value.set(0) }
    }

    fn cuDeviceSetGraphMemAttribute(device: i32, number: u32, value: In<u64>) {
        device::check(device)?;
        value.read()?;
        if matches!(number, 1 | 3) { Ok(()) } else { Err(Status::INVALID_VALUE) }
    }
}
