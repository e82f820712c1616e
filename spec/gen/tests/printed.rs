//! The printed sample at work: its exported functions on one side, its dispatcher on the other, and between them nothing but the
//! bytes of a frame. What the two files need around them is made up here, as small as it can be.

// Stands in for two programs and a C library: what those promise each other is plain from the few lines that each takes.
#![allow(
    missing_docs,
    clippy::undocumented_unsafe_blocks,
    clippy::not_unsafe_ptr_arg_deref,
    clippy::new_without_default
)]

use std::sync::Mutex;

pub type Code = i32;

pub mod status {
    pub const BAD_VALUE: i32 = 1;
    pub const BAD_HANDLE: i32 = 2;
    pub const ERROR_GONE: i32 = 3;
}

/// What the host was asked to do, and the posted frames.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// One test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn log(what: String) {
    LOG.lock().expect("log").push(what);
}

fn logged() -> Vec<String> {
    std::mem::take(&mut *LOG.lock().expect("log"))
}

pub mod caller {
    use super::host;
    use wire::Malformed;
    use wire::frame::{FrameHeader, NO_SLOT};
    use wire::payload::{Buffer, Full, Reader, Writer};

    pub struct Link;
    #[derive(Debug)]
    pub struct Gone;
    pub struct Caller {
        pub session: Link,
        pub origin: (),
    }

