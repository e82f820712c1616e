//! Arrays and mipmapped arrays.

use crate::array::{Array, Format, Mipmap, Shape};
use crate::context;
use crate::device;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::handle::Handle;
use crate::status::{Answer, Status};
use crate::types::{Array3DDescriptor, ArrayDescriptor, ArrayRequirements};

fn shape(described: &Array3DDescriptor) -> Answer<Shape> {
    let format = Format::check(described.format, described.channels)?;
    let (width, height, depth, flags) = (described.width, described.height, described.depth, described.flags);
    Ok(Shape { width, height, depth, format, flags })
}

fn descriptor(shape: &Shape) -> Array3DDescriptor {
    let Shape { width, height, depth, format, flags } = *shape;
    Array3DDescriptor { width, height, depth, format: format.kind, channels: format.channels, flags }
}

fn requirements(shape: &Shape) -> Answer<ArrayRequirements> {
    Ok(ArrayRequirements { size: shape.bytes()?, alignment: 512, reserved: [0; 4] })
}

cuda! {
    fn cuArrayCreate_v2(out: Out<Handle<Array>>, described: In<ArrayDescriptor>) {
        out.check()?;
        let ArrayDescriptor { width, height, format, channels } = described.read()?;
        let whole = Array3DDescriptor { width, height, depth: 0, format, channels, flags: 0 };
        out.set(Array::create(context::usable()?, shape(&whole)?, false)?)
    }

    fn cuArray3DCreate_v2(out: Out<Handle<Array>>, described: In<Array3DDescriptor>) {
        out.check()?;
        out.set(Array::create(context::usable()?, shape(&described.read()?)?, false)?)
    }

    fn cuArrayGetDescriptor_v2(described: Out<ArrayDescriptor>, array: Handle<Array>) {
        described.check()?;
        let all = descriptor(&array.get()?.shape);
        let Array3DDescriptor { width, height, format, channels, .. } = all;
        described.set(ArrayDescriptor { width, height, format, channels })
    }

    fn cuArray3DGetDescriptor_v2(described: Out<Array3DDescriptor>, array: Handle<Array>) {
        described.check()?;
        described.set(descriptor(&array.get()?.shape))
    }

    fn cuArrayGetMemoryRequirements(needed: Out<ArrayRequirements>, array: Handle<Array>, device: i32) {
        device::check(device)?;
        needed.set(requirements(&array.get()?.shape)?)
    }

    fn cuArrayDestroy(array: Handle<Array>) {
        Array::destroy(array)
    }

    fn cuMipmappedArrayCreate(out: Out<Handle<Mipmap>>, described: In<Array3DDescriptor>, levels: u32) {
        out.check()?;
        out.set(Mipmap::create(context::usable()?, shape(&described.read()?)?, levels)?)
    }

    fn cuMipmappedArrayGetLevel(out: Out<Handle<Array>>, mipmap: Handle<Mipmap>, level: u32) {
        out.check()?;
        out.set(*mipmap.get()?.levels.get(level as usize).ok_or(Status::INVALID_VALUE)?)
    }

    fn cuMipmappedArrayGetMemoryRequirements(needed: Out<ArrayRequirements>, mipmap: Handle<Mipmap>, device: i32) {
        device::check(device)?;
        let mut all = requirements(&mipmap.get()?.shape)?;
        all.size = 0;
        for level in &mipmap.get()?.levels {
            all.size += level.get()?.shape.bytes()?;
        }
        needed.set(all)
    }

    fn cuMipmappedArrayDestroy(mipmap: Handle<Mipmap>) {
        Mipmap::destroy(mipmap)
    }
}
