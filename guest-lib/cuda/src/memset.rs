//! Memsets without a stream. They are posted; one whose target the program reaches too is waited for (CUDA Driver API, API
//! synchronization behavior: "synchronous unless the target is pinned host memory": then the call returns when it is done).

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::generated::send;
use crate::handles::Handle;
use crate::ranges::{self, Kind, Range};
use crate::status::CUDA_ERROR_INVALID_VALUE;
use crate::stream;
use crate::{context, device, managed, wait};

/// The null stream.
const NULL: Handle = Handle(0);

/// Bytes from the first row's first to the last row's last; `None` for more than there can be.
fn rows(pitch: usize, width: usize, height: usize, each: usize) -> Option<u64> {
    let before = height.checked_sub(1)?.checked_mul(pitch)?;
    Some(before.checked_add(width.checked_mul(each)?)? as u64)
}

/// [`rows`], of none as well: only the calls without a stream take that.
fn some_rows(pitch: usize, width: usize, height: usize, each: usize) -> Option<u64> {
    if width == 0 && height == 0 { Some(0) } else { rows(pitch, width, height, each) }
}

/// Without a stream, the memory must be the device's own or a peer's.
fn check_reach(address: u64) -> Result<(), CUresult> {
    if !device::are_several() {
        return Ok(());
    }
    let allocated = ranges::find(address).filter(|range| matches!(range.kind, Kind::Device | Kind::Variable));
    let is_far = |range: Range| context::current_context().is_ok_and(|context| !context.reaches(range.device));
    if allocated.is_some_and(is_far) { Err(CUDA_ERROR_INVALID_VALUE) } else { Ok(()) }
}

/// Sets memory in `stream`, by a message that `send` posts.
fn set(
    address: u64,
    bytes: Option<u64>,
    aligned: u64,
    stream: Handle,
    send: impl FnOnce(&Caller) -> CUresult,
) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    ranges::check(&caller, address, bytes, aligned)?;
    check_reach(address)?;
    managed::before_work(&caller)?;
    caller::answer(send(&caller))?;
    let is_shared = ranges::find(address).is_some_and(|range| range.kind.is_host());
    if is_shared { wait::stream(&caller, stream) } else { Ok(()) }
}

/// Bytes of so many elements.
fn run(count: usize, each: usize) -> Option<u64> {
    count.checked_mul(each).map(|bytes| bytes as u64)
}

crate::export! {
    /// CUDA Driver API, cuMemsetD8.
    extern "C" fn cuMemsetD8_v2(dstDevice: u64, uc: u8, N: usize) {
        set(dstDevice, run(N, 1), 1, NULL, |caller| send::cuMemsetD8_v2(caller, dstDevice, uc, N))
    }

    /// CUDA Driver API, cuMemsetD8 with the per-thread default stream.
    extern "C" fn cuMemsetD8_v2_ptds(dstDevice: u64, uc: u8, N: usize) {
        let own = stream::resolve_per_thread(0)?;
        set(dstDevice, run(N, 1), 1, own, |caller| send::cuMemsetD8Async(caller, dstDevice, uc, N, own))
    }

    /// CUDA Driver API, cuMemsetD16.
    extern "C" fn cuMemsetD16_v2(dstDevice: u64, us: u16, N: usize) {
        set(dstDevice, run(N, 2), 2, NULL, |caller| send::cuMemsetD16_v2(caller, dstDevice, us, N))
    }

    /// CUDA Driver API, cuMemsetD16 with the per-thread default stream.
    extern "C" fn cuMemsetD16_v2_ptds(dstDevice: u64, us: u16, N: usize) {
        let own = stream::resolve_per_thread(0)?;
        set(dstDevice, run(N, 2), 2, own, |caller| send::cuMemsetD16Async(caller, dstDevice, us, N, own))
    }

    /// CUDA Driver API, cuMemsetD32.
    extern "C" fn cuMemsetD32_v2(dstDevice: u64, ui: u32, N: usize) {
        set(dstDevice, run(N, 4), 4, NULL, |caller| send::cuMemsetD32_v2(caller, dstDevice, ui, N))
    }

    /// CUDA Driver API, cuMemsetD32 with the per-thread default stream.
    extern "C" fn cuMemsetD32_v2_ptds(dstDevice: u64, ui: u32, N: usize) {
        let own = stream::resolve_per_thread(0)?;
        set(dstDevice, run(N, 4), 4, own, |caller| send::cuMemsetD32Async(caller, dstDevice, ui, N, own))
    }

    /// CUDA Driver API, cuMemsetD2D8.
    extern "C" fn cuMemsetD2D8_v2(dstDevice: u64, dstPitch: usize, uc: u8, Width: usize, Height: usize) {
        set(dstDevice, some_rows(dstPitch, Width, Height, 1), 1, NULL, |caller| {
            send::cuMemsetD2D8_v2(caller, dstDevice, dstPitch, uc, Width, Height)
        })
    }

    /// CUDA Driver API, cuMemsetD2D8 with the per-thread default stream.
    extern "C" fn cuMemsetD2D8_v2_ptds(dstDevice: u64, dstPitch: usize, uc: u8, Width: usize, Height: usize) {
        let own = stream::resolve_per_thread(0)?;
        set(dstDevice, some_rows(dstPitch, Width, Height, 1), 1, own, |caller| {
            send::cuMemsetD2D8Async(caller, dstDevice, dstPitch, uc, Width, Height, own)
        })
    }

    /// CUDA Driver API, cuMemsetD2D16.
    extern "C" fn cuMemsetD2D16_v2(dstDevice: u64, dstPitch: usize, us: u16, Width: usize, Height: usize) {
        set(dstDevice, some_rows(dstPitch, Width, Height, 2), 2, NULL, |caller| {
            send::cuMemsetD2D16_v2(caller, dstDevice, dstPitch, us, Width, Height)
        })
    }

    /// CUDA Driver API, cuMemsetD2D16 with the per-thread default stream.
    extern "C" fn cuMemsetD2D16_v2_ptds(dstDevice: u64, dstPitch: usize, us: u16, Width: usize, Height: usize) {
        let own = stream::resolve_per_thread(0)?;
        set(dstDevice, some_rows(dstPitch, Width, Height, 2), 2, own, |caller| {
            send::cuMemsetD2D16Async(caller, dstDevice, dstPitch, us, Width, Height, own)
        })
    }

    /// CUDA Driver API, cuMemsetD2D32.
    extern "C" fn cuMemsetD2D32_v2(dstDevice: u64, dstPitch: usize, ui: u32, Width: usize, Height: usize) {
        set(dstDevice, some_rows(dstPitch, Width, Height, 4), 4, NULL, |caller| {
            send::cuMemsetD2D32_v2(caller, dstDevice, dstPitch, ui, Width, Height)
        })
    }

    /// CUDA Driver API, cuMemsetD2D32 with the per-thread default stream.
    extern "C" fn cuMemsetD2D32_v2_ptds(dstDevice: u64, dstPitch: usize, ui: u32, Width: usize, Height: usize) {
        let own = stream::resolve_per_thread(0)?;
        set(dstDevice, some_rows(dstPitch, Width, Height, 4), 4, own, |caller| {
            send::cuMemsetD2D32Async(caller, dstDevice, dstPitch, ui, Width, Height, own)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_when_they_overflow_or_are_none_then_have_no_length() {
        assert_eq!(rows(16, 3, 4, 2), Some(54));
        assert_eq!(rows(16, 3, 0, 2), None);
        assert_eq!(rows(usize::MAX, 1, 3, 1), None);
        assert_eq!(run(usize::MAX, 2), None);
    }
}
