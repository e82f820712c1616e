//! OpenCL's messages for the fuzz target `dispatch`: the fakes of [`super::fakes`], and more that touch every byte that they
//! are given, so that the sanitizer sees a length that is not the memory's.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wire::handle::Handle;

use super::generated::{self, Library, kind};
use super::load::Found;
use super::{OpenCl, fakes};
use crate::worker::Session;
use crate::worker::fuzz::{fails, read, write};
use crate::worker::objects::Owners;

/// Numbers of the calls that do not sleep until something of the program's is due.
pub(in crate::worker) fn numbers() -> Vec<u16> {
    (0x4000..0x6000).filter(|call| generated::name(*call).is_some_and(|name| name != "gpuferryNextCallback")).collect()
}

/// A session with one object of each kind, of index 0.
pub(in crate::worker) fn begin(session: Arc<Session>) -> OpenCl {
    // SAFETY: the fakes take what those functions take, or fewer arguments.
    let library = unsafe { Library::find(find) };
    fakes::forget();
    let opencl = OpenCl::new(library, Found { platform: 0x1000, devices: vec![fakes::make().addr()] }, session);
    for kind in [
        kind::cl_device_id,
        kind::cl_context,
        kind::cl_command_queue,
        kind::cl_mem,
        kind::cl_sampler,
        kind::cl_program,
        kind::cl_kernel,
        kind::cl_event,
    ] {
        let handle = Handle::new(kind.number, 1, 0);
        opencl.objects.insert(kind, handle, Owners::default(), Ok(fakes::make())).expect("vacant");
    }
    opencl
}

/// Nothing was used that was none of the session's objects.
pub(in crate::worker) fn end() {
    assert_eq!(fakes::STRAY.swap(0, Ordering::Relaxed), 0, "an object was used that was none");
}

/// Objects of a list are used.
fn uses_all(count: u32, list: *const *mut c_void) {
    for place in 0..count as usize {
        // SAFETY: the forwarder says that the list has so many; the sanitizer checks it.
        fakes::uses(unsafe { list.add(place).read() });
    }
}

/// An event, where one is wanted.
fn event(made: *mut *mut c_void) {
    if !made.is_null() {
        // SAFETY: the forwarder gives a live variable.
        unsafe { made.write(fakes::make()) };
    }
}

type List = *const *mut c_void;
type Event = *mut *mut c_void;

/// `clEnqueueReadBuffer`, which writes the caller's memory, or `clEnqueueWriteBuffer`.
extern "C" fn buffer<const READS: bool>(
    queue: *mut c_void,
    memory: *mut c_void,
    _: u32,
    _: usize,
    bytes: usize,
    host: *mut c_void,
    count: u32,
    list: List,
    made: Event,
) -> i32 {
    fakes::uses(queue);
    fakes::uses(memory);
    uses_all(count, list);
    if READS {
        write(host.cast(), bytes);
    } else {
        read(host.cast_const().cast(), bytes);
    }
    if fails() {
        return -5;
    }
    event(made);
    0
}

/// Bytes of a box.
fn product(region: *const usize, unit: usize) -> usize {
    // SAFETY: the forwarder gives three sides.
    (0..3).map(|side| unsafe { region.add(side).read() }).fold(unit, usize::wrapping_mul)
}

extern "C" fn rect<const READS: bool>(
    queue: *mut c_void,
    memory: *mut c_void,
    _: u32,
    _: *const usize,
    _: *const usize,
    region: *const usize,
    _: usize,
    _: usize,
    _: usize,
    _: usize,
    host: *mut c_void,
    count: u32,
    list: List,
    made: Event,
) -> i32 {
    buffer::<READS>(queue, memory, 0, 0, product(region, 1), host, count, list, made)
}

extern "C" fn image<const READS: bool>(
    queue: *mut c_void,
    memory: *mut c_void,
    _: u32,
    _: *const usize,
    region: *const usize,
    _: usize,
    _: usize,
    host: *mut c_void,
    count: u32,
    list: List,
    made: Event,
) -> i32 {
    buffer::<READS>(queue, memory, 0, 0, product(region, TEXEL), host, count, list, made)
}

/// Bytes of a texel of every image.
const TEXEL: usize = 4;

extern "C" fn image_info(image: *mut c_void, _: u32, bytes: usize, to: *mut c_void, size: *mut usize) -> i32 {
    fakes::uses(image);
    write(to.cast(), bytes);
    if bytes == 8 && !to.is_null() {
        // SAFETY: there is room for 8 bytes.
        unsafe { to.cast::<usize>().write_unaligned(TEXEL) };
    }
    if !size.is_null() {
        // SAFETY: the forwarder gives a live variable.
        unsafe { size.write(bytes) };
    }
    0
}

/// `clGetProgramInfo` and the like: as many bytes as there is room for.
extern "C" fn info(object: *mut c_void, _: u32, bytes: usize, to: *mut c_void, size: *mut usize) -> i32 {
    fakes::uses(object);
    if !to.is_null() {
        write(to.cast(), bytes);
    }
    if !size.is_null() {
        // SAFETY: the forwarder gives a live variable.
        unsafe { size.write(16) };
    }
    if fails() { -30 } else { 0 }
}

