//! Memory of all kinds, and which devices reach it.

use crate::{Pair, cu, tell};

const COUNT: usize = 1 << 16;
const BYTES: usize = COUNT * 4;

/// `CUpointer_attribute`s that say where memory is.
const TYPE: u32 = 2;
const ORDINAL: u32 = 9;
/// CU_MEM_LOCATION_TYPE_DEVICE, CU_MEM_ALLOCATION_TYPE_PINNED, and read and write access.
const DEVICE: u32 = 1;
const PINNED: u32 = 1;
const READ_WRITE: u32 = 3;

/// Prints where an address is.
fn place(pair: &Pair, what: &str, address: u64) {
    let (cuda, mut kind, mut ordinal) = (&pair.cuda, 0u32, -1i32);
    tell!(cuda, what, cuPointerGetAttribute(&mut kind, TYPE, address));
    tell!(cuda, what, cuPointerGetAttribute(&mut ordinal, ORDINAL, address));
    cuda.say(what, format!("type {kind}, device {ordinal}"));
}

/// What addresses say of themselves, whichever context asks.
pub fn pointers(pair: &Pair) {
    let cuda = &pair.cuda;
    let memory = [pair.words(0, COUNT, 0), pair.words(1, COUNT, 0)];
    for asking in 0..2 {
        pair.on(asking);
        for (device, memory) in memory.into_iter().enumerate() {
            place(pair, &format!("memory of {device}, asked by {asking}"), memory + 40);
            let mut context = 0u64;
            tell!(cuda, "context", cuPointerGetAttribute(&mut context, 1, memory));
            cuda.say("is its own", context == pair.contexts[device]);
        }
    }
    let free = |device: usize| {
        let (mut free, mut total) = (0i64, 0i64);
        pair.on(device);
        assert_eq!(cu!(cuda, cuMemGetInfo_v2(&mut free, &mut total)), 0, "free memory");
        free
    };
    let before = [free(0), free(1)];
    let large = pair.words(1, 1 << 26, 0);
    // 256 MiB; others may use the devices meanwhile.
    cuda.say("the second has less", (before[1] - free(1)) - (before[0] - free(0)) >= 1 << 27);
    tell!(cuda, "", cuMemFree_v2(large));
}

/// Memory of both devices in turns: at most 1 GiB, or what one limit for both leaves.
pub fn both(pair: &Pair) {
    const PIECE: usize = 16 << 20;
    let cuda = &pair.cuda;
    let (mut pieces, mut last) = (Vec::new(), 0);
    while pieces.len() < 64 && last == 0 {
        let mut memory = 0u64;
        pair.on(pieces.len() % 2);
        last = cu!(cuda, cuMemAlloc_v2(&mut memory, PIECE));
        if last == 0 {
            pieces.push(memory);
        }
    }
    cuda.told("the last piece", last);
    cuda.say("pieces", pieces.len());
    // What one device gives back the other may have.
    let (first, second): (Vec<_>, Vec<_>) = pieces.iter().enumerate().partition(|(number, _)| number % 2 == 0);
    let freed = first.iter().filter(|(_, memory)| cu!(cuda, cuMemFree_v2(**memory)) == 0).count();
    pair.on(1);
    let mut memory = 0u64;
    let again = (0..freed).filter(|_| cu!(cuda, cuMemAlloc_v2(&mut memory, PIECE)) == 0).count();
    cuda.say("the second gets what the first had", again == first.len() && second.len() + freed == pieces.len());
}

/// Memory of a file that others could map too, as libraries share it between processes.
fn of_file() -> u64 {
    // SAFETY: a name; then a mapping of the new file, which both are left to the process.
    unsafe {
        let file = libc::memfd_create(c"several".as_ptr(), 0);
        assert!(file >= 0 && libc::ftruncate(file, BYTES as libc::off_t) == 0, "a file");
        let access = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), BYTES, access, libc::MAP_SHARED, file, 0) as u64
    }
}

