//! Limits on device memory: every way to allocate is counted, and what others of the guest hold.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use loopback::{Folder, Front, Way, errors, eventually, finish, lines, program, signal};

const LIMIT: usize = 200 << 20;

#[test]
fn memory_when_taken_in_any_way_then_ends_at_the_limit_exactly() {
    let folder = Folder::new();
    for option in ["--memory-limit", "--process-memory-limit"] {
        let front = Front::with(&[option, "200M"]);
        let output = finish(program("limit", Way::Local(&front), &folder).arg(LIMIT.to_string()));
        assert!(output.status.success(), "{option}: {}", errors(&output));
        assert_eq!(lines(&output).len(), 8, "{:?}", lines(&output));
    }
}

#[test]
fn modules_when_loaded_without_end_then_end_at_the_limit_and_are_given_back() {
    let (folder, front) = (Folder::new(), Front::with(&["--memory-limit", "200M"]));
    let output = finish(program("limit", Way::Local(&front), &folder).args(["--modules", &LIMIT.to_string()]));
    assert!(output.status.success(), "{}", errors(&output));
    assert!(lines(&output)[0].starts_with("cuModuleLoadData: [6, 6] pieces"), "{:?}", lines(&output));
}

#[test]
fn memory_when_others_hold_some_then_only_the_rest_is_left_until_they_end() {
    let (folder, front) = (Folder::new(), Front::with(&["--memory-limit", "200M"]));
    let mut holder = program("limit", Way::Local(&front), &folder)
        .args(["--hold", &(100 << 20).to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("readable");
    assert_eq!(line, "holding\n");
    let beside = |others: usize| {
        let words = [LIMIT.to_string(), "--others".into(), others.to_string()];
        finish(program("limit", Way::Local(&front), &folder).args(words))
    };
    let output = beside(100 << 20);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(lines(&output).iter().any(|line| line.starts_with("cuMemAlloc: 3 pieces")), "{:?}", lines(&output));
    signal(holder.id(), libc::SIGKILL);
    holder.wait().expect("ended");
    assert!(eventually(|| beside(0).status.success()), "a killed process still holds memory");
}

#[test]
fn memory_when_of_two_devices_then_counts_together_and_may_be_the_others_once_freed() {
    let (folder, front) = (Folder::new(), Front::with(&["--memory-limit", "200M", "--device", "cpu"]));
    let output = finish(program("several", Way::Local(&front), &folder).arg("memory of both"));
    assert!(output.status.success(), "{}", errors(&output));
    let wanted = [
        "memory of both: the last piece: CUDA_ERROR_OUT_OF_MEMORY (2)",
        "memory of both: pieces: 12",
        "memory of both: the second gets what the first had: true",
    ];
    assert_eq!(lines(&output), wanted);
}
