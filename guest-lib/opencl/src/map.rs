//! Mapping: the program sees a part of a memory object in memory of its own. That is a chunk of the shared pool, or the memory that
//! the program gave the object (`CL_MEM_USE_HOST_PTR`). Mapping reads into it, unmapping writes back what may have been changed.

use crate::area::{self, Layout};
use crate::arena::{self, Ref};
use crate::cl_int;
use crate::enqueue::{Command, Sending};
use crate::event::{self, Event};
use crate::generated::{Area, send};
use crate::memory::{self, Mem};
use crate::pending;
use crate::pool::{self, Chunk};
use crate::status::CL_INVALID_VALUE;
use crate::transfer::Transfer;
use crate::user::{In, Out, Raw};
use std::sync::{Mutex, MutexGuard, PoisonError};

const COMMAND_MAP_BUFFER: u32 = 0x11fb;
const COMMAND_MAP_IMAGE: u32 = 0x11fc;
const COMMAND_UNMAP: u32 = 0x11fd;

const MAP_READ: u64 = 1;
const MAP_WRITE: u64 = 1 << 1;
const MAP_INVALIDATE: u64 = 1 << 2;

struct Mapping {
    area: Area,
    /// Where the program sees it.
    host: Layout,
    /// Its memory, where that is not the program's own.
    shadow: Option<Chunk>,
    /// The command that maps it.
    event: Ref<Event>,
    writes: bool,
}

/// Where an object is mapped.
#[derive(Default)]
pub struct Maps(Mutex<Vec<Mapping>>);

impl Maps {
    fn all(&self) -> MutexGuard<'_, Vec<Mapping>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `CL_MEM_MAP_COUNT`.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.all().len() as u32
    }

    /// The object ends: memory that a command may still write to is kept until that has ended.
    pub fn end(&self) {
        for Mapping { shadow, event, .. } in self.all().drain(..) {
            if let Some(chunk) = shadow.filter(|_| !event.has_ended()) {
                pending::add(event, chunk, None);
            }
        }
    }

    /// Takes the newest mapping at an address out.
    fn take(&self, address: usize) -> Option<Mapping> {
        let mut all = self.all();
        let at = all.iter().rposition(|one| one.host.address == address)?;
        Some(all.remove(at))
    }
}

fn marker(command: &Command) -> Result<Ref<Event>, cl_int> {
    command.send_followed(true, true, |Sending { caller, waits, queue, waits_for, event }| {
        send::clEnqueueMarkerWithWaitList(caller, waits, queue, waits_for, event)
    })
}

/// Maps an area; `host` says where the program sees it, with address 0 where that is for the pool to say.
fn map(
    command: &Command,
    memory: &Ref<Mem>,
    area: Area,
    mut host: Layout,
    flags: u64,
    blocking: bool,
) -> Result<Raw, cl_int> {
    let mut shadow = if host.address == 0 { Some(pool::take(&command.caller, host.bytes())?) } else { None };
    if let Some(chunk) = &mut shadow {
        chunk.stay();
        host.address = chunk.address as usize;
    }
    let reads = flags & MAP_INVALIDATE == 0;
    let transfer = Transfer { command, memory, area, host };
    let event = match &shadow {
        _ if !reads => marker(command)?,
        Some(chunk) => transfer.read_shadow(chunk)?,
        None => transfer.read_later()?,
    };
    let writes = flags & (MAP_WRITE | MAP_INVALIDATE) != 0;
    memory.maps.all().push(Mapping { area, host, shadow, event: event.clone(), writes });
    if blocking && let Err(status) = event::wait(&command.caller, &[event]) {
        drop(memory.maps.take(host.address));
        return Err(status);
    }
    Ok(host.address as Raw)
}

fn check(memory: &Mem, flags: u64) -> Result<(), cl_int> {
    let all = MAP_READ | MAP_WRITE | MAP_INVALIDATE;
    if flags & !all != 0 || (flags & MAP_INVALIDATE != 0 && flags & (MAP_READ | MAP_WRITE) != 0) {
        return Err(CL_INVALID_VALUE);
    }
    memory.check_access(flags & MAP_READ != 0, flags & (MAP_WRITE | MAP_INVALIDATE) != 0)
}

