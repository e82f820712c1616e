//! Wild handles and lying lengths, for every message of a spec: made from the spec when the tests run, so that a call that is added
//! there is tried with no test of its own. The library records calls and does nothing: what must not reach it is seen.
//!
//! [`handles`] and [`buffers`] are called by the tests of each API ([`super::cuda`]).

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spec_gen::Spec;
use spec_gen::model::{Call, Element, Number, Role};
use wire::Malformed;
use wire::frame::{FrameHeader, NO_SLOT};
use wire::handle::{Handle, MAX_INDEX};
use wire::payload::{Buffer, Full, Writer};
use wire::slot::MAX_REPLY_BYTES;
use wire::window::{STAGING_BYTES_LOCAL, STAGING_OFFSET, WINDOW_BYTES_LOCAL};

use super::objects::{Kind, Objects, Owners};
use super::{Api, Reply, Session, played};

/// Calls of the recording library, of all APIs.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// They are counted: one test at a time, of whichever API.
static TURN: Mutex<()> = Mutex::new(());

/// Begins a test that counts calls.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every function of the recording library.
pub(super) extern "C" fn record() -> i32 {
    CALLS.fetch_add(1, Ordering::Relaxed);
    0
}

/// Device memory that the guest has, by the API's own means.
pub(super) const ADDRESS: u64 = 0x1000_0000;
/// Its length.
pub(super) const ADDRESS_BYTES: u64 = 64 << 20;

/// An API over the recording library, with [`ADDRESS`] in it.
pub(super) trait Tried: Api {
    /// Its objects.
    fn objects(&self) -> &Objects;
}

/// A session with the lease [`LEASE`].
pub(super) fn session() -> Arc<Session> {
    let session = played::session();
    played::lend(&session, LEASE, 0x7000_0000 + 96, LEASE_BYTES, &[2, 7, 4, 5]);
    session
}

const LEASE: u32 = 3;
/// Of pages that lie apart; a multiple of every element's size.
const LEASE_BYTES: u64 = 4 * 4096 - 96 - 32;
/// The live object of each kind.
const LIVE: (u16, u32) = (2, 5);
/// An object that was made and freed.
const FREED: (u16, u32) = (1, 6);
/// An object of another session.
const FOREIGN: (u16, u32) = (1, 7);

/// Reads the spec of an API.
pub(super) fn spec(api: &str) -> Spec {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/api").join(api).with_extension("rs");
    spec_gen::build::spec(&file).expect("a spec")
}

/// The kind, as the worker's tables know it.
fn kind_of(spec: &Spec, place: usize) -> Kind {
    let kind = &spec.kinds[place];
    let error = spec.constants.iter().find(|constant| constant.name == kind.error).expect("a status");
    Kind {
        number: kind.number,
        name: "of the spec",
        error: error.value.parse().expect("a number"),
        plain_up_to: kind.plain_up_to,
        in_context: kind.in_context,
    }
}

fn live(kind: Kind) -> Handle {
    Handle::new(kind.number, LIVE.0, LIVE.1)
}

/// What the library calls an object: an address of its own.
fn object(kind: Kind) -> *mut c_void {
    std::ptr::without_provenance_mut(0x7f12_3456_0000 + usize::from(kind.number) * 64)
}

/// Puts a live and a freed object of each kind into the tables.
fn furnish(spec: &Spec, objects: &Objects) {
    for place in 0..spec.kinds.len() {
        let kind = kind_of(spec, place);
        objects.insert(kind, live(kind), Owners::default(), Ok(object(kind))).expect("vacant");
        let freed = Handle::new(kind.number, FREED.0, FREED.1);
        objects.insert(kind, freed, Owners::default(), Ok(object(kind))).expect("vacant");
        objects.remove(kind, freed);
    }
}

