//! What calls cost on a device: `latency [--seconds S] [--bulk MIB]`, one JSON object on standard output.
//!
//! Each figure is taken for S seconds (0.3) after a warm-up. Times are in microseconds, `p50` and `p99` of single calls;
//! what is too short to time one by one is a mean over batches. The same program gives the native figures and the
//! forwarded ones; subtract before comparing two machines.

use std::ffi::{CString, c_void};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use programs::driver::{CUdeviceptr, Driver, Handle};
use programs::{call, fail, must};

const NAME: &str = "latency";
const USAGE: &str = "usage: latency [--seconds S] [--bulk MIB]";
const KERNELS: &str = concat!(include_str!("../../kernels/battery.ptx"), "\0");
/// Calls in a batch of those timed together; launches in flight stay well below what a driver queues.
const BATCH: u32 = 200;

struct Options {
    each: Duration,
    bulk: usize,
}

fn main() -> ExitCode {
    let begin = Instant::now();
    let options = options(std::env::args().skip(1)).unwrap_or_else(|message| fail(NAME, 2, &message));
    match measure(begin, &options) {
        Ok(figures) => println!("{{\n{}\n}}", figures.join(",\n")),
        Err(message) => fail(NAME, 3, &message),
    }
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { each: Duration::from_millis(300), bulk: 256 << 20 };
    while let Some(word) = words.next() {
        let value =
            words.next().and_then(|value| value.parse::<f64>().ok()).filter(|value| (0.01..4096.0).contains(value));
        match (word.as_str(), value) {
            ("--seconds", Some(seconds)) => options.each = Duration::from_secs_f64(seconds),
            ("--bulk", Some(mebibytes)) => options.bulk = (mebibytes as usize).max(1) << 20,
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

struct Lab<'a> {
    cuda: &'a Driver,
    each: Duration,
    nothing: Handle,
    stream: Handle,
    memory: CUdeviceptr,
    figures: Vec<String>,
}

fn measure(begin: Instant, options: &Options) -> Result<Vec<String>, String> {
    let cuda = Driver::load()?;
    let (mut device, mut context, mut module, mut nothing, mut stream, mut memory) = (0, 0, 0, 0, 0, 0);
    must!(cuda, cuInit(0))?;
    must!(cuda, cuDeviceGet(&mut device, 0))?;
    let name = cuda.device_name(device)?;
    must!(cuda, cuDevicePrimaryCtxRetain(&mut context, device))?;
    must!(cuda, cuCtxSetCurrent(context))?;
    must!(cuda, cuModuleLoadData(&mut module, KERNELS.as_ptr().cast()))?;
    let kernel = CString::from(c"nothing");
    must!(cuda, cuModuleGetFunction(&mut nothing, module, kernel.as_ptr()))?;
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    must!(cuda, cuMemAlloc_v2(&mut memory, options.bulk))?;
    let mut lab = Lab { cuda: &cuda, each: options.each, nothing, stream, memory, figures: Vec::new() };
    lab.launch()?;
    lab.synchronise()?;
    lab.figures.push(format!("  \"device\": {name:?}"));
    lab.number("start_to_first_kernel_s", begin.elapsed().as_secs_f64());
    lab.calls()?;
    lab.launches()?;
    lab.small_copies()?;
    lab.bandwidth(options.bulk)?;
    let figures = lab.figures;
    must!(cuda, cuMemFree_v2(memory))?;
    must!(cuda, cuStreamDestroy_v2(stream))?;
    must!(cuda, cuModuleUnload(module))?;
    must!(cuda, cuDevicePrimaryCtxRelease_v2(device))?;
    Ok(figures)
}

impl Lab<'_> {
    fn number(&mut self, name: &str, value: f64) {
        self.figures.push(format!("  \"{name}\": {value:.3}"));
    }

    fn launch(&self) -> Result<(), String> {
        let none = std::ptr::null_mut::<*mut c_void>();
        must!(self.cuda, cuLaunchKernel(self.nothing, 1, 1, 1, 1, 1, 1, 0, self.stream, none, none))
    }

    fn synchronise(&self) -> Result<(), String> {
        must!(self.cuda, cuStreamSynchronize(self.stream))
    }

    /// p50 and p99 of single calls, in microseconds.
    fn single(&mut self, name: &str, call: impl Fn(&Self) -> Result<(), String>) -> Result<(), String> {
        let mut times = Vec::new();
        for _ in 0..10 {
            call(self)?;
        }
        let end = Instant::now() + self.each;
        while Instant::now() < end || times.len() < 20 {
            let begin = Instant::now();
            call(self)?;
            times.push(begin.elapsed().as_nanos() as f64 / 1000.0);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let text = format!(
            "  \"{name}\": {{\"p50_us\": {:.3}, \"p99_us\": {:.3}, \"calls\": {}}}",
            at(0.5),
            at(0.99),
            times.len()
        );
        self.figures.push(text);
        Ok(())
    }

    /// The mean over batches, in microseconds; `between` is not counted.
    fn batched(
        &mut self,
        name: &str,
        call: impl Fn(&Self) -> Result<(), String>,
        between: impl Fn(&Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let (mut spent, mut calls) = (Duration::ZERO, 0);
        let end = Instant::now() + self.each;
        while Instant::now() < end || calls == 0 {
            let begin = Instant::now();
            for _ in 0..BATCH {
                call(self)?;
            }
            spent += begin.elapsed();
            calls += BATCH;
            between(self)?;
        }
        self.number(name, spent.as_nanos() as f64 / 1000.0 / f64::from(calls));
        Ok(())
    }

    fn calls(&mut self) -> Result<(), String> {
        let local = |lab: &Lab<'_>| {
            let mut device = 0;
            must!(lab.cuda, cuCtxGetDevice(&mut device))
        };
        self.batched("local_call_us", local, |_| Ok(()))?;
        self.single("waited_call", |lab| match call!(lab.cuda, cuStreamQuery(lab.stream)) {
            0 | 600 => Ok(()),
            status => Err(lab.cuda.name_of(status)),
        })?;
        self.single("synchronise_idle", Self::synchronise)
    }

    fn launches(&mut self) -> Result<(), String> {
        self.batched("launch_issue_us", Self::launch, Self::synchronise)?;
        let (begin, mut launched) = (Instant::now(), 0u32);
        while begin.elapsed() < self.each {
            for _ in 0..BATCH {
                self.launch()?;
            }
            launched += BATCH;
        }
        self.synchronise()?;
        self.number("launches_per_s", f64::from(launched) / begin.elapsed().as_secs_f64());
        self.single("launch_and_synchronise", |lab| {
            lab.launch()?;
            lab.synchronise()
        })
    }

    fn small_copies(&mut self) -> Result<(), String> {
        for (name, bytes) in [("64_b", 64), ("4_kib", 4096), ("64_kib", 65_536)] {
            let mut host = vec![1u8; bytes];
            let (from, to) = (host.as_ptr().cast::<c_void>(), host.as_mut_ptr().cast::<c_void>());
            self.single(&format!("to_device_{name}"), |lab| must!(lab.cuda, cuMemcpyHtoD_v2(lab.memory, from, bytes)))?;
            self.single(&format!("to_host_{name}"), |lab| must!(lab.cuda, cuMemcpyDtoH_v2(to, lab.memory, bytes)))?;
        }
        self.single("allocate_and_free_2_mib", |lab| {
            let mut memory = 0;
            must!(lab.cuda, cuMemAlloc_v2(&mut memory, 2 << 20))?;
            must!(lab.cuda, cuMemFree_v2(memory))
        })
    }

    fn bandwidth(&mut self, bytes: usize) -> Result<(), String> {
        let mut pageable = vec![1u8; bytes];
        let at = pageable.as_mut_ptr().cast::<c_void>();
        self.both_ways("pageable", at, bytes)?;
        let mut locked = std::ptr::null_mut();
        must!(self.cuda, cuMemHostAlloc(&mut locked, bytes, 0))?;
        self.both_ways("page_locked", locked, bytes)?;
        must!(self.cuda, cuMemFreeHost(locked))
    }

    /// GiB/s of whole copies of the buffer: the best of several, after one that is not counted.
    fn both_ways(&mut self, kind: &str, at: *mut c_void, bytes: usize) -> Result<(), String> {
        for (way, up) in [("to_device", true), ("to_host", false)] {
            let mut best = f64::INFINITY;
            let end = Instant::now() + self.each * 2;
            let mut rounds = 0;
            while rounds < 3 || Instant::now() < end {
                let begin = Instant::now();
                if up {
                    must!(self.cuda, cuMemcpyHtoDAsync_v2(self.memory, at, bytes, self.stream))?;
                } else {
                    must!(self.cuda, cuMemcpyDtoHAsync_v2(at, self.memory, bytes, self.stream))?;
                }
                self.synchronise()?;
                best = if rounds == 0 { best } else { best.min(begin.elapsed().as_secs_f64()) };
                rounds += 1;
            }
            self.number(&format!("{kind}_{way}_gib_s"), bytes as f64 / best / f64::from(1 << 30));
        }
        Ok(())
    }
}
