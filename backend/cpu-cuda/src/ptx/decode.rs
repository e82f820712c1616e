//! Instructions: from opcode, modifiers and operands to a typed [`Op`], or to an error that names what is wrong.
//!
//! To add an instruction: a line in [`decode`], a decoder that takes every modifier it understands (what is left over
//! is an error), an [`Op`], and its code in `jit/`.

use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::ir::{Alu, Cvt, Float, Op, Prmt, Reg, Testp, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::{Compare, Logic, Rounding, Space, Special, Type};
use crate::ptx::{decode_memory, decode_warp};

/// The modifiers of an opcode; decoders take what they know.
pub struct Mods<'a> {
    /// The opcode without modifiers.
    pub base: &'a str,
    list: Vec<&'a str>,
}

impl<'a> Mods<'a> {
    /// All of them.
    pub fn new(base: &'a str, list: Vec<&'a str>) -> Mods<'a> {
        Mods { base, list }
    }

    /// Takes modifier `name` if it is there.
    pub fn take(&mut self, name: &str) -> bool {
        match self.list.iter().position(|&m| m == name) {
            Some(at) => {
                self.list.remove(at);
                true
            }
            None => false,
        }
    }

    /// Takes the first modifier for which `pick` knows a meaning.
    pub fn find<T>(&mut self, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, value) = self.list.iter().enumerate().find_map(|(n, m)| pick(m).map(|v| (n, v)))?;
        self.list.remove(at);
        Some(value)
    }

    /// Takes the first of `names` that is there.
    pub fn one_of(&mut self, names: &[&'static str]) -> Option<&'static str> {
        self.find(|m| names.iter().copied().find(|&n| n == m))
    }

    /// Takes the last modifier that is a type.
    pub fn ty(&mut self) -> Option<Type> {
        let (at, ty) = self.list.iter().enumerate().rev().find_map(|(n, m)| Type::from_name(m).map(|t| (n, t)))?;
        self.list.remove(at);
        Some(ty)
    }

    /// Drops modifiers that start so.
    pub fn drop_prefixed(&mut self, prefix: &str) {
        self.list.retain(|m| !m.starts_with(prefix));
    }

    fn round(&mut self) -> Option<(Rounding, bool)> {
        self.find(|m| {
            Some(match m {
                "rn" => (Rounding::Nearest, false),
                "rz" => (Rounding::Zero, false),
                "rm" => (Rounding::Down, false),
                "rp" => (Rounding::Up, false),
                "rna" => (Rounding::Away, false),
                "rni" => (Rounding::Nearest, true),
                "rzi" => (Rounding::Zero, true),
                "rmi" => (Rounding::Down, true),
                "rpi" => (Rounding::Up, true),
                _ => return None,
            })
        })
    }
}

impl BodyParser<'_, '_, '_> {
    /// The error for a combination the engine does not have.
    pub fn unsupported<T>(&self, mods: &Mods<'_>) -> Result<T> {
        let rest: String = mods.list.iter().flat_map(|m| [".", m]).collect();
        self.fail(format!("unsupported instruction `{}{rest}`", mods.base))
    }

    /// Adds the instruction if every modifier was understood.
    pub fn emit(&mut self, mods: &Mods<'_>, op: Op, dst: Vec<Option<Reg>>, src: Vec<Value>) -> Result<()> {
        if !mods.list.is_empty() {
            return self.unsupported(mods);
        }
        self.push(op, dst, src)
    }

    /// Fails unless there are `count` operands.
    pub fn need(&self, mods: &Mods<'_>, operands: &[Raw], count: usize) -> Result<()> {
        if operands.len() == count {
            return Ok(());
        }
        self.fail(format!("`{}` takes {count} operands, not {}", mods.base, operands.len()))
    }

    fn fits(&self, reg: Reg, ty: Type, wider: bool) -> Result<()> {
        let have = self.body.regs[reg as usize];
        let equal = (have == Type::Pred) == (ty == Type::Pred) && have.bits() == ty.bits();
        if equal || (wider && have != Type::Pred && ty != Type::Pred && have.bits() >= ty.bits()) {
            return Ok(());
        }
        self.fail(format!("a register of type {have:?} stands where {ty:?} is needed"))
    }

    /// A destination of type `ty`, or the sink.
    pub fn dst(&self, raw: &Raw, ty: Type, wider: bool) -> Result<Option<Reg>> {
        match *raw {
            Raw::Sink => Ok(None),
            Raw::Value(Value::Reg(r)) => self.fits(r, ty, wider).map(|()| Some(r)),
            _ => self.fail("a destination must be a register"),
        }
    }

    /// A source of type `ty`.
    pub fn src(&self, raw: &Raw, ty: Type, wider: bool) -> Result<Value> {
        let value = self.value(raw, ty)?;
        if let Value::Reg(r) = value {
            self.fits(r, ty, wider)?;
        }
        if matches!(value, Value::NotReg(_)) && ty != Type::Pred {
            return self.fail("a predicate stands where a value is needed");
        }
        Ok(value)
    }
}

