//! Writes inputs for the fuzz target `dispatch` into a folder: for each call, messages of the spec's shape, after those that make a
//! context and memory. `tests/fuzz/run` calls it.

use std::path::PathBuf;

use loopback::shapes::Shapes;

/// Variants of each call.
const VARIANTS: u64 = 4;
/// Flags of a message there: in the first context, and without a slot.
const IN_CONTEXT: u8 = 2;
const POSTED: u8 = 1;

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("a folder"));
    let mut calls = Shapes::new(0).calls();
    // As in `backend/src/worker/cuda/fuzz.rs`.
    calls.retain(|(name, ..)| !["gpuferryNextHostFunction", "gpuferryHostFunction"].contains(&name.as_str()));
    calls.sort_by_key(|(_, number, _)| *number);
    let place = |name: &str| calls.iter().position(|call| call.0 == name).expect("a call of the spec") as u8;
    for (at, (name, number, waits)) in calls.iter().enumerate() {
        for variant in 0..VARIANTS {
            let mut shapes = Shapes::new(variant * 1000 + at as u64);
            let mut input =
                message(place("cuDevicePrimaryCtxRetain"), 0, &[&shapes.fresh(1).to_le_bytes()[..], &[0; 4]].concat());
            input.extend(message(place("cuMemAlloc_v2"), IN_CONTEXT, &65536u64.to_le_bytes()));
            shapes.learn(0x1000_0000);
            let flags = IN_CONTEXT | if *waits { 0 } else { POSTED };
            for _ in 0..3 {
                input.extend(message(at as u8, flags, &shapes.payload(*number)));
            }
            std::fs::write(folder.join(format!("{name}-{variant}")), input).expect("written");
        }
    }
}

/// A message as the target takes it.
fn message(place: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [low, high] = u16::try_from(payload.len()).expect("a frame's payload").to_le_bytes();
    [&[place, flags, low, high][..], payload].concat()
}
