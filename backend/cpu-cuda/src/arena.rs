//! Device memory: one reserved range of addresses over a memory file, cut into allocations.
//!
//! A device pointer is a host address in this range, so host and device see one memory. Space is handed out in granules of
//! 512 bytes with a free granule after every allocation; the map of granules is what running kernels compare their
//! accesses with. More addresses are reserved than there is memory, so that fragmentation does not turn into a refusal:
//! only the sum of the allocations decides. Pages of freed memory go back to the system.
//!
//! Writers of the granule map hold the lock; kernels read single bytes without it. An access that races with the free of
//! its own memory reaches mapped memory of this arena in every case, and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::engine::{self, GRANULE_BYTES};
use crate::status::{Answer, Status};

/// Preferred first address: far from where programs, and the guests of a worker, have their own mappings.
const PREFERRED_BASE: u64 = 0x1000_0000_0000;
const PAGE: u64 = 4096;
/// Freed ranges of at least this many bytes give their pages back at once.
const GIVE_BACK: u64 = 64 << 10;
/// Least memory a device can have.
const LEAST: u64 = 16 << 20;

/// What an allocation is for; decides who may free it and what pointer attributes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// cuMemAlloc and relatives.
    Device,
    /// cuMemAllocManaged.
    Managed,
    /// cuMemHostAlloc with these flags.
    Host(u32),
    /// From a pool, by its handle.
    Pool(u64),
    /// Variables of a module.
    Variable,
    /// Managed variables of a module.
    ManagedVariable,
    /// Storage of an array.
    Array,
    /// malloc in a kernel.
    Heap,
    /// A reserved range of addresses; what is mapped there is another matter.
    Reserved,
}

impl Kind {
    /// Counts towards the device's memory.
    fn counts(self) -> bool {
        !matches!(self, Kind::Host(_) | Kind::Reserved)
    }
}

/// A live allocation.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// First address.
    pub base: u64,
    /// Bytes asked for.
    pub size: u64,
    /// What it is for.
    pub kind: Kind,
    /// Handle of its context; 0 if it belongs to none.
    pub context: u64,
    /// A number never used twice in the process.
    pub id: u64,
    /// CU_POINTER_ATTRIBUTE_SYNC_MEMOPS.
    pub sync_memops: bool,
}

struct State {
    /// Free ranges by first address, and by length.
    free: BTreeMap<u64, u64>,
    by_length: BTreeSet<(u64, u64)>,
    live: BTreeMap<u64, Allocation>,
    used: u64,
    /// Bytes in use by pool.
    by_pool: HashMap<u64, u64>,
}

/// The device memory of this process.
pub struct Arena {
    base: u64,
    length: u64,
    granules: *mut u8,
    capacity: u64,
    file: OwnedFd,
    state: RwLock<State>,
    next_id: AtomicU64,
}

