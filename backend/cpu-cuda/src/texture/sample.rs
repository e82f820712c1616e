//! Sampling: from coordinates to a texel, by the rules of the CUDA Programming Guide, appendix "Texture Fetching".
//!
//! Weights of linear filtering have 8 bits of fraction, as there.

use super::texel::{Value, decode, reads_floats};
use super::{Level, NORMALIZED, Sampler, Texels};
use crate::engine::{self, Coordinates, Geometry, Texel, TextureFetch};

const WRAP: u32 = 0;
const CLAMP: u32 = 1;
const MIRROR: u32 = 2;
const BORDER: u32 = 3;

/// Fetches; every input has an answer.
pub fn fetch(texels: &Texels, sampler: &Sampler, fetch: &TextureFetch) -> [u32; 4] {
    let value = match fetch.coordinates {
        Coordinates::Integer(at) => whole(texels, sampler, fetch, at),
        Coordinates::Float(at) => {
            let (at, face) = if is_cube(fetch.geometry) { face(at) } else { (at, 0) };
            let layer = layer(fetch, face);
            if let Some(component) = fetch.gather {
                gather(texels, sampler, at, layer, component)
            } else {
                levelled(texels, sampler, fetch, at, layer)
            }
        }
    };
    match (value, fetch.texel) {
        (Value::Bits(bits), Texel::U32 | Texel::S32) => bits,
        (Value::Bits(bits), Texel::F32) => bits,
        (Value::Float(all), _) => all.map(f32::to_bits),
    }
}

fn is_cube(geometry: Geometry) -> bool {
    matches!(geometry, Geometry::Cube | Geometry::CubeLayered)
}

/// The slice that layered and cube shapes add; `None` where z is a coordinate.
fn layer(fetch: &TextureFetch, face: u64) -> Option<u64> {
    match fetch.geometry {
        Geometry::Three => None,
        Geometry::Cube => Some(face),
        Geometry::CubeLayered => Some(u64::from(fetch.layer) * 6 + face),
        Geometry::OneLayered | Geometry::TwoLayered => Some(u64::from(fetch.layer)),
        Geometry::One | Geometry::Two | Geometry::TwoMultisample => Some(0),
    }
}

/// Cube coordinates to a face and the normalised place in it.
fn face([x, y, z]: [f32; 3]) -> ([f32; 3], u64) {
    let (a, b, c) = (x.abs(), y.abs(), z.abs());
    let (s, t, m, face) = if a >= b && a >= c {
        if x >= 0.0 { (-z, -y, a, 0) } else { (z, -y, a, 1) }
    } else if b >= c {
        if y >= 0.0 { (x, z, b, 2) } else { (x, -z, b, 3) }
    } else if z >= 0.0 {
        (x, -y, c, 4)
    } else {
        (-x, -y, c, 5)
    };
    if m == 0.0 {
        return ([0.5, 0.5, 0.0], face);
    }
    ([(s / m + 1.0) / 2.0, (t / m + 1.0) / 2.0, 0.0], face)
}

/// A fetch by texel numbers: no filter.
fn whole(texels: &Texels, sampler: &Sampler, fetch: &TextureFetch, at: [i32; 3]) -> Value {
    let wanted = match fetch.level {
        engine::Level::Lod(level) => level.round().max(0.0) as usize,
        _ => 0,
    };
    let index = wanted.min(texels.levels.len().saturating_sub(1));
    let Some(level) = texels.levels.get(index) else { return Value::Bits([0; 4]) };
    let at = at.map(i64::from);
    let z = layer(fetch, at[2].clamp(0, 5) as u64).map_or(at[2], |layer| layer.min(level.extent[2] - 1) as i64);
    let y = if matches!(fetch.geometry, Geometry::One | Geometry::OneLayered) { 0 } else { at[1] };
    texel(texels, sampler, level, [at[0], y, z])
}

/// A fetch from the level or levels that the instruction and the sampler say.
fn levelled(texels: &Texels, sampler: &Sampler, fetch: &TextureFetch, at: [f32; 3], layer: Option<u64>) -> Value {
    let last = texels.levels.len().saturating_sub(1);
    let wanted = match fetch.level {
        engine::Level::Base => 0.0,
        engine::Level::Lod(level) => level,
        engine::Level::Gradient(dx, dy) => gradient(texels, sampler, dx, dy),
    };
    let wanted =
        (wanted + sampler.level_bias).max(sampler.level_clamp[0]).min(sampler.level_clamp[1]).clamp(0.0, last as f32);
    let on = |index: usize| match texels.levels.get(index.min(last)) {
        Some(level) => filtered(texels, sampler, level, at, layer),
        None => Value::Bits([0; 4]),
    };
    if last == 0 {
        return on(0);
    }
    if sampler.level_filter == 0 {
        return on((wanted + 0.5).floor() as usize);
    }
    let low = wanted.floor();
    mix(on(low as usize), on(low as usize + 1), eighth_bits(wanted - low))
}

