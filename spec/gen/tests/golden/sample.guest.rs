// Printed by spec-gen; the source is spec/api.

use core::ffi::{CStr, c_char, c_void};
use wire::Malformed;
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Reader, Writer};
use crate::Code;
use crate::caller::Caller;

const _: () = assert!(crate::status::BAD_VALUE == 1);
const _: () = assert!(crate::status::BAD_HANDLE == 2);
const _: () = assert!(crate::status::ERROR_GONE == 3);
/// A number that both sides name.
pub const FLAG_FAST: u32 = 4;

/// An address on the device.
pub type Address = u64;

/// A kind of handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Number in a handle.
    pub number: u8,
    /// Name of the C type.
    pub name: &'static str,
    /// Status for what is no handle of this kind.
    pub error: Code,
    /// Largest number that is no handle and travels as it is.
    pub plain_up_to: Option<u64>,
    /// Ends with the context in which it was made.
    pub in_context: bool,
}

/// The kinds, by the name of the C type.
pub mod kind {
    use super::Kind;
    pub const Thing: Kind = Kind { number: 1, name: "Thing", error: crate::status::BAD_HANDLE, plain_up_to: None, in_context: true };
    /// 1 is the first queue of all.
    pub const Queue: Kind = Kind { number: 2, name: "Queue", error: crate::status::BAD_HANDLE, plain_up_to: Some(1), in_context: false };
}

/// Largest number of a kind.
pub const MAX_KIND: u8 = 2;

pub type Thing = *mut c_void;
/// 1 is the first queue of all.
pub type Queue = *mut c_void;

/// Sizes of a thing.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub width: u32,
    pub pairs: [u16; 2],
    pub depth: usize,
}

const _: () = assert!(core::mem::size_of::<Size>() == 16);

impl Default for Size {
    fn default() -> Size {
        Size {
            width: 0u32,
            pairs: [0u16; 2],
            depth: 0usize,
        }
    }
}

impl Size {
    /// Writes the fields in order.
    pub fn write(&self, w: &mut Writer<'_>) -> Result<(), Full> {
        w.u32(self.width)?;
        for value in &self.pairs {
            w.u16(*value)?;
        }
        w.u64(self.depth as u64)?;
        Ok(())
    }

    /// Reads the fields in order.
    pub fn read(r: &mut Reader<'_>) -> Result<Size, Malformed> {
        let mut value = Size::default();
        value.width = r.u32()?;
        for element in &mut value.pairs {
            *element = r.u16()?;
        }
        value.depth = r.u64()? as usize;
        Ok(value)
    }
}

/// Numbers of the messages.
pub mod number {
    /// `version`.
    pub const version: u16 = 1;
    /// `thingCreate`.
    pub const thingCreate: u16 = 2;
    /// `thingFind`.
    pub const thingFind: u16 = 3;
    /// `thingDestroy`.
    pub const thingDestroy: u16 = 4;
    /// `thingJoin`.
    pub const thingJoin: u16 = 6;
    /// `thingSize`.
    pub const thingSize: u16 = 5;
    /// `fill`.
    pub const fill: u16 = 10;
    /// `fillAsync`.
    pub const fillAsync: u16 = 11;
    /// `thingWrite`.
    pub const thingWrite: u16 = 12;
    /// `thingRead`.
    pub const thingRead: u16 = 13;
    /// `sum`.
    pub const sum: u16 = 14;
    /// `gpuferryAsk`.
    pub const gpuferryAsk: u16 = 20;
}

/// One typed sender a call.
pub mod send {
    use super::*;

    /// Bytes of a buffer that lie in the frame.
    fn inline_bytes(buffer: &Buffer<'_>) -> usize {
        if let Buffer::Inline(data) = buffer { data.len() } else { 0 }
    }

    /// Puts what came back in a reply where it belongs.
    fn take_bytes(buffer: &Buffer<'_>, to: &mut [u8], r: &mut Reader<'_>) -> Result<(), Malformed> {
        if let Buffer::Reply { .. } = buffer {
            to.copy_from_slice(r.raw(to.len())?);
        }
        Ok(())
    }

