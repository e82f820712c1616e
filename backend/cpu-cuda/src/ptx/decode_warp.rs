//! What threads do together: barriers, votes, shuffles, reductions.

use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::decode::Mods;
use crate::ptx::ir::{Barrier, BarrierReduce, Collective, Op, Redux, Reg, Shfl, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::Type;

/// Whether [`decode`] knows the opcode.
pub fn handles(base: &str) -> bool {
    matches!(base, "bar" | "barrier" | "shfl" | "vote" | "match" | "redux" | "activemask" | "elect")
}

/// Decodes one of them.
pub fn decode(p: &mut BodyParser<'_, '_, '_>, m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    match m.base {
        "bar" | "barrier" => barrier(p, m, ops),
        "shfl" => shuffle(p, m, ops),
        "vote" => vote(p, m, ops),
        "match" => matching(p, m, ops),
        "redux" => redux(p, m, ops),
        "elect" => {
            let mut m = m;
            m.take("sync");
            p.need(&m, ops, 2)?;
            let Raw::Pair(leader, elected) = ops[0] else { return p.unsupported(&m) };
            check_pair(p, leader, elected)?;
            let src = vec![p.src(&ops[1], Type::B32, false)?];
            p.emit(&m, Op::Collective(Collective::Elect, false), vec![leader, elected], src)
        }
        _ => {
            let mut m = m;
            m.take("b32");
            p.need(&m, ops, 1)?;
            let dst = vec![p.dst(&ops[0], Type::B32, false)?];
            p.emit(&m, Op::Collective(Collective::Activemask, true), dst, vec![])
        }
    }
}

fn check_pair(p: &BodyParser<'_, '_, '_>, value: Option<Reg>, predicate: Option<Reg>) -> Result<()> {
    if let Some(reg) = value {
        p.dst(&Raw::Value(Value::Reg(reg)), Type::B32, false)?;
    }
    if let Some(reg) = predicate {
        p.dst(&Raw::Value(Value::Reg(reg)), Type::Pred, false)?;
    }
    Ok(())
}

fn barrier(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    if m.take("cluster") {
        let arrive = m.take("arrive");
        let wait = m.take("wait");
        while m.one_of(&["aligned", "release", "acquire", "relaxed"]).is_some() {}
        if arrive && !wait {
            // Waiting does both halves: between them a thread only does what needs no other.
            return p.emit(&m, Op::Nop, vec![], vec![]);
        }
        let barrier = Barrier { arrive: false, counted: false, reduce: None, cluster: true };
        return p.emit(&m, Op::Barrier(barrier), vec![], vec![]);
    }
    if m.take("warp") {
        m.take("sync");
        p.need(&m, ops, 1)?;
        let src = vec![p.src(&ops[0], Type::B32, false)?];
        return p.emit(&m, Op::Collective(Collective::WarpSync, false), vec![], src);
    }
    m.take("cta");
    m.take("aligned");
    let arrive = m.take("arrive");
    let red = m.take("red");
    if !arrive && !red && !m.take("sync") {
        return p.unsupported(&m);
    }
    let mut reduce = None;
    let mut result = Type::Pred;
    if red {
        reduce = m.find(|n| match n {
            "popc" => Some(BarrierReduce::Popc),
            "and" => Some(BarrierReduce::And),
            "or" => Some(BarrierReduce::Or),
            _ => None,
        });
        let Some(kind) = reduce else { return p.unsupported(&m) };
        if m.ty().is_none() {
            return p.unsupported(&m);
        }
        if kind == BarrierReduce::Popc {
            result = Type::B32;
        }
    }
    let (dst, numbers, predicate) = match (red, ops) {
        (true, [d, numbers @ .., c]) if matches!(numbers.len(), 1 | 2) => {
            (vec![p.dst(d, result, false)?], numbers, Some(p.src(c, Type::Pred, false)?))
        }
        (false, numbers) if matches!(numbers.len(), 1 | 2) => (vec![], numbers, None),
        _ => return p.fail("a barrier takes a number and perhaps a count"),
    };
    let mut src = numbers.iter().map(|n| p.src(n, Type::B32, false)).collect::<Result<Vec<_>>>()?;
    if let Value::Int(n) = src[0]
        && n > 15
    {
        return p.fail("barriers are numbered 0 to 15");
    }
    if arrive && numbers.len() != 2 {
        return p.fail("`bar.arrive` needs a count");
    }
    src.extend(predicate);
    let barrier = Barrier { arrive, counted: numbers.len() == 2, reduce, cluster: false };
    p.emit(&m, Op::Barrier(barrier), dst, src)
}

