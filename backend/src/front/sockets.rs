//! Listening Unix sockets by path: made for their owner only, removed at the end (by the starter), never taken from a living
//! process.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why a socket cannot be made; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A process listens there.
    #[error("{0} is in use by a running process: stop that one or give another path")]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{0} exists and is not a socket: remove it or give another path")]
    NotASocket(PathBuf),
    /// The folder does not take it.
    #[error("cannot make the socket {path}: {source} (its folder must exist and be writable)")]
    Bind {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A descriptor that does not listen.
    #[error("descriptor {0} is not a listening Unix socket: --fd wants one, as systemd or a shell's exec hands over")]
    NotListening(i32),
}

/// Makes a listening socket. One that a process left behind is removed first.
/// # Errors
/// [`SocketError`].
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    clear(path)?;
    let failed = |source| SocketError::Bind { path: path.to_owned(), source };
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

fn clear(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Bind { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            log::info!("removing {}, which no process listens on any more", path.display());
            fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(failed(error)),
        _ => Err(SocketError::InUse(path.to_owned())),
    }
}

/// Removes a socket's file.
pub fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        log::warn!("cannot remove {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("gpuferry-sockets-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        folder
    }

    #[test]
    fn bind_when_the_path_is_stale_then_takes_it_and_when_live_then_refuses() {
        let folder = folder("stale");
        let path = folder.join("s");
        let first = bind(&path).expect("a fresh path");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(matches!(bind(&path), Err(SocketError::InUse(_))));
        drop(first);
        let _listener = bind(&path).expect("a stale path");
        remove(&path);
        assert!(!path.exists());
        fs::remove_dir(folder).expect("removed");
    }

    #[test]
    fn bind_when_something_else_is_there_or_the_folder_is_not_then_refuses() {
        let folder = folder("other");
        let path = folder.join("file");
        fs::write(&path, "x").expect("written");
        assert!(matches!(bind(&path), Err(SocketError::NotASocket(_))));
        assert!(matches!(bind(&folder.join("no/s")), Err(SocketError::Bind { .. })));
        fs::remove_dir_all(folder).expect("removed");
    }
}
