//! Devices and sub-devices. What the host knows of one is asked once and kept.

use crate::answer::{self, Answer, Facts, Question};
use crate::arena::{self, Arena, Live, Object, Ref};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::extensions;
use crate::generated::{INFO_DEVICE, Kind, kind, send};
use crate::platform;
use crate::status::{CL_INVALID_DEVICE, CL_INVALID_VALUE};
use crate::user::{In, Out, Raw};
use std::sync::{Arc, OnceLock};

const CL_DEVICE_MAX_COMPUTE_UNITS: u32 = 0x1002;
const CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS: u32 = 0x1003;
const CL_DEVICE_MAX_WORK_GROUP_SIZE: u32 = 0x1004;
const CL_DEVICE_MAX_WORK_ITEM_SIZES: u32 = 0x1005;
const CL_DEVICE_LOCAL_MEM_SIZE: u32 = 0x1023;
const CL_DEVICE_EXECUTION_CAPABILITIES: u32 = 0x1029;
const CL_DEVICE_EXTENSIONS: u32 = 0x1030;
const CL_DEVICE_PLATFORM: u32 = 0x1031;
const CL_DEVICE_PARENT_DEVICE: u32 = 0x1042;
const CL_DEVICE_REFERENCE_COUNT: u32 = 0x1047;
const CL_DEVICE_SVM_CAPABILITIES: u32 = 0x1053;
const CL_DEVICE_EXTENSIONS_WITH_VERSION: u32 = 0x1060;
const EXEC_NATIVE_KERNEL: u64 = 2;

const PARTITION_BY_COUNTS: u64 = 0x1087;
/// Longest list of a partition.
const MOST_PARTS: usize = 4096;

/// A device.
pub struct Device {
    /// Whose part it is.
    parent: Option<Ref<Device>>,
    facts: Facts,
    limits: OnceLock<Limits>,
}

/// What a launch is checked against.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most work items of a group.
    pub group: u64,
    /// Most work items of a group, by dimension.
    pub sizes: Vec<u64>,
    /// Bytes of local memory.
    pub local_memory: u64,
}

static DEVICES: Arena<Device> = Arena::new();

impl Object for Device {
    const KIND: Kind = kind::cl_device_id;

    fn arena() -> &'static Arena<Device> {
        &DEVICES
    }

    fn release(this: &Live<Device>, caller: &Caller) {
        if this.parent.is_some() {
            let _ = send::clReleaseDevice(caller, this.handle);
        }
    }
}

impl Device {
    /// Whose part it is.
    #[must_use]
    pub fn parent(&self) -> Option<&Ref<Device>> {
        self.parent.as_ref()
    }
}

impl Live<Device> {
    /// A property as the host has it.
    ///
    /// # Errors
    /// The host's answer.
    pub fn fact(&self, caller: &Caller, param: u32) -> Result<Arc<[u8]>, cl_int> {
        self.facts.get(caller, Question::new(INFO_DEVICE, self.handle, param))
    }

    /// A property that is a number.
    ///
    /// # Errors
    /// The host's answer.
    pub fn long(&self, caller: &Caller, param: u32) -> Result<u64, cl_int> {
        Ok(answer::number(&self.fact(caller, param)?))
    }

    /// What a launch is checked against.
    ///
    /// # Errors
    /// The host's answer.
    pub fn limits(&self, caller: &Caller) -> Result<&Limits, cl_int> {
        if let Some(limits) = self.limits.get() {
            return Ok(limits);
        }
        let dimensions = self.long(caller, CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS)? as usize;
        let limits = Limits {
            group: self.long(caller, CL_DEVICE_MAX_WORK_GROUP_SIZE)?,
            sizes: answer::longs(&self.fact(caller, CL_DEVICE_MAX_WORK_ITEM_SIZES)?).take(dimensions).collect(),
            local_memory: self.long(caller, CL_DEVICE_LOCAL_MEM_SIZE)?,
        };
        Ok(self.limits.get_or_init(|| limits))
    }

