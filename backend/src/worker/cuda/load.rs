//! Finding, loading and initialising the library that makes the calls.

use std::ffi::{CStr, OsString, c_void};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use libloading::os::unix::{Library as File, RTLD_LOCAL, RTLD_NOW};

use super::generated::Library;
use super::{Cuda, contexts, quota};
use crate::worker::nvml::Figure;
use crate::worker::{Api, Devices, Gpu, LoadError, Session, Settings};

/// Name of the host driver's library.
const DRIVER: &str = "libcuda.so.1";
/// Name of the CPU device's library, beside the worker or in its `lib` folders.
const CPU_DEVICE: &str = "libcpu_cuda.so";

/// Tells the CPU device's library how many devices it is.
const CPU_DEVICES: &str = "GPUFERRY_CPU_DEVICES";

/// Why the library does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(
        "kernels on this GPU reach ordinary memory of the worker's process (HMM or ATS), so that a guest could take it over. Switch it \
         off: `options nvidia_uvm uvm_disable_hmm=1` in /etc/modprobe.d, and load nvidia_uvm anew; or start gpuferryd with \
         --allow-pageable-access where guests are trusted"
    )]
    Pageable,
    #[error("{name} does not load: {error}. {advice}")]
    Load { name: String, error: libloading::Error, advice: &'static str },
    #[error("no {CPU_DEVICE} beside {}: build it (cargo build -p cpu-cuda) or name it with --library", .0.display())]
    NoCpuDevice(PathBuf),
    #[error("{0} has no {1}: it is no CUDA driver library")]
    NotCuda(String, &'static str),
    #[error("{wanted}: the host's driver has {found} of these devices. Check that nvidia-smi -L lists each")]
    TooFew { wanted: String, found: i32 },
    #[error("{name}: {call} answers {status}. {advice}")]
    Initialise { name: String, call: &'static str, status: i32, advice: &'static str },
}

/// Loads the library that the settings name, and initialises it.
///
/// # Errors
/// What is wrong and what to do about it.
pub fn load(settings: &Settings) -> Result<Loaded, LoadError> {
    let is_processor = settings.devices.is_cpu();
    let path = match &settings.library {
        Some(path) => path.clone().into_os_string(),
        None if is_processor => cpu_device()?.into_os_string(),
        None => OsString::from(DRIVER),
    };
    choose(&settings.devices);
    let name = path.to_string_lossy().into_owned();
    // SAFETY: the constructors of a driver library are the host's own code, as trusted as the worker.
    let file = unsafe { File::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| Trouble::Load {
        name: name.clone(),
        error,
        advice: "Install the NVIDIA driver on the host, or use --device cpu",
    })?;
    // The library stays loaded for the life of the process: its functions are called until the end.
    let file: &'static File = Box::leak(Box::new(file));
    // SAFETY: the file is a driver library by the operator's word, and never unloaded.
    let library = unsafe { Library::find(|name| symbol(file, name)) };
    let init = library.cuInit.ok_or_else(|| Trouble::NotCuda(name.clone(), "cuInit"))?;
    // SAFETY: the prototype is the API's.
    let status = unsafe { init(0) };
    if status != 0 {
        let advice = "Check that nvidia-smi lists the device on the host";
        return Err(Trouble::Initialise { name, call: "cuInit", status, advice }.into());
    }
    let count = count(&library, &settings.devices)?;
    if !is_processor {
        (0..count).try_for_each(|device| check_pageable(&library, device, settings.allow_pageable))?;
    }
    log::debug!("{name} is loaded and initialised, with {count} devices");
    for device in (0..count).filter(|_| settings.prepare_context) {
        let status = quota::prepare(&library, device);
        if status != 0 {
            // The program's own attempt gets the answer.
            log::warn!("a context of device {device} ahead of the session cannot be made: status {status}");
        }
    }
    let context_bytes = if is_processor { 0 } else { quota::CONTEXT_BYTES };
    // Where that fails the guest's question gets the answer.
    let facts = (0..count).map_while(|device| contexts::facts_of(&library, device).ok()).collect();
    Ok(Loaded { library, context_bytes, is_processor, facts })
}

/// How many devices the library has: all that were named, or nothing is served.
fn count(library: &Library, devices: &Devices) -> Result<i32, Trouble> {
    let mut found = 0;
    if let Some(ask) = library.cuDeviceGetCount {
        // SAFETY: the pointer is to a live variable. Where that fails it stays 0.
        unsafe { ask(&raw mut found) };
    }
    let wanted = devices.count().unwrap_or(1);
    if usize::try_from(found).is_ok_and(|found| found >= wanted) {
        return Ok(found);
    }
    Err(Trouble::TooFew { wanted: devices.to_string(), found })
}

/// `CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS`.
const PAGEABLE_ACCESS: u32 = 88;

/// Kernels of the guest must not reach memory of this process that nobody lent them.
fn check_pageable(library: &Library, device: i32, allowed: bool) -> Result<(), Trouble> {
    let mut value = 0;
    let Some(ask) = library.cuDeviceGetAttribute else { return Ok(()) };
    // SAFETY: the pointer is to a live variable.
    let status = unsafe { ask(&raw mut value, PAGEABLE_ACCESS, device) };
    pageable(status, value, allowed)
}

/// What the driver answers about that, and what follows. A driver that does not know the question has no such access.
fn pageable(status: i32, value: i32, allowed: bool) -> Result<(), Trouble> {
    match (status, value) {
        (0, 0) => Ok(()),
        (0, _) if allowed => {
            log::warn!("DEGRADED: kernels reach this process's ordinary memory: --allow-pageable-access is given");
            Ok(())
        }
        (0, _) => Err(Trouble::Pageable),
        _ => Ok(()),
    }
}

fn symbol(file: &File, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the symbol is only taken as an address here.
    let symbol = unsafe { file.get::<*mut c_void>(name.to_bytes_with_nul()) }.ok()?;
    NonNull::new(symbol.into_raw())
}

/// The devices are the only ones that the library sees, from number 0 on in their order. Of all GPUs the operator's own
/// variable may choose.
fn choose(devices: &Devices) {
    let variable = match devices {
        Devices::Cpu(count) => Some((CPU_DEVICES, count.to_string())),
        Devices::Gpus(gpus) => {
            let name = |gpu: &Gpu| match gpu {
                Gpu::Number(number) => number.to_string(),
                Gpu::Uuid(uuid) => format!("GPU-{uuid}"),
            };
            Some(("CUDA_VISIBLE_DEVICES", gpus.iter().map(name).collect::<Vec<_>>().join(",")))
        }
        Devices::AllGpus => None,
    };
    // SAFETY: the worker has one thread until its library is loaded.
    unsafe {
        // Numbers are those of nvidia-smi.
        std::env::set_var("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
        if let Some((name, value)) = variable {
            std::env::set_var(name, value);
        }
    }
}

/// The CPU device's library, beside this program.
pub fn cpu_device() -> Result<PathBuf, Trouble> {
    let worker = std::env::current_exe().unwrap_or_default();
    let beside = worker.parent().unwrap_or(Path::new("/")).to_path_buf();
    let places = [beside.clone(), beside.join("../lib/gpuferry"), beside.join("../lib"), beside.join("..")];
    let found = places.into_iter().map(|place| place.join(CPU_DEVICE)).find(|path| path.exists());
    found.ok_or(Trouble::NoCpuDevice(beside))
}

/// The library before its session.
pub struct Loaded {
    library: Library,
    /// Bytes that a context takes.
    context_bytes: u64,
    /// It is the CPU device.
    is_processor: bool,
    /// Facts of the devices, by number.
    facts: Vec<Vec<u8>>,
}

impl Loaded {
    /// Starts serving the worker's session; `figure` tells what the process holds of the device's memory.
    pub fn begin(self, session: Arc<Session>, figure: Option<Figure>) -> Arc<dyn Api> {
        let library = match session.account() {
            Some(account) => {
                quota::count(self.library, Arc::clone(account), self.context_bytes, self.is_processor, figure)
            }
            None => self.library,
        };
        Arc::new(Cuda::new(library, session).knowing(self.is_processor, self.facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pageable_access_when_the_device_has_it_then_is_refused_unless_allowed() {
        assert!(pageable(0, 0, false).is_ok() && pageable(1, 0, false).is_ok());
        let refused = pageable(0, 1, false).expect_err("refused").to_string();
        assert!(refused.contains("uvm_disable_hmm=1") && refused.contains("--allow-pageable-access"), "{refused}");
        assert!(pageable(0, 1, true).is_ok());
    }
}
