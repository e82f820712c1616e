//! Streams: their making, their order, and the ones that every program has.

use std::ptr::null_mut;

use programs::driver::Handle;
use programs::{call, must};

use crate::bench::{Bench, checksum};

const LEGACY: Handle = 1;
const PER_THREAD: Handle = 2;

pub fn run(bench: &Bench) -> Result<(), String> {
    made(bench)?;
    waiting(bench)?;
    order(bench)?;
    known(bench)?;
    refused(bench);
    Ok(())
}

fn made(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut stream, mut flags, mut priority, mut context) = (0, 99, 99, 0);
    for asked in [0, 1] {
        bench.code(&format!("create {asked}"), call!(cuda, cuStreamCreate(&mut stream, asked)));
        bench.code("its flags", call!(cuda, cuStreamGetFlags(stream, &mut flags)));
        bench.code("its priority", call!(cuda, cuStreamGetPriority(stream, &mut priority)));
        bench.code("its context", call!(cuda, cuStreamGetCtx(stream, &mut context)));
        bench.say("flags, priority, context", format!("{flags} {priority} {}", context == bench.context));
        bench.code("query", call!(cuda, cuStreamQuery(stream)));
        bench.code("synchronise", call!(cuda, cuStreamSynchronize(stream)));
        bench.code("destroy", call!(cuda, cuStreamDestroy_v2(stream)));
    }
    for asked in [-100, -1, 0, 5] {
        bench.code(
            &format!("create at priority {asked}"),
            call!(cuda, cuStreamCreateWithPriority(&mut stream, 1, asked)),
        );
        bench.code("its priority", call!(cuda, cuStreamGetPriority(stream, &mut priority)));
        bench.fact(&format!("priority {asked} became"), priority);
        must!(cuda, cuStreamDestroy_v2(stream))?;
    }
    let mut many = Vec::new();
    for _ in 0..100 {
        must!(cuda, cuStreamCreate(&mut stream, 1))?;
        many.push(stream);
    }
    bench.say("100 streams", many.len());
    for stream in many {
        must!(cuda, cuStreamDestroy_v2(stream))?;
    }
    Ok(())
}

fn waiting(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let mut stream = 0;
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    let scratch = bench.allocate(4)?;
    bench.busy(scratch, stream)?;
    bench.code("query while it works", call!(cuda, cuStreamQuery(stream)));
    bench.code("synchronise", call!(cuda, cuStreamSynchronize(stream)));
    bench.code("query after", call!(cuda, cuStreamQuery(stream)));
    bench.say("result", bench.get::<u32>(scratch, 1)?[0]);
    // The stream ends when its work has.
    bench.busy(scratch, stream)?;
    bench.fill(scratch, 1, 0, 77, stream)?;
    bench.code("destroy while it works", call!(cuda, cuStreamDestroy_v2(stream)));
    bench.code("synchronise all", call!(cuda, cuCtxSynchronize()));
    bench.say("result", bench.get::<u32>(scratch, 1)?[0]);
    bench.free(scratch)
}

/// A stream waits for an event of another.
fn order(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut first, mut second, mut event) = (0, 0, 0);
    must!(cuda, cuStreamCreate(&mut first, 1))?;
    must!(cuda, cuStreamCreate(&mut second, 1))?;
    must!(cuda, cuEventCreate(&mut event, 2))?;
    let [scratch, memory] = [bench.allocate(4)?, bench.allocate(4096)?];
    bench.busy(scratch, first)?;
    bench.fill(memory, 1024, 1, 1, first)?;
    bench.code("record", call!(cuda, cuEventRecord(event, first)));
    bench.code("wait", call!(cuda, cuStreamWaitEvent(second, event, 0)));
    let mut back = vec![0u32; 1024];
    must!(cuda, cuMemcpyDtoHAsync_v2(back.as_mut_ptr().cast(), memory, 4096, second))?;
    must!(cuda, cuStreamSynchronize(second))?;
    bench.say("the second saw the first's work", checksum(&back));
    bench.code("wait on the default stream", call!(cuda, cuStreamWaitEvent(0, event, 0)));
    for stream in [first, second] {
        must!(cuda, cuStreamDestroy_v2(stream))?;
    }
    must!(cuda, cuEventDestroy_v2(event))?;
    // A blocking stream and the NULL stream wait for each other.
    must!(cuda, cuStreamCreate(&mut first, 0))?;
    must!(cuda, cuMemsetD8_v2(memory, 0, 4096))?;
    bench.busy(scratch, first)?;
    bench.fill(memory, 1024, 5, 0, first)?;
    bench.say("the NULL stream waited", checksum(&bench.get::<u32>(memory, 1024)?));
    must!(cuda, cuStreamDestroy_v2(first))?;
    bench.free(scratch)?;
    bench.free(memory)
}

fn known(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let memory = bench.allocate(4096)?;
    let (mut flags, mut priority) = (99, 99);
    for (what, stream) in [("NULL", 0), ("legacy", LEGACY), ("per thread", PER_THREAD)] {
        bench.fill(memory, 1024, 3, stream as u32, stream)?;
        bench.code(&format!("{what}, flags"), call!(cuda, cuStreamGetFlags(stream, &mut flags)));
        bench.code("priority", call!(cuda, cuStreamGetPriority(stream, &mut priority)));
        bench.say("flags, priority", format!("{flags} {priority}"));
        bench.code("synchronise", call!(cuda, cuStreamSynchronize(stream)));
        bench.code("query", call!(cuda, cuStreamQuery(stream)));
        bench.say("words", checksum(&bench.get::<u32>(memory, 1024)?));
        let mut context = 0;
        bench.code("context", call!(cuda, cuStreamGetCtx(stream, &mut context)));
        bench.say("it is the current one", context == bench.context);
    }
    bench.code("destroy NULL", call!(cuda, cuStreamDestroy_v2(0)));
    bench.free(memory)
}

fn refused(bench: &Bench) {
    let cuda = &bench.cuda;
    let mut stream = 0;
    bench.code("create, null", call!(cuda, cuStreamCreate(null_mut(), 0)));
    bench.code("flags that are none", call!(cuda, cuStreamCreate(&mut stream, 0x100)));
    bench.code("flags, null", call!(cuda, cuStreamGetFlags(0, null_mut())));
    bench.code("priority, null", call!(cuda, cuStreamGetPriority(0, null_mut())));
    bench.code("context, null", call!(cuda, cuStreamGetCtx(0, null_mut())));
    bench.code("wait for NULL", call!(cuda, cuStreamWaitEvent(0, 0, 0)));
}
