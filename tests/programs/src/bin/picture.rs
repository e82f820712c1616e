//! Paints a picture on a CUDA device: `picture [--input FILE] --output FILE [--json] [--device N]`.
//!
//! Brightness, an even spread of it by a histogram, a blur, edges, all composed: eight kernels in ten launches on one
//! stream. Its kernels are `tests/programs/kernels/picture.cu`; what must come out, `picture-expected` says.

use std::ffi::{CString, c_void};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use programs::driver::{CUdeviceptr, Driver, Handle};
use programs::painted::{Painted, lap};
use programs::pictures::Picture;
use programs::{fail, must};

const NAME: &str = "picture";
const USAGE: &str = "usage: picture [--input FILE.png] --output FILE.png [--json] [--device N]";
const KERNELS: &str = concat!(include_str!("../../kernels/picture.ptx"), "\0");
/// Threads a block, along a row or a column; as `BLOCK` of the kernels.
const BLOCK: u32 = 128;

struct Options {
    input: Option<PathBuf>,
    output: PathBuf,
    json: bool,
    device: i32,
}

fn main() -> ExitCode {
    let options = options(std::env::args().skip(1)).unwrap_or_else(|message| fail(NAME, 2, &message));
    let input = match &options.input {
        Some(path) => Picture::read(path).unwrap_or_else(|message| fail(NAME, 1, &message)),
        None => programs::sample::picture(),
    };
    // A device may be a long way off: whether the result can be kept is asked first.
    if let Err(error) = std::fs::OpenOptions::new().create(true).append(true).open(&options.output) {
        fail(NAME, 1, &format!("cannot write {}: {error}", options.output.display()));
    }
    let painted = paint(&input, options.device).unwrap_or_else(|message| fail(NAME, 3, &message));
    painted.picture.write(&options.output).unwrap_or_else(|message| fail(NAME, 1, &message));
    painted.print(NAME, options.json);
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { input: None, output: PathBuf::new(), json: false, device: 0 };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value; {USAGE}"));
        match word.as_str() {
            "--input" => options.input = Some(value()?.into()),
            "--output" => options.output = value()?.into(),
            "--device" => options.device = value()?.parse().map_err(|_| format!("--device needs a number; {USAGE}"))?,
            "--json" => options.json = true,
            _ => return Err(format!("{word} is no option; {USAGE}")),
        }
    }
    if options.output.as_os_str().is_empty() { Err(USAGE.to_owned()) } else { Ok(options) }
}

/// A stream of launches of one module's kernels.
struct Work {
    driver: Driver,
    module: Handle,
    stream: Handle,
    launches: u32,
}

impl Work {
    fn allocate(&self, bytes: usize) -> Result<CUdeviceptr, String> {
        let mut memory = 0;
        must!(self.driver, cuMemAlloc_v2(&mut memory, bytes))?;
        Ok(memory)
    }

    fn launch(
        &mut self,
        kernel: &str,
        grid: [u32; 2],
        block: [u32; 2],
        parameters: &[Parameter],
    ) -> Result<(), String> {
        let name = CString::new(kernel).map_err(|error| error.to_string())?;
        let mut function = 0;
        must!(self.driver, cuModuleGetFunction(&mut function, self.module, name.as_ptr()))?;
        let mut places: Vec<*mut c_void> = parameters.iter().map(Parameter::place).collect();
        let ([gx, gy], [bx, by]) = (grid, block);
        let places = places.as_mut_ptr();
        self.launches += 1;
        must!(self.driver, cuLaunchKernel(function, gx, gy, 1, bx, by, 1, 0, self.stream, places, std::ptr::null_mut()))
            .map_err(|error| format!("{kernel}: {error}"))
    }
}

enum Parameter {
    Memory(CUdeviceptr),
    Number(u32),
}

impl Parameter {
    fn place(&self) -> *mut c_void {
        match self {
            Parameter::Memory(address) => std::ptr::from_ref(address).cast_mut().cast(),
            Parameter::Number(number) => std::ptr::from_ref(number).cast_mut().cast(),
        }
    }
}

