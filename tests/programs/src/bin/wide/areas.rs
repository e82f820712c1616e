//! Smaller areas: tensor maps, texture references, descriptions of textures, batches, attributes of managed ranges.

use std::ptr::null;

use crate::{Bench, cu, tell};

pub fn run(bench: &Bench) {
    tensors(bench);
    references(bench);
    textures(bench);
    batches(bench);
    managed(bench);
    virtual_memory(bench);
    launches(bench);
    processes(bench);
}

/// A tensor map, at an address that is a multiple of 64.
#[repr(C, align(64))]
struct Map([u64; 16]);

fn tensors(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(64 * 64, 0));
    let mut map = Map([0; 16]);
    let (dims, strides, boxes, steps) = ([64u64, 64], [256u64], [32u32, 8], [1u32, 1]);
    let mut encode = |what: &str, rank: u32, address: u64, swizzle: u32| {
        tell!(
            cuda,
            what,
            cuTensorMapEncodeTiled(
                &mut map,
                7,
                rank,
                address,
                dims.as_ptr(),
                strides.as_ptr(),
                boxes.as_ptr(),
                steps.as_ptr(),
                0,
                swizzle,
                0,
                0
            )
        );
        cuda.say("something was encoded", map.0.iter().any(|word| *word != 0));
    };
    encode("floats", 2, words, 0);
    encode("a swizzle", 2, words, 3);
    encode("rank 0", 0, words, 0);
    encode("rank 6", 6, words, 0);
    encode("an odd address", 2, words + 4, 0);
    tell!(cuda, "", cuTensorMapReplaceAddress(&mut map, words + 1024));
    tell!(cuda, "an odd one", cuTensorMapReplaceAddress(&mut map, words + 3));
    let (dims, strides, steps) = ([64u64, 16, 16, 2], [256u64, 4096, 65536], [1u32; 4]);
    let (lower, upper) = ([0i32, 0], [0i32, 0]);
    tell!(
        cuda,
        "",
        cuTensorMapEncodeIm2col(
            &mut map,
            7,
            4,
            words,
            dims.as_ptr(),
            strides.as_ptr(),
            lower.as_ptr(),
            upper.as_ptr(),
            32,
            64,
            steps.as_ptr(),
            0
        )
    );
    cu!(cuda, cuMemFree_v2(words));
}

fn references(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut reference, mut array) = (0u64, 0u64);
    tell!(cuda, "", cuTexRefCreate(&mut reference));
    tell!(cuda, "", cuTexRefSetFormat(reference, 32, 1));
    let (mut format, mut channels) = (9u32, 9i32);
    tell!(cuda, "", cuTexRefGetFormat(&mut format, &mut channels, reference));
    cuda.say("format, channels", format!("{format} {channels}"));
    tell!(cuda, "", cuTexRefSetAddressMode(reference, 0, 1));
    tell!(cuda, "", cuTexRefGetAddressMode(&mut format, reference, 0));
    cuda.say("mode", format);
    tell!(cuda, "", cuTexRefSetFilterMode(reference, 1));
    tell!(cuda, "", cuTexRefGetFilterMode(&mut format, reference));
    cuda.say("filter", format);
    tell!(cuda, "", cuTexRefSetFlags(reference, 2));
    tell!(cuda, "", cuTexRefGetFlags(&mut format, reference));
    cuda.say("flags", format);
    tell!(cuda, "", cuTexRefSetMaxAnisotropy(reference, 4));
    tell!(cuda, "", cuTexRefGetMaxAnisotropy(&mut channels, reference));
    cuda.say("anisotropy", channels);
    let border = [0.25f32, 0.5, 0.75, 1.0];
    tell!(cuda, "", cuTexRefSetBorderColor(reference, border.as_ptr()));
    let mut back = [0f32; 4];
    tell!(cuda, "", cuTexRefGetBorderColor(back.as_mut_ptr(), reference));
    cuda.say("border", format!("{back:?}"));
    let described = (16usize, 1usize, 32u32, 1u32);
    tell!(cuda, "", cuArrayCreate_v2(&mut array, &described));
    tell!(cuda, "", cuTexRefSetArray(reference, array, 1));
    let mut found = 0u64;
    tell!(cuda, "", cuTexRefGetArray(&mut found, reference));
    cuda.say("as given", found == array);
    let words = bench.words(64, 1);
    let mut offset = 9usize;
    tell!(cuda, "", cuTexRefSetAddress_v2(&mut offset, reference, words, 256usize));
    cuda.say("offset", offset);
    tell!(cuda, "", cuTexRefGetAddress_v2(&mut found, reference));
    cuda.say("as given", found == words);
    tell!(cuda, "none", cuModuleGetTexRef(&mut found, bench.module, c"nothing".as_ptr()));
    tell!(cuda, "none", cuModuleGetSurfRef(&mut found, bench.module, c"nothing".as_ptr()));
    tell!(cuda, "", cuTexRefDestroy(reference));
    let mut needed = [0u64; 5];
    tell!(cuda, "", cuArrayGetMemoryRequirements(needed.as_mut_ptr(), array, 0));
    let mut sparse = [0u64; 8];
    tell!(cuda, "not sparse", cuArrayGetSparseProperties(sparse.as_mut_ptr(), array));
    cu!(cuda, cuArrayDestroy(array));
    cu!(cuda, cuMemFree_v2(words));
}

