//! Textures and surfaces. A texture's number is the device's own, since kernels read it from their parameters; the array that it
//! reads is a handle, which travels beside its description.

use crate::CUresult;
use crate::caller;
use crate::generated::{CUDA_RESOURCE_VIEW_DESC, CUDA_TEXTURE_DESC, Resource, kind, send};
use crate::handles::{self, Handle};
use crate::program::{In, Out};
use crate::status::CUDA_ERROR_INVALID_VALUE;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// `CU_RESOURCE_TYPE_ARRAY`; mipmapped arrays, linear and pitched memory follow.
const ARRAY: u32 = 0;
const MIPMAPPED: u32 = 1;
const LINEAR: u32 = 2;
const PITCH2D: u32 = 3;

/// `CUDA_RESOURCE_DESC`: its type, a union of 128 bytes as words, flags.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ResourceDesc {
    kind: u32,
    words: [u64; 16],
    flags: u32,
}

const _: () = assert!(size_of::<ResourceDesc>() == 144);
const _: () = assert!(size_of::<CUDA_TEXTURE_DESC>() == 104 && size_of::<CUDA_RESOURCE_VIEW_DESC>() == 112);

impl ResourceDesc {
    /// The message's description, and the array that is read, or null.
    fn describe(&self) -> Result<(Resource, Handle), CUresult> {
        if self.flags != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let mut resource = Resource { resType: self.kind, ..Resource::default() };
        let mut array = Handle::NULL;
        match self.kind {
            ARRAY => array = handles::of_kind(kind::CUarray, self.words[0])?,
            MIPMAPPED => array = handles::of_kind(kind::CUmipmappedArray, self.words[0])?,
            LINEAR | PITCH2D => {
                resource.devPtr = self.words[0];
                resource.format = self.words[1] as u32;
                resource.numChannels = (self.words[1] >> 32) as u32;
                if self.kind == LINEAR {
                    resource.sizeInBytes = self.words[2];
                } else {
                    [resource.width, resource.height, resource.pitchInBytes] =
                        [self.words[2], self.words[3], self.words[4]];
                }
            }
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        }
        Ok((resource, array))
    }
}

/// What a texture or surface was made of, as the program gave it.
#[derive(Clone, Copy)]
struct Description {
    resource: ResourceDesc,
    texture: Option<CUDA_TEXTURE_DESC>,
    view: Option<CUDA_RESOURCE_VIEW_DESC>,
}

/// A texture or a surface, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Texture(u64),
    Surface(u64),
}

static DESCRIPTIONS: Mutex<Option<HashMap<Key, Description>>> = Mutex::new(None);

fn keep(key: Key, description: Description) {
    DESCRIPTIONS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(key, description);
}

fn forget(key: Key) {
    DESCRIPTIONS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().remove(&key);
}

fn described(key: Key) -> Option<Description> {
    DESCRIPTIONS.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(&key).copied()
}

fn of_texture(object: u64) -> Result<Description, CUresult> {
    caller::enter_context()?;
    described(Key::Texture(object)).ok_or(CUDA_ERROR_INVALID_VALUE)
}

