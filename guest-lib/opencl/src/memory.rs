//! Memory objects: what buffers, images and pipes have in common.

use crate::answer::{Answer, Facts, Question, number};
use crate::arena::{self, Arena, Live, Object, Ref};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::generated::{INFO_MEM, INFO_PIPE, Kind, kind, send};
use crate::image::Image;
use crate::map::Maps;
use crate::status::{CL_INVALID_MEM_OBJECT, CL_INVALID_OPERATION, CL_INVALID_PIPE_SIZE, CL_INVALID_VALUE};
use crate::user::{In, Out, Raw};
use core::ffi::c_void;
use std::sync::{Mutex, PoisonError};

const CL_MEM_TYPE: u32 = 0x1100;
const CL_MEM_FLAGS: u32 = 0x1101;
const CL_MEM_SIZE: u32 = 0x1102;
const CL_MEM_HOST_PTR: u32 = 0x1103;
const CL_MEM_MAP_COUNT: u32 = 0x1104;
const CL_MEM_REFERENCE_COUNT: u32 = 0x1105;
const CL_MEM_CONTEXT: u32 = 0x1106;
const CL_MEM_ASSOCIATED_MEMOBJECT: u32 = 0x1107;
const CL_MEM_OFFSET: u32 = 0x1108;
const CL_MEM_USES_SVM_POINTER: u32 = 0x1109;
const CL_MEM_PROPERTIES: u32 = 0x110a;
const CL_PIPE_PROPERTIES: u32 = 0x1122;

const TYPE_BUFFER: u32 = 0x10f0;
const TYPE_PIPE: u32 = 0x10f7;

/// `CL_MEM_READ_WRITE`.
pub const READ_WRITE: u64 = 1;
/// `CL_MEM_WRITE_ONLY`.
pub const WRITE_ONLY: u64 = 1 << 1;
/// `CL_MEM_READ_ONLY`.
pub const READ_ONLY: u64 = 1 << 2;
/// `CL_MEM_USE_HOST_PTR`.
pub const USE_HOST_PTR: u64 = 1 << 3;
/// `CL_MEM_ALLOC_HOST_PTR`.
pub const ALLOC_HOST_PTR: u64 = 1 << 4;
/// `CL_MEM_COPY_HOST_PTR`.
pub const COPY_HOST_PTR: u64 = 1 << 5;
/// `CL_MEM_HOST_WRITE_ONLY`.
pub const HOST_WRITE_ONLY: u64 = 1 << 7;
/// `CL_MEM_HOST_READ_ONLY`.
pub const HOST_READ_ONLY: u64 = 1 << 8;
/// `CL_MEM_HOST_NO_ACCESS`.
pub const HOST_NO_ACCESS: u64 = 1 << 9;
/// `CL_MEM_KERNEL_READ_AND_WRITE`.
pub const KERNEL_READ_AND_WRITE: u64 = 1 << 12;

/// How kernels use it.
pub const DEVICE_ACCESS: u64 = READ_WRITE | WRITE_ONLY | READ_ONLY;
/// Where its memory comes from.
pub const HOST_PTR: u64 = USE_HOST_PTR | ALLOC_HOST_PTR | COPY_HOST_PTR;
/// How the program uses it.
pub const HOST_ACCESS: u64 = HOST_WRITE_ONLY | HOST_READ_ONLY | HOST_NO_ACCESS;

/// `clSetMemObjectDestructorCallback`'s function.
type Destructor = unsafe extern "C" fn(Raw, *mut c_void);

/// What a memory object is.
pub enum Sort {
    /// A buffer.
    Buffer,
    /// A part of one, from an offset on.
    SubBuffer(Ref<Mem>, usize),
    /// An image.
    Image(Image),
    /// A pipe.
    Pipe,
}

/// A memory object.
pub struct Mem {
    /// Its context.
    pub context: Ref<Context>,
    /// The program's flags.
    pub flags: u64,
    /// Bytes; of an image, as the host says.
    pub size: usize,
    /// The program's memory (`CL_MEM_USE_HOST_PTR`), or 0.
    pub host_ptr: usize,
    /// What it is.
    pub sort: Sort,
    /// The program's memory is shared virtual memory.
    pub in_svm: bool,
    /// The list of properties as the program gave it.
    pub properties: Vec<u8>,
    /// Where it is mapped.
    pub maps: Maps,
    /// What the host said of it.
    pub facts: Facts,
    /// Functions for its end, and their data.
    destructors: Mutex<Vec<(Destructor, usize)>>,
}

static MEMORY: Arena<Mem> = Arena::new();

impl Object for Mem {
    const KIND: Kind = kind::cl_mem;

