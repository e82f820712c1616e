//! What the fuzz targets of `tests/fuzz` call: every printed sender by its number.

#![allow(missing_docs, clippy::all)] // as in `generated`

use crate::caller::Caller;
use crate::cl_int;
use crate::generated::*;
use wire::handle::Handle;
use wire::payload::Buffer;

include!(concat!(env!("OUT_DIR"), "/opencl_any.rs"));
