//! What the fuzz targets of `tests/fuzz` call: every printed sender by its number, and what reads a reply's bytes by hand.

#![allow(missing_docs, clippy::all)] // as in `generated`

use crate::CUresult;
use crate::caller::Caller;
use crate::device::Device;
use crate::function::Layout;
use crate::generated::*;
use wire::handle::Handle;
use wire::payload::{Buffer, Reader};

include!(concat!(env!("OUT_DIR"), "/cuda_any.rs"));

/// Takes `data` for what the host says of a device and of a function.
pub fn facts(data: &[u8]) {
    if let Ok(device) = Device::read(data) {
        std::hint::black_box((device.pci(), device.attribute(1).is_ok()));
    }
    if let Ok(layout) = Layout::read(&mut Reader::new(data)) {
        assert!(layout.parameters.iter().all(|p| (p.offset as usize + p.bytes as usize) <= layout.parameter_bytes));
    }
}
