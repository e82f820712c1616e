//! Reads and writes between memory objects and the guest's memory.

use std::ffi::c_void;

use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::Buffer;

use super::generated::{AREA_BUFFER, AREA_IMAGE, AREA_RECT, Area, CL_INVALID_VALUE};
use super::{OpenCl, first};
use crate::worker::answer::{Failure, function, ok};

/// `CL_IMAGE_ELEMENT_SIZE`.
const ELEMENT_SIZE: u32 = 0x1111;
/// A box of host memory begins at its first byte.
const NOWHERE: [usize; 3] = [0; 3];

/// Which way, whether the call waits, and where the guest's bytes lie here.
#[derive(Clone, Copy)]
enum Way {
    Read(*mut c_void),
    Write(*const c_void),
}

/// A command's place in the order of commands.
struct Order<'a> {
    queue: *mut c_void,
    blocking: bool,
    waits_for: &'a [*mut c_void],
    /// Null where nobody asks for the event.
    event: *mut *mut c_void,
}

/// What the library hands back when a command has ended, to be freed.
struct Kept {
    /// Holds the bytes.
    _data: Vec<u128>,
    /// Releases the event, where it is ours.
    release: Option<unsafe extern "C" fn(*mut c_void) -> i32>,
}

extern "C" fn command_ended(event: *mut c_void, _state: i32, data: *mut c_void) {
    // SAFETY: made by `Box::into_raw` for this one call.
    let kept = unsafe { Box::from_raw(data.cast::<Kept>()) };
    if let Some(release) = kept.release {
        // SAFETY: the reference that came with the command, which nobody else has.
        unsafe { release(event) };
    }
}

/// The place for an event, null where it has no number.
fn wanted(event: Handle, made: &mut *mut c_void) -> *mut *mut c_void {
    if event.is_null() { std::ptr::null_mut() } else { made }
}

impl OpenCl {
    /// Bytes of the guest's that an area takes.
    fn area_bytes(&self, memory: *mut c_void, area: &Area) -> Result<u64, Failure> {
        let unit = match area.sort {
            AREA_BUFFER => return Ok(area.region[0] as u64),
            AREA_RECT => 1,
            AREA_IMAGE => {
                let info = function!(self, clGetImageInfo)?;
                let mut bytes = 0usize;
                // SAFETY: the object lives, and the library knows whether it is an image; the value has the size of a size.
                ok(unsafe {
                    info(memory, ELEMENT_SIZE, size_of::<usize>(), (&raw mut bytes).cast(), std::ptr::null_mut())
                })?;
                bytes as u64
            }
            _ => return Err(Failure::Status(CL_INVALID_VALUE)),
        };
        let product = area.region.iter().try_fold(unit, |product, side| product.checked_mul(*side as u64));
        product.ok_or(Failure::Status(CL_INVALID_VALUE))
    }

    /// The guest's bytes are as many as the area takes.
    fn check_area(&self, memory: *mut c_void, area: &Area, bytes: u64) -> Result<(), Failure> {
        if self.area_bytes(memory, area)? == bytes { Ok(()) } else { Err(Failure::Status(CL_INVALID_VALUE)) }
    }

    /// Gives the command to the library. The bytes of `way` are as many as the area takes.
    fn transfer(&self, memory: *mut c_void, area: &Area, way: Way, order: &Order<'_>) -> Result<(), Failure> {
        let Order { queue, event, .. } = *order;
        let blocking = u32::from(order.blocking);
        let (count, list) = (order.waits_for.len() as u32, first(order.waits_for));
        let (origin, region) = (area.origin.as_ptr(), area.region.as_ptr());
        let (start, bytes) = (area.origin[0], area.region[0]);
        let (row, slice) = (area.row_pitch, area.slice_pitch);
        let status = match (area.sort, way) {
            (AREA_BUFFER, Way::Read(to)) => {
                let call = function!(self, clEnqueueReadBuffer)?;
                // SAFETY: the objects live; there are `bytes` bytes until the command has ended.
                unsafe { call(queue, memory, blocking, start, bytes, to, count, list, event) }
            }
            (AREA_BUFFER, Way::Write(data)) => {
                let call = function!(self, clEnqueueWriteBuffer)?;
                // SAFETY: as above.
                unsafe { call(queue, memory, blocking, start, bytes, data, count, list, event) }
            }
            (AREA_RECT, Way::Read(to)) => {
                let call = function!(self, clEnqueueReadBufferRect)?;
                let host = NOWHERE.as_ptr();
                // SAFETY: as above: without pitches, the box takes the product of its sides.
                unsafe { call(queue, memory, blocking, origin, host, region, row, slice, 0, 0, to, count, list, event) }
            }
            (AREA_RECT, Way::Write(data)) => {
                let call = function!(self, clEnqueueWriteBufferRect)?;
                let host = NOWHERE.as_ptr();
                // SAFETY: as above.
                unsafe {
                    call(queue, memory, blocking, origin, host, region, row, slice, 0, 0, data, count, list, event)
                }
            }
            (_, Way::Read(to)) => {
                let call = function!(self, clEnqueueReadImage)?;
                // SAFETY: as above, with texels of the size that the library says.
                unsafe { call(queue, memory, blocking, origin, region, 0, 0, to, count, list, event) }
            }
            (_, Way::Write(data)) => {
                let call = function!(self, clEnqueueWriteImage)?;
                // SAFETY: as above.
                unsafe { call(queue, memory, blocking, origin, region, 0, 0, data, count, list, event) }
            }
        };
        ok(status)
    }

