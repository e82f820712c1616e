//! What is known of a body before it is compiled: what kind of value each register is kept as, and what the code reads.

use cranelift_codegen::ir;
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64, I128};

use crate::ptx::ir::{Body, Op, Value};
use crate::ptx::types::{Special, Type};

/// The Cranelift type that holds a register of a PTX type.
pub fn kind(ty: Type) -> ir::Type {
    match ty {
        Type::F32 | Type::Tf32 => F32,
        Type::F64 => F64,
        _ => int_kind(ty.bits()),
    }
}

/// The integer type of a width.
pub fn int_kind(bits: u32) -> ir::Type {
    match bits {
        8 => I8,
        16 => I16,
        32 => I32,
        64 => I64,
        _ => I128,
    }
}

/// Register classes: untyped registers that mostly hold floats are kept in float registers.
pub fn choose_kinds(body: &Body) -> Vec<ir::Type> {
    let mut votes = vec![0i32; body.regs.len()];
    for inst in &body.insts {
        let (sources, results) = match &inst.op {
            Op::Alu(_, ty, _) | Op::Selp(ty) => (vote(*ty), vote(*ty)),
            Op::Setp(_, _, ty, _) | Op::Testp(_, ty) => (vote(*ty), 0),
            Op::Set(_, _, to, ty, _) => (vote(*ty), vote(*to)),
            Op::Cvt(c) => (vote(c.from), vote(c.to)),
            Op::Load(a) | Op::Store(a) => (vote(a.ty), vote(a.ty)),
            Op::Tex(_) => (0, 0),
            Op::Mov(_) | Op::Collective(..) => (0, 0),
            _ => (-1, -1),
        };
        for (list, weight) in [(&inst.src, sources)] {
            for value in list {
                if let Value::Reg(r) = value {
                    votes[*r as usize] += weight;
                }
            }
        }
        inst.defs().for_each(|r| votes[r as usize] += results);
    }
    let choose = |(ty, vote): (&Type, &i32)| match ty {
        Type::B32 if *vote > 0 => F32,
        Type::B64 if *vote > 0 => F64,
        _ => kind(*ty),
    };
    body.regs.iter().zip(&votes).map(choose).collect()
}

fn vote(ty: Type) -> i32 {
    match ty {
        Type::F32 | Type::F64 => 2,
        Type::B32 | Type::B64 => 0,
        _ => -2,
    }
}

/// Which coordinates of the thread the code reads. Those below a used one are needed to step it.
pub fn coordinates_used(body: &Body) -> [bool; 3] {
    let mut used = [false; 3];
    for inst in &body.insts {
        // Helpers and callees may ask for all of them.
        if matches!(inst.op, Op::Invoke(..) | Op::Tex(_) | Op::Query(..) | Op::SurfLoad(_) | Op::SurfStore(_)) {
            return [true; 3];
        }
        for value in &inst.src {
            if let Value::Special(Special::Tid(n)) = value {
                used[usize::from((*n).min(2))] = true;
            }
        }
    }
    [used[0] || used[1] || used[2], used[1] || used[2], used[2]]
}
