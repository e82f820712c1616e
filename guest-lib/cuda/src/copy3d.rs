//! 2-D and 3-D copies. Every form becomes one description ([`Copy3D`]) with at most one host side, whose bytes travel as a buffer
//! that begins with the first byte that is copied. Rows that lie apart are gathered before, or put apart after.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::context;
use crate::copy::{self, Said, Side};
use crate::device;
use crate::generated::{COPY_IN_STREAM, CUDA_ARRAY3D_DESCRIPTOR, Copy3D, kind, send};
use crate::graph_memory::{self, Way};
use crate::handles::{self, Handle};
use crate::program::In;
use crate::rows::{Extent, Rows, memory};
use crate::status::CUDA_ERROR_INVALID_VALUE;
use crate::stream;

/// `CU_MEMORYTYPE_HOST`.
const HOST: u32 = 1;
/// `CU_MEMORYTYPE_DEVICE`.
const DEVICE: u32 = 2;
/// `CU_MEMORYTYPE_ARRAY`.
const ARRAY: u32 = 3;
/// `CU_MEMORYTYPE_UNIFIED`.
const UNIFIED: u32 = 4;

/// One side of `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Side2D {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) memory_type: u32,
    pub(crate) host: u64,
    pub(crate) device: u64,
    pub(crate) array: u64,
    pub(crate) pitch: usize,
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memcpy2D {
    pub(crate) source: Side2D,
    pub(crate) target: Side2D,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// One side of `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Side3D {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) z: usize,
    pub(crate) lod: usize,
    pub(crate) memory_type: u32,
    pub(crate) host: u64,
    pub(crate) device: u64,
    pub(crate) array: u64,
    pub(crate) reserved: u64,
    pub(crate) pitch: usize,
    pub(crate) height: usize,
}

/// `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memcpy3D {
    pub(crate) source: Side3D,
    pub(crate) target: Side3D,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) depth: usize,
}

const _: () = assert!(size_of::<Memcpy2D>() == 128 && size_of::<Memcpy3D>() == 200);

impl From<Memcpy2D> for Memcpy3D {
    fn from(copy: Memcpy2D) -> Memcpy3D {
        let side = |side: Side2D| Side3D {
            x: side.x,
            y: side.y,
            z: 0,
            lod: 0,
            memory_type: side.memory_type,
            host: side.host,
            device: side.device,
            array: side.array,
            reserved: 0,
            pitch: side.pitch,
            height: 0,
        };
        Memcpy3D {
            source: side(copy.source),
            target: side(copy.target),
            width: copy.width,
            height: copy.height,
            depth: 1,
        }
    }
}

/// A side whose memory has been told apart.
#[derive(Clone, Copy)]
enum Place {
    /// By an address that the device knows.
    Address(u64),
    Array(Handle),
    /// The program's memory: its rows.
    Program(Rows),
}

/// A copy of one row.
fn of_row(source: Side3D, target: Side3D, width: usize) -> Memcpy3D {
    Memcpy3D { source, target, width, height: 1, depth: 1 }
}

impl Side3D {
    /// Memory of a type at an address.
    fn memory(memory_type: u32, address: u64) -> Side3D {
        let (host, device) = if memory_type == HOST { (address, 0) } else { (0, address) };
        let (x, y, z, lod, array, reserved, pitch, height) = (0, 0, 0, 0, 0, 0, 0, 0);
        Side3D { x, y, z, lod, memory_type, host, device, array, reserved, pitch, height }
    }

    /// An array, from a byte on.
    fn array(array: u64, x: usize) -> Side3D {
        Side3D { x, array, ..Side3D::memory(ARRAY, 0) }
    }

    /// Pitch and rows of a slice, with their defaults; what natively is refused is refused.
    fn shape(&self, extent: Extent) -> Result<(usize, usize), CUresult> {
        let pitch = if self.pitch == 0 { extent.width.saturating_add(self.x) } else { self.pitch };
        let rows = if self.height == 0 { extent.height.saturating_add(self.y) } else { self.height };
        let is_short = extent.width.saturating_add(self.x) > pitch && extent.height * extent.depth > 1;
        if is_short { Err(CUDA_ERROR_INVALID_VALUE) } else { Ok((pitch, rows)) }
    }

