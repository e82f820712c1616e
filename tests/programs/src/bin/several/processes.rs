//! Memory of one device that another process uses on the other: this program starts itself as the other one.

use std::os::fd::RawFd;
use std::process::Command;

use programs::fail;

use crate::{Pair, cu, tell};

/// Argument of the other process, before the way and what it got.
pub const OPTION: &str = "--other";
const COUNT: usize = 1 << 16;
const SIZE: usize = 2 << 20;
const DESCRIPTOR: u32 = 1;
/// CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS.
const LAZY: u32 = 1;

unsafe extern "C" {
    fn fcntl(descriptor: RawFd, command: i32, argument: i32) -> i32;
}

type Handle = [u64; 8];

/// CUmemAllocationProp and CUmemAccessDesc as words.
type Properties = [u32; 8];
type Access = [u32; 3];

/// `cuIpcOpenMemHandle` takes its handle by value: on the stack, behind the three registers' arguments.
fn opened(pair: &Pair, handle: &Handle) -> (i32, u64) {
    type Open = unsafe extern "C" fn(*mut u64, ByValue, u32) -> i32;
    #[repr(C)]
    struct ByValue(Handle);
    let (address, mut memory) = (pair.cuda.find("cuIpcOpenMemHandle_v2"), 0u64);
    // SAFETY: the prototype is the API's.
    let status = unsafe {
        let open: Open = std::mem::transmute(address);
        open(&raw mut memory, ByValue(*handle), LAZY)
    };
    (status, memory)
}

/// Starts this program as the other process, and prints how it ended.
fn start(pair: &Pair, way: &str, argument: &str) {
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program).args([OPTION, way, argument]).status().expect("a child");
    pair.cuda.say("the other process ends well", status.success());
}

/// Gives memory of the first device away (CUDA IPC), and looks at what the other process made of it on the second.
pub fn ipc(pair: &Pair) {
    let cuda = &pair.cuda;
    let memory = pair.words(0, COUNT, 3);
    let mut handle: Handle = [0; 8];
    tell!(cuda, "", cuIpcGetMemHandle(&mut handle, memory));
    start(pair, "ipc", &handle.map(|word| word.to_string()).join(","));
    pair.sum("what the other added", memory, COUNT);
}

/// The same with a descriptor of physical memory.
pub fn descriptors(pair: &Pair) {
    let cuda = &pair.cuda;
    let what: Properties = [1, DESCRIPTOR, 1, 0, 0, 0, 0, 0];
    let (mut physical, mut file) = (0u64, -1i32);
    pair.on(0);
    tell!(cuda, "", cuMemCreate(&mut physical, SIZE, &what, 0u64));
    let address = mapped(pair, physical, 0);
    cu!(cuda, cuMemsetD32_v2(address, 4, COUNT));
    pair.wait();
    tell!(cuda, "", cuMemExportToShareableHandle(&mut file, physical, DESCRIPTOR, 0u64));
    // SAFETY: F_SETFD with no flags: the child has it too.
    unsafe { fcntl(file, 2, 0) };
    start(pair, "descriptors", &file.to_string());
    pair.sum("what the other added", address, COUNT);
}

/// Maps physical memory for a device.
fn mapped(pair: &Pair, physical: u64, device: u32) -> u64 {
    let (cuda, mut address) = (&pair.cuda, 0u64);
    tell!(cuda, "", cuMemAddressReserve(&mut address, SIZE, 0usize, 0u64, 0u64));
    tell!(cuda, "", cuMemMap(address, SIZE, 0usize, physical, 0u64));
    let access: Access = [1, device, 3];
    tell!(cuda, "", cuMemSetAccess(address, SIZE, &access, 1usize));
    address
}

/// The other process: all its work is on the second device.
pub fn other(pair: &Pair, arguments: &[String]) {
    let cuda = &pair.cuda;
    let [way, argument] = arguments else { fail("several", 2, "no handle") };
    let ones = pair.words(1, COUNT, 1);
    let memory = if way == "ipc" {
        cuda.group("ipc, the other");
        let words: Vec<u64> = argument.split(',').map_while(|word| word.parse().ok()).collect();
        let Ok(handle) = Handle::try_from(words) else { fail("several", 2, "no handle") };
        let (status, memory) = opened(pair, &handle);
        cuda.told("cuIpcOpenMemHandle", status);
        memory
    } else {
        cuda.group("descriptors, the other");
        let mut physical = 0u64;
        let file: u64 = argument.parse().expect("a descriptor");
        tell!(cuda, "", cuMemImportFromShareableHandle(&mut physical, file, DESCRIPTOR));
        mapped(pair, physical, 1)
    };
    let mut ordinal = -1i32;
    tell!(cuda, "", cuPointerGetAttribute(&mut ordinal, 9, memory));
    cuda.say("lies on", ordinal);
    pair.launch("", 1, "add_arrays", 0, COUNT as u32, &[memory, ones, memory, COUNT as u64]);
    pair.wait();
    pair.sum("sums", memory, COUNT);
    if way == "ipc" {
        tell!(cuda, "", cuIpcCloseMemHandle(memory));
    } else {
        tell!(cuda, "", cuMemUnmap(memory, SIZE));
    }
}
