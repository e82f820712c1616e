//! Shared virtual memory: not offered. OpenCL 3.0 lets a device say so, and what its functions then answer.

use crate::arena;
use crate::context::Context;
use crate::kernel::Kernel;
use crate::queue::Queue;
use crate::status::CL_INVALID_OPERATION;
use crate::user::{In, Out, Raw};
use core::ffi::c_void;

/// `CL_DEVICE_SVM_CAPABILITIES` where the host's are `_host`.
#[must_use]
pub fn capabilities(_host: u64) -> u64 {
    0
}

/// OpenCL 3.0 § 5.6, clSVMAlloc.
///
/// # Safety
/// Nothing is asked of the caller.
pub unsafe extern "C" fn clSVMAlloc(_context: Raw, _flags: u64, _size: usize, _alignment: u32) -> *mut c_void {
    core::ptr::null_mut()
}

/// OpenCL 3.0 § 5.6, clSVMFree.
///
/// # Safety
/// Nothing is asked of the caller.
pub unsafe extern "C" fn clSVMFree(context: Raw, _svm_pointer: *mut c_void) {
    // What was never given out cannot be given back.
    let _ = arena::get::<Context>(context);
}

crate::calls! {
    /// OpenCL 3.0 § 5.6, clEnqueueSVMFree.
    extern "C" fn clEnqueueSVMFree(
        command_queue: Raw, _num_svm_pointers: u32, _svm_pointers: In<Raw>, _pfn_free_func: *const c_void,
        _user_data: *mut c_void, _num_events_in_wait_list: u32, _event_wait_list: In<Raw>, _event: Out<Raw>,
    ) {
        arena::get::<Queue>(command_queue)?;
        Err(CL_INVALID_OPERATION)
    }

    /// OpenCL 3.0 § 5.6, clEnqueueSVMMemcpy.
    extern "C" fn clEnqueueSVMMemcpy(
        command_queue: Raw, _blocking_copy: u32, _dst_ptr: *mut c_void, _src_ptr: *const c_void, _size: usize,
        _num_events_in_wait_list: u32, _event_wait_list: In<Raw>, _event: Out<Raw>,
    ) {
        arena::get::<Queue>(command_queue)?;
        Err(CL_INVALID_OPERATION)
    }

    /// OpenCL 3.0 § 5.6, clEnqueueSVMMemFill.
    extern "C" fn clEnqueueSVMMemFill(
        command_queue: Raw, _svm_ptr: *mut c_void, _pattern: *const c_void, _pattern_size: usize, _size: usize,
        _num_events_in_wait_list: u32, _event_wait_list: In<Raw>, _event: Out<Raw>,
    ) {
        arena::get::<Queue>(command_queue)?;
        Err(CL_INVALID_OPERATION)
    }

    /// OpenCL 3.0 § 5.6, clEnqueueSVMMap.
    extern "C" fn clEnqueueSVMMap(
        command_queue: Raw, _blocking_map: u32, _flags: u64, _svm_ptr: *mut c_void, _size: usize,
        _num_events_in_wait_list: u32, _event_wait_list: In<Raw>, _event: Out<Raw>,
    ) {
        arena::get::<Queue>(command_queue)?;
        Err(CL_INVALID_OPERATION)
    }

    /// OpenCL 3.0 § 5.6, clEnqueueSVMUnmap.
    extern "C" fn clEnqueueSVMUnmap(
        command_queue: Raw, _svm_ptr: *mut c_void, _num_events_in_wait_list: u32, _event_wait_list: In<Raw>, _event: Out<Raw>,
    ) {
        arena::get::<Queue>(command_queue)?;
        Err(CL_INVALID_OPERATION)
    }

    /// OpenCL 3.0 § 5.6, clEnqueueSVMMigrateMem.
    extern "C" fn clEnqueueSVMMigrateMem(
        command_queue: Raw, _num_svm_pointers: u32, _svm_pointers: In<Raw>, _sizes: In<usize>, _flags: u64,
        _num_events_in_wait_list: u32, _event_wait_list: In<Raw>, _event: Out<Raw>,
    ) {
        arena::get::<Queue>(command_queue)?;
        Err(CL_INVALID_OPERATION)
    }

    /// OpenCL 3.0 § 5.9.2, clSetKernelArgSVMPointer.
    extern "C" fn clSetKernelArgSVMPointer(kernel: Raw, _arg_index: u32, _arg_value: *const c_void) {
        arena::get::<Kernel>(kernel)?;
        Err(CL_INVALID_OPERATION)
    }
}
