//! Every way to allocate, on a library of fakes that gives out numbers.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::generated::{CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY3D_DESCRIPTOR, CUmemAllocationProp};
use super::*;
use crate::ledger::{Ledger, Limits};

/// Words in the names of functions that make something which may take device memory.
const MAKES: [&str; 9] = [
    "Alloc",
    "ArrayCreate",
    "Array3DCreate",
    "MipmappedArrayCreate",
    "MemCreate",
    "CtxCreate",
    "CtxRetain",
    "PoolCreate",
    "Import",
];
/// Such functions that are not counted here, and why.
#[rustfmt::skip]
const NOT_HERE: &[(&str, &str)] = &[
    ("cuGreenCtxCreate", "a part of the primary context, which is counted"),
    
    ("cuMemGetAllocationGranularity", "tells a size"),
    ("cuMemGetAllocationPropertiesFromHandle", "tells properties"),
    ("cuGraphMemAllocNodeGetParams", "tells parameters"),
    ("cuMemImportFromShareableHandle", "counted by `import`"), ("cuMemPoolImportFromShareableHandle", "a pool of another's"),
    ("cuMemPoolImportPointer", "counted by `hold`"),
];

#[test]
fn ways_to_allocate_when_in_the_spec_then_are_counted_or_have_a_reason() {
    let names = std::cell::RefCell::new(Vec::new());
    // SAFETY: nothing is found.
    unsafe {
        Library::find(|name| {
            names.borrow_mut().push(name.to_str().expect("a name").to_owned());
            None
        })
    };
    let names = names.into_inner();
    let makes: Vec<&String> = names.iter().filter(|name| MAKES.iter().any(|word| name.contains(word))).collect();
    assert!(makes.len() > 12, "{makes:?}");
    let known = |name: &str| REPLACED.contains(&name) || NOT_HERE.iter().any(|(other, _)| *other == name);
    let forgotten: Vec<_> = makes.iter().filter(|name| !known(name)).collect();
    let stale: Vec<_> = NOT_HERE.iter().filter(|(name, _)| !makes.iter().any(|made| *made == name)).collect();
    assert!(stale.is_empty(), "reasons for nothing: {stale:?}");
    assert!(forgotten.is_empty(), "count these in quota.rs, or say why not: {forgotten:?}");
}

/// Numbers of what the library makes.
static NEXT: AtomicUsize = AtomicUsize::new(1);

fn next() -> usize {
    NEXT.fetch_add(1, Ordering::Relaxed) << 32
}

/// Any function that makes something, whose number it writes first.
extern "C" fn make(made: *mut usize) -> i32 {
    // SAFETY: the caller's variable.
    unsafe { made.write(next()) };
    0
}

extern "C" fn map_or_free() -> i32 {
    0
}

/// The primary context is one.
extern "C" fn primary_context(made: *mut usize) -> i32 {
    // SAFETY: the caller's variable.
    unsafe { made.write(0x5000) };
    0
}

/// A pool that was trimmed keeps nothing.
extern "C" fn kept_by_pool(_: *mut c_void, _: u32, bytes: *mut u64) -> i32 {
    // SAFETY: the caller's variable.
    unsafe { bytes.write(0) };
    0
}

extern "C" fn pitch(made: *mut usize, pitch: *mut usize) -> i32 {
    // SAFETY: the caller's variables.
    unsafe { pitch.write(512) };
    make(made)
}

/// What the device has less than at the begin.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Makes a stream, for which the device takes memory once more in 4 times, and keeps it.
extern "C" fn stream(made: *mut usize) -> i32 {
    make(made);
    let number = NEXT.load(Ordering::Relaxed);
    TAKEN.fetch_add(if number.is_multiple_of(4) { 40 << 10 } else { 0 }, Ordering::Relaxed);
    0
}

extern "C" fn limit_now(value: *mut usize, _: u32) -> i32 {
    // SAFETY: the caller's variable.
    unsafe { value.write(1024) };
    0
}

/// Stacks: as many bytes as the limit says, a thousand times.
extern "C" fn set_limit_to(_: u32, value: usize) -> i32 {
    TAKEN.store(value * 1000, Ordering::Relaxed);
    0
}

extern "C" fn whole(free: *mut usize, total: *mut usize) -> i32 {
    // SAFETY: the caller's variables.
    unsafe {
        free.write((1 << 40) - TAKEN.load(Ordering::Relaxed));
        total.write(1 << 40);
    }
    0
}

extern "C" fn device_size(bytes: *mut usize) -> i32 {
    // SAFETY: the caller's variable.
    unsafe { bytes.write(1 << 40) };
    0
}

