//! Programs out of source, binaries, intermediate language, and what the device has built in.

use crate::arena;
use crate::caller;
use crate::cl_int;
use crate::context::Context;
use crate::device::{self, Device};
use crate::generated::send;
use crate::includes;
use crate::program::{Origin, Program};
use crate::status::{CL_INVALID_DEVICE, CL_INVALID_VALUE};
use crate::user::{self, In, Out, Raw, Text};
use core::ffi::{c_char, c_void};
use wire::handle::Handle;

/// The texts of a program, one after the other.
fn joined(count: u32, strings: In<*const c_char>, lengths: In<usize>) -> Result<Vec<u8>, cl_int> {
    let strings = strings.list(count as usize);
    if strings.is_empty() || strings.iter().any(|text| text.is_null()) {
        return Err(CL_INVALID_VALUE);
    }
    let lengths = lengths.list(count as usize);
    let mut source = Vec::new();
    for (at, text) in strings.into_iter().enumerate() {
        match lengths.get(at).copied().unwrap_or(0) {
            // A length of 0 stands for a text that ends with a zero byte.
            0 => source.extend(Text(text).get().ok_or(CL_INVALID_VALUE)?.to_bytes()),
            // SAFETY: not null, so as long as it says by the promise of the function's caller.
            bytes => source.extend(unsafe { user::bytes(text.cast(), bytes) }),
        }
    }
    Ok(source)
}

/// The devices of a list, which the context must have.
pub(crate) fn devices_in(context: &Context, list: &[Raw]) -> Result<Vec<arena::Ref<Device>>, cl_int> {
    let devices = device::list(list)?;
    if devices.iter().all(|device| context.has(device)) { Ok(devices) } else { Err(CL_INVALID_DEVICE) }
}

/// Handles of devices.
pub(crate) fn handles(devices: &[arena::Ref<Device>]) -> Vec<Handle> {
    devices.iter().map(|device| device.handle).collect()
}

fn from_binaries(
    context: Raw,
    devices: &[Raw],
    lengths: &[usize],
    binaries: &[*const u8],
    states: Out<cl_int>,
) -> Result<Raw, cl_int> {
    let context = arena::get::<Context>(context)?;
    if devices.is_empty() || lengths.len() != devices.len() || binaries.len() != devices.len() {
        return Err(CL_INVALID_VALUE);
    }
    let devices = devices_in(&context, devices)?;
    let is_missing = |at: &usize| lengths[*at] == 0 || binaries[*at].is_null();
    if (0..devices.len()).any(|at| is_missing(&at)) {
        (0..devices.len()).for_each(|at| states.at(at).set(if is_missing(&at) { CL_INVALID_VALUE } else { 0 }));
        return Err(CL_INVALID_VALUE);
    }
    let mut all = Vec::new();
    for (bytes, binary) in lengths.iter().zip(binaries) {
        // SAFETY: not null, so as long as it says by the promise of the function's caller.
        all.extend(unsafe { user::bytes(binary.cast::<c_void>(), *bytes) });
    }
    let lengths: Vec<u8> = lengths.iter().flat_map(|bytes| (*bytes as u64).to_ne_bytes()).collect();
    let caller = caller::enter()?;
    let vacant = arena::vacant::<Program>()?;
    let mut answered = Vec::new();
    let status = caller::input(&caller, &all, |data| {
        let list = handles(&devices);
        send::gpuferryProgramBinary(&caller, vacant.handle, context.handle, &list, &lengths, data, &mut answered)
    });
    for (at, four) in answered.chunks_exact(4).enumerate().take(devices.len()) {
        states.at(at).set(i32::from_ne_bytes([four[0], four[1], four[2], four[3]]));
    }
    caller::answer(status)?;
    Ok(vacant.fill(Program::new(context, devices, Origin::default())).raw())
}

