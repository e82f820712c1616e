//! Programs made of groups, each of which runs in a process of its own: what ends one ends no other.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::fail;

/// Option of the process that runs a group.
pub const CHILD: &str = "--group";

/// The groups that the program's argument chooses: all without one. Ends the program where there is no such group.
#[must_use]
pub fn chosen(program: &str, names: &[&'static str], wanted: Option<&str>) -> Vec<&'static str> {
    let is_wanted = |name: &&str| wanted.is_none_or(|wanted| wanted == *name);
    let chosen: Vec<&str> = names.iter().copied().filter(is_wanted).collect();
    if chosen.is_empty() {
        fail(program, 2, &format!("usage: {program} [GROUP]; groups are {}", names.join(", ")));
    }
    chosen
}

/// Runs a group in a process; its exit status, `None` where a signal ended it, as a line says then.
///
/// # Errors
/// The process could not be started.
pub fn run(name: &str) -> Result<Option<i32>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new(program).args([CHILD, name]).status().map_err(|error| error.to_string())?;
    if let Some(signal) = status.signal() {
        println!("{name}: ends by signal {signal}");
    }
    Ok(status.code())
}
