//! The compute engine: PTX text in, kernels that run on the cores of this machine out.
//!
//! This file is the engine's whole public face; the driver API above it uses nothing else. The way of a kernel:
//!
//! 1. [`load`] parses and checks a module (`ptx/`). Everything that can be wrong with the text is found here,
//!    with the line it stands on; nothing is compiled yet.
//! 2. The caller gives each variable of [`Module::globals`] a place in device memory ([`Module::bind_global`])
//!    and writes its initial bytes and relocations there.
//! 3. [`run`] compiles the kernel the first time (`jit/`) and runs its blocks on a pool of threads (`exec/`).
//!
//! # Addresses
//!
//! A device pointer is a plain host address inside the arena that [`Memory::arena`] describes. Shared and local
//! memory have generic addresses in windows no host mapping can reach ([`SHARED_WINDOW`], [`LOCAL_WINDOW`]).
//!
//! # What keeps a hostile kernel inside
//!
//! Generated code touches memory in these ways only: through an address that was compared with the arena and whose
//! granule was found allocated; through a pointer that [`Memory::host_range`] allowed for that very access; inside the
//! block's shared memory, the thread's local memory or the parameter block, after a comparison with their length
//! (or at a constant offset the compiler checked). A failed comparison ends the launch with a [`Fault`] by ordinary
//! returns. Calls through function pointers go through a table with a signature check, never to an address from the
//! kernel. Host stack use is compared with a limit in every function that can recurse.

use std::sync::atomic::AtomicBool;

use crate::{exec, jit, ptx};

/// Generic addresses of shared memory start here; the offset is the `.shared` address.
///
/// Above every user address of the hosts we run on, so it never meets a device or host pointer.
pub const SHARED_WINDOW: u64 = 1 << 56;
/// Generic addresses of the running thread's local memory start here; the offset is the `.local` address.
pub const LOCAL_WINDOW: u64 = 2 << 56;
/// Generic addresses of a kernel's parameters start here.
pub const PARAM_WINDOW: u64 = 3 << 56;
/// Values of function pointers start here (`FUNCTION_WINDOW + 16 * index`); they are not addresses of code.
pub const FUNCTION_WINDOW: u64 = 4 << 56;
/// Bytes of arena that one byte of [`Arena::granules`] describes.
pub const GRANULE_BYTES: u64 = 512;
/// Lanes of a warp.
pub const WARP_SIZE: u32 = 32;
/// Most threads of a block.
pub const MAX_BLOCK_THREADS: u32 = 1024;
/// Most bytes of shared memory, static and dynamic together, of a block.
pub const MAX_SHARED_BYTES: u32 = 256 << 10;
/// Most bytes of kernel parameters.
pub const MAX_PARAM_BYTES: u32 = 32 << 10;

/// Bounds on what a PTX text may ask for. Reaching one is a [`CompileError`] that names it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of source text of one image, all linked parts together.
    pub max_source_bytes: usize,
    /// Registers that one function, with everything inlined into it, may use. The code generator numbers what a block takes
    /// over from those before it with 16 bits.
    pub max_registers: usize,
    /// Those registers times the places that may be jumped to: what compiling takes its time for.
    pub max_register_places: usize,
    /// Depth of nested `{ }` scopes and of nested constant expressions.
    pub max_nesting: usize,
    /// Functions of a module.
    pub max_functions: usize,
    /// Module-scope variables of a module.
    pub max_globals: usize,
    /// Instructions of one function, after inlining.
    pub max_instructions: usize,
    /// Bytes of all `.global` and `.const` variables together.
    pub max_global_bytes: u64,
    /// Bytes of local memory of one thread.
    pub max_local_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_source_bytes: 256 << 20,
            max_registers: 65_000,
            max_register_places: 50_000_000,
            max_nesting: 64,
            max_functions: 65_536,
            max_globals: 65_536,
            max_instructions: 400_000,
            max_global_bytes: 4 << 30,
            max_local_bytes: 512 << 10,
        }
    }
}

