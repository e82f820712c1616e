//! NVML's functions for CPU devices: what each is, and what a processor can say of itself. The rest is not supported.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

use super::generated::{
    NVML_ERROR_INSUFFICIENT_SIZE, NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_TIMEOUT,
    nvmlMemory_t, nvmlUtilization_t,
};

/// The address that stands for device 0, those of the others behind it; nobody reads there.
const DEVICE: usize = 0x1000;
/// The same for a set of its events.
const EVENT_SET: usize = 0x2000;
/// Version of NVML and driver that is told: this project has neither.
const VERSION: &CStr = c"580.0-gpuferry";

/// `NVML_TOPOLOGY_NODE`: what lies between two devices that are processors of one machine.
const SAME_NODE: u32 = 40;

/// What a CPU device is.
pub(super) struct Facts {
    pub(super) name: CString,
    pub(super) uuid: CString,
    /// Bytes of memory.
    pub(super) total: u64,
    /// Version of its CUDA driver API.
    pub(super) cuda: i32,
    /// Major and minor.
    pub(super) capability: [i32; 2],
    /// Domain, bus, device.
    pub(super) bus: [u32; 3],
}

#[cfg(any(test, fuzzing))]
impl Facts {
    /// Of some device.
    pub(super) fn of_a_test() -> Facts {
        Facts {
            name: c"a device".to_owned(),
            uuid: c"GPU-0".to_owned(),
            total: 1 << 34,
            cuda: 13000,
            capability: [9, 0],
            bus: [0, 1, 0],
        }
    }
}

static FACTS: OnceLock<Vec<Facts>> = OnceLock::new();

/// Keeps what the devices are.
pub(super) fn describe(facts: Vec<Facts>) {
    FACTS.get_or_init(|| facts);
}

/// What stands for a device.
pub(super) fn device(number: usize) -> usize {
    DEVICE + number
}

fn number(device: *mut c_void) -> usize {
    device.addr().wrapping_sub(DEVICE)
}

fn facts(device: *mut c_void) -> Option<&'static Facts> {
    FACTS.get()?.get(number(device))
}

/// Writes a text of the API, whole or not at all.
///
/// # Safety
/// `to` is good for `room` bytes.
unsafe fn text(to: *mut c_char, room: u32, text: &CStr) -> i32 {
    let bytes = text.to_bytes_with_nul();
    if bytes.len() > room as usize {
        return NVML_ERROR_INSUFFICIENT_SIZE;
    }
    // SAFETY: `to` has room for them.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), bytes.len()) };
    0
}

unsafe extern "C" fn init() -> i32 {
    0
}

unsafe extern "C" fn driver_version(to: *mut c_char, room: u32) -> i32 {
    // SAFETY: the dispatcher hands in a place of that size.
    unsafe { text(to, room, VERSION) }
}

unsafe extern "C" fn cuda_version(to: *mut i32) -> i32 {
    // SAFETY: the dispatcher hands in a place for it.
    unsafe { to.write(FACTS.get().and_then(|all| all.first()).map_or(0, |facts| facts.cuda)) };
    0
}

unsafe extern "C" fn name(device: *mut c_void, to: *mut c_char, room: u32) -> i32 {
    // SAFETY: the dispatcher hands in a place of that size.
    facts(device).map_or(NVML_ERROR_INVALID_ARGUMENT, |facts| unsafe { text(to, room, &facts.name) })
}

unsafe extern "C" fn uuid(device: *mut c_void, to: *mut c_char, room: u32) -> i32 {
    // SAFETY: as above.
    facts(device).map_or(NVML_ERROR_INVALID_ARGUMENT, |facts| unsafe { text(to, room, &facts.uuid) })
}

unsafe extern "C" fn capability(device: *mut c_void, major: *mut i32, minor: *mut i32) -> i32 {
    let [first, second] = facts(device).map_or([0, 0], |facts| facts.capability);
    // SAFETY: the dispatcher hands in places for them.
    unsafe { major.write(first) };
    // SAFETY: as above.
    unsafe { minor.write(second) };
    0
}

/// The machine's memory that is free, in bytes.
fn free_memory() -> u64 {
    let list = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = list.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    kib.saturating_mul(1024)
}

/// Total and free memory.
fn memory(device: *mut c_void) -> (u64, u64) {
    let total = facts(device).map_or(0, |facts| facts.total);
    (total, free_memory().min(total))
}

unsafe extern "C" fn memory_info(device: *mut c_void, to: *mut nvmlMemory_t) -> i32 {
    let (total, free) = memory(device);
    // SAFETY: the dispatcher hands in a place for it.
    unsafe { to.write(nvmlMemory_t { total, free, used: total - free }) };
    0
}

/// nvmlMemory_v2_t: version, a gap, total, reserved, free, used.
unsafe extern "C" fn memory_info_v2(device: *mut c_void, to: *mut c_void) -> i32 {
    let (total, free) = memory(device);
    let words = to.cast::<u64>();
    for (number, word) in [(1, total), (2, 0), (3, free), (4, total - free)] {
        // SAFETY: `shapes` hands in more room than any structure has.
        unsafe { words.add(number).write(word) };
    }
    0
}

