//! Functions that programs of long ago call: launches in steps, contexts that are counted, launches on several devices,
//! addresses and sizes of 32 bits.

use std::ptr::null;

use crate::{Bench, cu, tell};

pub fn run(bench: &Bench) {
    steps(bench);
    counted(bench);
    several(bench);
    narrow_arrays(bench);
    narrow(bench);
    in_their_context(bench);
    wrong_steps(bench);
}

/// A kernel whose parameters are set one by one.
fn steps(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(64, 0));
    let fill = bench.function("fill");
    tell!(cuda, "", cuFuncSetBlockShape(fill, 16, 1, 1));
    tell!(cuda, "", cuFuncSetSharedSize(fill, 64u32));
    tell!(cuda, "", cuParamSetSize(fill, 20u32));
    tell!(cuda, "", cuParamSetv(fill, 0, &words, 8u32));
    tell!(cuda, "", cuParamSeti(fill, 8, 64u32));
    tell!(cuda, "", cuParamSeti(fill, 12, 1u32));
    tell!(cuda, "", cuParamSeti(fill, 16, 5u32));
    tell!(cuda, "", cuLaunch(fill));
    tell!(cuda, "", cuCtxSynchronize());
    bench.sum("one block", words, 64);
    tell!(cuda, "", cuLaunchGrid(fill, 2, 1));
    tell!(cuda, "", cuCtxSynchronize());
    bench.sum("two blocks", words, 64);
    cu!(cuda, cuCtxSynchronize());
    let mut stream = 0u64;
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    tell!(cuda, "", cuParamSeti(fill, 12, 2u32));
    tell!(cuda, "", cuLaunchGridAsync(fill, 2, 2, stream));
    tell!(cuda, "", cuStreamSynchronize(stream));
    bench.sum("in a stream", words, 64);
    // A float goes by a register of its own, so the call is made by its type.
    // SAFETY: the type is that of the CUDA Driver API for this name.
    let status = unsafe {
        let call: unsafe extern "C" fn(u64, i32, f32) -> i32 = std::mem::transmute(cuda.find("cuParamSetf"));
        call(fill, 16, 1.0)
    };
    cuda.told("cuParamSetf", status);
    tell!(cuda, "", cuLaunchGrid(fill, 1, 1));
    cu!(cuda, cuCtxSynchronize());
    cuda.say("word", format!("{:x}", bench.read(words, 1)[0]));
    cu!(cuda, cuStreamDestroy_v2(stream));
    cu!(cuda, cuMemFree_v2(words));
}

fn wrong_steps(bench: &Bench) {
    let cuda = &bench.cuda;
    let fill = bench.function("fill");
    tell!(cuda, "no threads", cuFuncSetBlockShape(fill, 0, 1, 1));
    tell!(cuda, "too many threads", cuFuncSetBlockShape(fill, 2048, 1, 1));
    tell!(cuda, "less than none", cuFuncSetBlockShape(fill, -1, 1, 1));
    tell!(cuda, "too much", cuFuncSetSharedSize(fill, 1u32 << 24));
    tell!(cuda, "too much", cuParamSetSize(fill, 1u32 << 20));
    tell!(cuda, "less than they are", cuParamSetSize(fill, 8u32));
    tell!(cuda, "at an odd place", cuParamSeti(fill, 2, 1u32));
    let value = 1u64;
    tell!(cuda, "past the end", cuParamSetv(fill, 4092, &value, 8u32));
    tell!(cuda, "nothing", cuParamSetv(fill, 0, null::<u64>(), 8u32));
    tell!(cuda, "of no bytes", cuParamSetv(fill, 0, &value, 0u32));
    cu!(cuda, cuFuncSetBlockShape(fill, 1, 1, 1));
    tell!(cuda, "no blocks", cuLaunchGrid(fill, 0, 1));
    tell!(cuda, "less than none", cuLaunchGrid(fill, -1, 1));
    let other = bench.function("nothing");
    tell!(cuda, "with no shape", cuLaunch(other));
    tell!(cuda, "", cuCtxSynchronize());
    tell!(cuda, "no function", cuFuncSetBlockShape(0u64, 1, 1, 1));
    tell!(cuda, "no function", cuLaunch(0u64));
    tell!(cuda, "far behind the last", cuParamSeti(fill, 1 << 20, 1u32));
}

/// A parameter before the first: the vendor's library ends its process with this.
pub fn before_the_first(bench: &Bench) {
    let (cuda, fill) = (&bench.cuda, bench.function("fill"));
    tell!(cuda, "before the first", cuParamSeti(fill, -4, 1u32));
}

