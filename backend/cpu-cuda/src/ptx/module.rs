//! Module scope: versions, variables and their initial bytes, function heads.

use crate::engine::{
    CompileError, CompileErrorKind, FunctionInfo, GlobalInfo, MAX_BLOCK_THREADS, MAX_PARAM_BYTES, MAX_SHARED_BYTES,
    Param, Relocation, Space, Target,
};
use crate::ptx::body::{self, ParamDecl};
use crate::ptx::ir::{Body, SharedVar, Signature};
use crate::ptx::lexer::Kind;
use crate::ptx::parser::{Cursor, Number, Result, invalid, over_limit};
use crate::ptx::symbols::{Builder, FunctionEntry, GlobalEntry, Linkage, Symbol};
use crate::ptx::types::Type;

/// Newest `.version` the engine reads, major * 10 + minor.
pub const NEWEST_VERSION: u32 = 93;
/// Newest `.target sm_NN` it takes.
pub const NEWEST_TARGET: u32 = 121;
/// Alignment a variable may ask for, in bytes.
const MAX_ALIGN: u32 = 1024;

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

/// A variable's declaration up to its name.
pub struct VarDecl<'a> {
    /// Element type, and elements of a vector.
    pub ty: Type,
    /// Alignment in bytes.
    pub align: u32,
    /// Name.
    pub name: &'a str,
    /// Bytes; `None` for `name[]`.
    pub size: Option<u64>,
    /// `name<N>`.
    pub range: Option<u32>,
    /// Opaque kind instead of a type: texref, surfref, samplerref.
    pub opaque: Option<&'a str>,
    /// `.attribute(.managed)`.
    pub managed: bool,
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
                    kind: CompileErrorKind::NoKernelImage,
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

fn declared(
    cursor: &mut Cursor<'_>,
    builder: &mut Builder,
    head: &Head,
    linkage: Linkage,
    word: &str,
) -> Result<()> {
    match word {
        "entry" => function(cursor, builder, head, linkage, true),
        "func" => function(cursor, builder, head, linkage, false),
        "global" | "const" | "shared" | "tex" => variables(cursor, builder, linkage, word),
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
                    kind: CompileErrorKind::NoKernelImage,
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

/// Reads a variable's declaration, from after the state space to after the name and its brackets.
pub fn var_decl<'a>(cursor: &mut Cursor<'a>) -> Result<VarDecl<'a>> {
    let mut decl =
        VarDecl { ty: Type::B8, align: 0, name: "", size: None, range: None, opaque: None, managed: false };
    let mut elements = 1u64;
    let mut typed = false;
    while let Some(word) = cursor.dot() {
        let line = cursor.line();
        match word {
            "align" => {
                decl.align = cursor.small("the alignment")?;
                if !decl.align.is_power_of_two() || decl.align > MAX_ALIGN {
                    return Err(invalid(line, "the alignment is no power of two up to 1024"));
                }
            }
            "v2" => elements = 2,
            "v4" => elements = 4,
            "v8" => elements = 8,
            "attribute" => {
                cursor.expect(b'(')?;
                while !cursor.eat(b')') {
                    decl.managed |= cursor.peek().text == "managed";
                    if cursor.next().kind == Kind::End {
                        return Err(cursor.expected("`)`"));
                    }
                }
            }
            // Hints about what a parameter points at.
            "ptr" | "global" | "const" | "shared" | "local" if typed => {}
            "texref" | "surfref" | "samplerref" => {
                decl.opaque = Some(word);
                typed = true;
            }
            _ => {
                decl.ty = Type::from_name(word).ok_or_else(|| invalid(line, format!("unknown type `.{word}`")))?;
                typed = true;
            }
        }
    }
    if !typed {
        return Err(cursor.expected("a type"));
    }
    decl.name = cursor.name()?;
    if cursor.eat(b'<') {
        decl.range = Some(cursor.small("the count")?);
        cursor.expect(b'>')?;
    }
    let element = u64::from(decl.ty.bytes()) * elements;
    let mut size = Some(element);
    let mut dimensions = 0;
    while cursor.eat(b'[') {
        dimensions += 1;
        if cursor.eat(b']') {
            // The first dimension may be left to the initial bytes; another open one is meaningless.
            if dimensions > 1 {
                return Err(cursor.error("only the first dimension may be open"));
            }
            size = None;
            continue;
        }
        let line = cursor.line();
        let count = cursor.constant()?.int().ok_or_else(|| invalid(line, "the dimension is no integer"))?;
        cursor.expect(b']')?;
        size = match size {
            Some(s) => Some(s.checked_mul(count).ok_or_else(|| over_limit(line, "max_global_bytes"))?),
            None => None,
        };
        if dimensions > cursor.limits.max_nesting {
            return Err(over_limit(line, "max_nesting"));
        }
    }
    decl.size = size;
    decl.align = decl.align.max(element.next_power_of_two().min(16) as u32).max(1);
    Ok(decl)
}

