//! Frames: what lies in the ring, one a call.
//!
//! A frame begins on a [`GRANULE`] with a [`FrameHeader`]; the payload follows, encoded by [`crate::payload`] in the order in
//! which the spec names the arguments. A frame never wraps: where it does not fit before the ring's end, a frame of
//! [`CALL_PAD`] fills the rest.

use crate::Malformed;

/// Alignment and unit of frames in bytes: a cache line, so that two threads never write the same line.
pub const GRANULE: usize = 64;
/// Bytes of the header.
pub const FRAME_HEADER_BYTES: usize = 32;
/// Most bytes of one frame, header included. Larger data travels by staging or leases.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Call number of a frame that only fills the rest of the ring.
pub const CALL_PAD: u16 = 0;
/// Slot number of a posted call.
pub const NO_SLOT: u16 = u16::MAX;

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FrameHeader {
    /// Bytes of the frame, header included, unpadded.
    pub bytes: u32,
    /// Number of the call in the spec; [`CALL_PAD`] for none.
    pub call: u16,
    /// Slot that waits for the reply, or [`NO_SLOT`].
    pub slot: u16,
    /// What the slot's `ready` word becomes when the reply is there; never the value it has now.
    pub sequence: u32,
    /// Guest's number of the calling thread: thread-local state of the driver (capture mode, last error) is kept under it.
    pub thread: u32,
    /// Index of the calling thread's current context handle plus 1; 0 for none.
    pub context: u32,
    /// Generation of that context handle.
    pub context_generation: u16,
    /// The thread's stream-capture mode (`CUstreamCaptureMode`).
    pub capture_mode: u8,
    /// Zero.
    pub reserved: u8,
}

impl FrameHeader {
    /// The header as it lies in the ring, little-endian; bytes 24–31 are zero.
    #[must_use]
    pub fn to_bytes(self) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        out[0..4].copy_from_slice(&self.bytes.to_le_bytes());
        out[4..6].copy_from_slice(&self.call.to_le_bytes());
        out[6..8].copy_from_slice(&self.slot.to_le_bytes());
        out[8..12].copy_from_slice(&self.sequence.to_le_bytes());
        out[12..16].copy_from_slice(&self.thread.to_le_bytes());
        out[16..20].copy_from_slice(&self.context.to_le_bytes());
        out[20..22].copy_from_slice(&self.context_generation.to_le_bytes());
        out[22] = self.capture_mode;
        out[23] = self.reserved;
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`Malformed`] where the length is below the header or above [`MAX_FRAME_BYTES`] (for [`CALL_PAD`]: not a multiple of
    /// [`GRANULE`]), the slot is neither a slot nor [`NO_SLOT`], or a reserved byte is not zero.
    pub fn from_bytes(raw: &[u8; FRAME_HEADER_BYTES]) -> Result<FrameHeader, Malformed> {
        let word = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let half = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
        let header = FrameHeader {
            bytes: word(0),
            call: half(4),
            slot: half(6),
            sequence: word(8),
            thread: word(12),
            context: word(16),
            context_generation: half(20),
            capture_mode: raw[22],
            reserved: raw[23],
        };
        let bytes = header.bytes as usize;
        if header.call == CALL_PAD {
            if bytes == 0 || !bytes.is_multiple_of(GRANULE) || bytes > crate::window::RING_BYTES {
                return Err(Malformed::new("padding frame of a wrong length"));
            }
        } else if !(FRAME_HEADER_BYTES..=MAX_FRAME_BYTES).contains(&bytes) {
            return Err(Malformed::new("frame of a wrong length"));
        }
        if header.slot != NO_SLOT && usize::from(header.slot) >= crate::window::SLOT_COUNT {
            return Err(Malformed::new("frame names a slot that is none"));
        }
        if header.reserved != 0 || raw[24..] != [0; 8] {
            return Err(Malformed::new("reserved bytes of a frame are not zero"));
        }
        Ok(header)
    }

    /// Bytes that the frame takes in the ring: its length rounded up to [`GRANULE`].
    #[must_use]
    pub fn span(self) -> usize {
        (self.bytes as usize).next_multiple_of(GRANULE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> FrameHeader {
        FrameHeader {
            bytes: 100,
            call: 7,
            slot: 3,
            sequence: 5,
            thread: 1,
            context: 2,
            context_generation: 9,
            capture_mode: 2,
            reserved: 0,
        }
    }

    #[test]
    fn header_when_written_and_read_then_is_the_same() {
        assert_eq!(FrameHeader::from_bytes(&frame().to_bytes()), Ok(frame()));
        assert_eq!(frame().span(), 128);
    }

    #[test]
    fn header_when_a_field_is_out_of_bounds_then_is_malformed() {
        let bad = [
            FrameHeader { bytes: 31, ..frame() },
            FrameHeader { bytes: 65537, ..frame() },
            FrameHeader { bytes: u32::MAX, ..frame() },
            FrameHeader { slot: 64, ..frame() },
            FrameHeader { reserved: 1, ..frame() },
            FrameHeader { call: CALL_PAD, bytes: 0, ..frame() },
            FrameHeader { call: CALL_PAD, bytes: 100, ..frame() },
            FrameHeader { call: CALL_PAD, bytes: 1 << 21, ..frame() },
        ];
        for header in bad {
            assert!(FrameHeader::from_bytes(&header.to_bytes()).is_err(), "{header:?}");
        }
    }
}
