//! Which devices there are, and how the program finds one: by number, UUID or address on the bus.

use crate::caller::{self, enter};
use crate::generated::{SHAPE_PCI_INFO, kind, send};
use crate::handles::{self, index_of, of_index};
use crate::init::device_count;
use crate::nvmlReturn_t;
use crate::program::{Out, Text};
use crate::shape::{PCI_INFO_BYTES, PCI_INFO_OLD_BYTES, fill};
use crate::status::{NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_NOT_FOUND, NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_UNKNOWN};
use core::ffi::{CStr, c_void};
use rt::Buffer;

/// Room for a UUID as text (NVML_DEVICE_UUID_V2_BUFFER_SIZE).
const UUID_BYTES: usize = 96;
/// Where the address on the bus stands as text in the structure of nvmlDeviceGetPciInfo_v3.
const BUS_ID: usize = 36;

fn uuid(index: u32) -> Result<[u8; UUID_BYTES], nvmlReturn_t> {
    let caller = enter()?;
    let device = handles::check(kind::nvmlDevice_t, of_index(index))?;
    let mut text = [0; UUID_BYTES];
    let buffer = Buffer::Reply { bytes: UUID_BYTES as u64 };
    caller::answer(send::nvmlDeviceGetUUID(&caller, device, buffer, &mut text))?;
    Ok(text)
}

/// An address on the bus as numbers: domain, bus, device. Text has the domain with 4 or 8 digits, or not at all.
fn address(text: &[u8]) -> Option<[u32; 3]> {
    let text = core::str::from_utf8(text).ok()?;
    let place = text.rsplit_once('.').map_or(text, |(place, _)| place);
    let parts: Vec<u32> = place.split(':').map(|part| u32::from_str_radix(part, 16).ok()).collect::<Option<_>>()?;
    match parts[..] {
        [bus, device] => Some([0, bus, device]),
        [domain, bus, device] => Some([domain, bus, device]),
        _ => None,
    }
}

fn bus_address(index: u32) -> Result<Option<[u32; 3]>, nvmlReturn_t> {
    let found = fill(of_index(index), SHAPE_PCI_INFO, &[0; PCI_INFO_BYTES])?;
    let text = found.get(BUS_ID..).and_then(|text| CStr::from_bytes_until_nul(text).ok());
    Ok(text.and_then(|text| address(text.to_bytes())))
}

/// The first device of which `fits` holds.
fn find(fits: impl Fn(u32) -> Result<bool, nvmlReturn_t>) -> Result<*mut c_void, nvmlReturn_t> {
    for index in 0..device_count() {
        if fits(index)? {
            return Ok(of_index(index));
        }
    }
    Err(NVML_ERROR_NOT_FOUND)
}

fn by_bus_id(pciBusId: Text, device: Out<*mut c_void>) -> Result<(), nvmlReturn_t> {
    device.check()?;
    let wanted = address(pciBusId.get()?.to_bytes()).ok_or(NVML_ERROR_INVALID_ARGUMENT)?;
    device.set(find(|index| Ok(bus_address(index)? == Some(wanted)))?)
}

/// Fills the structure of the older nvmlDeviceGetPciInfo, which lacks the long text.
fn old_pci_info(device: *mut c_void, pci: Out<[u8; PCI_INFO_OLD_BYTES]>) -> Result<(), nvmlReturn_t> {
    pci.check()?;
    pci.set(without_long_text(&fill(device, SHAPE_PCI_INFO, &[0; PCI_INFO_BYTES])?))
}

fn without_long_text(found: &[u8]) -> [u8; PCI_INFO_OLD_BYTES] {
    let mut old = [0; PCI_INFO_OLD_BYTES];
    let kept = BUS_ID.min(found.len());
    old[..kept].copy_from_slice(&found[..kept]);
    old
}

/// The address of what is at the other end of a link.
fn remote(device: *mut c_void, link: u32) -> Result<[u8; PCI_INFO_BYTES], nvmlReturn_t> {
    let caller = enter()?;
    let device = handles::check(kind::nvmlDevice_t, device)?;
    let mut found = Vec::new();
    caller::answer(send::gpuferryNvLinkRemote(&caller, device, link, &mut found))?;
    found.try_into().map_err(|_| NVML_ERROR_UNKNOWN)
}

