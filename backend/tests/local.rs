//! The local carrier end to end: a program's side by hand against the real `gpuferryd` and a worker that echoes.

mod support;

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gpuferry_backend::channel::ChannelError;
use gpuferry_backend::mapping::{Mapping, Source};
use gpuferry_backend::os::{sealed_memory, signal as ring};
use support::program::{Program, hello};
use support::{Front, eventually, signal};
use wire::control::{Death, Message, Piece, REGION_ATTACHED};
use wire::device::{PIN_READ, PIN_WRITE, RESPONSE_INVALID, RESPONSE_NO_WORKER, RESPONSE_OK};
use wire::payload::Buffer;
use wire::window::{RING_OFFSET, STAGING_OFFSET, STATE_DEAD};

const BOTH: u32 = PIN_READ | PIN_WRITE;

fn pin(lease: u32, flags: u32, address: u64, bytes: u64, pages: u64) -> Message {
    let pieces = vec![Piece { region: REGION_ATTACHED, offset: 0, bytes: pages * 4096 }];
    Message::Pin { lease, flags, address, bytes, pieces }
}

fn start() -> Front {
    Front::start(&["--local-path", "FOLDER/local"])
}

#[test]
fn call_when_sent_then_is_answered_also_after_the_worker_slept() {
    let front = start();
    let mut program = Program::open(&front);
    for round in 0..50u8 {
        assert_eq!(program.echo(&[round; 100]), (0, vec![round; 100]));
        std::thread::sleep(Duration::from_micros(u64::from(round) * 50));
    }
}

#[test]
fn session_when_the_program_goes_then_its_worker_is_gone() {
    let front = start();
    let program = Program::open(&front);
    let line = front.wait_for("gets worker");
    let worker: i32 = line.rsplit(' ').next().expect("an id").parse().expect("an id");
    assert!(line.contains("test?program[42]"), "{line}");
    drop(program);
    front.wait_for("is closed");
    assert!(!front.workers().contains(&worker));
}

