//! What few programs ask: the library's log, notices, sparse arrays, what needs other hardware.

use std::ffi::c_void;
use std::ptr::null;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Bench, cu, tell};

static LINES: AtomicU32 = AtomicU32::new(0);

extern "C" fn line(_data: *mut c_void, _level: u32, _text: *const u8, _bytes: usize) {
    LINES.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn notice(_info: *const c_void, _data: *mut c_void, _handle: u64) {}

pub fn run(bench: &Bench) {
    log(bench);
    notices(bench);
    sparse(bench);
    elsewhere(bench);
}

fn log(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut handle, mut at, mut now) = (0u64, 0u32, 0u32);
    tell!(cuda, "", cuLogsRegisterCallback(line as *const c_void, null::<u64>(), &mut handle));
    tell!(cuda, "no function", cuLogsRegisterCallback(null::<u64>(), null::<u64>(), &mut handle));
    tell!(cuda, "", cuLogsCurrent(&mut at, 0));
    tell!(cuda, "flags", cuLogsCurrent(&mut now, 1));
    cu!(cuda, cuMemFree_v2(0x1234u64));
    cu!(cuda, cuMemAlloc_v2(null::<u64>(), 0usize));
    cu!(cuda, cuStreamSynchronize(0u64));
    tell!(cuda, "", cuLogsCurrent(&mut now, 0));
    cuda.say("lines more", now.wrapping_sub(at));
    cuda.say("lines told", LINES.load(Ordering::SeqCst));
    let (mut text, mut bytes) = ([0u8; 4096], 4096usize);
    tell!(cuda, "", cuLogsDumpToMemory(&mut at, text.as_mut_ptr(), &mut bytes, 0));
    cuda.say("lines", text.iter().filter(|byte| **byte == b'\n').count());
    eprintln!("{}", String::from_utf8_lossy(&text[..bytes.min(4096)]));
    bytes = 8;
    tell!(cuda, "little room", cuLogsDumpToMemory(null::<u64>(), text.as_mut_ptr(), &mut bytes, 0));
    tell!(cuda, "no place", cuLogsDumpToMemory(null::<u64>(), null::<u64>(), &mut bytes, 0));
    tell!(cuda, "", cuLogsDumpToFile(null::<u64>(), c"/dev/null".as_ptr(), 0));
    tell!(cuda, "a folder", cuLogsDumpToFile(null::<u64>(), c"/dev".as_ptr(), 0));
    tell!(cuda, "", cuLogsUnregisterCallback(handle));
    cu!(cuda, cuMemAlloc_v2(null::<u64>(), 0usize));
    cuda.say("lines told", LINES.load(Ordering::SeqCst));
}

fn notices(bench: &Bench) {
    let (cuda, mut handle) = (&bench.cuda, 0u64);
    let status =
        tell!(cuda, "", cuDeviceRegisterAsyncNotification(0, notice as *const c_void, null::<u64>(), &mut handle));
    cuda.say("registered", status == 0);
    tell!(cuda, "", cuDeviceUnregisterAsyncNotification(0, handle));
}

