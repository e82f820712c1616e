//! Launches. One is posted where the host has launched the kernel on that device before, all arguments have been accepted, and its
//! sizes are within limits that are known here; else the host judges.

use crate::answer::{longs, number};
use crate::arena::{self, Live};
use crate::argument;
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::device::{Device, Limits};
use crate::enqueue::{Command, Sending};
use crate::generated::{INFO_KERNEL_WORK_GROUP, Triple, WORK_LOCAL, WORK_OFFSET, Work, send};
use crate::kernel::{Kernel, OwnLimits};
use crate::queue::Queue;
use crate::status::{CL_INVALID_CONTEXT, CL_INVALID_OPERATION, CL_INVALID_VALUE, CL_INVALID_WORK_DIMENSION};
use crate::user::{In, Out, Raw};
use core::ffi::c_void;
use std::sync::Arc;

const COMMAND_NDRANGE_KERNEL: u32 = 0x11f0;
const COMMAND_TASK: u32 = 0x11f1;
const CL_KERNEL_WORK_GROUP_SIZE: u32 = 0x11b0;
const CL_KERNEL_COMPILE_WORK_GROUP_SIZE: u32 = 0x11b1;

/// Sizes as the program gave them.
fn work(
    dimensions: u32,
    offset: In<[usize; 3]>,
    global: In<[usize; 3]>,
    local: In<[usize; 3]>,
) -> Result<Work, cl_int> {
    if !(1..=3).contains(&dimensions) {
        return Err(CL_INVALID_WORK_DIMENSION);
    }
    let count = dimensions as usize;
    let (offset, local) = (offset.sizes(count, 0), local.sizes(count, 1));
    let flags = if offset.is_some() { WORK_OFFSET } else { 0 } | if local.is_some() { WORK_LOCAL } else { 0 };
    let (offset, local) = (offset.unwrap_or_default(), local.unwrap_or_default());
    Ok(Work { dimensions, flags, offset, global: global.sizes(count, 1).unwrap_or_default(), local })
}

/// Whether the host accepts the sizes for sure.
fn is_within_limits(own: &OwnLimits, limits: &Limits, work: &Work) -> bool {
    if work.global.contains(&0) || work.dimensions as usize > limits.sizes.len() {
        return false;
    }
    if (0..3).any(|at| work.offset[at].checked_add(work.global[at]).is_none()) {
        return false;
    }
    let is_required = own.required.iter().any(|size| *size != 0);
    if work.flags & WORK_LOCAL == 0 {
        return !is_required;
    }
    let items = work.local.iter().try_fold(1u64, |product, size| product.checked_mul(*size as u64));
    let is_small = items.is_some_and(|items| items != 0 && items <= own.group.min(limits.group));
    let fits = |at: usize| {
        let local = work.local[at] as u64;
        limits.sizes.get(at).is_none_or(|most| local <= *most)
            && (work.global[at] as u64).is_multiple_of(local)
            && (!is_required || own.required.get(at) == Some(&local))
    };
    is_small && (0..3).all(fits)
}

fn own_limits(caller: &Caller, kernel: &Live<Kernel>, device: &Live<Device>) -> Result<OwnLimits, cl_int> {
    let fact = |param| kernel.fact(caller, INFO_KERNEL_WORK_GROUP, device.handle, param, &[]);
    let required = longs(&fact(CL_KERNEL_COMPILE_WORK_GROUP_SIZE)?).collect();
    Ok(OwnLimits { group: number(&fact(CL_KERNEL_WORK_GROUP_SIZE)?), required })
}

fn launch(command: &Command, kernel: &Live<Kernel>, work: &Work) -> Result<(), cl_int> {
    if !Arc::ptr_eq(&kernel.context, &command.queue.context) {
        return Err(CL_INVALID_CONTEXT);
    }
    let device = &command.queue.device;
    let limits = device.limits(&command.caller)?;
    // Held while it is sent: the values and the launch that they are for belong together.
    let mut arguments = kernel.arguments();
    let changed = argument::changed(&arguments)?;
    let own = kernel.limits_on(device.handle);
    let certain = own.as_ref().is_some_and(|own| is_within_limits(own, limits, work))
        && argument::local_bytes(&arguments) < limits.local_memory / 2;
    command.send(certain, |Sending { caller, waits, queue, waits_for, event }| {
        send::gpuferryLaunch(caller, waits, queue, kernel.handle, &changed, work, waits_for, event)
    })?;
    argument::mark(&mut arguments);
    if own.is_none()
        && let Ok(limits) = own_limits(&command.caller, kernel, device)
    {
        kernel.ran_on(device.handle, limits);
    }
    Ok(())
}

