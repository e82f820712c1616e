//! Device memory that one guest's processes hold, in memory that the front shares with all of their workers.
//!
//! | offset | what | who writes |
//! |---|---|---|
//! | 0 | limit of the guest, u64, `u64::MAX` for none | the front, once |
//! | 8 | limit of one process, u64 | the front, once |
//! | 64 + 64 × row | number of the process in its guest, u32; 1 where the row is taken, u32; bytes, u64; number of its worker on the host, u32 | the front takes and clears the row, its worker writes the bytes |
//! | after the rows, at a multiple of 128, 128 × handle | state, u32 (0 free; 1 being written or 2 there, and 4 × the row of its owner); unused, u32; token, 16 bytes; the driver's handle, 64 bytes | the owner's worker; the front frees it with the row |
//!
//! The handles are those by which one process of the guest gives another its memory or events. The guest has the tokens only:
//! so none of another guest's can be named. Where the driver gives a file descriptor instead, the front keeps it under its
//! token, and gives it to the workers of the same guest that ask.
//!
//! A worker adds to its own row first and then compares the sum of all rows with the limit, so that two which allocate at the
//! same time never pass it together; at the very edge both may be refused. What does not fit anyhow is not added. The limits
//! hold a guest, whose calls they count; a worker that a guest has taken over calls the driver itself and is held by nothing
//! here. It may write all of this memory, so which rows are taken the front keeps for itself.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::mapping::{Mapping, Source};
use crate::os;

/// Rows: as many as there can be sessions.
pub const ROWS: u32 = wire::device::MAX_SESSIONS;
const HEAD_BYTES: usize = 64;
const ROW_BYTES: usize = 64;
/// Handles of all processes of a guest together.
const HANDLES: usize = 4096;
/// Descriptors of all processes of a guest together.
const MAX_KEPT: usize = 1024;
const HANDLES_AT: usize = (HEAD_BYTES + ROWS as usize * ROW_BYTES).next_multiple_of(size_of::<Shared>());
const BYTES: u64 = (HANDLES_AT + HANDLES * size_of::<Shared>()).next_multiple_of(4096) as u64;
/// Words of a token and of a driver's handle.
const TOKEN: usize = 2;
const NATIVE: usize = 8;

/// Device memory that a guest, and one of its processes, may hold; `None` for what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// All processes of the guest together.
    pub guest: Option<u64>,
    /// Each process.
    pub process: Option<u64>,
}

#[repr(C)]
struct Head {
    guest: AtomicU64,
    process: AtomicU64,
}

#[repr(C, align(64))]
struct Row {
    process: AtomicU32,
    taken: AtomicU32,
    bytes: AtomicU64,
    worker: AtomicU32,
}

/// The memory, mapped here.
#[derive(Debug)]
pub struct Ledger {
    file: OwnedFd,
    mapping: Mapping,
    /// The front's: descriptors that its workers give each other.
    kept: Mutex<Vec<Kept>>,
    /// The front's: which rows are taken.
    taken: Mutex<[bool; ROWS as usize]>,
}

/// A descriptor that stands for a process's memory.
#[derive(Debug)]
struct Kept {
    token: [u64; TOKEN],
    /// Row of the process that gave it.
    owner: u32,
    bytes: u64,
    file: OwnedFd,
}

/// A handle that the guest's processes share.
#[repr(C, align(128))]
struct Shared {
    state: AtomicU32,
    token: [AtomicU64; TOKEN],
    native: [AtomicU64; NATIVE],
}

const FREE: u32 = 0;
const WRITING: u32 = 1;
const THERE: u32 = 2;

/// A state with its owner's row: one word, so that whoever takes an entry owns it from then on.
fn owned(state: u32, row: u32) -> u32 {
    state | row << 2
}

impl Shared {
    fn is_there(&self) -> bool {
        self.state.load(Ordering::Acquire) & 3 == THERE
    }

    /// The row of its owner, where it has one.
    fn owner(&self) -> Option<u32> {
        let state = self.state.load(Ordering::Acquire);
        (state != FREE).then_some(state >> 2)
    }

    fn read<const N: usize>(words: &[AtomicU64; N]) -> [u64; N] {
        words.each_ref().map(|word| word.load(Ordering::Relaxed))
    }
}

