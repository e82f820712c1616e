//! The CUDA driver API, as far as it is carried. Read by `spec-gen` as data, never compiled; how to write it: `spec/README.md`.
//!
//! Argument names and types are the API's; `u32` stands for its unsigned enumerations, `i32` for `CUdevice` and the others.
//! Messages whose names begin with `gpuferry` are no calls of the API: hand-written code of both sides uses them.
#![status(CUresult, invalid = CUDA_ERROR_INVALID_VALUE, gone = CUDA_ERROR_DEVICE_UNAVAILABLE)]
#![numbers(1, 0x3fff)]
#![kinds(1, 63)]
#![order]

const CUDA_ERROR_INVALID_VALUE: CUresult = 1;
const CUDA_ERROR_OUT_OF_MEMORY: CUresult = 2;
const CUDA_ERROR_DEVICE_UNAVAILABLE: CUresult = 46;
const CUDA_ERROR_INVALID_IMAGE: CUresult = 200;
const CUDA_ERROR_INVALID_CONTEXT: CUresult = 201;
const CUDA_ERROR_ECC_UNCORRECTABLE: CUresult = 214;
const CUDA_ERROR_NVLINK_UNCORRECTABLE: CUresult = 220;
const CUDA_ERROR_INVALID_HANDLE: CUresult = 400;
const CUDA_ERROR_NOT_READY: CUresult = 600;
const CUDA_ERROR_ILLEGAL_ADDRESS: CUresult = 700;
const CUDA_ERROR_LAUNCH_TIMEOUT: CUresult = 702;
const CUDA_ERROR_CONTEXT_IS_DESTROYED: CUresult = 709;
const CUDA_ERROR_ASSERT: CUresult = 710;
const CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED: CUresult = 712;
const CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED: CUresult = 713;
const CUDA_ERROR_HARDWARE_STACK_ERROR: CUresult = 714;
const CUDA_ERROR_ILLEGAL_INSTRUCTION: CUresult = 715;
const CUDA_ERROR_MISALIGNED_ADDRESS: CUresult = 716;
const CUDA_ERROR_INVALID_ADDRESS_SPACE: CUresult = 717;
const CUDA_ERROR_INVALID_PC: CUresult = 718;
const CUDA_ERROR_LAUNCH_FAILED: CUresult = 719;
const CUDA_ERROR_NOT_SUPPORTED: CUresult = 801;

/// A kernel, as a node of a graph (`CUgraphNodeType`).
const NODE_KERNEL: u32 = 0;
/// A copy, as a node of a graph (`CUgraphNodeType`).
const NODE_MEMCPY: u32 = 1;
/// A memset, as a node of a graph (`CUgraphNodeType`).
const NODE_MEMSET: u32 = 2;
/// A function of the program, as a node of a graph (`CUgraphNodeType`).
const NODE_HOST: u32 = 3;
/// A graph, as a node of a graph (`CUgraphNodeType`).
const NODE_CHILD: u32 = 4;
/// Nothing, as a node of a graph (`CUgraphNodeType`).
const NODE_EMPTY: u32 = 5;
/// Waits for an event, as a node of a graph (`CUgraphNodeType`).
const NODE_WAIT_EVENT: u32 = 6;
/// Records an event, as a node of a graph (`CUgraphNodeType`).
const NODE_RECORD_EVENT: u32 = 7;
/// Allocates memory, as a node of a graph (`CUgraphNodeType`).
const NODE_ALLOC: u32 = 10;
/// Frees memory, as a node of a graph (`CUgraphNodeType`).
const NODE_FREE: u32 = 11;
/// A batch of memory operations, as a node of a graph (`CUgraphNodeType`).
const NODE_BATCH: u32 = 12;
/// Graphs that run by a condition, as a node of a graph (`CUgraphNodeType`).
const NODE_CONDITIONAL: u32 = 13;
/// Nodes of a graph: what `gpuferryGraphList` lists.
const LIST_NODES: u32 = 0;
/// Nodes of a graph that depend on none: what `gpuferryGraphList` lists.
const LIST_ROOTS: u32 = 1;
/// Edges of a graph: what `gpuferryGraphList` lists.
const LIST_EDGES: u32 = 2;
/// What a node depends on: what `gpuferryGraphList` lists.
const LIST_DEPENDENCIES: u32 = 3;
/// What depends on a node: what `gpuferryGraphList` lists.
const LIST_DEPENDENTS: u32 = 4;
/// Flag of a launch: cooperative.
const LAUNCH_COOPERATIVE: u32 = 1;
/// Flag of a copy that is described: it is in the stream that comes beside.
const COPY_IN_STREAM: u32 = 1;
/// First word of a code image that is several fat binaries to be linked: their count u32, then offset u64 and bytes u64 of each, then
/// the fat binaries.
const IMAGE_PARTS: u32 = 0x5352_4150;

/// An address on the device; also one of page-locked memory.
type CUdeviceptr = u64;
/// Number of a device: in the guest as `CUDA_VISIBLE_DEVICES` has it.
#[renumbered]
type CUdevice = i32;
/// A texture as kernels know it. It is no handle of ours: kernels get the number as it is.
type CUtexObject = u64;
/// A surface as kernels know it.
type CUsurfObject = u64;

/// Description of a 1-D or 2-D array (`CUDA_ARRAY_DESCRIPTOR`).
struct CUDA_ARRAY_DESCRIPTOR {
    Width: usize,
    Height: usize,
    Format: u32,
    NumChannels: u32,
}

/// Description of a 3-D array (`CUDA_ARRAY3D_DESCRIPTOR`).
struct CUDA_ARRAY3D_DESCRIPTOR {
    Width: usize,
    Height: usize,
    Depth: usize,
    Format: u32,
    NumChannels: u32,
    Flags: u32,
    padding: u32,
}

/// Where memory lies (`CUmemLocation`).
struct CUmemLocation {
    kind: u32,
    id: CUdevice,
}

/// Who may access memory, and how (`CUmemAccessDesc`).
struct CUmemAccessDesc {
    location: CUmemLocation,
    flags: u32,
}

/// Properties of a memory pool (`CUmemPoolProps`).
struct CUmemPoolProps {
    allocType: u32,
    handleTypes: u32,
    location: CUmemLocation,
    /// A pointer on Windows; zero here.
    win32SecurityAttributes: u64,
    maxSize: usize,
    usage: u16,
    reserved: [u8; 54],
}

/// Properties of physical memory (`CUmemAllocationProp`).
struct CUmemAllocationProp {
    kind: u32,
    requestedHandleTypes: u32,
    location: CUmemLocation,
    /// A pointer on Windows; zero here.
    win32HandleMetaData: u64,
    compressionType: u8,
    gpuDirectRDMACapable: u8,
    usage: u16,
    reserved: [u8; 4],
}

/// A 3-D copy (`CUDA_MEMCPY3D`, which also serves 2-D copies) whose host side, if any, is a buffer that travels beside it.
struct Copy3D {
    srcXInBytes: u64,
    srcY: u64,
    srcZ: u64,
    srcLOD: u64,
    /// Device address, where `srcMemoryType` is device (2) or unified (4).
    srcAddress: u64,
    srcPitch: u64,
    srcHeight: u64,
    dstXInBytes: u64,
    dstY: u64,
    dstZ: u64,
    dstLOD: u64,
    /// Device address, where `dstMemoryType` is device (2) or unified (4).
    dstAddress: u64,
    dstPitch: u64,
    dstHeight: u64,
    WidthInBytes: u64,
    Height: u64,
    Depth: u64,
    /// `CUmemorytype`; host (1) means the buffer.
    srcMemoryType: u32,
    /// `CUmemorytype`; host (1) means the buffer.
    dstMemoryType: u32,
}

/// What a texture or surface reads (`CUDA_RESOURCE_DESC`), its array apart.
struct Resource {
    /// `CUresourcetype`: array (0), mipmapped array (1), linear (2), pitch2D (3).
    resType: u32,
    /// `CUarray_format` of linear and pitch2D memory.
    format: u32,
    numChannels: u32,
    padding: u32,
    /// Device address of linear and pitch2D memory.
    devPtr: u64,
    /// Bytes of linear memory.
    sizeInBytes: u64,
    width: u64,
    height: u64,
    pitchInBytes: u64,
}

/// How a texture reads (`CUDA_TEXTURE_DESC`), in the API's own layout.
struct CUDA_TEXTURE_DESC {
    addressMode: [u32; 3],
    filterMode: u32,
    flags: u32,
    maxAnisotropy: u32,
    mipmapFilterMode: u32,
    mipmapLevelBias: f32,
    minMipmapLevelClamp: f32,
    maxMipmapLevelClamp: f32,
    borderColor: [f32; 4],
    reserved: [i32; 12],
}

/// How a texture sees its array (`CUDA_RESOURCE_VIEW_DESC`), in the API's own layout.
struct CUDA_RESOURCE_VIEW_DESC {
    format: u32,
    padding: u32,
    width: usize,
    height: usize,
    depth: usize,
    firstMipmapLevel: u32,
    lastMipmapLevel: u32,
    firstLayer: u32,
    lastLayer: u32,
    reserved: [u32; 16],
}

/// A tensor map (`CUtensorMap`): the driver's own 128 bytes, which kernels get as they are.
struct CUtensorMap {
    opaque: [u64; 16],
}

/// What a tiled tensor map describes (`cuTensorMapEncodeTiled`); arrays count as far as the rank says.
struct TensorTiles {
    globalAddress: u64,
    globalDim: [u64; 5],
    globalStrides: [u64; 5],
    boxDim: [u32; 5],
    elementStrides: [u32; 5],
    tensorDataType: u32,
    tensorRank: u32,
    interleave: u32,
    swizzle: u32,
    l2Promotion: u32,
    oobFill: u32,
}

/// What an im2col tensor map describes (`cuTensorMapEncodeIm2col`, and `Wide` where that is 1); arrays count as far as the rank says.
struct TensorColumns {
    globalAddress: u64,
    globalDim: [u64; 5],
    globalStrides: [u64; 5],
    lowerCorner: [i32; 3],
    upperCorner: [i32; 3],
    elementStrides: [u32; 5],
    channelsPerPixel: u32,
    pixelsPerColumn: u32,
    tensorDataType: u32,
    tensorRank: u32,
    interleave: u32,
    mode: u32,
    swizzle: u32,
    l2Promotion: u32,
    oobFill: u32,
    wide: u32,
    padding: u32,
}

/// What memory an array takes (`CUDA_ARRAY_MEMORY_REQUIREMENTS`).
struct CUDA_ARRAY_MEMORY_REQUIREMENTS {
    size: usize,
    alignment: usize,
    reserved: [u32; 4],
}

/// How a sparse array lies (`CUDA_ARRAY_SPARSE_PROPERTIES`).
struct CUDA_ARRAY_SPARSE_PROPERTIES {
    tileExtent: [u32; 3],
    miptailFirstLevel: u32,
    miptailSize: u64,
    flags: u32,
    reserved: [u32; 4],
    padding: u32,
}

/// Multiprocessors of a context (`CUexecAffinityParam`).
struct CUexecAffinityParam {
    kind: u32,
    param: u32,
}

/// The driver's handle of memory or of an event for other processes (`CUipcMemHandle`, `CUipcEventHandle`).
struct IpcHandle {
    words: [u64; 8],
}

/// Four floats.
struct BorderColor {
    rgba: [f32; 4],
}

/// What a launch is besides its parameters.
struct Launch {
    gridDimX: u32,
    gridDimY: u32,
    gridDimZ: u32,
    blockDimX: u32,
    blockDimY: u32,
    blockDimZ: u32,
    sharedMemBytes: u32,
    /// `LAUNCH_COOPERATIVE`.
    flags: u32,
}

/// A kernel of a graph; its packed parameters travel beside it.
struct KernelNode {
    launch: Launch,
    /// Function or kernel.
    f: u64,
    /// Context, or null for the current one.
    ctx: u64,
}

/// A copy of a graph. A host side is an address that the device knows.
struct MemcpyNode {
    copy: Copy3D,
    srcArray: u64,
    dstArray: u64,
    ctx: u64,
}

/// A memset of a graph (`CUDA_MEMSET_NODE_PARAMS_v2`).
struct MemsetNode {
    dst: u64,
    pitch: u64,
    value: u32,
    elementSize: u32,
    width: u64,
    height: u64,
    ctx: u64,
}

/// A function of the guest's in a graph, by its number.
struct HostNode {
    id: u64,
}

/// A graph in a graph.
struct ChildNode {
    graph: u64,
    ownership: u32,
    padding: u32,
}

/// An event that a graph records or waits for.
struct EventNode {
    event: u64,
}

/// An allocation of a graph; who may access it travels beside it as `CUmemAccessDesc`s.
struct AllocNode {
    poolProps: CUmemPoolProps,
    bytesize: u64,
    /// Comes back.
    dptr: u64,
}

/// The end of one.
struct FreeNode {
    dptr: u64,
}

/// Batched memory operations of a graph, which travel beside it.
struct BatchNode {
    ctx: u64,
    flags: u32,
    padding: u32,
}

