//! NVML through the exported C symbols of the library as it is shipped, against a real front and worker on the CPU device; and its
//! messages as no library sends them.

use std::ffi::{CStr, CString, c_char, c_void};
use std::time::{Duration, Instant};

use loopback::random::Random;
use loopback::raw::{Outcome, Raw};
use loopback::shapes::Shapes;
use loopback::{Folder, Front, PATIENCE, Way, built, program};
use wire::frame::{FrameHeader, NO_SLOT};
use wire::handle::Handle;

const SUCCESS: i32 = 0;
const UNINITIALIZED: i32 = 1;
const INVALID_ARGUMENT: i32 = 2;
const NOT_SUPPORTED: i32 = 3;
const NO_PERMISSION: i32 = 4;
const NOT_FOUND: i32 = 6;
const INSUFFICIENT_SIZE: i32 = 7;
const TIMEOUT: i32 = 10;
const VERSION_MISMATCH: i32 = 25;
/// Version word of nvmlMemory_v2_t: version 2, 40 bytes.
const MEMORY_V2: u32 = 2 << 24 | 40;

/// Device memory that the guest may have.
const LIMIT: u64 = 1 << 30;

/// Every function that is called here takes its arguments as words.
type Function = unsafe extern "C" fn(u64, u64, u64, u64) -> i32;

/// The library.
struct Nvml(*mut c_void);

impl Nvml {
    fn open(front: &Front) -> Nvml {
        let file = CString::new(built("libgpuferry_nvml.so").into_os_string().into_encoded_bytes()).expect("a path");
        // SAFETY: this test has one thread yet.
        unsafe { std::env::set_var("GPUFERRY", format!("unix:{}", front.local().display())) };
        // SAFETY: a library of this project.
        let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null());
        Nvml(handle)
    }

    fn call(&self, name: &str, words: &[u64]) -> i32 {
        let symbol = CString::new(name).expect("a name");
        // SAFETY: the library stays loaded.
        let found = unsafe { libc::dlsym(self.0, symbol.as_ptr()) };
        assert!(!found.is_null(), "{name} is exported");
        // SAFETY: a function of the library's, called with what its text in the API asks for.
        let function = unsafe { std::mem::transmute::<*mut c_void, Function>(found) };
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        // SAFETY: as above.
        unsafe { function(word(0), word(1), word(2), word(3)) }
    }

    fn text(&self, name: &str, device: u64) -> String {
        let mut text = [0 as c_char; 96];
        assert_eq!(self.call(name, &[device, text.as_mut_ptr() as u64, 96]), SUCCESS, "{name}");
        // SAFETY: the library ended the text.
        unsafe { CStr::from_ptr(text.as_ptr()) }.to_str().expect("a text").to_owned()
    }
}

// One test: the library has one session in a process.
#[test]
fn functions_when_called_through_their_symbols_then_tell_of_the_guests_device() {
    let front = Front::with(&["--memory-limit", "1G", "--device", "cpu"]);
    let nvml = Nvml::open(&front);
    let mut device = 0u64;
    let place = &raw mut device as u64;
    assert_eq!(nvml.call("nvmlDeviceGetHandleByIndex_v2", &[0, place]), UNINITIALIZED);
    assert_eq!(nvml.call("nvmlShutdown", &[]), UNINITIALIZED);
    assert_eq!(nvml.call("nvmlInit_v2", &[]), SUCCESS);
    assert_eq!(nvml.call("nvmlDeviceGetHandleByIndex_v2", &[0, place]), SUCCESS);
    devices_are_two(&nvml, device);
    memory_is_the_limit(&nvml, device);
    wrong_calls_are_refused(&nvml, device);
    events_do_not_come(&nvml, device);
    processes_are_the_guests(&nvml, device, &front);
    assert_eq!(nvml.call("nvmlShutdown", &[]), SUCCESS);
    assert_eq!(nvml.call("nvmlDeviceGetMemoryInfo", &[device, [0u64; 3].as_mut_ptr() as u64]), UNINITIALIZED);
}

