//! How fast the corpus runs on one thread, beside the same loops written in Rust. Not a test of anything: run with
//! `cargo test --release -p cpu-cuda --test ptx_speed -- --ignored --nocapture`.
#![allow(clippy::unwrap_used)] // a failure is the run's

#[path = "ptx/host.rs"]
mod host;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cpu_cuda::engine::{Launch, run};
use host::Host;

const KERNELS: &str = include_str!("ptx/kernels.ptx");

/// Best of five, in milliseconds.
fn time(mut work: impl FnMut()) -> f64 {
    (0..5)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .fold(f64::INFINITY, f64::min)
}

fn launch(host: &Host, name: &str, grid: [u32; 3], block: [u32; 3], params: &[u8]) -> (f64, f64) {
    let module = host.load(KERNELS);
    let function = module.function(name).unwrap();
    let start = Instant::now();
    module.compile(function).unwrap();
    let compile = start.elapsed().as_secs_f64() * 1e3;
    let launch = Launch {
        function,
        grid,
        block,
        cluster: [1; 3],
        dynamic_shared_bytes: 0,
        params,
        cooperative: false,
        stack_bytes: 0,
        max_workers: 1,
        grid_id: 1,
    };
    (time(|| run(&module, &launch, host, &AtomicBool::new(false)).unwrap()), compile)
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn report(name: &str, (ours, compile): (f64, f64), native: f64) {
    println!(
        "{name:12} {ours:9.2} ms   native {native:9.2} ms   ratio {:5.2}   compile {compile:6.2} ms",
        ours / native
    );
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let host = Host::new();

    let n = 2 << 20;
    let (a, b, c) = (host.upload(&vec![1f32; n]), host.upload(&vec![2f32; n]), host.upload(&vec![0f32; n]));
    let got = launch(&host, "vadd", [(n / 256) as u32, 1, 1], [256, 1, 1], &words(&[a, b, c, n as u64])[..28]);
    let (x, y) = (vec![1f32; n], vec![2f32; n]);
    let mut z = vec![0f32; n];
    report(
        "vadd",
        got,
        time(|| std::hint::black_box(&mut z).iter_mut().zip(x.iter().zip(&y)).for_each(|(z, (x, y))| *z = x + y)),
    );

    let (w, h, limit) = (512u32, 512u32, 256u32);
    let out = host.upload(&vec![0u32; (w * h) as usize]);
    let params = words(&[out, u64::from(w) | u64::from(h) << 32, limit.into()]);
    let got = launch(&host, "mandelbrot", [w / 16, h / 16, 1], [16, 16, 1], &params[..20]);
    let native = time(|| {
        let mut sum = 0;
        for y in 0..h {
            for x in 0..w {
                let (cr, ci) = (-2.0 + 3.0 * x as f32 / w as f32, -1.0 + 2.0 * y as f32 / h as f32);
                let (mut zr, mut zi, mut n) = (0f32, 0f32, 0);
                while n < limit && zr * zr + zi * zi < 4.0 {
                    let t = zr * zr - zi * zi + cr;
                    zi = 2.0 * zr * zi + ci;
                    zr = t;
                    n += 1;
                }
                sum += n;
            }
        }
        std::hint::black_box(sum);
    });
    report("mandelbrot", got, native);

    let n = 2048usize;
    let bodies: Vec<f32> = (0..4 * n).map(|i| (i * 7919 % 1000) as f32 / 1000.0).collect();
    let (pos, acc) = (host.upload(&bodies), host.upload(&vec![0f32; 4 * n]));
    let got = launch(&host, "nbody", [(n / 128) as u32, 1, 1], [128, 1, 1], &words(&[pos, acc, n as u64])[..20]);
    let native = time(|| {
        for i in 0..n {
            let (x, y, z) = (bodies[4 * i], bodies[4 * i + 1], bodies[4 * i + 2]);
            let mut sum = [0f32; 3];
            for j in bodies.chunks_exact(4) {
                let d = [j[0] - x, j[1] - y, j[2] - z];
                let inv = 1.0 / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 0.01).sqrt();
                let s = j[3] * inv * inv * inv;
                (0..3).for_each(|k| sum[k] += d[k] * s);
            }
            std::hint::black_box(sum);
        }
    });
    report("nbody", got, native);

    let n = 256usize;
    let m: Vec<f32> = (0..n * n).map(|i| (i % 17) as f32).collect();
    let (a, b, c) = (host.upload(&m), host.upload(&m), host.upload(&m));
    let grid = [(n / 16) as u32, (n / 16) as u32, 1];
    let got = launch(&host, "matmul", grid, [16, 16, 1], &words(&[a, b, c, n as u64])[..28]);
    let native = time(|| {
        let mut out = vec![0f32; n * n];
        for i in 0..n {
            for j in 0..n {
                out[i * n + j] = (0..n).map(|k| m[i * n + k] * m[k * n + j]).sum();
            }
        }
        std::hint::black_box(out);
    });
    report("matmul", got, native);

    let n = 1 << 20;
    let input: Vec<f32> = (0..n).map(|i| (i % 251) as f32).collect();
    let (from, to) = (host.upload(&input), host.upload(&vec![0f32; n]));
    let got = launch(&host, "blur", [(n / 64) as u32, 1, 1], [64, 1, 1], &words(&[from, to, n as u64])[..20]);
    let native = time(|| {
        let mut out = vec![0f32; n];
        for i in 1..n - 1 {
            out[i] = (input[i - 1] + input[i] + input[i + 1]) * (1.0 / 3.0);
        }
        std::hint::black_box(out);
    });
    report("blur", got, native);
    let got = launch(&host, "reduce", [(n / 256) as u32, 1, 1], [256, 1, 1], &words(&[from, to, n as u64])[..20]);
    report(
        "reduce",
        got,
        time(|| {
            std::hint::black_box(input.iter().sum::<f32>());
        }),
    );
    let bytes: Vec<u8> = (0..n).map(|i| (i * 31) as u8).collect();
    let (data, bins) = (host.upload(&bytes), host.upload(&[0u32; 256]));
    let got = launch(&host, "histogram", [16, 1, 1], [256, 1, 1], &words(&[data, bins, n as u64])[..20]);
    let native = time(|| {
        let mut bins = [0u32; 256];
        bytes.iter().for_each(|&b| bins[b as usize] += 1);
        std::hint::black_box(bins);
    });
    report("histogram", got, native);
    let ints: Vec<i32> = (0..n as i32).collect();
    let (data, sums) = (host.upload(&ints), host.upload(&vec![0i32; n / 32]));
    let got = launch(&host, "warp_sum", [(n / 256) as u32, 1, 1], [256, 1, 1], &words(&[data, sums]));
    report(
        "warp_sum",
        got,
        time(|| {
            std::hint::black_box(ints.chunks(32).map(|c| c.iter().sum::<i32>()).max());
        }),
    );

    // The cost of a launch: one block, one warp, a kernel that does next to nothing.
    let module = host.load(KERNELS);
    let params = &words(&[a, b, c, 0])[..28];
    for (name, grid) in [("launch", 1u32), ("launch 64", 64)] {
        let launch = Launch {
            function: module.function("vadd").unwrap(),
            grid: [grid, 1, 1],
            block: [32, 1, 1],
            cluster: [1; 3],
            dynamic_shared_bytes: 0,
            params,
            cooperative: false,
            stack_bytes: 0,
            max_workers: 0,
            grid_id: 1,
        };
        let ours = time(|| (0..1000).for_each(|_| run(&module, &launch, &host, &AtomicBool::new(false)).unwrap()));
        println!("{name:12} {ours:9.2} µs each");
    }
}
