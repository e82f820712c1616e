//! Modules, libraries, and the functions and kernels in them.
//!
//! A module belongs to a context: its variables have addresses there. A library belongs to none and makes a module in each
//! context it is used in. Text is checked when it is loaded; a kernel is compiled when it is first launched.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::arena::{Kind, Owner};
use crate::context::Context;
use crate::driver;
use crate::engine::{self, CompileErrorKind, FunctionInfo, Space, Target};
use crate::handle::{Handle, Object, object};
use crate::status::{Answer, Status};
use crate::surface::SurfaceReference;
use crate::texture::TextureReference;
use crate::work::lock;

/// Shared memory a block gets without asking for more.
pub const PLAIN_SHARED: u32 = 48 << 10;
/// CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.
pub const MAX_DYNAMIC_SHARED: u32 = 8;

/// A variable of a module.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its address.
    pub address: u64,
    /// Its bytes.
    pub size: u64,
    /// Whether it is managed.
    pub managed: bool,
}

/// Code with its variables, in a context.
pub struct Module {
    /// Its own handle.
    pub handle: Handle<Module>,
    /// Its context.
    pub context: Arc<Context>,
    /// The engine's side.
    pub code: engine::Module,
    /// The library it was made from.
    pub library: Option<Handle<Library>>,
    variables: BTreeMap<String, Variable>,
    owned: Vec<u64>,
    functions: Mutex<HashMap<usize, Handle<Function>>>,
    references: Mutex<HashMap<usize, Handle<TextureReference>>>,
    surfaces: Mutex<HashMap<usize, Handle<SurfaceReference>>>,
    loaded: AtomicBool,
}

object!(Module, 4);

/// A kernel in a module.
pub struct Function {
    /// Its own handle.
    pub handle: Handle<Function>,
    /// Its module.
    pub module: Arc<Module>,
    /// Index in the engine's list.
    pub index: usize,
    /// Its name for C.
    pub name: CString,
    /// Most dynamic shared memory it may be launched with.
    pub max_dynamic_shared: AtomicU32,
    /// Other attributes that were set.
    pub attributes: Mutex<HashMap<u32, i32>>,
    /// What the old calls cuFuncSetBlockShape, cuParamSet* and so on have set.
    pub legacy: Mutex<LegacyLaunch>,
    compiled: OnceLock<Answer>,
}

object!(Function, 5);

/// Launch settings of the calls before CUDA 4.
#[derive(Clone, Debug, Default)]
pub struct LegacyLaunch {
    /// Threads along x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory.
    pub shared: u32,
    /// The parameter block so far.
    pub params: Vec<u8>,
}

/// Code that belongs to no context.
pub struct Library {
    /// Its own handle.
    pub handle: Handle<Library>,
    text: Vec<u8>,
    first: Mutex<Option<engine::Module>>,
    modules: Mutex<HashMap<u64, Arc<Module>>>,
    kernels: Mutex<HashMap<String, Handle<Kernel>>>,
    entries: Vec<FunctionInfo>,
    /// Why the code cannot be used: told when it is asked for, as a GPU's driver does.
    failed: Option<Status>,
    /// Managed variables by number: one address in all contexts, given when first asked for.
    managed: Vec<(usize, engine::GlobalInfo)>,
    managed_places: Mutex<Option<BTreeMap<usize, u64>>>,
}

object!(Library, 6);

/// A kernel of a library.
pub struct Kernel {
    /// Its own handle.
    pub handle: Handle<Kernel>,
    /// Its library.
    pub library: Arc<Library>,
    /// What is known of it.
    pub info: FunctionInfo,
    /// Its name for C.
    pub name: CString,
    /// Attributes that were set, for functions made of it later.
    pub attributes: Mutex<HashMap<u32, i32>>,
}

object!(Kernel, 7);

/// Compiles a text; `report` gets what is wrong with it, for a log of the program.
pub fn compile(texts: &[Vec<u8>], max_registers: u32, report: &mut String) -> Answer<(Vec<u8>, engine::Module)> {
    let options = engine::Options { max_registers, ..driver::initialised()?.compile_options() };
    let answer = match texts {
        // A limit becomes part of the image: what is linked keeps it.
        [one] if max_registers == 0 => engine::load(one, &options).map(|module| (one.clone(), module)),
        many => {
            let parts: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
            engine::link(&parts, &options).and_then(|text| engine::load(&text, &options).map(|module| (text, module)))
        }
    };
    answer.map_err(|error| {
        report.push_str(&format!("ptx error: {error}\n"));
        log::warn!("PTX refused: {error}");
        match (error.kind, texts.len()) {
            // With nothing to link, what is not there is a mistake of the text.
            (CompileErrorKind::UnresolvedSymbol | CompileErrorKind::DefinedTwice, 1) => Status::INVALID_PTX,
            (kind, _) => compile_status(kind),
        }
    })
}

