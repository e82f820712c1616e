//! Virtual memory management.

use crate::device;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::handle::Handle;
use crate::status::{Answer, Status};
use crate::types::{Access, AllocationProperties, Location};
use crate::virtual_memory::{self, GRANULARITY, Physical};

/// CU_MEM_ALLOCATION_TYPE_PINNED.
const PINNED: u32 = 1;
/// CU_MEM_LOCATION_TYPE_DEVICE.
const DEVICE: u32 = 1;
/// CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.
const DESCRIPTOR: u32 = 1;

fn checked(properties: In<AllocationProperties>) -> Answer<AllocationProperties> {
    let properties = properties.read()?;
    if properties.kind != PINNED {
        return Err(Status::INVALID_VALUE);
    }
    if properties.location.kind != DEVICE || properties.handle_types & !DESCRIPTOR != 0 {
        return Err(Status::NOT_SUPPORTED);
    }
    device::check(properties.location.id)?;
    Ok(properties)
}

cuda! {
    fn cuMemAddressReserve(out: Out<u64>, size: u64, align: u64, _hint: u64, flags: u64) {
        out.check()?;
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        // A hint may be ignored: programs look at what they get.
        out.set(virtual_memory::reserve(size, align)?)
    }

    fn cuMemAddressFree(address: u64, size: u64) {
        virtual_memory::unreserve(address, size)
    }

    fn cuMemCreate(out: Out<Handle<Physical>>, size: u64, properties: In<AllocationProperties>, flags: u64) {
        out.check()?;
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        out.set(virtual_memory::create(size, checked(properties)?)?)
    }

    fn cuMemRelease(physical: Handle<Physical>) {
        Physical::release(physical)
    }

    fn cuMemMap(address: u64, size: u64, offset: u64, physical: Handle<Physical>, flags: u64) {
        if flags != 0 { Err(Status::INVALID_VALUE) } else { virtual_memory::map(address, size, offset, physical) }
    }

    fn cuMemUnmap(address: u64, size: u64) {
        virtual_memory::unmap(address, size)
    }

    fn cuMemSetAccess(address: u64, size: u64, list: In<Access>, count: u64) {
        let count = usize::try_from(count).ok().filter(|n| (1..=4096).contains(n)).ok_or(Status::INVALID_VALUE)?;
        for access in list.read_all(count)? {
            if access.location.kind != DEVICE || !matches!(access.flags, 0 | 1 | 3) {
                return Err(Status::INVALID_VALUE);
            }
            virtual_memory::set_access(address, size, device::number(access.location.id)?, access.flags)?;
        }
        Ok(())
    }

    fn cuMemGetAccess(flags: Out<u64>, location: In<Location>, address: u64) {
        let location = location.read()?;
        if location.kind != DEVICE {
            return Err(Status::INVALID_VALUE);
        }
        let device = device::number(location.id)?;
        flags.set(u64::from(virtual_memory::find(address)?.access_of(device)))
    }

    fn cuMemGetAllocationGranularity(granularity: Out<u64>, properties: In<AllocationProperties>, option: u32) {
        checked(properties)?;
        if option > 1 { Err(Status::INVALID_VALUE) } else { granularity.set(GRANULARITY) }
    }

    fn cuMemGetAllocationPropertiesFromHandle(properties: Out<AllocationProperties>, physical: Handle<Physical>) {
        properties.set(physical.get()?.properties)
    }

    fn cuMemRetainAllocationHandle(out: Out<Handle<Physical>>, address: u64) {
        out.check()?;
        out.set(virtual_memory::retain(address)?)
    }

    fn cuMemExportToShareableHandle(out: Out<i32>, physical: Handle<Physical>, kind: u32, flags: u64) {
        out.check()?;
        let physical = physical.get()?;
        if kind != DESCRIPTOR || flags != 0 || physical.properties.handle_types & DESCRIPTOR == 0 {
            return Err(Status::INVALID_VALUE);
        }
        out.set(physical.export()?)
    }

    fn cuMemImportFromShareableHandle(out: Out<Handle<Physical>>, handle: u64, kind: u32) {
        out.check()?;
        if kind != DESCRIPTOR {
            return Err(Status::NOT_SUPPORTED);
        }
        // The descriptor's number comes in place of a pointer.
        let descriptor = i32::try_from(handle).map_err(|_| Status::INVALID_VALUE)?;
        out.set(virtual_memory::import(descriptor)?)
    }
}
