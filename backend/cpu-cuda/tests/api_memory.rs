//! Memory through the exported functions: allocation, copies, fills, pointers, pools, virtual memory.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use cpu_cuda::api::contexts::cuCtxSynchronize;
use cpu_cuda::api::copies::*;
use cpu_cuda::api::execution::cuLaunchHostFunc;
use cpu_cuda::api::fills::*;
use cpu_cuda::api::memory::*;
use cpu_cuda::api::pointers::*;
use cpu_cuda::api::pools::*;
use cpu_cuda::api::virtual_memory::*;
use cpu_cuda::foreign::{In, Out};
use cpu_cuda::handle::Handle;
use cpu_cuda::status::Status;
use cpu_cuda::types::*;

fn download(from: u64, bytes: usize) -> Vec<u8> {
    let mut here = vec![0; bytes];
    ok(unsafe { cuMemcpyDtoH_v2(here.as_mut_ptr() as u64, from, bytes as u64) });
    here
}

#[test]
fn copy_when_up_across_and_down_then_same_bytes() {
    let _context = context();
    let bytes: Vec<u8> = (0..=255).collect();
    let (a, b) = (alloc(256), alloc(256));
    ok(unsafe { cuMemcpyHtoD_v2(a, bytes.as_ptr() as u64, 256) });
    ok(unsafe { cuMemcpyDtoD_v2(b, a, 256) });
    assert_eq!(download(b, 256), bytes);
}

#[test]
fn copy_when_one_byte_too_long_then_invalid_value() {
    let _context = context();
    let bytes = [0u8; 1001];
    let at = alloc(1000);
    assert_eq!(unsafe { cuMemcpyHtoD_v2(at, bytes.as_ptr() as u64, 1001) }, Status::INVALID_VALUE.0);
    assert_eq!(unsafe { cuMemcpyHtoD_v2(at + 1000, bytes.as_ptr() as u64, 1) }, Status::INVALID_VALUE.0);
    assert_eq!(unsafe { cuMemcpyHtoD_v2(0xdead_0000, bytes.as_ptr() as u64, 1) }, Status::INVALID_VALUE.0);
    assert_eq!(unsafe { cuMemcpyHtoD_v2(at, bytes.as_ptr() as u64, u64::MAX) }, Status::INVALID_VALUE.0);
}

#[test]
fn copy_when_asynchronous_from_pageable_memory_then_source_may_change_at_once() {
    let _context = context();
    let stream = stream(0);
    let at = alloc(64);
    let mut bytes = [5u8; 64];
    ok(unsafe { cuMemcpyHtoDAsync_v2(at, bytes.as_ptr() as u64, 64, stream) });
    bytes.fill(6);
    ok(unsafe { cuCtxSynchronize() });
    assert_eq!(download(at, 64), [5; 64]);
}

#[test]
fn copy_2d_when_pitches_differ_then_rows_land_in_place() {
    let _context = context();
    let bytes: Vec<u8> = (0..32).collect();
    let mut pitch = 0;
    let at = made(|out| unsafe { cuMemAllocPitch_v2(out, Out(&mut pitch), 8, 4, 4) });
    let mut copy = Memcpy2D {
        src_kind: 1,
        src_host: bytes.as_ptr() as u64,
        src_pitch: 8,
        dst_kind: 2,
        dst_device: at,
        ..Default::default()
    };
    (copy.dst_pitch, copy.width, copy.height) = (pitch, 8, 4);
    ok(unsafe { cuMemcpy2D_v2(In(&copy)) });
    assert_eq!(download(at + 3 * pitch, 8), bytes[24..]);
    copy.height = 5;
    assert_eq!(unsafe { cuMemcpy2D_v2(In(&copy)) }, Status::INVALID_VALUE.0);
}

#[test]
fn fill_when_every_width_then_patterns() {
    let _context = context();
    let at = alloc(64);
    ok(unsafe { cuMemsetD8_v2(at, 1, 64) });
    ok(unsafe { cuMemsetD16_v2(at + 2, 0x0203, 2) });
    ok(unsafe { cuMemsetD32_v2(at + 8, 0x0405_0607, 1) });
    ok(unsafe { cuMemsetD2D8_v2(at + 16, 8, 9, 2, 3) });
    let bytes = download(at, 64);
    assert_eq!(bytes[..12], [1, 1, 3, 2, 3, 2, 1, 1, 7, 6, 5, 4]);
    assert_eq!([bytes[16], bytes[17], bytes[18], bytes[24], bytes[32], bytes[40]], [9, 9, 1, 9, 9, 1]);
    assert_eq!(unsafe { cuMemsetD32_v2(at + 2, 0, 1) }, Status::INVALID_VALUE.0);
    assert_eq!(unsafe { cuMemsetD8_v2(at, 0, 65) }, Status::INVALID_VALUE.0);
}

