//! Texture objects and texture references.

use std::sync::atomic::AtomicBool;

use crate::array::{Array, Format, Mipmap};
use crate::context;
use crate::copy::device_side;
use crate::device;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::handle::{Handle, Object};
use crate::status::{Answer, Status};
use crate::texture::{Sampler, Texels, Texture, TextureReference, destroy, of_program};
use crate::types::{ArrayDescriptor, ResourceDescriptor, TextureDescriptor, ViewDescriptor};
use crate::work::lock;

/// CU_RESOURCE_TYPE_ARRAY.
pub const RESOURCE_ARRAY: u32 = 0;
const RESOURCE_MIPMAP: u32 = 1;
const RESOURCE_LINEAR: u32 = 2;
const RESOURCE_PITCHED: u32 = 3;

fn texels(described: &ResourceDescriptor) -> Answer<Texels> {
    match described.kind {
        RESOURCE_ARRAY => Ok(Texels::of_array(&Handle::<Array>::from_raw(described.words[0]).get()?)),
        RESOURCE_MIPMAP => Texels::of_mipmap(&*Handle::<Mipmap>::from_raw(described.words[0]).get()?),
        RESOURCE_LINEAR => {
            let linear = described.linear();
            linear_texels(linear.address, Format::check(linear.format, linear.channels)?, linear.bytes)
        }
        RESOURCE_PITCHED => {
            let rows = described.pitched();
            let format = Format::check(rows.format, rows.channels)?;
            pitched_texels(rows.address, format, [rows.width, rows.height], rows.pitch)
        }
        _ => Err(Status::INVALID_VALUE),
    }
}

fn linear_texels(address: u64, format: Format, bytes: u64) -> Answer<Texels> {
    let width = bytes / format.bytes();
    device_side(address, bytes.max(1))?;
    if width == 0 {
        return Err(Status::INVALID_VALUE);
    }
    Ok(Texels::of_rows(address, format, [width, 1], bytes, true))
}

fn pitched_texels(address: u64, format: Format, [width, height]: [u64; 2], pitch: u64) -> Answer<Texels> {
    let row = width.checked_mul(format.bytes()).filter(|row| *row > 0).ok_or(Status::INVALID_VALUE)?;
    let good =
        pitch >= row && pitch.is_multiple_of(device::TEXTURE_PITCH) && address.is_multiple_of(device::TEXTURE_PITCH);
    if !good || height == 0 {
        return Err(Status::INVALID_VALUE);
    }
    let bytes = pitch.checked_mul(height - 1).and_then(|n| n.checked_add(row)).ok_or(Status::INVALID_VALUE)?;
    device_side(address, bytes)?;
    Ok(Texels::of_rows(address, format, [width, height], pitch, false))
}

fn sampler(described: &TextureDescriptor) -> Answer<Sampler> {
    if described.filter > 1 || described.mipmap_filter > 1 || described.address.iter().any(|mode| *mode > 3) {
        return Err(Status::INVALID_VALUE);
    }
    let unbounded = described.min_level == 0.0 && described.max_level == 0.0;
    Ok(Sampler {
        address: described.address,
        filter: described.filter,
        flags: described.flags,
        level_filter: described.mipmap_filter,
        level_bias: described.level_bias,
        level_clamp: [described.min_level, if unbounded { 0.0 } else { described.max_level }],
        border: described.border,
    })
}

/// Applies a view: other levels, layers or format of the same bytes.
fn viewed(mut texels: Texels, view: &ViewDescriptor) -> Answer<Texels> {
    if view.format != 0 {
        texels.format = view_format(view.format)?;
    }
    let last = (view.last_level as usize).max(view.first_level as usize);
    texels.levels = texels.levels.into_iter().take(last + 1).skip(view.first_level as usize).collect();
    if texels.levels.is_empty() {
        return Err(Status::INVALID_VALUE);
    }
    for level in &mut texels.levels {
        let first = u64::from(view.first_layer).min(level.extent[2] - 1);
        level.address += first * level.slice;
        level.extent[2] -= first;
        // A view in a format of another size has another number of texels in a row.
        level.extent[0] = (level.pitch / texels.format.bytes()).min(level.extent[0].max(1));
    }
    Ok(texels)
}

