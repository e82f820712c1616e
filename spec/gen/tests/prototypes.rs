//! The spec of CUDA's driver API as a whole, and its prototypes against an installed `cuda.h`.
//!
//! The header is not in this repository. `GPUFERRY_CUDA_H=/path/to/cuda.h cargo test -p spec-gen` compares with it, by way of the
//! C preprocessor `cc -E`; without it that test says that it was skipped.

use spec_gen::model::{Number, Role};
use spec_gen::{Spec, parse};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../api").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn spec() -> Spec {
    parse("spec/api/cuda.rs", &read("cuda.rs")).unwrap_or_else(|refusal| panic!("{refusal}"))
}

#[test]
fn cuda_when_read_then_exports_only_what_the_library_exports() {
    let exports = read("cuda_exports.txt");
    let exports: HashSet<&str> = exports.lines().collect();
    assert_eq!(exports.len(), 682);
    let spec = spec();
    let calls = spec.exported().into_iter().map(|named| named.name).filter(|name| !name.starts_with("gpuferry"));
    let strange: Vec<String> = calls.filter(|name| !exports.contains(name.as_str())).collect();
    assert!(strange.is_empty(), "{strange:?}");
    let driver = spec.driver.iter().map(|function| function.name.as_str()).filter(|name| !exports.contains(name));
    assert_eq!(driver.collect::<Vec<_>>(), [""; 0]);
}

/// Names that Rust or the printed text has for itself: the spec has others for these parameters.
const KEYWORDS: [&str; 4] = ["type", "fn", "mod", "from"];

/// Functions that another header declares.
const ELSEWHERE: [&str; 2] = ["cuProfilerStart", "cuProfilerStop"];

/// A parameter as the compiler passes it, and its name.
type Parameter = (usize, String);

