//! Code images: finds the PTX in what a program hands over.
//!
//! An image is PTX text, a fat binary (magic 0xba55ed50), a wrapper that points at fat binaries (0x466243b1), or
//! something this device cannot run (an ELF cubin, intermediate code). A fat binary is a header and entries, each with a
//! kind, a target and a payload, plain or compressed with LZ4 or zstd. Every length is compared with what is there
//! before it is used, and what a payload may unpack to is bounded.

use std::io::Read as _;

use crate::foreign::copy_readable;
use crate::status::{Answer, Status};

const WRAPPER_MAGIC: u32 = 0x4662_43b1;
const FAT_MAGIC: u32 = 0xba55_ed50;
const ELF_MAGIC: u32 = 0x464c_457f;
const ELF_HEADER: usize = 64;
const ELF_MACHINE_AT: usize = 18;
/// EM_CUDA of ELF's list of machines.
const ELF_CUDA: u16 = 190;
const FAT_HEADER: usize = 16;
const ENTRY_HEADER: usize = 64;
const ENTRY_PTX: u16 = 1;
const COMPRESSED_LZ4: u64 = 1 << 13;
const COMPRESSED_ZSTD: u64 = 1 << 15;
/// Largest image, packed or unpacked, in bytes.
pub const MOST: usize = 256 << 20;
/// Most bytes that one byte of LZ4 stands for.
const LZ4_MOST: usize = 255;
/// Most fat binaries behind one wrapper.
const MOST_PARTS: usize = 4096;

/// The PTX texts that make up the image at `address`; usually one, several if they are still to be linked. A wrapper is
/// taken only if `wrappers` says so: libraries are loaded from them, modules are not.
pub fn at_address(address: u64, capability: u32, wrappers: bool) -> Answer<Vec<Vec<u8>>> {
    if address == 0 {
        return Err(Status::INVALID_VALUE);
    }
    // A text may be shorter than a magic number.
    match copy_readable(address, 4).ok().and_then(|head| u32_at(&head, 0)) {
        Some(WRAPPER_MAGIC) if wrappers => wrapped(address, capability),
        Some(WRAPPER_MAGIC) => Err(Status::INVALID_IMAGE),
        Some(FAT_MAGIC) => Ok(vec![from_fat(&fat_at(address)?, capability)?]),
        Some(ELF_MAGIC) => Err(elf(&copy_readable(address, ELF_HEADER).unwrap_or_default())),
        _ => Ok(vec![checked_text(text_at(address)?)?]),
    }
}

/// The PTX text in an image of known length, for linking and files.
pub fn in_bytes(bytes: &[u8], capability: u32) -> Answer<Vec<u8>> {
    match u32_at(bytes, 0) {
        Some(FAT_MAGIC) => from_fat(bytes, capability),
        Some(ELF_MAGIC) => Err(elf(bytes)),
        _ if bytes.len() > MOST => Err(Status::INVALID_IMAGE),
        _ => checked_text(trimmed(bytes).to_vec()),
    }
}

/// What an ELF file is answered: code for a GPU, of which there is none here, or no code.
fn elf(bytes: &[u8]) -> Status {
    match u16_at(bytes, ELF_MACHINE_AT) {
        Some(ELF_CUDA) => Status::NO_BINARY_FOR_GPU,
        _ => Status::INVALID_IMAGE,
    }
}

/// A text that begins as PTX does, after comments and white space; anything else is no image.
fn checked_text(text: Vec<u8>) -> Answer<Vec<u8>> {
    let mut rest = text.as_slice();
    loop {
        rest = rest.trim_ascii_start();
        let comment = |start: &[u8], end: &[u8]| {
            let after = rest.strip_prefix(start)?;
            let at = after.windows(end.len()).position(|window| window == end)?;
            after.get(at + end.len()..)
        };
        match comment(b"//", b"\n").or_else(|| comment(b"/*", b"*/")) {
            Some(after) => rest = after,
            None if rest.starts_with(b".version") => return Ok(text),
            None => return Err(Status::INVALID_IMAGE),
        }
    }
}

