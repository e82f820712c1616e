//! What is printed from `spec/api/nvml.rs` when the library is built: senders, exported functions of plain calls, stubs of calls
//! that are not carried, and the table of all exports.

#![allow(missing_docs, nonstandard_style, dead_code, unused_imports, unused_parens)]
#![allow(unsafe_op_in_unsafe_fn, clippy::all, clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/nvml_guest.rs"));
