//! Every function of the driver API, called with what is wrong: nothing crashes, and the answer is the vendor's.

use loopback::{Folder, Front, Way, differences, errors, finish, lines, program};

const SITUATIONS: [&str; 4] =
    ["before cuInit", "nothing but zeros", "with no context", "after its context was destroyed"];

fn text_lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

/// Lines `SITUATION: FUNCTION = ANSWER` over the local carrier.
fn answers(front: &Front, situation: &str) -> Vec<String> {
    let folder = Folder::new();
    let output = finish(program("wrong", Way::Local(front), &folder).arg(situation));
    assert!(output.status.success(), "{situation}: {}", errors(&output));
    lines(&output)
}

#[test]
fn functions_when_called_with_what_is_wrong_then_answer_as_a_real_gpu_but_where_it_is_known() {
    let front = Front::start();
    let native = text_lines(include_str!("../../programs/expected/wrong.txt"));
    let found: Vec<String> = SITUATIONS.iter().flat_map(|situation| answers(&front, situation)).collect();
    assert_eq!((native.len(), found.len()), (2420, 2420));
    let answer = |line: &str| line.rsplit_once(" = ").map(|(_, answer)| answer.to_owned()).expect("an answer");
    let mut differ = Vec::new();
    for (native, found) in native.iter().zip(&found) {
        assert!(answer(found).parse::<i32>().is_ok(), "it ends its process: {found}");
        if native != found {
            differ.push(format!("{native} -> {}", answer(found)));
        }
    }
    let known = text_lines(include_str!("../../programs/expected/wrong-known.txt"));
    assert!(known == differ, "{}", differences(&known, &differ));
}
