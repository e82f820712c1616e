//! The program's pointers: the only way arguments are read and results are written.
//!
//! C hands addresses over on trust, and a null one is an ordinary mistake that has an answer (`INVALID_VALUE`). Values
//! are read once, unaligned, into memory of ours. Images, whose length stands in their own first bytes, are read
//! through the kernel, so that a length that lies ends in an error and not in a crash.

use std::ffi::{CStr, c_char};

use crate::status::{Answer, Status};

/// Where a result goes.
#[repr(transparent)]
pub struct Out<T>(pub *mut T);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Out<T> {}

impl<T: Copy> Out<T> {
    /// Refuses a null pointer.
    pub fn check(self) -> Answer {
        if self.0.is_null() { Err(Status::INVALID_VALUE) } else { Ok(()) }
    }

    /// Whether the program asks for this result.
    pub fn wanted(self) -> bool {
        !self.0.is_null()
    }

    /// Writes the result; refuses a null pointer.
    pub fn set(self, value: T) -> Answer {
        self.check()?;
        // SAFETY: not null; the program vouches for the rest, as the driver API asks of it.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Writes the result if the program asks for it.
    pub fn set_if_wanted(self, value: T) {
        if self.wanted() {
            // SAFETY: as in `set`.
            unsafe { self.0.write_unaligned(value) };
        }
    }

    /// Writes result `index` of an array.
    pub fn set_at(self, index: usize, value: T) -> Answer {
        self.check()?;
        // SAFETY: as in `set`; the program gave the array's length and callers stay below it.
        unsafe { self.0.add(index).write_unaligned(value) };
        Ok(())
    }

    /// Reads what is there, for arguments that go both ways.
    pub fn read(self) -> Answer<T> {
        In(self.0.cast_const()).read()
    }
}

impl Out<c_char> {
    /// Writes text and a NUL into `length` bytes, cut to fit.
    pub fn set_text(self, length: usize, text: &str) -> Answer {
        self.check()?;
        let Some(room) = length.checked_sub(1) else { return Err(Status::INVALID_VALUE) };
        let bytes = text.as_bytes();
        let used = bytes.get(..room).unwrap_or(bytes);
        // SAFETY: not null and `length` bytes long, says the program; `used` and the NUL fit in that.
        unsafe {
            std::ptr::copy_nonoverlapping(used.as_ptr().cast(), self.0, used.len());
            self.0.add(used.len()).write(0);
        }
        Ok(())
    }
}

/// Where an argument lies.
#[repr(transparent)]
pub struct In<T>(pub *const T);

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for In<T> {}

impl<T: Copy> In<T> {
    /// Whether there is an argument.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The argument; refuses a null pointer.
    pub fn read(self) -> Answer<T> {
        if self.0.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        // SAFETY: not null; the program vouches for the rest. Only plain data types are read this way.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// `count` arguments in a row; refuses a null pointer unless there are none.
    pub fn read_all(self, count: usize) -> Answer<Vec<T>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if self.0.is_null() || count > isize::MAX as usize / size_of::<T>().max(1) {
            return Err(Status::INVALID_VALUE);
        }
        let mut all = Vec::new();
        all.try_reserve_exact(count).map_err(|_| Status::OUT_OF_MEMORY)?;
        for index in 0..count {
            // SAFETY: not null and `count` long, says the program.
            all.push(unsafe { self.0.add(index).read_unaligned() });
        }
        Ok(all)
    }
}

/// A NUL-terminated text of the program.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Text(pub *const c_char);

impl Text {
    /// The text; refuses a null pointer.
    pub fn read(self) -> Answer<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The text's bytes without the NUL; refuses a null pointer.
    pub fn bytes(self) -> Answer<Vec<u8>> {
        if self.0.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        // SAFETY: not null and terminated, says the program.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_bytes().to_vec())
    }
}

/// Copies `length` bytes from `address`; refused if they are not all readable.
pub fn copy_readable(address: u64, length: usize) -> Answer<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Status::OUT_OF_MEMORY)?;
    let mut done = 0;
    while done < length {
        let from = address.checked_add(done as u64).ok_or(Status::INVALID_VALUE)?;
        // One page-bounded gigabyte at most a call: the kernel limits a single transfer to 2 GiB.
        let ask = (length - done).min(1 << 30);
        let local =
            libc::iovec { iov_base: bytes.spare_capacity_mut().as_mut_ptr().wrapping_add(done).cast(), iov_len: ask };
        let remote = libc::iovec { iov_base: from as *mut libc::c_void, iov_len: ask };
        // SAFETY: `local` lies in the reserved capacity; the kernel checks `remote`.
        let got = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
        match usize::try_from(got) {
            Ok(0) => return Err(Status::INVALID_VALUE),
            Ok(got) => done += got,
            Err(_) if std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT) => {
                return Err(Status::INVALID_VALUE);
            }
            Err(_) => {
                // The call is not allowed in this process (seccomp): trust the length, as the vendor's library does.
                // SAFETY: readable, says the program; `ask` bytes of capacity are reserved.
                unsafe { std::ptr::copy_nonoverlapping(from as *const u8, local.iov_base.cast(), ask) };
                done += ask;
            }
        }
    }
    // SAFETY: all `length` bytes were written above.
    unsafe { bytes.set_len(length) };
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_when_range_leaves_the_mapping_then_refused() {
        let bytes = [1u8, 2, 3];
        assert_eq!(copy_readable(bytes.as_ptr() as u64, 3).expect("readable"), bytes);
        assert!(copy_readable(8, 16).is_err());
        assert!(copy_readable(u64::MAX - 4, 16).is_err());
    }

    #[test]
    fn set_text_when_short_then_cut_and_terminated() {
        let mut room = [7 as c_char; 4];
        Out(room.as_mut_ptr()).set_text(4, "abcdef").expect("room");
        assert_eq!(room, [b'a' as c_char, b'b' as c_char, b'c' as c_char, 0]);
    }

    #[test]
    fn out_when_null_then_refused() {
        assert_eq!(Out::<u32>(std::ptr::null_mut()).set(1), Err(Status::INVALID_VALUE));
    }
}
