//! Loading modules and libraries, and what is asked of them by number.

use std::ffi::{CStr, c_char, c_void};
use std::sync::PoisonError;

use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::Buffer;

use super::generated::{CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, kind};
use super::options::Options;
use super::ranges::{Range, Sort};
use super::{Cuda, image};
use crate::worker::answer::{Failure, function, ok};
use crate::worker::bytes::Input;
use crate::worker::objects::Kind;
use crate::worker::printed;

/// Most kernels of one module or library that are asked for by number.
const MAX_KERNELS: u32 = 1 << 20;
/// Longest name that comes back in a reply.
const NAME_BYTES: usize = 3800;

/// Options of a library (`CUlibraryOption`): the first holds a table of pointers and does not travel, the second says that the
/// caller keeps the image. It does not: the worker's copy ends with the call.
const IGNORED_LIBRARY_OPTION: u32 = 1;

/// A code image that was checked: a private copy, with zero bytes after it.
pub(super) struct Image<'a> {
    copy: Input<'a>,
    given: image::Given,
}

impl Image<'_> {
    /// What the driver is given.
    pub(super) fn pointer(&self) -> *const c_void {
        match &self.given {
            image::Given::Whole => self.copy.pointer(),
            image::Given::Wrapper(words, _) => words.as_ptr().cast(),
        }
    }
}

