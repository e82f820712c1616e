//! What is printed from `spec/api/nvml.rs` when the worker is built: the library's functions, and a decoder and forwarder a call.

#![allow(
    missing_docs,
    dead_code,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unused_variables,
    unused_imports,
    unused_parens,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Reader, Writer};

use super::Nvml as Session;
use super::Reply;
use crate::worker::answer::{answer, elements, ok, posted, reply_bytes, same_length, text, waits};
use crate::worker::objects::Kind;

/// The API's status.
pub type nvmlReturn_t = i32;

include!(concat!(env!("OUT_DIR"), "/nvml_host.rs"));
