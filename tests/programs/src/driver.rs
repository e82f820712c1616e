//! The CUDA driver library, found by its name `libcuda.so.1` when a program starts.
//!
//! Which library that is, the dynamic loader decides, as for any CUDA program: the vendor's, a stand-in on
//! `LD_LIBRARY_PATH`, or the guest's. Signatures are those of the CUDA Driver API 13.0. Handles are plain numbers
//! here, so that tests can make wrong ones.

#![allow(non_snake_case, reason = "the vendor's names keep their spelling")]
#![allow(
    clippy::macro_metavars_in_unsafe,
    reason = "arguments are places and numbers; a block at each call says nothing"
)]

use std::ffi::{c_char, c_void};

/// An answer of the API; 0 is success.
pub type CUresult = i32;
/// A device's ordinal.
pub type CUdevice = i32;
/// An address in device memory.
pub type CUdeviceptr = u64;
/// Any of CUcontext, CUmodule, CUlibrary, CUfunction, CUkernel, CUstream, CUevent.
pub type Handle = usize;
/// CUoccupancyB2DSize: dynamic shared memory for a block size.
pub type BlockToShared = extern "C" fn(i32) -> usize;

/// CUlaunchConfig.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LaunchConfig {
    /// gridDimX, Y, Z.
    pub grid: [u32; 3],
    /// blockDimX, Y, Z.
    pub block: [u32; 3],
    /// sharedMemBytes.
    pub shared: u32,
    /// hStream.
    pub stream: Handle,
    /// attrs.
    pub attributes: *const LaunchAttribute,
    /// numAttrs.
    pub attribute_count: u32,
}

/// CUlaunchAttribute: an id and its value, 64 bytes.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct LaunchAttribute {
    /// CUlaunchAttributeID.
    pub id: u32,
    /// pad.
    pub pad: u32,
    /// CUlaunchAttributeValue.
    pub value: [u32; 16],
}

/// CUDA_ARRAY_DESCRIPTOR_v2.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ArrayDescriptor {
    /// Width, Height.
    pub size: [usize; 2],
    /// Format.
    pub format: u32,
    /// NumChannels.
    pub channels: u32,
}

/// CUDA_ARRAY3D_DESCRIPTOR_v2.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ArrayDescriptor3D {
    /// Width, Height, Depth.
    pub size: [usize; 3],
    /// Format.
    pub format: u32,
    /// NumChannels.
    pub channels: u32,
    /// Flags.
    pub flags: u32,
}

/// CUmemAllocationProp_v1.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct AllocationProperties {
    /// type: 1 is pinned.
    pub kind: u32,
    /// requestedHandleTypes.
    pub handle_types: u32,
    /// location: its type, 1 for a device, and the device.
    pub location: [u32; 2],
    /// win32HandleMetaData.
    pub windows: u64,
    /// allocFlags.
    pub flags: [u8; 8],
}

/// CUDA_MEMCPY2D_v2.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Memcpy2D {
    /// srcXInBytes.
    pub source_x: usize,
    /// srcY.
    pub source_y: usize,
    /// srcMemoryType: 1 host, 2 device, 4 unified.
    pub source_type: u32,
    /// srcHost.
    pub source_host: usize,
    /// srcDevice.
    pub source_device: CUdeviceptr,
    /// srcArray.
    pub source_array: Handle,
    /// srcPitch.
    pub source_pitch: usize,
    /// dstXInBytes.
    pub target_x: usize,
    /// dstY.
    pub target_y: usize,
    /// dstMemoryType.
    pub target_type: u32,
    /// dstHost.
    pub target_host: usize,
    /// dstDevice.
    pub target_device: CUdeviceptr,
    /// dstArray.
    pub target_array: Handle,
    /// dstPitch.
    pub target_pitch: usize,
    /// WidthInBytes.
    pub width: usize,
    /// Height.
    pub height: usize,
}

macro_rules! driver {
    ($(fn $name:ident($($argument:ident: $kind:ty),*);)*) => {
        /// The library's functions. A call is `unsafe`: the API's own rules for its arguments hold.
        pub struct Driver {
            $($name: unsafe extern "C" fn($($kind),*) -> CUresult,)*
            // Last, so that it is dropped after the functions.
            _library: libloading::Library,
        }

        #[allow(missing_docs, clippy::missing_safety_doc, clippy::too_many_arguments, reason = "CUDA Driver API says it")]
        impl Driver {
            /// Loads `libcuda.so.1`.
            ///
            /// # Errors
            /// One line: there is none, or it lacks a function.
            pub fn load() -> Result<Driver, String> {
                // SAFETY: a CUDA library's initialisers run when it is loaded, as in every CUDA program.
                let library = unsafe { libloading::Library::new("libcuda.so.1") }
                    .map_err(|error| {
                        // The loader's own words are the cause; they name the file.
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        format!("no CUDA driver library: {}", cause.unwrap_or_else(|| error.to_string()))
                    })?;
                Ok(Driver {
                    $(
                        // SAFETY: the type is that of the CUDA Driver API for this name.
                        $name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                            .map_err(|_| format!("libcuda.so.1 lacks {}", stringify!($name)))?,
                    )*
                    _library: library,
                })
            }

            $(
                pub unsafe fn $name(&self, $($argument: $kind),*) -> CUresult {
                    // SAFETY: as promised by the caller.
                    unsafe { (self.$name)($($argument),*) }
                }
            )*
        }
    };
}

