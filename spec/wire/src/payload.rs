//! The encoding of arguments and replies: little-endian numbers at their natural alignment, and byte runs with one length.
//!
//! A scalar of N bytes stands at the next offset that is a multiple of N, counted from the payload's start; skipped bytes
//! are zero. A run is its length as `u32`, then its bytes. A [`Buffer`] says where bulk data lies. [`Reader`] never reads past
//! its end, never allocates, and [`Reader::end`] refuses bytes left over.

use crate::Malformed;

/// Where the bytes of a buffer argument lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer<'a> {
    /// A null pointer.
    Null,
    /// In the frame itself (or, for an output, in the reply, `len` bytes at most).
    Inline(&'a [u8]),
    /// An output of `bytes` that comes back in the reply.
    Reply {
        /// Length in bytes.
        bytes: u64,
    },
    /// In the window's staging area.
    Staging {
        /// First byte, counted from the window's start.
        offset: u64,
        /// Length in bytes.
        bytes: u64,
    },
    /// In leased pages.
    Lease {
        /// The lease's number.
        lease: u32,
        /// First byte, counted from the lease's first byte.
        offset: u64,
        /// Length in bytes.
        bytes: u64,
    },
}

const BUFFER_NULL: u32 = 0;
const BUFFER_INLINE: u32 = 1;
const BUFFER_REPLY: u32 = 2;
const BUFFER_STAGING: u32 = 3;
const BUFFER_LEASE: u32 = 4;

impl Buffer<'_> {
    /// Length in bytes; 0 for null.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match *self {
            Buffer::Null => 0,
            Buffer::Inline(data) => data.len() as u64,
            Buffer::Reply { bytes } | Buffer::Staging { bytes, .. } | Buffer::Lease { bytes, .. } => bytes,
        }
    }
}

/// There was no room for what should be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The next multiple of `align`, a power of two, from `at` on; `at` is an offset in a slice.
#[inline(always)]
fn aligned(at: usize, align: usize) -> usize {
    debug_assert!(align.is_power_of_two());
    (at + (align - 1)) & !(align - 1)
}

