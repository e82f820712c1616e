//! A library of fakes for tests and fuzz targets: it counts references and remembers how it was called.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Live objects of the fake library, with their references.
static REFERENCES: Mutex<Option<HashMap<usize, u32>>> = Mutex::new(None);
static NEXT: AtomicUsize = AtomicUsize::new(0x10_0000);
/// Calls that used an object that was none.
pub(super) static STRAY: AtomicU64 = AtomicU64::new(0);
/// Calls that did something with objects: launches, transfers, arguments.
pub(super) static USES: AtomicU64 = AtomicU64::new(0);
/// `clFinish` and `clBuildProgram` sleep until this is set.
pub(super) static GO: AtomicBool = AtomicBool::new(true);

fn with_references<T>(does: impl FnOnce(&mut HashMap<usize, u32>) -> T) -> T {
    does(REFERENCES.lock().expect("references").get_or_insert_default())
}

pub(super) fn references(object: usize) -> u32 {
    with_references(|all| all.get(&object).copied().unwrap_or(0))
}

pub(super) fn make() -> *mut c_void {
    let object = NEXT.fetch_add(16, Ordering::Relaxed);
    with_references(|all| all.insert(object, 1));
    std::ptr::without_provenance_mut(object)
}

/// No object is left.
#[cfg(fuzzing)]
pub(super) fn forget() {
    with_references(HashMap::clear);
}

