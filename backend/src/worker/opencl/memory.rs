//! Memory objects: buffers, parts of them, images and pipes.
//!
//! What a session's objects take together is bounded by the memory that its devices say they have: a library that computes on
//! the processor would give out more than there is. It is counted with what the guest holds by other APIs too, and bounded by
//! the operator's limits ([`crate::ledger`]).

use std::collections::HashMap;
use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::Buffer;

use super::generated::{CL_INVALID_VALUE, CL_MEM_OBJECT_ALLOCATION_FAILURE, ImageShape, Library};
use super::load::{Found, pointer};
use super::{OpenCl, lock};
use crate::worker::answer::{Failure, function, ok};

/// `CL_INVALID_BUFFER_SIZE`.
const INVALID_BUFFER_SIZE: i32 = -61;
/// `CL_MEM_READ_WRITE`, `_WRITE_ONLY`, `_READ_ONLY`: how kernels use it.
const BY_KERNELS: u64 = 7;
/// `CL_MEM_COPY_HOST_PTR`.
const COPY_HOST_PTR: u64 = 1 << 5;
/// All flags of 1.2 that the guest takes care of: the above, `_USE_HOST_PTR`, `_ALLOC_HOST_PTR`, `_HOST_…`.
const KNOWN: u64 = 0x3BF;
/// `CL_MEM_KERNEL_READ_AND_WRITE`.
const KERNEL_READ_AND_WRITE: u64 = 1 << 12;
/// `CL_BUFFER_CREATE_TYPE_REGION`.
const REGION: u32 = 0x1220;
/// `CL_MEM_SIZE`.
const MEM_SIZE: u32 = 0x1102;
/// `CL_DEVICE_TYPE`, of it `CL_DEVICE_TYPE_CPU`, `_GPU`, `_ACCELERATOR` and `_CUSTOM`, and `_GPU` alone.
const DEVICE_TYPE: u32 = 0x1000;
const TYPE_BITS: u64 = 0x1E;
const TYPE_GPU: u64 = 4;
/// `CL_DEVICE_MAX_MEM_ALLOC_SIZE`.
const MAX_MEM_ALLOC_SIZE: u32 = 0x1010;
/// `CL_DEVICE_GLOBAL_MEM_SIZE`.
const GLOBAL_MEM_SIZE: u32 = 0x101F;

/// What a session's memory objects take, and may.
pub struct Sizes {
    /// By address of the library's object.
    sizes: HashMap<usize, u64>,
    sum: u64,
    /// What all may take: no limit where all devices have memory of their own, which ends by itself.
    most: u64,
    /// The largest buffer of any device.
    largest: u64,
}

impl Sizes {
    /// Bytes of all objects.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// None yet, on the devices that the session may use.
    pub fn new(library: &Library, found: &Found) -> Sizes {
        let fact = |device: &usize, param| {
            let info = library.clGetDeviceInfo?;
            let mut value = 0u64;
            // SAFETY: the device is the library's; the value has 8 bytes.
            let status = unsafe { info(pointer(*device), param, 8, (&raw mut value).cast(), std::ptr::null_mut()) };
            (status == 0).then_some(value)
        };
        let facts = |param| found.devices.iter().map(move |device| fact(device, param).unwrap_or(u64::MAX));
        let own_memory = facts(DEVICE_TYPE).all(|kind| kind & TYPE_BITS == TYPE_GPU);
        let most = if own_memory { u64::MAX } else { facts(GLOBAL_MEM_SIZE).fold(0, u64::saturating_add) };
        Sizes { sizes: HashMap::new(), sum: 0, most, largest: facts(MAX_MEM_ALLOC_SIZE).max().unwrap_or(0) }
    }

    /// An object is there.
    fn began(&mut self, object: usize, bytes: u64) {
        self.sum += bytes;
        self.sizes.insert(object, bytes);
    }

    /// An object is gone; its bytes.
    fn ended(&mut self, object: usize) -> u64 {
        let bytes = self.sizes.remove(&object).unwrap_or(0);
        self.sum -= bytes;
        bytes
    }
}

/// `cl_image_format`.
#[repr(C)]
struct Format {
    order: u32,
    data_type: u32,
}

