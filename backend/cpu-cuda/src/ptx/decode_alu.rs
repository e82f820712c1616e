//! Arithmetic: which operations exist for which types.

use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::decode::Mods;
use crate::ptx::ir::{Alu, Float, Op, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::{Rounding, Type};

fn float_mods(m: &mut Mods<'_>) -> Float {
    let round = m.round().filter(|r| !r.1).map_or(Rounding::Nearest, |r| r.0);
    Float {
        ftz: m.take("ftz"),
        sat: m.take("sat"),
        relu: m.take("relu"),
        nan: m.take("NaN"),
        xorsign: m.take("xorsign") && m.take("abs"),
        round,
        approx: m.take("approx") | m.take("full"),
    }
}

/// Decodes an arithmetic instruction.
pub fn alu(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let base = m.base;
    let Some(ty) = m.ty() else { return p.unsupported(&m) };
    let float = ty.is_float();
    let mods = float_mods(&mut m);
    let half = m.one_of(&["lo", "hi", "wide"]).unwrap_or(if float { "lo" } else { "" });
    let wrap = m.take("wrap");
    let clamp = m.take("clamp");
    let cc = m.take("cc");
    let Some((op, inputs)) = named(&mut m, ops.len(), float, half, cc, wrap) else { return p.unsupported(&m) };
    if (wrap || clamp) && !matches!(base, "shf" | "bmsk" | "szext") {
        return p.unsupported(&m);
    }
    if mods.xorsign && !matches!(op, Alu::Min | Alu::Max) {
        return p.unsupported(&m);
    }
    if !allowed(op, ty) {
        return p.fail(format!("`{base}` does not exist for type {ty:?}"));
    }
    p.need(&m, ops, inputs + 1)?;
    let (result, types) = operand_types(op, ty);
    let carry = carry_of(op);
    if carry.is_some() && p.body.carry.is_none() {
        p.body.carry = Some(p.new_reg(Type::Pred)?);
    }
    let mut src = Vec::with_capacity(inputs + 1);
    for (raw, ty) in ops[1..].iter().zip(types) {
        src.push(p.src(raw, ty, false)?);
    }
    // The flag register of a carry is one more source and one more result.
    let mut dst = vec![p.dst(&ops[0], result, false)?];
    if let (Some((take, give)), Some(carry)) = (carry, p.body.carry) {
        if take {
            src.push(Value::Reg(carry));
        }
        if give {
            dst.push(Some(carry));
        }
    }
    p.emit(&m, Op::Alu(op, ty, mods), dst, src)
}

/// The operation of a name and how many inputs it has: `half` is `lo`, `hi`, `wide` or nothing, `cc` says that the carry is
/// given on.
fn named(m: &mut Mods<'_>, operands: usize, float: bool, half: &str, cc: bool, wrap: bool) -> Option<(Alu, usize)> {
    let op = match (m.base, half) {
        ("add", _) if cc => (Alu::AddCarry { take: false, give: true }, 2),
        ("sub", _) if cc => (Alu::SubCarry { take: false, give: true }, 2),
        ("addc", _) => (Alu::AddCarry { take: true, give: cc }, 2),
        ("subc", _) => (Alu::SubCarry { take: true, give: cc }, 2),
        ("mad", "lo") if cc => (Alu::MadLoCarry { take: false, give: true }, 3),
        ("mad", "hi") if cc => (Alu::MadHiCarry { take: false, give: true }, 3),
        ("madc", "lo") => (Alu::MadLoCarry { take: true, give: cc }, 3),
        ("madc", "hi") => (Alu::MadHiCarry { take: true, give: cc }, 3),
        ("add", _) => (Alu::Add, 2),
        ("sub", _) => (Alu::Sub, 2),
        ("mul", "lo") => (Alu::Mul, 2),
        ("mul", "hi") => (Alu::MulHi, 2),
        ("mul", "wide") => (Alu::MulWide, 2),
        ("mul24", "lo") => (Alu::Mul24, 2),
        ("mul24", "hi") => (Alu::Mul24Hi, 2),
        ("mad", _) if float => (Alu::Fma, 3),
        ("mad", "lo") => (Alu::Mad, 3),
        ("mad", "hi") => (Alu::MadHi, 3),
        ("mad", "wide") => (Alu::MadWide, 3),
        ("mad24", "lo") => (Alu::Mad24, 3),
        ("mad24", "hi") => (Alu::Mad24Hi, 3),
        ("fma", _) if float => (Alu::Fma, 3),
        ("div", _) => (Alu::Div, 2),
        ("rem", _) => (Alu::Rem, 2),
        ("min", _) if operands == 4 => (Alu::Min3, 3),
        ("max", _) if operands == 4 => (Alu::Max3, 3),
        ("min", _) => (Alu::Min, 2),
        ("max", _) => (Alu::Max, 2),
        ("abs", _) => (Alu::Abs, 1),
        ("neg", _) => (Alu::Neg, 1),
        ("and", _) => (Alu::And, 2),
        ("or", _) => (Alu::Or, 2),
        ("xor", _) => (Alu::Xor, 2),
        ("not", _) => (Alu::Not, 1),
        ("cnot", _) => (Alu::Cnot, 1),
        ("shl", _) => (Alu::Shl, 2),
        ("shr", _) => (Alu::Shr, 2),
        ("bfe", _) => (Alu::Bfe, 3),
        ("bfi", _) => (Alu::Bfi, 4),
        ("bmsk", _) => (Alu::Bmsk { wrap }, 2),
        ("szext", _) => (Alu::Szext { wrap }, 2),
        ("brev", _) => (Alu::Brev, 1),
        ("popc", _) => (Alu::Popc, 1),
        ("clz", _) => (Alu::Clz, 1),
        ("bfind", _) => (Alu::Bfind { shift: m.take("shiftamt") }, 1),
        ("fns", _) => (Alu::Fns, 3),
        ("sad", _) => (Alu::Sad, 3),
        ("rcp", _) => (Alu::Rcp, 1),
        ("sqrt", _) => (Alu::Sqrt, 1),
        ("rsqrt", _) => (Alu::Rsqrt, 1),
        ("sin", _) => (Alu::Sin, 1),
        ("cos", _) => (Alu::Cos, 1),
        ("ex2", _) => (Alu::Ex2, 1),
        ("lg2", _) => (Alu::Lg2, 1),
        ("tanh", _) => (Alu::Tanh, 1),
        ("copysign", _) => (Alu::Copysign, 2),
        ("shf", _) if m.take("l") => (Alu::ShfLeft { wrap }, 3),
        ("shf", _) if m.take("r") => (Alu::ShfRight { wrap }, 3),
        _ => return None,
    };
    Some(op)
}

/// Whether the operation takes a carry and whether it gives one on; `None` for one that has none.
fn carry_of(op: Alu) -> Option<(bool, bool)> {
    match op {
        Alu::AddCarry { take, give }
        | Alu::SubCarry { take, give }
        | Alu::MadLoCarry { take, give }
        | Alu::MadHiCarry { take, give } => Some((take, give)),
        _ => None,
    }
}

fn allowed(op: Alu, ty: Type) -> bool {
    use Alu::*;
    let packed = matches!(ty, Type::U16x2 | Type::S16x2 | Type::F16x2 | Type::Bf16x2);
    let integer = ty.is_integer() && ty.bits() >= 16;
    let untyped = matches!(ty, Type::B16 | Type::B32 | Type::B64);
    let wide_float = matches!(ty, Type::F32 | Type::F64);
    let float = ty.is_float() && ty != Type::Tf32;
    match op {
        Add | Min | Max => integer || float || matches!(ty, Type::U16x2 | Type::S16x2),
        Min3 | Max3 => ty == Type::F32 || (ty.is_integer() && ty.bits() == 32),
        Sub | Mul => integer || float,
        Abs | Neg => (integer && ty.is_signed()) || float,
        Fma => float,
        Div => integer || wide_float,
        MulHi | Mad | MadHi | Rem => integer,
        MulWide | MadWide => integer && ty.bits() <= 32,
        Mul24 | Mul24Hi | Mad24 | Mad24Hi => ty.is_integer() && ty.bits() == 32,
        And | Or | Xor | Not => untyped || ty == Type::Pred || (integer && !packed),
        Cnot | Shl => untyped || integer,
        Shr => untyped || integer,
        Bfe | Bfind { .. } => ty.is_integer() && ty.bits() >= 32 || untyped && ty.bits() >= 32,
        Bfi | Brev | Popc | Clz => (untyped || integer) && ty.bits() >= 32,
        ShfLeft { .. } | ShfRight { .. } | Fns | Bmsk { .. } => ty == Type::B32 || ty == Type::U32,
        Szext { .. } => matches!(ty, Type::U32 | Type::S32),
        Sad => integer,
        Rcp | Sqrt | Rsqrt | Copysign => wide_float,
        Sin | Cos | Lg2 => ty == Type::F32,
        Ex2 | Tanh => float && ty != Type::F64,
        AddCarry { .. } | SubCarry { .. } | MadLoCarry { .. } | MadHiCarry { .. } => ty.is_integer() && ty.bits() >= 32,
    }
}

/// Result type and source types.
fn operand_types(op: Alu, ty: Type) -> (Type, [Type; 4]) {
    use Alu::*;
    let wide = match ty {
        Type::U16 => Type::U32,
        Type::S16 => Type::S32,
        Type::U32 => Type::U64,
        _ => Type::S64,
    };
    match op {
        MulWide => (wide, [ty; 4]),
        MadWide => (wide, [ty, ty, wide, ty]),
        Shl | Shr => (ty, [ty, Type::U32, ty, ty]),
        Bfe => (ty, [ty, Type::U32, Type::U32, ty]),
        Bfi => (ty, [ty, ty, Type::U32, Type::U32]),
        Popc | Clz | Bfind { .. } => (Type::U32, [ty; 4]),
        _ => (ty, [ty; 4]),
    }
}