/// A body of a graph that runs by a condition, or several.
struct ConditionalNode {
    handle: u64,
    kind: u32,
    size: u32,
    ctx: u64,
}

/// What the driver knows of an address (`cuPointerGetAttribute`); an attribute that it refuses is 0.
struct PointerFacts {
    /// Status of the memory type: what an unknown address answers.
    status: i32,
    /// `CUmemorytype`.
    memoryType: u32,
    devicePointer: u64,
    hostPointer: u64,
    bufferId: u64,
    rangeStart: u64,
    rangeBytes: u64,
    deviceOrdinal: CUdevice,
    isManaged: u32,
    syncMemops: u32,
    mapped: u32,
}

trait Handles {
    #[handle(1, error = CUDA_ERROR_INVALID_CONTEXT)]
    type CUcontext;
    /// 0 is the null stream, 1 the legacy one. The per-thread stream (2) is a stream of ours by the time it travels.
    #[handle(2, error = CUDA_ERROR_INVALID_HANDLE, plain(1), in_context)]
    type CUstream;
    #[handle(3, error = CUDA_ERROR_INVALID_HANDLE, in_context)]
    type CUevent;
    #[handle(4, error = CUDA_ERROR_INVALID_HANDLE, in_context)]
    type CUmodule;
    #[handle(5, error = CUDA_ERROR_INVALID_HANDLE, in_context)]
    type CUfunction;
    #[handle(6, error = CUDA_ERROR_INVALID_HANDLE)]
    type CUlibrary;
    #[handle(7, error = CUDA_ERROR_INVALID_HANDLE)]
    type CUkernel;
    #[handle(8, error = CUDA_ERROR_INVALID_HANDLE, in_context)]
    type CUlinkState;
    #[handle(9, error = CUDA_ERROR_INVALID_HANDLE, plain(0), in_context)]
    type CUarray;
    #[handle(10, error = CUDA_ERROR_INVALID_HANDLE, plain(0), in_context)]
    type CUmipmappedArray;
    #[handle(11, error = CUDA_ERROR_INVALID_VALUE)]
    type CUmemoryPool;
    #[handle(12, error = CUDA_ERROR_INVALID_VALUE)]
    type CUgraph;
    #[handle(13, error = CUDA_ERROR_INVALID_VALUE)]
    type CUgraphExec;
    /// A node of a graph. The worker makes these numbers: nodes come to be by recording too.
    #[handle(14, error = CUDA_ERROR_INVALID_VALUE)]
    type CUgraphNode;
    /// A number in C, not a pointer.
    #[handle(15, error = CUDA_ERROR_INVALID_VALUE)]
    type CUmemGenericAllocationHandle;
    #[handle(16, error = CUDA_ERROR_INVALID_VALUE)]
    type CUuserObject;
    #[handle(17, error = CUDA_ERROR_INVALID_HANDLE, in_context)]
    type CUtexref;
    #[handle(18, error = CUDA_ERROR_INVALID_HANDLE, in_context)]
    type CUsurfref;
    #[handle(19, error = CUDA_ERROR_INVALID_VALUE, plain(0))]
    type CUdevResourceDesc;
    #[handle(20, error = CUDA_ERROR_INVALID_CONTEXT)]
    type CUgreenCtx;
}