fn paint(input: &Picture, ordinal: i32) -> Result<Painted, String> {
    let mut clock = Instant::now();
    let mut seconds = [0.0; 3];
    let driver = Driver::load()?;
    must!(driver, cuInit(0))?;
    let (mut device, mut context, mut stream, mut module) = (0, 0, 0, 0);
    must!(driver, cuDeviceGet(&mut device, ordinal))?;
    let name = driver.device_name(device)?;
    must!(driver, cuDevicePrimaryCtxRetain(&mut context, device))?;
    must!(driver, cuCtxSetCurrent(context))?;
    lap(&mut clock, &mut seconds[0]);
    must!(driver, cuModuleLoadData(&mut module, KERNELS.as_ptr().cast()))?;
    must!(driver, cuStreamCreate(&mut stream, 1))?;
    lap(&mut clock, &mut seconds[1]);
    let mut work = Work { driver, module, stream, launches: 0 };
    let (pixels, sums) = run(&mut work, input)?;
    lap(&mut clock, &mut seconds[2]);
    must!(work.driver, cuStreamDestroy_v2(stream))?;
    must!(work.driver, cuModuleUnload(module))?;
    must!(work.driver, cuDevicePrimaryCtxRelease_v2(device))?;
    let picture = Picture { width: input.width, height: input.height, pixels };
    Ok(Painted { picture, device: name, sums, launches: work.launches, seconds })
}

/// The chain; the painted pixels and the sums of `measure`.
fn run(work: &mut Work, input: &Picture) -> Result<(Vec<u32>, [u64; 4]), String> {
    use Parameter::{Memory, Number};
    let (width, height) = (input.width, input.height);
    let count = width * height;
    let bytes = count as usize * 4;
    let [original, blurred, between] = [work.allocate(bytes)?, work.allocate(bytes)?, work.allocate(bytes)?];
    let [luma, ink] = [work.allocate(count as usize)?, work.allocate(count as usize)?];
    let [counts, table, sums] = [work.allocate(1024)?, work.allocate(256)?, work.allocate(32)?];
    let stream = work.stream;
    must!(work.driver, cuMemcpyHtoD_v2(original, input.pixels.as_ptr().cast(), bytes))?;
    must!(work.driver, cuMemcpyDtoDAsync_v2(blurred, original, bytes, stream))?;
    must!(work.driver, cuMemsetD32Async(counts, 0, 256, stream))?;
    must!(work.driver, cuMemsetD8Async(sums, 0, 32, stream))?;

    let line = [count.div_ceil(BLOCK), 1];
    work.launch("luma", line, [BLOCK, 1], &[Memory(original), Memory(luma), Number(count)])?;
    work.launch("histogram", [32, 1], [256, 1], &[Memory(luma), Memory(counts), Number(count)])?;
    work.launch("equalise", [1, 1], [256, 1], &[Memory(counts), Memory(table), Number(count)])?;
    for _ in 0..2 {
        let rows = [Memory(blurred), Memory(between), Number(width), Number(height)];
        work.launch("blur_rows", [width.div_ceil(BLOCK), height], [BLOCK, 1], &rows)?;
        let columns = [Memory(between), Memory(blurred), Number(width), Number(height)];
        work.launch("blur_columns", [height.div_ceil(BLOCK), width], [BLOCK, 1], &columns)?;
    }
    let tiles = [width.div_ceil(16), height.div_ceil(16)];
    work.launch("edges", tiles, [16, 16], &[Memory(blurred), Memory(ink), Number(width), Number(height)])?;
    let all = [Memory(blurred), Memory(luma), Memory(ink), Memory(table), Memory(between), Number(count)];
    work.launch("compose", line, [BLOCK, 1], &all)?;
    work.launch("measure", [32, 1], [256, 1], &[Memory(luma), Memory(ink), Memory(sums), Number(count)])?;

    let mut pixels = vec![0u32; count as usize];
    let mut measured = [0u64; 4];
    must!(work.driver, cuMemcpyDtoHAsync_v2(pixels.as_mut_ptr().cast(), between, bytes, stream))?;
    must!(work.driver, cuMemcpyDtoHAsync_v2(measured.as_mut_ptr().cast(), sums, 32, stream))?;
    must!(work.driver, cuStreamSynchronize(stream))?;
    for memory in [original, blurred, between, luma, ink, counts, table, sums] {
        must!(work.driver, cuMemFree_v2(memory))?;
    }
    Ok((pixels, measured))
}
