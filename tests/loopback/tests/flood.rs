//! A guest that floods: what another waits for.
//!
//! Each VM has a `gpuferryd` of its own, so there are two here. How processors are divided is the operator's to say (cgroups): the flood gets what
//! the other guest leaves, by Linux' idle class, so that what is measured is what the two have in common in gpuferry: nothing.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use loopback::{Folder, Front, Way, errors, finish, program};

/// Measurements with and without the flood, in turn: the best of each counts, as anything else on this machine only adds.
const ROUNDS: usize = 4;
/// What the other guest's slowest calls may take, in what they take alone.
const MOST: f64 = 2.0;

/// The same command, run when nobody else wants the processor.
fn idle(command: &Command) -> Command {
    let mut idle = Command::new("chrt");
    idle.args(["--idle", "0"]).arg(command.get_program()).args(command.get_args());
    idle.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    idle.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    idle
}

/// Microseconds of which 99 in 100 launches with a wait take less.
fn slowest(front: &Front, folder: &Folder) -> f64 {
    let arguments = ["--seconds", "0.3", "--bulk", "1", "--figures", "launches"];
    let output = finish(program("latency", Way::Local(front), folder).args(arguments));
    assert!(output.status.success(), "{}", errors(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, figure) = text.split_once("\"launch_and_synchronise\"").expect("a figure");
    let (_, figure) = figure.split_once("\"p99_us\": ").expect("its p99");
    figure.split([',', '}']).next().and_then(|number| number.trim().parse().ok()).expect("a number")
}

/// Sends what is no message, again and again, until `stop`.
fn garbage(front: &Front, stop: &AtomicBool, sent: &AtomicU32) {
    // SAFETY: an own structure; the calling thread alone gets the class.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &libc::sched_param { sched_priority: 0 }) };
    while !stop.load(Ordering::Relaxed) {
        if let Ok(mut socket) = UnixStream::connect(front.local()) {
            // It may close first.
            let _ = socket.write_all(&[0xff; 4096]);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn guest_when_another_floods_with_calls_sessions_and_garbage_then_its_slowest_calls_take_at_most_twice_as_long() {
    let (folder, front) = (Folder::new(), Front::start());
    let mut flooded = Front::by(idle, &["--max-sessions", "16"]);
    let (mut alone, mut beside) = (f64::MAX, f64::MAX);
    let (sent, opened) = (AtomicU32::new(0), AtomicU32::new(0));
    for _ in 0..ROUNDS {
        alone = alone.min(slowest(&front, &folder));
        let stop = AtomicBool::new(false);
        let mut calls = idle(program("endless", Way::Local(&flooded), &folder).args(["launches", "--threads", "4"]))
            .spawn()
            .expect("started");
        std::thread::scope(|scope| {
            scope.spawn(|| garbage(&flooded, &stop, &sent));
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut battery =
                        idle(program("battery", Way::Local(&flooded), &folder).args(["--only", "events"]));
                    opened.fetch_add(u32::from(battery.status().is_ok()), Ordering::Relaxed);
                }
            });
            beside = beside.min(slowest(&front, &folder));
            stop.store(true, Ordering::Relaxed);
        });
        calls.kill().expect("killed");
        calls.wait().expect("ended");
    }
    let (sent, opened) = (sent.into_inner(), opened.into_inner());
    println!("p99 {alone:.1} us alone, {beside:.1} us beside a flood of {opened} sessions and {sent} connections");
    assert!(sent > 0 && opened > 0, "no flood: {sent} {opened}");
    assert!(flooded.runs(), "the flooded front has ended");
    assert!(beside <= alone * MOST, "{beside:.1} us beside the flood, {alone:.1} us alone");
}