/// How a module is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The compute capability the device reports, major * 10 + minor. Instructions that only later devices have are
    /// still accepted when the engine implements them.
    pub compute_capability: u32,
    /// Bounds on the text.
    pub limits: Limits,
    /// Registers of a thread that the API shall report at most (`CU_JIT_MAX_REGISTERS`); 0: as many as there are.
    pub max_registers: u32,
    /// Compile every kernel in [`load`] instead of at its first launch.
    pub eager: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { compute_capability: 75, limits: Limits::default(), max_registers: 0, eager: false }
    }
}

/// Which of the API's answers a [`CompileError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompileErrorKind {
    /// CUDA_ERROR_INVALID_PTX: the text is wrong, or uses an instruction the engine does not have.
    InvalidPtx,
    /// CUDA_ERROR_UNSUPPORTED_PTX_VERSION: `.version` is newer than the engine knows.
    UnsupportedPtxVersion,
    /// CUDA_ERROR_OUT_OF_MEMORY: a bound of [`Limits`] was reached; the message names it.
    OutOfResources,
    /// CUDA_ERROR_INVALID_SOURCE at link time: an `.extern` symbol that no part defines; the message names it.
    UnresolvedSymbol,
    /// CUDA_ERROR_INVALID_SOURCE at link time: two parts define a symbol; the message names it.
    DefinedTwice,
}

/// Why a PTX text was not accepted.
#[derive(Clone, Debug, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct CompileError {
    /// Which answer of the API this is.
    pub kind: CompileErrorKind,
    /// Line of the text, from 1; 0 where no one line is at fault.
    pub line: u32,
    /// What is wrong, in words; names the instruction, symbol or limit.
    pub message: String,
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name in the text.
    pub name: String,
    /// Byte offset in the parameter block.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Alignment in bytes, a power of two.
    pub align: u32,
}

/// What the driver API can ask about a function.
#[derive(Clone, Debug)]
pub struct FunctionInfo {
    /// Name, as mangled in the text.
    pub name: String,
    /// A kernel (`.entry`), not a device function.
    pub is_entry: bool,
    /// Parameters in order.
    pub params: Vec<Param>,
    /// Bytes of the parameter block.
    pub param_bytes: u32,
    /// Bytes of statically declared shared memory it and its callees use.
    pub static_shared_bytes: u32,
    /// Bytes of local memory a thread needs, recursion aside.
    pub local_bytes: u32,
    /// Bytes of `.const` variables of the module.
    pub const_bytes: u32,
    /// Most threads of a block (`.maxntid` or `.reqntid`, else 1024).
    pub max_threads: u32,
    /// `.reqntid`: the only block shape it may be launched with.
    pub required_block: Option<[u32; 3]>,
    /// `.reqnctapercluster`: the cluster shape it is launched with.
    pub required_cluster: Option<[u32; 3]>,
    /// 32-bit registers a thread holds at the most at once, as a GPU would count them (1–255).
    pub registers: u32,
    /// The most of these that were asked for (`.maxnreg`, `CU_JIT_MAX_REGISTERS`), 0 if nobody did.
    pub max_registers: u32,
    /// `.version`, major * 10 + minor.
    pub ptx_version: u32,
    /// `.target sm_NN`.
    pub target: u32,
}

/// State space of a module-scope variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// `.global`.
    Global,
    /// `.global` with `.attribute(.managed)`.
    Managed,
    /// `.const`.
    Const,
}

/// What a relocation points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The address of a variable: its index in [`Module::globals`].
    Global(usize),
    /// A function pointer: this value, whatever the addresses.
    Function(u64),
}

/// A place in a variable's initial bytes that holds an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Byte offset in the variable.
    pub offset: u64,
    /// Bytes to write, little end first: 1, 2, 4 or 8.
    pub size: u8,
    /// What the address is of.
    pub target: Target,
    /// Added to the address.
    pub addend: i64,
    /// The sum is shifted right this many bits before its low `size` bytes are written (`mask(symbol)`).
    pub shift: u8,
}