/// `cl_image_desc`.
#[repr(C)]
struct Description {
    image_type: u32,
    width: usize,
    height: usize,
    depth: usize,
    array_size: usize,
    row_pitch: usize,
    slice_pitch: usize,
    num_mip_levels: u32,
    num_samples: u32,
    object: *mut c_void,
}

/// `cl_buffer_region`.
#[repr(C)]
struct Region {
    origin: usize,
    size: usize,
}

/// The flags for the library: the guest keeps its own memory apart from the device's, so what its flags say of that is not for it.
/// Flags that no version knows go to the library, which refuses them.
fn library_flags(flags: u64, has_data: bool) -> u64 {
    let kernels = flags & (BY_KERNELS | KERNEL_READ_AND_WRITE);
    kernels | (flags & !(KNOWN | KERNEL_READ_AND_WRITE)) | if has_data { COPY_HOST_PTR } else { 0 }
}

impl OpenCl {
    /// Whether `bytes` more are allowed. Objects that the library made are counted by [`OpenCl::began`].
    pub(super) fn has_room(&self, bytes: u64) -> Result<(), Failure> {
        let sizes = lock(&self.memory);
        let of_guest = self.session.account().map_or(u64::MAX, |account| account.left());
        match sizes.sum.checked_add(bytes) {
            Some(sum) if sum <= sizes.most && bytes <= of_guest => Ok(()),
            _ => Err(Failure::Status(CL_MEM_OBJECT_ALLOCATION_FAILURE)),
        }
    }

    /// Counts an object, by its address; false where a limit would be passed, which another process of the guest may have
    /// brought about.
    pub(super) fn began(&self, object: usize, bytes: u64) -> bool {
        if !self.look() || self.session.account().is_some_and(|account| !account.charge(bytes)) {
            return false;
        }
        lock(&self.memory).began(object, bytes);
        true
    }

    /// An object is gone.
    pub(super) fn memory_ended(&self, object: usize) {
        let bytes = lock(&self.memory).ended(object);
        if let Some(account) = self.session.account() {
            account.refund(bytes);
        }
    }

    /// What a device says of its memory, as far as the guest may use it.
    pub(super) fn bounded_memory(&self, param: u32, mut value: Vec<u8>) -> Vec<u8> {
        if matches!(param, GLOBAL_MEM_SIZE | MAX_MEM_ALLOC_SIZE)
            && let Some(limit) = self.session.account().and_then(|account| account.limit())
            && let Some(bytes) = value.first_chunk_mut::<8>()
        {
            *bytes = u64::from_ne_bytes(*bytes).min(limit).to_ne_bytes();
        }
        value
    }

    /// Counts an object that was made; one that takes more than is left is given back.
    fn count(&self, made: &mut *mut c_void) -> Result<(), Failure> {
        let info = function!(self, clGetMemObjectInfo)?;
        let mut bytes = 0usize;
        // SAFETY: the object lives; the value has the size of a size.
        ok(unsafe { info(*made, MEM_SIZE, size_of::<usize>(), (&raw mut bytes).cast(), std::ptr::null_mut()) })?;
        let room = self.has_room(bytes as u64);
        let full = Failure::Status(CL_MEM_OBJECT_ALLOCATION_FAILURE);
        if let Err(full) = room.and_then(|()| self.began(made.addr(), bytes as u64).then_some(()).ok_or(full)) {
            if let Some(release) = self.library.clReleaseMemObject {
                // SAFETY: just made, and nobody else's.
                unsafe { release(*made) };
            }
            *made = std::ptr::null_mut();
            return Err(full);
        }
        Ok(())
    }

