//! 8-bit floats: `.e4m3` (no infinities, one NaN of each sign) and `.e5m2` (as IEEE formats are).

use crate::jit::soft;
use crate::ptx::types::Rounding;

/// Mantissa bits, exponent bias, and the bits of the greatest finite number.
struct Format {
    mantissa: i32,
    bias: i32,
    most: u32,
}

const E4M3: Format = Format { mantissa: 3, bias: 7, most: 0x7e };
const E5M2: Format = Format { mantissa: 2, bias: 15, most: 0x7b };

fn format(what: u32) -> Format {
    if what & 1 == 1 { E5M2 } else { E4M3 }
}

/// The nearest, ties to even; what is too large becomes the greatest finite number, NaN the one with all bits set.
fn encode(format: &Format, relu: bool, value: f32) -> u32 {
    if value.is_nan() {
        return 0x7f;
    }
    if relu && value <= 0.0 {
        return 0;
    }
    let sign = u32::from(value.is_sign_negative()) << 7;
    let size = f64::from(value).abs();
    // The exponent of a double that holds an `.f32` exactly; its zeros are below every exponent.
    let exponent = ((size.to_bits() >> 52) as i32 - 1023).max(1 - format.bias);
    let unit = f64::exp2(f64::from(exponent - format.mantissa));
    let count = (size / unit).round_ties_even().min(1e6) as i32;
    // A count that reaches twice the hidden bit carries into the exponent by itself.
    let bits = ((exponent + format.bias - 1) << format.mantissa) + count;
    sign | (bits.max(0) as u32).min(format.most)
}

/// The value of an 8-bit float; exact.
pub fn decode(e5m2: bool, bits: u32) -> f64 {
    let format = if e5m2 { E5M2 } else { E4M3 };
    let size = bits & 0x7f;
    let value = if size > format.most {
        if e5m2 && size == 0x7c { f64::INFINITY } else { f64::NAN }
    } else {
        let power = (size >> format.mantissa) as i32;
        let fraction = (size & ((1 << format.mantissa) - 1)) as i32;
        let count = if power == 0 { fraction } else { fraction | 1 << format.mantissa };
        f64::from(count) * f64::exp2(f64::from(power.max(1) - format.bias - format.mantissa))
    };
    if bits & 0x80 == 0 { value } else { -value }
}

/// Two numbers as a pair: format | relu << 1.
pub extern "C" fn pack(what: u32, high: f32, low: f32) -> u32 {
    let format = format(what);
    let relu = what & 2 != 0;
    encode(&format, relu, high) << 8 | encode(&format, relu, low)
}

/// A pair as a pair of `.f16`.
pub extern "C" fn unpack(what: u32, pair: u32) -> u32 {
    let half = |bits: u32| {
        let value = decode(what & 1 == 1, bits);
        if what & 2 != 0 && value <= 0.0 {
            return 0;
        }
        soft::convert(soft::F64, soft::F16, value.to_bits(), Rounding::Nearest) as u32
    };
    half(pair >> 8 & 0xff) << 16 | half(pair & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_goes_there_and_back() {
        for (e5m2, format) in [(false, &E4M3), (true, &E5M2)] {
            for bits in (0..256).filter(|&bits| decode(e5m2, bits).is_finite()) {
                assert_eq!(encode(format, false, decode(e5m2, bits) as f32), bits);
            }
        }
    }

    #[test]
    fn what_is_too_large_is_clamped_and_ties_go_to_even() {
        assert_eq!(encode(&E4M3, false, f32::INFINITY), 0x7e);
        assert_eq!(encode(&E4M3, false, -1e9), 0xfe);
        assert_eq!(encode(&E5M2, false, 1e9), 0x7b);
        assert_eq!(encode(&E4M3, false, 464.0), 0x7e);
        // Half of the least number is a tie between it and zero; a bit more is not.
        assert_eq!(encode(&E4M3, false, 1.0 / 1024.0), 0);
        assert_eq!(encode(&E4M3, false, 1.1 / 1024.0), 1);
        assert_eq!(encode(&E4M3, true, -5.0), 0);
        assert_eq!(encode(&E4M3, false, f32::NAN), 0x7f);
    }
}
