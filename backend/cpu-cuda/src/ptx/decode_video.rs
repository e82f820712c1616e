//! Video instructions: arithmetic with bytes and halves of registers (`vadd` and its kin, `vadd2`, `vadd4` and theirs).
//!
//! GPUs of today have most of them as sequences of other instructions, and so they are here: what is picked out of a
//! register becomes a number of 64 bits, in which every intermediate result is exact (PTX ISA, Video Instructions).
//!
//! Where a GPU gives other numbers than the ISA's text, forms of that kind are refused: see [`BodyParser::disputed`].

use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::decode::Mods;
use crate::ptx::ir::{Alu, Cvt, Float, Op, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::{Compare, Rounding, Type};

/// Whether this opcode is one of them.
pub fn handles(base: &str) -> bool {
    matches!(base, "vshl" | "vshr" | "vmad") || parallel(base).is_some_and(|(name, lanes)| name != "vavrg" || lanes > 1)
}

/// The operation, and how many it does at once.
fn parallel(base: &str) -> Option<(&str, u32)> {
    let (name, lanes) = match base.strip_suffix('2').map(|name| (name, 2)) {
        Some(found) => found,
        None => base.strip_suffix('4').map_or((base, 1), |name| (name, 4)),
    };
    matches!(name, "vadd" | "vsub" | "vavrg" | "vabsdiff" | "vmin" | "vmax" | "vset").then_some((name, lanes))
}

/// A part of a register: where its bits begin, and how many there are.
#[derive(Clone, Copy)]
struct Part {
    at: u32,
    bits: u32,
}

const WHOLE: Part = Part { at: 0, bits: 32 };

/// What stands behind a secondary operation's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Second {
    None,
    Add,
    Min,
    Max,
}

