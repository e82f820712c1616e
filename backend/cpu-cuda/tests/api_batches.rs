//! Batches of copies, and of ranges to prefetch or discard, through the exported functions.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use cpu_cuda::api::arrays::*;
use cpu_cuda::api::batches::*;
use cpu_cuda::api::copies::*;
use cpu_cuda::api::fills::*;
use cpu_cuda::api::memory::*;
use cpu_cuda::api::streams::*;
use cpu_cuda::array::Array;
use cpu_cuda::foreign::{In, Out};
use cpu_cuda::handle::Handle;
use cpu_cuda::status::Status;
use cpu_cuda::stream::Stream;
use cpu_cuda::types::*;

/// CUmemcpy3DOperandType.
const POINTER: u32 = 1;
const ARRAY: u32 = 2;

fn at(address: u64, row: u64, rows: u64) -> CopyEnd {
    CopyEnd { kind: POINTER, words: [address, row, rows, 0] }
}

fn inside(array: Handle<Array>, [x, y, z]: [u64; 3]) -> CopyEnd {
    CopyEnd { kind: ARRAY, words: [array.0, x, y, z] }
}

fn copy(from: CopyEnd, to: CopyEnd, extent: [u64; 3]) -> BoxCopy {
    BoxCopy { from, to, extent, order: 1, ..BoxCopy::default() }
}

fn batch(list: &[BoxCopy], stream: Handle<Stream>) -> u32 {
    unsafe { cuMemcpy3DBatchAsync_v2(list.len() as u64, In(list.as_ptr()), 0, stream) }
}

/// 8 x 4 x 3 elements of two bytes.
fn array() -> Handle<Array> {
    let described = Array3DDescriptor { width: 8, height: 4, depth: 3, format: 2, channels: 1, flags: 0 };
    made(|out| unsafe { cuArray3DCreate_v2(out, In(&described)) })
}

#[test]
fn boxes_when_between_memory_and_arrays_then_elements_land_where_they_belong() {
    let _context = context();
    let (stream, array) = (stream(1), array());
    let source: Vec<u16> = (0..2 * 3 * 4).collect();
    let memory = alloc(48);
    ok(unsafe { cuMemcpyHtoD_v2(memory, source.as_ptr() as u64, 48) });
    let corner = alloc(2 * 2 * 2);
    let rows = alloc(32);
    // Two slices of three rows of four, into the array from 3,1,1 on; then its corner, with the slices apart.
    ok(batch(&[copy(at(memory, 0, 0), inside(array, [3, 1, 1]), [4, 3, 2])], stream));
    ok(batch(
        &[
            copy(inside(array, [4, 2, 1]), at(corner, 0, 0), [2, 1, 2]),
            copy(at(memory, 16, 3), at(rows, 10, 2), [6, 2, 1]),
        ],
        stream,
    ));
    ok(unsafe { cuStreamSynchronize(stream) });
    let mut found = [0u16; 4];
    ok(unsafe { cuMemcpyDtoH_v2(found.as_mut_ptr() as u64, corner, 8) });
    assert_eq!(found, [5, 6, 17, 18]);
    let mut bytes = [0u16; 8];
    ok(unsafe { cuMemcpyDtoH_v2(bytes.as_mut_ptr() as u64, rows, 16) });
    assert_eq!([&bytes[..3], &bytes[5..]].concat(), [0, 1, 2, 8, 9, 10]);
}

#[test]
fn boxes_when_one_is_wrong_then_none_is_copied() {
    let _context = context();
    let (stream, array, memory, other) = (stream(0), array(), alloc(64), alloc(64));
    ok(unsafe { cuMemsetD8_v2(memory, 5, 64) });
    ok(unsafe { cuMemsetD8_v2(other, 6, 64) });
    let good = copy(at(memory, 0, 0), at(other, 0, 0), [64, 1, 1]);
    let wrong = [
        copy(at(memory, 0, 0), at(other, 0, 0), [65, 1, 1]),
        copy(at(memory, 3, 0), at(other, 0, 0), [4, 2, 1]),
        copy(at(memory, 0, 0), at(other, 0, 0), [4, 0, 1]),
        copy(at(memory, 0, 0), inside(array, [5, 0, 0]), [4, 1, 1]),
        copy(at(memory, 0, 0), CopyEnd { kind: 3, words: [other, 0, 0, 0] }, [4, 1, 1]),
        BoxCopy { order: 0, ..good },
        BoxCopy { flags: 2, ..good },
        copy(at(memory, u64::MAX, 0), at(other, 0, 0), [4, 2, 2]),
    ];
    for one in wrong {
        assert_eq!(batch(&[good, one], stream), Status::INVALID_VALUE.0, "{one:?}");
    }
    assert_eq!(batch(&[], stream), Status::INVALID_VALUE.0);
    assert_eq!(batch(&[good], Handle::NULL), Status::INVALID_VALUE.0);
    let mut failed = 0;
    let status = unsafe { cuMemcpy3DBatchAsync(1, In(&wrong[0]), Out(&mut failed), 0, stream) };
    assert_eq!((status, failed), (Status::INVALID_VALUE.0, u64::MAX));
    let mut first = 0u8;
    ok(unsafe { cuMemcpyDtoH_v2(&raw mut first as u64, other, 1) });
    assert_eq!(first, 6);
}

#[test]
fn ranges_when_managed_then_taken_and_else_refused() {
    let _context = context();
    let stream = stream(1);
    let managed: u64 = made(|out| unsafe { cuMemAllocManaged(out, 4096, 1) });
    let (starts, sizes, from) = ([managed, managed + 1024], [512u64, 1024], [0u64]);
    let place = Location { kind: 1, id: 0 };
    let call = |starts: &[u64; 2], from: &[u64; 1]| unsafe {
        let (starts, sizes) = (In(starts.as_ptr()), In(sizes.as_ptr()));
        let both = cuMemDiscardAndPrefetchBatchAsync(starts, sizes, 2, In(&place), In(from.as_ptr()), 1, 0, stream);
        let prefetch = cuMemPrefetchBatchAsync(starts, sizes, 2, In(&place), In(from.as_ptr()), 1, 0, stream);
        [prefetch, both, cuMemDiscardBatchAsync(starts, sizes, 2, 0, stream)]
    };
    assert_eq!(call(&starts, &from), [0; 3]);
    let wrong = Status::INVALID_VALUE.0;
    assert_eq!(call(&starts, &[1]), [wrong, wrong, 0]);
    assert_eq!(call(&[managed, managed + 3072 + 512], &from), [wrong; 3]);
    assert_eq!(call(&[managed, alloc(1024)], &from), [wrong; 3]);
}
