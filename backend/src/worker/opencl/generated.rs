//! What is printed from `spec/api/opencl.rs` when the worker is built: the library's functions, and a decoder and forwarder a call.

#![allow(missing_docs, nonstandard_style, dead_code, unused_imports, unused_parens, unused_variables)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks)]

use super::OpenCl as Session;
use super::Reply;
use crate::worker::answer::{
    answer, elements, handle_list, list_length, ok, posted, reply_bytes, same_length, text, waits,
};
use crate::worker::objects::Kind;

include!(concat!(env!("OUT_DIR"), "/opencl_host.rs"));
