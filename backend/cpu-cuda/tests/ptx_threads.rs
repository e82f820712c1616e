//! What threads do together: barriers, warp collectives, spinning, cooperative launches, clusters, calls to the host.
#![allow(clippy::unwrap_used)] // a failure is the test's

#[path = "ptx/host.rs"]
mod host;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cpu_cuda::engine::{Fault, FaultKind, Launch, run};
use host::{Arg, Host};

const KERNELS: &str = include_str!("ptx/kernels.ptx");

/// A kernel of `code` that leaves `%r0` at its thread's place; `%r1` is the thread's number in the block.
fn text(code: &str) -> String {
    format!(
        ".version 8.3\n.target sm_75\n.address_size 64\n\
         .extern .func (.param .b32 r) vprintf (.param .b64 f, .param .b64 a);\n\
         .extern .func __assertfail (.param .b64 m, .param .b64 f, .param .b32 l, .param .b64 n, .param .b64 s);\n\
         .extern .func (.param .b64 r) malloc (.param .b64 n);\n.extern .func free (.param .b64 p);\n\
         .global .align 1 .b8 word[8] = {{104, 105, 32, 37, 100, 32, 37, 115}};\n.global .align 1 .b8 zero[1];\n\
         .visible .entry k(.param .u64 out) {{\n\
         .reg .b64 %rd<20>; .reg .b32 %r<20>; .reg .pred %p<9>;\n.shared .align 16 .b8 sh[4096];\n\
         .local .align 8 .b8 args[16];\n\
         ld.param.u64 %rd9, [out]; mov.u32 %r1, %tid.x; mov.u32 %r0, 0; and.b32 %r2, %r1, 31;\n\
         {code}\n\
         mov.u32 %r10, %ctaid.x; mov.u32 %r11, %ntid.x; mad.lo.u32 %r10, %r10, %r11, %r1;\n\
         mad.wide.u32 %rd8, %r10, 4, %rd9; st.global.u32 [%rd8], %r0;\nret;\n}}\n"
    )
}

fn try_run(code: &str, threads: u32) -> Result<Vec<u32>, Fault> {
    let host = Host::new();
    let module = host.load(&text(code));
    let out = host.upload(&vec![0u32; threads as usize]);
    host.launch(&module, "k", [1, 1, 1], [threads, 1, 1], &[Arg::U64(out)])?;
    Ok(host.download(out, threads as usize))
}

fn threads(code: &str, count: u32) -> Vec<u32> {
    try_run(code, count).unwrap()
}

fn each(got: Vec<u32>, want: impl Fn(u32) -> u32) {
    for (n, v) in got.into_iter().enumerate() {
        assert_eq!(v, want(n as u32), "thread {n}");
    }
}

#[test]
fn shuffles_follow_their_bounds() {
    let modes = [
        ("up", 3u32, 0u32, (|lane, b| if lane >= b { lane - b } else { lane }) as fn(u32, u32) -> u32),
        ("down", 5, 31, |lane, b| if lane + b < 32 { lane + b } else { lane }),
        ("bfly", 6, 31, |lane, b| lane ^ b),
        ("idx", 9, 31, |_, b| b),
    ];
    for (mode, b, c, want) in modes {
        let code = format!("shfl.sync.{mode}.b32 %r0|%p1, %r2, {b}, {c}, -1; @!%p1 add.u32 %r0, %r0, 100;");
        let out = |lane: u32| match mode {
            "up" => lane < b,
            "down" => lane + b > 31,
            _ => false,
        };
        each(threads(&code, 64), |n| want(n & 31, b) + if out(n & 31) { 100 } else { 0 });
        // The same with operands that vary.
        let code = format!("mov.u32 %r5, {b}; add.u32 %r5, %r5, 0; shfl.sync.{mode}.b32 %r0, %r2, %r5, {c}, -1;");
        each(threads(&code, 64), |n| want(n & 31, b));
    }
    // Segments of eight.
    each(threads("shfl.sync.down.b32 %r0, %r2, 1, 0x181f, -1;", 32), |n| if n & 7 == 7 { n } else { n + 1 });
    // The old kind.
    each(threads("shfl.idx.b32 %r0, %r2, 4, 31;", 32), |_| 4);
}

