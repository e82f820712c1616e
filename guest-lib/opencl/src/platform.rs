//! The platform: there is one, the host's.

use crate::answer::{self, Answer, Facts, Question};
use crate::arena::Ref;
use crate::caller;
use crate::cl_int;
use crate::device::Device;
use crate::dispatch::{TABLE, Table};
use crate::extensions;
use crate::generated::INFO_PLATFORM;
use crate::init;
use crate::status::{
    CL_DEVICE_NOT_FOUND, CL_INVALID_DEVICE_TYPE, CL_INVALID_OPERATION, CL_INVALID_PLATFORM, CL_INVALID_VALUE,
};
use crate::user::{Out, Raw};
use std::sync::LazyLock;
use wire::handle::Handle;

const CL_PLATFORM_EXTENSIONS: u32 = 0x0904;
const CL_PLATFORM_HOST_TIMER_RESOLUTION: u32 = 0x0905;
const CL_PLATFORM_EXTENSIONS_WITH_VERSION: u32 = 0x0907;
const CL_PLATFORM_ICD_SUFFIX_KHR: u32 = 0x0920;
/// What the platform's own functions would end with, if it had any.
const SUFFIX: &str = "gpuferry";

const CL_DEVICE_TYPE: u32 = 0x1000;
const TYPE_DEFAULT: u64 = 1;
const TYPE_CUSTOM: u64 = 1 << 4;
/// Default, CPU, GPU, accelerator and custom.
const TYPE_BITS: u64 = 0x1f;
const TYPE_ALL: u64 = 0xffff_ffff;

/// The platform as the program sees it.
#[repr(C)]
struct Platform {
    dispatch: &'static Table,
}

static PLATFORM: Platform = Platform { dispatch: &TABLE };
static FACTS: LazyLock<Facts> = LazyLock::new(Facts::default);

/// The platform's address.
#[must_use]
pub fn raw() -> Raw {
    core::ptr::from_ref(&PLATFORM).cast_mut().cast()
}

/// Whether a pointer is the platform.
///
/// # Errors
/// `CL_INVALID_PLATFORM`.
pub fn check(platform: Raw) -> Result<(), cl_int> {
    if platform == raw() { Ok(()) } else { Err(CL_INVALID_PLATFORM) }
}

/// `clGetPlatformIDs` and the loader's own form of it.
pub(crate) fn list(num_entries: u32, platforms: Out<Raw>, num_platforms: Out<u32>) -> Result<(), cl_int> {
    if (num_entries == 0 && platforms.is_wanted()) || !(platforms.is_wanted() || num_platforms.is_wanted()) {
        return Err(CL_INVALID_VALUE);
    }
    init::devices()?;
    platforms.set(raw());
    num_platforms.set(1);
    Ok(())
}

fn info(param: u32, to: &Answer) -> Result<(), cl_int> {
    let known = FACTS.get(&caller::enter()?, Question::new(INFO_PLATFORM, Handle::NULL, param));
    match param {
        CL_PLATFORM_ICD_SUFFIX_KHR => to.text(SUFFIX),
        CL_PLATFORM_EXTENSIONS => to.text(&extensions::filter(&answer::text(&known?), &["cl_khr_icd"])),
        CL_PLATFORM_EXTENSIONS_WITH_VERSION => to.bytes(&extensions::filter_versions(&known?, &["cl_khr_icd"])),
        _ => to.bytes(&known?),
    }
}

/// Whether device and host have times that belong together.
///
/// # Errors
/// `CL_INVALID_OPERATION`.
pub fn check_timers() -> Result<(), cl_int> {
    let question = Question::new(INFO_PLATFORM, Handle::NULL, CL_PLATFORM_HOST_TIMER_RESOLUTION);
    let resolution = FACTS.get(&caller::enter()?, question).map_or(0, |known| answer::number(&known));
    if resolution == 0 { Err(CL_INVALID_OPERATION) } else { Ok(()) }
}

/// The devices of a type.
///
/// # Errors
/// `CL_INVALID_DEVICE_TYPE`, or `CL_DEVICE_NOT_FOUND` where there are none.
pub fn devices_of(device_type: u64) -> Result<Vec<Ref<Device>>, cl_int> {
    if device_type == 0 || (device_type != TYPE_ALL && device_type & !TYPE_BITS != 0) {
        return Err(CL_INVALID_DEVICE_TYPE);
    }
    let all = init::devices()?;
    let caller = caller::enter()?;
    let mut found = Vec::new();
    for (number, device) in all.iter().enumerate() {
        let own = device.long(&caller, CL_DEVICE_TYPE)?;
        let is_asked_for = if device_type == TYPE_ALL { own & TYPE_CUSTOM == 0 } else { own & device_type != 0 };
        if is_asked_for || (device_type != TYPE_ALL && device_type & TYPE_DEFAULT != 0 && number == 0) {
            found.push(device.clone());
        }
    }
    if found.is_empty() { Err(CL_DEVICE_NOT_FOUND) } else { Ok(found) }
}

crate::calls! {
    /// OpenCL 3.0 § 4.1, clGetPlatformIDs.
    extern "C" fn clGetPlatformIDs(num_entries: u32, platforms: Out<Raw>, num_platforms: Out<u32>) {
        list(num_entries, platforms, num_platforms)
    }

    /// OpenCL 3.0 § 4.1, clGetPlatformInfo.
    extern "C" fn clGetPlatformInfo(
        platform: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        check(platform)?;
        info(param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }

    /// OpenCL 3.0 § 4.2, clGetDeviceIDs.
    extern "C" fn clGetDeviceIDs(
        platform: Raw, device_type: u64, num_entries: u32, devices: Out<Raw>, num_devices: Out<u32>,
    ) {
        check(platform)?;
        if (num_entries == 0 && devices.is_wanted()) || !(devices.is_wanted() || num_devices.is_wanted()) {
            return Err(CL_INVALID_VALUE);
        }
        let found = devices_of(device_type)?;
        num_devices.set(found.len() as u32);
        found.iter().take(num_entries as usize).enumerate().for_each(|(at, device)| devices.at(at).set(device.raw()));
        Ok(())
    }

    /// OpenCL 3.0 § 5.8.7, clUnloadPlatformCompiler: a hint, which no host's compiler needs.
    extern "C" fn clUnloadPlatformCompiler(platform: Raw) {
        check(platform)
    }

    /// OpenCL 1.1, clUnloadCompiler.
    extern "C" fn clUnloadCompiler() {
        Ok(())
    }
}