impl Ledger {
    fn shared(&self) -> &[Shared] {
        // SAFETY: the mapping holds as many behind the rows, aligned as they are; any bytes are valid atomics.
        unsafe { std::slice::from_raw_parts(self.mapping.base().add(HANDLES_AT).cast::<Shared>(), HANDLES) }
    }

    /// A fresh one: the front's.
    ///
    /// # Errors
    /// As memfd_create(2) and mmap(2).
    pub fn new(limits: Limits) -> io::Result<Ledger> {
        let ledger = Ledger::over(os::sealed_memory(BYTES)?)?;
        // Nobody else has it yet.
        ledger.head().guest.store(limits.guest.unwrap_or(u64::MAX), Ordering::Relaxed);
        ledger.head().process.store(limits.process.unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(ledger)
    }

    /// Over memory that the front gave: a worker's.
    ///
    /// # Errors
    /// As mmap(2); `InvalidInput` where it is too small.
    pub fn over(file: OwnedFd) -> io::Result<Ledger> {
        if std::fs::File::from(file.try_clone()?).metadata()?.len() < BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mapping = Mapping::of(Source { file: file.as_fd(), offset: 0, bytes: BYTES })?;
        Ok(Ledger { file, mapping, kept: Mutex::default(), taken: Mutex::new([false; ROWS as usize]) })
    }

    /// The memory, for a worker.
    ///
    /// # Errors
    /// As dup(2).
    pub fn file(&self) -> io::Result<OwnedFd> {
        self.file.try_clone()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, [bool; ROWS as usize]> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn head(&self) -> &Head {
        // SAFETY: the mapping is on a page and longer than the head; any bytes are valid atomics.
        unsafe { &*self.mapping.base().cast::<Head>() }
    }

    fn rows(&self) -> &[Row] {
        // SAFETY: the mapping holds the head and ROWS rows, aligned as they are; any bytes are valid atomics.
        unsafe { std::slice::from_raw_parts(self.mapping.base().add(HEAD_BYTES).cast::<Row>(), ROWS as usize) }
    }

    /// A free row for a process; it is cleared when the value is dropped.
    #[must_use]
    pub fn take(self: &Arc<Ledger>, process: u32) -> Option<Taken> {
        let mut taken = self.taken();
        let (number, (is_taken, row)) =
            taken.iter_mut().zip(self.rows()).enumerate().find(|(_, (taken, _))| !**taken)?;
        *is_taken = true;
        row.process.store(process, Ordering::Relaxed);
        row.worker.store(0, Ordering::Relaxed);
        row.bytes.store(0, Ordering::Relaxed);
        // Release: pairs with the acquire of who lists the rows.
        row.taken.store(1, Ordering::Release);
        Some(Taken { ledger: Arc::clone(self), number: number as u32 })
    }

    /// Bytes that all processes of the guest hold.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.rows().iter().fold(0, |sum, row| sum.saturating_add(row.bytes.load(Ordering::SeqCst)))
    }

    /// Processes that have a session, with the bytes that they hold.
    pub fn processes(&self) -> impl Iterator<Item = (u32, u64)> {
        let taken = self.rows().iter().filter(|row| row.taken.load(Ordering::Acquire) == 1);
        taken.map(|row| (row.process.load(Ordering::Relaxed), row.bytes.load(Ordering::SeqCst)))
    }

    /// The guest's process that a worker of this number serves.
    fn served_by(&self, worker: u32) -> Option<u32> {
        let is_its = |row: &&Row| {
            row.taken.load(Ordering::Acquire) == 1 && worker != 0 && row.worker.load(Ordering::Relaxed) == worker
        };
        self.rows().iter().find(is_its).map(|row| row.process.load(Ordering::Relaxed))
    }
}

/// A row that a session has.
#[derive(Debug)]
pub struct Taken {
    ledger: Arc<Ledger>,
    number: u32,
}

impl Taken {
    /// The row's number, for the worker.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The ledger's memory, for the worker.
    ///
    /// # Errors
    /// As dup(2).
    pub fn file(&self) -> io::Result<OwnedFd> {
        self.ledger.file()
    }

    /// Keeps a descriptor of this process for the others of its guest; false where there are too many, or the token is taken.
    #[must_use]
    pub fn keep(&self, token: [u64; TOKEN], bytes: u64, file: OwnedFd) -> bool {
        let mut kept = self.ledger.kept();
        if kept.len() >= MAX_KEPT || kept.iter().any(|kept| kept.token == token) {
            return false;
        }
        kept.push(Kept { token, owner: self.number, bytes, file });
        true
    }

