//! Programs: from source, binaries and an intermediate language; built, compiled and linked within a limit of time.
//!
//! A build that takes too long cannot be stopped in the library. The guest is told that it failed, with the limit in its log; the
//! program's number stands for nothing any more, and what the build uses is held for good. So that these do not pile up, a session
//! that has [`MOST_ABANDONED`] of them builds nothing more until one ends.

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::Buffer;

use super::generated::{
    CL_BUILD_PROGRAM_FAILURE, CL_INVALID_DEVICE, CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY, CL_OUT_OF_RESOURCES, kind,
};
use super::{OpenCl, first, lock, turn, words};
use crate::worker::answer::{Failure, function, ok};
use crate::worker::objects::Owners;

/// Longest that a build, a compilation or a link may take.
pub const BUILD_LIMIT: Duration = Duration::from_secs(300);
/// Most builds of a session that took too long and still run.
const MOST_ABANDONED: usize = 4;
/// `CL_COMPILE_PROGRAM_FAILURE`.
const COMPILE_FAILURE: i32 = -15;
/// `CL_LINK_PROGRAM_FAILURE`.
const LINK_FAILURE: i32 = -17;
/// What is added to the program's options: the host must know what a kernel's arguments are.
const WITH_ARGUMENTS: &str = " -cl-kernel-arg-info";
/// `CL_PROGRAM_NUM_DEVICES`, `_DEVICES`, `_BINARY_SIZES`, `_BINARIES`.
const NUM_DEVICES: u32 = 0x1162;
const DEVICES: u32 = 0x1163;
const BINARY_SIZES: u32 = 0x1165;
const BINARIES: u32 = 0x1166;
/// Most bytes of a binary.
const MOST_BINARY: usize = 256 << 20;

/// What `clGetProgramBuildInfo` says of a program whose build took too long.
pub fn overdue_info(param: u32) -> Option<Vec<u8>> {
    match param {
        // CL_PROGRAM_BUILD_STATUS: CL_BUILD_ERROR.
        0x1181 => Some((-2i32).to_ne_bytes().to_vec()),
        // CL_PROGRAM_BUILD_OPTIONS.
        0x1182 => Some(vec![0]),
        // CL_PROGRAM_BUILD_LOG.
        0x1183 => Some(b"gpuferry: the build took longer than its limit of time\n\0".to_vec()),
        // CL_PROGRAM_BINARY_TYPE: none.
        0x1184 => Some(0u32.to_ne_bytes().to_vec()),
        _ => None,
    }
}

/// Pointers that a build uses on a thread of its own.
struct Sent<T>(T);

// SAFETY: the library's objects may be used from any thread, and what is sent with them is the closure's own.
unsafe impl<T> Send for Sent<T> {}

impl<T> Sent<T> {
    fn take(self) -> T {
        self.0
    }
}

/// Texts that end with a zero byte each.
fn texts(run: &[u8]) -> Result<Vec<CString>, Malformed> {
    let mut rest = run;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let text = CStr::from_bytes_until_nul(rest).map_err(|_| Malformed::new("a text without an end"))?;
        rest = rest.get(text.count_bytes() + 1..).unwrap_or_default();
        found.push(text.to_owned());
    }
    Ok(found)
}

/// The options with which a program is built, in turn, until it is: with what the host must know, and as the program has
/// them. NVIDIA's compiler (580.159) cannot assemble a kernel without arguments where it is to tell what they are.
fn attempts(options: &CStr) -> Result<[CString; 2], Malformed> {
    let mut all = options.to_bytes().to_vec();
    all.extend(WITH_ARGUMENTS.bytes());
    let all = CString::new(all).map_err(|_| Malformed::new("a text with a zero byte in it"))?;
    Ok([all, options.to_owned()])
}

/// Builds with one after the other of the options until that does not fail; the last answer.
fn attempt(options: &[CString], failure: i32, mut build: impl FnMut(&CStr) -> i32) -> i32 {
    options.iter().fold(failure, |status, options| if status == failure { build(options) } else { status })
}

