//! The OpenCL loader, found by its name `libOpenCL.so.1` when a program starts.
//!
//! Which vendor's library is behind it, /etc/OpenCL/vendors or OCL_ICD_VENDORS decides, as for any OpenCL program. Signatures are
//! those of the OpenCL API 3.0. Objects are plain numbers here, so that tests can make wrong ones.

#![allow(non_snake_case, reason = "the API's names keep their spelling")]
#![allow(
    clippy::macro_metavars_in_unsafe,
    reason = "arguments are places and numbers; a block at each call says nothing"
)]

use std::ffi::{c_char, c_void};

/// An answer of the API; 0 is success.
pub type Status = i32;
/// Any object of the API.
pub type Object = usize;
/// `CL_TRUE`.
pub const BLOCKING: u32 = 1;
/// `CL_DEVICE_TYPE_ALL`.
pub const ALL_DEVICES: u64 = 0xFFFF_FFFF;
/// A function that is called when an event has reached a status.
pub type EventFunction = extern "C" fn(Object, Status, *mut c_void);

macro_rules! functions {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty;)*) => {
        /// The functions of the library.
        pub struct OpenCl {
            $(#[doc = concat!("`", stringify!($name), "`.")] pub $name: unsafe extern "C" fn($($type),*) -> $result,)*
        }

        impl OpenCl {
            /// Finds the library and its functions.
            ///
            /// # Errors
            /// One line that names what is missing.
            pub fn load() -> Result<OpenCl, String> {
                // SAFETY: the constructors are those of the machine's OpenCL loader.
                let library = unsafe { libloading::Library::new("libOpenCL.so.1") }
                    .map_err(|error| format!("no OpenCL loader: {error}"))?;
                let library: &'static libloading::Library = Box::leak(Box::new(library));
                Ok(OpenCl {
                    // SAFETY: the prototypes are the API's.
                    $($name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                        .map_err(|error| format!(concat!(stringify!($name), ": {}"), error))?,)*
                })
            }
        }
    };
}

