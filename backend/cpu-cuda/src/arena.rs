//! Memory of all devices: one reserved range of addresses over a memory file, cut into allocations.
//!
//! A device pointer is a host address in this range, so host and device see one memory. Space is handed out in granules of
//! 512 bytes with a free granule after every allocation; each device has a map of granules, which is what its running kernels
//! compare their accesses with: its own memory, the host's, and that of devices whose peer it was made. More addresses are
//! reserved than there is memory, so that fragmentation does not turn into a refusal: only the sum of a device's allocations
//! decides. Pages of freed memory go back to the system.
//!
//! Writers of the granule maps hold the lock; kernels read single bytes without it. An access that races with the free of
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

/// The bit of a device.
pub fn bit(device: u8) -> Reach {
    1 << (device % Reach::BITS as u8)
}

/// Bytes of a device's map of granules: whole pages.
fn map_bytes(length: u64) -> u64 {
    (length / GRANULE_BYTES + 1).next_multiple_of(PAGE)
}

impl Kind {
    /// Counts towards the device's memory.
    fn counts(self) -> bool {
        !matches!(self, Kind::Host(_) | Kind::Reserved)
    }
}

/// Whose an allocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Handle of its context; 0 if it belongs to none.
    pub context: u64,
    /// Number of its device.
    pub device: u8,
}

/// Owner of what is no context's: reservations of addresses, managed variables of libraries.
pub const NOBODY: Owner = Owner { context: 0, device: 0 };

/// A live allocation.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// First address.
    pub base: u64,
    /// Bytes asked for.
    pub size: u64,
    /// What it is for.
    pub kind: Kind,
    /// Whose it is.
    pub owner: Owner,
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
    /// Bytes in use by device.
    used: Vec<u64>,
    /// Bytes in use by pool.
    by_pool: HashMap<u64, u64>,
    /// By device, how many contexts of each device reach its memory.
    peers: Vec<Vec<u32>>,
    /// By pool, the devices besides its own whose kernels reach its memory.
    pool_peers: HashMap<u64, Reach>,
}

/// Devices whose kernels reach some memory, one bit each.
pub type Reach = u32;

