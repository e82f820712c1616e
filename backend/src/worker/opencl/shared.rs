//! Memory that the guest shares at one address on both sides: commands read and write it in place.

use std::collections::BTreeMap;
use std::ffi::c_void;

use wire::frame::FrameHeader;

use super::generated::{CL_INVALID_VALUE, CL_OUT_OF_RESOURCES};
use super::{OpenCl, lock};
use crate::worker::answer::Failure;

/// Lengths by address.
#[derive(Default)]
pub struct Shared(BTreeMap<u64, u64>);

impl Shared {
    /// Whether all of a range lies in one that is shared.
    fn contains(&self, address: u64, bytes: u64) -> bool {
        let Some((start, length)) = self.0.range(..=address).next_back() else { return false };
        let inside = address - start;
        inside <= *length && bytes <= length - inside
    }
}

impl OpenCl {
    /// `gpuferryShare`.
    pub(super) fn gpuferryShare(
        &self,
        _from: &FrameHeader,
        lease: u32,
        address: u64,
        bytes: u64,
    ) -> Result<(), Failure> {
        match self.session.memory().map_at(lease, address, bytes) {
            Ok(_) => {
                lock(&self.shared).0.insert(address, bytes);
                Ok(())
            }
            Err(error) => {
                log::debug!("session {}: sharing {bytes} bytes at {address:#x}: {error}", self.session.number());
                Err(Failure::Status(CL_OUT_OF_RESOURCES))
            }
        }
    }

    /// `gpuferryUnshare`.
    pub(super) fn gpuferryUnshare(&self, _from: &FrameHeader, address: u64) -> Result<(), Failure> {
        let was = lock(&self.shared).0.remove(&address).is_some();
        if was && self.session.memory().unmap(address) { Ok(()) } else { Err(Failure::Status(CL_INVALID_VALUE)) }
    }

    /// The guest's memory at an address, which the guest shares whole.
    pub(super) fn shared_at(&self, address: u64, bytes: u64) -> Result<*mut c_void, Failure> {
        if !lock(&self.shared).contains(address, bytes) {
            return Err(Failure::Status(CL_INVALID_VALUE));
        }
        let address = usize::try_from(address).map_err(|_| Failure::Status(CL_INVALID_VALUE))?;
        Ok(std::ptr::with_exposed_provenance_mut(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_when_a_byte_lies_outside_then_is_false() {
        let shared = Shared(BTreeMap::from([(0x1000, 0x1000), (0x3000, 0x10)]));
        assert!(shared.contains(0x1000, 0x1000));
        assert!(shared.contains(0x2000, 0));
        assert!(shared.contains(0x300f, 1));
        for (address, bytes) in
            [(0xfff, 1), (0x1000, 0x1001), (0x1fff, 2), (0x3000, 0x11), (0x1001, u64::MAX), (u64::MAX, 1)]
        {
            assert!(!shared.contains(address, bytes), "{address:#x} {bytes:#x}");
        }
    }
}
