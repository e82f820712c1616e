//! A root folder that holds what the process needs and nothing else. All `unsafe` of this file is mount(2) and its like.
//!
//! In the process's own mount namespace an empty file system in memory becomes the root, into which the needed files and folders
//! ([`Places`]) are bound under their own names, so that libraries are found where they were. The root itself is read-only.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use super::files::{Place, Places};

/// Where the new root lies until it is the root: a folder that every system has.
const MOUNT_POINT: &str = "/tmp";
/// Where files in memory lie by a name that processes share.
pub(super) const SHARED_MEMORY: &str = "/dev/shm";
/// Most bytes in it, but for compiled code.
const SHARED_BYTES: u64 = 16 << 20;
/// Most bytes in a worker's own folder for files.
const SCRATCH_BYTES: u64 = 512 << 20;

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

fn mount(source: &Path, target: &Path, kind: &str, flags: libc::c_ulong, data: &str) -> io::Result<()> {
    let (source, target) = (text(source)?, text(target)?);
    let (kind, data) = (text(Path::new(kind))?, text(Path::new(data))?);
    // SAFETY: all four end with a zero.
    let result = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    if result != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Mounts of the namespace stop to spread to others; then an empty file system is at [`MOUNT_POINT`].
fn begin() -> io::Result<PathBuf> {
    let none = Path::new("none");
    mount(none, Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "")?;
    let place = PathBuf::from(MOUNT_POINT);
    mount(none, &place, "tmpfs", libc::MS_NOSUID | libc::MS_NODEV, "mode=0755,size=16m")?;
    Ok(place)
}

/// The folder becomes the root, and the old one is gone.
fn finish(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    // SAFETY: two texts that end with a zero.
    let result = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above: the old root lies over the new one now, and is taken off.
    if unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) } != 0 {
        return Err(io::Error::last_os_error());
    }
    std::env::set_current_dir("/")
}

/// Shows the processes of the calling process's namespace, and no others, at `/proc` of its own mount namespace: for workers
/// that may not mount it themselves, as their user namespace is one further in.
///
/// # Errors
/// As mount(2).
pub fn show_processes() -> io::Result<()> {
    let none = Path::new("none");
    mount(none, Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "")?;
    mount_processes(Path::new("/proc"))
}

/// Gives the calling process's mount namespace a `/dev/shm` of its own: there CUDA's driver keeps what the processes that
/// share an event know of it, and in `more` bytes what it has compiled, where it may.
///
/// # Errors
/// As mount(2).
pub fn own_shared_memory(more: u64) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mount(
        Path::new("none"),
        Path::new(SHARED_MEMORY),
        "tmpfs",
        flags,
        &format!("mode=1777,size={}", SHARED_BYTES.saturating_add(more)),
    )
}

/// Others' files are not even seen.
fn mount_processes(at: &Path) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let proc = Path::new("proc");
    // Older kernels do not know the word.
    mount(proc, at, "proc", flags, "hidepid=invisible").or_else(|_| mount(proc, at, "proc", flags, ""))
}

/// Whether a process in this position can have a root of its own. It is thrown away after.
pub(super) fn can_change() -> bool {
    begin().and_then(|root| finish(&root)).is_ok()
}

/// Gives the process its root.
pub(super) fn change(places: &Places) -> io::Result<()> {
    // Before anything lies over them.
    let sources: Vec<(&Place, File)> = places
        .list
        .iter()
        .filter_map(|place| {
            let opened = File::options().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(&place.path);
            Some((place, opened.ok()?))
        })
        .collect();
    let root = begin()?;
    // The user that the process becomes must get through.
    let mask = crate::os::set_file_mask(0o022);
    let result = fill(&root, places, &sources);
    crate::os::set_file_mask(mask);
    result?;
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    mount(Path::new("none"), &root, "", flags, "")?;
    finish(&root)
}

fn fill(root: &Path, places: &Places, sources: &[(&Place, File)]) -> io::Result<()> {
    for link in &places.links {
        let at = inside(root, &link.0);
        fs::create_dir_all(at.parent().unwrap_or(root))?;
        match symlink(&link.1, &at) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    for (place, source) in sources {
        bind(root, &place.path, source)?;
    }
    if places.processes {
        let at = root.join("proc");
        fs::create_dir_all(&at)?;
        // The guest's processes only; where that is not allowed, the room's or the machine's, which Landlock narrows.
        if mount_processes(&at).is_err() {
            mount(Path::new("/proc"), &at, "", libc::MS_BIND | libc::MS_REC, "")?;
        }
    }
    if places.scratch {
        let at = root.join("tmp");
        fs::create_dir_all(&at)?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        mount(Path::new("none"), &at, "tmpfs", flags, &format!("mode=0777,size={SCRATCH_BYTES}"))?;
        fs::set_permissions(&at, fs::Permissions::from_mode(0o777))?;
    }
    Ok(())
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
    root.join(parts.collect::<PathBuf>())
}

fn bind(root: &Path, path: &Path, source: &File) -> io::Result<()> {
    let at = inside(root, path);
    let is_folder = source.metadata()?.is_dir();
    fs::create_dir_all(if is_folder { &at } else { at.parent().unwrap_or(root) })?;
    if !is_folder && !at.exists() {
        File::create(&at)?;
    }
    let source = PathBuf::from(format!("/proc/self/fd/{}", source.as_raw_fd()));
    mount(&source, &at, "", libc::MS_BIND | libc::MS_REC, "")
}
