//! `libcuda.so.1` for the guest: the CUDA driver API, carried to the worker by `rt`.
//!
//! A call is followed in this order: its exported function is printed from `spec/api/cuda.rs` ([`generated`]) or stands in the
//! file of its subject; [`caller`] finds the session and the thread's state; [`handles`] and [`ranges`] say what its arguments
//! are; a printed sender encodes it into the ring. [`init`], [`device`] and [`context`] answer what never leaves the process.
//!
//! What holds: nothing unwinds into C, nothing of the program's input makes the library panic, and nothing is printed unless the
//! program's environment asks for it ([`counts`]). A dead session is `CUDA_ERROR_DEVICE_UNAVAILABLE` on every call that needs one.

pub mod api_log;
pub mod batch;
pub mod caller;
pub mod capture;
pub mod compile_cache;
pub mod context;
pub mod copy;
pub mod copy3d;
pub mod counts;
pub mod descriptor;
pub mod device;
pub mod event;
pub mod external;
pub mod function;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod generated;
pub mod graph;
pub mod graph_memory;
pub mod graph_node;
pub mod green;
pub mod handles;
pub mod host_function;
pub mod host_memory;
pub mod image;
pub mod init;
pub mod integrity;
pub mod ipc;
pub mod jit;
pub mod launch;
pub mod launch_config;
pub mod link;
pub mod managed;
pub mod memory;
pub mod memset;
pub mod module;
pub mod narrow;
pub mod node_params;
pub mod occupancy;
pub mod order;
pub mod physical;
pub mod pointer;
pub mod pool;
pub mod primary;
pub mod printed;
pub mod proc_address;
pub mod program;
pub mod progress;
pub mod ranges;
pub mod references;
pub mod refused;
pub mod rows;
pub mod sharing;
pub mod slab;
pub mod spare;
pub mod sparse;
pub mod status;
pub mod steps;
pub mod storage;
pub mod stream;
pub mod tables;
pub mod tensor;
pub mod texture;
pub mod wait;

/// The API's status type.
pub type CUresult = i32;
