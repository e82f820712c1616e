//! Functions of before CUDA 3.2, whose addresses and sizes are 32 bits wide. They are for contexts that cuCtxCreate of then
//! has made, and today's driver makes none: it answers `CUDA_ERROR_OUT_OF_MEMORY` (H200), so that they have no context to
//! work in, as natively. Arrays made otherwise are described, and what has no address works as ever.

use crate::caller;
use crate::context;
use crate::device;
use crate::generated::{self, CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY3D_DESCRIPTOR};
use crate::handles::Handle;
use crate::program::{In, Out, Text};
use core::ffi::c_void;

/// What a size is where it does not fit.
fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Makes a call of today whose arguments are this file's own variables, or the program's as they came.
macro_rules! wide {
    ($module:ident::$name:ident($($argument:expr),*)) => {
        // SAFETY: pointers lead to live variables here, or are the program's, which the API's text promises to be good.
        caller::answer(unsafe { $module::$name($($argument),*) })
    };
}

/// `CUDA_MEMCPY2D` of then, which nothing here reads.
pub type NarrowMemcpy2D = [u8; 96];
/// `CUDA_MEMCPY3D` of then.
pub type NarrowMemcpy3D = [u8; 144];
/// `CUDA_ARRAY_DESCRIPTOR` of then: width, height, format, channels.
type Narrow2D = [u32; 4];
/// `CUDA_ARRAY3D_DESCRIPTOR` of then: width, height, depth, format, channels, flags.
type Narrow3D = [u32; 6];

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
        free.set_if_wanted(0);
        total.set_if_wanted(0);
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemAlloc of before 3.2.
    extern "C" fn cuMemAlloc(dptr: Out<u32>, _bytesize: u32) {
        dptr.set_if_wanted(0);
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemAllocPitch of before 3.2.
    extern "C" fn cuMemAllocPitch(
        _dptr: Out<u32>, _pPitch: Out<u32>, _WidthInBytes: u32, _Height: u32, _ElementSizeBytes: u32,
    ) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemFree of before 3.2.
    extern "C" fn cuMemFree(dptr: u32) {
        caller::session()?;
        if dptr == 0 && context::current() == Handle::NULL { Ok(()) } else { context::refuse_narrow() }
    }

    /// CUDA Driver API, cuMemGetAddressRange of before 3.2.
    extern "C" fn cuMemGetAddressRange(pbase: Out<u32>, psize: Out<u32>, _dptr: u32) {
        if pbase.0.is_null() && psize.0.is_null() { Ok(()) } else { context::refuse_narrow() }
    }

    /// CUDA Driver API, cuMemAllocHost of before 3.2.
    extern "C" fn cuMemAllocHost(_pp: Out<u64>, _bytesize: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemHostGetDevicePointer of before 3.2.
    extern "C" fn cuMemHostGetDevicePointer(_pdptr: Out<u32>, _p: *mut c_void, _Flags: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuModuleGetGlobal of before 3.2.
    extern "C" fn cuModuleGetGlobal(dptr: Out<u32>, bytes: Out<u32>, _hmod: u64, _name: Text) {
        dptr.set_if_wanted(0);
        bytes.set_if_wanted(0);
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyHtoD of before 3.2.
    extern "C" fn cuMemcpyHtoD(_dstDevice: u32, _srcHost: *const c_void, _ByteCount: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyHtoDAsync of before 3.2.
    extern "C" fn cuMemcpyHtoDAsync(_dstDevice: u32, _srcHost: *const c_void, _ByteCount: u32, _hStream: u64) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyDtoH of before 3.2.
    extern "C" fn cuMemcpyDtoH(_dstHost: *mut c_void, _srcDevice: u32, _ByteCount: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyDtoHAsync of before 3.2.
    extern "C" fn cuMemcpyDtoHAsync(_dstHost: *mut c_void, _srcDevice: u32, _ByteCount: u32, _hStream: u64) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyDtoD of before 3.2.
    extern "C" fn cuMemcpyDtoD(_dstDevice: u32, _srcDevice: u32, _ByteCount: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyDtoDAsync of before 3.2.
    extern "C" fn cuMemcpyDtoDAsync(_dstDevice: u32, _srcDevice: u32, _ByteCount: u32, _hStream: *mut c_void) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyHtoA of before 3.2.
    extern "C" fn cuMemcpyHtoA(_dstArray: *mut c_void, _dstOffset: u32, _srcHost: *const c_void, _ByteCount: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyHtoAAsync of before 3.2.
    extern "C" fn cuMemcpyHtoAAsync(_dstArray: u64, _dstOffset: u32, _srcHost: u64, _ByteCount: u32, _hStream: u64) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyAtoH of before 3.2.
    extern "C" fn cuMemcpyAtoH(_dstHost: *mut c_void, _srcArray: *mut c_void, _srcOffset: u32, _ByteCount: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyAtoHAsync of before 3.2.
    extern "C" fn cuMemcpyAtoHAsync(_dstHost: u64, _srcArray: u64, _srcOffset: u32, _ByteCount: u32, _hStream: u64) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyAtoD of before 3.2.
    extern "C" fn cuMemcpyAtoD(_dstDevice: u32, _srcArray: *mut c_void, _srcOffset: u32, _ByteCount: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyDtoA of before 3.2.
    extern "C" fn cuMemcpyDtoA(_dstArray: *mut c_void, _dstOffset: u32, _srcDevice: u32, _ByteCount: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpyAtoA of before 3.2.
    extern "C" fn cuMemcpyAtoA(
        _dstArray: *mut c_void, _dstOffset: u32, _srcArray: *mut c_void, _srcOffset: u32, _ByteCount: u32,
    ) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpy2D of before 3.2; the unaligned form asks for nothing else here.
    extern "C" fn cuMemcpy2D | extern "C" fn cuMemcpy2DUnaligned(_pCopy: In<NarrowMemcpy2D>) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpy2DAsync of before 3.2.
    extern "C" fn cuMemcpy2DAsync(_pCopy: In<NarrowMemcpy2D>, _hStream: u64) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpy3D of before 3.2.
    extern "C" fn cuMemcpy3D(_pCopy: In<NarrowMemcpy3D>) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemcpy3DAsync of before 3.2.
    extern "C" fn cuMemcpy3DAsync(_pCopy: In<NarrowMemcpy3D>, _hStream: u64) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemsetD8 of before 3.2.
    extern "C" fn cuMemsetD8(_dstDevice: u32, _uc: u8, _N: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemsetD16 of before 3.2.
    extern "C" fn cuMemsetD16(_dstDevice: u32, _us: u16, _N: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemsetD32 of before 3.2.
    extern "C" fn cuMemsetD32(_dstDevice: u32, _ui: u32, _N: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemsetD2D8 of before 3.2.
    extern "C" fn cuMemsetD2D8(_dstDevice: u32, _dstPitch: u32, _uc: u8, _Width: u32, _Height: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemsetD2D16 of before 3.2.
    extern "C" fn cuMemsetD2D16(_dstDevice: u32, _dstPitch: u32, _us: u16, _Width: u32, _Height: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuMemsetD2D32 of before 3.2.
    extern "C" fn cuMemsetD2D32(_dstDevice: u32, _dstPitch: u32, _ui: u32, _Width: u32, _Height: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuArrayCreate of before 3.2.
    extern "C" fn cuArrayCreate(_pHandle: *mut *mut c_void, _pAllocateArray: In<Narrow2D>) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuArrayGetDescriptor of before 3.2.
    extern "C" fn cuArrayGetDescriptor(pArrayDescriptor: Out<Narrow2D>, hArray: *mut c_void) {
        let mut found = CUDA_ARRAY_DESCRIPTOR::default();
        pArrayDescriptor.check()?;
        wide!(generated::cuArrayGetDescriptor_v2(&raw mut found, hArray))?;
        pArrayDescriptor.set([size(found.Width), size(found.Height), found.Format, found.NumChannels])
    }

    /// CUDA Driver API, cuArray3DCreate of before 3.2.
    extern "C" fn cuArray3DCreate(_pHandle: *mut *mut c_void, _pAllocateArray: In<Narrow3D>) {
        context::refuse_narrow()
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
    extern "C" fn cuTexRefSetAddress(_ByteOffset: Out<u32>, _hTexRef: *mut c_void, _dptr: u32, _bytes: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuTexRefSetAddress2D of before 3.2.
    extern "C" fn cuTexRefSetAddress2D(_hTexRef: *mut c_void, _desc: In<Narrow2D>, _dptr: u32, _Pitch: u32) {
        context::refuse_narrow()
    }

    /// CUDA Driver API, cuTexRefGetAddress of before 3.2.
    extern "C" fn cuTexRefGetAddress(_pdptr: Out<u32>, _hTexRef: *mut c_void) {
        context::refuse_narrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_when_it_does_not_fit_then_is_the_largest() {
        assert_eq!((size(7), size(1 << 40)), (7, u32::MAX));
    }
}
