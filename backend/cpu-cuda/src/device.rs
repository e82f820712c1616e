//! The devices: their name, limits and attributes, which are the same but for the place on the bus and the UUID.
//!
//! It describes itself as a GPU of the capability it is set to, as far as programs plan by it, and honestly where they
//! would otherwise do something that fails here: no external memory, memory shared with the host.

#[allow(deprecated, reason = "see uuid_on")]
use std::hash::{Hasher, SipHasher};

use crate::driver;
use crate::engine;
use crate::status::{Answer, Status};

/// Most blocks along x, y, z.
pub const MAX_GRID: [u32; 3] = [0x7fff_ffff, 65_535, 65_535];
/// Most threads of a block along x, y, z.
pub const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];
/// Most blocks of a cluster.
pub const MAX_CLUSTER: u32 = 8;
/// Threads a multiprocessor holds.
pub const THREADS_PER_PROCESSOR: u32 = 1024;
/// Blocks a multiprocessor holds.
pub const BLOCKS_PER_PROCESSOR: u32 = 16;
/// Registers of a multiprocessor.
pub const REGISTERS: u32 = 65_536;
/// Alignment that 2D textures over linear memory need of their rows.
pub const TEXTURE_PITCH: u64 = 32;
/// Rows of cuMemAllocPitch are multiples of this.
pub const PITCH: u64 = 512;
/// Name of the device.
pub const NAME: &str = "gpuferry CPU device";

/// Refuses every device number but ours; before cuInit there is one.
pub fn check(device: i32) -> Answer {
    number(device).map(drop)
}

/// A device's number, checked.
pub fn number(device: i32) -> Answer<u8> {
    u8::try_from(device).ok().filter(|device| *device < count()).ok_or(Status::INVALID_DEVICE)
}

/// How many devices there are.
pub fn count() -> u8 {
    driver::initialised().map_or(1, |driver| driver.devices)
}

/// PCI domain, bus and device that a device gives; no such device need exist.
pub fn pci(device: i32) -> [i32; 3] {
    [0, 0, device]
}

/// The compute capability as (major, minor).
pub fn capability() -> Answer<(i32, i32)> {
    let capability = driver::initialised()?.capability;
    Ok(((capability / 10) as i32, (capability % 10) as i32))
}

/// Shared memory of a multiprocessor in bytes.
pub fn shared_per_processor() -> u32 {
    shared_per_block_optin() + if driver::initialised().is_ok_and(|driver| driver.capability >= 80) { 1024 } else { 0 }
}

/// Most shared memory a block can ask for, in bytes, by capability.
pub fn shared_per_block_optin() -> u32 {
    let capability = driver::initialised().map_or(0, |driver| driver.capability);
    let kib = match capability {
        ..70 => 48,
        70..75 => 96,
        75..80 => 64,
        80 => 163,
        81..87 | 88 | 89 => 99,
        87 => 163,
        90..120 => 227,
        _ => 99,
    };
    (kib << 10).min(engine::MAX_SHARED_BYTES)
}

/// 16 bytes that name a device: the same in every process of a host.
pub fn uuid(device: i32) -> [u8; 16] {
    uuid_on(&std::fs::read_to_string("/etc/machine-id").unwrap_or_default(), device)
}

