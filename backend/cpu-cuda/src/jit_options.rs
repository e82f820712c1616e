//! Options of just-in-time compiling: of the thirty-odd, those about logs matter here.

use crate::foreign::{In, Out};
use crate::status::{Answer, Status};

const MAX_REGISTERS: u32 = 0;
const INFO_BUFFER: u32 = 3;
const INFO_SIZE: u32 = 4;
const ERROR_BUFFER: u32 = 5;
const ERROR_SIZE: u32 = 6;
const WALL_TIME: u32 = 2;
/// One past the last CUjit_option of CUDA 13.0.
const COUNT: u32 = 35;

/// Where one log goes.
#[derive(Clone, Copy, Default)]
struct Log {
    buffer: u64,
    size: u32,
    /// The slot that takes the bytes written.
    slot: Option<u64>,
}

/// The options of a call.
#[derive(Clone, Copy, Default)]
pub struct JitOptions {
    info: Log,
    error: Log,
    wall_time: Option<u64>,
    /// Registers of a thread at most; 0 if nothing is said of that.
    pub max_registers: u32,
}

// The addresses are the program's; it keeps the buffers until the link ends, as the API asks.
impl JitOptions {
    /// Reads `count` options and their values.
    pub fn read(count: u32, options: In<u32>, values: In<u64>) -> Answer<JitOptions> {
        let mut read = JitOptions::default();
        let count = count as usize;
        let options = options.read_all(count)?;
        let slots = values;
        for (index, (option, value)) in options.iter().zip(slots.read_all(count)?).enumerate() {
            let slot = Some(slots.0 as u64 + 8 * index as u64);
            match *option {
                MAX_REGISTERS => read.max_registers = value as u32,
                INFO_BUFFER => read.info.buffer = value,
                ERROR_BUFFER => read.error.buffer = value,
                INFO_SIZE => (read.info.size, read.info.slot) = (value as u32, slot),
                ERROR_SIZE => (read.error.size, read.error.slot) = (value as u32, slot),
                WALL_TIME => read.wall_time = slot,
                COUNT.. => return Err(Status::INVALID_VALUE),
                _ => {}
            }
        }
        Ok(read)
    }

    /// Writes the logs and the time to where the program wants them.
    pub fn report(&self, info: &str, error: &str, milliseconds: f32) {
        self.info.write(info);
        self.error.write(error);
        if let Some(slot) = self.wall_time {
            Out(slot as *mut f32).set_if_wanted(milliseconds);
        }
    }

    /// These options, and those of `more` where it gives any.
    pub fn and(self, more: JitOptions) -> JitOptions {
        let pick = |ours: Log, theirs: Log| if theirs.buffer != 0 { theirs } else { ours };
        JitOptions {
            info: pick(self.info, more.info),
            error: pick(self.error, more.error),
            wall_time: more.wall_time.or(self.wall_time),
            max_registers: if more.max_registers > 0 { more.max_registers } else { self.max_registers },
        }
    }
}

impl Log {
    fn write(self, text: &str) {
        let mut written = 0;
        if self.buffer != 0 && self.size > 0 {
            // The buffer is not null, the only thing that this refuses.
            let _ = Out(self.buffer as *mut std::ffi::c_char).set_text(self.size as usize, text);
            written = (text.len() as u64).min(u64::from(self.size) - 1);
            if written > 0 {
                written += 1;
            }
        }
        if let Some(slot) = self.slot {
            Out(slot as *mut u64).set_if_wanted(written);
        }
    }
}
