//! Linking: the driver writes logs while inputs are added, into memory that must last as long as the state.

use std::ffi::{CStr, c_void};

use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::Buffer;

use super::generated::{CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE};
use super::options::Options;
use super::{Cuda, lock};
use crate::worker::answer::{Failure, function, ok};

/// What a state of the linker needs kept.
pub struct Link {
    options: Options,
    /// Address and bytes of the linked image, which the state owns.
    image: Option<(usize, usize)>,
}

/// Kinds of input (`CUjitInputType`) below this are known.
const INPUT_KINDS: u32 = 6;

impl Cuda {
    /// `gpuferryLinkCreate`.
    pub(super) fn gpuferryLinkCreate(
        &self,
        _from: &FrameHeader,
        _state: Handle,
        made: &mut *mut c_void,
        options: &[u8],
    ) -> Result<(), Failure> {
        let call = function!(self, cuLinkCreate_v2)?;
        let mut options = Options::read(options, true)?;
        let (count, names, values) = (options.count(), options.names(), options.values());
        // SAFETY: the arrays have `count` entries; they and the logs they lead to are kept until the state ends.
        ok(unsafe { call(count, names, values, made) })?;
        lock(&self.links).insert(made.addr(), Link { options, image: None });
        Ok(())
    }

    /// `gpuferryLinkAdd`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gpuferryLinkAdd(
        &self,
        _from: &FrameHeader,
        state: *mut c_void,
        input: u32,
        data: Buffer<'_>,
        name: &CStr,
        options: &[u8],
        info_log: &mut Vec<u8>,
        error_log: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let call = function!(self, cuLinkAddData_v2)?;
        if input >= INPUT_KINDS {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let mut options = Options::read(options, false)?;
        let bytes = data.bytes() as usize;
        let copy = self.private(data)?;
        let (count, names, values) = (options.count(), options.names(), options.values());
        // One call of a state at a time: the driver writes into its options, and another thread may have ended it by now.
        let links = lock(&self.links);
        let link = links.get(&state.addr()).ok_or(Failure::Status(CUDA_ERROR_INVALID_HANDLE))?;
        let data = copy.pointer().cast_mut();
        // SAFETY: the state lives; the data has `bytes` bytes and zero bytes after them; the arrays have `count` entries.
        let status = unsafe { call(state, input, data, bytes, name.as_ptr(), count, names, values) };
        (*info_log, *error_log) = (link.options.info_log(), link.options.error_log());
        ok(status)
    }

    /// `gpuferryLinkComplete`.
    pub(super) fn gpuferryLinkComplete(
        &self,
        _from: &FrameHeader,
        state: *mut c_void,
        bytes: &mut u64,
        wall_time: &mut f32,
        info_log: &mut Vec<u8>,
        error_log: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let call = function!(self, cuLinkComplete)?;
        let (mut image, mut size) = (std::ptr::null_mut(), 0usize);
        let mut links = lock(&self.links);
        let link = links.get_mut(&state.addr()).ok_or(Failure::Status(CUDA_ERROR_INVALID_HANDLE))?;
        // SAFETY: the state lives, the pointers are to live variables.
        let status = unsafe { call(state, &raw mut image, &raw mut size) };
        (*info_log, *error_log) = (link.options.info_log(), link.options.error_log());
        *wall_time = link.options.wall_time();
        link.image = (status == 0 && !image.is_null()).then(|| (image.expose_provenance(), size));
        *bytes = size as u64;
        ok(status)
    }

    /// `gpuferryLinkRead`.
    pub(super) fn gpuferryLinkRead(
        &self,
        _from: &FrameHeader,
        state: *mut c_void,
        offset: u64,
        data: Buffer<'_>,
        reply: &mut [u8],
    ) -> Result<(), Failure> {
        let wanted = data.bytes();
        // The lock is held to the end: the image lives as long as the state, which ends under the lock.
        let links = lock(&self.links);
        let image = links.get(&state.addr()).and_then(|link| link.image);
        let (image, size) = image.ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        if offset.checked_add(wanted).is_none_or(|end| end > size as u64) {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let mut output = self.output(data, reply)?;
        let from = std::ptr::with_exposed_provenance::<u8>(image + offset as usize);
        // SAFETY: `offset + wanted` is inside the image; the output has `wanted` bytes.
        unsafe { std::ptr::copy_nonoverlapping(from, output.pointer().cast(), wanted as usize) };
        output.finish();
        Ok(())
    }

    /// `gpuferryLinkDestroy`.
    pub(super) fn gpuferryLinkDestroy(&self, _from: &FrameHeader, state: *mut c_void) -> Result<(), Failure> {
        let call = function!(self, cuLinkDestroy)?;
        let mut links = lock(&self.links);
        if !links.contains_key(&state.addr()) {
            return Err(Failure::Status(CUDA_ERROR_INVALID_HANDLE));
        }
        // SAFETY: the state lives.
        let status = unsafe { call(state) };
        if status == 0 {
            links.remove(&state.addr());
        }
        ok(status)
    }
}
