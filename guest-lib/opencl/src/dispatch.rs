//! The dispatch table: what the loader calls through the first word of every object. The order is that of `cl_khr_icd`,
//! append-only.

use crate::cl_int;
use crate::status::CL_INVALID_OPERATION;
use crate::user::{Out, Raw};
use core::ffi::c_void;

use crate::buffer::{clCreateBuffer, clCreateBufferWithProperties, clCreateSubBuffer};
use crate::context::{
    clCreateContext, clCreateContextFromType, clGetContextInfo, clGetSupportedImageFormats, clReleaseContext,
    clRetainContext, clSetContextDestructorCallback, clSetDefaultDeviceCommandQueue,
};
use crate::copy::{
    clEnqueueBarrier, clEnqueueBarrierWithWaitList, clEnqueueCopyBuffer, clEnqueueCopyBufferRect,
    clEnqueueCopyBufferToImage, clEnqueueCopyImage, clEnqueueCopyImageToBuffer, clEnqueueFillBuffer,
    clEnqueueFillImage, clEnqueueMarker, clEnqueueMarkerWithWaitList, clEnqueueMigrateMemObjects,
    clEnqueueWaitForEvents,
};
use crate::device::{
    clCreateSubDevices, clGetDeviceAndHostTimer, clGetDeviceInfo, clGetHostTimer, clReleaseDevice, clRetainDevice,
};
use crate::event::{
    clCreateUserEvent, clGetEventInfo, clGetEventProfilingInfo, clReleaseEvent, clRetainEvent, clSetEventCallback,
    clSetUserEventStatus, clWaitForEvents,
};
use crate::icd::{clGetExtensionFunctionAddress, clGetExtensionFunctionAddressForPlatform};
use crate::image::{clCreateImage, clCreateImage2D, clCreateImage3D, clCreateImageWithProperties, clGetImageInfo};
use crate::kernel::{
    clCloneKernel, clCreateKernel, clCreateKernelsInProgram, clGetKernelArgInfo, clGetKernelInfo,
    clGetKernelSubGroupInfo, clGetKernelSuggestedLocalWorkSize, clGetKernelWorkGroupInfo, clReleaseKernel,
    clRetainKernel, clSetKernelArg, clSetKernelExecInfo,
};
use crate::launch::{clEnqueueNDRangeKernel, clEnqueueNativeKernel, clEnqueueTask};
use crate::map::{clEnqueueMapBuffer, clEnqueueMapImage, clEnqueueUnmapMemObject};
use crate::memory::{
    clCreatePipe, clGetMemObjectInfo, clGetPipeInfo, clReleaseMemObject, clRetainMemObject,
    clSetMemObjectDestructorCallback,
};
use crate::platform::{
    clGetDeviceIDs, clGetPlatformIDs, clGetPlatformInfo, clUnloadCompiler, clUnloadPlatformCompiler,
};
use crate::program::{
    clGetProgramBuildInfo, clGetProgramInfo, clReleaseProgram, clRetainProgram, clSetProgramReleaseCallback,
};
use crate::program_build::{clBuildProgram, clCompileProgram, clLinkProgram, clSetProgramSpecializationConstant};
use crate::program_make::{
    clCreateProgramWithBinary, clCreateProgramWithBuiltInKernels, clCreateProgramWithIL, clCreateProgramWithSource,
};
use crate::queue::{
    clCreateCommandQueue, clCreateCommandQueueWithProperties, clFinish, clFlush, clGetCommandQueueInfo,
    clReleaseCommandQueue, clRetainCommandQueue, clSetCommandQueueProperty,
};
use crate::sampler::{
    clCreateSampler, clCreateSamplerWithProperties, clGetSamplerInfo, clReleaseSampler, clRetainSampler,
};
use crate::svm::{
    clEnqueueSVMFree, clEnqueueSVMMap, clEnqueueSVMMemFill, clEnqueueSVMMemcpy, clEnqueueSVMMigrateMem,
    clEnqueueSVMUnmap, clSVMAlloc, clSVMFree, clSetKernelArgSVMPointer,
};
use crate::transfer::{
    clEnqueueReadBuffer, clEnqueueReadBufferRect, clEnqueueReadImage, clEnqueueWriteBuffer, clEnqueueWriteBufferRect,
    clEnqueueWriteImage,
};

/// Slots of the table.
pub const SLOTS: usize = 150;

