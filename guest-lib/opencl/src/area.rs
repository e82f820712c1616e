//! Which bytes a command is about: an area of a memory object, and where the program has them ([`Layout`]). Both are checked here.

use crate::cl_int;
use crate::generated::{AREA_BUFFER, AREA_IMAGE, AREA_RECT, Area};
use crate::image::Image;
use crate::memory::Mem;
use crate::status::CL_INVALID_VALUE;

/// Where a box of bytes lies in the program's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// First byte.
    pub address: usize,
    /// Bytes of a row, rows of a slice, slices.
    pub size: [usize; 3],
    /// From row to row, and from slice to slice.
    pub pitch: [usize; 2],
}

impl Layout {
    /// A run of bytes.
    #[must_use]
    pub fn run(address: usize, bytes: usize) -> Layout {
        Layout { address, size: [bytes, 1, 1], pitch: [bytes, bytes] }
    }

    /// Bytes without the gaps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.size.iter().product()
    }

    /// Whether there are no gaps.
    #[must_use]
    pub fn is_run(&self) -> bool {
        let [row, rows, slices] = self.size;
        (rows == 1 || self.pitch[0] == row) && (slices == 1 || self.pitch[1] == row * rows)
    }

    /// Calls `each` with the address of each row and its offset among all bytes.
    fn rows(&self, mut each: impl FnMut(usize, usize)) {
        let [row, rows, slices] = self.size;
        for slice in 0..slices {
            for line in 0..rows {
                let address = self.address + slice * self.pitch[1] + line * self.pitch[0];
                each(address, (slice * rows + line) * row);
            }
        }
    }

    /// Moves the program's bytes to `to`.
    ///
    /// # Safety
    /// `to` has room for all of them; the layout is what the caller of the API's function gave.
    pub unsafe fn gather(&self, to: *mut u8) {
        if self.is_run() {
            // SAFETY: by this function's contract.
            unsafe { rt::copy(self.address as *const u8, to, self.bytes()) };
            return;
        }
        // SAFETY: as above, row by row.
        self.rows(|address, at| unsafe {
            core::ptr::copy_nonoverlapping(address as *const u8, to.add(at), self.size[0]);
        });
    }

    /// Moves bytes from `from` to the program's memory.
    ///
    /// # Safety
    /// `from` has all of them; the layout is what the caller of the API's function gave.
    pub unsafe fn scatter(&self, from: *const u8) {
        if self.is_run() {
            // SAFETY: by this function's contract.
            unsafe { rt::copy(from, self.address as *mut u8, self.bytes()) };
            return;
        }
        // SAFETY: as above, row by row.
        self.rows(|address, at| unsafe {
            core::ptr::copy_nonoverlapping(from.add(at), address as *mut u8, self.size[0]);
        });
    }
}

/// A run of bytes of a buffer.
///
/// # Errors
/// `CL_INVALID_VALUE` where it leaves the buffer.
pub fn buffer_area(memory: &Mem, offset: usize, size: usize) -> Result<Area, cl_int> {
    if offset.checked_add(size).is_none_or(|end| end > memory.size) {
        return Err(CL_INVALID_VALUE);
    }
    Ok(Area { sort: AREA_BUFFER, origin: [offset, 0, 0], region: [size, 1, 1], ..Area::default() })
}

/// The pitches of a box, where 0 stands for no gaps, checked against the box.
fn rect_pitches(region: [usize; 3], row_pitch: usize, slice_pitch: usize) -> Result<[usize; 2], cl_int> {
    let row = if row_pitch == 0 { region[0] } else { row_pitch };
    let tight = row.checked_mul(region[1]).ok_or(CL_INVALID_VALUE)?;
    let slice = if slice_pitch == 0 { tight } else { slice_pitch };
    if region.contains(&0) || row < region[0] || slice < tight || !slice.is_multiple_of(row) {
        return Err(CL_INVALID_VALUE);
    }
    Ok([row, slice])
}

/// The offset of a box's first byte, and of the byte after its last.
fn rect_span(origin: [usize; 3], region: [usize; 3], pitch: [usize; 2]) -> Option<(usize, usize)> {
    let [row, slice] = pitch;
    let at = |x: usize, y: usize, z: usize| z.checked_mul(slice)?.checked_add(y.checked_mul(row)?)?.checked_add(x);
    let first = at(origin[0], origin[1], origin[2])?;
    let last = at(region[0], region[1] - 1, region[2] - 1)?;
    Some((first, first.checked_add(last)?))
}