/// Checks one instruction and adds it to the body.
pub fn decode(p: &mut BodyParser<'_, '_, '_>, base: &str, mods: Mods<'_>, ops: &[Raw]) -> Result<()> {
    match base {
        "mov" => mov(p, mods, ops),
        "add" | "sub" | "mul" | "mad" | "fma" | "div" | "rem" | "min" | "max" | "abs" | "neg" | "and" | "or" | "xor"
        | "not" | "cnot" | "shl" | "shr" | "bfe" | "bfi" | "brev" | "popc" | "clz" | "bfind" | "sad" | "mul24"
        | "mad24" | "addc" | "subc" | "madc" | "rcp" | "sqrt" | "rsqrt" | "sin" | "cos" | "ex2" | "lg2" | "tanh"
        | "copysign" | "shf" | "fns" | "bmsk" | "szext" => alu(p, mods, ops),
        "setp" => setp(p, mods, ops),
        "set" => set(p, mods, ops),
        "selp" => {
            let mut m = mods;
            p.need(&m, ops, 4)?;
            let Some(ty) = m.ty() else { return p.unsupported(&m) };
            let src = vec![p.src(&ops[1], ty, false)?, p.src(&ops[2], ty, false)?, p.src(&ops[3], Type::Pred, false)?];
            let dst = vec![p.dst(&ops[0], ty, false)?];
            p.emit(&m, Op::Selp(ty), dst, src)
        }
        "slct" => {
            let mut m = mods;
            p.need(&m, ops, 4)?;
            m.take("ftz");
            let (Some(cty), Some(ty)) = (m.ty(), m.ty()) else { return p.unsupported(&m) };
            if !matches!(cty, Type::S32 | Type::F32) {
                return p.unsupported(&m);
            }
            let src = vec![p.src(&ops[1], ty, false)?, p.src(&ops[2], ty, false)?, p.src(&ops[3], cty, false)?];
            let dst = vec![p.dst(&ops[0], ty, false)?];
            p.emit(&m, Op::Slct(ty, cty), dst, src)
        }
        "testp" => testp(p, mods, ops),
        "lop3" => lop3(p, mods, ops),
        "prmt" => prmt(p, mods, ops),
        "dp4a" | "dp2a" => dot_product(p, mods, ops),
        "cvt" => cvt(p, mods, ops),
        "ret" | "exit" | "trap" | "brkpt" | "nanosleep" | "pmevent" | "setmaxnreg" | "griddepcontrol" => {
            let mut m = mods;
            m.take("uni");
            match base {
                "ret" => p.emit(&m, Op::Ret, vec![], vec![]),
                "exit" => p.emit(&m, Op::Exit, vec![], vec![]),
                "trap" | "brkpt" => p.emit(&m, Op::Trap, vec![], vec![]),
                "nanosleep" => {
                    m.take("u32");
                    p.emit(&m, Op::Yield, vec![], vec![])
                }
                _ => p.push(Op::Nop, vec![], vec![]),
            }
        }
        _ if decode_memory::handles(base) => decode_memory::decode(p, mods, ops),
        _ if decode_warp::handles(base) => decode_warp::decode(p, mods, ops),
        _ => p.unsupported(&mods),
    }
}

