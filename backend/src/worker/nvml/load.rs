//! Finding the host's `libnvidia-ml.so.1` and in it the device that this worker serves; or the CPU device's own functions.
//!
//! A host without the library still serves CUDA: NVML's calls then answer `NVML_ERROR_DRIVER_NOT_LOADED`.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::NonNull;

use libloading::os::unix::{Library as File, RTLD_LOCAL, RTLD_NOW};

use super::cpu;
use super::figure::Figure;
use super::generated::Library;
use crate::worker::Settings;

/// Name of the host's library.
const NVML: &str = "libnvidia-ml.so.1";
/// Name of the host driver's library, which says which devices CUDA's numbers are.
const DRIVER: &str = "libcuda.so.1";

/// What was loaded.
pub struct Host {
    /// The functions.
    pub library: Library,
    /// The guest's devices, by address of the library's object.
    pub devices: Vec<usize>,
}

impl Host {
    /// What tells how much memory of the devices this process holds; `None` where the library does not.
    #[must_use]
    pub fn figure(&self) -> Option<Figure> {
        Some(Figure::new(self.library.nvmlDeviceGetComputeRunningProcesses_v3?, self.devices.clone()))
    }
}

/// Loads what answers for the device; to be called when CUDA's library has been initialised. `None` is said in the log.
#[must_use]
pub fn load(settings: &Settings) -> Option<Host> {
    let loaded = if settings.devices.is_cpu() { cpu_host(settings) } else { nvidia(settings.library.as_deref()) };
    loaded.map_err(|why| log::debug!("NVML is not served: {why}")).ok()
}

/// A library without functions.
pub(super) fn nothing() -> Library {
    // SAFETY: nothing is found.
    unsafe { Library::find(|_| None) }
}

fn file(path: &Path) -> Result<&'static File, String> {
    // SAFETY: the constructors of a driver library are the host's own code, as trusted as the worker.
    let file = unsafe { File::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| error.to_string())?;
    // It stays loaded for the life of the process: its functions are called until the end.
    Ok(Box::leak(Box::new(file)))
}

fn symbol(file: &File, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the symbol is only taken as an address here.
    let symbol = unsafe { file.get::<*mut c_void>(name.to_bytes_with_nul()) }.ok()?;
    NonNull::new(symbol.into_raw())
}

fn nvidia(driver: Option<&Path>) -> Result<Host, String> {
    let nvml = file(Path::new(NVML))?;
    // SAFETY: the file is NVML by its name, and never unloaded.
    let library = unsafe { Library::find(|name| symbol(nvml, name)) };
    let (Some(init), Some(by_uuid)) = (library.nvmlInit_v2, library.nvmlDeviceGetHandleByUUID) else {
        return Err(format!("{NVML} lacks functions"));
    };
    // SAFETY: the prototype is the API's.
    match unsafe { init() } {
        0 => {}
        status => return Err(format!("nvmlInit_v2 answers {status}")),
    }
    let driver = file(driver.unwrap_or(Path::new(DRIVER)))?;
    let mut devices = Vec::new();
    for number in 0..cuda_devices(driver)? {
        let uuid = cuda_uuid(driver, number)?;
        let mut device = std::ptr::null_mut();
        // SAFETY: the text ends with a zero byte, and the place is good for the object.
        match unsafe { by_uuid(uuid.as_ptr(), &raw mut device) } {
            0 => devices.push(device.expose_provenance()),
            status => return Err(format!("nvmlDeviceGetHandleByUUID answers {status} for {uuid:?}")),
        }
    }
    Ok(Host { library, devices })
}

/// How many devices this worker's CUDA has.
fn cuda_devices(driver: &File) -> Result<i32, String> {
    let mut count = 0;
    type GetCount = unsafe extern "C" fn(*mut i32) -> i32;
    // SAFETY: the driver's function of that name has that prototype.
    let get = unsafe { driver.get::<GetCount>(b"cuDeviceGetCount\0") }.map_err(|error| error.to_string())?;
    // SAFETY: the place is good for the number; CUDA has been initialised.
    match unsafe { get(&raw mut count) } {
        0 => Ok(count),
        status => Err(format!("cuDeviceGetCount answers {status}")),
    }
}