    fn place(&self, extent: Extent) -> Result<Place, CUresult> {
        let (address, said) = match self.memory_type {
            ARRAY => return Ok(Place::Array(handles::of_kind(kind::CUarray, self.array)?)),
            HOST => (self.host, Said::Host),
            DEVICE => (self.device, Said::Device),
            UNIFIED => (self.device, Said::Nothing),
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        };
        let (pitch, slice_rows) = self.shape(extent)?;
        let rows = self.z.wrapping_mul(slice_rows).wrapping_add(self.y);
        let first = address.wrapping_add(rows.wrapping_mul(pitch) as u64).wrapping_add(self.x as u64);
        Ok(match copy::side(first, 1, said)? {
            Side::Pageable => Place::Program(Rows { first, pitch, slice_rows }),
            Side::Device | Side::Shared => Place::Address(address),
        })
    }
}

fn array_of(place: Place) -> Handle {
    if let Place::Array(array) = place { array } else { Handle::NULL }
}

/// The message's description of a copy.
fn describe(copy: &Memcpy3D, source: Place, target: Place, extent: Extent) -> Result<Copy3D, CUresult> {
    let mut described = Copy3D {
        srcLOD: copy.source.lod as u64,
        dstLOD: copy.target.lod as u64,
        WidthInBytes: extent.width as u64,
        Height: extent.height as u64,
        Depth: extent.depth as u64,
        ..Copy3D::default()
    };
    let kind_of = |place| match place {
        Place::Address(_) => DEVICE,
        Place::Array(_) => ARRAY,
        Place::Program(_) => HOST,
    };
    (described.srcMemoryType, described.dstMemoryType) = (kind_of(source), kind_of(target));
    // The bytes of a host side travel from its first one on, with no gaps: its offsets stay behind.
    let within = |side: &Side3D, place| -> Result<[u64; 5], CUresult> {
        let (pitch, rows) = match place {
            Place::Program(_) => return Ok([0, 0, 0, extent.width as u64, extent.height as u64]),
            Place::Array(_) => (side.pitch, side.height),
            Place::Address(_) => side.shape(extent)?,
        };
        Ok([side.x as u64, side.y as u64, side.z as u64, pitch as u64, rows as u64])
    };
    [described.srcXInBytes, described.srcY, described.srcZ, described.srcPitch, described.srcHeight] =
        within(&copy.source, source)?;
    [described.dstXInBytes, described.dstY, described.dstZ, described.dstPitch, described.dstHeight] =
        within(&copy.target, target)?;
    if let Place::Address(address) = source {
        described.srcAddress = address;
    }
    if let Place::Address(address) = target {
        described.dstAddress = address;
    }
    Ok(described)
}

fn from_program(
    caller: &Caller,
    copy: &Copy3D,
    rows: Rows,
    extent: Extent,
    target: Place,
    at: (Handle, u32),
) -> Result<(), CUresult> {
    let bytes = extent.bytes()?;
    let mut gathered = Vec::new();
    let mut data = rows.first as *const u8;
    if !rows.are_together(extent) {
        gathered = memory(bytes)?;
        for (row, from) in gathered.chunks_exact_mut(extent.width).zip(rows.addresses(extent)) {
            // SAFETY: the rows that the program's description names are its own (CUDA Driver API, cuMemcpy3D).
            unsafe { crate::program::read_into(from as *const _, row) };
        }
        data = gathered.as_ptr();
    }
    let send =
        |buffer: rt::Buffer<'_>| send::gpuferryMemcpy3DFromHost(caller, copy, array_of(target), at.0, at.1, buffer);
    // SAFETY: the gathered rows, or rows of the program's that lie together.
    let status = unsafe { caller::input(caller, data, bytes, send) };
    drop(gathered);
    caller::answer(status)
}

