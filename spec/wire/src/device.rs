//! The virtio device as the guest's kernel sees it: configuration space, control requests, events,
//! doorbells and the ioctls of `/dev/gpuferry`.
//!
//! This file is the single source of those layouts. `spec-gen` reads it as data and prints
//! `guest-lib/kmod/uapi/gpuferry.h` from it, so it holds nothing but `pub const`s of integer literals
//! and `#[repr(C)]` structs of integers, arrays of integers and structs above, without padding.
//! All integers are little-endian. Text in full: `spec/device.md`.

/// First word of the configuration space: the bytes `G P U F`.
pub const MAGIC: u32 = 0x4655_5047;
/// Major version of the device; the driver refuses any other.
pub const DEVICE_MAJOR: u16 = 1;
/// Minor version of the device: additions that an older driver may ignore.
pub const DEVICE_MINOR: u16 = 0;
/// Virtio device id used until one is assigned (`device.md` § Device ID).
pub const DEVICE_ID: u32 = 38;

/// Index of the queue that carries requests of the driver.
pub const QUEUE_CONTROL: u32 = 0;
/// Index of the queue whose buffers the device fills with events.
pub const QUEUE_EVENT: u32 = 1;
/// Index of the queue by which the driver rings sessions.
pub const QUEUE_DOORBELL: u32 = 2;
/// Number of queues.
pub const QUEUE_COUNT: u32 = 3;

/// Most sessions of one device at a time.
pub const MAX_SESSIONS: u32 = 256;
/// Most pages of 4 KiB in one `REQUEST_PIN` (4 GiB).
pub const MAX_PIN_PAGES: u32 = 1_048_576;
/// Most leases of one session at a time.
pub const MAX_LEASES: u32 = 65536;
/// Size in bytes of a page in every page list.
pub const PAGE_BYTES: u32 = 4096;

/// The device knows [`REQUEST_OPEN_KEPT`].
pub const CAPABILITY_KEEPS: u64 = 1;

/// The configuration space. Read-only for the driver; read once, by words, at probe.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`DEVICE_MAJOR`].
    pub major: u16,
    /// [`DEVICE_MINOR`].
    pub minor: u16,
    /// `CAPABILITY_*`: what the device can do; a driver ignores unknown ones.
    pub capabilities: u64,
    /// Sessions the device accepts at a time, at most [`MAX_SESSIONS`].
    pub max_sessions: u32,
    /// Bytes of the window of a session ([`crate::window`]), a multiple of [`PAGE_BYTES`].
    pub window_bytes: u32,
    /// Pages the device accepts in one pin request, at most [`MAX_PIN_PAGES`].
    pub max_pin_pages: u32,
    /// Version of the message set in the window ([`crate::WIRE_VERSION`]); the guest library compares it.
    pub wire_version: u32,
    /// Zero.
    pub reserved: [u64; 4],
}

/// Opens a session: an [`OpenRequest`] and its extents, answered by a [`Response`].
pub const REQUEST_OPEN: u32 = 1;
/// Closes a session: a [`RequestHeader`] alone. When it is answered nothing of the session's memory is mapped.
pub const REQUEST_CLOSE: u32 = 2;
/// Lends pages of the calling process: a [`PinRequest`] and its extents.
pub const REQUEST_PIN: u32 = 3;
/// Opens a session as [`REQUEST_OPEN`] does, of a driver that closes it before it resets the device: so it lasts while the queues
/// stop and go on. Only where the device has [`CAPABILITY_KEEPS`].
pub const REQUEST_OPEN_KEPT: u32 = 5;
/// Ends a lease: an [`UnpinRequest`]. When it is answered the pages are neither read nor written any more.
pub const REQUEST_UNPIN: u32 = 4;

/// Starts every request of the control queue.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// `REQUEST_*`.
    pub kind: u32,
    /// The session's number, chosen by the driver, below `max_sessions`.
    pub session: u32,
}

/// A run of guest-physical pages.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Guest-physical address of the first page, a multiple of [`PAGE_BYTES`].
    pub address: u64,
    /// Number of pages, not 0.
    pub pages: u32,
    /// Zero.
    pub reserved: u32,
}

/// `REQUEST_OPEN`: the window's pages in order follow as `extents` times [`Extent`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenRequest {
    /// Kind and session.
    pub header: RequestHeader,
    /// Number of extents that follow; together they hold exactly `window_bytes`.
    pub extents: u32,
    /// The opening process's id in the guest, for the log.
    pub process: u32,
    /// The opening process's name, padded with zeros, for the log.
    pub name: [u8; 16],
}

/// The device may read the leased pages.
pub const PIN_READ: u32 = 1;
/// The device may write the leased pages.
pub const PIN_WRITE: u32 = 2;