/// A box of a buffer.
///
/// # Errors
/// `CL_INVALID_VALUE`.
pub fn rect_area(memory: &Mem, origin: [usize; 3], region: [usize; 3], pitch: [usize; 2]) -> Result<Area, cl_int> {
    let pitch = rect_pitches(region, pitch[0], pitch[1])?;
    let (_, end) = rect_span(origin, region, pitch).ok_or(CL_INVALID_VALUE)?;
    if end > memory.size {
        return Err(CL_INVALID_VALUE);
    }
    let [row_pitch, slice_pitch] = pitch;
    Ok(Area { sort: AREA_RECT, origin, region, row_pitch, slice_pitch, padding: 0 })
}

/// How the program's memory holds a box of a buffer.
///
/// # Errors
/// `CL_INVALID_VALUE`.
pub fn rect_layout(ptr: usize, origin: [usize; 3], region: [usize; 3], pitch: [usize; 2]) -> Result<Layout, cl_int> {
    let pitch = rect_pitches(region, pitch[0], pitch[1])?;
    let (first, _) = rect_span(origin, region, pitch).ok_or(CL_INVALID_VALUE)?;
    Ok(Layout { address: ptr.wrapping_add(first), size: region, pitch })
}

/// A box of an image.
///
/// # Errors
/// `CL_INVALID_VALUE` where it is empty or leaves the image.
pub fn image_area(image: &Image, origin: [usize; 3], region: [usize; 3]) -> Result<Area, cl_int> {
    let leaves = |at: usize| origin[at].checked_add(region[at]).is_none_or(|end| end > image.extent()[at]);
    if region.contains(&0) || (0..3).any(leaves) {
        return Err(CL_INVALID_VALUE);
    }
    Ok(Area { sort: AREA_IMAGE, origin, region, ..Area::default() })
}

/// How the program's memory holds a box of an image; pitches of 0 stand for no gaps.
///
/// # Errors
/// `CL_INVALID_VALUE` for pitches that are too small.
pub fn image_layout(image: &Image, address: usize, region: [usize; 3], pitch: [usize; 2]) -> Result<Layout, cl_int> {
    let tight = region[0].checked_mul(image.element).ok_or(CL_INVALID_VALUE)?;
    let row = if pitch[0] == 0 { tight } else { pitch[0] };
    // The lines of a 1-D array are layers, a slice pitch apart.
    let lines = if image.is_line_array() { 1 } else { region[1] };
    let slice =
        if pitch[1] == 0 || !image.has_slices() { row.checked_mul(lines).ok_or(CL_INVALID_VALUE)? } else { pitch[1] };
    if row < tight || slice < row * lines {
        return Err(CL_INVALID_VALUE);
    }
    let pitch = if image.is_line_array() { [slice, slice] } else { [row, slice] };
    Ok(Layout { address, size: [tight, region[1], region[2]], pitch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_when_it_has_gaps_then_gathers_and_scatters_around_them() {
        let memory: Vec<u8> = (0..64).collect();
        let layout = Layout { address: memory.as_ptr() as usize + 1, size: [2, 2, 2], pitch: [8, 32] };
        let mut tight = [0u8; 8];
        // SAFETY: 8 bytes within 64.
        unsafe { layout.gather(tight.as_mut_ptr()) };
        assert_eq!(tight, [1, 2, 9, 10, 33, 34, 41, 42]);
        let mut back = [0u8; 64];
        // SAFETY: as above.
        unsafe { Layout { address: back.as_mut_ptr() as usize + 1, ..layout }.scatter(tight.as_ptr()) };
        let written: Vec<u8> = back.iter().copied().filter(|byte| *byte != 0).collect();
        assert_eq!((written, back[9], back[41]), (tight.to_vec(), 9, 41));
        assert!(!layout.is_run() && Layout::run(0, 5).is_run());
    }

    #[test]
    fn rect_pitches_when_too_small_or_uneven_then_refuses() {
        assert_eq!(rect_pitches([4, 2, 2], 0, 0), Ok([4, 8]));
        assert_eq!(rect_pitches([4, 2, 2], 6, 18), Ok([6, 18]));
        for (region, row, slice) in [([4, 2, 2], 3, 0), ([4, 2, 2], 6, 13), ([4, 2, 2], 4, 4), ([0, 1, 1], 0, 0)] {
            assert_eq!(rect_pitches(region, row, slice), Err(CL_INVALID_VALUE), "{region:?} {row} {slice}");
        }
        assert_eq!(rect_span([1, 1, 1], [4, 2, 2], [8, 32]), Some((41, 41 + 44)));
        assert_eq!(rect_span([usize::MAX, 1, 1], [4, 2, 2], [8, 32]), None);
    }
}
