//! An OpenCL ICD for the guest: the API of the host's platform, carried to the worker by `rt`.
//!
//! A call is followed in this order: the loader finds [`icd`] and takes [`dispatch`]'s table from the first word of an object;
//! the function stands in the file of its subject; [`arena`] says whether its objects are any; [`caller`] finds the session; a
//! printed sender ([`generated`]) encodes it into the ring. Commands go through [`enqueue`], their data through [`transfer`] and
//! [`pool`], what the program is told later through [`callback`].
//!
//! What holds: nothing unwinds into C, no pointer that should be an object is followed before it is found in an arena, and
//! nothing is printed. A command is posted where this library can tell that the host accepts it; else the host is asked and
//! the code is its own. A dead session is `CL_DEVICE_NOT_AVAILABLE` on every call that needs one.

// The API's names.
#![allow(non_camel_case_types, non_snake_case)]

pub mod answer;
pub mod area;
pub mod arena;
pub mod argument;
pub mod buffer;
pub mod callback;
pub mod caller;
pub mod context;
pub mod copy;
pub mod counts;
pub mod device;
pub mod dispatch;
pub mod enqueue;
pub mod event;
pub mod extensions;
pub mod fuzz;
pub mod generated;
pub mod icd;
pub mod image;
pub mod includes;
pub mod init;
pub mod kernel;
pub mod launch;
pub mod map;
pub mod memory;
pub mod pages;
pub mod pending;
pub mod platform;
pub mod pool;
pub mod printed;
pub mod program;
pub mod program_build;
pub mod program_make;
pub mod properties;
pub mod queue;
pub mod sampler;
pub mod status;
pub mod svm;
pub mod transfer;
pub mod user;
pub mod words;

/// The API's status type.
pub type cl_int = i32;
