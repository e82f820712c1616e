//! Handles: the numbers a program holds for the objects of this library.
//!
//! A handle is never an address. It names a slot of its kind's [`Table`] together with the slot's generation, so a handle
//! that is stale, of another kind or simply wild is recognised and refused. It looks like an aligned user-space address
//! (bit 46 set, low four bits clear) because some runtimes keep flags of their own in the low bits.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::status::{Answer, Status};

const INDEX_BITS: u32 = 22;
const GENERATION_BITS: u32 = 12;
const INDEX_AT: u32 = 4;
const GENERATION_AT: u32 = INDEX_AT + INDEX_BITS;
const KIND_AT: u32 = GENERATION_AT + GENERATION_BITS;
const MARK: u64 = 1 << 46;

/// Free slots are used again only when this many wait, so that a stale handle is told from a new one for longer.
const FREE_BEFORE_REUSE: usize = 256;

/// Something that programs hold handles of.
pub trait Object: Send + Sync + Sized + 'static {
    /// A number of its own, below 64.
    const KIND: u64;

    /// What a bad handle of this kind is answered.
    const REFUSAL: Status = Status::INVALID_HANDLE;

    /// What the handle of an object that was destroyed is answered.
    const STALE: Status = Self::REFUSAL;

    /// The one table of this kind.
    fn table() -> &'static Table<Self>;
}

/// Gives a type its kind and table.
macro_rules! object {
    ($type:ty, $kind:literal $(, $refusal:ident)? $(; stale $stale:ident)?) => {
        impl $crate::handle::Object for $type {
            const KIND: u64 = $kind;
            $( const REFUSAL: $crate::status::Status = $crate::status::Status::$refusal; )?
            $( const STALE: $crate::status::Status = $crate::status::Status::$stale; )?
            fn table() -> &'static $crate::handle::Table<Self> {
                static TABLE: $crate::handle::Table<$type> = $crate::handle::Table::new();
                &TABLE
            }
        }
    };
}
pub(crate) use object;

/// A handle as the program gave it; C sees a pointer or a 64-bit number.
#[repr(transparent)]
pub struct Handle<T>(pub u64, PhantomData<fn() -> T>);

impl<T> Handle<T> {
    /// The null handle.
    pub const NULL: Self = Handle(0, PhantomData);

    /// Whatever number a program gave.
    pub const fn from_raw(raw: u64) -> Self {
        Handle(raw, PhantomData)
    }

    /// Whether this is the null handle.
    pub fn is_null(self) -> bool {
        self.0 == 0
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}
impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Handle<T> {}
impl<T> Default for Handle<T> {
    fn default() -> Self {
        Self::NULL
    }
}
impl<T> std::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl<T: Object> Handle<T> {
    /// The live object, or the kind's refusal.
    pub fn get(self) -> Answer<Arc<T>> {
        T::table().get(self).ok_or_else(|| T::table().refusal(self))
    }

    /// Takes the object out of its table; the handle is stale from then on.
    pub fn take(self) -> Answer<Arc<T>> {
        T::table().remove(self).ok_or_else(|| T::table().refusal(self))
    }
}

struct Slot<T> {
    generation: u64,
    object: Option<Arc<T>>,
}

struct Slots<T> {
    all: Vec<Slot<T>>,
    free: VecDeque<usize>,
}

/// The live objects of one kind.
pub struct Table<T> {
    slots: RwLock<Slots<T>>,
    removed: AtomicU64,
}

impl<T: Object> Table<T> {
    /// An empty table.
    pub const fn new() -> Self {
        Table { slots: RwLock::new(Slots { all: Vec::new(), free: VecDeque::new() }), removed: AtomicU64::new(0) }
    }

