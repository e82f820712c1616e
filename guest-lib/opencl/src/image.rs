//! Images.

use crate::answer::{Answer, Question};
use crate::arena::{self, Ref};
use crate::buffer::{begins_with_data, with_data};
use crate::caller;
use crate::cl_int;
use crate::context::Context;
use crate::generated::{INFO_IMAGE, ImageShape, send};
use crate::memory::{self, DEVICE_ACCESS, HOST_ACCESS, HOST_PTR, KERNEL_READ_AND_WRITE, Mem, Sort, USE_HOST_PTR};
use crate::properties;
use crate::status::{
    CL_INVALID_HOST_PTR, CL_INVALID_IMAGE_DESCRIPTOR, CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, CL_INVALID_IMAGE_SIZE,
    CL_INVALID_PROPERTY,
};
use crate::user::{self, In, Out, Raw};
use core::ffi::c_void;
use wire::handle::Handle;

const CL_DEVICE_MAX_MEM_ALLOC_SIZE: u32 = 0x1010;
const CL_IMAGE_BUFFER: u32 = 0x1118;

const TYPE_2D: u32 = 0x10f1;
const TYPE_3D: u32 = 0x10f2;
const TYPE_2D_ARRAY: u32 = 0x10f3;
const TYPE_1D_ARRAY: u32 = 0x10f5;

/// `cl_image_format`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Format {
    channel_order: u32,
    channel_data_type: u32,
}

/// `cl_image_desc`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Description {
    image_type: u32,
    width: usize,
    height: usize,
    depth: usize,
    array_size: usize,
    row_pitch: usize,
    slice_pitch: usize,
    num_mip_levels: u32,
    num_samples: u32,
    mem_object: Raw,
}

/// What makes a memory object an image.
pub struct Image {
    /// Its format and size.
    pub shape: ImageShape,
    /// Bytes of an element.
    pub element: usize,
    /// The buffer or image in whose memory it lies.
    pub of: Option<Ref<Mem>>,
}

impl Image {
    /// Elements in each of the three directions that regions are given in.
    #[must_use]
    pub fn extent(&self) -> [usize; 3] {
        let shape = &self.shape;
        match shape.image_type {
            TYPE_3D => [shape.width, shape.height, shape.depth],
            TYPE_2D => [shape.width, shape.height, 1],
            TYPE_2D_ARRAY => [shape.width, shape.height, shape.array_size],
            TYPE_1D_ARRAY => [shape.width, shape.array_size, 1],
            _ => [shape.width, 1, 1],
        }
    }

    /// Whether there is a slice pitch.
    #[must_use]
    pub fn has_slices(&self) -> bool {
        matches!(self.shape.image_type, TYPE_3D | TYPE_2D_ARRAY | TYPE_1D_ARRAY)
    }

    /// Whether its lines are layers of an array.
    #[must_use]
    pub fn is_line_array(&self) -> bool {
        self.shape.image_type == TYPE_1D_ARRAY
    }

    /// Row and slice pitch of the program's memory that it begins with, or of its host pointer.
    #[must_use]
    pub fn pitches(&self) -> [usize; 2] {
        let row = if self.shape.row_pitch == 0 { self.shape.width * self.element } else { self.shape.row_pitch };
        let rows = if self.is_line_array() { 1 } else { self.shape.height.max(1) };
        [row, if self.shape.slice_pitch == 0 { row * rows } else { self.shape.slice_pitch }]
    }
}

/// Bytes of an element; 0 for a format that is none.
fn element_bytes(format: Format) -> usize {
    let channels = match format.channel_order {
        0x10b0 | 0x10b1 | 0x10b8..=0x10ba | 0x10bd | 0x10be => 1,
        0x10b2 | 0x10b3 | 0x10bb => 2,
        0x10b4 | 0x10bc | 0x10bf => 3,
        0x10b5..=0x10b7 | 0x10c0..=0x10c3 => 4,
        _ => 0,
    };
    match format.channel_data_type {
        0x10d0 | 0x10d2 | 0x10d7 | 0x10da => channels,
        0x10d1 | 0x10d3 | 0x10d8 | 0x10db | 0x10dd => 2 * channels,
        0x10d9 | 0x10dc | 0x10de => 4 * channels,
        // One number holds all channels.
        0x10d4 | 0x10d5 => 2,
        0x10d6 | 0x10df | 0x10e0 => 4,
        _ => 0,
    }
}