    fn carry(
        call: u16,
        slot: u16,
        bytes: usize,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<(i32, Vec<u8>), Gone> {
        let mut frame = vec![0xEE; bytes];
        let mut writer = Writer::new(&mut frame);
        fill(&mut writer).expect("the bound of the payload is one");
        let filled = writer.len();
        let mut room = [0; 4032];
        let mut reply = host::Reply::new(&mut room);
        let from = FrameHeader { call, slot, ..FrameHeader::default() };
        host::printed::dispatch(&host::Session::new(), &from, &frame[..filled], &mut reply).map_err(|_| Gone)?;
        let (status, bytes) = reply.finish();
        Ok((status, room[..bytes].to_vec()))
    }

    impl Link {
        pub fn post(
            &self,
            call: u16,
            (): (),
            bytes: usize,
            fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
        ) -> Result<(), Gone> {
            carry(call, NO_SLOT, bytes, fill).map(|_| ())
        }

        pub fn wait<T>(
            &self,
            call: u16,
            (): (),
            bytes: usize,
            fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
            take: impl FnOnce(i32, &mut Reader<'_>) -> Result<T, Malformed>,
        ) -> Result<T, Gone> {
            let (status, reply) = carry(call, 0, bytes, fill)?;
            take(status, &mut Reader::new(&reply)).map_err(|_| Gone)
        }

        pub fn take_deferred(&self) -> i32 {
            0
        }
    }

    pub fn enter() -> Result<Caller, i32> {
        Ok(Caller { session: Link, origin: () })
    }

    pub fn enter_context() -> Result<Caller, i32> {
        enter()
    }

    pub fn guard_named(_name: &str, body: impl FnOnce() -> Result<(), i32>) -> i32 {
        body().err().unwrap_or(0)
    }

    pub fn input(_: &Caller, data: *const u8, bytes: usize, send: impl FnOnce(Buffer<'_>) -> i32) -> i32 {
        send(Buffer::Inline(unsafe { std::slice::from_raw_parts(data, bytes) }))
    }

    pub fn output(_: &Caller, data: *mut u8, bytes: usize, send: impl FnOnce(Buffer<'_>, &mut [u8]) -> i32) -> i32 {
        send(Buffer::Reply { bytes: bytes as u64 }, unsafe { std::slice::from_raw_parts_mut(data, bytes) })
    }
}

pub mod handles {
    use super::guest::Kind;
    use std::ffi::c_void;
    use wire::handle::Handle;

    pub fn check(kind: Kind, raw: *mut c_void) -> Result<Handle, i32> {
        let handle = Handle(raw as u64);
        let is_plain = kind.plain_up_to.is_some_and(|most| handle.0 <= most);
        if is_plain || handle.kind() == Some(kind.number) { Ok(handle) } else { Err(kind.error) }
    }

    pub fn per_thread(kind: Kind, raw: *mut c_void) -> Result<Handle, i32> {
        if raw.is_null() { Ok(Handle::new(kind.number, 1, 77)) } else { check(kind, raw) }
    }

    pub fn new(kind: Kind) -> Result<Handle, i32> {
        Ok(Handle::new(kind.number, 1, 5))
    }

    pub fn discard(handle: Handle) {
        super::log(format!("discard {}", handle.index()));
    }

    pub fn free(handle: Handle) {
        super::log(format!("free {}", handle.index()));
    }
}

pub mod ranges {
    pub fn check(_: &super::caller::Caller, address: u64, bytes: Option<u64>, aligned: u64) -> Result<(), i32> {
        if bytes.is_none() || !address.is_multiple_of(aligned) { Err(super::status::BAD_VALUE) } else { Ok(()) }
    }
}

pub mod counts {
    pub fn stub(name: &'static str) -> i32 {
        super::log(format!("unsupported {name}"));
        801
    }
}

/// An export by hand.
#[unsafe(no_mangle)]
pub extern "C" fn thingCount() -> i32 {
    0
}

pub mod guest {
    #![allow(
        dead_code,
        non_camel_case_types,
        non_snake_case,
        non_upper_case_globals,
        unused_imports,
        unused_mut,
        clippy::all
    )]
    include!("golden/sample.guest.rs");
}

pub mod host {
    use std::ffi::c_void;
    use wire::Malformed;
    use wire::frame::FrameHeader;
    use wire::handle::Handle;
    use wire::payload::{Buffer, Full, Writer};

    pub struct Reply<'a> {
        writer: Writer<'a>,
        status: i32,
    }

    impl<'a> Reply<'a> {
        pub fn new(room: &'a mut [u8]) -> Reply<'a> {
            Reply { writer: Writer::new(room), status: 0 }
        }
        pub fn finish(self) -> (i32, usize) {
            (self.status, self.writer.len())
        }
    }

    #[derive(Clone, Copy)]
    pub struct Kind {
        pub number: u8,
        pub name: &'static str,
        pub error: i32,
        pub plain_up_to: Option<u64>,
        pub in_context: bool,
    }

    pub struct Objects;
    impl Objects {
        pub fn vacant(&self, kind: Kind, handle: Handle) -> Result<(), Malformed> {
            if handle.kind() == Some(kind.number) { Ok(()) } else { Err(Malformed::new("kind")) }
        }
    }

    /// Bytes as the library takes them.
    pub struct Area(Vec<u8>, Option<*mut u8>);
    impl Area {
        pub fn pointer(&self) -> *mut c_void {
            self.1.unwrap_or(self.0.as_ptr().cast_mut()).cast()
        }
        pub fn finish(self) {}
    }

    pub struct Session {
        pub objects: Objects,
        pub library: printed::Library,
    }

    type Done = Result<(), i32>;

    impl Session {
        pub fn new() -> Session {
            Session { objects: Objects, library: super::library() }
        }
        pub fn enter(&self, _: &FrameHeader) -> Done {
            Ok(())
        }
        pub fn handle(&self, kind: Kind, handle: Handle) -> Result<*mut c_void, i32> {
            let is_plain = kind.plain_up_to.is_some_and(|most| handle.0 <= most);
            let is_one = is_plain || handle.kind() == Some(kind.number);
            if is_one { Ok(handle.index() as usize as *mut c_void) } else { Err(kind.error) }
        }
        pub fn handles(&self, kind: Kind, handles: &[Handle]) -> Result<Vec<*mut c_void>, i32> {
            handles.iter().map(|handle| self.handle(kind, *handle)).collect()
        }
        pub fn device(&self, _: u64, bytes: Option<u64>) -> Done {
            bytes.map(|_| ()).ok_or(1)
        }
        pub fn missing(&self, _: &str) -> i32 {
            801
        }
        pub fn input(&self, buffer: Buffer<'_>) -> Result<Area, i32> {
            let Buffer::Inline(data) = buffer else { return Err(1) };
            Ok(Area(data.to_vec(), None))
        }
        pub fn private(&self, buffer: Buffer<'_>) -> Result<Area, i32> {
            self.input(buffer)
        }
        pub fn output(&self, _: Buffer<'_>, reply: &mut [u8]) -> Result<Area, i32> {
            Ok(Area(vec![], Some(reply.as_mut_ptr())))
        }
        pub fn made(
            &self,
            _: &FrameHeader,
            kind: Kind,
            handle: Handle,
            parent: Handle,
            status: i32,
            made: *mut c_void,
        ) -> Result<(), Malformed> {
            let (index, parent, made) = (handle.index(), parent.index(), made.addr());
            super::log(format!("made {} {index} in {parent}: {status} {made}", kind.name));
            Ok(())
        }
        pub fn ended(&self, _: &FrameHeader, kind: Kind, handle: Handle, status: i32) {
            super::log(format!("ended {} {}: {status}", kind.name, handle.index()));
        }
        pub fn finish(
            &self,
            _: &FrameHeader,
            status: i32,
            reply: &mut Reply<'_>,
            fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
        ) -> Result<(), Malformed> {
            reply.status = status;
            fill(&mut reply.writer).map_err(|_| Malformed::new("reply"))
        }
        #[allow(non_snake_case)]
        pub fn gpuferryAsk(
            &self,
            _: &FrameHeader,
            any: Handle,
            words: &[u8],
            block: &[u8],
            answer: &mut Vec<u8>,
        ) -> Done {
            answer.extend_from_slice(words);
            answer.extend_from_slice(block);
            Err(any.index() as i32)
        }
    }

    pub mod printed {
        #![allow(
            dead_code,
            non_camel_case_types,
            non_snake_case,
            non_upper_case_globals,
            unused_variables,
            unused_mut,
            clippy::all
        )]
        use super::{Kind, Reply, Session};
        use std::ffi::CString;

        fn answer(forward: impl FnOnce() -> Result<(), i32>) -> Result<i32, Malformed> {
            Ok(forward().err().unwrap_or(0))
        }
        fn waits(from: &FrameHeader) -> Result<(), Malformed> {
            if from.slot == 0 { Ok(()) } else { Err(Malformed::new("slot")) }
        }
        fn posted(from: &FrameHeader) -> Result<(), Malformed> {
            if from.slot == 0 { Err(Malformed::new("slot")) } else { Ok(()) }
        }
        fn ok(status: i32) -> Result<(), i32> {
            if status == 0 { Ok(()) } else { Err(status) }
        }
        fn text(run: &[u8]) -> Result<CString, Malformed> {
            CString::new(run).map_err(|_| Malformed::new("text"))
        }
        fn handle_list(run: &[u8]) -> Result<Vec<Handle>, Malformed> {
            let one = |bytes: &[u8]| Some(Handle(u64::from_le_bytes(bytes.try_into().ok()?)));
            run.chunks(8).map(one).collect::<Option<_>>().ok_or(Malformed::new("list"))
        }
        fn list_length<T: TryFrom<usize>>(list: &[Handle]) -> Result<T, Malformed> {
            T::try_from(list.len()).map_err(|_| Malformed::new("list"))
        }
        fn elements<T: TryFrom<u64>>(buffer: &Buffer<'_>, each: u64) -> Result<T, Malformed> {
            T::try_from(buffer.bytes() / each).map_err(|_| Malformed::new("count"))
        }
        fn same_length<T: PartialEq>(this: T, that: T) -> Result<(), Malformed> {
            if this == that { Ok(()) } else { Err(Malformed::new("lengths")) }
        }
        fn reply_bytes(buffer: &Buffer<'_>) -> Result<Vec<u8>, Malformed> {
            Ok(vec![0; buffer.bytes() as usize])
        }
        include!("golden/sample.host.rs");
    }
}

