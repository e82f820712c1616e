//! CUDA's messages for the fuzz target `dispatch`, against a library of fakes; and code images.
//!
//! The fakes touch every byte that the driver would, so that the sanitizer sees a length that is not the memory's.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::generated::{self, Library};
use super::{Cuda, image};
use crate::worker::Session;
use crate::worker::fuzz::{CALLS, fails, read, write};

/// Where the fake library allocates.
const ALLOCATED: u64 = 0x1000_0000;

/// Any function of the library: some calls fail.
extern "C" fn any() -> i32 {
    if fails() { 2 } else { 0 }
}

/// A function that makes an object.
extern "C" fn make(made: *mut *mut c_void) -> i32 {
    let status = any();
    if status == 0 {
        let number = CALLS.load(Ordering::Relaxed) as usize;
        // SAFETY: the forwarder gives a live variable.
        unsafe { made.write(std::ptr::without_provenance_mut(0x10_0000 + number)) };
    }
    status
}

extern "C" fn allocate(address: *mut u64, bytes: usize) -> i32 {
    if bytes > 1 << 20 {
        return 2;
    }
    // SAFETY: the forwarder gives a live variable.
    unsafe { address.write(ALLOCATED + (CALLS.fetch_add(1, Ordering::Relaxed) % 8) * (1 << 20)) };
    0
}

extern "C" fn to_device(_: u64, from: *const c_void, bytes: usize) -> i32 {
    read(from.cast(), bytes);
    any()
}

extern "C" fn from_device(to: *mut c_void, _: u64, bytes: usize) -> i32 {
    write(to.cast(), bytes);
    any()
}

extern "C" fn to_array(_: *mut c_void, _: usize, from: *const c_void, bytes: usize) -> i32 {
    read(from.cast(), bytes);
    any()
}

extern "C" fn from_array(to: *mut c_void, _: *mut c_void, _: usize, bytes: usize) -> i32 {
    from_device(to, 0, bytes)
}

/// `CUDA_MEMCPY3D` by words: the sides are 11 words each, of which 4 is the memory type, 5 the host's address, 9 the pitch,
/// 10 rows.
extern "C" fn copy_3d(copy: *const [u64; 25]) -> i32 {
    // SAFETY: the forwarder gives a description of that size.
    let copy = unsafe { copy.read() };
    let [width, height, depth] = [copy[22] as usize, copy[23] as usize, copy[24] as usize];
    for (side, is_target) in [(&copy[..11], false), (&copy[11..22], true)] {
        if side[4] as u32 != 1 || width == 0 {
            continue;
        }
        let [x, y, z] = [side[0] as usize, side[1] as usize, side[2] as usize];
        let pitch = if side[9] == 0 { x + width } else { side[9] as usize };
        let rows = if side[10] == 0 { y + height } else { side[10] as usize };
        for slice in 0..depth {
            for row in 0..height {
                let host = std::ptr::with_exposed_provenance_mut::<u8>(side[5] as usize);
                let at = host.wrapping_add(((z + slice) * rows + y + row) * pitch + x);
                if is_target {
                    from_device(at.cast(), 0, width);
                } else {
                    read(at, width);
                }
            }
        }
    }
    any()
}

extern "C" fn load(
    made: *mut *mut c_void,
    code: *const c_void,
    options: u32,
    names: *mut u32,
    values: *mut *mut c_void,
) -> i32 {
    for option in 0..options as usize {
        // SAFETY: the arrays have as many entries as the call is told; log buffers come before their sizes.
        unsafe {
            let (name, value) = (names.add(option).read(), values.add(option));
            if name == 3 || name == 5 {
                value.read().cast::<u8>().write_bytes(b'x', value.add(1).read().addr());
            }
        }
    }
    walk(code.cast());
    make(made)
}

