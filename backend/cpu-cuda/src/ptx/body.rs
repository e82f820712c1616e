//! Function bodies: scopes, declarations, labels, and the shape of instructions.
//!
//! What an instruction means is for `decode`; this file turns its text into [`Raw`] operands with all names resolved.

use std::collections::HashMap;

use crate::engine::MAX_PARAM_BYTES;
use crate::ptx::decode::{self, Mods};
use crate::ptx::ir::{Access, Body, Guard, Inst, Op, Reg, Signature, Slot, Value};
use crate::ptx::lexer::Kind;
use crate::ptx::module;
use crate::ptx::parser::{Cursor, Number, Result, invalid, over_limit};
use crate::ptx::symbols::{Builder, Linkage};
use crate::ptx::types::{Space, Type};
use crate::ptx::variable::{self, convert};

/// Register ranges (`%r<9>`) of one scope; each name is looked for in all of them.
const MAX_RANGES: usize = 256;
/// A label that is used but not yet placed.
const UNPLACED: u32 = u32::MAX;

/// A declared parameter or result.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct ParamDecl<'a> {
    pub name: &'a str,
    pub ty: Type,
    pub size: u32,
    pub align: u32,
    /// Declared `.reg`: the code uses it as a register.
    pub in_register: bool,
}

/// An operand with its names resolved.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Raw {
    Value(Value),
    Number(Number),
    Sink,
    /// `p|q`
    Pair(Option<Reg>, Option<Reg>),
    Vector(Vec<Raw>),
    /// A part of a register, `r.b0` or `r.h1`.
    Part(Reg, String),
    /// `[base + offset]`
    Address(Value, i64),
    /// `[a, b, ...]`
    List(Vec<Raw>),
}

#[derive(Clone)]
pub(super) enum Local {
    Reg(Reg),
    /// Of a register that is a vector: its elements.
    Vector(Vec<Reg>),
    Slot(u32),
    Frame(u32),
    In(u32),
    Out(u32),
    Prototype(u32),
    Targets(Vec<u32>),
}

#[derive(Default)]
struct Scope<'a> {
    names: HashMap<&'a str, Local>,
    ranges: Vec<(&'a str, u32, Type)>,
    labels: HashMap<&'a str, u32>,
    /// Bytes of what an index counts, of variables in memory.
    elements: HashMap<&'a str, u32>,
}

/// Reads one body.
pub struct BodyParser<'a, 'c, 'b> {
    /// Tokens.
    pub cursor: &'c mut Cursor<'a>,
    /// Module scope.
    pub builder: &'b mut Builder,
    /// What was read so far.
    pub body: Body,
    scopes: Vec<Scope<'a>>,
    /// Label that another one turned out to be, by number.
    aliases: Vec<u32>,
    /// Result registers to store at `ret`: register, type, offset.
    register_results: Vec<(Reg, Type, u32)>,
    pub(super) line: u32,
    pub(super) guard: Option<Guard>,
}

