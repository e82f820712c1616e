//! Unified addressing: what a pointer is, and attributes of managed ranges.

use crate::arena::{Allocation, Kind};
use crate::context::{self, Context};
use crate::driver;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::handle::Handle;
use crate::host_memory;
use crate::status::{Answer, Status};
use crate::virtual_memory;

const CONTEXT: u32 = 1;
const MEMORY_TYPE: u32 = 2;
const DEVICE_POINTER: u32 = 3;
const HOST_POINTER: u32 = 4;
const SYNC_MEMOPS: u32 = 6;
const BUFFER_ID: u32 = 7;
const IS_MANAGED: u32 = 8;
const DEVICE_ORDINAL: u32 = 9;
const IPC_CAPABLE: u32 = 10;
const RANGE_START: u32 = 11;
const RANGE_SIZE: u32 = 12;
const MAPPED: u32 = 13;
const HANDLE_TYPES: u32 = 14;
const RDMA_CAPABLE: u32 = 15;
const ACCESS_FLAGS: u32 = 16;
const POOL: u32 = 17;
const MAPPING_SIZE: u32 = 18;
const MAPPING_BASE: u32 = 19;
const BLOCK_ID: u32 = 20;
const DECOMPRESS_CAPABLE: u32 = 21;

const TYPE_HOST: u32 = 1;
const TYPE_DEVICE: u32 = 2;

/// A range of memory that the driver knows.
struct Known {
    base: u64,
    size: u64,
    context: u64,
    id: u64,
    host: bool,
    managed: bool,
    pool: u64,
    sync_memops: bool,
    shareable: bool,
    device: u8,
}

fn known(address: u64) -> Option<Known> {
    let from_arena = |found: Allocation| Known {
        base: found.base,
        size: found.size,
        context: found.owner.context,
        id: found.id,
        host: matches!(found.kind, Kind::Host(_)),
        managed: matches!(found.kind, Kind::Managed | Kind::ManagedVariable),
        pool: if let Kind::Pool(pool) = found.kind { pool } else { 0 },
        sync_memops: found.sync_memops,
        shareable: found.kind == Kind::Device,
        device: found.owner.device,
    };
    let arena = driver::arena().ok()?;
    if let Some(found) = arena.find(address) {
        if found.kind == Kind::Reserved && !arena.holds(address, 1) {
            return None;
        }
        let mapped = virtual_memory::find(address).ok().filter(|_| found.kind == Kind::Reserved);
        let device = mapped.map_or(found.owner.device, |mapping| mapping.physical.device);
        return Some(Known { device, ..from_arena(found) });
    }
    let range = host_memory::find(address)?;
    let (base, size, context, id) = (range.base, range.size, range.context, range.id);
    let device = Handle::<Context>::from_raw(context).get().map_or(0, |context| context.device);
    Some(Known {
        base,
        size,
        context,
        id,
        host: true,
        managed: false,
        pool: 0,
        sync_memops: false,
        shareable: false,
        device,
    })
}

/// The value of an attribute and its bytes.
fn value(attribute: u32, address: u64, known: &Known) -> Answer<(u64, u8)> {
    Ok(match attribute {
        // Pool memory belongs to no one context.
        CONTEXT => (if known.pool != 0 { 0 } else { known.context }, 8),
        MEMORY_TYPE => (u64::from(if known.host { TYPE_HOST } else { TYPE_DEVICE }), 4),
        DEVICE_POINTER => (address, 8),
        HOST_POINTER if known.host || known.managed => (address, 8),
        HOST_POINTER => return Err(Status::INVALID_VALUE),
        SYNC_MEMOPS => (u64::from(known.sync_memops), 4),
        BUFFER_ID => (known.id, 8),
        IS_MANAGED => (u64::from(known.managed), 4),
        DEVICE_ORDINAL => (u64::from(known.device), 4),
        IPC_CAPABLE => (u64::from(known.shareable), 4),
        RDMA_CAPABLE | DECOMPRESS_CAPABLE => (0, 4),
        RANGE_START | MAPPING_BASE => (known.base, 8),
        RANGE_SIZE | MAPPING_SIZE => (known.size, 8),
        MAPPED => (1, 4),
        HANDLE_TYPES => (0, 8),
        ACCESS_FLAGS => (3, 4),
        POOL if known.pool != 0 => (known.pool, 8),
        POOL => (0, 8),
        BLOCK_ID => (known.id, 8),
        _ => return Err(Status::INVALID_VALUE),
    })
}

