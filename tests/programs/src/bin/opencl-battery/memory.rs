//! What the device says of itself; buffers, parts of them and images.

use programs::opencl::{BLOCKING, Object};
use programs::{cl, make_cl, must_cl};

use crate::bench::{Bench, listed};

/// Properties that are numbers, by their place among `CL_DEVICE_…`; which pointers, texts and lists are not.
const NUMBERS: [std::ops::RangeInclusive<u32>; 6] =
    [0x1000..=0x1004, 0x1006..=0x1017, 0x101A..=0x102A, 0x1034..=0x103D, 0x1043..=0x1046, 0x1048..=0x105C];
/// Texts.
const TEXTS: [u32; 6] = [0x102B, 0x102C, 0x102D, 0x102E, 0x102F, 0x103D];

/// What a carried device answers otherwise: what it can execute (no native kernels), extensions, and SVM, which are as much as is
/// carried; and its memory, which is what the worker's limits leave.
const OWN: [u32; 6] = [0x1029, 0x102F, 0x1030, 0x1049, 0x1053, 0x101F];

/// All that the device says of itself.
pub fn device(bench: &Bench) -> Result<(), String> {
    let (cl, device) = (bench.opencl(), bench.start.device);
    for param in NUMBERS.into_iter().flatten().filter(|param| !OWN.contains(param)) {
        let (mut value, mut size) = ([0u8; 256], 0);
        let status = cl!(cl, clGetDeviceInfo(device, param, 256, value.as_mut_ptr().cast(), &mut size));
        let known = &value[..if status == 0 { size.min(64) } else { 0 }];
        bench.say(&format!("{param:#x}"), format!("{status}, {size} bytes, {known:02x?}"));
    }
    for param in TEXTS.into_iter().filter(|param| !OWN.contains(param)) {
        let mut text = [0u8; 4096];
        let status = cl!(cl, clGetDeviceInfo(device, param, 4096, text.as_mut_ptr().cast(), std::ptr::null_mut()));
        let text = std::ffi::CStr::from_bytes_until_nul(&text).unwrap_or_default();
        bench.say(&format!("{param:#x}"), format!("{status}, {}", text.to_string_lossy()));
    }
    let mut small = [0u8; 2];
    let status = cl!(cl, clGetDeviceInfo(device, 0x1000, 2, small.as_mut_ptr().cast(), std::ptr::null_mut()));
    bench.code("a place that is too small", status);
    let status = cl!(cl, clGetDeviceInfo(device, 0x9999, 8, std::ptr::null_mut(), std::ptr::null_mut()));
    bench.code("no property", status);
    Ok(())
}

/// Making buffers, wrongly too, and what they say of themselves.
pub fn buffers(bench: &Bench) -> Result<(), String> {
    let (cl, context, null) = (bench.opencl(), bench.start.context, std::ptr::null_mut());
    let make = |flags: u64, size: usize, host: *mut std::ffi::c_void| {
        let mut status = 0;
        let made = cl!(cl, clCreateBuffer(context, flags, size, host, &mut status));
        if status == 0 {
            cl!(cl, clReleaseMemObject(made));
        }
        status
    };
    let mut memory = [7u8; 64];
    let host = memory.as_mut_ptr().cast();
    for (what, flags, size, host) in [
        ("plain", 1, 64, null),
        ("no bytes", 1, 0, null),
        ("too many bytes", 1, usize::MAX, null),
        ("read and write only", 3, 64, null),
        ("unknown flag", 1 << 40, 64, null),
        ("copy of nothing", 1 << 5, 64, null),
        ("host memory without a flag", 1, 64, host),
        ("use and allocate", 1 << 3 | 1 << 4, 64, host),
        ("allocate and copy", 1 << 4 | 1 << 5, 64, host),
        ("host reads and writes only", 1 << 7 | 1 << 8, 64, null),
        ("no flag", 0, 64, null),
    ] {
        bench.code(what, make(flags, size, host));
    }
    let numbers: Vec<i32> = (0..4096).collect();
    let whole = bench.buffer(&numbers)?;
    bench.say("first", listed(&bench.read::<i32>(whole, 8)?));
    for param in [0x1100, 0x1101, 0x1102, 0x1104, 0x1105, 0x1108] {
        let mut value = 0u64;
        let status = cl!(cl, clGetMemObjectInfo(whole, param, 8, (&raw mut value).cast(), std::ptr::null_mut()));
        bench.say(&format!("{param:#x}"), format!("{status}, {value}"));
    }
    for (what, region) in [("sub", [4096usize, 1024]), ("outside", [16384, 16]), ("empty", [0, 0]), ("askew", [1, 16])]
    {
        let mut status = 0;
        let region = region.as_ptr().cast();
        let part = cl!(cl, clCreateSubBuffer(whole, 0, 0x1220, region, &mut status));
        bench.code(what, status);
        if status == 0 {
            bench.say("of it", listed(&bench.read::<i32>(part, 4)?));
            bench.free(part)?;
        }
    }
    bench.free(whole)?;
    bench.code("no object", cl!(cl, clReleaseMemObject(0)));
    Ok(())
}

