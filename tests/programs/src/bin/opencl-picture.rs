//! Paints a picture on an OpenCL device: `opencl-picture [--input FILE] --output FILE [--json]`.
//!
//! The chain of `picture`, in OpenCL C: the kernels are `tests/programs/kernels/picture.cl`, what must come out is the same.

use std::ffi::CString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use programs::opencl::{BLOCKING, Object, Start};
use programs::painted::{Painted, lap};
use programs::pictures::Picture;
use programs::{fail, make_cl, must_cl};

const NAME: &str = "opencl-picture";
const USAGE: &str = "usage: opencl-picture [--input FILE.png] --output FILE.png [--json]";
const KERNELS: &str = include_str!("../../kernels/picture.cl");
/// Items of a group, along a row or a column; as `BLOCK` of the kernels.
const BLOCK: usize = 128;
/// Groups of `measure`.
const GROUPS: usize = 32;

struct Options {
    input: Option<PathBuf>,
    output: PathBuf,
    json: bool,
}

fn main() -> ExitCode {
    let options = options(std::env::args().skip(1)).unwrap_or_else(|message| fail(NAME, 2, &message));
    let input = match &options.input {
        Some(path) => Picture::read(path).unwrap_or_else(|message| fail(NAME, 1, &message)),
        None => programs::sample::picture(),
    };
    let painted = paint(&input).unwrap_or_else(|message| fail(NAME, 3, &message));
    painted.picture.write(&options.output).unwrap_or_else(|message| fail(NAME, 1, &message));
    painted.print(NAME, options.json);
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { input: None, output: PathBuf::new(), json: false };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value; {USAGE}"));
        match word.as_str() {
            "--input" => options.input = Some(value()?.into()),
            "--output" => options.output = value()?.into(),
            "--json" => options.json = true,
            _ => return Err(format!("{word} is no option; {USAGE}")),
        }
    }
    if options.output.as_os_str().is_empty() { Err(USAGE.to_owned()) } else { Ok(options) }
}

enum Argument {
    Memory(Object),
    Number(u32),
}

/// Launches of one program's kernels in one queue.
struct Work {
    start: Start,
    program: Object,
    launches: u32,
}

impl Work {
    fn buffer(&self, bytes: usize) -> Result<Object, String> {
        make_cl!(self.start.opencl, clCreateBuffer(self.start.context, 1, bytes, std::ptr::null_mut()))
    }

    fn fill(&self, buffer: Object, bytes: usize) -> Result<(), String> {
        let (zero, queue, none) = (0u32, self.start.queue, std::ptr::null());
        let zero = (&raw const zero).cast();
        must_cl!(
            self.start.opencl,
            clEnqueueFillBuffer(queue, buffer, zero, 4, 0, bytes, 0, none, std::ptr::null_mut())
        )
    }

    /// Launches a kernel over groups of a size.
    fn launch(
        &mut self,
        name: &str,
        groups: [usize; 2],
        group: [usize; 2],
        arguments: &[Argument],
    ) -> Result<(), String> {
        let (start, failed) = (&self.start, |error| format!("{name}: {error}"));
        let text = CString::new(name).map_err(|error| error.to_string())?;
        let kernel = make_cl!(start.opencl, clCreateKernel(self.program, text.as_ptr())).map_err(failed)?;
        for (index, argument) in (0u32..).zip(arguments) {
            match argument {
                Argument::Memory(buffer) => start.argument(kernel, index, buffer).map_err(failed)?,
                Argument::Number(number) => start.argument(kernel, index, number).map_err(failed)?,
            }
        }
        let global = [groups[0] * group[0], groups[1] * group[1]];
        let (queue, none, no_events) = (start.queue, std::ptr::null(), std::ptr::null());
        let (global, local, event) = (global.as_ptr(), group.as_ptr(), std::ptr::null_mut());
        must_cl!(start.opencl, clEnqueueNDRangeKernel(queue, kernel, 2, none, global, local, 0, no_events, event))
            .map_err(failed)?;
        must_cl!(start.opencl, clReleaseKernel(kernel)).map_err(failed)?;
        self.launches += 1;
        Ok(())
    }
}