    /// A descriptor that a process of the guest has given, and the bytes that it stands for.
    #[must_use]
    pub fn fetch(&self, token: [u64; TOKEN]) -> Option<(OwnedFd, u64)> {
        let kept = self.ledger.kept();
        let found = kept.iter().find(|kept| kept.token == token)?;
        Some((found.file.try_clone().ok()?, found.bytes))
    }

    /// Lets a descriptor of this process go.
    pub fn let_go(&self, token: [u64; TOKEN]) {
        self.ledger.kept().retain(|kept| kept.owner != self.number || kept.token != token);
    }

    /// The row, to be read.
    #[must_use]
    pub fn held(&self) -> Held {
        Held { ledger: Arc::clone(&self.ledger), number: self.number }
    }
}

/// What a session holds of the device's memory. When the session has ended it is what the row's next one holds.
#[derive(Clone, Debug)]
pub struct Held {
    ledger: Arc<Ledger>,
    number: u32,
}

impl Held {
    /// In bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.ledger.rows().get(self.number as usize).map_or(0, |row| row.bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(row) = self.ledger.rows().get(self.number as usize) {
            row.bytes.store(0, Ordering::SeqCst);
            row.process.store(0, Ordering::Relaxed);
            row.taken.store(0, Ordering::Release);
        }
        let mut taken = self.ledger.taken();
        let lives = |row: u32| row != self.number && taken.get(row as usize) == Some(&true);
        for shared in self.ledger.shared().iter().filter(|shared| shared.owner().is_some_and(|owner| !lives(owner))) {
            // Its worker has ended, so nobody writes it; or it is of a row that nobody has, which none but a taken-over
            // worker writes.
            shared.state.store(FREE, Ordering::Release);
        }
        self.ledger.kept().retain(|kept| kept.owner != self.number);
        if let Some(taken) = taken.get_mut(self.number as usize) {
            *taken = false;
        }
    }
}

/// A worker's account: its row, and what limits it.
#[derive(Debug)]
pub struct Account {
    ledger: Ledger,
    row: u32,
}