    /// Version of the library.
    #[inline]
    pub fn version(c: &Caller, number: &mut i32, ratio: &mut f32) -> Code {
        let sent = c.session.wait(
            1,
            c.origin,
            0,
            |_: &mut Writer<'_>| Ok::<(), Full>(()),
            |status: Code, r: &mut Reader<'_>| -> Result<Code, Malformed> {
                if status == 0 {
                    *number = r.u32()? as i32;
                    *ratio = f32::from_bits(r.u32()?);
                }
                r.clone().end()?;
                Ok(status)
            },
        );
        match sent {
            Ok(status) => status,
            Err(_) => crate::status::ERROR_GONE,
        }
    }

    /// Makes a thing.
    #[inline]
    pub fn thingCreate(c: &Caller, thing: Handle, size: &Size) -> Code {
        let sent = c.session.post(
            2,
            c.origin,
            24,
            |w: &mut Writer<'_>| -> Result<(), Full> {
                w.u64(thing.0)?;
                size.write(w)?;
                Ok(())
            },
        );
        match sent {
            Ok(()) => 0,
            Err(_) => crate::status::ERROR_GONE,
        }
    }

    /// A part of a thing, by name.
    #[inline]
    pub fn thingFind(c: &Caller, part: Handle, thing: Handle, name: &CStr) -> Code {
        if name.to_bytes().len() > 49152 {
            return crate::status::BAD_VALUE;
        }
        let sent = c.session.wait(
            3,
            c.origin,
            20 + name.to_bytes().len(),
            |w: &mut Writer<'_>| -> Result<(), Full> {
                w.u64(part.0)?;
                w.u64(thing.0)?;
                w.run(name.to_bytes())?;
                Ok(())
            },
            |status: Code, r: &mut Reader<'_>| -> Result<Code, Malformed> {
                r.clone().end()?;
                Ok(status)
            },
        );
        match sent {
            Ok(status) => status,
            Err(_) => crate::status::ERROR_GONE,
        }
    }

    /// Ends a thing.
    #[inline]
    pub fn thingDestroy(c: &Caller, thing: Handle) -> Code {
        let sent = c.session.post(
            4,
            c.origin,
            8,
            |w: &mut Writer<'_>| -> Result<(), Full> {
                w.u64(thing.0)?;
                Ok(())
            },
        );
        match sent {
            Ok(()) => 0,
            Err(_) => crate::status::ERROR_GONE,
        }
    }

    /// Makes a thing out of others, which the library returns, and a queue that not everyone wants.
    #[inline]
    pub fn thingJoin(c: &Caller, waits: bool, joined: Handle, things: &[Handle], bytes: usize, queue: Handle) -> Code {
        if things.len() * 8 > 49152 {
            return crate::status::BAD_VALUE;
        }
        let bound = 42 + things.len() * 8;
        let fill = |w: &mut Writer<'_>| -> Result<(), Full> {
            w.u64(joined.0)?;
            w.u32((things.len() * 8) as u32)?;
            let to = w.space(1, things.len() * 8)?;
            to.chunks_exact_mut(8).zip(things).for_each(|(to, handle)| to.copy_from_slice(&handle.0.to_le_bytes()));
            w.u64(bytes as u64)?;
            w.u64(queue.0)?;
            Ok(())
        };
        let sent = if waits {
            c.session.wait(
                6, c.origin, bound, fill,
                |status: Code, r: &mut Reader<'_>| -> Result<Code, Malformed> {
                    r.clone().end()?;
                    Ok(status)
                },
            )
        } else {
            c.session.post(6, c.origin, bound, fill).map(|()| 0)
        };
        sent.unwrap_or(crate::status::ERROR_GONE)
    }

    /// What size a thing has.
    #[inline]
    pub fn thingSize(c: &Caller, thing: Handle, size: &mut Size) -> Code {
        let sent = c.session.wait(
            5,
            c.origin,
            8,
            |w: &mut Writer<'_>| -> Result<(), Full> {
                w.u64(thing.0)?;
                Ok(())
            },
            |status: Code, r: &mut Reader<'_>| -> Result<Code, Malformed> {
                if status == 0 {
                    *size = Size::read(r)?;
                }
                r.clone().end()?;
                Ok(status)
            },
        );
        match sent {
            Ok(status) => status,
            Err(_) => crate::status::ERROR_GONE,
        }
    }

    /// Fills memory.
    #[inline]
    pub fn fill(c: &Caller, address: Address, value: u32, count: usize) -> Code {
        let sent = c.session.post(
            10,
            c.origin,
            24,
            |w: &mut Writer<'_>| -> Result<(), Full> {
                w.u64(address)?;
                w.u32(value)?;
                w.u64(count as u64)?;
                Ok(())
            },
        );
        match sent {
            Ok(()) => 0,
            Err(_) => crate::status::ERROR_GONE,
        }
    }

    /// Fills memory in a queue.
    #[inline]
    pub fn fillAsync(c: &Caller, address: Address, value: u32, count: usize, queue: Handle) -> Code {
        let sent = c.session.post(
            11,
            c.origin,
            32,
            |w: &mut Writer<'_>| -> Result<(), Full> {
                w.u64(address)?;
                w.u32(value)?;
                w.u64(count as u64)?;
                w.u64(queue.0)?;
                Ok(())
            },
        );
        match sent {
            Ok(()) => 0,
            Err(_) => crate::status::ERROR_GONE,
        }
    }

    /// Writes bytes to a thing.
    #[inline]
    pub fn thingWrite(c: &Caller, thing: Handle, data: Buffer<'_>) -> Code {
        let sent = c.session.wait(
            12,
            c.origin,
            48 + inline_bytes(&data),
            |w: &mut Writer<'_>| -> Result<(), Full> {
                w.u64(thing.0)?;
                w.buffer(data)?;
                Ok(())
            },
            |status: Code, r: &mut Reader<'_>| -> Result<Code, Malformed> {
                r.clone().end()?;
                Ok(status)
            },
        );
        match sent {
            Ok(0) => c.session.take_deferred(),
            Ok(status) => status,
            Err(_) => crate::status::ERROR_GONE,
        }
    }

    /// Reads bytes from a thing.
    #[inline]
    pub fn thingRead(c: &Caller, data: Buffer<'_>, data_reply: &mut [u8], thing: Handle) -> Code {
        let sent = c.session.wait(
            13,
            c.origin,
            55 + inline_bytes(&data),
            |w: &mut Writer<'_>| -> Result<(), Full> {
                w.buffer(data)?;
                w.u64(thing.0)?;
                Ok(())
            },
            |status: Code, r: &mut Reader<'_>| -> Result<Code, Malformed> {
                if status == 0 {
                    take_bytes(&data, data_reply, r)?;
                }
                r.clone().end()?;
                Ok(status)
            },
        );
        match sent {
            Ok(status) => status,
            Err(_) => crate::status::ERROR_GONE,
        }
    }

    /// Adds up numbers; `both` and `weights` have one length.
    #[inline]
    pub fn sum(c: &Caller, both: Buffer<'_>, weights: Buffer<'_>, total: &mut u64) -> Code {
        let sent = c.session.wait(
            14,
            c.origin,
            83 + inline_bytes(&both) + inline_bytes(&weights),
            |w: &mut Writer<'_>| -> Result<(), Full> {
                w.buffer(both)?;
                w.buffer(weights)?;
                Ok(())
            },
            |status: Code, r: &mut Reader<'_>| -> Result<Code, Malformed> {
                if status == 0 {
                    *total = r.u64()?;
                }
                r.clone().end()?;
                Ok(status)
            },
        );
        match sent {
            Ok(status) => status,
            Err(_) => crate::status::ERROR_GONE,
        }
    }

    /// Anything else.
    #[inline]
    pub fn gpuferryAsk(c: &Caller, any: Handle, words: &[u8], block: &[u8], told: &mut Vec<u8>) -> Code {
        if words.len() > 49152 {
            return crate::status::BAD_VALUE;
        }
        if block.len() > 49152 {
            return crate::status::BAD_VALUE;
        }
        let sent = c.session.wait(
            20,
            c.origin,
            36 + words.len() + block.len(),
            |w: &mut Writer<'_>| -> Result<(), Full> {
                w.u64(any.0)?;
                w.run(words)?;
                w.u32(block.len() as u32)?;
                w.space(16, block.len())?.copy_from_slice(block);
                Ok(())
            },
            |status: Code, r: &mut Reader<'_>| -> Result<Code, Malformed> {
                *told = r.run()?.to_vec();
                r.clone().end()?;
                Ok(status)
            },
        );
        match sent {
            Ok(status) => status,
            Err(_) => crate::status::ERROR_GONE,
        }
    }
}

