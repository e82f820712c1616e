//! User objects: what a graph keeps alive for the guest. When the last reference goes, the guest's function runs, as a host
//! function does; nobody waits for it.

use std::ffi::c_void;
use std::sync::Arc;

use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::generated::{CUDA_ERROR_INVALID_VALUE, kind};
use super::host_functions::HostFunctions;
use super::{Cuda, lock};
use crate::worker::answer::{Failure, function, ok};

/// Flag of `cuGraphRetainUserObject`: the caller's references become the graph's.
const MOVE: u32 = 1;

/// What the library gives back when an object ends.
struct End {
    functions: Arc<HostFunctions>,
    id: u64,
}

extern "C" fn ended(data: *mut c_void) {
    // SAFETY: made by `Box::into_raw` for this one call.
    let end = unsafe { Box::from_raw(data.cast::<End>()) };
    end.functions.add(end.id);
}

impl Cuda {
    /// `gpuferryUserObjectCreate`.
    pub(super) fn gpuferryUserObjectCreate(
        &self,
        _from: &FrameHeader,
        _object: Handle,
        made: &mut *mut c_void,
        id: u64,
        references: u32,
        flags: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuUserObjectCreate)?;
        let end = Box::into_raw(Box::new(End { functions: Arc::clone(&self.host_functions), id }));
        // SAFETY: function and data belong together; the library calls it once.
        let status = unsafe { call(made, end.cast(), ended as *const c_void, references, flags) };
        if status != 0 {
            // SAFETY: made by `Box::into_raw`; the library has refused it.
            drop(unsafe { Box::from_raw(end) });
            return ok(status);
        }
        lock(&self.user_objects).insert(made.addr(), references.into());
        Ok(())
    }

    /// Takes references of the guest's away. The object may be gone with the last one, so its number ends then.
    fn give_up(&self, object: *mut c_void, count: u32) -> Result<(), Failure> {
        let mut all = lock(&self.user_objects);
        let refused = Failure::Status(CUDA_ERROR_INVALID_VALUE);
        let left = all.get_mut(&object.addr()).ok_or(refused)?;
        *left = left.checked_sub(count.into()).ok_or(refused)?;
        if *left == 0 {
            all.remove(&object.addr());
            let number = self.objects.handle_of(kind::CUuserObject, object);
            self.objects.remove(kind::CUuserObject, number);
        }
        Ok(())
    }

    /// `cuUserObjectRetain`.
    pub(super) fn cuUserObjectRetain(
        &self,
        _from: &FrameHeader,
        object: *mut c_void,
        count: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuUserObjectRetain)?;
        // SAFETY: the guest has a reference, so the object lives.
        ok(unsafe { call(object, count) })?;
        if let Some(references) = lock(&self.user_objects).get_mut(&object.addr()) {
            *references += u64::from(count);
        }
        Ok(())
    }

    /// `cuUserObjectRelease`.
    pub(super) fn cuUserObjectRelease(
        &self,
        _from: &FrameHeader,
        object: *mut c_void,
        count: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuUserObjectRelease)?;
        self.give_up(object, count)?;
        // SAFETY: the guest had that many references until now.
        ok(unsafe { call(object, count) })
    }

    /// `cuGraphRetainUserObject`.
    pub(super) fn cuGraphRetainUserObject(
        &self,
        _from: &FrameHeader,
        graph: *mut c_void,
        object: *mut c_void,
        count: u32,
        flags: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuGraphRetainUserObject)?;
        // SAFETY: the graph lives, and the object: the guest has a reference.
        ok(unsafe { call(graph, object, count, flags) })?;
        if flags & MOVE != 0 { self.give_up(object, count) } else { Ok(()) }
    }
}