fn find(name: &CStr) -> Option<NonNull<c_void>> {
    NonNull::new(match name.to_bytes() {
        b"cuMemGetInfo_v2" => whole as *mut c_void,
        b"cuDeviceTotalMem_v2" => device_size as *mut c_void,
        b"cuMemAllocPitch_v2" => pitch as *mut c_void,
        b"cuStreamCreate" => stream as *mut c_void,
        b"cuCtxGetLimit" => limit_now as *mut c_void,
        b"cuCtxSetLimit" => set_limit_to as *mut c_void,
        b"cuDevicePrimaryCtxRetain" | b"cuDeviceGetDefaultMemPool" => primary_context as *mut c_void,
        b"cuMemPoolGetAttribute" => kept_by_pool as *mut c_void,
        b"cuMemAlloc_v2"
        | b"cuMemAllocAsync"
        | b"cuMemAllocFromPoolAsync"
        | b"cuMemCreate"
        | b"cuArrayCreate_v2"
        | b"cuArray3DCreate_v2"
        | b"cuMipmappedArrayCreate"
        | b"cuMemPoolCreate"
        | b"cuCtxCreate_v2" => make as *mut c_void,
        _ => map_or_free as *mut c_void,
    })
}

const LIMIT: u64 = 1 << 20;
const CONTEXT: u64 = 64 << 10;
const PIECE: usize = 100_000;

/// Calls a function of the library.
macro_rules! ask {
    ($library:expr, $name:ident($($argument:expr),*)) => {
        // SAFETY: places are live variables, and the library is one of fakes.
        unsafe { $library.$name.expect(stringify!($name))($($argument),*) }
    };
}

/// Takes pieces until there is no room, checks what is told meanwhile, and gives all back.
fn fill(
    library: &Library,
    account: &Account,
    piece: u64,
    mut take: impl FnMut() -> Result<u64, i32>,
    give: impl Fn(u64),
) {
    let before = account.used();
    let mut all = Vec::new();
    let full = loop {
        match take() {
            Ok(number) => all.push(number),
            Err(status) => break status,
        }
        let (mut free, mut total) = (0, 0);
        assert_eq!(ask!(library, cuMemGetInfo_v2(&raw mut free, &raw mut total)), 0);
        assert_eq!((free as u64, total as u64), (account.left(), LIMIT));
        assert_eq!(account.used(), before + piece * all.len() as u64);
    };
    assert_eq!(full, CUDA_ERROR_OUT_OF_MEMORY);
    assert_eq!(all.len() as u64, (LIMIT - before) / piece, "no piece more would fit, and none less");
    all.into_iter().for_each(give);
    assert_eq!(account.used(), before, "all is given back");
}

/// The number that a call has made.
fn made(status: i32, number: u64) -> Result<u64, i32> {
    if status == 0 { Ok(number) } else { Err(status) }
}