/// The table.
#[repr(transparent)]
pub struct Table([*const (); SLOTS]);

// SAFETY: addresses of functions.
unsafe impl Sync for Table {}

impl Table {
    /// The function in a slot; null for none.
    #[must_use]
    pub fn slot(&self, at: usize) -> Option<*const ()> {
        self.0.get(at).copied()
    }
}

/// What an extension's function answers that is not carried: its objects cannot exist here.
unsafe extern "C" fn refuse() -> cl_int {
    CL_INVALID_OPERATION
}

/// The same for a function that returns an object and takes the place for its status third.
unsafe extern "C" fn refuse_third(_first: Raw, _second: Raw, errcode_ret: Out<cl_int>) -> Raw {
    errcode_ret.set(CL_INVALID_OPERATION);
    core::ptr::null_mut()
}

/// The same, fourth.
unsafe extern "C" fn refuse_fourth(_first: Raw, _second: u64, _third: u64, errcode_ret: Out<cl_int>) -> Raw {
    errcode_ret.set(CL_INVALID_OPERATION);
    core::ptr::null_mut()
}

/// The same, sixth.
unsafe extern "C" fn refuse_sixth(
    _first: Raw,
    _second: u64,
    _third: u64,
    _fourth: u64,
    _fifth: u64,
    errcode_ret: Out<cl_int>,
) -> Raw {
    errcode_ret.set(CL_INVALID_OPERATION);
    core::ptr::null_mut()
}

/// A slot of other systems, which no loader of this one calls.
const NONE: *const c_void = core::ptr::null();

macro_rules! table {
    ($($slot:ident),* $(,)?) => { Table([$($slot as *const ()),*]) };
}

