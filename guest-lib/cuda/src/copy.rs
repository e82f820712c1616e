//! Copies of one run of bytes. Which message carries a copy follows from what its addresses are, not from the function's name:
//! the device knows device memory and page-locked memory by their addresses; all else is the program's pageable memory, whose
//! bytes travel.
//!
//! A copy from pageable memory that fits the frame is posted where that holds nobody up: the bytes have left the program's memory
//! when the call returns, and the worker copies them before it takes what follows in the ring. Every other copy with a pageable
//! side waits, as it does natively; of a large one the parts in the middle are posted ([`rt::Turn`]).

use crate::CUresult;
use crate::caller::{self, Caller, trouble};
use crate::capture;
use crate::generated::send;
use crate::graph_memory::{self, Owner, Waited, Way};
use crate::handles::Handle;
use crate::managed;
use crate::printed;
use crate::ranges::{self, Kind};
use crate::rows::{Extent, Rows};
use crate::status::CUDA_ERROR_INVALID_VALUE;
use crate::stream;
use core::ffi::c_void;
use rt::{Buffer, Turn};

/// What a side of a copy is said to be by the function's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// Device memory.
    Device,
    /// The program's memory.
    Host,
    /// Nothing is said: unified addresses.
    Nothing,
}

/// What a side of a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Memory that is the device's alone.
    Device,
    /// Memory that program and device both know by this address.
    Shared,
    /// The program's pageable memory.
    Pageable,
}

/// What the memory at an address is.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` where a known range is left.
pub fn side(address: u64, bytes: u64, said: Said) -> Result<Side, CUresult> {
    let Some(range) = ranges::find(address) else {
        return match said {
            // Perhaps memory of a kind that only the host knows: it refuses what is none.
            Said::Device => Ok(Side::Device),
            _ if address == 0 => Err(CUDA_ERROR_INVALID_VALUE),
            _ => Ok(Side::Pageable),
        };
    };
    if bytes > range.bytes - (address - range.start) && range.kind != Kind::Reserved {
        // Registered memory may go on unregistered; the whole is then pageable, if it is the program's at all.
        let is_program = range.kind == Kind::Registered && said != Said::Device;
        return if is_program { Ok(Side::Pageable) } else { Err(CUDA_ERROR_INVALID_VALUE) };
    }
    Ok(if range.kind.is_host() { Side::Shared } else { Side::Device })
}

/// A copy, and the stream it is in, if any.
#[derive(Clone, Copy)]
struct Copy {
    to: u64,
    from: u64,
    bytes: usize,
    stream: Option<Handle>,
}

impl Copy {
    /// Whether parts may be posted: without a stream the worker makes such a copy in the ring, where it may have to wait for the
    /// device, and another thread's calls would wait with it (`design.md` D7).
    fn may_post(&self) -> bool {
        self.stream.is_some() || caller::is_alone()
    }

    fn send_pageable(&self, caller: &Caller) -> CUresult {
        let data = self.from as *const u8;
        // A destination that only the host can judge is waited for, so that its refusal comes with this call.
        let posted = self.may_post() && (self.stream.is_some() || ranges::find(self.to).is_some());
        // SAFETY: the program's memory, good for reading while the exported function runs (CUDA Driver API, cuMemcpy).
        unsafe {
            caller.session.input_parts(data, self.bytes, trouble, |part, offset, turn| {
                let to = self.to + offset as u64;
                let post = turn == Turn::Post && posted;
                match self.stream {
                    Some(stream) if post => send::cuMemcpyHtoDAsync_v2(caller, to, part, stream),
                    Some(stream) => send::gpuferryMemcpyHtoDAsync(caller, to, part, stream),
                    None if post => send::gpuferryMemcpyHtoD(caller, to, part),
                    None => send::cuMemcpyHtoD_v2(caller, to, part),
                }
            })
        }
    }

