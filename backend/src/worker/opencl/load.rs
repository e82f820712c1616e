//! Finding and loading the host's OpenCL library, and the platform and devices that the operator chose.

use std::ffi::{CStr, OsString, c_void};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use libloading::os::unix::{Library as File, RTLD_GLOBAL, RTLD_NOW};

use super::generated::Library;
use super::{OpenCl, scratch};
use crate::worker::nvml::Figure;
use crate::worker::{Api, LoadError, OpenClDevice, Session};

/// Name of the loader, which finds the vendors' libraries by /etc/OpenCL/vendors or OCL_ICD_VENDORS.
const LOADER: &str = "libOpenCL.so.1";
/// `CL_PLATFORM_NAME`.
const PLATFORM_NAME: u32 = 0x0902;
/// `CL_DEVICE_NAME`.
const DEVICE_NAME: u32 = 0x102B;
/// `CL_DEVICE_TYPE_ALL`.
const ALL_TYPES: u64 = 0xFFFF_FFFF;
/// Most platforms and devices looked at.
const MOST: usize = 256;
/// Longest name.
const MOST_NAME: usize = 4096;

/// Why the library does not serve.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(
        "{name} does not load: {error}. Install an OpenCL loader (Debian: ocl-icd-libopencl1), or name one with --opencl-library"
    )]
    Load { name: String, error: libloading::Error },
    #[error("{0} has no {1}: it is no OpenCL loader")]
    NotOpenCl(String, &'static str),
    #[error(
        "{0} knows no platform: install one (Debian: pocl-opencl-icd) or set OCL_ICD_VENDORS to the folder that names it"
    )]
    NoPlatform(String),
    #[error("no OpenCL platform {0}; there are: {1}")]
    Platform(String, String),
    #[error("the OpenCL platform {0} has no device {1}; there are: {2}")]
    Device(String, String, String),
}

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Found {
    /// `cl_platform_id`, by address.
    pub platform: usize,
    /// `cl_device_id` of each device that the guest may use, by address.
    pub devices: Vec<usize>,
}

/// Loads the library at `path`, or the loader, and finds what `choice` names.
///
/// # Errors
/// What is wrong and what to do about it.
pub fn load(choice: &OpenClDevice, path: Option<&Path>) -> Result<Loaded, LoadError> {
    scratch::prepare()?;
    let path = path.map_or_else(|| OsString::from(LOADER), |path| path.as_os_str().to_owned());
    let name = path.to_string_lossy().into_owned();
    // SAFETY: the constructors of an OpenCL library are the host's own code, as trusted as the worker.
    let file = unsafe { File::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }
        .map_err(|error| Trouble::Load { name: name.clone(), error })?;
    // The library stays loaded for the life of the process: its functions are called until the end.
    let file: &'static File = Box::leak(Box::new(file));
    // SAFETY: the file is an OpenCL library by the operator's word, and never unloaded.
    let library = unsafe { Library::find(|name| symbol(file, name)) };
    let found = find(&library, &name, choice)?;
    log::debug!("{name} is loaded: {} OpenCL devices", found.devices.len());
    Ok(Loaded { library, found })
}

fn symbol(file: &File, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the symbol is only taken as an address here.
    let symbol = unsafe { file.get::<*mut c_void>(name.to_bytes_with_nul()) }.ok()?;
    NonNull::new(symbol.into_raw())
}

