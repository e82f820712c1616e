//! Messages that no guest library sends, against a library of fakes ([`super::fakes`]).

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use wire::Malformed;
use wire::frame::{FrameHeader, NO_SLOT};
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Reader, Writer};
use wire::slot::MAX_REPLY_BYTES;

use super::fakes::{GO, STRAY, USES, find, make, references};
use super::generated::{self, Library, kind};
use super::load::Found;
use super::{Api, OpenCl};
use crate::worker::objects::Kind;
use crate::worker::{Reply, Session, played};

/// The fakes count for all: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn session() -> Arc<Session> {
    static SESSION: LazyLock<Arc<Session>> = LazyLock::new(played::session);
    Arc::clone(&SESSION)
}

/// A session with its device, context, queue, program, kernel and buffer, each of index 0.
fn opencl() -> OpenCl {
    // SAFETY: the fakes have the prototypes of what they stand for.
    let library = unsafe { Library::find(find) };
    let device = make().addr();
    let opencl = OpenCl::new(library, Found { platform: 0x1000, devices: vec![device] }, session());
    STRAY.store(0, Ordering::Relaxed);
    assert_eq!(
        send(&opencl, "gpuferryDevice", 0, |w| w.u64(number(kind::cl_device_id, 0)).and_then(|()| w.u32(0))),
        Ok(0)
    );
    assert_eq!(context(&opencl, 0, &[]), Ok(0));
    let queue = send(&opencl, "gpuferryQueue", 0, |w| {
        w.u64(number(kind::cl_command_queue, 0))?;
        w.u64(number(kind::cl_context, 0))?;
        w.u64(number(kind::cl_device_id, 0))?;
        w.run(&[0; 8])
    });
    assert_eq!(queue, Ok(0));
    assert_eq!(buffer(&opencl, 0, 4096), Ok(0));
    program(&opencl, 0);
    let kernel = send(&opencl, "clCreateKernel", 0, |w| {
        w.u64(number(kind::cl_kernel, 0))?;
        w.u64(number(kind::cl_program, 0))?;
        w.run(b"k")
    });
    assert_eq!(kernel, Ok(0));
    opencl
}

fn number(kind: Kind, index: u32) -> u64 {
    Handle::new(kind.number, 1, index).0
}

fn call(name: &str) -> u16 {
    (0x4000..0x6000).find(|call| generated::name(*call) == Some(name)).expect("a call of that name")
}

fn context(opencl: &OpenCl, index: u32, properties: &[u8]) -> Result<i32, Malformed> {
    send(opencl, "gpuferryContext", 0, |w| {
        w.u64(number(kind::cl_context, index))?;
        w.run(properties)?;
        w.run(&number(kind::cl_device_id, 0).to_le_bytes())?;
        w.u64(0)
    })
}

fn buffer(opencl: &OpenCl, index: u32, size: u64) -> Result<i32, Malformed> {
    send(opencl, "gpuferryBuffer", 0, |w| {
        w.u64(number(kind::cl_mem, index))?;
        w.u64(number(kind::cl_context, 0))?;
        w.u64(1)?;
        w.u64(size)?;
        w.buffer(Buffer::Null)
    })
}

fn program(opencl: &OpenCl, index: u32) {
    let made = send(opencl, "gpuferryProgramSource", 0, |w| {
        w.u64(number(kind::cl_program, index))?;
        w.u64(number(kind::cl_context, 0))?;
        w.buffer(Buffer::Inline(b"kernel void k() {}"))
    });
    assert_eq!(made, Ok(0));
}

fn end(opencl: &OpenCl, name: &str, object: u64) -> Result<i32, Malformed> {
    send(opencl, name, NO_SLOT, |w| w.u64(object))
}

