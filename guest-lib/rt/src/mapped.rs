//! What memory of the program's own is, as `/proc/self/maps` tells: for the local carrier, which can lend files alone.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A line of the list.
struct Mapping<'a> {
    /// Its addresses, the last exclusive.
    range: (usize, usize),
    /// Four letters: read, write, execute, and private or shared.
    access: &'a str,
    /// Where it begins in its file.
    offset: u64,
    /// Its file's device, and number there; 0 for no file.
    device: libc::dev_t,
    inode: u64,
    /// Its file, or what it is.
    name: &'a str,
}

impl Mapping<'_> {
    fn read(line: &str) -> Option<Mapping<'_>> {
        // Fields are parted by one space, the name by many.
        let mut fields = line.splitn(6, ' ');
        let (low, high) = fields.next()?.split_once('-')?;
        let access = fields.next()?;
        let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
        let (major, minor) = fields.next()?.split_once(':')?;
        let [major, minor] = [major, minor].map(|number| u32::from_str_radix(number, 16).unwrap_or(0));
        let inode = fields.next()?.parse().ok()?;
        let range = (usize::from_str_radix(low, 16).ok()?, usize::from_str_radix(high, 16).ok()?);
        let name = fields.next().unwrap_or("").trim_start();
        Some(Mapping { range, access, offset, device: libc::makedev(major, minor), inode, name })
    }

    /// Opens a file if it is the mapping's.
    fn open(&self, path: &Path) -> Option<File> {
        // Looked at before it is opened: opening a pipe or a device would do something.
        let is_its = |found: fs::Metadata| found.is_file() && found.dev() == self.device && found.ino() == self.inode;
        fs::metadata(path).ok().filter(|found| is_its(found.clone()))?;
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        file.metadata().is_ok_and(is_its).then_some(file)
    }
}

fn list() -> String {
    fs::read_to_string("/proc/self/maps").unwrap_or_default()
}

/// Whether the whole range is private anonymous memory that may be read and written.
pub(crate) fn is_private_anonymous(start: usize, bytes: usize) -> bool {
    let list = list();
    let mut at = start;
    for mapping in list.lines().filter_map(Mapping::read) {
        let (low, high) = mapping.range;
        if high <= at {
            continue;
        }
        let is_plain = mapping.access.starts_with("rw") && mapping.access.ends_with('p') && mapping.inode == 0;
        if low > at || !is_plain || mapping.name == "[stack]" {
            return false;
        }
        at = high;
        if at >= start + bytes {
            return true;
        }
    }
    false
}

/// The file that the whole range is a shared mapping of, and where the range begins in it: by its name, or where it has none
/// any more by a descriptor that the program still has.
pub(crate) fn shared_file(start: usize, bytes: usize) -> Option<(File, u64)> {
    let list = list();
    let covers = |mapping: &Mapping<'_>| mapping.range.0 <= start && start + bytes <= mapping.range.1;
    let mapping = list.lines().filter_map(Mapping::read).find(covers)?;
    if !mapping.access.starts_with("rw") || !mapping.access.ends_with('s') || mapping.inode == 0 {
        return None;
    }
    let offset = mapping.offset + (start - mapping.range.0) as u64;
    let descriptors = || fs::read_dir("/proc/self/fd").into_iter().flatten().flatten().map(|entry| entry.path());
    let by_name = mapping.open(&PathBuf::from(mapping.name));
    let file = by_name.or_else(|| descriptors().find_map(|path| mapping.open(&path)))?;
    Some((file, offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::os::unix::fs::FileExt;

    const PAGE: usize = 4096;

    fn map(flags: i32, file: Option<&File>) -> usize {
        let descriptor = file.map_or(-1, AsRawFd::as_raw_fd);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping, which is left to the process.
        unsafe { libc::mmap(std::ptr::null_mut(), 4 * PAGE, access, flags, descriptor, 0) as usize }
    }

    #[test]
    fn memory_when_it_is_a_files_and_shared_then_the_file_is_found_by_name_or_descriptor() {
        let path = std::env::temp_dir().join(format!("gpuferry-mapped-{}", std::process::id()));
        let open =
            || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).expect("a file");
        let file = open();
        file.set_len(4 * PAGE as u64).expect("room");
        let at = map(libc::MAP_SHARED, Some(&file));
        let there = |found: Option<(File, u64)>| {
            let (found, offset) = found.expect("found");
            found.write_all_at(b"here", offset + 8).expect("written");
            // SAFETY: mapped above.
            unsafe { std::slice::from_raw_parts((at + PAGE + 8) as *const u8, 4) == b"here" && offset == PAGE as u64 }
        };
        assert!(there(shared_file(at + PAGE, 2 * PAGE)));
        assert!(shared_file(at + PAGE, 4 * PAGE).is_none());
        fs::remove_file(&path).expect("removed");
        assert!(there(shared_file(at + PAGE, 2 * PAGE)));
        drop(file);
        assert!(shared_file(at, PAGE).is_none() && !is_private_anonymous(at, PAGE));
    }

    #[test]
    fn memory_when_it_is_private_then_has_no_file() {
        let at = map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None);
        assert!(is_private_anonymous(at, 4 * PAGE) && shared_file(at, PAGE).is_none());
        // SAFETY: a name.
        let file = unsafe { File::from_raw_fd(libc::memfd_create(c"private".as_ptr(), libc::MFD_CLOEXEC)) };
        file.set_len(4 * PAGE as u64).expect("room");
        let of_file = map(libc::MAP_PRIVATE, Some(&file));
        assert!(!is_private_anonymous(of_file, PAGE) && shared_file(of_file, PAGE).is_none());
    }
}
