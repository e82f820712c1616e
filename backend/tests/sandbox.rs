//! The sandbox from inside: everything that a worker which a guest has taken over might try is refused or ends it.
//!
//! The acts are those of `tests/workers/attempts.rs`. Each is tried in the worker of a session, with all layers that this
//! machine has, and some with one layer alone, so that no layer hides that another is missing.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use support::Front;
use support::program::Program;

#[path = "workers/attempts.rs"]
#[allow(dead_code, reason = "the worker makes the attempts; their names are needed here")]
mod attempts;

/// How an act ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Worked,
    Refused(i32),
    Killed,
}

fn start(arguments: &[&str]) -> Front {
    Front::start(&[&["--local-path", "FOLDER/local"], arguments].concat())
}

/// Tries an act in a session's worker.
fn attempt(front: &Front, act: &str, other: i32) -> End {
    let mut program = Program::open(front);
    let socket = front.path("local").to_str().expect("a plain path").to_owned();
    let answer = program.call_until_death(8, |writer| {
        writer.u32(other.cast_unsigned())?;
        writer.u32(socket.len() as u32)?;
        writer.raw(socket.as_bytes())?;
        writer.raw(act.as_bytes())
    });
    match answer {
        Some((0, _)) => End::Worked,
        Some((error, _)) => End::Refused(error),
        None => End::Killed,
    }
}

/// Numbers of a process in its namespaces, the machine's first.
fn numbers(process: i32) -> Vec<i32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).expect("its numbers");
    line.split_whitespace().map(|word| word.parse().expect("a number")).collect()
}

/// All acts of a list in sessions of one front, each against another worker of the same guest and against the front.
fn refuses_all(arguments: &[&str], allowed: &[&str]) {
    let front = start(arguments);
    // A session whose worker the others are set on.
    let _other = Program::open(&front);
    let sibling = front.workers().first().copied().expect("a worker");
    // By its number in the guest's process namespace; where each has one of its own, the other is the first in it, as this is.
    let sibling = numbers(sibling).pop().filter(|inside| *inside != 1).unwrap_or(sibling);
    let mut wrong = Vec::new();
    for act in attempts::ACTS.iter().skip(1).filter(|act| !allowed.contains(act)) {
        for other in [sibling, front.child.id().cast_signed()] {
            let end = attempt(&front, act, other);
            if end == End::Worked {
                wrong.push(*act);
            }
        }
    }
    assert!(wrong.is_empty(), "these worked: {wrong:?}");
    assert_eq!(attempt(&front, attempts::ACTS[0], 0), End::Worked, "nothing works at all, so the rest shows nothing");
}

#[test]
fn acts_when_tried_in_a_worker_of_the_cpu_device_then_none_works() {
    refuses_all(&[], &[]);
}

#[test]
fn acts_when_tried_in_a_worker_of_a_gpu_then_none_works() {
    refuses_all(&["--device", "cuda:0"], &["create-in-shm"]);
    assert!(!std::path::Path::new("/dev/shm/gpuferry-attempt").exists(), "its /dev/shm is the host's");
}

#[test]
fn shared_memory_when_made_in_a_worker_of_a_gpu_then_others_of_its_guest_alone_find_it() {
    let (front, other) = (start(&["--device", "cuda:0"]), start(&["--device", "cuda:0"]));
    assert_ne!(attempt(&front, "read-in-shm", 0), End::Worked);
    assert_eq!(attempt(&front, "create-in-shm", 0), End::Worked);
    assert_eq!(attempt(&front, "read-in-shm", 0), End::Worked, "another worker of the same guest");
    assert_ne!(attempt(&other, "read-in-shm", 0), End::Worked, "a worker of another guest");
    assert_ne!(attempt(&start(&[]), "create-in-shm", 0), End::Worked, "the CPU device needs none");
}

