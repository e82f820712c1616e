//! Wild handles and lying lengths at the guest's end: through the exported C symbols of the library as it is shipped, in this
//! process, against a real front and worker on the CPU device. What is tried is made from the spec, so a call that is added
//! there is tried too.
//!
//! The worker's end of the same is `backend/src/worker/values.rs`.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loopback::raw::{Outcome, Raw};
use loopback::{Front, built};
use spec_gen::Spec;
use spec_gen::model::{Call, Number, Role};
use wire::frame::FrameHeader;
use wire::handle::{Handle, MAX_INDEX};
use wire::window::{Header, WINDOW_BYTES_LOCAL};

/// Every exported function takes its arguments as words: none takes a floating-point number or a struct by value.
type Function = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> i32;

/// `CUDA_ERROR_CONTEXT_IS_DESTROYED`.
const CONTEXT_IS_DESTROYED: i32 = 709;
/// An ordinary module.
const CODE: &[u8] = concat!(include_str!("../../programs/kernels/battery.ptx"), "\0").as_bytes();
/// Where an index is that no program of this size has.
const FAR: u32 = 3000;
/// Bytes of scratch memory: more than any struct of the API has.
const SCRATCH: usize = 1 << 16;

/// The library, its session's window, and memory to point to.
struct Library {
    handle: *mut c_void,
    tail: &'static AtomicU64,
    scratch: *mut u8,
}

impl Library {
    /// Loads it and connects to the front.
    fn open(front: &Front) -> Library {
        let file = CString::new(built("libgpuferry_cuda.so").into_os_string().into_encoded_bytes()).expect("a path");
        // SAFETY: this test has one thread yet.
        unsafe { std::env::set_var("GPUFERRY", format!("unix:{}", front.local().display())) };
        // SAFETY: a library of this project.
        let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null());
        let scratch = Box::leak(vec![0u8; SCRATCH].into_boxed_slice()).as_mut_ptr();
        static NONE: AtomicU64 = AtomicU64::new(0);
        let mut library = Library { handle, tail: &NONE, scratch };
        assert_eq!(library.call("cuInit", &[0]), 0);
        library.tail = window_tail();
        library
    }

    fn find(&self, name: &str) -> Option<Function> {
        let name = CString::new(name).expect("a name");
        // SAFETY: the library stays loaded.
        let found = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        // SAFETY: a function of the library's; what it takes is the caller's business.
        (!found.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, Function>(found) })
    }

    fn call(&self, name: &str, arguments: &[u64]) -> i32 {
        let function = self.find(name).unwrap_or_else(|| panic!("no {name}"));
        let mut all = [0u64; 12];
        all[..arguments.len()].copy_from_slice(arguments);
        let [a, b, c, d, e, f, g, h, i, j, k, l] = all;
        // SAFETY: arguments are numbers, or pointers to memory of this test; those beyond the function's are not looked at.
        unsafe { function(a, b, c, d, e, f, g, h, i, j, k, l) }
    }

    /// Makes an object: the place of the new handle is the first argument.
    fn make(&self, name: &str, rest: &[u64]) -> u64 {
        let mut made = 0u64;
        let arguments = [&[(&raw mut made) as u64], rest].concat();
        assert_eq!(self.call(name, &arguments), 0, "{name}");
        made
    }

    fn sent(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }
}

/// The word of the session's window that counts what was published, where the library has mapped it.
fn window_tail() -> &'static AtomicU64 {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    for line in maps.lines().filter(|line| line.contains("memfd:")) {
        let (start, rest) = line.split_once('-').expect("a range");
        let end = rest.split(' ').next().expect("its end");
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).expect("an address"));
        if end - start == WINDOW_BYTES_LOCAL {
            let header = std::ptr::with_exposed_provenance::<Header>(start);
            // SAFETY: the window of the library's session, which lives as long as the process.
            return unsafe { &(*header).tail };
        }
    }
    panic!("no window in\n{maps}");
}

