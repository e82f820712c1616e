//! Copies between two addresses whose kinds the call does not say: the driver would look them up itself, and take one that it
//! does not know for ordinary memory of this process (seen on an H200). An address that was checked may be such by then:
//! another thread of the guest has freed it, and this process has got it from the system for something of its own. So each
//! side is named as what it was when it was checked. Device memory that has ended is refused by the driver then; page-locked
//! memory is kept mapped during the call.

use std::ffi::c_void;
use std::sync::PoisonError;

use wire::frame::FrameHeader;

use super::Cuda;
use super::generated::CUDA_ERROR_INVALID_VALUE;
use super::ranges::Sort;
use crate::worker::Held;
use crate::worker::answer::{Failure, function, ok};

/// A side of a copy.
pub(super) enum Side {
    /// The device's.
    Device,
    /// Page-locked memory of the guest, mapped here as long as this lives.
    PageLocked(#[allow(dead_code, reason = "it keeps the mapping")] Held),
}

pub(super) fn pointer(address: u64) -> Result<*mut c_void, Failure> {
    let address = usize::try_from(address).map_err(|_| Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
    Ok(std::ptr::with_exposed_provenance_mut(address))
}

impl Cuda {
    /// What `bytes` bytes of the guest's are.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` where they are not the guest's.
    pub(super) fn side(&self, address: u64, bytes: u64) -> Result<Side, Failure> {
        self.device(address, Some(bytes))?;
        let ranges = self.ranges.read().unwrap_or_else(PoisonError::into_inner);
        if !ranges.contains_of(address, bytes, Sort::PageLocked) {
            return Ok(Side::Device);
        }
        drop(ranges);
        let held = self.session.memory().hold(address, bytes);
        held.map(Side::PageLocked).ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))
    }

    /// `cuMemcpy`.
    pub(super) fn cuMemcpy(&self, _from: &FrameHeader, to: u64, from: u64, bytes: usize) -> Result<(), Failure> {
        let sides = (self.side(to, bytes as u64)?, self.side(from, bytes as u64)?);
        match sides {
            (Side::Device, Side::Device) => {
                let call = function!(self, cuMemcpyDtoD_v2)?;
                // SAFETY: the driver checks both addresses, which were the guest's.
                ok(unsafe { call(to, from, bytes) })
            }
            (Side::Device, Side::PageLocked(_)) => {
                let call = function!(self, cuMemcpyHtoD_v2)?;
                // SAFETY: as above for the device's; the other is held.
                ok(unsafe { call(to, pointer(from)?, bytes) })
            }
            (Side::PageLocked(_), Side::Device) => {
                let call = function!(self, cuMemcpyDtoH_v2)?;
                // SAFETY: as above.
                ok(unsafe { call(pointer(to)?, from, bytes) })
            }
            (Side::PageLocked(_), Side::PageLocked(_)) => {
                let call = function!(self, cuMemcpy)?;
                // SAFETY: both are held.
                ok(unsafe { call(to, from, bytes) })
            }
        }
    }

    /// `cuMemcpyAsync`.
    pub(super) fn cuMemcpyAsync(
        &self,
        _from: &FrameHeader,
        to: u64,
        from: u64,
        bytes: usize,
        stream: *mut c_void,
    ) -> Result<(), Failure> {
        let sides = (self.side(to, bytes as u64)?, self.side(from, bytes as u64)?);
        match sides {
            (Side::Device, Side::Device) => {
                let call = function!(self, cuMemcpyDtoDAsync_v2)?;
                // SAFETY: the stream lives; the driver checks both addresses, which were the guest's.
                ok(unsafe { call(to, from, bytes, stream) })
            }
            (Side::Device, Side::PageLocked(_)) => {
                let call = function!(self, cuMemcpyHtoDAsync_v2)?;
                // SAFETY: as above for the device's; the other is held, and registered, so the driver knows it until it has copied.
                ok(unsafe { call(to, pointer(from)?, bytes, stream) })
            }
            (Side::PageLocked(_), Side::Device) => {
                let call = function!(self, cuMemcpyDtoHAsync_v2)?;
                // SAFETY: as above.
                ok(unsafe { call(pointer(to)?, from, bytes, stream) })
            }
            (Side::PageLocked(_), Side::PageLocked(_)) => {
                let call = function!(self, cuMemcpyAsync)?;
                // SAFETY: as above.
                ok(unsafe { call(to, from, bytes, stream) })
            }
        }
    }
}
