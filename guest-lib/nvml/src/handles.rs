//! Devices as the program holds them: addresses in a table that nobody reads. Device N is place N of it, and travels as the handle
//! of index N and generation 1.

use crate::generated::Kind;
use crate::nvmlReturn_t;
use core::ffi::c_void;
use wire::handle::Handle;

/// Most devices that a guest may have.
pub const MAX_DEVICES: u32 = 64;
/// Generation of every handle: devices do not come and go.
const GENERATION: u16 = 1;

static PLACES: [u8; MAX_DEVICES as usize] = [0; MAX_DEVICES as usize];

/// What the program gets for a device.
#[must_use]
pub fn of_index(index: u32) -> *mut c_void {
    core::ptr::from_ref(&PLACES).cast::<u8>().wrapping_add(index as usize).cast_mut().cast()
}

/// The device that the program means.
#[must_use]
pub fn index_of(raw: *mut c_void) -> Option<u32> {
    let place = raw.addr().checked_sub(core::ptr::from_ref(&PLACES).addr())?;
    u32::try_from(place).ok().filter(|index| *index < crate::init::device_count())
}

/// The handle that travels.
///
/// # Errors
/// The kind's error for what is no device of ours.
pub fn check(kind: Kind, raw: *mut c_void) -> Result<Handle, nvmlReturn_t> {
    index_of(raw).map(|index| Handle::new(kind.number, GENERATION, index)).ok_or(kind.error)
}
