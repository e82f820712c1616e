//! What is printed from `spec/api/opencl.rs` when the library is built: constants, structs, and a sender for each message.

#![allow(missing_docs, nonstandard_style, dead_code, unused_imports, unused_parens)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/opencl_guest.rs"));
