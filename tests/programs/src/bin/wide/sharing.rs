//! Physical memory and pools that one process gives another as file descriptors: this program starts itself as the other one.

use std::os::fd::RawFd;
use std::process::Command;
use std::ptr::null;

use programs::fail;

use crate::{Bench, cu, tell};

/// Argument of the other process, before the two descriptors and what was exported of an allocation.
pub const OPTION: &str = "--sharing";
/// `CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`.
const DESCRIPTOR: u32 = 1;
const FABRIC: u32 = 8;

unsafe extern "C" {
    fn fcntl(descriptor: RawFd, command: i32, argument: i32) -> i32;
    fn close(descriptor: RawFd) -> i32;
}

/// A descriptor that a child process gets too.
fn inherited(descriptor: RawFd) {
    // SAFETY: F_SETFD with no flags.
    unsafe { fcntl(descriptor, 2, 0) };
}

pub fn closed(descriptor: RawFd) {
    // SAFETY: a descriptor that this program got from the library and uses no more.
    unsafe { close(descriptor) };
}

/// Maps physical memory; its address.
pub fn mapped(bench: &Bench, handle: u64, bytes: usize) -> u64 {
    let (cuda, mut address) = (&bench.cuda, 0u64);
    tell!(cuda, "", cuMemAddressReserve(&mut address, bytes, 0usize, 0u64, 0u64));
    tell!(cuda, "", cuMemMap(address, bytes, 0usize, handle, 0u64));
    tell!(cuda, "", cuMemSetAccess(address, bytes, [1u32, 0, 3].as_ptr(), 1usize));
    address
}

pub fn unmapped(bench: &Bench, address: u64, bytes: usize) {
    let cuda = &bench.cuda;
    tell!(cuda, "", cuMemUnmap(address, bytes));
    tell!(cuda, "", cuMemAddressFree(address, bytes));
}