/// Numbers that are no live object of the kind, each with its name.
fn wild(spec: &Spec, kind: Kind) -> Vec<(&'static str, u64)> {
    let of = |generation, index| Handle::new(kind.number, generation, index).0;
    let other = (0..spec.kinds.len()).map(|place| kind_of(spec, place)).find(|other| other.number != kind.number);
    let mut list = vec![
        ("null", 0),
        ("all ones", u64::MAX),
        ("stale", of(LIVE.0 - 1, LIVE.1)),
        ("generation plus one", of(LIVE.0 + 1, LIVE.1)),
        ("freed", of(FREED.0, FREED.1)),
        ("another session's", of(FOREIGN.0, FOREIGN.1)),
        ("index beyond the end", of(1, MAX_INDEX - 1)),
        ("the library's own pointer", object(kind).addr() as u64),
    ];
    list.extend(other.map(|other| ("wrong kind", live(other).0)));
    list
}

/// How an argument is filled that is not plain.
#[derive(Clone, Copy)]
enum Odd<'a> {
    /// A handle, or one of a list.
    Handle(u64),
    /// A buffer, whose bytes the payload may not hold.
    Buffer(Buffer<'a>),
    /// A buffer in the frame: its length as told, and its bytes.
    Inline(u32, &'a [u8]),
}

/// A payload whose argument `odd.0` is odd and whose others are sound.
fn payload(spec: &Spec, call: &Call, odd: (usize, Odd<'_>), numbers: &[(&str, &str, u32)]) -> Vec<u8> {
    let mut memory = vec![0; 65536];
    let mut writer = Writer::new(&mut memory);
    for place in 0..call.arguments.len() {
        let odd = (place == odd.0).then_some(odd.1);
        let name = &call.arguments[place].name;
        match numbers.iter().find(|(of, number, _)| *of == call.name && number == name) {
            Some((.., value)) => writer.u32(*value),
            None => argument(spec, call, place, odd, &mut writer),
        }
        .expect("room");
    }
    let bytes = writer.len();
    memory.truncate(bytes);
    memory
}

fn argument(spec: &Spec, call: &Call, place: usize, odd: Option<Odd<'_>>, w: &mut Writer<'_>) -> Result<(), Full> {
    match (&call.arguments[place].role, odd) {
        (Role::Handles { .. }, Some(Odd::Handle(wild))) => {
            w.u32(16)?;
            w.space(1, 16)?.copy_from_slice(&[wild.to_le_bytes(), wild.to_le_bytes()].concat());
            Ok(())
        }
        (_, Some(Odd::Handle(number))) => w.u64(number),
        (_, Some(Odd::Buffer(buffer))) => w.buffer(buffer),
        (_, Some(Odd::Inline(told, data))) => {
            w.u32(1)?;
            w.u32(told)?;
            w.raw(data)
        }
        (Role::Number { device: Some(_), .. }, _) => w.u64(ADDRESS),
        (Role::Number { number, .. }, _) => plain(*number, w),
        (Role::Struct(place), _) => fields(spec, *place, w),
        (Role::Handle { kind, .. }, _) => w.u64(live(kind_of(spec, *kind)).0),
        (Role::AnyHandle, _) => w.u64(0),
        (Role::New { kind, .. }, _) => w.u64(Handle::new(kind_of(spec, *kind).number, 1, 20).0),
        (Role::Input { .. } | Role::Output { .. }, _) => w.buffer(Buffer::Null),
        (Role::Run { align }, _) => {
            w.u32(0)?;
            w.space(*align, 0).map(|_| ())
        }
        (Role::Handles { .. }, _) => w.u32(0),
        (Role::Text, _) => w.run(b"name"),
        (Role::Length { .. } | Role::Out { .. } | Role::OutRun, _) => Ok(()),
    }
}

/// 1 where it may be a length, so that what is computed of lengths is none too large nor below zero.
fn plain(number: Number, w: &mut Writer<'_>) -> Result<(), Full> {
    match number.bytes() {
        1 => w.u8(0),
        2 => w.u16(0),
        4 => w.u32(0),
        _ => w.u64(1),
    }
}

fn fields(spec: &Spec, place: usize, w: &mut Writer<'_>) -> Result<(), Full> {
    for field in &spec.structs[place].fields {
        for _ in 0..field.count.unwrap_or(1) {
            match &field.element {
                Element::Number { number, .. } => plain(*number, w)?,
                Element::Struct(inner) => fields(spec, *inner, w)?,
            }
        }
    }
    Ok(())
}

/// What became of a message: the answer, bytes of its reply, and calls of the library.
struct Outcome {
    answer: Result<i32, Malformed>,
    reply: usize,
    calls: u64,
}

fn header(spec: &Spec, call: &Call) -> FrameHeader {
    FrameHeader {
        call: call.number,
        slot: if call.waits { 0 } else { NO_SLOT },
        context: if spec.no_context { 0 } else { LIVE.1 + 1 },
        context_generation: if spec.no_context { 0 } else { LIVE.0 },
        ..FrameHeader::default()
    }
}

fn send(spec: &Spec, call: &Call, api: &dyn Api, payload: &[u8]) -> Outcome {
    let from = header(spec, call);
    let mut memory = [0xee; MAX_REPLY_BYTES];
    let mut reply = Reply::new(&mut memory);
    let before = CALLS.load(Ordering::Relaxed);
    let answer = api.call(&from, payload, &mut reply);
    let calls = CALLS.load(Ordering::Relaxed) - before;
    let (status, bytes) = reply.finish();
    Outcome { answer: answer.map(|()| status), reply: bytes, calls }
}

/// Tries every handle argument of every call with every wild number: the answer is the kind's error, nothing comes back with
/// it, and the library is not called. A number for a new object that no guest library makes ends the session. Returns how
/// many were tried.
///
/// `exempt` names calls and arguments of any kind that may be any number; `numbers` calls and plain arguments that are not 0.
pub(super) fn handles<T: Tried>(
    spec: &Spec,
    fresh: impl Fn() -> T,
    exempt: &[(&str, &str)],
    numbers: &[(&str, &str, u32)],
) -> (usize, usize) {
    let (mut arguments, mut messages) = (0, 0);
    for call in &spec.calls {
        let api = fresh();
        furnish(spec, api.objects());
        let mut is_warm = false;
        for (place, argument) in call.arguments.iter().enumerate() {
            let (kinds, role): (Vec<Kind>, _) = match &argument.role {
                Role::Handle { kind, .. } | Role::Handles { kind, .. } => (vec![kind_of(spec, *kind)], "handle"),
                Role::New { kind, .. } => (vec![kind_of(spec, *kind)], "new"),
                Role::AnyHandle if exempt.contains(&(&call.name, &argument.name)) => continue,
                Role::AnyHandle => ((0..spec.kinds.len()).map(|place| kind_of(spec, place)).collect(), "any"),
                _ => continue,
            };
            arguments += 1;
            for kind in kinds {
                let mut all = wild(spec, kind);
                match role {
                    // In use, and one of an object that could be made: not this.
                    "new" => {
                        all.retain(|(_, number)| {
                            Handle(*number).kind() != Some(kind.number) || Handle(*number).index() == MAX_INDEX - 1
                        });
                        all.retain(|(_, number)| !is_optional(&argument.role, *number));
                        all.push(("in use", live(kind).0));
                    }
                    // What kind it must be is not in the spec; null may mean none.
                    "any" => all.retain(|(name, _)| !["null", "wrong kind"].contains(name)),
                    _ => all.retain(|(_, number)| kind.plain_up_to.is_none_or(|most| *number > most)),
                }
                for (name, number) in all {
                    let payload = payload(spec, call, (place, Odd::Handle(number)), numbers);
                    if !is_warm {
                        // The thread's context is set once.
                        send(spec, call, &api, &payload);
                        is_warm = true;
                    }
                    let outcome = send(spec, call, &api, &payload);
                    let what = format!("{}, `{}`: {name} ({number:#x})", call.name, argument.name);
                    assert_eq!(outcome.calls, 0, "{what}: the library was called");
                    match (role, outcome.answer) {
                        ("new", answer) => assert!(answer.is_err(), "{what}: {answer:?}"),
                        ("any", answer) => assert_ne!(answer, Ok(0), "{what}"),
                        (_, answer) => assert_eq!(answer, Ok(kind.error), "{what}"),
                    }
                    assert!(call.always || outcome.reply == 0, "{what}: {} bytes of a reply", outcome.reply);
                    messages += 1;
                }
            }
        }
    }
    (arguments, messages)
}

fn is_optional(role: &Role, number: u64) -> bool {
    number == 0 && matches!(role, Role::New { optional: true, .. })
}

/// Messages of each call in [`replies`].
const SHAPES: u64 = 60;

/// Sends messages of every call's shape, the same ones with other bytes in the reply's memory before: the same bytes come back, so
/// each of them was written, padding too; and none where the status says that there are none. Returns how many messages were
/// answered with success, and how many bytes came back. `left_out` are calls that sleep until something happens.
pub(super) fn replies<T: Tried>(spec: &Spec, fresh: impl Fn() -> T, left_out: &[&str]) -> (usize, usize) {
    let (mut answered, mut bytes) = (0, 0);
    for call in spec.calls.iter().filter(|call| !left_out.contains(&call.name.as_str())) {
        let all = |poison: u8| {
            let api = fresh();
            furnish(spec, api.objects());
            let mut random = Shape { seed: u64::from(call.number) << 32 | 1, next: 20 };
            let mut outcomes = Vec::new();
            for shape in 0..SHAPES {
                let payload = if shape == 0 { sound(spec, call) } else { shaped(spec, call, &mut random) };
                let mut memory = [poison; MAX_REPLY_BYTES];
                let mut reply = Reply::new(&mut memory);
                let answer = api.call(&header(spec, call), &payload, &mut reply);
                let (status, bytes) = reply.finish();
                let is_silent = call.always || status == 0 || bytes == 0;
                assert!(is_silent, "{}: {bytes} bytes beside status {status}", call.name);
                let kept = if answer.is_ok() { memory[..bytes].to_vec() } else { Vec::new() };
                outcomes.push((answer.map(|()| status), kept));
            }
            outcomes
        };
        let (first, second) = (all(0xa5), all(0x5a));
        for (one, other) in first.iter().zip(&second) {
            assert_eq!(one.1, other.1, "{}: bytes that nobody wrote", call.name);
        }
        answered += first.iter().filter(|(answer, _)| *answer == Ok(0)).count();
        bytes += first.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    (answered, bytes)
}

/// Numbers for messages of a call's shape, the same in every run.
struct Shape {
    seed: u64,
    /// Index of the next new object.
    next: u32,
}

impl Shape {
    fn below(&mut self, end: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 8) % end
    }

    fn one_of<U: Copy>(&mut self, of: &[U]) -> U {
        of[self.below(of.len() as u64) as usize]
    }

    /// A word that means something: small, an address of the guest's, or a live object.
    fn word(&mut self, spec: &Spec) -> u64 {
        match self.below(8) {
            0 => ADDRESS + self.below(4) * 4096,
            1 if !spec.kinds.is_empty() => {
                let place = self.below(spec.kinds.len() as u64) as usize;
                live(kind_of(spec, place)).0
            }
            2 => self.one_of(&[16, 64, 100, 256, 4096, STAGING_OFFSET as u64]),
            _ => self.below(6),
        }
    }
}

/// A payload in the call's shape, whose buffers are there and whose numbers mean something.
fn shaped(spec: &Spec, call: &Call, random: &mut Shape) -> Vec<u8> {
    let mut memory = vec![0; 65536];
    let mut writer = Writer::new(&mut memory);
    let elements = random.one_of(&[0, 1, 2, 4]);
    for argument in &call.arguments {
        shaped_argument(spec, &argument.role, elements, random, &mut writer).expect("room");
    }
    let bytes = writer.len();
    memory.truncate(bytes);
    memory
}

fn shaped_argument(
    spec: &Spec,
    role: &Role,
    elements: u64,
    random: &mut Shape,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let mut number = |number: Number, w: &mut Writer<'_>| {
        let word = random.word(spec);
        match number.bytes() {
            1 => w.u8(word as u8),
            2 => w.u16(word as u16),
            4 => w.u32(word as u32 % 64),
            _ => w.u64(word),
        }
    };
    match role {
        Role::Number { device: Some(_), .. } => w.u64(ADDRESS + random.below(4) * 256),
        Role::Number { name, .. } if name == "CUdeviceptr" => w.u64(ADDRESS + random.below(2) * 64),
        Role::Number { number: of, .. } => number(*of, w),
        Role::Struct(place) => shaped_fields(spec, *place, &mut number, w),
        Role::Handle { kind, .. } => w.u64(live(kind_of(spec, *kind)).0),
        Role::AnyHandle => {
            let place = random.below(spec.kinds.len() as u64 + 1) as usize;
            w.u64(if place == spec.kinds.len() { 0 } else { live(kind_of(spec, place)).0 })
        }
        Role::New { kind, .. } => {
            random.next += 1;
            w.u64(Handle::new(kind_of(spec, *kind).number, 1, random.next).0)
        }
        Role::Handles { kind, .. } => {
            w.u32(elements as u32 * 8)?;
            let of = live(kind_of(spec, *kind)).0.to_le_bytes();
            w.space(1, elements as usize * 8)?.chunks_exact_mut(8).for_each(|to| to.copy_from_slice(&of));
            Ok(())
        }
        Role::Input { element, .. } => {
            let bytes = elements * spec.measure(element).0 as u64;
            let data = vec![1; bytes as usize];
            let offset = STAGING_OFFSET as u64;
            let places = [
                Buffer::Inline(&data),
                Buffer::Staging { offset, bytes },
                Buffer::Lease { lease: LEASE, offset: 4000, bytes },
            ];
            w.buffer(random.one_of(&places))
        }
        Role::Output { element, .. } => {
            let bytes = elements * spec.measure(element).0 as u64;
            let offset = STAGING_OFFSET as u64;
            let places = [
                Buffer::Reply { bytes },
                Buffer::Staging { offset, bytes },
                Buffer::Lease { lease: LEASE, offset: 4000, bytes },
            ];
            w.buffer(random.one_of(&places))
        }
        Role::Run { align } => {
            let bytes = random.one_of(&[0usize, 8, 16, 24, 32, 48, 64, 72, 80, 128, 144]);
            w.u32(bytes as u32)?;
            for word in w.space(*align, bytes)?.chunks_exact_mut(8) {
                word.copy_from_slice(&random.word(spec).to_le_bytes());
            }
            Ok(())
        }
        Role::Text => w.run(random.one_of(&["name", "", "a longer name of something"]).as_bytes()),
        Role::Length { .. } | Role::Out { .. } | Role::OutRun => Ok(()),
    }
}

fn shaped_fields(
    spec: &Spec,
    place: usize,
    number: &mut impl FnMut(Number, &mut Writer<'_>) -> Result<(), Full>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    for field in &spec.structs[place].fields {
        for _ in 0..field.count.unwrap_or(1) {
            match &field.element {
                Element::Number { number: of, .. } => number(*of, w)?,
                Element::Struct(inner) => shaped_fields(spec, *inner, number, w)?,
            }
        }
    }
    Ok(())
}

/// A payload whose outputs come back in the reply, 64 bytes each.
fn sound(spec: &Spec, call: &Call) -> Vec<u8> {
    let mut memory = vec![0; 65536];
    let mut writer = Writer::new(&mut memory);
    for place in 0..call.arguments.len() {
        let is_output = matches!(call.arguments[place].role, Role::Output { .. });
        let odd = is_output.then_some(Odd::Buffer(Buffer::Reply { bytes: 64 }));
        argument(spec, call, place, odd, &mut writer).expect("room");
    }
    let bytes = writer.len();
    memory.truncate(bytes);
    memory
}

/// A length that is tried: the buffer that says so, and whether so many bytes are there.
struct Length<'a> {
    odd: Odd<'a>,
    fits: bool,
    name: String,
}

