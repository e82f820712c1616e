//! Arrays: memory with a shape and an element format, for textures, surfaces and box copies.
//!
//! An array is plain memory of the arena, rows one after the other. A mipmapped array is a list of arrays, one a level.

use std::sync::Arc;

use crate::arena::Kind;
use crate::context::Context;
use crate::driver;
use crate::handle::{Handle, Object, object};
use crate::status::{Answer, Status};

/// CUDA_ARRAY3D_LAYERED.
pub const LAYERED: u32 = 1;
/// CUDA_ARRAY3D_CUBEMAP.
pub const CUBEMAP: u32 = 4;
/// CUDA_ARRAY3D_* flags that are taken: layered, surface, cubemap, texture gather, depth texture, colour attachment.
const TAKEN_FLAGS: u32 = LAYERED | 2 | CUBEMAP | 8 | 0x10 | 0x20;
const MOST_LEVELS: u32 = 32;

/// An element format: channels of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// CUarray_format: unsigned 1–3, signed 8–10, half 0x10, float 0x20.
    pub kind: u32,
    /// 1, 2 or 4.
    pub channels: u32,
}

impl Format {
    /// Refuses what is not a format of this device.
    pub fn check(kind: u32, channels: u32) -> Answer<Format> {
        let known = matches!(kind, 1..=3 | 8..=10 | 0x10 | 0x20) && matches!(channels, 1 | 2 | 4);
        if known { Ok(Format { kind, channels }) } else { Err(Status::INVALID_VALUE) }
    }

    /// Bytes of a channel.
    pub fn channel_bytes(self) -> u64 {
        match self.kind {
            1 | 8 => 1,
            2 | 9 | 0x10 => 2,
            _ => 4,
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> u64 {
        self.channel_bytes() * u64::from(self.channels)
    }
}

/// The extent, format and flags of an array, as CUDA_ARRAY3D_DESCRIPTOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Elements of a row.
    pub width: u64,
    /// Rows; 0 for one dimension.
    pub height: u64,
    /// Slices or layers; 0 for two dimensions.
    pub depth: u64,
    /// The elements.
    pub format: Format,
    /// CUDA_ARRAY3D_* flags.
    pub flags: u32,
}

impl Shape {
    /// Bytes from row to row.
    pub fn pitch(&self) -> u64 {
        self.width * self.format.bytes()
    }

    /// Bytes from slice to slice.
    pub fn slice(&self) -> u64 {
        self.pitch() * self.height.max(1)
    }

    /// All bytes; refused where they are too many to count, or the shape makes no sense.
    pub fn bytes(&self) -> Answer<u64> {
        let cube = self.flags & CUBEMAP != 0;
        let odd_cube = cube && (self.width != self.height || self.depth == 0 || !self.depth.is_multiple_of(6));
        if self.width == 0
            || self.flags & !TAKEN_FLAGS != 0
            || odd_cube
            || [self.width, self.height, self.depth].iter().any(|n| *n > 1 << 28)
        {
            return Err(Status::INVALID_VALUE);
        }
        let row = self.width.checked_mul(self.format.bytes()).ok_or(Status::INVALID_VALUE)?;
        let slice = row.checked_mul(self.height.max(1)).ok_or(Status::INVALID_VALUE)?;
        slice.checked_mul(self.depth.max(1)).ok_or(Status::INVALID_VALUE)
    }
}

/// An array.
pub struct Array {
    /// Its own handle.
    pub handle: Handle<Array>,
    /// Its context.
    pub context: Arc<Context>,
    /// Its shape.
    pub shape: Shape,
    /// Its first byte.
    pub address: u64,
    /// Whether it is a level of a mipmapped array, and goes with it.
    pub level: bool,
}

object!(Array, 8);

/// A mipmapped array.
pub struct Mipmap {
    /// The levels, largest first.
    pub levels: Vec<Handle<Array>>,
    /// Shape of the first level.
    pub shape: Shape,
    /// Its context.
    pub context: Arc<Context>,
}

object!(Mipmap, 9);

impl Array {
    /// cuArrayCreate and cuArray3DCreate.
    pub fn create(context: Arc<Context>, shape: Shape, level: bool) -> Answer<Handle<Array>> {
        let address = driver::arena()?.allocate(shape.bytes()?, Kind::Array, context.owner())?;
        Ok(Array::table().insert(|handle| Array { handle, context, shape, address, level })?.0)
    }

    /// cuArrayDestroy.
    pub fn destroy(handle: Handle<Array>) -> Answer {
        if handle.get()?.level {
            return Err(Status::INVALID_HANDLE);
        }
        Self::remove(handle)
    }

    fn remove(handle: Handle<Array>) -> Answer {
        let array = handle.take()?;
        // Kernels that use it end first; a fault is told by other calls.
        let _ = array.context.synchronize();
        // Freed already if its context was emptied.
        let _ = driver::arena()?.free(array.address, |allocation| allocation.kind == Kind::Array);
        Ok(())
    }
}

impl Mipmap {
    /// cuMipmappedArrayCreate.
    pub fn create(context: Arc<Context>, shape: Shape, levels: u32) -> Answer<Handle<Mipmap>> {
        let largest =
            shape.width.max(shape.height).max(if shape.flags & (LAYERED | CUBEMAP) == 0 { shape.depth } else { 0 });
        let possible = largest.checked_ilog2().ok_or(Status::INVALID_VALUE)? + 1;
        let count = levels.min(possible).min(MOST_LEVELS);
        if count == 0 {
            return Err(Status::INVALID_VALUE);
        }
        let mut made = Vec::new();
        for level in 0..count {
            let smaller = |n: u64| if n == 0 { 0 } else { (n >> level).max(1) };
            let depth = if shape.flags & (LAYERED | CUBEMAP) == 0 { smaller(shape.depth) } else { shape.depth };
            let shape = Shape { width: smaller(shape.width), height: smaller(shape.height), depth, ..shape };
            match Array::create(context.clone(), shape, true) {
                Ok(array) => made.push(array),
                Err(status) => {
                    for array in made {
                        let _ = Array::remove(array);
                    }
                    return Err(status);
                }
            }
        }
        Ok(Mipmap::table().insert(|_| Mipmap { levels: made, shape, context })?.0)
    }

    /// cuMipmappedArrayDestroy.
    pub fn destroy(handle: Handle<Mipmap>) -> Answer {
        let mipmap = handle.take()?;
        for level in &mipmap.levels {
            Array::remove(*level)?;
        }
        Ok(())
    }
}