/// `clGetKernelSuggestedLocalWorkSize`.
///
/// # Errors
/// The host's answer.
pub fn suggest(
    queue: Raw,
    kernel: Raw,
    dimensions: u32,
    [offset, global]: [In<[usize; 3]>; 2],
    to: Out<usize>,
) -> Result<(), cl_int> {
    let queue = arena::get::<Queue>(queue)?;
    let kernel = arena::get::<Kernel>(kernel)?;
    let work = work(dimensions, offset, global, In(core::ptr::null()))?;
    if !to.is_wanted() {
        return Err(CL_INVALID_VALUE);
    }
    let mut found = Triple::default();
    let caller = caller::enter()?;
    caller::answer(send::gpuferrySuggestedLocalSize(&caller, queue.handle, kernel.handle, &work, &mut found))?;
    let sizes = [found.x, found.y, found.z];
    sizes.into_iter().take(dimensions as usize).enumerate().for_each(|(at, size)| to.at(at).set(size));
    Ok(())
}

crate::calls! {
    /// OpenCL 3.0 § 5.10, clEnqueueNDRangeKernel.
    extern "C" fn clEnqueueNDRangeKernel(
        command_queue: Raw, kernel: Raw, work_dim: u32, global_work_offset: In<[usize; 3]>,
        global_work_size: In<[usize; 3]>, local_work_size: In<[usize; 3]>, num_events_in_wait_list: u32,
        event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command =
            Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_NDRANGE_KERNEL)?;
        let kernel = arena::get::<Kernel>(kernel)?;
        launch(&command, &kernel, &work(work_dim, global_work_offset, global_work_size, local_work_size)?)
    }

    /// OpenCL 1.2, clEnqueueTask.
    extern "C" fn clEnqueueTask(
        command_queue: Raw, kernel: Raw, num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command = Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_TASK)?;
        let kernel = arena::get::<Kernel>(kernel)?;
        let one = In(&raw const ONE);
        launch(&command, &kernel, &work(1, In(core::ptr::null()), one, one)?)
    }

    /// OpenCL 3.0 § 5.10, clEnqueueNativeKernel: a function of the program's cannot run on the host; devices say so.
    extern "C" fn clEnqueueNativeKernel(
        command_queue: Raw, user_func: *const c_void, args: *const c_void, cb_args: usize, num_mem_objects: u32,
        mem_list: In<Raw>, args_mem_loc: *const c_void, _num_events_in_wait_list: u32, _event_wait_list: In<Raw>,
        _event: Out<Raw>,
    ) {
        arena::get::<Queue>(command_queue)?;
        let has_args = !args.is_null();
        let has_memory = num_mem_objects != 0;
        let is_refused = user_func.is_null()
            || has_args == (cb_args == 0)
            || (!has_args && has_memory)
            || has_memory == (mem_list.is_null() || args_mem_loc.is_null());
        Err(if is_refused { CL_INVALID_VALUE } else { CL_INVALID_OPERATION })
    }
}

static ONE: [usize; 3] = [1; 3];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_when_sizes_are_beyond_them_then_the_host_judges() {
        let limits = Limits { group: 256, sizes: vec![256, 256, 64], local_memory: 1 << 15 };
        let free = OwnLimits { group: 128, required: vec![0; 3] };
        let fixed = OwnLimits { group: 128, required: vec![8, 4, 1] };
        let of = |global, local, flags| Work { dimensions: 3, flags, global, local, ..Work::default() };
        let with = |global, local| of(global, local, WORK_LOCAL);
        assert!(is_within_limits(&free, &limits, &with([64, 4, 2], [16, 4, 2])));
        assert!(is_within_limits(&free, &limits, &of([7, 5, 3], [0; 3], 0)));
        assert!(is_within_limits(&fixed, &limits, &with([64, 4, 2], [8, 4, 1])));
        let beyond = [
            with([64, 4, 2], [0; 3]),
            with([0, 4, 2], [1; 3]),
            with([65, 4, 2], [16, 4, 2]),
            with([64, 4, 4], [16, 4, 4]),
            with([1, 1, 128], [1, 1, 128]),
            with([usize::MAX, 1, 1], [usize::MAX, 1, 1]),
            Work { offset: [usize::MAX, 0, 0], ..with([64, 4, 2], [16, 4, 2]) },
        ];
        for work in beyond {
            assert!(!is_within_limits(&free, &limits, &work), "{work:?}");
        }
        assert!(!is_within_limits(&fixed, &limits, &with([64, 4, 2], [4, 4, 1])));
        assert!(!is_within_limits(&fixed, &limits, &of([64, 4, 2], [0; 3], 0)));
    }

    #[test]
    fn work_when_dimensions_are_fewer_then_is_filled_up() {
        let two = [8usize, 4, 99];
        let sizes = In(&raw const two);
        let found = work(2, In(core::ptr::null()), sizes, sizes).expect("two dimensions");
        assert_eq!((found.flags, found.offset, found.global, found.local), (WORK_LOCAL, [0; 3], [8, 4, 1], [8, 4, 1]));
        assert!(work(0, sizes, sizes, sizes).is_err() && work(4, sizes, sizes, sizes).is_err());
        let nothing = work(1, sizes, In(core::ptr::null()), In(core::ptr::null())).expect("one dimension");
        assert_eq!((nothing.flags, nothing.global, nothing.local), (WORK_OFFSET, [0; 3], [0; 3]));
    }
}