/// The level whose texels are as far apart as the derivatives.
fn gradient(texels: &Texels, sampler: &Sampler, dx: [f32; 3], dy: [f32; 3]) -> f32 {
    let Some(base) = texels.levels.first() else { return 0.0 };
    let scale = base.extent.map(|n| if sampler.flags & NORMALIZED != 0 { n as f32 } else { 1.0 });
    let length = |d: [f32; 3]| d.iter().zip(scale).map(|(d, s)| (d * s) * (d * s)).sum::<f32>().sqrt();
    length(dx).max(length(dy)).max(f32::MIN_POSITIVE).log2()
}

/// Coordinates in texels, normalised ones multiplied out.
fn scaled(sampler: &Sampler, level: &Level, at: [f32; 3], cube: bool) -> [f32; 3] {
    let normalized = sampler.flags & NORMALIZED != 0 || cube;
    let along = |axis: usize| {
        let size = level.extent[axis] as f32;
        let at = if at[axis].is_nan() { 0.0 } else { at[axis] };
        if !normalized {
            return at;
        }
        match sampler.address[axis] {
            WRAP => (at - at.floor()) * size,
            MIRROR => {
                let whole = at.floor();
                let part = at - whole;
                (if whole.rem_euclid(2.0) == 1.0 { 1.0 - part } else { part }) * size
            }
            _ => at * size,
        }
    };
    [along(0), along(1), along(2)]
}

/// A point or linear fetch from one level.
fn filtered(texels: &Texels, sampler: &Sampler, level: &Level, at: [f32; 3], layer: Option<u64>) -> Value {
    let at = scaled(sampler, level, at, false);
    let top = level.extent[2].saturating_sub(1);
    let fixed = layer.map(|layer| layer.min(top) as i64);
    if sampler.filter == 0 || texels.linear {
        let [x, y, z] = at.map(|at| at.floor() as i64);
        return texel(texels, sampler, level, [x, y, fixed.unwrap_or(z)]);
    }
    let low = at.map(|at| (at - 0.5).floor());
    let [a, b, c] = [0, 1, 2].map(|axis| f64::from(eighth_bits(at[axis] - 0.5 - low[axis])));
    let [x, y, z] = low.map(|low| low as i64);
    let kind = texels.format.kind;
    let units = |at: [i64; 3]| units(kind, texel(texels, sampler, level, at));
    let (y, b) = if level.extent[1] == 1 { (0, 0.0) } else { (y, b) };
    let weights = corner_weights(a, b);
    let plane = |z: i64| {
        let corners = [[x, y, z], [x + 1, y, z], [x, y + 1, z], [x + 1, y + 1, z]];
        let weighted = corners.into_iter().zip(weights).filter(|(_, weight)| *weight != 0.0);
        weighted.fold([0.0; 4], |sum: [f64; 4], (at, weight)| {
            let texel = units(at);
            [0, 1, 2, 3].map(|n| sum[n] + texel[n] * weight)
        })
    };
    let sum = match fixed {
        Some(z) => plane(z),
        None => {
            let (low, high) = (plane(z), plane(z + 1));
            [0, 1, 2, 3].map(|n| low[n] * (1.0 - c) + high[n] * c)
        }
    };
    of_units(kind, reads_floats(texels.format, sampler.flags), sum)
}

/// Weights of the four texels around a place, of 8 bits each, as an H100 and an H200 have them: the last texel's is the
/// product, rounded; the others' make up the sums along each axis.
fn corner_weights(a: f64, b: f64) -> [f64; 4] {
    let both = (a * b * 256.0 + 0.5).floor() / 256.0;
    [1.0 - a - b + both, a - both, b - both, both]
}

/// What stands for one in the 16-bit numbers that normalised texels are filtered as.
fn one(kind: u32) -> f64 {
    match kind {
        1 | 2 => 65_535.0,
        _ => 32_767.0,
    }
}

/// A texel as a GPU's filter sees it: normalised ones have 16 bits, integers are what they are.
fn units(kind: u32, value: Value) -> [f64; 4] {
    match value {
        Value::Bits(bits) if kind >= 8 => bits.map(|b| f64::from(b as i32)),
        Value::Bits(bits) => bits.map(f64::from),
        // Of 8 bits with a sign they are not whole.
        Value::Float(all) if kind == 8 => all.map(|v| (f64::from(v) * 127.0).round() / 127.0 * one(kind)),
        Value::Float(all) if kind < 0x10 => all.map(|v| (f64::from(v) * one(kind)).round()),
        Value::Float(all) => all.map(f64::from),
    }
}