#[test]
fn alloc_when_more_than_there_is_then_out_of_memory_and_nothing_at_all_is_refused() {
    let _context = context();
    let mut at = 0;
    assert_eq!(unsafe { cuMemAlloc_v2(Out(&mut at), 257 << 20) }, Status::OUT_OF_MEMORY.0);
    assert_eq!(unsafe { cuMemAlloc_v2(Out(&mut at), 0) }, Status::INVALID_VALUE.0);
    assert_eq!(unsafe { cuMemAlloc_v2(nowhere(), 16) }, Status::INVALID_VALUE.0);
}

#[test]
fn free_when_twice_or_not_at_start_then_invalid_value() {
    let _context = context();
    let at = alloc(4096);
    assert_eq!(unsafe { cuMemFree_v2(at + 8) }, Status::INVALID_VALUE.0);
    assert_eq!(unsafe { cuMemFreeHost(at) }, Status::INVALID_VALUE.0);
    ok(unsafe { cuMemFree_v2(at) });
    assert_eq!(unsafe { cuMemFree_v2(at) }, Status::INVALID_VALUE.0);
    ok(unsafe { cuMemFree_v2(0) });
}

#[test]
fn pointer_when_device_host_managed_or_unknown_then_attributes_say_so() {
    let context = context();
    let device = alloc(1000);
    let host = made(|out| unsafe { cuMemHostAlloc(out, 1000, 0) });
    let managed = made(|out| unsafe { cuMemAllocManaged(out, 1000, 1) });
    let ask = |attribute, at| {
        let mut value = 0u64;
        let status = unsafe { cuPointerGetAttribute(Out((&raw mut value).cast()), attribute, at) };
        (status, value)
    };
    assert_eq!(ask(2, device + 999), (0, 2));
    assert_eq!(ask(2, host), (0, 1));
    assert_eq!(ask(8, managed), (0, 1));
    assert_eq!(ask(1, device), (0, context.0.0));
    assert_eq!(ask(11, device + 10), (0, device));
    assert_eq!(ask(12, device + 10), (0, 1000));
    assert_eq!(ask(4, device).0, Status::INVALID_VALUE.0);
    assert_eq!(ask(2, device + 1000).0, Status::INVALID_VALUE.0);
    let stack = 0u64;
    assert_eq!(ask(2, &raw const stack as u64).0, Status::INVALID_VALUE.0);
    let (mut kind, attribute) = (7u32, 2u32);
    let data = [&raw mut kind as u64];
    ok(unsafe { cuPointerGetAttributes(1, In(&attribute), In(data.as_ptr()), &raw const stack as u64) });
    assert_eq!(kind, 0);
}

#[test]
fn register_when_twice_then_already_registered_and_pointer_is_known() {
    let _context = context();
    let memory = vec![0u8; 3 << 12];
    let at = memory.as_ptr() as u64;
    ok(unsafe { cuMemHostRegister_v2(at, 3 << 12, 1) });
    assert_eq!(unsafe { cuMemHostRegister_v2(at + 4096, 1, 0) }, Status::HOST_MEMORY_ALREADY_REGISTERED.0);
    assert_eq!(made(|out| unsafe { cuMemHostGetDevicePointer_v2(out, at + 5, 0) }), at + 5);
    assert_eq!(made(|out| unsafe { cuMemHostGetFlags(out, at) }), 3);
    ok(unsafe { cuMemHostUnregister(at) });
    assert_eq!(unsafe { cuMemHostUnregister(at) }, Status::HOST_MEMORY_NOT_REGISTERED.0);
    assert_eq!(unsafe { cuMemHostRegister_v2(0x1234_5678_9000, 4096, 0) }, Status::INVALID_VALUE.0);
}

#[test]
fn pool_when_freed_in_order_then_use_falls_back_to_nothing() {
    let _context = context();
    let stream = stream(1);
    let properties = PoolProperties { kind: 1, location: Location { kind: 1, id: 0 }, ..Default::default() };
    let pool = made(|out| unsafe { cuMemPoolCreate(out, In(&properties)) });
    let at = made(|out| unsafe { cuMemAllocFromPoolAsync(out, 5000, pool, stream) });
    let used = || made(|out: Out<u64>| unsafe { cuMemPoolGetAttribute(pool, 7, Out(out.0.cast())) });
    assert_eq!(used(), 5000);
    assert_eq!(made(|out: Out<u64>| unsafe { cuPointerGetAttribute(Out(out.0.cast()), 17, at) }), pool.0);
    ok(unsafe { cuMemFreeAsync(at, stream) });
    ok(unsafe { cuCtxSynchronize() });
    assert_eq!(used(), 0);
    ok(unsafe { cuMemPoolDestroy(pool) });
    assert_eq!(unsafe { cuMemPoolDestroy(pool) }, Status::INVALID_HANDLE.0);
}