/// The device memory of this process.
pub struct Arena {
    base: u64,
    length: u64,
    /// A map of each device.
    granules: Vec<*mut u8>,
    /// Bytes that each device has.
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
    /// Reserves addresses for `capacity` bytes of memory of each of so many devices.
    pub fn new(capacity: u64, devices: usize) -> std::io::Result<Arena> {
        let capacity = capacity.max(LEAST) / PAGE * PAGE;
        // SAFETY: a call with a constant name.
        let file = unsafe { libc::memfd_create(c"cuda-memory".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nothing else owns.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        let all = capacity.saturating_mul(devices as u64);
        let mut length = all.saturating_mul(4).saturating_add(64 << 30) / PAGE * PAGE;
        loop {
            match Self::reserve(&file, length, devices) {
                Ok((base, granules)) => return Ok(Self::over(base, granules, length, capacity, file)),
                Err(error) if length / 2 < all => return Err(error),
                Err(_) => length = length / 2 / PAGE * PAGE,
            }
        }
    }

    fn reserve(file: &OwnedFd, length: u64, devices: usize) -> std::io::Result<(u64, Vec<*mut u8>)> {
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
        let (each, private) = (map_bytes(length), libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        match map(0, each * devices as u64, private, -1) {
            Ok(first) => {
                let of = |device| first.cast::<u8>().wrapping_add(each as usize * device);
                Ok((base as u64, (0..devices).map(of).collect()))
            }
            Err(error) => {
                // SAFETY: our own mapping, which nothing uses yet.
                unsafe { libc::munmap(base, length as usize) };
                Err(error)
            }
        }
    }

    fn over(base: u64, granules: Vec<*mut u8>, length: u64, capacity: u64, file: OwnedFd) -> Arena {
        // The first granules stay free as a guard against addresses just below.
        let (start, free) = (base + PAGE, length - PAGE);
        let devices = granules.len();
        let state = State {
            free: BTreeMap::from([(start, free)]),
            by_length: BTreeSet::from([(free, start)]),
            live: BTreeMap::new(),
            used: vec![0; devices],
            by_pool: HashMap::new(),
            peers: vec![vec![0; devices]; devices],
            pool_peers: HashMap::new(),
        };
        Arena { base, length, granules, capacity, file, state: RwLock::new(state), next_id: AtomicU64::new(1) }
    }

    /// The memory of each device in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes of a device that are not taken.
    pub fn free_bytes(&self, device: u8) -> u64 {
        self.read().room(self.capacity, device)
    }

    /// The descriptor of the memory file.
    pub fn file(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// First address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The arena as kernels of a device see it.
    pub fn view(&self, device: u8) -> engine::Arena {
        let map = self.granules.get(usize::from(device)).or(self.granules.first());
        engine::Arena { base: self.base, len: self.length, granules: map.copied().unwrap_or(std::ptr::null_mut()) }
    }

    /// Whether the address lies in the arena, allocated or not.
    pub fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.base) < self.length
    }

    /// A new allocation of `size` bytes.
    pub fn allocate(&self, size: u64, kind: Kind, owner: Owner) -> Answer<u64> {
        self.allocate_aligned(size, GRANULE_BYTES, kind, owner)
    }

    /// A new allocation whose address is a multiple of `align`, a power of two.
    pub fn allocate_aligned(&self, size: u64, align: u64, kind: Kind, owner: Owner) -> Answer<u64> {
        let align = align.max(GRANULE_BYTES);
        let bytes = size.max(1).checked_next_multiple_of(GRANULE_BYTES).ok_or(Status::OUT_OF_MEMORY)?;
        let guarded = bytes.checked_add(GRANULE_BYTES).ok_or(Status::OUT_OF_MEMORY)?;
        let mut state = self.write();
        if kind.counts() && bytes > state.room(self.capacity, owner.device) {
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
            state.take(owner.device, bytes);
        }
        if let Kind::Pool(pool) = kind {
            *state.by_pool.entry(pool).or_default() += size;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        state.live.insert(at, Allocation { base: at, size, kind, owner, id, sync_memops: false });
        if kind != Kind::Reserved {
            self.mark(at, bytes, state.reach(kind, owner.device));
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
            state.give_back(gone.owner.device, bytes);
        }
        if let Kind::Pool(pool) = gone.kind
            && let Some(used) = state.by_pool.get_mut(&pool)
        {
            *used = used.saturating_sub(gone.size);
        }
        self.mark(address, bytes, 0);
        self.give_back(address, bytes);
        state.add_free(address, bytes + GRANULE_BYTES);
        Ok(gone)
    }

    /// Frees everything that belongs to a context.
    pub fn free_all_of(&self, context: u64) {
        let of = |state: &State| {
            let mine = |a: &&Allocation| a.owner.context == context && context != 0;
            state.live.values().filter(mine).map(|a| a.base).collect::<Vec<_>>()
        };
        let bases = of(&self.read());
        for base in bases {
            // Gone already if another thread was quicker.
            let _ = self.free(base, |allocation| allocation.owner.context == context);
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

    /// Whether kernels of a device reach an address, as far as it lies in the arena.
    pub fn reaches(&self, device: u8, address: u64) -> bool {
        let Some(map) = self.granules.get(usize::from(device)).filter(|_| self.contains(address)) else { return true };
        let granule = ((address - self.base) / GRANULE_BYTES) as usize;
        // SAFETY: the address lies in the arena, so its byte in the map.
        unsafe { map.add(granule).read_volatile() != 0 }
    }

    fn all_marked(&self, address: u64, bytes: u64) -> bool {
        let first = (address - self.base) / GRANULE_BYTES;
        let last = (address - self.base + bytes.max(1) - 1) / GRANULE_BYTES;
        let _state = self.read();
        // SAFETY: both lie in the arena, says the caller.
        let is_open = |map: &*mut u8, granule: u64| unsafe { map.add(granule as usize).read_volatile() } != 0;
        (first..=last).all(|granule| self.granules.iter().any(|map| is_open(map, granule)))
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

    /// Charges memory of a device that is not an allocation of its own (physical memory to be mapped), or refuses.
    pub fn charge(&self, device: u8, bytes: u64) -> Answer {
        let mut state = self.write();
        if bytes > state.room(self.capacity, device) {
            return Err(Status::OUT_OF_MEMORY);
        }
        state.take(device, bytes);
        Ok(())
    }

    /// Takes a charge back.
    pub fn discharge(&self, device: u8, bytes: u64) {
        self.write().give_back(device, bytes);
    }

    /// Opens a range of a reservation to kernels of these devices, and closes it to all others.
    pub fn mark_mapped(&self, address: u64, bytes: u64, reach: Reach) {
        let _state = self.write();
        self.mark(address, bytes, reach);
    }

    /// One context more of the device `from` reaches the memory of the device `of`, or one less.
    pub fn count_peer(&self, from: u8, of: u8, more: bool) {
        let mut state = self.write();
        let Some(count) = state.peers.get_mut(usize::from(of)).and_then(|all| all.get_mut(usize::from(from))) else {
            return;
        };
        let before = *count;
        *count = if more { before.saturating_add(1) } else { before.saturating_sub(1) };
        if (before == 0) != (*count == 0) {
            self.mark_again(&state, |allocation| allocation.owner.device == of);
        }
    }

    /// Kernels of these devices, besides the pool's own, reach memory of the pool.
    pub fn set_pool_peers(&self, pool: u64, reach: Reach) {
        let mut state = self.write();
        state.pool_peers.insert(pool, reach);
        self.mark_again(&state, |allocation| allocation.kind == Kind::Pool(pool));
    }

    /// The devices, besides the pool's own, whose kernels reach memory of the pool.
    pub fn pool_peers(&self, pool: u64) -> Reach {
        self.read().pool_peers.get(&pool).copied().unwrap_or(0)
    }

    fn mark_again(&self, state: &State, which: impl Fn(&Allocation) -> bool) {
        for found in state.live.values().filter(|found| found.kind != Kind::Reserved && which(found)) {
            let bytes = found.size.max(1).next_multiple_of(GRANULE_BYTES);
            self.mark(found.base, bytes, state.reach(found.kind, found.owner.device));
        }
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

    fn mark(&self, address: u64, bytes: u64, reach: Reach) {
        let first = (address - self.base) / GRANULE_BYTES;
        let count = bytes.div_ceil(GRANULE_BYTES);
        for (device, map) in self.granules.iter().enumerate() {
            let open = u8::from(reach >> device & 1 != 0);
            // SAFETY: both lie in the arena, so the bytes lie in its map; the caller holds the lock.
            unsafe { std::ptr::write_bytes(map.add(first as usize), open, count as usize) };
        }
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
    /// Bytes of a device that are not taken.
    fn room(&self, capacity: u64, device: u8) -> u64 {
        self.used.get(usize::from(device)).map_or(0, |used| capacity.saturating_sub(*used))
    }

    fn take(&mut self, device: u8, bytes: u64) {
        if let Some(used) = self.used.get_mut(usize::from(device)) {
            *used += bytes;
        }
    }

    fn give_back(&mut self, device: u8, bytes: u64) {
        if let Some(used) = self.used.get_mut(usize::from(device)) {
            *used = used.saturating_sub(bytes);
        }
    }

    /// The devices whose kernels reach memory of a device: for pools these are chosen by pool.
    fn reach(&self, kind: Kind, device: u8) -> Reach {
        match kind {
            Kind::Host(_) | Kind::Managed | Kind::ManagedVariable => Reach::MAX,
            Kind::Pool(pool) => bit(device) | self.pool_peers.get(&pool).copied().unwrap_or(0),
            _ => {
                let peers = self.peers.get(usize::from(device)).into_iter().flatten().enumerate();
                let with = peers.filter(|(_, count)| **count != 0).map(|(peer, _)| bit(peer as u8));
                with.fold(bit(device), |all, peer| all | peer)
            }
        }
    }

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
            if let Some(first) = self.granules.first() {
                libc::munmap(first.cast(), map_bytes(self.length) as usize * self.granules.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena() -> Arena {
        Arena::new(64 << 20, 2).expect("memory")
    }

    const ONE: Owner = Owner { context: 1, device: 0 };

    fn granule(arena: &Arena, address: u64) -> u8 {
        granule_of(arena, 0, address)
    }

    fn granule_of(arena: &Arena, device: u8, address: u64) -> u8 {
        let view = arena.view(device);
        // SAFETY: the address lies in the arena.
        unsafe { *view.granules.add(((address - view.base) / GRANULE_BYTES) as usize) }
    }

    #[test]
    fn allocate_when_two_then_guard_between_them() {
        let arena = arena();
        let first = arena.allocate(1, Kind::Device, ONE).expect("room");
        let second = arena.allocate(513, Kind::Device, ONE).expect("room");
        assert_eq!(granule(&arena, first), 1);
        assert_eq!(granule(&arena, first + 512), 0);
        assert!(second >= first + 1024);
        assert_eq!((granule(&arena, second + 512), granule(&arena, second + 1024)), (1, 0));
    }

    #[test]
    fn allocate_when_exactly_full_then_next_refused_until_freed() {
        let arena = arena();
        let all = arena.allocate(64 << 20, Kind::Device, ONE).expect("room");
        assert_eq!(arena.allocate(1, Kind::Device, ONE), Err(Status::OUT_OF_MEMORY));
        assert_eq!(arena.free_bytes(0), 0);
        arena.free(all, |_| true).expect("live");
        assert_eq!(arena.free_bytes(0), 64 << 20);
        arena.allocate(64 << 20, Kind::Device, ONE).expect("room again");
    }

    #[test]
    fn allocate_when_one_device_is_full_then_the_other_is_not() {
        let arena = arena();
        let two = Owner { context: 2, device: 1 };
        arena.allocate(64 << 20, Kind::Device, ONE).expect("room");
        let other = arena.allocate(64 << 20, Kind::Device, two).expect("room of its own");
        assert_eq!(arena.allocate(1, Kind::Device, two), Err(Status::OUT_OF_MEMORY));
        assert_eq!((granule_of(&arena, 0, other), granule_of(&arena, 1, other)), (0, 1));
    }

    #[test]
    fn count_peer_when_the_last_has_ended_then_its_kernels_reach_the_memory_no_more() {
        let arena = arena();
        let before = arena.allocate(512, Kind::Device, ONE).expect("room");
        arena.count_peer(1, 0, true);
        arena.count_peer(1, 0, true);
        let after = arena.allocate(512, Kind::Device, ONE).expect("room");
        assert_eq!((granule_of(&arena, 1, before), granule_of(&arena, 1, after)), (1, 1));
        arena.count_peer(1, 0, false);
        assert_eq!(granule_of(&arena, 1, before), 1);
        arena.count_peer(1, 0, false);
        assert_eq!((granule_of(&arena, 1, before), granule_of(&arena, 0, before)), (0, 1));
    }

    #[test]
    fn memory_of_a_pool_when_others_get_access_then_they_alone_reach_it() {
        let arena = arena();
        let at = arena.allocate(512, Kind::Pool(7), ONE).expect("room");
        arena.count_peer(1, 0, true);
        assert_eq!(granule_of(&arena, 1, at), 0);
        arena.set_pool_peers(7, bit(1));
        assert_eq!((granule_of(&arena, 1, at), granule_of(&arena, 0, at)), (1, 1));
        let host = arena.allocate(512, Kind::Host(0), ONE).expect("room");
        assert_eq!((granule_of(&arena, 1, host), granule_of(&arena, 0, host)), (1, 1));
    }

    #[test]
    fn allocate_when_size_absurd_then_out_of_memory() {
        assert_eq!(arena().allocate(u64::MAX - 5, Kind::Host(0), ONE), Err(Status::OUT_OF_MEMORY));
    }

    #[test]
    fn free_when_twice_or_inside_then_refused() {
        let arena = arena();
        let at = arena.allocate(4096, Kind::Device, ONE).expect("room");
        assert!(arena.free(at + 512, |_| true).is_err());
        arena.free(at, |_| true).expect("live");
        assert!(arena.free(at, |_| true).is_err());
    }

    #[test]
    fn find_when_last_byte_then_found_and_one_more_then_not() {
        let arena = arena();
        let at = arena.allocate(100, Kind::Device, ONE).expect("room");
        assert_eq!(arena.find(at + 99).expect("inside").base, at);
        assert!(arena.find(at + 100).is_none());
    }

    #[test]
    fn free_when_large_then_memory_reads_as_zero_again() {
        let arena = arena();
        let at = arena.allocate(1 << 20, Kind::Device, ONE).expect("room");
        // SAFETY: allocated just now.
        unsafe { std::ptr::write_bytes(at as *mut u8, 0xff, 1 << 20) };
        arena.free(at, |_| true).expect("live");
        // SAFETY: the arena stays mapped.
        assert_eq!(unsafe { *((at + 8192) as *const u8) }, 0);
    }
}