/// The filter's sum, rounded as an H200 was seen to: halves of normalised numbers and unsigned bytes upwards, of other integers
/// towards zero, of `.f16` away from it; integers of 32 bits are cut.
fn of_units(kind: u32, floats: bool, sum: [f64; 4]) -> Value {
    let whole = |v: f64| (v.abs() - 0.5).ceil().copysign(v);
    match kind {
        0x20 => Value::Float(sum.map(|v| v as f32)),
        0x10 => Value::Float(sum.map(|v| {
            let unit = f64::exp2(f64::from(((v.abs().to_bits() >> 52) as i32 - 1023).max(-14) - 10));
            if v.is_finite() { ((v / unit).round() * unit) as f32 } else { v as f32 }
        })),
        _ if floats => Value::Float(sum.map(|v| ((v + 0.5).floor() / one(kind)) as f32)),
        1 => Value::Bits(sum.map(|v| (v + 0.5) as u32)),
        3 | 10 => Value::Bits(sum.map(|v| v as i64 as u32)),
        _ => Value::Bits(sum.map(|v| whole(v) as i64 as u32)),
    }
}

/// One component of the four texels that a bilinear fetch would use.
fn gather(texels: &Texels, sampler: &Sampler, at: [f32; 3], layer: Option<u64>, component: u8) -> Value {
    let Some(level) = texels.levels.first() else { return Value::Bits([0; 4]) };
    let at = scaled(sampler, level, at, false);
    let [x, y, _] = at.map(|at| (at - 0.5).floor() as i64);
    let z = layer.unwrap_or(0).min(level.extent[2].saturating_sub(1)) as i64;
    let component = usize::from(component.min(3));
    let corners = [(0, 1), (1, 1), (1, 0), (0, 0)].map(|(dx, dy)| texel(texels, sampler, level, [x + dx, y + dy, z]));
    match corners {
        [Value::Float(a), Value::Float(b), Value::Float(c), Value::Float(d)] => {
            Value::Float([a[component], b[component], c[component], d[component]])
        }
        corners => Value::Bits(corners.map(|corner| match corner {
            Value::Bits(bits) => bits[component],
            Value::Float(all) => all[component].to_bits(),
        })),
    }
}

fn eighth_bits(fraction: f32) -> f32 {
    (fraction * 256.0).round() / 256.0
}

fn mix(low: Value, high: Value, weight: f32) -> Value {
    match (low, high) {
        (Value::Float(low), Value::Float(high)) => {
            Value::Float([0, 1, 2, 3].map(|n| low[n] * (1.0 - weight) + high[n] * weight))
        }
        // Integers are not filtered between levels.
        (low, _) => low,
    }
}

/// One texel; outside, what the address mode says.
fn texel(texels: &Texels, sampler: &Sampler, level: &Level, at: [i64; 3]) -> Value {
    let mut inside = [0u64; 3];
    for axis in 0..3 {
        let size = level.extent[axis] as i64;
        let n = at[axis];
        let mode = if texels.linear { BORDER } else { mode(sampler, axis) };
        inside[axis] = match mode {
            _ if (0..size).contains(&n) => n as u64,
            WRAP => n.rem_euclid(size) as u64,
            MIRROR => {
                let n = n.rem_euclid(2 * size);
                (if n < size { n } else { 2 * size - 1 - n }) as u64
            }
            CLAMP => n.clamp(0, size - 1) as u64,
            _ => return border(texels, sampler),
        };
    }
    let format = texels.format;
    let offset = inside[2] * level.slice + inside[1] * level.pitch + inside[0] * format.bytes();
    let mut raw = [0u8; 16];
    // SAFETY: inside the level, whose memory was checked when the texture was made and lies in the arena, which stays
    // mapped even if it has been freed since.
    unsafe {
        let from = (level.address + offset) as *const u8;
        std::ptr::copy_nonoverlapping(from, raw.as_mut_ptr(), format.bytes() as usize);
    }
    decode(format, sampler.flags, &raw)
}

fn mode(sampler: &Sampler, axis: usize) -> u32 {
    let mode = sampler.address[axis];
    // Wrap and mirror exist for normalised coordinates only.
    if mode == BORDER || sampler.flags & NORMALIZED != 0 { mode } else { CLAMP }
}

