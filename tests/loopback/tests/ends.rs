//! However a program, a worker or the front ends: the others learn of it at once, and nothing is left.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use loopback::{Folder, Front, Way, children, errors, eventually, finish, front_command, lines, program, signal, wait};

const KINDS: [&str; 3] = ["launches", "copies", "waits"];

/// `endless`, once all of its threads use the device.
fn endless(kind: &str, front: &Front, folder: &Folder) -> Child {
    let mut command = program("endless", Way::Local(front), folder);
    let mut child =
        command.args([kind, "--threads", "3"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut line = String::new();
    let out = child.stdout.take().expect("a pipe");
    BufReader::new(out).read_line(&mut line).expect("readable");
    if line != "running\n" {
        let output = child.wait_with_output().expect("ended");
        panic!("endless {kind} does not run: {}", errors(&output));
    }
    child
}

fn works(front: &Front, folder: &Folder) {
    let again = finish(program("battery", Way::Local(front), folder).args(["--only", "events"]));
    assert!(again.status.success(), "the next session: {}", errors(&again));
}

#[test]
fn program_when_killed_then_its_worker_ends_and_others_go_on() {
    let (folder, mut front) = (Folder::new(), Front::start());
    for kind in KINDS {
        let mut other = endless("launches", &front, &folder);
        let mut child = endless(kind, &front, &folder);
        let worker = front.worker_of(child.id());
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(eventually(|| !children(front.process()).contains(&worker)), "{kind}: its worker is still there");
        assert!(other.try_wait().expect("a child").is_none(), "{kind}: the other program ended too");
        other.kill().expect("killed");
        other.wait().expect("ended");
        works(&front, &folder);
    }
    assert!(front.runs());
}

#[test]
fn worker_when_killed_then_its_program_gets_an_error_and_does_not_hang() {
    let (folder, mut front) = (Folder::new(), Front::start());
    let mut times = Vec::new();
    for kind in KINDS {
        let mut child = endless(kind, &front, &folder);
        signal(front.worker_of(child.id()), libc::SIGKILL);
        let begin = Instant::now();
        let status = wait(&mut child, Duration::from_secs(30));
        times.push(begin.elapsed());
        let output = child.wait_with_output().expect("ended");
        assert_eq!(
            status.and_then(|status| status.code()),
            Some(3),
            "{kind} hangs or ended otherwise: {}",
            errors(&output)
        );
        let text = errors(&output);
        assert!(text.contains("CUDA_ERROR_DEVICE_UNAVAILABLE (46)"), "{kind}: {text}");
        works(&front, &folder);
    }
    assert!(front.runs());
    // A busy machine may hold up one; never all.
    assert!(times.iter().all(|time| *time < Duration::from_secs(1)), "{times:?}");
    assert!(times.iter().any(|time| *time < Duration::from_millis(100)), "{times:?}");
}

#[test]
fn front_when_killed_then_programs_and_workers_end() {
    let (folder, mut front) = (Folder::new(), Front::start());
    for kind in KINDS {
        let mut child = endless(kind, &front, &folder);
        let workers = children(front.process());
        assert!(!workers.is_empty());
        front.kill();
        let status = wait(&mut child, Duration::from_secs(30));
        let output = child.wait_with_output().expect("ended");
        assert_eq!(status.and_then(|status| status.code()), Some(3), "{kind}: {}", errors(&output));
        let gone = |worker: &u32| !std::path::Path::new(&format!("/proc/{worker}/exe")).exists();
        assert!(eventually(|| workers.iter().all(gone)), "{kind}: workers outlive the front");
        front = Front::start();
    }
    works(&front, &folder);
}

#[test]
fn front_when_asked_to_end_then_takes_its_socket_and_workers_along() {
    let (folder, mut front) = (Folder::new(), Front::start());
    works(&front, &folder);
    let workers = children(front.process());
    signal(front.process(), libc::SIGTERM);
    assert!(eventually(|| !front.runs()));
    assert!(!front.local().exists(), "the socket is left");
    assert!(eventually(|| workers.iter().all(|worker| !std::path::Path::new(&format!("/proc/{worker}/exe")).exists())));
}

#[test]
fn session_when_its_program_ends_well_then_leaves_nothing() {
    let (folder, front) = (Folder::new(), Front::start());
    works(&front, &folder);
    assert!(eventually(|| children(front.process()).len() == 1), "more than the kept worker");
}

#[test]
fn socket_when_its_front_was_killed_then_the_next_takes_it_over() {
    let folder = Folder::new();
    let socket = folder.path("again");
    let mut first = front_command(&socket).spawn().expect("started");
    assert!(eventually(|| socket.exists()));
    first.kill().expect("killed");
    first.wait().expect("ended");
    assert!(socket.exists(), "nothing stale to take over");
    let mut second = front_command(&socket).spawn().expect("started");
    let carrier = format!("unix:{}", socket.display());
    let runs = eventually(|| {
        let output = finish(program("battery", Way::To(&carrier), &folder).args(["--only", "events"]));
        output.status.success() && !lines(&output).is_empty()
    });
    signal(second.id(), libc::SIGTERM);
    wait(&mut second, Duration::from_secs(10));
    assert!(runs, "no session over the socket that was taken over");
}
