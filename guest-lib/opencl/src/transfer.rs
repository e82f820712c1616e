//! Reads and writes: data between the program's memory and a memory object.
//!
//! Little travels in the frame or in the reply, more passes through shared memory ([`crate::pool`]). On the wire the program's side
//! has no gaps: [`Layout`] fills and empties them here. A write has left the program's memory when the call returns; a read that
//! does not block lands there when the program learns that it has ended ([`crate::pending`]).

use crate::area::{self, Layout};
use crate::arena::Ref;
use crate::callback;
use crate::caller::REPLY_BYTES;
use crate::cl_int;
use crate::enqueue::{Command, Sending};
use crate::event::{self, Event};
use crate::generated::{AREA_BUFFER, Area, send};
use crate::memory::{self, Mem, Sort};
use crate::pending;
use crate::pool::{self, Chunk};
use crate::status::CL_INVALID_VALUE;
use crate::user::{In, Out, Raw};
use core::ffi::c_void;
use rt::Buffer;
use std::collections::VecDeque;

const COMMAND_READ_BUFFER: u32 = 0x11f3;
const COMMAND_WRITE_BUFFER: u32 = 0x11f4;
const COMMAND_READ_IMAGE: u32 = 0x11f6;
const COMMAND_WRITE_IMAGE: u32 = 0x11f7;
const COMMAND_READ_BUFFER_RECT: u32 = 0x1201;
const COMMAND_WRITE_BUFFER_RECT: u32 = 0x1202;

/// Bytes of a part of a large transfer, and how many of a read, and of a write that blocks, are under way at a time.
const PART: usize = 4 << 20;
const DEPTH: usize = 4;
const WRITE_DEPTH: usize = 16;

/// A transfer, checked.
pub struct Transfer<'a> {
    /// The command.
    pub command: &'a Command,
    /// The memory object.
    pub memory: &'a Ref<Mem>,
    /// Which part of it.
    pub area: Area,
    /// The program's side.
    pub host: Layout,
}

/// A part of a transfer.
struct Part {
    area: Area,
    host: Layout,
    /// The event is that of the whole.
    is_last: bool,
}