    fn fetch_pageable(&self, caller: &Caller) -> CUresult {
        let data = self.to as *mut u8;
        let posted = self.may_post();
        // SAFETY: the program's memory, good for writing while the exported function runs (CUDA Driver API, cuMemcpy).
        unsafe {
            caller.session.output_parts(data, self.bytes, trouble, |part: Buffer<'_>, offset, memory, turn| {
                let from = self.from + offset as u64;
                let memory = memory.unwrap_or(&mut []);
                match (part, self.stream) {
                    (Buffer::Staging { offset, bytes }, stream) if turn == Turn::Post && posted => match stream {
                        Some(stream) => {
                            send::gpuferryStageFromDeviceAsync(caller, offset, from, bytes as usize, stream)
                        }
                        None => send::gpuferryStageFromDevice(caller, offset, from, bytes as usize),
                    },
                    (_, Some(stream)) => send::cuMemcpyDtoHAsync_v2(caller, part, memory, from, stream),
                    (_, None) => send::cuMemcpyDtoH_v2(caller, part, memory, from),
                }
            })
        }
    }

    /// Both sides are the program's: done here, after the stream's work.
    fn in_program(&self, caller: &Caller) -> CUresult {
        if let Some(stream) = self.stream {
            let status = send::cuStreamSynchronize(caller, stream);
            if status != 0 {
                return status;
            }
        }
        // SAFETY: the program's memory on both sides (CUDA Driver API, cuMemcpy); it may overlap.
        unsafe { core::ptr::copy(self.from as *const u8, self.to as *mut u8, self.bytes) };
        0
    }

    fn run(&self, said_to: Said, said_from: Said) -> Result<(), CUresult> {
        let caller = caller::enter_context()?;
        let Copy { to, from, bytes, stream } = *self;
        if bytes == 0 {
            return Ok(());
        }
        let sides = (side(to, bytes as u64, said_to)?, side(from, bytes as u64, said_from)?);
        managed::before_work(&caller)?;
        if (sides.0 == Side::Pageable || sides.1 == Side::Pageable)
            && let Some(status) = self.recorded(&caller, sides)
        {
            return caller::answer(status);
        }
        caller::answer(match (sides, stream) {
            ((Side::Pageable, Side::Pageable | Side::Shared) | (Side::Shared, Side::Pageable), _) => {
                self.in_program(&caller)
            }
            ((Side::Pageable, _), _) => self.fetch_pageable(&caller),
            ((_, Side::Pageable), _) => self.send_pageable(&caller),
            (_, Some(stream)) => send::cuMemcpyAsync(&caller, to, from, bytes, stream),
            ((Side::Device, Side::Device), None) => send::cuMemcpyDtoD_v2(&caller, to, from, bytes),
            (_, None) => send::cuMemcpy(&caller, to, from, bytes),
        })?;
        // A copy in a stream is waited for there.
        if stream.is_none() {
            printed::settle(&caller);
            graph_memory::after_wait(&caller, Waited::Event);
            return managed::after_wait(&caller, false);
        }
        Ok(())
    }

    /// A copy in a stream that records, with a pageable side: the memory that stands in for that side is copied, now and whenever
    /// the recording runs. `None` where the stream does not record.
    fn recorded(&self, caller: &Caller, sides: (Side, Side)) -> Option<CUresult> {
        let stream = self.stream.filter(|_| capture::is_any())?;
        let id = capture::recording_of(caller, stream)?;
        let stand_in = |first: u64, way| {
            let rows = Rows { first, pitch: self.bytes, slice_rows: 1 };
            let extent = Extent { width: self.bytes, height: 1, depth: 1 };
            graph_memory::stand_in(caller, Owner::Recording(id), rows, extent, way)
        };
        let to = if sides.0 == Side::Pageable { stand_in(self.to, Way::Out) } else { Ok(self.to) };
        let from = if sides.1 == Side::Pageable { stand_in(self.from, Way::In) } else { Ok(self.from) };
        Some(match (to, from) {
            (Ok(to), Ok(from)) => send::cuMemcpyAsync(caller, to, from, self.bytes, stream),
            (Err(status), _) | (_, Err(status)) => status,
        })
    }
}

/// Sends the program's bytes of a managed variable to the device's at the same address.
///
/// # Errors
/// The copy's trouble.
pub fn send_variable(caller: &Caller, address: u64, bytes: usize) -> Result<(), CUresult> {
    caller::answer(Copy { to: address, from: address, bytes, stream: None }.send_pageable(caller))
}

/// Fetches the device's bytes of a managed variable into the program's at the same address.
///
/// # Errors
/// The copy's trouble.
pub fn fetch_variable(caller: &Caller, address: u64, bytes: usize) -> Result<(), CUresult> {
    caller::answer(Copy { to: address, from: address, bytes, stream: None }.fetch_pageable(caller))
}

fn copy(
    to: u64,
    said_to: Said,
    from: u64,
    said_from: Said,
    bytes: usize,
    stream: Option<Handle>,
) -> Result<(), CUresult> {
    Copy { to, from, bytes, stream }.run(said_to, said_from)
}

/// A copy between any two addresses in a stream, for batches.
///
/// # Errors
/// The copy's.
pub fn in_stream(to: u64, from: u64, bytes: usize, stream: Handle) -> Result<(), CUresult> {
    copy(to, Said::Nothing, from, Said::Nothing, bytes, Some(stream))
}

/// The stream of a `_ptds` function: its caller's own.
fn own() -> Result<Option<Handle>, CUresult> {
    stream::resolve_per_thread(0).map(Some)
}

/// A copy without a stream that is done in the calling thread's own: it ends before the call does.
fn copy_in_own(to: u64, said_to: Said, from: u64, said_from: Said, bytes: usize) -> Result<(), CUresult> {
    let stream = own()?;
    copy(to, said_to, from, said_from, bytes, stream)?;
    match (stream, said_to, said_from) {
        (Some(_), Said::Device, Said::Device) | (None, ..) => Ok(()),
        (Some(stream), ..) => caller::answer(send::cuStreamSynchronize(&caller::enter()?, stream)),
    }
}

use Said::{Device, Host, Nothing};