fn find(library: &Library, file: &str, choice: &OpenClDevice) -> Result<Found, Trouble> {
    let lacks = |what| Trouble::NotOpenCl(file.to_owned(), what);
    let platforms = library.clGetPlatformIDs.ok_or_else(|| lacks("clGetPlatformIDs"))?;
    let devices = library.clGetDeviceIDs.ok_or_else(|| lacks("clGetDeviceIDs"))?;
    let platform_info = library.clGetPlatformInfo.ok_or_else(|| lacks("clGetPlatformInfo"))?;
    let device_info = library.clGetDeviceInfo.ok_or_else(|| lacks("clGetDeviceInfo"))?;
    // SAFETY: at most `count` are written where there is room for them.
    let all = list(|count, to, made| unsafe { platforms(count, to, made) });
    if all.is_empty() {
        return Err(Trouble::NoPlatform(file.to_owned()));
    }
    // SAFETY: the platform is the library's; at most `bytes` are written where there is room for them.
    let named =
        |of: usize| name(|bytes, to, made| unsafe { platform_info(pointer(of), PLATFORM_NAME, bytes, to, made) });
    let names: Vec<String> = all.iter().map(|platform| named(*platform)).collect();
    let wanted = choice.platform.as_deref().unwrap_or("0");
    let place = choose(&names, wanted).ok_or_else(|| Trouble::Platform(wanted.to_owned(), numbered(&names)))?;
    let platform = all.get(place).copied().unwrap_or_default();
    // SAFETY: as above.
    let all = list(|count, to, made| unsafe { devices(pointer(platform), ALL_TYPES, count, to, made) });
    // SAFETY: as above, with a device.
    let named = |of: usize| name(|bytes, to, made| unsafe { device_info(pointer(of), DEVICE_NAME, bytes, to, made) });
    let device_names: Vec<String> = all.iter().map(|device| named(*device)).collect();
    let chosen = match &choice.device {
        None => all,
        Some(wanted) => choose(&device_names, wanted).and_then(|place| all.get(place).copied()).into_iter().collect(),
    };
    if chosen.is_empty() {
        let wanted = choice.device.clone().unwrap_or_else(|| "at all".into());
        return Err(Trouble::Device(names.get(place).cloned().unwrap_or_default(), wanted, numbered(&device_names)));
    }
    Ok(Found { platform, devices: chosen })
}

/// An object by its address.
pub fn pointer(address: usize) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(address)
}

/// All objects that a function of the library lists.
fn list(ask: impl Fn(u32, *mut *mut c_void, *mut u32) -> i32) -> Vec<usize> {
    let mut objects = [std::ptr::null_mut(); MOST];
    let mut count = 0;
    if ask(MOST as u32, objects.as_mut_ptr(), &raw mut count) != 0 {
        return Vec::new();
    }
    objects.iter().take(count as usize).map(|object| object.expose_provenance()).collect()
}

/// A text that a function of the library tells.
fn name(ask: impl Fn(usize, *mut c_void, *mut usize) -> i32) -> String {
    let mut text = [0u8; MOST_NAME];
    if ask(MOST_NAME, text.as_mut_ptr().cast(), std::ptr::null_mut()) != 0 {
        return String::new();
    }
    CStr::from_bytes_until_nul(&text).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The place of what is named by its number or a part of its name.
fn choose(names: &[String], wanted: &str) -> Option<usize> {
    if let Ok(number) = wanted.parse::<usize>() {
        return (number < names.len()).then_some(number);
    }
    let wanted = wanted.to_lowercase();
    names.iter().position(|name| name.to_lowercase().contains(&wanted))
}

fn numbered(names: &[String]) -> String {
    let all: Vec<String> = names.iter().enumerate().map(|(number, name)| format!("{number} ({name})")).collect();
    all.join(", ")
}

/// The library before its session.
pub struct Loaded {
    library: Library,
    found: Found,
}

impl Loaded {
    /// Starts serving the worker's session; `figure` tells what the process holds of the device's memory.
    pub fn begin(self, session: Arc<Session>, figure: Option<Figure>) -> Arc<dyn Api> {
        Arc::new(OpenCl::new(self.library, self.found, session).measured(figure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choose_when_by_number_or_part_of_a_name_then_finds_it() {
        let names = ["NVIDIA CUDA".to_owned(), "Portable Computing Language".to_owned()];
        assert_eq!(choose(&names, "1"), Some(1));
        assert_eq!(choose(&names, "portable"), Some(1));
        assert_eq!(choose(&names, "nvidia"), Some(0));
        assert_eq!(choose(&names, "2"), None);
        assert_eq!(choose(&names, "intel"), None);
    }
}
