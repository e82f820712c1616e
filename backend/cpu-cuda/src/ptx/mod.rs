//! PTX text: reading, checking, linking.
//!
//! The text is hostile: every size it names is bounded by [`Limits`](crate::engine::Limits), nesting is counted, and
//! what comes out ([`ir::Program`]) is in itself consistent, so the code generator need not check it again.
//!
//! The way of a text: `lexer` → `parser` (cursor, constants) → `module` and `variable` (module scope) → `body`, `operand`,
//! `call` (functions) → `decode*` (instructions) → `symbols` (resolution) → `ir`.

mod body;
mod call;
mod decode;
mod decode_alu;
mod decode_barrier;
mod decode_matrix;
mod decode_memory;
mod decode_stack;
mod decode_video;
mod decode_warp;
mod decode_wmma;
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

/// First line of an image made by [`link`]; the most registers, if a linker's option said so, as `rN`, and the lengths of
/// the parts follow, up to the end of the line.
const LINKED: &str = "//gpuferry linked ptx:";

/// An image's PTX texts, and the most registers of a thread, 0 if nothing was said of that.
struct Parts<'i> {
    texts: Vec<&'i [u8]>,
    linked: bool,
    max_registers: u32,
}

/// The smaller of two limits, of which 0 is none.
fn tighter(a: u32, b: u32) -> u32 {
    if a == 0 || b == 0 { a.max(b) } else { a.min(b) }
}

/// Splits an image.
fn parts<'i>(image: &'i [u8], options: &Options) -> Result<Parts<'i>, CompileError> {
    if image.len() > options.limits.max_source_bytes {
        return Err(over_limit(0, "max_source_bytes"));
    }
    let Some(rest) = image.strip_prefix(LINKED.as_bytes()) else {
        return Ok(Parts { texts: vec![image], linked: false, max_registers: options.max_registers });
    };
    let malformed = || invalid(1, "malformed linked image");
    let end = rest.iter().position(|&b| b == b'\n').ok_or_else(malformed)?;
    let head = std::str::from_utf8(&rest[..end]).map_err(|_| malformed())?;
    let mut text = &rest[end + 1..];
    let mut parts = Parts { texts: Vec::new(), linked: true, max_registers: options.max_registers };
    for length in head.split_whitespace() {
        if let Some(most) = length.strip_prefix('r') {
            parts.max_registers = tighter(parts.max_registers, most.parse().map_err(|_| malformed())?);
            continue;
        }
        let length: usize = length.parse().map_err(|_| malformed())?;
        let (part, more) = text.split_at_checked(length).ok_or_else(malformed)?;
        parts.texts.push(part);
        text = more;
    }
    Ok(parts)
}

/// Parses and checks an image.
pub fn load(image: &[u8], options: &Options) -> Result<Program, CompileError> {
    let mut builder = symbols::Builder::default();
    let parts = parts(image, options)?;
    for part in parts.texts {
        let part = &part[..part.iter().rposition(|&b| b != 0).map_or(0, |n| n + 1)];
        builder.next_part();
        module::parse(&String::from_utf8_lossy(part), &mut builder, options.limits)?;
    }
    if !parts.linked {
        builder.adopt_variables();
    }
    let mut program = builder.finish()?;
    let const_bytes: u64 = program.globals.iter().filter(|g| g.space == Space::Const).map(|g| g.size).sum();
    for info in &mut program.functions {
        info.max_registers = tighter(info.max_registers, parts.max_registers);
        info.const_bytes = u32::try_from(const_bytes).unwrap_or(u32::MAX);
    }
    Ok(program)
}

/// Joins images after checking that they fit together.
pub fn link(images: &[&[u8]], options: &Options) -> Result<Vec<u8>, CompileError> {
    let mut texts = Vec::new();
    let mut max_registers = options.max_registers;
    for image in images {
        let parts = parts(image, options)?;
        texts.extend(parts.texts);
        max_registers = tighter(max_registers, parts.max_registers);
    }
    let mut linked = LINKED.as_bytes().to_vec();
    if max_registers > 0 {
        linked.extend_from_slice(format!(" r{max_registers}").as_bytes());
    }
    for text in &texts {
        linked.extend_from_slice(format!(" {}", text.len()).as_bytes());
    }
    linked.push(b'\n');
    linked.extend(texts.into_iter().flatten());
    load(&linked, options)?;
    Ok(linked)
}
