//! Shared virtual memory of the coarse kind: the library allocates it, and the guest has memory of its own at the same addresses.
//!
//! Addresses come from the guest in commands and arguments. Each must lie in an allocation of this session's that lives, or, where
//! bytes move between both sides, in memory that the guest shares.

use std::collections::BTreeMap;
use std::ffi::c_void;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::generated::{CL_INVALID_VALUE, CL_OUT_OF_RESOURCES};
use super::{OpenCl, first, lock, words};
use crate::worker::answer::{Failure, function, ok};

/// `CL_MEM_READ_WRITE`, `_WRITE_ONLY`, `_READ_ONLY`.
const BY_KERNELS: u64 = 7;
/// `CL_MEM_USE_HOST_PTR`.
const USE_HOST_PTR: u64 = 1 << 3;

/// Lengths of allocations, by address.
#[derive(Default)]
pub struct Allocations(BTreeMap<u64, u64>);

impl Allocations {
    /// The allocation in which all of a range lies: its start and length.
    fn around(&self, address: u64, bytes: u64) -> Option<(u64, u64)> {
        let (start, length) = self.0.range(..=address).next_back()?;
        let inside = address - start;
        (inside < *length && bytes <= length - inside).then_some((*start, *length))
    }
}

fn to_pointer(address: u64) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

fn wanted(event: Handle, made: &mut *mut c_void) -> *mut *mut c_void {
    if event.is_null() { std::ptr::null_mut() } else { made }
}

impl OpenCl {
    /// An address in shared virtual memory, from which on all of `bytes` are there.
    pub(super) fn svm_at(&self, address: u64, bytes: u64) -> Result<*mut c_void, Failure> {
        let found = lock(&self.svm).around(address, bytes);
        found.map(|_| to_pointer(address)).ok_or(Failure::Status(CL_INVALID_VALUE))
    }

    /// An address in shared virtual memory or in memory that the guest shares.
    fn svm_or_shared(&self, address: u64, bytes: u64) -> Result<*mut c_void, Failure> {
        self.svm_at(address, bytes).or_else(|_| self.shared_at(address, bytes))
    }

    /// `gpuferrySvmAlloc`.
    pub(super) fn gpuferrySvmAlloc(
        &self,
        _from: &FrameHeader,
        context: *mut c_void,
        flags: u64,
        size: usize,
        alignment: u32,
        address: &mut u64,
    ) -> Result<(), Failure> {
        let allocate = function!(self, clSVMAlloc)?;
        self.has_room(size as u64)?;
        // SAFETY: the context lives.
        let made = unsafe { allocate(context, flags & BY_KERNELS, size, alignment) };
        if made.is_null() {
            return Err(Failure::Status(CL_OUT_OF_RESOURCES));
        }
        if !self.began(made.addr(), size as u64) {
            if let Some(free) = self.library.clSVMFree {
                // SAFETY: just made, and nobody else's.
                unsafe { free(context, made) };
            }
            return Err(Failure::Status(CL_OUT_OF_RESOURCES));
        }
        *address = made.expose_provenance() as u64;
        lock(&self.svm).0.insert(*address, size as u64);
        Ok(())
    }

    /// `gpuferrySvmFree`.
    pub(super) fn gpuferrySvmFree(
        &self,
        _from: &FrameHeader,
        context: *mut c_void,
        address: u64,
    ) -> Result<(), Failure> {
        let free = function!(self, clSVMFree)?;
        if lock(&self.svm).0.remove(&address).is_none() {
            return Err(Failure::Status(CL_INVALID_VALUE));
        }
        self.memory_ended(address as usize);
        // SAFETY: the context lives; the address is one that the library gave and nobody has freed.
        unsafe { free(context, to_pointer(address)) };
        Ok(())
    }