impl BodyParser<'_, '_, '_> {
    /// The error for a kind of form of which a GPU does not follow the ISA's text. On an H200 `vsub.s32.sat` into a half leaves 0
    /// there, `vsub.u32.min` takes a difference with its top bit set for more than any number, and `vmad.u32` with a shift
    /// takes the third operand as signed. The other forms of each kind were not measured.
    fn disputed<T>(&self, base: &str, form: &str) -> Result<T> {
        self.fail(format!("unsupported instruction `{base}` {form}: a GPU's results do not follow the ISA's text"))
    }

    fn step(&mut self, m: &Mods<'_>, op: Op, ty: Type, src: Vec<Value>) -> Result<Value> {
        let reg = self.new_reg(ty)?;
        self.emit(m, op, vec![Some(reg)], src)?;
        Ok(Value::Reg(reg))
    }

    fn wide(&mut self, m: &Mods<'_>, alu: Alu, src: &[Value]) -> Result<Value> {
        self.step(m, Op::Alu(alu, Type::S64, Float::default()), Type::S64, src.to_vec())
    }

    fn word(&mut self, m: &Mods<'_>, alu: Alu, ty: Type, src: &[Value]) -> Result<Value> {
        self.step(m, Op::Alu(alu, ty, Float::default()), ty, src.to_vec())
    }

    /// A part of a word as a number of 64 bits.
    fn picked(&mut self, m: &Mods<'_>, word: Value, part: Part, signed: bool) -> Result<Value> {
        let ty = if signed { Type::S32 } else { Type::U32 };
        let narrow = match part.bits {
            32 => word,
            bits => {
                let place = [word, Value::Int(u64::from(part.at)), Value::Int(u64::from(bits))];
                self.word(m, Alu::Bfe, ty, &place)?
            }
        };
        let to = if signed { Type::S64 } else { Type::U64 };
        let grow = Cvt { to, from: ty, round: Rounding::Nearest, integral: false, ftz: false, sat: false, relu: false };
        self.step(m, Op::Cvt(grow), to, vec![narrow])
    }

    /// The operation itself.
    fn video(&mut self, m: &Mods<'_>, name: &str, compare: Option<Compare>, [a, b]: [Value; 2]) -> Result<Value> {
        match name {
            "vadd" => self.wide(m, Alu::Add, &[a, b]),
            "vsub" => self.wide(m, Alu::Sub, &[a, b]),
            "vmin" => self.wide(m, Alu::Min, &[a, b]),
            "vmax" => self.wide(m, Alu::Max, &[a, b]),
            "vabsdiff" => {
                let difference = self.wide(m, Alu::Sub, &[a, b])?;
                self.wide(m, Alu::Abs, &[difference])
            }
            "vavrg" => {
                // Half of the sum, a half away from zero: one more, but for a sum below zero.
                let sum = self.wide(m, Alu::Add, &[a, b])?;
                let sign = self.wide(m, Alu::Shr, &[sum, Value::Int(63)])?;
                let more = self.wide(m, Alu::Add, &[sign, Value::Int(1)])?;
                let sum = self.wide(m, Alu::Add, &[sum, more])?;
                self.wide(m, Alu::Shr, &[sum, Value::Int(1)])
            }
            _ => {
                let Some(compare) = compare else { return self.unsupported(m) };
                let truth = self.step(m, Op::Setp(compare, None, Type::S64, false), Type::Pred, vec![a, b])?;
                self.step(m, Op::Selp(Type::B64), Type::S64, vec![Value::Int(1), Value::Int(0), truth])
            }
        }
    }

    /// Into the range of a number of so many bits.
    fn saturated(&mut self, m: &Mods<'_>, value: Value, bits: u32, signed: bool) -> Result<Value> {
        let (least, most) = match signed {
            true => (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1),
            false => (0, (1i64 << bits) - 1),
        };
        let value = self.wide(m, Alu::Max, &[value, Value::Int(least as u64)])?;
        self.wide(m, Alu::Min, &[value, Value::Int(most as u64)])
    }

    fn low_word(&mut self, m: &Mods<'_>, value: Value) -> Result<Value> {
        let (to, from) = (Type::U32, Type::U64);
        let cut = Cvt { to, from, round: Rounding::Nearest, integral: false, ftz: false, sat: false, relu: false };
        self.step(m, Op::Cvt(cut), Type::U32, vec![value])
    }

    /// The word with a part of it replaced.
    fn merged(&mut self, m: &Mods<'_>, value: Value, word: Value, part: Part) -> Result<Value> {
        let place = [value, word, Value::Int(u64::from(part.at)), Value::Int(u64::from(part.bits))];
        self.word(m, Alu::Bfi, Type::B32, &place)
    }

    /// An operand's word, and what is picked out of it.
    fn parted<'r>(&self, raw: &'r Raw) -> Result<(Value, Option<&'r str>)> {
        match raw {
            Raw::Part(reg, part) => Ok((self.src(&Raw::Value(Value::Reg(*reg)), Type::B32, false)?, Some(part))),
            _ => Ok((self.src(raw, Type::B32, false)?, None)),
        }
    }
}

/// `.b0` to `.b3`, `.h0`, `.h1`.
fn part(name: Option<&str>) -> Option<Part> {
    let Some(name) = name else { return Some(WHOLE) };
    let number: u32 = name.get(1..)?.parse().ok()?;
    match name.get(..1)? {
        "b" if number < 4 => Some(Part { at: 8 * number, bits: 8 }),
        "h" if number < 2 => Some(Part { at: 16 * number, bits: 16 }),
        _ => None,
    }
}

/// The elements that a selector names, lowest first, each below `below`.
fn elements(name: Option<&str>, plain: &str, lanes: u32, below: u32) -> Option<Vec<u32>> {
    let (kind, digits) = name.unwrap_or(plain).split_at_checked(1)?;
    let found: Vec<u32> = digits.chars().rev().filter_map(|c| c.to_digit(below)).collect();
    (kind == if lanes == 2 { "h" } else { "b" } && found.len() == digits.len()).then_some(found)
}

/// Takes the types in their order; whether each is signed.
fn signs(m: &mut Mods<'_>, count: usize) -> Option<Vec<bool>> {
    let sign = |name: &str| match name {
        "u32" => Some(false),
        "s32" => Some(true),
        _ => None,
    };
    (0..count).map(|_| m.find(sign)).collect()
}

