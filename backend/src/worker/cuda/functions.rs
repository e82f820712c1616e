//! Functions and kernels: their attributes and the layout of their parameters.

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::{Arc, PoisonError};

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::Cuda;
use super::generated::{CUDA_ERROR_INVALID_HANDLE, kind};
use super::quota::Local;
use crate::worker::answer::{Failure, function};

/// Attributes in the facts of a function.
const ATTRIBUTES: u32 = 16;
/// `CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES`.
const LOCAL_BYTES: u32 = 3;
/// Most parameters whose layout fits a reply.
const MAX_PARAMETERS: usize = 450;

/// Launched functions that a thread remembers.
const RECENT_LAUNCHES: usize = 64;

/// A function, how many objects had ended when it was looked up, and what was found.
type Recent = Option<(Handle, u64, Code, Arc<Layout>)>;

thread_local! {
    /// By index of the handle.
    static RECENT: [Cell<Recent>; RECENT_LAUNCHES] = const { [const { Cell::new(None) }; RECENT_LAUNCHES] };
}

/// Where a kernel's parameters lie in the packed block.
pub struct Layout {
    /// Offset and bytes of each, in order; `None` where the library cannot tell.
    pub parameters: Option<Vec<(usize, usize)>>,
    /// Bytes of the whole block.
    pub bytes: usize,
    /// Its local memory.
    pub local: Local,
}

/// What a launch can be of.
#[derive(Clone, Copy)]
pub enum Code {
    /// A function of a module.
    Function(*mut c_void),
    /// A kernel of a library.
    Kernel(*mut c_void),
}

impl Code {
    /// The library's object: it takes a kernel where it takes a function (CUDA Driver API, cuLaunchKernel).
    pub fn object(self) -> *mut c_void {
        match self {
            Code::Function(object) | Code::Kernel(object) => object,
        }
    }
}

impl Cuda {
    /// The function or kernel that a handle stands for.
    pub(super) fn code(&self, handle: Handle) -> Result<Code, Failure> {
        match handle.kind() {
            Some(number) if number == kind::CUfunction.number => {
                self.handle(kind::CUfunction, handle).map(Code::Function)
            }
            Some(number) if number == kind::CUkernel.number => self.handle(kind::CUkernel, handle).map(Code::Kernel),
            _ => Err(Failure::Status(CUDA_ERROR_INVALID_HANDLE)),
        }
    }

    /// Does something with what a launch needs to know of what it launches. Each thread remembers that of its last ones.
    pub(super) fn with_launchable<T>(
        &self,
        handle: Handle,
        does: impl FnOnce(Code, &Layout) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let ends = self.objects.ends();
        RECENT.with(|recent| {
            let place = &recent[handle.index() as usize % RECENT_LAUNCHES];
            // Taken out meanwhile, rather than counted.
            let kept = place.take().filter(|(of, at, ..)| *of == handle && *at == ends);
            let found = match kept {
                Some(found) => found,
                None => {
                    let code = self.code(handle)?;
                    (handle, ends, code, self.layout(handle, code)?)
                }
            };
            let result = does(found.2, &found.3);
            place.set(Some(found));
            result
        })
    }

    /// The layout of a function's parameters, asked once.
    pub(super) fn layout(&self, handle: Handle, code: Code) -> Result<Arc<Layout>, Failure> {
        if let Some(layout) = self.layouts.read().unwrap_or_else(PoisonError::into_inner).get(&handle) {
            return Ok(Arc::clone(layout));
        }
        let (parameters, bytes) = self.ask_parameters(code);
        let layout = Arc::new(Layout { parameters, bytes, local: self.ask_local(code) });
        match self.layouts.write().unwrap_or_else(PoisonError::into_inner).entry(handle) {
            Entry::Occupied(first) => Ok(Arc::clone(first.get())),
            Entry::Vacant(place) => Ok(Arc::clone(place.insert(layout))),
        }
    }

    /// Local memory of a function. A kernel is loaded for the current context, as its first launch would do.
    fn ask_local(&self, code: Code) -> Local {
        Local::known(|value| {
            let function = match code {
                Code::Function(function) => function,
                Code::Kernel(kernel) => {
                    let mut function = std::ptr::null_mut();
                    // SAFETY: the kernel lives, and the pointer is to a live variable.
                    let status = unsafe { self.library.cuKernelGetFunction?(&raw mut function, kernel) };
                    if status != 0 {
                        // No context is current: as on the first device.
                        // SAFETY: as above.
                        return Some(unsafe { self.library.cuKernelGetAttribute?(value, LOCAL_BYTES, kernel, 0) });
                    }
                    function
                }
            };
            // SAFETY: the function lives, and the caller's variable too.
            Some(unsafe { self.library.cuFuncGetAttribute?(value, LOCAL_BYTES, function) })
        })
    }

    /// Where the parameters lie in the packed block, and its bytes.
    fn ask_parameters(&self, code: Code) -> (Option<Vec<(usize, usize)>>, usize) {
        let (ask, object) = match code {
            Code::Function(object) => (self.library.cuFuncGetParamInfo, object),
            Code::Kernel(object) => (self.library.cuKernelGetParamInfo, object),
        };
        let Some(ask) = ask else { return (None, 0) };
        let (mut parameters, mut bytes) = (Vec::new(), 0);
        while parameters.len() <= MAX_PARAMETERS {
            let (mut offset, mut size) = (0usize, 0usize);
            // SAFETY: the function lives, the pointers are to live variables. Past the last parameter the call refuses.
            if unsafe { ask(object, parameters.len(), &raw mut offset, &raw mut size) } != 0 {
                return (Some(parameters), bytes);
            }
            bytes = bytes.max(offset.saturating_add(size));
            parameters.push((offset, size));
        }
        (None, 0)
    }

    /// `gpuferryFunctionFacts`: see the spec for the layout.
    pub(super) fn gpuferryFunctionFacts(
        &self,
        _from: &FrameHeader,
        handle: Handle,
        dev: i32,
        facts: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let code = self.code(handle)?;
        for attribute in 0..ATTRIBUTES {
            let mut value = 0i32;
            let status = match code {
                Code::Function(function) => {
                    let call = function!(self, cuFuncGetAttribute)?;
                    // SAFETY: the function lives, the pointer is to a live variable; an unknown attribute is refused.
                    unsafe { call(&raw mut value, attribute, function) }
                }
                Code::Kernel(kernel) => {
                    let call = function!(self, cuKernelGetAttribute)?;
                    // SAFETY: the kernel lives, the pointer is to a live variable; an unknown attribute is refused.
                    unsafe { call(&raw mut value, attribute, kernel, dev) }
                }
            };
            facts.extend_from_slice(&status.to_le_bytes());
            facts.extend_from_slice(&value.to_le_bytes());
        }
        let layout = self.layout(handle, code)?;
        let Some(parameters) = &layout.parameters else {
            facts.extend_from_slice(&u32::MAX.to_le_bytes());
            return Ok(());
        };
        let short = |number: usize| u32::try_from(number).map_err(|_| Malformed::new("a parameter past 4 GiB"));
        facts.extend_from_slice(&short(parameters.len())?.to_le_bytes());
        for (offset, size) in parameters {
            facts.extend_from_slice(&short(*offset)?.to_le_bytes());
            facts.extend_from_slice(&short(*size)?.to_le_bytes());
        }
        Ok(())
    }
}