/// One tile of an array that has no memory of its own.
fn sparse(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut array, mut handle, mut stream) = (0u64, 0u64, 0u64);
    // Width, height, depth, format and channels, flags.
    let described = [1024u64, 1024, 0, 32 | 1 << 32, 0x40];
    if tell!(cuda, "sparse", cuArray3DCreate_v2(&mut array, described.as_ptr())) != 0 {
        return;
    }
    let mut tiles = [0u32; 12];
    tell!(cuda, "", cuArrayGetSparseProperties(tiles.as_mut_ptr(), array));
    cuda.say("tiles", format!("{:?}", &tiles[..3]));
    let mut bytes = 0usize;
    // `usage` says that it is for tiles.
    let properties = [1u64, 1, 0, 1 << 16];
    cu!(cuda, cuMemGetAllocationGranularity(&mut bytes, properties.as_ptr(), 0));
    tell!(cuda, "for tiles", cuMemCreate(&mut handle, bytes, properties.as_ptr(), 0u64));
    cu!(cuda, cuStreamCreate(&mut stream, 1));
    let (width, height) = (u64::from(tiles[0]), u64::from(tiles[1]));
    // Array, level's place and extent, what is done, memory and offset, devices.
    let mut tile = [0, array, 0, 0, 0, width << 32, height | 1 << 32, 1, handle, 0, 1, 0];
    tile[5] = width << 32;
    tell!(cuda, "", cuMemMapArrayAsync(tile.as_ptr(), 1u32, stream));
    tell!(cuda, "", cuStreamSynchronize(stream));
    let words = [7u32; 16];
    let mut read = [0u32; 16];
    // X, Y, kind, host, device, array, pitch of each side; then width and height.
    let copy = |from: [u64; 7], to: [u64; 7]| {
        let mut all = [0u64; 16];
        all[..7].copy_from_slice(&from);
        all[7..14].copy_from_slice(&to);
        all[14..].copy_from_slice(&[64, 1]);
        all
    };
    let host = |address: u64| [0, 0, 1, address, 0, 0, 64];
    let tiled = [0, 0, 3, 0, 0, array, 0];
    tell!(cuda, "to the tile", cuMemcpy2D_v2(copy(host(words.as_ptr() as u64), tiled).as_ptr()));
    tell!(cuda, "from the tile", cuMemcpy2D_v2(copy(tiled, host(read.as_mut_ptr() as u64)).as_ptr()));
    cuda.say("words", format!("{read:?}"));
    tile[7] = 2;
    tile[8] = 0;
    tell!(cuda, "away", cuMemMapArrayAsync(tile.as_ptr(), 1u32, stream));
    tell!(cuda, "", cuStreamSynchronize(stream));
    tile[7] = 9;
    tell!(cuda, "neither", cuMemMapArrayAsync(tile.as_ptr(), 1u32, stream));
    tell!(cuda, "none", cuMemMapArrayAsync(tile.as_ptr(), 0u32, stream));
    tell!(cuda, "no list", cuMemMapArrayAsync(null::<u64>(), 1u32, stream));
    cu!(cuda, cuStreamDestroy_v2(stream));
    tell!(cuda, "", cuMemRelease(handle));
    tell!(cuda, "", cuArrayDestroy(array));
}

/// What the guest cannot have: these answer as the driver does where it has not got it either.
fn elsewhere(bench: &Bench) {
    let cuda = &bench.cuda;
    tell!(cuda, "", cuProfilerInitialize(c"/dev/null".as_ptr(), c"/dev/null".as_ptr(), 0));
    let (mut library, mut place) = (0u64, 0u64);
    cu!(cuda, cuLibraryLoadData(&mut library, crate::KERNELS.as_ptr(), 0u64, 0u64, 0, 0u64, 0u64, 0));
    tell!(cuda, "", cuLibraryGetUnifiedFunction(&mut place, library, c"fill".as_ptr()));
    cu!(cuda, cuLibraryUnload(library));
    let words = bench.words(1 << 20, 0);
    let mut descriptor = -1i32;
    tell!(cuda, "", cuMemGetHandleForAddressRange(&mut descriptor, words, 2usize << 20, 1, 0u64));
    let mut supported = 9i32;
    cu!(cuda, cuDeviceGetAttribute(&mut supported, 124, 0));
    cuda.say("DMA_BUF_SUPPORTED", supported);
    cu!(cuda, cuDeviceGetAttribute(&mut supported, 132, 0));
    cuda.say("MULTICAST_SUPPORTED", supported);
    cu!(cuda, cuDeviceGetAttribute(&mut supported, 128, 0));
    cuda.say("HANDLE_TYPE_FABRIC_SUPPORTED", supported);
    cu!(cuda, cuDeviceGetAttribute(&mut supported, 103, 0));
    cuda.say("HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED", supported);
    cu!(cuda, cuDeviceGetAttribute(&mut supported, 136, 0));
    cuda.say("MEM_DECOMPRESS_ALGORITHM_MASK", supported);
    cu!(cuda, cuMemFree_v2(words));
}
