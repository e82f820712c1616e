//! Modules and libraries: images travel whole, functions and kernels get a handle once a name. What unloading ends, ends here too.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::function::{Function, Kernel};
use crate::generated::{Kind, PointerFacts, kind, send};
use crate::handles::{self, Facts, Handle};
use crate::image;
use crate::jit::{self, Options};
use crate::managed;
use crate::program::{In, Out, Text};
use crate::ranges::{self, Range};
use crate::status::{CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE};
use core::ffi::{CStr, c_void};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

/// Functions of a module, or kernels of a library, by name.
#[derive(Default)]
pub struct Names(Mutex<HashMap<CString, Handle>>);

impl Names {
    fn get(&self, name: &CStr) -> Option<Handle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// Adds a handle; where another thread was first, its handle stays and is returned.
    fn add(&self, name: CString, handle: Handle) -> Handle {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert(handle)
    }

    /// Ends all of them.
    fn end(&self) {
        for handle in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, handle)| handle) {
            if let Some(kernel) = handles::facts::<Kernel>(handle) {
                kernel.end();
            }
            handles::discard(handle);
        }
    }
}

/// What the guest knows of a module.
#[derive(Default)]
pub struct Module {
    functions: Names,
}

/// What the guest knows of a library.
#[derive(Default)]
pub struct Library {
    kernels: Names,
    /// Its module in each context that asked for it.
    modules: Mutex<Vec<(Handle, Handle)>>,
}

// SAFETY: facts of modules, and nothing else has this kind.
unsafe impl Facts for Module {
    const KIND: Kind = kind::CUmodule;
}

// SAFETY: facts of libraries, and nothing else has this kind.
unsafe impl Facts for Library {
    const KIND: Kind = kind::CUlibrary;
}

/// A module or library was unloaded: ends the handles of what was in it.
pub fn unloaded(handle: Handle) {
    if let Some(module) = handles::facts::<Module>(handle) {
        module.functions.end();
    }
    if let Some(library) = handles::facts::<Library>(handle) {
        library.kernels.end();
        for (_, module) in library.modules.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            unloaded(module);
            handles::discard(module);
        }
    }
}

/// What comes back from a load.
#[derive(Default)]
struct Loaded {
    wall_time: f32,
    info: Vec<u8>,
    error: Vec<u8>,
}

/// Loads an image as an object of a kind, also one in a wrapper where that is told; `send` makes the call.
fn load(
    caller: &Caller,
    kind: Kind,
    (code, wrapped): (*const c_void, bool),
    options: &Options,
    send: impl FnOnce(Handle, rt::Buffer<'_>, &mut Loaded) -> CUresult,
) -> Result<Handle, CUresult> {
    // SAFETY: the program's image, complete by its own headers (CUDA Driver API, cuModuleLoadData).
    let image = unsafe { image::whole(code, wrapped) }?;
    let handle = handles::new(kind)?;
    let mut loaded = Loaded::default();
    // SAFETY: the bytes live until the end of this function.
    let status =
        unsafe { caller::input(caller, image.as_ptr(), image.len(), |buffer| send(handle, buffer, &mut loaded)) };
    options.fill(&loaded.info, &loaded.error, loaded.wall_time);
    if status != 0 {
        handles::discard(handle);
        return Err(status);
    }
    Ok(handle)
}

fn load_module(out: Out<u64>, code: *const c_void, options: &Options) -> Result<(), CUresult> {
    load_as_module(out, (code, false), options)
}

/// A module of what nvcc puts into programs: a fat binary, in its wrapper or without.
///
/// # Errors
/// As cuModuleLoadData.
pub fn load_wrapped(out: Out<u64>, code: *const c_void) -> Result<(), CUresult> {
    load_as_module(out, (code, true), &Options::none())
}

fn load_as_module(out: Out<u64>, code: (*const c_void, bool), options: &Options) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    out.check()?;
    let handle = load(&caller, kind::CUmodule, code, options, |handle, image, back| {
        let Loaded { wall_time, info, error } = back;
        send::gpuferryModuleLoad(&caller, handle, image, &options.bytes, wall_time, info, error)
    })?;
    handles::set_facts(handle, Module::default());
    out.set(handle.0)
}