driver! {
    // Initialization, version, errors, entry points
    fn cuInit(Flags: u32);
    fn cuDriverGetVersion(driverVersion: *mut i32);
    fn cuGetErrorName(error: CUresult, pStr: *mut *const c_char);
    fn cuGetErrorString(error: CUresult, pStr: *mut *const c_char);
    fn cuGetProcAddress_v2(symbol: *const c_char, pfn: *mut *mut c_void, cudaVersion: i32, flags: u64, symbolStatus: *mut i32);
    // Devices
    fn cuDeviceGet(device: *mut CUdevice, ordinal: i32);
    fn cuDeviceGetCount(count: *mut i32);
    fn cuDeviceGetName(name: *mut c_char, len: i32, dev: CUdevice);
    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], dev: CUdevice);
    fn cuDeviceTotalMem_v2(bytes: *mut usize, dev: CUdevice);
    fn cuDeviceGetAttribute(pi: *mut i32, attrib: i32, dev: CUdevice);
    fn cuDeviceComputeCapability(major: *mut i32, minor: *mut i32, dev: CUdevice);
    fn cuDeviceGetPCIBusId(pciBusId: *mut c_char, len: i32, dev: CUdevice);
    // Contexts
    fn cuDevicePrimaryCtxRetain(pctx: *mut Handle, dev: CUdevice);
    fn cuDevicePrimaryCtxRelease_v2(dev: CUdevice);
    fn cuDevicePrimaryCtxGetState(dev: CUdevice, flags: *mut u32, active: *mut i32);
    fn cuCtxCreate_v2(pctx: *mut Handle, flags: u32, dev: CUdevice);
    fn cuCtxDestroy_v2(ctx: Handle);
    fn cuCtxPushCurrent_v2(ctx: Handle);
    fn cuCtxPopCurrent_v2(pctx: *mut Handle);
    fn cuCtxSetCurrent(ctx: Handle);
    fn cuCtxGetCurrent(pctx: *mut Handle);
    fn cuCtxGetDevice(device: *mut CUdevice);
    fn cuCtxGetFlags(flags: *mut u32);
    fn cuCtxGetApiVersion(ctx: Handle, version: *mut u32);
    fn cuCtxGetLimit(pvalue: *mut usize, limit: u32);
    fn cuCtxSetLimit(limit: u32, value: usize);
    fn cuCtxGetCacheConfig(pconfig: *mut u32);
    fn cuCtxSetCacheConfig(config: u32);
    fn cuCtxGetStreamPriorityRange(leastPriority: *mut i32, greatestPriority: *mut i32);
    fn cuCtxSynchronize();
    // Modules and libraries
    fn cuModuleLoadData(module: *mut Handle, image: *const c_void);
    fn cuModuleLoadDataEx(module: *mut Handle, image: *const c_void, numOptions: u32, options: *const u32, optionValues: *mut usize);
    fn cuModuleLoadFatBinary(module: *mut Handle, fatCubin: *const c_void);
    fn cuModuleUnload(hmod: Handle);
    fn cuModuleGetFunction(hfunc: *mut Handle, hmod: Handle, name: *const c_char);
    fn cuModuleGetGlobal_v2(dptr: *mut CUdeviceptr, bytes: *mut usize, hmod: Handle, name: *const c_char);
    fn cuModuleGetFunctionCount(count: *mut u32, module: Handle);
    fn cuLibraryLoadData(library: *mut Handle, code: *const c_void, jitOptions: *const u32, jitOptionsValues: *const usize, numJitOptions: u32, libraryOptions: *const u32, libraryOptionValues: *const usize, numLibraryOptions: u32);
    fn cuLibraryUnload(library: Handle);
    fn cuLibraryGetKernel(pKernel: *mut Handle, library: Handle, name: *const c_char);
    fn cuLibraryGetKernelCount(count: *mut u32, library: Handle);
    fn cuLibraryGetModule(pMod: *mut Handle, library: Handle);
    fn cuLibraryGetGlobal(dptr: *mut CUdeviceptr, bytes: *mut usize, library: Handle, name: *const c_char);
    fn cuKernelGetFunction(pFunc: *mut Handle, kernel: Handle);
    fn cuKernelGetAttribute(pi: *mut i32, attrib: i32, kernel: Handle, dev: CUdevice);
    fn cuKernelGetName(name: *mut *const c_char, kernel: Handle);
    // Functions
    fn cuFuncGetAttribute(pi: *mut i32, attrib: i32, hfunc: Handle);
    fn cuFuncSetAttribute(hfunc: Handle, attrib: i32, value: i32);
    fn cuFuncSetCacheConfig(hfunc: Handle, config: u32);
    fn cuFuncGetModule(hmod: *mut Handle, hfunc: Handle);
    fn cuFuncGetName(name: *mut *const c_char, hfunc: Handle);
    fn cuFuncGetParamInfo(func: Handle, paramIndex: usize, paramOffset: *mut usize, paramSize: *mut usize);
    // Memory
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
    fn cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytesize: usize);
    fn cuMemAllocPitch_v2(dptr: *mut CUdeviceptr, pPitch: *mut usize, WidthInBytes: usize, Height: usize, ElementSizeBytes: u32);
    fn cuMemFree_v2(dptr: CUdeviceptr);
    fn cuMemAllocAsync(dptr: *mut CUdeviceptr, bytesize: usize, hStream: Handle);
    fn cuMemFreeAsync(dptr: CUdeviceptr, hStream: Handle);
    fn cuArrayCreate_v2(pHandle: *mut Handle, pAllocateArray: *const ArrayDescriptor);
    fn cuArrayDestroy(hArray: Handle);
    fn cuMipmappedArrayCreate(pHandle: *mut Handle, pMipmappedArrayDesc: *const ArrayDescriptor3D, numMipmapLevels: u32);
    fn cuMipmappedArrayDestroy(hMipmappedArray: Handle);
    fn cuMemCreate(handle: *mut u64, size: usize, prop: *const AllocationProperties, flags: u64);
    fn cuMemRelease(handle: u64);
    fn cuMemAddressReserve(ptr: *mut CUdeviceptr, size: usize, alignment: usize, addr: CUdeviceptr, flags: u64);
    fn cuMemAddressFree(ptr: CUdeviceptr, size: usize);
    fn cuMemMap(ptr: CUdeviceptr, size: usize, offset: usize, handle: u64, flags: u64);
    fn cuMemUnmap(ptr: CUdeviceptr, size: usize);
    fn cuMemGetAddressRange_v2(pbase: *mut CUdeviceptr, psize: *mut usize, dptr: CUdeviceptr);
    fn cuMemcpy(dst: CUdeviceptr, src: CUdeviceptr, ByteCount: usize);
    fn cuMemcpyAsync(dst: CUdeviceptr, src: CUdeviceptr, ByteCount: usize, hStream: Handle);
    fn cuMemcpyHtoD_v2(dstDevice: CUdeviceptr, srcHost: *const c_void, ByteCount: usize);
    fn cuMemcpyDtoH_v2(dstHost: *mut c_void, srcDevice: CUdeviceptr, ByteCount: usize);
    fn cuMemcpyDtoD_v2(dstDevice: CUdeviceptr, srcDevice: CUdeviceptr, ByteCount: usize);
    fn cuMemcpyHtoDAsync_v2(dstDevice: CUdeviceptr, srcHost: *const c_void, ByteCount: usize, hStream: Handle);
    fn cuMemcpyDtoHAsync_v2(dstHost: *mut c_void, srcDevice: CUdeviceptr, ByteCount: usize, hStream: Handle);
    fn cuMemcpyDtoDAsync_v2(dstDevice: CUdeviceptr, srcDevice: CUdeviceptr, ByteCount: usize, hStream: Handle);
    fn cuMemcpy2D_v2(pCopy: *const Memcpy2D);
    fn cuMemcpy2DUnaligned_v2(pCopy: *const Memcpy2D);
    fn cuMemcpy2DAsync_v2(pCopy: *const Memcpy2D, hStream: Handle);
    fn cuMemsetD8_v2(dstDevice: CUdeviceptr, uc: u8, N: usize);
    fn cuMemsetD16_v2(dstDevice: CUdeviceptr, us: u16, N: usize);
    fn cuMemsetD32_v2(dstDevice: CUdeviceptr, ui: u32, N: usize);
    fn cuMemsetD2D8_v2(dstDevice: CUdeviceptr, dstPitch: usize, uc: u8, Width: usize, Height: usize);
    fn cuMemsetD2D32_v2(dstDevice: CUdeviceptr, dstPitch: usize, ui: u32, Width: usize, Height: usize);
    fn cuMemsetD8Async(dstDevice: CUdeviceptr, uc: u8, N: usize, hStream: Handle);
    fn cuMemsetD32Async(dstDevice: CUdeviceptr, ui: u32, N: usize, hStream: Handle);
    fn cuPointerGetAttribute(data: *mut c_void, attribute: u32, ptr: CUdeviceptr);
    // Page-locked memory
    fn cuMemAllocHost_v2(pp: *mut *mut c_void, bytesize: usize);
    fn cuMemHostAlloc(pp: *mut *mut c_void, bytesize: usize, Flags: u32);
    fn cuMemFreeHost(p: *mut c_void);
    fn cuMemHostGetDevicePointer_v2(pdptr: *mut CUdeviceptr, p: *mut c_void, Flags: u32);
    fn cuMemHostGetFlags(pFlags: *mut u32, p: *mut c_void);
    fn cuMemHostRegister_v2(p: *mut c_void, bytesize: usize, Flags: u32);
    fn cuMemHostUnregister(p: *mut c_void);
    // Streams and events
    fn cuStreamCreate(phStream: *mut Handle, Flags: u32);
    fn cuStreamCreateWithPriority(phStream: *mut Handle, flags: u32, priority: i32);
    fn cuStreamGetPriority(hStream: Handle, priority: *mut i32);
    fn cuStreamGetFlags(hStream: Handle, flags: *mut u32);
    fn cuStreamGetCtx(hStream: Handle, pctx: *mut Handle);
    fn cuStreamWaitEvent(hStream: Handle, hEvent: Handle, Flags: u32);
    fn cuStreamQuery(hStream: Handle);
    fn cuStreamSynchronize(hStream: Handle);
    fn cuStreamDestroy_v2(hStream: Handle);
    fn cuEventCreate(phEvent: *mut Handle, Flags: u32);
    fn cuEventRecord(hEvent: Handle, hStream: Handle);
    fn cuEventQuery(hEvent: Handle);
    fn cuEventSynchronize(hEvent: Handle);
    fn cuEventDestroy_v2(hEvent: Handle);
    fn cuEventElapsedTime(pMilliseconds: *mut f32, hStart: Handle, hEnd: Handle);
    // Launches and occupancy
    fn cuLaunchKernel(f: Handle, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32, blockDimZ: u32, sharedMemBytes: u32, hStream: Handle, kernelParams: *mut *mut c_void, extra: *mut *mut c_void);
    fn cuLaunchKernelEx(config: *const LaunchConfig, f: Handle, kernelParams: *mut *mut c_void, extra: *mut *mut c_void);
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(numBlocks: *mut i32, func: Handle, blockSize: i32, dynamicSMemSize: usize);
    fn cuOccupancyMaxPotentialBlockSize(minGridSize: *mut i32, blockSize: *mut i32, func: Handle, blockSizeToDynamicSMemSize: Option<BlockToShared>, dynamicSMemSize: usize, blockSizeLimit: i32);
    fn cuOccupancyAvailableDynamicSMemPerBlock(dynamicSmemSize: *mut usize, func: Handle, numBlocks: i32, blockSize: i32);
}

