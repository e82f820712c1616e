//! What a call costs its caller, in instructions: a figure that noise does not touch.
#![cfg(target_arch = "x86_64")]

use loopback::{Folder, Front, Way, errors, finish, lines, program};

/// Most instructions of each call, about a tenth above what they take. Who makes one cheaper lowers its limit.
const LIMITS: [(&str, u32); 5] = [
    ("local_call", 90),
    ("launch", 1280),
    ("launch_2_parameters", 1370),
    ("event_record", 650),
    ("copy_64_b_to_device", 1150),
];

#[test]
fn calls_when_counted_then_take_no_more_instructions_than_their_limits() {
    let (folder, front) = (Folder::new(), Front::start());
    let output = finish(&mut program("instructions", Way::Local(&front), &folder));
    assert!(output.status.success(), "{:?}: {}", output.status, errors(&output));
    let text = lines(&output);
    for (name, limit) in LIMITS {
        let line = text.iter().find(|line| line.contains(&format!("\"{name}\""))).expect("a count");
        let count: u32 = line.rsplit(' ').next().expect("a number").trim_end_matches(',').parse().expect("a number");
        assert!(count != 0 && count <= limit, "{name}: {count} instructions; the limit is {limit}");
    }
}
