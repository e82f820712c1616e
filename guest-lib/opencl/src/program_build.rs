//! Builds, compilations and links. With a function of the program's they run on a thread of their own, which calls it at the end.

use crate::arena::{self, Ref};
use crate::callback;
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::device::{self, Device};
use crate::generated::send;
use crate::includes;
use crate::printed;
use crate::program::{Origin, Program};
use crate::program_make::{devices_in, handles};
use crate::status::{
    CL_INVALID_DEVICE, CL_INVALID_OPERATION, CL_INVALID_PROGRAM, CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY,
    CL_OUT_OF_RESOURCES,
};
use crate::user::{self, In, Out, Raw, Text};
use core::ffi::{c_char, c_void};
use core::sync::atomic::Ordering;
use std::ffi::CString;
use std::sync::Arc;
use wire::handle::Handle;

/// The function that is called when a build has ended.
type Notify = unsafe extern "C" fn(Raw, *mut c_void);

/// What a build is of.
struct Job {
    program: Ref<Program>,
    devices: Vec<Ref<Device>>,
    options: CString,
    /// For a compilation: the headers, and their names with a zero byte after each.
    headers: Option<(Vec<Ref<Program>>, Vec<u8>)>,
}

impl Job {
    fn run(&self, caller: &Caller) -> cl_int {
        printed::watch(caller, self.program.source());
        let headers = self.headers.iter().flat_map(|(headers, _)| headers);
        let sources: Vec<&[u8]> = [&self.program].into_iter().chain(headers).map(|program| program.source()).collect();
        let included = match includes::send(caller, &sources, &self.options) {
            Ok(included) => included,
            Err(status) => return status,
        };
        let options = included.as_ref().map_or(&self.options, |included| &included.options);
        let devices = handles(&self.devices);
        let status = match &self.headers {
            None => send::gpuferryBuild(caller, self.program.handle, &devices, options),
            Some((headers, names)) => {
                let headers: Vec<Handle> = headers.iter().map(|header| header.handle).collect();
                send::gpuferryCompile(caller, self.program.handle, &devices, options, &headers, names)
            }
        };
        if let Some(mut included) = included {
            self.program.set_folders(core::mem::take(&mut included.folders));
            included.end(caller);
        }
        if status != CL_INVALID_OPERATION {
            self.program.set_options(&self.devices, &self.options.to_string_lossy());
        }
        status
    }

    /// Runs it here, or where somebody wants to be called, on a thread of its own.
    fn start(self, notify: Option<Notify>, data: *mut c_void) -> Result<(), cl_int> {
        let caller = caller::enter()?;
        let Some(notify) = notify else { return caller::answer(self.run(&caller)) };
        let data = data as usize;
        self.program.building.fetch_add(1, Ordering::AcqRel);
        let program = self.program.clone();
        let started = callback::spawn("gpuferry-build", move || {
            let caller = Caller { origin: caller::origin(), ..caller };
            self.run(&caller);
            self.program.building.fetch_sub(1, Ordering::AcqRel);
            // SAFETY: the program gave function and data for this call.
            unsafe { notify(self.program.raw(), data as *mut c_void) };
        });
        if started {
            return Ok(());
        }
        program.building.fetch_sub(1, Ordering::AcqRel);
        Err(CL_OUT_OF_HOST_MEMORY)
    }
}

/// The devices of a build, which the program must be for.
fn devices_of(program: &Program, num_devices: u32, list: In<Raw>) -> Result<Vec<Ref<Device>>, cl_int> {
    if (num_devices == 0) != list.is_null() {
        return Err(CL_INVALID_VALUE);
    }
    let devices = device::list(&list.list(num_devices as usize))?;
    let is_own = |device: &Ref<Device>| program.devices().iter().any(|own| Arc::ptr_eq(own, device));
    if devices.iter().all(is_own) { Ok(devices) } else { Err(CL_INVALID_DEVICE) }
}

fn check_notify(notify: Option<Notify>, data: *mut c_void) -> Result<(), cl_int> {
    if notify.is_none() && !data.is_null() { Err(CL_INVALID_VALUE) } else { Ok(()) }
}

fn options_of(options: Text) -> CString {
    options.get().map(CString::from).unwrap_or_default()
}

/// What `clLinkProgram` is given.
struct Link {
    context: Ref<Context>,
    devices: Vec<Ref<Device>>,
    options: CString,
    programs: Vec<Ref<Program>>,
}

