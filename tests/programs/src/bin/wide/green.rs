//! Green contexts: a part of a device's multiprocessors, with streams of its own.

use std::ptr::null;

use crate::{Bench, cu, tell};

/// `CUdevResource`: its type, the driver's own bytes, and what is described at byte 96.
type Resource = [u64; 18];

fn multiprocessors(resource: &Resource) -> u32 {
    resource[12] as u32
}

pub fn run(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut all, mut context) = ([0u64; 18], [0u64; 18]);
    tell!(cuda, "", cuDeviceGetDevResource(0, all.as_mut_ptr(), 1));
    let mut count = 0u32;
    cu!(cuda, cuDeviceGetAttribute(&mut count, 16, 0));
    cuda.say("all multiprocessors", multiprocessors(&all) == count);
    cuda.say("type", all[0] as u32);
    tell!(cuda, "", cuCtxGetDevResource(bench.context, context.as_mut_ptr(), 1));
    cuda.say("all multiprocessors", multiprocessors(&context) == count);
    tell!(cuda, "of no type", cuDeviceGetDevResource(0, context.as_mut_ptr(), 0));
    tell!(cuda, "of a wrong type", cuDeviceGetDevResource(0, context.as_mut_ptr(), 99));
    tell!(cuda, "of a wrong device", cuDeviceGetDevResource(99, context.as_mut_ptr(), 1));
    tell!(cuda, "no place", cuDeviceGetDevResource(0, null::<u64>(), 1));
    let Some((groups, rest)) = split(bench, &all, count) else { return };
    let mut description = 0u64;
    tell!(cuda, "", cuDevResourceGenerateDesc(&mut description, groups.as_ptr(), 1u32));
    let mut other = 0u64;
    tell!(cuda, "of two", cuDevResourceGenerateDesc(&mut other, groups.as_ptr(), 2u32));
    tell!(cuda, "of the rest", cuDevResourceGenerateDesc(&mut other, rest.as_ptr(), 1u32));
    let mut green = 0u64;
    tell!(cuda, "", cuGreenCtxCreate(&mut green, description, 0, 1));
    tell!(cuda, "no flags", cuGreenCtxCreate(&mut other, description, 0, 0));
    tell!(cuda, "a wrong device", cuGreenCtxCreate(&mut other, description, 99, 1));
    tell!(cuda, "", cuGreenCtxGetDevResource(green, context.as_mut_ptr(), 1));
    cuda.say("as split", multiprocessors(&context) == multiprocessors(&groups[0]));
    work(bench, green);
    tell!(cuda, "", cuGreenCtxDestroy(green));
    let wild: Resource = [0x7f7f_7f7f_7f7f_7f7f; 18];
    tell!(cuda, "of a wild one", cuDevResourceGenerateDesc(&mut other, wild.as_ptr(), 1u32));
    tell!(cuda, "of zeros", cuDevResourceGenerateDesc(&mut other, [0u64; 18].as_ptr(), 1u32));
    tell!(cuda, "no description", cuGreenCtxCreate(&mut other, 0u64, 0, 1));
    tell!(cuda, "none", cuGreenCtxDestroy(0u64));
}

/// A description of no resource: the vendor's library ends its process with this.
pub fn of_none(bench: &Bench) {
    let (cuda, mut all, mut description) = (&bench.cuda, [0u64; 18], 0u64);
    tell!(cuda, "", cuDeviceGetDevResource(0, all.as_mut_ptr(), 1));
    tell!(cuda, "of none", cuDevResourceGenerateDesc(&mut description, all.as_ptr(), 0u32));
}

/// Splits, in each of its ways.
fn split(bench: &Bench, all: &Resource, count: u32) -> Option<([Resource; 2], Resource)> {
    let cuda = &bench.cuda;
    let (mut groups, mut rest, mut number) = ([[0u64; 18]; 2], [0u64; 18], 0u32);
    tell!(cuda, "how many", cuDevSmResourceSplitByCount(null::<u64>(), &mut number, all, null::<u64>(), 0, 16u32));
    cuda.say("some", number > 1);
    number = 2;
    let status = tell!(cuda, "", cuDevSmResourceSplitByCount(&mut groups, &mut number, all, &mut rest, 0, 16u32));
    cuda.say("groups", number);
    let sum: u32 = groups.iter().map(multiprocessors).sum();
    cuda.say(
        "multiprocessors",
        format!("{:?} {}", groups.each_ref().map(multiprocessors), multiprocessors(&rest) + sum == count),
    );
    let mut odd = 1u32;
    tell!(
        cuda,
        "too many",
        cuDevSmResourceSplitByCount(&mut [[0u64; 18]; 1], &mut odd, all, null::<u64>(), 0, 1u32 << 20)
    );
    odd = 0;
    tell!(cuda, "no groups", cuDevSmResourceSplitByCount(&mut [[0u64; 18]; 1], &mut odd, all, null::<u64>(), 0, 16u32));
    odd = 1;
    tell!(
        cuda,
        "wrong flags",
        cuDevSmResourceSplitByCount(&mut [[0u64; 18]; 1], &mut odd, all, null::<u64>(), 64, 16u32)
    );
    tell!(
        cuda,
        "of none",
        cuDevSmResourceSplitByCount(&mut [[0u64; 18]; 1], &mut odd, null::<u64>(), null::<u64>(), 0, 16u32)
    );
    (status == 0).then_some((groups, rest))
}