fn border(texels: &Texels, sampler: &Sampler) -> Value {
    if reads_floats(texels.format, sampler.flags) {
        Value::Float(if texels.linear { [0.0; 4] } else { sampler.border })
    } else {
        Value::Bits(if texels.linear { [0; 4] } else { sampler.border.map(f32::to_bits) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::READ_AS_INTEGER;
    use super::*;
    use crate::array::Format;

    fn fetch_at(texels: &Texels, sampler: &Sampler, at: [f32; 3]) -> [f32; 4] {
        let fetch = TextureFetch {
            handle: 0,
            geometry: Geometry::Two,
            layer: 0,
            coordinates: Coordinates::Float(at),
            level: engine::Level::Base,
            gather: None,
            texel: Texel::F32,
        };
        super::fetch(texels, sampler, &fetch).map(f32::from_bits)
    }

    fn bytes_2x2(bytes: &'static [u8; 4]) -> Texels {
        let format = Format { kind: 1, channels: 1 };
        Texels::of_rows(bytes.as_ptr() as u64, format, [2, 2], 2, false)
    }

    #[test]
    fn point_when_inside_then_normalised_value() {
        let texels = bytes_2x2(&[0, 255, 51, 102]);
        let sampler = Sampler { address: [CLAMP; 3], ..Sampler::default() };
        assert_eq!(fetch_at(&texels, &sampler, [1.5, 0.5, 0.0])[0], 1.0);
        assert_eq!(fetch_at(&texels, &sampler, [-7.0, 9.0, 0.0])[0], 51.0 / 255.0);
    }

    #[test]
    fn linear_when_between_four_then_mean() {
        let texels = bytes_2x2(&[0, 255, 255, 0]);
        let sampler = Sampler { address: [CLAMP; 3], filter: 1, ..Sampler::default() };
        // Of 16-bit numbers, with the half rounded up.
        assert_eq!(fetch_at(&texels, &sampler, [1.0, 1.0, 0.0])[0], 32_768.0 / 65_535.0);
    }

    /// Values that an H200 gave for a texture of 2 x 1 bytes, 0 and 200.
    #[test]
    fn linear_when_between_two_then_as_on_a_gpu() {
        static BYTES: [u8; 2] = [0, 200];
        for (at, integer, normalised) in
            [(0.75, 0x32, 0x3e48_c8c9), (0.9, 0x50, 0x3ea0_00a0), (1.003, 0x65, 0x3eca_5aca)]
        {
            for (flags, wanted) in [(READ_AS_INTEGER, integer), (0, normalised)] {
                let level = Level { extent: [2, 1, 1], ..bytes_2x2(&[0; 4]).levels[0] };
                let texels =
                    Texels { levels: vec![Level { address: BYTES.as_ptr() as u64, ..level }], ..bytes_2x2(&[0; 4]) };
                let sampler = Sampler { filter: 1, flags, address: [CLAMP; 3], ..Sampler::default() };
                assert_eq!(fetch_at(&texels, &sampler, [at, 0.5, 0.0])[0].to_bits(), wanted);
            }
        }
    }

    #[test]
    fn halves_when_rounded_then_towards_zero_but_of_unsigned_bytes_upwards() {
        let rounded = |kind: u32, v: f64| match of_units(kind, false, [v; 4]) {
            Value::Bits(bits) => bits[0] as i32,
            Value::Float(_) => 0,
        };
        assert_eq!([497.5, -12900.5, 100.78, 0.5, 0.6].map(|v| rounded(9, v)), [497, -12900, 101, 0, 1]);
        assert_eq!([0.5, 1.5, 100.25, 254.5].map(|v| rounded(1, v)), [1, 2, 100, 255]);
    }

    #[test]
    fn border_when_outside_then_border_colour() {
        let texels = bytes_2x2(&[9, 9, 9, 9]);
        let sampler = Sampler { address: [BORDER; 3], border: [0.25; 4], ..Sampler::default() };
        assert_eq!(fetch_at(&texels, &sampler, [2.5, 0.0, 0.0])[0], 0.25);
    }

    #[test]
    fn wrap_when_normalised_then_repeats() {
        let texels = bytes_2x2(&[0, 255, 0, 255]);
        let sampler = Sampler { flags: NORMALIZED, ..Sampler::default() };
        assert_eq!(fetch_at(&texels, &sampler, [1.75, 0.1, 0.0])[0], 1.0);
        assert_eq!(fetch_at(&texels, &sampler, [-0.25, 0.1, 0.0])[0], 1.0);
    }

    #[test]
    fn corner_weights_when_products_are_not_whole_then_as_measured() {
        // Places in a texel, in 256ths, and what an H100 gave; the third is half of one.
        for (a, b, weights) in [
            (1, 1, [254, 1, 1, 0]),
            (37, 200, [48, 8, 171, 29]),
            (128, 1, [128, 127, 0, 1]),
            (3, 250, [6, 0, 247, 3]),
            (160, 4, [95, 157, 1, 3]),
        ] {
            let got = corner_weights(f64::from(a) / 256.0, f64::from(b) / 256.0);
            assert_eq!(got.map(|weight| weight * 256.0), weights.map(f64::from), "{a}, {b}");
        }
    }
}