/// The API's answer to a compile error.
pub fn compile_status(kind: CompileErrorKind) -> Status {
    match kind {
        CompileErrorKind::InvalidPtx => Status::INVALID_PTX,
        CompileErrorKind::UnsupportedPtxVersion => Status::UNSUPPORTED_PTX_VERSION,
        CompileErrorKind::OutOfResources => Status::OUT_OF_MEMORY,
        CompileErrorKind::UnresolvedSymbol | CompileErrorKind::DefinedTwice => Status::INVALID_SOURCE,
    }
}

impl Module {
    /// Gives a compiled text a place in a context.
    pub fn create(context: Arc<Context>, code: engine::Module, library: Option<&Library>) -> Answer<Arc<Module>> {
        context.check()?;
        let shared = library.map_or(Ok(BTreeMap::new()), Library::managed)?;
        let placed = place(&context, &code, &shared)?;
        let owned = placed.iter().enumerate().filter(|(index, _)| !shared.contains_key(index));
        let owned = owned.map(|(_, address)| *address).collect();
        let library = library.map(|library| library.handle);
        let named = |(info, address): (&engine::GlobalInfo, &u64)| {
            let variable = Variable { address: *address, size: info.size, managed: info.space == Space::Managed };
            info.visible.then(|| (info.name.clone(), variable))
        };
        let variables = code.globals().iter().zip(&placed).filter_map(named).collect();
        let (_, module) = Module::table().insert(|handle| Module {
            handle,
            context,
            code,
            library,
            variables,
            owned,
            functions: Mutex::default(),
            references: Mutex::default(),
            surfaces: Mutex::default(),
            loaded: AtomicBool::new(true),
        })?;
        Ok(module)
    }

    /// Whether it has not been unloaded.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Unloads it: handles go stale, variables are freed. Kernels that run keep the code.
    pub fn unload(&self) {
        if !self.loaded.swap(false, Ordering::AcqRel) {
            return;
        }
        let functions: Vec<_> = lock(&self.functions).drain().collect();
        for (_, function) in functions {
            // Stale already if the context is being emptied.
            let _ = function.take();
        }
        let references: Vec<_> = lock(&self.references).drain().collect();
        for (_, reference) in references {
            let _ = reference.take();
        }
        let surfaces: Vec<_> = lock(&self.surfaces).drain().collect();
        for (_, surface) in surfaces {
            let _ = surface.take();
        }
        let _ = self.handle.take();
        if let Ok(arena) = driver::arena() {
            for address in &self.owned {
                let _ = arena.free(*address, |_| true);
            }
        }
    }

    /// Indices of the kernels, in the order of the text.
    pub fn entries(&self) -> Vec<usize> {
        let all = self.code.functions().iter().enumerate();
        all.filter(|(_, info)| info.is_entry).map(|(index, _)| index).collect()
    }

    /// The kernel of this name.
    pub fn function(self: &Arc<Self>, name: &str) -> Answer<Handle<Function>> {
        let index = self.code.function(name).ok_or(Status::NOT_FOUND)?;
        self.function_at(index)
    }

    /// The kernel of this index.
    pub fn function_at(self: &Arc<Self>, index: usize) -> Answer<Handle<Function>> {
        let info = self.code.functions().get(index).filter(|info| info.is_entry).ok_or(Status::NOT_FOUND)?;
        let mut functions = lock(&self.functions);
        if let Some(handle) = functions.get(&index) {
            return Ok(*handle);
        }
        let name = CString::new(info.name.as_str()).map_err(|_| Status::NOT_FOUND)?;
        let (handle, _) = Function::table().insert(|handle| Function {
            handle,
            module: self.clone(),
            index,
            name,
            max_dynamic_shared: AtomicU32::new(PLAIN_SHARED.saturating_sub(info.static_shared_bytes)),
            attributes: Mutex::default(),
            legacy: Mutex::default(),
            compiled: OnceLock::new(),
        })?;
        functions.insert(index, handle);
        Ok(handle)
    }

    /// The variable of this name.
    pub fn variable(&self, name: &str) -> Answer<Variable> {
        self.variables.get(name).copied().ok_or(Status::NOT_FOUND)
    }

    /// The texture reference of this name.
    pub fn texture_reference(self: &Arc<Self>, name: &str) -> Answer<Handle<TextureReference>> {
        let index = self.code.textures().iter().position(|texture| texture == name).ok_or(Status::NOT_FOUND)?;
        let mut references = lock(&self.references);
        if let Some(handle) = references.get(&index) {
            return Ok(*handle);
        }
        let handle = TextureReference::create(Some((self.clone(), index)))?;
        references.insert(index, handle);
        Ok(handle)
    }

