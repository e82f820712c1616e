//! Takes all of the device memory that it may have, in every way that there is: `limit BYTES [--others BYTES]`.
//!
//! BYTES is what `gpuferryd` limits it to (`--memory-limit`), `--others` what other processes of the guest hold meanwhile.
//! Each way takes pieces until the answer is CUDA_ERROR_OUT_OF_MEMORY, which must come when the next piece would pass the
//! limit and not before; cuMemGetInfo must agree at each step. What is taken is given back before the next way begins.
//! `--hold BYTES` takes as much, prints `holding` and waits for its input to end. `--modules BYTES` loads modules with a
//! variable of a piece's size each instead, of which nobody tells how much they take; BYTES is the limit again.

use std::io::Read;
use std::process::ExitCode;

use programs::driver::{AllocationProperties, ArrayDescriptor, ArrayDescriptor3D, Driver, Handle};
use programs::{fail, must};

const NAME: &str = "limit";
const USAGE: &str = "usage: limit BYTES [--others BYTES] | limit --hold BYTES | limit --modules BYTES";
const OUT_OF_MEMORY: i32 = 2;
const PIECE: usize = 32 << 20;
/// CU_AD_FORMAT_UNSIGNED_INT32.
const WORDS: u32 = 3;

/// The answer of a call.
macro_rules! ask {
    ($cuda:expr, $call:ident($($argument:expr),*)) => {
        // SAFETY: places are live variables, the rest are numbers that the API checks or gave.
        unsafe { $cuda.$call($($argument),*) }
    };
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().unwrap_or_else(|_| fail(NAME, 2, USAGE));
    let result = match words[..] {
        ["--hold", bytes] => hold(number(bytes)),
        ["--modules", limit] => modules(number(limit)),
        [limit] => run(number(limit), 0),
        [limit, "--others", others] => run(number(limit), number(others)),
        _ => fail(NAME, 2, USAGE),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(NAME, 3, &message),
    }
}

fn start() -> Result<Driver, String> {
    let cuda = Driver::load()?;
    let (mut device, mut context) = (0, 0);
    must!(cuda, cuInit(0))?;
    must!(cuda, cuDeviceGet(&mut device, 0))?;
    must!(cuda, cuDevicePrimaryCtxRetain(&mut context, device))?;
    must!(cuda, cuCtxSetCurrent(context))?;
    Ok(cuda)
}

fn hold(bytes: usize) -> Result<(), String> {
    let cuda = start()?;
    let mut address = 0;
    must!(cuda, cuMemAlloc_v2(&mut address, bytes))?;
    println!("holding");
    // Whoever started it lets go.
    let _ = std::io::stdin().read(&mut [0]);
    must!(cuda, cuMemFree_v2(address))
}

/// Loads modules until there is no room, twice; what cuMemGetInfo says meanwhile must add up, and all be there again in the end.
fn modules(limit: usize) -> Result<(), String> {
    let cuda = start()?;
    let text = format!(
        ".version 7.0\n.target sm_50\n.address_size 64\n.visible .global .align 16 .b8 g[{PIECE}];\n.visible .entry k() {{ ret; }}\0"
    );
    let (begin, _) = left(&cuda)?;
    let mut counts = [0; 2];
    for count in &mut counts {
        let mut loaded = Vec::new();
        let status = loop {
            let (mut module, mut address, mut bytes) = (0, 0, 0);
            let status = ask!(cuda, cuModuleLoadData(&mut module, text.as_ptr().cast()));
            if status != 0 {
                break status;
            }
            loaded.push(module);
            must!(cuda, cuModuleGetGlobal_v2(&mut address, &mut bytes, module, c"g".as_ptr()))?;
            let (now, _) = left(&cuda)?;
            if now + loaded.len() * PIECE > begin {
                return Err(format!("{now} bytes are left beside {} modules, {begin} before", loaded.len()));
            }
        };
        if status != OUT_OF_MEMORY || loaded.len() * PIECE > limit {
            return Err(format!("answer {status} after {} modules", loaded.len()));
        }
        *count = loaded.len();
        loaded.into_iter().try_for_each(|module| must!(cuda, cuModuleUnload(module)))?;
    }
    let (end, _) = left(&cuda)?;
    println!(
        "cuModuleLoadData: {counts:?} pieces of {PIECE} bytes, then out of memory; {} bytes are not given back",
        begin - end
    );
    if counts[0] != counts[1] || counts[0] == 0 || end != begin {
        return Err("not the same again".to_owned());
    }
    Ok(())
}

/// Takes one piece, and gives back a number to free it by.
type Take = fn(&Driver, &mut u64) -> i32;
type Free = fn(&Driver, u64) -> i32;

fn array(cuda: &Driver, made: &mut u64) -> i32 {
    let mut handle: Handle = 0;
    let description = ArrayDescriptor { size: [1024, PIECE / 1024 / 16], format: WORDS, channels: 4 };
    let status = ask!(cuda, cuArrayCreate_v2(&mut handle, &description));
    *made = handle as u64;
    status
}