/// The library that the host calls.
fn library() -> host::printed::Library {
    use host::printed::Size;
    use std::ffi::{CStr, c_char, c_void};
    use std::ptr::NonNull;
    extern "C" fn version(number: *mut i32, ratio: *mut f32) -> i32 {
        unsafe { (*number, *ratio) = (42, 0.5) };
        0
    }
    extern "C" fn create(thing: *mut *mut c_void, size: *const Size) -> i32 {
        let size = unsafe { *size };
        log(format!("create {} {:?} {}", size.width, size.pairs, size.depth));
        unsafe { *thing = 9 as *mut c_void };
        if size.depth == 0 { 6 } else { 0 }
    }
    extern "C" fn find(part: *mut *mut c_void, thing: *mut c_void, name: *const c_char) -> i32 {
        log(format!("find {} {}", thing.addr(), unsafe { CStr::from_ptr(name) }.to_string_lossy()));
        unsafe { *part = 10 as *mut c_void };
        0
    }
    extern "C" fn destroy(thing: *mut c_void) -> i32 {
        log(format!("destroy {}", thing.addr()));
        0
    }
    extern "C" fn join(
        count: u32,
        things: *const *mut c_void,
        bytes: usize,
        queue: *mut *mut c_void,
        code: *mut i32,
    ) -> *mut c_void {
        let things = (0..count as usize).map(|i| unsafe { things.add(i).read() }.addr()).collect::<Vec<_>>();
        log(format!("join {things:?} {bytes}{}", if queue.is_null() { "" } else { " with a queue" }));
        unsafe { *code = if count == 0 { 7 } else { 0 } };
        11 as *mut c_void
    }
    extern "C" fn size_of(_: *mut c_void, size: *mut Size) -> i32 {
        unsafe { *size = Size { width: 1, pairs: [2, 3], depth: 4 } };
        0
    }
    extern "C" fn fill_async(address: u64, value: u32, count: usize, queue: *mut c_void) -> i32 {
        log(format!("fill {address} {value} {count} in {}", queue.addr()));
        0
    }
    extern "C" fn write(_: *mut c_void, data: *const c_void, bytes: usize) -> i32 {
        log(format!("write {:?}", unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) }));
        0
    }
    extern "C" fn read(data: *mut c_void, _: *mut c_void, bytes: usize) -> i32 {
        unsafe { std::slice::from_raw_parts_mut(data.cast::<u8>(), bytes) }.fill(8);
        0
    }
    extern "C" fn sum(both: *const c_void, weights: *const c_void, count: u32, total: *mut u64) -> i32 {
        let at = |data: *const c_void, i| u64::from(unsafe { data.cast::<u32>().add(i).read_unaligned() });
        unsafe { *total = (0..count as usize).map(|i| at(both, i) * at(weights, i)).sum() };
        0
    }
    let find_symbol = |name: &CStr| {
        let function = match name.to_bytes() {
            b"version" => version as *mut c_void,
            b"thingCreate" => create as *mut c_void,
            b"thingFindOld" => find as *mut c_void,
            b"thingJoin" => join as *mut c_void,
            b"thingDestroy" => destroy as *mut c_void,
            b"thingSize" => size_of as *mut c_void,
            b"fillAsync" => fill_async as *mut c_void,
            b"thingWrite" => write as *mut c_void,
            b"thingRead" => read as *mut c_void,
            b"sum" => sum as *mut c_void,
            _ => std::ptr::null_mut(),
        };
        NonNull::new(function)
    };
    unsafe { host::printed::Library::find(find_symbol) }
}

