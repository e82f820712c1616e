//! Streams: queues whose operations run in order, beside those of other streams.
//!
//! A stream owns no thread. It is an end in the graph of [`crate::work`], kept by its context. Submitting puts an [`Op`]
//! behind that end, or into the graph that the stream is being captured into.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::capture::{self, Captured};
use crate::context::{self, Context, guarded, next_id};
use crate::export;
use crate::handle::{Handle, Object, object};
use crate::op::Op;
use crate::status::{Answer, Status};
use crate::work::{self, Work};

/// CU_STREAM_NON_BLOCKING.
pub const NON_BLOCKING: u32 = 1;
/// The handle CU_STREAM_LEGACY.
pub const LEGACY_HANDLE: u64 = 1;
/// The handle CU_STREAM_PER_THREAD.
pub const OWN_HANDLE: u64 = 2;
/// Lowest and highest priority.
pub const PRIORITIES: (i32, i32) = (0, -5);
/// Bytes of a CUstreamAttrValue.
pub const ATTRIBUTE_BYTES: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Legacy,
    Own,
    Created,
}

/// A stream.
pub struct Stream {
    /// Its handle; null for the legacy one and a thread's own.
    pub handle: Handle<Stream>,
    /// cuStreamGetId.
    pub id: u64,
    /// Its context.
    pub context: Arc<Context>,
    /// CU_STREAM_* flags.
    pub flags: u32,
    /// Its priority, kept and given back.
    pub priority: i32,
    /// Attributes that programs set, by their number; kept and given back.
    pub attributes: Mutex<HashMap<u32, [u8; ATTRIBUTE_BYTES]>>,
    /// The capture the stream is part of.
    pub capture: Mutex<Option<Captured>>,
    rank: Rank,
}

object!(Stream, 2; stale INVALID_CONTEXT);

impl Stream {
    /// cuStreamCreateWithPriority.
    pub fn create(context: Arc<Context>, flags: u32, priority: i32) -> Answer<Handle<Stream>> {
        if flags & !NON_BLOCKING != 0 {
            return Err(Status::INVALID_VALUE);
        }
        let priority = priority.clamp(PRIORITIES.1, PRIORITIES.0);
        let make = |handle| Self::new(handle, context, flags, priority, Rank::Created);
        Ok(Stream::table().insert(make)?.0)
    }

    /// The legacy default stream of a context.
    pub fn legacy(context: Arc<Context>) -> Stream {
        Self::new(Handle::NULL, context, 0, 0, Rank::Legacy)
    }

    fn new(handle: Handle<Stream>, context: Arc<Context>, flags: u32, priority: i32, rank: Rank) -> Stream {
        let (attributes, capture) = (Mutex::default(), Mutex::default());
        Stream { handle, id: next_id(), context, flags, priority, attributes, capture, rank }
    }

    /// Whether it is a legacy default stream.
    pub fn is_legacy(&self) -> bool {
        self.rank == Rank::Legacy
    }

    /// Whether the legacy default stream and this one wait for each other.
    pub fn is_blocking(&self) -> bool {
        self.flags & NON_BLOCKING == 0
    }

    /// Puts an operation at the end of the stream, or into the graph under capture.
    pub fn submit(self: &Arc<Self>, op: Op) -> Answer {
        if capture::take(self, &op)? {
            return Ok(());
        }
        work::release(&self.prepare(op)?);
        Ok(())
    }

    /// As [`Stream::submit`], and waits for the operation. Refused under capture.
    pub fn perform(self: &Arc<Self>, op: Op) -> Answer {
        capture::forbid(self)?;
        self.prepare(op)?.let_go_and_wait();
        self.context.check()
    }

    /// Puts a marker at the end of the stream, also behind `after`; it is let go already.
    pub fn mark(&self, after: &[Arc<Work>]) -> Arc<Work> {
        let work = self.context.append(self, None, after);
        work::release(&work);
        work
    }

    /// Turns an operation into work at the end of the stream, not let go.
    fn prepare(&self, op: Op) -> Answer<Arc<Work>> {
        self.context.check()?;
        Ok(match op {
            Op::Empty => self.context.append(self, None, &[]),
            Op::Record(event) => {
                let work = self.context.append(self, None, &[]);
                event.recorded(work.clone());
                work
            }
            Op::Wait(event) => {
                let after: Vec<_> = event.work().into_iter().collect();
                self.context.append(self, None, &after)
            }
            Op::Graph(graph) => return graph.launch(self),
            op if op.even_after_fault() => {
                let context = self.context.clone();
                self.context.append(self, Some(Box::new(move || op.run_always(&context))), &[])
            }
            op => {
                let context = self.context.clone();
                let run = guarded(self.context.clone(), move || op.run(&context));
                self.context.append(self, Some(run), &[])
            }
        })
    }

    /// cuStreamSynchronize.
    pub fn synchronize(self: &Arc<Self>) -> Answer {
        capture::forbid(self)?;
        capture::permit()?;
        for work in self.context.unfinished(self) {
            work.wait();
        }
        self.context.check()
    }

    /// cuStreamQuery.
    pub fn query(self: &Arc<Self>) -> Answer {
        capture::forbid(self)?;
        capture::permit()?;
        self.context.check()?;
        if self.context.unfinished(self).is_empty() { Ok(()) } else { Err(Status::NOT_READY) }
    }

    /// cuStreamDestroy: the handle is stale at once, the work goes on. A fault is told.
    pub fn destroy(handle: Handle<Stream>) -> Answer {
        let stream = handle.take()?;
        capture::abandon(&stream);
        stream.context.forget_stream(&stream);
        stream.context.check()
    }
}

thread_local! {
    /// This thread's own default streams, by context id.
    static OWN: RefCell<HashMap<u64, Arc<Stream>>> = RefCell::new(HashMap::new());
}

fn own(context: Arc<Context>) -> Arc<Stream> {
    OWN.with_borrow_mut(|own| {
        own.retain(|_, stream| stream.context.is_alive());
        own.entry(context.id).or_insert_with(|| Arc::new(Stream::new(Handle::NULL, context, 0, 0, Rank::Own))).clone()
    })
}

/// The stream that a program's handle means in the call being made. After a fault there is none.
pub fn resolve(handle: Handle<Stream>) -> Answer<Arc<Stream>> {
    let stream = match handle.0 {
        0 if export::null_stream_is_own() => own(context::current()?),
        0 | LEGACY_HANDLE => context::current()?.legacy_stream(),
        OWN_HANDLE => own(context::current()?),
        _ => handle.get()?,
    };
    stream.context.check()?;
    Ok(stream)
}

/// The stream that a call with no stream argument works in.
pub fn default() -> Answer<Arc<Stream>> {
    resolve(Handle::NULL)
}

/// A number for `%gridid`.
pub fn next_grid_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
