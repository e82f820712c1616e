//! What generated code calls.
//!
//! Every function takes plain numbers and, where it needs the world, the [`Context`]. Pointers a kernel made are only
//! followed after [`locate`] allowed them. Those that can fail answer 1 after writing the context's fault fields.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::engine::{LOCAL_WINDOW, Memory, PARAM_WINDOW, SHARED_WINDOW};
use crate::jit::context::{Context, fault};
use crate::jit::memory::meta;
use crate::jit::soft::{self, Operation};
use crate::ptx::ir::{Alu, Cvt};
use crate::ptx::types::{Rounding, Type};

/// `Context::host`: the executor's side.
pub struct Host<'m> {
    /// The launching context's memory.
    pub memory: &'m dyn Memory,
    /// `bar.arrive` since the executor last looked: barrier, thread count.
    pub arrivals: RefCell<Vec<(u32, u32)>>,
}

/// Bits of a shared address below the number of a block in its cluster (plus one; 0 is the own block).
pub const CLUSTER_SHIFT: u32 = 24;

pub(super) fn host<'c>(context: &Context) -> &'c Host<'c> {
    // SAFETY: the executor sets `host` to a record that outlives the call of generated code we are in.
    unsafe { &*context.host.cast::<Host<'c>>() }
}

pub(super) fn set_fault(context: &mut Context, kind: u32, line: u32, address: u64) -> u32 {
    context.fault_kind = kind;
    context.fault_line = line;
    context.fault_address = address;
    1
}

/// Host address of `len` bytes at a generic address, if the kernel may touch them.
pub(super) fn locate(context: &Context, address: u64, len: u64, write: bool) -> Option<u64> {
    let inside = |offset: u64, bound: u64| offset.checked_add(len).is_some_and(|end| end <= bound);
    let window = address & 0xff << 56;
    let offset = address & !(0xff << 56);
    match window {
        SHARED_WINDOW => shared(context, offset, len),
        LOCAL_WINDOW if inside(offset, context.local_len) => {
            let base = context.local as u64 + context.local_stride * u64::from(context.thread);
            Some(base + offset)
        }
        PARAM_WINDOW if !write && inside(offset, context.params_len) => Some(context.params as u64 + offset),
        LOCAL_WINDOW | PARAM_WINDOW => None,
        _ => {
            let at = address.wrapping_sub(context.arena_base);
            let count = context.granule_count;
            let first = at >> 9;
            let last = at.checked_add(len.max(1) - 1)? >> 9;
            if first < count && last < count {
                let owned = (first..=last).all(|n| {
                    // SAFETY: the map has `granule_count` bytes and one more, and stays while the launch is on.
                    unsafe { context.granules.add(n as usize).read_volatile() != 0 }
                });
                return owned.then_some(address);
            }
            host(context).memory.host_range(address, len, write).then_some(address)
        }
    }
}

fn shared(context: &Context, offset: u64, len: u64) -> Option<u64> {
    let rank = offset >> CLUSTER_SHIFT;
    let at = offset & ((1 << CLUSTER_SHIFT) - 1);
    if at.checked_add(len)? > context.shared_len {
        return None;
    }
    if rank == 0 {
        return Some(context.shared as u64 + at);
    }
    if rank > u64::from(context.cluster_size) {
        return None;
    }
    // SAFETY: the table has `cluster_size` entries.
    let base = unsafe { context.cluster_shared.add(rank as usize - 1).read() };
    Some(base as u64 + at)
}

/// Granules that are worth looking at for a row's sake.
const MAX_SPAN: u64 = 256;

/// Whether all granules from one byte of the arena to another are allocated; of many, it says no.
pub unsafe extern "C" fn span_owned(context: *const Context, low: u64, high: u64) -> u32 {
    // SAFETY: as in `resolve`.
    let context = unsafe { &*context };
    let granule = |address: u64| address.wrapping_sub(context.arena_base) >> 9;
    let (first, last) = (granule(low), granule(high));
    let owned = first <= last
        && last - first < MAX_SPAN
        && last < context.granule_count
        && (first..=last).all(|n| {
            // SAFETY: as in `locate`.
            unsafe { context.granules.add(n as usize).read_volatile() != 0 }
        });
    u32::from(owned)
}

