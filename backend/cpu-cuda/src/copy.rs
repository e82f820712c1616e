//! Copies: from what a program describes to a checked [`Copy`](struct@crate::op::Copy), and the way it is carried out.
//!
//! Both ends are judged by what the pointers are, not by the name of the call. Device and page-locked ranges are checked
//! to the byte; other host ranges are the program's word.

use std::sync::Arc;

use crate::array::Array;
use crate::capture;
use crate::context;
use crate::driver;
use crate::handle::Handle;
use crate::host_memory;
use crate::op::{Copy, Op, Place};
use crate::status::{Answer, Status};
use crate::stream::Stream;
use crate::types::{Memcpy2D, Memcpy3D};

/// Pageable sources up to this size are copied when an asynchronous call is made; larger ones are waited for.
const STAGED: u64 = 64 << 10;

/// What memory a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The device's.
    Device,
    /// The host's, page-locked, or managed.
    Pinned,
    /// The host's, as the program has it.
    Pageable,
}

/// What memory these bytes are; refused if they begin in the arena or a registered range and leave it.
pub fn side(address: u64, bytes: u64) -> Answer<Side> {
    let arena = driver::arena()?;
    address.checked_add(bytes).ok_or(Status::INVALID_VALUE)?;
    if arena.contains(address) {
        if !arena.holds(address, bytes) {
            return Err(Status::INVALID_VALUE);
        }
        use crate::arena::Kind;
        // Managed memory is the host's to read as soon as a blocking call has returned.
        let of_host = |kind| matches!(kind, Kind::Host(_) | Kind::Managed | Kind::ManagedVariable);
        let pinned = arena.find(address).is_some_and(|found| of_host(found.kind));
        return Ok(if pinned { Side::Pinned } else { Side::Device });
    }
    match host_memory::find(address) {
        Some(range) if bytes <= range.size - (address - range.base) => Ok(Side::Pinned),
        Some(_) => Err(Status::INVALID_VALUE),
        None if address == 0 => Err(Status::INVALID_VALUE),
        None => Ok(Side::Pageable),
    }
}

/// Refuses a range that a device pointer cannot have.
pub fn device_side(address: u64, bytes: u64) -> Answer<Side> {
    match side(address, bytes)? {
        Side::Pageable => Err(Status::INVALID_VALUE),
        other => Ok(other),
    }
}

/// A described copy, checked, with what its ends are.
#[derive(Clone)]
pub struct Checked {
    /// The copy; `None` if there is nothing to do.
    pub copy: Option<Copy>,
    /// What it reads from and writes to.
    pub sides: (Side, Side),
}

/// A copy of bytes in a row; `device` says which ends must be device pointers.
pub fn linear(from: u64, to: u64, bytes: u64, device: (bool, bool)) -> Answer<Checked> {
    if bytes == 0 {
        return Ok(Checked { copy: None, sides: (Side::Device, Side::Device) });
    }
    let judge = |address, device| if device { device_side(address, bytes) } else { side(address, bytes) };
    let sides = (judge(from, device.0)?, judge(to, device.1)?);
    Ok(Checked { copy: Some(Copy::linear(from, to, bytes)), sides })
}

/// A two-dimensional copy as a three-dimensional one.
pub fn widen(two: &Memcpy2D) -> Memcpy3D {
    Memcpy3D {
        src_x: two.src_x,
        src_y: two.src_y,
        src_kind: two.src_kind,
        src_host: two.src_host,
        src_device: two.src_device,
        src_array: two.src_array,
        src_pitch: two.src_pitch,
        dst_x: two.dst_x,
        dst_y: two.dst_y,
        dst_kind: two.dst_kind,
        dst_host: two.dst_host,
        dst_device: two.dst_device,
        dst_array: two.dst_array,
        dst_pitch: two.dst_pitch,
        width: two.width,
        height: two.height,
        depth: 1,
        ..Memcpy3D::default()
    }
}

/// One end as described.
#[derive(Default)]
pub struct End {
    /// CUmemorytype.
    pub kind: u32,
    /// Where it is, of the host's memory.
    pub host: u64,
    /// Where it is, of any other.
    pub device: u64,
    /// The array it is in.
    pub array: u64,
    /// Bytes, rows and slices before it.
    pub at: [u64; 3],
    /// Bytes from row to row; 0: no more than are copied.
    pub pitch: u64,
    /// Rows from slice to slice; 0: no more than are copied.
    pub height: u64,
}

const HOST: u32 = 1;
const DEVICE: u32 = 2;
/// CU_MEMORYTYPE_ARRAY.
pub const ARRAY: u32 = 3;
/// CU_MEMORYTYPE_UNIFIED.
pub const UNIFIED: u32 = 4;

/// A described box copy, checked.
pub fn boxed(described: &Memcpy3D) -> Answer<Checked> {
    let from = End {
        kind: described.src_kind,
        host: described.src_host,
        device: described.src_device,
        array: described.src_array,
        at: [described.src_x, described.src_y, described.src_z],
        pitch: described.src_pitch,
        height: described.src_height,
    };
    let to = End {
        kind: described.dst_kind,
        host: described.dst_host,
        device: described.dst_device,
        array: described.dst_array,
        at: [described.dst_x, described.dst_y, described.dst_z],
        pitch: described.dst_pitch,
        height: described.dst_height,
    };
    between(&from, &to, [described.width, described.height, described.depth])
}

