//! Takes all of the memory that it may have of an OpenCL device, in every way that there is: `opencl-limit BYTES`.
//!
//! BYTES is what `gpuferryd` limits it to (`--memory-limit`). Each way takes pieces until they are refused, which must happen
//! when the next piece would pass the limit and not before. What is taken is given back before the next way begins.

use std::process::ExitCode;

use programs::opencl::{Object, Start};
use programs::{cl, fail, make_cl, must_cl};

const NAME: &str = "opencl-limit";
const USAGE: &str = "usage: opencl-limit BYTES";
const PIECE: usize = 8 << 20;
/// `CL_MEM_OBJECT_ALLOCATION_FAILURE`.
const REFUSED: &str = "error -4";
/// `CL_DEVICE_GLOBAL_MEM_SIZE`, `CL_DEVICE_MAX_MEM_ALLOC_SIZE`.
const SIZES: [u32; 2] = [0x101F, 0x1010];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let limit = match &words[..] {
        [bytes] => bytes.parse().unwrap_or_else(|_| fail(NAME, 2, USAGE)),
        _ => fail(NAME, 2, USAGE),
    };
    match run(limit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(NAME, 3, &message),
    }
}

/// Takes one piece; `None` where it is refused.
type Take = fn(&Start) -> Result<Option<Object>, String>;
type Free = fn(&Start, Object) -> Result<(), String>;

fn refused(made: Result<Object, String>) -> Result<Option<Object>, String> {
    match made {
        Ok(object) => Ok(Some(object)),
        Err(message) if message.ends_with(REFUSED) => Ok(None),
        Err(message) => Err(message),
    }
}

fn buffer(start: &Start) -> Result<Option<Object>, String> {
    refused(make_cl!(start.opencl, clCreateBuffer(start.context, 1, PIECE, std::ptr::null_mut())))
}

/// Without rows that are filled up: 16 bytes a texel, 1024 a row.
fn image(start: &Start) -> Result<Option<Object>, String> {
    // CL_RGBA, CL_FLOAT.
    let format = [0x10B5u32, 0x10DE];
    // CL_MEM_OBJECT_IMAGE2D.
    let description = [0x10F1, 1024, PIECE / 1024 / 16, 0, 0, 0, 0, 0, 0usize];
    let (format, description) = (format.as_ptr().cast(), description.as_ptr().cast());
    refused(make_cl!(start.opencl, clCreateImage(start.context, 1, format, description, std::ptr::null_mut())))
}

fn shared(start: &Start) -> Result<Option<Object>, String> {
    let made = cl!(start.opencl, clSVMAlloc(start.context, 1, PIECE, 0));
    Ok((made != 0).then_some(made))
}

fn release(start: &Start, object: Object) -> Result<(), String> {
    must_cl!(start.opencl, clReleaseMemObject(object))
}

fn free(start: &Start, address: Object) -> Result<(), String> {
    cl!(start.opencl, clSVMFree(start.context, address));
    Ok(())
}

const WAYS: [(&str, Take, Free); 3] =
    [("clCreateBuffer", buffer, release), ("clCreateImage", image, release), ("clSVMAlloc", shared, free)];

fn run(limit: usize) -> Result<(), String> {
    let start = Start::on(0, 0, 0)?;
    for param in SIZES {
        let mut bytes = 0usize;
        let to = (&raw mut bytes).cast();
        must_cl!(start.opencl, clGetDeviceInfo(start.device, param, 8, to, std::ptr::null_mut()))?;
        if bytes > limit || param == SIZES[0] && bytes != limit {
            return Err(format!("{param:#x}: {bytes} bytes, with a limit of {limit}"));
        }
    }
    for (name, take, free) in WAYS {
        let mut held = Vec::new();
        while let Some(object) = take(&start)? {
            held.push(object);
            if held.len() * PIECE > limit {
                return Err(format!("{name} passes the limit"));
            }
        }
        if held.len() != limit / PIECE {
            return Err(format!("{name}: {} pieces instead of {}", held.len(), limit / PIECE));
        }
        println!("{name}: {} pieces of {PIECE} bytes, then no more", held.len());
        for object in held {
            free(&start, object)?;
        }
        // Releases are posted: what follows comes after them.
        must_cl!(start.opencl, clFinish(start.queue))?;
    }
    start.end()
}