fn mov(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    p.need(&m, ops, 2)?;
    let Some(ty) = m.ty() else { return p.unsupported(&m) };
    match (&ops[0], &ops[1]) {
        (Raw::Vector(parts), Raw::Vector(sources)) if parts.len() == sources.len() && !parts.is_empty() => {
            let part = if (ty.bits() as usize).is_multiple_of(8 * parts.len()) { ty.bits() / parts.len() as u32 } else { 0 };
            let Some(part) = part_type(part) else { return p.unsupported(&m) };
            let dst = parts.iter().map(|d| p.dst(d, part, false)).collect::<Result<Vec<_>>>()?;
            let src = sources.iter().map(|s| p.src(s, part, false)).collect::<Result<Vec<_>>>()?;
            for (d, s) in dst.into_iter().zip(src) {
                p.emit(&m, Op::Mov(part), vec![d], vec![s])?;
            }
            Ok(())
        }
        (Raw::Vector(parts), source) => {
            let Some(part) = parts_of(ty, parts.len()) else { return p.unsupported(&m) };
            let dst = parts.iter().map(|d| p.dst(d, part, false)).collect::<Result<Vec<_>>>()?;
            let src = vec![p.src(source, ty, false)?];
            p.emit(&m, Op::Unpack(ty), dst, src)
        }
        (_, Raw::Vector(parts)) => {
            let Some(part) = parts_of(ty, parts.len()) else { return p.unsupported(&m) };
            let dst = vec![p.dst(&ops[0], ty, false)?];
            let src = parts.iter().map(|s| p.src(s, part, false)).collect::<Result<Vec<_>>>()?;
            p.emit(&m, Op::Pack(ty), dst, src)
        }
        _ => {
            let mut value = p.src(&ops[1], ty, false)?;
            // `%clock64` and its like are 64 bits wide whatever the register.
            if let Value::Special(Special::GridId) = value
                && ty.bits() == 32
            {
                value = Value::Int(0);
            }
            let dst = vec![p.dst(&ops[0], ty, false)?];
            p.emit(&m, Op::Mov(ty), dst, vec![value])
        }
    }
}

fn part_type(bits: u32) -> Option<Type> {
    Some(match bits {
        8 => Type::B8,
        16 => Type::B16,
        32 => Type::B32,
        64 => Type::B64,
        _ => return None,
    })
}

fn parts_of(ty: Type, count: usize) -> Option<Type> {
    if !matches!(count, 2 | 4) || ty == Type::Pred {
        return None;
    }
    part_type(ty.bits() / count as u32)
}

fn float_mods(m: &mut Mods<'_>) -> Float {
    let round = m.round().filter(|r| !r.1).map_or(Rounding::Nearest, |r| r.0);
    Float {
        ftz: m.take("ftz"),
        sat: m.take("sat"),
        relu: m.take("relu"),
        nan: m.take("NaN"),
        round,
        approx: m.take("approx") | m.take("full"),
    }
}