/// Sends a message. Returns the status.
fn send(
    opencl: &OpenCl,
    name: &str,
    slot: u16,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<i32, Malformed> {
    ask(opencl, name, slot, fill).map(|(status, _)| status)
}

/// Sends a message. Returns the status and the reply's payload.
fn ask(
    opencl: &OpenCl,
    name: &str,
    slot: u16,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<(i32, Vec<u8>), Malformed> {
    let mut payload = [0; 1024];
    let mut writer = Writer::new(&mut payload);
    fill(&mut writer).expect("room");
    let bytes = writer.len();
    let mut memory = [0; MAX_REPLY_BYTES];
    let mut reply = Reply::new(&mut memory);
    let from = FrameHeader { call: call(name), slot, ..FrameHeader::default() };
    opencl.call(&from, &payload[..bytes], &mut reply)?;
    let (status, bytes) = reply.finish();
    Ok((status, memory[..bytes].to_vec()))
}

/// `gpuferrySetArg` of one argument.
fn set(opencl: &OpenCl, index: u32, sort: u32, size: u64, value: &[u8]) -> Result<i32, Malformed> {
    send(opencl, "gpuferrySetArg", 0, |w| {
        w.u64(number(kind::cl_kernel, 0))?;
        w.u32(index)?;
        w.u32(sort)?;
        w.u64(size)?;
        w.run(value)
    })
}

fn start(opencl: &OpenCl, queue: u64, kernel: u64, dimensions: u32) -> Result<i32, Malformed> {
    send(opencl, "gpuferryLaunch", 0, |w| {
        w.u64(queue)?;
        w.u64(kernel)?;
        w.u32(0)?;
        w.space(16, 0)?;
        w.u32(dimensions)?;
        w.u32(0)?;
        (0..9).try_for_each(|_| w.u64(1))?;
        w.run(&[])?;
        w.u64(0)
    })
}

#[test]
fn objects_when_a_number_is_none_of_the_kind_then_never_reach_the_library() {
    let _turn = TURN.lock().expect("turn");
    let opencl = opencl();
    let (queue, kernel) = (number(kind::cl_command_queue, 0), number(kind::cl_kernel, 0));
    assert_eq!(start(&opencl, queue, kernel, 1), Ok(0));
    USES.store(0, Ordering::Relaxed);
    let stale = Handle::new(kind::cl_command_queue.number, 2, 0).0;
    for wrong in [0, 1, kernel, stale, number(kind::cl_command_queue, 1), u64::MAX, (&raw const opencl).addr() as u64] {
        assert_eq!(start(&opencl, wrong, kernel, 1), Ok(-36), "{wrong:#x}");
        assert_eq!(end(&opencl, "clReleaseCommandQueue", wrong), Ok(-36), "{wrong:#x}");
    }
    assert_eq!(start(&opencl, queue, queue, 1), Ok(-48), "a queue for a kernel");
    for dimensions in [0, 4, u32::MAX] {
        assert_eq!(start(&opencl, queue, kernel, dimensions), Ok(-53));
    }
    assert_eq!(USES.load(Ordering::Relaxed), 0);
    assert_eq!(end(&opencl, "clReleaseCommandQueue", queue), Ok(0));
    assert_eq!(end(&opencl, "clReleaseCommandQueue", queue), Ok(-36), "released twice");
    assert_eq!(STRAY.load(Ordering::Relaxed), 0);
}

#[test]
fn arguments_when_bytes_would_be_an_address_then_never_reach_the_library() {
    let _turn = TURN.lock().expect("turn");
    let opencl = opencl();
    let secret = 7u64;
    let address = (&raw const secret).addr() as u64;
    USES.store(0, Ordering::Relaxed);
    assert_eq!(set(&opencl, 0, 0, 8, &address.to_le_bytes()), Ok(-38), "bytes for a buffer");
    assert_eq!(set(&opencl, 0, 0, 8, &[0x10; 8]), Ok(-38));
    assert_eq!(set(&opencl, 0, 0, 4, &[0; 4]), Ok(-51));
    assert_eq!(set(&opencl, 2, 0, 8, &address.to_le_bytes()), Ok(-50), "an address for what may be a buffer");
    assert_eq!(set(&opencl, 1, 1, 8, &number(kind::cl_mem, 0).to_le_bytes()), Ok(-50), "a buffer for a number");
    assert_eq!(set(&opencl, 0, 1, 8, &number(kind::cl_kernel, 0).to_le_bytes()), Ok(-50), "a kernel");
    assert_eq!(set(&opencl, 0, 1, 8, &number(kind::cl_mem, 9).to_le_bytes()), Ok(-38), "no buffer");
    assert_eq!(set(&opencl, 0, 1, 1 << 40, &number(kind::cl_mem, 0).to_le_bytes()), Ok(-51));
    assert_eq!(set(&opencl, 0, 3, 8, &address.to_le_bytes()), Ok(-59), "no shared virtual memory here");
    assert_eq!(set(&opencl, 3, 0, 8, &[0; 8]), Ok(-49));
    assert_eq!(set(&opencl, 0, 2, u64::MAX, &[]), Ok(-51), "more local memory than there is");
    assert!(set(&opencl, 1, 0, 16, &[0; 8]).is_err(), "shorter than it says");
    assert!(set(&opencl, 1, 9, 8, &[0; 8]).is_err(), "no sort");
    assert_eq!(USES.load(Ordering::Relaxed), 0);
    assert_eq!(set(&opencl, 1, 0, 8, &address.to_le_bytes()), Ok(0), "a number may be any");
    assert_eq!(set(&opencl, 0, 1, 8, &number(kind::cl_mem, 0).to_le_bytes()), Ok(0));
    assert_eq!(USES.load(Ordering::Relaxed), 2);
}

#[test]
fn launch_when_an_argument_was_released_then_never_reaches_the_library() {
    let _turn = TURN.lock().expect("turn");
    let opencl = opencl();
    let (queue, kernel) = (number(kind::cl_command_queue, 0), number(kind::cl_kernel, 0));
    assert_eq!(set(&opencl, 0, 1, 8, &number(kind::cl_mem, 0).to_le_bytes()), Ok(0));
    assert_eq!(start(&opencl, queue, kernel, 1), Ok(0));
    assert_eq!(end(&opencl, "clReleaseMemObject", number(kind::cl_mem, 0)), Ok(0));
    USES.store(0, Ordering::Relaxed);
    assert_eq!(start(&opencl, queue, kernel, 1), Ok(-52));
    assert_eq!(USES.load(Ordering::Relaxed), 0);
}

#[test]
fn transfers_when_the_bytes_are_not_the_guests_then_never_reach_the_library() {
    let _turn = TURN.lock().expect("turn");
    let opencl = opencl();
    let secret = [0u8; 64];
    let area = |w: &mut Writer<'_>, sort: u32, bytes: u64| {
        w.u64(number(kind::cl_command_queue, 0))?;
        w.u64(number(kind::cl_mem, 0))?;
        w.u32(sort)?;
        w.u32(0)?;
        for word in [0, 0, 0, bytes, bytes, bytes, 0, 0] {
            w.u64(word)?;
        }
        Ok(())
    };
    let rest = |w: &mut Writer<'_>| w.run(&[]).and_then(|()| w.u64(0));
    USES.store(0, Ordering::Relaxed);
    for (sort, asked, room) in [(0, 65, 64), (0, u64::MAX, 64), (1, 4, 65), (1, 1 << 40, 64), (7, 64, 64)] {
        let read = send(&opencl, "gpuferryRead", 0, |w| {
            area(w, sort, asked)?;
            w.buffer(Buffer::Reply { bytes: room })?;
            rest(w)
        });
        assert_eq!(read, Ok(-30), "{sort} {asked}");
    }
    for address in [secret.as_ptr() as u64, 0, u64::MAX] {
        for name in ["gpuferryReadTo", "gpuferryWriteFrom"] {
            let moved = send(&opencl, name, 0, |w| {
                area(w, 0, 64)?;
                w.u64(address)?;
                w.u64(64)?;
                rest(w)
            });
            assert_eq!(moved, Ok(-30), "{name} {address:#x}");
        }
    }
    assert_eq!(USES.load(Ordering::Relaxed), 0);
    let (status, reply) = ask(&opencl, "gpuferryRead", 0, |w| {
        area(w, 0, 64)?;
        w.buffer(Buffer::Reply { bytes: 64 })?;
        rest(w)
    })
    .expect("sound");
    assert_eq!((status, reply), (0, vec![7; 64]));
}

#[test]
fn objects_when_released_while_a_call_sleeps_then_live_until_it_returns() {
    let _turn = TURN.lock().expect("turn");
    let opencl = opencl();
    let queue = number(kind::cl_command_queue, 0);
    let object = opencl.objects.get(kind::cl_command_queue, Handle(queue)).expect("the queue").addr();
    GO.store(false, Ordering::Relaxed);
    std::thread::scope(|threads| {
        let sleeper = threads.spawn(|| send(&opencl, "clFinish", 1, |w| w.u64(queue)));
        until("the call holds the queue", || references(object) == 2);
        assert_eq!(end(&opencl, "clReleaseCommandQueue", queue), Ok(0));
        assert_eq!(references(object), 1);
        GO.store(true, Ordering::Relaxed);
        assert_eq!(sleeper.join().expect("returns"), Ok(0));
    });
    assert_eq!(references(object), 0);
    assert_eq!(STRAY.load(Ordering::Relaxed), 0);
}

#[test]
fn builds_when_they_never_end_then_are_given_up_and_do_not_pile_up() {
    let _turn = TURN.lock().expect("turn");
    let mut opencl = opencl();
    opencl.build_limit = Duration::from_millis(20);
    GO.store(false, Ordering::Relaxed);
    let build = |index: u32| {
        send(&opencl, "gpuferryBuild", 0, |w| {
            w.u64(number(kind::cl_program, index))?;
            w.run(&[])?;
            w.run(b"")
        })
    };
    let log = || {
        ask(&opencl, "gpuferryInfo", 0, |w| {
            w.u32(generated::INFO_PROGRAM_BUILD)?;
            w.u64(number(kind::cl_program, 1))?;
            w.u64(number(kind::cl_device_id, 0))?;
            w.u32(0x1183)?;
            w.run(&[])?;
            w.buffer(Buffer::Reply { bytes: 200 })
        })
    };
    for index in 1..=4 {
        program(&opencl, index);
        assert_eq!(build(index), Ok(-11));
    }
    program(&opencl, 5);
    assert_eq!(build(5), Ok(-5), "too many run on");
    let (status, reply) = log().expect("sound");
    assert_eq!(status, 0);
    let text = String::from_utf8_lossy(&reply[8..]).into_owned();
    assert!(text.contains("limit of time"), "{text}");
    USES.store(0, Ordering::Relaxed);
    assert_eq!(build(1), Ok(-11), "the program stands for nothing");
    assert_eq!(end(&opencl, "clReleaseProgram", number(kind::cl_program, 1)), Ok(0));
    assert_eq!(end(&opencl, "clReleaseProgram", number(kind::cl_program, 1)), Ok(-44));
    assert_eq!(USES.load(Ordering::Relaxed), 0);
    GO.store(true, Ordering::Relaxed);
    until("the builds have ended", || opencl.abandoned.load(Ordering::Relaxed) == 0);
    opencl.build_limit = Duration::from_secs(60);
    let built = send(&opencl, "gpuferryBuild", 0, |w| {
        w.u64(number(kind::cl_program, 5))?;
        w.run(&[])?;
        w.run(b"")
    });
    assert_eq!(built, Ok(0));
    assert_eq!(STRAY.load(Ordering::Relaxed), 0, "what the builds use was held");
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn memory_when_objects_take_more_than_the_device_has_then_is_refused() {
    let _turn = TURN.lock().expect("turn");
    let opencl = opencl();
    // More than a device gives at a time, which its memory is here: CL_INVALID_BUFFER_SIZE.
    assert_eq!(buffer(&opencl, 1, u64::MAX), Ok(-61));
    assert_eq!(buffer(&opencl, 1, (1 << 20) + 1), Ok(-61));
    // Each takes 64 KiB; one is there.
    for index in 2..17 {
        assert_eq!(buffer(&opencl, index, 4096), Ok(0), "{index}");
    }
    assert_eq!(buffer(&opencl, 17, 4096), Ok(-4));
    assert_eq!(end(&opencl, "clReleaseMemObject", number(kind::cl_mem, 3)), Ok(0));
    assert_eq!(buffer(&opencl, 18, 4096), Ok(0), "given back");
}

#[test]
fn properties_when_they_are_objects_of_the_host_then_are_refused() {
    let _turn = TURN.lock().expect("turn");
    let opencl = opencl();
    let pair = |name: u64, value: u64| [name.to_le_bytes(), value.to_le_bytes()].concat();
    assert_eq!(context(&opencl, 1, &pair(0x1084, 0x1000)), Ok(-64), "a platform by its address");
    assert_eq!(context(&opencl, 2, &pair(0x2008, 0x1000)), Ok(-64), "a context of OpenGL");
    assert_eq!(context(&opencl, 3, &pair(0x1085, 1)), Ok(0));
    assert!(context(&opencl, 4, &[0; 8]).is_err(), "half a pair");
    let info = |what: u32, object: u64, param: u32| {
        ask(&opencl, "gpuferryInfo", 0, |w| {
            w.u32(what)?;
            w.u64(object)?;
            w.u64(0)?;
            w.u32(param)?;
            w.run(&[])?;
            w.buffer(Buffer::Reply { bytes: 8 })
        })
    };
    let device = number(kind::cl_device_id, 0);
    for (what, object, param) in [
        (generated::INFO_DEVICE, device, 0x1031),
        (generated::INFO_DEVICE, device, 0x1042),
        (generated::INFO_MEM, number(kind::cl_mem, 0), 0x1103),
        (generated::INFO_MEM, number(kind::cl_mem, 0), 0x1106),
        (generated::INFO_KERNEL, number(kind::cl_kernel, 0), 0x1193),
        (99, device, 0x1000),
    ] {
        assert_eq!(info(what, object, param).map(|(status, _)| status), Ok(-30), "{what} {param:#x}");
    }
    let (status, reply) = info(generated::INFO_DEVICE, device, 0x1002).expect("sound");
    let mut reader = Reader::new(&reply);
    assert_eq!((status, reader.u64(), reader.u64()), (0, Ok(8), Ok(7)));
}

#[test]
fn messages_when_of_random_bytes_then_end_the_session_or_are_answered() {
    let _turn = TURN.lock().expect("turn");
    let opencl = opencl();
    let calls: Vec<u16> = (0x4000..0x6000).filter(|call| generated::name(*call).is_some()).collect();
    assert!(calls.len() > 60);
    // A generator that is the same in every run (Knuth's constants).
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let kinds =
        [kind::cl_device_id, kind::cl_context, kind::cl_command_queue, kind::cl_mem, kind::cl_program, kind::cl_kernel];
    for round in 0..600u64 {
        for call in &calls {
            // Sleeps until a function is due.
            if generated::name(*call) == Some("gpuferryNextCallback") {
                continue;
            }
            let mut payload: Vec<u8> =
                (0..random() % 200).map(|_| if random() % 3 == 0 { random() as u8 } else { 0 }).collect();
            // Sound handles lead deeper into a message.
            for place in payload.as_chunks_mut::<8>().0.iter_mut().take((random() % 4) as usize) {
                let kind = kinds[random() as usize % kinds.len()];
                *place = number(kind, (random() % 3) as u32).to_le_bytes();
            }
            let slot = if round % 2 == 0 { 0 } else { NO_SLOT };
            let from = FrameHeader { call: *call, slot, ..FrameHeader::default() };
            let mut memory = [0; MAX_REPLY_BYTES];
            // Either way: what matters is that it returns.
            let _ = opencl.call(&from, &payload, &mut Reply::new(&mut memory));
        }
    }
    assert_eq!(STRAY.load(Ordering::Relaxed), 0);
}