fn wrapped(address: u64, capability: u32) -> Answer<Vec<Vec<u8>>> {
    let wrapper = copy_readable(address, 24)?;
    let version = u32_at(&wrapper, 4).ok_or(Status::INVALID_IMAGE)?;
    let first = u64_at(&wrapper, 8).ok_or(Status::INVALID_IMAGE)?;
    let more = u64_at(&wrapper, 16).ok_or(Status::INVALID_IMAGE)?;
    if version != 2 || more == 0 {
        return Ok(vec![from_fat(&fat_at(first)?, capability)?]);
    }
    // Version 2: beside a fat binary that may be empty, a list of those that were compiled apart, up to a null pointer,
    // to be linked now. Parts without PTX are left out (the device runtime library is one, in every such list); what is
    // missing because of that is found by linking.
    let mut parts = Vec::new();
    for index in 0..MOST_PARTS as u64 {
        let slot = more.checked_add(index * 8).ok_or(Status::INVALID_IMAGE)?;
        let pointer = u64_at(&copy_readable(slot, 8)?, 0).ok_or(Status::INVALID_IMAGE)?;
        if pointer == 0 {
            break;
        }
        match from_fat(&fat_at(pointer)?, capability) {
            Err(Status::NO_BINARY_FOR_GPU) => {}
            part => parts.push(part?),
        }
    }
    if parts.is_empty() { Ok(vec![from_fat(&fat_at(first)?, capability)?]) } else { Ok(parts) }
}

/// A whole fat binary, by the length in its header.
fn fat_at(address: u64) -> Answer<Vec<u8>> {
    let header = copy_readable(address, FAT_HEADER)?;
    let (magic, header_size) = (u32_at(&header, 0), u16_at(&header, 6));
    let (Some(FAT_MAGIC), Some(header_size)) = (magic, header_size) else { return Err(Status::INVALID_IMAGE) };
    let files = u64_at(&header, 8).ok_or(Status::INVALID_IMAGE)?;
    let length = files.checked_add(u64::from(header_size)).ok_or(Status::INVALID_IMAGE)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= 4 * MOST).ok_or(Status::INVALID_IMAGE)?;
    copy_readable(address, length).map_err(|_| Status::INVALID_IMAGE)
}

/// A text up to its NUL.
fn text_at(address: u64) -> Answer<Vec<u8>> {
    let mut text = Vec::new();
    while text.len() < MOST {
        let from = address.checked_add(text.len() as u64).ok_or(Status::INVALID_IMAGE)?;
        // To the end of the page at most: the next one need not be readable.
        let chunk = copy_readable(from, (4096 - from % 4096) as usize)?;
        match chunk.iter().position(|byte| *byte == 0) {
            Some(end) => {
                text.extend(chunk.iter().take(end));
                return Ok(text);
            }
            None => text.extend(chunk),
        }
    }
    Err(Status::INVALID_IMAGE)
}

/// The PTX text of a fat binary that suits the capability best.
fn from_fat(bytes: &[u8], capability: u32) -> Answer<Vec<u8>> {
    let entries = entries(bytes)?;
    let best = entries.iter().filter(|entry| entry.target <= capability).max_by_key(|entry| entry.target);
    unpack(best.ok_or(Status::NO_BINARY_FOR_GPU)?)
}

struct Entry<'a> {
    target: u32,
    flags: u64,
    unpacked: u64,
    payload: &'a [u8],
}

