//! Loads, stores, atomics, address conversions, fences, textures and surfaces.

use crate::engine::{Boundary, Geometry, Texel, TextureQuery};
use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::decode::{Mods, space};
use crate::ptx::decode_barrier;
use crate::ptx::ir::{Access, Op, Surf, Tex, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::{AtomicOp, Space, Type};

/// Whether [`decode`] knows the opcode.
pub fn handles(base: &str) -> bool {
    matches!(
        base,
        "ld" | "ldu"
            | "st"
            | "atom"
            | "red"
            | "cvta"
            | "isspacep"
            | "mapa"
            | "membar"
            | "fence"
            | "prefetch"
            | "prefetchu"
            | "discard"
            | "applypriority"
            | "createpolicy"
            | "tex"
            | "tld4"
            | "txq"
            | "suq"
            | "suld"
            | "sust"
            | "cp"
    )
}

/// Decodes one of them.
pub fn decode(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    match m.base {
        "ld" | "ldu" => load(p, m, ops),
        "st" => store(p, m, ops),
        "atom" | "red" => atomic(p, m, ops),
        "cvta" => {
            p.need(&m, ops, 2)?;
            let back = m.take("to");
            let Some(space) = m.find(space) else { return p.unsupported(&m) };
            let Some(ty) = m.ty().filter(|t| t.bits() == 64) else { return p.unsupported(&m) };
            let src = vec![p.src(&ops[1], ty, false)?];
            let dst = vec![p.dst(&ops[0], ty, false)?];
            p.emit(&m, Op::Cvta(space, back), dst, src)
        }
        "isspacep" => {
            p.need(&m, ops, 2)?;
            let Some(space) = m.find(space) else { return p.unsupported(&m) };
            let src = vec![p.src(&ops[1], Type::B64, false)?];
            let dst = vec![p.dst(&ops[0], Type::Pred, false)?];
            p.emit(&m, Op::Isspacep(space), dst, src)
        }
        "mapa" => {
            p.need(&m, ops, 3)?;
            let generic = m.find(space).is_none();
            let Some(ty) = m.ty() else { return p.unsupported(&m) };
            let src = vec![p.src(&ops[1], ty, false)?, p.src(&ops[2], Type::B32, false)?];
            let dst = vec![p.dst(&ops[0], ty, false)?];
            p.emit(&m, Op::Mapa(generic), dst, src)
        }
        "membar" | "fence" => {
            let block = m.take("cta");
            while m
                .one_of(&[
                    "gl",
                    "sys",
                    "gpu",
                    "cluster",
                    "sc",
                    "acq_rel",
                    "acquire",
                    "release",
                    "proxy",
                    "alias",
                    "async",
                    "async::global",
                    "async::shared::cta",
                    "async::shared::cluster",
                    "mbarrier_init",
                    "global",
                    "shared::cta",
                    "shared::cluster",
                ])
                .is_some()
            {}
            p.emit(&m, Op::Fence(!block), vec![], vec![])
        }
        "prefetch" | "prefetchu" | "discard" | "applypriority" => p.push(Op::Nop, vec![], vec![]),
        "createpolicy" => {
            let Some(raw) = ops.first() else { return p.unsupported(&m) };
            let dst = vec![p.dst(raw, Type::B64, false)?];
            p.push(Op::Mov(Type::B64), dst, vec![Value::Int(0)])
        }
        "tex" | "tld4" => texture(p, m, ops),
        "txq" | "suq" => query(p, m, ops),
        "suld" | "sust" => surface(p, m, ops),
        _ => copy_async(p, m, ops),
    }
}

/// What the modifiers of a memory access say about space and strength; cache hints are taken and forgotten.
fn access(m: &mut Mods<'_>) -> Option<(Access, usize)> {
    let mut strong = false;
    for word in ["volatile", "relaxed", "acquire", "release", "acq_rel", "sc", "mmio"] {
        strong |= m.take(word);
    }
    for word in
        ["weak", "nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "cta", "cluster", "gpu", "gl", "sys", "unified"]
    {
        m.take(word);
    }
    m.drop_prefixed("L1::");
    m.drop_prefixed("L2::");
    let space = m.find(space).unwrap_or(Space::Generic);
    let count = m.find(|n| match n {
        "v2" => Some(2),
        "v4" => Some(4),
        "v8" => Some(8),
        _ => None,
    });
    let ty = m.ty()?;
    if matches!(ty, Type::Pred) {
        return None;
    }
    Some((Access { space, ty, offset: 0, strong }, count.unwrap_or(1)))
}

pub(super) fn address(p: &BodyParser<'_, '_, '_>, raw: &Raw) -> Result<(Value, i64)> {
    match raw {
        Raw::Address(Value::Special(_) | Value::Function(_) | Value::Texture(_) | Value::Surface(_), _) => {
            p.fail("this is no address")
        }
        Raw::Address(value, offset) => {
            if let Value::Reg(r) = value
                && !matches!(p.body.regs[*r as usize].bits(), 32 | 64)
            {
                return p.fail("an address has 32 or 64 bits");
            }
            Ok((*value, *offset))
        }
        _ => p.fail("an address in brackets is needed here"),
    }
}

/// Operands without a trailing cache policy.
fn without_policy(ops: &[Raw], hinted: bool) -> &[Raw] {
    if hinted && !ops.is_empty() { &ops[..ops.len() - 1] } else { ops }
}

fn load(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let ops = without_policy(ops, m.take("L2::cache_hint"));
    p.need(&m, ops, 2)?;
    let Some((mut access, count)) = access(&mut m) else { return p.unsupported(&m) };
    let (base, offset) = address(p, &ops[1])?;
    access.offset = offset;
    let dst = match &ops[0] {
        Raw::Vector(parts) if parts.len() == count => {
            parts.iter().map(|d| p.dst(d, access.ty, true)).collect::<Result<Vec<_>>>()?
        }
        raw if count == 1 => vec![p.dst(raw, access.ty, true)?],
        _ => return p.fail("the number of registers does not match the vector"),
    };
    check_width(p, access, count)?;
    p.emit(&m, Op::Load(access), dst, vec![base])
}

fn check_width(p: &BodyParser<'_, '_, '_>, access: Access, count: usize) -> Result<()> {
    if access.ty.bytes() as usize * count > 32 || (access.ty == Type::B128 && count > 1) {
        return p.fail("an access has at most 32 bytes");
    }
    Ok(())
}

fn store(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let ops = without_policy(ops, m.take("L2::cache_hint"));
    p.need(&m, ops, 2)?;
    let Some((mut access, count)) = access(&mut m) else { return p.unsupported(&m) };
    if access.space == Space::Const {
        return p.fail("constant memory cannot be written");
    }
    let (base, offset) = address(p, &ops[0])?;
    access.offset = offset;
    let mut src = vec![base];
    match &ops[1] {
        Raw::Vector(parts) if parts.len() == count => {
            for part in parts {
                src.push(p.src(part, access.ty, true)?);
            }
        }
        raw if count == 1 => src.push(p.src(raw, access.ty, true)?),
        _ => return p.fail("the number of registers does not match the vector"),
    }
    check_width(p, access, count)?;
    p.emit(&m, Op::Store(access), vec![], src)
}

fn atomic(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let ops = without_policy(ops, m.take("L2::cache_hint"));
    m.take("noftz");
    let op = m.find(|n| {
        Some(match n {
            "add" => AtomicOp::Add,
            "min" => AtomicOp::Min,
            "max" => AtomicOp::Max,
            "and" => AtomicOp::And,
            "or" => AtomicOp::Or,
            "xor" => AtomicOp::Xor,
            "exch" => AtomicOp::Exch,
            "cas" => AtomicOp::Cas,
            "inc" => AtomicOp::Inc,
            "dec" => AtomicOp::Dec,
            _ => return None,
        })
    });
    let Some((mut access, count)) = access(&mut m) else { return p.unsupported(&m) };
    let Some(op) = op else { return p.unsupported(&m) };
    let ty = access.ty;
    let good = match op {
        AtomicOp::Add => {
            matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64 | Type::F32 | Type::F64)
                || matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2)
        }
        AtomicOp::Min | AtomicOp::Max => {
            matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64)
                || matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2)
        }
        AtomicOp::And | AtomicOp::Or | AtomicOp::Xor => matches!(ty.bits(), 32 | 64) && !ty.is_float(),
        AtomicOp::Exch => {
            matches!(ty, Type::B32 | Type::B64 | Type::U32 | Type::U64 | Type::S32 | Type::S64 | Type::F32 | Type::B128)
        }
        AtomicOp::Cas => {
            matches!(ty, Type::B16 | Type::B32 | Type::B64 | Type::U32 | Type::U64 | Type::S32 | Type::S64 | Type::B128)
        }
        AtomicOp::Inc | AtomicOp::Dec => ty == Type::U32,
    };
    let spaces = matches!(access.space, Space::Generic | Space::Global | Space::Shared | Space::SharedCluster);
    if !good || !spaces {
        return p.unsupported(&m);
    }
    if count > 1 {
        return atomic_vector(p, &m, access, (op, count), ops);
    }
    let red = m.base == "red";
    let inputs = if op == AtomicOp::Cas { 2 } else { 1 };
    p.need(&m, ops, inputs + 2 - usize::from(red))?;
    let (dst, rest) = if red { (vec![], ops) } else { (vec![p.dst(&ops[0], ty, false)?], &ops[1..]) };
    let (base, offset) = address(p, &rest[0])?;
    access.offset = offset;
    let mut src = vec![base];
    for raw in &rest[1..] {
        src.push(p.src(raw, ty, false)?);
    }
    p.emit(&m, Op::Atomic(access, op), dst, src)
}

