//! Shared virtual memory of the coarse kind. The host's library allocates it, so that kernels find it at the address that it
//! has; this process has memory of its own at the same address. The program may look at it only while it is mapped: mapping
//! reads it into the program's, unmapping writes it back.

use crate::area::Layout;
use crate::arena::{self, Ref};
use crate::argument;
use crate::callback;
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::device::Device;
use crate::enqueue::{Command, Sending};
use crate::event::{self, Event};
use crate::generated::send;
use crate::kernel::Kernel;
use crate::pages;
use crate::pending;
use crate::pool;
use crate::status::{CL_INVALID_ARG_VALUE, CL_INVALID_OPERATION, CL_INVALID_VALUE};
use crate::user::{self, In, Out, Raw};
use core::ffi::c_void;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wire::handle::Handle;

const CL_DEVICE_MAX_MEM_ALLOC_SIZE: u32 = 0x1010;
const CL_DEVICE_SVM_CAPABILITIES: u32 = 0x1053;
const COARSE_GRAIN_BUFFER: u64 = 1;
/// `CL_MEM_READ_WRITE`, `_WRITE_ONLY` and `_READ_ONLY`: the flags that coarse memory may have.
const FLAGS: u64 = 7;
/// Largest alignment: that of the largest type.
const MOST_ALIGNED: u32 = 128;
/// Places that the host is asked for until one is free here too.
const TRIES: usize = 16;

const COMMAND_FREE: u32 = 0x1209;
const COMMAND_MEMCPY: u32 = 0x120a;
const COMMAND_MEMFILL: u32 = 0x120b;
const COMMAND_MAP: u32 = 0x120c;
const COMMAND_UNMAP: u32 = 0x120d;
const COMMAND_MIGRATE: u32 = 0x120e;

const MAP_WRITE: u64 = 1 << 1;
const MAP_INVALIDATE: u64 = 1 << 2;

struct Mapping {
    address: usize,
    bytes: usize,
    writes: bool,
    event: Ref<Event>,
}

struct Allocation {
    bytes: usize,
    context: Handle,
    mapped: Vec<Mapping>,
}

static ALLOCATIONS: Mutex<BTreeMap<usize, Allocation>> = Mutex::new(BTreeMap::new());

fn allocations() -> MutexGuard<'static, BTreeMap<usize, Allocation>> {
    ALLOCATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `CL_DEVICE_SVM_CAPABILITIES` where the host's are `host`.
#[must_use]
pub fn capabilities(host: u64) -> u64 {
    host & COARSE_GRAIN_BUFFER
}

/// Whether bytes lie in one allocation of a context.
#[must_use]
pub fn contains(context: Handle, address: usize, bytes: usize) -> bool {
    let all = allocations();
    let Some((start, one)) = all.range(..=address).next_back() else { return false };
    one.context == context && (address - start).checked_add(bytes).is_some_and(|end| end <= one.bytes)
}

fn is_offered_by(caller: &Caller, device: &Ref<Device>) -> bool {
    device.long(caller, CL_DEVICE_SVM_CAPABILITIES).is_ok_and(|host| capabilities(host) != 0)
}

fn command(queue: Raw, waits: (u32, In<Raw>, Out<Raw>), kind: u32) -> Result<Command, cl_int> {
    let command = Command::new(queue, waits.0, waits.1, waits.2, kind)?;
    let is_offered = is_offered_by(&command.caller, &command.queue.device);
    if is_offered { Ok(command) } else { Err(CL_INVALID_OPERATION) }
}

fn alloc(context: Raw, flags: u64, size: usize, alignment: u32) -> Option<usize> {
    let context = arena::get::<Context>(context).ok()?;
    let caller = caller::enter().ok()?;
    let is_offered = context.devices.iter().any(|device| is_offered_by(&caller, device));
    let is_aligned = alignment == 0 || (alignment.is_power_of_two() && alignment <= MOST_ALIGNED);
    let is_small = size as u64 <= context.most(&caller, CL_DEVICE_MAX_MEM_ALLOC_SIZE).ok()?;
    if !is_offered || !is_aligned || !is_small || size == 0 || flags & !FLAGS != 0 || flags.count_ones() > 1 {
        return None;
    }
    let mut in_use_here = Vec::new();
    let found = (0..TRIES).find_map(|_| {
        let mut address = 0;
        if send::gpuferrySvmAlloc(&caller, context.handle, flags, size, alignment, &mut address) != 0 {
            return Some(None);
        }
        if pages::take(address as usize, size) {
            return Some(Some(address as usize));
        }
        in_use_here.push(address);
        None
    });
    for address in in_use_here {
        let _ = send::gpuferrySvmFree(&caller, context.handle, address);
    }
    let address = found.flatten()?;
    allocations().insert(address, Allocation { bytes: size, context: context.handle, mapped: Vec::new() });
    Some(address)
}

