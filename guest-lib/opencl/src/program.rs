//! Programs: what they are, and what is known of them.

use crate::answer::{Answer, Question};
use crate::arena::{self, Arena, Live, Object, Ref};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::device::Device;
use crate::generated::{INFO_PROGRAM, INFO_PROGRAM_BUILD, Kind, kind, send};
use crate::includes;
use crate::status::{CL_INVALID_DEVICE, CL_INVALID_OPERATION};
use crate::user::{Out, Raw};
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use wire::handle::Handle;

const CL_PROGRAM_REFERENCE_COUNT: u32 = 0x1160;
const CL_PROGRAM_CONTEXT: u32 = 0x1161;
const CL_PROGRAM_NUM_DEVICES: u32 = 0x1162;
const CL_PROGRAM_DEVICES: u32 = 0x1163;
const CL_PROGRAM_SOURCE: u32 = 0x1164;
const CL_PROGRAM_BINARY_SIZES: u32 = 0x1165;
const CL_PROGRAM_BINARIES: u32 = 0x1166;
const CL_PROGRAM_IL: u32 = 0x1169;
const CL_PROGRAM_BUILD_STATUS: u32 = 0x1181;
const CL_PROGRAM_BUILD_OPTIONS: u32 = 0x1182;
const CL_PROGRAM_BUILD_LOG: u32 = 0x1183;
const CL_BUILD_IN_PROGRESS: i32 = -3;

/// Where a program comes from.
#[derive(Default)]
pub struct Origin {
    /// Its source; empty for another.
    pub source: Vec<u8>,
    /// Its intermediate language; empty for another.
    pub il: Vec<u8>,
}

/// A program.
pub struct Program {
    /// Its context.
    pub context: Ref<Context>,
    devices: Vec<Ref<Device>>,
    origin: Origin,
    /// Options of the last build, by device.
    options: Mutex<HashMap<Handle, String>>,
    /// Folders of headers in the last build: the host's, and those that the program named.
    folders: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
    /// Builds that threads of this library are waiting for.
    pub building: AtomicU32,
}

static PROGRAMS: Arena<Program> = Arena::new();

impl Object for Program {
    const KIND: Kind = kind::cl_program;

    fn arena() -> &'static Arena<Program> {
        &PROGRAMS
    }

    fn release(this: &Live<Program>, caller: &Caller) {
        let _ = send::clReleaseProgram(caller, this.handle);
    }
}

impl Program {
    /// A program that is not built.
    #[must_use]
    pub fn new(context: Ref<Context>, devices: Vec<Ref<Device>>, origin: Origin) -> Program {
        let (options, folders, building) = (Mutex::default(), Mutex::default(), AtomicU32::new(0));
        Program { context, devices, origin, options, folders, building }
    }

    /// The devices that it is for.
    #[must_use]
    pub fn devices(&self) -> &[Ref<Device>] {
        &self.devices
    }

    /// Its source; empty where it has none.
    #[must_use]
    pub fn source(&self) -> &[u8] {
        &self.origin.source
    }

    /// Whether the program can ask what its kernels' arguments are: of its own source it must have said so when it was built.
    #[must_use]
    pub fn has_argument_info(&self) -> bool {
        let options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        self.origin.source.is_empty() || options.values().any(|options| options.contains("-cl-kernel-arg-info"))
    }

    /// Keeps what folders of headers a build had.
    pub fn set_folders(&self, folders: Vec<(Vec<u8>, Vec<u8>)>) {
        *self.folders.lock().unwrap_or_else(PoisonError::into_inner) = folders;
    }

    /// Keeps the options of a build.
    pub fn set_options(&self, devices: &[Ref<Device>], text: &str) {
        let mut options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        for device in if devices.is_empty() { &self.devices } else { devices } {
            options.insert(device.handle, text.to_string());
        }
    }
}

impl Live<Program> {
    fn ask(&self, caller: &Caller, second: Handle, param: u32) -> Result<Vec<u8>, cl_int> {
        Question { second, ..Question::new(INFO_PROGRAM, self.handle, param) }.ask(caller)
    }

    fn binaries(&self, to: &Answer) -> Result<(), cl_int> {
        let caller = caller::enter()?;
        for (place, device) in to.places(self.devices.len())?.into_iter().zip(&self.devices) {
            if place.is_null() {
                continue;
            }
            let binary = self.ask(&caller, device.handle, CL_PROGRAM_BINARIES)?;
            // SAFETY: not null, so room for the binary, whose size the program asked for (OpenCL 3.0, CL_PROGRAM_BINARIES).
            unsafe { core::ptr::copy_nonoverlapping(binary.as_ptr(), place.cast(), binary.len()) };
        }
        Ok(())
    }