/// The table of every object.
#[rustfmt::skip]
pub static TABLE: Table = table![
    clGetPlatformIDs, clGetPlatformInfo, clGetDeviceIDs, clGetDeviceInfo, clCreateContext, clCreateContextFromType,
    clRetainContext, clReleaseContext, clGetContextInfo, clCreateCommandQueue, clRetainCommandQueue,
    clReleaseCommandQueue, clGetCommandQueueInfo, clSetCommandQueueProperty, clCreateBuffer, clCreateImage2D,
    clCreateImage3D, clRetainMemObject, clReleaseMemObject, clGetSupportedImageFormats, clGetMemObjectInfo,
    clGetImageInfo, clCreateSampler, clRetainSampler, clReleaseSampler, clGetSamplerInfo, clCreateProgramWithSource,
    clCreateProgramWithBinary, clRetainProgram, clReleaseProgram, clBuildProgram, clUnloadCompiler, clGetProgramInfo,
    clGetProgramBuildInfo, clCreateKernel, clCreateKernelsInProgram, clRetainKernel, clReleaseKernel, clSetKernelArg,
    clGetKernelInfo, clGetKernelWorkGroupInfo, clWaitForEvents, clGetEventInfo, clRetainEvent, clReleaseEvent,
    clGetEventProfilingInfo, clFlush, clFinish, clEnqueueReadBuffer, clEnqueueWriteBuffer, clEnqueueCopyBuffer,
    clEnqueueReadImage, clEnqueueWriteImage, clEnqueueCopyImage, clEnqueueCopyImageToBuffer, clEnqueueCopyBufferToImage,
    clEnqueueMapBuffer, clEnqueueMapImage, clEnqueueUnmapMemObject, clEnqueueNDRangeKernel, clEnqueueTask,
    clEnqueueNativeKernel, clEnqueueMarker, clEnqueueWaitForEvents, clEnqueueBarrier, clGetExtensionFunctionAddress,
    // OpenGL: buffer, two textures, render buffer; two questions; acquire, release; its devices.
    refuse_fourth, refuse_sixth, refuse_sixth, refuse_fourth, refuse, refuse, refuse, refuse, refuse,
    // Direct3D 10.
    NONE, NONE, NONE, NONE, NONE, NONE,
    // OpenCL 1.1.
    clSetEventCallback, clCreateSubBuffer, clSetMemObjectDestructorCallback, clCreateUserEvent, clSetUserEventStatus,
    clEnqueueReadBufferRect, clEnqueueWriteBufferRect, clEnqueueCopyBufferRect,
    // cl_ext_device_fission, and an event of OpenGL's.
    refuse, refuse, refuse, refuse_third,
    // OpenCL 1.2.
    clCreateSubDevices, clRetainDevice, clReleaseDevice, clCreateImage, clCreateProgramWithBuiltInKernels,
    clCompileProgram, clLinkProgram, clUnloadPlatformCompiler, clGetKernelArgInfo, clEnqueueFillBuffer,
    clEnqueueFillImage, clEnqueueMigrateMemObjects, clEnqueueMarkerWithWaitList, clEnqueueBarrierWithWaitList,
    clGetExtensionFunctionAddressForPlatform, refuse_sixth,
    // Direct3D 11, DirectX 9.
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    // EGL: image, acquire, release, event.
    refuse_sixth, refuse, refuse, refuse_fourth,
    // OpenCL 2.0.
    clCreateCommandQueueWithProperties, clCreatePipe, clGetPipeInfo, clSVMAlloc, clSVMFree, clEnqueueSVMFree,
    clEnqueueSVMMemcpy, clEnqueueSVMMemFill, clEnqueueSVMMap, clEnqueueSVMUnmap, clCreateSamplerWithProperties,
    clSetKernelArgSVMPointer, clSetKernelExecInfo,
    // cl_khr_sub_groups.
    clGetKernelSubGroupInfo,
    // OpenCL 2.1.
    clCloneKernel, clCreateProgramWithIL, clEnqueueSVMMigrateMem, clGetDeviceAndHostTimer, clGetHostTimer,
    clGetKernelSubGroupInfo, clSetDefaultDeviceCommandQueue,
    // OpenCL 2.2.
    clSetProgramReleaseCallback, clSetProgramSpecializationConstant,
    // OpenCL 3.0.
    clCreateBufferWithProperties, clCreateImageWithProperties, clSetContextDestructorCallback,
    // OpenCL 3.1.
    clGetKernelSuggestedLocalWorkSize,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_when_counted_then_functions_stand_in_their_slots() {
        let at = |slot| TABLE.slot(slot).expect("a slot");
        assert_eq!(at(0), clGetPlatformIDs as *const ());
        assert_eq!(at(48), clEnqueueReadBuffer as *const ());
        assert_eq!(at(81), clSetEventCallback as *const ());
        assert_eq!(at(93), clCreateSubDevices as *const ());
        assert_eq!(at(123), clCreateCommandQueueWithProperties as *const ());
        assert_eq!(at(149), clGetKernelSuggestedLocalWorkSize as *const ());
        assert_eq!(TABLE.slot(150), None);
    }

    /// Pointers that are no objects: null, small, into code, into data, far away.
    fn wild() -> [Raw; 5] {
        let data = Box::leak(Box::new([0x5au8; 64]));
        [core::ptr::null_mut(), 8 as Raw, clFinish as Raw, data.as_mut_ptr().cast(), 0x7fff_1234_5000usize as Raw]
    }

    #[test]
    fn functions_when_given_what_is_no_object_then_answer_its_kinds_error() {
        use crate::generated::kind;
        use crate::user::In;
        let (none, list, out) = (core::ptr::null_mut(), In(core::ptr::null()), Out(core::ptr::null_mut()));
        for raw in wild() {
            // SAFETY: the pointers are only compared; no others are given.
            unsafe {
                assert_eq!(clRetainContext(raw), kind::cl_context.error);
                assert_eq!(clReleaseDevice(raw), kind::cl_device_id.error);
                assert_eq!(clFinish(raw), kind::cl_command_queue.error);
                assert_eq!(clReleaseMemObject(raw), kind::cl_mem.error);
                assert_eq!(clRetainSampler(raw), kind::cl_sampler.error);
                assert_eq!(clReleaseProgram(raw), kind::cl_program.error);
                assert_eq!(clSetKernelArg(raw, 0, 8, none), kind::cl_kernel.error);
                assert_eq!(clReleaseEvent(raw), kind::cl_event.error);
                assert_eq!(clSetUserEventStatus(raw, 0), kind::cl_event.error);
                assert_eq!(clEnqueueUnmapMemObject(raw, raw, none, 0, list, out), kind::cl_command_queue.error);
                assert_eq!(clWaitForEvents(1, In(&raw const raw)), kind::cl_event.error);
                let mut status = 0;
                assert!(clCreateBuffer(raw, 0, 8, none, Out(&raw mut status)).is_null());
                assert_eq!(status, kind::cl_context.error);
                assert!(clSVMAlloc(raw, 0, 8, 0).is_null());
                clSVMFree(raw, raw);
            }
        }
    }
}
