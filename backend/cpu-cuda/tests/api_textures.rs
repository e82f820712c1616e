//! Textures and surfaces through the exported functions, read and written by kernels.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use std::ffi::CStr;

use common::*;
use cpu_cuda::api::arrays::*;
use cpu_cuda::api::copies::*;
use cpu_cuda::api::execution::cuLaunchKernel;
use cpu_cuda::api::memory::cuMemAllocPitch_v2;
use cpu_cuda::api::modules::{cuModuleGetTexRef, cuModuleLoadData};
use cpu_cuda::api::surfaces::*;
use cpu_cuda::api::textures::*;
use cpu_cuda::array::Array;
use cpu_cuda::foreign::{In, Out};
use cpu_cuda::handle::Handle;
use cpu_cuda::status::Status;
use cpu_cuda::types::{ArrayDescriptor, Memcpy2D, ResourceDescriptor, TextureDescriptor};

/// One thread a texel: 4 x 2 of them, to 8 floats; `twice` doubles the bytes of a surface 16 wide.
const SAMPLING: &CStr = c"
.version 6.4
.target sm_50
.address_size 64
.global .texref picture;
.global .surfref board;
.visible .entry sample(.param .u64 texture, .param .u64 out)
{
    .reg .f32 %f<6>;
    .reg .b32 %r<4>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [texture];
    ld.param.u64 %rd2, [out];
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, %tid.y;
    cvt.rn.f32.u32 %f1, %r1;
    cvt.rn.f32.u32 %f2, %r2;
    add.f32 %f1, %f1, 0f3F000000;
    add.f32 %f2, %f2, 0f3F000000;
    tex.2d.v4.f32.f32 {%f3, %f4, %f5, %f5}, [%rd1, {%f1, %f2}];
    mad.lo.u32 %r3, %r2, 4, %r1;
    mul.wide.u32 %rd3, %r3, 4;
    add.u64 %rd4, %rd2, %rd3;
    st.global.f32 [%rd4], %f3;
    ret;
}
.visible .entry by_name(.param .u64 out)
{
    .reg .f32 %f<6>;
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [out];
    mov.f32 %f1, 0f3FC00000;
    tex.2d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [picture, {%f1, %f1}];
    st.global.f32 [%rd1], %f2;
    ret;
}
.visible .entry twice_by_name()
{
    .reg .b32 %r<4>;
    mov.u32 %r1, %tid.x;
    shl.b32 %r1, %r1, 2;
    suld.b.1d.b32.trap {%r2}, [board, {%r1}];
    add.u32 %r3, %r2, %r2;
    sust.b.1d.b32.trap [board, {%r1}], {%r3};
    ret;
}
.visible .entry twice(.param .u64 surface)
{
    .reg .b32 %r<4>;
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [surface];
    mov.u32 %r1, %tid.x;
    shl.b32 %r2, %r1, 2;
    suld.b.2d.b32.trap {%r3}, [%rd1, {%r2, 0}];
    add.u32 %r3, %r3, %r3;
    sust.b.2d.b32.trap [%rd1, {%r2, 0}], {%r3};
    ret;
}
";

const BYTES: [u8; 8] = [0, 51, 102, 153, 204, 255, 0, 255];

fn sampling() -> Handle<cpu_cuda::module::Module> {
    made(|out| unsafe { cuModuleLoadData(out, SAMPLING.as_ptr() as u64) })
}

fn run(kernel: &str, module: Handle<cpu_cuda::module::Module>, block: [u32; 2], params: &[u64]) {
    let kernel = function(module, kernel);
    let none = In(std::ptr::null());
    let params = In(params.as_ptr());
    ok(unsafe { cuLaunchKernel(kernel.0, 1, 1, 1, block[0], block[1], 1, 0, Handle::NULL, params, none) });
}

fn floats(from: u64, count: usize) -> Vec<f32> {
    let mut here = vec![0f32; count];
    ok(unsafe { cuMemcpyDtoH_v2(here.as_mut_ptr() as u64, from, 4 * count as u64) });
    here
}

/// 4 x 2 bytes in pitched memory: its address and pitch.
fn rows() -> (u64, u64) {
    let mut pitch = 0;
    let at = made(|out| unsafe { cuMemAllocPitch_v2(out, Out(&mut pitch), 4, 2, 4) });
    let mut copy =
        Memcpy2D { src_kind: 1, src_host: BYTES.as_ptr() as u64, src_pitch: 4, dst_kind: 2, ..Default::default() };
    (copy.dst_device, copy.dst_pitch, copy.width, copy.height) = (at, pitch, 4, 2);
    ok(unsafe { cuMemcpy2D_v2(In(&copy)) });
    (at, pitch)
}