fn thing(index: u32) -> *mut std::ffi::c_void {
    wire::handle::Handle::new(1, 1, index).0 as *mut std::ffi::c_void
}

#[test]
fn values_when_asked_for_then_come_back() {
    let _turn = TURN.lock().expect("turn");
    let (mut number, mut ratio) = (0, 0.0);
    assert_eq!(unsafe { guest::version(&raw mut number, &raw mut ratio) }, 0);
    assert_eq!((number, ratio), (42, 0.5));
    assert_eq!(unsafe { guest::version(&raw mut number, std::ptr::null_mut()) }, 0, "an optional output");
    assert_eq!(unsafe { guest::version(std::ptr::null_mut(), std::ptr::null_mut()) }, status::BAD_VALUE);
    let mut size = guest::Size::default();
    assert_eq!(unsafe { guest::thingSize(thing(3), &raw mut size) }, 0);
    assert_eq!((size.width, size.pairs, size.depth), (1, [2, 3], 4));
    let (both, weights, mut total) = ([1u32, 2, 3], [10u32, 100, 1000], 0);
    assert_eq!(unsafe { guest::sum(both.as_ptr(), weights.as_ptr(), 3, &raw mut total) }, 0);
    assert_eq!(total, 3210);
}

#[test]
fn objects_when_made_and_ended_then_both_sides_know() {
    let _turn = TURN.lock().expect("turn");
    logged();
    let mut made = std::ptr::null_mut();
    let size = guest::Size { width: 7, pairs: [8, 9], depth: 0 };
    assert_eq!(unsafe { guest::thingCreate(&raw mut made, &raw const size) }, 0, "posted: the failure comes later");
    assert_eq!(made, thing(5));
    assert_eq!(logged(), ["create 7 [8, 9] 0", "made Thing 5 in 0: 6 9"]);
    let mut part = std::ptr::null_mut();
    assert_eq!(unsafe { guest::thingFindOld(&raw mut part, thing(3), c"wheel".as_ptr()) }, 0);
    assert_eq!(logged(), ["find 3 wheel", "made Thing 5 in 3: 0 10"]);
    assert_eq!(unsafe { guest::thingDestroy(thing(3)) }, 0);
    assert_eq!(logged(), ["destroy 3", "ended Thing 3: 0", "free 3"]);
    assert_eq!(unsafe { guest::thingDestroy(std::ptr::null_mut()) }, status::BAD_HANDLE);
    assert_eq!(unsafe { guest::thingFind(&raw mut part, 64 as *mut _, c"".as_ptr()) }, status::BAD_HANDLE);
    assert!(logged().is_empty(), "refused in the guest");
}