    /// `gpuferryBuffer`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryBuffer(
        &self,
        _from: &FrameHeader,
        _buffer: Handle,
        made: &mut *mut c_void,
        context: *mut c_void,
        flags: u64,
        size: usize,
        data: Buffer<'_>,
    ) -> Result<(), Failure> {
        let create = function!(self, clCreateBuffer)?;
        let has_data = data != Buffer::Null;
        if has_data && data.bytes() != size as u64 {
            return Err(Failure::Status(CL_INVALID_VALUE));
        }
        let largest = lock(&self.memory).largest;
        self.has_room(size as u64)
            .map_err(|full| if size as u64 > largest { Failure::Status(INVALID_BUFFER_SIZE) } else { full })?;
        let data = self.bytes.input(data)?;
        let mut status = 0;
        // SAFETY: the context lives; the data has `size` bytes, or is null.
        *made = unsafe {
            create(context, library_flags(flags, has_data), size, data.pointer().cast_mut(), &raw mut status)
        };
        ok(status)?;
        self.count(made)
    }

    /// `gpuferrySubBuffer`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferrySubBuffer(
        &self,
        _from: &FrameHeader,
        _sub: Handle,
        made: &mut *mut c_void,
        buffer: *mut c_void,
        flags: u64,
        origin: usize,
        size: usize,
    ) -> Result<(), Failure> {
        let create = function!(self, clCreateSubBuffer)?;
        let region = Region { origin, size };
        let mut status = 0;
        // SAFETY: the buffer lives; the region is what its type says.
        *made =
            unsafe { create(buffer, library_flags(flags, false), REGION, (&raw const region).cast(), &raw mut status) };
        ok(status)
    }

    /// `gpuferryImage`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryImage(
        &self,
        _from: &FrameHeader,
        _image: Handle,
        made: &mut *mut c_void,
        context: *mut c_void,
        flags: u64,
        shape: &ImageShape,
        source: *mut c_void,
        data: Buffer<'_>,
    ) -> Result<(), Failure> {
        let create = function!(self, clCreateImage)?;
        let has_data = data != Buffer::Null;
        // The library reads as much as the shape says.
        if has_data && shape.data_bytes().is_none_or(|needed| data.bytes() < needed) {
            return Err(Failure::Status(CL_INVALID_VALUE));
        }
        let format = Format { order: shape.channel_order, data_type: shape.channel_data_type };
        let description = Description {
            image_type: shape.image_type,
            width: shape.width,
            height: shape.height,
            depth: shape.depth,
            array_size: shape.array_size,
            row_pitch: shape.row_pitch,
            slice_pitch: shape.slice_pitch,
            num_mip_levels: shape.num_mip_levels,
            num_samples: shape.num_samples,
            object: source,
        };
        let data = self.bytes.input(data)?;
        let mut status = 0;
        // SAFETY: context and source live; the data has as many bytes as the shape says, or is null.
        *made = unsafe {
            create(
                context,
                library_flags(flags, has_data),
                (&raw const format).cast(),
                (&raw const description).cast(),
                data.pointer().cast_mut(),
                &raw mut status,
            )
        };
        ok(status)?;
        // Counted once it is made: a wrong format or size is for the library to refuse.
        if source.is_null() { self.count(made) } else { Ok(()) }
    }

    /// `gpuferryPipe`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryPipe(
        &self,
        _from: &FrameHeader,
        _pipe: Handle,
        made: &mut *mut c_void,
        context: *mut c_void,
        flags: u64,
        packet_size: u32,
        max_packets: u32,
    ) -> Result<(), Failure> {
        let create = function!(self, clCreatePipe)?;
        self.has_room(u64::from(packet_size) * u64::from(max_packets))?;
        let mut status = 0;
        // SAFETY: the context lives; a pipe has no properties.
        *made = unsafe { create(context, flags, packet_size, max_packets, std::ptr::null(), &raw mut status) };
        ok(status)?;
        self.count(made)
    }
}

/// `CL_MEM_OBJECT_IMAGE2D` to `_IMAGE1D_BUFFER`: 0x10F1 to 0x10F6.
const IMAGE2D: u32 = 0x10F1;
const IMAGE3D: u32 = 0x10F2;
const IMAGE2D_ARRAY: u32 = 0x10F3;
const IMAGE1D: u32 = 0x10F4;
const IMAGE1D_ARRAY: u32 = 0x10F5;
const IMAGE1D_BUFFER: u32 = 0x10F6;