/// A live object of each kind, by the kind's name; what the CPU device cannot make is left out.
fn objects(library: &Library) -> BTreeMap<&'static str, u64> {
    let at = |bytes: &[u64]| bytes.as_ptr() as u64;
    let code = CODE.as_ptr() as u64;
    let context = library.make("cuCtxCreate_v2", &[0, 0]);
    let module = library.make("cuModuleLoadData", &[code]);
    let kernels = library.make("cuLibraryLoadData", &[code, 0, 0, 0, 0, 0, 0]);
    let name = c"fill".as_ptr() as u64;
    let graph = library.make("cuGraphCreate", &[0]);
    // CUDA_ARRAY_DESCRIPTOR: 64 by 1, unsigned 8 bits (1), one channel; and its 3-D relative.
    let (flat, deep) = ([64, 1, 1 | 1 << 32], [64, 64, 0, 1 | 1 << 32, 0]);
    let mut link = 0u64;
    assert_eq!(library.call("cuLinkCreate_v2", &[0, 0, 0, (&raw mut link) as u64]), 0);
    // CUmemPoolProps: pinned (1), no handles, on device 0 (kind 1).
    let pool = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    BTreeMap::from([
        ("CUcontext", context),
        ("CUstream", library.make("cuStreamCreate", &[0])),
        ("CUevent", library.make("cuEventCreate", &[0])),
        ("CUmodule", module),
        ("CUfunction", library.make("cuModuleGetFunction", &[module, name])),
        ("CUlibrary", kernels),
        ("CUkernel", library.make("cuLibraryGetKernel", &[kernels, name])),
        ("CUlinkState", link),
        ("CUarray", library.make("cuArrayCreate_v2", &[at(&flat)])),
        ("CUmipmappedArray", library.make("cuMipmappedArrayCreate", &[at(&deep), 2])),
        ("CUmemoryPool", library.make("cuMemPoolCreate", &[at(&pool)])),
        ("CUgraph", graph),
        ("CUgraphExec", library.make("cuGraphInstantiateWithFlags", &[graph, 0])),
    ])
}

/// An event's number in another process: made there, over the wire.
fn foreign(front: &Front) -> (Raw, u64) {
    let mut raw = Raw::open(&front.local()).expect("a session");
    let context = Handle::new(1, 1, 0);
    let event = Handle::new(3, 1, FAR);
    let spec = spec();
    let number = |name: &str| spec.calls.iter().find(|call| call.name == name).expect("a call").number;
    let retain = FrameHeader { call: number("cuDevicePrimaryCtxRetain"), slot: 0, ..FrameHeader::default() };
    let sequence = raw.publish(retain, &[&context.0.to_le_bytes()[..], &[0; 4]].concat()).expect("room");
    assert_eq!(raw.wait(0, sequence, Duration::from_secs(20)), Outcome::Answered(0, vec![]));
    let in_context = FrameHeader { slot: u16::MAX, context: 1, context_generation: 1, ..FrameHeader::default() };
    let create = FrameHeader { call: number("cuEventCreate"), ..in_context };
    raw.publish(create, &[&event.0.to_le_bytes()[..], &[0; 4]].concat()).expect("room");
    let query = FrameHeader { call: number("cuEventQuery"), slot: 0, ..in_context };
    let sequence = raw.publish(query, &event.0.to_le_bytes()).expect("room");
    assert_eq!(raw.wait(0, sequence, Duration::from_secs(20)), Outcome::Answered(0, vec![]), "it lives there");
    (raw, event.0)
}

fn spec() -> Spec {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/api/cuda.rs");
    spec_gen::build::spec(&file).expect("a spec")
}

/// What an exported function takes.
enum Taken {
    /// A handle of a kind, by its place in the spec.
    Handle(usize),
    /// A pointer.
    Pointer,
    /// An address on the device.
    Address,
    /// A number that may be a length.
    Long,
    /// Any other number.
    Short,
}

/// Exported functions whose prototype the spec has: name, and what they take.
fn functions(spec: &Spec) -> Vec<(String, Vec<(String, Taken)>)> {
    let mut found = Vec::new();
    for call in spec.calls.iter().filter(|call| !call.name.starts_with(spec_gen::OWN_PREFIX)) {
        let arguments = || match spec.driver.iter().find(|function| function.name == call.name) {
            // Our message is not what the API takes; the host's function is.
            Some(function) if call.host_by_hand => {
                function.arguments.iter().map(|(name, ty)| (name.clone(), of_driver(spec, call, name, ty))).collect()
            }
            _ => call.arguments.iter().map(|argument| (argument.name.clone(), of_role(&argument.role))).collect(),
        };
        found.push((call.name.clone(), arguments()));
        found.extend(call.aliases.iter().map(|alias| (alias.name.clone(), arguments())));
        found.extend(call.ptsz.then(|| (format!("{}_ptsz", call.name), arguments())));
        found.extend(call.ptds.as_ref().map(|_| (format!("{}_ptds", call.name), arguments())));
    }
    found
}

