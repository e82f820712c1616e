//! Device memory that OpenCL's calls do not tell: contexts, queues and code, on a GPU whose driver tells how much this
//! process holds ([`Figure`]). Counted where there is a limit.
//!
//! A library may take an object's memory only when it is used, so how much the rest takes is known where there are no
//! objects, and else at least: it is the figure less the objects' bytes, the most that was seen. It is looked at when a
//! context, a queue or an object of memory is made; code that was loaded meanwhile counts from then on.

use std::sync::Mutex;

use super::{OpenCl, lock};
use crate::worker::nvml::Figure;

/// What counts beside the objects.
#[derive(Default)]
pub struct Unseen {
    /// `None` where nothing is counted.
    figure: Option<Figure>,
    /// In the figure before the session.
    ahead: u64,
    counted: Mutex<u64>,
}

impl Unseen {
    /// By that figure, which now has what was made ahead of the session.
    pub fn by(figure: Option<Figure>) -> Unseen {
        let ahead = figure.as_ref().and_then(Figure::bytes).unwrap_or(0);
        Unseen { figure, ahead, counted: Mutex::default() }
    }
}

/// Bytes beside the objects, of which `counted` were known.
fn beside(figure: u64, objects: u64, counted: u64) -> u64 {
    let least = figure.saturating_sub(objects);
    if objects == 0 { least } else { least.max(counted) }
}

impl OpenCl {
    /// Asks the driver. False where a limit is passed: it is counted all the same, as it is there.
    pub(super) fn look(&self) -> bool {
        let Some(account) = self.session.account().filter(|account| account.limit().is_some()) else { return true };
        if let Some(bytes) = self.unseen.figure.as_ref().and_then(Figure::bytes) {
            let objects = lock(&self.memory).sum();
            let mut counted = lock(&self.unseen.counted);
            let now = beside(bytes.saturating_sub(self.unseen.ahead), objects, *counted);
            if now > *counted {
                account.take(now - *counted);
            } else {
                account.refund(*counted - now);
            }
            *counted = now;
        }
        account.charge(0)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::generated::Library;
    use super::super::load::Found;
    use super::*;
    use crate::ledger::{Account, Ledger, Limits};
    use crate::worker::played;

    const MIB: u64 = 1 << 20;
    static HELD: AtomicU64 = AtomicU64::new(0);
    static ENDED: AtomicU64 = AtomicU64::new(0);

    unsafe extern "C" fn figure(_: *mut c_void, count: *mut u32, list: *mut c_void) -> i32 {
        // SAFETY: the caller's list has room for one entry: the process's number, its bytes, and two numbers.
        unsafe { list.cast::<[u64; 3]>().write([u64::from(std::process::id()), HELD.load(Ordering::Relaxed), 0]) };
        // SAFETY: the caller's variable.
        unsafe { count.write(1) };
        0
    }

    unsafe extern "C" fn end(_: *mut c_void) -> i32 {
        ENDED.fetch_add(1, Ordering::Relaxed);
        0
    }

    #[test]
    fn context_when_it_passes_the_limit_then_is_ended_and_nothing_more_is_made() {
        let ledger = Arc::new(Ledger::new(Limits { guest: Some(100 * MIB), ..Limits::default() }).expect("a ledger"));
        let row = ledger.take(7).expect("a row");
        let account = Account::new(row.file().expect("a file"), row.number()).expect("an account");
        let session = Arc::try_unwrap(played::session()).expect("nobody else has it").counted(account);
        HELD.store(10 * MIB, Ordering::Relaxed);
        // SAFETY: nothing is found.
        let library = unsafe { Library::find(|_| None) };
        let found = Found { platform: 1, devices: vec![2] };
        let opencl = OpenCl::new(library, found, Arc::new(session)).measured(Some(Figure::new(figure, vec![1])));
        let mut made = std::ptr::without_provenance_mut(0x1000);
        HELD.store(70 * MIB, Ordering::Relaxed);
        assert!(opencl.keep_or_end(&mut made, end).is_ok() && ENDED.load(Ordering::Relaxed) == 0);
        assert_eq!(ledger.used(), 60 * MIB, "without what was there before the session");
        assert!(opencl.began(0x2000, 30 * MIB));
        HELD.store(130 * MIB, Ordering::Relaxed);
        assert!(opencl.keep_or_end(&mut made, end).is_err() && made.is_null());
        assert_eq!(ENDED.load(Ordering::Relaxed), 1);
        assert!(!opencl.began(0x3000, 1));
        HELD.store(40 * MIB, Ordering::Relaxed);
        opencl.memory_ended(0x2000);
        assert!(opencl.look());
        assert_eq!(ledger.used(), 30 * MIB);
    }

    #[test]
    fn beside_when_objects_have_no_memory_yet_then_is_what_was_seen_before() {
        assert_eq!(beside(500, 0, 0), 500, "a context");
        assert_eq!(beside(500, 300, 500), 500, "a buffer that was not used");
        assert_eq!(beside(900, 300, 500), 600, "used, and a queue came");
        assert_eq!(beside(400, 300, 600), 600);
        assert_eq!(beside(20, 0, 600), 20, "all objects are gone");
    }
}
