//! The guest's own processes that hold memory of the device: the worker reads them in the ledger of its guest. No process of
//! the host or of another guest is in it.

use crate::caller::{self, enter};
use crate::generated::{kind, send};
use crate::handles;
use crate::lists::give;
use crate::nvmlReturn_t;
use crate::program::Out;
use crate::status::{NVML_ERROR_INSUFFICIENT_SIZE, NVML_ERROR_NOT_FOUND};
use core::ffi::c_void;
use std::fs;

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

/// Those of a device, by number.
///
/// # Errors
/// As of every call.
pub fn all(device: *mut c_void) -> Result<Vec<Process>, nvmlReturn_t> {
    let caller = enter()?;
    let device = handles::check(kind::nvmlDevice_t, device)?;
    let mut found = Vec::new();
    caller::answer(send::gpuferryProcesses(&caller, device, &mut found))?;
    let (entries, _) = found.as_chunks::<16>();
    let mut all: Vec<Process> = entries.iter().map(process).collect();
    all.sort_by_key(|process| process.pid);
    Ok(all)
}

/// One that the worker tells of. Its name is known where `/proc` shows it.
fn process(entry: &[u8; 16]) -> Process {
    let word = |at: usize| entry.iter().skip(at).take(8).rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
    let (pid, used) = ((word(0) & 0xFFFF_FFFF) as u32, word(8));
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let name = String::from_utf8_lossy(line.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    Process { pid, used, name }
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
    count.check()?;
    give(all(device)?.into_iter().map(entry), count, infos)
}

/// nvmlProcessUtilizationSample_t.
pub type Sample = [u8; 32];

/// Most samples asked for.
const MAX_SAMPLES: u32 = 120;

/// How busy each process of the guest has kept the device since a time, in microseconds.
pub fn samples(device: *mut c_void, since: u64) -> Result<Vec<Sample>, nvmlReturn_t> {
    let caller = enter()?;
    let device = handles::check(kind::nvmlDevice_t, device)?;
    let mut found = Vec::new();
    caller::answer(send::gpuferryProcessUtilization(&caller, device, since, MAX_SAMPLES, &mut found))?;
    Ok(found.as_chunks::<{ size_of::<Sample>() }>().0.to_vec())
}

crate::export! {
    /// NVML API Reference, nvmlDeviceGetProcessUtilization: of the guest's processes.
    extern "C" fn nvmlDeviceGetProcessUtilization(
        device: *mut c_void,
        utilization: Out<Sample>,
        processSamplesCount: Out<u32>,
        lastSeenTimeStamp: u64,
    ) {
        enter()?;
        let room = processSamplesCount.get()?;
        let samples = samples(device, lastSeenTimeStamp)?;
        if samples.is_empty() {
            return Err(NVML_ERROR_NOT_FOUND);
        }
        // Without a place the question is how many there may be.
        let (count, room) = (samples.len(), if utilization.check().is_err() { 0 } else { room as usize });
        processSamplesCount.set(if room == 0 { MAX_SAMPLES } else { u32::try_from(count).unwrap_or(u32::MAX) })?;
        if count > room {
            return Err(NVML_ERROR_INSUFFICIENT_SIZE);
        }
        for (number, sample) in samples.iter().enumerate() {
            utilization.at(number).set(*sample)?;
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_when_an_entry_is_read_then_has_its_number_and_bytes() {
        let mut entry = [0; 16];
        entry[..4].copy_from_slice(&std::process::id().to_le_bytes());
        entry[8..].copy_from_slice(&0x1_0000_0002_u64.to_le_bytes());
        let found = process(&entry);
        assert_eq!((found.pid, found.used), (std::process::id(), 0x1_0000_0002));
        assert!(!found.name.is_empty());
    }
}
