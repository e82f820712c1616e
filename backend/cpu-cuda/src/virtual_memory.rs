//! Virtual memory management: reserved addresses, physical memory, and mappings between them.
//!
//! Addresses come from the arena; physical memory is a memory file of its own, whose descriptor is what other processes
//! are given. Kernels may use a mapped range once cuMemSetAccess has opened it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use crate::arena::{Arena, Kind, NOBODY, Reach, bit};
use crate::device;
use crate::driver;
use crate::handle::{Handle, Object, object};
use crate::status::{Answer, Status};
use crate::types::{AllocationProperties, Location};
use crate::work::lock;

/// Sizes, addresses and offsets are multiples of this.
pub const GRANULARITY: u64 = 2 << 20;

/// Physical memory.
pub struct Physical {
    /// Its own handle.
    pub handle: Handle<Physical>,
    /// Bytes.
    pub size: u64,
    /// As the program gave them.
    pub properties: AllocationProperties,
    /// Its device.
    pub device: u8,
    file: OwnedFd,
    /// References by handle: cuMemRetainAllocationHandle adds to them.
    count: Mutex<u32>,
}

object!(Physical, 19, INVALID_VALUE);

/// A mapping of physical memory.
#[derive(Clone)]
pub struct Mapping {
    /// Bytes.
    pub size: u64,
    /// What is mapped there.
    pub physical: Arc<Physical>,
    /// Devices that may read, and those that may also write.
    pub access: [Reach; 2],
}

impl Mapping {
    /// CUmemAccess_flags of a device.
    pub fn access_of(&self, device: u8) -> u32 {
        let [readers, writers] = self.access.map(|all| all & bit(device) != 0);
        if writers { 3 } else { u32::from(readers) }
    }
}

/// Names of memory files, before the number of the device.
const FILE: &str = "cuda-physical-";
/// The length stays.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;

static MAPPINGS: Mutex<BTreeMap<u64, Mapping>> = Mutex::new(BTreeMap::new());

impl Drop for Physical {
    fn drop(&mut self) {
        if let Ok(arena) = driver::arena() {
            arena.discharge(self.device, self.size);
        }
    }
}

fn aligned(values: &[u64]) -> Answer {
    if values.iter().all(|value| value.is_multiple_of(GRANULARITY)) { Ok(()) } else { Err(Status::INVALID_VALUE) }
}

/// cuMemAddressReserve.
pub fn reserve(size: u64, align: u64) -> Answer<u64> {
    aligned(&[size])?;
    if size == 0 || !(align == 0 || align.is_power_of_two()) {
        return Err(Status::INVALID_VALUE);
    }
    driver::arena()?.allocate_aligned(size, align.max(GRANULARITY), Kind::Reserved, NOBODY)
}

/// cuMemAddressFree: the whole reservation, with nothing mapped in it.
pub fn unreserve(address: u64, size: u64) -> Answer {
    if lock(&MAPPINGS).range(address..address.saturating_add(size)).next().is_some() {
        return Err(Status::INVALID_VALUE);
    }
    driver::arena()?.free(address, |found| found.kind == Kind::Reserved && found.size == size).map(drop)
}

/// cuMemCreate.
pub fn create(size: u64, properties: AllocationProperties) -> Answer<Handle<Physical>> {
    aligned(&[size])?;
    if size == 0 {
        return Err(Status::INVALID_VALUE);
    }
    let device = device::number(properties.location.id)?;
    let name = CString::new(format!("{FILE}{device}")).map_err(|_| Status::UNKNOWN)?;
    // SAFETY: the name ends with a zero.
    let file = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if file < 0 {
        return Err(Status::OUT_OF_MEMORY);
    }
    // SAFETY: a fresh descriptor that nothing else owns.
    let file = unsafe { OwnedFd::from_raw_fd(file) };
    let length = libc::off_t::try_from(size).map_err(|_| Status::OUT_OF_MEMORY)?;
    driver::arena()?.charge(device, size)?;
    // Sealed, so that nobody who has it can cut pages off that somebody else has mapped.
    // SAFETY: our own file.
    let sized = unsafe {
        libc::ftruncate(file.as_raw_fd(), length) == 0 && libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) == 0
    };
    if !sized {
        driver::arena()?.discharge(device, size);
        return Err(Status::OUT_OF_MEMORY);
    }
    Ok(Physical::table().insert(|handle| Physical { handle, size, properties, device, file, count: Mutex::new(1) })?.0)
}

/// The device of physical memory, which its file's name ends with; the first where the system does not say.
fn device_of(file: &OwnedFd) -> u8 {
    let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
    let number = name.to_str().and_then(|name| name.split_once(FILE)?.1.split(' ').next()?.parse().ok());
    number.filter(|device| *device < device::count()).unwrap_or(0)
}

