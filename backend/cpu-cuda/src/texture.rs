//! Textures: memory seen through a sampler.
//!
//! A texture object, or what a texture reference is bound to, is a [`Texture`]: levels of texels and how to sample them.
//! Kernels name it by its handle, which is checked on every fetch. Sampling itself is in `sample.rs`.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::array::{Array, Format, Mipmap};
use crate::context;
use crate::engine::{TextureFetch, TextureQuery};
use crate::handle::{Handle, Object, object};
use crate::module::Module;
use crate::status::Answer;
use crate::types::{ResourceDescriptor, TextureDescriptor, ViewDescriptor};
use crate::work::{Work, lock};

mod sample;
mod texel;

/// CU_TRSF_READ_AS_INTEGER.
pub const READ_AS_INTEGER: u32 = 1;
/// CU_TRSF_NORMALIZED_COORDINATES.
pub const NORMALIZED: u32 = 2;

/// One level of texels.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    /// First byte.
    pub address: u64,
    /// Texels along x, y, z; layers count as z. At least 1 each.
    pub extent: [u64; 3],
    /// Bytes from row to row.
    pub pitch: u64,
    /// Bytes from slice to slice.
    pub slice: u64,
}

/// What is sampled.
#[derive(Clone)]
pub struct Texels {
    /// The levels, largest first; at least one.
    pub levels: Vec<Level>,
    /// Their format.
    pub format: Format,
    /// Linear memory: no filtering, nothing outside.
    pub linear: bool,
    /// Keeps the arrays.
    pub arrays: Vec<Arc<Array>>,
}

/// How it is sampled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampler {
    /// CUaddress_mode along x, y, z: 0 wrap, 1 clamp, 2 mirror, 3 border.
    pub address: [u32; 3],
    /// CUfilter_mode: 0 point, 1 linear.
    pub filter: u32,
    /// CU_TRSF_* flags.
    pub flags: u32,
    /// Filter between levels.
    pub level_filter: u32,
    /// Added to the level asked for.
    pub level_bias: f32,
    /// Least and greatest level.
    pub level_clamp: [f32; 2],
    /// Colour outside, for mode border.
    pub border: [f32; 4],
}

/// A texture, with the descriptions it was made from.
pub struct Texture {
    /// What is sampled.
    pub texels: Texels,
    /// How.
    pub sampler: Sampler,
    /// As the program gave them.
    pub described: (ResourceDescriptor, TextureDescriptor, Option<ViewDescriptor>),
    /// Whether the program has destroyed it.
    pub ended: AtomicBool,
}

object!(Texture, 10);

/// Settings of a texture reference.
#[derive(Clone, Default)]
pub struct ReferenceState {
    /// What it is bound to.
    pub texels: Option<Texels>,
    /// Its array's handle, to be given back.
    pub array: Handle<Array>,
    /// Its mipmapped array's handle, to be given back.
    pub mipmap: Handle<Mipmap>,
    /// Its linear memory, to be given back.
    pub address: u64,
    /// The sampler.
    pub sampler: Sampler,
    /// Format for linear memory.
    pub format: Option<Format>,
}

/// A texture reference: a texture whose settings change by calls.
pub struct TextureReference {
    /// Its settings.
    pub state: Mutex<ReferenceState>,
    /// Where it stands in a module, if it does.
    place: Option<(Arc<Module>, usize)>,
    bound: AtomicU64,
}

object!(TextureReference, 12);

impl TextureReference {
    /// A new one; `place` is its module and number there.
    pub fn create(place: Option<(Arc<Module>, usize)>) -> Answer<Handle<TextureReference>> {
        let make = |_| TextureReference { state: Mutex::default(), place, bound: AtomicU64::new(0) };
        Ok(TextureReference::table().insert(make)?.0)
    }

    /// Changes settings and gives kernels a texture made of them.
    pub fn change(&self, change: impl FnOnce(&mut ReferenceState) -> Answer) -> Answer {
        let mut state = lock(&self.state);
        change(&mut state)?;
        let Some(texels) = state.texels.clone() else { return Ok(()) };
        let sampler = state.sampler;
        let (handle, _) = Texture::table().insert(|_| Texture {
            texels,
            sampler,
            described: Default::default(),
            ended: AtomicBool::new(false),
        })?;
        if let Some((module, index)) = &self.place {
            module.code.bind_texture(*index, handle.0);
        }
        let before = self.bound.swap(handle.0, Ordering::AcqRel);
        if before != 0 {
            let _ = destroy(Handle::<Texture>::from_raw(before));
        }
        Ok(())
    }
}