fn free(context: Handle, address: usize) {
    let ended = {
        let mut all = allocations();
        if all.get(&address).is_none_or(|one| one.context != context) {
            return;
        }
        all.remove(&address)
    };
    let (Some(ended), Ok(caller)) = (ended, caller::enter()) else { return };
    // What is under way to the program's memory lands before that is gone.
    pending::settle(&caller);
    pages::give_back(address, ended.bytes);
    let _ = send::gpuferrySvmFree(&caller, context, address as u64);
}

/// OpenCL 3.0 § 5.6, clSVMAlloc.
///
/// # Safety
/// Nothing is asked of the caller.
pub unsafe extern "C" fn clSVMAlloc(context: Raw, flags: u64, size: usize, alignment: u32) -> *mut c_void {
    let made = std::panic::catch_unwind(|| alloc(context, flags, size, alignment));
    made.ok().flatten().map_or(core::ptr::null_mut(), |address| address as *mut c_void)
}

/// OpenCL 3.0 § 5.6, clSVMFree.
///
/// # Safety
/// No command uses the memory any more.
pub unsafe extern "C" fn clSVMFree(context: Raw, svm_pointer: *mut c_void) {
    // Nobody can be told of a pointer that is none.
    let _ = caller::guard(|| {
        free(arena::get::<Context>(context)?.handle, svm_pointer as usize);
        Ok(())
    });
}

/// Enqueues a copy between shared virtual memory and shared memory, either way.
fn copy(command: &Command, to: usize, from: usize, bytes: usize) -> Result<Ref<Event>, cl_int> {
    command.send_followed(true, true, |Sending { caller, waits, queue, waits_for, event }| {
        send::gpuferrySvmCopy(caller, waits, queue, to as u64, from as u64, bytes, waits_for, event)
    })
}

/// Reads to the program's memory.
fn fetch(command: &Command, to: usize, from: usize, bytes: usize) -> Result<Ref<Event>, cl_int> {
    let chunk = pool::take(&command.caller, bytes)?;
    let event = copy(command, chunk.address as usize, from, bytes)?;
    pending::add(event.clone(), chunk, Some(Layout::run(to, bytes)));
    Ok(event)
}

/// Writes what is in the program's memory now.
fn store(command: &Command, to: usize, from: usize, bytes: usize) -> Result<Ref<Event>, cl_int> {
    let chunk = pool::take(&command.caller, bytes)?;
    // SAFETY: the program's memory by the promise of the API function's caller; the chunk is as large.
    unsafe { Layout::run(from, bytes).gather(chunk.address) };
    let event = copy(command, to, chunk.address as usize, bytes)?;
    pending::add(event.clone(), chunk, None);
    Ok(event)
}

/// Copies within the program's memory when its turn comes.
fn around(command: &Command, to: usize, from: usize, bytes: usize) -> Result<Ref<Event>, cl_int> {
    let (first, second) = (pool::take(&command.caller, bytes)?, pool::take(&command.caller, bytes)?);
    // SAFETY: as in `store`.
    unsafe { Layout::run(from, bytes).gather(first.address) };
    let event = copy(command, second.address as usize, first.address as usize, bytes)?;
    pending::add(event.clone(), first, None);
    pending::add(event.clone(), second, Some(Layout::run(to, bytes)));
    Ok(event)
}

fn wait_if(command: &Command, blocking: u32, event: Ref<Event>) -> Result<(), cl_int> {
    if blocking == 0 { Ok(()) } else { event::wait(&command.caller, &[event]) }
}

fn marker(command: &Command) -> Result<Ref<Event>, cl_int> {
    command.send_followed(true, true, |Sending { caller, waits, queue, waits_for, event }| {
        send::clEnqueueMarkerWithWaitList(caller, waits, queue, waits_for, event)
    })
}

