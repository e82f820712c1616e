//! Function bodies: scopes, declarations, labels, and the shape of instructions.
//!
//! What an instruction means is for `decode`; this file turns its text into [`Raw`] operands with all names resolved.

use std::collections::HashMap;

use crate::engine::MAX_PARAM_BYTES;
use crate::ptx::decode::{self, Mods};
use crate::ptx::ir::{Access, Body, Callee, Guard, Inst, Op, Reg, Signature, Slot, Value, offset_value};
use crate::ptx::lexer::Kind;
use crate::ptx::module::{self, convert};
use crate::ptx::parser::{Cursor, Number, Result, invalid, over_limit};
use crate::ptx::symbols::{Builder, Linkage, Symbol};
use crate::ptx::types::{Space, Special, Type};

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
    /// `[base + offset]`
    Address(Value, i64),
    /// `[a, b, ...]`
    List(Vec<Raw>),
}

#[derive(Clone)]
enum Local {
    Reg(Reg),
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
    line: u32,
    guard: Option<Guard>,
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

    fn label_number(&mut self, name: &'a str, place: bool) -> Result<u32> {
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
                    && matches!(self.cursor.peek().kind, Kind::Punct(b',' | b'+') | Kind::Name | Kind::Int(_) | Kind::Dot)
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
                    module::VarDecl {
                        ty,
                        align: 1,
                        name,
                        size: Some(u64::from(ty.bytes())),
                        range,
                        opaque: None,
                        managed: false,
                    }
                }
                _ => module::var_decl(self.cursor)?,
            };
            previous = Some(decl.ty);
            self.variable(space, &decl)?;
            if !self.cursor.eat(b',') {
                return self.cursor.expect(b';');
            }
        }
    }

    fn variable(&mut self, space: &str, decl: &module::VarDecl<'a>) -> Result<()> {
        let line = self.line;
        match (space, decl.range) {
            ("reg", Some(count)) => {
                let range = (decl.name, count, decl.ty);
                self.scope().ranges.push(range);
            }
            ("reg", None) => {
                if decl.size != Some(u64::from(decl.ty.bytes())) {
                    return self.fail("registers that are vectors or arrays are not supported");
                }
                let reg = self.new_reg(decl.ty)?;
                self.scope().names.insert(decl.name, Local::Reg(reg));
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
            }
            _ => {
                // Function-scope shared variables live in module scope under their own name; a second function
                // may use the name again.
                module::shared(self.builder, decl, Linkage::Private, line)?;
            }
        }
        Ok(())
    }

    fn local(&mut self, name: &'a str) -> Result<Option<Local>> {
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

    /// What a name means as an operand.
    fn named(&mut self, name: &'a str) -> Result<Raw> {
        if name == "_" {
            return Ok(Raw::Sink);
        }
        if let Some(local) = self.local(name)? {
            return Ok(Raw::Value(match local {
                Local::Reg(r) => Value::Reg(r),
                Local::Slot(n) => Value::Slot(n, 0),
                Local::Frame(at) => Value::Local(i64::from(at)),
                Local::In(at) => Value::In(i64::from(at)),
                Local::Out(at) => Value::Out(i64::from(at)),
                Local::Prototype(_) | Local::Targets(_) => return self.fail(format!("`{name}` is no operand")),
            }));
        }
        if name.starts_with('%') {
            let component = match self.cursor.peek() {
                t if t.kind == Kind::Dot => ["x", "y", "z", "w"].iter().position(|&c| c == t.text),
                _ => None,
            };
            let special = Special::from_name(name, component.map(|c| c as u8));
            return match (special, component) {
                // The fourth component of these vectors is always 0.
                (Some(_), Some(3)) => {
                    self.cursor.next();
                    Ok(Raw::Number(Number::Int(0)))
                }
                (Some(special), Some(_)) => {
                    self.cursor.next();
                    Ok(Raw::Value(Value::Special(special)))
                }
                (Some(special), None) => Ok(Raw::Value(Value::Special(special))),
                _ => self.fail(format!("unknown register `{name}`")),
            };
        }
        let Some(symbol) = self.builder.find(name) else { return self.fail(format!("unknown symbol `{name}`")) };
        self.builder.note_use(symbol, self.line, true);
        Ok(Raw::Value(match symbol {
            Symbol::Function(n) => Value::Function(n),
            Symbol::Global(n) => Value::Global(n, 0),
            Symbol::Shared(n) => Value::Shared(n, 0),
            Symbol::Texture(n) => Value::Texture(n),
            Symbol::Surface(n) => Value::Surface(n),
            Symbol::Sampler(_) => Value::Int(0),
        }))
    }

    fn operand(&mut self, depth: usize) -> Result<Raw> {
        if depth > 3 {
            return self.fail("operands are nested too deep");
        }
        if self.cursor.at_constant() {
            return Ok(Raw::Number(self.cursor.constant()?));
        }
        if self.cursor.eat(b'{') {
            return Ok(Raw::Vector(self.list(b'}', depth)?));
        }
        if self.cursor.eat(b'[') {
            return self.address(depth);
        }
        if self.cursor.eat(b'!') {
            let name = self.cursor.name()?;
            return match self.named(name)? {
                Raw::Value(Value::Reg(r)) if self.body.regs[r as usize] == Type::Pred => {
                    Ok(Raw::Value(Value::NotReg(r)))
                }
                _ => self.fail(format!("`{name}` is no predicate")),
            };
        }
        let name = self.cursor.name()?;
        let value = self.named(name)?;
        if self.cursor.eat(b'|') {
            let name = self.cursor.name()?;
            let other = self.named(name)?;
            let reg = |raw: &Raw| match raw {
                Raw::Value(Value::Reg(r)) => Some(Some(*r)),
                Raw::Sink => Some(None),
                _ => None,
            };
            return match (reg(&value), reg(&other)) {
                (Some(a), Some(b)) => Ok(Raw::Pair(a, b)),
                _ => self.fail("a pair of destinations must be registers"),
            };
        }
        if let Raw::Value(v) = value
            && !matches!(v, Value::Reg(_) | Value::Special(_))
            && matches!(self.cursor.peek().kind, Kind::Punct(b'+' | b'-'))
        {
            let add = self.cursor.constant()?.int().unwrap_or(0) as i64;
            return match offset_value(v, add) {
                Some(v) => Ok(Raw::Value(v)),
                None => self.fail("nothing can be added to this"),
            };
        }
        Ok(value)
    }

    fn list(&mut self, close: u8, depth: usize) -> Result<Vec<Raw>> {
        let mut items = Vec::new();
        while !self.cursor.eat(close) {
            items.push(self.operand(depth + 1)?);
            if items.len() > 128 {
                return self.fail("too many operands");
            }
            if !self.cursor.eat(b',') {
                self.cursor.expect(close)?;
                break;
            }
        }
        Ok(items)
    }

    fn address(&mut self, depth: usize) -> Result<Raw> {
        let base = self.operand(depth + 1)?;
        if self.cursor.eat(b',') {
            let mut items = vec![base];
            items.extend(self.list(b']', depth)?);
            return Ok(Raw::List(items));
        }
        let mut offset = 0i64;
        if matches!(self.cursor.peek().kind, Kind::Punct(b'+' | b'-')) {
            offset = self.cursor.constant()?.int().unwrap_or(0) as i64;
        }
        self.cursor.expect(b']')?;
        match base {
            Raw::Value(v) if !matches!(v, Value::NotReg(_)) => Ok(Raw::Address(v, offset)),
            Raw::Number(Number::Int(v)) => Ok(Raw::Address(Value::Int(v), offset)),
            _ => self.fail("this is no address"),
        }
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

    fn branch_indexed(&mut self) -> Result<()> {
        let Raw::Value(index @ Value::Reg(_)) = self.operand(0)? else {
            return self.fail("the index of `brx.idx` is a register");
        };
        self.cursor.expect(b',')?;
        let name = self.cursor.name()?;
        let Some(Local::Targets(targets)) = self.local(name)? else {
            return self.fail(format!("`{name}` is no list of branch targets"));
        };
        self.cursor.expect(b';')?;
        self.push(Op::Brx(targets), vec![], vec![index])
    }

    /// A call's argument as a slot; registers and constants get a slot of their own.
    fn argument(&mut self, raw: &Raw, shape: (u32, u32)) -> Result<u32> {
        if let Raw::Value(Value::Slot(n, 0)) = *raw {
            if self.body.slots[n as usize].size < shape.0 {
                return self.fail("a call's parameter is too small");
            }
            return Ok(n);
        }
        let ty = match shape.0 {
            1 => Type::B8,
            2 => Type::B16,
            4 => Type::B32,
            8 => Type::B64,
            _ => return self.fail("a call's parameter does not match"),
        };
        self.body.slots.push(Slot { size: shape.0, align: shape.1 });
        let slot = self.body.slots.len() as u32 - 1;
        let value = self.value(raw, ty)?;
        let access = Access { space: Space::Param, ty, offset: 0, strong: false };
        self.push(Op::Store(access), vec![], vec![Value::Slot(slot, 0), value])?;
        Ok(slot)
    }

    fn call(&mut self) -> Result<()> {
        let mut results = Vec::new();
        if self.cursor.eat(b'(') {
            results = self.list(b')', 0)?;
            self.cursor.expect(b',')?;
        }
        let name = self.cursor.name()?;
        let pointer = match self.local(name)? {
            Some(Local::Reg(r)) => Some(Value::Reg(r)),
            _ => None,
        };
        let mut args = Vec::new();
        let mut prototype = None;
        if self.cursor.eat(b',') {
            if self.cursor.eat(b'(') {
                args = self.list(b')', 0)?;
                if self.cursor.eat(b',') {
                    prototype = Some(self.cursor.name()?);
                }
            } else {
                prototype = Some(self.cursor.name()?);
            }
        }
        self.cursor.expect(b';')?;
        let (callee, signature, src) = match pointer {
            Some(value) => {
                let Some(Local::Prototype(signature)) = prototype.map(|p| self.local(p)).transpose()?.flatten() else {
                    return self.fail("an indirect call needs a `.callprototype`");
                };
                (Callee::Pointer { signature }, signature, vec![value])
            }
            None => match self.builder.find(name) {
                Some(symbol @ Symbol::Function(n)) => {
                    self.builder.note_use(symbol, self.line, false);
                    (Callee::Function(n), self.builder.functions[n as usize].signature, vec![])
                }
                _ => return self.fail(format!("`{name}` is no function")),
            },
        };
        let shape = self.builder.signatures[signature as usize].clone();
        if shape.params.len() != args.len() || shape.results.len() < results.len() {
            return self.fail(format!("`{name}` is called with the wrong number of parameters"));
        }
        let mut slots = Vec::new();
        for (raw, &item) in args.iter().zip(&shape.params) {
            slots.push(self.argument(raw, item)?);
        }
        let mut result_slots = Vec::new();
        let mut loads = Vec::new();
        for (index, &item) in shape.results.iter().enumerate() {
            match results.get(index) {
                Some(Raw::Value(Value::Reg(r))) => {
                    self.body.slots.push(Slot { size: item.0, align: item.1 });
                    let slot = self.body.slots.len() as u32 - 1;
                    let ty = self.body.regs[*r as usize];
                    if ty.bytes() != item.0 {
                        return self.fail("a call's result does not match");
                    }
                    loads.push((*r, ty, slot));
                    result_slots.push(slot);
                }
                Some(raw @ Raw::Value(Value::Slot(..))) => result_slots.push(self.argument(raw, item)?),
                None | Some(Raw::Sink) => {
                    self.body.slots.push(Slot { size: item.0, align: item.1 });
                    result_slots.push(self.body.slots.len() as u32 - 1);
                }
                _ => return self.fail("a call's result is no register or parameter"),
            }
        }
        self.push(Op::Call(callee, slots, result_slots), vec![], src)?;
        for (reg, ty, slot) in loads {
            let access = Access { space: Space::Param, ty, offset: 0, strong: false };
            self.push(Op::Load(access), vec![Some(reg)], vec![Value::Slot(slot, 0)])?;
        }
        Ok(())
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