fn unmap(mut command: Command, memory: &Ref<Mem>, mapping: Mapping) -> Result<(), cl_int> {
    if !mapping.event.has_ended() {
        command.also_waits_for(&mapping.event);
    }
    let Mapping { area, host, shadow, writes, .. } = mapping;
    if !writes {
        let event = marker(&command)?;
        if let Some(chunk) = shadow {
            pending::add(event, chunk, None);
        }
        return Ok(());
    }
    let transfer = Transfer { command: &command, memory, area, host };
    let Some(chunk) = shadow else { return transfer.write(false) };
    let event = transfer.write_shadow(&chunk)?;
    pending::add(event, chunk, None);
    Ok(())
}

crate::makers! {
    /// OpenCL 3.0 § 5.2.4, clEnqueueMapBuffer.
    extern "C" fn clEnqueueMapBuffer(
        command_queue: Raw, buffer: Raw, blocking_map: u32, map_flags: u64, offset: usize, size: usize,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let command =
            Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_MAP_BUFFER)?;
        let memory = memory::buffer(buffer)?;
        command.is_of(&memory.context)?;
        check(&memory, map_flags)?;
        if size == 0 {
            return Err(CL_INVALID_VALUE);
        }
        let area = area::buffer_area(&memory, offset, size)?;
        let own = if memory.host_ptr == 0 { 0 } else { memory.host_ptr + offset };
        map(&command, &memory, area, Layout::run(own, size), map_flags, blocking_map != 0)
    }

    /// OpenCL 3.0 § 5.3.6, clEnqueueMapImage.
    extern "C" fn clEnqueueMapImage(
        command_queue: Raw, image: Raw, blocking_map: u32, map_flags: u64, origin: In<[usize; 3]>, region: In<[usize; 3]>,
        image_row_pitch: Out<usize>, image_slice_pitch: Out<usize>, num_events_in_wait_list: u32, event_wait_list: In<Raw>,
        event: Out<Raw>,
    ) {
        let command =
            Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_MAP_IMAGE)?;
        let memory = memory::image(image)?;
        command.is_of(&memory.context)?;
        check(&memory, map_flags)?;
        let (shape, origin, region) = (memory.image()?, origin.get()?, region.get()?);
        let area = area::image_area(shape, origin, region)?;
        if !image_row_pitch.is_wanted() || (shape.has_slices() && !image_slice_pitch.is_wanted()) {
            return Err(CL_INVALID_VALUE);
        }
        let mut host = area::image_layout(shape, 0, region, [0, 0])?;
        if memory.host_ptr != 0 {
            let [row, slice] = shape.pitches();
            let [x, y, z] = origin;
            host = area::image_layout(shape, 1, region, [row, slice])?;
            let line = if shape.is_line_array() { slice } else { row };
            host.address = memory.host_ptr + x * shape.element + y * line + z * slice;
        }
        let [line, slice] = host.pitch;
        let row = if shape.is_line_array() && memory.host_ptr == 0 {
            host.size[0]
        } else if shape.is_line_array() {
            shape.pitches()[0]
        } else {
            line
        };
        let pointer = map(&command, &memory, area, host, map_flags, blocking_map != 0)?;
        image_row_pitch.set(row);
        image_slice_pitch.set(if shape.has_slices() { slice } else { 0 });
        Ok(pointer)
    }
}

crate::calls! {
    /// OpenCL 3.0 § 5.5.2, clEnqueueUnmapMemObject.
    extern "C" fn clEnqueueUnmapMemObject(
        command_queue: Raw, memobj: Raw, mapped_ptr: Raw, num_events_in_wait_list: u32, event_wait_list: In<Raw>,
        event: Out<Raw>,
    ) {
        let command = Command::new(command_queue, num_events_in_wait_list, event_wait_list, event, COMMAND_UNMAP)?;
        let memory = arena::get::<Mem>(memobj)?;
        command.is_of(&memory.context)?;
        let mapping = memory.maps.take(mapped_ptr as usize).ok_or(CL_INVALID_VALUE)?;
        unmap(command, &memory, mapping)
    }
}
