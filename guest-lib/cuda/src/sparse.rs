//! Sparse arrays: tiles of arrays that have no memory of their own get some, and lose it.

use crate::CUresult;
use crate::caller;
use crate::generated::{kind, send};
use crate::handles::{self, Handle};
use crate::program::In;
use crate::status::CUDA_ERROR_INVALID_VALUE;
use crate::stream;

/// `CU_RESOURCE_TYPE_ARRAY`, `CU_RESOURCE_TYPE_MIPMAPPED_ARRAY`.
const ARRAY: u32 = 0;
const MIPMAPPED_ARRAY: u32 = 1;
/// `CU_MEM_OPERATION_TYPE_MAP`, `CU_MEM_OPERATION_TYPE_UNMAP`.
const MAP: u32 = 1;
const UNMAP: u32 = 2;
/// Most tiles in one message.
const AT_ONCE: usize = 256;

/// `CUarrayMapInfo`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ArrayMapInfo {
    resource_type: u32,
    padding: u32,
    resource: u64,
    subresource_type: u32,
    subresource_padding: u32,
    subresource: [u64; 4],
    operation: u32,
    memory_type: u32,
    memory: u64,
    offset: u64,
    devices: u32,
    flags: u32,
    reserved: [u32; 2],
}

const _: () = assert!(size_of::<ArrayMapInfo>() == 96);

impl ArrayMapInfo {
    /// Whether its handles are what they are said to be.
    fn check(&self) -> Result<(), CUresult> {
        match self.resource_type {
            ARRAY => handles::of_kind(kind::CUarray, self.resource)?,
            MIPMAPPED_ARRAY => handles::of_kind(kind::CUmipmappedArray, self.resource)?,
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        };
        match self.operation {
            MAP => handles::of_kind(kind::CUmemGenericAllocationHandle, self.memory).map(|_| ()),
            UNMAP => Ok(()),
            _ => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    /// As the message has it.
    fn write(&self, run: &mut Vec<u8>) {
        for pair in
            [[self.resource_type, 0], [self.resource as u32, (self.resource >> 32) as u32], [self.subresource_type, 0]]
        {
            pair.iter().for_each(|half| run.extend(half.to_le_bytes()));
        }
        self.subresource.iter().for_each(|word| run.extend(word.to_le_bytes()));
        [self.operation, self.memory_type].iter().for_each(|half| run.extend(half.to_le_bytes()));
        let memory = if self.operation == MAP { self.memory } else { 0 };
        [memory, self.offset].iter().for_each(|word| run.extend(word.to_le_bytes()));
        let [first, second] = self.reserved;
        [self.devices, self.flags, first, second].iter().for_each(|half| run.extend(half.to_le_bytes()));
    }
}

fn map(list: In<ArrayMapInfo>, count: u32, stream: Result<Handle, CUresult>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    if count == 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let mut all = Vec::new();
    for place in 0..count as usize {
        let one = list.at(place)?;
        one.check()?;
        one.write(&mut all);
    }
    all.chunks(AT_ONCE * size_of::<ArrayMapInfo>())
        .try_for_each(|part| caller::answer(send::gpuferryMemMapArray(&caller, stream, part)))
}

crate::export! {
    /// CUDA Driver API, cuMemMapArrayAsync.
    extern "C" fn cuMemMapArrayAsync(mapInfoList: In<ArrayMapInfo>, count: u32, hStream: u64) {
        map(mapInfoList, count, stream::resolve(hStream))
    }

    /// CUDA Driver API, cuMemMapArrayAsync with the per-thread default stream.
    extern "C" fn cuMemMapArrayAsync_ptsz(mapInfoList: In<ArrayMapInfo>, count: u32, hStream: u64) {
        map(mapInfoList, count, stream::resolve_per_thread(hStream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tile_when_written_then_lies_as_the_api_has_it() {
        let tile = ArrayMapInfo {
            resource_type: 1,
            padding: 9,
            resource: 0x1_0000_0002,
            subresource_type: 3,
            subresource_padding: 9,
            subresource: [4, 5, 6, 7],
            operation: MAP,
            memory_type: 0,
            memory: 8,
            offset: 10,
            devices: 11,
            flags: 12,
            reserved: [13, 14],
        };
        let mut run = Vec::new();
        tile.write(&mut run);
        let words: Vec<u64> = run.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        assert_eq!(words, [1, 0x1_0000_0002, 3, 4, 5, 6, 7, 1, 8, 10, 11 | 12 << 32, 13 | 14 << 32]);
        assert!(ArrayMapInfo { resource_type: 2, ..tile }.check().is_err() && tile.check().is_err());
    }
}
