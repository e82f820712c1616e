//! What the fuzz targets of `tests/fuzz` call of the worker: lent memory, the control socket, and messages of all APIs.

use std::io::Write;
use std::net::Shutdown;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use wire::Malformed;
use wire::control::{Piece, REGION_ATTACHED};
use wire::frame::{FrameHeader, NO_SLOT};
use wire::payload::{Buffer, Reader};
use wire::slot::MAX_REPLY_BYTES;
use wire::window::{STAGING_OFFSET, WINDOW_BYTES_LOCAL};

use super::control::Control;
use super::lease::{Answers, Lent};
use super::regions::{Region, Regions};
use super::{Api, Library, Memory, Reply, Session, cuda, nvml, opencl, played};
use crate::channel::{Channel, ChannelError};
use crate::mapping::{Mapping, Reservation, Source};
use crate::os;
use crate::scm;
use crate::window::Window;

const PAGE: u64 = 4096;
/// Bytes of each region of the guest's memory and of an attached file.
const REGION_BYTES: u64 = 32 * PAGE;
/// Where page-locked memory may lie.
const RESERVED: u64 = 0x5f00_0000_0000;
const RESERVED_BYTES: u64 = 1 << 20;

/// Makes no calls.
struct Nothing;

impl Api for Nothing {
    fn call(&self, _: &FrameHeader, _: &[u8], _: &mut Reply<'_>) -> Result<(), Malformed> {
        Ok(())
    }

    fn blocks(&self, _: u16) -> bool {
        false
    }

    fn end(&self) {}
}

impl Library for Nothing {
    fn begin(self: Box<Self>, _: Arc<Session>) -> Arc<dyn Api> {
        Arc::new(Nothing)
    }
}

/// A window and a reservation that all inputs share, as the guest's memory; leases and mappings are each input's own.
fn places() -> &'static (Arc<Window>, Arc<Reservation>) {
    static PLACES: OnceLock<(Arc<Window>, Arc<Reservation>)> = OnceLock::new();
    PLACES.get_or_init(|| {
        let bytes = WINDOW_BYTES_LOCAL as u64;
        let file = os::sealed_memory(bytes).expect("memory");
        let mapping = Mapping::of(Source { file: file.as_fd(), offset: 0, bytes }).expect("mapping");
        let reservation = Reservation::at(RESERVED, RESERVED_BYTES).expect("addresses");
        (Arc::new(Window::new(mapping).expect("window")), Arc::new(reservation))
    })
}

fn file() -> OwnedFd {
    static FILE: OnceLock<OwnedFd> = OnceLock::new();
    let file = FILE.get_or_init(|| os::sealed_memory(REGION_BYTES).expect("memory"));
    file.try_clone().expect("descriptor")
}

fn memory(regions: &Arc<Regions>, answers: &Arc<Answers>) -> Memory {
    let (window, reservation) = places();
    Memory::new(Arc::clone(window), Arc::clone(regions), Arc::clone(reservation), Arc::clone(answers))
}

fn touch(start: *mut u8, bytes: usize) {
    for at in [0, bytes / 2, bytes - 1] {
        // SAFETY: the memory says that so many bytes are there for as long as the pieces live; a fault is a finding.
        unsafe { start.add(at).write_volatile(1) };
    }
}

/// Takes `data` for things to do with two regions of guest memory: lend, end, use, map. What is said to be there is touched, what
/// it adds up to is what was asked for, and every lease that was ended is answered in the end.
pub fn leases(data: &[u8]) {
    static GUEST: LazyLock<(Arc<Regions>, Arc<Answers>)> = LazyLock::new(|| {
        let regions = Regions::default();
        for number in [0, 3] {
            regions.set(number, Region::new(file(), 0, REGION_BYTES).expect("mapped"));
        }
        (Arc::new(regions), Arc::new(Answers::new().expect("eventfd")))
    });
    let (regions, answers) = &*GUEST;
    let memory = memory(regions, answers);
    // Those of leases that the last input did not end.
    answers.take();
    let mut reader = Reader::new(data);
    let (mut mapped, mut ended) = (Vec::new(), 0);
    for _ in 0..32 {
        if step(&mut reader, &memory, &mut mapped, &mut ended).is_err() {
            break;
        }
    }
    mapped.iter().for_each(|address| {
        memory.unmap(*address);
    });
    assert_eq!(answers.take().len(), ended, "leases that were ended and are not used are answered");
}

