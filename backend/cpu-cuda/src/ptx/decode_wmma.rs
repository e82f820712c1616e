//! `wmma`: matrices in memory to fragments and back.
//!
//! Who holds what is ours to say ([`Fragments::Wmma`]): a lane holds consecutive elements of a row. So loads and stores
//! are ordinary ones of each lane, written out here.

use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::decode::{Mods, space};
use crate::ptx::decode_matrix::{layout, list, product};
use crate::ptx::decode_memory::address;
use crate::ptx::ir::{Access, Alu, Element, Float, Fragments, Mma, Op, Reg, Side, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::{Space, Special, Type};

/// Decodes an instruction whose opcode is `wmma`.
pub fn decode(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let all = ["sync", "aligned"].map(|name| m.take(name));
    let what = m.one_of(&["load", "store", "mma"]);
    let shape = m.find(|n| {
        Some(match n {
            "m16n16k16" => (16, 16, 16),
            "m32n8k16" => (32, 8, 16),
            "m8n32k16" => (8, 32, 16),
            "m16n16k8" => (16, 16, 8),
            "m8n8k4" => (8, 8, 4),
            _ => return None,
        })
    });
    let (Some(what), Some(shape)) = (what, shape) else { return p.unsupported(&m) };
    if all.contains(&false) {
        return p.unsupported(&m);
    }
    if what == "mma" { multiply(p, m, shape, ops) } else { transfer(p, m, what == "load", shape, ops) }
}

/// Whether `wmma` has fragments of this shape and type for A and B.
fn exists(shape: (usize, usize, usize), ty: Element) -> bool {
    match ty {
        Element::Tf32 => shape == (16, 16, 8),
        Element::F64 => shape == (8, 8, 4),
        Element::F16 | Element::Bf16 | Element::S8 | Element::U8 => shape.2 == 16,
        _ => false,
    }
}

fn multiply(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, shape: (usize, usize, usize), ops: &[Raw]) -> Result<()> {
    // How the matrices lay in memory no longer matters.
    let layouts = [layout(&mut m), layout(&mut m)];
    let clamp = m.take("satfinite");
    m.take("rn");
    let types = [(); 4].map(|()| m.find(Element::from_name));
    let (d, a, b, c) = match types {
        [Some(d), Some(a), Some(b), Some(c)] => (d, a, b, c),
        [Some(d), Some(c), None, None] => (d, Element::F16, Element::F16, c),
        _ => return p.unsupported(&m),
    };
    let sums: &[Element] = match a {
        Element::F16 => &[Element::F16, Element::F32],
        Element::F64 => &[Element::F64],
        Element::S8 | Element::U8 => &[Element::S32],
        _ => &[Element::F32],
    };
    if layouts.contains(&None) || a != b || !exists(shape, a) || !sums.contains(&c) || !sums.contains(&d) {
        return p.unsupported(&m);
    }
    let (m_, n, k) = shape;
    product(p, &m, Mma { m: m_, n, k, a, b, c, d, fragments: Fragments::Wmma, clamp }, ops)
}

/// Adds `alu` of two values; the result is in a new register.
fn step(p: &mut BodyParser<'_, '_, '_>, alu: Alu, ty: Type, a: Value, b: Value) -> Result<Value> {
    let result = if alu == Alu::MulWide { Type::U64 } else { ty };
    let reg = p.new_reg(result)?;
    p.push(Op::Alu(alu, ty, Float::default()), vec![Some(reg)], vec![a, b])?;
    Ok(Value::Reg(reg))
}

/// The elements a lane loads or stores: the address of the first, and bytes from one to the next.
struct Places {
    first: Value,
    space: Space,
    offset: i64,
    /// Elements side by side; else a register holds the step.
    step: Option<Value>,
    wide: bool,
}

/// `wmma.load` and `wmma.store`.
fn transfer(
    p: &mut BodyParser<'_, '_, '_>,
    mut m: Mods<'_>,
    load: bool,
    shape: (usize, usize, usize),
    ops: &[Raw],
) -> Result<()> {
    let side = m.find(|n| match n {
        "a" => Some(Side::A),
        "b" => Some(Side::B),
        "c" => Some(Side::C),
        "d" => Some(Side::D),
        _ => None,
    });
    let (columns, space) = (layout(&mut m), m.find(space).unwrap_or(Space::Generic));
    let (Some(side), Some(ty), Some(by_columns)) = (side, m.find(Element::from_name), columns) else {
        return p.unsupported(&m);
    };
    let sums = matches!(ty, Element::F16 | Element::F32 | Element::S32 | Element::F64);
    let good = match side {
        Side::A | Side::B => load && exists(shape, ty),
        Side::C => load && sums,
        Side::D => !load && sums,
    };
    if !good || !matches!(space, Space::Generic | Space::Global | Space::Shared) {
        return p.unsupported(&m);
    }
    let (registers, place, rest) = match ops {
        [registers, place, rest @ ..] if load => (registers, place, rest),
        [place, registers, rest @ ..] => (registers, place, rest),
        _ => return p.unsupported(&m),
    };
    let (m_, n, k) = shape;
    let mma = Mma { m: m_, n, k, a: ty, b: ty, c: ty, d: ty, fragments: Fragments::Wmma, clamp: false };
    let (rows, width) = match side {
        Side::A => (m_, k),
        Side::B => (k, n),
        Side::C | Side::D => (m_, n),
    };
    let stride = match rest {
        [] => Value::Int(if by_columns { rows } else { width } as u64),
        [raw] => p.src(raw, Type::U32, false)?,
        _ => return p.unsupported(&m),
    };
    let (base, offset) = address(p, place)?;
    let held = mma.held(side);
    let places = places(p, (base, offset, space), stride, (width, held, ty.bits() as u64 / 8), by_columns)?;
    let parts = list(p, registers, mma.registers(side))?;
    let used = mma.used(side);
    if !load {
        let src = parts.iter().map(|r| p.src(r, ty.register(), false)).collect::<Result<Vec<_>>>()?;
        return store(p, &places, ty, &src);
    }
    let dst = parts.iter().map(|r| p.dst(r, ty.register(), false)).collect::<Result<Vec<_>>>()?;
    let values = fetch(p, &places, ty, used)?;
    for (n, d) in dst.into_iter().enumerate() {
        p.emit(&m, Op::Mov(ty.register()), vec![d], vec![Value::Reg(values[n % used])])?;
    }
    Ok(())
}

/// Where a lane's elements lie. `width` columns of `bytes` each; a lane holds `held` of a row.
fn places(
    p: &mut BodyParser<'_, '_, '_>,
    (base, offset, space): (Value, i64, Space),
    stride: Value,
    (width, held, bytes): (usize, usize, u64),
    by_columns: bool,
) -> Result<Places> {
    let wide = !matches!(base, Value::Reg(r) if p.body.regs[r as usize].bits() == 32);
    let lane = Value::Special(Special::LaneId);
    let lanes = (width / held) as u64;
    let row = step(p, Alu::Shr, Type::U32, lane, Value::Int(u64::from(lanes.trailing_zeros())))?;
    let column = step(p, Alu::And, Type::B32, lane, Value::Int(lanes - 1))?;
    let column = step(p, Alu::Mul, Type::U32, column, Value::Int(held as u64))?;
    let (major, minor) = if by_columns { (column, row) } else { (row, column) };
    let size = Value::Int(bytes);
    let stride = step(p, Alu::Mul, Type::U32, stride, size)?;
    let (ty, far, near, first) = if wide {
        let first = p.new_reg(Type::U64)?;
        p.push(Op::Mov(Type::U64), vec![Some(first)], vec![base])?;
        let far = step(p, Alu::MulWide, Type::U32, major, stride)?;
        let near = step(p, Alu::MulWide, Type::U32, minor, size)?;
        (Type::U64, far, near, Value::Reg(first))
    } else {
        let far = step(p, Alu::Mul, Type::U32, major, stride)?;
        let near = step(p, Alu::Mul, Type::U32, minor, size)?;
        (Type::U32, far, near, base)
    };
    let first = step(p, Alu::Add, ty, first, far)?;
    let first = step(p, Alu::Add, ty, first, near)?;
    let between = match (by_columns, wide) {
        (false, _) => None,
        (true, false) => Some(stride),
        (true, true) => Some(step(p, Alu::MulWide, Type::U32, stride, Value::Int(1))?),
    };
    Ok(Places { first, space, offset, step: between, wide })
}

impl Places {
    /// Address and access of the next element; `ty` is its type in memory.
    fn next(&mut self, p: &mut BodyParser<'_, '_, '_>, ty: Type) -> Result<(Value, Access)> {
        let access = Access { space: self.space, ty, offset: self.offset, strong: false };
        let at = self.first;
        match self.step {
            None => self.offset += i64::from(ty.bytes()),
            Some(between) => {
                self.first = step(p, Alu::Add, if self.wide { Type::U64 } else { Type::U32 }, at, between)?;
            }
        }
        Ok((at, access))
    }
}

/// The type in memory, and how many there are in a register.
fn in_memory(ty: Element) -> (Type, usize) {
    match ty.bits() {
        8 => (Type::B8, 4),
        16 => (Type::B16, 2),
        _ => (ty.register(), 1),
    }
}

/// Loads what fills this many registers.
fn fetch(p: &mut BodyParser<'_, '_, '_>, places: &Places, ty: Element, registers: usize) -> Result<Vec<Reg>> {
    let mut places = Places { ..*places };
    let (memory, per) = in_memory(ty);
    let mut values = Vec::new();
    for _ in 0..registers {
        let mut parts = Vec::new();
        for _ in 0..per {
            let (at, access) = places.next(p, memory)?;
            let part = p.new_reg(memory)?;
            p.push(Op::Load(access), vec![Some(part)], vec![at])?;
            parts.push(Value::Reg(part));
        }
        let whole = p.new_reg(ty.register())?;
        let op = if per == 1 { Op::Mov(ty.register()) } else { Op::Pack(ty.register()) };
        p.push(op, vec![Some(whole)], parts)?;
        values.push(whole);
    }
    Ok(values)
}

/// Stores what these registers hold.
fn store(p: &mut BodyParser<'_, '_, '_>, places: &Places, ty: Element, registers: &[Value]) -> Result<()> {
    let mut places = Places { ..*places };
    let (memory, per) = in_memory(ty);
    for &whole in registers {
        let mut parts = vec![whole];
        if per > 1 {
            let pieces = (0..per).map(|_| p.new_reg(memory)).collect::<Result<Vec<Reg>>>()?;
            p.push(Op::Unpack(ty.register()), pieces.iter().map(|&r| Some(r)).collect(), vec![whole])?;
            parts = pieces.into_iter().map(Value::Reg).collect();
        }
        for part in parts {
            let (at, access) = places.next(p, memory)?;
            p.push(Op::Store(access), vec![], vec![at, part])?;
        }
    }
    Ok(())
}
