//! Kernels: what they are, and what is known of them.

use crate::answer::{self, Answer, Facts, Question};
use crate::arena::{self, Arena, Live, Object, Ref, Vacant};
use crate::argument::{self, Argument, Setting};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::device::Device;
use crate::generated::{
    INFO_KERNEL, INFO_KERNEL_ARG, INFO_KERNEL_SUB_GROUP, INFO_KERNEL_WORK_GROUP, INFO_PROGRAM, Kind, kind, send,
};
use crate::program::Program;
use crate::status::{
    CL_INVALID_ARG_INDEX, CL_INVALID_DEVICE, CL_INVALID_OPERATION, CL_INVALID_VALUE, CL_KERNEL_ARG_INFO_NOT_AVAILABLE,
};
use crate::user::{self, In, Out, Raw, Text};
use core::ffi::c_void;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::handle::Handle;

const CL_KERNEL_NUM_ARGS: u32 = 0x1191;
const CL_KERNEL_REFERENCE_COUNT: u32 = 0x1192;
const CL_KERNEL_CONTEXT: u32 = 0x1193;
const CL_KERNEL_PROGRAM: u32 = 0x1194;
const CL_PROGRAM_KERNEL_NAMES: u32 = 0x1168;
const CL_KERNEL_EXEC_INFO_SVM_PTRS: u32 = 0x11b6;
const CL_KERNEL_EXEC_INFO_SVM_FINE_GRAIN_SYSTEM: u32 = 0x11b7;

/// Longest value of clSetKernelExecInfo.
const MOST_EXEC_INFO: usize = 32 << 10;

/// A kernel.
pub struct Kernel {
    /// Its context.
    pub context: Ref<Context>,
    program: Ref<Program>,
    arguments: Mutex<Vec<Argument>>,
    facts: Facts,
    /// Devices on which the host has launched it, and its own limits there.
    launched_on: Mutex<Vec<(Handle, Arc<OwnLimits>)>>,
}

/// What a kernel's launches on a device are checked against.
#[derive(Debug)]
pub struct OwnLimits {
    /// Most work items of a group (`CL_KERNEL_WORK_GROUP_SIZE`).
    pub group: u64,
    /// The sizes that the source asks for (`CL_KERNEL_COMPILE_WORK_GROUP_SIZE`); zeros for none.
    pub required: Vec<u64>,
}

static KERNELS: Arena<Kernel> = Arena::new();

impl Object for Kernel {
    const KIND: Kind = kind::cl_kernel;

    fn arena() -> &'static Arena<Kernel> {
        &KERNELS
    }

    fn release(this: &Live<Kernel>, caller: &Caller) {
        let _ = send::clReleaseKernel(caller, this.handle);
    }
}

impl Kernel {
    /// Its arguments, for this thread alone.
    pub fn arguments(&self) -> MutexGuard<'_, Vec<Argument>> {
        self.arguments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its limits on a device where the host has launched it before.
    pub fn limits_on(&self, device: Handle) -> Option<Arc<OwnLimits>> {
        let all = self.launched_on.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(own, _)| *own == device).map(|(_, limits)| Arc::clone(limits))
    }

    /// The host has launched it on a device.
    pub fn ran_on(&self, device: Handle, limits: OwnLimits) {
        let mut all = self.launched_on.lock().unwrap_or_else(PoisonError::into_inner);
        if all.iter().all(|(own, _)| *own != device) {
            all.push((device, Arc::new(limits)));
        }
    }
}

impl Live<Kernel> {
    /// Something that the host knows of it.
    ///
    /// # Errors
    /// The host's answer.
    pub fn fact(
        &self,
        caller: &Caller,
        what: u32,
        second: Handle,
        param: u32,
        input: &[u8],
    ) -> Result<Arc<[u8]>, cl_int> {
        self.facts.get(caller, Question { what, object: self.handle, second, param, input })
    }

    fn info(&self, param: u32, to: &Answer) -> Result<(), cl_int> {
        match param {
            CL_KERNEL_REFERENCE_COUNT => to.number(arena::references(self)),
            CL_KERNEL_CONTEXT => to.object(self.context.raw()),
            CL_KERNEL_PROGRAM => to.object(self.program.raw()),
            CL_KERNEL_NUM_ARGS => to.number(self.arguments().len() as u32),
            _ => to.bytes(&self.fact(&caller::enter()?, INFO_KERNEL, Handle::NULL, param, &[])?),
        }
    }
}

/// The shapes of all arguments of a kernel.
fn shapes(caller: &Caller, kernel: Handle) -> Result<Vec<u32>, cl_int> {
    let mut all = Vec::new();
    loop {
        let (mut count, mut next) = (0, Vec::new());
        caller::answer(send::gpuferryKernelShapes(caller, kernel, all.len() as u32, &mut count, &mut next))?;
        all.extend(next.chunks_exact(4).map(|four| answer::number(four) as u32));
        // A host that says no more than that there are some says nothing.
        if all.len() >= count as usize || next.is_empty() {
            return Ok(all);
        }
    }
}