// SAFETY: `granules` is written under the lock only, see the module's words.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// Reserves addresses for `capacity` bytes of memory.
    pub fn new(capacity: u64) -> std::io::Result<Arena> {
        let capacity = capacity.max(LEAST) / PAGE * PAGE;
        // SAFETY: a call with a constant name.
        let file = unsafe { libc::memfd_create(c"cuda-memory".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nothing else owns.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        let mut length = capacity.saturating_mul(4).saturating_add(64 << 30) / PAGE * PAGE;
        loop {
            match Self::reserve(&file, length) {
                Ok((base, granules)) => return Ok(Self::over(base, granules, length, capacity, file)),
                Err(error) if length / 2 < capacity => return Err(error),
                Err(_) => length = length / 2 / PAGE * PAGE,
            }
        }
    }

    fn reserve(file: &OwnedFd, length: u64) -> std::io::Result<(u64, *mut u8)> {
        let size = libc::off_t::try_from(length).map_err(std::io::Error::other)?;
        // SAFETY: plain call on our own file.
        if unsafe { libc::ftruncate(file.as_raw_fd(), size) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        let map = |hint: u64, length: u64, flags: libc::c_int, fd: libc::c_int| {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: without MAP_FIXED the kernel never replaces a mapping.
            let at =
                unsafe { libc::mmap(hint as *mut _, length as usize, protection, flags | libc::MAP_NORESERVE, fd, 0) };
            if at == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(at) }
        };
        let shared = libc::MAP_SHARED;
        let base = map(PREFERRED_BASE, length, shared | libc::MAP_FIXED_NOREPLACE, file.as_raw_fd())
            .or_else(|_| map(0, length, shared, file.as_raw_fd()))?;
        match map(0, length / GRANULE_BYTES + 1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1) {
            Ok(granules) => Ok((base as u64, granules.cast())),
            Err(error) => {
                // SAFETY: our own mapping, which nothing uses yet.
                unsafe { libc::munmap(base, length as usize) };
                Err(error)
            }
        }
    }

    fn over(base: u64, granules: *mut u8, length: u64, capacity: u64, file: OwnedFd) -> Arena {
        // The first granules stay free as a guard against addresses just below.
        let (start, free) = (base + PAGE, length - PAGE);
        let state = State {
            free: BTreeMap::from([(start, free)]),
            by_length: BTreeSet::from([(free, start)]),
            live: BTreeMap::new(),
            used: 0,
            by_pool: HashMap::new(),
        };
        Arena { base, length, granules, capacity, file, state: RwLock::new(state), next_id: AtomicU64::new(1) }
    }

    /// The device's memory in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes that are not taken.
    pub fn free_bytes(&self) -> u64 {
        self.capacity.saturating_sub(self.read().used)
    }

    /// The descriptor of the memory file.
    pub fn file(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// The arena as the engine sees it.
    pub fn view(&self) -> engine::Arena {
        engine::Arena { base: self.base, len: self.length, granules: self.granules }
    }

    /// Whether the address lies in the arena, allocated or not.
    pub fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.base) < self.length
    }

    /// A new allocation of `size` bytes.
    pub fn allocate(&self, size: u64, kind: Kind, context: u64) -> Answer<u64> {
        self.allocate_aligned(size, GRANULE_BYTES, kind, context)
    }

    /// A new allocation whose address is a multiple of `align`, a power of two.
    pub fn allocate_aligned(&self, size: u64, align: u64, kind: Kind, context: u64) -> Answer<u64> {
        let align = align.max(GRANULE_BYTES);
        let bytes = size.max(1).checked_next_multiple_of(GRANULE_BYTES).ok_or(Status::OUT_OF_MEMORY)?;
        let guarded = bytes.checked_add(GRANULE_BYTES).ok_or(Status::OUT_OF_MEMORY)?;
        let mut state = self.write();
        if kind.counts() && bytes > self.capacity.saturating_sub(state.used) {
            return Err(Status::OUT_OF_MEMORY);
        }
        let fits = |&(length, start): &(u64, u64)| {
            let at = start.checked_next_multiple_of(align)?;
            (length.checked_sub(at - start)? >= guarded).then_some((start, length, at))
        };
        let (start, length, at) = state.by_length.range((guarded, 0)..).find_map(fits).ok_or(Status::OUT_OF_MEMORY)?;
        state.free.remove(&start);
        state.by_length.remove(&(length, start));
        state.add_free(start, at - start);
        state.add_free(at + guarded, start + length - at - guarded);
        if kind.counts() {
            state.used += bytes;
        }
        if let Kind::Pool(pool) = kind {
            *state.by_pool.entry(pool).or_default() += size;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        state.live.insert(at, Allocation { base: at, size, kind, context, id, sync_memops: false });
        if kind != Kind::Reserved {
            self.mark(at, bytes, true);
        }
        Ok(at)
    }

    /// Frees the allocation that begins at `address` if `may` agrees; what it was.
    pub fn free(&self, address: u64, may: impl FnOnce(&Allocation) -> bool) -> Answer<Allocation> {
        let mut state = self.write();
        let found = state.live.get(&address).filter(|allocation| may(allocation)).cloned();
        let gone = found.ok_or(Status::INVALID_VALUE)?;
        state.live.remove(&address);
        let bytes = gone.size.max(1).next_multiple_of(GRANULE_BYTES);
        if gone.kind.counts() {
            state.used = state.used.saturating_sub(bytes);
        }
        if let Kind::Pool(pool) = gone.kind
            && let Some(used) = state.by_pool.get_mut(&pool)
        {
            *used = used.saturating_sub(gone.size);
        }
        self.mark(address, bytes, false);
        self.give_back(address, bytes);
        state.add_free(address, bytes + GRANULE_BYTES);
        Ok(gone)
    }

    /// Frees everything that belongs to a context.
    pub fn free_all_of(&self, context: u64) {
        let of = |state: &State| {
            let mine = |a: &&Allocation| a.context == context && context != 0;
            state.live.values().filter(mine).map(|a| a.base).collect::<Vec<_>>()
        };
        let bases = of(&self.read());
        for base in bases {
            // Gone already if another thread was quicker.
            let _ = self.free(base, |allocation| allocation.context == context);
        }
    }

    /// The live allocation that `address` lies in.
    pub fn find(&self, address: u64) -> Option<Allocation> {
        if !self.contains(address) {
            return None;
        }
        let state = self.read();
        let (_, allocation) = state.live.range(..=address).next_back()?;
        (address - allocation.base < allocation.size.max(1)).then(|| allocation.clone())
    }

    /// Whether these bytes lie in one live allocation, or in the mapped part of one reservation.
    pub fn holds(&self, address: u64, bytes: u64) -> bool {
        let Some(allocation) = self.find(address) else { return false };
        if bytes > allocation.size - (address - allocation.base) {
            return false;
        }
        allocation.kind != Kind::Reserved || self.all_marked(address, bytes)
    }

    fn all_marked(&self, address: u64, bytes: u64) -> bool {
        let first = (address - self.base) / GRANULE_BYTES;
        let last = (address - self.base + bytes.max(1) - 1) / GRANULE_BYTES;
        let _state = self.read();
        // SAFETY: both lie in the arena, says the caller.
        (first..=last).all(|granule| unsafe { self.granules.add(granule as usize).read_volatile() } != 0)
    }

    /// Changes a live allocation's record.
    pub fn update(&self, base: u64, change: impl FnOnce(&mut Allocation)) -> Answer {
        let mut state = self.write();
        state.live.get_mut(&base).map(change).ok_or(Status::INVALID_VALUE)
    }

    /// Bytes that a pool has in use.
    pub fn used_by_pool(&self, pool: u64) -> u64 {
        self.read().by_pool.get(&pool).copied().unwrap_or(0)
    }

    /// Charges memory that is not an allocation of its own (physical memory to be mapped), or refuses.
    pub fn charge(&self, bytes: u64) -> Answer {
        let mut state = self.write();
        if bytes > self.capacity.saturating_sub(state.used) {
            return Err(Status::OUT_OF_MEMORY);
        }
        state.used += bytes;
        Ok(())
    }

    /// Takes a charge back.
    pub fn discharge(&self, bytes: u64) {
        let mut state = self.write();
        state.used = state.used.saturating_sub(bytes);
    }

    /// Opens a range of a reservation to kernels, or closes it.
    pub fn mark_mapped(&self, address: u64, bytes: u64, open: bool) {
        let _state = self.write();
        self.mark(address, bytes, open);
    }

    /// Puts this arena's own memory back where another file was mapped.
    pub fn unmap(&self, address: u64, bytes: u64) -> Answer {
        self.map_file(address, bytes, self.file.as_raw_fd(), address.wrapping_sub(self.base))
    }

    /// Maps `bytes` of a memory file at `address`, which lies in a reservation.
    pub fn map_file(&self, address: u64, bytes: u64, file: libc::c_int, offset: u64) -> Answer {
        let inside = self.contains(address) && bytes <= self.length - (address - self.base);
        let offset = libc::off_t::try_from(offset).map_err(|_| Status::INVALID_VALUE)?;
        if !inside {
            return Err(Status::INVALID_VALUE);
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: replaces pages inside our own mapping only, which stays fully mapped.
        let at = unsafe { libc::mmap(address as *mut _, bytes as usize, protection, flags, file, offset) };
        if at == libc::MAP_FAILED { Err(Status::OUT_OF_MEMORY) } else { Ok(()) }
    }

    fn mark(&self, address: u64, bytes: u64, allocated: bool) {
        let first = (address - self.base) / GRANULE_BYTES;
        let count = bytes.div_ceil(GRANULE_BYTES);
        // SAFETY: both lie in the arena, so the bytes lie in its map; the caller holds the lock.
        unsafe { std::ptr::write_bytes(self.granules.add(first as usize), u8::from(allocated), count as usize) };
    }

    fn give_back(&self, address: u64, bytes: u64) {
        let from = address.next_multiple_of(PAGE);
        let to = (address + bytes) / PAGE * PAGE;
        if to > from && to - from >= GIVE_BACK {
            // SAFETY: whole pages of our own mapping that hold no live allocation.
            unsafe { libc::madvise(from as *mut _, (to - from) as usize, libc::MADV_REMOVE) };
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts a range back, joined with its free neighbours.
    fn add_free(&mut self, start: u64, length: u64) {
        if length == 0 {
            return;
        }
        let (mut start, mut length) = (start, length);
        if let Some((&before, &span)) = self.free.range(..start).next_back()
            && before + span == start
        {
            self.free.remove(&before);
            self.by_length.remove(&(span, before));
            (start, length) = (before, length + span);
        }
        if let Some(&span) = self.free.get(&(start + length)) {
            self.free.remove(&(start + length));
            self.by_length.remove(&(span, start + length));
            length += span;
        }
        self.free.insert(start, length);
        self.by_length.insert((length, start));
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: our own mappings; nothing that uses them outlives the arena.
        unsafe {
            libc::munmap(self.base as *mut _, self.length as usize);
            libc::munmap(self.granules.cast(), (self.length / GRANULE_BYTES + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena() -> Arena {
        Arena::new(64 << 20).expect("memory")
    }

    fn granule(arena: &Arena, address: u64) -> u8 {
        let view = arena.view();
        // SAFETY: the address lies in the arena.
        unsafe { *view.granules.add(((address - view.base) / GRANULE_BYTES) as usize) }
    }

    #[test]
    fn allocate_when_two_then_guard_between_them() {
        let arena = arena();
        let first = arena.allocate(1, Kind::Device, 1).expect("room");
        let second = arena.allocate(513, Kind::Device, 1).expect("room");
        assert_eq!(granule(&arena, first), 1);
        assert_eq!(granule(&arena, first + 512), 0);
        assert!(second >= first + 1024);
        assert_eq!((granule(&arena, second + 512), granule(&arena, second + 1024)), (1, 0));
    }

    #[test]
    fn allocate_when_exactly_full_then_next_refused_until_freed() {
        let arena = arena();
        let all = arena.allocate(64 << 20, Kind::Device, 1).expect("room");
        assert_eq!(arena.allocate(1, Kind::Device, 1), Err(Status::OUT_OF_MEMORY));
        assert_eq!(arena.free_bytes(), 0);
        arena.free(all, |_| true).expect("live");
        assert_eq!(arena.free_bytes(), 64 << 20);
        arena.allocate(64 << 20, Kind::Device, 1).expect("room again");
    }

    #[test]
    fn allocate_when_size_absurd_then_out_of_memory() {
        assert_eq!(arena().allocate(u64::MAX - 5, Kind::Host(0), 1), Err(Status::OUT_OF_MEMORY));
    }

    #[test]
    fn free_when_twice_or_inside_then_refused() {
        let arena = arena();
        let at = arena.allocate(4096, Kind::Device, 1).expect("room");
        assert!(arena.free(at + 512, |_| true).is_err());
        arena.free(at, |_| true).expect("live");
        assert!(arena.free(at, |_| true).is_err());
    }

    #[test]
    fn find_when_last_byte_then_found_and_one_more_then_not() {
        let arena = arena();
        let at = arena.allocate(100, Kind::Device, 9).expect("room");
        assert_eq!(arena.find(at + 99).expect("inside").base, at);
        assert!(arena.find(at + 100).is_none());
    }

    #[test]
    fn free_when_large_then_memory_reads_as_zero_again() {
        let arena = arena();
        let at = arena.allocate(1 << 20, Kind::Device, 1).expect("room");
        // SAFETY: allocated just now.
        unsafe { std::ptr::write_bytes(at as *mut u8, 0xff, 1 << 20) };
        arena.free(at, |_| true).expect("live");
        // SAFETY: the arena stays mapped.
        assert_eq!(unsafe { *((at + 8192) as *const u8) }, 0);
    }
}
