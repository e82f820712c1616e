//! A driver that takes memory as NVIDIA's does, and tells this process's figure: what is counted, and what never passes a limit.

use std::collections::HashMap;
use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::super::generated::{CUDA_ARRAY_DESCRIPTOR, CUDA_ERROR_OUT_OF_MEMORY, Library};
use super::super::local::Local;
use super::super::{CONTEXT_BYTES, Counted, HERE, replace};
use super::*;
use crate::ledger::{Ledger, Limits, Taken};
use crate::worker::nvml::Figure;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 1 << 30;
/// Threads of the device at once.
const THREADS: u64 = 132 * 2048;

/// The device of one test at a time.
#[derive(Default)]
struct Device {
    /// What is held, by number.
    large: HashMap<u64, u64>,
    /// Small allocations, which share pieces.
    small: HashMap<u64, u64>,
    large_bytes: u64,
    small_bytes: u64,
    of_pool: HashMap<u64, u64>,
    pool: u64,
    next: u64,
    stack: u64,
    local: u64,
    most: u64,
}

static DEVICE: Mutex<Option<Device>> = Mutex::new(None);
static TURN: Mutex<()> = Mutex::new(());
static TELLS: AtomicBool = AtomicBool::new(true);
static ASKED: AtomicU32 = AtomicU32::new(0);
/// What the next module has.
static GLOBALS: AtomicU64 = AtomicU64::new(0);

impl Device {
    fn held(&self) -> u64 {
        let stacks = THREADS * self.local.max(self.stack).saturating_sub(1024);
        self.large_bytes + self.pool + pieces(self.small_bytes) + pieces(stacks)
    }

    fn add(&mut self, bytes: u64) -> u64 {
        self.next += 1 << 32;
        self.put(self.next, bytes);
        self.most = self.most.max(self.held());
        self.next
    }

    fn put(&mut self, number: u64, bytes: u64) {
        if bytes < PIECE / 2 {
            self.small.insert(number, bytes);
            self.small_bytes += bytes;
        } else if self.large.insert(number, pieces(bytes)).is_none() {
            self.large_bytes += pieces(bytes);
        }
    }

    fn end(&mut self, number: u64) {
        self.large_bytes -= self.large.remove(&number).unwrap_or(0);
        self.small_bytes -= self.small.remove(&number).unwrap_or(0);
    }
}

