//! A folder of this worker's own for what is kept in files: PoCL writes the kernels that it compiles, and the guest's headers
//! lie there while they are needed.
//!
//! It is private to the session, because one guest's compiled kernels are nothing another's may load; without a sandbox an
//! operator may name another for all in POCL_CACHE_DIR (`docs/opencl.md`). The folder goes with the worker; one that was
//! killed leaves its folder, which the next worker to start removes: nobody holds its lock any more.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::lock;

/// The variable that says where PoCL keeps compiled kernels.
const POCL_CACHE: &str = "POCL_CACHE_DIR";
/// What the folders' names begin with.
const PREFIX: &str = "gpuferry-opencl-";

/// The folder and its lock.
static OWN: Mutex<Option<(PathBuf, File)>> = Mutex::new(None);

/// Makes the folder, and has PoCL use it where the operator has not named another.
///
/// # Errors
/// The system's.
pub fn prepare() -> io::Result<()> {
    let all = std::env::temp_dir();
    remove_left(&all);
    let own = all.join(format!("{PREFIX}{}", std::process::id()));
    fs::DirBuilder::new().mode(0o700).create(&own)?;
    let held = File::open(&own)?;
    take(&held);
    if std::env::var_os(POCL_CACHE).is_none() {
        // SAFETY: the worker has one thread until its library is loaded.
        unsafe { std::env::set_var(POCL_CACHE, &own) };
    }
    *lock(&OWN) = Some((own, held));
    Ok(())
}

/// The folder.
pub fn folder() -> Option<PathBuf> {
    lock(&OWN).as_ref().map(|(own, _)| own.clone())
}

/// Removes the folder, at the worker's end.
pub fn remove() {
    if let Some((own, _held)) = lock(&OWN).take() {
        // What stays is removed by the next worker.
        let _ = fs::remove_dir_all(own);
    }
}

/// Takes the folder's lock, if nobody has it.
fn take(folder: &File) -> bool {
    // SAFETY: a descriptor of ours.
    unsafe { libc::flock(folder.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Removes folders of workers that have ended.
fn remove_left(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let is_left = ours && File::open(entry.path()).is_ok_and(|folder| take(&folder));
        if is_left {
            // Another worker may remove it at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