/// Walks an image as a driver does, which is given no length.
fn walk(code: *const u8) {
    // SAFETY, here and below: the image was checked; the sanitizer sees what was not.
    let at = |offset: usize| code.wrapping_add(offset);
    let half = |offset| usize::from(unsafe { at(offset).cast::<u16>().read_unaligned() });
    let word = |offset| unsafe { at(offset).cast::<u32>().read_unaligned() } as usize;
    let long = |offset| unsafe { at(offset).cast::<u64>().read_unaligned() } as usize;
    match word(0) {
        0xba55_ed50 => {
            let (mut entry, end) = (half(6), half(6) + long(8));
            while entry < end {
                read(at(entry), word(entry + 4));
                read(at(entry + word(entry + 4)), long(entry + 8));
                entry += word(entry + 4) + long(entry + 8);
            }
        }
        0x464c_457f => {
            for section in (0..half(60)).map(|number| long(40) + number * 64) {
                if word(section + 4) != 8 {
                    read(at(long(section + 24)), long(section + 32));
                }
            }
            for segment in (0..half(56)).map(|number| long(32) + number * 56) {
                read(at(long(segment + 8)), long(segment + 32));
            }
        }
        _ => read(code, unsafe { CStr::from_ptr(code.cast::<c_char>()) }.count_bytes()),
    }
}

/// Up to three parameters of 8 bytes.
extern "C" fn parameter(object: *mut c_void, index: usize, offset: *mut usize, bytes: *mut usize) -> i32 {
    // SAFETY: the forwarder gives live variables.
    unsafe { (*offset, *bytes) = (index * 8, 8) };
    i32::from(index >= object.addr() % 4)
}

/// A find for [`Library::find`].
fn find(name: &CStr) -> Option<NonNull<c_void>> {
    let function = match name.to_bytes() {
        b"cuMemAlloc_v2" | b"cuMemAllocAsync" | b"cuMemAddressReserve" => allocate as *mut c_void,
        b"cuMemcpyHtoD_v2" | b"cuMemcpyHtoDAsync_v2" => to_device as *mut c_void,
        b"cuMemcpyDtoH_v2" | b"cuMemcpyDtoHAsync_v2" => from_device as *mut c_void,
        b"cuMemcpyHtoA_v2" => to_array as *mut c_void,
        b"cuMemcpyAtoH_v2" => from_array as *mut c_void,
        b"cuMemcpy3D_v2" | b"cuMemcpy3DAsync_v2" => copy_3d as *mut c_void,
        b"cuModuleLoadDataEx" => load as *mut c_void,
        b"cuFuncGetParamInfo" | b"cuKernelGetParamInfo" => parameter as *mut c_void,
        b"cuModuleGetFunction"
        | b"cuStreamCreate"
        | b"cuEventCreate"
        | b"cuCtxCreate_v2"
        | b"cuArrayCreate_v2"
        | b"cuArray3DCreate_v2"
        | b"cuDevicePrimaryCtxRetain"
        | b"cuGraphCreate"
        | b"cuMipmappedArrayCreate"
        | b"cuLibraryGetKernel" => make as *mut c_void,
        _ => any as *mut c_void,
    };
    NonNull::new(function)
}

/// Numbers of the calls that are tried: what sleeps until a function is due, and what leaves memory to a stream that never runs,
/// are left out.
pub(in crate::worker) fn numbers() -> Vec<u16> {
    let out = ["gpuferryNextHostFunction", "gpuferryHostFunction"];
    (1..0x4000).filter(|call| generated::name(*call).is_some_and(|name| !out.contains(&name))).collect()
}

/// A session that has made nothing.
pub(in crate::worker) fn begin(session: Arc<Session>) -> Cuda {
    // SAFETY: the fakes take what those functions take, or fewer arguments.
    Cuda::new(unsafe { Library::find(find) }, session)
}

/// Checks an image, and walks one that is accepted.
pub fn image(data: &[u8]) {
    if image::check(data).is_ok() {
        let mut code = data.to_vec();
        code.extend([0; 16]);
        walk(code.as_ptr());
    }
}
