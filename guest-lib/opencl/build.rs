//! Prints senders from `spec/api/opencl.rs` for `src/generated.rs`, and names the library.

use std::path::PathBuf;

fn main() {
    let spec = PathBuf::from("../../spec/api/opencl.rs");
    let sources = PathBuf::from("src");
    for path in [&spec, &sources] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    // It stays loaded when it is closed: handlers of fork and a thread of its own point into it.
    for option in ["-soname,libgpuferry_opencl.so", "-z,nodelete", "-Bsymbolic"] {
        println!("cargo::rustc-cdylib-link-arg=-Wl,{option}");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let printed = spec_gen::build::senders(&spec, &sources, &out.join("opencl_guest.rs"))
        .and_then(|()| spec_gen::build::any_sender(&spec, &out.join("opencl_any.rs")));
    if let Err(failure) = printed {
        println!("cargo::error={failure}");
    }
}
