//! Headers that a build would read from this machine's folders: they are found here, by the names that the source includes,
//! and sent; the host writes them to a folder of its own, which its compiler is told of instead.
//!
//! Folders are those of `-I`, and those that a macro stands for (`-D PATH=/folder` with `#include STRING(PATH/a.h)`, as
//! hashcat does it). What is looked for are `#include` lines, wherever they stand: what a condition or a comment takes out is
//! sent for nothing. A whole name that a macro gives is not found, nor one that leads out of its folder. A name that begins
//! with a slash loses it on its way ([`rooted`]), and is looked for below one more folder, the root.

use crate::caller::{self, Caller};
use crate::cl_int;
use crate::generated::send;
use crate::status::CL_OUT_OF_RESOURCES;
use std::borrow::Cow;
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

/// A folder in the options.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Where it stands, without quotes.
    range: Range<usize>,
    /// The macro that stands for it; none for one of `-I`.
    name: Option<Vec<u8>>,
}

/// The words of the options: a space within quotes ends none.
fn words(options: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < options.len() {
        if options[at].is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let start = at;
        let mut is_quoted = false;
        while at < options.len() && (is_quoted || !options[at].is_ascii_whitespace()) {
            is_quoted ^= options[at] == b'"';
            at += 1;
        }
        found.push(start..at);
    }
    found
}

/// The folders that options name. Of macros, those whose value `is_folder`.
fn places_in(options: &[u8], is_folder: impl Fn(&[u8]) -> bool) -> Vec<Place> {
    let mut found = Vec::new();
    let mut words = words(options).into_iter();
    while let Some(mut word) = words.next() {
        let flag = options[word.clone()].get(..2).unwrap_or_default();
        if flag != b"-I" && flag != b"-D" {
            continue;
        }
        word.start += 2;
        if word.is_empty() {
            let Some(next) = words.next() else { break };
            word = next;
        }
        let mut name = None;
        if flag == b"-D" {
            let Some(length) = options[word.clone()].iter().position(|byte| *byte == b'=') else { continue };
            name = Some(options[word.start..word.start + length].to_vec());
            word.start += length + 1;
        }
        if word.len() >= 2 && options[word.start] == b'"' && options[word.end - 1] == b'"' {
            word = word.start + 1..word.end - 1;
        }
        if !word.is_empty() && (name.is_none() || is_folder(&options[word.clone()])) {
            found.push(Place { range: word, name });
        }
    }
    found
}

/// What an `#include` line says.
#[derive(Debug, PartialEq, Eq)]
enum Include<'a> {
    /// A name in quotes.
    Quoted(&'a [u8]),
    /// A name in angle brackets.
    Angled(&'a [u8]),
    /// Anything else: macros.
    Tokens(&'a [u8]),
}

/// What a text includes.
fn includes_in(text: &[u8]) -> Vec<Include<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(include_in).collect()
}

fn include_in(line: &[u8]) -> Option<Include<'_>> {
    let rest = line.trim_ascii_start().strip_prefix(b"#")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"include")?;
    let until = |rest: &'_ [u8], end| rest.iter().position(|byte| *byte == end);
    match rest.trim_ascii_start().split_first()? {
        (b'"', rest) => Some(Include::Quoted(&rest[..until(rest, b'"')?])),
        (b'<', rest) => Some(Include::Angled(&rest[..until(rest, b'>')?])),
        _ if rest[0].is_ascii_whitespace() => Some(Include::Tokens(rest.trim_ascii())),
        _ => None,
    }
}

/// A text as the host gets it: absolute names of headers are relative to the folder that stands for the root.
#[must_use]
pub fn rooted(text: &[u8]) -> Cow<'_, [u8]> {
    if !has_absolute(text) {
        return Cow::Borrowed(text);
    }
    let mut all = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let name = include_in(line).and_then(absolute);
        let slashes = name.map_or(0, |name| name.iter().take_while(|byte| **byte == b'/').count());
        let at = name.map_or(0, |name| name.as_ptr() as usize - line.as_ptr() as usize);
        all.extend(&line[..at]);
        all.extend(&line[at + slashes..]);
    }
    Cow::Owned(all)
}