functions! {
    fn clGetPlatformIDs(num_entries: u32, platforms: *mut Object, num_platforms: *mut u32) -> Status;
    fn clGetPlatformInfo(platform: Object, param: u32, size: usize, value: *mut c_void, ret: *mut usize) -> Status;
    fn clGetDeviceIDs(platform: Object, kind: u64, num_entries: u32, devices: *mut Object, num_devices: *mut u32) -> Status;
    fn clGetDeviceInfo(device: Object, param: u32, size: usize, value: *mut c_void, ret: *mut usize) -> Status;
    fn clCreateContext(properties: *const isize, count: u32, devices: *const Object, notify: *const c_void, data: *mut c_void, status: *mut Status) -> Object;
    fn clReleaseContext(context: Object) -> Status;
    fn clCreateCommandQueue(context: Object, device: Object, properties: u64, status: *mut Status) -> Object;
    fn clReleaseCommandQueue(queue: Object) -> Status;
    fn clCreateBuffer(context: Object, flags: u64, size: usize, host: *mut c_void, status: *mut Status) -> Object;
    fn clCreateSubBuffer(buffer: Object, flags: u64, kind: u32, info: *const c_void, status: *mut Status) -> Object;
    fn clCreateImage(context: Object, flags: u64, format: *const c_void, description: *const c_void, host: *mut c_void, status: *mut Status) -> Object;
    fn clReleaseMemObject(memory: Object) -> Status;
    fn clGetMemObjectInfo(memory: Object, param: u32, size: usize, value: *mut c_void, ret: *mut usize) -> Status;
    fn clSetMemObjectDestructorCallback(memory: Object, function: DestructorFunction, data: *mut c_void) -> Status;
    fn clCreateSampler(context: Object, normalized: u32, addressing: u32, filter: u32, status: *mut Status) -> Object;
    fn clReleaseSampler(sampler: Object) -> Status;
    fn clCreateProgramWithSource(context: Object, count: u32, texts: *const *const c_char, lengths: *const usize, status: *mut Status) -> Object;
    fn clCreateProgramWithBinary(context: Object, count: u32, devices: *const Object, lengths: *const usize, binaries: *const *const u8, states: *mut Status, status: *mut Status) -> Object;
    fn clBuildProgram(program: Object, count: u32, devices: *const Object, options: *const c_char, notify: *const c_void, data: *mut c_void) -> Status;
    fn clGetProgramInfo(program: Object, param: u32, size: usize, value: *mut c_void, ret: *mut usize) -> Status;
    fn clGetProgramBuildInfo(program: Object, device: Object, param: u32, size: usize, value: *mut c_void, ret: *mut usize) -> Status;
    fn clReleaseProgram(program: Object) -> Status;
    fn clCreateKernel(program: Object, name: *const c_char, status: *mut Status) -> Object;
    fn clReleaseKernel(kernel: Object) -> Status;
    fn clGetKernelInfo(kernel: Object, param: u32, size: usize, value: *mut c_void, ret: *mut usize) -> Status;
    fn clGetKernelArgInfo(kernel: Object, index: u32, param: u32, size: usize, value: *mut c_void, ret: *mut usize) -> Status;
    fn clSetKernelArg(kernel: Object, index: u32, size: usize, value: *const c_void) -> Status;
    fn clEnqueueNDRangeKernel(queue: Object, kernel: Object, dimensions: u32, offset: *const usize, global: *const usize, local: *const usize, waits: u32, list: *const Object, event: *mut Object) -> Status;
    fn clEnqueueReadBuffer(queue: Object, buffer: Object, blocking: u32, offset: usize, bytes: usize, to: *mut c_void, waits: u32, list: *const Object, event: *mut Object) -> Status;
    fn clEnqueueWriteBuffer(queue: Object, buffer: Object, blocking: u32, offset: usize, bytes: usize, data: *const c_void, waits: u32, list: *const Object, event: *mut Object) -> Status;
    fn clEnqueueReadBufferRect(queue: Object, buffer: Object, blocking: u32, origin: *const usize, host_origin: *const usize, region: *const usize, row: usize, slice: usize, host_row: usize, host_slice: usize, to: *mut c_void, waits: u32, list: *const Object, event: *mut Object) -> Status;
    fn clEnqueueReadImage(queue: Object, image: Object, blocking: u32, origin: *const usize, region: *const usize, row: usize, slice: usize, to: *mut c_void, waits: u32, list: *const Object, event: *mut Object) -> Status;
    fn clEnqueueWriteImage(queue: Object, image: Object, blocking: u32, origin: *const usize, region: *const usize, row: usize, slice: usize, data: *const c_void, waits: u32, list: *const Object, event: *mut Object) -> Status;
    fn clEnqueueFillBuffer(queue: Object, buffer: Object, pattern: *const c_void, pattern_size: usize, offset: usize, size: usize, waits: u32, list: *const Object, event: *mut Object) -> Status;
    fn clEnqueueCopyBuffer(queue: Object, source: Object, destination: Object, from: usize, to: usize, bytes: usize, waits: u32, list: *const Object, event: *mut Object) -> Status;
    fn clEnqueueMapBuffer(queue: Object, buffer: Object, blocking: u32, flags: u64, offset: usize, size: usize, waits: u32, list: *const Object, event: *mut Object, status: *mut Status) -> *mut c_void;
    fn clEnqueueUnmapMemObject(queue: Object, memory: Object, at: *mut c_void, waits: u32, list: *const Object, event: *mut Object) -> Status;
    fn clEnqueueMarkerWithWaitList(queue: Object, waits: u32, list: *const Object, event: *mut Object) -> Status;
    fn clSVMAlloc(context: Object, flags: u64, size: usize, alignment: u32) -> Object;
    fn clSVMFree(context: Object, address: Object) -> ();
    fn clCreateUserEvent(context: Object, status: *mut Status) -> Object;
    fn clSetUserEventStatus(event: Object, state: Status) -> Status;
    fn clSetEventCallback(event: Object, state: Status, function: EventFunction, data: *mut c_void) -> Status;
    fn clGetEventInfo(event: Object, param: u32, size: usize, value: *mut c_void, ret: *mut usize) -> Status;
    fn clGetEventProfilingInfo(event: Object, param: u32, size: usize, value: *mut c_void, ret: *mut usize) -> Status;
    fn clWaitForEvents(count: u32, events: *const Object) -> Status;
    fn clReleaseEvent(event: Object) -> Status;
    fn clFlush(queue: Object) -> Status;
    fn clFinish(queue: Object) -> Status;
}

/// A function that is called when a memory object has gone.
pub type DestructorFunction = extern "C" fn(Object, *mut c_void);

/// Makes one call of the API; what it returns.
#[macro_export]
#[allow(
    clippy::macro_metavars_in_unsafe,
    reason = "arguments are places and numbers; a block at each call would say nothing"
)]
macro_rules! cl {
    ($opencl:expr, $name:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: each argument is what the OpenCL API asks for at this call, or one that it must refuse.
        unsafe { ($opencl.$name)($($argument),*) }
    };
}