#[test]
fn prototypes_when_compared_with_the_header_then_agree() {
    let Some(header) = std::env::var_os("GPUFERRY_CUDA_H") else {
        eprintln!("SKIPPED: set GPUFERRY_CUDA_H to a cuda.h to compare prototypes with it");
        return;
    };
    let mut header_has = BTreeMap::new();
    // Old versions of functions are there only under this macro; without it names are the newest ones' symbols.
    for define in ["-D__CUDA_API_VERSION_INTERNAL", "-DGPUFERRY"] {
        let text = preprocess(Path::new(&header), define);
        header_has.extend(prototypes(&text));
    }
    let mut wrong = BTreeSet::new();
    let mut compared = 0;
    for (name, sizes) in by_hand() {
        // What no header of today declares any more has no prototype to compare with.
        if let Some(theirs) = header_has.get(&name) {
            compared += 1;
            let theirs: Vec<usize> = theirs.iter().map(|(bytes, _)| *bytes).collect();
            if sizes != theirs {
                wrong.insert(format!("{name}, by hand: sizes {sizes:?}, in the header {theirs:?}"));
            }
        }
    }
    for (name, ours) in functions(&spec()).into_iter().filter(|(name, _)| !ELSEWHERE.contains(&name.as_str())) {
        match header_has.get(&name) {
            None => {
                wrong.insert(format!("{name}: not in the header"));
            }
            Some(theirs) => {
                compared += 1;
                let sizes = |list: &[Parameter]| list.iter().map(|(bytes, _)| *bytes).collect::<Vec<_>>();
                let same_name = |(ours, theirs): (&Parameter, &Parameter)| {
                    ours.1.eq_ignore_ascii_case(&theirs.1) || KEYWORDS.contains(&theirs.1.as_str())
                };
                if sizes(&ours) != sizes(theirs) {
                    wrong.insert(format!("{name}: sizes {:?}, in the header {:?}", sizes(&ours), sizes(theirs)));
                } else if !ours.iter().zip(theirs).all(same_name) {
                    wrong.insert(format!("{name}: names {ours:?}, in the header {theirs:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{compared} compared, wrong:\n{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
    eprintln!("{compared} prototypes agree with the header");
}

/// Functions that the guest's library writes by hand, and how wide their parameters are.
fn by_hand() -> Vec<(String, Vec<usize>)> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-lib/cuda/src");
    let mut found = Vec::new();
    for file in std::fs::read_dir(sources).expect("the guest's sources") {
        let text = std::fs::read_to_string(file.expect("an entry").path()).expect("readable");
        // `a | extern "C" fn b(…)`: names that have the next one's parameters.
        let mut names = Vec::new();
        for part in text.split("extern \"C\" fn ").skip(1).filter(|part| part.starts_with("cu")) {
            let (name, rest) = part.split_at(part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0));
            names.push(name.to_owned());
            if rest.trim_start().starts_with('|') {
                continue;
            }
            let parameters =
                rest.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(list, _)| list);
            let typed = parameters.split(',').filter_map(|one| one.split_once(':'));
            let sizes: Vec<usize> = typed.map(|(_, ty)| size(ty.trim())).collect();
            found.extend(names.drain(..).map(|name| (name, sizes.clone())));
        }
    }
    found
}

/// Bytes of a parameter of the guest's; structs by value are counted as the header's are.
fn size(ty: &str) -> usize {
    match ty {
        "u8" => 1,
        "u16" => 2,
        "i32" | "u32" | "f32" | "CUresult" => 4,
        _ => 8,
    }
}

/// The functions of the host's library, as the spec has them.
fn functions(spec: &Spec) -> Vec<(String, Vec<Parameter>)> {
    let mut found = Vec::new();
    for call in spec.calls.iter().filter(|call| !call.host_by_hand) {
        let parameters = call.arguments.iter().map(|argument| match &argument.role {
            Role::Number { number, .. } | Role::Length { number, .. } => (number.bytes(), argument.name.clone()),
            _ => (8, argument.name.clone()),
        });
        found.push((call.name.clone(), parameters.collect()));
    }
    let bytes_of = |ty: &str| match spec.aliases.iter().find(|alias| alias.name == ty) {
        Some(alias) => alias.number.bytes(),
        None => Number::by_name(ty).map_or(8, Number::bytes),
    };
    for function in &spec.driver {
        let parameters = function.arguments.iter().map(|(name, ty)| (bytes_of(ty), name.clone()));
        found.push((function.name.clone(), parameters.collect()));
    }
    found
}

fn preprocess(header: &Path, define: &str) -> String {
    let output = Command::new("cc").args(["-E", "-P", "-x", "c", define]).arg(header).output().expect("cc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn prototypes(text: &str) -> BTreeMap<String, Vec<Parameter>> {
    let pointers = pointer_types(text);
    let mut found = BTreeMap::new();
    for declaration in text.split(';') {
        let Some(after) = declaration.trim().strip_prefix("CUresult ") else { continue };
        let Some((name, arguments)) = after.split_once('(') else { continue };
        let arguments = arguments.trim_end_matches(')').trim();
        let list = if arguments == "void" { vec![] } else { arguments.split(',').collect() };
        let parameters = list.into_iter().map(|argument| parameter(argument.trim(), &pointers)).collect();
        found.insert(name.trim().to_string(), parameters);
    }
    found
}

/// Names of types that are pointers.
fn pointer_types(text: &str) -> HashSet<&str> {
    let mut found = HashSet::new();
    for declaration in text.split(';').filter_map(|declaration| declaration.trim().strip_prefix("typedef ")) {
        if let Some((_, name)) = declaration.rsplit_once('*').filter(|_| declaration.starts_with("struct")) {
            found.insert(name.trim());
        } else if let Some((_, after)) = declaration.split_once('*').filter(|(before, _)| before.trim().ends_with('('))
        {
            found.insert(after.split(')').next().unwrap_or("").trim());
        }
    }
    found
}

fn parameter(text: &str, pointers: &HashSet<&str>) -> Parameter {
    let name: String =
        text.rsplit(|c: char| !c.is_alphanumeric() && c != '_').find(|part| !part.is_empty()).unwrap_or("").into();
    let ty = text[..text.rfind(name.as_str()).unwrap_or(0)].trim().trim_start_matches("const ").trim();
    let bytes = match ty {
        _ if text.contains('*') || text.contains('[') || pointers.contains(ty) => 8,
        "size_t" | "unsigned long long" | "cuuint64_t" | "CUmemGenericAllocationHandle" => 8,
        "CUdeviceptr" | "CUdeviceptr_v2" | "CUtexObject" | "CUsurfObject" | "CUtexObject_v1" | "CUsurfObject_v1" => 8,
        // Structs by value: counted as the spec's are.
        "CUipcMemHandle" | "CUipcEventHandle" | "CUmemLocation" => 8,
        "unsigned char" => 1,
        "unsigned short" => 2,
        _ => 4,
    };
    (bytes, name)
}
