//! What is known to be done: queries of idle streams and of events that have happened do not leave the process.
//!
//! **Streams.** The answer that a stream is idle holds as long as this process publishes nothing: the position up to which messages
//! were published is kept with it, and compared; for the null and the legacy stream with the context whose they are. It is kept only
//! where nothing else was published while the question was under way.
//!
//! **Events.** The answer that an event has happened holds until the event is recorded again. An event's word counts its
//! recordings, before and after each is published; the answer is kept only where the count is what it was before the question.
//! Events that others may record, of other processes or in graphs, are always asked for.
//!
//! While any stream records, everything is asked: a query may be a mistake then. "Not yet" is always the host's answer.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::capture;
use crate::context;
use crate::device;
use crate::generated::{kind, send};
use crate::handles::{self, Handle};
use crate::status::CUDA_ERROR_INVALID_HANDLE;
use crate::stream::{self, resolve, resolve_per_thread};
use core::sync::atomic::Ordering;

/// Bit of an event's word: it has happened, and is not recorded since.
const HAPPENED: u64 = 1;
/// Bit: only calls of this process, that are counted here, record it.
const OURS: u64 = 2;
/// Bit: it was recorded last in a stream that records, and never happens by that.
const CAPTURED: u64 = 4;
/// One more recording begun or published.
const RECORDING: u64 = 8;
/// Bytes of a question, or of a call that waits, in the ring.
const MESSAGE_SPAN: u64 = wire::frame::GRANULE as u64;

/// An event that was recorded last in a stream that records cannot be asked for, or waited for.
///
/// # Errors
/// `status`.
pub fn check_captured(event: Handle, status: CUresult) -> Result<(), CUresult> {
    if handles::word(event) & CAPTURED != 0 { Err(status) } else { Ok(()) }
}

/// An event whose flags name no other process has been made.
pub fn event_is_ours(event: Handle) {
    handles::set_word(event, OURS);
}

/// From now on the host is asked about this event: something else than this module may record it.
pub fn event_is_shared(event: Handle) {
    if let Some(word) = handles::word_of(event) {
        word.fetch_and(!(OURS | HAPPENED), Ordering::AcqRel);
    }
}

/// Records an event by `publish`.
///
/// # Errors
/// Its answer.
fn record(event: Handle, publish: impl FnOnce() -> CUresult) -> Result<(), CUresult> {
    let word = handles::word_of(event).ok_or(kind::CUevent.error)?;
    let count = || word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| Some((now + RECORDING) & !HAPPENED));
    // Before: who asks from now on does not keep an answer about the recording before. After: nor does who asked meanwhile.
    let _ = count();
    let status = publish();
    let _ = count();
    caller::answer(status)
}

/// Whether an answer that was kept counts: not while a stream records, nor before an error that a query would bring.
fn may_answer(caller: &Caller) -> bool {
    !capture::is_any() && !caller.session.has_deferred()
}

/// Asks by `ask` whether an event has happened, or waits for it, unless it is known to have.
///
/// # Errors
/// The host's answer.
pub fn event(caller: &Caller, event: Handle, ask: impl FnOnce() -> Result<(), CUresult>) -> Result<(), CUresult> {
    let word = handles::word_of(event).ok_or(kind::CUevent.error)?;
    let before = word.load(Ordering::Acquire);
    if before & HAPPENED != 0 && may_answer(caller) {
        return Ok(());
    }
    ask()?;
    if before & OURS != 0 {
        // Failure: it was recorded again meanwhile.
        let _ = word.compare_exchange(before, before | HAPPENED, Ordering::AcqRel, Ordering::Relaxed);
    }
    Ok(())
}

