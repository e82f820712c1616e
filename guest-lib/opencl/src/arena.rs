//! Objects: a pointer that the program holds is the address of a cell in the arena of its kind, and is looked up there before
//! anything is read through it. A cell begins with the dispatch table's address, as the loader wants it.
//!
//! The program's references are counted in the cell; this library's own are `Arc`s. An object is valid as long as either lasts,
//! and when both have ended the host is told. Cells are never given back, and rest before they are used again, so that an old
//! pointer is found out for a while.

use crate::caller::Caller;
use crate::cl_int;
use crate::dispatch::Table;
use crate::generated::Kind;
use crate::status::CL_OUT_OF_HOST_MEMORY;
use crate::user::Raw;
use core::mem::size_of;
use core::ops::Deref;
use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use wire::handle::{Handle, MAX_INDEX};

/// Cells that wait before one is used again.
const REST: usize = 64;

/// A kind of object.
pub trait Object: Send + Sync + Sized + 'static {
    /// Its kind on the wire, and the status for what is none of them.
    const KIND: Kind;

    /// Where such objects are.
    fn arena() -> &'static Arena<Self>;

    /// The last reference is gone: tells the host.
    fn release(this: &Live<Self>, caller: &Caller);
}

/// An object that lives.
pub struct Live<T: Object> {
    /// Its number at the host.
    pub handle: Handle,
    index: u32,
    body: T,
}

/// A reference of this library's own.
pub type Ref<T> = Arc<Live<T>>;

impl<T: Object> Live<T> {
    /// The pointer that the program holds.
    pub fn raw(&self) -> Raw {
        T::arena().address(self.index)
    }
}

impl<T: Object> Deref for Live<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.body
    }
}

impl<T: Object> Drop for Live<T> {
    fn drop(&mut self) {
        if let Ok(caller) = crate::caller::enter() {
            T::release(self, &caller);
        }
        T::arena().give_back(self.index);
    }
}

struct State<T: Object> {
    /// The program's references.
    users: u32,
    strong: Option<Ref<T>>,
    weak: Weak<Live<T>>,
    generation: u16,
}

#[repr(C, align(64))]
struct Cell<T: Object> {
    dispatch: &'static Table,
    state: Mutex<State<T>>,
}

struct Free {
    next: u32,
    resting: VecDeque<u32>,
}

/// All objects of a kind.
pub struct Arena<T: Object> {
    /// Address of the first cell; addresses are set aside for all of them at once, and take no memory before they are used.
    base: OnceLock<usize>,
    /// Cells that have been made, counted when they are.
    made: AtomicU32,
    free: Mutex<Free>,
    kind: core::marker::PhantomData<fn() -> T>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cell that an object is being made for. Dropped, it is free again.
pub struct Vacant<T: Object> {
    /// The object's number at the host.
    pub handle: Handle,
    index: Option<u32>,
    kind: core::marker::PhantomData<T>,
}

impl<T: Object> Vacant<T> {
    /// The object exists, with one reference of the program's.
    pub fn fill(mut self, body: T) -> Ref<T> {
        let index = self.index.take().unwrap_or_default();
        let made = Arc::new(Live { handle: self.handle, index, body });
        if let Some(cell) = T::arena().cell(index) {
            let mut state = lock(&cell.state);
            state.users = 1;
            state.weak = Arc::downgrade(&made);
            state.strong = Some(Arc::clone(&made));
        }
        made
    }

    /// The object exists for this library alone.
    pub fn fill_unseen(self, body: T) -> Ref<T> {
        let made = self.fill(body);
        // Never the last reference: that is `made`.
        let _ = T::arena().drop_user(made.index);
        made
    }
}

impl<T: Object> Drop for Vacant<T> {
    fn drop(&mut self) {
        if let Some(index) = self.index {
            T::arena().give_back(index);
        }
    }
}

impl<T: Object> Default for Arena<T> {
    fn default() -> Arena<T> {
        Arena::new()
    }
}

impl<T: Object> Arena<T> {
    /// An empty arena.
    #[must_use]
    pub const fn new() -> Arena<T> {
        let free = Mutex::new(Free { next: 0, resting: VecDeque::new() });
        Arena { base: OnceLock::new(), made: AtomicU32::new(0), free, kind: core::marker::PhantomData }
    }