/// The slow path of accesses: a host pointer, or 0 with the fault written. `what` is as in `memory::meta`.
pub unsafe extern "C" fn resolve(context: *mut Context, address: u64, what: u64) -> u64 {
    // SAFETY: generated code passes its own context, which nobody else uses during the call.
    let context = unsafe { &mut *context };
    let line = (what >> meta::LINE_SHIFT) as u32;
    let size = what >> meta::SIZE_SHIFT & 0xffff;
    let misaligned = address & (size - 1) != 0;
    let write = what & meta::WRITE != 0;
    let pointer = if misaligned {
        None
    } else if what & meta::SHARED != 0 {
        // Without `CLUSTER` the code has looked at the length, and goes on with the address as it is if we let it.
        let own = address.checked_add(size).is_some_and(|end| end <= context.shared_len);
        if own || what & meta::CLUSTER != 0 { shared(context, address, size) } else { None }
    } else if what & meta::LOCAL != 0 {
        None
    } else if what & meta::GENERIC != 0 || address >> 56 == 0 {
        locate(context, address, size, write)
    } else {
        None
    };
    if let Some(pointer) = pointer {
        return pointer;
    }
    let kind = if misaligned { fault::MISALIGNED } else { fault::ILLEGAL_ADDRESS };
    set_fault(context, kind, line, address);
    0
}

/// `mapa`: tags a shared address, generic or not, with a block of the cluster.
pub unsafe extern "C" fn map_shared(_context: *mut Context, address: u64, rank: u32) -> u64 {
    let offset = address & ((1 << CLUSTER_SHIFT) - 1);
    address & !(0xff_ffff_ffff) | (u64::from(rank & 0xff) + 1) << CLUSTER_SHIFT | offset
}

/// `bar.arrive`.
pub unsafe extern "C" fn barrier_arrive(context: *mut Context, number: u32, count: u32) {
    // SAFETY: as in `resolve`.
    let context = unsafe { &mut *context };
    host(context).arrivals.borrow_mut().push((number & 15, count));
}

/// The host's cycle counter, or nanoseconds where there is none.
pub extern "C" fn clock() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has the instruction.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        global_timer()
    }
}

/// Nanoseconds since 1970.
pub extern "C" fn global_timer() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

/// `sin.approx`
pub extern "C" fn sin(x: f32) -> f32 {
    x.sin()
}
/// `cos.approx`
pub extern "C" fn cos(x: f32) -> f32 {
    x.cos()
}
/// `ex2.approx`
pub extern "C" fn exp2(x: f32) -> f32 {
    x.exp2()
}
/// `lg2.approx`
pub extern "C" fn log2(x: f32) -> f32 {
    x.log2()
}
/// `tanh.approx`
pub extern "C" fn tanh(x: f32) -> f32 {
    x.tanh()
}

/// The number of an operation that rounds, for [`rounded32`]; reciprocals are divisions.
pub fn rounded_operation(alu: Alu) -> Option<u32> {
    Some(match alu {
        Alu::Add => 0,
        Alu::Sub => 1,
        Alu::Mul => 2,
        Alu::Div => 3,
        Alu::Fma => 4,
        Alu::Sqrt => 5,
        Alu::Rcp => 6,
        _ => return None,
    })
}

/// The number of a rounding.
pub fn rounding_number(round: Rounding) -> u32 {
    match round {
        Rounding::Nearest => 0,
        Rounding::Zero => 1,
        Rounding::Down => 2,
        Rounding::Up => 3,
        Rounding::Away => 4,
    }
}

fn rounding(number: u32) -> Rounding {
    match number & 7 {
        0 => Rounding::Nearest,
        1 => Rounding::Zero,
        2 => Rounding::Down,
        3 => Rounding::Up,
        _ => Rounding::Away,
    }
}

fn rounded(format: soft::Format, one: u64, what: u32, a: u64, b: u64, c: u64) -> u64 {
    let (op, a, b) = match what & 0xff {
        0 => (Operation::Add, a, b),
        1 => (Operation::Sub, a, b),
        2 => (Operation::Mul, a, b),
        3 => (Operation::Div, a, b),
        4 => (Operation::Fma, a, b),
        5 => (Operation::Sqrt, a, b),
        _ => (Operation::Div, one, a),
    };
    soft::arithmetic(format, op, rounding(what >> 8), a, b, c)
}