/// Checks one of them and adds what it does.
pub fn decode(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    match (m.base, parallel(m.base)) {
        ("vmad", _) => multiply(p, m, ops),
        (_, Some((name, lanes @ 2..))) => several(p, m, name, lanes, ops),
        (name, _) => {
            let wrap = match name {
                "vshl" | "vshr" => m.one_of(&["wrap", "clamp"]).map(|mode| mode == "wrap"),
                _ => None,
            };
            single(p, m, wrap, ops)
        }
    }
}

fn second(m: &mut Mods<'_>) -> Second {
    match m.one_of(&["add", "min", "max"]) {
        Some("add") => Second::Add,
        Some("min") => Second::Min,
        Some(_) => Second::Max,
        None => Second::None,
    }
}

fn single(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, wrap: Option<bool>, ops: &[Raw]) -> Result<()> {
    let name = m.base;
    let compare = if name == "vset" { m.find(Compare::from_name) } else { None };
    let Some(mut types) = signs(&mut m, if name == "vset" { 2 } else { 3 }) else { return p.unsupported(&m) };
    if name == "vset" {
        types.insert(0, false);
    }
    let (saturates, second) = (m.take("sat"), second(&mut m));
    let (target, to) = match ops.first() {
        Some(Raw::Part(reg, part)) => (Raw::Value(Value::Reg(*reg)), Some(part.as_str())),
        Some(raw) => (raw.clone(), None),
        None => return p.need(&m, ops, 3),
    };
    let merges = to.is_some();
    p.need(&m, ops, if merges || second != Second::None { 4 } else { 3 })?;
    let ((a, from_a), (b, from_b)) = (p.parted(&ops[1])?, p.parted(&ops[2])?);
    let (Some(to), Some(from_a), Some(from_b)) = (part(to), part(from_a), part(from_b)) else {
        return p.unsupported(&m);
    };
    if merges && saturates {
        return p.disputed(name, "with `.sat` into a part of a register");
    }
    // Of these only the one behind `vabsdiff` was compared with a GPU and found equal.
    if matches!(second, Second::Min | Second::Max) && name != "vabsdiff" {
        return p.disputed(name, "with a second operation `.min` or `.max`");
    }
    if merges && second != Second::None || wrap.is_some() && types[2] {
        return p.unsupported(&m);
    }
    let c = if ops.len() == 4 { p.src(&ops[3], Type::B32, false)? } else { Value::Int(0) };
    let a = p.picked(&m, a, from_a, types[1])?;
    let b = p.picked(&m, b, from_b, types[2])?;
    let mut value = match wrap {
        None if matches!(name, "vshl" | "vshr") => return p.unsupported(&m),
        None => p.video(&m, name, compare, [a, b])?,
        Some(wrap) => {
            let (alu, most) = if wrap { (Alu::And, 31) } else { (Alu::Min, 32) };
            let count = p.wide(&m, alu, &[b, Value::Int(most)])?;
            let count = p.low_word(&m, count)?;
            p.wide(&m, if name == "vshl" { Alu::Shl } else { Alu::Shr }, &[a, count])?
        }
    };
    if saturates {
        value = p.saturated(&m, value, 32, types[0])?;
    }
    let word = p.low_word(&m, value)?;
    let ty = if types[0] { Type::S32 } else { Type::U32 };
    let result = match second {
        Second::None if merges => p.merged(&m, word, c, to)?,
        Second::None => word,
        Second::Add => p.word(&m, Alu::Add, ty, &[word, c])?,
        Second::Min => p.word(&m, Alu::Min, ty, &[word, c])?,
        Second::Max => p.word(&m, Alu::Max, ty, &[word, c])?,
    };
    let dst = vec![p.dst(&target, Type::B32, false)?];
    p.emit(&m, Op::Mov(Type::B32), dst, vec![result])
}

