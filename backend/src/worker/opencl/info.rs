//! What the library says of its objects, asked for by number of the property.
//!
//! Any property goes to the library that is a value: the vendors have their own. One that is an object or an address of this
//! process is refused; the guest knows those.

use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::Buffer;

use super::generated::{
    CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY, INFO_DEVICE, INFO_EVENT_PROFILING, INFO_IMAGE, INFO_IMAGE_FORMATS,
    INFO_KERNEL, INFO_KERNEL_ARG, INFO_KERNEL_SUB_GROUP, INFO_KERNEL_WORK_GROUP, INFO_MEM, INFO_PIPE, INFO_PLATFORM,
    INFO_PROGRAM, INFO_PROGRAM_BUILD, INFO_QUEUE, kind,
};
use super::load::pointer;
use super::{OpenCl, lock, programs, words};
use crate::worker::answer::{Failure, function, ok};

/// Longest value: a program's binary or a build's log.
const MOST: usize = 256 << 20;
/// Most bytes of a value that depends on its room: sizes for some dimensions.
const MOST_SIZES: usize = 256;
/// `CL_PROGRAM_BINARIES`.
const PROGRAM_BINARIES: u32 = 0x1166;

/// Properties that are objects or addresses of the library's, by what has them.
const OBJECTS: [(u32, &[u32]); 6] = [
    // CL_DEVICE_PLATFORM, _PARENT_DEVICE.
    (INFO_DEVICE, &[0x1031, 0x1042]),
    // CL_MEM_HOST_PTR, _CONTEXT, _ASSOCIATED_MEMOBJECT.
    (INFO_MEM, &[0x1103, 0x1106, 0x1107]),
    // CL_IMAGE_BUFFER.
    (INFO_IMAGE, &[0x1118]),
    // CL_PROGRAM_CONTEXT, _DEVICES.
    (INFO_PROGRAM, &[0x1161, 0x1163]),
    // CL_KERNEL_CONTEXT, _PROGRAM.
    (INFO_KERNEL, &[0x1193, 0x1194]),
    // CL_QUEUE_CONTEXT, _DEVICE, _DEVICE_DEFAULT.
    (INFO_QUEUE, &[0x1090, 0x1091, 0x1095]),
];

/// A question to the library: how many bytes there are, where to, and how many there would be.
type Ask<'a> = dyn Fn(usize, *mut c_void, *mut usize) -> i32 + 'a;

/// A value that depends on the room that there is for it.
fn value_in(room: usize, ask: &Ask<'_>) -> Result<Vec<u8>, Failure> {
    let (mut value, mut size) = ([0u64; MOST_SIZES / 8], 0);
    ok(ask(room, value.as_mut_ptr().cast(), &raw mut size))?;
    let value: Vec<u8> = value.into_iter().flat_map(u64::to_ne_bytes).collect();
    // Not all libraries say how much they wrote.
    let size = if size == 0 { room } else { size };
    Ok(value.get(..size).unwrap_or_default().to_vec())
}

/// The whole value.
fn value_of(ask: &Ask<'_>) -> Result<Vec<u8>, Failure> {
    let mut size = 0;
    ok(ask(0, std::ptr::null_mut(), &raw mut size))?;
    if size > MOST {
        return Err(Failure::Status(CL_OUT_OF_HOST_MEMORY));
    }
    // Words, because the library writes numbers.
    let mut value = vec![0u64; size.div_ceil(8)];
    if size != 0 {
        ok(ask(size, value.as_mut_ptr().cast(), std::ptr::null_mut()))?;
    }
    let mut value: Vec<u8> = value.into_iter().flat_map(u64::to_ne_bytes).collect();
    value.truncate(size);
    Ok(value)
}