fn of_role(role: &Role) -> Taken {
    match role {
        Role::Handle { kind, .. } => Taken::Handle(*kind),
        Role::Number { device: Some(_), .. } => Taken::Address,
        Role::Number { name, .. } if name == "CUdeviceptr" => Taken::Address,
        Role::Number { number: Number::U64 | Number::Usize, .. } | Role::Length { .. } => Taken::Long,
        Role::Number { .. } => Taken::Short,
        _ => Taken::Pointer,
    }
}

fn of_driver(spec: &Spec, call: &Call, name: &str, ty: &str) -> Taken {
    let ours = call.arguments.iter().find(|argument| argument.name == name).map(|argument| &argument.role);
    match (ours, ty) {
        (Some(Role::Handle { kind, .. }), _) => Taken::Handle(*kind),
        (Some(Role::AnyHandle), _) => {
            Taken::Handle(spec.kinds.iter().position(|kind| kind.name == "CUfunction").expect("a kind"))
        }
        (_, "CUdeviceptr") => Taken::Address,
        (_, "usize" | "u64") => Taken::Long,
        (_, ty) if ty.starts_with('*') => Taken::Pointer,
        _ => Taken::Short,
    }
}

/// Numbers that are no live object of the kind; `live` is one that is.
fn wild(kind: u8, live: Option<u64>, other: u64, freed: u64, foreign: u64) -> Vec<(&'static str, u64)> {
    let of = |generation, index| Handle::new(kind, generation, index).0;
    let again = |number: u64| Handle::new(kind, Handle(number).generation(), Handle(number).index()).0;
    let live = Handle(live.unwrap_or(of(1, FAR + 1)));
    vec![
        ("null", 0),
        ("all ones", u64::MAX),
        ("stale", Handle::new(kind, live.generation().wrapping_sub(1).max(2), live.index()).0),
        ("generation plus one", of(live.generation() + 1, live.index())),
        ("freed", if Handle(freed).kind() == Some(kind) { freed } else { of(1, FAR + 2) }),
        ("another process's", again(foreign)),
        ("index beyond the end", of(1, MAX_INDEX - 1)),
        ("a pointer", 0x7f12_3456_7000),
        ("wrong kind", other),
    ]
}

/// Pages of memory that end where nothing may be touched.
const PAGES: usize = 2 * 4096;

/// The end of [`PAGES`] bytes, behind which a fault is.
fn guarded() -> *mut u8 {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping at an address of the kernel's choice, whose last page nobody may touch.
    unsafe {
        let base = libc::mmap(std::ptr::null_mut(), PAGES + 4096, access, flags, -1, 0);
        assert_ne!(base, libc::MAP_FAILED);
        let end = base.cast::<u8>().add(PAGES);
        assert_eq!(libc::mprotect(end.cast(), 4096, libc::PROT_NONE), 0);
        end
    }
}

/// Tries the buffers of every exported function with lengths: what is there is never passed by a byte, and what cannot be there is
/// refused before anything is sent. Returns how many were tried.
fn lengths(spec: &Spec, library: &Library, live: &BTreeMap<&'static str, u64>, memory: u64) -> usize {
    let (end, mut tried) = (guarded(), 0);
    for call in spec.calls.iter().filter(|call| !call.name.starts_with(spec_gen::OWN_PREFIX)) {
        for (place, argument) in call.arguments.iter().enumerate() {
            let (Role::Input { element, length } | Role::Output { element, length }) = &argument.role else { continue };
            let each = spec.measure(element).0 as u64;
            let most = PAGES as u64 / each;
            // A pointer that ends at the guard where so many are there; null, or one byte, where they are not.
            let mut lengths: Vec<(u64, bool)> = [0, 1, most - 1, most].map(|count| (count, true)).to_vec();
            lengths.extend([1, 1 << 31, 1 << 63, u64::MAX].map(|count| (count, false)));
            // As far as the count's own type goes.
            let widest = match call.arguments[*length].role {
                Role::Length { number, .. } if number.bytes() < 8 => (1 << (number.bytes() * 8)) - 1,
                _ => u64::MAX,
            };
            for (count, is_there) in lengths.into_iter().filter(|(count, _)| *count <= widest) {
                let mut words: Vec<u64> = call
                    .arguments
                    .iter()
                    .map(|argument| match of_role(&argument.role) {
                        Taken::Handle(kind) => live.get(spec.kinds[kind].name.as_str()).copied().unwrap_or(0),
                        Taken::Pointer => library.scratch as u64,
                        Taken::Address => memory,
                        Taken::Long | Taken::Short => 0,
                    })
                    .collect();
                words[*length] = count;
                words[place] = if is_there { end as u64 - count * each } else { 0 };
                let before = library.sent();
                let status = library.call(&call.name, &words);
                tried += 1;
                if !is_there {
                    let what = format!("{}, `{}`: null and {count:#x}", call.name, argument.name);
                    assert_ne!(status, 0, "{what}");
                    assert_eq!(library.sent(), before, "{what}: something was sent");
                }
            }
        }
    }
    tried
}