/// A module-scope variable in device memory.
#[derive(Clone, Debug)]
pub struct GlobalInfo {
    /// Name, as mangled in the text.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Alignment in bytes, a power of two.
    pub align: u64,
    /// Where it lives.
    pub space: Space,
    /// Leading initial bytes, at most `size`; the rest is zero.
    pub initial: Vec<u8>,
    /// Addresses to write over the initial bytes.
    pub relocations: Vec<Relocation>,
    /// Visible to the host by name (`.visible`, `.weak` or `.common`; plain module-scope ones are too).
    pub visible: bool,
}

/// A checked module. Compiling happens behind it, once a kernel; it may be used from many threads.
pub struct Module {
    pub(crate) code: jit::Code,
}

/// Parses and checks `image`: a PTX text (a trailing NUL is allowed) or the result of [`link`].
pub fn load(image: &[u8], options: &Options) -> Result<Module, CompileError> {
    let program = ptx::load(image, options)?;
    let code = jit::Code::new(program, options)?;
    if options.eager {
        code.compile_all()?;
    }
    Ok(Module { code })
}

/// Joins several PTX texts (or earlier results) into one image for [`load`], resolving `.extern` symbols.
///
/// Fails with [`CompileErrorKind::UnresolvedSymbol`] if one stays open, and with `DefinedTwice` if two parts define
/// one visible symbol.
pub fn link(parts: &[&[u8]], options: &Options) -> Result<Vec<u8>, CompileError> {
    ptx::link(parts, options)
}

impl Module {
    /// All functions that have a body, kernels and device functions.
    pub fn functions(&self) -> &[FunctionInfo] {
        &self.code.program().functions
    }

    /// Index in [`Module::functions`] of the function called `name`.
    pub fn function(&self, name: &str) -> Option<usize> {
        self.functions().iter().position(|f| f.name == name)
    }

    /// The variables that need a place in device memory.
    pub fn globals(&self) -> &[GlobalInfo] {
        &self.code.program().globals
    }

    /// Says where variable `index` of [`Module::globals`] lives: `size` bytes at `address`, inside the arena,
    /// allocated until the module is dropped. To be done for every variable before the first [`run`]; a variable
    /// without a place makes a fault of every access.
    pub fn bind_global(&self, index: usize, address: u64) {
        self.code.bind_global(index, address);
    }

    /// The lowest `.target sm_NN` of the parts.
    pub fn oldest_target(&self) -> u32 {
        self.code.program().oldest_target
    }

    /// Names of the `.texref` variables: textures bound by reference.
    pub fn textures(&self) -> &[String] {
        &self.code.program().textures
    }

    /// Names of the `.surfref` variables.
    pub fn surfaces(&self) -> &[String] {
        &self.code.program().surfaces
    }

    /// Gives `.texref` number `index` the handle passed to [`Memory::texture`]; may change between launches.
    pub fn bind_texture(&self, index: usize, handle: u64) {
        self.code.bind_texture(index, handle);
    }

    /// Gives `.surfref` number `index` the handle passed to [`Memory::surface_read`] and `surface_write`.
    pub fn bind_surface(&self, index: usize, handle: u64) {
        self.code.bind_surface(index, handle);
    }

    /// Compiles function `index` now instead of at its first launch.
    pub fn compile(&self, index: usize) -> Result<(), CompileError> {
        self.code.compile(index).map(|_| ())
    }
}

/// The arena of device memory.
#[derive(Clone, Copy, Debug)]
pub struct Arena {
    /// First address; a multiple of 4096.
    pub base: u64,
    /// Bytes; a multiple of [`GRANULE_BYTES`].
    pub len: u64,
    /// `len / GRANULE_BYTES + 1` bytes: non-zero where the granule is allocated and kernels may read and write it.
    /// The last byte stands for everything outside the arena and is always 0.
    /// Stays mapped and readable while any [`run`] is on; the other bytes may change meanwhile.
    pub granules: *const u8,
}

