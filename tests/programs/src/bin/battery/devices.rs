//! Devices and their attributes.

use std::ptr::null_mut;

use programs::call;
use programs::driver::text_of;

use crate::bench::Bench;

pub fn run(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut count, mut device) = (0, -1);
    bench.code("cuDeviceGetCount", call!(cuda, cuDeviceGetCount(&mut count)));
    bench.fact("count", count);
    bench.code("cuDeviceGetCount, null", call!(cuda, cuDeviceGetCount(null_mut())));
    bench.code("cuDeviceGet 0", call!(cuda, cuDeviceGet(&mut device, 0)));
    bench.say("device 0 is", device);
    bench.code("cuDeviceGet -1", call!(cuda, cuDeviceGet(&mut device, -1)));
    bench.code("cuDeviceGet past the last", call!(cuda, cuDeviceGet(&mut device, count)));
    bench.code("cuDeviceGet, null", call!(cuda, cuDeviceGet(null_mut(), 0)));
    bench.fact("name", cuda.device_name(bench.device)?);
    names(bench);
    let (mut major, mut minor, mut bytes) = (0, 0, 0);
    bench.code(
        "cuDeviceComputeCapability",
        call!(cuda, cuDeviceComputeCapability(&mut major, &mut minor, bench.device)),
    );
    bench.fact("compute capability", format!("{major}.{minor}"));
    bench.code("cuDeviceTotalMem", call!(cuda, cuDeviceTotalMem_v2(&mut bytes, bench.device)));
    bench.fact("total memory", bytes);
    bench.code("cuDeviceTotalMem, null", call!(cuda, cuDeviceTotalMem_v2(null_mut(), bench.device)));
    bench.code("cuDeviceTotalMem of no device", call!(cuda, cuDeviceTotalMem_v2(&mut bytes, 1000)));
    let mut uuid = [0; 16];
    bench.code("cuDeviceGetUuid", call!(cuda, cuDeviceGetUuid_v2(&mut uuid, bench.device)));
    bench.fact("uuid", uuid.map(|byte| format!("{byte:02x}")).concat());
    let mut address = [0u8; 32];
    bench.code("cuDeviceGetPCIBusId", call!(cuda, cuDeviceGetPCIBusId(address.as_mut_ptr().cast(), 32, bench.device)));
    bench.fact("PCI address", text_of(address.as_ptr().cast()));
    attributes(bench);
    Ok(())
}

fn names(bench: &Bench) {
    let cuda = &bench.cuda;
    let mut name = [0x55u8; 256];
    let at = name.as_mut_ptr().cast();
    bench.code("cuDeviceGetName of no device", call!(cuda, cuDeviceGetName(at, 256, 1000)));
    bench.code("cuDeviceGetName, null", call!(cuda, cuDeviceGetName(null_mut(), 256, bench.device)));
    bench.code("cuDeviceGetName into 4 bytes", call!(cuda, cuDeviceGetName(at, 4, bench.device)));
    bench.say("it ends at", format!("{:?}", name.iter().position(|&byte| byte == 0)));
}

/// Attributes whose values a guest has of its own (`attribute::NONE` of `guest-lib/cuda`, and the handles of pools): what a
/// device that is reached from another address space cannot promise, and what is not carried.
const OWN: [i32; 18] = [88, 89, 100, 101, 110, 114, 119, 124, 128, 132, 135, 138, 141, 142, 143, 144, 145, 146];

fn attributes(bench: &Bench) {
    let cuda = &bench.cuda;
    let mut value = 0;
    for attribute in (1..=160).filter(|attribute| !OWN.contains(attribute)) {
        let status = call!(cuda, cuDeviceGetAttribute(&mut value, attribute, bench.device));
        let what = format!("attribute {attribute}");
        if status == 0 { bench.fact(&what, value) } else { bench.fact(&what, cuda.name_of(status)) }
    }
    // What every device of today has alike, and programs count on.
    for (what, attribute) in [
        ("most threads a block", 1),
        ("most threads along x", 2),
        ("along y", 3),
        ("along z", 4),
        ("widest grid", 5),
        ("highest", 6),
        ("deepest", 7),
        ("constant memory", 9),
        ("threads a warp", 10),
        ("unified addressing", 41),
        ("maps host memory", 19),
    ] {
        let status = call!(cuda, cuDeviceGetAttribute(&mut value, attribute, bench.device));
        bench.say(what, format!("{value} {}", cuda.name_of(status)));
    }
    bench.code("attribute 0", call!(cuda, cuDeviceGetAttribute(&mut value, 0, bench.device)));
    bench.code("attribute 100000", call!(cuda, cuDeviceGetAttribute(&mut value, 100_000, bench.device)));
    bench.code("attribute of no device", call!(cuda, cuDeviceGetAttribute(&mut value, 1, -1)));
    bench.code("attribute, null", call!(cuda, cuDeviceGetAttribute(null_mut(), 1, bench.device)));
}
