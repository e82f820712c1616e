//! Page-locked memory: the guest's pages, mapped at the guest's address and registered, so that the device reaches them there.

use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::generated::{
    CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, CUDA_ERROR_INVALID_VALUE,
    CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_OUT_OF_MEMORY,
};
use super::ranges::{Range, Sort};
use super::sticky::is_sticky;
use super::{Cuda, lock};
use crate::worker::MapError;
use crate::worker::answer::{Failure, function, ok};

/// `CU_MEMHOSTREGISTER_*`.
const PORTABLE: u32 = 1;
const DEVICE_MAP: u32 = 2;
const READ_ONLY: u32 = 8;

impl Cuda {
    /// `gpuferryMemHostRegister`.
    pub(super) fn gpuferryMemHostRegister(
        &self,
        _from: &FrameHeader,
        address: u64,
        bytes: u64,
        lease: u32,
        flags: u32,
    ) -> Result<(), Failure> {
        let size = usize::try_from(bytes).map_err(|_| Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        if flags & !(PORTABLE | DEVICE_MAP | READ_ONLY) != 0 || size == 0 {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let mapped =
            self.session.memory().map_at(lease, address, bytes).map_err(|error| self.refused(address, &error))?;
        let registered = self.register(mapped.cast(), size, flags | PORTABLE | DEVICE_MAP, address);
        match registered {
            Ok(()) => self.range_made(address, Range { bytes, sort: Sort::PageLocked, owner: Handle::NULL }),
            Err(_) => {
                self.session.memory().unmap(address);
            }
        }
        registered
    }

    fn register(&self, mapped: *mut c_void, bytes: usize, flags: u32, address: u64) -> Result<(), Failure> {
        let register = function!(self, cuMemHostRegister_v2)?;
        let unregister = function!(self, cuMemHostUnregister)?;
        let device_pointer = function!(self, cuMemHostGetDevicePointer_v2)?;
        // SAFETY: the range is mapped, and stays so until it is unregistered.
        ok(unsafe { register(mapped, bytes, flags) })?;
        let mut device = 0u64;
        // SAFETY: the range is registered, the pointer is to a live variable.
        let status = unsafe { device_pointer(&raw mut device, mapped, 0) };
        if status == 0 && device == address {
            return Ok(());
        }
        // A device that sees host memory elsewhere: programs would be told a wrong address.
        // SAFETY: the range is registered.
        unsafe { unregister(mapped) };
        Err(Failure::Status(if status == 0 { CUDA_ERROR_NOT_SUPPORTED } else { status }))
    }

    fn refused(&self, address: u64, error: &MapError) -> Failure {
        let number = self.session.number();
        lock(&self.complaints).add(format_args!("session {number}: page-locking at {address:#x}: {error}"));
        Failure::Status(match error {
            MapError::InUse => CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
            MapError::Lease | MapError::ReadOnly => CUDA_ERROR_INVALID_VALUE,
            MapError::Limit | MapError::Io(_) => CUDA_ERROR_OUT_OF_MEMORY,
        })
    }

    /// `gpuferryMemHostUnregister`.
    pub(super) fn gpuferryMemHostUnregister(&self, _from: &FrameHeader, address: u64) -> Result<(), Failure> {
        let call = function!(self, cuMemHostUnregister)?;
        let pointer = usize::try_from(address).map_err(|_| Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        let missing = Failure::Status(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
        let range = self.range_ended(address, Sort::PageLocked).ok_or(missing)?;
        // SAFETY: the range is registered, and mapped until the driver has let it go.
        let status = unsafe { call(std::ptr::with_exposed_provenance_mut(pointer)) };
        // The driver may have let it go before, with its context; and where that is lost, nothing reaches the memory any more.
        if status == 0 || status == CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED || is_sticky(status) {
            self.session.memory().unmap(address);
        } else {
            self.range_made(address, range);
        }
        ok(status)
    }
}
