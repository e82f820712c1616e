//! Code images before the driver sees them. The driver is given no length and trusts what the image says of itself, so here every
//! extent that an image names is compared with the bytes that came.

use super::generated::{CUDA_ERROR_INVALID_IMAGE, IMAGE_PARTS};

/// First word of a fat binary's wrapper: holds a pointer, so the guest unwraps it.
const FATBIN_WRAPPER: u32 = 0x4662_43b1;
/// First word of a fat binary.
const FATBIN: u32 = 0xba55_ed50;
/// Version of a wrapper that leads to several.
const WRAPPER_OF_PARTS: u64 = 2;
/// First bytes of an ELF file.
const ELF: &[u8] = b"\x7fELF";
/// Bytes of a 64-bit ELF file's header, of a section's and of a segment's.
const ELF_HEADER: u64 = 64;
const ELF_SECTION: u64 = 64;
const ELF_SEGMENT: u64 = 56;
/// A section that has no bytes in the file.
const SHT_NOBITS: u32 = 8;

/// Checks an image: what names extents must stay inside; anything else is text, which the caller ends with zero bytes.
///
/// # Errors
/// `CUDA_ERROR_INVALID_IMAGE`.
pub fn check(image: &[u8]) -> Result<(), i32> {
    let inside = match word(image, 0) {
        Some(FATBIN_WRAPPER) | None => None, // a pointer; less than any image
        Some(FATBIN) => fatbin(image),
        Some(IMAGE_PARTS) => parts(image).map(|_| ()),
        Some(_) if image.starts_with(ELF) => elf(image),
        Some(_) => Some(()),
    };
    inside.ok_or(CUDA_ERROR_INVALID_IMAGE)
}

/// The fat binaries of an image that has several, each checked. They end before the image does, or at its end.
fn parts(image: &[u8]) -> Option<Vec<&[u8]>> {
    let count = word(image, 4)?;
    let mut found = Vec::new();
    for number in 0..u64::from(count) {
        let (at, bytes) = (long(image, 8 + 16 * number)?, long(image, 16 + 16 * number)?);
        extent(image, at, bytes)?;
        let part = image.get(at as usize..(at + bytes) as usize)?;
        if word(part, 0) != Some(FATBIN) {
            return None;
        }
        fatbin(part)?;
        found.push(part);
    }
    (!found.is_empty()).then_some(found)
}

