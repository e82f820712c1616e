//! Events: marks in streams that can be waited for and whose times can be compared.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::capture::{self, Captured};
use crate::context::Context;
use crate::handle::{Handle, Object, object};
use crate::status::{Answer, Status};
use crate::work::{Work, lock};

/// CU_EVENT_DISABLE_TIMING.
pub const NO_TIMING: u32 = 2;
/// CU_EVENT_INTERPROCESS.
pub const INTERPROCESS: u32 = 4;
const KNOWN_FLAGS: u32 = 1 | NO_TIMING | INTERPROCESS;

/// An event.
pub struct Event {
    /// Its own handle.
    pub handle: Handle<Event>,
    /// Its context.
    pub context: Arc<Context>,
    /// CU_EVENT_* flags.
    pub flags: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    work: Option<Arc<Work>>,
    captured: Option<Captured>,
}

object!(Event, 3; stale CONTEXT_IS_DESTROYED);

impl Event {
    /// cuEventCreate.
    pub fn create(context: Arc<Context>, flags: u32) -> Answer<Handle<Event>> {
        if flags & !KNOWN_FLAGS != 0 || flags & (INTERPROCESS | NO_TIMING) == INTERPROCESS {
            return Err(Status::INVALID_VALUE);
        }
        if flags & INTERPROCESS != 0 {
            return Err(Status::NOT_SUPPORTED);
        }
        let make = |handle| Event { handle, context, flags, state: Mutex::default() };
        Ok(Event::table().insert(make)?.0)
    }

    /// Notes the work whose end the event now stands for.
    pub fn recorded(&self, work: Arc<Work>) {
        *lock(&self.state) = State { work: Some(work), captured: None };
    }

    /// Notes the place in a capture that the event now stands for.
    pub fn recorded_in_capture(&self, captured: Captured) {
        *lock(&self.state) = State { work: None, captured: Some(captured) };
    }

    /// The work the event stands for, unless it has not been recorded.
    pub fn work(&self) -> Option<Arc<Work>> {
        lock(&self.state).work.clone()
    }

    /// The place in a capture that the event stands for.
    pub fn captured(&self) -> Option<Captured> {
        lock(&self.state).captured.clone()
    }

    fn outside_capture(&self) -> Answer<Option<Arc<Work>>> {
        let state = lock(&self.state);
        if state.captured.is_some() { Err(Status::CAPTURED_EVENT) } else { Ok(state.work.clone()) }
    }

    /// cuEventDestroy. The event is gone after a fault too, and the fault is told.
    pub fn destroy(handle: Handle<Event>) -> Answer {
        handle.take()?.context.check()
    }

    /// cuEventQuery.
    pub fn query(&self) -> Answer {
        self.context.check()?;
        let work = self.outside_capture()?;
        capture::permit()?;
        match work {
            Some(work) if !work.is_done() => Err(Status::NOT_READY),
            _ => self.context.check(),
        }
    }

    /// cuEventSynchronize.
    pub fn synchronize(&self) -> Answer {
        // A GPU's driver has another answer here than for a query.
        let work = self.outside_capture().or(Err(Status::INVALID_VALUE))?;
        capture::permit()?;
        if let Some(work) = work {
            work.wait();
        }
        self.context.check()
    }

    /// Milliseconds from `start` to `end`.
    pub fn elapsed(start: &Event, end: &Event) -> Answer<f32> {
        end.context.check()?;
        if (start.flags | end.flags) & NO_TIMING != 0 || start.context.device != end.context.device {
            return Err(Status::INVALID_HANDLE);
        }
        let begun = start.outside_capture()?.ok_or(Status::INVALID_HANDLE)?;
        let ended = end.outside_capture()?.ok_or(Status::INVALID_HANDLE)?;
        let begun = begun.finished_at().ok_or(Status::NOT_READY)?;
        let ended = ended.finished_at().ok_or(Status::NOT_READY)?;
        let (from, to, sign) = if begun <= ended { (begun, ended, 1.0) } else { (ended, begun, -1.0) };
        Ok(sign * (Duration::from_nanos(to - from).as_secs_f64() * 1e3) as f32)
    }
}