/// Makes one call of the API; its answer, a [`CUresult`].
#[macro_export]
#[allow(
    clippy::macro_metavars_in_unsafe,
    reason = "arguments are places and numbers; a block at each call would say nothing"
)]
macro_rules! call {
    ($driver:expr, $name:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: each argument is what the CUDA Driver API asks for at this call, or one that it must refuse.
        unsafe { $driver.$name($($argument),*) }
    };
}

/// Makes one call of the API; a line that names it where it fails.
#[macro_export]
macro_rules! must {
    ($driver:expr, $name:ident($($argument:expr),* $(,)?)) => {
        match $crate::call!($driver, $name($($argument),*)) {
            0 => Ok(()),
            status => Err(format!("{}: {}", stringify!($name), $driver.name_of(status))),
        }
    };
}

impl Driver {
    /// A status as the library names it: `CUDA_ERROR_INVALID_VALUE (1)`.
    #[must_use]
    pub fn name_of(&self, status: CUresult) -> String {
        let mut text = std::ptr::null();
        if call!(self, cuGetErrorName(status, &mut text)) != 0 || text.is_null() {
            return format!("error {status}");
        }
        format!("{} ({status})", text_of(text))
    }

    /// The name of a device.
    ///
    /// # Errors
    /// The call that failed.
    pub fn device_name(&self, device: CUdevice) -> Result<String, String> {
        let mut name = [0u8; 256];
        must!(self, cuDeviceGetName(name.as_mut_ptr().cast(), 256, device))?;
        Ok(text_of(name.as_ptr().cast()))
    }
}

/// A text that the library keeps, copied; empty for a null pointer.
#[must_use]
#[allow(clippy::not_unsafe_ptr_arg_deref, reason = "a test program believes the library it tests")]
pub fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the library's texts end with a zero byte.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
