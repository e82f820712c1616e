//! Warp collectives: when they complete, and what they yield.
//!
//! A lane that reaches a collective leaves its operands in its frame and waits. The collective completes when every
//! lane its mask names waits at one of the same kind with the same mask, or has ended. The old kind without a mask
//! completes for the lanes that stand at the same instruction once no lane of the warp can go on otherwise.

use crate::exec::block::alike;
use crate::exec::matrix;
use crate::jit::context::{DONE, EXCHANGE_A, EXCHANGE_B, EXCHANGE_C, EXCHANGE_MASK, EXCHANGE_STEP, WAITING};
use crate::jit::unit::{Gathering, Site};
use crate::ptx::ir::{Collective, Redux, Shfl};

/// Resume points and frames of one warp's threads.
pub struct Warp<'b> {
    /// Resume points, of at most 32 threads.
    pub states: &'b mut [u32],
    /// The exchange, from the word of the warp's first thread.
    pub exchange: &'b mut [u64],
    /// Points where threads wait.
    pub sites: &'b [Site],
}

impl Warp<'_> {
    fn get(&self, lane: usize, at: i32) -> u64 {
        self.exchange[lane + at as usize / 8]
    }

    fn put(&mut self, lane: usize, at: i32, value: u64) {
        self.exchange[lane + at as usize / 8] = value;
    }

    /// The collective a lane waits at.
    fn waiting(&self, lane: usize) -> Option<Gathering> {
        let state = self.states[lane];
        if state == DONE || state & WAITING == 0 {
            return None;
        }
        match self.sites.get((state & !WAITING) as usize) {
            Some(Site::Collective(gathering)) => Some(*gathering),
            _ => None,
        }
    }

    fn mask(&self, lane: usize, gathering: Gathering) -> u32 {
        gathering.mask.unwrap_or_else(|| self.get(lane, EXCHANGE_MASK) as u32)
    }

    /// Completes the collective that all lanes wait at, if it is of all of them; the states are left as they are.
    pub fn resolve_at(&mut self, state: u32) -> bool {
        let all = u32::MAX >> (32 - self.states.len());
        match self.sites.get((state & !WAITING) as usize) {
            Some(&Site::Collective(gathering)) if state != DONE => {
                let full = gathering.legacy || gathering.mask.is_some_and(|mask| mask & all == all);
                if full {
                    self.complete(gathering.kind, all, Some(gathering));
                }
                full
            }
            _ => false,
        }
    }

    /// Completes what can be completed; answers whether anything was.
    pub fn resolve(&mut self) -> bool {
        let count = self.states.len();
        // Nearly always the whole warp stands at one place.
        let first = self.states[0];
        if alike(self.states) {
            let Some(gathering) = self.waiting(0) else { return false };
            let all = u32::MAX >> (32 - count);
            let full = match gathering.mask {
                Some(mask) => mask & all == all,
                None => gathering.legacy || (0..count).all(|n| self.mask(n, gathering) & all == all),
            };
            if full {
                self.complete(gathering.kind, all, Some(gathering));
                self.states.fill(first & !WAITING);
                return true;
            }
        }
        let mut seen = 0u32;
        let mut progress = false;
        let alive = (0..count).filter(|&n| self.states[n] != DONE).fold(0u32, |m, n| m | 1 << n);
        for lane in 0..count {
            let Some(gathering) = self.waiting(lane).filter(|g| !g.legacy) else { continue };
            if seen >> lane & 1 == 1 {
                continue;
            }
            let mask = self.mask(lane, gathering);
            let members = (mask | 1 << lane) & alive;
            let ready = lanes(members).all(|n| {
                let same = |g: &Gathering| !g.legacy && g.kind == gathering.kind && self.mask(n, *g) == mask;
                n < count && self.waiting(n).as_ref().is_some_and(same)
            });
            if ready {
                self.complete(gathering.kind, members, None);
                seen |= members;
                progress = true;
            }
        }
        if progress || self.states.iter().any(|&s| s != DONE && s & WAITING == 0) {
            return progress;
        }
        for lane in 0..count {
            let Some(gathering) = self.waiting(lane).filter(|g| g.legacy) else { continue };
            let state = self.states[lane];
            let members = (0..count).filter(|&n| self.states[n] == state).fold(0u32, |m, n| m | 1 << n);
            self.complete(gathering.kind, members, Some(gathering));
            progress = true;
        }
        progress
    }

    /// A shuffle of a full warp whose distance and bounds are constants.
    fn shuffle_all(&mut self, mode: Shfl, b: u32, c: u32) {
        match mode {
            // A mode at a time, so that the loop is one of plain arithmetic.
            Shfl::Up => self.shuffle_by(|lane| source(Shfl::Up, lane, b, c)),
            Shfl::Down => self.shuffle_by(|lane| source(Shfl::Down, lane, b, c)),
            Shfl::Bfly => self.shuffle_by(|lane| source(Shfl::Bfly, lane, b, c)),
            Shfl::Idx => self.shuffle_by(|lane| source(Shfl::Idx, lane, b, c)),
        }
    }

    fn shuffle_by(&mut self, from: impl Fn(u32) -> (u32, bool)) {
        let mut a = [0u64; 32];
        a.copy_from_slice(&self.exchange[..32]);
        let (values, rest) = self.exchange.split_at_mut(32);
        let second = &mut rest[EXCHANGE_B as usize / 8 - 32..][..32];
        for (lane, (value, second)) in values.iter_mut().zip(second).enumerate() {
            let (from, valid) = from(lane as u32);
            *value = a[from as usize & 31];
            *second = u64::from(valid);
        }
    }

    /// What is done with matrices; lanes that are missing hold zeros.
    fn matrix(&mut self, kind: Collective, members: u32) {
        let arrays = match kind {
            Collective::Mma(_) => matrix::WORDS,
            _ => 2,
        };
        let mut held = [[0u64; matrix::WORDS]; 32];
        for lane in lanes(members) {
            for (n, word) in held[lane].iter_mut().enumerate().take(arrays) {
                *word = self.get(lane, n as i32 * EXCHANGE_STEP);
            }
        }
        let results = match kind {
            Collective::Mma(mma) => matrix::multiply(mma, &held),
            Collective::LoadMatrix { count, transposed, .. } => matrix::distribute(count, transposed, &held),
            Collective::StoreMatrix { count, transposed } => matrix::collect(count, transposed, &held),
            Collective::TransposeMatrix => matrix::transpose(&held),
            _ => return,
        };
        for lane in lanes(members) {
            for (n, &word) in results[lane].iter().enumerate() {
                self.put(lane, n as i32 * EXCHANGE_STEP, word);
            }
            self.states[lane] &= !WAITING;
        }
    }

    /// Puts the results into the exchange and lets the members go on. `common` is the site they all stand at, if it
    /// is one.
    fn complete(&mut self, kind: Collective, members: u32, common: Option<Gathering>) {
        if let (Collective::Shfl(mode), u32::MAX, Some(Gathering { constants: [Some(b), Some(c)], .. })) =
            (kind, members, common)
        {
            self.shuffle_all(mode, b, c);
            self.states.iter_mut().for_each(|s| *s &= !WAITING);
            return;
        }
        if kind.is_of_matrices() {
            return self.matrix(kind, members);
        }
        let mut a = [0u64; 32];
        for lane in lanes(members) {
            a[lane] = self.get(lane, EXCHANGE_A);
        }
        let votes = lanes(members).filter(|&n| a[n] & 1 == 1).fold(0u32, |m, n| m | 1 << n);
        let first = members.trailing_zeros() as usize;
        let total = match kind {
            Collective::Redux(op) => lanes(members).map(|n| a[n] as u32).reduce(|x, y| reduce(op, x, y)).unwrap_or(0),
            _ => 0,
        };
        for lane in lanes(members) {
            let (value, second) = match kind {
                Collective::Shfl(mode) => {
                    let [b, c] = common.or_else(|| self.waiting(lane)).map_or([None; 2], |g| g.constants);
                    let b = b.unwrap_or_else(|| self.get(lane, EXCHANGE_B) as u32);
                    let c = c.unwrap_or_else(|| self.get(lane, EXCHANGE_C) as u32);
                    let (from, valid) = source(mode, lane as u32, b, c);
                    // What a lane outside the group holds is undefined; the own value does no harm.
                    let from = if members >> from & 1 == 1 { from as usize } else { lane };
                    (a[from], u64::from(valid))
                }
                Collective::VoteAll => (u64::from(votes == members), 0),
                Collective::VoteAny => (u64::from(votes != 0), 0),
                Collective::VoteUni => (u64::from(votes == members || votes == 0), 0),
                Collective::Ballot => (u64::from(votes), 0),
                Collective::MatchAny { .. } => {
                    (u64::from(lanes(members).filter(|&n| a[n] == a[lane]).fold(0u32, |m, n| m | 1 << n)), 1)
                }
                Collective::MatchAll { .. } => {
                    let same = lanes(members).all(|n| a[n] == a[first]);
                    (if same { u64::from(members) } else { 0 }, u64::from(same))
                }
                Collective::Redux(_) => (u64::from(total), 0),
                Collective::Activemask => (u64::from(members), 0),
                Collective::WarpSync => (0, 0),
                Collective::Elect => (first as u64, u64::from(lane == first)),
                Collective::Mma(_)
                | Collective::LoadMatrix { .. }
                | Collective::StoreMatrix { .. }
                | Collective::TransposeMatrix => (0, 0),
            };
            self.put(lane, EXCHANGE_A, value);
            self.put(lane, EXCHANGE_B, second);
            self.states[lane] &= !WAITING;
        }
    }
}

fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |n| mask >> n & 1 == 1)
}

fn reduce(op: Redux, a: u32, b: u32) -> u32 {
    match op {
        Redux::Add => a.wrapping_add(b),
        Redux::MinU => a.min(b),
        Redux::MaxU => a.max(b),
        Redux::MinS => (a as i32).min(b as i32) as u32,
        Redux::MaxS => (a as i32).max(b as i32) as u32,
        Redux::And => a & b,
        Redux::Or => a | b,
        Redux::Xor => a ^ b,
    }
}

/// PTX ISA, shfl.sync: the source lane, and whether it is in range.
#[inline(always)]
fn source(mode: Shfl, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let b = b & 31;
    let clamp = c & 31;
    let segment = c >> 8 & 31;
    let most = lane & segment | clamp & !segment;
    let least = lane & segment;
    let (from, valid) = match mode {
        Shfl::Up => (lane.wrapping_sub(b), lane as i32 - b as i32 >= most as i32),
        Shfl::Down => (lane + b, lane + b <= most),
        Shfl::Bfly => (lane ^ b, lane ^ b <= most),
        Shfl::Idx => {
            let from = least | b & !segment;
            (from, from <= most)
        }
    };
    if valid { (from & 31, true) } else { (lane, false) }
}
