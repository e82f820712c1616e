//! Exercises the CUDA driver API group by group and prints one line a check: `battery [--only GROUP]`.
//!
//! The lines hold values and error codes, no addresses and no times, so that the outputs of two runs can be compared byte
//! for byte: the same device reached in two ways must give the same lines. Those that begin with `device:` tell of the
//! device itself; all others are the same on every device. A real driver's answers are the measure, not the manual's.

mod bench;
mod bulk;
mod contexts;
mod copies;
mod devices;
mod events;
mod faults;
mod images;
mod launches;
mod locked;
mod memory;
mod modules;
mod start;
mod streams;
mod threads;

use std::process::ExitCode;

use bench::Bench;
use programs::driver::Driver;
use programs::fail;

const NAME: &str = "battery";
const USAGE: &str = "usage: battery [--only GROUP]";

type Group = (&'static str, fn(&Bench) -> Result<(), String>);

/// In the order in which they run. `start` comes before all: it makes calls before cuInit.
const GROUPS: [Group; 13] = [
    ("errors", start::errors),
    ("devices", devices::run),
    ("contexts", contexts::run),
    ("modules", modules::run),
    ("libraries", modules::libraries),
    ("launches", launches::run),
    ("memory", memory::run),
    ("copies", copies::run),
    ("locked", locked::run),
    ("streams", streams::run),
    ("events", events::run),
    ("threads", threads::run),
    ("bulk", bulk::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => whole(),
        ["--only", group] => one(group),
        [faults::OPTION, kind] => load().and_then(|driver| faults::child(driver, kind)),
        _ => fail(NAME, 2, USAGE),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(NAME, 3, &message),
    }
}

fn load() -> Result<Driver, String> {
    Driver::load()
}

fn whole() -> Result<(), String> {
    let driver = load()?;
    start::before_init(&driver);
    let bench = Bench::open(driver)?;
    let mut stopped = Vec::new();
    for (name, group) in GROUPS {
        let bench = bench.named(name);
        if let Err(error) = group(&bench) {
            bench.say("stopped", error);
            stopped.push(name);
        }
    }
    bench.close()?;
    // Processes of their own: a fault ends all that its process does on the device.
    faults::run()?;
    if stopped.is_empty() { Ok(()) } else { Err(format!("stopped before their end: {}", stopped.join(", "))) }
}

fn one(wanted: &str) -> Result<(), String> {
    if wanted == "start" {
        start::before_init(&load()?);
        return Ok(());
    }
    if wanted == "faults" {
        return faults::run();
    }
    let Some((name, group)) = GROUPS.into_iter().find(|(name, _)| *name == wanted) else {
        let names = GROUPS.map(|(name, _)| name).join(", ");
        return Err(format!("no group '{wanted}'; there are start, {names}, faults"));
    };
    let bench = Bench::open(load()?)?;
    group(&bench.named(name))?;
    bench.close()
}
