//! Every printed decoder of all APIs and what is behind it, against libraries of fakes that touch all bytes that they are given.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gpuferry_backend::worker::fuzz::messages(data));
