//! Physical memory and pools that one process of a guest gives another. The driver's file descriptors stay on the host: the
//! front keeps them ([`crate::worker::Relay`]), and gives them to the workers of the same guest that know the token.
//!
//! Memory that is exported is held until the guest says that nobody has a descriptor of it any more, also where the program has
//! released it: so it stays counted ([`super::quota`]). A worker that ends takes its exports with it.

use std::collections::HashMap;
use std::ffi::c_void;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::generated::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_OUT_OF_MEMORY};
use super::ranges::{Range, Sort};
use super::{Cuda, ipc, lock, quota};
use crate::worker::Relay;
use crate::worker::answer::{Failure, function, ok};

/// `CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`.
const DESCRIPTOR: u32 = 1;

/// What of physical memory others may have, by the driver's handle.
#[derive(Default)]
pub(super) struct Shareable {
    /// What tokens stand for; 0 for a pool.
    exported: HashMap<[u64; 2], usize>,
    /// How often the program has released what is held for others.
    released: HashMap<usize, u32>,
}

/// The descriptor that the driver makes at the place that `make` gets, an `int`.
fn descriptor(make: impl FnOnce(*mut c_void) -> i32) -> Result<OwnedFd, Failure> {
    let mut raw = -1i32;
    ok(make((&raw mut raw).cast()))?;
    // SAFETY: new, and nobody else's.
    if raw < 0 { Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)) } else { Ok(unsafe { OwnedFd::from_raw_fd(raw) }) }
}

impl Cuda {
    fn relay(&self) -> Result<&Relay, Failure> {
        self.session.relay().map(AsRef::as_ref).ok_or(Failure::Status(CUDA_ERROR_NOT_SUPPORTED))
    }

    /// Lets the front keep a descriptor; its token.
    fn export(&self, of: usize, bytes: u64, file: OwnedFd) -> Result<(u64, u64), Failure> {
        let token = ipc::fresh_token()?;
        if !self.relay()?.keep(token, bytes, file) {
            return Err(Failure::Status(CUDA_ERROR_OUT_OF_MEMORY));
        }
        lock(&self.shareable).exported.insert(token, of);
        Ok((token[0], token[1]))
    }

    /// The descriptor that a process of this guest exported, and its bytes.
    fn import(&self, low: u64, high: u64) -> Result<(OwnedFd, u64), Failure> {
        self.relay()?.fetch([low, high]).ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))
    }

    /// `cuMemRelease`: memory that others may have is held until they may not.
    pub(super) fn cuMemRelease(&self, _from: &FrameHeader, handle: *mut c_void) -> Result<(), Failure> {
        let call = function!(self, cuMemRelease)?;
        let mut shareable = lock(&self.shareable);
        if shareable.exported.values().any(|of| *of == handle.addr()) {
            *shareable.released.entry(handle.addr()).or_insert(0) += 1;
            return Ok(());
        }
        // SAFETY: the table says that the handle lives.
        ok(unsafe { call(handle) })
    }

    /// `gpuferryMemExport`.
    pub(super) fn gpuferryMemExport(
        &self,
        _from: &FrameHeader,
        low: &mut u64,
        high: &mut u64,
        handle: *mut c_void,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemExportToShareableHandle)?;
        // SAFETY: the handle lives; the place is a descriptor's.
        let file = descriptor(|place| unsafe { call(place, handle, DESCRIPTOR, 0) })?;
        (*low, *high) = self.export(handle.addr(), quota::physical_bytes(handle), file)?;
        Ok(())
    }

    /// `gpuferryMemImport`.
    pub(super) fn gpuferryMemImport(
        &self,
        _from: &FrameHeader,
        _handle: Handle,
        made: &mut *mut c_void,
        low: u64,
        high: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemImportFromShareableHandle)?;
        let (file, bytes) = self.import(low, high)?;
        let number = std::ptr::without_provenance_mut(file.as_raw_fd() as usize);
        // SAFETY: the place holds a handle; the descriptor is open, and the driver checks what it is of.
        ok(quota::import(bytes, made, |made| unsafe { call(made, number, DESCRIPTOR) }))
    }

    /// `gpuferryExportEnd`.
    pub(super) fn gpuferryExportEnd(&self, _from: &FrameHeader, low: u64, high: u64) -> Result<(), Failure> {
        let mut shareable = lock(&self.shareable);
        let Some(of) = shareable.exported.remove(&[low, high]) else {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        };
        self.relay()?.let_go([low, high]);
        let is_last = !shareable.exported.values().any(|other| *other == of);
        if !is_last {
            return Ok(());
        }
        let call = function!(self, cuMemRelease)?;
        let times = shareable.released.remove(&of).unwrap_or(0);
        // SAFETY: the program has released the handle so often, which was not passed on to the driver.
        (0..times).try_for_each(|_| ok(unsafe { call(std::ptr::with_exposed_provenance_mut(of)) }))
    }

    /// `gpuferryMemPoolExport`.
    pub(super) fn gpuferryMemPoolExport(
        &self,
        _from: &FrameHeader,
        low: &mut u64,
        high: &mut u64,
        pool: *mut c_void,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemPoolExportToShareableHandle)?;
        // SAFETY: the pool lives; the place is a descriptor's.
        let file = descriptor(|place| unsafe { call(place, pool, DESCRIPTOR, 0) })?;
        (*low, *high) = self.export(0, 0, file)?;
        Ok(())
    }

    /// `gpuferryMemPoolImport`.
    pub(super) fn gpuferryMemPoolImport(
        &self,
        _from: &FrameHeader,
        _pool: Handle,
        made: &mut *mut c_void,
        low: u64,
        high: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemPoolImportFromShareableHandle)?;
        let (file, _) = self.import(low, high)?;
        let number = std::ptr::without_provenance_mut(file.as_raw_fd() as usize);
        // SAFETY: the place holds a pool; the descriptor is open, and the driver checks what it is of.
        ok(unsafe { call(made, number, DESCRIPTOR, 0) })
    }

    /// `gpuferryMemPoolExportPointer`.
    pub(super) fn gpuferryMemPoolExportPointer(
        &self,
        _from: &FrameHeader,
        low: &mut u64,
        high: &mut u64,
        address: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemPoolExportPointer)?;
        // SAFETY: the place is a handle's; the address is the guest's.
        (*low, *high) = self.token_of(|handle| unsafe { call(handle, address) })?;
        Ok(())
    }

    /// `gpuferryMemPoolImportPointer`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gpuferryMemPoolImportPointer(
        &self,
        from: &FrameHeader,
        address: &mut u64,
        bytes: &mut u64,
        pool: *mut c_void,
        low: u64,
        high: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemPoolImportPointer)?;
        let free = function!(self, cuMemFreeAsync)?;
        let mut handle = self.given(low, high)?;
        // SAFETY: pool and handle came from the driver, in workers of this guest; the pointers are to live variables.
        ok(unsafe { call(address, pool, &raw mut handle) })?;
        let held = self.extent(*address).and_then(|(length, left)| {
            if quota::hold(*address, length) { Ok(left) } else { Err(Failure::Status(CUDA_ERROR_OUT_OF_MEMORY)) }
        });
        *bytes = held.inspect_err(|_| {
            // SAFETY: imported just now, and known to nobody.
            unsafe { free(*address, std::ptr::null_mut()) };
        })?;
        let owner = super::thread::context_of(from);
        self.range_made(*address, Range { bytes: *bytes, sort: Sort::Allocated, owner });
        Ok(())
    }
}
