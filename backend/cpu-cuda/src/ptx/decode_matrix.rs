//! Matrix instructions of a warp: `mma.sync` and `ldmatrix`.

use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::decode::{Mods, space};
use crate::ptx::decode_memory::address;
use crate::ptx::ir::{Collective, Mma, Op, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::{Space, Type};

/// Whether [`decode`] knows the opcode.
pub fn handles(base: &str) -> bool {
    matches!(base, "mma" | "ldmatrix")
}

/// Decodes one of them.
pub fn decode(p: &mut BodyParser<'_, '_, '_>, m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    if m.base == "mma" { multiply(p, m, ops) } else { load(p, m, ops) }
}

/// All lanes take part.
const EVERYONE: Value = Value::Int(0xffff_ffff);

fn multiply(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let all = ["sync", "aligned", "row", "col"].map(|name| m.take(name));
    let shape = m.find(|n| {
        Some(match n {
            "m16n8k4" => (16u8, 4u8),
            "m16n8k8" => (16, 8),
            "m16n8k16" => (16, 16),
            "m16n8k32" => (16, 32),
            "m8n8k16" => (8, 16),
            _ => return None,
        })
    });
    let clamp = m.take("satfinite");
    // From the last to the first.
    let types = [m.ty(), m.ty(), m.ty(), m.ty()];
    let (Some((rows, k)), [Some(c), Some(b), Some(a), Some(d)]) = (shape, types) else { return p.unsupported(&m) };
    let known = match (a, b, c) {
        (Type::F16, Type::F16, Type::F16 | Type::F32) | (Type::Bf16, Type::Bf16, Type::F32) => {
            rows == 16 && matches!(k, 8 | 16) && !clamp
        }
        (Type::Tf32, Type::Tf32, Type::F32) => rows == 16 && matches!(k, 4 | 8) && !clamp,
        (Type::S8 | Type::U8, Type::S8 | Type::U8, Type::S32) => matches!((rows, k), (8, 16) | (16, 16 | 32)),
        _ => false,
    };
    if !known || c != d || all.contains(&false) {
        return p.unsupported(&m);
    }
    p.need(&m, ops, 4)?;
    let bits = usize::from(k) * a.bits() as usize;
    let sizes = [usize::from(rows) * bits / 1024, 8 * bits / 1024];
    let sums = usize::from(rows) / 4 / if c == Type::F16 { 2 } else { 1 };
    let dst = list(p, &ops[0], sums)?.iter().map(|r| p.dst(r, Type::B32, false)).collect::<Result<Vec<_>>>()?;
    let mut src = Vec::new();
    for (raw, count, ty) in [
        (&ops[1], sizes[0], Type::B32),
        (&ops[2], sizes[1], Type::B32),
        (&ops[3], sums, if c == Type::F32 { Type::F32 } else { Type::B32 }),
    ] {
        for part in list(p, raw, count)? {
            src.push(p.src(part, ty, false)?);
        }
    }
    src.push(EVERYONE);
    p.emit(&m, Op::Collective(Collective::Mma(Mma { m: rows, k, a, b, c, clamp }), false), dst, src)
}

fn list<'r>(p: &BodyParser<'_, '_, '_>, raw: &'r Raw, count: usize) -> Result<&'r [Raw]> {
    match raw {
        Raw::Vector(parts) if parts.len() == count => Ok(parts),
        raw if count == 1 && !matches!(raw, Raw::Vector(_)) => Ok(std::slice::from_ref(raw)),
        _ => p.fail("the number of registers does not match the matrix"),
    }
}

fn load(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let all = ["sync", "aligned", "m8n8", "b16"].map(|name| m.take(name));
    let count = m.find(|n| match n {
        "x1" => Some(1u8),
        "x2" => Some(2),
        "x4" => Some(4),
        _ => None,
    });
    let transposed = m.take("trans");
    let space = m.find(space).unwrap_or(Space::Generic);
    let Some(count) = count.filter(|_| matches!(space, Space::Shared | Space::Generic)) else {
        return p.unsupported(&m);
    };
    if all.contains(&false) {
        return p.unsupported(&m);
    }
    p.need(&m, ops, 2)?;
    let parts = list(p, &ops[0], usize::from(count))?;
    let dst = parts.iter().map(|r| p.dst(r, Type::B32, false)).collect::<Result<Vec<_>>>()?;
    let (base, offset) = address(p, &ops[1])?;
    let kind = Collective::LoadMatrix { count, transposed, generic: space == Space::Generic, offset };
    p.emit(&m, Op::Collective(kind, false), dst, vec![base, EVERYONE])
}
