//! Kernels that fail. Each runs in a process of its own, because a fault ends what its process has on the device.

use std::process::Command;

use programs::driver::Driver;
use programs::{call, must};

use crate::bench::{Bench, On, line, place};

/// How the program calls itself.
pub const OPTION: &str = "--fault";

pub fn run() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("its own path: {error}"))?;
    for kind in ["stray", "trap"] {
        let child = Command::new(&program).args([OPTION, kind]).output().map_err(|error| format!("{kind}: {error}"))?;
        print!("{}", String::from_utf8_lossy(&child.stdout));
        let errors = String::from_utf8_lossy(&child.stderr);
        line("faults", &format!("{kind} ended"), format!("{:?} {errors:?}", child.status.code()));
    }
    let after = Bench::open(Driver::load()?)?.named("faults");
    let memory = after.allocate(16)?;
    after.fill(memory, 4, 1, 1, 0)?;
    after.say("another process computes", format!("{:?}", after.get::<u32>(memory, 4)?));
    after.free(memory)?;
    after.close()
}

/// Makes the fault of one kind and says what calls answer then.
pub fn child(driver: Driver, kind: &str) -> Result<(), String> {
    let bench = Bench::open(driver)?.named("faults");
    let cuda = &bench.cuda;
    let say = |what: &str, status| bench.code(&format!("{kind}, {what}"), status);
    let mut memory = bench.allocate(16)?;
    let nowhere = 0x10u64;
    let parameters = [place(&nowhere)];
    let function = bench.function(kind)?;
    must!(cuda, cuCtxSynchronize())?;
    say("launch", bench.launch(function, [1; 3], [1; 3], On::default(), &parameters[..usize::from(kind == "stray")]));
    say("synchronise", call!(cuda, cuCtxSynchronize()));
    say("synchronise again", call!(cuda, cuCtxSynchronize()));
    say("launch after", bench.launch(function, [1; 3], [1; 3], On::default(), &parameters));
    say("free", call!(cuda, cuMemFree_v2(memory)));
    say("allocate", call!(cuda, cuMemAlloc_v2(&mut memory, 16)));
    let (mut stream, mut count, mut context) = (0, 0, 0);
    say("stream", call!(cuda, cuStreamCreate(&mut stream, 0)));
    say("device count", call!(cuda, cuDeviceGetCount(&mut count)));
    say("current context", call!(cuda, cuCtxGetCurrent(&mut context)));
    say("unload", call!(cuda, cuModuleUnload(bench.module)));
    say("a new context", call!(cuda, cuCtxCreate_v2(&mut context, 0, bench.device)));
    say("release", call!(cuda, cuDevicePrimaryCtxRelease_v2(bench.device)));
    Ok(())
}