/// The object is used; null, where the API has a meaning for it or an error, is none.
pub(super) fn uses(object: *mut c_void) {
    USES.fetch_add(1, Ordering::Relaxed);
    if !object.is_null() && references(object.addr()) == 0 {
        STRAY.fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn retain(object: *mut c_void) -> i32 {
    let was = with_references(|all| all.get_mut(&object.addr()).map(|count| *count += 1));
    if was.is_none() {
        STRAY.fetch_add(1, Ordering::Relaxed);
    }
    0
}

extern "C" fn release(object: *mut c_void) -> i32 {
    with_references(|all| match all.get_mut(&object.addr()) {
        Some(1) => drop(all.remove(&object.addr())),
        Some(count) => *count -= 1,
        None => drop(STRAY.fetch_add(1, Ordering::Relaxed)),
    });
    0
}

extern "C" fn create_context(
    _: *const u64,
    _: u32,
    _: *const *mut c_void,
    _: *const c_void,
    _: *mut c_void,
    _: *mut i32,
) -> *mut c_void {
    make()
}

extern "C" fn create_queue(context: *mut c_void, _: *mut c_void, _: *const u64, _: *mut i32) -> *mut c_void {
    uses(context);
    make()
}

extern "C" fn create_buffer(context: *mut c_void, _: u64, _: usize, _: *mut c_void, _: *mut i32) -> *mut c_void {
    uses(context);
    make()
}

extern "C" fn create_program(
    context: *mut c_void,
    _: u32,
    _: *mut *const c_char,
    _: *const usize,
    _: *mut i32,
) -> *mut c_void {
    uses(context);
    make()
}

extern "C" fn create_kernel(program: *mut c_void, _: *const c_char, _: *mut i32) -> *mut c_void {
    uses(program);
    make()
}

/// `clGetDeviceInfo` and `clGetMemObjectInfo`: a device has 1 MiB and gives it whole, an object takes 64 KiB.
extern "C" fn device_info(_: *mut c_void, param: u32, bytes: usize, to: *mut c_void, size: *mut usize) -> i32 {
    answer(if matches!(param, 0x1010 | 0x101F) { 1 << 20 } else { 7 }, bytes, to, size)
}

extern "C" fn memory_info(_: *mut c_void, _: u32, bytes: usize, to: *mut c_void, size: *mut usize) -> i32 {
    answer(65536, bytes, to, size)
}

fn answer(value: u64, bytes: usize, to: *mut c_void, size: *mut usize) -> i32 {
    if !size.is_null() {
        // SAFETY: the forwarder gives a live variable.
        unsafe { *size = 8 };
    }
    if !to.is_null() && bytes >= 8 {
        // SAFETY: there is room for 8 bytes.
        unsafe { to.cast::<u64>().write_unaligned(value) };
    }
    0
}

/// Three arguments.
extern "C" fn kernel_info(_: *mut c_void, _: u32, _: usize, to: *mut c_void, _: *mut usize) -> i32 {
    // SAFETY: there is room for 4 bytes.
    unsafe { to.cast::<u32>().write_unaligned(3) };
    0
}

/// A buffer, an `ulong`, and one of which nothing is known.
extern "C" fn argument_info(_: *mut c_void, index: u32, param: u32, _: usize, to: *mut c_void, _: *mut usize) -> i32 {
    if index == 2 {
        return -19;
    }
    // SAFETY: there is room for what the parameter asks.
    unsafe {
        match param {
            0x1196 => to.cast::<u32>().write_unaligned(if index == 0 { 0x119B } else { 0x119E }),
            0x1199 => to.cast::<u64>().write_unaligned(0),
            _ if index == 0 => to.cast::<[u8; 7]>().write_unaligned(*b"float*\0"),
            _ => to.cast::<[u8; 6]>().write_unaligned(*b"ulong\0"),
        }
    }
    0
}

extern "C" fn set_argument(kernel: *mut c_void, _: u32, _: usize, _: *const c_void) -> i32 {
    uses(kernel);
    0
}

#[allow(clippy::too_many_arguments)]
extern "C" fn launch(
    queue: *mut c_void,
    kernel: *mut c_void,
    _: u32,
    _: *const usize,
    _: *const usize,
    _: *const usize,
    _: u32,
    _: *const *mut c_void,
    event: *mut *mut c_void,
) -> i32 {
    uses(queue);
    uses(kernel);
    if !event.is_null() {
        // SAFETY: the forwarder gives a live variable.
        unsafe { *event = make() };
    }
    0
}

#[allow(clippy::too_many_arguments)]
extern "C" fn read_buffer(
    queue: *mut c_void,
    buffer: *mut c_void,
    _: u32,
    _: usize,
    bytes: usize,
    to: *mut c_void,
    _: u32,
    _: *const *mut c_void,
    _: *mut *mut c_void,
) -> i32 {
    uses(queue);
    uses(buffer);
    // SAFETY: the forwarder says that there is so much room.
    unsafe { to.cast::<u8>().write_bytes(7, bytes) };
    0
}

fn sleep_until_go() {
    while !GO.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

extern "C" fn finish(queue: *mut c_void) -> i32 {
    uses(queue);
    sleep_until_go();
    uses(queue);
    0
}

extern "C" fn build(
    program: *mut c_void,
    _: u32,
    _: *const *mut c_void,
    _: *const c_char,
    _: *const c_void,
    _: *mut c_void,
) -> i32 {
    uses(program);
    sleep_until_go();
    uses(program);
    0
}

pub(super) fn find(name: &CStr) -> Option<NonNull<c_void>> {
    let name = name.to_bytes();
    let function = match name {
        _ if name.starts_with(b"clRetain") => retain as *mut c_void,
        _ if name.starts_with(b"clRelease") => release as *mut c_void,
        b"clCreateContext" => create_context as *mut c_void,
        b"clCreateCommandQueueWithProperties" => create_queue as *mut c_void,
        b"clCreateBuffer" => create_buffer as *mut c_void,
        b"clCreateProgramWithSource" => create_program as *mut c_void,
        b"clCreateKernel" => create_kernel as *mut c_void,
        b"clGetDeviceInfo" => device_info as *mut c_void,
        b"clGetMemObjectInfo" => memory_info as *mut c_void,
        b"clGetKernelInfo" => kernel_info as *mut c_void,
        b"clGetKernelArgInfo" => argument_info as *mut c_void,
        b"clSetKernelArg" => set_argument as *mut c_void,
        b"clEnqueueNDRangeKernel" => launch as *mut c_void,
        b"clEnqueueReadBuffer" => read_buffer as *mut c_void,
        b"clFinish" => finish as *mut c_void,
        b"clBuildProgram" => build as *mut c_void,
        _ => return None,
    };
    NonNull::new(function)
}