/// What the driver is given for an image that was checked: the image itself, or a wrapper that leads to its parts.
pub enum Given {
    /// The image.
    Whole,
    /// Magic and version, the first fat binary, the list of the others; and that list, which ends with null.
    Wrapper([u64; 4], #[allow(dead_code, reason = "the wrapper leads to it")] Vec<u64>),
}

impl Given {
    /// The form for an image, which must stay where it is as long as this is used.
    pub fn of(image: &[u8]) -> Given {
        let found = (word(image, 0) == Some(IMAGE_PARTS)).then(|| parts(image)).flatten();
        let Some(([first, others @ ..], version)) = found.as_deref().zip(Some(WRAPPER_OF_PARTS)) else {
            return Given::Whole;
        };
        let address = |part: &&[u8]| part.as_ptr().expose_provenance() as u64;
        let list: Vec<u64> = others.iter().map(address).chain([0]).collect();
        let head = u64::from(FATBIN_WRAPPER) | version << 32;
        Given::Wrapper([head, address(first), list.as_ptr().expose_provenance() as u64, 0], list)
    }
}

fn bytes<const N: usize>(image: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    image.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn half(image: &[u8], at: u64) -> Option<u16> {
    bytes(image, at).map(u16::from_le_bytes)
}

fn word(image: &[u8], at: u64) -> Option<u32> {
    bytes(image, at).map(u32::from_le_bytes)
}

fn long(image: &[u8], at: u64) -> Option<u64> {
    bytes(image, at).map(u64::from_le_bytes)
}

/// `bytes` bytes at `at` are there.
fn extent(image: &[u8], at: u64, bytes: u64) -> Option<()> {
    (at.checked_add(bytes)? <= image.len() as u64).then_some(())
}

/// A fat binary: a header of magic, version u16, header bytes u16, bytes of all entries u64; then entries of kind u16, version
/// u16, header bytes u32, padded payload bytes u64.
fn fatbin(image: &[u8]) -> Option<()> {
    let (header, all) = (u64::from(half(image, 6)?), long(image, 8)?);
    let end = header.checked_add(all)?;
    extent(image, 0, end)?;
    let mut at = header;
    while at < end {
        let (entry_header, payload) = (u64::from(word(image, at + 4)?), long(image, at + 8)?);
        let next = at.checked_add(entry_header)?.checked_add(payload)?;
        if entry_header < 16 || next > end {
            return None;
        }
        at = next;
    }
    Some(())
}

/// A 64-bit ELF file: sections and segments lie inside.
fn elf(image: &[u8]) -> Option<()> {
    extent(image, 0, ELF_HEADER)?;
    // Class: 64 bits. Others are refused by the driver too.
    if image.get(4) != Some(&2) {
        return None;
    }
    let (segments, sections) = (long(image, 32)?, long(image, 40)?);
    for number in 0..u64::from(half(image, 56)?) {
        let at = segments.checked_add(number * ELF_SEGMENT)?;
        extent(image, long(image, at.checked_add(8)?)?, long(image, at.checked_add(32)?)?)?;
    }
    for number in 0..u64::from(half(image, 60)?) {
        let at = sections.checked_add(number * ELF_SECTION)?;
        extent(image, at, ELF_SECTION)?;
        if word(image, at + 4)? != SHT_NOBITS {
            extent(image, long(image, at + 24)?, long(image, at + 32)?)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf_of(offset: u64, bytes: u64, kind: u32) -> Vec<u8> {
        let mut image = vec![0u8; 128];
        image[..4].copy_from_slice(ELF);
        image[4] = 2;
        image[40..48].copy_from_slice(&64u64.to_le_bytes());
        image[60..62].copy_from_slice(&1u16.to_le_bytes());
        image[68..72].copy_from_slice(&kind.to_le_bytes());
        image[88..96].copy_from_slice(&offset.to_le_bytes());
        image[96..104].copy_from_slice(&bytes.to_le_bytes());
        image
    }

    fn fatbin_of(all: u64, payload: u64) -> Vec<u8> {
        let mut image = FATBIN.to_le_bytes().to_vec();
        image.extend([1, 0, 16, 0]);
        image.extend(all.to_le_bytes());
        image.extend([2, 0, 1, 1, 16, 0, 0, 0]);
        image.extend(payload.to_le_bytes());
        image.extend([0; 8]);
        image
    }

    #[test]
    fn check_when_every_extent_is_inside_then_accepts() {
        assert_eq!(check(&elf_of(0, 128, 1)), Ok(()));
        assert_eq!(check(&elf_of(0, u64::MAX, SHT_NOBITS)), Ok(()));
        assert_eq!(check(&fatbin_of(24, 8)), Ok(()));
        assert_eq!(check(b".version 8.0"), Ok(()));
    }

    fn parts_of(fatbins: &[Vec<u8>]) -> Vec<u8> {
        let mut at = 8 + 16 * fatbins.len() as u64;
        let mut image = [IMAGE_PARTS.to_le_bytes(), (fatbins.len() as u32).to_le_bytes()].concat();
        for fatbin in fatbins {
            image.extend([at.to_le_bytes(), (fatbin.len() as u64).to_le_bytes()].concat());
            at += fatbin.len() as u64;
        }
        image.extend(fatbins.concat());
        image
    }

    #[test]
    fn parts_when_each_is_whole_then_a_wrapper_leads_to_them() {
        let image = parts_of(&[fatbin_of(24, 8), fatbin_of(24, 8)]);
        assert_eq!(check(&image), Ok(()));
        let Given::Wrapper(words, list) = Given::of(&image) else { panic!("no wrapper") };
        assert_eq!((words[0], words[1]), (0x2_4662_43b1, image[40..].as_ptr() as u64));
        assert_eq!((list[0], list[1]), (image[80..].as_ptr() as u64, 0));
        let broken = [
            parts_of(&[]),
            parts_of(&[fatbin_of(24, 9)]),
            parts_of(&[elf_of(0, 128, 1)]),
            parts_of(&[fatbin_of(24, 8)])[..60].to_vec(),
            [IMAGE_PARTS.to_le_bytes(), u32::MAX.to_le_bytes()].concat(),
        ];
        for image in broken {
            assert_eq!(check(&image), Err(CUDA_ERROR_INVALID_IMAGE), "{image:?}");
        }
    }

    #[test]
    fn check_when_an_extent_reaches_out_then_refuses() {
        let outside = [
            elf_of(1, 128, 1),
            elf_of(u64::MAX, 2, 1),
            elf_of(0, 128, 1)[..100].to_vec(),
            fatbin_of(25, 8),
            fatbin_of(u64::MAX, 8),
            fatbin_of(24, 9),
            fatbin_of(24, u64::MAX),
            FATBIN_WRAPPER.to_le_bytes().repeat(8),
            vec![1, 2, 3],
        ];
        for image in outside {
            assert_eq!(check(&image), Err(CUDA_ERROR_INVALID_IMAGE), "{image:?}");
        }
    }
}
