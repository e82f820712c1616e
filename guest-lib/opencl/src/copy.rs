//! Commands between memory objects, and those that only order others.

use crate::area;
use crate::arena::{self, Ref};
use crate::cl_int;
use crate::enqueue::{Command, Sending};
use crate::generated::{Color, Triple, send};
use crate::memory::{self, Mem, Sort};
use crate::status::{CL_INVALID_VALUE, CL_MEM_COPY_OVERLAP};
use crate::user::{self, In, Out, Raw};
use core::ffi::c_void;
use std::sync::Arc;
use wire::handle::Handle;

const COMMAND_COPY_BUFFER: u32 = 0x11f5;
const COMMAND_COPY_IMAGE: u32 = 0x11f8;
const COMMAND_COPY_IMAGE_TO_BUFFER: u32 = 0x11f9;
const COMMAND_COPY_BUFFER_TO_IMAGE: u32 = 0x11fa;
const COMMAND_MARKER: u32 = 0x11fe;
const COMMAND_COPY_BUFFER_RECT: u32 = 0x1203;
const COMMAND_BARRIER: u32 = 0x1205;
const COMMAND_MIGRATE: u32 = 0x1206;
const COMMAND_FILL_BUFFER: u32 = 0x1207;
const COMMAND_FILL_IMAGE: u32 = 0x1208;

const CHANNEL_ORDER_DEPTH: u32 = 0x10bd;

fn triple([x, y, z]: [usize; 3]) -> Triple {
    Triple { x, y, z }
}

fn is_whole(memory: &Mem) -> bool {
    !matches!(memory.sort, Sort::SubBuffer(..))
}

/// Two objects of a copy, of the queue's context.
fn both(
    command: &Command,
    from: Result<Ref<Mem>, cl_int>,
    to: Result<Ref<Mem>, cl_int>,
) -> Result<(Ref<Mem>, Ref<Mem>), cl_int> {
    let (from, to) = (from?, to?);
    command.is_of(&from.context)?;
    command.is_of(&to.context)?;
    Ok((from, to))
}