impl Link {
    /// The program, where there is one, and the status.
    fn run(self) -> Result<(Option<Ref<Program>>, cl_int), cl_int> {
        let caller = caller::enter()?;
        let vacant = arena::vacant::<Program>()?;
        let mut made = 0;
        let programs: Vec<Handle> = self.programs.iter().map(|program| program.handle).collect();
        let (context, devices, options) = (self.context.handle, handles(&self.devices), &self.options);
        let status = send::gpuferryLink(&caller, vacant.handle, context, &devices, options, &programs, &mut made);
        if made == 0 {
            return Err(if status == 0 { CL_OUT_OF_RESOURCES } else { status });
        }
        let devices = if self.devices.is_empty() { self.context.devices.clone() } else { self.devices };
        let program = vacant.fill(Program::new(self.context, devices, Origin::default()));
        program.set_options(&[], &self.options.to_string_lossy());
        Ok((Some(program), status))
    }
}

fn programs_of(count: u32, list: In<Raw>, error: cl_int) -> Result<Vec<Ref<Program>>, cl_int> {
    list.list(count as usize).into_iter().map(|raw| arena::get::<Program>(raw).map_err(|_| error)).collect()
}

/// OpenCL 3.0 § 5.8.5, clLinkProgram: it may return a program together with an error, for its log.
///
/// # Safety
/// The pointers are as the API says.
pub unsafe extern "C" fn clLinkProgram(
    context: Raw,
    num_devices: u32,
    device_list: In<Raw>,
    options: Text,
    num_input_programs: u32,
    input_programs: In<Raw>,
    pfn_notify: Option<Notify>,
    user_data: *mut c_void,
    errcode_ret: Out<cl_int>,
) -> Raw {
    let mut failed = 0;
    let program = user::Out(&raw mut failed);
    let made = caller::guard_maker(program, move || {
        let context = arena::get::<Context>(context)?;
        if (num_devices == 0) != device_list.is_null() || num_input_programs == 0 || input_programs.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        check_notify(pfn_notify, user_data)?;
        let devices = devices_in(&context, &device_list.list(num_devices as usize))?;
        let programs = programs_of(num_input_programs, input_programs, CL_INVALID_PROGRAM)?;
        let (program, status) = Link { context, devices, options: options_of(options), programs }.run()?;
        let raw = program.map_or(core::ptr::null_mut(), |program| program.raw());
        errcode_ret.set(status);
        if let Some(notify) = pfn_notify {
            let (raw, data) = (raw as usize, user_data as usize);
            // SAFETY: the program gave function and data for this call.
            let call = move || unsafe { notify(raw as Raw, data as *mut c_void) };
            callback::spawn("gpuferry-build", call);
        }
        Ok(raw)
    });
    if made.is_null() {
        errcode_ret.set(failed);
    }
    made
}

crate::calls! {
    /// OpenCL 3.0 § 5.8.2, clBuildProgram.
    extern "C" fn clBuildProgram(
        program: Raw, num_devices: u32, device_list: In<Raw>, options: Text, pfn_notify: Option<Notify>,
        user_data: *mut c_void,
    ) {
        let program = arena::get::<Program>(program)?;
        check_notify(pfn_notify, user_data)?;
        let devices = devices_of(&program, num_devices, device_list)?;
        Job { program, devices, options: options_of(options), headers: None }.start(pfn_notify, user_data)
    }

    /// OpenCL 3.0 § 5.8.4, clCompileProgram.
    extern "C" fn clCompileProgram(
        program: Raw, num_devices: u32, device_list: In<Raw>, options: Text, num_input_headers: u32,
        input_headers: In<Raw>, header_include_names: In<*const c_char>, pfn_notify: Option<Notify>, user_data: *mut c_void,
    ) {
        let program = arena::get::<Program>(program)?;
        check_notify(pfn_notify, user_data)?;
        let has_headers = num_input_headers != 0;
        if has_headers == input_headers.is_null() || has_headers == header_include_names.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let devices = devices_of(&program, num_devices, device_list)?;
        let headers = programs_of(num_input_headers, input_headers, CL_INVALID_PROGRAM)?;
        let mut names = Vec::new();
        for name in header_include_names.list(num_input_headers as usize) {
            names.extend(Text(name).get().ok_or(CL_INVALID_VALUE)?.to_bytes_with_nul());
        }
        let headers = Some((headers, names));
        Job { program, devices, options: options_of(options), headers }.start(pfn_notify, user_data)
    }

    /// OpenCL 2.2, clSetProgramSpecializationConstant.
    extern "C" fn clSetProgramSpecializationConstant(
        program: Raw, spec_id: u32, spec_size: usize, spec_value: *const c_void,
    ) {
        let program = arena::get::<Program>(program)?;
        if spec_value.is_null() || !(1..=8).contains(&spec_size) {
            return Err(CL_INVALID_VALUE);
        }
        // SAFETY: not null, so as long as it says by the promise of the function's caller.
        let value = unsafe { user::bytes(spec_value, spec_size) };
        caller::answer(send::gpuferrySpecialize(&caller::enter()?, program.handle, spec_id, value))
    }
}
