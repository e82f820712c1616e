//! Kernels that clang made, against the same computations done here.
#![allow(clippy::unwrap_used)] // a failure is the test's

#[path = "ptx/host.rs"]
mod host;

use cpu_cuda::engine::FaultKind;
use host::{Arg, Host};

const KERNELS: &str = include_str!("ptx/kernels.ptx");

/// Numbers that look random.
fn noise(count: usize) -> Vec<u32> {
    let mut state = 0x1234_5678u32;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        })
        .collect()
}

fn floats(count: usize) -> Vec<f32> {
    noise(count).into_iter().map(|v| (v >> 8) as f32 / 65536.0 - 100.0).collect()
}

#[test]
fn vadd_adds_and_stops_at_the_end() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let (a, b) = (floats(1000), floats(1000));
    let c = host.upload(&vec![-1f32; 1024]);
    let args = [Arg::U64(host.upload(&a)), Arg::U64(host.upload(&b)), Arg::U64(c), Arg::U32(1000)];
    host.launch(&module, "vadd", [8, 1, 1], [128, 1, 1], &args).unwrap();
    let got: Vec<f32> = host.download(c, 1024);
    assert!((0..1000).all(|i| got[i] == a[i] + b[i]));
    assert!(got[1000..].iter().all(|&v| v == -1.0));
}

#[test]
fn saxpy_strides_over_the_grid() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let (x, y) = (floats(5000), floats(5000));
    let at = host.upload(&y);
    let args = [Arg::F32(2.5), Arg::U64(host.upload(&x)), Arg::U64(at), Arg::U32(5000)];
    host.launch(&module, "saxpy_strided", [3, 1, 1], [96, 1, 1], &args).unwrap();
    let got: Vec<f32> = host.download(at, 5000);
    assert!((0..5000).all(|i| got[i] == 2.5f32.mul_add(x[i], y[i])));
}

#[test]
fn blur_shares_a_tile() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let input = floats(1000);
    let out = host.upload(&vec![0f32; 1000]);
    host.launch(
        &module,
        "blur",
        [16, 1, 1],
        [64, 1, 1],
        &[Arg::U64(host.upload(&input)), Arg::U64(out), Arg::U32(1000)],
    )
    .unwrap();
    let got: Vec<f32> = host.download(out, 1000);
    let at = |i: i32| if (0..1000).contains(&i) { input[i as usize] } else { 0.0 };
    for i in 0..1000 {
        assert_eq!(got[i as usize], (at(i - 1) + at(i) + at(i + 1)) * (1.0 / 3.0), "{i}");
    }
}

#[test]
fn histogram_counts_with_atomics() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let input: Vec<u8> = noise(20000).into_iter().map(|v| (v >> 7) as u8).collect();
    let bins = host.upload(&[0u32; 256]);
    host.launch(
        &module,
        "histogram",
        [7, 1, 1],
        [128, 1, 1],
        &[Arg::U64(host.upload(&input)), Arg::U64(bins), Arg::U32(20000)],
    )
    .unwrap();
    let mut want = [0u32; 256];
    input.iter().for_each(|&b| want[b as usize] += 1);
    assert_eq!(host.download::<u32>(bins, 256), want);
}

#[test]
fn reduce_sums_in_a_tree() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let input: Vec<f32> = noise(10000).into_iter().map(|v| (v & 255) as f32).collect();
    let out = host.upload(&[0f32; 4]);
    host.launch(
        &module,
        "reduce",
        [4, 1, 1],
        [256, 1, 1],
        &[Arg::U64(host.upload(&input)), Arg::U64(out), Arg::U32(10000)],
    )
    .unwrap();
    let got: Vec<f32> = host.download(out, 4);
    assert_eq!(got.iter().sum::<f32>(), input.iter().sum::<f32>());
}