/// Version of the library.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn version(number: *mut i32, ratio: *mut f32) -> Code {
    crate::caller::guard_named("version", || {
        let c = crate::caller::enter()?;
        if number.is_null() {
            return Err(crate::status::BAD_VALUE);
        }
        let mut number_value = 0i32;
        let mut ratio_value = 0.0;
        let status = send::version(&c, &mut number_value, &mut ratio_value);
        if status != 0 {
            return Err(status);
        }
        // SAFETY: not null; the caller says that it points to such a value.
        unsafe { number.write_unaligned(number_value) };
        if !ratio.is_null() {
            // SAFETY: not null; the caller says that it points to such a value.
            unsafe { ratio.write_unaligned(ratio_value) };
        }
        Ok(())
    })
}

/// Makes a thing.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thingCreate(thing: *mut Thing, size: *const Size) -> Code {
    crate::caller::guard_named("thingCreate", || {
        let c = crate::caller::enter_context()?;
        if thing.is_null() || size.is_null() {
            return Err(crate::status::BAD_VALUE);
        }
        // SAFETY: not null; the caller says that it points to the struct.
        let size = &unsafe { size.read_unaligned() };
        let thing_new = crate::handles::new(kind::Thing)?;
        let status = send::thingCreate(&c, thing_new, size);
        if status != 0 {
            crate::handles::discard(thing_new);
            return Err(status);
        }
        // SAFETY: not null; the caller says that it points to a handle.
        unsafe { thing.write_unaligned(thing_new.0 as Thing) };
        Ok(())
    })
}