/// Makes one call of the API that returns its status; a line that names it where it fails.
#[macro_export]
macro_rules! must_cl {
    ($opencl:expr, $name:ident($($argument:expr),* $(,)?)) => {
        match $crate::cl!($opencl, $name($($argument),*)) {
            0 => Ok(()),
            status => Err(format!("{}: error {status}", stringify!($name))),
        }
    };
}

/// Makes one call of the API that returns an object and takes a place for its status last; a line that names it where it fails.
#[macro_export]
macro_rules! make_cl {
    ($opencl:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let mut status = 0;
        let made = $crate::cl!($opencl, $name($($argument,)* &mut status));
        if status == 0 { Ok(made) } else { Err(format!("{}: error {status}", stringify!($name))) }
    }};
}

/// A device with a context and an in-order queue: what a program begins with.
pub struct Start {
    /// The library.
    pub opencl: OpenCl,
    /// The platform.
    pub platform: Object,
    /// Its device.
    pub device: Object,
    /// A context on the device.
    pub context: Object,
    /// A queue in order.
    pub queue: Object,
}

impl Start {
    /// Begins on a device, as `platform/device` counts.
    ///
    /// # Errors
    /// The call that failed.
    pub fn on(platform: usize, device: usize, queue_properties: u64) -> Result<Start, String> {
        let opencl = OpenCl::load()?;
        let (mut platforms, mut devices, mut count) = ([0; 16], [0; 64], 0);
        must_cl!(opencl, clGetPlatformIDs(16, platforms.as_mut_ptr(), &mut count))?;
        let found = |all: &[Object], place, what: &str| match all.get(place).copied() {
            Some(object) if object != 0 => Ok(object),
            _ => Err(format!("no {what} {place}")),
        };
        let platform = found(&platforms, platform, "platform")?;
        must_cl!(opencl, clGetDeviceIDs(platform, ALL_DEVICES, 64, devices.as_mut_ptr(), &mut count))?;
        let device = found(&devices, device, "device")?;
        let none = std::ptr::null();
        let context = make_cl!(opencl, clCreateContext(none, 1, &device, std::ptr::null(), std::ptr::null_mut()))?;
        let queue = make_cl!(opencl, clCreateCommandQueue(context, device, queue_properties))?;
        Ok(Start { opencl, platform, device, context, queue })
    }

    /// The device's name.
    ///
    /// # Errors
    /// The call that failed.
    pub fn device_name(&self) -> Result<String, String> {
        let mut name = [0u8; 512];
        must_cl!(
            self.opencl,
            clGetDeviceInfo(self.device, 0x102B, 512, name.as_mut_ptr().cast(), std::ptr::null_mut())
        )?;
        let text = std::ffi::CStr::from_bytes_until_nul(&name).map_err(|error| error.to_string())?;
        Ok(text.to_string_lossy().into_owned())
    }

    /// A program that is built from source.
    ///
    /// # Errors
    /// The call that failed, and the log of the build.
    pub fn build(&self, source: &str) -> Result<Object, String> {
        let (text, length) = (source.as_ptr().cast::<c_char>(), source.len());
        let program = make_cl!(self.opencl, clCreateProgramWithSource(self.context, 1, &text, &length))?;
        let none = std::ptr::null();
        let built =
            must_cl!(self.opencl, clBuildProgram(program, 1, &self.device, c"".as_ptr(), none, std::ptr::null_mut()));
        built.map_err(|error| format!("{error}\n{}", self.build_log(program)))?;
        Ok(program)
    }

    /// The log of a program's build.
    #[must_use]
    pub fn build_log(&self, program: Object) -> String {
        let mut log = vec![0u8; 65536];
        let to = log.as_mut_ptr().cast();
        cl!(self.opencl, clGetProgramBuildInfo(program, self.device, 0x1183, log.len(), to, std::ptr::null_mut()));
        let text = std::ffi::CStr::from_bytes_until_nul(&log).unwrap_or_default();
        text.to_string_lossy().into_owned()
    }

    /// Sets an argument of a kernel to a value or an object.
    ///
    /// # Errors
    /// The call that failed.
    pub fn argument<T>(&self, kernel: Object, index: u32, value: &T) -> Result<(), String> {
        let value = std::ptr::from_ref(value).cast();
        must_cl!(self.opencl, clSetKernelArg(kernel, index, size_of::<T>(), value))
    }

    /// Ends what was begun.
    ///
    /// # Errors
    /// The call that failed.
    pub fn end(&self) -> Result<(), String> {
        must_cl!(self.opencl, clReleaseCommandQueue(self.queue))?;
        must_cl!(self.opencl, clReleaseContext(self.context))
    }
}