fn step(reader: &mut Reader<'_>, memory: &Memory, mapped: &mut Vec<u64>, ended: &mut usize) -> Result<(), Malformed> {
    let kind = reader.u8()?;
    match kind % 5 {
        0 => {
            let lent = Lent {
                lease: u32::from(reader.u8()?) << (kind >> 4),
                flags: u32::from(reader.u8()?),
                address: reader.u64()?,
                bytes: reader.u64()?,
            };
            let mut pieces = Vec::new();
            for _ in 0..reader.u8()? % 8 {
                let region = [0, 3, 1, REGION_ATTACHED][usize::from(reader.u8()? % 4)];
                // As `wire::control` lets them through: whole pages.
                let (offset, bytes) = (u64::from(reader.u16()?) * PAGE, (u64::from(reader.u8()?) + 1) * PAGE);
                pieces.push(Piece { region, offset, bytes });
            }
            let attached = pieces.iter().any(|piece| piece.region == REGION_ATTACHED);
            // The memory's answer is what is tried.
            let _ = memory.pin(lent, &pieces, attached.then(file));
        }
        1 => *ended += usize::from(memory.unpin(u32::from(reader.u8()?), 1)),
        2 | 3 => {
            let (offset, bytes) = (reader.u64()?, reader.u64()?);
            let lease = u32::from(reader.u8()?);
            let buffer = match kind % 5 {
                2 => Buffer::Lease { lease, offset, bytes },
                _ => Buffer::Staging { offset: offset.wrapping_add(STAGING_OFFSET as u64), bytes },
            };
            if let Ok(pieces) = memory.resolve(&buffer, kind & 0x80 != 0) {
                assert_eq!(pieces.iter().map(|piece| piece.bytes as u64).sum::<u64>(), bytes);
                pieces.iter().for_each(|piece| touch(piece.pointer, piece.bytes));
            }
        }
        _ => {
            let (lease, address) = (u32::from(reader.u8()?), reader.u64()?);
            // Inside the reservation, or anywhere above what this process has.
            let address = match kind >> 4 & 1 {
                0 => RESERVED + address % (2 * RESERVED_BYTES),
                _ => 0x5d00_0000_0000 + address % (1 << 30),
            };
            let bytes = reader.u64()?;
            if let Ok(start) = memory.map_at(lease, address, bytes) {
                assert_eq!(start.addr() as u64, address);
                touch(start, bytes as usize);
                mapped.push(address);
                if kind & 0x20 != 0 {
                    assert!(memory.unmap(address));
                }
            }
        }
    }
    Ok(())
}

