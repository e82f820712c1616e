//! Contexts and each thread's stack of them, kept here: no call about the current context leaves the process.
//!
//! A context is a handle and facts that live as long as the process, so that a thread whose current context another thread
//! destroys still has something to look at; as in CUDA, such a context stays current and calls in it answer
//! `CUDA_ERROR_CONTEXT_IS_DESTROYED`. The primary context of a device keeps one handle for the life of the process.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::generated::{Kind, kind, send};
use crate::handles::{self, Facts, Handle};
use crate::program::{In, Out};
use crate::status::{
    CUDA_ERROR_CONTEXT_IS_DESTROYED, CUDA_ERROR_DEVICE_UNAVAILABLE, CUDA_ERROR_INVALID_CONTEXT,
    CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY,
};
use crate::storage::Storage;
use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use rt::Origin;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Version that cuCtxGetApiVersion answers: that of the newest functions of contexts.
const API_VERSION: u32 = 3020;
/// Flags of a context that the API defines (`CU_CTX_FLAGS_MASK`).
const FLAGS: u32 = 0xff;
/// Its scheduling flags, of which at most one is set.
const FLAGS_SCHEDULE: u32 = 0x07;
/// `CU_CTX_SCHED_BLOCKING_SYNC`, of these.
const FLAG_SLEEP: u32 = 0x04;
/// Kinds of limits (`CUlimit`) whose values are kept once they were asked for.
const LIMITS: usize = 16;
/// A limit that was not asked for yet.
const UNKNOWN: u64 = u64::MAX;

/// What the guest knows of a context.
pub struct Context {
    /// Its handle.
    pub handle: Handle,
    /// Its device.
    pub device: i32,
    /// Whether it is its device's primary context.
    primary: bool,
    /// Number that cuCtxGetId answers.
    pub id: u64,
    /// Flags it was made with, or that were set since.
    pub(crate) flags: AtomicU32,
    /// Its objects exist: from its making or retaining until its destruction, release or reset.
    pub(crate) active: AtomicBool,
    /// The green context that it is, if it is one.
    green: OnceLock<Handle>,
    /// Uses that cuCtxAttach and cuCtxDetach count.
    uses: AtomicU32,
    limits: [AtomicU64; LIMITS],
    /// Of its null and its legacy stream, what is kept of their being idle ([`crate::progress`]).
    pub(crate) idle: [AtomicU64; 2],
    /// Contexts whose memory its kernels reach.
    peers: Mutex<Vec<Handle>>,
    /// Lowest and highest priority of its streams, once they were asked for.
    priorities: OnceLock<(i32, i32)>,
    /// Values that libraries keep with the context (export table c693336e).
    pub storage: Storage,
}

// SAFETY: facts of contexts, and nothing else has this kind.
unsafe impl Facts for Context {
    const KIND: Kind = kind::CUcontext;
}

thread_local! {
    static CURRENT: Cell<Option<&'static Context>> = const { Cell::new(None) };
    /// The contexts below the current one, oldest first.
    static BELOW: RefCell<Vec<&'static Context>> = const { RefCell::new(Vec::new()) };
}

impl Context {
    /// It is a green context.
    pub fn be_green(&self, green: Handle) {
        // Said once, right after it was made.
        let _ = self.green.set(green);
    }

    fn peers(&self) -> MutexGuard<'_, Vec<Handle>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a device's memory is its own or a peer's.
    pub fn reaches(&self, device: i32) -> bool {
        let is_of = |peer: &Handle| handles::facts::<Context>(*peer).is_some_and(|context| context.device == device);
        self.device == device || self.peers().iter().any(is_of)
    }

    /// The green context that it is; null for none.
    #[must_use]
    pub fn green(&self) -> Handle {
        self.green.get().copied().unwrap_or(Handle::NULL)
    }
}

