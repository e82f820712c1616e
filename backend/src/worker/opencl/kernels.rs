//! Kernels: what their arguments are, setting them, and launches.
//!
//! A library takes 8 bytes for the address of one of its objects where the kernel says that the argument is one. So what each
//! argument is gets asked first, and bytes are set only for values; objects come as handles. Where the library does not say
//! (a program from a binary), or the type's name hides what it is, 8 bytes that would be an address of this process are refused.

use std::ffi::{CStr, c_void};

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::generated::{
    ARG_BYTES, ARG_HANDLE, ARG_NULL, ARG_SVM, CL_INVALID_ARG_INDEX, CL_INVALID_ARG_SIZE, CL_INVALID_ARG_VALUE,
    CL_INVALID_MEM_OBJECT, CL_INVALID_SAMPLER, CL_INVALID_VALUE, SHAPE_LOCAL, SHAPE_MEMORY, SHAPE_OBJECT,
    SHAPE_UNKNOWN, SHAPE_VALUE, Triple, WORK_LOCAL, WORK_OFFSET, Work, kind,
};
use super::{OpenCl, first, lock, words};
use crate::worker::answer::{Failure, function, ok};
use crate::worker::objects::Kind;

/// `CL_INVALID_KERNEL_ARGS`.
const INVALID_KERNEL_ARGS: i32 = -52;
/// `CL_INVALID_WORK_DIMENSION`.
const INVALID_WORK_DIMENSION: i32 = -53;
/// `CL_KERNEL_NUM_ARGS`.
const NUM_ARGS: u32 = 0x1191;
/// `CL_KERNEL_ARG_ADDRESS_QUALIFIER` and two of its values.
const ADDRESS: u32 = 0x1196;
const LOCAL: u32 = 0x119C;
const PRIVATE: u32 = 0x119E;
/// `CL_KERNEL_ARG_TYPE_NAME`.
const TYPE_NAME: u32 = 0x1198;
/// `CL_KERNEL_ARG_TYPE_QUALIFIER` and its bit for pipes.
const TYPE_QUALIFIER: u32 = 0x1199;
const PIPE: u64 = 8;
/// Most arguments of a kernel.
const MOST_ARGUMENTS: u32 = 4096;
/// Most of their shapes in a reply.
const SHAPES_AT_ONCE: usize = 400;
/// Longest value: beyond any device's CL_DEVICE_MAX_PARAMETER_SIZE.
const MOST_BYTES: usize = 65536;
/// Most local memory that a launch may be asked to have.
const MOST_LOCAL: usize = 1 << 30;
/// `CL_KERNEL_EXEC_INFO_SVM_PTRS`.
const SVM_POINTERS: u32 = 0x11B6;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// `SHAPE_…`.
    shape: u32,
    /// A value by its address space, of a type whose name is none of the language's own.
    doubtful: bool,
    sampler: bool,
}

/// The arguments of a kernel.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    shapes: Vec<Shape>,
    /// The objects that are set, null for other arguments.
    objects: Vec<Handle>,
}

/// One argument to be set.
struct Setting<'a> {
    index: u32,
    sort: u32,
    size: usize,
    value: &'a [u8],
}

/// Whether a type's name is a number or vector of the language's own.
fn is_number(name: &str) -> bool {
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(
        base.trim_start_matches("unsigned "),
        "char"
            | "uchar"
            | "short"
            | "ushort"
            | "int"
            | "uint"
            | "long"
            | "ulong"
            | "float"
            | "double"
            | "half"
            | "bool"
            | "size_t"
            | "ptrdiff_t"
            | "intptr_t"
            | "uintptr_t"
            | "unsigned"
    )
}

/// Whether a type's name is one of an object of the library's.
fn is_object(name: &str) -> bool {
    (name.starts_with("image") && name.contains("_t"))
        || name.contains("pipe")
        || matches!(name, "sampler_t" | "queue_t" | "event_t" | "clk_event_t" | "reserve_id_t")
}

