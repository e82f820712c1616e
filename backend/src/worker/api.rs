//! The seam between the worker and an API: CUDA implements it in [`crate::worker`]'s module of that name, the tests with an echo.
//!
//! A [`Library`] is loaded before the worker has a session; [`Library::begin`] then makes the [`Api`] of the one session that
//! this process will ever serve. [`Api::call`] gets every message, checked up to its header, in private memory.

use std::path::PathBuf;
use std::sync::Arc;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::payload::Writer;
use wire::slot::MAX_REPLY_BYTES;

use super::Session;
use super::devices::Devices;

/// Which OpenCL devices the calls go to. A name is a part of the platform's or device's own, in either case of letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenClDevice {
    /// Number or name of the platform; `None` for the first.
    pub platform: Option<String>,
    /// Number or name of the device; `None` for all of the platform.
    pub device: Option<String>,
}

/// What the front told the worker about the libraries to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The devices for CUDA.
    pub devices: Devices,
    /// File of their library; `None` for the usual one.
    pub library: Option<PathBuf>,
    /// The devices for OpenCL; `None` where it is not served.
    pub opencl: Option<OpenClDevice>,
    /// File of the OpenCL library; `None` for the loader.
    pub opencl_library: Option<PathBuf>,
    /// Serve although kernels can reach this process's ordinary memory.
    pub allow_pageable: bool,
    /// Make the devices' primary contexts before there is a session.
    pub prepare_context: bool,
}

/// An error that says which library does not work and what to do.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// Loads the API's library: the worker calls it once, before it says that it is ready.
pub type Load = fn(&Settings) -> Result<Box<dyn Library>, LoadError>;

/// A library that is loaded and initialised, with no session yet.
pub trait Library: Send {
    /// Starts serving the worker's session.
    fn begin(self: Box<Self>, session: Arc<Session>) -> Arc<dyn Api>;
}

/// An API that a session calls.
pub trait Api: Send + Sync {
    /// Carries out one message. `payload` is private memory and not checked yet; the whole of it must be before anything is done.
    /// Calls that do not block come in ring order from one thread, the others from threads of their own.
    ///
    /// # Errors
    /// [`Malformed`] ends the session. An API's error is no error here: it is the [`Reply::status`].
    fn call(&self, from: &FrameHeader, payload: &[u8], reply: &mut Reply<'_>) -> Result<(), Malformed>;

    /// Whether the call may sleep in the driver, so that it needs a thread of its own. Asked once for each number.
    fn blocks(&self, call: u16) -> bool;

    /// Whether the call stands: it is answered again and again, each time that the guest has done with the answer before
    /// (`wire.md`). Such a call blocks, too. Asked once for each number.
    fn stands(&self, call: u16) -> bool {
        let _ = call;
        false
    }

    /// How long the call may take.
    fn patience(&self, call: u16) -> Patience {
        let _ = call;
        Patience::Usual
    }

    /// The front is gone; the process ends when this returns.
    fn end(&self);
}

/// How long a call may take, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// `--call-timeout`.
    Usual,
    /// `--compile-timeout`: it gives a compiler what the guest wrote. Such a call may sleep.
    Compile,
    /// It waits for the guest.
    Endless,
}

/// The answer to one message, in private memory until [`Api::call`] has returned.
#[derive(Debug)]
pub struct Reply<'a> {
    writer: Writer<'a>,
    status: i32,
}

impl<'a> Reply<'a> {
    /// An empty reply of status 0.
    pub fn new(memory: &'a mut [u8; MAX_REPLY_BYTES]) -> Reply<'a> {
        Reply { writer: Writer::new(memory), status: 0 }
    }

    /// Writes the payload; it is lost for a posted call.
    pub fn writer(&mut self) -> &mut Writer<'a> {
        &mut self.writer
    }

    /// Sets the API's status. For a posted call it is kept until the guest's next call that reports late errors.
    pub fn status(&mut self, status: i32) {
        self.status = status;
    }

    /// Status and length of the payload.
    pub(super) fn finish(&self) -> (i32, usize) {
        (self.status, self.writer.len())
    }
}
