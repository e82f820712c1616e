//! The exported functions, by the chapters of the CUDA Driver API.
//!
//! To add one: write its body in the file of its chapter; the refusal that `build.rs` printed for it goes away by itself.

#![allow(non_snake_case)]
// C decides how many parameters there are.
#![allow(clippy::too_many_arguments)]

pub mod arrays;
pub mod batches;
pub mod contexts;
pub mod copies;
pub mod devices;
pub mod entry_points;
pub mod events;
pub mod execution;
pub mod fills;
pub mod graph_nodes;
pub mod graphs;
pub mod initialization;
pub mod libraries;
pub mod linking;
pub mod memory;
pub mod modules;
pub mod node_values;
pub mod occupancy;
pub mod pointers;
pub mod pools;
pub mod sharing;
pub mod streams;
pub mod surfaces;
pub mod textures;
pub mod virtual_memory;

/// Names without a body: each answers CUDA_ERROR_NOT_SUPPORTED.
pub mod unsupported {
    include!(concat!(env!("OUT_DIR"), "/unsupported.rs"));
}