impl OpenCl {
    /// `gpuferryInfo`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryInfo(
        &self,
        _from: &FrameHeader,
        what: u32,
        object: Handle,
        second: Handle,
        param: u32,
        input: &[u8],
        size: &mut usize,
        value: Buffer<'_>,
        reply: &mut [u8],
    ) -> Result<(), Failure> {
        let refused = OBJECTS.iter().any(|(of, params)| *of == what && params.contains(&param));
        if refused {
            return Err(Failure::Status(CL_INVALID_VALUE));
        }
        let room = value.bytes();
        let mut to = self.bytes.output(value, reply)?;
        let found = if what == INFO_PROGRAM_BUILD && lock(&self.overdue).contains(&object) {
            programs::overdue_info(param).ok_or(Failure::Status(CL_INVALID_VALUE))?
        } else {
            self.ask(what, object, second, param, input)?
        };
        *size = found.len();
        let part = usize::try_from(room).unwrap_or(usize::MAX).min(found.len());
        if part != 0 {
            // SAFETY: the output has `room` bytes.
            unsafe { std::ptr::copy_nonoverlapping(found.as_ptr(), to.pointer().cast::<u8>(), part) };
        }
        to.finish_slices(0, 1, part, 1, 1);
        Ok(())
    }

    /// The value of a property.
    fn ask(&self, what: u32, object: Handle, second: Handle, param: u32, input: &[u8]) -> Result<Vec<u8>, Failure> {
        let of = |kind| self.handle(kind, object);
        let device = || self.handle(kind::cl_device_id, second);
        match what {
            INFO_PROGRAM if param == PROGRAM_BINARIES => self.program_binary(of(kind::cl_program)?, device()?),
            INFO_IMAGE_FORMATS => self.image_formats(of(kind::cl_context)?, input),
            INFO_PROGRAM_BUILD | INFO_KERNEL_WORK_GROUP => {
                let (call, object) = match what {
                    INFO_PROGRAM_BUILD => (function!(self, clGetProgramBuildInfo)?, of(kind::cl_program)?),
                    _ => (function!(self, clGetKernelWorkGroupInfo)?, of(kind::cl_kernel)?),
                };
                let device = device()?;
                // SAFETY: the objects live; the library writes no more than it is told there is room for. So in each case below.
                value_of(&|bytes, to, size| unsafe { call(object, device, param, bytes, to, size) })
            }
            INFO_KERNEL_ARG => {
                let (call, object) = (function!(self, clGetKernelArgInfo)?, of(kind::cl_kernel)?);
                let index = input.try_into().map_err(|_| Failure::Status(CL_INVALID_VALUE))?;
                let index = u32::from_le_bytes(index);
                // SAFETY: as above.
                value_of(&|bytes, to, size| unsafe { call(object, index, param, bytes, to, size) })
            }
            INFO_KERNEL_SUB_GROUP => self.sub_group_info(of(kind::cl_kernel)?, device()?, param, input),
            _ => {
                let (call, object) = match what {
                    INFO_PLATFORM => (function!(self, clGetPlatformInfo)?, pointer(self.found.platform)),
                    INFO_DEVICE => (function!(self, clGetDeviceInfo)?, of(kind::cl_device_id)?),
                    INFO_MEM => (function!(self, clGetMemObjectInfo)?, of(kind::cl_mem)?),
                    INFO_IMAGE => (function!(self, clGetImageInfo)?, of(kind::cl_mem)?),
                    INFO_PIPE => (function!(self, clGetPipeInfo)?, of(kind::cl_mem)?),
                    INFO_PROGRAM => (function!(self, clGetProgramInfo)?, of(kind::cl_program)?),
                    INFO_KERNEL => (function!(self, clGetKernelInfo)?, of(kind::cl_kernel)?),
                    INFO_QUEUE => (function!(self, clGetCommandQueueInfo)?, of(kind::cl_command_queue)?),
                    INFO_EVENT_PROFILING => (function!(self, clGetEventProfilingInfo)?, of(kind::cl_event)?),
                    _ => return Err(Failure::Status(CL_INVALID_VALUE)),
                };
                // SAFETY: as above.
                let value = value_of(&|bytes, to, size| unsafe { call(object, param, bytes, to, size) })?;
                Ok(if what == INFO_DEVICE { self.bounded_memory(param, value) } else { value })
            }
        }
    }

    /// What is asked with an input, whose last word says how many bytes the answer has; 0 where the library says so.
    fn sub_group_info(
        &self,
        kernel: *mut c_void,
        device: *mut c_void,
        param: u32,
        input: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let call = function!(self, clGetKernelSubGroupInfo)?;
        let mut input = words(input)?;
        let room = input.pop().unwrap_or(0);
        let input_bytes = size_of_val(&input[..]);
        // A library that reads more than it is told reads zeros.
        input.extend([0; 3]);
        let input = input.as_ptr().cast::<c_void>();
        // SAFETY: the objects live, the input has that many bytes; the library writes no more than it is told there is room for.
        let ask = |bytes, to, size| unsafe { call(kernel, device, param, input_bytes, input, bytes, to, size) };
        match usize::try_from(room) {
            Ok(room @ 1..=MOST_SIZES) => value_in(room, &ask),
            _ => value_of(&ask),
        }
    }

    /// The formats of a context's images, 8 bytes each.
    fn image_formats(&self, context: *mut c_void, input: &[u8]) -> Result<Vec<u8>, Failure> {
        let call = function!(self, clGetSupportedImageFormats)?;
        let input: [u8; 12] = input.try_into().map_err(|_| Failure::Status(CL_INVALID_VALUE))?;
        let (flags, image_type) = input.split_at(8);
        let flags = u64::from_le_bytes(flags.try_into().unwrap_or_default());
        let image_type = u32::from_le_bytes(image_type.try_into().unwrap_or_default());
        let mut count = 0;
        // SAFETY: the context lives; only the count is written.
        ok(unsafe { call(context, flags, image_type, 0, std::ptr::null_mut(), &raw mut count) })?;
        let mut formats = vec![[0u8; 8]; (count as usize).min(MOST / 8)];
        if !formats.is_empty() {
            // SAFETY: there is room for as many as are asked for.
            ok(unsafe {
                call(
                    context,
                    flags,
                    image_type,
                    formats.len() as u32,
                    formats.as_mut_ptr().cast(),
                    std::ptr::null_mut(),
                )
            })?;
        }
        Ok(formats.into_iter().flatten().collect())
    }
}