/// Memory of the host, of either context, which both devices reach.
pub fn host(pair: &Pair) {
    let cuda = &pair.cuda;
    let memory = [pair.words(0, COUNT, 0), pair.words(1, COUNT, 0)];
    for device in 0..2 {
        let (mut locked, mut shared) = (0u64, 0u64);
        pair.on(device);
        tell!(cuda, "portable", cuMemHostAlloc(&mut locked, BYTES, 3));
        tell!(cuda, "", cuMemAllocManaged(&mut shared, BYTES, 1));
        let mut own = vec![0u8; BYTES + 8192];
        let own = (own.as_mut_ptr() as u64).next_multiple_of(4096);
        tell!(cuda, "portable", cuMemHostRegister_v2(own, BYTES, 3));
        let file = of_file();
        tell!(cuda, "of a file", cuMemHostRegister_v2(file, BYTES, 3));
        for other in [1 - device, device] {
            pair.on(other);
            for (what, host) in [("allocated", locked), ("managed", shared), ("registered", own), ("of a file", file)] {
                if what == "allocated" {
                    let mut seen = 0u64;
                    tell!(cuda, what, cuMemHostGetDevicePointer_v2(&mut seen, host, 0));
                    cuda.say("is the same", seen == host);
                }
                let count = COUNT as u64;
                pair.launch(what, other, "fill", 0, COUNT as u32, &[host, count, 1, 1 + other as u64]);
                pair.wait();
                tell!(cuda, what, cuMemcpyHtoDAsync_v2(memory[other], host, BYTES, 0u64));
                pair.wait();
                pair.sum(what, memory[other], COUNT);
            }
        }
        pair.on(1 - device);
        tell!(cuda, "with the other's context", cuMemHostUnregister(own));
        tell!(cuda, "of a file", cuMemHostUnregister(file));
        tell!(cuda, "with the other's context", cuMemFreeHost(locked));
        tell!(cuda, "with the other's context", cuMemFree_v2(shared));
    }
}

/// CUmemAllocationProp.
#[repr(C)]
struct Properties {
    kind: u32,
    handles: u32,
    location: [u32; 2],
    windows: u64,
    flags: [u8; 8],
}

/// CUmemAccessDesc.
#[repr(C)]
struct Access {
    location: [u32; 2],
    flags: u32,
}

/// Physical memory of the second device, mapped, and opened for one and then both; also through a descriptor.
pub fn mapped(pair: &Pair) {
    const SIZE: usize = 2 << 20;
    const DESCRIPTOR: u32 = 1;
    let cuda = &pair.cuda;
    let what = Properties { kind: PINNED, handles: DESCRIPTOR, location: [DEVICE, 1], windows: 0, flags: [0; 8] };
    let (mut handle, mut given, mut file) = (0u64, 0u64, -1i32);
    pair.on(0);
    tell!(cuda, "of the second", cuMemCreate(&mut handle, SIZE, &what, 0u64));
    tell!(cuda, "", cuMemExportToShareableHandle(&mut file, handle, DESCRIPTOR, 0u64));
    tell!(cuda, "", cuMemImportFromShareableHandle(&mut given, file as u64, DESCRIPTOR));
    let wrong = Properties { kind: PINNED, handles: DESCRIPTOR, location: [DEVICE, 99], windows: 0, flags: [0; 8] };
    let mut none = 0u64;
    tell!(cuda, "of no device", cuMemCreate(&mut none, SIZE, &wrong, 0u64));
    let mut addresses = [0u64; 2];
    for (address, handle) in addresses.iter_mut().zip([handle, given]) {
        tell!(cuda, "", cuMemAddressReserve(&mut *address, SIZE, 0usize, 0u64, 0u64));
        tell!(cuda, "", cuMemMap(*address, SIZE, 0usize, handle, 0u64));
    }
    let [address, second] = addresses;
    let access = [0u32, 1].map(|device| Access { location: [DEVICE, device], flags: READ_WRITE });
    let open = |what: &str, address: u64, whose: &[Access]| {
        tell!(cuda, what, cuMemSetAccess(address, SIZE, whose.as_ptr(), whose.len()));
        for device in 0..2u32 {
            let mut flags = 77u64;
            tell!(cuda, device.to_string(), cuMemGetAccess(&mut flags, &[DEVICE, device], address));
            cuda.say("access", flags);
        }
    };
    open("for the second", address, &access[1..]);
    place(pair, "mapped", address + 4096);
    pair.on(1);
    pair.launch("by the second", 1, "fill", 0, COUNT as u32, &[address, COUNT as u64, 1, 2]);
    pair.wait();
    open("for both", address, &access);
    open("for the first, through the descriptor", second, &access[..1]);
    place(pair, "mapped again", second + 4096);
    pair.on(0);
    pair.launch("by the first", 0, "add_arrays", 0, COUNT as u32, &[address, second, address, COUNT as u64]);
    pair.wait();
    pair.sum("twice as much", address, COUNT);
    pair.sum("seen through the descriptor", second, COUNT);
    for address in addresses {
        // A handle that an address gives is the one that there is, and counts.
        let mut same = 0u64;
        tell!(cuda, "", cuMemRetainAllocationHandle(&mut same, address));
        cuda.say("the handle", same == handle || same == given);
        tell!(cuda, "what was retained", cuMemRelease(same));
        tell!(cuda, "", cuMemUnmap(address, SIZE));
        tell!(cuda, "", cuMemAddressFree(address, SIZE));
    }
    tell!(cuda, "", cuMemRelease(handle));
    tell!(cuda, "", cuMemRelease(given));
}