/// Initial bytes being collected.
struct Initial {
    bytes: Vec<u8>,
    relocations: Vec<Relocation>,
    ty: Type,
}

fn variables(cursor: &mut Cursor<'_>, builder: &mut Builder, linkage: Linkage, space: &str) -> Result<()> {
    // `.const[n]`: a bank of old; all banks are one here.
    if space == "const" && cursor.eat(b'[') {
        cursor.next();
        cursor.expect(b']')?;
    }
    loop {
        let line = cursor.line();
        let decl = var_decl(cursor)?;
        if let Some(kind) = decl.opaque {
            opaque(builder, kind, &decl, linkage);
            if cursor.eat(b'=') {
                cursor.skip_braces()?;
            }
        } else if space == "shared" {
            shared(builder, &decl, linkage, line)?;
        } else {
            let mut initial = Initial { bytes: Vec::new(), relocations: Vec::new(), ty: decl.ty };
            let given = cursor.eat(b'=');
            if given {
                initializer(cursor, builder, &mut initial, decl.size, 0)?;
            }
            global(cursor, builder, &decl, linkage, space, given, initial, line)?;
        }
        if !cursor.eat(b',') {
            return cursor.expect(b';');
        }
    }
}

fn opaque(builder: &mut Builder, kind: &str, decl: &VarDecl<'_>, linkage: Linkage) {
    if builder.existing(decl.name, linkage).is_some() {
        if let Some(symbol) = builder.existing(decl.name, linkage) {
            builder.declare(decl.name, linkage, symbol);
        }
        return;
    }
    let symbol = match kind {
        "texref" => {
            builder.textures.push(decl.name.to_owned());
            Symbol::Texture(builder.textures.len() as u32 - 1)
        }
        "surfref" => {
            builder.surfaces.push(decl.name.to_owned());
            Symbol::Surface(builder.surfaces.len() as u32 - 1)
        }
        _ => {
            builder.samplers += 1;
            Symbol::Sampler(builder.samplers - 1)
        }
    };
    builder.declare(decl.name, linkage, symbol);
}

/// Declares a shared variable, at module or function scope.
pub fn shared(builder: &mut Builder, decl: &VarDecl<'_>, linkage: Linkage, line: u32) -> Result<u32> {
    if let Some(Symbol::Shared(n)) = builder.existing(decl.name, linkage)
        && linkage != Linkage::Private
    {
        builder.declare(decl.name, linkage, Symbol::Shared(n));
        return Ok(n);
    }
    let dynamic = linkage == Linkage::Extern || decl.size.is_none();
    let size = decl.size.unwrap_or(0);
    if size > u64::from(MAX_SHARED_BYTES) {
        return Err(over_limit(line, "MAX_SHARED_BYTES"));
    }
    if builder.shared.len() >= 1 << 20 {
        return Err(over_limit(line, "max_globals"));
    }
    let size = if dynamic { 0 } else { size as u32 };
    let number = builder.shared.len() as u32;
    builder.shared.push(SharedVar { size, align: decl.align, dynamic });
    builder.declare(decl.name, linkage, Symbol::Shared(number));
    Ok(number)
}

#[allow(clippy::too_many_arguments)] // the parts of one declaration
fn global(
    cursor: &mut Cursor<'_>,
    builder: &mut Builder,
    decl: &VarDecl<'_>,
    linkage: Linkage,
    space: &str,
    given: bool,
    initial: Initial,
    line: u32,
) -> Result<()> {
    let size = decl.size.unwrap_or(initial.bytes.len() as u64);
    builder.global_bytes = builder.global_bytes.saturating_add(size);
    if builder.global_bytes > cursor.limits.max_global_bytes {
        return Err(over_limit(line, "max_global_bytes"));
    }
    let space = match (space, decl.managed) {
        ("const", _) => Space::Const,
        (_, true) => Space::Managed,
        _ => Space::Global,
    };
    let info = GlobalInfo {
        name: decl.name.to_owned(),
        size,
        align: u64::from(decl.align),
        space,
        initial: initial.bytes,
        relocations: initial.relocations,
        visible: true,
    };
    let defined = linkage != Linkage::Extern;
    match builder.existing(decl.name, linkage) {
        Some(symbol @ Symbol::Global(n)) => {
            let entry = &mut builder.globals[n as usize];
            let weak = matches!(linkage, Linkage::Weak | Linkage::Common);
            if defined && entry.defined && !weak && given {
                return Err(invalid(line, format!("`{}` is defined twice", decl.name)));
            }
            if defined && (!entry.defined || given) {
                entry.info = info;
                entry.defined = true;
            }
            builder.declare(decl.name, linkage, symbol);
        }
        Some(_) => return Err(invalid(line, format!("`{}` is already something else", decl.name))),
        None => {
            if builder.globals.len() >= cursor.limits.max_globals {
                return Err(over_limit(line, "max_globals"));
            }
            builder.globals.push(GlobalEntry { info, defined, used: 0 });
            builder.declare(decl.name, linkage, Symbol::Global(builder.globals.len() as u32 - 1));
        }
    }
    Ok(())
}

