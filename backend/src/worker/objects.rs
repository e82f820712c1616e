//! The tables of objects: which of the library's objects each of the guest's numbers stands for.
//!
//! The guest makes the numbers. One that names no live object of the right kind and generation is refused before anything is
//! done; one whose making failed answers with the status of that failure. Objects end with what they live in: functions with
//! their module, modules with their context.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use wire::Malformed;
use wire::handle::{Handle, MAX_INDEX};

/// A kind of handle, as the spec declares it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Number in a handle.
    pub number: u8,
    /// Name of the C type.
    pub name: &'static str,
    /// Status for what is no handle of this kind.
    pub error: i32,
    /// Largest number that is no handle and goes to the library as it is.
    pub plain_up_to: Option<u64>,
    /// Ends with the context in which it was made.
    pub in_context: bool,
}

/// How far an index may lie past the table's end: the guest hands them out in order, its threads post them nearly so.
const MAX_GAP: usize = 4096;

#[derive(Clone, Copy)]
enum State {
    Empty,
    Live(usize),
    /// Making it failed.
    Failed(i32),
}

#[derive(Clone, Copy)]
struct Entry {
    generation: u16,
    state: State,
    /// What it ends with.
    owners: Owners,
}

/// The objects that an object ends with; null for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// A context, for kinds that live in one.
    pub context: Handle,
    /// The object that it was taken from: a function's module, say.
    pub parent: Handle,
}

const EMPTY: Entry =
    Entry { generation: 0, state: State::Empty, owners: Owners { context: Handle::NULL, parent: Handle::NULL } };

/// Objects that a thread remembers, of all kinds together.
const RECENT: usize = 64;

thread_local! {
    /// By index and kind: a handle, [`Objects::ends`] when it was looked up, and the library's object.
    static FOUND: [Cell<(Handle, u64, usize)>; RECENT] = const { [const { Cell::new((Handle::NULL, 0, 0)) }; RECENT] };
}

/// All tables of a session.
pub struct Objects {
    tables: Vec<RwLock<Vec<Entry>>>,
    /// Kinds whose objects hold others.
    holders: &'static [Kind],
    /// Counts numbers that ended: what was looked up before is void then.
    ends: AtomicU64,
}

impl Objects {
    /// Empty tables for the kinds up to number `last`, of which `holders` hold others.
    pub fn new(last: u8, holders: &'static [Kind]) -> Objects {
        /// Each begins to count elsewhere, so that no two agree: tests have several.
        static BEGIN: AtomicU64 = AtomicU64::new(0);
        let ends = AtomicU64::new(BEGIN.fetch_add(1 << 32, Ordering::Relaxed));
        Objects { tables: (0..=last).map(|_| RwLock::default()).collect(), holders, ends }
    }

    fn table(&self, kind: u8) -> Option<&RwLock<Vec<Entry>>> {
        self.tables.get(usize::from(kind))
    }

    /// The library's object. Each thread remembers the last ones that it looked up.
    ///
    /// # Errors
    /// The kind's status for a number that is no live handle of the kind, or the status with which its making failed.
    #[inline]
    pub fn get(&self, kind: Kind, handle: Handle) -> Result<*mut c_void, i32> {
        if handle.kind() != Some(kind.number) {
            return self.with(kind, handle, |object| object);
        }
        // Before the look: what ends after it makes the memory void.
        let ends = self.ends();
        FOUND.with(|found| {
            let place = &found[(handle.index() as usize + usize::from(kind.number) * 7) % RECENT];
            let (of, at, object) = place.get();
            if of == handle && at == ends {
                return Ok(std::ptr::with_exposed_provenance_mut(object));
            }
            let object = self.with(kind, handle, |object| object)?;
            place.set((handle, ends, object.addr()));
            Ok(object)
        })
    }

    /// Does something with the library's object while its number cannot end; see [`Objects::get`].
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn with<T>(&self, kind: Kind, handle: Handle, does: impl FnOnce(*mut c_void) -> T) -> Result<T, i32> {
        if kind.plain_up_to.is_some_and(|most| handle.0 <= most) {
            return Ok(does(std::ptr::without_provenance_mut(handle.0 as usize)));
        }
        if handle.kind() != Some(kind.number) {
            return Err(kind.error);
        }
        let table = self.table(kind.number).ok_or(kind.error)?.read().unwrap_or_else(PoisonError::into_inner);
        let entry = table.get(handle.index() as usize).ok_or(kind.error)?;
        match entry.state {
            State::Live(object) if entry.generation == handle.generation() => {
                Ok(does(std::ptr::with_exposed_provenance_mut(object)))
            }
            State::Failed(status) if entry.generation == handle.generation() => Err(status),
            _ => Err(kind.error),
        }
    }

    /// Changes when any number ends: until then what [`Objects::get`] answered holds.
    #[inline]
    pub fn ends(&self) -> u64 {
        // Acquire: pairs with the release where a number ends.
        self.ends.load(Ordering::Acquire)
    }

