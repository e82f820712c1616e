//! Names the library `libcuda.so.1`, prints an export for every name that `src/api` has no body for, and the table of
//! all exports for cuGetProcAddress.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

/// The names in `cuda!` blocks of a source file: lines that begin `fn cu…` or `early fn cu…`.
fn bodies(source: &str, names: &mut BTreeSet<String>) {
    for line in source.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("early ").unwrap_or(line);
        let Some(head) = line.strip_prefix("fn cu").and_then(|rest| rest.split('(').next()) else { continue };
        names.extend(format!("cu{head}").split('|').map(|name| name.trim().to_owned()));
    }
}

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/api");
    println!("cargo:rerun-if-changed=data/exports.txt");
    // Programs that link the library record this name; it stays loaded because its threads may run when it is closed;
    // its own calls reach its own functions, whatever else the process has loaded.
    for option in ["-soname,libcuda.so.1", "-z,nodelete", "-Bsymbolic"] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{option}");
    }

    let exports = fs::read_to_string("data/exports.txt")?;
    let mut with_body = BTreeSet::new();
    for entry in fs::read_dir("src/api")? {
        bodies(&fs::read_to_string(entry?.path())?, &mut with_body);
    }

    let mut stubs = String::new();
    let mut table = String::from("unsafe extern \"C\" {\n");
    for name in exports.lines().filter(|name| !with_body.contains(*name)) {
        let _ = writeln!(
            stubs,
            "/// Not supported.\n#[unsafe(no_mangle)]\npub extern \"C\" fn {name}() -> u32 {{ crate::export::unsupported(\"{name}\") }}"
        );
    }
    for (number, name) in exports.lines().enumerate() {
        let _ = writeln!(table, "    #[link_name = \"{name}\"] fn e{number}();");
    }
    table.push_str("}\n/// Every exported name with its address, in the order of `data/exports.txt`.\npub static EXPORTS: &[(&str, unsafe extern \"C\" fn())] = &[\n");
    for (number, name) in exports.lines().enumerate() {
        let _ = writeln!(table, "    (\"{name}\", e{number}),");
    }
    table.push_str("];\n");

    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("unsupported.rs"), stubs)?;
    fs::write(Path::new(&out).join("exports.rs"), table)
}
