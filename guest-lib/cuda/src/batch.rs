//! Batches: of copies, which are made one after the other, since the API promises no order among them; of hints about managed
//! memory; of memory operations, which travel as one.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::context;
use crate::copy;
use crate::copy3d::{self, Operation};
use crate::device;
use crate::generated::send;
use crate::handles::Handle;
use crate::host_memory;
use crate::program::{In, Out};
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED};
use crate::stream;

/// `CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1`.
const STREAM_OPERATIONS_V1: i32 = 92;
/// Bytes of a `CUstreamBatchMemOpParams`.
const OPERATION: usize = 48;
/// Most operations of a batch (CUDA Driver API, cuStreamBatchMemOp: 256).
const MAX_OPERATIONS: u32 = 256;
/// What `failIdx` is where no copy is to blame.
const NO_COPY: usize = usize::MAX;

/// Copies by which a batch is made.
struct Copies {
    to: In<u64>,
    from: In<u64>,
    bytes: In<usize>,
    count: usize,
}

/// A batch is never in the null stream (CUDA Driver API, cuMemcpyBatchAsync).
fn batch_stream(stream: Result<Handle, CUresult>) -> Result<Handle, CUresult> {
    match stream? {
        Handle(special) if special <= stream::LEGACY => Err(CUDA_ERROR_INVALID_VALUE),
        stream => Ok(stream),
    }
}

fn copies(
    batch: &Copies,
    attributes: usize,
    failed: Out<usize>,
    stream: Result<Handle, CUresult>,
) -> Result<(), CUresult> {
    caller::enter_context()?;
    failed.set_if_wanted(NO_COPY);
    let stream = batch_stream(stream)?;
    if batch.count == 0 || attributes == 0 || attributes > batch.count {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    for place in 0..batch.count {
        let (to, from, bytes) = (batch.to.at(place)?, batch.from.at(place)?, batch.bytes.at(place)?);
        copy::in_stream(to, from, bytes, stream).inspect_err(|_| failed.set_if_wanted(place))?;
    }
    Ok(())
}

fn copies_3d(
    list: In<Operation>,
    count: usize,
    failed: Out<usize>,
    flags: u64,
    stream: Result<Handle, CUresult>,
) -> Result<(), CUresult> {
    caller::enter_context()?;
    failed.set_if_wanted(NO_COPY);
    let stream = batch_stream(stream)?;
    if count == 0 || flags != 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    for place in 0..count {
        copy3d::in_stream(&list.at(place)?, stream).inspect_err(|_| failed.set_if_wanted(place))?;
    }
    Ok(())
}

fn hints(addresses: In<u64>, bytes: In<usize>, count: usize) -> Result<(), CUresult> {
    if count == 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    (0..count).try_for_each(|place| host_memory::hint(addresses.at(place)?, bytes.at(place)?))
}

fn operations(
    stream: Result<Handle, CUresult>,
    list: In<[u8; OPERATION]>,
    count: u32,
    flags: u32,
) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let stream = stream?;
    if count > MAX_OPERATIONS || flags != 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let mut run = Vec::new();
    for place in 0..count as usize {
        run.extend(list.at(place)?);
    }
    caller::answer(send::gpuferryStreamBatchMemOp(&caller, stream, &run, flags))
}

const NOT_WANTED: Out<usize> = Out(core::ptr::null_mut());

/// Operations of streams as they were before 11.7 are the choice of who set the host's driver up; an attribute of the device
/// says which.
fn check_first_version() -> Result<Caller, CUresult> {
    let caller = caller::enter_context()?;
    let is_there = device::get(context::current_context()?.device)?.attribute(STREAM_OPERATIONS_V1)? != 0;
    if is_there { Ok(caller) } else { Err(CUDA_ERROR_NOT_SUPPORTED) }
}

/// A write or a wait of so many bytes, as before 11.7.
fn first_version(
    stream: Result<Handle, CUresult>,
    address: u64,
    bytes: u64,
    send: impl FnOnce(&Caller, Handle) -> CUresult,
) -> Result<(), CUresult> {
    let caller = check_first_version()?;
    crate::ranges::check(&caller, address, Some(bytes), 1)?;
    caller::answer(send(&caller, stream?))
}