fn from_il(context: Raw, il: *const c_void, length: usize) -> Result<Raw, cl_int> {
    let context = arena::get::<Context>(context)?;
    if il.is_null() || length == 0 {
        return Err(CL_INVALID_VALUE);
    }
    // SAFETY: not null, so as long as it says by the promise of the function's caller.
    let il = unsafe { user::bytes(il, length) };
    let caller = caller::enter()?;
    let vacant = arena::vacant::<Program>()?;
    let status =
        caller::input(&caller, il, |data| send::gpuferryProgramIL(&caller, vacant.handle, context.handle, data));
    caller::answer(status)?;
    let devices = context.devices.clone();
    let origin = Origin { il: il.to_vec(), ..Origin::default() };
    Ok(vacant.fill(Program::new(context, devices, origin)).raw())
}

crate::makers! {
    /// OpenCL 3.0 § 5.8.1, clCreateProgramWithSource.
    extern "C" fn clCreateProgramWithSource(
        context: Raw, count: u32, strings: In<*const c_char>, lengths: In<usize>,
    ) {
        let context = arena::get::<Context>(context)?;
        let source = joined(count, strings, lengths)?;
        let caller = caller::enter()?;
        let vacant = arena::vacant::<Program>()?;
        let status = caller::input(&caller, &includes::rooted(&source), |data| {
            send::gpuferryProgramSource(&caller, vacant.handle, context.handle, data)
        });
        caller::answer(status)?;
        let devices = context.devices.clone();
        let origin = Origin { source, ..Origin::default() };
        Ok(vacant.fill(Program::new(context, devices, origin)).raw())
    }

    /// OpenCL 3.0 § 5.8.1, clCreateProgramWithBinary.
    extern "C" fn clCreateProgramWithBinary(
        context: Raw, num_devices: u32, device_list: In<Raw>, lengths: In<usize>, binaries: In<*const u8>,
        binary_status: Out<cl_int>,
    ) {
        let count = num_devices as usize;
        from_binaries(context, &device_list.list(count), &lengths.list(count), &binaries.list(count), binary_status)
    }

    /// OpenCL 3.0 § 5.8.1, clCreateProgramWithIL, and cl_khr_il_program.
    extern "C" fn clCreateProgramWithIL(context: Raw, il: *const c_void, length: usize) {
        from_il(context, il, length)
    }

    /// OpenCL 3.0 § 5.8.1, clCreateProgramWithBuiltInKernels.
    extern "C" fn clCreateProgramWithBuiltInKernels(
        context: Raw, num_devices: u32, device_list: In<Raw>, kernel_names: Text,
    ) {
        let context = arena::get::<Context>(context)?;
        let names = kernel_names.get().ok_or(CL_INVALID_VALUE)?;
        let list = device_list.list(num_devices as usize);
        if list.is_empty() {
            return Err(CL_INVALID_VALUE);
        }
        let devices = devices_in(&context, &list)?;
        let caller = caller::enter()?;
        let vacant = arena::vacant::<Program>()?;
        let list = handles(&devices);
        caller::answer(send::clCreateProgramWithBuiltInKernels(&caller, vacant.handle, context.handle, &list, names))?;
        Ok(vacant.fill(Program::new(context, devices, Origin::default())).raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_when_lengths_are_given_or_not_then_is_all_texts() {
        let strings = [c"abc".as_ptr(), c"def".as_ptr()];
        let lengths = [2usize, 0];
        assert_eq!(joined(2, In(strings.as_ptr()), In(lengths.as_ptr())), Ok(b"abdef".to_vec()));
        assert_eq!(joined(2, In(strings.as_ptr()), In(core::ptr::null())), Ok(b"abcdef".to_vec()));
        let missing = [c"abc".as_ptr(), core::ptr::null()];
        assert_eq!(joined(2, In(missing.as_ptr()), In(core::ptr::null())), Err(CL_INVALID_VALUE));
        assert_eq!(joined(0, In(strings.as_ptr()), In(core::ptr::null())), Err(CL_INVALID_VALUE));
    }
}
