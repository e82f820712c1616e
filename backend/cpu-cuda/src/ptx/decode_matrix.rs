//! Matrix instructions of a warp: `mma.sync`, `ldmatrix`, `stmatrix`, `movmatrix`. `wmma` is in `decode_wmma`.

use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::decode::{Mods, space};
use crate::ptx::decode_memory::address;
use crate::ptx::ir::{Access, Alu, Collective, Element, Float, Fragments, Guard, Mma, Op, Reg, Side, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::{Compare, Space, Special, Type};

/// Whether [`decode`] knows the opcode.
pub fn handles(base: &str) -> bool {
    matches!(base, "mma" | "ldmatrix" | "stmatrix" | "movmatrix")
}

/// Decodes one of them.
pub fn decode(p: &mut BodyParser<'_, '_, '_>, m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    match m.base {
        "mma" => multiply(p, m, ops),
        "movmatrix" => transpose(p, m, ops),
        _ => move_rows(p, m, ops),
    }
}

/// All lanes take part.
pub const EVERYONE: Value = Value::Int(0xffff_ffff);

/// Whether the matrix is given by columns.
pub fn layout(m: &mut Mods<'_>) -> Option<bool> {
    m.find(|n| match n {
        "row" => Some(false),
        "col" => Some(true),
        _ => None,
    })
}

fn multiply(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let all = ["sync", "aligned"].map(|name| m.take(name));
    let layouts = [layout(&mut m), layout(&mut m)];
    let shape = m.find(|n| {
        Some(match n {
            "m16n8k4" => (16, 4),
            "m16n8k8" => (16, 8),
            "m16n8k16" => (16, 16),
            "m16n8k32" => (16, 32),
            "m16n8k64" => (16, 64),
            "m8n8k4" => (8, 4),
            "m8n8k16" => (8, 16),
            "m8n8k32" => (8, 32),
            _ => return None,
        })
    });
    let clamp = m.take("satfinite");
    let types = [(); 4].map(|()| m.find(Element::from_name));
    let (Some((rows, k)), [Some(d), Some(a), Some(b), Some(c)], [Some(a_columns), Some(b_columns)]) =
        (shape, types, layouts)
    else {
        return p.unsupported(&m);
    };
    let quads = (rows, k, a) == (8, 4, Element::F16);
    let fragments = if quads { Fragments::Quads { a_columns, b_rows: !b_columns } } else { Fragments::Mma };
    let mma = Mma { m: rows, n: 8, k, a, b, c, d, fragments, clamp };
    let usual = !a_columns && b_columns && c == d;
    if all.contains(&false) || !exists(&mma) || !(quads || usual) {
        return p.unsupported(&m);
    }
    product(p, &m, mma, ops)
}

/// Whether there is such an `mma`.
fn exists(mma: &Mma) -> bool {
    use Element::*;
    let sums = |list: &[Element]| list.contains(&mma.c) && list.contains(&mma.d);
    match (mma.a, mma.b) {
        (F16, F16) => matches!((mma.m, mma.k), (8, 4) | (16, 8 | 16)) && sums(&[F16, F32]) && !mma.clamp,
        (Bf16, Bf16) => mma.m == 16 && matches!(mma.k, 8 | 16) && sums(&[F32]) && !mma.clamp,
        (Tf32, Tf32) => mma.m == 16 && matches!(mma.k, 4 | 8) && sums(&[F32]) && !mma.clamp,
        (F64, F64) => matches!((mma.m, mma.k), (8, 4) | (16, 4 | 8 | 16)) && sums(&[F64]) && !mma.clamp,
        (E4m3 | E5m2, E4m3 | E5m2) => mma.m == 16 && matches!(mma.k, 16 | 32) && sums(&[F16, F32]) && !mma.clamp,
        (S8 | U8, S8 | U8) => matches!((mma.m, mma.k), (8, 16) | (16, 16 | 32)) && sums(&[S32]),
        (S4 | U4, S4 | U4) => matches!((mma.m, mma.k), (8, 32) | (16, 32 | 64)) && sums(&[S32]),
        _ => false,
    }
}

