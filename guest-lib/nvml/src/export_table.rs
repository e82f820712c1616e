//! nvmlInternalGetExportTable: what `nvidia-smi` asks for beside the documented functions.
//!
//! The table is undocumented. What stands here follows a public description of what `nvidia-smi` 580 calls in it (mock NVML
//! of NVIDIA's k8s-test-infra): word 0 is the table's size in bytes; place 81 finds a device by its number, places 213 to 215
//! list processes that compute, that draw, and those of MPS, each entry with its name; every other place that is called with
//! a device and a place for a number wants a count there. What `dmon` and `pmon` ask besides was seen on an H200: place 72
//! whether a device can be watched, 145 what each process of it did since a time ([`Record`]). Nothing of it leaves the
//! process but the questions that the documented functions ask too.

use crate::caller::guard;
use crate::handles::{index_of, of_index};
use crate::init::device_count;
use crate::nvmlReturn_t;
use crate::processes::{self, Process};
use crate::program::Out;
use crate::record::Record;
use crate::status::{NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_NOT_FOUND};
use core::ffi::c_void;

/// Places in the table.
const PLACES: usize = 256;
/// Its identity, in the order of its bytes: 6c3efec4-8fc9-4e6c-a327-ee696e12f7c4.
const IDENTITY: [u8; 16] =
    [0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e, 0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4];
/// The same where the first three parts are written as they are read.
const IDENTITY_AS_READ: [u8; 16] =
    [0x6c, 0x3e, 0xfe, 0xc4, 0x8f, 0xc9, 0x4e, 0x6c, 0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4];
const HANDLE_BY_INDEX: usize = 81;
const IS_WATCHED: usize = 72;
const PROCESS_SAMPLES: usize = 145;
const COMPUTING_PROCESSES: usize = 213;
/// Room for the name in an entry of a process list.
const NAME_BYTES: usize = 4096;
/// Most processes that a list is given.
const MAX_PROCESSES: usize = 65_536;

/// A process, as the lists of this table have it.
#[repr(C)]
struct Entry {
    pid: u32,
    padding: u32,
    used: u64,
    gpu_instance: u32,
    compute_instance: u32,
    protected: u64,
    name: [u8; NAME_BYTES],
}

impl Entry {
    fn new(process: &Process) -> Entry {
        let mut name = [0; NAME_BYTES];
        for (place, byte) in name.iter_mut().zip(process.name.bytes().take(NAME_BYTES - 1)) {
            *place = byte;
        }
        let (gpu_instance, compute_instance) = (u32::MAX, u32::MAX);
        Entry { pid: process.pid, padding: 0, used: process.used, gpu_instance, compute_instance, protected: 0, name }
    }
}

/// A function of the table: none takes more arguments.
type Function = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, *mut c_void, *mut c_void) -> nvmlReturn_t;

#[repr(C)]
struct Table {
    bytes: usize,
    functions: [Function; PLACES - 1],
}

static TABLE: Table = Table { bytes: size_of::<Table>(), functions: functions() };

const fn functions() -> [Function; PLACES - 1] {
    let mut all: [Function; PLACES - 1] = [other; PLACES - 1];
    all[HANDLE_BY_INDEX - 1] = handle_by_index;
    all[IS_WATCHED - 1] = is_watched;
    all[PROCESS_SAMPLES - 1] = process_samples;
    all[COMPUTING_PROCESSES - 1] = process_list;
    all
}

/// Place 81: (number, place for the device, …).
unsafe extern "C" fn handle_by_index(
    index: *mut c_void,
    device: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> nvmlReturn_t {
    guard(|| {
        let index = u32::try_from(index.addr()).map_err(|_| NVML_ERROR_INVALID_ARGUMENT)?;
        if index >= device_count() {
            return Err(NVML_ERROR_INVALID_ARGUMENT);
        }
        Out(device.cast::<*mut c_void>()).set(of_index(index))
    })
}

/// Place 72: (device, place for yes or no).
unsafe extern "C" fn is_watched(
    device: *mut c_void,
    watched: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> nvmlReturn_t {
    guard(|| {
        index_of(device).ok_or(NVML_ERROR_INVALID_ARGUMENT)?;
        Out(watched.cast::<u32>()).set(1)
    })
}

/// Place 145: (device, a time in microseconds, how many processes, how many records, records): one record, of the newest samples.
unsafe extern "C" fn process_samples(
    device: *mut c_void,
    since: *mut c_void,
    processes: *mut c_void,
    records: *mut c_void,
    list: *mut c_void,
) -> nvmlReturn_t {
    guard(|| {
        let (processes, records, list): (Out<u32>, Out<u32>, Out<Record>) =
            (Out(processes.cast()), Out(records.cast()), Out(list.cast()));
        list.check()?;
        let (record, count) = Record::of(&processes::samples(device, since.addr() as u64)?);
        if count == 0 {
            return Err(NVML_ERROR_NOT_FOUND);
        }
        processes.set(u32::try_from(count).unwrap_or(u32::MAX))?;
        records.set(1)?;
        list.set(record)
    })
}

/// Place 213: (device, count of entries, entries).
unsafe extern "C" fn process_list(
    device: *mut c_void,
    count: *mut c_void,
    list: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> nvmlReturn_t {
    guard(|| {
        let (count, list): (Out<u32>, Out<Entry>) = (Out(count.cast()), Out(list.cast()));
        let room = (count.get()? as usize).min(MAX_PROCESSES);
        list.check()?;
        let all = processes::all(device)?;
        let given = all.iter().take(room);
        count.set(u32::try_from(given.len()).unwrap_or(u32::MAX))?;
        for (number, process) in given.enumerate() {
            list.at(number).set(Entry::new(process))?;
        }
        Ok(())
    })
}

/// All other places.
unsafe extern "C" fn other(
    device: *mut c_void,
    count: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> nvmlReturn_t {
    guard(|| match index_of(device) {
        Some(_) if !count.is_null() => Out(count.cast::<u32>()).set(0),
        _ => Ok(()),
    })
}

crate::export! {
    /// Undocumented; see the head of this file.
    extern "C" fn nvmlInternalGetExportTable(table: Out<*const c_void>, identity: Out<[u8; 16]>) {
        table.check()?;
        let identity = identity.get()?;
        if identity != IDENTITY && identity != IDENTITY_AS_READ {
            crate::counts::log(format_args!("export table {identity:02x?} is not known"));
            return Err(NVML_ERROR_NOT_FOUND);
        }
        table.set(core::ptr::from_ref(&TABLE).cast())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_when_laid_out_then_is_as_nvidia_smi_reads_it() {
        assert_eq!(size_of::<Entry>(), 4128);
        assert_eq!(core::mem::offset_of!(Entry, name), 32);
        assert_eq!(size_of::<Table>(), PLACES * 8);
        let entry = Entry::new(&Process { pid: 7, used: 9, name: "x".repeat(5000) });
        assert_eq!((entry.pid, entry.used, entry.name[NAME_BYTES - 2], entry.name[NAME_BYTES - 1]), (7, 9, b'x', 0));
    }
}