#[test]
fn exported_functions_when_a_handle_is_wild_then_answer_its_kinds_error_and_send_nothing() {
    let front = Front::start();
    let (spec, library) = (spec(), Library::open(&front));
    let live = objects(&library);
    let memory = library.make("cuMemAlloc_v2", &[SCRATCH as u64]);
    let freed = library.make("cuEventCreate", &[0]);
    assert_eq!(library.call("cuEventDestroy_v2", &[freed]), 0);
    let (_other_process, foreign) = foreign(&front);
    let before = library.sent();
    assert_eq!(library.call("cuEventRecord", &[live["CUevent"], live["CUstream"]]), 0);
    assert_ne!(library.sent(), before, "a sound call is seen");
    let mut odd = Vec::new();
    let (mut tried, mut arguments, mut left_out) = (0, 0, Vec::new());
    for (name, takes) in functions(&spec) {
        let sound = |taken: &Taken| match taken {
            Taken::Handle(kind) => live.get(spec.kinds[*kind].name.as_str()).copied().unwrap_or(0),
            Taken::Pointer => library.scratch as u64,
            Taken::Address => memory,
            Taken::Long => 1,
            Taken::Short => 0,
        };
        for (place, (argument, taken)) in takes.iter().enumerate() {
            let Taken::Handle(kind) = taken else { continue };
            let kind = &spec.kinds[*kind];
            // An argument before it that has no live object is refused first.
            let is_missing = |taken: &Taken| match taken {
                Taken::Handle(kind) => !live.contains_key(spec.kinds[*kind].name.as_str()),
                _ => false,
            };
            let before = takes[..place].iter().find(|(_, taken)| is_missing(taken)).map(|(_, taken)| taken);
            let first = if let Some(Taken::Handle(other)) = before { &spec.kinds[*other] } else { kind };
            let error = spec.constants.iter().find(|constant| constant.name == first.error).expect("a status");
            let error: i32 = error.value.parse().expect("a number");
            let others = if kind.name == "CUevent" { "CUmodule" } else { "CUevent" };
            arguments += 1;
            if !live.contains_key(kind.name.as_str()) {
                left_out.push(format!("{name} {argument}"));
            }
            for (what, number) in wild(kind.number, live.get(kind.name.as_str()).copied(), live[others], freed, foreign)
            {
                if kind.plain_up_to.is_some_and(|most| number <= most) {
                    continue;
                }
                let mut words: Vec<u64> = takes.iter().map(|(_, taken)| sound(taken)).collect();
                words[place] = number;
                let before = library.sent();
                let status = library.call(&name, &words);
                let sent = library.sent() - before;
                tried += 1;
                // The driver knows of an event that it was there.
                let error = if what == "freed" && first.name == "CUevent" { CONTEXT_IS_DESTROYED } else { error };
                if sent != 0 || status == 0 || status != error {
                    odd.push(format!(
                        "{name}, {argument}: {what} ({number:#x}): status {status}, {error} expected, {sent} bytes sent"
                    ));
                }
            }
        }
    }
    let measured = lengths(&spec, &library, &live, memory);
    println!("{measured} calls with lengths that lie or not");
    println!(
        "{arguments} arguments that are handles, {tried} calls with wild ones; without a live object of the kind: {left_out:?}"
    );
    assert!(odd.is_empty(), "{} of {tried}:\n{}", odd.len(), odd.join("\n"));
    assert!(arguments > 100 && tried > arguments * 7 && measured > 40);
}
