//! From the text of a spec file to the [`Spec`], or to the first [`Refusal`].
//!
//! Two passes: first every type, then every call, so that calls may name types that stand below them. `types` reads
//! numbers, kinds and structs, `calls` reads methods, `whole` checks what only the whole file shows.

mod attributes;
mod calls;
mod types;
mod whole;

use crate::Refusal;
use crate::model::Spec;
use proc_macro2::Span;
use std::collections::HashMap;

/// What the reader says to itself: a sentence and its place.
type Read<T> = Result<T, (Span, String)>;

/// What a type's name stands for.
#[derive(Clone, Copy)]
enum Meaning {
    Number(crate::model::Number),
    Kind(usize),
    Struct(usize),
}

/// Reads a spec. `file` only names it in refusals.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(file: &str, text: &str) -> Result<Spec, Refusal> {
    read(text).map_err(|(span, what)| {
        let start = span.start();
        Refusal { file: file.to_string(), line: start.line, column: start.column + 1, what }
    })
}

fn read(text: &str) -> Read<Spec> {
    let file = syn::parse_file(text).map_err(|error| (error.span(), format!("this is not Rust syntax: {error}")))?;
    let mut spec = Spec::default();
    attributes::file(&file.attrs, &mut spec)?;
    let mut names = HashMap::new();
    for item in &file.items {
        types::item(item, &mut spec, &mut names)?;
    }
    for item in &file.items {
        if let syn::Item::Trait(chapter) = item {
            for member in &chapter.items {
                if let syn::TraitItem::Fn(method) = member {
                    calls::method(method, &mut spec, &names)?;
                }
            }
        }
    }
    whole::check(&spec)?;
    Ok(spec)
}
