//! PTX as the CPU device reads it: any text is a checked program within the limits, or refused.
#![no_main]

use cpu_cuda::engine::{Limits, Options, link, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { max_global_bytes: 16 << 20, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    if let Ok(module) = load(data, &options) {
        assert!(module.globals().iter().all(|global| global.initial.len() as u64 <= global.size));
        let linked = link(&[data], &options).expect("links as it loads");
        assert!(load(&linked, &options).is_ok(), "what was linked loads");
    }
});
