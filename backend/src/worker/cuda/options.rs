//! Options of the just-in-time compiler and linker: from the bytes of a message to the driver's two arrays.
//!
//! Only options whose values are numbers travel. The logs and the time are always asked for, into memory of the worker's own.

use std::ffi::c_void;

use wire::Malformed;

use super::generated::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED};
use crate::worker::answer::Failure;

/// Bytes of one option in a message.
const RECORD: usize = 16;
/// Most options of a call: the driver has 35.
const MAX_OPTIONS: usize = 64;
/// Most bytes of each log that comes back: two and the rest fit a reply.
pub const LOG_BYTES: usize = 1900;

/// `CUjit_option`: wall time, out.
const WALL_TIME: u32 = 2;
const INFO_LOG_BUFFER: u32 = 3;
const INFO_LOG_BYTES: u32 = 4;
const ERROR_LOG_BUFFER: u32 = 5;
const ERROR_LOG_BYTES: u32 = 6;

/// The last that is known here.
const LAST_OPTION: u32 = 34;

/// Whether an option's value is a number that goes to the driver as it is.
fn is_number(option: u32) -> bool {
    matches!(option, 0 | 1 | 7..=16 | 20..=24 | 29..=34)
}

/// Options for one call, and the memory that they lead to, which must outlive the driver's use of it.
pub struct Options {
    names: Vec<u32>,
    values: Vec<*mut c_void>,
    info: Option<(usize, Box<[u8; LOG_BYTES]>)>,
    error: Option<(usize, Box<[u8; LOG_BYTES]>)>,
    wall_time: Option<usize>,
}

// SAFETY: the pointers lead into boxes that move with the value, or are numbers.
unsafe impl Send for Options {}

impl Options {
    /// Reads records of number u32, zero u32, value u64; `logs` adds the logs and the time.
    ///
    /// # Errors
    /// [`Malformed`] for broken records, `CUDA_ERROR_INVALID_VALUE` for an option that is none, `CUDA_ERROR_NOT_SUPPORTED` for one
    /// that does not travel.
    pub fn read(records: &[u8], logs: bool) -> Result<Options, Failure> {
        if !records.len().is_multiple_of(RECORD) || records.len() / RECORD > MAX_OPTIONS {
            return Err(Malformed::new("broken options").into());
        }
        let mut options = Options { names: vec![], values: vec![], info: None, error: None, wall_time: None };
        if logs {
            options.info = Some(options.push_log(INFO_LOG_BUFFER, INFO_LOG_BYTES));
            options.error = Some(options.push_log(ERROR_LOG_BUFFER, ERROR_LOG_BYTES));
            options.wall_time = Some(options.names.len());
            options.push(WALL_TIME, std::ptr::null_mut());
        }
        for record in records.chunks_exact(RECORD) {
            let mut reader = wire::payload::Reader::new(record);
            let (name, zero, value) = (reader.u32()?, reader.u32()?, reader.u64()?);
            match name {
                _ if zero != 0 => return Err(Malformed::new("broken options").into()),
                // Asked for anyway, where the call has logs at all.
                WALL_TIME | INFO_LOG_BYTES | ERROR_LOG_BYTES => {}
                _ if is_number(name) => options.push(name, std::ptr::without_provenance_mut(value as usize)),
                _ if name > LAST_OPTION => return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE)),
                _ => return Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED)),
            }
        }
        Ok(options)
    }

    /// A log and its size, which the driver replaces by the bytes it filled. Returns the size's place and the log.
    fn push_log(&mut self, buffer: u32, bytes: u32) -> (usize, Box<[u8; LOG_BYTES]>) {
        let mut log = Box::new([0u8; LOG_BYTES]);
        self.push(buffer, log.as_mut_ptr().cast());
        self.push(bytes, std::ptr::without_provenance_mut(LOG_BYTES));
        (self.names.len() - 1, log)
    }

    fn push(&mut self, name: u32, value: *mut c_void) {
        self.names.push(name);
        self.values.push(value);
    }

    /// Number of options.
    pub fn count(&self) -> u32 {
        self.names.len() as u32
    }

    /// The driver's array of names.
    pub fn names(&mut self) -> *mut u32 {
        self.names.as_mut_ptr()
    }

    /// The driver's array of values; the driver writes results into it.
    pub fn values(&mut self) -> *mut *mut c_void {
        self.values.as_mut_ptr()
    }

    /// Milliseconds, where they were asked for and the driver has written them.
    pub fn wall_time(&self) -> f32 {
        // The driver writes a float into the low half of the value.
        self.wall_time.and_then(|at| self.values.get(at)).map_or(0.0, |value| f32::from_bits(value.addr() as u32))
    }

    /// The log of information so far.
    pub fn info_log(&self) -> Vec<u8> {
        self.log(&self.info)
    }

    /// The log of errors so far.
    pub fn error_log(&self) -> Vec<u8> {
        self.log(&self.error)
    }

    fn log(&self, log: &Option<(usize, Box<[u8; LOG_BYTES]>)>) -> Vec<u8> {
        let Some((at, buffer)) = log else { return Vec::new() };
        // The driver replaces the size by the bytes it filled; a text ends at its zero byte, whichever comes first.
        let filled = self.values.get(*at).map_or(0, |value| value.addr().min(LOG_BYTES));
        let text = buffer.get(..filled).unwrap_or(&[]);
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        text.get(..end).unwrap_or(&[]).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: u32, value: u64) -> Vec<u8> {
        [&name.to_le_bytes()[..], &[0; 4], &value.to_le_bytes()].concat()
    }

    #[test]
    fn read_when_an_option_is_no_number_then_is_refused() {
        for name in [INFO_LOG_BUFFER, ERROR_LOG_BUFFER, 17, 18, 19, 25, 26, 27, 28] {
            let refused = Options::read(&record(name, 0x1000), true).err();
            assert_eq!(refused, Some(Failure::Status(CUDA_ERROR_NOT_SUPPORTED)), "{name}");
        }
        for name in [LAST_OPTION + 1, u32::MAX] {
            let refused = Options::read(&record(name, 0x1000), true).err();
            assert_eq!(refused, Some(Failure::Status(CUDA_ERROR_INVALID_VALUE)), "{name}");
        }
    }

    #[test]
    fn read_when_records_are_broken_then_is_malformed() {
        assert!(matches!(Options::read(&[0; 15], false), Err(Failure::Malformed(_))));
        assert!(matches!(Options::read(&record(7, 1).repeat(65), false), Err(Failure::Malformed(_))));
        let mut bad = record(7, 1);
        bad[4] = 1;
        assert!(matches!(Options::read(&bad, false), Err(Failure::Malformed(_))));
    }

    #[test]
    fn logs_when_asked_for_then_are_memory_of_ours() {
        let records = [record(7, 4), record(ERROR_LOG_BYTES, u64::MAX)].concat();
        let mut options = Options::read(&records, true).expect("options");
        assert_eq!(options.names, [3, 4, 5, 6, 2, 7]);
        assert_eq!((options.values[1].addr(), options.values[3].addr()), (LOG_BYTES, LOG_BYTES));
        let (_, log) = options.error.as_mut().expect("a log");
        log[..4].copy_from_slice(b"bad\0");
        assert_eq!((options.error_log(), options.info_log()), (b"bad".to_vec(), vec![]));
        assert_eq!(Options::read(&record(7, 4), false).expect("options").names, [7]);
    }
}
