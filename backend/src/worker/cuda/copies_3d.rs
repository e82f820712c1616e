//! 2-D and 3-D copies, between any two of device memory, arrays and one buffer of the guest's.

use std::ffi::c_void;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::payload::Buffer;

use super::generated::{COPY_IN_STREAM, CUDA_ERROR_INVALID_VALUE, Copy3D};
use super::{Cuda, any_copies};
use crate::worker::answer::{Failure, function, ok};

/// `CUmemorytype`.
const HOST: u32 = 1;
const DEVICE: u32 = 2;
const ARRAY: u32 = 3;
const UNIFIED: u32 = 4;

/// `CUDA_MEMCPY3D`, and `CUDA_MEMCPY3D_PEER`.
#[repr(C)]
pub(super) struct DriverCopy {
    source: Side,
    target: Side,
    width: usize,
    height: usize,
    depth: usize,
}

/// One side of it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Side {
    x: usize,
    y: usize,
    z: usize,
    lod: usize,
    memory: u32,
    padding: u32,
    host: *mut c_void,
    device: u64,
    array: *mut c_void,
    /// Counts between two contexts alone.
    context: *mut c_void,
    pitch: usize,
    height: usize,
}

const _: () = assert!(size_of::<DriverCopy>() == 200);

/// One side as the guest describes it.
#[derive(Clone, Copy)]
struct Place {
    x: u64,
    y: u64,
    z: u64,
    lod: u64,
    memory: u32,
    address: u64,
    pitch: u64,
    height: u64,
}

impl Place {
    fn source(copy: &Copy3D) -> Place {
        Place {
            x: copy.srcXInBytes,
            y: copy.srcY,
            z: copy.srcZ,
            lod: copy.srcLOD,
            memory: copy.srcMemoryType,
            address: copy.srcAddress,
            pitch: copy.srcPitch,
            height: copy.srcHeight,
        }
    }

    fn target(copy: &Copy3D) -> Place {
        Place {
            x: copy.dstXInBytes,
            y: copy.dstY,
            z: copy.dstZ,
            lod: copy.dstLOD,
            memory: copy.dstMemoryType,
            address: copy.dstAddress,
            pitch: copy.dstPitch,
            height: copy.dstHeight,
        }
    }

    /// Offset of the first byte, and bytes from there to the last, of what the copy touches. `None` on overflow.
    fn extent(&self, copy: &Copy3D) -> Option<(u64, u64)> {
        if copy.WidthInBytes == 0 || copy.Height == 0 || copy.Depth == 0 {
            return Some((0, 0));
        }
        // The driver takes 0 for rows, or slices, without gaps.
        let pitch = if self.pitch == 0 { self.x.checked_add(copy.WidthInBytes)? } else { self.pitch };
        let rows = if self.height == 0 { self.y.checked_add(copy.Height)? } else { self.height };
        let slice = pitch.checked_mul(rows)?;
        let at = |x: u64, y: u64, z: u64| z.checked_mul(slice)?.checked_add(y.checked_mul(pitch)?)?.checked_add(x);
        let first = at(self.x, self.y, self.z)?;
        let bytes = at(copy.WidthInBytes, copy.Height - 1, copy.Depth - 1)?;
        Some((first, bytes))
    }

    fn side(&self, array: *mut c_void, host: *mut c_void) -> Result<Side, Failure> {
        // A buffer begins at the first byte that is touched.
        let (x, y, z) = if self.memory == HOST { (0, 0, 0) } else { (self.x, self.y, self.z) };
        Ok(Side {
            x: narrow(x)?,
            y: narrow(y)?,
            z: narrow(z)?,
            lod: narrow(self.lod)?,
            memory: self.memory,
            padding: 0,
            host,
            device: self.address,
            array,
            context: std::ptr::null_mut(),
            pitch: narrow(self.pitch)?,
            height: narrow(self.height)?,
        })
    }
}

impl Cuda {
    /// `gpuferryMemcpy3D`.
    pub(super) fn gpuferryMemcpy3D(
        &self,
        _from: &FrameHeader,
        copy: &Copy3D,
        source: *mut c_void,
        target: *mut c_void,
        stream: *mut c_void,
        flags: u32,
    ) -> Result<(), Failure> {
        let (source, _source_held) = self.named(Place::source(copy), copy, source)?;
        let (target, _target_held) = self.named(Place::target(copy), copy, target)?;
        self.copy(source, target, copy, stream, flags)
    }

