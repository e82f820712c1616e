//! Memory that was exported, imported as external memory; what is no external memory; semaphores, which no driver here gives;
//! contexts with more than flags. And copies that count in blocks.

use std::os::fd::RawFd;
use std::ptr::null;

use crate::sharing::{closed, mapped, unmapped};
use crate::{Bench, cu, tell};

/// Bytes of the memory.
const BYTES: u64 = 4 << 20;
/// Kinds of descriptions: descriptors of memory, of a timeline's semaphore.
const OPAQUE: u64 = 1;
const TIMELINE: u64 = 9;
/// The whole is one object.
const DEDICATED: u64 = 1;

unsafe extern "C" {
    fn eventfd(value: u32, flags: i32) -> RawFd;
    fn dup(descriptor: RawFd) -> RawFd;
}

/// `CUDA_EXTERNAL_MEMORY_HANDLE_DESC`; of a semaphore the first words mean the same.
fn described(kind: u64, descriptor: RawFd, bytes: u64, flags: u64) -> [u64; 13] {
    let mut words = [0; 13];
    (words[0], words[1], words[3], words[4]) = (kind, u64::from(descriptor as u32), bytes, flags);
    words
}

/// Imports and ends what is imported with it: what the import answers is what counts.
fn import(bench: &Bench, what: &str, description: [u64; 13]) -> u64 {
    let mut memory = 0u64;
    tell!(bench.cuda, what, cuImportExternalMemory(&mut memory, description.as_ptr()));
    memory
}

/// Maps a part, writes and reads it; its address.
fn buffer(bench: &Bench, memory: u64, what: &str, part: [u64; 3]) -> u64 {
    let (cuda, mut address) = (&bench.cuda, 0u64);
    let mut description = [0u64; 11];
    description[..3].copy_from_slice(&part);
    tell!(cuda, what, cuExternalMemoryGetMappedBuffer(&mut address, memory, description.as_ptr()));
    address
}

pub fn run(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut handle, mut descriptor): (u64, RawFd) = (0, -1);
    let properties = [1 | 1u64 << 32, 1u64, 0, 0];
    tell!(cuda, "", cuMemCreate(&mut handle, BYTES as usize, properties.as_ptr(), 0u64));
    tell!(cuda, "", cuMemExportToShareableHandle(&mut descriptor, handle, 1u32, 0u64));
    let address = mapped(bench, handle, BYTES as usize);
    cu!(cuda, cuMemsetD32_v2(address, 7, BYTES as usize / 4));
    cu!(cuda, cuCtxSynchronize());
    parts(bench, descriptor, address);
    wrong(bench, descriptor);
    // One that is left mapped ends with the process.
    let memory = import(bench, "left", described(OPAQUE, descriptor, BYTES, 0));
    buffer(bench, memory, "left", [0, BYTES, 0]);
    unmapped(bench, address, BYTES as usize);
    tell!(cuda, "", cuMemRelease(handle));
    semaphores(bench);
    contexts(bench);
}

/// What is written through one address is read through the other.
fn parts(bench: &Bench, descriptor: RawFd, whole: u64) {
    let (cuda, mut base, mut length, mut kind) = (&bench.cuda, 0u64, 0usize, 0u32);
    // SAFETY: a descriptor of this program's; the copy goes over to the library.
    let memory = import(bench, "", described(OPAQUE, unsafe { dup(descriptor) }, BYTES, 0));
    let part = buffer(bench, memory, "a part", [65536, 65536, 0]);
    bench.sum("read", part, 1024);
    tell!(cuda, "the part", cuMemsetD32_v2(part, 9, 1024usize));
    tell!(cuda, "", cuCtxSynchronize());
    bench.sum("written", whole + 65536, 1024);
    bench.sum("beside it", whole + 61440, 1024);
    tell!(cuda, "the part", cuMemGetAddressRange_v2(&mut base, &mut length, part + 64));
    cuda.say("base and length", format!("{} {length}", base == part));
    tell!(cuda, "memory type", cuPointerGetAttribute(&mut kind, 2, part));
    cuda.say("type", kind);
    let odd = buffer(bench, memory, "at an odd place", [12, 100, 0]);
    bench.sum("read", odd, 8);
    let all = buffer(bench, memory, "all", [0, BYTES, 0]);
    bench.sum("read", all + 65536, 1024);
    for (what, part) in
        [("too much", [0, 2 * BYTES, 0]), ("nothing", [0, 0, 0]), ("flags", [0, 4096, 1]), ("behind", [BYTES, 4096, 0])]
    {
        buffer(bench, memory, what, part);
    }
    tell!(cuda, "a part", cuMemFree_v2(part));
    tell!(cuda, "a part, again", cuMemFree_v2(part));
    tell!(cuda, "at an odd place", cuMemFree_v2(odd));
    tell!(cuda, "all", cuMemFree_v2(all));
    tell!(cuda, "", cuDestroyExternalMemory(memory));
    bench.sum("after that", whole + 65536, 1024);
    // SAFETY: as above.
    let small =
        import(bench, "said to be smaller", described(OPAQUE, unsafe { dup(descriptor) }, BYTES / 4, DEDICATED));
    let first = buffer(bench, small, "all that was said", [0, BYTES / 4, 0]);
    buffer(bench, small, "more than was said", [0, BYTES, 0]);
    buffer(bench, small, "a part of what is one object", [65536, 65536, 0]);
    tell!(cuda, "all that was said", cuMemFree_v2(first));
    tell!(cuda, "", cuDestroyExternalMemory(small));
}

