//! Prints senders, exported functions and stubs from `spec/api/cuda.rs` for `src/generated.rs`, and names the library.

use std::path::PathBuf;

fn main() {
    let spec = PathBuf::from("../../spec/api/cuda.rs");
    let exports = PathBuf::from("../../spec/api/cuda_exports.txt");
    let sources = PathBuf::from("src");
    for path in [&spec, &exports, &sources] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    // Programs that link the library record this name. It stays loaded when it is closed: handlers of fork and exit point into
    // it. Its own calls reach its own functions, whatever else the process has loaded.
    for option in ["-soname,libcuda.so.1", "-z,nodelete", "-Bsymbolic"] {
        println!("cargo::rustc-cdylib-link-arg=-Wl,{option}");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let printed = spec_gen::build::guest(&spec, &exports, &sources, &out.join("cuda_guest.rs"))
        .and_then(|()| spec_gen::build::any_sender(&spec, &out.join("cuda_any.rs")));
    if let Err(failure) = printed {
        println!("cargo::error={failure}");
    }
}
