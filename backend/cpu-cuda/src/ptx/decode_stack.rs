//! Memory on a thread's stack: `alloca` and its kin.

use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::decode::Mods;
use crate::ptx::ir::{Op, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::Type;

/// Memory that lives as long as the function's call (PTX ISA, Stack Manipulation Instructions).
pub fn decode(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let Some(ty) = m.ty().filter(|ty| matches!(ty, Type::U32 | Type::U64)) else { return p.unsupported(&m) };
    let reg = match p.body.stack {
        Some(reg) => reg,
        None => p.new_reg(Type::U64)?,
    };
    p.body.stack = Some(reg);
    let top = Value::Reg(reg);
    match m.base {
        "alloca" => {
            if ops.len() != 3 {
                p.need(&m, ops, 2)?;
            }
            let align = match ops.get(2).map(|raw| p.value(raw, Type::U32)).transpose()? {
                None => 8,
                Some(Value::Int(align)) if align.is_power_of_two() && align <= 1 << 23 => align as u32,
                Some(_) => return p.fail("an alignment is a power of two, a constant"),
            };
            let (dst, size) = (p.dst(&ops[0], ty, false)?, p.src(&ops[1], ty, false)?);
            p.emit(&m, Op::Alloca(align), vec![dst, Some(reg)], vec![size, top])
        }
        "stacksave" => {
            p.need(&m, ops, 1)?;
            let dst = vec![p.dst(&ops[0], ty, false)?];
            p.emit(&m, Op::StackAddress { back: false }, dst, vec![top])
        }
        _ => {
            p.need(&m, ops, 1)?;
            let src = vec![p.src(&ops[0], ty, false)?];
            p.emit(&m, Op::StackAddress { back: true }, vec![Some(reg)], src)
        }
    }
}