/// `REQUEST_PIN`: the pages in order follow as `extents` times [`Extent`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinRequest {
    /// Kind and session.
    pub header: RequestHeader,
    /// The lease's number, chosen by the driver, below [`MAX_LEASES`], not in use.
    pub lease: u32,
    /// `PIN_READ | PIN_WRITE`, at least one.
    pub flags: u32,
    /// Address of the first byte in the process.
    pub address: u64,
    /// Length in bytes, not 0. The pages cover exactly `address .. address + bytes`, rounded out to whole pages.
    pub bytes: u64,
    /// Number of extents that follow.
    pub extents: u32,
    /// Zero.
    pub reserved: u32,
}

/// `REQUEST_UNPIN`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnpinRequest {
    /// Kind and session.
    pub header: RequestHeader,
    /// The lease's number.
    pub lease: u32,
    /// Zero.
    pub reserved: u32,
}

/// The request was carried out.
pub const RESPONSE_OK: u32 = 0;
/// The request is malformed or names a session or lease that does not fit.
pub const RESPONSE_INVALID: u32 = 1;
/// No worker can be had: a limit is reached or the worker does not start.
pub const RESPONSE_NO_WORKER: u32 = 2;
/// The session's worker has ended.
pub const RESPONSE_DEAD: u32 = 3;
/// A limit of the session is reached.
pub const RESPONSE_LIMIT: u32 = 4;

/// Answers every request of the control queue.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// `RESPONSE_*`.
    pub status: u32,
    /// Zero.
    pub reserved: u32,
}

/// Some thread of the session may have a reply: wake all that sleep; each looks at its own word.
pub const EVENT_WAKE: u32 = 1;
/// The session's worker has ended: every call of the session fails from now on.
pub const EVENT_DEAD: u32 = 2;

/// What the device writes into a buffer of the event queue.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `EVENT_*`.
    pub kind: u32,
    /// The session's number.
    pub session: u32,
}

/// What the driver puts into the doorbell queue: the session whose ring has news for a parked worker.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doorbell {
    /// The session's number.
    pub session: u32,
    /// Zero.
    pub reserved: u32,
}

/// Type letter of the ioctls.
pub const IOCTL_TYPE: u32 = 0xB7;
/// `_IOR(IOCTL_TYPE, 0, IoctlInfo)`: what device this is; works before `SETUP`.
pub const IOCTL_INFO: u32 = 0;
/// `_IO(IOCTL_TYPE, 1)`: allocates the window and opens the session, once per open file; then `mmap` at offset 0
/// of exactly `window_bytes`, shared, readable and writable.
pub const IOCTL_SETUP: u32 = 1;
/// `_IO(IOCTL_TYPE, 2)`: rings the doorbell.
pub const IOCTL_KICK: u32 = 2;
/// `_IOW(IOCTL_TYPE, 3, IoctlWait)`: sleeps while a word of the window has a value.
pub const IOCTL_WAIT: u32 = 3;
/// `_IOWR(IOCTL_TYPE, 4, IoctlPin)`: lends a range of the caller's memory to the device.
pub const IOCTL_PIN: u32 = 4;
/// `_IOW(IOCTL_TYPE, 5, IoctlUnpin)`: ends a lease and waits until the device confirms it, unless [`UNPIN_LATE`] says not to.
pub const IOCTL_UNPIN: u32 = 5;
/// The call that used the memory has been answered: end the lease when the device confirms it, and do not wait for that.
pub const UNPIN_LATE: u32 = 1;

/// Answer of `IOCTL_INFO`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoctlInfo {
    /// The device's configuration space, as read at probe.
    pub config: Config,
}

/// Argument of `IOCTL_WAIT`. Returns 0 when the word differs (or may differ: look again), `ETIMEDOUT` after the time,
/// `EPIPE` when the session is dead, `EINTR` on a signal.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoctlWait {
    /// Offset in the window of a 32-bit word, a multiple of 4.
    pub offset: u32,
    /// Sleep while the word equals this.
    pub value: u32,
    /// Longest sleep in nanoseconds; 0 is without end.
    pub timeout_ns: u64,
}

/// Argument of `IOCTL_PIN`. Errors: `EINVAL` (length 0 or over the limit, wrap, no flag), `EFAULT` (not the caller's
/// memory, or read-only with `PIN_WRITE`), `ENOSPC` (no lease number left), `EPIPE` (session dead), `ENOMEM`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoctlPin {
    /// First byte.
    pub address: u64,
    /// Length in bytes; the pages it touches are at most `max_pin_pages`.
    pub bytes: u64,
    /// `PIN_READ | PIN_WRITE`.
    pub flags: u32,
    /// Out: the lease's number.
    pub lease: u32,
}

/// Argument of `IOCTL_UNPIN`. Errors: `ENOENT` (no such lease).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoctlUnpin {
    /// The lease's number.
    pub lease: u32,
    /// [`UNPIN_LATE`] or 0.
    pub flags: u32,
}