fn on<T>(does: impl FnOnce(&mut Device) -> T) -> T {
    does(DEVICE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

fn make(place: *mut u64, bytes: u64) -> i32 {
    // SAFETY: the caller's variable.
    unsafe { place.write(on(|device| device.add(bytes))) };
    0
}

extern "C" fn alloc(place: *mut u64, bytes: usize) -> i32 {
    make(place, bytes as u64)
}
extern "C" fn end(number: u64) -> i32 {
    on(|device| device.end(number));
    0
}
extern "C" fn primary(place: *mut u64) -> i32 {
    on(|device| device.put(1, CONTEXT_BYTES));
    // SAFETY: the caller's variable.
    unsafe { place.write(1) };
    0
}
extern "C" fn end_primary() -> i32 {
    end(1)
}
extern "C" fn context(place: *mut u64) -> i32 {
    make(place, CONTEXT_BYTES)
}
extern "C" fn module(place: *mut u64) -> i32 {
    make(place, GLOBALS.load(Ordering::Relaxed))
}
extern "C" fn stream(place: *mut u64) -> i32 {
    make(place, 5 * MIB)
}
/// Of which the driver keeps twice the bytes.
extern "C" fn array(place: *mut u64) -> i32 {
    make(place, 200 * MIB)
}
/// From the only pool, in its pieces of 32 MiB.
extern "C" fn alloc_in_order(place: *mut u64, bytes: usize) -> i32 {
    on(|device| {
        device.next += 1 << 32;
        let number = device.next;
        device.of_pool.insert(number, bytes as u64);
        device.pool = device.pool.max(device.of_pool.values().sum::<u64>().next_multiple_of(POOL_PIECE));
        device.most = device.most.max(device.held());
        // SAFETY: the caller's variable.
        unsafe { place.write(number) };
    });
    0
}
extern "C" fn free_in_order(number: u64) -> i32 {
    on(|device| device.of_pool.remove(&number));
    0
}
extern "C" fn pool_tells(_: *mut c_void, which: u32, value: *mut u64) -> i32 {
    let told = on(|device| if which == 5 { device.pool } else { device.of_pool.values().sum() });
    // SAFETY: the caller's variable.
    unsafe { value.write(told) };
    0
}
extern "C" fn own_pool(place: *mut u64, device: i32) -> i32 {
    if device != 0 {
        return 101;
    }
    // SAFETY: the caller's variable.
    unsafe { place.write(2) };
    0
}
extern "C" fn trim_pool() -> i32 {
    on(|device| device.pool = device.of_pool.values().sum::<u64>().next_multiple_of(POOL_PIECE));
    0
}
extern "C" fn set_limit(_: u32, value: usize) -> i32 {
    on(|device| (device.stack, device.local) = (value as u64, 0));
    on(|device| device.most = device.most.max(device.held()));
    0
}
extern "C" fn limit_now(value: *mut usize, _: u32) -> i32 {
    // SAFETY: the caller's variable.
    unsafe { value.write(on(|device| device.stack.max(1024) as usize)) };
    0
}
extern "C" fn attribute(value: *mut i32, which: u32) -> i32 {
    // SAFETY: the caller's variable.
    unsafe { value.write(if which == 16 { 132 } else { 2048 }) };
    0
}
extern "C" fn whole(free: *mut usize, total: *mut usize) -> i32 {
    // SAFETY: the caller's variables.
    unsafe { (free.write(1 << 40), total.write(1 << 40)) };
    0
}
extern "C" fn nothing() -> i32 {
    0
}

fn find(name: &CStr) -> Option<NonNull<c_void>> {
    NonNull::new(match name.to_bytes() {
        b"cuMemAlloc_v2" => alloc as *mut c_void,
        b"cuMemFree_v2" | b"cuModuleUnload" | b"cuCtxDestroy_v2" | b"cuArrayDestroy" => end as *mut c_void,
        b"cuDevicePrimaryCtxRetain" => primary as *mut c_void,
        b"cuDevicePrimaryCtxRelease_v2" => end_primary as *mut c_void,
        b"cuCtxCreate_v2" => context as *mut c_void,
        b"cuModuleLoadDataEx" => module as *mut c_void,
        b"cuStreamCreate" => stream as *mut c_void,
        b"cuArrayCreate_v2" => array as *mut c_void,
        b"cuCtxSetLimit" => set_limit as *mut c_void,
        b"cuCtxGetLimit" => limit_now as *mut c_void,
        b"cuDeviceGetAttribute" => attribute as *mut c_void,
        b"cuMemAllocAsync" => alloc_in_order as *mut c_void,
        b"cuMemFreeAsync" => free_in_order as *mut c_void,
        b"cuDeviceGetDefaultMemPool" => own_pool as *mut c_void,
        b"cuMemPoolGetAttribute" => pool_tells as *mut c_void,
        b"cuMemPoolTrimTo" => trim_pool as *mut c_void,
        b"cuMemGetInfo_v2" => whole as *mut c_void,
        _ => nothing as *mut c_void,
    })
}

unsafe extern "C" fn figure(_: *mut c_void, count: *mut u32, list: *mut c_void) -> i32 {
    ASKED.fetch_add(1, Ordering::Relaxed);
    if !TELLS.load(Ordering::Relaxed) {
        return 3;
    }
    let held = on(|device| device.held());
    // SAFETY: the caller's list has room for one entry of three words: the process's number, its bytes, and two numbers.
    unsafe { list.cast::<[u64; 3]>().write([u64::from(std::process::id()), held, 0]) };
    // SAFETY: the caller's variable.
    unsafe { count.write(1) };
    0
}

/// A session on that driver, with a context; nobody else's test runs meanwhile.
struct Played {
    library: Library,
    account: Arc<Account>,
    ledger: Arc<Ledger>,
    _row: Taken,
    _turn: MutexGuard<'static, ()>,
}

impl Played {
    fn new() -> Played {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        *DEVICE.lock().unwrap_or_else(PoisonError::into_inner) = None;
        TELLS.store(true, Ordering::Relaxed);
        let ledger = Arc::new(Ledger::new(Limits { guest: Some(LIMIT), ..Limits::default() }).expect("a ledger"));
        let row = ledger.take(7).expect("a row");
        let account = Arc::new(Account::new(row.file().expect("a file"), row.number()).expect("an account"));
        // SAFETY: the fakes take what those functions take, or fewer arguments.
        let mut library = unsafe { Library::find(find) };
        let figure = Figure::new(figure, vec![1]);
        let counted = Counted::new(library, Arc::clone(&account), CONTEXT_BYTES, false, Some(figure));
        HERE.set(Some(Box::leak(Box::new(counted))));
        replace(&mut library);
        let played = Played { library, account, ledger, _row: row, _turn: turn };
        let mut context = std::ptr::null_mut();
        // SAFETY: the place is a live variable, and the library is one of fakes.
        assert_eq!(unsafe { played.library.cuDevicePrimaryCtxRetain.expect("there")(&raw mut context, 0) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { played.library.cuCtxSetCurrent.expect("there")(context) }, 0);
        played
    }

    /// What is left, as the guest is told.
    fn left(&self) -> u64 {
        let (mut free, mut total) = (0, 0);
        // SAFETY: the places are live variables, and the library is one of fakes.
        unsafe { self.library.cuMemGetInfo_v2.expect("there")(&raw mut free, &raw mut total) };
        assert_eq!(total as u64, LIMIT);
        assert_eq!(free as u64, LIMIT - on(|device| device.held()), "what is told is the driver's figure");
        free as u64
    }

    /// Makes things by one of the library's functions until it refuses; their numbers.
    fn fill(&self, mut one: impl FnMut(&Library, *mut u64) -> i32) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            let mut number = 0;
            match one(&self.library, &raw mut number) {
                0 => all.push(number),
                status => {
                    assert_eq!(status, CUDA_ERROR_OUT_OF_MEMORY);
                    return all;
                }
            }
        }
    }

    fn allocate(&self, bytes: u64) -> Vec<u64> {
        // SAFETY: the place is a live variable, and the library is one of fakes.
        self.fill(|library, place| unsafe { library.cuMemAlloc_v2.expect("there")(place, bytes as usize) })
    }

    fn free(&self, all: impl IntoIterator<Item = u64>) {
        // SAFETY: the numbers are of fakes.
        all.into_iter().for_each(|one| unsafe {
            self.library.cuMemFree_v2.expect("there")(one);
        });
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        HERE.set(None);
    }
}

/// The most that the device ever held.
fn most() -> u64 {
    on(|device| device.most)
}

#[test]
fn allocations_when_made_until_refused_then_no_piece_more_would_fit_and_small_ones_share_pieces() {
    let played = Played::new();
    let room = LIMIT - CONTEXT_BYTES;
    assert_eq!(played.left(), room);
    for bytes in [64 * MIB, 2 * MIB, 33 * MIB + 1, MIB] {
        let all = played.allocate(bytes);
        assert_eq!(all.len() as u64, room / pieces(bytes), "{bytes}");
        played.free(all);
        assert_eq!(played.left(), room);
    }
    let small = played.allocate(4096);
    assert!(small.len() as u64 >= (room - PIECE) / 4096, "{}", small.len());
    assert!(most() <= LIMIT);
    // One in each piece stays: it holds all of its piece.
    played.free(small.into_iter().enumerate().filter(|(at, _)| at % 512 != 0).map(|(_, one)| one));
    assert_eq!(played.account.own(), LIMIT - played.left());
}

#[test]
fn driver_when_the_limit_is_far_then_is_seldom_asked() {
    let played = Played::new();
    let before = ASKED.load(Ordering::Relaxed);
    for _ in 0..1000 {
        let mut place = 0;
        // SAFETY: the place is a live variable, and the library is one of fakes.
        assert_eq!(unsafe { played.library.cuMemAlloc_v2.expect("there")(&raw mut place, 4096) }, 0);
        played.free([place]);
    }
    let asked = ASKED.load(Ordering::Relaxed) - before;
    assert!((30..=70).contains(&asked), "{asked} times for 1,000 pairs");
}

#[test]
fn modules_and_arrays_when_they_pass_the_limit_then_are_undone_and_streams_are_refused_after() {
    let played = Played::new();
    GLOBALS.store(100 * MIB, Ordering::Relaxed);
    let none = std::ptr::null_mut;
    let modules = played.fill(|library, place| {
        // SAFETY: the place is a live variable, and the library is one of fakes.
        unsafe { library.cuModuleLoadDataEx.expect("there")(place.cast(), none(), 0, none().cast(), none().cast()) }
    });
    assert_eq!(modules.len(), 5);
    assert_eq!(played.left(), LIMIT - CONTEXT_BYTES - 500 * MIB);
    let shape = CUDA_ARRAY_DESCRIPTOR { Width: 1, Height: 1, Format: 1, NumChannels: 1 };
    // SAFETY: the place is a live variable, and the library is one of fakes.
    let arrays =
        played.fill(|library, place| unsafe { library.cuArrayCreate_v2.expect("there")(place.cast(), &shape) });
    assert_eq!(arrays.len(), 0, "larger than it told");
    assert_eq!(played.left(), LIMIT - CONTEXT_BYTES - 500 * MIB);
    // SAFETY: the place is a live variable, and the library is one of fakes.
    let streams = played.fill(|library, place| unsafe { library.cuStreamCreate.expect("there")(place.cast(), 0) });
    assert_eq!(streams.len(), 1, "there was room for one");
    assert!(on(|device| device.held()) <= LIMIT);
    assert!(played.allocate(512).is_empty());
    // SAFETY: the numbers are of fakes.
    modules.into_iter().for_each(|one| unsafe {
        played.library.cuModuleUnload.expect("there")(std::ptr::with_exposed_provenance_mut(one as usize));
    });
    assert!(!played.allocate(100 * MIB).is_empty());
}

#[test]
fn pool_when_it_keeps_what_was_freed_then_gives_it_out_again_or_back_and_never_passes_the_limit() {
    let played = Played::new();
    let room = LIMIT - CONTEXT_BYTES;
    let null = std::ptr::null_mut;
    for _ in 0..3 {
        // SAFETY: the place is a live variable, and the library is one of fakes.
        let all = played.fill(|library, place| unsafe {
            library.cuMemAllocAsync.expect("there")(place, 20 * MIB as usize, null())
        });
        assert!((room - POOL_PIECE) / (20 * MIB) <= all.len() as u64, "{}", all.len());
        // SAFETY: the numbers are of fakes.
        all.into_iter().for_each(|one| unsafe {
            played.library.cuMemFreeAsync.expect("there")(one, null());
        });
        assert!(played.left() < 64 * MIB, "the pool keeps it");
    }
    assert_eq!(played.allocate(64 * MIB).len() as u64, room / (64 * MIB), "and gives it back");
    assert!(most() <= LIMIT);
}

#[test]
fn stacks_and_kernels_when_they_need_more_than_is_left_then_are_refused_before_they_take_it() {
    let played = Played::new();
    // SAFETY: the library is one of fakes.
    let stack = |bytes: usize| unsafe { played.library.cuCtxSetLimit.expect("there")(0, bytes) };
    assert_eq!((stack(65_536), stack(2048)), (CUDA_ERROR_OUT_OF_MEMORY, 0));
    assert_eq!(played.left(), LIMIT - CONTEXT_BYTES - pieces(THREADS * 1024));
    assert_eq!(stack(1024), 0);
    let launch = |local: &Local, bytes: u64| {
        local.launch_first(|| {
            on(|device| device.local = device.local.max(bytes));
            on(|device| device.most = device.most.max(device.held()));
            Ok(())
        })
    };
    let known = |bytes: i32| {
        Local::known(|value| {
            // SAFETY: the caller's variable.
            unsafe { value.write(bytes) };
            Some(0)
        })
    };
    let (small, large) = (known(2560), known(40_000));
    assert!(!small.is_counted_here() && launch(&small, 2560).is_ok() && small.is_counted_here());
    assert_eq!(played.left(), LIMIT - CONTEXT_BYTES - pieces(THREADS * 1536));
    assert!(launch(&large, 40_000).is_err() && !large.is_counted_here());
    assert!(most() <= LIMIT, "never held");
    assert_eq!(stack(1024), 0);
    assert!(!small.is_counted_here(), "its memory is gone with the stacks");
    assert_eq!(played.left(), LIMIT - CONTEXT_BYTES);
}

#[test]
fn context_when_there_is_no_room_then_is_refused_before_it_is_made() {
    let played = Played::new();
    // SAFETY: the place is a live variable, and the library is one of fakes.
    let contexts = played.fill(|library, place| unsafe { library.cuCtxCreate_v2.expect("there")(place.cast(), 0, 0) });
    assert!(contexts.is_empty());
    assert_eq!(most().max(CONTEXT_BYTES), CONTEXT_BYTES);
}

#[test]
fn memory_of_another_process_when_held_then_counts_until_it_is_let_go() {
    let played = Played::new();
    let before = played.left();
    assert!(super::super::hold(0x7000, 100 * MIB) && !super::super::hold(0x8000, LIMIT));
    assert_eq!(played.account.left(), before - 100 * MIB);
    assert!(played.account.own() > on(|device| device.held()), "not in this process's figure");
    super::super::let_go(0x7000);
    assert_eq!(played.left(), before);
}

#[test]
fn others_of_the_guest_when_they_hold_memory_then_only_the_rest_is_left() {
    let played = Played::new();
    let row = played.ledger.take(8).expect("a row");
    let other = Account::new(row.file().expect("a file"), row.number()).expect("an account");
    assert!(other.charge(300 * MIB));
    assert_eq!(played.allocate(50 * MIB).len() as u64, (LIMIT - CONTEXT_BYTES - 300 * MIB) / (50 * MIB));
    assert!(played.ledger.used() <= LIMIT);
}

#[test]
fn driver_when_it_stops_to_tell_then_what_calls_told_is_what_counts() {
    let played = Played::new();
    TELLS.store(false, Ordering::Relaxed);
    for _ in 0..5 {
        let all = played.allocate(64 * MIB);
        assert_eq!(all.len() as u64, (LIMIT - CONTEXT_BYTES) / (64 * MIB));
        played.free(all);
    }
    assert!(most() <= LIMIT);
}