/// Seven lengths of a buffer in each place where it may lie, about the most that fits there; and the places where it may not.
fn lengths(is_output: bool, each: u64, data: &[u8; 64]) -> Vec<Length<'_>> {
    let about = |exact: u64| [0, 1, exact, exact - 1, exact + 1, 1 << 31, 1 << 63];
    let fits = |bytes: u64, most: u64| bytes <= most && bytes.is_multiple_of(each);
    let mut list = Vec::new();
    for bytes in about(STAGING_BYTES_LOCAL as u64) {
        let odd = Odd::Buffer(Buffer::Staging { offset: STAGING_OFFSET as u64, bytes });
        list.push(Length { odd, fits: fits(bytes, STAGING_BYTES_LOCAL as u64), name: format!("staging {bytes:#x}") });
    }
    for bytes in about(LEASE_BYTES) {
        let odd = Odd::Buffer(Buffer::Lease { lease: LEASE, offset: 0, bytes });
        list.push(Length { odd, fits: fits(bytes, LEASE_BYTES), name: format!("lease {bytes:#x}") });
    }
    // Where no bytes are, none may be named: what is before staging, behind it, and in a lease that is none.
    for (offset, bytes) in
        [(STAGING_OFFSET as u64 - 1, 1), (WINDOW_BYTES_LOCAL as u64, 1), (u64::MAX, 1), (1, u64::MAX)]
    {
        list.push(Length { odd: Odd::Buffer(Buffer::Staging { offset, bytes }), fits: false, name: "outside".into() });
        let odd = Odd::Buffer(Buffer::Lease { lease: LEASE, offset: offset.max(LEASE_BYTES), bytes });
        list.push(Length { odd, fits: false, name: "outside of the lease".into() });
    }
    list.push(Length {
        odd: Odd::Buffer(Buffer::Lease { lease: LEASE + 1, offset: 0, bytes: each }),
        fits: false,
        name: "no lease".into(),
    });
    if is_output {
        for bytes in about(MAX_REPLY_BYTES as u64) {
            let fits = fits(bytes, MAX_REPLY_BYTES as u64);
            list.push(Length { odd: Odd::Buffer(Buffer::Reply { bytes }), fits, name: format!("reply {bytes:#x}") });
        }
        list.push(Length { odd: Odd::Buffer(Buffer::Inline(data)), fits: false, name: "in the frame".into() });
    } else {
        for told in [65, 1 << 16, 1 << 31, u32::MAX] {
            list.push(Length { odd: Odd::Inline(told, data), fits: false, name: format!("inline {told:#x}") });
        }
        for told in [0u32, 1, 63, 64] {
            let odd = Odd::Inline(told, &data[..told as usize]);
            list.push(Length { odd, fits: u64::from(told).is_multiple_of(each), name: format!("inline {told}") });
        }
        let odd = Odd::Buffer(Buffer::Reply { bytes: each });
        list.push(Length { odd, fits: false, name: "in the reply".into() });
    }
    list
}

