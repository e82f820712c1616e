//! Headers that a build would read from this machine's folders (`-I`): they are found here, by the names that the source includes, and
//! sent; the host writes them to a folder of its own, which its compiler is told of instead.
//!
//! What is looked for are `#include` lines with a name in them, wherever they stand: what a condition or a comment takes out is sent for
//! nothing. A name that a macro gives is not found, nor one that leads out of its `-I` folder.

use crate::caller::{self, Caller};
use crate::cl_int;
use crate::generated::send;
use crate::status::CL_OUT_OF_RESOURCES;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{CStr, CString, OsStr};
use std::io::Read;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Most headers of a build, and bytes in all.
const MOST_FILES: usize = 1024;
const MOST_BYTES: usize = 16 << 20;

/// Headers that the host has.
pub struct Included {
    number: u32,
    /// The options with the host's folders.
    pub options: CString,
    /// The host's folders, and those of the program that they stand for.
    pub folders: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Where in the options folders stand, without `-I` and quotes.
fn folders_in(options: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut at, mut is_next) = (0, false);
    while at < options.len() {
        if options[at].is_ascii_whitespace() {
            at += 1;
            continue;
        }
        // A word ends at a space outside quotes.
        let start = at;
        let mut is_quoted = false;
        while at < options.len() && (is_quoted || !options[at].is_ascii_whitespace()) {
            is_quoted ^= options[at] == b'"';
            at += 1;
        }
        let mut word = start..at;
        let is_flag = options[word.clone()].starts_with(b"-I");
        if is_flag && !is_next {
            word.start += 2;
        }
        if (is_flag || is_next) && word.len() >= 2 && options[word.start] == b'"' && options[word.end - 1] == b'"' {
            word = word.start + 1..word.end - 1;
        }
        let is_alone = is_flag && !is_next && word.is_empty();
        if (is_flag || is_next) && !word.is_empty() {
            found.push(word);
        }
        is_next = is_alone;
    }
    found
}

/// The names that a text includes, and whether they stand in quotes.
fn names_in(text: &[u8]) -> Vec<(&[u8], bool)> {
    text.split(|byte| *byte == b'\n').filter_map(name_in).collect()
}

fn name_in(line: &[u8]) -> Option<(&[u8], bool)> {
    let rest = line.trim_ascii_start().strip_prefix(b"#")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"include")?.trim_ascii_start();
    let (first, rest) = rest.split_first()?;
    let end = match first {
        b'"' => b'"',
        b'<' => b'>',
        _ => return None,
    };
    let length = rest.iter().position(|byte| *byte == end)?;
    Some((&rest[..length], *first == b'"'))
}

/// A path below a folder, without `.` and `..`; `None` where it leads out, or nowhere.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            _ => return None,
        }
    }
    (!clean.as_os_str().is_empty()).then_some(clean)
}

/// A header that was found: its folder, and its path below it.
type Found = (usize, PathBuf);

/// What a source needs of folders.
struct Search<'a> {
    folders: &'a [PathBuf],
    files: HashMap<Found, Vec<u8>>,
    missing: HashSet<Found>,
    bytes: usize,
}

impl Search<'_> {
    /// Reads a header, where it is one; true where it was or is there.
    fn read(&mut self, found: &Found) -> Result<bool, cl_int> {
        if self.files.contains_key(found) {
            return Ok(true);
        }
        if self.missing.contains(found) {
            return Ok(false);
        }
        let Some(text) = self.folders.get(found.0).and_then(|folder| contents(&folder.join(&found.1))) else {
            self.missing.insert(found.clone());
            return Ok(false);
        };
        self.bytes += text.len();
        if self.files.len() == MOST_FILES || self.bytes > MOST_BYTES {
            return Err(CL_OUT_OF_RESOURCES);
        }
        self.files.insert(found.clone(), text);
        Ok(true)
    }

    /// Finds what a text includes, which stands in `beside` where it is a header; what is new.
    fn follow(&mut self, text: &[u8], beside: Option<&Found>) -> Result<Vec<Found>, cl_int> {
        let mut new = Vec::new();
        for (name, is_quoted) in names_in(text) {
            let name = Path::new(OsStr::from_bytes(name));
            let own = beside.filter(|_| is_quoted).map(|(folder, path)| (*folder, path.with_file_name(name)));
            let places = own.into_iter().chain((0..self.folders.len()).map(|folder| (folder, name.to_path_buf())));
            for (folder, path) in places {
                let Some(path) = inside(&path) else { continue };
                let found = (folder, path);
                let is_known = self.files.contains_key(&found);
                if self.read(&found)? {
                    new.extend((!is_known).then_some(found));
                    break;
                }
            }
        }
        Ok(new)
    }
}

fn contents(path: &Path) -> Option<Vec<u8>> {
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    // One byte more than is taken, so that it is found to be too much.
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut text).ok()?;
    Some(text)
}

/// All headers that sources need of some folders.
fn search(sources: &[&[u8]], folders: &[PathBuf]) -> Result<HashMap<Found, Vec<u8>>, cl_int> {
    let mut search = Search { folders, files: HashMap::new(), missing: HashSet::new(), bytes: 0 };
    let mut open = VecDeque::new();
    for source in sources {
        open.extend(search.follow(source, None)?);
    }
    while let Some(found) = open.pop_front() {
        let text = search.files.get(&found).cloned().unwrap_or_default();
        open.extend(search.follow(&text, Some(&found))?);
    }
    Ok(search.files)
}

