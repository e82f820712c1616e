//! Surfaces: arrays that kernels read and write as raw bytes.
//!
//! A kernel names a [`Surface`] by its handle, or by the number of a surface reference, which a call binds to an array.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use crate::array::Array;
use crate::engine::{Boundary, Geometry, SurfaceAccess, TextureQuery};
use crate::handle::{Handle, Object, object};
use crate::module::Module;
use crate::status::Answer;
use crate::texture::{self, Sampled, Texels, destroy};
use crate::types::ResourceDescriptor;
use crate::work::lock;

/// A surface object.
pub struct Surface {
    /// The array it stands for.
    pub array: Arc<Array>,
    /// As the program gave it.
    pub described: ResourceDescriptor,
    /// Whether the program has destroyed it.
    pub ended: AtomicBool,
}

object!(Surface, 11);

impl Sampled for Surface {
    fn ended(&self) -> &AtomicBool {
        &self.ended
    }
}

/// A surface reference of a module.
pub struct SurfaceReference {
    module: Arc<Module>,
    index: usize,
    /// The array it is bound to, and the surface that kernels get.
    bound: Mutex<Option<(Handle<Array>, Handle<Surface>)>>,
}

object!(SurfaceReference, 20);

impl SurfaceReference {
    /// The one of this number in a module.
    pub fn create(module: Arc<Module>, index: usize) -> Answer<Handle<SurfaceReference>> {
        Ok(SurfaceReference::table().insert(|_| SurfaceReference { module, index, bound: Mutex::default() })?.0)
    }

    /// Binds it to an array.
    pub fn bind(&self, array: Handle<Array>) -> Answer {
        let mut bound = lock(&self.bound);
        let surface = Surface::create(array.get()?, ResourceDescriptor::default())?;
        self.module.code.bind_surface(self.index, surface.0);
        if let Some((_, before)) = bound.replace((array, surface)) {
            destroy(before)?;
        }
        Ok(())
    }

    /// The array it is bound to; null for none.
    pub fn array(&self) -> Handle<Array> {
        lock(&self.bound).map_or(Handle::NULL, |(array, _)| array)
    }
}

impl Drop for SurfaceReference {
    fn drop(&mut self) {
        if let Some((_, surface)) = lock(&self.bound).take() {
            // Kernels that run still keep it.
            let _ = destroy(surface);
        }
    }
}

impl Surface {
    /// A surface of an array.
    pub fn create(array: Arc<Array>, described: ResourceDescriptor) -> Answer<Handle<Surface>> {
        Ok(Surface::table().insert(|_| Surface { array, described, ended: AtomicBool::new(false) })?.0)
    }
}

/// A surface query of a kernel.
pub fn query(handle: u64, query: TextureQuery) -> Option<u32> {
    let texels = Texels::of_array(&Handle::<Surface>::from_raw(handle).get().ok()?.array);
    texture::ask(texels.levels.first()?, 1, texels.format, 0, query)
}

/// The address of a surface access of `bytes` bytes; `Ok(None)` where it is outside and that is no fault.
fn place(access: &SurfaceAccess, bytes: usize) -> Result<Option<(u64, Arc<Array>)>, ()> {
    let surface = Handle::<Surface>::from_raw(access.handle).get().map_err(|_| ())?;
    let array = surface.array.clone();
    let shape = array.shape;
    let [x, y, z] = access.coordinates.map(i64::from);
    let (y, z) = match access.geometry {
        Geometry::One => (0, 0),
        Geometry::OneLayered => (0, i64::from(access.layer)),
        Geometry::Two | Geometry::TwoMultisample => (y, 0),
        Geometry::Three => (y, z),
        Geometry::TwoLayered | Geometry::CubeLayered | Geometry::Cube => (y, i64::from(access.layer)),
    };
    // 1D layers lie along z with one row each.
    let most = [shape.pitch() as i64 - bytes as i64, shape.height.max(1) as i64 - 1, shape.depth.max(1) as i64 - 1];
    let at = [x, y, z];
    let outside = at.iter().zip(most).any(|(at, most)| *at < 0 || *at > most);
    let at = match access.boundary {
        _ if !outside => at,
        Boundary::Trap => return Err(()),
        Boundary::Zero => return Ok(None),
        Boundary::Clamp if most[0] < 0 => return Ok(None),
        Boundary::Clamp => {
            let last = most[0] / bytes.max(1) as i64 * bytes.max(1) as i64;
            [at[0].clamp(0, last), at[1].clamp(0, most[1]), at[2].clamp(0, most[2])]
        }
    };
    let offset = at[2] as u64 * shape.slice() + at[1] as u64 * shape.pitch() + at[0] as u64;
    Ok(Some((array.address + offset, array)))
}

/// A surface read of a kernel.
pub fn read(access: &SurfaceAccess, bytes: &mut [u8]) -> bool {
    match place(access, bytes.len()) {
        Ok(Some((from, _array))) => {
            // SAFETY: inside the array, which `_array` keeps.
            unsafe { std::ptr::copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len()) };
            true
        }
        Ok(None) => {
            bytes.fill(0);
            true
        }
        Err(()) => false,
    }
}

/// A surface write of a kernel.
pub fn write(access: &SurfaceAccess, bytes: &[u8]) -> bool {
    match place(access, bytes.len()) {
        Ok(Some((to, _array))) => {
            // SAFETY: inside the array, which `_array` keeps.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
            true
        }
        Ok(None) => true,
        Err(()) => false,
    }
}
