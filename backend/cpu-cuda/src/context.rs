//! Contexts: what a program's objects and memory belong to, and the stack that each thread keeps of them.
//!
//! A fault of a kernel is the end of every context of the process, as on a GPU: work that follows is skipped, and calls are
//! answered with the same status until the process ends. The order between the streams of a context is kept here too,
//! because the legacy default stream waits for, and is waited for by, all the others that are not non-blocking.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::arena::Owner;
use crate::driver;
use crate::event::Event;
use crate::handle::{Handle, Object, object};
use crate::module::Module;
use crate::status::{Answer, Status};
use crate::stream::Stream;
use crate::work::{Operation, Work, lock};

/// Number of CUlimit values.
pub const LIMITS: usize = 10;

/// A destructor of context-local storage: (context, key, value).
pub type StorageDrop = unsafe extern "C" fn(u64, u64, u64);

/// A context.
pub struct Context {
    /// Its own handle.
    pub handle: Handle<Context>,
    /// cuCtxGetId.
    pub id: u64,
    /// Its device.
    pub device: u8,
    /// CU_CTX_* flags.
    pub flags: AtomicU32,
    /// Values of CUlimit.
    pub limits: Mutex<[u64; LIMITS]>,
    /// CUfunc_cache, kept and given back.
    pub cache: AtomicU32,
    /// CUsharedconfig, kept and given back.
    pub banks: AtomicU32,
    /// cuCtxGetApiVersion.
    pub api: u32,
    /// Whether it is the device's primary context.
    pub primary: bool,
    /// Told to running kernels when they have to end.
    pub cancel: AtomicBool,
    /// Bytes that its kernels have from `malloc`.
    pub heap_used: AtomicU64,
    alive: AtomicBool,
    /// Contexts whose memory its kernels reach, with their devices, by number.
    peers: Mutex<HashMap<u64, u8>>,
    order: Mutex<Order>,
    legacy: Mutex<Option<Arc<Stream>>>,
    storage: Mutex<HashMap<u64, (u64, Option<StorageDrop>)>>,
}

object!(Context, 1, INVALID_CONTEXT; stale CONTEXT_IS_DESTROYED);

/// The last work of each stream.
#[derive(Default)]
struct Order {
    legacy: Option<Arc<Work>>,
    tails: HashMap<u64, Tail>,
}

struct Tail {
    last: Arc<Work>,
    blocking: bool,
}

/// The first fault of the process, 0 while there is none.
static FAULT: AtomicU32 = AtomicU32::new(0);