impl Transfer<'_> {
    /// Whether the host accepts it for sure: it could refuse where a part of a buffer begins, on a device of several.
    fn is_certain(&self) -> bool {
        !matches!(self.memory.sort, Sort::SubBuffer(..)) && self.host.bytes() != 0
    }

    /// Whether it can be cut into parts: the end of the last is the end of all, and nobody asks the event when the first began.
    fn is_long_run(&self) -> bool {
        let queue = &self.command.queue;
        let is_run = self.area.sort == AREA_BUFFER && self.host.is_run() && self.host.bytes() > 2 * PART;
        is_run && queue.is_in_order() && !(queue.has_profiles() && self.command.wants_event())
    }

    /// The parts in which it is done, or the whole.
    fn parts(&self) -> VecDeque<Part> {
        let all = self.host.bytes();
        if !self.is_long_run() {
            return VecDeque::from([self.whole()]);
        }
        let part = |at: usize| {
            let bytes = PART.min(all - at);
            let mut area = self.area;
            area.origin[0] += at;
            area.region[0] = bytes;
            Part { area, host: Layout::run(self.host.address + at, bytes), is_last: at + bytes == all }
        };
        (0..all).step_by(PART).map(part).collect()
    }

    /// Reads.
    ///
    /// # Errors
    /// The host's answer.
    pub fn read(&self, blocking: bool) -> Result<(), cl_int> {
        if !blocking {
            return self.read_later().map(drop);
        }
        let done = if self.host.bytes() <= REPLY_BYTES { self.read_in_reply() } else { self.read_now() };
        pending::settle(&self.command.caller);
        done
    }

    /// Enqueues a read that lands in the program's memory before the program learns that it has ended.
    ///
    /// # Errors
    /// The host's answer.
    pub fn read_later(&self) -> Result<Ref<Event>, cl_int> {
        let (parts, mut sent, mut patient) = (self.parts(), Vec::new(), true);
        let is_cut = parts.len() > 1;
        for part in parts {
            match self.read_part_later(&part, is_cut, &mut patient) {
                Ok(event) => sent.push(event),
                Err(status) => {
                    pending::forget(&sent);
                    return Err(status);
                }
            }
        }
        // There is always a part.
        sent.pop().ok_or(CL_INVALID_VALUE)
    }

    fn read_part_later(&self, part: &Part, is_cut: bool, patient: &mut bool) -> Result<Ref<Event>, cl_int> {
        let chunk = self.chunk(part, is_cut, patient)?;
        let event = self.read_to(&chunk, part)?;
        pending::add(event.clone(), chunk, Some(part.host));
        if is_cut {
            callback::settle_after(&event);
        }
        Ok(event)
    }

    /// Memory for a part of a transfer that does not block.
    fn chunk(&self, part: &Part, is_cut: bool, patient: &mut bool) -> Result<Chunk, cl_int> {
        let (caller, bytes) = (&self.command.caller, part.host.bytes());
        if is_cut { pool::take_part(caller, bytes, patient) } else { pool::take(caller, bytes) }
    }

    fn read_in_reply(&self) -> Result<(), cl_int> {
        let mut room = [0u8; REPLY_BYTES];
        let room = &mut room[..self.host.bytes()];
        self.command.send(false, |Sending { caller, queue, waits_for, event, .. }| {
            let buffer = Buffer::Reply { bytes: room.len() as u64 };
            send::gpuferryRead(caller, queue, self.memory.handle, &self.area, buffer, room, waits_for, event)
        })?;
        // SAFETY: the reply has filled the room, which is as large as the area.
        unsafe { self.host.scatter(room.as_ptr()) };
        Ok(())
    }

    fn read_now(&self) -> Result<(), cl_int> {
        let mut parts = self.parts();
        let mut under_way: VecDeque<(Ref<Event>, Chunk, Layout)> = VecDeque::new();
        let mut arrived: Option<(Chunk, Layout)> = None;
        let mut done = Ok(());
        loop {
            // The next parts before the last is moved: a host whose library reads while it is asked to does so meanwhile.
            while under_way.len() < DEPTH
                && done.is_ok()
                && let Some(part) = parts.pop_front()
            {
                // What is under way is waited for all the same: it goes to memory that others get next.
                done = pool::take(&self.command.caller, part.host.bytes()).and_then(|chunk| {
                    under_way.push_back((self.read_to(&chunk, &part)?, chunk, part.host));
                    Ok(())
                });
            }
            if let Some((chunk, host)) = arrived.take() {
                // SAFETY: the chunk is as large as the part.
                unsafe { host.scatter(chunk.address) };
            }
            let Some((event, chunk, host)) = under_way.pop_front() else { break };
            match done.and_then(|()| event::wait(&self.command.caller, std::slice::from_ref(&event))) {
                Ok(()) => arrived = Some((chunk, host)),
                // It may not have ended: what it waits for has failed, or the host is gone.
                Err(status) => {
                    pending::add(event, chunk, None);
                    done = Err(status);
                }
            }
        }
        done
    }

    /// Enqueues a read to shared memory. The program has its event where it is the last part.
    fn read_to(&self, chunk: &Chunk, part: &Part) -> Result<Ref<Event>, cl_int> {
        let (address, bytes) = (chunk.address as u64, part.host.bytes());
        self.command.send_followed(self.is_certain(), part.is_last, |to| {
            let Sending { caller, waits, queue, waits_for, event } = to;
            send::gpuferryReadTo(caller, waits, queue, self.memory.handle, &part.area, address, bytes, waits_for, event)
        })
    }

    /// Writes.
    ///
    /// # Errors
    /// The host's answer.
    pub fn write(&self, blocking: bool) -> Result<(), cl_int> {
        // The data has left the program's memory: a blocking write waits for no more, but that it is told where what it waits
        // for fails.
        let waits = blocking && self.command.has_waits();
        if self.host.bytes() <= rt::INLINE_BYTES {
            return self.write_in_frame(waits);
        }
        let (parts, mut patient) = (self.parts(), true);
        let is_cut = parts.len() > 1;
        let mut under_way: VecDeque<Ref<Event>> = VecDeque::new();
        for part in parts {
            // A call that may wait takes no more memory than this.
            if blocking
                && under_way.len() == WRITE_DEPTH
                && let Some(oldest) = under_way.pop_front()
            {
                event::wait(&self.command.caller, &[oldest])?;
            }
            let chunk = self.chunk(&part, is_cut && !blocking, &mut patient)?;
            // SAFETY: the chunk is as large as the part.
            unsafe { part.host.gather(chunk.address) };
            let event = self.write_from(&chunk, &part)?;
            under_way.push_back(event.clone());
            pending::add(event.clone(), chunk, None);
            if is_cut && !blocking {
                callback::settle_after(&event);
            }
            if waits && part.is_last {
                event::wait(&self.command.caller, &[event])?;
            }
        }
        Ok(())
    }

    fn write_in_frame(&self, waits_for_end: bool) -> Result<(), cl_int> {
        let mut gathered = Vec::new();
        let data = if self.host.is_run() {
            // SAFETY: the program's memory by the promise of the API function's caller.
            unsafe { crate::user::bytes(self.host.address as *const c_void, self.host.bytes()) }
        } else {
            gathered.resize(self.host.bytes(), 0u8);
            // SAFETY: just made as large as the area.
            unsafe { self.host.gather(gathered.as_mut_ptr()) };
            &gathered[..]
        };
        let send = |to: Sending<'_>| {
            let Sending { caller, waits, queue, waits_for, event } = to;
            send::gpuferryWrite(caller, waits, queue, self.memory.handle, &self.area, data, waits_for, event)
        };
        if waits_for_end {
            let event = self.command.send_followed(self.is_certain(), true, send)?;
            return event::wait(&self.command.caller, &[event]);
        }
        self.command.send(self.is_certain(), send)
    }

    /// Enqueues a write from shared memory.
    fn write_from(&self, chunk: &Chunk, part: &Part) -> Result<Ref<Event>, cl_int> {
        let (address, bytes) = (chunk.address as u64, part.host.bytes());
        self.command.send_followed(self.is_certain(), part.is_last, |to| {
            let Sending { caller, waits, queue, waits_for, event } = to;
            send::gpuferryWriteFrom(
                caller,
                waits,
                queue,
                self.memory.handle,
                &part.area,
                address,
                bytes,
                waits_for,
                event,
            )
        })
    }

    /// Enqueues a read of the whole area to shared memory that the program may come to see.
    ///
    /// # Errors
    /// The host's answer.
    pub fn read_shadow(&self, chunk: &Chunk) -> Result<Ref<Event>, cl_int> {
        self.read_to(chunk, &self.whole())
    }

    /// Enqueues a write of the whole area from shared memory.
    ///
    /// # Errors
    /// The host's answer.
    pub fn write_shadow(&self, chunk: &Chunk) -> Result<Ref<Event>, cl_int> {
        self.write_from(chunk, &self.whole())
    }

    fn whole(&self) -> Part {
        Part { area: self.area, host: self.host, is_last: true }
    }
}

