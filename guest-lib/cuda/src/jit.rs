//! Options of loading and linking (`CUjit_option`): numbers travel; the buffers for logs and times are filled from the reply.

use crate::CUresult;
use crate::program::{In, Out};
use crate::status::{CUDA_ERROR_FILE_NOT_FOUND, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY};
use core::ffi::{c_char, c_void};

/// Most options of one call.
const MOST: u32 = 64;

/// `CUjit_option`.
mod option {
    pub const WALL_TIME: u32 = 2;
    pub const INFO_LOG_BUFFER: u32 = 3;
    pub const INFO_LOG_BUFFER_SIZE_BYTES: u32 = 4;
    pub const ERROR_LOG_BUFFER: u32 = 5;
    pub const ERROR_LOG_BUFFER_SIZE_BYTES: u32 = 6;
    /// Arrays of names and addresses in the program's memory, and their lengths.
    pub const ARRAYS: &[u32] = &[17, 18, 19, 25, 26, 27, 28];
    /// Past the last option.
    pub const COUNT: u32 = 35;
}

/// A log buffer of the program's: where, how large, and the place of its size among the values.
#[derive(Clone, Copy)]
struct Log {
    buffer: *mut c_char,
    room: usize,
    size_at: Option<usize>,
}

impl Log {
    const NONE: Log = Log { buffer: core::ptr::null_mut(), room: 0, size_at: None };

    /// Writes a log, and its length in the place of the buffer's size.
    fn fill(self, text: &[u8], values: Out<usize>) {
        let taken = if self.buffer.is_null() || self.room == 0 { 0 } else { text.len().min(self.room - 1) };
        if !self.buffer.is_null() && self.room != 0 {
            let room = i32::try_from(self.room).unwrap_or(i32::MAX);
            // Null and no room were told apart before.
            let _ = crate::program::fill_text(Out(self.buffer), room, text);
        }
        if let Some(at) = self.size_at {
            values.at(at).set_if_wanted(taken);
        }
    }
}

/// The options of a call.
pub struct Options {
    /// Those that travel: pairs of u32 number, u32 0, u64 value.
    pub bytes: Vec<u8>,
    values: Out<usize>,
    info: Log,
    error: Log,
    wall_time_at: Option<usize>,
}

impl Options {
    /// Reads the arrays of options and values.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for missing arrays or too many options.
    pub fn read(count: u32, options: In<u32>, values: In<usize>) -> Result<Options, CUresult> {
        let mut read = Options {
            bytes: Vec::new(),
            values: Out(values.0.cast_mut()),
            info: Log::NONE,
            error: Log::NONE,
            wall_time_at: None,
        };
        if count > MOST {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        for at in 0..count as usize {
            let (option, value) = (options.at(at)?, values.at(at)?);
            match option {
                option::WALL_TIME => {
                    read.wall_time_at = Some(at);
                    read.travel(option, 0);
                }
                option::INFO_LOG_BUFFER => read.info.buffer = value as *mut c_char,
                option::INFO_LOG_BUFFER_SIZE_BYTES => {
                    (read.info.room, read.info.size_at) = (value as u32 as usize, Some(at));
                    read.travel(option, value);
                }
                option::ERROR_LOG_BUFFER => read.error.buffer = value as *mut c_char,
                option::ERROR_LOG_BUFFER_SIZE_BYTES => {
                    (read.error.room, read.error.size_at) = (value as u32 as usize, Some(at));
                    read.travel(option, value);
                }
                option if option >= option::COUNT => return Err(CUDA_ERROR_INVALID_VALUE),
                option if option::ARRAYS.contains(&option) => {
                    return Err(crate::counts::unsupported("an option of loading that holds an array"));
                }
                option => read.travel(option, value),
            }
        }
        Ok(read)
    }

    /// Adds an option that travels; the size of a log buffer asks for that log.
    fn travel(&mut self, option: u32, value: usize) {
        self.bytes.extend(option.to_le_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend((value as u64).to_le_bytes());
    }

    /// No options.
    #[must_use]
    pub fn none() -> Options {
        let values = Out(core::ptr::null_mut());
        Options { bytes: Vec::new(), values, info: Log::NONE, error: Log::NONE, wall_time_at: None }
    }

    /// Gives back the logs and the time in ms, whatever the call's answer is.
    pub fn fill(&self, info: &[u8], error: &[u8], wall_time: f32) {
        self.info.fill(info, self.values);
        self.error.fill(error, self.values);
        if let Some(at) = self.wall_time_at {
            // The float lies in the place of the pointer.
            Out(self.values.at(at).0.cast::<f32>()).set_if_wanted(wall_time);
        }
    }
}

/// Reads a file for a loading function.
///
/// # Errors
/// `CUDA_ERROR_FILE_NOT_FOUND` for one that cannot be read, `CUDA_ERROR_OUT_OF_MEMORY` for a folder, as an H200's driver.
pub fn read_file(path: &core::ffi::CStr) -> Result<Vec<u8>, CUresult> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::OsStr::from_bytes(path.to_bytes());
    let mut bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::IsADirectory => CUDA_ERROR_OUT_OF_MEMORY,
        _ => CUDA_ERROR_FILE_NOT_FOUND,
    })?;
    // PTX is text that ends with a zero byte.
    bytes.push(0);
    Ok(bytes)
}

/// The address of the program's image, for functions that take one as `void *`.
#[must_use]
pub fn pointer(bytes: &[u8]) -> *const c_void {
    bytes.as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_when_logs_are_wanted_then_fills_them_and_sends_the_rest() {
        let mut info = [1u8; 8];
        let options = [7u32, 3, 4, 2];
        let mut values = [4usize, info.as_mut_ptr() as usize, 8, 0];
        let read = Options::read(4, In(options.as_ptr()), In(values.as_mut_ptr())).expect("well-formed");
        let travels: Vec<(u8, u8)> = read.bytes.chunks_exact(16).map(|record| (record[0], record[8])).collect();
        assert_eq!(travels, [(7, 4), (4, 8), (2, 0)]);
        read.fill(b"0123456789", b"", 1.5);
        assert_eq!(&info, b"0123456\0");
        assert_eq!((values[0], values[2], values[3] as u32), (4, 7, 1.5f32.to_bits()));
    }

    #[test]
    fn options_when_there_are_too_many_then_are_refused() {
        assert!(Options::read(65, In(core::ptr::null()), In(core::ptr::null())).is_err());
        assert!(Options::read(1, In(core::ptr::null()), In(core::ptr::null())).is_err());
    }
}