    fn base(&self) -> Option<usize> {
        let base = *self.base.get_or_init(|| {
            let bytes = MAX_INDEX as usize * size_of::<Cell<T>>();
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: a fresh mapping; the result is checked.
            let at =
                unsafe { libc::mmap(core::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
            if at == libc::MAP_FAILED { 0 } else { at as usize }
        });
        (base != 0).then_some(base)
    }

    fn address(&self, index: u32) -> Raw {
        (self.base().unwrap_or_default() + index as usize * size_of::<Cell<T>>()) as Raw
    }

    fn cell(&self, index: u32) -> Option<&'static Cell<T>> {
        // Acquire: pairs with the release in `vacant`, which made the cell.
        if index >= self.made.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: the cell was made before it was counted, and is never unmade.
        unsafe { self.address(index).cast::<Cell<T>>().as_ref() }
    }

    /// Takes a cell for a new object.
    ///
    /// # Errors
    /// `CL_OUT_OF_HOST_MEMORY` where there are 2²⁰ objects already.
    pub fn vacant(&'static self, table: &'static Table) -> Result<Vacant<T>, cl_int> {
        let mut free = lock(&self.free);
        let index = if free.resting.len() > REST || free.next == MAX_INDEX {
            free.resting.pop_front().ok_or(CL_OUT_OF_HOST_MEMORY)?
        } else {
            self.base().ok_or(CL_OUT_OF_HOST_MEMORY)?;
            let index = free.next;
            free.next += 1;
            let state = State { users: 0, strong: None, weak: Weak::new(), generation: 0 };
            // SAFETY: within the mapping, aligned, and not yet seen by anyone.
            unsafe { self.address(index).cast::<Cell<T>>().write(Cell { dispatch: table, state: Mutex::new(state) }) };
            self.made.store(free.next, Ordering::Release);
            index
        };
        drop(free);
        let cell = self.cell(index).ok_or(CL_OUT_OF_HOST_MEMORY)?;
        debug_assert!(core::ptr::eq(cell.dispatch, table));
        let mut state = lock(&cell.state);
        state.generation = state.generation.wrapping_add(1).max(1);
        let handle = Handle::new(T::KIND.number, state.generation, index);
        Ok(Vacant { handle, index: Some(index), kind: core::marker::PhantomData })
    }

    fn give_back(&self, index: u32) {
        if let Some(cell) = self.cell(index) {
            lock(&cell.state).weak = Weak::new();
        }
        lock(&self.free).resting.push_back(index);
    }

    fn index_of(&self, raw: Raw) -> Option<u32> {
        let offset = (raw as usize).checked_sub(*self.base.get()?)?;
        let index = u32::try_from(offset / size_of::<Cell<T>>()).ok()?;
        offset.is_multiple_of(size_of::<Cell<T>>()).then_some(index)
    }

    /// The object that a pointer stands for.
    pub fn find(&self, raw: Raw) -> Option<Ref<T>> {
        let cell = self.cell(self.index_of(raw)?)?;
        let state = lock(&cell.state);
        state.strong.clone().or_else(|| state.weak.upgrade())
    }

    /// The program takes a reference.
    fn add_user(&self, raw: Raw) -> Option<()> {
        let cell = self.cell(self.index_of(raw)?)?;
        let mut state = lock(&cell.state);
        let object = state.strong.clone().or_else(|| state.weak.upgrade())?;
        state.strong = Some(object);
        state.users += 1;
        Some(())
    }

    /// The program gives a reference up; the object that it was the last one of, to be dropped with no lock held.
    fn drop_user(&self, index: u32) -> Option<Option<Ref<T>>> {
        let cell = self.cell(index)?;
        let mut state = lock(&cell.state);
        state.users = state.users.checked_sub(1)?;
        Some(if state.users == 0 { state.strong.take() } else { None })
    }

    /// The program's references.
    fn users(&self, index: u32) -> u32 {
        self.cell(index).map_or(0, |cell| lock(&cell.state).users)
    }
}

/// The object that a pointer stands for.
///
/// # Errors
/// The kind's status for a pointer that is none.
pub fn get<T: Object>(raw: Raw) -> Result<Ref<T>, cl_int> {
    T::arena().find(raw).ok_or(T::KIND.error)
}

/// A cell for a new object.
///
/// # Errors
/// As [`Arena::vacant`].
pub fn vacant<T: Object>() -> Result<Vacant<T>, cl_int> {
    T::arena().vacant(&crate::dispatch::TABLE)
}

/// `clRetain…`.
///
/// # Errors
/// The kind's status for a pointer that is none.
pub fn retain<T: Object>(raw: Raw) -> Result<(), cl_int> {
    T::arena().add_user(raw).ok_or(T::KIND.error)
}

/// `clRelease…`.
///
/// # Errors
/// The kind's status for a pointer that is none, or that the program holds no more.
pub fn release<T: Object>(raw: Raw) -> Result<(), cl_int> {
    let arena = T::arena();
    let index = arena.index_of(raw).ok_or(T::KIND.error)?;
    let last = arena.drop_user(index).ok_or(T::KIND.error)?;
    drop(last);
    Ok(())
}

/// `CL_…_REFERENCE_COUNT`: the program's references.
pub fn references<T: Object>(object: &Live<T>) -> u32 {
    T::arena().users(object.index).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated::kind;
    use core::sync::atomic::AtomicUsize;

    static ARENA: Arena<Thing> = Arena::new();
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    static TURN: Mutex<()> = Mutex::new(());

    struct Thing(u32);

    impl Drop for Thing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Object for Thing {
        const KIND: Kind = kind::cl_event;
        fn arena() -> &'static Arena<Thing> {
            &ARENA
        }
        fn release(_: &Live<Thing>, _: &Caller) {}
    }

