//! Many threads on one device: what is a thread's own, and results that no other thread disturbs.

use programs::driver::Driver;
use programs::{call, must};

use crate::bench::{Bench, KERNELS, checksum};

const THREADS: u32 = 8;
const ROUNDS: u32 = 50;
const WORDS: u32 = 20_000;

pub fn run(bench: &Bench) -> Result<(), String> {
    let cuda: &Driver = &bench.cuda;
    let context = bench.context;
    let fresh = std::thread::scope(|scope| scope.spawn(|| fresh(cuda)).join());
    for line in fresh.map_err(|_| "a thread panicked")? {
        bench.say("in a new thread", line);
    }
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || worker(cuda, context, n))).collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    for (n, result) in results.into_iter().enumerate() {
        bench.say(&format!("thread {n}"), result.map_err(|_| "a thread panicked")??);
    }
    Ok(())
}

/// A thread starts with no context, whatever the others have.
fn fresh(cuda: &Driver) -> Vec<String> {
    let (mut context, mut memory) = (1, 0);
    let current = call!(cuda, cuCtxGetCurrent(&mut context));
    let refused = call!(cuda, cuMemAlloc_v2(&mut memory, 16));
    vec![
        format!("cuCtxGetCurrent {}, NULL: {}", cuda.name_of(current), context == 0),
        format!("cuMemAlloc {}", cuda.name_of(refused)),
    ]
}

/// Loads, allocates, launches, copies and frees on a stream of its own, again and again.
fn worker(cuda: &Driver, context: usize, n: u32) -> Result<String, String> {
    let (mut module, mut function, mut stream, mut memory) = (0, 0, 0, 0);
    must!(cuda, cuCtxSetCurrent(context))?;
    must!(cuda, cuModuleLoadData(&mut module, KERNELS.as_ptr().cast()))?;
    must!(cuda, cuModuleGetFunction(&mut function, module, c"fill".as_ptr()))?;
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        must!(cuda, cuMemAlloc_v2(&mut memory, WORDS as usize * 4))?;
        let (count, scale, offset) = (WORDS, n + 1, round);
        let mut places = [
            std::ptr::from_ref(&memory).cast_mut().cast(),
            std::ptr::from_ref(&count).cast_mut().cast(),
            std::ptr::from_ref(&scale).cast_mut().cast(),
            std::ptr::from_ref(&offset).cast_mut().cast(),
        ];
        let (places, none) = (places.as_mut_ptr(), std::ptr::null_mut());
        must!(cuda, cuLaunchKernel(function, WORDS.div_ceil(128), 1, 1, 128, 1, 1, 0, stream, places, none))?;
        let mut words = vec![0u32; WORDS as usize];
        must!(cuda, cuMemcpyDtoHAsync_v2(words.as_mut_ptr().cast(), memory, WORDS as usize * 4, stream))?;
        must!(cuda, cuStreamSynchronize(stream))?;
        must!(cuda, cuMemFree_v2(memory))?;
        let right = words.iter().zip(0..).all(|(&word, i): (_, u32)| word == i * scale + offset);
        if !right {
            return Ok(format!("round {round} is wrong"));
        }
        all.extend([words[1], words[WORDS as usize - 1]]);
    }
    must!(cuda, cuStreamDestroy_v2(stream))?;
    must!(cuda, cuModuleUnload(module))?;
    Ok(format!("{ROUNDS} rounds right, {}", checksum(&all)))
}