fn load_library(out: Out<u64>, code: *const c_void, options: &Options) -> Result<(), CUresult> {
    let caller = caller::enter()?;
    out.check()?;
    let handle = load(&caller, kind::CUlibrary, (code, true), options, |handle, image, back| {
        let Loaded { wall_time, info, error } = back;
        // Options of the library say how long the program keeps the image, and where it has tables of its own: the worker has
        // an image of its own, and no such tables.
        send::gpuferryLibraryLoad(&caller, handle, image, &options.bytes, &[], wall_time, info, error)
    })?;
    handles::set_facts(handle, Library::default());
    out.set(handle.0)
}

fn module(raw: u64) -> Result<(Handle, &'static Module), CUresult> {
    let handle = handles::of_kind(kind::CUmodule, raw)?;
    Ok((handle, handles::facts(handle).ok_or(CUDA_ERROR_INVALID_HANDLE)?))
}

fn library(raw: u64) -> Result<(Handle, &'static Library), CUresult> {
    let handle = handles::of_kind(kind::CUlibrary, raw)?;
    Ok((handle, handles::facts(handle).ok_or(CUDA_ERROR_INVALID_HANDLE)?))
}

/// The text of a name that a function looks up.
fn name_of<'a>(name: Text) -> Result<&'a CStr, CUresult> {
    let name = name.get()?;
    if name.is_empty() { Err(CUDA_ERROR_INVALID_VALUE) } else { Ok(name) }
}

fn add_function(caller: &Caller, of: (Handle, &Module), name: &CStr) -> Result<Handle, CUresult> {
    if let Some(function) = of.1.functions.get(name) {
        return Ok(function);
    }
    let function = handles::made(kind::CUfunction, |handle| send::cuModuleGetFunction(caller, handle, of.0, name))?;
    handles::set_facts(function, Function::new(of.0, name.to_owned())?);
    Ok(of.1.functions.add(name.to_owned(), function))
}

fn add_kernel(caller: &Caller, of: (Handle, &Library), name: &CStr) -> Result<Handle, CUresult> {
    if let Some(kernel) = of.1.kernels.get(name) {
        return Ok(kernel);
    }
    let kernel = handles::made(kind::CUkernel, |handle| send::cuLibraryGetKernel(caller, handle, of.0, name))?;
    handles::set_facts(kernel, Kernel::new(of.0, name.to_owned()));
    Ok(of.1.kernels.add(name.to_owned(), kernel))
}

