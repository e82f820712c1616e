//! Faults through the exported functions: their codes, and what they end. Each in a process of its own.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use cpu_cuda::api::contexts::*;
use cpu_cuda::api::events::*;
use cpu_cuda::api::execution::*;
use cpu_cuda::api::memory::*;
use cpu_cuda::api::streams::*;
use cpu_cuda::context::Context;
use cpu_cuda::foreign::{In, Out};
use cpu_cuda::handle::Handle;
use cpu_cuda::status::Status;
use cpu_cuda::stream::Stream;

const LEGACY: Handle<Stream> = Handle::NULL;

fn launch(function: u64, params: &[u64]) -> u32 {
    let params = In(params.as_ptr());
    unsafe { cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, LEGACY, params, In(std::ptr::null())) }
}

/// Launches the kernel that stores a word at an address.
fn store(at: u64) -> u32 {
    launch(function(module(), "store").0, &[&raw const at as u64])
}

fn create() -> (u32, Handle<Context>) {
    let mut context = Handle::default();
    (unsafe { cuCtxCreate_v2(Out(&mut context), 0, 0) }, context)
}

#[test]
fn fault_when_address_is_wild_then_sticky_until_the_process_ends() {
    alone("fault_when_address_is_wild_then_sticky_until_the_process_ends", || {
        let context = context();
        let store = function(module(), "store");
        let at = 0x10u64;
        ok(launch(store.0, &[&raw const at as u64]));
        assert_eq!(unsafe { cuCtxSynchronize() }, Status::ILLEGAL_ADDRESS.0);
        assert_eq!(unsafe { cuMemAlloc_v2(Out(&mut 0), 16) }, Status::ILLEGAL_ADDRESS.0);
        assert_eq!(launch(store.0, &[&raw const at as u64]), Status::ILLEGAL_ADDRESS.0);
        ok(unsafe { cuCtxDestroy_v2(context.0) });
        assert_eq!(create().0, Status::ILLEGAL_ADDRESS.0);
        assert_eq!(unsafe { cuDevicePrimaryCtxRetain(Out(&mut Handle::default()), 0) }, Status::ILLEGAL_ADDRESS.0);
    });
}

#[test]
fn fault_when_in_one_context_then_every_context_has_it() {
    alone("fault_when_in_one_context_then_every_context_has_it", || {
        let outer = context();
        let at = alloc(64);
        let inner = context();
        let die = function(module(), "die");
        ok(launch(die.0, &[]));
        assert_eq!(unsafe { cuStreamSynchronize(LEGACY) }, Status::LAUNCH_FAILED.0);
        ok(unsafe { cuCtxSetCurrent(outer.0) });
        assert_eq!(unsafe { cuCtxSynchronize() }, Status::LAUNCH_FAILED.0);
        assert_eq!(unsafe { cuMemFree_v2(at) }, Status::LAUNCH_FAILED.0);
        drop(inner);
    });
}

#[test]
fn misaligned_store_when_waited_for_then_its_own_code() {
    alone("misaligned_store_when_waited_for_then_its_own_code", || {
        let _context = context();
        ok(store(alloc(16) + 2));
        assert_eq!(unsafe { cuCtxSynchronize() }, Status::MISALIGNED_ADDRESS.0);
    });
}

#[test]
fn streams_and_events_when_destroyed_after_a_fault_then_told_and_gone() {
    alone("streams_and_events_when_destroyed_after_a_fault_then_told_and_gone", || {
        let _context = context();
        let (stream, event) = (stream(0), made(|out| unsafe { cuEventCreate(out, 0) }));
        ok(launch(function(module(), "die").0, &[]));
        assert_eq!(unsafe { cuCtxSynchronize() }, Status::LAUNCH_FAILED.0);
        assert_eq!(unsafe { cuEventDestroy_v2(event) }, Status::LAUNCH_FAILED.0);
        assert_eq!(unsafe { cuStreamDestroy_v2(stream) }, Status::LAUNCH_FAILED.0);
        assert_eq!(unsafe { cuStreamDestroy_v2(stream) }, Status::INVALID_CONTEXT.0);
    });
}

#[test]
fn primary_context_when_reset_then_gone_until_retained_again() {
    alone("primary_context_when_reset_then_gone_until_retained_again", || {
        init();
        let context = made(|out| unsafe { cuDevicePrimaryCtxRetain(out, 0) });
        ok(unsafe { cuCtxSetCurrent(context) });
        let at = alloc(64);
        ok(unsafe { cuDevicePrimaryCtxReset_v2(0) });
        assert_eq!(unsafe { cuCtxSynchronize() }, Status::CONTEXT_IS_DESTROYED.0);
        assert_eq!(unsafe { cuMemFree_v2(at) }, Status::CONTEXT_IS_DESTROYED.0);
        assert_eq!(made(|out| unsafe { cuDevicePrimaryCtxRetain(out, 0) }), context);
        ok(unsafe { cuCtxSynchronize() });
        alloc(64);
    });
}

#[test]
fn kernel_when_it_writes_into_guard_then_illegal_address() {
    alone("kernel_when_it_writes_into_guard_then_illegal_address", || {
        let _context = context();
        ok(store(alloc(512) + 512));
        assert_eq!(unsafe { cuCtxSynchronize() }, Status::ILLEGAL_ADDRESS.0);
    });
}

#[test]
fn kernel_when_it_writes_registered_host_memory_then_seen_and_after_unregistering_a_fault() {
    alone("kernel_when_it_writes_registered_host_memory_then_seen_and_after_unregistering_a_fault", || {
        let _context = context();
        let memory = vec![0u32; 4096];
        let at = memory.as_ptr() as u64;
        ok(unsafe { cuMemHostRegister_v2(at, 4096, 0) });
        ok(store(at));
        ok(unsafe { cuCtxSynchronize() });
        // SAFETY: the vector lives; the kernel has ended.
        assert_eq!(unsafe { (at as *const u32).read_volatile() }, 1);
        ok(unsafe { cuMemHostUnregister(at) });
        ok(store(at));
        assert_eq!(unsafe { cuCtxSynchronize() }, Status::ILLEGAL_ADDRESS.0);
    });
}
