//! Events: of commands, and the program's own.
//!
//! What is known to have ended is kept here; else the host is asked, once: it is told to watch the event, and from then on
//! its state is read from shared memory ([`crate::words`]). Whoever learns that something has ended also settles what waits
//! for that here ([`crate::pending`]), so that the program finds the data that it was told of.

use crate::answer::{Answer, Question};
use crate::arena::{self, Arena, Live, Object, Ref};
use crate::callback::{self, EventFunction};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::generated::{INFO_EVENT_PROFILING, Kind, kind, send};
use crate::pending;
use crate::queue::Queue;
use crate::status::{
    CL_DEVICE_NOT_AVAILABLE, CL_INVALID_CONTEXT, CL_INVALID_EVENT, CL_INVALID_VALUE, CL_PROFILING_INFO_NOT_AVAILABLE,
};
use crate::user::{In, Out, Raw};
use crate::words;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::Arc;
use wire::handle::Handle;

const CL_EVENT_COMMAND_QUEUE: u32 = 0x11d0;
const CL_EVENT_COMMAND_TYPE: u32 = 0x11d1;
const CL_EVENT_REFERENCE_COUNT: u32 = 0x11d2;
const CL_EVENT_COMMAND_EXECUTION_STATUS: u32 = 0x11d3;
const CL_EVENT_CONTEXT: u32 = 0x11d4;
const COMMAND_USER: u32 = 0x1204;

const COMPLETE: i32 = 0;
const SUBMITTED: i32 = 2;
const QUEUED: i32 = 3;

/// An event.
pub struct Event {
    /// Its context.
    pub context: Ref<Context>,
    /// The queue of its command; `None` for the program's own.
    queue: Option<Ref<Queue>>,
    /// `CL_COMMAND_…`.
    command: u32,
    /// Its execution status, as far as that is known here; it only goes down.
    state: AtomicI32,
    /// It has ended, whatever its status is.
    ended: AtomicBool,
    /// The program has ended it.
    is_set: AtomicBool,
    /// The host writes its state to its word.
    is_watched: AtomicBool,
    /// [`words::learnt`] when the host last said that it has not ended.
    asked_at: AtomicU64,
}

static EVENTS: Arena<Event> = Arena::new();

impl Object for Event {
    const KIND: Kind = kind::cl_event;

    fn arena() -> &'static Arena<Event> {
        &EVENTS
    }

    fn release(this: &Live<Event>, caller: &Caller) {
        let _ = send::clReleaseEvent(caller, this.handle);
    }
}

impl Event {
    /// The event of a command.
    #[must_use]
    pub fn of_command(queue: &Ref<Queue>, command: u32) -> Event {
        Event::new(queue.context.clone(), Some(queue.clone()), command, QUEUED)
    }

    fn new(context: Ref<Context>, queue: Option<Ref<Queue>>, command: u32, state: i32) -> Event {
        let (ended, is_set, is_watched) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
        let (state, asked_at) = (AtomicI32::new(state), AtomicU64::new(0));
        Event { context, queue, command, state, ended, is_set, is_watched, asked_at }
    }

    /// The queue of its command.
    #[must_use]
    pub fn queue(&self) -> Option<&Ref<Queue>> {
        self.queue.as_ref()
    }

    /// Whether it is of a command of that queue.
    #[must_use]
    pub fn is_of(&self, queue: &Ref<Queue>) -> bool {
        self.queue().is_some_and(|own| Arc::ptr_eq(own, queue))
    }

    /// Whether it is known to have ended, well or not.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) || self.state.load(Ordering::Acquire) <= COMPLETE
    }

    /// Whether it is known to have failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.known() < COMPLETE
    }

    /// It has ended, and how is not known.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        words::learn();
    }

    /// Keeps what the host said.
    pub fn learn(&self, state: i32) {
        let before = self.state.fetch_min(state, Ordering::AcqRel);
        if state <= COMPLETE && before > COMPLETE {
            words::learn();
        }
    }

    /// Its state as far as that is known, how it ended included.
    fn known(&self) -> i32 {
        self.state.load(Ordering::Acquire)
    }
}

