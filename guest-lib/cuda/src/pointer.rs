//! Attributes of addresses, from what the guest knows of them ([`ranges`]); the host is asked about an address that is not known
//! here, such as that of a variable of a module.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::device;
use crate::generated::{PointerFacts, send};
use crate::program::{In, Out};
use crate::ranges::{self, Kind, Range};
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED};
use core::ffi::c_void;

/// `CU_MEMORYTYPE_HOST`.
const HOST: u32 = 1;
/// `CU_MEMORYTYPE_DEVICE`.
const DEVICE: u32 = 2;
/// The device of an address that none knows (`CU_DEVICE_INVALID`).
const NO_DEVICE: u32 = -2i32 as u32;
/// Read and write, among access flags.
const READ_WRITE: u32 = 3;
/// Unit in which the driver maps memory; the mapping around an allocation is made of whole ones.
const MAPPING_BYTES: u64 = 2 << 20;

/// `CUpointer_attribute`.
mod attribute {
    pub const CONTEXT: i32 = 1;
    pub const MEMORY_TYPE: i32 = 2;
    pub const DEVICE_POINTER: i32 = 3;
    pub const HOST_POINTER: i32 = 4;
    pub const SYNC_MEMOPS: i32 = 6;
    pub const BUFFER_ID: i32 = 7;
    pub const IS_MANAGED: i32 = 8;
    pub const DEVICE_ORDINAL: i32 = 9;
    pub const IS_LEGACY_CUDA_IPC_CAPABLE: i32 = 10;
    pub const RANGE_START_ADDR: i32 = 11;
    pub const RANGE_SIZE: i32 = 12;
    pub const MAPPED: i32 = 13;
    pub const ALLOWED_HANDLE_TYPES: i32 = 14;
    pub const IS_GPU_DIRECT_RDMA_CAPABLE: i32 = 15;
    pub const ACCESS_FLAGS: i32 = 16;
    pub const MEMPOOL_HANDLE: i32 = 17;
    pub const MAPPING_SIZE: i32 = 18;
    pub const MAPPING_BASE_ADDR: i32 = 19;
    pub const MEMORY_BLOCK_ID: i32 = 20;
    pub const IS_HW_DECOMPRESS_CAPABLE: i32 = 21;
}

/// A value as wide as its attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Word(u32),
    Long(u64),
    /// The attribute is left as it is.
    Untouched,
}

impl Value {
    fn put(self, to: *mut c_void) -> Result<(), CUresult> {
        match self {
            Value::Word(word) => Out(to.cast()).set(word),
            Value::Long(long) => Out(to.cast()).set(long),
            Value::Untouched => Ok(()),
        }
    }
}

/// The range of an address; from the host where the guest has none.
#[must_use]
pub fn find(caller: &Caller, address: u64) -> Option<Range> {
    let known = ranges::find(address);
    if known.is_some() || address == 0 {
        return known;
    }
    let mut facts = PointerFacts::default();
    let status = send::gpuferryPointerFacts(caller, address, &mut facts);
    // What the host takes for memory of a host is the worker's, which means nothing here.
    if status != 0 || facts.status != 0 || facts.memoryType != DEVICE {
        return None;
    }
    let kind = if facts.isManaged != 0 { Kind::Managed } else { Kind::Device };
    let (start, bytes) = if facts.rangeBytes == 0 { (address, 1) } else { (facts.rangeStart, facts.rangeBytes) };
    Some(Range { id: facts.bufferId, device: facts.deviceOrdinal, ..Range::new(start, bytes, kind, 0) })
}

fn is_managed(range: &Range) -> bool {
    matches!(range.kind, Kind::Managed | Kind::ManagedVariable)
}