extern "C" fn info_of_two(
    object: *mut c_void,
    second: *mut c_void,
    param: u32,
    bytes: usize,
    to: *mut c_void,
    size: *mut usize,
) -> i32 {
    if !second.is_null() {
        fakes::uses(second);
    }
    info(object, param, bytes, to, size)
}

/// A command has ended at once.
extern "C" fn on_event(
    event: *mut c_void,
    _: i32,
    call: unsafe extern "C" fn(*mut c_void, i32, *mut c_void),
    data: *mut c_void,
) -> i32 {
    fakes::uses(event);
    // SAFETY: function and data belong together, and this is the one call.
    unsafe { call(event, 0, data) };
    0
}

extern "C" fn set_argument(kernel: *mut c_void, _: u32, bytes: usize, value: *const c_void) -> i32 {
    fakes::uses(kernel);
    if !value.is_null() {
        read(value.cast(), bytes);
    }
    0
}

extern "C" fn program_of_source(
    context: *mut c_void,
    count: u32,
    texts: *mut *const c_char,
    lengths: *const usize,
    _: *mut i32,
) -> *mut c_void {
    fakes::uses(context);
    for place in 0..count as usize {
        // SAFETY: as many as the call says; the sanitizer checks it.
        unsafe {
            let bytes = if lengths.is_null() { 0 } else { lengths.add(place).read() };
            read(texts.add(place).read().cast(), bytes);
        }
    }
    fakes::make()
}

extern "C" fn program_of_binary(
    context: *mut c_void,
    count: u32,
    devices: List,
    lengths: *const usize,
    binaries: *mut *const u8,
    states: *mut i32,
    _: *mut i32,
) -> *mut c_void {
    fakes::uses(context);
    uses_all(count, devices);
    for place in 0..count as usize {
        // SAFETY: as above.
        unsafe {
            read(binaries.add(place).read(), lengths.add(place).read());
            if !states.is_null() {
                states.add(place).write(0);
            }
        }
    }
    fakes::make()
}

extern "C" fn program_of_il(context: *mut c_void, il: *const c_void, bytes: usize, _: *mut i32) -> *mut c_void {
    fakes::uses(context);
    read(il.cast(), bytes);
    fakes::make()
}

extern "C" fn compile(
    program: *mut c_void,
    count: u32,
    devices: List,
    options: *const c_char,
    headers: u32,
    list: List,
    names: *mut *const c_char,
    _: *const c_void,
    _: *mut c_void,
) -> i32 {
    fakes::uses(program);
    uses_all(count, devices);
    uses_all(headers, list);
    for place in 0..headers as usize {
        // SAFETY: as many names as headers, each with an end.
        unsafe { std::hint::black_box(CStr::from_ptr(names.add(place).read()).count_bytes()) };
    }
    // SAFETY: a text with an end.
    std::hint::black_box(unsafe { CStr::from_ptr(options) }.count_bytes());
    if fails() { -15 } else { 0 }
}

extern "C" fn link(
    context: *mut c_void,
    count: u32,
    devices: List,
    _: *const c_char,
    programs: u32,
    list: List,
    _: *const c_void,
    _: *mut c_void,
    status: *mut i32,
) -> *mut c_void {
    fakes::uses(context);
    uses_all(count, devices);
    uses_all(programs, list);
    if !status.is_null() {
        // SAFETY: the forwarder gives a live variable.
        unsafe { status.write(0) };
    }
    fakes::make()
}

extern "C" fn user_event(context: *mut c_void, _: *mut i32) -> *mut c_void {
    fakes::uses(context);
    fakes::make()
}

extern "C" fn wait(count: u32, list: List) -> i32 {
    uses_all(count, list);
    0
}

/// A find for [`Library::find`].
fn find(name: &CStr) -> Option<NonNull<c_void>> {
    let function = match name.to_bytes() {
        b"clEnqueueWriteBuffer" => buffer::<false> as *mut c_void,
        b"clEnqueueReadBuffer" => buffer::<true> as *mut c_void,
        b"clEnqueueWriteBufferRect" => rect::<false> as *mut c_void,
        b"clEnqueueReadBufferRect" => rect::<true> as *mut c_void,
        b"clEnqueueWriteImage" => image::<false> as *mut c_void,
        b"clEnqueueReadImage" => image::<true> as *mut c_void,
        b"clGetImageInfo" => image_info as *mut c_void,
        b"clGetProgramInfo"
        | b"clGetCommandQueueInfo"
        | b"clGetPipeInfo"
        | b"clGetEventProfilingInfo"
        | b"clGetEventInfo" => info as *mut c_void,
        b"clGetProgramBuildInfo" | b"clGetKernelWorkGroupInfo" => info_of_two as *mut c_void,
        b"clSetEventCallback" => on_event as *mut c_void,
        b"clSetKernelArg" => set_argument as *mut c_void,
        b"clCreateProgramWithSource" => program_of_source as *mut c_void,
        b"clCreateProgramWithBinary" => program_of_binary as *mut c_void,
        b"clCreateProgramWithIL" => program_of_il as *mut c_void,
        b"clCompileProgram" => compile as *mut c_void,
        b"clLinkProgram" => link as *mut c_void,
        b"clCreateUserEvent" => user_event as *mut c_void,
        b"clWaitForEvents" => wait as *mut c_void,
        _ => return fakes::find(name),
    };
    NonNull::new(function)
}