/// Made from the machine's own number, 32 hexadecimal digits, which nobody can find from it: it is not for others (machine-id(5)),
/// and the device may be a guest's.
fn uuid_on(machine: &str, device: i32) -> [u8; 16] {
    let machine = machine.get(..32).and_then(|digits| u128::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let half = |number: u8| {
        // SipHash under a secret key: what it gives tells nothing of the key.
        #[allow(deprecated, reason = "the standard library's other hashers take no key")]
        let mut hasher = SipHasher::new_with_keys(machine as u64, (machine >> 64) as u64);
        hasher.write(b"gpuferry CPU device");
        hasher.write_i32(device);
        hasher.write_u8(number);
        u128::from(hasher.finish())
    };
    (half(0) | half(1) << 64).to_le_bytes()
}

/// "0000:00:00.0".
pub fn pci_text(device: i32) -> String {
    let [domain, bus, device] = pci(device);
    format!("{domain:04X}:{bus:02X}:{device:02X}.0")
}

/// An attribute of the way between two devices (CUdevice_P2PAttribute): memory is reached, also by atomic operations and in
/// arrays, and no way is better than another.
pub fn peer_attribute(number: u32) -> Answer<i32> {
    match number {
        2..=4 => Ok(1),
        1 | 5 => Ok(0),
        _ => Err(Status::INVALID_VALUE),
    }
}

/// The value of a CUdevice_attribute.
pub fn attribute(device: i32, number: u32) -> Answer<i32> {
    let driver = driver::initialised()?;
    let (major, minor) = capability()?;
    let clipped = |bytes: u64| i32::try_from(bytes).unwrap_or(i32::MAX);
    Ok(match number {
        // Threads, blocks and grids.
        1 => engine::MAX_BLOCK_THREADS as i32,
        2..=4 => MAX_BLOCK[number as usize - 2] as i32,
        5..=7 => MAX_GRID[number as usize - 5] as i32,
        10 => engine::WARP_SIZE as i32,
        16 => driver.cores as i32,
        39 => THREADS_PER_PROCESSOR as i32,
        106 => BLOCKS_PER_PROCESSOR as i32,
        // Shared memory, registers, constants, caches.
        8 => crate::module::PLAIN_SHARED as i32,
        81 => shared_per_processor() as i32,
        97 => shared_per_block_optin() as i32,
        111 => i32::from(driver.capability >= 80) * 1024,
        9 => 65_536,
        12 | 82 => REGISTERS as i32,
        38 => 4 << 20,
        79 | 80 => 1,
        108 | 109 => 0,
        // Clocks in kHz, memory bus in bits; nominal.
        13 => 2_000_000,
        36 => 3_200_000,
        37 => 128,
        // Pitch and texture alignment.
        11 => i32::MAX,
        14 | 30 => 512,
        51 => TEXTURE_PITCH as i32,
        // Sizes of textures and surfaces.
        21 | 22 | 23 | 55 | 56 | 57 => 131_072,
        24..=26 | 47..=49 | 58..=60 => 16_384,
        27 | 28 | 42 | 45 | 46 | 52 | 53 | 61 | 63 | 64 | 66 | 67 | 73 | 74 | 77 => 32_768,
        29 | 43 | 62 | 65 => 2048,
        54 | 68 => 2046,
        69 => 1 << 28,
        70 => 131_072,
        71 => 65_000,
        72 => 2_097_120,
        44 => 1,
        // What it can do.
        15 | 31 | 40 | 78 => 1,
        75 => major,
        76 => minor,
        83 | 89 | 101 => 1,
        41 | 19 | 86 | 90 | 91 | 95 | 99 | 113 | 115 => 1,
        92..=94 | 122 | 123 => 1,
        120 => i32::from(major >= 9),
        // Virtual memory management, with file descriptors as shareable handles.
        102 | 103 => 1,
        119 => 0,
        // Host memory and the device's are one.
        18 => 1,
        // Single to double precision throughput.
        87 => 2,
        // Whose values are words of their own.
        33 => pci(device)[1],
        34 => pci(device)[2],
        50 => pci(device)[0],
        126 => 1,
        131 | 134 => -1,
        136 => 0,
        137 => clipped(0),
        // Everything else is absent: timeouts, ECC, pageable access, IPC, external memory, multicast, tensor maps.
        17 | 20 | 32 | 35 | 84 | 85 | 88 | 96 | 98 | 100 | 104 | 105 | 107 | 110 | 112 | 114 | 116..=118 | 121 => 0,
        124 | 125 | 127..=130 | 132 | 133 | 135 | 138..=147 => 0,
        _ => return Err(Status::INVALID_VALUE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_when_machines_have_numbers_of_the_same_digits_then_differs_and_tells_nothing_of_them() {
        let (one, other) = ("0123456789abcdeffedcba9876543210\n", "fedcba98765432100123456789abcdef\n");
        assert_eq!(uuid_on(one, 0), uuid_on(one, 0));
        assert_ne!(uuid_on(one, 0), uuid_on(one, 1));
        assert_ne!(uuid_on(one, 0), uuid_on(other, 0));
        // What adds nothing up where both halves are alike.
        let twice = "0123456789abcdef0123456789abcdef\n";
        assert_ne!(uuid_on(twice, 0), uuid_on(&"a".repeat(32), 0));
        assert_eq!(uuid_on("", 0), uuid_on("no number at all", 0));
    }
}