/// The name, where it begins with a slash.
fn absolute(include: Include<'_>) -> Option<&[u8]> {
    match include {
        Include::Quoted(name) | Include::Angled(name) => Some(name).filter(|name| name.starts_with(b"/")),
        Include::Tokens(_) => None,
    }
}

fn has_absolute(text: &[u8]) -> bool {
    includes_in(text).into_iter().any(|include| absolute(include).is_some())
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The path that follows a macro and a slash.
fn path_behind<'a>(tokens: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    let begins = |at: &usize| at.checked_sub(1).is_none_or(|before| !is_of_name(tokens[before]));
    let ends = |at: usize| tokens.get(at + name.len()) == Some(&b'/');
    let found = tokens.windows(name.len()).enumerate().find(|(at, window)| *window == name && begins(at) && ends(*at));
    let path = &tokens[found?.0 + name.len() + 1..];
    let length = path.iter().position(|byte| !is_of_name(*byte) && !b"./-+".contains(byte)).unwrap_or(path.len());
    Some(&path[..length])
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

/// A folder, and the macro that stands for it; none for one of `-I`. The root is the last, and its name is empty.
type Folder = (PathBuf, Option<Vec<u8>>);

/// What a source needs of folders.
struct Search<'a> {
    folders: &'a [Folder],
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
        let Some(text) = self.folders.get(found.0).and_then(|folder| contents(&folder.0.join(&found.1))) else {
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
        for include in includes_in(text) {
            let path = |name: &[u8]| PathBuf::from(OsStr::from_bytes(name));
            let folders = self.folders.iter().enumerate();
            let listed = |name: PathBuf| {
                folders.clone().filter(|(_, (_, of))| of.is_none()).map(move |(folder, _)| (folder, name.clone()))
            };
            let places: Vec<Found> = match include {
                Include::Quoted(name) | Include::Angled(name) if name.starts_with(b"/") => {
                    let root = self.folders.len().saturating_sub(1);
                    let slashes = name.iter().take_while(|byte| **byte == b'/').count();
                    vec![(root, path(&name[slashes..]))]
                }
                Include::Quoted(name) => {
                    let own = beside.map(|(folder, path)| (*folder, path.with_file_name(OsStr::from_bytes(name))));
                    own.into_iter().chain(listed(path(name))).collect()
                }
                Include::Angled(name) => listed(path(name)).collect(),
                Include::Tokens(tokens) => {
                    let behind = |of: &Option<Vec<u8>>| path_behind(tokens, of.as_deref()?);
                    folders.filter_map(|(folder, (_, of))| Some((folder, path(behind(of)?)))).collect()
                }
            };
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
fn search(sources: &[&[u8]], folders: &[Folder]) -> Result<HashMap<Found, Vec<u8>>, cl_int> {
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
        for part in [name.as_os_str().as_bytes(), &*rooted(text)] {
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
    let path = |name: &[u8]| PathBuf::from(OsStr::from_bytes(name));
    let places = places_in(options, |value| path(value).is_absolute() && path(value).is_dir());
    if places.is_empty() && !sources.iter().any(|source| has_absolute(source)) {
        return Ok(None);
    }
    let named = places.iter().map(|place| (path(&options[place.range.clone()]), place.name.clone()));
    let root: Folder = (PathBuf::from("/"), Some(Vec::new()));
    let folders: Vec<Folder> = named.chain([root]).collect();
    let files = packed(&search(sources, &folders)?);
    let (mut number, mut place) = (0, Vec::new());
    caller::answer(caller::input(caller, &files, |data| {
        send::gpuferryIncludes(caller, folders.len() as u32, data, &mut number, &mut place)
    }))?;
    let there = |folder: usize| [&place[..], b"/", folder.to_string().as_bytes()].concat();
    let (mut all, mut done) = (Vec::new(), 0);
    for (folder, place) in places.iter().enumerate() {
        all.extend(&options[done..place.range.start]);
        all.extend(there(folder));
        done = place.range.end;
    }
    all.extend(&options[done..]);
    all.extend([b" -I ", &there(places.len())[..]].concat());
    let named = places.iter().enumerate().map(|(folder, place)| (there(folder), options[place.range.clone()].to_vec()));
    // Behind the root's name follows a name that has lost its slash.
    let folders = named.chain([(there(places.len()), Vec::new())]).collect();
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
    fn places_in_when_written_in_any_way_then_are_found() {
        let words = |options: &str| -> Vec<String> {
            let places = places_in(options.as_bytes(), |value| value.starts_with(b"/"));
            places.into_iter().map(|place| options[place.range].to_string()).collect()
        };
        assert_eq!(words("-I a -Ib -DX=1 -I \"c d\" -I\"e\" -cl-opt"), ["a", "b", "c d", "e"]);
        assert_eq!(words("-D P=/x -DQ=\"/y z\" -D R=/ -D S(x)=#x -DT"), ["/x", "/y z", "/"]);
        assert!(words("-DI -cl-Iname -I").is_empty());
        assert_eq!(places_in(b"-D P=/x", |_| true)[0].name.as_deref(), Some(&b"P"[..]));
    }

    #[test]
    fn includes_in_when_a_text_includes_then_are_found() {
        let text = b"#include \"a.h\"\n  # include <b/c.h> // x\n#include M(P/q.h)\n//#include \"d.h\"\n#includes x\n#include \"e";
        let found = [Include::Quoted(b"a.h"), Include::Angled(b"b/c.h"), Include::Tokens(b"M(P/q.h)")];
        assert_eq!(includes_in(text), found);
    }

    #[test]
    fn path_behind_when_the_macro_is_part_of_another_name_then_is_none() {
        assert_eq!(path_behind(b"M(P/q/r-1.h)", b"P"), Some(&b"q/r-1.h"[..]));
        assert_eq!(path_behind(b"P/q.h", b"P"), Some(&b"q.h"[..]));
        for tokens in [&b"M(XP/q.h)"[..], b"M(P)", b"P", b"", b"M(PX/q.h)"] {
            assert_eq!(path_behind(tokens, b"P"), None);
        }
    }

    #[test]
    fn rooted_when_a_header_is_absolute_then_loses_its_slashes_alone() {
        let text =
            b"int a; /* /x */\n #include \"//a/b.h\" // \"/c\"\n#include </d.h>\n#include \"e.h\"\n#include S(/f.h)";
        let wanted =
            b"int a; /* /x */\n #include \"a/b.h\" // \"/c\"\n#include <d.h>\n#include \"e.h\"\n#include S(/f.h)";
        assert_eq!(&*rooted(text), wanted);
        assert!(matches!(rooted(b"#include \"e.h\"\n"), Cow::Borrowed(_)));
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
        put(root.join("m.h"), "#include S(WHERE/m2.h)\n#include \"m2.h\"\n");
        put(root.join("m2.h"), "\n");
        put(root.join("r.h"), "#include \"near-r.h\"\n");
        put(root.join("near-r.h"), "\n");
        let below =
            |name: &str| root.join(name).strip_prefix("/").expect("absolute").to_str().expect("plain").to_owned();
        let (beside, far) = (below("near-r.h"), below("r.h"));
        let nowhere = (PathBuf::from("/"), Some(Vec::new()));
        let folders = [(one, None), (two, None), (root.clone(), Some(b"WHERE".to_vec())), nowhere];
        let absolute = format!("#include \"/{far}\"\n");
        let source = b"#include <a.h>\n#include \"none.h\"\n#include S(WHERE/m.h)\n#include <m2.h>\n";
        let files = search(&[source, absolute.as_bytes()], &folders).expect("little");
        let mut names: Vec<(usize, &str)> =
            files.keys().map(|(folder, path)| (*folder, path.to_str().expect("plain"))).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                (0, "a.h"),
                (0, "sub/b.h"),
                (0, "sub/near.h"),
                (1, "far.h"),
                (2, "m.h"),
                (2, "m2.h"),
                (3, &beside[..]),
                (3, &far[..])
            ]
        );
        std::fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn as_named_when_the_log_names_the_hosts_folders_then_has_the_programs() {
        let folders = vec![(b"/tmp/h/1".to_vec(), b"inc".to_vec()), (b"/tmp/h/10".to_vec(), b"/opt/x".to_vec())];
        let log = as_named(b"/tmp/h/10/a.h:1: from /tmp/h/1/b.h, /tmp/h/1/b.h", &folders);
        assert_eq!(log, b"/opt/x/a.h:1: from inc/b.h, inc/b.h");
    }
}