#[test]
fn folders_when_a_guest_has_a_cache_of_compiled_code_then_can_be_made_in_its_own_memory_alone() {
    let cache = ["--device", "cuda:0", "--compile-cache", "16M"];
    refuses_all(&cache, &["create-in-shm", "make-folder-in-shm"]);
    let (front, without) = (start(&cache), start(&["--device", "cuda:0"]));
    assert_eq!(attempt(&front, "make-folder-in-shm", 0), End::Worked);
    assert_ne!(attempt(&front, "make-folder", 0), End::Worked);
    assert_ne!(attempt(&without, "make-folder-in-shm", 0), End::Worked);
    assert!(!std::path::Path::new("/dev/shm/gpuferry-attempt.d").exists(), "its /dev/shm is the host's");
}

#[test]
fn memory_by_a_name_when_a_guest_fills_it_then_ends_at_its_size_and_other_guests_have_theirs() {
    let cache = ["--device", "cuda:0", "--compile-cache", "16M"];
    let (front, other) = (start(&cache), start(&cache));
    assert_eq!(attempt(&front, "fill-shm", 0), End::Refused(libc::ENOSPC));
    assert_eq!(attempt(&other, "create-in-shm", 0), End::Worked);
    assert_eq!(attempt(&front, "getpid", 0), End::Worked, "its next worker");
}

#[test]
fn acts_when_tried_in_an_opencl_worker_then_only_files_of_its_own_and_children_in_its_sandbox_can_be() {
    let allowed = ["create-in-tmp", "make-folder", "execute", "fork", "vfork"];
    refuses_all(&["--device", "opencl:pocl"], &allowed);
    assert!(!std::path::Path::new("/tmp/gpuferry-attempt").exists(), "its /tmp is the host's");
}

#[test]
fn workers_when_of_one_guest_then_see_each_others_numbers_and_of_another_do_not() {
    let namespace = |process: &i32| std::fs::read_link(format!("/proc/{process}/ns/pid")).expect("a namespace");
    let front = start(&["--prestart", "3"]);
    let other = start(&[]);
    let waiting = |front: &Front| {
        support::eventually("three workers wait", || front.workers().len() == 3);
        front.workers()
    };
    let workers = waiting(&front);
    assert!(workers.iter().all(|worker| namespace(worker) == namespace(&workers[0])));
    assert_ne!(namespace(&workers[0]), namespace(&other.workers()[0]), "two fronts");
    assert_ne!(namespace(&workers[0]), namespace(&front.child.id().cast_signed()), "the machine's");
    // Children of such a worker end with it: each has a namespace of its own.
    let opencl = start(&["--device", "opencl:pocl", "--prestart", "3"]);
    let workers = waiting(&opencl);
    assert_ne!(namespace(&workers[0]), namespace(&workers[1]));
}

/// The most of something that a process may have, as the kernel says; `None` for any number.
fn limit(process: i32, what: &str) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("a process");
    let line = limits.lines().find_map(|line| line.strip_prefix(what)).expect("a limit of that name");
    let hard = line.split_whitespace().nth(1).expect("soft and hard");
    (hard != "unlimited").then(|| hard.parse().expect("a number"))
}

#[test]
fn limits_when_a_worker_serves_then_are_those_that_the_documents_name() {
    let front = start(&[]);
    let program = Program::open(&front);
    let worker = front.workers().first().copied().expect("a worker");
    // With a user namespace of its own a worker's threads count alone; else with those of all workers of its user. Both as
    // far as who started the front may have so many.
    let user = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).expect("a namespace");
    let threads = if user(&worker.to_string()) == user("self") { 4096 * 256 } else { 4096 };
    let inherited = limit(std::process::id().cast_signed(), "Max processes").unwrap_or(u64::MAX);
    assert_eq!(limit(worker, "Max processes"), Some(threads.min(inherited)));
    let memory = limit(worker, "Max data size").expect("a bound on private memory");
    let whole = std::fs::read_to_string("/proc/meminfo").expect("the machine's memory");
    let whole: u64 = whole.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    assert!(memory <= whole * 1024 / 4 * 3 + 4096, "{memory} of {whole} KiB");
    let files =
        [worker, front.child.id().cast_signed()].map(|process| limit(process, "Max open files").expect("a bound"));
    assert_eq!(files[0], (files[1] / 2).min(131_072), "a worker's open files, beside the front's");
    for process in [worker, front.child.id().cast_signed()] {
        let none = ["Max core file size", "Max msgqueue size", "Max realtime priority", "Max nice priority"];
        assert_eq!(none.map(|what| limit(process, what)), [Some(0); 4]);
        assert_eq!(limit(process, "Max pending signals"), Some(4096));
    }
    drop(program);
}

