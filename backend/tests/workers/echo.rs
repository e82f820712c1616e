//! A worker whose API echoes: what the tests of front, carriers and worker give as `--worker`. It also tries what its sandbox
//! forbids ([`attempts`]), in a session or, with one layer alone, as a program: `--attempt ACT PROFILE LAYERS`.

#[allow(dead_code, reason = "the list of all is the tests'")]
mod attempts;

use std::sync::Arc;
use std::time::Duration;

use gpuferry_backend::sandbox::files::Places;
use gpuferry_backend::sandbox::{self, Layers, Profile};
use gpuferry_backend::worker::{self, Api, Library, LoadError, Reply, Session, Settings};
use wire::Malformed;
use wire::control::Message;
use wire::frame::FrameHeader;
use wire::payload::{Buffer, Reader};

/// Answers with the payload.
const CALL_ECHO: u16 = 1;
/// Adds one to every byte of a buffer, in place.
const CALL_INCREMENT: u16 = 2;
/// Sleeps for a `u64` of milliseconds, then answers with the payload.
const CALL_SLEEP: u16 = 3;
/// Ends with the given status: a posted call's late error.
const CALL_FAIL: u16 = 4;
/// Maps a lease (`u32`) at an address (`u64`) with a length (`u64`), writes there, and unmaps it unless the last word is 0.
const CALL_MAP: u16 = 5;
/// Holds a buffer for a `u64` of milliseconds after the call, as a copy on the device would.
const CALL_HOLD: u16 = 6;

/// Signals all of its eventfds without end, as a worker that a guest has taken over may.
const CALL_FLOOD: u16 = 7;

/// Tries an act: number of the process to try it against (`u32`), its socket's length (`u32`), the socket, the act's name.
/// The status is 0 where it worked, otherwise the system's error.
const CALL_ATTEMPT: u16 = 8;

/// Writes lines (`u32` of them) to the error stream, as a worker that a guest has taken over may.
const CALL_SHOUT: u16 = 9;

/// Sends the front messages without end, as a worker that a guest has taken over may.
const CALL_TALK: u16 = 10;

struct Echo(Arc<Session>);

fn error_of(result: std::io::Result<()>) -> i32 {
    result.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1))
}

fn try_act(reader: &mut Reader<'_>, payload: &[u8]) -> Result<i32, Malformed> {
    let (process, bytes) = (reader.u32()?.cast_signed(), reader.u32()? as usize);
    let rest = payload.get(8..).and_then(|rest| rest.split_at_checked(bytes));
    let (socket, act) = rest.ok_or(Malformed::new("no act"))?;
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Malformed::new("no text"));
    Ok(error_of(attempts::attempt(text(act)?, process, text(socket)?)))
}

/// The act, with these layers alone; the exit status is 0 where it worked.
fn attempt_alone(act: &str, profile: &str, layers: &str) -> ! {
    let profile = if profile == "front" { Profile::Front } else { Profile::Cpu };
    let layers = Layers::from_word(layers).expect("layers");
    // SAFETY: takes nothing.
    let parent = unsafe { libc::getppid() };
    sandbox::enter(profile, &sandbox::Settings::default(), &layers, &Places::of(profile, &[])).expect("a sandbox");
    std::process::exit(error_of(attempts::attempt(act, parent, "/run/none")));
}

fn flood() {
    let mut events = Vec::new();
    for fd in 3..64 {
        let target = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        if target.is_ok_and(|target| target.as_os_str() == "anon_inode:[eventfd]") {
            events.push(fd);
        }
    }
    loop {
        for fd in &events {
            // SAFETY: eight bytes to a descriptor of this process.
            unsafe { libc::write(*fd, (&raw const EVENT).cast(), 8) };
        }
    }
}

static EVENT: u64 = 1;