crate::calls! {
    /// OpenCL 3.0 § 5.2.2, clEnqueueCopyBuffer.
    extern "C" fn clEnqueueCopyBuffer(
        command_queue: Raw, src_buffer: Raw, dst_buffer: Raw, src_offset: usize, dst_offset: usize, size: usize,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command =
            Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_COPY_BUFFER)?;
        let (from, to) = both(&command, memory::buffer(src_buffer), memory::buffer(dst_buffer))?;
        area::buffer_area(&from, src_offset, size)?;
        area::buffer_area(&to, dst_offset, size)?;
        if Arc::ptr_eq(&from, &to) && src_offset.abs_diff(dst_offset) < size {
            return Err(CL_MEM_COPY_OVERLAP);
        }
        // Parts of one buffer may overlap in ways that the host judges.
        let certain = size != 0 && is_whole(&from) && is_whole(&to);
        command.send(certain, |Sending { caller, waits, queue, waits_for, event }| {
            let (from, to) = (from.handle, to.handle);
            send::clEnqueueCopyBuffer(caller, waits, queue, from, to, src_offset, dst_offset, size, waits_for, event)
        })
    }

    /// OpenCL 3.0 § 5.2.2, clEnqueueCopyBufferRect.
    extern "C" fn clEnqueueCopyBufferRect(
        command_queue: Raw, src_buffer: Raw, dst_buffer: Raw, src_origin: In<[usize; 3]>, dst_origin: In<[usize; 3]>,
        region: In<[usize; 3]>, src_row_pitch: usize, src_slice_pitch: usize, dst_row_pitch: usize, dst_slice_pitch: usize,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command =
            Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_COPY_BUFFER_RECT)?;
        let (from, to) = both(&command, memory::buffer(src_buffer), memory::buffer(dst_buffer))?;
        let (src, dst, region) = (src_origin.get()?, dst_origin.get()?, region.get()?);
        area::rect_area(&from, src, region, [src_row_pitch, src_slice_pitch])?;
        area::rect_area(&to, dst, region, [dst_row_pitch, dst_slice_pitch])?;
        let certain = !Arc::ptr_eq(&from, &to) && is_whole(&from) && is_whole(&to);
        command.send(certain, |Sending { caller, waits, queue, waits_for, event }| {
            send::clEnqueueCopyBufferRect(
                caller, waits, queue, from.handle, to.handle, &triple(src), &triple(dst), &triple(region),
                src_row_pitch, src_slice_pitch, dst_row_pitch, dst_slice_pitch, waits_for, event,
            )
        })
    }

    /// OpenCL 3.0 § 5.2.3, clEnqueueFillBuffer.
    extern "C" fn clEnqueueFillBuffer(
        command_queue: Raw, buffer: Raw, pattern: *const c_void, pattern_size: usize, offset: usize, size: usize,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command =
            Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_FILL_BUFFER)?;
        let memory = memory::buffer(buffer)?;
        command.is_of(&memory.context)?;
        let is_pattern = !pattern.is_null() && pattern_size.is_power_of_two() && pattern_size <= 128;
        if !is_pattern {
            return Err(CL_INVALID_VALUE);
        }
        // Not all hosts refuse what the API has them refuse.
        let is_even = offset.is_multiple_of(pattern_size) && size.is_multiple_of(pattern_size);
        area::buffer_area(&memory, offset, size)?;
        // SAFETY: not null, so as long as it says by the promise of the function's caller.
        let pattern = rt::Buffer::Inline(unsafe { user::bytes(pattern, pattern_size) });
        command.send(size != 0 && is_even && is_whole(&memory), |Sending { caller, waits, queue, waits_for, event }| {
            send::clEnqueueFillBuffer(caller, waits, queue, memory.handle, pattern, offset, size, waits_for, event)
        })
    }

    /// OpenCL 3.0 § 5.3.4, clEnqueueCopyImage.
    extern "C" fn clEnqueueCopyImage(
        command_queue: Raw, src_image: Raw, dst_image: Raw, src_origin: In<[usize; 3]>, dst_origin: In<[usize; 3]>,
        region: In<[usize; 3]>, num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command =
            Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_COPY_IMAGE)?;
        let (from, to) = both(&command, memory::image(src_image), memory::image(dst_image))?;
        let (src, dst, region) = (src_origin.get()?, dst_origin.get()?, region.get()?);
        // Formats must match, and boxes of one image not overlap: the host judges.
        command.send(false, |Sending { caller, waits, queue, waits_for, event }| {
            let (src, dst, region) = (triple(src), triple(dst), triple(region));
            send::clEnqueueCopyImage(caller, waits, queue, from.handle, to.handle, &src, &dst, &region, waits_for, event)
        })
    }

    /// OpenCL 3.0 § 5.3.5, clEnqueueCopyImageToBuffer.
    extern "C" fn clEnqueueCopyImageToBuffer(
        command_queue: Raw, src_image: Raw, dst_buffer: Raw, src_origin: In<[usize; 3]>, region: In<[usize; 3]>,
        dst_offset: usize, num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command = Command::new(
            command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_COPY_IMAGE_TO_BUFFER,
        )?;
        let (from, to) = both(&command, memory::image(src_image), memory::buffer(dst_buffer))?;
        let (src, region) = (triple(src_origin.get()?), triple(region.get()?));
        command.send(false, |Sending { caller, waits, queue, waits_for, event }| {
            let (from, to) = (from.handle, to.handle);
            send::clEnqueueCopyImageToBuffer(caller, waits, queue, from, to, &src, &region, dst_offset, waits_for, event)
        })
    }

    /// OpenCL 3.0 § 5.3.5, clEnqueueCopyBufferToImage.
    extern "C" fn clEnqueueCopyBufferToImage(
        command_queue: Raw, src_buffer: Raw, dst_image: Raw, src_offset: usize, dst_origin: In<[usize; 3]>,
        region: In<[usize; 3]>, num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command = Command::new(
            command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_COPY_BUFFER_TO_IMAGE,
        )?;
        let (from, to) = both(&command, memory::buffer(src_buffer), memory::image(dst_image))?;
        let (dst, region) = (triple(dst_origin.get()?), triple(region.get()?));
        command.send(false, |Sending { caller, waits, queue, waits_for, event }| {
            let (from, to) = (from.handle, to.handle);
            send::clEnqueueCopyBufferToImage(caller, waits, queue, from, to, src_offset, &dst, &region, waits_for, event)
        })
    }

    /// OpenCL 3.0 § 5.3.4, clEnqueueFillImage.
    extern "C" fn clEnqueueFillImage(
        command_queue: Raw, image: Raw, fill_color: In<u32>, origin: In<[usize; 3]>, region: In<[usize; 3]>,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command =
            Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_FILL_IMAGE)?;
        let memory = memory::image(image)?;
        command.is_of(&memory.context)?;
        let words = if memory.image()?.shape.channel_order == CHANNEL_ORDER_DEPTH { 1 } else { 4 };
        let given = fill_color.list(words);
        if given.is_empty() {
            return Err(CL_INVALID_VALUE);
        }
        let color = Color { words: [0, 1, 2, 3].map(|at| given.get(at).copied().unwrap_or(0)) };
        let (origin, region) = (triple(origin.get()?), triple(region.get()?));
        command.send(false, |Sending { caller, waits, queue, waits_for, event }| {
            send::clEnqueueFillImage(caller, waits, queue, memory.handle, &color, &origin, &region, waits_for, event)
        })
    }

    /// OpenCL 3.0 § 5.5.4, clEnqueueMigrateMemObjects.
    extern "C" fn clEnqueueMigrateMemObjects(
        command_queue: Raw, num_mem_objects: u32, mem_objects: In<Raw>, flags: u64, num_events_in_wait_list: u32,
        event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command = Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_MIGRATE)?;
        if num_mem_objects == 0 || mem_objects.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let objects = mem_objects.list(num_mem_objects as usize).into_iter().map(arena::get::<Mem>);
        let objects = objects.collect::<Result<Vec<_>, _>>()?;
        objects.iter().try_for_each(|object| command.is_of(&object.context))?;
        let handles: Vec<Handle> = objects.iter().map(|object| object.handle).collect();
        command.send(false, |Sending { caller, waits, queue, waits_for, event }| {
            send::clEnqueueMigrateMemObjects(caller, waits, queue, &handles, flags, waits_for, event)
        })
    }

    /// OpenCL 3.0 § 5.12, clEnqueueMarkerWithWaitList.
    extern "C" fn clEnqueueMarkerWithWaitList(
        command_queue: Raw, num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        marker(&Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_MARKER)?)
    }

    /// OpenCL 3.0 § 5.12, clEnqueueBarrierWithWaitList.
    extern "C" fn clEnqueueBarrierWithWaitList(
        command_queue: Raw, num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        barrier(&Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_BARRIER)?)
    }

    /// OpenCL 1.1, clEnqueueMarker.
    extern "C" fn clEnqueueMarker(command_queue: Raw, event: Out<Raw>) {
        let command = Command::new(command_queue, 0, In(core::ptr::null()), event, COMMAND_MARKER)?;
        if !event.is_wanted() {
            return Err(CL_INVALID_VALUE);
        }
        marker(&command)
    }

    /// OpenCL 1.1, clEnqueueBarrier.
    extern "C" fn clEnqueueBarrier(command_queue: Raw) {
        let (list, event) = (In(core::ptr::null()), Out(core::ptr::null_mut()));
        barrier(&Command::new(command_queue, 0, list, event, COMMAND_BARRIER)?)
    }

    /// OpenCL 1.1, clEnqueueWaitForEvents.
    extern "C" fn clEnqueueWaitForEvents(command_queue: Raw, num_events: u32, event_list: In<Raw>) {
        arena::get::<crate::queue::Queue>(command_queue)?;
        if num_events == 0 || event_list.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let event = Out(core::ptr::null_mut());
        let command = Command::new(command_queue, num_events, event_list, event, COMMAND_BARRIER);
        barrier(&command.map_err(|status| match status {
            crate::status::CL_INVALID_EVENT_WAIT_LIST => crate::status::CL_INVALID_EVENT,
            other => other,
        })?)
    }
}

fn marker(command: &Command) -> Result<(), cl_int> {
    command.send(true, |Sending { caller, waits, queue, waits_for, event }| {
        send::clEnqueueMarkerWithWaitList(caller, waits, queue, waits_for, event)
    })
}

fn barrier(command: &Command) -> Result<(), cl_int> {
    command.send(true, |Sending { caller, waits, queue, waits_for, event }| {
        send::clEnqueueBarrierWithWaitList(caller, waits, queue, waits_for, event)
    })
}
