//! A CUDA driver library for the CPU.
//!
//! Built as `libcuda.so.1`, it exports every name of the CUDA 13.0 driver API and runs PTX on the cores of this machine.
//! The way of a call:
//!
//! 1. `api/` has one function for each exported name, made by the macro of [`export`], which is the edge to C: it keeps
//!    panics in and turns an [`status::Answer`] into a number. `build.rs` prints a refusal for every name without a body.
//! 2. Arguments come in through [`foreign`] (pointers) and [`handle`] (objects), and are checked there.
//! 3. [`context`], [`module`], [`stream`], [`event`], [`graph`], [`arena`] and the rest are the objects themselves.
//! 4. What a stream is to do becomes an [`op::Op`], then a node of the dependency graph of [`work`], run by [`pool`].
//! 5. A kernel goes to [`engine`], the PTX compiler and executor, which sees memory through [`kernel_memory`].

#![allow(unsafe_code)]

pub mod api;
pub mod arena;
pub mod array;
pub mod capture;
pub mod conditional;
pub mod context;
pub mod copy;
pub mod device;
pub mod driver;
pub mod engine;
pub mod event;
mod exec;
pub mod executable;
pub mod export;
pub mod export_table;
pub mod foreign;
pub mod graph;
pub mod handle;
pub mod host_memory;
pub mod image;
mod integrity;
mod jit;
pub mod jit_options;
pub mod kernel_memory;
pub mod launch;
pub mod linker;
pub mod memory_pool;
pub mod module;
pub mod op;
pub mod pool;
mod ptx;
pub mod sharing;
pub mod status;
pub mod stream;
pub mod surface;
pub mod texture;
pub mod types;
pub mod user_object;
pub mod virtual_memory;
pub mod work;