fn write(to: Out<u8>, (value, bytes): (u64, u8)) -> Answer {
    if bytes == 8 { Out(to.0.cast::<u64>()).set(value) } else { Out(to.0.cast::<u32>()).set(value as u32) }
}

/// What cuPointerGetAttributes says of a pointer that the driver does not know.
fn unknown(attribute: u32) -> (u64, u8) {
    match attribute {
        DEVICE_ORDINAL => (u64::from(u32::MAX - 1), 4),
        MEMORY_TYPE | SYNC_MEMOPS | IS_MANAGED | IPC_CAPABLE | MAPPED | RDMA_CAPABLE | ACCESS_FLAGS
        | DECOMPRESS_CAPABLE => (0, 4),
        _ => (0, 8),
    }
}

/// One attribute of a managed range: 1 read mostly, 2–8 locations, of which none is ever set.
fn range_value(data: Out<u8>, size: u64, attribute: u32, address: u64, bytes: u64) -> Answer {
    context::usable()?;
    let found = known(address).filter(|found| found.managed).ok_or(Status::INVALID_VALUE)?;
    if bytes == 0
        || bytes > found.size - (address - found.base)
        || !matches!(attribute, 1..=8)
        || size == 0
        || !size.is_multiple_of(4)
    {
        return Err(Status::INVALID_VALUE);
    }
    // CU_DEVICE_INVALID where a device is asked for, CU_MEM_LOCATION_TYPE_INVALID where a type is.
    let word: u32 = if matches!(attribute, 2..=4 | 6 | 8) { (-2i32) as u32 } else { 0 };
    (0..size / 4).try_for_each(|index| Out(data.0.cast::<u32>()).set_at(index as usize, word))
}

cuda! {
    fn cuPointerGetAttribute(data: Out<u8>, attribute: u32, address: u64) {
        data.check()?;
        if address == 0 {
            return Err(Status::INVALID_VALUE);
        }
        let known = known(address).ok_or(Status::INVALID_VALUE)?;
        write(data, value(attribute, address, &known)?)
    }

    fn cuPointerGetAttributes(count: u32, attributes: In<u32>, data: In<u64>, address: u64) {
        let count = count as usize;
        let known = known(address);
        for (attribute, to) in attributes.read_all(count)?.into_iter().zip(data.read_all(count)?) {
            let value = match &known {
                Some(known) => match value(attribute, address, known) {
                    Err(_) if attribute == HOST_POINTER => (0, 8),
                    other => other?,
                },
                None => unknown(attribute),
            };
            write(Out(to as *mut u8), value)?;
        }
        Ok(())
    }

    fn cuPointerSetAttribute(value: In<u32>, attribute: u32, address: u64) {
        let on = value.read()? != 0;
        if attribute != SYNC_MEMOPS {
            return Err(Status::INVALID_VALUE);
        }
        let arena = driver::arena()?;
        let found = arena.find(address).ok_or(Status::INVALID_VALUE)?;
        arena.update(found.base, |allocation| allocation.sync_memops = on)
    }

    fn cuMemRangeGetAttribute(data: Out<u8>, size: u64, attribute: u32, address: u64, bytes: u64) {
        data.check()?;
        range_value(data, size, attribute, address, bytes)
    }

    fn cuMemRangeGetAttributes(data: In<u64>, sizes: In<u64>, attributes: In<u32>, count: u64, address: u64, bytes: u64) {
        let count = usize::try_from(count).ok().filter(|n| *n <= 64).ok_or(Status::INVALID_VALUE)?;
        let all = data.read_all(count)?.into_iter().zip(sizes.read_all(count)?).zip(attributes.read_all(count)?);
        for ((to, size), attribute) in all {
            let to = Out(to as *mut u8);
            to.check()?;
            range_value(to, size, attribute, address, bytes)?;
        }
        Ok(())
    }
}
