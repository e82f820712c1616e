// Printed by spec-gen; the source is spec/api.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Reader, Writer};

/// The API's status.
pub type Code = i32;

pub const BAD_VALUE: i32 = 1;
pub const BAD_HANDLE: i32 = 2;
pub const ERROR_GONE: i32 = 3;
/// A number that both sides name.
pub const FLAG_FAST: u32 = 4;

/// An address on the device.
pub type Address = u64;

/// The kinds of handles, by the name of the C type.
pub mod kind {
    use super::Kind;
    pub const Thing: Kind = Kind { number: 1, name: "Thing", error: super::BAD_HANDLE, plain_up_to: None, in_context: true };
    /// 1 is the first queue of all.
    pub const Queue: Kind = Kind { number: 2, name: "Queue", error: super::BAD_HANDLE, plain_up_to: Some(1), in_context: false };
}

/// Largest number of a kind.
pub const MAX_KIND: u8 = 2;

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

/// The functions of the host's library, as far as it has them.
#[derive(Clone, Copy)]
pub struct Library {
    /// `fill`.
    pub fill: Option<unsafe extern "C" fn(Address, u32, usize) -> Code>,
    /// `fillAsync`.
    pub fillAsync: Option<unsafe extern "C" fn(Address, u32, usize, *mut c_void) -> Code>,
    /// `helper` or `helperOld`.
    pub helper: Option<unsafe extern "C" fn(*mut *const c_char, *const Size, *mut c_void, *mut *mut c_void) -> Code>,
    /// `helperEnd`.
    pub helperEnd: Option<unsafe extern "C" fn(*mut c_void)>,
    /// `helperThing`.
    pub helperThing: Option<unsafe extern "C" fn(usize) -> *mut c_void>,
    /// `sum`.
    pub sum: Option<unsafe extern "C" fn(*const c_void, *const c_void, u32, *mut u64) -> Code>,
    /// `thingCreate`.
    pub thingCreate: Option<unsafe extern "C" fn(*mut *mut c_void, *const Size) -> Code>,
    /// `thingDestroy`.
    pub thingDestroy: Option<unsafe extern "C" fn(*mut c_void) -> Code>,
    /// `thingFind` or `thingFindOld`.
    pub thingFind: Option<unsafe extern "C" fn(*mut *mut c_void, *mut c_void, *const c_char) -> Code>,
    /// `thingJoin`.
    pub thingJoin: Option<unsafe extern "C" fn(u32, *const *mut c_void, usize, *mut *mut c_void, *mut Code) -> *mut c_void>,
    /// `thingRead`.
    pub thingRead: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> Code>,
    /// `thingSize`.
    pub thingSize: Option<unsafe extern "C" fn(*mut c_void, *mut Size) -> Code>,
    /// `thingWrite`.
    pub thingWrite: Option<unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> Code>,
    /// `version`.
    pub version: Option<unsafe extern "C" fn(*mut i32, *mut f32) -> Code>,
}

impl Library {
    /// Looks every function up by name.
    ///
    /// # Safety
    /// What `find` returns for a name is the function of that name in the API that the spec describes, and stays loaded.
    pub unsafe fn find(find: impl Fn(&CStr) -> Option<NonNull<c_void>>) -> Library {
        Library {
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            fill: find(c"fill").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(Address, u32, usize) -> Code>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            fillAsync: find(c"fillAsync").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(Address, u32, usize, *mut c_void) -> Code>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            helper: find(c"helper").or_else(|| find(c"helperOld")).map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut *const c_char, *const Size, *mut c_void, *mut *mut c_void) -> Code>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            helperEnd: find(c"helperEnd").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut c_void)>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            helperThing: find(c"helperThing").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(usize) -> *mut c_void>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            sum: find(c"sum").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*const c_void, *const c_void, u32, *mut u64) -> Code>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            thingCreate: find(c"thingCreate").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut *mut c_void, *const Size) -> Code>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            thingDestroy: find(c"thingDestroy").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut c_void) -> Code>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            thingFind: find(c"thingFind").or_else(|| find(c"thingFindOld")).map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut *mut c_void, *mut c_void, *const c_char) -> Code>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            thingJoin: find(c"thingJoin").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(u32, *const *mut c_void, usize, *mut *mut c_void, *mut Code) -> *mut c_void>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            thingRead: find(c"thingRead").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> Code>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            thingSize: find(c"thingSize").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut c_void, *mut Size) -> Code>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            thingWrite: find(c"thingWrite").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> Code>(f) }),
            // SAFETY: the caller says that this is the function, and the spec has its prototype.
            version: find(c"version").map(|f| unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut i32, *mut f32) -> Code>(f) }),
        }
    }
}

/// Name of a call, for the log.
pub const fn name(call: u16) -> Option<&'static str> {
    Some(match call {
        1 => "version",
        2 => "thingCreate",
        3 => "thingFind",
        4 => "thingDestroy",
        6 => "thingJoin",
        5 => "thingSize",
        10 => "fill",
        11 => "fillAsync",
        12 => "thingWrite",
        13 => "thingRead",
        14 => "sum",
        20 => "gpuferryAsk",
        _ => return None,
    })
}