    /// `gpuferryMemcpy3DPeer`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gpuferryMemcpy3DPeer(
        &self,
        _from: &FrameHeader,
        copy: &Copy3D,
        source: *mut c_void,
        source_context: *mut c_void,
        target: *mut c_void,
        target_context: *mut c_void,
        stream: *mut c_void,
        flags: u32,
    ) -> Result<(), Failure> {
        let (source, _source_held) = self.named(Place::source(copy), copy, source)?;
        let (target, _target_held) = self.named(Place::target(copy), copy, target)?;
        let (source, target) = (Side { context: source_context, ..source }, Side { context: target_context, ..target });
        let copy = of_driver(source, target, copy)?;
        if flags & COPY_IN_STREAM != 0 {
            let call = function!(self, cuMemcpy3DPeerAsync)?;
            // SAFETY: stream, arrays and contexts live; memory on both sides was checked to hold all that the copy touches.
            return ok(unsafe { call((&raw const copy).cast(), stream) });
        }
        let call = function!(self, cuMemcpy3DPeer)?;
        // SAFETY: as above.
        ok(unsafe { call((&raw const copy).cast()) })
    }

    /// `gpuferryMemcpy3DSync`.
    pub(super) fn gpuferryMemcpy3DSync(
        &self,
        from: &FrameHeader,
        copy: &Copy3D,
        source: *mut c_void,
        target: *mut c_void,
        stream: *mut c_void,
        flags: u32,
    ) -> Result<(), Failure> {
        self.gpuferryMemcpy3D(from, copy, source, target, stream, flags)?;
        self.finish_stream(stream)
    }

    /// `gpuferryMemcpy3DFromHost`.
    pub(super) fn gpuferryMemcpy3DFromHost(
        &self,
        _from: &FrameHeader,
        copy: &Copy3D,
        target: *mut c_void,
        stream: *mut c_void,
        flags: u32,
        data: Buffer<'_>,
    ) -> Result<(), Failure> {
        self.not_recording(stream)?;
        let place = Place::source(copy);
        covers(&place, copy, data.bytes())?;
        let input = self.input(data)?;
        let source = place.side(std::ptr::null_mut(), input.pointer().cast_mut())?;
        let (target, _held) = self.named(Place::target(copy), copy, target)?;
        let copied = self.copy(source, target, copy, stream, flags);
        copied.and(self.finish_stream(stream))
    }

    /// `gpuferryMemcpy3DToHost`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gpuferryMemcpy3DToHost(
        &self,
        _from: &FrameHeader,
        copy: &Copy3D,
        source: *mut c_void,
        stream: *mut c_void,
        flags: u32,
        data: Buffer<'_>,
        reply: &mut [u8],
    ) -> Result<(), Failure> {
        self.not_recording(stream)?;
        let place = Place::target(copy);
        covers(&place, copy, data.bytes())?;
        let mut output = self.output(data, reply)?;
        let target = place.side(std::ptr::null_mut(), output.pointer())?;
        let (source, _held) = self.named(Place::source(copy), copy, source)?;
        let copied = self.copy(source, target, copy, stream, flags);
        copied.and(self.finish_stream(stream))?;
        let pitch = if place.pitch == 0 { place.x + copy.WidthInBytes } else { place.pitch } as usize;
        let slice_rows = if place.height == 0 { place.y + copy.Height } else { place.height } as usize;
        output.finish_slices(pitch, slice_rows, copy.WidthInBytes as usize, copy.Height as usize, copy.Depth as usize);
        Ok(())
    }

    /// A side that is device memory or an array; the buffer's has its own way.
    fn place(&self, place: Place, copy: &Copy3D, array: *mut c_void) -> Result<Side, Failure> {
        match place.memory {
            DEVICE | UNIFIED => {
                let (start, bytes) = touched(&place, copy)?;
                self.device(start, Some(bytes))?;
            }
            ARRAY if !array.is_null() => {}
            _ => return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)),
        }
        place.side(array, std::ptr::null_mut())
    }

    /// The same for a copy that is made now: where the guest leaves it to the driver what an address is, it is named
    /// ([`any_copies`]). What comes with the side is kept until the copy was made.
    fn named(&self, place: Place, copy: &Copy3D, array: *mut c_void) -> Result<(Side, any_copies::Side), Failure> {
        let mut side = self.place(place, copy, array)?;
        let (start, bytes) = if place.memory == UNIFIED { touched(&place, copy)? } else { (0, 0) };
        if bytes == 0 {
            return Ok((side, any_copies::Side::Device));
        }
        let what = self.side(start, bytes)?;
        side.memory = DEVICE;
        if matches!(what, any_copies::Side::PageLocked(_)) {
            (side.memory, side.host) = (HOST, any_copies::pointer(place.address)?);
        }
        Ok((side, what))
    }

    /// A copy of a graph as the library has it. Host sides are addresses that the device knows.
    pub(super) fn node_copy(
        &self,
        copy: &Copy3D,
        source: *mut c_void,
        target: *mut c_void,
    ) -> Result<DriverCopy, Failure> {
        let side = |mut place: Place, array| -> Result<Side, Failure> {
            let said = place.memory;
            if said == HOST {
                place.memory = UNIFIED;
            }
            let mut side = self.place(place, copy, array)?;
            side.memory = said;
            if said == HOST {
                side.host = std::ptr::with_exposed_provenance_mut(narrow(place.address)?);
            }
            Ok(side)
        };
        of_driver(side(Place::source(copy), source)?, side(Place::target(copy), target)?, copy)
    }

    /// The other way; the arrays come beside.
    pub(super) fn described(copy: &DriverCopy) -> (Copy3D, [*mut c_void; 2]) {
        let address = |side: &Side| if side.memory == HOST { side.host.addr() as u64 } else { side.device };
        let (source, target) = (&copy.source, &copy.target);
        let described = Copy3D {
            srcXInBytes: source.x as u64,
            srcY: source.y as u64,
            srcZ: source.z as u64,
            srcLOD: source.lod as u64,
            srcAddress: address(source),
            srcPitch: source.pitch as u64,
            srcHeight: source.height as u64,
            dstXInBytes: target.x as u64,
            dstY: target.y as u64,
            dstZ: target.z as u64,
            dstLOD: target.lod as u64,
            dstAddress: address(target),
            dstPitch: target.pitch as u64,
            dstHeight: target.height as u64,
            WidthInBytes: copy.width as u64,
            Height: copy.height as u64,
            Depth: copy.depth as u64,
            srcMemoryType: source.memory,
            dstMemoryType: target.memory,
        };
        (described, [source.array, target.array])
    }

    fn copy(&self, source: Side, target: Side, copy: &Copy3D, stream: *mut c_void, flags: u32) -> Result<(), Failure> {
        let copy = of_driver(source, target, copy)?;
        if flags & COPY_IN_STREAM != 0 {
            let call = function!(self, cuMemcpy3DAsync_v2)?;
            // SAFETY: the stream and arrays live; memory on both sides was checked to hold all that the copy touches.
            return ok(unsafe { call((&raw const copy).cast(), stream) });
        }
        let call = function!(self, cuMemcpy3D_v2)?;
        // SAFETY: as above.
        ok(unsafe { call((&raw const copy).cast()) })
    }
}