#[test]
fn votes_matches_and_reductions() {
    let odd = "and.b32 %r3, %r1, 1; setp.ne.u32 %p1, %r3, 0;";
    each(threads(&format!("{odd} vote.sync.ballot.b32 %r0, %p1, -1;"), 32), |_| 0xaaaa_aaaa);
    each(threads(&format!("{odd} vote.sync.any.pred %p2, %p1, -1; selp.u32 %r0, 1, 0, %p2;"), 32), |_| 1);
    each(threads(&format!("{odd} vote.sync.all.pred %p2, !%p1, -1; selp.u32 %r0, 1, 0, %p2;"), 32), |_| 0);
    each(
        threads(
            "match.any.sync.b32 %r0, %r4, -1;"
                .replace("%r4", "%r3")
                .replace("match", "and.b32 %r3, %r1, 3; match")
                .as_str(),
            32,
        ),
        |n| 0x1111_1111 << (n & 3),
    );
    each(threads("mov.u32 %r3, 7; match.all.sync.b32 %r0|%p1, %r3, -1; @!%p1 mov.u32 %r0, 5;", 32), |_| u32::MAX);
    each(threads("redux.sync.add.u32 %r0, %r1, -1;", 32), |_| 31 * 16);
    each(threads("redux.sync.max.s32 %r0, %r1, -1;", 20), |_| 19);
    each(threads("elect.sync %r0|%p1, -1; @%p1 add.u32 %r0, %r0, 7;", 32), |n| if n == 0 { 7 } else { 0 });
}

#[test]
fn diverged_lanes_meet_by_their_masks() {
    let code = "setp.lt.u32 %p1, %r2, 16; @%p1 bra A;\n\
                vote.sync.ballot.b32 %r0, %p1, 0xffff0000; shfl.sync.idx.b32 %r0, %r2, 20, 31, 0xffff0000; bra E;\n\
                A: activemask.b32 %r3; shfl.sync.idx.b32 %r0, %r3, 3, 31, 0x0000ffff;\n\
                E: bar.warp.sync -1;";
    each(threads(code, 64), |n| if n & 31 < 16 { 0xffff } else { 20 });
    // Lanes that have ended are not waited for.
    each(
        threads(
            "setp.gt.u32 %p1, %r2, 9; @%p1 exit; setp.eq.u32 %p2, %r2, %r2; vote.sync.ballot.b32 %r0, %p2, -1;",
            32,
        ),
        |n| {
            if n > 9 { 0 } else { 0x3ff }
        },
    );
}

#[test]
fn barriers_count_reduce_and_are_numbered() {
    let odd = "and.b32 %r3, %r1, 1; setp.ne.u32 %p1, %r3, 0;";
    each(threads(&format!("{odd} barrier.red.popc.u32 %r0, 0, %p1;"), 96), |_| 48);
    each(threads(&format!("{odd} barrier.red.or.pred %p2, 0, %p1; selp.u32 %r0, 1, 0, %p2;"), 96), |_| 1);
    each(threads(&format!("{odd} barrier.red.and.pred %p2, 3, %p1; selp.u32 %r0, 1, 0, %p2;"), 96), |_| 0);
    // Two halves with barriers of their own; the second passes a value to the first by arriving.
    let code = "mul.wide.u32 %rd4, %r1, 4; mov.u64 %rd5, sh; add.u64 %rd4, %rd4, %rd5;\n\
                setp.lt.u32 %p1, %r1, 64; @%p1 bra A;\n\
                st.shared.u32 [%rd4], %r1; bar.arrive 2, 128; bra E;\n\
                A: bar.sync 2, 128; ld.shared.u32 %r0, [%rd4+256];\nE: bar.sync 0;";
    each(threads(code, 128), |n| if n < 64 { n + 64 } else { 0 });
    // Threads that have ended do not hold up a barrier.
    each(
        threads("setp.gt.u32 %p1, %r1, 40; @%p1 ret; bar.sync 0; mov.u32 %r0, 3;", 64),
        |n| if n > 40 { 0 } else { 3 },
    );
}

#[test]
fn waiting_for_ever_is_a_fault() {
    let fault = try_run("setp.eq.u32 %p1, %r1, 0; @%p1 bar.sync 1, 64; bar.sync 0;", 32).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Trap);
    let fault = try_run("setp.eq.u32 %p1, %r1, 0; @%p1 bar.warp.sync -1; bar.sync 0;", 32).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Trap);
}

