//! Stream capture: streams that write their operations into a graph instead of running them.
//!
//! A capture begins in one stream; others join by waiting for an event that was recorded in it. Each stream of a capture
//! keeps the nodes that its next operation follows. What cannot be captured spoils the capture, as CUDA has it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::ThreadId;

use crate::graph::{Graph, Payload};
use crate::op::Op;
use crate::status::{Answer, Status};
use crate::stream::Stream;
use crate::types::{Memcpy3D, MemsetNode};
use crate::work::lock;

/// CU_STREAM_CAPTURE_MODE_GLOBAL.
const GLOBAL: u32 = 0;
/// CU_STREAM_CAPTURE_MODE_RELAXED.
pub const RELAXED: u32 = 2;

/// A capture under way.
pub struct Capture {
    /// cuStreamGetCaptureInfo's id.
    pub id: u64,
    /// Where the operations go.
    pub graph: Arc<Graph>,
    mode: u32,
    origin: u64,
    thread: ThreadId,
    context: u64,
    blocking: bool,
    spoilt: AtomicBool,
    ended: AtomicBool,
    members: Mutex<Vec<Weak<Stream>>>,
}

/// A place in a capture: the nodes that what comes next follows.
#[derive(Clone)]
pub struct Captured {
    /// The capture.
    pub capture: Arc<Capture>,
    /// Numbers of nodes in its graph.
    pub after: Vec<u64>,
}

/// Captures under way in the process; most calls need to know only that there are none.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);
/// The captures under way: what the legacy stream and some calls would disturb.
static DISTURBED: Mutex<Vec<Weak<Capture>>> = Mutex::new(Vec::new());

thread_local! {
    static MODE: Cell<u32> = const { Cell::new(0) };
}

/// cuThreadExchangeStreamCaptureMode.
pub fn exchange_mode(mode: u32) -> Answer<u32> {
    if mode > RELAXED { Err(Status::INVALID_VALUE) } else { Ok(MODE.replace(mode)) }
}

/// Begins a capture into `graph`, behind the nodes `after` of it.
pub fn begin(stream: &Arc<Stream>, graph: Arc<Graph>, after: Vec<u64>, mode: u32) -> Answer {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    if mode > RELAXED {
        return Err(Status::INVALID_VALUE);
    }
    if stream.is_legacy() {
        return Err(Status::STREAM_CAPTURE_UNSUPPORTED);
    }
    let mut slot = lock(&stream.capture);
    if slot.is_some() {
        return Err(Status::ILLEGAL_STATE);
    }
    let capture = Arc::new(Capture {
        id: u64::from(NEXT.fetch_add(1, Ordering::Relaxed)),
        graph,
        mode,
        origin: stream.id,
        thread: std::thread::current().id(),
        context: stream.context.id,
        blocking: stream.is_blocking(),
        spoilt: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        members: Mutex::new(vec![Arc::downgrade(stream)]),
    });
    ACTIVE.fetch_add(1, Ordering::AcqRel);
    let mut disturbed = lock(&DISTURBED);
    disturbed.retain(|capture| capture.strong_count() > 0);
    disturbed.push(Arc::downgrade(&capture));
    *slot = Some(Captured { capture, after });
    Ok(())
}

/// Ends the capture that began in this stream; its graph.
pub fn end(stream: &Arc<Stream>) -> Answer<Arc<Graph>> {
    let captured = lock(&stream.capture).clone().ok_or(Status::ILLEGAL_STATE)?;
    let capture = captured.capture;
    if capture.origin != stream.id {
        return Err(Status::STREAM_CAPTURE_UNMATCHED);
    }
    if capture.mode != RELAXED && capture.thread != std::thread::current().id() {
        return Err(Status::STREAM_CAPTURE_WRONG_THREAD);
    }
    let mut unjoined = false;
    for member in lock(&capture.members).drain(..).filter_map(|member| member.upgrade()) {
        let mut slot = lock(&member.capture);
        let Some(place) = slot.take_if(|place| Arc::ptr_eq(&place.capture, &capture)) else { continue };
        unjoined |= !capture.graph.all_before(&place.after, &captured.after);
    }
    capture.finish();
    if capture.spoilt.load(Ordering::Acquire) {
        let _ = Graph::destroy(capture.graph.handle);
        return Err(Status::STREAM_CAPTURE_INVALIDATED);
    }
    if unjoined {
        let _ = Graph::destroy(capture.graph.handle);
        return Err(Status::STREAM_CAPTURE_UNJOINED);
    }
    Ok(capture.graph.clone())
}