crate::export! {
    /// CUDA Driver API, cuTexObjectCreate.
    extern "C" fn cuTexObjectCreate(
        pTexObject: Out<u64>, pResDesc: In<ResourceDesc>, pTexDesc: In<CUDA_TEXTURE_DESC>,
        pResViewDesc: In<CUDA_RESOURCE_VIEW_DESC>,
    ) {
        let caller = caller::enter_context()?;
        pTexObject.check()?;
        let (resource, array) = pResDesc.get()?.describe()?;
        let texture = pTexDesc.get()?;
        let viewed = !pResViewDesc.0.is_null();
        let view = if viewed { pResViewDesc.get()? } else { CUDA_RESOURCE_VIEW_DESC::default() };
        let mut object = 0;
        let status = send::gpuferryTexObjectCreate(
            &caller, &mut object, &resource, array, &texture, &view, viewed.into(),
        );
        caller::answer(status)?;
        let view = viewed.then_some(view);
        keep(Key::Texture(object), Description { resource: pResDesc.get()?, texture: Some(texture), view });
        pTexObject.set(object)
    }

    /// CUDA Driver API, cuTexObjectGetResourceDesc.
    extern "C" fn cuTexObjectGetResourceDesc(pResDesc: Out<ResourceDesc>, texObject: u64) {
        pResDesc.check()?;
        pResDesc.set(of_texture(texObject)?.resource)
    }

    /// CUDA Driver API, cuTexObjectGetTextureDesc.
    extern "C" fn cuTexObjectGetTextureDesc(pTexDesc: Out<CUDA_TEXTURE_DESC>, texObject: u64) {
        pTexDesc.check()?;
        pTexDesc.set(of_texture(texObject)?.texture.ok_or(CUDA_ERROR_INVALID_VALUE)?)
    }

    /// CUDA Driver API, cuTexObjectGetResourceViewDesc: all zeros where it has none.
    extern "C" fn cuTexObjectGetResourceViewDesc(pResViewDesc: Out<CUDA_RESOURCE_VIEW_DESC>, texObject: u64) {
        pResViewDesc.check()?;
        pResViewDesc.set(of_texture(texObject)?.view.unwrap_or_default())
    }

    /// CUDA Driver API, cuSurfObjectGetResourceDesc.
    extern "C" fn cuSurfObjectGetResourceDesc(pResDesc: Out<ResourceDesc>, surfObject: u64) {
        pResDesc.check()?;
        let known = described(Key::Surface(surfObject)).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        pResDesc.set(known.resource)
    }

    /// CUDA Driver API, cuTexObjectDestroy.
    extern "C" fn cuTexObjectDestroy(texObject: u64) {
        let caller = caller::enter_context()?;
        forget(Key::Texture(texObject));
        caller::answer(send::cuTexObjectDestroy(&caller, texObject))
    }

    /// CUDA Driver API, cuSurfObjectCreate: of an array alone.
    extern "C" fn cuSurfObjectCreate(pSurfObject: Out<u64>, pResDesc: In<ResourceDesc>) {
        let caller = caller::enter_context()?;
        pSurfObject.check()?;
        let (resource, array) = pResDesc.get()?.describe()?;
        if resource.resType != ARRAY {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let mut object = 0;
        caller::answer(send::gpuferrySurfObjectCreate(&caller, &mut object, array))?;
        keep(Key::Surface(object), Description { resource: pResDesc.get()?, texture: None, view: None });
        pSurfObject.set(object)
    }

    /// CUDA Driver API, cuSurfObjectDestroy.
    extern "C" fn cuSurfObjectDestroy(surfObject: u64) {
        let caller = caller::enter_context()?;
        forget(Key::Surface(surfObject));
        caller::answer(send::cuSurfObjectDestroy(&caller, surfObject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_when_pitched_memory_then_its_fields_are_found() {
        let mut words = [0; 16];
        words[..5].copy_from_slice(&[0x1000, 0x20 | (4 << 32), 640, 480, 1024]);
        let (resource, array) = ResourceDesc { kind: PITCH2D, words, flags: 0 }.describe().expect("well-formed");
        assert!(array.is_null());
        assert_eq!((resource.devPtr, resource.format, resource.numChannels), (0x1000, 0x20, 4));
        assert_eq!((resource.width, resource.height, resource.pitchInBytes), (640, 480, 1024));
    }

    #[test]
    fn resource_when_of_an_unknown_type_or_a_wild_array_then_is_refused() {
        assert!(ResourceDesc { kind: 4, words: [0; 16], flags: 0 }.describe().is_err());
        assert!(ResourceDesc { kind: ARRAY, words: [0x1234; 16], flags: 0 }.describe().is_err());
    }
}
