//! Surface objects and surface references.

use super::textures::RESOURCE_ARRAY;
use crate::array::Array;
use crate::context;
use crate::export::cuda;
use crate::foreign::{In, Out, Text};
use crate::handle::Handle;
use crate::module::Module;
use crate::status::Status;
use crate::surface::{Surface, SurfaceReference};
use crate::texture::{destroy, of_program};
use crate::types::ResourceDescriptor;

cuda! {
    fn cuSurfObjectCreate(out: Out<Handle<Surface>>, resource: In<ResourceDescriptor>) {
        out.check()?;
        context::usable()?;
        let described = resource.read()?;
        if described.kind != RESOURCE_ARRAY {
            return Err(Status::INVALID_VALUE);
        }
        let array = Handle::<Array>::from_raw(described.words[0]).get()?;
        out.set(Surface::create(array, described)?)
    }

    fn cuSurfObjectDestroy(surface: Handle<Surface>) {
        destroy(surface)
    }

    fn cuSurfObjectGetResourceDesc(described: Out<ResourceDescriptor>, surface: Handle<Surface>) {
        described.set(of_program(surface)?.described)
    }

    fn cuModuleGetSurfRef(out: Out<Handle<SurfaceReference>>, module: Handle<Module>, name: Text) {
        out.check()?;
        let name = name.read()?;
        out.set(module.get()?.surface_reference(&name)?)
    }

    fn cuSurfRefSetArray(reference: Handle<SurfaceReference>, array: Handle<Array>, flags: u32) {
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        reference.get()?.bind(array)
    }

    fn cuSurfRefGetArray(array: Out<Handle<Array>>, reference: Handle<SurfaceReference>) {
        array.set(reference.get()?.array())
    }
}
