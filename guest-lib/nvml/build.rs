//! Prints senders, exported functions and stubs from `spec/api/nvml.rs` for `src/generated.rs`, and names the library.

use std::path::PathBuf;

fn main() {
    let spec = PathBuf::from("../../spec/api/nvml.rs");
    let exports = PathBuf::from("../../spec/api/nvml_exports.txt");
    let sources = PathBuf::from("src");
    for path in [&spec, &exports, &sources] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    // It stays loaded when it is closed: its handler of fork points into it. Its own calls reach its own functions.
    for option in ["-soname,libnvidia-ml.so.1", "-z,nodelete", "-Bsymbolic"] {
        println!("cargo::rustc-cdylib-link-arg=-Wl,{option}");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let printed = spec_gen::build::guest(&spec, &exports, &sources, &out.join("nvml_guest.rs"))
        .and_then(|()| spec_gen::build::any_sender(&spec, &out.join("nvml_any.rs")));
    if let Err(failure) = printed {
        println!("cargo::error={failure}");
    }
}
