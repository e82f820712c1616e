//! Options of the just-in-time compiler and linker: from the bytes of a message to the driver's two arrays.
//!
//! Only options whose values are numbers travel. Where the guest has a log buffer it names the buffer's size, and the worker
//! puts a buffer of its own there.

use std::ffi::c_void;

use wire::Malformed;

use super::answer::Failure;
use super::generated::CUDA_ERROR_NOT_SUPPORTED;

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
    /// Reads records of number u32, zero u32, value u64.
    ///
    /// # Errors
    /// [`Malformed`] for broken records, `CUDA_ERROR_NOT_SUPPORTED` for an option that does not travel.
    pub fn read(records: &[u8]) -> Result<Options, Failure> {
        if !records.len().is_multiple_of(RECORD) || records.len() / RECORD > MAX_OPTIONS {
            return Err(Malformed::new("broken options").into());
        }
        let mut options = Options { names: vec![], values: vec![], info: None, error: None, wall_time: None };
        for record in records.chunks_exact(RECORD) {
            let mut reader = wire::payload::Reader::new(record);
            let (name, zero, value) = (reader.u32()?, reader.u32()?, reader.u64()?);
            if zero != 0 {
                return Err(Malformed::new("broken options").into());
            }
            options.add(name, value)?;
        }
        Ok(options)
    }

    fn add(&mut self, name: u32, value: u64) -> Result<(), Failure> {
        let log = || Box::new([0u8; LOG_BYTES]);
        match name {
            INFO_LOG_BYTES if self.info.is_none() => {
                let mut buffer = log();
                self.push(INFO_LOG_BUFFER, buffer.as_mut_ptr().cast());
                self.info = Some((self.names.len(), buffer));
                self.push(name, std::ptr::without_provenance_mut(LOG_BYTES.min(value as usize)));
            }
            ERROR_LOG_BYTES if self.error.is_none() => {
                let mut buffer = log();
                self.push(ERROR_LOG_BUFFER, buffer.as_mut_ptr().cast());
                self.error = Some((self.names.len(), buffer));
                self.push(name, std::ptr::without_provenance_mut(LOG_BYTES.min(value as usize)));
            }
            WALL_TIME => {
                self.wall_time = Some(self.names.len());
                self.push(name, std::ptr::null_mut());
            }
            _ if is_number(name) => self.push(name, std::ptr::without_provenance_mut(value as usize)),
            _ => return Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED)),
        }
        Ok(())
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
    fn read_when_an_option_is_a_pointer_then_is_refused() {
        for name in [INFO_LOG_BUFFER, ERROR_LOG_BUFFER, 17, 18, 19, 25, 26, 27, 28, 35, u32::MAX] {
            assert_eq!(
                Options::read(&record(name, 0x1000)).err(),
                Some(Failure::Status(CUDA_ERROR_NOT_SUPPORTED)),
                "{name}"
            );
        }
    }

    #[test]
    fn read_when_records_are_broken_then_is_malformed() {
        assert!(matches!(Options::read(&[0; 15]), Err(Failure::Malformed(_))));
        assert!(matches!(Options::read(&record(7, 1).repeat(65)), Err(Failure::Malformed(_))));
        let mut bad = record(7, 1);
        bad[4] = 1;
        assert!(matches!(Options::read(&bad), Err(Failure::Malformed(_))));
    }

    #[test]
    fn logs_when_asked_for_then_are_buffers_of_ours() {
        let both = [record(INFO_LOG_BYTES, u64::MAX), record(ERROR_LOG_BYTES, 10), record(7, 4)].concat();
        let options = Options::read(&both).expect("options");
        assert_eq!(options.names, [3, 4, 5, 6, 7]);
        assert_eq!(options.values[1].addr(), LOG_BYTES);
        assert_eq!(options.values[3].addr(), 10);
        assert_eq!(options.info_log(), b"");
    }
}
