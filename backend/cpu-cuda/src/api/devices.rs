//! Device management.

use std::ffi::c_char;

use crate::array::Format;
use crate::device;
use crate::driver;
use crate::export::cuda;
use crate::foreign::{Out, Text};
use crate::status::{Answer, Status};
use crate::types::{DeviceProperties, Uuid};

fn room(length: i32) -> Answer<usize> {
    usize::try_from(length).map_err(|_| Status::INVALID_VALUE)
}

cuda! {
    fn cuDeviceGet(device: Out<i32>, ordinal: i32) {
        device::check(ordinal)?;
        device.set(ordinal)
    }

    fn cuDeviceGetCount(count: Out<i32>) {
        count.set(device::count().into())
    }

    fn cuDeviceGetName(name: Out<c_char>, length: i32, device: i32) {
        device::check(device)?;
        name.set_text(room(length)?, device::NAME)
    }

    fn cuDeviceGetUuid(uuid: Out<Uuid>, device: i32) {
        device::check(device)?;
        uuid.set(device::uuid(device))
    }

    fn cuDeviceGetUuid_v2(uuid: Out<Uuid>, device: i32) {
        device::check(device)?;
        uuid.set(device::uuid(device))
    }

    fn cuDeviceTotalMem(bytes: Out<u32>, device: i32) {
        device::check(device)?;
        bytes.set(u32::try_from(driver::arena()?.capacity()).unwrap_or(u32::MAX))
    }

    fn cuDeviceTotalMem_v2(bytes: Out<u64>, device: i32) {
        device::check(device)?;
        bytes.set(driver::arena()?.capacity())
    }

    fn cuDeviceGetAttribute(value: Out<i32>, attribute: u32, device: i32) {
        value.check()?;
        device::check(device)?;
        value.set(device::attribute(device, attribute)?)
    }

    fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) {
        device::check(device)?;
        minor.check()?;
        let capability = device::capability()?;
        major.set(capability.0)?;
        minor.set(capability.1)
    }

    fn cuDeviceGetProperties(properties: Out<DeviceProperties>, device: i32) {
        device::check(device)?;
        let value = |number| device::attribute(device, number);
        properties.set(DeviceProperties {
            max_threads: value(1)?,
            block: [value(2)?, value(3)?, value(4)?],
            grid: [value(5)?, value(6)?, value(7)?],
            shared: value(8)?,
            constant: value(9)?,
            warp: value(10)?,
            pitch: value(11)?,
            registers: value(12)?,
            clock: value(13)?,
            texture_align: value(14)?,
        })
    }

    fn cuDeviceGetPCIBusId(text: Out<c_char>, length: i32, device: i32) {
        device::check(device)?;
        let id = device::pci_text(device);
        if room(length)? <= id.len() {
            return Err(Status::INVALID_VALUE);
        }
        text.set_text(room(length)?, &id)
    }

    fn cuDeviceGetByPCIBusId(device: Out<i32>, text: Text) {
        device.check()?;
        let text = text.read()?;
        let full = if text.matches(':').count() == 1 { format!("0000:{text}") } else { text };
        let full = if full.contains('.') { full } else { format!("{full}.0") };
        let is_at = |number: &i32| full.eq_ignore_ascii_case(&device::pci_text(*number));
        device.set((0..device::count().into()).find(is_at).ok_or(Status::INVALID_DEVICE)?)
    }

    fn cuDeviceGetTexture1DLinearMaxWidth(width: Out<u64>, format: u32, channels: u32, device: i32) {
        device::check(device)?;
        let bytes = Format::check(format, channels)?.bytes();
        width.set((1 << 28) / bytes)
    }

    fn cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) {
        device::check(device)?;
        device::check(peer)?;
        can.set(i32::from(device != peer))
    }

    fn cuDeviceGetP2PAttribute(value: Out<i32>, attribute: u32, source: i32, target: i32) {
        device::check(source)?;
        device::check(target)?;
        if source == target {
            // None is its own peer.
            return Err(Status::INVALID_DEVICE);
        }
        value.set(device::peer_attribute(attribute)?)
    }

    fn cuDeviceGetExecAffinitySupport(support: Out<i32>, _kind: u32, device: i32) {
        device::check(device)?;
        support.set(0)
    }

    fn cuFlushGPUDirectRDMAWrites(_target: u32, _scope: u32) {
        Ok(())
    }
}