    /// `gpuferrySvmCopy`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferrySvmCopy(
        &self,
        _from: &FrameHeader,
        queue: *mut c_void,
        to: u64,
        origin: u64,
        bytes: usize,
        waits_for: &[*mut c_void],
        event: Handle,
        made: &mut *mut c_void,
    ) -> Result<(), Failure> {
        let copy = function!(self, clEnqueueSVMMemcpy)?;
        let (to, origin) = (self.svm_or_shared(to, bytes as u64)?, self.svm_or_shared(origin, bytes as u64)?);
        let (count, list) = (waits_for.len() as u32, first(waits_for));
        // SAFETY: queue and events live; both ranges are the guest's.
        ok(unsafe { copy(queue, 0, to, origin, bytes, count, list, wanted(event, made)) })
    }

    /// `gpuferrySvmFill`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferrySvmFill(
        &self,
        _from: &FrameHeader,
        queue: *mut c_void,
        address: u64,
        pattern: &[u8],
        bytes: usize,
        waits_for: &[*mut c_void],
        event: Handle,
        made: &mut *mut c_void,
    ) -> Result<(), Failure> {
        let fill = function!(self, clEnqueueSVMMemFill)?;
        let to = self.svm_at(address, bytes as u64)?;
        let (count, list) = (waits_for.len() as u32, first(waits_for));
        let mut copy = vec![0u128; pattern.len().div_ceil(16) + 1];
        // SAFETY: the copy has room for the pattern.
        unsafe { std::ptr::copy_nonoverlapping(pattern.as_ptr(), copy.as_mut_ptr().cast::<u8>(), pattern.len()) };
        let from = copy.as_ptr().cast();
        // SAFETY: queue and events live; the range is the guest's, and the library copies the pattern before it returns.
        ok(unsafe { fill(queue, to, from, pattern.len(), bytes, count, list, wanted(event, made)) })
    }

    /// `gpuferrySvmMigrate`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferrySvmMigrate(
        &self,
        _from: &FrameHeader,
        queue: *mut c_void,
        addresses: &[u8],
        sizes: &[u8],
        flags: u64,
        waits_for: &[*mut c_void],
        event: Handle,
        made: &mut *mut c_void,
    ) -> Result<(), Failure> {
        let migrate = function!(self, clEnqueueSVMMigrateMem)?;
        let (addresses, sizes) = (words(addresses)?, words(sizes)?);
        if !sizes.is_empty() && sizes.len() != addresses.len() {
            return Err(Malformed::new("sizes that are not as many as addresses").into());
        }
        let mut pointers = Vec::new();
        for (place, address) in addresses.iter().enumerate() {
            pointers.push(self.svm_at(*address, sizes.get(place).copied().unwrap_or(0))?);
        }
        let sizes: Vec<usize> = sizes.into_iter().map(|size| size as usize).collect();
        let all = if sizes.is_empty() { std::ptr::null() } else { sizes.as_ptr() };
        let (count, list) = (waits_for.len() as u32, first(waits_for));
        let (pointer_count, pointers) = (pointers.len() as u32, first(&pointers));
        // SAFETY: queue and events live; there are as many sizes as pointers, or none, and all lie in allocations.
        ok(unsafe { migrate(queue, pointer_count, pointers, all, flags, count, list, wanted(event, made)) })
    }

    /// `gpuferrySvmBuffer`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferrySvmBuffer(
        &self,
        _from: &FrameHeader,
        _buffer: Handle,
        made: &mut *mut c_void,
        context: *mut c_void,
        flags: u64,
        size: usize,
        address: u64,
    ) -> Result<(), Failure> {
        let create = function!(self, clCreateBuffer)?;
        let at = self.svm_at(address, size as u64)?;
        let mut status = 0;
        // SAFETY: the context lives; `size` bytes are there.
        *made = unsafe { create(context, flags & BY_KERNELS | USE_HOST_PTR, size, at, &raw mut status) };
        ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn around_when_a_byte_lies_outside_then_is_none() {
        let all = Allocations(BTreeMap::from([(0x1000, 0x1000), (0x3000, 0x10)]));
        assert_eq!(all.around(0x1800, 0x800), Some((0x1000, 0x1000)));
        assert_eq!(all.around(0x300f, 1), Some((0x3000, 0x10)));
        for (address, bytes) in [(0xfff, 1), (0x1000, 0x1001), (0x2000, 0), (0x3000, 0x11), (0x1001, u64::MAX)] {
            assert_eq!(all.around(address, bytes), None, "{address:#x} {bytes:#x}");
        }
    }
}
