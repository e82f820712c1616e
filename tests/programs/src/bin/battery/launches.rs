//! Launches in each argument form, what a kernel computes, configurations that no device takes, and occupancy.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use programs::driver::{LaunchAttribute, LaunchConfig};
use programs::{call, must};

use crate::bench::{Bench, On, checksum, pattern, place};

pub fn run(bench: &Bench) -> Result<(), String> {
    forms(bench)?;
    values(bench)?;
    shapes(bench)?;
    shared(bench)?;
    sums(bench)?;
    exact(bench)?;
    refused(bench)?;
    occupancy(bench)
}

fn forms(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let fill = bench.function("fill")?;
    let out = bench.allocate(4096)?;
    let (count, scale, offset) = (1000u32, 7u32, 11u32);
    let mut places: [*mut c_void; 4] =
        [&out as *const u64 as _, &count as *const u32 as _, &scale as *const u32 as _, &offset as *const u32 as _];
    let shown = |what: &str, status| -> Result<(), String> {
        bench.code(what, status);
        let words = bench.get::<u32>(out, 1000)?;
        bench.say("words", format!("{} {} {}", words[0], words[999], checksum(&words)));
        must!(cuda, cuMemsetD8_v2(out, 0xff, 4096))
    };
    let none = null_mut();
    let at = places.as_mut_ptr();
    shown("kernelParams", call!(cuda, cuLaunchKernel(fill, 4, 1, 1, 256, 1, 1, 0, 0, at, none)))?;

    let mut packed = [0u8; 20];
    packed[..8].copy_from_slice(&out.to_le_bytes());
    for (i, word) in [count, scale, offset].into_iter().enumerate() {
        packed[8 + 4 * i..12 + 4 * i].copy_from_slice(&word.to_le_bytes());
    }
    let mut size = packed.len();
    let mut extra: [*mut c_void; 5] =
        [1 as _, packed.as_mut_ptr().cast(), 2 as _, std::ptr::from_mut(&mut size).cast(), null_mut()];
    let packed_at = extra.as_mut_ptr();
    shown("extra", call!(cuda, cuLaunchKernel(fill, 4, 1, 1, 256, 1, 1, 0, 0, none.cast(), packed_at)))?;
    bench.code("both at once", call!(cuda, cuLaunchKernel(fill, 4, 1, 1, 256, 1, 1, 0, 0, at, packed_at)));
    bench.code("neither", call!(cuda, cuLaunchKernel(fill, 4, 1, 1, 256, 1, 1, 0, 0, none.cast(), none.cast())));
    must!(cuda, cuCtxSynchronize())?;

    let plain = LaunchConfig {
        grid: [4, 1, 1],
        block: [256, 1, 1],
        shared: 0,
        stream: 0,
        attributes: null(),
        attribute_count: 0,
    };
    shown("cuLaunchKernelEx", call!(cuda, cuLaunchKernelEx(&plain, fill, at, none)))?;
    shown("cuLaunchKernelEx, extra", call!(cuda, cuLaunchKernelEx(&plain, fill, none.cast(), packed_at)))?;
    // CU_LAUNCH_ATTRIBUTE_PRIORITY, and CU_LAUNCH_ATTRIBUTE_IGNORE, which is passed over.
    let attributes =
        [LaunchAttribute { id: 8, pad: 0, value: [0; 16] }, LaunchAttribute { id: 0, pad: 0, value: [7; 16] }];
    let with = LaunchConfig { attributes: attributes.as_ptr(), attribute_count: 2, ..plain };
    shown("cuLaunchKernelEx, attributes", call!(cuda, cuLaunchKernelEx(&with, fill, at, none)))?;
    bench.code("cuLaunchKernelEx, null", call!(cuda, cuLaunchKernelEx(null(), fill, at, none)));
    bench.code("cuLaunchKernelEx of NULL", call!(cuda, cuLaunchKernelEx(&plain, 0, at, none)));
    let nothing = bench.function("nothing")?;
    bench.code("no parameters", call!(cuda, cuLaunchKernel(nothing, 1, 1, 1, 1, 1, 1, 0, 0, none.cast(), none.cast())));
    bench.code("synchronise", call!(cuda, cuCtxSynchronize()));
    bench.free(out)
}

#[repr(C)]
struct Mixed {
    byte: u8,
    wide: u64,
    half: u16,
    real: f32,
}

