//! Operands: names, constants, addresses, vectors, pairs.

use crate::ptx::body::{BodyParser, Local, Raw};
use crate::ptx::ir::{Reg, Value, offset_value};
use crate::ptx::lexer::Kind;
use crate::ptx::parser::{Number, Result};
use crate::ptx::symbols::Symbol;
use crate::ptx::types::{Special, Type};

impl<'a> BodyParser<'a, '_, '_> {
    /// What a name means as an operand.
    pub(super) fn named(&mut self, name: &'a str) -> Result<Raw> {
        if name == "_" {
            return Ok(Raw::Sink);
        }
        if let Some(local) = self.local(name)? {
            if let Local::Vector(regs) = local {
                return self.vector(name, &regs);
            }
            if let (Local::Reg(r), Some(part)) = (&local, self.part()) {
                return Ok(Raw::Part(*r, part.to_owned()));
            }
            return Ok(Raw::Value(match local {
                Local::Reg(r) => Value::Reg(r),
                Local::Slot(n) => Value::Slot(n, 0),
                Local::Frame(at) => Value::Local(i64::from(at)),
                Local::In(at) => Value::In(i64::from(at)),
                Local::Out(at) => Value::Out(i64::from(at)),
                Local::Vector(_) | Local::Prototype(_) | Local::Targets(_) => {
                    return self.fail(format!("`{name}` is no operand"));
                }
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

    /// A register that is a vector, or the element of it that a component names.
    fn vector(&mut self, name: &str, regs: &[Reg]) -> Result<Raw> {
        let Some(component) = self.cursor.dot() else {
            return Ok(Raw::Vector(regs.iter().map(|&r| Raw::Value(Value::Reg(r))).collect()));
        };
        let names = [["x", "r"], ["y", "g"], ["z", "b"], ["w", "a"]];
        match names.iter().position(|pair| pair.contains(&component)).and_then(|n| regs.get(n)) {
            Some(&reg) => Ok(Raw::Value(Value::Reg(reg))),
            None => self.fail(format!("`{name}` has no component `{component}`")),
        }
    }

    /// What is picked out of a register: `.b` or `.h` and digits.
    fn part(&mut self) -> Option<&'a str> {
        let token = self.cursor.peek();
        let digits = token.text.strip_prefix(['b', 'h']).filter(|digits| (1..=4).contains(&digits.len()))?;
        let is_part = token.kind == Kind::Dot && digits.bytes().all(|b| b.is_ascii_digit());
        is_part.then(|| self.cursor.next().text)
    }

    pub(super) fn operand(&mut self, depth: usize) -> Result<Raw> {
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
        if let Raw::Value(v) = value
            && self.cursor.eat(b'[')
        {
            return self.indexed(name, v);
        }
        Ok(value)
    }

    /// `name[N]`, from after the bracket: the address of an element. PTX ISA, Arrays as Operands.
    fn indexed(&mut self, name: &str, base: Value) -> Result<Raw> {
        let index = self.cursor.constant()?.int().unwrap_or(0) as i64;
        self.cursor.expect(b']')?;
        let element = match self.element(name) {
            0 => return self.fail(format!("`{name}` is no array to be indexed")),
            element => i64::from(element),
        };
        match index.checked_mul(element).and_then(|add| offset_value(base, add)) {
            Some(at) => Ok(Raw::Value(at)),
            None => self.fail(format!("`{name}` is no array to be indexed")),
        }
    }

    pub(super) fn list(&mut self, close: u8, depth: usize) -> Result<Vec<Raw>> {
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

    pub(super) fn address(&mut self, depth: usize) -> Result<Raw> {
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
}
