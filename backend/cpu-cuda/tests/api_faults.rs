//! Faults through the exported functions: their codes, what they end, and what they do not.
//!
//! While a context has a fault the process gets no new ones, so these tests take turns.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::*;
use cpu_cuda::api::contexts::*;
use cpu_cuda::api::execution::*;
use cpu_cuda::api::memory::*;
use cpu_cuda::api::streams::*;
use cpu_cuda::foreign::{In, Out};
use cpu_cuda::handle::Handle;
use cpu_cuda::status::Status;
use cpu_cuda::stream::Stream;

const LEGACY: Handle<Stream> = Handle::NULL;

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn launch(function: u64, grid: u32, block: u32, stream: Handle<Stream>, params: &[u64]) -> u32 {
    let params = In(params.as_ptr());
    unsafe { cuLaunchKernel(function, grid, 1, 1, block, 1, 1, 0, stream, params, In(std::ptr::null())) }
}

#[test]
fn fault_when_address_is_wild_then_sticky_until_context_is_gone() {
    let _turn = turn();
    let context = context();
    let store = function(module(), "store");
    let at = 0x10u64;
    ok(launch(store.0, 1, 1, LEGACY, &[&raw const at as u64]));
    assert_eq!(unsafe { cuCtxSynchronize() }, Status::ILLEGAL_ADDRESS.0);
    assert_eq!(unsafe { cuMemAlloc_v2(Out(&mut 0), 16) }, Status::ILLEGAL_ADDRESS.0);
    assert_eq!(launch(store.0, 1, 1, LEGACY, &[&raw const at as u64]), Status::ILLEGAL_ADDRESS.0);
    drop(context);
    let _fresh = common::context();
    alloc(16);
}

#[test]
fn fault_when_kernel_traps_or_misaligns_then_its_own_code() {
    let _turn = turn();
    let outer = context();
    let inner = context();
    let store = function(module(), "store");
    let at = alloc(16) + 2;
    ok(launch(store.0, 1, 1, LEGACY, &[&raw const at as u64]));
    assert_eq!(unsafe { cuCtxSynchronize() }, Status::MISALIGNED_ADDRESS.0);
    assert_eq!(unsafe { cuCtxCreate_v2(Out(&mut Handle::default()), 0, 0) }, Status::MISALIGNED_ADDRESS.0);
    drop(inner);
    let die = function(module(), "die");
    ok(launch(die.0, 1, 1, LEGACY, &[]));
    assert_eq!(unsafe { cuStreamSynchronize(LEGACY) }, Status::LAUNCH_FAILED.0);
    drop(outer);
}

#[test]
fn kernel_when_it_writes_into_guard_then_illegal_address() {
    let _turn = turn();
    let _context = context();
    let store = function(module(), "store");
    let at = alloc(512) + 512;
    ok(launch(store.0, 1, 1, LEGACY, &[&raw const at as u64]));
    assert_eq!(unsafe { cuCtxSynchronize() }, Status::ILLEGAL_ADDRESS.0);
}

#[test]
fn kernel_when_it_writes_registered_host_memory_then_seen_and_after_unregistering_a_fault() {
    let _turn = turn();
    let _context = context();
    let store = function(module(), "store");
    let memory = vec![0u32; 4096];
    let at = memory.as_ptr() as u64;
    ok(unsafe { cuMemHostRegister_v2(at, 4096, 0) });
    ok(launch(store.0, 1, 1, LEGACY, &[&raw const at as u64]));
    ok(unsafe { cuCtxSynchronize() });
    // SAFETY: the vector lives; the kernel has ended.
    assert_eq!(unsafe { (at as *const u32).read_volatile() }, 1);
    ok(unsafe { cuMemHostUnregister(at) });
    ok(launch(store.0, 1, 1, LEGACY, &[&raw const at as u64]));
    assert_eq!(unsafe { cuCtxSynchronize() }, Status::ILLEGAL_ADDRESS.0);
}
