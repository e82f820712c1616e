//! Module scope: versions, variables and their initial bytes, function heads.

use crate::engine::{CompileError, CompileErrorKind, FunctionInfo, MAX_BLOCK_THREADS, MAX_PARAM_BYTES, Param};
use crate::ptx::body::{self, ParamDecl};
use crate::ptx::ir::{Body, Signature};
use crate::ptx::lexer::Kind;
use crate::ptx::parser::{Cursor, Result, invalid, over_limit};
use crate::ptx::symbols::{Builder, FunctionEntry, Linkage, Symbol};
use crate::ptx::variable;

/// Newest `.version` the engine reads, major * 10 + minor. A newer text differs by instructions, which are named where they
/// are not known: so this is what toolkits of the next years write, not what has been read so far.
pub const NEWEST_VERSION: u32 = 99;
/// Newest `.target sm_NN` it takes.
pub const NEWEST_TARGET: u32 = 121;

/// What the head of a part says.
#[derive(Clone, Copy, Default)]
pub struct Head {
    /// `.version`, major * 10 + minor.
    pub version: u32,
    /// `.target sm_NN`.
    pub target: u32,
    /// `.address_size`; 32-bit parts are refused.
    pub address_size: u32,
}

/// Reads one part into `builder`.
pub fn parse(source: &str, builder: &mut Builder, limits: crate::engine::Limits) -> Result<Head> {
    let mut cursor = Cursor::new(source, limits);
    let mut head = Head { address_size: 64, ..Head::default() };
    while cursor.peek().kind != Kind::End {
        statement(&mut cursor, builder, &mut head)?;
    }
    if head.version == 0 {
        return Err(invalid(1, "no `.version`: this is no PTX text"));
    }
    builder.oldest_target = Some(builder.oldest_target.map_or(head.target, |oldest| oldest.min(head.target)));
    Ok(head)
}

fn statement(cursor: &mut Cursor<'_>, builder: &mut Builder, head: &mut Head) -> Result<()> {
    let line = cursor.line();
    if cursor.eat(b';') {
        return Ok(());
    }
    let Some(word) = cursor.dot() else { return Err(cursor.expected("a directive")) };
    if head.version == 0 && word != "version" {
        return Err(invalid(line, "`.version` must come first"));
    }
    match word {
        "version" => version(cursor, head),
        "target" => target(cursor, head),
        "address_size" => {
            head.address_size = cursor.small("the address size")?;
            match head.address_size {
                64 => Ok(()),
                _ => Err(CompileError {
                    kind: CompileErrorKind::InvalidPtx,
                    line,
                    message: "only 64-bit addresses are supported".into(),
                }),
            }
        }
        "file" => {
            while matches!(cursor.peek().kind, Kind::Int(_) | Kind::Text | Kind::Punct(b',')) {
                cursor.next();
            }
            Ok(())
        }
        "section" => {
            cursor.next();
            cursor.skip_braces()
        }
        "loc" => {
            cursor.next();
            while matches!(cursor.peek().kind, Kind::Int(_)) {
                cursor.next();
            }
            Ok(())
        }
        "pragma" => cursor.skip_statement(),
        "visible" | "weak" | "common" | "extern" => {
            let linkage = match word {
                "visible" => Linkage::Visible,
                "weak" => Linkage::Weak,
                "common" => Linkage::Common,
                _ => Linkage::Extern,
            };
            declaration(cursor, builder, head, linkage)
        }
        "alias" => {
            let name = cursor.name()?;
            cursor.expect(b',')?;
            let target = cursor.name()?;
            cursor.expect(b';')?;
            match builder.find(target) {
                Some(symbol @ Symbol::Function(_)) => {
                    builder.declare(name, Linkage::Visible, symbol);
                    Ok(())
                }
                _ => Err(invalid(line, format!("`{target}` is no function"))),
            }
        }
        _ => declared(cursor, builder, head, Linkage::Private, word),
    }
}

fn declaration(cursor: &mut Cursor<'_>, builder: &mut Builder, head: &Head, linkage: Linkage) -> Result<()> {
    let Some(word) = cursor.dot() else { return Err(cursor.expected("`.func`, `.entry` or a state space")) };
    declared(cursor, builder, head, linkage, word)
}

