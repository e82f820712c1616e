//! Code images as the guest library measures them. It is given a pointer and no length, so the bytes stand in front of more zeros
//! than it may ever read: whatever they say, it stays within the longest image, and what it finds is no longer than that.
#![no_main]

use gpuferry_cuda::image::find;
use libfuzzer_sys::fuzz_target;

/// The longest image that the library takes, and what it may read behind it.
const MOST: usize = 2 << 30;
const ROOM: usize = MOST + (1 << 20);
/// Where the fat binary behind a wrapper stands.
const BEHIND: usize = 1 << 16;

thread_local! {
    static MEMORY: *mut u8 = {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: a fresh mapping at an address of the kernel's choice, and a page behind it that nobody may touch.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), ROOM + 4096, access, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        // SAFETY: the last page of that mapping.
        unsafe { libc::mprotect(base.add(ROOM), 4096, libc::PROT_NONE) };
        base.cast()
    };
}

fuzz_target!(|data: &[u8]| {
    let data = &data[..data.len().min(BEHIND)];
    MEMORY.with(|base| {
        // SAFETY: the mapping has room for twice `BEHIND`; the pointer of a wrapper is made one into the mapping.
        let found = unsafe {
            std::ptr::copy_nonoverlapping(data.as_ptr(), *base, data.len());
            std::ptr::copy_nonoverlapping(data.as_ptr(), base.add(BEHIND), data.len());
            if data.starts_with(&0x4662_43b1u32.to_le_bytes()) {
                base.add(8).cast::<*const u8>().write(base.add(BEHIND + 24.min(data.len())));
            }
            find(base.cast_const().cast(), data.len() % 2 == 0)
        };
        if let Ok(image) = found {
            assert!(image.bytes <= MOST);
        }
        // SAFETY: as above.
        unsafe {
            base.write_bytes(0, data.len().max(16));
            base.add(BEHIND).write_bytes(0, data.len());
        }
    });
});