fn values(bench: &Bench) -> Result<(), String> {
    let out = bench.allocate(64)?;
    let mixed = Mixed { byte: 200, wide: 1 << 40, half: 50_000, real: 2.5 };
    let (byte, half, word, wide) = (250u8, 60_000u16, 4_000_000_000u32, 0x0123_4567_89ab_cdefu64);
    let (real, precise) = (1.25f32, 1e9 + 0.125f64);
    let parameters = [
        place(&out),
        place(&byte),
        place(&half),
        place(&word),
        place(&wide),
        place(&real),
        place(&precise),
        place(&mixed),
    ];
    bench.code("parameters", bench.launch(bench.function("parameters")?, [1; 3], [1; 3], On::default(), &parameters));
    bench.say("they arrived as", format!("{:?}", bench.get::<u64>(out, 8)?));
    bench.free(out)
}

fn shapes(bench: &Bench) -> Result<(), String> {
    let count = 2 * 3 * 4 * 5 * 3 * 2;
    let out = bench.allocate(count * 4)?;
    bench.code(
        "three dimensions",
        bench.launch(bench.function("places")?, [2, 3, 4], [5, 3, 2], On::default(), &[place(&out)]),
    );
    let words = bench.get::<u32>(out, count)?;
    bench.say("places", format!("{:x} {:x} {}", words[0], words[count - 1], checksum(&words)));
    bench.free(out)
}

fn shared(bench: &Bench) -> Result<(), String> {
    let reverse = bench.function("reverse")?;
    let out = bench.allocate(8192 * 4)?;
    for (blocks, threads) in [(1, 1), (8, 32), (8, 100), (8, 1024)] {
        bench.fill(out, blocks * threads, 1, 0, 0)?;
        let on = On { shared: threads * 4, stream: 0 };
        bench.code("dynamic shared memory", bench.launch(reverse, [blocks, 1, 1], [threads, 1, 1], on, &[place(&out)]));
        let words = bench.get::<u32>(out, (blocks * threads) as usize)?;
        bench.say(&format!("{blocks} blocks of {threads}"), format!("{} {}", words[0], checksum(&words)));
    }
    bench.free(out)
}

fn sums(bench: &Bench) -> Result<(), String> {
    let sum = bench.function("sum")?;
    let words = pattern(100_000);
    let [data, out] = [bench.allocate(400_000)?, bench.allocate(8)?];
    bench.put(data, &words)?;
    for (blocks, count) in [(1, 100_000u64), (32, 100_000), (500, 99_999), (3, 1), (1, 0)] {
        must!(bench.cuda, cuMemsetD32_v2(out, 0, 2))?;
        let status =
            bench.launch(sum, [blocks, 1, 1], [256, 1, 1], On::default(), &[place(&data), place(&out), place(&count)]);
        bench.code("barriers and atomics", status);
        let own: u64 = words
            .iter()
            .take(count as usize)
            .enumerate()
            .fold(0, |total, (i, &word)| total.wrapping_add(u64::from(word).wrapping_mul(2 * i as u64 + 1)));
        let theirs = bench.get::<u64>(out, 1)?[0];
        bench.say(&format!("sum of {count} in {blocks} blocks"), format!("{theirs:x}, as here: {}", theirs == own));
    }
    bench.free(data)?;
    bench.free(out)
}

fn exact(bench: &Bench) -> Result<(), String> {
    let a: Vec<f32> = (0..64).map(|i| (i as f32 + 0.1) * 3.7e3 / (i as f32 * 0.37 + 1.3)).collect();
    let b: Vec<f32> = (0..64).map(|i| 1.0 / (i as f32 * 7.7 + 0.3) + 1e-3).collect();
    let [at_a, at_b, out, wide] =
        [bench.allocate(256)?, bench.allocate(256)?, bench.allocate(1280)?, bench.allocate(1024)?];
    bench.put(at_a, &a)?;
    bench.put(at_b, &b)?;
    let parameters = [place(&at_a), place(&at_b), place(&out), place(&wide)];
    bench
        .code("floating point", bench.launch(bench.function("exact")?, [1; 3], [64, 1, 1], On::default(), &parameters));
    let (single, double) = (bench.get::<f32>(out, 320)?, bench.get::<f64>(wide, 128)?);
    let (mut same, mut bits) = (true, Vec::new());
    for i in 0..64 {
        let own = [a[i] + b[i], a[i] * b[i], a[i].mul_add(b[i], a[i]), a[i] / b[i], a[i].sqrt()];
        let own_wide = [f64::from(a[i]) / f64::from(b[i]), f64::from(b[i]).sqrt()];
        same &= (0..5).all(|n| own[n].to_bits() == single[5 * i + n].to_bits());
        same &= (0..2).all(|n| own_wide[n].to_bits() == double[2 * i + n].to_bits());
        bits.extend((0..5).map(|n| single[5 * i + n].to_bits()));
    }
    bench.say("results", format!("{}, as IEEE 754 here: {same}", checksum(&bits)));
    for memory in [at_a, at_b, out, wide] {
        bench.free(memory)?;
    }
    Ok(())
}