/// A kernel that the host has made.
fn made(
    caller: &Caller,
    vacant: Vacant<Kernel>,
    program: Ref<Program>,
    like: Option<Vec<Argument>>,
) -> Result<Raw, cl_int> {
    let arguments = match like {
        Some(arguments) => arguments,
        None => match shapes(caller, vacant.handle) {
            Ok(shapes) => shapes.into_iter().map(Argument::new).collect(),
            Err(status) => {
                let _ = send::clReleaseKernel(caller, vacant.handle);
                return Err(status);
            }
        },
    };
    let context = program.context.clone();
    let (facts, launched_on) = (Facts::default(), Mutex::default());
    Ok(vacant.fill(Kernel { context, program, arguments: Mutex::new(arguments), facts, launched_on }).raw())
}

fn create(caller: &Caller, program: &Ref<Program>, name: &core::ffi::CStr) -> Result<Raw, cl_int> {
    let vacant = arena::vacant::<Kernel>()?;
    caller::answer(send::clCreateKernel(caller, vacant.handle, program.handle, name))?;
    made(caller, vacant, program.clone(), None)
}

/// The device of a question about a kernel: null is the only one.
fn device_of(kernel: &Kernel, raw: Raw) -> Result<Ref<Device>, cl_int> {
    let devices = kernel.program.devices();
    if raw.is_null() {
        return if devices.len() == 1 { Ok(devices[0].clone()) } else { Err(CL_INVALID_DEVICE) };
    }
    let device = arena::get::<Device>(raw)?;
    if devices.iter().any(|own| Arc::ptr_eq(own, &device)) { Ok(device) } else { Err(CL_INVALID_DEVICE) }
}

crate::makers! {
    /// OpenCL 3.0 § 5.9.1, clCreateKernel.
    extern "C" fn clCreateKernel(program: Raw, kernel_name: Text) {
        let program = arena::get::<Program>(program)?;
        create(&caller::enter()?, &program, kernel_name.get().ok_or(CL_INVALID_VALUE)?)
    }

    /// OpenCL 3.0 § 5.9.1, clCloneKernel.
    extern "C" fn clCloneKernel(source_kernel: Raw) {
        let source = arena::get::<Kernel>(source_kernel)?;
        let caller = caller::enter()?;
        let vacant = arena::vacant::<Kernel>()?;
        let arguments = source.arguments();
        caller::answer(send::gpuferryCloneKernel(&caller, vacant.handle, source.handle))?;
        made(&caller, vacant, source.program.clone(), Some(arguments.clone()))
    }
}

