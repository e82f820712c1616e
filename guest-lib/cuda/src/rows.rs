//! Rows of bytes in the program's memory, as 2-D and 3-D copies name them: whether they lie together, and where each begins.

use crate::CUresult;
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY};

/// Rows of bytes in the program's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Address of the first byte that is copied.
    pub first: u64,
    /// Bytes from one row to the next.
    pub pitch: usize,
    /// Rows from one slice to the next.
    pub slice_rows: usize,
}

/// How much is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of a row.
    pub width: usize,
    /// Rows of a slice.
    pub height: usize,
    /// Slices.
    pub depth: usize,
}

impl Extent {
    /// Bytes of the rows put together.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for more than memory holds.
    pub fn bytes(self) -> Result<usize, CUresult> {
        let slice = self.width.checked_mul(self.height).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        slice.checked_mul(self.depth).filter(|bytes| *bytes <= isize::MAX as usize).ok_or(CUDA_ERROR_INVALID_VALUE)
    }
}

impl Rows {
    /// Whether the rows follow each other without gaps.
    #[must_use]
    pub fn are_together(self, extent: Extent) -> bool {
        let rows = self.pitch == extent.width || extent.height * extent.depth == 1;
        rows && (extent.depth == 1 || self.slice_rows == extent.height)
    }

    /// Addresses of the rows, in order.
    pub fn addresses(self, extent: Extent) -> impl Iterator<Item = u64> {
        (0..extent.depth).flat_map(move |z| {
            (0..extent.height).map(move |y| {
                let rows = z.wrapping_mul(self.slice_rows).wrapping_add(y);
                self.first.wrapping_add(rows.wrapping_mul(self.pitch) as u64)
            })
        })
    }
}

/// Memory for gathered rows.
///
/// # Errors
/// `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn memory(bytes: usize) -> Result<Vec<u8>, CUresult> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(bytes).map_err(|_| CUDA_ERROR_OUT_OF_MEMORY)?;
    memory.resize(bytes, 0);
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_when_apart_then_their_addresses_follow_pitch_and_slices() {
        let extent = Extent { width: 4, height: 2, depth: 2 };
        let rows = Rows { first: 1000, pitch: 10, slice_rows: 3 };
        assert!(!rows.are_together(extent));
        assert_eq!(rows.addresses(extent).collect::<Vec<_>>(), [1000, 1010, 1030, 1040]);
        assert!(Rows { first: 0, pitch: 4, slice_rows: 2 }.are_together(extent));
        let one_row = Extent { width: 4, height: 1, depth: 1 };
        assert!(rows.are_together(one_row));
    }

    #[test]
    fn extent_when_it_overflows_then_is_refused() {
        let extent = Extent { width: usize::MAX, height: 2, depth: 1 };
        assert_eq!(extent.bytes(), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(Extent { width: 3, height: 0, depth: 5 }.bytes(), Ok(0));
    }
}
