//! Prints the dispatcher of `spec/api/cuda.rs` for `src/worker/cuda/generated.rs`.

use std::path::PathBuf;

fn main() {
    let spec = PathBuf::from("../spec/api/cuda.rs");
    println!("cargo::rerun-if-changed={}", spec.display());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("cuda_host.rs");
    if let Err(failure) = spec_gen::build::host(&spec, &out) {
        println!("cargo::error={failure}");
    }
}