impl ImageShape {
    /// Bytes of a texel; none for a format that no version has.
    fn element(&self) -> Option<u64> {
        let channels: u64 = match self.channel_order {
            // CL_R, CL_A, CL_INTENSITY, CL_LUMINANCE, CL_Rx, CL_DEPTH.
            0x10B0 | 0x10B1 | 0x10B8 | 0x10B9 | 0x10BA | 0x10BD => 1,
            // CL_RG, CL_RA, CL_RGx, CL_DEPTH_STENCIL.
            0x10B2 | 0x10B3 | 0x10BB | 0x10BE => 2,
            // CL_RGB, CL_RGBx, CL_sRGB; CL_sRGBx.
            0x10B4 | 0x10BC | 0x10BF => 3,
            // CL_RGBA, CL_BGRA, CL_ARGB, CL_sRGBx, CL_sRGBA, CL_sBGRA, CL_ABGR.
            0x10B5 | 0x10B6 | 0x10B7 | 0x10C0 | 0x10C1 | 0x10C2 | 0x10C3 => 4,
            _ => return None,
        };
        let each = match self.channel_data_type {
            // 8 bits, normalized or not.
            0x10D0 | 0x10D2 | 0x10D7 | 0x10DA => 1,
            // 16 bits, half among them.
            0x10D1 | 0x10D3 | 0x10D8 | 0x10DB | 0x10DD => 2,
            // 32 bits, float among them.
            0x10D9 | 0x10DC | 0x10DE => 4,
            // Packed: CL_UNORM_SHORT_565, _555, CL_UNORM_INT_101010, _24, _101010_2.
            0x10D4 | 0x10D5 => return Some(2),
            0x10D6 | 0x10DF | 0x10E0 => return Some(4),
            _ => return None,
        };
        Some(channels * each)
    }

    /// Width, height and depth in texels; array layers are a dimension.
    fn extent(&self) -> Option<[u64; 3]> {
        let (width, height) = (self.width as u64, self.height as u64);
        Some(match self.image_type {
            IMAGE2D => [width, height, 1],
            IMAGE3D => [width, height, self.depth as u64],
            IMAGE2D_ARRAY => [width, height, self.array_size as u64],
            IMAGE1D | IMAGE1D_BUFFER => [width, 1, 1],
            IMAGE1D_ARRAY => [width, 1, self.array_size as u64],
            _ => return None,
        })
    }

    /// Bytes from the first to the last texel of the data that the image begins with, as far as any library reads.
    fn data_bytes(&self) -> Option<u64> {
        let [width, height, depth] = self.extent()?;
        let row = width.checked_mul(self.element()?)?;
        let row_pitch = if self.row_pitch == 0 { row } else { self.row_pitch as u64 };
        let slice = row_pitch.checked_mul(height)?;
        let slice_pitch = if self.slice_pitch == 0 { slice } else { self.slice_pitch as u64 };
        let rows = height.checked_sub(1)?.checked_mul(row_pitch)?;
        depth.checked_sub(1)?.checked_mul(slice_pitch)?.checked_add(rows)?.checked_add(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(image_type: u32, size: [usize; 4], pitches: [usize; 2]) -> ImageShape {
        ImageShape {
            channel_order: 0x10B5,
            channel_data_type: 0x10DA,
            image_type,
            num_mip_levels: 0,
            num_samples: 0,
            padding: 0,
            width: size[0],
            height: size[1],
            depth: size[2],
            array_size: size[3],
            row_pitch: pitches[0],
            slice_pitch: pitches[1],
        }
    }

    #[test]
    fn data_bytes_when_rows_and_slices_have_gaps_then_reaches_to_the_last_texel() {
        assert_eq!(shape(IMAGE2D, [4, 3, 9, 9], [0, 0]).data_bytes(), Some(48));
        assert_eq!(shape(IMAGE2D, [4, 3, 9, 9], [20, 0]).data_bytes(), Some(56));
        assert_eq!(shape(IMAGE3D, [4, 3, 2, 9], [20, 100]).data_bytes(), Some(156));
        assert_eq!(shape(IMAGE1D_ARRAY, [4, 9, 9, 3], [0, 32]).data_bytes(), Some(80));
        assert_eq!(shape(IMAGE2D, [4, 0, 9, 9], [0, 0]).data_bytes(), None);
        assert_eq!(shape(IMAGE3D, [usize::MAX, 3, 2, 9], [0, 0]).data_bytes(), None);
        assert_eq!(shape(0x10F0, [4, 3, 2, 9], [0, 0]).data_bytes(), None, "a buffer");
    }

    #[test]
    fn library_flags_when_they_speak_of_the_guests_memory_then_lose_that() {
        assert_eq!(library_flags(1 | 1 << 3, true), 1 | COPY_HOST_PTR);
        assert_eq!(library_flags(4 | 1 << 9, false), 4);
        assert_eq!(library_flags(1 << 20, false), 1 << 20, "refused by the library");
    }
}
