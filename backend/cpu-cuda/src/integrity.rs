//! The proof that the CUDA runtime asks of a driver library when it starts.
//!
//! Observed from outside and described publicly: three calls with versions that end in 0, 1 and 2. The first two have
//! constant answers; the third is HMAC-MD2 (RFC 1319, RFC 2104) with a constant key over facts of the process that only
//! the library in it can know.

const KEY: [u8; 16] = [0x14, 0x6a, 0xdd, 0xae, 0x53, 0xa9, 0xa7, 0x52, 0xaa, 0x08, 0x41, 0x36, 0x0b, 0xf5, 0x5a, 0x9f];
const ANSWER_0: [u64; 2] = [0x3341_181c_03cb_675c, 0x8ed3_83aa_1f4c_d1e8];
const ANSWER_1: [u64; 2] = [0x1841_181c_03cb_675c, 0x8ed3_83aa_1f4c_d1e8];

/// What the third call proves.
pub struct Facts {
    /// cuDriverGetVersion.
    pub driver: u32,
    /// The version asked about.
    pub version: u32,
    /// Process number.
    pub process: u32,
    /// Low half of the thread's pthread_t.
    pub thread: u32,
    /// Addresses of the runtime's table, of the table of this call, and of the call.
    pub addresses: [u64; 3],
    /// The time that the runtime gave.
    pub seconds: u64,
    /// Devices: UUID and PCI domain, bus and number.
    pub devices: Vec<([u8; 16], [i32; 3])>,
}

/// The answer for a version.
pub fn answer(version: u32, facts: impl FnOnce() -> Facts) -> [u64; 2] {
    match version % 10 {
        0 => return ANSWER_0,
        1 => return ANSWER_1,
        _ => {}
    }
    let facts = facts();
    let mut text = Vec::new();
    for word in [facts.driver, facts.version, facts.process, facts.thread] {
        text.extend(word.to_le_bytes());
    }
    for word in facts.addresses.into_iter().chain([facts.seconds]) {
        text.extend(word.to_le_bytes());
    }
    for (uuid, place) in facts.devices {
        text.extend(uuid);
        place.iter().for_each(|word| text.extend(word.to_le_bytes()));
    }
    let inner = md2(&[&KEY.map(|byte| byte ^ 0x36)[..], &text].concat());
    let outer = md2(&[KEY.map(|byte| byte ^ 0x5c), inner].concat());
    let word =
        |half: usize| outer.iter().skip(8 * half).take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    [word(0), word(1)]
}

/// RFC 1319's permutation, made from the digits of pi.
const PI: [u8; 256] = [
    41, 46, 67, 201, 162, 216, 124, 1, 61, 54, 84, 161, 236, 240, 6, 19, 98, 167, 5, 243, 192, 199, 115, 140, 152, 147,
    43, 217, 188, 76, 130, 202, 30, 155, 87, 60, 253, 212, 224, 22, 103, 66, 111, 24, 138, 23, 229, 18, 190, 78, 196,
    214, 218, 158, 222, 73, 160, 251, 245, 142, 187, 47, 238, 122, 169, 104, 121, 145, 21, 178, 7, 63, 148, 194, 16,
    137, 11, 34, 95, 33, 128, 127, 93, 154, 90, 144, 50, 39, 53, 62, 204, 231, 191, 247, 151, 3, 255, 25, 48, 179, 72,
    165, 181, 209, 215, 94, 146, 42, 172, 86, 170, 198, 79, 184, 56, 210, 150, 164, 125, 182, 118, 252, 107, 226, 156,
    116, 4, 241, 69, 157, 112, 89, 100, 113, 135, 32, 134, 91, 207, 101, 230, 45, 168, 2, 27, 96, 37, 173, 174, 176,
    185, 246, 28, 70, 97, 105, 52, 64, 126, 15, 85, 71, 163, 35, 221, 81, 175, 58, 195, 92, 249, 206, 186, 197, 234,
    38, 44, 83, 13, 110, 133, 40, 132, 9, 211, 223, 205, 244, 65, 129, 77, 82, 106, 220, 55, 200, 108, 193, 171, 250,
    36, 225, 123, 8, 12, 189, 177, 74, 120, 136, 149, 139, 227, 99, 232, 109, 233, 203, 213, 254, 59, 0, 29, 57, 242,
    239, 183, 14, 102, 88, 208, 228, 166, 119, 114, 248, 235, 117, 75, 10, 49, 68, 80, 180, 143, 237, 31, 26, 219, 153,
    141, 51, 159, 17, 131, 20,
];

/// RFC 1319.
fn md2(text: &[u8]) -> [u8; 16] {
    let padding = 16 - text.len() % 16;
    let mut padded = text.to_vec();
    padded.extend(std::iter::repeat_n(padding as u8, padding));
    let mut checksum = [0u8; 16];
    let mut last = 0u8;
    for block in padded.chunks_exact(16) {
        for (sum, byte) in checksum.iter_mut().zip(block) {
            *sum ^= PI[usize::from(byte ^ last)];
            last = *sum;
        }
    }
    padded.extend(checksum);
    let mut state = [0u8; 48];
    for block in padded.chunks_exact(16) {
        for (at, byte) in block.iter().enumerate() {
            state[16 + at] = *byte;
            state[32 + at] = *byte ^ state[at];
        }
        let mut carry = 0u8;
        for round in 0..18u8 {
            for byte in &mut state {
                *byte ^= PI[usize::from(carry)];
                carry = *byte;
            }
            carry = carry.wrapping_add(round);
        }
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&state[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: [u8; 16]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn md2_when_rfc_vectors_then_their_digests() {
        assert_eq!(hex(md2(b"")), "8350e5a3e24c153df2275c9f80692773");
        assert_eq!(hex(md2(b"abc")), "da853b0d3f88d99b30283a69e6ded6bb");
        assert_eq!(hex(md2(b"abcdefghijklmnopqrstuvwxyz")), "4e8ddff3650292ab5a4108c3aa47940b");
    }
}
