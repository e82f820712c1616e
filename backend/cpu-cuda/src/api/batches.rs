//! Batches: copies, prefetching and discarding of many ranges in one call. A batch that is refused has done nothing.

use crate::array::Array;
use crate::copy::{self, Checked, End, asynchronous, between, linear};
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::handle::Handle;
use crate::status::{Answer, Status};
use crate::stream::{self, Stream};
use crate::types::{BoxCopy, CopyAttributes, CopyEnd, Location};

/// CUmemcpy3DOperandType.
const POINTER: u32 = 1;
const ARRAY: u32 = 2;
/// CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE.
const PREFER_OVERLAP: u32 = 1;
/// CUmemcpySrcAccessOrder: in the stream's order, during the call, in any.
const ORDERS: std::ops::RangeInclusive<u32> = 1..=3;

/// How many entries a batch has.
fn counted(count: u64) -> Answer<usize> {
    usize::try_from(count).ok().filter(|n| *n > 0 && *n < 1 << 24).ok_or(Status::INVALID_VALUE)
}

/// The stream of a batch, which must not be the legacy one.
fn stream_of(stream: Handle<Stream>) -> Answer<std::sync::Arc<Stream>> {
    let stream = stream::resolve(stream)?;
    if stream.is_legacy() { Err(Status::INVALID_VALUE) } else { Ok(stream) }
}

/// cuMemcpyBatchAsync.
fn rows(
    lists: [In<u64>; 3],
    count: u64,
    attributes: (In<CopyAttributes>, In<u64>, u64),
    stream: Handle<Stream>,
) -> Answer {
    let count = counted(count)?;
    let stream = stream_of(stream)?;
    let [to, from, sizes] = lists;
    let all = to.read_all(count)?.into_iter().zip(from.read_all(count)?).zip(sizes.read_all(count)?);
    let (attributes, starts, kinds) = attributes;
    let kinds = usize::try_from(kinds).ok().filter(|n| (1..=count).contains(n)).ok_or(Status::INVALID_VALUE)?;
    attributes.read_all(kinds)?;
    starts.read_all(kinds)?;
    let checked = all.map(|((to, from), size)| linear(from, to, size, (false, false))).collect::<Answer<Vec<_>>>()?;
    checked.into_iter().try_for_each(|one| asynchronous(&stream, one))
}

/// Bytes of an element of an end; a pointer has none of its own.
fn element(end: &CopyEnd) -> Answer<Option<u64>> {
    match end.kind {
        POINTER => Ok(None),
        ARRAY => Ok(Some(Handle::<Array>::from_raw(end.words[0]).get()?.shape.format.bytes())),
        _ => Err(Status::INVALID_VALUE),
    }
}

/// A length that a pointer's end gives, or that of the copy where it gives none.
fn length(given: u64, least: u64) -> Answer<u64> {
    match given {
        0 => Ok(least),
        given if given >= least => Ok(given),
        _ => Err(Status::INVALID_VALUE),
    }
}

/// One end, which counts in elements of so many bytes.
fn end(given: &CopyEnd, bytes: u64, extent: [u64; 3]) -> Answer<End> {
    let in_bytes = |elements: u64| elements.checked_mul(bytes).ok_or(Status::INVALID_VALUE);
    let [place, x, y, z] = given.words;
    if given.kind == ARRAY {
        return Ok(End { kind: copy::ARRAY, array: place, at: [in_bytes(x)?, y, z], ..End::default() });
    }
    let (pitch, height) = (in_bytes(length(x, extent[0])?)?, length(y, extent[1])?);
    Ok(End { kind: copy::UNIFIED, device: place, pitch, height, ..End::default() })
}

/// One copy of cuMemcpy3DBatchAsync.
fn boxed(one: &BoxCopy) -> Answer<Checked> {
    let bytes = match (element(&one.from)?, element(&one.to)?) {
        (Some(from), Some(to)) if from != to => return Err(Status::INVALID_VALUE),
        (from, to) => from.or(to).unwrap_or(1),
    };
    if one.extent.contains(&0) || !ORDERS.contains(&one.order) || one.flags & !PREFER_OVERLAP != 0 {
        return Err(Status::INVALID_VALUE);
    }
    let [width, height, depth] = one.extent;
    let width = width.checked_mul(bytes).ok_or(Status::INVALID_VALUE)?;
    between(&end(&one.from, bytes, one.extent)?, &end(&one.to, bytes, one.extent)?, [width, height, depth])
}