    /// The number of an object that lives; null for none. Looks at the whole table.
    pub fn handle_of(&self, kind: Kind, object: *mut c_void) -> Handle {
        let Some(table) = self.table(kind.number) else { return Handle::NULL };
        let table = table.read().unwrap_or_else(PoisonError::into_inner);
        let is_it = |entry: &Entry| matches!(entry.state, State::Live(address) if address == object.addr());
        let found = (0u32..).zip(table.iter()).find(|(_, entry)| is_it(entry));
        found.map_or(Handle::NULL, |(index, entry)| Handle::new(kind.number, entry.generation, index))
    }

    /// A number that the guest has just made names nothing yet.
    ///
    /// # Errors
    /// [`Malformed`] for another kind, an index out of bounds, or one that is in use: no guest library sends those.
    pub fn vacant(&self, kind: Kind, handle: Handle) -> Result<(), Malformed> {
        let index = handle.index() as usize;
        if handle.kind() != Some(kind.number) || handle.index() >= MAX_INDEX {
            return Err(Malformed::new("a new handle of a wrong kind"));
        }
        let table = self.table(kind.number).ok_or(Malformed::new("a kind that is none"))?;
        let table = table.read().unwrap_or_else(PoisonError::into_inner);
        if index >= table.len() + MAX_GAP {
            return Err(Malformed::new("a new handle far from all others"));
        }
        match table.get(index).map(|entry| entry.state) {
            Some(State::Live(_)) => Err(Malformed::new("a new handle that is in use")),
            _ => Ok(()),
        }
    }

    /// The number stands for an object from now on, or for the status with which its making failed.
    ///
    /// # Errors
    /// As [`Objects::vacant`]: two threads of a hostile guest can race to make the same number.
    pub fn insert(
        &self,
        kind: Kind,
        handle: Handle,
        owners: Owners,
        made: Result<*mut c_void, i32>,
    ) -> Result<(), Malformed> {
        self.vacant(kind, handle)?;
        let table = self.table(kind.number).ok_or(Malformed::new("a kind that is none"))?;
        let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
        let index = handle.index() as usize;
        if index >= table.len() {
            table.resize(index + 1, EMPTY);
        }
        let state = match made {
            Ok(object) => State::Live(object.expose_provenance()),
            Err(status) => State::Failed(status),
        };
        if let Some(entry) = table.get_mut(index) {
            *entry = Entry { generation: handle.generation(), state, owners };
        }
        Ok(())
    }

    /// Ends a number and all that live in its object. Returns those that ended.
    pub fn remove(&self, kind: Kind, handle: Handle) -> Vec<Handle> {
        let mut ended = Vec::new();
        if handle.kind() == Some(kind.number) && self.clear(handle) {
            ended.push(handle);
        }
        if self.holders.iter().any(|holder| holder.number == kind.number) {
            self.remove_owned(&mut ended, 0);
        }
        ended
    }

    /// Ends all that live in an object, which itself stays. Returns those that ended.
    pub fn remove_children(&self, handle: Handle) -> Vec<Handle> {
        let mut ended = vec![handle];
        self.remove_owned(&mut ended, 0);
        ended.remove(0);
        ended
    }

    fn clear(&self, handle: Handle) -> bool {
        let Some(table) = handle.kind().and_then(|kind| self.table(kind)) else { return false };
        let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
        match table.get_mut(handle.index() as usize) {
            Some(entry) if entry.generation == handle.generation() && !matches!(entry.state, State::Empty) => {
                *entry = EMPTY;
                self.ends.fetch_add(1, Ordering::Release);
                true
            }
            _ => false,
        }
    }