    fn sizes(&self, to: &Answer) -> Result<(), cl_int> {
        let caller = caller::enter()?;
        let mut sizes = Vec::new();
        for device in &self.devices {
            let size = self.ask(&caller, device.handle, CL_PROGRAM_BINARY_SIZES)?;
            sizes.extend(size);
        }
        to.bytes(&sizes)
    }

    fn info(&self, param: u32, to: &Answer) -> Result<(), cl_int> {
        match param {
            CL_PROGRAM_REFERENCE_COUNT => to.number(arena::references(self)),
            CL_PROGRAM_CONTEXT => to.object(self.context.raw()),
            CL_PROGRAM_NUM_DEVICES => to.number(self.devices.len() as u32),
            CL_PROGRAM_DEVICES => to.objects(self.devices.iter().map(|device| device.raw())),
            CL_PROGRAM_SOURCE => to.bytes(&[&self.origin.source[..], &[0]].concat()),
            CL_PROGRAM_IL => to.bytes(&self.origin.il),
            CL_PROGRAM_BINARY_SIZES => self.sizes(to),
            CL_PROGRAM_BINARIES => self.binaries(to),
            _ => to.bytes(&self.ask(&caller::enter()?, Handle::NULL, param)?),
        }
    }

    /// Asks what a build was for a device. A library may know a part of a part by the whole only (PoCL 5.0).
    fn ask_build(&self, mut device: Ref<Device>, param: u32) -> Result<Vec<u8>, cl_int> {
        let caller = caller::enter()?;
        loop {
            let question = Question::new(INFO_PROGRAM_BUILD, self.handle, param);
            let found = Question { second: device.handle, ..question }.ask(&caller);
            match device.parent() {
                Some(parent) if found == Err(CL_INVALID_DEVICE) => device = parent.clone(),
                _ => return found,
            }
        }
    }

    fn build_info(&self, device: Raw, param: u32, to: &Answer) -> Result<(), cl_int> {
        let device = arena::get::<Device>(device)?;
        if !self.devices.iter().any(|own| Arc::ptr_eq(own, &device)) {
            return Err(CL_INVALID_DEVICE);
        }
        match param {
            CL_PROGRAM_BUILD_OPTIONS => {
                let options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
                to.text(options.get(&device.handle).map_or("", String::as_str))
            }
            CL_PROGRAM_BUILD_STATUS if self.building.load(Ordering::Acquire) != 0 => {
                to.number(CL_BUILD_IN_PROGRESS.cast_unsigned())
            }
            _ => {
                let found = self.ask_build(device, param)?;
                if param != CL_PROGRAM_BUILD_LOG {
                    return to.bytes(&found);
                }
                let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner).clone();
                to.bytes(&includes::as_named(&found, &folders))
            }
        }
    }
}

crate::calls! {
    /// OpenCL 3.0 § 5.8.1, clRetainProgram.
    extern "C" fn clRetainProgram(program: Raw) {
        arena::retain::<Program>(program)
    }

    /// OpenCL 3.0 § 5.8.1, clReleaseProgram.
    extern "C" fn clReleaseProgram(program: Raw) {
        arena::release::<Program>(program)
    }

    /// OpenCL 3.0 § 5.8.8, clGetProgramInfo.
    extern "C" fn clGetProgramInfo(
        program: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let program = arena::get::<Program>(program)?;
        program.info(param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }

    /// OpenCL 3.0 § 5.8.8, clGetProgramBuildInfo.
    extern "C" fn clGetProgramBuildInfo(
        program: Raw, device: Raw, param_name: u32, param_value_size: usize, param_value: Raw,
        param_value_size_ret: Out<usize>,
    ) {
        let program = arena::get::<Program>(program)?;
        program.build_info(device, param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }

    /// OpenCL 2.2, clSetProgramReleaseCallback: for kernels that initialise programs, which OpenCL 3.0 knows no more.
    extern "C" fn clSetProgramReleaseCallback(program: Raw, _pfn_notify: *const c_void, _user_data: *mut c_void) {
        arena::get::<Program>(program)?;
        Err(CL_INVALID_OPERATION)
    }
}