/// Streams, events, memory and kernels in a green context.
fn work(bench: &Bench, green: u64) {
    let cuda = &bench.cuda;
    let (mut context, mut again, mut id) = (0u64, 0u64, 0u64);
    tell!(cuda, "", cuCtxFromGreenCtx(&mut context, green));
    tell!(cuda, "again", cuCtxFromGreenCtx(&mut again, green));
    cuda.say("the same", context == again);
    tell!(cuda, "", cuGreenCtxGetId(green, &mut id));
    cuda.say("a number", id != 0);
    let (mut stream, mut other) = (0u64, 0u64);
    tell!(cuda, "", cuGreenCtxStreamCreate(&mut stream, green, 1, 0));
    tell!(cuda, "no flags", cuGreenCtxStreamCreate(&mut other, green, 0, 0));
    tell!(cuda, "", cuStreamGetGreenCtx(stream, &mut other));
    cuda.say("its own", other == green);
    let (mut plain, mut owner, mut owner_green) = (0u64, 9u64, 9u64);
    cu!(cuda, cuStreamCreate(&mut plain, 1));
    tell!(cuda, "of no green one", cuStreamGetGreenCtx(plain, &mut other));
    cuda.say("none", other == 0);
    tell!(cuda, "", cuStreamGetCtx(stream, &mut owner));
    cuda.say("as converted", owner == context);
    (owner, owner_green) = (9, owner_green);
    tell!(cuda, "", cuStreamGetCtx_v2(stream, &mut owner, &mut owner_green));
    cuda.say("context, green", format!("{} {}", owner == 0 || owner == context, owner_green == green));
    cuda.say("no context", owner == 0);
    cuda.say("untouched, the primary", format!("{} {}", owner == 9, owner == bench.context));
    let mut event = 0u64;
    cu!(cuda, cuEventCreate(&mut event, 2));
    let words = bench.words(64, 0);
    cu!(cuda, cuCtxSynchronize());
    let fill = crate::graphs::Fill::new(words, 64, 3, 1);
    let launched = tell!(
        cuda,
        "in its stream",
        cuLaunchKernel(bench.function("fill"), 1, 1, 1, 64, 1, 1, 0, stream, fill.places().as_ptr(), null::<u64>())
    );
    cuda.say("launched", launched == 0);
    tell!(cuda, "", cuGreenCtxRecordEvent(green, event));
    tell!(cuda, "", cuGreenCtxWaitEvent(green, event));
    tell!(cuda, "", cuStreamSynchronize(stream));
    bench.sum("words", words, 64);
    tell!(cuda, "", cuCtxSetCurrent(context));
    let (mut module, mut function, mut device) = (0u64, 0u64, 9i32);
    tell!(cuda, "", cuCtxGetDevice(&mut device));
    tell!(cuda, "", cuModuleLoadData(&mut module, crate::KERNELS.as_ptr()));
    tell!(cuda, "", cuModuleGetFunction(&mut function, module, c"fill".as_ptr()));
    let own = bench.words(64, 1);
    let fill = crate::graphs::Fill::new(own, 64, 2, 1);
    tell!(
        cuda,
        "in its null stream",
        cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, 0u64, fill.places().as_ptr(), null::<u64>())
    );
    tell!(cuda, "", cuCtxSynchronize());
    bench.sum("words", own, 64);
    tell!(cuda, "", cuMemFree_v2(own));
    tell!(cuda, "", cuModuleUnload(module));
    tell!(cuda, "a green one", cuCtxDestroy_v2(context));
    cu!(cuda, cuCtxSetCurrent(bench.context));
    tell!(cuda, "", cuStreamDestroy_v2(stream));
    cu!(cuda, cuStreamDestroy_v2(plain));
    cu!(cuda, cuEventDestroy_v2(event));
    cu!(cuda, cuMemFree_v2(words));
}