impl Capture {
    fn finish(&self) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            ACTIVE.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn is_open(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// Whether something happened in it that cannot be captured.
    pub fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Acquire)
    }

    fn spoil(&self, status: Status) -> Status {
        self.spoilt.store(true, Ordering::Release);
        status
    }
}

/// Takes an operation into the capture that the stream is part of; `false` if there is none.
pub fn take(stream: &Arc<Stream>, op: &Op) -> Answer<bool> {
    if ACTIVE.load(Ordering::Acquire) == 0 {
        return Ok(false);
    }
    if stream.is_legacy() {
        return undisturbed(stream).map(|()| false);
    }
    let mut slot = lock(&stream.capture);
    let Some(place) = slot.as_mut() else {
        let Op::Wait(event) = op else { return Ok(false) };
        let Some(joined) = event.captured().filter(|place| place.capture.is_open()) else { return Ok(false) };
        lock(&joined.capture.members).push(Arc::downgrade(stream));
        *slot = Some(joined);
        return Ok(true);
    };
    let capture = place.capture.clone();
    if capture.is_spoilt() {
        return Err(Status::STREAM_CAPTURE_INVALIDATED);
    }
    match op {
        Op::Record(event) => event.recorded_in_capture(place.clone()),
        Op::Wait(event) => match event.captured() {
            Some(other) if Arc::ptr_eq(&other.capture, &capture) => {
                let new: Vec<u64> = other.after.iter().filter(|id| !place.after.contains(id)).copied().collect();
                place.after.extend(new);
            }
            Some(_) => return Err(capture.spoil(Status::STREAM_CAPTURE_MERGE)),
            None if event.work().is_some() => return Err(capture.spoil(Status::STREAM_CAPTURE_ISOLATION)),
            None => {}
        },
        op => {
            let payload = payload(op).map_err(|status| capture.spoil(status))?;
            let (id, _) = capture.graph.add(payload, place.after.clone())?;
            place.after = vec![id];
        }
    }
    Ok(true)
}

/// As [`take`] for a node that is not an operation; `make` is not called if there is no capture.
pub fn take_node(stream: &Arc<Stream>, make: impl FnOnce() -> Answer<Payload>) -> Answer<bool> {
    let mut slot = lock(&stream.capture);
    let Some(place) = slot.as_mut() else { return Ok(false) };
    if place.capture.is_spoilt() {
        return Err(Status::STREAM_CAPTURE_INVALIDATED);
    }
    let (id, _) = place.capture.graph.add(make()?, place.after.clone())?;
    place.after = vec![id];
    Ok(true)
}

fn payload(op: &Op) -> Answer<Payload> {
    Ok(match op {
        Op::Empty => Payload::Empty,
        Op::Kernel(call) => Payload::Kernel(call.clone()),
        Op::Copy(copy) => {
            let described = Memcpy3D {
                src_kind: 4,
                src_device: copy.from.address,
                src_pitch: copy.from.pitch,
                src_height: copy.from.slice.checked_div(copy.from.pitch).unwrap_or(0),
                dst_kind: 4,
                dst_device: copy.to.address,
                dst_pitch: copy.to.pitch,
                dst_height: copy.to.slice.checked_div(copy.to.pitch).unwrap_or(0),
                width: copy.width,
                height: copy.height,
                depth: copy.depth,
                ..Memcpy3D::default()
            };
            Payload::Memcpy(described, copy.clone())
        }
        Op::Fill(fill) => {
            let (address, pitch, value, size) = (fill.address, fill.pitch, fill.value, fill.size);
            Payload::Memset(MemsetNode { address, pitch, value, size, width: fill.width, height: fill.height }, *fill)
        }
        Op::Host(function, data) => Payload::Host(*function, *data),
        Op::Free(address) => Payload::Free(*address),
        Op::Upload(..) | Op::Write(..) | Op::WaitValue(_) | Op::Values(_) => Payload::Other(op.clone()),
        Op::Conditional(_) | Op::Graph(_) | Op::Callback(..) | Op::Record(_) | Op::Wait(_) => {
            return Err(Status::STREAM_CAPTURE_UNSUPPORTED);
        }
    })
}

