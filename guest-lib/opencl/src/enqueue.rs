//! Commands on their way into a queue: their wait list is checked, their event made, and they are posted or waited for.

use crate::arena::{self, Ref, Vacant};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::event::{self, Event};
use crate::queue::Queue;
use crate::status::{CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST};
use crate::user::{In, Out, Raw};
use std::sync::Arc;
use wire::handle::Handle;

/// What a command has besides its own arguments.
pub struct Command {
    /// The queue.
    pub queue: Ref<Queue>,
    /// Who makes the call.
    pub caller: Caller,
    waits_for: Vec<Ref<Event>>,
    event: Out<Raw>,
    /// `CL_COMMAND_…`.
    kind: u32,
}

/// What a sender needs of a command.
pub struct Sending<'a> {
    /// Who makes the call.
    pub caller: &'a Caller,
    /// The host's answer is waited for.
    pub waits: bool,
    /// The queue.
    pub queue: Handle,
    /// The events to wait for.
    pub waits_for: &'a [Handle],
    /// The new event, or null.
    pub event: Handle,
}

impl Command {
    /// Checks the queue and the wait list of a command of that `kind`.
    ///
    /// # Errors
    /// `CL_INVALID_COMMAND_QUEUE`, `CL_INVALID_EVENT_WAIT_LIST`, `CL_INVALID_CONTEXT`.
    pub fn new(queue: Raw, num_events: u32, list: In<Raw>, event: Out<Raw>, kind: u32) -> Result<Command, cl_int> {
        let queue = arena::get::<Queue>(queue)?;
        if (num_events == 0) != list.is_null() {
            return Err(CL_INVALID_EVENT_WAIT_LIST);
        }
        let waits_for = event::list(&list.list(num_events as usize), CL_INVALID_EVENT_WAIT_LIST)?;
        let caller = caller::enter()?;
        let command = Command { queue, caller, waits_for, event, kind };
        command.waits_for.iter().try_for_each(|event| command.is_of(&event.context))?;
        Ok(command)
    }

    /// An object of the command is of the queue's context.
    ///
    /// # Errors
    /// `CL_INVALID_CONTEXT`.
    pub fn is_of(&self, context: &Ref<Context>) -> Result<(), cl_int> {
        if Arc::ptr_eq(context, &self.queue.context) { Ok(()) } else { Err(CL_INVALID_CONTEXT) }
    }

    /// Whether it waits for events.
    #[must_use]
    pub fn has_waits(&self) -> bool {
        !self.waits_for.is_empty()
    }

    /// Whether the program asks for its event.
    #[must_use]
    pub fn wants_event(&self) -> bool {
        self.event.is_wanted()
    }

    fn sent(
        &self,
        posts: bool,
        wants_event: bool,
        send: impl FnOnce(Sending<'_>) -> cl_int,
    ) -> Result<Option<Vacant<Event>>, cl_int> {
        let vacant = if wants_event { Some(arena::vacant::<Event>()?) } else { None };
        let waits_for: Vec<Handle> = self.waits_for.iter().map(|event| event.handle).collect();
        let status = send(Sending {
            caller: &self.caller,
            waits: !posts,
            queue: self.queue.handle,
            waits_for: &waits_for,
            event: vacant.as_ref().map_or(Handle::NULL, |vacant| vacant.handle),
        });
        self.queue.count();
        caller::answer(status)?;
        Ok(vacant)
    }

    /// Sends the command; `certain` says that the host accepts it, so that nobody needs to wait for that.
    ///
    /// # Errors
    /// The host's answer, where it is waited for.
    pub fn send(&self, certain: bool, send: impl FnOnce(Sending<'_>) -> cl_int) -> Result<(), cl_int> {
        if let Some(vacant) = self.sent(certain, self.event.is_wanted(), send)? {
            self.event.set(vacant.fill(Event::of_command(&self.queue, self.kind)).raw());
        }
        Ok(())
    }

    /// The same for a command whose end this library must learn of: its event, which the program has too where it wants it and
    /// the command is the last of several (`is_last`).
    ///
    /// # Errors
    /// As [`Command::send`].
    pub fn send_followed(
        &self,
        certain: bool,
        is_last: bool,
        send: impl FnOnce(Sending<'_>) -> cl_int,
    ) -> Result<Ref<Event>, cl_int> {
        let vacant = match self.sent(certain, true, send)? {
            Some(vacant) => vacant,
            // There is one where one is wanted.
            None => arena::vacant::<Event>()?,
        };
        let body = Event::of_command(&self.queue, self.kind);
        if !self.event.is_wanted() || !is_last {
            return Ok(vacant.fill_unseen(body));
        }
        let event = vacant.fill(body);
        self.event.set(event.raw());
        Ok(event)
    }

    /// The command waits for one more event.
    pub fn also_waits_for(&mut self, event: &Ref<Event>) {
        self.waits_for.push(event.clone());
    }
}