/// First byte and number of bytes, to the last, that a copy touches on a side with an address.
fn touched(place: &Place, copy: &Copy3D) -> Result<(u64, u64), Failure> {
    let invalid = Failure::Status(CUDA_ERROR_INVALID_VALUE);
    let (first, bytes) = place.extent(copy).ok_or(invalid)?;
    Ok((place.address.checked_add(first).ok_or(invalid)?, bytes))
}

fn narrow(value: u64) -> Result<usize, Failure> {
    usize::try_from(value).map_err(|_| Failure::Status(CUDA_ERROR_INVALID_VALUE))
}

/// A copy as the library has it.
fn of_driver(source: Side, target: Side, copy: &Copy3D) -> Result<DriverCopy, Failure> {
    let [width, height, depth] = [copy.WidthInBytes, copy.Height, copy.Depth].map(narrow);
    Ok(DriverCopy { source, target, width: width?, height: height?, depth: depth? })
}

/// A buffer holds all that the copy touches, from its first byte on.
fn covers(place: &Place, copy: &Copy3D, bytes: u64) -> Result<(), Failure> {
    if place.memory != HOST {
        return Err(Malformed::new("a copy with a buffer on no side").into());
    }
    match place.extent(copy) {
        Some((_, needed)) if needed <= bytes => Ok(()),
        _ => Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pitch: u64, height: u64) -> Place {
        Place { x: 3, y: 2, z: 1, lod: 0, memory: DEVICE, address: 0, pitch, height }
    }

    fn copy(width: u64, height: u64, depth: u64) -> Copy3D {
        Copy3D { WidthInBytes: width, Height: height, Depth: depth, ..Copy3D::default() }
    }

    #[test]
    fn extent_when_sizes_are_plain_then_is_from_first_to_last_byte() {
        assert_eq!(place(100, 10).extent(&copy(5, 4, 3)), Some((1000 + 200 + 3, 2000 + 300 + 5)));
        assert_eq!(place(100, 10).extent(&copy(5, 0, 3)), Some((0, 0)));
        assert_eq!(place(0, 0).extent(&copy(5, 4, 1)), Some((8 * 6 + 16 + 3, 24 + 5)));
    }

    #[test]
    fn extent_when_sizes_overflow_then_is_none() {
        assert_eq!(place(u64::MAX, 2).extent(&copy(1, 2, 2)), None);
        assert_eq!(place(8, 8).extent(&copy(u64::MAX, 2, 2)), None);
        assert_eq!(place(0, 0).extent(&copy(u64::MAX, 1, 1)), None);
    }
}
