//! A guest that floods: what another waits for.
//!
//! Each VM has a `gpuferryd` of its own, so there are two here. How processors are divided is the operator's to say
//! (cgroups): the flood gets what the other guest leaves, by Linux' idle class, and the other, where this user may do so,
//! runs before everything else on this machine. So what is measured is what the two have in common in gpuferry: nothing.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use loopback::{Folder, Front, Way, errors, finish, program};

/// Pairs of measurements, with and without the flood, one right after the other: so that what else runs on this machine meets both.
/// The ratio in the middle counts; where it is too high, more pairs tell whether that was chance.
const ROUNDS: [usize; 3] = [5, 10, 20];
/// What the other guest's slowest calls may take, in what they take alone.
const MOST: f64 = 2.0;

/// The same command in another of the scheduler's classes.
fn in_class(class: [&str; 2], command: &Command) -> Command {
    let mut other = Command::new("chrt");
    other.args(class).arg(command.get_program()).args(command.get_args());
    other.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other
}

/// The same command, run when nobody else wants the processor.
fn idle(command: &Command) -> Command {
    let mut idle = in_class(["--idle", "0"], command);
    idle.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    idle
}

/// The same command, run before all others, where this user may have that.
fn first(command: &Command) -> Command {
    const FIRST: [&str; 2] = ["--rr", "1"];
    let may =
        in_class(FIRST, &Command::new("true")).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    in_class(if may { FIRST } else { ["--other", "0"] }, command)
}

/// Microseconds of which 99 in 100 launches with a wait take less.
fn slowest(front: &Front, folder: &Folder) -> f64 {
    let arguments = ["--seconds", "0.3", "--bulk", "1", "--figures", "launches"];
    let output = finish(&mut first(program("latency", Way::Local(front), folder).args(arguments)));
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

/// A flood of launches, sessions and garbage by the guest of `front`; what `measure` finds meanwhile.
fn beside_a_flood(
    front: &Front,
    folder: &Folder,
    (opened, sent): (&AtomicU32, &AtomicU32),
    measure: impl FnOnce() -> f64,
) -> f64 {
    let stop = AtomicBool::new(false);
    let mut calls = idle(program("endless", Way::Local(front), folder).args(["launches", "--threads", "4"]))
        .spawn()
        .expect("started");
    let found = std::thread::scope(|scope| {
        scope.spawn(|| garbage(front, &stop, sent));
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let mut battery = idle(program("battery", Way::Local(front), folder).args(["--only", "events"]))
                    .spawn()
                    .expect("started");
                // On a busy machine what is idle may never end.
                while !stop.load(Ordering::Relaxed) && battery.try_wait().expect("a child").is_none() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                battery.kill().expect("killed");
                battery.wait().expect("ended");
                opened.fetch_add(1, Ordering::Relaxed);
            }
        });
        let found = measure();
        stop.store(true, Ordering::Relaxed);
        found
    });
    calls.kill().expect("killed");
    calls.wait().expect("ended");
    found
}

#[test]
fn guest_when_another_floods_with_calls_sessions_and_garbage_then_its_slowest_calls_take_at_most_twice_as_long() {
    let (folder, front) = (Folder::new(), Front::by(first, &["--prestart", "1"]));
    let mut flooded = Front::by(idle, &["--max-sessions", "16"]);
    let (opened, sent) = (AtomicU32::new(0), AtomicU32::new(0));
    let mut pairs = Vec::new();
    let mut middle = [f64::MAX; 3];
    for rounds in ROUNDS {
        while pairs.len() < rounds {
            let alone = slowest(&front, &folder);
            let beside = beside_a_flood(&flooded, &folder, (&opened, &sent), || slowest(&front, &folder));
            pairs.push([beside / alone, alone, beside]);
        }
        pairs.sort_by(|one, other| one[0].total_cmp(&other[0]));
        middle = pairs[pairs.len() / 2];
        if middle[0] <= MOST {
            break;
        }
    }
    let [ratio, alone, beside] = middle;
    let (opened, sent) = (opened.into_inner(), sent.into_inner());
    let rounds = pairs.len();
    println!(
        "p99 {alone:.1} us alone, {beside:.1} us beside a flood of {opened} sessions and {sent} connections, {rounds} rounds"
    );
    assert!(sent > 0 && opened > 0, "no flood: {sent} {opened}");
    assert!(flooded.runs(), "the flooded front has ended");
    assert!(ratio <= MOST, "{beside:.1} us beside the flood, {alone:.1} us alone: {pairs:?}");
}