fn shape(address: Option<u32>, qualifier: u64, name: &str) -> Shape {
    let shape = match address {
        None => SHAPE_UNKNOWN,
        Some(_) if is_object(name) || qualifier & PIPE != 0 => SHAPE_OBJECT,
        Some(PRIVATE) => SHAPE_VALUE,
        Some(LOCAL) => SHAPE_LOCAL,
        Some(_) => SHAPE_MEMORY,
    };
    Shape { shape, doubtful: !is_number(name), sampler: name == "sampler_t" }
}

/// Whether something is mapped at an address here.
fn is_mapped(address: u64) -> bool {
    let page = (address & !4095) as usize;
    let mut resident = 0u8;
    // SAFETY: only says whether the page is mapped; one byte is written.
    unsafe { libc::mincore(std::ptr::without_provenance_mut(page), 4096, &raw mut resident) == 0 }
}

/// The kind that a handle says it is.
fn kind_of(handle: Handle) -> Option<Kind> {
    [kind::cl_mem, kind::cl_sampler, kind::cl_command_queue].into_iter().find(|kind| handle.kind() == Some(kind.number))
}

/// The settings of a launch.
fn settings(run: &[u8]) -> Result<Vec<Setting<'_>>, Malformed> {
    let short = || Malformed::new("an argument that is cut off");
    let mut rest = run;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(16).ok_or_else(short)?;
        let (numbers, size) = head.split_at(8);
        let numbers = u64::from_le_bytes(numbers.try_into().map_err(|_| short())?);
        let size = u64::from_le_bytes(size.try_into().map_err(|_| short())?);
        let (index, sort) = (numbers as u32, (numbers >> 32) as u32);
        let size = usize::try_from(size).map_err(|_| short())?;
        let bytes = match sort {
            ARG_BYTES => size,
            ARG_HANDLE | ARG_SVM => 8,
            ARG_NULL => 0,
            _ => return Err(Malformed::new("an argument of an unknown sort")),
        };
        let padded = bytes.checked_next_multiple_of(8).ok_or_else(short)?;
        let (value, after) = after.split_at_checked(padded).ok_or_else(short)?;
        found.push(Setting { index, sort, size, value: value.get(..bytes).unwrap_or_default() });
        rest = after;
    }
    Ok(found)
}

/// Up to three dimensions of a size.
fn sizes(given: &[usize; 3], is_given: bool) -> *const usize {
    if is_given { given.as_ptr() } else { std::ptr::null() }
}