impl Texels {
    /// One array.
    pub fn of_array(array: &Arc<Array>) -> Texels {
        let shape = array.shape;
        let extent = [shape.width, shape.height.max(1), shape.depth.max(1)];
        let level = Level { address: array.address, extent, pitch: shape.pitch(), slice: shape.slice() };
        Texels { levels: vec![level], format: shape.format, linear: false, arrays: vec![array.clone()] }
    }

    /// All levels of a mipmapped array.
    pub fn of_mipmap(mipmap: &Mipmap) -> Answer<Texels> {
        let mut all = Texels { levels: Vec::new(), format: mipmap.shape.format, linear: false, arrays: Vec::new() };
        for level in &mipmap.levels {
            let one = Self::of_array(&level.get()?);
            all.levels.extend(one.levels);
            all.arrays.extend(one.arrays);
        }
        Ok(all)
    }

    /// Rows in plain memory.
    pub fn of_rows(address: u64, format: Format, extent: [u64; 2], pitch: u64, linear: bool) -> Texels {
        let level = Level { address, extent: [extent[0], extent[1], 1], pitch, slice: 0 };
        Texels { levels: vec![level], format, linear, arrays: Vec::new() }
    }
}

/// What a program may destroy while kernels that it has launched still read through it.
pub trait Sampled: Object {
    /// Whether the program has destroyed it.
    fn ended(&self) -> &AtomicBool;
}

impl Sampled for Texture {
    fn ended(&self) -> &AtomicBool {
        &self.ended
    }
}

/// The object of a handle that the program has not destroyed.
pub fn of_program<T: Sampled>(handle: Handle<T>) -> Answer<Arc<T>> {
    let object = handle.get()?;
    if object.ended().load(Ordering::Acquire) { Err(T::REFUSAL) } else { Ok(object) }
}

/// Destroys for the program at once, for kernels when the work that was there has finished.
pub fn destroy<T: Sampled>(handle: Handle<T>) -> Answer {
    if handle.get()?.ended().swap(true, Ordering::AcqRel) {
        return Err(T::REFUSAL);
    }
    let before = context::top().map(|context| context.all_unfinished()).unwrap_or_default();
    if before.is_empty() {
        return handle.take().map(drop);
    }
    Work::start(Some(Box::new(move || drop(handle.take()))), &before);
    Ok(())
}

thread_local! {
    /// The texture that a kernel on this thread fetched from last, and what `Table::removed` was before it was looked up.
    static LAST: RefCell<Option<(u64, u64, Arc<Texture>)>> = const { RefCell::new(None) };
}

/// A texture fetch of a kernel. Most are from the texture that the one before was from, so that one is kept at hand.
pub fn fetch(fetch: &TextureFetch) -> Option<[u32; 4]> {
    LAST.with_borrow_mut(|last| {
        let removed = Texture::table().removed();
        let found = match last {
            Some((handle, seen, texture)) if *handle == fetch.handle && *seen == removed => texture,
            _ => {
                let texture = Handle::<Texture>::from_raw(fetch.handle).get().ok()?;
                &mut last.insert((fetch.handle, removed, texture)).2
            }
        };
        Some(sample::fetch(&found.texels, &found.sampler, fetch))
    })
}

/// Lets go of what `fetch` keeps for this thread.
pub fn forget_last() {
    LAST.set(None);
}

/// A texture query of a kernel.
pub fn query(handle: u64, query: TextureQuery) -> Option<u32> {
    let texture = Handle::<Texture>::from_raw(handle).get().ok()?;
    let normalized = u32::from(texture.sampler.flags & NORMALIZED != 0);
    ask(texture.texels.levels.first()?, texture.texels.levels.len(), texture.texels.format, normalized, query)
}

/// What a query is answered, by the largest of the levels.
pub fn ask(level: &Level, levels: usize, format: Format, normalized: u32, query: TextureQuery) -> Option<u32> {
    let number = match query {
        TextureQuery::Width => level.extent[0],
        TextureQuery::Height => level.extent[1],
        TextureQuery::Depth | TextureQuery::ArraySize => level.extent[2],
        TextureQuery::ChannelDataType => u64::from(format.kind),
        TextureQuery::ChannelOrder => u64::from(format.channels),
        TextureQuery::NormalizedCoords => u64::from(normalized),
        TextureQuery::MipmapLevels => levels as u64,
        TextureQuery::Samples => 1,
    };
    u32::try_from(number).ok()
}
