//! Calls and indexed branches: the instructions whose operands are lists of names.

use crate::ptx::body::{BodyParser, Local, Raw};
use crate::ptx::ir::{Access, Callee, Op, Slot, Value};
use crate::ptx::parser::Result;
use crate::ptx::symbols::Symbol;
use crate::ptx::types::{Space, Type};

impl BodyParser<'_, '_, '_> {
    pub(super) fn branch_indexed(&mut self) -> Result<()> {
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
    pub(super) fn argument(&mut self, raw: &Raw, shape: (u32, u32)) -> Result<u32> {
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

    pub(super) fn call(&mut self) -> Result<()> {
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
                    (Callee::Function(n), self.builder.signature_of(n), vec![])
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
}
