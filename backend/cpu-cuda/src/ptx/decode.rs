//! Instructions: from opcode, modifiers and operands to a typed [`Op`], or to an error that names what is wrong.
//!
//! To add an instruction: a line in [`decode`], a decoder that takes every modifier it understands (what is left over
//! is an error), an [`Op`], and its code in `jit/`.

use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::ir::{Alu, Cvt, Float, Float8, Op, Prmt, Reg, Testp, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::{Compare, Logic, Rounding, Space, Special, Type};
use crate::ptx::{
    decode_alu, decode_barrier, decode_matrix, decode_memory, decode_stack, decode_video, decode_warp, decode_wmma,
};

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

    /// Takes the rounding; the flag says to an integral value.
    pub fn round(&mut self) -> Option<(Rounding, bool)> {
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
        "add" | "sub" | "mul" | "mad" | "fma" | "div" | "rem" | "min" | "max" | "abs" | "neg" | "and" | "or"
        | "xor" | "not" | "cnot" | "shl" | "shr" | "bfe" | "bfi" | "brev" | "popc" | "clz" | "bfind" | "sad"
        | "mul24" | "mad24" | "addc" | "subc" | "madc" | "rcp" | "sqrt" | "rsqrt" | "sin" | "cos" | "ex2" | "lg2"
        | "tanh" | "copysign" | "shf" | "fns" | "bmsk" | "szext" => decode_alu::alu(p, mods, ops),
        "alloca" | "stacksave" | "stackrestore" => decode_stack::decode(p, mods, ops),
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
        _ if decode_matrix::handles(base) => decode_matrix::decode(p, mods, ops),
        _ if decode_video::handles(base) => decode_video::decode(p, mods, ops),
        "wmma" => decode_wmma::decode(p, mods, ops),
        "mbarrier" => decode_barrier::decode(p, mods, ops),
        _ => p.unsupported(&mods),
    }
}

fn mov(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    p.need(&m, ops, 2)?;
    let Some(ty) = m.ty() else { return p.unsupported(&m) };
    match (&ops[0], &ops[1]) {
        (Raw::Vector(parts), Raw::Vector(sources)) if parts.len() == sources.len() && !parts.is_empty() => {
            let part =
                if (ty.bits() as usize).is_multiple_of(8 * parts.len()) { ty.bits() / parts.len() as u32 } else { 0 };
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
    let good =
        if packed(ty) { to.bits() == 32 && to != Type::F32 } else { matches!(to.bits(), 16 | 32) && !packed(to) };
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
    let src =
        [&ops[1], &ops[2], &ops[3]].into_iter().map(|o| p.src(o, Type::B32, false)).collect::<Result<Vec<_>>>()?;
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
    if m.take("pack") {
        return pack(p, m, ops);
    }
    if let Some(format) = m.find(float8) {
        return cvt_float8(p, m, format, ops);
    }
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

fn float8(name: &str) -> Option<Float8> {
    match name {
        "e4m3x2" => Some(Float8::E4m3),
        "e5m2x2" => Some(Float8::E5m2),
        _ => None,
    }
}

/// `cvt` between pairs of 8-bit floats and others: to nearest, and to them never infinite.
fn cvt_float8(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, format: Float8, ops: &[Raw]) -> Result<()> {
    let relu = m.take("relu");
    let clamped = m.take("satfinite");
    if !m.take("rn") {
        return p.unsupported(&m);
    }
    match (m.ty(), clamped, ops) {
        (Some(Type::F32), true, [d, high, low]) => {
            let src = vec![p.src(high, Type::F32, false)?, p.src(low, Type::F32, false)?];
            let dst = vec![p.dst(d, Type::B16, false)?];
            p.emit(&m, Op::ToFloat8(format, relu), dst, src)
        }
        // To 8 bits if the result's register has 16.
        (Some(Type::F16x2), _, [d, a]) => {
            if clamped {
                let dst = vec![p.dst(d, Type::B16, false)?];
                let src = vec![p.src(a, Type::F16x2, false)?];
                return p.emit(&m, Op::ToFloat8(format, relu), dst, src);
            }
            let dst = vec![p.dst(d, Type::F16x2, false)?];
            let src = vec![p.src(a, Type::B16, false)?];
            p.emit(&m, Op::FromFloat8(format, relu), dst, src)
        }
        _ => p.unsupported(&m),
    }
}

/// `cvt.pack`: two numbers, clamped, side by side; narrow ones below what the fourth operand holds.
fn pack(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let to = m.find(|n| {
        Some(match n {
            "u16" => (0, 0xffff, 16),
            "s16" => (-0x8000, 0x7fff, 16),
            "u8" => (0, 0xff, 8),
            "s8" => (-0x80, 0x7f, 8),
            "u4" => (0, 0xf, 4),
            "s4" => (-8, 7, 4),
            "u2" => (0, 3, 2),
            "s2" => (-2, 1, 2),
            _ => return None,
        })
    });
    let below = m.take("b32");
    let Some((least, most, bits)) = to.filter(|t| below == (t.2 < 16)) else { return p.unsupported(&m) };
    if !m.take("sat") || !m.take("s32") {
        return p.unsupported(&m);
    }
    p.need(&m, ops, 3 + usize::from(below))?;
    let constant = |n: i32| Value::Int(u64::from(n as u32));
    let step = |p: &mut BodyParser<'_, '_, '_>, alu, ty, a, b| -> Result<Value> {
        let reg = p.new_reg(Type::B32)?;
        p.emit(&m, Op::Alu(alu, ty, Float::default()), vec![Some(reg)], vec![a, b])?;
        Ok(Value::Reg(reg))
    };
    let mut sum = if below { p.src(&ops[3], Type::B32, false)? } else { Value::Int(0) };
    for raw in &ops[1..3] {
        let value = p.src(raw, Type::S32, false)?;
        let value = step(p, Alu::Max, Type::S32, value, constant(least))?;
        let value = step(p, Alu::Min, Type::S32, value, constant(most))?;
        let value = step(p, Alu::And, Type::B32, value, Value::Int((1 << bits) - 1))?;
        sum = step(p, Alu::Shl, Type::B32, sum, Value::Int(bits))?;
        sum = step(p, Alu::Or, Type::B32, sum, value)?;
    }
    let dst = vec![p.dst(&ops[0], Type::B32, false)?];
    p.emit(&m, Op::Mov(Type::B32), dst, vec![sum])
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
