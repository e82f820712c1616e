//! Memory fills.

use crate::copy::{Side, device_side};
use crate::driver;
use crate::export::cuda;
use crate::handle::Handle;
use crate::op::{Fill, Op};
use crate::status::{Answer, Status};
use crate::stream::{self, Stream};

/// A checked fill of rows; `None` if there is nothing to do.
pub fn rows(address: u64, pitch: u64, value: u32, size: u32, width: u64, height: u64) -> Answer<Option<(Fill, Side)>> {
    if width == 0 || height == 0 {
        return Ok(None);
    }
    if !matches!(size, 1 | 2 | 4) || !address.is_multiple_of(u64::from(size)) {
        return Err(Status::INVALID_VALUE);
    }
    let row = width.checked_mul(u64::from(size)).ok_or(Status::INVALID_VALUE)?;
    if height > 1 && (pitch < row || !pitch.is_multiple_of(u64::from(size))) {
        return Err(Status::INVALID_VALUE);
    }
    let all = pitch.checked_mul(height - 1).and_then(|n| n.checked_add(row)).ok_or(Status::INVALID_VALUE)?;
    let side = device_side(address, all)?;
    Ok(Some((Fill { address, pitch, value, size, width, height }, side)))
}

fn fill(stream: Handle<Stream>, fill: Answer<Option<(Fill, Side)>>, wait: bool) -> Answer {
    let stream = stream::resolve(stream)?;
    stream.context.check()?;
    match fill? {
        None => Ok(()),
        // The blocking calls refuse what a kernel of the device could not write.
        Some((fill, _)) if wait && !driver::arena()?.reaches(stream.context.device, fill.address) => {
            Err(Status::INVALID_VALUE)
        }
        // The blocking calls wait only where the host could tell the difference.
        Some((fill, Side::Pinned)) if wait => stream.perform(Op::Fill(fill)),
        Some((fill, _)) => stream.submit(Op::Fill(fill)),
    }
}

fn flat(address: u64, value: u32, size: u32, count: u64) -> Answer<Option<(Fill, Side)>> {
    rows(address, 0, value, size, count, 1)
}

cuda! {
    fn cuMemsetD8_v2 | cuMemsetD8_v2_ptds (to: u64, value: u8, count: u64) {
        fill(Handle::NULL, flat(to, u32::from(value), 1, count), true)
    }

    fn cuMemsetD16_v2 | cuMemsetD16_v2_ptds (to: u64, value: u16, count: u64) {
        fill(Handle::NULL, flat(to, u32::from(value), 2, count), true)
    }

    fn cuMemsetD32_v2 | cuMemsetD32_v2_ptds (to: u64, value: u32, count: u64) {
        fill(Handle::NULL, flat(to, value, 4, count), true)
    }

    fn cuMemsetD2D8_v2 | cuMemsetD2D8_v2_ptds (to: u64, pitch: u64, value: u8, width: u64, height: u64) {
        fill(Handle::NULL, rows(to, pitch, u32::from(value), 1, width, height), true)
    }

    fn cuMemsetD2D16_v2 | cuMemsetD2D16_v2_ptds (to: u64, pitch: u64, value: u16, width: u64, height: u64) {
        fill(Handle::NULL, rows(to, pitch, u32::from(value), 2, width, height), true)
    }

    fn cuMemsetD2D32_v2 | cuMemsetD2D32_v2_ptds (to: u64, pitch: u64, value: u32, width: u64, height: u64) {
        fill(Handle::NULL, rows(to, pitch, value, 4, width, height), true)
    }

    fn cuMemsetD8Async | cuMemsetD8Async_ptsz (to: u64, value: u8, count: u64, stream: Handle<Stream>) {
        fill(stream, flat(to, u32::from(value), 1, count), false)
    }

    fn cuMemsetD16Async | cuMemsetD16Async_ptsz (to: u64, value: u16, count: u64, stream: Handle<Stream>) {
        fill(stream, flat(to, u32::from(value), 2, count), false)
    }

    fn cuMemsetD32Async | cuMemsetD32Async_ptsz (to: u64, value: u32, count: u64, stream: Handle<Stream>) {
        fill(stream, flat(to, value, 4, count), false)
    }

    fn cuMemsetD2D8Async | cuMemsetD2D8Async_ptsz (
        to: u64, pitch: u64, value: u8, width: u64, height: u64, stream: Handle<Stream>,
    ) {
        fill(stream, rows(to, pitch, u32::from(value), 1, width, height), false)
    }

    fn cuMemsetD2D16Async | cuMemsetD2D16Async_ptsz (
        to: u64, pitch: u64, value: u16, width: u64, height: u64, stream: Handle<Stream>,
    ) {
        fill(stream, rows(to, pitch, u32::from(value), 2, width, height), false)
    }

    fn cuMemsetD2D32Async | cuMemsetD2D32Async_ptsz (
        to: u64, pitch: u64, value: u32, width: u64, height: u64, stream: Handle<Stream>,
    ) {
        fill(stream, rows(to, pitch, value, 4, width, height), false)
    }
}