fn mipmapped(cuda: &Driver, made: &mut u64) -> i32 {
    let mut handle: Handle = 0;
    // One level is a piece.
    let size = [1024, PIECE / 1024 / 16, 0];
    let description = ArrayDescriptor3D { size, format: WORDS, channels: 4, flags: 0 };
    let status = ask!(cuda, cuMipmappedArrayCreate(&mut handle, &description, 1));
    *made = handle as u64;
    status
}

fn physical(cuda: &Driver, made: &mut u64) -> i32 {
    let properties = AllocationProperties { kind: 1, location: [1, 0], ..AllocationProperties::default() };
    ask!(cuda, cuMemCreate(made, PIECE, &properties, 0))
}

/// Memory that is only mapped any more: its handle is given back.
fn mapped(cuda: &Driver, made: &mut u64) -> i32 {
    let mut handle = 0;
    let status = physical(cuda, &mut handle);
    if status != 0 {
        return status;
    }
    let mut status = ask!(cuda, cuMemAddressReserve(made, PIECE, 0, 0, 0));
    if status == 0 {
        status = ask!(cuda, cuMemMap(*made, PIECE, 0, handle, 0));
    }
    let released = ask!(cuda, cuMemRelease(handle));
    if status == 0 { released } else { status }
}

fn unmapped(cuda: &Driver, address: u64) -> i32 {
    let status = ask!(cuda, cuMemUnmap(address, PIECE));
    if status == 0 { ask!(cuda, cuMemAddressFree(address, PIECE)) } else { status }
}

fn pitched(cuda: &Driver, made: &mut u64) -> i32 {
    let mut pitch = 0;
    ask!(cuda, cuMemAllocPitch_v2(made, &mut pitch, 4096, PIECE / 4096, 16))
}

fn freed_in_order(cuda: &Driver, address: u64) -> i32 {
    let status = ask!(cuda, cuMemFreeAsync(address, 0));
    if status == 0 { ask!(cuda, cuCtxSynchronize()) } else { status }
}

const WAYS: [(&str, Take, Free); 7] = [
    ("cuMemAlloc", |cuda, made| ask!(cuda, cuMemAlloc_v2(made, PIECE)), |cuda, made| ask!(cuda, cuMemFree_v2(made))),
    ("cuMemAllocPitch", pitched, |cuda, made| ask!(cuda, cuMemFree_v2(made))),
    ("cuMemAllocAsync", |cuda, made| ask!(cuda, cuMemAllocAsync(made, PIECE, 0)), freed_in_order),
    ("cuArrayCreate", array, |cuda, made| ask!(cuda, cuArrayDestroy(made as Handle))),
    ("cuMipmappedArrayCreate", mipmapped, |cuda, made| ask!(cuda, cuMipmappedArrayDestroy(made as Handle))),
    ("cuMemCreate", physical, |cuda, made| ask!(cuda, cuMemRelease(made))),
    ("cuMemMap", mapped, unmapped),
];

fn left(cuda: &Driver) -> Result<(usize, usize), String> {
    let (mut free, mut total) = (0, 0);
    must!(cuda, cuMemGetInfo_v2(&mut free, &mut total))?;
    Ok((free, total))
}

fn run(limit: usize, others: usize) -> Result<(), String> {
    let cuda = start()?;
    let mut bytes = 0;
    must!(cuda, cuDeviceTotalMem_v2(&mut bytes, 0))?;
    let (begin, total) = left(&cuda)?;
    if total != limit || bytes != limit {
        return Err(format!("cuMemGetInfo says {total} bytes in all, cuDeviceTotalMem {bytes}, not {limit}"));
    }
    // What a context takes is counted too.
    println!("limit: {} bytes before the first allocation, of them others' {others}", limit - begin);
    if begin > limit - others {
        return Err(format!("{begin} bytes are left, where others hold {others} of {limit}"));
    }
    for (name, take, free) in WAYS {
        let mut held = Vec::new();
        loop {
            let mut made = 0;
            let status = take(&cuda, &mut made);
            let (now, _) = left(&cuda)?;
            if status == OUT_OF_MEMORY {
                break;
            }
            if status != 0 {
                return Err(format!("{name}: {status}"));
            }
            held.push(made);
            let wanted = begin.checked_sub(held.len() * PIECE).ok_or(format!("{name} passed the limit"))?;
            if now != wanted {
                return Err(format!("{name}: {now} bytes are left after {} pieces, not {wanted}", held.len()));
            }
        }
        if held.len() != begin / PIECE {
            return Err(format!("{name}: {} pieces instead of {}", held.len(), begin / PIECE));
        }
        for made in &held {
            let status = free(&cuda, *made);
            if status != 0 {
                return Err(format!("{name}: given back: {status}"));
            }
        }
        println!("{name}: {} pieces of {PIECE} bytes, then out of memory", held.len());
    }
    // A pool keeps what was freed; it gives that back where it is needed.
    let mut address = 0;
    must!(cuda, cuMemAlloc_v2(&mut address, begin / PIECE * PIECE))?;
    must!(cuda, cuMemFree_v2(address))
}