/// Tries every buffer argument of every call with seven lengths in every place: bytes that are not there are never named to the
/// library, and the call is refused. Returns how many were tried, and how many of them the library got.
pub(super) fn buffers<T: Tried>(spec: &Spec, fresh: impl Fn() -> T) -> (usize, usize, usize) {
    let (mut arguments, mut messages, mut reached) = (0, 0, 0);
    let data = [0x20; 64];
    for call in &spec.calls {
        for (place, argument) in call.arguments.iter().enumerate() {
            let (element, is_output) = match &argument.role {
                Role::Input { element, .. } => (element, false),
                Role::Output { element, .. } => (element, true),
                _ => continue,
            };
            arguments += 1;
            for length in lengths(is_output, spec.measure(element).0 as u64, &data) {
                let api = fresh();
                furnish(spec, api.objects());
                let outcome = send(spec, call, &api, &payload(spec, call, (place, length.odd), &[]));
                let what = format!("{}, `{}`: {}: {:?}", call.name, argument.name, length.name, outcome.answer);
                let calls = outcome.calls.saturating_sub(1); // the thread's context
                assert!(length.fits || calls == 0, "{what}: the library was called");
                assert!(length.fits || outcome.answer != Ok(0), "{what}");
                messages += 1;
                reached += usize::from(length.fits && outcome.calls != 0);
            }
        }
    }
    (arguments, messages, reached)
}
