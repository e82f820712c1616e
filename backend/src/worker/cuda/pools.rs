//! Stream-ordered allocation, memory pools, and physical memory mapped at reserved addresses.

use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::Cuda;
use super::generated::{
    CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, CUmemAllocationProp, CUmemLocation, CUmemPoolProps,
};
use super::memory::allocated;
use super::ranges::{Range, Sort};
use crate::worker::answer::{Failure, function, ok};

/// `CUmemLocationType` device: the only place where a guest's pools and physical memory may lie. Memory of the host's own, and of
/// its NUMA nodes, is not lent.
const LOCATION_DEVICE: u32 = 1;

/// `CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`.
const POSIX_FILE_DESCRIPTOR: u32 = 1;

pub(super) fn on_device(location: &CUmemLocation, handle_types: u32) -> Result<(), Failure> {
    // Of the handles for others, file descriptors are carried.
    if location.kind != LOCATION_DEVICE || handle_types != 0 {
        return Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED));
    }
    Ok(())
}

impl Cuda {
    /// `cuMemAllocAsync`.
    pub(super) fn cuMemAllocAsync(
        &self,
        from: &FrameHeader,
        dptr: &mut u64,
        bytesize: usize,
        stream: *mut c_void,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemAllocAsync)?;
        // SAFETY: the stream lives, the pointer is to a live variable.
        ok(unsafe { call(dptr, bytesize, stream) })?;
        self.range_made(*dptr, allocated(from, bytesize as u64));
        Ok(())
    }

    /// `cuMemAllocFromPoolAsync`.
    pub(super) fn cuMemAllocFromPoolAsync(
        &self,
        from: &FrameHeader,
        dptr: &mut u64,
        bytesize: usize,
        pool: *mut c_void,
        stream: *mut c_void,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemAllocFromPoolAsync)?;
        // SAFETY: stream and pool live, the pointer is to a live variable.
        ok(unsafe { call(dptr, bytesize, pool, stream) })?;
        self.range_made(*dptr, allocated(from, bytesize as u64));
        Ok(())
    }

    /// `cuMemFreeAsync`.
    pub(super) fn cuMemFreeAsync(&self, _from: &FrameHeader, dptr: u64, stream: *mut c_void) -> Result<(), Failure> {
        let call = function!(self, cuMemFreeAsync)?;
        if dptr == 0 {
            return Ok(());
        }
        if self.is_of_graph(dptr) {
            // SAFETY: the stream lives; a graph allocated the memory. The next launch will do so again, at this address.
            return ok(unsafe { call(dptr, stream) });
        }
        let range = self.range_ended(dptr, Sort::Allocated).ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        // SAFETY: the stream lives; the guest allocated the memory and has not freed it.
        let status = unsafe { call(dptr, stream) };
        if status != 0 {
            self.range_made(dptr, range);
        }
        ok(status)
    }

    /// `cuMemPoolCreate`.
    pub(super) fn cuMemPoolCreate(
        &self,
        _from: &FrameHeader,
        _pool: Handle,
        made: &mut *mut c_void,
        props: &CUmemPoolProps,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemPoolCreate)?;
        on_device(&props.location, props.handleTypes & !POSIX_FILE_DESCRIPTOR)?;
        let props = CUmemPoolProps { win32SecurityAttributes: 0, ..*props };
        // SAFETY: the pointers are to live variables; the properties hold no pointer.
        ok(unsafe { call(made, &raw const props) })
    }

    /// `cuMemPoolSetAttribute`.
    pub(super) fn gpuferryMemPoolSetAttribute(
        &self,
        _from: &FrameHeader,
        pool: *mut c_void,
        attribute: u32,
        value: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemPoolSetAttribute)?;
        let mut value = [value, 0];
        // SAFETY: the pool lives; values are at most 8 bytes wide, and narrow ones lie in the low bits.
        ok(unsafe { call(pool, attribute, value.as_mut_ptr().cast()) })
    }

    /// `cuMemPoolGetAttribute`.
    pub(super) fn gpuferryMemPoolGetAttribute(
        &self,
        _from: &FrameHeader,
        pool: *mut c_void,
        attribute: u32,
        value: &mut u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemPoolGetAttribute)?;
        let mut room = [0u64; 8];
        // SAFETY: the pool lives; values are at most 8 bytes wide, and there is room for more.
        ok(unsafe { call(pool, attribute, room.as_mut_ptr().cast()) })?;
        *value = room[0];
        Ok(())
    }

    /// `cuMemPoolGetAccess`.
    pub(super) fn gpuferryMemPoolGetAccess(
        &self,
        _from: &FrameHeader,
        flags: &mut u32,
        pool: *mut c_void,
        location: &CUmemLocation,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemPoolGetAccess)?;
        let mut location = *location;
        // SAFETY: the pool lives, the pointers are to live variables.
        ok(unsafe { call(flags, pool, &raw mut location) })
    }

    /// `cuMemAddressReserve`.
    pub(super) fn cuMemAddressReserve(
        &self,
        _from: &FrameHeader,
        address: &mut u64,
        size: usize,
        alignment: usize,
        hint: u64,
        flags: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemAddressReserve)?;
        // SAFETY: the pointer is to a live variable; the driver takes addresses that are free or others than the hint.
        ok(unsafe { call(address, size, alignment, hint, flags) })?;
        self.range_made(*address, Range { bytes: size as u64, sort: Sort::Reserved, owner: Handle::NULL });
        Ok(())
    }

    /// `cuMemAddressFree`.
    pub(super) fn cuMemAddressFree(&self, _from: &FrameHeader, address: u64, size: usize) -> Result<(), Failure> {
        let call = function!(self, cuMemAddressFree)?;
        let range = self.range_ended(address, Sort::Reserved).ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        // SAFETY: the guest reserved addresses that begin there; the driver compares the length.
        let status = unsafe { call(address, size) };
        if status != 0 {
            self.range_made(address, range);
        }
        ok(status)
    }

    /// `cuMemCreate`.
    pub(super) fn cuMemCreate(
        &self,
        _from: &FrameHeader,
        _handle: Handle,
        made: &mut *mut c_void,
        size: usize,
        prop: &CUmemAllocationProp,
        flags: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemCreate)?;
        on_device(&prop.location, prop.requestedHandleTypes & !POSIX_FILE_DESCRIPTOR)?;
        let prop = CUmemAllocationProp { win32HandleMetaData: 0, ..*prop };
        // SAFETY: the pointers are to live variables, a handle is as wide as a pointer; the properties hold no pointer.
        ok(unsafe { call(made, size, &raw const prop, flags) })?;
        Ok(())
    }

    /// `cuMemGetAllocationGranularity`.
    pub(super) fn cuMemGetAllocationGranularity(
        &self,
        _from: &FrameHeader,
        granularity: &mut usize,
        prop: &CUmemAllocationProp,
        option: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemGetAllocationGranularity)?;
        let handles = prop.requestedHandleTypes & !POSIX_FILE_DESCRIPTOR;
        let prop = CUmemAllocationProp { win32HandleMetaData: 0, requestedHandleTypes: handles, ..*prop };
        // SAFETY: the pointers are to live variables; the properties hold no pointer.
        ok(unsafe { call(granularity, &raw const prop, option) })
    }
}