fn declared(cursor: &mut Cursor<'_>, builder: &mut Builder, head: &Head, linkage: Linkage, word: &str) -> Result<()> {
    match word {
        "entry" => function(cursor, builder, head, linkage, true),
        "func" => function(cursor, builder, head, linkage, false),
        "global" | "const" | "shared" | "tex" => variable::variables(cursor, builder, linkage, word),
        // Module-scope local memory and registers are of an ABI older than any compiler still in use.
        _ => Err(cursor.error(format!("unknown or unsupported directive `.{word}`"))),
    }
}

fn version(cursor: &mut Cursor<'_>, head: &mut Head) -> Result<()> {
    let token = cursor.next();
    let digits: Vec<u32> = token.text.split('.').filter_map(|d| d.parse().ok()).collect();
    let [major @ 1..=1000, minor @ 0..=9] = digits[..] else { return Err(invalid(token.line, "malformed `.version`")) };
    head.version = major * 10 + minor;
    if head.version > NEWEST_VERSION {
        return Err(CompileError {
            kind: CompileErrorKind::UnsupportedPtxVersion,
            line: token.line,
            message: format!("PTX version {}; the newest supported is {NEWEST_VERSION} tenths", token.text),
        });
    }
    Ok(())
}

fn target(cursor: &mut Cursor<'_>, head: &mut Head) -> Result<()> {
    loop {
        let line = cursor.line();
        let name = cursor.name()?;
        if let Some(number) = name.strip_prefix("sm_") {
            let digits = number.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let sm: u32 = digits.parse().map_err(|_| invalid(line, format!("unknown target `{name}`")))?;
            if sm > NEWEST_TARGET {
                return Err(CompileError {
                    kind: CompileErrorKind::InvalidPtx,
                    line,
                    message: format!("target `{name}` is newer than sm_{NEWEST_TARGET}"),
                });
            }
            head.target = sm;
        } else if !matches!(name, "texmode_unified" | "texmode_independent" | "debug" | "map_f64_to_f32" | "compute") {
            return Err(invalid(line, format!("unknown target `{name}`")));
        }
        if !cursor.eat(b',') {
            return Ok(());
        }
    }
}

fn function(
    cursor: &mut Cursor<'_>,
    builder: &mut Builder,
    head: &Head,
    linkage: Linkage,
    is_entry: bool,
) -> Result<()> {
    let line = cursor.line();
    while cursor.peek().kind == Kind::Dot {
        // `.attribute(...)` of functions says nothing we need.
        cursor.next();
        if cursor.eat(b'(') {
            while !cursor.eat(b')') {
                if cursor.next().kind == Kind::End {
                    return Err(cursor.expected("`)`"));
                }
            }
        }
    }
    let results = if !is_entry && cursor.peek().kind == Kind::Punct(b'(') { params(cursor)? } else { Vec::new() };
    let name = cursor.name()?;
    let params = if cursor.peek().kind == Kind::Punct(b'(') { params(cursor)? } else { Vec::new() };
    let mut info = FunctionInfo {
        name: name.to_owned(),
        is_entry,
        params: Vec::new(),
        param_bytes: 0,
        static_shared_bytes: 0,
        local_bytes: 0,
        const_bytes: 0,
        max_threads: MAX_BLOCK_THREADS,
        required_block: None,
        required_cluster: None,
        registers: 0,
        max_registers: 0,
        ptx_version: head.version,
        target: head.target,
    };
    attributes(cursor, &mut info)?;
    let signature = Signature {
        params: params.iter().map(|p| (p.size, p.align)).collect(),
        results: results.iter().map(|p| (p.size, p.align)).collect(),
    };
    let (offsets, total) = Signature::layout(&signature.params);
    if total > MAX_PARAM_BYTES || Signature::layout(&signature.results).1 > MAX_PARAM_BYTES {
        return Err(over_limit(line, "MAX_PARAM_BYTES"));
    }
    info.param_bytes = total;
    info.params = params
        .iter()
        .zip(offsets)
        .map(|(p, offset)| Param { name: p.name.to_owned(), offset, size: p.size, align: p.align })
        .collect();
    let signature = builder.signature(signature);
    let number = declare_function(cursor, builder, name, linkage, signature, line)?;
    builder.note_signature(number, signature);
    if cursor.peek().kind != Kind::Punct(b'{') {
        return cursor.expect(b';');
    }
    let entry = &builder.functions[number as usize];
    if entry.definition.is_some() {
        if linkage == Linkage::Weak || entry.weak {
            return cursor.skip_braces();
        }
        return Err(builder.defined_twice(line, name, entry.part));
    }
    let body: Body = body::parse(cursor, builder, &params, &results)?;
    let entry = &mut builder.functions[number as usize];
    (entry.weak, entry.part) = (linkage == Linkage::Weak, builder.number);
    entry.signature = signature;
    entry.definition = Some((info, body));
    Ok(())
}

