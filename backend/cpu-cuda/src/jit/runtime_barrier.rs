//! `mbarrier`: barrier objects in shared memory.
//!
//! An object is 64 bits, which only these functions look into: arrivals expected in each phase, arrivals this phase still
//! waits for, bytes it still waits for, and the parity of the phase. A phase ends when it waits for nothing. The threads
//! that share an object run on one host thread, in turns.

use crate::ptx::ir::Mbarrier;

const COUNT: u64 = (1 << 20) - 1;
const PENDING: u32 = 20;
const BYTES: u32 = 40;
const BYTES_MASK: u64 = (1 << 22) - 1;
const PHASE: u64 = 1 << 63;

/// The number of an operation, for [`operate`].
pub fn number(what: Mbarrier) -> u32 {
    match what {
        Mbarrier::Init => 0,
        Mbarrier::Invalidate => 1,
        Mbarrier::Arrive { drop: false } => 2,
        Mbarrier::Arrive { drop: true } => 3,
        Mbarrier::Expect => 4,
        Mbarrier::Complete => 5,
        Mbarrier::Test => 6,
        Mbarrier::TestParity | Mbarrier::Pending => 7,
    }
}

fn with(state: u64, shift: u32, mask: u64, value: u64) -> u64 {
    state & !(mask << shift) | (value & mask) << shift
}

/// The state once an operation is done, and its answer.
fn apply(what: u32, state: u64, operand: u64) -> (u64, u64) {
    let (expected, pending, bytes) = (state & COUNT, state >> PENDING & COUNT, state >> BYTES & BYTES_MASK);
    let changed = match what {
        0 => return (with(operand & COUNT, PENDING, COUNT, operand), 0),
        1 => return (0, 0),
        2 => with(state, PENDING, COUNT, pending.saturating_sub(operand)),
        3 => {
            let fewer = with(state, 0, COUNT, expected.saturating_sub(operand));
            with(fewer, PENDING, COUNT, pending.saturating_sub(operand))
        }
        4 => with(state, BYTES, BYTES_MASK, bytes.wrapping_add(operand)),
        5 => with(state, BYTES, BYTES_MASK, bytes.wrapping_sub(operand)),
        6 => return (state, u64::from((state ^ operand) & PHASE != 0)),
        _ => return (state, u64::from((state & PHASE != 0) != (operand & 1 == 1))),
    };
    if changed >> PENDING & COUNT == 0 && changed >> BYTES & BYTES_MASK == 0 {
        let next = with(changed, PENDING, COUNT, changed & COUNT);
        return (next ^ PHASE, state);
    }
    (changed, state)
}

/// Arrivals that a phase still waited for.
pub extern "C" fn pending(state: u64) -> u32 {
    (state >> PENDING & COUNT) as u32
}

/// An operation on the object at `object`, which the caller has checked for 8 bytes.
pub unsafe extern "C" fn operate(object: *mut u64, what: u32, operand: u64) -> u64 {
    // SAFETY: generated code has compared the address with the block's shared memory, and aligned it.
    let state = unsafe { object.read() };
    let (state, answer) = apply(what, state, operand);
    // SAFETY: as above.
    unsafe { object.write(state) };
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_ends_when_all_have_arrived_and_all_bytes_are_there() {
        let (state, _) = apply(0, 0, 2);
        let (state, token) = apply(2, state, 1);
        assert_eq!(apply(6, state, token).1, 0);
        assert_eq!(pending(token), 2);
        let (state, _) = apply(4, state, 16);
        let (state, _) = apply(2, state, 1);
        assert_eq!(apply(7, state, 0).1, 0);
        let (state, _) = apply(5, state, 16);
        assert_eq!((apply(6, state, token).1, apply(7, state, 0).1, apply(7, state, 1).1), (1, 1, 0));
        // One drops out: the next phase expects one.
        let (state, _) = apply(3, state, 1);
        let (state, _) = apply(2, state, 1);
        let (state, _) = apply(2, state, 1);
        assert_eq!((apply(7, state, 0).1, state & COUNT), (1, 1));
    }
}
