//! What managed memory costs beside the other ways to give a kernel the program's data: `managed [MIB...]`, a line for each
//! size and way.
//!
//! Each round the program writes all words, kernels read and write them, and the program reads all. `once`: one kernel a
//! round; `often`: twenty, one after the other, as in a loop on the device. Times are milliseconds of a round, the best of
//! several.

use std::ptr::null;
use std::time::Instant;

use programs::any::Any;
use programs::{cu, fail};

/// PTX text of `battery.cu`, with the zero that ends it.
const KERNELS: &str = concat!(include_str!("../../kernels/battery.ptx"), "\0");
const ROUNDS: usize = 5;
const OFTEN: usize = 20;
const SIZES: [usize; 4] = [1, 16, 64, 256];
const MIB: usize = 1 << 20;

/// Where the words lie for the program, and for the device.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// `cuMemAllocManaged`: the same for both.
    Managed,
    /// `cuMemHostAlloc`: the device reaches the program's memory.
    Locked,
    /// Device memory, and copies from and to page-locked memory.
    CopiedLocked,
    /// Device memory, and copies from and to pageable memory.
    Copied,
}

const WAYS: [(&str, Way); 4] = [
    ("managed", Way::Managed),
    ("page-locked, in place", Way::Locked),
    ("page-locked, copied", Way::CopiedLocked),
    ("pageable, copied", Way::Copied),
];

fn must(what: &str, status: i32) {
    if status != 0 {
        fail("managed", 3, &format!("{what}: {status}"));
    }
}

struct Bench {
    cuda: Any,
    function: u64,
}

impl Bench {
    fn open() -> Bench {
        let cuda = Any::load().unwrap_or_else(|message| fail("managed", 3, &message));
        let (mut context, mut module, mut function) = (0u64, 0u64, 0u64);
        must("cuInit", cu!(cuda, cuInit(0)));
        must("context", cu!(cuda, cuDevicePrimaryCtxRetain(&mut context, 0)));
        must("context", cu!(cuda, cuCtxSetCurrent(context)));
        must("module", cu!(cuda, cuModuleLoadData(&mut module, KERNELS.as_ptr())));
        must("function", cu!(cuda, cuModuleGetFunction(&mut function, module, c"add_arrays".as_ptr())));
        Bench { cuda, function }
    }

    /// Adds the words to themselves: each is doubled.
    fn double(&self, words: u64, count: usize) {
        let count = count as u32;
        let places = [
            (&raw const words).cast::<u8>(),
            (&raw const words).cast(),
            (&raw const words).cast(),
            (&raw const count).cast(),
        ];
        let grid = count.div_ceil(256);
        let status = cu!(
            self.cuda,
            cuLaunchKernel(self.function, grid, 1, 1, 256, 1, 1, 0, 0u64, places.as_ptr(), null::<u64>())
        );
        must("launch", status);
    }

    /// Milliseconds of the best round; the words are compared in each.
    fn time(&self, way: Way, bytes: usize, kernels: usize) -> f64 {
        let cuda = &self.cuda;
        let (mut host, mut device) = (0u64, 0u64);
        let mut pageable = if way == Way::Copied { vec![0u32; bytes / 4] } else { Vec::new() };
        match way {
            Way::Managed => must("cuMemAllocManaged", cu!(cuda, cuMemAllocManaged(&mut host, bytes, 1))),
            Way::Locked | Way::CopiedLocked => must("cuMemHostAlloc", cu!(cuda, cuMemHostAlloc(&mut host, bytes, 2))),
            Way::Copied => host = pageable.as_mut_ptr() as u64,
        }
        let is_copied = matches!(way, Way::Copied | Way::CopiedLocked);
        if is_copied {
            must("cuMemAlloc", cu!(cuda, cuMemAlloc_v2(&mut device, bytes)));
        } else {
            device = host;
        }
        // SAFETY: memory of so many bytes, which no kernel uses while the program does.
        let words = unsafe { std::slice::from_raw_parts_mut(host as *mut u32, bytes / 4) };
        let mut best = f64::MAX;
        for round in 0..ROUNDS as u32 {
            let begin = Instant::now();
            words.iter_mut().enumerate().for_each(|(at, word)| *word = at as u32 + round);
            if is_copied {
                must("copy", cu!(cuda, cuMemcpyHtoD_v2(device, host, bytes)));
            }
            (0..kernels).for_each(|_| self.double(device, bytes / 4));
            if is_copied {
                must("copy", cu!(cuda, cuMemcpyDtoH_v2(host, device, bytes)));
            } else {
                must("wait", cu!(cuda, cuCtxSynchronize()));
            }
            let right =
                words.iter().enumerate().all(|(at, word)| *word == (at as u32 + round).wrapping_shl(kernels as u32));
            if !right {
                fail("managed", 4, "a word is wrong");
            }
            best = best.min(begin.elapsed().as_secs_f64() * 1e3);
        }
        if is_copied {
            must("cuMemFree", cu!(cuda, cuMemFree_v2(device)));
        }
        match way {
            Way::Managed => must("cuMemFree", cu!(cuda, cuMemFree_v2(host))),
            Way::Locked | Way::CopiedLocked => must("cuMemFreeHost", cu!(cuda, cuMemFreeHost(host))),
            Way::Copied => {}
        }
        best
    }
}

fn main() {
    let wanted: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = if wanted.is_empty() { SIZES.to_vec() } else { wanted };
    let bench = Bench::open();
    for (number, what) in [(83, "MANAGED_MEMORY"), (89, "CONCURRENT_MANAGED_ACCESS"), (88, "PAGEABLE_MEMORY_ACCESS")] {
        let mut value = -1i32;
        must(what, cu!(bench.cuda, cuDeviceGetAttribute(&mut value, number, 0)));
        println!("{what}: {value}");
    }
    for mib in sizes {
        for (name, way) in WAYS {
            let (once, often) = (bench.time(way, mib * MIB, 1), bench.time(way, mib * MIB, OFTEN));
            println!("{mib} MiB, {name}: once {once:.2} ms, often {often:.2} ms");
        }
    }
}