    /// Puts in the object that `make` builds, which is told its own handle.
    pub fn insert(&self, make: impl FnOnce(Handle<T>) -> T) -> Answer<(Handle<T>, Arc<T>)> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let index = if slots.free.len() > FREE_BEFORE_REUSE { slots.free.pop_front() } else { None };
        let index = match index {
            Some(index) => index,
            None if slots.all.len() < 1 << INDEX_BITS => {
                slots.all.push(Slot { generation: 1, object: None });
                slots.all.len() - 1
            }
            None => slots.free.pop_front().ok_or(Status::OUT_OF_MEMORY)?,
        };
        let slot = slots.all.get_mut(index).ok_or(Status::UNKNOWN)?;
        let handle = encode(index, slot.generation);
        let object = Arc::new(make(handle));
        slot.object = Some(object.clone());
        Ok((handle, object))
    }

    /// The live object of this handle.
    pub fn get(&self, handle: Handle<T>) -> Option<Arc<T>> {
        let (index, generation) = decode(handle)?;
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.all.get(index)?;
        if slot.generation == generation { slot.object.clone() } else { None }
    }

    /// What a handle of no object is answered: one that was an object's, or none ever.
    fn refusal(&self, handle: Handle<T>) -> Status {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let slot = decode(handle).and_then(|(index, generation)| Some((slots.all.get(index)?, generation)));
        match slot {
            Some((slot, generation)) if (1..slot.generation).contains(&generation) => T::STALE,
            _ => T::REFUSAL,
        }
    }

    fn remove(&self, handle: Handle<T>) -> Option<Arc<T>> {
        let (index, generation) = decode(handle)?;
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.all.get_mut(index)?;
        if slot.generation != generation {
            return None;
        }
        let object = slot.object.take()?;
        self.removed.fetch_add(1, Ordering::Release);
        slot.generation = (slot.generation + 1) & ((1 << GENERATION_BITS) - 1);
        slots.free.push_back(index);
        Some(object)
    }

    /// How many objects have been taken out: while it stays, what was found is still there.
    pub fn removed(&self) -> u64 {
        self.removed.load(Ordering::Acquire)
    }

    /// Every live object; for teardown and enumeration.
    pub fn all(&self) -> Vec<(Handle<T>, Arc<T>)> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let live = |(index, slot): (usize, &Slot<T>)| Some((encode(index, slot.generation), slot.object.clone()?));
        slots.all.iter().enumerate().filter_map(live).collect()
    }
}

impl<T: Object> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

fn encode<T: Object>(index: usize, generation: u64) -> Handle<T> {
    Handle::from_raw(MARK | T::KIND << KIND_AT | generation << GENERATION_AT | (index as u64) << INDEX_AT)
}

fn decode<T: Object>(handle: Handle<T>) -> Option<(usize, u64)> {
    let raw = handle.0;
    let index = (raw >> INDEX_AT) & ((1 << INDEX_BITS) - 1);
    let generation = (raw >> GENERATION_AT) & ((1 << GENERATION_BITS) - 1);
    let index = usize::try_from(index).ok()?;
    (encode::<T>(index, generation) == handle).then_some((index, generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Apple(u32);
    struct Pear;
    object!(Apple, 60);
    object!(Pear, 61);

    #[test]
    fn get_when_live_then_object() {
        let (handle, _) = Apple::table().insert(|_| Apple(7)).expect("room");
        assert_eq!(handle.get().expect("live").0, 7);
    }

    #[test]
    fn get_when_taken_then_refused_even_after_reuse() {
        let (old, _) = Apple::table().insert(|_| Apple(1)).expect("room");
        old.take().expect("live");
        for _ in 0..2 * FREE_BEFORE_REUSE {
            let (next, _) = Apple::table().insert(|_| Apple(2)).expect("room");
            next.take().expect("live");
        }
        assert_eq!(old.get().err(), Some(Status::INVALID_HANDLE));
        assert_eq!(old.take().err(), Some(Status::INVALID_HANDLE));
    }

    #[test]
    fn get_when_other_kind_or_wild_then_refused() {
        let (pear, _) = Pear::table().insert(|_| Pear).expect("room");
        assert!(Handle::<Apple>::from_raw(pear.0).get().is_err());
        assert!(Handle::<Apple>::from_raw(0xdead_beef).get().is_err());
        assert!(Handle::<Apple>::from_raw(u64::MAX).get().is_err());
        assert!(Handle::<Apple>::NULL.get().is_err());
    }
}
