//! Texture and surface instructions at run time: records to requests of the driver API.

use crate::engine::{Boundary, Coordinates, Geometry, Level, SurfaceAccess, Texel, TextureFetch, TextureQuery};
use crate::jit::context::{Context, fault};
use crate::jit::runtime::{host, set_fault};
use crate::ptx::ir::{Surf, Tex};

/// Operands and result of a texture fetch.
#[repr(C)]
#[allow(missing_docs)]
pub struct FetchRecord {
    pub layer: u32,
    pub coordinates: [u32; 3],
    pub level: u32,
    pub gradient: [[u32; 3]; 2],
    pub texel: [u32; 4],
}

/// Operands of a surface access and the bytes moved.
#[repr(C)]
#[allow(missing_docs)]
pub struct SurfaceRecord {
    pub layer: u32,
    pub coordinates: [u32; 3],
    pub bytes: [u8; 16],
}

const GEOMETRIES: [Geometry; 8] = [
    Geometry::One,
    Geometry::Two,
    Geometry::Three,
    Geometry::OneLayered,
    Geometry::TwoLayered,
    Geometry::Cube,
    Geometry::CubeLayered,
    Geometry::TwoMultisample,
];

fn geometry_number(geometry: Geometry) -> u64 {
    GEOMETRIES.iter().position(|&g| g == geometry).unwrap_or(0) as u64
}

/// What [`texture`] is told of the instruction.
pub fn fetch_number(tex: &Tex) -> u64 {
    let texel = match tex.texel {
        Texel::U32 => 0,
        Texel::S32 => 1,
        Texel::F32 => 2,
    };
    geometry_number(tex.geometry)
        | u64::from(tex.float_coordinates) << 4
        | u64::from(tex.level) << 5
        | u64::from(tex.gradient) << 6
        | texel << 8
        | tex.gather.map_or(0, |c| u64::from(c) + 1) << 12
}

fn used_dimensions(geometry: Geometry) -> (usize, bool) {
    match geometry {
        Geometry::One => (1, false),
        Geometry::Two => (2, false),
        Geometry::OneLayered => (1, true),
        Geometry::TwoLayered | Geometry::TwoMultisample => (2, true),
        Geometry::CubeLayered => (3, true),
        _ => (3, false),
    }
}

/// `tex` and `tld4`.
pub unsafe extern "C" fn texture(
    context: *mut Context,
    handle: u64,
    what: u64,
    record: *mut FetchRecord,
    line: u32,
) -> u32 {
    // SAFETY: as in `resolve`; the record is on the caller's stack, and its fields may hold any bits.
    let (context, record) = unsafe { (&mut *context, &mut *record) };
    let geometry = GEOMETRIES[(what & 7) as usize];
    let (count, layered) = used_dimensions(geometry);
    let mut raw = record.coordinates;
    raw[count..].fill(0);
    let coordinates = if what >> 4 & 1 == 1 {
        Coordinates::Float(raw.map(f32::from_bits))
    } else {
        Coordinates::Integer(raw.map(|v| v as i32))
    };
    let level = if what >> 5 & 1 == 1 {
        let bits = record.level;
        Level::Lod(if what >> 4 & 1 == 1 { f32::from_bits(bits) } else { bits as i32 as f32 })
    } else if what >> 6 & 1 == 1 {
        let [dx, dy] = record.gradient.map(|mut g| {
            g[count..].fill(0);
            g.map(f32::from_bits)
        });
        Level::Gradient(dx, dy)
    } else {
        Level::Base
    };
    let fetch = TextureFetch {
        handle,
        geometry,
        layer: if layered { record.layer } else { 0 },
        coordinates,
        level,
        gather: ((what >> 12 & 7) as u8).checked_sub(1),
        texel: [Texel::U32, Texel::S32, Texel::F32, Texel::F32][(what >> 8 & 3) as usize],
    };
    match host(context).memory.texture(&fetch) {
        Some(texel) => {
            record.texel = texel;
            0
        }
        None => set_fault(context, fault::ILLEGAL_ADDRESS, line, handle),
    }
}

const QUERIES: [TextureQuery; 9] = [
    TextureQuery::Width,
    TextureQuery::Height,
    TextureQuery::Depth,
    TextureQuery::ChannelDataType,
    TextureQuery::ChannelOrder,
    TextureQuery::NormalizedCoords,
    TextureQuery::ArraySize,
    TextureQuery::MipmapLevels,
    TextureQuery::Samples,
];

/// What [`texture_query`] is told.
pub fn query_number(query: TextureQuery, surface: bool) -> u64 {
    QUERIES.iter().position(|&q| q == query).unwrap_or(0) as u64 | u64::from(surface) << 4
}

/// `txq` and `suq`.
pub unsafe extern "C" fn texture_query(context: *mut Context, handle: u64, what: u32, out: *mut u32, line: u32) -> u32 {
    // SAFETY: as in `texture`.
    let (context, out) = unsafe { (&mut *context, &mut *out) };
    let query = QUERIES[(what & 15).min(8) as usize];
    let memory = host(context).memory;
    let answer =
        if what >> 4 & 1 == 1 { memory.surface_query(handle, query) } else { memory.texture_query(handle, query) };
    match answer {
        Some(value) => {
            *out = value;
            0
        }
        None => set_fault(context, fault::ILLEGAL_ADDRESS, line, handle),
    }
}

/// What [`surface`] is told of the instruction.
pub fn surface_number(surf: &Surf, load: bool) -> u64 {
    let bytes = u64::from(surf.ty.bytes()) * u64::from(surf.count);
    geometry_number(surf.geometry) | (surf.boundary as u64) << 4 | u64::from(load) << 6 | bytes << 8
}

/// `suld` and `sust`.
pub unsafe extern "C" fn surface(
    context: *mut Context,
    handle: u64,
    what: u64,
    record: *mut SurfaceRecord,
    line: u32,
) -> u32 {
    // SAFETY: as in `texture`.
    let (context, record) = unsafe { (&mut *context, &mut *record) };
    let geometry = GEOMETRIES[(what & 7) as usize];
    let (count, layered) = used_dimensions(geometry);
    let mut coordinates = record.coordinates.map(|v| v as i32);
    coordinates[count..].fill(0);
    let access = SurfaceAccess {
        handle,
        geometry,
        layer: if layered { record.layer } else { 0 },
        coordinates,
        boundary: [Boundary::Trap, Boundary::Clamp, Boundary::Zero, Boundary::Zero][(what >> 4 & 3) as usize],
    };
    let bytes = &mut record.bytes[..((what >> 8) as usize).min(16)];
    let memory = host(context).memory;
    let good =
        if what >> 6 & 1 == 1 { memory.surface_read(&access, bytes) } else { memory.surface_write(&access, bytes) };
    if good { 0 } else { set_fault(context, fault::ILLEGAL_ADDRESS, line, handle) }
}