impl OpenCl {
    /// `gpuferryProgramSource`.
    pub(super) fn gpuferryProgramSource(
        &self,
        _from: &FrameHeader,
        _program: Handle,
        made: &mut *mut c_void,
        context: *mut c_void,
        source: Buffer<'_>,
    ) -> Result<(), Failure> {
        let create = function!(self, clCreateProgramWithSource)?;
        let length = source.bytes() as usize;
        let source = self.bytes.private(source)?;
        let mut text = source.pointer().cast::<c_char>();
        let mut status = 0;
        // SAFETY: the context lives; there is one text, of that length.
        *made = unsafe { create(context, 1, &raw mut text, &raw const length, &raw mut status) };
        ok(status)
    }

    /// `gpuferryProgramBinary`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryProgramBinary(
        &self,
        _from: &FrameHeader,
        _program: Handle,
        made: &mut *mut c_void,
        context: *mut c_void,
        devices: &[*mut c_void],
        lengths: &[u8],
        binaries: Buffer<'_>,
        states: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let create = function!(self, clCreateProgramWithBinary)?;
        let lengths: Vec<usize> = words(lengths)?.into_iter().map(|length| length as usize).collect();
        let sum = lengths.iter().try_fold(0usize, |sum, length| sum.checked_add(*length));
        if lengths.len() != devices.len() || sum.map(|sum| sum as u64) != Some(binaries.bytes()) {
            return Err(Malformed::new("binaries that are not as long as is said").into());
        }
        let data = self.bytes.private(binaries)?;
        let mut place = data.pointer().cast::<u8>();
        let mut places = Vec::new();
        for length in &lengths {
            places.push(if *length == 0 { std::ptr::null() } else { place });
            place = place.wrapping_add(*length);
        }
        let mut found = vec![0i32; devices.len()];
        let mut status = 0;
        // SAFETY: context and devices live; there are as many places, lengths and states as devices.
        *made = unsafe {
            create(
                context,
                devices.len() as u32,
                first(devices),
                lengths.as_ptr(),
                places.as_mut_ptr(),
                found.as_mut_ptr(),
                &raw mut status,
            )
        };
        *states = found.into_iter().flat_map(i32::to_le_bytes).collect();
        ok(status)
    }

    /// `gpuferryProgramIL`.
    pub(super) fn gpuferryProgramIL(
        &self,
        _from: &FrameHeader,
        _program: Handle,
        made: &mut *mut c_void,
        context: *mut c_void,
        il: Buffer<'_>,
    ) -> Result<(), Failure> {
        let create = function!(self, clCreateProgramWithIL)?;
        let length = il.bytes() as usize;
        let il = self.bytes.private(il)?;
        let mut status = 0;
        // SAFETY: the context lives; there are `length` bytes.
        *made = unsafe { create(context, il.pointer(), length, &raw mut status) };
        ok(status)
    }

    /// Makes a call that builds on a thread of its own and waits for it, for a while. `None`: it took too long.
    fn bounded<T: Send + 'static>(&self, build: impl FnOnce() -> T + Send + 'static) -> Result<Option<T>, Failure> {
        if self.abandoned.load(Ordering::Relaxed) >= MOST_ABANDONED {
            return Err(Failure::Status(CL_OUT_OF_RESOURCES));
        }
        let (sender, built) = mpsc::channel();
        let run = move || {
            // Nobody listens any more where it took too long.
            let _ = sender.send(build());
        };
        let thread = std::thread::Builder::new().name("build".into()).spawn(run);
        let Ok(thread) = thread else { return Err(Failure::Status(CL_OUT_OF_HOST_MEMORY)) };
        match built.recv_timeout(self.build_limit) {
            Ok(result) => Ok(Some(result)),
            // The thread has ended without an answer, which only a panic does.
            Err(RecvTimeoutError::Disconnected) => Err(Failure::Status(CL_BUILD_PROGRAM_FAILURE)),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = self.build_limit.as_secs();
                log::warn!("session {}: a build takes longer than {seconds} s and is given up", self.session.number());
                turn::keep();
                self.abandoned.fetch_add(1, Ordering::Relaxed);
                let abandoned: Arc<AtomicUsize> = Arc::clone(&self.abandoned);
                let wait = move || {
                    // Whether it panicked makes no difference here.
                    let _ = thread.join();
                    abandoned.fetch_sub(1, Ordering::Relaxed);
                };
                if std::thread::Builder::new().name("overdue".into()).spawn(wait).is_err() {
                    log::warn!("session {}: no thread watches the build", self.session.number());
                }
                Ok(None)
            }
        }
    }

    /// A program whose build took too long: its number stands for `status` from now on.
    fn give_up(&self, program: *mut c_void, status: i32) -> Failure {
        let handle = self.objects.handle_of(kind::cl_program, program);
        self.objects.remove(kind::cl_program, handle);
        // A guest that gave the number up meanwhile has no use for it.
        if self.objects.insert(kind::cl_program, handle, Owners::default(), Err(status)).is_ok() {
            lock(&self.overdue).insert(handle);
        }
        Failure::Status(status)
    }

    /// `gpuferryBuild`.
    pub(super) fn gpuferryBuild(
        &self,
        _from: &FrameHeader,
        program: *mut c_void,
        devices: &[*mut c_void],
        options: &CStr,
    ) -> Result<(), Failure> {
        let call = function!(self, clBuildProgram)?;
        let sent = Sent((program, devices.to_vec(), attempts(options)?));
        let status = self.bounded(move || {
            let (program, devices, attempts) = sent.take();
            let (count, list) = (devices.len() as u32, first(&devices));
            attempt(&attempts, CL_BUILD_PROGRAM_FAILURE, |options| {
                // SAFETY: program and devices are held until the call returns.
                unsafe { call(program, count, list, options.as_ptr(), std::ptr::null(), std::ptr::null_mut()) }
            })
        })?;
        ok(status.ok_or_else(|| self.give_up(program, CL_BUILD_PROGRAM_FAILURE))?)
    }

    /// `gpuferryCompile`.
    pub(super) fn gpuferryCompile(
        &self,
        _from: &FrameHeader,
        program: *mut c_void,
        devices: &[*mut c_void],
        options: &CStr,
        headers: &[*mut c_void],
        header_names: &[u8],
    ) -> Result<(), Failure> {
        let call = function!(self, clCompileProgram)?;
        let names = texts(header_names)?;
        if names.len() != headers.len() {
            return Err(Malformed::new("headers without a name").into());
        }
        let sent = Sent((program, devices.to_vec(), attempts(options)?, headers.to_vec(), names));
        let status = self.bounded(move || {
            let (program, devices, attempts, headers, names) = sent.take();
            let mut names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
            let names = if names.is_empty() { std::ptr::null_mut() } else { names.as_mut_ptr() };
            let (count, list) = (devices.len() as u32, first(&devices));
            let (header_count, header_list) = (headers.len() as u32, first(&headers));
            let (none, nothing) = (std::ptr::null(), std::ptr::null_mut());
            attempt(&attempts, COMPILE_FAILURE, |options| {
                // SAFETY: all objects are held until the call returns; there are as many names as headers.
                unsafe { call(program, count, list, options.as_ptr(), header_count, header_list, names, none, nothing) }
            })
        })?;
        ok(status.ok_or_else(|| self.give_up(program, COMPILE_FAILURE))?)
    }

    /// `gpuferryLink`.
    #[expect(clippy::too_many_arguments, reason = "as the message has them")]
    pub(super) fn gpuferryLink(
        &self,
        _from: &FrameHeader,
        program: Handle,
        context: *mut c_void,
        devices: &[*mut c_void],
        options: &CStr,
        programs: &[*mut c_void],
        made: &mut u32,
    ) -> Result<(), Failure> {
        let call = function!(self, clLinkProgram)?;
        self.objects.vacant(kind::cl_program, program)?;
        let sent = Sent((context, devices.to_vec(), options.to_owned(), programs.to_vec()));
        let linked = self.bounded(move || {
            let (context, devices, options, programs) = sent.take();
            let mut status = 0;
            // SAFETY: all objects are held until the call returns.
            let linked = unsafe {
                call(
                    context,
                    devices.len() as u32,
                    first(&devices),
                    options.as_ptr(),
                    programs.len() as u32,
                    first(&programs),
                    std::ptr::null(),
                    std::ptr::null_mut(),
                    &raw mut status,
                )
            };
            Sent((linked, status))
        })?;
        let Some(linked) = linked else { return Err(Failure::Status(LINK_FAILURE)) };
        let (linked, status) = linked.take();
        if !linked.is_null() {
            *made = 1;
            self.objects.insert(kind::cl_program, program, Owners::default(), Ok(linked))?;
        }
        ok(status)
    }

    /// `gpuferrySpecialize`.
    pub(super) fn gpuferrySpecialize(
        &self,
        _from: &FrameHeader,
        program: *mut c_void,
        id: u32,
        value: &[u8],
    ) -> Result<(), Failure> {
        let set = function!(self, clSetProgramSpecializationConstant)?;
        let mut copy = value.to_vec();
        // A library that reads more than it is told reads zeros.
        copy.extend([0; 16]);
        // SAFETY: the program lives; there are that many bytes.
        ok(unsafe { set(program, id, value.len(), copy.as_ptr().cast()) })
    }

    /// The binary of a program for one of its devices.
    pub(super) fn program_binary(&self, program: *mut c_void, device: *mut c_void) -> Result<Vec<u8>, Failure> {
        let info = function!(self, clGetProgramInfo)?;
        let mut count = 0u32;
        // SAFETY: the program lives; the value has 4 bytes.
        ok(unsafe { info(program, NUM_DEVICES, 4, (&raw mut count).cast(), std::ptr::null_mut()) })?;
        let count = count as usize;
        let bytes = count * size_of::<usize>();
        let (mut devices, mut sizes) = (vec![std::ptr::null_mut::<c_void>(); count], vec![0usize; count]);
        // SAFETY: there is room for as many as the program says.
        ok(unsafe { info(program, DEVICES, bytes, devices.as_mut_ptr().cast(), std::ptr::null_mut()) })?;
        // SAFETY: as above.
        ok(unsafe { info(program, BINARY_SIZES, bytes, sizes.as_mut_ptr().cast(), std::ptr::null_mut()) })?;
        let place = devices.iter().position(|of| *of == device).ok_or(Failure::Status(CL_INVALID_DEVICE))?;
        let size = sizes.get(place).copied().unwrap_or(0);
        if size > MOST_BINARY {
            return Err(Failure::Status(CL_INVALID_VALUE));
        }
        let mut binary = vec![0u8; size];
        let mut places = vec![std::ptr::null_mut::<u8>(); count];
        if let Some(wanted) = places.get_mut(place).filter(|_| size != 0) {
            *wanted = binary.as_mut_ptr();
        }
        // SAFETY: the one place that is not null has room for the binary.
        ok(unsafe { info(program, BINARIES, bytes, places.as_mut_ptr().cast(), std::ptr::null_mut()) })?;
        Ok(binary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempt_when_the_first_options_fail_then_the_program_s_own_are_tried_and_no_other_answer_is_asked_twice() {
        let options = attempts(c"-w").expect("options");
        let tried = |answers: [i32; 2]| {
            let mut said = Vec::new();
            let status = attempt(&options, -11, |options| {
                said.push(options.to_owned());
                answers[said.len() - 1]
            });
            (status, said)
        };
        assert_eq!(tried([0, 9]), (0, vec![c"-w -cl-kernel-arg-info".to_owned()]));
        assert_eq!(tried([-43, 9]).0, -43);
        assert_eq!(tried([-11, 0]), (0, options.to_vec()));
        assert_eq!(tried([-11, -11]).0, -11);
    }

    #[test]
    fn texts_when_one_has_no_end_then_is_malformed() {
        assert_eq!(texts(b"a.h\0\0b\0"), Ok(vec![c"a.h".to_owned(), c"".to_owned(), c"b".to_owned()]));
        assert!(texts(b"a.h\0b").is_err());
        assert_eq!(texts(b""), Ok(vec![]));
    }
}