/// What a read or write of a buffer's run says.
struct Run {
    queue: Raw,
    buffer: Raw,
    offset: usize,
    size: usize,
    ptr: usize,
}

fn run(of: &Run, waits: (u32, In<Raw>, Out<Raw>), blocking: bool, writes: bool) -> Result<(), cl_int> {
    let kind = if writes { COMMAND_WRITE_BUFFER } else { COMMAND_READ_BUFFER };
    let command = Command::new(of.queue, waits.0, waits.1, waits.2, kind)?;
    let memory = memory::buffer(of.buffer)?;
    command.is_of(&memory.context)?;
    if of.ptr == 0 {
        return Err(CL_INVALID_VALUE);
    }
    let area = area::buffer_area(&memory, of.offset, of.size)?;
    memory.check_access(!writes, writes)?;
    let host = Layout::run(of.ptr, of.size);
    let transfer = Transfer { command: &command, memory: &memory, area, host };
    if writes { transfer.write(blocking) } else { transfer.read(blocking || of.size == 0) }
}

/// What a read or write of a box says.
struct Box {
    queue: Raw,
    memory: Raw,
    origin: In<[usize; 3]>,
    region: In<[usize; 3]>,
    ptr: usize,
}

fn rect(
    of: &Box,
    host_origin: In<[usize; 3]>,
    pitches: [[usize; 2]; 2],
    waits: (u32, In<Raw>, Out<Raw>),
    blocking: bool,
    writes: bool,
) -> Result<(), cl_int> {
    let kind = if writes { COMMAND_WRITE_BUFFER_RECT } else { COMMAND_READ_BUFFER_RECT };
    let command = Command::new(of.queue, waits.0, waits.1, waits.2, kind)?;
    let memory = memory::buffer(of.memory)?;
    command.is_of(&memory.context)?;
    if of.ptr == 0 {
        return Err(CL_INVALID_VALUE);
    }
    let region = of.region.get()?;
    let area = area::rect_area(&memory, of.origin.get()?, region, pitches[0])?;
    let host = area::rect_layout(of.ptr, host_origin.get()?, region, pitches[1])?;
    memory.check_access(!writes, writes)?;
    let transfer = Transfer { command: &command, memory: &memory, area, host };
    if writes { transfer.write(blocking) } else { transfer.read(blocking) }
}

