//! CUDA and OpenCL in one process, turn by turn and at the same time: `opencl-beside`.
//!
//! Numbers go through memory of both, 100 times by one thread in turn, then by a thread of each at once; each must find its own.

use std::process::ExitCode;

use programs::driver::Driver;
use programs::opencl::{BLOCKING, Object, Start};
use programs::{fail, make_cl, must, must_cl};

const NAME: &str = "opencl-beside";
const TURNS: u32 = 100;
const WORDS: usize = 4096;
const BYTES: usize = WORDS * 4;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(NAME, 3, &message),
    }
}

struct Cuda {
    driver: Driver,
    context: usize,
    memory: u64,
}

impl Cuda {
    fn open() -> Result<Cuda, String> {
        let driver = Driver::load()?;
        let (mut device, mut context, mut memory) = (0, 0, 0);
        must!(driver, cuInit(0))?;
        must!(driver, cuDeviceGet(&mut device, 0))?;
        must!(driver, cuDevicePrimaryCtxRetain(&mut context, device))?;
        must!(driver, cuCtxSetCurrent(context))?;
        must!(driver, cuMemAlloc_v2(&mut memory, BYTES))?;
        Ok(Cuda { driver, context, memory })
    }

    fn turn(&self, number: u32) -> Result<(), String> {
        let mut back = vec![0u32; WORDS];
        must!(self.driver, cuMemsetD32_v2(self.memory, number, WORDS))?;
        must!(self.driver, cuMemcpyDtoH_v2(back.as_mut_ptr().cast(), self.memory, BYTES))?;
        same("CUDA", &back, number)
    }
}

struct Cl {
    start: Start,
    buffer: Object,
}

impl Cl {
    fn open() -> Result<Cl, String> {
        let start = Start::on(0, 0, 0)?;
        let buffer = make_cl!(start.opencl, clCreateBuffer(start.context, 1, BYTES, std::ptr::null_mut()))?;
        Ok(Cl { start, buffer })
    }

    fn turn(&self, number: u32) -> Result<(), String> {
        let (cl, queue, none, event) = (&self.start.opencl, self.start.queue, std::ptr::null(), std::ptr::null_mut());
        let mut back = vec![0u32; WORDS];
        let pattern = (&raw const number).cast();
        must_cl!(cl, clEnqueueFillBuffer(queue, self.buffer, pattern, 4, 0, BYTES, 0, none, event))?;
        let to = back.as_mut_ptr().cast();
        must_cl!(cl, clEnqueueReadBuffer(queue, self.buffer, BLOCKING, 0, BYTES, to, 0, none, event))?;
        same("OpenCL", &back, number)
    }
}

fn same(api: &str, back: &[u32], number: u32) -> Result<(), String> {
    match back.iter().position(|word| *word != number) {
        None => Ok(()),
        Some(at) => Err(format!("{api}: word {at} is {}, not {number}", back[at])),
    }
}

fn run() -> Result<(), String> {
    let (cuda, cl) = (Cuda::open()?, Cl::open()?);
    for turn in 0..TURNS {
        cuda.turn(turn)?;
        cl.turn(!turn)?;
    }
    std::thread::scope(|threads| {
        let of_cuda = threads.spawn(|| {
            must!(cuda.driver, cuCtxSetCurrent(cuda.context))?;
            (0..TURNS).try_for_each(|turn| cuda.turn(turn))
        });
        let of_cl = threads.spawn(|| (0..TURNS).try_for_each(|turn| cl.turn(!turn)));
        let ended = |thread: std::thread::ScopedJoinHandle<'_, Result<(), String>>| {
            thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
        };
        ended(of_cuda).and(ended(of_cl))
    })?;
    println!("each found its own, {} times", 4 * TURNS);
    must!(cuda.driver, cuMemFree_v2(cuda.memory))?;
    must_cl!(cl.start.opencl, clReleaseMemObject(cl.buffer))?;
    cl.start.end()
}
