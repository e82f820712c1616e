//! Threads whose accesses are checked together: same results, and faults at the same thread, as one at a time.
#![allow(clippy::unwrap_used)] // a failure is the test's

#[path = "ptx/host.rs"]
mod host;

use cpu_cuda::engine::{Fault, FaultKind};
use host::{Arg, Host};

/// `to[place] = 2 * from[place] + 1` for places below n, where `index` computes %r5, the place, from %r1 (x), %r2 (y),
/// %r3 and %r4 (sizes of the block along x and y).
fn kernel(index: &str) -> String {
    format!(
        ".version 6.4 .target sm_75 .address_size 64
.visible .entry k(.param .u64 from, .param .u64 to, .param .u32 n) {{
 .reg .pred %p<2>; .reg .b32 %r<9>; .reg .f32 %f<4>; .reg .b64 %rd<8>;
 ld.param.u64 %rd1, [from]; ld.param.u64 %rd2, [to]; ld.param.u32 %r6, [n];
 mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %ntid.x; mov.u32 %r4, %ntid.y;
 {index}
 setp.ge.s32 %p1, %r5, %r6;
 @%p1 bra END;
 mul.wide.s32 %rd3, %r5, 4;
 add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;
 ld.global.f32 %f1, [%rd4];
 fma.rn.f32 %f2, %f1, 0f40000000, 0f3F800000;
 st.global.f32 [%rd5], %f2;
END: ret; }}"
    )
}

const BY_X: &str = "mov.b32 %r5, %r1;";

fn run(host: &Host, index: &str, block: [u32; 3], from: u64, to: u64, n: u32) -> Result<(), Fault> {
    let module = host.load(&kernel(index));
    host.launch(&module, "k", [1; 3], block, &[Arg::U64(from), Arg::U64(to), Arg::U32(n)])
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32 * 0.25).collect()
}

/// The array after the kernel, where it wrote the first `n`.
fn expected(input: &[f32], n: usize) -> Vec<f32> {
    input.iter().enumerate().map(|(i, v)| if i < n { 2.0 * v + 1.0 } else { 0.0 }).collect()
}

#[test]
fn rows_of_any_length_when_all_is_allocated_give_what_single_threads_give() {
    for (threads, n) in
        [(1, 1), (7, 7), (32, 32), (33, 33), (100, 77), (256, 256), (257, 1000), (1024, 1023), (1024, 5)]
    {
        let host = Host::new();
        let input = numbers(1024);
        let (from, to) = (host.upload(&input), host.upload(&[0f32; 1024]));
        run(&host, BY_X, [threads, 1, 1], from, to, n).unwrap();
        let written = (n.min(threads)) as usize;
        assert_eq!(host.download::<f32>(to, 1024), expected(&input, written), "{threads} threads, {n} numbers");
    }
}

#[test]
fn blocks_of_several_rows_when_run_cover_every_thread() {
    let index =
        "mad.lo.s32 %r5, %r2, %r3, %r1; mov.u32 %r7, %tid.z; mul.lo.s32 %r8, %r3, %r4; mad.lo.s32 %r5, %r7, %r8, %r5;";
    for block in [[40u32, 5, 3], [64, 2, 1], [16, 16, 1], [1, 32, 4]] {
        let host = Host::new();
        let input = numbers(1024);
        let (from, to) = (host.upload(&input), host.upload(&[0f32; 1024]));
        run(&host, index, block, from, to, 1024).unwrap();
        let written = block.iter().product::<u32>() as usize;
        assert_eq!(host.download::<f32>(to, 1024), expected(&input, written), "{block:?}");
    }
}

#[test]
fn a_row_going_backwards_when_run_is_the_same() {
    let host = Host::new();
    let input = numbers(256);
    let (from, to) = (host.upload(&input), host.upload(&[0f32; 256]));
    run(&host, "sub.s32 %r5, 255, %r1;", [256, 1, 1], from, to, 256).unwrap();
    assert_eq!(host.download::<f32>(to, 256), expected(&input, 256));
}