/// `pfn_free_func` of clEnqueueSVMFree: queue, number of pointers, pointers, the program's pointer.
type FreeFunction = unsafe extern "C" fn(Raw, u32, *mut Raw, *mut c_void);

/// Sizes and addresses as they travel.
fn encode(numbers: impl Iterator<Item = usize>) -> Vec<u8> {
    numbers.flat_map(|number| (number as u64).to_ne_bytes()).collect()
}

crate::calls! {
    /// OpenCL 3.0 § 5.6, clEnqueueSVMFree.
    extern "C" fn clEnqueueSVMFree(
        command_queue: Raw, num_svm_pointers: u32, svm_pointers: In<Raw>, pfn_free_func: Option<FreeFunction>,
        user_data: *mut c_void, num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command = command(command_queue, (num_events_in_wait_list, event_wait_list, event), COMMAND_FREE)?;
        if (num_svm_pointers == 0) != svm_pointers.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let pointers: Vec<usize> =
            svm_pointers.list(num_svm_pointers as usize).into_iter().map(|pointer| pointer as usize).collect();
        let event = marker(&command)?;
        let (queue, context, data) = (command.queue.clone(), command.queue.context.handle, user_data as usize);
        callback::when_ended(event, move || match pfn_free_func {
            None => pointers.into_iter().for_each(|pointer| free(context, pointer)),
            Some(function) => {
                let mut pointers: Vec<Raw> = pointers.into_iter().map(|pointer| pointer as Raw).collect();
                let count = pointers.len() as u32;
                // SAFETY: the program gave function and data for this call.
                unsafe { function(queue.raw(), count, pointers.as_mut_ptr(), data as *mut c_void) };
            }
        })
    }

    /// OpenCL 3.0 § 5.6, clEnqueueSVMMemcpy.
    extern "C" fn clEnqueueSVMMemcpy(
        command_queue: Raw, blocking_copy: u32, dst_ptr: *mut c_void, src_ptr: *const c_void, size: usize,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command = command(command_queue, (num_events_in_wait_list, event_wait_list, event), COMMAND_MEMCPY)?;
        let (to, from, context) = (dst_ptr as usize, src_ptr as usize, command.queue.context.handle);
        if to == 0 || from == 0 || size == 0 {
            return Err(CL_INVALID_VALUE);
        }
        if to.abs_diff(from) < size {
            return Err(crate::status::CL_MEM_COPY_OVERLAP);
        }
        let event = match (contains(context, to, size), contains(context, from, size)) {
            (true, true) => copy(&command, to, from, size)?,
            (true, false) => store(&command, to, from, size)?,
            (false, true) => fetch(&command, to, from, size)?,
            (false, false) => around(&command, to, from, size)?,
        };
        wait_if(&command, blocking_copy, event)
    }

    /// OpenCL 3.0 § 5.6, clEnqueueSVMMemFill.
    extern "C" fn clEnqueueSVMMemFill(
        command_queue: Raw, svm_ptr: *mut c_void, pattern: *const c_void, pattern_size: usize, size: usize,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command = command(command_queue, (num_events_in_wait_list, event_wait_list, event), COMMAND_MEMFILL)?;
        let address = svm_ptr as usize;
        let is_pattern = !pattern.is_null() && pattern_size.is_power_of_two() && pattern_size <= 128;
        let fits = is_pattern && address.is_multiple_of(pattern_size) && size.is_multiple_of(pattern_size);
        if !fits || size == 0 || !contains(command.queue.context.handle, address, size) {
            return Err(CL_INVALID_VALUE);
        }
        // SAFETY: not null, so as long as it says by the promise of the function's caller.
        let pattern = unsafe { user::bytes(pattern, pattern_size) };
        command.send(true, |Sending { caller, waits, queue, waits_for, event }| {
            send::gpuferrySvmFill(caller, waits, queue, address as u64, pattern, size, waits_for, event)
        })
    }

    /// OpenCL 3.0 § 5.6, clEnqueueSVMMap.
    extern "C" fn clEnqueueSVMMap(
        command_queue: Raw, blocking_map: u32, flags: u64, svm_ptr: *mut c_void, size: usize,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command = command(command_queue, (num_events_in_wait_list, event_wait_list, event), COMMAND_MAP)?;
        let address = svm_ptr as usize;
        let is_known = flags & !7 == 0 && (flags & MAP_INVALIDATE == 0 || flags == MAP_INVALIDATE);
        if !is_known || size == 0 || !contains(command.queue.context.handle, address, size) {
            return Err(CL_INVALID_VALUE);
        }
        let event = if flags & MAP_INVALIDATE == 0 {
            fetch(&command, address, address, size)?
        } else {
            marker(&command)?
        };
        let writes = flags & (MAP_WRITE | MAP_INVALIDATE) != 0;
        if let Some((_, one)) = allocations().range_mut(..=address).next_back() {
            one.mapped.push(Mapping { address, bytes: size, writes, event: event.clone() });
        }
        wait_if(&command, blocking_map, event)
    }

    /// OpenCL 3.0 § 5.6, clEnqueueSVMUnmap.
    extern "C" fn clEnqueueSVMUnmap(
        command_queue: Raw, svm_ptr: *mut c_void, num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let mut command = command(command_queue, (num_events_in_wait_list, event_wait_list, event), COMMAND_UNMAP)?;
        let address = svm_ptr as usize;
        let mapping = {
            let mut all = allocations();
            let (_, one) = all.range_mut(..=address).next_back().ok_or(CL_INVALID_VALUE)?;
            let at = one.mapped.iter().rposition(|mapping| mapping.address == address).ok_or(CL_INVALID_VALUE)?;
            one.mapped.remove(at)
        };
        if !mapping.event.has_ended() {
            command.also_waits_for(&mapping.event);
        }
        if mapping.writes { store(&command, address, address, mapping.bytes)? } else { marker(&command)? };
        Ok(())
    }

    /// OpenCL 3.0 § 5.6, clEnqueueSVMMigrateMem.
    extern "C" fn clEnqueueSVMMigrateMem(
        command_queue: Raw, num_svm_pointers: u32, svm_pointers: In<Raw>, sizes: In<usize>, flags: u64,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command = command(command_queue, (num_events_in_wait_list, event_wait_list, event), COMMAND_MIGRATE)?;
        if num_svm_pointers == 0 || svm_pointers.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let count = num_svm_pointers as usize;
        let pointers: Vec<usize> = svm_pointers.list(count).into_iter().map(|pointer| pointer as usize).collect();
        let sizes = if sizes.is_null() { vec![0; count] } else { sizes.list(count) };
        let context = command.queue.context.handle;
        if pointers.iter().zip(&sizes).any(|(pointer, size)| !contains(context, *pointer, (*size).max(1))) {
            return Err(CL_INVALID_VALUE);
        }
        let (pointers, sizes) = (encode(pointers.into_iter()), encode(sizes.into_iter()));
        command.send(false, |Sending { caller, waits, queue, waits_for, event }| {
            send::gpuferrySvmMigrate(caller, waits, queue, &pointers, &sizes, flags, waits_for, event)
        })
    }

    /// OpenCL 3.0 § 5.9.2, clSetKernelArgSVMPointer.
    extern "C" fn clSetKernelArgSVMPointer(kernel: Raw, arg_index: u32, arg_value: *const c_void) {
        let kernel = arena::get::<Kernel>(kernel)?;
        check_offered(&kernel)?;
        let address = arg_value as usize;
        if address != 0 && !contains(kernel.context.handle, address, 0) {
            return Err(CL_INVALID_ARG_VALUE);
        }
        argument::set_svm(&kernel, arg_index, address)
    }
}

/// A device of the kernel's context has shared virtual memory.
///
/// # Errors
/// `CL_INVALID_OPERATION`.
pub fn check_offered(kernel: &Kernel) -> Result<(), cl_int> {
    let caller = caller::enter()?;
    let is_offered = kernel.context.devices.iter().any(|device| is_offered_by(&caller, device));
    if is_offered { Ok(()) } else { Err(CL_INVALID_OPERATION) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_when_bytes_leave_the_allocation_then_is_false() {
        let context = Handle::new(65, 1, 77);
        allocations().insert(0x1000, Allocation { bytes: 64, context, mapped: Vec::new() });
        assert!(contains(context, 0x1000, 64) && contains(context, 0x1040, 0));
        assert!(
            !contains(context, 0x1000, 65) && !contains(context, 0xfff, 1) && !contains(context, 0x1001, usize::MAX)
        );
        assert!(!contains(Handle::new(65, 1, 78), 0x1000, 1), "another context's");
        assert_eq!((capabilities(0xf), capabilities(0)), (1, 0));
    }
}
