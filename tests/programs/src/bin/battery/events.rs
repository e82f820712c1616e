//! Events: recorded, waited for, measured.

use std::ptr::null_mut;

use programs::{call, must};

use crate::bench::Bench;

const NO_TIMING: u32 = 2;

pub fn run(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut stream, mut start, mut end, mut untimed, mut gone) = (0, 0, 0, 0, 0f32);
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    bench.code("create", call!(cuda, cuEventCreate(&mut start, 0)));
    bench.code("create, blocking", call!(cuda, cuEventCreate(&mut end, 1)));
    bench.code("create, untimed", call!(cuda, cuEventCreate(&mut untimed, NO_TIMING)));
    bench.code("query one never recorded", call!(cuda, cuEventQuery(start)));
    bench.code("synchronise with it", call!(cuda, cuEventSynchronize(start)));
    bench.code("time between such", call!(cuda, cuEventElapsedTime(&mut gone, start, end)));
    let scratch = bench.allocate(4)?;
    bench.code("record", call!(cuda, cuEventRecord(start, stream)));
    bench.busy(scratch, stream)?;
    bench.code("record", call!(cuda, cuEventRecord(end, stream)));
    bench.code("record", call!(cuda, cuEventRecord(untimed, stream)));
    bench.code("query before", call!(cuda, cuEventQuery(end)));
    bench.code("time before", call!(cuda, cuEventElapsedTime(&mut gone, start, end)));
    bench.code("synchronise", call!(cuda, cuEventSynchronize(end)));
    bench.code("query after", call!(cuda, cuEventQuery(end)));
    bench.code("time after", call!(cuda, cuEventElapsedTime(&mut gone, start, end)));
    bench.say("between a millisecond and a minute", (1.0..60_000.0).contains(&gone));
    bench.code("time back", call!(cuda, cuEventElapsedTime(&mut gone, end, start)));
    bench.say("it is negative", gone < 0.0);
    bench.code("synchronise the stream", call!(cuda, cuStreamSynchronize(stream)));
    bench.code("time of the untimed", call!(cuda, cuEventElapsedTime(&mut gone, start, untimed)));
    bench.code("record on the default stream", call!(cuda, cuEventRecord(start, 0)));
    bench.code("synchronise", call!(cuda, cuEventSynchronize(start)));
    bench.code("create, null", call!(cuda, cuEventCreate(null_mut(), 0)));
    bench.code("flags that are none", call!(cuda, cuEventCreate(&mut untimed, 0x1000)));
    bench.code("record NULL", call!(cuda, cuEventRecord(0, stream)));
    bench.code("query NULL", call!(cuda, cuEventQuery(0)));
    bench.code("synchronise with NULL", call!(cuda, cuEventSynchronize(0)));
    bench.code("destroy NULL", call!(cuda, cuEventDestroy_v2(0)));
    bench.code("time from NULL", call!(cuda, cuEventElapsedTime(&mut gone, 0, end)));
    bench.busy(scratch, stream)?;
    bench.code("record", call!(cuda, cuEventRecord(end, stream)));
    bench.code("destroy while awaited", call!(cuda, cuEventDestroy_v2(end)));
    bench.code("destroy", call!(cuda, cuEventDestroy_v2(start)));
    must!(cuda, cuStreamSynchronize(stream))?;
    must!(cuda, cuStreamDestroy_v2(stream))?;
    bench.free(scratch)
}
