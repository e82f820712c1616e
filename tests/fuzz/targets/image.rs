//! Code images: one that is accepted can be walked by its own extents without leaving it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gpuferry_backend::worker::cuda::fuzz::image(data));
