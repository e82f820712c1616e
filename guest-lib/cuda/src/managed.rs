//! Variables of a module that program and device share (`__managed__`). Their addresses are in the code, so the worker has them
//! where its driver put them; here memory of the program's own lies at the same addresses, and the two are made equal where the
//! rules of a device without concurrent access say who may touch them (CUDA Programming Guide, Unified Memory: the program must
//! not while the device works). What the program has written goes to the device before the next work; what the device may have
//! written comes back when the program has waited.
//!
//! Only variables that the program asks the address of have memory here: it cannot reach others. While there are none, each of
//! the functions below is one load. (Memory of cuMemAllocManaged needs nothing of this: the device works in the program's pages.)

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::capture;
use crate::copy;
use crate::generated::send;
use crate::handles::{self, Handle};
use crate::ranges;
use crate::status::CUDA_ERROR_OUT_OF_MEMORY;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

const PAGE: u64 = 4096;

/// There are variables.
static ANY: AtomicBool = AtomicBool::new(false);
/// The device may have written since the program last waited for all of it.
static WORKED: AtomicBool = AtomicBool::new(false);

static VARIABLES: Mutex<Variables> = Mutex::new(Variables { all: Vec::new(), pages: BTreeSet::new() });

struct Variables {
    all: Vec<Variable>,
    /// Pages of the program's that are mapped here for them.
    pages: BTreeSet<u64>,
}

struct Variable {
    address: u64,
    /// The module or library that it ends with.
    owner: Handle,
    /// What program and device had when they were last equal.
    last: Vec<u8>,
}

impl Variable {
    /// What the program has now.
    fn is_changed(&self) -> bool {
        // SAFETY: mapped for reading by `map`, and not unmapped before the variable is forgotten, under the same lock.
        let now = unsafe { core::slice::from_raw_parts(self.address as *const u8, self.last.len()) };
        now != self.last
    }

    fn keep(&mut self) {
        // SAFETY: as in `is_changed`.
        let now = unsafe { core::slice::from_raw_parts(self.address as *const u8, self.last.len()) };
        self.last.copy_from_slice(now);
    }

    fn pages(&self) -> impl Iterator<Item = u64> + use<> {
        let (first, end) = (self.address & !(PAGE - 1), self.address + self.last.len() as u64);
        (first..end).step_by(PAGE as usize)
    }
}

fn lock() -> MutexGuard<'static, Variables> {
    VARIABLES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Variables {
    /// Forgets those whose module or library has ended.
    fn forget_ended(&mut self) {
        let before = self.all.len();
        self.all.retain(|variable| handles::is_live(variable.owner));
        if self.all.len() == before {
            return;
        }
        let used: BTreeSet<u64> = self.all.iter().flat_map(Variable::pages).collect();
        self.pages.retain(|page| {
            let keeps = used.contains(page);
            if !keeps {
                // SAFETY: mapped by `map`, and of no variable any more; a program that still looks there has a bug that it would
                // have natively.
                unsafe { libc::munmap(*page as *mut libc::c_void, PAGE as usize) };
            }
            keeps
        });
        ANY.store(!self.all.is_empty(), Ordering::Release);
    }

    /// Maps the pages of a variable that are not mapped yet. Fails where the program has something else there.
    fn map(&mut self, variable: &Variable) -> bool {
        for page in variable.pages() {
            if self.pages.contains(&page) {
                continue;
            }
            let (access, kind) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            );
            // SAFETY: a fresh mapping, where nothing is mapped or the call fails.
            let found = unsafe { libc::mmap(page as *mut libc::c_void, PAGE as usize, access, kind, -1, 0) };
            if found == libc::MAP_FAILED {
                return false;
            }
            if found as u64 != page {
                // A kernel from before MAP_FIXED_NOREPLACE.
                // SAFETY: mapped just now.
                unsafe { libc::munmap(found, PAGE as usize) };
                return false;
            }
            self.pages.insert(page);
        }
        true
    }
}

/// A managed variable whose address the program is about to learn.
///
/// # Errors
/// `CUDA_ERROR_OUT_OF_MEMORY` where the program has other memory at that address; the trouble of the copy.
pub fn adopt(caller: &Caller, address: u64, bytes: usize, owner: Handle) -> Result<(), CUresult> {
    let mut variables = lock();
    variables.forget_ended();
    if bytes == 0 || variables.all.iter().any(|variable| variable.address == address) {
        return Ok(());
    }
    let mut variable = Variable { address, owner, last: vec![0; bytes] };
    if !variables.map(&variable) {
        return Err(CUDA_ERROR_OUT_OF_MEMORY);
    }
    first_content(caller, address, bytes)?;
    variable.keep();
    variables.all.push(variable);
    ANY.store(true, Ordering::Release);
    Ok(())
}

/// Fetches what a variable was made with. A library's is there before there is a context.
fn first_content(caller: &Caller, address: u64, bytes: usize) -> Result<(), CUresult> {
    if crate::context::check_current().is_ok() {
        return copy::fetch_variable(caller, address, bytes);
    }
    let to = address as *mut u8;
    // SAFETY: mapped by `map`, for as many bytes.
    caller::answer(unsafe {
        caller::output(caller, to, bytes, |buffer, data| send::gpuferryManagedRead(caller, address, buffer, data))
    })
}

/// Before work of the device that may read or write anything: it gets what the program has written.
///
/// # Errors
/// The trouble of the copy.
#[inline]
pub fn before_work(caller: &Caller) -> Result<(), CUresult> {
    if ANY.load(Ordering::Acquire) { send_changes(caller) } else { Ok(()) }
}

#[cold]
fn send_changes(caller: &Caller) -> Result<(), CUresult> {
    WORKED.store(true, Ordering::Release);
    // What is recorded works when it is launched.
    if capture::is_any() {
        return Ok(());
    }
    let mut variables = lock();
    variables.forget_ended();
    for variable in variables.all.iter_mut().filter(|variable| variable.is_changed()) {
        variable.keep();
        copy::send_variable(caller, variable.address, variable.last.len())?;
    }
    Ok(())
}

/// After the program has waited for the device: it gets what the device has written. `for_all`: it has waited for all of it.
///
/// # Errors
/// The trouble of the copy.
#[inline]
pub fn after_wait(caller: &Caller, for_all: bool) -> Result<(), CUresult> {
    if ANY.load(Ordering::Acquire) && WORKED.load(Ordering::Acquire) { fetch(caller, for_all) } else { Ok(()) }
}

#[cold]
fn fetch(caller: &Caller, for_all: bool) -> Result<(), CUresult> {
    if capture::is_any() {
        return Ok(());
    }
    let mut variables = lock();
    variables.forget_ended();
    if for_all {
        WORKED.store(false, Ordering::Release);
    }
    // What the program has written and no work has seen yet stays.
    for variable in variables.all.iter_mut().filter(|variable| !variable.is_changed()) {
        copy::fetch_variable(caller, variable.address, variable.last.len())?;
        variable.keep();
    }
    Ok(())
}

/// Whether an address lies in a managed variable.
#[must_use]
pub fn is_variable(address: u64) -> bool {
    ranges::find(address).is_some_and(|range| range.kind == ranges::Kind::ManagedVariable)
}
