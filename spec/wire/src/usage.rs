//! How much device memory a guest process holds, for the other processes of its guest: a page in a memory file of that name, which
//! `libcuda.so.1` keeps and `libnvidia-ml.so.1` reads. It never leaves the guest, and nothing is decided by it.
//!
//! Little-endian: [`MAGIC`], the number of the process (u32; a child of a fork inherits the file and is not meant), 0 (u32), the
//! bytes held (u64). The process writes the last word whenever it changes; who reads it may be one change late.

/// Name of the memory file.
pub const NAME: &str = "gpuferry-usage";
/// The first word.
pub const MAGIC: u64 = 0x3145_4741_5355_4647;
/// Bytes in use of the page.
pub const BYTES: usize = 24;
/// Where the bytes held stand.
pub const USED_OFFSET: usize = 16;

/// What stands in the page at first.
#[must_use]
pub fn page(pid: u32) -> [u8; BYTES] {
    let mut page = [0; BYTES];
    page[..8].copy_from_slice(&MAGIC.to_le_bytes());
    page[8..12].copy_from_slice(&pid.to_le_bytes());
    page
}

/// The process and the bytes it holds; `None` for what is no such page.
#[must_use]
pub fn parse(page: &[u8; BYTES]) -> Option<(u32, u64)> {
    let word = |at: usize| page.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    if word(0)? != MAGIC {
        return None;
    }
    Some((u32::try_from(word(8)? & 0xFFFF_FFFF).ok()?, word(USED_OFFSET)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_when_the_page_is_one_of_ours_then_finds_the_process() {
        let mut page = page(1234);
        page[USED_OFFSET..].copy_from_slice(&77u64.to_le_bytes());
        assert_eq!(parse(&page), Some((1234, 77)));
        assert_eq!(parse(&[0; BYTES]), None);
    }
}