fn textures(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(64, 1));
    let mut resource = [0u64; 18];
    resource[0] = 2;
    resource[1..4].copy_from_slice(&[words, 32 | 1 << 32, 256]);
    let texture = [0u64; 13];
    let (mut object, mut back) = (0u64, [0u64; 18]);
    tell!(cuda, "", cuTexObjectCreate(&mut object, resource.as_ptr(), texture.as_ptr(), null::<u64>()));
    tell!(cuda, "", cuTexObjectGetResourceDesc(back.as_mut_ptr(), object));
    cuda.say("as given", back[..4] == resource[..4]);
    tell!(cuda, "", cuTexObjectGetTextureDesc(back.as_mut_ptr(), object));
    tell!(cuda, "without one", cuTexObjectGetResourceViewDesc(back.as_mut_ptr(), object));
    tell!(cuda, "", cuTexObjectDestroy(object));
    cu!(cuda, cuMemFree_v2(words));
}

fn batches(bench: &Bench) {
    let cuda = &bench.cuda;
    let (words, other) = (bench.words(64, 3), bench.words(64, 0));
    let mut stream = 0u64;
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    let (to, from, bytes) = ([other, other + 128], [words, words], [64usize, 64]);
    // Order of access: the stream's; places: none.
    let (attributes, first, mut failed) = ([1u32, 0, 0, 0, 0, 0], 0usize, 9usize);
    let mut batch = |what: &str, count: usize, kinds: usize, stream: u64| {
        tell!(
            cuda,
            what,
            cuMemcpyBatchAsync(
                to.as_ptr(),
                from.as_ptr(),
                bytes.as_ptr(),
                count,
                attributes.as_ptr(),
                &first,
                kinds,
                &mut failed,
                stream
            )
        );
    };
    batch("two", 2, 1, stream);
    cu!(cuda, cuStreamSynchronize(stream));
    bench.sum("copied", other, 64);
    batch("none", 0, 1, stream);
    batch("without attributes", 2, 0, stream);
    batch("in the null stream", 2, 1, 0);
    let operations = [[4u64, words, 7, 0, 0, 0], [2u64, words + 8, 9, 0, 0, 0]];
    tell!(cuda, "", cuStreamBatchMemOp_v2(stream, 2, operations.as_ptr(), 0));
    tell!(cuda, "flags", cuStreamBatchMemOp_v2(stream, 2, operations.as_ptr(), 7));
    tell!(cuda, "too many", cuStreamBatchMemOp_v2(stream, 257, operations.as_ptr(), 0));
    cu!(cuda, cuStreamSynchronize(stream));
    cuda.say("words", format!("{:?}", bench.read(words, 3)));
    // An operand is its kind and four words; then width, height, depth, order, flags.
    let mut copy = [0u64; 14];
    copy[..4].copy_from_slice(&[1, words, 0, 0]);
    copy[5..9].copy_from_slice(&[1, other, 0, 0]);
    copy[10..14].copy_from_slice(&[64, 1, 1, 1]);
    tell!(cuda, "", cuMemcpy3DBatchAsync(1usize, copy.as_ptr(), &mut failed, 0u64, stream));
    tell!(cuda, "", cuStreamSynchronize(stream));
    cu!(cuda, cuStreamDestroy_v2(stream));
    cu!(cuda, cuMemFree_v2(words));
    cu!(cuda, cuMemFree_v2(other));
}