/// cuMemcpy3DBatchAsync.
fn boxes(count: u64, list: In<BoxCopy>, flags: u64, stream: Handle<Stream>) -> Answer {
    let list = list.read_all(counted(count)?)?;
    let stream = stream_of(stream)?;
    if flags != 0 {
        return Err(Status::INVALID_VALUE);
    }
    let checked = list.iter().map(boxed).collect::<Answer<Vec<_>>>()?;
    checked.into_iter().try_for_each(|one| asynchronous(&stream, one))
}

/// Ranges of managed memory: nothing is moved or forgotten, the host and the device see the same bytes at all times.
fn ranges(starts: In<u64>, sizes: In<u64>, count: u64, flags: u64, stream: Handle<Stream>) -> Answer {
    let count = counted(count)?;
    stream_of(stream)?;
    if flags != 0 {
        return Err(Status::INVALID_VALUE);
    }
    let all = starts.read_all(count)?.into_iter().zip(sizes.read_all(count)?);
    all.into_iter().try_for_each(|(start, bytes)| super::memory::advised(start, bytes))
}

/// Where ranges go: as many places as are said to be there, each from a range on that is.
fn places(places: In<Location>, from: In<u64>, kinds: u64, count: u64) -> Answer {
    let kinds = usize::try_from(kinds).ok().filter(|n| *n > 0 && *n as u64 <= count).ok_or(Status::INVALID_VALUE)?;
    places.read_all(kinds)?;
    let from = from.read_all(kinds)?;
    let rising = from.first() == Some(&0) && from.is_sorted() && from.last().is_some_and(|last| *last < count);
    if rising { Ok(()) } else { Err(Status::INVALID_VALUE) }
}

cuda! {
    fn cuMemcpyBatchAsync | cuMemcpyBatchAsync_ptsz (
        to: In<u64>, from: In<u64>, sizes: In<u64>, count: u64, attributes: In<CopyAttributes>, starts: In<u64>,
        kinds: u64, failed: Out<u64>, stream: Handle<Stream>,
    ) {
        let answer = rows([to, from, sizes], count, (attributes, starts, kinds), stream);
        if answer.is_err() {
            failed.set_if_wanted(u64::MAX);
        }
        answer
    }

    fn cuMemcpyBatchAsync_v2 | cuMemcpyBatchAsync_v2_ptsz (
        to: In<u64>, from: In<u64>, sizes: In<u64>, count: u64, attributes: In<CopyAttributes>, starts: In<u64>,
        kinds: u64, stream: Handle<Stream>,
    ) {
        rows([to, from, sizes], count, (attributes, starts, kinds), stream)
    }

    fn cuMemcpy3DBatchAsync | cuMemcpy3DBatchAsync_ptsz (
        count: u64, list: In<BoxCopy>, failed: Out<u64>, flags: u64, stream: Handle<Stream>,
    ) {
        let answer = boxes(count, list, flags, stream);
        if answer.is_err() {
            failed.set_if_wanted(u64::MAX);
        }
        answer
    }

    fn cuMemcpy3DBatchAsync_v2 | cuMemcpy3DBatchAsync_v2_ptsz (
        count: u64, list: In<BoxCopy>, flags: u64, stream: Handle<Stream>,
    ) {
        boxes(count, list, flags, stream)
    }

    fn cuMemPrefetchBatchAsync | cuMemPrefetchBatchAsync_ptsz (
        starts: In<u64>, sizes: In<u64>, count: u64, to: In<Location>, from: In<u64>, kinds: u64, flags: u64,
        stream: Handle<Stream>,
    ) {
        places(to, from, kinds, count)?;
        ranges(starts, sizes, count, flags, stream)
    }

    fn cuMemDiscardBatchAsync | cuMemDiscardBatchAsync_ptsz (
        starts: In<u64>, sizes: In<u64>, count: u64, flags: u64, stream: Handle<Stream>,
    ) {
        ranges(starts, sizes, count, flags, stream)
    }

    fn cuMemDiscardAndPrefetchBatchAsync | cuMemDiscardAndPrefetchBatchAsync_ptsz (
        starts: In<u64>, sizes: In<u64>, count: u64, to: In<Location>, from: In<u64>, kinds: u64, flags: u64,
        stream: Handle<Stream>,
    ) {
        places(to, from, kinds, count)?;
        ranges(starts, sizes, count, flags, stream)
    }
}
