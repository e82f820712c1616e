//! Messages that no guest library sends, against a library of fakes that remember how they were called.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use wire::Malformed;
use wire::frame::{FrameHeader, NO_SLOT};
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Writer};
use wire::slot::MAX_REPLY_BYTES;

use super::generated::{self, Library, kind};
use super::ranges::{Range, Sort};
use super::{Api, Cuda, Owners};
use crate::worker::{Patience, Reply, Session, played};

/// Where the fake library allocates.
const ALLOCATED: u64 = 0x1000_0000;
const ALLOCATED_BYTES: usize = 65536;

/// What lies there.
static MEMORY: Mutex<[u8; ALLOCATED_BYTES]> = Mutex::new([0; ALLOCATED_BYTES]);

/// Addresses that the library was given, in order.
static TOUCHED: Mutex<Vec<u64>> = Mutex::new(Vec::new());
static LAUNCHES: AtomicU64 = AtomicU64::new(0);
static GUESSED: AtomicU64 = AtomicU64::new(0);
static TURN: Mutex<()> = Mutex::new(());

fn touch(address: u64) -> i32 {
    TOUCHED.lock().expect("touched").push(address);
    0
}

extern "C" fn set_current(_: *mut c_void) -> i32 {
    0
}

extern "C" fn allocate(address: *mut u64, _: usize) -> i32 {
    // SAFETY: the forwarder gives a live variable.
    unsafe { *address = ALLOCATED };
    0
}

extern "C" fn free(address: u64) -> i32 {
    touch(address)
}

extern "C" fn to_device(address: u64, from: *const c_void, bytes: usize) -> i32 {
    // SAFETY: the forwarder says that so many bytes are there.
    let from = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
    let start = (address - ALLOCATED) as usize;
    MEMORY.lock().expect("memory")[start..start + bytes].copy_from_slice(from);
    touch(address)
}

extern "C" fn from_device(to: *mut c_void, address: u64, bytes: usize) -> i32 {
    // SAFETY: the forwarder says that there is so much room.
    let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), bytes) };
    let start = (address - ALLOCATED) as usize;
    to.copy_from_slice(&MEMORY.lock().expect("memory")[start..start + bytes]);
    touch(address)
}

extern "C" fn copy(to: u64, from: u64, _: usize) -> i32 {
    touch(to);
    touch(from)
}

/// Copies whose sides the driver is to guess: with device memory on one of them that may end meanwhile.
extern "C" fn guess(_: u64, _: u64, _: usize) -> i32 {
    GUESSED.fetch_add(1, Ordering::Relaxed);
    0
}

extern "C" fn guess_async(to: u64, from: u64, bytes: usize, _: *mut c_void) -> i32 {
    guess(to, from, bytes)
}

extern "C" fn copy_async(to: u64, from: u64, bytes: usize, _: *mut c_void) -> i32 {
    copy(to, from, bytes)
}

/// `CUDA_MEMCPY3D`: the words that hold the memory types are the fifth and the sixteenth.
extern "C" fn copy_3d(of: *const c_void) -> i32 {
    // SAFETY: the forwarder gives 200 bytes.
    let types = [4, 15].map(|at| unsafe { of.cast::<u64>().add(at).read() } as u32);
    GUESSED.fetch_add(types.iter().filter(|of| **of == 4).count() as u64, Ordering::Relaxed);
    0
}

extern "C" fn set_words(address: u64, _: u32, _: usize) -> i32 {
    touch(address)
}

extern "C" fn get_function(made: *mut *mut c_void, _: *mut c_void, _: *const std::ffi::c_char) -> i32 {
    // SAFETY: the forwarder gives a live variable.
    unsafe { *made = std::ptr::without_provenance_mut(0x5000) };
    0
}

extern "C" fn load(made: *mut *mut c_void, _: *const c_void, _: u32, _: *mut u32, _: *mut *mut c_void) -> i32 {
    // SAFETY: the forwarder gives a live variable.
    unsafe { *made = std::ptr::without_provenance_mut(0x4000) };
    0
}

/// One parameter of 8 bytes.
extern "C" fn parameter(_: *mut c_void, index: usize, offset: *mut usize, bytes: *mut usize) -> i32 {
    // SAFETY: the forwarder gives live variables.
    unsafe { (*offset, *bytes) = (0, 8) };
    i32::from(index > 0)
}

#[allow(clippy::too_many_arguments)]
extern "C" fn launch(
    _: *mut c_void,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: *mut c_void,
    _: *mut *mut c_void,
    _: *mut *mut c_void,
) -> i32 {
    LAUNCHES.fetch_add(1, Ordering::Relaxed);
    0
}

