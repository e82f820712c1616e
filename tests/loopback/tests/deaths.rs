//! Deaths at any moment, with the times that SECURITY.md promises.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use loopback::random::Random;
use loopback::{Folder, Front, Way, children, errors, finish, program, signal, wait};

/// Kills in one run, where `GPUFERRY_KILLS` says nothing else: `scripts/test --long` has 1,000.
const KILLS: u32 = 100;

fn kills() -> u32 {
    std::env::var("GPUFERRY_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"))
}

/// Within which everything of a killed program is gone.
const GONE: Duration = Duration::from_secs(1);
const LIMIT: usize = 200 << 20;

/// How long until nothing but the spare worker is there.
fn until_gone(front: &Front) -> Duration {
    let begin = Instant::now();
    while children(front.process()).len() > 1 {
        assert!(begin.elapsed() < Duration::from_secs(20), "workers are left");
        std::thread::sleep(Duration::from_millis(1));
    }
    begin.elapsed()
}

#[test]
fn program_when_killed_at_any_moment_then_its_worker_and_memory_are_gone_within_a_second() {
    let (folder, front) = (Folder::new(), Front::with(&["--memory-limit", "200M"]));
    let mut random = Random::new(0x6ea7);
    let mut times = Vec::new();
    let kills = kills();
    for kill in 0..kills {
        let kind = ["launches", "copies", "waits"][kill as usize % 3];
        let mut command = program("endless", Way::Local(&front), &folder);
        let mut child = command
            .args([kind, "--threads", "2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        // From before it has a session to long after it computes.
        std::thread::sleep(Duration::from_micros(random.below(400_000)));
        child.kill().expect("killed");
        child.wait().expect("ended");
        times.push(until_gone(&front));
    }
    times.sort();
    let (middle, last) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{kills} kills: workers gone after {middle:?} in the middle, {last:?} at most");
    assert!(last < GONE, "a worker was there {last:?} after its program");
    let output = finish(program("limit", Way::Local(&front), &folder).arg(LIMIT.to_string()));
    assert!(output.status.success(), "memory is left: {}", errors(&output));
}

#[test]
fn kernel_when_it_never_ends_then_the_call_that_waits_answers_within_a_tenth_of_a_second_after_its_time() {
    let (folder, front) = (Folder::new(), Front::with(&["--call-timeout", "2"]));
    let mut command = program("endless", Way::Local(&front), &folder);
    let mut child = command.arg("waits").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("readable");
    assert_eq!(line, "running\n");
    let begin = Instant::now();
    let status = wait(&mut child, Duration::from_secs(20));
    let time = begin.elapsed();
    let output = child.wait_with_output().expect("ended");
    assert_eq!(status.and_then(|status| status.code()), Some(3), "{}", errors(&output));
    assert!(errors(&output).contains("CUDA_ERROR_DEVICE_UNAVAILABLE (46)"), "{}", errors(&output));
    assert!((1900..2300).contains(&time.as_millis()), "after {time:?}");
    let begin = Instant::now();
    let again = finish(program("battery", Way::Local(&front), &folder).args(["--only", "events"]));
    assert!(again.status.success() && begin.elapsed() < Duration::from_secs(5), "{}", errors(&again));
}

#[test]
fn front_when_killed_then_its_programs_end_within_a_second() {
    let folder = Folder::new();
    for kind in ["launches", "copies", "waits"] {
        let mut front = Front::start();
        let mut command = program("endless", Way::Local(&front), &folder);
        let mut child = command.arg(kind).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("readable");
        signal(front.process(), libc::SIGKILL);
        let begin = Instant::now();
        let status = wait(&mut child, Duration::from_secs(20));
        let time = begin.elapsed();
        assert_eq!(status.and_then(|status| status.code()), Some(3), "{kind}");
        assert!(time < Duration::from_secs(1), "{kind}: an error after {time:?}");
        front.kill();
    }
}