/// An atomic on a vector: one on each element, as the ISA promises no more.
fn atomic_vector(
    p: &mut BodyParser<'_, '_, '_>,
    m: &Mods<'_>,
    access: Access,
    (op, count): (AtomicOp, usize),
    ops: &[Raw],
) -> Result<()> {
    let ty = access.ty;
    let known = match op {
        AtomicOp::Add => ty.is_float() && ty != Type::F64,
        AtomicOp::Min | AtomicOp::Max => ty.is_float() && ty.bits() <= 32 && ty != Type::F32,
        _ => false,
    };
    let red = m.base == "red";
    let (results, rest) = if red { (None, ops) } else { (ops.first(), ops.get(1..).unwrap_or_default()) };
    let [place, Raw::Vector(values)] = rest else { return p.unsupported(m) };
    if !known || access.space == Space::Shared || ty.bytes() as usize * count > 16 || values.len() != count {
        return p.unsupported(m);
    }
    let results = match results {
        Some(Raw::Vector(parts)) if parts.len() == count => {
            parts.iter().map(|d| p.dst(d, ty, false)).collect::<Result<Vec<_>>>()?
        }
        None | Some(Raw::Sink) => vec![None; count],
        _ => return p.fail("the number of registers does not match the vector"),
    };
    let (base, offset) = address(p, place)?;
    // A result may be the address.
    let old = results.iter().map(|r| r.map(|_| p.new_reg(ty)).transpose()).collect::<Result<Vec<_>>>()?;
    for (n, value) in values.iter().enumerate() {
        let access = Access { offset: offset + n as i64 * i64::from(ty.bytes()), ..access };
        let src = vec![base, p.src(value, ty, false)?];
        p.emit(m, Op::Atomic(access, op), vec![old[n]], src)?;
    }
    for (result, old) in results.into_iter().zip(old) {
        if let (Some(_), Some(old)) = (result, old) {
            p.emit(m, Op::Mov(ty), vec![result], vec![Value::Reg(old)])?;
        }
    }
    Ok(())
}