/// Reads `{ ... }`, the body of a function with these parameters.
pub fn parse<'a>(
    cursor: &mut Cursor<'a>,
    builder: &mut Builder,
    params: &[ParamDecl<'a>],
    results: &[ParamDecl<'a>],
) -> Result<Body> {
    let mut parser = BodyParser {
        cursor,
        builder,
        body: Body::default(),
        scopes: vec![Scope::default()],
        aliases: Vec::new(),
        register_results: Vec::new(),
        line: 0,
        guard: None,
    };
    parser.declare_params(params, results)?;
    parser.cursor.expect(b'{')?;
    while parser.scopes.len() > 1 || parser.cursor.peek().kind != Kind::Punct(b'}') {
        parser.statement()?;
    }
    parser.cursor.expect(b'}')?;
    parser.finish()
}

impl<'a> BodyParser<'a, '_, '_> {
    fn declare_params(&mut self, params: &[ParamDecl<'a>], results: &[ParamDecl<'a>]) -> Result<()> {
        for (list, is_result) in [(params, false), (results, true)] {
            let sizes: Vec<_> = list.iter().map(|p| (p.size, p.align)).collect();
            for (param, offset) in list.iter().zip(Signature::layout(&sizes).0) {
                if !param.in_register {
                    let local = if is_result { Local::Out(offset) } else { Local::In(offset) };
                    self.scopes[0].names.insert(param.name, local);
                    continue;
                }
                let reg = self.new_reg(param.ty)?;
                self.scopes[0].names.insert(param.name, Local::Reg(reg));
                if is_result {
                    self.register_results.push((reg, param.ty, offset));
                } else {
                    let access = Access { space: Space::Param, ty: param.ty, offset: 0, strong: false };
                    self.push(Op::Load(access), vec![Some(reg)], vec![Value::In(i64::from(offset))])?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Body> {
        self.close_scope()?;
        // Falling off the end returns, whatever the text says; labels there have a place.
        self.push(Op::Ret, vec![], vec![])?;
        for number in 0..self.body.labels.len() {
            if self.body.labels[number] == UNPLACED {
                let mut target = number;
                while self.aliases[target] as usize != target {
                    target = self.aliases[target] as usize;
                }
                self.body.labels[number] = self.body.labels[target];
            }
        }
        Ok(self.body)
    }

    /// Adds an instruction under the current guard.
    pub fn push(&mut self, op: Op, dst: Vec<Option<Reg>>, src: Vec<Value>) -> Result<()> {
        if self.body.insts.len() >= self.cursor.limits.max_instructions {
            return Err(over_limit(self.line, "max_instructions"));
        }
        if matches!(op, Op::Ret) && !self.register_results.is_empty() {
            for (reg, ty, offset) in self.register_results.clone() {
                let access = Access { space: Space::Param, ty, offset: 0, strong: false };
                let src = vec![Value::Out(i64::from(offset)), Value::Reg(reg)];
                self.body.insts.push(Inst {
                    guard: self.guard,
                    op: Op::Store(access),
                    dst: vec![],
                    src,
                    line: self.line,
                });
            }
        }
        self.body.insts.push(Inst { guard: self.guard, op, dst, src, line: self.line });
        Ok(())
    }

    /// A new register.
    pub fn new_reg(&mut self, ty: Type) -> Result<Reg> {
        if self.body.regs.len() >= self.cursor.limits.max_registers {
            return Err(over_limit(self.cursor.line(), "max_registers"));
        }
        self.body.regs.push(ty);
        Ok(self.body.regs.len() as Reg - 1)
    }

    /// An error at the current instruction.
    pub fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(invalid(self.line, message))
    }

    fn statement(&mut self) -> Result<()> {
        let token = self.cursor.peek();
        self.line = token.line;
        match token.kind {
            Kind::Dot => self.directive(),
            Kind::Punct(b'{') => {
                self.cursor.next();
                if self.scopes.len() > self.cursor.limits.max_nesting {
                    return Err(over_limit(token.line, "max_nesting"));
                }
                self.scopes.push(Scope::default());
                Ok(())
            }
            Kind::Punct(b'}') if self.scopes.len() > 1 => {
                self.cursor.next();
                self.close_scope()
            }
            Kind::Punct(b';') => {
                self.cursor.next();
                Ok(())
            }
            Kind::Punct(b'@') => {
                self.cursor.next();
                let negated = self.cursor.eat(b'!');
                let name = self.cursor.name()?;
                match self.local(name)? {
                    Some(Local::Reg(reg)) if self.body.regs[reg as usize] == Type::Pred => {
                        self.guard = Some(Guard { reg, negated });
                    }
                    _ => return self.fail(format!("`{name}` is no predicate")),
                }
                let result = self.instruction();
                self.guard = None;
                result
            }
            Kind::Name if self.cursor.peek_second().kind == Kind::Punct(b':') => {
                self.cursor.next();
                self.cursor.next();
                self.label(token.text)
            }
            Kind::Name => self.instruction(),
            _ => Err(self.cursor.expected("an instruction")),
        }
    }

    fn label(&mut self, name: &'a str) -> Result<()> {
        let here = self.body.insts.len() as u32;
        if self.cursor.peek().kind == Kind::Dot {
            let local = match self.cursor.peek().text {
                "callprototype" => Some(Local::Prototype(self.prototype()?)),
                "branchtargets" => Some(Local::Targets(self.targets()?)),
                "calltargets" => {
                    self.cursor.skip_statement()?;
                    return Ok(());
                }
                _ => None,
            };
            if let Some(local) = local {
                self.scope().names.insert(name, local);
                return Ok(());
            }
        }
        let number = self.label_number(name, true)?;
        if self.body.labels[number as usize] != UNPLACED {
            return self.fail(format!("label `{name}` is placed twice"));
        }
        self.body.labels[number as usize] = here;
        Ok(())
    }

    fn scope(&mut self) -> &mut Scope<'a> {
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    pub(super) fn label_number(&mut self, name: &'a str, place: bool) -> Result<u32> {
        if let Some(&number) = self.scope().labels.get(name) {
            return Ok(number);
        }
        // Already placed in an enclosing scope: a jump backwards.
        for scope in self.scopes.iter().rev().skip(1) {
            if let Some(&number) = scope.labels.get(name)
                && self.body.labels[number as usize] != UNPLACED
                && !place
            {
                return Ok(number);
            }
        }
        if self.body.labels.len() >= self.cursor.limits.max_instructions {
            return Err(over_limit(self.line, "max_instructions"));
        }
        let number = self.body.labels.len() as u32;
        self.body.labels.push(UNPLACED);
        self.aliases.push(number);
        self.scope().labels.insert(name, number);
        Ok(number)
    }

    /// Labels not placed in the scope that ends are the enclosing scope's.
    fn close_scope(&mut self) -> Result<()> {
        let Some(scope) = self.scopes.pop() else { return Ok(()) };
        for (name, number) in scope.labels {
            if self.body.labels[number as usize] != UNPLACED {
                continue;
            }
            let Some(outer) = self.scopes.last_mut() else {
                return self.fail(format!("label `{name}` is nowhere"));
            };
            let target = *outer.labels.entry(name).or_insert(number);
            self.aliases[number as usize] = target;
        }
        Ok(())
    }

    fn prototype(&mut self) -> Result<u32> {
        self.cursor.next();
        let results =
            if self.cursor.peek().kind == Kind::Punct(b'(') { module::params(self.cursor)? } else { Vec::new() };
        self.cursor.name()?;
        let params =
            if self.cursor.peek().kind == Kind::Punct(b'(') { module::params(self.cursor)? } else { Vec::new() };
        self.cursor.skip_statement()?;
        Ok(self.builder.signature(Signature {
            params: params.iter().map(|p| (p.size, p.align)).collect(),
            results: results.iter().map(|p| (p.size, p.align)).collect(),
        }))
    }

    fn targets(&mut self) -> Result<Vec<u32>> {
        self.cursor.next();
        let mut targets = Vec::new();
        loop {
            let name = self.cursor.name()?;
            targets.push(self.label_number(name, false)?);
            if !self.cursor.eat(b',') {
                self.cursor.expect(b';')?;
                return Ok(targets);
            }
        }
    }

    fn directive(&mut self) -> Result<()> {
        let Some(word) = self.cursor.dot() else { return Err(self.cursor.expected("a directive")) };
        match word {
            "loc" => {
                let line = self.cursor.line();
                while matches!(self.cursor.peek().kind, Kind::Int(_)) && self.cursor.line() == line {
                    self.cursor.next();
                }
                // `, function_name label, inlined_at file line column`
                while self.cursor.line() == line
                    && matches!(
                        self.cursor.peek().kind,
                        Kind::Punct(b',' | b'+') | Kind::Name | Kind::Int(_) | Kind::Dot
                    )
                {
                    self.cursor.next();
                }
                Ok(())
            }
            "pragma" => self.cursor.skip_statement(),
            "reg" | "local" | "shared" | "param" => self.variables(word),
            _ => self.fail(format!("unknown directive `.{word}`")),
        }
    }

    fn variables(&mut self, space: &str) -> Result<()> {
        let mut previous: Option<Type> = None;
        loop {
            // `.reg .b32 a, b;`: the type stands once.
            let decl = match previous {
                Some(ty) if self.cursor.peek().kind == Kind::Name => {
                    let name = self.cursor.name()?;
                    let mut range = None;
                    if self.cursor.eat(b'<') {
                        range = Some(self.cursor.small("the count")?);
                        self.cursor.expect(b'>')?;
                    }
                    variable::VarDecl {
                        ty,
                        align: 1,
                        name,
                        element: 0,
                        size: Some(u64::from(ty.bytes())),
                        range,
                        opaque: None,
                        managed: false,
                    }
                }
                _ => variable::var_decl(self.cursor)?,
            };
            previous = Some(decl.ty);
            self.variable(space, &decl)?;
            if !self.cursor.eat(b',') {
                return self.cursor.expect(b';');
            }
        }
    }

    fn variable(&mut self, space: &str, decl: &variable::VarDecl<'a>) -> Result<()> {
        let line = self.line;
        match (space, decl.range) {
            ("reg", Some(count)) => {
                if self.scope().ranges.len() >= MAX_RANGES {
                    return Err(over_limit(line, "MAX_RANGES"));
                }
                let range = (decl.name, count, decl.ty);
                self.scope().ranges.push(range);
            }
            ("reg", None) => {
                let count = decl.size.map_or(0, |size| size / u64::from(decl.ty.bytes()));
                let local = match count {
                    1 => Local::Reg(self.new_reg(decl.ty)?),
                    2 | 4 => Local::Vector((0..count).map(|_| self.new_reg(decl.ty)).collect::<Result<_>>()?),
                    _ => return self.fail("registers are no arrays"),
                };
                self.scope().names.insert(decl.name, local);
            }
            ("param", _) => {
                let size = decl.size.unwrap_or(0);
                if size > u64::from(MAX_PARAM_BYTES) || self.body.slots.len() >= self.cursor.limits.max_registers {
                    return Err(over_limit(line, "MAX_PARAM_BYTES"));
                }
                self.body.slots.push(Slot { size: size as u32, align: decl.align });
                let slot = self.body.slots.len() as u32 - 1;
                self.scope().names.insert(decl.name, Local::Slot(slot));
            }
            ("local", _) => {
                let at = self.body.local_bytes.next_multiple_of(decl.align);
                let end = u64::from(at) + decl.size.unwrap_or(0);
                if end > self.cursor.limits.max_local_bytes {
                    return Err(over_limit(line, "max_local_bytes"));
                }
                self.body.local_bytes = end as u32;
                self.scope().names.insert(decl.name, Local::Frame(at));
                self.scope().elements.insert(decl.name, decl.element);
            }
            _ => {
                // Function-scope shared variables live in module scope under their own name; a second function
                // may use the name again.
                variable::shared(self.builder, decl, Linkage::Private, line)?;
            }
        }
        Ok(())
    }

    /// Bytes of what an index of the variable counts; 0 if it has none.
    pub(super) fn element(&self, name: &str) -> u32 {
        let scope = self.scopes.iter().rev().find(|scope| scope.names.contains_key(name));
        let found = scope.map_or_else(|| self.builder.elements.get(name), |scope| scope.elements.get(name));
        found.copied().unwrap_or(0)
    }

    pub(super) fn local(&mut self, name: &'a str) -> Result<Option<Local>> {
        for depth in (0..self.scopes.len()).rev() {
            if let Some(local) = self.scopes[depth].names.get(name) {
                return Ok(Some(local.clone()));
            }
            let hit = self.scopes[depth].ranges.iter().find_map(|&(prefix, count, ty)| {
                let digits = name.strip_prefix(prefix)?;
                if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
                    return None;
                }
                digits.parse::<u32>().ok().filter(|&n| n < count).map(|_| ty)
            });
            if let Some(ty) = hit {
                let reg = self.new_reg(ty)?;
                self.scopes[depth].names.insert(name, Local::Reg(reg));
                return Ok(Some(Local::Reg(reg)));
            }
        }
        Ok(None)
    }

    fn instruction(&mut self) -> Result<()> {
        self.line = self.cursor.line();
        let base = self.cursor.name()?;
        let mut mods = Vec::new();
        while let Some(word) = self.cursor.dot() {
            mods.push(word);
            if mods.len() > 24 {
                return self.fail("too many modifiers");
            }
        }
        match base {
            "bra" => {
                let name = self.cursor.name()?;
                let target = self.label_number(name, false)?;
                self.cursor.expect(b';')?;
                self.push(Op::Bra(target), vec![], vec![])
            }
            "brx" => self.branch_indexed(),
            "call" => self.call(),
            _ => {
                let mut operands = Vec::new();
                while self.cursor.peek().kind != Kind::Punct(b';') {
                    operands.push(self.operand(0)?);
                    if operands.len() > 32 {
                        return self.fail("too many operands");
                    }
                    if !self.cursor.eat(b',') {
                        break;
                    }
                }
                self.cursor.expect(b';')?;
                decode::decode(self, base, Mods::new(base, mods), &operands)
            }
        }
    }

    /// A source operand of type `ty`; a register may be wider only where the caller allows that itself.
    pub fn value(&self, raw: &Raw, ty: Type) -> Result<Value> {
        match *raw {
            Raw::Value(v) => Ok(v),
            Raw::Number(n) => match convert(n, ty) {
                Some(bits) => Ok(Value::Int(bits)),
                None => self.fail("a constant of this kind does not fit here"),
            },
            _ => self.fail("a register or constant is needed here"),
        }
    }
}
