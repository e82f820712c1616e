//! Finding, loading and initialising the library that makes the calls.

use std::ffi::{CStr, OsString, c_void};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use libloading::os::unix::{Library as File, RTLD_LOCAL, RTLD_NOW};

use super::generated::Library;
use super::{Cuda, contexts, quota};
use crate::worker::{self, Api, Device, LoadError, Session, Settings};

/// Name of the host driver's library.
const DRIVER: &str = "libcuda.so.1";
/// Name of the CPU device's library, beside the worker or in its `lib` folders.
const CPU_DEVICE: &str = "libcpu_cuda.so";

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
    #[error("{name}: {call} answers {status}. {advice}")]
    Initialise { name: String, call: &'static str, status: i32, advice: &'static str },
}

/// Loads the library that the settings name, and initialises it.
///
/// # Errors
/// What is wrong and what to do about it.
pub fn load(settings: &Settings) -> Result<Box<dyn worker::Library>, LoadError> {
    let path = match (&settings.library, &settings.device) {
        (Some(path), _) => path.clone().into_os_string(),
        (None, Device::Cpu) => cpu_device()?.into_os_string(),
        (None, Device::Cuda(_) | Device::CudaUuid(_)) => OsString::from(DRIVER),
    };
    choose_device(&settings.device);
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
    if settings.device != Device::Cpu {
        check_pageable(&library, settings.allow_pageable)?;
    }
    log::debug!("{name} is loaded and initialised");
    if settings.prepare_context {
        let status = quota::prepare(&library);
        if status != 0 {
            // The program's own attempt gets the answer.
            log::warn!("a context ahead of the session cannot be made: status {status}");
        }
    }
    let context_bytes = if settings.device == Device::Cpu { 0 } else { quota::CONTEXT_BYTES };
    // Where that fails the guest's question gets the answer.
    let first_device = contexts::facts_of(&library, 0).ok();
    Ok(Box::new(Loaded { library, context_bytes, is_processor: settings.device == Device::Cpu, first_device }))
}

/// `CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS`.
const PAGEABLE_ACCESS: u32 = 88;

/// Kernels of the guest must not reach memory of this process that nobody lent them.
fn check_pageable(library: &Library, allowed: bool) -> Result<(), Trouble> {
    let mut value = 0;
    let Some(ask) = library.cuDeviceGetAttribute else { return Ok(()) };
    // SAFETY: the pointer is to a live variable. The device is the only one that the library sees, so its number is 0.
    let status = unsafe { ask(&raw mut value, PAGEABLE_ACCESS, 0) };
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

/// The device is the only one that the library sees, as number 0.
fn choose_device(device: &Device) {
    let visible = match device {
        Device::Cpu => return,
        Device::Cuda(number) => number.to_string(),
        Device::CudaUuid(uuid) => format!("GPU-{uuid}"),
    };
    // SAFETY: the worker has one thread until its library is loaded.
    unsafe {
        std::env::set_var("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
        std::env::set_var("CUDA_VISIBLE_DEVICES", visible);
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
struct Loaded {
    library: Library,
    /// Bytes that a context takes.
    context_bytes: u64,
    /// It is the CPU device.
    is_processor: bool,
    /// Facts of device 0.
    first_device: Option<Vec<u8>>,
}

impl worker::Library for Loaded {
    fn begin(self: Box<Self>, session: Arc<Session>) -> Arc<dyn Api> {
        let library = match session.account() {
            Some(account) => quota::count(self.library, Arc::clone(account), self.context_bytes, self.is_processor),
            None => self.library,
        };
        Arc::new(Cuda::new(library, session).knowing(self.is_processor, self.first_device))
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
