//! How long a code image is. The program hands in a pointer alone; what lies behind it says where it ends: a fatbin wrapper, a
//! fatbin, an ELF cubin, or else PTX text that ends with a zero byte.

use crate::CUresult;
use crate::generated::IMAGE_PARTS;
use crate::status::{CUDA_ERROR_INVALID_IMAGE, CUDA_ERROR_INVALID_VALUE};
use core::ffi::{CStr, c_void};
use std::borrow::Cow;

/// First word of the struct that holds a pointer to a fatbin.
const WRAPPER: u32 = 0x4662_43b1;
/// First word of a fatbin.
const FATBIN: u32 = 0xba55_ed50;
/// First word of an ELF file.
const ELF: u32 = 0x464c_457f;
/// Type of an ELF section that has no bytes in the file.
const SHT_NOBITS: u32 = 8;
/// Most fatbins behind one wrapper.
const MAX_PARTS: usize = 4096;
/// Longest image that is taken for one.
const MAX_BYTES: u64 = 2 << 30;

/// An image of the program's, good for reading while the exported function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// First byte.
    pub data: *const u8,
    /// Length; of PTX with the zero byte at its end.
    pub bytes: usize,
}

impl Image {
    /// The bytes.
    ///
    /// # Safety
    /// The image is still the program's to read.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: by this function's contract.
        unsafe { core::slice::from_raw_parts(self.data, self.bytes) }
    }
}

/// Reads a number of the image.
///
/// # Safety
/// `data + offset` is within the image.
unsafe fn number<T: Copy>(data: *const u8, offset: u64) -> T {
    // SAFETY: by this function's contract; images are not always aligned.
    unsafe { data.wrapping_add(offset as usize).cast::<T>().read_unaligned() }
}

/// The bytes that travel for the image behind a pointer, see [`find`]. A wrapper of version 2 (of code that was compiled in parts,
/// `nvcc -rdc=true`) leads to further fatbins; they travel together.
///
/// # Errors
/// As [`find`].
///
/// # Safety
/// As [`find`]; the bytes are the program's.
pub unsafe fn whole<'a>(code: *const c_void, wrapped: bool) -> Result<Cow<'a, [u8]>, CUresult> {
    // SAFETY: by this function's contract; each step reads what the one before says is there.
    unsafe {
        let first = find(code, wrapped)?;
        let wrapper = code.cast::<u8>();
        if first_word(wrapper) != WRAPPER || number::<u32>(wrapper, 4) != 2 {
            return Ok(Cow::Borrowed(first.bytes()));
        }
        let list = number::<*const *const c_void>(wrapper, 16);
        if list.is_null() {
            return Ok(Cow::Borrowed(first.bytes()));
        }
        let mut parts = vec![first.bytes()];
        loop {
            let part = list.wrapping_add(parts.len() - 1).read_unaligned();
            if part.is_null() {
                return Ok(Cow::Owned(together(&parts)));
            }
            if parts.len() > MAX_PARTS {
                return Err(CUDA_ERROR_INVALID_IMAGE);
            }
            parts.push(find(part, false)?.bytes());
        }
    }
}

fn together(parts: &[&[u8]]) -> Vec<u8> {
    let mut at = 8 + 16 * parts.len();
    let mut all = Vec::new();
    all.extend(IMAGE_PARTS.to_le_bytes());
    all.extend((parts.len() as u32).to_le_bytes());
    for part in parts {
        at = at.next_multiple_of(8);
        all.extend((at as u64).to_le_bytes());
        all.extend((part.len() as u64).to_le_bytes());
        at += part.len();
    }
    for part in parts {
        all.resize(all.len().next_multiple_of(8), 0);
        all.extend_from_slice(part);
    }
    all
}

/// Finds the image behind a pointer that the program gave to a loading function. `wrapped`: the function takes a wrapper too, as
/// those of libraries do and those of modules do not.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for null, `CUDA_ERROR_INVALID_IMAGE` for headers that make no sense.
///
/// # Safety
/// `code` is null or an image as the API's text says: complete, as its own headers describe it.
pub unsafe fn find(code: *const c_void, wrapped: bool) -> Result<Image, CUresult> {
    let mut data = code.cast::<u8>();
    if data.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: each step reads what the header before it says is there. A text that is shorter than a word ends with zero, and
    // is looked at byte by byte.
    unsafe {
        if first_word(data) == WRAPPER {
            if !wrapped {
                return Err(CUDA_ERROR_INVALID_IMAGE);
            }
            data = number::<*const u8>(data, 8);
            if data.is_null() {
                return Err(CUDA_ERROR_INVALID_IMAGE);
            }
        }
        let bytes = match first_word(data) {
            FATBIN => u64::from(number::<u16>(data, 6)).saturating_add(number::<u64>(data, 8)),
            ELF => elf_bytes(data),
            _ => CStr::from_ptr(data.cast()).count_bytes() as u64 + 1,
        };
        if bytes > MAX_BYTES {
            return Err(CUDA_ERROR_INVALID_IMAGE);
        }
        Ok(Image { data, bytes: bytes as usize })
    }
}

/// The first four bytes; zeros from the first zero byte on, so that nothing after a short text is read.
///
/// # Safety
/// A text or an image.
unsafe fn first_word(data: *const u8) -> u32 {
    let mut word = [0u8; 4];
    for (at, byte) in word.iter_mut().enumerate() {
        // SAFETY: no byte before this one was zero, so a text goes on here.
        *byte = unsafe { data.wrapping_add(at).read() };
        if *byte == 0 {
            break;
        }
    }
    u32::from_le_bytes(word)
}

