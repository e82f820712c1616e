//! User objects: counted references with a destructor that graphs hold.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::handle::{Handle, Object, object};
use crate::op::HostFunction;
use crate::status::{Answer, Status};

/// A user object.
pub struct UserObject {
    data: u64,
    destroy: HostFunction,
    count: AtomicU32,
}

object!(UserObject, 16, INVALID_VALUE);

/// cuUserObjectCreate.
pub fn create(data: u64, destroy: HostFunction, count: u32) -> Answer<Handle<UserObject>> {
    Ok(UserObject::table().insert(|_| UserObject { data, destroy, count: AtomicU32::new(count) })?.0)
}

/// Adds references.
pub fn retain(handle: Handle<UserObject>, count: u32) -> Answer {
    handle.get()?.count.fetch_add(count, Ordering::AcqRel);
    Ok(())
}

/// Gives references back; the last one runs the destructor.
pub fn release(handle: Handle<UserObject>, count: u32) -> Answer {
    let object = handle.get()?;
    let before = object.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| now.checked_sub(count));
    let before = before.map_err(|_| Status::INVALID_VALUE)?;
    if before == count && handle.take().is_ok() {
        // SAFETY: the program gave the function for this use.
        unsafe { (object.destroy)(object.data) };
    }
    Ok(())
}