    /// The surface reference of this name.
    pub fn surface_reference(self: &Arc<Self>, name: &str) -> Answer<Handle<SurfaceReference>> {
        let index = self.code.surfaces().iter().position(|surface| surface == name).ok_or(Status::NOT_FOUND)?;
        let mut surfaces = lock(&self.surfaces);
        if let Some(handle) = surfaces.get(&index) {
            return Ok(*handle);
        }
        let handle = SurfaceReference::create(self.clone(), index)?;
        surfaces.insert(index, handle);
        Ok(handle)
    }
}

/// Allocates variables that have no place yet and writes their initial bytes; all or none.
fn allocate<'a>(infos: impl Iterator<Item = &'a engine::GlobalInfo>, owner: Owner) -> Answer<Vec<u64>> {
    let arena = driver::arena()?;
    let mut placed = Vec::new();
    for info in infos {
        let kind = if info.space == Space::Managed { Kind::ManagedVariable } else { Kind::Variable };
        match arena.allocate_aligned(info.size, info.align, kind, owner) {
            Ok(address) => placed.push(address),
            Err(status) => {
                for address in placed {
                    let _ = arena.free(address, |_| true);
                }
                return Err(status);
            }
        }
        let Some(address) = placed.last() else { continue };
        let size = info.size as usize;
        // SAFETY: allocated above with this size; nothing else knows the address yet.
        let bytes = unsafe { std::slice::from_raw_parts_mut(*address as *mut u8, size) };
        bytes.fill(0);
        let given = info.initial.len().min(size);
        if let (Some(to), Some(from)) = (bytes.get_mut(..given), info.initial.get(..given)) {
            to.copy_from_slice(from);
        }
    }
    Ok(placed)
}

/// Gives the variables their places, those in `shared` the ones they have already, and tells the engine.
fn place(context: &Arc<Context>, code: &engine::Module, shared: &BTreeMap<usize, u64>) -> Answer<Vec<u64>> {
    let own = code.globals().iter().enumerate().filter(|(index, _)| !shared.contains_key(index));
    let mut own = allocate(own.map(|(_, info)| info), context.owner())?.into_iter();
    let all = 0..code.globals().len();
    let placed: Vec<u64> = all.filter_map(|index| shared.get(&index).copied().or_else(|| own.next())).collect();
    for (index, info) in code.globals().iter().enumerate() {
        let Some(&address) = placed.get(index) else { continue };
        // SAFETY: allocated with this size; what may run meanwhile are kernels of other contexts on managed variables,
        // whose addresses inside do not change.
        let bytes = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, info.size as usize) };
        for relocation in &info.relocations {
            let base = match &relocation.target {
                Target::Global(other) => placed.get(*other).copied().unwrap_or(0),
                Target::Function(value) => *value,
            };
            let value = (base.wrapping_add_signed(relocation.addend) >> relocation.shift.min(63)).to_le_bytes();
            let width = usize::from(relocation.size).min(8);
            let at = relocation.offset as usize;
            if let Some(to) = at.checked_add(width).and_then(|end| bytes.get_mut(at..end)) {
                to.copy_from_slice(&value[..width]);
            }
        }
        code.bind_global(index, address);
    }
    Ok(placed)
}

impl Function {
    /// What the engine knows of it.
    pub fn info(&self) -> Answer<&FunctionInfo> {
        self.module.code.functions().get(self.index).ok_or(Status::INVALID_HANDLE)
    }

    /// Compiles it, the first time.
    pub fn ready(&self) -> Answer {
        *self.compiled.get_or_init(|| {
            self.module.code.compile(self.index).map_err(|error| {
                log::error!("{}: {error}", self.name.to_string_lossy());
                compile_status(error.kind)
            })
        })
    }

    /// Whether it has been compiled.
    pub fn is_ready(&self) -> bool {
        self.compiled.get().is_some()
    }
}

impl Library {
    /// Loads a library from checked text, or of code that there is something wrong with.
    pub fn create(made: Answer<(Vec<u8>, engine::Module)>) -> Answer<Handle<Library>> {
        let (failed, (text, code)) = match made {
            Ok((text, code)) => (None, (text, Some(code))),
            Err(status) => (Some(status), (Vec::new(), None)),
        };
        let functions = code.iter().flat_map(|code| code.functions());
        let entries = functions.filter(|info| info.is_entry).cloned().collect();
        let globals = code.iter().flat_map(|code| code.globals()).enumerate();
        let managed = globals.filter(|(_, info)| info.space == Space::Managed);
        let managed = managed.map(|(index, info)| (index, info.clone())).collect();
        let (handle, _) = Library::table().insert(|handle| Library {
            handle,
            text,
            failed,
            first: Mutex::new(code),
            modules: Mutex::default(),
            kernels: Mutex::default(),
            entries,
            managed,
            managed_places: Mutex::default(),
        })?;
        Ok(handle)
    }