fn talk() {
    let message = Message::LetGo { token: [1, 2] }.to_bytes(0).expect("a message").repeat(64);
    let is_socket = |fd: &i32| {
        std::fs::read_link(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    let sockets: Vec<i32> = (0..64).filter(is_socket).collect();
    loop {
        for fd in &sockets {
            let mut left = message.as_slice();
            while !left.is_empty() {
                // SAFETY: the message's own bytes.
                let sent = unsafe { libc::send(*fd, left.as_ptr().cast(), left.len(), libc::MSG_NOSIGNAL) };
                left = left.get(usize::try_from(sent).unwrap_or(0)..).unwrap_or_default();
            }
        }
    }
}

struct Loaded;

impl Library for Loaded {
    fn begin(self: Box<Self>, session: Arc<Session>) -> Arc<dyn Api> {
        Arc::new(Echo(session))
    }
}

fn full(_: wire::payload::Full) -> Malformed {
    Malformed::new("no room in the reply")
}

impl Echo {
    fn increment(&self, buffer: &Buffer<'_>) -> Result<(), Malformed> {
        for piece in self.0.memory().resolve(buffer, true)?.iter() {
            for index in 0..piece.bytes {
                // SAFETY: the pieces are mapped while they are held, and `index` is inside.
                unsafe {
                    let byte = piece.pointer.add(index);
                    byte.write_volatile(byte.read_volatile().wrapping_add(1));
                }
            }
        }
        Ok(())
    }

    fn map(&self, reader: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
        let (lease, address, bytes, unmap) = (reader.u32()?, reader.u64()?, reader.u64()?, reader.u32()?);
        match self.0.memory().map_at(lease, address, bytes) {
            Ok(pointer) => {
                // SAFETY: mapped just now, at least one byte.
                unsafe { pointer.write_volatile(pointer.read_volatile().wrapping_add(1)) };
                if unmap != 0 && !self.0.memory().unmap(address) {
                    reply.status(2);
                }
            }
            Err(error) => {
                log::info!("{error}");
                reply.status(1);
            }
        }
        Ok(())
    }
}

impl Api for Echo {
    fn call(&self, from: &FrameHeader, payload: &[u8], reply: &mut Reply<'_>) -> Result<(), Malformed> {
        let mut reader = Reader::new(payload);
        match from.call {
            CALL_ECHO => reply.writer().raw(payload).map_err(full),
            CALL_INCREMENT => self.increment(&reader.buffer()?),
            CALL_SLEEP => {
                std::thread::sleep(Duration::from_millis(reader.u64()?.min(10_000)));
                reply.writer().raw(payload).map_err(full)
            }
            CALL_FAIL => {
                reply.status(reader.u32()?.cast_signed());
                Ok(())
            }
            CALL_MAP => self.map(&mut reader, reply),
            CALL_HOLD => {
                let (time, buffer) = (reader.u64()?, reader.buffer()?);
                let pieces = self.0.memory().resolve(&buffer, false)?;
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(time.min(10_000)));
                    drop(pieces);
                });
                Ok(())
            }
            CALL_ATTEMPT => {
                reply.status(try_act(&mut reader, payload)?);
                Ok(())
            }
            CALL_FLOOD => {
                for _ in 0..4 {
                    std::thread::spawn(flood);
                }
                Ok(())
            }
            CALL_TALK => {
                std::thread::spawn(talk);
                Ok(())
            }
            CALL_SHOUT => {
                for number in 0..reader.u32()? {
                    let line = format!("gpuferryd[1] error: line {number}\n");
                    // SAFETY: the line's own bytes.
                    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
                }
                Ok(())
            }
            _ => Err(Malformed::new("call of an unknown number")),
        }
    }

    fn blocks(&self, call: u16) -> bool {
        call == CALL_SLEEP
    }

    fn end(&self) {}
}

fn load(settings: &Settings) -> Result<Box<dyn Library>, LoadError> {
    match &settings.library {
        Some(file) if !file.exists() => {
            Err(format!("{} is not there: give the driver's library by --library", file.display()).into())
        }
        _ => Ok(Box::new(Loaded)),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, option, act, profile, layers] = arguments.as_slice()
        && option == "--attempt"
    {
        attempt_alone(act, profile, layers);
    }
    worker::main(load)
}
