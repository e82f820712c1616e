//! Event management.

use crate::context;
use crate::event::Event;
use crate::export::cuda;
use crate::foreign::Out;
use crate::handle::Handle;
use crate::op::Op;
use crate::status::{Answer, Status};
use crate::stream::{self, Stream};

fn record(event: Handle<Event>, stream: Handle<Stream>, flags: u32) -> Answer {
    let event = event.get()?;
    let stream = stream::resolve(stream)?;
    if flags > 1 {
        return Err(Status::INVALID_VALUE);
    }
    if event.context.id != stream.context.id {
        return Err(Status::INVALID_HANDLE);
    }
    stream.submit(Op::Record(event))
}

fn elapsed(milliseconds: Out<f32>, start: Handle<Event>, end: Handle<Event>) -> Answer {
    let time = Event::elapsed(&*start.get()?, &*end.get()?)?;
    // A GPU's driver has this answer for a null pointer here, and no other.
    milliseconds.set(time).or(Err(Status::INVALID_HANDLE))
}

cuda! {
    fn cuEventCreate(out: Out<Handle<Event>>, flags: u32) {
        out.check()?;
        out.set(Event::create(context::usable()?, flags)?)
    }

    fn cuEventRecord | cuEventRecord_ptsz (event: Handle<Event>, stream: Handle<Stream>) {
        record(event, stream, 0)
    }

    fn cuEventRecordWithFlags | cuEventRecordWithFlags_ptsz (event: Handle<Event>, stream: Handle<Stream>, flags: u32) {
        record(event, stream, flags)
    }

    fn cuEventQuery(event: Handle<Event>) {
        event.get()?.query()
    }

    fn cuEventSynchronize(event: Handle<Event>) {
        event.get()?.synchronize()
    }

    fn cuEventDestroy(event: Handle<Event>) {
        Event::destroy(event)
    }

    fn cuEventDestroy_v2(event: Handle<Event>) {
        Event::destroy(event)
    }

    fn cuEventElapsedTime(milliseconds: Out<f32>, start: Handle<Event>, end: Handle<Event>) {
        elapsed(milliseconds, start, end)
    }

    fn cuEventElapsedTime_v2(milliseconds: Out<f32>, start: Handle<Event>, end: Handle<Event>) {
        elapsed(milliseconds, start, end)
    }
}
