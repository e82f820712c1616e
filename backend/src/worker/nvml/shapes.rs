//! Structures that a function of the library fills: copied into memory larger than any of them, filled there, and copied back.

use std::ffi::c_void;

use wire::frame::FrameHeader;

use super::Nvml;
use super::generated::{
    NVML_ERROR_ARGUMENT_VERSION_MISMATCH, NVML_ERROR_INVALID_ARGUMENT, SHAPE_ADDRESSING_MODE, SHAPE_C2C_MODE,
    SHAPE_CAPABILITIES, SHAPE_CLOCK_FREQUENCIES, SHAPE_CLOCK_OFFSETS, SHAPE_COOLER, SHAPE_FABRIC_INFO,
    SHAPE_FIELD_VALUES, SHAPE_GSP_VERSION, SHAPE_MARGIN_TEMPERATURE, SHAPE_MEMORY_V2, SHAPE_PCI_INFO,
    SHAPE_PCI_INFO_EXT, SHAPE_PERFORMANCE_MODES, SHAPE_PSTATES, SHAPE_REPAIR_STATUS, SHAPE_ROW_REMAPPER,
    SHAPE_SRAM_ECC, SHAPE_SUPPORTED_STATES, SHAPE_TEMPERATURE,
};
use crate::worker::answer::{Failure, function, ok};

/// Larger than any structure of the API that has a size of its own.
const ROOM: usize = 65_536;
/// Largest that comes back in a reply.
const MAX_BYTES: usize = 4000;
/// Size of an address on the bus (nvmlPciInfo_t).
const PCI_INFO_BYTES: usize = 68;
/// Size of a value of nvmlDeviceGetFieldValues (nvmlFieldValue_t).
const FIELD_BYTES: usize = 40;
/// Size of the structure of nvmlDeviceGetMemoryInfo_v2.
const MEMORY_BYTES: usize = 40;
/// The size that a version says.
const SIZE: u32 = 0xFF_FFFF;

/// Memory for a structure, aligned for any.
#[repr(C, align(16))]
struct Room([u8; ROOM]);

/// How large a structure is.
enum Size {
    /// As its version says, which stands first in it.
    Versioned,
    /// Always this.
    Fixed(usize),
    /// A whole number of these.
    Array(usize),
}

type Fill = Option<unsafe extern "C" fn(*mut c_void, *mut c_void) -> i32>;

impl Nvml {
    /// The function that fills a structure, its name, and the structure's size.
    fn shape(&self, which: u32) -> Option<(Fill, &'static str, Size)> {
        macro_rules! shapes {
            ($($number:ident: $name:ident, $size:expr;)*) => {
                match which {
                    $($number => Some((self.library.$name, stringify!($name), $size)),)*
                    _ => None,
                }
            };
        }
        shapes! {
            SHAPE_PCI_INFO: nvmlDeviceGetPciInfo_v3, Size::Fixed(PCI_INFO_BYTES);
            SHAPE_MEMORY_V2: nvmlDeviceGetMemoryInfo_v2, Size::Versioned;
            SHAPE_PCI_INFO_EXT: nvmlDeviceGetPciInfoExt, Size::Versioned;
            SHAPE_FABRIC_INFO: nvmlDeviceGetGpuFabricInfoV, Size::Versioned;
            SHAPE_C2C_MODE: nvmlDeviceGetC2cModeInfoV, Size::Fixed(4);
            SHAPE_TEMPERATURE: nvmlDeviceGetTemperatureV, Size::Versioned;
            SHAPE_MARGIN_TEMPERATURE: nvmlDeviceGetMarginTemperature, Size::Versioned;
            SHAPE_COOLER: nvmlDeviceGetCoolerInfo, Size::Versioned;
            SHAPE_CLOCK_OFFSETS: nvmlDeviceGetClockOffsets, Size::Versioned;
            SHAPE_PERFORMANCE_MODES: nvmlDeviceGetPerformanceModes, Size::Versioned;
            SHAPE_CLOCK_FREQUENCIES: nvmlDeviceGetCurrentClockFreqs, Size::Versioned;
            SHAPE_ADDRESSING_MODE: nvmlDeviceGetAddressingMode, Size::Versioned;
            SHAPE_REPAIR_STATUS: nvmlDeviceGetRepairStatus, Size::Versioned;
            SHAPE_SRAM_ECC: nvmlDeviceGetSramEccErrorStatus, Size::Versioned;
            SHAPE_CAPABILITIES: nvmlDeviceGetCapabilities, Size::Versioned;
            SHAPE_ROW_REMAPPER: nvmlDeviceGetRowRemapperHistogram, Size::Fixed(20);
            SHAPE_PSTATES: nvmlDeviceGetDynamicPstatesInfo, Size::Fixed(132);
            SHAPE_GSP_VERSION: nvmlDeviceGetGspFirmwareVersion, Size::Fixed(64);
        }
    }

