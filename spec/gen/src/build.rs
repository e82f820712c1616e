//! What build scripts call: read a spec, print one side into the build's own folder.

use crate::guest::Surroundings;
use crate::{Refusal, guest, host, parse};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Why nothing was printed.
#[derive(Debug)]
pub enum Failure {
    /// The spec says something wrong.
    Spec(Refusal),
    /// A file cannot be read or written.
    File(PathBuf, std::io::Error),
    /// Calls are in the spec that the library does not export by its list of names.
    NotExported(Vec<String>),
    /// Calls are in the spec that the library is to have by hand and has not.
    NotWritten(Vec<String>),
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Failure::Spec(refusal) => refusal.fmt(f),
            Failure::File(path, error) => write!(f, "{}: {error}", path.display()),
            Failure::NotExported(names) => {
                write!(f, "the spec has calls that the list of exported names lacks: {}", names.join(", "))
            }
            Failure::NotWritten(names) => {
                write!(f, "the spec has calls that no source file has as `extern \"C\" fn`: {}", names.join(", "))
            }
        }
    }
}

impl std::error::Error for Failure {}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::File(path.to_path_buf(), error))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::File(path.to_path_buf(), error))
}

/// Reads the spec at `spec`.
///
/// # Errors
/// [`Failure::File`], [`Failure::Spec`].
pub fn spec(spec: &Path) -> Result<crate::Spec, Failure> {
    parse(&spec.display().to_string(), &read(spec)?).map_err(Failure::Spec)
}

/// Prints the guest's file to `out`. `exports` lists the names that the library exports, one a line; `sources` is the folder
/// of its hand-written code.
///
/// # Errors
/// [`Failure`].
pub fn guest(spec: &Path, exports: &Path, sources: &Path, out: &Path) -> Result<(), Failure> {
    let spec = self::spec(spec)?;
    let around = Surroundings {
        exports: read(exports)?.lines().map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect(),
        written: written(sources)?,
    };
    let names: BTreeSet<&String> = around.exports.iter().collect();
    let strange: Vec<String> = spec
        .exported()
        .into_iter()
        .map(|named| named.name)
        .filter(|name| !name.starts_with(crate::OWN_PREFIX) && !names.contains(name))
        .collect();
    if !strange.is_empty() {
        return Err(Failure::NotExported(strange));
    }
    write(out, &guest::print(&spec, &around))
}

/// Prints the guest's file to `out` for a library whose functions are all by hand; `sources` is the folder where they are.
///
/// # Errors
/// [`Failure`].
pub fn senders(spec: &Path, sources: &Path, out: &Path) -> Result<(), Failure> {
    let spec = self::spec(spec)?;
    let written = written(sources)?;
    let is_ours = |name: &String| name.starts_with(crate::OWN_PREFIX) || written.contains(name);
    let missing: Vec<String> = spec.exported().into_iter().map(|n| n.name).filter(|name| !is_ours(name)).collect();
    if !missing.is_empty() {
        return Err(Failure::NotWritten(missing));
    }
    write(out, &guest::print_senders(&spec))
}

/// Prints the function that calls any sender by number to `out`, for the fuzz targets.
///
/// # Errors
/// [`Failure`].
pub fn any_sender(spec: &Path, out: &Path) -> Result<(), Failure> {
    write(out, &guest::any::print(&self::spec(spec)?))
}

/// Prints the host's file to `out`.
///
/// # Errors
/// [`Failure`].
pub fn host(spec: &Path, out: &Path) -> Result<(), Failure> {
    write(out, &host::print(&self::spec(spec)?))
}

/// Names of the functions that stand as `extern "C" fn NAME` in the Rust files under `folder`.
///
/// # Errors
/// [`Failure::File`].
pub fn written(folder: &Path) -> Result<BTreeSet<String>, Failure> {
    let mut found = BTreeSet::new();
    let entries = std::fs::read_dir(folder).map_err(|error| Failure::File(folder.to_path_buf(), error))?;
    for entry in entries {
        let path = entry.map_err(|error| Failure::File(folder.to_path_buf(), error))?.path();
        if path.is_dir() {
            found.extend(written(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            for after in read(&path)?.split("extern \"C\" fn ").skip(1) {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                found.insert(after[..end].to_string());
            }
        }
    }
    Ok(found)
}