/// `.f32` arithmetic with a direction: operation | rounding << 8.
pub extern "C" fn rounded32(what: u32, a: u32, b: u32, c: u32) -> u32 {
    rounded(soft::F32, 1f32.to_bits().into(), what, a.into(), b.into(), c.into()) as u32
}

/// The same for `.f64`.
pub extern "C" fn rounded64(what: u32, a: u64, b: u64, c: u64) -> u64 {
    rounded(soft::F64, 1f64.to_bits(), what, a, b, c)
}

/// `.f32` to `.f16`, to nearest.
pub extern "C" fn narrow_half(bits: u32) -> u32 {
    soft::convert(soft::F32, soft::F16, bits.into(), Rounding::Nearest) as u32
}

/// `fma` of halves: of `.bf16` if `brain` is 1.
pub extern "C" fn half_fma(brain: u32, a: u32, b: u32, c: u32) -> u32 {
    let format = if brain == 1 { soft::BF16 } else { soft::F16 };
    soft::arithmetic(format, Operation::Fma, Rounding::Nearest, a.into(), b.into(), c.into()) as u32
}

fn type_number(ty: Type) -> u32 {
    match ty {
        Type::F16 => 1,
        Type::Bf16 => 2,
        Type::Tf32 => 3,
        Type::F32 => 4,
        Type::F64 => 5,
        Type::U64 => 6,
        _ => 0,
    }
}

fn format(number: u32) -> soft::Format {
    match number & 7 {
        1 => soft::F16,
        2 => soft::BF16,
        3 => soft::TF32,
        5 => soft::F64,
        _ => soft::F32,
    }
}

/// What [`convert`] and [`from_integer`] are told of a conversion.
pub fn conversion_number(cvt: Cvt) -> u32 {
    type_number(cvt.from) | type_number(cvt.to) << 4 | rounding_number(cvt.round) << 8 | u32::from(cvt.integral) << 12
}

/// Between float formats.
pub extern "C" fn convert(what: u32, bits: u64) -> u64 {
    let (from, to) = (format(what), format(what >> 4));
    let mode = if what >> 12 & 1 == 1 { Rounding::Nearest } else { rounding(what >> 8) };
    let result = soft::convert(from, to, bits, mode);
    // `.tf32` values live in the upper bits of an `.f32`.
    if what >> 4 & 7 == 3 { result << 13 } else { result }
}

/// An integer of 64 bits to a float.
pub extern "C" fn from_integer(what: u32, value: u64) -> u64 {
    let value = if what & 7 == 6 { i128::from(value) } else { i128::from(value as i64) };
    soft::from_integer(format(what >> 4), value, rounding(what >> 8))
}

/// `fns`: the position of the `offset`-th set bit from `base`.
pub extern "C" fn find_nth_set(mask: u32, base: u32, offset: u32) -> u32 {
    let base = base & 31;
    let offset = offset as i32;
    let (step, mut left) = match offset {
        0 => return if mask >> base & 1 == 1 { base } else { u32::MAX },
        n if n > 0 => (1i32, n),
        n => (-1, n.saturating_neg()),
    };
    let mut at = base as i32;
    while (0..32).contains(&at) {
        if mask >> at & 1 == 1 {
            left -= 1;
            if left == 0 {
                return at as u32;
            }
        }
        at += step;
    }
    u32::MAX
}

/// `prmt` with a selector that is no constant, or a special mode (in the order of `ir::Prmt`).
pub extern "C" fn permute(a: u32, b: u32, selector: u32, mode: u32) -> u32 {
    let bytes: [u8; 8] = (u64::from(a) | u64::from(b) << 32).to_le_bytes();
    let s = (selector & 3) as usize;
    let pick: [usize; 4] = match mode {
        1 => [s, s + 1, s + 2, s + 3],
        2 => [s, (s + 7) & 7, (s + 6) & 7, (s + 5) & 7],
        3 => [s; 4],
        4 => [0, 1, 2, 3].map(|n: usize| n.max(s)),
        5 => [0, 1, 2, 3].map(|n: usize| n.min(s)),
        6 => [0, 1, 0, 1].map(|n| n + 2 * (s & 1)),
        _ => {
            let byte = |n: u32| {
                let nibble = selector >> (4 * n) & 15;
                let value = bytes[(nibble & 7) as usize];
                if nibble & 8 != 0 { (value as i8 >> 7) as u8 } else { value }
            };
            return u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
        }
    };
    u32::from_le_bytes(pick.map(|n| bytes[n]))
}
