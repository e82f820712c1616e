//! The virtio carrier: `/dev/gpuferry` of the kernel module (`spec/device.md`, `spec/wire/src/device.rs`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use wire::WIRE_VERSION;
use wire::device::{
    DEVICE_MAJOR, IOCTL_INFO, IOCTL_KICK, IOCTL_PIN, IOCTL_SETUP, IOCTL_TYPE, IOCTL_UNPIN, IOCTL_WAIT, IoctlInfo,
    IoctlPin, IoctlUnpin, IoctlWait, MAGIC, UNPIN_LATE,
};

use crate::carrier::{LendError, OpenError, Pinned, Slept};
use crate::window::Window;

const WRITE: u32 = 1;
const READ: u32 = 2;

/// Longest sleep in one ioctl: bounds what a lost device can do to a sleeping thread.
const SLEEP_NS: u64 = 500_000_000;

/// An ioctl's number, as `_IOC` of the kernel makes it.
const fn number<T>(direction: u32, nr: u32) -> libc::c_ulong {
    let bytes = if direction == 0 { 0 } else { size_of::<T>() as u32 };
    (direction << 30 | bytes << 16 | IOCTL_TYPE << 8 | nr) as libc::c_ulong
}

/// The open device node of a session.
#[derive(Debug)]
pub(crate) struct VirtioLink {
    file: File,
    max_pin_bytes: usize,
}

impl VirtioLink {
    fn ioctl<T>(&self, direction: u32, nr: u32, argument: &mut T) -> io::Result<()> {
        // SAFETY: the node is ours, and the argument is the struct that the number's size names.
        let result =
            unsafe { libc::ioctl(self.file.as_raw_fd(), number::<T>(direction, nr), std::ptr::from_mut(argument)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// What keeps the session open.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Opens the node, checks what is behind it, and sets the session up.
    pub fn open(path: &Path) -> Result<(VirtioLink, Window), OpenError> {
        let node = path.display();
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(path).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::NotFound => OpenError::Absent(format!(
                        "{node}: not there; load the module (modprobe virtio_gpuferry) in a VM with a gpuferry device, \
                         or set GPUFERRY=unix:PATH for `gpuferryd --local-path PATH` on this host"
                    )),
                    io::ErrorKind::PermissionDenied => OpenError::Refused(format!(
                        "{node}: permission denied; it is mode 0666 unless a udev rule says otherwise"
                    )),
                    _ => OpenError::Absent(format!("{node}: {error}")),
                }
            })?;
        let mut link = VirtioLink { file, max_pin_bytes: 0 };
        let mut info = IoctlInfo::default();
        link.ioctl(READ, IOCTL_INFO, &mut info)
            .map_err(|error| OpenError::Absent(format!("{node}: not a gpuferry device ({error})")))?;
        let config = info.config;
        if config.magic != MAGIC || config.major != DEVICE_MAJOR {
            return Err(OpenError::Version(format!(
                "{node}: magic {:#x}, device version {}.{}; this library needs magic {MAGIC:#x}, version {DEVICE_MAJOR}.x",
                config.magic, config.major, config.minor
            )));
        }
        if config.wire_version != WIRE_VERSION {
            return Err(OpenError::Version(format!(
                "{node}: the host's gpuferryd speaks wire version {}, this library {WIRE_VERSION}; install the same release on both",
                config.wire_version
            )));
        }
        link.max_pin_bytes = config.max_pin_pages as usize * wire::device::PAGE_BYTES as usize;
        link.ioctl::<()>(0, IOCTL_SETUP, &mut ()).map_err(|error| match error.raw_os_error() {
            Some(libc::EPIPE | libc::ENODEV) => OpenError::Absent(format!("{node}: the host's gpuferryd is gone")),
            _ => OpenError::Refused(format!(
                "{node}: no session ({error}); the host may be out of sessions or its GPU library may not start: see gpuferryd's log"
            )),
        })?;
        let window = Window::map(link.file.as_fd(), config.window_bytes as usize)
            .map_err(|error| OpenError::Refused(format!("{node}: mapping the window: {error}")))?;
        Ok((link, window))
    }

    pub fn ring(&self) {
        // A failure means that the device is gone; the wait for a reply finds that out.
        let _ = self.ioctl::<()>(0, IOCTL_KICK, &mut ());
    }

    pub fn sleep(&self, offset: usize, value: u32) -> Slept {
        let mut wait = IoctlWait { offset: offset as u32, value, timeout_ns: SLEEP_NS };
        match self.ioctl(WRITE, IOCTL_WAIT, &mut wait).map_err(|error| error.raw_os_error()) {
            Err(Some(libc::EPIPE | libc::ENODEV)) => Slept::Dead,
            _ => Slept::Look,
        }
    }

    /// Most bytes of one lease that starts on a page.
    pub fn max_pin_bytes(&self) -> usize {
        self.max_pin_bytes
    }

    pub fn pin(&self, address: usize, bytes: usize, flags: u32) -> Result<Pinned, LendError> {
        let mut pin = IoctlPin { address: address as u64, bytes: bytes as u64, flags, lease: 0 };
        loop {
            match self.ioctl(READ | WRITE, IOCTL_PIN, &mut pin) {
                Ok(()) => return Ok(Pinned { lease: pin.lease }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub fn unpin(&self, lease: u32) {
        self.end_lease(IoctlUnpin { lease, flags: 0 });
    }

    /// As [`VirtioLink::unpin`], without waiting for the device: no call uses the memory any more.
    pub fn unpin_late(&self, lease: u32) {
        self.end_lease(IoctlUnpin { lease, flags: UNPIN_LATE });
    }

    fn end_lease(&self, mut unpin: IoctlUnpin) {
        while let Err(error) = self.ioctl(WRITE, IOCTL_UNPIN, &mut unpin) {
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                // A module that knows of no flags.
                io::ErrorKind::InvalidInput if unpin.flags != 0 => unpin.flags = 0,
                // The session is dead or the lease is gone already.
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_when_made_then_is_what_the_kernel_macros_make() {
        // Of a C program with <linux/ioctl.h>: _IO(0xB7, 2), _IOW(0xB7, 3, 16 bytes), _IOWR(0xB7, 4, 24 bytes).
        assert_eq!(number::<()>(0, IOCTL_KICK), 0xb702);
        assert_eq!(number::<IoctlWait>(WRITE, IOCTL_WAIT), 0x4010_b703);
        assert_eq!(number::<IoctlPin>(READ | WRITE, IOCTL_PIN), 0xc018_b704);
        assert_eq!(number::<IoctlInfo>(READ, IOCTL_INFO), 0x8040_b700);
    }
}
