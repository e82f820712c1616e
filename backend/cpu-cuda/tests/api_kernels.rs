//! Modules, libraries, launches and faults through the exported functions.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use std::ffi::c_char;

use common::*;
use cpu_cuda::api::contexts::*;
use cpu_cuda::api::copies::*;
use cpu_cuda::api::execution::*;
use cpu_cuda::api::fills::*;
use cpu_cuda::api::graphs::*;
use cpu_cuda::api::libraries::*;
use cpu_cuda::api::linking::*;
use cpu_cuda::api::modules::*;
use cpu_cuda::api::occupancy::*;
use cpu_cuda::api::streams::*;
use cpu_cuda::foreign::{In, Out};
use cpu_cuda::handle::Handle;
use cpu_cuda::status::Status;
use cpu_cuda::stream::Stream;
use cpu_cuda::types::{LaunchAttribute, LaunchConfig};

const LEGACY: Handle<Stream> = Handle::NULL;

fn launch(function: u64, grid: u32, block: u32, stream: Handle<Stream>, params: &[u64]) -> u32 {
    let params = In(params.as_ptr());
    unsafe { cuLaunchKernel(function, grid, 1, 1, block, 1, 1, 0, stream, params, In(std::ptr::null())) }
}

fn words(from: u64, count: usize) -> Vec<u32> {
    let mut here = vec![0u32; count];
    ok(unsafe { cuMemcpyDtoH_v2(here.as_mut_ptr() as u64, from, 4 * count as u64) });
    here
}

fn global(module: Handle<cpu_cuda::module::Module>) -> u64 {
    let mut bytes = 0;
    let at = made(|out| unsafe { cuModuleGetGlobal_v2(out, Out(&mut bytes), module, text(c"counter")) });
    assert_eq!(bytes, 4);
    at
}

#[test]
fn kernel_when_launched_with_pointers_then_adds() {
    let _context = context();
    let add = function(module(), "add");
    let (a, b) = (alloc(4000), alloc(4000));
    let ones = [1.0f32; 1000];
    ok(unsafe { cuMemcpyHtoD_v2(a, ones.as_ptr() as u64, 4000) });
    ok(unsafe { cuMemcpyHtoD_v2(b, ones.as_ptr() as u64, 4000) });
    let n = 999u32;
    let params = [&raw const a as u64, &raw const b as u64, &raw const n as u64];
    ok(launch(add.0, 4, 256, LEGACY, &params));
    let sums = words(a, 1000);
    assert_eq!((sums[0], sums[998], sums[999]), (2f32.to_bits(), 2f32.to_bits(), 1f32.to_bits()));
}

#[test]
fn kernel_when_launched_with_packed_buffer_then_same() {
    let _context = context();
    let module = module();
    let bump = function(module, "bump");
    let k = 3u32;
    let size = 4u64;
    let extra = [1, &raw const k as u64, 2, &raw const size as u64, 0];
    let config = LaunchConfig { grid: [2, 1, 1], block: [32, 1, 1], ..Default::default() };
    ok(unsafe { cuLaunchKernelEx(In(&config), bump.0, In(std::ptr::null()), In(extra.as_ptr())) });
    assert_eq!(words(global(module), 1), [7 + 64 * 3]);
    for (bytes, answer) in [(0u64, Status::INVALID_VALUE.0), (5, Status::LAUNCH_OUT_OF_RESOURCES.0), (3, 0)] {
        let extra = [1, &raw const k as u64, 2, &raw const bytes as u64, 0];
        let given = unsafe { cuLaunchKernelEx(In(&config), bump.0, In(std::ptr::null()), In(extra.as_ptr())) };
        assert_eq!(given, answer, "{bytes} bytes for 4");
    }
}

#[test]
fn launch_when_shape_is_wrong_then_invalid_value_and_context_stays_good() {
    let _context = context();
    let bump = function(module(), "bump");
    let k = 1u32;
    let params = [&raw const k as u64];
    assert_eq!(launch(bump.0, 0, 32, LEGACY, &params), Status::INVALID_VALUE.0);
    assert_eq!(launch(bump.0, 1, 1025, LEGACY, &params), Status::INVALID_VALUE.0);
    assert_eq!(launch(bump.0 ^ 16, 1, 32, LEGACY, &params), Status::INVALID_HANDLE.0);
    let attribute = LaunchAttribute { id: 4, pad: 0, value: [3; 16] };
    let config = LaunchConfig {
        grid: [2, 1, 1],
        block: [1, 1, 1],
        attributes: &raw const attribute as u64,
        count: 1,
        ..Default::default()
    };
    let answer = unsafe { cuLaunchKernelEx(In(&config), bump.0, In(params.as_ptr()), In(std::ptr::null())) };
    assert_eq!(answer, Status::INVALID_CLUSTER_SIZE.0);
    ok(unsafe { cuCtxSynchronize() });
}

#[test]
fn library_when_kernel_launched_in_two_contexts_then_each_has_its_variable() {
    let outer = context();
    let library = made(|out| unsafe {
        cuLibraryLoadData(
            out,
            PTX.as_ptr() as u64,
            In(std::ptr::null()),
            In(std::ptr::null()),
            0,
            In(std::ptr::null()),
            In(std::ptr::null()),
            0,
        )
    });
    assert_eq!(made(|out| unsafe { cuLibraryGetKernelCount(out, library) }), 4);
    let kernel = made(|out| unsafe { cuLibraryGetKernel(out, library, text(c"bump")) });
    let k = 1u32;
    let run = |times: u32| {
        ok(launch(kernel.0, times, 1, LEGACY, &[&raw const k as u64]));
        let at = made(|out| unsafe { cuLibraryGetGlobal(out, nowhere(), library, text(c"counter")) });
        words(at, 1)[0]
    };
    assert_eq!(run(2), 9);
    let inner = context();
    assert_eq!(run(3), 10);
    drop(inner);
    assert_eq!(run(1), 10);
    ok(unsafe { cuLibraryUnload(library) });
    assert_eq!(launch(kernel.0, 1, 1, LEGACY, &[&raw const k as u64]), Status::INVALID_HANDLE.0);
    drop(outer);
}

