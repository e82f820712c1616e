//! Memory and events that one process gives another: this program starts itself as the other one.

use std::process::Command;

use programs::fail;

use crate::{Bench, cu, tell};

/// Argument of the other process, before the two handles.
pub const OPTION: &str = "--other";

/// A handle as the API passes it, by value: more than two words go by the stack, so the call is made by its type.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Handle([u64; 8]);

type OpenMemory = unsafe extern "C" fn(&mut u64, Handle, u32) -> i32;
type OpenEvent = unsafe extern "C" fn(&mut u64, Handle) -> i32;

fn text(handle: &Handle) -> String {
    handle.0.map(|word| format!("{word:016x}")).join(",")
}

fn parse(text: &str) -> Handle {
    let mut words = text.split(',').map(|word| u64::from_str_radix(word, 16).unwrap_or(0));
    Handle([(); 8].map(|()| words.next().unwrap_or(0)))
}

fn open_memory(bench: &Bench, handle: Handle, flags: u32) -> (i32, u64) {
    let mut address = 0;
    // SAFETY: the type is that of the CUDA Driver API for this name.
    let status = unsafe {
        let call: OpenMemory = std::mem::transmute(bench.cuda.find("cuIpcOpenMemHandle_v2"));
        call(&mut address, handle, flags)
    };
    (status, address)
}

fn open_event(bench: &Bench, handle: Handle) -> (i32, u64) {
    let mut event = 0;
    // SAFETY: the type is that of the CUDA Driver API for this name.
    let status = unsafe {
        let call: OpenEvent = std::mem::transmute(bench.cuda.find("cuIpcOpenEventHandle"));
        call(&mut event, handle)
    };
    (status, event)
}

pub fn run(bench: &Bench) {
    let cuda = &bench.cuda;
    let words = bench.words(1024, 7);
    let (mut event, mut plain) = (0u64, 0u64);
    cu!(cuda, cuEventCreate(&mut event, 6));
    cu!(cuda, cuEventCreate(&mut plain, 2));
    let (mut memory, mut happened) = (Handle([0; 8]), Handle([0; 8]));
    tell!(cuda, "", cuIpcGetMemHandle(&mut memory, words));
    let mut again = Handle([0; 8]);
    tell!(cuda, "again", cuIpcGetMemHandle(&mut again, words));
    cuda.say("the same", again.0 == memory.0);
    tell!(cuda, "no memory", cuIpcGetMemHandle(&mut again, 8u64));
    tell!(cuda, "", cuIpcGetEventHandle(&mut happened, event));
    tell!(cuda, "not for others", cuIpcGetEventHandle(&mut again, plain));
    cuda.told("opened by its own process", open_memory(bench, memory, 1).0);
    cuda.told("a handle of zeros", open_memory(bench, Handle([0; 8]), 1).0);
    cuda.told("no flags", open_memory(bench, memory, 0).0);
    tell!(cuda, "", cuEventRecord(event, 0u64));
    let program = std::env::current_exe().expect("a path");
    let other = Command::new(program).args([OPTION, &text(&memory), &text(&happened)]).output();
    match other {
        Ok(output) => print!("{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => cuda.say("the other process", error),
    }
    bench.sum("what the other has written", words, 1024);
    tell!(cuda, "not opened", cuIpcCloseMemHandle(words));
    cu!(cuda, cuEventDestroy_v2(event));
    cu!(cuda, cuMemFree_v2(words));
}

/// The other process.
pub fn other(bench: &Bench, arguments: &[String]) {
    let cuda = &bench.cuda;
    let [memory, event] = arguments else { fail("wide", 2, "two handles") };
    cuda.group("ipc, the other");
    let (status, address) = open_memory(bench, parse(memory), 1);
    cuda.told("open", status);
    if status != 0 {
        return;
    }
    let (status, happened) = open_event(bench, parse(event));
    cuda.told("open the event", status);
    if status == 0 {
        let mut stream = 0u64;
        cu!(cuda, cuStreamCreate(&mut stream, 1));
        tell!(cuda, "", cuStreamWaitEvent(stream, happened, 0));
        tell!(cuda, "", cuStreamSynchronize(stream));
        tell!(cuda, "", cuEventDestroy_v2(happened));
        cu!(cuda, cuStreamDestroy_v2(stream));
    }
    bench.sum("words", address, 1024);
    tell!(cuda, "", cuMemsetD32_v2(address, 9, 512usize));
    tell!(cuda, "", cuCtxSynchronize());
    tell!(cuda, "", cuIpcCloseMemHandle(address));
    tell!(cuda, "again", cuIpcCloseMemHandle(address));
    tell!(cuda, "closed", cuMemsetD32_v2(address, 1, 1usize));
}