crate::export! {
    /// CUDA Driver API, cuMemcpy.
    extern "C" fn cuMemcpy(dst: u64, src: u64, ByteCount: usize) {
        copy(dst, Nothing, src, Nothing, ByteCount, None)
    }

    /// CUDA Driver API, cuMemcpy with the per-thread default stream.
    extern "C" fn cuMemcpy_ptds(dst: u64, src: u64, ByteCount: usize) {
        copy_in_own(dst, Nothing, src, Nothing, ByteCount)
    }

    /// CUDA Driver API, cuMemcpyAsync.
    extern "C" fn cuMemcpyAsync(dst: u64, src: u64, ByteCount: usize, hStream: u64) {
        copy(dst, Nothing, src, Nothing, ByteCount, Some(stream::resolve(hStream)?))
    }

    /// CUDA Driver API, cuMemcpyAsync with the per-thread default stream.
    extern "C" fn cuMemcpyAsync_ptsz(dst: u64, src: u64, ByteCount: usize, hStream: u64) {
        copy(dst, Nothing, src, Nothing, ByteCount, Some(stream::resolve_per_thread(hStream)?))
    }

    /// CUDA Driver API, cuMemcpyHtoD.
    extern "C" fn cuMemcpyHtoD_v2(dstDevice: u64, srcHost: *const c_void, ByteCount: usize) {
        copy(dstDevice, Device, srcHost as u64, Host, ByteCount, None)
    }

    /// CUDA Driver API, cuMemcpyHtoD with the per-thread default stream.
    extern "C" fn cuMemcpyHtoD_v2_ptds(dstDevice: u64, srcHost: *const c_void, ByteCount: usize) {
        copy_in_own(dstDevice, Device, srcHost as u64, Host, ByteCount)
    }

    /// CUDA Driver API, cuMemcpyHtoDAsync.
    extern "C" fn cuMemcpyHtoDAsync_v2(dstDevice: u64, srcHost: *const c_void, ByteCount: usize, hStream: u64) {
        copy(dstDevice, Device, srcHost as u64, Host, ByteCount, Some(stream::resolve(hStream)?))
    }

    /// CUDA Driver API, cuMemcpyHtoDAsync with the per-thread default stream.
    extern "C" fn cuMemcpyHtoDAsync_v2_ptsz(dstDevice: u64, srcHost: *const c_void, ByteCount: usize, hStream: u64) {
        copy(dstDevice, Device, srcHost as u64, Host, ByteCount, Some(stream::resolve_per_thread(hStream)?))
    }

    /// CUDA Driver API, cuMemcpyDtoH.
    extern "C" fn cuMemcpyDtoH_v2(dstHost: *mut c_void, srcDevice: u64, ByteCount: usize) {
        copy(dstHost as u64, Host, srcDevice, Device, ByteCount, None)
    }

    /// CUDA Driver API, cuMemcpyDtoH with the per-thread default stream.
    extern "C" fn cuMemcpyDtoH_v2_ptds(dstHost: *mut c_void, srcDevice: u64, ByteCount: usize) {
        copy_in_own(dstHost as u64, Host, srcDevice, Device, ByteCount)
    }

    /// CUDA Driver API, cuMemcpyDtoHAsync.
    extern "C" fn cuMemcpyDtoHAsync_v2(dstHost: *mut c_void, srcDevice: u64, ByteCount: usize, hStream: u64) {
        copy(dstHost as u64, Host, srcDevice, Device, ByteCount, Some(stream::resolve(hStream)?))
    }

    /// CUDA Driver API, cuMemcpyDtoHAsync with the per-thread default stream.
    extern "C" fn cuMemcpyDtoHAsync_v2_ptsz(dstHost: *mut c_void, srcDevice: u64, ByteCount: usize, hStream: u64) {
        copy(dstHost as u64, Host, srcDevice, Device, ByteCount, Some(stream::resolve_per_thread(hStream)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranges::Range;

    #[test]
    fn side_when_the_address_is_known_then_what_was_said_does_not_count() {
        ranges::insert(Range::new(0x5000_0000, 0x100, Kind::Device, 0));
        ranges::insert(Range::new(0x5100_0000, 0x100, Kind::PageLocked, 0));
        ranges::insert(Range::new(0x5200_0000, 0x100, Kind::Registered, 0));
        assert_eq!(side(0x5000_0010, 16, Host), Ok(Side::Device));
        assert_eq!(side(0x5100_0010, 16, Device), Ok(Side::Shared));
        assert_eq!(side(0x5000_0010, 0x100, Nothing), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(side(0x5200_0010, 0x100, Host), Ok(Side::Pageable));
    }

    #[test]
    fn side_when_the_address_is_not_known_then_what_was_said_decides() {
        assert_eq!(side(0x5f00_0000, 16, Host), Ok(Side::Pageable));
        assert_eq!(side(0x5f00_0000, 16, Nothing), Ok(Side::Pageable));
        assert_eq!(side(0x5f00_0000, 16, Device), Ok(Side::Device));
        assert_eq!(side(0, 16, Host), Err(CUDA_ERROR_INVALID_VALUE));
    }
}