    #[test]
    fn find_when_the_pointer_is_wild_or_old_then_is_none() {
        let _turn = lock(&TURN);
        let thing = vacant::<Thing>().expect("room").fill(Thing(7));
        let raw = thing.raw();
        drop(thing);
        assert_eq!(get::<Thing>(raw).map(|thing| thing.0), Ok(7));
        let wild = [0, 1, raw as usize + 8, raw as usize - 64, raw as usize + 64 * 1000, usize::MAX, 0x7fff_0000_1000];
        for wild in wild {
            assert!(get::<Thing>(wild as Raw).is_err(), "{wild:#x}");
        }
        assert_eq!(release::<Thing>(raw), Ok(()));
        assert_eq!(release::<Thing>(raw), Err(kind::cl_event.error));
        assert!(get::<Thing>(raw).is_err() && retain::<Thing>(raw).is_err());
    }

    #[test]
    fn object_when_the_library_holds_it_then_lives_on_without_the_program() {
        let _turn = lock(&TURN);
        let before = DROPS.load(Ordering::Relaxed);
        let held = vacant::<Thing>().expect("room").fill(Thing(8));
        assert_eq!((retain::<Thing>(held.raw()), references(&held)), (Ok(()), 2));
        assert_eq!((release::<Thing>(held.raw()), release::<Thing>(held.raw())), (Ok(()), Ok(())));
        assert!(get::<Thing>(held.raw()).is_ok());
        assert_eq!(retain::<Thing>(held.raw()), Ok(()), "the program may take it up again");
        assert_eq!(release::<Thing>(held.raw()), Ok(()));
        assert_eq!(DROPS.load(Ordering::Relaxed), before);
        drop(held);
        assert_eq!(DROPS.load(Ordering::Relaxed), before + 1);
    }

    #[test]
    fn vacant_when_a_cell_is_used_again_then_has_another_handle() {
        let _turn = lock(&TURN);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            assert!(seen.insert(vacant::<Thing>().expect("room").handle));
        }
    }
}
