//! Textures, surfaces and tensor maps. Kernels know them by the driver's own numbers, so these travel as they are; the worker
//! knows which ones it gave out.

use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::generated::{
    CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, CUDA_RESOURCE_VIEW_DESC, CUDA_TEXTURE_DESC, CUtensorMap,
    Resource, TensorColumns, TensorTiles, kind,
};
use super::{Cuda, lock};
use crate::worker::answer::{Failure, function, ok};

/// `CUresourcetype`.
const ARRAY: u32 = 0;
const MIPMAPPED_ARRAY: u32 = 1;
const LINEAR: u32 = 2;
const PITCH_2D: u32 = 3;

/// Largest rank of a tensor map.
const MAX_RANK: u32 = 5;

/// A tensor map as the driver wants it to lie.
#[repr(C, align(128))]
struct AlignedMap([u64; 16]);

/// `CUDA_RESOURCE_DESC`: its union is 128 bytes, `int reserved[32]`.
#[repr(C)]
struct Description {
    kind: u32,
    padding: u32,
    words: [u64; 16],
    flags: u32,
    tail: u32,
}

const _: () = assert!(size_of::<Description>() == 144);

impl Cuda {
    /// `gpuferryTexObjectCreate`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gpuferryTexObjectCreate(
        &self,
        _from: &FrameHeader,
        object: &mut u64,
        resource: &Resource,
        array: Handle,
        texture: &CUDA_TEXTURE_DESC,
        view: &CUDA_RESOURCE_VIEW_DESC,
        viewed: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuTexObjectCreate)?;
        let description = self.description(resource, array)?;
        let view = if viewed == 0 { std::ptr::null() } else { &raw const *view };
        // SAFETY: the descriptions are in the API's layout; the array lives, or the memory is the guest's.
        ok(unsafe { call(object, (&raw const description).cast(), texture, view) })?;
        lock(&self.textures).insert(*object);
        Ok(())
    }

    /// `cuTexObjectDestroy`.
    pub(super) fn cuTexObjectDestroy(&self, _from: &FrameHeader, object: u64) -> Result<(), Failure> {
        let call = function!(self, cuTexObjectDestroy)?;
        if !lock(&self.textures).remove(&object) {
            return Err(Failure::Status(CUDA_ERROR_INVALID_HANDLE));
        }
        // SAFETY: the driver gave the object out, and it was not ended before.
        ok(unsafe { call(object) })
    }

    /// `gpuferrySurfObjectCreate`.
    pub(super) fn gpuferrySurfObjectCreate(
        &self,
        _from: &FrameHeader,
        object: &mut u64,
        array: Handle,
    ) -> Result<(), Failure> {
        let call = function!(self, cuSurfObjectCreate)?;
        let description = self.description(&Resource { resType: ARRAY, ..Resource::default() }, array)?;
        // SAFETY: the description is in the API's layout; the array lives.
        ok(unsafe { call(object, (&raw const description).cast()) })?;
        lock(&self.surfaces).insert(*object);
        Ok(())
    }

    /// `cuSurfObjectDestroy`.
    pub(super) fn cuSurfObjectDestroy(&self, _from: &FrameHeader, object: u64) -> Result<(), Failure> {
        let call = function!(self, cuSurfObjectDestroy)?;
        if !lock(&self.surfaces).remove(&object) {
            return Err(Failure::Status(CUDA_ERROR_INVALID_HANDLE));
        }
        // SAFETY: the driver gave the object out, and it was not ended before.
        ok(unsafe { call(object) })
    }

    /// `gpuferryTensorMapEncodeTiled`. The address in it is the device's to follow, as one in a kernel's parameters is.
    pub(super) fn gpuferryTensorMapEncodeTiled(
        &self,
        _from: &FrameHeader,
        map: &mut CUtensorMap,
        tiles: &TensorTiles,
    ) -> Result<(), Failure> {
        let call = function!(self, cuTensorMapEncodeTiled)?;
        if tiles.tensorRank == 0 || tiles.tensorRank > MAX_RANK {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let mut made = AlignedMap([0; 16]);
        // SAFETY: the map is aligned as the call asks; the arrays have as many entries as the largest rank needs.
        ok(unsafe {
            call(
                (&raw mut made).cast(),
                tiles.tensorDataType,
                tiles.tensorRank,
                std::ptr::without_provenance_mut(tiles.globalAddress as usize),
                tiles.globalDim.as_ptr(),
                tiles.globalStrides.as_ptr(),
                tiles.boxDim.as_ptr(),
                tiles.elementStrides.as_ptr(),
                tiles.interleave,
                tiles.swizzle,
                tiles.l2Promotion,
                tiles.oobFill,
            )
        })?;
        map.opaque = made.0;
        Ok(())
    }

    /// `gpuferryTensorMapEncodeIm2col`.
    pub(super) fn gpuferryTensorMapEncodeIm2col(
        &self,
        _from: &FrameHeader,
        map: &mut CUtensorMap,
        t: &TensorColumns,
    ) -> Result<(), Failure> {
        if t.tensorRank == 0 || t.tensorRank > MAX_RANK {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let mut made = AlignedMap([0; 16]);
        let to = (&raw mut made).cast();
        let address = std::ptr::without_provenance_mut(t.globalAddress as usize);
        let (dims, strides, steps) = (t.globalDim.as_ptr(), t.globalStrides.as_ptr(), t.elementStrides.as_ptr());
        let (kind, rank, channels, pixels) = (t.tensorDataType, t.tensorRank, t.channelsPerPixel, t.pixelsPerColumn);
        let (lower, upper) = (t.lowerCorner, t.upperCorner);
        // SAFETY: the map is aligned as the calls ask; the arrays have as many entries as the largest rank needs.
        let status = unsafe {
            if t.wide == 0 {
                self.library.cuTensorMapEncodeIm2col.map(|call| {
                    let (lower, upper) = (lower.as_ptr(), upper.as_ptr());
                    call(
                        to,
                        kind,
                        rank,
                        address,
                        dims,
                        strides,
                        lower,
                        upper,
                        channels,
                        pixels,
                        steps,
                        t.interleave,
                        t.swizzle,
                        t.l2Promotion,
                        t.oobFill,
                    )
                })
            } else {
                self.library.cuTensorMapEncodeIm2colWide.map(|call| {
                    call(
                        to,
                        kind,
                        rank,
                        address,
                        dims,
                        strides,
                        lower[0],
                        upper[0],
                        channels,
                        pixels,
                        steps,
                        t.interleave,
                        t.mode,
                        t.swizzle,
                        t.l2Promotion,
                        t.oobFill,
                    )
                })
            }
        };
        ok(status.ok_or_else(|| self.missing("cuTensorMapEncodeIm2col"))?)?;
        map.opaque = made.0;
        Ok(())
    }

    /// `gpuferryTensorMapReplaceAddress`.
    pub(super) fn gpuferryTensorMapReplaceAddress(
        &self,
        _from: &FrameHeader,
        map: &mut CUtensorMap,
        before: &CUtensorMap,
        address: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuTensorMapReplaceAddress)?;
        let mut made = AlignedMap(before.opaque);
        // SAFETY: the map is aligned as the call asks, and 128 bytes of which any are a map for it.
        ok(unsafe { call((&raw mut made).cast(), std::ptr::without_provenance_mut(address as usize)) })?;
        map.opaque = made.0;
        Ok(())
    }

    fn description(&self, resource: &Resource, array: Handle) -> Result<Description, Failure> {
        let mut words = [0u64; 16];
        let live = |object: *mut c_void| {
            if object.is_null() { Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)) } else { Ok(object.addr() as u64) }
        };
        let format = u64::from(resource.format) | u64::from(resource.numChannels) << 32;
        match resource.resType {
            ARRAY => words[0] = live(self.handle(kind::CUarray, array)?)?,
            MIPMAPPED_ARRAY => words[0] = live(self.handle(kind::CUmipmappedArray, array)?)?,
            LINEAR => {
                self.device(resource.devPtr, Some(resource.sizeInBytes))?;
                (words[0], words[1], words[2]) = (resource.devPtr, format, resource.sizeInBytes);
            }
            PITCH_2D => {
                // The driver knows the width of an element; here the pitch bounds a row.
                let bytes = resource.pitchInBytes.checked_mul(resource.height.saturating_sub(1));
                self.device(resource.devPtr, bytes.and_then(|bytes| bytes.checked_add(1)))?;
                (words[0], words[1]) = (resource.devPtr, format);
                (words[2], words[3], words[4]) = (resource.width, resource.height, resource.pitchInBytes);
            }
            _ => return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)),
        }
        Ok(Description { kind: resource.resType, padding: 0, words, flags: 0, tail: 0 })
    }
}