fn session() -> Arc<Session> {
    static SESSION: LazyLock<Arc<Session>> = LazyLock::new(played::session);
    Arc::clone(&SESSION)
}

fn cuda() -> Cuda {
    // SAFETY: nothing is found.
    let mut library = unsafe { Library::find(|_| None) };
    library.cuCtxSetCurrent = Some(set_current);
    library.cuMemAlloc_v2 = Some(allocate);
    library.cuMemFree_v2 = Some(free);
    library.cuMemcpyHtoD_v2 = Some(to_device);
    library.cuMemcpyDtoH_v2 = Some(from_device);
    library.cuMemcpyDtoD_v2 = Some(copy);
    library.cuMemcpy = Some(guess);
    library.cuMemcpyAsync = Some(guess_async);
    library.cuMemcpyDtoDAsync_v2 = Some(copy_async);
    library.cuMemcpy3D_v2 = Some(copy_3d);
    library.cuMemsetD32_v2 = Some(set_words);
    library.cuModuleLoadDataEx = Some(load);
    library.cuModuleGetFunction = Some(get_function);
    library.cuFuncGetParamInfo = Some(parameter);
    library.cuLaunchKernel = Some(launch);
    Cuda::new(library, session())
}

/// Sends a message. Returns the status.
fn send(
    cuda: &Cuda,
    call: u16,
    slot: u16,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<i32, Malformed> {
    let mut payload = [0; 1024];
    let mut writer = Writer::new(&mut payload);
    fill(&mut writer).expect("room");
    let bytes = writer.len();
    let mut memory = [0; MAX_REPLY_BYTES];
    let mut reply = Reply::new(&mut memory);
    let from = FrameHeader { call, slot, ..FrameHeader::default() };
    cuda.call(&from, &payload[..bytes], &mut reply)?;
    Ok(reply.finish().0)
}

const ALLOC: u16 = 101;
const FREE: u16 = 103;
const SET_WORDS: u16 = 112;
const COPY_TO: u16 = 130;
const COPY_FROM: u16 = 132;
const COPY: u16 = 133;
const COPY_ANY: u16 = 138;
const COPY_ANY_ASYNC: u16 = 139;
const COPY_3D: u16 = 142;
const UNLOAD: u16 = 51;
const MANAGED_READ: u16 = 67;
const LOAD: u16 = 40;
const GET_FUNCTION: u16 = 42;
const LAUNCH: u16 = 90;
const REGISTER: u16 = 150;

/// The watchdog takes it for granted.
#[test]
fn calls_when_they_compile_then_may_sleep() {
    let cuda = cuda();
    let compiles: Vec<u16> = (0..=u16::MAX).filter(|call| cuda.patience(*call) == Patience::Compile).collect();
    assert!(!compiles.is_empty() && compiles.into_iter().all(|call| cuda.blocks(call)));
}

#[test]
fn copies_when_an_address_is_not_the_guests_then_never_reach_the_library() {
    let _turn = TURN.lock().expect("turn");
    let cuda = cuda();
    assert_eq!(send(&cuda, ALLOC, 0, |w| w.u64(ALLOCATED_BYTES as u64)), Ok(0));
    TOUCHED.lock().expect("touched").clear();
    let secret = [0u8; 64];
    let end = ALLOCATED + ALLOCATED_BYTES as u64;
    for address in [secret.as_ptr() as u64, 0, ALLOCATED - 1, end - 1, end, u64::MAX] {
        let to = |w: &mut Writer<'_>| w.u64(address).and_then(|()| w.buffer(Buffer::Inline(&[1; 8])));
        assert_eq!(send(&cuda, COPY_TO, 0, to), Ok(1), "{address:#x}");
        let from = |w: &mut Writer<'_>| w.buffer(Buffer::Reply { bytes: 8 }).and_then(|()| w.u64(address));
        assert_eq!(send(&cuda, COPY_FROM, 0, from), Ok(1), "{address:#x}");
        for (call, slot) in [(COPY, NO_SLOT), (COPY_ANY, 0)] {
            for (to, from) in [(address, ALLOCATED), (ALLOCATED, address)] {
                let both = |w: &mut Writer<'_>| w.u64(to).and_then(|()| w.u64(from)).and_then(|()| w.u64(8));
                assert_eq!(send(&cuda, call, slot, both), Ok(1), "{address:#x}");
            }
        }
        let set = |w: &mut Writer<'_>| w.u64(address).and_then(|()| w.u32(0)).and_then(|()| w.u64(2));
        assert_eq!(send(&cuda, SET_WORDS, NO_SLOT, set), Ok(1), "{address:#x}");
        if address != 0 {
            assert_eq!(send(&cuda, FREE, 0, |w| w.u64(address)), Ok(1), "{address:#x}");
        }
    }
    let huge = |w: &mut Writer<'_>| w.u64(ALLOCATED).and_then(|()| w.u32(0)).and_then(|()| w.u64(u64::MAX / 2));
    assert_eq!(send(&cuda, SET_WORDS, NO_SLOT, huge), Ok(1), "a length that overflows");
    assert!(TOUCHED.lock().expect("touched").is_empty());

    let inside = |w: &mut Writer<'_>| w.u64(end - 8).and_then(|()| w.buffer(Buffer::Inline(&[1; 8])));
    assert_eq!(send(&cuda, COPY_TO, 0, inside), Ok(0));
    assert_eq!(send(&cuda, FREE, 0, |w| w.u64(ALLOCATED)), Ok(0));
    assert_eq!(send(&cuda, FREE, 0, |w| w.u64(ALLOCATED)), Ok(1), "freed twice");
    assert_eq!(*TOUCHED.lock().expect("touched"), [end - 8, ALLOCATED]);
}

extern "C" fn complete(_: *mut c_void, _: *mut *mut c_void, _: *mut usize) -> i32 {
    touch(0)
}

#[test]
fn linker_when_another_thread_has_ended_it_since_its_number_was_looked_up_then_is_not_used() {
    let _turn = TURN.lock().expect("turn");
    let mut cuda = cuda();
    cuda.library.cuLinkComplete = Some(complete);
    TOUCHED.lock().expect("touched").clear();
    let state = std::ptr::without_provenance_mut(0x7000);
    let (mut bytes, mut time, mut info, mut errors) = (0, 0.0, vec![], vec![]);
    let from = FrameHeader::default();
    let completed = cuda.gpuferryLinkComplete(&from, state, &mut bytes, &mut time, &mut info, &mut errors);
    assert!(completed.is_err() && TOUCHED.lock().expect("touched").is_empty());
}

/// What a read of the library's variable gets while the driver unloads the library.
static UNLOADING: Mutex<(usize, Option<i32>)> = Mutex::new((0, None));

extern "C" fn unload(_: *mut c_void) -> i32 {
    let mut unloading = UNLOADING.lock().expect("unloading");
    // SAFETY: the test's own, which lives until its call returns.
    let cuda = unsafe { &*std::ptr::with_exposed_provenance::<Cuda>(unloading.0) };
    unloading.1 = send(cuda, MANAGED_READ, 0, managed_read).ok();
    0
}

static MANAGED: AtomicU64 = AtomicU64::new(7);

fn managed_read(w: &mut Writer<'_>) -> Result<(), Full> {
    w.u64((&raw const MANAGED).expose_provenance() as u64).and_then(|()| w.buffer(Buffer::Reply { bytes: 8 }))
}

#[test]
fn variable_when_its_library_is_being_unloaded_then_is_not_read_any_more() {
    let _turn = TURN.lock().expect("turn");
    let mut cuda = cuda();
    cuda.library.cuLibraryUnload = Some(unload);
    let library = Handle::new(kind::CUlibrary.number, 1, 0);
    let object = std::ptr::without_provenance_mut(0x6000);
    cuda.objects.insert(kind::CUlibrary, library, Owners::default(), Ok(object)).expect("vacant");
    let address = (&raw const MANAGED).expose_provenance() as u64;
    cuda.range_made(address, Range { bytes: 8, sort: Sort::Managed, owner: library });
    assert_eq!(send(&cuda, MANAGED_READ, 0, managed_read), Ok(0));
    UNLOADING.lock().expect("unloading").0 = (&raw const cuda).expose_provenance();
    assert_eq!(send(&cuda, UNLOAD, 0, |w| w.u64(library.0)), Ok(0));
    assert_eq!(UNLOADING.lock().expect("unloading").1, Some(1));
}

#[test]
fn copies_when_the_guest_says_not_what_addresses_are_then_the_driver_is_not_left_to_guess() {
    let _turn = TURN.lock().expect("turn");
    let cuda = cuda();
    assert_eq!(send(&cuda, ALLOC, 0, |w| w.u64(ALLOCATED_BYTES as u64)), Ok(0));
    TOUCHED.lock().expect("touched").clear();
    let (to, from) = (ALLOCATED, ALLOCATED + 4096);
    let plain = |w: &mut Writer<'_>| w.u64(to).and_then(|()| w.u64(from)).and_then(|()| w.u64(8));
    assert_eq!(send(&cuda, COPY_ANY, 0, plain), Ok(0));
    let in_stream = |w: &mut Writer<'_>| plain(w).and_then(|()| w.u64(1));
    assert_eq!(send(&cuda, COPY_ANY_ASYNC, NO_SLOT, in_stream), Ok(0));
    assert_eq!(*TOUCHED.lock().expect("touched"), [to, from, to, from]);
    let unified = generated::Copy3D {
        srcAddress: from,
        dstAddress: to,
        WidthInBytes: 8,
        Height: 1,
        Depth: 1,
        srcMemoryType: 4,
        dstMemoryType: 4,
        ..Default::default()
    };
    let cube = |w: &mut Writer<'_>| {
        unified.write(w).and_then(|()| w.u64(0)).and_then(|()| w.u64(0)).and_then(|()| w.u64(0)).and_then(|()| w.u32(0))
    };
    assert_eq!(send(&cuda, COPY_3D, NO_SLOT, cube), Ok(0));
    assert_eq!(GUESSED.load(Ordering::Relaxed), 0);
}