#[test]
fn a_row_that_leaves_its_allocation_when_run_faults_at_the_first_thread_outside() {
    let host = Host::new();
    let input = numbers(256);
    let (from, to) = (host.upload(&input), host.upload(&[0f32; 512]));
    let fault = run(&host, BY_X, [512, 1, 1], from, to, 512).unwrap_err();
    assert_eq!((fault.kind, fault.thread, fault.address), (FaultKind::IllegalAddress, [256, 0, 0], from + 1024));
    assert_eq!(host.download::<f32>(to, 512)[..256], expected(&input, 256));
}

#[test]
fn a_row_across_the_gap_between_two_allocations_when_run_faults_in_the_gap() {
    for threads in [300, 1024] {
        let host = Host::new();
        let (from, _second) = (host.upload(&numbers(128)), host.upload(&numbers(2048)));
        let to = host.upload(&[0f32; 2048]);
        let fault = run(&host, BY_X, [threads, 1, 1], from, to, 2048).unwrap_err();
        assert_eq!((fault.kind, fault.thread), (FaultKind::IllegalAddress, [128, 0, 0]));
    }
}

#[test]
fn a_row_at_an_odd_address_when_run_faults_at_its_first_thread() {
    let host = Host::new();
    let (from, to) = (host.upload(&numbers(512)), host.upload(&[0f32; 512]));
    let fault = run(&host, BY_X, [256, 1, 1], from + 2, to, 512).unwrap_err();
    assert_eq!((fault.kind, fault.thread), (FaultKind::Misaligned, [0, 0, 0]));
}

#[test]
fn a_number_that_wraps_inside_a_row_when_compared_keeps_only_the_threads_that_pass() {
    // Threads 0 to 99 are at the top of the signed numbers, the others at the bottom: only those pass.
    let index = "add.s32 %r5, %r1, 2147483548;";
    let host = Host::new();
    let input = numbers(256);
    let (from, to) = (host.upload(&input), host.upload(&[0f32; 256]));
    // Place -2147483648 + k is element k.
    let shift = 4u64 << 31;
    run(&host, index, [200, 1, 1], from + shift, to + shift, 0).unwrap();
    assert_eq!(host.download::<f32>(to, 256), expected(&input, 100));
}

#[test]
fn threads_that_pass_the_guard_here_and_there_when_run_are_the_only_ones_that_write() {
    // Every third thread: the guard is not one of order along the row.
    let index = "rem.u32 %r7, %r1, 3; setp.eq.s32 %p1, %r7, 0; selp.b32 %r5, %r1, 5000, %p1;";
    let host = Host::new();
    let input = numbers(256);
    let (from, to) = (host.upload(&input), host.upload(&[0f32; 256]));
    run(&host, index, [256, 1, 1], from, to, 256).unwrap();
    let wanted: Vec<f32> =
        input.iter().enumerate().map(|(i, v)| if i % 3 == 0 { 2.0 * v + 1.0 } else { 0.0 }).collect();
    assert_eq!(host.download::<f32>(to, 256), wanted);
}

#[test]
fn an_address_used_in_two_spaces_when_run_is_only_good_in_its_own() {
    let host = Host::new();
    let text = ".version 6.4 .target sm_75 .address_size 64
.visible .entry k(.param .u64 to) {
 .reg .b32 %r<3>; .reg .b64 %rd<4>; .shared .align 4 .b8 tile[512];
 ld.param.u64 %rd1, [to]; mov.u32 %r1, %tid.x; mad.wide.u32 %rd2, %r1, 4, %rd1;
 st.global.u32 [%rd2], %r1; ld.shared.u32 %r2, [%rd2]; st.global.u32 [%rd2], %r2; ret; }";
    let module = host.load(text);
    let to = host.upload(&[0u32; 128]);
    let fault = host.launch(&module, "k", [1; 3], [128, 1, 1], &[Arg::U64(to)]).unwrap_err();
    assert_eq!((fault.kind, fault.thread, fault.address), (FaultKind::IllegalAddress, [0, 0, 0], to));
}