/// The instruction for a product whose operands are D, A, B and C.
pub fn product(p: &mut BodyParser<'_, '_, '_>, m: &Mods<'_>, mma: Mma, ops: &[Raw]) -> Result<()> {
    p.need(m, ops, 4)?;
    let result = mma.element(Side::D).register();
    let dst = list(p, &ops[0], mma.registers(Side::D))?;
    let dst = dst.iter().map(|r| p.dst(r, result, false)).collect::<Result<Vec<_>>>()?;
    let mut src = Vec::new();
    for (raw, side) in ops[1..].iter().zip([Side::A, Side::B, Side::C]) {
        // The registers of C may be of either kind; those of A and B are untyped.
        let ty = mma.element(side).register();
        for part in list(p, raw, mma.registers(side))? {
            src.push(p.src(part, ty, false)?);
        }
    }
    src.push(EVERYONE);
    p.emit(m, Op::Collective(Collective::Mma(mma), false), dst, src)
}

/// The registers of a fragment.
pub fn list<'r>(p: &BodyParser<'_, '_, '_>, raw: &'r Raw, count: usize) -> Result<&'r [Raw]> {
    match raw {
        Raw::Vector(parts) if parts.len() == count => Ok(parts),
        raw if count == 1 && !matches!(raw, Raw::Vector(_)) => Ok(std::slice::from_ref(raw)),
        _ => p.fail("the number of registers does not match the matrix"),
    }
}

/// `ldmatrix` and `stmatrix`.
fn move_rows(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
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
    let (registers, place) = if m.base == "ldmatrix" { (&ops[0], &ops[1]) } else { (&ops[1], &ops[0]) };
    let parts = list(p, registers, usize::from(count))?;
    let (base, offset) = address(p, place)?;
    if m.base == "ldmatrix" {
        let dst = parts.iter().map(|r| p.dst(r, Type::B32, false)).collect::<Result<Vec<_>>>()?;
        let kind = Collective::LoadMatrix { count, transposed, generic: space == Space::Generic, offset };
        return p.emit(&m, Op::Collective(kind, false), dst, vec![base, EVERYONE]);
    }
    let mut src = parts.iter().map(|r| p.src(r, Type::B32, false)).collect::<Result<Vec<_>>>()?;
    src.push(EVERYONE);
    let row = (0..4).map(|_| p.new_reg(Type::B32)).collect::<Result<Vec<Reg>>>()?;
    let kind = Collective::StoreMatrix { count, transposed };
    p.emit(&m, Op::Collective(kind, false), row.iter().map(|&r| Some(r)).collect(), src)?;
    store_row(p, Access { space, ty: Type::B32, offset, strong: false }, base, 8 * u64::from(count), &row)
}

/// Has the first `lanes` lanes store their rows.
fn store_row(p: &mut BodyParser<'_, '_, '_>, access: Access, base: Value, lanes: u64, row: &[Reg]) -> Result<()> {
    let (lane, mut own) = (p.new_reg(Type::U32)?, p.new_reg(Type::Pred)?);
    p.push(Op::Mov(Type::U32), vec![Some(lane)], vec![Value::Special(Special::LaneId)])?;
    let below = Op::Setp(Compare::Lt, None, Type::U32, false);
    p.push(below, vec![Some(own)], vec![Value::Reg(lane), Value::Int(lanes)])?;
    let guard = p.guard;
    if let Some(guard) = guard {
        let both = p.new_reg(Type::Pred)?;
        let other = if guard.negated { Value::NotReg(guard.reg) } else { Value::Reg(guard.reg) };
        p.push(Op::Alu(Alu::And, Type::Pred, Float::default()), vec![Some(both)], vec![Value::Reg(own), other])?;
        own = both;
    }
    p.guard = Some(Guard { reg: own, negated: false });
    let mut src = vec![base];
    src.extend(row.iter().map(|&r| Value::Reg(r)));
    let stored = p.push(Op::Store(access), vec![], src);
    p.guard = guard;
    stored
}

fn transpose(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let all = ["sync", "aligned", "m8n8", "trans", "b16"].map(|name| m.take(name));
    if all.contains(&false) {
        return p.unsupported(&m);
    }
    p.need(&m, ops, 2)?;
    let dst = vec![p.dst(&ops[0], Type::B32, false)?];
    let src = vec![p.src(&ops[1], Type::B32, false)?, EVERYONE];
    p.emit(&m, Op::Collective(Collective::TransposeMatrix, false), dst, src)
}
