//! A picture where none is given: an evening by a lake, computed. It has what the kernels need to show something:
//! smooth gradients, fine texture, hard edges, dark and bright places.

use crate::pictures::Picture;

/// Pixels along a row of the sample.
pub const WIDTH: u32 = 1024;
/// Rows of the sample.
pub const HEIGHT: u32 = 768;

const HORIZON: f32 = 0.62;
const SUN: (f32, f32) = (0.68, 0.40);

type Colour = [f32; 3];

/// Computes the sample.
#[must_use]
pub fn picture() -> Picture {
    let mut pixels = Vec::with_capacity((WIDTH * HEIGHT) as usize);
    for row in 0..HEIGHT {
        for column in 0..WIDTH {
            let x = (column as f32 + 0.5) / WIDTH as f32;
            let y = (row as f32 + 0.5) / HEIGHT as f32;
            let grain = (lattice(column as i32, row as i32, 99) - 0.5) * 0.035;
            pixels.push(packed(colour(x, y).map(|c| c + grain)));
        }
    }
    Picture { width: WIDTH, height: HEIGHT, pixels }
}

fn colour(x: f32, y: f32) -> Colour {
    if let Some(tree) = tree(x, y) {
        return tree;
    }
    if y < HORIZON {
        return above(x, y);
    }
    // The lake mirrors what is above it, broken by waves that grow towards the viewer.
    let depth = (y - HORIZON) / (1.0 - HORIZON);
    let wave = noise(x * 40.0, y * 260.0 / (0.3 + depth), 7) - 0.5;
    let mirrored = above(x + wave * 0.03 * (0.3 + depth), HORIZON - (y - HORIZON) * 0.9 + wave * 0.02);
    let glint = (wave * 3.0 - 0.7).max(0.0) * (1.0 - ((x - SUN.0).abs() * 3.0).min(1.0));
    mix(mirrored, [0.05, 0.12, 0.20], 0.25 + 0.3 * depth).map(|c| c + glint)
}

fn above(x: f32, y: f32) -> Colour {
    let ridges: [(f32, f32, f32, u32, Colour); 3] = [
        (0.58, 0.10, 9.0, 3, [0.06, 0.10, 0.09]),
        (0.50, 0.17, 5.0, 2, [0.20, 0.20, 0.30]),
        (0.43, 0.22, 3.0, 1, [0.45, 0.38, 0.48]),
    ];
    for (foot, rise, spread, seed, tone) in ridges {
        let top = foot - rise * (layers(x * spread, 0.5, seed) - 0.35);
        if y > top {
            let rock = layers(x * 60.0, y * 60.0, seed + 10) - 0.5;
            let snow = ((top + 0.03 - y) * 30.0 + rock * 2.0).clamp(0.0, 1.0) * f32::from(u8::from(seed == 1));
            return mix(tone.map(|c| c * (1.0 + rock * 0.5)), [0.95, 0.90, 0.92], snow * 0.7);
        }
    }
    sky(x, y)
}

fn sky(x: f32, y: f32) -> Colour {
    let mut tone = mix([0.16, 0.28, 0.55], [0.98, 0.62, 0.35], (y / HORIZON).clamp(0.0, 1.0));
    let away = ((x - SUN.0) * (x - SUN.0) * 1.78 + (y - SUN.1) * (y - SUN.1)).sqrt();
    if away < 0.045 {
        return [1.0, 0.97, 0.85];
    }
    tone = mix(tone, [1.0, 0.85, 0.55], (0.16 / (away + 0.12) - 0.25).clamp(0.0, 0.8));
    let cloud = (layers(x * 5.0 + y * 2.0, y * 14.0, 5) - 0.52).clamp(0.0, 0.25) * 4.0;
    mix(tone, [1.0, 0.88, 0.80], cloud * 0.75)
}

/// A tree in front, left: a trunk, and leaves where noise says so.
fn tree(x: f32, y: f32) -> Option<Colour> {
    let trunk = 0.14 + 0.012 * ((y * 9.0) - 4.0 * y * y);
    if y > 0.30 && (x - trunk).abs() < 0.008 + 0.014 * (y - 0.3) {
        let bark = noise(x * 300.0, y * 30.0, 21);
        return Some([0.16 + 0.1 * bark, 0.10 + 0.07 * bark, 0.07 + 0.04 * bark]);
    }
    let (dx, dy) = ((x - 0.16) / 0.17, (y - 0.26) / 0.24);
    let crown = dx * dx + dy * dy;
    if crown < 1.0 && layers(x * 38.0, y * 30.0, 31) > 0.36 + 0.25 * crown {
        let leaf = noise(x * 160.0, y * 120.0, 41);
        return Some([0.10 + 0.16 * leaf, 0.20 + 0.25 * leaf, 0.06 + 0.08 * leaf]);
    }
    None
}

/// Five octaves of noise, in 0..1.
fn layers(x: f32, y: f32, seed: u32) -> f32 {
    let (mut sum, mut share, mut scale) = (0.0, 0.5, 1.0);
    for octave in 0..5 {
        sum += share * noise(x * scale, y * scale, seed + 100 * octave);
        share *= 0.5;
        scale *= 2.03;
    }
    sum / 0.97
}

/// Smooth noise on a lattice, in 0..1.
fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (smooth(x - left), smooth(y - top));
    let (i, j) = (left as i32, top as i32);
    let upper = lattice(i, j, seed) * (1.0 - u) + lattice(i + 1, j, seed) * u;
    let lower = lattice(i, j + 1, seed) * (1.0 - u) + lattice(i + 1, j + 1, seed) * u;
    upper * (1.0 - v) + lower * v
}

/// A number in 0..1 for each point of the lattice.
fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    let mut h =
        (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77) ^ seed.wrapping_mul(0xc2b2_ae3d);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    ((h ^ (h >> 15)) >> 8) as f32 / 16_777_216.0
}

fn mix(from: Colour, to: Colour, share: f32) -> Colour {
    [0, 1, 2].map(|n| from[n] * (1.0 - share) + to[n] * share)
}

fn packed(colour: Colour) -> u32 {
    let [r, g, b] = colour.map(|c| (c.clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
    u32::from_le_bytes([r, g, b, 255])
}
