//! Functions of before CUDA 3.2, whose addresses and sizes are 32 bits wide: each is the function of today with wider arguments. They are
//! for contexts that cuCtxCreate of then has made; in any other they answer `CUDA_ERROR_INVALID_CONTEXT`, as natively. An address that
//! does not fit is no answer: memory that gets one is given back, and `CUDA_ERROR_OUT_OF_MEMORY` is.

use crate::CUresult;
use crate::caller;
use crate::context;
use crate::copy;
use crate::copy3d::{self, Memcpy2D, Memcpy3D, Side2D, Side3D};
use crate::device;
use crate::generated::{self, CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY3D_DESCRIPTOR};
use crate::host_memory;
use crate::memory;
use crate::memset;
use crate::module;
use crate::program::{In, Out, Text};
use crate::status::CUDA_ERROR_OUT_OF_MEMORY;
use core::ffi::c_void;

/// What a size is where it does not fit.
fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// An address, where it fits.
fn address(wide: u64) -> Result<u32, CUresult> {
    u32::try_from(wide).map_err(|_| CUDA_ERROR_OUT_OF_MEMORY)
}

/// Makes a call of today whose arguments are this file's own variables, or the program's as they came.
macro_rules! wide {
    ($module:ident::$name:ident($($argument:expr),*)) => {
        // SAFETY: pointers lead to live variables here, or are the program's, which the API's text promises to be good.
        caller::answer(unsafe { $module::$name($($argument),*) })
    };
}

/// `CUDA_MEMCPY2D` of then. Two sides of the same fields are no struct of their own: C has no gap between them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NarrowMemcpy2D {
    source_at: [u32; 2],
    source_type: u32,
    source_host: u64,
    source_device: u32,
    source_array: u64,
    source_pitch: u32,
    target_at: [u32; 2],
    target_type: u32,
    target_host: u64,
    target_device: u32,
    target_array: u64,
    target_pitch: u32,
    width: u32,
    height: u32,
}

/// `CUDA_MEMCPY3D` of then.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NarrowMemcpy3D {
    source_at: [u32; 4],
    source_type: u32,
    source_host: u64,
    source_device: u32,
    source_array: u64,
    source_reserved: u64,
    source_pitch: u32,
    source_height: u32,
    target_at: [u32; 4],
    target_type: u32,
    target_host: u64,
    target_device: u32,
    target_array: u64,
    target_reserved: u64,
    target_pitch: u32,
    target_height: u32,
    width: u32,
    height: u32,
    depth: u32,
}

impl From<NarrowMemcpy2D> for Memcpy2D {
    fn from(n: NarrowMemcpy2D) -> Memcpy2D {
        let side = |at: [u32; 2], memory_type, host, device: u32, array, pitch: u32| Side2D {
            x: at[0] as usize,
            y: at[1] as usize,
            memory_type,
            host,
            device: device.into(),
            array,
            pitch: pitch as usize,
        };
        Memcpy2D {
            source: side(n.source_at, n.source_type, n.source_host, n.source_device, n.source_array, n.source_pitch),
            target: side(n.target_at, n.target_type, n.target_host, n.target_device, n.target_array, n.target_pitch),
            width: n.width as usize,
            height: n.height as usize,
        }
    }
}

impl From<NarrowMemcpy3D> for Memcpy3D {
    fn from(n: NarrowMemcpy3D) -> Memcpy3D {
        let side = |at: [u32; 4], memory_type, host, device: u32, array, shape: [u32; 2]| Side3D {
            x: at[0] as usize,
            y: at[1] as usize,
            z: at[2] as usize,
            lod: at[3] as usize,
            memory_type,
            host,
            device: device.into(),
            array,
            reserved: 0,
            pitch: shape[0] as usize,
            height: shape[1] as usize,
        };
        let (from, to) = ([n.source_pitch, n.source_height], [n.target_pitch, n.target_height]);
        Memcpy3D {
            source: side(n.source_at, n.source_type, n.source_host, n.source_device, n.source_array, from),
            target: side(n.target_at, n.target_type, n.target_host, n.target_device, n.target_array, to),
            width: n.width as usize,
            height: n.height as usize,
            depth: n.depth as usize,
        }
    }
}

