//! Prints the C header of the kernel module, `guest-lib/kmod/uapi/gpuferry.h`, from `spec/wire/src/device.rs`.
//!
//! That file holds `pub const`s of integer literals and `#[repr(C)]` structs of integers, arrays of integers and structs above.
//! Constants become `GPUFERRY_NAME`, structs `gpuferry_name`; what lies in queues and the configuration space has `__le` types,
//! arguments of ioctls have `__u` types. A constant `IOCTL_NAME` is documented with its macro, `_IOWR(IOCTL_TYPE, 4, IoctlPin)`,
//! and becomes `GPUFERRY_IOC_NAME`.

use crate::Refusal;
use proc_macro2::Span;
use std::collections::HashMap;
use std::fmt::Write;
use syn::spanned::Spanned;

type Read<T> = Result<T, (Span, String)>;

const HEAD: &str = "\
/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR Apache-2.0 OR MIT */
/* Printed by spec-gen from spec/wire/src/device.rs, which explains each name; do not edit. */
#ifndef _UAPI_GPUFERRY_H
#define _UAPI_GPUFERRY_H

#include <linux/ioctl.h>
#include <linux/types.h>
";

const TAIL: &str = "
#endif /* _UAPI_GPUFERRY_H */
";

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

/// Size and alignment in bytes.
type Measure = (usize, usize);

fn read(text: &str) -> Read<String> {
    let file = syn::parse_file(text).map_err(|error| (error.span(), format!("this is not Rust syntax: {error}")))?;
    let (mut out, mut ioctls) = (String::from(HEAD), String::new());
    let mut structs: HashMap<String, Measure> = HashMap::new();
    // The last line of the constant before, where a constant was before.
    let mut constant_ended = None;
    for item in &file.items {
        match item {
            syn::Item::Const(constant) => {
                if let Some(line) = ioctl(constant)? {
                    ioctls.push_str(&line);
                    continue;
                }
                if constant_ended.is_none_or(|line| line + 1 < item.span().start().line) {
                    out.push('\n');
                }
                let _ = writeln!(out, "#define GPUFERRY_{} {}", constant.ident, literal(constant)?);
                constant_ended = Some(item.span().end().line);
            }
            syn::Item::Struct(plain) => {
                constant_ended = None;
                out.push('\n');
                out.push_str(&c_struct(plain, &mut structs)?);
            }
            other => return Err((other.span(), "here stand constants and structs only".to_string())),
        }
    }
    if !ioctls.is_empty() {
        out.push('\n');
        out.push_str(&ioctls);
    }
    out.push_str(TAIL);
    Ok(out)
}

/// The value as it is written, without separators.
fn literal(constant: &syn::ItemConst) -> Read<String> {
    match &*constant.expr {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(value), .. }) if value.suffix().is_empty() => {
            Ok(value.to_string().replace('_', ""))
        }
        other => Err((other.span(), "a constant's value is a whole number, written down".to_string())),
    }
}

/// The line of an ioctl, if the constant is its number.
fn ioctl(constant: &syn::ItemConst) -> Read<Option<String>> {
    let name = constant.ident.to_string();
    let Some(short) = name.strip_prefix("IOCTL_").filter(|short| *short != "TYPE") else { return Ok(None) };
    let refuse =
        || (constant.ident.span(), format!("`{name}` is documented with its macro: `_IOW(IOCTL_TYPE, N, Struct)`"));
    let docs = docs(&constant.attrs);
    let call = docs.split('`').nth(1).and_then(|call| call.strip_suffix(')')).ok_or_else(refuse)?;
    let (direction, arguments) = call.split_once('(').ok_or_else(refuse)?;
    let arguments: Vec<&str> = arguments.split(", ").collect();
    let structure = match (direction, arguments.as_slice()) {
        ("_IO", ["IOCTL_TYPE", number]) if *number == literal(constant)? => String::new(),
        ("_IOR" | "_IOW" | "_IOWR", ["IOCTL_TYPE", number, structure]) if *number == literal(constant)? => {
            format!(", struct gpuferry_{}", snake(structure))
        }
        _ => return Err(refuse()),
    };
    let number = literal(constant)?;
    Ok(Some(format!("#define GPUFERRY_IOC_{short} {direction}(GPUFERRY_IOCTL_TYPE, {number}{structure})\n")))
}

fn docs(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn c_struct(plain: &syn::ItemStruct, structs: &mut HashMap<String, Measure>) -> Read<String> {
    let name = plain.ident.to_string();
    let is_ioctl = name.starts_with("Ioctl");
    let mut out = format!("struct gpuferry_{} {{\n", snake(&name));
    let (mut bytes, mut align) = (0usize, 1usize);
    for field in &plain.fields {
        let ident = field.ident.as_ref().ok_or((field.span(), "a field has a name".to_string()))?;
        let (ty, count) = match &field.ty {
            syn::Type::Array(array) => match &array.len {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(count), .. }) => (&*array.elem, Some(count)),
                other => return Err((other.span(), "an array's length is written down".to_string())),
            },
            other => (other, None),
        };
        let (c, field_bytes, field_align) = c_type(ty, is_ioctl, structs)?;
        if !bytes.is_multiple_of(field_align) {
            return Err((ident.span(), format!("there is a gap before `{ident}`: write the padding as a field")));
        }
        let elements = match count {
            Some(count) => count.base10_parse().map_err(|_| (count.span(), "this length is too large".to_string()))?,
            None => 1,
        };
        bytes += field_bytes * elements;
        align = align.max(field_align);
        let suffix = count.map_or(String::new(), |count| format!("[{}]", count.base10_digits()));
        let _ = writeln!(out, "\t{c} {ident}{suffix};");
    }
    if !bytes.is_multiple_of(align) {
        return Err((plain.ident.span(), "there is a gap at the end: write the padding as a field".to_string()));
    }
    structs.insert(name, (bytes, align));
    out.push_str("};\n");
    Ok(out)
}

/// The C type with its size and alignment.
fn c_type(ty: &syn::Type, is_ioctl: bool, structs: &HashMap<String, Measure>) -> Read<(String, usize, usize)> {
    let name = match ty {
        syn::Type::Path(path) => path.path.get_ident().map(ToString::to_string),
        _ => None,
    }
    .ok_or((ty.span(), "here stands a name".to_string()))?;
    let (bits, bytes) = match name.as_str() {
        "u8" => return Ok(("__u8".to_string(), 1, 1)),
        "u16" => (16, 2),
        "u32" => (32, 4),
        "u64" => (64, 8),
        _ => {
            let (bytes, align) =
                structs.get(&name).ok_or((ty.span(), format!("`{name}` is no integer and no struct above")))?;
            return Ok((format!("struct gpuferry_{}", snake(&name)), *bytes, *align));
        }
    };
    let order = if is_ioctl { "u" } else { "le" };
    Ok((format!("__{order}{bits}"), bytes, bytes))
}

/// `OpenRequest` as `open_request`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