/// The functions of a module, at most so many.
///
/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`, and the host's answers.
pub fn functions(raw: u64, most: u32) -> Result<Vec<Handle>, CUresult> {
    let caller = caller::enter_context()?;
    let of = module(raw)?;
    let mut count = 0;
    caller::answer(send::cuModuleGetFunctionCount(&caller, &mut count, of.0))?;
    let one = |number| {
        let mut name = Vec::new();
        let send = |handle| send::gpuferryModuleFunction(&caller, handle, of.0, number, &mut name);
        let function = handles::made(kind::CUfunction, send)?;
        let name = CString::new(name).map_err(|_| CUDA_ERROR_INVALID_VALUE)?;
        handles::set_facts(function, Function::new(of.0, name.clone())?);
        Ok(of.1.functions.add(name, function))
    };
    (0..count.min(most)).map(one).collect()
}

/// Gives out a variable of `owner`, and remembers its address. A managed one gets memory here; where it is not said to be one,
/// the host is asked.
fn variable(
    caller: &Caller,
    dptr: Out<u64>,
    bytes: Out<usize>,
    found: (u64, usize),
    owner: Handle,
    is_managed: bool,
) -> Result<(), CUresult> {
    if dptr.0.is_null() && bytes.0.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let (address, size) = found;
    let known = ranges::find(address).filter(|range| range.start == address && range.bytes == size as u64);
    if known.is_none() && size != 0 {
        let mut facts = PointerFacts::default();
        let status = if is_managed { 0 } else { send::gpuferryPointerFacts(caller, address, &mut facts) };
        let is_managed = is_managed || (status == 0 && facts.status == 0 && facts.isManaged != 0);
        let kind = if is_managed { ranges::Kind::ManagedVariable } else { ranges::Kind::Variable };
        ranges::insert(Range::new(address, size as u64, kind, 0));
    }
    if managed::is_variable(address) {
        managed::adopt(caller, address, size, owner)?;
    }
    dptr.set_if_wanted(address);
    bytes.set_if_wanted(size);
    Ok(())
}

crate::export! {
    /// CUDA Driver API, cuLibraryGetUnifiedFunction: of code that program and device share, which no device has that does not say so by
    /// its attribute.
    extern "C" fn cuLibraryGetUnifiedFunction(fptr: Out<*mut c_void>, library: u64, symbol: Text) {
        caller::enter_context()?;
        fptr.check()?;
        self::library(library)?;
        symbol.get()?;
        Err(CUDA_ERROR_INVALID_VALUE)
    }

    /// CUDA Driver API, cuModuleLoadData.
    extern "C" fn cuModuleLoadData | extern "C" fn cuModuleLoadFatBinary(module: Out<u64>, image: *const c_void) {
        load_module(module, image, &Options::none())
    }

    /// CUDA Driver API, cuModuleLoadDataEx.
    extern "C" fn cuModuleLoadDataEx(
        module: Out<u64>, image: *const c_void, numOptions: u32, options: In<u32>, optionValues: In<usize>,
    ) {
        load_module(module, image, &Options::read(numOptions, options, optionValues)?)
    }

    /// CUDA Driver API, cuModuleLoad.
    extern "C" fn cuModuleLoad(module: Out<u64>, fname: Text) {
        caller::enter_context()?;
        module.check()?;
        let file = jit::read_file(fname.get()?)?;
        load_module(module, jit::pointer(&file), &Options::none())
    }

    /// CUDA Driver API, cuModuleGetFunction: the same function for the same name.
    extern "C" fn cuModuleGetFunction(hfunc: Out<u64>, hmod: u64, name: Text) {
        let caller = caller::enter_context()?;
        hfunc.check()?;
        hfunc.set(add_function(&caller, module(hmod)?, name_of(name)?)?.0)
    }

    /// CUDA Driver API, cuModuleGetGlobal.
    extern "C" fn cuModuleGetGlobal_v2(dptr: Out<u64>, bytes: Out<usize>, hmod: u64, name: Text) {
        let caller = caller::enter_context()?;
        let (mut address, mut size) = (0, 0);
        let of = module(hmod)?.0;
        caller::answer(send::cuModuleGetGlobal_v2(&caller, &mut address, &mut size, of, name_of(name)?))?;
        variable(&caller, dptr, bytes, (address, size), of, false)
    }

    /// CUDA Driver API, cuModuleEnumerateFunctions.
    extern "C" fn cuModuleEnumerateFunctions(functions: Out<u64>, numFunctions: u32, r#mod: u64) {
        functions.check()?;
        for (index, function) in self::functions(r#mod, numFunctions)?.into_iter().enumerate() {
            functions.at(index).set(function.0)?;
        }
        Ok(())
    }

    /// CUDA Driver API, cuModuleGetLoadingMode: lazy, as is the default.
    extern "C" fn cuModuleGetLoadingMode(mode: Out<u32>) {
        caller::session()?;
        mode.set(2)
    }

    /// CUDA Driver API, cuLibraryLoadData.
    extern "C" fn cuLibraryLoadData(
        library: Out<u64>, code: *const c_void, jitOptions: In<u32>, jitOptionsValues: In<usize>, numJitOptions: u32,
        _libraryOptions: In<u32>, _libraryOptionValues: In<usize>, _numLibraryOptions: u32,
    ) {
        load_library(library, code, &Options::read(numJitOptions, jitOptions, jitOptionsValues)?)
    }

    /// CUDA Driver API, cuLibraryLoadFromFile.
    extern "C" fn cuLibraryLoadFromFile(
        library: Out<u64>, fileName: Text, jitOptions: In<u32>, jitOptionsValues: In<usize>, numJitOptions: u32,
        _libraryOptions: In<u32>, _libraryOptionValues: In<usize>, _numLibraryOptions: u32,
    ) {
        caller::enter()?;
        let options = Options::read(numJitOptions, jitOptions, jitOptionsValues)?;
        let file = jit::read_file(fileName.get()?)?;
        load_library(library, jit::pointer(&file), &options)
    }

    /// CUDA Driver API, cuLibraryGetKernel: the same kernel for the same name.
    extern "C" fn cuLibraryGetKernel(pKernel: Out<u64>, library: u64, name: Text) {
        let caller = caller::enter()?;
        pKernel.check()?;
        pKernel.set(add_kernel(&caller, self::library(library)?, name_of(name)?)?.0)
    }

    /// CUDA Driver API, cuLibraryEnumerateKernels.
    extern "C" fn cuLibraryEnumerateKernels(kernels: Out<u64>, numKernels: u32, lib: u64) {
        let caller = caller::enter()?;
        kernels.check()?;
        let of = library(lib)?;
        let mut count = 0;
        caller::answer(send::cuLibraryGetKernelCount(&caller, &mut count, of.0))?;
        for number in 0..count.min(numKernels) {
            let mut name = Vec::new();
            let kernel =
                handles::made(kind::CUkernel, |handle| send::gpuferryLibraryKernel(&caller, handle, of.0, number, &mut name))?;
            let name = CString::new(name).map_err(|_| CUDA_ERROR_INVALID_VALUE)?;
            handles::set_facts(kernel, Kernel::new(of.0, name.clone()));
            kernels.at(number as usize).set(of.1.kernels.add(name, kernel).0)?;
        }
        Ok(())
    }

    /// CUDA Driver API, cuLibraryGetModule: made at the first call in each context.
    extern "C" fn cuLibraryGetModule(pMod: Out<u64>, library: u64) {
        let caller = caller::enter_context()?;
        pMod.check()?;
        let of = self::library(library)?;
        let context = crate::context::current();
        let mut modules = of.1.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.retain(|(_, module)| handles::is_live(*module));
        if let Some((_, module)) = modules.iter().find(|(made_in, _)| *made_in == context) {
            return pMod.set(module.0);
        }
        let module = handles::made(kind::CUmodule, |handle| send::cuLibraryGetModule(&caller, handle, of.0))?;
        handles::set_facts(module, Module::default());
        modules.push((context, module));
        pMod.set(module.0)
    }

    /// CUDA Driver API, cuLibraryGetGlobal.
    extern "C" fn cuLibraryGetGlobal(dptr: Out<u64>, bytes: Out<usize>, library: u64, name: Text) {
        let caller = caller::enter_context()?;
        let (mut address, mut size) = (0, 0);
        let of = self::library(library)?.0;
        caller::answer(send::cuLibraryGetGlobal(&caller, &mut address, &mut size, of, name_of(name)?))?;
        variable(&caller, dptr, bytes, (address, size), of, false)
    }

    /// CUDA Driver API, cuLibraryGetManaged: a managed variable, which is the same in every context.
    extern "C" fn cuLibraryGetManaged(dptr: Out<u64>, bytes: Out<usize>, library: u64, name: Text) {
        let caller = caller::enter()?;
        let (mut address, mut size) = (0, 0);
        let of = self::library(library)?.0;
        caller::answer(send::cuLibraryGetManaged(&caller, &mut address, &mut size, of, name_of(name)?))?;
        variable(&caller, dptr, bytes, (address, size), of, true)
    }
}
