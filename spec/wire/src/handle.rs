//! Handles: the numbers that a guest program holds where CUDA or OpenCL give pointers.
//!
//! The guest library makes them, the worker maps them to the host library's own. The number says what kind of object it is
//! and carries a generation, so that a stale, wild or mistaken handle is refused on both sides and never becomes a pointer.
//!
//! Bits: 0–31 index, 32–47 generation (never 0), 48–55 kind (never 0), 56–63 zero.

/// Most objects of one kind in a session.
pub const MAX_INDEX: u32 = 1 << 20;

/// A handle as it travels. 0 is the null handle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Handle(pub u64);

impl Handle {
    /// The null handle.
    pub const NULL: Handle = Handle(0);

    /// Puts a handle together. `generation` 0 becomes 1.
    #[must_use]
    pub const fn new(kind: u8, generation: u16, index: u32) -> Handle {
        let generation = if generation == 0 { 1 } else { generation };
        Handle((kind as u64) << 48 | (generation as u64) << 32 | index as u64)
    }

    /// Whether this is the null handle.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// Kind of the object, where the number is a well-formed handle.
    #[must_use]
    pub const fn kind(self) -> Option<u8> {
        let kind = (self.0 >> 48) as u8;
        if self.0 >> 56 != 0 || kind == 0 || self.generation() == 0 || self.index() >= MAX_INDEX {
            return None;
        }
        Some(kind)
    }

    /// Generation of the index's use.
    #[must_use]
    pub const fn generation(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Index in the table of its kind.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_when_taken_apart_then_gives_its_parts() {
        let handle = Handle::new(6, 9, 77);
        assert_eq!((handle.kind(), handle.generation(), handle.index()), (Some(6), 9, 77));
    }

    #[test]
    fn kind_when_the_number_is_wild_then_is_none() {
        let wild = [0, 1, 2, u64::MAX, 0x7fff_0000_1000, 1 << 48, 1 << 32, (1 << 56) | (6 << 48) | (1 << 32)];
        for number in wild {
            assert_eq!(Handle(number).kind(), None, "{number:#x}");
        }
        assert_eq!(Handle(Handle::new(6, 1, 0).0 | u64::from(MAX_INDEX)).kind(), None);
    }
}
