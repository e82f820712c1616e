//! Devices and contexts, where more than one driver call or a thread's state is concerned.

use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::Buffer;

use super::Cuda;
use super::generated::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, Library, kind};
use super::thread::context_of;
use crate::worker::answer::{Failure, function, ok};

/// Attributes in the facts of a device: more than any driver has, so that a new one is there when a program knows it.
const DEVICE_ATTRIBUTES: u32 = 160;

/// Where a device's memory stands in its facts.
const TOTAL_AT: usize = 256 + 16 + 8 + 4 + 4;

/// Why there are no facts.
#[derive(Debug)]
pub(super) enum Trouble {
    Missing(&'static str),
    Status(i32),
}

/// The facts of a device but for its memory, which are the same for every session: `gpuferryDeviceFacts` in the spec has the
/// layout.
///
/// # Errors
/// A function that the library lacks, or its answer.
pub(super) fn facts_of(library: &Library, dev: i32) -> Result<Vec<u8>, Trouble> {
    let ok = |status: i32| if status == 0 { Ok(()) } else { Err(Trouble::Status(status)) };
    let (mut name, mut uuid, mut luid, mut mask) = ([0u8; 256], [0u8; 16], [0u8; 8], 0u32);
    let call = library.cuDeviceGetName.ok_or(Trouble::Missing("cuDeviceGetName"))?;
    // SAFETY: the array has 256 bytes, as the call is told.
    ok(unsafe { call(name.as_mut_ptr().cast(), 256, dev) })?;
    let call = library.cuDeviceGetUuid_v2.ok_or(Trouble::Missing("cuDeviceGetUuid_v2"))?;
    // SAFETY: a UUID has 16 bytes.
    ok(unsafe { call(uuid.as_mut_ptr(), dev) })?;
    let luid_status = match library.cuDeviceGetLuid {
        // SAFETY: a LUID has 8 bytes, the mask is a live variable.
        Some(call) => unsafe { call(luid.as_mut_ptr(), &raw mut mask, dev) },
        None => CUDA_ERROR_NOT_SUPPORTED,
    };
    let call = library.cuDeviceGetAttribute.ok_or(Trouble::Missing("cuDeviceGetAttribute"))?;
    let mut all = Vec::with_capacity(2048);
    all.extend_from_slice(&name);
    all.extend_from_slice(&uuid);
    all.extend_from_slice(&luid);
    all.extend_from_slice(&mask.to_le_bytes());
    all.extend_from_slice(&luid_status.to_le_bytes());
    all.extend_from_slice(&0u64.to_le_bytes());
    all.extend_from_slice(&DEVICE_ATTRIBUTES.to_le_bytes());
    all.extend_from_slice(&0u32.to_le_bytes());
    for attribute in 1..=DEVICE_ATTRIBUTES {
        let mut value = 0i32;
        // SAFETY: the pointer is to a live variable; an unknown attribute is refused by the call.
        let status = unsafe { call(&raw mut value, attribute, dev) };
        all.extend_from_slice(&status.to_le_bytes());
        all.extend_from_slice(&value.to_le_bytes());
    }
    Ok(all)
}

impl Cuda {
    /// `gpuferryDeviceFacts`: see the spec for the layout.
    pub(super) fn gpuferryDeviceFacts(
        &self,
        _from: &FrameHeader,
        dev: i32,
        facts: Buffer<'_>,
        reply: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if !matches!(facts, Buffer::Reply { .. }) {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let known = usize::try_from(dev).ok().and_then(|dev| self.devices.get(dev));
        let mut all = match known {
            Some(known) => known.clone(),
            None => facts_of(&self.library, dev).map_err(|name| self.missing_or(name))?,
        };
        // The one number that is not the device's but the session's.
        let mut total = 0usize;
        let call = function!(self, cuDeviceTotalMem_v2)?;
        // SAFETY: the pointer is to a live variable.
        ok(unsafe { call(&raw mut total, dev) })?;
        if let Some(place) = all.get_mut(TOTAL_AT..TOTAL_AT + 8) {
            place.copy_from_slice(&(total as u64).to_le_bytes());
        }
        all.resize(reply.len(), 0);
        *reply = all;
        Ok(())
    }

    fn missing_or(&self, trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Missing(name) => self.missing(name),
            Trouble::Status(status) => Failure::Status(status),
        }
    }

    /// `gpuferryPrimaryRelease`: the guest's last retain is given up.
    pub(super) fn gpuferryPrimaryRelease(
        &self,
        _from: &FrameHeader,
        _ctx: *mut c_void,
        dev: i32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuDevicePrimaryCtxRelease_v2)?;
        // SAFETY: the call checks the device.
        let status = unsafe { call(dev) };
        self.context_ended();
        ok(status)
    }

    /// `gpuferryPrimaryReset`: everything in the primary context ends, its handle stays.
    pub(super) fn gpuferryPrimaryReset(&self, _from: &FrameHeader, ctx: Handle, dev: i32) -> Result<(), Failure> {
        let call = function!(self, cuDevicePrimaryCtxReset_v2)?;
        // SAFETY: the call checks the device.
        let status = unsafe { call(dev) };
        self.context_ended();
        ok(status)?;
        if !ctx.is_null() {
            let mut ended = self.objects.remove_children(ctx);
            // Memory is owned by the context itself.
            ended.push(ctx);
            self.forget(ended);
        }
        Ok(())
    }

    /// `gpuferryCtxCreate`: the driver also makes it current, which here is the guest's business.
    pub(super) fn gpuferryCtxCreate(
        &self,
        _from: &FrameHeader,
        _pctx: Handle,
        made: &mut *mut c_void,
        flags: u32,
        dev: i32,
    ) -> Result<(), Failure> {
        let create = function!(self, cuCtxCreate_v2)?;
        let pop = function!(self, cuCtxPopCurrent_v2)?;
        // SAFETY: the pointer is to a live variable; the call checks flags and device.
        ok(unsafe { create(made, flags, dev) })?;
        let mut popped = std::ptr::null_mut();
        self.context_unknown();
        // SAFETY: the pointer is to a live variable.
        ok(unsafe { pop(&raw mut popped) })
    }

    /// `gpuferryCtxDestroy`.
    pub(super) fn gpuferryCtxDestroy(&self, _from: &FrameHeader, ctx: *mut c_void) -> Result<(), Failure> {
        let call = function!(self, cuCtxDestroy_v2)?;
        // SAFETY: the table says that the context lives.
        let status = unsafe { call(ctx) };
        self.context_unknown();
        self.context_ended();
        ok(status)
    }

    /// `gpuferryCtxId`.
    pub(super) fn gpuferryCtxId(&self, from: &FrameHeader, id: &mut u64) -> Result<(), Failure> {
        let context = self.handle(kind::CUcontext, context_of(from))?;
        let call = function!(self, cuCtxGetId)?;
        // SAFETY: the context lives, the pointer is to a live variable.
        ok(unsafe { call(context, id) })
    }
}
