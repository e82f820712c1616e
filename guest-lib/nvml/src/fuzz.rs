//! What the fuzz targets of `tests/fuzz` call: every printed sender by its number.

#![allow(missing_docs, clippy::all)] // as in `generated`

use crate::caller::Caller;
use crate::generated::*;
use crate::nvmlReturn_t;
use wire::handle::Handle;
use wire::payload::Buffer;

include!(concat!(env!("OUT_DIR"), "/nvml_any.rs"));