fn several(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, name: &str, lanes: u32, ops: &[Raw]) -> Result<()> {
    let compare = if name == "vset" { m.find(Compare::from_name) } else { None };
    let Some(mut types) = signs(&mut m, if name == "vset" { 2 } else { 3 }) else { return p.unsupported(&m) };
    if name == "vset" {
        types.insert(0, false);
    }
    let (saturates, adds) = (m.take("sat"), m.take("add"));
    p.need(&m, ops, 4)?;
    let (target, mask) = match &ops[0] {
        Raw::Part(reg, mask) => (Raw::Value(Value::Reg(*reg)), Some(mask.as_str())),
        raw => (raw.clone(), None),
    };
    let ((a, from_a), (b, from_b)) = (p.parted(&ops[1])?, p.parted(&ops[2])?);
    let c = p.src(&ops[3], Type::B32, false)?;
    let [of_a, of_b, all] = if lanes == 2 { ["h10", "h32", "h10"] } else { ["b3210", "b7654", "b3210"] };
    let selected = (
        elements(from_a, of_a, lanes, 2 * lanes).filter(|list| list.len() == lanes as usize),
        elements(from_b, of_b, lanes, 2 * lanes).filter(|list| list.len() == lanes as usize),
        elements(mask, all, lanes, lanes),
    );
    let (Some(from_a), Some(from_b), Some(mask)) = selected else { return p.unsupported(&m) };
    if saturates && adds {
        return p.unsupported(&m);
    }
    let bits = 32 / lanes;
    let mut result = c;
    for lane in mask {
        let pick = |p: &mut BodyParser<'_, '_, '_>, element: u32, signed| {
            let word = if element < lanes { a } else { b };
            p.picked(&m, word, Part { at: element % lanes * bits, bits }, signed)
        };
        let left = pick(p, from_a[lane as usize], types[1])?;
        let right = pick(p, from_b[lane as usize], types[2])?;
        let mut value = p.video(&m, name, compare, [left, right])?;
        if saturates {
            value = p.saturated(&m, value, bits, types[0])?;
        }
        let word = p.low_word(&m, value)?;
        result = match adds {
            true => p.word(&m, Alu::Add, Type::U32, &[result, word])?,
            false => p.merged(&m, word, result, Part { at: lane * bits, bits })?,
        };
    }
    let dst = vec![p.dst(&target, Type::B32, false)?];
    p.emit(&m, Op::Mov(Type::B32), dst, vec![result])
}

/// `vmad`: the low word of a product and a sum. Operands with a minus are not read.
fn multiply(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let Some(types) = signs(&mut m, 3) else { return p.unsupported(&m) };
    if m.take("sat") || m.one_of(&["shr7", "shr15"]).is_some() {
        return p.disputed("vmad", "with `.sat`, `.shr7` or `.shr15`");
    }
    let plus_one = m.take("po");
    p.need(&m, ops, 4)?;
    let ((a, from_a), (b, from_b)) = (p.parted(&ops[1])?, p.parted(&ops[2])?);
    let c = p.src(&ops[3], Type::B32, false)?;
    let (Some(from_a), Some(from_b)) = (part(from_a), part(from_b)) else { return p.unsupported(&m) };
    // Two whole unsigned words would need more than 64 bits for their product and a sign.
    if from_a.bits + from_b.bits > 48 {
        return p.unsupported(&m);
    }
    let signed = types[1] || types[2];
    let a = p.picked(&m, a, from_a, types[1])?;
    let b = p.picked(&m, b, from_b, types[2])?;
    let c = p.picked(&m, c, WHOLE, signed)?;
    let product = p.wide(&m, Alu::Mul, &[a, b])?;
    let mut sum = p.wide(&m, Alu::Add, &[product, c])?;
    if plus_one {
        sum = p.wide(&m, Alu::Add, &[sum, Value::Int(1)])?;
    }
    let word = p.low_word(&m, sum)?;
    let dst = vec![p.dst(&ops[0], Type::B32, false)?];
    p.emit(&m, Op::Mov(Type::B32), dst, vec![word])
}