fn declare_function(
    cursor: &Cursor<'_>,
    builder: &mut Builder,
    name: &str,
    linkage: Linkage,
    signature: u32,
    line: u32,
) -> Result<u32> {
    match builder.existing(name, linkage) {
        Some(symbol @ Symbol::Function(n)) => {
            if !builder.fits(n, signature) {
                return Err(invalid(line, format!("`{name}` is declared with other parameters")));
            }
            builder.declare(name, linkage, symbol);
            Ok(n)
        }
        Some(_) => Err(invalid(line, format!("`{name}` is already something else"))),
        None => {
            if builder.functions.len() >= cursor.limits.max_functions {
                return Err(over_limit(line, "max_functions"));
            }
            let number = builder.functions.len() as u32;
            builder.functions.push(FunctionEntry {
                name: name.to_owned(),
                signature,
                definition: None,
                weak: false,
                part: 0,
                address_taken: false,
                used: 0,
            });
            builder.declare(name, linkage, Symbol::Function(number));
            Ok(number)
        }
    }
}

/// A parenthesised parameter list.
pub fn params<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<ParamDecl<'a>>> {
    cursor.expect(b'(')?;
    let mut list = Vec::new();
    while !cursor.eat(b')') {
        let in_register = match cursor.dot() {
            Some("param") => false,
            Some("reg") => true,
            _ => return Err(cursor.expected("`.param` or `.reg`")),
        };
        let line = cursor.line();
        let decl = variable::var_decl(cursor)?;
        let size = decl.size.unwrap_or(0);
        if size > u64::from(MAX_PARAM_BYTES) || list.len() >= MAX_PARAM_BYTES as usize {
            return Err(over_limit(line, "MAX_PARAM_BYTES"));
        }
        let (size, align) = match decl.opaque {
            Some(_) => (8, 8),
            None => (size as u32, decl.align),
        };
        list.push(ParamDecl { name: decl.name, ty: decl.ty, size, align, in_register });
        if !cursor.eat(b',') {
            cursor.expect(b')')?;
            break;
        }
    }
    Ok(list)
}

fn attributes(cursor: &mut Cursor<'_>, info: &mut FunctionInfo) -> Result<()> {
    while let Some(word) = cursor.dot() {
        let line = cursor.line();
        match word {
            "maxntid" | "reqntid" => {
                let shape = triple(cursor)?;
                let total = shape.iter().map(|&n| u64::from(n)).product::<u64>();
                if total == 0 || (word == "reqntid" && total > u64::from(MAX_BLOCK_THREADS)) {
                    return Err(invalid(line, format!("`.{word}` names an impossible block")));
                }
                info.max_threads = total.min(u64::from(MAX_BLOCK_THREADS)) as u32;
                if word == "reqntid" {
                    info.required_block = Some(shape);
                }
            }
            "reqnctapercluster" => info.required_cluster = Some(triple(cursor)?),
            "maxnreg" => info.max_registers = triple(cursor)?[0],
            "minnctapersm"
            | "maxnctapersm"
            | "maxclusterrank"
            | "language"
            | "abi_preserve"
            | "abi_preserve_control" => {
                triple(cursor)?;
            }
            "explicitcluster" | "noreturn" | "blocksareclusters" | "unified" => {}
            "pragma" => cursor.skip_statement()?,
            _ => return Err(invalid(line, format!("unknown directive `.{word}`"))),
        }
    }
    Ok(())
}

fn triple(cursor: &mut Cursor<'_>) -> Result<[u32; 3]> {
    let mut shape = [1; 3];
    shape[0] = cursor.small("the size")?;
    for size in &mut shape[1..] {
        if cursor.eat(b',') {
            *size = cursor.small("the size")?;
        }
    }
    Ok(shape)
}
