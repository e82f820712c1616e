//! Variables: declarations in any space, initial bytes, relocations.

use crate::engine::{GlobalInfo, MAX_SHARED_BYTES, Relocation, Space, Target};
use crate::ptx::ir::SharedVar;
use crate::ptx::lexer::Kind;
use crate::ptx::parser::{Cursor, Number, Result, invalid, over_limit};
use crate::ptx::symbols::{Builder, GlobalEntry, Linkage, Symbol};
use crate::ptx::types::Type;

/// Alignment a variable may ask for, in bytes.
const MAX_ALIGN: u32 = 1024;

/// A variable's declaration up to its name.
pub struct VarDecl<'a> {
    /// Element type, and elements of a vector.
    pub ty: Type,
    /// Alignment in bytes.
    pub align: u32,
    /// Name.
    pub name: &'a str,
    /// Bytes of what an index counts; 0 for arrays of arrays.
    pub element: u32,
    /// Bytes; `None` for `name[]`.
    pub size: Option<u64>,
    /// `name<N>`.
    pub range: Option<u32>,
    /// Opaque kind instead of a type: texref, surfref, samplerref.
    pub opaque: Option<&'a str>,
    /// `.attribute(.managed)`.
    pub managed: bool,
}

/// Initial bytes being collected.
struct Initial {
    bytes: Vec<u8>,
    relocations: Vec<Relocation>,
    ty: Type,
}

/// Reads a variable's declaration, from after the state space to after the name and its brackets.
pub fn var_decl<'a>(cursor: &mut Cursor<'a>) -> Result<VarDecl<'a>> {
    let mut decl =
        VarDecl { ty: Type::B8, align: 0, name: "", element: 0, size: None, range: None, opaque: None, managed: false };
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
    decl.element = element as u32;
    while cursor.eat(b'[') {
        dimensions += 1;
        if dimensions > 1 {
            decl.element = 0;
        }
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

/// Reads the rest of a module-scope declaration, from after the state space.
pub fn variables(cursor: &mut Cursor<'_>, builder: &mut Builder, linkage: Linkage, space: &str) -> Result<()> {
    // `.const[n]`: a bank of old; all banks are one here.
    if space == "const" && cursor.eat(b'[') {
        cursor.next();
        cursor.expect(b']')?;
    }
    loop {
        let line = cursor.line();
        let decl = var_decl(cursor)?;
        // `.tex .u32 name` is the oldest form of a texture reference.
        if let Some(kind) = decl.opaque.or((space == "tex").then_some("texref")) {
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
    builder.elements.insert(decl.name.to_owned(), decl.element);
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
                let part = entry.part;
                return Err(builder.defined_twice(line, decl.name, part));
            }
            if defined && (!entry.defined || given) {
                (entry.info, entry.defined, entry.part) = (info, true, builder.number);
            }
            builder.declare(decl.name, linkage, symbol);
        }
        Some(_) => return Err(invalid(line, format!("`{}` is already something else", decl.name))),
        None => {
            if builder.globals.len() >= cursor.limits.max_globals {
                return Err(over_limit(line, "max_globals"));
            }
            builder.globals.push(GlobalEntry { info, defined, part: builder.number, used: 0 });
            builder.declare(decl.name, linkage, Symbol::Global(builder.globals.len() as u32 - 1));
        }
    }
    builder.elements.insert(decl.name.to_owned(), decl.element);
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
        // `mov.pred %p, -1` is true: any other number than 0 is, and predicates are kept as 0 and 1.
        (Number::Int(v), Type::Pred) => u64::from(v != 0),
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