/// The same, with the device that it is known by now: what is mapped at reserved addresses, and what pools give, may be any
/// device's.
fn find_on_device(caller: &Caller, address: u64) -> Option<Range> {
    let range = find(caller, address)?;
    if !device::are_several() || !matches!(range.kind, Kind::Reserved | Kind::Pool) {
        return Some(range);
    }
    let mut facts = PointerFacts::default();
    let status = send::gpuferryPointerFacts(caller, address, &mut facts);
    let device = if status == 0 && facts.status == 0 { facts.deviceOrdinal } else { range.device };
    Some(Range { device, ..range })
}

fn value(range: &Range, address: u64, attribute: i32) -> Result<Value, CUresult> {
    use Value::{Long, Word};
    let is_device = matches!(range.kind, Kind::Device | Kind::Variable);
    let block = range.start & !(MAPPING_BYTES - 1);
    Ok(match attribute {
        attribute::CONTEXT if range.kind == Kind::Pool || range.kind == Kind::Reserved => Long(0),
        attribute::CONTEXT => Long(range.context.0),
        attribute::MEMORY_TYPE if matches!(range.kind, Kind::PageLocked | Kind::Registered) => Word(HOST),
        attribute::MEMORY_TYPE => Word(DEVICE),
        attribute::DEVICE_POINTER => Long(address),
        attribute::HOST_POINTER if range.kind.is_host() || is_managed(range) => Long(address),
        attribute::HOST_POINTER => return Err(CUDA_ERROR_INVALID_VALUE),
        attribute::SYNC_MEMOPS => Word(is_managed(range).into()),
        attribute::BUFFER_ID | attribute::MEMORY_BLOCK_ID => Long(range.id),
        attribute::IS_MANAGED => Word(is_managed(range).into()),
        attribute::DEVICE_ORDINAL => Word(range.device as u32),
        attribute::IS_LEGACY_CUDA_IPC_CAPABLE | attribute::IS_HW_DECOMPRESS_CAPABLE => Word(is_device.into()),
        attribute::RANGE_START_ADDR => Long(range.start),
        attribute::RANGE_SIZE => Long(range.bytes),
        attribute::MAPPED => Word(1),
        attribute::ALLOWED_HANDLE_TYPES => Long(0),
        attribute::IS_GPU_DIRECT_RDMA_CAPABLE => {
            let device = device::get(range.device)?;
            Word((is_device && device.attribute(device::attribute::GPU_DIRECT_RDMA) == Ok(1)).into())
        }
        attribute::ACCESS_FLAGS => Word(READ_WRITE),
        attribute::MEMPOOL_HANDLE if range.kind == Kind::Pool => Long(crate::pool::current(range.device)?.0),
        attribute::MEMPOOL_HANDLE => Long(0),
        attribute::MAPPING_BASE_ADDR => Long(block),
        attribute::MAPPING_SIZE => {
            Long((range.start + range.bytes).next_multiple_of(MAPPING_BYTES).saturating_sub(block))
        }
        _ => return Err(CUDA_ERROR_INVALID_VALUE),
    })
}

/// What cuPointerGetAttributes gives where the address has no such attribute.
fn nothing(address: u64, attribute: i32) -> Result<Value, CUresult> {
    use Value::{Long, Untouched, Word};
    Ok(match attribute {
        attribute::HOST_POINTER => Long(address),
        attribute::DEVICE_ORDINAL => Word(NO_DEVICE),
        attribute::RANGE_START_ADDR | attribute::RANGE_SIZE => Untouched,
        attribute::MEMORY_TYPE
        | attribute::SYNC_MEMOPS
        | attribute::IS_MANAGED
        | attribute::IS_LEGACY_CUDA_IPC_CAPABLE
        | attribute::MAPPED
        | attribute::IS_GPU_DIRECT_RDMA_CAPABLE
        | attribute::ACCESS_FLAGS
        | attribute::IS_HW_DECOMPRESS_CAPABLE => Word(0),
        attribute::CONTEXT..=attribute::IS_HW_DECOMPRESS_CAPABLE => Long(0),
        _ => return Err(CUDA_ERROR_INVALID_VALUE),
    })
}

