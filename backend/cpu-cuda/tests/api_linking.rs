//! Linking through the exported functions: options, and parts that do not quite agree.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use std::ffi::CStr;

use common::*;
use cpu_cuda::api::contexts::*;
use cpu_cuda::api::copies::*;
use cpu_cuda::api::execution::*;
use cpu_cuda::api::linking::*;
use cpu_cuda::api::modules::*;
use cpu_cuda::foreign::{In, Out};
use cpu_cuda::handle::Handle;
use cpu_cuda::linker::Linker;
use cpu_cuda::module::Module;
use cpu_cuda::status::Status;

const MAX_REGISTERS: u32 = 0;
const REGISTERS: u32 = 4;

fn link_with(max_registers: Option<u64>) -> Handle<Linker> {
    let (options, values) = ([MAX_REGISTERS], [max_registers.unwrap_or(0)]);
    let count = u32::from(max_registers.is_some());
    made(|out| unsafe { cuLinkCreate_v2(count, In(options.as_ptr()), In(values.as_ptr()), out) })
}

fn add(link: Handle<Linker>, part: &CStr) -> u32 {
    let bytes = part.to_bytes_with_nul();
    let (at, size) = (bytes.as_ptr() as u64, bytes.len() as u64);
    unsafe { cuLinkAddData_v2(link, 1, at, size, text(c"part"), 0, In(std::ptr::null()), In(std::ptr::null())) }
}

fn complete(link: Handle<Linker>) -> Handle<Module> {
    let mut size = 0;
    let image = made(|out| unsafe { cuLinkComplete(link, out, Out(&mut size)) });
    made(|out| unsafe { cuModuleLoadData(out, image) })
}

fn registers(module: Handle<Module>) -> i32 {
    let add = function(module, "add");
    made(|out| unsafe { cuFuncGetAttribute(out, REGISTERS, add.0) })
}

#[test]
fn registers_when_limited_by_the_linker_or_a_load_then_no_more_are_reported() {
    let _context = context();
    let free = link_with(None);
    ok(add(free, PTX));
    let usual = registers(complete(free));
    assert!(usual > 9);
    let limited = link_with(Some(9));
    ok(add(limited, PTX));
    assert_eq!(registers(complete(limited)), 9);
    let (options, values) = ([MAX_REGISTERS], [8u64]);
    let image = PTX.as_ptr() as u64;
    let loaded = made(|out| unsafe { cuModuleLoadDataEx(out, image, 1, In(options.as_ptr()), In(values.as_ptr())) });
    assert_eq!(registers(loaded), 8);
    let roomy = link_with(Some(200));
    ok(add(roomy, PTX));
    assert_eq!(registers(complete(roomy)), usual);
}

const CALLS: &CStr = c".version 6.4 .target sm_70 .address_size 64
.extern .func (.param .b32 r) consume(.param .b64 p);
.visible .entry k(.param .u64 at) {
 .reg .b64 %a; .param .b64 p; .param .b32 r;
 ld.param.u64 %a, [at]; st.param.b64 [p], %a; call (r), consume, (p); ret; }";

#[test]
fn call_when_declared_with_a_result_that_the_definition_has_not_then_linked_and_made() {
    let context = context();
    let silent = c".version 6.4 .target sm_70 .address_size 64
.visible .func consume(.param .b64 p) { .reg .b64 %a; ld.param.u64 %a, [p]; st.global.u32 [%a], 77; ret; }";
    for parts in [[CALLS, silent], [silent, CALLS]] {
        let link = link_with(None);
        parts.iter().for_each(|part| ok(add(link, part)));
        let k = function(complete(link), "k");
        let at = alloc(4);
        let params = [&raw const at as u64];
        let none = In(std::ptr::null());
        ok(unsafe { cuLaunchKernel(k.0, 1, 1, 1, 1, 1, 1, 0, Handle::NULL, In(params.as_ptr()), none) });
        ok(unsafe { cuCtxSynchronize() });
        let mut found = 0u32;
        ok(unsafe { cuMemcpyDtoH_v2(&raw mut found as u64, at, 4) });
        assert_eq!(found, 77);
    }
    drop(context);
}

#[test]
fn call_when_declared_with_other_parameters_then_refused() {
    let _context = context();
    let other = c".version 6.4 .target sm_70 .address_size 64
.visible .func consume(.param .b32 p) { ret; }";
    let link = link_with(None);
    ok(add(link, CALLS));
    ok(add(link, other));
    assert_eq!(unsafe { cuLinkComplete(link, Out(&mut 0), nowhere()) }, Status::INVALID_PTX.0);
}
