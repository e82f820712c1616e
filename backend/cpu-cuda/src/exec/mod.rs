//! Running blocks.
use std::sync::atomic::AtomicBool;

use crate::engine::{Fault, FaultKind, Launch, Memory};
use crate::jit::Code;

/// See [`crate::engine::run`].
pub fn run(_code: &Code, _launch: &Launch<'_>, _memory: &dyn Memory, _cancel: &AtomicBool) -> Result<(), Fault> {
    Err(Fault {
        kind: FaultKind::Compile,
        block: [0; 3],
        thread: [0; 3],
        address: 0,
        line: 0,
        message: "no engine yet".into(),
    })
}