/// `CUDA_ARRAY_DESCRIPTOR` of then: width, height, format, channels.
type Narrow2D = [u32; 4];
/// `CUDA_ARRAY3D_DESCRIPTOR` of then: width, height, depth, format, channels, flags.
type Narrow3D = [u32; 6];

fn wide_2d([width, height, format, channels]: Narrow2D) -> CUDA_ARRAY_DESCRIPTOR {
    let (width, height) = (width as usize, height as usize);
    CUDA_ARRAY_DESCRIPTOR { Width: width, Height: height, Format: format, NumChannels: channels }
}

crate::export! {
    /// CUDA Driver API, cuDeviceTotalMem of before 3.2.
    extern "C" fn cuDeviceTotalMem(bytes: Out<u32>, dev: i32) {
        let mut all = 0;
        bytes.check()?;
        wide!(device::cuDeviceTotalMem_v2(Out(&raw mut all), dev))?;
        bytes.set(size(all))
    }

    /// CUDA Driver API, cuMemGetInfo of before 3.2.
    extern "C" fn cuMemGetInfo(free: Out<u32>, total: Out<u32>) {
        context::check_narrow()?;
        let (mut left, mut all) = (0, 0);
        wide!(generated::cuMemGetInfo_v2(&raw mut left, &raw mut all))?;
        free.set_if_wanted(size(left));
        total.set_if_wanted(size(all));
        Ok(())
    }

    /// CUDA Driver API, cuMemAlloc of before 3.2.
    extern "C" fn cuMemAlloc(dptr: Out<u32>, bytesize: u32) {
        context::check_narrow()?;
        let mut made = 0;
        dptr.check()?;
        wide!(memory::cuMemAlloc_v2(Out(&raw mut made), bytesize as usize))?;
        let narrow = address(made).inspect_err(|_| give_back(made))?;
        dptr.set(narrow)
    }

    /// CUDA Driver API, cuMemAllocPitch of before 3.2.
    extern "C" fn cuMemAllocPitch(
        dptr: Out<u32>, pPitch: Out<u32>, WidthInBytes: u32, Height: u32, ElementSizeBytes: u32,
    ) {
        context::check_narrow()?;
        let (mut made, mut pitch) = (0, 0);
        dptr.check()?;
        pPitch.check()?;
        let (width, height) = (WidthInBytes as usize, Height as usize);
        wide!(memory::cuMemAllocPitch_v2(Out(&raw mut made), Out(&raw mut pitch), width, height, ElementSizeBytes))?;
        let narrow = address(made).inspect_err(|_| give_back(made))?;
        pPitch.set(size(pitch))?;
        dptr.set(narrow)
    }

    /// CUDA Driver API, cuMemFree of before 3.2.
    extern "C" fn cuMemFree(dptr: u32) {
        context::check_narrow()?;
        wide!(memory::cuMemFree_v2(dptr.into()))
    }

    /// CUDA Driver API, cuMemGetAddressRange of before 3.2.
    extern "C" fn cuMemGetAddressRange(pbase: Out<u32>, psize: Out<u32>, dptr: u32) {
        context::check_narrow()?;
        let (mut base, mut bytes) = (0, 0);
        wide!(memory::cuMemGetAddressRange_v2(Out(&raw mut base), Out(&raw mut bytes), dptr.into()))?;
        pbase.set_if_wanted(address(base)?);
        psize.set_if_wanted(size(bytes));
        Ok(())
    }

    /// CUDA Driver API, cuMemAllocHost of before 3.2.
    extern "C" fn cuMemAllocHost(pp: Out<u64>, bytesize: u32) {
        wide!(host_memory::cuMemAllocHost_v2(pp, bytesize as usize))
    }

    /// CUDA Driver API, cuMemHostGetDevicePointer of before 3.2.
    extern "C" fn cuMemHostGetDevicePointer(pdptr: Out<u32>, p: *mut c_void, Flags: u32) {
        context::check_narrow()?;
        let mut found = 0;
        pdptr.check()?;
        wide!(host_memory::cuMemHostGetDevicePointer_v2(Out(&raw mut found), p, Flags))?;
        pdptr.set(address(found)?)
    }

    /// CUDA Driver API, cuModuleGetGlobal of before 3.2.
    extern "C" fn cuModuleGetGlobal(dptr: Out<u32>, bytes: Out<u32>, hmod: u64, name: Text) {
        context::check_narrow()?;
        let (mut found, mut length) = (0, 0);
        wide!(module::cuModuleGetGlobal_v2(Out(&raw mut found), Out(&raw mut length), hmod, name))?;
        if !dptr.0.is_null() {
            dptr.set(address(found)?)?;
        }
        bytes.set_if_wanted(size(length));
        Ok(())
    }

    /// CUDA Driver API, cuMemcpyHtoD of before 3.2.
    extern "C" fn cuMemcpyHtoD(dstDevice: u32, srcHost: *const c_void, ByteCount: u32) {
        context::check_narrow()?;
        wide!(copy::cuMemcpyHtoD_v2(dstDevice.into(), srcHost, ByteCount as usize))
    }

    /// CUDA Driver API, cuMemcpyHtoDAsync of before 3.2.
    extern "C" fn cuMemcpyHtoDAsync(dstDevice: u32, srcHost: *const c_void, ByteCount: u32, hStream: u64) {
        context::check_narrow()?;
        wide!(copy::cuMemcpyHtoDAsync_v2(dstDevice.into(), srcHost, ByteCount as usize, hStream))
    }

    /// CUDA Driver API, cuMemcpyDtoH of before 3.2.
    extern "C" fn cuMemcpyDtoH(dstHost: *mut c_void, srcDevice: u32, ByteCount: u32) {
        context::check_narrow()?;
        wide!(copy::cuMemcpyDtoH_v2(dstHost, srcDevice.into(), ByteCount as usize))
    }

    /// CUDA Driver API, cuMemcpyDtoHAsync of before 3.2.
    extern "C" fn cuMemcpyDtoHAsync(dstHost: *mut c_void, srcDevice: u32, ByteCount: u32, hStream: u64) {
        context::check_narrow()?;
        wide!(copy::cuMemcpyDtoHAsync_v2(dstHost, srcDevice.into(), ByteCount as usize, hStream))
    }

    /// CUDA Driver API, cuMemcpyDtoD of before 3.2.
    extern "C" fn cuMemcpyDtoD(dstDevice: u32, srcDevice: u32, ByteCount: u32) {
        context::check_narrow()?;
        wide!(generated::cuMemcpyDtoD_v2(dstDevice.into(), srcDevice.into(), ByteCount as usize))
    }

    /// CUDA Driver API, cuMemcpyDtoDAsync of before 3.2.
    extern "C" fn cuMemcpyDtoDAsync(dstDevice: u32, srcDevice: u32, ByteCount: u32, hStream: *mut c_void) {
        context::check_narrow()?;
        wide!(generated::cuMemcpyDtoDAsync_v2(dstDevice.into(), srcDevice.into(), ByteCount as usize, hStream))
    }

    /// CUDA Driver API, cuMemcpyHtoA of before 3.2.
    extern "C" fn cuMemcpyHtoA(dstArray: *mut c_void, dstOffset: u32, srcHost: *const c_void, ByteCount: u32) {
        context::check_narrow()?;
        wide!(generated::cuMemcpyHtoA_v2(dstArray, dstOffset as usize, srcHost, ByteCount as usize))
    }

    /// CUDA Driver API, cuMemcpyHtoAAsync of before 3.2.
    extern "C" fn cuMemcpyHtoAAsync(dstArray: u64, dstOffset: u32, srcHost: u64, ByteCount: u32, hStream: u64) {
        context::check_narrow()?;
        wide!(copy3d::cuMemcpyHtoAAsync_v2(dstArray, dstOffset as usize, srcHost, ByteCount as usize, hStream))
    }

    /// CUDA Driver API, cuMemcpyAtoH of before 3.2.
    extern "C" fn cuMemcpyAtoH(dstHost: *mut c_void, srcArray: *mut c_void, srcOffset: u32, ByteCount: u32) {
        context::check_narrow()?;
        wide!(generated::cuMemcpyAtoH_v2(dstHost, srcArray, srcOffset as usize, ByteCount as usize))
    }

    /// CUDA Driver API, cuMemcpyAtoHAsync of before 3.2.
    extern "C" fn cuMemcpyAtoHAsync(dstHost: u64, srcArray: u64, srcOffset: u32, ByteCount: u32, hStream: u64) {
        context::check_narrow()?;
        wide!(copy3d::cuMemcpyAtoHAsync_v2(dstHost, srcArray, srcOffset as usize, ByteCount as usize, hStream))
    }

    /// CUDA Driver API, cuMemcpyAtoD of before 3.2.
    extern "C" fn cuMemcpyAtoD(dstDevice: u32, srcArray: *mut c_void, srcOffset: u32, ByteCount: u32) {
        context::check_narrow()?;
        wide!(generated::cuMemcpyAtoD_v2(dstDevice.into(), srcArray, srcOffset as usize, ByteCount as usize))
    }

    /// CUDA Driver API, cuMemcpyDtoA of before 3.2.
    extern "C" fn cuMemcpyDtoA(dstArray: *mut c_void, dstOffset: u32, srcDevice: u32, ByteCount: u32) {
        context::check_narrow()?;
        wide!(generated::cuMemcpyDtoA_v2(dstArray, dstOffset as usize, srcDevice.into(), ByteCount as usize))
    }

    /// CUDA Driver API, cuMemcpyAtoA of before 3.2.
    extern "C" fn cuMemcpyAtoA(
        dstArray: *mut c_void, dstOffset: u32, srcArray: *mut c_void, srcOffset: u32, ByteCount: u32,
    ) {
        context::check_narrow()?;
        let (to, from) = (dstOffset as usize, srcOffset as usize);
        wide!(generated::cuMemcpyAtoA_v2(dstArray, to, srcArray, from, ByteCount as usize))
    }

    /// CUDA Driver API, cuMemcpy2D of before 3.2; the unaligned form asks for nothing else here.
    extern "C" fn cuMemcpy2D | extern "C" fn cuMemcpy2DUnaligned(pCopy: In<NarrowMemcpy2D>) {
        context::check_narrow()?;
        let copy = Memcpy2D::from(pCopy.get()?);
        wide!(copy3d::cuMemcpy2D_v2(In(&raw const copy)))
    }

    /// CUDA Driver API, cuMemcpy2DAsync of before 3.2.
    extern "C" fn cuMemcpy2DAsync(pCopy: In<NarrowMemcpy2D>, hStream: u64) {
        context::check_narrow()?;
        let copy = Memcpy2D::from(pCopy.get()?);
        wide!(copy3d::cuMemcpy2DAsync_v2(In(&raw const copy), hStream))
    }

    /// CUDA Driver API, cuMemcpy3D of before 3.2.
    extern "C" fn cuMemcpy3D(pCopy: In<NarrowMemcpy3D>) {
        context::check_narrow()?;
        let copy = Memcpy3D::from(pCopy.get()?);
        wide!(copy3d::cuMemcpy3D_v2(In(&raw const copy)))
    }

    /// CUDA Driver API, cuMemcpy3DAsync of before 3.2.
    extern "C" fn cuMemcpy3DAsync(pCopy: In<NarrowMemcpy3D>, hStream: u64) {
        context::check_narrow()?;
        let copy = Memcpy3D::from(pCopy.get()?);
        wide!(copy3d::cuMemcpy3DAsync_v2(In(&raw const copy), hStream))
    }

    /// CUDA Driver API, cuMemsetD8 of before 3.2.
    extern "C" fn cuMemsetD8(dstDevice: u32, uc: u8, N: u32) {
        context::check_narrow()?;
        wide!(memset::cuMemsetD8_v2(dstDevice.into(), uc, N as usize))
    }

    /// CUDA Driver API, cuMemsetD16 of before 3.2.
    extern "C" fn cuMemsetD16(dstDevice: u32, us: u16, N: u32) {
        context::check_narrow()?;
        wide!(memset::cuMemsetD16_v2(dstDevice.into(), us, N as usize))
    }

    /// CUDA Driver API, cuMemsetD32 of before 3.2.
    extern "C" fn cuMemsetD32(dstDevice: u32, ui: u32, N: u32) {
        context::check_narrow()?;
        wide!(memset::cuMemsetD32_v2(dstDevice.into(), ui, N as usize))
    }

    /// CUDA Driver API, cuMemsetD2D8 of before 3.2.
    extern "C" fn cuMemsetD2D8(dstDevice: u32, dstPitch: u32, uc: u8, Width: u32, Height: u32) {
        context::check_narrow()?;
        wide!(memset::cuMemsetD2D8_v2(dstDevice.into(), dstPitch as usize, uc, Width as usize, Height as usize))
    }

    /// CUDA Driver API, cuMemsetD2D16 of before 3.2.
    extern "C" fn cuMemsetD2D16(dstDevice: u32, dstPitch: u32, us: u16, Width: u32, Height: u32) {
        context::check_narrow()?;
        wide!(memset::cuMemsetD2D16_v2(dstDevice.into(), dstPitch as usize, us, Width as usize, Height as usize))
    }

    /// CUDA Driver API, cuMemsetD2D32 of before 3.2.
    extern "C" fn cuMemsetD2D32(dstDevice: u32, dstPitch: u32, ui: u32, Width: u32, Height: u32) {
        context::check_narrow()?;
        wide!(memset::cuMemsetD2D32_v2(dstDevice.into(), dstPitch as usize, ui, Width as usize, Height as usize))
    }

    /// CUDA Driver API, cuArrayCreate of before 3.2.
    extern "C" fn cuArrayCreate(pHandle: *mut *mut c_void, pAllocateArray: In<Narrow2D>) {
        context::check_narrow()?;
        let described = wide_2d(pAllocateArray.get()?);
        wide!(generated::cuArrayCreate_v2(pHandle, &raw const described))
    }

    /// CUDA Driver API, cuArrayGetDescriptor of before 3.2.
    extern "C" fn cuArrayGetDescriptor(pArrayDescriptor: Out<Narrow2D>, hArray: *mut c_void) {
        let mut found = CUDA_ARRAY_DESCRIPTOR::default();
        pArrayDescriptor.check()?;
        wide!(generated::cuArrayGetDescriptor_v2(&raw mut found, hArray))?;
        pArrayDescriptor.set([size(found.Width), size(found.Height), found.Format, found.NumChannels])
    }

    /// CUDA Driver API, cuArray3DCreate of before 3.2.
    extern "C" fn cuArray3DCreate(pHandle: *mut *mut c_void, pAllocateArray: In<Narrow3D>) {
        context::check_narrow()?;
        let [width, height, depth, format, channels, flags] = pAllocateArray.get()?;
        let described = CUDA_ARRAY3D_DESCRIPTOR {
            Width: width as usize,
            Height: height as usize,
            Depth: depth as usize,
            Format: format,
            NumChannels: channels,
            Flags: flags,
            padding: 0,
        };
        wide!(generated::cuArray3DCreate_v2(pHandle, &raw const described))
    }

    /// CUDA Driver API, cuArray3DGetDescriptor of before 3.2.
    extern "C" fn cuArray3DGetDescriptor(pArrayDescriptor: Out<Narrow3D>, hArray: *mut c_void) {
        let mut found = CUDA_ARRAY3D_DESCRIPTOR::default();
        pArrayDescriptor.check()?;
        wide!(generated::cuArray3DGetDescriptor_v2(&raw mut found, hArray))?;
        let [width, height, depth] = [found.Width, found.Height, found.Depth].map(size);
        pArrayDescriptor.set([width, height, depth, found.Format, found.NumChannels, found.Flags])
    }

    /// CUDA Driver API, cuTexRefSetAddress of before 3.2.
    extern "C" fn cuTexRefSetAddress(ByteOffset: Out<u32>, hTexRef: *mut c_void, dptr: u32, bytes: u32) {
        context::check_narrow()?;
        let mut offset = 0;
        wide!(generated::cuTexRefSetAddress_v2(&raw mut offset, hTexRef, dptr.into(), bytes as usize))?;
        ByteOffset.set_if_wanted(size(offset));
        Ok(())
    }

    /// CUDA Driver API, cuTexRefSetAddress2D of before 3.2.
    extern "C" fn cuTexRefSetAddress2D(hTexRef: *mut c_void, desc: In<Narrow2D>, dptr: u32, Pitch: u32) {
        context::check_narrow()?;
        let described = wide_2d(desc.get()?);
        wide!(generated::cuTexRefSetAddress2D_v3(hTexRef, &raw const described, dptr.into(), Pitch as usize))
    }

    /// CUDA Driver API, cuTexRefGetAddress of before 3.2.
    extern "C" fn cuTexRefGetAddress(pdptr: Out<u32>, hTexRef: *mut c_void) {
        context::check_narrow()?;
        let mut found = 0;
        pdptr.check()?;
        wide!(generated::cuTexRefGetAddress_v2(&raw mut found, hTexRef))?;
        pdptr.set(address(found)?)
    }
}

