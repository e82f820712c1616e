//! The window: the memory that one guest process and its worker share for a session.
//!
//! It holds no pointers and nothing that either side trusts: every word the other side can write is read once, checked,
//! and used from private memory. Who writes what:
//!
//! | part | guest | worker (or front) |
//! |---|---|---|
//! | [`Header::tail`] | stores (release) | loads (acquire) |
//! | [`Header::head`] | loads (acquire) | stores (release) |
//! | [`Header::host_parked`] | swaps for 0 where it rings the doorbell | stores |
//! | [`Header::state`], [`Header::sticky`], [`Header::deferred`] | loads (swaps `deferred` to 0) | stores |
//! | [`Header::printed`] | loads | stores |
//! | slots ([`crate::slot`]) | `parked` | `ready`, `status`, `bytes`, payload |
//! | ring ([`crate::ring`]) | frames between head and tail | nothing |
//! | staging | as the commands in flight say | as the commands in flight say |
//!
//! The layout is fixed by [`crate::WIRE_VERSION`]; only `staging` varies, by the size of the window.

// Not the model checker's: its atomics have another layout, and it has no shared memory.
use core::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of the header page.
pub const HEADER_BYTES: usize = 4096;
/// Offset of the first reply slot.
pub const SLOTS_OFFSET: usize = HEADER_BYTES;
/// Number of reply slots: calls of one process that can wait at a time; a further thread waits for a slot.
pub const SLOT_COUNT: usize = 64;
/// Bytes of one reply slot, its head included.
pub const SLOT_BYTES: usize = 4096;
/// Offset of the command ring.
pub const RING_OFFSET: usize = SLOTS_OFFSET + SLOT_COUNT * SLOT_BYTES;
/// Bytes of the command ring, a power of two.
pub const RING_BYTES: usize = 1 << 20;
/// Offset of the staging area.
pub const STAGING_OFFSET: usize = RING_OFFSET + RING_BYTES;
/// Bytes of the smallest window: one without staging.
pub const WINDOW_BYTES_MIN: usize = STAGING_OFFSET;
/// Bytes of staging in a window of the virtio carrier: for copies too small to be worth pinning pages for.
pub const STAGING_BYTES_VIRTIO: usize = 4 << 20;
/// Bytes of a window of the virtio carrier.
pub const WINDOW_BYTES_VIRTIO: usize = STAGING_OFFSET + STAGING_BYTES_VIRTIO;
/// Bytes of staging in a window of the local carrier.
pub const STAGING_BYTES_LOCAL: usize = 16 << 20;
/// Bytes of a window of the local carrier.
pub const WINDOW_BYTES_LOCAL: usize = STAGING_OFFSET + STAGING_BYTES_LOCAL;
/// Bytes of the largest window that either side accepts.
pub const WINDOW_BYTES_MAX: usize = 64 << 20;

/// The session is being set up.
pub const STATE_NEW: u32 = 0;
/// The worker serves the ring.
pub const STATE_READY: u32 = 1;
/// The worker has ended; nothing will be answered any more.
pub const STATE_DEAD: u32 = 2;

/// The first page of the window. Each word that one side stores often has a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Header {
    /// `STATE_*`: stored by worker and front.
    pub state: AtomicU32,
    /// [`crate::WIRE_VERSION`] of the worker: stored before `state` becomes ready.
    pub wire_version: AtomicU32,
    /// Why the session is dead ([`crate::control::Death`]): stored before `state` becomes dead.
    pub death: AtomicU32,
    _line0: [u32; 13],
    /// Bytes ever published into the ring: stored by the guest.
    pub tail: AtomicU64,
    _line1: [u64; 7],
    /// Bytes ever taken from the ring: stored by the worker, for each quarter of the ring and before it sleeps.
    pub head: AtomicU64,
    _line2: [u64; 7],
    /// 1 while the worker sleeps, or is about to, and wants the doorbell: stored by the worker; who rings it swaps it for 0.
    pub host_parked: AtomicU32,
    _line3: [u32; 15],
    /// A status of the API that every call returns from now on, 0 for none: stored by the worker.
    pub sticky: AtomicU32,
    /// The first status of a posted call that failed since the guest last took it, 0 for none: the worker stores it
    /// where it is 0, the guest swaps it for 0.
    pub deferred: AtomicU32,
    /// Bytes that kernels have printed and the guest may fetch, since the session began: stored by the worker before the
    /// reply of the call after which they are there.
    pub printed: AtomicU64,
    _line4: [u64; 6],
    /// 1 while a guest thread sleeps because the ring is full: stored by the guest, loaded by the worker after `head`.
    pub guest_parked: AtomicU32,
    /// Counts wake-ups for a full ring, so that the sleeper has a word that changes: stored by the worker.
    pub head_epoch: AtomicU32,
    _line5: [u32; 14],
    _line6: [u64; 16],
    /// What the worker has done, for statistics: stored by the worker; nothing is decided by it.
    pub counters: HostCounters,
}

/// Counts since the session began, relaxed.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct HostCounters {
    /// Posted calls taken from the ring.
    pub posted: AtomicU64,
    /// Waited calls taken from the ring.
    pub waited: AtomicU64,
    /// Of these, calls that may sleep in the driver.
    pub sleeping: AtomicU64,
    /// Times that the worker parked.
    pub parks: AtomicU64,
    /// Times that the worker woke a guest thread: interrupts, over virtio.
    pub wakes: AtomicU64,
    /// Times that the doorbell made a thread of the worker lead.
    pub doorbells: AtomicU64,
    /// Bytes of the guest's that were copied through frames, replies and the staging area.
    pub copied: AtomicU64,
    /// Bytes that were read or written in leased pages.
    pub leased: AtomicU64,
}

impl HostCounters {
    /// Adds to a counter.
    #[inline]
    pub fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, core::sync::atomic::Ordering::Relaxed);
    }

    /// The counters' names, in the order in which they lie.
    pub const NAMES: [&'static str; 8] =
        ["posted", "waited", "sleeping", "parks", "wakes", "doorbells", "copied", "leased"];

    /// The counts by name.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 8] {
        let HostCounters { posted, waited, sleeping, parks, wakes, doorbells, copied, leased } = self;
        let counters = [posted, waited, sleeping, parks, wakes, doorbells, copied, leased];
        core::array::from_fn(|at| (Self::NAMES[at], counters[at].load(core::sync::atomic::Ordering::Relaxed)))
    }
}

/// Offset in the window of [`Header::head_epoch`], for the carrier's wait.
pub const HEAD_EPOCH_OFFSET: usize = core::mem::offset_of!(Header, head_epoch);
/// Offset in the window of [`Header::state`].
pub const STATE_OFFSET: usize = core::mem::offset_of!(Header, state);

const _: () = assert!(core::mem::size_of::<Header>() <= HEADER_BYTES);
const _: () = assert!(RING_BYTES.is_power_of_two());

/// Offset in the window of slot `index`.
///
/// # Panics
/// Where `index` is not below [`SLOT_COUNT`].
#[must_use]
pub const fn slot_offset(index: usize) -> usize {
    assert!(index < SLOT_COUNT);
    SLOTS_OFFSET + index * SLOT_BYTES
}