/// Whether a call may sleep in the library, and so runs on a thread of its own.
pub const fn blocks(call: u16) -> bool {
    matches!(call, 12)
}

/// Carries out one call.
///
/// # Errors
/// [`Malformed`] for a message that no guest library sends; it ends the session.
pub fn dispatch(session: &Session, from: &FrameHeader, payload: &[u8], reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let r = &mut Reader::new(payload);
    match from.call {
        1 => version(session, from, r, reply),
        2 => thingCreate(session, from, r, reply),
        3 => thingFind(session, from, r, reply),
        4 => thingDestroy(session, from, r, reply),
        6 => thingJoin(session, from, r, reply),
        5 => thingSize(session, from, r, reply),
        10 => fill(session, from, r, reply),
        11 => fillAsync(session, from, r, reply),
        12 => thingWrite(session, from, r, reply),
        13 => thingRead(session, from, r, reply),
        14 => sum(session, from, r, reply),
        20 => gpuferryAsk(session, from, r, reply),
        _ => Err(Malformed::new("a call of an unknown number")),
    }
}

/// Version of the library.
fn version(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    r.clone().end()?;
    waits(from)?;
    let mut number = 0i32;
    let mut ratio = 0.0;
    let status = answer(|| {
        let call = session.library.version.ok_or_else(|| session.missing("version"))?;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        ok(unsafe { call(&raw mut number, &raw mut ratio) })?;
        Ok(())
    })?;
    session.finish(from, status, reply, |w| {
        if status == 0 {
            w.u32(number as u32)?;
            w.u32(f32::to_bits(ratio))?;
        }
        Ok(())
    })
}

/// Makes a thing.
fn thingCreate(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let thing = Handle(r.u64()?);
    let size = Size::read(r)?;
    r.clone().end()?;
    posted(from)?;
    session.objects.vacant(kind::Thing, thing)?;
    let mut thing_made: *mut c_void = core::ptr::null_mut();
    let status = answer(|| {
        session.enter(from)?;
        let call = session.library.thingCreate.ok_or_else(|| session.missing("thingCreate"))?;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        ok(unsafe { call(&raw mut thing_made, &raw const size) })?;
        Ok(())
    })?;
    session.made(from, kind::Thing, thing, Handle::NULL, status, thing_made)?;
    session.finish(from, status, reply, |_| Ok(()))
}

/// A part of a thing, by name.
fn thingFind(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let part = Handle(r.u64()?);
    let thing = Handle(r.u64()?);
    let name = text(r.run()?)?;
    r.clone().end()?;
    waits(from)?;
    session.objects.vacant(kind::Thing, part)?;
    let mut part_made: *mut c_void = core::ptr::null_mut();
    let status = answer(|| {
        session.enter(from)?;
        let thing = session.handle(kind::Thing, thing)?;
        let call = session.library.thingFind.ok_or_else(|| session.missing("thingFind"))?;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        ok(unsafe { call(&raw mut part_made, thing, name.as_ptr()) })?;
        Ok(())
    })?;
    session.made(from, kind::Thing, part, thing, status, part_made)?;
    session.finish(from, status, reply, |_| Ok(()))
}

/// Ends a thing.
fn thingDestroy(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let thing = Handle(r.u64()?);
    r.clone().end()?;
    posted(from)?;
    let status = answer(|| {
        session.enter(from)?;
        let thing = session.handle(kind::Thing, thing)?;
        let call = session.library.thingDestroy.ok_or_else(|| session.missing("thingDestroy"))?;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        ok(unsafe { call(thing) })?;
        Ok(())
    })?;
    session.ended(from, kind::Thing, thing, status);
    session.finish(from, status, reply, |_| Ok(()))
}

/// Makes a thing out of others, which the library returns, and a queue that not everyone wants.
fn thingJoin(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let joined = Handle(r.u64()?);
    let things = handle_list(r.run()?)?;
    let count = list_length::<u32>(&things)?;
    let bytes = r.u64()? as usize;
    let queue = Handle(r.u64()?);
    r.clone().end()?;
    session.objects.vacant(kind::Thing, joined)?;
    let mut joined_made: *mut c_void = core::ptr::null_mut();
    if !queue.is_null() {
        session.objects.vacant(kind::Queue, queue)?;
    }
    let mut queue_made: *mut c_void = core::ptr::null_mut();
    let status = answer(|| {
        session.enter(from)?;
        let things = session.handles(kind::Thing, &things)?;
        let call = session.library.thingJoin.ok_or_else(|| session.missing("thingJoin"))?;
        let mut errcode = 0;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        joined_made = unsafe { call(count, if things.is_empty() { core::ptr::null() } else { things.as_ptr() }, bytes, if queue.is_null() { core::ptr::null_mut() } else { &raw mut queue_made }, &raw mut errcode) };
        ok(errcode)?;
        Ok(())
    })?;
    session.made(from, kind::Thing, joined, Handle::NULL, status, joined_made)?;
    if !queue.is_null() {
        session.made(from, kind::Queue, queue, Handle::NULL, status, queue_made)?;
    }
    session.finish(from, status, reply, |_| Ok(()))
}