/// The UUID of a device that this worker's CUDA has, as NVML writes it.
fn cuda_uuid(driver: &File, device: i32) -> Result<CString, String> {
    let mut uuid = [0u8; 16];
    type GetUuid = unsafe extern "C" fn(*mut u8, i32) -> i32;
    // SAFETY: the driver's function of that name has that prototype.
    let get = unsafe { driver.get::<GetUuid>(b"cuDeviceGetUuid_v2\0") }.map_err(|error| error.to_string())?;
    // SAFETY: the place is good for 16 bytes; CUDA has been initialised.
    match unsafe { get(uuid.as_mut_ptr(), device) } {
        0 => Ok(uuid_text(uuid)),
        status => Err(format!("cuDeviceGetUuid_v2 answers {status}")),
    }
}

/// A UUID as NVML writes it.
pub(super) fn uuid_text(uuid: [u8; 16]) -> CString {
    let mut text = String::from("GPU-");
    for (number, byte) in uuid.iter().enumerate() {
        if [4, 6, 8, 10].contains(&number) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    CString::new(text).unwrap_or_default()
}

fn cpu_host(settings: &Settings) -> Result<Host, String> {
    let path = match &settings.library {
        Some(path) => path.clone(),
        None => crate::worker::cuda::cpu_device().map_err(|error| error.to_string())?,
    };
    let driver = file(&path)?;
    let count = cuda_devices(driver)?;
    cpu::describe((0..count).map(|number| cpu_facts(driver, number)).collect::<Result<_, String>>()?);
    // SAFETY: the functions have the prototypes of the API.
    let library = unsafe { Library::find(cpu::function) };
    Ok(Host { library, devices: (0..count as usize).map(cpu::device).collect() })
}

/// What a CPU device says of itself as a CUDA device, so that both libraries tell the same.
fn cpu_facts(driver: &File, device: i32) -> Result<cpu::Facts, String> {
    type GetName = unsafe extern "C" fn(*mut c_char, i32, i32) -> i32;
    type TotalMem = unsafe extern "C" fn(*mut usize, i32) -> i32;
    type GetVersion = unsafe extern "C" fn(*mut i32) -> i32;
    type GetAttribute = unsafe extern "C" fn(*mut i32, i32, i32) -> i32;
    let uuid = cuda_uuid(driver, device)?;
    let found = |error: libloading::Error| error.to_string();
    let mut name: [c_char; 96] = [0; 96];
    let (mut total, mut cuda) = (0usize, 0i32);
    // SAFETY: the driver's function of that name has that prototype.
    let get_name = unsafe { driver.get::<GetName>(b"cuDeviceGetName\0") }.map_err(found)?;
    // SAFETY: as above.
    let total_mem = unsafe { driver.get::<TotalMem>(b"cuDeviceTotalMem_v2\0") }.map_err(found)?;
    // SAFETY: as above.
    let version = unsafe { driver.get::<GetVersion>(b"cuDriverGetVersion\0") }.map_err(found)?;
    // SAFETY: as above.
    let attribute = unsafe { driver.get::<GetAttribute>(b"cuDeviceGetAttribute\0") }.map_err(found)?;
    // SAFETY: the place has that many bytes.
    unsafe { get_name(name.as_mut_ptr(), 96, device) };
    // SAFETY: the place is good for the number.
    unsafe { total_mem(&raw mut total, device) };
    // SAFETY: as above.
    unsafe { version(&raw mut cuda) };
    let ask = |which: i32| {
        let mut value = 0;
        // SAFETY: as above.
        unsafe { attribute(&raw mut value, which, device) };
        value
    };
    // SAFETY: the function ends the text with a zero byte.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_owned();
    // CUDA Driver API, CUdevice_attribute: capability 75 and 76, address on the bus 33, 34 and 50.
    let bus = [ask(50), ask(33), ask(34)].map(|number| number.cast_unsigned());
    Ok(cpu::Facts { name, uuid, total: total as u64, cuda, capability: [ask(75), ask(76)], bus })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_when_written_then_has_its_five_groups() {
        let text = uuid_text(*b"\x0a\x11\x74\xc5\x15\x80\x8c\x82\x0e\x7c\x19\x13\x8f\xe1\x46\xdb");
        assert_eq!(text.to_str(), Ok("GPU-0a1174c5-1580-8c82-0e7c-19138fe146db"));
    }
}
