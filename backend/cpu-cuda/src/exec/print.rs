//! The text of device-side `printf`.

use std::ffi::{CString, c_char, c_double, c_int, c_longlong};

/// Longest output of one conversion.
const MAX_FIELD: usize = 4096;
/// Longest output of one call.
const MAX_OUTPUT: usize = 64 << 10;

/// Formats as C does. `take` reads the next argument of 4 or 8 bytes, `text` a string; `None` if one cannot be read.
/// Answers the text and the number of arguments used.
pub fn format(
    format: &[u8],
    take: &mut dyn FnMut(u64) -> Option<u64>,
    text: &mut dyn FnMut(u64) -> Option<Vec<u8>>,
) -> Option<(Vec<u8>, usize)> {
    let mut out = Vec::new();
    let mut count = 0;
    let mut at = 0;
    while at < format.len() && out.len() < MAX_OUTPUT {
        if format[at] != b'%' {
            out.push(format[at]);
            at += 1;
            continue;
        }
        at += 1;
        if format.get(at) == Some(&b'%') {
            out.push(b'%');
            at += 1;
            continue;
        }
        let mut spec = vec![b'%'];
        while let Some(&c) = format.get(at).filter(|c| b"-+ #0".contains(c)) {
            if spec.len() < 8 {
                spec.push(c);
            }
            at += 1;
        }
        for part in 0..2 {
            if part == 1 {
                if format.get(at) != Some(&b'.') {
                    break;
                }
                spec.push(b'.');
                at += 1;
            }
            let mut number = 0usize;
            let mut given = false;
            if format.get(at) == Some(&b'*') {
                at += 1;
                count += 1;
                let value = take(4)? as u32 as i32;
                if value < 0 && part == 0 {
                    spec.push(b'-');
                }
                number = value.unsigned_abs() as usize;
                given = true;
            }
            while let Some(c) = format.get(at).filter(|c| c.is_ascii_digit()) {
                number = number.saturating_mul(10).saturating_add(usize::from(c - b'0'));
                given = true;
                at += 1;
            }
            if given {
                spec.extend_from_slice(number.min(MAX_FIELD - 64).to_string().as_bytes());
            }
        }
        let mut long = false;
        while let Some(&c) = format.get(at).filter(|c| b"hljztL".contains(c)) {
            long |= c != b'h';
            at += 1;
        }
        let Some(&conversion) = format.get(at) else { break };
        at += 1;
        count += 1;
        let field = match conversion {
            b'd' | b'i' => {
                let raw = take(if long { 8 } else { 4 })?;
                let value = if long { raw as i64 } else { i64::from(raw as u32 as i32) };
                integer(&spec, conversion, value)
            }
            b'u' | b'x' | b'X' | b'o' => {
                let raw = take(if long { 8 } else { 4 })?;
                integer(&spec, conversion, raw as i64)
            }
            b'c' => vec![take(4)? as u8],
            b'p' => format!("{:#x}", take(8)?).into_bytes(),
            b's' => {
                let address = take(8)?;
                string(&spec, text(address)?)
            }
            b'f' | b'F' | b'e' | b'E' | b'g' | b'G' | b'a' | b'A' => float(&spec, conversion, f64::from_bits(take(8)?)),
            // No conversion: printed as it stands.
            _ => {
                count -= 1;
                spec.push(conversion);
                spec
            }
        };
        out.extend(field);
    }
    Some((out, count))
}

fn print(spec: &[u8], call: impl Fn(*mut c_char, usize, *const c_char) -> c_int) -> Vec<u8> {
    let Ok(spec) = CString::new(spec) else { return Vec::new() };
    let mut buffer = vec![0u8; MAX_FIELD];
    let len = call(buffer.as_mut_ptr().cast(), buffer.len(), spec.as_ptr());
    buffer.truncate(usize::try_from(len).unwrap_or(0).min(MAX_FIELD - 1));
    buffer
}

fn integer(spec: &[u8], conversion: u8, value: i64) -> Vec<u8> {
    let spec = [spec, b"ll", &[conversion]].concat();
    // SAFETY: the buffer has the length passed, and the format has one conversion, of a `long long`.
    print(&spec, |to, len, format| unsafe { libc::snprintf(to, len, format, value as c_longlong) })
}

fn float(spec: &[u8], conversion: u8, value: f64) -> Vec<u8> {
    let spec = [spec, &[conversion]].concat();
    // SAFETY: as in `integer`, of a `double`.
    print(&spec, |to, len, format| unsafe { libc::snprintf(to, len, format, value as c_double) })
}

fn string(spec: &[u8], text: Vec<u8>) -> Vec<u8> {
    let Ok(text) = CString::new(text) else { return Vec::new() };
    if spec == b"%" {
        return text.into_bytes();
    }
    let spec = [spec, b"s"].concat();
    // SAFETY: as in `integer`, of a C string.
    print(&spec, |to, len, format| unsafe { libc::snprintf(to, len, format, text.as_ptr()) })
}