pub fn run(bench: &Bench) {
    let cuda = &bench.cuda;
    // Pinned memory of device 0, to be exported as a descriptor.
    let properties = |types: u32| [1 | u64::from(types) << 32, 1u64, 0, 0];
    let (mut bytes, mut plain, mut handle) = (0usize, 0u64, 0u64);
    cu!(cuda, cuMemGetAllocationGranularity(&mut bytes, properties(DESCRIPTOR).as_ptr(), 0));
    tell!(cuda, "", cuMemCreate(&mut handle, bytes, properties(DESCRIPTOR).as_ptr(), 0u64));
    tell!(cuda, "not for others", cuMemCreate(&mut plain, bytes, properties(0).as_ptr(), 0u64));
    let (mut memory, mut other): (RawFd, RawFd) = (-1, -1);
    tell!(cuda, "not for others", cuMemExportToShareableHandle(&mut other, plain, DESCRIPTOR, 0u64));
    tell!(cuda, "", cuMemRelease(plain));
    tell!(cuda, "", cuMemExportToShareableHandle(&mut memory, handle, DESCRIPTOR, 0u64));
    cuda.say("a descriptor", memory >= 0);
    tell!(cuda, "flags", cuMemExportToShareableHandle(&mut other, handle, DESCRIPTOR, 1u64));
    tell!(cuda, "no type", cuMemExportToShareableHandle(&mut other, handle, 0, 0u64));
    tell!(cuda, "a fabric's", cuMemExportToShareableHandle(&mut [0u64; 8], handle, FABRIC, 0u64));
    tell!(cuda, "no place", cuMemExportToShareableHandle(null::<u64>(), handle, DESCRIPTOR, 0u64));
    let address = mapped(bench, handle, bytes);
    tell!(cuda, "", cuMemsetD32_v2(address, 3, 1024usize));
    tell!(cuda, "", cuCtxSynchronize());
    own(bench, memory, bytes);
    let (pool, pool_memory, given, exported) = pool_for_others(bench);
    inherited(memory);
    inherited(pool);
    let program = std::env::current_exe().expect("a path");
    let words = exported.map(|word| format!("{word:x}")).join(",");
    let arguments = [OPTION, &memory.to_string(), &bytes.to_string(), &pool.to_string(), &words];
    match Command::new(program).args(arguments).output() {
        Ok(output) => print!("{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => cuda.say("the other process", error),
    }
    bench.sum("what the other has written", address, 1024);
    bench.sum("what it has written to the pool's", given, 1024);
    unmapped(bench, address, bytes);
    tell!(cuda, "", cuMemRelease(handle));
    // The descriptor holds the memory.
    let mut back = 0u64;
    tell!(cuda, "released", cuMemImportFromShareableHandle(&mut back, memory, DESCRIPTOR));
    let address = mapped(bench, back, bytes);
    bench.sum("words", address, 1024);
    unmapped(bench, address, bytes);
    tell!(cuda, "", cuMemRelease(back));
    closed(memory);
    tell!(cuda, "closed", cuMemImportFromShareableHandle(&mut back, memory, DESCRIPTOR));
    tell!(cuda, "", cuMemFreeAsync(given, 0u64));
    tell!(cuda, "", cuCtxSynchronize());
    tell!(cuda, "", cuMemPoolDestroy(pool_memory));
    closed(pool);
}

/// Imported by the process that exported it.
fn own(bench: &Bench, memory: RawFd, bytes: usize) {
    let (cuda, mut handle) = (&bench.cuda, 0u64);
    tell!(cuda, "by its own process", cuMemImportFromShareableHandle(&mut handle, memory, DESCRIPTOR));
    let address = mapped(bench, handle, bytes);
    bench.sum("words", address, 1024);
    let mut back = [9u64; 4];
    tell!(cuda, "", cuMemGetAllocationPropertiesFromHandle(back.as_mut_ptr(), handle));
    cuda.say("for others", back[0] >> 32);
    unmapped(bench, address, bytes);
    tell!(cuda, "", cuMemRelease(handle));
    tell!(cuda, "no descriptor", cuMemImportFromShareableHandle(&mut handle, -1i64, DESCRIPTOR));
    tell!(cuda, "another's descriptor", cuMemImportFromShareableHandle(&mut handle, 0u64, DESCRIPTOR));
    tell!(cuda, "no type", cuMemImportFromShareableHandle(&mut handle, memory, 0));
    tell!(cuda, "no place", cuMemImportFromShareableHandle(null::<u64>(), memory, DESCRIPTOR));
}

/// A pool, its descriptor, memory of it, and what tells of that.
fn pool_for_others(bench: &Bench) -> (RawFd, u64, u64, [u64; 8]) {
    let cuda = &bench.cuda;
    let (mut pool, mut plain, mut given) = (0u64, 0u64, 0u64);
    let mut properties = [0u64; 11];
    properties[0] = 1;
    properties[1] = 1;
    cu!(cuda, cuMemPoolCreate(&mut plain, properties.as_ptr()));
    properties[0] |= u64::from(DESCRIPTOR) << 32;
    tell!(cuda, "", cuMemPoolCreate(&mut pool, properties.as_ptr()));
    tell!(cuda, "", cuMemAllocFromPoolAsync(&mut given, 4096usize, pool, 0u64));
    tell!(cuda, "", cuMemsetD32_v2(given, 4, 1024usize));
    tell!(cuda, "", cuCtxSynchronize());
    let (mut descriptor, mut other): (RawFd, RawFd) = (-1, -1);
    tell!(cuda, "", cuMemPoolExportToShareableHandle(&mut descriptor, pool, DESCRIPTOR, 0u64));
    tell!(cuda, "not for others", cuMemPoolExportToShareableHandle(&mut other, plain, DESCRIPTOR, 0u64));
    tell!(cuda, "no type", cuMemPoolExportToShareableHandle(&mut other, pool, 0, 0u64));
    let mut exported = [0u64; 8];
    tell!(cuda, "", cuMemPoolExportPointer(exported.as_mut_ptr(), given));
    let words = bench.words(4, 0);
    tell!(cuda, "of no pool", cuMemPoolExportPointer([0u64; 8].as_mut_ptr(), words));
    tell!(cuda, "no place", cuMemPoolExportPointer(null::<u64>(), given));
    let mut same = 0u64;
    tell!(cuda, "its own", cuMemPoolImportPointer(&mut same, pool, exported.as_ptr()));
    cu!(cuda, cuMemFree_v2(words));
    cu!(cuda, cuMemPoolDestroy(plain));
    (descriptor, pool, given, exported)
}

/// The other process.
pub fn other(bench: &Bench, arguments: &[String]) {
    let cuda = &bench.cuda;
    let [memory, bytes, pool, exported] = arguments else { fail("wide", 2, "what is shared") };
    cuda.group("sharing, the other");
    let number = |text: &str| text.parse::<i64>().unwrap_or(-1);
    let mut handle = 0u64;
    if tell!(cuda, "", cuMemImportFromShareableHandle(&mut handle, number(memory), DESCRIPTOR)) == 0 {
        let bytes = number(bytes) as usize;
        let address = mapped(bench, handle, bytes);
        bench.sum("words", address, 1024);
        tell!(cuda, "", cuMemsetD32_v2(address, 5, 512usize));
        tell!(cuda, "", cuCtxSynchronize());
        unmapped(bench, address, bytes);
        tell!(cuda, "", cuMemRelease(handle));
    }
    let mut imported = 0u64;
    if tell!(cuda, "", cuMemPoolImportFromShareableHandle(&mut imported, number(pool), DESCRIPTOR, 0u64)) == 0 {
        pool_of_another(bench, imported, exported);
    }
}

fn pool_of_another(bench: &Bench, pool: u64, exported: &str) {
    let cuda = &bench.cuda;
    let mut words = exported.split(',').map(|word| u64::from_str_radix(word, 16).unwrap_or(0));
    let words = [(); 8].map(|()| words.next().unwrap_or(0));
    let mut address = 0u64;
    tell!(cuda, "from another's pool", cuMemAllocFromPoolAsync(&mut address, 4096usize, pool, 0u64));
    tell!(cuda, "wild", cuMemPoolImportPointer(&mut address, pool, [0u64; 8].as_ptr()));
    if tell!(cuda, "", cuMemPoolImportPointer(&mut address, pool, words.as_ptr())) == 0 {
        bench.sum("words", address, 1024);
        tell!(cuda, "", cuMemsetD32_v2(address, 6, 512usize));
        tell!(cuda, "", cuCtxSynchronize());
        tell!(cuda, "", cuMemFreeAsync(address, 0u64));
        tell!(cuda, "", cuCtxSynchronize());
    }
    tell!(cuda, "", cuMemPoolDestroy(pool));
}