/// Their number, names and places on the bus, and the way from one to the other.
fn devices_are_two(nvml: &Nvml, device: u64) {
    let (mut count, mut second, mut same) = (0u32, 0u64, 0u64);
    assert_eq!(nvml.call("nvmlDeviceGetCount_v2", &[&raw mut count as u64]), SUCCESS);
    assert_eq!(count, 2);
    assert_eq!(nvml.call("nvmlDeviceGetHandleByIndex_v2", &[2, &raw mut second as u64]), INVALID_ARGUMENT);
    assert_eq!(nvml.text("nvmlDeviceGetName", device), "gpuferry CPU device");
    let uuid = CString::new(nvml.text("nvmlDeviceGetUUID", device)).expect("a text");
    assert!(uuid.to_bytes().starts_with(b"GPU-") && uuid.to_bytes().len() == 40, "{uuid:?}");
    assert_eq!(nvml.call("nvmlDeviceGetHandleByUUID", &[uuid.as_ptr() as u64, &raw mut same as u64]), SUCCESS);
    assert_eq!(same, device);
    let other = c"GPU-00000000-0000-0000-0000-000000000000";
    assert_eq!(nvml.call("nvmlDeviceGetHandleByUUID", &[other.as_ptr() as u64, &raw mut same as u64]), NOT_FOUND);

    let (mut status, mut path) = (77u32, 77u32);
    assert_eq!(nvml.call("nvmlDeviceGetHandleByIndex_v2", &[1, &raw mut second as u64]), SUCCESS);
    assert_ne!(nvml.text("nvmlDeviceGetUUID", second).as_bytes(), uuid.as_bytes());
    assert_eq!(nvml.call("nvmlDeviceGetP2PStatus", &[device, second, 0, &raw mut status as u64]), SUCCESS);
    assert_eq!(nvml.call("nvmlDeviceGetTopologyCommonAncestor", &[device, second, &raw mut path as u64]), SUCCESS);
    assert_eq!((status, path), (0, 40));
    let mut bus = [0u8; 68];
    let remote = nvml.call("nvmlDeviceGetNvLinkRemotePciInfo_v2", &[second, 0, bus.as_mut_ptr() as u64]);
    assert_eq!(remote, NOT_SUPPORTED);
    assert_eq!(nvml.call("nvmlDeviceGetPciInfo_v3", &[device, bus.as_mut_ptr() as u64]), SUCCESS);
    let found = nvml.call("nvmlDeviceGetHandleByPciBusId_v2", &[&raw const bus[36] as u64, &raw mut same as u64]);
    assert_eq!((found, same), (SUCCESS, device));
}

/// In both of its structures.
fn memory_is_the_limit(nvml: &Nvml, device: u64) {
    let mut memory = [0u64; 3];
    assert_eq!(nvml.call("nvmlDeviceGetMemoryInfo", &[device, memory.as_mut_ptr() as u64]), SUCCESS);
    let [total, free, used] = memory;
    assert!(total == LIMIT && free <= total && free + used == total, "{memory:?}");
    let mut newer = [0u64; 5];
    newer[0] = MEMORY_V2.into();
    assert_eq!(nvml.call("nvmlDeviceGetMemoryInfo_v2", &[device, newer.as_mut_ptr() as u64]), SUCCESS);
    assert_eq!((newer[1], newer[2]), (total, 0));
    newer[0] = 0xff_ffff;
    assert_eq!(nvml.call("nvmlDeviceGetMemoryInfo_v2", &[device, newer.as_mut_ptr() as u64]), VERSION_MISMATCH);
}

/// Wrong in every way that a program can be.
fn wrong_calls_are_refused(nvml: &Nvml, device: u64) {
    let (mut small, mut memory, mut number) = ([0 as c_char; 4], [0u64; 3], 0u32);
    let (small, memory) = (small.as_mut_ptr() as u64, memory.as_mut_ptr() as u64);
    assert_eq!(nvml.call("nvmlDeviceGetName", &[device, small, 4]), INSUFFICIENT_SIZE);
    assert_eq!(nvml.call("nvmlDeviceGetName", &[device, 0, 64]), INVALID_ARGUMENT);
    for wild in [0, 8, device + 2, u64::MAX] {
        assert_eq!(nvml.call("nvmlDeviceGetMemoryInfo", &[wild, memory]), INVALID_ARGUMENT, "{wild}");
    }
    assert_eq!(nvml.call("nvmlDeviceGetMemoryInfo", &[device, 0]), INVALID_ARGUMENT);
    assert_eq!(nvml.call("nvmlDeviceSetPowerManagementLimit", &[device, 1]), NO_PERMISSION);
    assert_eq!(nvml.call("nvmlDeviceGetSerial", &[device, small, 4]), NOT_SUPPORTED);
    assert_eq!(nvml.call("nvmlDeviceGetTemperature", &[device, 0, &raw mut number as u64]), NOT_SUPPORTED);
}