    /// Compute units.
    ///
    /// # Errors
    /// The host's answer.
    pub fn units(&self, caller: &Caller) -> Result<u64, cl_int> {
        self.long(caller, CL_DEVICE_MAX_COMPUTE_UNITS)
    }

    fn info(&self, param: u32, to: &Answer) -> Result<(), cl_int> {
        let caller = caller::enter()?;
        match param {
            CL_DEVICE_PLATFORM => return to.object(platform::raw()),
            CL_DEVICE_PARENT_DEVICE => {
                return to.object(self.parent.as_ref().map_or(core::ptr::null_mut(), |parent| parent.raw()));
            }
            CL_DEVICE_REFERENCE_COUNT => {
                return to.number(if self.parent.is_some() { arena::references(self) } else { 1 });
            }
            _ => {}
        }
        let known = self.fact(&caller, param)?;
        match param {
            CL_DEVICE_EXTENSIONS => to.text(&extensions::filter(&answer::text(&known), &[])),
            CL_DEVICE_EXTENSIONS_WITH_VERSION => to.bytes(&extensions::filter_versions(&known, &[])),
            // A function of the program's cannot run on the host.
            CL_DEVICE_EXECUTION_CAPABILITIES => to.long(answer::number(&known) & !EXEC_NATIVE_KERNEL),
            CL_DEVICE_SVM_CAPABILITIES => to.long(crate::svm::capabilities(answer::number(&known))),
            _ => to.bytes(&known),
        }
    }
}

/// Asks the host for its devices.
///
/// # Errors
/// The host's answer.
pub fn ask(caller: &Caller) -> Result<Vec<Ref<Device>>, cl_int> {
    let mut count = 0;
    caller::answer(send::gpuferryDevices(caller, &mut count))?;
    let mut found = Vec::new();
    for number in 0..count {
        let vacant = arena::vacant::<Device>()?;
        caller::answer(send::gpuferryDevice(caller, vacant.handle, number))?;
        found.push(vacant.fill(Device { parent: None, facts: Facts::default(), limits: OnceLock::new() }));
    }
    Ok(found)
}

/// The list of a partition with its end, as it travels.
fn partition(properties: In<u64>) -> Result<Vec<u8>, cl_int> {
    let first = properties.get()?;
    let at = |index| In(properties.0.wrapping_add(index)).get();
    let mut list = vec![first];
    while list.last() != Some(&0) {
        if list.len() > MOST_PARTS {
            return Err(CL_INVALID_VALUE);
        }
        list.push(at(list.len())?);
        // A value may be 0, but not the number of a property; the counts end with one 0, the list with another.
        if first != PARTITION_BY_COUNTS && list.len().is_multiple_of(2) {
            list.push(at(list.len())?);
        }
    }
    if first == PARTITION_BY_COUNTS {
        list.push(at(list.len())?);
    }
    Ok(list.into_iter().flat_map(u64::to_ne_bytes).collect())
}

fn divide(parent: Ref<Device>, list: &[u8], out: Out<Raw>, room: u32, count_out: Out<u32>) -> Result<(), cl_int> {
    let caller = caller::enter()?;
    let mut count = 0;
    caller::answer(send::gpuferrySubDeviceCount(&caller, parent.handle, list, &mut count))?;
    if out.is_wanted() {
        if room < count {
            return Err(CL_INVALID_VALUE);
        }
        let cells = (0..count).map(|_| arena::vacant::<Device>()).collect::<Result<Vec<_>, _>>()?;
        let made: Vec<u8> = cells.iter().flat_map(|cell| cell.handle.0.to_le_bytes()).collect();
        caller::answer(send::gpuferrySubDevices(&caller, parent.handle, list, &made))?;
        for (at, cell) in cells.into_iter().enumerate() {
            let body = Device { parent: Some(parent.clone()), facts: Facts::default(), limits: OnceLock::new() };
            out.at(at).set(cell.fill(body).raw());
        }
    }
    count_out.set(count);
    Ok(())
}