    pub(super) fn gpuferryShape(
        &self,
        _from: &FrameHeader,
        device: *mut c_void,
        which: u32,
        given: &[u8],
        found: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let invalid = Failure::Status(NVML_ERROR_INVALID_ARGUMENT);
        if given.is_empty() || given.len() > MAX_BYTES {
            return Err(invalid);
        }
        let mut room = Box::new(Room([0; ROOM]));
        room.0.iter_mut().zip(given).for_each(|(place, byte)| *place = *byte);
        let place = room.0.as_mut_ptr().cast::<c_void>();
        let status = match which {
            SHAPE_FIELD_VALUES => {
                fits(&Size::Array(FIELD_BYTES), given)?;
                let call = function!(self, nvmlDeviceGetFieldValues)?;
                let count = (given.len() / FIELD_BYTES) as i32;
                // SAFETY: the prototype is the spec's; the device is the library's, and the room holds `count` values and more.
                unsafe { call(device, count, place) }
            }
            SHAPE_SUPPORTED_STATES => {
                fits(&Size::Array(size_of::<u32>()), given)?;
                let call = function!(self, nvmlDeviceGetSupportedPerformanceStates)?;
                // SAFETY: as above, for that many bytes.
                unsafe { call(device, place, given.len() as u32) }
            }
            _ => {
                let (call, name, size) = self.shape(which).ok_or(invalid)?;
                fits(&size, given)?;
                let call = call.ok_or_else(|| self.missing(name))?;
                // SAFETY: as above; the room is larger than every structure of the API.
                unsafe { call(device, place) }
            }
        };
        ok(status)?;
        found.extend(room.0.iter().take(given.len()));
        if which == SHAPE_MEMORY_V2 {
            self.limit_memory(found);
        }
        Ok(())
    }

    pub(super) fn gpuferryNvLinkRemote(
        &self,
        _from: &FrameHeader,
        device: *mut c_void,
        link: u32,
        found: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let call = function!(self, nvmlDeviceGetNvLinkRemotePciInfo_v2)?;
        let mut room = Box::new(Room([0; ROOM]));
        // SAFETY: the prototype is the spec's; the device is the library's, and the room is larger than the structure.
        ok(unsafe { call(device, link, room.0.as_mut_ptr().cast()) })?;
        found.extend(room.0.iter().take(PCI_INFO_BYTES));
        Ok(())
    }

    /// Where the guest has a limit, that is the device's memory, and what its processes hold is what is used of it.
    fn limit_memory(&self, found: &mut [u8]) {
        let Some((limit, held)) = self.session.account().and_then(|one| Some((one.limit()?, one.used()))) else {
            return;
        };
        let words = limited(memory_words(found), limit, held);
        let places = found.iter_mut().skip(MEMORY_BYTES - size_of_val(&words));
        places.zip(words.iter().flat_map(|word| word.to_le_bytes())).for_each(|(place, byte)| *place = byte);
    }
}

/// What nvmlDeviceGetMemoryInfo_v2 is asked with: version 2 of its structure, which begins with the version and a gap.
pub(super) fn memory_request() -> [u8; MEMORY_BYTES] {
    let mut request = [0; MEMORY_BYTES];
    request[..4].copy_from_slice(&(2 << 24 | MEMORY_BYTES as u32).to_le_bytes());
    request
}

/// Total, reserved, free and used bytes in that structure.
pub(super) fn memory_words(found: &[u8]) -> [u64; 4] {
    [1, 2, 3, 4].map(|place| {
        found.get(8 * place..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
    })
}

/// The same where a guest may have `limit` bytes, of which it holds `held`.
fn limited([total, reserved, free, used]: [u64; 4], limit: u64, held: u64) -> [u64; 4] {
    if limit >= total {
        return [total, reserved, free, used];
    }
    let free = free.min(limit.saturating_sub(held));
    [limit, 0, free, limit - free]
}

/// Whether the bytes given are a structure of that size.
fn fits(size: &Size, given: &[u8]) -> Result<(), Failure> {
    let (is_right, wrong) = match size {
        Size::Versioned => {
            let version = given.first_chunk().map_or(0, |version| u32::from_le_bytes(*version));
            ((version & SIZE) as usize == given.len(), NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
        }
        Size::Fixed(bytes) => (given.len() == *bytes, NVML_ERROR_INVALID_ARGUMENT),
        Size::Array(each) => (given.len().is_multiple_of(*each), NVML_ERROR_INVALID_ARGUMENT),
    };
    if is_right { Ok(()) } else { Err(Failure::Status(wrong)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limited_when_the_guest_has_a_limit_then_it_is_the_devices_memory() {
        assert_eq!(limited([100, 5, 60, 35], 50, 20), [50, 0, 30, 20]);
        assert_eq!(limited([100, 5, 10, 85], 50, 20), [50, 0, 10, 40]);
        assert_eq!(limited([100, 5, 60, 35], 500, 20), [100, 5, 60, 35]);
    }

    #[test]
    fn memory_words_when_the_request_is_read_then_are_nothing() {
        assert_eq!(memory_words(&memory_request()), [0; 4]);
        assert!(fits(&Size::Versioned, &memory_request()).is_ok());
    }

    #[test]
    fn fits_when_a_version_lies_about_the_size_then_is_a_mismatch() {
        let honest = [&0x0200_0008_u32.to_le_bytes()[..], &[0; 4]].concat();
        assert!(fits(&Size::Versioned, &honest).is_ok());
        assert!(fits(&Size::Versioned, &honest[..4]).is_err());
        assert!(fits(&Size::Fixed(9), &honest).is_err());
        assert!(fits(&Size::Array(4), &honest).is_ok());
        assert!(fits(&Size::Array(3), &honest).is_err());
    }
}