fn geometry(m: &mut Mods<'_>) -> Option<(Geometry, usize, bool)> {
    m.find(|n| {
        Some(match n {
            "1d" => (Geometry::One, 1, false),
            "2d" => (Geometry::Two, 2, false),
            "3d" => (Geometry::Three, 3, false),
            "a1d" => (Geometry::OneLayered, 1, true),
            "a2d" => (Geometry::TwoLayered, 2, true),
            "cube" => (Geometry::Cube, 3, false),
            "acube" => (Geometry::CubeLayered, 3, true),
            "2dms" => (Geometry::TwoMultisample, 2, true),
            _ => return None,
        })
    })
}

/// Handle and coordinates: `[handle, {..}]`, `[handle, sampler, {..}]`, `[handle, x]`.
fn handle_and_coordinates<'o>(p: &BodyParser<'_, '_, '_>, raw: &'o Raw) -> Result<(Value, &'o [Raw])> {
    let Raw::List(items) = raw else { return p.fail("a handle and coordinates in brackets are needed here") };
    let handle = match &items[0] {
        Raw::Value(v @ (Value::Texture(_) | Value::Surface(_))) => *v,
        raw => p.src(raw, Type::B64, false)?,
    };
    match items.last() {
        Some(Raw::Vector(coordinates)) => Ok((handle, coordinates)),
        _ => Ok((handle, &items[items.len() - 1..])),
    }
}