/// Bytes of the program's memory that an image begins with.
fn data_bytes(image: &Image) -> Option<usize> {
    let shape = &image.shape;
    let tight = shape.width.checked_mul(image.element)?;
    let row = if shape.row_pitch == 0 { tight } else { shape.row_pitch };
    let rows = if image.is_line_array() { 1 } else { shape.height };
    let slice = if shape.slice_pitch == 0 { row.checked_mul(rows)? } else { shape.slice_pitch };
    match shape.image_type {
        TYPE_3D => slice.checked_mul(shape.depth),
        TYPE_2D_ARRAY | TYPE_1D_ARRAY => slice.checked_mul(shape.array_size),
        TYPE_2D => row.checked_mul(shape.height),
        _ => Some(row),
    }
}

fn create(
    context: Raw,
    list: Option<Vec<[u64; 2]>>,
    flags: u64,
    format: In<Format>,
    description: In<Description>,
    host_ptr: *mut c_void,
) -> Result<Raw, cl_int> {
    let context = arena::get::<Context>(context)?;
    properties::check(list.as_deref().unwrap_or_default(), &[], CL_INVALID_PROPERTY)?;
    memory::check_flags(flags & !KERNEL_READ_AND_WRITE)?;
    let format = format.read().ok_or(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR)?;
    let given = description.read().ok_or(CL_INVALID_IMAGE_DESCRIPTOR)?;
    let source = if given.mem_object.is_null() {
        None
    } else {
        Some(arena::get::<Mem>(given.mem_object).map_err(|_| CL_INVALID_IMAGE_DESCRIPTOR)?)
    };
    let own = match &source {
        Some(source) => {
            if flags & HOST_PTR != 0 || !host_ptr.is_null() {
                return Err(CL_INVALID_HOST_PTR);
            }
            let or_source = |of: u64| if flags & of == 0 { source.flags & of } else { flags & of };
            or_source(DEVICE_ACCESS) | or_source(HOST_ACCESS) | (source.flags & HOST_PTR)
        }
        None => memory::with_defaults(flags),
    };
    let shape = ImageShape {
        channel_order: format.channel_order,
        channel_data_type: format.channel_data_type,
        image_type: given.image_type,
        num_mip_levels: given.num_mip_levels,
        num_samples: given.num_samples,
        padding: 0,
        width: given.width,
        height: given.height,
        depth: given.depth,
        array_size: given.array_size,
        row_pitch: given.row_pitch,
        slice_pitch: given.slice_pitch,
    };
    let image = Image { shape, element: element_bytes(format), of: source };
    let has_data = image.of.is_none() && begins_with_data(flags, host_ptr)?;
    let caller = caller::enter()?;
    let most = context.most(&caller, CL_DEVICE_MAX_MEM_ALLOC_SIZE)?;
    let bytes = data_bytes(&image).filter(|bytes| *bytes as u64 <= most);
    let data = match (has_data, bytes) {
        // SAFETY: not null, so as large as the image by the promise of the function's caller.
        (true, Some(bytes)) => Some(unsafe { user::bytes(host_ptr, bytes) }),
        _ => None,
    };
    let vacant = arena::vacant::<Mem>()?;
    let under = image.of.as_ref().map_or(Handle::NULL, |of| of.handle);
    with_data(&caller, data, |data| {
        send::gpuferryImage(&caller, vacant.handle, context.handle, own, &image.shape, under, data)
    })?;
    if has_data && data.is_none() {
        // Larger than any device's memory: the host judges, and its data cannot be meant.
        let _ = send::clReleaseMemObject(&caller, vacant.handle);
        return Err(CL_INVALID_IMAGE_SIZE);
    }
    let host_ptr =
        if flags & USE_HOST_PTR != 0 { host_ptr as usize } else { image.of.as_ref().map_or(0, |of| of.host_ptr) };
    let mut made = Mem::new(context, own, 0, host_ptr, Sort::Image(image));
    made.properties = properties::as_given(list.as_deref());
    Ok(vacant.fill(made).raw())
}

fn plain(image_type: u32, size: [usize; 3], row_pitch: usize, slice_pitch: usize) -> Description {
    let [width, height, depth] = size;
    let (array_size, num_mip_levels, num_samples, mem_object) = (0, 0, 0, core::ptr::null_mut());
    Description {
        image_type,
        width,
        height,
        depth,
        array_size,
        row_pitch,
        slice_pitch,
        num_mip_levels,
        num_samples,
        mem_object,
    }
}