#[test]
fn module_when_text_is_wrong_then_invalid_ptx_and_log_names_the_line() {
    let _context = context();
    let bad = c".version 6.4\n.target sm_50\n.address_size 64\n.visible .entry f()\n{\n    frobnicate.u32 %r1;\n}\n";
    let mut log = [0 as c_char; 512];
    let options = [5u32, 6];
    let mut values = [log.as_mut_ptr() as u64, 512];
    let mut module = Handle::NULL;
    let options = In(options.as_ptr());
    let answer =
        unsafe { cuModuleLoadDataEx(Out(&mut module), bad.as_ptr() as u64, 2, options, In(values.as_mut_ptr())) };
    assert_eq!(answer, Status::INVALID_PTX.0);
    let log = read_text(&log);
    assert!(log.contains("line 6"), "{log}");
    assert_eq!(values[1] as usize, log.len() + 1);
}

#[test]
fn module_when_unloaded_then_its_functions_are_stale() {
    let _context = context();
    let module = module();
    let bump = function(module, "bump");
    assert_eq!(made(|out| unsafe { cuModuleGetFunctionCount(out, module) }), 4);
    assert_eq!(
        unsafe { cuModuleGetFunction(Out(&mut Handle::default()), module, text(c"nothing")) },
        Status::NOT_FOUND.0
    );
    ok(unsafe { cuModuleUnload(module) });
    let k = 1u32;
    assert_eq!(launch(bump.0, 1, 1, LEGACY, &[&raw const k as u64]), Status::INVALID_HANDLE.0);
    assert_eq!(unsafe { cuModuleUnload(module) }, Status::INVALID_HANDLE.0);
}

#[test]
fn function_when_asked_then_attributes_and_parameters() {
    let _context = context();
    let add = function(module(), "add");
    let ask = |number| made(|out| unsafe { cuFuncGetAttribute(out, number, add.0) });
    assert_eq!(ask(0), 1024);
    assert_eq!(ask(6), 75);
    assert_eq!(ask(8), 48 << 10);
    ok(unsafe { cuFuncSetAttribute(add.0, 8, 64 << 10) });
    assert_eq!(ask(8), 64 << 10);
    assert_eq!(unsafe { cuFuncSetAttribute(add.0, 8, 65 << 10) }, Status::INVALID_VALUE.0);
    let mut size = 0;
    assert_eq!(made(|out| unsafe { cuFuncGetParamInfo(add.0, 2, out, Out(&mut size)) }), 16);
    assert_eq!(size, 4);
    assert_eq!(unsafe { cuFuncGetParamInfo(add.0, 3, Out(&mut 0), nowhere()) }, Status::INVALID_VALUE.0);
    assert!(made(|out| unsafe { cuOccupancyMaxActiveBlocksPerMultiprocessor(out, add.0, 128, 0) }) > 0);
}

#[test]
fn link_when_text_added_then_result_loads_as_a_module() {
    let _context = context();
    let link = made(|out| unsafe { cuLinkCreate_v2(0, In(std::ptr::null()), In(std::ptr::null()), out) });
    let bytes = PTX.to_bytes_with_nul();
    ok(unsafe {
        cuLinkAddData_v2(
            link,
            1,
            bytes.as_ptr() as u64,
            bytes.len() as u64,
            text(c"part"),
            0,
            In(std::ptr::null()),
            In(std::ptr::null()),
        )
    });
    let mut size = 0;
    let image = made(|out| unsafe { cuLinkComplete(link, out, Out(&mut size)) });
    assert!(size > 0);
    let module = made(|out| unsafe { cuModuleLoadData(out, image) });
    function(module, "add");
    ok(unsafe { cuLinkDestroy(link) });
    assert_eq!(unsafe { cuLinkComplete(link, Out(&mut 0), nowhere()) }, Status::INVALID_HANDLE.0);
}

#[test]
fn capture_when_kernels_launched_then_graph_repeats_them() {
    let _context = context();
    let module = module();
    let bump = function(module, "bump");
    let stream = stream(1);
    let k = 1u32;
    ok(unsafe { cuStreamBeginCapture_v2(stream, 1) });
    (0..10).for_each(|_| ok(launch(bump.0, 1, 1, stream, &[&raw const k as u64])));
    let graph = made(|out| unsafe { cuStreamEndCapture(stream, out) });
    let executable = made(|out| unsafe { cuGraphInstantiateWithFlags(out, graph, 0) });
    (0..5).for_each(|_| ok(unsafe { cuGraphLaunch(executable, stream) }));
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!(words(global(module), 1), [7 + 50]);
}

#[test]
fn fill_and_kernel_when_in_one_stream_then_in_order() {
    let _context = context();
    let module = module();
    let bump = function(module, "bump");
    let (stream, at, k) = (stream(1), global(module), 1u32);
    for _ in 0..50 {
        ok(unsafe { cuMemsetD32Async(at, 0, 1, stream) });
        ok(launch(bump.0, 3, 1, stream, &[&raw const k as u64]));
    }
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!(words(at, 1), [3]);
}