/// Pools of the second device, of which the first gets memory.
pub fn pools(pair: &Pair) {
    /// CUmemPoolProps, all of it but these four words zero.
    #[repr(C)]
    struct PoolProperties([u32; 22]);
    let cuda = &pair.cuda;
    let mut words = [0u32; 22];
    words[..4].copy_from_slice(&[PINNED, 0, DEVICE, 1]);
    let (mut pool, mut own) = (0u64, 0u64);
    pair.on(0);
    tell!(cuda, "of the second", cuMemPoolCreate(&mut pool, &PoolProperties(words)));
    tell!(cuda, "of the second", cuDeviceGetDefaultMemPool(&mut own, 1));
    tell!(cuda, "of the second for the first", cuDeviceSetMemPool(0, pool));
    let mut memory = 0u64;
    tell!(cuda, "", cuMemAllocFromPoolAsync(&mut memory, BYTES, pool, 0u64));
    pair.wait();
    place(pair, "of the pool", memory);
    let access = Access { location: [DEVICE, 0], flags: READ_WRITE };
    for (what, of) in [("a pool", pool), ("the device's own", own)] {
        let mut flags = 77u32;
        tell!(cuda, what, cuMemPoolGetAccess(&mut flags, of, &[DEVICE, 0u32]));
        cuda.say("access of the first", flags);
        tell!(cuda, what, cuMemPoolSetAccess(of, &access, 1usize));
        tell!(cuda, what, cuMemPoolGetAccess(&mut flags, of, &[DEVICE, 0u32]));
        cuda.say("access of the first", flags);
    }
    let mut others = 0u64;
    pair.on(1);
    tell!(cuda, "", cuMemAllocAsync(&mut others, BYTES, 0u64));
    pair.wait();
    place(pair, "of the device's own", others);
    pair.on(0);
    for (what, memory) in [("of the pool", memory), ("of the device's own", others)] {
        pair.launch(what, 0, "fill", 0, COUNT as u32, &[memory, COUNT as u64, 1, 9]);
        pair.wait();
        pair.sum(what, memory, COUNT);
    }
    tell!(cuda, "", cuMemFreeAsync(memory, 0u64));
    pair.on(1);
    tell!(cuda, "", cuMemFreeAsync(others, 0u64));
    pair.wait();
    tell!(cuda, "", cuMemPoolDestroy(pool));
}