fn pitched(at: u64, pitch: u64) -> ResourceDescriptor {
    let mut resource = ResourceDescriptor { kind: 3, ..Default::default() };
    // One channel of unsigned bytes.
    resource.words[..5].copy_from_slice(&[at, 1 | 1 << 32, 4, 2, pitch]);
    resource
}

#[test]
fn texture_when_over_pitched_bytes_then_normalised_floats() {
    let _context = context();
    let (at, pitch) = rows();
    let clamp = TextureDescriptor { address: [1; 3], ..Default::default() };
    let texture =
        made(|out| unsafe { cuTexObjectCreate(out, In(&pitched(at, pitch)), In(&clamp), In(std::ptr::null())) });
    let out = alloc(32);
    run("sample", sampling(), [4, 2], &[&raw const texture as u64, &raw const out as u64]);
    assert_eq!(floats(out, 8), BYTES.map(|byte| f32::from(byte) / 255.0));
    assert_eq!(made(|out| unsafe { cuTexObjectGetResourceDesc(out, texture) }).words[2], 4);
    ok(unsafe { cuTexObjectDestroy(texture) });
    assert_eq!(unsafe { cuTexObjectDestroy(texture) }, Status::INVALID_HANDLE.0);
}

#[test]
fn texture_when_pitch_or_memory_is_wrong_then_invalid_value() {
    let _context = context();
    let (at, pitch) = rows();
    let clamp = TextureDescriptor { address: [1; 3], ..Default::default() };
    let make = |resource| unsafe {
        cuTexObjectCreate(Out(&mut Handle::default()), In(&resource), In(&clamp), In(std::ptr::null()))
    };
    assert_eq!(make(pitched(at, 5)), Status::INVALID_VALUE.0);
    assert_eq!(make(pitched(at + 512, pitch)), Status::INVALID_VALUE.0);
    assert_eq!(make(pitched(0x4000, pitch)), Status::INVALID_VALUE.0);
}

#[test]
fn texture_reference_when_bound_by_name_then_kernel_sees_it() {
    let _context = context();
    let module = sampling();
    let (at, pitch) = rows();
    let reference = made(|out| unsafe { cuModuleGetTexRef(out, module, text(c"picture")) });
    let described = ArrayDescriptor { width: 4, height: 2, format: 1, channels: 1 };
    ok(unsafe { cuTexRefSetAddress2D_v3(reference, In(&described), at, pitch) });
    let out = alloc(4);
    run("by_name", module, [1, 1], &[&raw const out as u64]);
    assert_eq!(floats(out, 1), [1.0]);
    assert_eq!(unsafe { cuModuleGetTexRef(Out(&mut Handle::default()), module, text(c"none")) }, Status::NOT_FOUND.0);
}

/// An array of the words 1 to 4.
fn four_words() -> Handle<Array> {
    let described = ArrayDescriptor { width: 4, height: 1, format: 3, channels: 1 };
    let array = made(|out| unsafe { cuArrayCreate_v2(out, In(&described)) });
    let words = [1u32, 2, 3, 4];
    ok(unsafe { cuMemcpyHtoA_v2(array, 0, words.as_ptr() as u64, 16) });
    array
}

fn words_of(array: Handle<Array>) -> [u32; 4] {
    let mut words = [0u32; 4];
    ok(unsafe { cuMemcpyAtoH_v2(words.as_mut_ptr() as u64, array, 0, 16) });
    words
}

#[test]
fn surface_reference_when_bound_by_name_then_kernel_writes_the_array() {
    let _context = context();
    let module = sampling();
    let reference = made(|out| unsafe { cuModuleGetSurfRef(out, module, text(c"board")) });
    for array in [four_words(), four_words()] {
        ok(unsafe { cuSurfRefSetArray(reference, array, 0) });
        assert_eq!(made(|out| unsafe { cuSurfRefGetArray(out, reference) }), array);
        run("twice_by_name", module, [4, 1], &[]);
        assert_eq!(words_of(array), [2, 4, 6, 8]);
    }
    assert_eq!(unsafe { cuModuleGetSurfRef(Out(&mut Handle::default()), module, text(c"none")) }, Status::NOT_FOUND.0);
}

#[test]
fn surface_when_written_by_kernel_then_array_holds_it() {
    let _context = context();
    let array = four_words();
    let mut resource = ResourceDescriptor::default();
    resource.words[0] = array.0;
    let surface = made(|out| unsafe { cuSurfObjectCreate(out, In(&resource)) });
    run("twice", sampling(), [4, 1], &[&raw const surface as u64]);
    assert_eq!(words_of(array), [2, 4, 6, 8]);
}
