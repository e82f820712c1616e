//! Operations: what streams carry and graphs are made of.
//!
//! An [`Op`] is data: everything was checked and every handle resolved when it was made, so that it can be kept in a graph
//! and run any number of times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::array::Array;
use crate::conditional::Branches;
use crate::context::Context;
use crate::driver;
use crate::event::Event;
use crate::executable::Executable;
use crate::launch::KernelCall;
use crate::status::{Answer, Status};

/// A host function.
pub type HostFunction = unsafe extern "C" fn(u64);
/// A stream callback: (stream, status, data).
pub type StreamCallback = unsafe extern "C" fn(u64, u32, u64);

/// One operation.
#[derive(Clone)]
pub enum Op {
    /// Nothing; a place in the order.
    Empty,
    /// A kernel.
    Kernel(Arc<KernelCall>),
    /// A copy.
    Copy(Copy),
    /// A fill.
    Fill(Fill),
    /// A host function with its argument.
    Host(HostFunction, u64),
    /// A callback with its stream and argument; it is called after a fault, too, and told.
    Callback(StreamCallback, u64, u64),
    /// Records an event.
    Record(Arc<Event>),
    /// Waits for an event.
    Wait(Arc<Event>),
    /// Frees memory that begins at this address.
    Free(u64),
    /// Writes a value of 4 or 8 bytes.
    Write(u64, u64, u8),
    /// Waits until memory compares with a value.
    WaitValue(WaitValue),
    /// Writes of and waits for values, one after the other.
    Values(Arc<[Op]>),
    /// Copies host bytes, kept here, to device memory.
    Upload(Arc<[u8]>, u64),
    /// A conditional node.
    Conditional(Arc<Branches>),
    /// An executable graph.
    Graph(Arc<Executable>),
}

/// One end of a copy.
#[derive(Clone)]
pub struct Place {
    /// First byte.
    pub address: u64,
    /// Bytes from row to row.
    pub pitch: u64,
    /// Bytes from slice to slice.
    pub slice: u64,
    /// Keeps the array it lies in.
    pub array: Option<Arc<Array>>,
}

/// A copy of a box of bytes.
#[derive(Clone)]
pub struct Copy {
    /// Where from.
    pub from: Place,
    /// Where to.
    pub to: Place,
    /// Bytes of a row.
    pub width: u64,
    /// Rows of a slice.
    pub height: u64,
    /// Slices.
    pub depth: u64,
}

/// A fill of rows with a value.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// First byte.
    pub address: u64,
    /// Bytes from row to row.
    pub pitch: u64,
    /// The value; its low `size` bytes count.
    pub value: u32,
    /// Bytes of an element: 1, 2 or 4.
    pub size: u32,
    /// Elements of a row.
    pub width: u64,
    /// Rows.
    pub height: u64,
}

/// A wait for a value in memory.
#[derive(Clone, Copy, Debug)]
pub struct WaitValue {
    /// Where, aligned.
    pub address: u64,
    /// What to compare with.
    pub value: u64,
    /// Bytes: 4 or 8.
    pub size: u8,
    /// CUstreamWaitValue_flags: 0 ≥ (cyclic), 1 =, 2 and, 3 nor.
    pub compare: u32,
}

impl Op {
    /// Whether it runs after a fault as well.
    pub fn even_after_fault(&self) -> bool {
        matches!(self, Op::Callback(..) | Op::Free(_))
    }

    /// Runs an operation that runs after a fault as well.
    pub fn run_always(&self, context: &Context) {
        match self {
            Op::Callback(function, stream, data) => {
                let status = context.check().err().map_or(0, |status| status.0);
                // SAFETY: the program gave the function for this use.
                unsafe { function(*stream, status, *data) };
            }
            Op::Free(address) => {
                if let Ok(arena) = driver::arena() {
                    // Freed by other means meanwhile: nothing is left to do.
                    let _ = arena.free(*address, |_| true);
                }
            }
            _ => {}
        }
    }

