//! Each byte that decides anything is read once: while a thread changes a code image that the guest has lent, the library sees one
//! that was checked and that does not change under its hands.
//!
//! `GPUFERRY_FLIPS` says how many images are loaded (20,000 in the normal run).

use std::ffi::c_void;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wire::control::{Piece, REGION_ATTACHED};
use wire::device::PIN_READ;
use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::{Buffer, Writer};
use wire::slot::MAX_REPLY_BYTES;

use super::generated::{Library, kind};
use super::{Api, Cuda, image};
use crate::mapping::{Mapping, Source};
use crate::os;
use crate::worker::lease::Lent;
use crate::worker::{Reply, values};

/// Bytes of the image: pages that lie apart, so that they are gathered.
const BYTES: usize = 3 * 4096 - 8;
const LEASE: u32 = 9;
static LOADED: AtomicU64 = AtomicU64::new(0);

/// A fat binary of entries of 1 KiB each, to the end.
fn fresh() -> Vec<u8> {
    let all = BYTES - 16;
    let mut bytes = 0xba55_ed50u32.to_le_bytes().to_vec();
    bytes.extend([1, 0, 16, 0]);
    bytes.extend((all as u64).to_le_bytes());
    while bytes.len() < BYTES {
        let payload = (BYTES - bytes.len() - 16).min(1024);
        bytes.extend([1, 0, 1, 1, 16, 0, 0, 0]);
        bytes.extend((payload as u64).to_le_bytes());
        bytes.resize(bytes.len() + payload, 7);
    }
    bytes
}

/// `cuModuleLoadDataEx`: looks at the image twice, and at what it says of itself.
extern "C" fn load(made: *mut *mut c_void, code: *const c_void, _: u32, _: *mut u32, _: *mut *mut c_void) -> i32 {
    // SAFETY: the forwarder hands in a private copy of the whole image.
    let code = unsafe { std::slice::from_raw_parts(code.cast::<u8>(), BYTES) };
    let first = code.to_vec();
    assert_eq!(image::check(&first), Ok(()), "what the library sees was checked");
    assert!(std::hint::black_box(code) == first.as_slice(), "it changed after the check");
    LOADED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the forwarder gives a live variable.
    unsafe { *made = std::ptr::without_provenance_mut(0x4000) };
    0
}

fn flip(base: usize, pages: [usize; 3], stop: &AtomicBool) {
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    while !stop.load(Ordering::Relaxed) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // Headers: of the whole, of entries.
        let at = [seed as usize % 16, 16 + (seed as usize >> 8) % 11 * 1040 + (seed as usize >> 16) % 16]
            [seed as usize >> 60 & 1];
        let byte = std::ptr::with_exposed_provenance_mut::<u8>(base + pages[at / 4096] * 4096 + at % 4096);
        // SAFETY: within the file's mapping, which outlives this thread.
        unsafe { byte.write_volatile(byte.read_volatile() ^ 1 << (seed >> 32 & 7)) };
        for _ in 0..seed >> 59 {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn images_when_their_bytes_change_while_they_are_loaded_then_stay_as_they_were_checked() {
    let wanted: u32 = std::env::var("GPUFERRY_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let session = values::session();
    let file = os::sealed_memory(8 * 4096).expect("memory");
    let ours = Mapping::of(Source { file: file.as_fd(), offset: 0, bytes: 8 * 4096 }).expect("mapping");
    let pages = [5usize, 1, 2];
    let lent = Lent { lease: LEASE, flags: PIN_READ, address: 0x7000_0000, bytes: BYTES as u64 };
    let piece = |page: usize| Piece { region: REGION_ATTACHED, offset: page as u64 * 4096, bytes: 4096 };
    session.memory().pin(lent, &pages.map(piece), Some(file)).expect("a lease");
    // SAFETY: nothing is found.
    let mut library = unsafe { Library::find(|_| None) };
    extern "C" fn nothing(_: *mut c_void) -> i32 {
        0
    }
    library.cuCtxSetCurrent = Some(nothing);
    library.cuModuleLoadDataEx = Some(load);
    let (fresh, stop) = (fresh(), AtomicBool::new(false));
    let base = ours.base().expose_provenance();
    let (mut refused, start) = (0u64, Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| flip(base, pages, &stop));
        let mut cuda = None;
        // Until enough were changed in time: the threads may not always run side by side.
        let mut turn = 0;
        while turn < wanted || refused < 20 && start.elapsed() < Duration::from_secs(60) {
            // Made good where it has been changed so often that it is refused anyway.
            let pages = if turn % 4 == 0 { &pages[..] } else { &[] };
            for (chunk, page) in fresh.chunks(4096).zip(pages) {
                let to = std::ptr::with_exposed_provenance_mut::<u8>(base + page * 4096);
                // SAFETY: within the mapping; the other thread changes it meanwhile, which is what is tried.
                unsafe { to.copy_from_nonoverlapping(chunk.as_ptr(), chunk.len()) };
            }
            // A table of modules has an end.
            let index = turn % 1000;
            turn += 1;
            if index == 0 {
                // SAFETY: nothing is found; what is set has the prototypes of what it stands for.
                let mut fresh = unsafe { Library::find(|_| None) };
                fresh.cuCtxSetCurrent = library.cuCtxSetCurrent;
                fresh.cuModuleLoadDataEx = library.cuModuleLoadDataEx;
                cuda = Some(Cuda::new(fresh, std::sync::Arc::clone(&session)));
            }
            let mut payload = [0; 128];
            let mut writer = Writer::new(&mut payload);
            writer.u64(Handle::new(kind::CUmodule.number, 1, index).0).expect("room");
            writer.buffer(Buffer::Lease { lease: LEASE, offset: 0, bytes: BYTES as u64 }).expect("room");
            writer.run(&[]).expect("room");
            let bytes = writer.len();
            let from = FrameHeader { call: 40, slot: 0, ..FrameHeader::default() };
            let mut memory = [0; MAX_REPLY_BYTES];
            let mut reply = Reply::new(&mut memory);
            cuda.as_ref().expect("made").call(&from, &payload[..bytes], &mut reply).expect("a sound message");
            refused += u64::from(reply.finish().0 != 0);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let loaded = LOADED.load(Ordering::Relaxed);
    println!("{loaded} images were loaded, {refused} refused");
    assert!(loaded > 0 && refused >= 20, "bytes did change: {loaded} {refused}");
}