#[test]
fn control_socket_when_asked_then_tells_of_the_session_and_reads_nothing() {
    let front = Front::start(&["--local-path", "FOLDER/local", "--control-path", "FOLDER/control"]);
    let mode = std::fs::metadata(front.path("control")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stats = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpuferryctl"));
        let output = command.args(["stats", "--json", "--control-path"]).arg(front.path("control")).output();
        let output = output.expect("gpuferryctl");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(stats().ends_with("\"sessions\": 0, \"rows\": []}\n"));
    let mut program = Program::open(&front);
    for round in 0..50u8 {
        program.echo(&[round; 100]);
    }
    // Garbage is not an answer's business, nor is one that sends and does not read.
    let mut other = UnixStream::connect(front.path("control")).expect("connected");
    let _ = other.write_all(&[0xff; 4096]);
    let worker = front.workers().first().copied();
    let text = stats();
    for expected in
        ["\"program\": \"test?program\", \"process\": 42", "\"state\": \"open\"", "\"waited\": 50,", "\"posted\": 0"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(worker.is_some());
    drop(program);
    front.wait_for("is closed");
    eventually("an empty list", || stats().ends_with("\"rows\": []}\n"));
    signal(front.child.id().cast_signed(), libc::SIGTERM);
    eventually("the socket's end", || !front.path("control").exists());
}

#[test]
fn posted_call_when_it_fails_then_the_first_status_is_kept() {
    let front = start();
    let mut program = Program::open(&front);
    let doorbell = program.doorbell.try_clone().expect("doorbell");
    for status in [7, 8] {
        program.guest.post(4, |writer| writer.u32(status), &|| ring(doorbell.as_fd()));
    }
    program.echo(b"");
    let deferred = &program.guest.header().deferred;
    assert_eq!((deferred.swap(0, Ordering::AcqRel), deferred.load(Ordering::Acquire)), (7, 0));
}

#[test]
fn blocking_call_when_it_sleeps_then_others_go_on() {
    let front = start();
    let mut program = Program::open(&front);
    let doorbell = program.doorbell.try_clone().expect("doorbell");
    let start = Instant::now();
    let sent: Vec<_> = (1..20u16)
        .map(|slot| program.guest.send(3, slot, |writer| writer.u64(400), &|| ring(doorbell.as_fd())))
        .collect();
    assert_eq!(program.echo(b"now").1, b"now");
    assert!(start.elapsed() < Duration::from_millis(300), "the call waited for the sleeping ones");
    for (slot, sequence) in (1..20u16).zip(sent) {
        eventually("reply", || program.guest.is_ready(slot, sequence));
    }
    assert!(start.elapsed() < Duration::from_millis(1500), "the sleeping calls waited for each other");
}

#[test]
fn staging_when_used_then_is_read_and_written_in_place_and_out_of_bounds_ends_the_session() {
    let front = start();
    let mut program = Program::open(&front);
    let offset = STAGING_OFFSET + 100;
    // SAFETY: within the window's staging area.
    unsafe { program.guest.bytes(offset).write(41) };
    let buffer = |offset: usize, bytes| Buffer::Staging { offset: offset as u64, bytes };
    assert_eq!(program.call_with(2, |writer| writer.buffer(buffer(offset, 10))).0, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { program.guest.bytes(offset).read() }, 42);
    let doorbell = program.doorbell.try_clone().expect("doorbell");
    let outside = buffer(RING_OFFSET, 8);
    program.guest.post(2, |writer| writer.buffer(outside), &|| ring(doorbell.as_fd()));
    front.wait_for("malformed: buffer reaches out of the staging area");
    eventually("death", || program.guest.header().state.load(Ordering::Acquire) == STATE_DEAD);
    assert_eq!(program.guest.header().death.load(Ordering::Relaxed), Death::Malformed as u32);
}

#[test]
fn lease_when_lent_then_is_used_in_place_and_ends_only_when_the_last_use_does() {
    let front = start();
    let mut program = Program::open(&front);
    let memory = sealed_memory(3 * 4096).expect("memory");
    let ours = Mapping::of(Source { file: memory.as_fd(), offset: 0, bytes: 3 * 4096 }).expect("mapped");
    let address = 0x7f00_0000_0010;
    let lent = || memory.try_clone().expect("memory");
    assert_eq!(program.ask(&pin(9, BOTH, address, 9000, 3), vec![lent()]), RESPONSE_OK);
    assert_eq!(program.ask(&pin(9, BOTH, address, 9000, 3), vec![lent()]), RESPONSE_INVALID, "the number is in use");
    assert_eq!(program.ask(&pin(10, BOTH, address, 9000, 2), vec![lent()]), RESPONSE_INVALID, "too few pages");
    let buffer = Buffer::Lease { lease: 9, offset: 4000, bytes: 5000 };
    assert_eq!(program.call_with(2, |writer| writer.buffer(buffer)).0, 0);
    // SAFETY: within the mapping.
    let at = |offset: usize| unsafe { ours.base().add(offset).read_volatile() };
    assert_eq!((at(16 + 3999), at(16 + 4000), at(16 + 8999), at(16 + 9000)), (0, 1, 1, 0));
    program.call_with(6, |writer| {
        writer.u64(300)?;
        writer.buffer(buffer)
    });
    let start = Instant::now();
    assert_eq!(program.ask(&Message::Unpin { lease: 9 }, vec![]), RESPONSE_OK);
    assert!(start.elapsed() > Duration::from_millis(200), "the lease ended while it was in use");
    assert_eq!(program.ask(&Message::Unpin { lease: 9 }, vec![]), RESPONSE_INVALID);
}

#[test]
fn leases_when_more_than_a_process_may_usually_have_files_then_are_all_lent() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: valid places; the hard limit stays as it is.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = 1024;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    assert!(limit.rlim_max > 3000, "this machine allows too few open files for the test");
    let front = start();
    let mut program = Program::open(&front);
    for lease in 0..1500 {
        let memory = sealed_memory(4096).expect("memory");
        assert_eq!(program.ask(&pin(lease, BOTH, 0, 4096, 1), vec![memory]), RESPONSE_OK, "lease {lease}");
    }
}

#[test]
fn lease_when_mapped_at_its_address_then_holds_until_unmapped() {
    let front = start();
    let mut program = Program::open(&front);
    let memory = sealed_memory(2 * 4096).expect("memory");
    let ours = Mapping::of(Source { file: memory.as_fd(), offset: 0, bytes: 2 * 4096 }).expect("mapped");
    let address = 0x6000_0000_5000u64;
    assert_eq!(program.ask(&pin(1, BOTH, address, 8192, 2), vec![memory.try_clone().expect("memory")]), RESPONSE_OK);
    assert_eq!(program.ask(&pin(2, PIN_READ, address, 8192, 2), vec![memory]), RESPONSE_OK);
    let mut map = |lease: u32, address: u64, bytes: u64, unmap: u32| {
        program
            .call_with(5, |writer| {
                writer.u32(lease)?;
                writer.u64(address)?;
                writer.u64(bytes)?;
                writer.u32(unmap)
            })
            .0
    };
    assert_eq!(map(1, address, 8192, 1), 0);
    assert_eq!(map(1, address, 8192, 0), 0, "mapped again, and kept");
    assert_eq!(map(1, address, 8192, 0), 1, "in use");
    assert_eq!(map(1, address + 4096, 4096, 0), 1, "in use in part");
    assert_eq!(map(2, address + 0x10000, 8192, 0), 1, "lent for reading only");
    assert_eq!(map(1, 0, 8192, 1), 1, "where a null pointer leads to");
    assert_eq!(map(1, address + 0x10008, 8192, 0), 1, "another offset in the page");
    assert_eq!(map(1, address + 0x10000, 8193, 0), 1, "longer than the lease");
    assert_eq!(map(7, address, 1, 0), 1, "no such lease");
    assert_eq!(map(1, 0x7100_0000_0000, 8192, 1), 0, "outside of the page-locked range, where nothing is");
    // SAFETY: within the mapping.
    assert_eq!(unsafe { ours.base().read_volatile() }, 3);
    let cookie = program.request(&Message::Unpin { lease: 1 }, vec![]);
    assert_eq!(program.echo(b"still here").1, b"still here");
    assert!(matches!(program.channel.receive(), Ok(None)), "unpin {cookie} is not answered while mapped");
}

#[test]
fn worker_when_killed_then_the_program_sees_death_and_its_socket_closes() {
    let front = start();
    let mut program = Program::open(&front);
    let line = front.wait_for("gets worker");
    signal(line.rsplit(' ').next().expect("an id").parse().expect("an id"), libc::SIGKILL);
    assert!(matches!(program.channel.receive_blocking(), Err(ChannelError::Gone)));
    assert_eq!(program.guest.header().state.load(Ordering::Acquire), STATE_DEAD);
    assert_eq!(program.guest.header().death.load(Ordering::Relaxed), Death::WorkerEnded as u32);
    // What a thread that sleeps too late compares.
    assert_eq!(program.guest.header().head_epoch.load(Ordering::Acquire), 1);
    assert!(program.guest.is_ready(0, 1 << 31) && program.guest.is_ready(63, 1 << 31));
    front.wait_for("was ended by signal 9");
    Program::open(&front).echo(b"the front goes on");
}

#[test]
fn frame_when_malformed_then_ends_that_session_alone() {
    let front = start();
    let mut other = Program::open(&front);
    let program = Program::open(&front);
    program.guest.header().tail.store(12345, Ordering::SeqCst);
    ring(program.doorbell.as_fd());
    eventually("death", || program.guest.header().state.load(Ordering::Acquire) == STATE_DEAD);
    assert_eq!(program.guest.header().death.load(Ordering::Relaxed), Death::Malformed as u32);
    front.wait_for("malformed: tail of the ring is impossible");
    assert_eq!(other.echo(b"untouched").1, b"untouched");
}

#[test]
fn front_when_told_garbage_then_closes_and_goes_on() {
    let front = start();
    use std::io::{Read, Write};
    let mut socket = UnixStream::connect(front.path("local")).expect("connected");
    socket.write_all(&[0xff; 100]).expect("written");
    assert_eq!(socket.read(&mut [0; 10]).unwrap_or(0), 0);
    let mut channel = hello(&front, 999);
    let refused = channel.receive_blocking().expect("an answer").message;
    assert_eq!(refused, Message::Done { status: RESPONSE_INVALID });
    front.wait_for("wire version 999");
    let mut program = Program::open(&front);
    let guest_region = vec![Piece { region: 0, offset: 0, bytes: 4096 }];
    program.request(&Message::Pin { lease: 1, flags: 1, address: 0, bytes: 1, pieces: guest_region }, vec![]);
    assert!(program.channel.receive_blocking().is_err(), "a program has no guest regions");
    Program::open(&front).echo(b"the front goes on");
}

#[test]
fn limits_when_reached_then_refuse_and_are_given_back() {
    let front = Front::start(&["--local-path", "FOLDER/local", "--max-sessions", "2", "--prestart", "0"]);
    let first = Program::open(&front);
    let _second = Program::open(&front);
    let refused = hello(&front, wire::WIRE_VERSION).receive_blocking().expect("an answer").message;
    assert_eq!(refused, Message::Done { status: RESPONSE_NO_WORKER });
    front.wait_for("as many as --max-sessions allows");
    drop(first);
    front.wait_for("is closed");
    Program::open(&front).echo(b"room again");
}

#[test]
fn connections_when_there_are_too_many_then_the_next_is_closed_until_some_go() {
    const MOST: usize = 512;
    let front = start();
    let connect = || UnixStream::connect(front.path("local")).expect("connected");
    let all: Vec<UnixStream> = (0..MOST).map(|_| connect()).collect();
    let mut next = connect();
    next.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    assert_eq!(std::io::Read::read(&mut next, &mut [0]).expect("closed"), 0);
    front.wait_for("512 are connected");
    drop(all);
    eventually("room again", || {
        let mut channel = hello(&front, wire::WIRE_VERSION);
        channel.receive_blocking().is_ok_and(|received| matches!(received.message, Message::Welcome { .. }))
    });
}

#[test]
fn front_when_terminated_then_removes_its_socket_and_its_workers_end() {
    let mut front = start();
    let _program = Program::open(&front);
    eventually("one that serves and one that is kept", || front.workers().len() >= 2);
    let workers = front.workers();
    signal(i32::try_from(front.child.id()).expect("id"), libc::SIGTERM);
    assert!(front.child.wait().expect("ended").success());
    assert!(!front.path("local").exists());
    let gone = |id: &i32| !std::path::Path::new(&format!("/proc/{id}/cmdline")).exists() || is_zombie(*id);
    eventually("the workers' end", || workers.iter().all(gone));
}

fn is_zombie(id: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn room_when_its_first_process_is_killed_then_the_next_session_gets_another() {
    let front = Front::start(&["--local-path", "FOLDER/local"]);
    let mut program = Program::open(&front);
    let room = parent(front.workers()[0]);
    signal(room, libc::SIGKILL);
    // All that was in it ends with it, also what sleeps.
    assert_eq!(program.call_until_death(3, |writer| writer.u64(60_000)), None);
    drop(program);
    let mut next = Program::open(&front);
    assert_eq!(next.echo(b"x"), (0, b"x".to_vec()));
    assert_ne!(parent(front.workers()[0]), room);
}

fn parent(process: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("its parent");
    line.trim().parse().expect("a number")
}

#[test]
fn log_when_workers_write_lines_without_end_then_stays_short_and_names_who_wrote_them() {
    let front = Front::start(&["--local-path", "FOLDER/local", "--log-level", "info"]);
    // One after the other: that a worker is a fresh one makes no difference.
    for _ in 0..3 {
        let mut program = Program::open(&front);
        assert_eq!(program.call_with(9, |writer| writer.u32(20_000)).0, 0);
    }
    Program::open(&front).echo(b"the front goes on");
    let worker = front.wait_for("gets worker").rsplit(' ').next().expect("an id").to_owned();
    front.wait_for(&format!("gpuferry-worker[{worker}] gpuferryd[1] error: line 0"));
    front.wait_for("lines of workers were left out");
    // A thousand at once, and 20 a second.
    let lines = front.count("error: line ");
    assert!((500..1400).contains(&lines), "{lines}");
}

#[test]
fn front_when_killed_then_its_workers_end() {
    let mut front = start();
    let _program = Program::open(&front);
    let workers = front.workers();
    front.child.kill().expect("killed");
    front.child.wait().expect("ended");
    let gone = |id: &i32| !std::path::Path::new(&format!("/proc/{id}/cmdline")).exists() || is_zombie(*id);
    eventually("the workers' end", || workers.iter().all(gone));
}

#[test]
fn library_when_it_does_not_work_then_the_front_says_so_and_ends() {
    let mut front = Front::start_raw(&["--local-path", "FOLDER/local", "--library", "/nowhere/libcuda.so.1"]);
    assert_eq!(front.child.wait().expect("ended").code(), Some(1));
    front.wait_for("/nowhere/libcuda.so.1 is not there");
    front.wait_for("the first worker could not use the host's library");
    assert!(!front.path("local").exists());
}

#[test]
fn socket_when_in_use_then_the_second_front_says_so_and_ends() {
    let front = start();
    let place = front.path("local");
    let mut second = Front::start_raw(&["--local-path", place.to_str().expect("a plain path")]);
    assert_eq!(second.child.wait().expect("ended").code(), Some(1));
    second.wait_for("is in use by a running process");
    Program::open(&front).echo(b"untouched");
}

#[test]
fn worker_when_idle_then_uses_no_time_and_wakes_for_the_doorbell() {
    let front = start();
    let mut program = Program::open(&front);
    let worker: i32 = front.wait_for("gets worker").rsplit(' ').next().expect("an id").parse().expect("an id");
    program.echo(b"x");
    std::thread::sleep(Duration::from_millis(50));
    let before = cpu_ticks(worker);
    std::thread::sleep(Duration::from_millis(500));
    assert!(cpu_ticks(worker) - before <= 1, "an idle worker runs");
    eventually("parking", || program.guest.header().host_parked.load(Ordering::SeqCst) == 1);
    assert_eq!(program.echo(b"awake").1, b"awake");
}

fn cpu_ticks(process: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("stat");
    let fields: Vec<_> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks")
}

#[test]
fn call_when_it_takes_longer_than_it_may_then_ends_its_session_alone_and_at_once() {
    let front = Front::start(&["--local-path", "FOLDER/local", "--call-timeout", "0.3"]);
    let mut other = Program::open(&front);
    let mut program = Program::open(&front);
    let begin = Instant::now();
    let answer = program.call_until_death(3, |writer| writer.u64(10_000));
    let time = begin.elapsed();
    assert_eq!(answer, None);
    assert!((300..400).contains(&time.as_millis()), "the guest learns of it after {time:?}");
    assert_eq!(program.guest.header().death.load(Ordering::Relaxed), Death::TimedOut as u32);
    front.wait_for("takes longer than it may");
    assert_eq!(other.echo(b"on"), (0, b"on".to_vec()));
    assert_eq!(Program::open(&front).echo(b"new"), (0, b"new".to_vec()));
    // Short calls are not meant, however many.
    for _ in 0..5 {
        assert_eq!(other.call_with(3, |writer| writer.u64(100)).0, 0);
    }
}

#[test]
fn spare_worker_when_killed_before_it_serves_then_the_session_gets_another() {
    let front = start();
    for _ in 0..20 {
        eventually("a spare worker", || !front.workers().is_empty());
        for worker in front.workers() {
            signal(worker, libc::SIGKILL);
        }
        // At once: the front may not know of it yet.
        assert_eq!(Program::open(&front).echo(b"x"), (0, b"x".to_vec()));
        eventually("the end of the session's worker", || front.workers().len() <= 1);
    }
}

#[test]
fn workers_when_the_front_is_told_to_renew_them_then_sessions_go_on_and_the_next_get_new_ones() {
    let front = start();
    let mut program = Program::open(&front);
    eventually("a spare worker", || front.workers().len() == 2);
    let before = front.workers();
    signal(front.child.id().cast_signed(), libc::SIGHUP);
    front.wait_for("the next sessions get new workers");
    eventually("a new spare", || front.workers().iter().filter(|worker| !before.contains(worker)).count() == 1);
    assert_eq!(program.echo(b"still here"), (0, b"still here".to_vec()));
    assert_eq!(front.workers().iter().filter(|worker| before.contains(worker)).count(), 1);
    assert_eq!(Program::open(&front).echo(b"new"), (0, b"new".to_vec()));
}