/// Asks by `ask`, in one message, whether a stream is idle, or waits until it is, unless it is known to be.
///
/// # Errors
/// The host's answer.
pub fn stream(caller: &Caller, stream: Handle, ask: impl FnOnce() -> Result<(), CUresult>) -> Result<(), CUresult> {
    let idle_at = match context::current_context()?.idle.get(stream.0 as usize) {
        Some(special) => special,
        None => handles::word_of(stream).ok_or(kind::CUstream.error)?,
    };
    let before = caller.session.published();
    if idle_at.load(Ordering::Acquire) == before && may_answer(caller) {
        return Ok(());
    }
    ask()?;
    let now = caller.session.published();
    if now == before + MESSAGE_SPAN {
        idle_at.store(now, Ordering::Release);
    }
    Ok(())
}

fn record_in(raw: u64, stream: Result<Handle, CUresult>, flags: Option<u32>) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let event = handles::of_kind(kind::CUevent, raw)?;
    let stream = stream?;
    if device::are_several() && stream::device_of(stream)? != context::resolve(handles::owner(event).0)?.device {
        return Err(CUDA_ERROR_INVALID_HANDLE);
    }
    if let Some(word) = handles::word_of(event) {
        let is_captured = capture::is_any() && capture::recording_of(&caller, stream).is_some();
        // An external recording is a node of its own, which happens when the graph runs.
        if is_captured && flags.unwrap_or(0) == 0 {
            word.fetch_or(CAPTURED, Ordering::AcqRel);
        } else {
            word.fetch_and(!CAPTURED, Ordering::AcqRel);
        }
    }
    match flags {
        None => record(event, || send::cuEventRecord(&caller, event, stream)),
        Some(flags) => {
            if flags != 0 {
                // Recorded as a node of a graph, if the stream records.
                event_is_shared(event);
            }
            record(event, || send::cuEventRecordWithFlags(&caller, event, stream, flags))
        }
    }
}

crate::export! {
    /// CUDA Driver API, cuEventRecord.
    extern "C" fn cuEventRecord(hEvent: u64, hStream: u64) {
        record_in(hEvent, resolve(hStream), None)
    }

    /// CUDA Driver API, cuEventRecord with the per-thread default stream.
    extern "C" fn cuEventRecord_ptsz(hEvent: u64, hStream: u64) {
        record_in(hEvent, resolve_per_thread(hStream), None)
    }

    /// CUDA Driver API, cuEventRecordWithFlags.
    extern "C" fn cuEventRecordWithFlags(hEvent: u64, hStream: u64, flags: u32) {
        record_in(hEvent, resolve(hStream), Some(flags))
    }

    /// CUDA Driver API, cuEventRecordWithFlags with the per-thread default stream.
    extern "C" fn cuEventRecordWithFlags_ptsz(hEvent: u64, hStream: u64, flags: u32) {
        record_in(hEvent, resolve_per_thread(hStream), Some(flags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened(event: Handle) -> bool {
        handles::word(event) & HAPPENED != 0
    }

    /// As [`super::event`], with the recordings that `meanwhile` makes while the question is under way.
    fn ask(event: Handle, meanwhile: impl FnOnce()) {
        let word = handles::word_of(event).expect("live");
        let before = word.load(Ordering::Acquire);
        meanwhile();
        let _ = word.compare_exchange(before, before | HAPPENED, Ordering::AcqRel, Ordering::Relaxed);
    }

    #[test]
    fn event_when_recorded_while_the_question_is_under_way_then_the_answer_is_not_kept() {
        let event = handles::make(kind::CUevent, Handle::NULL).expect("room");
        event_is_ours(event);
        ask(event, || ());
        assert!(happened(event));
        record(event, || 0).expect("posted");
        assert!(!happened(event));
        ask(event, || record(event, || 0).expect("posted"));
        assert!(!happened(event));
        // Asked after the recording was begun and before it was published.
        record(event, || {
            ask(event, || ());
            assert!(happened(event));
            0
        })
        .expect("posted");
        assert!(!happened(event));
    }

    #[test]
    fn event_when_others_may_record_it_then_is_never_kept() {
        let event = handles::make(kind::CUevent, Handle::NULL).expect("room");
        event_is_ours(event);
        event_is_shared(event);
        assert_eq!(handles::word(event) & OURS, 0);
        record(event, || 0).expect("posted");
        assert_eq!(handles::word(event) & OURS, 0);
    }
}
