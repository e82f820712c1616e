//! Fat binaries as the CPU device takes them apart: any bytes are an image with a text inside, or refused.
#![no_main]

use cpu_cuda::image::{MOST, in_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for capability in [50, 90] {
        if let Ok(text) = in_bytes(data, capability) {
            assert!(text.len() <= MOST && !text.contains(&0));
        }
    }
});