fn to_program(
    caller: &Caller,
    copy: &Copy3D,
    rows: Rows,
    extent: Extent,
    source: Place,
    at: (Handle, u32),
) -> Result<(), CUresult> {
    let bytes = extent.bytes()?;
    let fetch = |data: *mut u8| {
        let send = |buffer: rt::Buffer<'_>, reply: &mut [u8]| {
            send::gpuferryMemcpy3DToHost(caller, copy, array_of(source), at.0, at.1, buffer, reply)
        };
        // SAFETY: memory for the gathered rows, or rows of the program's that lie together.
        caller::answer(unsafe { caller::output(caller, data, bytes, send) })
    };
    if rows.are_together(extent) {
        return fetch(rows.first as *mut u8);
    }
    let mut gathered = memory(bytes)?;
    fetch(gathered.as_mut_ptr())?;
    for (row, to) in gathered.chunks_exact(extent.width).zip(rows.addresses(extent)) {
        // SAFETY: the rows that the program's description names are its own to write (CUDA Driver API, cuMemcpy3D).
        unsafe { core::ptr::copy_nonoverlapping(row.as_ptr(), to as *mut u8, row.len()) };
    }
    Ok(())
}

/// Both sides are the program's.
fn in_program(
    caller: &Caller,
    source: Rows,
    target: Rows,
    extent: Extent,
    stream: Option<Handle>,
) -> Result<(), CUresult> {
    if let Some(stream) = stream {
        caller::answer(send::cuStreamSynchronize(caller, stream))?;
    }
    for (from, to) in source.addresses(extent).zip(target.addresses(extent)) {
        // SAFETY: the rows that the program's description names are its own (CUDA Driver API, cuMemcpy3D).
        unsafe { core::ptr::copy(from as *const u8, to as *mut u8, extent.width) };
    }
    Ok(())
}

fn run(copy: &Memcpy3D, stream: Option<Handle>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let extent = Extent { width: copy.width, height: copy.height, depth: copy.depth };
    if extent.bytes()? == 0 {
        return Ok(());
    }
    let (source, target) = (copy.source.place(extent)?, copy.target.place(extent)?);
    let described = describe(copy, source, target, extent)?;
    let at = (stream.unwrap_or(Handle::NULL), if stream.is_some() { COPY_IN_STREAM } else { 0 });
    match (source, target) {
        (Place::Program(from), Place::Program(to)) => in_program(&caller, from, to, extent, stream),
        (Place::Program(rows), _) => from_program(&caller, &described, rows, extent, target, at),
        (_, Place::Program(rows)) => to_program(&caller, &described, rows, extent, source, at),
        _ if stream.is_some() => {
            caller::answer(send::gpuferryMemcpy3D(&caller, &described, array_of(source), array_of(target), at.0, at.1))
        }
        _ => caller::answer(send::gpuferryMemcpy3DSync(
            &caller,
            &described,
            array_of(source),
            array_of(target),
            at.0,
            at.1,
        )),
    }
}

/// A copy between two contexts, which lie where other copies have nothing. With one device they say nothing more.
fn between(copy: &Memcpy3D, stream: Option<Handle>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let extent = Extent { width: copy.width, height: copy.height, depth: copy.depth };
    if !device::are_several() || extent.bytes()? == 0 {
        return run(copy, stream);
    }
    let (source, target) = (copy.source.place(extent)?, copy.target.place(extent)?);
    if matches!((source, target), (Place::Program(_), _) | (_, Place::Program(_))) {
        return run(copy, stream);
    }
    let described = describe(copy, source, target, extent)?;
    let (from, to) = (context::resolve(copy.source.reserved)?.handle, context::resolve(copy.target.reserved)?.handle);
    let (source, target) = (array_of(source), array_of(target));
    let (stream, flags) = (stream.unwrap_or(Handle::NULL), if stream.is_some() { COPY_IN_STREAM } else { 0 });
    caller::answer(send::gpuferryMemcpy3DPeer(&caller, &described, source, from, target, to, stream, flags))
}