fn shuffle(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let legacy = !m.take("sync");
    m.take("b32");
    let mode = m.find(|n| {
        Some(match n {
            "up" => Shfl::Up,
            "down" => Shfl::Down,
            "bfly" => Shfl::Bfly,
            "idx" => Shfl::Idx,
            _ => return None,
        })
    });
    let Some(mode) = mode else { return p.unsupported(&m) };
    p.need(&m, ops, 4 + usize::from(!legacy))?;
    let (value, predicate) = match ops[0] {
        Raw::Pair(a, b) => (a, b),
        ref raw => (p.dst(raw, Type::B32, false)?, None),
    };
    check_pair(p, value, predicate)?;
    let src = ops[1..].iter().map(|o| p.src(o, Type::B32, false)).collect::<Result<Vec<_>>>()?;
    p.emit(&m, Op::Collective(Collective::Shfl(mode), legacy), vec![value, predicate], src)
}

fn vote(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let legacy = !m.take("sync");
    m.take("pred");
    m.take("b32");
    let kind = m.find(|n| {
        Some(match n {
            "all" => Collective::VoteAll,
            "any" => Collective::VoteAny,
            "uni" => Collective::VoteUni,
            "ballot" => Collective::Ballot,
            _ => return None,
        })
    });
    let Some(kind) = kind else { return p.unsupported(&m) };
    p.need(&m, ops, 2 + usize::from(!legacy))?;
    let result = if kind == Collective::Ballot { Type::B32 } else { Type::Pred };
    let dst = vec![p.dst(&ops[0], result, false)?];
    let mut src = vec![p.src(&ops[1], Type::Pred, false)?];
    if !legacy {
        src.push(p.src(&ops[2], Type::B32, false)?);
    }
    p.emit(&m, Op::Collective(kind, legacy), dst, src)
}

fn matching(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    m.take("sync");
    let all = m.take("all");
    let any = m.take("any");
    let Some(ty) = m.ty().filter(|t| matches!(t, Type::B32 | Type::B64)) else { return p.unsupported(&m) };
    if all == any {
        return p.unsupported(&m);
    }
    p.need(&m, ops, 3)?;
    let (mask, predicate) = match ops[0] {
        Raw::Pair(a, b) => (a, b),
        ref raw => (p.dst(raw, Type::B32, false)?, None),
    };
    check_pair(p, mask, predicate)?;
    let src = vec![p.src(&ops[1], ty, false)?, p.src(&ops[2], Type::B32, false)?];
    let bits = ty.bits();
    let kind = if all { Collective::MatchAll { bits } } else { Collective::MatchAny { bits } };
    p.emit(&m, Op::Collective(kind, false), vec![mask, predicate], src)
}

fn redux(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    m.take("sync");
    let Some(ty) = m.ty().filter(|t| t.bits() == 32 && !t.is_float()) else { return p.unsupported(&m) };
    let op = m.find(|n| {
        Some(match (n, ty.is_signed()) {
            ("add", _) => Redux::Add,
            ("min", false) => Redux::MinU,
            ("max", false) => Redux::MaxU,
            ("min", true) => Redux::MinS,
            ("max", true) => Redux::MaxS,
            ("and", _) => Redux::And,
            ("or", _) => Redux::Or,
            ("xor", _) => Redux::Xor,
            _ => return None,
        })
    });
    let Some(op) = op else { return p.unsupported(&m) };
    p.need(&m, ops, 3)?;
    let dst = vec![p.dst(&ops[0], Type::B32, false)?];
    let src = vec![p.src(&ops[1], ty, false)?, p.src(&ops[2], Type::B32, false)?];
    p.emit(&m, Op::Collective(Collective::Redux(op), false), dst, src)
}
