//! What is printed from the sample, byte for byte, and the header from the wire crate's layouts.
//!
//! `GPUFERRY_BLESS=1 cargo test -p spec-gen` writes the files anew: look at the difference before it is committed.

use spec_gen::guest::Surroundings;
use spec_gen::{coverage, guest, header, host, parse};
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn compare(name: &str, printed: &str) {
    if std::env::var_os("GPUFERRY_BLESS").is_some() {
        std::fs::write(path(name), printed).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let golden = read(name);
    let differs = golden.lines().zip(printed.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or(golden.lines().count().min(printed.lines().count())) + 1;
    assert!(golden == printed, "{name}: printed text differs from line {line} on; GPUFERRY_BLESS=1 writes it");
}

fn sample() -> spec_gen::Spec {
    parse("tests/golden/sample.rs", &read("tests/golden/sample.rs")).unwrap_or_else(|refusal| panic!("{refusal}"))
}

#[test]
fn guest_file_when_printed_then_is_the_golden_one() {
    let exports = "fill fillAsync fillAsync_ptsz fill_ptds sum thingCount thingCreate thingDestroy thingFind thingFindOld \
                   thingNever thingRead thingSize thingWrite version";
    let around = Surroundings {
        exports: exports.split_whitespace().map(ToString::to_string).collect(),
        written: ["thingCount".to_string()].into(),
    };
    compare("tests/golden/sample.guest.rs", &guest::print(&sample(), &around));
}

#[test]
fn host_file_when_printed_then_is_the_golden_one() {
    compare("tests/golden/sample.host.rs", &host::print(&sample()));
}

#[test]
fn header_when_printed_then_is_the_kernel_modules() {
    let file = "../wire/src/device.rs";
    let printed = header::print(file, &read(file)).unwrap_or_else(|refusal| panic!("{refusal}"));
    compare("../../guest-lib/kmod/uapi/gpuferry.h", &printed);
}

#[test]
fn printing_when_done_twice_then_is_the_same() {
    assert_eq!(host::print(&sample()), host::print(&sample()));
}

#[test]
fn coverage_of_opencl_when_printed_then_is_the_page() {
    let spec = parse("spec/api/opencl.rs", &read("../api/opencl.rs")).unwrap_or_else(|refusal| panic!("{refusal}"));
    let name = "../../docs/coverage/opencl.md";
    let page = read(name);
    let (head, _) = page.split_once("| function ").unwrap_or_else(|| panic!("{name}: no table"));
    compare(name, &format!("{head}{}", spec_gen::table::print(&spec)));
}

#[test]
fn coverage_of_cuda_when_printed_then_is_the_page() {
    let exports: Vec<String> = read("../api/cuda_exports.txt").lines().map(ToString::to_string).collect();
    let reasons = coverage::reasons(&read("../api/cuda_unsupported.txt")).unwrap_or_else(|wrong| panic!("{wrong}"));
    let name = "../../docs/coverage/cuda.md";
    let page = read(name);
    let (head, _) = page.split_once("| area ").unwrap_or_else(|| panic!("{name}: no table"));
    compare(name, &format!("{head}{}", coverage::print(&exports, &reasons)));
}