fn texture(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let gather = if m.base == "tld4" {
        let component = m.find(|n| ["r", "g", "b", "a"].iter().position(|&c| c == n));
        let Some(component) = component else { return p.unsupported(&m) };
        Some(component as u8)
    } else {
        None
    };
    let level = m.take("level");
    let gradient = m.take("grad");
    m.take("base");
    let Some((geometry, count, layered)) = geometry(&mut m) else { return p.unsupported(&m) };
    let v4 = m.take("v4");
    let (Some(coordinate), Some(ty)) = (m.ty(), m.ty()) else { return p.unsupported(&m) };
    let texel = match ty {
        Type::U32 => Texel::U32,
        Type::S32 => Texel::S32,
        Type::F32 => Texel::F32,
        _ => return p.unsupported(&m),
    };
    if !matches!(coordinate, Type::S32 | Type::F32) || !v4 {
        return p.unsupported(&m);
    }
    let [result, source, rest @ ..] = ops else { return p.unsupported(&m) };
    let (handle, coordinates) = handle_and_coordinates(p, source)?;
    let layer = usize::from(layered);
    if coordinates.len() < count + layer {
        return p.fail("too few coordinates");
    }
    let mut src = vec![handle];
    for (n, raw) in coordinates[..count + layer].iter().enumerate() {
        let ty = if n < layer { Type::B32 } else { coordinate };
        src.push(p.src(raw, ty, false)?);
    }
    let mut rest = rest.iter();
    if level {
        let Some(raw) = rest.next() else { return p.unsupported(&m) };
        src.push(p.src(raw, coordinate, false)?);
    }
    if gradient {
        for _ in 0..2 {
            let Some(raw) = rest.next() else { return p.unsupported(&m) };
            let parts = match raw {
                Raw::Vector(parts) => &parts[..],
                raw => std::slice::from_ref(raw),
            };
            if parts.len() < count {
                return p.fail("too few derivatives");
            }
            for raw in &parts[..count] {
                src.push(p.src(raw, Type::F32, false)?);
            }
        }
    }
    if rest.next().is_some() {
        return p.fail("texture offsets and depth comparison are not supported");
    }
    let Raw::Vector(parts) = result else { return p.fail("a texture fetch has four results") };
    if parts.len() != 4 {
        return p.fail("a texture fetch has four results");
    }
    let dst = parts.iter().map(|d| p.dst(d, ty, false)).collect::<Result<Vec<_>>>()?;
    let tex = Tex { geometry, float_coordinates: coordinate == Type::F32, level, gradient, gather, texel };
    p.emit(&m, Op::Tex(tex), dst, src)
}