fn image(
    of: &Box,
    pitch: [usize; 2],
    waits: (u32, In<Raw>, Out<Raw>),
    blocking: bool,
    writes: bool,
) -> Result<(), cl_int> {
    let kind = if writes { COMMAND_WRITE_IMAGE } else { COMMAND_READ_IMAGE };
    let command = Command::new(of.queue, waits.0, waits.1, waits.2, kind)?;
    let memory = memory::image(of.memory)?;
    command.is_of(&memory.context)?;
    if of.ptr == 0 {
        return Err(CL_INVALID_VALUE);
    }
    let (image, region) = (memory.image()?, of.region.get()?);
    let area = area::image_area(image, of.origin.get()?, region)?;
    let host = area::image_layout(image, of.ptr, region, pitch)?;
    memory.check_access(!writes, writes)?;
    let transfer = Transfer { command: &command, memory: &memory, area, host };
    if writes { transfer.write(blocking) } else { transfer.read(blocking) }
}

crate::calls! {
    /// OpenCL 3.0 § 5.2.2, clEnqueueReadBuffer.
    extern "C" fn clEnqueueReadBuffer(
        command_queue: Raw, buffer: Raw, blocking_read: u32, offset: usize, size: usize, ptr: *mut c_void,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let of = Run { queue: command_queue, buffer, offset, size, ptr: ptr as usize };
        run(&of, (num_events_in_wait_list, event_wait_list, event), blocking_read != 0, false)
    }

    /// OpenCL 3.0 § 5.2.2, clEnqueueWriteBuffer.
    extern "C" fn clEnqueueWriteBuffer(
        command_queue: Raw, buffer: Raw, blocking_write: u32, offset: usize, size: usize, ptr: *const c_void,
        num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let of = Run { queue: command_queue, buffer, offset, size, ptr: ptr as usize };
        run(&of, (num_events_in_wait_list, event_wait_list, event), blocking_write != 0, true)
    }

    /// OpenCL 3.0 § 5.2.2, clEnqueueReadBufferRect.
    extern "C" fn clEnqueueReadBufferRect(
        command_queue: Raw, buffer: Raw, blocking_read: u32, buffer_origin: In<[usize; 3]>, host_origin: In<[usize; 3]>,
        region: In<[usize; 3]>, buffer_row_pitch: usize, buffer_slice_pitch: usize, host_row_pitch: usize,
        host_slice_pitch: usize, ptr: *mut c_void, num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let of = Box { queue: command_queue, memory: buffer, origin: buffer_origin, region, ptr: ptr as usize };
        let pitches = [[buffer_row_pitch, buffer_slice_pitch], [host_row_pitch, host_slice_pitch]];
        rect(&of, host_origin, pitches, (num_events_in_wait_list, event_wait_list, event), blocking_read != 0, false)
    }

    /// OpenCL 3.0 § 5.2.2, clEnqueueWriteBufferRect.
    extern "C" fn clEnqueueWriteBufferRect(
        command_queue: Raw, buffer: Raw, blocking_write: u32, buffer_origin: In<[usize; 3]>, host_origin: In<[usize; 3]>,
        region: In<[usize; 3]>, buffer_row_pitch: usize, buffer_slice_pitch: usize, host_row_pitch: usize,
        host_slice_pitch: usize, ptr: *const c_void, num_events_in_wait_list: u32, event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let of = Box { queue: command_queue, memory: buffer, origin: buffer_origin, region, ptr: ptr as usize };
        let pitches = [[buffer_row_pitch, buffer_slice_pitch], [host_row_pitch, host_slice_pitch]];
        rect(&of, host_origin, pitches, (num_events_in_wait_list, event_wait_list, event), blocking_write != 0, true)
    }

    /// OpenCL 3.0 § 5.3.3, clEnqueueReadImage.
    extern "C" fn clEnqueueReadImage(
        command_queue: Raw, image: Raw, blocking_read: u32, origin: In<[usize; 3]>, region: In<[usize; 3]>,
        row_pitch: usize, slice_pitch: usize, ptr: *mut c_void, num_events_in_wait_list: u32, event_wait_list: In<Raw>,
        event: Out<Raw>,
    ) {
        let of = Box { queue: command_queue, memory: image, origin, region, ptr: ptr as usize };
        let waits = (num_events_in_wait_list, event_wait_list, event);
        self::image(&of, [row_pitch, slice_pitch], waits, blocking_read != 0, false)
    }

    /// OpenCL 3.0 § 5.3.3, clEnqueueWriteImage.
    extern "C" fn clEnqueueWriteImage(
        command_queue: Raw, image: Raw, blocking_write: u32, origin: In<[usize; 3]>, region: In<[usize; 3]>,
        input_row_pitch: usize, input_slice_pitch: usize, ptr: *const c_void, num_events_in_wait_list: u32,
        event_wait_list: In<Raw>, event: Out<Raw>,
    ) {
        let of = Box { queue: command_queue, memory: image, origin, region, ptr: ptr as usize };
        let waits = (num_events_in_wait_list, event_wait_list, event);
        self::image(&of, [input_row_pitch, input_slice_pitch], waits, blocking_write != 0, true)
    }
}