/// Shape of a texture or surface access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// `.1d`
    One,
    /// `.2d`
    Two,
    /// `.3d`
    Three,
    /// `.a1d`
    OneLayered,
    /// `.a2d`
    TwoLayered,
    /// `.cube`
    Cube,
    /// `.acube`
    CubeLayered,
    /// `.2dms`
    TwoMultisample,
}

/// Coordinates of a texture fetch; unused ones are 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coordinates {
    /// `.s32` coordinates: texel numbers, not filtered.
    Integer([i32; 3]),
    /// `.f32` coordinates, as the sampler says normalised or not.
    Float([f32; 3]),
}

/// Which level of a mipmap to read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level {
    /// No level given: the base.
    Base,
    /// `.level`: this one (texel fetches: rounded).
    Lod(f32),
    /// `.grad`: by the derivatives along x and y.
    Gradient([f32; 3], [f32; 3]),
}

/// Type of the four components of a texture fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texel {
    /// Unsigned 32-bit integers.
    U32,
    /// Signed 32-bit integers.
    S32,
    /// 32-bit floats.
    F32,
}

/// One texture fetch (`tex`, `tld4`).
#[derive(Clone, Copy, Debug)]
pub struct TextureFetch {
    /// Texture object, or the handle from [`Module::bind_texture`].
    pub handle: u64,
    /// Shape that the instruction names.
    pub geometry: Geometry,
    /// Layer of layered shapes, else 0.
    pub layer: u32,
    /// Where.
    pub coordinates: Coordinates,
    /// Which level.
    pub level: Level,
    /// `tld4`: gather this component of the four texels of the footprint.
    pub gather: Option<u8>,
    /// What the program takes the result for.
    pub texel: Texel,
}

/// What `txq` and `suq` ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextureQuery {
    /// Width in texels.
    Width,
    /// Height in texels.
    Height,
    /// Depth in texels.
    Depth,
    /// The channel data type (CUDA array format number).
    ChannelDataType,
    /// The channel order.
    ChannelOrder,
    /// Coordinates are normalised: 0 or 1.
    NormalizedCoords,
    /// Layers.
    ArraySize,
    /// Levels of the mipmap.
    MipmapLevels,
    /// Samples of a texel.
    Samples,
}

/// What a surface access does outside the surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// `.trap`: the launch fails.
    Trap,
    /// `.clamp`: the nearest texel.
    Clamp,
    /// `.zero`: reads 0, writes nothing.
    Zero,
}

/// One surface access (`suld.b`, `sust.b`).
#[derive(Clone, Copy, Debug)]
pub struct SurfaceAccess {
    /// Surface object, or the handle from [`Module::bind_surface`].
    pub handle: u64,
    /// Shape that the instruction names.
    pub geometry: Geometry,
    /// Layer of layered shapes, else 0.
    pub layer: u32,
    /// x in bytes, y and z in rows and slices.
    pub coordinates: [i32; 3],
    /// What happens outside.
    pub boundary: Boundary,
}

/// What the engine needs from the context that launches a kernel. Called from many threads at once.
pub trait Memory: Send + Sync {
    /// The arena of device memory; the same answer during one [`run`].
    fn arena(&self) -> Arena;

    /// Whether a kernel may read (or `write`) `len` bytes at `address`, outside the arena: registered host memory.
    /// `len` is at most 128. `true` promises that the bytes stay mapped while the launch is on.
    fn host_range(&self, address: u64, len: u64, write: bool) -> bool;

    /// A thread has done its share of a launch; what was kept for it may go.
    fn worker_ends(&self) {}

    /// The four components as raw 32-bit values of type `fetch.texel`; `None` for an invalid handle.
    fn texture(&self, fetch: &TextureFetch) -> Option<[u32; 4]>;

    /// The answer to `txq`; `None` for an invalid handle or question.
    fn texture_query(&self, handle: u64, query: TextureQuery) -> Option<u32>;