/// The CPU device has none, and a set of it waits in vain for as long as it is told.
fn events_do_not_come(nvml: &Nvml, device: u64) {
    let (mut kinds, mut set) = (7u64, 0u64);
    let waited = [0u64; 4];
    assert_eq!(nvml.call("nvmlDeviceGetSupportedEventTypes", &[device, &raw mut kinds as u64]), SUCCESS);
    assert_eq!(kinds, 0);
    assert_eq!(nvml.call("nvmlEventSetCreate", &[&raw mut set as u64]), SUCCESS);
    assert_eq!(nvml.call("nvmlDeviceRegisterEvents", &[device, 8, set]), NOT_SUPPORTED);
    let begun = Instant::now();
    assert_eq!(nvml.call("nvmlEventSetWait_v2", &[set, waited.as_ptr() as u64, 600]), TIMEOUT);
    assert!(begun.elapsed() >= Duration::from_millis(600));
    assert_eq!(nvml.call("nvmlEventSetWait_v2", &[set + 1, waited.as_ptr() as u64, 0]), INVALID_ARGUMENT);
    assert_eq!(nvml.call("nvmlEventSetFree", &[set]), SUCCESS);
    assert_eq!(nvml.call("nvmlEventSetFree", &[set]), INVALID_ARGUMENT);
    assert_eq!(nvml.call("nvmlEventSetFree", &[0]), INVALID_ARGUMENT);
}

/// Those that hold memory, and none of the host's.
fn processes_are_the_guests(nvml: &Nvml, device: u64, front: &Front) {
    let mut count = 0u32;
    assert_eq!(nvml.call("nvmlDeviceGetGraphicsRunningProcesses_v3", &[device, &raw mut count as u64, 0]), SUCCESS);
    assert_eq!(count, 0);
    assert_eq!(nvml.call("nvmlDeviceGetComputeRunningProcesses_v3", &[device, &raw mut count as u64, 0]), SUCCESS);
    assert_eq!(count, 0);
    let folder = Folder::new();
    let mut endless = program("endless", Way::Local(front), &folder).arg("copies").spawn().expect("started");
    // nvmlProcessInfo_t: number, bytes, and what concerns MIG.
    let mut infos = [0u64; 3 * 8];
    assert!(loopback::eventually(|| {
        count = 8;
        let place = infos.as_mut_ptr() as u64;
        nvml.call("nvmlDeviceGetComputeRunningProcesses_v3", &[device, &raw mut count as u64, place]) == SUCCESS
            && count == 1
    }));
    assert_eq!(infos[0] as u32, endless.id());
    assert!(infos[1] > 0 && infos[1] < LIMIT, "{infos:?}");
    // What is used of a limit is what the guest's processes hold.
    let mut memory = [0u64; 3];
    assert_eq!(nvml.call("nvmlDeviceGetMemoryInfo", &[device, memory.as_mut_ptr() as u64]), SUCCESS);
    assert!(memory[0] == LIMIT && memory[2] > 0, "{memory:?}");
    endless.kill().expect("ended");
    endless.wait().expect("waited for");
    assert!(loopback::eventually(|| {
        nvml.call("nvmlDeviceGetComputeRunningProcesses_v3", &[device, &raw mut count as u64, 0]) == SUCCESS
            && count == 0
    }));
}

#[test]
fn messages_when_they_are_hostile_then_end_a_session_at_most() {
    let mut front = Front::start();
    let mut random = Random::new(7);
    let mut answered = 0;
    for seed in 0..20 {
        let Ok(mut raw) = Raw::open(&front.local()) else { continue };
        let mut shapes = Shapes::of("nvml", seed);
        for _ in 0..50 {
            let (call, _) = shapes.any_call();
            let mut payload = shapes.payload(call);
            if random.once_in(3) && payload.len() >= 8 {
                // The one device there is.
                payload[..8].copy_from_slice(&Handle::new(128, 1, 0).0.to_le_bytes());
            }
            let slot = random.below(64) as u16;
            let Some(sequence) = raw.publish(FrameHeader { call, slot, ..FrameHeader::default() }, &payload) else {
                break;
            };
            match raw.wait(slot, sequence, PATIENCE) {
                Outcome::Answered(..) => answered += 1,
                Outcome::Dead => break,
                Outcome::Silent => panic!("call {call} is never answered"),
            }
        }
    }
    assert!(front.runs());
    assert!(answered > 100, "{answered} answers");
}

#[test]
fn message_when_it_is_cut_short_or_waits_for_nothing_then_ends_the_session() {
    let front = Front::start();
    let shapes = Shapes::of("nvml", 1);
    let call = shapes.call("nvmlDeviceGetMemoryInfo");
    let mut raw = Raw::open(&front.local()).expect("a session");
    let sequence = raw.publish(FrameHeader { call, slot: 0, ..FrameHeader::default() }, &[0; 3]).expect("published");
    assert_eq!(raw.wait(0, sequence, PATIENCE), Outcome::Dead);
    let mut raw = Raw::open(&front.local()).expect("a session");
    let device = Handle::new(128, 1, 0).0.to_le_bytes();
    raw.publish(FrameHeader { call, slot: NO_SLOT, ..FrameHeader::default() }, &device).expect("published");
    assert!(loopback::eventually(|| raw.is_dead()));
}
