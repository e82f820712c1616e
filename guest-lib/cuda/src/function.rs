//! Functions and kernels: what the guest knows of them. Attributes and the layout of the parameters are asked for once, at the
//! first use, and kept; after that no call here waits, but for those that set an attribute.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::context::{self, Context};
use crate::device::{self, Device};
use crate::generated::{Kind, kind, send};
use crate::handles::{self, Facts, Handle};
use crate::program::Out;
use crate::status::{
    CUDA_ERROR_FUNCTION_NOT_LOADED, CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_UNKNOWN,
};
use crate::steps::Steps;
use core::ffi::c_char;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use rt::{Malformed, Reader};
use std::ffi::CString;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Attributes of a function (`CUfunction_attribute`): 0 to this, exclusive.
pub const ATTRIBUTES: usize = 16;
/// Number of parameters of a function whose host cannot tell them (before CUDA 12.4).
const UNTOLD: u32 = u32::MAX;
/// `CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK`.
const MAX_THREADS: usize = 0;
/// `CU_FUNC_ATTRIBUTE_NUM_REGS`.
const REGISTERS: usize = 4;
/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
const MAX_SHARED: usize = 8;

/// Where a parameter lies in the packed buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// First byte.
    pub offset: u32,
    /// Length in bytes.
    pub bytes: u32,
}

/// What the host says of a function.
#[derive(Debug)]
pub struct Layout {
    attributes: [(CUresult, AtomicI32); ATTRIBUTES],
    /// The parameters, in order.
    pub parameters: Box<[Parameter]>,
    /// Bytes of the packed buffer.
    pub parameter_bytes: usize,
    /// Shapes of block that the driver has launched ([`shape`]); 0 where there is none yet.
    tried: [AtomicU64; SHAPES],
}

/// Shapes of block of a function whose first launch is waited for.
const SHAPES: usize = 4;

/// A shape of block with its dynamic shared memory, as one number that is not 0: each axis has at most 1,024 threads.
fn shape(block: [u32; 3], shared: u32) -> u64 {
    let [x, y, z] = block.map(|threads| u64::from(threads & 0x7ff));
    x | y << 11 | z << 22 | u64::from(shared) << 33
}

impl Layout {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Layout, Malformed> {
        let mut attributes = [const { (0, AtomicI32::new(0)) }; ATTRIBUTES];
        for (status, value) in &mut attributes {
            *status = reader.u32()? as i32;
            *value = AtomicI32::new(reader.u32()? as i32);
        }
        let count = reader.u32()?;
        if count == UNTOLD {
            return Err(Malformed::new("a function whose parameters the host cannot tell"));
        }
        let mut parameters = Vec::new();
        let mut parameter_bytes = 0;
        for _ in 0..count {
            let parameter = Parameter { offset: reader.u32()?, bytes: reader.u32()? };
            let end =
                parameter.offset.checked_add(parameter.bytes).ok_or(Malformed::new("a parameter past all bounds"))?;
            parameter_bytes = parameter_bytes.max(end as usize);
            parameters.push(parameter);
        }
        let tried = [const { AtomicU64::new(0) }; SHAPES];
        Ok(Layout { attributes, parameters: parameters.into_boxed_slice(), parameter_bytes, tried })
    }

    /// Whether a launch of this shape need not be waited for: one was made, or as many others were.
    #[inline]
    #[must_use]
    pub fn is_tried(&self, block: [u32; 3], shared: u32) -> bool {
        let shape = shape(block, shared);
        self.tried.iter().any(|tried| tried.load(Ordering::Relaxed) == shape)
            || self.tried.last().is_none_or(|last| last.load(Ordering::Relaxed) != 0)
    }

    /// A launch of this shape was made.
    pub fn tried(&self, block: [u32; 3], shared: u32) {
        let shape = shape(block, shared);
        for place in &self.tried {
            let was = place.compare_exchange(0, shape, Ordering::Relaxed, Ordering::Relaxed);
            if was.is_ok() || was == Err(shape) {
                return;
            }
        }
    }

    fn is_loaded(&self) -> bool {
        self.attributes.iter().all(|(status, _)| *status != CUDA_ERROR_FUNCTION_NOT_LOADED)
    }

    fn number(&self, index: usize) -> u32 {
        self.attributes.get(index).map_or(0, |(_, value)| value.load(Ordering::Relaxed).max(0) as u32)
    }

    /// Most threads of a block.
    #[inline]
    #[must_use]
    pub fn threads(&self) -> u32 {
        self.number(MAX_THREADS)
    }

    /// Registers of a thread.
    #[must_use]
    pub fn registers(&self) -> u32 {
        self.number(REGISTERS)
    }