/// The PTX entries of a fat binary.
fn entries(bytes: &[u8]) -> Answer<Vec<Entry<'_>>> {
    let bad = Status::INVALID_IMAGE;
    if u32_at(bytes, 0) != Some(FAT_MAGIC) {
        return Err(bad);
    }
    let header = usize::from(u16_at(bytes, 6).ok_or(bad)?);
    let length = usize::try_from(u64_at(bytes, 8).ok_or(bad)?).map_err(|_| bad)?;
    let end = header.checked_add(length).filter(|end| *end <= bytes.len() && header >= FAT_HEADER).ok_or(bad)?;
    let mut rest = bytes.get(header..end).ok_or(bad)?;
    let mut found = Vec::new();
    while rest.len() >= ENTRY_HEADER {
        let header = u32_at(rest, 4).ok_or(bad)? as usize;
        let payload = usize::try_from(u64_at(rest, 8).ok_or(bad)?).map_err(|_| bad)?;
        let whole = header.checked_add(payload).filter(|_| header >= 48).ok_or(bad)?;
        let body = rest.get(header..whole).ok_or(bad)?;
        if u16_at(rest, 0) == Some(ENTRY_PTX) {
            let packed = u32_at(rest, 16).ok_or(bad)? as usize;
            let flags = u64_at(rest, 40).ok_or(bad)?;
            let unpacked = if header >= ENTRY_HEADER { u64_at(rest, 56).ok_or(bad)? } else { 0 };
            let payload =
                if flags & (COMPRESSED_LZ4 | COMPRESSED_ZSTD) != 0 { body.get(..packed).ok_or(bad)? } else { body };
            found.push(Entry { target: u32_at(rest, 28).ok_or(bad)?, flags, unpacked, payload });
        }
        rest = rest.get(whole..).ok_or(bad)?;
    }
    Ok(found)
}

fn unpack(entry: &Entry<'_>) -> Answer<Vec<u8>> {
    let bad = Status::INVALID_IMAGE;
    let room = usize::try_from(entry.unpacked).ok().filter(|room| *room <= MOST).ok_or(bad)?;
    let text = if entry.flags & COMPRESSED_LZ4 != 0 {
        // As much memory as the payload can fill, not as the entry says.
        let mut text = vec![0; room.min(entry.payload.len().saturating_mul(LZ4_MOST))];
        let used = lz4_flex::block::decompress_into(entry.payload, &mut text).map_err(|_| bad)?;
        text.truncate(used);
        text
    } else if entry.flags & COMPRESSED_ZSTD != 0 {
        let mut text = Vec::new();
        let decoder = ruzstd::decoding::StreamingDecoder::new(entry.payload).map_err(|_| bad)?;
        decoder.take(room as u64).read_to_end(&mut text).map_err(|_| bad)?;
        text
    } else {
        entry.payload.to_vec()
    };
    Ok(trimmed(&text).to_vec())
}