crate::calls! {
    /// OpenCL 3.0 § 4.2, clGetDeviceInfo.
    extern "C" fn clGetDeviceInfo(
        device: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let device = arena::get::<Device>(device)?;
        device.info(param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }

    /// OpenCL 3.0 § 4.3, clCreateSubDevices.
    extern "C" fn clCreateSubDevices(
        in_device: Raw, properties: In<u64>, num_devices: u32, out_devices: Out<Raw>, num_devices_ret: Out<u32>,
    ) {
        let device = arena::get::<Device>(in_device)?;
        let list = partition(properties)?;
        if num_devices == 0 && out_devices.is_wanted() {
            return Err(CL_INVALID_VALUE);
        }
        divide(device, &list, out_devices, num_devices, num_devices_ret)
    }

    /// OpenCL 3.0 § 4.3, clRetainDevice.
    extern "C" fn clRetainDevice(device: Raw) {
        // The platform's own are always there.
        if arena::get::<Device>(device)?.parent.is_none() { Ok(()) } else { arena::retain::<Device>(device) }
    }

    /// OpenCL 3.0 § 4.3, clReleaseDevice.
    extern "C" fn clReleaseDevice(device: Raw) {
        let object = arena::get::<Device>(device)?;
        if object.parent.is_none() { Ok(()) } else { arena::release::<Device>(device) }
    }

    /// OpenCL 3.0 § 4.2, clGetDeviceAndHostTimer.
    extern "C" fn clGetDeviceAndHostTimer(device: Raw, device_timestamp: Out<u64>, host_timestamp: Out<u64>) {
        let device = arena::get::<Device>(device)?;
        platform::check_timers()?;
        if !device_timestamp.is_wanted() || !host_timestamp.is_wanted() {
            return Err(CL_INVALID_VALUE);
        }
        let (mut device_time, mut host_time) = (0, 0);
        let status = send::clGetDeviceAndHostTimer(&caller::enter()?, device.handle, &mut device_time, &mut host_time);
        caller::answer(status)?;
        device_timestamp.set(device_time);
        host_timestamp.set(host_time);
        Ok(())
    }

    /// OpenCL 3.0 § 4.2, clGetHostTimer.
    extern "C" fn clGetHostTimer(device: Raw, host_timestamp: Out<u64>) {
        let device = arena::get::<Device>(device)?;
        platform::check_timers()?;
        if !host_timestamp.is_wanted() {
            return Err(CL_INVALID_VALUE);
        }
        let mut time = 0;
        caller::answer(send::clGetHostTimer(&caller::enter()?, device.handle, &mut time))?;
        host_timestamp.set(time);
        Ok(())
    }
}

/// The devices that pointers stand for.
///
/// # Errors
/// `CL_INVALID_DEVICE` for one that is none.
pub fn list(devices: &[Raw]) -> Result<Vec<Ref<Device>>, cl_int> {
    devices.iter().map(|raw| DEVICES.find(*raw).ok_or(CL_INVALID_DEVICE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longs(list: &[u64]) -> Vec<u8> {
        list.iter().flat_map(|value| value.to_ne_bytes()).collect()
    }

    #[test]
    fn partition_when_by_counts_then_has_two_ends() {
        let counts = [PARTITION_BY_COUNTS, 1, 2, 0, 0, 77];
        assert_eq!(partition(In(counts.as_ptr())), Ok(longs(&counts[..5])));
        let equally = [0x1086u64, 2, 0, 77];
        assert_eq!(partition(In(equally.as_ptr())), Ok(longs(&equally[..3])));
        let nothing_each = [0x1086u64, 0, 0, 77];
        assert_eq!(partition(In(nothing_each.as_ptr())), Ok(longs(&nothing_each[..3])));
        assert_eq!(partition(In(core::ptr::null())), Err(CL_INVALID_VALUE));
    }
}
