//! The worker's end of its control socket: any bytes in any portions, with any descriptors, and what is done with whole messages.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gpuferry_backend::worker::fuzz::control(data));
