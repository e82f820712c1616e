//! PTX text: reading, checking, linking.
//!
//! The text is hostile: every size it names is bounded by [`Limits`](crate::engine::Limits), nesting is counted, and
//! what comes out ([`ir::Program`]) is in itself consistent, so the code generator need not check it again.
//!
//! The way of a text: `lexer` → `parser` (cursor, constants) → `module` and `variable` (module scope) → `body`, `operand`, `call` (functions) → `decode*`
//! (instructions) → `symbols` (resolution) → `ir`.

mod body;
mod call;
mod decode;
mod decode_alu;
mod decode_matrix;
mod decode_memory;
mod decode_warp;
pub mod ir;
mod lexer;
mod module;
mod operand;
mod parser;
mod symbols;
pub mod types;
mod variable;

pub use ir::Program;

use crate::engine::{CompileError, Options, Space};
use parser::{invalid, over_limit};

/// First line of an image made by [`link`]; the lengths of the parts follow, up to the end of the line.
const LINKED: &str = "//gpuferry linked ptx:";

/// Splits an image into its PTX texts.
fn parts<'i>(image: &'i [u8], options: &Options) -> Result<Vec<&'i [u8]>, CompileError> {
    if image.len() > options.limits.max_source_bytes {
        return Err(over_limit(0, "max_source_bytes"));
    }
    let Some(rest) = image.strip_prefix(LINKED.as_bytes()) else { return Ok(vec![image]) };
    let malformed = || invalid(1, "malformed linked image");
    let end = rest.iter().position(|&b| b == b'\n').ok_or_else(malformed)?;
    let head = std::str::from_utf8(&rest[..end]).map_err(|_| malformed())?;
    let mut text = &rest[end + 1..];
    let mut parts = Vec::new();
    for length in head.split_whitespace() {
        let length: usize = length.parse().map_err(|_| malformed())?;
        let (part, more) = text.split_at_checked(length).ok_or_else(malformed)?;
        parts.push(part);
        text = more;
    }
    Ok(parts)
}

/// Parses and checks an image.
pub fn load(image: &[u8], options: &Options) -> Result<Program, CompileError> {
    let mut builder = symbols::Builder::default();
    for part in parts(image, options)? {
        let part = &part[..part.iter().rposition(|&b| b != 0).map_or(0, |n| n + 1)];
        builder.next_part();
        module::parse(&String::from_utf8_lossy(part), &mut builder, options.limits)?;
    }
    let mut program = builder.finish()?;
    let const_bytes: u64 = program.globals.iter().filter(|g| g.space == Space::Const).map(|g| g.size).sum();
    for info in &mut program.functions {
        info.const_bytes = u32::try_from(const_bytes).unwrap_or(u32::MAX);
    }
    Ok(program)
}

/// Joins images after checking that they fit together.
pub fn link(images: &[&[u8]], options: &Options) -> Result<Vec<u8>, CompileError> {
    let mut texts = Vec::new();
    for image in images {
        texts.extend(parts(image, options)?);
    }
    let mut linked = LINKED.as_bytes().to_vec();
    for text in &texts {
        linked.extend_from_slice(format!(" {}", text.len()).as_bytes());
    }
    linked.push(b'\n');
    linked.extend(texts.into_iter().flatten());
    load(&linked, options)?;
    Ok(linked)
}