/// Makes a context's handle and facts; the host makes the context.
///
/// # Errors
/// `CUDA_ERROR_OUT_OF_MEMORY`.
pub(crate) fn make(device: i32, flags: u32, primary: bool) -> Result<&'static Context, CUresult> {
    static IDS: AtomicU64 = AtomicU64::new(1);
    let handle = handles::make(kind::CUcontext, Handle::NULL)?;
    let context = Context {
        handle,
        device,
        primary,
        id: IDS.fetch_add(1, Ordering::Relaxed),
        flags: AtomicU32::new(flags),
        active: AtomicBool::new(!primary),
        green: OnceLock::new(),
        uses: AtomicU32::new(1),
        limits: [const { AtomicU64::new(UNKNOWN) }; LIMITS],
        idle: [const { AtomicU64::new(u64::MAX) }; 2],
        peers: Mutex::default(),
        priorities: OnceLock::new(),
        storage: Storage::new(),
    };
    let context = handles::set_facts(handle, context).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
    ALL.lock().unwrap_or_else(PoisonError::into_inner).push(context);
    Ok(context)
}

/// Every context that was ever made.
static ALL: Mutex<Vec<&'static Context>> = Mutex::new(Vec::new());

/// Waits for all work of every context that is alive, the caller's first: where the caller's alone is not known to be the
/// only one that uses some memory. Whether that went well.
pub(crate) fn synchronize_all(caller: &Caller) -> bool {
    let here = (caller.origin.context, caller.origin.context_generation);
    let there = |context: &&'static Context| (context.handle.index() + 1, context.handle.generation());
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let others = all.iter().filter(|context| context.active.load(Ordering::Relaxed) && there(context) != here);
    let mut in_each = std::iter::once(here).chain(others.map(there));
    in_each.all(|(context, context_generation)| {
        let origin = Origin { context, context_generation, ..caller.origin };
        send::cuCtxSynchronize(&Caller { origin, ..*caller }) == 0
    })
}

/// The current context's handle; null for none.
#[inline]
#[must_use]
pub fn current() -> Handle {
    CURRENT.get().map_or(Handle::NULL, |context| context.handle)
}

/// The current context's device; the first one where there is none.
#[must_use]
pub fn current_device() -> i32 {
    CURRENT.get().map_or(0, |context| context.device)
}

/// The current context.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT` for none.
#[inline]
pub fn current_context() -> Result<&'static Context, CUresult> {
    CURRENT.get().ok_or(CUDA_ERROR_INVALID_CONTEXT)
}

/// Whether there is a current context and it is alive.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT` for none, `CUDA_ERROR_CONTEXT_IS_DESTROYED`.
#[inline]
pub fn check_current() -> Result<(), CUresult> {
    let context = current_context()?;
    if context.active.load(Ordering::Relaxed) { Ok(()) } else { Err(CUDA_ERROR_CONTEXT_IS_DESTROYED) }
}

/// For calls that have nothing to do, and need no context, but say of one that has ended that it has.
///
/// # Errors
/// `CUDA_ERROR_CONTEXT_IS_DESTROYED`.
pub fn check_not_destroyed() -> Result<(), CUresult> {
    match check_current() {
        Err(CUDA_ERROR_CONTEXT_IS_DESTROYED) => Err(CUDA_ERROR_CONTEXT_IS_DESTROYED),
        _ => Ok(()),
    }
}

/// What functions of before 3.2, with addresses of 32 bits, answer: they are for contexts that one of them made, and there is none.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT`, and as [`check_current`].
pub fn refuse_narrow() -> Result<(), CUresult> {
    caller::enter_context()?;
    Err(CUDA_ERROR_INVALID_CONTEXT)
}

/// The context that the program names; the current one for null.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT`.
pub fn resolve(raw: u64) -> Result<&'static Context, CUresult> {
    if raw == 0 {
        return current_context();
    }
    handles::facts(handles::of_kind(kind::CUcontext, raw)?).ok_or(CUDA_ERROR_INVALID_CONTEXT)
}

