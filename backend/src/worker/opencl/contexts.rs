//! Contexts, queues and samplers: all that is made of a property list.

use std::ffi::c_void;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::{OpenCl, first, property_list, words};
use crate::worker::answer::{Failure, function, ok};

/// `CL_CONTEXT_PLATFORM`.
const CONTEXT_PLATFORM: u64 = 0x1084;
/// `CL_CONTEXT_INTEROP_USER_SYNC`: the one property of a context that is no object of the host's.
const INTEROP_USER_SYNC: u64 = 0x1085;
/// `CL_QUEUE_PROPERTIES`.
const QUEUE_PROPERTIES: u64 = 0x1093;
/// `CL_SAMPLER_NORMALIZED_COORDS`, and after it the addressing and filter modes.
const SAMPLER_NORMALIZED: u64 = 0x1152;
/// `CL_OUT_OF_RESOURCES`.
const OUT_OF_RESOURCES: i32 = -5;
/// `CL_INVALID_PROPERTY`.
const INVALID_PROPERTY: i32 = -64;

/// The value of a property in a list of pairs.
fn property(list: &[u64], name: u64) -> Option<u64> {
    list.as_chunks::<2>().0.iter().find(|[key, _]| *key == name).map(|[_, value]| *value)
}

impl OpenCl {
    /// `gpuferryContext`.
    pub(super) fn gpuferryContext(
        &self,
        _from: &FrameHeader,
        _context: Handle,
        made: &mut *mut c_void,
        properties: &[u8],
        devices: &[*mut c_void],
        notify: u64,
    ) -> Result<(), Failure> {
        let create = function!(self, clCreateContext)?;
        let given = words(properties)?;
        let (pairs, rest) = given.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Malformed::new("a property without a value").into());
        }
        let mut list = vec![CONTEXT_PLATFORM, self.found.platform as u64];
        for [name, value] in pairs {
            // Others are objects of other APIs on the host.
            if *name != INTEROP_USER_SYNC {
                return Err(Failure::Status(INVALID_PROPERTY));
            }
            list.extend([*name, *value]);
        }
        list.push(0);
        let (function, data) = self.on_context_error(notify);
        let mut status = 0;
        // SAFETY: the list has an end, the devices live; function and data belong together and live as long as the process.
        *made = unsafe { create(list.as_ptr(), devices.len() as u32, first(devices), function, data, &raw mut status) };
        ok(status)?;
        self.keep_or_end(made, function!(self, clReleaseContext)?)
    }

    /// `gpuferryQueue`.
    pub(super) fn gpuferryQueue(
        &self,
        _from: &FrameHeader,
        _queue: Handle,
        made: &mut *mut c_void,
        context: *mut c_void,
        device: *mut c_void,
        properties: &[u8],
    ) -> Result<(), Failure> {
        let list = property_list(properties)?;
        let mut status = 0;
        *made = if let Some(create) = self.library.clCreateCommandQueueWithProperties {
            // SAFETY: context and device live, and the list has an end.
            unsafe { create(context, device, list.as_ptr(), &raw mut status) }
        } else {
            let create = function!(self, clCreateCommandQueue)?;
            if list.iter().step_by(2).any(|name| *name != QUEUE_PROPERTIES && *name != 0) {
                return Err(Failure::Status(INVALID_PROPERTY));
            }
            // SAFETY: context and device live.
            unsafe { create(context, device, property(&list, QUEUE_PROPERTIES).unwrap_or(0), &raw mut status) }
        };
        ok(status)?;
        self.keep_or_end(made, function!(self, clReleaseCommandQueue)?)
    }

    /// An object was made, of which nobody tells how much memory it takes: it is ended where that passes a limit.
    pub(super) fn keep_or_end(
        &self,
        made: &mut *mut c_void,
        end: unsafe extern "C" fn(*mut c_void) -> i32,
    ) -> Result<(), Failure> {
        if self.look() {
            return Ok(());
        }
        // SAFETY: just made, and nobody else's.
        unsafe { end(*made) };
        *made = std::ptr::null_mut();
        self.look();
        Err(Failure::Status(OUT_OF_RESOURCES))
    }

    /// `gpuferrySampler`.
    pub(super) fn gpuferrySampler(
        &self,
        _from: &FrameHeader,
        _sampler: Handle,
        made: &mut *mut c_void,
        context: *mut c_void,
        properties: &[u8],
    ) -> Result<(), Failure> {
        let list = property_list(properties)?;
        let mut status = 0;
        *made = if let Some(create) = self.library.clCreateSamplerWithProperties {
            // SAFETY: the context lives, and the list has an end.
            unsafe { create(context, list.as_ptr(), &raw mut status) }
        } else {
            let create = function!(self, clCreateSampler)?;
            let value = |place, usual| property(&list, SAMPLER_NORMALIZED + place).map_or(usual, |value| value as u32);
            // SAFETY: the context lives. The defaults are the API's: normalized, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST.
            unsafe { create(context, value(0, 1), value(1, 0x1132), value(2, 0x1140), &raw mut status) }
        };
        ok(status)
    }
}