    /// Ends what lives in `ended[from..]`, and in those, until nothing more does.
    fn remove_owned(&self, ended: &mut Vec<Handle>, mut from: usize) {
        while from < ended.len() {
            let owners: std::collections::HashSet<Handle> = ended.split_off(from).into_iter().collect();
            ended.extend(owners.iter().copied());
            from = ended.len();
            for (kind, table) in (0u8..).zip(&self.tables) {
                let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
                for (index, entry) in (0u32..).zip(table.iter_mut()) {
                    let Owners { context, parent } = entry.owners;
                    let ends = |with: Handle| !with.is_null() && owners.contains(&with);
                    if ends(context) || ends(parent) {
                        ended.push(Handle::new(kind, entry.generation, index));
                        *entry = EMPTY;
                        self.ends.fetch_add(1, Ordering::Release);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cuda::{HOLDERS, MAX_KIND, kind};
    use super::*;

    fn object(number: usize) -> *mut c_void {
        std::ptr::without_provenance_mut(number)
    }

    fn in_context(context: Handle) -> Owners {
        Owners { context, parent: Handle::NULL }
    }

    fn number(kind: Kind, index: u32) -> Handle {
        Handle::new(kind.number, 1, index)
    }

    #[test]
    fn get_when_the_number_is_not_a_live_one_then_is_the_kinds_error() {
        let objects = Objects::new(MAX_KIND, HOLDERS);
        let event = number(kind::CUevent, 3);
        objects.insert(kind::CUevent, event, Owners::default(), Ok(object(0x1000))).expect("vacant");
        assert_eq!(objects.get(kind::CUevent, event).map(|o| o as usize), Ok(0x1000));
        let wrong = [
            Handle::NULL,
            Handle(u64::MAX),
            number(kind::CUevent, 4),
            number(kind::CUevent, MAX_INDEX - 1),
            Handle::new(kind::CUevent.number, 2, 3),
            number(kind::CUmodule, 3),
        ];
        for handle in wrong {
            assert_eq!(objects.get(kind::CUevent, handle), Err(kind::CUevent.error), "{handle:?}");
        }
        assert_eq!(objects.get(kind::CUstream, Handle(1)).map(|o| o as usize), Ok(1), "the legacy stream");
        assert!(objects.get(kind::CUstream, Handle(2)).is_err());
    }

    #[test]
    fn get_when_making_failed_then_is_that_status() {
        let objects = Objects::new(MAX_KIND, HOLDERS);
        let stream = number(kind::CUstream, 0);
        objects.insert(kind::CUstream, stream, Owners::default(), Err(2)).expect("vacant");
        assert_eq!(objects.get(kind::CUstream, stream), Err(2));
    }

    #[test]
    fn vacant_when_in_use_far_away_or_of_another_kind_then_is_malformed() {
        let objects = Objects::new(MAX_KIND, HOLDERS);
        objects.insert(kind::CUevent, number(kind::CUevent, 0), Owners::default(), Ok(object(16))).expect("vacant");
        assert!(objects.vacant(kind::CUevent, number(kind::CUevent, 0)).is_err());
        assert!(objects.vacant(kind::CUevent, Handle::new(kind::CUevent.number, 2, 0)).is_err());
        assert!(objects.vacant(kind::CUevent, number(kind::CUevent, MAX_INDEX - 1)).is_err());
        assert!(objects.vacant(kind::CUevent, number(kind::CUstream, 1)).is_err());
        assert!(objects.vacant(kind::CUevent, Handle(7)).is_err());
    }

    #[test]
    fn remove_when_a_context_ends_then_modules_and_their_functions_end_with_it() {
        let objects = Objects::new(MAX_KIND, HOLDERS);
        let (context, module) = (number(kind::CUcontext, 0), number(kind::CUmodule, 0));
        let (function, other) = (number(kind::CUfunction, 0), number(kind::CUfunction, 1));
        objects.insert(kind::CUcontext, context, Owners::default(), Ok(object(16))).expect("vacant");
        objects.insert(kind::CUmodule, module, in_context(context), Ok(object(32))).expect("vacant");
        objects
            .insert(kind::CUfunction, function, Owners { context: Handle::NULL, parent: module }, Ok(object(48)))
            .expect("vacant");
        objects.insert(kind::CUfunction, other, Owners::default(), Ok(object(64))).expect("vacant");
        let before = objects.ends();
        let mut ended = objects.remove(kind::CUcontext, context);
        ended.sort_by_key(|handle| handle.0);
        assert_ne!(objects.ends(), before, "who remembers the function must look again");
        assert_eq!(ended, [context, module, function]);
        assert!(objects.get(kind::CUfunction, function).is_err());
        assert!(objects.get(kind::CUfunction, other).is_ok());
    }

    #[test]
    fn remove_when_a_context_ends_then_functions_of_kernels_end_and_kernels_stay() {
        let objects = Objects::new(MAX_KIND, HOLDERS);
        let (context, kernel) = (number(kind::CUcontext, 0), number(kind::CUkernel, 0));
        let function = number(kind::CUfunction, 0);
        objects.insert(kind::CUcontext, context, Owners::default(), Ok(object(16))).expect("vacant");
        objects.insert(kind::CUkernel, kernel, Owners::default(), Ok(object(32))).expect("vacant");
        objects.insert(kind::CUfunction, function, Owners { context, parent: kernel }, Ok(object(48))).expect("vacant");
        assert_eq!(objects.remove(kind::CUcontext, context), [context, function]);
        assert!(objects.get(kind::CUkernel, kernel).is_ok());
    }

    #[test]
    fn remove_children_when_a_context_is_reset_then_it_stays() {
        let objects = Objects::new(MAX_KIND, HOLDERS);
        let (context, module) = (number(kind::CUcontext, 0), number(kind::CUmodule, 0));
        objects.insert(kind::CUcontext, context, Owners::default(), Ok(object(16))).expect("vacant");
        objects.insert(kind::CUmodule, module, in_context(context), Ok(object(32))).expect("vacant");
        assert_eq!(objects.remove_children(context), [module]);
        assert!(objects.get(kind::CUcontext, context).is_ok());
    }
}