/// Lends pages of a file in the order of `pages`, without the first 100 bytes. Returns the file.
fn lend(lease: u32, pages: &[u64], bytes: u64) -> std::fs::File {
    played::lend(&session(), lease, 0x7000_0000 + 100, bytes, pages)
}

#[test]
fn copies_when_the_guests_pages_are_scattered_then_bytes_keep_their_order() {
    use std::os::unix::fs::FileExt;
    let _turn = TURN.lock().expect("turn");
    let cuda = cuda();
    assert_eq!(send(&cuda, ALLOC, 0, |w| w.u64(ALLOCATED_BYTES as u64)), Ok(0));
    let pages = [9, 3, 4, 7, 1, 0, 12];
    let bytes = 7 * 4096 - 100 - 33;
    let file = lend(1, &pages, bytes);
    for (place, page) in (0u8..).zip(pages) {
        file.write_all_at(&[place + 1; 4096], page * 4096).expect("write");
    }
    let whole = Buffer::Lease { lease: 1, offset: 0, bytes };
    assert_eq!(send(&cuda, COPY_TO, 0, |w| w.u64(ALLOCATED).and_then(|()| w.buffer(whole))), Ok(0));
    let expected: Vec<u8> = (100..100 + bytes).map(|at| (at / 4096) as u8 + 1).collect();
    assert_eq!(MEMORY.lock().expect("memory")[..bytes as usize], expected[..]);

    MEMORY.lock().expect("memory").fill(77);
    let middle = Buffer::Lease { lease: 1, offset: 4096, bytes: 8192 };
    assert_eq!(send(&cuda, COPY_FROM, 0, |w| w.buffer(middle).and_then(|()| w.u64(ALLOCATED))), Ok(0));
    let mut page = [0; 4096];
    for (place, page_number) in (0u64..).zip(pages) {
        file.read_exact_at(&mut page, page_number * 4096).expect("read");
        let right = (0..4096).all(|at| {
            let offset = place * 4096 + at;
            let inside = (4096 + 100..4096 + 100 + 8192).contains(&offset);
            page[at as usize] == if inside { 77 } else { place as u8 + 1 }
        });
        assert!(right, "page {place} of the lease");
    }
    let outside = Buffer::Lease { lease: 1, offset: 1, bytes };
    assert!(send(&cuda, COPY_TO, 0, |w| w.u64(ALLOCATED).and_then(|()| w.buffer(outside))).is_err());
    let none = Buffer::Lease { lease: 2, offset: 0, bytes: 1 };
    assert!(send(&cuda, COPY_TO, 0, |w| w.u64(ALLOCATED).and_then(|()| w.buffer(none))).is_err());
}

