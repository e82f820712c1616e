//! Tensor maps: 128 bytes that the driver encodes and kernels get as they are. What a map describes travels; the map comes back.

use crate::CUresult;
use crate::caller;
use crate::generated::{CUtensorMap, TensorColumns, TensorTiles, send};
use crate::program::{In, Out};
use crate::status::CUDA_ERROR_INVALID_VALUE;

/// Most dimensions.
const MAX_RANK: u32 = 5;

/// The first entries of an array, at most as many as it has places here; the rest zero.
fn some<T: Copy + Default, const N: usize>(from: In<T>, count: u32) -> Result<[T; N], CUresult> {
    let mut all = [T::default(); N];
    for (place, to) in all.iter_mut().enumerate().take(count as usize) {
        *to = from.at(place)?;
    }
    Ok(all)
}

fn check_rank(rank: u32) -> Result<(), CUresult> {
    if (1..=MAX_RANK).contains(&rank) { Ok(()) } else { Err(CUDA_ERROR_INVALID_VALUE) }
}

/// Gives the map out; one that was refused is all zeros.
fn finish(out: Out<CUtensorMap>, map: CUtensorMap, status: CUresult) -> Result<(), CUresult> {
    out.set(if status == 0 { map } else { CUtensorMap::default() })?;
    caller::answer(status)
}

crate::export! {
    /// CUDA Driver API, cuTensorMapEncodeTiled.
    extern "C" fn cuTensorMapEncodeTiled(
        tensorMap: Out<CUtensorMap>, tensorDataType: u32, tensorRank: u32, globalAddress: u64, globalDim: In<u64>,
        globalStrides: In<u64>, boxDim: In<u32>, elementStrides: In<u32>, interleave: u32, swizzle: u32, l2Promotion: u32,
        oobFill: u32,
    ) {
        let caller = caller::enter()?;
        tensorMap.check()?;
        check_rank(tensorRank)?;
        let tiles = TensorTiles {
            globalAddress,
            globalDim: some(globalDim, tensorRank)?,
            globalStrides: some(globalStrides, tensorRank - 1)?,
            boxDim: some(boxDim, tensorRank)?,
            elementStrides: some(elementStrides, tensorRank)?,
            tensorDataType,
            tensorRank,
            interleave,
            swizzle,
            l2Promotion,
            oobFill,
        };
        let mut map = CUtensorMap::default();
        let status = send::gpuferryTensorMapEncodeTiled(&caller, &mut map, &tiles);
        finish(tensorMap, map, status)
    }

    /// CUDA Driver API, cuTensorMapEncodeIm2col.
    extern "C" fn cuTensorMapEncodeIm2col(
        tensorMap: Out<CUtensorMap>, tensorDataType: u32, tensorRank: u32, globalAddress: u64, globalDim: In<u64>,
        globalStrides: In<u64>, pixelBoxLowerCorner: In<i32>, pixelBoxUpperCorner: In<i32>, channelsPerPixel: u32,
        pixelsPerColumn: u32, elementStrides: In<u32>, interleave: u32, swizzle: u32, l2Promotion: u32, oobFill: u32,
    ) {
        let caller = caller::enter()?;
        tensorMap.check()?;
        check_rank(tensorRank)?;
        // Corners have an entry for each dimension but the batch and the channels.
        let corners = tensorRank.saturating_sub(2);
        let columns = TensorColumns {
            globalAddress,
            globalDim: some(globalDim, tensorRank)?,
            globalStrides: some(globalStrides, tensorRank - 1)?,
            lowerCorner: some(pixelBoxLowerCorner, corners)?,
            upperCorner: some(pixelBoxUpperCorner, corners)?,
            elementStrides: some(elementStrides, tensorRank)?,
            channelsPerPixel,
            pixelsPerColumn,
            tensorDataType,
            tensorRank,
            interleave,
            swizzle,
            l2Promotion,
            oobFill,
            ..TensorColumns::default()
        };
        let mut map = CUtensorMap::default();
        let status = send::gpuferryTensorMapEncodeIm2col(&caller, &mut map, &columns);
        finish(tensorMap, map, status)
    }

    /// CUDA Driver API, cuTensorMapEncodeIm2colWide.
    extern "C" fn cuTensorMapEncodeIm2colWide(
        tensorMap: Out<CUtensorMap>, tensorDataType: u32, tensorRank: u32, globalAddress: u64, globalDim: In<u64>,
        globalStrides: In<u64>, pixelBoxLowerCornerWidth: i32, pixelBoxUpperCornerWidth: i32, channelsPerPixel: u32,
        pixelsPerColumn: u32, elementStrides: In<u32>, interleave: u32, mode: u32, swizzle: u32, l2Promotion: u32,
        oobFill: u32,
    ) {
        let caller = caller::enter()?;
        tensorMap.check()?;
        check_rank(tensorRank)?;
        let columns = TensorColumns {
            globalAddress,
            globalDim: some(globalDim, tensorRank)?,
            globalStrides: some(globalStrides, tensorRank - 1)?,
            lowerCorner: [pixelBoxLowerCornerWidth, 0, 0],
            upperCorner: [pixelBoxUpperCornerWidth, 0, 0],
            elementStrides: some(elementStrides, tensorRank)?,
            channelsPerPixel,
            pixelsPerColumn,
            tensorDataType,
            tensorRank,
            interleave,
            mode,
            swizzle,
            l2Promotion,
            oobFill,
            wide: 1,
            padding: 0,
        };
        let mut map = CUtensorMap::default();
        let status = send::gpuferryTensorMapEncodeIm2col(&caller, &mut map, &columns);
        finish(tensorMap, map, status)
    }

    /// CUDA Driver API, cuTensorMapReplaceAddress.
    extern "C" fn cuTensorMapReplaceAddress(tensorMap: Out<CUtensorMap>, globalAddress: u64) {
        let caller = caller::enter()?;
        let before = tensorMap.get()?;
        let mut map = CUtensorMap::default();
        caller::answer(send::gpuferryTensorMapReplaceAddress(&caller, &mut map, &before, globalAddress))?;
        tensorMap.set(map)
    }
}
