//! `mbarrier`, and what counts bytes on one.

use crate::ptx::body::{BodyParser, Raw};
use crate::ptx::decode::{Mods, space};
use crate::ptx::decode_memory::address;
use crate::ptx::ir::{Access, Mbarrier, Op, Value};
use crate::ptx::parser::Result;
use crate::ptx::types::{Space, Type};

/// Decodes an instruction whose opcode is `mbarrier`.
pub fn decode(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let words = [
        "init",
        "inval",
        "expect_tx",
        "complete_tx",
        "arrive",
        "arrive_drop",
        "test_wait",
        "try_wait",
        "pending_count",
    ];
    let what = m.one_of(&words);
    // `mbarrier.arrive.expect_tx` is both.
    let expect = m.take("expect_tx");
    let no_complete = m.take("noComplete");
    let parity = m.take("parity");
    while m.one_of(&["release", "acquire", "relaxed", "cta", "cluster"]).is_some() {}
    let space = m.find(space).unwrap_or(Space::Generic);
    let Some(what) = what.filter(|_| m.take("b64")) else { return p.unsupported(&m) };
    if !matches!(space, Space::Generic | Space::Shared | Space::SharedCluster) {
        return p.unsupported(&m);
    }
    let place = |p: &BodyParser<'_, '_, '_>, raw: &Raw| -> Result<(Value, Access)> {
        let (base, offset) = address(p, raw)?;
        Ok((base, Access { space, ty: Type::B64, offset, strong: true }))
    };
    match (what, ops) {
        ("init", [object, count]) => {
            let (base, access) = place(p, object)?;
            let count = p.src(count, Type::U32, false)?;
            p.emit(&m, Op::Mbarrier(Mbarrier::Init, access), vec![], vec![base, count])
        }
        ("inval", [object]) => {
            let (base, access) = place(p, object)?;
            p.emit(&m, Op::Mbarrier(Mbarrier::Invalidate, access), vec![], vec![base, Value::Int(0)])
        }
        ("expect_tx" | "complete_tx", [object, bytes]) => {
            let (base, access) = place(p, object)?;
            let bytes = p.src(bytes, Type::U32, false)?;
            let kind = if what == "expect_tx" { Mbarrier::Expect } else { Mbarrier::Complete };
            p.emit(&m, Op::Mbarrier(kind, access), vec![], vec![base, bytes])
        }
        ("arrive" | "arrive_drop", [state, object, rest @ ..]) if rest.len() <= 1 => {
            let (base, access) = place(p, object)?;
            let operand = rest.first().map(|raw| p.src(raw, Type::U32, false)).transpose()?;
            let mut count = operand.unwrap_or(Value::Int(1));
            if (expect || no_complete) && operand.is_none() {
                return p.unsupported(&m);
            }
            if expect {
                p.push(Op::Mbarrier(Mbarrier::Expect, access), vec![], vec![base, count])?;
                count = Value::Int(1);
            }
            let dst = vec![p.dst(state, Type::B64, false)?];
            let kind = Mbarrier::Arrive { drop: what == "arrive_drop" };
            p.emit(&m, Op::Mbarrier(kind, access), dst, vec![base, count])
        }
        ("test_wait" | "try_wait", [done, object, phase, rest @ ..]) if rest.len() <= 1 => {
            let (base, access) = place(p, object)?;
            let (kind, ty) = if parity { (Mbarrier::TestParity, Type::U32) } else { (Mbarrier::Test, Type::B64) };
            let phase = p.src(phase, ty, false)?;
            let dst = vec![p.dst(done, Type::Pred, false)?];
            p.emit(&m, Op::Mbarrier(kind, access), dst, vec![base, phase])
        }
        ("pending_count", [count, state]) => {
            let access = Access { space, ty: Type::B64, offset: 0, strong: false };
            let dst = vec![p.dst(count, Type::U32, false)?];
            let src = vec![p.src(state, Type::B64, false)?];
            p.emit(&m, Op::Mbarrier(Mbarrier::Pending, access), dst, src)
        }
        _ => p.unsupported(&m),
    }
}

/// `cp.async.mbarrier.arrive`: copies are done when issued, so this arrives, or, where it would first have made the object
/// wait for one more, does nothing.
pub fn after_copies(p: &mut BodyParser<'_, '_, '_>, mut m: Mods<'_>, ops: &[Raw]) -> Result<()> {
    let counted = m.take("noinc");
    let space = m.find(space).unwrap_or(Space::Generic);
    let [object] = ops else { return p.unsupported(&m) };
    if !m.take("arrive") || !m.take("b64") || !matches!(space, Space::Generic | Space::Shared) {
        return p.unsupported(&m);
    }
    let (base, offset) = address(p, object)?;
    let access = Access { space, ty: Type::B64, offset, strong: true };
    if !counted {
        return p.emit(&m, Op::Nop, vec![], vec![]);
    }
    let arrive = Op::Mbarrier(Mbarrier::Arrive { drop: false }, access);
    p.emit(&m, arrive, vec![None], vec![base, Value::Int(1)])
}
