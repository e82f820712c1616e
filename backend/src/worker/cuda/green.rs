//! Green contexts: parts of a device. What the driver says of a part holds words of its own, so it stays here, and the guest
//! has a number.

use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::generated::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY, kind};
use super::{Cuda, lock};
use crate::worker::answer::{Failure, function, ok};

/// `CUdevResource`: its type, the driver's own bytes, and what is described.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Resource([u8; 144]);

/// Where a resource says how many multiprocessors it has.
const MULTIPROCESSORS: std::ops::Range<usize> = 96..100;
/// Resources that are kept: the same ones come again and again, each once.
const MAX_RESOURCES: usize = 4096;
/// Most groups of one split.
const MAX_GROUPS: u32 = 128;
/// Most resources of one description.
const MAX_DESCRIBED: usize = 64;

const NO_RESOURCE: Resource = Resource([0; 144]);

impl Resource {
    fn multiprocessors(&self) -> u32 {
        let bytes = self.0.get(MULTIPROCESSORS).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    }
}

impl Cuda {
    /// The number of a resource.
    fn resource_number(&self, resource: Resource) -> Result<u64, Failure> {
        let mut resources = lock(&self.resources);
        let known = resources.iter().position(|known| *known == resource);
        let place = match known {
            Some(place) => place,
            None if resources.len() >= MAX_RESOURCES => return Err(Failure::Status(CUDA_ERROR_OUT_OF_MEMORY)),
            None => {
                resources.push(resource);
                resources.len() - 1
            }
        };
        Ok(place as u64 + 1)
    }

    fn resource(&self, number: u64) -> Result<Resource, Failure> {
        let place = number.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let found = place.and_then(|place| lock(&self.resources).get(place).copied());
        found.ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))
    }

    /// `gpuferryDevResource`.
    pub(super) fn gpuferryDevResource(
        &self,
        _from: &FrameHeader,
        of: Handle,
        dev: i32,
        resource_type: u32,
        number: &mut u64,
        multiprocessors: &mut u32,
    ) -> Result<(), Failure> {
        let mut resource = NO_RESOURCE;
        let place = (&raw mut resource).cast::<c_void>();
        let status = if of.is_null() {
            let call = function!(self, cuDeviceGetDevResource)?;
            // SAFETY: the place is as large as a resource; the call checks device and type.
            unsafe { call(dev, place, resource_type) }
        } else if of.kind() == Some(kind::CUgreenCtx.number) {
            let call = function!(self, cuGreenCtxGetDevResource)?;
            let green = self.handle(kind::CUgreenCtx, of)?;
            // SAFETY: the context lives; the place is as large as a resource.
            unsafe { call(green, place, resource_type) }
        } else {
            let call = function!(self, cuCtxGetDevResource)?;
            let context = self.handle(kind::CUcontext, of)?;
            // SAFETY: the context lives; the place is as large as a resource.
            unsafe { call(context, place, resource_type) }
        };
        ok(status)?;
        (*number, *multiprocessors) = (self.resource_number(resource)?, resource.multiprocessors());
        Ok(())
    }

    /// `gpuferrySplitResource`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gpuferrySplitResource(
        &self,
        _from: &FrameHeader,
        resource: u64,
        groups: u32,
        flags: u32,
        minimum: u32,
        number: &mut u32,
        list: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let call = function!(self, cuDevSmResourceSplitByCount)?;
        if groups > MAX_GROUPS {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let input = self.resource(resource)?;
        let (mut made, mut rest) = (vec![NO_RESOURCE; groups as usize], NO_RESOURCE);
        *number = groups;
        let (place, rest_place) = (made.as_mut_ptr().cast::<c_void>(), (&raw mut rest).cast::<c_void>());
        let (place, rest_place) =
            if groups == 0 { (std::ptr::null_mut(), std::ptr::null_mut()) } else { (place, rest_place) };
        // SAFETY: the places hold as many resources as the call is told, or are null; the input is one of the driver's.
        ok(unsafe { call(place, number, (&raw const input).cast(), rest_place, flags, minimum) })?;
        if groups != 0 {
            made.truncate(*number as usize);
            for resource in made.iter().chain([&rest]) {
                list.extend(self.resource_number(*resource)?.to_le_bytes());
                list.extend(u64::from(resource.multiprocessors()).to_le_bytes());
            }
        }
        Ok(())
    }

    /// `gpuferryResourceDescription`.
    pub(super) fn gpuferryResourceDescription(
        &self,
        _from: &FrameHeader,
        _desc: Handle,
        made: &mut *mut c_void,
        numbers: &[u8],
    ) -> Result<(), Failure> {
        let call = function!(self, cuDevResourceGenerateDesc)?;
        let (numbers, rest) = numbers.as_chunks();
        if !rest.is_empty() || numbers.is_empty() || numbers.len() > MAX_DESCRIBED {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let mut resources = Vec::with_capacity(numbers.len());
        for number in numbers {
            resources.push(self.resource(u64::from_le_bytes(*number))?);
        }
        // SAFETY: as many resources of the driver's as the call is told; the place holds a description.
        ok(unsafe { call(made, resources.as_mut_ptr().cast(), resources.len() as u32) })
    }

    /// `gpuferryGreenCtxDestroy`.
    pub(super) fn gpuferryGreenCtxDestroy(&self, _from: &FrameHeader, green: *mut c_void) -> Result<(), Failure> {
        let call = function!(self, cuGreenCtxDestroy)?;
        // SAFETY: the table says that the context lives.
        let status = unsafe { call(green) };
        self.context_unknown();
        self.context_ended();
        ok(status)
    }
}