impl OpenCl {
    /// What the arguments of a kernel are, asked for once.
    fn with_arguments<T>(
        &self,
        kernel: *mut c_void,
        does: impl FnOnce(&mut Arguments) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut kernels = lock(&self.kernels);
        let arguments = match kernels.entry(kernel.addr()) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(self.ask_arguments(kernel)?),
        };
        does(arguments)
    }

    fn ask_arguments(&self, kernel: *mut c_void) -> Result<Arguments, Failure> {
        let info = function!(self, clGetKernelInfo)?;
        let mut count = 0u32;
        // SAFETY: the kernel lives; the value has 4 bytes.
        ok(unsafe { info(kernel, NUM_ARGS, 4, (&raw mut count).cast(), std::ptr::null_mut()) })?;
        let count = count.min(MOST_ARGUMENTS);
        let shapes = (0..count).map(|index| self.ask_argument(kernel, index)).collect();
        Ok(Arguments { shapes, objects: vec![Handle::NULL; count as usize] })
    }

    fn ask_argument(&self, kernel: *mut c_void, index: u32) -> Shape {
        let Some(info) = self.library.clGetKernelArgInfo else { return shape(None, 0, "") };
        let (mut address, mut qualifier, mut name) = (0u32, 0u64, [0u8; 512]);
        let none = std::ptr::null_mut();
        // SAFETY: the kernel lives; each value has the size that is said.
        let asked = unsafe {
            [
                info(kernel, index, ADDRESS, 4, (&raw mut address).cast(), none),
                info(kernel, index, TYPE_QUALIFIER, 8, (&raw mut qualifier).cast(), none),
                info(kernel, index, TYPE_NAME, name.len(), name.as_mut_ptr().cast(), none),
            ]
        };
        let name = CStr::from_bytes_until_nul(&name).map(CStr::to_string_lossy).unwrap_or_default();
        shape((asked == [0; 3]).then_some(address), qualifier, &name)
    }

    /// `gpuferryCloneKernel`.
    pub(super) fn gpuferryCloneKernel(
        &self,
        _from: &FrameHeader,
        _clone: Handle,
        made: &mut *mut c_void,
        source: *mut c_void,
    ) -> Result<(), Failure> {
        let clone = function!(self, clCloneKernel)?;
        let arguments = self.with_arguments(source, |arguments| Ok(arguments.clone()))?;
        let mut status = 0;
        // SAFETY: the kernel lives.
        *made = unsafe { clone(source, &raw mut status) };
        ok(status)?;
        lock(&self.kernels).insert(made.addr(), arguments);
        Ok(())
    }

    /// `gpuferryKernelShapes`.
    pub(super) fn gpuferryKernelShapes(
        &self,
        _from: &FrameHeader,
        kernel: *mut c_void,
        start: u32,
        count: &mut u32,
        shapes: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.with_arguments(kernel, |arguments| {
            let rest = arguments.shapes.get(start as usize..).unwrap_or_default();
            *count = arguments.shapes.len() as u32;
            *shapes = rest.iter().take(SHAPES_AT_ONCE).flat_map(|shape| shape.shape.to_le_bytes()).collect();
            Ok(())
        })
    }

    /// Sets one argument.
    fn set(&self, kernel: *mut c_void, arguments: &mut Arguments, setting: &Setting<'_>) -> Result<(), Failure> {
        let place = setting.index as usize;
        let wrong = |status| Err(Failure::Status(status));
        let Some(shape) = arguments.shapes.get(place).copied() else { return wrong(CL_INVALID_ARG_INDEX) };
        let call = function!(self, clSetKernelArg)?;
        let (index, size) = (setting.index, setting.size);
        let mut object = Handle::NULL;
        let status = match setting.sort {
            ARG_BYTES => {
                if setting.value.len() != size {
                    return Err(Malformed::new("an argument that is not as long as is said").into());
                }
                self.may_be_bytes(shape, setting.value)?;
                let mut copy = vec![0u128; size.div_ceil(16) + 8];
                // SAFETY: the copy has room for the value.
                unsafe { std::ptr::copy_nonoverlapping(setting.value.as_ptr(), copy.as_mut_ptr().cast::<u8>(), size) };
                // SAFETY: the kernel lives; there are `size` bytes, and they are no object.
                unsafe { call(kernel, index, size, copy.as_ptr().cast()) }
            }
            ARG_HANDLE => {
                let bytes = setting.value.try_into().map_err(|_| Malformed::new("a handle of other than 8 bytes"))?;
                object = Handle(u64::from_le_bytes(bytes));
                let Some(kind) = kind_of(object) else { return wrong(CL_INVALID_ARG_VALUE) };
                if !matches!(shape.shape, SHAPE_UNKNOWN | SHAPE_MEMORY | SHAPE_OBJECT) {
                    return wrong(CL_INVALID_ARG_VALUE);
                }
                // Nothing is behind the object where the library reads more.
                let value = [self.handle(kind, object)?, std::ptr::null_mut()];
                if size > size_of_val(&value) {
                    return wrong(CL_INVALID_ARG_SIZE);
                }
                // SAFETY: kernel and object live; the value has more than `size` bytes.
                unsafe { call(kernel, index, size, value.as_ptr().cast()) }
            }
            ARG_NULL if size > MOST_LOCAL => CL_INVALID_ARG_SIZE,
            // SAFETY: the kernel lives; null is for the library to judge.
            ARG_NULL => unsafe { call(kernel, index, size, std::ptr::null()) },
            ARG_SVM => {
                let bytes = setting.value.try_into().map_err(|_| Malformed::new("an address of other than 8 bytes"))?;
                let address = u64::from_le_bytes(bytes);
                let set = function!(self, clSetKernelArgSVMPointer)?;
                let to = match address {
                    0 => std::ptr::null_mut(),
                    _ => self.svm_at(address, 1).map_err(|_| Failure::Status(CL_INVALID_ARG_VALUE))?,
                };
                // SAFETY: the kernel lives; the address lies in an allocation of the guest's.
                unsafe { set(kernel, index, to) }
            }
            _ => return Err(Malformed::new("an argument of an unknown sort").into()),
        };
        ok(status)?;
        if let Some(place) = arguments.objects.get_mut(place) {
            *place = object;
        }
        Ok(())
    }

    /// Whether the argument takes these bytes for a value.
    fn may_be_bytes(&self, shape: Shape, value: &[u8]) -> Result<(), Failure> {
        let wrong = |status| Err(Failure::Status(status));
        if value.len() > MOST_BYTES {
            return wrong(CL_INVALID_ARG_SIZE);
        }
        match shape.shape {
            SHAPE_MEMORY | SHAPE_OBJECT if value.len() != 8 => wrong(CL_INVALID_ARG_SIZE),
            SHAPE_OBJECT if shape.sampler => wrong(CL_INVALID_SAMPLER),
            SHAPE_MEMORY | SHAPE_OBJECT => wrong(CL_INVALID_MEM_OBJECT),
            SHAPE_VALUE if !shape.doubtful => Ok(()),
            _ => match value.try_into().map(u64::from_le_bytes) {
                Ok(address) if is_mapped(address) => wrong(CL_INVALID_ARG_VALUE),
                _ => Ok(()),
            },
        }
    }

    /// `gpuferrySetArg`.
    pub(super) fn gpuferrySetArg(
        &self,
        _from: &FrameHeader,
        kernel: *mut c_void,
        index: u32,
        sort: u32,
        size: usize,
        value: &[u8],
    ) -> Result<(), Failure> {
        self.with_arguments(kernel, |arguments| self.set(kernel, arguments, &Setting { index, sort, size, value }))
    }

    /// `gpuferryKernelExecInfo`.
    pub(super) fn gpuferryKernelExecInfo(
        &self,
        _from: &FrameHeader,
        kernel: *mut c_void,
        param: u32,
        value: &[u8],
    ) -> Result<(), Failure> {
        let set = function!(self, clSetKernelExecInfo)?;
        if param == SVM_POINTERS {
            let mut pointers = Vec::new();
            for address in words(value)? {
                pointers.push(self.svm_at(address, 1)?);
            }
            let first = if pointers.is_empty() { std::ptr::null() } else { pointers.as_ptr().cast() };
            // SAFETY: the kernel lives; there are as many pointers, all into allocations of the guest's.
            return ok(unsafe { set(kernel, param, size_of_val(&pointers[..]), first) });
        }
        // All others that the API has are a cl_bool.
        let Ok(number) = value.try_into().map(u32::from_le_bytes) else {
            return Err(Failure::Status(CL_INVALID_VALUE));
        };
        // SAFETY: the kernel lives; the value has 4 bytes.
        ok(unsafe { set(kernel, param, 4, (&raw const number).cast()) })
    }

    /// `gpuferrySuggestedLocalSize`.
    pub(super) fn gpuferrySuggestedLocalSize(
        &self,
        _from: &FrameHeader,
        queue: *mut c_void,
        kernel: *mut c_void,
        work: &Work,
        local: &mut Triple,
    ) -> Result<(), Failure> {
        let suggest = function!(self, clGetKernelSuggestedLocalWorkSize)?;
        let dimensions = dimensions(work)?;
        let offset = sizes(&work.offset, work.flags & WORK_OFFSET != 0);
        let mut found = [1usize; 3];
        // SAFETY: queue and kernel live; there are three of each size.
        ok(unsafe { suggest(queue, kernel, dimensions, offset, work.global.as_ptr(), found.as_mut_ptr()) })?;
        let [x, y, z] = found;
        *local = Triple { x, y, z };
        Ok(())
    }

    /// `gpuferryLaunch`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryLaunch(
        &self,
        _from: &FrameHeader,
        queue: *mut c_void,
        kernel: *mut c_void,
        changed: &[u8],
        work: &Work,
        waits_for: &[*mut c_void],
        event: Handle,
        made: &mut *mut c_void,
    ) -> Result<(), Failure> {
        let launch = function!(self, clEnqueueNDRangeKernel)?;
        let changed = settings(changed)?;
        self.with_arguments(kernel, |arguments| {
            for setting in &changed {
                self.set(kernel, arguments, setting)?;
            }
            // The library does not keep the objects that are set alive.
            let lives = |handle: &Handle| kind_of(*handle).is_none_or(|kind| self.objects.get(kind, *handle).is_ok());
            if arguments.objects.iter().all(lives) { Ok(()) } else { Err(Failure::Status(INVALID_KERNEL_ARGS)) }
        })?;
        let dimensions = dimensions(work)?;
        let offset = sizes(&work.offset, work.flags & WORK_OFFSET != 0);
        let local = sizes(&work.local, work.flags & WORK_LOCAL != 0);
        let made: *mut *mut c_void = if event.is_null() { std::ptr::null_mut() } else { made };
        // SAFETY: queue, kernel, its arguments and the events live; there are three of each size.
        ok(unsafe {
            launch(
                queue,
                kernel,
                dimensions,
                offset,
                work.global.as_ptr(),
                local,
                waits_for.len() as u32,
                first(waits_for),
                made,
            )
        })
    }
}