/// The context that the program names, where null is a mistake.
fn named(raw: u64) -> Result<&'static Context, CUresult> {
    if raw == 0 { Err(CUDA_ERROR_INVALID_VALUE) } else { resolve(raw) }
}

#[inline]
fn set_current(context: Option<&'static Context>) {
    CURRENT.set(context);
    let mut origin = caller::origin();
    (origin.context, origin.context_generation) =
        context.map_or((0, 0), |context| (context.handle.index() + 1, context.handle.generation()));
    caller::set_origin(origin);
}

fn push(context: &'static Context) {
    if let Some(under) = CURRENT.get() {
        // A thread that is ending has no stack any more: what was current is forgotten.
        let _ = BELOW.try_with(|below| below.borrow_mut().push(under));
    }
    set_current(Some(context));
}

fn pop() -> Option<&'static Context> {
    let top = CURRENT.get()?;
    set_current(BELOW.try_with(|below| below.borrow_mut().pop()).ok().flatten());
    Some(top)
}

/// Whether a context can have these flags.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`.
pub(crate) fn check_flags(flags: u32) -> Result<(), CUresult> {
    if flags & !FLAGS != 0 || (flags & FLAGS_SCHEDULE).count_ones() > 1 {
        Err(CUDA_ERROR_INVALID_VALUE)
    } else {
        Ok(())
    }
}

/// Does what a context's flags ask of waiting threads: without any, the driver spins in a synchronisation as long as it takes.
pub(crate) fn heed_flags(caller: &Caller, flags: u32) {
    if flags & FLAG_SLEEP != 0 {
        caller.session.sleep_early();
    }
}

fn create(pctx: Out<u64>, flags: u32, device: i32) -> Result<(), CUresult> {
    let caller = caller::enter()?;
    pctx.check()?;
    check_flags(flags)?;
    crate::device::get(device)?;
    let context = make(device, flags, false)?;
    if let Err(status) = caller::answer(send::gpuferryCtxCreate(&caller, context.handle, flags, device)) {
        handles::discard(context.handle);
        return Err(status);
    }
    heed_flags(&caller, flags);
    push(context);
    pctx.set(context.handle.0)
}

/// Before the host ends a context: libraries' values end, with their destructors, and its page-locked memory; no call in it is
/// begun any more.
pub(crate) fn end_use(caller: &Caller, context: &'static Context) {
    context.storage.end(context.handle.0);
    crate::host_memory::end_context(caller, context.handle);
    crate::external::end_context(caller, context.handle);
    context.active.store(false, Ordering::Relaxed);
}

/// After the host has ended a context: its handles end, and what is kept of its memory.
pub(crate) fn end_objects(context: &'static Context) {
    handles::discard_owned(context.handle);
    crate::ranges::end_context(context.handle);
    context.peers().clear();
    for limit in &context.limits {
        limit.store(UNKNOWN, Ordering::Relaxed);
    }
}

/// The context that a call for peers names.
fn peer(raw: u64) -> Result<Handle, CUresult> {
    match handles::of_kind(kind::CUcontext, raw) {
        Err(_) if handles::was_there(kind::CUcontext, raw) => Err(CUDA_ERROR_CONTEXT_IS_DESTROYED),
        found => found,
    }
}

/// Destroys a context. After a fault that stays the driver only forgets it, and it stays current.
fn destroy(context: &'static Context) -> Result<(), CUresult> {
    let session = caller::session()?;
    let caller = &Caller { session, origin: caller::origin() };
    let was_lost = session.sticky() != 0;
    if context.primary || !context.green().is_null() {
        return Err(CUDA_ERROR_INVALID_CONTEXT);
    }
    end_use(caller, context);
    let status = send::gpuferryCtxDestroy(caller, context.handle);
    end_objects(context);
    if status == 0 {
        handles::discard(context.handle);
    } else {
        handles::abandon(context.handle);
    }
    if was_lost {
        return if status == CUDA_ERROR_DEVICE_UNAVAILABLE { Err(status) } else { Ok(()) };
    }
    if current() == context.handle {
        pop();
    }
    caller::answer(status)
}

