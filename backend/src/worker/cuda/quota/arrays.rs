//! Arrays: their bytes follow from what they are of. A GPU's driver may lay one out in more, so that it is asked after.

use std::ffi::c_void;

use super::super::generated::{CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY3D_DESCRIPTOR, CUDA_ERROR_OUT_OF_MEMORY};
use super::{Counted, Sort, counted, freed, written};

impl Counted {
    /// As [`Counted::allocate`], for an array: the driver may lay it out in more than its bytes, so that it is looked at after.
    fn allocate_array(&self, told: u64, make: impl FnOnce() -> (i32, u64), end: impl FnOnce(u64) -> i32) -> i32 {
        let mut array = 0;
        let status = self.allocate(Sort::Array, told, || {
            let made = make();
            array = made.1;
            made
        });
        if status == 0 && !self.look() {
            freed(end(array), Sort::Array, array);
            self.look();
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        status
    }
}

/// Bytes of an element of `CUarray_format`; compressed formats take at most one byte a texel.
fn element(format: u32) -> u64 {
    match format {
        0x02 | 0x09 | 0x10 => 2,
        0x03 | 0x0a | 0x20 => 4,
        _ => 1,
    }
}

fn array_bytes(width: usize, height: usize, depth: usize, format: u32, channels: u32) -> u64 {
    let texels = [height, depth].iter().fold(width as u64, |all, next| all.saturating_mul((*next).max(1) as u64));
    texels.saturating_mul(element(format)).saturating_mul(u64::from(channels))
}

pub(super) unsafe extern "C" fn make(made: *mut *mut c_void, description: *const CUDA_ARRAY_DESCRIPTOR) -> i32 {
    let d = written(description);
    let bytes = array_bytes(d.Width, d.Height, 1, d.Format, d.NumChannels);
    let make = || (host!(cuArrayCreate_v2(made, description)), written(made).addr() as u64);
    counted().allocate_array(bytes, make, |_| host!(cuArrayDestroy(written(made))))
}

pub(super) unsafe extern "C" fn make_3d(made: *mut *mut c_void, description: *const CUDA_ARRAY3D_DESCRIPTOR) -> i32 {
    let d = written(description);
    let bytes = array_bytes(d.Width, d.Height, d.Depth, d.Format, d.NumChannels);
    let make = || (host!(cuArray3DCreate_v2(made, description)), written(made).addr() as u64);
    counted().allocate_array(bytes, make, |_| host!(cuArrayDestroy(written(made))))
}

pub(super) unsafe extern "C" fn make_mipmapped(
    made: *mut *mut c_void,
    description: *const CUDA_ARRAY3D_DESCRIPTOR,
    levels: u32,
) -> i32 {
    let d = written(description);
    let smaller = |size: usize, level: u32| size.checked_shr(level).unwrap_or(0).max(usize::from(size != 0));
    // More levels than there are bits in a size are refused by the driver.
    let bytes = (0..levels.min(64)).fold(0u64, |sum, level| {
        let (width, height) = (smaller(d.Width, level), smaller(d.Height, level));
        sum.saturating_add(array_bytes(width, height, smaller(d.Depth, level), d.Format, d.NumChannels))
    });
    let make = || (host!(cuMipmappedArrayCreate(made, description, levels)), written(made).addr() as u64);
    counted().allocate_array(bytes, make, |_| host!(cuMipmappedArrayDestroy(written(made))))
}

pub(super) unsafe extern "C" fn end(array: *mut c_void) -> i32 {
    freed(host!(cuArrayDestroy(array)), Sort::Array, array.addr() as u64)
}

pub(super) unsafe extern "C" fn end_mipmapped(array: *mut c_void) -> i32 {
    freed(host!(cuMipmappedArrayDestroy(array)), Sort::Array, array.addr() as u64)
}