/// Whether the stream is part of a capture.
pub fn is_on(stream: &Stream) -> bool {
    ACTIVE.load(Ordering::Acquire) != 0 && lock(&stream.capture).is_some()
}

/// Refuses a call that may wait for, or change, what work in any stream depends on, while a capture forbids that to this
/// thread; spoils the captures that do.
///
/// A thread in the global mode, in which each begins, is forbidden it by its own captures that are not relaxed and by every
/// thread's global ones; one in the thread-local mode by the former alone (CUDA Driver API,
/// cuThreadExchangeStreamCaptureMode).
pub fn permit() -> Answer {
    if ACTIVE.load(Ordering::Acquire) == 0 || MODE.get() == RELAXED {
        return Ok(());
    }
    let here = std::thread::current().id();
    let forbids = |capture: &Arc<Capture>| {
        capture.is_open()
            && (capture.thread == here && capture.mode != RELAXED || MODE.get() == GLOBAL && capture.mode == GLOBAL)
    };
    refuse(forbids)
}

/// Spoils the captures under way for which `which` holds; refuses if there are any.
fn refuse(which: impl Fn(&Arc<Capture>) -> bool) -> Answer {
    let captures: Vec<_> = lock(&DISTURBED).iter().filter_map(Weak::upgrade).filter(which).collect();
    if captures.is_empty() {
        return Ok(());
    }
    for capture in captures {
        capture.spoil(Status::STREAM_CAPTURE_UNSUPPORTED);
    }
    Err(Status::STREAM_CAPTURE_UNSUPPORTED)
}

/// Refuses to wait for a whole context in which a stream is under capture, in whatever mode; spoils the captures.
pub fn forbid_context(context: u64) -> Answer {
    if ACTIVE.load(Ordering::Acquire) == 0 {
        return Ok(());
    }
    refuse(|capture| capture.is_open() && capture.context == context)
}

/// Refuses what cannot be done in a stream under capture, and spoils the capture.
pub fn forbid(stream: &Arc<Stream>) -> Answer {
    if ACTIVE.load(Ordering::Acquire) == 0 {
        return Ok(());
    }
    if stream.is_legacy() {
        return undisturbed(stream);
    }
    match lock(&stream.capture).as_ref() {
        Some(place) => Err(place.capture.spoil(Status::STREAM_CAPTURE_UNSUPPORTED)),
        None => Ok(()),
    }
}

/// Refuses to use the legacy stream while one that it waits for is under capture.
fn undisturbed(legacy: &Stream) -> Answer {
    for capture in lock(&DISTURBED).iter().filter_map(Weak::upgrade) {
        if capture.is_open() && capture.blocking && capture.context == legacy.context.id && capture.mode != RELAXED {
            return Err(capture.spoil(Status::STREAM_CAPTURE_IMPLICIT));
        }
    }
    Ok(())
}

/// The stream is destroyed: a capture that it is part of is spoilt, and ended if it began there.
pub fn abandon(stream: &Stream) {
    if let Some(place) = lock(&stream.capture).take() {
        place.capture.spoil(Status::STREAM_CAPTURE_INVALIDATED);
        if place.capture.origin == stream.id {
            place.capture.finish();
        }
    }
}