fn refused(bench: &Bench) -> Result<(), String> {
    let nothing = bench.function("nothing")?;
    let none = On::default();
    for (what, grid, block) in [
        ("1025 threads", [1, 1, 1], [1025, 1, 1]),
        ("1056 threads in two dimensions", [1, 1, 1], [33, 32, 1]),
        ("65 threads deep", [1, 1, 1], [1, 1, 65]),
        ("0 threads", [1, 1, 1], [0, 1, 1]),
        ("0 blocks", [0, 1, 1], [1, 1, 1]),
        ("0 blocks high", [1, 0, 1], [1, 1, 1]),
        ("65536 blocks high", [1, 65_536, 1], [1, 1, 1]),
        ("65536 blocks deep", [1, 1, 65_536], [1, 1, 1]),
        ("2^31 blocks wide", [1 << 31, 1, 1], [1, 1, 1]),
        ("65535 blocks high", [1, 65_535, 1], [1, 1, 1]),
    ] {
        bench.code(what, bench.launch(nothing, grid, block, none, &[]));
    }
    let much = |shared| On { shared, stream: 0 };
    bench.code("48 KiB of shared memory", bench.launch(nothing, [1; 3], [1; 3], much(49_152), &[]));
    bench.code("a byte more than was asked for", bench.launch(nothing, [1; 3], [1; 3], much(49_153), &[]));
    bench.code("1 GiB of shared memory", bench.launch(nothing, [1; 3], [1; 3], much(1 << 30), &[]));
    let (out, count) = (bench.allocate(8)?, 0u64);
    let parameters = [place(&out), place(&out), place(&count)];
    let over = bench.launch(bench.function("sum")?, [1; 3], [1; 3], much(49_152), &parameters);
    bench.code("48 KiB over the static bytes", over);
    bench.free(out)?;
    bench.code("launch of NULL", bench.launch(0, [1; 3], [1; 3], none, &[]));
    bench.code("nothing came of these", call!(bench.cuda, cuCtxSynchronize()));
    bench.code("and a good launch works", bench.launch(nothing, [1; 3], [1; 3], none, &[]));
    bench.code("synchronise", call!(bench.cuda, cuCtxSynchronize()));
    Ok(())
}

extern "C" fn four_a_thread(threads: i32) -> usize {
    threads as usize * 4
}

fn occupancy(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let [sum, reverse] = [bench.function("sum")?, bench.function("reverse")?];
    let (mut blocks, mut grid, mut block, mut bytes) = (0, 0, 0, 0);
    for (threads, dynamic) in [(32, 0), (256, 0), (1024, 0), (256, 16_384), (256, 46_000)] {
        let status = call!(cuda, cuOccupancyMaxActiveBlocksPerMultiprocessor(&mut blocks, sum, threads, dynamic));
        bench.code(&format!("occupancy {threads} {dynamic}"), status);
        bench.fact(&format!("occupancy {threads} {dynamic}"), blocks);
    }
    let count =
        |function, threads, out| call!(cuda, cuOccupancyMaxActiveBlocksPerMultiprocessor(out, function, threads, 0));
    bench.code("occupancy of 0 threads", count(sum, 0, &mut blocks));
    bench.code("occupancy of 2000 threads", count(sum, 2000, &mut blocks));
    bench.code("occupancy of NULL", count(0, 256, &mut blocks));
    bench.code("occupancy, null", count(sum, 256, null_mut()));
    bench.code("block size", call!(cuda, cuOccupancyMaxPotentialBlockSize(&mut grid, &mut block, sum, None, 0, 0)));
    bench.fact("block size", format!("{grid} {block}"));
    let status =
        call!(cuda, cuOccupancyMaxPotentialBlockSize(&mut grid, &mut block, reverse, Some(four_a_thread), 0, 500));
    bench.code("block size with a callback and a limit", status);
    bench.fact("block size with a callback and a limit", format!("{grid} {block}"));
    bench.code(
        "block size, null",
        call!(cuda, cuOccupancyMaxPotentialBlockSize(null_mut(), &mut block, sum, None, 0, 0)),
    );
    bench.code("shared bytes left", call!(cuda, cuOccupancyAvailableDynamicSMemPerBlock(&mut bytes, sum, 2, 256)));
    bench.fact("shared bytes left", bytes);
    Ok(())
}
