//! `libnvidia-ml.so.1` for the guest: the NVIDIA Management Library, carried to the worker by `rt`.
//!
//! A call is followed in this order: its exported function is printed from `spec/api/nvml.rs` ([`generated`]) or stands in the file
//! of its subject; [`caller`] finds the session that [`init`] opened; [`handles`] says which device is meant; a printed sender
//! encodes the call into the ring and waits. [`shape`] carries the functions that fill a structure with a version in it,
//! [`export_table`] what `nvidia-smi` asks for beside the documented functions.
//!
//! What holds: nothing unwinds into C, and nothing is printed unless `GPUFERRY_LOG` asks for it. What changes the card answers
//! `NVML_ERROR_NO_PERMISSION`, what is not carried `NVML_ERROR_NOT_SUPPORTED` ([`counts`]). A dead session is
//! `NVML_ERROR_GPU_IS_LOST` on every call.

// The API's names.
#![allow(non_camel_case_types, non_snake_case)]

pub mod caller;
pub mod counts;
pub mod device;
pub mod events;
pub mod export_table;
pub mod fuzz;
pub mod generated;
pub mod handles;
pub mod init;
pub mod lists;
pub mod processes;
pub mod program;
pub mod record;
pub mod shape;
pub mod status;
pub mod system;

/// The API's status type.
pub type nvmlReturn_t = i32;