    /// The kernels' descriptions, in the order of the text.
    pub fn entries(&self) -> &[FunctionInfo] {
        &self.entries
    }

    /// The library's module in a context, made when first asked for.
    pub fn module(&self, context: &Arc<Context>) -> Answer<Arc<Module>> {
        self.failed.map_or(Ok(()), Err)?;
        let mut modules = lock(&self.modules);
        if let Some(module) = modules.get(&context.id).filter(|module| module.is_loaded()) {
            return Ok(module.clone());
        }
        let code = match lock(&self.first).take() {
            Some(code) => code,
            None => compile(std::slice::from_ref(&self.text), 0, &mut String::new())?.1,
        };
        let module = Module::create(context.clone(), code, Some(self))?;
        modules.insert(context.id, module.clone());
        Ok(module)
    }

    /// Places of the managed variables, by number.
    fn managed(&self) -> Answer<BTreeMap<usize, u64>> {
        let mut places = lock(&self.managed_places);
        if let Some(places) = &*places {
            return Ok(places.clone());
        }
        let addresses = allocate(self.managed.iter().map(|(_, info)| info), crate::arena::NOBODY)?;
        let made: BTreeMap<usize, u64> = self.managed.iter().map(|(index, _)| *index).zip(addresses).collect();
        Ok(places.insert(made).clone())
    }

    /// The managed variable of this name; it needs no context.
    pub fn managed_variable(&self, name: &str) -> Answer<Variable> {
        self.failed.map_or(Ok(()), Err)?;
        let found = self.managed.iter().find(|(_, info)| info.visible && info.name == name);
        let (index, info) = found.ok_or(Status::NOT_FOUND)?;
        let address = self.managed()?.get(index).copied().ok_or(Status::NOT_FOUND)?;
        Ok(Variable { address, size: info.size, managed: true })
    }

    /// The kernel of this name.
    pub fn kernel(self: &Arc<Self>, name: &str) -> Answer<Handle<Kernel>> {
        self.failed.map_or(Ok(()), Err)?;
        let info = self.entries.iter().find(|info| info.name == name).ok_or(Status::NOT_FOUND)?;
        let mut kernels = lock(&self.kernels);
        if let Some(handle) = kernels.get(name) {
            return Ok(*handle);
        }
        let text = CString::new(name).map_err(|_| Status::NOT_FOUND)?;
        let (library, info) = (self.clone(), info.clone());
        let make = |handle| Kernel { handle, library, info, name: text, attributes: Mutex::default() };
        let (handle, _) = Kernel::table().insert(make)?;
        kernels.insert(name.to_owned(), handle);
        Ok(handle)
    }

    /// Unloads it and its modules.
    pub fn unload(handle: Handle<Library>) -> Answer {
        let library = handle.take()?;
        let kernels: Vec<_> = lock(&library.kernels).drain().collect();
        for (_, kernel) in kernels {
            let _ = kernel.take();
        }
        let modules: Vec<_> = lock(&library.modules).drain().collect();
        for (_, module) in modules {
            // Its kernels may run still; their variables must outlast them.
            let _ = module.context.synchronize();
            module.unload();
        }
        for address in lock(&library.managed_places).take().unwrap_or_default().into_values() {
            let _ = driver::arena()?.free(address, |_| true);
        }
        Ok(())
    }
}

impl Kernel {
    /// The kernel as a function of a context.
    pub fn function(&self, context: &Arc<Context>) -> Answer<Arc<Function>> {
        let module = self.library.module(context)?;
        let function = module.function(&self.info.name)?.get()?;
        for (attribute, value) in lock(&self.attributes).iter() {
            if *attribute == MAX_DYNAMIC_SHARED {
                function.max_dynamic_shared.store(*value as u32, Ordering::Relaxed);
            } else {
                lock(&function.attributes).insert(*attribute, *value);
            }
        }
        Ok(function)
    }
}

/// The function that a launch names: a CUfunction, or a CUkernel in the context given.
pub fn callable(handle: u64, context: impl FnOnce() -> Answer<Arc<Context>>) -> Answer<Arc<Function>> {
    if let Some(function) = Function::table().get(Handle::from_raw(handle)) {
        crate::context::fault()?;
        return Ok(function);
    }
    let kernel = Handle::<Kernel>::from_raw(handle).get()?;
    kernel.function(&context()?)
}
