//! Device memory: allocating and freeing, which also changes what the guest may name; and what is known of an address.

use std::sync::PoisonError;

use wire::frame::FrameHeader;

use super::Cuda;
use super::generated::{CUDA_ERROR_INVALID_VALUE, PointerFacts};
use super::ranges::{Range, Sort};
use super::thread::context_of;
use crate::worker::answer::{Failure, function, ok};

/// Memory that ends with the caller's context.
pub fn allocated(from: &FrameHeader, bytes: u64) -> Range {
    Range { bytes, sort: Sort::Allocated, owner: context_of(from) }
}

impl Cuda {
    /// `cuMemAlloc`.
    pub(super) fn cuMemAlloc_v2(&self, from: &FrameHeader, dptr: &mut u64, bytesize: usize) -> Result<(), Failure> {
        let call = function!(self, cuMemAlloc_v2)?;
        // SAFETY: the pointer is to a live variable.
        ok(unsafe { call(dptr, bytesize) })?;
        self.range_made(*dptr, allocated(from, bytesize as u64));
        Ok(())
    }

    /// `cuMemAllocPitch`.
    pub(super) fn cuMemAllocPitch_v2(
        &self,
        from: &FrameHeader,
        dptr: &mut u64,
        pitch: &mut usize,
        width: usize,
        height: usize,
        element: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemAllocPitch_v2)?;
        // SAFETY: the pointers are to live variables.
        ok(unsafe { call(dptr, pitch, width, height, element) })?;
        // It was allocated, so it is no more than there can be.
        self.range_made(*dptr, allocated(from, (*pitch as u64).saturating_mul(height as u64)));
        Ok(())
    }

    /// `cuMemFree`: an address of the guest's, or the driver is not asked.
    pub(super) fn cuMemFree_v2(&self, _from: &FrameHeader, dptr: u64) -> Result<(), Failure> {
        let call = function!(self, cuMemFree_v2)?;
        if dptr == 0 {
            return Ok(());
        }
        if self.is_of_graph(dptr) {
            // SAFETY: a graph allocated the memory. The next launch will do so again, at this address.
            return ok(unsafe { call(dptr) });
        }
        // Out of the table first: when the driver has freed it, another thread may be given the same address.
        let range = self.range_ended(dptr, Sort::Allocated).ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        // SAFETY: the guest allocated it and has not freed it.
        let status = unsafe { call(dptr) };
        if status != 0 {
            self.range_made(dptr, range);
        }
        ok(status)
    }

    /// Whether an address is where a graph allocates.
    pub(super) fn is_of_graph(&self, address: u64) -> bool {
        self.ranges.read().unwrap_or_else(PoisonError::into_inner).contains_of(address, 1, Sort::Graph)
    }

    /// `gpuferryPointerFacts`.
    pub(super) fn gpuferryPointerFacts(
        &self,
        _from: &FrameHeader,
        pointer: u64,
        facts: &mut PointerFacts,
    ) -> Result<(), Failure> {
        let call = function!(self, cuPointerGetAttribute)?;
        if self.device(pointer, Some(1)).is_err() {
            facts.status = CUDA_ERROR_INVALID_VALUE;
            return Ok(());
        }
        // `CUpointer_attribute` by number; each writes at most 8 bytes.
        let ask = |attribute: u32| {
            let mut value = [0u64; 2];
            // SAFETY: the values asked for here are at most 8 bytes wide.
            let status = unsafe { call(value.as_mut_ptr().cast(), attribute, pointer) };
            (status, if status == 0 { value[0] } else { 0 })
        };
        let (status, kind) = ask(2);
        facts.status = status;
        facts.memoryType = kind as u32;
        facts.devicePointer = ask(3).1;
        facts.hostPointer = ask(4).1;
        facts.syncMemops = ask(6).1 as u32;
        facts.bufferId = ask(7).1;
        facts.isManaged = ask(8).1 as u32;
        facts.deviceOrdinal = ask(9).1 as u32 as i32;
        facts.rangeStart = ask(11).1;
        facts.rangeBytes = ask(12).1;
        facts.mapped = ask(13).1 as u32;
        Ok(())
    }

    /// `cuPointerSetAttribute` for an attribute of 32 bits.
    pub(super) fn gpuferryPointerSetAttribute(
        &self,
        _from: &FrameHeader,
        value: u32,
        attribute: u32,
        pointer: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuPointerSetAttribute)?;
        self.device(pointer, Some(1))?;
        let value = [value, 0];
        // SAFETY: eight bytes, as wide as any of these attributes.
        ok(unsafe { call(value.as_ptr().cast(), attribute, pointer) })
    }
}