fn wrong(bench: &Bench, descriptor: RawFd) {
    let cuda = &bench.cuda;
    import(bench, "of no bytes", described(OPAQUE, descriptor, 0, 0));
    import(bench, "flags", described(OPAQUE, descriptor, BYTES, 2));
    for kind in [0, 2, 3, 4, 5, 6, 7, 99] {
        import(bench, &format!("kind {kind}"), described(kind, descriptor, BYTES, 0));
    }
    import(bench, "of nothing", described(OPAQUE, -1, BYTES, 0));
    // SAFETY: a call with constants.
    let event = unsafe { eventfd(0, 0) };
    import(bench, "of something else", described(OPAQUE, event, BYTES, 0));
    closed(event);
    tell!(cuda, "no description", cuImportExternalMemory(&mut 0u64, null::<u64>()));
    tell!(cuda, "none", cuDestroyExternalMemory(0u64));
    buffer(bench, 0, "of none", [0, 4096, 0]);
}

fn semaphores(bench: &Bench) {
    let cuda = &bench.cuda;
    // SAFETY: a call with constants.
    let event = unsafe { eventfd(0, 0) };
    for kind in [OPAQUE, 2, 6, TIMELINE, 10, 0, 99] {
        let description = described(kind, event, 0, 0);
        tell!(cuda, &format!("kind {kind}"), cuImportExternalSemaphore(&mut 0u64, description.as_ptr()));
    }
    closed(event);
    tell!(cuda, "none", cuDestroyExternalSemaphore(0u64));
    tell!(cuda, "none", cuSignalExternalSemaphoresAsync(null::<u64>(), null::<u64>(), 0, 0u64));
    tell!(cuda, "none", cuWaitExternalSemaphoresAsync(null::<u64>(), null::<u64>(), 0, 0u64));
}

/// Shares of the multiprocessors, and contexts beside those of graphics.
fn contexts(bench: &Bench) {
    let (cuda, mut context) = (&bench.cuda, 0u64);
    let share = [0u32, 8];
    for (what, list, count) in [
        ("8 of the multiprocessors", share.as_ptr(), 1),
        ("a list that is not there", null(), 1),
        ("less than none", share.as_ptr(), -1),
    ] {
        if tell!(cuda, what, cuCtxCreate_v3(&mut context, list, count, 0, 0)) == 0 {
            cu!(cuda, cuCtxDestroy_v2(context));
        }
        let params = [list as u64, u64::from(count as u32), 0];
        if tell!(cuda, what, cuCtxCreate_v4(&mut context, params.as_ptr(), 0, 0)) == 0 {
            cu!(cuda, cuCtxDestroy_v2(context));
        }
    }
    for kind in 1..4u64 {
        let graphics = [kind, share.as_ptr() as u64];
        let params = [0, 0, graphics.as_ptr() as u64];
        tell!(cuda, &format!("beside graphics of kind {kind}"), cuCtxCreate_v4(&mut context, params.as_ptr(), 0, 0));
    }
}

/// Copies of a batch with an array of blocks of 4 by 4 pixels (BC1, BC7): 16 by 16 of them.
pub fn blocks(bench: &Bench) {
    let (cuda, mut stream) = (&bench.cuda, 0u64);
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    for (format, channels) in [(0x91u64, 4u64), (0x9d, 4)] {
        let (mut array, from, to) = (0u64, bench.words(1024, 5), bench.words(1024, 0));
        let what = format!("of format {format:#x}");
        tell!(cuda, &what, cuArray3DCreate_v2(&mut array, [64u64, 64, 0, format | channels << 32, 0].as_ptr()));
        for [width, height] in [[16u64, 16], [3, 2], [64, 64]] {
            let (outside, inside) = ([1, from, 0, 0, 0], [2, array, 0, 0, 0]);
            for (source, target) in [(outside, inside), (inside, [1, to, 0, 0, 0])] {
                let mut copy = [0u64; 14];
                copy[..5].copy_from_slice(&source);
                copy[5..10].copy_from_slice(&target);
                copy[10..].copy_from_slice(&[width, height, 1, 1]);
                tell!(
                    cuda,
                    &format!("{what}, {width} by {height}"),
                    cuMemcpy3DBatchAsync_v2(1usize, copy.as_ptr(), 0u64, stream)
                );
                tell!(cuda, "", cuStreamSynchronize(stream));
            }
            bench.sum("there and back", to, 1024);
        }
        cu!(cuda, cuArrayDestroy(array));
        cu!(cuda, cuMemFree_v2(from));
        cu!(cuda, cuMemFree_v2(to));
    }
    cu!(cuda, cuStreamDestroy_v2(stream));
}