#[test]
fn lists_and_objects_that_are_returned_when_sent_either_way_then_arrive() {
    let _turn = TURN.lock().expect("turn");
    logged();
    let c = caller::enter().expect("session");
    let handle = |index| wire::handle::Handle::new(1, 1, index);
    let join = |waits, things: &[_], queue| guest::send::thingJoin(&c, waits, handle(5), things, 9, queue);
    assert_eq!(join(true, &[handle(2), handle(3)], wire::handle::Handle::NULL), 0);
    assert_eq!(logged(), ["join [2, 3] 9", "made Thing 5 in 0: 0 11"]);
    assert_eq!(join(true, &[], wire::handle::Handle::NULL), 7, "the library's answer");
    assert_eq!(join(false, &[], wire::handle::Handle::new(2, 1, 6)), 0, "posted");
    let made = ["join [] 9", "made Thing 5 in 0: 7 11"];
    let queue = ["join [] 9 with a queue", "made Thing 5 in 0: 7 11", "made Queue 6 in 0: 7 0"];
    assert_eq!(logged(), [&made[..], &queue[..]].concat());
    assert_eq!(join(true, &[wire::handle::Handle(64)], wire::handle::Handle::NULL), status::BAD_HANDLE);
}

#[test]
fn bytes_when_sent_and_asked_for_then_arrive() {
    let _turn = TURN.lock().expect("turn");
    logged();
    assert_eq!(unsafe { guest::thingWrite(thing(1), [1u8, 2].as_ptr().cast(), 2) }, 0);
    assert_eq!(logged(), ["write [1, 2]"]);
    let mut data = [0u8; 4032];
    assert_eq!(unsafe { guest::thingRead(data.as_mut_ptr().cast(), thing(1), data.len()) }, 0, "a whole reply");
    assert_eq!(data, [8; 4032]);
    assert_eq!(unsafe { guest::thingRead(std::ptr::null_mut(), thing(1), 1) }, status::BAD_VALUE);
    let c = caller::enter().expect("session");
    let mut answer = Vec::new();
    assert_eq!(guest::send::gpuferryAsk(&c, wire::handle::Handle(5), b"abc", b"defg", &mut answer), 5);
    assert_eq!(answer, b"abcdefg", "always: also with an error");
}

#[test]
fn streams_when_of_the_thread_then_are_named_by_the_variant() {
    let _turn = TURN.lock().expect("turn");
    logged();
    let null = std::ptr::null_mut();
    unsafe {
        assert_eq!(guest::fillAsync(64, 7, 2, null), 0);
        assert_eq!(guest::fillAsync_ptsz(64, 7, 2, null), 0);
        assert_eq!(guest::fill_ptds(64, 7, 2), 0);
        assert_eq!(guest::fillAsync(65, 7, 2, null), status::BAD_VALUE, "not aligned");
        assert_eq!(guest::fillAsync(64, 7, usize::MAX, null), status::BAD_VALUE, "overflow");
    }
    assert_eq!(logged(), ["fill 64 7 2 in 0", "fill 64 7 2 in 77", "fill 64 7 2 in 77"]);
}

#[test]
fn exports_when_nobody_serves_them_then_say_so() {
    let _turn = TURN.lock().expect("turn");
    logged();
    assert_eq!(guest::STUBS, ["thingNever"]);
    assert_eq!(guest::thingNever(), 801);
    assert_eq!(logged(), ["unsupported thingNever"]);
    assert_eq!(guest::EXPORTS.len(), 15);
    assert!(guest::EXPORTS.is_sorted_by_key(|(name, _)| *name));
}

#[test]
fn messages_when_cut_or_too_long_then_are_malformed() {
    let _turn = TURN.lock().expect("turn");
    let session = host::Session::new();
    let whole: [(u16, u16, &[u8]); 4] =
        [(4, 0xffff, &[0; 8]), (11, 0xffff, &[0; 32]), (2, 0xffff, &[0; 24]), (5, 0, &[0; 8])];
    for (call, slot, payload) in whole {
        let from = wire::frame::FrameHeader { call, slot, ..Default::default() };
        let mut room = [0; 4032];
        let mut send =
            |payload: &[u8]| host::printed::dispatch(&session, &from, payload, &mut host::Reply::new(&mut room));
        for cut in 0..payload.len() {
            assert!(send(&payload[..cut]).is_err(), "call {call} cut to {cut}");
        }
        assert!(send(&[payload, &[0; 8]].concat()).is_err(), "call {call} with more");
    }
    let unknown = wire::frame::FrameHeader { call: 999, ..Default::default() };
    assert!(host::printed::dispatch(&session, &unknown, &[], &mut host::Reply::new(&mut [0; 64])).is_err());
}
