//! Not written yet.

pub mod engine;
mod exec;
mod jit;
mod ptx;
