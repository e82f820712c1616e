//! What calls cost on an OpenCL device: `opencl-latency [--seconds S] [--bulk MIB]`, one JSON object on standard output.
//!
//! Each figure is taken for S seconds (0.5) after a warm-up: the median of single calls in microseconds, launches a second, and the
//! best of the copies in GB/s. The same program gives the native figures and the forwarded ones.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use programs::opencl::{BLOCKING, Object, Start};
use programs::{fail, make_cl, must_cl};

const NAME: &str = "opencl-latency";
const USAGE: &str = "usage: opencl-latency [--seconds S] [--bulk MIB]";
const KERNELS: &str = "kernel void nothing(global int *a) { if (get_global_id(0) == 7) a[0] = 1; }";
/// Launches between two clFinish of those counted by the second.
const BATCH: u32 = 1000;

fn main() -> ExitCode {
    let (mut each, mut bulk) = (Duration::from_millis(500), 64 << 20);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value =
            words.next().and_then(|value| value.parse::<f64>().ok()).filter(|value| (0.01..4096.0).contains(value));
        match (word.as_str(), value) {
            ("--seconds", Some(seconds)) => each = Duration::from_secs_f64(seconds),
            ("--bulk", Some(mebibytes)) => bulk = (mebibytes as usize).max(1) << 20,
            _ => fail(NAME, 2, USAGE),
        }
    }
    match measure(each, bulk) {
        Ok(figures) => println!("{{\n{}\n}}", figures.join(",\n")),
        Err(message) => fail(NAME, 3, &message),
    }
    ExitCode::SUCCESS
}

struct Lab {
    start: Start,
    kernel: Object,
    buffer: Object,
    each: Duration,
    figures: Vec<String>,
}

fn measure(each: Duration, bulk: usize) -> Result<Vec<String>, String> {
    let begin = Instant::now();
    let start = Start::on(0, 0, 0)?;
    let program = start.build(KERNELS)?;
    let kernel = make_cl!(start.opencl, clCreateKernel(program, c"nothing".as_ptr()))?;
    let buffer = make_cl!(start.opencl, clCreateBuffer(start.context, 1, bulk, std::ptr::null_mut()))?;
    start.argument(kernel, 0, &buffer)?;
    let name = start.device_name()?;
    let mut lab = Lab { start, kernel, buffer, each, figures: vec![format!("  \"device\": {name:?}")] };
    lab.launch()?;
    lab.finish()?;
    lab.number("start_to_first_kernel_s", begin.elapsed().as_secs_f64());
    lab.single("launch_and_finish", |lab| {
        lab.launch()?;
        lab.finish()
    })?;
    lab.single("finish_idle", Lab::finish)?;
    lab.single("write_64_blocking", |lab| lab.write(&[1; 64]))?;
    lab.single("read_64_blocking", |lab| lab.read(&mut [0; 64]))?;
    lab.launches()?;
    lab.bandwidth(bulk)?;
    Ok(lab.figures)
}

impl Lab {
    fn number(&mut self, name: &str, value: f64) {
        self.figures.push(format!("  \"{name}\": {value:.3}"));
    }

    fn launch(&self) -> Result<(), String> {
        let (one, none, event) = (1usize, std::ptr::null(), std::ptr::null_mut());
        let (queue, list) = (self.start.queue, std::ptr::null());
        must_cl!(self.start.opencl, clEnqueueNDRangeKernel(queue, self.kernel, 1, none, &one, &one, 0, list, event))
    }

    fn finish(&self) -> Result<(), String> {
        must_cl!(self.start.opencl, clFinish(self.start.queue))
    }

    fn write(&self, data: &[u8]) -> Result<(), String> {
        let (queue, none, event) = (self.start.queue, std::ptr::null(), std::ptr::null_mut());
        let from = data.as_ptr().cast();
        must_cl!(
            self.start.opencl,
            clEnqueueWriteBuffer(queue, self.buffer, BLOCKING, 0, data.len(), from, 0, none, event)
        )
    }

    fn read(&self, data: &mut [u8]) -> Result<(), String> {
        let (queue, none, event) = (self.start.queue, std::ptr::null(), std::ptr::null_mut());
        let to = data.as_mut_ptr().cast();
        must_cl!(
            self.start.opencl,
            clEnqueueReadBuffer(queue, self.buffer, BLOCKING, 0, data.len(), to, 0, none, event)
        )
    }

    /// The median of single calls, in microseconds.
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
        self.number(&format!("{name}_us"), times[times.len() / 2]);
        Ok(())
    }

    /// Launches that nobody waits for, in thousands a second, the wait at the end of each batch included.
    fn launches(&mut self) -> Result<(), String> {
        let mut best = 0f64;
        let end = Instant::now() + self.each * 2;
        while Instant::now() < end {
            let begin = Instant::now();
            for _ in 0..BATCH {
                self.launch()?;
            }
            let posted = begin.elapsed().as_secs_f64();
            self.finish()?;
            let all = begin.elapsed().as_secs_f64();
            if f64::from(BATCH) / all > best {
                best = f64::from(BATCH) / all;
                self.figures.retain(|line| !line.contains("launches_posted"));
                self.number("launches_posted_k_per_s", f64::from(BATCH) / posted / 1000.0);
            }
        }
        self.number("launches_done_k_per_s", best / 1000.0);
        Ok(())
    }

    fn bandwidth(&mut self, bulk: usize) -> Result<(), String> {
        let mut data = vec![3u8; bulk];
        let (mut write, mut read) = (f64::MAX, f64::MAX);
        for _ in 0..8 {
            let begin = Instant::now();
            self.write(&data)?;
            write = write.min(begin.elapsed().as_secs_f64());
            let begin = Instant::now();
            self.read(&mut data)?;
            read = read.min(begin.elapsed().as_secs_f64());
        }
        self.number("write_bulk_gb_per_s", bulk as f64 / write / 1e9);
        self.number("read_bulk_gb_per_s", bulk as f64 / read / 1e9);
        Ok(())
    }
}