/// A copy of a graph as messages have it, and its arrays; `owner` is the graph or the one that is ready. Pageable memory has memory
/// that the device knows in its stead.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`, `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn for_graph(caller: &Caller, owner: Handle, copy: &Memcpy3D) -> Result<(Copy3D, [u64; 2]), CUresult> {
    let extent = Extent { width: copy.width, height: copy.height, depth: copy.depth };
    extent.bytes()?;
    let (mut addresses, mut arrays) = ([0; 2], [0; 2]);
    let sides = [(&copy.source, Way::In), (&copy.target, Way::Out)];
    for ((side, way), (address, array)) in sides.into_iter().zip(addresses.iter_mut().zip(&mut arrays)) {
        let given = if side.memory_type == HOST { side.host } else { side.device };
        *address = match side.place(extent)? {
            Place::Array(handle) => {
                *array = handle.0;
                0
            }
            Place::Address(_) => given,
            Place::Program(rows) => {
                let first = graph_memory::stand_in(caller, owner, rows, extent, way)?;
                given.wrapping_add(first.wrapping_sub(rows.first))
            }
        };
    }
    let (source, target) = (&copy.source, &copy.target);
    let described = Copy3D {
        srcXInBytes: source.x as u64,
        srcY: source.y as u64,
        srcZ: source.z as u64,
        srcLOD: source.lod as u64,
        srcAddress: addresses[0],
        srcPitch: source.pitch as u64,
        srcHeight: source.height as u64,
        dstXInBytes: target.x as u64,
        dstY: target.y as u64,
        dstZ: target.z as u64,
        dstLOD: target.lod as u64,
        dstAddress: addresses[1],
        dstPitch: target.pitch as u64,
        dstHeight: target.height as u64,
        WidthInBytes: extent.width as u64,
        Height: extent.height as u64,
        Depth: extent.depth as u64,
        srcMemoryType: source.memory_type,
        dstMemoryType: target.memory_type,
    };
    Ok((described, arrays))
}

/// The other way.
#[must_use]
pub fn of_graph(copy: &Copy3D, arrays: [u64; 2]) -> Memcpy3D {
    let side =
        |x: u64, y: u64, z: u64, lod: u64, memory_type: u32, address: u64, array: u64, pitch: u64, height: u64| {
            Side3D {
                x: x as usize,
                y: y as usize,
                z: z as usize,
                lod: lod as usize,
                memory_type,
                host: if memory_type == HOST { address } else { 0 },
                device: if memory_type == HOST { 0 } else { address },
                array,
                reserved: 0,
                pitch: pitch as usize,
                height: height as usize,
            }
        };
    let c = copy;
    Memcpy3D {
        source: side(
            c.srcXInBytes,
            c.srcY,
            c.srcZ,
            c.srcLOD,
            c.srcMemoryType,
            c.srcAddress,
            arrays[0],
            c.srcPitch,
            c.srcHeight,
        ),
        target: side(
            c.dstXInBytes,
            c.dstY,
            c.dstZ,
            c.dstLOD,
            c.dstMemoryType,
            c.dstAddress,
            arrays[1],
            c.dstPitch,
            c.dstHeight,
        ),
        width: c.WidthInBytes as usize,
        height: c.Height as usize,
        depth: c.Depth as usize,
    }
}

/// One side of an [`Operation`] (`CUmemcpy3DOperand`): its kind, then a union.
#[repr(C)]
#[derive(Clone, Copy)]
struct Operand {
    kind: u32,
    /// Pointer, elements of a row, rows of a slice, a hint; or array, then x, y, z.
    words: [u64; 4],
}

/// A copy of a batch (`CUDA_MEMCPY3D_BATCH_OP`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Operation {
    source: Operand,
    target: Operand,
    /// Width, height, depth.
    extent: [usize; 3],
    order: u32,
    flags: u32,
}

const _: () = assert!(size_of::<Operation>() == 112);

/// `CU_MEMCPY_OPERAND_TYPE_POINTER`, in bytes; an array follows, in elements.
const POINTER: u32 = 1;
const OPERAND_ARRAY: u32 = 2;

/// An array as copies count in it: bytes of an element, and how many there are wide, high and deep.
struct Shape {
    element: usize,
    extent: [usize; 3],
}

/// The shape of an operand's array; `None` for memory.
fn shape(operand: &Operand) -> Result<Option<Shape>, CUresult> {
    match operand.kind {
        POINTER => return Ok(None),
        OPERAND_ARRAY => {}
        _ => return Err(CUDA_ERROR_INVALID_VALUE),
    }
    let array = handles::of_kind(kind::CUarray, operand.words[0])?;
    let mut found = CUDA_ARRAY3D_DESCRIPTOR::default();
    caller::answer(send::cuArray3DGetDescriptor_v2(&caller::enter_context()?, &mut found, array))?;
    // An array of fewer dimensions is 1 in the others.
    let whole = [found.Width, found.Height, found.Depth].map(|elements| elements.max(1));
    if let Some(element) = block(found.Format) {
        let extent = [whole[0].div_ceil(BLOCK), whole[1].div_ceil(BLOCK), whole[2]];
        return Ok(Some(Shape { element, extent }));
    }
    let unsupported = || crate::counts::unsupported("cuMemcpy3DBatchAsync of an array of planes");
    let element = channel(found.Format).ok_or_else(unsupported)? * found.NumChannels as usize;
    Ok(Some(Shape { element, extent: whole }))
}