/// Without the NUL and padding at the end.
fn trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u16, target: u32, flags: u64, unpacked: u64, payload: &[u8]) -> Vec<u8> {
        let padded = payload.len().next_multiple_of(8);
        let mut bytes = vec![0; ENTRY_HEADER];
        bytes[0..2].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&(ENTRY_HEADER as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&(padded as u64).to_le_bytes());
        bytes[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes[28..32].copy_from_slice(&target.to_le_bytes());
        bytes[40..48].copy_from_slice(&flags.to_le_bytes());
        bytes[56..64].copy_from_slice(&unpacked.to_le_bytes());
        bytes.extend(payload);
        bytes.resize(ENTRY_HEADER + padded, 0);
        bytes
    }

    fn fat(entries: &[Vec<u8>]) -> Vec<u8> {
        let body = entries.concat();
        let mut bytes = FAT_MAGIC.to_le_bytes().to_vec();
        bytes.extend(1u16.to_le_bytes());
        bytes.extend((FAT_HEADER as u16).to_le_bytes());
        bytes.extend((body.len() as u64).to_le_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn fat_when_several_targets_then_newest_that_fits() {
        let image = fat(&[
            entry(2, 75, 0, 0, b"elf"),
            entry(1, 52, 0, 0, b"old"),
            entry(1, 75, 0, 0, b"new"),
            entry(1, 90, 0, 0, b"no"),
        ]);
        assert_eq!(in_bytes(&image, 75).expect("ptx"), b"new");
        assert_eq!(in_bytes(&image, 60).expect("ptx"), b"old");
        assert_eq!(in_bytes(&image, 50), Err(Status::NO_BINARY_FOR_GPU));
        assert_eq!(at_address(image.as_ptr() as u64, 75, false).expect("ptx"), [b"new"]);
        let wrapper = [u64::from(WRAPPER_MAGIC) | 1 << 32, image.as_ptr() as u64, 0];
        assert_eq!(at_address(wrapper.as_ptr() as u64, 75, true).expect("ptx"), [b"new"]);
        assert_eq!(at_address(wrapper.as_ptr() as u64, 75, false), Err(Status::INVALID_IMAGE));
    }

    #[test]
    fn wrapper_when_parts_are_listed_then_all_of_them() {
        let (empty, one, two) = (fat(&[]), fat(&[entry(1, 75, 0, 0, b"one")]), fat(&[entry(1, 75, 0, 0, b"two")]));
        let list = [one.as_ptr() as u64, two.as_ptr() as u64, 0];
        let wrapper = [u64::from(WRAPPER_MAGIC) | 2 << 32, empty.as_ptr() as u64, list.as_ptr() as u64];
        assert_eq!(at_address(wrapper.as_ptr() as u64, 75, true).expect("ptx"), [b"one", b"two"]);
        let cubin = fat(&[entry(2, 75, 0, 0, b"elf")]);
        let list = [one.as_ptr() as u64, cubin.as_ptr() as u64, 0];
        let wrapper = [u64::from(WRAPPER_MAGIC) | 2 << 32, empty.as_ptr() as u64, list.as_ptr() as u64];
        assert_eq!(at_address(wrapper.as_ptr() as u64, 75, true).expect("ptx"), [b"one"]);
        let list = [cubin.as_ptr() as u64, 0];
        let wrapper = [u64::from(WRAPPER_MAGIC) | 2 << 32, empty.as_ptr() as u64, list.as_ptr() as u64];
        assert_eq!(at_address(wrapper.as_ptr() as u64, 75, true), Err(Status::NO_BINARY_FOR_GPU));
    }

    #[test]
    fn fat_when_lz4_then_unpacked() {
        let text = b".version 8.0 .version 8.0 .version 8.0 .version 8.0";
        let packed = lz4_flex::block::compress(text);
        let image = fat(&[entry(1, 75, COMPRESSED_LZ4, text.len() as u64, &packed)]);
        assert_eq!(in_bytes(&image, 75).expect("ptx"), text);
    }

    #[test]
    fn fat_when_only_cubin_then_no_binary() {
        assert_eq!(in_bytes(&fat(&[entry(2, 75, 0, 0, b"elf")]), 75), Err(Status::NO_BINARY_FOR_GPU));
        let mut cubin = b"\x7fELF".to_vec();
        cubin.resize(64, 0);
        assert_eq!(in_bytes(&cubin, 75), Err(Status::INVALID_IMAGE));
        cubin[ELF_MACHINE_AT] = 190;
        assert_eq!(in_bytes(&cubin, 75), Err(Status::NO_BINARY_FOR_GPU));
        assert_eq!(at_address(cubin.as_ptr() as u64, 75, false), Err(Status::NO_BINARY_FOR_GPU));
    }

    #[test]
    fn fat_when_cut_or_lengths_lie_then_refused() {
        let image = fat(&[entry(1, 75, COMPRESSED_LZ4, 1 << 40, b"0123456789")]);
        assert_eq!(in_bytes(&image, 75), Err(Status::INVALID_IMAGE));
        for cut in 0..image.len() {
            assert!(in_bytes(&image[..cut], 75).is_err() || cut < 4);
        }
        for at in 0..image.len() {
            let mut wrong = image.clone();
            wrong[at] = 0xff;
            let _ = in_bytes(&wrong, 75);
        }
    }

    #[test]
    fn text_when_followed_by_nul_then_without_it() {
        let text = c"// made by hand\n/* */ .version 7.0\n.target sm_50";
        assert_eq!(at_address(text.as_ptr() as u64, 75, false).expect("text"), [text.to_bytes()]);
        assert_eq!(at_address(c"int main()".as_ptr() as u64, 75, false), Err(Status::INVALID_IMAGE));
        assert_eq!(at_address(c"".as_ptr() as u64, 75, false), Err(Status::INVALID_IMAGE));
    }

    #[test]
    fn address_when_wild_then_refused() {
        assert_eq!(at_address(0, 75, true), Err(Status::INVALID_VALUE));
        assert!(at_address(64, 75, true).is_err());
    }
}
