//! The number that a cudart wants to see before it trusts a driver: HMAC (RFC 2104) with MD2 (RFC 1319) and a fixed key over the
//! versions, the process, the thread, addresses of the tables, the time and the devices.

/// The table of RFC 1319: a permutation of 0..=255 made from the digits of pi.
#[rustfmt::skip]
const PI: [u8; 256] = [
    0x29, 0x2e, 0x43, 0xc9, 0xa2, 0xd8, 0x7c, 0x01, 0x3d, 0x36, 0x54, 0xa1, 0xec, 0xf0, 0x06, 0x13,
    0x62, 0xa7, 0x05, 0xf3, 0xc0, 0xc7, 0x73, 0x8c, 0x98, 0x93, 0x2b, 0xd9, 0xbc, 0x4c, 0x82, 0xca,
    0x1e, 0x9b, 0x57, 0x3c, 0xfd, 0xd4, 0xe0, 0x16, 0x67, 0x42, 0x6f, 0x18, 0x8a, 0x17, 0xe5, 0x12,
    0xbe, 0x4e, 0xc4, 0xd6, 0xda, 0x9e, 0xde, 0x49, 0xa0, 0xfb, 0xf5, 0x8e, 0xbb, 0x2f, 0xee, 0x7a,
    0xa9, 0x68, 0x79, 0x91, 0x15, 0xb2, 0x07, 0x3f, 0x94, 0xc2, 0x10, 0x89, 0x0b, 0x22, 0x5f, 0x21,
    0x80, 0x7f, 0x5d, 0x9a, 0x5a, 0x90, 0x32, 0x27, 0x35, 0x3e, 0xcc, 0xe7, 0xbf, 0xf7, 0x97, 0x03,
    0xff, 0x19, 0x30, 0xb3, 0x48, 0xa5, 0xb5, 0xd1, 0xd7, 0x5e, 0x92, 0x2a, 0xac, 0x56, 0xaa, 0xc6,
    0x4f, 0xb8, 0x38, 0xd2, 0x96, 0xa4, 0x7d, 0xb6, 0x76, 0xfc, 0x6b, 0xe2, 0x9c, 0x74, 0x04, 0xf1,
    0x45, 0x9d, 0x70, 0x59, 0x64, 0x71, 0x87, 0x20, 0x86, 0x5b, 0xcf, 0x65, 0xe6, 0x2d, 0xa8, 0x02,
    0x1b, 0x60, 0x25, 0xad, 0xae, 0xb0, 0xb9, 0xf6, 0x1c, 0x46, 0x61, 0x69, 0x34, 0x40, 0x7e, 0x0f,
    0x55, 0x47, 0xa3, 0x23, 0xdd, 0x51, 0xaf, 0x3a, 0xc3, 0x5c, 0xf9, 0xce, 0xba, 0xc5, 0xea, 0x26,
    0x2c, 0x53, 0x0d, 0x6e, 0x85, 0x28, 0x84, 0x09, 0xd3, 0xdf, 0xcd, 0xf4, 0x41, 0x81, 0x4d, 0x52,
    0x6a, 0xdc, 0x37, 0xc8, 0x6c, 0xc1, 0xab, 0xfa, 0x24, 0xe1, 0x7b, 0x08, 0x0c, 0xbd, 0xb1, 0x4a,
    0x78, 0x88, 0x95, 0x8b, 0xe3, 0x63, 0xe8, 0x6d, 0xe9, 0xcb, 0xd5, 0xfe, 0x3b, 0x00, 0x1d, 0x39,
    0xf2, 0xef, 0xb7, 0x0e, 0x66, 0x58, 0xd0, 0xe4, 0xa6, 0x77, 0x72, 0xf8, 0xeb, 0x75, 0x4b, 0x0a,
    0x31, 0x44, 0x50, 0xb4, 0x8f, 0xed, 0x1f, 0x1a, 0xdb, 0x99, 0x8d, 0x33, 0x9f, 0x11, 0x83, 0x14,
];

const BLOCK: usize = 16;

/// The fixed key.
const KEY: [u8; BLOCK] =
    [0x14, 0x6A, 0xDD, 0xAE, 0x53, 0xA9, 0xA7, 0x52, 0xAA, 0x08, 0x41, 0x36, 0x0B, 0xF5, 0x5A, 0x9F];

fn pi(index: u8) -> u8 {
    PI[usize::from(index)]
}