fn packed(files: &HashMap<Found, Vec<u8>>) -> Vec<u8> {
    let mut all = Vec::new();
    for ((folder, path), text) in files {
        let name = Path::new(&folder.to_string()).join(path);
        for part in [name.as_os_str().as_bytes(), text] {
            all.extend((part.len() as u32).to_le_bytes());
            all.extend(part);
        }
    }
    all
}

/// Sends what a build of `sources` with `options` would read here; `None` where the options name no folder.
///
/// # Errors
/// `CL_OUT_OF_RESOURCES` for more than the limits; the host's answer.
pub fn send(caller: &Caller, sources: &[&[u8]], options: &CStr) -> Result<Option<Included>, cl_int> {
    let options = options.to_bytes();
    let places = folders_in(options);
    if places.is_empty() {
        return Ok(None);
    }
    let named: Vec<&[u8]> = places.iter().map(|place| &options[place.clone()]).collect();
    let folders: Vec<PathBuf> = named.iter().map(|name| PathBuf::from(OsStr::from_bytes(name))).collect();
    let files = packed(&search(sources, &folders)?);
    let (mut number, mut place) = (0, Vec::new());
    caller::answer(caller::input(caller, &files, |data| {
        send::gpuferryIncludes(caller, folders.len() as u32, data, &mut number, &mut place)
    }))?;
    let there = |folder: usize| [&place[..], b"/", folder.to_string().as_bytes()].concat();
    let (mut all, mut done) = (Vec::new(), 0);
    for (folder, range) in places.iter().enumerate() {
        all.extend(&options[done..range.start]);
        all.extend(there(folder));
        done = range.end;
    }
    all.extend(&options[done..]);
    let folders = named.iter().enumerate().map(|(folder, name)| (there(folder), name.to_vec())).collect();
    Ok(Some(Included { number, options: CString::new(all).map_err(|_| CL_OUT_OF_RESOURCES)?, folders }))
}

impl Included {
    /// The build has ended.
    pub fn end(self, caller: &Caller) {
        let _ = send::gpuferryIncludesEnd(caller, self.number);
    }
}

/// A build's log with the program's own folders.
#[must_use]
pub fn as_named(log: &[u8], folders: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut text = log.to_vec();
    // The last first: the name of folder 1 begins that of folder 10.
    for (there, here) in folders.iter().rev() {
        let mut at = 0;
        while let Some(found) = text[at..].windows(there.len()).position(|window| window == &there[..]) {
            text.splice(at + found..at + found + there.len(), here.iter().copied());
            at += found + here.len();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_in_when_written_in_any_way_then_are_found() {
        let words = |options: &str| -> Vec<String> {
            folders_in(options.as_bytes()).into_iter().map(|range| options[range].to_string()).collect()
        };
        assert_eq!(words("-I a -Ib -DX=1 -I \"c d\" -I\"e\" -cl-opt"), ["a", "b", "c d", "e"]);
        assert!(words("-DI -cl-Iname -I").is_empty());
        assert_eq!(words("-I -Ia"), ["-Ia"]);
    }

    #[test]
    fn names_in_when_a_text_includes_then_are_found() {
        let text =
            b"#include \"a.h\"\n  # include <b/c.h> // x\n#include NAME\n//#include \"d.h\"\n#includes\n#include \"e";
        assert_eq!(names_in(text), [(&b"a.h"[..], true), (&b"b/c.h"[..], false)]);
    }

    #[test]
    fn inside_when_a_path_leads_out_then_is_none() {
        assert_eq!(inside(Path::new("a/../b/./c.h")), Some(PathBuf::from("b/c.h")));
        for path in ["..", "../a", "a/../../b", "/etc/passwd", ".", ""] {
            assert_eq!(inside(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn search_when_headers_include_others_then_finds_each_once_and_stays_inside() {
        let root = std::env::temp_dir().join(format!("gpuferry-includes-{}", std::process::id()));
        let (one, two) = (root.join("one"), root.join("two"));
        std::fs::create_dir_all(one.join("sub")).expect("a folder");
        std::fs::create_dir_all(&two).expect("a folder");
        let put = |path: PathBuf, text: &str| std::fs::write(path, text).expect("written");
        put(one.join("a.h"), "#include \"sub/b.h\"\n#include \"a.h\"\n");
        put(one.join("sub/b.h"), "#include \"near.h\"\n#include <far.h>\n#include \"../../secret.h\"\n");
        put(one.join("sub/near.h"), "#include \"../a.h\"\n");
        put(two.join("far.h"), "far\n");
        put(two.join("a.h"), "never: the first folder has one\n");
        put(root.join("secret.h"), "outside\n");
        let files = search(&[b"#include <a.h>\n#include \"none.h\"\n"], &[one, two]).expect("little");
        let mut names: Vec<(usize, &str)> =
            files.keys().map(|(folder, path)| (*folder, path.to_str().expect("plain"))).collect();
        names.sort_unstable();
        assert_eq!(names, [(0, "a.h"), (0, "sub/b.h"), (0, "sub/near.h"), (1, "far.h")]);
        std::fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn as_named_when_the_log_names_the_hosts_folders_then_has_the_programs() {
        let folders = vec![(b"/tmp/h/1".to_vec(), b"inc".to_vec()), (b"/tmp/h/10".to_vec(), b"/opt/x".to_vec())];
        let log = as_named(b"/tmp/h/10/a.h:1: from /tmp/h/1/b.h, /tmp/h/1/b.h", &folders);
        assert_eq!(log, b"/opt/x/a.h:1: from inc/b.h, inc/b.h");
    }
}
