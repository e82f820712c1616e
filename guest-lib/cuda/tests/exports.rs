//! The built library against the list of names: it exports each of them, and nothing else.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// Type of an ELF section that holds dynamic symbols.
const SHT_DYNSYM: u32 = 11;

fn number(file: &[u8], at: usize, bytes: usize) -> usize {
    file[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Names that a 64-bit ELF library exports.
fn exported(file: &[u8]) -> BTreeSet<String> {
    let (sections, entry, count) = (number(file, 40, 8), number(file, 58, 2), number(file, 60, 2));
    let section = |index: usize| sections + index * entry;
    let symbols = (0..count).map(section).find(|at| number(file, at + 4, 4) == SHT_DYNSYM as usize).expect("a dynsym");
    let names = number(file, section(number(file, symbols + 40, 4)) + 24, 8);
    let (start, bytes) = (number(file, symbols + 24, 8), number(file, symbols + 32, 8));
    let defined = (start..start + bytes).step_by(24).filter(|at| number(file, at + 6, 2) != 0);
    defined
        .map(|at| {
            let name = &file[names + number(file, at, 4)..];
            String::from_utf8_lossy(&name[..name.iter().position(|byte| *byte == 0).expect("an end")]).into_owned()
        })
        .collect()
}

fn library() -> PathBuf {
    // The test lies in `deps`, beside the library or below its folder.
    let here = std::env::current_exe().expect("a path");
    let deps = here.parent().expect("a folder");
    let places =
        [deps.parent().map(|folder| folder.join("libgpuferry_cuda.so")), Some(deps.join("libgpuferry_cuda.so"))];
    places.into_iter().flatten().find(|path| path.exists()).expect("the library is built: cargo build -p gpuferry-cuda")
}

#[test]
fn exports_when_built_then_are_the_names_of_the_list() {
    let list = include_str!("../../../spec/api/cuda_exports.txt");
    let wanted: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    let found = exported(&std::fs::read(library()).expect("readable"));
    let missing: Vec<&String> = wanted.difference(&found).collect();
    let strange: Vec<&String> = found.difference(&wanted).collect();
    assert!(missing.is_empty() && strange.is_empty(), "missing {missing:?}, strange {strange:?}");
    assert_eq!(found.len(), 682);
}

#[test]
fn stubs_when_built_then_each_has_a_reason() {
    let text = include_str!("../../../spec/api/cuda_unsupported.txt");
    let of_each = |text: &'static str| text.lines().skip(1).filter(|line| !line.is_empty());
    let groups = || text.split("\n\n").skip(1);
    let reasoned: Vec<&str> = groups().filter(|group| group.starts_with("because ")).flat_map(of_each).collect();
    let by_hand: Vec<&str> = groups().filter(|group| group.starts_with("refused because ")).flat_map(of_each).collect();
    assert_eq!((reasoned.len(), by_hand.len()), (70, 22));
    let stubs: BTreeSet<&str> = gpuferry_cuda::generated::STUBS.iter().copied().collect();
    let names: BTreeSet<&str> = reasoned.iter().copied().collect();
    assert_eq!(names.len(), reasoned.len(), "a name stands there twice");
    assert!(by_hand.iter().all(|name| !stubs.contains(name)), "written by hand, and a stub");
    let without: Vec<&&str> = stubs.difference(&names).collect();
    let carried: Vec<&&str> = names.difference(&stubs).collect();
    assert!(without.is_empty() && carried.is_empty(), "no reason for {without:?}; carried all the same: {carried:?}");
}
