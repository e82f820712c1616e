//! What programs do with their process while they use the device: the same as with the library in their own process, and
//! nothing is left.

use loopback::{Folder, Front, Way, children, errors, eventually, finish, lines, program, signal};

/// What `life` prints where all is well.
const SEEN: [(&str, &[&str]); 5] = [
    ("exec", &["before exec: 256", "after exec: 512", "few descriptors: true", "before exec: exit status: 0"]),
    (
        "exit",
        &[
            "before exit: 1024",
            "handler from after cuInit: 768",
            "handler from before the library: called",
            "handlers: exit status: 0",
            "memory freed when its thread ended: 0",
            "one thread ends the process",
            "exit of a thread: exit status: 0",
        ],
    ),
    ("reopen", &["opened 1 times: 256", "opened 2 times: 512", "opened 3 times: 768"]),
    ("threads", &["of 150 threads at a time: 150", "of 600 threads one after the other: 600"]),
    (
        "forks",
        &[
            "with a child that began before: 1792",
            "the child: 0",
            "a child that ends at once: 0",
            "its parent: 2048",
            "a child that ends with a status: 3",
            "its parent: 2048",
            "a child that ends with handlers: 0",
            "its parent: 2304",
            "after exec: 512",
            "few descriptors: true",
            "beside a child that was started: 2560",
        ],
    ),
];

#[test]
fn process_when_it_forks_or_is_replaced_or_ends_in_any_way_then_works_on_and_leaves_nothing() {
    let (folder, front) = (Folder::new(), Front::start());
    for (situation, seen) in SEEN {
        let output = finish(program("life", Way::Local(&front), &folder).arg(situation));
        assert!(output.status.success(), "{situation}: {}", errors(&output));
        assert_eq!(lines(&output), seen, "{situation}");
    }
    assert!(eventually(|| children(front.process()).len() == 1), "more than the kept worker");
}

#[test]
fn program_when_its_child_outlives_it_then_its_worker_ends_with_it() {
    let (folder, front) = (Folder::new(), Front::start());
    let output = finish(program("life", Way::Local(&front), &folder).arg("orphan"));
    let found = lines(&output);
    let child = found.last().and_then(|line| line.strip_prefix("child: ")?.parse().ok()).expect("a child");
    let is_over = eventually(|| children(front.process()).len() == 1);
    signal(child, libc::SIGKILL);
    assert!(is_over, "its worker waits for the child");
}
