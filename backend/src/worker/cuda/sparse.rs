//! Tiles of sparse arrays: a list in the API's layout, whose handles become the driver's objects.

use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::Cuda;
use super::generated::{CUDA_ERROR_INVALID_VALUE, kind};
use crate::worker::answer::{Failure, function, ok};

/// `CUarrayMapInfo`, as words.
const WORDS: usize = 12;
/// Words that hold the kind of array, the array, what is done (with the kind of memory), and the memory.
const RESOURCE_TYPE: usize = 0;
const RESOURCE: usize = 1;
const OPERATION: usize = 7;
const MEMORY: usize = 8;
/// `CU_RESOURCE_TYPE_ARRAY`, `CU_RESOURCE_TYPE_MIPMAPPED_ARRAY`.
const ARRAY: u64 = 0;
const MIPMAPPED_ARRAY: u64 = 1;
/// `CU_MEM_OPERATION_TYPE_MAP` and `CU_MEM_OPERATION_TYPE_UNMAP`, of memory that a handle stands for.
const MAP: u64 = 1;
const UNMAP: u64 = 2;

impl Cuda {
    /// `gpuferryMemMapArray`.
    pub(super) fn gpuferryMemMapArray(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        list: &[u8],
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemMapArrayAsync)?;
        let (words, rest) = list.as_chunks();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (tiles, odd) = words.as_chunks::<WORDS>();
        if tiles.is_empty() || !odd.is_empty() || !rest.is_empty() {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let mut described = Vec::with_capacity(tiles.len());
        for tile in tiles {
            let mut tile = *tile;
            let array = match tile[RESOURCE_TYPE] {
                ARRAY => self.handle(kind::CUarray, Handle(tile[RESOURCE]))?,
                MIPMAPPED_ARRAY => self.handle(kind::CUmipmappedArray, Handle(tile[RESOURCE]))?,
                _ => return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)),
            };
            let memory = match tile[OPERATION] {
                MAP => self.handle(kind::CUmemGenericAllocationHandle, Handle(tile[MEMORY]))?,
                UNMAP => std::ptr::null_mut(),
                _ => return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)),
            };
            if array.is_null() {
                return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
            }
            (tile[RESOURCE], tile[MEMORY]) = (array.expose_provenance() as u64, memory.expose_provenance() as u64);
            described.push(tile);
        }
        // SAFETY: as many descriptions in the API's layout as the call is told; what they name lives.
        ok(unsafe { call(described.as_mut_ptr().cast(), described.len() as u32, stream) })
    }
}