fn launch<'a>(function: usize, grid: u32, block: u32, params: &'a [u8]) -> Launch<'a> {
    Launch {
        function,
        grid: [grid, 1, 1],
        block: [block, 1, 1],
        cluster: [1; 3],
        dynamic_shared_bytes: 0,
        params,
        cooperative: false,
        stack_bytes: 1024,
        max_workers: 0,
        grid_id: 1,
    }
}

#[test]
fn all_blocks_of_a_cooperative_launch_meet() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let (blocks, block) = (20u32, 64u32);
    let (arrived, out) = (host.upload(&[0u32]), host.upload(&vec![0u32; (blocks * block) as usize]));
    let params: Vec<u8> = [arrived, out, u64::from(blocks)].iter().flat_map(|v| v.to_le_bytes()).take(20).collect();
    let launch = Launch { cooperative: true, ..launch(module.function("grid_sync").unwrap(), blocks, block, &params) };
    run(&module, &launch, &host, &AtomicBool::new(false)).unwrap();
    assert!(host.download::<u32>(out, (blocks * block) as usize).iter().all(|&v| v == blocks));
}

#[test]
fn a_spinning_launch_can_be_cancelled() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let (arrived, out) = (host.upload(&[0u32]), host.upload(&[0u32; 64]));
    let params: Vec<u8> = [arrived, out, 1000].iter().flat_map(|v| v.to_le_bytes()).take(20).collect();
    let launch = launch(module.function("grid_sync").unwrap(), 1, 64, &params);
    let cancel = AtomicBool::new(false);
    let start = Instant::now();
    let fault = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            cancel.store(true, Ordering::Relaxed);
        });
        run(&module, &launch, &host, &cancel).unwrap_err()
    });
    assert_eq!(fault.kind, FaultKind::Cancelled);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn blocks_of_a_cluster_see_each_others_shared_memory() {
    let code = "mov.u32 %r3, %cluster_ctarank; mov.u32 %r4, sh; st.shared.u32 [sh], %r3;\n\
                barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;\n\
                xor.b32 %r5, %r3, 1; mapa.shared::cluster.u32 %r6, %r4, %r5; ld.shared::cluster.u32 %r0, [%r6];\n\
                mov.u64 %rd3, sh; cvta.shared.u64 %rd3, %rd3; mapa.u64 %rd4, %rd3, %r5; ld.u32 %r7, [%rd4];\n\
                add.u32 %r0, %r0, %r7; mov.u32 %r7, %cluster_nctarank; mad.lo.u32 %r0, %r7, 100, %r0;\n\
                barrier.cluster.arrive; barrier.cluster.wait;";
    let host = Host::new();
    let module = host.load(&text(code));
    let out = host.upload(&[0u32; 8]);
    let params = out.to_le_bytes();
    let launch = Launch { cluster: [2, 1, 1], ..launch(0, 8, 1, &params) };
    run(&module, &launch, &host, &AtomicBool::new(false)).unwrap();
    assert_eq!(host.download::<u32>(out, 8), [202, 200, 202, 200, 202, 200, 202, 200]);
}

