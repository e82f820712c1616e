//! Memory and events that one process of a guest gives another (CUDA IPC). The driver's handles stay on the host, in memory
//! that the workers of one guest share ([`crate::ledger`]); the guest has tokens for them, which name nothing to another
//! guest's workers.

use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::generated::{
    CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_OUT_OF_MEMORY, IpcHandle,
};
use super::ranges::{Range, Sort};
use super::{Cuda, lock, quota};
use crate::worker::answer::{Failure, function, ok};

/// 128 random bits.
///
/// # Errors
/// `CUDA_ERROR_OUT_OF_MEMORY` where the system gives none.
pub(super) fn fresh_token() -> Result<[u64; 2], Failure> {
    let mut fresh = [0u64; 2];
    // SAFETY: the array's own bytes.
    let given = unsafe { libc::getrandom(fresh.as_mut_ptr().cast(), size_of_val(&fresh), 0) };
    if given == size_of_val(&fresh) as isize { Ok(fresh) } else { Err(Failure::Status(CUDA_ERROR_OUT_OF_MEMORY)) }
}

impl Cuda {
    /// A token for the handle that the driver makes at the place that `make` gets.
    pub(super) fn token_of(&self, make: impl FnOnce(*mut IpcHandle) -> i32) -> Result<(u64, u64), Failure> {
        let mut handle = IpcHandle::default();
        ok(make(&raw mut handle))?;
        let account = self.session.account().ok_or(Failure::Status(CUDA_ERROR_NOT_SUPPORTED))?;
        let fresh = fresh_token()?;
        let [low, high] = account.share(handle.words, fresh).ok_or(Failure::Status(CUDA_ERROR_OUT_OF_MEMORY))?;
        Ok((low, high))
    }

    /// The driver's handle for a token of a process of this guest.
    pub(super) fn given(&self, low: u64, high: u64) -> Result<IpcHandle, Failure> {
        let words = self.session.account().and_then(|account| account.shared_as([low, high]));
        Ok(IpcHandle { words: words.ok_or(Failure::Status(CUDA_ERROR_INVALID_HANDLE))? })
    }

    /// Bytes of the allocation in which an address lies, and those from the address on.
    pub(super) fn extent(&self, address: u64) -> Result<(u64, u64), Failure> {
        let call = function!(self, cuMemGetAddressRange_v2)?;
        let (mut start, mut length) = (0u64, 0usize);
        // SAFETY: the pointers are to live variables.
        ok(unsafe { call(&raw mut start, &raw mut length, address) })?;
        let length = length as u64;
        Ok((length, length.saturating_sub(address.saturating_sub(start))))
    }

    /// `gpuferryIpcGiveMemory`.
    pub(super) fn gpuferryIpcGiveMemory(
        &self,
        _from: &FrameHeader,
        low: &mut u64,
        high: &mut u64,
        address: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuIpcGetMemHandle)?;
        // SAFETY: the place is a handle's; the address is the guest's.
        (*low, *high) = self.token_of(|handle| unsafe { call(handle, address) })?;
        Ok(())
    }

    /// `gpuferryIpcGiveEvent`.
    pub(super) fn gpuferryIpcGiveEvent(
        &self,
        _from: &FrameHeader,
        low: &mut u64,
        high: &mut u64,
        event: *mut c_void,
    ) -> Result<(), Failure> {
        let call = function!(self, cuIpcGetEventHandle)?;
        // SAFETY: the event lives, the place is a handle's.
        (*low, *high) = self.token_of(|handle| unsafe { call(handle, event) })?;
        Ok(())
    }

    /// `gpuferryIpcOpenMemory`.
    pub(super) fn gpuferryIpcOpenMemory(
        &self,
        from: &FrameHeader,
        address: &mut u64,
        bytes: &mut u64,
        low: u64,
        high: u64,
        flags: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuIpcOpenMemHandle_v2)?;
        let close = function!(self, cuIpcCloseMemHandle)?;
        let handle = self.given(low, high)?;
        // SAFETY: the pointer is to a live variable; the handle came from the driver, in a worker of this guest.
        ok(unsafe { call(address, handle, flags) })?;
        let mut imported = lock(&self.imported);
        let held = self.extent(*address).and_then(|(length, left)| {
            // It may outlive the process that made it, so it counts here too, once.
            let is_held = imported.contains_key(address) || quota::hold(*address, length);
            if is_held { Ok(left) } else { Err(Failure::Status(CUDA_ERROR_OUT_OF_MEMORY)) }
        });
        *bytes = held.inspect_err(|_| {
            // SAFETY: opened just now, and known to nobody.
            unsafe { close(*address) };
        })?;
        *imported.entry(*address).or_insert(0) += 1;
        drop(imported);
        let owner = super::thread::context_of(from);
        self.range_made(*address, Range { bytes: *bytes, sort: Sort::Imported, owner });
        Ok(())
    }

    /// `gpuferryIpcCloseMemory`: memory that was opened twice is closed twice.
    pub(super) fn gpuferryIpcCloseMemory(
        &self,
        _from: &FrameHeader,
        address: u64,
        left: &mut u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuIpcCloseMemHandle)?;
        let mut imported = lock(&self.imported);
        let count = imported.get_mut(&address).ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        // SAFETY: opened by this guest, and not closed as often.
        ok(unsafe { call(address) })?;
        *count -= 1;
        *left = *count;
        if *count == 0 {
            imported.remove(&address);
            quota::let_go(address);
            self.range_ended(address, Sort::Imported);
        }
        Ok(())
    }

    /// `gpuferryIpcOpenEvent`.
    pub(super) fn gpuferryIpcOpenEvent(
        &self,
        _from: &FrameHeader,
        _event: Handle,
        made: &mut *mut c_void,
        low: u64,
        high: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuIpcOpenEventHandle)?;
        let handle = self.given(low, high)?;
        // SAFETY: the pointer is to a live variable; the handle came from the driver, in a worker of this guest.
        ok(unsafe { call(made, handle) })
    }
}