/// Asks the host how far events are, and keeps it.
///
/// # Errors
/// The host's answer.
pub fn ask(caller: &Caller, events: &[Ref<Event>]) -> Result<(), cl_int> {
    /// As many as fit a reply.
    const AT_ONCE: usize = 900;
    for event in events {
        let _ = event.look();
    }
    let unknown: Vec<&Ref<Event>> = events.iter().filter(|event| !event.has_ended()).collect();
    for events in unknown.chunks(AT_ONCE) {
        let handles: Vec<Handle> = events.iter().map(|event| event.handle).collect();
        let mut states = Vec::new();
        caller::answer(send::gpuferryEventStates(caller, &handles, &mut states))?;
        for (event, state) in events.iter().zip(states.chunks_exact(4)) {
            event.learn(i32::from_ne_bytes([state[0], state[1], state[2], state[3]]));
        }
    }
    Ok(())
}

/// Waits for events.
///
/// # Errors
/// The host's answer.
pub fn wait(caller: &Caller, events: &[Ref<Event>]) -> Result<(), cl_int> {
    for event in events {
        let _ = event.look();
    }
    if events.iter().all(|event| event.known() == COMPLETE) {
        pending::settle(caller);
        return caller::answer(caller.session.take_deferred());
    }
    let handles: Vec<Handle> = events.iter().map(|event| event.handle).collect();
    let status = send::clWaitForEvents(caller, &handles);
    if status == 0 {
        events.iter().for_each(|event| event.learn(COMPLETE));
    }
    pending::settle(caller);
    caller::answer(status)
}

impl Live<Event> {
    /// Learns from what the host has written of it that it has ended; what else is written there.
    fn look(&self) -> Option<i32> {
        let state = words::read(self.handle).filter(|_| self.is_watched.load(Ordering::Acquire))?;
        if state <= COMPLETE {
            self.learn(state);
        }
        Some(state)
    }

    fn status(&self, caller: &Caller) -> Result<i32, cl_int> {
        // The program's own is as the program has set it.
        if self.known() > COMPLETE && self.queue.is_some() {
            let written = self.look();
            // Some libraries say that a command runs before they would answer so.
            let is_behind = written.is_some_and(|written| written < self.known());
            let is_fresh =
                self.is_watched.load(Ordering::Acquire) && self.asked_at.load(Ordering::Acquire) == words::learnt();
            if self.known() > COMPLETE && (is_behind || !is_fresh) {
                self.watch(caller)?;
            }
            if self.known() <= COMPLETE {
                pending::settle(caller);
            }
        }
        Ok(self.known())
    }

