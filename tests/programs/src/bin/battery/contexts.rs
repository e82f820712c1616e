//! Contexts: the primary one, made ones, and the stack of each thread.

use std::ptr::null_mut;

use programs::driver::Handle;
use programs::{call, must};

use crate::bench::Bench;

pub fn run(bench: &Bench) -> Result<(), String> {
    primary(bench)?;
    stack(bench)?;
    facts(bench);
    wrong(bench);
    ended(bench)
}

fn current(bench: &Bench) -> Handle {
    let mut context = 0;
    bench.code("cuCtxGetCurrent", call!(bench.cuda, cuCtxGetCurrent(&mut context)));
    context
}

fn primary(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut flags, mut active, mut again) = (99, 99, 0);
    let device = bench.device;
    bench.code("primary state", call!(cuda, cuDevicePrimaryCtxGetState(device, &mut flags, &mut active)));
    bench.say("flags and active", format!("{flags} {active}"));
    must!(cuda, cuDevicePrimaryCtxRetain(&mut again, device))?;
    bench.say("retained again, it is the same", again == bench.context);
    bench.code("release", call!(cuda, cuDevicePrimaryCtxRelease_v2(device)));
    bench.code("retain, null", call!(cuda, cuDevicePrimaryCtxRetain(null_mut(), device)));
    bench.code("retain of no device", call!(cuda, cuDevicePrimaryCtxRetain(&mut again, 1000)));
    bench.code("state of no device", call!(cuda, cuDevicePrimaryCtxGetState(1000, &mut flags, &mut active)));
    bench.say("the primary is current", current(bench) == bench.context);
    Ok(())
}

fn stack(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut first, mut second, mut popped) = (0, 0, 0);
    must!(cuda, cuCtxCreate_v2(&mut first, 0, bench.device))?;
    bench.say("a made context is current", current(bench) == first);
    must!(cuda, cuCtxCreate_v2(&mut second, 4, bench.device))?;
    bench.say("another too", current(bench) == second);
    let mut flags = 0;
    bench.code("cuCtxGetFlags", call!(cuda, cuCtxGetFlags(&mut flags)));
    bench.say("flags", flags);
    bench.code("pop", call!(cuda, cuCtxPopCurrent_v2(&mut popped)));
    bench.say("it was the second", popped == second);
    bench.say("now the first is current", current(bench) == first);
    bench.code("push", call!(cuda, cuCtxPushCurrent_v2(second)));
    bench.code("push the same again", call!(cuda, cuCtxPushCurrent_v2(second)));
    bench.code("pop, null", call!(cuda, cuCtxPopCurrent_v2(null_mut())));
    bench.say("the second is still current", current(bench) == second);
    bench.code("set current the first", call!(cuda, cuCtxSetCurrent(first)));
    bench.code("pop", call!(cuda, cuCtxPopCurrent_v2(&mut popped)));
    bench.say("set had replaced the top", popped == first);
    bench.say("below it is the first", current(bench) == first);
    bench.code("destroy the current one", call!(cuda, cuCtxDestroy_v2(first)));
    bench.say("then the primary is current", current(bench) == bench.context);
    bench.code("destroy one that is not current", call!(cuda, cuCtxDestroy_v2(second)));
    bench.code("set current NULL", call!(cuda, cuCtxSetCurrent(0)));
    bench.say("now none is current", current(bench) == 0);
    bench.code("pop the empty stack", call!(cuda, cuCtxPopCurrent_v2(&mut popped)));
    bench.code("set current the primary", call!(cuda, cuCtxSetCurrent(bench.context)));
    Ok(())
}

fn facts(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut device, mut version, mut value, mut least, mut greatest, mut cache) = (99, 0, 0, 0, 0, 99);
    bench.code("cuCtxGetDevice", call!(cuda, cuCtxGetDevice(&mut device)));
    bench.say("device", device);
    bench.code("cuCtxGetDevice, null", call!(cuda, cuCtxGetDevice(null_mut())));
    bench.code("cuCtxGetApiVersion", call!(cuda, cuCtxGetApiVersion(bench.context, &mut version)));
    bench.say("version", version);
    bench.code("cuCtxGetApiVersion, null", call!(cuda, cuCtxGetApiVersion(bench.context, null_mut())));
    bench.code("priorities", call!(cuda, cuCtxGetStreamPriorityRange(&mut least, &mut greatest)));
    bench.fact("priorities", format!("{least} {greatest}"));
    bench.code("priorities, null", call!(cuda, cuCtxGetStreamPriorityRange(null_mut(), null_mut())));
    bench.code("cuCtxGetCacheConfig", call!(cuda, cuCtxGetCacheConfig(&mut cache)));
    bench.fact("cache config", cache);
    bench.code("cuCtxSetCacheConfig", call!(cuda, cuCtxSetCacheConfig(1)));
    bench.code("cuCtxSetCacheConfig, none", call!(cuda, cuCtxSetCacheConfig(77)));
    for limit in 0..=2 {
        let status = call!(cuda, cuCtxGetLimit(&mut value, limit));
        bench.fact(&format!("limit {limit}"), format!("{value} {}", cuda.name_of(status)));
    }
    bench.code("set the limit of stacks", call!(cuda, cuCtxSetLimit(0, 4096)));
    bench.code("get it", call!(cuda, cuCtxGetLimit(&mut value, 0)));
    bench.say("limit of stacks", value);
    bench.code("no such limit", call!(cuda, cuCtxGetLimit(&mut value, 1000)));
    bench.code("set no such limit", call!(cuda, cuCtxSetLimit(1000, 1)));
    bench.code("limit, null", call!(cuda, cuCtxGetLimit(null_mut(), 0)));
    bench.code("cuCtxSynchronize", call!(cuda, cuCtxSynchronize()));
}

fn wrong(bench: &Bench) {
    let cuda = &bench.cuda;
    let mut context = 0;
    bench.code("create, null", call!(cuda, cuCtxCreate_v2(null_mut(), 0, bench.device)));
    bench.code("create on no device", call!(cuda, cuCtxCreate_v2(&mut context, 0, 1000)));
    bench.code("create with odd flags", call!(cuda, cuCtxCreate_v2(&mut context, 0x8000_0000, bench.device)));
    bench.code("destroy NULL", call!(cuda, cuCtxDestroy_v2(0)));
    bench.code("push NULL", call!(cuda, cuCtxPushCurrent_v2(0)));
    bench.code("current, null", call!(cuda, cuCtxGetCurrent(null_mut())));
    bench.code("flags, null", call!(cuda, cuCtxGetFlags(null_mut())));
    bench.say("the primary is still current", current(bench) == bench.context);
}

/// What is left of a context that is gone.
fn ended(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let mut context = 0;
    must!(cuda, cuCtxCreate_v2(&mut context, 0, bench.device))?;
    let memory = bench.allocate(4096)?;
    bench.code("destroy with memory in it", call!(cuda, cuCtxDestroy_v2(context)));
    bench.code("free that memory", call!(cuda, cuMemFree_v2(memory)));
    bench.say("the primary is current", current(bench) == bench.context);
    Ok(())
}
