//! `spec-gen SIDE FILE [EXPORTS]` prints what build scripts print, for reading: SIDE is `guest`, `host` or `header`; or the
//! `table` of how each function is carried.
#![forbid(unsafe_code)]

use spec_gen::guest::Surroundings;
use spec_gen::{Refusal, guest, header, host, parse, table};
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str =
    "usage: spec-gen guest SPEC EXPORTS | spec-gen host SPEC | spec-gen table SPEC | spec-gen header DEVICE_RS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(text) => {
            // Whoever reads it may stop early.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, String> {
    let read = |file: &String| std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
    let refused = |refusal: Refusal| refusal.to_string();
    match arguments {
        [side, file, exports] if side == "guest" => {
            let spec = parse(file, &read(file)?).map_err(refused)?;
            let exports = read(exports)?.lines().map(ToString::to_string).collect();
            Ok(guest::print(&spec, &Surroundings { exports, ..Surroundings::default() }))
        }
        [side, file] if side == "host" => Ok(host::print(&parse(file, &read(file)?).map_err(refused)?)),
        [side, file] if side == "table" => Ok(table::print(&parse(file, &read(file)?).map_err(refused)?)),
        [side, file] if side == "header" => header::print(file, &read(file)?).map_err(refused),
        _ => Err(USAGE.to_string()),
    }
}
