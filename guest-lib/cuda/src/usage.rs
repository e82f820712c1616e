//! How much device memory this process holds, for `libnvidia-ml.so.1` in other processes of the guest: `wire::usage`. Counted is what
//! cuMemAlloc and its like gave, not contexts, modules and mapped memory of cuMemCreate.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::ffi::CString;
use wire::usage::{BYTES, NAME, USED_OFFSET, page};

/// The last word of the page; null before [`start`], and where no page could be made.
static USED: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());
/// What was allocated before there was a page.
static EARLY: AtomicU64 = AtomicU64::new(0);

/// The number that counts.
fn used() -> &'static AtomicU64 {
    // SAFETY: null, or a word of a shared page that is never unmapped.
    unsafe { USED.load(Ordering::Acquire).as_ref() }.unwrap_or(&EARLY)
}

/// The process holds more.
pub fn grew(bytes: u64) {
    used().fetch_add(bytes, Ordering::Relaxed);
}

/// The process holds less.
pub fn shrank(bytes: u64) {
    // Never below nothing: memory of before the page may be given back after.
    let _ = used().fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held.saturating_sub(bytes)));
}

/// Makes the page; the file stays open so that others find it. Without one, nobody is told.
pub fn start() {
    let Ok(name) = CString::new(NAME) else { return };
    // SAFETY: the name ends with a zero byte.
    let file = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if file < 0 {
        return;
    }
    let first = page(std::process::id());
    // SAFETY: the file is ours, and the bytes are there to be read.
    let written = unsafe { libc::pwrite(file, first.as_ptr().cast(), BYTES, 0) };
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapped = unsafe {
        libc::mmap(core::ptr::null_mut(), BYTES, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file, 0)
    };
    if written != BYTES as isize || mapped == libc::MAP_FAILED {
        // SAFETY: nobody else has the file.
        unsafe { libc::close(file) };
        return;
    }
    let word = mapped.wrapping_byte_add(USED_OFFSET).cast::<AtomicU64>();
    USED.store(word, Ordering::Release);
    used().fetch_add(EARLY.swap(0, Ordering::Relaxed), Ordering::Relaxed);
}

/// The child of a fork holds nothing, and what it inherited is its parent's.
pub fn forked() {
    USED.store(core::ptr::null_mut(), Ordering::Release);
}