struct Md2 {
    state: [u8; 3 * BLOCK],
    checksum: [u8; BLOCK],
    last: u8,
    pending: Vec<u8>,
}

impl Md2 {
    fn new() -> Md2 {
        Md2 { state: [0; 3 * BLOCK], checksum: [0; BLOCK], last: 0, pending: Vec::with_capacity(BLOCK) }
    }

    fn mix(&mut self, block: &[u8; BLOCK]) {
        for (i, byte) in block.iter().enumerate() {
            self.state[BLOCK + i] = *byte;
            self.state[2 * BLOCK + i] = self.state[i] ^ *byte;
        }
        let mut t = 0u8;
        for round in 0..18u8 {
            for byte in &mut self.state {
                *byte ^= pi(t);
                t = *byte;
            }
            t = t.wrapping_add(round);
        }
    }

    fn feed(&mut self, data: &[u8]) {
        for byte in data {
            self.pending.push(*byte);
            if let Ok(block) = <[u8; BLOCK]>::try_from(self.pending.as_slice()) {
                for (sum, byte) in self.checksum.iter_mut().zip(block) {
                    *sum ^= pi(byte ^ self.last);
                    self.last = *sum;
                }
                self.mix(&block);
                self.pending.clear();
            }
        }
    }

    fn digest(mut self) -> [u8; BLOCK] {
        let missing = BLOCK - self.pending.len();
        self.feed(&[missing as u8; BLOCK][..missing]);
        let checksum = self.checksum;
        self.mix(&checksum);
        let mut digest = [0; BLOCK];
        digest.copy_from_slice(&self.state[..BLOCK]);
        digest
    }
}

fn hmac(message: &[u8]) -> [u8; BLOCK] {
    let mut inner = Md2::new();
    inner.feed(&KEY.map(|byte| byte ^ 0x36));
    inner.feed(message);
    let mut outer = Md2::new();
    outer.feed(&KEY.map(|byte| byte ^ 0x5c));
    outer.feed(&inner.digest());
    outer.digest()
}

/// What is asked.
pub struct Question {
    /// `CUDART_VERSION`, plus 0, 1 or 2.
    pub version: u32,
    /// What cuDriverGetVersion answers.
    pub driver_version: u32,
    /// Process id.
    pub process: u32,
    /// Low half of pthread_self.
    pub thread: u32,
    /// Address of table 6bd5fb6c.
    pub cudart_table: u64,
    /// Address of table d4082055.
    pub integrity_table: u64,
    /// Address of its entry 1.
    pub entry: u64,
    /// Seconds since 1970, as the asker says.
    pub seconds: u64,
}

/// One device: its uuid, and PCI domain, bus and device.
pub struct Device(pub [u8; 16], pub [i32; 3]);

/// The answer.
#[must_use]
pub fn answer(question: &Question, devices: impl Iterator<Item = Device>) -> [u64; 2] {
    match question.version % 10 {
        0 => return [0x3341_181C_03CB_675C, 0x8ED3_83AA_1F4C_D1E8],
        1 => return [0x1841_181C_03CB_675C, 0x8ED3_83AA_1F4C_D1E8],
        _ => {}
    }
    let mut message = Vec::with_capacity(256);
    for word in [question.driver_version, question.version, question.process, question.thread] {
        message.extend(word.to_le_bytes());
    }
    for word in [question.cudart_table, question.integrity_table, question.entry, question.seconds] {
        message.extend(word.to_le_bytes());
    }
    for Device(uuid, place) in devices {
        message.extend(uuid);
        message.extend(place.iter().flat_map(|number| number.to_le_bytes()));
    }
    let digest = u128::from_le_bytes(hmac(&message));
    [digest as u64, (digest >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn md2(text: &[u8]) -> u128 {
        let mut hash = Md2::new();
        hash.feed(text);
        u128::from_be_bytes(hash.digest())
    }

    #[test]
    fn md2_when_given_the_examples_of_rfc_1319_then_gives_its_digests() {
        assert_eq!(md2(b""), 0x8350_e5a3_e24c_153d_f227_5c9f_8069_2773);
        assert_eq!(md2(b"abc"), 0xda85_3b0d_3f88_d99b_3028_3a69_e6de_d6bb);
        assert_eq!(md2(b"abcdefghijklmnopqrstuvwxyz"), 0x4e8d_dff3_6502_92ab_5a41_08c3_aa47_940b);
    }
}