/// Sources an operation takes, and whether it is one of floats, of integers, of untyped bits.
fn alu(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let base = m.base;
    let Some(ty) = m.ty() else { return p.unsupported(&m) };
    let float = ty.is_float();
    let mods = float_mods(&mut m);
    let half = m.one_of(&["lo", "hi", "wide"]).unwrap_or(if float { "lo" } else { "" });
    let wrap = m.take("wrap");
    let clamp = m.take("clamp");
    let cc = m.take("cc");
    let (op, inputs) = match (base, half) {
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
        ("min", _) if ops.len() == 4 => (Alu::Min3, 3),
        ("max", _) if ops.len() == 4 => (Alu::Max3, 3),
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
        _ => return p.unsupported(&m),
    };
    if (wrap || clamp) && !matches!(base, "shf" | "bmsk" | "szext") {
        return p.unsupported(&m);
    }
    if !allowed(op, ty) {
        return p.fail(format!("`{base}` does not exist for type {ty:?}"));
    }
    p.need(&m, ops, inputs + 1)?;
    let (result, types) = operand_types(op, ty);
    if matches!(
        op,
        Alu::AddCarry { .. } | Alu::SubCarry { .. } | Alu::MadLoCarry { .. } | Alu::MadHiCarry { .. }
    ) && p.body.carry.is_none()
    {
        p.body.carry = Some(p.new_reg(Type::Pred)?);
    }
    let mut src = Vec::with_capacity(inputs + 1);
    for (raw, ty) in ops[1..].iter().zip(types) {
        src.push(p.src(raw, ty, false)?);
    }
    // `shfl`-like second result of a carry: the flag register, read and written as its neighbours say.
    let mut dst = vec![match &ops[0] {
        Raw::Pair(a, _) => *a,
        raw => p.dst(raw, result, false)?,
    }];
    if let (Alu::AddCarry { take, give } | Alu::SubCarry { take, give } | Alu::MadLoCarry { take, give }
        | Alu::MadHiCarry { take, give }, Some(carry)) = (op, p.body.carry)
    {
        if take {
            src.push(Value::Reg(carry));
        }
        if give {
            dst.push(Some(carry));
        }
    }
    p.emit(&m, Op::Alu(op, ty, mods), dst, src)
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
        AddCarry { .. } | SubCarry { .. } | MadLoCarry { .. } | MadHiCarry { .. } => {
            ty.is_integer() && ty.bits() >= 32
        }
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

fn compare_and_logic(m: &mut Mods<'_>) -> (Option<Compare>, Option<Logic>, bool) {
    let compare = m.find(Compare::from_name);
    let logic = m.find(|n| match n {
        "and" => Some(Logic::And),
        "or" => Some(Logic::Or),
        "xor" => Some(Logic::Xor),
        _ => None,
    });
    (compare, logic, m.take("ftz"))
}

fn comparable(compare: Compare, ty: Type) -> bool {
    use Compare::*;
    match ty {
        Type::B16 | Type::B32 | Type::B64 => matches!(compare, Eq | Ne),
        _ if ty.is_float() => ty != Type::Tf32,
        _ if ty.is_integer() && ty.bits() >= 16 => matches!(compare, Eq | Ne | Lt | Le | Gt | Ge),
        _ => false,
    }
}

fn setp(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let (Some(compare), logic, ftz) = compare_and_logic(&mut m) else { return p.unsupported(&m) };
    let Some(ty) = m.ty().filter(|&t| comparable(compare, t)) else { return p.unsupported(&m) };
    p.need(&m, ops, 3 + usize::from(logic.is_some()))?;
    let mut src = vec![p.src(&ops[1], ty, false)?, p.src(&ops[2], ty, false)?];
    if logic.is_some() {
        src.push(p.src(&ops[3], Type::Pred, false)?);
    }
    let dst = match ops[0] {
        Raw::Pair(a, b) => {
            for reg in [a, b].into_iter().flatten() {
                p.dst(&Raw::Value(Value::Reg(reg)), Type::Pred, false)?;
            }
            vec![a, b]
        }
        ref raw => vec![p.dst(raw, Type::Pred, false)?],
    };
    p.emit(&m, Op::Setp(compare, logic, ty, ftz), dst, src)
}

fn set(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let (Some(compare), logic, ftz) = compare_and_logic(&mut m) else { return p.unsupported(&m) };
    let Some(ty) = m.ty().filter(|&t| comparable(compare, t)) else { return p.unsupported(&m) };
    let Some(to) = m.ty() else { return p.unsupported(&m) };
    let packed = |t: Type| matches!(t, Type::F16x2 | Type::Bf16x2);
    let good = if packed(ty) { to.bits() == 32 && to != Type::F32 } else { matches!(to.bits(), 16 | 32) && !packed(to) };
    if !good {
        return p.unsupported(&m);
    }
    p.need(&m, ops, 3 + usize::from(logic.is_some()))?;
    let mut src = vec![p.src(&ops[1], ty, false)?, p.src(&ops[2], ty, false)?];
    if logic.is_some() {
        src.push(p.src(&ops[3], Type::Pred, false)?);
    }
    let dst = vec![p.dst(&ops[0], to, false)?];
    p.emit(&m, Op::Set(compare, logic, to, ty, ftz), dst, src)
}

fn testp(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    p.need(&m, ops, 2)?;
    let test = m.find(|n| {
        Some(match n {
            "finite" => Testp::Finite,
            "infinite" => Testp::Infinite,
            "number" => Testp::Number,
            "notanumber" => Testp::NotANumber,
            "normal" => Testp::Normal,
            "subnormal" => Testp::Subnormal,
            _ => return None,
        })
    });
    match (test, m.ty()) {
        (Some(test), Some(ty @ (Type::F32 | Type::F64))) => {
            let dst = vec![p.dst(&ops[0], Type::Pred, false)?];
            let src = vec![p.src(&ops[1], ty, false)?];
            p.emit(&m, Op::Testp(test, ty), dst, src)
        }
        _ => p.unsupported(&m),
    }
}

fn lop3(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    m.take("b32");
    p.need(&m, ops, 5)?;
    let src = [&ops[1], &ops[2], &ops[3]].into_iter().map(|o| p.src(o, Type::B32, false)).collect::<Result<Vec<_>>>()?;
    let Value::Int(table) = p.value(&ops[4], Type::B32)? else { return p.fail("the table of `lop3` is a constant") };
    if table > 255 {
        return p.fail("the table of `lop3` has 8 bits");
    }
    let dst = vec![p.dst(&ops[0], Type::B32, false)?];
    p.emit(&m, Op::Lop3(table as u8), dst, src)
}

fn prmt(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    m.take("b32");
    p.need(&m, ops, 4)?;
    let mode = m.find(|n| {
        Some(match n {
            "f4e" => Prmt::F4e,
            "b4e" => Prmt::B4e,
            "rc8" => Prmt::Rc8,
            "ecl" => Prmt::Ecl,
            "ecr" => Prmt::Ecr,
            "rc16" => Prmt::Rc16,
            _ => return None,
        })
    });
    let src = ops[1..].iter().map(|o| p.src(o, Type::B32, false)).collect::<Result<Vec<_>>>()?;
    let dst = vec![p.dst(&ops[0], Type::B32, false)?];
    p.emit(&m, Op::Prmt(mode.unwrap_or(Prmt::Index)), dst, src)
}

fn dot_product(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    p.need(&m, ops, 4)?;
    let high = m.take("hi");
    m.take("lo");
    let (Some(b), Some(a)) = (m.ty(), m.ty()) else { return p.unsupported(&m) };
    let src = ops[1..].iter().map(|o| p.src(o, Type::B32, false)).collect::<Result<Vec<_>>>()?;
    let dst = vec![p.dst(&ops[0], Type::B32, false)?];
    let op = match m.base {
        "dp4a" => Op::Dp4a(a.is_signed(), b.is_signed()),
        _ => Op::Dp2a(a.is_signed(), b.is_signed(), high),
    };
    p.emit(&m, op, dst, src)
}

fn cvt(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    // `cvt.pack` and the 8-bit floats are instructions of their own; without them the types below do not parse.
    let (Some(from), Some(to)) = (m.ty(), m.ty()) else { return p.unsupported(&m) };
    let round = m.round();
    let cvt = Cvt {
        to,
        from,
        round: round.map_or(Rounding::Nearest, |r| r.0),
        integral: round.is_some_and(|r| r.1),
        ftz: m.take("ftz"),
        sat: m.take("sat"),
        relu: m.take("relu"),
    };
    if matches!(to, Type::F16x2 | Type::Bf16x2) && from == Type::F32 {
        p.need(&m, ops, 3)?;
        let src = vec![p.src(&ops[1], Type::F32, false)?, p.src(&ops[2], Type::F32, false)?];
        let dst = vec![p.dst(&ops[0], to, false)?];
        return p.emit(&m, Op::CvtPair(cvt), dst, src);
    }
    p.need(&m, ops, 2)?;
    let plain = |t: Type| t.is_integer() || matches!(t, Type::F16 | Type::Bf16 | Type::F32 | Type::F64);
    if !(plain(to) || to == Type::Tf32) || !plain(from) {
        return p.unsupported(&m);
    }
    let src = vec![p.src(&ops[1], from, true)?];
    let dst = vec![p.dst(&ops[0], to, true)?];
    p.emit(&m, Op::Cvt(cvt), dst, src)
}

/// The state space named by a modifier.
pub fn space(name: &str) -> Option<Space> {
    Some(match name {
        "global" => Space::Global,
        "const" => Space::Const,
        "shared" | "shared::cta" => Space::Shared,
        "shared::cluster" => Space::SharedCluster,
        "local" => Space::Local,
        "param" | "param::entry" | "param::func" => Space::Param,
        _ => return None,
    })
}
