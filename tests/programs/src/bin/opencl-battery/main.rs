//! Exercises OpenCL group by group and prints one line a check: `opencl-battery [--only GROUP]`.
//!
//! The lines hold values and error codes, no addresses and no times, so that the outputs of two runs can be compared byte for byte:
//! the same device reached in two ways must give the same lines. The library's own answers are the measure, not the manual's.

mod bench;
mod commands;
mod events;
mod memory;
mod programs_of;

use std::process::ExitCode;

use bench::Bench;
use programs::fail;

const NAME: &str = "opencl-battery";
const USAGE: &str = "usage: opencl-battery [--only GROUP]";

type Group = (&'static str, fn(&Bench) -> Result<(), String>);

const GROUPS: [Group; 9] = [
    ("device", memory::device),
    ("buffers", memory::buffers),
    ("images", memory::images),
    ("programs", programs_of::programs),
    ("kernels", programs_of::kernels),
    ("commands", commands::commands),
    ("maps", commands::maps),
    ("events", events::events),
    ("callbacks", events::callbacks),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let only = match words[..] {
        [] => None,
        ["--only", group] if GROUPS.iter().any(|(name, _)| *name == group) => Some(group),
        _ => fail(NAME, 2, USAGE),
    };
    match run(only) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(NAME, 3, &message),
    }
}

fn run(only: Option<&str>) -> Result<(), String> {
    let bench = Bench::open()?;
    let mut stopped = Vec::new();
    for (name, group) in GROUPS {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let bench = bench.named(name);
        if let Err(error) = group(&bench) {
            bench.say("stopped", error);
            stopped.push(name);
        }
    }
    bench.start.end()?;
    if stopped.is_empty() { Ok(()) } else { Err(format!("stopped before their end: {}", stopped.join(", "))) }
}