/// Whether so many elements lie in an operand's array, from where it says.
fn holds(operand: &Operand, shape: &Shape, extent: [usize; 3]) -> bool {
    let ends = |at: usize| (operand.words[1 + at] as usize).checked_add(extent[at]);
    (0..3).all(|at| ends(at).is_some_and(|end| end <= shape.extent[at]))
}

/// Pixels of a block's side.
const BLOCK: usize = 4;

/// Bytes of a block of 4 by 4 pixels of a compressed format (BC1 to BC7): what copies of its arrays count in.
fn block(format: u32) -> Option<usize> {
    match format {
        0x91 | 0x92 | 0x97 | 0x98 => Some(8),
        0x93..=0x96 | 0x99..=0x9e => Some(16),
        _ => None,
    }
}

/// Bytes of a channel of an array's elements (`CUarray_format`); `None` for formats of planes, which have no such elements.
fn channel(format: u32) -> Option<usize> {
    match format {
        // Integers of 8 bits, also normalized ones, YUV of 8 bits (AYUV), and 10, 10, 10 and 2 bits as four channels.
        0x01 | 0x08 | 0x50 | 0xa8 | 0xc0..=0xc2 | 0xc6..=0xc8 => Some(1),
        // Of 16 bits, also normalized ones, half floats, YUV of 12 bits in 16 (Y416).
        0x02 | 0x09 | 0x10 | 0xb1 | 0xc3..=0xc5 | 0xc9..=0xcb => Some(2),
        0x03 | 0x0a | 0x20 => Some(4),
        _ => None,
    }
}