/// Contexts that end when their last user leaves.
fn counted(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut own, mut same) = (0u64, 0u64);
    tell!(cuda, "the primary one", cuCtxAttach(&mut same, 0));
    cuda.say("the same", same == bench.context);
    tell!(cuda, "the primary one", cuCtxDetach(same));
    cu!(cuda, cuCtxSetCurrent(bench.context));
    tell!(cuda, "", cuCtxCreate_v2(&mut own, 0, 0));
    tell!(cuda, "", cuCtxAttach(&mut same, 0));
    cuda.say("the same", same == own);
    tell!(cuda, "flags", cuCtxAttach(&mut same, 1));
    tell!(cuda, "no place", cuCtxAttach(null::<u64>(), 0));
    tell!(cuda, "", cuCtxDetach(own));
    tell!(cuda, "it is still there", cuCtxSynchronize());
    tell!(cuda, "the last", cuCtxDetach(own));
    let mut current = 9u64;
    tell!(cuda, "", cuCtxGetCurrent(&mut current));
    cuda.say("the primary one is current", current == bench.context);
    tell!(cuda, "none", cuCtxDetach(0u64));
    cu!(cuda, cuCtxSetCurrent(bench.context));
    cu!(cuda, cuCtxSetCurrent(0u64));
    tell!(cuda, "none is current", cuCtxAttach(&mut same, 0));
    cu!(cuda, cuCtxSetCurrent(bench.context));
}

/// `CUDA_LAUNCH_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Part {
    function: u64,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: u64,
    parameters: u64,
}

fn several(bench: &Bench) {
    let (cuda, words) = (&bench.cuda, bench.words(16, 0));
    cu!(cuda, cuCtxSynchronize());
    let mut stream = 0u64;
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    let fill = crate::graphs::Fill::new(words, 16, 1, 1);
    let places = fill.places();
    let part = Part {
        function: bench.function("fill"),
        grid: [1; 3],
        block: [16, 1, 1],
        shared: 0,
        stream,
        parameters: places.as_ptr() as u64,
    };
    tell!(cuda, "one", cuLaunchCooperativeKernelMultiDevice([part].as_ptr(), 1, 0));
    tell!(cuda, "", cuStreamSynchronize(stream));
    bench.sum("words", words, 16);
    tell!(cuda, "twice the same", cuLaunchCooperativeKernelMultiDevice([part, part].as_ptr(), 2, 0));
    tell!(cuda, "none", cuLaunchCooperativeKernelMultiDevice([part].as_ptr(), 0, 0));
    tell!(cuda, "no list", cuLaunchCooperativeKernelMultiDevice(null::<Part>(), 1, 0));
    tell!(cuda, "flags", cuLaunchCooperativeKernelMultiDevice([part].as_ptr(), 1, 3));
    tell!(cuda, "wrong flags", cuLaunchCooperativeKernelMultiDevice([part].as_ptr(), 1, 4));
    let unstreamed = Part { stream: 0, ..part };
    tell!(cuda, "no stream", cuLaunchCooperativeKernelMultiDevice([unstreamed].as_ptr(), 1, 0));
    let large = Part { grid: [1 << 20, 1, 1], ..part };
    tell!(cuda, "too large", cuLaunchCooperativeKernelMultiDevice([large].as_ptr(), 1, 0));
    tell!(cuda, "", cuStreamSynchronize(stream));
    cu!(cuda, cuStreamDestroy_v2(stream));
    cu!(cuda, cuMemFree_v2(words));
}

/// The functions of before 3.2 in a context that one of them has made.
fn in_their_context(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut context, mut version, mut module) = (0u64, 0u32, 0u64);
    tell!(cuda, "of before 3.2", cuCtxCreate(&mut context, 0, 0));
    tell!(cuda, "", cuCtxGetApiVersion(context, &mut version));
    cuda.say("version", version);
    narrow_arrays(bench);
    cu!(cuda, cuModuleLoadData(&mut module, crate::KERNELS.as_ptr()));
    let narrow_bench = Bench { cuda: programs::any::Any::load().expect("loaded before"), context, module };
    narrow_bench.cuda.group("older, in its context");
    narrow(&narrow_bench);
    tell!(cuda, "", cuCtxDestroy_v2(context));
    cu!(cuda, cuCtxSetCurrent(bench.context));
}