crate::export! {
    /// NVML API Reference, nvmlDeviceGetCount_v2.
    extern "C" fn nvmlDeviceGetCount_v2 | extern "C" fn nvmlDeviceGetCount(count: Out<u32>) {
        enter()?;
        count.set(device_count())
    }

    /// NVML API Reference, nvmlDeviceGetHandleByIndex_v2.
    extern "C" fn nvmlDeviceGetHandleByIndex_v2 | extern "C" fn nvmlDeviceGetHandleByIndex(
        index: u32,
        device: Out<*mut c_void>,
    ) {
        enter()?;
        if index >= device_count() {
            return Err(NVML_ERROR_INVALID_ARGUMENT);
        }
        device.set(of_index(index))
    }

    /// NVML API Reference, nvmlDeviceGetHandleByUUID.
    extern "C" fn nvmlDeviceGetHandleByUUID(wanted: Text, device: Out<*mut c_void>) {
        enter()?;
        device.check()?;
        let wanted = wanted.get()?;
        device.set(find(|index| Ok(CStr::from_bytes_until_nul(&uuid(index)?).is_ok_and(|found| found == wanted)))?)
    }

    /// NVML API Reference, nvmlDeviceGetHandleByPciBusId_v2.
    extern "C" fn nvmlDeviceGetHandleByPciBusId_v2 | extern "C" fn nvmlDeviceGetHandleByPciBusId(
        pciBusId: Text,
        device: Out<*mut c_void>,
    ) {
        enter()?;
        by_bus_id(pciBusId, device)
    }

    /// NVML API Reference, nvmlDeviceGetIndex.
    extern "C" fn nvmlDeviceGetIndex(device: *mut c_void, index: Out<u32>) {
        enter()?;
        index.check()?;
        index.set(index_of(device).ok_or(NVML_ERROR_INVALID_ARGUMENT)?)
    }

    /// NVML API Reference, nvmlDeviceGetPciInfo_v2.
    extern "C" fn nvmlDeviceGetPciInfo_v2 | extern "C" fn nvmlDeviceGetPciInfo(
        device: *mut c_void,
        pci: Out<[u8; PCI_INFO_OLD_BYTES]>,
    ) {
        old_pci_info(device, pci)
    }

    /// NVML API Reference, nvmlDeviceGetNvLinkRemotePciInfo_v2.
    extern "C" fn nvmlDeviceGetNvLinkRemotePciInfo_v2(
        device: *mut c_void,
        link: u32,
        pci: Out<[u8; PCI_INFO_BYTES]>,
    ) {
        enter()?;
        pci.check()?;
        pci.set(remote(device, link)?)
    }

    /// NVML API Reference, nvmlDeviceGetNvLinkRemotePciInfo, of before version 2.
    extern "C" fn nvmlDeviceGetNvLinkRemotePciInfo(
        device: *mut c_void,
        link: u32,
        pci: Out<[u8; PCI_INFO_OLD_BYTES]>,
    ) {
        enter()?;
        pci.check()?;
        pci.set(without_long_text(&remote(device, link)?))
    }

    /// NVML API Reference, nvmlDeviceIsMigDeviceHandle: none of ours is one.
    extern "C" fn nvmlDeviceIsMigDeviceHandle(device: *mut c_void, isMigDevice: Out<u32>) {
        enter()?;
        isMigDevice.check()?;
        index_of(device).ok_or(NVML_ERROR_INVALID_ARGUMENT)?;
        isMigDevice.set(0)
    }

    /// NVML API Reference, nvmlDeviceGetAPIRestriction: nothing that changes the card is open to the guest.
    extern "C" fn nvmlDeviceGetAPIRestriction(device: *mut c_void, apiType: u32, isRestricted: Out<u32>) {
        enter()?;
        isRestricted.check()?;
        index_of(device).ok_or(NVML_ERROR_INVALID_ARGUMENT)?;
        if apiType > 1 {
            return Err(NVML_ERROR_NOT_SUPPORTED);
        }
        isRestricted.set(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_when_written_short_or_long_then_is_the_same_place() {
        assert_eq!(address(b"00000000:3B:00.0"), Some([0, 0x3b, 0]));
        assert_eq!(address(b"0000:3b:00.0"), Some([0, 0x3b, 0]));
        assert_eq!(address(b"3b:00"), Some([0, 0x3b, 0]));
        assert_eq!(address(b"somewhere"), None);
    }
}