/// nvmlPciInfo_t: the short address as text, 5 numbers, the long address as text.
unsafe extern "C" fn pci_info(of: *mut c_void, to: *mut c_void) -> i32 {
    let [domain, bus, device] = facts(of).map_or([0; 3], |facts| facts.bus);
    let mut bytes = [0u8; 68];
    let mut put = |at: usize, text: &[u8]| {
        bytes.iter_mut().skip(at).zip(text).for_each(|(place, byte)| *place = *byte);
    };
    put(0, format!("{domain:04X}:{bus:02X}:{device:02X}.0").as_bytes());
    put(36, format!("{domain:08X}:{bus:02X}:{device:02X}.0").as_bytes());
    for (number, value) in [domain, bus, device].into_iter().enumerate() {
        put(16 + 4 * number, &value.to_le_bytes());
    }
    // SAFETY: `shapes` hands in more room than any structure has.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), bytes.len()) };
    0
}

unsafe extern "C" fn utilization(_: *mut c_void, to: *mut nvmlUtilization_t) -> i32 {
    // SAFETY: the dispatcher hands in a place for it.
    unsafe { to.write(nvmlUtilization_t { gpu: load_percent(), memory: 0 }) };
    0
}

/// How busy the machine's processors were in the last minute, in percent.
fn load_percent() -> u32 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    (load / cores * 100.0).clamp(0.0, 100.0) as u32
}

unsafe extern "C" fn zero(_: *mut c_void, to: *mut u32) -> i32 {
    // SAFETY: the dispatcher hands in a place for it.
    unsafe { to.write(0) };
    0
}

unsafe extern "C" fn minor_number(device: *mut c_void, to: *mut u32) -> i32 {
    // SAFETY: the dispatcher hands in a place for it.
    unsafe { to.write(number(device) as u32) };
    0
}

/// Any two devices reach each other's memory (`NVML_P2P_STATUS_OK`); links of their own they have none.
unsafe extern "C" fn peer_status(_: *mut c_void, _: *mut c_void, _index: u32, to: *mut u32) -> i32 {
    // SAFETY: as above.
    unsafe { to.write(0) };
    0
}

unsafe extern "C" fn common_ancestor(_: *mut c_void, _: *mut c_void, to: *mut u32) -> i32 {
    // SAFETY: as above.
    unsafe { to.write(SAME_NODE) };
    0
}

/// Nothing ever happens to this device: it tells no kind of event.
unsafe extern "C" fn event_types(_: *mut c_void, to: *mut u64) -> i32 {
    // SAFETY: the dispatcher hands in a place for it.
    unsafe { to.write(0) };
    0
}

unsafe extern "C" fn event_set(to: *mut *mut c_void) -> i32 {
    // SAFETY: the caller hands in a place for it.
    unsafe { to.write(std::ptr::without_provenance_mut(EVENT_SET)) };
    0
}

unsafe extern "C" fn register_events(_: *mut c_void, kinds: u64, _: *mut c_void) -> i32 {
    if kinds == 0 { 0 } else { NVML_ERROR_NOT_SUPPORTED }
}

unsafe extern "C" fn event_wait(_: *mut c_void, _: *mut c_void, timeout: u32) -> i32 {
    std::thread::sleep(std::time::Duration::from_millis(timeout.into()));
    NVML_ERROR_TIMEOUT
}

unsafe extern "C" fn event_set_free(_: *mut c_void) -> i32 {
    0
}

/// The function of a name, as [`super::generated::Library`] looks for it.
pub(super) fn function(name_: &CStr) -> Option<NonNull<c_void>> {
    let found = match name_.to_bytes() {
        b"nvmlInit_v2" => init as *const (),
        b"nvmlSystemGetDriverVersion" | b"nvmlSystemGetNVMLVersion" => driver_version as *const (),
        b"nvmlSystemGetCudaDriverVersion" => cuda_version as *const (),
        b"nvmlDeviceGetName" => name as *const (),
        b"nvmlDeviceGetUUID" => uuid as *const (),
        b"nvmlDeviceGetCudaComputeCapability" => capability as *const (),
        b"nvmlDeviceGetMemoryInfo" => memory_info as *const (),
        b"nvmlDeviceGetMemoryInfo_v2" => memory_info_v2 as *const (),
        b"nvmlDeviceGetPciInfo_v3" => pci_info as *const (),
        b"nvmlDeviceGetUtilizationRates" => utilization as *const (),
        b"nvmlDeviceGetSupportedEventTypes" => event_types as *const (),
        b"nvmlEventSetCreate" => event_set as *const (),
        b"nvmlDeviceRegisterEvents" => register_events as *const (),
        b"nvmlEventSetWait_v2" => event_wait as *const (),
        b"nvmlEventSetFree" => event_set_free as *const (),
        b"nvmlDeviceGetMinorNumber" => minor_number as *const (),
        b"nvmlDeviceGetP2PStatus" => peer_status as *const (),
        b"nvmlDeviceGetTopologyCommonAncestor" => common_ancestor as *const (),
        // Default compute mode, performance state 0, persistence off.
        b"nvmlDeviceGetComputeMode" | b"nvmlDeviceGetPerformanceState" | b"nvmlDeviceGetPersistenceMode" => {
            zero as *const ()
        }
        _ => return None,
    };
    NonNull::new(found.cast_mut().cast())
}
