//! Code images as programs carry them: PTX text, and the containers around it, laid out by our own code.
//!
//! A fat binary is a header (magic, version, size of the header, size of what follows) and entries, each a header and a
//! payload; programs point at it by a wrapper. The layout is public knowledge: binutils and LLVM print and read it.

const FAT_MAGIC: u32 = 0xba55_ed50;
const WRAPPER_MAGIC: u32 = 0x4662_43b1;
/// 64 bytes, the place of an assembler's options, and those: none.
const ENTRY_HEADER: u32 = 80;
const OPTIONS_PLACE: u32 = 64;
const OPTIONS: u32 = 72;
const KIND_PTX: u16 = 1;
/// 64-bit, made for Linux.
const ENTRY_FLAGS: u64 = 0x11;

/// A fat binary with one PTX entry for `architecture` (75 for sm_75), aligned as its reader wants it.
pub fn fat_binary(ptx: &str, architecture: u32) -> Vec<u64> {
    let mut payload = ptx.as_bytes().to_vec();
    payload.resize(payload.len().next_multiple_of(8), 0);
    let mut bytes = Vec::new();
    bytes.extend(FAT_MAGIC.to_le_bytes());
    bytes.extend(1u16.to_le_bytes());
    bytes.extend(16u16.to_le_bytes());
    bytes.extend((u64::from(ENTRY_HEADER) + payload.len() as u64).to_le_bytes());
    bytes.extend(KIND_PTX.to_le_bytes());
    bytes.extend(0x0101u16.to_le_bytes());
    bytes.extend(ENTRY_HEADER.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    // Not compressed.
    bytes.extend([0; 4]);
    bytes.extend(OPTIONS_PLACE.to_le_bytes());
    // The PTX version, 6.3.
    bytes.extend(3u16.to_le_bytes());
    bytes.extend(6u16.to_le_bytes());
    bytes.extend(architecture.to_le_bytes());
    // No name.
    bytes.extend([0; 8]);
    bytes.extend(ENTRY_FLAGS.to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend(OPTIONS.to_le_bytes());
    bytes.extend([0; 12]);
    bytes.extend(payload);
    bytes.chunks_exact(8).map(|eight| u64::from_le_bytes(std::array::from_fn(|i| eight[i]))).collect()
}

/// What a program's own data section holds: it points at a fat binary.
#[repr(C)]
pub struct Wrapper {
    magic: u32,
    version: u32,
    data: *const u64,
    file: usize,
}

impl Wrapper {
    /// Valid as long as `fat` is.
    pub fn around(fat: &[u64]) -> Wrapper {
        Wrapper { magic: WRAPPER_MAGIC, version: 1, data: fat.as_ptr(), file: 0 }
    }
}
