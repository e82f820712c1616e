//! What the fuzz targets of `tests/fuzz` call of the front: page lists of requests, in a guest whose memory is in three parts.

use std::fs::File;

use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};
use wire::control::{HEAD_BYTES, Head, Message};
use wire::device::PAGE_BYTES;

use super::ram::Ram;
use super::request::{Limits, Request};
use crate::os;

const MIB: u64 = 1 << 20;
const LIMITS: Limits = Limits { max_sessions: 64, window_bytes: 64 * PAGE_BYTES, max_pin_pages: 1024 };
/// The parts: where they begin in the guest, and in the file.
const PARTS: [(u64, u64); 3] = [(0, 0), (MIB, MIB), (1 << 32, 2 * MIB)];

thread_local! {
    static RAM: Ram = {
        let file: File = os::sealed_memory(4 * MIB).expect("memory").into();
        let part = |(start, offset)| {
            let file = FileOffset::new(file.try_clone().expect("file"), offset);
            (GuestAddress(start), MIB as usize, Some(file))
        };
        let mut ram = Ram::default();
        ram.update(&GuestMemoryMmap::from_ranges_with_files(PARTS.map(part)).expect("memory"));
        ram
    };
}

/// Takes `data` for a request. Its pages become pieces of the parts, as many as they are, and travel to the worker as they are.
pub fn pages(data: &[u8]) {
    let Ok(request) = Request::decode(data, &LIMITS) else { return };
    let (Request::Open { window: extents, .. } | Request::Pin { pages: extents, .. }) = &request else { return };
    let Ok(pieces) = RAM.with(|ram| ram.pieces(extents)) else { return };
    let wanted: u64 = extents.iter().map(|extent| u64::from(extent.pages) * u64::from(PAGE_BYTES)).sum();
    assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<u64>(), wanted);
    for piece in &pieces {
        let start = PARTS[piece.region as usize].1;
        assert!(piece.offset >= start && piece.offset + piece.bytes <= start + MIB, "{piece:?}");
    }
    let message = match request {
        Request::Pin { lease, flags, address, bytes, .. } => Message::Pin { lease, flags, address, bytes, pieces },
        _ => Message::Open { session: 1, futex: false, row: 0, window: pieces },
    };
    let sent = message.to_bytes(7).expect("a request's pieces fit a message");
    let (head, body) = sent.split_first_chunk::<HEAD_BYTES>().expect("a head");
    let head = Head::from_bytes(head).expect("a head of ours");
    assert_eq!(Message::from_bytes(&head, body).expect("a message of ours"), message);
}
