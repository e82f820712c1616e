//! A session with no front and no guest, for tests and fuzz targets.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

use wire::control::{Piece, REGION_ATTACHED};
use wire::device::{PIN_READ, PIN_WRITE};
use wire::window::WINDOW_BYTES_LOCAL;

use super::lease::{Answers, Lent};
use super::{Memory, Session};
use crate::mapping::{Mapping, Reservation, Source};
use crate::os;
use crate::window::Window;

/// Addresses that a session keeps for page-locked memory.
const KEPT_BYTES: u64 = 1 << 20;
/// Bytes of a lent file.
const FILE_BYTES: u64 = 1 << 20;

/// A session with a window of its own.
#[cfg(test)]
pub(super) fn session() -> Arc<Session> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PLACES: AtomicU64 = AtomicU64::new(0x5d00_0000_0000);
    session_at(PLACES.fetch_add(KEPT_BYTES, Ordering::Relaxed))
}

/// The same, whose page-locked memory begins at an address.
pub(super) fn session_at(place: u64) -> Arc<Session> {
    let bytes = WINDOW_BYTES_LOCAL as u64;
    let file = os::sealed_memory(bytes).expect("memory");
    let mapping = Mapping::of(Source { file: file.as_fd(), offset: 0, bytes }).expect("mapping");
    let window = Arc::new(Window::new(mapping).expect("window"));
    let reservation = Arc::new(Reservation::at(place, KEPT_BYTES).expect("addresses"));
    let answers = Arc::new(Answers::new().expect("eventfd"));
    let memory = Memory::new(Arc::clone(&window), Arc::default(), reservation, answers);
    Arc::new(Session::new(1, memory, window))
}

/// Lends pages of a file, in this order, for reading and writing: `bytes` from the guest's address on. Returns the file.
pub(super) fn lend(session: &Session, lease: u32, address: u64, bytes: u64, pages: &[u64]) -> File {
    let piece = |page: &u64| Piece { region: REGION_ATTACHED, offset: page * 4096, bytes: 4096 };
    let pieces: Vec<Piece> = pages.iter().map(piece).collect();
    let lent = Lent { lease, flags: PIN_READ | PIN_WRITE, address, bytes };
    let file = os::sealed_memory(FILE_BYTES).expect("memory");
    let kept = file.try_clone().expect("descriptor");
    session.memory().pin(lent, &pieces, Some(file)).expect("a lease");
    File::from(kept)
}