// One test: a process counts for one session.
#[test]
fn memory_when_taken_in_any_way_then_ends_at_the_limit_exactly_and_is_given_back() {
    let ledger = Arc::new(Ledger::new(Limits { guest: Some(LIMIT), ..Limits::default() }).expect("a ledger"));
    let row = ledger.take(7).expect("a row");
    let account = Arc::new(Account::new(row.file().expect("a file"), row.number()).expect("an account"));
    // SAFETY: the fakes take what those functions take, or fewer arguments.
    let library = count(unsafe { Library::find(find) }, Arc::clone(&account), CONTEXT, true, None);
    let none = std::ptr::null_mut::<c_void>;
    let mut size = 0usize;
    assert_eq!(ask!(library, cuDeviceTotalMem_v2(&raw mut size, 0)), 0);
    assert_eq!(size as u64, LIMIT);

    let (mut context, mut second) = (none(), none());
    assert_eq!(ask!(library, cuDevicePrimaryCtxRetain(&raw mut context, 0)), 0);
    assert_eq!(ask!(library, cuDevicePrimaryCtxRetain(&raw mut second, 0)), 0);
    assert_eq!(account.used(), CONTEXT, "one context, however often it is held");
    assert_eq!(ask!(library, cuCtxSetCurrent(context)), 0);

    let rounded = (PIECE as u64).next_multiple_of(GRAIN);
    let (mut address, mut object) = (0u64, none());
    let free = |address| assert_eq!(ask!(library, cuMemFree_v2(address)), 0);
    fill(&library, &account, rounded, || made(ask!(library, cuMemAlloc_v2(&raw mut address, PIECE)), address), free);
    let mut row_bytes = 0;
    let pitched =
        || made(ask!(library, cuMemAllocPitch_v2(&raw mut address, &raw mut row_bytes, 500, 100, 4)), address);
    fill(&library, &account, 51_200, pitched, free);
    let end = |handle: u64| {
        assert_eq!(ask!(library, cuMemRelease(std::ptr::without_provenance_mut(handle as usize))), 0);
    };
    let properties = CUmemAllocationProp::default();
    let physical = || {
        let status = ask!(library, cuMemCreate(&raw mut object, 1 << 16, &raw const properties, 0));
        made(status, object.addr() as u64)
    };
    fill(&library, &account, 1 << 16, physical, end);
    let plain = CUDA_ARRAY_DESCRIPTOR { Width: 100, Height: 100, Format: 0x20, NumChannels: 2 };
    let end =
        |array: u64| assert_eq!(ask!(library, cuArrayDestroy(std::ptr::without_provenance_mut(array as usize))), 0);
    let array = || made(ask!(library, cuArrayCreate_v2(&raw mut object, &raw const plain)), object.addr() as u64);
    fill(&library, &account, 80_384, array, end);
    let solid =
        CUDA_ARRAY3D_DESCRIPTOR { Width: 64, Height: 64, Depth: 2, Format: 0x02, NumChannels: 4, ..Default::default() };
    let array = || made(ask!(library, cuArray3DCreate_v2(&raw mut object, &raw const solid)), object.addr() as u64);
    fill(&library, &account, 65_536, array, end);
    let end = |array: u64| {
        assert_eq!(ask!(library, cuMipmappedArrayDestroy(std::ptr::without_provenance_mut(array as usize))), 0);
    };
    let levels =
        || made(ask!(library, cuMipmappedArrayCreate(&raw mut object, &raw const solid, 2)), object.addr() as u64);
    fill(&library, &account, 65_536 + 8_192, levels, end);

    // A piece that is mapped lives without its handle.
    let before = account.used();
    assert_eq!(ask!(library, cuMemCreate(&raw mut object, 1 << 16, &raw const properties, 0)), 0);
    assert_eq!(ask!(library, cuMemMap(0x10_0000, 1 << 16, 0, object, 0)), 0);
    assert_eq!(ask!(library, cuMemRelease(object)), 0);
    assert_eq!(account.used(), before + (1 << 16));
    assert_eq!(ask!(library, cuMemUnmap(0x10_0000, 1 << 16)), 0);
    assert_eq!(account.used(), before);

    // What is in a context goes with it; the last that holds the primary one ends it.
    assert_eq!(ask!(library, cuMemAlloc_v2(&raw mut address, PIECE)), 0);
    assert_eq!(ask!(library, cuDevicePrimaryCtxRelease_v2(0)), 0);
    assert_eq!(account.used(), CONTEXT + rounded);
    assert_eq!(ask!(library, cuDevicePrimaryCtxRelease_v2(0)), 0);
    assert_eq!(account.used(), 0);
    let contexts = || made(ask!(library, cuCtxCreate_v2(&raw mut object, 0, 0)), object.addr() as u64);
    let end = |one: u64| assert_eq!(ask!(library, cuCtxDestroy_v2(std::ptr::without_provenance_mut(one as usize))), 0);
    fill(&library, &account, CONTEXT, contexts, end);
    assert_eq!(ask!(library, cuMemAllocAsync(&raw mut address, PIECE, none())), 0);
    assert_eq!(account.used(), rounded);
    assert_eq!(ask!(library, cuMemFreeAsync(address, none())), 0);
    assert_eq!(account.used(), rounded, "the pool keeps it");
    assert_eq!(ask!(library, cuMemAllocAsync(&raw mut address, PIECE, none())), 0);
    assert_eq!(account.used(), rounded, "and gives it out again");
    assert_eq!(ask!(library, cuMemFreeAsync(address, none())), 0);

    // What nobody tells the size of: streams are refused once they have passed the limit, and stacks are set back.
    let before = account.used();
    TAKEN.store(1_024_000, Ordering::Relaxed);
    assert_eq!(ask!(library, cuCtxSetLimit(0, 1100)), 0);
    assert_eq!(account.used(), before + 76_000);
    assert_eq!(ask!(library, cuCtxSetLimit(0, 4096)), CUDA_ERROR_OUT_OF_MEMORY);
    assert_eq!(TAKEN.load(Ordering::Relaxed), 1_024_000, "set back");
    assert_eq!(account.used(), 0, "the pool has given back what it kept");
    let before = 0;
    let streams = (0..1000).take_while(|_| ask!(library, cuStreamCreate(&raw mut object, 0)) == 0).count();
    let taken = (TAKEN.load(Ordering::Relaxed) - 1_024_000) as u64;
    assert!((8..1000).contains(&streams) && taken <= LIMIT + (40 << 10), "{streams} streams of {taken} bytes");
    assert_eq!(account.used(), before + taken);
}