/// A part of a thing, by name.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thingFind(part: *mut Thing, thing: Thing, name: *const c_char) -> Code {
    crate::caller::guard_named("thingFind", || {
        let c = crate::caller::enter_context()?;
        if part.is_null() || name.is_null() {
            return Err(crate::status::BAD_VALUE);
        }
        let thing = crate::handles::check(kind::Thing, thing)?;
        // SAFETY: not null; the caller says that it ends with NUL.
        let name = unsafe { CStr::from_ptr(name) };
        let part_new = crate::handles::new(kind::Thing)?;
        let status = send::thingFind(&c, part_new, thing, name);
        if status != 0 {
            crate::handles::discard(part_new);
            return Err(status);
        }
        // SAFETY: not null; the caller says that it points to a handle.
        unsafe { part.write_unaligned(part_new.0 as Thing) };
        Ok(())
    })
}

/// A part of a thing, by name.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thingFindOld(part: *mut Thing, thing: Thing, name: *const c_char) -> Code {
    crate::caller::guard_named("thingFindOld", || {
        let c = crate::caller::enter_context()?;
        if part.is_null() || name.is_null() {
            return Err(crate::status::BAD_VALUE);
        }
        let thing = crate::handles::check(kind::Thing, thing)?;
        // SAFETY: not null; the caller says that it ends with NUL.
        let name = unsafe { CStr::from_ptr(name) };
        let part_new = crate::handles::new(kind::Thing)?;
        let status = send::thingFind(&c, part_new, thing, name);
        if status != 0 {
            crate::handles::discard(part_new);
            return Err(status);
        }
        // SAFETY: not null; the caller says that it points to a handle.
        unsafe { part.write_unaligned(part_new.0 as Thing) };
        Ok(())
    })
}

