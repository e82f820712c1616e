//! Reads a spec file (`spec/api/*.rs`) and prints both sides of every call in it.
//!
//! In the order in which a call meets them: [`read`] turns the file into the [`model`], or into a [`Refusal`] that names
//! file, line and column; [`guest`] prints senders and exported functions; [`host`] prints the library's function table and
//! the dispatcher; [`table`] prints how each function is carried, [`coverage`] how many are and why the others are not;
//! [`build`] is what build scripts call. [`header`] is apart from them: it prints the C header of the kernel module from
//! `spec/wire/src/device.rs`.
//!
//! Printed text depends on the spec alone, so the same spec gives the same bytes. How the spec is written: `spec/README.md`.
#![forbid(unsafe_code)]

pub mod build;
pub mod coverage;
mod encode;
pub mod guest;
pub mod header;
pub mod host;
mod kinds;
pub mod model;
pub mod read;
pub mod table;
mod words;

pub use model::Spec;
pub use read::parse;

/// How the names of messages begin that are no calls of the API: nothing is exported for them.
pub const OWN_PREFIX: &str = "gpuferry";

/// A spec that says something wrong: where, and what in a plain sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file as it was named to the reader.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The sentence.
    pub what: String,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.what)
    }
}

impl std::error::Error for Refusal {}