crate::export! {
    /// CUDA Driver API, cuPointerGetAttribute.
    extern "C" fn cuPointerGetAttribute(data: *mut c_void, attribute: i32, ptr: u64) {
        let caller = caller::enter()?;
        if data.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let range = find_on_device(&caller, ptr).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let value = value(&range, ptr, attribute);
        if value.is_err() && attribute == attribute::HOST_POINTER {
            Value::Long(0).put(data)?;
        }
        value?.put(data)
    }

    /// CUDA Driver API, cuPointerGetAttributes: what an address has not is zero, and no error.
    extern "C" fn cuPointerGetAttributes(
        numAttributes: u32, attributes: In<i32>, data: In<*mut c_void>, ptr: u64,
    ) {
        let caller = caller::enter()?;
        if numAttributes == 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let range = find_on_device(&caller, ptr);
        for index in 0..numAttributes as usize {
            let (attribute, to) = (attributes.at(index)?, data.at(index)?);
            let found = match &range {
                Some(_) if attribute == attribute::HOST_POINTER && range.is_some_and(|r| !r.kind.is_host()) => {
                    Ok(Value::Long(0))
                }
                Some(range) => value(range, ptr, attribute),
                None => nothing(ptr, attribute),
            };
            found?.put(to)?;
        }
        Ok(())
    }

    /// CUDA Driver API, cuPointerSetAttribute.
    extern "C" fn cuPointerSetAttribute(value: In<u32>, attribute: i32, ptr: u64) {
        let caller = caller::enter_context()?;
        if attribute != attribute::SYNC_MEMOPS {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let value = value.get()?;
        let Some(range) = ranges::find(ptr) else { return Err(CUDA_ERROR_INVALID_VALUE) };
        if range.kind == Kind::Reserved {
            return Err(CUDA_ERROR_NOT_SUPPORTED);
        }
        caller::answer(send::gpuferryPointerSetAttribute(&caller, value, attribute as u32, ptr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::Handle;

    fn range(kind: Kind) -> Range {
        Range { id: 9, context: Handle::NULL, ..Range::new(0x7f00_0020_0000, 1000, kind, 0) }
    }

    /// Each value was taken from the native driver.
    #[test]
    fn value_when_device_memory_then_is_the_native_one() {
        let (range, address) = (range(Kind::Device), 0x7f00_0020_0008);
        let answer = |attribute| value(&range, address, attribute);
        assert_eq!(answer(2), Ok(Value::Word(2)));
        assert_eq!(answer(3), Ok(Value::Long(address)));
        assert_eq!(answer(4), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(answer(10), Ok(Value::Word(1)));
        assert_eq!((answer(11), answer(12)), (Ok(Value::Long(0x7f00_0020_0000)), Ok(Value::Long(1000))));
        assert_eq!((answer(18), answer(19)), (Ok(Value::Long(0x20_0000)), Ok(Value::Long(0x7f00_0020_0000))));
        assert_eq!(answer(5), Err(CUDA_ERROR_INVALID_VALUE));
    }

    #[test]
    fn value_when_page_locked_then_host_and_device_address_are_one() {
        let range = range(Kind::Registered);
        assert_eq!(value(&range, range.start, 2), Ok(Value::Word(1)));
        assert_eq!(value(&range, range.start, 4), Ok(Value::Long(range.start)));
        assert_eq!(value(&range, range.start, 10), Ok(Value::Word(0)));
    }

    #[test]
    fn nothing_when_the_address_is_unknown_then_is_zero_but_for_its_own_address() {
        assert_eq!(nothing(77, 4), Ok(Value::Long(77)));
        assert_eq!(nothing(77, 9), Ok(Value::Word(0xffff_fffe)));
        assert_eq!(nothing(77, 12), Ok(Value::Untouched));
        assert_eq!(nothing(77, 1), Ok(Value::Long(0)));
        assert_eq!(nothing(77, 22), Err(CUDA_ERROR_INVALID_VALUE));
    }
}