/// How many dimensions there are.
fn dimensions(work: &Work) -> Result<u32, Failure> {
    if (1..=3).contains(&work.dimensions) { Ok(work.dimensions) } else { Err(Failure::Status(INVALID_WORK_DIMENSION)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_when_the_type_is_an_object_then_says_so_wherever_it_lies() {
        let of = |address, qualifier, name| shape(Some(address), qualifier, name).shape;
        assert_eq!(of(0x119B, 0, "float*"), SHAPE_MEMORY);
        assert_eq!(of(LOCAL, 0, "float*"), SHAPE_LOCAL);
        assert_eq!(of(PRIVATE, 0, "ulong"), SHAPE_VALUE);
        assert_eq!(of(0x119B, 0, "image2d_t"), SHAPE_OBJECT);
        assert_eq!(of(PRIVATE, 0, "sampler_t"), SHAPE_OBJECT);
        assert_eq!(of(PRIVATE, PIPE, "int"), SHAPE_OBJECT);
        assert_eq!(shape(None, 0, "").shape, SHAPE_UNKNOWN);
    }

    #[test]
    fn shape_when_a_types_name_is_not_the_languages_then_is_doubtful() {
        for name in ["ulong", "long", "double", "uint2", "char8", "size_t"] {
            assert!(!shape(Some(PRIVATE), 0, name).doubtful, "{name}");
        }
        for name in ["mine", "struct pair", "long_t", ""] {
            assert!(shape(Some(PRIVATE), 0, name).doubtful, "{name}");
        }
    }

    #[test]
    fn settings_when_cut_off_or_of_an_unknown_sort_then_are_malformed() {
        let one = |sort: u32, size: u64, value: &[u8]| {
            let mut run = 3u32.to_le_bytes().to_vec();
            run.extend(sort.to_le_bytes());
            run.extend(size.to_le_bytes());
            run.extend(value);
            run
        };
        let good = [one(ARG_BYTES, 4, &[1, 2, 3, 4, 0, 0, 0, 0]), one(ARG_NULL, 4096, &[])].concat();
        let read = settings(&good).expect("two settings");
        assert_eq!((read[0].index, read[0].size, read[0].value), (3, 4, &[1, 2, 3, 4][..]));
        assert_eq!((read[1].sort, read[1].size), (ARG_NULL, 4096));
        for bad in [one(ARG_BYTES, 4, &[1, 2, 3, 4]), one(ARG_BYTES, u64::MAX, &[]), one(9, 0, &[]), vec![0; 15]] {
            assert!(settings(&bad).is_err());
        }
    }

    #[test]
    fn is_mapped_when_it_is_this_process_then_says_so() {
        let here = 7u64;
        assert!(is_mapped((&raw const here).addr() as u64));
        assert!(!is_mapped(0x10));
        assert!(!is_mapped(u64::MAX));
    }
}