/// A copy of a batch, in a stream.
///
/// # Errors
/// As for a 3-D copy; `CUDA_ERROR_NOT_SUPPORTED` for arrays of planes.
pub fn in_stream(operation: &Operation, stream: Handle) -> Result<(), CUresult> {
    let [width, height, depth] = operation.extent;
    let shapes = [shape(&operation.source)?, shape(&operation.target)?];
    for (operand, shape) in [&operation.source, &operation.target].into_iter().zip(&shapes) {
        if shape.as_ref().is_some_and(|shape| !holds(operand, shape, operation.extent)) {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
    }
    let element = shapes.iter().flatten().next().map_or(1, |shape| shape.element);
    let wide = |elements: usize| elements.checked_mul(element).ok_or(CUDA_ERROR_INVALID_VALUE);
    let side = |operand: &Operand| -> Result<Side3D, CUresult> {
        let [first, second, third, fourth] = operand.words;
        match operand.kind {
            POINTER => {
                let (pitch, height) = (wide(second as usize)?, third as usize);
                Ok(Side3D { pitch, height, ..Side3D::memory(UNIFIED, first) })
            }
            _ => {
                let (x, y, z) = (wide(second as usize)?, third as usize, fourth as usize);
                Ok(Side3D { y, z, ..Side3D::array(first, x) })
            }
        }
    };
    let (source, target) = (side(&operation.source)?, side(&operation.target)?);
    let copy = Memcpy3D { source, target, width: wide(width)?, height, depth };
    run(&copy, Some(stream))
}

fn in_own(copy: &Memcpy3D) -> Result<(), CUresult> {
    let stream = stream::resolve_per_thread(0)?;
    run(copy, Some(stream))?;
    caller::answer(send::cuStreamSynchronize(&caller::enter()?, stream))
}

crate::export! {
    /// CUDA Driver API, cuMemcpy2D; the unaligned form asks for nothing else here.
    extern "C" fn cuMemcpy2D_v2 | extern "C" fn cuMemcpy2DUnaligned_v2(pCopy: In<Memcpy2D>) {
        run(&pCopy.get()?.into(), None)
    }

    /// CUDA Driver API, cuMemcpy2D with the per-thread default stream.
    extern "C" fn cuMemcpy2D_v2_ptds | extern "C" fn cuMemcpy2DUnaligned_v2_ptds(pCopy: In<Memcpy2D>) {
        in_own(&pCopy.get()?.into())
    }

    /// CUDA Driver API, cuMemcpy2DAsync.
    extern "C" fn cuMemcpy2DAsync_v2(pCopy: In<Memcpy2D>, hStream: u64) {
        run(&pCopy.get()?.into(), Some(stream::resolve(hStream)?))
    }

    /// CUDA Driver API, cuMemcpy2DAsync with the per-thread default stream.
    extern "C" fn cuMemcpy2DAsync_v2_ptsz(pCopy: In<Memcpy2D>, hStream: u64) {
        run(&pCopy.get()?.into(), Some(stream::resolve_per_thread(hStream)?))
    }

    /// CUDA Driver API, cuMemcpy3D.
    extern "C" fn cuMemcpy3D_v2(pCopy: In<Memcpy3D>) {
        run(&pCopy.get()?, None)
    }

    /// CUDA Driver API, cuMemcpy3D with the per-thread default stream.
    extern "C" fn cuMemcpy3D_v2_ptds(pCopy: In<Memcpy3D>) {
        in_own(&pCopy.get()?)
    }

    /// CUDA Driver API, cuMemcpy3DAsync.
    extern "C" fn cuMemcpy3DAsync_v2(pCopy: In<Memcpy3D>, hStream: u64) {
        run(&pCopy.get()?, Some(stream::resolve(hStream)?))
    }

    /// CUDA Driver API, cuMemcpy3DAsync with the per-thread default stream.
    extern "C" fn cuMemcpy3DAsync_v2_ptsz(pCopy: In<Memcpy3D>, hStream: u64) {
        run(&pCopy.get()?, Some(stream::resolve_per_thread(hStream)?))
    }
}

/// A 1-D copy between an array and the program's memory, in a stream.
fn in_array(array: u64, offset: usize, program: u64, width: usize, to_array: bool) -> Memcpy3D {
    let side = |memory_type, x, host, array| Side3D {
        x,
        y: 0,
        z: 0,
        lod: 0,
        memory_type,
        host,
        device: 0,
        array,
        reserved: 0,
        pitch: 0,
        height: 0,
    };
    let (array, program) = (side(ARRAY, offset, 0, array), side(HOST, 0, program, 0));
    let (source, target) = if to_array { (program, array) } else { (array, program) };
    Memcpy3D { source, target, width, height: 1, depth: 1 }
}

crate::export! {
    /// CUDA Driver API, cuMemcpyHtoAAsync.
    extern "C" fn cuMemcpyHtoAAsync_v2(dstArray: u64, dstOffset: usize, srcHost: u64, ByteCount: usize, hStream: u64) {
        run(&in_array(dstArray, dstOffset, srcHost, ByteCount, true), Some(stream::resolve(hStream)?))
    }

    /// CUDA Driver API, cuMemcpyHtoAAsync with the per-thread default stream.
    extern "C" fn cuMemcpyHtoAAsync_v2_ptsz(
        dstArray: u64, dstOffset: usize, srcHost: u64, ByteCount: usize, hStream: u64,
    ) {
        run(&in_array(dstArray, dstOffset, srcHost, ByteCount, true), Some(stream::resolve_per_thread(hStream)?))
    }

    /// CUDA Driver API, cuMemcpyAtoHAsync.
    extern "C" fn cuMemcpyAtoHAsync_v2(dstHost: u64, srcArray: u64, srcOffset: usize, ByteCount: usize, hStream: u64) {
        run(&in_array(srcArray, srcOffset, dstHost, ByteCount, false), Some(stream::resolve(hStream)?))
    }

    /// CUDA Driver API, cuMemcpyAtoHAsync with the per-thread default stream.
    extern "C" fn cuMemcpyAtoHAsync_v2_ptsz(
        dstHost: u64, srcArray: u64, srcOffset: usize, ByteCount: usize, hStream: u64,
    ) {
        run(&in_array(srcArray, srcOffset, dstHost, ByteCount, false), Some(stream::resolve_per_thread(hStream)?))
    }

    /// CUDA Driver API, cuMemcpy3DPeer.
    extern "C" fn cuMemcpy3DPeer(pCopy: In<Memcpy3D>) {
        between(&pCopy.get()?, None)
    }

    /// CUDA Driver API, cuMemcpy3DPeer with the per-thread default stream.
    extern "C" fn cuMemcpy3DPeer_ptds(pCopy: In<Memcpy3D>) {
        let stream = stream::resolve_per_thread(0)?;
        between(&pCopy.get()?, Some(stream))?;
        caller::answer(send::cuStreamSynchronize(&caller::enter()?, stream))
    }

    /// CUDA Driver API, cuMemcpy3DPeerAsync.
    extern "C" fn cuMemcpy3DPeerAsync(pCopy: In<Memcpy3D>, hStream: u64) {
        between(&pCopy.get()?, Some(stream::resolve(hStream)?))
    }

    /// CUDA Driver API, cuMemcpy3DPeerAsync with the per-thread default stream.
    extern "C" fn cuMemcpy3DPeerAsync_ptsz(pCopy: In<Memcpy3D>, hStream: u64) {
        between(&pCopy.get()?, Some(stream::resolve_per_thread(hStream)?))
    }

    /// CUDA Driver API, cuMemcpyHtoA with the per-thread default stream.
    extern "C" fn cuMemcpyHtoA_v2_ptds(dstArray: u64, dstOffset: usize, srcHost: u64, ByteCount: usize) {
        in_own(&of_row(Side3D::memory(HOST, srcHost), Side3D::array(dstArray, dstOffset), ByteCount))
    }

    /// CUDA Driver API, cuMemcpyAtoH with the per-thread default stream.
    extern "C" fn cuMemcpyAtoH_v2_ptds(dstHost: u64, srcArray: u64, srcOffset: usize, ByteCount: usize) {
        in_own(&of_row(Side3D::array(srcArray, srcOffset), Side3D::memory(HOST, dstHost), ByteCount))
    }

    /// CUDA Driver API, cuMemcpyDtoA with the per-thread default stream.
    extern "C" fn cuMemcpyDtoA_v2_ptds(dstArray: u64, dstOffset: usize, srcDevice: u64, ByteCount: usize) {
        in_own(&of_row(Side3D::memory(DEVICE, srcDevice), Side3D::array(dstArray, dstOffset), ByteCount))
    }

    /// CUDA Driver API, cuMemcpyAtoD with the per-thread default stream.
    extern "C" fn cuMemcpyAtoD_v2_ptds(dstDevice: u64, srcArray: u64, srcOffset: usize, ByteCount: usize) {
        in_own(&of_row(Side3D::array(srcArray, srcOffset), Side3D::memory(DEVICE, dstDevice), ByteCount))
    }

    /// CUDA Driver API, cuMemcpyAtoA with the per-thread default stream.
    extern "C" fn cuMemcpyAtoA_v2_ptds(
        dstArray: u64, dstOffset: usize, srcArray: u64, srcOffset: usize, ByteCount: usize,
    ) {
        in_own(&of_row(Side3D::array(srcArray, srcOffset), Side3D::array(dstArray, dstOffset), ByteCount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_when_elements_are_packed_then_is_known_and_not_of_blocks_or_planes() {
        let packed = [(0x20, 4), (0x50, 1), (0xa8, 1), (0xb1, 2), (0xc2, 1), (0xc5, 2), (0xc8, 1), (0xcb, 2)];
        for (format, bytes) in packed {
            assert_eq!(channel(format), Some(bytes), "{format:#x}");
        }
        // BC1, NV12, P010, YUY2.
        assert_eq!([0x91, 0xb0, 0x9f, 0xa5].map(channel), [None; 4]);
    }

    #[test]
    fn side_when_the_pitch_is_shorter_than_a_row_then_is_refused() {
        let extent = Extent { width: 16, height: 2, depth: 1 };
        let side = |pitch, x| Side3D {
            x,
            y: 0,
            z: 0,
            lod: 0,
            memory_type: HOST,
            host: 0x7000_0000,
            device: 0,
            array: 0,
            reserved: 0,
            pitch,
            height: 0,
        };
        assert_eq!(side(15, 0).shape(extent), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(side(16, 1).shape(extent), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(side(0, 1).shape(extent), Ok((17, 2)));
        assert!(matches!(side(32, 2).place(extent), Ok(Place::Program(rows)) if rows.first == 0x7000_0002));
    }
}
