//! The compiler of the CPU device: every kernel of a program that was accepted becomes code or is refused. A panic of the code
//! generator's is contained in the engine and is no finding here; a fault, a hang and memory without bound are.
#![no_main]

use cpu_cuda::engine::{Limits, Options, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |data: &[u8]| {
        let limits = Limits {
            max_global_bytes: 16 << 20,
            max_registers: 4096,
            max_instructions: 4096,
            ..Limits::default()
        };
        let options = Options { limits, ..Options::default() };
        let Ok(module) = load(data, &options) else { return };
        for index in 0..module.functions().len().min(8) {
            // Refused: any reason will do.
            let _ = module.compile(index);
        }
    }
);
