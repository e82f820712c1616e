//! Page lists: the front makes pieces of files of a guest's extents, the worker leases of pieces; both only of memory that is
//! there.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    gpuferry_backend::front::fuzz::pages(data);
    gpuferry_backend::worker::fuzz::leases(data);
});