impl Account {
    /// The row of a ledger that the front gave.
    ///
    /// # Errors
    /// As [`Ledger::over`].
    pub fn new(file: OwnedFd, row: u32) -> io::Result<Account> {
        if row >= ROWS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Account { ledger: Ledger::over(file)?, row })
    }

    fn row(&self) -> &Row {
        &self.ledger.rows()[self.row as usize]
    }

    /// Gives the guest's other processes a handle of the driver's: its token, `fresh` if it has none yet. `None` where the
    /// table is full.
    #[must_use]
    pub fn share(&self, native: [u64; NATIVE], fresh: [u64; TOKEN]) -> Option<[u64; TOKEN]> {
        let ours = |shared: &&Shared| {
            shared.is_there() && shared.owner() == Some(self.row) && Shared::read(&shared.native) == native
        };
        if let Some(known) = self.ledger.shared().iter().find(ours) {
            return Some(Shared::read(&known.token));
        }
        let take = |shared: &&Shared| {
            let writing = owned(WRITING, self.row);
            shared.state.compare_exchange(FREE, writing, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let shared = self.ledger.shared().iter().find(take)?;
        shared.token.iter().zip(fresh).for_each(|(to, word)| to.store(word, Ordering::Relaxed));
        shared.native.iter().zip(native).for_each(|(to, word)| to.store(word, Ordering::Relaxed));
        // Pairs with the acquire in `shared_as`: who sees that it is there sees what it is.
        shared.state.store(owned(THERE, self.row), Ordering::Release);
        Some(fresh)
    }

    /// The handle that a process of the same guest has given a token for.
    #[must_use]
    pub fn shared_as(&self, token: [u64; TOKEN]) -> Option<[u64; NATIVE]> {
        let is_it = |shared: &&Shared| shared.is_there() && Shared::read(&shared.token) == token;
        let native = Shared::read(&self.ledger.shared().iter().find(is_it)?.native);
        Some(native)
    }

    /// Takes `bytes` more; false, and nothing is taken, where a limit would be passed.
    #[must_use]
    pub fn charge(&self, bytes: u64) -> bool {
        // First without adding: a size near 2^64 would wrap the row, and what is given back would be missed by others meanwhile.
        if !self.fits(bytes) {
            return false;
        }
        self.row().bytes.fetch_add(bytes, Ordering::SeqCst);
        let fits = self.fits(0);
        if !fits {
            self.refund(bytes);
        }
        fits
    }

    /// Whether the sums with `more` are within the limits.
    fn fits(&self, more: u64) -> bool {
        let within = |sum: u64, limit| sum.checked_add(more).is_some_and(|sum| sum <= limit);
        within(self.own(), self.process_limit()) && within(self.used(), self.guest_limit())
    }

    /// Takes `bytes` more whatever the limits say: they are there already.
    pub fn take(&self, bytes: u64) {
        self.row().bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Bytes that this process holds.
    #[must_use]
    pub fn own(&self) -> u64 {
        self.row().bytes.load(Ordering::SeqCst)
    }

    /// Gives `bytes` back.
    pub fn refund(&self, bytes: u64) {
        self.row().bytes.fetch_sub(bytes, Ordering::SeqCst);
    }

    fn guest_limit(&self) -> u64 {
        self.ledger.head().guest.load(Ordering::Relaxed)
    }

    fn process_limit(&self) -> u64 {
        self.ledger.head().process.load(Ordering::Relaxed)
    }

    /// The memory that this process may use at most, where there is a limit: what it sees as the device's size.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        let limit = self.guest_limit().min(self.process_limit());
        (limit != u64::MAX).then_some(limit)
    }

    /// How much more this process can have, by the limits alone.
    #[must_use]
    pub fn left(&self) -> u64 {
        let own = self.process_limit().saturating_sub(self.row().bytes.load(Ordering::SeqCst));
        own.min(self.guest_limit().saturating_sub(self.used()))
    }

    /// Bytes that all processes of the guest hold.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.ledger.used()
    }

    /// Processes of the guest that have a session: their numbers in the guest, and the bytes that they hold.
    pub fn processes(&self) -> impl Iterator<Item = (u32, u64)> {
        self.ledger.processes()
    }

    /// Says which worker serves the process: the caller, by its number in its own process namespace. The kernel's driver
    /// tells numbers as they are in the namespace of who asks it, and the workers of a guest share one.
    pub fn serve_by(&self, worker: u32) {
        self.row().worker.store(worker, Ordering::Relaxed);
    }

    /// The guest's process that is served by the worker of this number; `None` where that is none of this guest's.
    #[must_use]
    pub fn served_by(&self, worker: u32) -> Option<u32> {
        self.ledger.served_by(worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(ledger: &Arc<Ledger>, process: u32) -> (Taken, Account) {
        let taken = ledger.take(process).expect("a row");
        let account = Account::new(taken.file().expect("a file"), taken.number()).expect("an account");
        (taken, account)
    }

    #[test]
    fn charge_when_a_limit_would_be_passed_then_takes_nothing() {
        let ledger = Arc::new(Ledger::new(Limits { guest: Some(100), process: Some(70) }).expect("a ledger"));
        let (first, one) = account(&ledger, 11);
        let (_second, two) = account(&ledger, 12);
        assert!(one.charge(70) && !one.charge(1) && one.charge(0));
        assert!(!two.charge(31) && two.charge(30) && !two.charge(1));
        assert_eq!((one.limit(), two.left(), ledger.used()), (Some(70), 0, 100));
        assert_eq!(two.processes().collect::<Vec<_>>(), [(11, 70), (12, 30)]);
        one.serve_by(900);
        assert_eq!([900, 901, 0].map(|worker| two.served_by(worker)), [Some(11), None, None]);
        one.refund(10);
        assert!(two.charge(10));
        drop(first);
        assert_eq!((ledger.used(), two.left()), (40, 30));
        assert!(!two.charge(u64::MAX));
        assert_eq!(ledger.used(), 40);
    }

    #[test]
    fn charge_when_a_size_would_wrap_the_row_then_adds_nothing() {
        let ledger = Arc::new(Ledger::new(Limits { guest: Some(100), process: None }).expect("a ledger"));
        let (_row, account) = account(&ledger, 11);
        assert!(account.charge(60));
        for size in [u64::MAX, u64::MAX - 58, u64::MAX - 59, u64::MAX - 60, 1 << 63] {
            assert!(!account.charge(size), "{size:#x}");
            assert_eq!(ledger.used(), 60);
        }
    }

    #[test]
    fn rows_when_a_taken_over_worker_writes_them_then_are_the_fronts_all_the_same() {
        let ledger = Arc::new(Ledger::new(Limits::default()).expect("a ledger"));
        let (first, worker) = account(&ledger, 11);
        worker.ledger.rows().iter().for_each(|row| row.taken.store(1, Ordering::Relaxed));
        let second = ledger.take(12).expect("a row");
        worker.ledger.rows().iter().for_each(|row| row.taken.store(0, Ordering::Relaxed));
        let third = ledger.take(13).expect("a row");
        assert!(first.number() != second.number() && second.number() != third.number());
        assert_ne!(first.number(), third.number());
        // Entries of rows that nobody has, and of none at all.
        for (shared, owner) in worker.ledger.shared().iter().zip((0..).cycle()) {
            shared.state.store(owned(THERE, 3 + owner), Ordering::Relaxed);
        }
        drop(first);
        let (_row, fresh) = account(&ledger, 14);
        assert_eq!(fresh.share([7; NATIVE], [1, 2]), Some([1, 2]));
    }

    #[test]
    fn charge_when_processes_race_then_never_pass_the_limit_together() {
        let ledger = Arc::new(Ledger::new(Limits { guest: Some(1000), process: None }).expect("a ledger"));
        let most = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for process in 0..4 {
                let (ledger, most) = (&ledger, &most);
                scope.spawn(move || {
                    let (_row, account) = account(ledger, process);
                    for _ in 0..20_000 {
                        if account.charge(300) {
                            most.fetch_add(300, Ordering::SeqCst);
                            assert!(most.load(Ordering::SeqCst) <= 1000);
                            most.fetch_sub(300, Ordering::SeqCst);
                            account.refund(300);
                        }
                    }
                });
            }
        });
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn share_when_given_again_or_to_another_guest_then_the_token_is_the_guests_own() {
        let ledger = Arc::new(Ledger::new(Limits::default()).expect("a ledger"));
        let other = Arc::new(Ledger::new(Limits::default()).expect("a ledger"));
        let ((owner, one), (_second, two)) = (account(&ledger, 11), account(&ledger, 12));
        let (_third, stranger) = account(&other, 11);
        let native = [7; NATIVE];
        assert_eq!(one.share(native, [1, 2]), Some([1, 2]));
        assert_eq!(one.share(native, [3, 4]), Some([1, 2]), "the same handle");
        assert_eq!(two.shared_as([1, 2]), Some(native));
        assert_eq!((two.shared_as([1, 3]), stranger.shared_as([1, 2])), (None, None));
        drop(owner);
        assert_eq!(two.shared_as([1, 2]), None, "it ends with its process");
    }

    #[test]
    fn descriptors_when_kept_then_are_the_guests_until_their_owner_lets_go_or_ends() {
        let ledger = Arc::new(Ledger::new(Limits::default()).expect("a ledger"));
        let other = Arc::new(Ledger::new(Limits::default()).expect("a ledger"));
        let ((owner, _), (second, _), (stranger, _)) =
            (account(&ledger, 11), account(&ledger, 12), account(&other, 11));
        let file = || ledger.file().expect("a file");
        assert!(owner.keep([1, 2], 64, file()) && owner.keep([3, 4], 0, file()));
        assert!(!second.keep([1, 2], 9, file()), "a token that is taken");
        assert_eq!(second.fetch([1, 2]).map(|(_, bytes)| bytes), Some(64));
        assert!(second.fetch([1, 3]).is_none() && stranger.fetch([1, 2]).is_none());
        second.let_go([1, 2]);
        assert!(second.fetch([1, 2]).is_some(), "not its own");
        owner.let_go([1, 2]);
        assert!(second.fetch([1, 2]).is_none() && second.fetch([3, 4]).is_some());
        drop(owner);
        assert!(second.fetch([3, 4]).is_none(), "it ends with its process");
        let room = (0..=MAX_KEPT as u64).take_while(|number| second.keep([*number, 7], 0, file())).count();
        assert_eq!(room, MAX_KEPT);
    }

    #[test]
    fn rows_when_all_are_taken_then_there_is_none_until_one_is_given_back() {
        let ledger = Arc::new(Ledger::new(Limits::default()).expect("a ledger"));
        let mut all: Vec<_> = (0..ROWS).map(|process| ledger.take(process).expect("a row")).collect();
        assert!(ledger.take(0).is_none());
        all.pop();
        assert!(ledger.take(0).is_some());
    }
}