    /// Runs it on the calling thread. Empty, record, wait and graph operations are order only and do nothing here.
    pub fn run(&self, context: &Arc<Context>) -> Answer {
        match self {
            Op::Kernel(call) => return call.run(context),
            Op::Copy(copy) => copy.run(),
            Op::Fill(fill) => fill.run(),
            Op::Host(function, data) => {
                // SAFETY: the program gave the function and its argument for this use.
                unsafe { function(*data) };
            }
            Op::Write(address, value, size) => write(*address, *value, *size),
            Op::WaitValue(wait) => return wait.run(context),
            Op::Values(all) => return all.iter().try_for_each(|one| one.run(context)),
            Op::Upload(bytes, address) => {
                // SAFETY: the range was checked to be device memory, which stays mapped.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), *address as *mut u8, bytes.len()) };
            }
            Op::Conditional(branches) => return branches.run(context),
            Op::Callback(..) | Op::Free(_) => self.run_always(context),
            Op::Empty | Op::Record(_) | Op::Wait(_) | Op::Graph(_) => {}
        }
        Ok(())
    }
}

impl Copy {
    /// A copy of bytes in a row.
    pub fn linear(from: u64, to: u64, bytes: u64) -> Copy {
        let place = |address| Place { address, pitch: 0, slice: 0, array: None };
        Copy { from: place(from), to: place(to), width: bytes, height: 1, depth: 1 }
    }

    fn run(&self) {
        for z in 0..self.depth {
            for y in 0..self.height {
                let from = self.from.address + z * self.from.slice + y * self.from.pitch;
                let to = self.to.address + z * self.to.slice + y * self.to.pitch;
                // SAFETY: device ranges were checked when the copy was made and stay mapped; host ranges are the
                // program's to keep until the copy has run.
                unsafe { std::ptr::copy(from as *const u8, to as *mut u8, self.width as usize) };
            }
        }
    }
}

impl Fill {
    fn run(&self) {
        let bytes = self.value.to_le_bytes();
        for y in 0..self.height {
            let row = self.address + y * self.pitch;
            // SAFETY: the range was checked to be device memory, aligned for the element, and stays mapped.
            unsafe {
                match self.size {
                    1 => std::ptr::write_bytes(row as *mut u8, bytes[0], self.width as usize),
                    2 => std::slice::from_raw_parts_mut(row as *mut u16, self.width as usize).fill(self.value as u16),
                    _ => std::slice::from_raw_parts_mut(row as *mut u32, self.width as usize).fill(self.value),
                }
            }
        }
    }
}

fn write(address: u64, value: u64, size: u8) {
    // SAFETY: checked to be aligned memory of the device or the program when the operation was made. Release: what the
    // stream did before is seen by who sees the value.
    unsafe {
        if size == 8 {
            AtomicU64::from_ptr(address as *mut u64).store(value, Ordering::Release);
        } else {
            AtomicU32::from_ptr(address as *mut u32).store(value as u32, Ordering::Release);
        }
    }
}

impl WaitValue {
    fn run(&self, context: &Context) -> Answer {
        let mut pause = Duration::from_micros(1);
        while !self.holds() {
            if context.cancel.load(Ordering::Relaxed) || !context.is_alive() {
                return Err(Status::LAUNCH_FAILED);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
        Ok(())
    }

    fn holds(&self) -> bool {
        // SAFETY: as in `write`. Acquire: pairs with the release of whoever writes the value.
        let (here, difference) = unsafe {
            if self.size == 8 {
                let here = AtomicU64::from_ptr(self.address as *mut u64).load(Ordering::Acquire);
                (here, here.wrapping_sub(self.value) as i64)
            } else {
                let here = AtomicU32::from_ptr(self.address as *mut u32).load(Ordering::Acquire);
                (u64::from(here), i64::from(here.wrapping_sub(self.value as u32) as i32))
            }
        };
        match self.compare & 3 {
            0 => difference >= 0,
            1 => difference == 0,
            2 => here & self.value != 0,
            _ if self.size == 8 => !(here | self.value) != 0,
            _ => !(here as u32 | self.value as u32) != 0,
        }
    }
}