crate::export! {
    /// CUDA Driver API, cuMemcpyBatchAsync as of 12.8.
    extern "C" fn cuMemcpyBatchAsync(
        dsts: In<u64>, srcs: In<u64>, sizes: In<usize>, count: usize, _attrs: In<u8>, _attrsIdxs: In<usize>,
        numAttrs: usize, failIdx: Out<usize>, hStream: u64,
    ) {
        copies(&Copies { to: dsts, from: srcs, bytes: sizes, count }, numAttrs, failIdx, stream::resolve(hStream))
    }

    /// CUDA Driver API, cuMemcpyBatchAsync as of 12.8, with the per-thread default stream.
    extern "C" fn cuMemcpyBatchAsync_ptsz(
        dsts: In<u64>, srcs: In<u64>, sizes: In<usize>, count: usize, _attrs: In<u8>, _attrsIdxs: In<usize>,
        numAttrs: usize, failIdx: Out<usize>, hStream: u64,
    ) {
        let batch = Copies { to: dsts, from: srcs, bytes: sizes, count };
        copies(&batch, numAttrs, failIdx, stream::resolve_per_thread(hStream))
    }

    /// CUDA Driver API, cuMemcpyBatchAsync as of 13.0.
    extern "C" fn cuMemcpyBatchAsync_v2(
        dsts: In<u64>, srcs: In<u64>, sizes: In<usize>, count: usize, _attrs: In<u8>, _attrsIdxs: In<usize>,
        numAttrs: usize, hStream: u64,
    ) {
        copies(&Copies { to: dsts, from: srcs, bytes: sizes, count }, numAttrs, NOT_WANTED, stream::resolve(hStream))
    }

    /// CUDA Driver API, cuMemcpyBatchAsync as of 13.0, with the per-thread default stream.
    extern "C" fn cuMemcpyBatchAsync_v2_ptsz(
        dsts: In<u64>, srcs: In<u64>, sizes: In<usize>, count: usize, _attrs: In<u8>, _attrsIdxs: In<usize>,
        numAttrs: usize, hStream: u64,
    ) {
        let batch = Copies { to: dsts, from: srcs, bytes: sizes, count };
        copies(&batch, numAttrs, NOT_WANTED, stream::resolve_per_thread(hStream))
    }

    /// CUDA Driver API, cuMemcpy3DBatchAsync as of 12.8.
    extern "C" fn cuMemcpy3DBatchAsync(
        numOps: usize, opList: In<Operation>, failIdx: Out<usize>, flags: u64, hStream: u64,
    ) {
        copies_3d(opList, numOps, failIdx, flags, stream::resolve(hStream))
    }

    /// CUDA Driver API, cuMemcpy3DBatchAsync as of 12.8, with the per-thread default stream.
    extern "C" fn cuMemcpy3DBatchAsync_ptsz(
        numOps: usize, opList: In<Operation>, failIdx: Out<usize>, flags: u64, hStream: u64,
    ) {
        copies_3d(opList, numOps, failIdx, flags, stream::resolve_per_thread(hStream))
    }

    /// CUDA Driver API, cuMemcpy3DBatchAsync as of 13.0.
    extern "C" fn cuMemcpy3DBatchAsync_v2(numOps: usize, opList: In<Operation>, flags: u64, hStream: u64) {
        copies_3d(opList, numOps, NOT_WANTED, flags, stream::resolve(hStream))
    }

    /// CUDA Driver API, cuMemcpy3DBatchAsync as of 13.0, with the per-thread default stream.
    extern "C" fn cuMemcpy3DBatchAsync_v2_ptsz(numOps: usize, opList: In<Operation>, flags: u64, hStream: u64) {
        copies_3d(opList, numOps, NOT_WANTED, flags, stream::resolve_per_thread(hStream))
    }

    /// CUDA Driver API, cuMemPrefetchBatchAsync: hints about managed memory, as cuMemPrefetchAsync.
    extern "C" fn cuMemPrefetchBatchAsync(
        dptrs: In<u64>, sizes: In<usize>, count: usize, _prefetchLocs: In<u64>, _prefetchLocIdxs: In<usize>,
        _numPrefetchLocs: usize, _flags: u64, _hStream: u64,
    ) {
        hints(dptrs, sizes, count)
    }

    /// The same, with the per-thread default stream; the vendor's library looks at its arguments in another order here.
    extern "C" fn cuMemPrefetchBatchAsync_ptsz(
        dptrs: In<u64>, sizes: In<usize>, count: usize, _prefetchLocs: In<u64>, _prefetchLocIdxs: In<usize>,
        _numPrefetchLocs: usize, _flags: u64, _hStream: u64,
    ) {
        hints(dptrs, sizes, count)
    }

    /// CUDA Driver API, cuMemDiscardBatchAsync: what is discarded may as well stay.
    extern "C" fn cuMemDiscardBatchAsync(
        dptrs: In<u64>, sizes: In<usize>, count: usize, _flags: u64, _hStream: u64,
    ) {
        hints(dptrs, sizes, count)
    }

    /// The same, with the per-thread default stream; the vendor's library looks at its arguments in another order here.
    extern "C" fn cuMemDiscardBatchAsync_ptsz(
        dptrs: In<u64>, sizes: In<usize>, count: usize, _flags: u64, _hStream: u64,
    ) {
        hints(dptrs, sizes, count)
    }

    /// CUDA Driver API, cuMemDiscardAndPrefetchBatchAsync: as both.
    extern "C" fn cuMemDiscardAndPrefetchBatchAsync(
        dptrs: In<u64>, sizes: In<usize>, count: usize, _prefetchLocs: In<u64>, _prefetchLocIdxs: In<usize>,
        _numPrefetchLocs: usize, _flags: u64, _hStream: u64,
    ) {
        hints(dptrs, sizes, count)
    }

    /// The same, with the per-thread default stream; the vendor's library looks at its arguments in another order here.
    extern "C" fn cuMemDiscardAndPrefetchBatchAsync_ptsz(
        dptrs: In<u64>, sizes: In<usize>, count: usize, _prefetchLocs: In<u64>, _prefetchLocIdxs: In<usize>,
        _numPrefetchLocs: usize, _flags: u64, _hStream: u64,
    ) {
        hints(dptrs, sizes, count)
    }

    /// CUDA Driver API, cuStreamBatchMemOp.
    extern "C" fn cuStreamBatchMemOp_v2(stream: u64, count: u32, paramArray: In<[u8; OPERATION]>, flags: u32) {
        operations(stream::resolve(stream), paramArray, count, flags)
    }

    /// CUDA Driver API, cuStreamBatchMemOp with the per-thread default stream.
    extern "C" fn cuStreamBatchMemOp_v2_ptsz(stream: u64, count: u32, paramArray: In<[u8; OPERATION]>, flags: u32) {
        operations(stream::resolve_per_thread(stream), paramArray, count, flags)
    }

    /// CUDA Driver API, cuStreamWriteValue32 of before 11.7.
    extern "C" fn cuStreamWriteValue32(stream: u64, addr: u64, value: u32, flags: u32) {
        first_version(stream::resolve(stream), addr, 4, |caller, stream| {
            send::cuStreamWriteValue32_v2(caller, stream, addr, value, flags)
        })
    }

    /// CUDA Driver API, cuStreamWriteValue32 of before 11.7, with the per-thread default stream.
    extern "C" fn cuStreamWriteValue32_ptsz(stream: u64, addr: u64, value: u32, flags: u32) {
        first_version(stream::resolve_per_thread(stream), addr, 4, |caller, stream| {
            send::cuStreamWriteValue32_v2(caller, stream, addr, value, flags)
        })
    }

    /// CUDA Driver API, cuStreamWaitValue32 of before 11.7.
    extern "C" fn cuStreamWaitValue32(stream: u64, addr: u64, value: u32, flags: u32) {
        first_version(stream::resolve(stream), addr, 4, |caller, stream| {
            send::cuStreamWaitValue32_v2(caller, stream, addr, value, flags)
        })
    }

    /// CUDA Driver API, cuStreamWaitValue32 of before 11.7, with the per-thread default stream.
    extern "C" fn cuStreamWaitValue32_ptsz(stream: u64, addr: u64, value: u32, flags: u32) {
        first_version(stream::resolve_per_thread(stream), addr, 4, |caller, stream| {
            send::cuStreamWaitValue32_v2(caller, stream, addr, value, flags)
        })
    }

    /// CUDA Driver API, cuStreamWriteValue64 of before 11.7.
    extern "C" fn cuStreamWriteValue64(stream: u64, addr: u64, value: u64, flags: u32) {
        first_version(stream::resolve(stream), addr, 8, |caller, stream| {
            send::cuStreamWriteValue64_v2(caller, stream, addr, value, flags)
        })
    }

    /// CUDA Driver API, cuStreamWriteValue64 of before 11.7, with the per-thread default stream.
    extern "C" fn cuStreamWriteValue64_ptsz(stream: u64, addr: u64, value: u64, flags: u32) {
        first_version(stream::resolve_per_thread(stream), addr, 8, |caller, stream| {
            send::cuStreamWriteValue64_v2(caller, stream, addr, value, flags)
        })
    }

    /// CUDA Driver API, cuStreamWaitValue64 of before 11.7.
    extern "C" fn cuStreamWaitValue64(stream: u64, addr: u64, value: u64, flags: u32) {
        first_version(stream::resolve(stream), addr, 8, |caller, stream| {
            send::cuStreamWaitValue64_v2(caller, stream, addr, value, flags)
        })
    }

    /// CUDA Driver API, cuStreamWaitValue64 of before 11.7, with the per-thread default stream.
    extern "C" fn cuStreamWaitValue64_ptsz(stream: u64, addr: u64, value: u64, flags: u32) {
        first_version(stream::resolve_per_thread(stream), addr, 8, |caller, stream| {
            send::cuStreamWaitValue64_v2(caller, stream, addr, value, flags)
        })
    }

    /// CUDA Driver API, cuStreamBatchMemOp of before 11.7.
    extern "C" fn cuStreamBatchMemOp(stream: u64, count: u32, paramArray: In<[u8; OPERATION]>, flags: u32) {
        check_first_version()?;
        operations(stream::resolve(stream), paramArray, count, flags)
    }

    /// CUDA Driver API, cuStreamBatchMemOp of before 11.7, with the per-thread default stream.
    extern "C" fn cuStreamBatchMemOp_ptsz(stream: u64, count: u32, paramArray: In<[u8; OPERATION]>, flags: u32) {
        check_first_version()?;
        operations(stream::resolve_per_thread(stream), paramArray, count, flags)
    }
}