/// What size a thing has.
fn thingSize(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let thing = Handle(r.u64()?);
    r.clone().end()?;
    waits(from)?;
    let mut size = Size::default();
    let status = answer(|| {
        session.enter(from)?;
        let thing = session.handle(kind::Thing, thing)?;
        let call = session.library.thingSize.ok_or_else(|| session.missing("thingSize"))?;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        ok(unsafe { call(thing, &raw mut size) })?;
        Ok(())
    })?;
    session.finish(from, status, reply, |w| {
        if status == 0 {
            size.write(w)?;
        }
        Ok(())
    })
}

/// Fills memory.
fn fill(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let address = r.u64()?;
    let value = r.u32()?;
    let count = r.u64()? as usize;
    r.clone().end()?;
    posted(from)?;
    let status = answer(|| {
        session.enter(from)?;
        session.device(address, Some(count as u64).zip(Some(4u64)).and_then(|(a, b)| a.checked_mul(b)))?;
        let call = session.library.fill.ok_or_else(|| session.missing("fill"))?;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        ok(unsafe { call(address, value, count) })?;
        Ok(())
    })?;
    session.finish(from, status, reply, |_| Ok(()))
}

/// Fills memory in a queue.
fn fillAsync(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let address = r.u64()?;
    let value = r.u32()?;
    let count = r.u64()? as usize;
    let queue = Handle(r.u64()?);
    r.clone().end()?;
    posted(from)?;
    let status = answer(|| {
        session.enter(from)?;
        session.device(address, Some(count as u64).zip(Some(4u64)).and_then(|(a, b)| a.checked_mul(b)))?;
        let queue = session.handle(kind::Queue, queue)?;
        let call = session.library.fillAsync.ok_or_else(|| session.missing("fillAsync"))?;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        ok(unsafe { call(address, value, count, queue) })?;
        Ok(())
    })?;
    session.finish(from, status, reply, |_| Ok(()))
}

/// Writes bytes to a thing.
fn thingWrite(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let thing = Handle(r.u64()?);
    let data = r.buffer()?;
    let bytes = elements::<usize>(&data, 1)?;
    r.clone().end()?;
    waits(from)?;
    let status = answer(|| {
        session.enter(from)?;
        let thing = session.handle(kind::Thing, thing)?;
        let data = session.input(data)?;
        let call = session.library.thingWrite.ok_or_else(|| session.missing("thingWrite"))?;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        ok(unsafe { call(thing, data.pointer(), bytes) })?;
        Ok(())
    })?;
    session.finish(from, status, reply, |_| Ok(()))
}

/// Reads bytes from a thing.
fn thingRead(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let data = r.buffer()?;
    let bytes = elements::<usize>(&data, 1)?;
    let thing = Handle(r.u64()?);
    r.clone().end()?;
    waits(from)?;
    let mut data_reply = reply_bytes(&data)?;
    let status = answer(|| {
        session.enter(from)?;
        let thing = session.handle(kind::Thing, thing)?;
        let mut data = session.output(data, &mut data_reply)?;
        let call = session.library.thingRead.ok_or_else(|| session.missing("thingRead"))?;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        ok(unsafe { call(data.pointer(), thing, bytes) })?;
        data.finish();
        Ok(())
    })?;
    session.finish(from, status, reply, |w| {
        if status == 0 {
            if let Buffer::Reply { .. } = data {
                w.raw(&data_reply)?;
            }
        }
        Ok(())
    })
}

/// Adds up numbers; `both` and `weights` have one length.
fn sum(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let both = r.buffer()?;
    let count = elements::<u32>(&both, 4)?;
    let weights = r.buffer()?;
    same_length(elements::<u32>(&weights, 4)?, count)?;
    r.clone().end()?;
    waits(from)?;
    let mut total = 0u64;
    let status = answer(|| {
        session.enter(from)?;
        let both = session.private(both)?;
        let weights = session.private(weights)?;
        let call = session.library.sum.ok_or_else(|| session.missing("sum"))?;
        // SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.
        ok(unsafe { call(both.pointer(), weights.pointer(), count, &raw mut total) })?;
        Ok(())
    })?;
    session.finish(from, status, reply, |w| {
        if status == 0 {
            w.u64(total)?;
        }
        Ok(())
    })
}

/// Anything else.
fn gpuferryAsk(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {
    let any = Handle(r.u64()?);
    let words = r.run()?;
    let block = r.u32()? as usize;
    let block = r.space(16, block)?;
    r.clone().end()?;
    waits(from)?;
    let mut told = Vec::new();
    let status = answer(|| {
        session.enter(from)?;
        session.gpuferryAsk(from, any, words, block, &mut told)
    })?;
    session.finish(from, status, reply, |w| {
        w.run(&told)?;
        Ok(())
    })
}