fn query(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    p.need(&m, ops, 2)?;
    m.take("b32");
    m.take("level");
    let what = m.find(|n| {
        Some(match n {
            "width" => TextureQuery::Width,
            "height" => TextureQuery::Height,
            "depth" => TextureQuery::Depth,
            "channel_data_type" => TextureQuery::ChannelDataType,
            "channel_order" => TextureQuery::ChannelOrder,
            "normalized_coords" => TextureQuery::NormalizedCoords,
            "array_size" => TextureQuery::ArraySize,
            "num_mipmap_levels" => TextureQuery::MipmapLevels,
            "num_samples" => TextureQuery::Samples,
            _ => return None,
        })
    });
    let Some(what) = what else { return p.unsupported(&m) };
    let handle = match &ops[1] {
        Raw::Address(v @ (Value::Texture(_) | Value::Surface(_) | Value::Reg(_)), 0) => *v,
        _ => return p.fail("a handle is needed here"),
    };
    let dst = vec![p.dst(&ops[0], Type::B32, false)?];
    let surface = m.base == "suq";
    p.emit(&m, Op::Query(what, surface), dst, vec![handle])
}

fn surface(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let load = m.base == "suld";
    if !m.take("b") {
        return p.unsupported(&m);
    }
    let Some((geometry, count, layered)) = geometry(&mut m) else { return p.unsupported(&m) };
    let boundary = m.find(|n| {
        Some(match n {
            "trap" => Boundary::Trap,
            "clamp" => Boundary::Clamp,
            "zero" => Boundary::Zero,
            _ => return None,
        })
    });
    let Some((access, elements)) = access(&mut m) else { return p.unsupported(&m) };
    if !matches!(access.ty, Type::B8 | Type::B16 | Type::B32 | Type::B64) || access.ty.bytes() as usize * elements > 16
    {
        return p.unsupported(&m);
    }
    p.need(&m, ops, 2)?;
    let (values, place) = if load { (&ops[0], &ops[1]) } else { (&ops[1], &ops[0]) };
    let (handle, coordinates) = handle_and_coordinates(p, place)?;
    let layer = usize::from(layered);
    if coordinates.len() < count + layer {
        return p.fail("too few coordinates");
    }
    let mut src = vec![handle];
    for raw in &coordinates[..count + layer] {
        src.push(p.src(raw, Type::B32, false)?);
    }
    let parts = match values {
        Raw::Vector(parts) => &parts[..],
        raw => std::slice::from_ref(raw),
    };
    if parts.len() != elements {
        return p.fail("the number of registers does not match the vector");
    }
    let surf = Surf { geometry, boundary: boundary.unwrap_or(Boundary::Trap), ty: access.ty, count: elements as u8 };
    if load {
        let dst = parts.iter().map(|d| p.dst(d, access.ty, true)).collect::<Result<Vec<_>>>()?;
        return p.emit(&m, Op::SurfLoad(surf), dst, src);
    }
    for raw in parts {
        src.push(p.src(raw, access.ty, true)?);
    }
    p.emit(&m, Op::SurfStore(surf), vec![], src)
}

fn copy_async(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    if !m.take("async") {
        return p.unsupported(&m);
    }
    if m.take("mbarrier") {
        return decode_barrier::after_copies(p, m, ops);
    }
    let hinted = m.take("L2::cache_hint");
    m.drop_prefixed("L2::");
    // Copies are done when issued, so groups are always complete.
    if m.take("commit_group") || m.take("wait_group") || m.take("wait_all") {
        return p.emit(&m, Op::Nop, vec![], vec![]);
    }
    if m.one_of(&["ca", "cg"]).is_none() || !(m.take("shared") || m.take("shared::cta")) || !m.take("global") {
        return p.unsupported(&m);
    }
    let ops = without_policy(ops, hinted);
    let [to, from, size, rest @ ..] = ops else { return p.unsupported(&m) };
    let (to, to_offset) = address(p, to)?;
    let (from, from_offset) = address(p, from)?;
    let Value::Int(bytes @ (4 | 8 | 16)) = p.value(size, Type::B32)? else {
        return p.fail("`cp.async` copies 4, 8 or 16 bytes");
    };
    let source_size = match rest {
        [] => Value::Int(bytes),
        [raw @ Raw::Value(Value::Reg(r))] if p.body.regs[*r as usize] != Type::Pred => p.src(raw, Type::B32, false)?,
        [raw @ Raw::Number(_)] => p.src(raw, Type::B32, false)?,
        _ => return p.unsupported(&m),
    };
    p.emit(&m, Op::CopyAsync(bytes as u32, to_offset, from_offset), vec![], vec![to, from, source_size])
}
