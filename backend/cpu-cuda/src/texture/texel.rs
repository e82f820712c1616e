//! Texels: from bytes in memory to components.

use super::READ_AS_INTEGER;
use crate::array::Format;

/// Four components, before they are given the type that the program wants.
#[derive(Clone, Copy)]
pub enum Value {
    /// As they are.
    Bits([u32; 4]),
    /// As floats.
    Float([f32; 4]),
}

/// Whether texels of this format are given as floats.
pub fn reads_floats(format: Format, flags: u32) -> bool {
    match format.kind {
        0x10 | 0x20 => true,
        3 | 10 => false,
        _ => flags & READ_AS_INTEGER == 0,
    }
}

/// The components of a texel that lies in memory so.
pub fn decode(format: Format, flags: u32, raw: &[u8; 16]) -> Value {
    let floats = reads_floats(format, flags);
    let width = format.channel_bytes() as usize;
    let mut bits = [0u32; 4];
    let mut all = [0f32; 4];
    for channel in 0..format.channels as usize {
        let at = channel * width;
        let word = |n: usize| u32::from(raw[at + n]) << (8 * n);
        let plain: u32 = (0..width).map(word).sum();
        let signed = match width {
            1 => i32::from(plain as u8 as i8),
            2 => i32::from(plain as u16 as i16),
            _ => plain as i32,
        };
        (bits[channel], all[channel]) = match format.kind {
            1 => (plain, plain as f32 / 255.0),
            2 => (plain, plain as f32 / 65_535.0),
            8 => (signed as u32, (signed as f32 / 127.0).max(-1.0)),
            9 => (signed as u32, (signed as f32 / 32_767.0).max(-1.0)),
            0x10 => (plain, half(plain as u16)),
            0x20 => (plain, f32::from_bits(plain)),
            _ => (plain, 0.0),
        };
    }
    if floats { Value::Float(all) } else { Value::Bits(bits) }
}

/// An IEEE half as a float, exactly.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    match (exponent, fraction) {
        (0, fraction) => {
            let size = fraction as f32 / 16_777_216.0;
            f32::from_bits(size.to_bits() | sign)
        }
        (31, fraction) => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_when_small_or_special_then_exact() {
        assert_eq!(half(0x3c00), 1.0);
        assert_eq!(half(0x0001), 5.960_464_5e-8);
        assert_eq!(half(0xfc00), f32::NEG_INFINITY);
        assert!(half(0x7e00).is_nan());
    }
}