#[test]
fn private_copies_when_they_are_too_many_bytes_then_are_refused_and_given_back() {
    let _turn = TURN.lock().expect("turn");
    let cuda = cuda();
    let pages: Vec<u64> = (0..16).collect();
    drop(lend(3, &pages, 16 * 4096 - 100));
    cuda.bytes.left.store(16 * 4096, Ordering::Relaxed);
    let load = |index, bytes| {
        send(&cuda, LOAD, 0, |w| {
            w.u64(Handle::new(kind::CUmodule.number, 1, index).0)?;
            w.buffer(Buffer::Lease { lease: 3, offset: 0, bytes })?;
            w.run(&[])
        })
    };
    // Zeros, which are a text of no bytes.
    assert_eq!(load(0, 16 * 4096 - 100), Ok(0));
    assert_eq!(load(1, 16 * 4096 - 100), Ok(0), "given back");
    cuda.bytes.left.store(4096, Ordering::Relaxed);
    assert_eq!(load(2, 4096), Ok(2), "out of memory");
    assert_eq!(cuda.bytes.left.load(Ordering::Relaxed), 4096);
}

#[test]
fn launch_when_the_parameters_are_short_then_never_reaches_the_library() {
    let _turn = TURN.lock().expect("turn");
    let cuda = cuda();
    let module = Handle::new(kind::CUmodule.number, 1, 0);
    let function = Handle::new(kind::CUfunction.number, 1, 0);
    let image = |w: &mut Writer<'_>| {
        w.u64(module.0)?;
        w.buffer(Buffer::Inline(b".version 8.0\n"))?;
        w.run(&[])
    };
    assert_eq!(send(&cuda, LOAD, 0, image), Ok(0));
    let get = |w: &mut Writer<'_>| w.u64(function.0).and_then(|()| w.u64(module.0)).and_then(|()| w.run(b"f"));
    assert_eq!(send(&cuda, GET_FUNCTION, 0, get), Ok(0));
    let launch = |f: Handle, parameters: usize| {
        send(&cuda, LAUNCH, NO_SLOT, |w| {
            w.u64(f.0)?;
            w.u64(0)?;
            (0..8).try_for_each(|_| w.u32(1))?;
            w.run(&[])?;
            w.u32(parameters as u32)?;
            w.space(16, parameters).map(|_| ())
        })
    };
    LAUNCHES.store(0, Ordering::Relaxed);
    assert_eq!(launch(function, 7), Ok(1));
    assert_eq!(launch(function, 0), Ok(1));
    assert_eq!(launch(module, 8), Ok(400), "no function");
    assert_eq!(launch(Handle(0x5000), 8), Ok(400), "the driver's own pointer");
    assert_eq!(LAUNCHES.load(Ordering::Relaxed), 0);
    // Cooperative by its flag, which needs another function of the library: said by name, not guessed.
    assert_eq!(launch(function, 8), Ok(801));
}