/// Memory whose address does not fit is nobody's.
fn give_back(address: u64) {
    // Freed, or the session is gone and holds nothing.
    let _ = wide!(memory::cuMemFree_v2(address));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_when_widened_then_keep_every_field_in_its_place() {
        assert_eq!(size_of::<NarrowMemcpy2D>(), 96);
        let words: Vec<u32> = (1..=24).collect();
        // SAFETY: as many bytes, of which any are a description.
        let narrow: NarrowMemcpy2D = unsafe { words.as_ptr().cast::<NarrowMemcpy2D>().read_unaligned() };
        let wide = Memcpy2D::from(narrow);
        // Words 4, 8 and 18 are padding before pointers, 24 at the end.
        assert_eq!((wide.source.x, wide.source.y, wide.source.memory_type), (1, 2, 3));
        assert_eq!((wide.source.host, wide.source.device, wide.source.array), (5 | 6 << 32, 7, 9 | 10 << 32));
        assert_eq!((wide.source.pitch, wide.target.x, wide.target.y, wide.target.memory_type), (11, 12, 13, 14));
        assert_eq!((wide.target.host, wide.target.device, wide.target.array), (15 | 16 << 32, 17, 19 | 20 << 32));
        assert_eq!((wide.target.pitch, wide.width, wide.height), (21, 22, 23));
    }

    #[test]
    fn address_when_it_does_not_fit_then_there_is_none() {
        assert_eq!((address(7), address(1 << 32)), (Ok(7), Err(CUDA_ERROR_OUT_OF_MEMORY)));
        assert_eq!((size(7), size(1 << 40)), (7, u32::MAX));
    }
}