/// What a context is made with besides flags (`CUctxCreateParams`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CreateParams {
    affinities: In<[u32; 2]>,
    count: i32,
    /// `CUctxCigParam`, which begins with its kind.
    graphics: In<u32>,
}

/// A share of the multiprocessors is for clients of MPS, which a worker is not, as cuDeviceGetExecAffinitySupport says.
fn check_affinities(list: In<[u32; 2]>, count: i32) -> Result<(), CUresult> {
    if count <= 0 {
        return Ok(());
    }
    list.get()?;
    Err(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY)
}

/// A context that shares the device with one of Direct3D or Vulkan, of which there is none: the driver refuses both kinds.
fn check_graphics(params: In<u32>) -> Result<(), CUresult> {
    match params.get() {
        // A null pointer asks for nothing.
        Err(_) => Ok(()),
        Ok(1 | 2) => Err(CUDA_ERROR_NOT_SUPPORTED),
        Ok(_) => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

crate::export! {
    /// CUDA Driver API, cuCtxCreate.
    extern "C" fn cuCtxCreate_v2(pctx: Out<u64>, flags: u32, dev: i32) {
        create(pctx, flags, dev)
    }

    /// CUDA Driver API, cuCtxCreate of before 3.2: no device of today has addresses of 32 bits.
    extern "C" fn cuCtxCreate(pctx: Out<u64>, flags: u32, dev: i32) {
        caller::enter()?;
        pctx.check()?;
        check_flags(flags)?;
        crate::device::get(dev)?;
        Err(CUDA_ERROR_OUT_OF_MEMORY)
    }

    /// CUDA Driver API, cuCtxCreate as of 11.4: with affinities.
    extern "C" fn cuCtxCreate_v3(pctx: Out<u64>, paramsArray: In<[u32; 2]>, numParams: i32, flags: u32, dev: i32) {
        check_affinities(paramsArray, numParams)?;
        create(pctx, flags, dev)
    }

    /// CUDA Driver API, cuCtxCreate as of 12.5.
    extern "C" fn cuCtxCreate_v4(pctx: Out<u64>, ctxCreateParams: In<CreateParams>, flags: u32, dev: i32) {
        if !ctxCreateParams.0.is_null() {
            let params = ctxCreateParams.get()?;
            check_affinities(params.affinities, params.count)?;
            check_graphics(params.graphics)?;
        }
        create(pctx, flags, dev)
    }

    /// CUDA Driver API, cuCtxDestroy: takes the context off the calling thread's stack where it is on top.
    extern "C" fn cuCtxDestroy_v2 | extern "C" fn cuCtxDestroy(ctx: u64) {
        caller::session()?;
        destroy(named(ctx).map_err(|status| if handles::was_there(kind::CUcontext, ctx) { CUDA_ERROR_CONTEXT_IS_DESTROYED } else { status })?)
    }

    /// CUDA Driver API, cuCtxAttach: one use more of the current context. Deprecated since CUDA 4.0.
    extern "C" fn cuCtxAttach(pctx: Out<u64>, flags: u32) {
        caller::enter_context()?;
        pctx.check()?;
        if flags != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let context = current_context()?;
        context.uses.fetch_add(1, Ordering::Relaxed);
        pctx.set(context.handle.0)
    }

    /// CUDA Driver API, cuCtxDetach: one use less of the context, which has to be the current one; the last ends it.
    extern "C" fn cuCtxDetach(ctx: u64) {
        caller::session()?;
        check_not_destroyed()?;
        if ctx == 0 || current() != resolve(ctx)?.handle {
            return Err(CUDA_ERROR_INVALID_CONTEXT);
        }
        let context = current_context()?;
        let fewer = |uses: u32| (uses > 1).then(|| uses - 1);
        match context.uses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer) {
            Ok(_) => Ok(()),
            Err(_) => destroy(context),
        }
    }

    /// CUDA Driver API, cuCtxPushCurrent.
    extern "C" fn cuCtxPushCurrent_v2 | extern "C" fn cuCtxPushCurrent(ctx: u64) {
        caller::session()?;
        push(named(ctx)?);
        Ok(())
    }

    /// CUDA Driver API, cuCtxPopCurrent.
    extern "C" fn cuCtxPopCurrent_v2 | extern "C" fn cuCtxPopCurrent(pctx: Out<u64>) {
        caller::session()?;
        let popped = pop().ok_or(CUDA_ERROR_INVALID_CONTEXT)?;
        pctx.set_if_wanted(popped.handle.0);
        Ok(())
    }

    /// CUDA Driver API, cuCtxSetCurrent: replaces the top of the stack; null takes it off.
    extern "C" fn cuCtxSetCurrent(ctx: u64) {
        caller::session()?;
        if ctx == 0 {
            pop();
        } else if ctx != current().0 {
            set_current(Some(resolve(ctx)?));
        }
        Ok(())
    }

    /// CUDA Driver API, cuCtxGetCurrent.
    extern "C" fn cuCtxGetCurrent(pctx: Out<u64>) {
        caller::session()?;
        pctx.set(current().0)
    }

    /// CUDA Driver API, cuCtxEnablePeerAccess.
    extern "C" fn cuCtxEnablePeerAccess(peerContext: u64, Flags: u32) {
        let caller = caller::enter_context()?;
        let peer = peer(peerContext)?;
        caller::answer(send::cuCtxEnablePeerAccess(&caller, peer, Flags))?;
        current_context()?.peers().push(peer);
        Ok(())
    }

    /// CUDA Driver API, cuCtxDisablePeerAccess.
    extern "C" fn cuCtxDisablePeerAccess(peerContext: u64) {
        let caller = caller::enter_context()?;
        let peer = peer(peerContext)?;
        caller::answer(send::cuCtxDisablePeerAccess(&caller, peer))?;
        current_context()?.peers().retain(|known| *known != peer);
        Ok(())
    }

    /// CUDA Driver API, cuCtxGetDevice.
    extern "C" fn cuCtxGetDevice(device: Out<i32>) {
        caller::session()?;
        device.check()?;
        device.set(current_context()?.device)
    }

    /// CUDA Driver API, cuCtxGetDevice as of 13.0: of the context named.
    extern "C" fn cuCtxGetDevice_v2(device: Out<i32>, ctx: u64) {
        caller::session()?;
        device.check()?;
        device.set(resolve(ctx)?.device)
    }

    /// CUDA Driver API, cuCtxGetFlags.
    extern "C" fn cuCtxGetFlags(flags: Out<u32>) {
        caller::session()?;
        flags.check()?;
        flags.set(current_context()?.flags.load(Ordering::Relaxed))
    }

    /// CUDA Driver API, cuCtxSetFlags. How the host waits is the worker's business; the flags are kept for cuCtxGetFlags.
    extern "C" fn cuCtxSetFlags(flags: u32) {
        let caller = caller::enter_context()?;
        check_flags(flags)?;
        heed_flags(&caller, flags);
        current_context()?.flags.store(flags, Ordering::Relaxed);
        Ok(())
    }

    /// CUDA Driver API, cuCtxGetId.
    extern "C" fn cuCtxGetId(ctx: u64, ctxId: Out<u64>) {
        caller::session()?;
        ctxId.check()?;
        ctxId.set(resolve(ctx)?.id)
    }

    /// CUDA Driver API, cuCtxGetApiVersion.
    extern "C" fn cuCtxGetApiVersion(ctx: u64, version: Out<u32>) {
        caller::session()?;
        version.check()?;
        resolve(ctx)?;
        version.set(API_VERSION)
    }

    /// CUDA Driver API, cuCtxSynchronize as of 13.0: of the context named.
    extern "C" fn cuCtxSynchronize_v2(ctx: u64) {
        let mut caller = caller::enter()?;
        let context = resolve(ctx)?;
        if !context.active.load(Ordering::Relaxed) {
            return Err(CUDA_ERROR_CONTEXT_IS_DESTROYED);
        }
        caller.origin.context = context.handle.index() + 1;
        caller.origin.context_generation = context.handle.generation();
        crate::wait::context(&caller)
    }

    /// CUDA Driver API, cuCtxGetLimit: asked once, kept until the limit is set.
    extern "C" fn cuCtxGetLimit(pvalue: Out<usize>, limit: u32) {
        let caller = caller::enter_context()?;
        pvalue.check()?;
        let place = current_context()?.limits.get(limit as usize).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let mut value = place.load(Ordering::Relaxed);
        if value == UNKNOWN {
            let mut asked = 0usize;
            caller::answer(send::cuCtxGetLimit(&caller, &mut asked, limit))?;
            value = asked as u64;
            place.store(value, Ordering::Relaxed);
        }
        pvalue.set(value as usize)
    }

    /// CUDA Driver API, cuCtxGetStreamPriorityRange: asked once a context.
    extern "C" fn cuCtxGetStreamPriorityRange(leastPriority: Out<i32>, greatestPriority: Out<i32>) {
        let caller = caller::enter_context()?;
        let context = current_context()?;
        let (least, greatest) = match context.priorities.get() {
            Some(known) => *known,
            None => {
                let (mut least, mut greatest) = (0, 0);
                caller::answer(send::cuCtxGetStreamPriorityRange(&caller, &mut least, &mut greatest))?;
                *context.priorities.get_or_init(|| (least, greatest))
            }
        };
        leastPriority.set_if_wanted(least);
        greatestPriority.set_if_wanted(greatest);
        Ok(())
    }

    /// CUDA Driver API, cuCtxSetLimit. What the device made of it is asked for when it is wanted.
    extern "C" fn cuCtxSetLimit(limit: u32, value: usize) {
        let caller = caller::enter_context()?;
        crate::capture::check_unsafe()?;
        let status = send::cuCtxSetLimit(&caller, limit, value);
        for kept in &current_context()?.limits {
            kept.store(UNKNOWN, Ordering::Relaxed);
        }
        caller::answer(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stack_when_pushed_set_and_popped_then_is_as_cuda_says() {
        let (one, two) = (make(0, 0, false).expect("room"), make(0, 0, false).expect("room"));
        assert!(pop().is_none());
        push(one);
        push(two);
        assert_eq!((current(), caller::origin().context), (two.handle, two.handle.index() + 1));
        set_current(Some(one));
        assert_eq!(pop().map(|context| context.handle), Some(one.handle));
        assert_eq!(current(), one.handle);
        pop();
        assert_eq!((current(), caller::origin().context), (Handle::NULL, 0));
        assert_eq!(check_current(), Err(CUDA_ERROR_INVALID_CONTEXT));
    }

    #[test]
    fn check_current_when_the_context_was_ended_elsewhere_then_says_so() {
        let context = make(0, 0, false).expect("room");
        push(context);
        assert_eq!(check_current(), Ok(()));
        context.active.store(false, Ordering::Relaxed);
        end_objects(context);
        assert_eq!(check_current(), Err(CUDA_ERROR_CONTEXT_IS_DESTROYED));
        pop();
    }

    #[test]
    fn flags_when_two_ways_of_scheduling_then_are_refused() {
        assert_eq!(check_flags(0), Ok(()));
        assert_eq!(check_flags(0x0c), Ok(()));
        assert_eq!(check_flags(3), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(check_flags(0x1000), Err(CUDA_ERROR_INVALID_VALUE));
    }
}