/// Writes a payload into a slice that the caller owns.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `out`.
    pub fn new(out: &'a mut [u8]) -> Writer<'a> {
        Writer { out, at: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    #[inline(always)]
    fn room(&mut self, align: usize, bytes: usize) -> Result<&mut [u8], Full> {
        let start = aligned(self.at, align);
        if start != self.at {
            self.pad(start)?;
        }
        let end = start.checked_add(bytes).ok_or(Full)?;
        let room = self.out.get_mut(start..end).ok_or(Full)?;
        self.at = end;
        Ok(room)
    }

    /// Skips to `start` with zeros: few arguments are not where the one before them ends.
    #[cold]
    fn pad(&mut self, start: usize) -> Result<(), Full> {
        self.out.get_mut(self.at..start).ok_or(Full)?.fill(0);
        self.at = start;
        Ok(())
    }

    /// Writes one byte.
    /// # Errors
    /// [`Full`], as for all writes.
    #[inline]
    pub fn u8(&mut self, value: u8) -> Result<(), Full> {
        self.room(1, 1)?[0] = value;
        Ok(())
    }

    /// Writes 16 bits.
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn u16(&mut self, value: u16) -> Result<(), Full> {
        self.room(2, 2)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// Writes 32 bits.
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn u32(&mut self, value: u32) -> Result<(), Full> {
        self.room(4, 4)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// Writes 64 bits.
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn u64(&mut self, value: u64) -> Result<(), Full> {
        self.room(8, 8)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// Writes bytes with no length: both sides know it.
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn raw(&mut self, data: &[u8]) -> Result<(), Full> {
        self.room(1, data.len())?.copy_from_slice(data);
        Ok(())
    }

    /// Reserves `bytes` zeroed bytes, aligned to `align` (a power of two up to 16), for the caller to fill.
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn space(&mut self, align: usize, bytes: usize) -> Result<&mut [u8], Full> {
        let space = self.room(align, bytes)?;
        space.fill(0);
        Ok(space)
    }

    /// Writes a run: its length, then its bytes.
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn run(&mut self, data: &[u8]) -> Result<(), Full> {
        self.u32(u32::try_from(data.len()).map_err(|_| Full)?)?;
        self.raw(data)
    }

    /// Writes where a buffer lies.
    /// # Errors
    /// [`Full`].
    pub fn buffer(&mut self, buffer: Buffer<'_>) -> Result<(), Full> {
        match buffer {
            Buffer::Null => self.u32(BUFFER_NULL),
            Buffer::Inline(data) => {
                self.u32(BUFFER_INLINE)?;
                self.run(data)
            }
            Buffer::Reply { bytes } => {
                self.u32(BUFFER_REPLY)?;
                self.u64(bytes)
            }
            Buffer::Staging { offset, bytes } => {
                self.u32(BUFFER_STAGING)?;
                self.u64(offset)?;
                self.u64(bytes)
            }
            Buffer::Lease { lease, offset, bytes } => {
                self.u32(BUFFER_LEASE)?;
                self.u32(lease)?;
                self.u64(offset)?;
                self.u64(bytes)
            }
        }
    }
}

/// Reads a payload from private memory.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `data`, which must be private memory: nobody else can change it.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Reader<'a> {
        Reader { data, at: 0 }
    }

    #[inline(always)]
    fn take(&mut self, align: usize, bytes: usize) -> Result<&'a [u8], Malformed> {
        let start = aligned(self.at, align);
        let end = start.checked_add(bytes).ok_or(Malformed::new("length past the end of a message"))?;
        let taken = self.data.get(start..end).ok_or(Malformed::new("message too short"))?;
        self.at = end;
        Ok(taken)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, N)?);
        Ok(out)
    }

    /// Reads so many times 32 bits.
    /// # Errors
    /// [`Malformed`].
    #[inline]
    pub fn u32s<const N: usize>(&mut self) -> Result<[u32; N], Malformed> {
        let words = self.take(4, 4 * N)?.as_chunks::<4>().0;
        let mut out = [0; N];
        for (value, word) in out.iter_mut().zip(words) {
            *value = u32::from_le_bytes(*word);
        }
        Ok(out)
    }

    /// Reads one byte.
    /// # Errors
    /// [`Malformed`] past the end, as for all reads.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Reads 16 bits.
    /// # Errors
    /// [`Malformed`].
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Reads 32 bits.
    /// # Errors
    /// [`Malformed`].
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Reads 64 bits.
    /// # Errors
    /// [`Malformed`].
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads bytes whose length both sides know.
    /// # Errors
    /// [`Malformed`].
    #[inline]
    pub fn raw(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        self.take(1, bytes)
    }

    /// Reads bytes that [`Writer::space`] reserved.
    /// # Errors
    /// [`Malformed`].
    #[inline]
    pub fn space(&mut self, align: usize, bytes: usize) -> Result<&'a [u8], Malformed> {
        self.take(align, bytes)
    }

    /// Reads a run.
    /// # Errors
    /// [`Malformed`].
    #[inline]
    pub fn run(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = self.u32()? as usize;
        self.take(1, bytes)
    }

    /// Reads where a buffer lies. Offsets and lengths are as the sender gave them: the worker checks them against the lease
    /// or the staging area, with [`Buffer::Reply`] also against the slot.
    /// # Errors
    /// [`Malformed`] for an unknown place.
    pub fn buffer(&mut self) -> Result<Buffer<'a>, Malformed> {
        Ok(match self.u32()? {
            BUFFER_NULL => Buffer::Null,
            BUFFER_INLINE => Buffer::Inline(self.run()?),
            BUFFER_REPLY => Buffer::Reply { bytes: self.u64()? },
            BUFFER_STAGING => Buffer::Staging { offset: self.u64()?, bytes: self.u64()? },
            BUFFER_LEASE => Buffer::Lease { lease: self.u32()?, offset: self.u64()?, bytes: self.u64()? },
            _ => return Err(Malformed::new("buffer in an unknown place")),
        })
    }

    /// Ends reading.
    /// # Errors
    /// [`Malformed`] where bytes are left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.at == self.data.len() { Ok(()) } else { Err(Malformed::new("bytes left over in a message")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_when_written_and_read_then_is_the_same() {
        let mut memory = [0xEE; 256];
        let mut writer = Writer::new(&mut memory);
        writer.u8(1).expect("room");
        writer.u64(2).expect("room");
        writer.u16(3).expect("room");
        writer.u32(4).expect("room");
        writer.run(b"name").expect("room");
        writer.buffer(Buffer::Lease { lease: 5, offset: 6, bytes: 7 }).expect("room");
        writer.buffer(Buffer::Inline(b"xy")).expect("room");
        let bytes = writer.len();
        assert_eq!(memory[1..8], [0; 7], "skipped bytes are zero");
        let mut reader = Reader::new(&memory[..bytes]);
        assert_eq!((reader.u8(), reader.u64(), reader.u16(), reader.u32()), (Ok(1), Ok(2), Ok(3), Ok(4)));
        assert_eq!(reader.run(), Ok(&b"name"[..]));
        assert_eq!(reader.buffer(), Ok(Buffer::Lease { lease: 5, offset: 6, bytes: 7 }));
        assert_eq!(reader.buffer(), Ok(Buffer::Inline(b"xy")));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn reader_when_a_length_lies_then_refuses() {
        assert!(Reader::new(&[255, 255, 255, 255, 0]).run().is_err());
        assert!(Reader::new(&[9, 0, 0, 0]).buffer().is_err());
        assert!(Reader::new(&[0; 7]).u64().is_err());
        assert!(Reader::new(&[0]).end().is_err());
    }

    #[test]
    fn writer_when_full_then_says_so() {
        let mut memory = [0; 4];
        let mut writer = Writer::new(&mut memory);
        assert_eq!(writer.u64(1), Err(Full));
        assert_eq!(writer.run(b"x"), Err(Full));
    }
}
