//! The guest library's end of the control socket: any answer to its hello and to its requests.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rt::fuzz::answers(data));