trait Devices {
    /// Version of the host's driver. CUDA Driver API, Version Management.
    #[call(1, wait)] #[no_context] #[by_hand(guest)]
    fn cuDriverGetVersion(#[out] driverVersion: i32);
    /// Number of devices. CUDA Driver API, Device Management.
    #[call(2, wait)] #[no_context] #[by_hand(guest)]
    fn cuDeviceGetCount(#[out] count: i32);
    /// Everything about a device that never changes: name [u8; 256], uuid [u8; 16], luid [u8; 8], luid mask u32, status of the luid
    /// i32, total memory u64, count u32, 0 u32, then status i32 and value i32 of the attributes 1 to count.
    #[call(3, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryDeviceFacts(dev: CUdevice, #[out] #[len(bytes)] facts: &mut [u8], bytes: usize);
    /// An attribute of the link between two devices.
    #[call(4, wait)] #[no_context]
    fn cuDeviceGetP2PAttribute(#[out] value: i32, attrib: u32, srcDevice: CUdevice, dstDevice: CUdevice);
    /// Whether a device can reach another one's memory.
    #[call(5, wait)] #[no_context]
    fn cuDeviceCanAccessPeer(#[out] canAccessPeer: i32, dev: CUdevice, peerDev: CUdevice);
    /// Most elements of a 1-D linear texture.
    #[call(6, wait)] #[no_context]
    fn cuDeviceGetTexture1DLinearMaxWidth(#[out] maxWidthInElements: usize, format: u32, numChannels: u32, dev: CUdevice);
    /// The device's default memory pool; the guest asks once a device.
    #[call(7, wait)] #[no_context] #[by_hand(guest)]
    fn cuDeviceGetDefaultMemPool(#[new] pool_out: CUmemoryPool, dev: CUdevice);
    /// Makes a pool the device's current one.
    #[call(8, wait)] #[no_context] #[by_hand(guest)]
    fn cuDeviceSetMemPool(dev: CUdevice, pool: CUmemoryPool);
    /// Whether contexts can have so many multiprocessors.
    #[call(10, wait)] #[no_context] #[since(11040)]
    fn cuDeviceGetExecAffinitySupport(#[out] pi: i32, kind: u32, dev: CUdevice);
    /// What atomic operations reach the memory of the host.
    #[call(11, wait)] #[no_context] #[since(13000)]
    fn cuDeviceGetHostAtomicCapabilities(
        #[out] #[len(count)] capabilities: &mut [u32],
        #[len(count)] operations: &[u32],
        count: u32,
        dev: CUdevice,
    );
    /// What atomic operations reach the memory of another device.
    #[call(12, wait)] #[no_context] #[since(13000)]
    fn cuDeviceGetP2PAtomicCapabilities(
        #[out] #[len(count)] capabilities: &mut [u32],
        #[len(count)] operations: &[u32],
        count: u32,
        srcDevice: CUdevice,
        dstDevice: CUdevice,
    );
    /// Gives unused memory of graphs back.
    #[call(9, wait)] #[no_context]
    fn cuDeviceGraphMemTrim(device: CUdevice);
}

trait Contexts {
    /// Retains the primary context. The guest counts; one retain a handle reaches the host.
    #[call(20, wait)] #[no_context] #[block] #[by_hand(guest)]
    fn cuDevicePrimaryCtxRetain(#[new] pctx: CUcontext, dev: CUdevice);
    /// Gives the primary context up, and ends its handle.
    #[call(21, wait)] #[no_context] #[block] #[by_hand(both)]
    fn gpuferryPrimaryRelease(#[free] ctx: CUcontext, dev: CUdevice);
    /// Destroys all that lives in the primary context. Its handle, where the guest has one, stays.
    #[call(22, wait)] #[no_context] #[block] #[by_hand(both)]
    fn gpuferryPrimaryReset(ctx: Handle, dev: CUdevice);
    /// Sets the primary context's flags.
    #[call(23, wait)] #[no_context] #[by_hand(guest)] #[alias(cuDevicePrimaryCtxSetFlags)]
    fn cuDevicePrimaryCtxSetFlags_v2(dev: CUdevice, flags: u32);
    /// Makes a context; the guest keeps the stack of current ones.
    #[call(24, wait)] #[no_context] #[block] #[by_hand(both)]
    fn gpuferryCtxCreate(#[new] pctx: CUcontext, flags: u32, dev: CUdevice);
    /// Destroys a context and all in it.
    #[call(25, wait)] #[no_context] #[block] #[by_hand(both)]
    fn gpuferryCtxDestroy(#[free] ctx: CUcontext);
    /// Waits for all work of the current context.
    #[call(26, wait)] #[block] #[by_hand(guest)]
    fn cuCtxSynchronize();
    /// Sets a limit of the current context.
    #[call(27, wait)] #[by_hand(guest)]
    fn cuCtxSetLimit(limit: u32, value: usize);
    /// A limit of the current context.
    #[call(28, wait)] #[by_hand(guest)]
    fn cuCtxGetLimit(#[out] pvalue: usize, limit: u32);
    /// Preferred split of cache and shared memory.
    #[call(29, wait)]
    fn cuCtxGetCacheConfig(#[out] pconfig: u32);
    /// Sets the preferred split of cache and shared memory.
    #[call(30, wait)]
    fn cuCtxSetCacheConfig(config: u32);
    /// Width of shared memory's banks.
    #[call(31, wait)]
    fn cuCtxGetSharedMemConfig(#[out] pConfig: u32);
    /// Sets the width of shared memory's banks.
    #[call(32, wait)]
    fn cuCtxSetSharedMemConfig(config: u32);
    /// Lowest and highest priority of streams.
    #[call(33, wait)] #[by_hand(guest)]
    fn cuCtxGetStreamPriorityRange(#[out] #[optional] leastPriority: i32, #[out] #[optional] greatestPriority: i32);
    /// Gives back lines of the level-2 cache that are set aside.
    #[call(34, wait)]
    fn cuCtxResetPersistingL2Cache();
    /// Lets the current context reach a peer's memory.
    #[call(35, wait)] #[by_hand(guest)]
    fn cuCtxEnablePeerAccess(peerContext: CUcontext, Flags: u32);
    /// Ends that.
    #[call(36, wait)] #[by_hand(guest)]
    fn cuCtxDisablePeerAccess(peerContext: CUcontext);
    /// Number of the current context, never used again.
    #[call(37, wait)] #[by_hand(both)]
    fn gpuferryCtxId(#[out] ctxId: u64);
    /// Multiprocessors of the current context.
    #[call(39, wait)] #[since(11040)]
    fn cuCtxGetExecAffinity(#[out] pExecAffinity: CUexecAffinityParam, kind: u32);
    /// Records an event when all work of a context so far is done.
    #[call(17, post)] #[by_hand(guest)] #[since(12050)]
    fn cuCtxRecordEvent(hCtx: CUcontext, hEvent: CUevent);
    /// Makes all later work of a context wait for an event.
    #[call(18, post)] #[since(12050)]
    fn cuCtxWaitEvent(hCtx: CUcontext, hEvent: CUevent);
    /// Makes what other devices of the bus have written visible.
    #[call(19, wait)] #[since(11030)]
    fn cuFlushGPUDirectRDMAWrites(target: u32, scope: u32);
    /// Flags of the current context.
    #[call(38, wait)] #[by_hand(guest)]
    fn cuCtxGetFlags(#[out] flags: u32);
}

/// Parts of a device. A resource of the driver's stays in the worker, which numbers it from 1; the guest's has the number in it.
trait GreenContexts {
    /// The resource of a device, of a context or of a green context (`of`), and how many multiprocessors it has.
    #[call(390, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryDevResource(of: Handle, dev: CUdevice, kind: u32, #[out] resource: u64, #[out] multiprocessors: u32);
    /// Splits multiprocessors into at most so many groups; none, and the number alone, for 0. The list has u64 resource,
    /// u32 multiprocessors and u32 0 of each group, then of the rest.
    #[call(391, wait)] #[no_context] #[by_hand(both)]
    fn gpuferrySplitResource(
        resource: u64,
        groups: u32,
        useFlags: u32,
        minCount: u32,
        #[out] number: u32,
        #[out] list: Vec<u8>,
    );
    /// What a green context shall be of: resources, u64 each.
    #[call(392, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryResourceDescription(#[new] phDesc: CUdevResourceDesc, #[run] resources: &[u8]);
    /// Makes a green context.
    #[call(393, wait)] #[no_context] #[block] #[by_hand(guest)] #[since(12040)]
    fn cuGreenCtxCreate(#[new] phCtx: CUgreenCtx, desc: CUdevResourceDesc, dev: CUdevice, flags: u32);
    /// The green context as a context; the guest asks once each.
    #[call(394, wait)] #[no_context] #[by_hand(guest)] #[since(12040)]
    fn cuCtxFromGreenCtx(#[new(hCtx)] pContext: CUcontext, hCtx: CUgreenCtx);
    /// Destroys a green context and all in it.
    #[call(395, wait)] #[no_context] #[block] #[by_hand(both)]
    fn gpuferryGreenCtxDestroy(#[free] hCtx: CUgreenCtx);
    /// Makes a stream of a green context, whose context is the current one.
    #[call(396, wait)] #[by_hand(guest)] #[since(12050)]
    fn cuGreenCtxStreamCreate(#[new] phStream: CUstream, greenCtx: CUgreenCtx, flags: u32, priority: i32);
    /// Records an event when all work of a green context so far is done.
    #[call(397, wait)] #[no_context] #[since(12040)]
    fn cuGreenCtxRecordEvent(hCtx: CUgreenCtx, hEvent: CUevent);
    /// Makes all later work of a green context wait for an event.
    #[call(398, wait)] #[no_context] #[since(12040)]
    fn cuGreenCtxWaitEvent(hCtx: CUgreenCtx, hEvent: CUevent);
}

trait Modules {
    /// Loads an image: PTX, cubin or fatbin. Options are pairs of u32 number, u32 0, u64 value, without the log buffers: the logs
    /// come back as far as they fit. `kind` is 0 for a module.
    #[call(40, wait)] #[block] #[always] #[by_hand(both)]
    fn gpuferryModuleLoad(
        #[new] module: CUmodule,
        #[len(bytes)] image: &[u8],
        bytes: usize,
        #[run] options: &[u8],
        #[out] wallTime: f32,
        #[out] infoLog: Vec<u8>,
        #[out] errorLog: Vec<u8>,
    );
    /// Unloads a module with its functions. Sleeps until the device is done with them.
    #[call(41, wait)] #[block] #[disturbs]
    fn cuModuleUnload(#[free] hmod: CUmodule);
    /// A kernel of a module.
    #[call(42, wait)] #[by_hand(guest)]
    fn cuModuleGetFunction(#[new(hmod)] hfunc: CUfunction, hmod: CUmodule, name: &CStr);
    /// Address and bytes of a variable in a module.
    #[call(43, wait)] #[by_hand(both)]
    fn cuModuleGetGlobal_v2(#[out] #[optional] dptr: CUdeviceptr, #[out] #[optional] bytes: usize, hmod: CUmodule, name: &CStr);
    /// Number of kernels in a module.
    #[call(44, wait)] #[since(12040)]
    fn cuModuleGetFunctionCount(#[out] count: u32, hmod: CUmodule);
    /// The kernel of a module with a number below the count, and its name.
    #[call(45, wait)] #[by_hand(both)]
    fn gpuferryModuleFunction(#[new(hmod)] function: CUfunction, hmod: CUmodule, number: u32, #[out] name: Vec<u8>);

    /// Loads an image as a library, for all contexts. Options as for a module; those of the library likewise.
    #[call(50, wait)] #[block] #[always] #[by_hand(both)]
    fn gpuferryLibraryLoad(
        #[new] library: CUlibrary,
        #[len(bytes)] image: &[u8],
        bytes: usize,
        #[run] options: &[u8],
        #[run] libraryOptions: &[u8],
        #[out] wallTime: f32,
        #[out] infoLog: Vec<u8>,
        #[out] errorLog: Vec<u8>,
    );
    /// Unloads a library with its kernels. Sleeps until the device is done with them.
    #[call(51, wait)] #[block] #[no_context] #[by_hand(host)]
    fn cuLibraryUnload(#[free] library: CUlibrary);
    /// A kernel of a library.
    #[call(52, wait)] #[no_context] #[by_hand(guest)]
    fn cuLibraryGetKernel(#[new(library)] pKernel: CUkernel, library: CUlibrary, name: &CStr);
    /// The library as a module of the current context.
    #[call(53, wait)] #[by_hand(guest)]
    fn cuLibraryGetModule(#[new(library)] pMod: CUmodule, library: CUlibrary);
    /// Address and bytes of a variable in a library.
    #[call(54, wait)] #[by_hand(both)]
    fn cuLibraryGetGlobal(#[out] #[optional] dptr: CUdeviceptr, #[out] #[optional] bytes: usize, library: CUlibrary, name: &CStr);
    /// Number of kernels in a library.
    #[call(55, wait)] #[no_context] #[since(12040)]
    fn cuLibraryGetKernelCount(#[out] count: u32, lib: CUlibrary);
    /// The kernel of a library with a number below the count, and its name.
    #[call(56, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryLibraryKernel(#[new(library)] kernel: CUkernel, library: CUlibrary, number: u32, #[out] name: Vec<u8>);
    /// Address and bytes of a managed variable in a library.
    #[call(66, wait)] #[no_context] #[by_hand(both)]
    fn cuLibraryGetManaged(#[out] #[optional] dptr: CUdeviceptr, #[out] #[optional] bytes: usize, library: CUlibrary, name: &CStr);
    /// What is in a managed variable that cuLibraryGetManaged has given, read where no context is needed.
    #[call(67, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryManagedRead(address: u64, #[out] #[len(bytes)] data: &mut [u8], bytes: usize);
    /// The kernel as a function of the current context.
    #[call(57, wait)] #[by_hand(guest)]
    fn cuKernelGetFunction(#[new(kernel)] pFunc: CUfunction, kernel: CUkernel);
    /// Sets an attribute of a kernel for one device.
    #[call(58, wait)] #[no_context] #[by_hand(guest)]
    fn cuKernelSetAttribute(attrib: u32, val: i32, kernel: CUkernel, dev: CUdevice);
    /// Preferred split of cache and shared memory for a kernel.
    #[call(59, wait)] #[no_context]
    fn cuKernelSetCacheConfig(kernel: CUkernel, config: u32, dev: CUdevice);

    /// Everything about a function or kernel: 16 times status i32 and value i32 (`CUfunction_attribute` 0 to 15), number of
    /// parameters u32 (`u32::MAX` for unknown), then offset u32 and bytes u32 of each. `dev` counts for kernels.
    #[call(60, wait)] #[by_hand(both)]
    fn gpuferryFunctionFacts(f: Handle, dev: CUdevice, #[out] facts: Vec<u8>);
    /// Sets an attribute of a function.
    #[call(61, wait)] #[by_hand(guest)]
    fn cuFuncSetAttribute(hfunc: CUfunction, attrib: u32, value: i32);
    /// Preferred split of cache and shared memory for a function.
    #[call(62, wait)] #[by_hand(guest)]
    fn cuFuncSetCacheConfig(hfunc: CUfunction, config: u32);
    /// Width of shared memory's banks for a function.
    #[call(63, wait)] #[by_hand(guest)]
    fn cuFuncSetSharedMemConfig(hfunc: CUfunction, config: u32);
    /// Whether a function's code is on the device.
    #[call(64, wait)] #[since(12040)]
    fn cuFuncIsLoaded(#[out] state: u32, function: CUfunction);
    /// Brings a function's code to the device.
    #[call(65, wait)] #[since(12040)]
    fn cuFuncLoad(function: CUfunction);

    /// Begins linking. Options as for a module.
    #[call(70, wait)] #[by_hand(both)]
    fn gpuferryLinkCreate(#[new] state: CUlinkState, #[run] options: &[u8]);
    /// Adds an input. The logs so far come back.
    #[call(71, wait)] #[block] #[always] #[by_hand(both)]
    fn gpuferryLinkAdd(
        state: CUlinkState,
        kind: u32,
        #[len(bytes)] data: &[u8],
        bytes: usize,
        name: &CStr,
        #[run] options: &[u8],
        #[out] infoLog: Vec<u8>,
        #[out] errorLog: Vec<u8>,
    );
    /// Links. `bytes` of the image can then be read.
    #[call(72, wait)] #[block] #[always] #[by_hand(both)]
    fn gpuferryLinkComplete(
        state: CUlinkState,
        #[out] bytes: u64,
        #[out] wallTime: f32,
        #[out] infoLog: Vec<u8>,
        #[out] errorLog: Vec<u8>,
    );
    /// Reads bytes of a linked image.
    #[call(73, wait)] #[by_hand(both)]
    fn gpuferryLinkRead(state: CUlinkState, offset: u64, #[out] #[len(bytes)] data: &mut [u8], bytes: usize);
    /// Ends linking.
    #[call(74, wait)] #[by_hand(both)]
    fn gpuferryLinkDestroy(#[free] state: CUlinkState);
}

trait Launches {
    /// Every kind of launch. `f` is a function or a kernel. Attributes are u32 number, u32 0, 64 bytes of value each, handles in
    /// them ours. Parameters are packed as the kernel's layout says.
    #[call(90, either)] #[by_hand(both)]
    fn cuLaunchKernel(f: Handle, hStream: CUstream, launch: &Launch, #[run] attributes: &[u8], #[run(16)] parameters: &[u8]);
    /// Most blocks of a function that a multiprocessor holds at a time.
    #[call(91, wait)] #[by_hand(guest)]
    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        #[out] numBlocks: i32,
        func: CUfunction,
        blockSize: i32,
        dynamicSMemSize: usize,
        flags: u32,
    );
    /// Dynamic shared memory that is left for so many blocks.
    #[call(92, wait)] #[by_hand(guest)]
    fn cuOccupancyAvailableDynamicSMemPerBlock(#[out] dynamicSmemSize: usize, func: CUfunction, numBlocks: i32, blockSize: i32);
    /// Most clusters of a launch at a time; attributes as for launches.
    #[call(93, wait)] #[by_hand(both)]
    fn gpuferryOccupancyClusters(#[out] numClusters: i32, f: Handle, hStream: CUstream, launch: &Launch, #[run] attributes: &[u8]);
    /// Largest cluster of a launch; attributes as for launches.
    #[call(94, wait)] #[by_hand(both)]
    fn gpuferryOccupancyClusterSize(#[out] clusterSize: i32, f: Handle, hStream: CUstream, launch: &Launch, #[run] attributes: &[u8]);
}

trait Memory {
    /// Free and total bytes of the current device.
    #[call(100, wait)]
    fn cuMemGetInfo_v2(#[out] #[optional] free: usize, #[out] #[optional] total: usize);
    /// Allocates device memory.
    #[call(101, wait)] #[by_hand(both)]
    fn cuMemAlloc_v2(#[out] dptr: CUdeviceptr, bytesize: usize);
    /// Allocates rows.
    #[call(102, wait)] #[by_hand(both)]
    fn cuMemAllocPitch_v2(
        #[out] dptr: CUdeviceptr,
        #[out] pPitch: usize,
        WidthInBytes: usize,
        Height: usize,
        ElementSizeBytes: u32,
    );
    /// Frees device memory. Sleeps until the device is done with it.
    #[call(103, wait)] #[block] #[by_hand(both)]
    fn cuMemFree_v2(dptr: CUdeviceptr);
    /// Start and bytes of the allocation that an address is in.
    #[call(104, wait)] #[by_hand(guest)]
    fn cuMemGetAddressRange_v2(#[out] #[optional] pbase: CUdeviceptr, #[out] #[optional] psize: usize, dptr: CUdeviceptr);

    /// Sets N bytes.
    #[call(110, post)] #[by_hand(guest)]
    fn cuMemsetD8_v2(#[device(N)] dstDevice: CUdeviceptr, uc: u8, N: usize);
    /// Sets N times 16 bits.
    #[call(111, post)] #[by_hand(guest)]
    fn cuMemsetD16_v2(#[device(N * 2)] #[aligned(2)] dstDevice: CUdeviceptr, us: u16, N: usize);
    /// Sets N times 32 bits.
    #[call(112, post)] #[by_hand(guest)]
    fn cuMemsetD32_v2(#[device(N * 4)] #[aligned(4)] dstDevice: CUdeviceptr, ui: u32, N: usize);
    /// Sets rows of bytes.
    #[call(113, wait)] #[by_hand(guest)]
    fn cuMemsetD2D8_v2(
        #[device(dstPitch * (Height - 1) + Width)] dstDevice: CUdeviceptr,
        dstPitch: usize,
        uc: u8,
        Width: usize,
        Height: usize,
    );
    /// Sets rows of 16 bits.
    #[call(114, wait)] #[by_hand(guest)]
    fn cuMemsetD2D16_v2(
        #[device(dstPitch * (Height - 1) + Width * 2)] #[aligned(2)] dstDevice: CUdeviceptr,
        dstPitch: usize,
        us: u16,
        Width: usize,
        Height: usize,
    );
    /// Sets rows of 32 bits.
    #[call(115, wait)] #[by_hand(guest)]
    fn cuMemsetD2D32_v2(
        #[device(dstPitch * (Height - 1) + Width * 4)] #[aligned(4)] dstDevice: CUdeviceptr,
        dstPitch: usize,
        ui: u32,
        Width: usize,
        Height: usize,
    );
    /// Sets N bytes in a stream.
    #[call(116, post)] #[ptsz]
    fn cuMemsetD8Async(#[device(N)] dstDevice: CUdeviceptr, uc: u8, N: usize, hStream: CUstream);
    /// Sets N times 16 bits in a stream.
    #[call(117, post)] #[ptsz]
    fn cuMemsetD16Async(#[device(N * 2)] #[aligned(2)] dstDevice: CUdeviceptr, us: u16, N: usize, hStream: CUstream);
    /// Sets N times 32 bits in a stream.
    #[call(118, post)] #[ptsz]
    fn cuMemsetD32Async(#[device(N * 4)] #[aligned(4)] dstDevice: CUdeviceptr, ui: u32, N: usize, hStream: CUstream);
    /// Sets rows of bytes in a stream.
    #[call(119, wait)] #[ptsz]
    fn cuMemsetD2D8Async(
        #[device(dstPitch * (Height - 1) + Width)] dstDevice: CUdeviceptr,
        dstPitch: usize,
        uc: u8,
        Width: usize,
        Height: usize,
        hStream: CUstream,
    );
    /// Sets rows of 16 bits in a stream.
    #[call(120, wait)] #[ptsz]
    fn cuMemsetD2D16Async(
        #[device(dstPitch * (Height - 1) + Width * 2)] #[aligned(2)] dstDevice: CUdeviceptr,
        dstPitch: usize,
        us: u16,
        Width: usize,
        Height: usize,
        hStream: CUstream,
    );
    /// Sets rows of 32 bits in a stream.
    #[call(121, wait)] #[ptsz]
    fn cuMemsetD2D32Async(
        #[device(dstPitch * (Height - 1) + Width * 4)] #[aligned(4)] dstDevice: CUdeviceptr,
        dstPitch: usize,
        ui: u32,
        Width: usize,
        Height: usize,
        hStream: CUstream,
    );

    /// Copies to the device; answered when the source may change.
    #[call(130, wait)] #[block] #[by_hand(both)]
    fn cuMemcpyHtoD_v2(dstDevice: CUdeviceptr, #[len(ByteCount)] srcHost: &[u8], ByteCount: usize);
    /// The same for bytes in the frame or in staging: nobody waits, and what follows in the ring finds the data there.
    #[call(131, post)] #[by_hand(both)]
    fn gpuferryMemcpyHtoD(dstDevice: CUdeviceptr, #[len(ByteCount)] srcHost: &[u8], ByteCount: usize);
    /// Copies from the device; answered when the data is there.
    #[call(132, wait)] #[block] #[by_hand(both)]
    fn cuMemcpyDtoH_v2(#[out] #[len(ByteCount)] dstHost: &mut [u8], srcDevice: CUdeviceptr, ByteCount: usize);
    /// Copies on the device.
    #[call(133, post)] #[ptds(cuMemcpyDtoDAsync_v2)]
    fn cuMemcpyDtoD_v2(#[device(ByteCount)] dstDevice: CUdeviceptr, #[device(ByteCount)] srcDevice: CUdeviceptr, ByteCount: usize);
    /// Copies to the device in a stream, from bytes in the frame, or from staging that stays as it is until a later copy of this
    /// stream has been answered.
    #[call(134, post)] #[by_hand(both)]
    fn cuMemcpyHtoDAsync_v2(dstDevice: CUdeviceptr, #[len(ByteCount)] srcHost: &[u8], ByteCount: usize, hStream: CUstream);
    /// The same from staging or a lease; answered when the source may change.
    #[call(135, wait)] #[block] #[by_hand(both)]
    fn gpuferryMemcpyHtoDAsync(dstDevice: CUdeviceptr, #[len(ByteCount)] srcHost: &[u8], ByteCount: usize, hStream: CUstream);
    /// Copies from the device in a stream; answered when the data is there.
    #[call(136, wait)] #[block] #[by_hand(both)]
    fn cuMemcpyDtoHAsync_v2(
        #[out] #[len(ByteCount)] dstHost: &mut [u8],
        srcDevice: CUdeviceptr,
        ByteCount: usize,
        hStream: CUstream,
    );
    /// Copies from the device into staging at that offset of the window: what follows in the ring finds the data there.
    #[call(146, post)] #[by_hand(host)]
    fn gpuferryStageFromDevice(offset: u64, srcDevice: CUdeviceptr, ByteCount: usize);
    /// The same in a stream; the data is there when a later copy of this stream has been answered.
    #[call(147, post)] #[by_hand(host)]
    fn gpuferryStageFromDeviceAsync(offset: u64, srcDevice: CUdeviceptr, ByteCount: usize, hStream: CUstream);
    /// Copies on the device in a stream.
    #[call(137, post)] #[ptsz]
    fn cuMemcpyDtoDAsync_v2(
        #[device(ByteCount)] dstDevice: CUdeviceptr,
        #[device(ByteCount)] srcDevice: CUdeviceptr,
        ByteCount: usize,
        hStream: CUstream,
    );
    /// Copies between any two addresses that the device knows; answered when it is done.
    #[call(138, wait)] #[block] #[by_hand(both)]
    fn cuMemcpy(dst: CUdeviceptr, src: CUdeviceptr, ByteCount: usize);
    /// Copies between any two addresses that the device knows, in a stream.
    #[call(139, post)] #[by_hand(both)]
    fn cuMemcpyAsync(dst: CUdeviceptr, src: CUdeviceptr, ByteCount: usize, hStream: CUstream);
    /// Copies between devices.
    #[call(140, post)] #[ptds(cuMemcpyPeerAsync)]
    fn cuMemcpyPeer(
        #[device(ByteCount)] dstDevice: CUdeviceptr,
        dstContext: CUcontext,
        #[device(ByteCount)] srcDevice: CUdeviceptr,
        srcContext: CUcontext,
        ByteCount: usize,
    );
    /// Copies between devices in a stream.
    #[call(141, post)] #[ptsz]
    fn cuMemcpyPeerAsync(
        #[device(ByteCount)] dstDevice: CUdeviceptr,
        dstContext: CUcontext,
        #[device(ByteCount)] srcDevice: CUdeviceptr,
        srcContext: CUcontext,
        ByteCount: usize,
        hStream: CUstream,
    );
    /// Every 2-D and 3-D copy without pageable memory. `flags`: bit 0, in the stream (else on the null stream, as the call without
    /// stream does).
    #[call(142, post)] #[by_hand(both)]
    fn gpuferryMemcpy3D(copy: &Copy3D, srcArray: CUarray, dstArray: CUarray, hStream: CUstream, flags: u32);
    /// The same between memory and arrays of two contexts, each side's after its array.
    #[call(148, post)] #[by_hand(both)]
    fn gpuferryMemcpy3DPeer(
        copy: &Copy3D,
        srcArray: CUarray,
        srcContext: CUcontext,
        dstArray: CUarray,
        dstContext: CUcontext,
        hStream: CUstream,
        flags: u32,
    );
    /// `gpuferryMemcpy3D`, answered when it is done.
    #[call(143, wait)] #[block] #[by_hand(both)]
    fn gpuferryMemcpy3DSync(copy: &Copy3D, srcArray: CUarray, dstArray: CUarray, hStream: CUstream, flags: u32);
    /// A 2-D or 3-D copy from a buffer, which begins at the first byte that is read; answered when the source may change.
    #[call(144, wait)] #[block] #[by_hand(both)]
    fn gpuferryMemcpy3DFromHost(
        copy: &Copy3D,
        dstArray: CUarray,
        hStream: CUstream,
        flags: u32,
        #[len(bytes)] source: &[u8],
        bytes: usize,
    );
    /// A 2-D or 3-D copy to a buffer, which begins at the first byte that is written; answered when the data is there. Bytes
    /// between rows stay as they are.
    #[call(145, wait)] #[block] #[by_hand(both)]
    fn gpuferryMemcpy3DToHost(
        copy: &Copy3D,
        srcArray: CUarray,
        hStream: CUstream,
        flags: u32,
        #[out] #[len(bytes)] target: &mut [u8],
        bytes: usize,
    );

    /// Registers lent memory, mapped at the same address as in the guest. Flags are those of `cuMemHostRegister`.
    #[call(150, wait)] #[block] #[by_hand(both)]
    fn gpuferryMemHostRegister(address: u64, bytes: u64, lease: u32, flags: u32);
    /// Ends that. Sleeps until the device is done with it.
    #[call(151, wait)] #[block] #[by_hand(both)]
    fn gpuferryMemHostUnregister(address: u64);

    /// What the driver knows of an address.
    #[call(160, wait)] #[by_hand(both)]
    fn gpuferryPointerFacts(pointer: u64, #[out] facts: PointerFacts);
    /// Sets an attribute of an allocation whose value is 32 bits wide.
    #[call(161, wait)] #[by_hand(both)]
    fn gpuferryPointerSetAttribute(value: u32, attribute: u32, ptr: CUdeviceptr);
}

trait Pools {
    /// Allocates in a stream, from the device's current pool.
    #[call(170, wait)] #[by_hand(both)] #[since(11020)]
    fn cuMemAllocAsync(#[out] dptr: CUdeviceptr, bytesize: usize, hStream: CUstream);
    /// Allocates in a stream.
    #[call(171, wait)] #[by_hand(both)] #[since(11020)]
    fn cuMemAllocFromPoolAsync(#[out] dptr: CUdeviceptr, bytesize: usize, pool: CUmemoryPool, hStream: CUstream);
    /// Frees in a stream.
    #[call(172, post)] #[by_hand(both)] #[since(11020)]
    fn cuMemFreeAsync(dptr: CUdeviceptr, hStream: CUstream);
    /// Makes a pool.
    #[call(173, wait)] #[no_context] #[by_hand(host)] #[since(11020)]
    fn cuMemPoolCreate(#[new] pool: CUmemoryPool, poolProps: &CUmemPoolProps);
    /// Ends a pool.
    #[call(174, wait)] #[block] #[no_context] #[since(11020)]
    fn cuMemPoolDestroy(#[free] pool: CUmemoryPool);
    /// Gives unused memory back.
    #[call(175, wait)] #[block] #[no_context] #[disturbs] #[since(11020)]
    fn cuMemPoolTrimTo(pool: CUmemoryPool, minBytesToKeep: usize);
    /// Sets an attribute; a narrow one lies in the low bits.
    #[call(176, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryMemPoolSetAttribute(pool: CUmemoryPool, attr: u32, value: u64);
    /// An attribute; a narrow one lies in the low bits.
    #[call(177, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryMemPoolGetAttribute(pool: CUmemoryPool, attr: u32, #[out] value: u64);
    /// Sets who may access a pool's memory.
    #[call(178, wait)] #[no_context] #[by_hand(guest)] #[since(11020)]
    fn cuMemPoolSetAccess(pool: CUmemoryPool, #[len(count)] map: &[CUmemAccessDesc], count: usize);
    /// Who may access a pool's memory.
    #[call(179, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryMemPoolGetAccess(#[out] flags: u32, memPool: CUmemoryPool, location: &CUmemLocation);
}

/// Memory and events of another process of the guest. A token is 128 random bits that the worker of the owner made; what it stands
/// for, only workers of the same guest can look up.
trait OtherProcesses {
    /// Gives an allocation a token.
    #[call(370, wait)] #[by_hand(both)]
    fn gpuferryIpcGiveMemory(#[out] low: u64, #[out] high: u64, #[device(1)] dptr: CUdeviceptr);
    /// Gives an event a token.
    #[call(371, wait)] #[by_hand(both)]
    fn gpuferryIpcGiveEvent(#[out] low: u64, #[out] high: u64, event: CUevent);
    /// Opens an allocation of another process.
    #[call(372, wait)] #[by_hand(both)]
    fn gpuferryIpcOpenMemory(#[out] dptr: CUdeviceptr, #[out] bytes: u64, low: u64, high: u64, flags: u32);
    /// Closes it. `left` is how often it is still open.
    #[call(373, wait)] #[block] #[by_hand(both)]
    fn gpuferryIpcCloseMemory(dptr: CUdeviceptr, #[out] left: u32);
    /// Opens an event of another process.
    #[call(374, wait)] #[by_hand(both)]
    fn gpuferryIpcOpenEvent(#[new] event: CUevent, low: u64, high: u64);
    /// Gives physical memory a token, by which it can be had as long as the exporter has not ended it.
    #[call(375, wait)] #[block] #[no_context] #[by_hand(both)]
    fn gpuferryMemExport(#[out] low: u64, #[out] high: u64, handle: CUmemGenericAllocationHandle);
    /// Physical memory of another process, or of this one.
    #[call(376, wait)] #[block] #[no_context] #[by_hand(both)]
    fn gpuferryMemImport(#[new] handle: CUmemGenericAllocationHandle, low: u64, high: u64);
    /// Gives a pool a token.
    #[call(377, wait)] #[block] #[no_context] #[by_hand(both)]
    fn gpuferryMemPoolExport(#[out] low: u64, #[out] high: u64, pool: CUmemoryPool);
    /// A pool of another process.
    #[call(378, wait)] #[block] #[no_context] #[by_hand(both)]
    fn gpuferryMemPoolImport(#[new] pool: CUmemoryPool, low: u64, high: u64);
    /// Ends a token of memory or of a pool: the program has closed all its descriptors of that.
    #[call(379, post)] #[no_context] #[by_hand(both)]
    fn gpuferryExportEnd(low: u64, high: u64);
    /// Gives an allocation of a pool a token.
    #[call(380, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryMemPoolExportPointer(#[out] low: u64, #[out] high: u64, #[device(1)] ptr: CUdeviceptr);
    /// An allocation of another process's pool.
    #[call(381, wait)] #[by_hand(both)]
    fn gpuferryMemPoolImportPointer(#[out] ptr: CUdeviceptr, #[out] bytes: u64, pool: CUmemoryPool, low: u64, high: u64);
}

trait VirtualMemory {
    /// Reserves addresses.
    #[call(180, wait)] #[no_context] #[by_hand(both)]
    fn cuMemAddressReserve(#[out] ptr: CUdeviceptr, size: usize, alignment: usize, addr: CUdeviceptr, flags: u64);
    /// Gives addresses back.
    #[call(181, wait)] #[no_context] #[by_hand(both)]
    fn cuMemAddressFree(ptr: CUdeviceptr, size: usize);
    /// Allocates physical memory.
    #[call(182, wait)] #[no_context] #[by_hand(both)]
    fn cuMemCreate(#[new] handle: CUmemGenericAllocationHandle, size: usize, prop: &CUmemAllocationProp, flags: u64);
    /// Gives physical memory up.
    #[call(183, wait)] #[no_context] #[by_hand(both)]
    fn cuMemRelease(#[free] handle: CUmemGenericAllocationHandle);
    /// Maps physical memory at reserved addresses.
    #[call(184, wait)] #[no_context] #[by_hand(guest)]
    fn cuMemMap(#[device(size)] ptr: CUdeviceptr, size: usize, offset: usize, handle: CUmemGenericAllocationHandle, flags: u64);
    /// Ends a mapping.
    #[call(185, wait)] #[no_context] #[by_hand(guest)]
    fn cuMemUnmap(#[device(size)] ptr: CUdeviceptr, size: usize);
    /// Sets who may access mapped memory.
    #[call(186, wait)] #[no_context] #[by_hand(guest)]
    fn cuMemSetAccess(#[device(size)] ptr: CUdeviceptr, size: usize, #[len(count)] desc: &[CUmemAccessDesc], count: usize);
    /// Who may access mapped memory.
    #[call(187, wait)] #[no_context]
    fn cuMemGetAccess(#[out] flags: u64, location: &CUmemLocation, #[device(1)] ptr: CUdeviceptr);
    /// Granularity of physical memory.
    #[call(188, wait)] #[no_context] #[by_hand(host)]
    fn cuMemGetAllocationGranularity(#[out] granularity: usize, prop: &CUmemAllocationProp, option: u32);
    /// The physical memory that is mapped at an address.
    #[call(189, wait)] #[no_context] #[by_hand(guest)]
    fn cuMemRetainAllocationHandle(#[new] handle: CUmemGenericAllocationHandle, #[device(1)] addr: CUdeviceptr);
    /// Properties of physical memory.
    #[call(190, wait)] #[no_context]
    fn cuMemGetAllocationPropertiesFromHandle(#[out] prop: CUmemAllocationProp, handle: CUmemGenericAllocationHandle);
}

trait Streams {
    /// Makes a stream.
    #[call(200, post)] #[by_hand(guest)]
    fn cuStreamCreate(#[new] phStream: CUstream, Flags: u32);
    /// Makes a stream with a priority.
    #[call(201, post)] #[by_hand(guest)]
    fn cuStreamCreateWithPriority(#[new] phStream: CUstream, flags: u32, priority: i32);
    /// Ends a stream when its work is done.
    #[call(202, post)] #[by_hand(guest)] #[alias(cuStreamDestroy)]
    fn cuStreamDestroy_v2(#[free] hStream: CUstream);
    /// Whether all work of a stream is done.
    #[call(203, wait)] #[by_hand(guest)]
    fn cuStreamQuery(hStream: CUstream);
    /// Waits for all work of a stream.
    #[call(204, wait)] #[block] #[by_hand(guest)]
    fn cuStreamSynchronize(hStream: CUstream);
    /// Makes a stream wait for an event.
    #[call(205, post)] #[ptsz]
    fn cuStreamWaitEvent(hStream: CUstream, hEvent: CUevent, Flags: u32);
    /// A stream's priority.
    #[call(206, wait)] #[ptsz]
    fn cuStreamGetPriority(hStream: CUstream, #[out] priority: i32);
    /// A stream's flags.
    #[call(207, wait)] #[ptsz]
    fn cuStreamGetFlags(hStream: CUstream, #[out] flags: u32);
    /// A stream's number, never used again.
    #[call(208, wait)] #[ptsz] #[since(12000)]
    fn cuStreamGetId(hStream: CUstream, #[out] streamId: u64);
    /// Copies a stream's attributes.
    #[call(209, wait)] #[ptsz]
    fn cuStreamCopyAttributes(dst: CUstream, src: CUstream);
    /// Sets an attribute of a stream; 64 bytes of value.
    #[call(210, wait)] #[by_hand(both)]
    fn gpuferryStreamSetAttribute(hStream: CUstream, attr: u32, #[run] value: &[u8]);
    /// An attribute of a stream; 64 bytes of value.
    #[call(211, wait)] #[by_hand(both)]
    fn gpuferryStreamGetAttribute(hStream: CUstream, attr: u32, #[out] value: Vec<u8>);
    /// Writes 32 bits when the stream comes there.
    #[call(212, post)] #[ptsz]
    fn cuStreamWriteValue32_v2(stream: CUstream, #[device(4)] addr: CUdeviceptr, value: u32, flags: u32);
    /// Makes the stream wait for a value of 32 bits.
    #[call(213, post)] #[ptsz]
    fn cuStreamWaitValue32_v2(stream: CUstream, #[device(4)] addr: CUdeviceptr, value: u32, flags: u32);
    /// Writes 64 bits when the stream comes there.
    #[call(214, post)] #[ptsz]
    fn cuStreamWriteValue64_v2(stream: CUstream, #[device(8)] addr: CUdeviceptr, value: u64, flags: u32);
    /// Makes the stream wait for a value of 64 bits.
    #[call(215, post)] #[ptsz]
    fn cuStreamWaitValue64_v2(stream: CUstream, #[device(8)] addr: CUdeviceptr, value: u64, flags: u32);
    /// Writes and waits in one, 48 bytes each (`CUstreamBatchMemOpParams`).
    #[call(220, post)] #[by_hand(both)]
    fn gpuferryStreamBatchMemOp(stream: CUstream, #[run] operations: &[u8], flags: u32);
    /// Begins to record a graph.
    #[call(216, wait)] #[by_hand(both)]
    fn cuStreamBeginCapture_v2(hStream: CUstream, mode: u32);
    /// Ends recording.
    #[call(217, wait)] #[by_hand(guest)]
    fn cuStreamEndCapture(hStream: CUstream, #[new] phGraph: CUgraph);
    /// Whether a stream records.
    #[call(218, wait)] #[by_hand(guest)]
    fn cuStreamIsCapturing(hStream: CUstream, #[out] captureStatus: u32);
    /// What a stream records: its state, and the number of the recording.
    #[call(219, wait)] #[by_hand(both)]
    fn gpuferryStreamCaptureInfo(hStream: CUstream, #[out] captureStatus: u32, #[out] id: u64);
}

trait HostFunctions {
    /// Makes the stream call a function of the guest's, known by a number. `callback` is 1 for `cuStreamAddCallback`, 0 for
    /// `cuLaunchHostFunc`. The stream goes on when the number is confirmed.
    #[call(240, post)] #[by_hand(both)]
    fn gpuferryHostFunction(hStream: CUstream, id: u64, callback: u32);
    /// A standing call (spec/wire.md), answered each time that a function is due; done with the answer is the function when it has run.
    /// `streamStatus` is the stream's, for a callback.
    #[call(241, wait)] #[block] #[no_context] #[by_hand(both)]
    fn gpuferryNextHostFunction(#[out] id: u64, #[out] streamStatus: i32);
    /// What kernels have printed and the guest has not; nothing where there is no more. How much there is stands in the window.
    /// The first byte is the stream's number (1 output, 2 error), and all of one answer is that stream's.
    #[call(243, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryPrinted(#[out] printed: Vec<u8>);
}

trait Events {
    /// Makes an event.
    #[call(230, post)] #[by_hand(guest)]
    fn cuEventCreate(#[new] phEvent: CUevent, Flags: u32);
    /// Records an event.
    #[call(231, post)] #[by_hand(guest)]
    fn cuEventRecord(hEvent: CUevent, hStream: CUstream);
    /// Records an event.
    #[call(232, post)] #[since(11010)] #[by_hand(guest)]
    fn cuEventRecordWithFlags(hEvent: CUevent, hStream: CUstream, flags: u32);
    /// Whether an event has happened.
    #[call(233, wait)] #[by_hand(guest)]
    fn cuEventQuery(hEvent: CUevent);
    /// Waits for an event.
    #[call(234, wait)] #[block] #[by_hand(guest)]
    fn cuEventSynchronize(hEvent: CUevent);
    /// Ends an event.
    #[call(235, post)] #[alias(cuEventDestroy)]
    fn cuEventDestroy_v2(#[free] hEvent: CUevent);
    /// Milliseconds between two events.
    #[call(236, wait)] #[alias(cuEventElapsedTime)]
    fn cuEventElapsedTime_v2(#[out] pMilliseconds: f32, hStart: CUevent, hEnd: CUevent);
}

trait Arrays {
    /// Makes a 1-D or 2-D array.
    #[call(260, wait)]
    fn cuArrayCreate_v2(#[new] pHandle: CUarray, pAllocateArray: &CUDA_ARRAY_DESCRIPTOR);
    /// An array's description.
    #[call(261, wait)]
    fn cuArrayGetDescriptor_v2(#[out] pArrayDescriptor: CUDA_ARRAY_DESCRIPTOR, hArray: CUarray);
    /// Makes a 3-D array.
    #[call(262, wait)]
    fn cuArray3DCreate_v2(#[new] pHandle: CUarray, pAllocateArray: &CUDA_ARRAY3D_DESCRIPTOR);
    /// A 3-D array's description.
    #[call(263, wait)]
    fn cuArray3DGetDescriptor_v2(#[out] pArrayDescriptor: CUDA_ARRAY3D_DESCRIPTOR, hArray: CUarray);
    /// Ends an array.
    #[call(264, wait)] #[block]
    fn cuArrayDestroy(#[free] hArray: CUarray);
    /// A plane of an array.
    #[call(265, wait)]
    fn cuArrayGetPlane(#[new(hArray)] pPlaneArray: CUarray, hArray: CUarray, planeIdx: u32);
    /// Makes a mipmapped array.
    #[call(266, wait)]
    fn cuMipmappedArrayCreate(
        #[new] pHandle: CUmipmappedArray,
        pMipmappedArrayDesc: &CUDA_ARRAY3D_DESCRIPTOR,
        numMipmapLevels: u32,
    );
    /// A level of a mipmapped array.
    #[call(267, wait)]
    fn cuMipmappedArrayGetLevel(#[new(hMipmappedArray)] pLevelArray: CUarray, hMipmappedArray: CUmipmappedArray, level: u32);
    /// Ends a mipmapped array.
    #[call(268, wait)] #[block]
    fn cuMipmappedArrayDestroy(#[free] hMipmappedArray: CUmipmappedArray);
    /// Memory that an array takes.
    #[call(275, wait)] #[since(11070)]
    fn cuArrayGetMemoryRequirements(#[out] memoryRequirements: CUDA_ARRAY_MEMORY_REQUIREMENTS, array: CUarray, device: CUdevice);
    /// Memory that a mipmapped array takes.
    #[call(276, wait)] #[since(11070)]
    fn cuMipmappedArrayGetMemoryRequirements(
        #[out] memoryRequirements: CUDA_ARRAY_MEMORY_REQUIREMENTS,
        mipmap: CUmipmappedArray,
        device: CUdevice,
    );
    /// How a sparse array lies.
    #[call(277, wait)] #[since(11010)]
    fn cuArrayGetSparseProperties(#[out] sparseProperties: CUDA_ARRAY_SPARSE_PROPERTIES, array: CUarray);
    /// How a sparse mipmapped array lies.
    #[call(278, wait)] #[since(11010)]
    fn cuMipmappedArrayGetSparseProperties(#[out] sparseProperties: CUDA_ARRAY_SPARSE_PROPERTIES, mipmap: CUmipmappedArray);
    /// Copies into a 1-D array.
    #[call(270, wait)] #[block]
    fn cuMemcpyHtoA_v2(dstArray: CUarray, dstOffset: usize, #[len(ByteCount)] srcHost: &[u8], ByteCount: usize);
    /// Copies from a 1-D array.
    #[call(271, wait)] #[block]
    fn cuMemcpyAtoH_v2(#[out] #[len(ByteCount)] dstHost: &mut [u8], srcArray: CUarray, srcOffset: usize, ByteCount: usize);
    /// Copies from the device into a 1-D array.
    #[call(272, post)]
    fn cuMemcpyDtoA_v2(dstArray: CUarray, dstOffset: usize, #[device(ByteCount)] srcDevice: CUdeviceptr, ByteCount: usize);
    /// Copies from a 1-D array to the device.
    #[call(273, post)]
    fn cuMemcpyAtoD_v2(#[device(ByteCount)] dstDevice: CUdeviceptr, srcArray: CUarray, srcOffset: usize, ByteCount: usize);
    /// Copies between 1-D arrays.
    #[call(274, post)]
    fn cuMemcpyAtoA_v2(dstArray: CUarray, dstOffset: usize, srcArray: CUarray, srcOffset: usize, ByteCount: usize);

    /// Gives tiles of sparse arrays memory, or takes it away: 96 bytes each (`CUarrayMapInfo`), handles in them ours.
    #[call(279, wait)] #[by_hand(both)]
    fn gpuferryMemMapArray(hStream: CUstream, #[run] list: &[u8]);

    /// Makes a texture. `array` is the array or mipmapped array that `resource` reads, or null; `viewed` is 0 where there is no view.
    #[call(280, wait)] #[by_hand(both)]
    fn gpuferryTexObjectCreate(
        #[out] texObject: CUtexObject,
        resource: &Resource,
        array: Handle,
        texture: &CUDA_TEXTURE_DESC,
        view: &CUDA_RESOURCE_VIEW_DESC,
        viewed: u32,
    );
    /// Ends a texture.
    #[call(281, post)] #[by_hand(both)]
    fn cuTexObjectDestroy(texObject: CUtexObject);
    /// Makes a tensor map.
    #[call(284, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryTensorMapEncodeTiled(#[out] tensorMap: CUtensorMap, tiles: &TensorTiles);
    /// Makes an im2col tensor map.
    #[call(285, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryTensorMapEncodeIm2col(#[out] tensorMap: CUtensorMap, columns: &TensorColumns);
    /// Changes the address in a tensor map.
    #[call(286, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryTensorMapReplaceAddress(#[out] tensorMap: CUtensorMap, before: &CUtensorMap, globalAddress: u64);
    /// Makes a surface.
    #[call(282, wait)] #[by_hand(both)]
    fn gpuferrySurfObjectCreate(#[out] surfObject: CUsurfObject, array: Handle);
    /// Ends a surface.
    #[call(283, post)] #[by_hand(both)]
    fn cuSurfObjectDestroy(surfObject: CUsurfObject);
}

/// References to textures and surfaces that a module declares: deprecated since CUDA 11, and still there.
trait References {
    /// A texture reference of a module.
    #[call(340, wait)]
    fn cuModuleGetTexRef(#[new(hmod)] pTexRef: CUtexref, hmod: CUmodule, name: &CStr);
    /// A surface reference of a module.
    #[call(341, wait)]
    fn cuModuleGetSurfRef(#[new(hmod)] pSurfRef: CUsurfref, hmod: CUmodule, name: &CStr);
    /// Makes a texture reference.
    #[call(342, wait)]
    fn cuTexRefCreate(#[new] pTexRef: CUtexref);
    /// Ends a texture reference.
    #[call(343, wait)]
    fn cuTexRefDestroy(#[free] hTexRef: CUtexref);
    /// The array that is read; the guest keeps which one it is.
    #[call(344, wait)] #[by_hand(guest)]
    fn cuTexRefSetArray(hTexRef: CUtexref, hArray: CUarray, Flags: u32);
    /// The mipmapped array that is read.
    #[call(345, wait)] #[by_hand(guest)]
    fn cuTexRefSetMipmappedArray(hTexRef: CUtexref, hMipmappedArray: CUmipmappedArray, Flags: u32);
    /// The linear memory that is read.
    #[call(346, wait)]
    fn cuTexRefSetAddress_v2(
        #[out] #[optional] ByteOffset: usize,
        hTexRef: CUtexref,
        #[device(bytes)] dptr: CUdeviceptr,
        bytes: usize,
    );
    /// The pitched memory that is read.
    #[call(347, wait)] #[alias(cuTexRefSetAddress2D_v2)]
    fn cuTexRefSetAddress2D_v3(
        hTexRef: CUtexref,
        desc: &CUDA_ARRAY_DESCRIPTOR,
        #[device(1)] dptr: CUdeviceptr,
        Pitch: usize,
    );
    /// Sets the format.
    #[call(348, wait)]
    fn cuTexRefSetFormat(hTexRef: CUtexref, fmt: u32, NumPackedComponents: i32);
    /// Sets what lies outside.
    #[call(349, wait)]
    fn cuTexRefSetAddressMode(hTexRef: CUtexref, dim: i32, am: u32);
    /// Sets the filter.
    #[call(350, wait)]
    fn cuTexRefSetFilterMode(hTexRef: CUtexref, fm: u32);
    /// Sets the filter between levels.
    #[call(351, wait)]
    fn cuTexRefSetMipmapFilterMode(hTexRef: CUtexref, fm: u32);
    /// Sets the bias of levels.
    #[call(352, wait)]
    fn cuTexRefSetMipmapLevelBias(hTexRef: CUtexref, bias: f32);
    /// Sets the bounds of levels.
    #[call(353, wait)]
    fn cuTexRefSetMipmapLevelClamp(hTexRef: CUtexref, minMipmapLevelClamp: f32, maxMipmapLevelClamp: f32);
    /// Sets the anisotropy.
    #[call(354, wait)]
    fn cuTexRefSetMaxAnisotropy(hTexRef: CUtexref, maxAniso: u32);
    /// Sets the border.
    #[call(355, wait)]
    fn cuTexRefSetBorderColor(hTexRef: CUtexref, pBorderColor: &BorderColor);
    /// Sets the flags.
    #[call(356, wait)]
    fn cuTexRefSetFlags(hTexRef: CUtexref, Flags: u32);
    /// The memory that is read.
    #[call(357, wait)]
    fn cuTexRefGetAddress_v2(#[out] pdptr: CUdeviceptr, hTexRef: CUtexref);
    /// What lies outside.
    #[call(358, wait)]
    fn cuTexRefGetAddressMode(#[out] pam: u32, hTexRef: CUtexref, dim: i32);
    /// The filter.
    #[call(359, wait)]
    fn cuTexRefGetFilterMode(#[out] pfm: u32, hTexRef: CUtexref);
    /// The format.
    #[call(360, wait)]
    fn cuTexRefGetFormat(#[out] #[optional] pFormat: u32, #[out] #[optional] pNumChannels: i32, hTexRef: CUtexref);
    /// The filter between levels.
    #[call(361, wait)]
    fn cuTexRefGetMipmapFilterMode(#[out] pfm: u32, hTexRef: CUtexref);
    /// The bias of levels.
    #[call(362, wait)]
    fn cuTexRefGetMipmapLevelBias(#[out] pbias: f32, hTexRef: CUtexref);
    /// The bounds of levels.
    #[call(363, wait)]
    fn cuTexRefGetMipmapLevelClamp(#[out] pminMipmapLevelClamp: f32, #[out] pmaxMipmapLevelClamp: f32, hTexRef: CUtexref);
    /// The anisotropy.
    #[call(364, wait)]
    fn cuTexRefGetMaxAnisotropy(#[out] pmaxAniso: i32, hTexRef: CUtexref);
    /// The border.
    #[call(365, wait)]
    fn cuTexRefGetBorderColor(#[out] pBorderColor: BorderColor, hTexRef: CUtexref);
    /// The flags.
    #[call(366, wait)]
    fn cuTexRefGetFlags(#[out] pFlags: u32, hTexRef: CUtexref);
    /// A texture that launches of a function by the deprecated calls need.
    #[call(367, wait)]
    fn cuParamSetTexRef(hfunc: CUfunction, texunit: i32, hTexRef: CUtexref);
    /// The array that is written.
    #[call(368, wait)] #[by_hand(guest)]
    fn cuSurfRefSetArray(hSurfRef: CUsurfref, hArray: CUarray, Flags: u32);
}

trait Graphs {
    /// Makes an empty graph.
    #[call(300, wait)] #[no_context]
    fn cuGraphCreate(#[new] phGraph: CUgraph, flags: u32);
    /// Ends a graph.
    #[call(301, post)] #[no_context] #[by_hand(guest)]
    fn cuGraphDestroy(#[free] hGraph: CUgraph);
    /// Copies a graph.
    #[call(302, wait)] #[no_context] #[by_hand(guest)]
    fn cuGraphClone(#[new] phGraphClone: CUgraph, originalGraph: CUgraph);
    /// Makes a graph ready to launch.
    #[call(304, wait)] #[by_hand(guest)]
    fn cuGraphInstantiateWithFlags(#[new] phGraphExec: CUgraphExec, hGraph: CUgraph, flags: u64);
    /// Launches a graph.
    #[call(305, post)] #[by_hand(guest)]
    fn cuGraphLaunch(hGraphExec: CUgraphExec, hStream: CUstream);
    /// Brings a graph to the device.
    #[call(306, post)] #[ptsz]
    fn cuGraphUpload(hGraphExec: CUgraphExec, hStream: CUstream);
    /// Ends a graph that is ready to launch.
    #[call(307, post)] #[no_context] #[disturbs]
    fn cuGraphExecDestroy(#[free] hGraphExec: CUgraphExec);
    /// Flags that a graph was made ready with.
    #[call(308, wait)] #[no_context]
    fn cuGraphExecGetFlags(hGraphExec: CUgraphExec, #[out] flags: u64);
    /// Adds a node of a kind (`NODE_`). Edges are a node and 8 bytes of `CUgraphEdgeData` each; `params` is the kind's
    /// struct, `data` what travels beside it. `dptr` is an allocation's address.
    #[call(309, wait)] #[by_hand(both)]
    fn gpuferryGraphAddNode(
        #[out] node: u64,
        #[out] dptr: u64,
        hGraph: CUgraph,
        kind: u32,
        #[run] edges: &[u8],
        #[run] params: &[u8],
        #[run(16)] data: &[u8],
    );
    /// Changes a node: in its graph, or in `exec` where that is not null.
    #[call(310, wait)] #[by_hand(both)]
    fn gpuferryGraphSetNode(exec: Handle, node: Handle, kind: u32, #[run] params: &[u8], #[run(16)] data: &[u8]);
    /// What a node does: the kind's struct and what is beside it, as runs. `total` is how many bytes that is.
    #[call(311, wait)] #[by_hand(both)]
    fn gpuferryGraphGetNode(node: Handle, kind: u32, #[out] total: u32, #[out] #[len(bytes)] data: &mut [u8], bytes: usize);
    /// Lists of a graph or of a node (`LIST_`). Each entry is
    /// two nodes and 8 bytes of edge data; what is not there is zero. `total` is how many there are.
    #[call(312, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphList(of: Handle, what: u32, #[out] total: u64, #[out] #[len(bytes)] list: &mut [u8], bytes: usize);
    /// Adds edges, or takes them away. Each is two nodes and 8 bytes of edge data.
    #[call(313, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphEdges(hGraph: CUgraph, add: u32, #[run] edges: &[u8]);
    /// Ends a node.
    #[call(314, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphDestroyNode(node: Handle);
    /// Kind of a node.
    #[call(315, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphNodeType(node: Handle, #[out] kind: u32);
    /// The graph that a node is in.
    #[call(338, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphOf(node: Handle, #[out] graph: u64);
    /// The graph in a node: its child, or a conditional node's body by number.
    #[call(316, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphInNode(#[new] graph: CUgraph, node: Handle, body: u32);
    /// The node of a copied graph that is a node's copy.
    #[call(317, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphFindInClone(#[out] found: u64, node: Handle, hClonedGraph: CUgraph);
    /// Switches a node on (1) or off (0), or asks (2).
    #[call(318, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphNodeEnabled(hGraphExec: CUgraphExec, node: Handle, what: u32, #[out] isEnabled: u32);
    /// Makes a graph that is ready to launch equal to another one.
    #[call(319, wait)] #[no_context] #[always] #[by_hand(both)]
    fn gpuferryGraphExecUpdate(
        hGraphExec: CUgraphExec,
        hGraph: CUgraph,
        #[out] result: u32,
        #[out] errorNode: u64,
        #[out] errorFromNode: u64,
    );
    /// Makes a graph ready to launch, says why not, and brings it to the device in a stream where the flags say so.
    #[call(322, wait)] #[always] #[by_hand(both)]
    fn gpuferryGraphInstantiate(
        #[new] phGraphExec: CUgraphExec,
        hGraph: CUgraph,
        flags: u64,
        hUploadStream: CUstream,
        #[out] result: u32,
        #[out] errorNode: u64,
    );
    /// An attribute of a kernel node; 64 bytes of value.
    #[call(323, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphGetAttribute(node: Handle, attr: u32, #[out] value: Vec<u8>);
    /// Sets an attribute of a kernel node; 64 bytes of value.
    #[call(324, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphSetAttribute(node: Handle, attr: u32, #[run] value: &[u8]);
    /// Copies the attributes of a kernel node.
    #[call(325, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphCopyAttributes(dst: Handle, src: Handle);
    /// A condition that kernels set.
    #[call(326, wait)] #[by_hand(both)]
    fn gpuferryGraphConditionalHandle(#[out] handle: u64, hGraph: CUgraph, ctx: Handle, defaultLaunchValue: u32, flags: u32);
    /// Bytes of memory that graphs hold.
    #[call(327, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryGraphMemAttribute(device: CUdevice, attr: u32, set: u32, value: u64, #[out] now: u64);
    /// Makes an object whose end calls the guest's function with that number.
    #[call(328, wait)] #[no_context] #[by_hand(both)]
    fn gpuferryUserObjectCreate(#[new] object: CUuserObject, id: u64, initialRefcount: u32, flags: u32);
    /// Counts up.
    #[call(329, wait)] #[no_context] #[by_hand(host)]
    fn cuUserObjectRetain(object: CUuserObject, count: u32);
    /// Counts down. The number ends with the program's last reference.
    #[call(330, wait)] #[no_context] #[by_hand(host)]
    fn cuUserObjectRelease(object: CUuserObject, count: u32);
    /// Gives a graph references.
    #[call(331, wait)] #[no_context] #[by_hand(host)]
    fn cuGraphRetainUserObject(graph: CUgraph, object: CUuserObject, count: u32, flags: u32);
    /// Takes references from a graph.
    #[call(332, wait)] #[no_context]
    fn cuGraphReleaseUserObject(graph: CUgraph, object: CUuserObject, count: u32);

    /// The graph that a stream records.
    #[call(333, wait)] #[by_hand(both)]
    fn gpuferryCaptureGraph(#[new] graph: CUgraph, hStream: CUstream);
    /// The nodes that the next one of a recording stream depends on: 16 bytes each, a node and its edge data.
    #[call(334, wait)] #[by_hand(both)]
    fn gpuferryCaptureDependencies(
        hStream: CUstream,
        graph: CUgraph,
        #[out] total: u64,
        #[out] #[len(bytes)] list: &mut [u8],
        bytes: usize,
    );
    /// Ends a recording whose graph has a number already.
    #[call(335, wait)] #[by_hand(both)]
    fn gpuferryEndCaptureOf(hStream: CUstream, graph: CUgraph);
    /// Begins to record into a graph, after nodes: 16 bytes each, a node and its edge data.
    #[call(336, wait)] #[by_hand(both)]
    fn gpuferryBeginCaptureToGraph(hStream: CUstream, hGraph: CUgraph, #[run] dependencies: &[u8]);
    /// Adds nodes that the next one of a recording stream depends on, or sets them (`flags`).
    #[call(337, wait)] #[by_hand(both)]
    fn gpuferryUpdateCaptureDependencies(hStream: CUstream, #[run] dependencies: &[u8], flags: u32);
}

trait Profiler {
    /// Begins profiling.
    #[call(320, wait)]
    fn cuProfilerStart();
    /// Ends profiling.
    #[call(321, wait)]
    fn cuProfilerStop();
}

/// What hand-written forwarders call in the host's library.
trait Driver {
    #[driver]
    fn cuInit(Flags: u32);
    #[driver]
    fn cuCtxSetCurrent(ctx: CUcontext);
    #[driver]
    fn cuCtxPopCurrent_v2(pctx: *mut CUcontext);
    #[driver]
    fn cuDeviceGetName(name: *mut c_char, len: i32, dev: CUdevice);
    #[driver] #[alias(cuDeviceGetUuid)]
    fn cuDeviceGetUuid_v2(uuid: *mut u8, dev: CUdevice);
    #[driver]
    fn cuDeviceGetLuid(luid: *mut u8, deviceNodeMask: *mut u32, dev: CUdevice);
    #[driver]
    fn cuDeviceTotalMem_v2(bytes: *mut usize, dev: CUdevice);
    #[driver]
    fn cuDeviceGetAttribute(pi: *mut i32, attrib: u32, dev: CUdevice);
    #[driver] #[alias(cuDevicePrimaryCtxRelease)]
    fn cuDevicePrimaryCtxRelease_v2(dev: CUdevice);
    #[driver] #[alias(cuDevicePrimaryCtxReset)]
    fn cuDevicePrimaryCtxReset_v2(dev: CUdevice);
    #[driver]
    fn cuCtxCreate_v2(pctx: *mut CUcontext, flags: u32, dev: CUdevice);
    #[driver]
    fn cuCtxDestroy_v2(ctx: CUcontext);
    #[driver] #[since(12000)]
    fn cuCtxGetId(ctx: CUcontext, ctxId: *mut u64);

    #[driver] #[since(12040)]
    fn cuDeviceGetDevResource(device: CUdevice, resource: *mut c_void, kind: u32);
    #[driver] #[since(12040)]
    fn cuCtxGetDevResource(hCtx: CUcontext, resource: *mut c_void, kind: u32);
    #[driver] #[since(12040)]
    fn cuGreenCtxGetDevResource(hCtx: CUgreenCtx, resource: *mut c_void, kind: u32);
    #[driver] #[since(12040)]
    fn cuDevSmResourceSplitByCount(
        result: *mut c_void,
        nbGroups: *mut u32,
        input: *const c_void,
        remaining: *mut c_void,
        useFlags: u32,
        minCount: u32,
    );
    #[driver] #[since(12040)]
    fn cuDevResourceGenerateDesc(phDesc: *mut CUdevResourceDesc, resources: *mut c_void, nbResources: u32);
    #[driver] #[since(12040)]
    fn cuGreenCtxDestroy(hCtx: CUgreenCtx);

    #[driver]
    fn cuModuleLoadDataEx(module: *mut CUmodule, image: *const c_void, numOptions: u32, options: *mut u32, optionValues: *mut *mut c_void);
    #[driver]
    fn cuModuleGetGlobal_v2(dptr: *mut CUdeviceptr, bytes: *mut usize, hmod: CUmodule, name: *const c_char);
    #[driver] #[since(12040)]
    fn cuModuleEnumerateFunctions(functions: *mut CUfunction, numFunctions: u32, hmod: CUmodule);
    #[driver]
    fn cuLibraryLoadData(
        library: *mut CUlibrary,
        code: *const c_void,
        jitOptions: *mut u32,
        jitOptionsValues: *mut *mut c_void,
        numJitOptions: u32,
        libraryOptions: *mut u32,
        libraryOptionValues: *mut *mut c_void,
        numLibraryOptions: u32,
    );
    #[driver]
    fn cuLibraryUnload(library: CUlibrary);
    #[driver]
    fn cuLibraryGetGlobal(dptr: *mut CUdeviceptr, bytes: *mut usize, library: CUlibrary, name: *const c_char);
    #[driver]
    fn cuLibraryGetManaged(dptr: *mut CUdeviceptr, bytes: *mut usize, library: CUlibrary, name: *const c_char);
    #[driver] #[since(12040)]
    fn cuLibraryEnumerateKernels(kernels: *mut CUkernel, numKernels: u32, lib: CUlibrary);
    #[driver] #[since(12030)]
    fn cuFuncGetName(name: *mut *const c_char, hfunc: CUfunction);
    #[driver] #[since(12030)]
    fn cuKernelGetName(name: *mut *const c_char, hfunc: CUkernel);
    #[driver]
    fn cuFuncGetAttribute(pi: *mut i32, attrib: u32, hfunc: CUfunction);
    #[driver]
    fn cuKernelGetAttribute(pi: *mut i32, attrib: u32, kernel: CUkernel, dev: CUdevice);
    #[driver] #[since(12040)]
    fn cuFuncGetParamInfo(func: CUfunction, paramIndex: usize, paramOffset: *mut usize, paramSize: *mut usize);
    #[driver] #[since(12040)]
    fn cuKernelGetParamInfo(kernel: CUkernel, paramIndex: usize, paramOffset: *mut usize, paramSize: *mut usize);
    #[driver]
    fn cuLinkCreate_v2(numOptions: u32, options: *mut u32, optionValues: *mut *mut c_void, stateOut: *mut CUlinkState);
    #[driver]
    fn cuLinkAddData_v2(
        state: CUlinkState,
        kind: u32,
        data: *mut c_void,
        size: usize,
        name: *const c_char,
        numOptions: u32,
        options: *mut u32,
        optionValues: *mut *mut c_void,
    );
    #[driver]
    fn cuLinkComplete(state: CUlinkState, cubinOut: *mut *mut c_void, sizeOut: *mut usize);
    #[driver]
    fn cuLinkDestroy(state: CUlinkState);

    #[driver]
    fn cuLaunchKernel(
        f: CUfunction,
        gridDimX: u32,
        gridDimY: u32,
        gridDimZ: u32,
        blockDimX: u32,
        blockDimY: u32,
        blockDimZ: u32,
        sharedMemBytes: u32,
        hStream: CUstream,
        kernelParams: *mut *mut c_void,
        extra: *mut *mut c_void,
    );
    #[driver]
    fn cuLaunchCooperativeKernel(
        f: CUfunction,
        gridDimX: u32,
        gridDimY: u32,
        gridDimZ: u32,
        blockDimX: u32,
        blockDimY: u32,
        blockDimZ: u32,
        sharedMemBytes: u32,
        hStream: CUstream,
        kernelParams: *mut *mut c_void,
    );
    #[driver] #[since(11080)]
    fn cuLaunchKernelEx(config: *const c_void, f: CUfunction, kernelParams: *mut *mut c_void, extra: *mut *mut c_void);
    #[driver] #[since(11080)]
    fn cuOccupancyMaxActiveClusters(numClusters: *mut i32, func: CUfunction, config: *const c_void);
    #[driver] #[since(11080)]
    fn cuOccupancyMaxPotentialClusterSize(clusterSize: *mut i32, func: CUfunction, config: *const c_void);

    #[driver]
    fn cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytesize: usize);
    #[driver]
    fn cuMemAllocPitch_v2(dptr: *mut CUdeviceptr, pPitch: *mut usize, WidthInBytes: usize, Height: usize, ElementSizeBytes: u32);
    #[driver]
    fn cuMemFree_v2(dptr: CUdeviceptr);
    #[driver]
    fn cuMemcpyHtoD_v2(dstDevice: CUdeviceptr, srcHost: *const c_void, ByteCount: usize);
    #[driver]
    fn cuMemcpyDtoH_v2(dstHost: *mut c_void, srcDevice: CUdeviceptr, ByteCount: usize);
    #[driver]
    fn cuMemcpy(dst: CUdeviceptr, src: CUdeviceptr, ByteCount: usize);
    #[driver]
    fn cuMemcpyAsync(dst: CUdeviceptr, src: CUdeviceptr, ByteCount: usize, hStream: CUstream);
    #[driver]
    fn cuMemcpyHtoDAsync_v2(dstDevice: CUdeviceptr, srcHost: *const c_void, ByteCount: usize, hStream: CUstream);
    #[driver]
    fn cuMemcpyDtoHAsync_v2(dstHost: *mut c_void, srcDevice: CUdeviceptr, ByteCount: usize, hStream: CUstream);
    #[driver]
    fn cuMemcpy3D_v2(pCopy: *const c_void);
    #[driver]
    fn cuMemcpy3DAsync_v2(pCopy: *const c_void, hStream: CUstream);
    #[driver]
    fn cuMemcpy3DPeer(pCopy: *const c_void);
    #[driver]
    fn cuMemcpy3DPeerAsync(pCopy: *const c_void, hStream: CUstream);
    #[driver]
    fn cuMemHostRegister_v2(p: *mut c_void, bytesize: usize, Flags: u32);
    #[driver]
    fn cuMemHostUnregister(p: *mut c_void);
    #[driver]
    fn cuMemHostGetDevicePointer_v2(pdptr: *mut CUdeviceptr, p: *mut c_void, Flags: u32);
    #[driver]
    fn cuPointerGetAttribute(data: *mut c_void, attribute: u32, ptr: CUdeviceptr);
    #[driver]
    fn cuPointerSetAttribute(value: *const c_void, attribute: u32, ptr: CUdeviceptr);

    #[driver]
    fn cuMemAllocAsync(dptr: *mut CUdeviceptr, bytesize: usize, hStream: CUstream);
    #[driver]
    fn cuMemAllocFromPoolAsync(dptr: *mut CUdeviceptr, bytesize: usize, pool: CUmemoryPool, hStream: CUstream);
    #[driver]
    fn cuMemFreeAsync(dptr: CUdeviceptr, hStream: CUstream);
    #[driver]
    fn cuMemPoolCreate(pool: *mut CUmemoryPool, poolProps: *const CUmemPoolProps);
    #[driver]
    fn cuMemPoolSetAttribute(pool: CUmemoryPool, attr: u32, value: *mut c_void);
    #[driver]
    fn cuMemPoolGetAttribute(pool: CUmemoryPool, attr: u32, value: *mut c_void);
    #[driver]
    fn cuMemPoolGetAccess(flags: *mut u32, memPool: CUmemoryPool, location: *mut CUmemLocation);
    #[driver]
    fn cuMemAddressReserve(ptr: *mut CUdeviceptr, size: usize, alignment: usize, addr: CUdeviceptr, flags: u64);
    #[driver]
    fn cuMemAddressFree(ptr: CUdeviceptr, size: usize);
    #[driver]
    fn cuMemCreate(handle: *mut CUmemGenericAllocationHandle, size: usize, prop: *const CUmemAllocationProp, flags: u64);
    #[driver]
    fn cuMemGetAllocationGranularity(granularity: *mut usize, prop: *const CUmemAllocationProp, option: u32);

    #[driver]
    fn cuIpcGetMemHandle(pHandle: *mut IpcHandle, dptr: CUdeviceptr);
    #[driver]
    fn cuIpcGetEventHandle(pHandle: *mut IpcHandle, event: CUevent);
    #[driver] #[alias(cuIpcOpenMemHandle)]
    fn cuIpcOpenMemHandle_v2(pdptr: *mut CUdeviceptr, handle: IpcHandle, Flags: u32);
    #[driver]
    fn cuIpcCloseMemHandle(dptr: CUdeviceptr);
    #[driver]
    fn cuIpcOpenEventHandle(phEvent: *mut CUevent, handle: IpcHandle);

    #[driver]
    fn cuMemRelease(handle: CUmemGenericAllocationHandle);
    #[driver]
    fn cuMemExportToShareableHandle(
        shareableHandle: *mut c_void,
        handle: CUmemGenericAllocationHandle,
        handleType: u32,
        flags: u64,
    );
    #[driver]
    fn cuMemImportFromShareableHandle(handle: *mut CUmemGenericAllocationHandle, osHandle: *mut c_void, shHandleType: u32);
    #[driver]
    fn cuMemPoolExportToShareableHandle(handle_out: *mut c_void, pool: CUmemoryPool, handleType: u32, flags: u64);
    #[driver]
    fn cuMemPoolImportFromShareableHandle(pool_out: *mut CUmemoryPool, handle: *mut c_void, handleType: u32, flags: u64);
    #[driver]
    fn cuMemPoolExportPointer(shareData_out: *mut IpcHandle, ptr: CUdeviceptr);
    #[driver]
    fn cuMemPoolImportPointer(ptr_out: *mut CUdeviceptr, pool: CUmemoryPool, shareData: *mut IpcHandle);

    #[driver]
    fn cuLaunchHostFunc(hStream: CUstream, function: *const c_void, userData: *mut c_void);
    #[driver]
    fn cuStreamAddCallback(hStream: CUstream, callback: *const c_void, userData: *mut c_void, flags: u32);
    #[driver]
    fn cuStreamSetAttribute(hStream: CUstream, attr: u32, value: *const c_void);
    #[driver]
    fn cuStreamGetAttribute(hStream: CUstream, attr: u32, value_out: *mut c_void);
    #[driver]
    fn cuStreamBeginCapture_v2(hStream: CUstream, mode: u32);
    #[driver]
    fn cuStreamGetCaptureInfo_v2(
        hStream: CUstream,
        captureStatus_out: *mut u32,
        id_out: *mut u64,
        graph_out: *mut CUgraph,
        dependencies_out: *mut *const CUgraphNode,
        numDependencies_out: *mut usize,
    );
    #[driver] #[since(12030)]
    fn cuStreamGetCaptureInfo_v3(
        hStream: CUstream,
        captureStatus_out: *mut u32,
        id_out: *mut u64,
        graph_out: *mut CUgraph,
        dependencies_out: *mut *const CUgraphNode,
        edgeData_out: *mut *const u64,
        numDependencies_out: *mut usize,
    );
    #[driver] #[since(12030)]
    fn cuStreamBeginCaptureToGraph(
        hStream: CUstream,
        hGraph: CUgraph,
        dependencies: *const CUgraphNode,
        dependencyData: *const u64,
        numDependencies: usize,
        mode: u32,
    );
    #[driver]
    fn cuStreamUpdateCaptureDependencies(hStream: CUstream, dependencies: *mut CUgraphNode, numDependencies: usize, flags: u32);
    #[driver] #[since(12030)]
    fn cuStreamUpdateCaptureDependencies_v2(
        hStream: CUstream,
        dependencies: *mut CUgraphNode,
        dependencyData: *const u64,
        numDependencies: usize,
        flags: u32,
    );

    #[driver] #[since(12020)]
    fn cuGraphAddNode(
        phGraphNode: *mut CUgraphNode,
        hGraph: CUgraph,
        dependencies: *const CUgraphNode,
        numDependencies: usize,
        nodeParams: *mut c_void,
    );
    #[driver] #[since(12030)]
    fn cuGraphAddNode_v2(
        phGraphNode: *mut CUgraphNode,
        hGraph: CUgraph,
        dependencies: *const CUgraphNode,
        dependencyData: *const u64,
        numDependencies: usize,
        nodeParams: *mut c_void,
    );
    #[driver] #[since(12020)]
    fn cuGraphNodeSetParams(hNode: CUgraphNode, nodeParams: *mut c_void);
    #[driver] #[since(12020)]
    fn cuGraphExecNodeSetParams(hGraphExec: CUgraphExec, hNode: CUgraphNode, nodeParams: *mut c_void);
    #[driver]
    fn cuGraphKernelNodeGetParams_v2(hNode: CUgraphNode, nodeParams: *mut c_void);
    #[driver]
    fn cuGraphMemcpyNodeGetParams(hNode: CUgraphNode, nodeParams: *mut c_void);
    #[driver]
    fn cuGraphMemsetNodeGetParams(hNode: CUgraphNode, nodeParams: *mut c_void);
    #[driver]
    fn cuGraphHostNodeGetParams(hNode: CUgraphNode, nodeParams: *mut c_void);
    #[driver]
    fn cuGraphEventRecordNodeGetEvent(hNode: CUgraphNode, event_out: *mut CUevent);
    #[driver]
    fn cuGraphEventWaitNodeGetEvent(hNode: CUgraphNode, event_out: *mut CUevent);
    #[driver]
    fn cuGraphMemAllocNodeGetParams(hNode: CUgraphNode, params_out: *mut c_void);
    #[driver]
    fn cuGraphMemFreeNodeGetParams(hNode: CUgraphNode, dptr_out: *mut CUdeviceptr);
    #[driver]
    fn cuGraphBatchMemOpNodeGetParams(hNode: CUgraphNode, nodeParams_out: *mut c_void);
    #[driver]
    fn cuGraphChildGraphNodeGetGraph(hNode: CUgraphNode, phGraph: *mut CUgraph);
    #[driver]
    fn cuGraphNodeGetType(hNode: CUgraphNode, kind: *mut u32);
    #[driver]
    fn cuGraphNodeFindInClone(phNode: *mut CUgraphNode, hOriginalNode: CUgraphNode, hClonedGraph: CUgraph);
    #[driver]
    fn cuGraphGetNodes(hGraph: CUgraph, nodes: *mut CUgraphNode, numNodes: *mut usize);
    #[driver]
    fn cuGraphGetRootNodes(hGraph: CUgraph, rootNodes: *mut CUgraphNode, numRootNodes: *mut usize);
    #[driver]
    fn cuGraphGetEdges(hGraph: CUgraph, sources: *mut CUgraphNode, to: *mut CUgraphNode, numEdges: *mut usize);
    #[driver] #[since(12030)]
    fn cuGraphGetEdges_v2(
        hGraph: CUgraph,
        sources: *mut CUgraphNode,
        to: *mut CUgraphNode,
        edgeData: *mut u64,
        numEdges: *mut usize,
    );
    #[driver]
    fn cuGraphNodeGetDependencies(hNode: CUgraphNode, dependencies: *mut CUgraphNode, numDependencies: *mut usize);
    #[driver] #[since(12030)]
    fn cuGraphNodeGetDependencies_v2(
        hNode: CUgraphNode,
        dependencies: *mut CUgraphNode,
        edgeData: *mut u64,
        numDependencies: *mut usize,
    );
    #[driver]
    fn cuGraphNodeGetDependentNodes(hNode: CUgraphNode, dependentNodes: *mut CUgraphNode, numDependentNodes: *mut usize);
    #[driver] #[since(12030)]
    fn cuGraphNodeGetDependentNodes_v2(
        hNode: CUgraphNode,
        dependentNodes: *mut CUgraphNode,
        edgeData: *mut u64,
        numDependentNodes: *mut usize,
    );
    #[driver]
    fn cuGraphAddDependencies(hGraph: CUgraph, sources: *const CUgraphNode, to: *const CUgraphNode, numDependencies: usize);
    #[driver] #[since(12030)]
    fn cuGraphAddDependencies_v2(
        hGraph: CUgraph,
        sources: *const CUgraphNode,
        to: *const CUgraphNode,
        edgeData: *const u64,
        numDependencies: usize,
    );
    #[driver]
    fn cuGraphRemoveDependencies(hGraph: CUgraph, sources: *const CUgraphNode, to: *const CUgraphNode, numDependencies: usize);
    #[driver] #[since(12030)]
    fn cuGraphRemoveDependencies_v2(
        hGraph: CUgraph,
        sources: *const CUgraphNode,
        to: *const CUgraphNode,
        edgeData: *const u64,
        numDependencies: usize,
    );
    #[driver]
    fn cuGraphDestroyNode(hNode: CUgraphNode);
    #[driver]
    fn cuGraphNodeSetEnabled(hGraphExec: CUgraphExec, hNode: CUgraphNode, isEnabled: u32);
    #[driver]
    fn cuGraphNodeGetEnabled(hGraphExec: CUgraphExec, hNode: CUgraphNode, isEnabled: *mut u32);
    #[driver] #[since(12000)]
    fn cuGraphExecUpdate_v2(hGraphExec: CUgraphExec, hGraph: CUgraph, resultInfo: *mut c_void);
    #[driver] #[since(12000)]
    fn cuGraphInstantiateWithParams(phGraphExec: *mut CUgraphExec, hGraph: CUgraph, instantiateParams: *mut c_void);
    #[driver]
    fn cuGraphKernelNodeCopyAttributes(dst: CUgraphNode, src: CUgraphNode);
    #[driver]
    fn cuGraphKernelNodeGetAttribute(hNode: CUgraphNode, attr: u32, value_out: *mut c_void);
    #[driver]
    fn cuGraphKernelNodeSetAttribute(hNode: CUgraphNode, attr: u32, value: *const c_void);
    #[driver] #[since(12030)]
    fn cuGraphConditionalHandleCreate(
        pHandle_out: *mut u64,
        hGraph: CUgraph,
        ctx: CUcontext,
        defaultLaunchValue: u32,
        flags: u32,
    );
    #[driver]
    fn cuDeviceGetGraphMemAttribute(device: CUdevice, attr: u32, value: *mut c_void);
    #[driver]
    fn cuDeviceSetGraphMemAttribute(device: CUdevice, attr: u32, value: *mut c_void);
    #[driver]
    fn cuUserObjectCreate(
        object_out: *mut CUuserObject,
        ptr: *mut c_void,
        destroy: *const c_void,
        initialRefcount: u32,
        flags: u32,
    );
    #[driver]
    fn cuUserObjectRetain(object: CUuserObject, count: u32);
    #[driver]
    fn cuUserObjectRelease(object: CUuserObject, count: u32);
    #[driver]
    fn cuGraphRetainUserObject(graph: CUgraph, object: CUuserObject, count: u32, flags: u32);

    #[driver]
    fn cuTexObjectCreate(
        pTexObject: *mut CUtexObject,
        pResDesc: *const c_void,
        pTexDesc: *const CUDA_TEXTURE_DESC,
        pResViewDesc: *const CUDA_RESOURCE_VIEW_DESC,
    );
    #[driver] #[since(12000)]
    fn cuTensorMapEncodeTiled(
        tensorMap: *mut c_void,
        tensorDataType: u32,
        tensorRank: u32,
        globalAddress: *mut c_void,
        globalDim: *const u64,
        globalStrides: *const u64,
        boxDim: *const u32,
        elementStrides: *const u32,
        interleave: u32,
        swizzle: u32,
        l2Promotion: u32,
        oobFill: u32,
    );
    #[driver] #[since(12000)]
    fn cuTensorMapEncodeIm2col(
        tensorMap: *mut c_void,
        tensorDataType: u32,
        tensorRank: u32,
        globalAddress: *mut c_void,
        globalDim: *const u64,
        globalStrides: *const u64,
        pixelBoxLowerCorner: *const i32,
        pixelBoxUpperCorner: *const i32,
        channelsPerPixel: u32,
        pixelsPerColumn: u32,
        elementStrides: *const u32,
        interleave: u32,
        swizzle: u32,
        l2Promotion: u32,
        oobFill: u32,
    );
    #[driver] #[since(12080)]
    fn cuTensorMapEncodeIm2colWide(
        tensorMap: *mut c_void,
        tensorDataType: u32,
        tensorRank: u32,
        globalAddress: *mut c_void,
        globalDim: *const u64,
        globalStrides: *const u64,
        pixelBoxLowerCornerWidth: i32,
        pixelBoxUpperCornerWidth: i32,
        channelsPerPixel: u32,
        pixelsPerColumn: u32,
        elementStrides: *const u32,
        interleave: u32,
        mode: u32,
        swizzle: u32,
        l2Promotion: u32,
        oobFill: u32,
    );
    #[driver] #[since(12000)]
    fn cuTensorMapReplaceAddress(tensorMap: *mut c_void, globalAddress: *mut c_void);
    #[driver] #[alias(cuStreamBatchMemOp)]
    fn cuStreamBatchMemOp_v2(stream: CUstream, count: u32, paramArray: *mut u64, flags: u32);
    #[driver] #[since(11010)]
    fn cuMemMapArrayAsync(mapInfoList: *mut c_void, count: u32, hStream: CUstream);
    #[driver]
    fn cuTexObjectDestroy(texObject: CUtexObject);
    #[driver]
    fn cuSurfObjectCreate(pSurfObject: *mut CUsurfObject, pResDesc: *const c_void);
    #[driver]
    fn cuSurfObjectDestroy(surfObject: CUsurfObject);
}