    fn arena() -> &'static Arena<Mem> {
        &MEMORY
    }

    fn release(this: &Live<Mem>, caller: &Caller) {
        let functions = std::mem::take(&mut *this.destructors.lock().unwrap_or_else(PoisonError::into_inner));
        for (function, data) in functions.into_iter().rev() {
            // SAFETY: the program gave function and data for this call; no lock is held.
            unsafe { function(this.raw(), data as *mut c_void) };
        }
        this.maps.end();
        let _ = send::clReleaseMemObject(caller, this.handle);
    }
}

impl Mem {
    /// A memory object that is not mapped and has nothing to say at its end.
    #[must_use]
    pub fn new(context: Ref<Context>, flags: u64, size: usize, host_ptr: usize, sort: Sort) -> Mem {
        let (maps, facts, destructors) = (Maps::default(), Facts::default(), Mutex::default());
        Mem { context, flags, size, host_ptr, sort, in_svm: false, properties: Vec::new(), maps, facts, destructors }
    }

    /// Whether it is a buffer or a part of one.
    #[must_use]
    pub fn is_buffer(&self) -> bool {
        matches!(self.sort, Sort::Buffer | Sort::SubBuffer(..))
    }

    /// The image that it is.
    ///
    /// # Errors
    /// `CL_INVALID_MEM_OBJECT` where it is none.
    pub fn image(&self) -> Result<&Image, cl_int> {
        if let Sort::Image(image) = &self.sort { Ok(image) } else { Err(CL_INVALID_MEM_OBJECT) }
    }

    /// `CL_MEM_TYPE`.
    #[must_use]
    pub fn kind(&self) -> u32 {
        match &self.sort {
            Sort::Buffer | Sort::SubBuffer(..) => TYPE_BUFFER,
            Sort::Image(image) => image.shape.image_type,
            Sort::Pipe => TYPE_PIPE,
        }
    }

    /// Refuses what the program said that it would not do (`HOST_…` flags).
    ///
    /// # Errors
    /// `CL_INVALID_OPERATION`.
    pub fn check_access(&self, reads: bool, writes: bool) -> Result<(), cl_int> {
        let is_refused = (reads && self.flags & (HOST_WRITE_ONLY | HOST_NO_ACCESS) != 0)
            || (writes && self.flags & (HOST_READ_ONLY | HOST_NO_ACCESS) != 0);
        if is_refused { Err(CL_INVALID_OPERATION) } else { Ok(()) }
    }
}

/// Refuses flags that are unknown or contradict each other.
///
/// # Errors
/// `CL_INVALID_VALUE`.
pub fn check_flags(flags: u64) -> Result<(), cl_int> {
    let at_most_one = |of: u64| (flags & of).count_ones() <= 1;
    let known = flags & !(DEVICE_ACCESS | HOST_PTR | HOST_ACCESS) == 0;
    let is_used_otherwise = flags & USE_HOST_PTR != 0 && flags & (ALLOC_HOST_PTR | COPY_HOST_PTR) != 0;
    let is_fine = known && at_most_one(DEVICE_ACCESS) && at_most_one(HOST_ACCESS) && !is_used_otherwise;
    if is_fine { Ok(()) } else { Err(CL_INVALID_VALUE) }
}

/// The flags with what the API assumes where nothing is said.
#[must_use]
pub fn with_defaults(flags: u64) -> u64 {
    if flags & DEVICE_ACCESS == 0 { flags | READ_WRITE } else { flags }
}

/// A buffer or a part of one.
///
/// # Errors
/// `CL_INVALID_MEM_OBJECT`.
pub fn buffer(raw: Raw) -> Result<Ref<Mem>, cl_int> {
    let memory = arena::get::<Mem>(raw)?;
    if memory.is_buffer() { Ok(memory) } else { Err(CL_INVALID_MEM_OBJECT) }
}

/// An image.
///
/// # Errors
/// `CL_INVALID_MEM_OBJECT`.
pub fn image(raw: Raw) -> Result<Ref<Mem>, cl_int> {
    let memory = arena::get::<Mem>(raw)?;
    memory.image()?;
    Ok(memory)
}

impl Live<Mem> {
    /// Bytes that it takes, as the host says.
    ///
    /// # Errors
    /// The host's answer.
    pub fn host_size(&self, caller: &Caller) -> Result<usize, cl_int> {
        Ok(number(&self.facts.get(caller, Question::new(INFO_MEM, self.handle, CL_MEM_SIZE))?) as usize)
    }

    fn uses_svm(&self) -> bool {
        match &self.sort {
            Sort::SubBuffer(of, _) => of.in_svm,
            _ => self.in_svm,
        }
    }

