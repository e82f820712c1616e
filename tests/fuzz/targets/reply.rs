//! Replies as the guest libraries read them: every printed sender, by number, meets any status, any length and any bytes, in
//! a window whose words are any. The reply lies there before the call: the window is this program's own, and its front never
//! answers again.
#![no_main]

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use gpuferry_backend::channel::Channel;
use gpuferry_backend::mapping::{Mapping, Source};
use gpuferry_backend::os;
use gpuferry_cuda::fuzz::facts;
use libfuzzer_sys::fuzz_target;
use rt::{Carrier, Origin, Session};
use wire::control::Message;
use wire::slot::{MAX_REPLY_BYTES, SLOT_PAYLOAD_OFFSET, SlotHead};
use wire::window::{Header, STATE_DEAD, STATE_READY, WINDOW_BYTES_MIN, slot_offset};

struct Played {
    window: Mapping,
    session: Session,
    /// Waited calls so far: the next one's sequence number is one more.
    waited: AtomicU32,
}

/// Opens a session with a front that says hello and nothing more.
fn play() -> Played {
    let path = std::env::temp_dir().join(format!("gpuferry-fuzz-{}", std::process::id()));
    let listener = UnixListener::bind(&path).expect("a socket");
    let file = os::sealed_memory(WINDOW_BYTES_MIN as u64).expect("memory");
    let window =
        Mapping::of(Source { file: file.as_fd(), offset: 0, bytes: WINDOW_BYTES_MIN as u64 }).expect("a mapping");
    // SAFETY: a window begins with a header of atomics.
    let header = unsafe { &*window.base().cast::<Header>() };
    header.wire_version.store(wire::WIRE_VERSION, Ordering::Relaxed);
    header.state.store(STATE_READY, Ordering::Release);
    let front = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("the library");
        let mut channel = Channel::new(socket).expect("a channel");
        let hello = channel.receive_blocking().expect("hello");
        let welcome = Message::Welcome { wire_version: wire::WIRE_VERSION, window_bytes: WINDOW_BYTES_MIN as u64 };
        channel.send(&welcome, hello.cookie, vec![file, os::eventfd().expect("eventfd")]).expect("sent");
        channel
    });
    let session = Session::open(&Carrier::Local(path.clone())).expect("a session");
    // Open for ever: a closed socket is a dead session.
    std::mem::forget(front.join().expect("said hello"));
    std::fs::remove_file(path).expect("there");
    Played { window, session, waited: AtomicU32::new(0) }
}

/// Calls a sender by its place among those of the API.
fn call(place: usize, api: u8, session: &'static Session, room: &mut [u8]) -> Option<i32> {
    let origin = Origin::default();
    match api {
        1 => {
            use gpuferry_nvml::{caller::Caller, fuzz};
            fuzz::any(fuzz::NUMBERS[place % fuzz::NUMBERS.len()], &Caller { session, origin }, room)
        }
        2 => {
            use gpuferry_opencl::{caller::Caller, fuzz};
            fuzz::any(fuzz::NUMBERS[place % fuzz::NUMBERS.len()], &Caller { session, origin }, room)
        }
        _ => {
            use gpuferry_cuda::{caller::Caller, fuzz};
            fuzz::any(fuzz::NUMBERS[place % fuzz::NUMBERS.len()], &Caller { session, origin }, room)
        }
    }
}

fuzz_target!(|data: &[u8]| {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    facts(data);
    let Some((head, reply)) = data.split_first_chunk::<12>() else { return };
    let played = PLAYED.get_or_init(play);
    let (flags, status) = (head[2], u32::from(head[3]));
    let room = usize::from(u16::from_le_bytes([head[4], head[5]]));
    let base = played.window.base();
    // SAFETY: the window is mapped as long as `played`; its header and the heads of its slots are atomics.
    let (header, slot) = unsafe { (&*base.cast::<Header>(), &*base.add(slot_offset(0)).cast::<SlotHead>()) };
    // The ring: empty, or wherever a hostile worker says it is.
    let tail = header.tail.load(Ordering::Relaxed);
    header
        .head
        .store(if flags & 1 == 0 { tail } else { tail.wrapping_add(u64::from(head[6]) << 13) }, Ordering::Relaxed);
    header.deferred.store(u32::from(flags & 2), Ordering::Relaxed);
    header.sticky.store(u32::from(flags & 4), Ordering::Relaxed);
    header.host_parked.store(u32::from(flags & 8), Ordering::Relaxed);
    // A full ring or a wrong reply number: the worker has died, or the call would wait for ever.
    header.state.store(if flags & 0x11 == 0 { STATE_READY } else { STATE_DEAD }, Ordering::Relaxed);
    let bytes = reply.len().min(MAX_REPLY_BYTES);
    // SAFETY: a slot's payload has room for so many bytes.
    unsafe { base.add(slot_offset(0) + SLOT_PAYLOAD_OFFSET).copy_from_nonoverlapping(reply.as_ptr(), bytes) };
    slot.bytes.store(
        if flags & 0x20 == 0 { bytes as u32 } else { u32::from_le_bytes([head[7], head[8], head[9], head[10]]) },
        Ordering::Relaxed,
    );
    slot.status.store(status, Ordering::Relaxed);
    let next = played.waited.load(Ordering::Relaxed).wrapping_add(1);
    slot.ready.store(next.wrapping_add(u32::from(flags & 0x10 != 0)), Ordering::Release);
    let before = played.session.counters.waited.load(Ordering::Relaxed);
    let session: &'static Session = &PLAYED.get().expect("made above").session;
    let answer = call(usize::from(u16::from_le_bytes([head[0], head[1]])), flags >> 6, session, &mut vec![0; room]);
    assert!(answer.is_some());
    let took_a_slot = played.session.counters.waited.load(Ordering::Relaxed) - before;
    played.waited.fetch_add(took_a_slot as u32, Ordering::Relaxed);
    played.session.revive();
});