    /// The answer to `suq`; `None` for an invalid handle or question.
    fn surface_query(&self, handle: u64, query: TextureQuery) -> Option<u32>;

    /// Fills `bytes` (1–16 of them) from a surface; `false` for an invalid handle or a trapping coordinate.
    fn surface_read(&self, access: &SurfaceAccess, bytes: &mut [u8]) -> bool;

    /// Writes `bytes` (1–16 of them) to a surface; `false` as for reads.
    fn surface_write(&self, access: &SurfaceAccess, bytes: &[u8]) -> bool;

    /// Device-side `malloc`: an address in the arena, 16-byte aligned, or 0.
    fn malloc(&self, bytes: u64) -> u64;

    /// Device-side `free` of an address from [`Memory::malloc`], or of 0; `false` if it is neither.
    fn free(&self, address: u64) -> bool;

    /// Output of device-side `printf`, already formatted; a whole call's text at once.
    fn print(&self, text: &[u8]);

    /// The message of a device-side `assert` that fails.
    fn complain(&self, text: &[u8]);
}

/// One kernel launch.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// Index in [`Module::functions`] of a kernel.
    pub function: usize,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub block: [u32; 3],
    /// Blocks of a cluster along x, y, z; ones where there are none.
    pub cluster: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub dynamic_shared_bytes: u32,
    /// The parameter block, [`FunctionInfo::param_bytes`] bytes.
    pub params: &'a [u8],
    /// All blocks must be able to wait for one another.
    pub cooperative: bool,
    /// Bytes of local memory for recursion, added to what the kernel needs by itself (CU_LIMIT_STACK_SIZE).
    pub stack_bytes: u32,
    /// Most threads of the host to use, this one included; 0 for all.
    pub max_workers: u32,
    /// The value of `%gridid`.
    pub grid_id: u64,
}

/// Which way a launch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// CUDA_ERROR_ILLEGAL_ADDRESS: an access to memory the context does not own.
    IllegalAddress,
    /// CUDA_ERROR_MISALIGNED_ADDRESS.
    Misaligned,
    /// CUDA_ERROR_LAUNCH_FAILED: `trap`, or a barrier or collective that can never complete.
    Trap,
    /// CUDA_ERROR_ASSERT; the text went to [`Memory::print`].
    Assert,
    /// CUDA_ERROR_HARDWARE_STACK_ERROR: recursion too deep.
    StackOverflow,
    /// CUDA_ERROR_ILLEGAL_INSTRUCTION.
    IllegalInstruction,
    /// CUDA_ERROR_INVALID_PC: a call through a value that is no function, or one of another signature.
    InvalidPc,
    /// CUDA_ERROR_INVALID_ADDRESS_SPACE.
    InvalidAddressSpace,
    /// CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES or _INVALID_VALUE: the launch asks for more than there is, or its shape
    /// is wrong. Nothing ran.
    InvalidLaunch,
    /// The kernel could not be compiled; nothing ran.
    Compile,
    /// The `cancel` flag was seen.
    Cancelled,
}

/// How and where a launch failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind:?} at line {line}, block {block:?}, thread {thread:?}, address {address:#x}: {message}")]
pub struct Fault {
    /// Which way.
    pub kind: FaultKind,
    /// The block.
    pub block: [u32; 3],
    /// The thread in the block.
    pub thread: [u32; 3],
    /// The address of a failed access, else 0.
    pub address: u64,
    /// Line of the PTX text, 0 where unknown.
    pub line: u32,
    /// More in words, or empty.
    pub message: String,
}

/// Runs a kernel to its end, on this thread and those of the pool.
///
/// `cancel` ends it early: at the latest when the running blocks end or next reach a barrier. Other launches may
/// run at the same time.
pub fn run(module: &Module, launch: &Launch<'_>, memory: &dyn Memory, cancel: &AtomicBool) -> Result<(), Fault> {
    exec::run(&module.code, launch, memory, cancel)
}