#[test]
fn act_when_there_is_no_sandbox_then_works_so_that_the_tests_can_fail() {
    let front = start(&["--no-sandbox"]);
    for act in ["open-passwd", "socket-internet", "open-process"] {
        assert_eq!(attempt(&front, act, front.child.id().cast_signed()), End::Worked, "{act}");
    }
    front.wait_for("DEGRADED: no sandbox");
}

#[test]
fn dangerous_call_when_made_then_ends_the_worker_by_the_filter_and_the_log_says_so() {
    let front = start(&[]);
    for act in ["execute", "trace-front", "io-uring", "bpf", "mount", "kill-front"] {
        assert_eq!(attempt(&front, act, front.child.id().cast_signed()), End::Killed, "{act}");
    }
    front.wait_for("what its sandbox forbids");
}

/// With one layer alone: bits of `Layers` are root 1, user 2, files 4, calls 8.
fn alone(act: &str, layers: &str) -> End {
    let worker = env!("CARGO_BIN_EXE_gpuferry-echo-worker");
    let status = Command::new(worker).args(["--attempt", act, "cpu", layers]).status().expect("started");
    match (status.code(), status.signal()) {
        (Some(0), _) => End::Worked,
        (Some(code), _) => End::Refused(code),
        (None, Some(libc::SIGSYS)) => End::Killed,
        (None, signal) => panic!("{act}: {signal:?}"),
    }
}

#[test]
fn files_when_landlock_is_the_only_layer_then_are_refused() {
    for act in ["open-passwd", "open-shadow", "create-in-tmp", "list-home", "make-folder", "write-library"] {
        assert_eq!(alone(act, "0:4"), End::Refused(libc::EACCES), "{act}");
    }
    assert_eq!(alone("execute", "0:4"), End::Refused(libc::EACCES));
    assert_eq!(alone("getpid", "0:4"), End::Worked);
}

#[test]
fn calls_when_the_filter_is_the_only_layer_then_end_the_process() {
    for act in
        ["execute", "ptrace", "read-other-memory", "kill-all", "new-namespace", "io-uring", "user-faults", "keys"]
    {
        let act = if act == "ptrace" { "trace-front" } else { act };
        assert_eq!(alone(act, "0:8"), End::Killed, "{act}");
    }
    assert_eq!(alone("socket-internet", "0:8"), End::Refused(libc::EACCES));
    assert_eq!(alone("getpid", "0:8"), End::Worked);
}

/// Starts the front as a root that has no capability and may make no namespace, as in many containers.
const CONTAINER: &str = "for kind in user mnt net ipc pid uts; do echo 0 >/proc/sys/user/max_${kind}_namespaces; done
    exec setpriv --bounding-set=-all --inh-caps=-all \"$@\"";

fn start_in_container(arguments: &[&str]) -> Front {
    Front::start_by(&["unshare", "--user", "--map-root-user", "sh", "-c", CONTAINER, "sh"], arguments)
}

#[test]
fn front_when_layers_are_missing_then_names_them_and_serves() {
    let front = start_in_container(&["--local-path", "FOLDER/local"]);
    for layer in ["network", "mount", "ipc", "process"] {
        front.wait_for(&format!("DEGRADED: no {layer} namespace"));
    }
    front.wait_for("DEGRADED: no other user");
    front.wait_for("ready on device");
    assert_eq!(attempt(&front, attempts::ACTS[0], 0), End::Worked);
    assert_eq!(attempt(&front, "open-passwd", 0), End::Refused(libc::EACCES));
    assert_eq!(attempt(&front, "execute", 0), End::Killed);
}

#[test]
fn front_when_layers_are_missing_and_all_are_required_then_does_not_start() {
    let mut front = start_in_container(&["--local-path", "FOLDER/local", "--require-sandbox"]);
    front.wait_for("--require-sandbox: 6 layers");
    assert_eq!(front.child.wait().expect("ended").code(), Some(1));
}