crate::calls! {
    /// OpenCL 3.0 § 5.9.1, clCreateKernelsInProgram.
    extern "C" fn clCreateKernelsInProgram(
        program: Raw, num_kernels: u32, kernels: Out<Raw>, num_kernels_ret: Out<u32>,
    ) {
        let program = arena::get::<Program>(program)?;
        let caller = caller::enter()?;
        // Says too that there is no executable, with the API's code.
        let names = Question::new(INFO_PROGRAM, program.handle, CL_PROGRAM_KERNEL_NAMES).ask(&caller)?;
        let names = answer::text(&names);
        let names: Vec<&str> = names.split(';').filter(|name| !name.is_empty()).collect();
        if kernels.is_wanted() {
            if (num_kernels as usize) < names.len() {
                return Err(CL_INVALID_VALUE);
            }
            for (at, name) in names.iter().enumerate() {
                let name = CString::new(*name).map_err(|_| CL_INVALID_VALUE)?;
                kernels.at(at).set(create(&caller, &program, &name)?);
            }
        }
        num_kernels_ret.set(names.len() as u32);
        Ok(())
    }

    /// OpenCL 3.0 § 5.9.1, clRetainKernel.
    extern "C" fn clRetainKernel(kernel: Raw) {
        arena::retain::<Kernel>(kernel)
    }

    /// OpenCL 3.0 § 5.9.1, clReleaseKernel.
    extern "C" fn clReleaseKernel(kernel: Raw) {
        arena::release::<Kernel>(kernel)
    }

    /// OpenCL 3.0 § 5.9.2, clSetKernelArg.
    extern "C" fn clSetKernelArg(kernel: Raw, arg_index: u32, arg_size: usize, arg_value: *const c_void) {
        let kernel = arena::get::<Kernel>(kernel)?;
        argument::set(&kernel, Setting { index: arg_index, size: arg_size, value: arg_value })
    }

    /// OpenCL 3.0 § 5.9.2, clSetKernelExecInfo.
    extern "C" fn clSetKernelExecInfo(
        kernel: Raw, param_name: u32, param_value_size: usize, param_value: *const c_void,
    ) {
        let kernel = arena::get::<Kernel>(kernel)?;
        let is_svm = [CL_KERNEL_EXEC_INFO_SVM_PTRS, CL_KERNEL_EXEC_INFO_SVM_FINE_GRAIN_SYSTEM].contains(&param_name);
        if is_svm {
            crate::svm::check_offered(&kernel)?;
        }
        // SAFETY: as long as it says by the promise of the function's caller.
        let value = unsafe { user::bytes(param_value, param_value_size) };
        // No pointers take back those that were named before.
        if (value.is_empty() && param_name != CL_KERNEL_EXEC_INFO_SVM_PTRS) || value.len() > MOST_EXEC_INFO {
            return Err(CL_INVALID_VALUE);
        }
        match param_name {
            // Not offered: it may only be said that it is not used.
            CL_KERNEL_EXEC_INFO_SVM_FINE_GRAIN_SYSTEM if value.len() != 4 => return Err(CL_INVALID_VALUE),
            CL_KERNEL_EXEC_INFO_SVM_FINE_GRAIN_SYSTEM => {
                return if answer::number(value) == 0 { Ok(()) } else { Err(CL_INVALID_OPERATION) };
            }
            CL_KERNEL_EXEC_INFO_SVM_PTRS => {
                let is_ours = |pointer| crate::svm::contains(kernel.context.handle, pointer as usize, 0);
                if !value.len().is_multiple_of(8) || !answer::longs(value).all(is_ours) {
                    return Err(CL_INVALID_VALUE);
                }
            }
            _ => {}
        }
        caller::answer(send::gpuferryKernelExecInfo(&caller::enter()?, kernel.handle, param_name, value))
    }

    /// OpenCL 3.0 § 5.9.4, clGetKernelInfo.
    extern "C" fn clGetKernelInfo(
        kernel: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let kernel = arena::get::<Kernel>(kernel)?;
        kernel.info(param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }

    /// OpenCL 3.0 § 5.9.4, clGetKernelArgInfo.
    extern "C" fn clGetKernelArgInfo(
        kernel: Raw, arg_index: u32, param_name: u32, param_value_size: usize, param_value: Raw,
        param_value_size_ret: Out<usize>,
    ) {
        let kernel = arena::get::<Kernel>(kernel)?;
        if arg_index as usize >= kernel.arguments().len() {
            return Err(CL_INVALID_ARG_INDEX);
        }
        if !kernel.program.has_argument_info() {
            // The host always asks its compiler for them, to know what is a handle.
            return Err(CL_KERNEL_ARG_INFO_NOT_AVAILABLE);
        }
        let index = arg_index.to_ne_bytes();
        let known = kernel.fact(&caller::enter()?, INFO_KERNEL_ARG, Handle::NULL, param_name, &index)?;
        Answer::new(param_value_size, param_value, param_value_size_ret).bytes(&known)
    }

    /// OpenCL 3.0 § 5.9.4, clGetKernelWorkGroupInfo.
    extern "C" fn clGetKernelWorkGroupInfo(
        kernel: Raw, device: Raw, param_name: u32, param_value_size: usize, param_value: Raw,
        param_value_size_ret: Out<usize>,
    ) {
        let kernel = arena::get::<Kernel>(kernel)?;
        let device = device_of(&kernel, device)?;
        // Local memory depends on the arguments: not kept.
        let question =
            Question { second: device.handle, ..Question::new(INFO_KERNEL_WORK_GROUP, kernel.handle, param_name) };
        let found = question.ask(&caller::enter()?)?;
        Answer::new(param_value_size, param_value, param_value_size_ret).bytes(&found)
    }

    /// OpenCL 3.0 § 5.9.4, clGetKernelSubGroupInfo.
    extern "C" fn clGetKernelSubGroupInfo(
        kernel: Raw, device: Raw, param_name: u32, input_value_size: usize, input_value: *const c_void,
        param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let kernel = arena::get::<Kernel>(kernel)?;
        let device = device_of(&kernel, device)?;
        // SAFETY: as long as it says by the promise of the function's caller; no question has more than three sizes.
        let input = unsafe { user::bytes(input_value, input_value_size.min(24)) };
        let room = if param_value.is_null() { 0 } else { param_value_size as u64 };
        let input = &[input, &room.to_le_bytes()].concat();
        let (object, second) = (kernel.handle, device.handle);
        let question = Question { what: INFO_KERNEL_SUB_GROUP, object, second, param: param_name, input };
        let found = question.ask(&caller::enter()?)?;
        Answer::new(param_value_size, param_value, param_value_size_ret).bytes(&found)
    }

    /// OpenCL 3.1 § 5.9.4, clGetKernelSuggestedLocalWorkSize, and cl_khr_suggested_local_work_size.
    extern "C" fn clGetKernelSuggestedLocalWorkSize(
        command_queue: Raw, kernel: Raw, work_dim: u32, global_work_offset: In<[usize; 3]>,
        global_work_size: In<[usize; 3]>, suggested_local_work_size: Out<usize>,
    ) {
        crate::launch::suggest(
            command_queue, kernel, work_dim, [global_work_offset, global_work_size], suggested_local_work_size,
        )
    }
}