crate::makers! {
    /// OpenCL 3.0 § 5.3.1, clCreateImage.
    extern "C" fn clCreateImage(
        context: Raw, flags: u64, image_format: In<Format>, image_desc: In<Description>, host_ptr: *mut c_void,
    ) {
        create(context, None, flags, image_format, image_desc, host_ptr)
    }

    /// OpenCL 3.0 § 5.3.1, clCreateImageWithProperties.
    extern "C" fn clCreateImageWithProperties(
        context: Raw, properties: In<u64>, flags: u64, image_format: In<Format>, image_desc: In<Description>,
        host_ptr: *mut c_void,
    ) {
        create(context, properties.pairs()?, flags, image_format, image_desc, host_ptr)
    }

    /// OpenCL 1.1, clCreateImage2D.
    extern "C" fn clCreateImage2D(
        context: Raw, flags: u64, image_format: In<Format>, image_width: usize, image_height: usize,
        image_row_pitch: usize, host_ptr: *mut c_void,
    ) {
        let description = plain(TYPE_2D, [image_width, image_height, 0], image_row_pitch, 0);
        create(context, None, flags, image_format, In(&raw const description), host_ptr)
    }

    /// OpenCL 1.1, clCreateImage3D.
    extern "C" fn clCreateImage3D(
        context: Raw, flags: u64, image_format: In<Format>, image_width: usize, image_height: usize, image_depth: usize,
        image_row_pitch: usize, image_slice_pitch: usize, host_ptr: *mut c_void,
    ) {
        let size = [image_width, image_height, image_depth];
        let description = plain(TYPE_3D, size, image_row_pitch, image_slice_pitch);
        create(context, None, flags, image_format, In(&raw const description), host_ptr)
    }
}

crate::calls! {
    /// OpenCL 3.0 § 5.3.7, clGetImageInfo.
    extern "C" fn clGetImageInfo(
        image: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let memory = memory::image(image)?;
        let to = Answer::new(param_value_size, param_value, param_value_size_ret);
        if param_name == CL_IMAGE_BUFFER {
            let of = memory.image()?.of.as_ref().filter(|of| of.is_buffer());
            return to.object(of.map_or(core::ptr::null_mut(), |of| of.raw()));
        }
        to.bytes(&memory.facts.get(&caller::enter()?, Question::new(INFO_IMAGE, memory.handle, param_name))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE_1D: u32 = 0x10f4;
    const TYPE_1D_BUFFER: u32 = 0x10f6;

    fn image(image_type: u32, row_pitch: usize, slice_pitch: usize) -> Image {
        let shape = ImageShape {
            image_type,
            width: 3,
            height: 5,
            depth: 7,
            array_size: 9,
            row_pitch,
            slice_pitch,
            ..Default::default()
        };
        Image { shape, element: 4, of: None }
    }

    #[test]
    fn data_bytes_when_pitches_are_given_or_not_then_cover_the_image() {
        let expected = [
            (TYPE_1D, 12, 16),
            (TYPE_1D_BUFFER, 12, 16),
            (TYPE_1D_ARRAY, 12 * 9, 100 * 9),
            (TYPE_2D, 12 * 5, 16 * 5),
            (TYPE_2D_ARRAY, 12 * 5 * 9, 100 * 9),
            (TYPE_3D, 12 * 5 * 7, 100 * 7),
        ];
        for (image_type, tight, pitched) in expected {
            assert_eq!(data_bytes(&image(image_type, 0, 0)), Some(tight), "{image_type:#x}");
            assert_eq!(data_bytes(&image(image_type, 16, 100)), Some(pitched), "{image_type:#x}");
        }
        assert_eq!(data_bytes(&image(TYPE_3D, usize::MAX, 0)), None);
    }

    #[test]
    fn extent_when_an_array_then_counts_layers() {
        assert_eq!(image(TYPE_1D_ARRAY, 0, 0).extent(), [3, 9, 1]);
        assert_eq!(image(TYPE_2D_ARRAY, 0, 0).extent(), [3, 5, 9]);
        assert_eq!(image(TYPE_1D_ARRAY, 0, 0).pitches(), [12, 12]);
        assert_eq!(image(TYPE_3D, 0, 0).pitches(), [12, 60]);
    }

    #[test]
    fn element_bytes_when_packed_or_not_then_are_whole() {
        let bytes = |channel_order, channel_data_type| element_bytes(Format { channel_order, channel_data_type });
        assert_eq!((bytes(0x10b5, 0x10d2), bytes(0x10b0, 0x10de), bytes(0x10b4, 0x10d4)), (4, 4, 2));
        assert_eq!((bytes(0x10b5, 0x10de), bytes(0, 0x10de), bytes(0x10b5, 0)), (16, 0, 0));
    }
}