/// Counts lines of the log that tell of page-locking or of a lost context.
struct Lines;

static LINES: AtomicU64 = AtomicU64::new(0);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        if line.contains("page-locking at") || line.contains("the context is lost") {
            LINES.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

extern "C" fn lost(_: u64, _: u32, _: usize) -> i32 {
    700
}

#[test]
fn log_when_the_guest_causes_lines_without_end_then_stays_short() {
    let _turn = TURN.lock().expect("turn");
    log::set_logger(&Lines).expect("the only logger");
    log::set_max_level(log::LevelFilter::Warn);
    let mut cuda = cuda();
    cuda.library.cuMemsetD32_v2 = Some(lost);
    assert_eq!(send(&cuda, ALLOC, 0, |w| w.u64(ALLOCATED_BYTES as u64)), Ok(0));
    for _ in 0..1000 {
        let no_lease = |w: &mut Writer<'_>| {
            w.u64(0x7000_0000_0000)?;
            w.u64(4096)?;
            w.u32(60_000)?;
            w.u32(0)
        };
        assert_eq!(send(&cuda, REGISTER, 0, no_lease), Ok(1));
        let set = |w: &mut Writer<'_>| w.u64(ALLOCATED).and_then(|()| w.u32(0)).and_then(|()| w.u64(1));
        assert_eq!(send(&cuda, SET_WORDS, NO_SLOT, set), Ok(700));
    }
    log::set_max_level(log::LevelFilter::Off);
    assert_eq!(LINES.load(Ordering::Relaxed), 101);
}

#[test]
fn messages_when_of_random_bytes_then_end_the_session_or_are_answered() {
    let _turn = TURN.lock().expect("turn");
    let cuda = cuda();
    let calls: Vec<u16> = (0..=1024).filter(|call| generated::name(*call).is_some()).collect();
    assert!(calls.len() > 150);
    // A generator that is the same in every run (Knuth's constants).
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    for round in 0..400u64 {
        for call in &calls {
            // Sleeps until a function is due.
            if generated::name(*call) == Some("gpuferryNextHostFunction") {
                continue;
            }
            let payload: Vec<u8> =
                (0..random() % 200).map(|_| if random() % 3 == 0 { random() as u8 } else { 0 }).collect();
            let slot = if round % 2 == 0 { 0 } else { NO_SLOT };
            let from = FrameHeader { call: *call, slot, capture_mode: random() as u8 % 4, ..FrameHeader::default() };
            let mut memory = [0; MAX_REPLY_BYTES];
            // Either way: what matters is that it returns.
            let _ = cuda.call(&from, &payload, &mut Reply::new(&mut memory));
        }
    }
}
