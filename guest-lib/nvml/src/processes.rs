//! The guest's own processes that use the device: each says itself how much memory it holds.
//!
//! `libcuda.so.1` of a process keeps a page in a memory file of the name [`wire::usage::NAME`] (the head of that module says what is
//! in it). Here the files of all processes are looked for in `/proc`; only those that this process may look into are found: root
//! sees all of the guest's, others their own. No process of the host or of another guest can appear.

use crate::caller::enter;
use crate::generated::kind;
use crate::handles;
use crate::lists::give;
use crate::nvmlReturn_t;
use crate::program::Out;
use core::ffi::c_void;
use std::fs;
use std::os::unix::fs::FileExt;
use wire::usage::{BYTES, NAME, parse};

/// A process that uses the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Bytes of device memory that it holds.
    pub used: u64,
    /// Path of its program.
    pub name: String,
}

/// All that can be found, by number.
#[must_use]
pub fn all() -> Vec<Process> {
    let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<Process> = pids.filter_map(of).collect();
    found.sort_by_key(|process| process.pid);
    found
}

/// What a process says of itself.
fn of(pid: u32) -> Option<Process> {
    let link = format!("/memfd:{NAME} (deleted)");
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let file =
        files.map(|file| file.path()).find(|path| fs::read_link(path).is_ok_and(|to| to.as_os_str() == &*link))?;
    let mut page = [0; BYTES];
    fs::File::open(file).ok()?.read_exact_at(&mut page, 0).ok()?;
    // A child of a fork has its parent's file.
    let (owner, used) = parse(&page)?;
    (owner == pid).then_some(())?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let name = String::from_utf8_lossy(line.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    Some(Process { pid, used, name })
}

/// As version 2 and 3 have it (nvmlProcessInfo_t).
#[repr(C)]
pub struct Info {
    pid: u32,
    padding: u32,
    used: u64,
    gpu_instance: u32,
    compute_instance: u32,
}

/// As version 1 has it.
#[repr(C)]
pub struct OldInfo {
    pid: u32,
    padding: u32,
    used: u64,
}

fn list<T>(
    device: *mut c_void,
    count: Out<u32>,
    infos: Out<T>,
    entry: impl Fn(Process) -> T,
) -> Result<(), nvmlReturn_t> {
    enter()?;
    handles::check(kind::nvmlDevice_t, device)?;
    give(all().into_iter().map(entry), count, infos)
}

crate::export! {
    /// NVML API Reference, nvmlDeviceGetComputeRunningProcesses_v3.
    extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3 | extern "C" fn nvmlDeviceGetComputeRunningProcesses_v2(
        device: *mut c_void,
        count: Out<u32>,
        infos: Out<Info>,
    ) {
        let whole = u32::MAX;
        list(device, count, infos, |one| Info {
            pid: one.pid, padding: 0, used: one.used, gpu_instance: whole, compute_instance: whole,
        })
    }

    /// The same, older.
    extern "C" fn nvmlDeviceGetComputeRunningProcesses(device: *mut c_void, count: Out<u32>, infos: Out<OldInfo>) {
        list(device, count, infos, |one| OldInfo { pid: one.pid, padding: 0, used: one.used })
    }
}