/// cuMemImportFromShareableHandle for a file descriptor.
pub fn import(descriptor: i32) -> Answer<Handle<Physical>> {
    // SAFETY: fcntl checks the number.
    let copy = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: a fresh descriptor that nothing else owns.
    let file = unsafe { OwnedFd::from_raw_fd(copy) };
    // SAFETY: plain query of our own descriptor.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    if seals < 0 || seals & SEALS != SEALS {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: zeroes are a valid `stat`; fstat writes it.
    let status = unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        (libc::fstat(file.as_raw_fd(), &mut status) == 0).then_some(status)
    };
    let size = status.and_then(|status| u64::try_from(status.st_size).ok()).ok_or(Status::INVALID_VALUE)?;
    aligned(&[size])?;
    let device = device_of(&file);
    driver::arena()?.charge(device, size)?;
    let location = Location { kind: 1, id: device.into() };
    let properties = AllocationProperties { kind: 1, location, ..AllocationProperties::default() };
    Ok(Physical::table().insert(|handle| Physical { handle, size, properties, device, file, count: Mutex::new(1) })?.0)
}

impl Physical {
    /// cuMemRelease: the memory stays while it is mapped.
    pub fn release(handle: Handle<Physical>) -> Answer {
        let physical = handle.get()?;
        let mut count = lock(&physical.count);
        *count = count.saturating_sub(1);
        if *count == 0 {
            handle.take()?;
        }
        Ok(())
    }

    /// A descriptor of its own for another process.
    pub fn export(&self) -> Answer<i32> {
        // SAFETY: our own descriptor.
        let copy = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
        if copy < 0 { Err(Status::OPERATING_SYSTEM) } else { Ok(copy) }
    }
}

/// Whether the range lies in one reservation.
fn in_reservation(arena: &Arena, address: u64, size: u64) -> Answer {
    let found = arena.find(address).filter(|found| found.kind == Kind::Reserved).ok_or(Status::INVALID_VALUE)?;
    if size > found.size - (address - found.base) { Err(Status::INVALID_VALUE) } else { Ok(()) }
}

/// cuMemMap.
pub fn map(address: u64, size: u64, offset: u64, physical: Handle<Physical>) -> Answer {
    aligned(&[address, size, offset])?;
    let physical = physical.get()?;
    let arena = driver::arena()?;
    let inside = offset.checked_add(size).is_some_and(|end| end <= physical.size);
    if size == 0 || !inside {
        return Err(Status::INVALID_VALUE);
    }
    in_reservation(arena, address, size)?;
    let mut mappings = lock(&MAPPINGS);
    let before = mappings.range(..address + size).next_back();
    if before.is_some_and(|(start, mapping)| start + mapping.size > address) {
        return Err(Status::INVALID_VALUE);
    }
    arena.map_file(address, size, physical.file.as_raw_fd(), offset)?;
    mappings.insert(address, Mapping { size, physical, access: [0; 2] });
    Ok(())
}

/// cuMemUnmap: whole mappings only.
pub fn unmap(address: u64, size: u64) -> Answer {
    let arena = driver::arena()?;
    let mut mappings = lock(&MAPPINGS);
    for start in whole(&mappings, address, size)? {
        if let Some(mapping) = mappings.remove(&start) {
            arena.mark_mapped(start, mapping.size, 0);
            arena.unmap(start, mapping.size)?;
        }
    }
    Ok(())
}

/// The mappings that make up a range exactly.
fn whole(mappings: &BTreeMap<u64, Mapping>, address: u64, size: u64) -> Answer<Vec<u64>> {
    let end = address.checked_add(size).ok_or(Status::INVALID_VALUE)?;
    let mut at = address;
    let mut starts = Vec::new();
    while at < end {
        starts.push(at);
        at += mappings.get(&at).ok_or(Status::INVALID_VALUE)?.size;
    }
    if at == end && !starts.is_empty() { Ok(starts) } else { Err(Status::INVALID_VALUE) }
}

/// cuMemSetAccess for a device. Kernels of a device that may only read are not kept from writing.
pub fn set_access(address: u64, size: u64, device: u8, access: u32) -> Answer {
    let arena = driver::arena()?;
    let mut mappings = lock(&MAPPINGS);
    for start in whole(&mappings, address, size)? {
        if let Some(mapping) = mappings.get_mut(&start) {
            for (all, granted) in mapping.access.iter_mut().zip([access != 0, access == 3]) {
                *all = if granted { *all | bit(device) } else { *all & !bit(device) };
            }
            arena.mark_mapped(start, mapping.size, mapping.access[0]);
        }
    }
    Ok(())
}

/// The mapping that an address lies in.
pub fn find(address: u64) -> Answer<Mapping> {
    let mappings = lock(&MAPPINGS);
    let (start, mapping) = mappings.range(..=address).next_back().ok_or(Status::INVALID_VALUE)?;
    if address - start < mapping.size { Ok(mapping.clone()) } else { Err(Status::INVALID_VALUE) }
}

/// cuMemRetainAllocationHandle.
pub fn retain(address: u64) -> Answer<Handle<Physical>> {
    let physical = find(address)?.physical;
    // A handle that was released is good for no more.
    physical.handle.get()?;
    *lock(&physical.count) += 1;
    Ok(physical.handle)
}