    fn info(&self, param: u32, to: &Answer) -> Result<(), cl_int> {
        match param {
            CL_MEM_TYPE => to.number(self.kind()),
            CL_MEM_FLAGS => to.long(self.flags),
            CL_MEM_SIZE if self.is_buffer() => to.size(self.size),
            CL_MEM_SIZE => to.size(self.host_size(&caller::enter()?)?),
            CL_MEM_HOST_PTR => to.size(self.host_ptr),
            CL_MEM_MAP_COUNT => to.number(self.maps.count()),
            CL_MEM_REFERENCE_COUNT => to.number(arena::references(self)),
            CL_MEM_CONTEXT => to.object(self.context.raw()),
            CL_MEM_ASSOCIATED_MEMOBJECT => to.object(match &self.sort {
                Sort::SubBuffer(of, _) => of.raw(),
                Sort::Image(Image { of: Some(of), .. }) => of.raw(),
                _ => core::ptr::null_mut(),
            }),
            CL_MEM_OFFSET => to.size(if let Sort::SubBuffer(_, origin) = self.sort { origin } else { 0 }),
            CL_MEM_USES_SVM_POINTER => to.number(u32::from(self.uses_svm())),
            CL_MEM_PROPERTIES => to.bytes(&self.properties),
            _ => Err(CL_INVALID_VALUE),
        }
    }
}

crate::makers! {
    /// OpenCL 3.0 § 5.4.1, clCreatePipe.
    extern "C" fn clCreatePipe(
        context: Raw, flags: u64, pipe_packet_size: u32, pipe_max_packets: u32, properties: In<u64>,
    ) {
        let context = arena::get::<Context>(context)?;
        if flags & !(READ_WRITE | HOST_NO_ACCESS) != 0 || properties.pairs()?.is_some() {
            return Err(CL_INVALID_VALUE);
        }
        if pipe_packet_size == 0 || pipe_max_packets == 0 {
            return Err(CL_INVALID_PIPE_SIZE);
        }
        let caller = caller::enter()?;
        let vacant = arena::vacant::<Mem>()?;
        let sent =
            send::gpuferryPipe(&caller, vacant.handle, context.handle, flags, pipe_packet_size, pipe_max_packets);
        caller::answer(sent)?;
        let flags = READ_WRITE | HOST_NO_ACCESS;
        Ok(vacant.fill(Mem::new(context, flags, 0, 0, Sort::Pipe)).raw())
    }
}

crate::calls! {
    /// OpenCL 3.0 § 5.5.1, clRetainMemObject.
    extern "C" fn clRetainMemObject(memobj: Raw) {
        arena::retain::<Mem>(memobj)
    }

    /// OpenCL 3.0 § 5.5.1, clReleaseMemObject.
    extern "C" fn clReleaseMemObject(memobj: Raw) {
        arena::release::<Mem>(memobj)
    }

    /// OpenCL 3.0 § 5.5.6, clGetMemObjectInfo.
    extern "C" fn clGetMemObjectInfo(
        memobj: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let memory = arena::get::<Mem>(memobj)?;
        memory.info(param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }

    /// OpenCL 3.0 § 5.4.2, clGetPipeInfo.
    extern "C" fn clGetPipeInfo(
        pipe: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let pipe = arena::get::<Mem>(pipe)?;
        if !matches!(pipe.sort, Sort::Pipe) {
            return Err(CL_INVALID_MEM_OBJECT);
        }
        let to = Answer::new(param_value_size, param_value, param_value_size_ret);
        if param_name == CL_PIPE_PROPERTIES {
            return to.bytes(&[]);
        }
        to.bytes(&pipe.facts.get(&caller::enter()?, Question::new(INFO_PIPE, pipe.handle, param_name))?)
    }

    /// OpenCL 3.0 § 5.5.1, clSetMemObjectDestructorCallback. The functions run when the program and this library hold the object
    /// no more, last one first; commands under way keep the host's.
    extern "C" fn clSetMemObjectDestructorCallback(
        memobj: Raw, pfn_notify: Option<Destructor>, user_data: *mut c_void,
    ) {
        let memory = arena::get::<Mem>(memobj)?;
        let function = pfn_notify.ok_or(CL_INVALID_VALUE)?;
        memory.destructors.lock().unwrap_or_else(PoisonError::into_inner).push((function, user_data as usize));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_flags_when_they_contradict_then_refuses() {
        for flags in [0, READ_ONLY | COPY_HOST_PTR, USE_HOST_PTR, ALLOC_HOST_PTR | COPY_HOST_PTR | HOST_READ_ONLY] {
            assert_eq!(check_flags(flags), Ok(()), "{flags:#x}");
        }
        for flags in [READ_ONLY | WRITE_ONLY, USE_HOST_PTR | COPY_HOST_PTR, HOST_READ_ONLY | HOST_NO_ACCESS, 1 << 40] {
            assert_eq!(check_flags(flags), Err(CL_INVALID_VALUE), "{flags:#x}");
        }
    }
}