#[test]
fn virtual_memory_when_mapped_twice_then_both_see_the_same_bytes() {
    let _context = context();
    let size = 2 << 20;
    let properties =
        AllocationProperties { kind: 1, handle_types: 1, location: Location { kind: 1, id: 0 }, ..Default::default() };
    let physical = made(|out| unsafe { cuMemCreate(out, size, In(&properties), 0) });
    let at = made(|out| unsafe { cuMemAddressReserve(out, 2 * size, 0, 0, 0) });
    assert_eq!(unsafe { cuMemsetD8_v2(at, 1, 16) }, Status::INVALID_VALUE.0);
    ok(unsafe { cuMemMap(at, size, 0, physical, 0) });
    ok(unsafe { cuMemMap(at + size, size, 0, physical, 0) });
    assert_eq!(unsafe { cuMemMap(at, size, 0, physical, 0) }, Status::INVALID_VALUE.0);
    let access = Access { location: Location { kind: 1, id: 0 }, flags: 3 };
    ok(unsafe { cuMemSetAccess(at, 2 * size, In(&access), 1) });
    ok(unsafe { cuMemsetD8_v2(at + 100, 42, 1) });
    assert_eq!(download(at + size + 100, 1), [42]);
    let descriptor = made(|out| unsafe { cuMemExportToShareableHandle(out, physical, 1, 0) });
    let again = made(|out| unsafe { cuMemImportFromShareableHandle(out, descriptor as u64, 1) });
    ok(unsafe { cuMemUnmap(at, size) });
    ok(unsafe { cuMemMap(at, size, 0, again, 0) });
    ok(unsafe { cuMemSetAccess(at, size, In(&access), 1) });
    assert_eq!(download(at + 100, 1), [42]);
    ok(unsafe { cuMemRelease(physical) });
    ok(unsafe { cuMemRelease(again) });
    ok(unsafe { cuMemUnmap(at, 2 * size) });
    ok(unsafe { cuMemAddressFree(at, 2 * size) });
    assert_eq!(unsafe { cuMemRelease(physical) }, Status::INVALID_VALUE.0);
}

#[test]
fn array_when_copied_through_then_same_bytes_and_bounds_hold() {
    use cpu_cuda::api::arrays::*;
    let _context = context();
    let described = ArrayDescriptor { width: 16, height: 4, format: 1, channels: 4 };
    let array = made(|out| unsafe { cuArrayCreate_v2(out, In(&described)) });
    let bytes: Vec<u8> = (0..64).collect();
    ok(unsafe { cuMemcpyHtoA_v2(array, 0, bytes.as_ptr() as u64, 64) });
    let mut back = [0u8; 64];
    ok(unsafe { cuMemcpyAtoH_v2(back.as_mut_ptr() as u64, array, 0, 64) });
    assert_eq!(back[..], bytes);
    assert_eq!(unsafe { cuMemcpyHtoA_v2(array, 4, bytes.as_ptr() as u64, 64) }, Status::INVALID_VALUE.0);
    ok(unsafe { cuArrayDestroy(array) });
    assert_eq!(unsafe { cuMemcpyHtoA_v2(array, 0, bytes.as_ptr() as u64, 4) }, Status::INVALID_HANDLE.0);
    assert_eq!(unsafe { cuMemPoolDestroy(Handle::from_raw(array.0)) }, Status::INVALID_HANDLE.0);
}

unsafe extern "C" fn sleep(_: u64) {
    std::thread::sleep(std::time::Duration::from_millis(50));
}

#[test]
fn memset_when_memory_is_managed_then_the_call_waits() {
    let _context = context();
    let at = made(|out| unsafe { cuMemAllocManaged(out, 64, 1) });
    ok(unsafe { cuLaunchHostFunc(Handle::NULL, Some(sleep), 0) });
    ok(unsafe { cuMemsetD32_v2(at, 77, 16) });
    // SAFETY: allocated with this size, and the fill has ended.
    assert_eq!(unsafe { ((at + 60) as *const u32).read_volatile() }, 77);
}