/// Length of a 64-bit ELF file: the end of whatever reaches furthest.
///
/// # Safety
/// A complete ELF file.
unsafe fn elf_bytes(data: *const u8) -> u64 {
    // SAFETY: the header is 64 bytes, and its tables are where it says.
    unsafe {
        let table = |offset: u64, entry: u64, count: u64| {
            let start: u64 = number(data, offset);
            let size = u64::from(number::<u16>(data, entry)).saturating_mul(u64::from(number::<u16>(data, count)));
            if start == 0 { 0 } else { start.saturating_add(size) }
        };
        let (sections, segments) = (table(40, 58, 60), table(32, 54, 56));
        let mut end = sections.max(segments).max(64);
        let (start, size): (u64, u16) = (number(data, 40), number(data, 58));
        if start == 0 || end > MAX_BYTES || size < 64 {
            return end;
        }
        for index in 0..u64::from(number::<u16>(data, 60)) {
            let section = start + index * u64::from(size);
            if number::<u32>(data, section + 4) != SHT_NOBITS {
                let (offset, bytes): (u64, u64) = (number(data, section + 24), number(data, section + 32));
                end = end.max(offset.saturating_add(bytes));
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(image: &[u8]) -> Result<usize, CUresult> {
        // SAFETY: the tests' images are complete.
        unsafe { find(image.as_ptr().cast(), true) }.map(|found| found.bytes)
    }

    #[test]
    fn find_when_text_then_ends_after_its_zero_byte() {
        assert_eq!(bytes_of(b".version 7.0\0trailing"), Ok(13));
        assert_eq!(bytes_of(b"\0"), Ok(1));
        assert_eq!(bytes_of(b"ab\0"), Ok(3));
        // SAFETY: null is allowed.
        assert_eq!(unsafe { find(core::ptr::null(), true) }, Err(CUDA_ERROR_INVALID_VALUE));
    }

    #[test]
    fn find_when_a_wrapper_then_is_the_fatbin_behind_it() {
        let mut fatbin = vec![0u8; 16];
        fatbin[..4].copy_from_slice(&FATBIN.to_le_bytes());
        fatbin[4..8].copy_from_slice(&[1, 0, 16, 0]);
        fatbin[8..16].copy_from_slice(&1000u64.to_le_bytes());
        assert_eq!(bytes_of(&fatbin), Ok(1016));
        let mut wrapper = [0u8; 24];
        wrapper[..4].copy_from_slice(&WRAPPER.to_le_bytes());
        wrapper[4] = 1;
        wrapper[8..16].copy_from_slice(&(fatbin.as_ptr() as u64).to_le_bytes());
        // SAFETY: complete images.
        let found = unsafe { find(wrapper.as_ptr().cast(), true) };
        assert_eq!(found, Ok(Image { data: fatbin.as_ptr(), bytes: 1016 }));
        // SAFETY: as above.
        assert_eq!(unsafe { find(wrapper.as_ptr().cast(), false) }, Err(CUDA_ERROR_INVALID_IMAGE));
    }

    #[test]
    fn whole_when_a_wrapper_of_parts_then_has_all_of_them() {
        let fatbin = |payload: u8| {
            let mut fatbin = FATBIN.to_le_bytes().to_vec();
            fatbin.extend([1, 0, 16, 0]);
            fatbin.extend(3u64.to_le_bytes());
            fatbin.extend([payload; 3]);
            fatbin
        };
        let fatbins = [fatbin(1), fatbin(2), fatbin(3)];
        let list = [fatbins[1].as_ptr() as u64, fatbins[2].as_ptr() as u64, 0];
        let wrapper = [u64::from(WRAPPER) | 2 << 32, fatbins[0].as_ptr() as u64, list.as_ptr() as u64];
        // SAFETY: complete images.
        let all = unsafe { whole(wrapper.as_ptr().cast(), true) }.expect("well-formed");
        assert_eq!(all[..8], [IMAGE_PARTS.to_le_bytes(), 3u32.to_le_bytes()].concat());
        for (place, fatbin) in fatbins.iter().enumerate() {
            let word = |at: usize| u64::from_le_bytes(all[at..at + 8].try_into().expect("eight")) as usize;
            let (at, bytes) = (word(8 + 16 * place), word(16 + 16 * place));
            assert_eq!(&all[at..at + bytes], &fatbin[..]);
        }
        let one = [u64::from(WRAPPER) | 1 << 32, fatbins[0].as_ptr() as u64, list.as_ptr() as u64];
        // SAFETY: complete images.
        assert_eq!(unsafe { whole(one.as_ptr().cast(), true) }.as_deref(), Ok(&fatbins[0][..]));
    }

    #[test]
    fn find_when_elf_then_reaches_to_its_furthest_section() {
        let mut elf = vec![0u8; 64 + 2 * 64];
        elf[..4].copy_from_slice(&ELF.to_le_bytes());
        elf[40..48].copy_from_slice(&64u64.to_le_bytes());
        elf[58..60].copy_from_slice(&64u16.to_le_bytes());
        elf[60..62].copy_from_slice(&2u16.to_le_bytes());
        assert_eq!(bytes_of(&elf), Ok(192));
        elf[64 + 24..64 + 32].copy_from_slice(&190u64.to_le_bytes());
        elf[64 + 32..64 + 40].copy_from_slice(&10u64.to_le_bytes());
        assert_eq!(bytes_of(&elf), Ok(200));
        elf[64 + 4] = SHT_NOBITS as u8;
        assert_eq!(bytes_of(&elf), Ok(192));
    }
}