fn paint(input: &Picture) -> Result<Painted, String> {
    let mut clock = Instant::now();
    let mut seconds = [0.0; 3];
    let start = Start::on(0, 0, 0)?;
    let device = start.device_name()?;
    lap(&mut clock, &mut seconds[0]);
    let program = start.build(KERNELS)?;
    lap(&mut clock, &mut seconds[1]);
    let mut work = Work { start, program, launches: 0 };
    let (pixels, sums) = run(&mut work, input)?;
    lap(&mut clock, &mut seconds[2]);
    must_cl!(work.start.opencl, clReleaseProgram(program))?;
    work.start.end()?;
    let picture = Picture { width: input.width, height: input.height, pixels };
    Ok(Painted { picture, device, sums, launches: work.launches, seconds })
}

/// The chain; the painted pixels and the sums of `measure`.
fn run(work: &mut Work, input: &Picture) -> Result<(Vec<u32>, [u64; 4]), String> {
    use Argument::{Memory, Number};
    let (width, height) = (input.width, input.height);
    let (count, columns, rows) = ((width * height) as usize, width as usize, height as usize);
    let bytes = count * 4;
    let [original, blurred, between] = [work.buffer(bytes)?, work.buffer(bytes)?, work.buffer(bytes)?];
    let [luma, ink] = [work.buffer(count)?, work.buffer(count)?];
    let [counts, table, sums] = [work.buffer(1024)?, work.buffer(256)?, work.buffer(GROUPS * 32)?];
    let (queue, none, event) = (work.start.queue, std::ptr::null(), std::ptr::null_mut());
    let data = input.pixels.as_ptr().cast();
    must_cl!(work.start.opencl, clEnqueueWriteBuffer(queue, original, BLOCKING, 0, bytes, data, 0, none, event))?;
    must_cl!(work.start.opencl, clEnqueueCopyBuffer(queue, original, blurred, 0, 0, bytes, 0, none, event))?;
    work.fill(counts, 1024)?;

    let line = [count.div_ceil(BLOCK), 1];
    let all = width * height;
    work.launch("luma", line, [BLOCK, 1], &[Memory(original), Memory(luma), Number(all)])?;
    work.launch("histogram", [GROUPS, 1], [256, 1], &[Memory(luma), Memory(counts), Number(all)])?;
    work.launch("equalise", [1, 1], [256, 1], &[Memory(counts), Memory(table), Number(all)])?;
    for _ in 0..2 {
        let along = [Memory(blurred), Memory(between), Number(width), Number(height)];
        work.launch("blur_rows", [columns.div_ceil(BLOCK), rows], [BLOCK, 1], &along)?;
        let across = [Memory(between), Memory(blurred), Number(width), Number(height)];
        work.launch("blur_columns", [rows.div_ceil(BLOCK), columns], [BLOCK, 1], &across)?;
    }
    let tiles = [columns.div_ceil(16), rows.div_ceil(16)];
    work.launch("edges", tiles, [16, 16], &[Memory(blurred), Memory(ink), Number(width), Number(height)])?;
    let parts = [Memory(blurred), Memory(luma), Memory(ink), Memory(table), Memory(between), Number(all)];
    work.launch("compose", line, [BLOCK, 1], &parts)?;
    work.launch("measure", [GROUPS, 1], [256, 1], &[Memory(luma), Memory(ink), Memory(sums), Number(all)])?;

    let mut pixels = vec![0u32; count];
    let mut measured = [[0u64; 4]; GROUPS];
    let to = pixels.as_mut_ptr().cast();
    must_cl!(work.start.opencl, clEnqueueReadBuffer(queue, between, 0, 0, bytes, to, 0, none, event))?;
    let to = measured.as_mut_ptr().cast();
    must_cl!(work.start.opencl, clEnqueueReadBuffer(queue, sums, 0, 0, GROUPS * 32, to, 0, none, event))?;
    must_cl!(work.start.opencl, clFinish(queue))?;
    for memory in [original, blurred, between, luma, ink, counts, table, sums] {
        must_cl!(work.start.opencl, clReleaseMemObject(memory))?;
    }
    let together = measured.iter().fold([0; 4], |[bright, ink, most, strong], part| {
        [bright + part[0], ink + part[1], most.max(part[2]), strong + part[3]]
    });
    Ok((pixels, together))
}