#[test]
fn matmul_in_tiles() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let n = 64;
    let small = |seed: usize| -> Vec<f32> { noise(n * n + seed)[seed..].iter().map(|v| (v & 15) as f32).collect() };
    let (a, b) = (small(1), small(2));
    let c = host.upload(&vec![0f32; n * n]);
    let args = [Arg::U64(host.upload(&a)), Arg::U64(host.upload(&b)), Arg::U64(c), Arg::U32(n as u32)];
    host.launch(&module, "matmul", [4, 4, 1], [16, 16, 1], &args).unwrap();
    let got: Vec<f32> = host.download(c, n * n);
    for row in 0..n {
        for col in 0..n {
            let want: f32 = (0..n).map(|k| a[row * n + k] * b[k * n + col]).sum();
            assert_eq!(got[row * n + col], want);
        }
    }
}

#[test]
fn mandelbrot_iterates() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let (w, h, limit) = (60, 40, 100);
    let out = host.upload(&vec![0u32; w * h]);
    let args = [Arg::U64(out), Arg::U32(w as u32), Arg::U32(h as u32), Arg::U32(limit)];
    host.launch(&module, "mandelbrot", [8, 5, 1], [8, 8, 1], &args).unwrap();
    let got: Vec<u32> = host.download(out, w * h);
    assert!(got.contains(&limit) && got.iter().any(|&n| n < 5));
    // Far inside and far outside.
    assert_eq!(got[20 * w + 35], limit);
    assert_eq!(got[0], 1);
}

#[test]
fn shuffles_sum_a_warp() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let input: Vec<i32> = noise(512).into_iter().map(|v| v as i32 >> 8).collect();
    let out = host.upload(&[0i32; 16]);
    host.launch(&module, "warp_sum", [4, 1, 1], [128, 1, 1], &[Arg::U64(host.upload(&input)), Arg::U64(out)]).unwrap();
    let want: Vec<i32> = input.chunks(32).map(|w| w.iter().sum()).collect();
    assert_eq!(host.download::<i32>(out, 16), want);
}

#[test]
fn collectives_work_in_diverged_halves() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let out = host.upload(&[0i32; 64]);
    host.launch(&module, "diverged", [1, 1, 1], [64, 1, 1], &[Arg::U64(out)]).unwrap();
    let got = host.download::<i32>(out, 64);
    for (n, &v) in got.iter().enumerate() {
        let lane = n as i32 & 31;
        let want = if lane < 16 { ((lane + 1) & 15) * 10 } else { 0xaaaa_0000u32 as i32 + 31 };
        assert_eq!(v, want, "lane {lane}");
    }
}

#[test]
fn calls_recursion_pointers_and_constants() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let fib = |n: i32| (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0;
    for which in 0..2 {
        let out = host.upload(&[0i32; 12]);
        host.launch(&module, "calls", [1, 1, 1], [12, 1, 1], &[Arg::U64(out), Arg::U32(which)]).unwrap();
        for (n, v) in host.download::<i32>(out, 12).into_iter().enumerate() {
            let n = n as i32;
            let op = if which == 0 { 2 * n } else { n * n };
            assert_eq!(v, fib(n) + [3, 5, 7, 11][n as usize & 3] + op + 40);
        }
    }
    let out = host.upload(&[0i32; 1]);
    let fault = host.launch(&module, "calls", [1, 1, 1], [1, 1, 1], &[Arg::U64(out), Arg::U32(2)]).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::InvalidPc | FaultKind::IllegalAddress), "{fault}");
}

#[test]
fn local_arrays_are_a_threads_own() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let out = host.upload(&[0i32; 40]);
    host.launch(&module, "local_array", [1, 1, 1], [40, 1, 1], &[Arg::U64(out), Arg::U32(50)]).unwrap();
    for (thread, v) in host.download::<i32>(out, 40).into_iter().enumerate() {
        let mut stack: Vec<i32> = (0..32).map(|i| i * thread as i32).collect();
        let mut sum = 0i32;
        for i in 0..50 {
            sum = sum.wrapping_add(stack[(i * 7) & 31]);
            stack[(i * 3) & 31] = sum;
        }
        assert_eq!(v, sum, "thread {thread}");
    }
}

