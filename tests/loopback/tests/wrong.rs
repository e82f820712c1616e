//! Every function of the driver API, called with what is wrong: nothing crashes, and what comes first is said first.

use loopback::{Folder, Front, Way, errors, finish, lines, program};

/// What may be called before cuInit, and answers what else is wrong.
const EARLY: [&str; 6] = [
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGetExportTable",
    "cuGetProcAddress",
    "cuGetProcAddress_v2",
];
const NOT_INITIALIZED: &str = "3";
const NOT_SUPPORTED: &str = "801";

/// Function and answer of each call.
fn answers(front: &Front, situation: &str) -> Vec<(String, String)> {
    let folder = Folder::new();
    let output = finish(program("wrong", Way::Local(front), &folder).arg(situation));
    assert!(output.status.success(), "{situation}: {}", errors(&output));
    let parse = |line: &String| {
        let (name, answer) = line.rsplit_once(" = ").expect("an answer");
        (name.trim_start_matches(situation).trim_start_matches(": ").to_owned(), answer.to_owned())
    };
    let found: Vec<_> = lines(&output).iter().map(parse).collect();
    assert!(found.len() > 600, "{situation}: {} calls", found.len());
    found
}

#[test]
fn functions_when_called_before_cu_init_then_say_that() {
    let front = Front::start();
    let unsupported = include_str!("../../../spec/api/cuda_unsupported.txt");
    for (name, answer) in answers(&front, "before cuInit") {
        let is_stub = unsupported.lines().any(|line| line == name) && answer == NOT_SUPPORTED;
        let is_early = EARLY.contains(&name.as_str());
        assert!(answer == NOT_INITIALIZED || is_early || is_stub, "{name}: {answer}");
    }
}

#[test]
fn functions_when_called_with_zeros_or_with_no_live_context_then_end_no_process() {
    let front = Front::start();
    for situation in ["nothing but zeros", "with no context", "after its context was destroyed"] {
        for (name, answer) in answers(&front, situation) {
            assert!(answer.parse::<i32>().is_ok(), "{situation}: {name}: {answer}");
        }
    }
}