fn initializer(
    cursor: &mut Cursor<'_>,
    builder: &mut Builder,
    initial: &mut Initial,
    size: Option<u64>,
    depth: usize,
) -> Result<()> {
    let line = cursor.line();
    if depth > cursor.limits.max_nesting {
        return Err(over_limit(line, "max_nesting"));
    }
    if cursor.eat(b'{') {
        while !cursor.eat(b'}') {
            initializer(cursor, builder, initial, size, depth + 1)?;
            if !cursor.eat(b',') {
                cursor.expect(b'}')?;
                break;
            }
        }
        return Ok(());
    }
    let width = initial.ty.bytes() as usize;
    if initial.bytes.len() as u64 + width as u64 > size.unwrap_or(cursor.limits.max_global_bytes) {
        return Err(invalid(line, "more initial values than the variable has room for"));
    }
    let is_symbol = cursor.peek().kind == Kind::Name && cursor.peek().text != "WARP_SZ";
    let masked = matches!(cursor.peek().kind, Kind::Int(_)) && cursor.peek_second().kind == Kind::Punct(b'(');
    if is_symbol || masked {
        let mut shift = 0;
        if masked {
            let mask = cursor.constant_token();
            shift = mask.trailing_zeros().min(63) as u8;
            cursor.expect(b'(')?;
        }
        let (target, addend) = symbol_address(cursor, builder)?;
        if masked {
            cursor.expect(b')')?;
        }
        let offset = initial.bytes.len() as u64;
        initial.relocations.push(Relocation { offset, size: width.min(8) as u8, target, addend, shift });
        initial.bytes.resize(initial.bytes.len() + width, 0);
        return Ok(());
    }
    let number = cursor.constant()?;
    let bits = convert(number, initial.ty).ok_or_else(|| invalid(line, "the value does not fit the type"))?;
    initial.bytes.extend_from_slice(&u128::from(bits).to_le_bytes()[..width]);
    Ok(())
}

fn symbol_address(cursor: &mut Cursor<'_>, builder: &mut Builder) -> Result<(Target, i64)> {
    let line = cursor.line();
    let name = cursor.name()?;
    if name == "generic" && cursor.eat(b'(') {
        let (target, mut addend) = symbol_address(cursor, builder)?;
        cursor.expect(b')')?;
        if matches!(cursor.peek().kind, Kind::Punct(b'+' | b'-')) {
            addend = addend.wrapping_add(cursor.constant()?.int().unwrap_or(0) as i64);
        }
        return Ok((target, addend));
    }
    let symbol = builder.find(name).ok_or_else(|| invalid(line, format!("unknown symbol `{name}`")))?;
    builder.note_use(symbol, line, true);
    let mut addend = 0;
    if matches!(cursor.peek().kind, Kind::Punct(b'+' | b'-')) {
        addend = cursor.constant()?.int().unwrap_or(0) as i64;
    }
    match symbol {
        Symbol::Function(n) => Ok((Target::Function(u64::from(n)), addend)),
        Symbol::Global(n) => Ok((Target::Global(n as usize), addend)),
        _ => Err(invalid(line, format!("the address of `{name}` is no constant"))),
    }
}

/// The bits of a number as a value of type `ty`.
pub fn convert(number: Number, ty: Type) -> Option<u64> {
    Some(match (number, ty) {
        (Number::Int(v), Type::F32) => u64::from((v as i64 as f32).to_bits()),
        (Number::Int(v), Type::F64) => (v as i64 as f64).to_bits(),
        (Number::Int(v), _) => v,
        (Number::F32(v), Type::F64) => f64::from(f32::from_bits(v)).to_bits(),
        (Number::F32(v), t) if t.bits() >= 32 => u64::from(v),
        (Number::F64(v), Type::F32) => u64::from((f64::from_bits(v) as f32).to_bits()),
        (Number::F64(v), t) if t.bits() >= 64 => v,
        _ => return None,
    })
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
    if cursor.peek().kind != Kind::Punct(b'{') {
        return cursor.expect(b';');
    }
    let entry = &builder.functions[number as usize];
    if entry.definition.is_some() {
        if linkage == Linkage::Weak || entry.weak {
            return cursor.skip_braces();
        }
        return Err(invalid(line, format!("`{name}` is defined twice")));
    }
    let body: Body = body::parse(cursor, builder, &params, &results)?;
    let entry = &mut builder.functions[number as usize];
    entry.weak = linkage == Linkage::Weak;
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
            if builder.functions[n as usize].signature != signature {
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
        let decl = var_decl(cursor)?;
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
            "minnctapersm" | "maxnctapersm" | "maxnreg" | "maxclusterrank" | "language" | "abi_preserve"
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
