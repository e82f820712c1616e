//! Headers of the guest's, in files that the library's compiler finds: below this worker's own folder, for as long as a build
//! takes.
//!
//! The guest says which folder (a number) and which name below it. A name is a path of plain parts, so that nothing is
//! written anywhere else; what is written at a time is bounded.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::payload::Buffer;

use super::generated::{CL_INVALID_VALUE, CL_OUT_OF_RESOURCES};
use super::{OpenCl, lock, scratch};
use crate::worker::answer::Failure;

/// Most folders of one set, and files in it.
const MOST_FOLDERS: u32 = 256;
const MOST_FILES: usize = 1024;
/// Most bytes that are written at a time for a session, each file counted as a page more.
const MOST_BYTES: u64 = 64 << 20;
const PAGE: u64 = 4096;

/// Sets of headers that are there, with their bytes.
#[derive(Default)]
pub struct Includes {
    last: u32,
    sets: HashMap<u32, u64>,
}

impl Includes {
    /// A number for a set of so many bytes; `None` where there would be too much.
    fn add(&mut self, bytes: u64) -> Option<u32> {
        let all: u64 = self.sets.values().sum();
        if all + bytes > MOST_BYTES {
            return None;
        }
        // Numbers do not come round while a session lasts; where they do, the folder is there already and making it fails.
        self.last = self.last.wrapping_add(1);
        self.sets.insert(self.last, bytes);
        Some(self.last)
    }
}

/// A header: its name, and its text.
#[derive(Debug, PartialEq, Eq)]
struct Header<'a> {
    name: &'a Path,
    text: &'a [u8],
}

/// The headers of a message.
fn headers(mut data: &[u8]) -> Result<Vec<Header<'_>>, Malformed> {
    const CUT: Malformed = Malformed::new("a list of headers that is cut off");
    let mut take = || -> Result<&[u8], Malformed> {
        let (length, rest) = data.split_first_chunk::<4>().ok_or(CUT)?;
        let (taken, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(CUT)?;
        data = rest;
        Ok(taken)
    };
    let mut found = Vec::new();
    loop {
        match take() {
            Ok(name) => found.push(Header { name: Path::new(std::ffi::OsStr::from_bytes(name)), text: take()? }),
            // What is left is nothing, or not a length.
            Err(cut) => return if data.is_empty() { Ok(found) } else { Err(cut) },
        }
    }
}

/// Whether a name stays below one of so many folders, and names something in it.
fn is_inside(name: &Path, folders: u32) -> bool {
    let mut parts = name.components();
    let number = match parts.next() {
        Some(Component::Normal(first)) => first.to_str().and_then(|first| first.parse::<u32>().ok()),
        _ => None,
    };
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let rest = parts.clone().count();
    number.is_some_and(|number| number < folders) && rest > 0 && rest <= 64 && parts.all(plain)
}

fn write(place: &Path, folders: u32, headers: &[Header<'_>]) -> std::io::Result<()> {
    let mut make = DirBuilder::new();
    make.mode(0o700).create(place)?;
    make.recursive(true);
    for folder in 0..folders {
        make.create(place.join(folder.to_string()))?;
    }
    for header in headers {
        let path = place.join(header.name);
        make.create(path.parent().unwrap_or(place))?;
        File::create_new(path)?.write_all(header.text)?;
    }
    Ok(())
}

/// Where the set of a number lies.
fn place(number: u32) -> Option<PathBuf> {
    Some(scratch::folder()?.join(format!("headers-{number}")))
}

impl OpenCl {
    /// `gpuferryIncludes`.
    pub(super) fn gpuferryIncludes(
        &self,
        _from: &FrameHeader,
        folders: u32,
        files: Buffer<'_>,
        number: &mut u32,
        found: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        const TOO_MUCH: Failure = Failure::Status(CL_OUT_OF_RESOURCES);
        let bytes = files.bytes();
        if bytes > MOST_BYTES || folders > MOST_FOLDERS {
            return Err(TOO_MUCH);
        }
        let data = self.bytes.private(files)?;
        let text: &[u8] = match data.pointer().cast::<u8>() {
            start if start.is_null() => &[],
            // SAFETY: a private copy of that many bytes, which `data` keeps.
            start => unsafe { std::slice::from_raw_parts(start, bytes as usize) },
        };
        let headers = headers(text)?;
        if headers.len() > MOST_FILES {
            return Err(TOO_MUCH);
        }
        if !headers.iter().all(|header| is_inside(header.name, folders)) {
            return Err(Failure::Status(CL_INVALID_VALUE));
        }
        let size = bytes + PAGE * (headers.len() as u64 + u64::from(folders));
        *number = lock(&self.includes).add(size).ok_or(TOO_MUCH)?;
        let Some(place) = place(*number) else {
            lock(&self.includes).sets.remove(number);
            return Err(TOO_MUCH);
        };
        if let Err(error) = write(&place, folders, &headers) {
            log::debug!("session {}: headers to {}: {error}", self.session.number(), place.display());
            self.take_away(*number);
            return Err(TOO_MUCH);
        }
        *found = place.as_os_str().as_bytes().to_vec();
        Ok(())
    }

    /// `gpuferryIncludesEnd`.
    pub(super) fn gpuferryIncludesEnd(&self, _from: &FrameHeader, number: u32) -> Result<(), Failure> {
        if self.take_away(number) { Ok(()) } else { Err(Failure::Status(CL_INVALID_VALUE)) }
    }

    /// Removes a set; false where there is none.
    fn take_away(&self, number: u32) -> bool {
        let was = lock(&self.includes).sets.remove(&number).is_some();
        if was && let Some(place) = place(number) {
            // What stays goes with the worker's folder.
            let _ = fs::remove_dir_all(place);
        }
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(pairs: &[(&str, &str)]) -> Vec<u8> {
        let parts = pairs.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
        parts.flat_map(|part| [&(part.len() as u32).to_le_bytes(), part].concat()).collect()
    }

    #[test]
    fn headers_when_the_list_is_cut_off_then_are_malformed() {
        let all = packed(&[("0/a.h", "one"), ("1/b/c.h", "")]);
        let found = headers(&all).expect("whole");
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].name, found[0].text), (Path::new("1/b/c.h"), &b"one"[..]));
        for length in (1..all.len()).filter(|length| *length != 16) {
            assert!(headers(&all[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(headers(&[]), Ok(vec![]));
        assert!(headers(&u32::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn is_inside_when_a_name_leads_out_then_is_false() {
        for name in ["0/a.h", "1/b/c.h", "1/./a.h"] {
            assert!(is_inside(Path::new(name), 2), "{name}");
        }
        for name in
            ["", "0", "0/", "2/a.h", "a/b.h", "/0/a.h", "0/../a.h", "../0/a.h", "0/a/../../../b", "-1/a", "/etc/passwd"]
        {
            assert!(!is_inside(Path::new(name), 2), "{name}");
        }
    }

    #[test]
    fn add_when_there_would_be_too_much_then_is_refused_until_some_has_gone() {
        let mut includes = Includes::default();
        let first = includes.add(MOST_BYTES - 10).expect("room");
        assert_eq!(includes.add(11), None);
        assert!(includes.add(10).is_some_and(|second| second != first));
        includes.sets.remove(&first);
        assert!(includes.add(11).is_some());
    }
}
