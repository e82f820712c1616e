//! Prints the dispatcher of each API in `spec/api` for the module of that name in `src/worker`.

use std::path::{Path, PathBuf};

const APIS: [&str; 3] = ["cuda", "nvml", "opencl"];

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    for api in APIS {
        let spec = Path::new("../spec/api").join(api).with_extension("rs");
        println!("cargo::rerun-if-changed={}", spec.display());
        if let Err(failure) = spec_gen::build::host(&spec, &out.join(format!("{api}_host.rs"))) {
            println!("cargo::error={failure}");
        }
    }
}
