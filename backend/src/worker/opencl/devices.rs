//! Devices and sub-devices.

use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::generated::{CL_INVALID_DEVICE, kind};
use super::load::pointer;
use super::{OpenCl, property_list, words};
use crate::worker::answer::{Failure, function, ok};
use crate::worker::objects::Owners;

impl OpenCl {
    /// `gpuferryDevices`.
    pub(super) fn gpuferryDevices(&self, _from: &FrameHeader, count: &mut u32) -> Result<(), Failure> {
        // At most as many as `load` looks at.
        *count = self.found.devices.len() as u32;
        Ok(())
    }

    /// `gpuferryDevice`.
    pub(super) fn gpuferryDevice(
        &self,
        _from: &FrameHeader,
        _device: Handle,
        made: &mut *mut c_void,
        number: u32,
    ) -> Result<(), Failure> {
        let device = self.found.devices.get(number as usize).ok_or(Failure::Status(CL_INVALID_DEVICE))?;
        *made = pointer(*device);
        Ok(())
    }

    /// `gpuferrySubDeviceCount`.
    pub(super) fn gpuferrySubDeviceCount(
        &self,
        _from: &FrameHeader,
        device: *mut c_void,
        properties: &[u8],
        count: &mut u32,
    ) -> Result<(), Failure> {
        let create = function!(self, clCreateSubDevices)?;
        let properties = property_list(properties)?;
        // SAFETY: the device lives and the list has an end; only the count is written.
        ok(unsafe { create(device, properties.as_ptr(), 0, std::ptr::null_mut(), count) })
    }

    /// `gpuferrySubDevices`.
    pub(super) fn gpuferrySubDevices(
        &self,
        _from: &FrameHeader,
        device: *mut c_void,
        properties: &[u8],
        made: &[u8],
    ) -> Result<(), Failure> {
        let create = function!(self, clCreateSubDevices)?;
        let properties = property_list(properties)?;
        let made: Vec<Handle> = words(made)?.into_iter().map(Handle).collect();
        for handle in &made {
            self.objects.vacant(kind::cl_device_id, *handle)?;
        }
        let mut devices = vec![std::ptr::null_mut(); made.len()];
        let mut count = 0;
        // SAFETY: the device lives, the list has an end, and there is room for as many as are asked for.
        ok(unsafe { create(device, properties.as_ptr(), made.len() as u32, devices.as_mut_ptr(), &raw mut count) })?;
        for (handle, device) in made.iter().zip(devices) {
            let made = if device.is_null() { Err(CL_INVALID_DEVICE) } else { Ok(device) };
            self.objects.insert(kind::cl_device_id, *handle, Owners::default(), made)?;
        }
        Ok(())
    }
}
