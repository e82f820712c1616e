//! What looking a handle up means, call by call.
//!
//! Calls that do not block come one after the other, so that what they look up lives until they return. One that blocks runs beside
//! them, and another thread of the guest may give up what it uses: it *holds* every object, by a reference of its own. A release
//! takes the number out of the table before the library hears of it, so that nobody finds what is about to go.

use std::cell::RefCell;
use std::ffi::c_void;

use wire::handle::Handle;

use super::generated::{self, kind};
use super::{OpenCl, lock};
use crate::worker::objects::Kind;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Hold,
    End,
}

struct State {
    mode: Mode,
    held: Vec<(u8, *mut c_void)>,
}

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State { mode: Mode::Plain, held: Vec::new() }) };
}

/// A call, on its thread.
pub struct Turn<'a> {
    opencl: &'a OpenCl,
}

impl<'a> Turn<'a> {
    /// Begins a call.
    pub fn begin(opencl: &'a OpenCl, call: u16) -> Turn<'a> {
        let mode = if generated::blocks(call) {
            Mode::Hold
        } else if generated::name(call).is_some_and(|name| name.starts_with("clRelease")) {
            Mode::End
        } else {
            Mode::Plain
        };
        STATE.with_borrow_mut(|state| state.mode = mode);
        Turn { opencl }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let held = STATE.with_borrow_mut(|state| {
            state.mode = Mode::Plain;
            std::mem::take(&mut state.held)
        });
        for (kind, object) in held {
            self.opencl.let_go(kind, object);
        }
    }
}

/// Holds for ever what this call holds: the library still uses it when the call returns.
pub fn keep() {
    STATE.with_borrow_mut(|state| state.held.clear());
}

/// The object that a handle stands for.
///
/// # Errors
/// The status for a handle that stands for none.
pub fn look_up(opencl: &OpenCl, kind: Kind, handle: Handle) -> Result<*mut c_void, i32> {
    match STATE.with_borrow(|state| state.mode) {
        Mode::Plain => opencl.objects.get(kind, handle),
        Mode::Hold => {
            let object = opencl.objects.with(kind, handle, |object| {
                opencl.hold(kind.number, object);
                object
            })?;
            if !object.is_null() {
                STATE.with_borrow_mut(|state| state.held.push((kind.number, object)));
            }
            Ok(object)
        }
        Mode::End => end(opencl, kind, handle),
    }
}

/// Takes the number out of the table.
fn end(opencl: &OpenCl, kind: Kind, handle: Handle) -> Result<*mut c_void, i32> {
    // Where null stands for a default, it still is nothing to be ended.
    if handle.is_null() {
        return Err(kind.error);
    }
    let found = opencl.objects.get(kind, handle);
    opencl.objects.remove(kind, handle);
    match found {
        Ok(object) => {
            if kind.number == kind::cl_kernel.number {
                lock(&opencl.kernels).remove(&object.addr());
            }
            if kind.number == kind::cl_mem.number {
                opencl.memory_ended(object.addr());
            }
            Ok(object)
        }
        // Never made, or given up by the host: the guest is right to end the number, and the library hears nothing.
        Err(status) if status != kind.error => {
            lock(&opencl.overdue).remove(&handle);
            Err(0)
        }
        Err(status) => Err(status),
    }
}

/// Takes or gives back a reference of an object.
type Count = unsafe extern "C" fn(*mut c_void) -> i32;

impl OpenCl {
    /// How a reference of an object of a kind is taken, and how it is given back.
    fn counts(&self, kind: u8) -> (Option<Count>, Option<Count>) {
        let library = &self.library;
        match kind {
            _ if kind == kind::cl_device_id.number => (library.clRetainDevice, library.clReleaseDevice),
            _ if kind == kind::cl_context.number => (library.clRetainContext, library.clReleaseContext),
            _ if kind == kind::cl_command_queue.number => (library.clRetainCommandQueue, library.clReleaseCommandQueue),
            _ if kind == kind::cl_mem.number => (library.clRetainMemObject, library.clReleaseMemObject),
            _ if kind == kind::cl_sampler.number => (library.clRetainSampler, library.clReleaseSampler),
            _ if kind == kind::cl_program.number => (library.clRetainProgram, library.clReleaseProgram),
            _ if kind == kind::cl_kernel.number => (library.clRetainKernel, library.clReleaseKernel),
            _ => (library.clRetainEvent, library.clReleaseEvent),
        }
    }

    fn hold(&self, kind: u8, object: *mut c_void) {
        if let (Some(retain), _) = self.counts(kind)
            && !object.is_null()
        {
            // SAFETY: the object lives: its number is in the table, which the caller has locked.
            unsafe { retain(object) };
        }
    }

    fn let_go(&self, kind: u8, object: *mut c_void) {
        if let (_, Some(release)) = self.counts(kind) {
            // SAFETY: gives back the reference that `hold` took.
            unsafe { release(object) };
        }
    }
}
