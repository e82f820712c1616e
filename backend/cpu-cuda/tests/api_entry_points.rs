//! cuGetProcAddress, cuGetExportTable, errors, the device's attributes, and the names that the library exports.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use std::ffi::{CStr, c_char};

use common::*;
use cpu_cuda::api::devices::*;
use cpu_cuda::api::entry_points::*;
use cpu_cuda::api::initialization::*;
use cpu_cuda::foreign::{In, Out};
use cpu_cuda::status::Status;

fn find(name: &CStr, version: i32, flags: u64) -> (u32, u64, u32) {
    let (mut address, mut status) = (1, 9);
    let answer = unsafe { cuGetProcAddress_v2(text(name), Out(&mut address), version, flags, Out(&mut status)) };
    (answer, address, status)
}

fn export(name: &str) -> u64 {
    EXPORTS.iter().find(|(other, _)| *other == name).map_or(0, |(_, function)| *function as *const () as u64)
}

#[test]
fn proc_address_when_version_and_flags_vary_then_by_the_map() {
    assert_eq!(find(c"cuMemcpyHtoD", 12000, 0), (0, export("cuMemcpyHtoD_v2"), 0));
    assert_eq!(find(c"cuMemcpyHtoD", 3010, 0), (0, export("cuMemcpyHtoD"), 0));
    assert_eq!(find(c"cuMemcpyHtoD", 12000, 2), (0, export("cuMemcpyHtoD_v2_ptds"), 0));
    assert_eq!(find(c"cuLaunchKernel", 3000, 0), (0, 0, 2));
    assert_eq!(find(c"cuNoSuchThing", 12000, 0), (0, 0, 1));
    assert_eq!(find(c"", 12000, 0), (0, 0, 1));
    assert_eq!(find(c"cuInit", 13010, 0).0, Status::INVALID_VALUE.0);
    assert_eq!(find(c"cuInit", 13000, 7).0, Status::INVALID_VALUE.0);
    assert_eq!(
        unsafe { cuGetProcAddress_v2(text(c"cuInit"), nowhere(), 13000, 0, nowhere()) },
        Status::INVALID_VALUE.0
    );
}

#[test]
fn exports_when_counted_then_all_682_names_once() {
    let mut names: Vec<_> = EXPORTS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 682);
    assert!(names.contains(&"cuLaunchKernel_ptsz") && names.contains(&"cudbgMain"));
}

#[test]
fn unsupported_name_when_called_then_not_supported() {
    assert_eq!(cpu_cuda::api::unsupported::cuGLInit(), Status::NOT_SUPPORTED.0);
}

#[test]
fn export_table_when_known_then_sized_and_unknown_is_not_found() {
    init();
    let id = 0x6bd5fb6c_5bf4_e74a_8987_d93912fd9df9_u128.to_be_bytes();
    let table = made(|out| unsafe { cuGetExportTable(out, In(&id)) });
    // SAFETY: the table has 13 words, of which the first is its size.
    assert_eq!(unsafe { *(table as *const u64) }, 13 * 8);
    assert_eq!(unsafe { cuGetExportTable(Out(&mut 0), In(&[7; 16])) }, Status::NOT_FOUND.0);
}

#[test]
fn error_name_when_known_or_not_then_text_or_invalid_value() {
    let mut name: *const c_char = std::ptr::null();
    ok(unsafe { cuGetErrorName(719, Out(&mut name)) });
    // SAFETY: a constant of the library.
    assert_eq!(unsafe { CStr::from_ptr(name) }, c"CUDA_ERROR_LAUNCH_FAILED");
    assert_eq!(unsafe { cuGetErrorName(12345, Out(&mut name)) }, Status::INVALID_VALUE.0);
    assert!(name.is_null());
}

#[test]
fn device_when_every_attribute_asked_then_answered_and_none_beyond() {
    init();
    let ask = |number| unsafe { cuDeviceGetAttribute(Out(&mut 0), number, 0) };
    let refused: Vec<u32> = (1..=147).filter(|number| ask(*number) != 0).collect();
    assert_eq!(refused, []);
    assert_eq!(ask(0), Status::INVALID_VALUE.0);
    assert_eq!(ask(148), Status::INVALID_VALUE.0);
    assert_eq!(unsafe { cuDeviceGetAttribute(Out(&mut 0), 1, 1) }, Status::INVALID_DEVICE.0);
    assert_eq!(unsafe { cuDeviceGetAttribute(nowhere(), 1, 0) }, Status::INVALID_VALUE.0);
}

#[test]
fn device_when_named_by_its_pci_text_then_found() {
    init();
    let mut room = [0 as c_char; 32];
    ok(unsafe { cuDeviceGetPCIBusId(Out(room.as_mut_ptr()), 32, 0) });
    assert_eq!(read_text(&room), "0000:00:00.0");
    assert_eq!(made(|out| unsafe { cuDeviceGetByPCIBusId(out, cpu_cuda::foreign::Text(room.as_ptr())) }), 0);
    ok(unsafe { cuDeviceGetName(Out(room.as_mut_ptr()), 9, 0) });
    assert_eq!(read_text(&room), "gpuferry");
}