impl Cuda {
    /// Takes a code image.
    pub(super) fn image<'a>(&self, buffer: Buffer<'a>) -> Result<Image<'a>, Failure> {
        let bytes = usize::try_from(buffer.bytes()).map_err(|_| Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        let copy = self.private(buffer)?;
        if matches!(copy, Input::Null) {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        // SAFETY: a private copy has all bytes of its buffer.
        let data = unsafe { std::slice::from_raw_parts(copy.pointer().cast::<u8>(), bytes) };
        image::check(data).map_err(Failure::Status)?;
        printed::begin(&self.session);
        // A wrapper leads into the copy's own memory, which does not move with it.
        let given = image::Given::of(data);
        Ok(Image { copy, given })
    }

    /// `gpuferryModuleLoad`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gpuferryModuleLoad(
        &self,
        _from: &FrameHeader,
        _module: Handle,
        made: &mut *mut c_void,
        image: Buffer<'_>,
        options: &[u8],
        wall_time: &mut f32,
        info_log: &mut Vec<u8>,
        error_log: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let call = function!(self, cuModuleLoadDataEx)?;
        let mut options = Options::read(options, true)?;
        let image = self.image(image)?;
        let (count, names, values) = (options.count(), options.names(), options.values());
        // SAFETY: the image ends with zero bytes and names no extent outside; the arrays have `count` entries whose pointers are
        // to buffers of the options.
        let status = unsafe { call(made, image.pointer(), count, names, values) };
        (*wall_time, *info_log, *error_log) = (options.wall_time(), options.info_log(), options.error_log());
        ok(status)
    }

    /// `gpuferryLibraryLoad`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gpuferryLibraryLoad(
        &self,
        _from: &FrameHeader,
        _library: Handle,
        made: &mut *mut c_void,
        image: Buffer<'_>,
        options: &[u8],
        library_options: &[u8],
        wall_time: &mut f32,
        info_log: &mut Vec<u8>,
        error_log: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let call = function!(self, cuLibraryLoadData)?;
        let mut options = Options::read(options, true)?;
        for record in library_options.chunks(16) {
            let name = record.first_chunk().map(|name| u32::from_le_bytes(*name));
            if record.len() != 16 || name != Some(IGNORED_LIBRARY_OPTION) {
                return Err(Failure::Status(super::CUDA_ERROR_NOT_SUPPORTED));
            }
        }
        let image = self.image(image)?;
        let (count, names, values) = (options.count(), options.names(), options.values());
        let none = std::ptr::null_mut();
        // SAFETY: as in `gpuferryModuleLoad`; there are no options of the library.
        let status = unsafe { call(made, image.pointer(), names, values, count, none, none.cast(), 0) };
        (*wall_time, *info_log, *error_log) = (options.wall_time(), options.info_log(), options.error_log());
        ok(status)
    }

    /// `cuModuleGetGlobal`: the variable is the guest's to copy to and from.
    pub(super) fn cuModuleGetGlobal_v2(
        &self,
        _from: &FrameHeader,
        dptr: &mut u64,
        bytes: &mut usize,
        module: *mut c_void,
        name: &CStr,
    ) -> Result<(), Failure> {
        let call = function!(self, cuModuleGetGlobal_v2)?;
        // SAFETY: the module lives, the pointers are to live variables, the name ends with a zero byte.
        ok(unsafe { call(dptr, bytes, module, name.as_ptr()) })?;
        self.variable(kind::CUmodule, module, *dptr, *bytes);
        Ok(())
    }

    /// `cuLibraryGetGlobal`.
    pub(super) fn cuLibraryGetGlobal(
        &self,
        _from: &FrameHeader,
        dptr: &mut u64,
        bytes: &mut usize,
        library: *mut c_void,
        name: &CStr,
    ) -> Result<(), Failure> {
        let call = function!(self, cuLibraryGetGlobal)?;
        // SAFETY: the library lives, the pointers are to live variables, the name ends with a zero byte.
        ok(unsafe { call(dptr, bytes, library, name.as_ptr()) })?;
        self.variable(kind::CUlibrary, library, *dptr, *bytes);
        Ok(())
    }

    /// `cuLibraryGetManaged`.
    pub(super) fn cuLibraryGetManaged(
        &self,
        _from: &FrameHeader,
        dptr: &mut u64,
        bytes: &mut usize,
        library: *mut c_void,
        name: &CStr,
    ) -> Result<(), Failure> {
        let call = function!(self, cuLibraryGetManaged)?;
        // SAFETY: the library lives, the pointers are to live variables, the name ends with a zero byte.
        ok(unsafe { call(dptr, bytes, library, name.as_ptr()) })?;
        let owner = self.objects.handle_of(kind::CUlibrary, library);
        self.range_made(*dptr, Range { bytes: *bytes as u64, sort: Sort::Managed, owner });
        // It may have been unloaded meanwhile; where that comes later, it takes the range with it.
        if owner.is_null() || self.objects.handle_of(kind::CUlibrary, library) != owner {
            self.range_ended(*dptr, Sort::Managed);
            return Err(Failure::Status(CUDA_ERROR_INVALID_HANDLE));
        }
        Ok(())
    }

    /// `cuLibraryUnload`: its variables first, as managed ones are read without the driver ([`Cuda::gpuferryManagedRead`]).
    pub(super) fn cuLibraryUnload(&self, _from: &FrameHeader, library: *mut c_void) -> Result<(), Failure> {
        let call = function!(self, cuLibraryUnload)?;
        let owner = self.objects.handle_of(kind::CUlibrary, library);
        let variables = self.ranges.write().unwrap_or_else(PoisonError::into_inner).remove_owned(&[owner]);
        // SAFETY: the table says that the library lives.
        let status = unsafe { call(library) };
        if status != 0 {
            variables.into_iter().for_each(|(address, range)| self.range_made(address, range));
        }
        ok(status)
    }

    /// `gpuferryManagedRead`.
    pub(super) fn gpuferryManagedRead(
        &self,
        _from: &FrameHeader,
        address: u64,
        data: Buffer<'_>,
        reply: &mut [u8],
    ) -> Result<(), Failure> {
        let bytes = data.bytes();
        let ranges = self.ranges.read().unwrap_or_else(PoisonError::into_inner);
        if !ranges.contains_of(address, bytes, Sort::Managed) {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let mut to = self.output(data, reply)?;
        let from = std::ptr::with_exposed_provenance::<u8>(address as usize);
        // SAFETY: managed memory is the host's to read at its address (CUDA Driver API, cuLibraryGetManaged); it stays as long as
        // it is among the ranges, whose lock is held (`cuLibraryUnload`); the output has as many bytes.
        unsafe { std::ptr::copy_nonoverlapping(from, to.pointer().cast::<u8>(), bytes as usize) };
        to.finish();
        Ok(())
    }

    /// A variable is the guest's to copy to and from as long as what it is in.
    fn variable(&self, kind: Kind, object: *mut c_void, address: u64, bytes: usize) {
        let owner = self.objects.handle_of(kind, object);
        self.range_made(address, Range { bytes: bytes as u64, sort: Sort::Variable, owner });
    }

    /// `gpuferryModuleFunction`: the function with a number.
    pub(super) fn gpuferryModuleFunction(
        &self,
        _from: &FrameHeader,
        _function: Handle,
        made: &mut *mut c_void,
        module: *mut c_void,
        number: u32,
        name: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let list = function!(self, cuModuleEnumerateFunctions)?;
        let name_of = function!(self, cuFuncGetName)?;
        // SAFETY: the module lives; `numbered` gives an array of as many entries as it says.
        *made = numbered(number, |array, count| unsafe { list(array, count, module) })?;
        // SAFETY: the function was just given by the driver.
        *name = named(|text| unsafe { name_of(text, *made) })?;
        Ok(())
    }

    /// `gpuferryLibraryKernel`: the kernel with a number.
    pub(super) fn gpuferryLibraryKernel(
        &self,
        _from: &FrameHeader,
        _kernel: Handle,
        made: &mut *mut c_void,
        library: *mut c_void,
        number: u32,
        name: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let list = function!(self, cuLibraryEnumerateKernels)?;
        let name_of = function!(self, cuKernelGetName)?;
        // SAFETY: the library lives; `numbered` gives an array of as many entries as it says.
        *made = numbered(number, |array, count| unsafe { list(array, count, library) })?;
        // SAFETY: the kernel was just given by the driver.
        *name = named(|text| unsafe { name_of(text, *made) })?;
        Ok(())
    }
}

/// The object with a number in a list that the driver fills.
fn numbered(number: u32, fill: impl FnOnce(*mut *mut c_void, u32) -> i32) -> Result<*mut c_void, Failure> {
    if number >= MAX_KERNELS {
        return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
    }
    let mut all = vec![std::ptr::null_mut(); number as usize + 1];
    ok(fill(all.as_mut_ptr(), number + 1))?;
    match all.last() {
        Some(object) if !object.is_null() => Ok(*object),
        _ => Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)),
    }
}

/// A name that the driver keeps.
fn named(ask: impl FnOnce(*mut *const c_char) -> i32) -> Result<Vec<u8>, Failure> {
    let mut text = std::ptr::null();
    ok(ask(&raw mut text))?;
    if text.is_null() {
        return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
    }
    // SAFETY: the driver's own text, which ends with a zero byte and lives as long as the object.
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    Ok(text.get(..NAME_BYTES).unwrap_or(text).to_vec())
}