    /// Asks the host for its state, and to write what becomes of it.
    fn watch(&self, caller: &Caller) -> Result<(), cl_int> {
        let learnt = words::learnt();
        let is_watched = self.is_watched.load(Ordering::Acquire);
        // No event's word lies there: the host only answers then.
        let nowhere = (u32::MAX, 0);
        let (slot, tag) = if is_watched { nowhere } else { words::place(caller, self.handle).unwrap_or(nowhere) };
        let (mut state, mut begun) = (QUEUED, 0);
        match send::gpuferryWatchEvent(caller, self.handle, slot, tag, &mut state, &mut begun) {
            0 => self.learn(state),
            // The command failed on its way: the event has that code.
            status if status != CL_INVALID_EVENT && status != CL_DEVICE_NOT_AVAILABLE => self.learn(status),
            status => return Err(status),
        }
        self.asked_at.store(learnt, Ordering::Release);
        if begun != 0 {
            self.is_watched.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn info(&self, param: u32, to: &Answer) -> Result<(), cl_int> {
        match param {
            CL_EVENT_COMMAND_QUEUE => to.object(self.queue.as_ref().map_or(core::ptr::null_mut(), |queue| queue.raw())),
            CL_EVENT_COMMAND_TYPE => to.number(self.command),
            CL_EVENT_REFERENCE_COUNT => to.number(arena::references(self)),
            CL_EVENT_COMMAND_EXECUTION_STATUS => to.number(self.status(&caller::enter()?)?.cast_unsigned()),
            CL_EVENT_CONTEXT => to.object(self.context.raw()),
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn profile(&self, param: u32, to: &Answer) -> Result<(), cl_int> {
        if self.queue.as_ref().is_none_or(|queue| !queue.has_profiles()) {
            return Err(CL_PROFILING_INFO_NOT_AVAILABLE);
        }
        let caller = caller::enter()?;
        let found = Question::new(INFO_EVENT_PROFILING, self.handle, param).ask(&caller)?;
        pending::settle(&caller);
        to.bytes(&found)
    }
}

/// The events of a list.
///
/// # Errors
/// `error` for a pointer that is none.
pub fn list(events: &[Raw], error: cl_int) -> Result<Vec<Ref<Event>>, cl_int> {
    events.iter().map(|raw| EVENTS.find(*raw).ok_or(error)).collect()
}

crate::makers! {
    /// OpenCL 3.0 § 5.11, clCreateUserEvent.
    extern "C" fn clCreateUserEvent(context: Raw) {
        let context = arena::get::<Context>(context)?;
        let vacant = arena::vacant::<Event>()?;
        caller::answer(send::clCreateUserEvent(&caller::enter()?, vacant.handle, context.handle))?;
        Ok(vacant.fill(Event::new(context, None, COMMAND_USER, SUBMITTED)).raw())
    }
}

crate::calls! {
    /// OpenCL 3.0 § 5.11, clSetUserEventStatus.
    extern "C" fn clSetUserEventStatus(event: Raw, execution_status: i32) {
        let event = arena::get::<Event>(event)?;
        let is_own = event.queue.is_none();
        let is_first = is_own && execution_status <= COMPLETE && !event.is_set.swap(true, Ordering::AcqRel);
        // What the API forbids is for the host to judge: not all hosts refuse it.
        caller::answer(send::clSetUserEventStatus(&caller::enter()?, !is_first, event.handle, execution_status))?;
        if is_first {
            event.learn(execution_status);
        }
        Ok(())
    }

    /// OpenCL 3.0 § 5.11, clWaitForEvents.
    extern "C" fn clWaitForEvents(num_events: u32, event_list: In<Raw>) {
        if num_events == 0 || event_list.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let events = list(&event_list.list(num_events as usize), CL_INVALID_EVENT)?;
        if events.iter().any(|event| !Arc::ptr_eq(&event.context, &events[0].context)) {
            return Err(CL_INVALID_CONTEXT);
        }
        wait(&caller::enter()?, &events)
    }

    /// OpenCL 3.0 § 5.11, clGetEventInfo.
    extern "C" fn clGetEventInfo(
        event: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let event = arena::get::<Event>(event)?;
        event.info(param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }

    /// OpenCL 3.0 § 5.14, clGetEventProfilingInfo.
    extern "C" fn clGetEventProfilingInfo(
        event: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let event = arena::get::<Event>(event)?;
        event.profile(param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }

    /// OpenCL 3.0 § 5.11, clSetEventCallback.
    extern "C" fn clSetEventCallback(
        event: Raw, command_exec_callback_type: i32, pfn_notify: Option<EventFunction>, user_data: *mut c_void,
    ) {
        let event = arena::get::<Event>(event)?;
        let function = pfn_notify.ok_or(CL_INVALID_VALUE)?;
        if !(COMPLETE..=SUBMITTED).contains(&command_exec_callback_type) {
            return Err(CL_INVALID_VALUE);
        }
        callback::add_event(event, command_exec_callback_type, function, user_data)
    }

    /// OpenCL 3.0 § 5.11, clRetainEvent.
    extern "C" fn clRetainEvent(event: Raw) {
        arena::retain::<Event>(event)
    }

    /// OpenCL 3.0 § 5.11, clReleaseEvent.
    extern "C" fn clReleaseEvent(event: Raw) {
        arena::release::<Event>(event)
    }
}