    /// Most bytes of dynamic shared memory, as set.
    #[inline]
    #[must_use]
    pub fn shared(&self) -> u32 {
        self.number(MAX_SHARED)
    }

    fn attribute(&self, attribute: i32) -> Result<i32, CUresult> {
        let index = usize::try_from(attribute).map_err(|_| CUDA_ERROR_INVALID_VALUE)?;
        match self.attributes.get(index) {
            Some((0, value)) => Ok(value.load(Ordering::Relaxed)),
            Some((status, _)) => Err(*status),
            None => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn set(&self, attribute: i32, value: i32) {
        if let Some((_, place)) = usize::try_from(attribute).ok().and_then(|index| self.attributes.get(index)) {
            place.store(value, Ordering::Relaxed);
        }
    }

    fn parameter(&self, index: usize) -> Result<Parameter, CUresult> {
        self.parameters.get(index).copied().ok_or(CUDA_ERROR_INVALID_VALUE)
    }
}

fn ask(caller: &Caller, handle: Handle, device: i32) -> Result<Layout, CUresult> {
    let mut bytes = Vec::new();
    caller::answer(send::gpuferryFunctionFacts(caller, handle, device, &mut bytes))?;
    Layout::read(&mut Reader::new(&bytes)).map_err(|_| CUDA_ERROR_UNKNOWN)
}

/// A function of a module.
pub struct Function {
    /// Its module.
    pub module: Handle,
    /// Its name.
    pub name: CString,
    /// The device of its context.
    device: i32,
    layout: OnceLock<Layout>,
    /// What launches in steps have set.
    steps: Mutex<Steps>,
}

// SAFETY: facts of functions, and nothing else has this kind.
unsafe impl Facts for Function {
    const KIND: Kind = kind::CUfunction;
}

impl Function {
    /// A function of its module's context; of the current one where it has no module, or that is a library's.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_CONTEXT`.
    pub fn new(module: Handle, name: CString) -> Result<Function, CUresult> {
        let of_module = if module.is_null() { None } else { handles::facts::<Context>(handles::owner(module)) };
        let context = of_module.map_or_else(context::current_context, Ok)?;
        Ok(Function { module, name, device: context.device, layout: OnceLock::new(), steps: Mutex::default() })
    }

    /// What is known of the function; at the first use the host is asked. A function whose code was not brought to the device yet
    /// (a module's that enumerates its functions lazily) is loaded for that.
    fn layout(&self, handle: Handle) -> Result<&Layout, CUresult> {
        if let Some(layout) = self.layout.get() {
            return Ok(layout);
        }
        let caller = caller::enter()?;
        let mut layout = ask(&caller, handle, self.device)?;
        if !layout.is_loaded() {
            caller::answer(send::cuFuncLoad(&caller, handle))?;
            layout = ask(&caller, handle, self.device)?;
        }
        Ok(self.layout.get_or_init(|| layout))
    }

    /// An attribute, which a function that is not loaded has not.
    fn attribute(&self, handle: Handle, attribute: i32) -> Result<i32, CUresult> {
        if let Some(layout) = self.layout.get() {
            return layout.attribute(attribute);
        }
        let layout = ask(&caller::enter()?, handle, self.device)?;
        if layout.is_loaded() {
            self.layout.get_or_init(|| layout).attribute(attribute)
        } else {
            layout.attribute(attribute)
        }
    }
}

/// A kernel of a library: a function on every device.
pub struct Kernel {
    /// Its library.
    pub library: Handle,
    /// Its name.
    pub name: CString,
    layouts: Box<[OnceLock<Layout>]>,
    /// Its function in each context that asked for it.
    functions: Mutex<Vec<(Handle, Handle)>>,
}

// SAFETY: facts of kernels, and nothing else has this kind.
unsafe impl Facts for Kernel {
    const KIND: Kind = kind::CUkernel;
}

impl Kernel {
    /// A kernel.
    #[must_use]
    pub fn new(library: Handle, name: CString) -> Kernel {
        let layouts = device::all().iter().map(|_| OnceLock::new()).collect();
        Kernel { library, name, layouts, functions: Mutex::new(Vec::new()) }
    }

    /// Its library was unloaded: ends its functions.
    pub fn end(&self) {
        for (_, function) in self.functions.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            handles::discard(function);
        }
    }

    fn layout(&self, handle: Handle, device: i32) -> Result<&Layout, CUresult> {
        device::get(device)?;
        let place = self.layouts.get(device as usize).ok_or(CUDA_ERROR_UNKNOWN)?;
        match place.get() {
            Some(layout) => Ok(layout),
            None => {
                let layout = ask(&caller::enter()?, handle, device)?;
                Ok(place.get_or_init(|| layout))
            }
        }
    }
}

fn function(raw: u64) -> Result<(Handle, &'static Function), CUresult> {
    let handle = handles::of_kind(kind::CUfunction, raw)?;
    Ok((handle, handles::facts(handle).ok_or(CUDA_ERROR_INVALID_HANDLE)?))
}

fn kernel(raw: u64) -> Result<(Handle, &'static Kernel), CUresult> {
    let handle = handles::of_kind(kind::CUkernel, raw)?;
    Ok((handle, handles::facts(handle).ok_or(CUDA_ERROR_INVALID_HANDLE)?))
}

/// What a launch needs to know of what it launches: a function, or a kernel on the current device.
///
/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`, and the host's answer at the first use.
#[inline]
pub fn layout(raw: u64) -> Result<(Handle, &'static Layout, &'static Device), CUresult> {
    if Handle(raw).kind() == Some(kind::CUkernel.number) {
        let (handle, facts) = kernel(raw)?;
        let device = context::current_context()?.device;
        return Ok((handle, facts.layout(handle, device)?, device::get(device)?));
    }
    let (handle, facts) = function(raw)?;
    Ok((handle, facts.layout(handle)?, device::get(facts.device)?))
}

/// What launches in steps have set of a function.
///
/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn steps(raw: u64) -> Result<&'static Mutex<Steps>, CUresult> {
    Ok(&function(raw)?.1.steps)
}

/// The handle of a function, also where a kernel is meant.
///
/// # Errors
/// As [`layout`].
pub fn in_context(raw: u64) -> Result<Handle, CUresult> {
    if Handle(raw).kind() == Some(kind::CUkernel.number) { function_of(raw) } else { Ok(function(raw)?.0) }
}

/// The function of a kernel in the current context: made at the first call in each.
fn function_of(raw: u64) -> Result<Handle, CUresult> {
    let caller = caller::enter_context()?;
    let (handle, facts) = kernel(raw)?;
    let context = context::current();
    let mut functions = facts.functions.lock().unwrap_or_else(PoisonError::into_inner);
    functions.retain(|(_, function)| handles::is_live(*function));
    if let Some((_, function)) = functions.iter().find(|(of, _)| *of == context) {
        return Ok(*function);
    }
    let function = handles::made(kind::CUfunction, |function| send::cuKernelGetFunction(&caller, function, handle))?;
    handles::set_facts(function, Function::new(Handle::NULL, facts.name.clone())?);
    functions.push((context, function));
    Ok(function)
}

crate::export! {
    /// CUDA Driver API, cuFuncGetAttribute.
    extern "C" fn cuFuncGetAttribute(pi: Out<i32>, attrib: i32, hfunc: u64) {
        caller::session()?;
        pi.check()?;
        let (handle, facts) = function(hfunc)?;
        pi.set(facts.attribute(handle, attrib)?)
    }

    /// CUDA Driver API, cuFuncSetAttribute.
    extern "C" fn cuFuncSetAttribute(hfunc: u64, attrib: i32, value: i32) {
        let caller = caller::enter()?;
        let (handle, facts) = function(hfunc)?;
        let layout = facts.layout(handle)?;
        caller::answer(send::cuFuncSetAttribute(&caller, handle, attrib as u32, value))?;
        layout.set(attrib, value);
        Ok(())
    }

    /// CUDA Driver API, cuFuncSetCacheConfig: a hint.
    extern "C" fn cuFuncSetCacheConfig(hfunc: u64, config: u32) {
        let caller = caller::enter()?;
        caller::answer(send::cuFuncSetCacheConfig(&caller, function(hfunc)?.0, config))
    }

    /// CUDA Driver API, cuFuncSetSharedMemConfig: a hint.
    extern "C" fn cuFuncSetSharedMemConfig(hfunc: u64, config: u32) {
        let caller = caller::enter()?;
        caller::answer(send::cuFuncSetSharedMemConfig(&caller, function(hfunc)?.0, config))
    }

    /// CUDA Driver API, cuFuncGetName.
    extern "C" fn cuFuncGetName(name: Out<*const c_char>, hfunc: u64) {
        caller::session()?;
        name.check()?;
        if hfunc == 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        name.set(function(hfunc)?.1.name.as_ptr())
    }

    /// CUDA Driver API, cuFuncGetModule.
    extern "C" fn cuFuncGetModule(hmod: Out<u64>, hfunc: u64) {
        caller::session()?;
        hmod.check()?;
        let module = function(hfunc)?.1.module;
        if module.is_null() {
            return Err(crate::counts::unsupported("cuFuncGetModule of a kernel's function"));
        }
        hmod.set(module.0)
    }

    /// CUDA Driver API, cuFuncGetParamInfo.
    extern "C" fn cuFuncGetParamInfo(func: u64, paramIndex: usize, paramOffset: Out<usize>, paramSize: Out<usize>) {
        caller::session()?;
        paramOffset.check()?;
        let (handle, facts) = function(func)?;
        let parameter = facts.layout(handle)?.parameter(paramIndex)?;
        paramSize.set_if_wanted(parameter.bytes as usize);
        paramOffset.set(parameter.offset as usize)
    }

    /// CUDA Driver API, cuKernelGetFunction.
    extern "C" fn cuKernelGetFunction(pFunc: Out<u64>, kernel: u64) {
        pFunc.check()?;
        pFunc.set(function_of(kernel)?.0)
    }

    /// CUDA Driver API, cuKernelGetAttribute.
    extern "C" fn cuKernelGetAttribute(pi: Out<i32>, attrib: i32, kernel: u64, dev: i32) {
        caller::session()?;
        pi.check()?;
        let (handle, facts) = self::kernel(kernel)?;
        pi.set(facts.layout(handle, dev)?.attribute(attrib)?)
    }

    /// CUDA Driver API, cuKernelSetAttribute.
    extern "C" fn cuKernelSetAttribute(attrib: i32, val: i32, kernel: u64, dev: i32) {
        let caller = caller::enter()?;
        let (handle, facts) = self::kernel(kernel)?;
        let layout = facts.layout(handle, dev)?;
        caller::answer(send::cuKernelSetAttribute(&caller, attrib as u32, val, handle, dev))?;
        layout.set(attrib, val);
        for (_, function) in facts.functions.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let facts = handles::facts::<Function>(*function).filter(|facts| facts.device == dev);
            if let Some(layout) = facts.and_then(|facts| facts.layout.get()) {
                layout.set(attrib, val);
            }
        }
        Ok(())
    }

    /// CUDA Driver API, cuKernelGetName.
    extern "C" fn cuKernelGetName(name: Out<*const c_char>, hfunc: u64) {
        caller::session()?;
        name.check()?;
        if hfunc == 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        name.set(kernel(hfunc)?.1.name.as_ptr())
    }

    /// CUDA Driver API, cuKernelGetLibrary.
    extern "C" fn cuKernelGetLibrary(pLib: Out<u64>, kernel: u64) {
        caller::session()?;
        pLib.check()?;
        pLib.set(self::kernel(kernel)?.1.library.0)
    }

    /// CUDA Driver API, cuKernelGetParamInfo.
    extern "C" fn cuKernelGetParamInfo(
        kernel: u64, paramIndex: usize, paramOffset: Out<usize>, paramSize: Out<usize>,
    ) {
        caller::session()?;
        paramOffset.check()?;
        let (handle, facts) = self::kernel(kernel)?;
        let device = context::current_device();
        let parameter = facts.layout(handle, device)?.parameter(paramIndex)?;
        paramSize.set_if_wanted(parameter.bytes as usize);
        paramOffset.set(parameter.offset as usize)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A layout as the host would send it.
    pub fn layout(attributes: &[(usize, i32)], parameters: &[(u32, u32)]) -> Layout {
        let mut words = vec![0i32; 2 * ATTRIBUTES];
        for (index, value) in attributes {
            words[2 * index + 1] = *value;
        }
        words.push(parameters.len() as i32);
        words.extend(parameters.iter().flat_map(|(offset, bytes)| [*offset as i32, *bytes as i32]));
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Layout::read(&mut Reader::new(&bytes)).expect("well-formed")
    }

    #[test]
    fn layout_when_read_then_knows_attributes_and_parameters() {
        let layout = layout(&[(0, 1024), (4, 10), (8, 49152)], &[(0, 8), (8, 4), (12, 1), (16, 8)]);
        assert_eq!((layout.threads(), layout.registers(), layout.shared()), (1024, 10, 49152));
        assert_eq!(layout.parameter_bytes, 24);
        assert_eq!(layout.parameter(2), Ok(Parameter { offset: 12, bytes: 1 }));
        assert_eq!(layout.parameter(4), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(layout.attribute(16), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(layout.attribute(-1), Err(CUDA_ERROR_INVALID_VALUE));
    }

    #[test]
    fn layout_when_the_host_lies_about_bounds_then_is_refused() {
        let mut bytes = vec![0u8; 8 * ATTRIBUTES];
        bytes.extend([1u32, u32::MAX, 8].iter().flat_map(|word| word.to_le_bytes()));
        assert!(Layout::read(&mut Reader::new(&bytes)).is_err());
        assert!(Layout::read(&mut Reader::new(&bytes[..40])).is_err());
    }
}