/// Ends a thing.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thingDestroy(thing: Thing) -> Code {
    crate::caller::guard_named("thingDestroy", || {
        let c = crate::caller::enter_context()?;
        let thing = crate::handles::check(kind::Thing, thing)?;
        let status = send::thingDestroy(&c, thing);
        if status != 0 {
            return Err(status);
        }
        crate::handles::free(thing);
        Ok(())
    })
}

/// What size a thing has.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thingSize(thing: Thing, size: *mut Size) -> Code {
    crate::caller::guard_named("thingSize", || {
        let c = crate::caller::enter_context()?;
        if size.is_null() {
            return Err(crate::status::BAD_VALUE);
        }
        let thing = crate::handles::check(kind::Thing, thing)?;
        let mut size_value = Size::default();
        let status = send::thingSize(&c, thing, &mut size_value);
        if status != 0 {
            return Err(status);
        }
        // SAFETY: not null; the caller says that it points to such a value.
        unsafe { size.write_unaligned(size_value) };
        Ok(())
    })
}

/// Fills memory.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fill(address: Address, value: u32, count: usize) -> Code {
    crate::caller::guard_named("fill", || {
        let c = crate::caller::enter_context()?;
        crate::ranges::check(&c, address, Some(count as u64).zip(Some(4u64)).and_then(|(a, b)| a.checked_mul(b)), 1)?;
        let status = send::fill(&c, address, value, count);
        if status != 0 {
            return Err(status);
        }
        Ok(())
    })
}

/// Fills memory in a queue.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fill_ptds(address: Address, value: u32, count: usize) -> Code {
    crate::caller::guard_named("fill_ptds", || {
        let c = crate::caller::enter_context()?;
        crate::ranges::check(&c, address, Some(count as u64).zip(Some(4u64)).and_then(|(a, b)| a.checked_mul(b)), 4)?;
        let queue = crate::handles::per_thread(kind::Queue, core::ptr::null_mut())?;
        let status = send::fillAsync(&c, address, value, count, queue);
        if status != 0 {
            return Err(status);
        }
        Ok(())
    })
}

/// Fills memory in a queue.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fillAsync(address: Address, value: u32, count: usize, queue: Queue) -> Code {
    crate::caller::guard_named("fillAsync", || {
        let c = crate::caller::enter_context()?;
        crate::ranges::check(&c, address, Some(count as u64).zip(Some(4u64)).and_then(|(a, b)| a.checked_mul(b)), 4)?;
        let queue = crate::handles::check(kind::Queue, queue)?;
        let status = send::fillAsync(&c, address, value, count, queue);
        if status != 0 {
            return Err(status);
        }
        Ok(())
    })
}

/// Fills memory in a queue.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fillAsync_ptsz(address: Address, value: u32, count: usize, queue: Queue) -> Code {
    crate::caller::guard_named("fillAsync_ptsz", || {
        let c = crate::caller::enter_context()?;
        crate::ranges::check(&c, address, Some(count as u64).zip(Some(4u64)).and_then(|(a, b)| a.checked_mul(b)), 4)?;
        let queue = crate::handles::per_thread(kind::Queue, queue)?;
        let status = send::fillAsync(&c, address, value, count, queue);
        if status != 0 {
            return Err(status);
        }
        Ok(())
    })
}

/// Writes bytes to a thing.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thingWrite(thing: Thing, data: *const c_void, bytes: usize) -> Code {
    crate::caller::guard_named("thingWrite", || {
        let c = crate::caller::enter_context()?;
        let thing = crate::handles::check(kind::Thing, thing)?;
        let data_bytes = usize::try_from(bytes).ok().and_then(|n| n.checked_mul(1)).ok_or(crate::status::BAD_VALUE)?;
        if data.is_null() && data_bytes != 0 {
            return Err(crate::status::BAD_VALUE);
        }
        let status = crate::caller::input(&c, data.cast(), data_bytes, |data: Buffer<'_>| send::thingWrite(&c, thing, data));
        if status != 0 {
            return Err(status);
        }
        Ok(())
    })
}