#[test]
fn a_spinning_thread_lets_others_finish() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let (lock, count) = (host.upload(&[0i32]), host.upload(&[0i32]));
    host.launch(&module, "spin_lock", [4, 1, 1], [64, 1, 1], &[Arg::U64(lock), Arg::U64(count)]).unwrap();
    assert_eq!(host.download::<i32>(count, 1), [256]);
}

#[test]
fn parameters_by_value_are_indexed() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let mut bytes: Vec<u8> = [1i32, 2, 3, 4, 5, 6].iter().flat_map(|v| v.to_le_bytes()).collect();
    bytes.extend(0.5f64.to_le_bytes());
    let out = host.upload(&[0f64; 2]);
    host.launch(&module, "by_value", [1, 1, 1], [2, 1, 1], &[Arg::Bytes(bytes), Arg::U32(3), Arg::U64(out)]).unwrap();
    assert_eq!(host.download::<f64>(out, 2), [4.5, 4.5]);
}

#[test]
fn integer_operations_agree() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let a: Vec<i32> = noise(65).into_iter().map(|v| v as i32).collect();
    let b: Vec<u64> = noise(130).chunks(2).map(|c| u64::from(c[0]) << 32 | u64::from(c[1])).collect();
    let out = host.upload(&vec![0u64; 8 * 64]);
    host.launch(
        &module,
        "integers",
        [1, 1, 1],
        [64, 1, 1],
        &[Arg::U64(host.upload(&a)), Arg::U64(host.upload(&b)), Arg::U64(out)],
    )
    .unwrap();
    let got = host.download::<u64>(out, 8 * 64);
    for i in 0..64 {
        let (x, y, p, q) = (a[i], a[i + 1], b[i], b[i + 1]);
        let high = |p: u64, q: u64| ((u128::from(p) * u128::from(q)) >> 64) as u64;
        let want = [
            u64::from((x / (y | 1)) as u32) + p % (q | 1),
            (((i64::from(x) * i64::from(y)) >> 32) as u64).wrapping_add(high(p, q)),
            u64::from(p.count_ones())
                + u64::from((x | 1).leading_zeros()) * 100
                + u64::from((q | 1).trailing_zeros()) * 10000,
            p >> (q & 63) ^ p << (x & 63),
            ((p as i64 >> (y & 63)) as u64).wrapping_add(x.min(y) as u64),
            (x as i16 as u64).wrapping_mul(y as u8 as u64),
            u64::from((x as u32 & 0xffff) | (y as u32) << 16) + u64::from((x as u32).swap_bytes()),
            ((f64::from(x) * 1.5) as i64 as u64).wrapping_add((y as u32 as f32) as u64),
        ];
        assert_eq!(got[8 * i..8 * i + 8], want, "{i}");
    }
}

#[test]
fn a_stray_write_is_a_fault_that_says_where() {
    let host = Host::new();
    let module = host.load(KERNELS);
    let out = host.upload(&[0i32; 128]);
    for at in [128u64, 1 << 40, u64::MAX / 8] {
        let fault = host.launch(&module, "stray", [1, 1, 1], [1, 1, 1], &[Arg::U64(out), Arg::U64(at)]).unwrap_err();
        assert_eq!(fault.kind, FaultKind::IllegalAddress);
        assert_eq!(fault.address, out.wrapping_add(at.wrapping_mul(4)));
        assert!(fault.line > 0);
    }
    let fault = host.launch(&module, "stray", [1, 1, 1], [1, 1, 1], &[Arg::U64(out + 2), Arg::U64(0)]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Misaligned);
    host.launch(&module, "stray", [1, 1, 1], [1, 1, 1], &[Arg::U64(out), Arg::U64(127)]).unwrap();
}
