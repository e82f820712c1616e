//! What calls cost on a device: `latency [--seconds S] [--bulk MIB] [--figures GROUP,…]`, one JSON object on standard output.
//!
//! Groups: `start` (always there: the whole, and what its steps took), `calls`, `launches`, `waits`, `copies`, `bandwidth`,
//! `memory`, `threads`; without a choice all but the last. Each figure is taken for S seconds (0.3) after a warm-up. Times
//! are in microseconds, `p50` and `p99` of single calls; what is too short to time one by one is a mean over batches (`_us`).
//! The same program gives the native figures and the forwarded ones; subtract before comparing two machines.

mod calls;
mod clock;
mod copies;
mod lab;
mod threads;

use std::ffi::CString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lab::Lab;
use programs::driver::Driver;
use programs::{fail, must};

const NAME: &str = "latency";
const USAGE: &str = "usage: latency [--seconds S] [--bulk MIB] [--figures GROUP,...]\n\
    groups: start, calls, launches, waits, copies, bandwidth, memory, threads; all but the last without a choice";
const KERNELS: &str = concat!(include_str!("../../../kernels/battery.ptx"), "\0");
const GROUPS: [&str; 8] = ["start", "calls", "launches", "waits", "copies", "bandwidth", "memory", "threads"];

struct Options {
    each: Duration,
    bulk: usize,
    groups: Vec<String>,
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
    let groups = GROUPS.iter().map(ToString::to_string).filter(|group| group != "threads").collect();
    let mut options = Options { each: Duration::from_millis(300), bulk: 256 << 20, groups };
    while let Some(word) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        let number = || value.parse::<f64>().ok().filter(|number| (0.01..4096.0).contains(number)).ok_or(USAGE);
        match word.as_str() {
            "--seconds" => options.each = Duration::from_secs_f64(number()?),
            "--bulk" => options.bulk = (number()? as usize).max(1) << 20,
            "--figures" => options.groups = value.split(',').map(ToOwned::to_owned).collect(),
            _ => return Err(USAGE.to_owned()),
        }
    }
    if options.groups.iter().all(|group| GROUPS.contains(&group.as_str())) {
        Ok(options)
    } else {
        Err(USAGE.to_owned())
    }
}

fn measure(begin: Instant, options: &Options) -> Result<Vec<String>, String> {
    let cuda = Driver::load()?;
    let (mut device, mut context, mut module, mut nothing, mut stream, mut memory) = (0, 0, 0, 0, 0, 0);
    let mut steps = vec![("load_ms", begin.elapsed())];
    let mut last = Instant::now();
    let mut step = |name| {
        steps.push((name, last.elapsed()));
        last = Instant::now();
    };
    must!(cuda, cuInit(0))?;
    step("initialise_ms");
    must!(cuda, cuDeviceGet(&mut device, 0))?;
    let name = cuda.device_name(device)?;
    must!(cuda, cuDevicePrimaryCtxRetain(&mut context, device))?;
    must!(cuda, cuCtxSetCurrent(context))?;
    step("context_ms");
    must!(cuda, cuModuleLoadData(&mut module, KERNELS.as_ptr().cast()))?;
    let kernel = CString::from(c"nothing");
    must!(cuda, cuModuleGetFunction(&mut nothing, module, kernel.as_ptr()))?;
    step("module_ms");
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    must!(cuda, cuMemAlloc_v2(&mut memory, options.bulk))?;
    step("stream_and_memory_ms");
    let mut lab = Lab { cuda: &cuda, each: options.each, module, nothing, stream, memory, figures: Vec::new() };
    lab.launch()?;
    lab.synchronise()?;
    lab.figures.push(format!("  \"device\": {name:?}"));
    lab.number("start_to_first_kernel_s", begin.elapsed().as_secs_f64());
    step("first_kernel_ms");
    for (name, time) in steps {
        lab.number(name, time.as_secs_f64() * 1000.0);
    }
    for group in &options.groups {
        match group.as_str() {
            "calls" => lab.calls()?,
            "launches" => lab.launches()?,
            "waits" => lab.waits()?,
            "copies" => lab.small_copies()?,
            "bandwidth" => lab.bandwidths(options.bulk)?,
            "memory" => lab.allocations()?,
            "threads" => lab.threads()?,
            _ => {}
        }
    }
    let figures = lab.figures;
    must!(cuda, cuMemFree_v2(memory))?;
    must!(cuda, cuStreamDestroy_v2(stream))?;
    must!(cuda, cuModuleUnload(module))?;
    must!(cuda, cuDevicePrimaryCtxRelease_v2(device))?;
    Ok(figures)
}