    /// `gpuferryRead`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryRead(
        &self,
        _from: &FrameHeader,
        queue: *mut c_void,
        memory: *mut c_void,
        area: &Area,
        data: Buffer<'_>,
        reply: &mut [u8],
        waits_for: &[*mut c_void],
        event: Handle,
        made: &mut *mut c_void,
    ) -> Result<(), Failure> {
        self.check_area(memory, area, data.bytes())?;
        let mut to = self.bytes.output(data, reply)?;
        let order = Order { queue, blocking: true, waits_for, event: wanted(event, made) };
        self.transfer(memory, area, Way::Read(to.pointer()), &order)?;
        to.finish();
        Ok(())
    }

    /// `gpuferryReadTo`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryReadTo(
        &self,
        _from: &FrameHeader,
        queue: *mut c_void,
        memory: *mut c_void,
        area: &Area,
        address: u64,
        bytes: usize,
        waits_for: &[*mut c_void],
        event: Handle,
        made: &mut *mut c_void,
    ) -> Result<(), Failure> {
        self.check_area(memory, area, bytes as u64)?;
        let to = self.shared_at(address, bytes as u64)?;
        let order = Order { queue, blocking: false, waits_for, event: wanted(event, made) };
        self.transfer(memory, area, Way::Read(to), &order)
    }

    /// `gpuferryWriteFrom`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryWriteFrom(
        &self,
        _from: &FrameHeader,
        queue: *mut c_void,
        memory: *mut c_void,
        area: &Area,
        address: u64,
        bytes: usize,
        waits_for: &[*mut c_void],
        event: Handle,
        made: &mut *mut c_void,
    ) -> Result<(), Failure> {
        self.check_area(memory, area, bytes as u64)?;
        let data = self.shared_at(address, bytes as u64)?;
        let order = Order { queue, blocking: false, waits_for, event: wanted(event, made) };
        self.transfer(memory, area, Way::Write(data.cast_const()), &order)
    }

    /// `gpuferryWrite`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryWrite(
        &self,
        _from: &FrameHeader,
        queue: *mut c_void,
        memory: *mut c_void,
        area: &Area,
        data: &[u8],
        waits_for: &[*mut c_void],
        event: Handle,
        made: &mut *mut c_void,
    ) -> Result<(), Failure> {
        self.check_area(memory, area, data.len() as u64)?;
        let on_end = function!(self, clSetEventCallback)?;
        let release = function!(self, clReleaseEvent)?;
        let mut copy = vec![0u128; data.len().div_ceil(16)];
        // SAFETY: the copy has room for the data.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), copy.as_mut_ptr().cast::<u8>(), data.len()) };
        // The copy must live until the command has ended, so there is an event, whoever wants it.
        let mut own = std::ptr::null_mut();
        let is_ours = event.is_null();
        let place: *mut *mut c_void = if is_ours { &raw mut own } else { made };
        let order = Order { queue, blocking: false, waits_for, event: place };
        self.transfer(memory, area, Way::Write(copy.as_ptr().cast()), &order)?;
        let ended = if is_ours { own } else { *made };
        let kept = Box::into_raw(Box::new(Kept { _data: copy, release: is_ours.then_some(release) }));
        // SAFETY: the event lives; function and data belong together, and the data lives until the call. 0 is CL_COMPLETE.
        if unsafe { on_end(ended, 0, command_ended as *const c_void, kept.cast()) } != 0 {
            // The command may still read the bytes: they stay for good.
            log::warn!("session {}: a write's end cannot be watched; its bytes are not freed", self.session.number());
        }
        Ok(())
    }
}