#[test]
fn dynamic_shared_memory_follows_the_static() {
    let text =
        text("st.shared.u32 [dyn+60], %r1; mov.u32 %r0, %dynamic_smem_size; mov.u32 %r3, dyn; add.u32 %r0, %r0, %r3;")
            .replace(".visible .entry", ".extern .shared .align 16 .b8 dyn[];\n.visible .entry");
    let host = Host::new();
    let module = host.load(&text);
    let out = host.upload(&[0u32]);
    let params = out.to_le_bytes();
    let with = |bytes| Launch { dynamic_shared_bytes: bytes, ..launch(0, 1, 1, &params) };
    run(&module, &with(64), &host, &AtomicBool::new(false)).unwrap();
    // `sh` is not used here, so nothing stands before it.
    assert_eq!(host.download::<u32>(out, 1), [64]);
    let fault = run(&module, &with(60), &host, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(fault.kind, FaultKind::IllegalAddress);
    let fault = run(&module, &with(1 << 20), &host, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(fault.kind, FaultKind::InvalidLaunch);
}

#[test]
fn the_host_prints_asserts_and_allocates() {
    let host = Host::new();
    let print = "st.local.u32 [args], 42; mov.u64 %rd3, word; add.u64 %rd3, %rd3, 0; st.local.u64 [args+8], %rd3;\n\
        mov.u64 %rd4, args; cvta.local.u64 %rd4, %rd4;\n\
        { .param .b64 f; .param .b64 a; .param .b32 r; st.param.b64 [f], %rd3; st.param.b64 [a], %rd4;\n\
        call.uni (r), vprintf, (f, a); ld.param.b32 %r0, [r]; }";
    let module = host.load(&text(print));
    let out = host.upload(&[0u32; 2]);
    host.launch(&module, "k", [1, 1, 1], [1, 1, 1], &[Arg::U64(out)]).unwrap();
    assert_eq!(String::from_utf8_lossy(&host.printed.lock().unwrap()), "hi 42 hi %d %s");
    assert_eq!(host.download::<u32>(out, 1), [2]);
    host.printed.lock().unwrap().clear();

    let assert = "mov.u64 %rd3, word; { .param .b64 m; .param .b64 f; .param .b32 l; .param .b64 n; .param .b64 s;\n\
        st.param.b64 [m], %rd3; st.param.b64 [f], %rd3; st.param.b32 [l], 7; st.param.b64 [n], %rd3; st.param.b64 [s], 1;\n\
        call.uni __assertfail, (m, f, l, n, s); }";
    let module = host.load(&text(assert));
    let fault = host.launch(&module, "k", [1, 1, 1], [2, 1, 1], &[Arg::U64(out)]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Assert);
    let printed = String::from_utf8_lossy(&host.printed.lock().unwrap()).into_owned();
    assert!(printed.contains(":7: ") && printed.contains("thread: [0,0,0] Assertion `hi %d %s` failed."), "{printed}");

    let heap = "{ .param .b64 n; .param .b64 r; st.param.b64 [n], 64; call.uni (r), malloc, (n); ld.param.b64 %rd3, [r]; }\n\
        st.u32 [%rd3+60], 9; ld.global.u32 %r0, [%rd3+60];\n\
        { .param .b64 p; st.param.b64 [p], %rd3; call.uni free, (p); }";
    let module = host.load(&text(heap));
    host.launch(&module, "k", [1, 1, 1], [2, 1, 1], &[Arg::U64(out)]).unwrap();
    assert_eq!(host.download::<u32>(out, 2), [9, 9]);
}

#[test]
fn recursion_without_end_overflows_the_stack() {
    let host = Host::new();
    let module = host.load(
        ".version 7.0\n.target sm_75\n.address_size 64\n\
         .func (.param .b32 r) deep (.param .b32 a) { .reg .b32 %r<3>; ld.param.b32 %r1, [a]; add.u32 %r1, %r1, 1;\n\
         { .param .b32 x; .param .b32 y; st.param.b32 [x], %r1; call.uni (y), deep, (x); ld.param.b32 %r1, [y]; }\n\
         add.u32 %r1, %r1, 1; st.param.b32 [r], %r1; ret; }\n\
         .visible .entry k(.param .u64 out) { .reg .b32 %r<3>; { .param .b32 x; .param .b32 y; st.param.b32 [x], 0;\n\
         call.uni (y), deep, (x); ld.param.b32 %r1, [y]; } ret; }",
    );
    for stack_bytes in [1024, 64 << 20] {
        let params = [0; 8];
        let launch = Launch { stack_bytes, ..launch(module.function("k").unwrap(), 1, 1, &params) };
        let fault = run(&module, &launch, &host, &AtomicBool::new(false)).unwrap_err();
        assert_eq!(fault.kind, FaultKind::StackOverflow);
    }
}

#[test]
fn a_function_that_waits_is_inlined() {
    let code =
        "{ .param .b32 a; .param .b32 r; st.param.b32 [a], %r1; call.uni (r), sum, (a); ld.param.b32 %r0, [r]; }";
    let text = text(code).replace(
        ".visible .entry",
        ".func (.param .b32 r) sum (.param .b32 a) { .reg .b32 %r<9>; .reg .pred %p<2>; ld.param.b32 %r1, [a]; mov.u32 %r3, 1;\n\
         L: shfl.sync.bfly.b32 %r2, %r1, %r3, 31, -1; add.u32 %r1, %r1, %r2; shl.b32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 32;\n\
         @%p1 bra L; bar.sync 0; st.param.b32 [r], %r1; ret; }\n.visible .entry",
    );
    let host = Host::new();
    let module = host.load(&text);
    let out = host.upload(&[0u32; 64]);
    host.launch(&module, "k", [1, 1, 1], [64, 1, 1], &[Arg::U64(out)]).unwrap();
    each(host.download(out, 64), |n| if n < 32 { 496 } else { 496 + 1024 });
}

#[test]
fn launches_are_checked() {
    let host = Host::new();
    let module = host.load(&text("").replace("{\n.reg .b64", ".reqntid 32 {\n.reg .b64"));
    let params = host.upload(&[0u32; 64]).to_le_bytes();
    let kind = |launch: &Launch<'_>| run(&module, launch, &host, &AtomicBool::new(false)).map_err(|f| f.kind);
    assert_eq!(kind(&launch(0, 1, 32, &params)), Ok(()));
    for bad in [
        launch(0, 0, 32, &params),
        launch(0, 1, 0, &params),
        launch(0, 1, 31, &params),
        launch(0, 1, 2048, &params),
        launch(9, 1, 32, &params),
        launch(0, 1, 32, &params[..4]),
        Launch { cluster: [3, 1, 1], ..launch(0, 4, 32, &params) },
    ] {
        assert_eq!(kind(&bad), Err(FaultKind::InvalidLaunch));
    }
}

#[test]
fn a_callee_may_end_the_thread() {
    // Too recursive to be inlined.
    let host = Host::new();
    let module = host.load(
        ".version 7.0\n.target sm_75\n.address_size 64\n\
         .func down (.param .b32 a) { .reg .b32 %r<3>; .reg .pred %p<2>; ld.param.b32 %r1, [a]; setp.eq.u32 %p1, %r1, 0;\n\
         @%p1 exit; setp.eq.u32 %p1, %r1, 10; @%p1 ret; sub.u32 %r1, %r1, 1;\n\
         { .param .b32 x; st.param.b32 [x], %r1; call.uni down, (x); } ret; }\n\
         .visible .entry k(.param .u64 out) { .reg .b32 %r<3>; .reg .b64 %rd<3>; ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x;\n\
         add.u32 %r2, %r1, 7; { .param .b32 x; st.param.b32 [x], %r2; call.uni down, (x); }\n\
         mul.wide.u32 %rd2, %r1, 4; add.u64 %rd1, %rd1, %rd2; st.global.u32 [%rd1], 5; ret; }",
    );
    let out = host.upload(&[0u32; 6]);
    host.launch(&module, "k", [1, 1, 1], [6, 1, 1], &[Arg::U64(out)]).unwrap();
    assert_eq!(host.download::<u32>(out, 6), [0, 0, 0, 5, 5, 5]);
}

#[test]
fn the_address_of_a_callees_parameter_can_be_taken() {
    for size in [3, 600] {
        // The long one is not inlined.
        let filler = "add.u32 %r4, %r4, 1;\n".repeat(size);
        let host = Host::new();
        let module = host.load(&format!(
            ".version 7.0\n.target sm_75\n.address_size 64\n\
             .func (.param .b32 r) pick (.param .align 4 .b8 s[16], .param .b32 n) {{ .reg .b32 %r<9>; .reg .b64 %rd<9>;\n\
             ld.param.b32 %r1, [n]; mov.u32 %r4, 0; {filler}\n\
             mov.b64 %rd1, s; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd1, %rd1, %rd2; ld.param.b32 %r2, [%rd1];\n\
             st.param.b32 [r], %r2; ret; }}\n\
             .visible .entry k(.param .u64 out) {{ .reg .b32 %r<9>; .reg .b64 %rd<9>; ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x;\n\
             {{ .param .align 4 .b8 x[16]; .param .b32 y; .param .b32 z; st.param.v2.b32 [x], {{10, 11}}; st.param.v2.b32 [x+8], {{12, 13}};\n\
             st.param.b32 [y], %r1; call.uni (z), pick, (x, y); ld.param.b32 %r2, [z]; }}\n\
             mul.wide.u32 %rd2, %r1, 4; add.u64 %rd1, %rd1, %rd2; st.global.u32 [%rd1], %r2; ret; }}"
        ));
        let out = host.upload(&[0u32; 4]);
        host.launch(&module, "k", [1, 1, 1], [4, 1, 1], &[Arg::U64(out)]).unwrap();
        assert_eq!(host.download::<u32>(out, 4), [10, 11, 12, 13]);
    }
}