/// Addresses of 32 bits, which no device memory of today has.
fn narrow(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut small, mut other) = (7u32, 7u32);
    tell!(cuda, "", cuDeviceTotalMem(&mut small, 0));
    cuda.say("bytes", small);
    tell!(cuda, "", cuMemGetInfo(&mut small, &mut other));
    cuda.say("total", other);
    small = 7;
    let made = tell!(cuda, "", cuMemAlloc(&mut small, 4096u32));
    cuda.say("untouched", small == 7);
    if made == 0 {
        tell!(cuda, "", cuMemFree(small));
    }
    tell!(cuda, "nothing", cuMemFree(0u32));
    let mut pitch = 7u32;
    tell!(cuda, "", cuMemAllocPitch(&mut small, &mut pitch, 100u32, 4u32, 4u32));
    tell!(cuda, "", cuModuleGetGlobal(&mut small, &mut other, bench.module, c"table".as_ptr()));
    cuda.say("bytes", other);
    tell!(cuda, "an absent one", cuModuleGetGlobal(&mut small, &mut other, bench.module, c"absent".as_ptr()));
    let mut host = 0u64;
    cu!(cuda, cuMemHostAlloc(&mut host, 4096usize, 2));
    tell!(cuda, "", cuMemHostGetDevicePointer(&mut small, host, 0));
    cu!(cuda, cuMemFreeHost(host));
    let mut bytes = [0u8; 64];
    tell!(cuda, "wild", cuMemGetAddressRange(&mut small, &mut other, 4096u32));
    tell!(cuda, "wild", cuMemcpyHtoD(4096u32, bytes.as_ptr(), 64u32));
    tell!(cuda, "wild", cuMemcpyDtoH(bytes.as_mut_ptr(), 4096u32, 64u32));
    tell!(cuda, "wild", cuMemcpyDtoD(4096u32, 8192u32, 64u32));
    tell!(cuda, "of no bytes", cuMemcpyDtoD(4096u32, 8192u32, 0u32));
    tell!(cuda, "wild", cuMemsetD8(4096u32, 1u8, 64u32));
    tell!(cuda, "wild", cuMemsetD16(4096u32, 1u16, 64u32));
    tell!(cuda, "wild", cuMemsetD32(4096u32, 1u32, 64u32));
    tell!(cuda, "wild", cuMemsetD2D8(4096u32, 64u32, 1u8, 8u32, 8u32));
    tell!(cuda, "wild", cuMemsetD2D16(4096u32, 64u32, 1u16, 8u32, 8u32));
    tell!(cuda, "wild", cuMemsetD2D32(4096u32, 64u32, 1u32, 8u32, 8u32));
    let mut reference = 0u64;
    cu!(cuda, cuTexRefCreate(&mut reference));
    cu!(cuda, cuTexRefSetFormat(reference, 32, 1));
    tell!(cuda, "wild", cuTexRefSetAddress(&mut other, reference, 4096u32, 256u32));
    tell!(cuda, "", cuTexRefGetAddress(&mut small, reference));
    cu!(cuda, cuTexRefDestroy(reference));
}

/// `CUDA_MEMCPY2D` of before 3.2.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Rows {
    from_at: [u32; 2],
    from_kind: u32,
    from_host: u64,
    from_device: u32,
    from_array: u64,
    from_pitch: u32,
    to_at: [u32; 2],
    to_kind: u32,
    to_host: u64,
    to_device: u32,
    to_array: u64,
    to_pitch: u32,
    size: [u32; 2],
}

/// Arrays have no address: what describes them in 32 bits works as ever.
fn narrow_arrays(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut array, mut cube) = (0u64, 0u64);
    let (flat, mut back) = ([16u32, 4, 32, 1], [0u32; 6]);
    tell!(cuda, "", cuArrayCreate(&mut array, flat.as_ptr()));
    tell!(cuda, "", cuArrayGetDescriptor(back.as_mut_ptr(), array));
    cuda.say("described", format!("{:?}", &back[..4]));
    tell!(cuda, "", cuArray3DCreate(&mut cube, [8u32, 4, 2, 32, 1, 0].as_ptr()));
    tell!(cuda, "", cuArray3DGetDescriptor(back.as_mut_ptr(), cube));
    cuda.say("described", format!("{back:?}"));
    let words: Vec<u32> = (0..16).collect();
    let mut read = [0u32; 16];
    tell!(cuda, "", cuMemcpyHtoA(array, 0u32, words.as_ptr(), 64u32));
    tell!(cuda, "", cuMemcpyAtoH(read.as_mut_ptr(), array, 16u32, 32u32));
    cuda.say("words", format!("{read:?}"));
    tell!(cuda, "wild", cuMemcpyAtoD(4096u32, array, 0u32, 64u32));
    tell!(cuda, "wild", cuMemcpyDtoA(array, 0u32, 4096u32, 64u32));
    let mut line = 0u64;
    cu!(cuda, cuArrayCreate(&mut line, [16u32, 0, 32, 1].as_ptr()));
    tell!(cuda, "", cuMemcpyAtoA(line, 0u32, array, 0u32, 64u32));
    cu!(cuda, cuCtxSynchronize());
    let mut stream = 0u64;
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    tell!(cuda, "", cuMemcpyAtoHAsync(read.as_mut_ptr(), line, 0u32, 64u32, stream));
    tell!(cuda, "", cuStreamSynchronize(stream));
    cuda.say("words", format!("{read:?}"));
    tell!(cuda, "", cuMemcpyHtoAAsync(line, 0u32, read.as_ptr(), 32u32, stream));
    tell!(cuda, "", cuStreamSynchronize(stream));
    let copy = Rows {
        from_kind: 1,
        from_host: words.as_ptr() as u64,
        from_pitch: 64,
        to_at: [0, 1],
        to_kind: 3,
        to_array: array,
        size: [64, 1],
        ..Rows::default()
    };
    tell!(cuda, "", cuMemcpy2D(&copy));
    tell!(cuda, "", cuMemcpy2DUnaligned(&copy));
    tell!(cuda, "", cuMemcpy2DAsync(&copy, stream));
    tell!(cuda, "", cuStreamSynchronize(stream));
    cu!(cuda, cuStreamDestroy_v2(stream));
    for array in [array, cube, line] {
        cu!(cuda, cuArrayDestroy(array));
    }
}
