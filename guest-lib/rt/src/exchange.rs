//! An argument that travels whole: in the frame, in the reply, or as one lease.

use std::sync::atomic::Ordering;

use wire::payload::Buffer;

use crate::carrier::LendError;
use crate::lend::{Access, ended};
use crate::parts::INLINE_BYTES;
use crate::session::Session;

impl Session {
    /// Sends an input: `each` makes a call with the buffer that names its bytes, and returns its status. `trouble` is the status
    /// where memory cannot be lent.
    ///
    /// # Safety
    /// `data` is null or good for reading `bytes`.
    pub unsafe fn input(
        &self,
        data: *const u8,
        bytes: usize,
        trouble: impl FnOnce(LendError) -> i32,
        each: impl FnOnce(Buffer<'_>) -> i32,
    ) -> i32 {
        if data.is_null() {
            return each(Buffer::Null);
        }
        self.counters.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        if bytes <= INLINE_BYTES {
            // SAFETY: not null, so good for reading by this function's contract.
            return each(Buffer::Inline(unsafe { std::slice::from_raw_parts(data, bytes) }));
        }
        // SAFETY: as above; the lease ends before this function returns.
        match unsafe { self.lend(data, bytes, Access::Read) } {
            Ok(lease) => each(lease.buffer(0, bytes)),
            Err(error) => trouble(error),
        }
    }

    /// Fetches an output: `each` makes a waited call with the buffer that names the place, and with the memory for bytes that come
    /// in the reply, as up to `in_reply` do. A call that fails leaves lent memory as it was.
    ///
    /// # Safety
    /// `data` is null or good for writing `bytes`.
    pub unsafe fn output(
        &self,
        data: *mut u8,
        bytes: usize,
        in_reply: usize,
        trouble: impl FnOnce(LendError) -> i32,
        each: impl FnOnce(Buffer<'_>, &mut [u8]) -> i32,
    ) -> i32 {
        if data.is_null() {
            return each(Buffer::Null, &mut []);
        }
        self.counters.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
        if bytes <= in_reply {
            // SAFETY: not null, so good for writing by this function's contract.
            let memory = unsafe { std::slice::from_raw_parts_mut(data, bytes) };
            return each(Buffer::Reply { bytes: bytes as u64 }, memory);
        }
        // SAFETY: as above; the lease ends before this function returns.
        match unsafe { self.lend(data, bytes, Access::Write) } {
            Ok(lease) => ended(each(lease.buffer(0, bytes), &mut []), lease),
            Err(error) => trouble(error),
        }
    }
}
