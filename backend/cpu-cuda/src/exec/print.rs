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
    let mut counted = |bytes| {
        count += 1;
        take(bytes)
    };
    let mut rest = format;
    while let Some((&first, after)) = rest.split_first()
        && out.len() < MAX_OUTPUT
    {
        rest = after;
        if first != b'%' {
            out.push(first);
        } else if let Some(after) = rest.strip_prefix(b"%") {
            rest = after;
            out.push(b'%');
        } else {
            let Some(field) = Field::read(&mut rest, &mut counted)? else { break };
            out.extend(field.print(&mut counted, text)?);
        }
    }
    Some((out, count))
}

/// What stands between `%` and the end of a conversion.
struct Field {
    /// `%`, flags, width and precision, as C's own `printf` reads them.
    spec: Vec<u8>,
    /// Whether a number has 8 bytes.
    long: bool,
    conversion: u8,
}

impl Field {
    /// Reads one off `rest`, behind its `%`, with the arguments that stand for `*`. `Some(None)` where the format ends in it.
    fn read(rest: &mut &[u8], take: &mut dyn FnMut(u64) -> Option<u64>) -> Option<Option<Field>> {
        let mut spec = vec![b'%'];
        while let Some(flag) = next(rest, |c| b"-+ #0".contains(&c)) {
            if spec.len() < 8 {
                spec.push(flag);
            }
        }
        width(&mut spec, rest, true, take)?;
        if next(rest, |c| c == b'.').is_some() {
            spec.push(b'.');
            width(&mut spec, rest, false, take)?;
        }
        let mut long = false;
        while let Some(size) = next(rest, |c| b"hljztL".contains(&c)) {
            long |= size != b'h';
        }
        Some(next(rest, |_| true).map(|conversion| Field { spec, long, conversion }))
    }

    /// The text of the argument that it is for.
    fn print(
        mut self,
        take: &mut dyn FnMut(u64) -> Option<u64>,
        text: &mut dyn FnMut(u64) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let (spec, conversion, bytes) = (&self.spec, self.conversion, if self.long { 8 } else { 4 });
        Some(match conversion {
            b'd' | b'i' => {
                let raw = take(bytes)?;
                integer(spec, conversion, if self.long { raw as i64 } else { i64::from(raw as u32 as i32) })
            }
            b'u' | b'x' | b'X' | b'o' => integer(spec, conversion, take(bytes)? as i64),
            b'c' => vec![take(4)? as u8],
            b'p' => format!("{:#x}", take(8)?).into_bytes(),
            b's' => string(spec, text(take(8)?)?),
            b'f' | b'F' | b'e' | b'E' | b'g' | b'G' | b'a' | b'A' => float(spec, conversion, f64::from_bits(take(8)?)),
            // No conversion: printed as it stands.
            _ => {
                self.spec.push(conversion);
                self.spec
            }
        })
    }
}

/// The next byte, if it is one of those.
fn next(rest: &mut &[u8], is_one: impl Fn(u8) -> bool) -> Option<u8> {
    let (&first, after) = rest.split_first()?;
    is_one(first).then(|| {
        *rest = after;
        first
    })
}

/// Reads a width or a precision, a number or `*`; a negative width is one with the flag `-`.
fn width(spec: &mut Vec<u8>, rest: &mut &[u8], may_flag: bool, take: &mut dyn FnMut(u64) -> Option<u64>) -> Option<()> {
    let mut number = None;
    if next(rest, |c| c == b'*').is_some() {
        let value = take(4)? as u32 as i32;
        if value < 0 && may_flag {
            spec.push(b'-');
        }
        number = Some(value.unsigned_abs() as usize);
    }
    while let Some(digit) = next(rest, |c| c.is_ascii_digit()) {
        number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    }
    if let Some(number) = number {
        spec.extend_from_slice(number.min(MAX_FIELD - 64).to_string().as_bytes());
    }
    Some(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The text for arguments that are numbers; every text is "text".
    fn printed(wanted: &str, arguments: &[u64]) -> (String, usize) {
        let mut left = arguments.iter().copied();
        let found = format(wanted.as_bytes(), &mut |_| left.next(), &mut |_| Some(b"text".to_vec()));
        let (text, count) = found.expect("arguments enough");
        (String::from_utf8(text).expect("ASCII"), count)
    }

    #[test]
    fn format_when_widths_and_sizes_stand_there_then_are_as_in_c() {
        assert_eq!(printed("%d|%5d|%-5d|%05d", &[1, 2, 3, 4]), ("1|    2|3    |00004".into(), 4));
        assert_eq!(printed("%*d|%.*f|%*d", &[4, 7, 1, 2.25f64.to_bits(), -3i64 as u64, 8]), ("   7|2.2|8  ".into(), 6));
        assert_eq!(printed("%d %u %lld %hx", &[u64::MAX, 5, u64::MAX, 255]), ("-1 5 -1 ff".into(), 4));
        assert_eq!(printed("%s:%c:%6s:%.2s:%p", &[1, 65, 1, 1, 16]), ("text:A:  text:te:0x10".into(), 5));
    }

    #[test]
    fn format_when_there_is_no_conversion_then_prints_what_stands_there() {
        assert_eq!(printed("100%% of %5y %d", &[9]), ("100% of %5y 9".into(), 1));
        assert_eq!(printed("it ends in %-5", &[]), ("it ends in ".into(), 0));
        assert_eq!(format(b"%d", &mut |_| None, &mut |_| None), None);
    }
}