/// Takes `data` for what the front sends a worker whose session is open: portions of bytes, each after a byte of its length and
/// one of its descriptors.
pub fn control(data: &[u8]) {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let mut rest = data;
    while let Some(([length, descriptors], after)) = rest.split_first_chunk() {
        let (portion, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        let descriptors: Vec<OwnedFd> = (0..descriptors % 5).map(|_| file()).collect();
        if portion.is_empty() || scm::send(&ours, portion, &descriptors).is_err() {
            break;
        }
    }
    // The worker finds the end behind them.
    ours.shutdown(Shutdown::Write).expect("open");
    let answers = Answers::new().expect("eventfd");
    let mut control = Control::serving(Channel::new(theirs).expect("channel"), answers, Nothing, |regions, answers| {
        Arc::new(Session::new(1, memory(regions, answers), Arc::clone(&places().0)))
    });
    match control.run() {
        Ok(()) => unreachable!("it serves until the front is gone"),
        Err(ChannelError::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}"),
        Err(ChannelError::Gone | ChannelError::Malformed(_) | ChannelError::Stuck) => {}
    }
    // What it has answered does not matter, only that it was room for.
    let _ = (&ours).flush();
}

/// Calls of the libraries of fakes: they make some fail, and each object another one.
pub(super) static CALLS: AtomicU64 = AtomicU64::new(0);

/// Whether the library's next call fails.
pub(super) fn fails() -> bool {
    CALLS.fetch_add(1, Ordering::Relaxed) % 16 == 15
}

/// A library reads bytes; the sanitizer sees whether they are there.
pub(super) fn read(from: *const u8, bytes: usize) {
    let mut sum = 0u8;
    for at in 0..bytes {
        // SAFETY: the forwarder says that so many bytes are there; the sanitizer checks it.
        sum ^= unsafe { from.add(at).read_volatile() };
    }
    std::hint::black_box(sum);
}

/// A library writes bytes; the sanitizer sees whether there is room.
pub(super) fn write(to: *mut u8, bytes: usize) {
    // SAFETY: the forwarder says that there is so much room; the sanitizer checks it.
    unsafe { to.write_bytes(0x5a, bytes) };
}

/// One session for all inputs, with a lease of pages in a row, and one of pages that lie apart, not from a page's begin.
fn session() -> Arc<Session> {
    static SESSION: LazyLock<Arc<Session>> = LazyLock::new(|| {
        let session = played::session_at(RESERVED);
        for (lease, pages) in [(0, [0, 1, 2, 3]), (1, [9, 5, 6, 1])] {
            played::lend(&session, lease, RESERVED + 100 * u64::from(lease), 4 * 4096 - 100, &pages);
        }
        session
    });
    Arc::clone(&SESSION)
}

/// Takes `data` for messages, each of a call's place, flags, the payload's length (u16), and the payload. The flags of the
/// first say whose they are: a session calls one API.
pub fn messages(data: &[u8]) {
    static NUMBERS: OnceLock<[Vec<u16>; 3]> = OnceLock::new();
    let numbers = NUMBERS.get_or_init(|| [cuda::fuzz::numbers(), nvml::fuzz::numbers(), opencl::fuzz::numbers()]);
    CALLS.store(0, Ordering::Relaxed);
    match data.get(1).copied().unwrap_or_default() >> 4 & 3 {
        1 => send_all(&nvml::fuzz::begin(session()), &numbers[1], data),
        2 => {
            send_all(&opencl::fuzz::begin(session()), &numbers[2], data);
            opencl::fuzz::end();
        }
        _ => send_all(&cuda::fuzz::begin(session()), &numbers[0], data),
    }
    for address in [RESERVED, RESERVED + 100] {
        session().memory().unmap(address);
    }
}

fn send_all(api: &dyn Api, numbers: &[u16], data: &[u8]) {
    let mut rest = data;
    while let Some(([call, flags, low, high], after)) = rest.split_first_chunk() {
        let payload = after.get(..usize::from(u16::from_le_bytes([*low, *high]))).unwrap_or(after);
        rest = after.get(payload.len()..).unwrap_or_default();
        let Some(count) = NonZero::new(numbers.len()) else { return };
        let from = FrameHeader {
            call: numbers[(usize::from(*call) | usize::from(flags >> 7) << 8) % count],
            slot: if flags & 1 == 0 { 0 } else { NO_SLOT },
            context: u32::from(flags >> 1 & 1),
            context_generation: 1,
            capture_mode: flags >> 2 & 3,
            ..FrameHeader::default()
        };
        let mut memory = [0; MAX_REPLY_BYTES];
        let mut reply = Reply::new(&mut memory);
        let result = api.call(&from, payload, &mut reply);
        assert!(reply.finish().1 <= MAX_REPLY_BYTES);
        if result.is_err() && flags & 0x40 == 0 {
            // The session would have ended.
            return;
        }
    }
}
