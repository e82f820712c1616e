//! Prints senders, exported functions and stubs from `spec/api/cuda.rs` for `src/generated.rs`.

use std::path::PathBuf;

fn main() {
    let spec = PathBuf::from("../../spec/api/cuda.rs");
    let exports = PathBuf::from("../../spec/api/cuda_exports.txt");
    let sources = PathBuf::from("src");
    for path in [&spec, &exports, &sources] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("cuda_guest.rs");
    if let Err(failure) = spec_gen::build::guest(&spec, &exports, &sources, &out) {
        println!("cargo::error={failure}");
    }
}