/// Writes, reads and reads from kernels of a 2D image.
pub fn images(bench: &Bench) -> Result<(), String> {
    const WIDTH: usize = 5;
    let (cl, queue, none, event) = (bench.opencl(), bench.start.queue, std::ptr::null(), std::ptr::null_mut());
    // CL_RGBA of CL_UNSIGNED_INT8; CL_MEM_OBJECT_IMAGE2D.
    let make = |format: [u32; 2], width: usize, height: usize| {
        let description = [0x10F1usize, width, height, 0, 0, 0, 0, 0, 0];
        let mut status = 0;
        let (format, description) = (format.as_ptr().cast(), description.as_ptr().cast());
        (cl!(cl, clCreateImage(bench.start.context, 1, format, description, std::ptr::null_mut(), &mut status)), status)
    };
    for (what, format, width, height) in [
        ("no such order", [0x1u32, 0x10DA], 4, 4),
        ("no such type", [0x10B5, 0x1], 4, 4),
        ("no width", [0x10B5, 0x10DA], 0, 4),
        ("too wide", [0x10B5, 0x10DA], 1 << 40, 4),
    ] {
        bench.code(what, make(format, width, height).1);
    }
    let (image, status) = make([0x10B5, 0x10DA], WIDTH, 3);
    bench.code("image", status);
    if status != 0 {
        return Ok(());
    }
    let texels: Vec<u8> = (0..WIDTH as u8 * 3 * 4).collect();
    let (origin, region) = ([0usize; 3], [WIDTH, 3, 1]);
    let data = texels.as_ptr().cast();
    must_cl!(
        cl,
        clEnqueueWriteImage(queue, image, BLOCKING, origin.as_ptr(), region.as_ptr(), 0, 0, data, 0, none, event)
    )?;
    let mut back = [0u8; 64];
    let (origin, region) = ([1usize, 1, 0], [2usize, 2, 1]);
    let to = back.as_mut_ptr().cast();
    must_cl!(
        cl,
        clEnqueueReadImage(queue, image, BLOCKING, origin.as_ptr(), region.as_ptr(), 24, 0, to, 0, none, event)
    )?;
    bench.say("a box with gaps", listed(&back));
    let outside = [4usize, 0, 0];
    let status = cl!(
        cl,
        clEnqueueReadImage(queue, image, BLOCKING, outside.as_ptr(), region.as_ptr(), 0, 0, to, 0, none, event)
    );
    bench.code("a box outside", status);
    from_kernel(bench, image, WIDTH)?;
    bench.free(image)
}

/// A kernel that reads the image with a sampler of its own and one that is given.
fn from_kernel(bench: &Bench, image: Object, width: usize) -> Result<(), String> {
    let cl = bench.opencl();
    let program = bench.program()?;
    let kernel = bench.kernel(program, "from_image")?;
    let out = bench.buffer(&vec![0; width * 3 * 4])?;
    let sampler = make_cl!(cl, clCreateSampler(bench.start.context, 0, 0x1131, 0x1140))?;
    bench.start.argument(kernel, 0, &image)?;
    bench.start.argument(kernel, 1, &sampler)?;
    bench.start.argument(kernel, 2, &out)?;
    bench.start.argument(kernel, 3, &(width as i32))?;
    let (global, none, list) = ([width, 3], std::ptr::null(), std::ptr::null());
    let event = std::ptr::null_mut();
    must_cl!(cl, clEnqueueNDRangeKernel(bench.start.queue, kernel, 2, none, global.as_ptr(), none, 0, list, event))?;
    bench.say("by a kernel", listed(&bench.read::<u32>(out, width * 3 * 4)?));
    bench.code("the image for a buffer", cl!(cl, clSetKernelArg(kernel, 2, 8, (&raw const image).cast())));
    must_cl!(cl, clReleaseSampler(sampler))?;
    must_cl!(cl, clReleaseKernel(kernel))?;
    must_cl!(cl, clReleaseProgram(program))?;
    bench.free(out)
}