/// The fault that the process has met, if any.
pub fn fault() -> Answer {
    match FAULT.load(Ordering::Acquire) {
        0 => Ok(()),
        number => Err(Status(number)),
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number for a context or stream that no other has.
pub fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

impl Context {
    /// A new context of a device; `api` as cuCtxGetApiVersion shall say. After a fault there are no new ones.
    pub fn create(device: u8, flags: u32, api: u32, primary: bool) -> Answer<Arc<Context>> {
        fault()?;
        let (_, context) = Context::table().insert(|handle| Context {
            handle,
            id: next_id(),
            device,
            flags: AtomicU32::new(flags),
            limits: Mutex::new(default_limits()),
            cache: AtomicU32::new(0),
            banks: AtomicU32::new(1),
            api,
            primary,
            cancel: AtomicBool::new(false),
            heap_used: AtomicU64::new(0),
            alive: AtomicBool::new(true),
            peers: Mutex::default(),
            order: Mutex::new(Order::default()),
            legacy: Mutex::new(None),
            storage: Mutex::new(HashMap::new()),
        })?;
        Ok(context)
    }

    /// Refuses if the context has been destroyed or the process has met a fault.
    pub fn check(&self) -> Answer {
        if self.is_alive() { fault() } else { Err(Status::CONTEXT_IS_DESTROYED) }
    }

    /// Whose what is allocated in it is.
    pub fn owner(&self) -> Owner {
        Owner { context: self.handle.0, device: self.device }
    }

    /// cuCtxEnablePeerAccess. Kernels of the device reach all memory of the peer's device then, where there are several
    /// contexts also that of the others.
    pub fn reach_peer(&self, peer: &Context) -> Answer {
        if peer.device == self.device {
            return Err(Status::PEER_ACCESS_UNSUPPORTED);
        }
        let arena = driver::arena()?;
        if lock(&self.peers).insert(peer.id, peer.device).is_some() {
            return Err(Status::PEER_ACCESS_ALREADY_ENABLED);
        }
        arena.count_peer(self.device, peer.device, true);
        Ok(())
    }

    /// cuCtxDisablePeerAccess.
    pub fn leave_peer(&self, peer: &Context) -> Answer {
        let device = lock(&self.peers).remove(&peer.id).ok_or(Status::PEER_ACCESS_NOT_ENABLED)?;
        driver::arena()?.count_peer(self.device, device, false);
        Ok(())
    }

    /// Whether it can be used at all, faults aside.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// The legacy default stream.
    pub fn legacy_stream(self: &Arc<Self>) -> Arc<Stream> {
        lock(&self.legacy).get_or_insert_with(|| Arc::new(Stream::legacy(self.clone()))).clone()
    }

    /// Puts an operation (a marker if none) at the end of a stream, also behind `after`. It is returned prepared, not
    /// let go: what it does may need the locks the caller holds.
    pub fn append(&self, stream: &Stream, operation: Option<Operation>, after: &[Arc<Work>]) -> Arc<Work> {
        let mut order = lock(&self.order);
        let Order { legacy, tails } = &mut *order;
        let mut before: Vec<&Arc<Work>> = after.iter().collect();
        if stream.is_legacy() {
            tails.retain(|_, tail| !tail.last.is_done());
            before.extend(tails.values().filter(|tail| tail.blocking).map(|tail| &tail.last));
            before.extend(legacy.as_ref());
        } else {
            before.extend(tails.get(&stream.id).map(|tail| &tail.last));
            if stream.is_blocking() {
                before.extend(legacy.as_ref());
            }
        }
        let work = Work::prepare(operation, before);
        if stream.is_legacy() {
            *legacy = Some(work.clone());
        } else {
            tails.insert(stream.id, Tail { last: work.clone(), blocking: stream.is_blocking() });
        }
        work
    }

    /// What has to finish for a stream to be idle.
    pub fn unfinished(&self, stream: &Stream) -> Vec<Arc<Work>> {
        let order = lock(&self.order);
        let mut all: Vec<Arc<Work>> = Vec::new();
        if stream.is_legacy() {
            all.extend(order.tails.values().filter(|tail| tail.blocking).map(|tail| tail.last.clone()));
            all.extend(order.legacy.clone());
        } else {
            all.extend(order.tails.get(&stream.id).map(|tail| tail.last.clone()));
        }
        all.retain(|work| !work.is_done());
        all
    }

    /// Forgets a stream that is destroyed; its work goes on.
    pub fn forget_stream(&self, stream: &Stream) {
        let mut order = lock(&self.order);
        if let Some(tail) = order.tails.remove(&stream.id)
            && !tail.last.is_done()
        {
            // Kept under a number of no stream, so that the context and the legacy stream still wait for it.
            order.tails.insert(next_id(), tail);
        }
        order.tails.retain(|_, tail| !tail.last.is_done());
    }

    /// The last work of every stream that has not finished.
    pub fn all_unfinished(&self) -> Vec<Arc<Work>> {
        let order = lock(&self.order);
        let tails = order.tails.values().map(|tail| &tail.last).chain(order.legacy.as_ref());
        tails.filter(|work| !work.is_done()).cloned().collect()
    }

    /// Waits for all work of the context, then tells of a fault.
    pub fn synchronize(&self) -> Answer {
        for work in self.all_unfinished() {
            work.wait();
        }
        self.check()
    }

    /// Context-local storage of the runtime: keeps a value and its destructor under a key.
    pub fn store(&self, key: u64, value: u64, drop: Option<StorageDrop>) {
        lock(&self.storage).insert(key, (value, drop));
    }

    /// Forgets a key, without its destructor.
    pub fn forget(&self, key: u64) -> Answer {
        lock(&self.storage).remove(&key).map(drop).ok_or(Status::INVALID_HANDLE)
    }

    /// The value under a key.
    pub fn stored(&self, key: u64) -> Answer<u64> {
        lock(&self.storage).get(&key).map(|entry| entry.0).ok_or(Status::INVALID_HANDLE)
    }

    /// Ends everything in the context: waits for its work, runs storage destructors, takes its objects and memory.
    fn empty(&self) {
        for work in self.all_unfinished() {
            work.wait();
        }
        let stored: Vec<_> = lock(&self.storage).drain().collect();
        for (key, (value, drop)) in stored {
            if let Some(drop) = drop {
                // SAFETY: the runtime gave this function for this key and value.
                unsafe { drop(self.handle.0, key, value) };
            }
        }
        take_all::<Stream>(|stream| stream.context.id == self.id);
        take_all::<Event>(|event| event.context.id == self.id);
        for (_, module) in Module::table().all() {
            if module.context.id == self.id {
                module.unload();
            }
        }
        *lock(&self.legacy) = None;
        *lock(&self.order) = Order::default();
        if let Ok(arena) = driver::arena() {
            for device in std::mem::take(&mut *lock(&self.peers)).into_values() {
                arena.count_peer(self.device, device, false);
            }
            arena.free_all_of(self.handle.0);
            self.heap_used.store(0, Ordering::Relaxed);
        }
        crate::host_memory::forget_all_of(self.handle.0);
    }

    /// cuCtxDestroy; the handle is stale afterwards.
    pub fn destroy(&self) {
        self.empty();
        self.alive.store(false, Ordering::Release);
        // Taken already if two threads destroy it at once.
        let _ = self.handle.take();
    }
}

fn take_all<T: Object>(which: impl Fn(&T) -> bool) {
    for (handle, object) in T::table().all() {
        if which(&object) {
            let _ = handle.take();
        }
    }
}

fn default_limits() -> [u64; LIMITS] {
    // Stack, printf buffer, malloc heap, sync depth, pending launches, L2 fetch, persisting L2, shared size, two for graphics.
    [1024, 1 << 20, 8 << 20, 2, 2048, 64, 0, 0, 0, 0]
}

/// Runs an operation of a context unless a fault came first; keeps the fault that it may be. The first one stays.
pub fn guarded(context: Arc<Context>, operation: impl FnOnce() -> Answer + Send + 'static) -> Operation {
    Box::new(move || {
        if fault().is_err() {
            return;
        }
        if let Err(status) = operation() {
            log::error!("context {}: {status:?} from now on", context.id);
            let _ = FAULT.compare_exchange(0, status.0, Ordering::AcqRel, Ordering::Acquire);
        }
    })
}

/// A device's primary context. Its handle stays the same through releases and resets.
pub struct Primary {
    context: Arc<Context>,
    references: u32,
    flags: u32,
}

static PRIMARY: OnceLock<Vec<Mutex<Primary>>> = OnceLock::new();

/// The record of a device's primary context.
fn primary(device: u8) -> Answer<&'static Mutex<Primary>> {
    let all = match PRIMARY.get() {
        Some(all) => all,
        None => {
            let all: Answer<Vec<_>> = (0..crate::device::count()).map(idle_primary).collect();
            let all = all?;
            PRIMARY.get_or_init(|| all)
        }
    };
    all.get(usize::from(device)).ok_or(Status::INVALID_DEVICE)
}

fn idle_primary(device: u8) -> Answer<Mutex<Primary>> {
    let context = Context::create(device, 0, 3020, true)?;
    context.alive.store(false, Ordering::Release);
    Ok(Mutex::new(Primary { context, references: 0, flags: 0 }))
}

/// The primary context's handle, whether active or not.
pub fn primary_handle(device: u8) -> Answer<Handle<Context>> {
    Ok(lock(primary(device)?).context.handle)
}

/// cuDevicePrimaryCtxRetain.
pub fn primary_retain(device: u8) -> Answer<Handle<Context>> {
    let mut primary = lock(primary(device)?);
    fault()?;
    primary.references = primary.references.checked_add(1).ok_or(Status::INVALID_VALUE)?;
    primary.context.flags.store(primary.flags, Ordering::Relaxed);
    primary.context.alive.store(true, Ordering::Release);
    Ok(primary.context.handle)
}

/// cuDevicePrimaryCtxRelease.
pub fn primary_release(device: u8) -> Answer {
    let mut primary = lock(primary(device)?);
    primary.references = primary.references.checked_sub(1).ok_or(Status::INVALID_CONTEXT)?;
    if primary.references == 0 {
        primary.context.empty();
        primary.context.alive.store(false, Ordering::Release);
    }
    Ok(())
}

/// cuDevicePrimaryCtxReset: empties the context, which is gone until it is retained again; who holds references keeps them.
pub fn primary_reset(device: u8) -> Answer {
    let primary = lock(primary(device)?);
    primary.context.empty();
    primary.context.alive.store(false, Ordering::Release);
    *lock(&primary.context.limits) = default_limits();
    Ok(())
}

/// Flags, and whether somebody holds the context.
pub fn primary_state(device: u8) -> Answer<(u32, bool)> {
    let primary = lock(primary(device)?);
    Ok((primary.flags, primary.context.is_alive()))
}

/// cuDevicePrimaryCtxSetFlags.
pub fn primary_set_flags(device: u8, flags: u32) -> Answer {
    let mut primary = lock(primary(device)?);
    primary.flags = flags;
    primary.context.flags.store(flags, Ordering::Relaxed);
    Ok(())
}

/// Waits for the work of every other context.
pub fn synchronize_others(context: &Context) {
    for (_, other) in Context::table().all() {
        if other.id != context.id {
            other.all_unfinished().iter().for_each(|work| work.wait());
        }
    }
}

thread_local! {
    static STACK: RefCell<Vec<Arc<Context>>> = const { RefCell::new(Vec::new()) };
}

/// cuCtxPushCurrent.
pub fn push(context: Arc<Context>) {
    STACK.with_borrow_mut(|stack| stack.push(context));
}

/// cuCtxPopCurrent.
pub fn pop() -> Answer<Arc<Context>> {
    STACK.with_borrow_mut(Vec::pop).ok_or(Status::INVALID_CONTEXT)
}

/// cuCtxSetCurrent: replaces the top of the stack; none takes it away.
pub fn set(context: Option<Arc<Context>>) {
    STACK.with_borrow_mut(|stack| {
        stack.pop();
        stack.extend(context);
    });
}

/// The calling thread's context, if any, in whatever state.
pub fn top() -> Option<Arc<Context>> {
    STACK.with_borrow(|stack| stack.last().cloned())
}

/// The calling thread's context, which must exist; it may have met a fault.
pub fn current() -> Answer<Arc<Context>> {
    let context = top().ok_or(Status::INVALID_CONTEXT)?;
    if context.is_alive() { Ok(context) } else { Err(Status::CONTEXT_IS_DESTROYED) }
}

/// The calling thread's context, in which nothing has gone wrong.
pub fn usable() -> Answer<Arc<Context>> {
    let context = top().ok_or(Status::INVALID_CONTEXT)?;
    context.check()?;
    Ok(context)
}