/// A copy of so many bytes, rows and slices from one end to the other, checked.
pub fn between(from: &End, to: &End, size: [u64; 3]) -> Answer<Checked> {
    if size.contains(&0) {
        return Ok(Checked { copy: None, sides: (Side::Device, Side::Device) });
    }
    let (from, from_side) = from.place(size)?;
    let (to, to_side) = to.place(size)?;
    let copy = Copy { from, to, width: size[0], height: size[1], depth: size[2] };
    Ok(Checked { copy: Some(copy), sides: (from_side, to_side) })
}

/// a * b + c, or that it is out of range.
fn span(a: u64, b: u64, c: u64) -> Answer<u64> {
    a.checked_mul(b).and_then(|product| product.checked_add(c)).ok_or(Status::INVALID_VALUE)
}

impl End {
    fn place(&self, size: [u64; 3]) -> Answer<(Place, Side)> {
        let [width, height, depth] = size;
        let [x, y, z] = self.at;
        let row = x.checked_add(width).ok_or(Status::INVALID_VALUE)?;
        if self.kind == ARRAY {
            return self.in_array(size, row);
        }
        let pitch = if self.pitch == 0 { row } else { self.pitch };
        let rows = y.checked_add(height).ok_or(Status::INVALID_VALUE)?;
        let slice_rows = if self.height == 0 { rows } else { self.height };
        if (pitch < row && (height > 1 || depth > 1)) || (slice_rows < rows && depth > 1) {
            return Err(Status::INVALID_VALUE);
        }
        let slice = span(pitch, slice_rows, 0)?;
        let first = span(z, slice, span(y, pitch, x)?)?;
        let bytes = span(depth - 1, slice, span(height - 1, pitch, width)?)?;
        let base = if self.kind == HOST { self.host } else { self.device };
        let address = base.checked_add(first).filter(|_| base != 0).ok_or(Status::INVALID_VALUE)?;
        let side = match self.kind {
            HOST | UNIFIED => side(address, bytes)?,
            DEVICE => device_side(address, bytes)?,
            _ => return Err(Status::INVALID_VALUE),
        };
        Ok((Place { address, pitch, slice, array: None }, side))
    }

    fn in_array(&self, [width, height, depth]: [u64; 3], row: u64) -> Answer<(Place, Side)> {
        let array: Arc<Array> = Handle::<Array>::from_raw(self.array).get()?;
        let shape = array.shape;
        let [x, y, z] = self.at;
        let fits = |at: u64, size: u64, most: u64| at.checked_add(size).is_some_and(|end| end <= most.max(1));
        let element = shape.format.bytes();
        let aligned = x.is_multiple_of(element) && width.is_multiple_of(element);
        if row > shape.pitch() || !fits(y, height, shape.height) || !fits(z, depth, shape.depth) || !aligned {
            return Err(Status::INVALID_VALUE);
        }
        let address = array.address + z * shape.slice() + y * shape.pitch() + x;
        Ok((Place { address, pitch: shape.pitch(), slice: shape.slice(), array: Some(array) }, Side::Device))
    }
}

/// Whether a copy is from one device's memory to another's.
fn is_between_devices(copy: &Copy) -> Answer<bool> {
    let arena = driver::arena()?;
    let device = |place: &Place| arena.find(place.address).map(|found| found.owner.device);
    Ok(device(&copy.from) != device(&copy.to))
}

/// Carries a copy out as a blocking call does: one that stays on the device is not waited for.
pub fn blocking(stream: &Arc<Stream>, checked: Checked) -> Answer {
    stream.context.check()?;
    let Some(copy) = checked.copy else { return Ok(()) };
    if checked.sides != (Side::Device, Side::Device) {
        return stream.perform(Op::Copy(copy));
    }
    if !is_between_devices(&copy)? {
        return stream.submit(Op::Copy(copy));
    }
    // In order with all that either device does.
    context::synchronize_others(&stream.context);
    stream.perform(Op::Copy(copy))
}

/// Carries a copy out as an asynchronous call does: pageable memory is the program's again when the call returns.
pub fn asynchronous(stream: &Arc<Stream>, checked: Checked) -> Answer {
    stream.context.check()?;
    let Some(copy) = checked.copy else { return Ok(()) };
    if capture::is_on(stream) {
        return stream.submit(Op::Copy(copy));
    }
    match checked.sides {
        (Side::Pageable, Side::Device | Side::Pinned)
            if copy.height == 1 && copy.depth == 1 && copy.width <= STAGED =>
        {
            let bytes = crate::foreign::In(copy.from.address as *const u8).read_all(copy.width as usize)?;
            stream.submit(Op::Upload(bytes.into(), copy.to.address))
        }
        (Side::Pageable, _) | (_, Side::Pageable) => stream.perform(Op::Copy(copy)),
        _ => stream.submit(Op::Copy(copy)),
    }
}