/// Reads bytes from a thing.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thingRead(data: *mut c_void, thing: Thing, bytes: usize) -> Code {
    crate::caller::guard_named("thingRead", || {
        let c = crate::caller::enter_context()?;
        let data_bytes = usize::try_from(bytes).ok().and_then(|n| n.checked_mul(1)).ok_or(crate::status::BAD_VALUE)?;
        if data.is_null() && data_bytes != 0 {
            return Err(crate::status::BAD_VALUE);
        }
        let thing = crate::handles::check(kind::Thing, thing)?;
        let status = crate::caller::output(&c, data.cast(), data_bytes, |data: Buffer<'_>, data_reply: &mut [u8]| send::thingRead(&c, data, data_reply, thing));
        if status != 0 {
            return Err(status);
        }
        Ok(())
    })
}

/// Adds up numbers; `both` and `weights` have one length.
///
/// # Safety
/// Pointers are as the API asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sum(both: *const u32, weights: *const u32, count: u32, total: *mut u64) -> Code {
    crate::caller::guard_named("sum", || {
        let c = crate::caller::enter_context()?;
        if total.is_null() {
            return Err(crate::status::BAD_VALUE);
        }
        let both_bytes = usize::try_from(count).ok().and_then(|n| n.checked_mul(4)).ok_or(crate::status::BAD_VALUE)?;
        if both.is_null() && both_bytes != 0 {
            return Err(crate::status::BAD_VALUE);
        }
        let weights_bytes = usize::try_from(count).ok().and_then(|n| n.checked_mul(4)).ok_or(crate::status::BAD_VALUE)?;
        if weights.is_null() && weights_bytes != 0 {
            return Err(crate::status::BAD_VALUE);
        }
        let mut total_value = 0u64;
        let status = crate::caller::input(&c, both.cast(), both_bytes, |both: Buffer<'_>| crate::caller::input(&c, weights.cast(), weights_bytes, |weights: Buffer<'_>| send::sum(&c, both, weights, &mut total_value)));
        if status != 0 {
            return Err(status);
        }
        // SAFETY: not null; the caller says that it points to such a value.
        unsafe { total.write_unaligned(total_value) };
        Ok(())
    })
}

/// Not supported: says so once cuInit was called, and is counted by name.
#[unsafe(no_mangle)]
pub extern "C" fn thingNever() -> i32 {
    crate::counts::stub("thingNever")
}

/// Exports that are written by hand elsewhere in this library.
mod by_hand {
    unsafe extern "C" {
        pub fn thingCount();
    }
}

const fn symbol(function: *const ()) -> unsafe extern "C" fn() {
    // SAFETY: only functions of this library are handed in; who calls one casts it to its own type first.
    unsafe { core::mem::transmute::<*const (), unsafe extern "C" fn()>(function) }
}

/// Exports that only say that they are not supported.
pub static STUBS: &[&str] = &[
    "thingNever",
];

/// Every exported function by name, sorted.
pub static EXPORTS: &[(&str, unsafe extern "C" fn())] = &[
    ("fill", symbol(fill as *const ())),
    ("fillAsync", symbol(fillAsync as *const ())),
    ("fillAsync_ptsz", symbol(fillAsync_ptsz as *const ())),
    ("fill_ptds", symbol(fill_ptds as *const ())),
    ("sum", symbol(sum as *const ())),
    ("thingCount", symbol(by_hand::thingCount as *const ())),
    ("thingCreate", symbol(thingCreate as *const ())),
    ("thingDestroy", symbol(thingDestroy as *const ())),
    ("thingFind", symbol(thingFind as *const ())),
    ("thingFindOld", symbol(thingFindOld as *const ())),
    ("thingNever", symbol(thingNever as *const ())),
    ("thingRead", symbol(thingRead as *const ())),
    ("thingSize", symbol(thingSize as *const ())),
    ("thingWrite", symbol(thingWrite as *const ())),
    ("version", symbol(version as *const ())),
];