/// CUresourceViewFormat: 8, 16 and 32 bits, unsigned then signed, in 1, 2 and 4 channels; then half and float.
fn view_format(number: u32) -> Answer<Format> {
    let kinds = [1, 8, 2, 9, 3, 10, 0x10, 0x20];
    let group = number.checked_sub(1).ok_or(Status::INVALID_VALUE)? as usize;
    let kind = kinds.get(group / 3).copied().ok_or(Status::NOT_SUPPORTED)?;
    Format::check(kind, [1, 2, 4][group % 3])
}

type Reference = Handle<TextureReference>;

fn read<T>(reference: Reference, value: impl FnOnce(&crate::texture::ReferenceState) -> T) -> Answer<T> {
    let reference = reference.get()?;
    let state = lock(&reference.state);
    Ok(value(&state))
}

cuda! {
    fn cuTexObjectCreate(
        out: Out<Handle<Texture>>, resource: In<ResourceDescriptor>, texture: In<TextureDescriptor>, view: In<ViewDescriptor>,
    ) {
        out.check()?;
        context::usable()?;
        let (resource, texture) = (resource.read()?, texture.read()?);
        let view = if view.is_null() { None } else { Some(view.read()?) };
        let plain = texels(&resource)?;
        let texels = match &view {
            Some(view) => viewed(plain, view)?,
            None => plain,
        };
        let sampler = sampler(&texture)?;
        let described = (resource, texture, view);
        let make = |_| Texture { texels, sampler, described, ended: AtomicBool::new(false) };
        out.set(Texture::table().insert(make)?.0)
    }

    fn cuTexObjectDestroy(texture: Handle<Texture>) {
        destroy(texture)
    }

    fn cuTexObjectGetResourceDesc(described: Out<ResourceDescriptor>, texture: Handle<Texture>) {
        described.set(of_program(texture)?.described.0)
    }

    fn cuTexObjectGetTextureDesc(described: Out<TextureDescriptor>, texture: Handle<Texture>) {
        described.set(of_program(texture)?.described.1)
    }

    fn cuTexObjectGetResourceViewDesc(described: Out<ViewDescriptor>, texture: Handle<Texture>) {
        described.set(of_program(texture)?.described.2.ok_or(Status::INVALID_VALUE)?)
    }

    fn cuTexRefCreate(out: Out<Reference>) {
        out.check()?;
        out.set(TextureReference::create(None)?)
    }

    fn cuTexRefDestroy(reference: Reference) {
        reference.take().map(drop)
    }

    fn cuTexRefSetArray(reference: Reference, array: Handle<Array>, _flags: u32) {
        let object = array.get()?;
        reference.get()?.change(|state| {
            (state.texels, state.array) = (Some(Texels::of_array(&object)), array);
            Ok(())
        })
    }

    fn cuTexRefSetMipmappedArray(reference: Reference, mipmap: Handle<Mipmap>, _flags: u32) {
        let all = Texels::of_mipmap(&*mipmap.get()?)?;
        reference.get()?.change(|state| {
            (state.texels, state.mipmap) = (Some(all), mipmap);
            Ok(())
        })
    }

    fn cuTexRefSetAddress_v2(offset: Out<u64>, reference: Reference, address: u64, bytes: u64) {
        reference.get()?.change(|state| {
            let format = state.format.unwrap_or(Format { kind: 0x20, channels: 1 });
            (state.texels, state.address) = (Some(linear_texels(address, format, bytes)?), address);
            Ok(())
        })?;
        offset.set_if_wanted(0);
        Ok(())
    }

    fn cuTexRefSetAddress2D_v2(reference: Reference, described: In<ArrayDescriptor>, address: u64, pitch: u64) {
        set_rows(reference, described, address, pitch)
    }

    fn cuTexRefSetAddress2D_v3(reference: Reference, described: In<ArrayDescriptor>, address: u64, pitch: u64) {
        set_rows(reference, described, address, pitch)
    }

    fn cuTexRefSetFormat(reference: Reference, format: u32, channels: i32) {
        let format = Format::check(format, channels as u32)?;
        reference.get()?.change(|state| {
            state.format = Some(format);
            Ok(())
        })
    }

    fn cuTexRefSetAddressMode(reference: Reference, axis: i32, mode: u32) {
        reference.get()?.change(|state| {
            let slot = usize::try_from(axis).ok().and_then(|axis| state.sampler.address.get_mut(axis));
            *slot.filter(|_| mode <= 3).ok_or(Status::INVALID_VALUE)? = mode;
            Ok(())
        })
    }

    fn cuTexRefSetFilterMode(reference: Reference, mode: u32) {
        set_if(reference, mode <= 1, |sampler| sampler.filter = mode)
    }

    fn cuTexRefSetMipmapFilterMode(reference: Reference, mode: u32) {
        set_if(reference, mode <= 1, |sampler| sampler.level_filter = mode)
    }

    fn cuTexRefSetMipmapLevelBias(reference: Reference, bias: f32) {
        set_if(reference, true, |sampler| sampler.level_bias = bias)
    }

    fn cuTexRefSetMipmapLevelClamp(reference: Reference, least: f32, greatest: f32) {
        set_if(reference, true, |sampler| sampler.level_clamp = [least, greatest])
    }

    fn cuTexRefSetMaxAnisotropy(reference: Reference, _most: u32) {
        reference.get().map(drop)
    }

    fn cuTexRefSetBorderColor(reference: Reference, colour: In<[f32; 4]>) {
        let colour = colour.read()?;
        set_if(reference, true, |sampler| sampler.border = colour)
    }

    fn cuTexRefSetFlags(reference: Reference, flags: u32) {
        set_if(reference, true, |sampler| sampler.flags = flags)
    }

    fn cuTexRefGetAddress_v2(address: Out<u64>, reference: Reference) {
        address.set(read(reference, |state| state.address)?)
    }

    fn cuTexRefGetArray(array: Out<Handle<Array>>, reference: Reference) {
        array.set(read(reference, |state| state.array)?)
    }

    fn cuTexRefGetMipmappedArray(mipmap: Out<Handle<Mipmap>>, reference: Reference) {
        mipmap.set(read(reference, |state| state.mipmap)?)
    }

    fn cuTexRefGetAddressMode(mode: Out<u32>, reference: Reference, axis: i32) {
        let modes = read(reference, |state| state.sampler.address)?;
        let axis = usize::try_from(axis).map_err(|_| Status::INVALID_VALUE)?;
        mode.set(*modes.get(axis).ok_or(Status::INVALID_VALUE)?)
    }

    fn cuTexRefGetFilterMode(mode: Out<u32>, reference: Reference) {
        mode.set(read(reference, |state| state.sampler.filter)?)
    }

    fn cuTexRefGetFormat(format: Out<u32>, channels: Out<i32>, reference: Reference) {
        let found = read(reference, |state| state.texels.as_ref().map(|texels| texels.format).or(state.format))?;
        let found = found.unwrap_or(Format { kind: 0x20, channels: 1 });
        format.set_if_wanted(found.kind);
        channels.set_if_wanted(found.channels as i32);
        Ok(())
    }

    fn cuTexRefGetMipmapFilterMode(mode: Out<u32>, reference: Reference) {
        mode.set(read(reference, |state| state.sampler.level_filter)?)
    }

    fn cuTexRefGetMipmapLevelBias(bias: Out<f32>, reference: Reference) {
        bias.set(read(reference, |state| state.sampler.level_bias)?)
    }

    fn cuTexRefGetMipmapLevelClamp(least: Out<f32>, greatest: Out<f32>, reference: Reference) {
        let clamp = read(reference, |state| state.sampler.level_clamp)?;
        least.set_if_wanted(clamp[0]);
        greatest.set_if_wanted(clamp[1]);
        Ok(())
    }

    fn cuTexRefGetMaxAnisotropy(most: Out<i32>, reference: Reference) {
        reference.get()?;
        most.set(1)
    }

    fn cuTexRefGetBorderColor(colour: Out<[f32; 4]>, reference: Reference) {
        colour.set(read(reference, |state| state.sampler.border)?)
    }

    fn cuTexRefGetFlags(flags: Out<u32>, reference: Reference) {
        flags.set(read(reference, |state| state.sampler.flags)?)
    }
}

fn set_rows(reference: Reference, described: In<ArrayDescriptor>, address: u64, pitch: u64) -> Answer {
    let described = described.read()?;
    let format = Format::check(described.format, described.channels)?;
    let rows = pitched_texels(address, format, [described.width, described.height.max(1)], pitch)?;
    reference.get()?.change(|state| {
        (state.texels, state.address, state.format) = (Some(rows), address, Some(format));
        Ok(())
    })
}

fn set_if(reference: Reference, good: bool, set: impl FnOnce(&mut Sampler)) -> Answer {
    if !good {
        return Err(Status::INVALID_VALUE);
    }
    reference.get()?.change(|state| {
        set(&mut state.sampler);
        Ok(())
    })
}