fn managed(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut memory, mut value) = (0u64, 9i32);
    tell!(cuda, "", cuMemAllocManaged(&mut memory, 8192usize, 1));
    for attribute in 1..=4u32 {
        tell!(cuda, &format!("{attribute}"), cuMemRangeGetAttribute(&mut value, 4usize, attribute, memory, 8192usize));
        cuda.say("value", value);
    }
    tell!(cuda, "none", cuMemRangeGetAttribute(&mut value, 4usize, 99, memory, 8192usize));
    tell!(cuda, "too wide", cuMemRangeGetAttribute(&mut value, 8usize, 1, memory, 8192usize));
    tell!(cuda, "past the end", cuMemRangeGetAttribute(&mut value, 4usize, 1, memory, 1usize << 40));
    tell!(cuda, "", cuMemFree_v2(memory));
    let (mut pool, mut other) = (0u64, 0u64);
    let place = [1u32, 0];
    tell!(cuda, "", cuMemGetDefaultMemPool(&mut pool, place.as_ptr(), 1));
    tell!(cuda, "", cuDeviceGetDefaultMemPool(&mut other, 0));
    cuda.say("the same", pool == other);
    tell!(cuda, "", cuMemGetMemPool(&mut pool, place.as_ptr(), 1));
    let nowhere = [0u32, 0];
    tell!(cuda, "nowhere", cuMemGetMemPool(&mut pool, nowhere.as_ptr(), 1));
}

/// Physical memory that could be exported.
fn virtual_memory(bench: &Bench) {
    let cuda = &bench.cuda;
    let mut properties = [0u64; 4];
    properties[0] = 1 | 1 << 32;
    properties[1] = 1;
    let (mut granularity, mut handle, mut address) = (0usize, 0u64, 0u64);
    tell!(cuda, "", cuMemGetAllocationGranularity(&mut granularity, properties.as_ptr(), 0));
    cuda.say("granularity", granularity);
    tell!(cuda, "", cuMemCreate(&mut handle, granularity, properties.as_ptr(), 0u64));
    tell!(cuda, "", cuMemAddressReserve(&mut address, granularity, 0usize, 0u64, 0u64));
    tell!(cuda, "", cuMemMap(address, granularity, 0usize, handle, 0u64));
    let access = [1u32, 0, 3];
    tell!(cuda, "", cuMemSetAccess(address, granularity, access.as_ptr(), 1usize));
    tell!(cuda, "", cuMemsetD32_v2(address, 2, 1024usize));
    bench.sum("words", address, 1024);
    let mut back = [9u64; 4];
    tell!(cuda, "", cuMemGetAllocationPropertiesFromHandle(back.as_mut_ptr(), handle));
    tell!(cuda, "", cuMemUnmap(address, granularity));
    tell!(cuda, "", cuMemRelease(handle));
    tell!(cuda, "", cuMemAddressFree(address, granularity));
}

/// A launch that records an event, as an attribute.
fn launches(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(16, 0));
    let (mut event, mut attribute) = (0u64, [0u64; 9]);
    cu!(cuda, cuEventCreate(&mut event, 2));
    attribute[..2].copy_from_slice(&[12, event]);
    let parameters = crate::graphs::Fill::new(words, 16, 0, 3);
    // Grid, block, bytes of shared memory, stream, attributes and their number.
    let launch = |what: &str| {
        let config = [1 | 1 << 32, 1 | 16 << 32, 1 | 1 << 32, 0u64, 0, attribute.as_ptr() as u64, 1];
        let function = bench.function("fill");
        tell!(cuda, what, cuLaunchKernelEx(config.as_ptr(), function, parameters.places().as_ptr(), null::<u64>()));
    };
    launch("an event at its end");
    tell!(cuda, "", cuEventSynchronize(event));
    bench.sum("words", words, 16);
    cu!(cuda, cuEventDestroy_v2(event));
    cu!(cuda, cuMemFree_v2(words));
}

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
}

/// A child of a fork has no device; its parent's threads go on.
fn processes(bench: &Bench) {
    let cuda = &bench.cuda;
    // SAFETY: the child makes one call and ends.
    let child = unsafe { fork() };
    if child == 0 {
        let status = cu!(cuda, cuCtxSynchronize());
        // SAFETY: ends the child at once.
        unsafe { _exit(if status == 3 { 0 } else { 1 }) };
    }
    let elsewhere = std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            let mut memory = 0u64;
            let statuses = [
                cu!(cuda, cuCtxSetCurrent(bench.context)),
                cu!(cuda, cuMemHostAlloc(&mut memory, 65536usize, 0)),
                cu!(cuda, cuMemFreeHost(memory)),
                cu!(cuda, cuCtxSynchronize()),
            ];
            format!("{statuses:?}")
        });
        one.join().expect("no panic")
    });
    cuda.say("a thread after a fork", elsewhere);
    let mut status = 9;
    // SAFETY: waits for the child.
    unsafe { waitpid(child, &mut status, 0) };
    cuda.say("the child has no device", status == 0);
}
